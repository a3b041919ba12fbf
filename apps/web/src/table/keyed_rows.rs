//! Keyed reconciliation of the rows of a long list that are in the document.
//!
//! Rows that stay in place are not touched; a row is only inserted, removed, or moved if its order
//! among the others changed. (`<For>` of the framework moves all rows that follow an insertion.)

use leptos::html;
use leptos::prelude::*;
use leptos::tachys::view::any_view::AnyViewState;
use leptos::tachys::view::{Mountable, Render};

/// Row that is mounted in the document.
struct MountedRow<K> {
    key: K,
    // Declared before `_owner`, so that the view is dropped before its reactive owner.
    state: AnyViewState,
    _owner: Owner,
}

/// Renders the rows with the keys from `visible_keys` before `end`, in this order.
///
/// A row is rendered once when its key appears, and unmounted when its key disappears.
pub(crate) fn render_keyed_rows<K: PartialEq + Clone + 'static>(
    visible_keys: impl Fn() -> Vec<K> + 'static,
    render: impl Fn(K) -> AnyView + 'static,
    end: NodeRef<html::Tr>,
) {
    let Some(owner) = Owner::current() else { return };
    let mounted = StoredValue::new_local(Vec::<MountedRow<K>>::new());
    // The table body can be rendered again into the same elements.
    on_cleanup(move || {
        for mut row in mounted.try_update_value(std::mem::take).unwrap_or_default() {
            row.state.unmount();
        }
    });
    Effect::new(move || {
        let wanted = visible_keys();
        let Some(end) = end.get() else { return };
        let Some(parent) = end.parent_element() else { return };
        let Some(previous) = mounted.try_update_value(std::mem::take) else { return };
        let keys: Vec<K> = previous.iter().map(|row| row.key.clone()).collect();
        let positions = longest_increasing_subsequence(&keys, &wanted);
        let mut remaining: Vec<Option<MountedRow<K>>> = previous.into_iter().map(Some).collect();
        let reused = positions
            .iter()
            .map(|(index, in_place)| (index.and_then(|index| remaining[index].take()), *in_place))
            .collect::<Vec<_>>();
        for removed in remaining.iter_mut().flatten() {
            removed.state.unmount();
        }
        // From last to first, so that each row is inserted before its successor.
        let mut rendered: Vec<MountedRow<K>> = Vec::with_capacity(wanted.len());
        for (key, (reused, in_place)) in wanted.into_iter().zip(reused).rev() {
            let mut row = reused.unwrap_or_else(|| {
                let owner = owner.with(Owner::new);
                let state = owner.with(|| untrack(|| render(key.clone()).build()));
                MountedRow { key, state, _owner: owner }
            });
            if !in_place && !rendered.last().is_some_and(|next| next.state.insert_before_this(&mut row.state)) {
                row.state.mount(&parent, Some(&end));
            }
            rendered.push(row);
        }
        rendered.reverse();
        mounted.set_value(rendered);
    });
}

/// Returns, per wanted key, its index in `previous` and whether its row can stay in place.
///
/// The rows that stay form a longest increasing subsequence of the previous indices, so that the
/// fewest rows are moved. New keys have no index.
fn longest_increasing_subsequence<K: PartialEq>(previous: &[K], wanted: &[K]) -> Vec<(Option<usize>, bool)> {
    let index_of = |key: &K| previous.iter().position(|other| other == key);
    let mut positions: Vec<(Option<usize>, bool)> = wanted.iter().map(|key| (index_of(key), false)).collect();
    // Per key: length of the longest increasing run that ends there, and its predecessor in the
    // run.
    let mut runs: Vec<(usize, Option<usize>)> = Vec::with_capacity(positions.len());
    let mut last = None;
    for n in 0..positions.len() {
        let longest = |best: Option<usize>, m: usize| best.filter(|best| runs[*best].0 >= runs[m].0).or(Some(m));
        let predecessor =
            (0..n).filter(|m| positions[*m].0.is_some() && positions[*m].0 < positions[n].0).fold(None, longest);
        runs.push((predecessor.map_or(1, |m| runs[m].0 + 1), predecessor));
        if positions[n].0.is_some() && last.is_none_or(|m: usize| runs[m].0 < runs[n].0) {
            last = Some(n);
        }
    }
    while let Some(n) = last {
        positions[n].1 = true;
        last = runs[n].1;
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    /// Returns all permutations of all subsets of `items`.
    fn permutations(items: &[u8]) -> Vec<Vec<u8>> {
        let mut all = vec![vec![]];
        for (n, first) in items.iter().enumerate() {
            let rest: Vec<u8> = items.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, other)| *other).collect();
            all.extend(permutations(&rest).into_iter().map(|order| [vec![*first], order].concat()));
        }
        all
    }

    #[wasm_bindgen_test]
    fn rows_in_place_form_a_longest_increasing_subsequence() {
        let previous = [0, 1, 2, 3];
        let all = permutations(&[0, 1, 2, 3, 4, 5]);
        assert_eq!(all.len(), 1957, "all permutations of subsets of four previous and two new rows");
        for wanted in all {
            let positions = longest_increasing_subsequence(&previous, &wanted);
            for (key, (index, in_place)) in wanted.iter().zip(&positions) {
                assert_eq!(*index, (*key < 4).then_some(usize::from(*key)));
                assert!(index.is_some() || !in_place);
            }
            let staying: Vec<_> = positions.iter().filter(|position| position.1).map(|position| position.0).collect();
            assert!(staying.is_sorted(), "{wanted:?}: rows in place {staying:?}");
            let run_length = |mask: u8| {
                let run: Vec<u8> = wanted.iter().copied().filter(|key| *key < 4 && mask & (1 << key) != 0).collect();
                run.is_sorted().then_some(run.len())
            };
            assert_eq!(Some(staying.len()), (0..16).filter_map(run_length).max(), "{wanted:?}");
        }
    }

    #[wasm_bindgen_test]
    fn scrolling_moves_no_rows() {
        let (previous, up, down): (Vec<_>, Vec<_>, Vec<_>) = ((8..52).collect(), (4..48).collect(), (12..56).collect());
        for wanted in [up, down] {
            assert_eq!(
                longest_increasing_subsequence(&previous, &wanted).iter().filter(|position| position.1).count(),
                40
            );
        }
    }
}
