//! The WebSocket connection of a tab.
//!
//! Sends `AUTH` first, passes frames to the engine and reports the close code. The URL comes from
//! the page, not from the build.

use super::network_throttle::sockets_allowed;
use super::{Client, http};
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
    generation: Cell<u32>,
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
    /// Reports a failure to the engine as a closed socket.
    pub(crate) fn connect(&self, client: Rc<Client>) {
        self.disconnect();
        let generation = self.generation.get();
        let (sender, mut outgoing) = mpsc::unbounded::<ClientMessage>();
        let Some(token) = http::token() else {
            return spawn_local(async move { client.dispatch(Event::SocketClosed(CLOSE_UNAUTHORIZED)) });
        };
        let Some(Ok(socket)) = socket_url().filter(|_| sockets_allowed()).map(|url| WebSocket::open(&url)) else {
            return spawn_local(async move { client.dispatch(Event::SocketClosed(1006)) });
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
                        client.frames.record(true, &text);
                        if write.send(Message::Text(text)).await.is_err() {
                            break Some(1006);
                        }
                    }
                    frame = read.next() => match frame {
                        Some(Ok(Message::Text(text))) => {
                            if client.socket.generation.get() != generation {
                                break None;
                            }
                            client.frames.record(false, &text);
                            // Messages of a newer protocol version are ignored.
                            if let Some(message) = ServerMessage::parse(&text) {
                                client.dispatch(Event::SocketMessage(message));
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
                && client.socket.generation.get() == generation
            {
                client.dispatch(Event::SocketClosed(code));
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
