//! What the people who are here hold, and where things are. A change is checked for each receiver against this, so that telling it asks the
//! database nothing. It must hear of every change of access before the rows that come with it are told.

use pmo_domain::change_log::AccessChange;
use pmo_domain::grant_set::{EntityLocation, GrantSet};
use pmo_domain::{EntityCode, EntityRef, Permission, PersonId};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// Reaches that are remembered; some hundred bytes each.
const MAX_ANCESTOR_SETS: usize = 50_000;

/// Whom a change of access concerns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AffectedPeople {
    /// What they hold must be read again.
    pub reload: BTreeSet<PersonId>,
    /// Their view may be another: they are told.
    pub notify: BTreeSet<PersonId>,
}

/// Grants and places.
#[derive(Default)]
pub struct AclCache {
    people: HashMap<PersonId, GrantSet>,
    ancestor_sets: HashMap<i32, Arc<[(Uuid, bool)]>>,
    type_markers: HashMap<String, Uuid>,
    /// When the next grant of anybody ends.
    next_expiry: Option<i64>,
}

impl AclCache {
    /// What a person holds now; grants that ended before `since` are dealt with.
    pub fn set_grants(&mut self, person: PersonId, holdings: GrantSet, since: i64) {
        self.next_expiry = [self.next_expiry, holdings.next_expiry(since)].into_iter().flatten().min();
        self.people.insert(person, holdings);
    }

    /// A person is not here any more.
    pub fn remove_person(&mut self, person: PersonId) {
        self.people.remove(&person);
    }

    /// Whether it is known what a person holds.
    pub fn has_person(&self, person: PersonId) -> bool {
        self.people.contains_key(&person)
    }

    /// How many people are here.
    pub fn people(&self) -> usize {
        self.people.len()
    }

    /// The markers of all types.
    pub fn set_type_markers(&mut self, markers: HashMap<String, Uuid>) {
        self.type_markers = markers;
    }

    /// Whether a type is known.
    pub fn has_type(&self, code: &str) -> bool {
        self.type_markers.contains_key(code)
    }

    /// What is above a reach, which never changes.
    pub fn insert_ancestor_set(&mut self, reach: i32, above: Vec<(Uuid, bool)>) {
        self.ancestor_sets.insert(reach, above.into());
    }

    /// Makes room, between one task and the next: what a task has placed it must find until it is done.
    pub fn evict_if_full(&mut self) {
        if self.ancestor_sets.len() > MAX_ANCESTOR_SETS {
            self.ancestor_sets.clear();
        }
    }

    /// Of these reaches, those of which it is not known what is above them.
    pub fn missing_ancestor_sets(&self, reaches: impl IntoIterator<Item = i32>) -> BTreeSet<i32> {
        reaches.into_iter().filter(|reach| !self.ancestor_sets.contains_key(reach)).collect()
    }

    /// Where a thing is; none of a type unknown or in a place unknown.
    pub fn locate<'a>(&'a self, code: &'a EntityCode, id: Uuid, reach: i32) -> Option<EntityLocation<'a>> {
        let marker = *self.type_markers.get(code.as_str())?;
        Some(EntityLocation {
            id,
            type_marker: marker,
            code: code.as_str(),
            ancestors: self.ancestor_sets.get(&reach)?,
        })
    }

    /// A person's level in a place. Nothing is seen by somebody unknown.
    pub fn permission_at(&self, person: PersonId, place: &EntityLocation<'_>, now: i64) -> Option<Permission> {
        self.people.get(&person)?.effective_permission(place, now)
    }

    /// A person's level on a thing. Nothing is seen by somebody unknown, of a type unknown or in a place unknown.
    pub fn permission_on(&self, person: PersonId, entity: &EntityRef, reach: i32, now: i64) -> Option<Permission> {
        self.permission_at(person, &self.locate(&entity.code, entity.id, reach)?, now)
    }

    /// Reaches that must be placed before [`Access::concerned`] can tell.
    pub fn ancestor_sets_of(changes: &BTreeSet<AccessChange>) -> BTreeSet<i32> {
        let pairs = changes.iter().filter_map(|change| match change {
            AccessChange::AncestorSetChanged(was, is) => Some([*was, *is]),
            _ => None,
        });
        pairs.flatten().collect()
    }

    /// What came above something, or went: whoever holds anything there may see otherwise now. None: where something went is not known.
    pub fn changed_ancestors(&self, changes: &BTreeSet<AccessChange>) -> Option<BTreeSet<Uuid>> {
        let mut keys: BTreeSet<Uuid> = BTreeSet::new();
        for change in changes {
            let AccessChange::AncestorSetChanged(was, is) = change else { continue };
            let (was, is) = (self.ancestor_sets.get(was)?, self.ancestor_sets.get(is)?);
            keys.extend(was.iter().filter(|key| !is.contains(key)).map(|key| key.0));
            keys.extend(is.iter().filter(|key| !was.contains(key)).map(|key| key.0));
        }
        Some(keys)
    }

    /// Whom of those who are here `changes` concern.
    pub fn affected_by(&self, changes: &BTreeSet<AccessChange>) -> AffectedPeople {
        let everybody = || self.people.keys().copied().collect::<BTreeSet<_>>();
        let mut found = AffectedPeople::default();
        for change in changes {
            match change {
                AccessChange::Unscoped => return AffectedPeople { reload: everybody(), notify: everybody() },
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
                let concerned = self.people.iter().filter(|(_, holdings)| holdings.is_affected_by(&keys));
                found.notify.extend(concerned.map(|(person, _)| *person));
            }
            None => found.notify = everybody(),
        }
        found.reload.retain(|person| self.has_person(*person));
        found.notify.retain(|person| self.has_person(*person));
        found
    }

