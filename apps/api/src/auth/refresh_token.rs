//! Refresh token: random, in an `HttpOnly` cookie, replaced at each use.
//!
//! The successor is derived from the token with the secret of the service. A repeated request
//! within the grace period (two tabs, a lost response) thus gets the same successor, while only
//! hashes are stored.

use axum_extra::extract::cookie::Cookie;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Name of the refresh cookie.
pub(super) const REFRESH_COOKIE_NAME: &str = "pmo_refresh";
/// Days after which an unused session expires.
pub(super) const SESSION_TTL_DAYS: i32 = 30;
/// Grace period, in seconds, in which reuse of a token is not treated as theft.
pub(super) const GRACE_SECONDS: i32 = 30;

/// Generates a token with 244 random bits.
pub(super) fn generate() -> String {
    let mut bytes = [0u8; 32];
    bytes[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    bytes[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Returns the SHA-256 hash under which a token is stored.
pub(super) fn hash_token(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// Derives the token that replaces `token`: its HMAC-SHA-256 with the secret of the service.
pub(super) fn derive_successor(token: &str, secret: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return generate() };
    mac.update(b"refresh:");
    mac.update(token.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// Builds the cookie that carries `token`.
pub(super) fn cookie(token: &str, secure: bool) -> Cookie<'static> {
    let secure = if secure { "; Secure" } else { "" };
    let age = SESSION_TTL_DAYS * 24 * 60 * 60;
    let text =
        format!("{REFRESH_COOKIE_NAME}={token}; HttpOnly; SameSite=Strict; Path=/api/v1/auth; Max-Age={age}{secure}");
    Cookie::parse(text).unwrap_or_else(|_| Cookie::new(REFRESH_COOKIE_NAME, ""))
}

/// Builds the cookie that removes the refresh cookie from the browser.
pub(super) fn expired_cookie(secure: bool) -> Cookie<'static> {
    let mut expired = cookie("", secure);
    expired.make_removal();
    expired
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successor_depends_on_token_and_secret_only() {
        let token = generate();
        assert_eq!(derive_successor(&token, "a"), derive_successor(&token, "a"));
        assert_ne!(derive_successor(&token, "a"), derive_successor(&token, "b"));
        assert_ne!(derive_successor(&token, "a"), token);
        assert_ne!(generate(), generate());
    }
}
