//! The change log read by people: what happened to a thing, what has happened lately, what a row once was. It must never answer whether
//! the reader may know.

use crate::{Connection, Result};
use pmo_domain::EntityCode;
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, serde::Serialize, sqlx::FromRow)]
pub struct AuditEntry {
    /// Its number; later is higher.
    #[serde(skip)]
    pub seq: i64,
    /// The type.
    #[serde(rename = "entity")]
    pub entity_code: String,
    /// The thing.
    pub entity_id: Uuid,
    /// The version that it made.
    pub version: i64,
    /// created, changed, deleted, restored or commented.
    pub action: String,
    /// When, RFC 3339.
    pub at: String,
    /// Who; none: the system.
    pub person_id: Option<Uuid>,
    /// Their name.
    pub person_name: String,
    /// Columns from what to what: `{"name": {"old": …, "new": …}}`.
    pub changed: Value,
}

const AUDIT_COLUMNS: &str = "l.seq, l.entity_code::text as entity_code, l.entity_id, l.entity_version as version,
  case l.action when 1 then 'commented' when 3 then 'changed' when 5 then 'deleted'
       else case when l.changed ? 'active_flag' and l.changed -> 'active_flag' ? 'old' then 'restored' else 'created' end end as action,
  to_char(l.created_ts at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') as at, l.actor_person_id as person_id,
  coalesce(nullif(trim(coalesce(l.fname, '') || ' ' || coalesce(l.lname, '')), ''), l.username, 'system') as person_name, l.changed";

/// What happened to a thing, newest first, before the line of number `before`.
pub async fn list_for_entity(
    c: &mut Connection,
    code: &EntityCode,
    id: Uuid,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<AuditEntry>> {
    let text = format!(
        "select {AUDIT_COLUMNS} from app.system_logging l
         where l.entity_code = $1 and l.entity_id = $2 and l.action in (1, 3, 5, 6) and l.seq < coalesce($3, 9223372036854775807)
         order by l.seq desc limit $4"
    );
    Ok(sqlx::query_as(crate::sql::statement(text))
        .bind(code.as_str())
        .bind(id)
        .bind(before)
        .bind(limit)
        .fetch_all(c)
        .await?)
}

/// What has happened lately, to whatever, newest first, before the line of number `before`.
pub async fn list_recent(c: &mut Connection, before: Option<i64>, limit: i64) -> Result<Vec<AuditEntry>> {
    let text = format!(
        "select {AUDIT_COLUMNS} from app.system_logging l
         where l.action in (1, 3, 5, 6) and l.seq < coalesce($1, 9223372036854775807) and l.created_ts > now() - interval '90 days'
         order by l.seq desc limit $2"
    );
    Ok(sqlx::query_as(crate::sql::statement(text)).bind(before).bind(limit).fetch_all(c).await?)
}

/// The columns of a row that were others at `version`, as they were then; none where the log does not reach back so far. Values are JSON,
/// numbers in text as well: amounts must not go through a float.
pub async fn values_at_version(
    c: &mut Connection,
    code: &EntityCode,
    id: Uuid,
    version: i64,
    present: i64,
) -> Result<Option<BTreeMap<String, (Value, Option<String>)>>> {
    /// Version, column, what it was as JSON and as text.
    type Change = (i64, Option<String>, Option<Value>, Option<String>);
    let lines: Vec<Change> = sqlx::query_as(
        "select l.entity_version, ch.key, ch.value -> 'old', ch.value ->> 'old'
         from app.system_logging l left join lateral jsonb_each(l.changed) ch on true
         where l.entity_code = $1 and l.entity_id = $2 and l.entity_version > $3 and l.entity_version <= $4 and l.action in (3, 5, 6)
         order by l.entity_version desc",
    )
    .bind(code.as_str())
    .bind(id)
    .bind(version)
    .bind(present)
    .fetch_all(c)
    .await?;
    let mut columns = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for (at, column, old, text) in lines {
        seen.insert(at);
        if let Some(column) = column {
            // Later lines are earlier changes: the last one to write wins.
            columns.insert(column, (old.unwrap_or(Value::Null), text));
        }
    }
    let whole = i64::try_from(seen.len()).unwrap_or(0) == present - version;
    Ok(whole.then_some(columns))
}
