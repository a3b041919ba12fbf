//! The rows of a long list that are in the document. What stays is not touched: a row is put in, taken out, or moved where its order among the others has
//! changed, and nothing else is. (The framework's own list moves all that follow what is put in above them.)

use leptos::html;
use leptos::prelude::*;
use leptos::tachys::view::any_view::AnyViewState;
use leptos::tachys::view::{Mountable, Render};

/// A row in the document.
struct MountedRow<K> {
    key: K,
    // Dropped before its owner, so that what is innermost goes first.
    state: AnyViewState,
    _owner: Owner,
}

/// Keeps the rows of these keys, in their order, before `end`.
pub fn render_keyed_rows<K: PartialEq + Clone + 'static>(
    seen: impl Fn() -> Vec<K> + 'static,
    draw: impl Fn(K) -> AnyView + 'static,
    end: NodeRef<html::Tr>,
) {
    let Some(owner) = Owner::current() else { return };
    let all = StoredValue::new_local(Vec::<MountedRow<K>>::new());
    // The table may be drawn anew in the same elements.
    on_cleanup(move || {
        for mut row in all.try_update_value(std::mem::take).unwrap_or_default() {
            row.state.unmount();
        }
    });
    Effect::new(move || {
        let wanted = seen();
        let Some(end) = end.get() else { return };
        let Some(parent) = end.parent_element() else { return };
        let Some(before) = all.try_update_value(std::mem::take) else { return };
        let keys: Vec<K> = before.iter().map(|row| row.key.clone()).collect();
        let places = longest_increasing_subsequence(&keys, &wanted);
        let mut left: Vec<Option<MountedRow<K>>> = before.into_iter().map(Some).collect();
        let kept = places.iter().map(|(at, stays)| (at.and_then(|at| left[at].take()), *stays)).collect::<Vec<_>>();
        for gone in left.iter_mut().flatten() {
            gone.state.unmount();
        }
        // From the last to the first, each before the one that follows it.
        let mut drawn: Vec<MountedRow<K>> = Vec::with_capacity(wanted.len());
        for (key, (kept, stays)) in wanted.into_iter().zip(kept).rev() {
            let mut row = kept.unwrap_or_else(|| {
                let owner = owner.with(Owner::new);
                let state = owner.with(|| untrack(|| draw(key.clone()).build()));
                MountedRow { key, state, _owner: owner }
            });
            if !stays && !drawn.last().is_some_and(|next| next.state.insert_before_this(&mut row.state)) {
                row.state.mount(&parent, Some(&end));
            }
            drawn.push(row);
        }
        drawn.reverse();
        all.set_value(drawn);
    });
}

/// Where each of the wanted rows was, and whether it can stay there: as many stay as can, those that are not in order among each other are moved.
fn longest_increasing_subsequence<K: PartialEq>(before: &[K], wanted: &[K]) -> Vec<(Option<usize>, bool)> {
    let at = |key: &K| before.iter().position(|other| other == key);
    let mut places: Vec<(Option<usize>, bool)> = wanted.iter().map(|key| (at(key), false)).collect();
    // The longest run of places that rise: of each, how long a run ends there, and what comes before it in that run.
    let mut runs: Vec<(usize, Option<usize>)> = Vec::with_capacity(places.len());
    let mut last = None;
    for n in 0..places.len() {
        let longest = |most: Option<usize>, m: usize| most.filter(|most| runs[*most].0 >= runs[m].0).or(Some(m));
        let earlier = (0..n).filter(|m| places[*m].0.is_some() && places[*m].0 < places[n].0).fold(None, longest);
        runs.push((earlier.map_or(1, |m| runs[m].0 + 1), earlier));
        if places[n].0.is_some() && last.is_none_or(|m: usize| runs[m].0 < runs[n].0) {
            last = Some(n);
        }
    }
    while let Some(n) = last {
        places[n].1 = true;
        last = runs[n].1;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    /// All orders of any of these.
    fn orders(of: &[u8]) -> Vec<Vec<u8>> {
        let mut all = vec![vec![]];
        for (n, first) in of.iter().enumerate() {
            let rest: Vec<u8> = of.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, other)| *other).collect();
            all.extend(orders(&rest).into_iter().map(|order| [vec![*first], order].concat()));
        }
        all
    }

    #[wasm_bindgen_test]
    fn what_stays_is_in_order_and_as_many_stay_as_can() {
        let before = [0, 1, 2, 3];
        let all = orders(&[0, 1, 2, 3, 4, 5]);
        assert_eq!(all.len(), 1957, "every order of some of four rows that were there and two that were not");
        for wanted in all {
            let places = longest_increasing_subsequence(&before, &wanted);
            for (key, (at, stays)) in wanted.iter().zip(&places) {
                assert_eq!(*at, (*key < 4).then_some(usize::from(*key)));
                assert!(at.is_some() || !stays);
            }
            let stay: Vec<_> = places.iter().filter(|place| place.1).map(|place| place.0).collect();
            assert!(stay.is_sorted(), "{wanted:?} keeps {stay:?}");
            let rising = |some: u8| {
                let of: Vec<u8> = wanted.iter().copied().filter(|key| *key < 4 && some & (1 << key) != 0).collect();
                of.is_sorted().then_some(of.len())
            };
            assert_eq!(Some(stay.len()), (0..16).filter_map(rising).max(), "of {wanted:?}");
        }
    }

    #[wasm_bindgen_test]
    fn scrolling_either_way_moves_nothing() {
        let (before, up, down): (Vec<_>, Vec<_>, Vec<_>) = ((8..52).collect(), (4..48).collect(), (12..56).collect());
        for wanted in [up, down] {
            assert_eq!(longest_increasing_subsequence(&before, &wanted).iter().filter(|place| place.1).count(), 40);
        }
    }
}
