//! Workload and fault injection.
//!
//! User actions: edits, drafts, conflict resolutions, navigation. Faults: tab crashes, frozen tabs,
//! network loss, damaged bytes.

use crate::model_database::{TxOp, code, project_id, task_id};
use crate::oracle::Violation;
use crate::sim_event::SimEvent;
use crate::simulation::Simulation;
use crate::tab::{TabEnding, TabRef};
use pmo_domain::{EntityRef, Row};
use pmo_feed::Event as FeedEvent;
use pmo_sync::store::{self, KeySelector, KeyValue};
use pmo_sync::{EntryState, Event, Namespace, Operation, Resolution, Write, WriteIds};
use serde_json::{Value, json};
use uuid::Uuid;

/// Returns whether a task is never deleted, so that each project keeps a dependency.
fn is_linked(task: Uuid) -> bool {
    (0..6).any(|n| task == task_id(n))
}

impl Simulation {
    fn next_token(&mut self) -> String {
        self.next_token += 1;
        format!("token-{}-", self.next_token)
    }

    fn next_write_ids(&mut self) -> WriteIds {
        self.next_entry += 10_000;
        WriteIds {
            entry: Uuid::from_u128(self.next_entry),
            idempotency_key: Uuid::from_u128(self.next_entry + (1 << 96)),
        }
    }

    pub(crate) fn step_workload(&mut self) -> Result<(), Violation> {
        let n = self.rng.gen_range(self.devices.len());
        let alive: Vec<usize> =
            (0..self.devices[n].tabs.len()).filter(|tab_index| self.devices[n].tabs[*tab_index].alive).collect();
        let Some(tab_index) = self.rng.choose(&alive).copied() else {
            self.open_tab(n);
            return Ok(());
        };
        let tab_ref = self.tab_ref(n, tab_index);
        let frozen = self.devices[n].tabs[tab_index].frozen;
        match self.rng.gen_range(100) {
            0..=29 if !frozen => self.random_edit(tab_ref)?,
            30..=35 if !frozen => self.random_draft_action(tab_ref)?,
            36..=41 if !frozen => {
                let query = self.random_query();
                self.observe_query(tab_ref, query, 0.0);
            }
            42..=45 if !frozen => self.unobserve_query(tab_ref)?,
            46..=48 => {
                let ending = if self.rng.one_in(2) { TabEnding::Crashed } else { TabEnding::Closed };
                self.kill_tab(n, tab_index, ending);
            }
            49..=52 if alive.len() < self.config.tabs => self.open_tab(n),
            53 => {
                // The browser crashes with all tabs.
                alive.iter().for_each(|tab_index| self.kill_tab(n, *tab_index, TabEnding::Crashed));
                self.open_tab(n);
            }
            54..=56 => self.toggle_frozen(tab_ref)?,
            57..=60 => self.toggle_online(n, &alive),
            61..=64 => self.break_socket(tab_ref),
            65 => self.damage_chunk(n),
            66 if !frozen => self.deliver(tab_ref, Event::StorageLow)?,
            70..=71 if !frozen => {
                let root = EntityRef::new(code("project"), project_id(self.rng.gen_range(3)));
                let pinned = !self.rng.one_in(3);
                self.deliver(tab_ref, if pinned { Event::Pin(root) } else { Event::Unpin(root) })?;
            }
            67..=69 if !frozen => self.resolve_conflict(tab_ref)?,
            _ => self.external_write(),
        }
        Ok(())
    }

    /// Removes an observer of a tab with several.
    fn unobserve_query(&mut self, tab_ref: TabRef) -> Result<(), Violation> {
        let tab = &mut self.devices[tab_ref.device].tabs[tab_ref.tab];
        if tab.observers.len() <= 2 {
            return Ok(());
        }
        let id = tab.observers.remove(1);
        self.deliver(tab_ref, Event::Unobserve(id))
    }

    /// Freezes a tab, or thaws it and delivers the deferred events.
    fn toggle_frozen(&mut self, tab_ref: TabRef) -> Result<(), Violation> {
        let tab = &mut self.devices[tab_ref.device].tabs[tab_ref.tab];
        tab.frozen = !tab.frozen;
        if !tab.frozen {
            for event in std::mem::take(&mut tab.deferred) {
                self.deliver(tab_ref, event)?;
            }
        }
        Ok(())
    }

