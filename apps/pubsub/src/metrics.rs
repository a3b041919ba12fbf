//! Metrics of the service: values for `/health`, and for `/metrics` in the Prometheus text format.
//!
//! Must not: contain data of a single user.

use pmo_database::change_log::FeedLag;
use pmo_domain::UnixMillis;
use pmo_domain::change_log::LogRange;
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the latency histogram, in milliseconds.
const LATENCY_BUCKETS_MS: [u64; 11] = [1, 2, 5, 10, 20, 50, 100, 250, 500, 1000, 5000];

/// Metrics; each is written by one task and read by any.
#[derive(Default)]
pub struct Metrics {
    /// Open connections of authenticated users.
    pub connections: AtomicUsize,
    /// WebSocket connections that are being served, authenticated or not.
    pub sockets: AtomicUsize,
    /// Users with at least one open connection.
    pub users: AtomicUsize,
    /// Subscriptions over all connections.
    pub subscriptions: AtomicUsize,
    /// Whether the last request to the database succeeded.
    pub log_reader_up: AtomicBool,
    /// Whether the service is shutting down.
    pub stopping: AtomicBool,
    /// Change-log rows read since the start.
    pub rows: AtomicU64,
    /// Frames queued for connections since the start.
    pub frames: AtomicU64,
    /// Bytes in all outbound queues.
    pub queued: AtomicUsize,
    /// Connections closed because their queue overflowed.
    pub dropped: AtomicU64,
    /// Handshakes rejected by the origin check.
    pub refused: AtomicU64,
    /// Connections closed by the service, by close code.
    closed: Mutex<BTreeMap<u16, u64>>,
    /// Next range of the change log; its rows have not been delivered.
    position: Mutex<Option<LogRange>>,
    latency_buckets: [AtomicU64; LATENCY_BUCKETS_MS.len() + 1],
    latency_sum_ms: AtomicU64,
}

