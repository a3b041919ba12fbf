//! The promises as oracles. Each looks at what a person could see: what is shown, what lies on the device, what the database has in the end.

use crate::database::Database;
use crate::world::Place;
use pmo_domain::{EntityRef, PersonId, Row};
use pmo_sync::pack::unpack;
use pmo_sync::store::Which;
use pmo_sync::{Area, Engine, Entry, EntryState, MemoryStore, Operation, Write};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use uuid::Uuid;

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Broken {
    /// Its name.
    pub promise: &'static str,
    /// How.
    pub how: String,
}

impl Broken {
    /// A promise that was broken.
    pub fn new(promise: &'static str, how: String) -> Self {
        Self { promise, how }
    }
}

const MISSED: &str = "nothing is missed";
const TIME: &str = "nothing goes back in time";
const LEAKS: &str = "nothing leaks";
const LOST: &str = "no write is lost, none is applied twice";
const OVERWRITTEN: &str = "no silent overwrite";
const DRAFTS: &str = "drafts survive";

/// Something that a person typed.
struct Typed {
    device: usize,
    entity: EntityRef,
    column: &'static str,
    /// What they had before their eyes.
    seen: Vec<Value>,
    saved: bool,
    given_up: bool,
}

/// What the oracles remember.
#[derive(Default)]
pub struct Watcher {
    stamps: HashMap<(usize, usize), (Place, HashMap<EntityRef, i64>)>,
    typed: BTreeMap<String, Typed>,
    /// In order of typing.
    order: Vec<String>,
    drafts: HashMap<(usize, EntityRef), BTreeSet<String>>,
    saved_drafts: HashSet<(usize, EntityRef)>,
}

/// The tokens in some bytes.
fn tokens(bytes: &[u8], kind: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.match_indices(kind)
        .filter_map(|(at, _)| {
            let rest = text.get(at + kind.len()..)?;
            Some(format!("{kind}{}-", rest.split('-').next()?))
        })
        .collect()
}

impl Watcher {
    /// A tab has opened: what it shows first may be old.
    pub fn opened(&mut self, place: Place) {
        self.stamps.insert((place.device, place.tab), (place, HashMap::new()));
    }

    /// A row is shown with this version of the database, or not at all.
    pub fn shown(&mut self, place: Place, entity: &EntityRef, stamp: Option<i64>) -> Option<Broken> {
        let (_, stamps) = self.stamps.get_mut(&(place.device, place.tab)).filter(|(known, _)| *known == place)?;
        let Some(stamp) = stamp else {
            stamps.remove(entity);
            return None;
        };
        let before = stamps.insert(entity.clone(), stamp)?;
        (stamp < before).then(|| Broken::new(TIME, format!("{entity} was shown at {before} and then at {stamp}")))
    }

    /// A person typed something while they saw something.
    pub fn typed(&mut self, device: usize, token: &str, entity: &EntityRef, column: &'static str, before: &Value) {
        let mut seen = vec![before.clone()];
        if let Some(earlier) = before.as_str().and_then(|text| self.typed.get(text)) {
            seen.extend(earlier.seen.iter().cloned());
        }
        let typed = Typed { device, entity: entity.clone(), column, seen, saved: false, given_up: false };
        self.typed.insert(token.to_owned(), typed);
        self.order.push(token.to_owned());
    }

    /// A person deleted a thing, and with it what they had typed into it.
    pub fn deleted(&mut self, device: usize, entity: &EntityRef) {
        for typed in self.typed.values_mut().filter(|t| t.device == device && t.entity == *entity) {
            typed.given_up = true;
        }
    }

    /// A person looked at a conflict and chose.
    pub fn saw(&mut self, entry: &Entry, current: &Row) {
        let bytes = serde_json::to_vec(&entry.operation).unwrap_or_default();
        for token in tokens(&bytes, "token-") {
            if let Some(typed) = self.typed.get_mut(&token) {
                typed.seen.push(current.get(typed.column).cloned().unwrap_or_default());
            }
        }
    }

