//! Leading and following. A follower asks the server for nothing: it says what it looks at, and the leader's news are its answers. Terms are numbers on
//! the device, one higher for each leader, so that a tab that was frozen and thaws is not taken for the leader any more.

use super::PendingRequest;
use super::{Engine, FeedPosition, ReferenceData};
use crate::cache::Slot;
use crate::collections::{DetHashMap, VecMap};
use crate::event::{Effect, Event, ObserverId};
use crate::query_key::{ListKey, Query};
use crate::tab_protocol::{LeaderUpdate, ListUpdate, ObservedQuery, RowUpdate, TabId, TabMessage};
use pmo_domain::EntityRef;
use serde_json::value::RawValue;
use std::sync::Arc;

/// How often a follower says again what it looks at, in milliseconds.
const ANNOUNCE_INTERVAL_MS: f64 = 30_000.0;
/// A follower that was silent for this long is gone, in milliseconds.
const FOLLOWER_TIMEOUT_MS: f64 = 100_000.0;
/// Observers of other tabs have numbers from here on.
const REMOTE_OBSERVER_BASE: u64 = 1 << 62;

/// Another tab, as the leader knows it.
struct Follower {
    heard_at: f64,
    looks_at: String,
    observers: VecMap<Query, ObserverId>,
}

/// What is known of the other tabs.
#[derive(Default)]
pub(super) struct TabCoordinator {
    /// The leader's term: this tab's own where it leads, else the last heard of.
    pub(super) term: u64,
    /// When the leader was last heard of.
    leader_heard_at: f64,
    /// What the leader said of the server.
    pub(super) status: (bool, bool),
    /// What the leader keeps whole.
    pub(super) kept: Vec<(EntityRef, usize, bool)>,
    followers: DetHashMap<TabId, Follower>,
    next_observer: u64,
    /// What this tab looks at has changed, or is to be said again.
    pub(super) announce_pending: bool,
    announced_at: f64,
    beat_at: f64,
    /// What followers are to be told at the end of this event.
    pub(super) outgoing_update: LeaderUpdate,
    steal_asked_at: f64,
    reread_at: f64,
    /// When anything last happened here.
    last_event_at: f64,
    /// Nothing happened for so long that another tab may have taken over: until that is known the outbox is left alone.
    pub(super) term_unverified: bool,
    /// What waits for that.
    deferred_events: Vec<Event>,
}

impl Engine {
    pub(super) fn on_tab_message(&mut self, message: TabMessage, now: f64) {
        if self.person.is_none() {
            return;
        }
        match message {
            TabMessage::LeaderHeartbeat { term, new } => {
                if self.leader {
                    if term > self.tabs.term {
                        self.step_down(now);
                    }
                    return;
                }
                if term < self.tabs.term {
                    return;
                }
                self.tabs.term = term;
                self.tabs.leader_heard_at = now;
                self.tabs.announce_pending |= new;
                if new {
                    self.effects.push(Effect::ReloadOutboxAndDrafts);
                }
            }
            TabMessage::FollowerQueries { tab, watched, looking } if self.leader => {
                self.on_follower_queries(tab, watched, looking, now)
            }
            TabMessage::Refetch { query } if self.leader => self.refetch(query, now),
            TabMessage::FetchMore { key } if self.leader => self.fetch_more(key),
            TabMessage::ResolveConflict { entry, seen, choice } if self.leader => {
                self.resolve(entry, seen, choice, now)
            }
            TabMessage::Keep { entity, on } if self.leader => self.set_pinned(entity, on, now),
            TabMessage::Discard { entry } if self.leader => self.discard_entry(entry, now),
            TabMessage::Reopen { entry } if self.leader => self.reopen(entry, now),
            TabMessage::TabClosing { tab } => self.follower_gone(tab, now),
            TabMessage::News(news) if !self.leader && news.term >= self.tabs.term => {
                self.tabs.term = news.term;
                self.tabs.leader_heard_at = now;
                self.apply_leader_update(*news, now);
            }
            _ => {}
        }
    }

