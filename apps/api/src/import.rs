//! Import of a plan or of rows of any type.
//!
//! Invariant: a file is parsed and validated completely, then written in one transaction; nothing
//! is written partially.

pub mod csv; // CSV parsing, pure
pub mod csv_import; // import of rows, upserted by code
pub mod mspdi; // Microsoft Project XML to rows, pure
mod references; // references in cells
mod upload; // file of a request

use crate::auth::AuthUser;
use crate::entity::{IdempotencyCheck, MutationResponse, check_idempotency_header, commit_with_response};
use crate::error::{ApiError, Result};
use crate::openapi::{RowSchema, Unauthorized};
use crate::state::{AppState, EntityModel};
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::StatusCode;
use mspdi::{MappedPlan, ParsedPlan, People};
use pmo_database::{Transaction, permission, row};
use pmo_domain::{Permission, PersonId, Row};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use upload::read_upload;
use utoipa::openapi::{Deprecated, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// Returns the routes of this module.
pub fn router() -> OpenApiRouter<AppState> {
    // The size limit of these routes is a setting; `read_upload` enforces it while reading.
    OpenApiRouter::new()
        .routes(routes!(import_project))
        .routes(routes!(csv_import::import_rows))
        .layer(DefaultBodyLimit::disable())
}

#[derive(serde::Deserialize)]
struct ImportQuery {
    name: Option<String>,
}

/// Imports a plan as a new project.
#[utoipa::path(post, path = "/project/import", tag = "import",
    request_body(content = String, content_type = "application/xml", description = "A Microsoft Project XML file, as the body or as the multipart field 'file'"),
    params(("name" = Option<String>, Query, description = "Project name; default: the title in the file"),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key returns the stored response")), responses(Unauthorized,
    (status = 200, description = "With text/csv and dry_run: see /{entity}/import"), (status = 201, description = "The project and a report; with text/csv the report of /{entity}/import", body = ImportedPlan), (status = 400, description = "Body truncated"),
    (status = 403, description = "Forbidden: requires permission to create projects"), (status = 413, description = "The file is too large"),
    (status = 415, description = "Unsupported media type"), (status = 422, description = "The file is not a valid plan; see `errors`")))]
async fn import_project(
    State(app): State<AppState>,
    user: AuthUser,
    Query(query): Query<ImportQuery>,
    Query(csv_options): Query<csv_import::ImportOptions>,
    request: Request,
) -> Result<MutationResponse> {
    let headers = request.headers().clone();
    if csv_import::is_csv(&headers) {
        return csv_import::import(&app, &user, "project", csv_options, request).await;
    }
    let model = app.model_for_type("project").await?;
    {
        // The permission is checked before the file is read.
        let mut connection = app.pool.acquire().await.map_err(pmo_database::DatabaseError::from)?;
        check_can_import(&mut connection, &model, user.person).await?;
    }
    let bytes = read_upload(&app, request).await?;
    let (plan, bytes) =
        tokio::task::spawn_blocking(move || (mspdi::parse(&bytes), bytes)).await.map_err(|_| ApiError::Internal)?;
    let plan = plan.map_err(|error| ApiError::UnprocessableEntity(vec![mspdi::field_error(error)]))?;
    let mut transaction = pmo_database::begin(&app.pool, &user.actor).await?;
    let name = query.name.unwrap_or_default();
    let key = match check_idempotency_header(&mut transaction, &user, &headers, &[b"IMPORT", name.as_bytes(), &bytes])
        .await?
    {
        IdempotencyCheck::Replay(response) => return Ok(response),
        IdempotencyCheck::New(key) => key,
    };
    let body =
        write(&mut transaction, &model, user.person, &plan, Some(name.as_str()).filter(|name| !name.trim().is_empty()))
            .await?;
    let body = Some(json!(body));
    commit_with_response(transaction, &user, key, MutationResponse { status: StatusCode::CREATED, body }).await
}

