//! State of the feed of one pod, which its state machine and its requests share.

use crate::acl_cache::AclCache;
use crate::event::Effect;
use crate::log_reader::LogReader;
use crate::lookups::{CatchUpRequest, LookupRequest, LookupResult};
use crate::outbound_queue::Frame;
use crate::pending::{CatchUpContinuation, PendingRequest};
use crate::presence::Presence;
use crate::subscription_index::SubscriptionIndex;
use crate::topic::ConnectionId;
use pmo_domain::change_log::{LogBatch, LogRange};
use pmo_domain::protocol::{ClientMessage, ServerMessage};
use pmo_domain::{EntityCode, FeedCursor, Snapshot, UnixMillis};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use uuid::Uuid;

/// Limits of one pod.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Interval between polls of the change log without a `NOTIFY`.
    pub poll_interval: Duration,
    /// Maximum number of connections per user.
    pub connections_per_person: usize,
    /// Maximum number of ids in one SUBSCRIBE or UNSUBSCRIBE message.
    pub ids: usize,
    /// Maximum number of subscriptions per connection.
    pub topics: usize,
    /// Maximum number of concurrent catch-ups.
    pub catching_up: usize,
    /// Maximum number of rows in a catch-up; a client with more has to reload its data.
    pub max_catch_up_rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(1),
            connections_per_person: 100,
            ids: 2_000,
            topics: 20_000,
            catching_up: 2,
            max_catch_up_rows: 10_000,
        }
    }
}

/// Request in flight in the ordered lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderedLane {
    Free,
    Polling,
    LookupsForBatch,
    LookupsForClients,
}

/// State of the feed of one pod.
pub struct ChangeFeed {
    pub(crate) limits: Limits,
    pub(crate) reader: LogReader,
    pub(crate) subscription_index: SubscriptionIndex,
    pub(crate) acl_cache: AclCache,
    pub(crate) presence: Presence,
    /// Lookup results since the last poll; older ones are discarded.
    pub(crate) lookup_result: LookupResult,
    /// Lookups requested since the last poll, including those of entities that do not exist.
    pub(crate) requested: LookupRequest,
    pub(crate) ordered: OrderedLane,
    /// Batch that waits for its lookups.
    pub(crate) batch: Option<LogBatch>,
    /// Whether to poll without waiting for the interval.
    pub(crate) notified: bool,
    pub(crate) next_poll_at: UnixMillis,
    pub(crate) retry_at: UnixMillis,
    /// Whether the last request to the database succeeded.
    pub(crate) database_up: bool,
    /// Number of pending requests to process before the next poll.
    ///
    /// It is set after each batch, so that neither polls nor clients starve. Requests that arrive
    /// later wait for the next batch.
    pub(crate) client_quota: usize,
    /// Types of rows that the poll in flight reads with their parents.
    pub(crate) by_parent: Vec<EntityCode>,
    /// Requests that wait for lookups, in order of arrival.
    pub(crate) pending: VecDeque<PendingRequest>,
    /// Catch-ups that have not been sent to the database.
    pub(crate) catch_up_queue: VecDeque<CatchUpRequest>,
    /// Number of catch-ups in flight.
    pub(crate) catching_up: usize,
    /// Number of catch-ups that have been read and not sent.
    ///
    /// They count against the limit of concurrent catch-ups, because they are large.
    pub(crate) catch_ups_ready: usize,
    /// Time before which no catch-up is started, after a failed one.
    pub(crate) catch_up_retry_at: UnixMillis,
    /// Replies that conclude the catch-ups.
    pub(crate) catch_up_continuations: HashMap<ConnectionId, CatchUpContinuation>,
    /// Clients with a request in progress, and the messages that they sent meanwhile.
    pub(crate) inboxes: HashMap<ConnectionId, VecDeque<ClientMessage>>,
    /// Offset of the database clock from the clock of this machine, in milliseconds.
    pub(crate) clock_offset_ms: i64,
    /// Database time up to which expired grants have been processed.
    pub(crate) expired_until: UnixMillis,
    /// Number of access changes, sent with ACCESS.
    pub(crate) access_epoch: u64,
    pub(crate) rows_read: u64,
    pub(crate) stopping: bool,
}

impl ChangeFeed {
    /// Creates a feed that starts at the end of the log, at `snapshot`.
    ///
    /// `types`: type markers by type code. `db_now`: time of the database. `now`: time of this
    /// machine.
    pub fn new(
        limits: Limits,
        (epoch, snapshot): (i64, Snapshot),
        types: HashMap<String, Uuid>,
        db_now: UnixMillis,
        now: UnixMillis,
    ) -> Self {
        let mut access = AclCache::default();
        access.set_type_markers(types);
        Self {
            reader: LogReader::new(epoch, snapshot),
            subscription_index: SubscriptionIndex::default(),
            acl_cache: access,
            presence: Presence::default(),
            lookup_result: LookupResult::default(),
            requested: LookupRequest::default(),
            ordered: OrderedLane::Free,
            batch: None,
            notified: false,
            next_poll_at: now + limits.poll_interval,
            retry_at: now,
            database_up: true,
            client_quota: 0,
            by_parent: Vec::new(),
            pending: VecDeque::new(),
            catch_up_queue: VecDeque::new(),
            catching_up: 0,
            catch_ups_ready: 0,
            catch_up_retry_at: now,
            catch_up_continuations: HashMap::new(),
            inboxes: HashMap::new(),
            clock_offset_ms: db_now.get() - now.get(),
            expired_until: db_now,
            access_epoch: 0,
            rows_read: 0,
            stopping: false,
            limits,
        }
    }

    /// Returns the number of connections, distinct users and subscriptions.
    pub fn stats(&self) -> (usize, usize, usize) {
        (self.subscription_index.connections(), self.acl_cache.people(), self.subscription_index.subscriptions())
    }

    /// Returns the number of rows delivered since the start.
    pub fn rows_read(&self) -> u64 {
        self.rows_read
    }

    /// Returns whether the last request to the database succeeded.
    pub fn is_database_up(&self) -> bool {
        self.database_up
    }

    /// Returns the range of the next poll.
    pub fn next_range(&self) -> LogRange {
        self.reader.next_range()
    }

    /// Converts a time of this machine to the time of the database.
    pub(crate) fn db_now(&self, now: UnixMillis) -> UnixMillis {
        UnixMillis::new(now.get().saturating_add(self.clock_offset_ms))
    }

    /// Converts a time of the database to the time of this machine.
    pub(crate) fn local_time(&self, db_time: UnixMillis) -> UnixMillis {
        UnixMillis::new(db_time.get().saturating_sub(self.clock_offset_ms))
    }

    /// Discards all lookup results.
    pub(crate) fn clear_lookups(&mut self) {
        self.lookup_result = LookupResult::default();
        self.requested = LookupRequest::default();
    }

    /// Returns the cursor: all changes visible in it have been delivered.
    pub fn cursor(&self) -> FeedCursor {
        self.reader.cursor()
    }

    /// Sends a message to one connection.
    pub(crate) fn send(&self, id: ConnectionId, message: &ServerMessage, out: &mut Vec<Effect>) {
        out.push(Effect::Send([id].into(), Frame::message(message)));
    }
}
