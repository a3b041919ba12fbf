//! Loads a project and maps it to the contents of a Microsoft Project file.
//!
//! Contains only what the user may see.

use super::context::ExportContext;
use crate::error::{ApiError, Result};
use crate::state::EntityModel;
use pmo_database::row_cache::RowCache;
use pmo_database::visibility::ReadContext;
use pmo_database::{Connection, DatabaseError, list, permission, row};
use pmo_domain::api_types::MAX_PAGE_SIZE;
use pmo_domain::query::ListQuery;
use pmo_domain::{PersonId, Row};
use pmo_mspdi::rows::{Exported, Person, PlanRows, from_rows};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Maximum number of calendars between a calendar and its base without a base.
const MAX_BASES: usize = 10;

/// Loads a project as the contents of a file.
pub async fn load_plan(context: &ExportContext<'_>, person: PersonId, id: Uuid) -> Result<Exported> {
    let project = context.model.entity("project")?;
    let mut connection = pmo_database::begin_snapshot_read(context.pool).await?;
    let mut reader = context.visibility_cache.begin_read(&mut connection, person).await?;
    permission::permission_on(&mut connection, person, &project.code, id).await?.ok_or(ApiError::NotFound)?;
    let project_row =
        row::by_id(&mut connection, project, id, row::DeletedRows::Exclude).await?.ok_or(ApiError::NotFound)?;
    let mut loader =
        Loader { connection: &mut connection, model: context.model, person, project: id, people: BTreeMap::new() };
    let mut rows = PlanRows { project: project_row, ..PlanRows::default() };
    rows.tasks = loader.children(&mut reader, context.row_cache, "task").await?;
    rows.dependencies = loader.children(&mut reader, context.row_cache, "task_dependency").await?;
    rows.baselines = loader.children(&mut reader, context.row_cache, "baseline").await?;
    let tasks: Vec<Uuid> = rows.tasks.iter().filter_map(|row| id_in(row, "id")).collect();
    rows.assignments = loader.by_reference("assignment", "task_id", &tasks).await?;
    loader.add_calendars(&mut rows).await?;
    let people = loader.people;
    connection.commit().await.map_err(DatabaseError::from)?;
    let exported = tokio::task::spawn_blocking(move || from_rows(&rows, &people)).await;
    exported.map_err(|_| ApiError::Internal)
}

/// Reads rows of a project that a person may view.
struct Loader<'a> {
    connection: &'a mut Connection,
    model: &'a EntityModel,
    person: PersonId,
    project: Uuid,
    /// Employees that the rows read so far refer to.
    people: BTreeMap<Uuid, Person>,
}

impl Loader<'_> {
    /// Returns all rows of a type that are children of the project.
    async fn children(&mut self, reader: &mut ReadContext<'_>, row_cache: &RowCache, code: &str) -> Result<Vec<Row>> {
        let (parent, entity) = (self.model.entity("project")?, self.model.entity(code)?);
        let relation = self.model.catalog.child_relation("project", code).ok_or(ApiError::Internal)?;
        let filter = list::ParentFilter { parent_code: &parent.code, parent_id: self.project, relation };
        let mut query = ListQuery { limit: MAX_PAGE_SIZE, ..ListQuery::default() };
        let mut rows = Vec::new();
        loop {
            let page = list::fetch_page(self.connection, reader, row_cache, entity, &query, Some(&filter)).await?;
            let names = row::reference_names(self.connection, reader, entity, &page.referenced_ids).await?;
            let people = names.get("employee").into_iter().flatten();
            self.people.extend(people.map(|(id, name)| (*id, Person { name: name.clone(), email: None })));
            for entry in &page.rows {
                rows.push(serde_json::from_str::<Row>(entry.row.json.get()).map_err(|_| ApiError::Internal)?);
            }
            let Some(next) = page.next_cursor else { return Ok(rows) };
            query.cursor = Some(next);
        }
    }

    async fn by_reference(&mut self, code: &str, column: &str, parents: &[Uuid]) -> Result<Vec<Row>> {
        let entity = self.model.entity(code)?;
        Ok(row::visible_by_reference(self.connection, entity, column, parents, self.person).await?)
    }

    /// Adds the calendars of the project, and those that it, its tasks and their people use.
    ///
    /// Everyone who may view a plan may know its working times. Names are shown only of calendars
    /// that the person may view.
    async fn add_calendars(&mut self, rows: &mut PlanRows) -> Result<()> {
        let project = self.project;
        let own = self.by_reference("calendar", "project_id", &[project]).await?;
        let employee = self.model.entity("employee")?;
        let people: Vec<Uuid> = self.people.keys().copied().collect();
        for row in row::by_ids(self.connection, employee, &people, row::DeletedRows::Include).await? {
            if let Some((employee, calendar)) = id_in(&row, "id").zip(id_in(&row, "calendar_id")) {
                rows.employee_calendars.insert(employee, calendar);
            }
        }
        let mut known: BTreeSet<Uuid> = own.iter().filter_map(|row| id_in(row, "id")).collect();
        rows.calendars = own;
        let of_tasks = rows.tasks.iter().filter_map(|row| id_in(row, "calendar_id"));
        let of_project = id_in(&rows.project, "calendar_id");
        let mut wanted: BTreeSet<Uuid> =
            of_tasks.chain(of_project).chain(rows.employee_calendars.values().copied()).collect();
        wanted.extend(rows.calendars.iter().filter_map(|row| id_in(row, "base__calendar_id")));
        for _ in 0..MAX_BASES {
            let missing: Vec<Uuid> = wanted.difference(&known).copied().collect();
            if missing.is_empty() {
                break;
            }
            let found = self.used_calendars(&missing).await?;
            wanted = found.iter().filter_map(|row| id_in(row, "base__calendar_id")).collect();
            known.extend(missing);
            rows.calendars.extend(found);
        }
        rows.calendars.sort_by_key(|row| id_in(row, "id"));
        rows.exceptions = self.exceptions(&rows.calendars).await?;
        Ok(())
    }

    async fn used_calendars(&mut self, ids: &[Uuid]) -> Result<Vec<Row>> {
        let entity = self.model.entity("calendar")?;
        let mut rows = row::by_ids(self.connection, entity, ids, row::DeletedRows::Exclude).await?;
        let visible = permission::permissions_of(self.connection, &[self.person], &entity.code, ids).await?;
        for row in &mut rows {
            if !id_in(row, "id").is_some_and(|id| visible.contains_key(&(self.person, id))) {
                row.insert("name".into(), Value::Null);
            }
        }
        Ok(rows)
    }

    /// Returns the exceptions of calendars in the order in which they hold.
    async fn exceptions(&mut self, calendars: &[Row]) -> Result<Vec<Row>> {
        let entity = self.model.entity("calendar_exception")?;
        let ids: Vec<Uuid> = calendars.iter().filter_map(|row| id_in(row, "id")).collect();
        let hidden: BTreeSet<Option<Uuid>> = calendars
            .iter()
            .filter(|row| row.get("name").is_none_or(Value::is_null))
            .map(|row| id_in(row, "id"))
            .collect();
        let mut rows = row::by_reference(self.connection, entity, "calendar_id", &ids).await?;
        rows.sort_by_key(|row| id_in(row, "id"));
        for row in rows.iter_mut().filter(|row| hidden.contains(&id_in(row, "calendar_id"))) {
            row.insert("name".into(), Value::Null);
        }
        Ok(rows)
    }
}

fn id_in(row: &Row, column: &str) -> Option<Uuid> {
    row.get(column)?.as_str()?.parse().ok()
}
