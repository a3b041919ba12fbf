//! The change log as source of the feed.
//!
//! The read position is a `pg_snapshot`: a row is read once its transaction has committed, whatever
//! its sequence number.
//!
//! Invariant: no committed row is skipped or read twice.

use crate::{Connection, Result};
use pmo_domain::change_log::{AccessChange, ChangeLogEntry};
use pmo_domain::{EntityCode, EntityRef, FeedCursor, Snapshot, Version};
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// LISTEN/NOTIFY channel for new rows in the change log; the payload is empty.
pub const LOG_CHANNEL: &str = "app_feed";

/// LISTEN/NOTIFY channel on which pods exchange presence: who views which entity.
pub const PRESENCE_CHANNEL: &str = "app_presence";

/// Sends `payload` on [`PRESENCE_CHANNEL`]; delivered when the transaction commits.
pub async fn notify_presence(conn: &mut Connection, payload: &str) -> Result<()> {
    sqlx::query("select pg_notify($1, $2)").bind(PRESENCE_CHANNEL).bind(payload).execute(conn).await?;
    Ok(())
}

/// Sends the notification for committed transactions with [`NotifyMode::AfterCommit`].
pub async fn notify(conn: &mut Connection) -> Result<()> {
    sqlx::query("select pg_notify($1, '')").bind(LOG_CHANNEL).execute(conn).await?;
    Ok(())
}

/// Result of one read of the change log.
pub struct LogBatch {
    /// Rows in the order of `(xid, seq)`.
    pub rows: Vec<ChangeLogEntry>,
    /// Snapshot of the read.
    pub snapshot: Snapshot,
    /// Current epoch.
    pub epoch: i64,
    /// Whether the range may contain more rows than the batch.
    pub has_more: bool,
    /// Access changes in the range; only in its first batch.
    pub access: BTreeSet<AccessChange>,
    /// Time of the database clock, in milliseconds since the Unix epoch.
    pub db_now_ms: i64,
}

/// Range of the change log to read.
pub struct LogRange<'a> {
    /// Epoch the rows must belong to.
    pub epoch: i64,
    /// First transaction id to read (inclusive).
    pub from: i64,
    /// Older transactions to read: those that were in progress at the last read.
    pub finished: &'a [i64],
    /// Upper bound: only transactions visible in this snapshot; `None` for no bound.
    pub until: Option<&'a Snapshot>,
    /// Resume point `(xid, seq)` within the range (exclusive); `None` for its first batch.
    pub after: Option<(i64, i64)>,
    /// Types whose rows include the changed values and the current parents of the entity.
    pub by_parent: &'a [EntityCode],
}

/// Returns the current position of the feed.
///
/// Must be read before the rows it belongs to: a change in between is then delivered twice instead
/// of missed.
pub async fn current_cursor(conn: &mut Connection) -> Result<FeedCursor> {
    let (epoch, snapshot) = current_position(conn).await?;
    Ok(FeedCursor { epoch, snapshot })
}

/// Returns the current epoch and snapshot.
pub async fn current_position(conn: &mut Connection) -> Result<(i64, Snapshot)> {
    let (epoch, snapshot): (i64, String) =
        sqlx::query_as("select coalesce((select epoch from app.feed_epoch), 1), pg_current_snapshot()::text")
            .fetch_one(conn)
            .await?;
    Ok((epoch, snapshot_of(&snapshot)?))
}

/// Returns the time of the database clock, in milliseconds since the Unix epoch.
pub async fn db_now_ms(conn: &mut Connection) -> Result<i64> {
    Ok(sqlx::query_scalar("select (extract(epoch from clock_timestamp()) * 1000)::bigint").fetch_one(conn).await?)
}

/// Parses the text of a `pg_snapshot`.
pub(crate) fn snapshot_of(text: &str) -> Result<Snapshot> {
    Ok(text.parse().map_err(|error: pmo_domain::cursor::InvalidCursor| sqlx::Error::Decode(error.into()))?)
}

/// Maximum number of rows of a batch.
pub const BATCH_ROWS: usize = 2000;
/// Maximum number of access changes of a range; beyond it, [`AccessChange::Unscoped`] is added.
const MAX_ACCESS_CHANGES: usize = 5000;

