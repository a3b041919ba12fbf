//! Write path: optimistic updates, persistence, ordered sending and merging of concurrent changes.
//!
//! Invariant: user input is discarded only by a decision of the user.

use super::{Engine, PendingRequest};
use crate::collections::DetHashSet;
use crate::event::Effect;
use crate::merge::pick_columns;
use crate::outbox::{EntryState, Operation, OutboxEntry, Resolution, WriteIds};
use crate::query_key::Query;
use crate::raw_row::RawRow;
use crate::request::{RequestError, Response};
use crate::store::{Namespace, Write};
use pmo_domain::api_types::row_version;
use pmo_domain::{EntityRef, Row, UnixMillis};
use serde_json::Value;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Delay before the first retry of a write; it doubles with each retry.
const WRITE_RETRY_INITIAL: Duration = Duration::from_secs(1);
/// Upper bound of the delay between the retries of a write.
const WRITE_RETRY_MAX: Duration = Duration::from_secs(30);

impl Engine {
    /// Returns the row with pending writes applied; `None` if it is unknown or deleted.
    pub(super) fn visible_row(&self, entity: &EntityRef) -> Option<Arc<Row>> {
        self.cache.get(entity)?.visible_row()
    }

    pub(super) fn update(&mut self, entity: EntityRef, patch: Row, based_on: Option<(Row, i64)>, ids: WriteIds) {
        let before = self.visible_row(&entity).unwrap_or_default();
        if patch.is_empty() {
            return;
        }
        let indexes: Vec<usize> =
            self.outbox.iter().enumerate().filter(|(_, e)| e.entity == entity).map(|(at, _)| at).collect();
        // Another tab may be sending an entry that this tab created. Only the tab that sends knows
        // which entries are in flight, so only that tab may change a pending entry.
        let may_coalesce = based_on.is_none() && self.leader && !self.tabs.term_unverified;
        let last = indexes.last().copied().filter(|at| may_coalesce && self.outbox[*at].can_coalesce());
        if let Some(at) = last
            && !self.outbox[at].persisted
        {
            self.outbox[at].coalesce(patch, &before);
            self.persist_user_input(self.outbox[at].id);
        } else if let Some(at) = last
            && matches!(self.outbox[at].operation, Operation::Update { .. })
        {
            // Another tab may take over a persisted entry while this tab is frozen. The combined
            // write is therefore a new entry, and the old entry is removed by a write that requires
            // leadership.
            let mut combined = OutboxEntry::new(ids, entity.clone(), self.outbox[at].operation.clone());
            combined.coalesce(patch, &before);
            let first = self.outbox[at].id;
            self.enqueue(combined);
            self.drop_entry(first);
        } else {
            // The visible row includes writes in flight. The base version is that of the first of
            // them: if one of them fails, this entry must not be based on values that the server
            // never had.
            let base_versions = indexes.iter().filter_map(|at| match &self.outbox[*at].operation {
                Operation::Update { base_version, .. } => Some(*base_version),
                _ => None,
            });
            let min_base_version = base_versions.min();
            let (base, base_version) = based_on.unwrap_or_else(|| {
                let version = row_version(&before).0;
                (pick_columns(patch.keys(), &before), min_base_version.map_or(version, |base| base.min(version)))
            });
            self.enqueue(OutboxEntry::new(ids, entity.clone(), Operation::Update { patch, base, base_version }));
        }
        self.refresh_entity(&entity, false);
    }

    pub(super) fn create(&mut self, entity: EntityRef, mut values: Row, ids: WriteIds) {
        values.insert("id".into(), Value::String(entity.id.to_string()));
        self.cache.slot_or_insert(&entity);
        self.enqueue(OutboxEntry::new(ids, entity.clone(), Operation::Create { values }));
        self.refresh_entity(&entity, true);
    }

    pub(super) fn delete(&mut self, entity: EntityRef, ids: WriteIds, now: UnixMillis) {
        let version = self.cache.get(&entity).map_or(0, |r| r.version);
        // A create that was never sent is discarded together with the delete. If the create is on
        // disk, another tab may take it over while this tab is frozen: then only a separate delete
        // can undo it.
        let first = self.outbox.iter().find(|e| e.entity == entity).filter(|e| super::is_create(e)).map(|e| e.id);
        let is_unsent =
            |id: &Uuid| self.with_dependents(*id).iter().all(|e| !e.persisted && (e.can_coalesce() || e.is_link()));
        if let Some(first) = first.filter(|id| self.leader && !self.tabs.term_unverified && is_unsent(id)) {
            self.discard_with_dependents(first, now);
        } else {
            self.enqueue(OutboxEntry::new(ids, entity.clone(), Operation::Delete { base_version: version }));
        }
        self.refresh_entity(&entity, true);
    }

