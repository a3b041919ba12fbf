//! Types and rules that the servers and the browser share.
//!
//! Must not: do I/O, read a clock or be async. Every rule is a pure function, so that property
//! tests can run it thousands of times.

pub mod api_types; // request and response types of the REST API
pub mod catalog; // entity types: columns, child relations, datalabels
pub mod change_log; // entries of the change log
pub mod column; // column kinds and validation of values
pub mod cursor; // position in the change feed
pub mod datetime; // dates and timestamps
pub mod fractional_index; // keys for manual ordering
pub mod grant_set; // all grants of one person, prepared for many checks
pub mod id; // typed identifiers
pub mod permission; // permission levels, grants and inheritance
pub mod predicate; // filters and sort orders evaluated in memory
pub mod protocol; // messages of the WebSocket protocol
pub mod public_holidays; // public holidays of a country
pub mod query; // query parameters of a list
pub mod sort; // stable sorting by index
pub mod unix_millis; // points in time
#[cfg(test)]
mod wire_tests;

pub use catalog::{Catalog, ChildRelation, EntityType};
pub use column::{Column, ColumnKind, SELF_CONTRIBUTION};
pub use cursor::{FeedCursor, Snapshot};
pub use id::{AncestorSetId, EntityCode, EntityRef, PersonId, Version};
pub use permission::Permission;
pub use unix_millis::UnixMillis;

/// Columns of an entity by name, as in JSON.
pub type Row = serde_json::Map<String, serde_json::Value>;

/// The `entity_instance_id` of a grant that applies to all entities of its type.
pub const EVERY_INSTANCE: uuid::Uuid = uuid::Uuid::from_u128(0x1111_1111_1111_1111_1111_1111_1111_1111);
