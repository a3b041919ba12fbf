//! The change log as a feed. Reading is by snapshot: a row is seen as soon as it is committed, whatever its number, and nothing is passed over.

use crate::{Connection, Result};
use pmo_domain::change_log::{AccessChange, ChangeLogEntry};
use pmo_domain::{EntityCode, EntityRef, FeedCursor, Snapshot, Version};
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// The channel on which the database rings when the log has grown.
pub const LOG_CHANNEL: &str = "app_feed";

/// The channel on which pods say who looks at what.
pub const PRESENCE_CHANNEL: &str = "app_presence";

/// Says on [`PRESENCE`], once the transaction is committed.
pub async fn notify_presence(connection: &mut Connection, text: &str) -> Result<()> {
    sqlx::query("select pg_notify($1, $2)").bind(PRESENCE_CHANNEL).bind(text).execute(connection).await?;
    Ok(())
}

/// Who rings when a connection's transactions have written to the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotifyMode {
    /// The transaction, as a part of its commit.
    InTransaction,
    /// Whoever holds the connection, once it is committed, by [`ring`].
    AfterCommit,
}

impl NotifyMode {
    /// What a session says of itself to the trigger on the log.
    pub(crate) fn session_options(self) -> [(&'static str, &'static str); 1] {
        [(
            "app.doorbell",
            match self {
                Self::InTransaction => "",
                Self::AfterCommit => "afterwards",
            },
        )]
    }
}

impl std::str::FromStr for NotifyMode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "in-transaction" => Ok(Self::InTransaction),
            "afterwards" => Ok(Self::AfterCommit),
            _ => Err("must be 'in-transaction' or 'afterwards'".to_owned()),
        }
    }
}

/// Rings, for transactions that did not.
pub async fn notify(connection: &mut Connection) -> Result<()> {
    sqlx::query("select pg_notify($1, '')").bind(LOG_CHANNEL).execute(connection).await?;
    Ok(())
}

/// What one look at the log gives.
pub struct LogBatch {
    /// Rows in order of transaction and number.
    pub rows: Vec<ChangeLogEntry>,
    /// What was settled when they were read.
    pub now: Snapshot,
    /// The database's incarnation by now.
    pub epoch: i64,
    /// Whether there may be more rows than were asked for.
    pub has_more: bool,
    /// What changed access in the range; told with its first part.
    pub access: BTreeSet<AccessChange>,
    /// The database's clock, in milliseconds since 1970.
    pub clock: i64,
}

/// What of the log to read.
pub struct LogRange<'a> {
    /// Rows of this incarnation,
    pub epoch: i64,
    /// by transactions from this one on
    pub from: i64,
    /// and by these,
    pub finished: &'a [i64],
    /// if they are settled in this snapshot
    pub until: Option<&'a Snapshot>,
    /// and come after this transaction and number.
    pub after: Option<(i64, i64)>,
    /// Types of which it is asked what their things hang below, and from what they were moved.
    pub by_parent: &'a [EntityCode],
}

/// Where the feed stands now. Taken before reading rows, so that a change in between is told again rather than missed.
pub async fn cursor(connection: &mut Connection) -> Result<FeedCursor> {
    let (epoch, read) = current_position(connection).await?;
    Ok(FeedCursor { epoch, snapshot: read })
}

/// What is settled now, and in which incarnation of the database.
pub async fn current_position(connection: &mut Connection) -> Result<(i64, Snapshot)> {
    let (epoch, snapshot): (i64, String) =
        sqlx::query_as("select coalesce((select epoch from app.feed_epoch), 1), pg_current_snapshot()::text")
            .fetch_one(connection)
            .await?;
    Ok((epoch, snapshot_of(&snapshot)?))
}

/// The database's clock, in milliseconds since 1970.
pub async fn db_now_ms(connection: &mut Connection) -> Result<i64> {
    Ok(sqlx::query_scalar("select (extract(epoch from clock_timestamp()) * 1000)::bigint")
        .fetch_one(connection)
        .await?)
}

pub(crate) fn snapshot_of(text: &str) -> Result<Snapshot> {
    Ok(text.parse().map_err(|error: pmo_domain::cursor::InvalidCursor| sqlx::Error::Decode(error.into()))?)
}

