//! Rows once, lists of ids. A row is what the server said plus what was written here and is not answered yet.

use crate::key::ListKey;
use crate::outbox::{Entry, EntryState};
use pmo_domain::rest::version_of;
use pmo_domain::{EntityRef, Row};
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// A row in memory.
#[derive(Clone, Debug, Default)]
pub struct CachedRow {
    /// What the server said; none: nothing yet, or that it is gone.
    pub base: Option<Arc<Row>>,
    /// With the writes that are on their way.
    pub shown: Option<Arc<Row>>,
    /// Milliseconds since 1970 when the server said so.
    pub synced_at: f64,
    /// To be asked for again before it is believed.
    pub stale: bool,
    /// Writes are on their way.
    pub pending: bool,
    /// A write needs a person.
    pub attention: bool,
    /// The columns that are on their way.
    pub pending_fields: Vec<String>,
    /// No answer with a lower version counts.
    pub floor: i64,
}

impl CachedRow {
    /// The version that the server told.
    pub fn version(&self) -> i64 {
        self.base.as_ref().map_or(0, |row| version_of(row).0)
    }

    /// Works out `shown` anew; true where it or its marks changed.
    pub fn show<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) -> bool {
        let (mut row, mut pending, mut attention, mut fields) =
            (self.base.as_deref().cloned(), false, false, Vec::new());
        let mut touched = false;
        for entry in entries {
            if entry.state == EntryState::Waiting {
                row = entry.applied(row.as_ref());
                pending = true;
                touched = true;
                if let crate::outbox::Operation::Update { patch, .. } = &entry.operation {
                    fields.extend(patch.keys().cloned());
                }
            } else {
                attention = true;
            }
        }
        let shown = if touched { row.map(Arc::new) } else { self.base.clone() };
        let same = self.shown == shown
            && self.pending == pending
            && self.attention == attention
            && self.pending_fields == fields;
        self.shown = shown;
        self.pending = pending;
        self.attention = attention;
        self.pending_fields = fields;
        !same
    }
}

/// A list in memory.
#[derive(Clone, Debug, Default)]
pub struct CachedList {
    /// Its rows, in the server's order.
    pub ids: Vec<Uuid>,
    /// Milliseconds since 1970 when the server said so.
    pub synced_at: f64,
    /// To be asked for again.
    pub stale: bool,
    /// Known at all.
    pub loaded: bool,
}

/// All rows and lists in memory.
#[derive(Default)]
pub struct Cache {
    /// Rows.
    pub rows: HashMap<EntityRef, CachedRow>,
    /// Lists.
    pub lists: HashMap<ListKey, CachedList>,
}

impl Cache {
    /// Puts a row into the lists that hold it and takes it out of those that do not; answers the lists that changed.
    pub fn place(&mut self, entity: &EntityRef, row: Option<&Row>) -> Vec<ListKey> {
        let mut changed = Vec::new();
        for (key, list) in self.lists.iter_mut().filter(|(key, _)| key.code == entity.code) {
            let place = list.ids.iter().position(|id| *id == entity.id);
            let belongs = match row {
                None => Some(false),
                Some(row) => key.holds(row),
            };
            match (place, belongs) {
                (None, Some(true)) if list.loaded => list.ids.push(entity.id),
                (Some(at), Some(false)) => {
                    list.ids.remove(at);
                }
                (None, None) => {
                    // Only the server knows.
                    list.stale = true;
                    continue;
                }
                _ => continue,
            }
            changed.push(key.clone());
        }
        changed
    }

    /// The lists that hold a row.
    pub fn lists_with<'a>(&'a self, entity: &'a EntityRef) -> impl Iterator<Item = &'a ListKey> {
        self.lists
            .iter()
            .filter(|(key, list)| key.code == entity.code && list.ids.contains(&entity.id))
            .map(|(key, _)| key)
    }
}
