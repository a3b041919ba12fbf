//! Effective permissions in bulk, evaluated by SQL functions.
//!
//! The rule is defined in `pmo_domain::permission`; tests compare the two.

use crate::{Connection, Result};
use pmo_domain::grant_set::{GrantSet, HeldGrant};
use pmo_domain::permission::{Inheritance, InvalidPermission};
use pmo_domain::{AncestorSetId, EntityCode, Permission, PersonId};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// Returns the permission of each person on each entity of the type that they may view.
///
/// No access: no entry.
pub async fn permissions_of(
    conn: &mut Connection,
    persons: &[PersonId],
    code: &EntityCode,
    ids: &[Uuid],
) -> Result<HashMap<(PersonId, Uuid), Permission>> {
    if persons.is_empty() || ids.is_empty() {
        return Ok(HashMap::new());
    }
    let persons: Vec<Uuid> = persons.iter().map(|p| p.0).collect();
    let levels: Vec<(Uuid, Uuid, i16)> = sqlx::query_as("select person_id, id, level from app.permissions($1, $2, $3)")
        .bind(persons)
        .bind(code.as_str())
        .bind(ids)
        .fetch_all(conn)
        .await?;
    Ok(levels
        .into_iter()
        .filter_map(|(person, id, level)| Some(((PersonId(person), id), permission_from_i16(level)?)))
        .collect())
}

/// Returns the permission of one person on one entity; `None` without access.
pub async fn permission_on(
    conn: &mut Connection,
    person: PersonId,
    code: &EntityCode,
    id: Uuid,
) -> Result<Option<Permission>> {
    let level: Option<i16> = sqlx::query_scalar("select level from app.permissions(array[$1], $2, array[$3])")
        .bind(person.0)
        .bind(code.as_str())
        .bind(id)
        .fetch_optional(conn)
        .await?;
    Ok(level.and_then(permission_from_i16))
}

/// Returns whether a person may create entities of the type without a parent.
pub async fn can_create(conn: &mut Connection, person: PersonId, code: &EntityCode) -> Result<bool> {
    Ok(sqlx::query_scalar("select app.can_create($1, $2)").bind(person.0).bind(code.as_str()).fetch_one(conn).await?)
}

/// Returns the types of which a person may create entities without a parent.
pub async fn creatable_types(conn: &mut Connection, person: PersonId) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar("select code from app.entity where app.can_create($1, code)")
        .bind(person.0)
        .fetch_all(conn)
        .await?)
}

/// Entity that a person may view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisibleEntity {
    /// Id of the entity.
    pub id: Uuid,
    /// Type code.
    pub code: String,
    /// Title: the name of the row.
    pub title: String,
    /// Effective permission of the person.
    pub level: Permission,
}

/// Returns the entities among `ids`, of any type, that a person may view.
pub async fn visible(conn: &mut Connection, person: PersonId, ids: &[Uuid]) -> Result<Vec<VisibleEntity>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<(Uuid, String, String, i16)> =
        sqlx::query_as("select id, code, title, level from app.entity_levels(array[$1], $2)")
            .bind(person.0)
            .bind(ids)
            .fetch_all(conn)
            .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(id, code, title, level)| {
            Some(VisibleEntity { id, code, title, level: permission_from_i16(level)? })
        })
        .collect())
}

/// Returns the active grants of each person, including those of their roles.
///
/// A deactivated person has an empty set.
#[tracing::instrument(level = "debug", skip_all, fields(persons = persons.len()))]
pub async fn grant_sets(conn: &mut Connection, persons: &[PersonId]) -> Result<HashMap<PersonId, GrantSet>> {
    #[derive(sqlx::FromRow)]
    struct GrantRow {
        person_id: Uuid,
        grant_key: Uuid,
        permission: i16,
        inheritance_mode: String,
        child_permissions: serde_json::Value,
        is_deny: bool,
        expires_at_ms: Option<i64>,
    }
    let ids: Vec<Uuid> = persons.iter().map(|p| p.0).collect();
    let rows: Vec<GrantRow> = sqlx::query_as(
        "select person_id, grant_key, permission, inheritance_mode, child_permissions, is_deny,
                case when isfinite(expires_ts) then (extract(epoch from expires_ts) * 1000)::bigint end as expires_at_ms
         from app.active_grants($1) where grant_key is not null",
    )
    .bind(ids)
    .fetch_all(conn)
    .await?;
    let mut grants: HashMap<PersonId, Vec<HeldGrant>> = persons.iter().map(|person| (*person, Vec::new())).collect();
    for row in rows {
        let Some(permission) = permission_from_i16(row.permission) else { continue };
        let inheritance = match row.inheritance_mode.as_str() {
            "cascade" => Inheritance::Cascade,
            "mapped" => match serde_json::from_value::<BTreeMap<String, Permission>>(row.child_permissions) {
                Ok(levels) => Inheritance::Mapped(levels),
                // Invalid JSON that was not written by the api. Fails closed: a grant is not
                // inherited, a deny is inherited by all descendants.
                Err(_) if row.is_deny => Inheritance::Cascade,
                Err(_) => Inheritance::None,
            },
            _ => Inheritance::None,
        };
        let grant = HeldGrant {
            target: row.grant_key,
            permission,
            inheritance,
            deny: row.is_deny,
            expires_at_ms: row.expires_at_ms,
        };
        grants.entry(PersonId(row.person_id)).or_default().push(grant);
    }
    Ok(grants.into_iter().map(|(person, grants)| (person, GrantSet::new(grants))).collect())
}

