//! The server side of the change feed, sans-I/O: what has been read of the log, who watches what, who may see it, and who is told. Events come
//! in, effects go out; nothing here may wait, read a clock or touch a socket. What can't be decided yet says what must be known.

mod acl_cache; // what people hold, and where things are
mod fanout; // who is told of a change, of a thing or of access
mod log_reader; // the cursor: what has been read of the log
mod lookups; // what must be known of the database
mod outbound_queue; // what waits for one socket
mod presence; // who looks at what
mod requests; // what clients ask for: watching, catching up
mod session; // the manners of one socket
mod state_machine; // events in, effects out: the machine of one pod
mod subscription_index; // who watches what

pub use acl_cache::{AclCache, AffectedPeople};
pub use log_reader::{LogRange, LogReader};
pub use lookups::{
    CatchUpBatch, CatchUpRequest, DatabaseRequest, DatabaseResponse, LogBatch, LookupRequest, LookupResult,
};
pub use outbound_queue::{Frame, InvalidateFrame, MAX_CHANGES_PER_FRAME, OutboundQueue, Outgoing};
pub use presence::PodPresence;
pub use session::{AuthFailure, IncomingFrame, MAX_FRAME_BYTES, Session, SessionAction};
pub use state_machine::{ChangeFeed, DeliveredRow, Effect, Event, Lane, Limits, SubscriptionChange};
pub use subscription_index::{ConnectionId, SubscriptionIndex, Topic};

#[cfg(test)]
mod tests;
