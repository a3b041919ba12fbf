//! What waits for one socket, shared by the hub that puts in and the socket that takes out. Neither ever waits for the other.

use crate::metrics::Metrics;
use pmo_feed::{Frame, OutboundQueue, Outgoing};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// One socket's queue with a bell.
pub struct Outbound {
    queue: Mutex<OutboundQueue>,
    filled: Notify,
    vitals: Arc<Metrics>,
}

impl Outbound {
    /// An empty one for at most `limit` bytes.
    pub fn new(limit: usize, vitals: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::new(OutboundQueue::new(limit)), filled: Notify::new(), vitals })
    }

    fn queue(&self) -> MutexGuard<'_, OutboundQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the queue, and keeps the count of all bytes that wait.
    fn with_queue<T>(&self, change: impl FnOnce(&mut OutboundQueue) -> T) -> T {
        let mut queue = self.queue();
        let before = queue.bytes();
        let answer = change(&mut queue);
        let after = queue.bytes();
        drop(queue);
        if after > before {
            self.vitals.queued.fetch_add(after - before, Ordering::Relaxed);
        } else if before > after {
            self.vitals.queued.fetch_sub(before - after, Ordering::Relaxed);
        }
        answer
    }

    /// Queues a frame.
    pub fn push(&self, frame: Frame) {
        let fits = self.with_queue(|queue| queue.push(frame));
        if fits {
            self.vitals.frames.fetch_add(1, Ordering::Relaxed);
        } else {
            self.vitals.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.filled.notify_one();
    }

    /// Closes the socket once what waits has left.
    pub fn close(&self, code: u16, reason: &'static str) {
        self.queue().close(code, reason);
        self.filled.notify_one();
    }

    /// What is next, if anything waits.
    pub fn try_next(&self) -> Option<Outgoing> {
        self.with_queue(OutboundQueue::pop)
    }

    /// What is next.
    pub async fn next(&self) -> Outgoing {
        loop {
            if let Some(out) = self.try_next() {
                return out;
            }
            self.filled.notified().await;
        }
    }

    /// Waits until all that waited was thrown away: nothing is worth sending any more.
    pub async fn overflowed(&self) {
        loop {
            {
                let queue = self.queue();
                if queue.closing() && queue.bytes() == 0 {
                    return;
                }
            }
            self.filled.notified().await;
        }
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        let bytes = self.queue().bytes();
        self.vitals.queued.fetch_sub(bytes, Ordering::Relaxed);
    }
}
