//! Small things that a person leaves on this device between visits, such as a comment that is half written. Each is kept under its person, and goes when they sign out
//! without keeping their work.

use super::{client, storage};

const PREFIX: &str = "pmo.kept.";

fn name(of: &str) -> Option<String> {
    let person = client().read(pmo_sync::Engine::person)?;
    Some(format!("{PREFIX}{}.{of}", person.0))
}

/// What was left there.
pub fn get(of: &str) -> Option<String> {
    storage()?.get_item(&name(of)?).ok()?
}

/// Leaves something there; nothing where it is empty.
pub fn set(of: &str, text: &str) {
    let (Some(storage), Some(name)) = (storage(), name(of)) else { return };
    let _ = if text.is_empty() { storage.remove_item(&name) } else { storage.set_item(&name, text) };
}

/// Whether this person has left anything here.
pub fn has_entries() -> bool {
    let (Some(storage), Some(prefix)) = (storage(), name("")) else { return false };
    (0..storage.length().unwrap_or(0))
        .any(|n| storage.key(n).ok().flatten().is_some_and(|key| key.starts_with(&prefix)))
}

/// Takes all of this person's away.
pub fn clear() {
    let (Some(storage), Some(prefix)) = (storage(), name("")) else { return };
    let all = (0..storage.length().unwrap_or(0)).filter_map(|n| storage.key(n).ok().flatten());
    for key in all.filter(|key| key.starts_with(&prefix)).collect::<Vec<_>>() {
        let _ = storage.remove_item(&key);
    }
}
