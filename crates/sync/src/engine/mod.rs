//! The engine: events in, effects out. What it decides is spread over rooms by subject; this one holds the state and the doors.

mod fetching; // reads: what to ask, what an answer means
mod live; // the socket: what has changed, what to watch
mod writing; // outbox and drafts

use crate::cache::Cache;
use crate::draft::Draft;
use crate::event::{Effect, Event, ObserverId, Request, RequestId};
use crate::key::{ListKey, MetaKey, Query};
use crate::outbox::{Entry, EntryState, Operation};
use crate::session::Session;
use crate::store::{StoreOp, StoredCursor};
use pmo_domain::{EntityCode, EntityRef, PersonId, Row};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// Milliseconds after which a row is asked for again when somebody looks.
pub const STALE_MS: f64 = 5.0 * 60_000.0;
/// Milliseconds for which a query stays subscribed after the last observer left.
const SUBSCRIPTION_GRACE_MS: f64 = 30_000.0;
/// Writes that are on their way at once.
const PARALLEL_WRITES: usize = 4;

/// What a request is for.
#[derive(Clone, Debug)]
enum Purpose {
    Row(EntityRef),
    Rows(EntityCode, Vec<Uuid>),
    Page { key: ListKey, collected: Vec<Row>, feed_cursor: Option<String> },
    Meta(MetaKey),
    Write(Uuid),
}

/// A query that did not come through, to be tried again.
#[derive(Clone, Copy, Debug)]
struct Retry {
    attempts: u32,
    at: f64,
}

/// One thing as the page shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RowView {
    /// Its columns, with what was written here.
    pub data: Arc<Row>,
    /// Something is on its way to the server.
    pub pending: bool,
    /// The columns that are.
    pub pending_fields: Vec<String>,
    /// A write needs a person.
    pub attention: bool,
    /// From the device, not yet confirmed.
    pub stale: bool,
}

/// A list as the page shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ListView {
    /// The rows.
    pub rows: Vec<RowView>,
    /// Known, from the server or from the device.
    pub loaded: bool,
    /// Being asked for.
    pub fetching: bool,
    /// The last try failed.
    pub failed: bool,
}

/// The sync mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The server can be reached.
    pub online: bool,
    /// The socket is open.
    pub live: bool,
    /// Writes that wait or are on their way.
    pub waiting: usize,
    /// Writes that need a person.
    pub attention: usize,
    /// Writes that are not on disk yet.
    pub unsaved: usize,
}

/// One person's engine in one tab.
pub struct Engine {
    person: Option<PersonId>,
    cache: Cache,
    metas: BTreeMap<MetaKey, (Arc<Value>, f64, bool)>,
    names: BTreeMap<String, BTreeMap<Uuid, String>>,
    observers: HashMap<ObserverId, Query>,
    observed: HashMap<Query, usize>,
    left_at: HashMap<Query, f64>,
    requests: HashMap<RequestId, Purpose>,
    in_flight: HashSet<Query>,
    rows_in_flight: HashSet<EntityCode>,
    rows_retry: HashMap<EntityCode, Retry>,
    wanted: BTreeMap<EntityCode, BTreeSet<Uuid>>,
    retries: HashMap<Query, Retry>,
    failed: HashSet<Query>,
    outbox: Vec<Entry>,
    drafts: BTreeMap<EntityRef, Draft>,
    session: Session,
    cursor: Option<StoredCursor>,
    subscribed: HashSet<Query>,
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
    gone: HashMap<EntityRef, u64>,
    /// The request whose answer is being taken in; past all of them otherwise.
    answering: u64,
    /// Lists on the device that hold rows which are gone: written anew at the end of the event.
    torn_lists: BTreeSet<ListKey>,
    forgotten_names: BTreeMap<String, BTreeSet<Uuid>>,
    effects: Vec<Effect>,
    ops: Vec<StoreOp>,
}

