//! The promises as oracles. Each looks at what a person could see: what is shown, what lies on the device, what the database has in the end.

use crate::model_database::ModelDatabase;
use crate::simulation::TabRef;
use pmo_domain::{EntityRef, PersonId, Row};
use pmo_sync::chunk_codec::unpack;
use pmo_sync::store::KeySelector;
use pmo_sync::{Engine, EntryState, MemoryStore, Namespace, Operation, OutboxEntry, Write};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use uuid::Uuid;

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Its name.
    pub invariant: &'static str,
    /// How.
    pub detail: String,
}

impl Violation {
    /// A promise that was broken.
    pub fn new(promise: &'static str, how: String) -> Self {
        Self { invariant: promise, detail: how }
    }
}

const CONVERGENCE: &str = "nothing is missed";
const MONOTONIC_READS: &str = "nothing goes back in time";
const CONFIDENTIALITY: &str = "nothing leaks";
const EXACTLY_ONCE: &str = "no write is lost, none is applied twice";
const NO_LOST_UPDATE: &str = "no silent overwrite";
const DRAFT_DURABILITY: &str = "drafts survive";

/// Something that a person typed.
struct UserInput {
    device: usize,
    entity: EntityRef,
    column: &'static str,
    /// What they had before their eyes.
    seen: Vec<Value>,
    saved: bool,
    discarded: bool,
}

/// What the oracles remember.
#[derive(Default)]
pub struct OracleState {
    stamps: HashMap<(usize, usize), (TabRef, HashMap<EntityRef, i64>)>,
    typed: BTreeMap<String, UserInput>,
    /// In order of typing.
    order: Vec<String>,
    drafts: HashMap<(usize, EntityRef), BTreeSet<String>>,
    saved_drafts: HashSet<(usize, EntityRef)>,
}

/// The tokens in some bytes.
fn extract_tokens(bytes: &[u8], kind: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.match_indices(kind)
        .filter_map(|(at, _)| {
            let rest = text.get(at + kind.len()..)?;
            Some(format!("{kind}{}-", rest.split('-').next()?))
        })
        .collect()
}

impl OracleState {
    /// A tab has opened: what it shows first may be old.
    pub fn record_tab_opened(&mut self, place: TabRef) {
        self.stamps.insert((place.device, place.tab), (place, HashMap::new()));
    }

    /// A row is shown with this version of the database, or not at all.
    pub fn check_monotonic_reads(
        &mut self,
        place: TabRef,
        entity: &EntityRef,
        stamp: Option<i64>,
    ) -> Option<Violation> {
        let (_, stamps) = self.stamps.get_mut(&(place.device, place.tab)).filter(|(known, _)| *known == place)?;
        let Some(stamp) = stamp else {
            stamps.remove(entity);
            return None;
        };
        let before = stamps.insert(entity.clone(), stamp)?;
        (stamp < before)
            .then(|| Violation::new(MONOTONIC_READS, format!("{entity} was shown at {before} and then at {stamp}")))
    }

    /// A person typed something while they saw something.
    pub fn record_input(
        &mut self,
        device: usize,
        token: &str,
        entity: &EntityRef,
        column: &'static str,
        before: &Value,
    ) {
        let mut seen = vec![before.clone()];
        if let Some(earlier) = before.as_str().and_then(|text| self.typed.get(text)) {
            seen.extend(earlier.seen.iter().cloned());
        }
        let typed = UserInput { device, entity: entity.clone(), column, seen, saved: false, discarded: false };
        self.typed.insert(token.to_owned(), typed);
        self.order.push(token.to_owned());
    }

    /// A person deleted a thing, and with it what they had typed into it.
    pub fn record_delete(&mut self, device: usize, entity: &EntityRef) {
        for typed in self.typed.values_mut().filter(|t| t.device == device && t.entity == *entity) {
            typed.discarded = true;
        }
    }

    /// A person looked at a conflict and chose.
    pub fn record_conflict_seen(&mut self, entry: &OutboxEntry, current: &Row) {
        let bytes = serde_json::to_vec(&entry.operation).unwrap_or_default();
        for token in extract_tokens(&bytes, "token-") {
            if let Some(typed) = self.typed.get_mut(&token) {
                typed.seen.push(current.get(typed.column).cloned().unwrap_or_default());
            }
        }
    }

