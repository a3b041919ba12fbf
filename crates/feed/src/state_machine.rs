//! The machine of one pod: events in, effects out. The database is asked one question at a time for what must be in order (looks at the log,
//! and facts, which must not be older than what was told last), and a few more for clients that catch up. A database that does not answer
//! stops nothing but telling: sockets stay, questions wait.

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

/// After a question that failed, milliseconds until the next.
const RETRY_DELAY_MS: i64 = 500;
/// Messages and ids of one client that wait for their turn.
const MAX_INBOX_ITEMS: usize = 5_000;
/// Questions of one client that fail before it is told to start over.
const MAX_ATTEMPTS: u8 = 3;
/// Longest cursor that is read: it names the transactions that were under way.
const MAX_CURSOR_LEN: usize = 4096;
/// Clients that are answered together.
const MAX_CLIENTS_PER_BATCH: usize = 500;

/// What a pod bears.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Milliseconds between looks where no doorbell rings.
    pub poll_interval_ms: i64,
    /// Sockets of one person.
    pub connections_per_person: usize,
    /// Ids in one SUBSCRIBE.
    pub ids: usize,
    /// Topics of one socket.
    pub topics: usize,
    /// Clients that catch up at once.
    pub catching_up: usize,
    /// Rows of the log that one that catches up is told; more than that, and it starts over.
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

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A person has signed in on a new socket.
    Connected(ConnectionId, PersonId),
    /// A message of it.
    MessageReceived(ConnectionId, ClientMessage),
    /// What a person is called, before they connect.
    PersonNamed(PersonId, Arc<str>),
    /// Another pod says who looks at a thing there.
    RemotePresence(PodPresence),
    /// It is gone.
    Disconnected(ConnectionId),
    /// The doorbell: the log has grown.
    LogNotified,
    /// The database answered.
    DatabaseReplied(DatabaseResponse),
    /// It did not.
    DatabaseFailed(Lane),
    /// Time has passed.
    Tick,
    /// The pod stops.
    ShuttingDown,
}

/// Which question failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The one that is asked in order: a look, or facts.
    Ordered,
    /// What a client missed.
    Past(CatchUpRequest),
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Ask the database, and say [`Event::Answered`] or [`Event::Failed`].
    QueryDatabase(DatabaseRequest),
    /// Queue a frame for these sockets.
    Send(Arc<[ConnectionId]>, Frame),
    /// Close these sockets once what waits has left.
    Close(Arc<[ConnectionId]>, u16, &'static str),
    /// Write down who watches what.
    Mirror(SubscriptionChange),
    /// Tell the other pods who looks at a thing here.
    PublishPresence(EntityRef, Vec<PresentUser>),
    /// These rows have been told.
    Delivered(Vec<DeliveredRow>),
}

/// A row of the log that has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveredRow {
    /// Its transaction,
    pub xid: i64,
    /// and its number.
    pub seq: i64,
    /// How long after the start of the transaction, in milliseconds.
    pub latency_ms: i64,
}

/// A change of who watches what, for the durable mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubscriptionChange {
    /// A socket is open.
    Opened(ConnectionId, PersonId),
    /// It watches things of a type.
    Subscribed(ConnectionId, EntityCode, Vec<Uuid>),
    /// It stops watching these, or all of the type; without a type, everything.
    Unsubscribed(ConnectionId, Option<EntityCode>, Option<Vec<Uuid>>),
    /// It is gone.
    Closed(ConnectionId),
}

