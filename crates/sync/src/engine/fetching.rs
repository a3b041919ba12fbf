//! Reads: what to ask, and what an answer means. A failed refetch never replaces good data; a 404 is no failure, it removes the row.

use super::{Engine, Purpose, Retry, STALE_MS};
use crate::event::{Answer, Effect, Failure, Method, Request, RequestId};
use crate::key::{ListKey, MetaKey, Query};
use crate::store::{StoreOp, StoredList, StoredMeta, StoredRow};
use pmo_domain::rest::{IDS_LIMIT, ListAnswer, id_of, version_of};
use pmo_domain::{EntityCode, EntityRef, Row};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;

/// Tries in a row before a query waits for somebody to look again or for the network to return.
const RETRIES: u32 = 3;

fn get(path: String) -> Request {
    Request { method: Method::Get, path, body: None, if_match: None, idempotency_key: None }
}

impl Engine {
    /// Asks for a query unless what is held can be believed.
    pub(super) fn ensure(&mut self, query: Query, now: f64) {
        if self.in_flight.contains(&query) || self.retries.get(&query).is_some_and(|r| r.at > now) || !self.token_good {
            return;
        }
        let watched = self.subscribed.contains(&query);
        let believable = |synced_at: f64, stale: bool| !stale && watched && now - synced_at < STALE_MS;
        let fresh = match &query {
            Query::Row(entity) => self.cache.rows.get(entity).is_some_and(|row| {
                // What was made here and is not sent can't be asked for.
                let only_here = row.base.is_none() && row.pending;
                let level_known = row.base.as_ref().is_some_and(|b| b.contains_key("permission"));
                only_here || (level_known && believable(row.synced_at, row.stale))
            }),
            Query::List(key) => self.cache.lists.get(key).is_some_and(|l| l.loaded && believable(l.synced_at, l.stale)),
            Query::Meta(key) => self.metas.get(key).is_some_and(|m| !m.2 && now - m.1 < STALE_MS),
        };
        if fresh {
            return;
        }
        if let Query::List(key) = &query
            && key
                .below
                .as_ref()
                .is_some_and(|b| self.cache.rows.get(&b.parent).is_some_and(|p| p.base.is_none() && p.pending))
        {
            // Below something that was made here there is only what was made here.
            self.cache.lists.entry(key.clone()).or_default().loaded = true;
            return;
        }
        let (purpose, path) = match &query {
            Query::Row(entity) => (Purpose::Row(entity.clone()), format!("/{}/{}", entity.code, entity.id)),
            Query::List(key) => {
                (Purpose::Page { key: key.clone(), collected: Vec::new(), feed_cursor: None }, key.path())
            }
            Query::Meta(key) => (Purpose::Meta(*key), key.path().to_owned()),
        };
        self.in_flight.insert(query);
        self.request(purpose, get(path));
    }

    /// Asks for wanted rows, up to 200 in one request, one request a type at a time; what is looked at comes first.
    pub(super) fn flush_wanted(&mut self, now: f64) {
        if !self.token_good || !self.status().online {
            return;
        }
        let due = |code: &EntityCode| self.rows_retry.get(code).is_none_or(|retry| retry.at <= now);
        let codes: Vec<EntityCode> =
            self.wanted.keys().filter(|c| !self.rows_in_flight.contains(*c) && due(c)).cloned().collect();
        for code in codes {
            let Some(ids) = self.wanted.remove(&code) else { continue };
            let looked_at: HashSet<Uuid> = self
                .cache
                .lists
                .iter()
                .filter(|(key, _)| key.code == code && self.observed.contains_key(&Query::List((*key).clone())))
                .flat_map(|(_, list)| list.ids.iter().copied())
                .collect();
            let seen = |id: &Uuid| {
                looked_at.contains(id) || self.observed.contains_key(&Query::Row(EntityRef::new(code.clone(), *id)))
            };
            let (mut first, rest): (Vec<Uuid>, Vec<Uuid>) = ids.into_iter().partition(seen);
            first.extend(rest);
            let later = first.split_off(first.len().min(IDS_LIMIT));
            if !later.is_empty() {
                self.wanted.insert(code.clone(), later.into_iter().collect());
            }
            let list: Vec<String> = first.iter().map(Uuid::to_string).collect();
            self.rows_in_flight.insert(code.clone());
            self.request(Purpose::Rows(code.clone(), first), get(format!("/{code}?ids={}", list.join(","))));
        }
    }

