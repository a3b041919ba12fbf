//! Outbox: optimistic writes, persisted before they are sent, and sent in order.
//!
//! Invariant: user input is discarded only by a decision of the user.

mod merging; // rebased entries, and decisions of the user

use crate::cache::Cache;
use crate::collections::{DetHashSet, VecMap};
use crate::components::Persistence;
use crate::event::Effect;
use crate::merge::pick_columns;
use crate::outbox::{EntryState, Operation, OutboxEntry, WriteIds};
use crate::request::Request;
use crate::store::{Namespace, Write};
use pmo_domain::api_types::row_version;
use pmo_domain::{EntityRef, Row, UnixMillis};
use std::ops::RangeInclusive;
use std::time::Duration;
use uuid::Uuid;

/// Delay before the first retry of a write; it doubles with each retry.
const WRITE_RETRY_INITIAL: Duration = Duration::from_secs(1);
/// Upper bound of the delay between the retries of a write.
const WRITE_RETRY_MAX: Duration = Duration::from_secs(30);

/// Content of the write of an entry to disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EntryWrite {
    /// New user input, which any tab may write.
    UserInput,
    /// A state change by the leader; the write is fenced.
    StateChange,
}

/// Update of an entity by the user.
pub(crate) struct Update {
    /// Entity to change.
    pub(crate) entity: EntityRef,
    /// New values by column.
    pub(crate) patch: Row,
    /// Values and version on which the update is based; `None` for those of the visible row.
    pub(crate) based_on: Option<(Row, i64)>,
    /// Ids of the write.
    pub(crate) ids: WriteIds,
}

/// Result of the resolution of an entry by the user.
pub(crate) struct Resolved {
    /// Entity of the entry.
    pub(crate) entity: EntityRef,
    /// Local values that were discarded.
    pub(crate) discarded: Row,
}

/// Writes that the server has not confirmed yet.
#[derive(Default)]
pub(crate) struct Outbox {
    entries: Vec<OutboxEntry>,
    /// Entries that are being removed from disk, with the batch that removes them.
    removals: VecMap<Uuid, u64>,
}

impl Outbox {
    // --- Reading ---

    /// Returns all entries in order.
    pub(crate) fn entries(&self) -> &[OutboxEntry] {
        &self.entries
    }

    /// Returns an entry.
    pub(crate) fn get(&self, id: Uuid) -> Option<&OutboxEntry> {
        self.entries.iter().find(|e| e.id == id)
    }

    fn get_mut(&mut self, id: Uuid) -> Option<&mut OutboxEntry> {
        self.entries.iter_mut().find(|e| e.id == id)
    }

    /// Iterates over the entries of an entity.
    pub(crate) fn of_entity<'a>(&'a self, entity: &'a EntityRef) -> impl Iterator<Item = &'a OutboxEntry> {
        self.entries.iter().filter(move |e| e.entity == *entity)
    }

    /// Whether the creation of an entity is pending.
    pub(crate) fn has_pending_create(&self, entity: &EntityRef) -> bool {
        self.of_entity(entity).any(|e| e.state == EntryState::Pending && e.is_create())
    }

    /// Whether a write to an entity is in flight.
    pub(crate) fn has_write_in_flight(&self, entity: &EntityRef) -> bool {
        self.of_entity(entity).any(|e| e.in_flight)
    }

    /// Whether a link or unlink of an entity and a parent is pending.
    pub(crate) fn has_pending_link(&self, entity: &EntityRef, parent: &EntityRef) -> bool {
        self.of_entity(entity).any(|e| e.state == EntryState::Pending && e.is_link_to(parent))
    }

    /// Returns the children whose links to a parent are not confirmed.
    pub(crate) fn children_linked_to(&self, parent: &EntityRef) -> Vec<EntityRef> {
        self.entries.iter().filter(|e| e.is_link_to(parent)).map(|e| e.entity.clone()).collect()
    }

