//! Entries that are rebased on rows of the server, and decisions of the user about them.

use super::{Outbox, Resolved};
use crate::cache::Cache;
use crate::components::Persistence;
use crate::event::Effect;
use crate::outbox::{EntryState, Operation, OutboxEntry, Resolution};
use pmo_domain::api_types::{Problem, row_version};
use pmo_domain::{EntityRef, Row, UnixMillis};
use serde_json::Value;
use uuid::Uuid;

impl Outbox {
    // --- Rebasing ---

    /// Rebases an unsent update if its base values differ from the current row.
    ///
    /// They differ if an earlier write, on which the update is based, failed. The update is merged
    /// as after a 412. Returns the entity if the entry changed and must be persisted first; the
    /// user may have to resolve a conflict, or nothing may be left to write.
    pub(crate) fn rebase_on_current(
        &mut self,
        id: Uuid,
        cache: &Cache,
        persistence: &mut Persistence,
        effects: &mut Vec<Effect>,
    ) -> Option<EntityRef> {
        let entry = self.get_mut(id).filter(|e| e.attempts == 0)?;
        let Operation::Update { base, base_version, .. } = &entry.operation else { return None };
        let row = cache.get(&entry.entity).filter(|row| row.version == *base_version)?;
        let current = row.decoded()?;
        let null = Value::Null;
        if base.iter().all(|(column, value)| current.get(column).unwrap_or(&null) == value) {
            return None;
        }
        let (entity, key) = (entry.entity.clone(), entry.idempotency_key);
        entry.rebase((*current).clone(), key);
        self.persist_or_remove(id, persistence, effects);
        Some(entity)
    }

    /// Merges an entry that the server answered with 412 with the current row.
    ///
    /// The merged write has another body and therefore needs a new idempotency key.
    pub(crate) fn rebase_rejected(
        &mut self,
        id: Uuid,
        current: Row,
        persistence: &mut Persistence,
        effects: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.get_mut(id) else { return };
        let new_key = Uuid::from_u128(entry.idempotency_key.as_u128().wrapping_add(1));
        entry.rebase(current, new_key);
        self.persist_or_remove(id, persistence, effects);
    }

    /// Rebases later writes to an entity on the row that an earlier write produced.
    ///
    /// They are based on that write, or were made by another tab that did not know of it. Only
    /// unsent entries are rebased. A sent entry retains its body, to which its idempotency key is
    /// bound; a 412 leads to its merge.
    pub(crate) fn rebase_dependents(
        &mut self,
        entity: &EntityRef,
        row: &Row,
        persistence: &mut Persistence,
        effects: &mut Vec<Effect>,
    ) {
        let version = row_version(row).0;
        let mut current = row.clone();
        current.remove("ref_data_entityInstance");
        let mut rebased = Vec::new();
        for entry in self.entries.iter_mut().filter(|e| e.entity == *entity && !e.in_flight && e.attempts == 0) {
            if entry.state != EntryState::Pending {
                continue;
            }
            match &mut entry.operation {
                Operation::Update { .. } => {
                    let key = entry.idempotency_key;
                    entry.rebase(current.clone(), key);
                }
                Operation::Delete { base_version } if *base_version == 0 || *base_version == version - 1 => {
                    *base_version = version;
                }
                _ => continue,
            }
            rebased.push(entry.id);
        }
        for id in rebased {
            self.persist_or_remove(id, persistence, effects);
        }
    }

    /// Gives each pending write that is not in flight a base version that cannot exist.
    ///
    /// The server then answers 412 with the current row, and the write is merged.
    pub(crate) fn force_precondition_failures(&mut self, persistence: &mut Persistence) {
        let mut rewritten = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| !entry.in_flight) {
            if entry.force_precondition_failure() {
                rewritten.push(entry.id);
            }
        }
        rewritten.into_iter().for_each(|id| self.persist(id, persistence));
    }

    // --- Decisions ---

    /// Records that the server rejected an entry; returns the entry.
    pub(crate) fn reject(&mut self, id: Uuid, problem: Problem, persistence: &mut Persistence) -> Option<OutboxEntry> {
        let entry = self.get_mut(id)?;
        entry.state = EntryState::Rejected { problem };
        let entry = entry.clone();
        self.persist(id, persistence);
        Some(entry)
    }

    /// Applies the choice of the user for a conflict or a rejected write.
    ///
    /// `None` if the entry has another idempotency key than `seen` by now, or waits for no choice.
    pub(crate) fn resolve(
        &mut self,
        id: Uuid,
        seen: Uuid,
        choice: Resolution,
        persistence: &mut Persistence,
        effects: &mut Vec<Effect>,
    ) -> Option<Resolved> {
        let entry = self.get_mut(id).filter(|e| e.idempotency_key == seen)?;
        let entity = entry.entity.clone();
        let discarded = match (choice, &entry.state) {
            (_, EntryState::Pending) => return None,
            // A rejected write is retried unchanged under its own key: if an earlier attempt
            // succeeded after all, the write is not applied twice.
            (Resolution::KeepMine(_), EntryState::Rejected { .. }) => {
                entry.state = EntryState::Pending;
                entry.attempts = entry.attempts.max(1);
                entry.retry_at = UnixMillis::EPOCH;
                Row::new()
            }
            (_, EntryState::Rejected { .. }) => {
                let discarded = entry.local_values();
                effects.push(self.remove(id, persistence));
                return Some(Resolved { entity, discarded });
            }
            (Resolution::TakeTheirs, _) if matches!(entry.operation, Operation::Delete { .. }) => {
                effects.push(self.remove(id, persistence));
                return Some(Resolved { entity, discarded: Row::new() });
            }
            (Resolution::TakeTheirs, _) => entry.resolve(&Row::new(), seen),
            (Resolution::KeepMine(key), _) => entry.resolve(&entry.local_values(), key),
            (Resolution::PerField(values, key), _) => entry.resolve(&values, key),
        };
        self.persist_or_remove(id, persistence, effects);
        Some(Resolved { entity, discarded })
    }

    /// Discards an entry with its dependents; returns them, or `None` if one of them is in flight.
    ///
    /// An update of another entity retains its values that do not refer to a discarded creation.
    pub(crate) fn discard(
        &mut self,
        id: Uuid,
        persistence: &mut Persistence,
        effects: &mut Vec<Effect>,
    ) -> Option<Vec<OutboxEntry>> {
        let discarded: Vec<OutboxEntry> = self.with_dependents(id).into_iter().cloned().collect();
        if discarded.iter().any(|e| e.in_flight) {
            return None;
        }
        let created: Vec<EntityRef> = discarded.iter().filter(|e| e.is_create()).map(|e| e.entity.clone()).collect();
        for entry in &discarded {
            let dependent = self.get_mut(entry.id).filter(|e| e.id != id && !created.contains(&e.entity));
            if dependent.is_some_and(|dependent| dependent.remove_references(&created)) {
                self.persist(entry.id, persistence);
            } else {
                effects.push(self.remove(entry.id, persistence));
            }
        }
        Some(discarded)
    }
}
