//! Access tokens: the api signs them, api and pubsub read them. This crate must never read a clock: the caller says what time
//! it is, so that expiry can be tested.

mod hs256_provider;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Seconds that an access token lives.
pub const TOKEN_TTL_SECONDS: i64 = 15 * 60;
/// Shortest secret, in bytes: as long as the hash that it keys.
pub const MIN_SECRET_BYTES: usize = 32;

/// What a token says of its bearer. The names are there so that a write needs no look-up to be logged in their name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The person.
    pub sub: Uuid,
    /// Seconds since 1970 at which it was issued.
    pub iat: i64,
    /// Seconds since 1970 from which it counts for nothing.
    pub exp: i64,
    /// Sign-in name.
    pub username: String,
    /// Given name.
    #[serde(default)]
    pub first_name: String,
    /// Family name.
    #[serde(default)]
    pub last_name: String,
    /// employee, customer, system or guest.
    #[serde(default)]
    pub person_type: String,
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Its time is over.
    #[error("the access token has expired")]
    Expired,
    /// It was not made here, or was changed.
    #[error("the access token is not valid")]
    Invalid,
    /// The secret is too short to sign with.
    #[error("JWT_SECRET must have at least 32 bytes")]
    ShortSecret,
}

/// Signs and reads tokens with one secret (HS256).
#[derive(Clone)]
pub struct TokenKeys {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl TokenKeys {
    /// Takes the secret that api and pubsub share.
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

    /// Signs `claims`.
    pub fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.encoding).map_err(|_| TokenError::Invalid)
    }

    /// Reads a token at the moment `now`, in seconds since 1970.
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false; // checked below, against the caller's clock
        validation.set_required_spec_claims(&["exp", "sub"]);
        let claims =
            jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation).map_err(|_| TokenError::Invalid)?.claims;
        if claims.exp <= now { Err(TokenError::Expired) } else { Ok(claims) }
    }
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_token_counts_until_its_time_is_over_and_only_with_its_secret() {
        let keys = TokenKeys::new(&"s".repeat(32)).unwrap();
        let token = keys.sign(&claims()).unwrap();
        assert_eq!(keys.verify(&token, 1899), Ok(claims()));
        assert_eq!(keys.verify(&token, 1900), Err(TokenError::Expired));
        assert_eq!(TokenKeys::new(&"t".repeat(32)).unwrap().verify(&token, 1000), Err(TokenError::Invalid));
        assert_eq!(keys.verify(&format!("{token}x"), 1000), Err(TokenError::Invalid));
        assert_eq!(keys.verify("", 1000), Err(TokenError::Invalid));
    }

    #[test]
    fn an_unsigned_token_is_bad() {
        let keys = TokenKeys::new(&"s".repeat(32)).unwrap();
        let signed = keys.sign(&claims()).unwrap();
        let body = signed.split('.').nth(1).unwrap();
        let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.");
        assert_eq!(keys.verify(&none, 1000), Err(TokenError::Invalid));
    }

    #[test]
    fn a_token_that_another_maker_signed_with_the_secret_is_read() {
        // Made with Python's hmac and hashlib from the claims and the secret below.
        const FOREIGN_TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDciLCJpYXQiOjEwMDAsImV4cCI6MTkwMCwidXNlcm5hbWUiOiJhQGIuYyIsImZpcnN0X25hbWUiOiJBIiwibGFzdF9uYW1lIjoiQiIsInBlcnNvbl90eXBlIjoiZW1wbG95ZWUifQ.amF8JW6CjD4m8G9b6sEocsqyEb1P31wPnhTTFKvgE8g";
        let keys = TokenKeys::new(&"s".repeat(32)).unwrap();
        assert_eq!(keys.verify(FOREIGN_TOKEN, 1000), Ok(claims()));
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert_eq!(TokenKeys::new("short").unwrap_err(), TokenError::ShortSecret);
    }
}
