//! Finding things by their names among all that this device holds, for whoever types. It must never ask the network: what the server knows beyond this is another
//! answer.

use super::Engine;
use pmo_domain::EntityRef;
use serde_json::Value;

/// A thing that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchHit {
    /// Which.
    pub entity: EntityRef,
    /// Its name.
    pub name: String,
    /// Its code, where it has one.
    pub code: String,
    /// How well it fits; lower is better.
    rank: u8,
}

/// How well a name and a code fit `words`, all of them in lower case: the code itself, a name that begins as they do, words that begin as each of them
/// does, or each somewhere in it. None where one of them is nowhere.
fn rank(name: &str, code: &str, words: &[&str], all: &str) -> Option<u8> {
    if code == all {
        return Some(0);
    }
    if name.starts_with(all) {
        return Some(if name.len() == all.len() { 1 } else { 2 });
    }
    let begins = |word: &&str| name.split(|c: char| !c.is_alphanumeric()).any(|part| part.starts_with(word));
    if words.iter().all(begins) {
        return Some(3);
    }
    if code.starts_with(all) {
        return Some(4);
    }
    words.iter().all(|word| name.contains(word)).then_some(5)
}

impl Engine {
    /// The `most` things whose name or code fits the words best, of those that this device has in memory; all of it is after [`crate::Event::Gather`].
    pub fn find(&self, words: &str, most: usize) -> Vec<SearchHit> {
        let all = words.trim().to_lowercase();
        let parts: Vec<&str> = all.split_whitespace().collect();
        if parts.is_empty() {
            return Vec::new();
        }
        let mut found: Vec<SearchHit> = Vec::new();
        // The worst of those that are kept, once there are enough.
        let mut worst = u8::MAX;
        for (slot, row) in self.cache.rows().filter(|(_, row)| row.is_visible()) {
            let Value::String(name) = row.value("name") else { continue };
            let lower = name.to_lowercase();
            let code = match row.value("code") {
                Value::String(code) => code,
                _ => String::new(),
            };
            let Some(rank) = rank(&lower, &code.to_lowercase(), &parts, &all).filter(|rank| *rank < worst) else {
                continue;
            };
            let Some(entity) = self.cache.entity(slot) else { continue };
            found.push(SearchHit { entity, name, code, rank });
            if found.len() >= most.saturating_mul(4).max(64) {
                retain_top_k(&mut found, most);
                worst = found.iter().map(|f| f.rank).max().map_or(u8::MAX, |rank| rank.saturating_add(1));
            }
        }
        retain_top_k(&mut found, most);
        found
    }

    /// Whether the device is still being asked for what it holds.
    pub fn is_reading(&self) -> bool {
        !self.persistence.reading.is_empty()
    }

    /// Reads all that the device holds into memory, so that all of it can be found.
    pub(super) fn load_all(&mut self) {
        let all: Vec<u32> = self.persistence.chunks.keys().copied().collect();
        self.read_chunks(all.into_iter());
    }
}

fn retain_top_k(found: &mut Vec<SearchHit>, most: usize) {
    *found = pmo_domain::sort::sorted_by_key(std::mem::take(found), |f| {
        (f.rank, f.name.chars().count(), f.name.clone(), f.entity.id)
    });
    found.truncate(most);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_best_comes_first() {
        let rank = |name: &str, code: &str, words: &str| rank(name, code, &words.split(' ').collect::<Vec<_>>(), words);
        assert_eq!(rank("anything", "tsk-7", "tsk-7"), Some(0));
        assert_eq!(rank("site map", "", "site map"), Some(1));
        assert_eq!(rank("site map of old", "", "site map"), Some(2));
        assert_eq!(rank("map of the site", "", "site map"), Some(3));
        assert_eq!(rank("anything", "tsk-71", "tsk-7"), Some(4));
        assert_eq!(rank("offsite roadmap", "", "site map"), Some(5));
        assert_eq!(rank("site", "", "site map"), None);
    }
}
