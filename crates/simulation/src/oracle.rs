//! Oracles: checks of the invariants on shown rows, device stores and the final database.

use crate::model_database::ModelDatabase;
use crate::tab::TabRef;
use pmo_domain::{EntityRef, PersonId, Row};
use pmo_sync::chunk_codec::unpack;
use pmo_sync::store::KeySelector;
use pmo_sync::{Engine, EntryState, MemoryStore, Namespace, Operation, OutboxEntry, Write};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use uuid::Uuid;

/// A violated invariant.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Name of the invariant.
    pub invariant: &'static str,
    /// Description of the violation.
    pub detail: String,
}

impl Violation {
    /// Creates a violation of `invariant`.
    pub fn new(invariant: &'static str, detail: String) -> Self {
        Self { invariant, detail }
    }
}

const CONVERGENCE: &str = "cache converges to the database";
const MONOTONIC_READS: &str = "reads are monotonic";
const CONFIDENTIALITY: &str = "no row the user may not see is shown or stored";
const EXACTLY_ONCE: &str = "every persisted write is applied exactly once";
const NO_LOST_UPDATE: &str = "no lost update";
const DRAFT_DURABILITY: &str = "drafts survive";

/// Input of a user, identified by its token.
struct UserInput {
    device: usize,
    entity: EntityRef,
    column: &'static str,
    /// Values of the column that the user saw before the input.
    seen: Vec<Value>,
    persisted: bool,
    discarded: bool,
}

/// Observations that the oracles record during a run.
#[derive(Default)]
pub struct OracleState {
    /// Last shown version of each entity, by device and tab index.
    stamps: HashMap<(usize, usize), (TabRef, HashMap<EntityRef, i64>)>,
    /// Inputs by token.
    inputs: BTreeMap<String, UserInput>,
    /// Tokens in order of input.
    order: Vec<String>,
    /// Draft tokens by device and entity.
    drafts: HashMap<(usize, EntityRef), BTreeSet<String>>,
    persisted_drafts: HashSet<(usize, EntityRef)>,
}

/// Returns all tokens with the prefix `kind` in `bytes`.
fn extract_tokens(bytes: &[u8], kind: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    text.match_indices(kind)
        .filter_map(|(start, _)| {
            let suffix = text.get(start + kind.len()..)?;
            Some(format!("{kind}{}-", suffix.split('-').next()?))
        })
        .collect()
}

impl OracleState {
    /// Records that a tab opened; the first rows that it shows may have any version.
    pub fn record_tab_opened(&mut self, tab_ref: TabRef) {
        self.stamps.insert((tab_ref.device, tab_ref.tab), (tab_ref, HashMap::new()));
    }

    /// Checks that a tab never shows an older version of a row than before.
    ///
    /// `stamp` is the shown version; `None` means that the row is no longer shown.
    pub fn check_monotonic_reads(
        &mut self,
        tab_ref: TabRef,
        entity: &EntityRef,
        stamp: Option<i64>,
    ) -> Option<Violation> {
        let (_, stamps) =
            self.stamps.get_mut(&(tab_ref.device, tab_ref.tab)).filter(|(recorded, _)| *recorded == tab_ref)?;
        let Some(stamp) = stamp else {
            stamps.remove(entity);
            return None;
        };
        let before = stamps.insert(entity.clone(), stamp)?;
        (stamp < before)
            .then(|| Violation::new(MONOTONIC_READS, format!("{entity} was shown at {before} and then at {stamp}")))
    }

    /// Records an input with `token` while the user saw the value `before`.
    pub fn record_input(
        &mut self,
        device: usize,
        token: &str,
        entity: &EntityRef,
        column: &'static str,
        before: &Value,
    ) {
        let mut seen = vec![before.clone()];
        if let Some(earlier) = before.as_str().and_then(|text| self.inputs.get(text)) {
            seen.extend(earlier.seen.iter().cloned());
        }
        let input = UserInput { device, entity: entity.clone(), column, seen, persisted: false, discarded: false };
        self.inputs.insert(token.to_owned(), input);
        self.order.push(token.to_owned());
    }

    /// Records that the user deleted an entity and thus discarded the inputs for it.
    pub fn record_delete(&mut self, device: usize, entity: &EntityRef) {
        for input in self.inputs.values_mut().filter(|input| input.device == device && input.entity == *entity) {
            input.discarded = true;
        }
    }

    /// Records that the user saw the `current` row in a conflict before deciding.
    pub fn record_conflict_seen(&mut self, entry: &OutboxEntry, current: &Row) {
        let bytes = serde_json::to_vec(&entry.operation).unwrap_or_default();
        for token in extract_tokens(&bytes, "token-") {
            if let Some(input) = self.inputs.get_mut(&token) {
                input.seen.push(current.get(input.column).cloned().unwrap_or_default());
            }
        }
    }

