//! Parsed values of the columns that filters and sort orders use, and the order of the rows.

use super::{Cache, CachedList, Column, ColumnOrder, CompiledQuery, ListIndex, Slot};
use crate::collections::DetHashSet;
use crate::query_key::{ListKey, SortDirection};
use crate::raw_row::{RawRow, fields};
use pmo_domain::predicate::{ComparableValue, Predicate};
use pmo_domain::{Catalog, ColumnKind, sort};
use std::cmp::Ordering;

/// Maximum number of changed rows before the order of a column is discarded and sorted again.
const MAX_UNSORTED: usize = 500;

impl Cache {
    pub(super) fn compile_query(&mut self, kind: u16, key: &ListKey, catalog: &Catalog) -> CompiledQuery {
        let entity_type = catalog.get(key.code.as_str());
        let kind_of =
            |name: &str| entity_type.and_then(|t| t.column(name)).map_or(ColumnKind::ShortText, |c| c.kind.clone());
        let predicates = key
            .filters
            .iter()
            .map(|f| (self.column(kind, &f.column, kind_of(&f.column)), Predicate::new(f, &kind_of(&f.column))));
        let predicates = predicates.collect();
        let sort_keys = key
            .sort
            .iter()
            .map(|key| {
                let column = self.column(kind, &key.column, kind_of(&key.column));
                ColumnOrder { column, direction: key.direction }
            })
            .collect();
        (predicates, sort_keys)
    }

    /// Returns the index of a column, inserting it if it is missing.
    fn column(&mut self, kind: u16, name: &str, value_kind: ColumnKind) -> usize {
        if let Some(index) = self.columns.iter().position(|c| c.kind == kind && &*c.name == name) {
            return index;
        }
        let name = name.into();
        self.columns.push(Column {
            kind,
            name,
            value_kind,
            keys: Vec::new(),
            sorted: None,
            unsorted: DetHashSet::default(),
        });
        self.columns.len() - 1
    }

    /// Returns the distinct columns that the filters and the sort order of a list use.
    pub(super) fn compared_columns(&self, index: ListIndex) -> Vec<usize> {
        let columns_of = |list: &CachedList| {
            let filtered = list.predicates.iter().map(|(column, _)| *column);
            let mut columns = Vec::new();
            for column in filtered.chain(list.sort_keys.iter().map(|key| key.column)) {
                if !columns.contains(&column) {
                    columns.push(column);
                }
            }
            columns
        };
        self.list(index).map(columns_of).unwrap_or_default()
    }

    /// Parses the values of a row that the filters and the sort order of a list use.
    pub(super) fn read_keys(&mut self, index: ListIndex, slot: Slot) {
        let columns = self.compared_columns(index);
        self.read_columns(&columns, &[slot]);
    }

    fn read_key(&mut self, column: usize, slot: Slot) {
        self.read_columns(&[column], &[slot]);
    }

    /// Parses the missing values of some columns of some rows, scanning each row once.
    pub(super) fn read_columns(&mut self, columns: &[usize], slots: &[Slot]) {
        for index in columns {
            if let Some(column) = self.columns.get_mut(*index)
                && column.keys.len() < self.rows.len()
            {
                column.keys.resize(self.rows.len(), None);
            }
        }
        for slot in slots {
            let Some(row) = self.rows.get(*slot as usize).and_then(Option::as_ref) else { continue };
            let is_missing = |column: &Column| matches!(column.keys.get(*slot as usize), Some(None));
            let mut missing = columns.iter().filter(|index| self.columns.get(**index).is_some_and(is_missing)).count();
            if missing == 0 {
                continue;
            }
            // The values of a row with local writes or derived columns are not those of its text.
            let is_text = row.local.is_none() && !row.has_derived();
            let text = row.base.as_ref().filter(|_| is_text).map_or("", RawRow::as_str);
            for (name, value) in fields(text) {
                for index in columns {
                    if let Some(column) = self.columns.get_mut(*index)
                        && *column.name == *name
                        && is_missing(column)
                    {
                        column.keys[*slot as usize] = Some(ComparableValue::from_json(&column.value_kind, value));
                        missing -= 1;
                    }
                }
                if missing == 0 {
                    break;
                }
            }
            for index in columns.iter().filter(|_| missing > 0) {
                if let Some(column) = self.columns.get_mut(*index)
                    && is_missing(column)
                {
                    let visible = (!is_text).then(|| row.value(&column.name));
                    column.keys[*slot as usize] =
                        Some(ComparableValue::from_value(&column.value_kind, &visible.unwrap_or_default()));
                }
            }
        }
    }