    pub(super) fn link(&mut self, parent: EntityRef, child: EntityRef, linked: bool, ids: WriteIds) {
        let slot = self.cache.slot_or_insert(&child);
        if self.cache.row(slot).is_some_and(|row| !row.is_visible()) {
            // Only the name of the child is known: its row must be loaded.
            self.read_row(slot);
            self.request_row(&child);
        }
        self.enqueue(OutboxEntry::new(ids, child.clone(), Operation::Link { parent, linked }));
        self.refresh_entity(&child, true);
    }

    /// Applies the pending links and unlinks of `parent` to its lists.
    ///
    /// Lists loaded from the server or from disk do not contain them.
    pub(super) fn apply_pending_links(&mut self, parent: &EntityRef) {
        let entries =
            self.outbox.iter().filter(|e| matches!(&e.operation, Operation::Link { parent: p, .. } if p == parent));
        let children: Vec<EntityRef> = entries.map(|e| e.entity.clone()).collect();
        for child in children {
            if let Some(slot) = self.cache.slot_of(&child) {
                self.reindex(slot);
            }
        }
    }

    /// Refetches the lists of a link or unlink that has ended.
    ///
    /// If it was rejected or discarded (`done` is false), the optimistic change is rolled back
    /// first.
    fn refetch_linked_lists(&mut self, entry: &OutboxEntry, done: bool, now: UnixMillis) {
        let Operation::Link { parent, linked } = &entry.operation else { return };
        // Another pending link or unlink of the same pair determines the visible state.
        let same = |e: &OutboxEntry| matches!(&e.operation, Operation::Link { parent: p, .. } if p == parent);
        let another = self.outbox.iter().any(|e| e.entity == entry.entity && e.state == EntryState::Pending && same(e));
        if !done
            && !another
            && let Some(slot) = self.cache.slot_of(&entry.entity)
        {
            for index in self.cache.rollback_link(slot, parent, *linked) {
                if let Some(key) = self.cache.list(index).map(|list| list.key.clone()) {
                    self.mark_changed(Query::List(key));
                }
            }
        }
        self.refetch_observed(now, |query| match query {
            Query::List(key) => key.parent_filter.as_ref().is_some_and(|b| b.column.is_none() && b.parent == *parent),
            _ => false,
        });
    }

    fn enqueue(&mut self, entry: OutboxEntry) {
        let id = entry.id;
        self.outbox.push(entry);
        self.persist_user_input(id);
    }

    fn drop_entry(&mut self, id: Uuid) {
        self.outbox.retain(|e| e.id != id);
        self.persistence.writes.push(Write::Remove(Namespace::Outbox, id.to_string()));
        self.persistence.outbox_removals.insert(id, self.persistence.next_batch());
        self.effects.push(Effect::BroadcastOutboxChanged);
    }

    /// Persists an entry with new user input; the entry is not sent before it is on disk.
    fn persist_user_input(&mut self, id: Uuid) {
        self.write_entry(id, true);
    }

    /// Persists the new state of an entry without new user input.
    ///
    /// The write is fenced: it has an effect only if this tab is the leader. The entry is not sent
    /// before it is on disk.
    pub(super) fn persist_entry(&mut self, id: Uuid) {
        self.write_entry(id, false);
    }

    fn write_entry(&mut self, id: Uuid, has_unsaved_input: bool) {
        let batch = self.persistence.next_batch();
        let write = if has_unsaved_input { Write::Put } else { Write::PutFenced };
        if let Some(entry) = self.outbox.iter_mut().rfind(|e| e.id == id) {
            (entry.persisted, entry.batch, entry.has_unsaved_input) = (false, batch, has_unsaved_input);
            let bytes = serde_json::to_vec(entry).unwrap_or_default();
            self.persistence.writes.push(write(Namespace::Outbox, id.to_string(), bytes));
        }
    }

