//! Rows of one entity type: read, insert, update, delete, restore, purge.
//!
//! Callers validate values and check permissions.

use crate::permission;
use crate::sql;
use crate::visibility::ReadContext;
use crate::{Connection, Result};
use pmo_domain::api_types::ReferenceNames;
use pmo_domain::{ColumnKind, EntityType, PersonId, Row, Version};
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Whether a read includes soft-deleted rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletedRows {
    /// Only active rows.
    Exclude,
    /// Active and deleted rows.
    Include,
}

/// Returns rows by id, in no particular order.
pub async fn by_ids(
    conn: &mut Connection,
    entity: &EntityType,
    ids: &[Uuid],
    deleted: DeletedRows,
) -> Result<Vec<Row>> {
    let statement = format!(
        "select to_json(r)::text from (select {} from {} t where t.id = any ($1) and (t.active_flag or $2)) r",
        sql::projection(entity, &[]),
        sql::table(entity)
    );
    let rows: Vec<String> = sqlx::query_scalar(sql::statement(statement))
        .bind(ids)
        .bind(deleted == DeletedRows::Include)
        .fetch_all(conn)
        .await?;
    rows.iter().map(|json| parse(json)).collect()
}

/// Returns one row; `None` if it does not exist.
pub async fn by_id(conn: &mut Connection, entity: &EntityType, id: Uuid, deleted: DeletedRows) -> Result<Option<Row>> {
    Ok(by_ids(conn, entity, &[id], deleted).await?.pop())
}

/// Locks a row until the transaction ends; returns its version and whether it is active.
pub async fn lock(conn: &mut Connection, entity: &EntityType, id: Uuid) -> Result<Option<(Version, bool)>> {
    let statement = format!("select version, active_flag from {} where id = $1 for update", sql::table(entity));
    let row: Option<(i64, bool)> = sqlx::query_as(sql::statement(statement)).bind(id).fetch_optional(conn).await?;
    Ok(row.map(|(version, active)| (Version(version), active)))
}

/// Returns the subset of `ids` that exists and is not deleted.
pub async fn filter_existing(conn: &mut Connection, entity: &EntityType, ids: &[Uuid]) -> Result<BTreeSet<Uuid>> {
    let statement = format!("select id from {} where id = any ($1) and active_flag", sql::table(entity));
    let existing: Vec<Uuid> = sqlx::query_scalar(sql::statement(statement)).bind(ids).fetch_all(conn).await?;
    Ok(existing.into_iter().collect())
}

/// Returns id, code and name of active rows whose code or name equals one of `terms`.
///
/// Comparison ignores case.
pub async fn find_by_code_or_name(
    conn: &mut Connection,
    entity: &EntityType,
    terms: &[String],
) -> Result<Vec<(Uuid, String, String)>> {
    let statement = format!(
        "select id, coalesce(code, ''), coalesce(name, '') from {} where active_flag and (lower(code) = any ($1) or lower(name) = any ($1))",
        sql::table(entity)
    );
    let terms: Vec<String> = terms.iter().map(|term| term.to_lowercase()).collect();
    Ok(sqlx::query_as(sql::statement(statement)).bind(terms).fetch_all(conn).await?)
}

/// Inserts a row of validated values and returns its id.
pub async fn insert(conn: &mut Connection, entity: &EntityType, values: &Row) -> Result<Uuid> {
    let columns = known_columns(entity, values);
    let statement = format!(
        "insert into {table} ({columns}) select {columns} from jsonb_populate_record(null::{table}, $1) returning id",
        table = sql::table(entity),
    );
    let id = sqlx::query_scalar(sql::statement(statement)).bind(Value::Object(values.clone())).fetch_one(conn).await?;
    Ok(id)
}

/// Inserts many rows in one statement; all must have the columns of the first.
pub async fn insert_many(conn: &mut Connection, entity: &EntityType, rows: &[Row]) -> Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let columns = known_columns(entity, first);
    let statement = format!(
        "insert into {table} ({columns}) select {columns} from jsonb_populate_recordset(null::{table}, $1)",
        table = sql::table(entity),
    );
    let rows = Value::Array(rows.iter().cloned().map(Value::Object).collect());
    sqlx::query(sql::statement(statement)).bind(rows).execute(conn).await?;
    Ok(())
}

