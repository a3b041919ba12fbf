//! Read-only views of the state of the engine.

use crate::cache::CachedRow;
use crate::raw_row::RawRow;
use pmo_domain::{EntityRef, Row};
use std::borrow::Cow;
use std::sync::Arc;
use uuid::Uuid;

/// Entity as shown on the page.
#[derive(Clone, Debug)]
pub struct RowView {
    /// Columns with pending writes applied.
    pub data: Arc<Row>,
    /// Whether a write to the entity is pending.
    pub pending: bool,
    /// Columns with pending writes.
    pub pending_fields: Vec<String>,
    /// Whether a write to the entity was rejected or is in conflict.
    pub needs_attention: bool,
    /// Whether the server has not confirmed the row yet, for example after hydration from disk.
    pub stale: bool,
}

impl PartialEq for RowView {
    fn eq(&self, other: &Self) -> bool {
        self.pending == other.pending
            && self.needs_attention == other.needs_attention
            && self.stale == other.stale
            && self.pending_fields == other.pending_fields
            && (Arc::ptr_eq(&self.data, &other.data) || self.data == other.data)
    }
}

/// List as shown on the page: the ids of its rows, in order.
#[derive(Clone, Debug, Default)]
pub struct ListView {
    /// Ids of the rows.
    pub ids: Arc<Vec<Uuid>>,
    /// Whether the rows are known, from the server or from disk.
    pub loaded: bool,
    /// Whether the list is being fetched.
    pub fetching: bool,
    /// Whether the last fetch failed.
    pub failed: bool,
    /// Whether more rows can be fetched.
    pub more: bool,
}

impl PartialEq for ListView {
    fn eq(&self, other: &Self) -> bool {
        (self.loaded, self.fetching, self.failed, self.more) == (other.loaded, other.fetching, other.failed, other.more)
            && (Arc::ptr_eq(&self.ids, &other.ids) || self.ids == other.ids)
    }
}

/// Sync status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether the server is available.
    pub online: bool,
    /// Whether changes are received, over a WebSocket or by polling.
    pub live: bool,
    /// Number of writes that are waiting or in flight.
    pub pending_writes: usize,
    /// Number of writes that were rejected or are in conflict.
    pub needs_attention: usize,
    /// Number of pending writes that are not on disk yet.
    pub unpersisted_writes: usize,
    /// Whether the offline lease has expired; no data is shown until the server responds again.
    pub locked: bool,
}

/// Cached state of a row as received from the server.
#[derive(Clone, Debug)]
pub struct CachedRowView<'a> {
    /// Entity of the row.
    pub entity: EntityRef,
    /// Version of the row.
    pub version: i64,
    /// Whether the row must be refetched before it is trusted.
    pub stale: bool,
    /// Whether the row, or a list that contains it, is observed.
    pub observed: bool,
    /// JSON text of the row.
    pub text: &'a str,
}

/// Server row with pending writes, without derived columns.
#[derive(Clone, Copy, Debug)]
pub struct SourceRow<'a>(pub(crate) &'a CachedRow);

impl<'a> SourceRow<'a> {
    /// Returns the id of the entity.
    pub fn id(self) -> Uuid {
        self.0.id
    }

    /// Returns a number that is different after each change of the row.
    pub fn revision(self) -> u64 {
        self.0.revision
    }

    /// Returns the columns as JSON text; an empty text if the row is deleted locally.
    pub fn text(self) -> Cow<'a, str> {
        match &self.0.local {
            None => Cow::Borrowed(self.0.base.as_ref().map_or("", RawRow::as_str)),
            Some(local) => {
                let row = local.visible.as_deref();
                Cow::Owned(row.and_then(|row| serde_json::to_string(row).ok()).unwrap_or_default())
            }
        }
    }
}

/// Download status of a pinned tree.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PinnedTreeStatus {
    /// Number of cached entities in the tree, without the root.
    pub rows: usize,
    /// Whether the whole tree is on the device.
    pub complete: bool,
    /// Whether the tree is being fetched.
    pub fetching: bool,
    /// Whether the last fetch failed.
    pub failed: bool,
}
