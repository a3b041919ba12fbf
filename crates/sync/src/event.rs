//! Input and output of the engine: events and effects.

use crate::draft::Draft;
use crate::outbox::{OutboxEntry, Resolution, WriteIds};
use crate::query_key::{ListKey, Query};
use crate::request::{Request, RequestError, RequestId, Response};
use crate::store::{KeyValue, Namespace, PersistedState, StoreError, Write};
use crate::tab_protocol::{TabId, TabMessage};
use pmo_domain::protocol::{ClientMessage, ServerMessage};
use pmo_domain::{EntityCode, EntityRef, PersonId, Row, UnixMillis};
use serde_json::Value;
use uuid::Uuid;

/// Identifies one observer of a query, such as a mounted component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObserverId(pub u64);

/// Identifies a batch of writes to the device; ids are consecutive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// Input of the engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A user is signed in; starts the engine with the state persisted on the device.
    Start {
        /// Signed-in user.
        person: PersonId,
        /// Id of this tab.
        tab: TabId,
        /// State read from the device.
        stored: Box<PersistedState>,
        /// Term of this tab if it is the leader; `None` for a follower.
        term: Option<u64>,
    },
    /// This tab has become the leader.
    LeadershipAcquired {
        /// Current state of the device.
        stored: Box<PersistedState>,
        /// Term of this tab.
        term: u64,
    },
    /// Another tab sent a message.
    TabMessageReceived(TabMessage),
    /// Another tab has become the leader.
    LeadershipLost,
    /// Response to [`Effect::CheckTerm`]: the term stored on the device.
    ///
    /// A term later than that of this tab means that another tab has become the leader.
    TermChecked(u64),
    /// An observer of a query was added; replaces the query that the observer had before.
    Observe(ObserverId, Query),
    /// An observer was removed.
    Unobserve(ObserverId),
    /// Fetches a query that is likely to be observed soon.
    Prefetch(Query),
    /// Reads all rows of the device into memory so that local search covers them.
    LoadAll,
    /// Fetches a query even if the cached data is fresh.
    Refetch(Query),
    /// Fetches the next page of a list.
    FetchMore(ListKey),
    /// Marks queries as stale and refetches the observed ones.
    ///
    /// [`crate::Engine::queries`] lists the queries in the cache.
    Invalidate(Vec<Query>),
    /// Revalidates all cached data; rows that the server no longer returns are removed.
    InvalidateAll,
    /// A request has completed.
    ResponseReceived(RequestId, Result<Response, RequestError>),
    /// A message was received over the socket.
    SocketMessage(ServerMessage),
    /// The socket was closed with this close code.
    SocketClosed(u16),
    /// Changes columns of an entity.
    Update {
        /// Entity to change.
        entity: EntityRef,
        /// New values by column.
        patch: Row,
        /// Ids of the write.
        ids: WriteIds,
    },
    /// Creates an entity with an id that the client has chosen.
    Create {
        /// Entity to create.
        entity: EntityRef,
        /// Initial values by column; the engine adds the id.
        values: Row,
        /// Ids of the write.
        ids: WriteIds,
    },
    /// Deletes an entity.
    Delete {
        /// Entity to delete.
        entity: EntityRef,
        /// Ids of the write.
        ids: WriteIds,
    },
    /// Adds or removes a free link between two entities: a link that no column stands for.
    Link {
        /// Parent of the link.
        parent: EntityRef,
        /// Child of the link.
        child: EntityRef,
        /// Whether to link or to unlink.
        linked: bool,
        /// Ids of the write.
        ids: WriteIds,
    },
    /// Shows values that were computed on this device over columns of rows.
    ///
    /// They are never sent or stored, and end when the server returns the same values.
    SetDerived {
        /// Entity type of the rows.
        code: EntityCode,
        /// Derived columns by id; `None` ends those of the row.
        rows: Vec<(Uuid, Option<Row>)>,
    },
    /// Pins an entity and its descendants on the device.
    Pin(EntityRef),
    /// Unpins an entity.
    Unpin(EntityRef),
    /// Outcome of the batches from the first to the last id, which were one transaction.
    ///
    /// After an error, none of these batches is on disk.
    Persisted(BatchId, BatchId, Result<(), StoreError>),
    /// Result of [`Effect::Read`]: the requested keys and the values that were found.
    StoreRead(Namespace, Vec<String>, Vec<KeyValue>),
    /// Current outbox of the device, read again after another tab changed it.
    OutboxReloaded(Vec<OutboxEntry>),
    /// The user has resolved a conflict or a rejected write.
    ResolveConflict {
        /// Outbox entry.
        entry: Uuid,
        /// Idempotency key of the entry when the user saw it.
        ///
        /// If the entry has another key by now, its conflict may be another one: the choice is
        /// ignored.
        seen: Uuid,
        /// Choice of the user.
        choice: Resolution,
    },
    /// Turns a rejected update back into a draft of its entity.
    RevertToDraft(Uuid),
    /// Current drafts of the device, read again after another tab changed them.
    DraftsReloaded {
        /// All drafts of the device.
        drafts: Vec<Draft>,
        /// Time of reading.
        as_of: UnixMillis,
    },
    /// Discards an outbox entry and the entries that depend on it.
    ///
    /// Has no effect while one of them is in flight.
    Discard(Uuid),
    /// Sets a field of a draft; creates the draft if there is none.
    DraftField {
        /// Entity of the draft.
        entity: EntityRef,
        /// Column to set.
        field: String,
        /// New value.
        value: Value,
    },
    /// Undoes the last step of a draft.
    DraftUndo(EntityRef),
    /// Redoes the last undone step of a draft.
    DraftRedo(EntityRef),
    /// Discards a draft.
    DraftDiscard(EntityRef),
    /// Turns a draft into a write.
    DraftCommit {
        /// Entity of the draft.
        entity: EntityRef,
        /// Ids of the write.
        ids: WriteIds,
    },
    /// The browser reports that it is online (`true`) or offline (`false`).
    Online(bool),
    /// The page has become visible (`true`) or hidden (`false`).
    VisibilityChanged(bool),
    /// A page about this entity was opened.
    PageOpened(EntityRef),
    /// A page about this entity was closed.
    PageClosed(EntityRef),
    /// The access token could not be refreshed because the server is unreachable.
    TokenRefreshFailed,
    /// The access token was refreshed.
    TokenRefreshed,
    /// The browser reports that little storage is left.
    StorageLow,
    /// The user has signed out: all of their data is removed from memory and from the device.
    SignedOut,
    /// Time has passed; runs everything that is due.
    Tick,
}

