//! Configuration of the engine: timeouts, intervals and limits, with the production defaults.

use std::time::Duration;

/// Timeouts, intervals and limits of the engine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EngineConfig {
    /// Age at which fetched data becomes stale.
    pub stale_after: Duration,
    /// Time after which rows and lists without observers are removed from memory.
    pub gc_after: Duration,
    /// Retries of a failed read with exponential backoff.
    ///
    /// After that it is retried once per [`Self::retry_exhausted`]. A new observer, a returning
    /// network or a page that becomes visible triggers a retry immediately.
    pub max_retries: u32,
    /// Delay before the first retry of a read; it doubles with each retry.
    pub retry_initial: Duration,
    /// Upper bound of the delay between the first [`Self::max_retries`] retries.
    pub retry_max: Duration,
    /// Delay between retries after [`Self::max_retries`] retries.
    pub retry_exhausted: Duration,
    /// Delay before the socket is reopened for the first time; it doubles with each failure.
    pub reconnect_initial: Duration,
    /// Upper bound of the reconnect delay.
    pub reconnect_max: Duration,
    /// Interval between two PING messages.
    pub heartbeat_interval: Duration,
    /// Time within which PONG must arrive.
    pub pong_timeout: Duration,
    /// Time within which HELLO must arrive.
    pub hello_timeout: Duration,
    /// Time for which a topic without observers stays subscribed.
    pub unsubscribe_grace: Duration,
    /// Interval between two polls for changes while the socket cannot be opened.
    pub poll_interval: Duration,
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
    pub leader_heartbeat: Duration,
    /// Silence of the leader after which a visible tab takes over.
    pub leader_timeout: Duration,
    /// Time without contact to the server after which cached data is hidden until the next contact.
    pub offline_lease: Duration,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            stale_after: Duration::from_secs(5 * 60),
            gc_after: Duration::from_secs(30 * 60),
            max_retries: 3,
            retry_initial: Duration::from_secs(1),
            retry_max: Duration::from_secs(30),
            retry_exhausted: Duration::from_secs(60),
            reconnect_initial: Duration::from_secs(1),
            reconnect_max: Duration::from_secs(30),
            heartbeat_interval: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(10),
            hello_timeout: Duration::from_secs(15),
            unsubscribe_grace: Duration::from_secs(30),
            poll_interval: Duration::from_secs(5),
            poll_after_failures: 3,
            parallel_writes: 4,
            page_rows: 1000,
            compaction_threshold: 400,
            bulk_pack_threshold: 32,
            leader_heartbeat: Duration::from_millis(500),
            leader_timeout: Duration::from_millis(1600),
            offline_lease: Duration::from_secs(14 * 24 * 3600),
        }
    }
}
