//! All grants of one person, prepared for permission checks on many entities.
//!
//! Implements the rule of `permission` on precomputed ancestor lists instead of links.
//!
//! Must not: grant more than [`crate::permission::effective_permission`]; a property test compares
//! the two.

use crate::Permission;
use crate::permission::Inheritance;
use std::collections::BTreeSet;
use uuid::Uuid;

/// A grant that a person has, directly or through a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldGrant {
    /// Id of the entity, or the type marker of a grant on a whole type.
    pub target: Uuid,
    /// Permission level.
    pub permission: Permission,
    /// Inheritance by descendants.
    pub inheritance: Inheritance,
    /// Whether the grant denies access; a deny wins over all other grants.
    pub deny: bool,
    /// Expiry in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<i64>,
}

/// Location of an entity in the hierarchy, as needed for permission checks.
#[derive(Clone, Copy, Debug)]
pub struct EntityLocation<'a> {
    /// Id of the entity.
    pub id: Uuid,
    /// Type marker of the entity's type.
    pub type_marker: Uuid,
    /// Type code of the entity.
    pub code: &'a str,
    /// All ancestors of the entity and the type markers of their types.
    ///
    /// The flag states whether a path of owned links alone leads to the ancestor.
    pub ancestors: &'a [(Uuid, bool)],
}

/// The effective grants of one person, sorted by target.
///
/// Checks are cheap and the set is small: most people have only a few grants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantSet(Vec<HeldGrant>);

impl GrantSet {
    /// Creates the set from all grants of a person.
    ///
    /// `grants` must not contain CREATE grants on whole types: they give no access to entities.
    pub fn new(mut grants: Vec<HeldGrant>) -> Self {
        grants.sort_by_key(|grant| grant.target);
        grants.shrink_to_fit();
        Self(grants)
    }

    fn grants_on(&self, target: Uuid) -> impl Iterator<Item = &HeldGrant> {
        let first = self.0.partition_point(|grant| grant.target < target);
        self.0[first..].iter().take_while(move |grant| grant.target == target)
    }

    /// Returns the person's permission on an entity, or `None` without access.
    ///
    /// `now` is in milliseconds since the Unix epoch.
    pub fn effective_permission(&self, location: &EntityLocation<'_>, now: i64) -> Option<Permission> {
        let mut best = None;
        let own = [(location.id, None), (location.type_marker, None)].into_iter();
        for (target, owned) in own.chain(location.ancestors.iter().map(|(target, owned)| (*target, Some(*owned)))) {
            for grant in
                self.grants_on(target).filter(|grant| grant.expires_at_ms.is_none_or(|expires_at| expires_at > now))
            {
                let granted = match (owned, &grant.inheritance) {
                    (None, _) | (Some(_), Inheritance::Cascade) => grant.permission,
                    (Some(_), Inheritance::None) => continue,
                    (Some(_), Inheritance::Mapped(levels)) => {
                        match levels.get(location.code).or_else(|| levels.get("_default")) {
                            Some(level) => *level,
                            None => continue,
                        }
                    }
                };
                if grant.deny {
                    return None;
                }
                let cap = if owned == Some(false) { Permission::Comment } else { Permission::Owner };
                best = best.max(Some(granted.min(cap)));
            }
        }
        best
    }

    /// Returns whether a move of entities may change the permissions of this person.
    ///
    /// `ancestors` are the grant keys that the move added to or removed from their ancestors.
    pub fn is_affected_by(&self, ancestors: &BTreeSet<Uuid>) -> bool {
        self.0.iter().any(|grant| grant.inheritance != Inheritance::None && ancestors.contains(&grant.target))
    }

    /// Returns when the next grant expires after `now`, in milliseconds since the Unix epoch.
    pub fn next_expiry(&self, now: i64) -> Option<i64> {
        self.0.iter().filter_map(|grant| grant.expires_at_ms).filter(|expires_at| *expires_at > now).min()
    }

    /// Returns the number of grants.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether the person has no grants.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permission::{EntityLink, Grant, effective_permission};
    use crate::{EntityCode, EntityRef};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const CODES: [&str; 3] = ["project", "task", "sprint"];

