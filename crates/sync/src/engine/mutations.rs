//! Writes: shown at once, kept on disk, sent in order, merged when somebody else was faster. Nothing that was typed is dropped
//! without a person's word.

use super::{Engine, PendingRequest};
use crate::collections::DetHashSet;
use crate::event::{Effect, RequestError, Response};
use crate::merge::pick_columns;
use crate::outbox::{EntryState, Operation, OutboxEntry, Resolution};
use crate::query_key::Query;
use crate::raw_row::RawRow;
use crate::store::{Namespace, Write};
use pmo_domain::api_types::row_version;
use pmo_domain::{EntityRef, Row};
use serde_json::Value;
use std::ops::RangeInclusive;
use std::sync::Arc;
use uuid::Uuid;

impl Engine {
    /// A row as it is shown.
    pub(super) fn visible_row(&self, entity: &EntityRef) -> Option<Arc<Row>> {
        self.cache.get(entity)?.shown()
    }

    pub(super) fn update(&mut self, entity: EntityRef, patch: Row, based_on: Option<(Row, i64)>, ids: [Uuid; 2]) {
        let before = self.visible_row(&entity).unwrap_or_default();
        if patch.is_empty() {
            return;
        }
        let of_it: Vec<usize> =
            self.outbox.iter().enumerate().filter(|(_, e)| e.entity == entity).map(|(at, _)| at).collect();
        // Another tab may be sending what this one made: only the tab that sends knows, and writes into what waits.
        let may_fold = based_on.is_none() && self.leader && !self.tabs.term_unverified;
        let last = of_it.last().copied().filter(|at| may_fold && self.outbox[*at].can_coalesce());
        if let Some(at) = last
            && !self.outbox[at].persisted
        {
            self.outbox[at].coalesce(patch, &before);
            self.persist_user_input(self.outbox[at].id);
        } else if let Some(at) = last
            && matches!(self.outbox[at].operation, Operation::Update { .. })
        {
            // What is on disk another tab may take over while this one is frozen: the two together are a write of their own, and the first goes with a
            // word that only the tab that leads may say.
            let mut both = OutboxEntry::new(ids, entity.clone(), self.outbox[at].operation.clone());
            both.coalesce(patch, &before);
            let first = self.outbox[at].id;
            self.enqueue(both);
            self.drop_entry(first);
        } else {
            // What is shown stands on the writes that are still on their way: the version is that which the first of them was made on, or one of them that
            // comes to nothing would leave this one on values that were never the server's.
            let begun = of_it.iter().filter_map(|at| match &self.outbox[*at].operation {
                Operation::Update { base_version, .. } => Some(*base_version),
                _ => None,
            });
            let begun = begun.min();
            let (base, base_version) = based_on.unwrap_or_else(|| {
                let version = row_version(&before).0;
                (pick_columns(patch.keys(), &before), begun.map_or(version, |begun| begun.min(version)))
            });
            self.enqueue(OutboxEntry::new(ids, entity.clone(), Operation::Update { patch, base, base_version }));
        }
        self.refresh_entity(&entity, false);
    }

    pub(super) fn create(&mut self, entity: EntityRef, mut values: Row, ids: [Uuid; 2]) {
        values.insert("id".into(), Value::String(entity.id.to_string()));
        self.cache.slot_or_insert(&entity);
        self.enqueue(OutboxEntry::new(ids, entity.clone(), Operation::Create { values }));
        self.refresh_entity(&entity, true);
    }

    pub(super) fn delete(&mut self, entity: EntityRef, ids: [Uuid; 2], now: f64) {
        let version = self.cache.get(&entity).map_or(0, |r| r.version);
        // What was never sent need not be made and deleted.
        // On disk another tab may take it over while this one is frozen: then only a write of its own takes it back.
        let first = self.outbox.iter().find(|e| e.entity == entity).filter(|e| super::is_create(e)).map(|e| e.id);
        let only_here =
            |id: &Uuid| self.with_dependents(*id).iter().all(|e| !e.persisted && (e.can_coalesce() || e.is_link()));
        if let Some(first) = first.filter(|id| self.leader && !self.tabs.term_unverified && only_here(id)) {
            self.discard_with_dependents(first, now);
        } else {
            self.enqueue(OutboxEntry::new(ids, entity.clone(), Operation::Delete { base_version: version }));
        }
        self.refresh_entity(&entity, true);
    }

