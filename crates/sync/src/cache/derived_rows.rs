//! Derived columns: values that are computed on this device and shown over those of a row.
//!
//! The visible row, filters, sort orders and names read them. They never become part of a write, a
//! draft, the device store or an update to another tab: those read the source row, which is the
//! server row with pending writes.
//!
//! Invariant: a row has derived columns only where they differ from its source row. So they end
//! when the server returns the same values, and with the row.

use super::{Cache, CachedList, CachedRow, DerivedColumns, Slot};
use crate::collections::DetHashSet;
use crate::raw_row::fields;
use pmo_domain::Row;
use pmo_domain::predicate::ComparableValue;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// Returns whether two values are equal; numbers are compared by value, so `480` equals `480.0`.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

impl CachedRow {
    /// Returns the visible row: the server's row with pending writes and derived columns.
    pub fn visible_row(&self) -> Option<Arc<Row>> {
        let source = self.source_row()?;
        let Some(derived) = &self.derived else { return Some(source) };
        if let Some(row) = derived.shown.borrow().upgrade() {
            return Some(row);
        }
        let mut row = Arc::unwrap_or_clone(source);
        row.extend(derived.columns.clone());
        let row = Arc::new(row);
        *derived.shown.borrow_mut() = Arc::downgrade(&row);
        Some(row)
    }

    /// Returns the value of a column of the visible row; null if there is none.
    pub fn value(&self, column: &str) -> Value {
        let derived = self.derived.as_ref().and_then(|derived| derived.columns.get(column));
        derived.cloned().unwrap_or_else(|| self.source_value(column))
    }

    /// Returns whether columns of the row are derived on this device.
    pub fn has_derived(&self) -> bool {
        self.derived.is_some()
    }

    /// Returns whether a column is derived on this device, and differs from that of the source row.
    pub fn is_derived(&self, column: &str) -> bool {
        self.derived.as_ref().is_some_and(|derived| derived.columns.contains_key(column))
    }

    /// Ends the derived columns that equal the source row, and those of a row that does not exist.
    pub(super) fn end_equal_derived(&mut self) {
        if let Some(derived) = self.derived.take() {
            self.lay_over(derived.columns);
        }
    }

    /// Replaces the derived columns by those of `columns` that differ from the source row.
    fn lay_over(&mut self, mut columns: Row) {
        match (&self.local, &self.base) {
            (Some(local), _) => match &local.visible {
                Some(row) => columns.retain(|column, value| !is_same(value, row.get(column).unwrap_or(&Value::Null))),
                None => columns.clear(),
            },
            (None, Some(base)) => {
                let mut different = Vec::new();
                for (column, text) in fields(base.as_str()) {
                    let Some(value) = columns.get(column) else { continue };
                    if serde_json::from_str(text).is_ok_and(|held| is_same(value, &held)) {
                        columns.remove(column);
                    } else {
                        different.push(column);
                    }
                }
                // A column that the server row lacks is null.
                columns.retain(|column, value| !value.is_null() || different.contains(&column.as_str()));
            }
            (None, None) => columns.clear(),
        }
        self.derived = (!columns.is_empty()).then(|| Box::new(DerivedColumns { columns, ..Default::default() }));
    }
}

impl Cache {
    /// Replaces the derived columns of a row; `None` ends them.
    ///
    /// Returns whether the visible row changed. The caller must then reindex the row.
    pub fn set_derived(&mut self, slot: Slot, columns: Option<Row>) -> bool {
        let Some(row) = self.row_mut(slot) else { return false };
        let before = row.derived.take();
        row.lay_over(columns.unwrap_or_default());
        let (before, after) = (before.map(|derived| derived.columns), row.derived.as_ref().map(|d| &d.columns));
        let changed = before.as_ref() != after;
        if row.has_derived() {
            self.derived_slots.insert(slot);
        } else {
            self.derived_slots.remove(&slot);
        }
        changed
    }

    /// Returns the rows that belong to a list without derived columns.
    ///
    /// The device store and other tabs receive these rows, because they lack the derived columns.
    /// Rows that the list does not show come last.
    pub fn source_slots<'a>(&self, list: &'a CachedList) -> Cow<'a, [Slot]> {
        let Some(index) = self.find_list(&list.key).filter(|_| !list.predicates.is_empty()) else {
            return Cow::Borrowed(list.slots());
        };
        let has_all_rows = list.complete && list.key.search.is_none();
        let (mut added, mut removed) = (Vec::new(), DetHashSet::default());
        let derived = self.derived_slots.iter().filter_map(|slot| Some((*slot, self.row(*slot)?)));
        for (slot, row) in derived.filter(|(_, row)| row.kind == list.kind && row.has_derived()) {
            let matches = list.predicates.iter().all(|(column, predicate)| {
                self.columns.get(*column).is_some_and(|column| {
                    let value = row.source_value(&column.name);
                    predicate.matches(&ComparableValue::from_value(&column.value_kind, &value))
                })
            });
            match row.lists.contains(&index) {
                true if !matches => drop(removed.insert(slot)),
                false if matches && has_all_rows && self.has_parent(list, row) == Some(true) => added.push(slot),
                _ => {}
            }
        }
        if added.is_empty() && removed.is_empty() {
            return Cow::Borrowed(list.slots());
        }
        added.sort_unstable();
        list.slots().iter().copied().filter(|slot| !removed.contains(slot)).chain(added).collect()
    }
}
