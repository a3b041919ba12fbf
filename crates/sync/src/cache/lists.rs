//! Lists that follow their rows: by their filters, in their order. What a change costs depends on the row and its lists alone.

use super::{Cache, CachedList, CachedRow, Column, Compiled, ListImpact, ListIndex, OwnerRelation, Slot};
use crate::collections::DetHashSet;
use crate::query_key::{ListKey, ParentFilter};
use crate::raw_row::{RawRow, fields};
use pmo_domain::predicate::{ComparableValue, Predicate};
use pmo_domain::{Catalog, ColumnKind, EntityCode, EntityRef, sort};
use std::cell::RefCell;
use std::cmp::Ordering;
use std::sync::Arc;
use uuid::Uuid;

/// The ways in which a row of this list's type may belong to something: for a part of a tree.
fn owners(key: &ListKey, catalogue: &Catalog) -> Vec<OwnerRelation> {
    let mut owners = Vec::new();
    if key.recursive {
        for (parent, tie) in catalogue.parent_relations(key.code.as_str()).filter(|(_, tie)| tie.owned) {
            let (column, code_column) = (tie.parent_column.clone(), tie.parent_type_column.clone());
            owners.push(OwnerRelation { code: parent.code.clone(), column, code_column });
        }
    }
    owners
}

/// Rows that may have moved in the order of a column before it is sorted anew.
const MAX_UNSORTED: usize = 500;

impl Cache {
    /// Where a list is.
    pub fn find_list(&self, key: &ListKey) -> Option<ListIndex> {
        self.lists_by_key.get(key).copied()
    }

    /// The list at a place.
    pub fn list(&self, index: ListIndex) -> Option<&CachedList> {
        self.lists.get(index as usize)?.as_ref()
    }

    /// The list at a place, to be changed.
    pub fn list_mut(&mut self, index: ListIndex) -> Option<&mut CachedList> {
        self.lists.get_mut(index as usize)?.as_mut()
    }

    /// A list.
    pub fn get_list(&self, key: &ListKey) -> Option<&CachedList> {
        self.list(self.find_list(key)?)
    }

    /// A list, to be changed.
    pub fn get_list_mut(&mut self, key: &ListKey) -> Option<&mut CachedList> {
        self.list_mut(self.find_list(key)?)
    }

    /// Lists and their places.
    pub fn lists(&self) -> impl Iterator<Item = (ListIndex, &CachedList)> {
        self.lists.iter().enumerate().filter_map(|(index, list)| Some((index as ListIndex, list.as_ref()?)))
    }

    /// Lists, to be changed.
    pub fn lists_mut(&mut self) -> impl Iterator<Item = &mut CachedList> {
        self.lists.iter_mut().flatten()
    }

