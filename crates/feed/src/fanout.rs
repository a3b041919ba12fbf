//! Fan-out of changes with authorization.
//!
//! An entity change is delivered to each connection that is subscribed to the entity, its type, a
//! parent or an ancestor, if its user may view the entity. An access change is delivered to each
//! user with a possible change of visibility.
//!
//! Invariant: fails closed. A change is not delivered unless its receiver is known to be allowed to
//! see it.

use crate::acl_cache::AclCache;
use crate::change_feed::ChangeFeed;
use crate::event::Effect;
use crate::lookups::LookupRequest;
use crate::outbound_queue::{Frame, InvalidateFrame, MAX_CHANGES_PER_FRAME};
use crate::topic::{ConnectionId, EntityAccess};
use pmo_domain::change_log::{AccessChange, ChangeLogEntry, LogBatch};
use pmo_domain::protocol::{Action, Change, CoalescedChanges, ServerMessage};
use pmo_domain::{AncestorSetId, EVERY_INSTANCE, EntityCode, EntityRef, FeedCursor, PersonId, UnixMillis, Version};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// Maximum number of buffered deliveries (pairs of connection and row); 8 bytes each.
const MAX_BUFFERED_DELIVERIES: usize = 500_000;

/// Users of this pod that an access change affects.
#[derive(Default)]
struct AffectedConnections {
    /// Users with grants to reload.
    reload: BTreeSet<PersonId>,
    /// Users who receive ACCESS, so that they revalidate their caches.
    revalidating: BTreeSet<PersonId>,
    /// Users with subscriptions to re-evaluate.
    re_evaluated: BTreeSet<PersonId>,
}

/// Access change, as applied to the connections of this pod.
#[derive(Default)]
pub(crate) struct AccessUpdate {
    /// Users with subscriptions to re-evaluate.
    pub(crate) persons: BTreeSet<PersonId>,
    /// Subset of `persons` who receive ACCESS, so that they revalidate their caches.
    pub(crate) revalidating: BTreeSet<PersonId>,
    /// Restricts the update to one connection, for its catch-up.
    pub(crate) only: Option<ConnectionId>,
    /// Entities named by changed grants; subscribers of their types are notified of a difference.
    pub(crate) granted_entities: BTreeSet<EntityRef>,
    /// Pairs of user and granted entity that were visible before the change.
    pub(crate) visible_before: HashSet<(PersonId, EntityRef)>,
}

impl AccessUpdate {
    /// Creates an update without knowledge of the former visibility: all `persons` revalidate.
    pub(crate) fn full_revalidation(persons: BTreeSet<PersonId>, only: Option<ConnectionId>) -> Self {
        Self { revalidating: persons.clone(), persons, only, ..Self::default() }
    }
}

impl ChangeFeed {
    /// Returns the affected users as far as known; adds missing data to `lookups`.
    fn find_affected(
        &self,
        rows: &[ChangeLogEntry],
        changes: &BTreeSet<AccessChange>,
        now: UnixMillis,
        lookups: &mut LookupRequest,
    ) -> AffectedConnections {
        lookups.ancestor_sets.extend(self.missing_ancestor_sets(AclCache::ancestor_sets_of(changes)));
        let affected = self.acl_cache.affected_by(changes);
        let mut found = AffectedConnections {
            reload: affected.reload,
            revalidating: affected.notify,
            ..AffectedConnections::default()
        };
        found.revalidating.extend(self.subscription_index.subscribers_of_linked(rows));
        // Moves into or out of a tree affect the whole subtree, so subscribers of the tree
        // revalidate.
        found.revalidating.extend(self.subscription_index.tree_subscribers(self.acl_cache.changed_ancestors(changes)));
        found.revalidating.extend(self.subscribers_of_removed(rows));
        lookups.people.extend(found.reload.difference(&self.requested.people));
        // Reloaded grants no longer contain those that have expired meanwhile.
        let expired = self.acl_cache.expired_between(self.expired_until, self.db_now(now));
        found.revalidating.extend(found.reload.intersection(&expired));
        // The reloaded grants may be affected by the moves.
        found.revalidating.extend(self.acl_cache.affected_given(changes, &self.lookup_result.people));
        found.re_evaluated = found.revalidating.union(&found.reload).copied().collect();
        found
    }

    /// Returns those of `ancestor_sets` that are neither cached nor already requested.
    pub(crate) fn missing_ancestor_sets(
        &self,
        ancestor_sets: impl IntoIterator<Item = AncestorSetId>,
    ) -> BTreeSet<AncestorSetId> {
        let mut missing = self.acl_cache.missing_ancestor_sets(ancestor_sets);
        missing.retain(|id| !self.requested.ancestor_sets.contains(id));
        missing
    }

