//! Sync engine of the client: takes events, returns effects (sans-I/O).
//!
//! This module holds the state and dispatches the events. Each submodule decides on one subject.

mod drafts; // drafts of this tab, reconciled with those of other tabs
mod fetch; // decides which reads are sent, and when
mod hydration; // loads the cache from disk
mod inspect; // diagnostic tables for the devtools
mod leadership; // leader/follower protocol between tabs
mod local_search; // search by name among the entities on this device
mod mutations; // optimistic writes, sent in order and merged on conflict
mod persistence; // writes the cache to disk and evicts from it
mod pinned_trees; // trees that are available offline
mod presence; // other users who view the same entities
mod read_api; // read access for components
mod realtime; // WebSocket messages, and polling as a fallback
mod responses; // applies the responses to reads
#[cfg(test)]
mod stored_format_tests; // serialized names of cached records

pub use inspect::TextTable;
pub use local_search::SearchHit;
#[cfg(test)]
pub(crate) use pinned_trees::PinnedRoot;
pub use pinned_trees::PinnedTreeStatus;
pub use read_api::{CachedRowView, ListView, RowView, Status};

use crate::cache::{Cache, Slot};
use crate::collections::{DetHashMap, DetHashSet, VecMap};
use crate::draft::Draft;
use crate::event::{Effect, Event, ObserverId};
use crate::outbox::{Operation, OutboxEntry};
use crate::query_key::{ListKey, Query, ReferenceDataKey, Topic};
use crate::reconnect::SocketSession;
use crate::request::{Request, RequestId};
use crate::settings::EngineConfig;
use crate::tab_protocol::{TabId, TabMessage};
use persistence::PersistenceState;
use pmo_domain::{Catalog, EntityCode, EntityRef, PersonId, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Purpose of a request in flight; decides how its response is handled.
#[derive(Clone, Debug)]
enum PendingRequest {
    Row(EntityRef),
    Rows(EntityCode, Vec<Uuid>),
    /// Page of a list, with the ids collected from the pages before it.
    Page {
        key: ListKey,
        collected: Vec<Uuid>,
        feed_cursor: Option<String>,
        more: bool,
    },
    Meta(ReferenceDataKey),
    Tree(EntityRef),
    Write(Uuid),
    Changes,
}

/// Retry state of a query whose last request failed.
#[derive(Clone, Copy, Debug)]
struct Retry {
    attempts: u32,
    at: UnixMillis,
}

/// Position in the change feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedPosition {
    /// Epoch of the database, as sent in HELLO.
    pub epoch: String,
    /// Last cursor received in this epoch.
    pub cursor: String,
}

/// Cached reference data.
struct ReferenceData {
    data: Arc<Value>,
    synced_at: UnixMillis,
    stale: bool,
}

