//! Import of Microsoft Project XML (MSPDI), pure: text to validated contents, contents to rows.
//!
//! Nothing is written before the whole file has been checked.

use crate::state::EntityModel;
use pmo_domain::api_types::FieldError;
use pmo_mspdi::rows::{MAX_TASKS, PlanRows, RowContext, Skipped, to_rows};
use pmo_mspdi::{Error, File, Unread};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// Error of a file that is not a valid plan.
pub type PlanError = Error;

/// Contents of a valid file.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedPlan {
    /// Contents.
    pub file: Arc<File>,
    /// Fields that are not read.
    pub unread: Unread,
}

/// Employees that the resources of a file are.
#[derive(Clone, Debug, Default)]
pub struct People {
    /// Employee of each resource that is one, by UID.
    pub by_uid: BTreeMap<i64, Uuid>,
    /// Employees without a calendar, whose calendar the importer may set.
    pub without_calendar: BTreeSet<Uuid>,
}

/// Rows of a plan, with derived columns.
#[derive(Clone, Debug, Default)]
pub struct MappedPlan {
    /// Rows.
    pub rows: PlanRows,
    /// What the rows do not contain.
    pub skipped: Skipped,
}

/// Returns an error as that of a field of the request.
pub fn field_error(error: Error) -> FieldError {
    FieldError { field: error.location, message: error.message }
}

/// Parses and validates a plan.
pub fn parse(bytes: &[u8]) -> Result<ParsedPlan, PlanError> {
    let invalid = |message: String| Error { location: "file".into(), message };
    let text = std::str::from_utf8(bytes)
        .map_err(|_| invalid("The file is not UTF-8. Save the plan as XML in UTF-8 and try again.".into()))?;
    let mut file = pmo_mspdi::read(text)?;
    if file.tasks.len() > MAX_TASKS {
        let message = format!("The plan has more than {MAX_TASKS} tasks. Split it and import the parts.");
        return Err(Error { location: "Tasks".into(), message });
    }
    file.project.title = title(&file);
    let unread = pmo_mspdi::find_unread(text)?;
    let plan = ParsedPlan { file: Arc::new(file), unread };
    // Links that make no plan are found before a transaction begins.
    map(&plan.file, Uuid::nil(), &People::default())?;
    Ok(plan)
}

/// Returns the title: that of the file, or else the name of the project summary task.
fn title(file: &File) -> Option<String> {
    let stated = file.project.title.as_deref().map(normalize_title).filter(|title| !title.is_empty());
    stated.or_else(|| file.tasks.iter().find(|task| task.uid == 0 && !task.is_null).and_then(|task| task.name.clone()))
}

fn normalize_title(title: &str) -> String {
    let title = title.trim();
    let lower = title.to_lowercase();
    let stem = [".xml", ".mpp"]
        .iter()
        .find(|extension| lower.ends_with(**extension))
        .and_then(|extension| title.get(..title.len().saturating_sub(extension.len())))
        .unwrap_or(title);
    stem.trim().chars().filter(|ch| *ch != '\0').take(500).collect()
}

/// Maps the contents of a file to rows, without derived columns.
fn map(file: &File, project_id: Uuid, people: &People) -> Result<MappedPlan, PlanError> {
    let mut context = RowContext { project_id, new_id: &mut Uuid::now_v7, people: &people.by_uid };
    let (rows, skipped) = to_rows(file, &mut context)?;
    Ok(MappedPlan { rows, skipped })
}

/// Maps a plan to rows of a project, and computes the derived columns.
///
/// Calendars of people whose calendar the importer may not set are left out.
pub fn map_and_schedule(plan: &ParsedPlan, project_id: Uuid, people: &People) -> Result<MappedPlan, PlanError> {
    let mut mapped = map(&plan.file, project_id, people)?;
    let calendars = &mut mapped.rows.employee_calendars;
    let count = calendars.len();
    calendars.retain(|employee, _| people.without_calendar.contains(employee));
    let lost = count - calendars.len();
    if lost > 0 {
        let reason = "the person has a calendar already, or you may not change the person";
        mapped.skipped.insert(("Calendar of a person".into(), reason), lost);
    }
    mapped.rows.schedule();
    let differing = mapped.rows.count_differing_dates(&plan.file);
    if differing > 0 {
        let reason = "the dates follow from the inputs of the tasks and are not those in the file";
        mapped.skipped.insert(("Start and Finish".into(), reason), differing);
    }
    Ok(mapped)
}

/// Adds the columns whose options an administrator may rename.
pub fn add_options(mapped: &mut MappedPlan, model: &EntityModel) {
    for task in &mut mapped.rows.tasks {
        let percent = task.get("completion_pct").and_then(Value::as_f64).unwrap_or_default();
        let stage = if percent >= 100.0 {
            "Completed"
        } else if percent > 0.0 {
            "In Progress"
        } else {
            "To Do"
        };
        let priority = match task.get("leveling_priority").and_then(Value::as_i64).unwrap_or(500) {
            ..250 => "Low",
            250..=600 => "Medium",
            601..=850 => "High",
            _ => "Critical",
        };
        let stage = find_option(model, "task_stage", stage, stage == "Completed");
        task.insert("dl__task_stage".into(), json!(stage));
        task.insert("dl__task_priority".into(), json!(find_option(model, "task_priority", priority, false)));
    }
}

/// Returns an option by name.
///
/// If an administrator has renamed it, returns the first active option with the final-state flag
/// `terminal`, or else the first active option.
pub(super) fn find_option(model: &EntityModel, set: &str, name: &str, terminal: bool) -> Option<String> {
    let options = &model.datalabels.get(set)?.options;
    let mut active = options.iter().filter(|option| option.active_flag);
    let exact = active.clone().find(|option| option.name == name);
    exact
        .or_else(|| active.clone().find(|option| option.terminal_flag == terminal))
        .or_else(|| active.next())
        .map(|option| option.name.clone())
}

#[cfg(test)]
#[path = "mspdi_tests.rs"]
mod tests;