    /// These writes are said to be on disk.
    pub fn record_persisted(&mut self, device: usize, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Put(Namespace::Outbox, _, bytes) | Write::PutFenced(Namespace::Outbox, _, bytes) => {
                    for token in extract_tokens(bytes, "token-") {
                        if let Some(typed) = self.typed.get_mut(&token) {
                            typed.saved = true;
                        }
                    }
                }
                Write::Put(Namespace::Drafts, _, bytes) => {
                    let found: BTreeSet<String> = extract_tokens(bytes, "draft-").into_iter().collect();
                    let concerned =
                        self.drafts.iter().filter(|((of, _), known)| *of == device && !known.is_disjoint(&found));
                    self.saved_drafts.extend(concerned.map(|(key, _)| key.clone()));
                }
                _ => {}
            }
        }
    }

    /// A field of a draft was typed.
    pub fn record_draft(&mut self, device: usize, entity: &EntityRef, token: &str) {
        self.drafts.entry((device, entity.clone())).or_default().insert(token.to_owned());
    }

    /// A draft was given up.
    pub fn record_draft_discarded(&mut self, device: usize, entity: &EntityRef) {
        // What had been set aside in it goes with it.
        self.record_delete(device, entity);
        self.drafts.remove(&(device, entity.clone()));
        self.saved_drafts.remove(&(device, entity.clone()));
    }

    /// Every row that is held and believed is what a fresh GET answers; every list that is looked at holds what it should.
    pub fn check_cache_converged(
        &self,
        engine: &Engine,
        who: PersonId,
        database: &ModelDatabase,
    ) -> Result<(), Violation> {
        let plain = |mut row: Row| {
            row.remove("permission");
            row.remove("ref_data_entityInstance");
            row
        };
        for held in engine.cached_rows() {
            if let Some(task) = database.tasks.get(&held.entity.id)
                && !database.can_view(who, task.project)
            {
                return Err(Violation::new(CONFIDENTIALITY, format!("{held:?} may not be seen")));
            }
            if held.stale {
                if held.observed {
                    let (leads, status) = (engine.is_leader(), engine.status());
                    let how = format!("{held:?} is looked at and not believed (leads: {leads}, status {status:?})");
                    return Err(Violation::new(CONVERGENCE, how));
                }
                continue;
            }
            let here: Row = serde_json::from_str(held.text).unwrap_or_default();
            match database.expected_row(who, &held.entity) {
                Some(fresh) if plain(fresh.clone()) == plain(here.clone()) => {}
                Some(fresh) => {
                    let how = format!("{}: held {here:?}, but it is {fresh:?}", held.entity);
                    return Err(Violation::new(CONVERGENCE, how));
                }
                None => {
                    let how =
                        format!("{held:?} is not there (leads: {}, status {:?})", engine.is_leader(), engine.status());
                    return Err(Violation::new(CONVERGENCE, how));
                }
            }
        }
        for (key, ids) in engine.fresh_lists() {
            let below = key.below.as_ref().map(|below| below.parent.id);
            let row = |row: &Row| row.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
            let mut fresh: BTreeSet<Uuid> =
                database.expected_list(who, key.code.as_str(), below).iter().filter_map(row).collect();
            // What is deleted here and waits to be deleted there is not shown.
            for entry in engine.outbox().iter().filter(|e| e.state == EntryState::Pending) {
                if matches!(entry.operation, Operation::Delete { .. }) {
                    fresh.remove(&entry.entity.id);
                }
            }
            let here: BTreeSet<Uuid> = ids.iter().copied().collect();
            if fresh != here {
                let missing: Vec<_> = fresh.difference(&here).collect();
                let beyond: Vec<_> = here.difference(&fresh).collect();
                let about = |id: &Uuid| {
                    let entity = EntityRef::new(key.code.clone(), *id);
                    let entries: Vec<_> = engine.outbox().iter().filter(|e| e.entity == entity).collect();
                    let there = database
                        .tasks
                        .get(id)
                        .map(|t| (t.version, t.project, t.active, database.can_view(who, t.project)));
                    format!("{id}: held {:?}, there {there:?}, outbox {entries:?}", engine.cached_row(&entity))
                };
                let about: Vec<String> = missing.iter().chain(&beyond).map(|id| about(id)).collect();
                let (missing, beyond) = (missing.len(), beyond.len());
                let leads = engine.is_leader();
                let how = format!("{key:?} lacks {missing} and has {beyond} too much (leads: {leads}): {about:#?}");
                return Err(Violation::new(CONVERGENCE, how));
            }
        }
        Ok(())
    }

    /// What a person may not see does not lie on their device.
    pub fn check_no_leak_on_disk(
        &self,
        store: &MemoryStore,
        who: PersonId,
        database: &ModelDatabase,
    ) -> Result<(), Violation> {
        for (name, bytes) in store.read_now(Namespace::Entities, KeySelector::All) {
            let Ok((_, rows)) = unpack(&bytes) else { continue };
            for row in rows {
                if let Some(task) = database.tasks.get(&row.id)
                    && !database.can_view(who, task.project)
                {
                    return Err(Violation::new(
                        CONFIDENTIALITY,
                        format!("{} lies on the device under {name} and may not be seen", row.id),
                    ));
                }
            }
        }
        Ok(())
    }

    /// What was saved has come to the database once, or is before its writer.
    pub fn check_no_lost_or_duplicate_writes(
        &self,
        stores: &[&MemoryStore],
        database: &ModelDatabase,
    ) -> Result<(), Violation> {
        let mut there: Vec<HashSet<String>> = Vec::new();
        for (device, store) in stores.iter().enumerate() {
            let mut found = HashSet::new();
            // What comes behind something that a person must decide waits for it.
            let entries = store.read_now(Namespace::Outbox, KeySelector::All);
            let mut entries: Vec<OutboxEntry> =
                entries.iter().filter_map(|(_, bytes)| serde_json::from_slice(bytes).ok()).collect();
            entries.sort_by_key(|entry| entry.id);
            let mut undecided: HashSet<Uuid> = HashSet::new();
            for (at, entry) in entries.iter().enumerate() {
                let waits_for = |earlier: &&OutboxEntry| undecided.contains(&earlier.id) && entry.depends_on(earlier);
                if entry.state != EntryState::Pending || entries[..at].iter().any(|earlier| waits_for(&earlier)) {
                    undecided.insert(entry.id);
                }
            }
            for area in [Namespace::Outbox, Namespace::Drafts] {
                for (_, bytes) in store.read_now(area, KeySelector::All) {
                    found.extend(extract_tokens(&bytes, "token-"));
                    let waits = serde_json::from_slice::<OutboxEntry>(&bytes).is_ok_and(|e| !undecided.contains(&e.id));
                    if area == Namespace::Outbox && waits {
                        let how = format!("device {device}: {} still waits", String::from_utf8_lossy(&bytes));
                        return Err(Violation::new(EXACTLY_ONCE, how));
                    }
                }
            }
            there.push(found);
        }
        let mut later: HashSet<(usize, &EntityRef, &str)> = HashSet::new();
        for token in self.order.iter().rev() {
            let Some(typed) = self.typed.get(token) else { continue };
            let times = database.applied.get(token).copied().unwrap_or_default();
            if times > 1 {
                return Err(Violation::new(EXACTLY_ONCE, format!("{token} was applied {times} times")));
            }
            let superseded = !later.insert((typed.device, &typed.entity, typed.column));
            let before_somebody = there.get(typed.device).is_some_and(|found| found.contains(token));
            if typed.saved && times == 0 && !superseded && !typed.discarded && !before_somebody {
                return Err(Violation::new(
                    EXACTLY_ONCE,
                    format!("{token} for {} was saved and is nowhere", typed.entity),
                ));
            }
        }
        Ok(())
    }

    /// Nobody's value was replaced by somebody who had not seen it.
    pub fn check_no_silent_overwrite(&self, database: &ModelDatabase) -> Result<(), Violation> {
        for overwrite in &database.overwrites {
            let Some(typed) = self.typed.get(&overwrite.token) else { continue };
            if !overwrite.before.is_null() && !typed.seen.contains(&overwrite.before) {
                let how = format!("{} over {}, seen {:?}", overwrite.token, overwrite.before, typed.seen);
                return Err(Violation::new(NO_LOST_UPDATE, how));
            }
        }
        Ok(())
    }

    /// Every draft that was saved is there.
    pub fn check_drafts_survive(&self, device: usize, engine: &Engine) -> Result<(), Violation> {
        for (of, entity) in self.saved_drafts.iter().filter(|(of, _)| *of == device) {
            if engine.draft(entity).is_none() {
                return Err(Violation::new(DRAFT_DURABILITY, format!("device {of} has no draft of {entity} any more")));
            }
        }
        Ok(())
    }
}
