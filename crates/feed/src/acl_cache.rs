//! Grants of connected users and ancestor sets, in memory.
//!
//! Fan-out checks each receiver of a change against this cache and does not query the database.
//!
//! Invariant: an access change is applied to the cache before the rows of the same batch are
//! delivered.

use pmo_domain::change_log::AccessChange;
use pmo_domain::grant_set::{EntityLocation, GrantSet};
use pmo_domain::{AncestorSetId, EntityCode, EntityRef, Permission, PersonId, UnixMillis};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// Maximum number of cached ancestor sets; one takes some hundred bytes.
const MAX_ANCESTOR_SETS: usize = 50_000;

/// Connected users that an access change affects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AffectedPeople {
    /// Users with grants that must be reloaded.
    pub reload: BTreeSet<PersonId>,
    /// Users to notify, because their visibility may have changed.
    pub notify: BTreeSet<PersonId>,
}

/// Grants by user, ancestor sets by id and type markers by type.
#[derive(Default)]
pub struct AclCache {
    people: HashMap<PersonId, GrantSet>,
    ancestor_sets: HashMap<AncestorSetId, Arc<[(Uuid, bool)]>>,
    type_markers: HashMap<String, Uuid>,
    /// Next expiry of a cached grant.
    next_expiry: Option<UnixMillis>,
}

impl AclCache {
    /// Stores the grants of a person.
    ///
    /// Grants that expired before `since` have been processed and do not count for the next expiry.
    pub fn set_grants(&mut self, person: PersonId, grants: GrantSet, since: UnixMillis) {
        self.next_expiry = [self.next_expiry, next_expiry_of(&grants, since)].into_iter().flatten().min();
        self.people.insert(person, grants);
    }

    /// Removes the grants of a person who has no connection any more.
    pub fn remove_person(&mut self, person: PersonId) {
        self.people.remove(&person);
    }

    /// Returns whether the grants of a person are cached.
    pub fn has_person(&self, person: PersonId) -> bool {
        self.people.contains_key(&person)
    }

    /// Returns the number of people with cached grants.
    pub fn people(&self) -> usize {
        self.people.len()
    }

    /// Replaces the type markers of all types.
    pub fn set_type_markers(&mut self, markers: HashMap<String, Uuid>) {
        self.type_markers = markers;
    }

    /// Returns whether the type is known.
    pub fn has_type(&self, code: &str) -> bool {
        self.type_markers.contains_key(code)
    }

    /// Stores the ancestors of an ancestor set; they never change.
    pub fn insert_ancestor_set(&mut self, ancestor_set: AncestorSetId, ancestors: Vec<(Uuid, bool)>) {
        self.ancestor_sets.insert(ancestor_set, ancestors.into());
    }

    /// Removes all ancestor sets if there are more than `MAX_ANCESTOR_SETS`.
    ///
    /// Must not: be called during a task, which needs its loaded ancestor sets until it ends.
    pub fn evict_if_full(&mut self) {
        if self.ancestor_sets.len() > MAX_ANCESTOR_SETS {
            self.ancestor_sets.clear();
        }
    }

    /// Returns those of `ancestor_sets` that are not cached.
    pub fn missing_ancestor_sets(
        &self,
        ancestor_sets: impl IntoIterator<Item = AncestorSetId>,
    ) -> BTreeSet<AncestorSetId> {
        ancestor_sets.into_iter().filter(|id| !self.ancestor_sets.contains_key(id)).collect()
    }

