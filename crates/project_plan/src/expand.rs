//! Typed values to inputs: a start becomes a constraint, a finish a duration, and so on.

use crate::cell::{Cell, minutes_value};
use crate::edit::{CurrentDates, EditContext, EditError, ImpliedChange};
use crate::task_editor::TaskEditor;
use crate::{DurationUnit, LagUnit, ProjectInput, Row, TaskInput, UnitSizes};
use pmo_planning::Span;
use serde_json::Value;

/// Columns whose values [`expand_patch`] reads.
const TYPED_COLUMNS: [&str; 5] = ["start_date", "due_date", "duration_days", "duration_minutes", "completion_pct"];

/// Adds to the patch of a task the inputs that its typed values stand for.
///
/// `row` is the row before the patch, `None` for a new task. Inputs that the patch states itself
/// win, so the result does not change when it is expanded again. A value that equals that of the
/// row implies nothing. Typed derived columns stay in the patch, see [`crate::remove_derived`].
///
/// If the result is an error, the patch is unchanged.
pub fn expand_patch(
    patch: &mut Row,
    row: Option<&Row>,
    context: &EditContext<'_>,
) -> Result<Vec<ImpliedChange>, EditError> {
    let is_typed = TYPED_COLUMNS.iter().any(|column| patch.contains_key(*column));
    if !is_typed && row.is_some() && !patch.contains_key("dl__schedule_mode") {
        return Ok(Vec::new());
    }
    let before = row.map(TaskInput::from_row).unwrap_or_default();
    let mut expanded = patch.clone();
    let sizes = context.project.map(ProjectInput::unit_sizes).unwrap_or_default();
    expand_duration_days(&mut expanded, &before, &sizes)?;
    let mut merged = row.cloned().unwrap_or_default();
    merged.extend(expanded.clone());
    let after = TaskInput::from_row(&merged);
    let unreadable = |column: &&&str| after.unreadable.iter().any(|name| name == **column);
    if let Some(&column) = TYPED_COLUMNS.iter().filter(|column| patch.contains_key(**column)).find(unreadable) {
        return Err(EditError::Invalid { column });
    }
    let implied = match context.project {
        Some(project) if after.is_scheduled() => {
            let current = context.current.unwrap_or_else(|| CurrentDates::stored_in(&before));
            let mut editor = TaskEditor::new(after, project, context.calendars, current, expanded);
            editor.expand(row.map(|_| &before))?;
            expanded = editor.patch;
            editor.implied
        }
        _ => Vec::new(),
    };
    *patch = expanded;
    Ok(implied)
}

/// Adds `lag_minutes` to the patch of a dependency that states `lag_days`.
pub fn expand_dependency_patch(patch: &mut Row, row: Option<&Row>, sizes: &UnitSizes) -> Result<(), EditError> {
    let stated = ["lag_minutes", "lag_pct"].iter().any(|column| patch.contains_key(*column));
    let Some(days) = patch.get("lag_days").filter(|_| !stated) else { return Ok(()) };
    let unit_in = |row: &Row| LagUnit::from_code(row.get("lag_unit")?.as_str()?);
    let unit = unit_in(patch).or_else(|| unit_in(row?));
    let is_elapsed = matches!(unit, Some(LagUnit::Time(unit)) if unit.is_elapsed());
    let day = if is_elapsed { DurationUnit::ElapsedDays } else { DurationUnit::Days }.size(sizes);
    let lag = days_to_span(days, day, "lag_days")?.unwrap_or_default();
    if row.is_some_and(|row| row.get("lag_pct").is_some_and(|percent| !percent.is_null())) {
        patch.insert("lag_pct".to_owned(), Value::Null);
    }
    patch.insert("lag_minutes".to_owned(), minutes_value(lag));
    if matches!(unit, Some(LagUnit::Percent | LagUnit::ElapsedPercent)) {
        patch.insert("lag_unit".to_owned(), Value::from(DurationUnit::Days.code()));
    }
    Ok(())
}

/// Adds `duration_minutes` to a patch that states `duration_days` only.
fn expand_duration_days(patch: &mut Row, before: &TaskInput, sizes: &UnitSizes) -> Result<(), EditError> {
    let stated = patch.contains_key("duration_minutes");
    let Some(days) = patch.get("duration_days").filter(|_| !stated) else { return Ok(()) };
    let unit = patch.get("duration_unit").and_then(Value::as_str).and_then(DurationUnit::from_code);
    let is_elapsed = unit.unwrap_or(before.duration_unit).is_elapsed();
    let day = if is_elapsed { DurationUnit::ElapsedDays } else { DurationUnit::Days }.size(sizes);
    let duration = days_to_span(days, day, "duration_days")?;
    if duration.is_some_and(|duration| duration < Span::ZERO) {
        return Err(EditError::OutOfRange { column: "duration_days" });
    }
    patch.insert("duration_minutes".to_owned(), duration.map_or(Value::Null, minutes_value));
    Ok(())
}

fn days_to_span(days: &Value, day: Span, column: &'static str) -> Result<Option<Span>, EditError> {
    let thousandths = Cell::from(days).scaled(1_000.0).map_err(|_| EditError::Invalid { column })?;
    let Some(thousandths) = thousandths else { return Ok(None) };
    let tenths = i128::from(thousandths) * i128::from(day.0);
    if tenths.abs() > i128::from(Span::MAX.0) * 1_000 {
        return Err(EditError::OutOfRange { column });
    }
    Ok(Some(day.scale(thousandths, 1_000)))
}
