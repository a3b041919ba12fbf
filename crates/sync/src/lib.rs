//! Client sync engine: query cache, local store, outbox, drafts and socket session.
//!
//! Sans-I/O: events go in, effects come out. The same code runs in the browser and natively in
//! tests.
//!
//! Must not: access the network, a database, a clock or the page.

pub mod cache; // rows and ordered lists in memory
mod cache_records; // serialized forms of the cache on the device
pub mod chunk_codec; // binary format of packed rows
pub mod collections; // maps with a reproducible iteration order
mod components; // owned parts of the state of the engine
pub mod draft; // unsent edits with undo and redo
pub mod engine; // state machine: events in, effects out
pub mod event; // events, effects, requests and responses
pub mod line_merge; // line diff and three-way merge of texts
mod list_page; // list responses of the server
pub mod merge; // three-way merge of rows
pub mod outbox; // writes not confirmed by the server yet
pub mod query_key; // keys of rows, lists and reference data
pub mod raw_row; // rows stored as the server's JSON text
pub mod reconnect; // connect, back off and heartbeat of the socket
mod request; // requests and responses, as plain data
pub mod settings; // timeouts, intervals and limits
pub mod store; // contract of the device's key-value store
pub mod tab_protocol; // messages between the tabs of one user
mod views; // what components and devtools read

pub use draft::Draft;
pub use engine::{Engine, SearchHit, TextTable};
pub use event::{BatchId, Effect, Event, ObserverId};
pub use outbox::{EntryState, Operation, OutboxEntry, Resolution, WriteIds};
pub use query_key::{ListKey, ParentFilter, Query, ReferenceDataKey, SortDirection, SortKey, Topic, percent_encode};
pub use request::{Method, Request, RequestError, RequestId, Response};
pub use settings::EngineConfig;
pub use store::{MemoryStore, Namespace, PersistedState, Store, StoreError, Write};
pub use tab_protocol::{TabId, TabMessage};
pub use views::{CachedRowView, ListView, PinnedTreeStatus, RowView, SourceRow, Status};

#[cfg(test)]
mod tests;
