//! Write path: optimistic updates, responses to writes, and decisions of the user.
//!
//! Invariant: user input is discarded only by a decision of the user.

use super::Engine;
use super::rows::Notify;
use crate::components::{PendingRequest, Resolved, Update};
use crate::event::Event;
use crate::outbox::{EntryState, Operation, OutboxEntry, Resolution, WriteIds};
use crate::query_key::Query;
use crate::raw_row::RawRow;
use crate::request::{RequestError, Response};
use crate::tab_protocol::TabMessage;
use pmo_domain::api_types::Problem;
use pmo_domain::{EntityRef, Row, UnixMillis};
use serde_json::Value;
use uuid::Uuid;

/// Outcome of a link or unlink.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LinkOutcome {
    /// The server has applied it.
    Done,
    /// The link or unlink was rejected or discarded.
    Failed,
}

impl Engine {
    /// Handles an event about the outbox.
    pub(super) fn on_write_event(&mut self, event: Event, now: UnixMillis) {
        let is_leader = self.leadership.is_leader();
        match event {
            Event::Update { entity, patch, ids } => self.update(Update { entity, patch, based_on: None, ids }),
            Event::Create { entity, values, ids } => self.create(entity, values, ids),
            Event::Delete { entity, ids } => self.delete(entity, ids, now),
            Event::Link { parent, child, linked, ids } => self.link(parent, child, linked, ids),
            Event::OutboxReloaded(entries) => self.reconcile_outbox(entries),
            Event::ResolveConflict { entry, seen, choice } if is_leader => self.resolve(entry, seen, choice, now),
            Event::ResolveConflict { entry, seen, choice } => {
                self.broadcast(TabMessage::ResolveConflict { entry, seen, choice })
            }
            Event::RevertToDraft(id) if is_leader => self.revert_to_draft(id, now),
            Event::RevertToDraft(entry) => self.broadcast(TabMessage::Reopen { entry }),
            Event::Discard(id) if is_leader => self.discard_entry(id, now),
            Event::Discard(entry) => self.broadcast(TabMessage::Discard { entry }),
            _ => {}
        }
    }

    pub(super) fn update(&mut self, update: Update) {
        if update.patch.is_empty() {
            return;
        }
        let before = self.source_row(&update.entity).unwrap_or_default();
        let entity = update.entity.clone();
        let may_coalesce = self.leadership.is_verified_leader();
        self.outbox.enqueue_update(update, &before, may_coalesce, &mut self.persistence, &mut self.effects);
        self.refresh_entity(&entity, Notify::IfChanged);
    }

    fn create(&mut self, entity: EntityRef, mut values: Row, ids: WriteIds) {
        values.insert("id".into(), Value::String(entity.id.to_string()));
        self.cache.slot_or_insert(&entity);
        let entry = OutboxEntry::new(ids, entity.clone(), Operation::Create { values });
        self.outbox.enqueue(entry, &mut self.persistence);
        self.refresh_entity(&entity, Notify::Always);
    }

    fn delete(&mut self, entity: EntityRef, ids: WriteIds, now: UnixMillis) {
        let base_version = self.cache.get(&entity).map_or(0, |r| r.version);
        // A create that was never sent is discarded together with the delete.
        let first = self.outbox.unsent_create(&entity).filter(|_| self.leadership.is_verified_leader());
        if let Some(first) = first {
            self.discard_with_dependents(first, now);
        } else {
            let entry = OutboxEntry::new(ids, entity.clone(), Operation::Delete { base_version });
            self.outbox.enqueue(entry, &mut self.persistence);
        }
        self.refresh_entity(&entity, Notify::Always);
    }

    fn link(&mut self, parent: EntityRef, child: EntityRef, linked: bool, ids: WriteIds) {
        let slot = self.cache.slot_or_insert(&child);
        if self.cache.row(slot).is_some_and(|row| !row.is_visible()) {
            // Only the name of the child is known: its row must be loaded.
            self.read_row(slot);
            self.requests.queue_row(&child);
        }
        let entry = OutboxEntry::new(ids, child.clone(), Operation::Link { parent, linked });
        self.outbox.enqueue(entry, &mut self.persistence);
        self.refresh_entity(&child, Notify::Always);
    }

