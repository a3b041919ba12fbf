//! What the feed must know of the database. Questions are gathered, so that a thousand sockets that open at once cost a handful of statements.

use crate::log_reader::LogRange;
use crate::subscription_index::ConnectionId;
use pmo_domain::change_log::{AccessChange, ChangeLogEntry};
use pmo_domain::grant_set::GrantSet;
use pmo_domain::{EntityCode, FeedCursor, PersonId, Snapshot};
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

/// What must be known before something can be decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupRequest {
    /// What these people hold.
    pub people: BTreeSet<PersonId>,
    /// Where these things are.
    pub things: BTreeSet<Uuid>,
    /// What is above these reaches.
    pub reaches: BTreeSet<i32>,
    /// Which types there are, with their markers.
    pub types: bool,
}

fn truncate<T: Ord + Clone>(all: &mut BTreeSet<T>, most: usize) {
    if let Some(first_left_out) = all.iter().nth(most).cloned() {
        all.split_off(&first_left_out);
    }
}

impl LookupRequest {
    /// Whether all is known.
    pub fn is_empty(&self) -> bool {
        self.people.is_empty() && self.things.is_empty() && self.reaches.is_empty() && !self.types
    }

    /// So much of it as one question may ask for; the rest is asked for next.
    pub(crate) fn first_chunk(mut self) -> Self {
        truncate(&mut self.people, 1_000);
        truncate(&mut self.things, 10_000);
        truncate(&mut self.reaches, 10_000);
        self
    }

    pub(crate) fn merge(&mut self, other: LookupRequest) {
        self.people.extend(other.people);
        self.things.extend(other.things);
        self.reaches.extend(other.reaches);
        self.types |= other.types;
    }
}

/// What was asked for in [`Needs`]; a thing that is absent does not exist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LookupResult {
    /// What people hold.
    pub people: HashMap<PersonId, GrantSet>,
    /// Type and reach of things.
    pub things: HashMap<Uuid, (EntityCode, i32)>,
    /// What is above reaches, each with whether by owned links alone.
    pub reaches: HashMap<i32, Vec<(Uuid, bool)>>,
    /// Markers by type.
    pub types: Option<HashMap<String, Uuid>>,
}

/// One look at the log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogBatch {
    /// Rows in order of transaction and number.
    pub rows: Vec<ChangeLogEntry>,
    /// What changed access in the range; told with its first part.
    pub access: BTreeSet<AccessChange>,
    /// What was settled when they were read.
    pub snapshot: Snapshot,
    /// The database's incarnation by now.
    pub epoch: i64,
    /// Whether there are more rows than were asked for.
    pub has_more: bool,
    /// The database's clock, in milliseconds since 1970.
    pub db_now_ms: i64,
}

/// What a returning client asks for: what came after `from` and is settled in `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchUpRequest {
    /// The client.
    pub connection: ConnectionId,
    /// Whose it is, where it must be known whether a grant of theirs has run out since.
    pub person: Option<PersonId>,
    /// Where it stood.
    pub from: FeedCursor,
    /// Where everybody else stands.
    pub until: Snapshot,
    /// Types for which it must be known what their things hang below.
    pub by_parent: Vec<EntityCode>,
    /// How often it has been asked in vain.
    pub attempts: u8,
}

/// What a returning client missed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatchUpBatch {
    /// Rows of the log.
    pub rows: Vec<ChangeLogEntry>,
    /// Changes of access.
    pub access: BTreeSet<AccessChange>,
    /// Whether a grant of the person has run out since.
    pub grant_expired: bool,
    /// Whether that is all; where it is too much, the client starts over.
    pub complete: bool,
}

/// A question to the database.
#[derive(Clone, Debug, PartialEq)]
pub enum DatabaseRequest {
    /// What is new in the log; what their things hang below for the types of `by_parent`.
    Look {
        /// What to read.
        ask: LogRange,
        /// Types for which it must be known what their things hang below.
        by_parent: Vec<EntityCode>,
    },
    /// What must be known.
    Facts(LookupRequest),
    /// What a client missed; may be asked beside the others.
    Past(CatchUpRequest),
}

/// Its answer.
#[derive(Clone, Debug, PartialEq)]
pub enum DatabaseResponse {
    /// To [`Question::Look`].
    Look(LogBatch),
    /// To [`Question::Facts`].
    Facts(LookupResult),
    /// To [`Question::Past`].
    Past(ConnectionId, CatchUpBatch),
}
