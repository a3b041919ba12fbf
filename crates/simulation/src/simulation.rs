//! The world of a run: devices with tabs, the feed, the database, and a network between them that delays, drops, repeats, reorders and partitions. Tabs
//! crash between any two steps, are frozen and thaw; clocks are wrong; devices run out of room and lose bytes. All of it follows from the seed.

use crate::model_database::{ModelDatabase, TxOp, code, markers, person_id, project_id};
use crate::mutant::Mutant;
use crate::oracle::{OracleState, Violation};
use crate::rng::SimRng;
use pmo_domain::protocol::ClientMessage;
use pmo_domain::{EntityRef, PersonId};
use pmo_feed::{ChangeFeed, ConnectionId, DatabaseRequest, Event as FeedEvent, Lane, Limits};
use pmo_sync::store::{self, KeySelector, PersistedState};
use pmo_sync::{
    BatchId, Effect, Engine, EngineConfig, Event, ListKey, MemoryStore, Method, Namespace, ObserverId, Query,
    ReferenceDataKey, Request, RequestError, RequestId, TabId, TabMessage, Write,
};
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use uuid::Uuid;

/// How large a run is, and how hostile.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Devices, each of one person.
    pub devices: usize,
    /// Most tabs of a device.
    pub tabs: usize,
    /// People.
    pub people: usize,
    /// Tasks at the beginning.
    pub tasks: usize,
    /// Events after which the world is healed.
    pub events: u64,
    /// A planted bug.
    pub mutant: Option<Mutant>,
    /// Say on stderr what happens to whatever has this in its words.
    pub trace: Option<String>,
}

/// Which tab, and which of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TabRef {
    /// The device.
    pub device: usize,
    /// The tab.
    pub tab: usize,
    incarnation: u32,
}

/// Work of a tab on its device, one after the other.
pub(crate) enum StoreOp {
    /// A batch, and the term in which it was written.
    Write(BatchId, Option<u64>, Vec<Write>),
    Read(Namespace, Vec<String>),
    Lead,
    Tell(&'static str),
    ReadOutbox,
    ReadDrafts,
}

pub(crate) struct Tab {
    pub(crate) engine: Engine,
    pub(crate) id: TabId,
    pub(crate) alive: bool,
    pub(crate) frozen: bool,
    pub(crate) incarnation: u32,
    /// What comes while it is frozen.
    pub(crate) waiting: Vec<Event>,
    pub(crate) work: VecDeque<StoreOp>,
    pub(crate) working: bool,
    pub(crate) socket: Option<ConnectionId>,
    /// The term in which it leads.
    pub(crate) term: u64,
    pub(crate) in_flight: Vec<RequestId>,
    pub(crate) next_observer: u64,
    pub(crate) observers: Vec<ObserverId>,
}

pub(crate) struct Device {
    pub(crate) person: PersonId,
    pub(crate) store: MemoryStore,
    pub(crate) tabs: Vec<Tab>,
    /// Who holds the lock, and who waits for it.
    pub(crate) lock: Option<usize>,
    pub(crate) queue: VecDeque<usize>,
    pub(crate) term: u64,
    pub(crate) online: bool,
    /// How wrong its clock is.
    pub(crate) skew: f64,
    pub(crate) next_life: u32,
}

#[derive(Debug)]
pub(crate) enum SimEvent {
    Tab(TabRef, Event),
    Feed(FeedEvent),
    Arrives(TabRef, RequestId, Request),
    Commit(i64, Option<(TabRef, RequestId)>),
    Work(TabRef),
    Asked(DatabaseRequest),
    Tick(TabRef),
    Granted(usize),
    Act,
    FeedTick,
}

struct ScheduledEvent(f64, u64, SimEvent);

impl PartialEq for ScheduledEvent {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for ScheduledEvent {}
impl PartialOrd for ScheduledEvent {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ScheduledEvent {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0).then_with(|| other.1.cmp(&self.1))
    }
}

/// A world.
pub struct Simulation {
    pub(crate) plan: SimConfig,
    pub(crate) chance: SimRng,
    pub(crate) now: f64,
    due: BinaryHeap<ScheduledEvent>,
    pub(crate) order: u64,
    pub(crate) database: ModelDatabase,
    pub(crate) feed: ChangeFeed,
    pub(crate) devices: Vec<Device>,
    pub(crate) sockets: HashMap<ConnectionId, (TabRef, f64)>,
    pub(crate) next_socket: u64,
    pub(crate) next_token: u64,
    pub(crate) next_entry: u128,
    pub(crate) healing: bool,
    /// Events delivered so far.
    pub delivered: u64,
    pub(crate) watcher: OracleState,
}

impl Simulation {
    /// A world that follows from a seed.
    pub fn new(seed: u64, plan: SimConfig) -> Self {
        let database = ModelDatabase::new(3, plan.people, plan.tasks);
        let limits = Limits { connections_per_person: 1000, ..Limits::default() };
        let feed = ChangeFeed::new(limits, (1, database.snapshot()), markers(), database.now, database.now);
        let mut world = Self {
            chance: SimRng::new(seed),
            now: 1_000_000.0,
            due: BinaryHeap::new(),
            order: 0,
            database,
            feed,
            devices: Vec::new(),
            sockets: HashMap::new(),
            next_socket: 0,
            next_token: 0,
            next_entry: 1 << 64,
            healing: false,
            delivered: 0,
            watcher: OracleState::default(),
            plan,
        };
        for who in 0..world.plan.people {
            for on in 0..3 {
                if world.chance.gen_range(4) > 0 {
                    let xid = world.database.begin(TxOp::Grant(who, on, None));
                    world.database.commit(xid, None);
                }
            }
        }
        for n in 0..world.plan.devices {
            let skew = if world.chance.one_in(3) { world.chance.gen_range(600_000) as f64 - 300_000.0 } else { 0.0 };
            let device = Device {
                person: person_id(n % world.plan.people),
                store: MemoryStore::default(),
                tabs: Vec::new(),
                lock: None,
                queue: VecDeque::new(),
                term: 0,
                online: true,
                skew,
                next_life: 0,
            };
            world.devices.push(device);
            world.open_tab(n);
        }
        world.schedule(1.0, SimEvent::Act);
        world.schedule(100.0, SimEvent::FeedTick);
        world
    }

