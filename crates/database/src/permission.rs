//! Effective permissions, asked in bulk. The rule itself is `pmo_domain::permission`; here it is only put to the database.

use crate::{Connection, Result};
use pmo_domain::{EntityCode, Permission, PersonId};
use std::collections::HashMap;
use uuid::Uuid;

/// The level of each person on each of the things that they may see.
pub async fn levels(
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
    Ok(rows.into_iter().filter_map(|(person, id, level)| Some(((PersonId(person), id), level_of(level)?))).collect())
}

/// The level of one person on one thing.
pub async fn level(
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
    Ok(found.and_then(level_of))
}

/// Whether a person may make instances of the type that have no parent.
pub async fn may_create(connection: &mut Connection, person: PersonId, code: &EntityCode) -> Result<bool> {
    Ok(sqlx::query_scalar("select app.may_create($1, $2)")
        .bind(person.0)
        .bind(code.as_str())
        .fetch_one(connection)
        .await?)
}

/// What grants on a whole type, and denies, mean for a person's lists of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Every instance, nothing taken away.
    All,
    /// Every instance but those that a deny may reach.
    AllBut,
    /// What single grants reach.
    Some,
    /// Nothing: the type is denied.
    None,
}

/// A person's reach over a type.
pub async fn reach(connection: &mut Connection, person: PersonId, code: &EntityCode) -> Result<Reach> {
    let (all, denied, any_deny): (bool, bool, bool) =
        sqlx::query_as("select sees_all, denied_all, any_deny from app.type_reach($1, $2)")
            .bind(person.0)
            .bind(code.as_str())
            .fetch_one(connection)
            .await?;
    Ok(match (denied, all, any_deny) {
        (true, _, _) => Reach::None,
        (_, true, false) => Reach::All,
        (_, true, true) => Reach::AllBut,
        _ => Reach::Some,
    })
}

/// Makes `person` the OWNER of a thing, as its creator becomes.
pub async fn own(connection: &mut Connection, person: PersonId, code: &EntityCode, id: Uuid) -> Result<()> {
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

fn level_of(level: i16) -> Option<Permission> {
    u8::try_from(level).ok().and_then(|l| Permission::try_from(l).ok())
}
