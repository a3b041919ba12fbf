//! Requests of the feed to the database, and their responses.
//!
//! Lookups are collected into batches: a thousand connections that open together cost a handful of
//! statements.

use crate::topic::ConnectionId;
use pmo_domain::change_log::{CatchUpBatch, LogBatch, LogRange};
use pmo_domain::grant_set::GrantSet;
use pmo_domain::{AncestorSetId, EntityCode, FeedCursor, PersonId, Snapshot};
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

/// Data that must be loaded before a decision can be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupRequest {
    /// People with grants to load.
    pub people: BTreeSet<PersonId>,
    /// Ids of the entities to locate: type and ancestor set.
    pub entities: BTreeSet<Uuid>,
    /// Ids of the ancestor sets to load.
    pub ancestor_sets: BTreeSet<AncestorSetId>,
    /// Whether to load the entity types with their type markers.
    pub types: bool,
}

fn truncate<T: Ord + Clone>(set: &mut BTreeSet<T>, limit: usize) {
    if let Some(first_excess) = set.iter().nth(limit).cloned() {
        set.split_off(&first_excess);
    }
}

impl LookupRequest {
    /// Returns whether nothing needs to be loaded.
    pub fn is_empty(&self) -> bool {
        self.people.is_empty() && self.entities.is_empty() && self.ancestor_sets.is_empty() && !self.types
    }

    /// Returns the part of the request that fits into one query.
    ///
    /// The rest is requested again after the response, because it is then still missing.
    pub(crate) fn first_chunk(mut self) -> Self {
        truncate(&mut self.people, 1_000);
        truncate(&mut self.entities, 10_000);
        truncate(&mut self.ancestor_sets, 10_000);
        self
    }

    pub(crate) fn merge(&mut self, other: LookupRequest) {
        self.people.extend(other.people);
        self.entities.extend(other.entities);
        self.ancestor_sets.extend(other.ancestor_sets);
        self.types |= other.types;
    }
}

/// Response to a [`LookupRequest`]. An entity that is absent does not exist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LookupResult {
    /// Grants by person.
    pub people: HashMap<PersonId, GrantSet>,
    /// Type and ancestor set by entity id.
    pub entities: HashMap<Uuid, (EntityCode, AncestorSetId)>,
    /// Ancestors by ancestor set; the flag is true if all links to the ancestor are owned.
    pub ancestor_sets: HashMap<AncestorSetId, Vec<(Uuid, bool)>>,
    /// Type markers by type code; `None` if not requested.
    pub types: Option<HashMap<String, Uuid>>,
}

/// Request of a client for the changes after `from` that are visible in `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchUpRequest {
    /// Connection of the client.
    pub connection: ConnectionId,
    /// User of the connection; set if expired grants of the user must be detected.
    pub person: Option<PersonId>,
    /// Cursor of the client.
    pub from: FeedCursor,
    /// Upper bound: the snapshot up to which the other connections have received changes.
    pub until: Snapshot,
    /// Types with subscriptions by parent; rows of these types are read with their parents.
    pub by_parent: Vec<EntityCode>,
    /// Number of failed attempts.
    pub attempts: u8,
}

/// Request to the database.
#[derive(Clone, Debug, PartialEq)]
pub enum DatabaseRequest {
    /// Read the next batch of the change log.
    Poll {
        /// Range of the change log.
        range: LogRange,
        /// Types with subscriptions by parent; rows of these types are read with their parents.
        by_parent: Vec<EntityCode>,
    },
    /// Load grants, entities, ancestor sets or types.
    Lookup(LookupRequest),
    /// Read the changes that a client missed. May run concurrently with other requests.
    CatchUp(CatchUpRequest),
}

/// Response to a [`DatabaseRequest`].
#[derive(Clone, Debug, PartialEq)]
pub enum DatabaseResponse {
    /// Batch of the change log.
    LogBatch(LogBatch),
    /// Lookup result.
    Lookup(LookupResult),
    /// Changes that the client of this connection missed.
    CatchUp(ConnectionId, CatchUpBatch),
}