    /// The lists of a type.
    pub fn lists_of<'a>(&'a self, code: &EntityCode) -> impl Iterator<Item = &'a CachedList> + use<'a> {
        let of_kind = self.kinds.get(code).and_then(|kind| self.lists_of_kind.get(kind));
        of_kind.into_iter().flatten().filter_map(|index| self.list(*index))
    }

    /// The place of a list, made where there is none.
    pub fn list_or_insert(&mut self, key: &ListKey, catalogue: &Catalog) -> ListIndex {
        if let Some(index) = self.find_list(key) {
            return index;
        }
        let kind = self.kind(&key.code);
        let (tests, order) = self.compile_query(kind, key, catalogue);
        let list = CachedList {
            key: key.clone(),
            kind,
            slots: Vec::new(),
            synced_at: 0.0,
            stale: true,
            last_request: 0,
            loaded: false,
            complete: false,
            next_cursor: None,
            derived: false,
            from_tree: false,
            observer_count: 0,
            unobserved_since: 0.0,
            dirty: false,
            loading_from_disk: false,
            chunks: Vec::new(),
            predicates: tests,
            order,
            owners: owners(key, catalogue),
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

    /// Lets a list go.
    pub fn drop_list(&mut self, index: ListIndex) -> Option<CachedList> {
        let list = self.lists.get_mut(index as usize)?.take()?;
        self.lists_by_key.remove(&list.key);
        if let Some(of_kind) = self.lists_of_kind.get_mut(&list.kind) {
            of_kind.retain(|i| *i != index);
        }
        for slot in &list.slots {
            if let Some(row) = self.row_mut(*slot) {
                row.lists.retain(|i| *i != index);
            }
        }
        Some(list)
    }

    fn compile_query(&mut self, kind: u16, key: &ListKey, catalogue: &Catalog) -> Compiled {
        let entity = catalogue.get(key.code.as_str());
        let holds = |name: &str| entity.and_then(|e| e.column(name)).map_or(ColumnKind::ShortText, |c| c.kind.clone());
        let tests = key
            .filters
            .iter()
            .map(|f| (self.column(kind, &f.column, holds(&f.column)), Predicate::new(f, &holds(&f.column))));
        let tests = tests.collect();
        let order = key.sort.iter().map(|(name, down)| (self.column(kind, name, holds(name)), *down)).collect();
        (tests, order)
    }

    /// Reads filters and orders anew: the types of columns are known now, or others.
    pub fn recompile(&mut self, catalogue: &Catalog) {
        self.columns.clear();
        for index in 0..self.lists.len() as ListIndex {
            let Some(list) = self.list(index) else { continue };
            let (kind, key) = (list.kind, list.key.clone());
            let (tests, order) = self.compile_query(kind, &key, catalogue);
            if let Some(list) = self.list_mut(index) {
                list.owners = owners(&key, catalogue);
            }
            if tests.is_empty() && order.is_empty() {
                continue;
            }
            if let Some(list) = self.list_mut(index) {
                (list.predicates, list.order) = (tests, order);
            }
            let slots = self.list(index).map(|l| l.slots.clone()).unwrap_or_default();
            self.set_rows(index, slots);
        }
    }

    fn column(&mut self, kind: u16, name: &str, holds: ColumnKind) -> usize {
        if let Some(at) = self.columns.iter().position(|c| c.kind == kind && &*c.name == name) {
            return at;
        }
        let name = name.into();
        self.columns.push(Column { kind, name, holds, keys: Vec::new(), order: None, moved: DetHashSet::default() });
        self.columns.len() - 1
    }

    /// The columns that a list compares.
    fn compared(&self, index: ListIndex) -> Vec<usize> {
        let of = |list: &CachedList| {
            let tested = list.predicates.iter().map(|test| test.0);
            let mut columns = Vec::new();
            for column in tested.chain(list.order.iter().map(|order| order.0)) {
                if !columns.contains(&column) {
                    columns.push(column);
                }
            }
            columns
        };
        self.list(index).map(of).unwrap_or_default()
    }

    /// Reads what a list compares of a row.
    fn read_keys(&mut self, index: ListIndex, slot: Slot) {
        let columns = self.compared(index);
        self.read_columns(&columns, &[slot]);
    }

    pub(super) fn invalidate_sort_keys(&mut self, slot: Slot) {
        let Some(kind) = self.row(slot).map(|row| row.kind) else { return };
        for at in 0..self.columns.len() {
            if self.columns[at].kind != kind {
                continue;
            }
            if let Some(mut order) = self.columns[at].order.take() {
                let place = order.partition_point(|other| self.compare(&[(at, false)], *other, slot).is_lt());
                if order.get(place) == Some(&slot) {
                    order.remove(place);
                }
                let column = &mut self.columns[at];
                column.moved.insert(slot);
                if column.moved.len() <= MAX_UNSORTED {
                    column.order = Some(order);
                }
            }
            if let Some(key) = self.columns[at].keys.get_mut(slot as usize) {
                *key = None;
            }
        }
    }

    /// Every row of a type in the order of a column: sorted once, and kept in order from then on.
    fn sorted_by_column(&mut self, at: usize) -> Vec<Slot> {
        let Some(column) = self.columns.get_mut(at) else { return Vec::new() };
        let (kind, order, moved) = (column.kind, column.order.take(), std::mem::take(&mut column.moved));
        let of_kind = |cache: &Self, slot: Slot| cache.row(slot).is_some_and(|row| row.kind == kind);
        let mut order = match order {
            Some(mut order) => {
                for slot in moved.into_iter().filter(|slot| of_kind(self, *slot)).collect::<Vec<_>>() {
                    self.read_key(at, slot);
                    let place = order.partition_point(|other| self.compare(&[(at, false)], *other, slot).is_lt());
                    order.insert(place, slot);
                }
                return order;
            }
            None => self.rows().filter(|(_, row)| row.kind == kind).map(|(slot, _)| slot).collect::<Vec<_>>(),
        };
        self.read_columns(&[at], &order);
        self.sort(&[(at, false)], &mut order);
        order
    }

    fn read_key(&mut self, column: usize, slot: Slot) {
        self.read_columns(&[column], &[slot]);
    }

    /// Reads these columns of these rows, each text once.
    fn read_columns(&mut self, columns: &[usize], slots: &[Slot]) {
        for at in columns {
            if let Some(column) = self.columns.get_mut(*at)
                && column.keys.len() < self.rows.len()
            {
                column.keys.resize(self.rows.len(), None);
            }
        }
        for slot in slots {
            let Some(row) = self.rows.get(*slot as usize).and_then(Option::as_ref) else { continue };
            let lacks = |column: &Column| matches!(column.keys.get(*slot as usize), Some(None));
            let mut lacking = columns.iter().filter(|at| self.columns.get(**at).is_some_and(lacks)).count();
            if lacking == 0 {
                continue;
            }
            let text = row.base.as_ref().filter(|_| row.local.is_none()).map_or("", RawRow::as_str);
            for (name, value) in fields(text) {
                for at in columns {
                    if let Some(column) = self.columns.get_mut(*at)
                        && *column.name == *name
                        && lacks(column)
                    {
                        column.keys[*slot as usize] = Some(ComparableValue::from_json(&column.holds, value));
                        lacking -= 1;
                    }
                }
                if lacking == 0 {
                    break;
                }
            }
            for at in columns.iter().filter(|_| lacking > 0) {
                if let Some(column) = self.columns.get_mut(*at)
                    && lacks(column)
                {
                    let shown = row.local.is_some().then(|| row.value(&column.name));
                    column.keys[*slot as usize] =
                        Some(ComparableValue::from_value(&column.holds, &shown.unwrap_or_default()));
                }
            }
        }
    }

    fn key_at(&self, column: usize, slot: Slot) -> &ComparableValue {
        const ABSENT: &ComparableValue = &ComparableValue::Null;
        self.columns.get(column).and_then(|c| c.keys.get(slot as usize)?.as_ref()).unwrap_or(ABSENT)
    }

    fn compare(&self, order: &[(usize, bool)], a: Slot, b: Slot) -> Ordering {
        for (column, down) in order {
            let (left, right) = (self.key_at(*column, a), self.key_at(*column, b));
            let found = left.compare(right);
            if found.is_ne() {
                // Descending turns everything round, absent included, as the database does.
                return if *down { found.reverse() } else { found };
            }
        }
        let id = |slot: Slot| self.row(slot).map(|row| row.id);
        id(a).cmp(&id(b))
    }

    /// Those rows among the ones that `asked` picks which are in a list, or belong to it by their values.
    pub fn candidate_members(&mut self, index: ListIndex, asked: impl Fn(Slot) -> bool) -> Vec<Slot> {
        let Some(kind) = self.list(index).map(|list| list.kind) else { return Vec::new() };
        let of_kind = self.rows().filter(|(slot, row)| row.kind == kind && asked(*slot)).map(|(slot, _)| slot);
        let of_kind: Vec<Slot> = of_kind.collect();
        self.read_columns(&self.compared(index), &of_kind);
        let Some(list) = self.list(index) else { return Vec::new() };
        let told_there = |raw: &RawRow| match &list.key.below {
            None => true,
            Some(ParentFilter { parent, column }) => {
                column.as_ref().is_some_and(|column| raw.text(column).as_deref() == Some(&parent.id.to_string()))
            }
        };
        let belongs = |slot: &Slot| {
            self.row(*slot).is_some_and(|row| {
                row.lists.contains(&index)
                    || (row.is_visible() && self.is_member(list, *slot) == Some(true))
                    // Deleted here, and not there yet.
                    || (!row.is_visible() && row.base.as_ref().is_some_and(told_there))
            })
        };
        of_kind.into_iter().filter(belongs).collect()
    }

    /// Whether a row belongs to a list; none where its values can't tell.
    fn is_member(&self, list: &CachedList, slot: Slot) -> Option<bool> {
        let row = self.row(slot)?;
        if list.key.recursive {
            return self.is_in_tree(list, row);
        }
        let below = match &list.key.below {
            None => true,
            Some(ParentFilter { parent, column: Some(column) }) => {
                let value = row.value(column);
                value.as_str().and_then(|id| id.parse::<Uuid>().ok()) == Some(parent.id)
            }
            // Links are the server's to tell, but for what was tied or parted here.
            Some(ParentFilter { parent, column: None }) => {
                let ties = &row.local.as_ref()?.pending_links;
                ties.iter().rfind(|(above, _)| above == parent)?.1
            }
        };
        if !below || !self.matches_filters(list, slot) {
            return Some(false);
        }
        if list.key.search.is_some() { None } else { Some(true) }
    }

    /// Whether a row hangs below the root of a tree, or below what is in the tree; none where its columns can't tell.
    fn is_in_tree(&self, list: &CachedList, row: &CachedRow) -> Option<bool> {
        let root = &list.key.below.as_ref()?.parent;
        let hangs = |owner: &OwnerRelation| {
            let named = |column: &String| row.value(column).as_str().map(str::to_owned);
            let id: Uuid = named(owner.column.as_ref()?)?.parse().ok()?;
            if owner.code_column.as_ref().is_some_and(|column| named(column).as_deref() != Some(owner.code.as_str())) {
                return None;
            }
            let above = EntityRef::new(owner.code.clone(), id);
            let in_tree = |row: &CachedRow| {
                let mut lists = row.lists.iter().filter_map(|index| self.list(*index));
                lists.any(|of| of.key.recursive && of.key.below == list.key.below)
            };
            Some(above == *root || self.get(&above).is_some_and(in_tree))
        };
        if list.owners.iter().any(|owner| hangs(owner) == Some(true)) {
            return Some(true);
        }
        // What a link alone may tie is the server's to tell.
        let by_columns = !list.owners.is_empty() && list.owners.iter().all(|owner| owner.column.is_some());
        by_columns.then_some(false)
    }

    /// Whether a row passes a list's filters.
    fn matches_filters(&self, list: &CachedList, slot: Slot) -> bool {
        list.predicates.iter().all(|(column, test)| test.matches(self.key_at(*column, slot)))
    }

    /// Gives a list these rows, in its order. Of a list that the server puts in order, the order given stands.
    pub fn set_rows(&mut self, index: ListIndex, mut slots: Vec<Slot>) {
        self.read_columns(&self.compared(index), &slots);
        if let Some(list) = self.list(index)
            && list.key.search.is_none()
        {
            self.sort(&list.order, &mut slots);
        }
        self.replace_rows(index, slots);
    }

    /// Gives a list these rows, in this order.
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
            list.touch();
        }
    }

    /// Gives a list the rows that the device kept of it, in the order that it kept.
    pub fn load_rows(&mut self, index: ListIndex, slots: Vec<Slot>) {
        for slot in &slots {
            if let Some(row) = self.row_mut(*slot) {
                row.lists.push(index);
            }
        }
        if let Some(list) = self.list_mut(index) {
            list.slots = slots;
            list.loading_from_disk = true;
            list.touch();
            list.dirty = false;
        }
    }

    /// All that the device kept of a list has been read: its rows are in its order now, and those that are not there, or do not belong to it, are out.
    pub fn finish_loading(&mut self, index: ListIndex) {
        let Some(list) = self.list_mut(index) else { return };
        list.loading_from_disk = false;
        let slots = list.slots.clone();
        self.read_columns(&self.compared(index), &slots);
        let Some(list) = self.list(index) else { return };
        let belongs = |slot: &Slot| {
            self.row(*slot).is_some_and(CachedRow::is_visible)
                && (list.key.recursive || self.is_member(list, *slot) != Some(false))
        };
        let slots = slots.into_iter().filter(belongs).collect();
        self.set_rows(index, slots);
    }

    fn sort(&self, by: &[(usize, bool)], slots: &mut [Slot]) {
        if slots.is_sorted_by(|a, b| self.compare(by, *a, *b).is_le()) {
            return;
        }
        let rank = |place: usize, step: usize| match by.first() {
            Some((first, down)) => {
                let rank = self.key_at(*first, slots[place]).abbreviated_key(step);
                if *down { !rank } else { rank }
            }
            None => 0,
        };
        let compare = |a: usize, b: usize| self.compare(by, slots[a], slots[b]);
        let places = sort::argsort_by_prefix(slots.len(), &rank, &compare);
        let sorted: Vec<Slot> = places.into_iter().map(|place| slots[place as usize]).collect();
        slots.copy_from_slice(&sorted);
    }

    /// Fills a list from the whole of which it is a part.
    pub fn derive(&mut self, index: ListIndex, whole: ListIndex) {
        let Some(all) = self.list(whole) else { return };
        let (synced_at, slots) = (all.synced_at, all.slots.clone());
        self.read_columns(&self.compared(index), &slots);
        // Another part in the same order is not sorted again.
        let by = self.list(index).and_then(|part| if let [by] = part.order[..] { Some(by) } else { None });
        let by = by.filter(|_| slots.len() * 4 > self.rows.len());
        let ordered = by.map(|(column, _)| self.sorted_by_column(column));
        let (Some(part), sorted) = (self.list(index), ordered.is_some()) else { return };
        // The whole is below the same thing.
        let belongs = |slot: &Slot| {
            let row = self.row(*slot).filter(|row| row.is_visible());
            row.is_some_and(|row| ordered.is_none() || row.lists.contains(&whole)) && self.matches_filters(part, *slot)
        };
        let mut slots: Vec<Slot> =
            ordered.as_deref().unwrap_or(&slots).iter().copied().filter(|slot| belongs(slot)).collect();
        if let (Some((column, down)), Some(ordered)) = (by, ordered) {
            if down {
                // Equal ones stay in the order of their ids.
                slots.reverse();
                let equal = |a: &Slot, b: &Slot| self.key_at(column, *a).compare(self.key_at(column, *b)).is_eq();
                slots.chunk_by_mut(equal).for_each(<[Slot]>::reverse);
            }
            self.columns[column].order = Some(ordered);
        }
        if sorted {
            self.replace_rows(index, slots);
        } else {
            self.set_rows(index, slots);
        }
        if let Some(list) = self.list_mut(index) {
            (list.derived, list.loaded, list.complete, list.synced_at) = (true, true, true, synced_at);
        }
    }

    pub(super) fn remove_row(&mut self, index: ListIndex, slot: Slot) -> Option<usize> {
        let list = self.list_mut(index)?;
        let at = list.slots.iter().position(|s| *s == slot)?;
        list.slots.remove(at);
        list.touch();
        if let Some(row) = self.row_mut(slot) {
            row.lists.retain(|i| *i != index);
        }
        Some(at)
    }

    /// A row is shown otherwise, or not any more: puts it where it belongs in every list of its type.
    pub fn reindex_row(&mut self, slot: Slot) -> ListImpact {
        let mut placed = ListImpact::default();
        self.invalidate_sort_keys(slot);
        // What lies unread on the device is not gone.
        let read = self.row(slot).filter(|row| !row.unloaded);
        let Some((kind, shown)) = read.map(|row| (row.kind, row.is_visible())) else { return placed };
        for index in self.lists_of_kind.get(&kind).cloned().unwrap_or_default() {
            self.read_keys(index, slot);
            let Some(list) = self.list(index).filter(|l| l.loaded) else { continue };
            if list.loading_from_disk && shown {
                continue;
            }
            let deep = list.key.recursive;
            let present = self.row(slot).is_some_and(|row| row.lists.contains(&index));
            let belongs = if shown { self.is_member(list, slot) } else { Some(false) };
            match (present, belongs) {
                (true, Some(true)) if !list.order.is_empty() => {
                    let before = self.remove_row(index, slot);
                    let after = self.insert_row(index, slot);
                    if before != after {
                        placed.changed.push(index);
                    }
                }
                (false, Some(true)) if self.insert_row(index, slot).is_some() => placed.changed.push(index),
                (true, Some(false)) => {
                    self.remove_row(index, slot);
                    placed.changed.push(index);
                }
                // Of a tree the engine asks when there is reason to.
                (false, None) if !deep => placed.undecided.push(index),
                _ => {}
            }
        }
        placed
    }

    /// A tie that was made or undone here comes to nothing: the lists that it is about are as they were before. Answers them.
    pub fn rollback_link(&mut self, slot: Slot, parent: &EntityRef, below: bool) -> Vec<ListIndex> {
        let Some(kind) = self.row(slot).map(|row| row.kind) else { return Vec::new() };
        let about = |index: &ListIndex| {
            let tied_to = |b: &ParentFilter| b.column.is_none() && b.parent == *parent;
            self.list(*index).is_some_and(|list| list.key.below.as_ref().is_some_and(tied_to))
        };
        let mut lists = self.lists_of_kind.get(&kind).cloned().unwrap_or_default();
        lists.retain(about);
        for index in &lists {
            let there = self.row(slot).is_some_and(|row| row.lists.contains(index));
            if below && there {
                self.remove_row(*index, slot);
            } else if !below
                && !there
                && self.list(*index).is_some_and(|list| list.loaded && self.matches_filters(list, slot))
            {
                self.insert_row(*index, slot);
            }
        }
        lists
    }

    fn insert_row(&mut self, index: ListIndex, slot: Slot) -> Option<usize> {
        let list = self.list(index)?;
        let at = list.slots.partition_point(|other| self.compare(&list.order, *other, slot).is_lt());
        if at == list.slots.len() && !list.complete {
            // It comes after what has been fetched so far.
            return None;
        }
        let list = self.list_mut(index)?;
        list.slots.insert(at, slot);
        list.touch();
        self.row_mut(slot)?.lists.push(index);
        Some(at)
    }

    /// The ids of a list, in order; the same ones until they change.
    pub fn ids(&self, list: &CachedList) -> Arc<Vec<Uuid>> {
        let ids = || Arc::new(list.slots.iter().filter_map(|slot| Some(self.row(*slot)?.id)).collect());
        list.ids.borrow_mut().get_or_insert_with(ids).clone()
    }
}
