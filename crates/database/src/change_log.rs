//! The change log as source of the feed.
//!
//! The read position is a `pg_snapshot`: a row is read once its transaction has committed, whatever
//! its sequence number.
//!
//! Invariant: no committed row is skipped or read twice.

use crate::{Connection, Result};
use pmo_domain::change_log::{AccessChange, CatchUpBatch, CatchUpReader, ChangeLogEntry, LogBatch, LogRange};
use pmo_domain::{AncestorSetId, EntityCode, EntityRef, FeedCursor, PersonId, Snapshot, UnixMillis, Version};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
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

/// Returns the time of the database clock.
pub async fn db_now(conn: &mut Connection) -> Result<UnixMillis> {
    let now =
        sqlx::query_scalar("select (extract(epoch from clock_timestamp()) * 1000)::bigint").fetch_one(conn).await?;
    Ok(UnixMillis::new(now))
}

/// Parses the text of a `pg_snapshot`.
pub(crate) fn snapshot_of(text: &str) -> Result<Snapshot> {
    Ok(text.parse().map_err(|error: pmo_domain::cursor::InvalidCursor| sqlx::Error::Decode(error.into()))?)
}

/// Maximum number of rows of a batch.
pub const BATCH_ROWS: usize = 2000;
/// Maximum number of access changes of a range; beyond it, [`AccessChange::Unscoped`] is added.
const MAX_ACCESS_CHANGES: usize = 5000;

/// Record of [`read_statement`]: position and access changes of the read, and one log row.
///
/// The access changes are in every record. Without log rows, there is one record without a row.
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

impl LogRecord {
    /// Returns the access changes of the read.
    fn access_changes(&self) -> BTreeSet<AccessChange> {
        let (Some(person_ids), Some(new_ids), Some(old_ids), Some(are_creator_grants)) =
            (&self.person_ids, &self.new_ancestor_set_ids, &self.old_ancestor_set_ids, &self.are_creator_grants)
        else {
            return BTreeSet::new();
        };
        let changes = person_ids.iter().zip(new_ids).zip(old_ids).zip(are_creator_grants);
        let changes = changes.map(|(((person, new_id), old_id), is_creator_grant)| match (person, old_id, new_id) {
            (_, Some(old_id), Some(new_id)) => {
                AccessChange::AncestorSetChanged(AncestorSetId(*old_id), AncestorSetId(*new_id))
            }
            (Some(person), ..) if *is_creator_grant => AccessChange::EntityCreated(*person),
            (Some(person), ..) => AccessChange::GrantsChanged(*person),
            _ => AccessChange::Unscoped,
        });
        changes.chain((self.many == Some(true)).then_some(AccessChange::Unscoped)).collect()
    }

    /// Converts the record to a log entry; `None` if it has no log row.
    fn into_entry(self) -> Option<ChangeLogEntry> {
        // A row with an invalid code stays in the batch, under a code of no type: positions in the
        // log stay complete.
        let code = EntityCode::new(self.entity_code?).or_else(|_| EntityCode::new("unknown")).ok()?;
        let parse_parent = |text: String| {
            let (code, id) = text.split_once(' ')?;
            Some(EntityRef::new(EntityCode::new(code).ok()?, id.parse().ok()?))
        };
        Some(ChangeLogEntry {
            seq: self.seq?,
            xid: self.xid?.parse().ok()?,
            code,
            id: self.entity_id?,
            action: self.action?,
            version: Version(self.entity_version.unwrap_or_default()),
            diff: self.changed.unwrap_or_default(),
            ancestor_set: self.ancestor_set_id.map(AncestorSetId),
            tx_started_at: UnixMillis::new(self.tx_started_at_ms.unwrap_or_default()),
            parents: self.parents.into_iter().flatten().filter_map(parse_parent).collect(),
        })
    }
}

/// Returns the statement of [`read_batch`].
fn read_statement() -> String {
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
    format!(
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
    )
}

