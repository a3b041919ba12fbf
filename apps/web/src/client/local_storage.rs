//! Small values in `window.localStorage`: the last user and, per user, drafts of comments.
//!
//! Keys of a user's values contain their id. These values are removed on sign-out, unless the user
//! chooses to keep unsent work.

use pmo_domain::PersonId;
use pmo_domain::api_types::User;
use std::cell::Cell;

const PREFIX: &str = "pmo.kept.";
const PERSON_KEY: &str = "pmo.person";
/// Flag of a sign-out that the server has not confirmed yet.
const SIGNED_OUT_KEY: &str = "pmo.signed-out";

thread_local! {
    /// The signed-in user, whose values are read and written.
    static PERSON: Cell<Option<PersonId>> = const { Cell::new(None) };
}

/// Sets the signed-in user, to whom the stored values belong.
pub(super) fn set_person(person: PersonId) {
    PERSON.set(Some(person));
}

fn storage() -> Option<web_sys::Storage> {
    web_sys::window()?.local_storage().ok()?
}

fn storage_key(name: &str) -> Option<String> {
    let person = PERSON.get()?;
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

/// Returns the user who signed in last, unless they have signed out.
pub(super) fn last_user() -> Option<User> {
    serde_json::from_str(&storage()?.get_item(PERSON_KEY).ok()??).ok()
}

/// Stores the last user; `None` removes them.
pub(super) fn save_last_user(user: Option<&User>) {
    let Some(storage) = storage() else { return };
    let _ = match user.and_then(|u| serde_json::to_string(u).ok()) {
        Some(text) => storage.set_item(PERSON_KEY, &text),
        None => storage.remove_item(PERSON_KEY),
    };
}

/// Returns whether the server has not confirmed the last sign-out yet.
pub(super) fn is_sign_out_pending() -> bool {
    storage().and_then(|s| s.get_item(SIGNED_OUT_KEY).ok()?).is_some()
}

/// Records whether the server has yet to confirm the last sign-out.
pub(super) fn set_sign_out_pending(pending: bool) {
    if let Some(storage) = storage() {
        let _ = if pending { storage.set_item(SIGNED_OUT_KEY, "1") } else { storage.remove_item(SIGNED_OUT_KEY) };
    }
}
