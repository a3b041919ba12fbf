//! State and event loop of a run: devices with tabs, feed, database and network.
//!
//! The network delays, drops, repeats, reorders and partitions. Tabs crash between any two steps,
//! freeze and thaw; clocks are wrong; devices run out of storage and lose bytes. Every event
//! follows from the seed.

use crate::model_database::{ModelDatabase, TxOp, code, person_id, project_id, type_markers};
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

/// Configuration of a run.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Number of devices; each belongs to one person.
    pub devices: usize,
    /// Maximum number of tabs per device.
    pub tabs: usize,
    /// Number of people.
    pub people: usize,
    /// Number of tasks at the start.
    pub tasks: usize,
    /// Number of delivered events after which faults end.
    pub events: u64,
    /// Planted bug, if any.
    pub mutant: Option<Mutant>,
    /// Text filter: matching events and effects are printed to stderr.
    pub trace: Option<String>,
}

/// Reference to one incarnation of a tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TabRef {
    /// Index of the device.
    pub device: usize,
    /// Index of the tab on the device.
    pub tab: usize,
    incarnation: u32,
}

/// Operation of a tab on its device store; a tab runs its operations in order.
pub(crate) enum StoreOp {
    /// Writes of a batch and the leader term in which they were issued.
    Write(BatchId, Option<u64>, Vec<Write>),
    Read(Namespace, Vec<String>),
    AcquireLeadership,
    /// Makes the other tabs reload `outbox` or `drafts`.
    Notify(&'static str),
    ReadOutbox,
    ReadDrafts,
}

pub(crate) struct Tab {
    pub(crate) engine: Engine,
    pub(crate) id: TabId,
    pub(crate) alive: bool,
    pub(crate) frozen: bool,
    pub(crate) incarnation: u32,
    /// Events that arrived while the tab was frozen.
    pub(crate) deferred: Vec<Event>,
    pub(crate) store_ops: VecDeque<StoreOp>,
    /// Whether a store operation is scheduled.
    pub(crate) store_busy: bool,
    pub(crate) socket: Option<ConnectionId>,
    /// Term of the tab's last leadership.
    pub(crate) term: u64,
    pub(crate) in_flight: Vec<RequestId>,
    pub(crate) next_observer: u64,
    pub(crate) observers: Vec<ObserverId>,
}

pub(crate) struct Device {
    pub(crate) person: PersonId,
    pub(crate) store: MemoryStore,
    pub(crate) tabs: Vec<Tab>,
    /// Tab that holds the leader lock.
    pub(crate) lock_holder: Option<usize>,
    /// Tabs that wait for the leader lock.
    pub(crate) lock_queue: VecDeque<usize>,
    /// Term of the current or last leadership.
    pub(crate) term: u64,
    pub(crate) online: bool,
    /// Error of the device clock, in milliseconds.
    pub(crate) skew: f64,
    pub(crate) next_incarnation: u32,
}

#[derive(Debug)]
pub(crate) enum SimEvent {
    Tab(TabRef, Event),
    Feed(FeedEvent),
    RequestArrived(TabRef, RequestId, Request),
    Commit(i64, Option<(TabRef, RequestId)>),
    RunStoreOp(TabRef),
    DatabaseQueried(DatabaseRequest),
    Tick(TabRef),
    LockReleased(usize),
    WorkloadStep,
    FeedTick,
}

/// Event with its time and its sequence number, which orders events of equal time.
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

/// State of a simulation run.
pub struct Simulation {
    pub(crate) config: SimConfig,
    pub(crate) rng: SimRng,
    pub(crate) now: f64,
    event_queue: BinaryHeap<ScheduledEvent>,
    last_sequence: u64,
    pub(crate) database: ModelDatabase,
    pub(crate) feed: ChangeFeed,
    pub(crate) devices: Vec<Device>,
    /// Tab of each open socket and the delivery time of the last frame to it.
    pub(crate) sockets: HashMap<ConnectionId, (TabRef, f64)>,
    pub(crate) next_socket: u64,
    pub(crate) next_token: u64,
    pub(crate) next_entry: u128,
    /// Whether faults have ended.
    pub(crate) healing: bool,
    /// Number of events delivered so far.
    pub delivered: u64,
    pub(crate) oracle: OracleState,
}

impl Simulation {
    /// Creates a simulation; all random decisions follow from `seed`.
    pub fn new(seed: u64, config: SimConfig) -> Self {
        let database = ModelDatabase::new(3, config.people, config.tasks);
        let limits = Limits { connections_per_person: 1000, ..Limits::default() };
        let feed = ChangeFeed::new(limits, (1, database.snapshot()), type_markers(), database.clock(), database.clock());
        let mut simulation = Self {
            rng: SimRng::new(seed),
            now: 1_000_000.0,
            event_queue: BinaryHeap::new(),
            last_sequence: 0,
            database,
            feed,
            devices: Vec::new(),
            sockets: HashMap::new(),
            next_socket: 0,
            next_token: 0,
            next_entry: 1 << 64,
            healing: false,
            delivered: 0,
            oracle: OracleState::default(),
            config,
        };
        for person in 0..simulation.config.people {
            for project in 0..3 {
                if simulation.rng.gen_range(4) > 0 {
                    let xid = simulation.database.begin(TxOp::Grant(person, project, None));
                    simulation.database.commit(xid, None);
                }
            }
        }
        for n in 0..simulation.config.devices {
            let skew =
                if simulation.rng.one_in(3) { simulation.rng.gen_range(600_000) as f64 - 300_000.0 } else { 0.0 };
            let device = Device {
                person: person_id(n % simulation.config.people),
                store: MemoryStore::default(),
                tabs: Vec::new(),
                lock_holder: None,
                lock_queue: VecDeque::new(),
                term: 0,
                online: true,
                skew,
                next_incarnation: 0,
            };
            simulation.devices.push(device);
            simulation.open_tab(n);
        }
        simulation.schedule(1.0, SimEvent::WorkloadStep);
        simulation.schedule(100.0, SimEvent::FeedTick);
        simulation
    }

