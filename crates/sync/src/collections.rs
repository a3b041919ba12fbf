//! Maps whose order follows from what was put in and nothing else, so that a run of the simulator can be repeated. Their keys are ids and names that come
//! from the server; nobody gains by making them collide.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A map.
pub type DetHashMap<K, V> = HashMap<K, V, BuildHasherDefault<WordHasher>>;
/// A set.
pub type DetHashSet<K> = HashSet<K, BuildHasherDefault<WordHasher>>;

/// Takes eight bytes at a time. Ids are random where it matters.
#[derive(Clone, Copy, Debug, Default)]
pub struct WordHasher(u64);

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        // A product carries upwards alone: what differs in the last byte of a word must come down to where tables look.
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed ^ (mixed >> 32)
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0.rotate_left(29) ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }
}

/// A map of few things, in the order of their keys: a vector, because a tree for each kind of thing is as much code again to download. What grows with the
/// data is kept elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct VecMap<K, V>(Vec<(K, V)>);

impl<K, V> Default for VecMap<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> VecMap<K, V> {
    fn search(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(key))
    }
    /// What is kept under a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        Some(&self.0[self.search(key).ok()?].1)
    }
    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.search(key).ok()?;
        Some(&mut self.0[at].1)
    }
    /// Whether there is anything under a key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.search(key).is_ok()
    }
    /// Keeps something under a key; answers what was there before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.search(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                self.0.insert(at, (key, value));
                None
            }
        }
    }
    /// What is kept under a key, made where there is nothing.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let at = match self.search(&key) {
            Ok(at) => at,
            Err(at) => {
                self.0.insert(at, (key, make()));
                at
            }
        };
        &mut self.0[at].1
    }
    /// Takes out what is kept under a key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.search(key).ok()?;
        Some(self.0.remove(at).1)
    }
    /// Keeps what `stays` says.
    pub fn retain(&mut self, stays: impl Fn(&K, &V) -> bool) {
        self.0.retain(|(key, value)| stays(key, value));
    }
    /// Takes out everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }
    /// Values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }
    /// All of it, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl<K, V> IntoIterator for VecMap<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::VecMap;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn few_things_are_kept_as_a_tree_keeps_them(steps in prop::collection::vec((0..6u8, 0..12u8, 0..99u8), 0..60)) {
            let (mut few, mut tree) = (VecMap::default(), BTreeMap::new());
            for (step, key, value) in steps {
                match step {
                    0 | 1 => prop_assert_eq!(few.insert(key, value), tree.insert(key, value)),
                    2 => prop_assert_eq!(few.remove(&key), tree.remove(&key)),
                    3 => prop_assert_eq!(few.get_or_insert_with(key, || value), tree.entry(key).or_insert(value)),
                    4 => {
                        few.retain(|k, v| k % 3 != key % 3 || v > &value);
                        tree.retain(|k, v| k % 3 != key % 3 || *v > value);
                    }
                    _ => prop_assert_eq!(few.get_mut(&key), tree.get_mut(&key)),
                }
                prop_assert!(few.iter().eq(tree.iter()));
                prop_assert_eq!((few.get(&key), few.contains_key(&key), few.is_empty()), (tree.get(&key), tree.contains_key(&key), tree.is_empty()));
            }
            prop_assert!(few.keys().eq(tree.keys()) && few.values().eq(tree.values()));
            prop_assert!(few.into_iter().eq(tree));
        }
    }
}