    /// Writes the user data of failed batches again.
    pub(super) fn rewrite_user_data(&mut self, batches: &RangeInclusive<u64>) {
        let entries = self
            .outbox
            .iter()
            .filter(|e| !e.persisted && batches.contains(&e.batch))
            .map(|e| (e.id, e.has_unsaved_input));
        let entries: Vec<(Uuid, bool)> = entries.collect();
        entries.into_iter().for_each(|(id, has_unsaved_input)| self.write_entry(id, has_unsaved_input));
        let removed: Vec<Uuid> = self
            .persistence
            .outbox_removals
            .iter()
            .filter(|(_, batch)| batches.contains(*batch))
            .map(|(id, _)| *id)
            .collect();
        for id in removed {
            self.persistence.writes.push(Write::Remove(Namespace::Outbox, id.to_string()));
            self.persistence.outbox_removals.insert(id, self.persistence.next_batch());
        }
        let drafts: Vec<EntityRef> = self
            .persistence
            .draft_writes
            .iter()
            .filter(|(_, batch)| batches.contains(*batch))
            .map(|(e, _)| e.clone())
            .collect();
        for entity in drafts {
            let updated_at = self.drafts.get(&entity).map_or(UnixMillis::EPOCH, |draft| draft.updated_at);
            self.persist_draft(&entity, updated_at);
        }
    }

    /// Allows the entries of completed batches to be sent.
    ///
    /// If the store is disabled, entries are sent without being on disk; the page informs the user.
    pub(super) fn on_entries_persisted(&mut self, batches: &RangeInclusive<u64>) {
        let mut any = false;
        self.persistence.outbox_removals.retain(|_, batch| *batch > *batches.end());
        self.persistence.draft_writes.retain(|_, batch| *batch > *batches.end());
        for entry in self.outbox.iter_mut().filter(|e| !e.persisted && batches.contains(&e.batch)) {
            entry.persisted = true;
            any = true;
        }
        if any {
            self.effects.push(Effect::BroadcastOutboxChanged);
        }
    }

    /// Replaces the outbox with the stored one, which is authoritative.
    ///
    /// Entries that this tab has not persisted yet and its in-flight flags are preserved.
    pub(super) fn reconcile_outbox(&mut self, entries: Vec<OutboxEntry>) {
        let touched: DetHashSet<EntityRef> = self.outbox.iter().chain(&entries).map(|e| e.entity.clone()).collect();
        let old = std::mem::take(&mut self.outbox);
        for mut entry in entries {
            // The outbox was read before the removal by this tab was on disk.
            if self.persistence.outbox_removals.contains_key(&entry.id) {
                continue;
            }
            let known = old.iter().find(|e| e.id == entry.id);
            if let Some(known) = known.filter(|known| !known.persisted) {
                self.outbox.push(known.clone());
                continue;
            }
            entry.persisted = true;
            entry.in_flight = known.is_some_and(|k| k.in_flight);
            // Another tab or an earlier session may have sent the entry, so its idempotency key is
            // bound to this body.
            let attempts =
                known.filter(|known| known.idempotency_key == entry.idempotency_key).map_or(1, |known| known.attempts);
            entry.attempts = entry.attempts.max(attempts).max(1);
            if super::is_create(&entry) {
                self.cache.slot_or_insert(&entry.entity);
            }
            self.outbox.push(entry);
        }
        let disabled = self.is_disabled();
        for entry in old.into_iter().filter(|e| !e.persisted || disabled) {
            if !self.outbox.iter().any(|e| e.id == entry.id) {
                self.outbox.push(entry);
            }
        }
        for entity in touched {
            self.refresh_entity(&entity, false);
        }
    }

    /// Rebases an unsent update if its base values differ from the current row.
    ///
    /// They differ if an earlier write, on which the update is based, failed. The update is merged
    /// as after a 412. Returns `false` if the entry cannot be sent: the user must resolve a
    /// conflict, or nothing is left to write.
    fn rebase_on_current(&mut self, index: usize) -> bool {
        let Some(entry) = self.outbox.get(index).filter(|e| e.attempts == 0) else { return true };
        let Operation::Update { base, base_version, .. } = &entry.operation else { return true };
        let row = self.cache.get(&entry.entity).filter(|row| row.version == *base_version);
        let Some(current) = row.and_then(|row| row.decoded()) else { return true };
        let null = Value::Null;
        if base.iter().all(|(column, value)| current.get(column).unwrap_or(&null) == value) {
            return true;
        }
        let (id, entity, key) = (entry.id, entry.entity.clone(), entry.idempotency_key);
        let entry = &mut self.outbox[index];
        let ready = entry.rebase((*current).clone(), key) && !entry.is_noop();
        let noop = entry.is_noop();
        if noop {
            self.drop_entry(id)
        } else {
            self.persist_entry(id)
        }
        self.refresh_entity(&entity, true);
        ready
    }

