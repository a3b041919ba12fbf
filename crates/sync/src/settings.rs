//! Times and sizes of the engine, with the defaults of a person at work.

/// Settings. Times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EngineConfig {
    /// What was fetched is believed for this long.
    pub stale_after_ms: f64,
    /// What nobody looks at leaves memory after this long.
    pub gc_after_ms: f64,
    /// Tries of a read before it waits for a look, the network or [`Settings::retry_at_last`].
    pub max_retries: u32,
    /// The first wait between tries; each doubles it.
    pub retry_initial_ms: f64,
    /// The longest of those waits.
    pub retry_max_ms: f64,
    /// The wait after the last try.
    pub retry_exhausted_ms: f64,
    /// The first wait before the socket is opened again.
    pub reconnect_initial_ms: f64,
    /// The longest of those waits.
    pub reconnect_max_ms: f64,
    /// Between two PINGs.
    pub heartbeat_interval_ms: f64,
    /// A PONG may take this long.
    pub pong_timeout_ms: f64,
    /// HELLO may take this long.
    pub hello_timeout_ms: f64,
    /// What was left stays watched for this long.
    pub unsubscribe_grace_ms: f64,
    /// Between two questions for changes where the socket does not open.
    pub poll_interval_ms: f64,
    /// Sockets that fail in a row before changes are asked for instead.
    pub poll_after_failures: u32,
    /// Writes that are on their way at once.
    pub parallel_writes: usize,
    /// Rows of a page.
    pub page_rows: usize,
    /// Live changes that lie beside the packed chunks before they are folded in.
    pub compaction_threshold: usize,
    /// Rows of one event from which on they are packed and not laid beside.
    pub bulk_pack_threshold: usize,
    /// A tab that leads says so this often.
    pub leader_heartbeat_ms: f64,
    /// A leader that was silent for this long is replaced by a tab that is shown.
    pub leader_timeout_ms: f64,
    /// A device that has not reached the server for this long shows nothing until it has.
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
