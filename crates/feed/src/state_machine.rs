//! State machine of one pod: events in, effects out.
//!
//! Two lanes query the database. In the ordered lane one request is in flight at a time: it polls
//! the change log and loads lookups. Lookups must not be older than the last delivered batch, which
//! this order guarantees. Catch-ups of clients run concurrently, up to a limit.
//!
//! If the database does not respond, only delivery stops: connections stay open and requests wait.

use crate::acl_cache::AclCache;
use crate::log_reader::LogReader;
use crate::lookups::{
    CatchUpBatch, CatchUpRequest, DatabaseRequest, DatabaseResponse, LogBatch, LookupRequest, LookupResult,
};
use crate::outbound_queue::Frame;
use crate::presence::{MAX_VIEWED, PodPresence, Presence};
use crate::requests::{CatchUpContinuation, PendingRequest};
use crate::subscription_index::{ConnectionId, SubscriptionIndex};
use pmo_domain::protocol::{
    CLOSE_POLICY_VIOLATION, CLOSE_SERVICE_RESTART, CLOSE_SLOW_CONSUMER, ClientMessage, PresentUser, ServerMessage,
    SubscribeRequest,
};
use pmo_domain::{EntityCode, EntityRef, FeedCursor, PersonId, Snapshot};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// Delay before the next request after a failed one, in milliseconds.
const RETRY_DELAY_MS: i64 = 500;
/// Maximum number of messages and ids in the inbox of one client.
const MAX_INBOX_ITEMS: usize = 5_000;
/// Number of failed catch-ups of one client after which it must reload its data.
const MAX_ATTEMPTS: u8 = 3;
/// Maximum length of a cursor in bytes; it lists the transactions that were in progress.
const MAX_CURSOR_LEN: usize = 4096;
/// Maximum number of pending requests that are processed between two polls.
const MAX_CLIENTS_PER_BATCH: usize = 500;

/// Limits of one pod.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Interval between polls of the change log without a `NOTIFY`, in milliseconds.
    pub poll_interval_ms: i64,
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
            poll_interval_ms: 1000,
            connections_per_person: 100,
            ids: 2_000,
            topics: 20_000,
            catching_up: 2,
            max_catch_up_rows: 10_000,
        }
    }
}

/// Event that the state machine processes.
#[derive(Clone, Debug)]
pub enum Event {
    /// A user has authenticated on a new connection.
    Connected(ConnectionId, PersonId),
    /// A client has sent a message.
    MessageReceived(ConnectionId, ClientMessage),
    /// Display name of a user; arrives before the connection.
    PersonNamed(PersonId, Arc<str>),
    /// Another pod has published the viewers of an entity.
    RemotePresence(PodPresence),
    /// A connection has closed.
    Disconnected(ConnectionId),
    /// `NOTIFY` received: the change log may have new rows.
    LogNotified,
    /// The database has returned a response.
    DatabaseReplied(DatabaseResponse),
    /// A request to the database has failed.
    DatabaseFailed(Lane),
    /// The deadline has passed.
    Tick,
    /// The pod shuts down.
    ShuttingDown,
}

/// Lane of a failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Ordered lane: polls and lookups.
    Ordered,
    /// Concurrent lane: the catch-up of a client.
    CatchUp(CatchUpRequest),
}

/// Effect that the caller must carry out.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Query the database and report [`Event::DatabaseReplied`] or [`Event::DatabaseFailed`].
    QueryDatabase(DatabaseRequest),
    /// Queue a frame for these connections.
    Send(Arc<[ConnectionId]>, Frame),
    /// Close these connections after their queued frames have been sent.
    Close(Arc<[ConnectionId]>, u16, &'static str),
    /// Record a change of the subscriptions.
    Mirror(SubscriptionChange),
    /// Publish the viewers of an entity on this pod to the other pods.
    PublishPresence(EntityRef, Vec<PresentUser>),
    /// These rows have been delivered.
    Delivered(Vec<DeliveredRow>),
}

/// Delivered row of the change log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveredRow {
    /// Transaction id of the row.
    pub xid: i64,
    /// Sequence number of the row.
    pub seq: i64,
    /// Delivery latency since the start of the transaction, in milliseconds.
    pub latency_ms: i64,
}

/// Change of the subscriptions, for the subscription mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionChange {
    /// A connection was opened.
    Opened(ConnectionId, PersonId),
    /// A connection subscribed to entities of a type; `EVERY_INSTANCE` stands for all of them.
    Subscribed(ConnectionId, EntityCode, Vec<Uuid>),
    /// A connection unsubscribed from these entities.
    ///
    /// Without ids: from all entities of the type. Without a type: from everything.
    Unsubscribed(ConnectionId, Option<EntityCode>, Option<Vec<Uuid>>),
    /// A connection was closed.
    Closed(ConnectionId),
}

