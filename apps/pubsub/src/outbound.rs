//! Send queue of one connection, shared by the hub (producer) and the connection (consumer).
//!
//! Invariant: neither side waits for the other.

use crate::metrics::Metrics;
use pmo_feed::{Frame, OutboundQueue, Outgoing};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Send queue with a notification for the consumer.
pub struct Outbound {
    queue: Mutex<OutboundQueue>,
    filled: Notify,
    metrics: Arc<Metrics>,
}

impl Outbound {
    /// Creates an empty queue of at most `limit` bytes.
    pub fn new(limit: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::new(OutboundQueue::new(limit)), filled: Notify::new(), metrics })
    }

    fn queue(&self) -> MutexGuard<'_, OutboundQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the queue and updates the metric of queued bytes.
    fn with_queue<T>(&self, change: impl FnOnce(&mut OutboundQueue) -> T) -> T {
        let mut queue = self.queue();
        let before = queue.bytes();
        let result = change(&mut queue);
        let after = queue.bytes();
        drop(queue);
        if after > before {
            self.metrics.queued.fetch_add(after - before, Ordering::Relaxed);
        } else if before > after {
            self.metrics.queued.fetch_sub(before - after, Ordering::Relaxed);
        }
        result
    }

    /// Queues a frame.
    pub fn push(&self, frame: Frame) {
        let fits = self.with_queue(|queue| queue.push(frame));
        if fits {
            self.metrics.frames.fetch_add(1, Ordering::Relaxed);
        } else {
            self.metrics.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.filled.notify_one();
    }

    /// Closes the connection after the queued frames have been sent.
    pub fn close(&self, code: u16, reason: &'static str) {
        self.queue().close(code, reason);
        self.filled.notify_one();
    }

    /// Returns the next action, or `None` if nothing is queued.
    pub fn try_next(&self) -> Option<Outgoing> {
        self.with_queue(OutboundQueue::pop)
    }

    /// Waits for the next action.
    pub async fn next(&self) -> Outgoing {
        loop {
            if let Some(outgoing) = self.try_next() {
                return outgoing;
            }
            self.filled.notified().await;
        }
    }

    /// Waits until the queue has overflowed and been cleared: no queued frame will be sent.
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
        self.metrics.queued.fetch_sub(bytes, Ordering::Relaxed);
    }
}
