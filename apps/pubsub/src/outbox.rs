//! What waits for one socket, bounded by bytes. It must never wait itself: a socket that reads too slowly is told to come back and resume.

use crate::vitals::Vitals;
use pmo_domain::socket::ServerMessage;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// Most bytes that wait for a slow socket.
pub const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// What a socket is told to do.
pub enum Outgoing {
    /// Send this frame.
    Frame(Arc<str>),
    /// Close with this code.
    Close(u16, &'static str),
}

/// A socket's queue, bounded by bytes.
#[derive(Clone)]
pub struct Outbox {
    sender: mpsc::UnboundedSender<Outgoing>,
    waiting: Arc<AtomicUsize>,
    vitals: Arc<Vitals>,
}

impl Outbox {
    /// A queue and its reading end.
    pub fn new(vitals: Arc<Vitals>) -> (Self, mpsc::UnboundedReceiver<Outgoing>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender, waiting: Arc::default(), vitals }, receiver)
    }

    /// Queues a message; a socket that reads too slowly is told to come back and resume.
    pub fn send(&self, message: &ServerMessage) {
        let Ok(text) = serde_json::to_string(message) else { return };
        let bytes = text.len();
        if self.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes > QUEUE_BYTES {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.vitals.dropped.fetch_add(1, Ordering::Relaxed);
            let _ =
                self.sender.send(Outgoing::Close(pmo_domain::socket::CLOSE_RESUME, "too slow: reconnect and resume"));
        } else {
            self.vitals.queued.fetch_add(bytes, Ordering::Relaxed);
            self.vitals.frames.fetch_add(1, Ordering::Relaxed);
            let _ = self.sender.send(Outgoing::Frame(text.into()));
        }
    }

    /// A frame has left.
    pub fn sent(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        self.vitals.queued.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The socket is gone with what still waits for it.
    pub fn gone(&self) {
        self.vitals.queued.fetch_sub(self.waiting.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Closes the socket once what waits has left.
    pub fn close(&self, code: u16, reason: &'static str) {
        let _ = self.sender.send(Outgoing::Close(code, reason));
    }
}
