//! Read access for components: rows, lists, names, drafts, outbox and status.
//!
//! Rows are decoded here only, at the time of access.

use super::Engine;
use crate::cache::{CachedRow, Slot};
use crate::draft::Draft;
use crate::outbox::{EntryState, OutboxEntry};
use crate::query_key::{ListKey, Query, ReferenceDataKey, Topic};
use crate::reconnect::ConnectionState;
use pmo_domain::{Catalog, EntityCode, EntityRef, PersonId, Row, sort};
use serde_json::Value;
use std::collections::BTreeMap;
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

impl Engine {
    /// Returns all cached server rows, for inspection.
    pub fn cached_rows(&self) -> impl Iterator<Item = CachedRowView<'_>> {
        self.cache.rows().filter_map(|(slot, row)| {
            let (entity, text) = (self.cache.entity(slot)?, row.base.as_ref()?.as_str());
            let (stale, observed) = (row.stale || !self.is_subscribed(slot), self.is_observed(row));
            Some(CachedRowView { stale, observed, entity, version: row.version, text })
        })
    }

    /// Whether a row, or a list that contains it, is observed.
    pub(super) fn is_observed(&self, row: &CachedRow) -> bool {
        row.observer_count > 0
            || row.lists.iter().any(|index| self.cache.list(*index).is_some_and(|list| list.observer_count > 0))
    }

    /// Whether changes of a row are received: the row or a list that contains it is subscribed to.
    ///
    /// Without a subscription a row is no better than stale.
    pub(super) fn is_subscribed(&self, slot: Slot) -> bool {
        let Some(row) = self.cache.row(slot) else { return false };
        let lists = || row.lists.iter().filter_map(|index| self.cache.list(*index));
        if !self.leader {
            return self.tabs.status.1 && self.is_observed(row);
        }
        let subscribed = |topic: Topic| self.subscribed.contains(&topic);
        let entity = || self.cache.entity(slot).map(Topic::Row);
        (self.is_polling() && self.is_observed(row))
            || entity().is_some_and(subscribed)
            || lists().any(|list| Query::List(list.key.clone()).topic().is_some_and(subscribed))
    }

    /// Returns the cached server row of an entity, for inspection.
    pub fn cached_row(&self, entity: &EntityRef) -> Option<CachedRowView<'_>> {
        let row = self.cache.get(entity)?;
        Some(CachedRowView {
            entity: entity.clone(),
            version: row.version,
            stale: row.stale,
            observed: self.is_observed(row),
            text: row.base.as_ref()?.as_str(),
        })
    }

    /// Returns all observed lists that are fresh, with the ids of their rows, for inspection.
    pub fn fresh_lists(&self) -> impl Iterator<Item = (&ListKey, Arc<Vec<Uuid>>)> {
        let subscribed = |list: &crate::cache::CachedList| {
            let topic = Query::List(list.key.clone()).topic();
            if self.leader {
                self.is_polling() || topic.is_some_and(|topic| self.subscribed.contains(&topic))
            } else {
                self.tabs.status.1
            }
        };
        let is_fresh = move |list: &crate::cache::CachedList| {
            list.loaded && !list.stale && list.observer_count > 0 && subscribed(list)
        };
        self.cache.lists().filter(move |(_, list)| is_fresh(list)).map(|(_, list)| (&list.key, self.cache.ids(list)))
    }

    /// Returns the number of rows of a complete list if the number is up to date.
    ///
    /// Returns `None` unless the list is fresh, observed and subscribed to.
    pub fn fresh_count(&self, key: &ListKey) -> Option<usize> {
        let list = self.cache.get_list(key).filter(|list| list.loaded && list.complete && !list.stale)?;
        let subscribed = if self.leader {
            self.is_polling() || Query::List(key.clone()).topic().is_some_and(|topic| self.subscribed.contains(&topic))
        } else {
            self.tabs.status.1
        };
        // Observed itself, or through a list derived from it.
        let is_observed_part =
            |list: &crate::cache::CachedList| list.observer_count > 0 && list.key.base_list().as_ref() == Some(key);
        let observed = list.observer_count > 0 || self.cache.lists_of(&key.code).any(is_observed_part);
        (subscribed && observed && !self.persistence.locked).then_some(list.slots().len())
    }

    /// Returns all queries with cached data: rows, lists and reference data.
    pub fn queries(&self) -> impl Iterator<Item = Query> {
        let cached = self.cache.rows().filter(|(_, row)| row.base.is_some());
        let rows = cached.filter_map(|(slot, _)| self.cache.entity(slot)).map(Query::Row);
        let lists = self.cache.lists().filter(|(_, list)| list.loaded).map(|(_, list)| Query::List(list.key.clone()));
        rows.chain(lists).chain(self.reference_data.keys().map(|key| Query::Meta(*key)))
    }

    /// Returns the signed-in user.
    pub fn person(&self) -> Option<PersonId> {
        self.person
    }

    /// Returns an entity for display; `None` if it is unknown, deleted or locked.
    pub fn row(&self, entity: &EntityRef) -> Option<RowView> {
        let row = self.cache.get(entity).filter(|_| !self.persistence.locked)?;
        let local = row.local.as_deref();
        Some(RowView {
            data: row.visible_row()?,
            pending: local.is_some_and(|l| l.pending),
            pending_fields: local.map(|l| l.pending_fields.clone()).unwrap_or_default(),
            needs_attention: local.is_some_and(|l| l.needs_attention),
            stale: row.stale,
        })
    }

    /// Whether an entity does not exist for this user, or the server could not be asked for it.
    pub fn row_missing(&self, entity: &EntityRef) -> bool {
        let query = Query::Row(entity.clone());
        self.cache.get(entity).is_none_or(|r| !r.is_visible() && !r.unloaded)
            && !self.in_flight.contains_key(&query)
            && !self.persistence.is_reading()
            && self.person.is_some()
    }

    /// Whether an entity exists as far as this device knows; its row may still be unread on disk.
    pub fn is_known(&self, entity: &EntityRef) -> bool {
        self.cache.get(entity).is_some_and(|row| row.is_visible() || row.unloaded)
    }

    /// Returns a list for display.
    pub fn list(&self, key: &ListKey) -> ListView {
        // A derived list shares the fetch state of its base list.
        let derived = self.cache.get_list(key).is_some_and(|list| list.derived);
        let query = Query::List(key.base_list().filter(|_| derived).unwrap_or_else(|| key.clone()));
        let (fetching, failed) = (self.in_flight.contains_key(&query), self.failed.contains(&query));
        let Some(list) = self.cache.get_list(key).filter(|_| !self.persistence.locked) else {
            return ListView { fetching, failed, ..ListView::default() };
        };
        ListView {
            ids: self.cache.ids(list),
            loaded: list.loaded,
            fetching,
            failed,
            more: list.loaded && !list.complete,
        }
    }

    /// Returns all available rows of a list, decoded; intended for short lists.
    pub fn rows(&self, key: &ListKey) -> Vec<RowView> {
        let ids = self.list(key).ids;
        ids.iter().filter_map(|id| self.row(&EntityRef::new(key.code.clone(), *id))).collect()
    }

    /// Returns cached reference data.
    pub fn meta(&self, key: ReferenceDataKey) -> Option<Arc<Value>> {
        self.reference_data.get(&key).map(|m| m.data.clone())
    }

    /// Returns the catalog of entity types, as far as it is known.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.clone()
    }

    /// Returns the name of an entity, if it is known.
    pub fn name(&self, code: &str, id: Uuid) -> Option<String> {
        let row = EntityCode::new(code).ok().and_then(|c| self.cache.get(&EntityRef::new(c, id)));
        let own = row.filter(|r| r.is_visible()).and_then(|r| r.value("name").as_str().map(str::to_owned));
        own.or_else(|| self.names.get(code)?.get(&id).cloned())
    }

    /// Returns all entities of a type whose name is known, sorted by name, for a picker.
    pub fn known_names(&self, code: &str) -> Vec<(Uuid, String)> {
        let mut known: BTreeMap<Uuid, String> = self.names.get(code).cloned().unwrap_or_default();
        if let Ok(code) = EntityCode::new(code) {
            for row in self.cache.rows_of(&code).filter(|r| r.is_visible()) {
                if let Some(name) = row.value("name").as_str() {
                    known.insert(row.id, name.to_owned());
                }
            }
        }
        sort::sorted_by_key(known.into_iter().collect(), |(_, name): &(Uuid, String)| name.to_lowercase())
    }

    /// Returns the draft of an entity.
    pub fn draft(&self, entity: &EntityRef) -> Option<&Draft> {
        self.drafts.get(entity)
    }

    /// Returns the drafts with changes.
    pub fn drafts(&self) -> impl Iterator<Item = &Draft> {
        self.drafts.values().filter(|d| d.has_changes())
    }

    /// Returns the number of drafts with changes.
    pub fn draft_count(&self) -> usize {
        self.drafts().count()
    }

    /// Returns the writes that are not completed.
    pub fn outbox(&self) -> &[OutboxEntry] {
        &self.outbox
    }

    /// Whether changes are received, by this tab or by its leader.
    pub(super) fn is_live(&self) -> bool {
        if self.leader { self.session.state == ConnectionState::Open || self.is_polling() } else { self.tabs.status.1 }
    }

    /// Whether this tab is the leader.
    pub fn is_leader(&self) -> bool {
        self.leader
    }

    /// Returns the term of this tab if it is the leader.
    ///
    /// Its cache writes belong to this term. Once a later term has begun on the device, they must
    /// not be applied.
    pub fn term(&self) -> Option<u64> {
        self.leader.then_some(self.tabs.term)
    }

    /// Returns the sync status.
    pub fn status(&self) -> Status {
        let (mut pending, mut unpersisted) = (0, 0);
        for entry in self.outbox.iter().filter(|e| matches!(e.state, EntryState::Pending)) {
            pending += 1;
            unpersisted += usize::from(!entry.persisted);
        }
        Status {
            online: if self.leader { self.browser_online && self.reachable } else { self.tabs.status.0 },
            live: self.is_live(),
            pending_writes: pending,
            needs_attention: self.outbox.len() - pending,
            unpersisted_writes: unpersisted,
            locked: self.persistence.locked,
        }
    }
}
