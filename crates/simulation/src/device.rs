//! What a tab asks of its device, one after the other: a full one refuses, a fenced one drops.

use crate::mutant::Mutant;
use crate::world::{DeviceWork, Happening, Place, World, stored};
use pmo_sync::store::{Named, Which};
use pmo_sync::{Area, Event, StoreError, Write};

impl World {
    pub(crate) fn enqueue(&mut self, device: usize, at: usize, work: DeviceWork) {
        let tab = &mut self.devices[device].tabs[at];
        tab.work.push_back(work);
        if !std::mem::replace(&mut tab.working, true) {
            let place = self.place(device, at);
            let delay = self.chance.delay(4);
            self.later(delay, Happening::Work(place));
        }
    }

    pub(crate) fn work(&mut self, place: Place) {
        let (n, at) = (place.device, place.tab);
        let Some(work) = self.tab(place).map(|tab| tab.work.pop_front()) else { return };
        let event = match work {
            Some(DeviceWork::Write(first, term, mut writes)) => {
                // What has gathered is one transaction, as in the app.
                let mut last = first;
                while self.chance.once_in(2)
                    && let Some(tab) = self.tab(place)
                    && let Some(work) =
                        tab.work.pop_front_if(|work| matches!(work, DeviceWork::Write(_, of, _) if *of == term))
                    && let DeviceWork::Write(batch, _, more) = work
                {
                    last = batch;
                    writes.extend(more);
                }
                let full = !self.healing && self.chance.once_in(60);
                if term != Some(self.devices[n].term) && !self.mutant(Mutant::NoFencing) {
                    writes.retain(|write| !write.is_leaders());
                }
                if self.mutant(Mutant::DraftsInMemory) {
                    self.watcher.saved(n, &writes);
                    writes.retain(|write| write.area() != Area::Drafts);
                }
                if self.mutant(Mutant::NothingRemoved) {
                    writes.retain(|write| !matches!(write, Write::Remove(Area::Entities, _)));
                }
                if full {
                    // Work is written in a transaction of its own, which may find room where the cache does not.
                    let room = self.chance.once_in(2);
                    let work: Vec<Write> =
                        writes.iter().filter(|write| room && write.area().is_work()).cloned().collect();
                    self.devices[n].store.write_now(&work);
                    self.watcher.saved(n, &work);
                    Some(Event::Persisted(first, last, Err(StoreError::Full)))
                } else {
                    self.devices[n].store.write_now(&writes);
                    self.watcher.saved(n, &writes);
                    Some(Event::Persisted(first, last, Ok(())))
                }
            }
            Some(DeviceWork::Read(area, names)) => {
                let found: Vec<Named> = self.devices[n].store.read_now(area, Which::Names(&names));
                Some(Event::Read(area, names, found))
            }
            Some(DeviceWork::Lead) => {
                let device = &mut self.devices[n];
                if device.lock == Some(at) {
                    device.term += 1;
                    let term = device.term;
                    device.tabs[at].term = term;
                    Some(Event::Lead { stored: Box::new(stored(&device.store)), term })
                } else {
                    None
                }
            }
            Some(DeviceWork::Tell(what)) => {
                for other in 0..self.devices[n].tabs.len() {
                    if other != at && self.devices[n].tabs[other].alive {
                        self.enqueue(
                            n,
                            other,
                            if what == "outbox" { DeviceWork::ReadOutbox } else { DeviceWork::ReadDrafts },
                        );
                    }
                }
                None
            }
            Some(DeviceWork::ReadOutbox) => Some(Event::Outbox(stored(&self.devices[n].store).outbox)),
            Some(DeviceWork::ReadDrafts) => {
                let as_of = self.now + self.devices[n].skew;
                Some(Event::Drafts { drafts: stored(&self.devices[n].store).drafts, as_of })
            }
            None => None,
        };
        if let Some(event) = event {
            self.later(0.0, Happening::Tab(place, event));
        }
        let more = self.tab(place).is_some_and(|tab| {
            tab.working = !tab.work.is_empty();
            tab.working
        });
        if more {
            let delay = self.chance.delay(3);
            self.later(delay, Happening::Work(place));
        }
    }
}
