//! An edit that is not sent yet: what it began from, what it is now, and every step between, so that it can be undone after a
//! reload or a crash too.

use pmo_domain::{EntityRef, Row};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Typing in one field within this many milliseconds is one step.
pub const UNDO_COALESCE_MS: f64 = 1000.0;
/// Most steps that are kept.
const MAX_STEPS: usize = 200;

/// A draft of changes to one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Draft {
    /// The thing.
    pub entity: EntityRef,
    /// The version that it was begun on.
    pub base_version: i64,
    /// Values of the touched columns when they were first touched.
    pub original_data: Row,
    /// Values of the changed columns now.
    pub current_data: Row,
    /// Earlier states of `current_data`, the last on top.
    pub undo_stack: Vec<Row>,
    /// States that were undone.
    pub redo_stack: Vec<Row>,
    /// What was typed and then given up for somebody else's values: a step to go to, whatever is typed meanwhile.
    #[serde(default)]
    #[serde(rename = "aside")]
    pub stashed: Vec<Row>,
    /// Milliseconds since 1970 of the last step.
    pub updated_at: f64,
    /// The field of the last step.
    #[serde(default)]
    pub last_field: Option<String>,
}

impl Draft {
    /// Columns that are not what they were when they were touched: somebody else has changed them meanwhile, to something else than what is typed here.
    /// `same`: whether two values of a column say the same.
    pub fn conflicting_fields<'a>(
        &'a self,
        row: &'a Row,
        same: impl Fn(&str, &Value, &Value) -> bool + 'a,
    ) -> impl Iterator<Item = &'a String> {
        let null = &Value::Null;
        self.current_data.iter().filter_map(move |(column, typed)| {
            let now = row.get(column).unwrap_or(null);
            let before = self.original_data.get(column).unwrap_or(null);
            (!same(column, now, before) && !same(column, now, typed)).then_some(column)
        })
    }

    /// Begins a draft on a row.
    pub fn new(entity: EntityRef, base_version: i64, now: f64) -> Self {
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

    /// Sets a field; `before` is what the row has.
    pub fn set(&mut self, field: &str, value: Value, before: &Value, now: f64) {
        let original = self.original_data.entry(field.to_owned()).or_insert_with(|| before.clone()).clone();
        if self.current_data.get(field).unwrap_or(&original) == &value {
            return;
        }
        let same_step = self.last_field.as_deref() == Some(field)
            && now - self.updated_at < UNDO_COALESCE_MS
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

    /// Keeps values as a step to go to: nothing is changed until somebody asks for it with 'redo'.
    pub fn push_redo(&mut self, values: Row, row: &Row, now: f64) {
        for column in values.keys() {
            let before = row.get(column).cloned().unwrap_or(Value::Null);
            self.original_data.entry(column.clone()).or_insert(before);
        }
        self.stashed.push(values);
        self.updated_at = now;
    }

    /// Takes the last step back; false where there is none.
    pub fn undo(&mut self, now: f64) -> bool {
        let Some(before) = self.undo_stack.pop() else { return false };
        self.redo_stack.push(std::mem::replace(&mut self.current_data, before));
        self.last_field = None;
        self.updated_at = now;
        true
    }

    /// Makes the last undone step again; false where there is none.
    pub fn redo(&mut self, now: f64) -> bool {
        let again = self.redo_stack.pop().or_else(|| {
            let values = self.stashed.pop()?;
            let mut with = self.current_data.clone();
            with.extend(values);
            Some(with)
        });
        let Some(after) = again else { return false };
        self.undo_stack.push(std::mem::replace(&mut self.current_data, after));
        self.last_field = None;
        self.updated_at = now;
        true
    }

    /// Takes in what another tab has drafted of the same thing meanwhile: fields that were not touched here, and what was set aside. True where there was
    /// anything.
    pub fn merge_from(&mut self, other: &Self) -> bool {
        let mut any = false;
        for (field, value) in &other.current_data {
            if !self.original_data.contains_key(field) {
                let before = other.original_data.get(field).cloned().unwrap_or(Value::Null);
                self.original_data.insert(field.clone(), before);
                self.current_data.insert(field.clone(), value.clone());
                any = true;
            }
        }
        for values in &other.stashed {
            if !self.stashed.contains(values) {
                for field in values.keys() {
                    let before = other.original_data.get(field).cloned().unwrap_or(Value::Null);
                    self.original_data.entry(field.clone()).or_insert(before);
                }
                self.stashed.push(values.clone());
                any = true;
            }
        }
        any
    }

    /// Whether anything would be sent.
    pub fn has_changes(&self) -> bool {
        !self.current_data.is_empty()
    }

    /// Whether there is anything to keep: changes, or steps to go to.
    pub fn is_empty(&self) -> bool {
        self.current_data.is_empty() && self.undo_stack.is_empty() && !self.can_redo()
    }

    /// Whether there is a step to make again.
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

    fn draft() -> Draft {
        Draft::new(EntityRef::new(EntityCode::new("task").unwrap(), uuid::Uuid::nil()), 1, 0.0)
    }

    #[test]
    fn typing_is_one_step_and_another_field_is_another() {
        let mut draft = draft();
        for (at, text) in [(0.0, "a"), (200.0, "ab"), (400.0, "abc")] {
            draft.set("name", json!(text), &json!(""), at);
        }
        draft.set("points", json!(3), &json!(null), 500.0);
        assert_eq!(draft.undo_stack.len(), 2);
        assert!(draft.undo(600.0));
        assert_eq!(draft.current_data.get("name"), Some(&json!("abc")));
        assert!(draft.undo(700.0));
        assert!(!draft.has_changes());
        assert!(draft.redo(800.0) && draft.redo(900.0) && !draft.redo(950.0));
        assert_eq!(draft.current_data.len(), 2);
    }

    #[test]
    fn what_somebody_else_changed_meanwhile_is_known_by_its_columns() {
        let mut mine = draft();
        mine.set("name", json!("mine"), &json!("before"), 0.0);
        mine.set("points", json!(3), &json!(null), 0.0);
        let row = |value: Value| value.as_object().cloned().unwrap().into_iter().collect::<Row>();
        let overtaken = |now: Value| mine.conflicting_fields(&row(now), |_, a, b| a == b).cloned().collect::<Vec<_>>();
        assert_eq!(overtaken(json!({"name": "before", "descr": "another"})), [] as [String; 0]);
        assert_eq!(
            overtaken(json!({"name": "theirs", "points": 3})),
            ["name"],
            "what both made the same is no question"
        );
    }

    #[test]
    fn what_another_tab_drafted_is_taken_in_and_what_was_typed_here_stays() {
        let (mut mine, mut other) = (draft(), draft());
        mine.set("name", json!("mine"), &json!(""), 0.0);
        other.set("name", json!("theirs"), &json!(""), 0.0);
        other.set("descr", json!("long"), &json!(""), 5000.0);
        other.push_redo([("points".to_owned(), json!(5))].into_iter().collect(), &Row::new(), 6000.0);
        assert!(mine.merge_from(&other));
        assert_eq!((&mine.current_data["name"], &mine.current_data["descr"]), (&json!("mine"), &json!("long")));
        assert!(mine.redo(7000.0) && mine.current_data["points"] == json!(5));
    }

    #[test]
    fn typing_the_old_value_again_is_no_change() {
        let mut draft = draft();
        draft.set("name", json!("b"), &json!("a"), 0.0);
        draft.set("name", json!("a"), &json!("a"), 5000.0);
        assert!(!draft.has_changes());
    }

    proptest! {
        #[test]
        fn undoing_everything_and_redoing_it_comes_back(steps in proptest::collection::vec((0..3usize, 0..5i32), 1..20)) {
            let mut draft = draft();
            for (i, (field, value)) in steps.iter().enumerate() {
                draft.set(["a", "b", "c"][*field], json!(value), &json!(null), i as f64 * 2000.0);
            }
            let end = draft.current_data.clone();
            while draft.undo(1e9) {}
            prop_assert!(!draft.has_changes());
            while draft.redo(1e9) {}
            prop_assert_eq!(draft.current_data, end);
        }
    }
}
