//! Sync engine of the client: takes events, returns effects (sans-I/O).
//!
//! The components own the state. This module holds them and dispatches the events. Each
//! submodule combines components for one subject.

mod drafts; // events about drafts
mod fetch; // decides which reads are sent, and when
mod hydration; // loads the cache from disk
mod inspect; // diagnostic tables for the devtools
mod leader_updates; // updates from the leader to its followers
mod leadership; // leader/follower protocol between tabs
mod lists; // list responses, and lists derived from others
mod local_search; // search by name among the entities on this device
mod mutations; // optimistic writes, sent in order and merged on conflict
mod persistence; // writes the cache to disk and evicts from it
mod pinned_trees; // trees that are available offline
mod presence; // other users who view the same entities
mod queries; // observers of queries
mod read_api; // read access for components
mod realtime; // WebSocket messages, and polling as a fallback
mod responses; // applies the responses to reads
mod revalidation; // refetches all data after an access change or a new epoch
mod rows; // applies rows to the cache

pub use inspect::TextTable;
pub use local_search::SearchHit;

use crate::cache::Cache;
use crate::components::{
    Connectivity, Drafts, Leadership, Observers, Outbox, PendingRequest, Persistence, PinnedTrees, Presence, Realtime,
    ReferenceCache, Requests,
};
use crate::event::{Effect, Event};
use crate::query_key::Query;
use crate::settings::EngineConfig;
use crate::tab_protocol::{TabId, TabMessage};
use crate::views::Status;
use pmo_domain::{PersonId, UnixMillis};
use uuid::Uuid;

