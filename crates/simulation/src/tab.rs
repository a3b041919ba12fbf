//! State of devices and their tabs.

use pmo_device_plan::DevicePlan;
use pmo_domain::PersonId;
use pmo_feed::ConnectionId;
use pmo_sync::store::{self, KeySelector, PersistedState};
use pmo_sync::{BatchId, Engine, Event, MemoryStore, Namespace, ObserverId, Query, RequestId, TabId, Write};
use std::collections::VecDeque;

/// Reference to one incarnation of a tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TabRef {
    /// Index of the device.
    pub device: usize,
    /// Index of the tab on the device.
    pub tab: usize,
    pub(crate) incarnation: u32,
}

/// Way in which a tab ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TabEnding {
    /// The tab notifies the other tabs first.
    Closed,
    /// The tab ends without notice.
    Crashed,
}

/// Operation of a tab on its device store; a tab runs its operations in order.
pub(crate) enum StoreOp {
    /// Writes of a batch and the leader term in which they were issued.
    Write(BatchId, Option<u64>, Vec<Write>),
    Read(Namespace, Vec<String>),
    AcquireLeadership,
    /// Makes the other tabs reload `outbox` or `drafts`.
    Notify(&'static str),
    ReadOutbox,
    ReadDrafts,
}

pub(crate) struct Tab {
    pub(crate) engine: Engine,
    pub(crate) id: TabId,
    pub(crate) alive: bool,
    pub(crate) frozen: bool,
    pub(crate) incarnation: u32,
    /// Events that arrived while the tab was frozen.
    pub(crate) deferred: Vec<Event>,
    pub(crate) store_ops: VecDeque<StoreOp>,
    /// Whether a store operation is scheduled.
    pub(crate) store_busy: bool,
    pub(crate) socket: Option<ConnectionId>,
    /// Term of the tab's last leadership.
    pub(crate) term: u64,
    pub(crate) in_flight: Vec<RequestId>,
    pub(crate) next_observer: u64,
    pub(crate) observers: Vec<ObserverId>,
    /// Plan that the tab computes, with the queries that it observes for it.
    pub(crate) plan: Option<(DevicePlan, Vec<Query>)>,
    /// Whether a computation is scheduled.
    pub(crate) plan_due: bool,
}

pub(crate) struct Device {
    pub(crate) person: PersonId,
    pub(crate) store: MemoryStore,
    pub(crate) tabs: Vec<Tab>,
    /// Tab that holds the leader lock.
    pub(crate) lock_holder: Option<usize>,
    /// Tabs that wait for the leader lock.
    pub(crate) lock_queue: VecDeque<usize>,
    /// Term of the current or last leadership.
    pub(crate) term: u64,
    pub(crate) online: bool,
    /// Error of the device clock, in milliseconds.
    pub(crate) skew: f64,
    pub(crate) next_incarnation: u32,
}

/// Returns the state that an engine reads from the device store at start.
pub(crate) fn hydrate_from(store: &MemoryStore) -> PersistedState {
    PersistedState {
        log: store.read_now(Namespace::Entities, KeySelector::Prefix(store::ROW_PREFIX)),
        chunks: store
            .read_now(Namespace::Entities, KeySelector::Prefix(store::CHUNK_PREFIX))
            .into_iter()
            .map(|(name, _)| name)
            .collect(),
        lists: store.read_now(Namespace::Lists, KeySelector::All),
        metadata: store.read_now(Namespace::Metadata, KeySelector::All),
        drafts: read_all(store, Namespace::Drafts),
        outbox: read_all(store, Namespace::Outbox),
    }
}

fn read_all<T: for<'a> serde::Deserialize<'a>>(store: &MemoryStore, namespace: Namespace) -> Vec<T> {
    store
        .read_now(namespace, KeySelector::All)
        .iter()
        .filter_map(|(_, bytes)| serde_json::from_slice(bytes).ok())
        .collect()
}