    /// Returns the subscribers of entities that `rows` removed if their former location is unknown.
    fn subscribers_of_removed(&self, rows: &[ChangeLogEntry]) -> BTreeSet<PersonId> {
        let (mut found, mut persons) = (Vec::new(), BTreeSet::new());
        for row in rows.iter().filter(|row| row.ancestor_set.is_none() && !row.is_access_change()) {
            self.subscription_index.subscribers(row, &[], &mut found);
            persons.extend(found.iter().map(|(_, person)| *person));
        }
        persons
    }

    /// Returns the lookups that are needed before a log batch can be delivered.
    pub(crate) fn lookups_for_batch(&self, batch: &LogBatch, now: UnixMillis) -> LookupRequest {
        let mut lookups = LookupRequest::default();
        let affected = self.find_affected(&batch.rows, &batch.access, now, &mut lookups);
        lookups.merge(self.lookups_for_access(&affected.re_evaluated, None, &batch.rows));
        lookups.merge(self.lookups_for_rows(&batch.rows));
        lookups
    }

    /// Returns the lookups that are needed before `rows` can be delivered.
    pub(crate) fn lookups_for_rows(&self, rows: &[ChangeLogEntry]) -> LookupRequest {
        let subscribed: Vec<&ChangeLogEntry> =
            rows.iter().filter(|row| self.subscription_index.has_subscribers(row)).collect();
        LookupRequest {
            ancestor_sets: self.missing_ancestor_sets(subscribed.iter().filter_map(|row| row.ancestor_set)),
            types: subscribed.iter().any(|row| !self.acl_cache.has_type(row.code.as_str())) && !self.requested.types,
            ..LookupRequest::default()
        }
    }

    /// Returns the connections of these users, restricted to `only` if it is given.
    fn connections_of(
        &self,
        persons: &BTreeSet<PersonId>,
        only: Option<ConnectionId>,
    ) -> Vec<(ConnectionId, PersonId)> {
        let of_person = |person: &PersonId| {
            let person = *person;
            self.subscription_index.connections_of(person).into_iter().map(move |id| (id, person))
        };
        persons.iter().flat_map(of_person).filter(|(id, _)| only.is_none_or(|only| only == *id)).collect()
    }

    /// Returns the lookups that are needed to re-evaluate the subscriptions of these users.
    pub(crate) fn lookups_for_access(
        &self,
        persons: &BTreeSet<PersonId>,
        only: Option<ConnectionId>,
        rows: &[ChangeLogEntry],
    ) -> LookupRequest {
        if persons.is_empty() {
            return LookupRequest::default();
        }
        let mut ids: BTreeSet<_> = rows.iter().filter_map(granted_entity).map(|entity| entity.id).collect();
        for (id, _) in self.connections_of(persons, only) {
            ids.extend(self.subscription_index.entity_subscriptions(id).map(|(entity, _)| entity.id));
            ids.extend(self.presence.viewed_by(id).map(|entity| entity.id));
        }
        self.lookups_for_entities(ids)
    }

    /// Returns the lookups that are needed to decide who may see these entities.
    pub(crate) fn lookups_for_entities(&self, ids: BTreeSet<uuid::Uuid>) -> LookupRequest {
        let ancestor_sets =
            ids.iter().filter_map(|id| self.lookup_result.entities.get(id)).map(|(_, ancestor_set)| *ancestor_set);
        let type_missing = ids
            .iter()
            .filter_map(|id| self.lookup_result.entities.get(id))
            .any(|(code, _)| !self.acl_cache.has_type(code.as_str()));
        LookupRequest {
            ancestor_sets: self.missing_ancestor_sets(ancestor_sets),
            types: type_missing && !self.requested.types,
            entities: ids.difference(&self.requested.entities).copied().collect(),
            ..LookupRequest::default()
        }
    }

    /// Returns whether a person may see an entity; `false` if the entity was not looked up.
    pub(crate) fn can_view(&self, person: PersonId, entity: &EntityRef, db_now: UnixMillis) -> bool {
        let location = self.lookup_result.entities.get(&entity.id).filter(|(code, _)| *code == entity.code);
        location.is_some_and(|(_, set)| self.acl_cache.permission_on(person, entity, *set, db_now).is_some())
    }