    pub(super) fn answered(&mut self, id: RequestId, answer: Result<Answer, Failure>, now: f64) {
        let Some(purpose) = self.requests.remove(&id) else { return };
        self.answering = id.0;
        match &answer {
            Ok(_) => {
                self.reachable = true;
                self.renewals = 0;
            }
            Err(Failure::Network) => self.reachable = false,
            Err(Failure::Refused(problem)) => {
                self.reachable = true;
                if problem.status == 401 && self.token_good {
                    self.token_good = false;
                    self.effects.push(Effect::RenewToken);
                }
            }
        }
        match purpose {
            Purpose::Write(entry) => self.write_answered(entry, answer, now),
            Purpose::Row(entity) => self.row_answered(entity, answer, now),
            Purpose::Rows(code, ids) => self.rows_answered(code, ids, answer, now),
            Purpose::Page { key, collected, feed_cursor } => {
                self.page_answered(key, collected, feed_cursor, answer, now)
            }
            Purpose::Meta(key) => self.meta_answered(key, answer, now),
        }
        self.answering = u64::MAX;
        let oldest = self.requests.keys().map(|r| r.0).min().unwrap_or(u64::MAX);
        self.gone.retain(|_, next| oldest < *next);
    }

    /// Plans another try after a failure.
    fn failed(&mut self, query: Query, now: f64) {
        self.in_flight.remove(&query);
        let attempts = self.retries.get(&query).map_or(0, |r| r.attempts) + 1;
        // After the last try it waits long; a look, the network's return or the page being shown try at once.
        let wait = if attempts > RETRIES { 60_000.0 } else { 1000.0 * 2f64.powi(attempts.min(5) as i32 - 1) };
        self.retries.insert(query.clone(), Retry { attempts, at: now + wait });
        self.failed.insert(query.clone());
        self.changed(query);
    }

    fn succeeded(&mut self, query: &Query) {
        self.in_flight.remove(query);
        self.retries.remove(query);
        self.failed.remove(query);
    }

    fn row_answered(&mut self, entity: EntityRef, answer: Result<Answer, Failure>, now: f64) {
        let query = Query::Row(entity.clone());
        match answer {
            Ok(answer) => {
                self.succeeded(&query);
                let Value::Object(row) = answer.body else { return self.failed(query, now) };
                if self.take_row(&entity.code, row, now) {
                    self.watch(&query, answer.feed_cursor);
                }
                self.changed(query);
            }
            Err(Failure::Refused(problem)) if matches!(problem.status, 404 | 400) => {
                self.succeeded(&query);
                self.forget(&entity, now);
                self.changed(query);
            }
            Err(_) => self.failed(query, now),
        }
    }

    fn rows_answered(&mut self, code: EntityCode, ids: Vec<Uuid>, answer: Result<Answer, Failure>, now: f64) {
        self.rows_in_flight.remove(&code);
        match answer.ok().and_then(|a| serde_json::from_value::<ListAnswer>(a.body).ok()) {
            Some(list) => {
                self.rows_retry.remove(&code);
                self.learn_names(list.references);
                let present: HashSet<Uuid> = list.data.iter().filter_map(id_of).collect();
                for row in list.data {
                    self.take_row(&code, row, now);
                }
                for id in ids.into_iter().filter(|id| !present.contains(id)) {
                    self.forget(&EntityRef::new(code.clone(), id), now);
                }
            }
            // Asked for again at the next chance; until then what is held stays, marked stale.
            None => {
                let attempts = self.rows_retry.get(&code).map_or(0, |r| r.attempts) + 1;
                let wait = (500.0 * 2f64.powi(attempts.min(7) as i32)).min(30_000.0);
                self.rows_retry.insert(code.clone(), Retry { attempts, at: now + wait });
                self.wanted.entry(code).or_default().extend(ids);
            }
        }
    }

