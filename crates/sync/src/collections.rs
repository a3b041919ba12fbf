//! Maps with a deterministic iteration order, which makes simulator runs reproducible.
//!
//! The hash has no random seed. Keys are ids and names chosen by the server, so hash flooding is
//! not a concern.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// Hash map with a deterministic iteration order.
pub type DetHashMap<K, V> = HashMap<K, V, BuildHasherDefault<WordHasher>>;
/// Hash set with a deterministic iteration order.
pub type DetHashSet<K> = HashSet<K, BuildHasherDefault<WordHasher>>;

/// Fast unseeded hasher that processes eight bytes at a time; not resistant to crafted keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct WordHasher(u64);

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        // A product propagates differences only to higher bits, but hash tables use the low bits as
        // well: the high half is mixed into the low half before and after the multiplication.
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

/// Sorted map for few entries, stored as a vector.
///
/// A `BTreeMap` per pair of types would add code to the download. Insertion and removal are linear:
/// collections that grow with the data use another type.
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
    /// Returns the value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        Some(&self.0[self.search(key).ok()?].1)
    }
    /// Returns the value of a key for modification.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let index = self.search(key).ok()?;
        Some(&mut self.0[index].1)
    }
    /// Returns whether the map contains a key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.search(key).is_ok()
    }
    /// Sets the value of a key and returns the previous value.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.search(&key) {
            Ok(index) => Some(std::mem::replace(&mut self.0[index].1, value)),
            Err(index) => {
                self.0.insert(index, (key, value));
                None
            }
        }
    }
    /// Returns the value of a key, inserting the result of `default` if the key is missing.
    pub fn get_or_insert_with(&mut self, key: K, default: impl FnOnce() -> V) -> &mut V {
        let index = match self.search(&key) {
            Ok(index) => index,
            Err(index) => {
                self.0.insert(index, (key, default()));
                index
            }
        };
        &mut self.0[index].1
    }
    /// Removes a key and returns its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let index = self.search(key).ok()?;
        Some(self.0.remove(index).1)
    }
    /// Removes the entries for which `predicate` returns `false`.
    pub fn retain(&mut self, predicate: impl Fn(&K, &V) -> bool) {
        self.0.retain(|(key, value)| predicate(key, value));
    }
    /// Removes all entries.
    pub fn clear(&mut self) {
        self.0.clear();
    }
    /// Returns whether the map has no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Iterates over the keys in ascending order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }
    /// Iterates over the values in ascending order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }
    /// Iterates over the entries in ascending order of their keys.
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
        fn vec_map_behaves_like_btree_map(steps in prop::collection::vec((0..6u8, 0..12u8, 0..99u8), 0..60)) {
            let (mut vec_map, mut btree_map) = (VecMap::default(), BTreeMap::new());
            for (step, key, value) in steps {
                match step {
                    0 | 1 => prop_assert_eq!(vec_map.insert(key, value), btree_map.insert(key, value)),
                    2 => prop_assert_eq!(vec_map.remove(&key), btree_map.remove(&key)),
                    3 => prop_assert_eq!(vec_map.get_or_insert_with(key, || value), btree_map.entry(key).or_insert(value)),
                    4 => {
                        vec_map.retain(|k, v| k % 3 != key % 3 || v > &value);
                        btree_map.retain(|k, v| k % 3 != key % 3 || *v > value);
                    }
                    _ => prop_assert_eq!(vec_map.get_mut(&key), btree_map.get_mut(&key)),
                }
                prop_assert!(vec_map.iter().eq(btree_map.iter()));
                prop_assert_eq!((vec_map.get(&key), vec_map.contains_key(&key), vec_map.is_empty()), (btree_map.get(&key), btree_map.contains_key(&key), btree_map.is_empty()));
            }
            prop_assert!(vec_map.keys().eq(btree_map.keys()) && vec_map.values().eq(btree_map.values()));
            prop_assert!(vec_map.into_iter().eq(btree_map));
        }
    }
}
