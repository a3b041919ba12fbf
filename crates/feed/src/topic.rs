//! Connections, and the topics to which they subscribe.

use pmo_domain::{EntityCode, EntityRef};
use uuid::Uuid;

/// Identifies a connection within a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Subject of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// One entity.
    Entity(EntityRef),
    /// All entities of a type.
    Type(EntityCode),
    /// Children of one type of an entity.
    Children {
        /// Parent entity.
        parent: EntityRef,
        /// Type of the children.
        code: EntityCode,
    },
    /// Descendants of one type of an entity, at any depth, through owned links.
    Tree {
        /// Id of the root entity.
        root: Uuid,
        /// Type of the descendants.
        code: EntityCode,
    },
}

/// Whether the user of a connection may see the entity of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityAccess {
    /// The subscription receives changes.
    Allowed,
    /// The subscription receives nothing until access is granted.
    Denied,
}