impl Metrics {
    /// Counts a connection that the service closed.
    pub fn record_close(&self, code: u16) {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    /// Counts the delivery latency of a row: the time since the start of its transaction.
    pub fn observe_latency(&self, latency: Duration) {
        let ms = millis(latency);
        let bucket = LATENCY_BUCKETS_MS.iter().position(|bound| ms <= *bound).unwrap_or(LATENCY_BUCKETS_MS.len());
        self.latency_buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.latency_sum_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// Sets the position of the feed: the range of the change log to read next.
    pub fn set_position(&self, range: LogRange) {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner) = Some(range);
    }

    /// Returns the next range of the change log, or `None` before the first poll.
    pub fn position(&self) -> Option<LogRange> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns all metrics in the Prometheus text format.
    ///
    /// `started_at`: start of the process. `uptime`: time since the start. `lag`: lag of the feed,
    /// if known.
    pub fn render(&self, started_at: UnixMillis, uptime: Duration, lag: Option<FeedLag>) -> String {
        let mut page = MetricsPage::default();
        let count = |value: &AtomicUsize| value.load(Ordering::Relaxed);
        let total = |value: &AtomicU64| value.load(Ordering::Relaxed);
        page.metric(
            "process_start_time_seconds",
            "gauge",
            "Start time of the process since the epoch, in seconds.",
            seconds(started_at.get()),
        );
        page.deprecated("uptime_seconds", "process_start_time_seconds", "gauge", uptime.as_secs());
        page.metric("connections", "gauge", "Open WebSocket connections.", count(&self.connections));
        page.renamed(
            ("people", "distinct_users"),
            "gauge",
            "Users with at least one open connection.",
            count(&self.users),
        );
        page.metric("subscriptions", "gauge", "Active subscriptions over all connections.", count(&self.subscriptions));
        page.renamed(
            ("watching", "log_reader_up"),
            "gauge",
            "1 if the change log can be read, 0 otherwise.",
            u8::from(self.log_reader_up.load(Ordering::Relaxed)),
        );
        page.renamed(("log_rows_total", "log_rows_read_total"), "counter", "Change-log rows read.", total(&self.rows));
        page.renamed(
            ("frames_total", "frames_sent_total"),
            "counter",
            "Frames queued for connections.",
            total(&self.frames),
        );
        page.renamed(
            ("queued_bytes", "outbound_queue_bytes"),
            "gauge",
            "Bytes waiting in outbound queues.",
            count(&self.queued),
        );
        page.renamed(
            ("refused_origins_total", "origin_rejected_total"),
            "counter",
            "Handshakes rejected by the origin check.",
            total(&self.refused),
        );
        page.renamed(
            ("dropped_total", "slow_consumer_disconnects_total"),
            "counter",
            "Connections closed because their queue overflowed.",
            total(&self.dropped),
        );
        if let Some(FeedLag { rows, age }) = lag {
            page.renamed(("behind_rows", "feed_lag_rows"), "gauge", "Change-log rows not delivered yet.", rows);
            page.metric("feed_lag_seconds", "gauge", "Age of the oldest undelivered row.", age.as_secs_f64());
            page.deprecated("behind_milliseconds", "feed_lag_seconds", "gauge", millis(age));
        }
        self.render_closed(&mut page);
        self.render_latency(&mut page);
        page.text
    }

    /// Appends the closed connections by close code, under the new and the old name.
    fn render_closed(&self, page: &mut MetricsPage) {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        page.header("connections_closed_total", "counter", "Connections closed by the service, by close code.");
        for (code, times) in &closed {
            page.sample(&format!("connections_closed_total{{code=\"{code}\"}}"), times);
        }
        page.header("closed_total", "counter", &deprecation("connections_closed_total"));
        for (code, times) in &closed {
            page.sample(&format!("closed_total{{code=\"{code}\"}}"), times);
        }
    }

    /// Appends the latency histogram in seconds, and in milliseconds under the old name.
    fn render_latency(&self, page: &mut MetricsPage) {
        let mut count = 0;
        let cumulative: Vec<u64> = self
            .latency_buckets
            .iter()
            .map(|bucket| {
                count += bucket.load(Ordering::Relaxed);
                count
            })
            .collect();
        let sum_ms = self.latency_sum_ms.load(Ordering::Relaxed);
        let name = "delivery_latency_seconds";
        page.header(name, "histogram", "Time from transaction start to delivery.");
        let bounds = LATENCY_BUCKETS_MS.map(|ms| seconds(ms as i64).to_string());
        page.histogram(name, &bounds, &cumulative, seconds(sum_ms as i64));
        let old = "told_after_milliseconds";
        page.header(old, "histogram", &deprecation(name));
        page.histogram(old, &LATENCY_BUCKETS_MS.map(|ms| ms.to_string()), &cumulative, sum_ms);
    }
}

/// Returns the milliseconds of a duration.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Converts milliseconds to seconds, the base unit of Prometheus.
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

/// Returns the help text of a metric that has been replaced by `new`.
fn deprecation(new: &str) -> String {
    format!("Deprecated: use pmo_pubsub_{new}.")
}

/// Text of `/metrics`. Names are given without the prefix `pmo_pubsub_`.
#[derive(Default)]
struct MetricsPage {
    text: String,
}

impl MetricsPage {
    fn header(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP pmo_pubsub_{name} {help}\n# TYPE pmo_pubsub_{name} {kind}");
    }

    fn sample(&mut self, name: &str, value: impl Display) {
        let _ = writeln!(self.text, "pmo_pubsub_{name} {value}");
    }

    fn metric(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.header(name, kind, help);
        self.sample(name, value);
    }

    /// Appends a metric under its old name; the value may have another unit than that of `new`.
    fn deprecated(&mut self, old: &str, new: &str, kind: &str, value: impl Display) {
        self.metric(old, kind, &deprecation(new), value);
    }

    /// Appends a metric under its new name, and the same value under its old name.
    fn renamed(&mut self, (old, new): (&str, &str), kind: &str, help: &str, value: impl Display) {
        self.metric(new, kind, help, &value);
        self.deprecated(old, new, kind, value);
    }