/// Sync engine of one user in one tab.
pub struct Engine {
    settings: EngineConfig,
    seed: u64,
    person: Option<PersonId>,
    cache: Cache,
    reference: ReferenceCache,
    observers: Observers,
    requests: Requests,
    outbox: Outbox,
    drafts: Drafts,
    realtime: Realtime,
    connectivity: Connectivity,
    leadership: Leadership,
    persistence: Persistence,
    pinned_trees: PinnedTrees,
    presence: Presence,
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
            reference: ReferenceCache::default(),
            observers: Observers::default(),
            requests: Requests::default(),
            outbox: Outbox::default(),
            drafts: Drafts::default(),
            realtime: Realtime::new(seed, settings),
            connectivity: Connectivity::default(),
            leadership: Leadership::new(TabId(Uuid::from_u128(u128::from(seed)))),
            persistence: Persistence::default(),
            pinned_trees: PinnedTrees::default(),
            presence: Presence::default(),
            last_status: Status::default(),
            effects: Vec::new(),
        }
    }

    /// Applies `event` at time `now` and returns the effects to perform.
    pub fn handle(&mut self, event: Event, now: UnixMillis) -> Vec<Effect> {
        self.effects.extend(self.leadership.check_after_idle(&self.settings, now));
        if self.must_defer(&event) {
            self.leadership.defer(event);
            return std::mem::take(&mut self.effects);
        }
        if let Event::TermChecked(term) = event {
            return self.on_term_checked(term, now);
        }
        self.dispatch(event, now);
        self.finish_event(now);
        std::mem::take(&mut self.effects)
    }

    fn dispatch(&mut self, event: Event, now: UnixMillis) {
        match event {
            Event::Start { person, tab, stored, term } => {
                self.leadership.set_tab(tab);
                self.start(person, *stored, term, now);
            }
            Event::LeadershipAcquired { stored, term } => self.on_leadership_acquired(*stored, term, now),
            Event::LeadershipLost => self.step_down(now),
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
            Event::SetDerived { code, rows } => self.set_derived(&code, rows),
            Event::Pin(root) => self.pin(root, now),
            Event::Unpin(root) => self.unpin(root, now),
            Event::Persisted(first, last, outcome) => self.on_persisted(first.0..=last.0, outcome),
            Event::StoreRead(namespace, keys, entries) => self.on_store_read(namespace, &keys, entries, now),
            Event::PageOpened(entity) => self.open_page(&entity),
            Event::PageClosed(entity) => self.close_page(&entity),
            Event::StorageLow => self.evict(now),
            Event::SignedOut => self.sign_out(now),
            Event::Tick => self.tick(now),
            Event::Online(_) | Event::VisibilityChanged(_) | Event::TokenRefreshFailed | Event::TokenRefreshed => {
                self.on_environment_event(&event, now)
            }
            Event::DraftsReloaded { .. }
            | Event::DraftField { .. }
            | Event::DraftUndo(_)
            | Event::DraftRedo(_)
            | Event::DraftDiscard(_)
            | Event::DraftCommit { .. } => self.on_draft_event(event, now),
            _ => self.on_write_event(event, now),
        }
    }

    /// Handles changes of network, visibility and access token.
    fn on_environment_event(&mut self, event: &Event, now: UnixMillis) {
        let retry = match event {
            Event::Online(online) => {
                self.connectivity.set_browser_online(*online);
                *online
            }
            Event::VisibilityChanged(visible) => {
                self.leadership.set_visible(*visible);
                *visible
            }
            Event::TokenRefreshed => self.connectivity.on_token_refreshed(),
            _ => {
                self.connectivity.on_no_response();
                false
            }
        };
        if retry {
            self.retry_now(now);
        }
    }

    /// Emits the effects that any event may cause: requests, disk writes, messages, notifications.
    fn finish_event(&mut self, now: UnixMillis) {
        if self.person.is_some() {
            self.process_tree_moves(now);
            if !self.leadership.is_term_unverified() {
                self.send_pending(now);
            }
            if self.leadership.is_leader() {
                self.flush_row_requests(now);
            } else {
                self.requests.clear_queue();
            }
        }
        self.send_presence();
        self.finish_revalidation();
        self.flush(now);
        self.flush_tab_messages(now);
        self.observers.flush(&mut self.effects);
        let status = self.status();
        if status != self.last_status && !self.effects.iter().any(|effect| matches!(effect, Effect::StatusChanged)) {
            self.effects.push(Effect::StatusChanged);
        }
        self.last_status = status;
    }

    /// Whether an event changes the outbox while the term is unverified.
    fn must_defer(&self, event: &Event) -> bool {
        self.leadership.is_term_unverified()
            && match event {
                Event::ResolveConflict { .. } | Event::Discard(_) | Event::RevertToDraft(_) => true,
                Event::TabMessageReceived(
                    TabMessage::ResolveConflict { .. } | TabMessage::Discard { .. } | TabMessage::Reopen { .. },
                ) => true,
                Event::ResponseReceived(id, _) => matches!(self.requests.purpose(*id), Some(PendingRequest::Write(_))),
                _ => false,
            }
    }

    fn broadcast(&mut self, message: TabMessage) {
        self.effects.push(Effect::Broadcast(message));
    }

    fn mark_changed(&mut self, query: Query) {
        self.observers.mark_changed_with_derived(query, &self.cache);
    }

    fn sign_out(&mut self, now: UnixMillis) {
        self.release_pins(now);
        let mut fresh = Self::with_settings(self.seed, self.settings);
        fresh.leadership.set_tab(self.leadership.tab());
        fresh.observers = std::mem::take(&mut self.observers).restarted();
        fresh.persistence = Persistence::signed_out();
        fresh.effects.push(Effect::Disconnect);
        *self = fresh;
    }

    fn tick(&mut self, now: UnixMillis) {
        if self.person.is_none() {
            return;
        }
        for query in self.requests.due_retries(now) {
            if self.is_needed(&query) {
                self.ensure_fresh(query, now);
            } else {
                self.requests.forget_retry(&query);
            }
        }
        if self.leadership.is_leader() {
            self.tick_session(now);
        }
        self.tick_device(now);
        self.tick_tabs(now);
    }

    /// Retries everything that waits for a retry timer.
    fn retry_now(&mut self, now: UnixMillis) {
        if self.person.is_none() {
            return;
        }
        self.outbox.retry_now();
        self.requests.retry_now(now);
        self.realtime.session_mut().retry_now(now);
        self.tick(now);
    }
}
