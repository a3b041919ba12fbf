//! What the page reads. Rows are decoded here and nowhere else, when somebody looks.

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

/// One thing as the page shows it.
#[derive(Clone, Debug)]
pub struct RowView {
    /// Its columns, with what was written here.
    pub data: Arc<Row>,
    /// Something is on its way to the server.
    pub pending: bool,
    /// The columns that are.
    pub pending_fields: Vec<String>,
    /// A write needs a person.
    pub needs_attention: bool,
    /// From the device, not yet confirmed.
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

/// A list as the page shows it: the ids of its rows, in order.
#[derive(Clone, Debug, Default)]
pub struct ListView {
    /// The rows.
    pub ids: Arc<Vec<Uuid>>,
    /// Known, from the server or from the device.
    pub loaded: bool,
    /// Being asked for.
    pub fetching: bool,
    /// The last try failed.
    pub failed: bool,
    /// There are more to be fetched.
    pub more: bool,
}

impl PartialEq for ListView {
    fn eq(&self, other: &Self) -> bool {
        (self.loaded, self.fetching, self.failed, self.more) == (other.loaded, other.fetching, other.failed, other.more)
            && (Arc::ptr_eq(&self.ids, &other.ids) || self.ids == other.ids)
    }
}

/// The sync mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The server can be reached.
    pub online: bool,
    /// Changes are heard of.
    pub live: bool,
    /// Writes that wait or are on their way.
    pub pending_writes: usize,
    /// Writes that need a person.
    pub needs_attention: usize,
    /// Writes that are not on disk yet.
    pub unpersisted_writes: usize,
    /// The device has not reached the server for so long that it shows nothing until it has.
    pub locked: bool,
}

/// What is held of a row that the server told.
#[derive(Clone, Debug)]
pub struct CachedRowView<'a> {
    /// The thing.
    pub entity: EntityRef,
    /// Its version.
    pub version: i64,
    /// It is to be asked for again before it is believed.
    pub stale: bool,
    /// Somebody looks at it by itself, or at a list that holds it.
    pub observed: bool,
    /// Its JSON.
    pub text: &'a str,
}

