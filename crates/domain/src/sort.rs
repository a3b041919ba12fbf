//! Sorting that is compiled once. Each kind of element that is sorted by the standard library brings a copy of its algorithm into the app's download; here
//! places are sorted, and what stands at them follows. Stable. It must never be used where millions are sorted on a server.

use std::cmp::Ordering;

/// How often elements are told apart by a number before they are compared.
const MAX_PREFIX_STEPS: usize = 5;

/// What stands at two places, compared.
type Compare<'a> = &'a dyn Fn(usize, usize) -> Ordering;

/// The places of `count` elements in the order of `compare`, which compares what stands at two places.
pub fn argsort(count: usize, compare: Compare<'_>) -> Vec<u32> {
    argsort_from_step(count, MAX_PREFIX_STEPS, &|_, _| 0, compare)
}

/// The same, sooner, for many whose comparison takes long: `rank` gives what stands at a place a number, for the steps 0, 1 and so on. Two elements with
/// the same numbers in all steps before one, and others in that one, are in the order of these.
pub fn argsort_by_prefix(count: usize, rank: &dyn Fn(usize, usize) -> u64, compare: Compare<'_>) -> Vec<u32> {
    argsort_from_step(count, 0, rank, compare)
}

fn argsort_from_step(count: usize, step: usize, rank: &dyn Fn(usize, usize) -> u64, compare: Compare<'_>) -> Vec<u32> {
    let mut places: Vec<(u64, u32)> = (0..count as u32).map(|place| (0, place)).collect();
    sort(&mut places, step, rank, compare);
    places.into_iter().map(|(_, place)| place).collect()
}

/// Sorts places whose ranks before this step are the same.
fn sort(places: &mut [(u64, u32)], step: usize, rank: &dyn Fn(usize, usize) -> u64, compare: Compare<'_>) {
    let mut any = 0;
    for place in &mut *places {
        place.0 = if step < MAX_PREFIX_STEPS { rank(place.1 as usize, step) } else { 0 };
        any |= place.0;
    }
    if step < MAX_PREFIX_STEPS && any == 0 {
        // Numbers have nothing more to say.
        return sort(places, MAX_PREFIX_STEPS, rank, compare);
    }
    places.sort_unstable_by(|a, b| {
        let told = a.0.cmp(&b.0).then_with(|| match step {
            MAX_PREFIX_STEPS => compare(a.1 as usize, b.1 as usize),
            _ => Ordering::Equal,
        });
        told.then(a.1.cmp(&b.1))
    });
    if step < MAX_PREFIX_STEPS {
        for same in places.chunk_by_mut(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
            sort(same, step + 1, rank, compare);
        }
    }
}

/// The elements in the order of `compare`; equal ones stay as they were.
pub fn sorted<T>(items: Vec<T>, compare: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    let order = argsort(items.len(), &|a, b| compare(&items[a], &items[b]));
    let mut left: Vec<Option<T>> = items.into_iter().map(Some).collect();
    order.into_iter().filter_map(|place| left[place as usize].take()).collect()
}

/// The elements in the order of a key that is worked out once for each.
pub fn sorted_by_key<T, K: Ord>(items: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let keys: Vec<K> = items.iter().map(key).collect();
    let order = argsort(items.len(), &|a, b| keys[a].cmp(&keys[b]));
    let mut left: Vec<Option<T>> = items.into_iter().map(Some).collect();
    order.into_iter().filter_map(|place| left[place as usize].take()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_what_the_standard_library_does(items in proptest::collection::vec((0..9u8, any::<u8>()), 0..60)) {
            let mut wanted = items.clone();
            wanted.sort_by_key(|item| item.0);
            prop_assert_eq!(&sorted(items.clone(), |a, b| a.0.cmp(&b.0)), &wanted);
            prop_assert_eq!(&sorted_by_key(items, |item| item.0), &wanted);
        }

        #[test]
        fn ranks_change_nothing(items in proptest::collection::vec(proptest::collection::vec(0..3u8, 0..8), 0..60)) {
            let wanted = argsort(items.len(), &|a, b| items[a].cmp(&items[b]));
            let rank = |place: usize, step: usize| items[place].get(step).map_or(0, |n| u64::from(*n) + 1);
            prop_assert_eq!(argsort_by_prefix(items.len(), &rank, &|a, b| items[a].cmp(&items[b])), wanted);
        }
    }
}
