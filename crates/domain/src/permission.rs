//! Permission levels, grants and the rule that combines them.
//!
//! This is the only definition of the rule. Property tests compare it with the SQL that evaluates
//! permissions in bulk.
//!
//! Must not: depend on the storage of grants.

use crate::{EntityCode, EntityRef};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use uuid::Uuid;

/// Permission level of a person on an entity; each level includes all lower levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum Permission {
    /// View the entity.
    View = 0,
    /// Add comments.
    Comment = 1,
    /// Record work: timesheets, own progress and attachments.
    Contribute = 2,
    /// Change columns; link and unlink children.
    Edit = 3,
    /// Grant permissions up to the own level.
    Share = 4,
    /// Delete and restore the entity.
    Delete = 5,
    /// Create entities.
    ///
    /// On a type: only create entities of the type. On an entity: create children of it.
    Create = 6,
    /// All operations, including the transfer of ownership.
    Owner = 7,
}

impl Permission {
    /// All levels in ascending order.
    pub const ALL: [Self; 8] =
        [Self::View, Self::Comment, Self::Contribute, Self::Edit, Self::Share, Self::Delete, Self::Create, Self::Owner];

    /// Returns the display name of the level.
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

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Permission {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let levels: Vec<String> =
            Self::ALL.iter().map(|level| format!("{} {}", u8::from(*level), level.label())).collect();
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::Integer)
            .description(Some(format!("Permission level: {}.", levels.join(", "))))
            .minimum(Some(u8::from(Self::View)))
            .maximum(Some(u8::from(Self::Owner)))
            .examples([serde_json::json!(Self::Owner)])
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Permission {
    fn name() -> std::borrow::Cow<'static, str> {
        "Level".into()
    }
}

impl From<Permission> for u8 {
    fn from(permission: Permission) -> Self {
        permission as Self
    }
}

/// Error for a number that is not a permission level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a permission level (0 to 7)")]
pub struct InvalidPermission(pub u8);

impl TryFrom<u8> for Permission {
    type Error = InvalidPermission;

    fn try_from(level: u8) -> Result<Self, InvalidPermission> {
        Self::ALL.get(usize::from(level)).copied().ok_or(InvalidPermission(level))
    }
}

/// Inheritance mode: how descendants of an entity inherit a grant on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inheritance {
    /// The grant is not inherited.
    None,
    /// All descendants inherit the same level.
    Cascade,
    /// Descendants inherit the level that the map states for their type.
    ///
    /// Types without an entry inherit the level of `_default`; without `_default` they inherit
    /// nothing.
    Mapped(BTreeMap<String, Permission>),
}

/// A grant that a person has, directly or through a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Type code of the entity.
    pub code: EntityCode,
    /// Id of the entity; `None` grants access to all entities of the type.
    pub instance: Option<Uuid>,
    /// Permission level.
    pub permission: Permission,
    /// Inheritance by descendants.
    pub inheritance: Inheritance,
    /// Whether the grant denies access; a deny wins over all other grants.
    pub deny: bool,
    /// Expiry in milliseconds since the Unix epoch.
    pub expires_at_ms: Option<i64>,
}

/// A link from a parent to a child.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntityLink {
    /// Parent entity.
    pub parent: EntityRef,
    /// Child entity.
    pub child: EntityRef,
    /// Whether the child inherits grants in full.
    ///
    /// Without ownership (lookup), an inherited grant is capped at [`Permission::Comment`].
    pub owned: bool,
}

