//! Server side of the simulation: requests, commits, feed effects and delivery of frames.
//!
//! Frames of a socket are delivered in order.

use crate::model_database::TxOp;
use crate::mutant::Mutant;
use crate::sim_event::SimEvent;
use crate::simulation::Simulation;
use crate::tab::TabRef;
use pmo_domain::protocol::ServerMessage;
use pmo_feed::{Effect as FeedEffect, Event as FeedEvent};
use pmo_sync::{Event, Method, Request, RequestError, RequestId};

impl Simulation {
    pub(crate) fn on_request(&mut self, tab_ref: TabRef, id: RequestId, request: Request) {
        let person = self.devices[tab_ref.device].person;
        if request.method == Method::Get {
            let response = self.database.read(person, &request.path, request.if_none_match.as_deref());
            self.send_response(tab_ref, id, response);
        } else {
            let xid = self.database.begin(TxOp::Write(person, Box::new(request)));
            let delay = self.rng.sample_delay_ms(15);
            self.schedule(delay, SimEvent::Commit(xid, Some((tab_ref, id))));
        }
    }

    pub(crate) fn send_response(
        &mut self,
        tab_ref: TabRef,
        id: RequestId,
        response: Result<pmo_sync::Response, RequestError>,
    ) {
        let is_lost = !self.devices[tab_ref.device].online || (!self.healing && self.rng.one_in(25));
        let delay = self.rng.sample_delay_ms(40);
        let response = if is_lost { Err(RequestError::Network) } else { response };
        self.schedule(delay, SimEvent::Tab(tab_ref, Event::ResponseReceived(id, response)));
    }

    pub(crate) fn commit(&mut self, xid: i64, origin: Option<(TabRef, RequestId)>) {
        let response = self.database.commit(xid, self.config.mutant);
        if let (Some((tab_ref, id)), Some(response)) = (origin, response) {
            self.send_response(tab_ref, id, response);
        }
        if let Some(xid) = self.database.begin_scheduling() {
            let delay = self.rng.sample_delay_ms(30);
            self.schedule(delay, SimEvent::Commit(xid, None));
        }
        // Some `NOTIFY` messages are lost; the feed also polls at intervals.
        if self.healing || !self.rng.one_in(5) {
            let delay = self.rng.sample_delay_ms(2);
            self.schedule(delay, SimEvent::Feed(FeedEvent::LogNotified));
        }
    }

    pub(crate) fn handle_feed_event(&mut self, event: FeedEvent) {
        let mut effects = Vec::new();
        self.feed.handle(event, self.database.clock(), &mut effects);
        for effect in effects {
            match effect {
                FeedEffect::QueryDatabase(request) => {
                    let delay = self.rng.sample_delay_ms(3);
                    self.schedule(delay, SimEvent::DatabaseQueried(request));
                }
                FeedEffect::Send(recipients, frame) => {
                    let Some(mut message) = ServerMessage::parse(&frame.to_json()) else { continue };
                    match &mut message {
                        ServerMessage::Resumed { recovered, .. } if self.is_planted(Mutant::AlwaysRecovered) => {
                            *recovered = true
                        }
                        ServerMessage::Access { .. } if self.is_planted(Mutant::RevocationsNotDelivered) => continue,
                        ServerMessage::Invalidate { changes, .. }
                            if self.is_planted(Mutant::RevocationsNotDelivered) =>
                        {
                            changes.retain(|change| change.action != pmo_domain::protocol::Action::Revoke);
                        }
                        ServerMessage::Invalidate { .. }
                            if self.is_planted(Mutant::FramesLost) && self.rng.one_in(10) =>
                        {
                            continue;
                        }
                        _ => {}
                    }
                    let mut recipients = recipients.to_vec();
                    recipients.sort_unstable();
                    for id in &recipients {
                        let delay = self.rng.sample_delay_ms(10);
                        let time = self.now + delay;
                        let Some((tab_ref, last_delivery)) = self.sockets.get_mut(id) else { continue };
                        // Frames of a socket are delivered in order.
                        *last_delivery = last_delivery.max(time);
                        let (tab_ref, time) = (*tab_ref, *last_delivery);
                        self.schedule(time - self.now, SimEvent::Tab(tab_ref, Event::SocketMessage(message.clone())));
                    }
                }
                FeedEffect::Close(connections, code, _) => {
                    let mut connections = connections.to_vec();
                    connections.sort_unstable();
                    for id in &connections {
                        if let Some((tab_ref, last_delivery)) = self.sockets.remove(id) {
                            let time = last_delivery.max(self.now + 1.0);
                            self.schedule(time - self.now, SimEvent::Tab(tab_ref, Event::SocketClosed(code)));
                        }
                    }
                }
                FeedEffect::Mirror(_) | FeedEffect::Delivered(_) | FeedEffect::PublishPresence(..) => {}
            }
        }
    }
}
