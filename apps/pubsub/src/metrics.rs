//! What the service says of itself: numbers for `/health` and, as Prometheus reads them, for `/metrics`. It must never hold anything of one
//! person.

use pmo_feed::LogRange;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Upper bounds of the delays that are counted, in milliseconds.
const LATENCY_BUCKETS_MS: [u64; 11] = [1, 2, 5, 10, 20, 50, 100, 250, 500, 1000, 5000];

/// Numbers, each written by one task and read by any.
#[derive(Default)]
pub struct Metrics {
    /// Open sockets.
    pub connections: AtomicUsize,
    /// Sockets that are being served, signed in or not.
    pub sockets: AtomicUsize,
    /// Distinct persons.
    pub users: AtomicUsize,
    /// Topics.
    pub subscriptions: AtomicUsize,
    /// Whether the last look at the log went through.
    pub log_reader_up: AtomicBool,
    /// Whether everybody has been told to come back later.
    pub stopping: AtomicBool,
    /// Rows read since the start.
    pub rows: AtomicU64,
    /// Frames handed to sockets since the start.
    pub frames: AtomicU64,
    /// Bytes that wait in queues.
    pub queued: AtomicUsize,
    /// Sockets closed because they read too slowly.
    pub dropped: AtomicU64,
    /// Pages of foreign origins that were refused.
    pub refused: AtomicU64,
    /// Sockets closed from here, by code.
    closed: Mutex<BTreeMap<u16, u64>>,
    /// What is asked for next: what lies beyond it has not been told.
    pub next: Mutex<Option<LogRange>>,
    latency_buckets: [AtomicU64; LATENCY_BUCKETS_MS.len() + 1],
    delays_sum: AtomicU64,
}

impl Metrics {
    /// Counts a socket that was closed from here.
    pub fn record_close(&self, code: u16) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    /// Counts how long after its transaction began a row was told, in milliseconds.
    pub fn observe_latency(&self, ms: i64) {
        let ms = u64::try_from(ms).unwrap_or(0);
        let at = LATENCY_BUCKETS_MS.iter().position(|bound| ms <= *bound).unwrap_or(LATENCY_BUCKETS_MS.len());
        self.latency_buckets[at].fetch_add(1, Ordering::Relaxed);
        self.delays_sum.fetch_add(ms, Ordering::Relaxed);
    }

    /// Where the feed reads on.
    pub fn set_position(&self, ask: LogRange) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(ask);
    }

    /// Where the feed reads on; none before the first look.
    pub fn next(&self) -> Option<LogRange> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All numbers in Prometheus' text format. `behind`: rows that wait in the log and the age of the oldest in milliseconds, where the
    /// database answers.
    pub fn render(&self, uptime: u64, behind: Option<(i64, i64)>) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, value: String| {
            let _ = writeln!(
                text,
                "# HELP pmo_pubsub_{name} {help}\n# TYPE pmo_pubsub_{name} {kind}\npmo_pubsub_{name} {value}"
            );
        };
        let of = |number: &AtomicUsize| number.load(Ordering::Relaxed).to_string();
        let total = |number: &AtomicU64| number.load(Ordering::Relaxed).to_string();
        let yes = |flag: &AtomicBool| u8::from(flag.load(Ordering::Relaxed)).to_string();
        metric("uptime_seconds", "gauge", "Seconds since the start.", uptime.to_string());
        metric("connections", "gauge", "Open sockets.", of(&self.connections));
        metric("people", "gauge", "Distinct persons with an open socket.", of(&self.users));
        metric("subscriptions", "gauge", "Topics watched, over all sockets.", of(&self.subscriptions));
        metric(
            "watching",
            "gauge",
            "1 while the log is read, 0 while the database does not answer.",
            yes(&self.log_reader_up),
        );
        metric("log_rows_total", "counter", "Rows of the log that were read.", total(&self.rows));
        metric("frames_total", "counter", "Frames handed to sockets.", total(&self.frames));
        metric("queued_bytes", "gauge", "Bytes that wait for sockets.", of(&self.queued));
        metric("refused_origins_total", "counter", "Pages of foreign origins refused.", total(&self.refused));
        metric("dropped_total", "counter", "Sockets closed because they read too slowly.", total(&self.dropped));
        if let Some((rows, age)) = behind {
            metric("behind_rows", "gauge", "Rows of the log that have not been told yet.", rows.to_string());
            metric("behind_milliseconds", "gauge", "Age of the oldest of them.", age.to_string());
        }
        let name = "pmo_pubsub_closed_total";
        let _ = writeln!(text, "# HELP {name} Sockets closed from here, by code.\n# TYPE {name} counter");
        for (code, times) in &*self.closed.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(text, "{name}{{code=\"{code}\"}} {times}");
        }
        let name = "pmo_pubsub_told_after_milliseconds";
        let _ = writeln!(
            text,
            "# HELP {name} From the start of a row's transaction until it was told.\n# TYPE {name} histogram"
        );
        let mut count = 0;
        for (at, delays) in self.latency_buckets.iter().enumerate() {
            count += delays.load(Ordering::Relaxed);
            let bound = LATENCY_BUCKETS_MS.get(at).map_or("+Inf".to_owned(), u64::to_string);
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let _ = writeln!(text, "{name}_sum {}\n{name}_count {count}", self.delays_sum.load(Ordering::Relaxed));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_counted_up_to_each_bound() {
        let vitals = Metrics::default();
        for ms in [-3, 1, 2, 3, 70, 90_000] {
            vitals.observe_latency(ms);
        }
        let text = vitals.render(5, Some((7, 120)));
        for line in [
            "pmo_pubsub_told_after_milliseconds_bucket{le=\"1\"} 2",
            "pmo_pubsub_told_after_milliseconds_bucket{le=\"2\"} 3",
            "pmo_pubsub_told_after_milliseconds_bucket{le=\"100\"} 5",
            "pmo_pubsub_told_after_milliseconds_bucket{le=\"+Inf\"} 6",
            "pmo_pubsub_told_after_milliseconds_count 6",
            "pmo_pubsub_told_after_milliseconds_sum 90076",
            "pmo_pubsub_behind_rows 7",
            "pmo_pubsub_behind_milliseconds 120",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
        assert!(!vitals.render(5, None).contains("behind"), "unknown is not zero");
    }
}