    /// Appends the samples of a histogram; `cumulative` has an additional value for `+Inf`.
    fn histogram(&mut self, name: &str, bounds: &[String], cumulative: &[u64], sum: impl Display) {
        for (bucket, count) in cumulative.iter().enumerate() {
            let bound = bounds.get(bucket).map_or("+Inf", String::as_str);
            self.sample(&format!("{name}_bucket{{le=\"{bound}\"}}"), count);
        }
        self.sample(&format!("{name}_sum"), sum);
        self.sample(&format!("{name}_count"), cumulative.last().copied().unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPTIME: Duration = Duration::from_secs(5);

    fn assert_lines(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|l| l == *line), "{line} in\n{text}");
        }
    }

    #[test]
    fn latency_histogram_is_cumulative_in_seconds_and_milliseconds() {
        let metrics = Metrics::default();
        for ms in [0, 1, 2, 3, 70, 90_000] {
            metrics.observe_latency(Duration::from_millis(ms));
        }
        let text = metrics.render(UnixMillis::EPOCH, UPTIME, None);
        assert_lines(
            &text,
            &[
                "pmo_pubsub_told_after_milliseconds_bucket{le=\"1\"} 2",
                "pmo_pubsub_told_after_milliseconds_bucket{le=\"2\"} 3",
                "pmo_pubsub_told_after_milliseconds_bucket{le=\"100\"} 5",
                "pmo_pubsub_told_after_milliseconds_bucket{le=\"+Inf\"} 6",
                "pmo_pubsub_told_after_milliseconds_count 6",
                "pmo_pubsub_told_after_milliseconds_sum 90076",
                "# TYPE pmo_pubsub_delivery_latency_seconds histogram",
                "pmo_pubsub_delivery_latency_seconds_bucket{le=\"0.001\"} 2",
                "pmo_pubsub_delivery_latency_seconds_bucket{le=\"0.002\"} 3",
                "pmo_pubsub_delivery_latency_seconds_bucket{le=\"0.1\"} 5",
                "pmo_pubsub_delivery_latency_seconds_bucket{le=\"5\"} 5",
                "pmo_pubsub_delivery_latency_seconds_bucket{le=\"+Inf\"} 6",
                "pmo_pubsub_delivery_latency_seconds_count 6",
                "pmo_pubsub_delivery_latency_seconds_sum 90.076",
            ],
        );
    }

    #[test]
    fn lag_is_published_in_both_units_and_omitted_if_unknown() {
        let metrics = Metrics::default();
        let text =
            metrics.render(UnixMillis::EPOCH, UPTIME, Some(FeedLag { rows: 7, age: Duration::from_millis(120) }));
        assert_lines(
            &text,
            &[
                "pmo_pubsub_behind_rows 7",
                "pmo_pubsub_behind_milliseconds 120",
                "pmo_pubsub_feed_lag_rows 7",
                "pmo_pubsub_feed_lag_seconds 0.12",
            ],
        );
        let text = metrics.render(UnixMillis::EPOCH, UPTIME, None);
        assert!(!text.contains("behind") && !text.contains("lag"), "unknown is not zero");
    }

    #[test]
    fn renamed_metrics_are_published_under_both_names() {
        let metrics = Metrics::default();
        metrics.users.store(3, Ordering::Relaxed);
        metrics.record_close(4008);
        let text =
            metrics.render(UnixMillis::new(1_700_000_000_250), UPTIME, Some(FeedLag { rows: 0, age: Duration::ZERO }));
        assert_lines(
            &text,
            &[
                "pmo_pubsub_process_start_time_seconds 1700000000.25",
                "pmo_pubsub_uptime_seconds 5",
                "pmo_pubsub_distinct_users 3",
                "pmo_pubsub_people 3",
                "# HELP pmo_pubsub_people Deprecated: use pmo_pubsub_distinct_users.",
                "pmo_pubsub_connections_closed_total{code=\"4008\"} 1",
                "pmo_pubsub_closed_total{code=\"4008\"} 1",
            ],
        );
        for name in [
            "uptime_seconds",
            "people",
            "watching",
            "log_rows_total",
            "frames_total",
            "queued_bytes",
            "refused_origins_total",
            "dropped_total",
            "behind_rows",
            "behind_milliseconds",
            "closed_total",
            "told_after_milliseconds",
        ] {
            let help = format!("# HELP pmo_pubsub_{name} Deprecated: use pmo_pubsub_");
            assert_eq!(text.lines().filter(|line| line.starts_with(&help)).count(), 1, "{name}");
        }
    }
}
