//! The client engine: query cache, local store, outbox, drafts, socket session. Sans-I/O: events go in, effects come out; the same
//! code runs in the browser and natively under test. It must never touch the network, a database, a clock or the page.

pub mod cache; // rows once, lists of places
pub mod draft; // edits that are not sent yet, with undo and redo
pub mod engine; // events in, effects out
pub mod event; // what goes in and what comes out
pub mod key; // what can be asked for
pub mod maps; // whose order can be repeated
pub mod merge; // three versions of a row into one
pub mod outbox; // writes on their way
pub mod pack; // how rows lie on the device
pub mod raw; // rows as the texts that the server sent
pub mod session; // the socket: connect, resume, back off
pub mod settings; // times and sizes
pub mod store; // what is kept on the device
pub mod tab; // what tabs tell each other
pub mod text; // texts compared and merged by line

pub use draft::Draft;
pub use engine::{Engine, Found, HeldRow, KeptTree, ListView, RowView, Status, Table};
pub use event::{Answer, BatchId, Effect, Event, Failure, Method, ObserverId, Request, RequestId};
pub use key::{Below, ListKey, MetaKey, Query, Topic, encoded};
pub use outbox::{Choice, Entry, EntryState, Operation};
pub use settings::Settings;
pub use store::{Area, MemoryStore, Store, StoreError, Stored, Write};
pub use tab::{TabId, TabMessage};

#[cfg(test)]
mod tests;
