//! Drafts: begun, set, undone, redone, given up and saved; joined with those of other tabs on the device. Nothing that was typed in either is lost.

use super::Engine;
use crate::collections::{DetHashMap, DetHashSet};
use crate::draft::Draft;
use crate::event::Effect;
use crate::merge::pick_columns;
use crate::query_key::Query;
use crate::store::{Namespace, Write};
use pmo_domain::EntityRef;
use pmo_domain::api_types::row_version;
use serde_json::Value;
use uuid::Uuid;

/// The end of a draft is kept for this long, in milliseconds: no tab sleeps longer on what was typed before it.
const TOMBSTONE_TTL_MS: f64 = 7.0 * 24.0 * 3_600_000.0;

impl Engine {
    /// The draft of a thing, begun where there is none. Another tab may have one on the device and have ended before it could say so: that is read
    /// before this one is written, and joined with it.
    pub(super) fn begin_draft(&mut self, entity: &EntityRef, base_version: i64, now: f64) -> &mut Draft {
        self.persistence.reread |= !self.drafts.contains_key(entity);
        self.drafts.get_or_insert_with(entity.clone(), || Draft::new(entity.clone(), base_version, now))
    }

    pub(super) fn draft_field(&mut self, entity: EntityRef, field: &str, value: Value, now: f64) {
        let row = self.visible_row(&entity);
        let before = row.as_ref().and_then(|r| r.get(field)).cloned().unwrap_or(Value::Null);
        let version = row.as_ref().map_or(0, |r| row_version(r).0);
        self.begin_draft(&entity, version, now).set(field, value, &before, now);
        self.persist_draft(&entity, now);
    }

    pub(super) fn draft_step(&mut self, entity: &EntityRef, now: f64, step: impl FnOnce(&mut Draft, f64) -> bool) {
        if self.drafts.get_mut(entity).is_some_and(|draft| step(draft, now)) {
            self.persist_draft(entity, now);
        }
    }

    /// Brings a draft to disk. One that has ended leaves an empty one behind with the time of its end: a removal that comes late would take with it what
    /// another tab has typed since.
    pub(super) fn persist_draft(&mut self, entity: &EntityRef, now: f64) {
        if self.drafts.get(entity).is_some_and(Draft::is_empty) {
            self.drafts.remove(entity);
        }
        let ended = || Draft::new(entity.clone(), 0, now);
        let bytes = match self.drafts.get(entity) {
            Some(draft) => serde_json::to_vec(draft),
            None => serde_json::to_vec(&ended()),
        };
        self.persistence.writes.push(Write::Put(Namespace::Drafts, entity.to_string(), bytes.unwrap_or_default()));
        self.persistence.draft_writes.insert(entity.clone(), self.persistence.next_batch());
        self.effects.push(Effect::DraftChanged(entity.clone()));
        self.effects.push(Effect::BroadcastDraftsChanged);
    }

    /// Takes the drafts of the device at the start. Where one ended long ago even that is not kept any more.
    pub(super) fn hydrate_drafts(&mut self, drafts: Vec<Draft>, now: f64) {
        for draft in drafts {
            if !draft.is_empty() {
                self.drafts.insert(draft.entity.clone(), draft);
            } else if now - draft.updated_at > TOMBSTONE_TTL_MS {
                self.persistence.writes.push(Write::Remove(Namespace::Drafts, draft.entity.to_string()));
            }
        }
    }

    /// The drafts on the device, read at `as_of`, are the truth for what another tab wrote; what was typed here since is newer.
    pub(super) fn reconcile_drafts(&mut self, drafts: Vec<Draft>, as_of: f64) {
        let stored: DetHashMap<EntityRef, Draft> = drafts.into_iter().map(|d| (d.entity.clone(), d)).collect();
        let touched: DetHashSet<EntityRef> = self.drafts.keys().chain(stored.keys()).cloned().collect();
        for entity in touched {
            let own = self.drafts.get(&entity).cloned();
            let mut other = stored.get(&entity).cloned();
            // What was read before this tab's own last word on it came to disk is older than that.
            let on_its_way = self.persistence.draft_writes.contains_key(&entity) || self.is_disabled();
            if on_its_way && own.is_none() {
                continue;
            }
            if let Some(ended) = other.take_if(|other| other.is_empty()) {
                // It ended in another tab. What has been typed here since stands, and is there again.
                if let Some(own) = own.as_ref().filter(|own| own.updated_at > ended.updated_at) {
                    if own.updated_at < as_of && !on_its_way {
                        self.persist_draft(&entity, as_of);
                    }
                    continue;
                }
            }
            let newer_here = own.as_ref().is_some_and(|own| {
                on_its_way
                    || own.updated_at >= as_of
                    || other.as_ref().is_some_and(|other| other.updated_at <= own.updated_at)
            });
            let (taken, told) = match (own, other) {
                // What was typed in either is kept; where both typed the same field the later counts.
                (Some(mut own), Some(other)) if newer_here => {
                    let more = own.merge_from(&other);
                    (Some(own), more)
                }
                (Some(own), Some(mut other)) => {
                    let more = other.merge_from(&own);
                    (Some(other), more)
                }
                (Some(own), None) if newer_here => (Some(own), false),
                (_, other) => (other, false),
            };
            if taken.as_ref() == self.drafts.get(&entity) {
                continue;
            }
            match taken {
                Some(draft) => self.drafts.insert(entity.clone(), draft),
                None => self.drafts.remove(&entity),
            };
            if told {
                self.persist_draft(&entity, as_of);
            }
            self.effects.push(Effect::DraftChanged(entity.clone()));
            self.refresh_entity(&entity, true);
        }
    }

    pub(super) fn draft_discard(&mut self, entity: &EntityRef, now: f64) {
        self.drafts.remove(entity);
        self.persist_draft(entity, now);
    }

    /// A draft becomes a write in the same transaction that ends it.
    pub(super) fn draft_commit(&mut self, entity: &EntityRef, ids: [Uuid; 2], now: f64) {
        let Some(draft) = self.drafts.remove(entity) else { return };
        self.persist_draft(entity, now);
        let base = pick_columns(draft.current_data.keys(), &draft.original_data);
        self.update(entity.clone(), draft.current_data, Some((base, draft.base_version)), ids);
        self.mark_changed(Query::Row(entity.clone()));
    }
}
