//! Server side of the change feed, as a sans-I/O state machine.
//!
//! It reads the change log, indexes subscriptions, authorizes each change for each receiver and
//! queues the frames. Events go in, effects come out. A decision that needs data from the database
//! first returns the lookups that it needs.
//!
//! Must not: wait, read a clock or use a socket.

mod acl_cache; // grants and ancestor sets in memory
mod fanout; // authorization and delivery of changes
mod log_reader; // read position in the change log
mod lookups; // requests to the database and their results
mod outbound_queue; // send queue of one connection
mod presence; // which users view which entity
mod requests; // client requests: subscribe, unsubscribe, catch up
mod session; // protocol state of one connection
mod state_machine; // events, effects and scheduling
mod subscription_index; // topics and their connections

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