impl Engine {
    /// An engine of nobody. `seed` spreads reconnects of many clients in time.
    pub fn new(seed: u64) -> Self {
        Self {
            person: None,
            cache: Cache::default(),
            metas: BTreeMap::new(),
            names: BTreeMap::new(),
            observers: HashMap::new(),
            observed: HashMap::new(),
            left_at: HashMap::new(),
            requests: HashMap::new(),
            in_flight: HashSet::new(),
            rows_in_flight: HashSet::new(),
            rows_retry: HashMap::new(),
            wanted: BTreeMap::new(),
            retries: HashMap::new(),
            failed: HashSet::new(),
            outbox: Vec::new(),
            drafts: BTreeMap::new(),
            session: Session::new(seed),
            cursor: None,
            subscribed: HashSet::new(),
            leader: false,
            browser_online: true,
            reachable: true,
            token_good: true,
            renewals: 0,
            resuming: None,
            next_request: 0,
            gone: HashMap::new(),
            answering: u64::MAX,
            torn_lists: BTreeSet::new(),
            forgotten_names: BTreeMap::new(),
            effects: Vec::new(),
            ops: Vec::new(),
        }
    }

    /// Takes an event at the time `now`, in milliseconds since 1970, and answers what to do.
    pub fn handle(&mut self, event: Event, now: f64) -> Vec<Effect> {
        let before = self.status();
        match event {
            Event::Start { person, stored } => self.start(person, *stored, now),
            Event::Observe(id, query) => self.observe(id, query, now),
            Event::Unobserve(id) => self.unobserve(id, now),
            Event::Answered(id, answer) => self.answered(id, answer, now),
            Event::Frame(message) => self.frame(message, now),
            Event::Closed(code) => self.closed(code, now),
            Event::Update { entity, patch, ids } => self.update(entity, patch, None, ids),
            Event::Create { entity, values, ids } => self.create(entity, values, ids),
            Event::Delete { entity, ids } => self.delete(entity, ids),
            Event::Saved(id) => self.saved(id),
            Event::Outbox(entries) => self.outbox_is(entries),
            Event::Settle { entry, keep_mine } => self.settle(entry, keep_mine, now),
            Event::Reopen(id) => self.reopen(id, now),
            Event::Drafts { drafts, as_of } => self.drafts_are(drafts, as_of),
            Event::Discard(id) => self.discard_entry(id),
            Event::DraftField { entity, field, value } => self.draft_field(entity, &field, value, now),
            Event::DraftUndo(entity) => self.draft_step(&entity, |d| d.undo(now)),
            Event::DraftRedo(entity) => self.draft_step(&entity, |d| d.redo(now)),
            Event::DraftDiscard(entity) => self.draft_discard(&entity),
            Event::DraftCommit { entity, ids } => self.draft_commit(&entity, ids),
            Event::Leader(leader) => self.leader = leader,
            Event::Online(online) => {
                self.browser_online = online;
                if online {
                    self.hurry(now);
                }
            }
            Event::Shown => self.hurry(now),
            Event::Unreachable => self.reachable = false,
            Event::TokenRenewed => {
                self.token_good = true;
                self.renewals += 1;
                // A server that takes no token however new is not asked at network speed.
                if self.renewals <= 2 {
                    self.hurry(now);
                }
            }
            Event::SignedOut => self.sign_out(),
            Event::Tick => self.tick(now),
        }
        if self.person.is_some() {
            self.pump(now);
            self.flush_wanted(now);
        }
        self.mend_lists();
        if !self.ops.is_empty() {
            self.effects.insert(0, Effect::Persist(std::mem::take(&mut self.ops)));
        }
        if self.status() != before && !self.effects.contains(&Effect::StatusChanged) {
            self.effects.push(Effect::StatusChanged);
        }
        std::mem::take(&mut self.effects)
    }

    fn changed(&mut self, query: Query) {
        let effect = Effect::Changed(query);
        if !self.effects.contains(&effect) {
            self.effects.push(effect);
        }
    }

