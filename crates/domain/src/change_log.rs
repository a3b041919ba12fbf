//! A row of the change log, as the feed reads it.

use crate::protocol::Action;
use crate::{EntityCode, EntityRef, Version};
use serde_json::Value;
use uuid::Uuid;

/// Log actions by number (reference: VIEW 0 … OWNER 7).
pub mod action {
    /// Somebody looked; never delivered.
    pub const VIEW: i16 = 0;
    /// A comment was made.
    pub const COMMENT: i16 = 1;
    /// Columns changed.
    pub const EDIT: i16 = 3;
    /// Access changed.
    pub const SHARE: i16 = 4;
    /// Deleted.
    pub const DELETE: i16 = 5;
    /// Made, or restored.
    pub const CREATE: i16 = 6;
    /// Handed over.
    pub const OWNER: i16 = 7;
}

/// One row of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeLogEntry {
    /// Its number; unique, but not in order of commit.
    pub seq: i64,
    /// The transaction that wrote it.
    pub xid: i64,
    /// The type of the thing; `entity_rbac` and `entity_instance_link` tell of access.
    pub code: EntityCode,
    /// The thing.
    pub id: Uuid,
    /// See [`action`].
    pub action: i16,
    /// The thing's version after the change.
    pub version: Version,
    /// Old and new values of the changed columns, where the reader asked for them: `{"col": {"old": …, "new": …}}`.
    pub diff: Value,
    /// Where the thing is now, or was when it was purged, for grants to come down to it; none: it is no thing.
    pub ancestor_set: Option<i32>,
    /// When its transaction began, by the database's clock, in milliseconds since 1970.
    pub tx_started_at_ms: i64,
    /// What it hangs below now, where the reader asked for it.
    pub parents: Vec<EntityRef>,
}

/// Something that changed what people may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessChange {
    /// A person holds other grants.
    GrantsChanged(Uuid),
    /// A person has made something, and owns it: nobody's view of anything else changes.
    EntityCreated(Uuid),
    /// A role, or something else that may concern anybody.
    Unscoped,
    /// Things have come from one reach to another.
    AncestorSetChanged(i32, i32),
}

impl ChangeLogEntry {
    /// Whether it changes what people may see, rather than a thing.
    pub fn is_access_change(&self) -> bool {
        self.code == "entity_rbac" || self.code == "entity_instance_link"
    }

    /// The new value of a column, as text.
    pub fn new_value_str(&self, column: &str) -> Option<&str> {
        self.diff.get(column)?.get("new")?.as_str()
    }

    /// What to tell those who may see the thing.
    pub fn client_action(&self) -> Action {
        match self.action {
            action::CREATE | action::COMMENT => Action::Create,
            action::DELETE => Action::Delete,
            _ => Action::Update,
        }
    }
}
