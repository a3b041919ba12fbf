//! Events that the WebSocket and the other tabs report to the client.

use pmo_sync::Event;

/// Event of a connection, for the client.
pub(super) enum ConnectionEvent {
    /// Event for the engine.
    Engine(Event),
    /// This tab has acquired the leader lock.
    LockAcquired,
    /// Another tab has changed the persisted outbox.
    OutboxChanged,
    /// Another tab has changed the persisted drafts.
    DraftsChanged,
    /// The user has signed in again in another tab, after the session had expired.
    SignedIn,
    /// The user has signed out in another tab.
    SignedOut,
}

/// Handler of connection events; the client passes it when it opens a connection.
pub(super) type OnConnectionEvent = fn(ConnectionEvent);
