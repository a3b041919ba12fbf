//! Maps whose order follows from what was put in and nothing else, so that a run of the simulator can be repeated. Their keys are ids and names that come
//! from the server; nobody gains by making them collide.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A map.
pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<WordHasher>>;
/// A set.
pub type Set<K> = HashSet<K, BuildHasherDefault<WordHasher>>;

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
