//! Who is told of a change. Of a thing: those who watch it, its type or what it hangs below, and may see it. Of access: those whose view may be
//! another now. Nothing is told of which it is not known that the receiver may see it.

use crate::acl_cache::AclCache;
use crate::lookups::{LogBatch, LookupRequest};
use crate::outbound_queue::{Frame, InvalidateFrame, MAX_CHANGES_PER_FRAME};
use crate::state_machine::{ChangeFeed, Effect};
use crate::subscription_index::ConnectionId;
use pmo_domain::change_log::{AccessChange, ChangeLogEntry};
use pmo_domain::protocol::{Action, Change, CoalescedChanges, ServerMessage};
use pmo_domain::{EVERY_INSTANCE, EntityCode, EntityRef, FeedCursor, PersonId, Version};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// Deliveries that are worked out at once; some bytes each.
const MAX_BUFFERED_DELIVERIES: usize = 500_000;

/// Whom a change of access concerns here.
#[derive(Default)]
struct AffectedConnections {
    /// Must be read again.
    read_again: BTreeSet<PersonId>,
    /// Are told to sweep what they hold.
    revalidating: BTreeSet<PersonId>,
    /// What they watch is weighed again.
    re_evaluated: BTreeSet<PersonId>,
}

/// A change of access, as those who are here see it.
#[derive(Default)]
pub(crate) struct AccessUpdate {
    /// Whose watches are weighed again;
    pub(crate) persons: BTreeSet<PersonId>,
    /// who of them is told to sweep what they hold;
    pub(crate) revalidating: BTreeSet<PersonId>,
    /// one socket alone, where only it was away.
    pub(crate) only: Option<ConnectionId>,
    /// What grants name, of which those are told who watch its type,
    pub(crate) granted_entities: BTreeSet<EntityRef>,
    /// and who saw it before.
    pub(crate) visible_before: HashSet<(PersonId, EntityRef)>,
}

impl AccessUpdate {
    /// These people's view may be another, and it is not known what they saw before: the sweep finds out.
    pub(crate) fn full_revalidation(persons: BTreeSet<PersonId>, only: Option<ConnectionId>) -> Self {
        Self { revalidating: persons.clone(), persons, only, ..Self::default() }
    }
}

impl ChangeFeed {
    fn db_now(&self, now: i64) -> i64 {
        now + self.clock_offset_ms
    }

    /// As far as it is known; `needs` says what must be known before all are found.
    fn find_affected(
        &self,
        rows: &[ChangeLogEntry],
        changes: &BTreeSet<AccessChange>,
        now: i64,
        needs: &mut LookupRequest,
    ) -> AffectedConnections {
        needs.reaches.extend(self.missing_ancestor_sets(AclCache::ancestor_sets_of(changes)));
        let concerned = self.access.affected_by(changes);
        let mut found = AffectedConnections {
            read_again: concerned.reload,
            revalidating: concerned.notify,
            ..AffectedConnections::default()
        };
        found.revalidating.extend(self.watching.watchers_of_linked(rows));
        // What came below the root of a tree, or went from there, with all that hangs below it.
        found.revalidating.extend(self.watching.tree_watchers(self.access.changed_ancestors(changes)));
        found.revalidating.extend(self.watchers_of_removed(rows));
        needs.people.extend(found.read_again.difference(&self.requested.people));
        // Grants that have ended meanwhile are not among those that are read now.
        let ended = self.access.expired_between(self.expired_until, self.db_now(now));
        found.revalidating.extend(found.read_again.intersection(&ended));
        // What they hold now may be concerned by what moved.
        found.revalidating.extend(self.access.affected_given(changes, &self.facts.people));
        found.re_evaluated = found.revalidating.union(&found.read_again).copied().collect();
        found
    }

    /// Reaches of which it is not known what is above them, and has not been asked.
    pub(crate) fn missing_ancestor_sets(&self, reaches: impl IntoIterator<Item = i32>) -> BTreeSet<i32> {
        let mut unknown = self.access.missing_ancestor_sets(reaches);
        unknown.retain(|reach| !self.requested.reaches.contains(reach));
        unknown
    }