    /// Sends the entries that are ready, at most `parallel_writes` at a time.
    ///
    /// An entry waits for earlier entries on which it depends.
    pub(super) fn send_pending(&mut self, now: UnixMillis) {
        if !self.leader || !self.browser_online || !self.token_valid || self.persistence.locked {
            return;
        }
        let mut in_flight = self.outbox.iter().filter(|e| e.in_flight).count();
        let mut send = Vec::new();
        for (index, entry) in self.outbox.iter().enumerate() {
            if in_flight >= self.settings.parallel_writes {
                break;
            }
            let ready =
                entry.state == EntryState::Pending && entry.persisted && !entry.in_flight && entry.retry_at <= now;
            if ready && !self.outbox[..index].iter().any(|earlier| entry.depends_on(earlier)) {
                send.push(index);
                in_flight += 1;
            }
        }
        let send: Vec<Uuid> = send.into_iter().filter_map(|index| Some(self.outbox.get(index)?.id)).collect();
        for id in send {
            let index_of = |outbox: &[OutboxEntry]| outbox.iter().position(|e| e.id == id);
            let Some(index) = index_of(&self.outbox) else { continue };
            if !self.rebase_on_current(index) || !self.outbox.get(index).is_some_and(|e| e.id == id && e.persisted) {
                continue; // a rebased entry must be persisted first
            }
            let entry = &mut self.outbox[index];
            entry.in_flight = true;
            entry.attempts += 1;
            let (id, request) = (entry.id, entry.request());
            self.request(PendingRequest::Write(id), request);
        }
    }

    pub(super) fn on_write_response(&mut self, id: Uuid, response: Result<Response, RequestError>, now: UnixMillis) {
        let Some(index) = self.outbox.iter().position(|e| e.id == id) else { return };
        self.outbox[index].in_flight = false;
        let entity = self.outbox[index].entity.clone();
        let deleting = matches!(self.outbox[index].operation, Operation::Delete { .. });
        match response {
            Ok(response) => {
                let entry = self.outbox[index].clone();
                if matches!(entry.operation, Operation::Link { .. }) {
                    self.drop_entry(id);
                    self.refresh_entity(&entity, true);
                    self.refetch_linked_lists(&entry, true, now);
                    if self.cache.get(&entity).is_some_and(|row| row.base.is_some() && row.stale)
                        && self.is_possibly_observed(&entity)
                    {
                        self.request_row(&entity);
                    }
                    return;
                }
                let created = super::is_create(&entry);
                // The stored response to an earlier attempt, or a response from before an access
                // change, may be outdated.
                let outdated = self.outbox[index].attempts > 1 || self.current_response <= self.access_fence;
                self.drop_entry(id);
                match serde_json::from_str(&response.body).unwrap_or_default() {
                    Value::Object(row) => {
                        self.rebase_dependents(&entity, &row);
                        self.apply_row(&entity.code, &response.body, now);
                        if outdated {
                            if let Some(row) = self.cache.get_mut(&entity) {
                                row.stale = true;
                            }
                            self.request_row(&entity);
                        }
                        if created {
                            // Until now the entity existed only locally, and no subscription to it
                            // was possible.
                            self.reset_sent_presence();
                            self.refetch_observed(now, |query| match query {
                                Query::Row(observed) => *observed == entity,
                                Query::List(key) => key.parent_filter.as_ref().is_some_and(|b| b.parent == entity),
                                Query::Meta(_) => false,
                            });
                        }
                    }
                    _ if deleting => self.remove_entity(&entity),
                    _ => {}
                }
                self.refresh_entity(&entity, true);
            }
            Err(RequestError::Rejected(problem)) => match problem.status {
                // The link or the entity no longer exists on the server.
                404 if matches!(self.outbox[index].operation, Operation::Link { linked: false, .. }) => {
                    let entry = self.outbox[index].clone();
                    self.drop_entry(id);
                    self.refresh_entity(&entity, true);
                    self.refetch_linked_lists(&entry, true, now);
                }
                404 if deleting => {
                    self.drop_entry(id);
                    self.remove_entity(&entity);
                    self.refresh_entity(&entity, true);
                }
                412 => {
                    let Some(current) = problem.current.clone() else { return self.reject(index, *problem, now) };
                    let mut current = current;
                    self.apply_row(&entity.code, RawRow::from_row(&current).as_str(), now);
                    current.remove("ref_data_entityInstance");
                    let entry = &mut self.outbox[index];
                    // The merged write has another body and therefore needs a new idempotency key.
                    let new_key = Uuid::from_u128(entry.idempotency_key.as_u128().wrapping_add(1));
                    entry.rebase(current, new_key);
                    if entry.is_noop() {
                        self.drop_entry(id);
                    } else {
                        self.persist_entry(id);
                    }
                    self.refresh_entity(&entity, true);
                }
                // If token refreshes have had no effect, the entry backs off as after any other
                // failure.
                401 if self.token_refreshes > 2 => self.schedule_write_retry(index, now),
                401 => {}
                429 | 500..=599 => self.schedule_write_retry(index, now),
                _ => self.reject(index, *problem, now),
            },
            Err(RequestError::Network) => self.schedule_write_retry(index, now),
        }
        // Another user may have changed the row while the response was pending.
        if self.cache.get(&entity).is_some_and(|row| row.base.is_some() && row.stale)
            && self.is_possibly_observed(&entity)
        {
            self.request_row(&entity);
        }
    }