/// Reads at most [`BATCH_ROWS`] rows of a range.
///
/// One statement, so that rows and position are of the same snapshot.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn read_batch(conn: &mut Connection, range: &LogRange<'_>) -> Result<LogBatch> {
    #[derive(sqlx::FromRow)]
    struct LogRecord {
        epoch: i64,
        snapshot: String,
        clock_ms: i64,
        many: Option<bool>,
        person_ids: Option<Vec<Option<Uuid>>>,
        new_ancestor_set_ids: Option<Vec<Option<i32>>>,
        old_ancestor_set_ids: Option<Vec<Option<i32>>>,
        are_creator_grants: Option<Vec<bool>>,
        ancestor_set_id: Option<i32>,
        tx_started_at_ms: Option<i64>,
        seq: Option<i64>,
        xid: Option<String>,
        entity_code: Option<String>,
        entity_id: Option<Uuid>,
        action: Option<i16>,
        entity_version: Option<i64>,
        changed: Option<Value>,
        parents: Option<Vec<String>>,
    }
    // Two index scans: transactions that had not started at the last read, and the few that were in
    // progress then. Values from other tables are scalar subqueries per row: the planner cannot
    // estimate how few rows there are, and a join would read whole tables.
    let log_scan = |condition: &str| {
        format!(
            "(select seq, xid, entity_code, entity_id, action, entity_version, changed, created_ts, ancestor_set_id from app.system_logging
              where epoch = $1 and {condition} and action <> 0
                and ($4::text is null or pg_visible_in_snapshot(xid, $4::text::pg_snapshot))
                and ($5::text is null or (xid, seq) > ($5::text::xid8, $6))
              order by xid, seq limit {BATCH_ROWS})"
        )
    };
    let statement = format!(
        "select s.epoch, s.snapshot, s.clock_ms, a.many, a.person_ids, a.new_ancestor_set_ids,
                a.old_ancestor_set_ids, a.are_creator_grants,
                l.seq, l.xid::text, l.entity_code::text, l.entity_id, l.action, l.entity_version,
                coalesce((select i.ancestor_set_id from app.entity_instance i where i.id = l.entity_id), l.ancestor_set_id) as ancestor_set_id,
                case when l.entity_code = any ($7) or l.entity_code in ('entity_rbac', 'entity_instance_link') then l.changed end as changed,
                case when l.entity_code = any ($7) then
                  (select array_agg(k.parent_code || ' ' || k.parent_id) from app.entity_instance_link k
                   where k.child_code = l.entity_code and k.child_id = l.entity_id) end as parents,
                (extract(epoch from l.created_ts) * 1000)::bigint as tx_started_at_ms
         from (select coalesce((select epoch from app.feed_epoch), 1) as epoch, pg_current_snapshot()::text as snapshot,
                      (extract(epoch from clock_timestamp()) * 1000)::bigint as clock_ms) s
         left join lateral app.access_changes_between($2::text::xid8, $3::text[]::xid8[], $4, {MAX_ACCESS_CHANGES}) a on $5::text is null
         left join lateral ({} union all {}) l on true
         order by l.xid, l.seq limit {BATCH_ROWS}",
        log_scan("xid >= $2::text::xid8"),
        log_scan("xid = any ($3::text[]::xid8[])")
    );
    let records: Vec<LogRecord> = sqlx::query_as(crate::sql::statement(statement))
        .bind(range.epoch)
        .bind(range.from.to_string())
        .bind(range.finished.iter().map(i64::to_string).collect::<Vec<_>>())
        .bind(range.until.map(Snapshot::to_string))
        .bind(range.after.map(|after| after.0.to_string()))
        .bind(range.after.map(|after| after.1))
        .bind(range.by_parent.iter().map(EntityCode::as_str).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    let first = records.first().ok_or(sqlx::Error::RowNotFound)?;
    let (epoch, snapshot, clock_ms) = (first.epoch, snapshot_of(&first.snapshot)?, first.clock_ms);
    let mut access = BTreeSet::new();
    if let (Some(person_ids), Some(new_ids), Some(old_ids), Some(are_creator_grants)) =
        (&first.person_ids, &first.new_ancestor_set_ids, &first.old_ancestor_set_ids, &first.are_creator_grants)
    {
        if first.many == Some(true) {
            access.insert(AccessChange::Unscoped);
        }
        let changes = person_ids.iter().zip(new_ids).zip(old_ids).zip(are_creator_grants);
        for (((person, new_id), old_id), is_creator_grant) in changes {
            access.insert(match (person, old_id, new_id) {
                (_, Some(old_id), Some(new_id)) => AccessChange::AncestorSetChanged(*old_id, *new_id),
                (Some(person), ..) if *is_creator_grant => AccessChange::EntityCreated(*person),
                (Some(person), ..) => AccessChange::GrantsChanged(*person),
                _ => AccessChange::Unscoped,
            });
        }
    }
    let has_more = records.len() >= BATCH_ROWS;
    let mut rows = Vec::new();
    for record in records {
        let (Some(seq), Some(xid), Some(code), Some(id), Some(action)) =
            (record.seq, record.xid, record.entity_code, record.entity_id, record.action)
        else {
            continue;
        };
        // A row with an invalid code stays in the batch, under a code of no type: positions in the
        // log stay complete.
        let code = EntityCode::new(code).or_else(|_| EntityCode::new("unknown"));
        let (Ok(xid), Ok(code)) = (xid.parse(), code) else { continue };
        let (version, diff) = (Version(record.entity_version.unwrap_or_default()), record.changed.unwrap_or_default());
        let tx_started_at_ms = record.tx_started_at_ms.unwrap_or_default();
        let parse_parent = |text: String| {
            let (code, id) = text.split_once(' ')?;
            Some(EntityRef::new(EntityCode::new(code).ok()?, id.parse().ok()?))
        };
        let parents = record.parents.into_iter().flatten().filter_map(parse_parent).collect();
        rows.push(ChangeLogEntry {
            seq,
            xid,
            code,
            id,
            action,
            version,
            diff,
            ancestor_set: record.ancestor_set_id,
            tx_started_at_ms,
            parents,
        });
    }
    Ok(LogBatch { rows, snapshot, epoch, has_more, access, db_now_ms: clock_ms })
}

