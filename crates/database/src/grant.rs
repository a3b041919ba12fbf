//! Stored grants: insert, find, delete, list.
//!
//! Callers check permissions.

use crate::{Connection, Result};
use pmo_domain::{EntityCode, Permission, PersonId};
use serde_json::Value;
use uuid::Uuid;

/// Grant to insert; exactly one of `person_id` and `role_id` is set.
pub struct NewGrant<'a> {
    /// Person who receives the grant.
    pub person_id: Option<Uuid>,
    /// Role that receives the grant.
    pub role_id: Option<Uuid>,
    /// Type of the granted entity.
    pub code: &'a EntityCode,
    /// Granted entity, or the id that means every entity of the type.
    pub instance: Uuid,
    /// Permission level.
    pub level: Permission,
    /// Inheritance mode: none, cascade or mapped.
    pub inheritance_mode: &'a str,
    /// Levels by type of the descendant, for the mode mapped; `_default` for all other types.
    pub child_permissions: Value,
    /// Whether the grant denies access.
    pub deny: bool,
    /// Person who grants.
    pub granted_by: PersonId,
    /// Expiry, RFC 3339; `None` for no expiry.
    pub expires: Option<&'a str>,
}

/// Stored grant, as needed to check whether a user may change it.
pub struct Grant {
    /// Type of the granted entity.
    pub code: EntityCode,
    /// Granted entity, or the id that means every entity of the type.
    pub instance: Uuid,
    /// Permission level.
    pub level: Permission,
    /// Whether the grant denies access.
    pub deny: bool,
}

/// Inserts a grant and returns its row as JSON.
pub async fn insert(conn: &mut Connection, grant: &NewGrant<'_>) -> Result<Value> {
    Ok(sqlx::query_scalar(
        "insert into app.entity_rbac as g (person_id, role_id, entity_code, entity_instance_id, permission, inheritance_mode,
                                      child_permissions, is_deny, granted_by__person_id, expires_ts)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::timestamptz) returning to_jsonb(g)",
    )
    .bind(grant.person_id)
    .bind(grant.role_id)
    .bind(grant.code.as_str())
    .bind(grant.instance)
    .bind(i16::from(u8::from(grant.level)))
    .bind(grant.inheritance_mode)
    .bind(&grant.child_permissions)
    .bind(grant.deny)
    .bind(grant.granted_by.0)
    .bind(grant.expires)
    .fetch_one(conn)
    .await?)
}

/// Returns a grant by id and locks it until the transaction ends.
pub async fn find(conn: &mut Connection, id: Uuid) -> Result<Option<Grant>> {
    let row: Option<(String, Uuid, i16, bool)> = sqlx::query_as(
        "select entity_code, entity_instance_id, permission, is_deny from app.entity_rbac where id = $1 for update",
    )
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(row.and_then(|(code, instance, level, deny)| {
        let level = u8::try_from(level).ok()?.try_into().ok()?;
        Some(Grant { code: EntityCode::new(code).ok()?, instance, level, deny })
    }))
}

/// Returns whether a grant is the only active OWNER grant on its entity.
///
/// Locks all OWNER grants on the entity until the transaction ends, so that two owners cannot
/// remove each other concurrently.
pub async fn is_last_owner(conn: &mut Connection, id: Uuid) -> Result<bool> {
    let owners: Vec<(Uuid, bool)> = sqlx::query_as(
        "select o.id, o.expires_ts is null or o.expires_ts > now() from app.entity_rbac g
         join app.entity_rbac o using (entity_code, entity_instance_id)
         where g.id = $1 and g.permission = 7 and not g.is_deny and o.permission = 7 and not o.is_deny
           and g.entity_instance_id <> '11111111-1111-1111-1111-111111111111'
         order by o.id for update of o",
    )
    .bind(id)
    .fetch_all(conn)
    .await?;
    Ok(!owners.is_empty() && !owners.iter().any(|(other, active)| *other != id && *active))
}

/// Deletes a grant.
pub async fn delete(conn: &mut Connection, id: Uuid) -> Result<()> {
    sqlx::query("delete from app.entity_rbac where id = $1").bind(id).execute(conn).await?;
    Ok(())
}

/// Returns the direct grants on an entity as JSON, with the name of the person or role.
pub async fn list_for_entity(conn: &mut Connection, code: &EntityCode, id: Uuid) -> Result<Vec<Value>> {
    Ok(sqlx::query_scalar(
        "select to_jsonb(g) || jsonb_build_object('holder_name', coalesce(p.name, r.name))
         from app.entity_rbac g left join app.person p on p.id = g.person_id left join app.role r on r.id = g.role_id
         where g.entity_code = $1 and g.entity_instance_id = $2 order by g.id",
    )
    .bind(code.as_str())
    .bind(id)
    .fetch_all(conn)
    .await?)
}

/// Returns id, title and permission level of persons who may view an entity, by title.
///
/// Returns only persons that `requester` may view and whose name contains `text`, ignoring case; at
/// most `limit`.
pub async fn list_viewers(
    conn: &mut Connection,
    code: &EntityCode,
    id: Uuid,
    requester: PersonId,
    text: &str,
    limit: usize,
) -> Result<Vec<(Uuid, String, i16)>> {
    Ok(sqlx::query_as(
        "with viewers as materialized (
           select s.person_id, s.level
           from app.permissions((select array_agg(p.id) from app.person p where p.active_flag and ($4 = '' or strpos(lower(p.name), lower($4)) > 0)), $1, array[$2]) s
         )
         select s.person_id, t.title, s.level
         from viewers s join app.entity_levels(array[$3], (select array_agg(person_id) from viewers)) t on t.id = s.person_id
         order by t.title, s.person_id limit $5",
    )
    .bind(code.as_str())
    .bind(id)
    .bind(requester.0)
    .bind(text)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?)
}

/// Returns the highest level that a person may grant on an entity; `None` for no level.
///
/// `cascading`: the grant is to be inherited by descendants. `until`: its expiry, RFC 3339; `None`
/// for no expiry.
pub async fn max_grantable(
    conn: &mut Connection,
    person: PersonId,
    code: &EntityCode,
    id: Uuid,
    cascading: bool,
    until: Option<&str>,
) -> Result<Option<Permission>> {
    let level: Option<i16> = sqlx::query_scalar(
        "select app.max_grantable_level($1, $2, $3, $4, coalesce($5::text, 'infinity')::timestamptz)",
    )
    .bind(person.0)
    .bind(code.as_str())
    .bind(id)
    .bind(cascading)
    .bind(until)
    .fetch_one(conn)
    .await?;
    Ok(level.and_then(|l| u8::try_from(l).ok()).and_then(|l| l.try_into().ok()))
}

/// Returns the highest level that type-wide grants give a person on entities of the type.
///
/// `None` without such a grant, or if one of them is a deny.
pub async fn type_level(conn: &mut Connection, person: PersonId, code: &EntityCode) -> Result<Option<Permission>> {
    let level: Option<i16> = sqlx::query_scalar(
        "select case when bool_or(is_deny) then null else max(permission) end from app.active_grants(array[$1])
         where entity_code = $2 and entity_instance_id = '11111111-1111-1111-1111-111111111111' and permission <> 6",
    )
    .bind(person.0)
    .bind(code.as_str())
    .fetch_one(conn)
    .await?;
    Ok(level.and_then(|l| u8::try_from(l).ok()).and_then(|l| l.try_into().ok()))
}
