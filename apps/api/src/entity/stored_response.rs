//! Responses of writes, stored under the idempotency key for repeated requests.

use crate::auth::AuthUser;
use crate::error::{ApiError, Result};
use axum::http::{HeaderMap, StatusCode};
use pmo_database::idempotency::{self, StoredResponse};
use pmo_database::{Connection, DatabaseError, Transaction};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Response of a write.
pub(crate) struct MutationResponse {
    /// Status: 200, 201 or 204; with [`super::Mutation::status_only`] also 304.
    pub status: StatusCode,
    /// The row or another body; `None` with 204.
    pub body: Option<Value>,
}

impl MutationResponse {
    /// Response without a body.
    pub(crate) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: None }
    }

    /// Response with a serialized body.
    pub(crate) fn with_body(status: StatusCode, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_value(body).map_err(|_| ApiError::Internal)?;
        Ok(Self { status, body: Some(body) })
    }
}

/// Idempotency key and fingerprint of a request, under which its response is stored.
pub(crate) type RequestKey = Option<(String, Vec<u8>)>;

/// Result of looking up an idempotency key.
pub(crate) enum IdempotencyCheck {
    /// First request: store its response under this key and fingerprint, if there is a key.
    New(RequestKey),
    /// Repeated request: the stored response.
    Replay(MutationResponse),
}

/// Returns the `Idempotency-Key` header, or `None` if it is absent.
///
/// Fails with 400 unless it has 1 to 200 visible ASCII characters.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim).filter(|key| (1..=200).contains(&key.len()));
    text.map(|key| Some(key.to_owned()))
        .ok_or_else(|| ApiError::bad_request("Idempotency-Key", "must be 1 to 200 visible ASCII characters"))
}

/// Looks up the response stored under an idempotency key.
///
/// `request` identifies the request; reusing a key for a different request is a 422 error. The
/// caller must check the permission first, because a stored response may contain a row.
pub(crate) async fn check_idempotency(
    conn: &mut Connection,
    user: &AuthUser,
    key: Option<&str>,
    request: &[&[u8]],
) -> Result<IdempotencyCheck> {
    let Some(key) = key else { return Ok(IdempotencyCheck::New(None)) };
    let mut hash = Sha256::new();
    for part in request {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let fingerprint = hash.finalize().to_vec();
    match idempotency::find(conn, user.person.0, key).await? {
        None => Ok(IdempotencyCheck::New(Some((key.to_owned(), fingerprint)))),
        Some(stored) if stored.fingerprint == fingerprint => {
            let status = u16::try_from(stored.status).ok().and_then(|s| StatusCode::from_u16(s).ok());
            Ok(IdempotencyCheck::Replay(MutationResponse {
                status: status.unwrap_or(StatusCode::OK),
                body: stored.body,
            }))
        }
        Some(_) => {
            Err(ApiError::unprocessable("Idempotency-Key", "was already used for another request; use a new key"))
        }
    }
}

/// Looks up the response stored under the idempotency key of a request.
pub(crate) async fn check_idempotency_header(
    transaction: &mut Transaction,
    user: &AuthUser,
    headers: &HeaderMap,
    request: &[&[u8]],
) -> Result<IdempotencyCheck> {
    check_idempotency(transaction, user, idempotency_key(headers)?.as_deref(), request).await
}

/// Stores a response under its idempotency key, if there is one.
pub(crate) async fn store_response(
    conn: &mut Connection,
    user: &AuthUser,
    key: RequestKey,
    response: &MutationResponse,
) -> Result<()> {
    if let Some((key, fingerprint)) = key {
        let status = i16::try_from(response.status.as_u16()).map_err(|_| ApiError::Internal)?;
        let stored = StoredResponse { fingerprint, status, body: response.body.clone() };
        idempotency::store(conn, user.person.0, &key, &stored).await?;
    }
    Ok(())
}

/// Stores the response under its idempotency key and commits.
pub(crate) async fn commit_with_response(
    mut transaction: Transaction,
    user: &AuthUser,
    key: RequestKey,
    response: MutationResponse,
) -> Result<MutationResponse> {
    store_response(&mut transaction, user, key, &response).await?;
    transaction.commit().await.map_err(DatabaseError::from)?;
    Ok(response)
}

/// Executes a write once per idempotency key and commits; a repeated request gets the stored
/// response.
///
/// `request` identifies the request, as in [`check_idempotency`].
pub(crate) async fn execute_once(
    mut transaction: Transaction,
    user: &AuthUser,
    headers: &HeaderMap,
    request: &[&[u8]],
    execute: impl AsyncFnOnce(&mut Connection) -> Result<MutationResponse>,
) -> Result<MutationResponse> {
    match check_idempotency_header(&mut transaction, user, headers, request).await? {
        IdempotencyCheck::Replay(response) => Ok(response),
        IdempotencyCheck::New(key) => {
            let response = execute(&mut transaction).await?;
            commit_with_response(transaction, user, key, response).await
        }
    }
}
