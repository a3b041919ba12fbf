//! Typed values to inputs, before they enter the outbox.

use crate::completeness::PlanState;
use crate::device_plan::DevicePlan;
use pmo_domain::{EntityCode, EntityRef, Row};
use pmo_project_plan::{
    CalendarSet, EditContext, EditError, ImpliedChange, ProjectInput, expand_dependency_patch, expand_patch,
    remove_derived,
};
use pmo_sync::{Engine, EntryState, ListKey, Operation};
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Columns of a task that are not inputs of a schedule; writes of others may move dates.
const PLAIN_TASK_COLUMNS: [&str; 8] =
    ["name", "descr", "dl__task_stage", "dl__task_priority", "tags", "metadata", "owner__employee_id", "code"];

/// Columns whose values stand for inputs of a schedule.
const TYPED_COLUMNS: [&str; 7] =
    ["start_date", "due_date", "duration_days", "duration_minutes", "completion_pct", "dl__schedule_mode", "lag_days"];

/// Patch with the inputs that its typed values stand for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Typed {
    /// Columns to write.
    pub patch: Row,
    /// Consequences to state.
    pub implied: Vec<ImpliedChange>,
    /// Values of the columns in `patch` before the edit.
    pub before: Row,
}

/// Returns a patch of a task or a dependency with the inputs that its typed values stand for.
///
/// `plan` is the plan of the project, if it is computed on this device. A patch that this device
/// cannot expand stays as it is: the server expands it.
pub fn expand_typed(
    engine: &Engine,
    plan: Option<&DevicePlan>,
    entity: &EntityRef,
    mut patch: Row,
) -> Result<Typed, EditError> {
    let shown = engine.row(entity).map(|view| view.data);
    let is_typed = shown.is_none() || TYPED_COLUMNS.iter().any(|column| patch.contains_key(*column));
    let project = id_in(&patch, "project_id").or_else(|| id_in(shown.as_deref()?, "project_id"));
    let settings = project.filter(|_| is_typed).and_then(|project| Settings::of(engine, plan, project));
    let mut implied = Vec::new();
    match (entity.code.as_str(), &settings) {
        ("task", Some(settings)) => {
            let current = plan.and_then(|plan| plan.current_dates(entity.id));
            let context = EditContext { project: Some(&settings.project), calendars: &settings.calendars, current };
            implied = expand_patch(&mut patch, shown.as_deref(), &context)?;
            // Without a computed plan, the typed dates are shown until the server has computed.
            if plan.is_some_and(|plan| *plan.state() == PlanState::Computed) {
                remove_derived(&mut patch, shown.as_deref());
            }
        }
        ("task_dependency", Some(settings)) => {
            expand_dependency_patch(&mut patch, shown.as_deref(), &settings.project.unit_sizes())?;
        }
        _ => {}
    }
    let source = engine.source_row(entity).unwrap_or_default();
    let before = patch.keys().map(|column| (column.clone(), source.get(column).cloned().unwrap_or_default())).collect();
    Ok(Typed { patch, implied, before })
}

/// Settings of a project that typed values depend on.
struct Settings {
    project: ProjectInput,
    calendars: CalendarSet,
}

impl Settings {
    /// Returns the settings from the plan or from cached rows; `None` if the device lacks them.
    fn of(engine: &Engine, plan: Option<&DevicePlan>, project: Uuid) -> Option<Self> {
        if let Some(plan) = plan.filter(|plan| plan.project().id == project && plan.input().project.id == project) {
            return Some(Self { project: plan.input().project.clone(), calendars: plan.input().calendars.clone() });
        }
        let entity = EntityRef::new(EntityCode::new("project").ok()?, project);
        let row = engine.source_row(&entity)?;
        let key = ListKey::children_of(EntityCode::new("schedule").ok()?, entity, "project_id");
        let schedule = engine.source_rows(&key)?;
        let schedule = schedule.first().and_then(|row| serde_json::from_str::<Row>(&row.text()).ok());
        let calendars = schedule.as_ref().and_then(|row| row.get("calendars")).map(CalendarSet::from_json);
        let project = ProjectInput { id: project, ..ProjectInput::from_row(&row) };
        Some(Self { project, calendars: calendars.unwrap_or_default() })
    }
}

fn id_in(row: &Row, column: &str) -> Option<Uuid> {
    row.get(column).and_then(Value::as_str).and_then(|id| id.parse().ok())
}

/// Returns the project of a task, a dependency, an assignment or a project itself, if it is known.
pub fn project_of(engine: &Engine, entity: &EntityRef) -> Option<Uuid> {
    let column_id = |entity: &EntityRef, column: &str| id_in(&*engine.source_row(entity)?, column);
    match entity.code.as_str() {
        "project" => Some(entity.id),
        "task" | "task_dependency" => column_id(entity, "project_id"),
        "assignment" => {
            let task = EntityRef::new(EntityCode::new("task").ok()?, column_id(entity, "task_id")?);
            column_id(&task, "project_id")
        }
        _ => None,
    }
}

/// Returns the projects with pending writes that may change a schedule.
pub fn projects_with_pending_inputs(engine: &Engine) -> BTreeSet<Uuid> {
    let mut projects = BTreeSet::new();
    for entry in engine.outbox().iter().filter(|entry| entry.state == EntryState::Pending) {
        let is_plain = |columns: &Row| columns.keys().all(|column| PLAIN_TASK_COLUMNS.contains(&column.as_str()));
        let values = match &entry.operation {
            Operation::Update { patch, .. } if is_plain(patch) => continue,
            Operation::Update { patch, .. } => Some(patch),
            Operation::Create { values } => Some(values),
            Operation::Delete { .. } => None,
            Operation::Link { .. } => continue,
        };
        if entry.entity.code.as_str().starts_with("task") || entry.entity.code == *"assignment" {
            projects.extend(values.and_then(|values| id_in(values, "project_id")));
            projects.extend(project_of(engine, &entry.entity).or_else(|| project_before(engine, &entry.entity)));
        } else if entry.entity.code == *"project" {
            projects.insert(entry.entity.id);
        }
    }
    projects
}

/// Returns the project of a row that is deleted locally.
fn project_before(engine: &Engine, entity: &EntityRef) -> Option<Uuid> {
    let row: Row = serde_json::from_str(engine.cached_row(entity)?.text).ok()?;
    id_in(&row, "project_id")
}
