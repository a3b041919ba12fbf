//! Conversion of a project into a plan: tasks in outline order, dependencies and assignments.
//!
//! Contains only what the user may see.

use super::context::ExportContext;
use crate::error::{ApiError, Result};
use crate::import::mspdi::{Plan, PlanLink, PlanResource, PlanTask};
use crate::state::EntityModel;
use jiff::civil::Date;
use pmo_database::row_cache::RowCache;
use pmo_database::visibility::ReadContext;
use pmo_database::{Connection, DatabaseError, list, permission, row};
use pmo_domain::api_types::MAX_PAGE_SIZE;
use pmo_domain::query::ListQuery;
use pmo_domain::{EntityType, PersonId, Row};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// Loads a project with its tasks, dependencies and assignees.
pub async fn load_plan(context: &ExportContext<'_>, person: PersonId, id: Uuid) -> Result<Plan> {
    let ExportContext { pool, visibility_cache, row_cache, model } = *context;
    let (project, task, link) = (model.entity("project")?, model.entity("task")?, model.entity("task_dependency")?);
    let mut connection = pmo_database::begin_snapshot_read(pool).await?;
    let mut reader = visibility_cache.begin_read(&mut connection, person).await?;
    permission::permission_on(&mut connection, person, &project.code, id).await?.ok_or(ApiError::NotFound)?;
    let project_row =
        row::by_id(&mut connection, project, id, row::DeletedRows::Exclude).await?.ok_or(ApiError::NotFound)?;
    let (tasks, people) = load_children(&mut connection, &mut reader, row_cache, model, task, id).await?;
    let (links, _) = load_children(&mut connection, &mut reader, row_cache, model, link, id).await?;
    connection.commit().await.map_err(DatabaseError::from)?;
    Ok(build_plan(&project_row, &tasks, &links, &people))
}

/// Loads all rows of a type that are children of the project.
///
/// Also returns the names of the employees that they reference.
async fn load_children(
    conn: &mut Connection,
    reader: &mut ReadContext<'_>,
    row_cache: &RowCache,
    model: &EntityModel,
    entity: &EntityType,
    project: Uuid,
) -> Result<(Vec<Row>, BTreeMap<Uuid, String>)> {
    let parent = model.entity("project")?;
    let relation = model.catalog.child_relation("project", entity.code.as_str()).ok_or(ApiError::Internal)?;
    let parent_filter = list::ParentFilter { parent_code: &parent.code, parent_id: project, relation };
    let mut query = ListQuery { limit: MAX_PAGE_SIZE, ..ListQuery::default() };
    let (mut rows, mut people) = (Vec::new(), BTreeMap::new());
    loop {
        let page = list::fetch_page(conn, reader, row_cache, entity, &query, Some(&parent_filter)).await?;
        let names = row::reference_names(conn, reader, entity, &page.referenced_ids).await?;
        people.extend(names.get("employee").into_iter().flatten().map(|(id, name)| (*id, name.clone())));
        for entry in &page.rows {
            rows.push(serde_json::from_str::<Row>(entry.row.json.get()).map_err(|_| ApiError::Internal)?);
        }
        let Some(next) = page.next_cursor else { return Ok((rows, people)) };
        query.cursor = Some(next);
    }
}

fn text_field<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

fn id_field(row: &Row, column: &str) -> Option<Uuid> {
    text_field(row, column).parse().ok()
}

fn date_field(row: &Row, column: &str) -> Option<Date> {
    text_field(row, column).parse().ok()
}

fn number_field(row: &Row, column: &str) -> Option<f64> {
    row.get(column).and_then(Value::as_f64)
}

/// Builds a plan from rows. Pure.
///
/// A task becomes a top-level task if its parent is not among `tasks`; a dependency with a missing
/// end is left out.
pub fn build_plan(project: &Row, tasks: &[Row], links: &[Row], people: &BTreeMap<Uuid, String>) -> Plan {
    let tasks_by_id: HashMap<Uuid, &Row> = tasks.iter().filter_map(|row| Some((id_field(row, "id")?, row))).collect();
    let mut children: HashMap<Option<Uuid>, Vec<(&Row, Uuid)>> = HashMap::new();
    for (task_id, row) in &tasks_by_id {
        let parent =
            id_field(row, "parent__task_id").filter(|parent| tasks_by_id.contains_key(parent) && parent != task_id);
        children.entry(parent).or_default().push((row, *task_id));
    }
    for siblings in children.values_mut() {
        siblings.sort_by(|(a, x), (b, y)| (text_field(a, "rank"), x).cmp(&(text_field(b, "rank"), y)));
    }
    let mut plan = Plan {
        title: Some(text_field(project, "name").to_owned()),
        start: date_field(project, "planned_start_date"),
        finish: date_field(project, "planned_end_date"),
        ..Plan::default()
    };
    let mut index_by_id: HashMap<Uuid, usize> = HashMap::new();
    let mut stack: Vec<(Uuid, &Row, Option<usize>)> =
        children.get(&None).into_iter().flatten().rev().map(|(row, id)| (*id, *row, None)).collect();
    while let Some((task_id, row, parent)) = stack.pop() {
        let index = plan.tasks.len();
        index_by_id.insert(task_id, index);
        let child_tasks = children.get(&Some(task_id));
        plan.tasks.push(task(row, index, parent, child_tasks.is_some()));
        stack.extend(child_tasks.into_iter().flatten().rev().map(|(row, id)| (*id, *row, Some(index))));
    }
    plan.links = plan_links(links, &index_by_id);
    plan.resources = plan_resources(&tasks_by_id, &index_by_id, people);
    plan
}

