//! What one person holds, arranged for asking about many things at once: by what is above a thing, not by walking links. It is the rule of
//! `permission` once more, for those who know the `reach` of things; it must never be less strict. Tests compare the two.

use crate::Permission;
use crate::permission::Inheritance;
use std::collections::BTreeSet;
use uuid::Uuid;

/// One grant that a person holds, directly or through a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldGrant {
    /// The thing that it is on, or the marker of a type that is granted as a whole.
    pub target: Uuid,
    /// The level.
    pub permission: Permission,
    /// How it goes down.
    pub inheritance: Inheritance,
    /// A deny takes away instead of giving, and wins.
    pub deny: bool,
    /// Milliseconds since 1970 from which it counts for nothing.
    pub expires: Option<i64>,
}

/// Where a thing is, for grants to come down to it.
#[derive(Clone, Copy, Debug)]
pub struct EntityLocation<'a> {
    /// The thing.
    pub id: Uuid,
    /// The marker of its type.
    pub type_marker: Uuid,
    /// The code of its type.
    pub code: &'a str,
    /// What is above it, whichever way, with the markers of their types; whether by owned links alone.
    pub ancestors: &'a [(Uuid, bool)],
}

/// All that a person holds. Cheap to ask, and small: most people hold a handful.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantSet(Vec<HeldGrant>);

impl GrantSet {
    /// Takes all of a person's grants but those that only allow making instances of a type.
    pub fn new(mut all: Vec<HeldGrant>) -> Self {
        all.sort_by_key(|holding| holding.target);
        all.shrink_to_fit();
        Self(all)
    }

    fn grants_on(&self, key: Uuid) -> impl Iterator<Item = &HeldGrant> {
        let first = self.0.partition_point(|holding| holding.target < key);
        self.0[first..].iter().take_while(move |holding| holding.target == key)
    }

    /// The level on a thing, `None` for no access. `now` is in milliseconds since 1970.
    pub fn effective_permission(&self, place: &EntityLocation<'_>, now: i64) -> Option<Permission> {
        let mut best = None;
        let own = [(place.id, None), (place.type_marker, None)].into_iter();
        for (key, owned) in own.chain(place.ancestors.iter().map(|(key, owned)| (*key, Some(*owned)))) {
            for holding in self.grants_on(key).filter(|holding| holding.expires.is_none_or(|at| at > now)) {
                let worth = match (owned, &holding.inheritance) {
                    (None, _) | (Some(_), Inheritance::Cascade) => holding.permission,
                    (Some(_), Inheritance::None) => continue,
                    (Some(_), Inheritance::Mapped(levels)) => {
                        match levels.get(place.code).or_else(|| levels.get("_default")) {
                            Some(level) => *level,
                            None => continue,
                        }
                    }
                };
                if holding.deny {
                    return None;
                }
                let cap = if owned == Some(false) { Permission::Comment } else { Permission::Owner };
                best = best.max(Some(worth.min(cap)));
            }
        }
        best
    }

    /// Whether a change of what is above some things could change what this person may do with them: `keys` are what came above them or went.
    pub fn is_affected_by(&self, keys: &BTreeSet<Uuid>) -> bool {
        self.0.iter().any(|holding| holding.inheritance != Inheritance::None && keys.contains(&holding.target))
    }

    /// The next moment at which a grant ends, in milliseconds since 1970.
    pub fn next_expiry(&self, now: i64) -> Option<i64> {
        self.0.iter().filter_map(|holding| holding.expires).filter(|at| *at > now).min()
    }

    /// How many grants there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
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

    fn thing(kind: usize, n: u128) -> EntityRef {
        EntityRef::new(EntityCode::new(CODES[kind]).unwrap(), Uuid::from_u128(100 * (kind as u128 + 1) + n))
    }
    fn marker(code: &EntityCode) -> Uuid {
        Uuid::from_u128(9000 + CODES.iter().position(|c| *c == code.as_str()).unwrap() as u128)
    }

    /// What is above a thing, as the database keeps it.
    fn above(links: &[EntityLink], target: &EntityRef) -> Vec<(Uuid, bool)> {
        let mut ways = vec![(target.clone(), true)];
        let mut at = 0;
        while let Some((node, owned)) = ways.get(at).cloned() {
            for link in links.iter().filter(|link| link.child == node) {
                let step = (link.parent.clone(), owned && link.owned);
                if !ways.contains(&step) {
                    ways.push(step);
                }
            }
            at += 1;
        }
        let mut keys: BTreeMap<Uuid, bool> = BTreeMap::new();
        for (node, owned) in ways.iter().filter(|(node, _)| node.id != target.id) {
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
            .prop_map(|(kind, on, level, inheritance, deny, expires)| Grant {
                code: thing(kind, 0).code,
                instance: on.map(|n| thing(kind, n).id),
                permission: Permission::try_from(level).unwrap(),
                inheritance,
                deny,
                expires_at_ms: expires,
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn holdings_give_what_the_rule_gives(
            grants in prop::collection::vec(grants(), 0..6),
            links in prop::collection::vec((0..3usize, 0..3u128, 0..3usize, 0..3u128, any::<bool>()), 0..8),
        ) {
            let links: Vec<EntityLink> = links.into_iter().map(|(pk, p, ck, c, owned)| EntityLink { parent: thing(pk, p), child: thing(ck, c), owned }).collect();
            let holdings = GrantSet::new(grants.iter().filter(|g| g.instance.is_some() || g.permission != Permission::Create).map(|g| HeldGrant {
                target: g.instance.unwrap_or_else(|| marker(&g.code)),
                permission: g.permission,
                inheritance: g.inheritance.clone(),
                deny: g.deny,
                expires: g.expires_at_ms,
            }).collect());
            for kind in 0..3 {
                for n in 0..3 {
                    let target = thing(kind, n);
                    let above = above(&links, &target);
                    let place = EntityLocation { id: target.id, type_marker: marker(&target.code), code: target.code.as_str(), ancestors: &above };
                    prop_assert_eq!(holdings.effective_permission(&place, 0), effective_permission(&grants, &links, &target, 0), "{}", target);
                }
            }
        }
    }

    #[test]
    fn a_move_concerns_who_holds_something_on_the_way_that_changed() {
        let (a, b) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut holdings = GrantSet::new(vec![HeldGrant {
            target: a,
            permission: Permission::View,
            inheritance: Inheritance::Cascade,
            deny: false,
            expires: Some(50),
        }]);
        assert!(holdings.is_affected_by(&[a, b].into()));
        assert!(!holdings.is_affected_by(&[b].into()));
        assert_eq!((holdings.next_expiry(10), holdings.next_expiry(50)), (Some(50), None));
        holdings.0[0].inheritance = Inheritance::None;
        assert!(!holdings.is_affected_by(&[a].into()), "what does not go down is on no way");
    }
}
