//! What goes into the engine and what comes out of it.

use crate::draft::Draft;
use crate::outbox::{OutboxEntry, Resolution};
use crate::query_key::{ListKey, Query};
use crate::store::{KeyValue, Namespace, PersistedState, StoreError, Write};
use crate::tab_protocol::{TabId, TabMessage};
use pmo_domain::api_types::Problem;
use pmo_domain::protocol::{ClientMessage, ServerMessage};
use pmo_domain::{EntityRef, PersonId, Row};
use serde_json::Value;
use uuid::Uuid;

/// Somebody on the page who looks at a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObserverId(pub u64);

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// HTTP methods that the engine uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Make.
    Post,
    /// Change.
    Patch,
    /// Delete.
    Delete,
}

/// A request to make, below `/api/v1`.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// JSON to send.
    pub body: Option<Value>,
    /// The version that the write was made on.
    pub if_match: Option<i64>,
    /// The write's key: a repeat gets the first answer.
    pub idempotency_key: Option<String>,
    /// The ETag of what is held: 304 where it is still so.
    pub if_none_match: Option<String>,
}

/// A batch of writes to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestError {
    /// Nothing came back, or no JSON did (a captive portal answers HTML with 200).
    Network,
    /// The server refused.
    Rejected(Box<Problem>),
}

