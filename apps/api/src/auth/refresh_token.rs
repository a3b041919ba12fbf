//! The refresh token: random, in an HttpOnly cookie, replaced at each use. Its successor is computed from it with the service's
//! secret, so that a repeat within the grace (two tabs, a lost answer) gets the same one and nothing readable is stored.

use axum_extra::extract::cookie::Cookie;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The cookie's name.
pub const REFRESH_COOKIE_NAME: &str = "pmo_refresh";
/// Days that a session lives unused.
pub const SESSION_TTL_DAYS: i32 = 30;
/// Seconds within which a repeat is no theft.
pub const GRACE_SECONDS: i32 = 30;

/// A new token of 244 random bits.
pub fn generate() -> String {
    let mut bytes = [0u8; 32];
    bytes[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    bytes[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What is stored of a token.
pub fn hash_token(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// The token that replaces `token`: its HMAC-SHA-256 under the service's secret.
pub fn derive_successor(token: &str, secret: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return generate() };
    mac.update(b"refresh:");
    mac.update(token.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// The cookie that carries `token`.
pub fn cookie(token: &str, secure: bool) -> Cookie<'static> {
    let secure = if secure { "; Secure" } else { "" };
    let age = SESSION_TTL_DAYS * 24 * 60 * 60;
    let text =
        format!("{REFRESH_COOKIE_NAME}={token}; HttpOnly; SameSite=Strict; Path=/api/v1/auth; Max-Age={age}{secure}");
    Cookie::parse(text).unwrap_or_else(|_| Cookie::new(REFRESH_COOKIE_NAME, ""))
}

/// The cookie that takes it away.
pub fn expired_cookie(secure: bool) -> Cookie<'static> {
    let mut gone = cookie("", secure);
    gone.make_removal();
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_gets_the_same_successor_and_another_secret_another() {
        let token = generate();
        assert_eq!(derive_successor(&token, "a"), derive_successor(&token, "a"));
        assert_ne!(derive_successor(&token, "a"), derive_successor(&token, "b"));
        assert_ne!(derive_successor(&token, "a"), token);
        assert_ne!(generate(), generate());
    }
}
