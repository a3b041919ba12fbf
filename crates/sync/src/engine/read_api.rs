//! Read access for components: rows, lists, names, drafts, outbox and status.
//!
//! Rows are decoded here only, at the time of access.

use super::Engine;
use crate::cache::{CachedList, CachedRow, Slot};
use crate::draft::Draft;
use crate::outbox::OutboxEntry;
use crate::query_key::{ListKey, Query, ReferenceDataKey, Topic};
use crate::views::{CachedRowView, ListView, RowView, SourceRow, Status};
use pmo_domain::{Catalog, EntityCode, EntityRef, PersonId, sort};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

impl Engine {
    /// Returns all cached server rows, for inspection.
    pub fn cached_rows(&self) -> impl Iterator<Item = CachedRowView<'_>> {
        self.cache.rows().filter_map(|(slot, row)| {
            let (entity, text) = (self.cache.entity(slot)?, row.base.as_ref()?.as_str());
            let (stale, observed) = (row.stale || !self.is_subscribed(slot), self.is_observed(row));
            Some(CachedRowView { stale, observed, entity, version: row.version, text })
        })
    }

    /// Whether changes of a row are received: the row or a list that contains it is subscribed to.
    ///
    /// Without a subscription a row is no better than stale.
    pub(super) fn is_subscribed(&self, slot: Slot) -> bool {
        let Some(row) = self.cache.row(slot) else { return false };
        let lists = || row.lists.iter().filter_map(|index| self.cache.list(*index));
        if !self.leadership.is_leader() {
            return self.leadership.leader_status().live && self.is_observed(row);
        }
        let subscribed = |topic: Topic| self.realtime.is_subscribed(&topic);
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
        let subscribed = |list: &CachedList| {
            if self.leadership.is_leader() {
                self.receives_changes_of(&Query::List(list.key.clone()))
            } else {
                self.leadership.leader_status().live
            }
        };
        let is_fresh =
            move |list: &CachedList| list.loaded && !list.stale && list.observer_count > 0 && subscribed(list);
        self.cache.lists().filter(move |(_, list)| is_fresh(list)).map(|(_, list)| (&list.key, self.cache.ids(list)))
    }

    /// Returns the number of rows of a complete list if the number is up to date.
    ///
    /// Returns `None` unless the list is fresh, observed and subscribed to.
    pub fn fresh_count(&self, key: &ListKey) -> Option<usize> {
        let list = self.cache.get_list(key).filter(|list| list.loaded && list.complete && !list.stale)?;
        let subscribed = if self.leadership.is_leader() {
            self.receives_changes_of(&Query::List(key.clone()))
        } else {
            self.leadership.leader_status().live
        };
        // Observed itself, or through a list derived from it.
        let is_observed_part =
            |list: &CachedList| list.observer_count > 0 && list.key.base_list().as_ref() == Some(key);
        let observed = list.observer_count > 0 || self.cache.lists_of(&key.code).any(is_observed_part);
        (subscribed && observed && !self.persistence.is_locked()).then_some(list.slots().len())
    }

    /// Returns all queries with cached data: rows, lists and reference data.
    pub fn queries(&self) -> impl Iterator<Item = Query> {
        let cached = self.cache.rows().filter(|(_, row)| row.base.is_some());
        let rows = cached.filter_map(|(slot, _)| self.cache.entity(slot)).map(Query::Row);
        let lists = self.cache.lists().filter(|(_, list)| list.loaded).map(|(_, list)| Query::List(list.key.clone()));
        rows.chain(lists).chain(self.reference.iter().map(|(key, _)| Query::Meta(*key)))
    }

    /// Returns the signed-in user.
    pub fn person(&self) -> Option<PersonId> {
        self.person
    }

    /// Returns an entity for display; `None` if it is unknown, deleted or locked.
    pub fn row(&self, entity: &EntityRef) -> Option<RowView> {
        let row = self.cache.get(entity).filter(|_| !self.persistence.is_locked())?;
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
            && !self.requests.is_in_flight(&query)
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
        let (fetching, failed) = (self.requests.is_in_flight(&query), self.requests.has_failed(&query));
        let Some(list) = self.cache.get_list(key).filter(|_| !self.persistence.is_locked()) else {
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

    /// Returns the source rows of a list; `None` if the device does not hold all of them.
    pub fn source_rows(&self, key: &ListKey) -> Option<Vec<SourceRow<'_>>> {
        let list = self.cache.get_list(key).filter(|_| !self.persistence.is_locked())?;
        if !list.loaded || !list.complete || list.loading_from_disk {
            return None;
        }
        let slots = self.cache.source_slots(list);
        slots.iter().map(|slot| self.cache.row(*slot).filter(|row| !row.unloaded).map(SourceRow)).collect()
    }

    /// Whether columns of an entity are derived on this device.
    pub fn has_derived(&self, entity: &EntityRef) -> bool {
        self.cache.get(entity).is_some_and(CachedRow::has_derived)
    }

    /// Returns cached reference data.
    pub fn meta(&self, key: ReferenceDataKey) -> Option<Arc<Value>> {
        self.reference.get(key).map(|m| m.data.clone())
    }

    /// Returns the catalog of entity types, as far as it is known.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.reference.catalog().clone()
    }

    /// Returns the name of an entity, if it is known.
    pub fn name(&self, code: &str, id: Uuid) -> Option<String> {
        let row = EntityCode::new(code).ok().and_then(|c| self.cache.get(&EntityRef::new(c, id)));
        let own = row.filter(|r| r.is_visible()).and_then(|r| r.value("name").as_str().map(str::to_owned));
        own.or_else(|| self.reference.names_of(code)?.get(&id).cloned())
    }

    /// Returns all entities of a type whose name is known, sorted by name, for a picker.
    pub fn known_names(&self, code: &str) -> Vec<(Uuid, String)> {
        let mut known: BTreeMap<Uuid, String> = self.reference.names_of(code).cloned().unwrap_or_default();
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
        self.drafts.iter().filter(|d| d.has_changes())
    }

    /// Returns the number of drafts with changes.
    pub fn draft_count(&self) -> usize {
        self.drafts().count()
    }

    /// Returns the writes that are not completed.
    pub fn outbox(&self) -> &[OutboxEntry] {
        self.outbox.entries()
    }

    /// Returns an entry with the entries that would fail without it.
    ///
    /// These are all entries that refer to an entity which would not be created.
    pub fn with_dependents(&self, id: Uuid) -> Vec<&OutboxEntry> {
        self.outbox.with_dependents(id)
    }

    /// Whether changes are received, by this tab or by its leader.
    pub(super) fn is_live(&self) -> bool {
        if self.leadership.is_leader() {
            self.realtime.is_open() || self.is_polling()
        } else {
            self.leadership.leader_status().live
        }
    }

    /// Whether this tab is the leader.
    pub fn is_leader(&self) -> bool {
        self.leadership.is_leader()
    }

    /// Returns the term of this tab if it is the leader.
    ///
    /// Its cache writes belong to this term. Once a later term has begun on the device, they must
    /// not be applied.
    pub fn term(&self) -> Option<u64> {
        self.leadership.is_leader().then_some(self.leadership.term())
    }

    /// Returns the sync status.
    pub fn status(&self) -> Status {
        let (pending, unpersisted) = self.outbox.pending_counts();
        let leader = self.leadership.is_leader();
        Status {
            online: if leader { self.connectivity.is_online() } else { self.leadership.leader_status().online },
            live: self.is_live(),
            pending_writes: pending,
            needs_attention: self.outbox.entries().len() - pending,
            unpersisted_writes: unpersisted,
            locked: self.persistence.is_locked(),
        }
    }
}
