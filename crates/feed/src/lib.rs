//! Server side of the change feed, as a sans-I/O state machine.
//!
//! It reads the change log, indexes subscriptions, authorizes each change for each receiver and
//! queues the frames. Events go in, effects come out. A decision that needs data from the database
//! first returns the lookups that it needs.
//!
//! Must not: wait, read a clock or use a socket.

mod acl_cache; // grants and ancestor sets in memory
mod change_feed; // state of the feed of one pod
mod event; // events and effects
mod fanout; // authorization and delivery of changes
mod log_reader; // read position in the change log
mod lookups; // requests to the database and their results
mod outbound_queue; // send queue of one connection
mod pending; // requests that wait for lookups
mod presence; // which users view which entity
mod requests; // client requests: subscribe, unsubscribe, catch up
mod session; // protocol state of one connection
mod state_machine; // processing of events and scheduling
mod subscription_index; // subscriptions by topic and by connection
mod topic; // connections and topics
mod viewers; // delivery of presence

pub use acl_cache::{AclCache, AffectedPeople};
pub use change_feed::{ChangeFeed, Limits};
pub use event::{DeliveredRow, Effect, Event, Lane, PodPresence, SubscriptionChange};
pub use log_reader::LogReader;
pub use lookups::{CatchUpRequest, DatabaseRequest, DatabaseResponse, LookupRequest, LookupResult};
pub use outbound_queue::{Frame, InvalidateFrame, MAX_CHANGES_PER_FRAME, OutboundQueue, Outgoing};
pub use session::{AuthFailure, IncomingFrame, MAX_FRAME_BYTES, Session, SessionAction};
pub use subscription_index::SubscriptionIndex;
pub use topic::{ConnectionId, EntityAccess, Topic};

#[cfg(test)]
mod tests;
