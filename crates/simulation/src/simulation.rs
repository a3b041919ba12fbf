//! State and event loop of a run: devices with tabs, feed, database and network.
//!
//! The network delays, drops, repeats, reorders and partitions. Tabs crash between any two steps,
//! freeze and thaw; clocks are wrong; devices run out of storage and lose bytes. Every event
//! follows from the seed.

use crate::model_database::{ModelDatabase, TxOp, person_id, type_markers};
use crate::mutant::Mutant;
use crate::oracle::{OracleState, Violation};
use crate::rng::SimRng;
use crate::sim_event::{ScheduledEvent, SimEvent};
use crate::tab::{Device, Tab, TabRef};
use pmo_feed::{ChangeFeed, ConnectionId, DatabaseRequest, Event as FeedEvent, Lane, Limits};
use pmo_sync::{Event, MemoryStore};
use std::collections::{BinaryHeap, HashMap, VecDeque};

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

/// State of a simulation run.
pub struct Simulation {
    pub(crate) config: SimConfig,
    pub(crate) rng: SimRng,
    pub(crate) now: f64,
    event_queue: BinaryHeap<ScheduledEvent>,
    pub(crate) last_sequence: u64,
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
        let feed =
            ChangeFeed::new(limits, (1, database.snapshot()), type_markers(), database.clock(), database.clock());
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
            SimEvent::PlanFrame(tab_ref) => self.run_plan(tab_ref)?,
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

    pub(crate) fn trace(&self, prefix: &str, item: &impl std::fmt::Debug) {
        if let Some(filter) = &self.config.trace {
            let text = format!("{item:?}");
            if text.contains(filter) {
                eprintln!("{:.0} {prefix}{}", self.now, text.chars().take(600).collect::<String>());
            }
        }
    }

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
        self.check_dates()?;
        let stores: Vec<&MemoryStore> = self.devices.iter().map(|device| &device.store).collect();
        self.oracle.check_no_lost_or_duplicate_writes(&stores, &self.database)?;
        self.oracle.check_no_silent_overwrite(&self.database)
    }
}
