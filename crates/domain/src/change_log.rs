//! Entries of the change log, as the feed reads them.

use crate::protocol::Action;
use crate::{EntityCode, EntityRef, Version};
use serde_json::Value;
use uuid::Uuid;

/// Numbers of the log actions.
pub mod action {
    /// An entity was viewed; never delivered to clients.
    pub const VIEW: i16 = 0;
    /// A comment was created.
    pub const COMMENT: i16 = 1;
    /// Columns were changed.
    pub const EDIT: i16 = 3;
    /// A grant was changed.
    pub const SHARE: i16 = 4;
    /// An entity was deleted.
    pub const DELETE: i16 = 5;
    /// An entity was created or restored.
    pub const CREATE: i16 = 6;
    /// Ownership was transferred.
    pub const OWNER: i16 = 7;
}

/// One row of the change log.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeLogEntry {
    /// Sequence number of the row; unique, but not in commit order.
    pub seq: i64,
    /// Id of the transaction that wrote the row.
    pub xid: i64,
    /// Type of the entity; `entity_rbac` and `entity_instance_link` mark access changes.
    pub code: EntityCode,
    /// Id of the entity.
    pub id: Uuid,
    /// Number of the action; see [`action`].
    pub action: i16,
    /// Version of the entity after the change.
    pub version: Version,
    /// Old and new values of the changed columns: `{"col": {"old": …, "new": …}}`.
    ///
    /// Filled only if the query of the log includes the values.
    pub diff: Value,
    /// Ancestor set through which the entity inherits grants.
    ///
    /// The current set, or the last one of a purged entity; `None` if the row is not about an
    /// entity.
    pub ancestor_set: Option<i32>,
    /// Start of the transaction by the database clock, in milliseconds since the Unix epoch.
    pub tx_started_at_ms: i64,
    /// Current parents of the entity, if the query of the log includes them.
    pub parents: Vec<EntityRef>,
}

/// A change that may affect what people may view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessChange {
    /// The grants of this person changed.
    GrantsChanged(Uuid),
    /// This person created an entity and became its owner.
    ///
    /// The visibility of other entities does not change.
    EntityCreated(Uuid),
    /// A role or another source of grants changed; every person may be affected.
    Unscoped,
    /// Entities moved from the first ancestor set to the second.
    AncestorSetChanged(i32, i32),
}

impl ChangeLogEntry {
    /// Returns whether the entry records a change of access instead of a change of an entity.
    pub fn is_access_change(&self) -> bool {
        self.code == "entity_rbac" || self.code == "entity_instance_link"
    }

    /// Returns the new value of `column`; `None` if it did not change or is not text.
    pub fn new_value_str(&self, column: &str) -> Option<&str> {
        self.diff.get(column)?.get("new")?.as_str()
    }

    /// Returns the action that clients receive for this entry.
    pub fn client_action(&self) -> Action {
        match self.action {
            action::CREATE | action::COMMENT => Action::Create,
            action::DELETE => Action::Delete,
            _ => Action::Update,
        }
    }
}
