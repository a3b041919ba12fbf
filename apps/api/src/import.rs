//! Import, of a plan or of rows of any type: read and checked as a whole first, then written in one transaction. Nothing is ever half-written.

pub mod csv; // rows from a CSV file, pure
pub mod csv_import;
pub mod mspdi; // Microsoft Project XML, pure // rows of a type, upserted by code

use crate::auth::AuthUser;
use crate::entity::{IdempotencyCheck, MutationResponse, check_idempotency_header, commit_with_response};
use crate::error::{ApiError, Result};
use crate::state::{AppState, EntityModel};
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Query, Request, State};
use axum::http::{StatusCode, header};
use mspdi::Plan;
use pmo_database::{Transaction, permission, row};
use pmo_domain::{Permission, PersonId, Row};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

/// The routes of this room.
pub fn router() -> OpenApiRouter<AppState> {
    // The limit of this route is a setting, kept while reading.
    OpenApiRouter::new()
        .routes(routes!(import_project))
        .routes(routes!(csv_import::import_rows))
        .layer(DefaultBodyLimit::disable())
}

#[derive(serde::Deserialize)]
struct ImportQuery {
    name: Option<String>,
}

/// Import a plan as a new project.
#[utoipa::path(post, path = "/project/import", tag = "import",
    request_body(content = String, content_type = "application/xml", description = "A Microsoft Project XML file, as the body or as the multipart field 'file'"),
    params(("name" = Option<String>, Query, description = "The project's name; default: what the file says"),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key gets the first answer")), responses(
    (status = 200, description = "With text/csv and dry_run: see /{entity}/import"),
    (status = 201, description = "{project, report: {taken, left_out}}; with text/csv what /{entity}/import answers", body = Object), (status = 400, description = "The body did not arrive whole"), (status = 401, description = "Not signed in"),
    (status = 403, description = "May not make projects"), (status = 413, description = "The file is too large"),
    (status = 415, description = "Another kind of file"), (status = 422, description = "The file is no usable plan; the problem says where and why")))]
async fn import_project(
    State(app): State<AppState>,
    who: AuthUser,
    Query(options): Query<ImportQuery>,
    Query(of_rows): Query<csv_import::ImportOptions>,
    request: Request,
) -> Result<MutationResponse> {
    let headers = request.headers().clone();
    if csv_import::is_csv(&headers) {
        return csv_import::import(&app, &who, "project", of_rows, request).await;
    }
    let model = app.model_for_type("project").await?;
    {
        // Whoever may not import is told before the file is read.
        let mut connection = app.pool.acquire().await.map_err(pmo_database::DatabaseError::from)?;
        check_can_import(&mut connection, &model, who.person).await?;
    }
    let bytes = read_upload(&app, request).await?;
    let (plan, bytes) =
        tokio::task::spawn_blocking(move || (mspdi::parse(&bytes), bytes)).await.map_err(|_| ApiError::Internal)?;
    let plan = plan.map_err(|bad| ApiError::UnprocessableEntity(vec![bad.into()]))?;
    let mut transaction = pmo_database::begin(&app.pool, &who.actor).await?;
    let name = options.name.unwrap_or_default();
    let key = match check_idempotency_header(&mut transaction, &who, &headers, &[b"IMPORT", name.as_bytes(), &bytes])
        .await?
    {
        IdempotencyCheck::Replay(answer) => return Ok(answer),
        IdempotencyCheck::New(key) => key,
    };
    let body = write(&mut transaction, &model, who.person, &plan, Some(name.as_str()).filter(|n| !n.trim().is_empty()))
        .await?;
    commit_with_response(transaction, &who, key, MutationResponse { status: StatusCode::CREATED, body: Some(body) })
        .await
}

async fn check_can_import(
    connection: &mut pmo_database::Connection,
    model: &EntityModel,
    person: PersonId,
) -> Result<()> {
    if permission::may_create(connection, person, &model.entity("project")?.code).await? {
        Ok(())
    } else {
        Err(ApiError::Forbidden("Importing a plan asks for the right to create projects.".into()))
    }
}

