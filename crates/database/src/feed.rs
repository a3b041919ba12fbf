//! The change log as a feed. Reading is by transaction horizon: a row is seen as soon as it is committed, and the horizon waits
//! for the slowest writer, so that nothing is passed over.

use crate::{Connection, Result};
use pmo_domain::change::LogRow;
use pmo_domain::{EntityCode, EntityRef, FeedCursor, Version};
use serde_json::Value;
use std::collections::HashMap;
use uuid::Uuid;

/// The channel on which the database rings when the log has grown.
pub const DOORBELL: &str = "app_feed";

/// What one look at the log gives.
pub struct Look {
    /// Rows not older than the horizon asked for, in order of (transaction, number).
    pub rows: Vec<LogRow>,
    /// Where to look from next time.
    pub cursor: FeedCursor,
    /// Whether there were more rows than asked for.
    pub truncated: bool,
}

/// Where the feed stands now. Taken before reading rows, so that a change in between is told again rather than missed.
pub async fn cursor(connection: &mut Connection) -> Result<FeedCursor> {
    let (epoch, horizon): (i64, String) = sqlx::query_as(
        "select coalesce((select epoch from app.feed_epoch), 1), pg_snapshot_xmin(pg_current_snapshot())::text",
    )
    .fetch_one(connection)
    .await?;
    Ok(FeedCursor { epoch, horizon: horizon.parse().unwrap_or_default() })
}

/// The rows of `from`'s epoch that are not older than its horizon, except those in `seen`; at most `limit`. One statement, hence
/// one snapshot for rows and horizon.
pub async fn look(connection: &mut Connection, from: FeedCursor, seen: &[i64], limit: i64) -> Result<Look> {
    type Line =
        (String, Option<i64>, Option<String>, Option<String>, Option<Uuid>, Option<i16>, Option<i64>, Option<Value>);
    let lines: Vec<Line> = sqlx::query_as(
        "select s.horizon, l.seq, l.xid::text, l.entity_code::text, l.entity_id, l.action, l.entity_version, l.changed
         from (select pg_snapshot_xmin(pg_current_snapshot())::text as horizon) s
         left join lateral (
           select seq, xid, entity_code, entity_id, action, entity_version, changed from app.system_logging
           where epoch = $1 and xid >= $2::text::xid8 and action <> 0 and seq <> all ($3)
           order by xid, seq limit $4) l on true
         order by l.xid, l.seq",
    )
    .bind(from.epoch)
    .bind(from.horizon.to_string())
    .bind(seen)
    .bind(limit)
    .fetch_all(connection)
    .await?;
    let horizon = lines.first().and_then(|l| l.0.parse().ok()).unwrap_or(from.horizon);
    let mut rows = Vec::new();
    for (_, seq, xid, code, id, action, version, changed) in lines {
        let (Some(seq), Some(xid), Some(code), Some(id), Some(action)) = (seq, xid, code, id, action) else { continue };
        let (Ok(xid), Ok(code)) = (xid.parse(), EntityCode::new(code)) else { continue };
        let (version, changed) = (Version(version.unwrap_or_default()), changed.unwrap_or_default());
        rows.push(LogRow { seq, xid, code, id, action, version, changed });
    }
    let truncated = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= limit;
    Ok(Look { rows, cursor: FeedCursor { epoch: from.epoch, horizon: horizon.max(from.horizon) }, truncated })
}

/// Marks rows as handed on; bookkeeping for people, never the delivery rule.
pub async fn mark_sent(connection: &mut Connection, seqs: &[i64]) -> Result<()> {
    sqlx::query(
        "update app.system_logging set sync_status = 'sent', sync_processed_ts = now()
         where seq = any ($1) and sync_status = 'pending' and created_ts > now() - interval '1 day'",
    )
    .bind(seqs)
    .execute(connection)
    .await?;
    Ok(())
}

/// The parents of things of one type.
pub async fn parents(
    connection: &mut Connection,
    code: &EntityCode,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, Vec<EntityRef>>> {
    let lines: Vec<(Uuid, String, Uuid)> = sqlx::query_as(
        "select child_id, parent_code, parent_id from app.entity_instance_link where child_code = $1 and child_id = any ($2)",
    )
    .bind(code.as_str())
    .bind(ids)
    .fetch_all(connection)
    .await?;
    let mut answer: HashMap<Uuid, Vec<EntityRef>> = HashMap::new();
    for (child, code, parent) in lines {
        if let Ok(code) = EntityCode::new(code) {
            answer.entry(child).or_default().push(EntityRef::new(code, parent));
        }
    }
    Ok(answer)
}

/// Whether a grant of a person, or of a role of theirs, has run out in the last 90 days.
pub async fn lost_by_time(connection: &mut Connection, person: Uuid) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "select exists (select from app.entity_rbac g
                        where g.expires_ts between now() - interval '90 days' and now()
                          and (g.person_id = $1 or g.role_id in (select l.parent_id from app.entity_instance_link l
                                                                 where l.parent_code = 'role' and l.child_code = 'person' and l.child_id = $1)))",
    )
    .bind(person)
    .fetch_one(connection)
    .await?)
}

/// Whether a grant has expired since the moment `since` (as the database writes it), and what time the database has now.
pub async fn expired_grants(connection: &mut Connection, since: &str) -> Result<(bool, String)> {
    let (any, now): (bool, String) = sqlx::query_as(
        "select exists (select from app.entity_rbac where expires_ts > $1::text::timestamptz and expires_ts <= now()), now()::text",
    )
    .bind(since)
    .fetch_one(connection)
    .await?;
    Ok((any, now))
}
