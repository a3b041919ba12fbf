//! Outbox: writes that the server has not confirmed yet.
//!
//! An entry stays on the device until the server has accepted it or the user has discarded it. Its
//! idempotency key makes repeated sending safe.
//!
//! Invariant: the entries of one entity are sent in the order in which they were made.

use crate::merge::{MergeResult, merge, pick_columns};
use crate::request::{Method, Request};
use pmo_domain::api_types::Problem;
use pmo_domain::{EntityRef, Row, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Ids of a new write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteIds {
    /// Id of the outbox entry (UUID v7): ids sort in the order of creation.
    pub entry: Uuid,
    /// Idempotency key of the request.
    pub idempotency_key: Uuid,
}

/// Operation of a write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Operation {
    /// Creates an entity.
    Create {
        /// Initial values by column, including the id.
        values: Row,
    },
    /// Changes columns of an entity.
    Update {
        /// New values by column.
        patch: Row,
        /// Values of the same columns on which the change is based.
        base: Row,
        /// Version of the row on which the change is based; 0 if the server has none yet.
        base_version: i64,
    },
    /// Deletes an entity.
    Delete {
        /// Version of the row to delete; 0 if the server has none yet.
        base_version: i64,
    },
    /// Adds or removes a free link to a parent: a link that no column stands for.
    Link {
        /// Parent of the link; the child is the entity of the entry.
        parent: EntityRef,
        /// Whether to link or to unlink.
        #[serde(rename = "below")]
        linked: bool,
    },
}

/// State of a write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum EntryState {
    /// Waits to be sent or is in flight.
    #[serde(rename = "waiting")]
    Pending,
    /// Both sides changed the same columns, or a changed row is to be deleted: the user decides.
    Conflict {
        /// Current row of the server.
        current: Row,
        /// Columns in conflict; empty for a deletion.
        fields: Vec<String>,
    },
    /// The server rejected the write: the user decides.
    #[serde(rename = "refused")]
    Rejected {
        /// Problem that the server reported.
        problem: Problem,
    },
}

/// Choice of the user for a conflict or a rejected write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Resolution {
    /// Takes the server's values of the columns in conflict; discards a rejected write.
    #[serde(rename = "Theirs")]
    TakeTheirs,
    /// Keeps the local values and sends them under this new idempotency key.
    ///
    /// A rejected write is sent again under its own key.
    #[serde(rename = "Mine")]
    KeepMine(Uuid),
    /// Takes these values for the columns in conflict, and the server's for the columns not named.
    ///
    /// The write is sent under this new idempotency key.
    #[serde(rename = "Each")]
    PerField(Row, Uuid),
}

/// Write in the outbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Id of the entry (UUID v7): ids sort in the order of creation.
    pub id: Uuid,
    /// Idempotency key of the request.
    #[serde(rename = "key")]
    pub idempotency_key: Uuid,
    /// Entity that is written; the child in case of a link.
    pub entity: EntityRef,
    /// Operation on the entity.
    pub operation: Operation,
    /// State of the write.
    #[serde(flatten)]
    pub state: EntryState,
    /// Number of times it was sent under this key.
    pub attempts: u32,
    /// Earliest time of the next attempt.
    #[serde(default)]
    #[serde(rename = "not_before")]
    pub retry_at: UnixMillis,
    /// Whether the current state of the entry is on disk; only then it is sent.
    #[serde(skip)]
    pub persisted: bool,
    /// Whether the request was sent and has no response yet.
    #[serde(skip)]
    pub in_flight: bool,
    /// Number of the batch that writes the current state to disk.
    #[serde(skip)]
    pub batch: u64,
    /// Whether that batch contains user input, not only a state change by the leader.
    #[serde(skip)]
    pub has_unsaved_input: bool,
}

/// Returns whether the value of a column contains the id of an entity.
fn refers_to(value: &Value, id: &str) -> bool {
    match value {
        Value::String(text) => text == id,
        Value::Array(items) => items.iter().any(|item| item.as_str() == Some(id)),
        _ => false,
    }
}

impl OutboxEntry {
    /// Creates a pending entry.
    pub fn new(ids: WriteIds, entity: EntityRef, operation: Operation) -> Self {
        Self {
            id: ids.entry,
            idempotency_key: ids.idempotency_key,
            entity,
            operation,
            state: EntryState::Pending,
            attempts: 0,
            retry_at: UnixMillis::EPOCH,
            persisted: false,
            in_flight: false,
            batch: 0,
            has_unsaved_input: false,
        }
    }