/// Returns the number of ids in a message.
fn id_count(message: &ClientMessage) -> usize {
    match message {
        ClientMessage::Subscribe(SubscribeRequest { entity_ids: Some(ids), .. }) => ids.len(),
        ClientMessage::Unsubscribe { entity_ids: Some(ids), .. } => ids.len(),
        ClientMessage::Viewing { entities } => entities.len(),
        _ => 0,
    }
}

/// Request in flight in the ordered lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OrderedLane {
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
    ordered: OrderedLane,
    /// Batch that waits for its lookups.
    batch: Option<LogBatch>,
    /// Whether to poll without waiting for the interval.
    notified: bool,
    next_poll_at: i64,
    retry_at: i64,
    /// Whether the last request to the database succeeded.
    database_up: bool,
    /// Number of pending requests to process before the next poll.
    ///
    /// It is set after each batch, so that neither polls nor clients starve. Requests that arrive
    /// later wait for the next batch.
    client_quota: usize,
    /// Types of rows that the poll in flight reads with their parents.
    by_parent: Vec<EntityCode>,
    /// Requests that wait for lookups, in order of arrival.
    pub(crate) pending: VecDeque<PendingRequest>,
    /// Catch-ups that have not been sent to the database.
    pub(crate) catch_up_queue: VecDeque<CatchUpRequest>,
    /// Number of catch-ups in flight.
    catching_up: usize,
    /// Number of catch-ups that have been read and not sent.
    ///
    /// They count against the limit of concurrent catch-ups, because they are large.
    pub(crate) catch_ups_ready: usize,
    /// Time before which no catch-up is started, after a failed one.
    catch_up_retry_at: i64,
    /// Replies that conclude the catch-ups.
    pub(crate) catch_up_continuations: HashMap<ConnectionId, CatchUpContinuation>,
    /// Clients with a request in progress, and the messages that they sent meanwhile.
    pub(crate) inboxes: HashMap<ConnectionId, VecDeque<ClientMessage>>,
    /// Offset of the database clock from the clock of this machine, in milliseconds.
    pub(crate) clock_offset_ms: i64,
    /// Database time up to which expired grants have been processed.
    pub(crate) expired_until: i64,
    /// Number of access changes, sent with ACCESS.
    pub(crate) access_epoch: u64,
    rows_read: u64,
    stopping: bool,
}

