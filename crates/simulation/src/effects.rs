//! Execution of the effects of a tab's engine, over a network with faults.

use crate::mutant::Mutant;
use crate::oracle::Violation;
use crate::sim_event::SimEvent;
use crate::simulation::Simulation;
use crate::tab::{StoreOp, TabRef};
use pmo_domain::protocol::ClientMessage;
use pmo_feed::{ConnectionId, Event as FeedEvent};
use pmo_sync::{BatchId, Effect, Event, Method, Query, Request, RequestError, RequestId, TabMessage, Write};

impl Simulation {
    pub(crate) fn perform(&mut self, tab_ref: TabRef, effect: Effect) -> Option<Violation> {
        let n = tab_ref.device;
        match effect {
            Effect::Fetch(id, request) => return self.send_request(tab_ref, id, request),
            Effect::Cancel(id) => self.tab(tab_ref)?.in_flight.retain(|other| *other != id),
            Effect::Persist(batch, writes) => self.persist(tab_ref, batch, writes)?,
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
            Effect::StealLock => self.steal_lock(tab_ref),
            Effect::Connect => self.connect(tab_ref)?,
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

    /// Sends a request, which the network may lose, delay or repeat.
    fn send_request(&mut self, tab_ref: TabRef, id: RequestId, mut request: Request) -> Option<Violation> {
        let n = tab_ref.device;
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
            let lost = Event::ResponseReceived(id, Err(RequestError::Network));
            self.schedule(delay, SimEvent::Tab(tab_ref, lost));
            return None;
        }
        // A proxy may repeat a request that it considers lost.
        if !self.healing && request.method != Method::Get && self.rng.one_in(20) {
            let repeat_delay = self.rng.sample_delay_ms(80);
            let repeated = SimEvent::RequestArrived(tab_ref, RequestId(u64::MAX), request.clone());
            self.schedule(repeat_delay, repeated);
        }
        self.schedule(delay, SimEvent::RequestArrived(tab_ref, id, request));
        None
    }

    /// Enqueues writes to the device store; `None` if the tab is gone.
    fn persist(&mut self, tab_ref: TabRef, batch: BatchId, writes: Vec<Write>) -> Option<()> {
        if self.is_planted(Mutant::AckBeforeDurable) {
            self.schedule(0.0, SimEvent::Tab(tab_ref, Event::Persisted(batch, batch, Ok(()))));
            self.oracle.record_persisted(tab_ref.device, &writes);
        }
        let term = self.tab(tab_ref)?.engine.term();
        self.enqueue(tab_ref.device, tab_ref.tab, StoreOp::Write(batch, term, writes));
        Some(())
    }

    /// Makes a tab the holder of the leader lock of its device.
    fn steal_lock(&mut self, tab_ref: TabRef) {
        let n = tab_ref.device;
        let device = &mut self.devices[n];
        let holder = device.lock_holder.replace(tab_ref.tab).filter(|holder| *holder != tab_ref.tab);
        device.lock_queue.retain(|waiting_tab| *waiting_tab != tab_ref.tab);
        if let Some(holder) = holder {
            device.lock_queue.push_back(holder);
            let former_leader = self.tab_ref(n, holder);
            self.schedule(1.0, SimEvent::Tab(former_leader, Event::LeadershipLost));
        }
        self.enqueue(n, tab_ref.tab, StoreOp::AcquireLeadership);
    }

    /// Opens a socket; `None` if the tab is gone.
    fn connect(&mut self, tab_ref: TabRef) -> Option<()> {
        self.close_socket(tab_ref);
        let n = tab_ref.device;
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
        Some(())
    }

    fn close_socket(&mut self, tab_ref: TabRef) {
        if let Some(socket) = self.tab(tab_ref).and_then(|tab| tab.socket.take()) {
            self.sockets.remove(&socket);
            self.schedule(5.0, SimEvent::Feed(FeedEvent::Disconnected(socket)));
        }
    }
}
