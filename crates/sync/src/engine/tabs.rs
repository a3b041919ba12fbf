//! Leading and following. A follower asks the server for nothing: it says what it looks at, and the leader's news are its answers. Terms are numbers on
//! the device, one higher for each leader, so that a tab that was frozen and thaws is not taken for the leader any more.

use super::Purpose;
use super::{Engine, FeedPlace, Meta};
use crate::cache::Slot;
use crate::event::{Effect, Event, ObserverId};
use crate::key::{ListKey, Query};
use crate::maps::{Few, Map};
use crate::tab::{ListNews, News, RowNews, TabId, TabMessage, Watched};
use pmo_domain::EntityRef;
use serde_json::value::RawValue;
use std::sync::Arc;

/// How often a follower says again what it looks at, in milliseconds.
const SAY_AGAIN: f64 = 30_000.0;
/// A follower that was silent for this long is gone, in milliseconds.
const SILENT: f64 = 100_000.0;
/// Observers of other tabs have numbers from here on.
const REMOTE: u64 = 1 << 62;

/// Another tab, as the leader knows it.
struct Follower {
    heard_at: f64,
    looks_at: String,
    observers: Few<Query, ObserverId>,
}

/// What is known of the other tabs.
#[derive(Default)]
pub(super) struct Tabs {
    /// The leader's term: this tab's own where it leads, else the last heard of.
    pub(super) term: u64,
    /// When the leader was last heard of.
    leader_heard_at: f64,
    /// What the leader said of the server.
    pub(super) status: (bool, bool),
    /// What the leader keeps whole.
    pub(super) kept: Vec<(EntityRef, usize, bool)>,
    followers: Map<TabId, Follower>,
    next_observer: u64,
    /// What this tab looks at has changed, or is to be said again.
    pub(super) to_say: bool,
    said_at: f64,
    beat_at: f64,
    /// What followers are to be told at the end of this event.
    pub(super) news: News,
    steal_asked_at: f64,
    reread_at: f64,
    /// When anything last happened here.
    happened_at: f64,
    /// Nothing happened for so long that another tab may have taken over: until that is known the outbox is left alone.
    pub(super) in_doubt: bool,
    /// What waits for that.
    held_back: Vec<Event>,
}

impl Engine {
    pub(super) fn tab_said(&mut self, message: TabMessage, now: f64) {
        if self.person.is_none() {
            return;
        }
        match message {
            TabMessage::Leading { term, new } => {
                if self.leader {
                    if term > self.tabs.term {
                        self.depose(now);
                    }
                    return;
                }
                if term < self.tabs.term {
                    return;
                }
                self.tabs.term = term;
                self.tabs.leader_heard_at = now;
                self.tabs.to_say |= new;
                if new {
                    self.effects.push(Effect::RereadWork);
                }
            }
            TabMessage::Watching { tab, watched, looking } if self.leader => {
                self.follower_watches(tab, watched, looking, now)
            }
            TabMessage::Refetch { query } if self.leader => self.refetch(query, now),
            TabMessage::More { key } if self.leader => self.fetch_more(key),
            TabMessage::Decide { entry, seen, choice } if self.leader => self.settle(entry, seen, choice, now),
            TabMessage::Keep { entity, on } if self.leader => self.keep_offline(entity, on, now),
            TabMessage::Discard { entry } if self.leader => self.discard_entry(entry, now),
            TabMessage::Reopen { entry } if self.leader => self.reopen(entry, now),
            TabMessage::Bye { tab } => self.follower_gone(tab, now),
            TabMessage::News(news) if !self.leader && news.term >= self.tabs.term => {
                self.tabs.term = news.term;
                self.tabs.leader_heard_at = now;
                self.take_news(*news, now);
            }
            _ => {}
        }
    }

    /// A leader to whom nothing happened for longer than its silence is borne may have been replaced meanwhile.
    pub(super) fn doubt_after_silence(&mut self, now: f64) {
        let silence = now - std::mem::replace(&mut self.tabs.happened_at, now);
        if self.leader && self.person.is_some() && silence > self.settings.beat_missing && !self.tabs.in_doubt {
            self.tabs.in_doubt = true;
            self.effects.push(Effect::ConfirmLead);
        }
    }