    pub(crate) fn schedule(&mut self, delay: f64, event: SimEvent) {
        self.last_sequence += 1;
        self.event_queue.push(ScheduledEvent(self.now + delay, self.last_sequence, event));
    }

    pub(crate) fn is_planted(&self, mutant: Mutant) -> bool {
        self.config.mutant == Some(mutant)
    }

    pub(crate) fn tab(&mut self, tab_ref: TabRef) -> Option<&mut Tab> {
        let tab = self.devices.get_mut(tab_ref.device)?.tabs.get_mut(tab_ref.tab)?;
        (tab.alive && tab.incarnation == tab_ref.incarnation).then_some(tab)
    }

    pub(crate) fn tab_ref(&self, device: usize, tab: usize) -> TabRef {
        TabRef { device, tab, incarnation: self.devices[device].tabs[tab].incarnation }
    }

    /// Runs the simulation and returns the number of delivered events.
    ///
    /// Fails with the first violation of an invariant.
    pub fn run(&mut self) -> Result<u64, Violation> {
        while self.delivered < self.config.events {
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
        let Some(ScheduledEvent(time, _, event)) = self.event_queue.pop() else { return Ok(()) };
        self.now = self.now.max(time);
        self.database.now = self.now as i64;
        self.delivered += 1;
        self.trace("", &event);
        match event {
            SimEvent::Tab(tab_ref, event) => self.deliver(tab_ref, event)?,
            SimEvent::Feed(event) => self.handle_feed_event(event),
            SimEvent::RequestArrived(tab_ref, id, request) => self.on_request(tab_ref, id, request),
            SimEvent::Commit(xid, origin) => self.commit(xid, origin),
            // A frozen tab runs no code: no store operations and no acquisition of leadership.
            SimEvent::RunStoreOp(tab_ref) if !self.healing && self.tab(tab_ref).is_some_and(|tab| tab.frozen) => {
                self.schedule(20.0, SimEvent::RunStoreOp(tab_ref));
            }
            SimEvent::RunStoreOp(tab_ref) => self.run_store_op(tab_ref),
            SimEvent::DatabaseQueried(request) => {
                if !self.healing && self.rng.one_in(40) {
                    let lane =
                        if let DatabaseRequest::CatchUp(past) = request { Lane::CatchUp(past) } else { Lane::Ordered };
                    self.handle_feed_event(FeedEvent::DatabaseFailed(lane));
                } else {
                    let response = self.database.handle_request(&request, self.config.mutant);
                    let delay = self.rng.sample_delay_ms(3);
                    self.schedule(delay, SimEvent::Feed(FeedEvent::DatabaseReplied(response)));
                }
            }
            SimEvent::Tick(tab_ref) => {
                if self.tab(tab_ref).is_some() {
                    self.schedule(500.0, SimEvent::Tick(tab_ref));
                    self.deliver(tab_ref, Event::Tick)?;
                }
            }
            SimEvent::LockReleased(device) => self.grant_lock(device),
            SimEvent::WorkloadStep => {
                if !self.healing {
                    let delay = self.rng.sample_delay_ms(25);
                    self.schedule(delay, SimEvent::WorkloadStep);
                    self.step_workload()?;
                }
            }
            SimEvent::FeedTick => {
                self.handle_feed_event(FeedEvent::Tick);
                self.schedule(200.0, SimEvent::FeedTick);
            }
        }
        Ok(())
    }

    fn trace(&self, prefix: &str, item: &impl std::fmt::Debug) {
        if let Some(filter) = &self.config.trace {
            let text = format!("{item:?}");
            if text.contains(filter) {
                eprintln!("{:.0} {prefix}{}", self.now, text.chars().take(600).collect::<String>());
            }
        }
    }

    // Tabs ---------------------------------------------------------------------------------------

    pub(crate) fn open_tab(&mut self, n: usize) {
        let seed = self.rng.next_u64();
        let id = TabId(Uuid::from_u128((u128::from(seed) << 64) | self.last_sequence as u128));
        let device = &mut self.devices[n];
        device.next_incarnation += 1;
        let incarnation = device.next_incarnation;
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
            incarnation,
            deferred: Vec::new(),
            store_ops: VecDeque::new(),
            store_busy: false,
            socket: None,
            term: 0,
            in_flight: Vec::new(),
            next_observer: 0,
            observers: Vec::new(),
        };
        let tab_index = match device.tabs.iter().position(|tab| !tab.alive) {
            Some(tab_index) => {
                device.tabs[tab_index] = tab;
                tab_index
            }
            None => {
                device.tabs.push(tab);
                device.tabs.len() - 1
            }
        };
        let term = if device.lock_holder.is_none() {
            device.lock_holder = Some(tab_index);
            device.term += 1;
            device.tabs[tab_index].term = device.term;
            Some(device.term)
        } else {
            device.lock_queue.push_back(tab_index);
            None
        };
        let stored = Box::new(hydrate_from(&device.store));
        let (person, tab_ref) = (device.person, TabRef { device: n, tab: tab_index, incarnation });
        self.oracle.record_tab_opened(tab_ref);
        self.schedule(1.0, SimEvent::Tab(tab_ref, Event::Start { person, tab: id, stored, term }));
        self.schedule(5.0, SimEvent::Tab(tab_ref, Event::Online(self.devices[n].online)));
        for query in
            [Query::Meta(ReferenceDataKey::Codes), Query::List(ListKey::all(code("project"))), self.random_query()]
        {
            self.observe_query(tab_ref, query, 6.0);
        }
        let first_tick = 100.0 + self.rng.gen_range(400) as f64;
        self.schedule(first_tick, SimEvent::Tick(tab_ref));
    }

