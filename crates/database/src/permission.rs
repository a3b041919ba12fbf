//! Effective permissions, asked in bulk. The rule itself is `pmo_domain::permission`; here it is only put to the database.

use crate::{Connection, Result};
use pmo_domain::grant_set::{GrantSet, HeldGrant};
use pmo_domain::permission::Inheritance;
use pmo_domain::{EntityCode, Permission, PersonId};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// The level of each person on each of the things that they may see.
pub async fn permissions_of(
    connection: &mut Connection,
    persons: &[PersonId],
    code: &EntityCode,
    ids: &[Uuid],
) -> Result<HashMap<(PersonId, Uuid), Permission>> {
    if persons.is_empty() || ids.is_empty() {
        return Ok(HashMap::new());
    }
    let persons: Vec<Uuid> = persons.iter().map(|p| p.0).collect();
    let rows: Vec<(Uuid, Uuid, i16)> = sqlx::query_as("select person_id, id, level from app.permissions($1, $2, $3)")
        .bind(persons)
        .bind(code.as_str())
        .bind(ids)
        .fetch_all(connection)
        .await?;
    Ok(rows
        .into_iter()
        .filter_map(|(person, id, level)| Some(((PersonId(person), id), permission_from_i16(level)?)))
        .collect())
}

/// The level of one person on one thing.
pub async fn permission_on(
    connection: &mut Connection,
    person: PersonId,
    code: &EntityCode,
    id: Uuid,
) -> Result<Option<Permission>> {
    let found: Option<i16> = sqlx::query_scalar("select level from app.permissions(array[$1], $2, array[$3])")
        .bind(person.0)
        .bind(code.as_str())
        .bind(id)
        .fetch_optional(connection)
        .await?;
    Ok(found.and_then(permission_from_i16))
}

/// Whether a person may make instances of the type that have no parent.
pub async fn may_create(connection: &mut Connection, person: PersonId, code: &EntityCode) -> Result<bool> {
    Ok(sqlx::query_scalar("select app.may_create($1, $2)")
        .bind(person.0)
        .bind(code.as_str())
        .fetch_one(connection)
        .await?)
}

/// The types of which a person may make instances that have no parent.
pub async fn creatable_types(connection: &mut Connection, person: PersonId) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar("select code from app.entity where app.may_create($1, code)")
        .bind(person.0)
        .fetch_all(connection)
        .await?)
}

/// A thing that a person may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisibleEntity {
    /// The thing.
    pub id: Uuid,
    /// Its type.
    pub code: String,
    /// Its name.
    pub title: String,
    /// The person's level on it.
    pub level: Permission,
}

/// Which of `ids`, whatever their types, a person may see.
pub async fn visible(connection: &mut Connection, person: PersonId, ids: &[Uuid]) -> Result<Vec<VisibleEntity>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let lines: Vec<(Uuid, String, String, i16)> =
        sqlx::query_as("select id, code, title, level from app.things_of(array[$1], $2)")
            .bind(person.0)
            .bind(ids)
            .fetch_all(connection)
            .await?;
    Ok(lines
        .into_iter()
        .filter_map(|(id, code, title, level)| {
            Some(VisibleEntity { id, code, title, level: permission_from_i16(level)? })
        })
        .collect())
}

/// What each of these people holds; who is not alive holds nothing.
pub async fn grant_sets(c: &mut Connection, persons: &[PersonId]) -> Result<HashMap<PersonId, GrantSet>> {
    #[derive(sqlx::FromRow)]
    struct LocatedEntityRow {
        person_id: Uuid,
        key: Uuid,
        permission: i16,
        inheritance_mode: String,
        child_permissions: serde_json::Value,
        is_deny: bool,
        expires: Option<i64>,
    }
    let ids: Vec<Uuid> = persons.iter().map(|p| p.0).collect();
    let lines: Vec<LocatedEntityRow> = sqlx::query_as(
        "select person_id, key, permission, inheritance_mode, child_permissions, is_deny,
                case when isfinite(expires_ts) then (extract(epoch from expires_ts) * 1000)::bigint end as expires
         from app.grants_of($1) where key is not null",
    )
    .bind(ids)
    .fetch_all(c)
    .await?;
    let mut held: HashMap<PersonId, Vec<HeldGrant>> = persons.iter().map(|person| (*person, Vec::new())).collect();
    for line in lines {
        let Some(permission) = permission_from_i16(line.permission) else { continue };
        let inheritance = match line.inheritance_mode.as_str() {
            "cascade" => Inheritance::Cascade,
            "mapped" => match serde_json::from_value::<BTreeMap<String, Permission>>(line.child_permissions) {
                Ok(levels) => Inheritance::Mapped(levels),
                // Written past the api. What can't be read gives nothing, and what takes away takes all.
                Err(_) if line.is_deny => Inheritance::Cascade,
                Err(_) => Inheritance::None,
            },
            _ => Inheritance::None,
        };
        let holding =
            HeldGrant { target: line.key, permission, inheritance, deny: line.is_deny, expires: line.expires };
        held.entry(PersonId(line.person_id)).or_default().push(holding);
    }
    Ok(held.into_iter().map(|(person, all)| (person, GrantSet::new(all))).collect())
}