/// Returns the number of rows after a position, and the age of the oldest in milliseconds.
///
/// Counts up to 100,000 rows. For `from` and `finished` see [`LogRange`].
pub async fn lag(conn: &mut Connection, epoch: i64, from: i64, finished: &[i64]) -> Result<(i64, i64)> {
    Ok(sqlx::query_as(
        "select count(*), coalesce((extract(epoch from clock_timestamp() - min(l.created_ts)) * 1000)::bigint, 0)
         from ((select created_ts from app.system_logging where epoch = $1 and action <> 0 and xid >= $2::text::xid8 order by xid limit 100000)
               union all
               (select created_ts from app.system_logging where epoch = $1 and action <> 0 and xid = any ($3::text[]::xid8[]) order by xid limit 100000)) l",
    )
    .bind(epoch)
    .bind(from.to_string())
    .bind(finished.iter().map(i64::to_string).collect::<Vec<_>>())
    .fetch_one(conn)
    .await?)
}

/// Marks rows, given as `(xid, seq)`, as delivered.
///
/// For operators only; must not decide what is delivered.
pub async fn mark_delivered(conn: &mut Connection, rows: &[(i64, i64)]) -> Result<()> {
    let (xids, seqs): (Vec<String>, Vec<i64>) = rows.iter().map(|(xid, seq)| (xid.to_string(), *seq)).unzip();
    sqlx::query(
        "update app.system_logging l set sync_status = 'sent', sync_processed_ts = now()
         from unnest($1::text[]::xid8[], $2::bigint[]) as r (xid, seq)
         where l.xid = r.xid and l.seq = r.seq and l.sync_status = 'pending'",
    )
    .bind(xids)
    .bind(seqs)
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns whether a client can resume from `cursor`.
///
/// The log must contain all changes since then, and the cursor must not be older than
/// `feed.resume_window_days` (90 by default).
pub async fn retains_since(conn: &mut Connection, cursor: &FeedCursor) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "select not exists (select from app.feed_epoch where truncated_before_xid >= $1::text::xid8)
            and coalesce((select l.created_ts from app.system_logging l where l.epoch = $2 and l.xid >= $1::text::xid8 order by l.xid, l.seq limit 1), now())
                >= now() - make_interval(days => coalesce((select coalesce(value ->> 'resume_window_days', value ->> 'retention_days')::integer from app.setting where key = 'feed'), 90))",
    )
    .bind(cursor.snapshot.xmin.to_string())
    .bind(cursor.epoch)
    .fetch_one(conn)
    .await?)
}

/// Begins a new epoch if the identity of the database has changed; returns the current epoch.
pub async fn renew_epoch_if_changed(conn: &mut Connection) -> Result<i64> {
    Ok(sqlx::query_scalar("select app.renew_epoch_if_changed()").fetch_one(conn).await?)
}

/// Returns whether a grant of a person or of one of their roles has expired since `cursor`.
///
/// A cursor has no time. The last log row before it is not later and is used instead.
pub async fn grant_expired_since(conn: &mut Connection, person: Uuid, cursor: &FeedCursor) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "select exists (select from app.entity_rbac g
                        where g.expires_ts <= now()
                          and g.expires_ts > coalesce((select l.created_ts from app.system_logging l where l.epoch = $3 and l.xid < $2::text::xid8 order by l.xid desc limit 1), '-infinity')
                          and (g.person_id = $1 or g.role_id in (select l.parent_id from app.entity_instance_link l
                                                                 where l.parent_code = 'role' and l.child_code = 'person' and l.child_id = $1)))",
    )
    .bind(person)
    .bind(cursor.snapshot.xmin.to_string())
    .bind(cursor.epoch)
    .fetch_one(conn)
    .await?)
}
