//! Updates that the leader sends to its followers, and how a follower applies them.

use super::Engine;
use super::rows::Notify;
use crate::cache::{CachedList, Slot};
use crate::components::{FeedPosition, ReferenceData};
use crate::query_key::{ListKey, Query};
use crate::raw_row::{RawRow, RowHeader};
use crate::tab_protocol::{LeaderUpdate, ListUpdate, RowUpdate};
use pmo_domain::{EntityCode, EntityRef, UnixMillis};
use serde_json::value::RawValue;
use std::sync::Arc;

impl Engine {
    /// Adds the cached data of a query to the update if the follower has other data.
    pub(super) fn send_missing_to_follower(&mut self, query: &Query, digest: u64) {
        let settled = !self.requests.is_in_flight(query);
        let succeeded = settled && !self.requests.has_failed(query);
        if let Query::List(key) = query
            && succeeded
            && self.cache.get_list(key).is_some_and(|list| !list.loaded)
        {
            // The list was requested and its parent does not exist: the follower must drop the
            // list.
            self.leadership.update().lists_removed.push(key.clone());
        } else if self.digest(query) != digest {
            self.send_to_followers(query, succeeded);
        }
        if settled {
            let has_data = succeeded && self.has_query_data(query);
            self.leadership.update().completed.push((query.clone(), has_data));
        }
    }

    /// Adds the cached data of a query to the update for the followers.
    ///
    /// If an entity is not cached although its fetch `succeeded`, it does not exist.
    fn send_to_followers(&mut self, query: &Query, succeeded: bool) {
        match query {
            Query::Row(entity) => {
                let update = self.cache.slot_of(entity).and_then(|slot| self.row_update(slot));
                if update.is_none() && succeeded {
                    self.leadership.update().removed.push(entity.clone());
                }
                self.leadership.update().rows.extend(update);
            }
            Query::List(key) => {
                let loaded = self.cache.get_list(key).filter(|l| l.loaded && !l.loading_from_disk);
                let rows: Vec<RowUpdate> =
                    loaded.into_iter().flat_map(CachedList::slots).filter_map(|slot| self.row_update(*slot)).collect();
                let list = self.list_update(key);
                self.leadership.update().rows.extend(rows);
                self.leadership.update().lists.extend(list);
            }
            Query::Meta(key) => {
                let cached = self.reference.get(*key).map(|meta| (*key, (*meta.data).clone()));
                self.leadership.update().metas.extend(cached);
            }
        }
    }

    fn has_query_data(&self, query: &Query) -> bool {
        match query {
            Query::Row(entity) => self.cache.get(entity).is_some_and(|row| row.base.is_some()),
            Query::List(key) => self.cache.get_list(key).is_some_and(|list| list.loaded),
            Query::Meta(key) => self.reference.get(*key).is_some(),
        }
    }

    pub(super) fn row_update(&self, slot: Slot) -> Option<RowUpdate> {
        let row = self.cache.row(slot)?;
        let text = row.base.as_ref()?.as_str().to_owned();
        let code = self.cache.code(slot);
        Some(RowUpdate { code, permission: row.permission, row: RawValue::from_string(text).ok()? })
    }

    pub(super) fn list_update(&self, key: &ListKey) -> Option<ListUpdate> {
        let list = self.cache.get_list(key).filter(|list| list.loaded && !list.derived && !list.loading_from_disk)?;
        Some(ListUpdate {
            key: key.clone(),
            ids: self.cache.source_ids(list),
            complete: list.complete,
            synced_at: list.synced_at,
        })
    }

