//! State machine of one pod: events in, effects out.
//!
//! Two lanes query the database. In the ordered lane one request is in flight at a time: it polls
//! the change log and loads lookups. Lookups must not be older than the last delivered batch, which
//! this order guarantees. Catch-ups of clients run concurrently, up to a limit.
//!
//! If the database does not respond, only delivery stops: connections stay open and requests wait.

use crate::acl_cache::AclCache;
use crate::change_feed::{ChangeFeed, OrderedLane};
use crate::event::{DeliveredRow, Effect, Event, Lane, SubscriptionChange};
use crate::log_reader::LogReader;
use crate::lookups::{DatabaseRequest, DatabaseResponse, LookupRequest};
use crate::pending::PendingRequest;
use crate::presence::{MAX_VIEWED, Presence};
use crate::subscription_index::SubscriptionIndex;
use crate::topic::ConnectionId;
use pmo_domain::change_log::{CatchUpBatch, LogBatch};
use pmo_domain::protocol::{
    CLOSE_POLICY_VIOLATION, CLOSE_SERVICE_RESTART, CLOSE_SLOW_CONSUMER, ClientMessage, ServerMessage, SubscribeRequest,
};
use pmo_domain::{EntityCode, PersonId, Snapshot, UnixMillis};
use std::collections::VecDeque;
use std::time::Duration;

/// Delay before the next request after a failed one.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// Maximum number of messages and ids in the inbox of one client.
const MAX_INBOX_ITEMS: usize = 5_000;
/// Number of failed catch-ups of one client after which it must reload its data.
const MAX_ATTEMPTS: u8 = 3;
/// Maximum length of a cursor in bytes; it lists the transactions that were in progress.
const MAX_CURSOR_LEN: usize = 4096;
/// Maximum number of pending requests that are processed between two polls.
const MAX_CLIENTS_PER_BATCH: usize = 500;

/// Returns the number of ids in a message.
fn id_count(message: &ClientMessage) -> usize {
    match message {
        ClientMessage::Subscribe(SubscribeRequest { entity_ids: Some(ids), .. }) => ids.len(),
        ClientMessage::Unsubscribe { entity_ids: Some(ids), .. } => ids.len(),
        ClientMessage::Viewing { entities } => entities.len(),
        _ => 0,
    }
}

impl ChangeFeed {
    /// Returns the latest time of the next [`Event::Tick`].
    pub fn deadline(&self, now: UnixMillis) -> UnixMillis {
        let expiry = self.acl_cache.next_expiry().map_or(UnixMillis::MAX, |expiry| self.local_time(expiry));
        // The next poll waits for the request in flight: do not wake up for it.
        let poll = if self.ordered == OrderedLane::Free {
            self.next_poll_at
        } else {
            self.next_poll_at.max(now + self.limits.poll_interval)
        };
        let catch_up = if self.catch_up_queue.is_empty() {
            UnixMillis::MAX
        } else {
            self.catch_up_retry_at.max(now + Duration::from_millis(1))
        };
        poll.min(expiry).min(catch_up).max(self.retry_at).min(self.presence.deadline())
    }

    /// Processes an event and appends the effects to `out`.
    ///
    /// `now`: time of this machine.
    pub fn handle(&mut self, event: Event, now: UnixMillis, out: &mut Vec<Effect>) {
        // Do not postpone anything if the clock was set back.
        self.next_poll_at = self.next_poll_at.min(now + self.limits.poll_interval);
        self.retry_at = self.retry_at.min(now + RETRY_DELAY);
        self.catch_up_retry_at = self.catch_up_retry_at.min(now + RETRY_DELAY);
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
    fn start_catching_up(&mut self, now: UnixMillis, out: &mut Vec<Effect>) {
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

    fn on_database_reply(&mut self, response: DatabaseResponse, now: UnixMillis, out: &mut Vec<Effect>) {
        match response {
            DatabaseResponse::LogBatch(batch) => {
                self.ordered = OrderedLane::Free;
                self.clock_offset_ms = batch.db_now.get() - now.get();
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

    fn on_database_failure(&mut self, lane: Lane, now: UnixMillis) {
        match lane {
            Lane::Ordered => {
                self.database_up = false;
                self.retry_at = now + RETRY_DELAY;
                self.notified |= self.ordered == OrderedLane::Polling;
                // The lookups may be outdated when the batch can be delivered.
                self.clear_lookups();
                self.ordered = OrderedLane::Free;
            }
            Lane::CatchUp(mut request) => {
                self.catching_up -= 1;
                self.catch_up_retry_at = now + RETRY_DELAY;
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
    fn advance(&mut self, now: UnixMillis, out: &mut Vec<Effect>) {
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
            self.next_poll_at = now + self.limits.poll_interval;
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
    fn run_pending(&mut self, now: UnixMillis, out: &mut Vec<Effect>) -> LookupRequest {
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
    fn deliver_batch(&mut self, batch: LogBatch, now: UnixMillis, out: &mut Vec<Effect>) -> bool {
        self.publish(&batch.rows, &batch.access, now, out);
        let delivered_at = self.db_now(now);
        if !batch.rows.is_empty() {
            out.push(Effect::Delivered(
                batch
                    .rows
                    .iter()
                    .map(|row| DeliveredRow {
                        xid: row.xid,
                        seq: row.seq,
                        latency: delivered_at.since(row.tx_started_at),
                    })
                    .collect(),
            ));
        }
        self.rows_read += batch.rows.len() as u64;
        self.reader.accept(batch)
    }
}
