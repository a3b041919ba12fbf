//! Settings of a project.

use super::column::{day, decimal, finish_day, id, moment, row};
use super::mapping::Mapping;
use crate::file::{File, FileTask};
use pmo_planning::{Direction, Moment, Span};
use pmo_project_plan::{OptionName, UnitSizes};
use serde_json::json;

/// Returns the working time of the units of durations; sizes beyond the columns count as absent.
pub(super) fn unit_sizes(file: &File) -> UnitSizes {
    let project = &file.project;
    let default = UnitSizes::default();
    let minutes = |minutes: Option<i64>, most: i64| {
        minutes.filter(|minutes| (1..=most).contains(minutes)).map(|minutes| Span::clamped(minutes.saturating_mul(10)))
    };
    let day = minutes(project.minutes_per_day, 1_440).unwrap_or(default.day);
    let week = minutes(project.minutes_per_week, 10_080).unwrap_or(default.week);
    let days = project.days_per_month.filter(|days| (1..=31).contains(days)).unwrap_or(20);
    UnitSizes { day, week, month: day.scale(days, 1) }
}

/// Returns the start from which a file without one is scheduled: the earliest date of a task.
fn earliest(tasks: &[FileTask]) -> Option<Moment> {
    let dates = |task: &FileTask| task.manual_start.into_iter().chain(task.start).chain(task.actual_start).min();
    let starts = tasks.iter().filter(|task| !task.is_null).filter_map(dates).min();
    // A task with nothing but a finish is due on that day.
    starts.or_else(|| tasks.iter().filter_map(|task| task.finish).min().map(|finish| finish.day().midnight()))
}

/// Sets the columns of the project.
pub(super) fn set_columns(mapping: &mut Mapping<'_, '_>) {
    let file = mapping.file;
    let project = &file.project;
    let from_start = project.schedule_from_start.unwrap_or(true) || project.finish.is_none();
    let start = project.start.or_else(|| earliest(&file.tasks));
    // The finish of a plan that is scheduled from its start is derived.
    let finish = project.finish.filter(|_| !from_start);
    let sizes = unit_sizes(file);
    let limit = project.critical_slack_limit.unwrap_or(0).clamp(0, 100_000);
    let days_per_month = project.days_per_month.filter(|days| (1..=31).contains(days)).unwrap_or(20);
    let direction = if from_start { Direction::FromStart } else { Direction::FromFinish };
    let calendar = mapping.converted.plan.settings.calendar;
    mapping.rows.project = row(json!({
        "id": mapping.context.project_id,
        "planned_start_date": day(start.map(Moment::day)), "planned_start_ts": moment(start),
        "planned_end_date": day(finish.map(finish_day)), "planned_end_ts": moment(finish),
        "status_date": day(project.status_date.map(Moment::day)),
        "calendar_id": id(mapping.calendar_ids.get(&usize::from(calendar.0)).copied()),
        "dl__schedule_from": direction.name(),
        "new_tasks_manual_flag": project.new_tasks_are_manual.unwrap_or(false),
        // Microsoft Project writes 0 whatever the setting is.
        "honor_constraints_flag": true,
        "multiple_critical_paths_flag": project.multiple_critical_paths.unwrap_or(false),
        "splits_in_progress_flag": project.splits_in_progress.unwrap_or(true),
        "critical_slack_days": limit,
        "day_hours": decimal(hours_in_thousandths(sizes.day), 1_000),
        "week_hours": decimal(hours_in_thousandths(sizes.week), 1_000),
        "month_days": days_per_month,
    }));
}

fn hours_in_thousandths(span: Span) -> i64 {
    (i64::from(span.0) * 1_000 + 300) / 600
}

/// Returns a duration in days with three decimals.
pub(super) fn in_days(span: Span, day: Span) -> serde_json::Value {
    decimal((i64::from(span.0) * 1_000 + i64::from(day.0) / 2).div_euclid(i64::from(day.0.max(1))), 1_000)
}
