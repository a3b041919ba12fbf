//! Who may do what. This is the one definition of the rule; the SQL that answers it in bulk is tested against it. It must
//! never depend on how grants are stored.

use crate::{EntityCode, EntityRef};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use uuid::Uuid;

/// What a person may do with a thing. Each level includes those below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum Permission {
    /// Read.
    View = 0,
    /// Add messages.
    Comment = 1,
    /// Log work: timesheets, own progress, attachments.
    Contribute = 2,
    /// Change columns, link and unlink children.
    Edit = 3,
    /// Grant up to one's own level.
    Share = 4,
    /// Delete and restore.
    Delete = 5,
    /// Create: on a type, new instances and nothing else; on an instance, children of it.
    Create = 6,
    /// Everything, and hand over.
    Owner = 7,
}

impl Permission {
    /// All levels, lowest first.
    pub const ALL: [Self; 8] =
        [Self::View, Self::Comment, Self::Contribute, Self::Edit, Self::Share, Self::Delete, Self::Create, Self::Owner];

    /// The word that a person reads.
    pub fn label(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Comment => "comment",
            Self::Contribute => "contribute",
            Self::Edit => "edit",
            Self::Share => "share",
            Self::Delete => "delete",
            Self::Create => "create",
            Self::Owner => "own",
        }
    }
}

impl From<Permission> for u8 {
    fn from(permission: Permission) -> Self {
        permission as Self
    }
}

impl TryFrom<u8> for Permission {
    type Error = String;

    fn try_from(level: u8) -> Result<Self, String> {
        Self::ALL.get(usize::from(level)).copied().ok_or_else(|| format!("{level} is no permission level (0 to 7)"))
    }
}

/// How a grant on a thing reaches the things below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inheritance {
    /// It doesn't.
    None,
    /// At the same level, all the way down.
    Cascade,
    /// At the level that is written for the type below, or for `_default`; not at all where neither is.
    Mapped(BTreeMap<String, Permission>),
}

/// One grant that a person holds, directly or through a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The type of the thing.
    pub code: EntityCode,
    /// The thing; `None` is every instance of the type.
    pub instance: Option<Uuid>,
    /// The level.
    pub permission: Permission,
    /// How it goes down.
    pub inheritance: Inheritance,
    /// A deny takes away instead of giving, and wins.
    pub deny: bool,
    /// Milliseconds since 1970 from which it counts for nothing.
    pub expires_at_ms: Option<i64>,
}

/// A tie from a parent to a child.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntityLink {
    /// The thing above.
    pub parent: EntityRef,
    /// The thing below.
    pub child: EntityRef,
    /// Owned children get the whole grant; through a lookup it is worth at most [`Permission::Comment`].
    pub owned: bool,
}

/// The level that `grants` (all that a person holds) give on `target`, `None` for no access: the highest of those that reach
/// it, unless a deny reaches it. `now` is in milliseconds since 1970.
///
/// A grant of [`Permission::Create`] on a whole type allows making instances and reaches none.
pub fn effective_permission(
    grants: &[Grant],
    links: &[EntityLink],
    target: &EntityRef,
    now: i64,
) -> Option<Permission> {
    let mut best = None;
    for (node, cap) in ancestors_with_cap(links, target) {
        for grant in grants {
            let reaches_node = grant.code == node.code
                && match grant.instance {
                    Some(id) => id == node.id,
                    None => grant.permission != Permission::Create,
                };
            if !reaches_node || grant.expires_at_ms.is_some_and(|at| at <= now) {
                continue;
            }
            let worth = if node == *target {
                Some(grant.permission)
            } else {
                match &grant.inheritance {
                    Inheritance::None => None,
                    Inheritance::Cascade => Some(grant.permission),
                    Inheritance::Mapped(levels) => {
                        levels.get(target.code.as_str()).or_else(|| levels.get("_default")).copied()
                    }
                }
            };
            let Some(worth) = worth else { continue };
            if grant.deny {
                return None;
            }
            best = best.max(Some(worth.min(cap)));
        }
    }
    best
}

/// Whether `grants` allow making instances of `code` that have no parent.
pub fn can_create(grants: &[Grant], code: &EntityCode, now: i64) -> bool {
    let live = |g: &&Grant| g.code == *code && g.instance.is_none() && g.expires_at_ms.is_none_or(|at| at > now);
    !grants.iter().filter(live).any(|g| g.deny)
        && grants.iter().filter(live).any(|g| g.permission >= Permission::Create)
}