    /// Rebases later writes to the same entity on the row that this write produced.
    ///
    /// They are based on this write, or were made by another tab that did not know of it. Only
    /// unsent entries are rebased. A sent entry retains its body, to which its idempotency key is
    /// bound; a 412 leads to its merge.
    fn rebase_dependents(&mut self, entity: &EntityRef, row: &Row) {
        let version = row_version(row).0;
        let mut current = row.clone();
        current.remove("ref_data_entityInstance");
        let mut rebased = Vec::new();
        for entry in self.outbox.iter_mut().filter(|e| e.entity == *entity && !e.in_flight && e.attempts == 0) {
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
            rebased.push((entry.id, entry.is_noop()));
        }
        for (id, noop) in rebased {
            if noop { self.drop_entry(id) } else { self.persist_entry(id) }
        }
    }

    fn schedule_write_retry(&mut self, index: usize, now: UnixMillis) {
        let entry = &mut self.outbox[index];
        let delay = (WRITE_RETRY_INITIAL * (1 << (entry.attempts.clamp(1, 6) - 1))).min(WRITE_RETRY_MAX);
        entry.retry_at = now + delay;
    }

    fn reject(&mut self, index: usize, problem: pmo_domain::api_types::Problem, now: UnixMillis) {
        let entry = &mut self.outbox[index];
        entry.state = EntryState::Rejected { problem };
        let entry = entry.clone();
        self.persist_entry(entry.id);
        self.refresh_entity(&entry.entity, true);
        self.refetch_linked_lists(&entry, false, now);
    }

    pub(super) fn resolve(&mut self, id: Uuid, seen: Uuid, choice: Resolution, now: UnixMillis) {
        let Some(entry) = self.outbox.iter_mut().find(|e| e.id == id && e.idempotency_key == seen) else { return };
        let entity = entry.entity.clone();
        let rejected_create = super::is_create(entry) && matches!(entry.state, EntryState::Rejected { .. });
        if rejected_create && choice == Resolution::TakeTheirs {
            return self.discard_entry(id, now);
        }
        let discarded = match (choice, &entry.state) {
            (_, EntryState::Pending) => return,
            // A rejected write is retried unchanged under its own key: if an earlier attempt
            // succeeded after all, the write is not applied twice.
            (Resolution::KeepMine(_), EntryState::Rejected { .. }) => {
                entry.state = EntryState::Pending;
                entry.attempts = entry.attempts.max(1);
                entry.retry_at = UnixMillis::EPOCH;
                Row::new()
            }
            (_, EntryState::Rejected { .. }) => {
                let local_values = entry.local_values();
                self.drop_entry(id);
                local_values
            }
            (Resolution::TakeTheirs, _) if matches!(entry.operation, Operation::Delete { .. }) => {
                self.drop_entry(id);
                Row::new()
            }
            (Resolution::TakeTheirs, _) => entry.resolve(&Row::new(), seen),
            (Resolution::KeepMine(key), _) => entry.resolve(&entry.local_values(), key),
            (Resolution::PerField(values, key), _) => entry.resolve(&values, key),
        };
        match self.outbox.iter().find(|e| e.id == id) {
            Some(entry) if entry.is_noop() => self.drop_entry(id),
            Some(_) => self.persist_entry(id),
            None => {}
        }
        self.stash(&entity, discarded, now);
        self.refresh_entity(&entity, true);
    }