async fn check_can_import(
    connection: &mut pmo_database::Connection,
    model: &EntityModel,
    person: PersonId,
) -> Result<()> {
    if permission::can_create(connection, person, &model.entity("project")?.code).await? {
        Ok(())
    } else {
        Err(ApiError::Forbidden("Importing a plan requires permission to create projects.".into()))
    }
}

/// Numbers of imported elements.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct PlanCounts {
    /// Tasks with at least one assigned person.
    assigned_tasks: usize,
    /// Assignments of people and roles to tasks.
    assignments: usize,
    /// Baselines.
    baselines: usize,
    /// Calendars.
    calendars: usize,
    /// Exceptions of the calendars.
    exceptions: usize,
    /// Dependencies between tasks.
    links: usize,
    /// Milestones among the tasks.
    milestones: usize,
    /// People who were found among the employees.
    resources: usize,
    /// Summary tasks among the tasks.
    summaries: usize,
    /// All tasks.
    tasks: usize,
}

/// Elements that were not imported.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct SkippedElements {
    /// Number of elements.
    count: usize,
    /// Name of the element in the file.
    what: String,
    /// Reason for people.
    why: String,
}

/// Report on the import of a plan.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct PlanReport {
    /// Numbers of imported elements.
    imported: PlanCounts,
    /// Deprecated name of `skipped`.
    #[schema(deprecated)]
    left_out: Vec<SkippedElements>,
    /// Elements that were not imported.
    skipped: Vec<SkippedElements>,
    /// Deprecated name of `imported`.
    #[schema(schema_with = deprecated_counts)]
    taken: PlanCounts,
}

fn deprecated_counts() -> RefOr<Schema> {
    let mut schema = PlanCounts::schema();
    if let RefOr::T(Schema::Object(object)) = &mut schema {
        object.deprecated = Some(Deprecated::True);
        object.description = Some("Deprecated name of `imported`.".to_owned());
    }
    schema
}

/// A plan that was imported as a project.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(examples(json!({
    "project": {"id": "0abb4da0-deec-9b5b-b295-27caaa6c94e5", "name": "ERP upgrade", "version": 1, "permission": 7},
    "report": {
        "imported": {"tasks": 12, "summaries": 3, "milestones": 2, "links": 9, "resources": 4, "assigned_tasks": 8, "assignments": 11, "calendars": 1, "exceptions": 6, "baselines": 1},
        "skipped": [{"what": "Cost", "count": 9, "why": "this task field is not supported"}],
        "taken": {"tasks": 12, "summaries": 3, "milestones": 2, "links": 9, "resources": 4, "assigned_tasks": 8, "assignments": 11, "calendars": 1, "exceptions": 6, "baselines": 1},
        "left_out": [{"what": "Cost", "count": 9, "why": "this task field is not supported"}]
    }
})))]
pub struct ImportedPlan {
    /// The new project.
    #[schema(value_type = RowSchema)]
    project: Row,
    /// Imported and skipped elements.
    report: PlanReport,
}

/// Writes a plan as a new project owned by `person`; returns the project row and the report.
pub async fn write(
    transaction: &mut Transaction,
    model: &EntityModel,
    person: PersonId,
    plan: &ParsedPlan,
    name: Option<&str>,
) -> Result<ImportedPlan> {
    check_can_import(transaction, model, person).await?;
    let (people, unknown) = match_people(transaction, model, person, plan).await?;
    let id = Uuid::now_v7();
    let source = plan.clone();
    let mapped = tokio::task::spawn_blocking(move || mspdi::map_and_schedule(&source, id, &people));
    let mapped = mapped.await.map_err(|_| ApiError::Internal)?;
    let mut mapped = mapped.map_err(|error| ApiError::UnprocessableEntity(vec![mspdi::field_error(error)]))?;
    mspdi::add_options(&mut mapped, model);
    insert_project(transaction, model, person, &mut mapped, title(plan, name)).await?;
    insert_rows(transaction, model, &mapped).await?;

    let project = model.entity("project")?;
    let mut project =
        row::by_id(transaction, project, id, row::DeletedRows::Exclude).await?.ok_or(ApiError::Internal)?;
    project.insert("permission".into(), json!(Permission::Owner));
    Ok(ImportedPlan { project, report: plan_report(plan, &mapped, unknown) })
}

