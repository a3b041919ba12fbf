//! Components of the engine: each owns one part of the state and decides on it alone.
//!
//! A component receives what else it needs as parameters, and returns effects or small results.
//! [`crate::engine`] routes the events and combines the components.
//!
//! Must not: import the engine, or change the fields of another component.

mod connectivity; // network, server and access token
mod drafts; // unsent edits by entity
mod leadership; // role of this tab, and the other tabs
mod observers; // observed queries, their topics, and queries to notify
mod outbox; // writes that are not confirmed
mod persistence; // dirty data, chunks and batches of writes
mod pinned_trees; // trees that are available offline
mod presence; // other viewers of the viewed entities
mod realtime; // socket, subscriptions and position in the feed
mod reference; // catalog, reference data and names
mod requests; // requests in flight, retries and their order

pub(crate) use connectivity::Connectivity;
pub(crate) use drafts::Drafts;
pub(crate) use leadership::{HeartbeatOutcome, Leadership, REMOTE_OBSERVER_BASE};
pub(crate) use observers::Observers;
pub(crate) use outbox::{Outbox, Resolved, Update};
pub(crate) use persistence::Persistence;
pub(crate) use pinned_trees::{PinnedTrees, tree_query};
pub(crate) use presence::{Presence, PresenceByPath, named_viewers};
pub(crate) use realtime::{FeedPosition, Realtime};
pub(crate) use reference::{ReferenceCache, ReferenceData};
pub(crate) use requests::{PendingPage, PendingRequest, Requests};
