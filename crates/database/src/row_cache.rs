//! Rows as JSON text, kept while they are the newest. A text is found by the row's version and by the transaction that wrote it, which are read
//! from the row itself each time: it must never be answered for a row that was not looked at.

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

/// A row's state: its version, and the transaction that wrote it (one that was purged and made again may have the same version).
pub type RowState = (i64, i64);

/// A row as it was written.
pub struct CachedRowJson {
    written: RowState,
    /// Its columns.
    pub json: Arc<RawValue>,
    /// What it refers to.
    pub mentioned: Vec<Uuid>,
}

#[derive(Clone)]
struct ByteWeighter;

impl Weighter<(u64, Uuid), Arc<CachedRowJson>> for ByteWeighter {
    fn weight(&self, _: &(u64, Uuid), row: &Arc<CachedRowJson>) -> u64 {
        u64::try_from(row.json.get().len() + row.mentioned.len() * 16 + 200).unwrap_or(u64::MAX)
    }
}

/// The rows that were read last. Shared by all requests of a process.
pub struct RowCache(Cache<(u64, Uuid), Arc<CachedRowJson>, ByteWeighter>);

impl RowCache {
    /// Keeps at most so many bytes.
    pub fn new(bytes: u64) -> Self {
        Self(Cache::with_weighter(usize::try_from(bytes / 1024).unwrap_or(1024), bytes, ByteWeighter))
    }

    /// The texts of rows in the states that were read in the same transaction, which must see one state of the database.
    pub async fn get_many(
        &self,
        c: &mut Connection,
        entity: &EntityType,
        fields: &[String],
        wanted: impl Iterator<Item = (Uuid, RowState)>,
    ) -> Result<HashMap<Uuid, Arc<CachedRowJson>>> {
        let projection = sql::projection(entity, fields);
        let mut hasher = DefaultHasher::new();
        (entity.code.as_str(), &projection).hash(&mut hasher);
        let kind = hasher.finish();
        let mut texts = HashMap::new();
        let mut missing = Vec::new();
        for (id, written) in wanted {
            match self.0.get(&(kind, id)).filter(|known| known.written == written) {
                Some(known) => drop(texts.insert(id, known)),
                None => missing.push(id),
            }
        }
        if missing.is_empty() {
            return Ok(texts);
        }
        let text = format!(
            "select t.id, t.version, t.xmin::text::bigint, (select to_json(r)::text from (select {projection}) r), {}
             from {} t where t.id = any ($1)",
            sql::references(entity, fields),
            sql::table(entity)
        );
        type RowTextRow = (Uuid, i64, i64, String, Vec<Option<Uuid>>);
        let lines: Vec<RowTextRow> =
            sqlx::query_as(sql::statement(text)).persistent(fields.is_empty()).bind(missing).fetch_all(c).await?;
        for (id, version, xmin, json, mentioned) in lines {
            let json = RawValue::from_string(json).map_err(|error| sqlx::Error::Decode(error.into()))?;
            let mentioned = mentioned.into_iter().flatten().collect();
            let row = Arc::new(CachedRowJson { written: (version, xmin), json: json.into(), mentioned });
            self.0.insert((kind, id), row.clone());
            texts.insert(id, row);
        }
        Ok(texts)
    }
}