    /// Disconnects a device from the network, or connects it again.
    fn toggle_online(&mut self, n: usize, alive: &[usize]) {
        let online = !self.devices[n].online;
        self.devices[n].online = online;
        for tab_index in alive {
            let tab_ref = self.tab_ref(n, *tab_index);
            if !online && let Some(socket) = self.devices[n].tabs[*tab_index].socket {
                self.sockets.remove(&socket);
                self.schedule(1.0, SimEvent::Feed(FeedEvent::Disconnected(socket)));
                self.schedule(2.0, SimEvent::Tab(tab_ref, Event::SocketClosed(1006)));
            }
            self.schedule(3.0, SimEvent::Tab(tab_ref, Event::Online(online)));
        }
    }

    /// Breaks the socket of a tab.
    fn break_socket(&mut self, tab_ref: TabRef) {
        if let Some(socket) = self.devices[tab_ref.device].tabs[tab_ref.tab].socket
            && self.sockets.remove(&socket).is_some()
        {
            self.schedule(3.0, SimEvent::Feed(FeedEvent::Disconnected(socket)));
            self.schedule(4.0, SimEvent::Tab(tab_ref, Event::SocketClosed(1006)));
        }
    }

    /// Damages one byte of a chunk in the store of a device.
    fn damage_chunk(&mut self, n: usize) {
        let rows: Vec<KeyValue> =
            self.devices[n].store.read_now(Namespace::Entities, KeySelector::Prefix(store::CHUNK_PREFIX));
        if let Some((name, bytes)) = self.rng.choose(&rows) {
            let mut bytes = bytes.clone();
            let offset = self.rng.clone().gen_range(bytes.len());
            bytes[offset] ^= 4;
            self.devices[n].store.write_now(&[Write::Put(Namespace::Entities, name.clone(), bytes)]);
        }
    }

    /// Starts a database transaction of another user or service.
    fn external_write(&mut self) {
        let ids: Vec<Uuid> = self.database.tasks.keys().copied().collect();
        let Some(id) = self.rng.choose(&ids).copied() else { return };
        let (person, project) = (self.rng.gen_range(self.config.people), self.rng.gen_range(3));
        let op = match self.rng.gen_range(20) {
            0..=1 => TxOp::Move(id, project),
            2 if !is_linked(id) => TxOp::Purge(id),
            3..=4 => TxOp::Grant(person, project, self.rng.one_in(3).then_some(20_000)),
            5 => TxOp::Revoke(person, project),
            _ => TxOp::Touch(id),
        };
        let xid = self.database.begin(op);
        // Some transactions take 30 s, so that transactions commit in another order than that of
        // their ids.
        let delay = if self.rng.one_in(15) { 30_000.0 } else { self.rng.sample_delay_ms(15) };
        self.schedule(delay, SimEvent::Commit(xid, None));
    }

    fn pick_visible_task(&mut self, tab_ref: TabRef) -> Option<(EntityRef, Value)> {
        let tab = self.devices[tab_ref.device].tabs.get(tab_ref.tab)?;
        let tasks: Vec<EntityRef> =
            tab.engine.cached_rows().map(|row| row.entity).filter(|entity| entity.code == *"task").collect();
        let entity = self.rng.choose(&tasks)?.clone();
        let tab = self.devices[tab_ref.device].tabs.get(tab_ref.tab)?;
        let row = tab.engine.row(&entity)?;
        Some((entity, row.data.get("name").cloned().unwrap_or_default()))
    }

