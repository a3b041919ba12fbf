//! Inputs of schedules in writes: typed values become inputs, and structured values are checked.
//!
//! The only module of the write path that knows entity types. Rules: decision record 0056.
//!
//! Must not: compute dates. The schedule worker does, after the write.

use super::write_context::WriteContext;
use crate::error::{ApiError, Result};
use pmo_database::schedule;
use pmo_domain::api_types::row_version;
use pmo_domain::{EntityType, Row};
use pmo_project_plan::{CalendarDefinition, CalendarSet, EditContext, EditError, ProjectInput};
use serde_json::Value;
use uuid::Uuid;

/// Columns of a task whose typed values stand for inputs.
const TYPED_TASK_COLUMNS: [&str; 6] =
    ["start_date", "due_date", "duration_days", "duration_minutes", "completion_pct", "dl__schedule_mode"];
/// Maximum number of parts of a split task.
const MAX_SEGMENTS: usize = 1_000;
/// Maximum number of working ranges of a day.
const MAX_RANGES: usize = 24;
/// Maximum number of weeks that differ from the usual one.
const MAX_WORK_WEEKS: usize = 1_000;

/// Returns whether a write that is based on `version` may change `current`.
///
/// A version from `input_version` on is accepted: later ones only have other computed values.
pub(super) fn is_current_version(current: &Row, version: i64) -> bool {
    let latest = row_version(current).0;
    let oldest = current.get("input_version").and_then(Value::as_i64).unwrap_or(latest);
    (oldest.min(latest)..=latest).contains(&version)
}

/// Adds to a write the inputs that its typed values stand for, and checks structured values.
///
/// Fails with 422 if a value is not possible, for example the finish of a summary.
pub(super) async fn prepare_values(
    context: &mut WriteContext<'_>,
    entity: &EntityType,
    values: &mut Row,
    current: Option<&Row>,
) -> Result<()> {
    check_structure(values, entity)?;
    match entity.code.as_str() {
        "task" => expand_task(context, values, current).await,
        "task_dependency" => expand_dependency(context, values, current).await,
        _ => Ok(()),
    }
}

/// Removes the computed columns of a scheduled task from values of an earlier version.
pub(crate) fn without_derived(entity: &EntityType, values: &mut Row, current: &Row) {
    if entity.code.as_str() == "task" {
        pmo_project_plan::remove_derived(values, Some(current));
    }
}

async fn expand_task(context: &mut WriteContext<'_>, values: &mut Row, current: Option<&Row>) -> Result<()> {
    let is_typed = values.keys().any(|name| TYPED_TASK_COLUMNS.contains(&name.as_str()));
    let id_in = |row: Option<&Row>, column: &str| row?.get(column)?.as_str()?.parse::<Uuid>().ok();
    let of = |column: &str| match values.get(column) {
        Some(_) => id_in(Some(values), column),
        None => id_in(current, column),
    };
    let (project, calendar) = (of("project_id"), of("calendar_id"));
    // A new task may become manual, as new tasks of its project are.
    if !is_typed && (current.is_some() || project.is_none()) {
        return Ok(());
    }
    let rows = match project {
        Some(project) => schedule::load_project_settings(context.conn, project, calendar).await?,
        None => None,
    };
    let (project, calendars) = match rows {
        Some(rows) => {
            let definition =
                |one: &schedule::CalendarRows| (one.id, CalendarDefinition::from_rows(&one.calendar, &one.exceptions));
            let calendars = rows.calendars.iter().map(definition).collect();
            let project: ProjectInput = serde_json::from_str(&rows.project).map_err(|_| ApiError::Internal)?;
            (Some(project), CalendarSet { calendars, ..CalendarSet::default() })
        }
        None => (None, CalendarSet::default()),
    };
    let edit_context = EditContext { project: project.as_ref(), calendars: &calendars, current: None };
    pmo_project_plan::expand_patch(values, current, &edit_context).map(drop).map_err(edit_error)
}

/// Turns a lag in days into minutes; without a known project, the database does.
async fn expand_dependency(context: &mut WriteContext<'_>, values: &mut Row, current: Option<&Row>) -> Result<()> {
    let project = values.get("project_id").or_else(|| current?.get("project_id"));
    let Some(project) = project.and_then(Value::as_str).and_then(|id| id.parse().ok()) else { return Ok(()) };
    if !values.contains_key("lag_days") {
        return Ok(());
    }
    let Some(rows) = schedule::load_project_settings(context.conn, project, None).await? else { return Ok(()) };
    let project: ProjectInput = serde_json::from_str(&rows.project).map_err(|_| ApiError::Internal)?;
    pmo_project_plan::expand_dependency_patch(values, current, &project.unit_sizes()).map_err(edit_error)
}

/// Names the column of a typed value that is not possible.
fn edit_error(error: EditError) -> ApiError {
    let column = match error {
        EditError::SummaryIsComputed { column } | EditError::Invalid { column } | EditError::OutOfRange { column } => {
            column
        }
        EditError::FinishBeforeStart => "due_date",
        EditError::NotScheduled => "start_date",
    };
    ApiError::unprocessable(column, error.to_string())
}