    /// Applies and delivers a log batch; its lookups must be complete.
    ///
    /// Access changes come first: rows must not be delivered to users who lost access, and must be
    /// delivered to users who gained it.
    pub(crate) fn publish(
        &mut self,
        rows: &[ChangeLogEntry],
        changes: &BTreeSet<AccessChange>,
        now: UnixMillis,
        out: &mut Vec<Effect>,
    ) {
        let affected = self.find_affected(rows, changes, now, &mut LookupRequest::default());
        let db_now = self.db_now(now);
        let granted_entities: BTreeSet<EntityRef> = rows.iter().filter_map(granted_entity).collect();
        let mut visible_before = HashSet::new();
        for person in &affected.reload {
            let connections = self.subscription_index.connections_of(*person);
            let has_subscription = |e: &&EntityRef| {
                connections.iter().any(|id| self.subscription_index.has_broad_subscription(*id, &e.code))
            };
            visible_before.extend(
                granted_entities
                    .iter()
                    .filter(has_subscription)
                    .filter(|e| self.can_view(*person, e, db_now))
                    .map(|e| (*person, e.clone())),
            );
        }
        for person in &affected.reload {
            let grants = self.lookup_result.people.get(person).cloned().unwrap_or_default();
            self.acl_cache.set_grants(*person, grants, self.expired_until);
        }
        let update = AccessUpdate {
            persons: affected.re_evaluated,
            revalidating: affected.revalidating,
            only: None,
            granted_entities,
            visible_before,
        };
        self.apply_access_update(&update, now, out);
        self.deliver(rows, None, now, out);
    }

    /// Applies an access change to the subscriptions of the affected connections.
    ///
    /// For subscribed and granted entities, REVOKE is sent for lost access and CREATE for gained
    /// access. ACCESS then tells the client to revalidate everything else in its cache.
    pub(crate) fn apply_access_update(&mut self, update: &AccessUpdate, now: UnixMillis, out: &mut Vec<Effect>) {
        if update.persons.is_empty() {
            return;
        }
        self.access_epoch += 1;
        let (db_now, context) = (self.db_now(now), FrameContext::new(&self.cursor(), now));
        for (id, person) in self.connections_of(&update.persons, update.only) {
            let mut changes: BTreeMap<EntityCode, CoalescedChanges> = BTreeMap::new();
            let mut add_change = |entity: &EntityRef, action| {
                let change = Change { entity_id: entity.id, action, version: Version::default() };
                changes.entry(entity.code.clone()).or_default().coalesce(change);
            };
            let (mut lost, mut gained) = (BTreeMap::<EntityCode, Vec<_>>::new(), BTreeMap::<EntityCode, Vec<_>>::new());
            for (entity, denied) in self.subscription_index.entity_subscriptions(id) {
                match (denied, self.can_view(person, &entity, db_now)) {
                    (false, false) => {
                        add_change(&entity, Action::Revoke);
                        lost.entry(entity.code).or_default().push(entity.id);
                    }
                    (true, true) => {
                        add_change(&entity, Action::Create);
                        gained.entry(entity.code).or_default().push(entity.id);
                    }
                    _ => {}
                }
            }
            for entity in update
                .granted_entities
                .iter()
                .filter(|entity| self.subscription_index.has_broad_subscription(id, &entity.code))
            {
                match (update.visible_before.contains(&(person, entity.clone())), self.can_view(person, entity, db_now))
                {
                    (false, true) => add_change(entity, Action::Create),
                    (true, false) => add_change(entity, Action::Revoke),
                    _ => {}
                }
            }
            lost.into_iter()
                .for_each(|(code, ids)| self.subscription_index.set_access(id, &code, ids, EntityAccess::Denied));
            gained
                .into_iter()
                .for_each(|(code, ids)| self.subscription_index.set_access(id, &code, ids, EntityAccess::Allowed));
            let receivers: Arc<[ConnectionId]> = [id].into();
            context.frames(changes, &receivers, out);
            let visible: Vec<EntityRef> =
                self.presence.viewed_by(id).filter(|entity| self.can_view(person, entity, db_now)).cloned().collect();
            self.retain_viewed(id, |entity| visible.contains(entity), out);
            if update.revalidating.contains(&person) {
                self.send(id, &ServerMessage::Access { access_epoch: self.access_epoch.to_string() }, out);
            }
        }
    }

