//! Drafts: editing, undo, redo, discard and commit; merged with the drafts of other tabs.
//!
//! Invariant: input from any tab is not lost.

use super::Engine;
use crate::collections::{DetHashMap, DetHashSet};
use crate::draft::Draft;
use crate::event::Effect;
use crate::merge::pick_columns;
use crate::outbox::WriteIds;
use crate::query_key::Query;
use crate::store::{Namespace, Write};
use pmo_domain::api_types::row_version;
use pmo_domain::{EntityRef, UnixMillis};
use serde_json::Value;
use std::time::Duration;

/// Time for which the tombstone of an ended draft is stored.
///
/// A tab is never suspended longer than this with input from before the end of the draft.
const TOMBSTONE_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

impl Engine {
    /// Returns the draft of an entity; creates it if there is none.
    ///
    /// Another tab may have stored a draft and closed before it could announce the draft. So the
    /// stored drafts are read before a new one is written, and merged with it.
    pub(super) fn begin_draft(&mut self, entity: &EntityRef, base_version: i64, now: UnixMillis) -> &mut Draft {
        self.persistence.reload_pending |= !self.drafts.contains_key(entity);
        self.drafts.get_or_insert_with(entity.clone(), || Draft::new(entity.clone(), base_version, now))
    }

    pub(super) fn draft_field(&mut self, entity: EntityRef, field: &str, value: Value, now: UnixMillis) {
        let row = self.visible_row(&entity);
        let before = row.as_ref().and_then(|r| r.get(field)).cloned().unwrap_or(Value::Null);
        let version = row.as_ref().map_or(0, |r| row_version(r).0);
        self.begin_draft(&entity, version, now).set(field, value, &before, now);
        self.persist_draft(&entity, now);
    }

    pub(super) fn draft_step(
        &mut self,
        entity: &EntityRef,
        now: UnixMillis,
        step: impl FnOnce(&mut Draft, UnixMillis) -> bool,
    ) {
        if self.drafts.get_mut(entity).is_some_and(|draft| step(draft, now)) {
            self.persist_draft(entity, now);
        }
    }

    /// Writes a draft to disk.
    ///
    /// An ended draft is replaced by an empty one with the time of the end (a tombstone). A delayed
    /// removal would also remove later input from another tab.
    pub(super) fn persist_draft(&mut self, entity: &EntityRef, now: UnixMillis) {
        if self.drafts.get(entity).is_some_and(Draft::is_empty) {
            self.drafts.remove(entity);
        }
        let tombstone = || Draft::new(entity.clone(), 0, now);
        let bytes = match self.drafts.get(entity) {
            Some(draft) => serde_json::to_vec(draft),
            None => serde_json::to_vec(&tombstone()),
        };
        self.persistence.writes.push(Write::Put(Namespace::Drafts, entity.to_string(), bytes.unwrap_or_default()));
        self.persistence.draft_writes.insert(entity.clone(), self.persistence.next_batch());
        self.effects.push(Effect::DraftChanged(entity.clone()));
        self.effects.push(Effect::BroadcastDraftsChanged);
    }

    /// Loads the stored drafts at start, and removes expired tombstones.
    pub(super) fn hydrate_drafts(&mut self, drafts: Vec<Draft>, now: UnixMillis) {
        for draft in drafts {
            if !draft.is_empty() {
                self.drafts.insert(draft.entity.clone(), draft);
            } else if now.since(draft.updated_at) > TOMBSTONE_TTL {
                self.persistence.writes.push(Write::Remove(Namespace::Drafts, draft.entity.to_string()));
            }
        }
    }

    /// Merges the stored drafts, read at `as_of`, with the drafts of this tab.
    ///
    /// The stored drafts are authoritative for input in other tabs. Later input in this tab is
    /// newer.
    pub(super) fn reconcile_drafts(&mut self, drafts: Vec<Draft>, as_of: UnixMillis) {
        let stored: DetHashMap<EntityRef, Draft> = drafts.into_iter().map(|d| (d.entity.clone(), d)).collect();
        let touched: DetHashSet<EntityRef> = self.drafts.keys().chain(stored.keys()).cloned().collect();
        for entity in touched {
            let own = self.drafts.get(&entity).cloned();
            let mut other = stored.get(&entity).cloned();
            // The stored draft was read before the latest write of this tab was on disk.
            let write_pending = self.persistence.draft_writes.contains_key(&entity) || self.is_disabled();
            if write_pending && own.is_none() {
                continue;
            }
            if let Some(ended) = other.take_if(|other| other.is_empty()) {
                // The draft was ended in another tab. Later input in this tab remains, and is
                // stored again.
                if let Some(own) = own.as_ref().filter(|own| own.updated_at > ended.updated_at) {
                    if own.updated_at < as_of && !write_pending {
                        self.persist_draft(&entity, as_of);
                    }
                    continue;
                }
            }
            let newer_here = own.as_ref().is_some_and(|own| {
                write_pending
                    || own.updated_at >= as_of
                    || other.as_ref().is_some_and(|other| other.updated_at <= own.updated_at)
            });
            let (merged, must_persist) = match (own, other) {
                // The input of both drafts is merged; for a field with input in both, the later
                // draft wins.
                (Some(mut own), Some(other)) if newer_here => {
                    let added = own.merge_from(&other);
                    (Some(own), added)
                }
                (Some(own), Some(mut other)) => {
                    let added = other.merge_from(&own);
                    (Some(other), added)
                }
                (Some(own), None) if newer_here => (Some(own), false),
                (_, other) => (other, false),
            };
            if merged.as_ref() == self.drafts.get(&entity) {
                continue;
            }
            match merged {
                Some(draft) => self.drafts.insert(entity.clone(), draft),
                None => self.drafts.remove(&entity),
            };
            if must_persist {
                self.persist_draft(&entity, as_of);
            }
            self.effects.push(Effect::DraftChanged(entity.clone()));
            self.refresh_entity(&entity, true);
        }
    }

    pub(super) fn draft_discard(&mut self, entity: &EntityRef, now: UnixMillis) {
        self.drafts.remove(entity);
        self.persist_draft(entity, now);
    }

    /// Turns a draft into a write, in the same transaction that ends the draft.
    pub(super) fn draft_commit(&mut self, entity: &EntityRef, ids: WriteIds, now: UnixMillis) {
        let Some(draft) = self.drafts.remove(entity) else { return };
        self.persist_draft(entity, now);
        let base = pick_columns(draft.current_data.keys(), &draft.original_data);
        self.update(entity.clone(), draft.current_data, Some((base, draft.base_version)), ids);
        self.mark_changed(Query::Row(entity.clone()));
    }
}
