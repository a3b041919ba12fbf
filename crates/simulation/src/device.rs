//! What a tab asks of its device, one after the other: a full one refuses, a fenced one drops.

use crate::mutant::Mutant;
use crate::simulation::{SimEvent, Simulation, StoreOp, TabRef, hydrate_from};
use pmo_sync::store::{KeySelector, KeyValue};
use pmo_sync::{Event, Namespace, StoreError, Write};

impl Simulation {
    pub(crate) fn enqueue(&mut self, device: usize, at: usize, work: StoreOp) {
        let tab = &mut self.devices[device].tabs[at];
        tab.work.push_back(work);
        if !std::mem::replace(&mut tab.working, true) {
            let place = self.place(device, at);
            let delay = self.chance.sample_delay_ms(4);
            self.schedule(delay, SimEvent::Work(place));
        }
    }

    pub(crate) fn work(&mut self, place: TabRef) {
        let (n, at) = (place.device, place.tab);
        let Some(work) = self.tab(place).map(|tab| tab.work.pop_front()) else { return };
        let event = match work {
            Some(StoreOp::Write(first, term, mut writes)) => {
                // What has gathered is one transaction, as in the app.
                let mut last = first;
                while self.chance.one_in(2)
                    && let Some(tab) = self.tab(place)
                    && let Some(work) =
                        tab.work.pop_front_if(|work| matches!(work, StoreOp::Write(_, of, _) if *of == term))
                    && let StoreOp::Write(batch, _, more) = work
                {
                    last = batch;
                    writes.extend(more);
                }
                let full = !self.healing && self.chance.one_in(60);
                if term != Some(self.devices[n].term) && !self.is_planted(Mutant::NoFencing) {
                    writes.retain(|write| !write.requires_leadership());
                }
                if self.is_planted(Mutant::DraftsInMemory) {
                    self.watcher.record_persisted(n, &writes);
                    writes.retain(|write| write.area() != Namespace::Drafts);
                }
                if self.is_planted(Mutant::DiskRemovalsDropped) {
                    writes.retain(|write| !matches!(write, Write::Remove(Namespace::Entities, _)));
                }
                if full {
                    // Work is written in a transaction of its own, which may find room where the cache does not.
                    let room = self.chance.one_in(2);
                    let work: Vec<Write> =
                        writes.iter().filter(|write| room && write.area().is_user_data()).cloned().collect();
                    self.devices[n].store.write_now(&work);
                    self.watcher.record_persisted(n, &work);
                    Some(Event::Persisted(first, last, Err(StoreError::QuotaExceeded)))
                } else {
                    self.devices[n].store.write_now(&writes);
                    self.watcher.record_persisted(n, &writes);
                    Some(Event::Persisted(first, last, Ok(())))
                }
            }
            Some(StoreOp::Read(area, names)) => {
                let found: Vec<KeyValue> = self.devices[n].store.read_now(area, KeySelector::Names(&names));
                Some(Event::StoreRead(area, names, found))
            }
            Some(StoreOp::Lead) => {
                let device = &mut self.devices[n];
                if device.lock == Some(at) {
                    device.term += 1;
                    let term = device.term;
                    device.tabs[at].term = term;
                    Some(Event::LeadershipAcquired { stored: Box::new(hydrate_from(&device.store)), term })
                } else {
                    None
                }
            }
            Some(StoreOp::Tell(what)) => {
                for other in 0..self.devices[n].tabs.len() {
                    if other != at && self.devices[n].tabs[other].alive {
                        self.enqueue(
                            n,
                            other,
                            if what == "outbox" { StoreOp::ReadOutbox } else { StoreOp::ReadDrafts },
                        );
                    }
                }
                None
            }
            Some(StoreOp::ReadOutbox) => Some(Event::OutboxReloaded(hydrate_from(&self.devices[n].store).outbox)),
            Some(StoreOp::ReadDrafts) => {
                let as_of = self.now + self.devices[n].skew;
                Some(Event::DraftsReloaded { drafts: hydrate_from(&self.devices[n].store).drafts, as_of })
            }
            None => None,
        };
        if let Some(event) = event {
            self.schedule(0.0, SimEvent::Tab(place, event));
        }
        let more = self.tab(place).is_some_and(|tab| {
            tab.working = !tab.work.is_empty();
            tab.working
        });
        if more {
            let delay = self.chance.sample_delay_ms(3);
            self.schedule(delay, SimEvent::Work(place));
        }
    }
}
