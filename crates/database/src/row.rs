//! One row: read, insert, update, delete, restore. Values arrive checked; permissions are the caller's business.

use crate::permission;
use crate::sql;
use crate::visibility::ReadContext;
use crate::{Connection, Result};
use pmo_domain::api_types::ReferenceNames;
use pmo_domain::{ColumnKind, EntityType, PersonId, Row, Version};
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Rows by id, in no order; the deleted only where asked for.
pub async fn by_ids(
    connection: &mut Connection,
    entity: &EntityType,
    ids: &[Uuid],
    deleted_too: bool,
) -> Result<Vec<Row>> {
    let text = format!(
        "select to_json(r)::text from (select {} from {} t where t.id = any ($1) and (t.active_flag or $2)) r",
        sql::projection(entity, &[]),
        sql::table(entity)
    );
    let rows: Vec<String> =
        sqlx::query_scalar(sql::statement(text)).bind(ids).bind(deleted_too).fetch_all(connection).await?;
    rows.iter().map(|text| parse(text)).collect()
}

/// One row.
pub async fn by_id(
    connection: &mut Connection,
    entity: &EntityType,
    id: Uuid,
    deleted_too: bool,
) -> Result<Option<Row>> {
    Ok(by_ids(connection, entity, &[id], deleted_too).await?.pop())
}

/// Locks a row until the transaction ends; answers its version and whether it is alive.
pub async fn lock(connection: &mut Connection, entity: &EntityType, id: Uuid) -> Result<Option<(Version, bool)>> {
    let text = format!("select version, active_flag from {} where id = $1 for update", sql::table(entity));
    let found: Option<(i64, bool)> = sqlx::query_as(sql::statement(text)).bind(id).fetch_optional(connection).await?;
    Ok(found.map(|(version, active)| (Version(version), active)))
}

/// Which of `ids` exist, the deleted ones left out.
pub async fn filter_existing(connection: &mut Connection, entity: &EntityType, ids: &[Uuid]) -> Result<BTreeSet<Uuid>> {
    let text = format!("select id from {} where id = any ($1) and active_flag", sql::table(entity));
    let found: Vec<Uuid> = sqlx::query_scalar(sql::statement(text)).bind(ids).fetch_all(connection).await?;
    Ok(found.into_iter().collect())
}

/// Things of a type that have one of `words` for their code or their name, whatever the case: id, code, name.
pub async fn find_by_code_or_name(
    connection: &mut Connection,
    entity: &EntityType,
    words: &[String],
) -> Result<Vec<(Uuid, String, String)>> {
    let text = format!(
        "select id, coalesce(code, ''), coalesce(name, '') from {} where active_flag and (lower(code) = any ($1) or lower(name) = any ($1))",
        sql::table(entity)
    );
    let words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    Ok(sqlx::query_as(sql::statement(text)).bind(words).fetch_all(connection).await?)
}

/// Inserts a row of checked values and answers its id.
pub async fn insert(connection: &mut Connection, entity: &EntityType, values: &Row) -> Result<Uuid> {
    let columns = known_columns(entity, values);
    let text = format!(
        "insert into {table} ({columns}) select {columns} from jsonb_populate_record(null::{table}, $1) returning id",
        table = sql::table(entity),
    );
    let id = sqlx::query_scalar(sql::statement(text)).bind(Value::Object(values.clone())).fetch_one(connection).await?;
    Ok(id)
}

/// Inserts many rows of the same columns in one statement.
pub async fn insert_many(connection: &mut Connection, entity: &EntityType, rows: &[Row]) -> Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let columns = known_columns(entity, first);
    let text = format!(
        "insert into {table} ({columns}) select {columns} from jsonb_populate_recordset(null::{table}, $1)",
        table = sql::table(entity),
    );
    let rows = Value::Array(rows.iter().cloned().map(Value::Object).collect());
    sqlx::query(sql::statement(text)).bind(rows).execute(connection).await?;
    Ok(())
}

/// Sets columns of a row to checked values.
pub async fn update(connection: &mut Connection, entity: &EntityType, id: Uuid, values: &Row) -> Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let sets: Vec<String> = values
        .keys()
        .filter(|k| entity.column(k).is_some())
        .map(|k| format!("{0} = r.{0}", sql::quote_ident(k)))
        .collect();
    let text = format!(
        "update {table} t set {sets} from jsonb_populate_record(null::{table}, $2) r where t.id = $1",
        table = sql::table(entity),
        sets = sets.join(", ")
    );
    sqlx::query(sql::statement(text)).bind(id).bind(Value::Object(values.clone())).execute(connection).await?;
    Ok(())
}

/// Deletes a thing and what belongs to it, softly; answers how many rows went.
pub async fn delete(connection: &mut Connection, entity: &EntityType, id: Uuid) -> Result<i32> {
    Ok(sqlx::query_scalar("select app.soft_delete($1, $2)")
        .bind(entity.code.as_str())
        .bind(id)
        .fetch_one(connection)
        .await?)
}

