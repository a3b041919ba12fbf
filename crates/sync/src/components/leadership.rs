//! Role of this tab, its term, and its record of the other tabs.
//!
//! A follower sends no reads to the server. It announces its observed queries, and the updates from
//! the leader answer them. Terms are numbers on disk, and each new leader has a higher one. So a
//! tab that resumes after being frozen is not mistaken for the current leader.

use crate::collections::{DetHashMap, VecMap};
use crate::event::{Effect, Event, ObserverId};
use crate::query_key::Query;
use crate::settings::EngineConfig;
use crate::tab_protocol::{LeaderStatus, LeaderUpdate, PinnedTreeSummary, TabId, TabMessage};
use pmo_domain::{EntityRef, UnixMillis};
use std::time::Duration;

/// Interval at which a follower repeats its observed queries.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(30);
/// Time without a message after which a follower is considered closed.
const FOLLOWER_TIMEOUT: Duration = Duration::from_secs(100);
/// First id for observers in other tabs.
pub(crate) const REMOTE_OBSERVER_BASE: u64 = 1 << 62;

/// Another tab, as known to the leader.
pub(crate) struct Follower {
    /// Path of the entity that the tab views; empty if there is none.
    pub(crate) viewed_path: String,
    /// Observers in this tab that stand for the observed queries of the follower.
    pub(crate) observers: VecMap<Query, ObserverId>,
    last_seen_at: UnixMillis,
}

/// Consequence of a leader's heartbeat for this tab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeartbeatOutcome {
    /// Nothing: the heartbeat is from an earlier term.
    Ignored,
    /// Another tab has become the leader in place of this one.
    Superseded,
    /// The leader of this follower is alive.
    LeaderAlive,
    /// This follower has a new leader.
    NewLeader,
}

/// Role of this tab in the leader/follower protocol.
pub(crate) struct Leadership {
    tab: TabId,
    leader: bool,
    /// Whether this tab is visible to the user (Page Visibility API).
    visible: bool,
    /// Term of the leader: this tab's own term if it leads, otherwise the latest one received.
    term: u64,
    /// Time of the last message from the leader.
    leader_seen_at: UnixMillis,
    /// Status of the leader: its own in the leader, the received one in a follower.
    status: LeaderStatus,
    /// Pinned trees as reported by the leader.
    pinned_trees: Vec<PinnedTreeSummary>,
    followers: DetHashMap<TabId, Follower>,
    last_observer: u64,
    /// Whether the observed queries of this tab must be announced at the end of the event.
    announce_pending: bool,
    announced_at: UnixMillis,
    heartbeat_at: UnixMillis,
    /// Update for the followers, sent at the end of the current event.
    outgoing_update: LeaderUpdate,
    steal_requested_at: UnixMillis,
    reloaded_at: UnixMillis,
    /// Time of the last event in this tab.
    last_event_at: UnixMillis,
    /// Whether another tab may have taken over because this tab was idle for too long.
    ///
    /// Until the term is checked, no entry is sent, and events that change the outbox are deferred.
    term_unverified: bool,
    /// Events that are deferred until the term is checked.
    deferred_events: Vec<Event>,
}

impl Leadership {
    /// Creates the role of a follower that has no leader yet.
    pub(crate) fn new(tab: TabId) -> Self {
        Self {
            tab,
            leader: false,
            visible: true,
            term: 0,
            leader_seen_at: UnixMillis::EPOCH,
            status: LeaderStatus::default(),
            pinned_trees: Vec::new(),
            followers: DetHashMap::default(),
            last_observer: 0,
            announce_pending: false,
            announced_at: UnixMillis::EPOCH,
            heartbeat_at: UnixMillis::EPOCH,
            outgoing_update: LeaderUpdate::default(),
            steal_requested_at: UnixMillis::EPOCH,
            reloaded_at: UnixMillis::EPOCH,
            last_event_at: UnixMillis::EPOCH,
            term_unverified: false,
            deferred_events: Vec::new(),
        }
    }

    // --- Role ---

    /// Returns the id of this tab.
    pub(crate) fn tab(&self) -> TabId {
        self.tab
    }

    /// Sets the id of this tab.
    pub(crate) fn set_tab(&mut self, tab: TabId) {
        self.tab = tab;
    }

    /// Whether this tab is the leader.
    pub(crate) fn is_leader(&self) -> bool {
        self.leader
    }

