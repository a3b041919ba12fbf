//! Messages between the tabs of one user: one leader and any number of followers.
//!
//! The leader holds the socket, sends all requests and the outbox, and writes the cache on the
//! device. Followers send their observed queries and receive updates.

use crate::outbox::Resolution;
use crate::query_key::{ListKey, Query, ReferenceDataKey};
use pmo_domain::{EntityCode, EntityRef, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Identifies a tab until it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TabId(pub Uuid);

/// Query that a tab observes, with a digest of its cached data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservedQuery {
    /// Observed query.
    pub query: Query,
    /// Digest of the cached data; if the leader's digest differs, it sends its own data.
    pub digest: u64,
}

/// Row as the server returned it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RowUpdate {
    /// Entity type.
    pub code: EntityCode,
    /// Permission level of the user, if known.
    #[serde(default)]
    pub permission: Option<u8>,
    /// Columns as JSON text.
    pub row: Box<RawValue>,
}

impl PartialEq for RowUpdate {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code && self.permission == other.permission && self.row.get() == other.row.get()
    }
}

/// List as the server returned it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListUpdate {
    /// Key of the list.
    pub key: ListKey,
    /// Ids of the rows, in order.
    pub ids: Vec<Uuid>,
    /// Whether all rows of the list were fetched.
    pub complete: bool,
    /// Time of the server response.
    pub synced_at: UnixMillis,
}

/// Status of the connection of the leader.
///
/// The JSON form is a pair of the fields in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(bool, bool)", into = "(bool, bool)")]
pub struct LeaderStatus {
    /// Whether the server is reachable.
    pub online: bool,
    /// Whether changes are received.
    pub live: bool,
}

impl From<(bool, bool)> for LeaderStatus {
    fn from((online, live): (bool, bool)) -> Self {
        Self { online, live }
    }
}

impl From<LeaderStatus> for (bool, bool) {
    fn from(status: LeaderStatus) -> Self {
        (status.online, status.live)
    }
}

/// Pinned tree of the leader.
///
/// The JSON form is a list of the fields in their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "(EntityRef, usize, bool)", into = "(EntityRef, usize, bool)")]
pub struct PinnedTreeSummary {
    /// Root of the tree.
    pub root: EntityRef,
    /// Number of cached rows, without the root.
    pub rows: usize,
    /// Whether the whole tree is on the device.
    pub complete: bool,
}

impl From<(EntityRef, usize, bool)> for PinnedTreeSummary {
    fn from((root, rows, complete): (EntityRef, usize, bool)) -> Self {
        Self { root, rows, complete }
    }
}

impl From<PinnedTreeSummary> for (EntityRef, usize, bool) {
    fn from(tree: PinnedTreeSummary) -> Self {
        (tree.root, tree.rows, tree.complete)
    }
}

/// Changes that the leader sends to its followers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeaderUpdate {
    /// Term of the leader; followers ignore updates of an earlier term.
    pub term: u64,
    /// New or changed rows.
    pub rows: Vec<RowUpdate>,
    /// Entities that were deleted or that the user may no longer view.
    #[serde(rename = "gone")]
    pub removed: Vec<EntityRef>,
    /// Whether the user's access has changed; followers then drop all data without observers.
    #[serde(rename = "swept")]
    pub access_changed: bool,
    /// New or changed lists.
    pub lists: Vec<ListUpdate>,
    /// Lists that do not exist for the user any more, for example because their parent was deleted.
    #[serde(rename = "lists_gone")]
    pub lists_removed: Vec<ListKey>,
    /// New or changed reference data.
    pub metas: Vec<(ReferenceDataKey, Value)>,
    /// Display names by entity type and id; they replace all known names of the type.
    pub names: BTreeMap<String, BTreeMap<Uuid, String>>,
    /// Completed queries, each with `true` for success.
    #[serde(rename = "settled")]
    pub completed: Vec<(Query, bool)>,
    /// All pinned trees, if changed.
    #[serde(rename = "kept")]
    pub pinned: Option<Vec<PinnedTreeSummary>>,
    /// Other users who view the same entities: path of the entity to user id to display name.
    #[serde(rename = "present")]
    pub presence: BTreeMap<String, BTreeMap<Uuid, String>>,
    /// Position in the feed: epoch and cursor.
    pub feed: Option<(String, String)>,
    /// Status of the connection.
    pub status: LeaderStatus,
}

impl LeaderUpdate {
    /// Returns whether the update has no changes; term, feed position and status do not count.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.removed.is_empty()
            && !self.access_changed
            && self.lists.is_empty()
            && self.lists_removed.is_empty()
            && self.metas.is_empty()
            && self.names.is_empty()
            && self.completed.is_empty()
            && self.pinned.is_none()
            && self.presence.is_empty()
    }
}

/// Message between the tabs of one user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TabMessage {
    /// Heartbeat of the leader.
    #[serde(rename = "leading")]
    LeaderHeartbeat {
        /// Term of the leader.
        term: u64,
        /// Whether the leader has just started; followers then send their queries.
        new: bool,
    },
    /// All queries that a follower observes.
    #[serde(rename = "watching")]
    FollowerQueries {
        /// Follower that sends the message.
        tab: TabId,
        /// Observed queries of the follower.
        #[serde(rename = "watched")]
        queries: Vec<ObservedQuery>,
        /// Path of the entity that the visible page is about; empty if there is none.
        #[serde(default)]
        #[serde(rename = "looking")]
        viewing: String,
    },
    /// Request to fetch a query even if the cached data is fresh.
    Refetch {
        /// Query to fetch.
        query: Query,
    },
    /// Request to fetch the next page of a list.
    #[serde(rename = "more")]
    FetchMore {
        /// Key of the list.
        key: ListKey,
    },
    /// The user has resolved a conflict in a follower; only the leader may change outbox entries.
    ///
    /// The wire name is not `settle`: tabs of an earlier build would read it as
    /// [`Resolution::TakeTheirs`].
    #[serde(rename = "decide")]
    ResolveConflict {
        /// Outbox entry.
        entry: Uuid,
        /// Idempotency key of the entry when the user saw it.
        seen: Uuid,
        /// Choice of the user.
        choice: Resolution,
    },
    /// The user discards a write.
    Discard {
        /// Outbox entry.
        entry: Uuid,
    },
    /// The user turns a rejected write back into a draft.
    Reopen {
        /// Outbox entry.
        entry: Uuid,
    },
    /// The user pins an entity with its descendants on the device, or unpins it.
    #[serde(rename = "keep")]
    SetPinned {
        /// Root of the tree.
        entity: EntityRef,
        /// Whether to pin or to unpin.
        on: bool,
    },
    /// A tab is closing.
    #[serde(rename = "bye")]
    TabClosing {
        /// Closing tab.
        tab: TabId,
    },
    /// Changes from the leader.
    #[serde(rename = "news")]
    LeaderUpdate(Box<LeaderUpdate>),
}
