//! Leader/follower protocol between the tabs of one user.
//!
//! A follower sends no reads to the server. It announces its observed queries, and the updates from
//! the leader answer them. Terms are numbers on disk, and each new leader has a higher one. So a
//! tab that resumes after being frozen is not mistaken for the current leader.

use super::PendingRequest;
use super::{Engine, FeedPosition, ReferenceData};
use crate::cache::Slot;
use crate::collections::{DetHashMap, VecMap};
use crate::event::{Effect, Event, ObserverId};
use crate::query_key::{ListKey, Query};
use crate::tab_protocol::{LeaderUpdate, ListUpdate, ObservedQuery, RowUpdate, TabId, TabMessage};
use pmo_domain::{EntityRef, UnixMillis};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;

/// Interval at which a follower repeats its observed queries.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(30);
/// Time without a message after which a follower is considered closed.
const FOLLOWER_TIMEOUT: Duration = Duration::from_secs(100);
/// First id for observers in other tabs.
const REMOTE_OBSERVER_BASE: u64 = 1 << 62;

/// Another tab, as known to the leader.
struct Follower {
    last_seen_at: UnixMillis,
    viewed_path: String,
    observers: VecMap<Query, ObserverId>,
}

/// State of the leader/follower protocol in this tab.
#[derive(Default)]
pub(super) struct TabCoordinator {
    /// Term of the leader: this tab's own term if it leads, otherwise the latest one received.
    pub(super) term: u64,
    /// Time of the last message from the leader.
    leader_seen_at: UnixMillis,
    /// Status from the leader: whether the server is available, and whether changes are received.
    pub(super) status: (bool, bool),
    /// Pinned trees from the leader: root, number of rows, and whether the tree is complete.
    pub(super) pinned_trees: Vec<(EntityRef, usize, bool)>,
    followers: DetHashMap<TabId, Follower>,
    next_observer: u64,
    /// Whether the observed queries of this tab must be announced at the end of the event.
    pub(super) announce_pending: bool,
    announced_at: UnixMillis,
    heartbeat_at: UnixMillis,
    /// Update for the followers, sent at the end of the current event.
    pub(super) outgoing_update: LeaderUpdate,
    steal_requested_at: UnixMillis,
    reloaded_at: UnixMillis,
    /// Time of the last event in this tab.
    last_event_at: UnixMillis,
    /// Whether another tab may have taken over because this tab was idle for too long.
    ///
    /// Until the term is checked, no entry is sent, and events that change the outbox are deferred.
    pub(super) term_unverified: bool,
    /// Events that are deferred until the term is checked.
    deferred_events: Vec<Event>,
}