    fn entity(kind: usize, n: u128) -> EntityRef {
        EntityRef::new(EntityCode::new(CODES[kind]).unwrap(), Uuid::from_u128(100 * (kind as u128 + 1) + n))
    }
    fn marker(code: &EntityCode) -> Uuid {
        Uuid::from_u128(9000 + CODES.iter().position(|c| *c == code.as_str()).unwrap() as u128)
    }

    /// Computes the ancestors of an entity in the form that the database stores.
    fn ancestors(links: &[EntityLink], target: &EntityRef) -> Vec<(Uuid, bool)> {
        let mut nodes = vec![(target.clone(), true)];
        let mut next = 0;
        while let Some((node, owned)) = nodes.get(next).cloned() {
            for link in links.iter().filter(|link| link.child == node) {
                let step = (link.parent.clone(), owned && link.owned);
                if !nodes.contains(&step) {
                    nodes.push(step);
                }
            }
            next += 1;
        }
        let mut keys: BTreeMap<Uuid, bool> = BTreeMap::new();
        for (node, owned) in nodes.iter().filter(|(node, _)| node.id != target.id) {
            for key in [node.id, marker(&node.code)] {
                *keys.entry(key).or_default() |= *owned;
            }
        }
        keys.into_iter().collect()
    }

    fn grants() -> impl Strategy<Value = Grant> {
        let map = prop::collection::btree_map(
            prop::sample::select(vec!["project", "task", "_default"]).prop_map(str::to_owned),
            (0..8u8).prop_map(|l| Permission::try_from(l).unwrap()),
            0..3,
        );
        let inheritance = prop_oneof![
            1 => Just(Inheritance::None),
            3 => Just(Inheritance::Cascade),
            1 => map.prop_map(Inheritance::Mapped)
        ];
        (
            0..3usize,
            prop::option::weighted(0.7, 0..3u128),
            0..8u8,
            inheritance,
            prop::bool::weighted(0.15),
            prop::option::weighted(0.3, 0..2i64),
        )
            .prop_map(|(kind, instance, level, inheritance, deny, expires)| Grant {
                code: entity(kind, 0).code,
                instance: instance.map(|n| entity(kind, n).id),
                permission: Permission::try_from(level).unwrap(),
                inheritance,
                deny,
                expires_at_ms: expires,
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn grant_set_equals_effective_permission(
            grants in prop::collection::vec(grants(), 0..6),
            links in prop::collection::vec((0..3usize, 0..3u128, 0..3usize, 0..3u128, any::<bool>()), 0..8),
        ) {
            let links: Vec<EntityLink> = links.into_iter().map(|(pk, p, ck, c, owned)| EntityLink { parent: entity(pk, p), child: entity(ck, c), owned }).collect();
            let grant_set = GrantSet::new(grants.iter().filter(|g| g.instance.is_some() || g.permission != Permission::Create).map(|g| HeldGrant {
                target: g.instance.unwrap_or_else(|| marker(&g.code)),
                permission: g.permission,
                inheritance: g.inheritance.clone(),
                deny: g.deny,
                expires_at_ms: g.expires_at_ms,
            }).collect());
            for kind in 0..3 {
                for n in 0..3 {
                    let target = entity(kind, n);
                    let ancestors = ancestors(&links, &target);
                    let location = EntityLocation { id: target.id, type_marker: marker(&target.code), code: target.code.as_str(), ancestors: &ancestors };
                    prop_assert_eq!(grant_set.effective_permission(&location, 0), effective_permission(&grants, &links, &target, 0), "{}", target);
                }
            }
        }
    }

    #[test]
    fn move_affects_people_with_inherited_grants_on_changed_ancestors() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut grant_set = GrantSet::new(vec![HeldGrant {
            target: a,
            permission: Permission::View,
            inheritance: Inheritance::Cascade,
            deny: false,
            expires_at_ms: Some(50),
        }]);
        assert!(grant_set.is_affected_by(&[a, b].into()));
        assert!(!grant_set.is_affected_by(&[b].into()));
        assert_eq!((grant_set.next_expiry(10), grant_set.next_expiry(50)), (Some(50), None));
        grant_set.0[0].inheritance = Inheritance::None;
        assert!(!grant_set.is_affected_by(&[a].into()), "a grant that is not inherited is not affected by a move");
    }
}
