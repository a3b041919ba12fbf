//! What people do, and what befalls them: edits, drafts, choices, looks here and there; crashes, frozen tabs, lost networks, damaged bytes.

use crate::model_database::{TxOp, code, project_id};
use crate::oracle::Violation;
use crate::simulation::{SimEvent, Simulation, TabRef};
use pmo_domain::EntityRef;
use pmo_feed::Event as FeedEvent;
use pmo_sync::store::{self, KeySelector, KeyValue};
use pmo_sync::{EntryState, Event, Namespace, Operation, Resolution, Write};
use serde_json::{Value, json};
use uuid::Uuid;

impl Simulation {
    fn next_token(&mut self) -> String {
        self.next_token += 1;
        format!("token-{}-", self.next_token)
    }

    fn next_write_ids(&mut self) -> [Uuid; 2] {
        self.next_entry += 10_000;
        [Uuid::from_u128(self.next_entry), Uuid::from_u128(self.next_entry + (1 << 96))]
    }

    pub(crate) fn step_workload(&mut self) -> Result<(), Violation> {
        let n = self.chance.gen_range(self.devices.len());
        let alive: Vec<usize> = (0..self.devices[n].tabs.len()).filter(|at| self.devices[n].tabs[*at].alive).collect();
        let Some(at) = self.chance.choose(&alive).copied() else {
            self.open_tab(n);
            return Ok(());
        };
        let place = self.place(n, at);
        let frozen = self.devices[n].tabs[at].frozen;
        match self.chance.gen_range(100) {
            0..=29 if !frozen => self.random_edit(place)?,
            30..=35 if !frozen => self.random_draft_action(place)?,
            36..=41 if !frozen => {
                let query = self.random_query();
                self.observe_query(place, query, 0.0);
            }
            42..=45 if !frozen => {
                let tab = &mut self.devices[n].tabs[at];
                if tab.observers.len() > 2 {
                    let id = tab.observers.remove(1);
                    self.deliver(place, Event::Unobserve(id))?;
                }
            }
            46..=48 => {
                let crash = self.chance.one_in(2);
                self.kill_tab(n, at, crash);
            }
            49..=52 if alive.len() < self.plan.tabs => self.open_tab(n),
            53 => {
                // The whole browser goes.
                alive.iter().for_each(|at| self.kill_tab(n, *at, true));
                self.open_tab(n);
            }
            54..=56 => {
                let tab = &mut self.devices[n].tabs[at];
                tab.frozen = !tab.frozen;
                if !tab.frozen {
                    for event in std::mem::take(&mut tab.waiting) {
                        self.deliver(place, event)?;
                    }
                }
            }
            57..=60 => {
                let online = !self.devices[n].online;
                self.devices[n].online = online;
                for at in alive {
                    let place = self.place(n, at);
                    if !online && let Some(socket) = self.devices[n].tabs[at].socket {
                        self.sockets.remove(&socket);
                        self.schedule(1.0, SimEvent::Feed(FeedEvent::Disconnected(socket)));
                        self.schedule(2.0, SimEvent::Tab(place, Event::SocketClosed(1006)));
                    }
                    self.schedule(3.0, SimEvent::Tab(place, Event::Online(online)));
                }
            }
            61..=64 => {
                if let Some(socket) = self.devices[n].tabs[at].socket
                    && self.sockets.remove(&socket).is_some()
                {
                    self.schedule(3.0, SimEvent::Feed(FeedEvent::Disconnected(socket)));
                    self.schedule(4.0, SimEvent::Tab(place, Event::SocketClosed(1006)));
                }
            }
            65 => {
                let rows: Vec<KeyValue> =
                    self.devices[n].store.read_now(Namespace::Entities, KeySelector::Prefix(store::CHUNK_PREFIX));
                if let Some((name, bytes)) = self.chance.choose(&rows) {
                    let mut bytes = bytes.clone();
                    let at = self.chance.clone().gen_range(bytes.len());
                    bytes[at] ^= 4;
                    self.devices[n].store.write_now(&[Write::Put(Namespace::Entities, name.clone(), bytes)]);
                }
            }
            66 if !frozen => self.deliver(place, Event::StorageLow)?,
            70..=71 if !frozen => {
                let root = EntityRef::new(code("project"), project_id(self.chance.gen_range(3)));
                let on = !self.chance.one_in(3);
                self.deliver(place, Event::SetPinned(root, on))?;
            }
            67..=69 if !frozen => self.resolve_conflict(place)?,
            _ => self.external_write(),
        }
        Ok(())
    }

