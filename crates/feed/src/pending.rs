//! Requests of clients that wait for lookups, and the replies that conclude them.

use crate::topic::ConnectionId;
use pmo_domain::change_log::CatchUpBatch;
use pmo_domain::protocol::{ServerMessage, SubscribeRequest};
use pmo_domain::{EntityCode, EntityRef, PersonId};
use std::collections::BTreeSet;

/// Request that waits for lookups.
pub(crate) enum PendingRequest {
    /// A new connection waits for HELLO.
    Handshake(ConnectionId),
    /// A client subscribes.
    Subscribe(ConnectionId, SubscribeRequest),
    /// A client views these entities.
    SetPresence(ConnectionId, Vec<EntityRef>),
    /// The changes that a client missed have been read.
    CatchUpReady(ConnectionId, CatchUpBatch, CatchUpContinuation),
    /// Grants of these users have expired.
    GrantsExpired(BTreeSet<PersonId>),
}

impl PendingRequest {
    /// Returns the connection of the request, if it has one.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::Handshake(id) | Self::Subscribe(id, _) | Self::SetPresence(id, _) | Self::CatchUpReady(id, ..) => {
                Some(*id)
            }
            Self::GrantsExpired(_) => None,
        }
    }
}

/// Reply that concludes a catch-up.
#[derive(Clone, Debug)]
pub(crate) enum CatchUpContinuation {
    /// RESUMED, after RESUME.
    Resumed,
    /// This SUBSCRIBED message, after SUBSCRIBE with a cursor. Only changes of this type are sent.
    Subscribed(ServerMessage, EntityCode),
}

/// Whether a client received all changes that it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// The client received all changes.
    Complete,
    /// Changes are missing: the client must read all its data again.
    Impossible,
}