/// Checks the columns that contain working times, recurrences and parts of split tasks.
fn check_structure(values: &Row, entity: &EntityType) -> Result<()> {
    let is_calendar = entity.code.as_str().starts_with("calendar");
    for (column, value) in values {
        let (is_valid, expected) = match column.as_str() {
            "segments" => (is_segments(value), "must be a list of [offset, length] in minutes"),
            "week" if is_calendar => {
                (is_week(value), "must be a list of seven days, each null or a list of [from, to]")
            }
            "work_weeks" if is_calendar => (is_work_weeks(value), "must be a list of {from, to, week}"),
            "working_times" if is_calendar => {
                (is_working_times(value), "must be a list of [from, to] in minutes after midnight, in ascending order")
            }
            "recurrence" if is_calendar => {
                (pmo_project_plan::recurrence_from_json(value).is_some(), "is not a recurrence; see the API notes")
            }
            _ => continue,
        };
        if !is_valid {
            return Err(ApiError::unprocessable(column, expected));
        }
    }
    Ok(())
}

fn is_working_times(value: &Value) -> bool {
    let Some(ranges) = pmo_project_plan::hours_from_json(value) else { return false };
    let is_ascending = ranges.windows(2).all(|pair| pair[0].to <= pair[1].from);
    ranges.len() <= MAX_RANGES && ranges.iter().all(|range| range.from < range.to) && is_ascending
}

fn is_week(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|days| days.len() == 7 && days.iter().all(|day| day.is_null() || is_working_times(day)))
}

fn is_work_weeks(value: &Value) -> bool {
    let day = |week: &Value, field: &str| {
        week.get(field)
            .and_then(Value::as_str)
            .filter(|day| pmo_domain::datetime::is_valid_date(day))
            .map(str::to_owned)
    };
    let is_valid = |week: &Value| match (day(week, "from"), day(week, "to")) {
        (Some(from), Some(to)) => from <= to && week.get("week").is_some_and(is_week),
        _ => false,
    };
    value.as_array().is_some_and(|weeks| weeks.len() <= MAX_WORK_WEEKS && weeks.iter().all(is_valid))
}

fn is_segments(value: &Value) -> bool {
    let is_length = |minutes: &Value| minutes.as_f64().is_some_and(|minutes| (0.0..1e8).contains(&minutes));
    let is_part = |part: &Value| part.as_array().is_some_and(|pair| pair.len() == 2 && pair.iter().all(is_length));
    value.as_array().is_some_and(|parts| parts.len() <= MAX_SEGMENTS && parts.iter().all(is_part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_from_the_last_change_of_an_input_on_are_current() {
        let row = |value: Value| value.as_object().cloned().unwrap_or_default();
        let task = row(json!({"version": 9, "input_version": 6}));
        let accepted: Vec<i64> = (1..12).filter(|version| is_current_version(&task, *version)).collect();
        assert_eq!(accepted, [6, 7, 8, 9]);
        let risk = row(json!({"version": 3}));
        let accepted: Vec<i64> = (1..12).filter(|version| is_current_version(&risk, *version)).collect();
        assert_eq!(accepted, [3]);
    }

    #[test]
    fn working_times_are_ascending_ranges_of_a_day() {
        for valid in [json!([]), json!([[480, 720], [780, 1020]]), json!([[0, 1440]])] {
            assert!(is_working_times(&valid), "{valid}");
        }
        let many: Vec<[i64; 2]> = (0..30).map(|n| [n * 10, n * 10 + 5]).collect();
        for invalid in [
            json!(null),
            json!("9-17"),
            json!([[480]]),
            json!([[480, 480]]),
            json!([[480, 1441]]),
            json!([[-1, 5]]),
            json!([[780, 1020], [480, 720]]),
            json!([[480, "x"]]),
            json!([[1e300, 2]]),
            json!(many),
        ] {
            assert!(!is_working_times(&invalid), "{invalid}");
        }
    }

    #[test]
    fn weeks_have_seven_days() {
        let day = json!([[480, 720]]);
        assert!(is_week(&json!([day, day, null, day, day, [], []])));
        assert!(!is_week(&json!([day, day])) && !is_week(&json!({})) && !is_week(&json!([1, 2, 3, 4, 5, 6, 7])));
        let weeks =
            |from: &str, to: &str| json!([{"from": from, "to": to, "week": [null, null, null, null, null, [], []]}]);
        assert!(is_work_weeks(&weeks("2026-01-01", "2026-02-01")) && is_work_weeks(&json!([])));
        assert!(!is_work_weeks(&weeks("2026-02-01", "2026-01-01")) && !is_work_weeks(&weeks("soon", "2026-01-01")));
    }

    #[test]
    fn segments_are_pairs_of_minutes() {
        assert!(is_segments(&json!([])) && is_segments(&json!([[0, 480], [960, 240.5]])));
        for invalid in [json!({}), json!([1]), json!([[1]]), json!([[-1, 2]]), json!([[1, 1e9]]), json!([["a", 2]])] {
            assert!(!is_segments(&invalid), "{invalid}");
        }
    }
}