    /// The persons who watch a thing that `rows` say is gone, and of which it is not known any more where it was.
    fn watchers_of_removed(&self, rows: &[ChangeLogEntry]) -> BTreeSet<PersonId> {
        let (mut found, mut persons) = (Vec::new(), BTreeSet::new());
        for row in rows.iter().filter(|row| row.ancestor_set.is_none() && !row.is_access_change()) {
            self.watching.subscribers(row, &[], &mut found);
            persons.extend(found.iter().map(|(_, person)| *person));
        }
        persons
    }

    /// What must be known before a look can be told.
    pub(crate) fn lookups_for_batch(&self, look: &LogBatch, now: i64) -> LookupRequest {
        let mut needs = LookupRequest::default();
        let affected = self.find_affected(&look.rows, &look.access, now, &mut needs);
        needs.merge(self.lookups_for_access(&affected.re_evaluated, None, &look.rows));
        needs.merge(self.lookups_for_rows(&look.rows));
        needs
    }

    /// What must be known before `rows` can be told.
    pub(crate) fn lookups_for_rows(&self, rows: &[ChangeLogEntry]) -> LookupRequest {
        let heard: Vec<&ChangeLogEntry> = rows.iter().filter(|row| self.watching.has_subscribers(row)).collect();
        LookupRequest {
            reaches: self.missing_ancestor_sets(heard.iter().filter_map(|row| row.ancestor_set)),
            types: heard.iter().any(|row| !self.access.has_type(row.code.as_str())) && !self.requested.types,
            ..LookupRequest::default()
        }
    }

    fn connections_of(
        &self,
        persons: &BTreeSet<PersonId>,
        only: Option<ConnectionId>,
    ) -> Vec<(ConnectionId, PersonId)> {
        let of = |person: &PersonId| {
            let person = *person;
            self.watching.connections_of(person).into_iter().map(move |id| (id, person))
        };
        persons.iter().flat_map(of).filter(|(id, _)| only.is_none_or(|only| only == *id)).collect()
    }

    /// What must be known before what these people watch can be weighed again.
    pub(crate) fn lookups_for_access(
        &self,
        persons: &BTreeSet<PersonId>,
        only: Option<ConnectionId>,
        rows: &[ChangeLogEntry],
    ) -> LookupRequest {
        if persons.is_empty() {
            return LookupRequest::default();
        }
        let mut things: BTreeSet<_> = rows.iter().filter_map(granted_entity).map(|entity| entity.id).collect();
        for (id, _) in self.connections_of(persons, only) {
            things.extend(self.watching.entity_subscriptions(id).map(|(entity, _)| entity.id));
            things.extend(self.presence.viewed_by(id).map(|entity| entity.id));
        }
        self.lookups_for_entities(things)
    }

    /// What must be known before it can be said who sees these things.
    pub(crate) fn lookups_for_entities(&self, things: BTreeSet<uuid::Uuid>) -> LookupRequest {
        let reaches = things.iter().filter_map(|id| self.facts.things.get(id)).map(|(_, reach)| *reach);
        let types = things
            .iter()
            .filter_map(|id| self.facts.things.get(id))
            .any(|(code, _)| !self.access.has_type(code.as_str()));
        LookupRequest {
            reaches: self.missing_ancestor_sets(reaches),
            types: types && !self.requested.types,
            things: things.difference(&self.requested.things).copied().collect(),
            ..LookupRequest::default()
        }
    }

    /// Whether a person may see a thing, as far as the facts go.
    pub(crate) fn can_view(&self, person: PersonId, entity: &EntityRef, clock: i64) -> bool {
        let at = self.facts.things.get(&entity.id).filter(|(code, _)| *code == entity.code);
        at.is_some_and(|(_, reach)| self.access.permission_on(person, entity, *reach, clock).is_some())
    }