    /// Applies the pending links and unlinks of `parent` to its lists.
    ///
    /// Lists loaded from the server or from disk do not contain them.
    pub(super) fn apply_pending_links(&mut self, parent: &EntityRef) {
        for child in self.outbox.children_linked_to(parent) {
            if let Some(slot) = self.cache.slot_of(&child) {
                self.reindex(slot);
            }
        }
    }

    /// Refetches the lists of a link or unlink that has ended.
    ///
    /// If it failed, the optimistic change is rolled back first, unless another pending link or
    /// unlink of the same pair determines the visible state.
    fn refetch_linked_lists(&mut self, entry: &OutboxEntry, outcome: LinkOutcome, now: UnixMillis) {
        let Operation::Link { parent, linked } = &entry.operation else { return };
        if outcome == LinkOutcome::Failed
            && !self.outbox.has_pending_link(&entry.entity, parent)
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

    fn drop_entry(&mut self, id: Uuid) {
        self.effects.push(self.outbox.remove(id, &mut self.persistence));
    }

    /// Replaces the outbox with the stored one, which is authoritative.
    pub(super) fn reconcile_outbox(&mut self, entries: Vec<OutboxEntry>) {
        let disabled = self.persistence.is_disabled();
        for entity in self.outbox.reconcile(entries, disabled, &mut self.cache) {
            self.refresh_entity(&entity, Notify::IfChanged);
        }
    }

    /// Sends the entries that are ready, at most `parallel_writes` at a time.
    pub(super) fn send_pending(&mut self, now: UnixMillis) {
        if !self.leadership.is_leader() || !self.connectivity.can_connect() || self.persistence.is_locked() {
            return;
        }
        for id in self.outbox.ready(self.settings.parallel_writes, now) {
            let rebased = self.outbox.rebase_on_current(id, &self.cache, &mut self.persistence, &mut self.effects);
            if let Some(entity) = rebased {
                // The rebased entry must be persisted first.
                self.refresh_entity(&entity, Notify::Always);
            } else if let Some(request) = self.outbox.begin_sending(id) {
                let (_, effect) = self.requests.start(PendingRequest::Write(id), request);
                self.effects.push(effect);
            }
        }
    }

    pub(super) fn on_write_response(&mut self, id: Uuid, response: Result<Response, RequestError>, now: UnixMillis) {
        let Some(entry) = self.outbox.end_sending(id).cloned() else { return };
        match response {
            Ok(response) => self.on_write_confirmed(&entry, &response, now),
            Err(RequestError::Rejected(problem)) => self.on_write_rejected(&entry, *problem, now),
            Err(RequestError::Network) => self.outbox.schedule_retry(id, now),
        }
        // Another user may have changed the row while the response was pending.
        if self.cache.get(&entry.entity).is_some_and(|row| row.base.is_some() && row.stale)
            && self.is_possibly_observed(&entry.entity)
        {
            self.requests.queue_row(&entry.entity);
        }
    }

    fn on_write_confirmed(&mut self, entry: &OutboxEntry, response: &Response, now: UnixMillis) {
        let entity = &entry.entity;
        self.drop_entry(entry.id);
        if entry.is_link() {
            self.refresh_entity(entity, Notify::Always);
            return self.refetch_linked_lists(entry, LinkOutcome::Done, now);
        }
        match serde_json::from_str(&response.body).unwrap_or_default() {
            Value::Object(row) => {
                self.outbox.rebase_dependents(entity, &row, &mut self.persistence, &mut self.effects);
                self.apply_row(&entity.code, &response.body, now);
                // The stored response to an earlier attempt, or a response from before an access
                // change, may be outdated.
                if entry.attempts > 1 || self.requests.is_response_fenced() {
                    if let Some(row) = self.cache.get_mut(entity) {
                        row.stale = true;
                    }
                    self.requests.queue_row(entity);
                }
                if entry.is_create() {
                    // Until now the entity existed only locally, and no subscription to it was
                    // possible.
                    self.presence.reset_sent();
                    self.refetch_observed(now, |query| match query {
                        Query::Row(observed) => observed == entity,
                        Query::List(key) => key.parent_filter.as_ref().is_some_and(|b| b.parent == *entity),
                        Query::Meta(_) => false,
                    });
                }
            }
            _ if entry.is_delete() => self.remove_entity(entity),
            _ => {}
        }
        self.refresh_entity(entity, Notify::Always);
    }

    fn on_write_rejected(&mut self, entry: &OutboxEntry, problem: Problem, now: UnixMillis) {
        let (id, entity) = (entry.id, &entry.entity);
        match problem.status {
            // The link or the entity no longer exists on the server.
            404 if matches!(entry.operation, Operation::Link { linked: false, .. }) => {
                self.drop_entry(id);
                self.refresh_entity(entity, Notify::Always);
                self.refetch_linked_lists(entry, LinkOutcome::Done, now);
            }
            404 if entry.is_delete() => {
                self.drop_entry(id);
                self.remove_entity(entity);
                self.refresh_entity(entity, Notify::Always);
            }
            412 => {
                let Some(mut current) = problem.current.clone() else { return self.reject(id, problem, now) };
                self.apply_row(&entity.code, RawRow::from_row(&current).as_str(), now);
                current.remove("ref_data_entityInstance");
                self.outbox.rebase_rejected(id, current, &mut self.persistence, &mut self.effects);
                self.refresh_entity(entity, Notify::Always);
            }
            // If token refreshes have had no effect, the entry backs off as after any other
            // failure.
            401 if !self.connectivity.is_refresh_futile() => {}
            401 | 429 | 500..=599 => self.outbox.schedule_retry(id, now),
            _ => self.reject(id, problem, now),
        }
    }

    fn reject(&mut self, id: Uuid, problem: Problem, now: UnixMillis) {
        let Some(entry) = self.outbox.reject(id, problem, &mut self.persistence) else { return };
        self.refresh_entity(&entry.entity, Notify::Always);
        self.refetch_linked_lists(&entry, LinkOutcome::Failed, now);
    }

    pub(super) fn resolve(&mut self, id: Uuid, seen: Uuid, choice: Resolution, now: UnixMillis) {
        let Some(entry) = self.outbox.get(id).filter(|e| e.idempotency_key == seen) else { return };
        let rejected_create = entry.is_create() && matches!(entry.state, EntryState::Rejected { .. });
        if rejected_create && choice == Resolution::TakeTheirs {
            return self.discard_entry(id, now);
        }
        let resolved = self.outbox.resolve(id, seen, choice, &mut self.persistence, &mut self.effects);
        if let Some(Resolved { entity, discarded }) = resolved {
            self.stash(&entity, discarded, now);
            self.refresh_entity(&entity, Notify::Always);
        }
    }

    /// Moves a rejected update back into its draft, so that the user can edit and send it again.
    ///
    /// Does nothing if the entity no longer exists: the draft could not be opened.
    pub(super) fn revert_to_draft(&mut self, id: Uuid, now: UnixMillis) {
        let is_rejected = |e: &&OutboxEntry| matches!(e.state, EntryState::Rejected { .. });
        let Some(entry) = self.outbox.get(id).filter(is_rejected).filter(|e| self.is_known(&e.entity)) else { return };
        let (entity, operation) = (entry.entity.clone(), entry.operation.clone());
        let Operation::Update { patch, base, base_version } = operation else { return };
        self.drop_entry(id);
        self.edit_draft(&entity, base_version, now, |draft| {
            for (field, value) in patch {
                let before = base.get(&field).cloned().unwrap_or(Value::Null);
                draft.set(&field, value, &before, now);
            }
        });
        self.refresh_entity(&entity, Notify::Always);
    }

    /// Discards an entry with its dependents, and the drafts of entities that are never created.
    pub(super) fn discard_entry(&mut self, id: Uuid, now: UnixMillis) {
        for entry in self.discard_with_dependents(id, now).into_iter().filter(OutboxEntry::is_create) {
            let never_made = self.cache.get(&entry.entity).is_none_or(|row| row.base.is_none());
            if never_made && self.drafts.get(&entry.entity).is_some() {
                self.draft_discard(&entry.entity, now);
            }
        }
    }

    /// Discards an entry with its dependents; returns none if one of them is in flight.
    fn discard_with_dependents(&mut self, id: Uuid, now: UnixMillis) -> Vec<OutboxEntry> {
        let discarded = self.outbox.discard(id, &mut self.persistence, &mut self.effects).unwrap_or_default();
        for entry in &discarded {
            self.refresh_entity(&entry.entity, Notify::Always);
            self.refetch_linked_lists(entry, LinkOutcome::Failed, now);
        }
        discarded
    }
}