/// Most rows of one look.
pub const BATCH_ROWS: usize = 2000;
/// More changes of access than this at once concern everybody.
const MAX_ACCESS_CHANGES: usize = 5000;

/// At most [`LOOK`] rows of a range. One statement, hence one snapshot for rows and position.
pub async fn read_batch(connection: &mut Connection, range: &LogRange<'_>) -> Result<LogBatch> {
    #[derive(sqlx::FromRow)]
    struct LogRecord {
        epoch: i64,
        now: String,
        clock: i64,
        many: Option<bool>,
        persons: Option<Vec<Option<Uuid>>>,
        reaches: Option<Vec<Option<i32>>>,
        origins: Option<Vec<Option<i32>>>,
        made: Option<Vec<bool>>,
        reach: Option<i32>,
        at: Option<i64>,
        seq: Option<i64>,
        xid: Option<String>,
        entity_code: Option<String>,
        entity_id: Option<Uuid>,
        action: Option<i16>,
        entity_version: Option<i64>,
        changed: Option<Value>,
        parents: Option<Vec<String>>,
    }
    // Two ways in, each along the index: what had not begun, and the few that were under way. What is asked of each row is asked for that row
    // alone: a join would read all there is, for want of a guess at how few rows there are.
    let part = |condition: &str| {
        format!(
            "(select seq, xid, entity_code, entity_id, action, entity_version, changed, created_ts, reach from app.system_logging
              where epoch = $1 and {condition} and action <> 0
                and ($4::text is null or pg_visible_in_snapshot(xid, $4::text::pg_snapshot))
                and ($5::text is null or (xid, seq) > ($5::text::xid8, $6))
              order by xid, seq limit {BATCH_ROWS})"
        )
    };
    let text = format!(
        "select s.epoch, s.now, s.clock, a.many, a.persons, a.reaches, a.origins, a.made,
                l.seq, l.xid::text, l.entity_code::text, l.entity_id, l.action, l.entity_version,
                coalesce((select th.reach from app.thing th where th.id = l.entity_id), l.reach) as reach,
                case when l.entity_code = any ($7) or l.entity_code in ('entity_rbac', 'entity_instance_link') then l.changed end as changed,
                case when l.entity_code = any ($7) then
                  (select array_agg(k.parent_code || ' ' || k.parent_id) from app.entity_instance_link k
                   where k.child_code = l.entity_code and k.child_id = l.entity_id) end as parents,
                (extract(epoch from l.created_ts) * 1000)::bigint as at
         from (select coalesce((select epoch from app.feed_epoch), 1) as epoch, pg_current_snapshot()::text as now,
                      (extract(epoch from clock_timestamp()) * 1000)::bigint as clock) s
         left join lateral app.access_told($2::text::xid8, $3::text[]::xid8[], $4, {MAX_ACCESS_CHANGES}) a on $5::text is null
         left join lateral ({} union all {}) l on true
         order by l.xid, l.seq limit {BATCH_ROWS}",
        part("xid >= $2::text::xid8"),
        part("xid = any ($3::text[]::xid8[])")
    );
    let lines: Vec<LogRecord> = sqlx::query_as(crate::sql::statement(text))
        .bind(range.epoch)
        .bind(range.from.to_string())
        .bind(range.finished.iter().map(i64::to_string).collect::<Vec<_>>())
        .bind(range.until.map(Snapshot::to_string))
        .bind(range.after.map(|after| after.0.to_string()))
        .bind(range.after.map(|after| after.1))
        .bind(range.by_parent.iter().map(EntityCode::as_str).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    let first = lines.first().ok_or(sqlx::Error::RowNotFound)?;
    let (epoch, now, clock) = (first.epoch, snapshot_of(&first.now)?, first.clock);
    let mut access = BTreeSet::new();
    if let (Some(persons), Some(reaches), Some(origins), Some(made)) =
        (&first.persons, &first.reaches, &first.origins, &first.made)
    {
        if first.many == Some(true) {
            access.insert(AccessChange::Unscoped);
        }
        for (((person, reach), was), made) in persons.iter().zip(reaches).zip(origins).zip(made) {
            access.insert(match (person, was, reach) {
                (_, Some(was), Some(reach)) => AccessChange::AncestorSetChanged(*was, *reach),
                (Some(person), ..) if *made => AccessChange::EntityCreated(*person),
                (Some(person), ..) => AccessChange::GrantsChanged(*person),
                _ => AccessChange::Unscoped,
            });
        }
    }
    let cut_short = lines.len() >= BATCH_ROWS;
    let mut rows = Vec::new();
    for line in lines {
        let (Some(seq), Some(xid), Some(code), Some(id), Some(action)) =
            (line.seq, line.xid, line.entity_code, line.entity_id, line.action)
        else {
            continue;
        };
        // A code that is none belongs to no type; the row keeps its place in the order.
        let code = EntityCode::new(code).or_else(|_| EntityCode::new("unknown"));
        let (Ok(xid), Ok(code)) = (xid.parse(), code) else { continue };
        let (version, changed) = (Version(line.entity_version.unwrap_or_default()), line.changed.unwrap_or_default());
        let at = line.at.unwrap_or_default();
        let parent = |text: String| {
            let (code, id) = text.split_once(' ')?;
            Some(EntityRef::new(EntityCode::new(code).ok()?, id.parse().ok()?))
        };
        let parents = line.parents.into_iter().flatten().filter_map(parent).collect();
        rows.push(ChangeLogEntry {
            seq,
            xid,
            code,
            id,
            action,
            version,
            diff: changed,
            ancestor_set: line.reach,
            tx_started_at_ms: at,
            parents,
        });
    }
    Ok(LogBatch { rows, now, epoch, has_more: cut_short, access, clock })
}