    /// A leader to whom nothing happened for longer than its silence is borne may have been replaced meanwhile.
    pub(super) fn check_term_after_idle(&mut self, now: f64) {
        let silence = now - std::mem::replace(&mut self.tabs.last_event_at, now);
        if self.leader
            && self.person.is_some()
            && silence > self.settings.leader_timeout_ms
            && !self.tabs.term_unverified
        {
            self.tabs.term_unverified = true;
            self.effects.push(Effect::CheckTerm);
        }
    }

    /// What changes the outbox waits while it is not known whether this tab leads.
    pub(super) fn defer_if_unverified(&mut self, event: Event) -> Option<Event> {
        let waits = self.tabs.term_unverified
            && match &event {
                Event::ResolveConflict { .. } | Event::Discard(_) | Event::RevertToDraft(_) => true,
                Event::TabMessageReceived(
                    TabMessage::ResolveConflict { .. } | TabMessage::Discard { .. } | TabMessage::Reopen { .. },
                ) => true,
                Event::ResponseReceived(id, _) => matches!(self.requests.get(id), Some(PendingRequest::Write(_))),
                _ => false,
            };
        if waits {
            self.tabs.deferred_events.push(event);
            return None;
        }
        Some(event)
    }

    /// It is known whether this tab leads: what waited happens now.
    pub(super) fn on_term_checked(&mut self, term: u64, now: f64) -> Vec<Effect> {
        self.tabs.term_unverified = false;
        let mut effects = Vec::new();
        if term > self.tabs.term {
            effects.extend(self.handle(Event::LeadershipLost, now));
        }
        for event in std::mem::take(&mut self.tabs.deferred_events) {
            effects.extend(self.handle(event, now));
        }
        effects.extend(self.handle(Event::Tick, now));
        effects
    }

    /// This tab leads no more: another has taken over.
    pub(super) fn step_down(&mut self, now: f64) {
        if !self.leader {
            return;
        }
        self.leader = false;
        self.tabs.term_unverified = false;
        if let Some(place) = self.revalidating_from.take() {
            self.cursor = place;
        }
        let remote: Vec<ObserverId> =
            self.observers.keys().filter(|id| id.0 >= REMOTE_OBSERVER_BASE).copied().collect();
        for id in remote {
            self.unobserve(id, 0.0);
        }
        self.tabs.followers.clear();
        for (id, _) in std::mem::take(&mut self.requests) {
            self.effects.push(Effect::Cancel(id));
        }
        self.in_flight.clear();
        self.rows_in_flight.clear();
        self.rows_to_fetch.clear();
        for entry in &mut self.outbox {
            entry.in_flight = false;
        }
        self.release_pins(now);
        self.session.set_idle();
        self.subscribed.clear();
        self.pending_subscribes.clear();
        self.resuming = None;
        self.effects.push(Effect::Disconnect);
        self.tabs.announce_pending = true;
        self.drop_unobserved();
    }

