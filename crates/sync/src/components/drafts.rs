//! Drafts of this tab, merged with those of other tabs.
//!
//! Invariant: input from any tab is not lost.

use crate::collections::{DetHashMap, DetHashSet, VecMap};
use crate::components::Persistence;
use crate::draft::Draft;
use crate::event::Effect;
use crate::store::Namespace;
use pmo_domain::{EntityRef, UnixMillis};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Time for which the tombstone of an ended draft is stored.
///
/// A tab is never suspended longer than this with input from before the end of the draft.
const TOMBSTONE_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

/// Unsent edits by entity.
#[derive(Default)]
pub(crate) struct Drafts {
    by_entity: VecMap<EntityRef, Draft>,
    /// Drafts that are being written to disk, with the batch and the time of the edit.
    writes: DetHashMap<EntityRef, (u64, UnixMillis)>,
}

/// Draft of one tab, merged from this tab's and the stored one.
struct Merged {
    /// `None` if the draft has ended.
    draft: Option<Draft>,
    /// Whether the merged draft differs from the stored one.
    must_persist: bool,
}

impl Drafts {
    /// Returns the draft of an entity.
    pub(crate) fn get(&self, entity: &EntityRef) -> Option<&Draft> {
        self.by_entity.get(entity)
    }

    /// Iterates over all drafts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Draft> {
        self.by_entity.values()
    }

    /// Changes the draft of an entity, which is created if there is none, and writes it to disk.
    ///
    /// Another tab may have stored a draft and closed before it could announce the draft. So the
    /// stored drafts are read before a new one is written, and merged with it.
    pub(crate) fn edit(
        &mut self,
        entity: &EntityRef,
        base_version: i64,
        edit: impl FnOnce(&mut Draft),
        (persistence, effects, now): (&mut Persistence, &mut Vec<Effect>, UnixMillis),
    ) {
        if !self.by_entity.contains_key(entity) {
            persistence.request_reload();
        }
        let new = || Draft::new(entity.clone(), base_version, now);
        edit(self.by_entity.get_or_insert_with(entity.clone(), new));
        self.persist(entity, persistence, effects, now);
    }

    /// Applies an undo or redo step to the draft of an entity.
    pub(crate) fn step(
        &mut self,
        entity: &EntityRef,
        step: impl FnOnce(&mut Draft, UnixMillis) -> bool,
        (persistence, effects, now): (&mut Persistence, &mut Vec<Effect>, UnixMillis),
    ) {
        if self.by_entity.get_mut(entity).is_some_and(|draft| step(draft, now)) {
            self.persist(entity, persistence, effects, now);
        }
    }

    /// Ends the draft of an entity; returns the draft.
    pub(crate) fn end(
        &mut self,
        entity: &EntityRef,
        persistence: &mut Persistence,
        effects: &mut Vec<Effect>,
        now: UnixMillis,
    ) -> Option<Draft> {
        let draft = self.by_entity.remove(entity);
        self.persist(entity, persistence, effects, now);
        draft
    }

    /// Writes a draft to disk.
    ///
    /// An ended draft is replaced by an empty one with the time of the end (a tombstone). A delayed
    /// removal would also remove later input from another tab.
    fn persist(
        &mut self,
        entity: &EntityRef,
        persistence: &mut Persistence,
        effects: &mut Vec<Effect>,
        now: UnixMillis,
    ) {
        if self.get(entity).is_some_and(Draft::is_empty) {
            self.by_entity.remove(entity);
        }
        let bytes = match self.get(entity) {
            Some(draft) => serde_json::to_vec(draft),
            None => serde_json::to_vec(&Draft::new(entity.clone(), 0, now)),
        };
        persistence.put(Namespace::Drafts, entity.to_string(), bytes.unwrap_or_default());
        self.writes.insert(entity.clone(), (persistence.next_batch(), now));
        effects.push(Effect::DraftChanged(entity.clone()));
        effects.push(Effect::BroadcastDraftsChanged);
    }

    /// Writes the drafts of failed batches again.
    ///
    /// The tombstone of an ended draft keeps the time of the end: with an earlier one, input of
    /// other tabs from before the end would come back.
    pub(crate) fn rewrite(
        &mut self,
        batches: &RangeInclusive<u64>,
        persistence: &mut Persistence,
        effects: &mut Vec<Effect>,
    ) {
        let failed = self.writes.iter().filter(|(_, (batch, _))| batches.contains(batch));
        for (entity, at) in failed.map(|(entity, (_, at))| (entity.clone(), *at)).collect::<Vec<_>>() {
            self.persist(&entity, persistence, effects, at);
        }
    }

    /// Records that batches were written, or that the store is out of use.
    pub(crate) fn on_persisted(&mut self, batches: &RangeInclusive<u64>) {
        self.writes.retain(|_, (batch, _)| *batch > *batches.end());
    }

    /// Loads the stored drafts at start, and removes expired tombstones.
    pub(crate) fn hydrate(&mut self, drafts: Vec<Draft>, persistence: &mut Persistence, now: UnixMillis) {
        for draft in drafts {
            if !draft.is_empty() {
                self.by_entity.insert(draft.entity.clone(), draft);
            } else if now.since(draft.updated_at) > TOMBSTONE_TTL {
                persistence.remove(Namespace::Drafts, draft.entity.to_string());
            }
        }
    }

    /// Merges the stored drafts, read at `as_of`, with the drafts of this tab.
    ///
    /// The stored drafts are authoritative for input in other tabs. Later input in this tab is
    /// newer. Returns the entities whose drafts changed.
    pub(crate) fn reconcile(
        &mut self,
        drafts: Vec<Draft>,
        persistence: &mut Persistence,
        effects: &mut Vec<Effect>,
        as_of: UnixMillis,
    ) -> Vec<EntityRef> {
        let stored: DetHashMap<EntityRef, Draft> = drafts.into_iter().map(|d| (d.entity.clone(), d)).collect();
        let touched: DetHashSet<EntityRef> = self.by_entity.keys().chain(stored.keys()).cloned().collect();
        let mut changed = Vec::new();
        for entity in touched {
            let own = self.get(&entity).cloned();
            let mut other = stored.get(&entity).cloned();
            // The stored draft was read before the latest write of this tab was on disk.
            let write_pending = self.writes.contains_key(&entity) || persistence.is_disabled();
            if write_pending && own.is_none() {
                continue;
            }
            if let Some(ended) = other.take_if(|other| other.is_empty()) {
                // The draft was ended in another tab. Later input in this tab remains, and is
                // stored again.
                if let Some(own) = own.as_ref().filter(|own| own.updated_at > ended.updated_at) {
                    if own.updated_at < as_of && !write_pending {
                        self.persist(&entity, persistence, effects, as_of);
                    }
                    continue;
                }
            }
            let Merged { draft, must_persist } = merge(own, other, write_pending, as_of);
            if draft.as_ref() == self.get(&entity) {
                continue;
            }
            match draft {
                Some(draft) => self.by_entity.insert(entity.clone(), draft),
                None => self.by_entity.remove(&entity),
            };
            if must_persist {
                self.persist(&entity, persistence, effects, as_of);
            }
            effects.push(Effect::DraftChanged(entity.clone()));
            changed.push(entity);
        }
        changed
    }
}