    /// What others do to the database.
    fn external_write(&mut self) {
        let ids: Vec<Uuid> = self.database.tasks.keys().copied().collect();
        let Some(id) = self.chance.choose(&ids).copied() else { return };
        let (who, on) = (self.chance.gen_range(self.plan.people), self.chance.gen_range(3));
        let deed = match self.chance.gen_range(20) {
            0..=1 => TxOp::Move(id, on),
            2 => TxOp::Purge(id),
            3..=4 => TxOp::Grant(who, on, self.chance.one_in(3).then_some(20_000)),
            5 => TxOp::Ungrant(who, on),
            _ => TxOp::Touch(id),
        };
        let xid = self.database.begin(deed);
        // Some take very long.
        let delay = if self.chance.one_in(15) { 30_000.0 } else { self.chance.sample_delay_ms(15) };
        self.schedule(delay, SimEvent::Commit(xid, None));
    }

    fn pick_visible_task(&mut self, place: TabRef) -> Option<(EntityRef, Value)> {
        let tab = self.devices[place.device].tabs.get(place.tab)?;
        let held: Vec<EntityRef> =
            tab.engine.cached_rows().map(|row| row.entity).filter(|entity| entity.code == *"task").collect();
        let entity = self.chance.choose(&held)?.clone();
        let tab = self.devices[place.device].tabs.get(place.tab)?;
        let row = tab.engine.row(&entity)?;
        Some((entity, row.data.get("name").cloned().unwrap_or_default()))
    }

    fn random_edit(&mut self, place: TabRef) -> Result<(), Violation> {
        let ids = self.next_write_ids();
        let what = self.chance.gen_range(20);
        if what == 0 {
            let home = self.chance.gen_range(3);
            let may = self.database.can_view(self.devices[place.device].person, home);
            let tab = &self.devices[place.device].tabs[place.tab];
            let above = EntityRef::new(code("project"), project_id(home));
            if may && tab.engine.row(&above).is_some() {
                let token = self.next_token();
                let entity = EntityRef::new(code("task"), Uuid::from_u128(self.next_entry + 5));
                self.watcher.record_input(place.device, &token, &entity, "name", &Value::Null);
                let values = json!({"name": token, "project_id": project_id(home), "who": [], "note": ""});
                let values = values.as_object().cloned().unwrap_or_default();
                return self.deliver(place, Event::Create { entity, values, ids });
            }
            return Ok(());
        }
        let Some((entity, before)) = self.pick_visible_task(place) else { return Ok(()) };
        if what == 1 {
            self.watcher.record_delete(place.device, &entity);
            return self.deliver(place, Event::Delete { entity, ids });
        }
        let token = self.next_token();
        self.watcher.record_input(place.device, &token, &entity, "name", &before);
        let patch = json!({ "name": token });
        self.deliver(place, Event::Update { entity, patch: patch.as_object().cloned().unwrap_or_default(), ids })
    }

    fn random_draft_action(&mut self, place: TabRef) -> Result<(), Violation> {
        let Some((entity, _)) = self.pick_visible_task(place) else { return Ok(()) };
        let drafted = self.devices[place.device].tabs[place.tab].engine.draft(&entity).is_some();
        if drafted && self.chance.one_in(3) {
            self.watcher.record_draft_discarded(place.device, &entity);
            return self.deliver(place, Event::DraftDiscard(entity));
        }
        let token = self.next_token().replace("token", "draft");
        self.watcher.record_draft(place.device, &entity, &token);
        let value = json!(token);
        self.deliver(place, Event::DraftField { entity, field: "note".into(), value })
    }

    fn resolve_conflict(&mut self, place: TabRef) -> Result<(), Violation> {
        let tab = &self.devices[place.device].tabs[place.tab];
        let stuck = tab.engine.outbox().iter().find(|entry| entry.state != EntryState::Pending);
        let Some(entry) = stuck.cloned() else { return Ok(()) };
        if let EntryState::Conflict { current, .. } = &entry.state {
            self.watcher.record_conflict_seen(&entry, current);
        }
        let key = self.next_write_ids()[1];
        let choice = match (self.chance.gen_range(4), &entry.operation) {
            (0 | 1, _) => Resolution::KeepMine(key),
            // Column by column: some of mine, theirs for the rest.
            (2, Operation::Update { .. }) => {
                let mut values = entry.local_values();
                values.retain(|_, _| self.chance.one_in(2));
                Resolution::PerField(values, key)
            }
            (_, operation) => {
                if !matches!(operation, Operation::Update { .. }) {
                    self.watcher.record_delete(place.device, &entry.entity);
                }
                // What is never made takes with it what was drafted of it.
                let engine = &self.devices[place.device].tabs[place.tab].engine;
                let gone = engine.with_dependents(entry.id).into_iter();
                let gone = gone.filter(|e| matches!(e.operation, Operation::Create { .. })).map(|e| e.entity.clone());
                for entity in gone.collect::<Vec<_>>() {
                    self.watcher.record_draft_discarded(place.device, &entity);
                }
                Resolution::TakeTheirs
            }
        };
        self.deliver(place, Event::ResolveConflict { entry: entry.id, seen: entry.idempotency_key, choice })
    }
}
