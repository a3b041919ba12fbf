//! Store operations of a tab on its device.
//!
//! Operations of a tab run in order. A full device rejects writes. A write that requires leadership
//! is dropped if its leader term is over.

use crate::mutant::Mutant;
use crate::sim_event::SimEvent;
use crate::simulation::Simulation;
use crate::tab::{StoreOp, TabRef, hydrate_from};
use pmo_domain::UnixMillis;
use pmo_sync::store::{KeySelector, KeyValue};
use pmo_sync::{BatchId, Event, Namespace, StoreError, Write};

impl Simulation {
    pub(crate) fn enqueue(&mut self, device: usize, tab_index: usize, op: StoreOp) {
        let tab = &mut self.devices[device].tabs[tab_index];
        tab.store_ops.push_back(op);
        if !std::mem::replace(&mut tab.store_busy, true) {
            let tab_ref = self.tab_ref(device, tab_index);
            let delay = self.rng.sample_delay_ms(4);
            self.schedule(delay, SimEvent::RunStoreOp(tab_ref));
        }
    }

    /// Runs the next store operation of a tab and delivers its result.
    pub(crate) fn run_store_op(&mut self, tab_ref: TabRef) {
        let Some(op) = self.tab(tab_ref).map(|tab| tab.store_ops.pop_front()) else { return };
        let event = op.and_then(|op| self.execute_store_op(tab_ref, op));
        if let Some(event) = event {
            self.schedule(0.0, SimEvent::Tab(tab_ref, event));
        }
        let has_more = self.tab(tab_ref).is_some_and(|tab| {
            tab.store_busy = !tab.store_ops.is_empty();
            tab.store_busy
        });
        if has_more {
            let delay = self.rng.sample_delay_ms(3);
            self.schedule(delay, SimEvent::RunStoreOp(tab_ref));
        }
    }
    /// Executes a store operation and returns the event of its result.
    fn execute_store_op(&mut self, tab_ref: TabRef, op: StoreOp) -> Option<Event> {
        let (n, tab_index) = (tab_ref.device, tab_ref.tab);
        match op {
            StoreOp::Write(batch, term, writes) => Some(self.execute_writes(tab_ref, batch, term, writes)),
            StoreOp::Read(namespace, names) => {
                let found: Vec<KeyValue> = self.devices[n].store.read_now(namespace, KeySelector::Keys(&names));
                Some(Event::StoreRead(namespace, names, found))
            }
            StoreOp::AcquireLeadership => {
                let device = &mut self.devices[n];
                if device.lock_holder != Some(tab_index) {
                    return None;
                }
                device.term += 1;
                let term = device.term;
                device.tabs[tab_index].term = term;
                Some(Event::LeadershipAcquired { stored: Box::new(hydrate_from(&device.store)), term })
            }
            StoreOp::Notify(namespace) => {
                for other in 0..self.devices[n].tabs.len() {
                    if other != tab_index && self.devices[n].tabs[other].alive {
                        let reload = if namespace == "outbox" { StoreOp::ReadOutbox } else { StoreOp::ReadDrafts };
                        self.enqueue(n, other, reload);
                    }
                }
                None
            }
            StoreOp::ReadOutbox => Some(Event::OutboxReloaded(hydrate_from(&self.devices[n].store).outbox)),
            StoreOp::ReadDrafts => {
                let as_of = UnixMillis::from_js(self.now + self.devices[n].skew);
                Some(Event::DraftsReloaded { drafts: hydrate_from(&self.devices[n].store).drafts, as_of })
            }
        }
    }

    /// Writes a batch, and queued batches after it, to the device store.
    fn execute_writes(&mut self, tab_ref: TabRef, first: BatchId, term: Option<u64>, mut writes: Vec<Write>) -> Event {
        let n = tab_ref.device;
        // Queued batches of the same term form one transaction, as in the app.
        let mut last = first;
        while self.rng.one_in(2)
            && let Some(tab) = self.tab(tab_ref)
            && let Some(op) =
                tab.store_ops.pop_front_if(|op| matches!(op, StoreOp::Write(_, op_term, _) if *op_term == term))
            && let StoreOp::Write(batch, _, batch_writes) = op
        {
            last = batch;
            writes.extend(batch_writes);
        }
        let is_full = !self.healing && self.rng.one_in(60);
        if term != Some(self.devices[n].term) && !self.is_planted(Mutant::NoFencing) {
            writes.retain(|write| !write.requires_leadership());
        }
        if self.is_planted(Mutant::DraftsInMemory) {
            self.oracle.record_persisted(n, &writes);
            writes.retain(|write| write.namespace() != Namespace::Drafts);
        }
        if self.is_planted(Mutant::DiskRemovalsDropped) {
            writes.retain(|write| !matches!(write, Write::Remove(Namespace::Entities, _)));
        }
        if is_full {
            // User data is written in a separate transaction, which may fit where the cache does
            // not.
            let fits = self.rng.one_in(2);
            writes.retain(|write| fits && write.namespace().is_user_data());
        }
        self.devices[n].store.write_now(&writes);
        self.oracle.record_persisted(n, &writes);
        Event::Persisted(first, last, if is_full { Err(StoreError::QuotaExceeded) } else { Ok(()) })
    }
}
