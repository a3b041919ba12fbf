//! Stored responses of writes with an idempotency key.
//!
//! Invariant: a response is stored in the transaction of its write, so both exist or neither.

use crate::{Connection, Result};
use serde_json::Value;
use uuid::Uuid;

/// Retention of stored responses, in days; longer than a device may be offline.
pub const RETENTION_DAYS: i32 = 30;

/// Stored response of a write.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    /// Hash of the request, to detect a key that is used for another request.
    pub fingerprint: Vec<u8>,
    /// HTTP status of the response.
    pub status: i16,
    /// Body of the response.
    pub body: Option<Value>,
}

/// Returns the response stored under a person's key.
///
/// Locks the key until the transaction ends: waits while a concurrent transaction uses it.
pub async fn find(conn: &mut Connection, person: Uuid, key: &str) -> Result<Option<StoredResponse>> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1::text || $2, 0))")
        .bind(person)
        .bind(key)
        .execute(&mut *conn)
        .await?;
    let row: Option<(Vec<u8>, i16, Option<Value>)> =
        sqlx::query_as("select fingerprint, status, body from app.idempotency_key where person_id = $1 and key = $2")
            .bind(person)
            .bind(key)
            .fetch_optional(conn)
            .await?;
    Ok(row.map(|(fingerprint, status, body)| StoredResponse { fingerprint, status, body }))
}

/// Stores a response.
pub async fn store(conn: &mut Connection, person: Uuid, key: &str, response: &StoredResponse) -> Result<()> {
    sqlx::query(
        "insert into app.idempotency_key (person_id, key, fingerprint, status, body) values ($1, $2, $3, $4, $5)",
    )
    .bind(person)
    .bind(key)
    .bind(&response.fingerprint)
    .bind(response.status)
    .bind(&response.body)
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes responses older than [`RETENTION_DAYS`].
pub async fn delete_expired(conn: &mut Connection) -> Result<()> {
    sqlx::query("delete from app.idempotency_key where created_ts < now() - make_interval(days => $1)")
        .bind(RETENTION_DAYS)
        .execute(conn)
        .await?;
    Ok(())
}