impl ChangeFeed {
    /// Creates a feed that starts at the end of the log, at `snapshot`.
    ///
    /// `types`: type markers by type code. `db_now`: time of the database. `now`: time of this
    /// machine. Both in milliseconds since 1970.
    pub fn new(
        limits: Limits,
        (epoch, snapshot): (i64, Snapshot),
        types: HashMap<String, Uuid>,
        db_now: i64,
        now: i64,
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
            next_poll_at: now + limits.poll_interval_ms,
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
            clock_offset_ms: db_now - now,
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
    pub fn next_range(&self) -> crate::log_reader::LogRange {
        self.reader.next_range()
    }

    /// Returns the latest time of the next [`Event::Tick`].
    pub fn deadline(&self, now: i64) -> i64 {
        let expiry = self.acl_cache.next_expiry().map_or(i64::MAX, |expiry| expiry - self.clock_offset_ms);
        // The next poll waits for the request in flight: do not wake up for it.
        let poll = if self.ordered == OrderedLane::Free {
            self.next_poll_at
        } else {
            self.next_poll_at.max(now + self.limits.poll_interval_ms)
        };
        let catch_up = if self.catch_up_queue.is_empty() { i64::MAX } else { self.catch_up_retry_at.max(now + 1) };
        poll.min(expiry).min(catch_up).max(self.retry_at).min(self.presence.deadline())
    }

    /// Processes an event and appends the effects to `out`.
    ///
    /// `now`: time of this machine, in milliseconds since 1970.
    pub fn handle(&mut self, event: Event, now: i64, out: &mut Vec<Effect>) {
        // Do not postpone anything if the clock was set back.
        self.next_poll_at = self.next_poll_at.min(now + self.limits.poll_interval_ms);
        self.retry_at = self.retry_at.min(now + RETRY_DELAY_MS);
        self.catch_up_retry_at = self.catch_up_retry_at.min(now + RETRY_DELAY_MS);
        match event {
            Event::Connected(id, person) => self.on_connect(id, person, out),
            Event::MessageReceived(id, message) => self.on_message(id, message, out),
            Event::PersonNamed(person, name) => self.presence.set_name(person, name),
            Event::RemotePresence(update) => self.on_remote_presence(update, now, out),
            Event::Disconnected(id) => self.on_disconnect(id, out),
            Event::LogNotified => self.notified = true,
            Event::DatabaseReplied(response) => {
                self.database_up = true;
                self.on_database_reply(response, now, out);
            }
            Event::DatabaseFailed(lane) => self.on_database_failure(lane, now),
            Event::Tick => {}
            Event::ShuttingDown => {
                self.stopping = true;
                self.close_all(CLOSE_SERVICE_RESTART, "service restart: reconnect in a few seconds", out);
            }
        }
        self.tick_presence(now, out);
        self.advance(now, out);
        self.start_catching_up(now, out);
    }

    /// Starts queued catch-ups up to the limit.
    fn start_catching_up(&mut self, now: i64, out: &mut Vec<Effect>) {
        while !self.stopping
            && self.retry_at.max(self.catch_up_retry_at) <= now
            && self.catching_up + self.catch_ups_ready < self.limits.catching_up
            && let Some(request) = self.catch_up_queue.pop_front()
        {
            self.catching_up += 1;
            out.push(Effect::QueryDatabase(DatabaseRequest::CatchUp(request)));
        }
    }

    fn on_connect(&mut self, id: ConnectionId, person: PersonId, out: &mut Vec<Effect>) {
        if self.stopping {
            return out.push(Effect::Close(
                [id].into(),
                CLOSE_SERVICE_RESTART,
                "service restart: reconnect in a few seconds",
            ));
        }
        if self.subscription_index.connections_of(person).len() >= self.limits.connections_per_person {
            return out.push(Effect::Close(
                [id].into(),
                CLOSE_POLICY_VIOLATION,
                "too many connections of this user: close some",
            ));
        }
        self.subscription_index.connect(id, person);
        self.inboxes.insert(id, VecDeque::new());
        self.pending.push_back(PendingRequest::Handshake(id));
    }

    fn on_message(&mut self, id: ConnectionId, mut message: ClientMessage, out: &mut Vec<Effect>) {
        match &mut message {
            ClientMessage::Resume { epoch, cursor } if epoch.len() + cursor.len() > MAX_CURSOR_LEN => {
                (*epoch, *cursor) = Default::default();
            }
            ClientMessage::Subscribe(SubscribeRequest { since: Some(since), .. }) if since.len() > MAX_CURSOR_LEN => {
                *since = String::new()
            }
            _ => {}
        }
        // Answer heartbeats immediately, independent of pending requests.
        if message == ClientMessage::Ping {
            if self.subscription_index.person(id).is_some() {
                self.send(id, &ServerMessage::Pong { cursor: self.cursor().to_string() }, out);
            }
            return;
        }
        let ids = id_count(&message);
        let max_ids = if matches!(message, ClientMessage::Viewing { .. }) { MAX_VIEWED } else { self.limits.ids };
        if ids > max_ids {
            let text = format!("at most {max_ids} ids per message");
            return self.send(id, &ServerMessage::Error { message: text, code: "too_many_subscriptions".into() }, out);
        }
        match self.inboxes.get_mut(&id) {
            Some(inbox) if inbox.iter().map(|m| 1 + id_count(m)).sum::<usize>() + ids >= MAX_INBOX_ITEMS => {
                out.push(Effect::Close(
                    [id].into(),
                    CLOSE_SLOW_CONSUMER,
                    "too many pending messages: reconnect and resume",
                ));
            }
            Some(inbox) => inbox.push_back(message),
            None => self.handle_message(id, message, out),
        }
    }

    /// Ends the request in progress of a client and processes its queued messages.
    ///
    /// Stops at a message that starts another request.
    pub(crate) fn drain_inbox(&mut self, id: ConnectionId, out: &mut Vec<Effect>) {
        while let Some(mut inbox) = self.inboxes.remove(&id) {
            let Some(message) = inbox.pop_front() else { return };
            self.handle_message(id, message, out);
            match self.inboxes.get_mut(&id) {
                Some(current) => {
                    *current = inbox;
                    return;
                }
                None => drop(self.inboxes.insert(id, inbox)),
            }
        }
    }

    fn on_disconnect(&mut self, id: ConnectionId, out: &mut Vec<Effect>) {
        let Some(person) = self.subscription_index.person(id) else { return };
        self.retain_viewed(id, |_| false, out);
        if self.subscription_index.disconnect(id) {
            self.acl_cache.remove_person(person);
            self.presence.remove_person(person);
        }
        self.inboxes.remove(&id);
        self.catch_up_queue.retain(|request| request.connection != id);
        self.catch_up_continuations.remove(&id);
        if self.pending.len() > 2 * self.subscription_index.connections() + MAX_CLIENTS_PER_BATCH {
            // Remove requests of closed connections, which accumulate while the database is
            // unavailable.
            let is_connected = |request: &PendingRequest| {
                request.connection().is_none_or(|id| self.subscription_index.person(id).is_some())
            };
            self.pending.retain(is_connected);
            self.client_quota = self.client_quota.min(self.pending.len());
            self.catch_ups_ready =
                self.pending.iter().filter(|request| matches!(request, PendingRequest::CatchUpReady(..))).count();
        }
        out.push(Effect::Mirror(SubscriptionChange::Closed(id)));
    }

    fn on_database_reply(&mut self, response: DatabaseResponse, now: i64, out: &mut Vec<Effect>) {
        match response {
            DatabaseResponse::LogBatch(batch) => {
                self.ordered = OrderedLane::Free;
                self.clock_offset_ms = batch.db_now_ms - now;
                let added_types: Vec<EntityCode> = self
                    .subscription_index
                    .types_subscribed_by_parent()
                    .into_iter()
                    .filter(|code| !self.by_parent.contains(code))
                    .collect();
                if batch.epoch != self.reader.cursor().epoch {
                    self.reset_for_epoch(batch.epoch, batch.snapshot, out);
                } else if batch.rows.iter().any(|row| added_types.contains(&row.code)) {
                    // A client subscribed by parent to a type of this batch during the poll, and
                    // the rows were read without their parents. Poll the same range again.
                    self.notified = true;
                } else {
                    self.batch = Some(batch);
                }
            }
            DatabaseResponse::Lookup(result) => {
                self.ordered = OrderedLane::Free;
                if let Some(types) = result.types {
                    self.acl_cache.set_type_markers(types);
                }
                for (ancestor_set, ancestors) in result.ancestor_sets {
                    self.acl_cache.insert_ancestor_set(ancestor_set, ancestors);
                }
                self.lookup_result.people.extend(result.people);
                self.lookup_result.entities.extend(result.entities);
            }
            DatabaseResponse::CatchUp(id, batch) => {
                self.catching_up -= 1;
                if let Some(then) = self.take_catch_up(id) {
                    self.catch_ups_ready += 1;
                    self.pending.push_back(PendingRequest::CatchUpReady(id, batch, then));
                }
            }
        }
    }

    fn on_database_failure(&mut self, lane: Lane, now: i64) {
        match lane {
            Lane::Ordered => {
                self.database_up = false;
                self.retry_at = now + RETRY_DELAY_MS;
                self.notified |= self.ordered == OrderedLane::Polling;
                // The lookups may be outdated when the batch can be delivered.
                self.clear_lookups();
                self.ordered = OrderedLane::Free;
            }
            Lane::CatchUp(mut request) => {
                self.catching_up -= 1;
                self.catch_up_retry_at = now + RETRY_DELAY_MS;
                request.attempts = request.attempts.saturating_add(1);
                // Retry without limit while the database is unavailable. If the database responds
                // to other requests, this catch-up is too expensive: give up after `MAX_ATTEMPTS`.
                if self.database_up && request.attempts > MAX_ATTEMPTS {
                    if let Some(then) = self.take_catch_up(request.connection) {
                        self.catch_ups_ready += 1;
                        self.pending.push_back(PendingRequest::CatchUpReady(
                            request.connection,
                            CatchUpBatch::default(),
                            then,
                        ));
                    }
                } else if self.inboxes.contains_key(&request.connection) {
                    self.catch_up_queue.push_back(request);
                } else {
                    self.catch_up_continuations.remove(&request.connection);
                }
            }
        }
    }

    /// Discards all lookup results.
    fn clear_lookups(&mut self) {
        self.lookup_result = LookupResult::default();
        self.requested = LookupRequest::default();
    }

    /// Closes all connections and restarts at the end of the log of another database.
    ///
    /// Transaction ids and sequence numbers are not comparable between epochs.
    fn reset_for_epoch(&mut self, epoch: i64, snapshot: Snapshot, out: &mut Vec<Effect>) {
        self.close_all(CLOSE_SERVICE_RESTART, "the feed was reset: reconnect", out);
        self.reader = LogReader::new(epoch, snapshot);
        self.acl_cache = AclCache::default();
        self.batch = None;
    }

    /// Closes all connections and discards their state.
    fn close_all(&mut self, code: u16, reason: &'static str, out: &mut Vec<Effect>) {
        let ids: Vec<ConnectionId> = self.subscription_index.ids().collect();
        out.extend(ids.iter().map(|id| Effect::Mirror(SubscriptionChange::Closed(*id))));
        out.push(Effect::Close(ids.into(), code, reason));
        self.subscription_index = SubscriptionIndex::default();
        self.presence = Presence::default();
        self.inboxes.clear();
        self.pending.clear();
        self.client_quota = 0;
        self.catch_ups_ready = 0;
        self.catch_up_queue.clear();
        self.clear_catch_ups();
    }

    /// Delivers batches, executes pending requests and sends the next request of the ordered lane.
    fn advance(&mut self, now: i64, out: &mut Vec<Effect>) {
        if self.stopping || self.retry_at > now {
            return;
        }
        self.enqueue_expired_grants(now);
        while self.ordered == OrderedLane::Free {
            if let Some(batch) = self.batch.take() {
                let lookups = self.lookups_for_batch(&batch, now);
                if !lookups.is_empty() {
                    self.batch = Some(batch);
                    return self.request_lookups(lookups, OrderedLane::LookupsForBatch, out);
                }
                self.notified |= self.deliver_batch(batch, now, out);
                self.clear_lookups();
                // Admit no clients during a partial read. The cursor still names the beginning of
                // the range, so a new client would receive only the remaining rows and miss those
                // delivered before.
                self.client_quota =
                    if self.reader.is_mid_batch() { 0 } else { self.pending.len().min(MAX_CLIENTS_PER_BATCH) };
                continue;
            }
            let poll_due = self.notified || self.next_poll_at <= now || self.reader.is_mid_batch();
            if !poll_due && self.client_quota == 0 {
                self.client_quota = self.pending.len().min(MAX_CLIENTS_PER_BATCH);
            }
            if self.client_quota > 0 {
                let lookups = self.run_pending(now, out);
                if !lookups.is_empty() {
                    return self.request_lookups(lookups, OrderedLane::LookupsForClients, out);
                }
                continue;
            }
            if !poll_due {
                return;
            }
            self.clear_lookups();
            self.acl_cache.evict_if_full();
            self.notified = false;
            self.next_poll_at = now + self.limits.poll_interval_ms;
            self.ordered = OrderedLane::Polling;
            let (ask, by_parent) = (self.reader.next_range(), self.subscription_index.types_subscribed_by_parent());
            self.by_parent.clone_from(&by_parent);
            out.push(Effect::QueryDatabase(DatabaseRequest::Poll { range: ask, by_parent }));
        }
    }

    fn request_lookups(&mut self, lookups: LookupRequest, lane: OrderedLane, out: &mut Vec<Effect>) {
        let lookups = lookups.first_chunk();
        self.requested.merge(lookups.clone());
        self.ordered = lane;
        out.push(Effect::QueryDatabase(DatabaseRequest::Lookup(lookups)));
    }

    /// Executes pending requests with complete lookups. Returns the lookups for the others.
    fn run_pending(&mut self, now: i64, out: &mut Vec<Effect>) -> LookupRequest {
        let mut lookups = LookupRequest::default();
        let mut waiting = VecDeque::new();
        for _ in 0..self.client_quota {
            let Some(request) = self.pending.pop_front() else { break };
            let missing = self.lookups_for(&request);
            if missing.is_empty() {
                self.execute(request, now, out);
            } else {
                lookups.merge(missing);
                waiting.push_back(request);
            }
        }
        self.client_quota = waiting.len();
        while let Some(request) = waiting.pop_back() {
            self.pending.push_front(request);
        }
        lookups
    }

    /// Delivers a batch and advances the cursor. Returns whether to poll again immediately.
    fn deliver_batch(&mut self, batch: LogBatch, now: i64, out: &mut Vec<Effect>) -> bool {
        self.publish(&batch.rows, &batch.access, now, out);
        let delivered_at = now + self.clock_offset_ms;
        if !batch.rows.is_empty() {
            out.push(Effect::Delivered(
                batch
                    .rows
                    .iter()
                    .map(|row| DeliveredRow {
                        xid: row.xid,
                        seq: row.seq,
                        latency_ms: delivered_at - row.tx_started_at_ms,
                    })
                    .collect(),
            ));
        }
        self.rows_read += batch.rows.len() as u64;
        self.reader.accept(&batch.rows, batch.snapshot, batch.has_more)
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
