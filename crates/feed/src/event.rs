//! Events that the feed processes, and effects that its caller carries out.

use crate::lookups::{CatchUpRequest, DatabaseRequest, DatabaseResponse};
use crate::outbound_queue::Frame;
use crate::topic::ConnectionId;
use pmo_domain::protocol::{ClientMessage, PresentUser};
use pmo_domain::{EntityCode, EntityRef, PersonId};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Event that the state machine processes.
#[derive(Clone, Debug)]
pub enum Event {
    /// A user has authenticated on a new connection.
    Connected(ConnectionId, PersonId),
    /// A client has sent a message.
    MessageReceived(ConnectionId, ClientMessage),
    /// Display name of a user; arrives before the connection.
    PersonNamed(PersonId, Arc<str>),
    /// Another pod has published the viewers of an entity.
    RemotePresence(PodPresence),
    /// A connection has closed.
    Disconnected(ConnectionId),
    /// `NOTIFY` received: the change log may have new rows.
    LogNotified,
    /// The database has returned a response.
    DatabaseReplied(DatabaseResponse),
    /// A request to the database has failed.
    DatabaseFailed(Lane),
    /// The deadline has passed.
    Tick,
    /// The pod shuts down.
    ShuttingDown,
}

/// Lane of a failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Ordered lane: polls and lookups.
    Ordered,
    /// Concurrent lane: the catch-up of a client.
    CatchUp(CatchUpRequest),
}

/// Effect that the caller must carry out.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Query the database and report [`Event::DatabaseReplied`] or [`Event::DatabaseFailed`].
    QueryDatabase(DatabaseRequest),
    /// Queue a frame for these connections.
    Send(Arc<[ConnectionId]>, Frame),
    /// Close these connections after their queued frames have been sent.
    Close(Arc<[ConnectionId]>, u16, &'static str),
    /// Record a change of the subscriptions.
    Mirror(SubscriptionChange),
    /// Publish the viewers of an entity on this pod to the other pods.
    PublishPresence(EntityRef, Vec<PresentUser>),
    /// These rows have been delivered.
    Delivered(Vec<DeliveredRow>),
}

/// Delivered row of the change log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveredRow {
    /// Transaction id of the row.
    pub xid: i64,
    /// Sequence number of the row.
    pub seq: i64,
    /// Time from the start of the transaction to delivery.
    pub latency: Duration,
}

/// Change of the subscriptions, for the subscription mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionChange {
    /// A connection was opened.
    Opened(ConnectionId, PersonId),
    /// A connection subscribed to entities of a type; `EVERY_INSTANCE` stands for all of them.
    Subscribed(ConnectionId, EntityCode, Vec<Uuid>),
    /// A connection unsubscribed from these entities.
    ///
    /// Without ids: from all entities of the type. Without a type: from everything.
    Unsubscribed(ConnectionId, Option<EntityCode>, Option<Vec<Uuid>>),
    /// A connection was closed.
    Closed(ConnectionId),
}

/// Viewers of one entity on one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPresence {
    /// Id of the pod.
    pub pod: Uuid,
    /// Viewed entity.
    pub entity: EntityRef,
    /// Viewers, each user once; empty if the last viewer has left.
    pub people: Vec<PresentUser>,
}