    /// Builds the HTTP request of the write.
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
            Operation::Link { parent, linked } => {
                let (path, child) = ("/entity_instance_link", &self.entity);
                if *linked {
                    let link = serde_json::json!({
                        "parent_code": parent.code, "parent_id": parent.id, "child_code": child.code, "child_id": child.id
                    });
                    (Method::Post, path.to_owned(), Some(link), None)
                } else {
                    let (parent_code, parent_id) = (&parent.code, parent.id);
                    let query = format!(
                        "parent_code={parent_code}&parent_id={parent_id}&child_code={}&child_id={}",
                        child.code, child.id
                    );
                    (Method::Delete, format!("{path}?{query}"), None, None)
                }
            }
        };
        // A row of version 0 was created locally and has no response yet: its version is unknown.
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

    /// Returns whether the write creates its entity.
    pub(crate) fn is_create(&self) -> bool {
        matches!(self.operation, Operation::Create { .. })
    }

    /// Returns whether the write deletes its entity.
    pub(crate) fn is_delete(&self) -> bool {
        matches!(self.operation, Operation::Delete { .. })
    }

    /// Returns whether the write links its entity to `other` or unlinks it.
    pub(crate) fn is_link_to(&self, other: &EntityRef) -> bool {
        matches!(&self.operation, Operation::Link { parent, .. } if parent == other)
    }

    /// Returns whether the write adds or removes a link.
    pub fn is_link(&self) -> bool {
        matches!(self.operation, Operation::Link { .. })
    }

    /// Removes the columns of an update that refer to entities which will never be created.
    ///
    /// Returns whether the write still has columns; `false` for all other operations.
    pub fn remove_references(&mut self, entities: &[EntityRef]) -> bool {
        let Operation::Update { patch, base, .. } = &mut self.operation else { return false };
        let refers = |value: &Value| entities.iter().any(|entity| refers_to(value, &entity.id.to_string()));
        patch.retain(|_, value| !refers(value));
        base.retain(|column, _| patch.contains_key(column));
        !patch.is_empty()
    }

    /// Returns whether the write changes an entity or refers to it.
    pub fn refers_to_entity(&self, entity: &EntityRef) -> bool {
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

    /// Returns whether the entry must be sent after `other`, which was made before it.
    ///
    /// - Entries of the same entity are sent in order.
    /// - An entity is created before entries that refer to it are sent.
    /// - Pending entries that refer to an entity are sent before the entity is deleted.
    pub fn depends_on(&self, other: &Self) -> bool {
        self.entity == other.entity
            || match (&self.operation, &other.operation) {
                (_, Operation::Create { .. }) if self.refers_to_entity(&other.entity) => true,
                (Operation::Delete { .. }, _) => {
                    other.state == EntryState::Pending && other.refers_to_entity(&self.entity)
                }
                _ => false,
            }
    }

    /// Returns the row with this write applied; `None` means that the row does not exist.
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

    /// Returns whether a later update may be merged into this entry because it was never sent.
    pub fn can_coalesce(&self) -> bool {
        self.state == EntryState::Pending
            && !self.in_flight
            && self.attempts == 0
            && matches!(self.operation, Operation::Create { .. } | Operation::Update { .. })
    }

    /// Merges a later update into this entry; `before` is the row on which that update is based.
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

    /// Rebases the write on the server's row, for example after a 412, under a new idempotency key.
    ///
    /// Returns `true` if it can be sent again, `false` if it is a conflict that the user must
    /// resolve.
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
                    // Columns in conflict keep the local value and the value it is based on.
                    let mut merged = rest;
                    let mut merged_base: Row = pick_columns(merged.keys(), &current);
                    for column in &conflicts {
                        merged.insert(column.clone(), patch.get(column).cloned().unwrap_or(Value::Null));
                        merged_base.insert(column.clone(), base.get(column).cloned().unwrap_or(Value::Null));
                    }
                    (*patch, *base) = (merged, merged_base);
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

    /// Resolves a conflict under a new idempotency key.
    ///
    /// A column in conflict gets the given value; without one it gets the server's value. Columns
    /// that were merged without a conflict keep the local values. Returns the local values that
    /// were discarded.
    pub fn resolve(&mut self, values: &Row, new_key: Uuid) -> Row {
        let mut discarded = Row::new();
        let EntryState::Conflict { current, fields } = std::mem::replace(&mut self.state, EntryState::Pending) else {
            return discarded;
        };
        let version = pmo_domain::api_types::row_version(&current).0;
        match &mut self.operation {
            Operation::Update { patch, base, base_version } => {
                for column in &fields {
                    let theirs = current.get(column).unwrap_or(&Value::Null);
                    let chosen = values.get(column).unwrap_or(theirs);
                    if let Some(mine) = patch.remove(column).filter(|mine| mine != chosen) {
                        discarded.insert(column.clone(), mine);
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
        discarded
    }

    /// Replaces the base version with one that cannot exist and rotates the idempotency key.
    ///
    /// The server then answers 412 with the current row and the entry is merged. Returns `false`
    /// for operations without a base version. Safe if an earlier attempt succeeded: the merge finds
    /// its values in the row.
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

    /// Returns the values that the write sets, by column.
    pub fn local_values(&self) -> Row {
        match &self.operation {
            Operation::Create { values } => values.clone(),
            Operation::Update { patch, .. } => patch.clone(),
            Operation::Delete { .. } | Operation::Link { .. } => Row::new(),
        }
    }

    /// Returns whether the write is an update without any columns.
    pub fn is_noop(&self) -> bool {
        matches!(&self.operation, Operation::Update { patch, .. } if patch.is_empty())
    }
}
