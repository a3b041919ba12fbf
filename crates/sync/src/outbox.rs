//! Writes on their way. An entry is kept on the device until the server has answered it for good; it carries a key, so that a
//! repeat is answered and not done again; the order of entries of one thing is kept.

use crate::event::{Method, Request};
use crate::merge::{MergeResult, merge, pick_columns};
use pmo_domain::api_types::Problem;
use pmo_domain::{EntityRef, Row};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// What a write does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Operation {
    /// Make a thing; the values carry its id.
    Create {
        /// The values.
        values: Row,
    },
    /// Change columns.
    Update {
        /// New values.
        patch: Row,
        /// The values that the change was made on.
        base: Row,
        /// The version that the change was made on.
        base_version: i64,
    },
    /// Delete a thing.
    Delete {
        /// The version that is to go.
        base_version: i64,
    },
    /// Hang a thing below another, where no column of it says so, or take it from there.
    Link {
        /// The thing above.
        parent: EntityRef,
        /// To hang there, or not to.
        #[serde(rename = "below")]
        linked: bool,
    },
}

/// How far a write has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum EntryState {
    /// To be sent.
    #[serde(rename = "waiting")]
    Pending,
    /// Both changed the same thing: a person decides.
    Conflict {
        /// The server's row.
        current: Row,
        /// The columns.
        fields: Vec<String>,
    },
    /// The server will not have it.
    #[serde(rename = "refused")]
    Rejected {
        /// Why, and what to do.
        problem: Problem,
    },
}

/// What a person decides of a write that needs them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Resolution {
    /// Theirs where both changed the same; a refused write is given up.
    #[serde(rename = "Theirs")]
    TakeTheirs,
    /// Mine on top of theirs, under this new key; a refused write is tried again.
    #[serde(rename = "Mine")]
    KeepMine(Uuid),
    /// These values for the columns in question, theirs for those that are not named, under this new key.
    #[serde(rename = "Each")]
    PerField(Row, Uuid),
}

/// A write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Its id, in order of making (UUID v7).
    pub id: Uuid,
    /// The idempotency key.
    #[serde(rename = "key")]
    pub idempotency_key: Uuid,
    /// The thing.
    pub entity: EntityRef,
    /// What it does.
    pub operation: Operation,
    /// How far it has come.
    #[serde(flatten)]
    pub state: EntryState,
    /// How often it was sent.
    pub attempts: u32,
    /// Milliseconds since 1970 before which it is not sent again.
    #[serde(default)]
    #[serde(rename = "not_before")]
    pub retry_at: f64,
    /// On disk.
    #[serde(skip)]
    pub persisted: bool,
    /// An answer is awaited.
    #[serde(skip)]
    pub in_flight: bool,
    /// The batch that brings it to disk.
    #[serde(skip)]
    pub batch: u64,
    /// What a person typed is on its way to disk, and not only what has come of it.
    #[serde(skip)]
    pub has_unsaved_input: bool,
}

/// Whether a column's value names a thing.
fn refers_to(value: &Value, id: &str) -> bool {
    match value {
        Value::String(text) => text == id,
        Value::Array(items) => items.iter().any(|item| item.as_str() == Some(id)),
        _ => false,
    }
}

impl OutboxEntry {
    /// A write to be sent.
    pub fn new(ids: [Uuid; 2], entity: EntityRef, operation: Operation) -> Self {
        Self {
            id: ids[0],
            idempotency_key: ids[1],
            entity,
            operation,
            state: EntryState::Pending,
            attempts: 0,
            retry_at: 0.0,
            persisted: false,
            in_flight: false,
            batch: 0,
            has_unsaved_input: false,
        }
    }

