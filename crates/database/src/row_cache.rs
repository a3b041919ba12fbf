//! Cache of rows as JSON.
//!
//! A cached row is valid for one version and one writing transaction. Both are read from the
//! database for each use.
//!
//! Must not: return a row without that check.

use crate::sql;
use crate::{Connection, Result};
use pmo_domain::EntityType;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use uuid::Uuid;

/// State of a row: its version, and the transaction that wrote it (`xmin`).
///
/// The version alone is not unique: a row that is purged and inserted again starts over.
pub type RowState = (i64, i64);

/// Row rendered as JSON in one state.
pub struct CachedRowJson {
    state: RowState,
    /// Selected columns of the row.
    pub json: Arc<RawValue>,
    /// Ids of the entities that the row references.
    pub referenced_ids: Vec<Uuid>,
}

#[derive(Clone)]
struct ByteWeighter;

impl Weighter<(u64, Uuid), Arc<CachedRowJson>> for ByteWeighter {
    fn weight(&self, _: &(u64, Uuid), row: &Arc<CachedRowJson>) -> u64 {
        u64::try_from(row.json.get().len() + row.referenced_ids.len() * 16 + 200).unwrap_or(u64::MAX)
    }
}

/// Cache of recently read rows, shared by all requests of a process.
pub struct RowCache(Cache<(u64, Uuid), Arc<CachedRowJson>, ByteWeighter>);

impl RowCache {
    /// Creates a cache of at most `bytes` bytes.
    pub fn new(bytes: u64) -> Self {
        Self(Cache::with_weighter(usize::try_from(bytes / 1024).unwrap_or(1024), bytes, ByteWeighter))
    }

    /// Returns the JSON of each row in the given state, from the cache or the database.
    ///
    /// `fields` restricts the columns; empty: all. Must run in the `REPEATABLE READ` transaction
    /// that read the states. Rows that do not exist are missing in the result.
    pub async fn get_many(
        &self,
        conn: &mut Connection,
        entity: &EntityType,
        fields: &[String],
        states: impl Iterator<Item = (Uuid, RowState)>,
    ) -> Result<HashMap<Uuid, Arc<CachedRowJson>>> {
        let projection = sql::projection(entity, fields);
        let mut hasher = DefaultHasher::new();
        (entity.code.as_str(), &projection).hash(&mut hasher);
        let projection_hash = hasher.finish();
        let mut rows = HashMap::new();
        let mut missing = Vec::new();
        for (id, state) in states {
            match self.0.get(&(projection_hash, id)).filter(|cached| cached.state == state) {
                Some(cached) => drop(rows.insert(id, cached)),
                None => missing.push(id),
            }
        }
        if missing.is_empty() {
            return Ok(rows);
        }
        let statement = format!(
            "select t.id, t.version, t.xmin::text::bigint, (select to_json(r)::text from (select {projection}) r), {}
             from {} t where t.id = any ($1)",
            sql::references(entity, fields),
            sql::table(entity)
        );
        type RowTextRow = (Uuid, i64, i64, String, Vec<Option<Uuid>>);
        let records: Vec<RowTextRow> = sqlx::query_as(sql::statement(statement))
            .persistent(fields.is_empty())
            .bind(missing)
            .fetch_all(conn)
            .await?;
        for (id, version, xmin, json, references) in records {
            let json = RawValue::from_string(json).map_err(|error| sqlx::Error::Decode(error.into()))?;
            let referenced_ids = references.into_iter().flatten().collect();
            let row = Arc::new(CachedRowJson { state: (version, xmin), json: json.into(), referenced_ids });
            self.0.insert((projection_hash, id), row.clone());
            rows.insert(id, row);
        }
        Ok(rows)
    }
}