    fn on_follower_queries(&mut self, tab: TabId, watched: Vec<ObservedQuery>, looks_at: String, now: f64) {
        self.broadcast_presence(&looks_at);
        let known = self.tabs.followers.remove(&tab).map(|f| f.observers);
        // What a tab holds that is heard of for the first time may be of before a sweep that it was not told of.
        self.tabs.outgoing_update.access_changed |= known.is_none();
        if known.is_none() {
            self.tabs.outgoing_update.kept = Some(self.kept_trees());
        }
        let known = known.unwrap_or_default();
        let mut observers = VecMap::default();
        for ObservedQuery { query, digest } in watched {
            let id = match known.get(&query) {
                Some(id) => *id,
                None => {
                    self.tabs.next_observer += 1;
                    let id = ObserverId(REMOTE_OBSERVER_BASE + self.tabs.next_observer);
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
        self.tabs.followers.insert(tab, Follower { heard_at: now, looks_at, observers });
    }

    /// Tells what this tab holds of a query, where a follower holds something else.
    fn send_missing_to_follower(&mut self, query: &Query, digest: u64) {
        if let Query::List(key) = query
            && !self.in_flight.contains_key(query)
            && !self.failed.contains(query)
            && self.cache.get_list(key).is_some_and(|list| !list.loaded)
        {
            // It has been asked for, and the thing above it is not there.
            self.tabs.outgoing_update.lists_gone.push(key.clone());
        } else if self.digest(query) != digest {
            match query {
                Query::Row(entity) => {
                    let told = self.cache.slot_of(entity).and_then(|slot| self.row_update(slot));
                    // Not held and not asked for: it has been asked for, and is not there.
                    if told.is_none() && !self.in_flight.contains_key(query) && !self.failed.contains(query) {
                        self.tabs.outgoing_update.removed.push(entity.clone());
                    }
                    self.tabs.outgoing_update.rows.extend(told);
                }
                Query::List(key) => {
                    let held = self
                        .cache
                        .get_list(key)
                        .filter(|l| l.loaded && !l.loading_from_disk)
                        .map(|l| l.slots().to_vec());
                    for slot in held.into_iter().flatten() {
                        self.tabs.outgoing_update.rows.extend(self.row_update(slot));
                    }
                    self.tabs.outgoing_update.lists.extend(self.list_update(key));
                }
                Query::Meta(key) => {
                    let held = self.metas.get(key).map(|meta| (*key, (*meta.data).clone()));
                    self.tabs.outgoing_update.metas.extend(held);
                }
            }
        }
        if !self.in_flight.contains_key(query) {
            let well = !self.failed.contains(query);
            self.tabs.outgoing_update.completed.push((query.clone(), well && self.has_query_data(query)));
        }
    }

    fn has_query_data(&self, query: &Query) -> bool {
        match query {
            Query::Row(entity) => self.cache.get(entity).is_some_and(|row| row.base.is_some()),
            Query::List(key) => self.cache.get_list(key).is_some_and(|list| list.loaded),
            Query::Meta(key) => self.metas.contains_key(key),
        }
    }

    fn follower_gone(&mut self, tab: TabId, now: f64) {
        if let Some(follower) = self.tabs.followers.remove(&tab) {
            for (_, id) in follower.observers {
                self.unobserve(id, now);
            }
        }
    }

    /// What other tabs look at.
    pub(super) fn follower_topics(&self) -> Vec<String> {
        self.tabs.followers.values().map(|follower| follower.looks_at.clone()).collect()
    }

    /// How many other tabs say what they look at.
    pub(super) fn followers(&self) -> usize {
        self.tabs.followers.len()
    }

    pub(super) fn has_followers(&self) -> bool {
        self.leader && !self.tabs.followers.is_empty()
    }

    pub(super) fn row_update(&self, slot: Slot) -> Option<RowUpdate> {
        let row = self.cache.row(slot)?;
        let text = row.base.as_ref()?.as_str().to_owned();
        let code = self.cache.code(slot);
        Some(RowUpdate { code, permission: row.permission, row: RawValue::from_string(text).ok()? })
    }

    pub(super) fn list_update(&self, key: &ListKey) -> Option<ListUpdate> {
        let list = self.cache.get_list(key).filter(|list| list.loaded && !list.derived && !list.loading_from_disk)?;
        Some(ListUpdate {
            key: key.clone(),
            ids: self.cache.ids(list).to_vec(),
            complete: list.complete,
            synced_at: list.synced_at,
        })
    }

    /// A number for what is held of a query.
    pub(super) fn digest(&self, query: &Query) -> u64 {
        let of_row = |slot: Slot| {
            let row = self.cache.row(slot).filter(|row| row.base.is_some());
            row.map_or(0, |row| {
                let id = row.id.as_u128();
                ((id ^ (id >> 64)) as u64 ^ (row.version as u64).rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            })
        };
        match query {
            Query::Row(entity) => self.cache.slot_of(entity).map_or(0, of_row),
            Query::List(key) => {
                let list = self.cache.get_list(key).filter(|l| l.loaded && !l.loading_from_disk);
                list.map_or(0, |list| list.slots().iter().fold(1, |sum: u64, slot| sum.rotate_left(1) ^ of_row(*slot)))
            }
            Query::Meta(key) => self.metas.get(key).map_or(0, |meta| meta.data.to_string().len() as u64),
        }
    }

    fn apply_leader_update(&mut self, news: LeaderUpdate, now: f64) {
        self.tabs.status = news.status;
        if let Some((epoch, _)) = &news.feed {
            self.begin_epoch(epoch);
        }
        for (key, data) in news.metas {
            self.apply_reference_data(key, ReferenceData { data: Arc::new(data), synced_at: now, stale: false });
            self.mark_changed(Query::Meta(key));
        }
        self.names.extend(news.names);
        self.on_presence_update(news.presence);
        if let Some(kept) = news.kept {
            for (root, _, _) in self.tabs.kept.iter().chain(&kept) {
                self.changed.insert(Query::Row(root.clone()));
            }
            self.tabs.kept = kept;
        }
        for RowUpdate { code, permission, row } in news.rows {
            if let Some(slot) = self.apply_leader_row(&code, row.get(), permission, now) {
                self.reindex(slot);
            }
        }
        for entity in news.removed {
            self.remove_entity(&entity, now);
        }
        if news.access_changed {
            self.drop_unobserved();
        }
        for list in news.lists {
            self.apply_leader_list(list);
        }
        for key in news.lists_gone {
            let slots = self.cache.get_list(&key).map(|list| list.slots().to_vec()).unwrap_or_default();
            for slot in slots {
                self.invalidate_row(slot);
            }
            self.empty_list(&key);
        }
        for (query, well) in news.completed {
            self.in_flight.remove(&query);
            if well {
                self.failed.remove(&query);
                self.mark_fresh_from_leader(&query);
            } else {
                self.failed.insert(query.clone());
            }
            self.mark_changed(query);
        }
        if let Some((epoch, cursor)) = news.feed {
            self.cursor = Some(FeedPosition { epoch, cursor });
        }
    }

    /// What is held of a query is what the leader holds.
    fn mark_fresh_from_leader(&mut self, query: &Query) {
        let slots = match query {
            Query::Row(entity) => self.cache.slot_of(entity).into_iter().collect(),
            Query::List(key) => self.cache.get_list(key).map(|list| list.slots().to_vec()).unwrap_or_default(),
            Query::Meta(_) => return,
        };
        for slot in slots {
            if let Some(row) = self.cache.row_mut(slot).filter(|row| row.stale)
                && row.base.is_some()
            {
                row.stale = false;
                self.changed.extend(self.cache.entity(slot).map(Query::Row));
            }
        }
    }

    /// What nobody looks at here the leader may not know of, and can't say of it whether it may still be seen.
    fn drop_unobserved(&mut self) {
        let unwatched = |list: &crate::cache::CachedList| list.observer_count == 0;
        let lists: Vec<_> = self.cache.lists().filter(|(_, list)| unwatched(list)).map(|(index, _)| index).collect();
        let needed: Vec<ListKey> = self
            .cache
            .lists()
            .filter(|(_, l)| l.derived && l.observer_count > 0)
            .filter_map(|(_, l)| l.key.base_list())
            .collect();
        for index in lists {
            if self.cache.list(index).is_some_and(|list| !needed.contains(&list.key)) {
                self.cache.drop_list(index);
            }
        }
        let rows: Vec<(Slot, bool)> = self
            .cache
            .rows()
            .filter(|(_, row)| row.observer_count == 0 && row.lists.is_empty())
            .map(|(slot, row)| (slot, row.local.is_some()))
            .collect();
        for (slot, written) in rows {
            // What was written here stays; what it was written on goes.
            if written { self.invalidate_row(slot) } else { self.drop_row(slot) }
        }
    }

    /// A row leaves memory; what the device holds of it stays.
    pub(super) fn drop_row(&mut self, slot: Slot) {
        if let Some(entity) = self.cache.entity(slot) {
            self.changed.insert(Query::Row(entity));
        }
        self.cache.release(slot, true);
    }

    /// The leader knows nothing of a row where this tab has it: what is held of it is let go, and told anew where it is elsewhere.
    fn invalidate_row(&mut self, slot: Slot) {
        let made_here = self.cache.entity(slot).is_some_and(|entity| self.is_local_only(&entity));
        if let Some(row) = self.cache.row_mut(slot).filter(|row| row.observer_count == 0 && !made_here) {
            row.set_base(None);
            (row.version, row.min_version, row.unloaded) = (0, 0, false);
            self.recompute_row(slot, true);
        }
    }

    fn apply_leader_list(&mut self, news: ListUpdate) {
        let index = self.cache.list_or_insert(&news.key, &self.catalogue);
        let slots: Vec<Slot> = news
            .ids
            .iter()
            .filter_map(|id| self.cache.slot_of(&EntityRef::new(news.key.code.clone(), *id)))
            .filter(|slot| self.cache.row(*slot).is_some_and(|row| row.is_visible() || row.unloaded))
            .collect();
        if let Some(list) = self.cache.list_mut(index) {
            (list.loaded, list.complete, list.loading_from_disk, list.derived) = (true, news.complete, false, false);
            (list.stale, list.synced_at) = (false, news.synced_at);
        }
        let untold = self.rows_missing_from(index, &slots);
        self.cache.set_rows(index, slots);
        for slot in untold {
            let Some(entity) = self.cache.entity(slot) else { continue };
            if self.is_local_only(&entity) {
                self.recompute_row(slot, true);
            } else {
                self.invalidate_row(slot);
            }
        }
        self.derive_parts(index, &news.key);
        self.mark_changed(Query::List(news.key));
    }

    /// At the end of every event: a leader tells its news, a follower says what it looks at.
    pub(super) fn flush_tab_messages(&mut self, now: f64) {
        if self.person.is_none() {
            return;
        }
        if self.leader {
            let status = (self.browser_online && self.reachable, self.is_live());
            let said = std::mem::replace(&mut self.tabs.status, status);
            let news = std::mem::take(&mut self.tabs.outgoing_update);
            if !self.tabs.followers.is_empty() && (!news.is_empty() || said != status) {
                let feed = self.safe_cursor().map(|place| (place.epoch.clone(), place.cursor.clone()));
                let news = LeaderUpdate { term: self.tabs.term, status, feed, ..news };
                self.effects.push(Effect::Broadcast(TabMessage::News(Box::new(news))));
            }
            return;
        }
        self.tabs.outgoing_update = LeaderUpdate::default();
        if std::mem::take(&mut self.tabs.announce_pending) {
            self.tabs.announced_at = now;
            let watched = self
                .observer_counts
                .keys()
                .map(|query| {
                    // A part of a whole list: the whole is what the leader asks for.
                    let derived = match query {
                        Query::List(key) => {
                            self.cache.get_list(key).filter(|l| l.derived).and_then(|l| l.key.base_list())
                        }
                        _ => None,
                    };
                    let query = derived.map_or_else(|| query.clone(), Query::List);
                    ObservedQuery { digest: self.digest(&query), query }
                })
                .collect();
            self.effects.push(Effect::Broadcast(TabMessage::FollowerQueries {
                tab: self.tab,
                watched,
                looking: self.viewed_path(),
            }));
        }
    }

    pub(super) fn tick_tabs(&mut self, now: f64) {
        if now - self.tabs.reread_at >= ANNOUNCE_INTERVAL_MS {
            self.tabs.reread_at = now;
            self.effects.push(Effect::ReloadOutboxAndDrafts);
        }
        if self.leader {
            if now - self.tabs.beat_at >= self.settings.leader_heartbeat_ms {
                self.tabs.beat_at = now;
                self.effects.push(Effect::Broadcast(TabMessage::LeaderHeartbeat { term: self.tabs.term, new: false }));
            }
            let silent: Vec<TabId> = self
                .tabs
                .followers
                .iter()
                .filter(|(_, f)| now - f.heard_at > FOLLOWER_TIMEOUT_MS)
                .map(|(tab, _)| *tab)
                .collect();
            silent.into_iter().for_each(|tab| self.follower_gone(tab, now));
            return;
        }
        if now - self.tabs.announced_at >= ANNOUNCE_INTERVAL_MS {
            self.tabs.announce_pending = true;
        }
        let missing = now - self.tabs.leader_heard_at.max(self.tabs.steal_asked_at) > self.settings.leader_timeout_ms;
        if self.visible && missing {
            // It has been closed, or is frozen: who is looked at takes over.
            self.tabs.steal_asked_at = now;
            self.effects.push(Effect::StealLock);
        }
    }

    /// A tab that has just begun waits for a leader's word as long as for one that went silent.
    pub(super) fn start_election_timer(&mut self, term: u64, now: f64) {
        self.tabs.leader_heard_at = now;
        self.tabs.reread_at = now;
        self.tabs.term = term;
        self.tabs.announce_pending = true;
        if self.leader {
            self.effects.push(Effect::Broadcast(TabMessage::LeaderHeartbeat { term, new: true }));
        }
    }
}
