//! Leader/follower protocol between the tabs of one user.

use super::Engine;
use crate::collections::VecMap;
use crate::components::{HeartbeatOutcome, REMOTE_OBSERVER_BASE};
use crate::event::{Effect, Event};
use crate::query_key::Query;
use crate::tab_protocol::{LeaderStatus, ObservedQuery, TabId, TabMessage};
use pmo_domain::UnixMillis;

impl Engine {
    pub(super) fn on_tab_message(&mut self, message: TabMessage, now: UnixMillis) {
        if self.person.is_none() {
            return;
        }
        match message {
            TabMessage::LeaderHeartbeat { term, new } => match self.leadership.on_heartbeat(term, new, now) {
                HeartbeatOutcome::Superseded => self.step_down(now),
                HeartbeatOutcome::NewLeader => self.effects.push(Effect::ReloadOutboxAndDrafts),
                HeartbeatOutcome::LeaderAlive | HeartbeatOutcome::Ignored => {}
            },
            TabMessage::FollowerQueries { tab, queries: watched, viewing: viewed_path }
                if self.leadership.is_leader() =>
            {
                self.on_follower_queries(tab, watched, viewed_path, now)
            }
            TabMessage::Refetch { query } if self.leadership.is_leader() => self.refetch(query, now),
            TabMessage::FetchMore { key } if self.leadership.is_leader() => self.fetch_more(key),
            TabMessage::ResolveConflict { entry, seen, choice } if self.leadership.is_leader() => {
                self.resolve(entry, seen, choice, now)
            }
            TabMessage::SetPinned { entity, on: true } if self.leadership.is_leader() => self.pin(entity, now),
            TabMessage::SetPinned { entity, on: false } if self.leadership.is_leader() => self.unpin(entity, now),
            TabMessage::Discard { entry } if self.leadership.is_leader() => self.discard_entry(entry, now),
            TabMessage::Reopen { entry } if self.leadership.is_leader() => self.revert_to_draft(entry, now),
            TabMessage::TabClosing { tab } => self.remove_follower(tab, now),
            TabMessage::LeaderUpdate(update) if self.leadership.accept_update(&update, now) => {
                self.apply_leader_update(*update, now);
            }
            _ => {}
        }
    }

    /// Handles the result of a term check, then the deferred events.
    pub(super) fn on_term_checked(&mut self, term: u64, now: UnixMillis) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.leadership.on_term_checked(term) {
            effects.extend(self.handle(Event::LeadershipLost, now));
        }
        for event in self.leadership.take_deferred() {
            effects.extend(self.handle(event, now));
        }
        effects.extend(self.handle(Event::Tick, now));
        effects
    }

    /// Gives up leadership: another tab has taken over.
    pub(super) fn step_down(&mut self, now: UnixMillis) {
        if !self.leadership.is_leader() {
            return;
        }
        // Only a leader knows the number of rows of each tree.
        self.release_pins(now);
        self.leadership.step_down();
        self.realtime.step_down();
        for id in self.observers.ids_from(REMOTE_OBSERVER_BASE) {
            self.unobserve(id, UnixMillis::EPOCH);
        }
        self.effects.extend(self.requests.cancel_all());
        self.outbox.abort_sending();
        self.effects.push(Effect::Disconnect);
        self.drop_unobserved();
    }

    fn on_follower_queries(&mut self, tab: TabId, watched: Vec<ObservedQuery>, viewed_path: String, now: UnixMillis) {
        self.broadcast_presence(&viewed_path);
        let known = self.leadership.remove_follower(tab);
        // The cache of a new follower may be older than an access change that the follower did not
        // receive.
        if known.is_none() {
            self.leadership.update().access_changed = true;
            self.leadership.update().pinned = Some(self.pinned_tree_summaries());
        }
        let known = known.unwrap_or_default();
        let mut observers = VecMap::default();
        for ObservedQuery { query, digest } in watched {
            let id = match known.get(&query) {
                Some(id) => *id,
                None => {
                    let id = self.leadership.next_observer();
                    self.observe(id, query.clone(), now);
                    id
                }
            };
            self.send_missing_to_follower(&query, digest);
            observers.insert(query, id);
        }
        for (query, id) in known {
            if !observers.contains_key(&query) {
                self.unobserve(id, now);
            }
        }
        self.leadership.insert_follower(tab, viewed_path, observers, now);
    }

    fn remove_follower(&mut self, tab: TabId, now: UnixMillis) {
        for (_, id) in self.leadership.remove_follower(tab).into_iter().flatten() {
            self.unobserve(id, now);
        }
    }

    /// Sends the tab messages of the current event; runs at the end of every event.
    ///
    /// A leader sends its update, a follower announces its observed queries.
    pub(super) fn flush_tab_messages(&mut self, now: UnixMillis) {
        if self.person.is_none() {
            return;
        }
        if self.leadership.is_leader() {
            let status = LeaderStatus { online: self.connectivity.is_online(), live: self.is_live() };
            let position = self.realtime.safe_position();
            let feed = || position.map(|position| (position.epoch.clone(), position.cursor.clone()));
            self.effects.extend(self.leadership.take_update(status, feed));
            return;
        }
        self.leadership.drop_update();
        if self.leadership.take_announcement(now) {
            self.announce_queries();
        }
    }

    /// Sends the observed queries of this tab to the leader.
    fn announce_queries(&mut self) {
        let queries = self.observers.queries().map(|query| {
            // Derived lists are not fetched: the leader fetches their base list.
            let derived = match query {
                Query::List(key) => self.cache.get_list(key).filter(|l| l.derived).and_then(|l| l.key.base_list()),
                _ => None,
            };
            let query = derived.map_or_else(|| query.clone(), Query::List);
            ObservedQuery { digest: self.digest(&query), query }
        });
        let queries = queries.collect();
        self.broadcast(TabMessage::FollowerQueries {
            tab: self.leadership.tab(),
            queries,
            viewing: self.viewed_path().to_owned(),
        });
    }

    pub(super) fn tick_tabs(&mut self, now: UnixMillis) {
        self.effects.extend(self.leadership.tick_reload(now));
        if self.leadership.is_leader() {
            self.effects.extend(self.leadership.tick_leader(&self.settings, now));
            for tab in self.leadership.silent_followers(now) {
                self.remove_follower(tab, now);
            }
        } else {
            self.effects.extend(self.leadership.tick_follower(&self.settings, now));
        }
    }
}
