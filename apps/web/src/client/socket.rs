//! The WebSocket: AUTH is its first message, frames go to the engine, a close tells its code. The address is a setting of the page, not
//! of the build.

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

/// The tab's socket, if it has one.
#[derive(Default)]
pub struct Socket {
    outgoing: RefCell<Option<mpsc::UnboundedSender<ClientMessage>>>,
    /// Only the newest socket may speak.
    generation: Cell<u32>,
}

/// Where the socket is: what the page was told, else port 4001 of this host where the page comes from a development port, else `/ws`
/// of the same origin.
fn socket_url() -> Option<String> {
    let window = web_sys::window()?;
    let told = window.document()?.query_selector("meta[name=pmo-socket]").ok()??.get_attribute("content")?;
    if !told.is_empty() {
        return Some(told);
    }
    let location = window.location();
    if location.protocol().ok()? == "https:" {
        return Some(format!("wss://{}/ws", location.host().ok()?));
    }
    Some(format!("ws://{}:4001/ws", location.hostname().ok()?))
}

impl Socket {
    /// Opens a new socket in place of the present one.
    pub fn connect(&self, client: Rc<Client>) {
        self.disconnect();
        let generation = self.generation.get();
        let (sender, mut outgoing) = mpsc::unbounded::<ClientMessage>();
        let Some(token) = http::token() else {
            return spawn_local(async move { client.dispatch(Event::SocketClosed(CLOSE_UNAUTHORIZED)) });
        };
        let Some(Ok(socket)) = socket_url().filter(|_| sockets_allowed()).map(|a| WebSocket::open(&a)) else {
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
                        client.frames.note(true, &text);
                        if write.send(Message::Text(text)).await.is_err() {
                            break Some(1006);
                        }
                    }
                    frame = read.next() => match frame {
                        Some(Ok(Message::Text(text))) => {
                            if client.socket.generation.get() != generation {
                                break None;
                            }
                            client.frames.note(false, &text);
                            // A message of a later protocol is passed over.
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

    /// Sends a message, if a socket is open.
    pub fn send(&self, message: &ClientMessage) {
        if let Some(sender) = &*self.outgoing.borrow() {
            let _ = sender.unbounded_send(message.clone());
        }
    }

    /// Tells the server of a renewed token.
    pub fn send_token(&self) {
        if let Some(token) = http::token() {
            self.send(&ClientMessage::TokenRefresh { token });
        }
    }

    /// Closes the socket without a word to the engine.
    pub fn disconnect(&self) {
        self.generation.set(self.generation.get() + 1);
        *self.outgoing.borrow_mut() = None;
    }
}