/// Sync engine of one user in one tab.
pub struct Engine {
    settings: EngineConfig,
    seed: u64,
    person: Option<PersonId>,
    cache: Cache,
    catalog: Arc<Catalog>,
    reference_data: VecMap<ReferenceDataKey, ReferenceData>,
    names: BTreeMap<String, BTreeMap<Uuid, String>>,
    observers: DetHashMap<ObserverId, Query>,
    /// Number of observers per query.
    observer_counts: DetHashMap<Query, u32>,
    /// Number of observers per topic.
    topics: DetHashMap<Topic, u32>,
    /// Time since when a topic has had no observer.
    topics_unused_since: DetHashMap<Topic, UnixMillis>,
    requests: VecMap<RequestId, PendingRequest>,
    in_flight: DetHashMap<Query, RequestId>,
    /// Id of the first request of each query in flight; a list query may need several requests.
    ///
    /// The value 0 forces a refetch after the response.
    first_request: DetHashMap<Query, u64>,
    /// Id of the last request that was sent before the access of this user changed.
    ///
    /// Responses up to this id may contain data that the user may no longer view. They are not
    /// trusted.
    access_fence: u64,
    rows_in_flight: DetHashSet<EntityCode>,
    rows_retry: DetHashMap<EntityCode, Retry>,
    rows_to_fetch: VecMap<EntityCode, DetHashSet<Uuid>>,
    retries: DetHashMap<Query, Retry>,
    failed: DetHashSet<Query>,
    /// `ETag` of the last response to each query, with the digest of the cached data at that time.
    ///
    /// An `ETag` is sent only if the digest is unchanged: local changes to a list make its `ETag`
    /// invalid.
    etags: DetHashMap<Query, (String, u64)>,
    outbox: Vec<OutboxEntry>,
    drafts: VecMap<EntityRef, Draft>,
    session: SocketSession,
    cursor: Option<FeedPosition>,
    /// Feed position before the access of this user changed; `None` if no revalidation is running.
    ///
    /// `Some(None)` means that there was no position yet. After a crash, a successor resumes from
    /// this position. Otherwise rows that the user may no longer view would stay in the cache.
    revalidating_from: Option<Option<FeedPosition>>,
    subscribed: DetHashSet<Topic>,
    /// SUBSCRIBE messages without a response, in the order in which they were sent.
    ///
    /// Until the response arrives, changes since the cursor of the message may still be delivered.
    pending_subscribes: Vec<(EntityCode, Vec<Topic>)>,
    /// Time of the last poll for changes.
    polled_at: UnixMillis,
    leader: bool,
    browser_online: bool,
    reachable: bool,
    token_valid: bool,
    /// Number of token refreshes since the server last accepted a token.
    token_refreshes: u32,
    /// Epoch that applies once the pending RESUME is answered; `None` if no RESUME is pending.
    resuming: Option<String>,
    next_request: u64,
    /// Removed entities, each with the id of the next request at that time.
    ///
    /// A response to an earlier request may still contain the entity.
    tombstones: DetHashMap<EntityRef, u64>,
    /// Id of the request whose response is being applied; `u64::MAX` at all other times.
    current_response: u64,
    persistence: PersistenceState,
    /// Pinned roots, with the queries that are observed for each of them.
    pinned: VecMap<EntityRef, VecMap<Query, ObserverId>>,
    /// Free links inside pinned trees, by root.
    free_links: VecMap<EntityRef, Vec<pinned_trees::FreeLinks>>,
    next_pin_observer: u64,
    /// Rows that entered or left trees during the current event.
    moved_in_trees: DetHashSet<Slot>,
    /// Trees whose content only the server knows; they are refetched at the end of the event.
    trees_to_refetch: DetHashSet<EntityRef>,
    /// Id of this tab.
    tab: TabId,
    tabs: leadership::TabCoordinator,
    /// Whether this tab is visible to the user (Page Visibility API).
    visible: bool,
    presence: presence::Presence,
    changed: DetHashSet<Query>,
    /// Status at the end of the previous event.
    last_status: Status,
    effects: Vec<Effect>,
}

impl Engine {
    /// Creates an engine without a signed-in user.
    ///
    /// `seed` spreads the reconnects of many clients over time.
    pub fn new(seed: u64) -> Self {
        Self::with_settings(seed, EngineConfig::default())
    }

    /// Creates an engine whose timings and limits differ from the defaults.
    pub fn with_settings(seed: u64, settings: EngineConfig) -> Self {
        Self {
            settings,
            seed,
            person: None,
            cache: Cache::default(),
            catalog: Arc::default(),
            reference_data: VecMap::default(),
            names: BTreeMap::new(),
            observers: DetHashMap::default(),
            observer_counts: DetHashMap::default(),
            topics: DetHashMap::default(),
            topics_unused_since: DetHashMap::default(),
            requests: VecMap::default(),
            in_flight: DetHashMap::default(),
            first_request: DetHashMap::default(),
            access_fence: 0,
            rows_in_flight: DetHashSet::default(),
            rows_retry: DetHashMap::default(),
            rows_to_fetch: VecMap::default(),
            retries: DetHashMap::default(),
            failed: DetHashSet::default(),
            etags: DetHashMap::default(),
            outbox: Vec::new(),
            drafts: VecMap::default(),
            session: SocketSession::new(seed, settings),
            cursor: None,
            revalidating_from: None,
            subscribed: DetHashSet::default(),
            pending_subscribes: Vec::new(),
            polled_at: UnixMillis::EPOCH,
            leader: false,
            browser_online: true,
            reachable: true,
            token_valid: true,
            token_refreshes: 0,
            resuming: None,
            next_request: 0,
            tombstones: DetHashMap::default(),
            current_response: u64::MAX,
            persistence: PersistenceState::default(),
            pinned: VecMap::default(),
            free_links: VecMap::default(),
            next_pin_observer: 0,
            moved_in_trees: DetHashSet::default(),
            trees_to_refetch: DetHashSet::default(),
            tab: TabId(Uuid::from_u128(u128::from(seed))),
            tabs: leadership::TabCoordinator::default(),
            presence: presence::Presence::default(),
            visible: true,
            changed: DetHashSet::default(),
            last_status: Status::default(),
            effects: Vec::new(),
        }
    }