    /// Returns an entry with the entries that would fail without it.
    ///
    /// These are all entries that refer to an entity which would not be created.
    pub(crate) fn with_dependents(&self, id: Uuid) -> Vec<&OutboxEntry> {
        let mut entries: Vec<&OutboxEntry> = Vec::new();
        for entry in &self.entries {
            let creates_reference = |first: &&OutboxEntry| first.is_create() && entry.refers_to_entity(&first.entity);
            if entry.id == id || entries.iter().any(creates_reference) {
                entries.push(entry);
            }
        }
        entries
    }

    /// Returns the number of pending entries, and of those that are not on disk yet.
    pub(crate) fn pending_counts(&self) -> (usize, usize) {
        let (mut pending, mut unpersisted) = (0, 0);
        for entry in self.entries.iter().filter(|e| matches!(e.state, EntryState::Pending)) {
            pending += 1;
            unpersisted += usize::from(!entry.persisted);
        }
        (pending, unpersisted)
    }

    // --- User input ---

    /// Adds an entry with user input.
    pub(crate) fn enqueue(&mut self, entry: OutboxEntry, persistence: &mut Persistence) {
        let id = entry.id;
        self.entries.push(entry);
        self.write_entry(id, EntryWrite::UserInput, persistence);
    }

    /// Adds an update; merges it into the last entry of the entity if `may_coalesce` allows it.
    ///
    /// Another tab may be sending an entry that this tab created. Only the tab that sends knows
    /// which entries are in flight, so only that tab may change a pending entry. `before` is the
    /// visible row.
    pub(crate) fn enqueue_update(
        &mut self,
        update: Update,
        before: &Row,
        may_coalesce: bool,
        persistence: &mut Persistence,
        effects: &mut Vec<Effect>,
    ) {
        let Update { entity, patch, based_on, ids } = update;
        let last = self.entries.iter().rposition(|e| e.entity == entity);
        let last = last.filter(|at| may_coalesce && based_on.is_none() && self.entries[*at].can_coalesce());
        if let Some(at) = last
            && !self.entries[at].persisted
        {
            self.entries[at].coalesce(patch, before);
            self.write_entry(self.entries[at].id, EntryWrite::UserInput, persistence);
        } else if let Some(at) = last
            && matches!(self.entries[at].operation, Operation::Update { .. })
        {
            // Another tab may take over a persisted entry while this tab is frozen. The combined
            // write is therefore a new entry, and the old entry is removed by a write that requires
            // leadership.
            let mut combined = OutboxEntry::new(ids, entity, self.entries[at].operation.clone());
            combined.coalesce(patch, before);
            let first = self.entries[at].id;
            self.enqueue(combined, persistence);
            effects.push(self.remove(first, persistence));
        } else {
            // The visible row includes writes in flight. The base version is that of the first of
            // them: if one of them fails, this entry must not be based on values that the server
            // never had.
            let base_versions = self.of_entity(&entity).filter_map(|entry| match &entry.operation {
                Operation::Update { base_version, .. } => Some(*base_version),
                _ => None,
            });
            let min_base_version = base_versions.min();
            let (base, base_version) = based_on.unwrap_or_else(|| {
                let version = row_version(before).0;
                (pick_columns(patch.keys(), before), min_base_version.map_or(version, |base| base.min(version)))
            });
            let operation = Operation::Update { patch, base, base_version };
            self.enqueue(OutboxEntry::new(ids, entity, operation), persistence);
        }
    }

    /// Returns the creation of an entity if it and its dependents were never sent or persisted.
    ///
    /// If the create is on disk, another tab may take it over while this tab is frozen: then only a
    /// separate delete can undo it.
    pub(crate) fn unsent_create(&self, entity: &EntityRef) -> Option<Uuid> {
        let first = self.of_entity(entity).next().filter(|e| e.is_create())?.id;
        let is_unsent = |e: &&OutboxEntry| !e.persisted && (e.can_coalesce() || e.is_link());
        self.with_dependents(first).iter().all(is_unsent).then_some(first)
    }

    // --- Disk ---

    /// Removes an entry from memory and from disk; returns the effect that notifies other tabs.
    pub(crate) fn remove(&mut self, id: Uuid, persistence: &mut Persistence) -> Effect {
        self.entries.retain(|e| e.id != id);
        self.remove_from_disk(id, persistence);
        Effect::BroadcastOutboxChanged
    }

