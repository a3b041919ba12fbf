//! Life of tabs: opening, closing, leadership, and the delivery of events to their engines.

use crate::model_database::{code, project_id};
use crate::model_schedule::derived_columns;
use crate::mutant::Mutant;
use crate::oracle::Violation;
use crate::sim_event::SimEvent;
use crate::simulation::Simulation;
use crate::tab::{StoreOp, Tab, TabEnding, TabRef, hydrate_from};
use pmo_domain::{EntityRef, Row, UnixMillis};
use pmo_feed::Event as FeedEvent;
use pmo_sync::{
    Effect, Engine, EngineConfig, Event, ListKey, ObserverId, Query, ReferenceDataKey, SortDirection, TabId, TabMessage,
};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::Duration;
use uuid::Uuid;

/// Creates a tab with a new engine.
fn new_tab(seed: u64, id: TabId, incarnation: u32) -> Tab {
    Tab {
        engine: Engine::with_settings(
            seed,
            EngineConfig {
                compaction_threshold: 6,
                bulk_pack_threshold: 4,
                gc_after: Duration::from_secs(60),
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
        plan: None,
        plan_due: false,
    }
}

impl Simulation {
    pub(crate) fn open_tab(&mut self, n: usize) {
        let seed = self.rng.next_u64();
        let id = TabId(Uuid::from_u128((u128::from(seed) << 64) | self.last_sequence as u128));
        let device = &mut self.devices[n];
        device.next_incarnation += 1;
        let incarnation = device.next_incarnation;
        let tab = new_tab(seed, id, incarnation);
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
        if self.rng.one_in(2) {
            self.open_plan(tab_ref);
        }
        let first_tick = 100.0 + self.rng.gen_range(400) as f64;
        self.schedule(first_tick, SimEvent::Tick(tab_ref));
    }

    pub(crate) fn random_query(&mut self) -> Query {
        let parent = EntityRef::new(code("project"), project_id(self.rng.gen_range(3)));
        let list = ListKey::children_of(code("task"), parent.clone(), "project_id");
        match self.rng.gen_range(6) {
            0 => Query::List(ListKey::all(code("task"))),
            1 => Query::List(list.sorted("name", SortDirection::Descending)),
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
    pub(crate) fn kill_tab(&mut self, n: usize, tab_index: usize, ending: TabEnding) {
        let Some(tab) = self.devices[n].tabs.get_mut(tab_index).filter(|tab| tab.alive) else { return };
        tab.alive = false;
        tab.store_ops.clear();
        let (socket, id) = (tab.socket.take(), tab.id);
        if ending == TabEnding::Closed {
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

    pub(crate) fn grant_lock(&mut self, n: usize) {
        let device = &mut self.devices[n];
        if device.lock_holder.is_some() {
            return;
        }
        if let Some(next_tab) = device.lock_queue.pop_front() {
            device.lock_holder = Some(next_tab);
            self.enqueue(n, next_tab, StoreOp::AcquireLeadership);
        }
    }

    pub(crate) fn broadcast(&mut self, n: usize, sender: usize, message: TabMessage) {
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
        let sends_derived = self.is_planted(Mutant::DerivedColumnsSent);
        let Some(tab) = self.tab(tab_ref) else { return Ok(()) };
        if let (true, Event::Update { entity, patch, .. }) = (sends_derived, &mut event) {
            add_derived(&tab.engine, entity, patch);
        }
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
        let effects = tab.engine.handle(event, UnixMillis::from_js(now + skew));
        let is_observed = |effect: &Effect| match (effect, &tab.plan) {
            (Effect::Changed(query), Some((_, observed))) => observed.contains(query),
            _ => false,
        };
        if effects.iter().any(is_observed) {
            self.schedule_plan(tab_ref);
        }
        let mut violation = None;
        for effect in effects {
            self.trace(&format!("  {tab_ref:?} "), &effect);
            if let Some(new_violation) = self.perform(tab_ref, effect) {
                violation.get_or_insert(new_violation);
            }
        }
        violation.map_or(Ok(()), Err)
    }
}

/// Adds the derived columns of a row to a patch.
fn add_derived(engine: &Engine, entity: &EntityRef, patch: &mut Row) {
    if engine.has_derived(entity)
        && let Some(row) = engine.row(entity)
    {
        patch.extend(derived_columns(&row.data).into_iter().map(|(column, value)| (column.to_owned(), value)));
    }
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