    pub(super) fn link(&mut self, parent: EntityRef, child: EntityRef, below: bool, ids: [Uuid; 2]) {
        let slot = self.cache.slot_or_insert(&child);
        if self.cache.row(slot).is_some_and(|row| !row.is_visible()) {
            // It is known by its name alone.
            self.read_row(slot);
            self.request_row(&child);
        }
        self.enqueue(OutboxEntry::new(ids, child.clone(), Operation::Link { parent, linked: below }));
        self.refresh_entity(&child, true);
    }

    /// What is tied and parted here, shown in a list that was told without it.
    pub(super) fn apply_pending_links(&mut self, parent: &EntityRef) {
        let tied =
            self.outbox.iter().filter(|e| matches!(&e.operation, Operation::Link { parent: p, .. } if p == parent));
        let tied: Vec<EntityRef> = tied.map(|e| e.entity.clone()).collect();
        for child in tied {
            if let Some(slot) = self.cache.slot_of(&child) {
                self.reindex(slot);
            }
        }
    }

    /// A tie is not what it was here: done by the server, or come to nothing. The lists that it is about are asked for again.
    fn refetch_linked_lists(&mut self, entry: &OutboxEntry, done: bool, now: f64) {
        let Operation::Link { parent, linked: below } = &entry.operation else { return };
        // Another that waits says how it is shown.
        let same = |e: &OutboxEntry| matches!(&e.operation, Operation::Link { parent: p, .. } if p == parent);
        let another = self.outbox.iter().any(|e| e.entity == entry.entity && e.state == EntryState::Pending && same(e));
        if !done
            && !another
            && let Some(slot) = self.cache.slot_of(&entry.entity)
        {
            for index in self.cache.rollback_link(slot, parent, *below) {
                if let Some(key) = self.cache.list(index).map(|list| list.key.clone()) {
                    self.mark_changed(Query::List(key));
                }
            }
        }
        self.refetch_observed(now, |query| match query {
            Query::List(key) => key.below.as_ref().is_some_and(|b| b.column.is_none() && b.parent == *parent),
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

    /// Brings an entry to disk in which a person has typed; until that is done it is not sent.
    fn persist_user_input(&mut self, id: Uuid) {
        self.write_entry(id, true);
    }

    /// Brings to disk what has come of an entry; until that is done it is not sent.
    pub(super) fn persist_entry(&mut self, id: Uuid) {
        self.write_entry(id, false);
    }

    fn write_entry(&mut self, id: Uuid, typed: bool) {
        let batch = self.persistence.next_batch();
        let write = if typed { Write::Put } else { Write::PutFenced };
        if let Some(entry) = self.outbox.iter_mut().rfind(|e| e.id == id) {
            (entry.persisted, entry.batch, entry.has_unsaved_input) = (false, batch, typed);
            let bytes = serde_json::to_vec(entry).unwrap_or_default();
            self.persistence.writes.push(write(Namespace::Outbox, id.to_string(), bytes));
        }
    }

    /// The device did not take these batches: what a person typed in them is written again.
    pub(super) fn rewrite_user_data(&mut self, batches: &RangeInclusive<u64>) {
        let entries = self
            .outbox
            .iter()
            .filter(|e| !e.persisted && batches.contains(&e.batch))
            .map(|e| (e.id, e.has_unsaved_input));
        let entries: Vec<(Uuid, bool)> = entries.collect();
        entries.into_iter().for_each(|(id, typed)| self.write_entry(id, typed));
        let dropped: Vec<Uuid> = self
            .persistence
            .outbox_removals
            .iter()
            .filter(|(_, dropped)| batches.contains(*dropped))
            .map(|(id, _)| *id)
            .collect();
        for id in dropped {
            self.persistence.writes.push(Write::Remove(Namespace::Outbox, id.to_string()));
            self.persistence.outbox_removals.insert(id, self.persistence.next_batch());
        }
        let drafts: Vec<EntityRef> = self
            .persistence
            .draft_writes
            .iter()
            .filter(|(_, drafted)| batches.contains(*drafted))
            .map(|(e, _)| e.clone())
            .collect();
        for entity in drafts {
            let ended = self.drafts.get(&entity).map_or(0.0, |draft| draft.updated_at);
            self.persist_draft(&entity, ended);
        }
    }

    /// These batches are over: their entries may be sent. Where the device keeps nothing they are sent all the same; the page says what that means.
    pub(super) fn on_entries_persisted(&mut self, batches: &RangeInclusive<u64>) {
        let mut any = false;
        self.persistence.outbox_removals.retain(|_, dropped| *dropped > *batches.end());
        self.persistence.draft_writes.retain(|_, drafted| *drafted > *batches.end());
        for entry in self.outbox.iter_mut().filter(|e| !e.persisted && batches.contains(&e.batch)) {
            entry.persisted = true;
            any = true;
        }
        if any {
            self.effects.push(Effect::BroadcastOutboxChanged);
        }
    }

    /// The device's outbox is the truth; what this tab is just sending stays marked so.
    pub(super) fn reconcile_outbox(&mut self, entries: Vec<OutboxEntry>) {
        let touched: DetHashSet<EntityRef> = self.outbox.iter().chain(&entries).map(|e| e.entity.clone()).collect();
        let old = std::mem::take(&mut self.outbox);
        for mut entry in entries {
            // What was read before this tab's own last word on it came to disk is older than that.
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
            // Another tab or an earlier life may have sent it: its key stands for this body and no other.
            let tried =
                known.filter(|known| known.idempotency_key == entry.idempotency_key).map_or(1, |known| known.attempts);
            entry.attempts = entry.attempts.max(tried).max(1);
            if super::is_create(&entry) {
                self.cache.slot_or_insert(&entry.entity);
            }
            self.outbox.push(entry);
        }
        let given_up = self.is_disabled();
        for entry in old.into_iter().filter(|e| !e.persisted || given_up) {
            if !self.outbox.iter().any(|e| e.id == entry.id) {
                self.outbox.push(entry);
            }
        }
        for entity in touched {
            self.refresh_entity(&entity, false);
        }
    }

    /// A write was made on top of an earlier one that did not come to the server: what it was made on is not what it would replace. It is merged like one
    /// whose version is behind. False where a person must decide now.
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
        let stands = entry.rebase((*current).clone(), key) && !entry.is_noop();
        let void = entry.is_noop();
        if void {
            self.drop_entry(id)
        } else {
            self.persist_entry(id)
        }
        self.refresh_entity(&entity, true);
        stands
    }

    /// Sends what can be sent: in order where one write needs another, up to four at once.
    pub(super) fn send_pending(&mut self, now: f64) {
        if !self.leader || !self.browser_online || !self.token_good || self.persistence.locked {
            return;
        }
        let mut under_way = self.outbox.iter().filter(|e| e.in_flight).count();
        let mut send = Vec::new();
        for (index, entry) in self.outbox.iter().enumerate() {
            if under_way >= self.settings.parallel_writes {
                break;
            }
            let ready =
                entry.state == EntryState::Pending && entry.persisted && !entry.in_flight && entry.retry_at <= now;
            if ready && !self.outbox[..index].iter().any(|earlier| entry.depends_on(earlier)) {
                send.push(index);
                under_way += 1;
            }
        }
        let send: Vec<Uuid> = send.into_iter().filter_map(|index| Some(self.outbox.get(index)?.id)).collect();
        for id in send {
            let place = |outbox: &[OutboxEntry]| outbox.iter().position(|e| e.id == id);
            let Some(index) = place(&self.outbox) else { continue };
            if !self.rebase_on_current(index) || !self.outbox.get(index).is_some_and(|e| e.id == id && e.persisted) {
                continue; // a merged one goes to disk first
            }
            let entry = &mut self.outbox[index];
            entry.in_flight = true;
            entry.attempts += 1;
            let (id, request) = (entry.id, entry.request());
            self.request(PendingRequest::Write(id), request);
        }
    }

    pub(super) fn on_write_response(&mut self, id: Uuid, answer: Result<Response, RequestError>, now: f64) {
        let Some(index) = self.outbox.iter().position(|e| e.id == id) else { return };
        self.outbox[index].in_flight = false;
        let entity = self.outbox[index].entity.clone();
        let deleting = matches!(self.outbox[index].operation, Operation::Delete { .. });
        match answer {
            Ok(answer) => {
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
                let made = super::is_create(&entry);
                // An answer to a first try, or of before this person's access changed, may be of long ago.
                let old = self.outbox[index].attempts > 1 || self.current_response <= self.access_fence;
                self.drop_entry(id);
                match serde_json::from_str(&answer.body).unwrap_or_default() {
                    Value::Object(row) => {
                        self.rebase_dependents(&entity, &row);
                        self.apply_row(&entity.code, &answer.body, now);
                        if old {
                            if let Some(row) = self.cache.get_mut(&entity) {
                                row.stale = true;
                            }
                            self.request_row(&entity);
                        }
                        if made {
                            // Until now it was here alone, and could be watched by nobody.
                            self.reset_sent_presence();
                            self.refetch_observed(now, |query| match query {
                                Query::Row(looked_at) => *looked_at == entity,
                                Query::List(key) => key.below.as_ref().is_some_and(|b| b.parent == entity),
                                Query::Meta(_) => false,
                            });
                        }
                    }
                    _ if deleting => self.remove_entity(&entity, now),
                    _ => {}
                }
                self.refresh_entity(&entity, true);
            }
            Err(RequestError::Rejected(problem)) => match problem.status {
                // It is not there any more.
                404 if matches!(self.outbox[index].operation, Operation::Link { linked: false, .. }) => {
                    let entry = self.outbox[index].clone();
                    self.drop_entry(id);
                    self.refresh_entity(&entity, true);
                    self.refetch_linked_lists(&entry, true, now);
                }
                404 if deleting => {
                    self.drop_entry(id);
                    self.remove_entity(&entity, now);
                    self.refresh_entity(&entity, true);
                }
                412 => {
                    let Some(current) = problem.current.clone() else { return self.reject(index, *problem, now) };
                    let mut current = current;
                    self.apply_row(&entity.code, RawRow::from_row(&current).as_str(), now);
                    current.remove("ref_data_entityInstance");
                    let entry = &mut self.outbox[index];
                    // A merged write is another write, with a key of its own.
                    let new_key = Uuid::from_u128(entry.idempotency_key.as_u128().wrapping_add(1));
                    entry.rebase(current, new_key);
                    if entry.is_noop() {
                        self.drop_entry(id);
                    } else {
                        self.persist_entry(id);
                    }
                    self.refresh_entity(&entity, true);
                }
                // After renewals that changed nothing it waits like any other failure.
                401 if self.token_refreshes > 2 => self.back_off(index, now),
                401 => {}
                429 | 500..=599 => self.back_off(index, now),
                _ => self.reject(index, *problem, now),
            },
            Err(RequestError::Network) => self.back_off(index, now),
        }
        // A change by somebody else that came while the answer was out.
        if self.cache.get(&entity).is_some_and(|row| row.base.is_some() && row.stale)
            && self.is_possibly_observed(&entity)
        {
            self.request_row(&entity);
        }
    }

    /// Later writes to the same thing were made on what this one made, or by another tab that knew nothing of it: a merge tells. One that
    /// was sent before keeps its body, for which its key stands; a 412 merges it.
    fn rebase_dependents(&mut self, entity: &EntityRef, row: &Row) {
        let version = row_version(row).0;
        let mut current = row.clone();
        current.remove("ref_data_entityInstance");
        let mut kept = Vec::new();
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
            kept.push((entry.id, entry.is_noop()));
        }
        for (id, void) in kept {
            if void { self.drop_entry(id) } else { self.persist_entry(id) }
        }
    }

    fn back_off(&mut self, index: usize, now: f64) {
        let entry = &mut self.outbox[index];
        let delay = (1000.0 * 2f64.powi(entry.attempts.min(6) as i32 - 1)).min(30_000.0);
        entry.retry_at = now + delay;
    }

    fn reject(&mut self, index: usize, problem: pmo_domain::api_types::Problem, now: f64) {
        let entry = &mut self.outbox[index];
        entry.state = EntryState::Rejected { problem };
        let entry = entry.clone();
        self.persist_entry(entry.id);
        self.refresh_entity(&entry.entity, true);
        self.refetch_linked_lists(&entry, false, now);
    }

    pub(super) fn resolve(&mut self, id: Uuid, seen: Uuid, choice: Resolution, now: f64) {
        let Some(entry) = self.outbox.iter_mut().find(|e| e.id == id && e.idempotency_key == seen) else { return };
        let entity = entry.entity.clone();
        let refused_create = super::is_create(entry) && matches!(entry.state, EntryState::Rejected { .. });
        if refused_create && choice == Resolution::TakeTheirs {
            return self.discard_entry(id, now);
        }
        let given_up = match (choice, &entry.state) {
            (_, EntryState::Pending) => return,
            // A refused write is tried again as it is, under its own key: should an earlier try have gone through after all, it is not done twice.
            (Resolution::KeepMine(_), EntryState::Rejected { .. }) => {
                entry.state = EntryState::Pending;
                entry.attempts = entry.attempts.max(1);
                entry.retry_at = 0.0;
                Row::new()
            }
            (_, EntryState::Rejected { .. }) => {
                let typed = entry.local_values();
                self.drop_entry(id);
                typed
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
        self.stash(&entity, given_up, now);
        self.refresh_entity(&entity, true);
    }

    /// What was typed and then given up stays one 'redo' away, in the draft of its thing.
    fn stash(&mut self, entity: &EntityRef, typed: Row, now: f64) {
        if typed.is_empty() {
            return;
        }
        let row = self.visible_row(entity).unwrap_or_default();
        self.begin_draft(entity, row_version(&row).0, now).push_redo(typed, &row, now);
        self.persist_draft(entity, now);
    }

    /// A refused write goes back into its draft, to be mended and sent again. Not where there is no such thing any more: nobody would find the draft.
    pub(super) fn reopen(&mut self, id: Uuid, now: f64) {
        let refused = |e: &&OutboxEntry| e.id == id && matches!(e.state, EntryState::Rejected { .. });
        let Some(entry) = self.outbox.iter().find(refused).filter(|e| self.is_known(&e.entity)) else { return };
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

    /// A write and those that come to nothing without it: whatever is about a thing that would not be made.
    pub fn with_dependents(&self, id: Uuid) -> Vec<&OutboxEntry> {
        let mut found: Vec<&OutboxEntry> = Vec::new();
        for entry in &self.outbox {
            let made = |first: &&OutboxEntry| super::is_create(first) && entry.touches(&first.entity);
            if entry.id == id || found.iter().any(made) {
                found.push(entry);
            }
        }
        found
    }

    pub(super) fn discard_entry(&mut self, id: Uuid, now: f64) {
        let made: Vec<EntityRef> =
            self.with_dependents(id).into_iter().filter(|e| super::is_create(e)).map(|e| e.entity.clone()).collect();
        if self.discard_with_dependents(id, now) {
            // Nobody would find what was drafted of a thing that is never made.
            for entity in &made {
                let never_made = self.cache.get(entity).is_none_or(|row| row.base.is_none());
                if never_made && self.drafts.contains_key(entity) {
                    self.draft_discard(entity, now);
                }
            }
        }
    }

    /// Takes back a write and those that come to nothing without it; false where one of them is on its way.
    fn discard_with_dependents(&mut self, id: Uuid, now: f64) -> bool {
        let gone: Vec<OutboxEntry> = self.with_dependents(id).into_iter().cloned().collect();
        if gone.iter().any(|e| e.in_flight) {
            return false;
        }
        let made: Vec<EntityRef> = gone.iter().filter(|e| super::is_create(e)).map(|e| e.entity.clone()).collect();
        for entry in gone {
            // What else was typed in an edit of another thing stays.
            let kept = self.outbox.iter_mut().find(|e| e.id == entry.id && e.id != id && !made.contains(&e.entity));
            if kept.is_some_and(|kept| kept.remove_references(&made)) {
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
