//! The durable mirror of who watches what: for operations and for a pod that starts. The truth is in each pod's memory.

use crate::{Connection, Result};
use uuid::Uuid;

/// Seconds that a connection's entry lives without a renewal.
pub const LEASE_SECONDS: i32 = 90;

/// Enters a connection, or renews its lease.
pub async fn lease(connection: &mut Connection, pod: &str, id: &str, person: Uuid) -> Result<()> {
    sqlx::query(
        "insert into app.system_cache_connection (connection_id, pod_id, user_id, lease_until)
         values ($1, $2, $3, now() + make_interval(secs => $4))
         on conflict (connection_id) do update set lease_until = excluded.lease_until",
    )
    .bind(id)
    .bind(pod)
    .bind(person)
    .bind(f64::from(LEASE_SECONDS))
    .execute(connection)
    .await?;
    Ok(())
}

/// Renews the leases of all connections of a pod and sweeps those that ran out.
pub async fn renew(connection: &mut Connection, pod: &str) -> Result<()> {
    sqlx::query(
        "update app.system_cache_connection set lease_until = now() + make_interval(secs => $2) where pod_id = $1",
    )
    .bind(pod)
    .bind(f64::from(LEASE_SECONDS))
    .execute(&mut *connection)
    .await?;
    sqlx::query("delete from app.system_cache_connection where lease_until < now()").execute(connection).await?;
    Ok(())
}

/// Mirrors subscriptions of a connection.
pub async fn subscribe(
    connection: &mut Connection,
    id: &str,
    person: Uuid,
    codes: &[String],
    ids: &[Uuid],
) -> Result<i32> {
    Ok(sqlx::query_scalar("select app.bulk_subscribe($1, $2, $3, $4)")
        .bind(id)
        .bind(person)
        .bind(codes)
        .bind(ids)
        .fetch_one(connection)
        .await?)
}

/// Takes subscriptions away; without ids, all of the type.
pub async fn unsubscribe(connection: &mut Connection, id: &str, code: &str, ids: Option<&[Uuid]>) -> Result<()> {
    sqlx::query(
        "delete from app.system_cache_subscription
         where connection_id = $1 and entity_code = $2 and ($3::uuid[] is null or entity_id = any ($3))",
    )
    .bind(id)
    .bind(code)
    .bind(ids)
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes a connection away with all that it watched.
pub async fn end(connection: &mut Connection, id: &str) -> Result<()> {
    sqlx::query("delete from app.system_cache_connection where connection_id = $1")
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes all connections of a pod away, as it stops.
pub async fn end_pod(connection: &mut Connection, pod: &str) -> Result<()> {
    sqlx::query("delete from app.system_cache_connection where pod_id = $1").bind(pod).execute(connection).await?;
    Ok(())
}