    pub(crate) fn random_query(&mut self) -> Query {
        let parent = EntityRef::new(code("project"), project_id(self.rng.gen_range(3)));
        let list = ListKey::children_of(code("task"), parent.clone(), "project_id");
        match self.rng.gen_range(6) {
            0 => Query::List(ListKey::all(code("task"))),
            1 => Query::List(list.sorted("name", true)),
            2 => Query::Row(parent),
            3 => {
                let ids: Vec<Uuid> = self.database.tasks.keys().copied().collect();
                self.rng.choose(&ids).map_or(Query::List(list), |id| Query::Row(EntityRef::new(code("task"), *id)))
            }
            _ => Query::List(list),
        }
    }

    pub(crate) fn observe_query(&mut self, tab_ref: TabRef, query: Query, delay: f64) {
        let Some(tab) = self.tab(tab_ref) else { return };
        tab.next_observer += 1;
        let id = ObserverId(tab.next_observer);
        tab.observers.push(id);
        self.schedule(delay, SimEvent::Tab(tab_ref, Event::Observe(id, query)));
    }

    /// Closes a tab at once; its unfinished store operations are lost.
    ///
    /// Without `crash`, the tab notifies the other tabs first.
    pub(crate) fn kill_tab(&mut self, n: usize, tab_index: usize, crash: bool) {
        let Some(tab) = self.devices[n].tabs.get_mut(tab_index).filter(|tab| tab.alive) else { return };
        tab.alive = false;
        tab.store_ops.clear();
        let (socket, id) = (tab.socket.take(), tab.id);
        if !crash {
            self.broadcast(n, tab_index, TabMessage::TabClosing { tab: id });
        }
        if let Some(socket) = socket {
            self.sockets.remove(&socket);
            self.schedule(5.0, SimEvent::Feed(FeedEvent::Disconnected(socket)));
        }
        let device = &mut self.devices[n];
        device.lock_queue.retain(|waiting_tab| *waiting_tab != tab_index);
        if device.lock_holder == Some(tab_index) {
            device.lock_holder = None;
            self.schedule(3.0, SimEvent::LockReleased(n));
        }
    }