/// The things from which a grant can reach `target`, itself first, each with the most that a grant there is worth.
fn ancestors_with_cap(links: &[EntityLink], target: &EntityRef) -> Vec<(EntityRef, Permission)> {
    let mut seen: HashSet<(EntityRef, Permission)> = HashSet::new();
    let mut queue = VecDeque::from([(target.clone(), Permission::Owner)]);
    let mut found = Vec::new();
    while let Some(step) = queue.pop_front() {
        if !seen.insert(step.clone()) {
            continue;
        }
        let (node, cap) = step;
        let parents: BTreeSet<_> = links.iter().filter(|l| l.child == node).map(|l| (&l.parent, l.owned)).collect();
        for (parent, owned) in parents {
            queue.push_back((parent.clone(), if owned { cap } else { cap.min(Permission::Comment) }));
        }
        found.push((node, cap));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn thing(code: &str, id: u128) -> EntityRef {
        EntityRef::new(EntityCode::new(code).unwrap(), Uuid::from_u128(id))
    }

    fn grant(on: &EntityRef, permission: Permission) -> Grant {
        Grant {
            code: on.code.clone(),
            instance: Some(on.id),
            permission,
            inheritance: Inheritance::Cascade,
            deny: false,
            expires_at_ms: None,
        }
    }

    fn owned(parent: &EntityRef, child: &EntityRef) -> EntityLink {
        EntityLink { parent: parent.clone(), child: child.clone(), owned: true }
    }

    #[test]
    fn a_grant_goes_down_to_owned_children_and_is_capped_by_a_lookup() {
        let (business, project, task) = (thing("business", 1), thing("project", 2), thing("task", 3));
        let sprint = thing("sprint", 4);
        let links = [
            owned(&business, &project),
            owned(&project, &task),
            EntityLink { parent: sprint.clone(), child: task.clone(), owned: false },
        ];
        assert_eq!(
            effective_permission(&[grant(&business, Permission::Edit)], &links, &task, 0),
            Some(Permission::Edit)
        );
        assert_eq!(
            effective_permission(&[grant(&sprint, Permission::Owner)], &links, &task, 0),
            Some(Permission::Comment)
        );
        assert_eq!(effective_permission(&[grant(&task, Permission::Owner)], &links, &project, 0), None);
    }

    #[test]
    fn a_mapped_grant_gives_what_is_written_for_the_type() {
        let (project, task, risk) = (thing("project", 1), thing("task", 2), thing("risk", 3));
        let links = [owned(&project, &task), owned(&project, &risk)];
        let mut mapped = grant(&project, Permission::Owner);
        mapped.inheritance = Inheritance::Mapped(BTreeMap::from([("task".into(), Permission::Edit)]));
        assert_eq!(effective_permission(std::slice::from_ref(&mapped), &links, &task, 0), Some(Permission::Edit));
        assert_eq!(effective_permission(std::slice::from_ref(&mapped), &links, &risk, 0), None);
        assert_eq!(effective_permission(&[mapped], &links, &project, 0), Some(Permission::Owner));
    }

    #[test]
    fn create_on_a_type_lets_make_and_lets_read_nothing() {
        let task = thing("task", 1);
        let on_type = Grant { instance: None, ..grant(&task, Permission::Create) };
        assert_eq!(effective_permission(std::slice::from_ref(&on_type), &[], &task, 0), None);
        assert!(can_create(&[on_type], &task.code, 0));
    }

    fn graphs() -> impl Strategy<Value = (Vec<Grant>, Vec<EntityLink>, EntityRef)> {
        let codes = ["office", "project", "task"];
        let node = (0..3usize, 0..4u128).prop_map(move |(c, i)| thing(codes[c], (c as u128) * 10 + i));
        let level = (0..8u8).prop_map(|l| Permission::try_from(l).unwrap());
        let inheritance = prop_oneof![
            Just(Inheritance::None),
            Just(Inheritance::Cascade),
            proptest::collection::btree_map(
                prop_oneof![Just("task".to_owned()), Just("_default".to_owned())],
                (0..8u8).prop_map(|l| Permission::try_from(l).unwrap()),
                0..3
            )
            .prop_map(Inheritance::Mapped),
        ];
        let grants =
            (node.clone(), any::<bool>(), level, inheritance, prop::bool::weighted(0.1), prop::option::of(0..10i64))
                .prop_map(|(on, typed, permission, inheritance, deny, expires)| Grant {
                    code: on.code,
                    instance: (!typed).then_some(on.id),
                    permission,
                    inheritance,
                    deny,
                    expires_at_ms: expires,
                });
        let links = (node.clone(), node.clone(), any::<bool>()).prop_map(|(parent, child, owned)| EntityLink {
            parent,
            child,
            owned,
        });
        (proptest::collection::vec(grants, 0..6), proptest::collection::vec(links, 0..10), node)
    }

    proptest! {
        #[test]
        fn another_grant_never_takes_away((grants, links, target) in graphs()) {
            let all = effective_permission(&grants, &links, &target, 5);
            for skip in 0..grants.len() {
                if grants[skip].deny { continue; }
                let mut fewer = grants.clone();
                fewer.remove(skip);
                prop_assert!(effective_permission(&fewer, &links, &target, 5) <= all);
            }
        }

        #[test]
        fn time_only_takes_grants_away((mut grants, links, target) in graphs()) {
            grants.retain(|g| !g.deny);
            prop_assert!(effective_permission(&grants, &links, &target, 9) <= effective_permission(&grants, &links, &target, 0));
        }

        #[test]
        fn a_deny_on_the_thing_itself_wins((mut grants, links, target) in graphs()) {
            grants.push(Grant { deny: true, ..grant(&target, Permission::View) });
            prop_assert_eq!(effective_permission(&grants, &links, &target, 5), None);
        }
    }
}