    pub(super) fn key_at(&self, column: usize, slot: Slot) -> &ComparableValue {
        const ABSENT: &ComparableValue = &ComparableValue::Null;
        self.columns.get(column).and_then(|c| c.keys.get(slot as usize)?.as_ref()).unwrap_or(ABSENT)
    }

    pub(super) fn compare(&self, sort_keys: &[ColumnOrder], a: Slot, b: Slot) -> Ordering {
        for ColumnOrder { column, direction } in sort_keys {
            let (left, right) = (self.key_at(*column, a), self.key_at(*column, b));
            let ordering = left.compare(right);
            if ordering.is_ne() {
                // Descending order also reverses the position of nulls, as in the database.
                return match direction {
                    SortDirection::Ascending => ordering,
                    SortDirection::Descending => ordering.reverse(),
                };
            }
        }
        let id = |slot: Slot| self.row(slot).map(|row| row.id);
        id(a).cmp(&id(b))
    }

    pub(super) fn sort(&self, sort_keys: &[ColumnOrder], slots: &mut [Slot]) {
        if slots.is_sorted_by(|a, b| self.compare(sort_keys, *a, *b).is_le()) {
            return;
        }
        let prefix = |position: usize, step: usize| match sort_keys.first() {
            Some(ColumnOrder { column, direction }) => {
                let prefix = self.key_at(*column, slots[position]).abbreviated_key(step);
                if *direction == SortDirection::Descending { !prefix } else { prefix }
            }
            None => 0,
        };
        let compare = |a: usize, b: usize| self.compare(sort_keys, slots[a], slots[b]);
        let positions = sort::argsort_by_prefix(slots.len(), &prefix, &compare);
        let sorted: Vec<Slot> = positions.into_iter().map(|position| slots[position as usize]).collect();
        slots.copy_from_slice(&sorted);
    }

    /// Returns the rows of the column's type, sorted by the column in ascending order.
    ///
    /// Takes the cached order out of the column; the caller must put the result back into `sorted`.
    pub(super) fn sorted_by_column(&mut self, index: usize) -> Vec<Slot> {
        let Some(column) = self.columns.get_mut(index) else { return Vec::new() };
        let (kind, sorted, unsorted) = (column.kind, column.sorted.take(), std::mem::take(&mut column.unsorted));
        let is_of_kind = |cache: &Self, slot: Slot| cache.row(slot).is_some_and(|row| row.kind == kind);
        let mut slots = match sorted {
            Some(mut sorted) => {
                for slot in unsorted.into_iter().filter(|slot| is_of_kind(self, *slot)).collect::<Vec<_>>() {
                    self.read_key(index, slot);
                    let position = sorted
                        .partition_point(|other| self.compare(&[ColumnOrder::ascending(index)], *other, slot).is_lt());
                    sorted.insert(position, slot);
                }
                return sorted;
            }
            None => self.rows().filter(|(_, row)| row.kind == kind).map(|(slot, _)| slot).collect::<Vec<_>>(),
        };
        self.read_columns(&[index], &slots);
        self.sort(&[ColumnOrder::ascending(index)], &mut slots);
        slots
    }

    /// Discards the parsed values of a row that changed, and its positions in the sorted columns.
    pub(super) fn invalidate_sort_keys(&mut self, slot: Slot) {
        let Some(kind) = self.row(slot).map(|row| row.kind) else { return };
        for index in 0..self.columns.len() {
            if self.columns[index].kind != kind {
                continue;
            }
            // The position is searched by the previous value: remove the row before the value.
            if let Some(mut sorted) = self.columns[index].sorted.take() {
                let position = sorted
                    .partition_point(|other| self.compare(&[ColumnOrder::ascending(index)], *other, slot).is_lt());
                if sorted.get(position) == Some(&slot) {
                    sorted.remove(position);
                }
                let column = &mut self.columns[index];
                column.unsorted.insert(slot);
                if column.unsorted.len() <= MAX_UNSORTED {
                    column.sorted = Some(sorted);
                }
            }
            if let Some(key) = self.columns[index].keys.get_mut(slot as usize) {
                *key = None;
            }
        }
    }
}