    /// Delivers rows to subscribers who may see them, or only to the connection `only`.
    ///
    /// Several changes of one entity become one change. Connections with the same changes share a
    /// frame.
    pub(crate) fn deliver(
        &self,
        rows: &[ChangeLogEntry],
        only: Option<ConnectionId>,
        now: UnixMillis,
        out: &mut Vec<Effect>,
    ) {
        let only = match only {
            Some(id) => match (self.subscription_index.connection_slot(id), self.subscription_index.person(id)) {
                (Some(slot), Some(person)) => Some((id, slot, person)),
                _ => return,
            },
            None => None,
        };
        let (db_now, context) = (self.db_now(now), FrameContext::new(&self.cursor(), now));
        let mut subscribers = Vec::new();
        // Connection slot and row index.
        let mut deliveries: Vec<(u32, u32)> = Vec::new();
        for (index, row) in rows.iter().enumerate().filter(|(_, row)| !row.is_access_change()) {
            let Some(location) =
                row.ancestor_set.and_then(|ancestor_set| self.acl_cache.locate(&row.code, row.id, ancestor_set))
            else {
                continue;
            };
            match only {
                Some((id, slot, person)) => {
                    subscribers.clear();
                    subscribers.extend(
                        self.subscription_index.is_subscriber(id, row, location.ancestors).then_some((slot, person)),
                    );
                }
                None => self.subscription_index.subscribers(row, location.ancestors, &mut subscribers),
            }
            let allowed = subscribers
                .iter()
                .filter(|(_, person)| self.acl_cache.permission_at(*person, &location, db_now).is_some());
            deliveries.extend(allowed.map(|(slot, _)| (*slot, index as u32)));
            if deliveries.len() > MAX_BUFFERED_DELIVERIES {
                self.flush_deliveries(rows, &mut deliveries, &context, out);
            }
        }
        self.flush_deliveries(rows, &mut deliveries, &context, out);
    }

    /// Sends the buffered deliveries and clears the buffer.
    fn flush_deliveries(
        &self,
        rows: &[ChangeLogEntry],
        deliveries: &mut Vec<(u32, u32)>,
        context: &FrameContext,
        out: &mut Vec<Effect>,
    ) {
        deliveries.sort_unstable();
        let mut groups: BTreeMap<Vec<u32>, Vec<ConnectionId>> = BTreeMap::new();
        for of_connection in deliveries.chunk_by(|a, b| a.0 == b.0) {
            let Some(id) = of_connection.first().and_then(|(slot, _)| self.subscription_index.connection_at(*slot))
            else {
                continue;
            };
            groups.entry(of_connection.iter().map(|(_, row)| *row).collect()).or_default().push(id);
        }
        deliveries.clear();
        for (row_indexes, receivers) in groups {
            let mut changes_by_type: BTreeMap<EntityCode, CoalescedChanges> = BTreeMap::new();
            for row in row_indexes.iter().filter_map(|index| rows.get(*index as usize)) {
                let change = Change { entity_id: row.id, action: row.client_action(), version: row.version };
                match changes_by_type.get_mut(&row.code) {
                    Some(changes) => changes.coalesce(change),
                    None => changes_by_type.entry(row.code.clone()).or_default().coalesce(change),
                }
            }
            context.frames(changes_by_type, &receivers.into(), out);
        }
    }
}

/// Timestamp and cursor of the frames of one delivery.
struct FrameContext {
    timestamp: Arc<str>,
    cursor: Arc<str>,
}

impl FrameContext {
    fn new(cursor: &FeedCursor, now: UnixMillis) -> Self {
        let time = jiff::Timestamp::from_millisecond(now.get()).unwrap_or_default();
        let timestamp = time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into();
        Self { timestamp, cursor: cursor.to_string().into() }
    }

    /// Queues the changes as frames of at most `MAX_CHANGES_PER_FRAME` changes.
    fn frames(
        &self,
        changes_by_type: BTreeMap<EntityCode, CoalescedChanges>,
        receivers: &Arc<[ConnectionId]>,
        out: &mut Vec<Effect>,
    ) {
        for (code, mut changes) in changes_by_type {
            while !changes.is_empty() {
                let chunk = changes.drain_up_to(MAX_CHANGES_PER_FRAME);
                let frame = InvalidateFrame::new(code.clone(), chunk, self.timestamp.clone(), self.cursor.clone());
                out.push(Effect::Send(receivers.clone(), Frame::Invalidate(Arc::new(frame))));
            }
        }
    }
}

/// Returns the entity that the row of a grant names; `None` for other rows and type-wide grants.
fn granted_entity(row: &ChangeLogEntry) -> Option<EntityRef> {
    if row.code != "entity_rbac" {
        return None;
    }
    let id = row.new_value_str("entity_instance_id")?.parse().ok().filter(|id| *id != EVERY_INSTANCE)?;
    Some(EntityRef::new(EntityCode::new(row.new_value_str("entity_code")?).ok()?, id))
}