    pub(crate) fn schedule(&mut self, delay: f64, what: SimEvent) {
        self.order += 1;
        self.due.push(ScheduledEvent(self.now + delay, self.order, what));
    }

    pub(crate) fn is_planted(&self, mutant: Mutant) -> bool {
        self.plan.mutant == Some(mutant)
    }

    pub(crate) fn tab(&mut self, place: TabRef) -> Option<&mut Tab> {
        let tab = self.devices.get_mut(place.device)?.tabs.get_mut(place.tab)?;
        (tab.alive && tab.incarnation == place.incarnation).then_some(tab)
    }

    pub(crate) fn place(&self, device: usize, tab: usize) -> TabRef {
        TabRef { device, tab, incarnation: self.devices[device].tabs[tab].incarnation }
    }

    /// Runs to the end; fails with the first promise that is broken.
    pub fn run(&mut self) -> Result<u64, Violation> {
        while self.delivered < self.plan.events {
            self.step()?;
        }
        self.heal_network()?;
        let until = self.now + 240_000.0;
        while self.now < until {
            self.step()?;
        }
        self.check_invariants()?;
        Ok(self.delivered)
    }

    fn step(&mut self) -> Result<(), Violation> {
        let Some(ScheduledEvent(at, _, what)) = self.due.pop() else { return Ok(()) };
        self.now = self.now.max(at);
        self.database.now = self.now as i64;
        self.delivered += 1;
        self.trace("", &what);
        match what {
            SimEvent::Tab(place, event) => self.deliver(place, event)?,
            SimEvent::Feed(event) => self.feed(event),
            SimEvent::Arrives(place, id, request) => self.on_request(place, id, request),
            SimEvent::Commit(xid, asked) => self.commit(xid, asked),
            // A frozen tab runs nothing of its own: neither what it asked of its device nor what it does on being given the lock.
            SimEvent::Work(place) if !self.healing && self.tab(place).is_some_and(|tab| tab.frozen) => {
                self.schedule(20.0, SimEvent::Work(place));
            }
            SimEvent::Work(place) => self.work(place),
            SimEvent::Asked(question) => {
                if !self.healing && self.chance.one_in(40) {
                    let lane =
                        if let DatabaseRequest::Past(past) = question { Lane::Past(past) } else { Lane::Ordered };
                    self.feed(FeedEvent::DatabaseFailed(lane));
                } else {
                    let answer = self.database.answer(&question, self.plan.mutant);
                    let delay = self.chance.sample_delay_ms(3);
                    self.schedule(delay, SimEvent::Feed(FeedEvent::DatabaseReplied(answer)));
                }
            }
            SimEvent::Tick(place) => {
                if self.tab(place).is_some() {
                    self.schedule(500.0, SimEvent::Tick(place));
                    self.deliver(place, Event::Tick)?;
                }
            }
            SimEvent::Granted(device) => self.grant_lock(device),
            SimEvent::Act => {
                if !self.healing {
                    let pause = self.chance.sample_delay_ms(25);
                    self.schedule(pause, SimEvent::Act);
                    self.step_workload()?;
                }
            }
            SimEvent::FeedTick => {
                self.feed(FeedEvent::Tick);
                self.schedule(200.0, SimEvent::FeedTick);
            }
        }
        Ok(())
    }