    /// Returns the term of the leader.
    pub(crate) fn term(&self) -> u64 {
        self.term
    }

    /// Whether this tab is visible to the user.
    pub(crate) fn is_visible(&self) -> bool {
        self.visible
    }

    /// Records whether this tab is visible to the user.
    pub(crate) fn set_visible(&mut self, visible: bool) {
        self.announce_pending |= self.visible != visible;
        self.visible = visible;
    }

    /// Whether this tab is the leader and no other tab may have taken over.
    pub(crate) fn is_verified_leader(&self) -> bool {
        self.leader && !self.term_unverified
    }

    /// Begins as the leader of `term`, or as a follower; returns the announcement of a leader.
    ///
    /// A new follower waits for its first heartbeat as long as for a leader that has become silent.
    pub(crate) fn start(&mut self, term: Option<u64>, now: UnixMillis) -> Option<Effect> {
        self.leader = term.is_some();
        let term = term.unwrap_or_default();
        self.term_unverified = false;
        self.leader_seen_at = now;
        self.reloaded_at = now;
        self.term = term;
        self.announce_pending = true;
        self.leader.then_some(Effect::Broadcast(TabMessage::LeaderHeartbeat { term, new: true }))
    }

    /// Gives up leadership: another tab has taken over.
    pub(crate) fn step_down(&mut self) {
        self.leader = false;
        self.term_unverified = false;
        self.followers.clear();
        self.announce_pending = true;
    }

    // --- Check of the term ---

    /// Requests a term check if no event arrived for longer than the leader timeout.
    ///
    /// After such a gap (frozen tab, sleep), another tab may have taken over.
    pub(crate) fn check_after_idle(&mut self, settings: &EngineConfig, now: UnixMillis) -> Option<Effect> {
        let idle = now.since(std::mem::replace(&mut self.last_event_at, now));
        if !self.is_verified_leader() || idle <= settings.leader_timeout {
            return None;
        }
        self.term_unverified = true;
        Some(Effect::CheckTerm)
    }

    /// Whether another tab may have taken over because this tab was idle for too long.
    pub(crate) fn is_term_unverified(&self) -> bool {
        self.term_unverified
    }

    /// Defers an event until the term is checked.
    pub(crate) fn defer(&mut self, event: Event) {
        self.deferred_events.push(event);
    }

    /// Handles the result of a term check; returns whether another tab has taken over.
    pub(crate) fn on_term_checked(&mut self, term: u64) -> bool {
        self.term_unverified = false;
        term > self.term
    }