    /// Applies `event` at time `now` and returns the effects to perform.
    pub fn handle(&mut self, event: Event, now: UnixMillis) -> Vec<Effect> {
        self.check_term_after_idle(now);
        let Some(event) = self.defer_if_unverified(event) else { return std::mem::take(&mut self.effects) };
        match event {
            Event::Start { person, tab, stored, term } => {
                self.tab = tab;
                self.start(person, *stored, term, now);
            }
            Event::LeadershipAcquired { stored, term } => self.on_leadership_acquired(*stored, term, now),
            Event::LeadershipLost => self.step_down(now),
            Event::TermChecked(term) => return self.on_term_checked(term, now),
            Event::TabMessageReceived(message) => self.on_tab_message(message, now),
            Event::Observe(id, query) => self.observe(id, query, now),
            Event::Unobserve(id) => self.unobserve(id, now),
            Event::Prefetch(query) => self.prefetch(query, now),
            Event::LoadAll => self.load_all(),
            Event::Refetch(query) => self.refetch(query, now),
            Event::FetchMore(key) => self.fetch_more(key),
            Event::Invalidate(queries) => self.invalidate_queries(queries, now),
            Event::InvalidateAll => self.revalidate_all(now),
            Event::ResponseReceived(id, response) => self.on_response(id, response, now),
            Event::SocketMessage(message) => self.on_socket_message(message, now),
            Event::SocketClosed(code) => self.on_socket_closed(code, now),
            Event::Update { entity, patch, ids } => self.update(entity, patch, None, ids),
            Event::Create { entity, values, ids } => self.create(entity, values, ids),
            Event::Delete { entity, ids } => self.delete(entity, ids, now),
            Event::Link { parent, child, linked, ids } => self.link(parent, child, linked, ids),
            Event::SetPinned(root, on) => self.set_pinned(root, on, now),
            Event::Persisted(first, last, outcome) => self.on_persisted(first.0..=last.0, outcome),
            Event::StoreRead(namespace, keys, entries) => self.on_store_read(namespace, &keys, entries, now),
            Event::OutboxReloaded(entries) => self.reconcile_outbox(entries),
            Event::ResolveConflict { entry, seen, choice } if self.leader => self.resolve(entry, seen, choice, now),
            Event::ResolveConflict { entry, seen, choice } => {
                self.broadcast(TabMessage::ResolveConflict { entry, seen, choice })
            }
            Event::RevertToDraft(id) if self.leader => self.revert_to_draft(id, now),
            Event::RevertToDraft(entry) => self.broadcast(TabMessage::Reopen { entry }),
            Event::DraftsReloaded { drafts, as_of } => self.reconcile_drafts(drafts, as_of),
            Event::Discard(id) if self.leader => self.discard_entry(id, now),
            Event::Discard(entry) => self.broadcast(TabMessage::Discard { entry }),
            Event::DraftField { entity, field, value } => self.draft_field(entity, &field, value, now),
            Event::DraftUndo(entity) => self.draft_step(&entity, now, Draft::undo),
            Event::DraftRedo(entity) => self.draft_step(&entity, now, Draft::redo),
            Event::DraftDiscard(entity) => self.draft_discard(&entity, now),
            Event::DraftCommit { entity, ids } => self.draft_commit(&entity, ids, now),
            Event::Online(online) => {
                self.browser_online = online;
                if online {
                    self.retry_now(now);
                }
            }
            Event::SetViewing(entity, on) => self.set_viewing(&entity, on),
            Event::VisibilityChanged(visible) => {
                self.tabs.announce_pending |= self.visible != visible;
                self.visible = visible;
                if visible {
                    self.retry_now(now);
                }
            }
            Event::TokenRefreshFailed => self.reachable = false,
            Event::TokenRefreshed => {
                self.token_valid = true;
                self.token_refreshes += 1;
                // If the server rejects every new token, an immediate retry would loop at network
                // speed.
                if self.token_refreshes <= 2 {
                    self.retry_now(now);
                }
            }
            Event::StorageLow => self.evict(now),
            Event::SignedOut => self.sign_out(now),
            Event::Tick => self.tick(now),
        }
        if self.person.is_some() {
            self.process_tree_moves(now);
            if !self.tabs.term_unverified {
                self.send_pending(now);
            }
            if self.leader {
                self.flush_row_requests(now);
            } else {
                self.rows_to_fetch.clear();
            }
        }
        self.send_presence();
        self.finish_revalidation();
        self.flush(now);
        self.flush_tab_messages(now);
        for query in self.changed.drain() {
            self.effects.push(Effect::Changed(query));
        }
        let status = self.status();
        if status != self.last_status && !self.effects.iter().any(|effect| matches!(effect, Effect::StatusChanged)) {
            self.effects.push(Effect::StatusChanged);
        }
        self.last_status = status;
        std::mem::take(&mut self.effects)
    }