    fn trace(&self, before: &str, what: &impl std::fmt::Debug) {
        if let Some(trace) = &self.plan.trace {
            let text = format!("{what:?}");
            if text.contains(trace) {
                eprintln!("{:.0} {before}{}", self.now, text.chars().take(600).collect::<String>());
            }
        }
    }

    // Tabs ---------------------------------------------------------------------------------------------------------------

    pub(crate) fn open_tab(&mut self, n: usize) {
        let seed = self.chance.next_u64();
        let id = TabId(Uuid::from_u128((u128::from(seed) << 64) | self.order as u128));
        let device = &mut self.devices[n];
        device.next_life += 1;
        let life = device.next_life;
        let tab = Tab {
            engine: Engine::with_settings(
                seed,
                EngineConfig {
                    compaction_threshold: 6,
                    bulk_pack_threshold: 4,
                    gc_after_ms: 60_000.0,
                    ..EngineConfig::default()
                },
            ),
            id,
            alive: true,
            frozen: false,
            incarnation: life,
            waiting: Vec::new(),
            work: VecDeque::new(),
            working: false,
            socket: None,
            term: 0,
            in_flight: Vec::new(),
            next_observer: 0,
            observers: Vec::new(),
        };
        let at = match device.tabs.iter().position(|tab| !tab.alive) {
            Some(at) => {
                device.tabs[at] = tab;
                at
            }
            None => {
                device.tabs.push(tab);
                device.tabs.len() - 1
            }
        };
        let term = if device.lock.is_none() {
            device.lock = Some(at);
            device.term += 1;
            device.tabs[at].term = device.term;
            Some(device.term)
        } else {
            device.queue.push_back(at);
            None
        };
        let stored = Box::new(hydrate_from(&device.store));
        let (person, place) = (device.person, TabRef { device: n, tab: at, incarnation: life });
        self.watcher.record_tab_opened(place);
        self.schedule(1.0, SimEvent::Tab(place, Event::Start { person, tab: id, stored, term }));
        self.schedule(5.0, SimEvent::Tab(place, Event::Online(self.devices[n].online)));
        for query in
            [Query::Meta(ReferenceDataKey::Codes), Query::List(ListKey::all(code("project"))), self.random_query()]
        {
            self.observe_query(place, query, 6.0);
        }
        let first = 100.0 + self.chance.gen_range(400) as f64;
        self.schedule(first, SimEvent::Tick(place));
    }

    pub(crate) fn random_query(&mut self) -> Query {
        let below = EntityRef::new(code("project"), project_id(self.chance.gen_range(3)));
        let list = ListKey::below(code("task"), below.clone(), "project_id");
        match self.chance.gen_range(6) {
            0 => Query::List(ListKey::all(code("task"))),
            1 => Query::List(list.sorted("name", true)),
            2 => Query::Row(below),
            3 => {
                let ids: Vec<Uuid> = self.database.tasks.keys().copied().collect();
                self.chance.choose(&ids).map_or(Query::List(list), |id| Query::Row(EntityRef::new(code("task"), *id)))
            }
            _ => Query::List(list),
        }
    }

