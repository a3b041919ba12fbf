//! Stored grants: insert, find, delete, list.
//!
//! Callers check permissions.

use crate::permission::{LevelNumber, permission_from_i16};
use crate::{Connection, Result, sql};
use pmo_domain::{EntityCode, Permission, PersonId};
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Holder of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A person.
    Person(Uuid),
    /// A role: all its members.
    Role(Uuid),
}

/// Which descendants of the granted entity inherit a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InheritanceMode {
    /// No descendants.
    None,
    /// All descendants.
    Cascade,
    /// Descendants, with a level for each type.
    Mapped,
}

impl InheritanceMode {
    /// Returns the mode with the name `text`; `None` if there is no such mode.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Cascade, Self::Mapped].into_iter().find(|mode| mode.as_str() == text)
    }

    /// Returns the name of the mode.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Cascade => "cascade",
            Self::Mapped => "mapped",
        }
    }
}

/// Grant to insert.
pub struct NewGrant<'a> {
    /// Person or role that receives the grant.
    pub holder: Holder,
    /// Type of the granted entity.
    pub code: &'a EntityCode,
    /// Granted entity, or the id that means every entity of the type.
    pub instance: Uuid,
    /// Permission level.
    pub level: Permission,
    /// Which descendants inherit the grant.
    pub inheritance_mode: InheritanceMode,
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

/// Row of a grant.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct GrantRow {
    /// Id of the grant.
    pub id: Uuid,
    /// Person who holds the grant.
    pub person_id: Option<Uuid>,
    /// Role that holds the grant.
    pub role_id: Option<Uuid>,
    /// Type of the granted entity.
    pub entity_code: String,
    /// Granted entity, or the id that means every entity of the type.
    pub entity_instance_id: Uuid,
    /// Permission level.
    #[sqlx(try_from = "LevelNumber")]
    pub permission: Permission,
    /// Inheritance mode: none, cascade or mapped.
    pub inheritance_mode: String,
    /// Levels by type of the descendant, for the mode mapped.
    #[sqlx(json)]
    pub child_permissions: BTreeMap<String, i64>,
    /// Whether the grant denies access.
    pub is_deny: bool,
    /// Person who granted; `None` for the system.
    pub granted_by: Option<Uuid>,
    /// Expiry, RFC 3339; `None` for no expiry.
    pub expires_ts: Option<String>,
    /// Time of creation, RFC 3339.
    pub created_ts: String,
    /// Time of the last change, RFC 3339.
    pub updated_ts: String,
}

/// Grant with the name of its holder.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct HeldGrantRow {
    /// The grant.
    #[sqlx(flatten)]
    pub grant: GrantRow,
    /// Name of the person or role.
    pub holder_name: Option<String>,
}

/// Person who may view an entity.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Viewer {
    /// Id of the person.
    pub id: Uuid,
    /// Name of the person.
    pub name: String,
    /// Permission level.
    #[sqlx(try_from = "LevelNumber")]
    pub level: Permission,
}

/// Columns of [`GrantRow`], from the table alias `g`.
pub(crate) const GRANT_COLUMNS: &str =
    "g.id, g.person_id, g.role_id, g.entity_code, g.entity_instance_id, g.permission, g.inheritance_mode,
  g.child_permissions, g.is_deny, g.granted_by__person_id as granted_by, to_json(g.expires_ts) #>> '{}' as expires_ts,
  to_json(g.created_ts) #>> '{}' as created_ts, to_json(g.updated_ts) #>> '{}' as updated_ts";

/// Inserts a grant and returns its row.
pub async fn insert(conn: &mut Connection, grant: &NewGrant<'_>) -> Result<GrantRow> {
    let (person_id, role_id) = match grant.holder {
        Holder::Person(id) => (Some(id), None),
        Holder::Role(id) => (None, Some(id)),
    };
    let statement = format!(
        "insert into app.entity_rbac as g (person_id, role_id, entity_code, entity_instance_id, permission, inheritance_mode,
                                      child_permissions, is_deny, granted_by__person_id, expires_ts)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::timestamptz) returning {GRANT_COLUMNS}"
    );
    Ok(sqlx::query_as(sql::statement(statement))
        .bind(person_id)
        .bind(role_id)
        .bind(grant.code.as_str())
        .bind(grant.instance)
        .bind(i16::from(u8::from(grant.level)))
        .bind(grant.inheritance_mode.as_str())
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
        Some(Grant { code: EntityCode::new(code).ok()?, instance, level: permission_from_i16(level)?, deny })
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

/// Returns the direct grants on an entity.
pub async fn list_for_entity(conn: &mut Connection, code: &EntityCode, id: Uuid) -> Result<Vec<HeldGrantRow>> {
    let statement = format!(
        "select {GRANT_COLUMNS}, coalesce(p.name, r.name) as holder_name
         from app.entity_rbac g left join app.person p on p.id = g.person_id left join app.role r on r.id = g.role_id
         where g.entity_code = $1 and g.entity_instance_id = $2 order by g.id"
    );
    Ok(sqlx::query_as(sql::statement(statement)).bind(code.as_str()).bind(id).fetch_all(conn).await?)
}

/// Returns the persons who may view an entity, by name.
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
) -> Result<Vec<Viewer>> {
    Ok(sqlx::query_as(
        "with viewers as materialized (
           select s.person_id, s.level
           from app.permissions((select array_agg(p.id) from app.person p where p.active_flag and ($4 = '' or strpos(lower(p.name), lower($4)) > 0)), $1, array[$2]) s
         )
         select s.person_id as id, t.title as name, s.level
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
    Ok(level.and_then(permission_from_i16))
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
    Ok(level.and_then(permission_from_i16))
}