/// Output of the engine: an action for its host.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send this request; the host returns the outcome as [`Event::ResponseReceived`].
    Fetch(RequestId, Request),
    /// Abort this request: its response has no consumer left.
    Cancel(RequestId),
    /// Write to the device, in order and as one transaction.
    ///
    /// The host returns the outcome as [`Event::Persisted`].
    Persist(BatchId, Vec<Write>),
    /// A batch could not be written to the device; for display.
    PersistFailed(StoreError),
    /// Read these keys from the device; the host returns them as [`Event::StoreRead`].
    Read(Namespace, Vec<String>),
    /// Open the socket; its first message must be AUTH.
    Connect,
    /// Send this message over the socket.
    Send(ClientMessage),
    /// Close the socket.
    Disconnect,
    /// The data of this query has changed: its observers should read it again.
    Changed(Query),
    /// The draft of this entity has changed: its observers should read it again.
    DraftChanged(EntityRef),
    /// The sync status, the outbox or the reference names have changed.
    StatusChanged,
    /// Refresh the access token.
    RefreshToken,
    /// Ask the user to sign in on top of the current page, without losing any state.
    PromptSignIn,
    /// Read outbox and drafts from the device again.
    ///
    /// A tab may have closed after it wrote them and before it notified the others.
    ReloadOutboxAndDrafts,
    /// Send this message to the other tabs.
    Broadcast(TabMessage),
    /// Read the current term from the device and return it as [`Event::TermChecked`].
    ///
    /// This tab may have been frozen while another tab took over the leadership.
    CheckTerm,
    /// Take over the leadership from a tab that still holds it but does not respond.
    StealLock,
    /// Notify the other tabs that the outbox on the device has changed.
    BroadcastOutboxChanged,
    /// Notify the other tabs that the drafts on the device have changed.
    BroadcastDraftsChanged,
}
