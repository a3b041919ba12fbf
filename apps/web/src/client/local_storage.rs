//! Small per-user values in `window.localStorage`, such as an unfinished comment.
//!
//! Keys contain the id of the signed-in user. The values are removed on sign-out, unless the user
//! chooses to keep unsent work.

use super::{client, storage};

const PREFIX: &str = "pmo.kept.";

fn storage_key(name: &str) -> Option<String> {
    let person = client().read(pmo_sync::Engine::person)?;
    Some(format!("{PREFIX}{}.{name}", person.0))
}

/// Returns the value stored under `name` for the signed-in user, if any.
pub fn get(name: &str) -> Option<String> {
    storage()?.get_item(&storage_key(name)?).ok()?
}

/// Stores `value` under `name` for the signed-in user; an empty value removes the entry.
pub fn set(name: &str, value: &str) {
    let (Some(storage), Some(key)) = (storage(), storage_key(name)) else { return };
    let _ = if value.is_empty() { storage.remove_item(&key) } else { storage.set_item(&key, value) };
}

/// Returns whether any value is stored for the signed-in user.
pub fn has_entries() -> bool {
    let (Some(storage), Some(prefix)) = (storage(), storage_key("")) else { return false };
    (0..storage.length().unwrap_or(0))
        .any(|n| storage.key(n).ok().flatten().is_some_and(|key| key.starts_with(&prefix)))
}

/// Removes every stored value of the signed-in user.
pub fn clear() {
    let (Some(storage), Some(prefix)) = (storage(), storage_key("")) else { return };
    let keys = (0..storage.length().unwrap_or(0)).filter_map(|n| storage.key(n).ok().flatten());
    for key in keys.filter(|key| key.starts_with(&prefix)).collect::<Vec<_>>() {
        let _ = storage.remove_item(&key);
    }
}