    fn page_answered(
        &mut self,
        key: ListKey,
        mut collected: Vec<Row>,
        feed_cursor: Option<String>,
        answer: Result<Answer, Failure>,
        now: f64,
    ) {
        let query = Query::List(key.clone());
        let answer = match answer {
            Ok(answer) => answer,
            Err(Failure::Refused(problem)) if problem.status == 404 => {
                // The thing above is gone for this person, and what is below with it.
                self.succeeded(&query);
                if let Some(below) = &key.below {
                    let parent = below.parent.clone();
                    self.forget(&parent, now);
                }
                self.torn_lists.insert(key.clone());
                let held = self.cache.lists.remove(&key).map(|l| l.ids).unwrap_or_default();
                for id in held {
                    self.forget(&EntityRef::new(key.code.clone(), id), now);
                }
                return self.changed(query);
            }
            Err(_) => return self.failed(query, now),
        };
        let feed_cursor = feed_cursor.or(answer.feed_cursor);
        let Ok(page) = serde_json::from_value::<ListAnswer>(answer.body) else { return self.failed(query, now) };
        self.learn_names(page.references);
        collected.extend(page.data);
        if let Some(next) = page.next_cursor {
            let path = format!("{}&cursor={next}", key.path());
            return self.request(Purpose::Page { key, collected, feed_cursor }, get(path));
        }
        self.succeeded(&query);
        let ids: Vec<Uuid> = collected.iter().filter_map(id_of).collect();
        for row in collected {
            self.take_row_quietly(&key.code, row, now);
        }
        let old: Vec<Uuid> = self.cache.lists.get(&key).map(|l| l.ids.clone()).unwrap_or_default();
        let now_here: HashSet<Uuid> = ids.iter().copied().collect();
        let mut ids = ids;
        for id in old.into_iter().filter(|id| !now_here.contains(id)) {
            let entity = EntityRef::new(key.code.clone(), id);
            let made_here = self.outbox.iter().any(|e| e.entity == entity && super::is_create(e));
            if made_here {
                ids.push(id);
            } else {
                // It left this list: gone, moved elsewhere, or made after the answer was read; asking for it tells.
                self.want(&entity);
            }
        }
        let list = self.cache.lists.entry(key.clone()).or_default();
        *list = crate::cache::CachedList { ids, synced_at: now, stale: false, loaded: true };
        self.torn_lists.insert(key);
        self.watch(&query, feed_cursor);
        self.changed(query);
    }

    fn meta_answered(&mut self, key: MetaKey, answer: Result<Answer, Failure>, now: f64) {
        let query = Query::Meta(key);
        match answer {
            Ok(answer) if !answer.body.is_null() => {
                self.succeeded(&query);
                self.metas.insert(key, (Arc::new(answer.body.clone()), now, false));
                self.ops.push(StoreOp::PutMeta(StoredMeta { key, data: answer.body, synced_at: now }));
                self.changed(query);
            }
            _ => self.failed(query, now),
        }
    }

    /// Writes lists that have lost rows, or were told anew, to the device as a whole: what is gone must not stay in an old chunk.
    pub(super) fn mend_lists(&mut self) {
        for key in std::mem::take(&mut self.torn_lists) {
            let Some(list) = self.cache.lists.get(&key).filter(|l| l.loaded) else {
                self.ops.push(StoreOp::RemoveList(key));
                continue;
            };
            let rows = list
                .ids
                .iter()
                .filter_map(|id| {
                    let entity = EntityRef::new(key.code.clone(), *id);
                    let row = self.cache.rows.get(&entity)?;
                    Some(StoredRow { data: Some((**row.base.as_ref()?).clone()), synced_at: row.synced_at, entity })
                })
                .collect();
            self.ops.push(StoreOp::PutList(StoredList { ids: list.ids.clone(), synced_at: list.synced_at, key }, rows));
        }
        let names = std::mem::take(&mut self.forgotten_names);
        if !names.is_empty() {
            self.ops.push(StoreOp::RemoveNames(names));
        }
    }

    pub(super) fn want(&mut self, entity: &EntityRef) {
        self.wanted.entry(entity.code.clone()).or_default().insert(entity.id);
    }