    /// Returns a digest of the cached data of a query; 0 if nothing is cached.
    pub(super) fn digest(&self, query: &Query) -> u64 {
        let row_digest = |slot: Slot| {
            let row = self.cache.row(slot).filter(|row| row.base.is_some());
            row.map_or(0, |row| {
                let id = row.id.as_u128();
                ((id ^ (id >> 64)) as u64 ^ (row.version as u64).rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            })
        };
        match query {
            Query::Row(entity) => self.cache.slot_of(entity).map_or(0, row_digest),
            Query::List(key) => {
                let list = self.cache.get_list(key).filter(|l| l.loaded && !l.loading_from_disk);
                list.map_or(0, |list| {
                    list.slots().iter().fold(1, |sum: u64, slot| sum.rotate_left(1) ^ row_digest(*slot))
                })
            }
            Query::Meta(key) => self.reference.get(*key).map_or(0, |meta| meta.data.to_string().len() as u64),
        }
    }

    pub(super) fn apply_leader_update(&mut self, update: LeaderUpdate, now: UnixMillis) {
        if let Some((epoch, _)) = &update.feed {
            self.begin_epoch(epoch);
        }
        for (key, data) in update.metas {
            self.apply_reference_data(key, ReferenceData { data: Arc::new(data), synced_at: now, stale: false });
            self.mark_changed(Query::Meta(key));
        }
        for (code, names) in update.names {
            self.reference.set_names(code, names);
        }
        self.on_presence_update(update.presence);
        if let Some(trees) = update.pinned {
            for root in self.leadership.set_pinned_trees(trees) {
                self.observers.mark_row_changed(root);
            }
        }
        if update.access_changed {
            // Before the rows: until their lists follow, nothing here observes them.
            self.drop_unobserved();
        }
        for RowUpdate { code, permission, row } in update.rows {
            if let Some(slot) = self.apply_leader_row(&code, row.get(), permission, now) {
                self.reindex(slot);
            }
        }
        for entity in update.removed {
            self.remove_entity(&entity);
        }
        for list in update.lists {
            self.apply_leader_list(list);
        }
        for key in update.lists_removed {
            let slots = self.cache.get_list(&key).map(|list| list.slots().to_vec()).unwrap_or_default();
            for slot in slots {
                self.invalidate_row(slot);
            }
            self.empty_list(&key);
        }
        for (query, succeeded) in update.completed {
            self.requests.complete(&query, succeeded);
            if succeeded {
                self.mark_fresh_from_leader(&query);
            }
            self.mark_changed(query);
        }
        if let Some((epoch, cursor)) = update.feed {
            self.realtime.set_position(Some(FeedPosition { epoch, cursor }));
        }
    }

    /// Applies a row from the leader; returns its slot, or `None` if the row was too old.
    pub(super) fn apply_leader_row(
        &mut self,
        code: &EntityCode,
        text: &str,
        level: Option<u8>,
        now: UnixMillis,
    ) -> Option<Slot> {
        let header = RowHeader::parse(text);
        let (slot, applied) = self.apply_parsed_row(
            code,
            RawRow::new(text),
            RowHeader { permission: header.permission.or(level), ..header },
            now,
        );
        slot.filter(|_| applied)
    }

    fn apply_leader_list(&mut self, update: ListUpdate) {
        let index = self.cache.list_or_insert(&update.key, self.reference.catalog());
        let slots: Vec<Slot> = update
            .ids
            .iter()
            .filter_map(|id| self.cache.slot_of(&EntityRef::new(update.key.code.clone(), *id)))
            .filter(|slot| self.cache.row(*slot).is_some_and(|row| row.is_visible() || row.unloaded))
            .collect();
        if let Some(list) = self.cache.list_mut(index) {
            (list.loaded, list.complete, list.loading_from_disk, list.derived) = (true, update.complete, false, false);
            (list.stale, list.synced_at) = (false, update.synced_at);
        }
        let missing = self.rows_missing_from(index, &slots);
        self.cache.set_rows(index, slots);
        for slot in missing {
            let Some(entity) = self.cache.entity(slot) else { continue };
            if self.is_local_only(&entity) {
                self.recompute_row(slot, Notify::Always);
            } else {
                self.invalidate_row(slot);
            }
        }
        self.derive_parts(index, &update.key);
        self.mark_changed(Query::List(update.key));
    }

    /// Marks the rows of a query as fresh: they are the same as those of the leader.
    fn mark_fresh_from_leader(&mut self, query: &Query) {
        let slots = match query {
            Query::Row(entity) => self.cache.slot_of(entity).into_iter().collect(),
            Query::List(key) => self.cache.get_list(key).map(|list| list.slots().to_vec()).unwrap_or_default(),
            Query::Meta(_) => return,
        };
        for slot in slots {
            if let Some(row) = self.cache.row_mut(slot).filter(|row| row.stale)
                && row.base.is_some()
            {
                row.stale = false;
                if let Some(entity) = self.cache.entity(slot) {
                    self.observers.mark_row_changed(entity);
                }
            }
        }
    }

    /// Drops all lists and rows without an observer in this tab.
    ///
    /// The leader may not know of them, so it cannot say whether the user may still view them.
    pub(super) fn drop_unobserved(&mut self) {
        let is_unobserved = |list: &CachedList| list.observer_count == 0;
        let lists: Vec<_> =
            self.cache.lists().filter(|(_, list)| is_unobserved(list)).map(|(index, _)| index).collect();
        let needed: Vec<ListKey> = self
            .cache
            .lists()
            .filter(|(_, l)| l.derived && l.observer_count > 0)
            .filter_map(|(_, l)| l.key.base_list())
            .collect();
        for index in lists {
            if self.cache.list(index).is_some_and(|list| !needed.contains(&list.key)) {
                self.cache.drop_list(index);
            }
        }
        let rows: Vec<(Slot, bool)> = self
            .cache
            .rows()
            .filter(|(_, row)| row.observer_count == 0 && row.lists.is_empty())
            .map(|(slot, row)| (slot, row.local.is_some()))
            .collect();
        for (slot, has_writes) in rows {
            // Pending writes remain; only the server row is removed.
            if has_writes { self.invalidate_row(slot) } else { self.drop_row(slot) }
        }
    }

    /// Discards an unobserved server row that contradicts the data of the leader.
    ///
    /// If the row belongs elsewhere, the leader sends it again.
    fn invalidate_row(&mut self, slot: Slot) {
        let local_only = self.cache.entity(slot).is_some_and(|entity| self.is_local_only(&entity));
        if let Some(row) = self.cache.row_mut(slot).filter(|row| row.observer_count == 0 && !local_only) {
            row.set_base(None);
            (row.version, row.min_version, row.unloaded) = (0, 0, false);
            self.recompute_row(slot, Notify::Always);
        }
    }
}