/// What a request came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// What was held under the ETag of the request is still so.
    pub not_modified: bool,
    /// The JSON as it came; empty with 204 and 304.
    pub body: String,
    /// The `ETag` header.
    pub etag: Option<String>,
    /// The `Feed-Cursor` header.
    pub feed_cursor: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A person is here, with what their device has kept.
    Start {
        /// The person.
        person: PersonId,
        /// This tab.
        tab: TabId,
        /// From the device.
        stored: Box<PersistedState>,
        /// This tab leads, and its term.
        term: Option<u64>,
    },
    /// This tab leads from now on.
    LeadershipAcquired {
        /// What the device holds by now.
        stored: Box<PersistedState>,
        /// Its term.
        term: u64,
    },
    /// Another tab said something.
    TabMessageReceived(TabMessage),
    /// Another tab leads from now on.
    LeadershipLost,
    /// The term that the device holds, asked for by [`Effect::ConfirmLead`]: a later one than its own means that this tab leads no more.
    TermChecked(u64),
    /// Somebody begins to look.
    Observe(ObserverId, Query),
    /// Somebody stops.
    Unobserve(ObserverId),
    /// Fetch it, for somebody who will look soon.
    Prefetch(Query),
    /// Read all that the device holds, so that all of it can be found.
    LoadAll,
    /// Fetch it again, however fresh it is.
    Refetch(Query),
    /// The next page of a list.
    FetchMore(ListKey),
    /// Do not believe what is held of these: of them, what is looked at is asked for again. Which there are says [`crate::Engine::queries`].
    Invalidate(Vec<Query>),
    /// Believe nothing that is held: ask again for what is looked at.
    InvalidateAll,
    /// A request was answered.
    ResponseReceived(RequestId, Result<Response, RequestError>),
    /// A message came over the socket.
    SocketMessage(ServerMessage),
    /// The socket closed, with its code.
    SocketClosed(u16),
    /// Change columns of a thing.
    Update {
        /// The thing.
        entity: EntityRef,
        /// New values.
        patch: Row,
        /// Ids for the write: entry and idempotency key.
        ids: [Uuid; 2],
    },
    /// Make a thing; the values carry its id.
    Create {
        /// The thing.
        entity: EntityRef,
        /// Its values.
        values: Row,
        /// Ids for the write.
        ids: [Uuid; 2],
    },
    /// Delete a thing.
    Delete {
        /// The thing.
        entity: EntityRef,
        /// Ids for the write.
        ids: [Uuid; 2],
    },
    /// Hang a thing below another, where no column of it says so, or take it from there.
    Link {
        /// The thing above.
        parent: EntityRef,
        /// The thing.
        child: EntityRef,
        /// To hang there, or not to.
        below: bool,
        /// Ids for the write.
        ids: [Uuid; 2],
    },
    /// Keep a thing with all that hangs below it on the device, or no longer.
    SetPinned(EntityRef, bool),
    /// The batches from the one to the other are on disk, or will never be: they went as one transaction.
    Persisted(BatchId, BatchId, Result<(), StoreError>),
    /// What was asked for of the device: the names, and what was found under them.
    StoreRead(Namespace, Vec<String>, Vec<KeyValue>),
    /// The device's outbox is now this: another tab wrote to it.
    OutboxReloaded(Vec<OutboxEntry>),
    /// A person has decided of a write that needs them.
    ResolveConflict {
        /// The entry.
        entry: Uuid,
        /// The key that it had when the person looked: what has become another question since is not answered by this.
        seen: Uuid,
        /// What the person chose.
        choice: Resolution,
    },
    /// A refused write goes back into its draft.
    RevertToDraft(Uuid),
    /// Another tab has written drafts: those on the device, read at this time.
    DraftsReloaded {
        /// All of them.
        drafts: Vec<Draft>,
        /// Milliseconds since 1970.
        as_of: f64,
    },
    /// A refused or waiting entry is given up.
    Discard(Uuid),
    /// A field of a draft is set; begins the draft.
    DraftField {
        /// The thing.
        entity: EntityRef,
        /// The column.
        field: String,
        /// Its value.
        value: Value,
    },
    /// Take the last step of a draft back.
    DraftUndo(EntityRef),
    /// Make it again.
    DraftRedo(EntityRef),
    /// Give a draft up.
    DraftDiscard(EntityRef),
    /// Send a draft.
    DraftCommit {
        /// The thing.
        entity: EntityRef,
        /// Ids for the write.
        ids: [Uuid; 2],
    },
    /// The browser says that it is online or offline.
    Online(bool),
    /// The page is shown again, or hidden.
    VisibilityChanged(bool),
    /// A page about this thing is opened, or left.
    SetViewing(EntityRef, bool),
    /// A token could not be renewed because nobody answers.
    TokenRefreshFailed,
    /// A token was renewed.
    TokenRefreshed,
    /// The browser says that little room is left on the device.
    StorageLow,
    /// Nobody is signed in any more: forget everything of this person.
    SignedOut,
    /// Time has passed.
    Tick,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make this request and answer it.
    Fetch(RequestId, Request),
    /// Nobody waits for this request any more.
    Cancel(RequestId),
    /// Write to the device, in order, as one transaction, and say when it is complete.
    Persist(BatchId, Vec<Write>),
    /// The device did not keep what it was given.
    PersistFailed(StoreError),
    /// Read these of the device.
    Read(Namespace, Vec<String>),
    /// Open the socket; AUTH is its first message.
    Connect,
    /// Send over the socket.
    Send(ClientMessage),
    /// Close the socket.
    Disconnect,
    /// Those who look at this should look again.
    Changed(Query),
    /// Those who look at a draft should look again.
    DraftChanged(EntityRef),
    /// The sync mark, the outbox or the names have changed.
    StatusChanged,
    /// Renew the access token.
    RefreshToken,
    /// Ask to sign in, over the page, with everything kept.
    PromptSignIn,
    /// Read outbox and drafts from the device again: a tab that wrote there may have ended before it could say so.
    ReloadOutboxAndDrafts,
    /// Tell the other tabs this.
    Broadcast(TabMessage),
    /// Say whether this tab leads still: it may have been frozen while another took over.
    CheckTerm,
    /// Become the leader, even where another tab seems to be: it does not answer.
    StealLock,
    /// Tell the other tabs that the outbox on the device has changed.
    BroadcastOutboxChanged,
    /// Tell the other tabs that the drafts on the device have changed.
    BroadcastDraftsChanged,
}
