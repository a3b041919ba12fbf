//! The server's side: requests arrive and are answered, transactions commit, the feed tells, and frames go their way in the order of their socket.

use crate::database::Deed;
use crate::mutant::Mutant;
use crate::world::{Happening, Place, World};
use pmo_domain::protocol::ServerMessage;
use pmo_feed::{Effect as FeedEffect, Event as FeedEvent};
use pmo_sync::{Event, Failure, Method, Request, RequestId};

impl World {
    pub(crate) fn arrives(&mut self, place: Place, id: RequestId, request: Request) {
        let who = self.devices[place.device].person;
        if request.method == Method::Get {
            let answer = self.database.read(who, &request.path, request.if_none_match.as_deref());
            self.answer(place, id, answer);
        } else {
            let xid = self.database.begin(Deed::Write(who, Box::new(request)));
            let delay = self.chance.delay(15);
            self.later(delay, Happening::Commit(xid, Some((place, id))));
        }
    }

    pub(crate) fn answer(&mut self, place: Place, id: RequestId, answer: Result<pmo_sync::Answer, Failure>) {
        let lost = !self.devices[place.device].online || (!self.healing && self.chance.once_in(25));
        let delay = self.chance.delay(40);
        let answer = if lost { Err(Failure::Network) } else { answer };
        self.later(delay, Happening::Tab(place, Event::Answered(id, answer)));
    }

    pub(crate) fn commit(&mut self, xid: i64, asked: Option<(Place, RequestId)>) {
        let answer = self.database.commit(xid, self.plan.mutant);
        if let (Some((place, id)), Some(answer)) = (asked, answer) {
            self.answer(place, id, answer);
        }
        // The bell is lost at times; the feed looks by itself now and then.
        if self.healing || !self.chance.once_in(5) {
            let delay = self.chance.delay(2);
            self.later(delay, Happening::Feed(FeedEvent::Rung));
        }
    }

    pub(crate) fn feed(&mut self, event: FeedEvent) {
        let mut effects = Vec::new();
        self.feed.handle(event, self.database.now, &mut effects);
        for effect in effects {
            match effect {
                FeedEffect::Ask(question) => {
                    let delay = self.chance.delay(3);
                    self.later(delay, Happening::Asked(question));
                }
                FeedEffect::Send(to, frame) => {
                    let Some(mut message) = ServerMessage::parse(&frame.text()) else { continue };
                    match &mut message {
                        ServerMessage::Resumed { recovered, .. } if self.mutant(Mutant::RecoveredAlways) => {
                            *recovered = true
                        }
                        ServerMessage::Access { .. } if self.mutant(Mutant::RevocationsUntold) => continue,
                        ServerMessage::Invalidate { changes, .. } if self.mutant(Mutant::RevocationsUntold) => {
                            changes.retain(|change| change.action != pmo_domain::protocol::Action::Revoke);
                        }
                        ServerMessage::Invalidate { .. }
                            if self.mutant(Mutant::FramesLost) && self.chance.once_in(10) =>
                        {
                            continue;
                        }
                        _ => {}
                    }
                    let mut to = to.to_vec();
                    to.sort_unstable();
                    for id in &to {
                        let delay = self.chance.delay(10);
                        let at = self.now + delay;
                        let Some((place, last)) = self.sockets.get_mut(id) else { continue };
                        // A socket keeps its order.
                        *last = last.max(at);
                        let (place, at) = (*place, *last);
                        self.later(at - self.now, Happening::Tab(place, Event::Frame(message.clone())));
                    }
                }
                FeedEffect::Close(which, code, _) => {
                    let mut which = which.to_vec();
                    which.sort_unstable();
                    for id in &which {
                        if let Some((place, last)) = self.sockets.remove(id) {
                            let at = last.max(self.now + 1.0);
                            self.later(at - self.now, Happening::Tab(place, Event::Closed(code)));
                        }
                    }
                }
                FeedEffect::Mirror(_) | FeedEffect::Told(_) | FeedEffect::Announce(..) => {}
            }
        }
    }
}
