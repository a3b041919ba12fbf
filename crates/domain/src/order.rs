//! Sorting that is compiled once. Each kind of element that is sorted by the standard library brings a copy of its algorithm into the app's download; here
//! places are sorted, and what stands at them follows. Stable. It must never be used where millions are sorted on a server.

use std::cmp::Ordering;

/// The places of `count` elements in the order of `compare`, which compares what stands at two places.
#[inline(never)]
pub fn places(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<u32> {
    let mut places: Vec<u32> = (0..count as u32).collect();
    places.sort_unstable_by(|a, b| compare(*a as usize, *b as usize).then(a.cmp(b)));
    places
}

/// The elements in the order of `compare`; equal ones stay as they were.
pub fn sorted<T>(items: Vec<T>, compare: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    let order = places(items.len(), &|a, b| compare(&items[a], &items[b]));
    let mut left: Vec<Option<T>> = items.into_iter().map(Some).collect();
    order.into_iter().filter_map(|place| left[place as usize].take()).collect()
}

/// The elements in the order of a key that is worked out once for each.
pub fn sorted_by_key<T, K: Ord>(items: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let keys: Vec<K> = items.iter().map(key).collect();
    let order = places(items.len(), &|a, b| keys[a].cmp(&keys[b]));
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
    }
}
