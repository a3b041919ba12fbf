//! Membership and order of lists, maintained incrementally as rows change.
//!
//! The cost of a change depends on the row and its lists, not on the size of the cache.

use super::{Cache, CachedList, CachedRow, ColumnOrder, ListImpact, ListIndex, OwnerRelation, Slot};
use crate::query_key::{ListKey, ParentFilter, SortDirection};
use crate::raw_row::RawRow;
use pmo_domain::{Catalog, EntityCode, EntityRef, UnixMillis};
use std::cell::RefCell;
use std::sync::Arc;
use uuid::Uuid;

/// Returns the owned relations to parents of the list's rows; empty unless the list is recursive.
fn owner_relations(key: &ListKey, catalog: &Catalog) -> Vec<OwnerRelation> {
    let mut owners = Vec::new();
    if key.recursive {
        for (parent, relation) in catalog.parent_relations(key.code.as_str()).filter(|(_, relation)| relation.owned) {
            let parent_column = relation.parent_column.clone();
            let parent_type_column = relation.parent_type_column.clone();
            owners.push(OwnerRelation { code: parent.code.clone(), parent_column, parent_type_column });
        }
    }
    owners
}

impl Cache {
    /// Returns the index of a list.
    pub fn find_list(&self, key: &ListKey) -> Option<ListIndex> {
        self.lists_by_key.get(key).copied()
    }

    /// Returns the list at an index.
    pub fn list(&self, index: ListIndex) -> Option<&CachedList> {
        self.lists.get(index as usize)?.as_ref()
    }

    /// Returns the list at an index for modification.
    pub fn list_mut(&mut self, index: ListIndex) -> Option<&mut CachedList> {
        self.lists.get_mut(index as usize)?.as_mut()
    }

    /// Returns the list with this key, or `None` if it is not cached.
    pub fn get_list(&self, key: &ListKey) -> Option<&CachedList> {
        self.list(self.find_list(key)?)
    }

    /// Returns the list with a key for modification.
    pub fn get_list_mut(&mut self, key: &ListKey) -> Option<&mut CachedList> {
        self.list_mut(self.find_list(key)?)
    }

    /// Iterates over all lists with their indexes.
    pub fn lists(&self) -> impl Iterator<Item = (ListIndex, &CachedList)> {
        self.lists.iter().enumerate().filter_map(|(index, list)| Some((index as ListIndex, list.as_ref()?)))
    }

    /// Iterates over all lists for modification.
    pub fn lists_mut(&mut self) -> impl Iterator<Item = &mut CachedList> {
        self.lists.iter_mut().flatten()
    }