    fn remove_from_disk(&mut self, id: Uuid, persistence: &mut Persistence) {
        persistence.remove(Namespace::Outbox, id.to_string());
        self.removals.insert(id, persistence.next_batch());
    }

    /// Persists the new state of an entry without new user input.
    ///
    /// The write is fenced: it has an effect only if this tab is the leader. The entry is not sent
    /// before it is on disk.
    fn persist(&mut self, id: Uuid, persistence: &mut Persistence) {
        self.write_entry(id, EntryWrite::StateChange, persistence);
    }

    /// Persists an entry, or removes it if nothing is left to write.
    fn persist_or_remove(&mut self, id: Uuid, persistence: &mut Persistence, effects: &mut Vec<Effect>) {
        if self.get(id).is_some_and(OutboxEntry::is_noop) {
            effects.push(self.remove(id, persistence));
        } else {
            self.persist(id, persistence);
        }
    }

    fn write_entry(&mut self, id: Uuid, content: EntryWrite, persistence: &mut Persistence) {
        let has_unsaved_input = content == EntryWrite::UserInput;
        let write = if has_unsaved_input { Write::Put } else { Write::PutFenced };
        if let Some(entry) = self.entries.iter_mut().rfind(|e| e.id == id) {
            (entry.persisted, entry.batch, entry.has_unsaved_input) =
                (false, persistence.next_batch(), has_unsaved_input);
            let bytes = serde_json::to_vec(entry).unwrap_or_default();
            persistence.write(write(Namespace::Outbox, id.to_string(), bytes));
        }
    }

    /// Writes the entries and removals of failed batches again.
    pub(crate) fn rewrite(&mut self, batches: &RangeInclusive<u64>, persistence: &mut Persistence) {
        let unsaved = self.entries.iter().filter(|e| !e.persisted && batches.contains(&e.batch));
        let entries: Vec<(Uuid, bool)> = unsaved.map(|e| (e.id, e.has_unsaved_input)).collect();
        for (id, has_unsaved_input) in entries {
            let content = if has_unsaved_input { EntryWrite::UserInput } else { EntryWrite::StateChange };
            self.write_entry(id, content, persistence);
        }
        let removed = self.removals.iter().filter(|(_, batch)| batches.contains(*batch)).map(|(id, _)| *id);
        for id in removed.collect::<Vec<Uuid>>() {
            self.remove_from_disk(id, persistence);
        }
    }

    /// Allows the entries of completed batches to be sent; returns whether there were any.
    ///
    /// If the store is disabled, entries are sent without being on disk; the page informs the user.
    pub(crate) fn on_persisted(&mut self, batches: &RangeInclusive<u64>) -> bool {
        let mut any = false;
        self.removals.retain(|_, batch| *batch > *batches.end());
        for entry in self.entries.iter_mut().filter(|e| !e.persisted && batches.contains(&e.batch)) {
            entry.persisted = true;
            any = true;
        }
        any
    }

    /// Replaces the entries with the stored ones, which are authoritative.
    ///
    /// Entries that this tab has not persisted yet and its in-flight flags are preserved. With
    /// `disabled`, the store is out of use and all entries are preserved. Created entities get a
    /// slot in the cache. Returns the entities with entries, before or after.
    pub(crate) fn reconcile(
        &mut self,
        entries: Vec<OutboxEntry>,
        disabled: bool,
        cache: &mut Cache,
    ) -> DetHashSet<EntityRef> {
        let touched = self.entries.iter().chain(&entries).map(|e| e.entity.clone()).collect();
        let old = std::mem::take(&mut self.entries);
        for mut entry in entries {
            // The outbox was read before the removal by this tab was on disk.
            if self.removals.contains_key(&entry.id) {
                continue;
            }
            let known = old.iter().find(|e| e.id == entry.id);
            if let Some(known) = known.filter(|known| !known.persisted) {
                self.entries.push(known.clone());
                continue;
            }
            entry.persisted = true;
            entry.in_flight = known.is_some_and(|k| k.in_flight);
            // Another tab or an earlier session may have sent the entry, so its idempotency key is
            // bound to this body.
            let attempts =
                known.filter(|known| known.idempotency_key == entry.idempotency_key).map_or(1, |known| known.attempts);
            entry.attempts = entry.attempts.max(attempts).max(1);
            if entry.is_create() {
                cache.slot_or_insert(&entry.entity);
            }
            self.entries.push(entry);
        }
        for entry in old.into_iter().filter(|e| !e.persisted || disabled) {
            if !self.entries.iter().any(|e| e.id == entry.id) {
                self.entries.push(entry);
            }
        }
        touched
    }