/// Sets columns of a row to validated values and returns its new version.
///
/// Unknown columns are ignored. `None` if there is nothing to set, or if the row does not exist.
pub async fn update(conn: &mut Connection, entity: &EntityType, id: Uuid, values: &Row) -> Result<Option<Version>> {
    if values.is_empty() {
        return Ok(None);
    }
    let assignments: Vec<String> = values
        .keys()
        .filter(|k| entity.column(k).is_some())
        .map(|k| format!("{0} = r.{0}", sql::quote_ident(k)))
        .collect();
    let statement = format!(
        "update {table} t set {assignments} from jsonb_populate_record(null::{table}, $2) r where t.id = $1 returning t.version",
        table = sql::table(entity),
        assignments = assignments.join(", ")
    );
    let values = Value::Object(values.clone());
    let version = sqlx::query_scalar(sql::statement(statement)).bind(id).bind(values).fetch_optional(conn).await?;
    Ok(version.map(Version))
}

/// Soft-deletes an entity and its owned descendants; returns the number of rows changed.
pub async fn delete(conn: &mut Connection, entity: &EntityType, id: Uuid) -> Result<i32> {
    Ok(sqlx::query_scalar("select app.soft_delete($1, $2)").bind(entity.code.as_str()).bind(id).fetch_one(conn).await?)
}

/// Restores an entity and the rows deleted with it; returns the number of rows changed.
pub async fn restore(conn: &mut Connection, entity: &EntityType, id: Uuid) -> Result<i32> {
    Ok(sqlx::query_scalar("select app.restore($1, $2)").bind(entity.code.as_str()).bind(id).fetch_one(conn).await?)
}

/// Deletes an entity and its owned descendants permanently; returns the number of rows.
pub async fn purge(conn: &mut Connection, entity: &EntityType, id: Uuid) -> Result<i32> {
    Ok(sqlx::query_scalar("select app.purge($1, $2)").bind(entity.code.as_str()).bind(id).fetch_one(conn).await?)
}

/// Returns whether one of `ids` represents the person.
///
/// An entity of a type with the column `person_id`, such as an employee, represents that person; a
/// person represents itself.
pub async fn any_represents_person(
    conn: &mut Connection,
    entity: &EntityType,
    ids: &[Uuid],
    person: PersonId,
) -> Result<bool> {
    if entity.column("person_id").is_none() {
        return Ok(entity.code == "person" && ids.contains(&person.0));
    }
    let statement = format!(
        "select exists (select from {} where id = any ($1) and person_id = $2 and active_flag)",
        sql::table(entity)
    );
    Ok(sqlx::query_scalar(sql::statement(statement)).bind(ids).bind(person.0).fetch_one(conn).await?)
}

/// Returns the ids that `rows` reference, without duplicates.
pub fn referenced_ids(entity: &EntityType, rows: &[Row]) -> Vec<Uuid> {
    let mut referenced: BTreeSet<Uuid> = BTreeSet::new();
    for column in &entity.columns {
        let (ColumnKind::Reference { .. } | ColumnKind::References { .. }) = &column.kind else { continue };
        for row in rows {
            match row.get(&column.name) {
                Some(Value::String(id)) => referenced.extend(id.parse::<Uuid>()),
                Some(Value::Array(items)) => {
                    referenced.extend(items.iter().filter_map(|i| i.as_str()?.parse::<Uuid>().ok()))
                }
                _ => {}
            }
        }
    }
    referenced.into_iter().collect()
}

/// Returns the titles of referenced entities by type, as far as the reader may view them.
pub async fn reference_names(
    conn: &mut Connection,
    reader: &mut ReadContext<'_>,
    entity: &EntityType,
    ids: &[Uuid],
) -> Result<ReferenceNames> {
    let mut names = empty_reference_names(entity);
    for (id, code, title) in reader.visible_titles(conn, ids).await? {
        names.entry(code.to_string()).or_default().insert(id, title.to_string());
    }
    Ok(names)
}

/// Returns the same as [`reference_names`], without caches.
///
/// For a transaction that may itself have changed the visibility of entities for `person`.
pub async fn reference_names_uncached(
    conn: &mut Connection,
    person: PersonId,
    entity: &EntityType,
    ids: &[Uuid],
) -> Result<ReferenceNames> {
    let mut names = empty_reference_names(entity);
    for visible in permission::visible(conn, person, ids).await? {
        names.entry(visible.code).or_default().insert(visible.id, visible.title);
    }
    Ok(names)
}

