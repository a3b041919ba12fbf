//! Import of a plan or of rows of any type.
//!
//! Invariant: a file is parsed and validated completely, then written in one transaction; nothing
//! is written partially.

pub mod csv; // CSV parsing, pure
pub mod csv_import; // import of rows, upserted by code
pub mod mspdi; // Microsoft Project XML parsing, pure
mod references; // references in cells
mod upload; // file of a request

use crate::auth::AuthUser;
use crate::entity::{IdempotencyCheck, MutationResponse, check_idempotency_header, commit_with_response};
use crate::error::{ApiError, Result};
use crate::openapi::{RowSchema, Unauthorized};
use crate::state::{AppState, EntityModel};
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::StatusCode;
use mspdi::Plan;
use pmo_database::{Transaction, permission, row};
use pmo_domain::{Permission, PersonId, Row};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
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
    let plan = plan.map_err(|error| ApiError::UnprocessableEntity(vec![error.into()]))?;
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
        "imported": {"tasks": 12, "summaries": 3, "milestones": 2, "links": 9, "resources": 4, "assigned_tasks": 8},
        "skipped": [{"what": "Calendar", "count": 1, "why": "calendars are not imported; their working days determine durations"}],
        "taken": {"tasks": 12, "summaries": 3, "milestones": 2, "links": 9, "resources": 4, "assigned_tasks": 8},
        "left_out": [{"what": "Calendar", "count": 1, "why": "calendars are not imported; their working days determine durations"}]
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
    plan: &Plan,
    name: Option<&str>,
) -> Result<ImportedPlan> {
    check_can_import(transaction, model, person).await?;
    let (project, task, dependency) =
        (model.entity("project")?, model.entity("task")?, model.entity("task_dependency")?);
    let id = row::insert(transaction, project, &project_row(model, plan, name)).await?;
    permission::grant_owner(transaction, person, &project.code, id).await?;

    let (assignees, unknown) = match_people(transaction, model, person, plan).await?;
    let ids: Vec<Uuid> = plan.tasks.iter().map(|_| Uuid::now_v7()).collect();
    let rows = task_rows(model, plan, id, &ids, &assignees);
    for chunk in rows.chunks(1000) {
        row::insert_many(transaction, task, chunk).await?;
    }
    row::set_cycle_check(transaction, row::CycleCheck::Skip).await?;
    // Two links with the same ends and type would violate the unique index; the first is kept.
    let mut connected = BTreeSet::new();
    let is_first = |link: &&mspdi::PlanLink| connected.insert((link.predecessor, link.successor, link.kind));
    let links: Vec<Row> = plan.links.iter().filter(is_first).map(|link| link_row(plan, id, &ids, link)).collect();
    for chunk in links.chunks(1000) {
        row::insert_many(transaction, dependency, chunk).await?;
    }
    row::set_cycle_check(transaction, row::CycleCheck::PerRow).await?;

    let mut project =
        row::by_id(transaction, project, id, row::DeletedRows::Exclude).await?.ok_or(ApiError::Internal)?;
    project.insert("permission".into(), json!(Permission::Owner));
    let assigned_tasks = assignees.iter().filter(|ids| !ids.is_empty()).count();
    Ok(ImportedPlan { project, report: plan_report(plan, unknown, assigned_tasks) })
}

/// Builds the report; `unknown` is the number of people without an employee.
fn plan_report(plan: &Plan, unknown: usize, assigned_tasks: usize) -> PlanReport {
    let imported = PlanCounts {
        assigned_tasks,
        links: plan.links.len(),
        milestones: plan.tasks.iter().filter(|t| t.milestone).count(),
        resources: plan.resources.len() - unknown,
        summaries: plan.tasks.iter().filter(|t| t.summary).count(),
        tasks: plan.tasks.len(),
    };
    let elements = |what: &str, count: usize, why: &str| SkippedElements { count, what: what.into(), why: why.into() };
    let mut skipped: Vec<SkippedElements> =
        plan.skipped.iter().map(|((element, reason), count)| elements(element, *count, reason)).collect();
    if unknown > 0 {
        skipped.push(elements(
            "Resource",
            unknown,
            "no employee with this name or email address is visible to you; add the employee and assign the tasks manually",
        ));
    }
    PlanReport { imported: imported.clone(), left_out: skipped.clone(), skipped, taken: imported }
}

/// Returns the columns of the new project; `name` replaces the title of the plan.
fn project_row(model: &EntityModel, plan: &Plan, name: Option<&str>) -> Row {
    let title = name.map(str::trim).or(plan.title.as_deref()).filter(|t| !t.is_empty()).unwrap_or("Imported plan");
    let title: String = title.chars().filter(|c| *c != '\0').take(500).collect();
    let mut values = Row::new();
    values.insert("name".into(), json!(title));
    let earliest = plan.tasks.iter().filter_map(|t| t.start).min().or(plan.start);
    let latest = plan.tasks.iter().filter_map(|t| t.finish).max().or(plan.finish);
    values.insert("planned_start_date".into(), json!(earliest.map(|date| date.to_string())));
    values.insert("planned_end_date".into(), json!(latest.map(|date| date.to_string())));
    values.insert("completion_pct".into(), json!(overall_percent(plan)));
    let stage = if plan.tasks.iter().any(|t| t.percent > 0.0) { "Execution" } else { "Planning" };
    values.insert("dl__project_stage".into(), json!(find_option(model, "project_stage", stage, false)));
    values
}