    // --- Sending ---

    /// Makes all entries due.
    pub(crate) fn retry_now(&mut self) {
        for entry in &mut self.entries {
            entry.retry_at = UnixMillis::EPOCH;
        }
    }

    /// Forgets that entries are in flight: their requests were aborted.
    pub(crate) fn abort_sending(&mut self) {
        for entry in &mut self.entries {
            entry.in_flight = false;
        }
    }

    /// Records that another tab may have sent each entry.
    pub(crate) fn mark_possibly_sent(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.attempts = entry.attempts.max(1));
    }

    /// Returns the entries that are ready to be sent, so that at most `limit` are in flight.
    ///
    /// An entry waits for earlier entries on which it depends.
    pub(crate) fn ready(&self, limit: usize, now: UnixMillis) -> Vec<Uuid> {
        let mut in_flight = self.entries.iter().filter(|e| e.in_flight).count();
        let mut ready = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            if in_flight >= limit {
                break;
            }
            let due =
                entry.state == EntryState::Pending && entry.persisted && !entry.in_flight && entry.retry_at <= now;
            if due && !self.entries[..index].iter().any(|earlier| entry.depends_on(earlier)) {
                ready.push(entry.id);
                in_flight += 1;
            }
        }
        ready
    }

    /// Records that a persisted entry is being sent; returns its request.
    pub(crate) fn begin_sending(&mut self, id: Uuid) -> Option<Request> {
        let entry = self.get_mut(id).filter(|e| e.persisted)?;
        entry.in_flight = true;
        entry.attempts += 1;
        Some(entry.request())
    }

    /// Records that the request of an entry has ended; returns the entry.
    pub(crate) fn end_sending(&mut self, id: Uuid) -> Option<&OutboxEntry> {
        let entry = self.get_mut(id)?;
        entry.in_flight = false;
        Some(entry)
    }

    /// Delays the next attempt of an entry.
    pub(crate) fn schedule_retry(&mut self, id: Uuid, now: UnixMillis) {
        if let Some(entry) = self.get_mut(id) {
            let delay = WRITE_RETRY_INITIAL * (1 << (entry.attempts.clamp(1, 6) - 1));
            entry.retry_at = now + delay.min(WRITE_RETRY_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::Resolution;
    use pmo_domain::EntityCode;
    use pmo_domain::api_types::Problem;
    use serde_json::{Value, json};

    fn task(n: u128) -> EntityRef {
        EntityRef::new(EntityCode::new("task").unwrap(), Uuid::from_u128(n))
    }

    fn ids(n: u128) -> WriteIds {
        WriteIds { entry: Uuid::from_u128(n), idempotency_key: Uuid::from_u128(n + 500) }
    }

    fn row(value: Value) -> Row {
        value.as_object().cloned().unwrap()
    }

    fn update(n: u128, value: Value) -> Update {
        Update { entity: task(1), patch: row(value), based_on: None, ids: ids(n) }
    }

    /// Adds an update that may coalesce, to a row of version 3.
    fn enqueue(outbox: &mut Outbox, persistence: &mut Persistence, n: u128, value: Value) -> Vec<Effect> {
        let mut effects = Vec::new();
        let before = row(json!({"version": 3, "name": "before"}));
        outbox.enqueue_update(update(n, value), &before, true, persistence, &mut effects);
        effects
    }

    #[test]
    fn unpersisted_updates_coalesce_and_a_persisted_one_is_replaced() {
        let (mut outbox, mut persistence) = (Outbox::default(), Persistence::default());
        enqueue(&mut outbox, &mut persistence, 1, json!({"name": "a"}));
        enqueue(&mut outbox, &mut persistence, 2, json!({"points": 3}));
        assert_eq!(outbox.entries().len(), 1);
        assert_eq!(outbox.entries()[0].local_values(), row(json!({"name": "a", "points": 3})));
        assert_eq!(outbox.pending_counts(), (1, 1));
        assert!(outbox.on_persisted(&(1..=1)));
        let effects = enqueue(&mut outbox, &mut persistence, 3, json!({"name": "b"}));
        assert_eq!(effects, [Effect::BroadcastOutboxChanged]);
        let [entry] = outbox.entries() else { panic!("{:?}", outbox.entries()) };
        assert_eq!((entry.id, entry.local_values()), (ids(3).entry, row(json!({"name": "b", "points": 3}))));
    }

    #[test]
    fn entry_is_sent_after_it_is_persisted_and_waits_after_a_failure() {
        let (mut outbox, mut persistence) = (Outbox::default(), Persistence::default());
        enqueue(&mut outbox, &mut persistence, 1, json!({"name": "a"}));
        let now = UnixMillis::EPOCH;
        assert!(outbox.ready(4, now).is_empty());
        outbox.on_persisted(&(1..=1));
        let id = ids(1).entry;
        assert_eq!(outbox.ready(4, now), [id]);
        assert!(outbox.ready(0, now).is_empty());
        assert!(outbox.begin_sending(id).is_some() && outbox.has_write_in_flight(&task(1)));
        assert!(outbox.ready(4, now).is_empty());
        outbox.end_sending(id);
        outbox.schedule_retry(id, now);
        assert_eq!((outbox.ready(4, UnixMillis::new(999)), outbox.ready(4, UnixMillis::new(1000))), (vec![], vec![id]));
    }

    #[test]
    fn stored_entries_replace_those_in_memory_except_unpersisted_ones() {
        let (mut outbox, mut persistence, mut cache): (Outbox, Persistence, Cache) = Default::default();
        enqueue(&mut outbox, &mut persistence, 1, json!({"name": "a"}));
        outbox.on_persisted(&(1..=1));
        let stored = outbox.entries().to_vec();
        let entry = |n| OutboxEntry::new(ids(n), task(n), Operation::Create { values: Row::new() });
        outbox.enqueue(entry(2), &mut persistence);
        let removal = outbox.remove(ids(1).entry, &mut persistence);
        assert_eq!(removal, Effect::BroadcastOutboxChanged);
        outbox.reconcile([stored, vec![entry(3)]].concat(), false, &mut cache);
        let found: Vec<u128> = outbox.entries().iter().map(|e| e.id.as_u128()).collect();
        assert_eq!(found, [3, 2], "the removed entry was read before its removal");
        assert_eq!(outbox.get(ids(3).entry).unwrap().attempts, 1, "another tab may have sent it");
        assert!(cache.slot_of(&task(3)).is_some());
    }

    #[test]
    fn rejected_write_is_kept_for_a_retry_or_discarded_with_its_values() {
        let (mut outbox, mut persistence, mut effects): (Outbox, Persistence, Vec<Effect>) = Default::default();
        enqueue(&mut outbox, &mut persistence, 1, json!({"name": "a"}));
        let (id, seen) = (ids(1).entry, ids(1).idempotency_key);
        let problem =
            Problem { kind: "x".into(), title: "x".into(), status: 422, detail: None, errors: vec![], current: None };
        let mut resolve = |outbox: &mut Outbox, seen: Uuid, choice: Resolution| {
            outbox.reject(id, problem.clone(), &mut persistence).unwrap();
            outbox.resolve(id, seen, choice, &mut persistence, &mut effects)
        };
        assert!(resolve(&mut outbox, Uuid::nil(), Resolution::TakeTheirs).is_none(), "another conflict was seen");
        let kept = resolve(&mut outbox, seen, Resolution::KeepMine(Uuid::from_u128(9))).unwrap();
        assert_eq!((kept.discarded, outbox.entries()[0].idempotency_key), (Row::new(), seen));
        let discarded = resolve(&mut outbox, seen, Resolution::TakeTheirs).unwrap().discarded;
        assert_eq!((discarded, outbox.entries().len()), (row(json!({"name": "a"})), 0));
    }
}