    fn request(&mut self, purpose: Purpose, request: Request) {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.requests.insert(id, purpose);
        self.effects.push(Effect::Fetch(id, request));
    }

    fn start(&mut self, person: PersonId, stored: crate::store::Stored, now: f64) {
        self.person = Some(person);
        self.cursor = stored.cursor;
        self.names = stored.names;
        for meta in stored.metas {
            self.metas.insert(meta.key, (Arc::new(meta.data), meta.synced_at, true));
        }
        for row in stored.rows {
            let known = self.cache.rows.entry(row.entity).or_default();
            if row.synced_at >= known.synced_at {
                known.base = row.data.map(Arc::new);
                known.synced_at = row.synced_at;
                known.stale = true;
            }
        }
        self.cache.rows.retain(|_, row| row.base.is_some());
        for list in stored.lists {
            let rows = &self.cache.rows;
            let alive = |id: &Uuid| rows.contains_key(&EntityRef::new(list.key.code.clone(), *id));
            let ids = list.ids.into_iter().filter(alive).collect();
            let entry = self.cache.lists.entry(list.key).or_default();
            *entry = crate::cache::CachedList { ids, synced_at: list.synced_at, stale: true, loaded: true };
        }
        // A live change may have made or moved a row after its list was packed.
        let rows: Vec<_> = self.cache.rows.iter().map(|(e, r)| (e.clone(), r.base.clone())).collect();
        for (entity, base) in rows {
            self.cache.place(&entity, base.as_deref());
            self.show(&entity);
        }
        self.drafts = stored.drafts.into_iter().map(|d| (d.entity.clone(), d)).collect();
        self.outbox_is(stored.outbox);
        let queries: Vec<Query> = self.observed.keys().cloned().collect();
        for query in queries {
            self.changed(query.clone());
            self.ensure(query, now);
        }
        self.session.connecting(now);
        self.effects.push(Effect::Connect);
        self.effects.push(Effect::StatusChanged);
    }

    fn sign_out(&mut self) {
        let queries: Vec<Query> = self.observed.keys().cloned().collect();
        let (observers, observed) = (std::mem::take(&mut self.observers), std::mem::take(&mut self.observed));
        *self =
            Self { observers, observed, effects: vec![Effect::Disconnect], ops: vec![StoreOp::Clear], ..Self::new(1) };
        for query in queries {
            self.changed(query);
        }
    }

    fn observe(&mut self, id: ObserverId, query: Query, now: f64) {
        if self.observers.insert(id, query.clone()).is_none() {
            *self.observed.entry(query.clone()).or_default() += 1;
            self.left_at.remove(&query);
        }
        if self.person.is_some() {
            self.retries.remove(&query);
            self.ensure(query, now);
        }
    }

    fn unobserve(&mut self, id: ObserverId, now: f64) {
        let Some(query) = self.observers.remove(&id) else { return };
        if let Some(count) = self.observed.get_mut(&query) {
            *count -= 1;
            if *count == 0 {
                self.observed.remove(&query);
                self.left_at.insert(query, now);
            }
        }
    }

