//! What people do, and what befalls them: edits, drafts, choices, looks here and there; crashes, frozen tabs, lost networks, damaged bytes.

use crate::database::{Deed, code, project};
use crate::oracle::Broken;
use crate::world::{Happening, Place, World};
use pmo_domain::EntityRef;
use pmo_feed::Event as FeedEvent;
use pmo_sync::store::{self, Named, Which};
use pmo_sync::{Area, Choice, EntryState, Event, Operation, Write};
use serde_json::{Value, json};
use uuid::Uuid;

impl World {
    fn token(&mut self) -> String {
        self.next_token += 1;
        format!("token-{}-", self.next_token)
    }

    fn ids(&mut self) -> [Uuid; 2] {
        self.next_entry += 10_000;
        [Uuid::from_u128(self.next_entry), Uuid::from_u128(self.next_entry + (1 << 96))]
    }

    pub(crate) fn act(&mut self) -> Result<(), Broken> {
        let n = self.chance.below(self.devices.len());
        let alive: Vec<usize> = (0..self.devices[n].tabs.len()).filter(|at| self.devices[n].tabs[*at].alive).collect();
        let Some(at) = self.chance.pick(&alive).copied() else {
            self.open_tab(n);
            return Ok(());
        };
        let place = self.place(n, at);
        let frozen = self.devices[n].tabs[at].frozen;
        match self.chance.below(100) {
            0..=29 if !frozen => self.edit(place)?,
            30..=35 if !frozen => self.draft(place)?,
            36..=41 if !frozen => {
                let query = self.any_query();
                self.look(place, query, 0.0);
            }
            42..=45 if !frozen => {
                let tab = &mut self.devices[n].tabs[at];
                if tab.observers.len() > 2 {
                    let id = tab.observers.remove(1);
                    self.deliver(place, Event::Unobserve(id))?;
                }
            }
            46..=48 => {
                let crash = self.chance.once_in(2);
                self.end_tab(n, at, crash);
            }
            49..=52 if alive.len() < self.plan.tabs => self.open_tab(n),
            53 => {
                // The whole browser goes.
                alive.iter().for_each(|at| self.end_tab(n, *at, true));
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
                        self.later(1.0, Happening::Feed(FeedEvent::Gone(socket)));
                        self.later(2.0, Happening::Tab(place, Event::Closed(1006)));
                    }
                    self.later(3.0, Happening::Tab(place, Event::Online(online)));
                }
            }
            61..=64 => {
                if let Some(socket) = self.devices[n].tabs[at].socket
                    && self.sockets.remove(&socket).is_some()
                {
                    self.later(3.0, Happening::Feed(FeedEvent::Gone(socket)));
                    self.later(4.0, Happening::Tab(place, Event::Closed(1006)));
                }
            }
            65 => {
                let rows: Vec<Named> = self.devices[n].store.read_now(Area::Entities, Which::Prefix(store::CHUNK));
                if let Some((name, bytes)) = self.chance.pick(&rows) {
                    let mut bytes = bytes.clone();
                    let at = self.chance.clone().below(bytes.len());
                    bytes[at] ^= 4;
                    self.devices[n].store.write_now(&[Write::Put(Area::Entities, name.clone(), bytes)]);
                }
            }
            66 if !frozen => self.deliver(place, Event::Tight)?,
            70..=71 if !frozen => {
                let root = EntityRef::new(code("project"), project(self.chance.below(3)));
                let on = !self.chance.once_in(3);
                self.deliver(place, Event::Keep(root, on))?;
            }
            67..=69 if !frozen => self.settle_conflict(place)?,
            _ => self.elsewhere(),
        }
        Ok(())
    }

    /// What others do to the database.
    fn elsewhere(&mut self) {
        let ids: Vec<Uuid> = self.database.tasks.keys().copied().collect();
        let Some(id) = self.chance.pick(&ids).copied() else { return };
        let (who, on) = (self.chance.below(self.plan.people), self.chance.below(3));
        let deed = match self.chance.below(20) {
            0..=1 => Deed::Move(id, on),
            2 => Deed::Purge(id),
            3..=4 => Deed::Grant(who, on, self.chance.once_in(3).then_some(20_000)),
            5 => Deed::Ungrant(who, on),
            _ => Deed::Touch(id),
        };
        let xid = self.database.begin(deed);
        // Some take very long.
        let delay = if self.chance.once_in(15) { 30_000.0 } else { self.chance.delay(15) };
        self.later(delay, Happening::Commit(xid, None));
    }

    fn seen_task(&mut self, place: Place) -> Option<(EntityRef, Value)> {
        let tab = self.devices[place.device].tabs.get(place.tab)?;
        let held: Vec<EntityRef> =
            tab.engine.held().map(|row| row.entity).filter(|entity| entity.code == *"task").collect();
        let entity = self.chance.pick(&held)?.clone();
        let tab = self.devices[place.device].tabs.get(place.tab)?;
        let row = tab.engine.row(&entity)?;
        Some((entity, row.data.get("name").cloned().unwrap_or_default()))
    }

    fn edit(&mut self, place: Place) -> Result<(), Broken> {
        let ids = self.ids();
        let what = self.chance.below(20);
        if what == 0 {
            let home = self.chance.below(3);
            let may = self.database.sees(self.devices[place.device].person, home);
            let tab = &self.devices[place.device].tabs[place.tab];
            let above = EntityRef::new(code("project"), project(home));
            if may && tab.engine.row(&above).is_some() {
                let token = self.token();
                let entity = EntityRef::new(code("task"), Uuid::from_u128(self.next_entry + 5));
                self.watcher.typed(place.device, &token, &entity, "name", &Value::Null);
                let values = json!({"name": token, "project_id": project(home), "who": [], "note": ""});
                let values = values.as_object().cloned().unwrap_or_default();
                return self.deliver(place, Event::Create { entity, values, ids });
            }
            return Ok(());
        }
        let Some((entity, before)) = self.seen_task(place) else { return Ok(()) };
        if what == 1 {
            self.watcher.deleted(place.device, &entity);
            return self.deliver(place, Event::Delete { entity, ids });
        }
        let token = self.token();
        self.watcher.typed(place.device, &token, &entity, "name", &before);
        let patch = json!({ "name": token });
        self.deliver(place, Event::Update { entity, patch: patch.as_object().cloned().unwrap_or_default(), ids })
    }

    fn draft(&mut self, place: Place) -> Result<(), Broken> {
        let Some((entity, _)) = self.seen_task(place) else { return Ok(()) };
        let drafted = self.devices[place.device].tabs[place.tab].engine.draft(&entity).is_some();
        if drafted && self.chance.once_in(3) {
            self.watcher.draft_ended(place.device, &entity);
            return self.deliver(place, Event::DraftDiscard(entity));
        }
        let token = self.token().replace("token", "draft");
        self.watcher.drafted(place.device, &entity, &token);
        let value = json!(token);
        self.deliver(place, Event::DraftField { entity, field: "note".into(), value })
    }

    fn settle_conflict(&mut self, place: Place) -> Result<(), Broken> {
        let tab = &self.devices[place.device].tabs[place.tab];
        let stuck = tab.engine.outbox().iter().find(|entry| entry.state != EntryState::Waiting);
        let Some(entry) = stuck.cloned() else { return Ok(()) };
        if let EntryState::Conflict { current, .. } = &entry.state {
            self.watcher.saw(&entry, current);
        }
        let key = self.ids()[1];
        let choice = match (self.chance.below(4), &entry.operation) {
            (0 | 1, _) => Choice::Mine(key),
            // Column by column: some of mine, theirs for the rest.
            (2, Operation::Update { .. }) => {
                let mut values = entry.mine();
                values.retain(|_, _| self.chance.once_in(2));
                Choice::Each(values, key)
            }
            (_, operation) => {
                if !matches!(operation, Operation::Update { .. }) {
                    self.watcher.deleted(place.device, &entry.entity);
                }
                // What is never made takes with it what was drafted of it.
                let engine = &self.devices[place.device].tabs[place.tab].engine;
                let gone = engine.with_dependents(entry.id).into_iter();
                let gone = gone.filter(|e| matches!(e.operation, Operation::Create { .. })).map(|e| e.entity.clone());
                for entity in gone.collect::<Vec<_>>() {
                    self.watcher.draft_ended(place.device, &entity);
                }
                Choice::Theirs
            }
        };
        self.deliver(place, Event::Settle { entry: entry.id, seen: entry.key, choice })
    }
}
