//! Configuration of the engine: timeouts, intervals and limits, with the production defaults.

/// Timeouts, intervals and limits of the engine; times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EngineConfig {
    /// Age at which fetched data becomes stale.
    pub stale_after_ms: f64,
    /// Time after which rows and lists without observers are removed from memory.
    pub gc_after_ms: f64,
    /// Retries of a failed read with exponential backoff.
    ///
    /// After that it is retried once per [`Self::retry_exhausted_ms`]. A new observer, a returning
    /// network or a page that becomes visible triggers a retry immediately.
    pub max_retries: u32,
    /// Delay before the first retry of a read; it doubles with each retry.
    pub retry_initial_ms: f64,
    /// Upper bound of the delay between the first [`Self::max_retries`] retries.
    pub retry_max_ms: f64,
    /// Delay between retries after [`Self::max_retries`] retries.
    pub retry_exhausted_ms: f64,
    /// Delay before the socket is reopened for the first time; it doubles with each failure.
    pub reconnect_initial_ms: f64,
    /// Upper bound of the reconnect delay.
    pub reconnect_max_ms: f64,
    /// Interval between two PING messages.
    pub heartbeat_interval_ms: f64,
    /// Time within which PONG must arrive.
    pub pong_timeout_ms: f64,
    /// Time within which HELLO must arrive.
    pub hello_timeout_ms: f64,
    /// Time for which a topic without observers stays subscribed.
    pub unsubscribe_grace_ms: f64,
    /// Interval between two polls for changes while the socket cannot be opened.
    pub poll_interval_ms: f64,
    /// Consecutive failed socket connections after which changes are polled instead.
    pub poll_after_failures: u32,
    /// Maximum number of writes in flight.
    pub parallel_writes: usize,
    /// Maximum number of rows per page of a list.
    pub page_rows: usize,
    /// Rows in the delta log above which they are merged into the packed chunks.
    pub compaction_threshold: usize,
    /// Changed rows per event at or above which they are packed, not written to the delta log.
    pub bulk_pack_threshold: usize,
    /// Interval between two heartbeats of the leading tab.
    pub leader_heartbeat_ms: f64,
    /// Silence of the leader after which a visible tab takes over.
    pub leader_timeout_ms: f64,
    /// Time without contact to the server after which cached data is hidden until the next contact.
    pub offline_lease_ms: f64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            stale_after_ms: 5.0 * 60_000.0,
            gc_after_ms: 30.0 * 60_000.0,
            max_retries: 3,
            retry_initial_ms: 1000.0,
            retry_max_ms: 30_000.0,
            retry_exhausted_ms: 60_000.0,
            reconnect_initial_ms: 1000.0,
            reconnect_max_ms: 30_000.0,
            heartbeat_interval_ms: 30_000.0,
            pong_timeout_ms: 10_000.0,
            hello_timeout_ms: 15_000.0,
            unsubscribe_grace_ms: 30_000.0,
            poll_interval_ms: 5000.0,
            poll_after_failures: 3,
            parallel_writes: 4,
            page_rows: 1000,
            compaction_threshold: 400,
            bulk_pack_threshold: 32,
            leader_heartbeat_ms: 500.0,
            leader_timeout_ms: 1600.0,
            offline_lease_ms: 14.0 * 24.0 * 3_600_000.0,
        }
    }
}