/// Returns the entity types that a type references, each without names.
fn empty_reference_names(entity: &EntityType) -> ReferenceNames {
    let targets = entity.columns.iter().filter_map(|column| match &column.kind {
        ColumnKind::Reference { entity } | ColumnKind::References { entity } => Some(entity.clone()),
        _ => None,
    });
    targets.map(|target| (target, Default::default())).collect()
}

/// Whether the trigger on task dependencies searches for cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CycleCheck {
    /// The trigger checks each row.
    PerRow,
    /// The trigger does not check; the caller has checked the whole graph.
    Skip,
}

/// Sets the cycle check of task dependencies for the rest of the transaction.
pub async fn set_cycle_check(conn: &mut Connection, check: CycleCheck) -> Result<()> {
    let value = match check {
        CycleCheck::PerRow => "",
        CycleCheck::Skip => "on",
    };
    sqlx::query("select set_config('app.bulk_import', $1, true)").bind(value).execute(conn).await?;
    Ok(())
}

/// Whether a trigger keeps assignments and the people of tasks equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignmentSync {
    /// The trigger writes the other side.
    On,
    /// The caller writes both sides.
    Off,
}

/// Sets how assignments are kept equal to the people of tasks for the rest of the transaction.
pub async fn set_assignment_sync(conn: &mut Connection, sync: AssignmentSync) -> Result<()> {
    let value = match sync {
        AssignmentSync::On => "",
        AssignmentSync::Off => "off",
    };
    sqlx::query("select set_config('app.sync_assignments', $1, true)").bind(value).execute(conn).await?;
    Ok(())
}

/// Returns the active rows whose `column` is one of `parents`.
///
/// Returns no rows if the type has no such column.
pub async fn by_reference(
    conn: &mut Connection,
    entity: &EntityType,
    column: &str,
    parents: &[Uuid],
) -> Result<Vec<Row>> {
    if parents.is_empty() || entity.column(column).is_none() {
        return Ok(Vec::new());
    }
    let statement = format!(
        "select to_json(r)::text from (select {} from {} t where t.{} = any ($1) and t.active_flag) r",
        sql::projection(entity, &[]),
        sql::table(entity),
        sql::quote_ident(column)
    );
    let rows: Vec<String> = sqlx::query_scalar(sql::statement(statement)).bind(parents).fetch_all(conn).await?;
    rows.iter().map(|json| parse(json)).collect()
}

/// Returns the active rows whose `column` is one of `parents` and that `person` may view.
pub async fn visible_by_reference(
    conn: &mut Connection,
    entity: &EntityType,
    column: &str,
    parents: &[Uuid],
    person: PersonId,
) -> Result<Vec<Row>> {
    let mut rows = by_reference(conn, entity, column, parents).await?;
    let id_of = |row: &Row| row.get("id").and_then(Value::as_str).and_then(|id| id.parse::<Uuid>().ok());
    let ids: Vec<Uuid> = rows.iter().filter_map(id_of).collect();
    let permissions = permission::permissions_of(conn, &[person], &entity.code, &ids).await?;
    rows.retain(|row| id_of(row).is_some_and(|id| permissions.contains_key(&(person, id))));
    Ok(rows)
}

/// Returns id, name and email address of the active employees that `person` may view.
pub async fn visible_employees(
    conn: &mut Connection,
    employee: &EntityType,
    person: PersonId,
) -> Result<Vec<(Uuid, String, Option<String>)>> {
    let employees: Vec<(Uuid, String, Option<String>)> = sqlx::query_as(
        "select e.id, e.name, p.email from app.employee e left join app.person p on p.id = e.person_id where e.active_flag order by e.id",
    )
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<Uuid> = employees.iter().map(|e| e.0).collect();
    let permissions = permission::permissions_of(conn, &[person], &employee.code, &ids).await?;
    Ok(employees.into_iter().filter(|e| permissions.contains_key(&(person, e.0))).collect())
}

/// Returns the quoted names of the keys of `values` that are columns, separated by commas.
fn known_columns(entity: &EntityType, values: &Row) -> String {
    values.keys().filter(|k| entity.column(k).is_some()).map(|k| sql::quote_ident(k)).collect::<Vec<_>>().join(", ")
}

pub(crate) fn parse(json: &str) -> Result<Row> {
    serde_json::from_str(json).map_err(|error| sqlx::Error::Decode(error.into()).into())
}