    fn random_edit(&mut self, tab_ref: TabRef) -> Result<(), Violation> {
        let ids = self.next_write_ids();
        let action = self.rng.gen_range(20);
        if action == 0 {
            let project = self.rng.gen_range(3);
            let can_view = self.database.can_view(self.devices[tab_ref.device].person, project);
            let tab = &self.devices[tab_ref.device].tabs[tab_ref.tab];
            let parent = EntityRef::new(code("project"), project_id(project));
            if can_view && tab.engine.row(&parent).is_some() {
                let token = self.next_token();
                let entity = EntityRef::new(code("task"), Uuid::from_u128(self.next_entry + 5));
                self.oracle.record_input(tab_ref.device, &token, &entity, "name", &Value::Null);
                let values = json!({"name": token, "project_id": project_id(project), "who": [], "note": ""});
                let values = values.as_object().cloned().unwrap_or_default();
                return self.deliver(tab_ref, Event::Create { entity, values, ids });
            }
            return Ok(());
        }
        let Some((entity, before)) = self.pick_visible_task(tab_ref) else { return Ok(()) };
        if action == 1 && !is_linked(entity.id) {
            self.oracle.record_delete(tab_ref.device, &entity);
            return self.deliver(tab_ref, Event::Delete { entity, ids });
        }
        if action < 7 {
            let patch = self.random_schedule_patch();
            return self.deliver(tab_ref, Event::Update { entity, patch, ids });
        }
        let token = self.next_token();
        self.oracle.record_input(tab_ref.device, &token, &entity, "name", &before);
        let patch = json!({ "name": token });
        self.deliver(tab_ref, Event::Update { entity, patch: patch.as_object().cloned().unwrap_or_default(), ids })
    }

    /// Returns a change of inputs of the schedule of a task.
    fn random_schedule_patch(&mut self) -> Row {
        let patch = match self.rng.gen_range(3) {
            0 => json!({"dl__constraint_type": "As Soon As Possible", "constraint_ts": null}),
            1 => {
                let day = self.rng.gen_range(20) + 2;
                json!({"dl__constraint_type": "Start No Earlier Than", "constraint_ts": format!("2026-03-{day:02}T08:00:00")})
            }
            _ => json!({"duration_minutes": self.rng.gen_range(10) * 120}),
        };
        patch.as_object().cloned().unwrap_or_default()
    }

    fn random_draft_action(&mut self, tab_ref: TabRef) -> Result<(), Violation> {
        let Some((entity, _)) = self.pick_visible_task(tab_ref) else { return Ok(()) };
        let has_draft = self.devices[tab_ref.device].tabs[tab_ref.tab].engine.draft(&entity).is_some();
        if has_draft && self.rng.one_in(3) {
            self.oracle.record_draft_discarded(tab_ref.device, &entity);
            return self.deliver(tab_ref, Event::DraftDiscard(entity));
        }
        let token = self.next_token().replace("token", "draft");
        self.oracle.record_draft(tab_ref.device, &entity, &token);
        let value = json!(token);
        self.deliver(tab_ref, Event::DraftField { entity, field: "note".into(), value })
    }

    fn resolve_conflict(&mut self, tab_ref: TabRef) -> Result<(), Violation> {
        let tab = &self.devices[tab_ref.device].tabs[tab_ref.tab];
        let undecided = tab.engine.outbox().iter().find(|entry| entry.state != EntryState::Pending);
        let Some(entry) = undecided.cloned() else { return Ok(()) };
        if let EntryState::Conflict { current, .. } = &entry.state {
            self.oracle.record_conflict_seen(&entry, current);
        }
        let key = self.next_write_ids().idempotency_key;
        let choice = match (self.rng.gen_range(4), &entry.operation) {
            (0 | 1, _) => Resolution::KeepMine(key),
            // Decision per column: mine for some, theirs for the rest.
            (2, Operation::Update { .. }) => {
                let mut values = entry.local_values();
                values.retain(|_, _| self.rng.one_in(2));
                Resolution::PerField(values, key)
            }
            (_, operation) => {
                if !matches!(operation, Operation::Update { .. }) {
                    self.oracle.record_delete(tab_ref.device, &entry.entity);
                }
                // Discarding a create also discards the drafts of the entity.
                let engine = &self.devices[tab_ref.device].tabs[tab_ref.tab].engine;
                let discarded = engine.with_dependents(entry.id).into_iter();
                let discarded =
                    discarded.filter(|e| matches!(e.operation, Operation::Create { .. })).map(|e| e.entity.clone());
                for entity in discarded.collect::<Vec<_>>() {
                    self.oracle.record_draft_discarded(tab_ref.device, &entity);
                }
                Resolution::TakeTheirs
            }
        };
        self.deliver(tab_ref, Event::ResolveConflict { entry: entry.id, seen: entry.idempotency_key, choice })
    }
}
