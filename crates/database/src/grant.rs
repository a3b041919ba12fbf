//! Grants as they are stored: given, found, taken back. Whether one may is the caller's business.

use crate::{Connection, Result};
use pmo_domain::{EntityCode, Permission, PersonId};
use serde_json::Value;
use uuid::Uuid;

/// A grant to store.
pub struct NewGrant<'a> {
    /// The person who gets it, or
    pub person_id: Option<Uuid>,
    /// the role.
    pub role_id: Option<Uuid>,
    /// The type.
    pub code: &'a EntityCode,
    /// The thing, or every instance.
    pub instance: Uuid,
    /// The level.
    pub level: Permission,
    /// none, cascade or mapped.
    pub inheritance_mode: &'a str,
    /// Levels by child type.
    pub child_permissions: Value,
    /// Takes away.
    pub deny: bool,
    /// Who gives it.
    pub granted_by: PersonId,
    /// Until when, RFC 3339.
    pub expires: Option<&'a str>,
}

/// A stored grant, as far as deciding about it asks.
pub struct Grant {
    /// The type.
    pub code: EntityCode,
    /// The thing.
    pub instance: Uuid,
    /// The level.
    pub level: Permission,
    /// Takes away.
    pub deny: bool,
}

/// Stores a grant and answers it.
pub async fn insert(connection: &mut Connection, grant: &NewGrant<'_>) -> Result<Value> {
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
    .fetch_one(connection)
    .await?)
}

/// The grant of that id, locked.
pub async fn find(connection: &mut Connection, id: Uuid) -> Result<Option<Grant>> {
    let line: Option<(String, Uuid, i16, bool)> = sqlx::query_as(
        "select entity_code, entity_instance_id, permission, is_deny from app.entity_rbac where id = $1 for update",
    )
    .bind(id)
    .fetch_optional(connection)
    .await?;
    Ok(line.and_then(|(code, instance, level, deny)| {
        let level = u8::try_from(level).ok()?.try_into().ok()?;
        Some(Grant { code: EntityCode::new(code).ok()?, instance, level, deny })
    }))
}

/// Whether no other OWNER of the thing would be left without this grant. The thing's OWNER grants are locked, so that two
/// owners can't take each other away at once.
pub async fn is_last_owner(connection: &mut Connection, id: Uuid) -> Result<bool> {
    let owners: Vec<(Uuid, bool)> = sqlx::query_as(
        "select o.id, o.expires_ts is null or o.expires_ts > now() from app.entity_rbac g
         join app.entity_rbac o using (entity_code, entity_instance_id)
         where g.id = $1 and g.permission = 7 and not g.is_deny and o.permission = 7 and not o.is_deny
           and g.entity_instance_id <> '11111111-1111-1111-1111-111111111111'
         order by o.id for update of o",
    )
    .bind(id)
    .fetch_all(connection)
    .await?;
    Ok(!owners.is_empty() && !owners.iter().any(|(other, live)| *other != id && *live))
}

/// Takes a grant back.
pub async fn delete(connection: &mut Connection, id: Uuid) -> Result<()> {
    sqlx::query("delete from app.entity_rbac where id = $1").bind(id).execute(connection).await?;
    Ok(())
}

/// The grants on a thing itself.
pub async fn list_for_entity(connection: &mut Connection, code: &EntityCode, id: Uuid) -> Result<Vec<Value>> {
    Ok(sqlx::query_scalar(
        "select to_jsonb(g) || jsonb_build_object('holder_name', coalesce(p.name, r.name))
         from app.entity_rbac g left join app.person p on p.id = g.person_id left join app.role r on r.id = g.role_id
         where g.entity_code = $1 and g.entity_instance_id = $2 order by g.id",
    )
    .bind(code.as_str())
    .bind(id)
    .fetch_all(connection)
    .await?)
}

/// Who sees a thing and is seen by `asker`, by name: the first `most` whose name has `words` in it, with the level of each.
pub async fn list_viewers(
    connection: &mut Connection,
    code: &EntityCode,
    id: Uuid,
    asker: PersonId,
    words: &str,
    most: usize,
) -> Result<Vec<(Uuid, String, i16)>> {
    Ok(sqlx::query_as(
        "with seers as materialized (
           select s.person_id, s.level
           from app.permissions((select array_agg(p.id) from app.person p where p.active_flag and ($4 = '' or strpos(lower(p.name), lower($4)) > 0)), $1, array[$2]) s
         )
         select s.person_id, t.title, s.level
         from seers s join app.things_of(array[$3], (select array_agg(person_id) from seers)) t on t.id = s.person_id
         order by t.title, s.person_id limit $5",
    )
    .bind(code.as_str())
    .bind(id)
    .bind(asker.0)
    .bind(words)
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?)
}

/// The highest level on a thing that a person may pass on until `until` (RFC 3339; none: for ever), to things below it too where
/// `cascading`.
pub async fn max_grantable(
    connection: &mut Connection,
    person: PersonId,
    code: &EntityCode,
    id: Uuid,
    cascading: bool,
    until: Option<&str>,
) -> Result<Option<Permission>> {
    let level: Option<i16> =
        sqlx::query_scalar("select app.shareable_level($1, $2, $3, $4, coalesce($5::text, 'infinity')::timestamptz)")
            .bind(person.0)
            .bind(code.as_str())
            .bind(id)
            .bind(cascading)
            .bind(until)
            .fetch_one(connection)
            .await?;
    Ok(level.and_then(|l| u8::try_from(l).ok()).and_then(|l| l.try_into().ok()))
}

/// The highest level that grants on a whole type give a person.
pub async fn type_level(
    connection: &mut Connection,
    person: PersonId,
    code: &EntityCode,
) -> Result<Option<Permission>> {
    let level: Option<i16> = sqlx::query_scalar(
        "select case when bool_or(is_deny) then null else max(permission) end from app.grants_of(array[$1])
         where entity_code = $2 and entity_instance_id = '11111111-1111-1111-1111-111111111111' and permission <> 6",
    )
    .bind(person.0)
    .bind(code.as_str())
    .fetch_one(connection)
    .await?;
    Ok(level.and_then(|l| u8::try_from(l).ok()).and_then(|l| l.try_into().ok()))
}