    /// Records writes that were acknowledged as persisted.
    pub fn record_persisted(&mut self, device: usize, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Put(Namespace::Outbox, _, bytes) | Write::PutFenced(Namespace::Outbox, _, bytes) => {
                    for token in extract_tokens(bytes, "token-") {
                        if let Some(input) = self.inputs.get_mut(&token) {
                            input.persisted = true;
                        }
                    }
                }
                Write::Put(Namespace::Drafts, _, bytes) => {
                    let found: BTreeSet<String> = extract_tokens(bytes, "draft-").into_iter().collect();
                    let affected = self
                        .drafts
                        .iter()
                        .filter(|((owner, _), tokens)| *owner == device && !tokens.is_disjoint(&found));
                    self.persisted_drafts.extend(affected.map(|(key, _)| key.clone()));
                }
                _ => {}
            }
        }
    }

    /// Records an input into a draft.
    pub fn record_draft(&mut self, device: usize, entity: &EntityRef, token: &str) {
        self.drafts.entry((device, entity.clone())).or_default().insert(token.to_owned());
    }

    /// Records that the user discarded a draft.
    pub fn record_draft_discarded(&mut self, device: usize, entity: &EntityRef) {
        // Input that is stashed in the draft is discarded too.
        self.record_delete(device, entity);
        self.drafts.remove(&(device, entity.clone()));
        self.persisted_drafts.remove(&(device, entity.clone()));
    }

    /// Checks that the cache of an engine equals the database.
    ///
    /// Each fresh row must equal the row of a new GET, each observed row must be fresh and each
    /// fresh list must contain exactly the expected rows.
    pub fn check_cache_converged(
        &self,
        engine: &Engine,
        person: PersonId,
        database: &ModelDatabase,
    ) -> Result<(), Violation> {
        Self::check_cached_rows(engine, person, database)?;
        Self::check_fresh_lists(engine, person, database)
    }

    /// Checks the cached rows of an engine against the database.
    fn check_cached_rows(engine: &Engine, person: PersonId, database: &ModelDatabase) -> Result<(), Violation> {
        let without_derived = |mut row: Row| {
            row.remove("permission");
            row.remove("ref_data_entityInstance");
            row
        };
        for cached in engine.cached_rows() {
            if let Some(task) = database.tasks.get(&cached.entity.id)
                && !database.can_view(person, task.project)
            {
                return Err(Violation::new(CONFIDENTIALITY, format!("{cached:?} is not visible to the user")));
            }
            if cached.stale {
                if cached.observed {
                    let (is_leader, status) = (engine.is_leader(), engine.status());
                    let detail = format!("{cached:?} is observed but stale (leader: {is_leader}, status {status:?})");
                    return Err(Violation::new(CONVERGENCE, detail));
                }
                continue;
            }
            let actual: Row = serde_json::from_str(cached.text).unwrap_or_default();
            match database.expected_row(person, &cached.entity) {
                Some(expected) if without_derived(expected.clone()) == without_derived(actual.clone()) => {}
                Some(expected) => {
                    let detail = format!("{}: cached {actual:?}, expected {expected:?}", cached.entity);
                    return Err(Violation::new(CONVERGENCE, detail));
                }
                None => {
                    let detail = format!(
                        "{cached:?} does not exist in the database (leader: {}, status {:?})",
                        engine.is_leader(),
                        engine.status()
                    );
                    return Err(Violation::new(CONVERGENCE, detail));
                }
            }
        }
        Ok(())
    }

    /// Checks the fresh lists of an engine against the database.
    fn check_fresh_lists(engine: &Engine, person: PersonId, database: &ModelDatabase) -> Result<(), Violation> {
        for (key, ids) in engine.fresh_lists() {
            let parent = key.parent_filter.as_ref().map(|filter| filter.parent.id);
            let row = |row: &Row| row.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
            let mut expected: BTreeSet<Uuid> =
                database.expected_list(person, key.code.as_str(), parent).iter().filter_map(row).collect();
            // Entities with a pending delete are not shown.
            for entry in engine.outbox().iter().filter(|e| e.state == EntryState::Pending) {
                if matches!(entry.operation, Operation::Delete { .. }) {
                    expected.remove(&entry.entity.id);
                }
            }
            let actual: BTreeSet<Uuid> = ids.iter().copied().collect();
            if expected != actual {
                let missing: Vec<_> = expected.difference(&actual).collect();
                let unexpected: Vec<_> = actual.difference(&expected).collect();
                let describe = |id: &Uuid| {
                    let entity = EntityRef::new(key.code.clone(), *id);
                    let entries: Vec<_> = engine.outbox().iter().filter(|e| e.entity == entity).collect();
                    let task_state = database
                        .tasks
                        .get(id)
                        .map(|t| (t.version, t.project, t.active, database.can_view(person, t.project)));
                    format!(
                        "{id}: cached {:?}, database {task_state:?}, outbox {entries:?}",
                        engine.cached_row(&entity)
                    )
                };
                let descriptions: Vec<String> = missing.iter().chain(&unexpected).map(|id| describe(id)).collect();
                let (missing, unexpected) = (missing.len(), unexpected.len());
                let is_leader = engine.is_leader();
                let detail = format!(
                    "{key:?}: {missing} missing, {unexpected} unexpected (leader: {is_leader}): {descriptions:#?}"
                );
                return Err(Violation::new(CONVERGENCE, detail));
            }
        }
        Ok(())
    }

    /// Checks that the device stores no row that its user may not view.
    pub fn check_no_leak_on_disk(
        &self,
        store: &MemoryStore,
        person: PersonId,
        database: &ModelDatabase,
    ) -> Result<(), Violation> {
        for (name, bytes) in store.read_now(Namespace::Entities, KeySelector::All) {
            let Ok((_, rows)) = unpack(&bytes) else { continue };
            for row in rows {
                if let Some(task) = database.tasks.get(&row.id)
                    && !database.can_view(person, task.project)
                {
                    return Err(Violation::new(
                        CONFIDENTIALITY,
                        format!("{} is stored under {name} but not visible to the user", row.id),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Checks that each persisted input was applied exactly once.
    ///
    /// Exceptions: the input was discarded or superseded, or it still waits on the device for a
    /// decision of the user.
    pub fn check_no_lost_or_duplicate_writes(
        &self,
        stores: &[&MemoryStore],
        database: &ModelDatabase,
    ) -> Result<(), Violation> {
        let mut device_tokens: Vec<HashSet<String>> = Vec::new();
        for (device, store) in stores.iter().enumerate() {
            let mut tokens = HashSet::new();
            // Entries that depend on an undecided entry wait for it.
            let entries = store.read_now(Namespace::Outbox, KeySelector::All);
            let mut entries: Vec<OutboxEntry> =
                entries.iter().filter_map(|(_, bytes)| serde_json::from_slice(bytes).ok()).collect();
            entries.sort_by_key(|entry| entry.id);
            let mut undecided: HashSet<Uuid> = HashSet::new();
            for (index, entry) in entries.iter().enumerate() {
                let is_blocked_by =
                    |earlier: &&OutboxEntry| undecided.contains(&earlier.id) && entry.depends_on(earlier);
                if entry.state != EntryState::Pending || entries[..index].iter().any(|earlier| is_blocked_by(&earlier))
                {
                    undecided.insert(entry.id);
                }
            }
            for namespace in [Namespace::Outbox, Namespace::Drafts] {
                for (_, bytes) in store.read_now(namespace, KeySelector::All) {
                    tokens.extend(extract_tokens(&bytes, "token-"));
                    let is_pending =
                        serde_json::from_slice::<OutboxEntry>(&bytes).is_ok_and(|e| !undecided.contains(&e.id));
                    if namespace == Namespace::Outbox && is_pending {
                        let detail = format!("device {device}: {} is still pending", String::from_utf8_lossy(&bytes));
                        return Err(Violation::new(EXACTLY_ONCE, detail));
                    }
                }
            }
            device_tokens.push(tokens);
        }
        let mut later_inputs: HashSet<(usize, &EntityRef, &str)> = HashSet::new();
        for token in self.order.iter().rev() {
            let Some(input) = self.inputs.get(token) else { continue };
            let count = database.applied.get(token).copied().unwrap_or_default();
            if count > 1 {
                return Err(Violation::new(EXACTLY_ONCE, format!("{token} was applied {count} times")));
            }
            let is_superseded = !later_inputs.insert((input.device, &input.entity, input.column));
            let on_device = device_tokens.get(input.device).is_some_and(|tokens| tokens.contains(token));
            if input.persisted && count == 0 && !is_superseded && !input.discarded && !on_device {
                return Err(Violation::new(
                    EXACTLY_ONCE,
                    format!("{token} for {} was persisted and is lost", input.entity),
                ));
            }
        }
        Ok(())
    }

    /// Checks that no value was overwritten by a user who had not seen it.
    pub fn check_no_silent_overwrite(&self, database: &ModelDatabase) -> Result<(), Violation> {
        for overwrite in &database.overwrites {
            let Some(input) = self.inputs.get(&overwrite.token) else { continue };
            if !overwrite.before.is_null() && !input.seen.contains(&overwrite.before) {
                let detail = format!("{} over {}, seen {:?}", overwrite.token, overwrite.before, input.seen);
                return Err(Violation::new(NO_LOST_UPDATE, detail));
            }
        }
        Ok(())
    }

    /// Checks that the engine has every persisted draft of the device.
    pub fn check_drafts_survive(&self, device: usize, engine: &Engine) -> Result<(), Violation> {
        for (owner, entity) in self.persisted_drafts.iter().filter(|(owner, _)| *owner == device) {
            if engine.draft(entity).is_none() {
                return Err(Violation::new(DRAFT_DURABILITY, format!("device {owner} lost the draft of {entity}")));
            }
        }
        Ok(())
    }
}