    /// Stores discarded input in the draft of its entity, where Redo can restore it.
    fn stash(&mut self, entity: &EntityRef, values: Row, now: UnixMillis) {
        if values.is_empty() {
            return;
        }
        let row = self.visible_row(entity).unwrap_or_default();
        self.begin_draft(entity, row_version(&row).0, now).push_redo(values, &row, now);
        self.persist_draft(entity, now);
    }

    /// Moves a rejected update back into its draft, so that the user can edit and send it again.
    ///
    /// Does nothing if the entity no longer exists: the draft could not be opened.
    pub(super) fn revert_to_draft(&mut self, id: Uuid, now: UnixMillis) {
        let is_rejected = |e: &&OutboxEntry| e.id == id && matches!(e.state, EntryState::Rejected { .. });
        let Some(entry) = self.outbox.iter().find(is_rejected).filter(|e| self.is_known(&e.entity)) else { return };
        let (entity, operation) = (entry.entity.clone(), entry.operation.clone());
        let Operation::Update { patch, base, base_version } = operation else { return };
        self.drop_entry(id);
        let draft = self.begin_draft(&entity, base_version, now);
        for (field, value) in patch {
            let before = base.get(&field).cloned().unwrap_or(Value::Null);
            draft.set(&field, value, &before, now);
        }
        self.persist_draft(&entity, now);
        self.refresh_entity(&entity, true);
    }

    /// Returns an entry with the entries that would fail without it.
    ///
    /// These are all entries that refer to an entity which would not be created.
    pub fn with_dependents(&self, id: Uuid) -> Vec<&OutboxEntry> {
        let mut entries: Vec<&OutboxEntry> = Vec::new();
        for entry in &self.outbox {
            let creates_reference =
                |first: &&OutboxEntry| super::is_create(first) && entry.refers_to_entity(&first.entity);
            if entry.id == id || entries.iter().any(creates_reference) {
                entries.push(entry);
            }
        }
        entries
    }

    pub(super) fn discard_entry(&mut self, id: Uuid, now: UnixMillis) {
        let created: Vec<EntityRef> =
            self.with_dependents(id).into_iter().filter(|e| super::is_create(e)).map(|e| e.entity.clone()).collect();
        if self.discard_with_dependents(id, now) {
            // The draft of an entity that is never created could not be opened.
            for entity in &created {
                let never_made = self.cache.get(entity).is_none_or(|row| row.base.is_none());
                if never_made && self.drafts.contains_key(entity) {
                    self.draft_discard(entity, now);
                }
            }
        }
    }

    /// Discards an entry with its dependents; returns `false` if one of them is in flight.
    fn discard_with_dependents(&mut self, id: Uuid, now: UnixMillis) -> bool {
        let discarded: Vec<OutboxEntry> = self.with_dependents(id).into_iter().cloned().collect();
        if discarded.iter().any(|e| e.in_flight) {
            return false;
        }
        let created: Vec<EntityRef> =
            discarded.iter().filter(|e| super::is_create(e)).map(|e| e.entity.clone()).collect();
        for entry in discarded {
            // An update of another entity retains its other values.
            let dependent =
                self.outbox.iter_mut().find(|e| e.id == entry.id && e.id != id && !created.contains(&e.entity));
            if dependent.is_some_and(|dependent| dependent.remove_references(&created)) {
                self.persist_entry(entry.id);
            } else {
                self.drop_entry(entry.id);
            }
            self.refresh_entity(&entry.entity, true);
            self.refetch_linked_lists(&entry, false, now);
        }
        true
    }
}