    /// The request that does it.
    pub fn request(&self) -> Request {
        let path = format!("/{}/{}", self.entity.code, self.entity.id);
        let (method, path, body, if_match) = match &self.operation {
            Operation::Create { values } => {
                (Method::Post, format!("/{}", self.entity.code), Some(Value::Object(values.clone())), None)
            }
            Operation::Update { patch, base_version, .. } => {
                (Method::Patch, path, Some(Value::Object(patch.clone())), Some(*base_version))
            }
            Operation::Delete { base_version } => (Method::Delete, path, None, Some(*base_version)),
            Operation::Link { parent, linked: below } => {
                let (path, child) = ("/entity_instance_link", &self.entity);
                if *below {
                    let link = serde_json::json!({
                        "parent_code": parent.code, "parent_id": parent.id, "child_code": child.code, "child_id": child.id
                    });
                    (Method::Post, path.to_owned(), Some(link), None)
                } else {
                    let (above, id) = (&parent.code, parent.id);
                    let ends =
                        format!("parent_code={above}&parent_id={id}&child_code={}&child_id={}", child.code, child.id);
                    (Method::Delete, format!("{path}?{ends}"), None, None)
                }
            }
        };
        // A row of version 0 was made here and its first answer is still out: there is no version to name yet.
        let if_match = if_match.filter(|v| *v > 0);
        Request {
            method,
            path,
            body,
            if_match,
            idempotency_key: Some(self.idempotency_key.to_string()),
            if_none_match: None,
        }
    }

    /// Whether it ties two things, or parts them.
    pub fn is_link(&self) -> bool {
        matches!(self.operation, Operation::Link { .. })
    }

    /// Takes the columns out that refer to these things, which will never be. Whether anything is left that was typed.
    pub fn remove_references(&mut self, things: &[EntityRef]) -> bool {
        let Operation::Update { patch, base, .. } = &mut self.operation else { return false };
        let refers = |value: &Value| things.iter().any(|thing| refers_to(value, &thing.id.to_string()));
        patch.retain(|_, value| !refers(value));
        base.retain(|column, _| patch.contains_key(column));
        !patch.is_empty()
    }

    /// Whether it is about a thing, or refers to it.
    pub fn touches(&self, entity: &EntityRef) -> bool {
        if self.entity == *entity {
            return true;
        }
        let values = match &self.operation {
            Operation::Create { values } => values,
            Operation::Update { patch, .. } => patch,
            Operation::Link { parent, .. } => return parent == entity,
            Operation::Delete { .. } => return false,
        };
        let id = entity.id.to_string();
        values.values().any(|value| refers_to(value, &id))
    }

    /// Whether it is to be sent after `other`, which was made before it: what it refers to is made first, and what hangs on a thing is sent before that goes.
    pub fn depends_on(&self, other: &Self) -> bool {
        self.entity == other.entity
            || match (&self.operation, &other.operation) {
                (_, Operation::Create { .. }) if self.touches(&other.entity) => true,
                (Operation::Delete { .. }, _) => other.state == EntryState::Pending && other.touches(&self.entity),
                _ => false,
            }
    }

    /// What the row looks like with this write done; none: deleted.
    pub fn apply_to(&self, row: Option<Row>) -> Option<Row> {
        match (&self.operation, row) {
            (Operation::Create { values }, None) => {
                let mut row = values.clone();
                row.entry("version").or_insert_with(|| 0.into());
                Some(row)
            }
            (Operation::Create { .. } | Operation::Link { .. }, row) => row,
            (Operation::Update { patch, .. }, Some(mut row)) => {
                row.extend(patch.clone());
                Some(row)
            }
            (Operation::Update { .. }, None) | (Operation::Delete { .. }, _) => None,
        }
    }

    /// Whether a later update can be written into this entry: it has never left the device.
    pub fn can_coalesce(&self) -> bool {
        self.state == EntryState::Pending
            && !self.in_flight
            && self.attempts == 0
            && matches!(self.operation, Operation::Create { .. } | Operation::Update { .. })
    }

    /// Writes a later update into this entry.
    pub fn coalesce(&mut self, patch: Row, before: &Row) {
        match &mut self.operation {
            Operation::Create { values } => values.extend(patch),
            Operation::Update { patch: mine, base, .. } => {
                for (column, value) in patch {
                    if !mine.contains_key(&column) {
                        base.insert(column.clone(), before.get(&column).cloned().unwrap_or(Value::Null));
                    }
                    mine.insert(column, value);
                }
            }
            Operation::Delete { .. } | Operation::Link { .. } => {}
        }
        self.persisted = false;
    }