/// Returns the permission that `grants` give on `target`, or `None` without access.
///
/// `grants` are all grants of a person. The result is the highest level among the grants that apply
/// to `target`, directly or by inheritance; a deny that applies removes all access. `now` is in
/// milliseconds since the Unix epoch.
///
/// A grant of [`Permission::Create`] on a whole type only permits creation; it applies to no
/// entity.
pub fn effective_permission(
    grants: &[Grant],
    links: &[EntityLink],
    target: &EntityRef,
    now: i64,
) -> Option<Permission> {
    let mut best = None;
    for (node, cap) in ancestors_with_cap(links, target) {
        for grant in grants {
            let applies_to_node = grant.code == node.code
                && match grant.instance {
                    Some(id) => id == node.id,
                    None => grant.permission != Permission::Create,
                };
            if !applies_to_node || grant.expires_at_ms.is_some_and(|expires_at| expires_at <= now) {
                continue;
            }
            let level = if node == *target {
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
            let Some(level) = level else { continue };
            if grant.deny {
                return None;
            }
            best = best.max(Some(level.min(cap)));
        }
    }
    best
}

/// Returns whether `grants` permit the creation of entities of type `code` without a parent.
pub fn can_create(grants: &[Grant], code: &EntityCode, now: i64) -> bool {
    let is_active = |g: &&Grant| {
        g.code == *code && g.instance.is_none() && g.expires_at_ms.is_none_or(|expires_at| expires_at > now)
    };
    !grants.iter().filter(is_active).any(|g| g.deny)
        && grants.iter().filter(is_active).any(|g| g.permission >= Permission::Create)
}

/// Returns `target` and its ancestors, each with the maximum level that `target` inherits from it.
///
/// `target` is the first element. An ancestor occurs more than once if paths have different caps.
fn ancestors_with_cap(links: &[EntityLink], target: &EntityRef) -> Vec<(EntityRef, Permission)> {
    let mut visited: HashSet<(EntityRef, Permission)> = HashSet::new();
    let mut queue = VecDeque::from([(target.clone(), Permission::Owner)]);
    let mut ancestors = Vec::new();
    while let Some(step) = queue.pop_front() {
        if !visited.insert(step.clone()) {
            continue;
        }
        let (node, cap) = step;
        let parents: BTreeSet<_> = links.iter().filter(|l| l.child == node).map(|l| (&l.parent, l.owned)).collect();
        for (parent, owned) in parents {
            queue.push_back((parent.clone(), if owned { cap } else { cap.min(Permission::Comment) }));
        }
        ancestors.push((node, cap));
    }
    ancestors
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entity(code: &str, id: u128) -> EntityRef {
        EntityRef::new(EntityCode::new(code).unwrap(), Uuid::from_u128(id))
    }

    fn grant(target: &EntityRef, permission: Permission) -> Grant {
        Grant {
            code: target.code.clone(),
            instance: Some(target.id),
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
    fn owned_children_inherit_the_level_and_lookups_cap_it() {
        let (business, project, task) = (entity("business", 1), entity("project", 2), entity("task", 3));
        let sprint = entity("sprint", 4);
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
    fn mapped_grant_applies_the_level_of_the_type() {
        let (project, task, risk) = (entity("project", 1), entity("task", 2), entity("risk", 3));
        let links = [owned(&project, &task), owned(&project, &risk)];
        let mut mapped = grant(&project, Permission::Owner);
        mapped.inheritance = Inheritance::Mapped(BTreeMap::from([("task".into(), Permission::Edit)]));
        assert_eq!(effective_permission(std::slice::from_ref(&mapped), &links, &task, 0), Some(Permission::Edit));
        assert_eq!(effective_permission(std::slice::from_ref(&mapped), &links, &risk, 0), None);
        assert_eq!(effective_permission(&[mapped], &links, &project, 0), Some(Permission::Owner));
    }

    #[test]
    fn create_on_a_type_permits_creation_but_no_access() {
        let task = entity("task", 1);
        let on_type = Grant { instance: None, ..grant(&task, Permission::Create) };
        assert_eq!(effective_permission(std::slice::from_ref(&on_type), &[], &task, 0), None);
        assert!(can_create(&[on_type], &task.code, 0));
    }

    fn graphs() -> impl Strategy<Value = (Vec<Grant>, Vec<EntityLink>, EntityRef)> {
        let codes = ["office", "project", "task"];
        let node = (0..3usize, 0..4u128).prop_map(move |(c, i)| entity(codes[c], (c as u128) * 10 + i));
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
                .prop_map(|(target, type_wide, permission, inheritance, deny, expires)| Grant {
                    code: target.code,
                    instance: (!type_wide).then_some(target.id),
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
        fn additional_grants_never_reduce_the_permission((grants, links, target) in graphs()) {
            let all = effective_permission(&grants, &links, &target, 5);
            for removed in 0..grants.len() {
                if grants[removed].deny { continue; }
                let mut remaining = grants.clone();
                remaining.remove(removed);
                prop_assert!(effective_permission(&remaining, &links, &target, 5) <= all);
            }
        }

        #[test]
        fn permission_never_grows_with_time((mut grants, links, target) in graphs()) {
            grants.retain(|g| !g.deny);
            prop_assert!(effective_permission(&grants, &links, &target, 9) <= effective_permission(&grants, &links, &target, 0));
        }

        #[test]
        fn deny_on_the_entity_wins((mut grants, links, target) in graphs()) {
            grants.push(Grant { deny: true, ..grant(&target, Permission::View) });
            prop_assert_eq!(effective_permission(&grants, &links, &target, 5), None);
        }
    }
}