    pub(crate) fn observe_query(&mut self, place: TabRef, query: Query, delay: f64) {
        let Some(tab) = self.tab(place) else { return };
        tab.next_observer += 1;
        let id = ObserverId(tab.next_observer);
        tab.observers.push(id);
        self.schedule(delay, SimEvent::Tab(place, Event::Observe(id, query)));
    }

    /// A tab ends at once: what it had not finished is lost. Closed in good order it says so.
    pub(crate) fn kill_tab(&mut self, n: usize, at: usize, crash: bool) {
        let Some(tab) = self.devices[n].tabs.get_mut(at).filter(|tab| tab.alive) else { return };
        tab.alive = false;
        tab.work.clear();
        let (socket, id) = (tab.socket.take(), tab.id);
        if !crash {
            self.broadcast(n, at, TabMessage::TabClosing { tab: id });
        }
        if let Some(socket) = socket {
            self.sockets.remove(&socket);
            self.schedule(5.0, SimEvent::Feed(FeedEvent::Disconnected(socket)));
        }
        let device = &mut self.devices[n];
        device.queue.retain(|waiting| *waiting != at);
        if device.lock == Some(at) {
            device.lock = None;
            self.schedule(3.0, SimEvent::Granted(n));
        }
    }

    fn grant_lock(&mut self, n: usize) {
        let device = &mut self.devices[n];
        if device.lock.is_some() {
            return;
        }
        if let Some(next) = device.queue.pop_front() {
            device.lock = Some(next);
            self.enqueue(n, next, StoreOp::Lead);
        }
    }

    fn broadcast(&mut self, n: usize, from: usize, message: TabMessage) {
        for at in 0..self.devices[n].tabs.len() {
            if at != from && self.devices[n].tabs[at].alive {
                let place = self.place(n, at);
                self.schedule(1.0, SimEvent::Tab(place, Event::TabMessageReceived(message.clone())));
            }
        }
    }

    pub(crate) fn deliver(&mut self, place: TabRef, mut event: Event) -> Result<(), Violation> {
        let (now, healing) = (self.now, self.healing);
        let out_of_order = self.is_planted(Mutant::AnswersOutOfOrder);
        let skew = self.devices[place.device].skew;
        let Some(tab) = self.tab(place) else { return Ok(()) };
        if tab.frozen && !healing {
            tab.waiting.push(event);
            return Ok(());
        }
        match &mut event {
            Event::ResponseReceived(id, answer) => {
                if !tab.in_flight.contains(id) {
                    return Ok(());
                }
                tab.in_flight.retain(|other| other != id);
                if out_of_order && let Ok(answer) = answer {
                    answer.body = bump_versions(&tab.engine, &answer.body);
                }
            }
            Event::SocketMessage(_) | Event::SocketClosed(_) if tab.socket.is_none() => return Ok(()),
            Event::SocketClosed(_) => tab.socket = None,
            _ => {}
        }
        let effects = tab.engine.handle(event, now + skew);
        let mut broken = None;
        for effect in effects {
            self.trace(&format!("  {place:?} "), &effect);
            if let Some(found) = self.perform(place, effect) {
                broken.get_or_insert(found);
            }
        }
        broken.map_or(Ok(()), Err)
    }

