//! What the tabs of one person tell each other. One of them leads: it holds the socket, asks the server, sends the outbox and writes the cache; the
//! others say what they look at and hear what is new.

use crate::outbox::Resolution;
use crate::query_key::{ListKey, Query, ReferenceDataKey};
use pmo_domain::{EntityCode, EntityRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A tab, for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TabId(pub Uuid);

/// What a tab looks at, and what it holds of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedQuery {
    /// The query.
    pub query: Query,
    /// A number for what is held: the leader tells what is missing where its own is another.
    pub digest: u64,
}

/// A row as the server told it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RowUpdate {
    /// Its type.
    pub code: EntityCode,
    /// The reader's level, where it is known.
    #[serde(default)]
    pub permission: Option<u8>,
    /// Its columns.
    pub row: Box<RawValue>,
}

impl PartialEq for RowUpdate {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code && self.permission == other.permission && self.row.get() == other.row.get()
    }
}

/// A list as the server told it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListUpdate {
    /// Which.
    pub key: ListKey,
    /// Its rows, in order.
    pub ids: Vec<Uuid>,
    /// Nothing that belongs to it is missing.
    pub complete: bool,
    /// Milliseconds since 1970 when the server said so.
    pub synced_at: f64,
}

/// What the leader has learnt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaderUpdate {
    /// The leader's term: what an earlier leader says is not news.
    pub term: u64,
    /// Rows.
    pub rows: Vec<RowUpdate>,
    /// Things that are gone for this person.
    #[serde(rename = "gone")]
    pub removed: Vec<EntityRef>,
    /// What this person may see has changed: what a tab holds and does not look at goes.
    #[serde(rename = "swept")]
    pub access_changed: bool,
    /// Lists.
    pub lists: Vec<ListUpdate>,
    /// Lists that can't be seen any more.
    pub lists_gone: Vec<ListKey>,
    /// Reference data.
    pub metas: Vec<(ReferenceDataKey, Value)>,
    /// Names by type; those of a type replace what was known.
    pub names: BTreeMap<String, BTreeMap<Uuid, String>>,
    /// Queries that were answered, and whether that went well.
    #[serde(rename = "settled")]
    pub completed: Vec<(Query, bool)>,
    /// Things that are kept on the device with all that hangs below them.
    /// How much of each there is, and whether all of it.
    pub kept: Option<Vec<(EntityRef, usize, bool)>>,
    /// Who else looks at what a tab looks at, by its address.
    #[serde(rename = "present")]
    pub presence: BTreeMap<String, BTreeMap<Uuid, String>>,
    /// Where the feed stands: epoch and cursor.
    pub feed: Option<(String, String)>,
    /// Whether the server can be reached, and whether changes are heard of.
    pub status: (bool, bool),
}

impl LeaderUpdate {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.removed.is_empty()
            && !self.access_changed
            && self.lists.is_empty()
            && self.lists_gone.is_empty()
            && self.metas.is_empty()
            && self.names.is_empty()
            && self.completed.is_empty()
            && self.kept.is_none()
            && self.presence.is_empty()
    }
}

/// A message between tabs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TabMessage {
    /// The leader lives.
    #[serde(rename = "leading")]
    LeaderHeartbeat {
        /// Its term.
        term: u64,
        /// It has just begun: say what you look at.
        new: bool,
    },
    /// A tab says all that it looks at.
    #[serde(rename = "watching")]
    FollowerQueries {
        /// Who.
        tab: TabId,
        /// What.
        watched: Vec<ObservedQuery>,
        /// The address of what its page is about, while it is in sight; empty: nothing.
        #[serde(default)]
        looking: String,
    },
    /// A tab asks for a query anew, however fresh it is.
    Refetch {
        /// Which.
        query: Query,
    },
    /// A tab wants the next page of a list.
    #[serde(rename = "more")]
    FetchMore {
        /// Which.
        key: ListKey,
    },
    /// A person has settled a write in another tab than the leader: it alone changes what it may be sending. (Not `settle`: a tab of an earlier build reads
    /// that as a choice for theirs.)
    #[serde(rename = "decide")]
    ResolveConflict {
        /// The entry.
        entry: Uuid,
        /// The key that it had when the person looked.
        seen: Uuid,
        /// What they chose.
        choice: Resolution,
    },
    /// A person gives a write up.
    Discard {
        /// The entry.
        entry: Uuid,
    },
    /// A person mends a refused write in its draft.
    Reopen {
        /// The entry.
        entry: Uuid,
    },
    /// A person wants a thing kept on the device with all that hangs below it, or no longer.
    Keep {
        /// The thing.
        entity: EntityRef,
        /// To be kept, or not.
        on: bool,
    },
    /// A tab closes.
    #[serde(rename = "bye")]
    TabClosing {
        /// Who.
        tab: TabId,
    },
    /// The leader has learnt something.
    News(Box<LeaderUpdate>),
}