/// Brings a deleted thing back, with what went with it.
pub async fn restore(connection: &mut Connection, entity: &EntityType, id: Uuid) -> Result<i32> {
    Ok(sqlx::query_scalar("select app.restore($1, $2)")
        .bind(entity.code.as_str())
        .bind(id)
        .fetch_one(connection)
        .await?)
}

/// Takes a deleted thing and what belongs to it away for good.
pub async fn purge(connection: &mut Connection, entity: &EntityType, id: Uuid) -> Result<i32> {
    Ok(sqlx::query_scalar("select app.purge($1, $2)").bind(entity.code.as_str()).bind(id).fetch_one(connection).await?)
}

/// Whether one of `ids`, things of a type with a `person_id`, stands for a person.
pub async fn any_represents_person(
    connection: &mut Connection,
    entity: &EntityType,
    ids: &[Uuid],
    person: PersonId,
) -> Result<bool> {
    if entity.column("person_id").is_none() {
        return Ok(entity.code == "person" && ids.contains(&person.0));
    }
    let text = format!(
        "select exists (select from {} where id = any ($1) and person_id = $2 and active_flag)",
        sql::table(entity)
    );
    Ok(sqlx::query_scalar(sql::statement(text)).bind(ids).bind(person.0).fetch_one(connection).await?)
}

/// What `rows` refer to.
pub fn referenced_ids(entity: &EntityType, rows: &[Row]) -> Vec<Uuid> {
    let mut wanted: BTreeSet<Uuid> = BTreeSet::new();
    for column in &entity.columns {
        let (ColumnKind::Reference { .. } | ColumnKind::References { .. }) = &column.kind else { continue };
        for row in rows {
            match row.get(&column.name) {
                Some(Value::String(id)) => wanted.extend(id.parse::<Uuid>()),
                Some(Value::Array(items)) => {
                    wanted.extend(items.iter().filter_map(|i| i.as_str()?.parse::<Uuid>().ok()))
                }
                _ => {}
            }
        }
    }
    wanted.into_iter().collect()
}

/// Names of what rows refer to, by type, as far as the reader may see it.
pub async fn reference_names(
    c: &mut Connection,
    reader: &mut ReadContext<'_>,
    entity: &EntityType,
    ids: &[Uuid],
) -> Result<ReferenceNames> {
    let mut answer = empty_reference_names(entity);
    for (id, code, title) in reader.visible_titles(c, ids).await? {
        answer.entry(code.to_string()).or_default().insert(id, title.to_string());
    }
    Ok(answer)
}

/// The same within a transaction that may itself have changed what `person` sees.
pub async fn reference_names_uncached(
    c: &mut Connection,
    person: PersonId,
    entity: &EntityType,
    ids: &[Uuid],
) -> Result<ReferenceNames> {
    let mut answer = empty_reference_names(entity);
    for thing in permission::visible(c, person, ids).await? {
        answer.entry(thing.code).or_default().insert(thing.id, thing.title);
    }
    Ok(answer)
}

/// The types that a type refers to, each with no names yet.
fn empty_reference_names(entity: &EntityType) -> ReferenceNames {
    let targets = entity.columns.iter().filter_map(|column| match &column.kind {
        ColumnKind::Reference { entity } | ColumnKind::References { entity } => Some(entity.clone()),
        _ => None,
    });
    targets.map(|target| (target, Default::default())).collect()
}

/// Tells the schema's own ring check, within this transaction, that the whole graph of links has been checked already.
pub async fn skip_cycle_check(connection: &mut Connection, checked: bool) -> Result<()> {
    sqlx::query("select set_config('app.bulk_import', $1, true)")
        .bind(if checked { "on" } else { "" })
        .execute(connection)
        .await?;
    Ok(())
}

/// Employees that `person` may see: id, name, address.
pub async fn visible_employees(
    connection: &mut Connection,
    employee: &EntityType,
    person: PersonId,
) -> Result<Vec<(Uuid, String, Option<String>)>> {
    let all: Vec<(Uuid, String, Option<String>)> = sqlx::query_as(
        "select e.id, e.name, p.email from app.employee e left join app.person p on p.id = e.person_id where e.active_flag order by e.id",
    )
    .fetch_all(&mut *connection)
    .await?;
    let ids: Vec<Uuid> = all.iter().map(|e| e.0).collect();
    let seen = permission::permissions_of(connection, &[person], &employee.code, &ids).await?;
    Ok(all.into_iter().filter(|e| seen.contains_key(&(person, e.0))).collect())
}

fn known_columns(entity: &EntityType, values: &Row) -> String {
    values.keys().filter(|k| entity.column(k).is_some()).map(|k| sql::quote_ident(k)).collect::<Vec<_>>().join(", ")
}

pub(crate) fn parse(text: &str) -> Result<Row> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()).into())
}