    fn perform(&mut self, place: TabRef, effect: Effect) -> Option<Violation> {
        let n = place.device;
        match effect {
            Effect::Fetch(id, mut request) => {
                let fenced = request.method != Method::Get && self.devices[n].term != self.tab(place)?.term;
                if fenced && !self.is_planted(Mutant::NoFencing) {
                    self.schedule(0.0, SimEvent::Tab(place, Event::LeadershipLost));
                    return None;
                }
                if fenced {
                    return Some(Violation::new(
                        "no write is lost, none is applied twice",
                        "a tab sent whose term is over".into(),
                    ));
                }
                if self.is_planted(Mutant::NoIdempotencyKeys) {
                    request.idempotency_key = None;
                }
                self.tab(place)?.in_flight.push(id);
                let lost = !self.devices[n].online || (!self.healing && self.chance.one_in(25));
                let delay = self.chance.sample_delay_ms(40);
                if lost {
                    self.schedule(delay, SimEvent::Tab(place, Event::ResponseReceived(id, Err(RequestError::Network))));
                } else {
                    // A proxy may repeat what it takes for lost.
                    if !self.healing && request.method != Method::Get && self.chance.one_in(20) {
                        let again = self.chance.sample_delay_ms(80);
                        self.schedule(again, SimEvent::Arrives(place, RequestId(u64::MAX), request.clone()));
                    }
                    self.schedule(delay, SimEvent::Arrives(place, id, request));
                }
            }
            Effect::Cancel(id) => self.tab(place)?.in_flight.retain(|other| *other != id),
            Effect::Persist(batch, writes) => {
                if self.is_planted(Mutant::AckBeforeDurable) {
                    self.schedule(0.0, SimEvent::Tab(place, Event::Persisted(batch, batch, Ok(()))));
                    self.watcher.record_persisted(place.device, &writes);
                }
                let term = self.tab(place)?.engine.term();
                self.enqueue(n, place.tab, StoreOp::Write(batch, term, writes));
            }
            Effect::Read(area, names) => self.enqueue(n, place.tab, StoreOp::Read(area, names)),
            Effect::BroadcastOutboxChanged => self.enqueue(n, place.tab, StoreOp::Tell("outbox")),
            Effect::BroadcastDraftsChanged => self.enqueue(n, place.tab, StoreOp::Tell("drafts")),
            Effect::Broadcast(message) => {
                let silent = self.is_planted(Mutant::LeaderUpdatesDropped) && matches!(message, TabMessage::News(_));
                if !silent {
                    self.broadcast(n, place.tab, message);
                }
            }
            Effect::ReloadOutboxAndDrafts => {
                self.enqueue(n, place.tab, StoreOp::ReadOutbox);
                self.enqueue(n, place.tab, StoreOp::ReadDrafts);
            }
            Effect::CheckTerm => {
                let term = if self.is_planted(Mutant::NoFencing) { 0 } else { self.devices[n].term };
                self.schedule(1.0, SimEvent::Tab(place, Event::TermChecked(term)));
            }
            Effect::StealLock => {
                let device = &mut self.devices[n];
                let holder = device.lock.replace(place.tab).filter(|holder| *holder != place.tab);
                device.queue.retain(|waiting| *waiting != place.tab);
                if let Some(holder) = holder {
                    device.queue.push_back(holder);
                    let place = self.place(n, holder);
                    self.schedule(1.0, SimEvent::Tab(place, Event::LeadershipLost));
                }
                self.enqueue(n, place.tab, StoreOp::Lead);
            }
            Effect::Connect => {
                self.close_socket(place);
                let fails = !self.devices[n].online || (!self.healing && self.chance.one_in(6));
                self.next_socket += 1;
                let id = ConnectionId(self.next_socket);
                self.tab(place)?.socket = Some(id);
                let delay = self.chance.sample_delay_ms(20);
                if fails {
                    self.schedule(delay, SimEvent::Tab(place, Event::SocketClosed(1006)));
                } else {
                    self.sockets.insert(id, (place, 0.0));
                    let person = self.devices[n].person;
                    self.schedule(delay, SimEvent::Feed(FeedEvent::Connected(id, person)));
                }
            }
            Effect::Send(message) => {
                let socket = self.tab(place)?.socket?;
                // A socket keeps its order: what is said later arrives later.
                if !matches!(message, ClientMessage::Auth { .. } | ClientMessage::TokenRefresh { .. }) {
                    self.schedule(8.0, SimEvent::Feed(FeedEvent::MessageReceived(socket, message)));
                }
            }
            Effect::Disconnect => self.close_socket(place),
            Effect::Changed(Query::Row(entity)) => {
                let tab = self.devices[n].tabs.get(place.tab)?;
                let stamp = tab.engine.row(&entity).and_then(|row| row.data.get("stamp")?.as_i64());
                return self.watcher.check_monotonic_reads(place, &entity, stamp);
            }
            Effect::RefreshToken => self.schedule(20.0, SimEvent::Tab(place, Event::TokenRefreshed)),
            _ => {}
        }
        None
    }