    /// Takes a 412 in: merges with the server's row, under a new key. True where it can be sent again as it is, false where a person
    /// must decide.
    pub fn rebase(&mut self, current: Row, new_key: Uuid) -> bool {
        let version = pmo_domain::api_types::row_version(&current).0;
        self.idempotency_key = new_key;
        self.attempts = 0;
        self.persisted = false;
        match &mut self.operation {
            Operation::Update { patch, base, base_version } => {
                let MergeResult { patch: rest, conflicts } = merge(base, patch, &current);
                if conflicts.is_empty() {
                    *base = pick_columns(rest.keys(), &current);
                    *patch = rest;
                    *base_version = version;
                    self.state = EntryState::Pending;
                    true
                } else {
                    // What merges is merged already; of what doesn't, mine stays beside what it was made on.
                    let mut merged = rest;
                    let mut made_on: Row = pick_columns(merged.keys(), &current);
                    for column in &conflicts {
                        merged.insert(column.clone(), patch.get(column).cloned().unwrap_or(Value::Null));
                        made_on.insert(column.clone(), base.get(column).cloned().unwrap_or(Value::Null));
                    }
                    (*patch, *base) = (merged, made_on);
                    self.state = EntryState::Conflict { current, fields: conflicts };
                    false
                }
            }
            Operation::Delete { .. } => {
                self.state = EntryState::Conflict { current, fields: Vec::new() };
                false
            }
            Operation::Create { .. } | Operation::Link { .. } => true,
        }
    }

    /// Settles a conflict: the columns in question get these values, theirs where none is named, under a new key. What merged is still mine. Answers what
    /// was typed and given up.
    pub fn resolve(&mut self, values: &Row, new_key: Uuid) -> Row {
        let mut given_up = Row::new();
        let EntryState::Conflict { current, fields } = std::mem::replace(&mut self.state, EntryState::Pending) else {
            return given_up;
        };
        let version = pmo_domain::api_types::row_version(&current).0;
        match &mut self.operation {
            Operation::Update { patch, base, base_version } => {
                for column in &fields {
                    let theirs = current.get(column).unwrap_or(&Value::Null);
                    let chosen = values.get(column).unwrap_or(theirs);
                    if let Some(mine) = patch.remove(column).filter(|mine| mine != chosen) {
                        given_up.insert(column.clone(), mine);
                    }
                    if chosen != theirs {
                        patch.insert(column.clone(), chosen.clone());
                    }
                }
                *base = pick_columns(patch.keys(), &current);
                *base_version = version;
            }
            Operation::Delete { base_version } => *base_version = version,
            Operation::Create { .. } | Operation::Link { .. } => {}
        }
        self.idempotency_key = new_key;
        self.attempts = 0;
        self.persisted = false;
        given_up
    }

    /// Names a version that no row has, under another key: the answer is the present row, with which it is merged. False where it names none. Should an earlier
    /// try have gone through, the merge finds it there.
    pub fn force_precondition_failure(&mut self) -> bool {
        match &mut self.operation {
            Operation::Update { base_version, .. } | Operation::Delete { base_version } if *base_version > 0 => {
                *base_version = i64::MAX;
                self.idempotency_key = Uuid::from_u128(self.idempotency_key.as_u128().wrapping_add(1));
                self.attempts = 0;
                true
            }
            _ => false,
        }
    }

    /// What this write would have the columns be.
    pub fn local_values(&self) -> Row {
        match &self.operation {
            Operation::Create { values } => values.clone(),
            Operation::Update { patch, .. } => patch.clone(),
            Operation::Delete { .. } | Operation::Link { .. } => Row::new(),
        }
    }

    /// An update with nothing left to write.
    pub fn is_noop(&self) -> bool {
        matches!(&self.operation, Operation::Update { patch, .. } if patch.is_empty())
    }
}
