//! The engine: events in, effects out. What it decides is spread over rooms by subject; this one holds the state and the doors.

mod asking; // reads: what to ask, and when
mod drafting; // drafts, in this tab and in others
mod finding; // by name, among all that the device holds
mod inspect; // what is held and done, for people who look into it
mod keeping; // the device: what is written, what is let go
mod live; // the socket: what has changed, what to watch
mod presence; // who else looks at what is looked at
mod reading; // reads: what an answer means
mod recalling; // the device: what it kept, and how that comes back
#[cfg(test)]
mod stored_format_tests;
mod tabs; // leading and following
mod trees; // things that are kept whole on the device
mod views; // what the page reads
mod writing; // the outbox

pub use finding::Found;
pub use inspect::Table;
#[cfg(test)]
pub(crate) use trees::KeptRoot;
pub use trees::KeptTree;
pub use views::{HeldRow, ListView, RowView, Status};

use crate::cache::{Cache, Slot};
use crate::draft::Draft;
use crate::event::{Effect, Event, ObserverId, Request, RequestId};
use crate::key::{ListKey, MetaKey, Query, Topic};
use crate::maps::{Few, Map, Set};
use crate::outbox::{Entry, Operation};
use crate::session::Session;
use crate::settings::Settings;
use crate::tab::{TabId, TabMessage};
use keeping::Keep;
use pmo_domain::{Catalog, EntityCode, EntityRef, PersonId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// What a request is for.
#[derive(Clone, Debug)]
enum Purpose {
    Row(EntityRef),
    Rows(EntityCode, Vec<Uuid>),
    /// A page of a list, with the rows of those before it.
    Page {
        key: ListKey,
        collected: Vec<Uuid>,
        feed_cursor: Option<String>,
        more: bool,
    },
    Meta(MetaKey),
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
pub struct FeedPlace {
    /// The epoch of HELLO.
    pub epoch: String,
    /// The last cursor.
    pub cursor: String,
}

/// Reference data in memory.
struct Meta {
    data: Arc<Value>,
    synced_at: f64,
    stale: bool,
}

/// One person's engine in one tab.
pub struct Engine {
    settings: Settings,
    seed: u64,
    person: Option<PersonId>,
    cache: Cache,
    catalogue: Arc<Catalog>,
    metas: Few<MetaKey, Meta>,
    names: BTreeMap<String, BTreeMap<Uuid, String>>,
    observers: Map<ObserverId, Query>,
    /// How many look at each query.
    observed: Map<Query, u32>,
    /// How many look at each topic, and since when nobody does.
    topics: Map<Topic, u32>,
    topics_left: Map<Topic, f64>,
    requests: Few<RequestId, Purpose>,
    in_flight: Map<Query, RequestId>,
    /// The first request of each query that is under way.
    begun: Map<Query, u64>,
    /// The last request before this person's access changed: what it and those before it answer is not believed.
    swept: u64,
    rows_in_flight: Set<EntityCode>,
    rows_retry: Map<EntityCode, Retry>,
    wanted: Few<EntityCode, Set<Uuid>>,
    retries: Map<Query, Retry>,
    failed: Set<Query>,
    /// The ETag of what was last told of a query, and a number for what was held then: a list goes on by itself, and is no longer what the ETag says.
    etags: Map<Query, (String, u64)>,
    outbox: Vec<Entry>,
    drafts: Few<EntityRef, Draft>,
    session: Session,
    cursor: Option<FeedPlace>,
    /// Where the feed was left before this person's access changed, until all that was held has been asked for again. Whoever goes on after a crash goes on
    /// from there, or what may not be seen any more would stay.
    swept_from: Option<Option<FeedPlace>>,
    subscribed: Set<Topic>,
    /// SUBSCRIBEs that are out, in order: until they are answered what they ask since may still be to come.
    unanswered: Vec<(EntityCode, Vec<Topic>)>,
    /// When changes were last asked for without a socket, and whether an answer is out.
    polled_at: f64,
    leader: bool,
    browser_online: bool,
    reachable: bool,
    token_good: bool,
    /// Renewals of the token since the server last took it.
    renewals: u32,
    /// RESUME is out: the epoch to be in once it is answered.
    resuming: Option<String>,
    next_request: u64,
    /// Things that are gone, with the number of the next request then: an answer to an earlier one may still carry them.
    gone: Map<EntityRef, u64>,
    /// The request whose answer is being taken in; past all of them otherwise.
    answering: u64,
    keep: Keep,
    /// Things that are kept whole, with what is looked at for it.
    kept: Few<EntityRef, Few<Query, ObserverId>>,
    /// What hangs in them by links alone, by their roots.
    ties: Few<EntityRef, Vec<trees::Tie>>,
    next_keeper: u64,
    /// Rows that have come into trees or left them in this event.
    moved_in_trees: Set<Slot>,
    /// Trees of which only the server can say what is in them.
    doubted: Set<EntityRef>,
    /// This tab.
    tab: TabId,
    tabs: tabs::Tabs,
    /// Somebody can see this tab.
    shown: bool,
    presence: presence::Presence,
    changed: Set<Query>,
    /// How things stood at the end of the last event.
    told: Status,
    effects: Vec<Effect>,
}

impl Engine {
    /// An engine of nobody. `seed` spreads reconnects of many clients in time.
    pub fn new(seed: u64) -> Self {
        Self::with_settings(seed, Settings::default())
    }

    /// With other times and sizes than a person at work has.
    pub fn with_settings(seed: u64, settings: Settings) -> Self {
        Self {
            settings,
            seed,
            person: None,
            cache: Cache::default(),
            catalogue: Arc::default(),
            metas: Few::default(),
            names: BTreeMap::new(),
            observers: Map::default(),
            observed: Map::default(),
            topics: Map::default(),
            topics_left: Map::default(),
            requests: Few::default(),
            in_flight: Map::default(),
            begun: Map::default(),
            swept: 0,
            rows_in_flight: Set::default(),
            rows_retry: Map::default(),
            wanted: Few::default(),
            retries: Map::default(),
            failed: Set::default(),
            etags: Map::default(),
            outbox: Vec::new(),
            drafts: Few::default(),
            session: Session::new(seed, settings),
            cursor: None,
            swept_from: None,
            subscribed: Set::default(),
            unanswered: Vec::new(),
            polled_at: 0.0,
            leader: false,
            browser_online: true,
            reachable: true,
            token_good: true,
            renewals: 0,
            resuming: None,
            next_request: 0,
            gone: Map::default(),
            answering: u64::MAX,
            keep: Keep::default(),
            kept: Few::default(),
            ties: Few::default(),
            next_keeper: 0,
            moved_in_trees: Set::default(),
            doubted: Set::default(),
            tab: TabId(Uuid::from_u128(u128::from(seed))),
            tabs: tabs::Tabs::default(),
            presence: presence::Presence::default(),
            shown: true,
            changed: Set::default(),
            told: Status::default(),
            effects: Vec::new(),
        }
    }

    /// Takes an event at the time `now`, in milliseconds since 1970, and answers what to do.
    pub fn handle(&mut self, event: Event, now: f64) -> Vec<Effect> {
        self.doubt_after_silence(now);
        let Some(event) = self.unless_in_doubt(event) else { return std::mem::take(&mut self.effects) };
        match event {
            Event::Start { person, tab, stored, term } => {
                self.tab = tab;
                self.start(person, *stored, term, now);
            }
            Event::Lead { stored, term } => self.lead(*stored, term, now),
            Event::Deposed => self.depose(now),
            Event::Confirmed(term) => return self.confirmed(term, now),
            Event::Tab(message) => self.tab_said(message, now),
            Event::Observe(id, query) => self.observe(id, query, now),
            Event::Unobserve(id) => self.unobserve(id, now),
            Event::Prefetch(query) => self.prefetch(query, now),
            Event::Gather => self.gather(),
            Event::Refetch(query) => self.refetch(query, now),
            Event::FetchMore(key) => self.fetch_more(key),
            Event::Invalidate(queries) => self.invalidate_these(queries, now),
            Event::InvalidateAll => self.sweep(now),
            Event::Answered(id, answer) => self.answered(id, answer, now),
            Event::Frame(message) => self.frame(message, now),
            Event::Closed(code) => self.closed(code, now),
            Event::Update { entity, patch, ids } => self.update(entity, patch, None, ids),
            Event::Create { entity, values, ids } => self.create(entity, values, ids),
            Event::Delete { entity, ids } => self.delete(entity, ids, now),
            Event::Link { parent, child, below, ids } => self.link(parent, child, below, ids),
            Event::Keep(root, on) => self.keep_offline(root, on, now),
            Event::Persisted(first, last, outcome) => self.persisted(first.0..=last.0, outcome),
            Event::Read(area, names, found) => self.read_back(area, &names, found, now),
            Event::Outbox(entries) => self.outbox_is(entries),
            Event::Settle { entry, seen, choice } if self.leader => self.settle(entry, seen, choice, now),
            Event::Settle { entry, seen, choice } => self.tell(TabMessage::Decide { entry, seen, choice }),
            Event::Reopen(id) if self.leader => self.reopen(id, now),
            Event::Reopen(entry) => self.tell(TabMessage::Reopen { entry }),
            Event::Drafts { drafts, as_of } => self.drafts_are(drafts, as_of),
            Event::Discard(id) if self.leader => self.discard_entry(id, now),
            Event::Discard(entry) => self.tell(TabMessage::Discard { entry }),
            Event::DraftField { entity, field, value } => self.draft_field(entity, &field, value, now),
            Event::DraftUndo(entity) => self.draft_step(&entity, now, Draft::undo),
            Event::DraftRedo(entity) => self.draft_step(&entity, now, Draft::redo),
            Event::DraftDiscard(entity) => self.draft_discard(&entity, now),
            Event::DraftCommit { entity, ids } => self.draft_commit(&entity, ids, now),
            Event::Online(online) => {
                self.browser_online = online;
                if online {
                    self.hurry(now);
                }
            }
            Event::Look(entity, on) => self.look(&entity, on),
            Event::Shown(shown) => {
                self.tabs.to_say |= self.shown != shown;
                self.shown = shown;
                if shown {
                    self.hurry(now);
                }
            }
            Event::Unreachable => self.reachable = false,
            Event::TokenRenewed => {
                self.token_good = true;
                self.renewals += 1;
                // A server that takes no token however new is not asked at network speed.
                if self.renewals <= 2 {
                    self.hurry(now);
                }
            }
            Event::Tight => self.make_room(now),
            Event::SignedOut => self.sign_out(now),
            Event::Tick => self.tick(now),
        }
        if self.person.is_some() {
            self.settle_trees(now);
            if !self.tabs.in_doubt {
                self.pump(now);
            }
            if self.leader {
                self.flush_wanted(now);
            } else {
                self.wanted.clear();
            }
        }
        self.say_looked_at();
        self.end_sweep();
        self.flush_device(now);
        self.speak(now);
        for query in self.changed.drain() {
            self.effects.push(Effect::Changed(query));
        }
        let status = self.status();
        if status != self.told && !self.effects.iter().any(|effect| matches!(effect, Effect::StatusChanged)) {
            self.effects.push(Effect::StatusChanged);
        }
        self.told = status;
        std::mem::take(&mut self.effects)
    }

    fn tell(&mut self, message: TabMessage) {
        self.effects.push(Effect::Tell(message));
    }

    fn changed(&mut self, query: Query) {
        if let Query::List(key) = &query {
            // What follows from it is fetched, and fails, with it.
            let parts = self.cache.lists_of(&key.code).filter(|l| l.derived && l.key.whole().as_ref() == Some(key));
            self.changed.extend(parts.map(|part| Query::List(part.key.clone())));
        }
        self.changed.insert(query);
    }

    fn request(&mut self, purpose: Purpose, request: Request) -> RequestId {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.requests.insert(id, purpose);
        self.effects.push(Effect::Fetch(id, request));
        id
    }

    fn sign_out(&mut self, now: f64) {
        self.leave_trees(now);
        let observers = std::mem::take(&mut self.observers);
        let (observed, topics) = (std::mem::take(&mut self.observed), std::mem::take(&mut self.topics));
        let fresh = Self::with_settings(self.seed, self.settings);
        *self = Self { observers, observed, topics, tab: self.tab, effects: vec![Effect::Disconnect], ..fresh };
        self.keep.clear();
        for query in self.observed.keys() {
            self.changed.insert(query.clone());
        }
    }

    fn observe(&mut self, id: ObserverId, query: Query, now: f64) {
        if let Some(old) = self.observers.insert(id, query.clone()) {
            if old == query {
                return;
            }
            self.look_away(&old, now);
        }
        *self.observed.entry(query.clone()).or_default() += 1;
        self.tabs.to_say = true;
        if let Some(topic) = query.topic() {
            self.topics_left.remove(&topic);
            *self.topics.entry(topic).or_default() += 1;
        }
        if self.person.is_some() {
            self.look_at(&query);
            self.retries.remove(&query);
            self.ensure(query, now);
        }
    }

    /// Makes room in memory for what is looked at, and asks the device for it.
    fn look_at(&mut self, query: &Query) {
        match query {
            Query::Row(entity) => {
                let slot = self.cache.place_of(entity);
                if let Some(row) = self.cache.row_mut(slot) {
                    row.observed += 1;
                }
                self.read_row(slot);
            }
            Query::List(key) => {
                let index = self.cache.list_place(key, &self.catalogue);
                if let Some(list) = self.cache.list_mut(index) {
                    list.observed += 1;
                }
                self.read_list(index);
                self.fill_from_tree(&key.whole().unwrap_or_else(|| key.clone()));
                self.derive_from_whole(index);
            }
            Query::Meta(_) => {}
        }
    }

    fn unobserve(&mut self, id: ObserverId, now: f64) {
        if let Some(query) = self.observers.remove(&id) {
            self.look_away(&query, now);
        }
    }

    fn look_away(&mut self, query: &Query, now: f64) {
        let last = match self.observed.get_mut(query) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            _ => {
                self.observed.remove(query);
                true
            }
        };
        if let Some(topic) = query.topic()
            && let Some(count) = self.topics.get_mut(&topic)
        {
            *count -= 1;
            if *count == 0 {
                self.topics.remove(&topic);
                self.topics_left.insert(topic, now);
            }
        }
        match query {
            Query::Row(entity) => {
                if let Some(row) = self.cache.get_mut(entity) {
                    row.observed = row.observed.saturating_sub(1);
                }
            }
            Query::List(key) => {
                if let Some(list) = self.cache.get_list_mut(key) {
                    list.observed = list.observed.saturating_sub(1);
                    list.left_at = now;
                }
            }
            Query::Meta(_) => {}
        }
        self.tabs.to_say |= last;
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
            && self.cache.get(entity).is_some_and(|row| row.stale && self.is_in_sight(row))
        {
            // A list shows it still.
            self.want(entity);
        }
    }

    fn prefetch(&mut self, query: Query, now: f64) {
        if self.person.is_none() || self.observed.contains_key(&query) {
            return;
        }
        match &query {
            Query::List(key) => {
                let index = self.cache.list_place(key, &self.catalogue);
                if let Some(list) = self.cache.list_mut(index) {
                    list.left_at = now;
                }
                self.read_list(index);
                self.derive_from_whole(index);
            }
            Query::Row(entity) => drop(self.cache.place_of(entity)),
            Query::Meta(_) => {}
        }
        if let Some(topic) = query.topic() {
            self.topics_left.entry(topic).or_insert(now);
        }
        self.ensure(query, now);
    }

    fn refetch(&mut self, query: Query, now: f64) {
        if !self.leader {
            return self.effects.push(Effect::Tell(TabMessage::Refetch { query }));
        }
        self.mark_stale(&query);
        self.retries.remove(&query);
        self.ensure(query, now);
    }

    fn invalidate_these(&mut self, queries: Vec<Query>, now: f64) {
        for query in queries {
            if !self.leader {
                self.tell(TabMessage::Refetch { query });
                continue;
            }
            self.mark_stale(&query);
            self.retries.remove(&query);
            match &query {
                // Single rows go together, in as few requests as there are types.
                Query::Row(entity)
                    if self.cache.get(entity).is_some_and(|row| row.base.is_some()) && self.is_looked_at(entity) =>
                {
                    self.want(entity);
                }
                _ if self.is_needed(&query) => self.ensure(query, now),
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
                self.ensure(query, now);
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
            lists.any(|list| list.derived && list.observed > 0 && list.key.whole().as_ref() == Some(key))
        };
        let sweeps = self.swept_from.is_some() && matches!(query, Query::List(_));
        sweeps || self.observed.contains_key(query) || matches!(query, Query::List(key) if part_of(key))
    }

    /// Tries everything that waits at once.
    fn hurry(&mut self, now: f64) {
        if self.person.is_none() {
            return;
        }
        for entry in &mut self.outbox {
            entry.not_before = 0.0;
        }
        self.rows_retry.clear();
        for retry in self.retries.values_mut() {
            *retry = Retry { attempts: 0, at: now };
        }
        self.session.hurry(now);
        self.tick(now);
    }

    /// Works out anew what is shown of a row, after it or its writes changed, and puts it where it belongs in its lists. `told`: those who look at it are
    /// told in any case.
    fn refresh(&mut self, slot: Slot, told: bool) {
        let Some(entity) = self.cache.entity(slot) else { return };
        let entries = self.outbox.iter().filter(|e| e.entity == entity);
        let shown = self.cache.row_mut(slot).is_some_and(|row| row.show(entries));
        if shown || told {
            self.spread(slot, entity);
        }
    }

    /// A row is shown otherwise: tells those who look at it and at its lists.
    fn spread(&mut self, slot: Slot, entity: EntityRef) {
        let placed = self.cache.follow(slot);
        self.note_moved(slot, &placed.changed);
        let holding = self.cache.row(slot).map(|row| row.lists.clone()).unwrap_or_default();
        for index in holding.into_iter().chain(placed.changed) {
            if let Some(list) = self.cache.list(index) {
                self.changed.insert(Query::List(list.key.clone()));
            }
        }
        for index in placed.unsure {
            if let Some(list) = self.cache.list_mut(index) {
                list.stale = true;
            }
        }
        self.changed.insert(Query::Row(entity));
        self.cache.release(slot, false);
    }

    fn refresh_entity(&mut self, entity: &EntityRef, told: bool) {
        if let Some(slot) = self.cache.find(entity) {
            self.refresh(slot, told);
        }
    }
}

fn is_create(entry: &Entry) -> bool {
    matches!(entry.operation, Operation::Create { .. })
}
