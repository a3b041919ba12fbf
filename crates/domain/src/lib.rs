//! The words that the servers and the browser share. Pure: it must never do I/O, read a clock or be async, so that every
//! rule in it can be tested by the thousand.

pub mod api_types; // shapes of the REST interface
pub mod catalog; // what an entity type is, read from names and registrations
pub mod change_log; // a row of the change log
pub mod column; // what a column's name says, and which values it takes
pub mod cursor; // where a reader stands in the change feed
pub mod datetime; // days and moments
pub mod fractional_index;
pub mod grant_set; // what one person holds, for asking about many things at once
pub mod id; // identifiers that can't be confused
pub mod permission; // who may do what: the one definition
pub mod predicate; // filters and orders, worked out on values at hand
pub mod protocol; // messages of the WebSocket
pub mod query; // what a list is asked for
pub mod sort; // sorting that is compiled once
#[cfg(test)]
mod wire_tests;

pub use catalog::{Catalog, ChildRelation, EntityType};
pub use column::{Column, ColumnKind, SELF_CONTRIBUTION};
pub use cursor::{FeedCursor, Snapshot};
pub use id::{EntityCode, EntityRef, PersonId, Version};
pub use permission::Permission;

/// One thing's columns by name, as they travel in JSON.
pub type Row = serde_json::Map<String, serde_json::Value>;

/// The `entity_instance_id` of a grant that reaches every instance of its type.
pub const EVERY_INSTANCE: uuid::Uuid = uuid::Uuid::from_u128(0x1111_1111_1111_1111_1111_1111_1111_1111);
