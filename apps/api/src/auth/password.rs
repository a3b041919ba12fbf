//! argon2id. Checking costs the same whether or not there is a hash to check against.

use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use std::sync::LazyLock;

static DUMMY_HASH: LazyLock<String> = LazyLock::new(|| hash("nobody").unwrap_or_default());

/// Hashes a password with a fresh salt.
pub fn hash(password: &str) -> Option<String> {
    Argon2::default().hash_password(password.as_bytes()).ok().map(|h| h.to_string())
}

/// Whether `password` is the one of `stored`; with no hash, works as long and says no.
pub fn verify(password: &str, stored: Option<&str>) -> bool {
    let against = stored.unwrap_or(&DUMMY_HASH);
    let matches = Argon2::default().verify_password(password.as_bytes(), against).is_ok();
    matches && stored.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_matches() {
        let stored = hash("correct horse").unwrap();
        assert!(stored.starts_with("$argon2id$"));
        assert!(verify("correct horse", Some(&stored)));
        assert!(!verify("wrong horse", Some(&stored)));
        assert!(!verify("nobody", None));
    }
}