/// Rows that wait beyond a position, up to 100,000, and the age of the oldest in milliseconds.
pub async fn lag(c: &mut Connection, epoch: i64, from: i64, finished: &[i64]) -> Result<(i64, i64)> {
    Ok(sqlx::query_as(
        "select count(*), coalesce((extract(epoch from clock_timestamp() - min(l.created_ts)) * 1000)::bigint, 0)
         from ((select created_ts from app.system_logging where epoch = $1 and action <> 0 and xid >= $2::text::xid8 order by xid limit 100000)
               union all
               (select created_ts from app.system_logging where epoch = $1 and action <> 0 and xid = any ($3::text[]::xid8[]) order by xid limit 100000)) l",
    )
    .bind(epoch)
    .bind(from.to_string())
    .bind(finished.iter().map(i64::to_string).collect::<Vec<_>>())
    .fetch_one(c)
    .await?)
}

/// Marks rows, by transaction and number, as handed on; bookkeeping for people, never the delivery rule.
pub async fn mark_delivered(connection: &mut Connection, rows: &[(i64, i64)]) -> Result<()> {
    let (xids, seqs): (Vec<String>, Vec<i64>) = rows.iter().map(|(xid, seq)| (xid.to_string(), *seq)).unzip();
    sqlx::query(
        "update app.system_logging l set sync_status = 'sent', sync_processed_ts = now()
         from unnest($1::text[]::xid8[], $2::bigint[]) as r (xid, seq)
         where l.xid = r.xid and l.seq = r.seq and l.sync_status = 'pending'",
    )
    .bind(xids)
    .bind(seqs)
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether the log still holds everything since a cursor, as far as resuming goes back (`feed.retention_days`).
pub async fn retains_since(connection: &mut Connection, cursor: &FeedCursor) -> Result<bool> {
    Ok(sqlx::query_scalar(
        "select not exists (select from app.feed_epoch where cut_xid >= $1::text::xid8)
            and coalesce((select l.created_ts from app.system_logging l where l.epoch = $2 and l.xid >= $1::text::xid8 order by l.xid, l.seq limit 1), now())
                >= now() - make_interval(days => coalesce((select (value ->> 'retention_days')::integer from app.setting where key = 'feed'), 90))",
    )
    .bind(cursor.snapshot.xmin.to_string())
    .bind(cursor.epoch)
    .fetch_one(connection)
    .await?)
}

/// Checks whether the database is another than it was, and begins a new epoch if so; answers the present one.
pub async fn renew_epoch_if_changed(connection: &mut Connection) -> Result<i64> {
    Ok(sqlx::query_scalar("select app.check_epoch()").fetch_one(connection).await?)
}

/// Whether a grant of a person, or of a role of theirs, has run out since a cursor: since the last change before it, which is no later.
pub async fn grant_expired_since(connection: &mut Connection, person: Uuid, cursor: &FeedCursor) -> Result<bool> {
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
    .fetch_one(connection)
    .await?)
}