    fn grant_lock(&mut self, n: usize) {
        let device = &mut self.devices[n];
        if device.lock_holder.is_some() {
            return;
        }
        if let Some(next_tab) = device.lock_queue.pop_front() {
            device.lock_holder = Some(next_tab);
            self.enqueue(n, next_tab, StoreOp::AcquireLeadership);
        }
    }

    fn broadcast(&mut self, n: usize, sender: usize, message: TabMessage) {
        for tab_index in 0..self.devices[n].tabs.len() {
            if tab_index != sender && self.devices[n].tabs[tab_index].alive {
                let tab_ref = self.tab_ref(n, tab_index);
                self.schedule(1.0, SimEvent::Tab(tab_ref, Event::TabMessageReceived(message.clone())));
            }
        }
    }

    pub(crate) fn deliver(&mut self, tab_ref: TabRef, mut event: Event) -> Result<(), Violation> {
        let (now, healing) = (self.now, self.healing);
        let out_of_order = self.is_planted(Mutant::ResponsesOutOfOrder);
        let skew = self.devices[tab_ref.device].skew;
        let Some(tab) = self.tab(tab_ref) else { return Ok(()) };
        if tab.frozen && !healing {
            tab.deferred.push(event);
            return Ok(());
        }
        match &mut event {
            Event::ResponseReceived(id, response) => {
                if !tab.in_flight.contains(id) {
                    return Ok(());
                }
                tab.in_flight.retain(|other| other != id);
                if out_of_order && let Ok(response) = response {
                    response.body = bump_versions(&tab.engine, &response.body);
                }
            }
            Event::SocketMessage(_) | Event::SocketClosed(_) if tab.socket.is_none() => return Ok(()),
            Event::SocketClosed(_) => tab.socket = None,
            _ => {}
        }
        let effects = tab.engine.handle(event, now + skew);
        let mut violation = None;
        for effect in effects {
            self.trace(&format!("  {tab_ref:?} "), &effect);
            if let Some(new_violation) = self.perform(tab_ref, effect) {
                violation.get_or_insert(new_violation);
            }
        }
        violation.map_or(Ok(()), Err)
    }

