//! The durable mirror of who watches what: for operations and for a pod that starts. The truth is in each pod's memory.

use crate::{Connection, Result};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Seconds that a connection's entry lives without a renewal.
pub const LEASE_SECONDS: i32 = 90;

/// Enters a pod's connections, each with its person, or renews their leases.
pub async fn upsert_leases(connection: &mut Connection, pod: &str, here: &BTreeMap<String, Uuid>) -> Result<()> {
    sqlx::query(
        "insert into app.system_cache_connection (connection_id, pod_id, user_id, lease_until)
         select c.id, $1, c.person, now() + make_interval(secs => $2) from unnest($3::text[], $4::uuid[]) as c (id, person)
         on conflict (connection_id) do update set lease_until = excluded.lease_until",
    )
    .bind(pod)
    .bind(f64::from(LEASE_SECONDS))
    .bind(here.keys().collect::<Vec<_>>())
    .bind(here.values().collect::<Vec<_>>())
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

/// Takes subscriptions away; without ids, all of the type, without a type, all.
pub async fn unsubscribe(
    connection: &mut Connection,
    id: &str,
    code: Option<&str>,
    ids: Option<&[Uuid]>,
) -> Result<()> {
    sqlx::query(
        "delete from app.system_cache_subscription
         where connection_id = $1 and ($2::text is null or entity_code = $2) and ($3::uuid[] is null or entity_id = any ($3))",
    )
    .bind(id)
    .bind(code)
    .bind(ids)
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes connections away with all that they watched.
pub async fn delete_connections(connection: &mut Connection, ids: &[String]) -> Result<()> {
    sqlx::query("delete from app.system_cache_connection where connection_id = any ($1)")
        .bind(ids)
        .execute(connection)
        .await?;
    Ok(())
}

/// Takes all connections of a pod away, as it stops.
pub async fn delete_pod(connection: &mut Connection, pod: &str) -> Result<()> {
    sqlx::query("delete from app.system_cache_connection where pod_id = $1").bind(pod).execute(connection).await?;
    Ok(())
}
