//! Mirror of all connections and subscriptions in the database, for operators and starting pods.
//!
//! The authoritative state is in the memory of each pod.

use crate::{Connection, Result};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Lifetime of a connection's entry without renewal, in seconds.
pub const LEASE_SECONDS: i32 = 90;

/// Inserts connections of a pod, each with its user, or renews their leases.
pub async fn upsert_leases(conn: &mut Connection, pod: &str, connections: &BTreeMap<String, Uuid>) -> Result<()> {
    sqlx::query(
        "insert into app.system_cache_connection (connection_id, pod_id, user_id, lease_until)
         select c.id, $1, c.person, now() + make_interval(secs => $2) from unnest($3::text[], $4::uuid[]) as c (id, person)
         on conflict (connection_id) do update set lease_until = excluded.lease_until",
    )
    .bind(pod)
    .bind(f64::from(LEASE_SECONDS))
    .bind(connections.keys().collect::<Vec<_>>())
    .bind(connections.values().collect::<Vec<_>>())
    .execute(conn)
    .await?;
    Ok(())
}

/// Renews the leases of all connections of a pod, and deletes expired ones of all pods.
pub async fn renew(conn: &mut Connection, pod: &str) -> Result<()> {
    sqlx::query(
        "update app.system_cache_connection set lease_until = now() + make_interval(secs => $2) where pod_id = $1",
    )
    .bind(pod)
    .bind(f64::from(LEASE_SECONDS))
    .execute(&mut *conn)
    .await?;
    sqlx::query("delete from app.system_cache_connection where lease_until < now()").execute(conn).await?;
    Ok(())
}

/// Adds subscriptions of a connection; returns the number of new ones.
///
/// `codes` and `ids` are parallel.
pub async fn subscribe(conn: &mut Connection, id: &str, person: Uuid, codes: &[String], ids: &[Uuid]) -> Result<i32> {
    Ok(sqlx::query_scalar("select app.bulk_subscribe($1, $2, $3, $4)")
        .bind(id)
        .bind(person)
        .bind(codes)
        .bind(ids)
        .fetch_one(conn)
        .await?)
}

/// Deletes subscriptions of a connection.
///
/// Without `ids`: all of the type. Without `code`: of all types.
pub async fn unsubscribe(conn: &mut Connection, id: &str, code: Option<&str>, ids: Option<&[Uuid]>) -> Result<()> {
    sqlx::query(
        "delete from app.system_cache_subscription
         where connection_id = $1 and ($2::text is null or entity_code = $2) and ($3::uuid[] is null or entity_id = any ($3))",
    )
    .bind(id)
    .bind(code)
    .bind(ids)
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes connections with their subscriptions.
pub async fn delete_connections(conn: &mut Connection, ids: &[String]) -> Result<()> {
    sqlx::query("delete from app.system_cache_connection where connection_id = any ($1)")
        .bind(ids)
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes all connections of a pod that shuts down, with their subscriptions.
pub async fn delete_pod(conn: &mut Connection, pod: &str) -> Result<()> {
    sqlx::query("delete from app.system_cache_connection where pod_id = $1").bind(pod).execute(conn).await?;
    Ok(())
}