impl Engine {
    pub(super) fn on_tab_message(&mut self, message: TabMessage, now: UnixMillis) {
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
                self.tabs.leader_seen_at = now;
                self.tabs.announce_pending |= new;
                if new {
                    self.effects.push(Effect::ReloadOutboxAndDrafts);
                }
            }
            TabMessage::FollowerQueries { tab, queries: watched, viewing: viewed_path } if self.leader => {
                self.on_follower_queries(tab, watched, viewed_path, now)
            }
            TabMessage::Refetch { query } if self.leader => self.refetch(query, now),
            TabMessage::FetchMore { key } if self.leader => self.fetch_more(key),
            TabMessage::ResolveConflict { entry, seen, choice } if self.leader => {
                self.resolve(entry, seen, choice, now)
            }
            TabMessage::SetPinned { entity, on } if self.leader => self.set_pinned(entity, on, now),
            TabMessage::Discard { entry } if self.leader => self.discard_entry(entry, now),
            TabMessage::Reopen { entry } if self.leader => self.revert_to_draft(entry, now),
            TabMessage::TabClosing { tab } => self.remove_follower(tab, now),
            TabMessage::LeaderUpdate(update) if !self.leader && update.term >= self.tabs.term => {
                self.tabs.term = update.term;
                self.tabs.leader_seen_at = now;
                self.apply_leader_update(*update, now);
            }
            _ => {}
        }
    }

    /// Requests a term check if no event arrived for longer than the leader timeout.
    ///
    /// After such a gap (frozen tab, sleep), another tab may have taken over.
    pub(super) fn check_term_after_idle(&mut self, now: UnixMillis) {
        let idle = now.since(std::mem::replace(&mut self.tabs.last_event_at, now));
        if self.leader && self.person.is_some() && idle > self.settings.leader_timeout && !self.tabs.term_unverified {
            self.tabs.term_unverified = true;
            self.effects.push(Effect::CheckTerm);
        }
    }

    /// Defers events that change the outbox while the term is unverified; returns all others.
    pub(super) fn defer_if_unverified(&mut self, event: Event) -> Option<Event> {
        let is_deferred = self.tabs.term_unverified
            && match &event {
                Event::ResolveConflict { .. } | Event::Discard(_) | Event::RevertToDraft(_) => true,
                Event::TabMessageReceived(
                    TabMessage::ResolveConflict { .. } | TabMessage::Discard { .. } | TabMessage::Reopen { .. },
                ) => true,
                Event::ResponseReceived(id, _) => matches!(self.requests.get(id), Some(PendingRequest::Write(_))),
                _ => false,
            };
        if is_deferred {
            self.tabs.deferred_events.push(event);
            return None;
        }
        Some(event)
    }

    /// Handles the result of a term check, then the deferred events.
    pub(super) fn on_term_checked(&mut self, term: u64, now: UnixMillis) -> Vec<Effect> {
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

    /// Gives up leadership: another tab has taken over.
    pub(super) fn step_down(&mut self, now: UnixMillis) {
        if !self.leader {
            return;
        }
        self.leader = false;
        self.tabs.term_unverified = false;
        if let Some(position) = self.revalidating_from.take() {
            self.cursor = position;
        }
        let remote: Vec<ObserverId> =
            self.observers.keys().filter(|id| id.0 >= REMOTE_OBSERVER_BASE).copied().collect();
        for id in remote {
            self.unobserve(id, UnixMillis::EPOCH);
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

    fn on_follower_queries(&mut self, tab: TabId, watched: Vec<ObservedQuery>, viewed_path: String, now: UnixMillis) {
        self.broadcast_presence(&viewed_path);
        let known = self.tabs.followers.remove(&tab).map(|f| f.observers);
        // The cache of a new follower may be older than an access change that the follower did not
        // receive.
        self.tabs.outgoing_update.access_changed |= known.is_none();
        if known.is_none() {
            self.tabs.outgoing_update.pinned = Some(self.pinned_tree_summaries());
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
        self.tabs.followers.insert(tab, Follower { last_seen_at: now, viewed_path, observers });
    }

    /// Adds the cached data of a query to the update if the follower has other data.
    fn send_missing_to_follower(&mut self, query: &Query, digest: u64) {
        if let Query::List(key) = query
            && !self.in_flight.contains_key(query)
            && !self.failed.contains(query)
            && self.cache.get_list(key).is_some_and(|list| !list.loaded)
        {
            // The list was requested and its parent does not exist: the follower must drop the
            // list.
            self.tabs.outgoing_update.lists_removed.push(key.clone());
        } else if self.digest(query) != digest {
            match query {
                Query::Row(entity) => {
                    let update = self.cache.slot_of(entity).and_then(|slot| self.row_update(slot));
                    // Neither cached nor in flight: the entity was requested and does not exist.
                    if update.is_none() && !self.in_flight.contains_key(query) && !self.failed.contains(query) {
                        self.tabs.outgoing_update.removed.push(entity.clone());
                    }
                    self.tabs.outgoing_update.rows.extend(update);
                }
                Query::List(key) => {
                    let cached = self
                        .cache
                        .get_list(key)
                        .filter(|l| l.loaded && !l.loading_from_disk)
                        .map(|l| l.slots().to_vec());
                    for slot in cached.into_iter().flatten() {
                        self.tabs.outgoing_update.rows.extend(self.row_update(slot));
                    }
                    self.tabs.outgoing_update.lists.extend(self.list_update(key));
                }
                Query::Meta(key) => {
                    let cached = self.reference_data.get(key).map(|meta| (*key, (*meta.data).clone()));
                    self.tabs.outgoing_update.metas.extend(cached);
                }
            }
        }
        if !self.in_flight.contains_key(query) {
            let succeeded = !self.failed.contains(query);
            self.tabs.outgoing_update.completed.push((query.clone(), succeeded && self.has_query_data(query)));
        }
    }

    fn has_query_data(&self, query: &Query) -> bool {
        match query {
            Query::Row(entity) => self.cache.get(entity).is_some_and(|row| row.base.is_some()),
            Query::List(key) => self.cache.get_list(key).is_some_and(|list| list.loaded),
            Query::Meta(key) => self.reference_data.contains_key(key),
        }
    }

    fn remove_follower(&mut self, tab: TabId, now: UnixMillis) {
        if let Some(follower) = self.tabs.followers.remove(&tab) {
            for (_, id) in follower.observers {
                self.unobserve(id, now);
            }
        }
    }

    /// Returns the entity paths that other tabs view; empty for a tab that views none.
    pub(super) fn follower_viewed_paths(&self) -> Vec<String> {
        self.tabs.followers.values().map(|follower| follower.viewed_path.clone()).collect()
    }

    /// Returns the number of followers.
    pub(super) fn follower_count(&self) -> usize {
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

    /// Returns a digest of the cached data of a query; 0 if nothing is cached.
    pub(super) fn digest(&self, query: &Query) -> u64 {
        let row_digest = |slot: Slot| {
            let row = self.cache.row(slot).filter(|row| row.base.is_some());
            row.map_or(0, |row| {
                let id = row.id.as_u128();
                ((id ^ (id >> 64)) as u64 ^ (row.version as u64).rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
            })
        };
        match query {
            Query::Row(entity) => self.cache.slot_of(entity).map_or(0, row_digest),
            Query::List(key) => {
                let list = self.cache.get_list(key).filter(|l| l.loaded && !l.loading_from_disk);
                list.map_or(0, |list| {
                    list.slots().iter().fold(1, |sum: u64, slot| sum.rotate_left(1) ^ row_digest(*slot))
                })
            }
            Query::Meta(key) => self.reference_data.get(key).map_or(0, |meta| meta.data.to_string().len() as u64),
        }
    }

    fn apply_leader_update(&mut self, update: LeaderUpdate, now: UnixMillis) {
        self.tabs.status = update.status;
        if let Some((epoch, _)) = &update.feed {
            self.begin_epoch(epoch);
        }
        for (key, data) in update.metas {
            self.apply_reference_data(key, ReferenceData { data: Arc::new(data), synced_at: now, stale: false });
            self.mark_changed(Query::Meta(key));
        }
        self.names.extend(update.names);
        self.on_presence_update(update.presence);
        if let Some(trees) = update.pinned {
            for (root, _, _) in self.tabs.pinned_trees.iter().chain(&trees) {
                self.changed.insert(Query::Row(root.clone()));
            }
            self.tabs.pinned_trees = trees;
        }
        for RowUpdate { code, permission, row } in update.rows {
            if let Some(slot) = self.apply_leader_row(&code, row.get(), permission, now) {
                self.reindex(slot);
            }
        }
        for entity in update.removed {
            self.remove_entity(&entity);
        }
        if update.access_changed {
            self.drop_unobserved();
        }
        for list in update.lists {
            self.apply_leader_list(list);
        }
        for key in update.lists_removed {
            let slots = self.cache.get_list(&key).map(|list| list.slots().to_vec()).unwrap_or_default();
            for slot in slots {
                self.invalidate_row(slot);
            }
            self.empty_list(&key);
        }
        for (query, succeeded) in update.completed {
            self.in_flight.remove(&query);
            if succeeded {
                self.failed.remove(&query);
                self.mark_fresh_from_leader(&query);
            } else {
                self.failed.insert(query.clone());
            }
            self.mark_changed(query);
        }
        if let Some((epoch, cursor)) = update.feed {
            self.cursor = Some(FeedPosition { epoch, cursor });
        }
    }

    /// Marks the rows of a query as fresh: they are the same as those of the leader.
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

    /// Drops all lists and rows without an observer in this tab.
    ///
    /// The leader may not know of them, so it cannot say whether the user may still view them.
    fn drop_unobserved(&mut self) {
        let is_unobserved = |list: &crate::cache::CachedList| list.observer_count == 0;
        let lists: Vec<_> =
            self.cache.lists().filter(|(_, list)| is_unobserved(list)).map(|(index, _)| index).collect();
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
        for (slot, has_writes) in rows {
            // Pending writes remain; only the server row is removed.
            if has_writes { self.invalidate_row(slot) } else { self.drop_row(slot) }
        }
    }

    /// Removes a row from memory; its copy on disk remains.
    pub(super) fn drop_row(&mut self, slot: Slot) {
        if let Some(entity) = self.cache.entity(slot) {
            self.changed.insert(Query::Row(entity));
        }
        self.cache.release(slot, true);
    }

    /// Discards an unobserved server row that contradicts the data of the leader.
    ///
    /// If the row belongs elsewhere, the leader sends it again.
    fn invalidate_row(&mut self, slot: Slot) {
        let local_only = self.cache.entity(slot).is_some_and(|entity| self.is_local_only(&entity));
        if let Some(row) = self.cache.row_mut(slot).filter(|row| row.observer_count == 0 && !local_only) {
            row.set_base(None);
            (row.version, row.min_version, row.unloaded) = (0, 0, false);
            self.recompute_row(slot, true);
        }
    }

    fn apply_leader_list(&mut self, update: ListUpdate) {
        let index = self.cache.list_or_insert(&update.key, &self.catalog);
        let slots: Vec<Slot> = update
            .ids
            .iter()
            .filter_map(|id| self.cache.slot_of(&EntityRef::new(update.key.code.clone(), *id)))
            .filter(|slot| self.cache.row(*slot).is_some_and(|row| row.is_visible() || row.unloaded))
            .collect();
        if let Some(list) = self.cache.list_mut(index) {
            (list.loaded, list.complete, list.loading_from_disk, list.derived) = (true, update.complete, false, false);
            (list.stale, list.synced_at) = (false, update.synced_at);
        }
        let missing = self.rows_missing_from(index, &slots);
        self.cache.set_rows(index, slots);
        for slot in missing {
            let Some(entity) = self.cache.entity(slot) else { continue };
            if self.is_local_only(&entity) {
                self.recompute_row(slot, true);
            } else {
                self.invalidate_row(slot);
            }
        }
        self.derive_parts(index, &update.key);
        self.mark_changed(Query::List(update.key));
    }

    /// Sends the tab messages of the current event; runs at the end of every event.
    ///
    /// A leader sends its update, a follower announces its observed queries.
    pub(super) fn flush_tab_messages(&mut self, now: UnixMillis) {
        if self.person.is_none() {
            return;
        }
        if self.leader {
            let status = (self.browser_online && self.reachable, self.is_live());
            let previous_status = std::mem::replace(&mut self.tabs.status, status);
            let update = std::mem::take(&mut self.tabs.outgoing_update);
            if !self.tabs.followers.is_empty() && (!update.is_empty() || previous_status != status) {
                let feed = self.safe_cursor().map(|position| (position.epoch.clone(), position.cursor.clone()));
                let update = LeaderUpdate { term: self.tabs.term, status, feed, ..update };
                self.effects.push(Effect::Broadcast(TabMessage::LeaderUpdate(Box::new(update))));
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
                    // Derived lists are not fetched: the leader fetches their base list.
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
                queries: watched,
                viewing: self.viewed_path(),
            }));
        }
    }

    pub(super) fn tick_tabs(&mut self, now: UnixMillis) {
        if now.since(self.tabs.reloaded_at) >= ANNOUNCE_INTERVAL {
            self.tabs.reloaded_at = now;
            self.effects.push(Effect::ReloadOutboxAndDrafts);
        }
        if self.leader {
            if now.since(self.tabs.heartbeat_at) >= self.settings.leader_heartbeat {
                self.tabs.heartbeat_at = now;
                self.effects.push(Effect::Broadcast(TabMessage::LeaderHeartbeat { term: self.tabs.term, new: false }));
            }
            let silent: Vec<TabId> = self
                .tabs
                .followers
                .iter()
                .filter(|(_, f)| now.since(f.last_seen_at) > FOLLOWER_TIMEOUT)
                .map(|(tab, _)| *tab)
                .collect();
            silent.into_iter().for_each(|tab| self.remove_follower(tab, now));
            return;
        }
        if now.since(self.tabs.announced_at) >= ANNOUNCE_INTERVAL {
            self.tabs.announce_pending = true;
        }
        let leader_missing =
            now.since(self.tabs.leader_seen_at.max(self.tabs.steal_requested_at)) > self.settings.leader_timeout;
        if self.visible && leader_missing {
            // The leader was closed or is frozen: a visible tab takes over.
            self.tabs.steal_requested_at = now;
            self.effects.push(Effect::StealLock);
        }
    }

    /// Starts the timer after which a tab takes over from a silent leader.
    ///
    /// A new tab waits for its first heartbeat as long as for a leader that has become silent.
    pub(super) fn start_election_timer(&mut self, term: u64, now: UnixMillis) {
        self.tabs.leader_seen_at = now;
        self.tabs.reloaded_at = now;
        self.tabs.term = term;
        self.tabs.announce_pending = true;
        if self.leader {
            self.effects.push(Effect::Broadcast(TabMessage::LeaderHeartbeat { term, new: true }));
        }
    }
}