    /// Iterates over the lists of an entity type.
    pub fn lists_of<'a>(&'a self, code: &EntityCode) -> impl Iterator<Item = &'a CachedList> + use<'a> {
        let indexes = self.kinds.get(code).and_then(|kind| self.lists_of_kind.get(kind));
        indexes.into_iter().flatten().filter_map(|index| self.list(*index))
    }

    /// Returns the index of a list, inserting an empty list that is not loaded if it is missing.
    pub fn list_or_insert(&mut self, key: &ListKey, catalog: &Catalog) -> ListIndex {
        if let Some(index) = self.find_list(key) {
            return index;
        }
        let kind = self.kind(&key.code);
        let (predicates, sort_keys) = self.compile_query(kind, key, catalog);
        let list = CachedList {
            key: key.clone(),
            kind,
            slots: Vec::new(),
            synced_at: UnixMillis::EPOCH,
            stale: true,
            last_request: 0,
            loaded: false,
            complete: false,
            next_cursor: None,
            derived: false,
            from_tree: false,
            observer_count: 0,
            unobserved_since: UnixMillis::EPOCH,
            dirty: false,
            loading_from_disk: false,
            chunks: Vec::new(),
            predicates,
            sort_keys,
            owners: owner_relations(key, catalog),
            ids: RefCell::default(),
        };
        let index = match self.lists.iter().position(Option::is_none) {
            Some(index) => {
                self.lists[index] = Some(list);
                index
            }
            None => {
                self.lists.push(Some(list));
                self.lists.len() - 1
            }
        } as ListIndex;
        self.lists_by_key.insert(key.clone(), index);
        self.lists_of_kind.entry(kind).or_default().push(index);
        index
    }

    /// Removes a list; its rows stay in the cache.
    pub fn drop_list(&mut self, index: ListIndex) -> Option<CachedList> {
        let list = self.lists.get_mut(index as usize)?.take()?;
        self.lists_by_key.remove(&list.key);
        if let Some(indexes) = self.lists_of_kind.get_mut(&list.kind) {
            indexes.retain(|i| *i != index);
        }
        for slot in &list.slots {
            if let Some(row) = self.row_mut(*slot) {
                row.lists.retain(|i| *i != index);
            }
        }
        Some(list)
    }

    /// Recompiles and reapplies the queries of all lists after the column types have changed.
    pub fn recompile(&mut self, catalog: &Catalog) {
        self.columns.clear();
        for index in 0..self.lists.len() as ListIndex {
            let Some(list) = self.list(index) else { continue };
            let (kind, key) = (list.kind, list.key.clone());
            let (predicates, sort_keys) = self.compile_query(kind, &key, catalog);
            if let Some(list) = self.list_mut(index) {
                list.owners = owner_relations(&key, catalog);
            }
            if predicates.is_empty() && sort_keys.is_empty() {
                continue;
            }
            if let Some(list) = self.list_mut(index) {
                (list.predicates, list.sort_keys) = (predicates, sort_keys);
            }
            let slots = self.list(index).map(|l| l.slots.clone()).unwrap_or_default();
            self.set_rows(index, slots);
        }
    }

    /// Returns the rows accepted by `include` that are in a list or belong to it by their values.
    pub fn candidate_members(&mut self, index: ListIndex, include: impl Fn(Slot) -> bool) -> Vec<Slot> {
        let Some(kind) = self.list(index).map(|list| list.kind) else { return Vec::new() };
        let candidates = self.rows().filter(|(slot, row)| row.kind == kind && include(*slot)).map(|(slot, _)| slot);
        let candidates: Vec<Slot> = candidates.collect();
        self.read_columns(&self.compared_columns(index), &candidates);
        let Some(list) = self.list(index) else { return Vec::new() };
        let has_parent = |raw: &RawRow| match &list.key.parent_filter {
            None => true,
            Some(ParentFilter { parent, column }) => {
                column.as_ref().is_some_and(|column| raw.text(column).as_deref() == Some(&parent.id.to_string()))
            }
        };
        let belongs = |slot: &Slot| {
            self.row(*slot).is_some_and(|row| {
                row.lists.contains(&index)
                    || (row.is_visible() && self.is_member(list, *slot) == Some(true))
                    // A pending deletion that the server has not confirmed.
                    || (!row.is_visible() && row.base.as_ref().is_some_and(has_parent))
            })
        };
        candidates.into_iter().filter(belongs).collect()
    }

    /// Returns whether a row belongs to a list; `None` if only the server can decide.
    fn is_member(&self, list: &CachedList, slot: Slot) -> Option<bool> {
        let row = self.row(slot)?;
        if list.key.recursive {
            return self.is_in_tree(list, row);
        }
        let has_parent = self.has_parent(list, row)?;
        if !has_parent || !self.matches_filters(list, slot) {
            return Some(false);
        }
        if list.key.search.is_some() { None } else { Some(true) }
    }

    /// Returns whether a row has the parent of a list; `None` if only the server can decide.
    pub(super) fn has_parent(&self, list: &CachedList, row: &CachedRow) -> Option<bool> {
        match &list.key.parent_filter {
            None => Some(true),
            Some(ParentFilter { parent, column: Some(column) }) => {
                let value = row.value(column);
                Some(value.as_str().and_then(|id| id.parse::<Uuid>().ok()) == Some(parent.id))
            }
            // Free links are known to the server only, except for pending local ones.
            Some(ParentFilter { parent, column: None }) => {
                let links = &row.local.as_ref()?.pending_links;
                Some(links.iter().rfind(|(other, _)| other == parent)?.1)
            }
        }
    }

    /// Returns whether the parent of a row is the root of a pinned tree or in that tree.
    ///
    /// `None` if the columns of the row are not sufficient to decide.
    fn is_in_tree(&self, list: &CachedList, row: &CachedRow) -> Option<bool> {
        let root = &list.key.parent_filter.as_ref()?.parent;
        let has_owner_in_tree = |owner: &OwnerRelation| {
            let text = |column: &String| row.value(column).as_str().map(str::to_owned);
            let id: Uuid = text(owner.parent_column.as_ref()?)?.parse().ok()?;
            let type_column = owner.parent_type_column.as_ref();
            if type_column.is_some_and(|column| text(column).as_deref() != Some(owner.code.as_str())) {
                return None;
            }
            let parent = EntityRef::new(owner.code.clone(), id);
            let in_tree = |row: &CachedRow| {
                let mut lists = row.lists.iter().filter_map(|index| self.list(*index));
                lists.any(|other| other.key.recursive && other.key.parent_filter == list.key.parent_filter)
            };
            Some(parent == *root || self.get(&parent).is_some_and(in_tree))
        };
        if list.owners.iter().any(|owner| has_owner_in_tree(owner) == Some(true)) {
            return Some(true);
        }
        // A free link may connect the row to the tree; only the server knows.
        let by_columns = !list.owners.is_empty() && list.owners.iter().all(|owner| owner.parent_column.is_some());
        by_columns.then_some(false)
    }

    /// Returns whether a row matches the filters of a list.
    fn matches_filters(&self, list: &CachedList, slot: Slot) -> bool {
        list.predicates.iter().all(|(column, predicate)| predicate.matches(self.key_at(*column, slot)))
    }

    /// Replaces the rows of a list and sorts them.
    ///
    /// Search results keep the given order: the server ranks them.
    pub fn set_rows(&mut self, index: ListIndex, mut slots: Vec<Slot>) {
        self.read_columns(&self.compared_columns(index), &slots);
        if let Some(list) = self.list(index)
            && list.key.search.is_none()
        {
            self.sort(&list.sort_keys, &mut slots);
        }
        self.replace_rows(index, slots);
    }

    /// Replaces the rows of a list without sorting them.
    fn replace_rows(&mut self, index: ListIndex, slots: Vec<Slot>) {
        let Some(list) = self.list_mut(index) else { return };
        for slot in std::mem::take(&mut list.slots) {
            if let Some(row) = self.row_mut(slot) {
                row.lists.retain(|i| *i != index);
            }
        }
        for slot in &slots {
            if let Some(row) = self.row_mut(*slot) {
                row.lists.push(index);
            }
        }
        if let Some(list) = self.list_mut(index) {
            list.slots = slots;
            list.mark_dirty();
        }
    }

    /// Sets the rows of a list as stored on the device, in the stored order.
    ///
    /// The list counts as loading until [`Self::finish_loading`].
    pub fn load_rows(&mut self, index: ListIndex, slots: Vec<Slot>) {
        for slot in &slots {
            if let Some(row) = self.row_mut(*slot) {
                row.lists.push(index);
            }
        }
        if let Some(list) = self.list_mut(index) {
            list.slots = slots;
            list.loading_from_disk = true;
            list.mark_dirty();
            list.dirty = false;
        }
    }

    /// Completes the loading of a list after all of its chunks were read from the device.
    ///
    /// Removes the rows that do not exist or do not belong to the list, and sorts the others.
    pub fn finish_loading(&mut self, index: ListIndex) {
        let Some(list) = self.list_mut(index) else { return };
        list.loading_from_disk = false;
        let slots = list.slots.clone();
        self.read_columns(&self.compared_columns(index), &slots);
        let Some(list) = self.list(index) else { return };
        let belongs = |slot: &Slot| {
            self.row(*slot).is_some_and(CachedRow::is_visible)
                && (list.key.recursive || self.is_member(list, *slot) != Some(false))
        };
        let slots = slots.into_iter().filter(belongs).collect();
        self.set_rows(index, slots);
    }

    /// Derives the rows of a list from its base list by filtering and sorting.
    pub fn derive(&mut self, index: ListIndex, base: ListIndex) {
        let Some(base_list) = self.list(base) else { return };
        let (synced_at, slots) = (base_list.synced_at, base_list.slots.clone());
        self.read_columns(&self.compared_columns(index), &slots);
        // With a single sort key, the order of the column is shared by all derived lists. It covers
        // all rows of the type, so it pays only if the base list has a large share of them.
        let sort_key = self.list(index).and_then(|list| if let [key] = list.sort_keys[..] { Some(key) } else { None });
        let sort_key = sort_key.filter(|_| slots.len() * 4 > self.rows.len());
        let ordered = sort_key.map(|key| self.sorted_by_column(key.column));
        let (Some(list), is_sorted) = (self.list(index), ordered.is_some()) else { return };
        // The parent filter needs no check: the base list has the same one.
        let belongs = |slot: &Slot| {
            let row = self.row(*slot).filter(|row| row.is_visible());
            row.is_some_and(|row| ordered.is_none() || row.lists.contains(&base)) && self.matches_filters(list, *slot)
        };
        let mut slots: Vec<Slot> =
            ordered.as_deref().unwrap_or(&slots).iter().copied().filter(|slot| belongs(slot)).collect();
        if let (Some(ColumnOrder { column, direction }), Some(ordered)) = (sort_key, ordered) {
            if direction == SortDirection::Descending {
                // Rows with equal values stay in ascending order of their ids.
                slots.reverse();
                let equal = |a: &Slot, b: &Slot| self.key_at(column, *a).compare(self.key_at(column, *b)).is_eq();
                slots.chunk_by_mut(equal).for_each(<[Slot]>::reverse);
            }
            self.columns[column].sorted = Some(ordered);
        }
        if is_sorted {
            self.replace_rows(index, slots);
        } else {
            self.set_rows(index, slots);
        }
        if let Some(list) = self.list_mut(index) {
            (list.derived, list.loaded, list.complete, list.synced_at) = (true, true, true, synced_at);
        }
    }

    /// Removes a row from a list and returns its position; `None` if it was not in the list.
    pub(super) fn remove_row(&mut self, index: ListIndex, slot: Slot) -> Option<usize> {
        let list = self.list_mut(index)?;
        let position = list.slots.iter().position(|s| *s == slot)?;
        list.slots.remove(position);
        list.mark_dirty();
        if let Some(row) = self.row_mut(slot) {
            row.lists.retain(|i| *i != index);
        }
        Some(position)
    }

    /// Updates membership and position of a changed row in all lists of its type.
    pub fn reindex_row(&mut self, slot: Slot) -> ListImpact {
        let mut impact = ListImpact::default();
        self.invalidate_sort_keys(slot);
        // A row that was not loaded from the device yet has no values, but it exists.
        let loaded = self.row(slot).filter(|row| !row.unloaded);
        let Some((kind, visible)) = loaded.map(|row| (row.kind, row.is_visible())) else { return impact };
        for index in self.lists_of_kind.get(&kind).cloned().unwrap_or_default() {
            self.read_keys(index, slot);
            let Some(list) = self.list(index).filter(|l| l.loaded) else { continue };
            // While a list is loading, `finish_loading` decides which visible rows belong to it.
            if list.loading_from_disk && visible {
                continue;
            }
            let recursive = list.key.recursive;
            let in_list = self.row(slot).is_some_and(|row| row.lists.contains(&index));
            let belongs = if visible { self.is_member(list, slot) } else { Some(false) };
            match (in_list, belongs) {
                (true, Some(true)) if !list.sort_keys.is_empty() => {
                    let before = self.remove_row(index, slot);
                    let after = self.insert_row(index, slot);
                    if before != after {
                        impact.changed.push(index);
                    }
                }
                (false, Some(true)) if self.insert_row(index, slot).is_some() => impact.changed.push(index),
                (true, Some(false)) => {
                    self.remove_row(index, slot);
                    impact.changed.push(index);
                }
                // The engine decides separately whether a pinned tree must be refetched.
                (false, None) if !recursive => impact.undecided.push(index),
                _ => {}
            }
        }
        impact
    }

    /// Rolls back a local link (`linked`) or unlink that failed; returns the affected lists.
    pub fn rollback_link(&mut self, slot: Slot, parent: &EntityRef, linked: bool) -> Vec<ListIndex> {
        let Some(kind) = self.row(slot).map(|row| row.kind) else { return Vec::new() };
        let is_affected = |index: &ListIndex| {
            let by_link = |filter: &ParentFilter| filter.column.is_none() && filter.parent == *parent;
            self.list(*index).is_some_and(|list| list.key.parent_filter.as_ref().is_some_and(by_link))
        };
        let mut lists = self.lists_of_kind.get(&kind).cloned().unwrap_or_default();
        lists.retain(is_affected);
        for index in &lists {
            let in_list = self.row(slot).is_some_and(|row| row.lists.contains(index));
            if linked && in_list {
                self.remove_row(*index, slot);
            } else if !linked
                && !in_list
                && self.list(*index).is_some_and(|list| list.loaded && self.matches_filters(list, slot))
            {
                self.insert_row(*index, slot);
            }
        }
        lists
    }

    /// Inserts a row into a list and returns its position.
    ///
    /// Returns `None` if its position is after the pages fetched so far.
    fn insert_row(&mut self, index: ListIndex, slot: Slot) -> Option<usize> {
        let list = self.list(index)?;
        let position = list.slots.partition_point(|other| self.compare(&list.sort_keys, *other, slot).is_lt());
        if position == list.slots.len() && !list.complete {
            return None;
        }
        let list = self.list_mut(index)?;
        list.slots.insert(position, slot);
        list.mark_dirty();
        self.row_mut(slot)?.lists.push(index);
        Some(position)
    }

    /// Returns the ids of the rows that belong to a list without derived columns.
    pub fn source_ids(&self, list: &CachedList) -> Vec<Uuid> {
        self.source_slots(list).iter().filter_map(|slot| Some(self.row(*slot)?.id)).collect()
    }

    /// Returns the ids of a list in order; the same `Arc` until the list changes.
    pub fn ids(&self, list: &CachedList) -> Arc<Vec<Uuid>> {
        let ids = || Arc::new(list.slots.iter().filter_map(|slot| Some(self.row(*slot)?.id)).collect());
        list.ids.borrow_mut().get_or_insert_with(ids).clone()
    }
}
