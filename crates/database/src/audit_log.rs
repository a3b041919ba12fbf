//! The change log for people: history of an entity, recent changes, former values of a row.
//!
//! Must not: check permissions; callers decide what the user may view.

use crate::{Connection, Result};
use pmo_domain::EntityCode;
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Entry of the audit log.
#[derive(Clone, Debug, PartialEq, serde::Serialize, sqlx::FromRow)]
pub struct AuditEntry {
    /// Sequence number; later entries have higher numbers.
    #[serde(skip)]
    pub seq: i64,
    /// Type of the entity.
    #[serde(rename = "entity")]
    pub entity_code: String,
    /// Id of the entity.
    pub entity_id: Uuid,
    /// Version of the entity after the change.
    pub version: i64,
    /// Action: created, changed, deleted, restored or commented.
    pub action: String,
    /// Start of the transaction, RFC 3339.
    pub at: String,
    /// Author; `None` for the system.
    pub person_id: Option<Uuid>,
    /// Full name of the author, or else the user name; `system` if both are missing.
    pub person_name: String,
    /// Old and new values of the changed columns: `{"name": {"old": …, "new": …}}`.
    pub changed: Value,
}

const AUDIT_COLUMNS: &str = "l.seq, l.entity_code::text as entity_code, l.entity_id, l.entity_version as version,
  case l.action when 1 then 'commented' when 3 then 'changed' when 5 then 'deleted'
       else case when l.changed ? 'active_flag' and l.changed -> 'active_flag' ? 'old' then 'restored' else 'created' end end as action,
  to_char(l.created_ts at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') as at, l.actor_person_id as person_id,
  coalesce(nullif(trim(coalesce(l.fname, '') || ' ' || coalesce(l.lname, '')), ''), l.username, 'system') as person_name, l.changed";

/// Returns the history of an entity, newest first.
///
/// `before` is the sequence number of the last entry of the previous page.
pub async fn list_for_entity(
    conn: &mut Connection,
    code: &EntityCode,
    id: Uuid,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<AuditEntry>> {
    let statement = format!(
        "select {AUDIT_COLUMNS} from app.system_logging l
         where l.entity_code = $1 and l.entity_id = $2 and l.action in (1, 3, 5, 6) and l.seq < coalesce($3, 9223372036854775807)
         order by l.seq desc limit $4"
    );
    Ok(sqlx::query_as(crate::sql::statement(statement))
        .bind(code.as_str())
        .bind(id)
        .bind(before)
        .bind(limit)
        .fetch_all(conn)
        .await?)
}

/// Returns the changes of all entities in the last 90 days, newest first.
///
/// `before` is the sequence number of the last entry of the previous page.
pub async fn list_recent(conn: &mut Connection, before: Option<i64>, limit: i64) -> Result<Vec<AuditEntry>> {
    let statement = format!(
        "select {AUDIT_COLUMNS} from app.system_logging l
         where l.action in (1, 3, 5, 6) and l.seq < coalesce($1, 9223372036854775807) and l.created_ts > now() - interval '90 days'
         order by l.seq desc limit $2"
    );
    Ok(sqlx::query_as(crate::sql::statement(statement)).bind(before).bind(limit).fetch_all(conn).await?)
}

/// Returns the columns of a row that had other values at `version`, with those values.
///
/// Each value is given as JSON and as text, because amounts must not pass through a float. `None`
/// if the log does not contain all changes from `version` to `current_version`.
pub async fn values_at_version(
    conn: &mut Connection,
    code: &EntityCode,
    id: Uuid,
    version: i64,
    current_version: i64,
) -> Result<Option<BTreeMap<String, (Value, Option<String>)>>> {
    /// Version, column, old value as JSON and as text.
    type Change = (i64, Option<String>, Option<Value>, Option<String>);
    let changes: Vec<Change> = sqlx::query_as(
        "select l.entity_version, ch.key, ch.value -> 'old', ch.value ->> 'old'
         from app.system_logging l left join lateral jsonb_each(l.changed) ch on true
         where l.entity_code = $1 and l.entity_id = $2 and l.entity_version > $3 and l.entity_version <= $4 and l.action in (3, 5, 6)
         order by l.entity_version desc",
    )
    .bind(code.as_str())
    .bind(id)
    .bind(version)
    .bind(current_version)
    .fetch_all(conn)
    .await?;
    let mut columns = BTreeMap::new();
    let mut versions = std::collections::BTreeSet::new();
    for (version, column, old, text) in changes {
        versions.insert(version);
        if let Some(column) = column {
            // Newest first: an older change overwrites the values of newer ones.
            columns.insert(column, (old.unwrap_or(Value::Null), text));
        }
    }
    let is_complete = i64::try_from(versions.len()).unwrap_or(0) == current_version - version;
    Ok(is_complete.then_some(columns))
}