    /// What changes the outbox waits while it is not known whether this tab leads.
    pub(super) fn unless_in_doubt(&mut self, event: Event) -> Option<Event> {
        let waits = self.tabs.in_doubt
            && match &event {
                Event::Settle { .. } | Event::Discard(_) | Event::Reopen(_) => true,
                Event::Tab(TabMessage::Decide { .. } | TabMessage::Discard { .. } | TabMessage::Reopen { .. }) => true,
                Event::Answered(id, _) => matches!(self.requests.get(id), Some(Purpose::Write(_))),
                _ => false,
            };
        if waits {
            self.tabs.held_back.push(event);
            return None;
        }
        Some(event)
    }

    /// It is known whether this tab leads: what waited happens now.
    pub(super) fn confirmed(&mut self, term: u64, now: f64) -> Vec<Effect> {
        self.tabs.in_doubt = false;
        let mut effects = Vec::new();
        if term > self.tabs.term {
            effects.extend(self.handle(Event::Deposed, now));
        }
        for event in std::mem::take(&mut self.tabs.held_back) {
            effects.extend(self.handle(event, now));
        }
        effects.extend(self.handle(Event::Tick, now));
        effects
    }

    /// This tab leads no more: another has taken over.
    pub(super) fn depose(&mut self, now: f64) {
        if !self.leader {
            return;
        }
        self.leader = false;
        self.tabs.in_doubt = false;
        if let Some(place) = self.swept_from.take() {
            self.cursor = place;
        }
        let remote: Vec<ObserverId> = self.observers.keys().filter(|id| id.0 >= REMOTE).copied().collect();
        for id in remote {
            self.unobserve(id, 0.0);
        }
        self.tabs.followers.clear();
        for (id, _) in std::mem::take(&mut self.requests) {
            self.effects.push(Effect::Cancel(id));
        }
        self.in_flight.clear();
        self.rows_in_flight.clear();
        self.wanted.clear();
        for entry in &mut self.outbox {
            entry.sending = false;
        }
        self.leave_trees(now);
        self.session.idle();
        self.subscribed.clear();
        self.unanswered.clear();
        self.resuming = None;
        self.effects.push(Effect::Disconnect);
        self.tabs.to_say = true;
        self.let_go_unwatched();
    }