    fn broadcast(&mut self, message: TabMessage) {
        self.effects.push(Effect::Broadcast(message));
    }

    fn mark_changed(&mut self, query: Query) {
        if let Query::List(key) = &query {
            // Lists derived from this one share its fetch state, including failures.
            let derived =
                self.cache.lists_of(&key.code).filter(|l| l.derived && l.key.base_list().as_ref() == Some(key));
            self.changed.extend(derived.map(|list| Query::List(list.key.clone())));
        }
        self.changed.insert(query);
    }

    fn request(&mut self, purpose: PendingRequest, request: Request) -> RequestId {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.requests.insert(id, purpose);
        self.effects.push(Effect::Fetch(id, request));
        id
    }

    fn sign_out(&mut self, now: UnixMillis) {
        self.release_pins(now);
        let observers = std::mem::take(&mut self.observers);
        let (observer_counts, topics) = (std::mem::take(&mut self.observer_counts), std::mem::take(&mut self.topics));
        let fresh = Self::with_settings(self.seed, self.settings);
        *self = Self { observers, observer_counts, topics, tab: self.tab, effects: vec![Effect::Disconnect], ..fresh };
        self.persistence.clear();
        for query in self.observer_counts.keys() {
            self.changed.insert(query.clone());
        }
    }

    fn observe(&mut self, id: ObserverId, query: Query, now: UnixMillis) {
        if let Some(old) = self.observers.insert(id, query.clone()) {
            if old == query {
                return;
            }
            self.release_query(&old, now);
        }
        *self.observer_counts.entry(query.clone()).or_default() += 1;
        self.tabs.announce_pending = true;
        if let Some(topic) = query.topic() {
            self.topics_unused_since.remove(&topic);
            *self.topics.entry(topic).or_default() += 1;
        }
        if self.person.is_some() {
            self.retain_query(&query);
            self.retries.remove(&query);
            self.ensure_fresh(query, now);
        }
    }

    /// Adds an observer to a cached row or list and starts to load its data from disk.
    fn retain_query(&mut self, query: &Query) {
        match query {
            Query::Row(entity) => {
                let slot = self.cache.slot_or_insert(entity);
                if let Some(row) = self.cache.row_mut(slot) {
                    row.observer_count += 1;
                }
                self.read_row(slot);
            }
            Query::List(key) => {
                let index = self.cache.list_or_insert(key, &self.catalog);
                if let Some(list) = self.cache.list_mut(index) {
                    list.observer_count += 1;
                }
                self.read_list(index);
                self.derive_list_from_tree(&key.base_list().unwrap_or_else(|| key.clone()));
                self.derive_from_base(index);
            }
            Query::Meta(_) => {}
        }
    }

    fn unobserve(&mut self, id: ObserverId, now: UnixMillis) {
        if let Some(query) = self.observers.remove(&id) {
            self.release_query(&query, now);
        }
    }

