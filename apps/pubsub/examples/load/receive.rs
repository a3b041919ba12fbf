//! Reads from many clients and measures when changes arrive.

use crate::connect::Client;
use crate::{MAX_INCOMPLETE_ROUNDS, STALL_TIMEOUT, milliseconds, print_result};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

/// Changes that the clients of a pool have received, with their latencies.
#[derive(Default)]
pub(crate) struct Results {
    /// Time of the last write of each entity.
    pub written_at: HashMap<Uuid, Instant>,
    /// Time from a write to each of its deliveries, in milliseconds.
    pub latencies: Vec<f64>,
    pub frames: usize,
    pub changes: usize,
    pub last_change_at: Option<Instant>,
    /// Number of changes to wait for.
    pub expected: usize,
    /// Clients whose connection was closed by the server.
    closed: usize,
}

/// Outcome of a wait for changes.
pub(crate) struct Delivery {
    pub last_change_at: Option<Instant>,
    /// Changes that did not arrive before `STALL_TIMEOUT`.
    pub missing: usize,
}

/// Reads from all clients until it is dropped.
pub(crate) struct ClientPool {
    pub results: Arc<Mutex<Results>>,
    complete: Arc<Notify>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl ClientPool {
    /// Starts a reader per client.
    ///
    /// Latencies are recorded if `with_latencies`, which needs to parse each message.
    pub(crate) fn new(clients: Vec<Client>, with_latencies: bool) -> Self {
        let (results, complete) = (Arc::new(Mutex::new(Results::default())), Arc::new(Notify::new()));
        let read = |mut client: Client| {
            let (results, complete) = (results.clone(), complete.clone());
            tokio::spawn(async move {
                while let Some(Ok(message)) = client.next().await {
                    let Message::Text(text) = message else { continue };
                    if !text.contains("INVALIDATE") {
                        continue;
                    }
                    let now = Instant::now();
                    let mut results = results.lock().unwrap();
                    results.frames += 1;
                    results.last_change_at = Some(now);
                    if with_latencies {
                        results.record_latencies(&text, now);
                    } else {
                        results.changes += text.matches("\"entityId\"").count();
                    }
                    if results.changes >= results.expected {
                        complete.notify_one();
                    }
                }
                results.lock().unwrap().closed += 1;
            })
        };
        let tasks = clients.into_iter().map(read).collect();
        Self { results, complete, tasks }
    }

    /// Resets the counters and sets the number of changes to wait for.
    pub(crate) fn expect(&self, changes: usize) {
        let mut results = self.results.lock().unwrap();
        (results.frames, results.changes, results.expected, results.last_change_at) = (0, 0, changes, None);
    }

    /// Waits until the expected changes have arrived, or until none arrives for `STALL_TIMEOUT`.
    pub(crate) async fn wait_for_changes(&self) -> Delivery {
        let (mut received, mut progress_at) = (0, Instant::now());
        loop {
            {
                let results = self.results.lock().unwrap();
                let missing = results.expected.saturating_sub(results.changes);
                if results.changes != received {
                    (received, progress_at) = (results.changes, Instant::now());
                }
                if missing == 0 || progress_at.elapsed() > STALL_TIMEOUT {
                    return Delivery { last_change_at: results.last_change_at, missing };
                }
            }
            let _ = tokio::time::timeout(Duration::from_secs(1), self.complete.notified()).await;
        }
    }

    pub(crate) fn closed(&self) -> usize {
        self.results.lock().unwrap().closed
    }
}

impl Drop for ClientPool {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|task| task.abort());
    }
}

impl Results {
    fn record_latencies(&mut self, text: &str, now: Instant) {
        let message: Value = serde_json::from_str(text).unwrap();
        for change in message["payload"]["changes"].as_array().unwrap() {
            self.changes += 1;
            let id: Uuid = change["entityId"].as_str().unwrap().parse().unwrap();
            if let Some(written_at) = self.written_at.get(&id) {
                self.latencies.push(milliseconds(now.duration_since(*written_at)));
            }
        }
    }
}

/// Latencies of repeated rounds, each from a write to its last delivery.
#[derive(Default)]
pub(crate) struct Rounds {
    latencies: Vec<f64>,
    incomplete: usize,
    missing: usize,
}

impl Rounds {
    pub(crate) fn add(&mut self, started_at: Instant, delivery: &Delivery) {
        match delivery.last_change_at {
            Some(last) if delivery.missing == 0 => self.latencies.push(milliseconds(last - started_at)),
            _ => {
                self.incomplete += 1;
                self.missing += delivery.missing;
            }
        }
    }

    pub(crate) fn should_stop(&self) -> bool {
        self.incomplete >= MAX_INCOMPLETE_ROUNDS
    }

    pub(crate) fn print(mut self, name: &str, pool: &ClientPool, connections: Value) {
        let details = json!({
            "connections": connections, "closed": pool.closed(), "incomplete_rounds": self.incomplete,
            "missing_changes": self.missing,
        });
        print_result(name, &mut self.latencies, details);
    }
}
