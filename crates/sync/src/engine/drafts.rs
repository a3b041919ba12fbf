//! Drafts: editing, undo, redo, discard and commit.

use super::Engine;
use super::rows::Notify;
use crate::components::Update;
use crate::draft::Draft;
use crate::event::Event;
use crate::merge::pick_columns;
use crate::outbox::WriteIds;
use pmo_domain::api_types::row_version;
use pmo_domain::{EntityRef, Row, UnixMillis};
use serde_json::Value;

impl Engine {
    /// Handles an event about drafts.
    pub(super) fn on_draft_event(&mut self, event: Event, now: UnixMillis) {
        match event {
            Event::DraftsReloaded { drafts, as_of } => self.reconcile_drafts(drafts, as_of),
            Event::DraftField { entity, field, value } => self.draft_field(&entity, &field, value, now),
            Event::DraftUndo(entity) => self.draft_step(&entity, now, Draft::undo),
            Event::DraftRedo(entity) => self.draft_step(&entity, now, Draft::redo),
            Event::DraftDiscard(entity) => self.draft_discard(&entity, now),
            Event::DraftCommit { entity, ids } => self.draft_commit(&entity, ids, now),
            _ => {}
        }
    }

    /// Changes the draft of an entity, which is created if there is none.
    pub(super) fn edit_draft(
        &mut self,
        entity: &EntityRef,
        base_version: i64,
        now: UnixMillis,
        edit: impl FnOnce(&mut Draft),
    ) {
        self.drafts.edit(entity, base_version, edit, (&mut self.persistence, &mut self.effects, now));
    }

    fn draft_field(&mut self, entity: &EntityRef, field: &str, value: Value, now: UnixMillis) {
        let row = self.source_row(entity);
        // The user saw the derived value: typing that of the source row is a change.
        let is_derived = self.cache.get(entity).is_some_and(|row| row.is_derived(field));
        let source = row.as_ref().filter(|_| !is_derived).and_then(|r| r.get(field));
        let before = source.cloned().unwrap_or(Value::Null);
        let version = row.as_ref().map_or(0, |r| row_version(r).0);
        self.edit_draft(entity, version, now, |draft| draft.set(field, value, &before, now));
    }

    fn draft_step(&mut self, entity: &EntityRef, now: UnixMillis, step: impl FnOnce(&mut Draft, UnixMillis) -> bool) {
        self.drafts.step(entity, step, (&mut self.persistence, &mut self.effects, now));
    }

    /// Merges the stored drafts, read at `as_of`, with the drafts of this tab.
    fn reconcile_drafts(&mut self, drafts: Vec<Draft>, as_of: UnixMillis) {
        for entity in self.drafts.reconcile(drafts, &mut self.persistence, &mut self.effects, as_of) {
            self.refresh_entity(&entity, Notify::Always);
        }
    }

    pub(super) fn draft_discard(&mut self, entity: &EntityRef, now: UnixMillis) {
        self.drafts.end(entity, &mut self.persistence, &mut self.effects, now);
    }

    /// Turns a draft into a write, in the same transaction that ends the draft.
    fn draft_commit(&mut self, entity: &EntityRef, ids: WriteIds, now: UnixMillis) {
        if self.drafts.get(entity).is_none() {
            return;
        }
        let Some(draft) = self.drafts.end(entity, &mut self.persistence, &mut self.effects, now) else { return };
        let base = pick_columns(draft.current_data.keys(), &draft.original_data);
        let based_on = Some((base, draft.base_version));
        self.update(Update { entity: entity.clone(), patch: draft.current_data, based_on, ids });
        self.observers.mark_row_changed(entity.clone());
    }

    /// Stores discarded input in the draft of its entity, where Redo can restore it.
    pub(super) fn stash(&mut self, entity: &EntityRef, values: Row, now: UnixMillis) {
        if values.is_empty() {
            return;
        }
        let row = self.source_row(entity).unwrap_or_default();
        self.edit_draft(entity, row_version(&row).0, now, |draft| draft.push_redo(values, &row, now));
    }
}