/// Returns the name of the project; `name` replaces the title of the plan.
fn title(plan: &ParsedPlan, name: Option<&str>) -> String {
    let title = name.map(str::trim).or(plan.file.project.title.as_deref()).filter(|title| !title.is_empty());
    title.unwrap_or("Imported plan").chars().filter(|ch| *ch != '\0').take(500).collect()
}

/// Inserts the project, then its calendars, then its reference to one of them.
async fn insert_project(
    transaction: &mut Transaction,
    model: &EntityModel,
    person: PersonId,
    mapped: &mut MappedPlan,
    title: String,
) -> Result<()> {
    let project = model.entity("project")?;
    let rows = &mut mapped.rows;
    let has_begun = rows.tasks.iter().any(|task| task.get("completion_pct").and_then(Value::as_f64) > Some(0.0));
    let stage = if has_begun { "Execution" } else { "Planning" };
    rows.project.insert("name".into(), json!(title));
    rows.project.insert("dl__project_stage".into(), json!(mspdi::find_option(model, "project_stage", stage, false)));
    let calendar = rows.project.insert("calendar_id".into(), Value::Null).unwrap_or_default();
    let id = row::insert(transaction, project, &rows.project).await?;
    permission::grant_owner(transaction, person, &project.code, id).await?;
    insert_all(transaction, model, "calendar", &rows.calendars).await?;
    insert_all(transaction, model, "calendar_exception", &rows.exceptions).await?;
    if !calendar.is_null() {
        let values = Row::from_iter([("calendar_id".to_owned(), calendar)]);
        row::update(transaction, project, id, &values).await?;
    }
    Ok(())
}

/// Inserts tasks, dependencies, assignments and baselines, and sets the calendars of people.
async fn insert_rows(transaction: &mut Transaction, model: &EntityModel, mapped: &MappedPlan) -> Result<()> {
    let rows = &mapped.rows;
    // Both sides of assignments are written: people in the tasks, and rows of assignments.
    row::set_assignment_sync(transaction, row::AssignmentSync::Off).await?;
    insert_all(transaction, model, "task", &rows.tasks).await?;
    insert_all(transaction, model, "assignment", &rows.assignments).await?;
    row::set_assignment_sync(transaction, row::AssignmentSync::On).await?;
    row::set_cycle_check(transaction, row::CycleCheck::Skip).await?;
    insert_all(transaction, model, "task_dependency", &rows.dependencies).await?;
    row::set_cycle_check(transaction, row::CycleCheck::PerRow).await?;
    insert_all(transaction, model, "baseline", &rows.baselines).await?;
    let employee = model.entity("employee")?;
    for (id, calendar) in &rows.employee_calendars {
        let values = Row::from_iter([("calendar_id".to_owned(), json!(calendar))]);
        row::update(transaction, employee, *id, &values).await?;
    }
    Ok(())
}

async fn insert_all(transaction: &mut Transaction, model: &EntityModel, entity: &str, rows: &[Row]) -> Result<()> {
    let entity = model.entity(entity)?;
    for chunk in rows.chunks(1000) {
        row::insert_many(transaction, entity, chunk).await?;
    }
    Ok(())
}