    /// Returns the location of an entity, or `None` if its type or ancestor set is not cached.
    pub fn locate<'a>(
        &'a self,
        code: &'a EntityCode,
        id: Uuid,
        ancestor_set: AncestorSetId,
    ) -> Option<EntityLocation<'a>> {
        let type_marker = *self.type_markers.get(code.as_str())?;
        Some(EntityLocation { id, type_marker, code: code.as_str(), ancestors: self.ancestor_sets.get(&ancestor_set)? })
    }

    /// Returns a person's permission at a location, or `None` if the person is not cached.
    pub fn permission_at(
        &self,
        person: PersonId,
        location: &EntityLocation<'_>,
        now: UnixMillis,
    ) -> Option<Permission> {
        self.people.get(&person)?.effective_permission(location, now.get())
    }

    /// Returns the effective permission of a person on an entity.
    ///
    /// `None` without a grant, and also if the person, the type or the ancestor set is not cached.
    pub fn permission_on(
        &self,
        person: PersonId,
        entity: &EntityRef,
        ancestor_set: AncestorSetId,
        now: UnixMillis,
    ) -> Option<Permission> {
        self.permission_at(person, &self.locate(&entity.code, entity.id, ancestor_set)?, now)
    }

    /// Returns the ancestor sets that must be cached before [`AclCache::affected_by`] is exact.
    pub fn ancestor_sets_of(changes: &BTreeSet<AccessChange>) -> BTreeSet<AncestorSetId> {
        let pairs = changes.iter().filter_map(|change| match change {
            AccessChange::AncestorSetChanged(old, new) => Some([*old, *new]),
            _ => None,
        });
        pairs.flatten().collect()
    }

    /// Returns the ancestors that were added to or removed from entities by moves.
    ///
    /// Users with a grant on one of them may see other entities now. `None` if an old or new
    /// ancestor set is not cached.
    pub fn changed_ancestors(&self, changes: &BTreeSet<AccessChange>) -> Option<BTreeSet<Uuid>> {
        let mut keys: BTreeSet<Uuid> = BTreeSet::new();
        for change in changes {
            let AccessChange::AncestorSetChanged(old, new) = change else { continue };
            let (old, new) = (self.ancestor_sets.get(old)?, self.ancestor_sets.get(new)?);
            keys.extend(old.iter().filter(|key| !new.contains(key)).map(|key| key.0));
            keys.extend(new.iter().filter(|key| !old.contains(key)).map(|key| key.0));
        }
        Some(keys)
    }

    /// Returns the connected users that `changes` affect.
    pub fn affected_by(&self, changes: &BTreeSet<AccessChange>) -> AffectedPeople {
        let all_people = || self.people.keys().copied().collect::<BTreeSet<_>>();
        let mut found = AffectedPeople::default();
        for change in changes {
            match change {
                AccessChange::Unscoped => return AffectedPeople { reload: all_people(), notify: all_people() },
                AccessChange::GrantsChanged(person) => {
                    found.reload.insert(PersonId(*person));
                    found.notify.insert(PersonId(*person));
                }
                AccessChange::EntityCreated(person) => drop(found.reload.insert(PersonId(*person))),
                AccessChange::AncestorSetChanged(..) => {}
            }
        }
        match self.changed_ancestors(changes) {
            Some(keys) if keys.is_empty() => {}
            Some(keys) => {
                let affected = self.people.iter().filter(|(_, grants)| grants.is_affected_by(&keys));
                found.notify.extend(affected.map(|(person, _)| *person));
            }
            None => found.notify = all_people(),
        }
        found.reload.retain(|person| self.has_person(*person));
        found.notify.retain(|person| self.has_person(*person));
        found
    }

    /// Returns the connected users among `grants` that `changes` affect under these new grants.
    pub fn affected_given(
        &self,
        changes: &BTreeSet<AccessChange>,
        grants: &HashMap<PersonId, GrantSet>,
    ) -> BTreeSet<PersonId> {
        let keys =
            if grants.is_empty() { None } else { self.changed_ancestors(changes).filter(|keys| !keys.is_empty()) };
        let Some(keys) = keys else { return BTreeSet::new() };
        grants
            .iter()
            .filter(|(person, grants)| self.has_person(**person) && grants.is_affected_by(&keys))
            .map(|(person, _)| *person)
            .collect()
    }

    /// Returns the users with a grant that expired after `since` and not after `now`.
    pub fn expired_between(&self, since: UnixMillis, now: UnixMillis) -> BTreeSet<PersonId> {
        let expired = |grants: &GrantSet| next_expiry_of(grants, since).is_some_and(|expiry| expiry <= now);
        self.people.iter().filter(|(_, grants)| expired(grants)).map(|(person, _)| *person).collect()
    }

    /// Returns the next expiry of a cached grant.
    pub fn next_expiry(&self) -> Option<UnixMillis> {
        self.next_expiry
    }

    /// Recomputes the next expiry after the grants that expired by `now` have been processed.
    pub fn advance_expiry(&mut self, now: UnixMillis) {
        self.next_expiry = self.people.values().filter_map(|grants| next_expiry_of(grants, now)).min();
    }
}