    /// Returns the deferred events.
    pub(crate) fn take_deferred(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.deferred_events)
    }

    // --- Messages of a leader ---

    /// Handles a heartbeat of a leader; `new` is true if the leader has just started.
    pub(crate) fn on_heartbeat(&mut self, term: u64, new: bool, now: UnixMillis) -> HeartbeatOutcome {
        if self.leader {
            return if term > self.term { HeartbeatOutcome::Superseded } else { HeartbeatOutcome::Ignored };
        }
        if term < self.term {
            return HeartbeatOutcome::Ignored;
        }
        self.term = term;
        self.leader_seen_at = now;
        self.announce_pending |= new;
        if new { HeartbeatOutcome::NewLeader } else { HeartbeatOutcome::LeaderAlive }
    }

    /// Handles an update of a leader; returns whether it is to be applied.
    pub(crate) fn accept_update(&mut self, update: &LeaderUpdate, now: UnixMillis) -> bool {
        if self.leader || update.term < self.term {
            return false;
        }
        self.term = update.term;
        self.leader_seen_at = now;
        self.status = update.status;
        true
    }

    /// Returns the status of the leader.
    pub(crate) fn leader_status(&self) -> LeaderStatus {
        self.status
    }

    /// Returns the pinned trees as reported by the leader.
    pub(crate) fn pinned_trees(&self) -> &[PinnedTreeSummary] {
        &self.pinned_trees
    }

    /// Sets the pinned trees; returns the roots of those before and after.
    pub(crate) fn set_pinned_trees(&mut self, trees: Vec<PinnedTreeSummary>) -> Vec<EntityRef> {
        let roots = self.pinned_trees.iter().chain(&trees).map(|tree| tree.root.clone()).collect();
        self.pinned_trees = trees;
        roots
    }

    // --- Announcements of a follower ---

    /// Causes the observed queries of this tab to be announced at the end of the event.
    pub(crate) fn announce(&mut self) {
        self.announce_pending = true;
    }

    /// Returns whether the observed queries must be announced, and resets the request.
    pub(crate) fn take_announcement(&mut self, now: UnixMillis) -> bool {
        let pending = std::mem::take(&mut self.announce_pending);
        if pending {
            self.announced_at = now;
        }
        pending
    }

    // --- Followers of a leader ---

    /// Whether this tab is a leader with followers.
    pub(crate) fn has_followers(&self) -> bool {
        self.leader && !self.followers.is_empty()
    }

    /// Returns the number of followers.
    pub(crate) fn follower_count(&self) -> usize {
        self.followers.len()
    }

    /// Returns the entity paths that followers view; empty for a tab that views none.
    pub(crate) fn viewed_paths(&self) -> impl Iterator<Item = &String> {
        self.followers.values().map(|follower| &follower.viewed_path)
    }

    /// Returns the id for a new observer that stands for a query of a follower.
    pub(crate) fn next_observer(&mut self) -> ObserverId {
        self.last_observer += 1;
        ObserverId(REMOTE_OBSERVER_BASE + self.last_observer)
    }

    /// Records a message of a follower.
    pub(crate) fn insert_follower(
        &mut self,
        tab: TabId,
        viewed_path: String,
        observers: VecMap<Query, ObserverId>,
        now: UnixMillis,
    ) {
        self.followers.insert(tab, Follower { last_seen_at: now, viewed_path, observers });
    }

    /// Removes a follower; returns the observers that stand for its queries.
    pub(crate) fn remove_follower(&mut self, tab: TabId) -> Option<VecMap<Query, ObserverId>> {
        self.followers.remove(&tab).map(|follower| follower.observers)
    }

    /// Returns the followers that sent no message for a long time.
    pub(crate) fn silent_followers(&self, now: UnixMillis) -> Vec<TabId> {
        let is_silent = |follower: &Follower| now.since(follower.last_seen_at) > FOLLOWER_TIMEOUT;
        self.followers.iter().filter(|(_, follower)| is_silent(follower)).map(|(tab, _)| *tab).collect()
    }

    /// Returns the update that is sent to the followers at the end of the event.
    pub(crate) fn update(&mut self) -> &mut LeaderUpdate {
        &mut self.outgoing_update
    }

    /// Drops the update for the followers.
    pub(crate) fn drop_update(&mut self) {
        self.outgoing_update = LeaderUpdate::default();
    }

    /// Returns the message with the update for the followers; `None` if none is needed.
    pub(crate) fn take_update(
        &mut self,
        status: LeaderStatus,
        feed: impl FnOnce() -> Option<(String, String)>,
    ) -> Option<Effect> {
        let status_changed = std::mem::replace(&mut self.status, status) != status;
        let update = std::mem::take(&mut self.outgoing_update);
        if self.followers.is_empty() || (update.is_empty() && !status_changed) {
            return None;
        }
        let update = LeaderUpdate { term: self.term, status, feed: feed(), ..update };
        Some(Effect::Broadcast(TabMessage::LeaderUpdate(Box::new(update))))
    }

    // --- Timers ---

    /// Returns the reload of outbox and drafts if it is due.
    pub(crate) fn tick_reload(&mut self, now: UnixMillis) -> Option<Effect> {
        if now.since(self.reloaded_at) < ANNOUNCE_INTERVAL {
            return None;
        }
        self.reloaded_at = now;
        Some(Effect::ReloadOutboxAndDrafts)
    }

    /// Returns the heartbeat of a leader if it is due.
    pub(crate) fn tick_leader(&mut self, settings: &EngineConfig, now: UnixMillis) -> Option<Effect> {
        if now.since(self.heartbeat_at) < settings.leader_heartbeat {
            return None;
        }
        self.heartbeat_at = now;
        Some(Effect::Broadcast(TabMessage::LeaderHeartbeat { term: self.term, new: false }))
    }

    /// Repeats the announcement of a follower if it is due, and takes over from a silent leader.
    ///
    /// The leader was closed or is frozen: a visible tab takes over.
    pub(crate) fn tick_follower(&mut self, settings: &EngineConfig, now: UnixMillis) -> Option<Effect> {
        if now.since(self.announced_at) >= ANNOUNCE_INTERVAL {
            self.announce_pending = true;
        }
        let silence = now.since(self.leader_seen_at.max(self.steal_requested_at));
        if !self.visible || silence <= settings.leader_timeout {
            return None;
        }
        self.steal_requested_at = now;
        Some(Effect::StealLock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn at(millis: i64) -> UnixMillis {
        UnixMillis::new(millis)
    }

    fn leadership(term: Option<u64>) -> Leadership {
        let mut leadership = Leadership::new(TabId(Uuid::from_u128(1)));
        assert_eq!(leadership.start(term, at(0)).is_some(), term.is_some());
        leadership
    }

    #[test]
    fn leader_yields_to_a_later_term_only() {
        let mut leader = leadership(Some(5));
        assert_eq!(leader.on_heartbeat(5, true, at(1)), HeartbeatOutcome::Ignored);
        assert_eq!(leader.on_heartbeat(6, true, at(1)), HeartbeatOutcome::Superseded);
        let mut follower = leadership(None);
        assert_eq!(follower.on_heartbeat(6, true, at(1)), HeartbeatOutcome::NewLeader);
        assert_eq!(follower.on_heartbeat(6, false, at(1)), HeartbeatOutcome::LeaderAlive);
        assert_eq!(follower.on_heartbeat(5, true, at(1)), HeartbeatOutcome::Ignored);
        assert!(!follower.accept_update(&LeaderUpdate { term: 5, ..LeaderUpdate::default() }, at(1)));
    }

    #[test]
    fn term_is_checked_after_a_gap_between_events() {
        let (mut leader, settings) = (leadership(Some(5)), EngineConfig::default());
        leader.check_after_idle(&settings, at(0));
        assert_eq!(leader.check_after_idle(&settings, at(1600)), None);
        assert_eq!(leader.check_after_idle(&settings, at(3201)), Some(Effect::CheckTerm));
        assert_eq!(leader.check_after_idle(&settings, at(9000)), None, "a check is in progress");
        assert!(leader.is_leader() && !leader.is_verified_leader());
        leader.defer(Event::Tick);
        assert!(!leader.on_term_checked(5) && leader.is_verified_leader());
        assert_eq!((leader.take_deferred(), leader.on_term_checked(6)), (vec![Event::Tick], true));
    }

    #[test]
    fn visible_follower_takes_over_from_a_silent_leader() {
        let (mut follower, settings) = (leadership(None), EngineConfig::default());
        assert_eq!(follower.tick_follower(&settings, at(1600)), None);
        follower.set_visible(false);
        assert_eq!(follower.tick_follower(&settings, at(1601)), None);
        follower.set_visible(true);
        assert_eq!(follower.tick_follower(&settings, at(1601)), Some(Effect::StealLock));
        assert_eq!(follower.tick_follower(&settings, at(1602)), None, "requested a moment ago");
    }

    #[test]
    fn update_is_sent_if_it_has_changes_or_the_status_changed() {
        let mut leader = leadership(Some(5));
        let status = LeaderStatus { online: true, live: true };
        leader.update().access_changed = true;
        assert_eq!(leader.take_update(status, || None), None, "there are no followers");
        leader.insert_follower(TabId(Uuid::from_u128(2)), String::new(), VecMap::default(), at(0));
        assert_eq!(leader.take_update(status, || None), None, "nothing changed");
        assert!(leader.take_update(LeaderStatus { live: false, ..status }, || None).is_some());
        leader.update().access_changed = true;
        assert!(leader.take_update(LeaderStatus { live: false, ..status }, || None).is_some());
        assert_eq!(leader.silent_followers(at(100_000)), []);
        assert_eq!(leader.silent_followers(at(100_001)), [TabId(Uuid::from_u128(2))]);
    }

    #[test]
    fn announcements_are_repeated() {
        let (mut follower, settings) = (leadership(None), EngineConfig::default());
        assert!(follower.take_announcement(at(0)) && !follower.take_announcement(at(1)));
        follower.on_heartbeat(1, false, at(29_999));
        follower.tick_follower(&settings, at(29_999));
        assert!(!follower.take_announcement(at(29_999)));
        follower.tick_follower(&settings, at(30_000));
        assert!(follower.take_announcement(at(30_000)));
    }
}
