//! Times and sizes of the engine, with the defaults of a person at work.

/// Settings. Times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// What was fetched is believed for this long.
    pub stale: f64,
    /// What nobody looks at leaves memory after this long.
    pub collect: f64,
    /// Tries of a read before it waits for a look, the network or [`Settings::retry_at_last`].
    pub retries: u32,
    /// The first wait between tries; each doubles it.
    pub retry_first: f64,
    /// The longest of those waits.
    pub retry_longest: f64,
    /// The wait after the last try.
    pub retry_at_last: f64,
    /// The first wait before the socket is opened again.
    pub reconnect_first: f64,
    /// The longest of those waits.
    pub reconnect_longest: f64,
    /// Between two PINGs.
    pub heartbeat: f64,
    /// A PONG may take this long.
    pub pong: f64,
    /// HELLO may take this long.
    pub hello: f64,
    /// What was left stays watched for this long.
    pub unsubscribe: f64,
    /// Between two questions for changes where the socket does not open.
    pub poll: f64,
    /// Sockets that fail in a row before changes are asked for instead.
    pub poll_after: u32,
    /// Writes that are on their way at once.
    pub parallel_writes: usize,
    /// Rows of a page.
    pub page_rows: usize,
    /// Live changes that lie beside the packed chunks before they are folded in.
    pub fold_rows: usize,
    /// Rows of one event from which on they are packed and not laid beside.
    pub pack_rows: usize,
    /// A tab that leads says so this often.
    pub beat: f64,
    /// A leader that was silent for this long is replaced by a tab that is shown.
    pub beat_missing: f64,
    /// A device that has not reached the server for this long shows nothing until it has.
    pub lease: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stale: 5.0 * 60_000.0,
            collect: 30.0 * 60_000.0,
            retries: 3,
            retry_first: 1000.0,
            retry_longest: 30_000.0,
            retry_at_last: 60_000.0,
            reconnect_first: 1000.0,
            reconnect_longest: 30_000.0,
            heartbeat: 30_000.0,
            pong: 10_000.0,
            hello: 15_000.0,
            unsubscribe: 30_000.0,
            poll: 5000.0,
            poll_after: 3,
            parallel_writes: 4,
            page_rows: 1000,
            fold_rows: 400,
            pack_rows: 32,
            beat: 500.0,
            beat_missing: 1600.0,
            lease: 14.0 * 24.0 * 3_600_000.0,
        }
    }
}