/// Returns the type and the ancestor set id of each entity; no entry if it does not exist.
pub async fn locate_entities(
    conn: &mut Connection,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, (EntityCode, AncestorSetId)>> {
    let rows: Vec<(Uuid, String, i32)> =
        sqlx::query_as("select id, code::text, ancestor_set_id from app.entity_instance where id = any ($1)")
            .bind(ids)
            .fetch_all(conn)
            .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(id, code, ancestor_set)| Some((id, (EntityCode::new(code).ok()?, AncestorSetId(ancestor_set)))))
        .collect())
}

/// Returns the grant keys of each ancestor set.
///
/// The flag states whether a path of owned links alone leads to the ancestor.
pub async fn ancestor_sets(
    conn: &mut Connection,
    set_ids: &[AncestorSetId],
) -> Result<HashMap<AncestorSetId, Vec<(Uuid, bool)>>> {
    let set_ids: Vec<i32> = set_ids.iter().map(|set_id| set_id.0).collect();
    let rows: Vec<(i32, Vec<Uuid>, Vec<Uuid>)> =
        sqlx::query_as("select id, ancestors, owning_ancestors from app.ancestor_set where id = any ($1)")
            .bind(set_ids)
            .fetch_all(conn)
            .await?;
    let with_owned_flag =
        |keys: Vec<Uuid>, owned: &[Uuid]| keys.into_iter().map(|key| (key, owned.contains(&key))).collect();
    Ok(rows.into_iter().map(|(set_id, keys, owned)| (AncestorSetId(set_id), with_owned_flag(keys, &owned))).collect())
}

/// Returns the type marker of each type: the grant key of type-wide grants.
pub async fn type_markers(conn: &mut Connection) -> Result<HashMap<String, Uuid>> {
    let rows: Vec<(String, Uuid)> = sqlx::query_as("select code, type_marker from app.entity").fetch_all(conn).await?;
    Ok(rows.into_iter().collect())
}

/// Grant that applies to an entity, with the path through which it is inherited.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct AccessReason {
    /// Id of the grant.
    pub grant_id: Uuid,
    /// Role that has the grant; `None` if the person has it directly.
    pub role_id: Option<Uuid>,
    /// Name of the role.
    pub role_name: Option<String>,
    /// Type of the granted entity.
    pub entity_code: String,
    /// Granted entity, or the id that means every entity of the type.
    pub entity_instance_id: Uuid,
    /// Whether the grant is on the whole type.
    pub type_wide: bool,
    /// Granted permission level.
    #[sqlx(try_from = "LevelNumber")]
    pub permission: Permission,
    /// Inheritance mode: none, cascade or mapped.
    pub inheritance_mode: String,
    /// Whether the grant denies access.
    pub is_deny: bool,
    /// Expiry, RFC 3339; `None` if the grant does not expire.
    pub expires_ts: Option<String>,
    /// Permission level that the grant gives on the entity.
    #[sqlx(try_from = "LevelNumber")]
    pub effective_permission: Permission,
    /// Types on the path from the granted entity down to the entity, both included.
    pub path_codes: Vec<String>,
    /// Ids on the path, parallel to `path_codes`.
    pub path_ids: Vec<Uuid>,
}

/// Returns all grants and denies of a person that apply to an entity.
pub async fn explain(
    conn: &mut Connection,
    person: PersonId,
    code: &EntityCode,
    id: Uuid,
) -> Result<Vec<AccessReason>> {
    Ok(sqlx::query_as(
        "select grant_id, role_id, role_name, entity_code, entity_instance_id, type_wide, permission, inheritance_mode, is_deny,
                to_char(expires_ts, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as expires_ts,
                effective_level as effective_permission, path_codes, path_ids
         from app.explain($1, $2, $3)",
    )
    .bind(person.0)
    .bind(code.as_str())
    .bind(id)
    .fetch_all(conn)
    .await?)
}

/// Grants OWNER on a new entity to `person`, its creator.
///
/// Marked as a creator grant, which is not logged: the log row of the entity implies it, and the
/// visibility of other persons does not change.
pub async fn grant_owner(conn: &mut Connection, person: PersonId, code: &EntityCode, id: Uuid) -> Result<()> {
    sqlx::query("select set_config('app.creator_grant', 'on', true)").execute(&mut *conn).await?;
    sqlx::query(
        "insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission, granted_by__person_id)
         values ($1, $2, $3, 7, $1)",
    )
    .bind(person.0)
    .bind(code.as_str())
    .bind(id)
    .execute(&mut *conn)
    .await?;
    sqlx::query("select set_config('app.creator_grant', '', true)").execute(conn).await?;
    Ok(())
}

/// Permission level as the database stores it.
#[derive(sqlx::Type)]
#[sqlx(transparent)]
pub(crate) struct LevelNumber(i16);

impl TryFrom<LevelNumber> for Permission {
    type Error = InvalidPermission;

    fn try_from(LevelNumber(level): LevelNumber) -> std::result::Result<Self, InvalidPermission> {
        u8::try_from(level).unwrap_or(u8::MAX).try_into()
    }
}

/// Converts a permission level of the database; `None` if it is not 0 to 7.
pub(crate) fn permission_from_i16(level: i16) -> Option<Permission> {
    u8::try_from(level).ok().and_then(|l| Permission::try_from(l).ok())
}
