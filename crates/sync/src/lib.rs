//! The client engine: query cache, local store, outbox, drafts, socket session. Sans-I/O: events go in, effects come out; the same
//! code runs in the browser and natively under test. It must never touch the network, a database, a clock or the page.

pub mod cache; // rows once, lists of ids
pub mod draft; // edits that are not sent yet, with undo and redo
pub mod engine; // events in, effects out
pub mod event; // what goes in and what comes out
pub mod key; // what can be asked for
pub mod merge; // three versions of a row into one
pub mod outbox; // writes on their way
pub mod session; // the socket: connect, resume, back off
pub mod store; // what is kept on the device

pub use draft::Draft;
pub use engine::{Engine, ListView, RowView, Status};
pub use event::{Answer, Effect, Event, Failure, Method, ObserverId, Request, RequestId};
pub use key::{Below, ListKey, MetaKey, Query};
pub use outbox::{Entry, EntryState, Operation};
pub use store::{MemoryStore, Store, StoreError, StoreOp, Stored};

#[cfg(test)]
mod tests;
