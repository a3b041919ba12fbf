//! Network throttling for tests by hand: offline, slow, or without a WebSocket.
//!
//! Set in the devtools, for this tab only.
//!
//! Must not: be changed by the app itself, only by the user.

use std::cell::Cell;

/// Added latency of each request while the network is slow, in milliseconds.
const SLOW_LATENCY_MS: u32 = 2_000;

/// Simulated network conditions; the default is no throttling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkConditions {
    /// Requests fail and no WebSocket is open.
    pub offline: bool,
    /// Requests are delayed by two seconds.
    pub slow: bool,
    /// The WebSocket is closed and cannot be opened.
    pub no_socket: bool,
}

thread_local! {
    static CONDITIONS: Cell<NetworkConditions> = const { Cell::new(NetworkConditions { offline: false, slow: false, no_socket: false }) };
}

/// Returns the simulated conditions of this tab.
pub fn conditions() -> NetworkConditions {
    CONDITIONS.get()
}

/// Delays a request while the network is slow, and returns whether it may be sent.
pub async fn throttle() -> bool {
    if conditions().slow {
        gloo_timers::future::TimeoutFuture::new(SLOW_LATENCY_MS).await;
    }
    !conditions().offline
}

/// Returns whether a WebSocket may be open.
pub fn sockets_allowed() -> bool {
    !conditions().offline && !conditions().no_socket
}

/// Sets the simulated conditions and returns the previous ones; open connections remain.
pub(super) fn replace_conditions(conditions: NetworkConditions) -> NetworkConditions {
    CONDITIONS.replace(conditions)
}
