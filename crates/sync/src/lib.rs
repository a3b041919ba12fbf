//! The client engine: query cache, local store, outbox, drafts, socket session. Sans-I/O: events go in, effects come out; the same
//! code runs in the browser and natively under test. It must never touch the network, a database, a clock or the page.

pub mod cache; // rows once, lists of places
pub mod chunk_codec; // how rows lie on the device
pub mod collections; // whose order can be repeated
pub mod draft; // edits that are not sent yet, with undo and redo
pub mod engine; // events in, effects out
pub mod event; // what goes in and what comes out
pub mod line_merge;
pub mod merge; // three versions of a row into one
pub mod outbox; // writes on their way
pub mod query_key; // what can be asked for
pub mod raw_row; // rows as the texts that the server sent
pub mod reconnect; // the socket: connect, resume, back off
pub mod settings; // times and sizes
pub mod store; // what is kept on the device
pub mod tab_protocol; // what tabs tell each other // texts compared and merged by line

pub use draft::Draft;
pub use engine::{CachedRowView, Engine, ListView, PinnedTreeStatus, RowView, SearchHit, Status, TextTable};
pub use event::{BatchId, Effect, Event, Method, ObserverId, Request, RequestError, RequestId, Response};
pub use outbox::{EntryState, Operation, OutboxEntry, Resolution};
pub use query_key::{ListKey, ParentFilter, Query, ReferenceDataKey, Topic, percent_encode};
pub use settings::EngineConfig;
pub use store::{MemoryStore, Namespace, PersistedState, Store, StoreError, Write};
pub use tab_protocol::{TabId, TabMessage};

#[cfg(test)]
mod tests;