    /// Whom of these `changes` concern by what they hold now.
    pub fn affected_given(
        &self,
        changes: &BTreeSet<AccessChange>,
        held: &HashMap<PersonId, GrantSet>,
    ) -> BTreeSet<PersonId> {
        let keys = if held.is_empty() { None } else { self.changed_ancestors(changes).filter(|keys| !keys.is_empty()) };
        let Some(keys) = keys else { return BTreeSet::new() };
        held.iter()
            .filter(|(person, now)| self.has_person(**person) && now.is_affected_by(&keys))
            .map(|(person, _)| *person)
            .collect()
    }

    /// Those of whose grants one has ended after `since`, by `now`.
    pub fn expired_between(&self, since: i64, now: i64) -> BTreeSet<PersonId> {
        let over = |holdings: &GrantSet| holdings.next_expiry(since).is_some_and(|end| end <= now);
        self.people.iter().filter(|(_, holdings)| over(holdings)).map(|(person, _)| *person).collect()
    }

    /// When the next grant of anybody ends.
    pub fn next_end(&self) -> Option<i64> {
        self.next_expiry
    }

    /// What ended by `now` is dealt with.
    pub fn advance_expiry(&mut self, now: i64) {
        self.next_expiry = self.people.values().filter_map(|holdings| holdings.next_expiry(now)).min();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_domain::grant_set::HeldGrant;
    use pmo_domain::permission::Inheritance;

    const ANN: PersonId = PersonId(Uuid::from_u128(1));
    const BOB: PersonId = PersonId(Uuid::from_u128(2));

    fn on(key: u128, expires: Option<i64>) -> GrantSet {
        let inheritance = Inheritance::Cascade;
        GrantSet::new(vec![HeldGrant {
            target: Uuid::from_u128(key),
            permission: Permission::View,
            inheritance,
            deny: false,
            expires,
        }])
    }

    fn two() -> AclCache {
        let mut access = AclCache::default();
        access.set_grants(ANN, on(10, None), 0);
        access.set_grants(BOB, on(20, Some(1000)), 0);
        access.set_type_markers([("task".to_owned(), Uuid::from_u128(99))].into());
        access.insert_ancestor_set(1, vec![]);
        access.insert_ancestor_set(7, vec![(Uuid::from_u128(10), true)]);
        access.insert_ancestor_set(8, vec![(Uuid::from_u128(20), true)]);
        access
    }

    #[test]
    fn a_thing_is_seen_by_what_is_above_it_and_nothing_unknown_is_seen() {
        let access = two();
        let task = EntityRef::new(EntityCode::new("task").unwrap(), Uuid::from_u128(5));
        let other = EntityRef::new(EntityCode::new("risk").unwrap(), Uuid::from_u128(5));
        assert_eq!(access.permission_on(ANN, &task, 7, 0), Some(Permission::View));
        assert_eq!(access.permission_on(BOB, &task, 7, 0), None);
        assert_eq!(
            (access.permission_on(BOB, &task, 8, 0), access.permission_on(BOB, &task, 8, 1000)),
            (Some(Permission::View), None)
        );
        assert_eq!((access.permission_on(ANN, &task, 77, 0), access.permission_on(ANN, &other, 7, 0)), (None, None));
        assert_eq!(access.permission_on(PersonId(Uuid::from_u128(3)), &task, 7, 0), None);
        assert_eq!(access.missing_ancestor_sets([7, 77]), [77].into());
    }

    #[test]
    fn a_change_concerns_whose_view_it_may_change_and_nobody_else() {
        let access = two();
        let told = |change: AccessChange| access.affected_by(&[change].into());
        let only = |person| AffectedPeople { reload: [person].into(), notify: [person].into() };
        assert_eq!(told(AccessChange::GrantsChanged(ANN.0)), only(ANN));
        assert_eq!(
            told(AccessChange::EntityCreated(ANN.0)),
            AffectedPeople { reload: [ANN].into(), notify: [].into() }
        );
        assert_eq!(
            told(AccessChange::Unscoped),
            AffectedPeople { reload: [ANN, BOB].into(), notify: [ANN, BOB].into() }
        );
        assert_eq!(
            told(AccessChange::AncestorSetChanged(1, 7)),
            AffectedPeople { reload: [].into(), notify: [ANN].into() }
        );
        assert_eq!(told(AccessChange::AncestorSetChanged(7, 8)).notify, [ANN, BOB].into());
        assert_eq!(
            told(AccessChange::AncestorSetChanged(7, 70)).notify,
            [ANN, BOB].into(),
            "what is not known may concern anybody"
        );
        assert_eq!(told(AccessChange::GrantsChanged(Uuid::from_u128(3))), AffectedPeople::default(), "not here");
    }

    #[test]
    fn grants_end_by_themselves() {
        let mut access = two();
        assert_eq!(access.next_end(), Some(1000));
        assert_eq!(
            (access.expired_between(0, 999), access.expired_between(0, 1000), access.expired_between(1000, 2000)),
            ([].into(), [BOB].into(), [].into())
        );
        access.advance_expiry(1000);
        assert_eq!(access.next_end(), None);
    }
}
