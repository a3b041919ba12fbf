//! The engine: events in, effects out. What it decides is spread over rooms by subject; this one holds the state and the doors.

mod drafts; // drafts, in this tab and in others
mod fetch; // reads: what to ask, and when
mod hydration; // the device: what it kept, and how that comes back
mod inspect; // what is held and done, for people who look into it
mod leadership; // leading and following
mod local_search; // by name, among all that the device holds
mod mutations;
mod persistence; // the device: what is written, what is let go
mod pinned_trees; // things that are kept whole on the device
mod presence; // who else looks at what is looked at
mod read_api; // what the page reads
mod realtime; // the socket: what has changed, what to watch
mod responses; // reads: what an answer means
#[cfg(test)]
mod stored_format_tests; // the outbox

pub use inspect::TextTable;
pub use local_search::SearchHit;
#[cfg(test)]
pub(crate) use pinned_trees::PinnedRoot;
pub use pinned_trees::PinnedTreeStatus;
pub use read_api::{CachedRowView, ListView, RowView, Status};

use crate::cache::{Cache, Slot};
use crate::collections::{DetHashMap, DetHashSet, VecMap};
use crate::draft::Draft;
use crate::event::{Effect, Event, ObserverId, Request, RequestId};
use crate::outbox::{Operation, OutboxEntry};
use crate::query_key::{ListKey, Query, ReferenceDataKey, Topic};
use crate::reconnect::SocketSession;
use crate::settings::EngineConfig;
use crate::tab_protocol::{TabId, TabMessage};
use persistence::PersistenceState;
use pmo_domain::{Catalog, EntityCode, EntityRef, PersonId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// What a request is for.
#[derive(Clone, Debug)]
enum PendingRequest {
    Row(EntityRef),
    Rows(EntityCode, Vec<Uuid>),
    /// A page of a list, with the rows of those before it.
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

/// A query that did not come through, to be tried again.
#[derive(Clone, Copy, Debug)]
struct Retry {
    attempts: u32,
    at: f64,
}

/// Where the feed was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedPosition {
    /// The epoch of HELLO.
    pub epoch: String,
    /// The last cursor.
    pub cursor: String,
}

/// Reference data in memory.
struct ReferenceData {
    data: Arc<Value>,
    synced_at: f64,
    stale: bool,
}

/// One person's engine in one tab.
pub struct Engine {
    settings: EngineConfig,
    seed: u64,
    person: Option<PersonId>,
    cache: Cache,
    catalogue: Arc<Catalog>,
    metas: VecMap<ReferenceDataKey, ReferenceData>,
    names: BTreeMap<String, BTreeMap<Uuid, String>>,
    observers: DetHashMap<ObserverId, Query>,
    /// How many look at each query.
    observer_counts: DetHashMap<Query, u32>,
    /// How many look at each topic, and since when nobody does.
    topics: DetHashMap<Topic, u32>,
    topics_unused_since: DetHashMap<Topic, f64>,
    requests: VecMap<RequestId, PendingRequest>,
    in_flight: DetHashMap<Query, RequestId>,
    /// The first request of each query that is under way.
    first_request: DetHashMap<Query, u64>,
    /// The last request before this person's access changed: what it and those before it answer is not believed.
    access_fence: u64,
    rows_in_flight: DetHashSet<EntityCode>,
    rows_retry: DetHashMap<EntityCode, Retry>,
    rows_to_fetch: VecMap<EntityCode, DetHashSet<Uuid>>,
    retries: DetHashMap<Query, Retry>,
    failed: DetHashSet<Query>,
    /// The ETag of what was last told of a query, and a number for what was held then: a list goes on by itself, and is no longer what the ETag says.
    etags: DetHashMap<Query, (String, u64)>,
    outbox: Vec<OutboxEntry>,
    drafts: VecMap<EntityRef, Draft>,
    session: SocketSession,
    cursor: Option<FeedPosition>,
    /// Where the feed was left before this person's access changed, until all that was held has been asked for again. Whoever goes on after a crash goes on
    /// from there, or what may not be seen any more would stay.
    revalidating_from: Option<Option<FeedPosition>>,
    subscribed: DetHashSet<Topic>,
    /// SUBSCRIBEs that are out, in order: until they are answered what they ask since may still be to come.
    pending_subscribes: Vec<(EntityCode, Vec<Topic>)>,
    /// When changes were last asked for without a socket, and whether an answer is out.
    polled_at: f64,
    leader: bool,
    browser_online: bool,
    reachable: bool,
    token_good: bool,
    /// Renewals of the token since the server last took it.
    token_refreshes: u32,
    /// RESUME is out: the epoch to be in once it is answered.
    resuming: Option<String>,
    next_request: u64,
    /// Things that are gone, with the number of the next request then: an answer to an earlier one may still carry them.
    tombstones: DetHashMap<EntityRef, u64>,
    /// The request whose answer is being taken in; past all of them otherwise.
    current_response: u64,
    persistence: PersistenceState,
    /// Things that are kept whole, with what is looked at for it.
    pinned: VecMap<EntityRef, VecMap<Query, ObserverId>>,
    /// What hangs in them by links alone, by their roots.
    ties: VecMap<EntityRef, Vec<pinned_trees::FreeLinks>>,
    next_pin_observer: u64,
    /// Rows that have come into trees or left them in this event.
    moved_in_trees: DetHashSet<Slot>,
    /// Trees of which only the server can say what is in them.
    trees_to_refetch: DetHashSet<EntityRef>,
    /// This tab.
    tab: TabId,
    tabs: leadership::TabCoordinator,
    /// Somebody can see this tab.
    visible: bool,
    presence: presence::Presence,
    changed: DetHashSet<Query>,
    /// How things stood at the end of the last event.
    last_status: Status,
    effects: Vec<Effect>,
}

impl Engine {
    /// An engine of nobody. `seed` spreads reconnects of many clients in time.
    pub fn new(seed: u64) -> Self {
        Self::with_settings(seed, EngineConfig::default())
    }

    /// With other times and sizes than a person at work has.
    pub fn with_settings(seed: u64, settings: EngineConfig) -> Self {
        Self {
            settings,
            seed,
            person: None,
            cache: Cache::default(),
            catalogue: Arc::default(),
            metas: VecMap::default(),
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
            polled_at: 0.0,
            leader: false,
            browser_online: true,
            reachable: true,
            token_good: true,
            token_refreshes: 0,
            resuming: None,
            next_request: 0,
            tombstones: DetHashMap::default(),
            current_response: u64::MAX,
            persistence: PersistenceState::default(),
            pinned: VecMap::default(),
            ties: VecMap::default(),
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

    /// Takes an event at the time `now`, in milliseconds since 1970, and answers what to do.
    pub fn handle(&mut self, event: Event, now: f64) -> Vec<Effect> {
        self.check_term_after_idle(now);
        let Some(event) = self.defer_if_unverified(event) else { return std::mem::take(&mut self.effects) };
        match event {
            Event::Start { person, tab, stored, term } => {
                self.tab = tab;
                self.start(person, *stored, term, now);
            }
            Event::LeadershipAcquired { stored, term } => self.lead(*stored, term, now),
            Event::LeadershipLost => self.step_down(now),
            Event::TermChecked(term) => return self.on_term_checked(term, now),
            Event::TabMessageReceived(message) => self.on_tab_message(message, now),
            Event::Observe(id, query) => self.observe(id, query, now),
            Event::Unobserve(id) => self.unobserve(id, now),
            Event::Prefetch(query) => self.prefetch(query, now),
            Event::LoadAll => self.load_all(),
            Event::Refetch(query) => self.refetch(query, now),
            Event::FetchMore(key) => self.fetch_more(key),
            Event::Invalidate(queries) => self.invalidate_these(queries, now),
            Event::InvalidateAll => self.revalidate_all(now),
            Event::ResponseReceived(id, answer) => self.on_response(id, answer, now),
            Event::SocketMessage(message) => self.on_socket_message(message, now),
            Event::SocketClosed(code) => self.closed(code, now),
            Event::Update { entity, patch, ids } => self.update(entity, patch, None, ids),
            Event::Create { entity, values, ids } => self.create(entity, values, ids),
            Event::Delete { entity, ids } => self.delete(entity, ids, now),
            Event::Link { parent, child, below, ids } => self.link(parent, child, below, ids),
            Event::SetPinned(root, on) => self.set_pinned(root, on, now),
            Event::Persisted(first, last, outcome) => self.persisted(first.0..=last.0, outcome),
            Event::StoreRead(area, names, found) => self.on_store_read(area, &names, found, now),
            Event::OutboxReloaded(entries) => self.reconcile_outbox(entries),
            Event::ResolveConflict { entry, seen, choice } if self.leader => self.resolve(entry, seen, choice, now),
            Event::ResolveConflict { entry, seen, choice } => {
                self.broadcast(TabMessage::ResolveConflict { entry, seen, choice })
            }
            Event::RevertToDraft(id) if self.leader => self.reopen(id, now),
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
            Event::VisibilityChanged(shown) => {
                self.tabs.announce_pending |= self.visible != shown;
                self.visible = shown;
                if shown {
                    self.retry_now(now);
                }
            }
            Event::TokenRefreshFailed => self.reachable = false,
            Event::TokenRefreshed => {
                self.token_good = true;
                self.token_refreshes += 1;
                // A server that takes no token however new is not asked at network speed.
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
            // What follows from it is fetched, and fails, with it.
            let parts = self.cache.lists_of(&key.code).filter(|l| l.derived && l.key.base_list().as_ref() == Some(key));
            self.changed.extend(parts.map(|part| Query::List(part.key.clone())));
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

    fn sign_out(&mut self, now: f64) {
        self.release_pins(now);
        let observers = std::mem::take(&mut self.observers);
        let (observed, topics) = (std::mem::take(&mut self.observer_counts), std::mem::take(&mut self.topics));
        let fresh = Self::with_settings(self.seed, self.settings);
        *self = Self {
            observers,
            observer_counts: observed,
            topics,
            tab: self.tab,
            effects: vec![Effect::Disconnect],
            ..fresh
        };
        self.persistence.clear();
        for query in self.observer_counts.keys() {
            self.changed.insert(query.clone());
        }
    }

    fn observe(&mut self, id: ObserverId, query: Query, now: f64) {
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

    /// Makes room in memory for what is looked at, and asks the device for it.
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
                let index = self.cache.list_or_insert(key, &self.catalogue);
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

    fn unobserve(&mut self, id: ObserverId, now: f64) {
        if let Some(query) = self.observers.remove(&id) {
            self.release_query(&query, now);
        }
    }

    fn release_query(&mut self, query: &Query, now: f64) {
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
            // Nobody waits for it any more.
            self.requests.remove(&id);
            self.effects.push(Effect::Cancel(id));
        }
        if last
            && let Query::Row(entity) = query
            && self.cache.get(entity).is_some_and(|row| row.stale && self.is_observed(row))
        {
            // A list shows it still.
            self.request_row(entity);
        }
    }

    fn prefetch(&mut self, query: Query, now: f64) {
        if self.person.is_none() || self.observer_counts.contains_key(&query) {
            return;
        }
        match &query {
            Query::List(key) => {
                let index = self.cache.list_or_insert(key, &self.catalogue);
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

    fn refetch(&mut self, query: Query, now: f64) {
        if !self.leader {
            return self.effects.push(Effect::Broadcast(TabMessage::Refetch { query }));
        }
        self.mark_stale(&query);
        self.retries.remove(&query);
        self.ensure_fresh(query, now);
    }

    fn invalidate_these(&mut self, queries: Vec<Query>, now: f64) {
        for query in queries {
            if !self.leader {
                self.broadcast(TabMessage::Refetch { query });
                continue;
            }
            self.mark_stale(&query);
            self.retries.remove(&query);
            match &query {
                // Single rows go together, in as few requests as there are types.
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

    fn tick(&mut self, now: f64) {
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

    /// Whether somebody looks at a query, or at what follows from it.
    fn is_needed(&self, query: &Query) -> bool {
        let part_of = |key: &ListKey| {
            let mut lists = self.cache.lists_of(&key.code);
            lists.any(|list| list.derived && list.observer_count > 0 && list.key.base_list().as_ref() == Some(key))
        };
        let sweeps = self.revalidating_from.is_some() && matches!(query, Query::List(_));
        sweeps || self.observer_counts.contains_key(query) || matches!(query, Query::List(key) if part_of(key))
    }

    /// Tries everything that waits at once.
    fn retry_now(&mut self, now: f64) {
        if self.person.is_none() {
            return;
        }
        for entry in &mut self.outbox {
            entry.retry_at = 0.0;
        }
        self.rows_retry.clear();
        for retry in self.retries.values_mut() {
            *retry = Retry { attempts: 0, at: now };
        }
        self.session.retry_now(now);
        self.tick(now);
    }

    /// Works out anew what is shown of a row, after it or its writes changed, and puts it where it belongs in its lists. `told`: those who look at it are
    /// told in any case.
    fn recompute_row(&mut self, slot: Slot, told: bool) {
        let Some(entity) = self.cache.entity(slot) else { return };
        let entries = self.outbox.iter().filter(|e| e.entity == entity);
        let shown = self.cache.row_mut(slot).is_some_and(|row| row.recompute_visible(entries));
        if shown || told {
            self.propagate_row_change(slot, entity);
        }
    }

    /// A row is shown otherwise: tells those who look at it and at its lists.
    fn propagate_row_change(&mut self, slot: Slot, entity: EntityRef) {
        let placed = self.cache.reindex_row(slot);
        self.record_tree_move(slot, &placed.changed);
        let holding = self.cache.row(slot).map(|row| row.lists.clone()).unwrap_or_default();
        for index in holding.into_iter().chain(placed.changed) {
            if let Some(list) = self.cache.list(index) {
                self.changed.insert(Query::List(list.key.clone()));
            }
        }
        for index in placed.undecided {
            if let Some(list) = self.cache.list_mut(index) {
                list.stale = true;
            }
        }
        self.changed.insert(Query::Row(entity));
        self.cache.release(slot, false);
    }

    fn refresh_entity(&mut self, entity: &EntityRef, told: bool) {
        if let Some(slot) = self.cache.slot_of(entity) {
            self.recompute_row(slot, told);
        }
    }
}

fn is_create(entry: &OutboxEntry) -> bool {
    matches!(entry.operation, Operation::Create { .. })
}