fn id_count(message: &ClientMessage) -> usize {
    match message {
        ClientMessage::Subscribe(SubscribeRequest { entity_ids: Some(ids), .. }) => ids.len(),
        ClientMessage::Unsubscribe { entity_ids: Some(ids), .. } => ids.len(),
        ClientMessage::Viewing { things } => things.len(),
        _ => 0,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OrderedLane {
    Free,
    Looking,
    /// Facts for what was seen in a look,
    ForLook,
    /// and for clients.
    ForClients,
}

/// One pod.
pub struct ChangeFeed {
    pub(crate) limits: Limits,
    pub(crate) reader: LogReader,
    pub(crate) watching: SubscriptionIndex,
    pub(crate) access: AclCache,
    pub(crate) presence: Presence,
    /// What was asked since the last look; older facts are worth nothing.
    pub(crate) facts: LookupResult,
    /// That were asked for and do not exist, too.
    pub(crate) requested: LookupRequest,
    ordered: OrderedLane,
    /// A look that can't be told yet.
    look: Option<LogBatch>,
    notified: bool,
    next_poll_at: i64,
    retry_at: i64,
    /// Whether the database answered last.
    database_up: bool,
    /// Clients whose turn it is. They go first after a look, so that neither starves; who comes meanwhile waits for the next.
    client_quota: usize,
    /// Types whose parents were asked for in the look that is under way.
    by_parent: Vec<EntityCode>,
    /// What waits for facts.
    pub(crate) pending: VecDeque<PendingRequest>,
    pub(crate) catch_up_queue: VecDeque<CatchUpRequest>,
    catching_up: usize,
    /// Those whose answer is there and not told yet: it is large, and so they count, too.
    pub(crate) catch_ups_ready: usize,
    pasts_retry_at: i64,
    pub(crate) catch_up_continuations: HashMap<ConnectionId, CatchUpContinuation>,
    /// Clients that wait for an answer, with what they said meanwhile.
    pub(crate) inboxes: HashMap<ConnectionId, VecDeque<ClientMessage>>,
    /// How far the database's clock is ahead of this machine's, in milliseconds.
    pub(crate) clock_offset_ms: i64,
    /// Grants that ended before this, by the database's clock, are dealt with.
    pub(crate) expired_until: i64,
    pub(crate) access_epoch: u64,
    rows_read: u64,
    stopping: bool,
}

impl ChangeFeed {
    /// Begins at the end of the log, as it was in `present`. `types`: markers by type; `clock`: the database's.
    pub fn new(
        limits: Limits,
        (epoch, present): (i64, Snapshot),
        types: HashMap<String, Uuid>,
        clock: i64,
        now: i64,
    ) -> Self {
        let mut access = AclCache::default();
        access.set_type_markers(types);
        Self {
            reader: LogReader::new(epoch, present),
            watching: SubscriptionIndex::default(),
            access,
            presence: Presence::default(),
            facts: LookupResult::default(),
            requested: LookupRequest::default(),
            ordered: OrderedLane::Free,
            look: None,
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
            pasts_retry_at: now,
            catch_up_continuations: HashMap::new(),
            inboxes: HashMap::new(),
            clock_offset_ms: clock - now,
            expired_until: clock,
            access_epoch: 0,
            rows_read: 0,
            stopping: false,
            limits,
        }
    }

    /// Open sockets, distinct people, topics.
    pub fn stats(&self) -> (usize, usize, usize) {
        (self.watching.connections(), self.access.people(), self.watching.subscriptions())
    }

    /// Rows of the log that were told since the start.
    pub fn rows_read(&self) -> u64 {
        self.rows_read
    }

    /// Whether the database answered last.
    pub fn answers(&self) -> bool {
        self.database_up
    }

    /// What will be asked of the log next.
    pub fn next_ask(&self) -> crate::log_reader::LogRange {
        self.reader.next_range()
    }

    /// When to say [`Event::Tick`], at the latest.
    pub fn deadline(&self, now: i64) -> i64 {
        let end = self.access.next_end().map_or(i64::MAX, |end| end - self.clock_offset_ms);
        // A look that is under way is waited for, however long it takes.
        let look = if self.ordered == OrderedLane::Free {
            self.next_poll_at
        } else {
            self.next_poll_at.max(now + self.limits.poll_interval_ms)
        };
        let pasts = if self.catch_up_queue.is_empty() { i64::MAX } else { self.pasts_retry_at.max(now + 1) };
        look.min(end).min(pasts).max(self.retry_at).min(self.presence.deadline())
    }

    /// Takes an event. `now`: this machine's clock, in milliseconds since 1970.
    pub fn handle(&mut self, event: Event, now: i64, out: &mut Vec<Effect>) {
        // A clock that was set back must not put anything off.
        self.next_poll_at = self.next_poll_at.min(now + self.limits.poll_interval_ms);
        self.retry_at = self.retry_at.min(now + RETRY_DELAY_MS);
        self.pasts_retry_at = self.pasts_retry_at.min(now + RETRY_DELAY_MS);
        match event {
            Event::Connected(id, person) => self.on_connect(id, person, out),
            Event::MessageReceived(id, message) => self.on_message(id, message, out),
            Event::PersonNamed(person, name) => self.presence.set_name(person, name),
            Event::RemotePresence(said) => self.elsewhere(said, now, out),
            Event::Disconnected(id) => self.on_disconnect(id, out),
            Event::LogNotified => self.notified = true,
            Event::DatabaseReplied(answer) => {
                self.database_up = true;
                self.on_database_reply(answer, now, out);
            }
            Event::DatabaseFailed(lane) => self.on_database_failure(lane, now),
            Event::Tick => {}
            Event::ShuttingDown => {
                self.stopping = true;
                self.close_all(CLOSE_SERVICE_RESTART, "the service restarts: reconnect in a few seconds", out);
            }
        }
        self.tick_presence(now, out);
        self.advance(now, out);
        self.start_catching_up(now, out);
    }

    fn start_catching_up(&mut self, now: i64, out: &mut Vec<Effect>) {
        while !self.stopping
            && self.retry_at.max(self.pasts_retry_at) <= now
            && self.catching_up + self.catch_ups_ready < self.limits.catching_up
            && let Some(past) = self.catch_up_queue.pop_front()
        {
            self.catching_up += 1;
            out.push(Effect::QueryDatabase(DatabaseRequest::Past(past)));
        }
    }

    fn on_connect(&mut self, id: ConnectionId, person: PersonId, out: &mut Vec<Effect>) {
        if self.stopping {
            return out.push(Effect::Close(
                [id].into(),
                CLOSE_SERVICE_RESTART,
                "the service restarts: reconnect in a few seconds",
            ));
        }
        if self.watching.connections_of(person).len() >= self.limits.connections_per_person {
            return out.push(Effect::Close(
                [id].into(),
                CLOSE_POLICY_VIOLATION,
                "too many connections of one person: close some",
            ));
        }
        self.watching.connect(id, person);
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
        // A heartbeat is answered whatever else is slow.
        if message == ClientMessage::Ping {
            if self.watching.person(id).is_some() {
                self.send(id, &ServerMessage::Pong { cursor: self.cursor().to_string() }, out);
            }
            return;
        }
        let more = id_count(&message);
        let most = if matches!(message, ClientMessage::Viewing { .. }) { MAX_VIEWED } else { self.limits.ids };
        if more > most {
            let text = format!("at most {most} ids in a message");
            return self.send(id, &ServerMessage::Error { message: text, code: "too_many_subscriptions".into() }, out);
        }
        match self.inboxes.get_mut(&id) {
            Some(waiting) if waiting.iter().map(|m| 1 + id_count(m)).sum::<usize>() + more >= MAX_INBOX_ITEMS => {
                out.push(Effect::Close([id].into(), CLOSE_SLOW_CONSUMER, "too much waits: reconnect and resume"));
            }
            Some(waiting) => waiting.push_back(message),
            None => self.handle_message(id, message, out),
        }
    }

    /// A client has its answer: what it said meanwhile is next.
    pub(crate) fn drain_inbox(&mut self, id: ConnectionId, out: &mut Vec<Effect>) {
        while let Some(mut waiting) = self.inboxes.remove(&id) {
            let Some(message) = waiting.pop_front() else { return };
            self.handle_message(id, message, out);
            match self.inboxes.get_mut(&id) {
                Some(busy) => {
                    *busy = waiting;
                    return;
                }
                None => drop(self.inboxes.insert(id, waiting)),
            }
        }
    }

    fn on_disconnect(&mut self, id: ConnectionId, out: &mut Vec<Effect>) {
        let Some(person) = self.watching.person(id) else { return };
        self.retain_viewed(id, |_| false, out);
        if self.watching.disconnect(id) {
            self.access.remove_person(person);
            self.presence.remove_person(person);
        }
        self.inboxes.remove(&id);
        self.catch_up_queue.retain(|past| past.connection != id);
        self.catch_up_continuations.remove(&id);
        if self.pending.len() > 2 * self.watching.connections() + MAX_CLIENTS_PER_BATCH {
            // Who came and went while the database was away.
            let here = |job: &PendingRequest| job.connection().is_none_or(|id| self.watching.person(id).is_some());
            self.pending.retain(here);
            self.client_quota = self.client_quota.min(self.pending.len());
            self.catch_ups_ready =
                self.pending.iter().filter(|job| matches!(job, PendingRequest::CatchUpReady(..))).count();
        }
        out.push(Effect::Mirror(SubscriptionChange::Closed(id)));
    }

    fn on_database_reply(&mut self, answer: DatabaseResponse, now: i64, out: &mut Vec<Effect>) {
        match answer {
            DatabaseResponse::Look(look) => {
                self.ordered = OrderedLane::Free;
                self.clock_offset_ms = look.db_now_ms - now;
                let new: Vec<EntityCode> = self
                    .watching
                    .types_subscribed_by_parent()
                    .into_iter()
                    .filter(|code| !self.by_parent.contains(code))
                    .collect();
                if look.epoch != self.reader.cursor().epoch {
                    self.reset_for_epoch(look.epoch, look.snapshot, out);
                } else if look.rows.iter().any(|row| new.contains(&row.code)) {
                    // Somebody began meanwhile to watch such things by what they hang below, which was not asked for.
                    self.notified = true;
                } else {
                    self.look = Some(look);
                }
            }
            DatabaseResponse::Facts(facts) => {
                self.ordered = OrderedLane::Free;
                if let Some(types) = facts.types {
                    self.access.set_type_markers(types);
                }
                for (reach, above) in facts.reaches {
                    self.access.insert_ancestor_set(reach, above);
                }
                self.facts.people.extend(facts.people);
                self.facts.things.extend(facts.things);
            }
            DatabaseResponse::Past(id, missed) => {
                self.catching_up -= 1;
                if let Some(then) = self.take_catch_up(id) {
                    self.catch_ups_ready += 1;
                    self.pending.push_back(PendingRequest::CatchUpReady(id, missed, then));
                }
            }
        }
    }

    fn on_database_failure(&mut self, lane: Lane, now: i64) {
        match lane {
            Lane::Ordered => {
                self.database_up = false;
                self.retry_at = now + RETRY_DELAY_MS;
                self.notified |= self.ordered == OrderedLane::Looking;
                // What has been found out by now may be old when it can be told.
                self.clear_lookups();
                self.ordered = OrderedLane::Free;
            }
            Lane::Past(mut past) => {
                self.catching_up -= 1;
                self.pasts_retry_at = now + RETRY_DELAY_MS;
                past.attempts = past.attempts.saturating_add(1);
                // While the database is away everybody waits; a question that is too much for it when it is there is not asked for ever.
                if self.database_up && past.attempts > MAX_ATTEMPTS {
                    if let Some(then) = self.take_catch_up(past.connection) {
                        self.catch_ups_ready += 1;
                        self.pending.push_back(PendingRequest::CatchUpReady(
                            past.connection,
                            CatchUpBatch::default(),
                            then,
                        ));
                    }
                } else if self.inboxes.contains_key(&past.connection) {
                    self.catch_up_queue.push_back(past);
                } else {
                    self.catch_up_continuations.remove(&past.connection);
                }
            }
        }
    }

    fn clear_lookups(&mut self) {
        self.facts = LookupResult::default();
        self.requested = LookupRequest::default();
    }

    /// Numbers of another database mean nothing here.
    fn reset_for_epoch(&mut self, epoch: i64, present: Snapshot, out: &mut Vec<Effect>) {
        self.close_all(CLOSE_SERVICE_RESTART, "the feed began anew: reconnect", out);
        self.reader = LogReader::new(epoch, present);
        self.access = AclCache::default();
        self.look = None;
    }

    fn close_all(&mut self, code: u16, reason: &'static str, out: &mut Vec<Effect>) {
        let all: Vec<ConnectionId> = self.watching.ids().collect();
        out.extend(all.iter().map(|id| Effect::Mirror(SubscriptionChange::Closed(*id))));
        out.push(Effect::Close(all.into(), code, reason));
        self.watching = SubscriptionIndex::default();
        self.presence = Presence::default();
        self.inboxes.clear();
        self.pending.clear();
        self.client_quota = 0;
        self.catch_ups_ready = 0;
        self.catch_up_queue.clear();
        self.clear_catch_ups();
    }

    /// Asks what is due, and decides what can be decided.
    fn advance(&mut self, now: i64, out: &mut Vec<Effect>) {
        if self.stopping || self.retry_at > now {
            return;
        }
        self.enqueue_expired_grants(now);
        while self.ordered == OrderedLane::Free {
            if let Some(look) = self.look.take() {
                let needs = self.lookups_for_batch(&look, now);
                if !needs.is_empty() {
                    self.look = Some(look);
                    return self.request_lookups(needs, OrderedLane::ForLook, out);
                }
                self.notified |= self.deliver_batch(look, now, out);
                self.clear_lookups();
                // Who came in the middle of a burst would hear its end, stand where it began, and miss what lies between.
                self.client_quota =
                    if self.reader.is_mid_batch() { 0 } else { self.pending.len().min(MAX_CLIENTS_PER_BATCH) };
                continue;
            }
            let looks = self.notified || self.next_poll_at <= now || self.reader.is_mid_batch();
            if !looks && self.client_quota == 0 {
                self.client_quota = self.pending.len().min(MAX_CLIENTS_PER_BATCH);
            }
            if self.client_quota > 0 {
                let needs = self.run_pending(now, out);
                if !needs.is_empty() {
                    return self.request_lookups(needs, OrderedLane::ForClients, out);
                }
                continue;
            }
            if !looks {
                return;
            }
            self.clear_lookups();
            self.access.evict_if_full();
            self.notified = false;
            self.next_poll_at = now + self.limits.poll_interval_ms;
            self.ordered = OrderedLane::Looking;
            let (ask, by_parent) = (self.reader.next_range(), self.watching.types_subscribed_by_parent());
            self.by_parent.clone_from(&by_parent);
            out.push(Effect::QueryDatabase(DatabaseRequest::Look { ask, by_parent }));
        }
    }

    fn request_lookups(&mut self, needs: LookupRequest, of: OrderedLane, out: &mut Vec<Effect>) {
        let needs = needs.first_chunk();
        self.requested.merge(needs.clone());
        self.ordered = of;
        out.push(Effect::QueryDatabase(DatabaseRequest::Facts(needs)));
    }

    /// Decides what waits and can be decided; answers what must be known for the rest.
    fn run_pending(&mut self, now: i64, out: &mut Vec<Effect>) -> LookupRequest {
        let mut needs = LookupRequest::default();
        let mut waiting = VecDeque::new();
        for _ in 0..self.client_quota {
            let Some(job) = self.pending.pop_front() else { break };
            let missing = self.lookups_for(&job);
            if missing.is_empty() {
                self.execute(job, now, out);
            } else {
                needs.merge(missing);
                waiting.push_back(job);
            }
        }
        self.client_quota = waiting.len();
        while let Some(job) = waiting.pop_back() {
            self.pending.push_front(job);
        }
        needs
    }

    fn deliver_batch(&mut self, look: LogBatch, now: i64, out: &mut Vec<Effect>) -> bool {
        self.publish(&look.rows, &look.access, now, out);
        let told = now + self.clock_offset_ms;
        if !look.rows.is_empty() {
            out.push(Effect::Delivered(
                look.rows
                    .iter()
                    .map(|row| DeliveredRow { xid: row.xid, seq: row.seq, latency_ms: told - row.tx_started_at_ms })
                    .collect(),
            ));
        }
        self.rows_read += look.rows.len() as u64;
        self.reader.accept(&look.rows, look.snapshot, look.has_more)
    }

    /// Where the feed stands: everything up to here has been told.
    pub fn cursor(&self) -> FeedCursor {
        self.reader.cursor()
    }

    pub(crate) fn send(&self, id: ConnectionId, message: &ServerMessage, out: &mut Vec<Effect>) {
        out.push(Effect::Send([id].into(), Frame::message(message)));
    }
}
