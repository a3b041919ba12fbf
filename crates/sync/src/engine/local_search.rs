//! Search by name and code among the entities on this device, while the user types.
//!
//! Must not: send a request to the server. The search of the server returns its results separately.

use super::Engine;
use pmo_domain::EntityRef;
use serde_json::Value;

/// Search result.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchHit {
    /// Entity of the result.
    pub entity: EntityRef,
    /// Name of the entity.
    pub name: String,
    /// Code of the entity; empty if it has none.
    pub code: String,
    /// Rank of the match; a lower rank is better.
    rank: u8,
}

/// Returns the rank of a match; `None` if the name and the code do not match.
///
/// All texts must be in lower case. `all` is the whole search text, `words` are its words. The
/// ranks are: 0 if the code equals the search text, 1 if the name equals it, 2 if the name begins
/// with it, 3 if each word begins a word of the name, 4 if the code begins with the search text,
/// and 5 if the name contains each word.
fn rank(name: &str, code: &str, words: &[&str], all: &str) -> Option<u8> {
    if code == all {
        return Some(0);
    }
    if name.starts_with(all) {
        return Some(if name.len() == all.len() { 1 } else { 2 });
    }
    let begins_a_word = |word: &&str| name.split(|c: char| !c.is_alphanumeric()).any(|part| part.starts_with(word));
    if words.iter().all(begins_a_word) {
        return Some(3);
    }
    if code.starts_with(all) {
        return Some(4);
    }
    words.iter().all(|word| name.contains(word)).then_some(5)
}

impl Engine {
    /// Returns the `limit` best matches by name or code among the entities in memory.
    ///
    /// After [`crate::Event::LoadAll`], all entities on the device are read into memory.
    pub fn find(&self, text: &str, limit: usize) -> Vec<SearchHit> {
        let all = text.trim().to_lowercase();
        let words: Vec<&str> = all.split_whitespace().collect();
        if words.is_empty() {
            return Vec::new();
        }
        let mut hits: Vec<SearchHit> = Vec::new();
        // Exclusive upper bound of the ranks that can still be in the result.
        let mut rank_bound = u8::MAX;
        for (slot, row) in self.cache.rows().filter(|(_, row)| row.is_visible()) {
            let Value::String(name) = row.value("name") else { continue };
            let lower = name.to_lowercase();
            let code = match row.value("code") {
                Value::String(code) => code,
                _ => String::new(),
            };
            let Some(rank) = rank(&lower, &code.to_lowercase(), &words, &all).filter(|rank| *rank < rank_bound) else {
                continue;
            };
            let Some(entity) = self.cache.entity(slot) else { continue };
            hits.push(SearchHit { entity, name, code, rank });
            if hits.len() >= limit.saturating_mul(4).max(64) {
                retain_top_k(&mut hits, limit);
                rank_bound = hits.iter().map(|f| f.rank).max().map_or(u8::MAX, |rank| rank.saturating_add(1));
            }
        }
        retain_top_k(&mut hits, limit);
        hits
    }

    /// Whether a read from disk is still in progress.
    pub fn is_reading(&self) -> bool {
        self.persistence.is_reading()
    }

    /// Reads all chunks into memory, so that a search finds every entity on the device.
    pub(super) fn load_all(&mut self) {
        self.persistence.read_all_chunks(&mut self.effects);
    }
}

/// Sorts the hits by rank, then by length of the name, and truncates them to `limit`.
fn retain_top_k(hits: &mut Vec<SearchHit>, limit: usize) {
    *hits = pmo_domain::sort::sorted_by_key(std::mem::take(hits), |hit| {
        (hit.rank, hit.name.chars().count(), hit.name.clone(), hit.entity.id)
    });
    hits.truncate(limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_match_has_lower_rank() {
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