/// What things are, and where: their types and reaches.
pub async fn locate_entities(c: &mut Connection, ids: &[Uuid]) -> Result<HashMap<Uuid, (EntityCode, i32)>> {
    let lines: Vec<(Uuid, String, i32)> =
        sqlx::query_as("select id, code::text, reach from app.thing where id = any ($1)")
            .bind(ids)
            .fetch_all(c)
            .await?;
    Ok(lines.into_iter().filter_map(|(id, code, reach)| Some((id, (EntityCode::new(code).ok()?, reach)))).collect())
}

/// What is above those who have these reaches, and whether it is reached by owned links alone.
pub async fn ancestor_sets(c: &mut Connection, reaches: &[i32]) -> Result<HashMap<i32, Vec<(Uuid, bool)>>> {
    let lines: Vec<(i32, Vec<Uuid>, Vec<Uuid>)> =
        sqlx::query_as("select id, above, above_owned from app.reach where id = any ($1)")
            .bind(reaches)
            .fetch_all(c)
            .await?;
    let pair = |above: Vec<Uuid>, owned: &[Uuid]| above.into_iter().map(|key| (key, owned.contains(&key))).collect();
    Ok(lines.into_iter().map(|(reach, above, owned)| (reach, pair(above, &owned))).collect())
}

/// The marker of each type, which stands for grants on the whole of it.
pub async fn type_markers(c: &mut Connection) -> Result<HashMap<String, Uuid>> {
    let lines: Vec<(String, Uuid)> = sqlx::query_as("select code, marker from app.entity").fetch_all(c).await?;
    Ok(lines.into_iter().collect())
}

/// A grant that reaches a thing, with the way that it comes down.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct AccessReason {
    /// The grant.
    pub grant_id: Uuid,
    /// The role through which the person holds it; none: they hold it themselves.
    pub role_id: Option<Uuid>,
    /// The role's name.
    pub role_name: Option<String>,
    /// The type that it is on,
    pub entity_code: String,
    /// and the thing, or every instance.
    pub entity_instance_id: Uuid,
    /// Whether it is on the whole type.
    #[serde(rename = "typed")]
    #[sqlx(rename = "typed")]
    pub type_wide: bool,
    /// The level that was granted.
    pub permission: i16,
    /// none, cascade or mapped.
    pub inheritance_mode: String,
    /// Takes away instead of giving.
    pub is_deny: bool,
    /// Until when.
    pub expires_ts: Option<String>,
    /// What it is worth on the thing.
    #[serde(rename = "worth")]
    #[sqlx(rename = "worth")]
    pub effective_permission: i16,
    /// The types on the way, from the granted thing down,
    #[serde(rename = "way_codes")]
    #[sqlx(rename = "way_codes")]
    pub path_codes: Vec<String>,
    /// and the things.
    #[serde(rename = "way_ids")]
    #[sqlx(rename = "way_ids")]
    pub path_ids: Vec<Uuid>,
}

/// Every grant of a person that reaches a thing, or takes it away.
pub async fn explain(
    connection: &mut Connection,
    person: PersonId,
    code: &EntityCode,
    id: Uuid,
) -> Result<Vec<AccessReason>> {
    Ok(sqlx::query_as(
        "select grant_id, role_id, role_name, entity_code, entity_instance_id, typed, permission, inheritance_mode, is_deny,
                to_char(expires_ts, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as expires_ts, worth, way_codes, way_ids
         from app.explain($1, $2, $3)",
    )
    .bind(person.0)
    .bind(code.as_str())
    .bind(id)
    .fetch_all(connection)
    .await?)
}

/// Makes `person` the OWNER of a thing, as its creator becomes.
pub async fn grant_owner(connection: &mut Connection, person: PersonId, code: &EntityCode, id: Uuid) -> Result<()> {
    sqlx::query("select set_config('app.creator_grant', 'on', true)").execute(&mut *connection).await?;
    sqlx::query(
        "insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission, granted_by__person_id)
         values ($1, $2, $3, 7, $1)",
    )
    .bind(person.0)
    .bind(code.as_str())
    .bind(id)
    .execute(&mut *connection)
    .await?;
    sqlx::query("select set_config('app.creator_grant', '', true)").execute(connection).await?;
    Ok(())
}

fn permission_from_i16(level: i16) -> Option<Permission> {
    u8::try_from(level).ok().and_then(|l| Permission::try_from(l).ok())
}
