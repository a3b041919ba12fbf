//! Answers kept for repeats. An answer is stored in the transaction of the write that it answers: both are there or neither.

use crate::{Connection, Result};
use serde_json::Value;
use uuid::Uuid;

/// Days that answers are kept: longer than a device may stay away.
pub const RETENTION_DAYS: i32 = 30;

/// A kept answer.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    /// What was asked, hashed.
    pub fingerprint: Vec<u8>,
    /// The status that was answered.
    pub status: i16,
    /// The body that was answered.
    pub body: Option<Value>,
}

/// The answer kept under a person's key. Waits where the same key is being used by a running transaction.
pub async fn find(connection: &mut Connection, person: Uuid, key: &str) -> Result<Option<StoredResponse>> {
    sqlx::query("select pg_advisory_xact_lock(hashtextextended($1::text || $2, 0))")
        .bind(person)
        .bind(key)
        .execute(&mut *connection)
        .await?;
    let line: Option<(Vec<u8>, i16, Option<Value>)> =
        sqlx::query_as("select fingerprint, status, body from app.idempotency_key where person_id = $1 and key = $2")
            .bind(person)
            .bind(key)
            .fetch_optional(connection)
            .await?;
    Ok(line.map(|(fingerprint, status, body)| StoredResponse { fingerprint, status, body }))
}

/// Keeps an answer.
pub async fn store(connection: &mut Connection, person: Uuid, key: &str, answer: &StoredResponse) -> Result<()> {
    sqlx::query(
        "insert into app.idempotency_key (person_id, key, fingerprint, status, body) values ($1, $2, $3, $4, $5)",
    )
    .bind(person)
    .bind(key)
    .bind(&answer.fingerprint)
    .bind(answer.status)
    .bind(&answer.body)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets old answers.
pub async fn delete_expired(connection: &mut Connection) -> Result<()> {
    sqlx::query("delete from app.idempotency_key where created_ts < now() - make_interval(days => $1)")
        .bind(RETENTION_DAYS)
        .execute(connection)
        .await?;
    Ok(())
}
