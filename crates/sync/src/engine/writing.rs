//! Writes: shown at once, kept on disk, sent in order, merged when somebody else was faster. Nothing that was typed is dropped
//! without a person's word.

use super::{Engine, Purpose};
use crate::event::{Answer, Effect, Failure};
use crate::key::Query;
use crate::maps::Set;
use crate::merge::values_of;
use crate::outbox::{Choice, Entry, EntryState, Operation};
use crate::raw::Raw;
use crate::store::{Area, Write};
use pmo_domain::api_types::row_version;
use pmo_domain::{EntityRef, Row};
use serde_json::Value;
use std::ops::RangeInclusive;
use std::sync::Arc;
use uuid::Uuid;

impl Engine {
    /// A row as it is shown.
    pub(super) fn shown(&self, entity: &EntityRef) -> Option<Arc<Row>> {
        self.cache.get(entity)?.shown()
    }

    pub(super) fn update(&mut self, entity: EntityRef, patch: Row, based_on: Option<(Row, i64)>, ids: [Uuid; 2]) {
        let before = self.shown(&entity).unwrap_or_default();
        if patch.is_empty() {
            return;
        }
        let of_it: Vec<usize> =
            self.outbox.iter().enumerate().filter(|(_, e)| e.entity == entity).map(|(at, _)| at).collect();
        // Another tab may be sending what this one made: only the tab that sends knows, and writes into what waits.
        let may_fold = based_on.is_none() && self.leader && !self.tabs.in_doubt;
        let last = of_it.last().copied().filter(|at| may_fold && self.outbox[*at].foldable());
        if let Some(at) = last
            && !self.outbox[at].saved
        {
            self.outbox[at].fold(patch, &before);
            self.keep_typed(self.outbox[at].id);
        } else if let Some(at) = last
            && matches!(self.outbox[at].operation, Operation::Update { .. })
        {
            // What is on disk another tab may take over while this one is frozen: the two together are a write of their own, and the first goes with a
            // word that only the tab that leads may say.
            let mut both = Entry::new(ids, entity.clone(), self.outbox[at].operation.clone());
            both.fold(patch, &before);
            let first = self.outbox[at].id;
            self.enter(both);
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
                (values_of(patch.keys(), &before), begun.map_or(version, |begun| begun.min(version)))
            });
            self.enter(Entry::new(ids, entity.clone(), Operation::Update { patch, base, base_version }));
        }
        self.refresh_entity(&entity, false);
    }

    pub(super) fn create(&mut self, entity: EntityRef, mut values: Row, ids: [Uuid; 2]) {
        values.insert("id".into(), Value::String(entity.id.to_string()));
        self.cache.place_of(&entity);
        self.enter(Entry::new(ids, entity.clone(), Operation::Create { values }));
        self.refresh_entity(&entity, true);
    }

    pub(super) fn delete(&mut self, entity: EntityRef, ids: [Uuid; 2], now: f64) {
        let version = self.cache.get(&entity).map_or(0, |r| r.version);
        // What was never sent need not be made and deleted.
        // On disk another tab may take it over while this one is frozen: then only a write of its own takes it back.
        let first = self.outbox.iter().find(|e| e.entity == entity).filter(|e| super::is_create(e)).map(|e| e.id);
        let only_here = |id: &Uuid| self.with_dependents(*id).iter().all(|e| !e.saved && (e.foldable() || e.is_link()));
        if let Some(first) = first.filter(|id| self.leader && !self.tabs.in_doubt && only_here(id)) {
            self.give_up(first, now);
        } else {
            self.enter(Entry::new(ids, entity.clone(), Operation::Delete { base_version: version }));
        }
        self.refresh_entity(&entity, true);
    }

    pub(super) fn link(&mut self, parent: EntityRef, child: EntityRef, below: bool, ids: [Uuid; 2]) {
        let slot = self.cache.place_of(&child);
        if self.cache.row(slot).is_some_and(|row| !row.is_shown()) {
            // It is known by its name alone.
            self.read_row(slot);
            self.want(&child);
        }
        self.enter(Entry::new(ids, child.clone(), Operation::Link { parent, below }));
        self.refresh_entity(&child, true);
    }

    /// What is tied and parted here, shown in a list that was told without it.
    pub(super) fn follow_ties(&mut self, parent: &EntityRef) {
        let tied =
            self.outbox.iter().filter(|e| matches!(&e.operation, Operation::Link { parent: p, .. } if p == parent));
        let tied: Vec<EntityRef> = tied.map(|e| e.entity.clone()).collect();
        for child in tied {
            if let Some(slot) = self.cache.find(&child) {
                self.follow(slot);
            }
        }
    }

    /// A tie is not what it was here: done by the server, or come to nothing. The lists that it is about are asked for again.
    fn ask_about_tie(&mut self, entry: &Entry, done: bool, now: f64) {
        let Operation::Link { parent, below } = &entry.operation else { return };
        // Another that waits says how it is shown.
        let same = |e: &Entry| matches!(&e.operation, Operation::Link { parent: p, .. } if p == parent);
        let another = self.outbox.iter().any(|e| e.entity == entry.entity && e.state == EntryState::Waiting && same(e));
        if !done
            && !another
            && let Some(slot) = self.cache.find(&entry.entity)
        {
            for index in self.cache.untie(slot, parent, *below) {
                if let Some(key) = self.cache.list(index).map(|list| list.key.clone()) {
                    self.changed(Query::List(key));
                }
            }
        }
        self.look_again(now, |query| match query {
            Query::List(key) => key.below.as_ref().is_some_and(|b| b.column.is_none() && b.parent == *parent),
            _ => false,
        });
    }

    fn enter(&mut self, entry: Entry) {
        let id = entry.id;
        self.outbox.push(entry);
        self.keep_typed(id);
    }

    fn drop_entry(&mut self, id: Uuid) {
        self.outbox.retain(|e| e.id != id);
        self.keep.writes.push(Write::Remove(Area::Outbox, id.to_string()));
        self.keep.dropping.insert(id, self.keep.next_batch());
        self.effects.push(Effect::TellTabs);
    }

    /// Brings an entry to disk in which a person has typed; until that is done it is not sent.
    fn keep_typed(&mut self, id: Uuid) {
        self.write_entry(id, true);
    }

    /// Brings to disk what has come of an entry; until that is done it is not sent.
    pub(super) fn keep_entry(&mut self, id: Uuid) {
        self.write_entry(id, false);
    }

    fn write_entry(&mut self, id: Uuid, typed: bool) {
        let batch = self.keep.next_batch();
        let write = if typed { Write::Put } else { Write::Rewrite };
        if let Some(entry) = self.outbox.iter_mut().rfind(|e| e.id == id) {
            (entry.saved, entry.batch, entry.typed) = (false, batch, typed);
            let bytes = serde_json::to_vec(entry).unwrap_or_default();
            self.keep.writes.push(write(Area::Outbox, id.to_string(), bytes));
        }
    }

    /// The device did not take these batches: what a person typed in them is written again.
    pub(super) fn write_work_again(&mut self, batches: &RangeInclusive<u64>) {
        let entries = self.outbox.iter().filter(|e| !e.saved && batches.contains(&e.batch)).map(|e| (e.id, e.typed));
        let entries: Vec<(Uuid, bool)> = entries.collect();
        entries.into_iter().for_each(|(id, typed)| self.write_entry(id, typed));
        let dropped: Vec<Uuid> =
            self.keep.dropping.iter().filter(|(_, dropped)| batches.contains(*dropped)).map(|(id, _)| *id).collect();
        for id in dropped {
            self.keep.writes.push(Write::Remove(Area::Outbox, id.to_string()));
            self.keep.dropping.insert(id, self.keep.next_batch());
        }
        let drafts: Vec<EntityRef> = self
            .keep
            .drafting
            .iter()
            .filter(|(_, drafted)| batches.contains(*drafted))
            .map(|(e, _)| e.clone())
            .collect();
        for entity in drafts {
            let ended = self.drafts.get(&entity).map_or(0.0, |draft| draft.updated_at);
            self.keep_draft(&entity, ended);
        }
    }

    /// These batches are over: their entries may be sent. Where the device keeps nothing they are sent all the same; the page says what that means.
    pub(super) fn entries_saved(&mut self, batches: &RangeInclusive<u64>) {
        let mut any = false;
        self.keep.dropping.retain(|_, dropped| *dropped > *batches.end());
        self.keep.drafting.retain(|_, drafted| *drafted > *batches.end());
        for entry in self.outbox.iter_mut().filter(|e| !e.saved && batches.contains(&e.batch)) {
            entry.saved = true;
            any = true;
        }
        if any {
            self.effects.push(Effect::TellTabs);
        }
    }

    /// The device's outbox is the truth; what this tab is just sending stays marked so.
    pub(super) fn outbox_is(&mut self, entries: Vec<Entry>) {
        let touched: Set<EntityRef> = self.outbox.iter().chain(&entries).map(|e| e.entity.clone()).collect();
        let old = std::mem::take(&mut self.outbox);
        for mut entry in entries {
            // What was read before this tab's own last word on it came to disk is older than that.
            if self.keep.dropping.contains_key(&entry.id) {
                continue;
            }
            let known = old.iter().find(|e| e.id == entry.id);
            if let Some(known) = known.filter(|known| !known.saved) {
                self.outbox.push(known.clone());
                continue;
            }
            entry.saved = true;
            entry.sending = known.is_some_and(|k| k.sending);
            // Another tab or an earlier life may have sent it: its key stands for this body and no other.
            let tried = known.filter(|known| known.key == entry.key).map_or(1, |known| known.attempts);
            entry.attempts = entry.attempts.max(tried).max(1);
            if super::is_create(&entry) {
                self.cache.place_of(&entry.entity);
            }
            self.outbox.push(entry);
        }
        let given_up = self.is_given_up();
        for entry in old.into_iter().filter(|e| !e.saved || given_up) {
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
    fn stands_on_what_is(&mut self, index: usize) -> bool {
        let Some(entry) = self.outbox.get(index).filter(|e| e.attempts == 0) else { return true };
        let Operation::Update { base, base_version, .. } = &entry.operation else { return true };
        let row = self.cache.get(&entry.entity).filter(|row| row.version == *base_version);
        let Some(current) = row.and_then(|row| row.decoded()) else { return true };
        let null = Value::Null;
        if base.iter().all(|(column, value)| current.get(column).unwrap_or(&null) == value) {
            return true;
        }
        let (id, entity, key) = (entry.id, entry.entity.clone(), entry.key);
        let entry = &mut self.outbox[index];
        let stands = entry.rebase((*current).clone(), key) && !entry.is_void();
        let void = entry.is_void();
        if void {
            self.drop_entry(id)
        } else {
            self.keep_entry(id)
        }
        self.refresh_entity(&entity, true);
        stands
    }

    /// Sends what can be sent: in order where one write needs another, up to four at once.
    pub(super) fn pump(&mut self, now: f64) {
        if !self.leader || !self.browser_online || !self.token_good || self.keep.locked {
            return;
        }
        let mut under_way = self.outbox.iter().filter(|e| e.sending).count();
        let mut send = Vec::new();
        for (index, entry) in self.outbox.iter().enumerate() {
            if under_way >= self.settings.parallel_writes {
                break;
            }
            let ready = entry.state == EntryState::Waiting && entry.saved && !entry.sending && entry.not_before <= now;
            if ready && !self.outbox[..index].iter().any(|earlier| entry.depends_on(earlier)) {
                send.push(index);
                under_way += 1;
            }
        }
        let send: Vec<Uuid> = send.into_iter().filter_map(|index| Some(self.outbox.get(index)?.id)).collect();
        for id in send {
            let place = |outbox: &[Entry]| outbox.iter().position(|e| e.id == id);
            let Some(index) = place(&self.outbox) else { continue };
            if !self.stands_on_what_is(index) || !self.outbox.get(index).is_some_and(|e| e.id == id && e.saved) {
                continue; // a merged one goes to disk first
            }
            let entry = &mut self.outbox[index];
            entry.sending = true;
            entry.attempts += 1;
            let (id, request) = (entry.id, entry.request());
            self.request(Purpose::Write(id), request);
        }
    }

    pub(super) fn write_answered(&mut self, id: Uuid, answer: Result<Answer, Failure>, now: f64) {
        let Some(index) = self.outbox.iter().position(|e| e.id == id) else { return };
        self.outbox[index].sending = false;
        let entity = self.outbox[index].entity.clone();
        let deleting = matches!(self.outbox[index].operation, Operation::Delete { .. });
        match answer {
            Ok(answer) => {
                let entry = self.outbox[index].clone();
                if matches!(entry.operation, Operation::Link { .. }) {
                    self.drop_entry(id);
                    self.refresh_entity(&entity, true);
                    self.ask_about_tie(&entry, true, now);
                    if self.cache.get(&entity).is_some_and(|row| row.base.is_some() && row.stale)
                        && self.is_looked_at(&entity)
                    {
                        self.want(&entity);
                    }
                    return;
                }
                let made = super::is_create(&entry);
                // An answer to a first try, or of before this person's access changed, may be of long ago.
                let old = self.outbox[index].attempts > 1 || self.answering <= self.swept;
                self.drop_entry(id);
                match serde_json::from_str(&answer.body).unwrap_or_default() {
                    Value::Object(row) => {
                        self.rebase_later(&entity, &row);
                        self.take_row(&entity.code, &answer.body, now);
                        if old {
                            if let Some(row) = self.cache.get_mut(&entity) {
                                row.stale = true;
                            }
                            self.want(&entity);
                        }
                        if made {
                            // Until now it was here alone, and could be watched by nobody.
                            self.say_looked_at_again();
                            self.look_again(now, |query| match query {
                                Query::Row(looked_at) => *looked_at == entity,
                                Query::List(key) => key.below.as_ref().is_some_and(|b| b.parent == entity),
                                Query::Meta(_) => false,
                            });
                        }
                    }
                    _ if deleting => self.forget(&entity, now),
                    _ => {}
                }
                self.refresh_entity(&entity, true);
            }
            Err(Failure::Refused(problem)) => match problem.status {
                // It is not there any more.
                404 if matches!(self.outbox[index].operation, Operation::Link { below: false, .. }) => {
                    let entry = self.outbox[index].clone();
                    self.drop_entry(id);
                    self.refresh_entity(&entity, true);
                    self.ask_about_tie(&entry, true, now);
                }
                404 if deleting => {
                    self.drop_entry(id);
                    self.forget(&entity, now);
                    self.refresh_entity(&entity, true);
                }
                412 => {
                    let Some(current) = problem.current.clone() else { return self.refuse(index, *problem, now) };
                    let mut current = current;
                    self.take_row(&entity.code, Raw::of(&current).as_str(), now);
                    current.remove("ref_data_entityInstance");
                    let entry = &mut self.outbox[index];
                    // A merged write is another write, with a key of its own.
                    let new_key = Uuid::from_u128(entry.key.as_u128().wrapping_add(1));
                    entry.rebase(current, new_key);
                    if entry.is_void() {
                        self.drop_entry(id);
                    } else {
                        self.keep_entry(id);
                    }
                    self.refresh_entity(&entity, true);
                }
                // After renewals that changed nothing it waits like any other failure.
                401 if self.renewals > 2 => self.wait(index, now),
                401 => {}
                429 | 500..=599 => self.wait(index, now),
                _ => self.refuse(index, *problem, now),
            },
            Err(Failure::Network) => self.wait(index, now),
        }
        // A change by somebody else that came while the answer was out.
        if self.cache.get(&entity).is_some_and(|row| row.base.is_some() && row.stale) && self.is_looked_at(&entity) {
            self.want(&entity);
        }
    }

    /// Later writes to the same thing were made on what this one made, or by another tab that knew nothing of it: a merge tells. One that
    /// was sent before keeps its body, for which its key stands; a 412 merges it.
    fn rebase_later(&mut self, entity: &EntityRef, row: &Row) {
        let version = row_version(row).0;
        let mut current = row.clone();
        current.remove("ref_data_entityInstance");
        let mut kept = Vec::new();
        for entry in self.outbox.iter_mut().filter(|e| e.entity == *entity && !e.sending && e.attempts == 0) {
            if entry.state != EntryState::Waiting {
                continue;
            }
            match &mut entry.operation {
                Operation::Update { .. } => {
                    let key = entry.key;
                    entry.rebase(current.clone(), key);
                }
                Operation::Delete { base_version } if *base_version == 0 || *base_version == version - 1 => {
                    *base_version = version;
                }
                _ => continue,
            }
            kept.push((entry.id, entry.is_void()));
        }
        for (id, void) in kept {
            if void { self.drop_entry(id) } else { self.keep_entry(id) }
        }
    }

    fn wait(&mut self, index: usize, now: f64) {
        let entry = &mut self.outbox[index];
        let delay = (1000.0 * 2f64.powi(entry.attempts.min(6) as i32 - 1)).min(30_000.0);
        entry.not_before = now + delay;
    }

    fn refuse(&mut self, index: usize, problem: pmo_domain::api_types::Problem, now: f64) {
        let entry = &mut self.outbox[index];
        entry.state = EntryState::Refused { problem };
        let entry = entry.clone();
        self.keep_entry(entry.id);
        self.refresh_entity(&entry.entity, true);
        self.ask_about_tie(&entry, false, now);
    }

    pub(super) fn settle(&mut self, id: Uuid, seen: Uuid, choice: Choice, now: f64) {
        let Some(entry) = self.outbox.iter_mut().find(|e| e.id == id && e.key == seen) else { return };
        let entity = entry.entity.clone();
        let refused_create = super::is_create(entry) && matches!(entry.state, EntryState::Refused { .. });
        if refused_create && choice == Choice::Theirs {
            return self.discard_entry(id, now);
        }
        let given_up = match (choice, &entry.state) {
            (_, EntryState::Waiting) => return,
            // A refused write is tried again as it is, under its own key: should an earlier try have gone through after all, it is not done twice.
            (Choice::Mine(_), EntryState::Refused { .. }) => {
                entry.state = EntryState::Waiting;
                entry.attempts = entry.attempts.max(1);
                entry.not_before = 0.0;
                Row::new()
            }
            (_, EntryState::Refused { .. }) => {
                let typed = entry.mine();
                self.drop_entry(id);
                typed
            }
            (Choice::Theirs, _) if matches!(entry.operation, Operation::Delete { .. }) => {
                self.drop_entry(id);
                Row::new()
            }
            (Choice::Theirs, _) => entry.resolve(&Row::new(), seen),
            (Choice::Mine(key), _) => entry.resolve(&entry.mine(), key),
            (Choice::Each(values, key), _) => entry.resolve(&values, key),
        };
        match self.outbox.iter().find(|e| e.id == id) {
            Some(entry) if entry.is_void() => self.drop_entry(id),
            Some(_) => self.keep_entry(id),
            None => {}
        }
        self.set_aside(&entity, given_up, now);
        self.refresh_entity(&entity, true);
    }

    /// What was typed and then given up stays one 'redo' away, in the draft of its thing.
    fn set_aside(&mut self, entity: &EntityRef, typed: Row, now: f64) {
        if typed.is_empty() {
            return;
        }
        let row = self.shown(entity).unwrap_or_default();
        self.begin_draft(entity, row_version(&row).0, now).offer(typed, &row, now);
        self.keep_draft(entity, now);
    }

    /// A refused write goes back into its draft, to be mended and sent again. Not where there is no such thing any more: nobody would find the draft.
    pub(super) fn reopen(&mut self, id: Uuid, now: f64) {
        let refused = |e: &&Entry| e.id == id && matches!(e.state, EntryState::Refused { .. });
        let Some(entry) = self.outbox.iter().find(refused).filter(|e| self.is_known(&e.entity)) else { return };
        let (entity, operation) = (entry.entity.clone(), entry.operation.clone());
        let Operation::Update { patch, base, base_version } = operation else { return };
        self.drop_entry(id);
        let draft = self.begin_draft(&entity, base_version, now);
        for (field, value) in patch {
            let before = base.get(&field).cloned().unwrap_or(Value::Null);
            draft.set(&field, value, &before, now);
        }
        self.keep_draft(&entity, now);
        self.refresh_entity(&entity, true);
    }

    /// A write and those that come to nothing without it: whatever is about a thing that would not be made.
    pub fn with_dependents(&self, id: Uuid) -> Vec<&Entry> {
        let mut found: Vec<&Entry> = Vec::new();
        for entry in &self.outbox {
            let made = |first: &&Entry| super::is_create(first) && entry.is_about(&first.entity);
            if entry.id == id || found.iter().any(made) {
                found.push(entry);
            }
        }
        found
    }

    pub(super) fn discard_entry(&mut self, id: Uuid, now: f64) {
        let made: Vec<EntityRef> =
            self.with_dependents(id).into_iter().filter(|e| super::is_create(e)).map(|e| e.entity.clone()).collect();
        if self.give_up(id, now) {
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
    fn give_up(&mut self, id: Uuid, now: f64) -> bool {
        let gone: Vec<Entry> = self.with_dependents(id).into_iter().cloned().collect();
        if gone.iter().any(|e| e.sending) {
            return false;
        }
        let made: Vec<EntityRef> = gone.iter().filter(|e| super::is_create(e)).map(|e| e.entity.clone()).collect();
        for entry in gone {
            // What else was typed in an edit of another thing stays.
            let kept = self.outbox.iter_mut().find(|e| e.id == entry.id && e.id != id && !made.contains(&e.entity));
            if kept.is_some_and(|kept| kept.forget(&made)) {
                self.keep_entry(entry.id);
            } else {
                self.drop_entry(entry.id);
            }
            self.refresh_entity(&entry.entity, true);
            self.ask_about_tie(&entry, false, now);
        }
        true
    }
}