impl Engine {
    /// Every row that is held, for those who look into the engine.
    pub fn cached_rows(&self) -> impl Iterator<Item = CachedRowView<'_>> {
        self.cache.rows().filter_map(|(slot, row)| {
            let (entity, text) = (self.cache.entity(slot)?, row.base.as_ref()?.as_str());
            let (stale, observed) = (row.stale || !self.is_subscribed(slot), self.is_observed(row));
            Some(CachedRowView { stale, observed, entity, version: row.version, text })
        })
    }

    /// Whether somebody looks at a row by itself, or at a list that holds it.
    pub(super) fn is_observed(&self, row: &CachedRow) -> bool {
        row.observer_count > 0
            || row.lists.iter().any(|index| self.cache.list(*index).is_some_and(|list| list.observer_count > 0))
    }

    /// Whether a change of a row would be heard of: it, or a list that holds it, is watched. What is not watched is no better than stale.
    pub(super) fn is_subscribed(&self, slot: Slot) -> bool {
        let Some(row) = self.cache.row(slot) else { return false };
        let lists = || row.lists.iter().filter_map(|index| self.cache.list(*index));
        if !self.leader {
            return self.tabs.status.1 && self.is_observed(row);
        }
        let watched = |topic: Topic| self.subscribed.contains(&topic);
        let entity = || self.cache.entity(slot).map(Topic::Row);
        (self.is_polling() && self.is_observed(row))
            || entity().is_some_and(watched)
            || lists().any(|list| Query::List(list.key.clone()).topic().is_some_and(watched))
    }

    /// What is held of one row.
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

    /// Every list that is held and can be believed, for those who look into the engine.
    pub fn fresh_lists(&self) -> impl Iterator<Item = (&ListKey, Arc<Vec<Uuid>>)> {
        let watched = |list: &crate::cache::CachedList| {
            let topic = Query::List(list.key.clone()).topic();
            if self.leader {
                self.is_polling() || topic.is_some_and(|topic| self.subscribed.contains(&topic))
            } else {
                self.tabs.status.1
            }
        };
        let believed = move |list: &crate::cache::CachedList| {
            list.loaded && !list.stale && list.observer_count > 0 && watched(list)
        };
        self.cache.lists().filter(move |(_, list)| believed(list)).map(|(_, list)| (&list.key, self.cache.ids(list)))
    }

    /// How many rows a whole list has, where that can be believed: what changes in it is heard of.
    pub fn fresh_count(&self, key: &ListKey) -> Option<usize> {
        let list = self.cache.get_list(key).filter(|list| list.loaded && list.complete && !list.stale)?;
        let heard = if self.leader {
            self.is_polling() || Query::List(key.clone()).topic().is_some_and(|topic| self.subscribed.contains(&topic))
        } else {
            self.tabs.status.1
        };
        // Looked at by itself, or through a part of it.
        let part = |of: &crate::cache::CachedList| of.observer_count > 0 && of.key.base_list().as_ref() == Some(key);
        let seen = list.observer_count > 0 || self.cache.lists_of(&key.code).any(part);
        (heard && seen && !self.persistence.locked).then_some(list.slots().len())
    }

    /// Every query of which anything is held: rows, lists, reference data.
    pub fn queries(&self) -> impl Iterator<Item = Query> {
        let told = self.cache.rows().filter(|(_, row)| row.base.is_some());
        let rows = told.filter_map(|(slot, _)| self.cache.entity(slot)).map(Query::Row);
        let lists = self.cache.lists().filter(|(_, list)| list.loaded).map(|(_, list)| Query::List(list.key.clone()));
        rows.chain(lists).chain(self.metas.keys().map(|key| Query::Meta(*key)))
    }

    /// The person.
    pub fn person(&self) -> Option<PersonId> {
        self.person
    }

    /// One thing; none where it is unknown or gone.
    pub fn row(&self, entity: &EntityRef) -> Option<RowView> {
        let row = self.cache.get(entity).filter(|_| !self.persistence.locked)?;
        let local = row.local.as_deref();
        Some(RowView {
            data: row.shown()?,
            pending: local.is_some_and(|l| l.pending),
            pending_fields: local.map(|l| l.pending_fields.clone()).unwrap_or_default(),
            needs_attention: local.is_some_and(|l| l.needs_attention),
            stale: row.stale,
        })
    }

    /// Whether the server has said that there is no such thing for this person, or could not be asked.
    pub fn row_missing(&self, entity: &EntityRef) -> bool {
        let query = Query::Row(entity.clone());
        self.cache.get(entity).is_none_or(|r| !r.is_visible() && !r.unloaded)
            && !self.in_flight.contains_key(&query)
            && !self.persistence.is_reading()
            && self.person.is_some()
    }

    /// Whether a thing is there as far as this device knows; it may lie there unread.
    pub fn is_known(&self, entity: &EntityRef) -> bool {
        self.cache.get(entity).is_some_and(|row| row.is_visible() || row.unloaded)
    }

    /// A list.
    pub fn list(&self, key: &ListKey) -> ListView {
        // A part of a whole list is fetched, and fails, with it.
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

    /// All rows of a list that are there, decoded: for short lists.
    pub fn rows(&self, key: &ListKey) -> Vec<RowView> {
        let ids = self.list(key).ids;
        ids.iter().filter_map(|id| self.row(&EntityRef::new(key.code.clone(), *id))).collect()
    }

    /// Reference data.
    pub fn meta(&self, key: ReferenceDataKey) -> Option<Arc<Value>> {
        self.metas.get(&key).map(|m| m.data.clone())
    }

    /// Entity types, as far as they are known.
    pub fn catalogue(&self) -> Arc<Catalog> {
        self.catalogue.clone()
    }

    /// The name of a thing, as far as it has been told.
    pub fn name(&self, code: &str, id: Uuid) -> Option<String> {
        let row = EntityCode::new(code).ok().and_then(|c| self.cache.get(&EntityRef::new(c, id)));
        let own = row.filter(|r| r.is_visible()).and_then(|r| r.value("name").as_str().map(str::to_owned));
        own.or_else(|| self.names.get(code)?.get(&id).cloned())
    }

    /// Every thing of a type whose name is known: for choosing one.
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

    /// The draft of a thing.
    pub fn draft(&self, entity: &EntityRef) -> Option<&Draft> {
        self.drafts.get(entity)
    }

    /// Drafts with changes.
    pub fn drafts(&self) -> impl Iterator<Item = &Draft> {
        self.drafts.values().filter(|d| d.has_changes())
    }

    /// How many drafts have changes.
    pub fn draft_count(&self) -> usize {
        self.drafts().count()
    }

    /// Writes that are not done.
    pub fn outbox(&self) -> &[OutboxEntry] {
        &self.outbox
    }

    pub(super) fn is_live(&self) -> bool {
        if self.leader { self.session.link == ConnectionState::Open || self.is_polling() } else { self.tabs.status.1 }
    }

    /// Whether this tab leads.
    pub fn is_leader(&self) -> bool {
        self.leader
    }

    /// The term in which this tab leads. What it writes to the cache belongs to this term: once another has begun on the device it must not get there.
    pub fn term(&self) -> Option<u64> {
        self.leader.then_some(self.tabs.term)
    }

    /// The sync mark.
    pub fn status(&self) -> Status {
        let (mut waiting, mut unsaved) = (0, 0);
        for entry in self.outbox.iter().filter(|e| matches!(e.state, EntryState::Pending)) {
            waiting += 1;
            unsaved += usize::from(!entry.persisted);
        }
        Status {
            online: if self.leader { self.browser_online && self.reachable } else { self.tabs.status.0 },
            live: self.is_live(),
            pending_writes: waiting,
            needs_attention: self.outbox.len() - waiting,
            unpersisted_writes: unsaved,
            locked: self.persistence.locked,
        }
    }
}