/// Builds the report; `unknown` is the number of people without an employee.
fn plan_report(plan: &ParsedPlan, mapped: &MappedPlan, unknown: usize) -> PlanReport {
    let rows = &mapped.rows;
    let count = |holds: &dyn Fn(&Row) -> bool| rows.tasks.iter().filter(|task| holds(task)).count();
    let is_set = |task: &Row, column: &str| task.get(column) == Some(&Value::Bool(true));
    let has_people = |task: &Row| {
        task.get("assignee__employee_ids").and_then(Value::as_array).is_some_and(|people| !people.is_empty())
    };
    let imported = PlanCounts {
        assigned_tasks: count(&has_people),
        assignments: rows.assignments.len(),
        baselines: rows.baselines.len(),
        calendars: rows.calendars.len(),
        exceptions: rows.exceptions.len(),
        links: rows.dependencies.len(),
        milestones: count(&|task| is_set(task, "milestone_flag")),
        resources: people_of(plan).count() - unknown,
        summaries: count(&|task| is_set(task, "summary_flag")),
        tasks: rows.tasks.len(),
    };
    let elements = |what: &str, count: usize, why: &str| SkippedElements { count, what: what.into(), why: why.into() };
    let mut skipped: Vec<SkippedElements> =
        mapped.skipped.iter().map(|((element, reason), count)| elements(element, *count, reason)).collect();
    for ((section, field), count) in &plan.unread {
        let why = match *section {
            "Task" => "this task field is not supported",
            "Resource" => "this resource field is not supported",
            "Assignment" => "this assignment field is not supported",
            _ => "this project setting is not supported",
        };
        skipped.push(elements(field, *count, why));
    }
    if unknown > 0 {
        skipped.push(elements(
            "Resource",
            unknown,
            "no employee with this name or email address is visible to you; the assignments are imported as those of a role",
        ));
    }
    PlanReport { imported: imported.clone(), left_out: skipped.clone(), skipped, taken: imported }
}

/// Returns the resources that are people: UID, name and email address.
fn people_of(plan: &ParsedPlan) -> impl Iterator<Item = (i64, &str, Option<&str>)> {
    let people = plan.file.resources.iter().filter(|resource| resource.kind == 1);
    people.filter_map(|one| Some((one.uid, one.name.as_deref()?, one.email.as_deref())))
}

/// Matches resources with employees, by email address, then by name.
///
/// Only employees that the importer may see are considered. Also returns the number of unmatched
/// resources.
async fn match_people(
    transaction: &mut Transaction,
    model: &EntityModel,
    person: PersonId,
    plan: &ParsedPlan,
) -> Result<(People, usize)> {
    let mut people = People::default();
    if people_of(plan).next().is_none() {
        return Ok((people, 0));
    }
    let employee = model.entity("employee")?;
    let employees = row::visible_employees(transaction, employee, person).await?;
    let mut id_by_key: BTreeMap<String, Uuid> = BTreeMap::new();
    for (id, name, email) in employees {
        id_by_key.entry(name.to_lowercase()).or_insert(id);
        if let Some(email) = email {
            id_by_key.insert(email.to_lowercase(), id);
        }
    }
    let mut unknown = 0;
    for (uid, name, email) in people_of(plan) {
        let email = email.and_then(|email| id_by_key.get(&email.to_lowercase()));
        match email.or_else(|| id_by_key.get(&name.to_lowercase())) {
            Some(id) => {
                people.by_uid.insert(uid, *id);
            }
            None => unknown += 1,
        }
    }
    let ids: Vec<Uuid> = people.by_uid.values().copied().collect();
    let permissions = permission::permissions_of(transaction, &[person], &employee.code, &ids).await?;
    let rows = row::by_ids(transaction, employee, &ids, row::DeletedRows::Exclude).await?;
    let may_edit = |id: &Uuid| permissions.get(&(person, *id)).is_some_and(|level| *level >= Permission::Edit);
    let without = rows.iter().filter(|row| row.get("calendar_id").is_none_or(Value::is_null));
    let ids = without.filter_map(|row| row.get("id")?.as_str()?.parse().ok());
    people.without_calendar = ids.filter(may_edit).collect();
    Ok((people, unknown))
}