fn plan_links(links: &[Row], index_by_id: &HashMap<Uuid, usize>) -> Vec<PlanLink> {
    let mut plan_links = Vec::new();
    for row in links {
        let ends = id_field(row, "predecessor__task_id").zip(id_field(row, "successor__task_id"));
        let Some((Some(&predecessor), Some(&successor))) =
            ends.map(|(a, b)| (index_by_id.get(&a), index_by_id.get(&b)))
        else {
            continue;
        };
        let kind = ["FS", "SS", "FF", "SF"]
            .into_iter()
            .find(|kind| *kind == text_field(row, "dl__dependency_type"))
            .unwrap_or("FS");
        let lag_days = number_field(row, "lag_days").unwrap_or_default();
        plan_links.push(PlanLink { predecessor, successor, kind, lag_days });
    }
    plan_links.sort_by_key(|link| (link.successor, link.predecessor));
    plan_links
}

/// Returns the assignees of the tasks; people that the user may not see have no name in `people`.
fn plan_resources(
    tasks_by_id: &HashMap<Uuid, &Row>,
    index_by_id: &HashMap<Uuid, usize>,
    people: &BTreeMap<Uuid, String>,
) -> Vec<PlanResource> {
    let mut tasks_by_person: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
    for (task_id, row) in tasks_by_id {
        for person in row.get("assignee__employee_ids").and_then(Value::as_array).into_iter().flatten() {
            if let (Some(person), Some(index)) =
                (person.as_str().and_then(|id| id.parse().ok()), index_by_id.get(task_id))
            {
                tasks_by_person.entry(person).or_default().push(*index);
            }
        }
    }
    let resource = |(person, mut tasks): (Uuid, Vec<usize>)| {
        let name = people.get(&person)?.clone();
        tasks.sort_unstable();
        Some(PlanResource { name, email: None, tasks })
    };
    tasks_by_person.into_iter().filter_map(resource).collect()
}

/// Derives the duration of a task, in working days, from its dates.
///
/// Returns 0 for a milestone. If a date is missing, returns 1, the default of Microsoft Project.
fn working_days(row: &Row) -> f64 {
    if row.get("milestone_flag") == Some(&Value::Bool(true)) {
        return 0.0;
    }
    let (Some(start), Some(finish)) = (date_field(row, "start_date"), date_field(row, "due_date")) else { return 1.0 };
    let is_working_day = |day: &jiff::civil::Date| {
        !matches!(day.weekday(), jiff::civil::Weekday::Saturday | jiff::civil::Weekday::Sunday)
    };
    let days = start.series(jiff::Span::new().days(1)).take_while(|day| *day <= finish).take(20_000);
    f64::from(u32::try_from(days.filter(is_working_day).count()).unwrap_or(u32::MAX))
}

fn task(row: &Row, index: usize, parent: Option<usize>, summary: bool) -> PlanTask {
    let percent = number_field(row, "completion_pct").unwrap_or_default();
    PlanTask {
        uid: i64::try_from(index).unwrap_or(i64::MAX) + 1,
        parent,
        name: text_field(row, "name").to_owned(),
        notes: Some(text_field(row, "descr").to_owned()).filter(|notes| !notes.is_empty()),
        wbs: text_field(row, "wbs").to_owned(),
        start: date_field(row, "start_date"),
        finish: date_field(row, "due_date"),
        days: number_field(row, "duration_days").unwrap_or_else(|| working_days(row)),
        actual_start: date_field(row, "actual_start_date"),
        actual_finish: date_field(row, "actual_end_date"),
        percent,
        milestone: row.get("milestone_flag") == Some(&Value::Bool(true)),
        summary,
        priority: match text_field(row, "dl__task_priority") {
            "Low" => 100,
            "High" => 700,
            "Critical" => 1000,
            _ => 500,
        },
        work_hours: number_field(row, "estimated_hours"),
        actual_hours: number_field(row, "actual_hours"),
    }
}