/// Returns the time of the first expiry of a grant after `since`.
fn next_expiry_of(grants: &GrantSet, since: UnixMillis) -> Option<UnixMillis> {
    grants.next_expiry(since.get()).map(UnixMillis::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_domain::grant_set::HeldGrant;
    use pmo_domain::permission::Inheritance;

    const ANN: PersonId = PersonId(Uuid::from_u128(1));
    const BOB: PersonId = PersonId(Uuid::from_u128(2));

    fn grant_on(key: u128, expires: Option<i64>) -> GrantSet {
        let inheritance = Inheritance::Cascade;
        GrantSet::new(vec![HeldGrant {
            target: Uuid::from_u128(key),
            permission: Permission::View,
            inheritance,
            deny: false,
            expires_at_ms: expires,
        }])
    }

    fn cache_of_two_people() -> AclCache {
        let mut cache = AclCache::default();
        cache.set_grants(ANN, grant_on(10, None), UnixMillis::EPOCH);
        cache.set_grants(BOB, grant_on(20, Some(1000)), UnixMillis::EPOCH);
        cache.set_type_markers([("task".to_owned(), Uuid::from_u128(99))].into());
        cache.insert_ancestor_set(AncestorSetId(1), vec![]);
        cache.insert_ancestor_set(AncestorSetId(7), vec![(Uuid::from_u128(10), true)]);
        cache.insert_ancestor_set(AncestorSetId(8), vec![(Uuid::from_u128(20), true)]);
        cache
    }

    #[test]
    fn permission_comes_from_grants_on_ancestors_and_is_none_if_unknown() {
        let cache = cache_of_two_people();
        let task = EntityRef::new(EntityCode::new("task").unwrap(), Uuid::from_u128(5));
        let other = EntityRef::new(EntityCode::new("risk").unwrap(), Uuid::from_u128(5));
        assert_eq!(cache.permission_on(ANN, &task, AncestorSetId(7), UnixMillis::new(0)), Some(Permission::View));
        assert_eq!(cache.permission_on(BOB, &task, AncestorSetId(7), UnixMillis::new(0)), None);
        assert_eq!(
            (
                cache.permission_on(BOB, &task, AncestorSetId(8), UnixMillis::new(0)),
                cache.permission_on(BOB, &task, AncestorSetId(8), UnixMillis::new(1000))
            ),
            (Some(Permission::View), None)
        );
        assert_eq!(
            (
                cache.permission_on(ANN, &task, AncestorSetId(77), UnixMillis::new(0)),
                cache.permission_on(ANN, &other, AncestorSetId(7), UnixMillis::new(0))
            ),
            (None, None)
        );
        assert_eq!(
            cache.permission_on(PersonId(Uuid::from_u128(3)), &task, AncestorSetId(7), UnixMillis::new(0)),
            None
        );
        assert_eq!(cache.missing_ancestor_sets([7, 77].map(AncestorSetId)), [AncestorSetId(77)].into());
    }

    fn moved(old: i32, new: i32) -> AccessChange {
        AccessChange::AncestorSetChanged(AncestorSetId(old), AncestorSetId(new))
    }

    #[test]
    fn access_change_affects_only_users_whose_visibility_may_change() {
        let cache = cache_of_two_people();
        let affected = |change: AccessChange| cache.affected_by(&[change].into());
        let only = |person| AffectedPeople { reload: [person].into(), notify: [person].into() };
        assert_eq!(affected(AccessChange::GrantsChanged(ANN.0)), only(ANN));
        assert_eq!(
            affected(AccessChange::EntityCreated(ANN.0)),
            AffectedPeople { reload: [ANN].into(), notify: [].into() }
        );
        assert_eq!(
            affected(AccessChange::Unscoped),
            AffectedPeople { reload: [ANN, BOB].into(), notify: [ANN, BOB].into() }
        );
        assert_eq!(affected(moved(1, 7)), AffectedPeople { reload: [].into(), notify: [ANN].into() });
        assert_eq!(affected(moved(7, 8)).notify, [ANN, BOB].into());
        assert_eq!(affected(moved(7, 70)).notify, [ANN, BOB].into(), "an unknown ancestor set may affect any user");
        assert_eq!(
            affected(AccessChange::GrantsChanged(Uuid::from_u128(3))),
            AffectedPeople::default(),
            "not connected"
        );
    }

    #[test]
    fn grants_expire_without_a_change() {
        let mut cache = cache_of_two_people();
        assert_eq!(cache.next_expiry(), Some(UnixMillis::new(1000)));
        let expired = |since: i64, now: i64| cache.expired_between(UnixMillis::new(since), UnixMillis::new(now));
        assert_eq!((expired(0, 999), expired(0, 1000), expired(1000, 2000)), ([].into(), [BOB].into(), [].into()));
        cache.advance_expiry(UnixMillis::new(1000));
        assert_eq!(cache.next_expiry(), None);
    }
}