    fn learn_names(&mut self, names: BTreeMap<String, BTreeMap<Uuid, String>>) {
        let mut news: BTreeMap<String, BTreeMap<Uuid, String>> = BTreeMap::new();
        for (code, names) in names {
            let known = self.names.entry(code.clone()).or_default();
            for (id, name) in names {
                if known.get(&id) != Some(&name) {
                    known.insert(id, name.clone());
                    news.entry(code.clone()).or_default().insert(id, name);
                }
            }
        }
        if !news.is_empty() {
            self.ops.push(StoreOp::PutNames(news));
        }
    }

    /// Takes a row that the server told, into memory, the device and the lists. False where it was too old to count, and is asked for
    /// again.
    pub(super) fn take_row(&mut self, code: &EntityCode, row: Row, now: f64) -> bool {
        let Some(id) = id_of(&row) else { return true };
        let entity = EntityRef::new(code.clone(), id);
        let taken = self.take_row_quietly(code, row, now);
        if let Some(known) = self.cache.rows.get(&entity)
            && let Some(base) = &known.base
            && taken
        {
            let stored = StoredRow { entity: entity.clone(), data: Some((**base).clone()), synced_at: now };
            self.ops.push(StoreOp::PutRow(stored));
        }
        let base = self.cache.rows.get(&entity).and_then(|r| r.base.clone());
        let moved = self.cache.place(&entity, base.as_deref());
        for key in moved {
            if let Some(list) = self.cache.lists.get(&key) {
                self.ops.push(StoreOp::PutListIds(StoredList {
                    key: key.clone(),
                    ids: list.ids.clone(),
                    synced_at: list.synced_at,
                }));
            }
            self.changed(Query::List(key));
        }
        self.refresh(&entity, false);
        taken
    }

    /// Takes a row into memory alone.
    fn take_row_quietly(&mut self, code: &EntityCode, mut row: Row, now: f64) -> bool {
        let Some(id) = id_of(&row) else { return true };
        let entity = EntityRef::new(code.clone(), id);
        if let Some(names) = row.remove("ref_data_entityInstance") {
            self.learn_names(serde_json::from_value(names).unwrap_or_default());
        }
        if self.gone.get(&entity).is_some_and(|next| self.answering < *next) {
            // Asked for before it went: whether it is there again only a new question tells.
            self.want(&entity);
            return false;
        }
        let version = version_of(&row).0;
        let known = self.cache.rows.entry(entity.clone()).or_default();
        if version < known.floor || version < known.version() {
            // Nothing goes back in time: an older answer is thrown away, and the newer asked for unless it is held.
            if known.version() < known.floor {
                known.stale = true;
                self.want(&entity);
            }
            return false;
        }
        if !row.contains_key("permission")
            && let Some(level) = known.base.as_ref().and_then(|b| b.get("permission"))
        {
            row.insert("permission".into(), level.clone());
        }
        if known.base.as_deref() != Some(&row) {
            known.base = Some(Arc::new(row));
        }
        known.synced_at = now;
        known.stale = false;
        if self.show(&entity) {
            self.changed(Query::Row(entity));
        }
        true
    }

    /// A thing is gone for this person: from memory, lists and the device.
    pub(super) fn forget(&mut self, entity: &EntityRef, now: f64) {
        self.gone.insert(entity.clone(), self.next_request + 1);
        if let Some(names) = self.names.get_mut(entity.code.as_str())
            && names.remove(&entity.id).is_some()
        {
            self.forgotten_names.entry(entity.code.to_string()).or_default().insert(entity.id);
        }
        if let Some(wanted) = self.wanted.get_mut(&entity.code) {
            wanted.remove(&entity.id);
        }
        let holding: Vec<ListKey> = self.cache.lists_with(entity).cloned().collect();
        self.torn_lists.extend(holding);
        let Some(known) = self.cache.rows.get_mut(entity) else { return };
        let was_there = known.base.take().is_some();
        known.synced_at = now;
        self.ops.push(StoreOp::PutRow(StoredRow { entity: entity.clone(), data: None, synced_at: now }));
        if was_there || known.shown.is_some() {
            self.refresh(entity, true);
        }
        if self.cache.rows.get(entity).is_some_and(|r| r.shown.is_none() && !r.pending && !r.attention) {
            self.cache.rows.remove(entity);
        }
    }
}