    fn tick(&mut self, now: f64) {
        if self.person.is_none() {
            return;
        }
        let due: Vec<Query> = self.retries.iter().filter(|(_, r)| r.at <= now).map(|(q, _)| q.clone()).collect();
        for query in due {
            if self.observed.contains_key(&query) {
                self.ensure(query, now);
            } else {
                self.retries.remove(&query);
            }
        }
        self.tick_session(now);
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

    // What the page reads ------------------------------------------------------------------------------------------------

    /// The person.
    pub fn person(&self) -> Option<PersonId> {
        self.person
    }

    /// One thing; none where it is unknown or gone.
    pub fn row(&self, entity: &EntityRef) -> Option<RowView> {
        let row = self.cache.rows.get(entity)?;
        Some(RowView {
            data: row.shown.clone()?,
            pending: row.pending,
            pending_fields: row.pending_fields.clone(),
            attention: row.attention,
            stale: row.stale,
        })
    }

    /// Whether the server has said that there is no such thing for this person, or could not be asked.
    pub fn row_missing(&self, entity: &EntityRef) -> bool {
        let query = Query::Row(entity.clone());
        self.cache.rows.get(entity).is_none_or(|r| r.shown.is_none())
            && !self.in_flight.contains(&query)
            && self.person.is_some()
    }

    /// A list with its rows.
    pub fn list(&self, key: &ListKey) -> ListView {
        let query = Query::List(key.clone());
        let (fetching, failed) = (self.in_flight.contains(&query), self.failed.contains(&query));
        let Some(list) = self.cache.lists.get(key) else {
            return ListView { rows: Vec::new(), loaded: false, fetching, failed };
        };
        let rows = list.ids.iter().filter_map(|id| self.row(&EntityRef::new(key.code.clone(), *id))).collect();
        ListView { rows, loaded: list.loaded, fetching, failed }
    }

    /// Reference data.
    pub fn meta(&self, key: MetaKey) -> Option<Arc<Value>> {
        self.metas.get(&key).map(|m| m.0.clone())
    }

    /// The name of a thing, as far as it has been told.
    pub fn name(&self, code: &str, id: Uuid) -> Option<String> {
        let row = EntityCode::new(code).ok().and_then(|c| self.cache.rows.get(&EntityRef::new(c, id)));
        let own = row.and_then(|r| r.shown.as_ref()?.get("name")?.as_str().map(str::to_owned));
        own.or_else(|| self.names.get(code)?.get(&id).cloned())
    }

    /// Every thing of a type whose name is known: for choosing one.
    pub fn known_names(&self, code: &str) -> Vec<(Uuid, String)> {
        let mut known: BTreeMap<Uuid, String> = self.names.get(code).cloned().unwrap_or_default();
        for (entity, row) in self.cache.rows.iter().filter(|(e, _)| e.code == *code) {
            if let Some(name) = row.shown.as_ref().and_then(|r| r.get("name")?.as_str()) {
                known.insert(entity.id, name.to_owned());
            }
        }
        let mut names: Vec<_> = known.into_iter().collect();
        names.sort_by_key(|(_, name)| name.to_lowercase());
        names
    }

    /// The draft of a thing.
    pub fn draft(&self, entity: &EntityRef) -> Option<&Draft> {
        self.drafts.get(entity)
    }

    /// Drafts with changes.
    pub fn draft_count(&self) -> usize {
        self.drafts.values().filter(|d| d.has_changes()).count()
    }

    /// Writes that are not done.
    pub fn outbox(&self) -> &[Entry] {
        &self.outbox
    }

    /// The sync mark.
    pub fn status(&self) -> Status {
        let waiting = self.outbox.iter().filter(|e| e.state == EntryState::Waiting);
        Status {
            online: self.browser_online && self.reachable,
            live: self.session.link == crate::session::Link::Open,
            waiting: waiting.clone().count(),
            attention: self.outbox.iter().filter(|e| e.state != EntryState::Waiting).count(),
            unsaved: waiting.filter(|e| !e.saved).count(),
        }
    }

    fn show(&mut self, entity: &EntityRef) -> bool {
        let Some(row) = self.cache.rows.get_mut(entity) else { return false };
        row.show(self.outbox.iter().filter(|e| e.entity == *entity))
    }

    /// Shows a row anew after it or its writes changed, in its lists too.
    fn refresh(&mut self, entity: &EntityRef, force: bool) {
        if !self.show(entity) && !force {
            return;
        }
        let shown = self.cache.rows.get(entity).and_then(|r| r.shown.clone());
        let mut lists: Vec<ListKey> = self.cache.lists_with(entity).cloned().collect();
        lists.extend(self.cache.place(entity, shown.as_deref()));
        self.changed(Query::Row(entity.clone()));
        for key in lists {
            self.changed(Query::List(key));
        }
    }
}

fn is_create(entry: &Entry) -> bool {
    matches!(entry.operation, Operation::Create { .. })
}
