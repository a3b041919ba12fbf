//! The server's side: requests arrive and are answered, transactions commit, the feed tells, and frames go their way in the order of their socket.

use crate::model_database::TxOp;
use crate::mutant::Mutant;
use crate::simulation::{SimEvent, Simulation, TabRef};
use pmo_domain::protocol::ServerMessage;
use pmo_feed::{Effect as FeedEffect, Event as FeedEvent};
use pmo_sync::{Event, Method, Request, RequestError, RequestId};

impl Simulation {
    pub(crate) fn on_request(&mut self, place: TabRef, id: RequestId, request: Request) {
        let who = self.devices[place.device].person;
        if request.method == Method::Get {
            let answer = self.database.read(who, &request.path, request.if_none_match.as_deref());
            self.answer(place, id, answer);
        } else {
            let xid = self.database.begin(TxOp::Write(who, Box::new(request)));
            let delay = self.chance.sample_delay_ms(15);
            self.schedule(delay, SimEvent::Commit(xid, Some((place, id))));
        }
    }

    pub(crate) fn answer(&mut self, place: TabRef, id: RequestId, answer: Result<pmo_sync::Response, RequestError>) {
        let lost = !self.devices[place.device].online || (!self.healing && self.chance.one_in(25));
        let delay = self.chance.sample_delay_ms(40);
        let answer = if lost { Err(RequestError::Network) } else { answer };
        self.schedule(delay, SimEvent::Tab(place, Event::ResponseReceived(id, answer)));
    }

    pub(crate) fn commit(&mut self, xid: i64, asked: Option<(TabRef, RequestId)>) {
        let answer = self.database.commit(xid, self.plan.mutant);
        if let (Some((place, id)), Some(answer)) = (asked, answer) {
            self.answer(place, id, answer);
        }
        // The bell is lost at times; the feed looks by itself now and then.
        if self.healing || !self.chance.one_in(5) {
            let delay = self.chance.sample_delay_ms(2);
            self.schedule(delay, SimEvent::Feed(FeedEvent::LogNotified));
        }
    }

    pub(crate) fn feed(&mut self, event: FeedEvent) {
        let mut effects = Vec::new();
        self.feed.handle(event, self.database.now, &mut effects);
        for effect in effects {
            match effect {
                FeedEffect::QueryDatabase(question) => {
                    let delay = self.chance.sample_delay_ms(3);
                    self.schedule(delay, SimEvent::Asked(question));
                }
                FeedEffect::Send(to, frame) => {
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
                            if self.is_planted(Mutant::FramesLost) && self.chance.one_in(10) =>
                        {
                            continue;
                        }
                        _ => {}
                    }
                    let mut to = to.to_vec();
                    to.sort_unstable();
                    for id in &to {
                        let delay = self.chance.sample_delay_ms(10);
                        let at = self.now + delay;
                        let Some((place, last)) = self.sockets.get_mut(id) else { continue };
                        // A socket keeps its order.
                        *last = last.max(at);
                        let (place, at) = (*place, *last);
                        self.schedule(at - self.now, SimEvent::Tab(place, Event::SocketMessage(message.clone())));
                    }
                }
                FeedEffect::Close(which, code, _) => {
                    let mut which = which.to_vec();
                    which.sort_unstable();
                    for id in &which {
                        if let Some((place, last)) = self.sockets.remove(id) {
                            let at = last.max(self.now + 1.0);
                            self.schedule(at - self.now, SimEvent::Tab(place, Event::SocketClosed(code)));
                        }
                    }
                }
                FeedEffect::Mirror(_) | FeedEffect::Delivered(_) | FeedEffect::PublishPresence(..) => {}
            }
        }
    }
}