    fn perform(&mut self, tab_ref: TabRef, effect: Effect) -> Option<Violation> {
        let n = tab_ref.device;
        match effect {
            Effect::Fetch(id, mut request) => {
                let is_fenced = request.method != Method::Get && self.devices[n].term != self.tab(tab_ref)?.term;
                if is_fenced && !self.is_planted(Mutant::NoFencing) {
                    self.schedule(0.0, SimEvent::Tab(tab_ref, Event::LeadershipLost));
                    return None;
                }
                if is_fenced {
                    return Some(Violation::new(
                        "every persisted write is applied exactly once",
                        "a tab sent a write after the end of its term".into(),
                    ));
                }
                if self.is_planted(Mutant::NoIdempotencyKeys) {
                    request.idempotency_key = None;
                }
                self.tab(tab_ref)?.in_flight.push(id);
                let is_lost = !self.devices[n].online || (!self.healing && self.rng.one_in(25));
                let delay = self.rng.sample_delay_ms(40);
                if is_lost {
                    self.schedule(
                        delay,
                        SimEvent::Tab(tab_ref, Event::ResponseReceived(id, Err(RequestError::Network))),
                    );
                } else {
                    // A proxy may repeat a request that it considers lost.
                    if !self.healing && request.method != Method::Get && self.rng.one_in(20) {
                        let repeat_delay = self.rng.sample_delay_ms(80);
                        self.schedule(
                            repeat_delay,
                            SimEvent::RequestArrived(tab_ref, RequestId(u64::MAX), request.clone()),
                        );
                    }
                    self.schedule(delay, SimEvent::RequestArrived(tab_ref, id, request));
                }
            }
            Effect::Cancel(id) => self.tab(tab_ref)?.in_flight.retain(|other| *other != id),
            Effect::Persist(batch, writes) => {
                if self.is_planted(Mutant::AckBeforeDurable) {
                    self.schedule(0.0, SimEvent::Tab(tab_ref, Event::Persisted(batch, batch, Ok(()))));
                    self.oracle.record_persisted(tab_ref.device, &writes);
                }
                let term = self.tab(tab_ref)?.engine.term();
                self.enqueue(n, tab_ref.tab, StoreOp::Write(batch, term, writes));
            }
            Effect::Read(namespace, names) => self.enqueue(n, tab_ref.tab, StoreOp::Read(namespace, names)),
            Effect::BroadcastOutboxChanged => self.enqueue(n, tab_ref.tab, StoreOp::Notify("outbox")),
            Effect::BroadcastDraftsChanged => self.enqueue(n, tab_ref.tab, StoreOp::Notify("drafts")),
            Effect::Broadcast(message) => {
                let dropped =
                    self.is_planted(Mutant::LeaderUpdatesDropped) && matches!(message, TabMessage::LeaderUpdate(_));
                if !dropped {
                    self.broadcast(n, tab_ref.tab, message);
                }
            }
            Effect::ReloadOutboxAndDrafts => {
                self.enqueue(n, tab_ref.tab, StoreOp::ReadOutbox);
                self.enqueue(n, tab_ref.tab, StoreOp::ReadDrafts);
            }
            Effect::CheckTerm => {
                let term = if self.is_planted(Mutant::NoFencing) { 0 } else { self.devices[n].term };
                self.schedule(1.0, SimEvent::Tab(tab_ref, Event::TermChecked(term)));
            }
            Effect::StealLock => {
                let device = &mut self.devices[n];
                let holder = device.lock_holder.replace(tab_ref.tab).filter(|holder| *holder != tab_ref.tab);
                device.lock_queue.retain(|waiting_tab| *waiting_tab != tab_ref.tab);
                if let Some(holder) = holder {
                    device.lock_queue.push_back(holder);
                    let tab_ref = self.tab_ref(n, holder);
                    self.schedule(1.0, SimEvent::Tab(tab_ref, Event::LeadershipLost));
                }
                self.enqueue(n, tab_ref.tab, StoreOp::AcquireLeadership);
            }
            Effect::Connect => {
                self.close_socket(tab_ref);
                let is_failing = !self.devices[n].online || (!self.healing && self.rng.one_in(6));
                self.next_socket += 1;
                let id = ConnectionId(self.next_socket);
                self.tab(tab_ref)?.socket = Some(id);
                let delay = self.rng.sample_delay_ms(20);
                if is_failing {
                    self.schedule(delay, SimEvent::Tab(tab_ref, Event::SocketClosed(1006)));
                } else {
                    self.sockets.insert(id, (tab_ref, 0.0));
                    let person = self.devices[n].person;
                    self.schedule(delay, SimEvent::Feed(FeedEvent::Connected(id, person)));
                }
            }
            Effect::Send(message) => {
                let socket = self.tab(tab_ref)?.socket?;
                // The constant delay preserves the order of messages on a socket.
                if !matches!(message, ClientMessage::Auth { .. } | ClientMessage::TokenRefresh { .. }) {
                    self.schedule(8.0, SimEvent::Feed(FeedEvent::MessageReceived(socket, message)));
                }
            }
            Effect::Disconnect => self.close_socket(tab_ref),
            Effect::Changed(Query::Row(entity)) => {
                let tab = self.devices[n].tabs.get(tab_ref.tab)?;
                let stamp = tab.engine.row(&entity).and_then(|row| row.data.get("stamp")?.as_i64());
                return self.oracle.check_monotonic_reads(tab_ref, &entity, stamp);
            }
            Effect::RefreshToken => self.schedule(20.0, SimEvent::Tab(tab_ref, Event::TokenRefreshed)),
            _ => {}
        }
        None
    }