    /// Tells what a look brought, once all is known. Access first: what a person lost must not be told them, what they gained must.
    pub(crate) fn publish(
        &mut self,
        rows: &[ChangeLogEntry],
        changes: &BTreeSet<AccessChange>,
        now: i64,
        out: &mut Vec<Effect>,
    ) {
        let affected = self.find_affected(rows, changes, now, &mut LookupRequest::default());
        let clock = self.db_now(now);
        let named: BTreeSet<EntityRef> = rows.iter().filter_map(granted_entity).collect();
        let mut saw = HashSet::new();
        for person in &affected.read_again {
            let tabs = self.watching.connections_of(*person);
            let told = |e: &&EntityRef| tabs.iter().any(|id| self.watching.has_broad_subscription(*id, &e.code));
            saw.extend(
                named.iter().filter(told).filter(|e| self.can_view(*person, e, clock)).map(|e| (*person, e.clone())),
            );
        }
        for person in &affected.read_again {
            let holdings = self.facts.people.get(person).cloned().unwrap_or_default();
            self.access.set_grants(*person, holdings, self.expired_until);
        }
        let shift = AccessUpdate {
            persons: affected.re_evaluated,
            revalidating: affected.revalidating,
            only: None,
            granted_entities: named,
            visible_before: saw,
        };
        self.apply_access_update(&shift, now, out);
        self.deliver(rows, None, now, out);
    }

    /// Applies a change of access: of what people watch, what they lost is REVOKE and what they gained CREATE, and ACCESS tells them to sweep what
    /// they hold beyond that.
    pub(crate) fn apply_access_update(&mut self, shift: &AccessUpdate, now: i64, out: &mut Vec<Effect>) {
        if shift.persons.is_empty() {
            return;
        }
        self.access_epoch += 1;
        let (clock, stamp) = (self.db_now(now), FrameContext::new(&self.cursor(), now));
        for (id, person) in self.connections_of(&shift.persons, shift.only) {
            let mut told: BTreeMap<EntityCode, CoalescedChanges> = BTreeMap::new();
            let mut note = |entity: &EntityRef, action| {
                let change = Change { entity_id: entity.id, action, version: Version::default() };
                told.entry(entity.code.clone()).or_default().coalesce(change);
            };
            let (mut lost, mut gained) = (BTreeMap::<EntityCode, Vec<_>>::new(), BTreeMap::<EntityCode, Vec<_>>::new());
            for (entity, refused) in self.watching.entity_subscriptions(id) {
                match (refused, self.can_view(person, &entity, clock)) {
                    (false, false) => {
                        note(&entity, Action::Revoke);
                        lost.entry(entity.code).or_default().push(entity.id);
                    }
                    (true, true) => {
                        note(&entity, Action::Create);
                        gained.entry(entity.code).or_default().push(entity.id);
                    }
                    _ => {}
                }
            }
            for entity in
                shift.granted_entities.iter().filter(|entity| self.watching.has_broad_subscription(id, &entity.code))
            {
                match (shift.visible_before.contains(&(person, entity.clone())), self.can_view(person, entity, clock)) {
                    (false, true) => note(entity, Action::Create),
                    (true, false) => note(entity, Action::Revoke),
                    _ => {}
                }
            }
            lost.into_iter().for_each(|(code, ids)| self.watching.set_denied(id, &code, ids, true));
            gained.into_iter().for_each(|(code, ids)| self.watching.set_denied(id, &code, ids, false));
            let to: Arc<[ConnectionId]> = [id].into();
            stamp.frames(told, &to, out);
            let seen: Vec<EntityRef> =
                self.presence.viewed_by(id).filter(|entity| self.can_view(person, entity, clock)).cloned().collect();
            self.retain_viewed(id, |entity| seen.contains(entity), out);
            if shift.revalidating.contains(&person) {
                self.send(id, &ServerMessage::Access { access_epoch: self.access_epoch.to_string() }, out);
            }
        }
    }