/// The file of a request: its body, or the multipart field 'file'.
async fn read_upload(app: &AppState, request: Request) -> Result<Vec<u8>> {
    let limit = app.settings.import_limit_mb * 1024 * 1024;
    let kind =
        request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_lowercase();
    let too_large =
        || ApiError::PayloadTooLarge(format!("The file is larger than {} MB.", app.settings.import_limit_mb));
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit + 4096) {
        return Err(too_large());
    }
    if kind.starts_with("multipart/form-data") {
        let (parts, body) = request.into_parts();
        let limited = Request::from_parts(parts, Body::new(limit_body(body, limit + 4096)));
        let mut form =
            Multipart::from_request(limited, app).await.map_err(|e| ApiError::bad_request("body", e.body_text()))?;
        let broken = |e: axum::extract::multipart::MultipartError| match e.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            _ => ApiError::bad_request("file", e.body_text()),
        };
        while let Some(mut field) = form.next_field().await.map_err(broken)? {
            if field.name() != Some("file") {
                continue;
            }
            let mut bytes = Vec::new();
            while let Some(chunk) = field.chunk().await.map_err(broken)? {
                if bytes.len() + chunk.len() > limit {
                    return Err(too_large());
                }
                bytes.extend_from_slice(&chunk);
            }
            return Ok(bytes);
        }
        return Err(ApiError::unprocessable("file", "is needed: the plan as a multipart field of that name"));
    }
    if !["application/xml", "text/xml", "text/csv", "application/octet-stream"].iter().any(|k| kind.starts_with(k)) {
        return Err(ApiError::UnsupportedMediaType(
            "Send Microsoft Project XML, with Content-Type: application/xml, or CSV, with text/csv.".into(),
        ));
    }
    crate::extract::read(request.into_body(), limit).await.map(|b| b.to_vec()).map_err(|error| match error {
        ApiError::PayloadTooLarge(_) => too_large(),
        other => other,
    })
}

fn limit_body(body: Body, limit: usize) -> http_body_util::Limited<Body> {
    http_body_util::Limited::new(body, limit)
}

/// Writes a plan as a new project owned by `person`, and answers the row and the report.
pub async fn write(
    transaction: &mut Transaction,
    model: &EntityModel,
    person: PersonId,
    plan: &Plan,
    name: Option<&str>,
) -> Result<Value> {
    check_can_import(transaction, model, person).await?;
    let (project, task, dependency) =
        (model.entity("project")?, model.entity("task")?, model.entity("task_dependency")?);
    let title = name.map(str::trim).or(plan.title.as_deref()).filter(|t| !t.is_empty()).unwrap_or("Imported plan");
    let title: String = title.chars().filter(|c| *c != '\0').take(500).collect();
    let mut values = Row::new();
    values.insert("name".into(), json!(title));
    let earliest = plan.tasks.iter().filter_map(|t| t.start).min().or(plan.start);
    let latest = plan.tasks.iter().filter_map(|t| t.finish).max().or(plan.finish);
    values.insert("planned_start_date".into(), json!(earliest.map(|d| d.to_string())));
    values.insert("planned_end_date".into(), json!(latest.map(|d| d.to_string())));
    values.insert("completion_pct".into(), json!(overall_percent(plan)));
    let stage = if plan.tasks.iter().any(|t| t.percent > 0.0) { "Execution" } else { "Planning" };
    values.insert("dl__project_stage".into(), json!(find_option(model, "project_stage", stage, false)));
    let id = row::insert(transaction, project, &values).await?;
    permission::grant_owner(transaction, person, &project.code, id).await?;

    let (assignees, unknown) = match_people(transaction, model, person, plan).await?;
    let ids: Vec<Uuid> = plan.tasks.iter().map(|_| Uuid::now_v7()).collect();
    let rows = task_rows(model, plan, id, &ids, &assignees);
    for chunk in rows.chunks(1000) {
        row::insert_many(transaction, task, chunk).await?;
    }
    row::skip_cycle_check(transaction, true).await?;
    let links: Vec<Row> = plan.links.iter().map(|link| link_row(plan, id, &ids, link)).collect();
    for chunk in links.chunks(1000) {
        row::insert_many(transaction, dependency, chunk).await?;
    }
    row::skip_cycle_check(transaction, false).await?;

    let mut row = row::by_id(transaction, project, id, false).await?.ok_or(ApiError::Internal)?;
    row.insert("permission".into(), json!(Permission::Owner));
    let mut left_out: Vec<Value> =
        plan.skipped.iter().map(|((what, why), count)| json!({"what": what, "count": count, "why": why})).collect();
    if unknown > 0 {
        left_out.push(json!({"what": "Resource", "count": unknown, "why": "no employee of that name or address is known to you; add them and assign by hand"}));
    }
    let assigned: usize = assignees.iter().filter(|a| !a.is_empty()).count();
    Ok(json!({"project": row, "report": {
        "taken": {
            "tasks": plan.tasks.len(),
            "summaries": plan.tasks.iter().filter(|t| t.summary).count(),
            "milestones": plan.tasks.iter().filter(|t| t.milestone).count(),
            "links": plan.links.len(),
            "resources": plan.resources.len() - unknown,
            "assigned_tasks": assigned,
        },
        "left_out": left_out,
    }}))
}

