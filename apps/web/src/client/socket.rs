//! The WebSocket connection of a tab.
//!
//! Sends `AUTH` first, passes frames to the engine and reports the close code. The URL comes from
//! the page, not from the build.

use super::connection_event::{ConnectionEvent, OnConnectionEvent};
use super::frame_log::FrameLog;
use super::http;
use super::network_throttle::sockets_allowed;
use futures_channel::mpsc;
use futures_util::{SinkExt, StreamExt, select};
use gloo_net::websocket::{Message, WebSocketError, futures::WebSocket};
use pmo_domain::protocol::{CLOSE_UNAUTHORIZED, ClientMessage, ServerMessage};
use pmo_sync::Event;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen_futures::spawn_local;

/// The WebSocket of this tab; closed by default.
#[derive(Default)]
pub(crate) struct Socket {
    outgoing: RefCell<Option<mpsc::UnboundedSender<ClientMessage>>>,
    /// Incremented on each connect and disconnect; events of an older connection are ignored.
    generation: Rc<Cell<u32>>,
    /// The most recent frames, for the devtools.
    pub(super) frames: Rc<FrameLog>,
}

/// Returns the URL of the WebSocket endpoint.
///
/// The `pmo-socket` meta element of the page has precedence. Otherwise the endpoint is `/ws` of the
/// same origin for HTTPS, and port 4001 of the same host for HTTP (development).
fn socket_url() -> Option<String> {
    let window = web_sys::window()?;
    let configured = window.document()?.query_selector("meta[name=pmo-socket]").ok()??.get_attribute("content")?;
    if !configured.is_empty() {
        return Some(configured);
    }
    let location = window.location();
    if location.protocol().ok()? == "https:" {
        return Some(format!("wss://{}/ws", location.host().ok()?));
    }
    Some(format!("ws://{}:4001/ws", location.hostname().ok()?))
}

impl Socket {
    /// Closes the current connection, if any, and opens a new one.
    ///
    /// Reports received messages to `on_event`, and a failure as a closed socket.
    pub(crate) fn connect(&self, on_event: OnConnectionEvent) {
        self.disconnect();
        let (generation, current, frames) = (self.generation.get(), self.generation.clone(), self.frames.clone());
        let report = move |event| on_event(ConnectionEvent::Engine(event));
        let (sender, mut outgoing) = mpsc::unbounded::<ClientMessage>();
        let Some(token) = http::token() else {
            return spawn_local(async move { report(Event::SocketClosed(CLOSE_UNAUTHORIZED)) });
        };
        let Some(Ok(socket)) = socket_url().filter(|_| sockets_allowed()).map(|url| WebSocket::open(&url)) else {
            return spawn_local(async move { report(Event::SocketClosed(1006)) });
        };
        let _ = sender.unbounded_send(ClientMessage::Auth { token });
        *self.outgoing.borrow_mut() = Some(sender);
        spawn_local(async move {
            let (mut write, read) = socket.split();
            let mut read = read.fuse();
            let code = loop {
                select! {
                    message = outgoing.next() => {
                        let Some(message) = message else { break None };
                        let Ok(text) = serde_json::to_string(&message) else { continue };
                        frames.record(true, &text);
                        if write.send(Message::Text(text)).await.is_err() {
                            break Some(1006);
                        }
                    }
                    frame = read.next() => match frame {
                        Some(Ok(Message::Text(text))) => {
                            if current.get() != generation {
                                break None;
                            }
                            frames.record(false, &text);
                            // Messages of a newer protocol version are ignored.
                            if let Some(message) = ServerMessage::parse(&text) {
                                report(Event::SocketMessage(message));
                            }
                        }
                        Some(Ok(Message::Bytes(_))) => {}
                        Some(Err(WebSocketError::ConnectionClose(close))) => break Some(close.code),
                        Some(Err(_)) => break Some(1006),
                        None => break Some(1005),
                    },
                }
            };
            if let Some(code) = code
                && current.get() == generation
            {
                report(Event::SocketClosed(code));
            }
        });
    }

    /// Sends a message if the socket is open, and drops it otherwise.
    pub(crate) fn send(&self, message: &ClientMessage) {
        if let Some(sender) = &*self.outgoing.borrow() {
            let _ = sender.unbounded_send(message.clone());
        }
    }

    /// Sends the refreshed access token to the server.
    pub(crate) fn send_token(&self) {
        if let Some(token) = http::token() {
            self.send(&ClientMessage::TokenRefresh { token });
        }
    }

    /// Closes the socket without notifying the engine.
    pub(crate) fn disconnect(&self) {
        self.generation.set(self.generation.get() + 1);
        *self.outgoing.borrow_mut() = None;
    }
}