/// Reads at most [`BATCH_ROWS`] rows of a range.
///
/// Rows of the types `by_parent` include the changed values and the current parents of the entity.
/// One statement, so that rows and position are of the same snapshot.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn read_batch(conn: &mut Connection, range: &LogRange, by_parent: &[EntityCode]) -> Result<LogBatch> {
    let records: Vec<LogRecord> = sqlx::query_as(crate::sql::statement(read_statement()))
        .bind(range.epoch)
        .bind(range.from.to_string())
        .bind(range.finished.iter().map(i64::to_string).collect::<Vec<_>>())
        .bind(range.until.as_ref().map(Snapshot::to_string))
        .bind(range.after.map(|after| after.0.to_string()))
        .bind(range.after.map(|after| after.1))
        .bind(by_parent.iter().map(EntityCode::as_str).collect::<Vec<_>>())
        .fetch_all(conn)
        .await?;
    let first = records.first().ok_or(sqlx::Error::RowNotFound)?;
    let (epoch, snapshot, db_now) = (first.epoch, snapshot_of(&first.snapshot)?, UnixMillis::new(first.clock_ms));
    let (access, has_more) = (first.access_changes(), records.len() >= BATCH_ROWS);
    let rows = records.into_iter().filter_map(LogRecord::into_entry).collect();
    Ok(LogBatch { rows, access, snapshot, epoch, has_more, db_now })
}

/// Reads the changes that a client missed since `cursor`, up to those visible in `until`.
///
/// The batch is incomplete if the log does not retain all of them, or has more than a catch-up may
/// have. With `person`, expired grants of that person are detected. For `by_parent` see
/// [`read_batch`].
#[tracing::instrument(level = "debug", skip_all)]
pub async fn read_catch_up(
    conn: &mut Connection,
    cursor: &FeedCursor,
    until: Option<&Snapshot>,
    by_parent: &[EntityCode],
    person: Option<PersonId>,
) -> Result<CatchUpBatch> {
    if !retains_since(conn, cursor).await? {
        return Ok(CatchUpBatch::default());
    }
    let mut reader = CatchUpReader::new(cursor, until.cloned());
    while let Some(range) = reader.next_range() {
        let batch = read_batch(conn, range, by_parent).await?;
        reader.accept(batch);
    }
    let mut missed = reader.finish();
    if let Some(person) = person {
        missed.grant_expired = grant_expired_since(conn, person.0, cursor).await?;
    }
    Ok(missed)
}

/// Lag of a reader behind the change log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedLag {
    /// Number of rows that the reader has not read, at most 200,000.
    pub rows: i64,
    /// Age of the oldest of these rows; zero without rows.
    pub age: Duration,
}

/// Returns the lag of a reader that reads `range` next.
pub async fn lag(conn: &mut Connection, range: &LogRange) -> Result<FeedLag> {
    let (rows, age_ms): (i64, i64) = sqlx::query_as(
        "select count(*), coalesce((extract(epoch from clock_timestamp() - min(l.created_ts)) * 1000)::bigint, 0)
         from ((select created_ts from app.system_logging where epoch = $1 and action <> 0 and xid >= $2::text::xid8 order by xid limit 100000)
               union all
               (select created_ts from app.system_logging where epoch = $1 and action <> 0 and xid = any ($3::text[]::xid8[]) order by xid limit 100000)) l",
    )
    .bind(range.epoch)
    .bind(range.from.to_string())
    .bind(range.finished.iter().map(i64::to_string).collect::<Vec<_>>())
    .fetch_one(conn)
    .await?;
    Ok(FeedLag { rows, age: Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)) })
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
async fn retains_since(conn: &mut Connection, cursor: &FeedCursor) -> Result<bool> {
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
async fn grant_expired_since(conn: &mut Connection, person: Uuid, cursor: &FeedCursor) -> Result<bool> {
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