    /// These writes are said to be on disk.
    pub fn saved(&mut self, device: usize, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Put(Area::Outbox, _, bytes) | Write::Rewrite(Area::Outbox, _, bytes) => {
                    for token in tokens(bytes, "token-") {
                        if let Some(typed) = self.typed.get_mut(&token) {
                            typed.saved = true;
                        }
                    }
                }
                Write::Put(Area::Drafts, _, bytes) => {
                    let found: BTreeSet<String> = tokens(bytes, "draft-").into_iter().collect();
                    let concerned =
                        self.drafts.iter().filter(|((of, _), known)| *of == device && !known.is_disjoint(&found));
                    self.saved_drafts.extend(concerned.map(|(key, _)| key.clone()));
                }
                _ => {}
            }
        }
    }

    /// A field of a draft was typed.
    pub fn drafted(&mut self, device: usize, entity: &EntityRef, token: &str) {
        self.drafts.entry((device, entity.clone())).or_default().insert(token.to_owned());
    }

    /// A draft was given up.
    pub fn draft_ended(&mut self, device: usize, entity: &EntityRef) {
        // What had been set aside in it goes with it.
        self.deleted(device, entity);
        self.drafts.remove(&(device, entity.clone()));
        self.saved_drafts.remove(&(device, entity.clone()));
    }

    /// Every row that is held and believed is what a fresh GET answers; every list that is looked at holds what it should.
    pub fn holds_what_is(&self, engine: &Engine, who: PersonId, database: &Database) -> Result<(), Broken> {
        let plain = |mut row: Row| {
            row.remove("permission");
            row.remove("ref_data_entityInstance");
            row
        };
        for held in engine.held() {
            if let Some(task) = database.tasks.get(&held.entity.id)
                && !database.sees(who, task.project)
            {
                return Err(Broken::new(LEAKS, format!("{held:?} may not be seen")));
            }
            if held.stale {
                if held.observed {
                    let (leads, status) = (engine.leads(), engine.status());
                    let how = format!("{held:?} is looked at and not believed (leads: {leads}, status {status:?})");
                    return Err(Broken::new(MISSED, how));
                }
                continue;
            }
            let here: Row = serde_json::from_str(held.text).unwrap_or_default();
            match database.fresh(who, &held.entity) {
                Some(fresh) if plain(fresh.clone()) == plain(here.clone()) => {}
                Some(fresh) => {
                    let how = format!("{}: held {here:?}, but it is {fresh:?}", held.entity);
                    return Err(Broken::new(MISSED, how));
                }
                None => {
                    let how =
                        format!("{held:?} is not there (leads: {}, status {:?})", engine.leads(), engine.status());
                    return Err(Broken::new(MISSED, how));
                }
            }
        }
        for (key, ids) in engine.believed_lists() {
            let below = key.below.as_ref().map(|below| below.parent.id);
            let row = |row: &Row| row.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
            let mut fresh: BTreeSet<Uuid> =
                database.fresh_list(who, key.code.as_str(), below).iter().filter_map(row).collect();
            // What is deleted here and waits to be deleted there is not shown.
            for entry in engine.outbox().iter().filter(|e| e.state == EntryState::Waiting) {
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
                    let there =
                        database.tasks.get(id).map(|t| (t.version, t.project, t.active, database.sees(who, t.project)));
                    format!("{id}: held {:?}, there {there:?}, outbox {entries:?}", engine.held_row(&entity))
                };
                let about: Vec<String> = missing.iter().chain(&beyond).map(|id| about(id)).collect();
                let (missing, beyond) = (missing.len(), beyond.len());
                let leads = engine.leads();
                let how = format!("{key:?} lacks {missing} and has {beyond} too much (leads: {leads}): {about:#?}");
                return Err(Broken::new(MISSED, how));
            }
        }
        Ok(())
    }

    /// What a person may not see does not lie on their device.
    pub fn device_holds_only_what_may_be_seen(
        &self,
        store: &MemoryStore,
        who: PersonId,
        database: &Database,
    ) -> Result<(), Broken> {
        for (name, bytes) in store.read_now(Area::Entities, Which::All) {
            let Ok((_, rows)) = unpack(&bytes) else { continue };
            for row in rows {
                if let Some(task) = database.tasks.get(&row.id)
                    && !database.sees(who, task.project)
                {
                    return Err(Broken::new(
                        LEAKS,
                        format!("{} lies on the device under {name} and may not be seen", row.id),
                    ));
                }
            }
        }
        Ok(())
    }

    /// What was saved has come to the database once, or is before its writer.
    pub fn writes_are_accounted_for(&self, stores: &[&MemoryStore], database: &Database) -> Result<(), Broken> {
        let mut there: Vec<HashSet<String>> = Vec::new();
        for (device, store) in stores.iter().enumerate() {
            let mut found = HashSet::new();
            // What comes behind something that a person must decide waits for it.
            let entries = store.read_now(Area::Outbox, Which::All);
            let mut entries: Vec<Entry> =
                entries.iter().filter_map(|(_, bytes)| serde_json::from_slice(bytes).ok()).collect();
            entries.sort_by_key(|entry| entry.id);
            let mut undecided: HashSet<Uuid> = HashSet::new();
            for (at, entry) in entries.iter().enumerate() {
                let waits_for = |earlier: &&Entry| undecided.contains(&earlier.id) && entry.depends_on(earlier);
                if entry.state != EntryState::Waiting || entries[..at].iter().any(|earlier| waits_for(&earlier)) {
                    undecided.insert(entry.id);
                }
            }
            for area in [Area::Outbox, Area::Drafts] {
                for (_, bytes) in store.read_now(area, Which::All) {
                    found.extend(tokens(&bytes, "token-"));
                    let waits = serde_json::from_slice::<Entry>(&bytes).is_ok_and(|e| !undecided.contains(&e.id));
                    if area == Area::Outbox && waits {
                        let how = format!("device {device}: {} still waits", String::from_utf8_lossy(&bytes));
                        return Err(Broken::new(LOST, how));
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
                return Err(Broken::new(LOST, format!("{token} was applied {times} times")));
            }
            let superseded = !later.insert((typed.device, &typed.entity, typed.column));
            let before_somebody = there.get(typed.device).is_some_and(|found| found.contains(token));
            if typed.saved && times == 0 && !superseded && !typed.given_up && !before_somebody {
                return Err(Broken::new(LOST, format!("{token} for {} was saved and is nowhere", typed.entity)));
            }
        }
        Ok(())
    }

    /// Nobody's value was replaced by somebody who had not seen it.
    pub fn nothing_was_overwritten_unseen(&self, database: &Database) -> Result<(), Broken> {
        for overwrite in &database.overwrites {
            let Some(typed) = self.typed.get(&overwrite.token) else { continue };
            if !overwrite.before.is_null() && !typed.seen.contains(&overwrite.before) {
                let how = format!("{} over {}, seen {:?}", overwrite.token, overwrite.before, typed.seen);
                return Err(Broken::new(OVERWRITTEN, how));
            }
        }
        Ok(())
    }

    /// Every draft that was saved is there.
    pub fn drafts_are_there(&self, device: usize, engine: &Engine) -> Result<(), Broken> {
        for (of, entity) in self.saved_drafts.iter().filter(|(of, _)| *of == device) {
            if engine.draft(entity).is_none() {
                return Err(Broken::new(DRAFTS, format!("device {of} has no draft of {entity} any more")));
            }
        }
        Ok(())
    }
}