    fn release_query(&mut self, query: &Query, now: UnixMillis) {
        let last = match self.observer_counts.get_mut(query) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            _ => {
                self.observer_counts.remove(query);
                true
            }
        };
        if let Some(topic) = query.topic()
            && let Some(count) = self.topics.get_mut(&topic)
        {
            *count -= 1;
            if *count == 0 {
                self.topics.remove(&topic);
                self.topics_unused_since.insert(topic, now);
            }
        }
        match query {
            Query::Row(entity) => {
                if let Some(row) = self.cache.get_mut(entity) {
                    row.observer_count = row.observer_count.saturating_sub(1);
                }
            }
            Query::List(key) => {
                if let Some(list) = self.cache.get_list_mut(key) {
                    list.observer_count = list.observer_count.saturating_sub(1);
                    list.unobserved_since = now;
                }
            }
            Query::Meta(_) => {}
        }
        self.tabs.announce_pending |= last;
        if last
            && !self.is_needed(query)
            && let Some(id) = self.in_flight.remove(query)
        {
            // No remaining consumer: abort the request.
            self.requests.remove(&id);
            self.effects.push(Effect::Cancel(id));
        }
        if last
            && let Query::Row(entity) = query
            && self.cache.get(entity).is_some_and(|row| row.stale && self.is_observed(row))
        {
            // An observed list still contains the row.
            self.request_row(entity);
        }
    }

    fn prefetch(&mut self, query: Query, now: UnixMillis) {
        if self.person.is_none() || self.observer_counts.contains_key(&query) {
            return;
        }
        match &query {
            Query::List(key) => {
                let index = self.cache.list_or_insert(key, &self.catalog);
                if let Some(list) = self.cache.list_mut(index) {
                    list.unobserved_since = now;
                }
                self.read_list(index);
                self.derive_from_base(index);
            }
            Query::Row(entity) => drop(self.cache.slot_or_insert(entity)),
            Query::Meta(_) => {}
        }
        if let Some(topic) = query.topic() {
            self.topics_unused_since.entry(topic).or_insert(now);
        }
        self.ensure_fresh(query, now);
    }

    fn refetch(&mut self, query: Query, now: UnixMillis) {
        if !self.leader {
            return self.effects.push(Effect::Broadcast(TabMessage::Refetch { query }));
        }
        self.mark_stale(&query);
        self.retries.remove(&query);
        self.ensure_fresh(query, now);
    }

    fn invalidate_queries(&mut self, queries: Vec<Query>, now: UnixMillis) {
        for query in queries {
            if !self.leader {
                self.broadcast(TabMessage::Refetch { query });
                continue;
            }
            self.mark_stale(&query);
            self.retries.remove(&query);
            match &query {
                // Single rows are batched into one request per entity type.
                Query::Row(entity)
                    if self.cache.get(entity).is_some_and(|row| row.base.is_some())
                        && self.is_possibly_observed(entity) =>
                {
                    self.request_row(entity);
                }
                _ if self.is_needed(&query) => self.ensure_fresh(query, now),
                _ => {}
            }
        }
    }

    fn tick(&mut self, now: UnixMillis) {
        if self.person.is_none() {
            return;
        }
        let due: Vec<Query> = self.retries.iter().filter(|(_, r)| r.at <= now).map(|(q, _)| q.clone()).collect();
        for query in due {
            if self.is_needed(&query) {
                self.ensure_fresh(query, now);
            } else {
                self.retries.remove(&query);
            }
        }
        if self.leader {
            self.tick_session(now);
        }
        self.tick_device(now);
        self.tick_tabs(now);
    }

    /// Whether a query, or a list derived from it, is observed or being revalidated.
    fn is_needed(&self, query: &Query) -> bool {
        let has_observed_derived_list = |key: &ListKey| {
            let mut lists = self.cache.lists_of(&key.code);
            lists.any(|list| list.derived && list.observer_count > 0 && list.key.base_list().as_ref() == Some(key))
        };
        let revalidating = self.revalidating_from.is_some() && matches!(query, Query::List(_));
        revalidating
            || self.observer_counts.contains_key(query)
            || matches!(query, Query::List(key) if has_observed_derived_list(key))
    }

    /// Retries everything that waits for a retry timer.
    fn retry_now(&mut self, now: UnixMillis) {
        if self.person.is_none() {
            return;
        }
        for entry in &mut self.outbox {
            entry.retry_at = UnixMillis::EPOCH;
        }
        self.rows_retry.clear();
        for retry in self.retries.values_mut() {
            *retry = Retry { attempts: 0, at: now };
        }
        self.session.retry_now(now);
        self.tick(now);
    }

    /// Recomputes the visible row (server row plus pending writes) and its list memberships.
    ///
    /// With `force_notify`, observers are notified even if the visible row did not change.
    fn recompute_row(&mut self, slot: Slot, force_notify: bool) {
        let Some(entity) = self.cache.entity(slot) else { return };
        let entries = self.outbox.iter().filter(|e| e.entity == entity);
        let visible_changed = self.cache.row_mut(slot).is_some_and(|row| row.recompute_visible(entries));
        if visible_changed || force_notify {
            self.propagate_row_change(slot, entity);
        }
    }

    /// Re-indexes a row whose visible state changed, and notifies its observers and lists.
    fn propagate_row_change(&mut self, slot: Slot, entity: EntityRef) {
        let impact = self.cache.reindex_row(slot);
        self.record_tree_move(slot, &impact.changed);
        let lists = self.cache.row(slot).map(|row| row.lists.clone()).unwrap_or_default();
        for index in lists.into_iter().chain(impact.changed) {
            if let Some(list) = self.cache.list(index) {
                self.changed.insert(Query::List(list.key.clone()));
            }
        }
        for index in impact.undecided {
            if let Some(list) = self.cache.list_mut(index) {
                list.stale = true;
            }
        }
        self.changed.insert(Query::Row(entity));
        self.cache.release(slot, false);
    }

    fn refresh_entity(&mut self, entity: &EntityRef, force_notify: bool) {
        if let Some(slot) = self.cache.slot_of(entity) {
            self.recompute_row(slot, force_notify);
        }
    }
}

fn is_create(entry: &OutboxEntry) -> bool {
    matches!(entry.operation, Operation::Create { .. })
}