/// Returns the completion of the plan in percent, weighted by task duration.
fn overall_percent(plan: &Plan) -> f64 {
    let work = || plan.tasks.iter().filter(|t| !t.summary && !t.milestone);
    let total: f64 = work().map(|t| t.days).sum();
    let done: f64 = work().map(|t| t.days * t.percent / 100.0).sum();
    if total > 0.0 { (done / total * 1000.0).round() / 10.0 } else { 0.0 }
}

/// Matches resources with employees, by email address, then by name.
///
/// Only employees that the importer may see are considered. Returns the employee ids per task, and
/// the number of unmatched resources.
async fn match_people(
    transaction: &mut Transaction,
    model: &EntityModel,
    person: PersonId,
    plan: &Plan,
) -> Result<(Vec<Vec<Uuid>>, usize)> {
    let mut assignees = vec![Vec::new(); plan.tasks.len()];
    if plan.resources.is_empty() {
        return Ok((assignees, 0));
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
    for resource in &plan.resources {
        let email = resource.email.as_ref().and_then(|e| id_by_key.get(&e.to_lowercase()));
        match email.or_else(|| id_by_key.get(&resource.name.to_lowercase())) {
            Some(id) => resource.tasks.iter().for_each(|t| assignees[*t].push(*id)),
            None => unknown += 1,
        }
    }
    Ok((assignees, unknown))
}

/// Returns an option by name.
///
/// If an administrator has renamed it, returns the first active option with the final-state flag
/// `terminal`, or else the first active option.
fn find_option(model: &EntityModel, set: &str, name: &str, terminal: bool) -> Option<String> {
    let options = &model.datalabels.get(set)?.options;
    let mut active = options.iter().filter(|option| option.active_flag);
    let exact = active.clone().find(|option| option.name == name);
    exact
        .or_else(|| active.clone().find(|option| option.terminal_flag == terminal))
        .or_else(|| active.next())
        .map(|option| option.name.clone())
}

fn task_rows(model: &EntityModel, plan: &Plan, project: Uuid, ids: &[Uuid], assignees: &[Vec<Uuid>]) -> Vec<Row> {
    let mut children: BTreeMap<Option<usize>, u64> = BTreeMap::new();
    let mut outline_numbers: Vec<String> = Vec::with_capacity(plan.tasks.len());
    plan.tasks
        .iter()
        .enumerate()
        .map(|(index, task)| {
            let position = children.entry(task.parent).or_default();
            *position += 1;
            let wbs = match (task.wbs.as_str(), task.parent) {
                ("", Some(parent)) => format!("{}.{position}", outline_numbers[parent]),
                ("", None) => position.to_string(),
                (wbs, _) => wbs.to_owned(),
            };
            outline_numbers.push(wbs.clone());
            let stage = if task.percent >= 100.0 {
                "Completed"
            } else if task.percent > 0.0 {
                "In Progress"
            } else {
                "To Do"
            };
            let priority = match task.priority {
                ..250 => "Low",
                250..=600 => "Medium",
                601..=850 => "High",
                _ => "Critical",
            };
            let date = |day: Option<jiff::civil::Date>| json!(day.map(|day| day.to_string()));
            let row = json!({
                "id": ids[index], "name": task.name, "descr": task.notes, "project_id": project,
                "parent__task_id": task.parent.map(|parent| ids[parent]), "wbs": wbs, "rank": sibling_rank(*position),
                "start_date": date(task.start), "due_date": date(task.finish), "duration_days": task.days,
                "actual_start_date": date(task.actual_start.filter(|_| task.percent > 0.0)),
                "actual_end_date": date(task.actual_finish.filter(|_| task.percent >= 100.0)),
                "completion_pct": task.percent, "estimated_hours": task.work_hours, "actual_hours": task.actual_hours,
                "milestone_flag": task.milestone, "dl__task_stage": find_option(model, "task_stage", stage, stage == "Completed"), "dl__task_priority": find_option(model, "task_priority", priority, false),
                "assignee__employee_ids": assignees[index], "metadata": {"mspdi_uid": task.uid},
                "active_flag": true, "from_ts": jiff::Timestamp::now().to_string(),
            });
            if let Value::Object(row) = row { row } else { Row::new() }
        })
        .collect()
}

/// Returns the rank of the n-th sibling, in the format of `app.fractional_index_after`.
///
/// Ranks are base 36 numbers of six digits, in steps of 36².
fn sibling_rank(number: u64) -> String {
    let mut number = number * 1296;
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdefghijklmnopqrstuvwxyz"[(number % 36) as usize];
        number /= 36;
    }
    String::from_utf8_lossy(&digits).into_owned()
}

fn link_row(plan: &Plan, project: Uuid, ids: &[Uuid], link: &mspdi::PlanLink) -> Row {
    let name = format!("{} → {}", plan.tasks[link.predecessor].name, plan.tasks[link.successor].name);
    let row = json!({
        "name": name.chars().take(500).collect::<String>(), "project_id": project, "predecessor__task_id": ids[link.predecessor],
        "successor__task_id": ids[link.successor], "lag_days": link.lag_days, "dl__dependency_type": link.kind,
        "metadata": {}, "active_flag": true, "from_ts": jiff::Timestamp::now().to_string(), "id": Uuid::now_v7(),
    });
    if let Value::Object(row) = row { row } else { Row::new() }
}
