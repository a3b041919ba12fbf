//! Unsent edits of an entity with their undo and redo history, which survives a reload or a crash.

use pmo_domain::{EntityRef, Row, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// Changes of one field within this time of each other are one undo step.
pub const UNDO_COALESCE: Duration = Duration::from_secs(1);
/// Maximum number of undo steps; the oldest is dropped first.
const MAX_STEPS: usize = 200;

/// Unsent changes of one entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Draft {
    /// Entity that the draft changes.
    pub entity: EntityRef,
    /// Version of the row on which the draft is based.
    pub base_version: i64,
    /// Original values of the edited columns, recorded at the first edit of each.
    pub original_data: Row,
    /// Current values of the columns that differ from their original values.
    pub current_data: Row,
    /// Previous states of `current_data`, the latest last.
    pub undo_stack: Vec<Row>,
    /// Undone states of `current_data`, the latest last.
    pub redo_stack: Vec<Row>,
    /// Values that the user gave up in favor of those of another user, one row per conflict.
    ///
    /// They can be restored with redo and are not cleared by later edits.
    #[serde(default)]
    #[serde(rename = "aside")]
    pub stashed: Vec<Row>,
    /// Time of the last change.
    pub updated_at: UnixMillis,
    /// Field of the last step; `None` before the first step and after undo or redo.
    #[serde(default)]
    pub last_field: Option<String>,
}