    /// Tells of rows those who watch and may see, or one of them alone. Several changes of one thing become one; who gets the same gets one frame.
    pub(crate) fn deliver(&self, rows: &[ChangeLogEntry], only: Option<ConnectionId>, now: i64, out: &mut Vec<Effect>) {
        let only = match only {
            Some(id) => match (self.watching.connection_slot(id), self.watching.person(id)) {
                (Some(slot), Some(person)) => Some((id, slot, person)),
                _ => return,
            },
            None => None,
        };
        let (clock, stamp) = (self.db_now(now), FrameContext::new(&self.cursor(), now));
        let mut receivers = Vec::new();
        // Receiver and row.
        let mut due: Vec<(u32, u32)> = Vec::new();
        for (at, row) in rows.iter().enumerate().filter(|(_, row)| !row.is_access_change()) {
            let Some(place) = row.ancestor_set.and_then(|reach| self.access.locate(&row.code, row.id, reach)) else {
                continue;
            };
            match only {
                Some((id, slot, person)) => {
                    receivers.clear();
                    receivers.extend(self.watching.is_subscriber(id, row, place.ancestors).then_some((slot, person)));
                }
                None => self.watching.subscribers(row, place.ancestors, &mut receivers),
            }
            let see =
                receivers.iter().filter(|(_, person)| self.access.permission_at(*person, &place, clock).is_some());
            due.extend(see.map(|(slot, _)| (*slot, at as u32)));
            if due.len() > MAX_BUFFERED_DELIVERIES {
                self.flush_deliveries(rows, &mut due, &stamp, out);
            }
        }
        self.flush_deliveries(rows, &mut due, &stamp, out);
    }

    fn flush_deliveries(
        &self,
        rows: &[ChangeLogEntry],
        due: &mut Vec<(u32, u32)>,
        stamp: &FrameContext,
        out: &mut Vec<Effect>,
    ) {
        due.sort_unstable();
        let mut alike: BTreeMap<Vec<u32>, Vec<ConnectionId>> = BTreeMap::new();
        for of_one in due.chunk_by(|a, b| a.0 == b.0) {
            let Some(id) = of_one.first().and_then(|(slot, _)| self.watching.connection_at(*slot)) else { continue };
            alike.entry(of_one.iter().map(|(_, row)| *row).collect()).or_default().push(id);
        }
        due.clear();
        for (which, to) in alike {
            let mut told: BTreeMap<EntityCode, CoalescedChanges> = BTreeMap::new();
            for row in which.iter().filter_map(|at| rows.get(*at as usize)) {
                let change = Change { entity_id: row.id, action: row.client_action(), version: row.version };
                match told.get_mut(&row.code) {
                    Some(changes) => changes.coalesce(change),
                    None => told.entry(row.code.clone()).or_default().coalesce(change),
                }
            }
            stamp.frames(told, &to.into(), out);
        }
    }
}

/// When and where in the feed something is told.
struct FrameContext {
    timestamp: Arc<str>,
    cursor: Arc<str>,
}

impl FrameContext {
    fn new(cursor: &FeedCursor, now: i64) -> Self {
        let time = jiff::Timestamp::from_millisecond(now).unwrap_or_default();
        let timestamp = time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into();
        Self { timestamp, cursor: cursor.to_string().into() }
    }

    fn frames(&self, told: BTreeMap<EntityCode, CoalescedChanges>, to: &Arc<[ConnectionId]>, out: &mut Vec<Effect>) {
        for (code, mut changes) in told {
            while !changes.is_empty() {
                let part = changes.drain_up_to(MAX_CHANGES_PER_FRAME);
                let told = InvalidateFrame::new(code.clone(), part, self.timestamp.clone(), self.cursor.clone());
                out.push(Effect::Send(to.clone(), Frame::Told(Arc::new(told))));
            }
        }
    }
}

/// The single thing that a grant's row names.
fn granted_entity(row: &ChangeLogEntry) -> Option<EntityRef> {
    if row.code != "entity_rbac" {
        return None;
    }
    let id = row.new_value_str("entity_instance_id")?.parse().ok().filter(|id| *id != EVERY_INSTANCE)?;
    Some(EntityRef::new(EntityCode::new(row.new_value_str("entity_code")?).ok()?, id))
}
