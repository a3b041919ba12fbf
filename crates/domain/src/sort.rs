//! Stable sorting that is compiled only once.
//!
//! Each element type that the standard library sorts adds a copy of the algorithm to the browser
//! app. This module sorts indices instead and then reorders the elements.
//!
//! Must not: be used on a server for millions of elements.

use std::cmp::Ordering;

/// Number of prefix steps before elements with equal prefixes are compared in full.
const MAX_PREFIX_STEPS: usize = 5;

/// Compares the elements at two indices.
type Compare<'a> = &'a dyn Fn(usize, usize) -> Ordering;

/// Returns the indices of `count` elements, sorted by `compare`.
pub fn argsort(count: usize, compare: Compare<'_>) -> Vec<u32> {
    argsort_from_step(count, MAX_PREFIX_STEPS, &|_, _| 0, compare)
}

/// Returns the sorted indices like [`argsort`], but compares abbreviated keys first.
///
/// Faster for many elements with an expensive comparison. `prefix` maps an index and a step (0, 1,
/// …) to a number. If two elements have equal numbers in all steps before `n` and different numbers
/// in step `n`, the numbers of step `n` must have the order of `compare`.
pub fn argsort_by_prefix(count: usize, prefix: &dyn Fn(usize, usize) -> u64, compare: Compare<'_>) -> Vec<u32> {
    argsort_from_step(count, 0, prefix, compare)
}

fn argsort_from_step(
    count: usize,
    step: usize,
    prefix: &dyn Fn(usize, usize) -> u64,
    compare: Compare<'_>,
) -> Vec<u32> {
    let mut indices: Vec<(u64, u32)> = (0..count as u32).map(|index| (0, index)).collect();
    sort(&mut indices, step, prefix, compare);
    indices.into_iter().map(|(_, index)| index).collect()
}

/// Sorts indices whose elements have equal prefixes in all steps before `step`.
fn sort(entries: &mut [(u64, u32)], step: usize, prefix: &dyn Fn(usize, usize) -> u64, compare: Compare<'_>) {
    let mut combined = 0;
    for entry in &mut *entries {
        entry.0 = if step < MAX_PREFIX_STEPS { prefix(entry.1 as usize, step) } else { 0 };
        combined |= entry.0;
    }
    if step < MAX_PREFIX_STEPS && combined == 0 {
        // All remaining prefixes are 0: compare the elements in full.
        return sort(entries, MAX_PREFIX_STEPS, prefix, compare);
    }
    entries.sort_unstable_by(|a, b| {
        let order = a.0.cmp(&b.0).then_with(|| match step {
            MAX_PREFIX_STEPS => compare(a.1 as usize, b.1 as usize),
            _ => Ordering::Equal,
        });
        order.then(a.1.cmp(&b.1))
    });
    if step < MAX_PREFIX_STEPS {
        for run in entries.chunk_by_mut(|a, b| a.0 == b.0).filter(|run| run.len() > 1) {
            sort(run, step + 1, prefix, compare);
        }
    }
}

/// Returns the elements sorted by `compare`; equal elements keep their order.
pub fn sorted<T>(items: Vec<T>, compare: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    let order = argsort(items.len(), &|a, b| compare(&items[a], &items[b]));
    let mut remaining: Vec<Option<T>> = items.into_iter().map(Some).collect();
    order.into_iter().filter_map(|index| remaining[index as usize].take()).collect()
}

/// Returns the elements sorted by a key that is computed once per element.
pub fn sorted_by_key<T, K: Ord>(items: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let keys: Vec<K> = items.iter().map(key).collect();
    let order = argsort(items.len(), &|a, b| keys[a].cmp(&keys[b]));
    let mut remaining: Vec<Option<T>> = items.into_iter().map(Some).collect();
    order.into_iter().filter_map(|index| remaining[index as usize].take()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sorted_equals_the_standard_library(items in proptest::collection::vec((0..9u8, any::<u8>()), 0..60)) {
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            prop_assert_eq!(&sorted(items.clone(), |a, b| a.0.cmp(&b.0)), &expected);
            prop_assert_eq!(&sorted_by_key(items, |item| item.0), &expected);
        }

        #[test]
        fn prefixes_do_not_change_the_order(items in proptest::collection::vec(proptest::collection::vec(0..3u8, 0..8), 0..60)) {
            let expected = argsort(items.len(), &|a, b| items[a].cmp(&items[b]));
            let prefix = |index: usize, step: usize| items[index].get(step).map_or(0, |n| u64::from(*n) + 1);
            prop_assert_eq!(argsort_by_prefix(items.len(), &prefix, &|a, b| items[a].cmp(&items[b])), expected);
        }
    }
}