/// Done work over planned work, by length.
fn overall_percent(plan: &Plan) -> f64 {
    let work = || plan.tasks.iter().filter(|t| !t.summary && !t.milestone);
    let all: f64 = work().map(|t| t.days).sum();
    let done: f64 = work().map(|t| t.days * t.percent / 100.0).sum();
    if all > 0.0 { (done / all * 1000.0).round() / 10.0 } else { 0.0 }
}

/// Employees by task, matched by address, then by name, among those that the importer may see; and how many people matched none.
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
    let known = row::visible_employees(transaction, employee, person).await?;
    let mut by_key: BTreeMap<String, Uuid> = BTreeMap::new();
    for (id, name, email) in known {
        by_key.entry(name.to_lowercase()).or_insert(id);
        if let Some(email) = email {
            by_key.insert(email.to_lowercase(), id);
        }
    }
    let mut unknown = 0;
    for resource in &plan.resources {
        let email = resource.email.as_ref().and_then(|e| by_key.get(&e.to_lowercase()));
        match email.or_else(|| by_key.get(&resource.name.to_lowercase())) {
            Some(id) => resource.tasks.iter().for_each(|t| assignees[*t].push(*id)),
            None => unknown += 1,
        }
    }
    Ok((assignees, unknown))
}

/// An option by its name; where an administrator calls it otherwise, the first that ends, or the first that doesn't.
fn find_option(model: &EntityModel, set: &str, name: &str, ends: bool) -> Option<String> {
    let options = &model.datalabels.get(set)?.options;
    let mut active = options.iter().filter(|o| o.active_flag);
    let exact = active.clone().find(|o| o.name == name);
    exact.or_else(|| active.clone().find(|o| o.terminal_flag == ends)).or_else(|| active.next()).map(|o| o.name.clone())
}

fn task_rows(model: &EntityModel, plan: &Plan, project: Uuid, ids: &[Uuid], assignees: &[Vec<Uuid>]) -> Vec<Row> {
    let mut children: BTreeMap<Option<usize>, u64> = BTreeMap::new();
    let mut numbers: Vec<String> = Vec::with_capacity(plan.tasks.len());
    plan.tasks
        .iter()
        .enumerate()
        .map(|(index, task)| {
            let place = children.entry(task.parent).or_default();
            *place += 1;
            let wbs = match (task.wbs.as_str(), task.parent) {
                ("", Some(parent)) => format!("{}.{place}", numbers[parent]),
                ("", None) => place.to_string(),
                (wbs, _) => wbs.to_owned(),
            };
            numbers.push(wbs.clone());
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
            let date = |d: Option<jiff::civil::Date>| json!(d.map(|d| d.to_string()));
            let row = json!({
                "id": ids[index], "name": task.name, "descr": task.notes, "project_id": project,
                "parent__task_id": task.parent.map(|p| ids[p]), "wbs": wbs, "rank": sibling_rank(*place),
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

/// The rank of the n-th sibling, as app.rank_after counts: base 36, six digits, steps of 36².
fn sibling_rank(n: u64) -> String {
    let mut n = n * 1296;
    let mut digits = [b'0'; 6];
    for slot in digits.iter_mut().rev() {
        *slot = b"0123456789abcdefghijklmnopqrstuvwxyz"[(n % 36) as usize];
        n /= 36;
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
