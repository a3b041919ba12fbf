//! Password hashing with argon2id.
//!
//! Invariant: verification takes the same time whether or not the account has a hash.

use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use std::sync::LazyLock;

/// Hash that is verified if an account has none.
static DUMMY_HASH: LazyLock<String> = LazyLock::new(|| hash("dummy").unwrap_or_default());

/// Hashes a password with a random salt. Returns `None` if hashing fails.
pub fn hash(password: &str) -> Option<String> {
    Argon2::default().hash_password(password.as_bytes()).ok().map(|h| h.to_string())
}

/// Returns whether `password` matches `stored`.
///
/// Without a stored hash, does the same work against a dummy hash and returns `false`.
pub(super) fn verify(password: &str, stored: Option<&str>) -> bool {
    let hash_or_dummy = stored.unwrap_or(&DUMMY_HASH);
    let matches = Argon2::default().verify_password(password.as_bytes(), hash_or_dummy).is_ok();
    matches && stored.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_correct_password_matches() {
        let stored = hash("correct horse").unwrap();
        assert!(stored.starts_with("$argon2id$"));
        assert!(verify("correct horse", Some(&stored)));
        assert!(!verify("wrong horse", Some(&stored)));
        assert!(!verify("dummy", None));
    }
}
