//! A network as a person wants it to try the app out: none, slow, or without a socket. Set from the devtools, for this tab alone; nothing is ever set by
//! the app itself.

use super::Client;
use pmo_sync::Event;
use std::cell::Cell;
use std::rc::Rc;

/// How long a slow answer is kept back, in milliseconds.
const SLOW_LATENCY_MS: u32 = 2_000;

/// What is tried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkConditions {
    /// Nothing gets through.
    pub offline: bool,
    /// Every answer takes two seconds longer.
    pub slow: bool,
    /// Sockets break, and none opens.
    pub no_socket: bool,
}

thread_local! {
    static CONDITIONS: Cell<NetworkConditions> = const { Cell::new(NetworkConditions { offline: false, slow: false, no_socket: false }) };
}

/// What is tried out now.
pub fn conditions() -> NetworkConditions {
    CONDITIONS.get()
}

/// Lets a request through, late where the network is slow; false: it does not get through.
pub async fn throttle() -> bool {
    if conditions().slow {
        gloo_timers::future::TimeoutFuture::new(SLOW_LATENCY_MS).await;
    }
    !conditions().offline
}

/// Whether a socket can be open.
pub fn sockets_allowed() -> bool {
    !conditions().offline && !conditions().no_socket
}

impl Client {
    /// Tries something out from now on.
    pub fn set_conditions(self: &Rc<Self>, wanted: NetworkConditions) {
        let before = CONDITIONS.replace(wanted);
        if !sockets_allowed() {
            self.socket.disconnect();
            self.dispatch(Event::SocketClosed(1006));
        }
        if before.offline != wanted.offline {
            self.dispatch(Event::Online(!wanted.offline));
        } else if before.no_socket && !wanted.no_socket {
            // Somebody looks at the page: it is tried again at once.
            self.dispatch(Event::VisibilityChanged(true));
        }
    }
}