    fn close_socket(&mut self, tab_ref: TabRef) {
        if let Some(socket) = self.tab(tab_ref).and_then(|tab| tab.socket.take()) {
            self.sockets.remove(&socket);
            self.schedule(5.0, SimEvent::Feed(FeedEvent::Disconnected(socket)));
        }
    }

    // End of a run -------------------------------------------------------------------------------

    /// Ends all faults: connects all devices, thaws all tabs and opens a tab where none is left.
    fn heal_network(&mut self) -> Result<(), Violation> {
        self.healing = true;
        for n in 0..self.devices.len() {
            self.devices[n].online = true;
            for tab_index in 0..self.devices[n].tabs.len() {
                let tab = &mut self.devices[n].tabs[tab_index];
                if !tab.alive {
                    continue;
                }
                tab.frozen = false;
                let deferred = std::mem::take(&mut tab.deferred);
                let tab_ref = self.tab_ref(n, tab_index);
                for event in deferred {
                    self.deliver(tab_ref, event)?;
                }
                self.schedule(12.0, SimEvent::Tab(tab_ref, Event::Online(true)));
                self.schedule(13.0, SimEvent::Tab(tab_ref, Event::VisibilityChanged(true)));
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
                let (incarnation, is_leader) = (tab.incarnation, tab.engine.is_leader());
                let result = self.oracle.check_cache_converged(&tab.engine, device.person, &self.database);
                result.map_err(|violation| Violation {
                    detail: format!("device {n}, incarnation {incarnation}, leader: {is_leader}: {}", violation.detail),
                    ..violation
                })?;
                self.oracle.check_drafts_survive(n, &tab.engine)?;
            }
            let result = self.oracle.check_no_leak_on_disk(&device.store, device.person, &self.database);
            result
                .map_err(|violation| Violation { detail: format!("device {n}: {}", violation.detail), ..violation })?;
        }
        let stores: Vec<&MemoryStore> = self.devices.iter().map(|device| &device.store).collect();
        self.oracle.check_no_lost_or_duplicate_writes(&stores, &self.database)?;
        self.oracle.check_no_silent_overwrite(&self.database)
    }
}

/// Returns the state that an engine reads from the device store at start.
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

fn read_all<T: for<'a> serde::Deserialize<'a>>(store: &MemoryStore, namespace: Namespace) -> Vec<T> {
    store
        .read_now(namespace, KeySelector::All)
        .iter()
        .filter_map(|(_, bytes)| serde_json::from_slice(bytes).ok())
        .collect()
}

/// Raises the version of each row in a response body to at least the cached version.
///
/// Simulates an engine that ignores versions.
fn bump_versions(engine: &Engine, body: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(body) else { return body.to_owned() };
    let raise_version = |row: &mut Value| {
        let id = row.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        let cached_version =
            id.and_then(|id| engine.cached_row(&EntityRef::new(code("task"), id))).map_or(0, |row| row.version);
        if row.get("version").and_then(Value::as_i64).is_some_and(|version| version < cached_version) {
            row["version"] = json!(cached_version);
        }
    };
    match value.get_mut("data").and_then(Value::as_array_mut) {
        Some(rows) => rows.iter_mut().for_each(raise_version),
        None => raise_version(&mut value),
    }
    value.to_string()
}