/// Merges the draft of this tab with the stored one, read at `as_of`.
///
/// The input of both drafts is merged; for a field with input in both, the later draft wins.
fn merge(own: Option<Draft>, other: Option<Draft>, write_pending: bool, as_of: UnixMillis) -> Merged {
    let newer_here = own.as_ref().is_some_and(|own| {
        write_pending
            || own.updated_at >= as_of
            || other.as_ref().is_some_and(|other| other.updated_at <= own.updated_at)
    });
    match (own, other) {
        (Some(mut own), Some(other)) if newer_here => {
            let must_persist = own.merge_from(&other);
            Merged { draft: Some(own), must_persist }
        }
        (Some(own), Some(mut other)) => {
            let must_persist = other.merge_from(&own);
            Merged { draft: Some(other), must_persist }
        }
        (Some(own), None) if newer_here => Merged { draft: Some(own), must_persist: false },
        (_, other) => Merged { draft: other, must_persist: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_domain::EntityCode;
    use serde_json::json;
    use uuid::Uuid;

    fn task() -> EntityRef {
        EntityRef::new(EntityCode::new("task").unwrap(), Uuid::from_u128(1))
    }

    fn at(millis: i64) -> UnixMillis {
        UnixMillis::new(millis)
    }

    fn set(draft: &mut Draft, field: &str, millis: i64) {
        draft.set(field, json!(field), &json!(""), at(millis));
    }

    fn stored(field: &str, millis: i64) -> Draft {
        let mut draft = Draft::new(task(), 1, at(millis));
        set(&mut draft, field, millis);
        draft
    }

    #[test]
    fn input_of_two_tabs_is_merged() {
        let (mut drafts, mut persistence, mut effects): (Drafts, Persistence, Vec<Effect>) = Default::default();
        drafts.edit(&task(), 1, |draft| set(draft, "name", 10), (&mut persistence, &mut effects, at(10)));
        assert!(persistence.take_reload_request(), "another tab may have stored a draft");
        drafts.on_persisted(&(1..=1));
        let changed = drafts.reconcile(vec![stored("descr", 20)], &mut persistence, &mut effects, at(30));
        assert_eq!(changed, [task()]);
        let merged = &drafts.get(&task()).unwrap().current_data;
        assert_eq!((&merged["name"], &merged["descr"]), (&json!("name"), &json!("descr")));
    }

    #[test]
    fn draft_ended_in_another_tab_ends_here_unless_input_is_later() {
        let (mut drafts, mut persistence, mut effects): (Drafts, Persistence, Vec<Effect>) = Default::default();
        drafts.hydrate(vec![stored("name", 10)], &mut persistence, at(20));
        let ended = |millis| vec![Draft::new(task(), 0, at(millis))];
        assert_eq!(drafts.reconcile(ended(5), &mut persistence, &mut effects, at(20)), []);
        drafts.on_persisted(&(1..=1));
        assert_eq!(drafts.reconcile(ended(15), &mut persistence, &mut effects, at(20)), [task()]);
        assert_eq!(drafts.iter().count(), 0);
    }

    #[test]
    fn tombstone_keeps_its_time_when_it_is_written_again() {
        let (mut drafts, mut persistence, mut effects): (Drafts, Persistence, Vec<Effect>) = Default::default();
        drafts.hydrate(vec![stored("name", 10)], &mut persistence, at(20));
        drafts.end(&task(), &mut persistence, &mut effects, at(30));
        persistence.take_batch();
        drafts.rewrite(&(1..=1), &mut persistence, &mut effects);
        let Some(Effect::Persist(_, writes)) = persistence.take_batch() else { panic!("no batch") };
        let [crate::Write::Put(Namespace::Drafts, _, bytes)] = &writes[..] else { panic!("{writes:?}") };
        assert_eq!(serde_json::from_slice::<Draft>(bytes).unwrap().updated_at, at(30));
    }

    #[test]
    fn ended_draft_leaves_a_tombstone_that_expires() {
        let (mut drafts, mut persistence, mut effects): (Drafts, Persistence, Vec<Effect>) = Default::default();
        drafts.hydrate(vec![stored("name", 10)], &mut persistence, at(20));
        assert!(drafts.end(&task(), &mut persistence, &mut effects, at(30)).is_some());
        let Some(Effect::Persist(_, writes)) = persistence.take_batch() else { panic!("no batch") };
        assert!(matches!(&writes[..], [crate::Write::Put(Namespace::Drafts, ..)]));
        let ended = vec![Draft::new(task(), 0, at(30))];
        drafts.hydrate(ended.clone(), &mut persistence, at(30) + TOMBSTONE_TTL);
        assert_eq!(persistence.take_batch(), None);
        drafts.hydrate(ended, &mut persistence, at(31) + TOMBSTONE_TTL);
        assert!(persistence.take_batch().is_some());
    }
}