impl Draft {
    /// Returns the columns that another user has changed meanwhile to a different value.
    ///
    /// `row` is the current row; `same` compares two values of a column.
    pub fn conflicting_fields<'a>(
        &'a self,
        row: &'a Row,
        same: impl Fn(&str, &Value, &Value) -> bool + 'a,
    ) -> impl Iterator<Item = &'a String> {
        let null = &Value::Null;
        self.current_data.iter().filter_map(move |(column, mine)| {
            let current = row.get(column).unwrap_or(null);
            let original = self.original_data.get(column).unwrap_or(null);
            (!same(column, current, original) && !same(column, current, mine)).then_some(column)
        })
    }

    /// Creates an empty draft on a version of the row.
    pub fn new(entity: EntityRef, base_version: i64, now: UnixMillis) -> Self {
        Self {
            entity,
            base_version,
            original_data: Row::new(),
            current_data: Row::new(),
            undo_stack: Vec::new(),
            redo_stack: Vec::new(),
            stashed: Vec::new(),
            updated_at: now,
            last_field: None,
        }
    }

    /// Sets a field; `before` is the value of the field in the current row.
    pub fn set(&mut self, field: &str, value: Value, before: &Value, now: UnixMillis) {
        let original = self.original_data.entry(field.to_owned()).or_insert_with(|| before.clone()).clone();
        if self.current_data.get(field).unwrap_or(&original) == &value {
            return;
        }
        let same_step = self.last_field.as_deref() == Some(field)
            && now.since(self.updated_at) < UNDO_COALESCE
            && !self.undo_stack.is_empty();
        if !same_step {
            self.undo_stack.push(self.current_data.clone());
            if self.undo_stack.len() > MAX_STEPS {
                self.undo_stack.remove(0);
            }
        }
        self.redo_stack.clear();
        if value == original {
            self.current_data.remove(field);
        } else {
            self.current_data.insert(field.to_owned(), value);
        }
        self.last_field = Some(field.to_owned());
        self.updated_at = now;
    }

    /// Stashes values that the user can restore with redo; the current values do not change.
    pub fn push_redo(&mut self, values: Row, row: &Row, now: UnixMillis) {
        for column in values.keys() {
            let before = row.get(column).cloned().unwrap_or(Value::Null);
            self.original_data.entry(column.clone()).or_insert(before);
        }
        self.stashed.push(values);
        self.updated_at = now;
    }

    /// Undoes the last step; returns `false` if there is none.
    pub fn undo(&mut self, now: UnixMillis) -> bool {
        let Some(before) = self.undo_stack.pop() else { return false };
        self.redo_stack.push(std::mem::replace(&mut self.current_data, before));
        self.last_field = None;
        self.updated_at = now;
        true
    }

    /// Redoes the last undone step, or else restores the last stashed values.
    ///
    /// Returns `false` if there is neither.
    pub fn redo(&mut self, now: UnixMillis) -> bool {
        let next = self.redo_stack.pop().or_else(|| {
            let values = self.stashed.pop()?;
            let mut merged = self.current_data.clone();
            merged.extend(values);
            Some(merged)
        });
        let Some(after) = next else { return false };
        self.undo_stack.push(std::mem::replace(&mut self.current_data, after));
        self.last_field = None;
        self.updated_at = now;
        true
    }

    /// Merges the draft of another tab of the same entity into this one.
    ///
    /// Takes the fields that were not edited here and the stashed values. Returns whether anything
    /// was added.
    pub fn merge_from(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (field, value) in &other.current_data {
            if !self.original_data.contains_key(field) {
                let before = other.original_data.get(field).cloned().unwrap_or(Value::Null);
                self.original_data.insert(field.clone(), before);
                self.current_data.insert(field.clone(), value.clone());
                changed = true;
            }
        }
        for values in &other.stashed {
            if !self.stashed.contains(values) {
                for field in values.keys() {
                    let before = other.original_data.get(field).cloned().unwrap_or(Value::Null);
                    self.original_data.entry(field.clone()).or_insert(before);
                }
                self.stashed.push(values.clone());
                changed = true;
            }
        }
        changed
    }

    /// Returns whether the draft has changes to send.
    pub fn has_changes(&self) -> bool {
        !self.current_data.is_empty()
    }

    /// Returns whether the draft has neither changes nor steps to undo or redo.
    pub fn is_empty(&self) -> bool {
        self.current_data.is_empty() && self.undo_stack.is_empty() && !self.can_redo()
    }

    /// Returns whether there is an undone step or stashed values to restore.
    pub fn can_redo(&self) -> bool {
        !self.redo_stack.is_empty() || !self.stashed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_domain::EntityCode;
    use proptest::prelude::*;
    use serde_json::json;

    fn at(millis: i64) -> UnixMillis {
        UnixMillis::new(millis)
    }

    fn draft() -> Draft {
        Draft::new(EntityRef::new(EntityCode::new("task").unwrap(), uuid::Uuid::nil()), 1, UnixMillis::EPOCH)
    }

    #[test]
    fn consecutive_edits_of_a_field_are_one_undo_step() {
        let mut draft = draft();
        for (now, text) in [(0, "a"), (200, "ab"), (400, "abc")] {
            draft.set("name", json!(text), &json!(""), at(now));
        }
        draft.set("points", json!(3), &json!(null), at(500));
        assert_eq!(draft.undo_stack.len(), 2);
        assert!(draft.undo(at(600)));
        assert_eq!(draft.current_data.get("name"), Some(&json!("abc")));
        assert!(draft.undo(at(700)));
        assert!(!draft.has_changes());
        assert!(draft.redo(at(800)) && draft.redo(at(900)) && !draft.redo(at(950)));
        assert_eq!(draft.current_data.len(), 2);
    }

    #[test]
    fn conflicting_fields_are_those_changed_differently_by_another_user() {
        let mut mine = draft();
        mine.set("name", json!("mine"), &json!("before"), at(0));
        mine.set("points", json!(3), &json!(null), at(0));
        let row = |value: Value| value.as_object().cloned().unwrap().into_iter().collect::<Row>();
        let conflicting =
            |current: Value| mine.conflicting_fields(&row(current), |_, a, b| a == b).cloned().collect::<Vec<_>>();
        assert_eq!(conflicting(json!({"name": "before", "descr": "another"})), [] as [String; 0]);
        assert_eq!(
            conflicting(json!({"name": "theirs", "points": 3})),
            ["name"],
            "equal changes of both users are not a conflict"
        );
    }

    #[test]
    fn merging_another_tabs_draft_keeps_local_edits() {
        let (mut mine, mut other) = (draft(), draft());
        mine.set("name", json!("mine"), &json!(""), at(0));
        other.set("name", json!("theirs"), &json!(""), at(0));
        other.set("descr", json!("long"), &json!(""), at(5000));
        other.push_redo([("points".to_owned(), json!(5))].into_iter().collect(), &Row::new(), at(6000));
        assert!(mine.merge_from(&other));
        assert_eq!((&mine.current_data["name"], &mine.current_data["descr"]), (&json!("mine"), &json!("long")));
        assert!(mine.redo(at(7000)) && mine.current_data["points"] == json!(5));
    }

    #[test]
    fn setting_the_original_value_again_is_no_change() {
        let mut draft = draft();
        draft.set("name", json!("b"), &json!("a"), at(0));
        draft.set("name", json!("a"), &json!("a"), at(5000));
        assert!(!draft.has_changes());
    }

    proptest! {
        #[test]
        fn redo_of_all_undone_steps_restores_the_draft(steps in proptest::collection::vec((0..3usize, 0..5i32), 1..20)) {
            let mut draft = draft();
            for (i, (field, value)) in steps.iter().enumerate() {
                draft.set(["a", "b", "c"][*field], json!(value), &json!(null), at(i as i64 * 2000));
            }
            let end = draft.current_data.clone();
            while draft.undo(at(1_000_000_000)) {}
            prop_assert!(!draft.has_changes());
            while draft.redo(at(1_000_000_000)) {}
            prop_assert_eq!(draft.current_data, end);
        }
    }
}
