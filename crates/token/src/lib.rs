//! Access tokens (JWT): the api signs them, the api and pubsub verify them.
//!
//! Must not: read a clock. The caller passes the current time, so that tests can cover expiry.

mod hs256_provider;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use pmo_domain::UnixMillis;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Lifetime of an access token, in seconds.
pub const TOKEN_TTL_SECONDS: i64 = 15 * 60;
/// Minimum length of the secret, in bytes: the output length of SHA-256.
pub const MIN_SECRET_BYTES: usize = 32;

/// Claims of an access token.
///
/// Contain the user's names, so that the change log can record the author without a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Id of the person.
    pub sub: Uuid,
    /// Time of issue, in seconds since the Unix epoch.
    pub iat: i64,
    /// Expiry, in seconds since the Unix epoch.
    pub exp: i64,
    /// Login name.
    pub username: String,
    /// Given name.
    #[serde(default)]
    pub first_name: String,
    /// Family name.
    #[serde(default)]
    pub last_name: String,
    /// Type of the person: `employee`, `customer`, `system` or `guest`.
    #[serde(default)]
    pub person_type: String,
}

impl Claims {
    /// Returns the time from which the token is expired.
    pub fn expires_at(&self) -> UnixMillis {
        UnixMillis::new(self.exp.saturating_mul(1000))
    }
}

/// Error of signing or verifying a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token has expired.
    #[error("the access token has expired")]
    Expired,
    /// The token is malformed or its signature does not match.
    #[error("the access token is not valid")]
    Invalid,
    /// The secret has fewer than [`MIN_SECRET_BYTES`] bytes.
    #[error("JWT_SECRET must have at least 32 bytes")]
    ShortSecret,
}

/// Keys that sign and verify tokens with one secret (HS256).
#[derive(Clone)]
pub struct TokenKeys {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl TokenKeys {
    /// Creates the keys from the secret that the api and pubsub share.
    ///
    /// Fails with [`TokenError::ShortSecret`] if the secret is too short.
    pub fn new(secret: &str) -> Result<Self, TokenError> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(TokenError::ShortSecret);
        }
        hs256_provider::install();
        Ok(Self {
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
        })
    }

    /// Signs `claims` and returns the token.
    pub fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.encoding).map_err(|_| TokenError::Invalid)
    }

    /// Verifies a token and returns its claims.
    ///
    /// A token is expired from its `exp` on.
    pub fn verify(&self, token: &str, now: UnixMillis) -> Result<Claims, TokenError> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false; // checked below against `now`
        validation.set_required_spec_claims(&["exp", "sub"]);
        let claims =
            jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation).map_err(|_| TokenError::Invalid)?.claims;
        if claims.expires_at() <= now { Err(TokenError::Expired) } else { Ok(claims) }
    }
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKeys(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: i64) -> UnixMillis {
        UnixMillis::new(seconds * 1000)
    }

    fn claims() -> Claims {
        Claims {
            sub: Uuid::from_u128(7),
            iat: 1000,
            exp: 1900,
            username: "a@b.c".into(),
            first_name: "A".into(),
            last_name: "B".into(),
            person_type: "employee".into(),
        }
    }

    #[test]
    fn token_is_valid_until_expiry_and_only_with_its_secret() {
        let keys = TokenKeys::new(&"s".repeat(32)).unwrap();
        let token = keys.sign(&claims()).unwrap();
        assert_eq!(keys.verify(&token, seconds(1899)), Ok(claims()));
        assert_eq!(keys.verify(&token, UnixMillis::new(1_899_999)), Ok(claims()));
        assert_eq!(keys.verify(&token, seconds(1900)), Err(TokenError::Expired));
        assert_eq!(TokenKeys::new(&"t".repeat(32)).unwrap().verify(&token, seconds(1000)), Err(TokenError::Invalid));
        assert_eq!(keys.verify(&format!("{token}x"), seconds(1000)), Err(TokenError::Invalid));
        assert_eq!(keys.verify("", seconds(1000)), Err(TokenError::Invalid));
    }

    #[test]
    fn unsigned_token_is_rejected() {
        let keys = TokenKeys::new(&"s".repeat(32)).unwrap();
        let signed = keys.sign(&claims()).unwrap();
        let body = signed.split('.').nth(1).unwrap();
        let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.");
        assert_eq!(keys.verify(&unsigned, seconds(1000)), Err(TokenError::Invalid));
    }

    #[test]
    fn token_signed_by_another_library_is_accepted() {
        // Created with Python's `hmac` and `hashlib` from the same claims and secret.
        const FOREIGN_TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDciLCJpYXQiOjEwMDAsImV4cCI6MTkwMCwidXNlcm5hbWUiOiJhQGIuYyIsImZpcnN0X25hbWUiOiJBIiwibGFzdF9uYW1lIjoiQiIsInBlcnNvbl90eXBlIjoiZW1wbG95ZWUifQ.amF8JW6CjD4m8G9b6sEocsqyEb1P31wPnhTTFKvgE8g";
        let keys = TokenKeys::new(&"s".repeat(32)).unwrap();
        assert_eq!(keys.verify(FOREIGN_TOKEN, seconds(1000)), Ok(claims()));
    }

    #[test]
    fn short_secret_is_rejected() {
        assert_eq!(TokenKeys::new("short").unwrap_err(), TokenError::ShortSecret);
    }
}