    fn close_socket(&mut self, place: TabRef) {
        if let Some(socket) = self.tab(place).and_then(|tab| tab.socket.take()) {
            self.sockets.remove(&socket);
            self.schedule(5.0, SimEvent::Feed(FeedEvent::Disconnected(socket)));
        }
    }

    // The end --------------------------------------------------------------------------------------------------------------

    /// The network is whole again, everybody is awake and online.
    fn heal_network(&mut self) -> Result<(), Violation> {
        self.healing = true;
        for n in 0..self.devices.len() {
            self.devices[n].online = true;
            for at in 0..self.devices[n].tabs.len() {
                let tab = &mut self.devices[n].tabs[at];
                if !tab.alive {
                    continue;
                }
                tab.frozen = false;
                let waiting = std::mem::take(&mut tab.waiting);
                let place = self.place(n, at);
                for event in waiting {
                    self.deliver(place, event)?;
                }
                self.schedule(12.0, SimEvent::Tab(place, Event::Online(true)));
                self.schedule(13.0, SimEvent::Tab(place, Event::VisibilityChanged(true)));
            }
            if !self.devices[n].tabs.iter().any(|tab| tab.alive) {
                self.open_tab(n);
            }
        }
        Ok(())
    }

    fn check_invariants(&self) -> Result<(), Violation> {
        for (n, device) in self.devices.iter().enumerate() {
            for tab in device.tabs.iter().filter(|tab| tab.alive) {
                let (life, leads) = (tab.incarnation, tab.engine.is_leader());
                let held = self.watcher.check_cache_converged(&tab.engine, device.person, &self.database);
                held.map_err(|broken| Violation {
                    detail: format!("device {n}, life {life}, leads: {leads}: {}", broken.detail),
                    ..broken
                })?;
                self.watcher.check_drafts_survive(n, &tab.engine)?;
            }
            let kept = self.watcher.check_no_leak_on_disk(&device.store, device.person, &self.database);
            kept.map_err(|broken| Violation { detail: format!("device {n}: {}", broken.detail), ..broken })?;
        }
        let stores: Vec<&MemoryStore> = self.devices.iter().map(|device| &device.store).collect();
        self.watcher.check_no_lost_or_duplicate_writes(&stores, &self.database)?;
        self.watcher.check_no_silent_overwrite(&self.database)
    }
}

pub(crate) fn hydrate_from(store: &MemoryStore) -> PersistedState {
    PersistedState {
        log: store.read_now(Namespace::Entities, KeySelector::Prefix(store::ROW_PREFIX)),
        chunks: store
            .read_now(Namespace::Entities, KeySelector::Prefix(store::CHUNK_PREFIX))
            .into_iter()
            .map(|(name, _)| name)
            .collect(),
        lists: store.read_now(Namespace::Lists, KeySelector::All),
        metadata: store.read_now(Namespace::Metadata, KeySelector::All),
        drafts: read_all(store, Namespace::Drafts),
        outbox: read_all(store, Namespace::Outbox),
    }
}

fn read_all<T: for<'a> serde::Deserialize<'a>>(store: &MemoryStore, area: Namespace) -> Vec<T> {
    store.read_now(area, KeySelector::All).iter().filter_map(|(_, bytes)| serde_json::from_slice(bytes).ok()).collect()
}

/// An answer as an engine would take it that does not look at versions: no row in it is older than what is held.
fn bump_versions(engine: &Engine, body: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(body) else { return body.to_owned() };
    let renew = |row: &mut Value| {
        let id = row.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        let held = id.and_then(|id| engine.cached_row(&EntityRef::new(code("task"), id))).map_or(0, |row| row.version);
        if row.get("version").and_then(Value::as_i64).is_some_and(|version| version < held) {
            row["version"] = json!(held);
        }
    };
    match value.get_mut("data").and_then(Value::as_array_mut) {
        Some(rows) => rows.iter_mut().for_each(renew),
        None => renew(&mut value),
    }
    value.to_string()
}