    fn follower_watches(&mut self, tab: TabId, watched: Vec<Watched>, looks_at: String, now: f64) {
        self.tell_others(&looks_at);
        let known = self.tabs.followers.remove(&tab).map(|f| f.observers);
        // What a tab holds that is heard of for the first time may be of before a sweep that it was not told of.
        self.tabs.news.swept |= known.is_none();
        if known.is_none() {
            self.tabs.news.kept = Some(self.kept_trees());
        }
        let known = known.unwrap_or_default();
        let mut observers = Few::default();
        for Watched { query, digest } in watched {
            let id = match known.get(&query) {
                Some(id) => *id,
                None => {
                    self.tabs.next_observer += 1;
                    let id = ObserverId(REMOTE + self.tabs.next_observer);
                    self.observe(id, query.clone(), now);
                    id
                }
            };
            self.bring_up_to_date(&query, digest);
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
    fn bring_up_to_date(&mut self, query: &Query, digest: u64) {
        if let Query::List(key) = query
            && !self.in_flight.contains_key(query)
            && !self.failed.contains(query)
            && self.cache.get_list(key).is_some_and(|list| !list.loaded)
        {
            // It has been asked for, and the thing above it is not there.
            self.tabs.news.lists_gone.push(key.clone());
        } else if self.digest(query) != digest {
            match query {
                Query::Row(entity) => {
                    let told = self.cache.find(entity).and_then(|slot| self.row_news(slot));
                    // Not held and not asked for: it has been asked for, and is not there.
                    if told.is_none() && !self.in_flight.contains_key(query) && !self.failed.contains(query) {
                        self.tabs.news.gone.push(entity.clone());
                    }
                    self.tabs.news.rows.extend(told);
                }
                Query::List(key) => {
                    let held = self.cache.get_list(key).filter(|l| l.loaded && !l.filling).map(|l| l.slots().to_vec());
                    for slot in held.into_iter().flatten() {
                        self.tabs.news.rows.extend(self.row_news(slot));
                    }
                    self.tabs.news.lists.extend(self.list_news(key));
                }
                Query::Meta(key) => {
                    let held = self.metas.get(key).map(|meta| (*key, (*meta.data).clone()));
                    self.tabs.news.metas.extend(held);
                }
            }
        }
        if !self.in_flight.contains_key(query) {
            let well = !self.failed.contains(query);
            self.tabs.news.settled.push((query.clone(), well && self.holds(query)));
        }
    }

    fn holds(&self, query: &Query) -> bool {
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
    pub(super) fn followers_look_at(&self) -> Vec<String> {
        self.tabs.followers.values().map(|follower| follower.looks_at.clone()).collect()
    }

    /// How many other tabs say what they look at.
    pub(super) fn followers(&self) -> usize {
        self.tabs.followers.len()
    }

    pub(super) fn has_followers(&self) -> bool {
        self.leader && !self.tabs.followers.is_empty()
    }

    pub(super) fn row_news(&self, slot: Slot) -> Option<RowNews> {
        let row = self.cache.row(slot)?;
        let text = row.base.as_ref()?.as_str().to_owned();
        let code = self.cache.code(slot);
        Some(RowNews { code, permission: row.permission, row: RawValue::from_string(text).ok()? })
    }

    pub(super) fn list_news(&self, key: &ListKey) -> Option<ListNews> {
        let list = self.cache.get_list(key).filter(|list| list.loaded && !list.derived && !list.filling)?;
        Some(ListNews {
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
            Query::Row(entity) => self.cache.find(entity).map_or(0, of_row),
            Query::List(key) => {
                let list = self.cache.get_list(key).filter(|l| l.loaded && !l.filling);
                list.map_or(0, |list| list.slots().iter().fold(1, |sum: u64, slot| sum.rotate_left(1) ^ of_row(*slot)))
            }
            Query::Meta(key) => self.metas.get(key).map_or(0, |meta| meta.data.to_string().len() as u64),
        }
    }

    fn take_news(&mut self, news: News, now: f64) {
        self.tabs.status = news.status;
        if let Some((epoch, _)) = &news.feed {
            self.begin_epoch(epoch);
        }
        for (key, data) in news.metas {
            self.take_meta(key, Meta { data: Arc::new(data), synced_at: now, stale: false });
            self.changed(Query::Meta(key));
        }
        self.names.extend(news.names);
        self.others_are(news.present);
        if let Some(kept) = news.kept {
            for (root, _, _) in self.tabs.kept.iter().chain(&kept) {
                self.changed.insert(Query::Row(root.clone()));
            }
            self.tabs.kept = kept;
        }
        for RowNews { code, permission, row } in news.rows {
            if let Some(slot) = self.take_told_row(&code, row.get(), permission, now) {
                self.follow(slot);
            }
        }
        for entity in news.gone {
            self.forget(&entity, now);
        }
        if news.swept {
            self.let_go_unwatched();
        }
        for list in news.lists {
            self.take_told_list(list);
        }
        for key in news.lists_gone {
            let slots = self.cache.get_list(&key).map(|list| list.slots().to_vec()).unwrap_or_default();
            for slot in slots {
                self.not_believed(slot);
            }
            self.empty_list(&key);
        }
        for (query, well) in news.settled {
            self.in_flight.remove(&query);
            if well {
                self.failed.remove(&query);
                self.confirmed_by_leader(&query);
            } else {
                self.failed.insert(query.clone());
            }
            self.changed(query);
        }
        if let Some((epoch, cursor)) = news.feed {
            self.cursor = Some(FeedPlace { epoch, cursor });
        }
    }

    /// What is held of a query is what the leader holds.
    fn confirmed_by_leader(&mut self, query: &Query) {
        let slots = match query {
            Query::Row(entity) => self.cache.find(entity).into_iter().collect(),
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
    fn let_go_unwatched(&mut self) {
        let unwatched = |list: &crate::cache::CachedList| list.observed == 0;
        let lists: Vec<_> = self.cache.lists().filter(|(_, list)| unwatched(list)).map(|(index, _)| index).collect();
        let needed: Vec<ListKey> = self
            .cache
            .lists()
            .filter(|(_, l)| l.derived && l.observed > 0)
            .filter_map(|(_, l)| l.key.whole())
            .collect();
        for index in lists {
            if self.cache.list(index).is_some_and(|list| !needed.contains(&list.key)) {
                self.cache.drop_list(index);
            }
        }
        let rows: Vec<(Slot, bool)> = self
            .cache
            .rows()
            .filter(|(_, row)| row.observed == 0 && row.lists.is_empty())
            .map(|(slot, row)| (slot, row.local.is_some()))
            .collect();
        for (slot, written) in rows {
            // What was written here stays; what it was written on goes.
            if written { self.not_believed(slot) } else { self.let_go(slot) }
        }
    }

    /// A row leaves memory; what the device holds of it stays.
    pub(super) fn let_go(&mut self, slot: Slot) {
        if let Some(entity) = self.cache.entity(slot) {
            self.changed.insert(Query::Row(entity));
        }
        self.cache.release(slot, true);
    }

    /// The leader knows nothing of a row where this tab has it: what is held of it is let go, and told anew where it is elsewhere.
    fn not_believed(&mut self, slot: Slot) {
        let made_here = self.cache.entity(slot).is_some_and(|entity| self.is_made_here(&entity));
        if let Some(row) = self.cache.row_mut(slot).filter(|row| row.observed == 0 && !made_here) {
            row.set_base(None);
            (row.version, row.floor, row.unread) = (0, 0, false);
            self.refresh(slot, true);
        }
    }

    fn take_told_list(&mut self, news: ListNews) {
        let index = self.cache.list_place(&news.key, &self.catalogue);
        let slots: Vec<Slot> = news
            .ids
            .iter()
            .filter_map(|id| self.cache.find(&EntityRef::new(news.key.code.clone(), *id)))
            .filter(|slot| self.cache.row(*slot).is_some_and(|row| row.is_shown() || row.unread))
            .collect();
        if let Some(list) = self.cache.list_mut(index) {
            (list.loaded, list.complete, list.filling, list.derived) = (true, news.complete, false, false);
            (list.stale, list.synced_at) = (false, news.synced_at);
        }
        let untold = self.untold(index, &slots);
        self.cache.set_rows(index, slots);
        for slot in untold {
            let Some(entity) = self.cache.entity(slot) else { continue };
            if self.is_made_here(&entity) {
                self.refresh(slot, true);
            } else {
                self.not_believed(slot);
            }
        }
        self.derive_parts(index, &news.key);
        self.changed(Query::List(news.key));
    }

    /// At the end of every event: a leader tells its news, a follower says what it looks at.
    pub(super) fn speak(&mut self, now: f64) {
        if self.person.is_none() {
            return;
        }
        if self.leader {
            let status = (self.browser_online && self.reachable, self.is_live());
            let said = std::mem::replace(&mut self.tabs.status, status);
            let news = std::mem::take(&mut self.tabs.news);
            if !self.tabs.followers.is_empty() && (!news.is_empty() || said != status) {
                let feed = self.safe_cursor().map(|place| (place.epoch.clone(), place.cursor.clone()));
                let news = News { term: self.tabs.term, status, feed, ..news };
                self.effects.push(Effect::Tell(TabMessage::News(Box::new(news))));
            }
            return;
        }
        self.tabs.news = News::default();
        if std::mem::take(&mut self.tabs.to_say) {
            self.tabs.said_at = now;
            let watched = self
                .observed
                .keys()
                .map(|query| {
                    // A part of a whole list: the whole is what the leader asks for.
                    let derived = match query {
                        Query::List(key) => self.cache.get_list(key).filter(|l| l.derived).and_then(|l| l.key.whole()),
                        _ => None,
                    };
                    let query = derived.map_or_else(|| query.clone(), Query::List);
                    Watched { digest: self.digest(&query), query }
                })
                .collect();
            self.effects.push(Effect::Tell(TabMessage::Watching { tab: self.tab, watched, looking: self.looks_at() }));
        }
    }

    pub(super) fn tick_tabs(&mut self, now: f64) {
        if now - self.tabs.reread_at >= SAY_AGAIN {
            self.tabs.reread_at = now;
            self.effects.push(Effect::RereadWork);
        }
        if self.leader {
            if now - self.tabs.beat_at >= self.settings.beat {
                self.tabs.beat_at = now;
                self.effects.push(Effect::Tell(TabMessage::Leading { term: self.tabs.term, new: false }));
            }
            let silent: Vec<TabId> =
                self.tabs.followers.iter().filter(|(_, f)| now - f.heard_at > SILENT).map(|(tab, _)| *tab).collect();
            silent.into_iter().for_each(|tab| self.follower_gone(tab, now));
            return;
        }
        if now - self.tabs.said_at >= SAY_AGAIN {
            self.tabs.to_say = true;
        }
        let missing = now - self.tabs.leader_heard_at.max(self.tabs.steal_asked_at) > self.settings.beat_missing;
        if self.shown && missing {
            // It has been closed, or is frozen: who is looked at takes over.
            self.tabs.steal_asked_at = now;
            self.effects.push(Effect::TakeOver);
        }
    }

    /// A tab that has just begun waits for a leader's word as long as for one that went silent.
    pub(super) fn tabs_began(&mut self, term: u64, now: f64) {
        self.tabs.leader_heard_at = now;
        self.tabs.reread_at = now;
        self.tabs.term = term;
        self.tabs.to_say = true;
        if self.leader {
            self.effects.push(Effect::Tell(TabMessage::Leading { term, new: true }));
        }
    }
}
