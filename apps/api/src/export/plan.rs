//! A project as a plan: its tasks in outline order, what waits for what, who does what; as far as its reader may see them.

use super::ExportContext;
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

/// A project with its tasks, links and people.
pub async fn load_plan(kept: &ExportContext<'_>, person: PersonId, id: Uuid) -> Result<Plan> {
    let ExportContext { pool, memory, texts, model } = *kept;
    let (project, task, link) = (model.entity("project")?, model.entity("task")?, model.entity("task_dependency")?);
    let mut connection = pmo_database::begin_snapshot_read(pool).await?;
    let mut reader = memory.begin_read(&mut connection, person).await?;
    permission::permission_on(&mut connection, person, &project.code, id).await?.ok_or(ApiError::NotFound)?;
    let itself = row::by_id(&mut connection, project, id, false).await?.ok_or(ApiError::NotFound)?;
    let (tasks, people) = load_children(&mut connection, &mut reader, texts, model, task, id).await?;
    let (links, _) = load_children(&mut connection, &mut reader, texts, model, link, id).await?;
    connection.commit().await.map_err(DatabaseError::from)?;
    Ok(plan(&itself, &tasks, &links, &people))
}

/// All rows of a type below a project, and the names of the people in them.
async fn load_children(
    c: &mut Connection,
    reader: &mut ReadContext<'_>,
    texts: &RowCache,
    model: &EntityModel,
    entity: &EntityType,
    project: Uuid,
) -> Result<(Vec<Row>, BTreeMap<Uuid, String>)> {
    let above = model.entity("project")?;
    let tie = model.catalogue.child_relation("project", entity.code.as_str()).ok_or(ApiError::Internal)?;
    let place = list::ParentFilter { parent_code: &above.code, parent_id: project, tie };
    let mut query = ListQuery { limit: MAX_PAGE_SIZE, ..ListQuery::default() };
    let (mut rows, mut people) = (Vec::new(), BTreeMap::new());
    loop {
        let page = list::fetch_page(c, reader, texts, entity, &query, Some(&place)).await?;
        let names = row::reference_names(c, reader, entity, &page.referenced_ids).await?;
        people.extend(names.get("employee").into_iter().flatten().map(|(id, name)| (*id, name.clone())));
        for listed in &page.rows {
            rows.push(serde_json::from_str::<Row>(listed.row.json.get()).map_err(|_| ApiError::Internal)?);
        }
        let Some(next) = page.next_cursor else { return Ok((rows, people)) };
        query.cursor = Some(next);
    }
}

fn text_field<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

fn id(row: &Row, column: &str) -> Option<Uuid> {
    text_field(row, column).parse().ok()
}

fn date_field(row: &Row, column: &str) -> Option<Date> {
    text_field(row, column).parse().ok()
}

fn number_field(row: &Row, column: &str) -> Option<f64> {
    row.get(column).and_then(Value::as_f64)
}

/// Rows as a plan. Pure: a task whose parent is not among them stands at the top; a link one of whose ends is not is left out.
pub fn plan(project: &Row, tasks: &[Row], links: &[Row], people: &BTreeMap<Uuid, String>) -> Plan {
    let present: HashMap<Uuid, &Row> = tasks.iter().filter_map(|row| Some((id(row, "id")?, row))).collect();
    let mut children: HashMap<Option<Uuid>, Vec<(&Row, Uuid)>> = HashMap::new();
    for (own, row) in &present {
        let parent = id(row, "parent__task_id").filter(|p| present.contains_key(p) && p != own);
        children.entry(parent).or_default().push((row, *own));
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
    let mut place: HashMap<Uuid, usize> = HashMap::new();
    let mut stack: Vec<(Uuid, &Row, Option<usize>)> =
        children.get(&None).into_iter().flatten().rev().map(|(row, id)| (*id, *row, None)).collect();
    while let Some((own, row, parent)) = stack.pop() {
        let index = plan.tasks.len();
        place.insert(own, index);
        let below = children.get(&Some(own));
        plan.tasks.push(task(row, index, parent, below.is_some()));
        stack.extend(below.into_iter().flatten().rev().map(|(row, id)| (*id, *row, Some(index))));
    }
    for row in links {
        let ends = id(row, "predecessor__task_id").zip(id(row, "successor__task_id"));
        let Some((Some(&predecessor), Some(&successor))) = ends.map(|(a, b)| (place.get(&a), place.get(&b))) else {
            continue;
        };
        let kind = ["FS", "SS", "FF", "SF"]
            .into_iter()
            .find(|kind| *kind == text_field(row, "dl__dependency_type"))
            .unwrap_or("FS");
        plan.links.push(PlanLink {
            predecessor,
            successor,
            kind,
            lag_days: number_field(row, "lag_days").unwrap_or_default(),
        });
    }
    plan.links.sort_by_key(|link| (link.successor, link.predecessor));
    let mut work: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
    for (own, row) in &present {
        for person in row.get("assignee__employee_ids").and_then(Value::as_array).into_iter().flatten() {
            if let (Some(person), Some(index)) = (person.as_str().and_then(|id| id.parse().ok()), place.get(own)) {
                work.entry(person).or_default().push(*index);
            }
        }
    }
    for (person, mut tasks) in work {
        // Whom the reader may not see goes nowhere.
        let Some(name) = people.get(&person) else { continue };
        tasks.sort_unstable();
        plan.resources.push(PlanResource { name: name.clone(), email: None, tasks });
    }
    plan
}

/// Working days of a task that says none: those between its dates; where it has none of both, one, as Microsoft Project begins with.
fn working_days(row: &Row) -> f64 {
    if row.get("milestone_flag") == Some(&Value::Bool(true)) {
        return 0.0;
    }
    let (Some(start), Some(finish)) = (date_field(row, "start_date"), date_field(row, "due_date")) else { return 1.0 };
    let works = |day: &jiff::civil::Date| {
        !matches!(day.weekday(), jiff::civil::Weekday::Saturday | jiff::civil::Weekday::Sunday)
    };
    let days = start.series(jiff::Span::new().days(1)).take_while(|day| *day <= finish).take(20_000);
    f64::from(u32::try_from(days.filter(works).count()).unwrap_or(u32::MAX))
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
