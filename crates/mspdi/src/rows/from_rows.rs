//! Rows of a project to the contents of a file, with computed values.

use super::column::{id_of, text_of};
use super::from_calendars::add_calendars;
use super::plan_rows::PlanRows;
use super::source::{Exported, Person, Source};
use crate::file::FileProject;
use pmo_planning::{Direction, Span};
use pmo_project_plan::{ProjectPlan, Row, build};
use std::collections::{BTreeMap, HashMap, HashSet};
use uuid::Uuid;

/// Maps rows to the contents of a file.
///
/// Dates are computed from the rows. If rows are missing, for example because the person may not
/// see them, the stored dates are taken, which the server has computed from all rows. People
/// without an entry in `people` are left out.
pub fn from_rows(rows: &PlanRows, people: &BTreeMap<Uuid, Person>) -> Exported {
    let input = rows.plan_input();
    let built = build(&input);
    let schedule = pmo_planning::schedule(&built.plan);
    let mut exported = Exported::default();
    let calendars = add_calendars(&mut exported.file, rows, &built);
    let (task_rows, task_inputs) = order_rows(rows, &built);
    let is_partial = !built.incomplete.is_empty();
    let uids = uids(&task_rows);
    let mut source =
        Source { rows, input, built, schedule, task_rows, task_inputs, uids, calendars, people, is_partial };
    exported.file.project = project(&source);
    super::from_tasks::add_tasks(&mut exported, &source);
    super::from_assignments::add_assignments(&mut exported, &mut source);
    exported
}

/// Returns rows and inputs of the tasks by position in the plan.
fn order_rows<'a>(rows: &'a PlanRows, built: &ProjectPlan) -> (Vec<&'a Row>, Vec<usize>) {
    let mut index_of: HashMap<Uuid, usize> = HashMap::with_capacity(rows.tasks.len());
    for (index, row) in rows.tasks.iter().enumerate() {
        if let Some(id) = id_of(row, "id") {
            index_of.entry(id).or_insert(index);
        }
    }
    let inputs: Vec<usize> =
        built.task_ids.iter().take(built.task_count).filter_map(|id| index_of.get(id)).copied().collect();
    (inputs.iter().map(|index| &rows.tasks[*index]).collect(), inputs)
}

/// Returns the UIDs: those that the tasks had in the file they come from, and new ones.
fn uids(rows: &[&Row]) -> Vec<i64> {
    let stated =
        |row: &Row| row.get("metadata")?.get("mspdi_uid")?.as_i64().filter(|uid| (1..1_000_000_000).contains(uid));
    let mut taken = HashSet::new();
    let first: Vec<Option<i64>> = rows.iter().map(|row| stated(row).filter(|uid| taken.insert(*uid))).collect();
    let mut next = taken.iter().copied().max().unwrap_or(0);
    let mut new_uid = || {
        next += 1;
        next
    };
    first.into_iter().map(|uid| uid.unwrap_or_else(&mut new_uid)).collect()
}

fn project(source: &Source<'_>) -> FileProject {
    let project = &source.input.project;
    let settings = &source.built.plan.settings;
    let sizes = project.unit_sizes();
    let whole_minutes = |span: Span| i64::from(span.0).div_euclid(10);
    let from_start = settings.direction == Direction::FromStart;
    let (start, finish) = if from_start {
        (settings.start, source.schedule.project_finish)
    } else {
        (source.schedule.project_start, settings.finish)
    };
    // The hour of a status date is that of the end of a usual day.
    let status_date = project.status_date.map(|day| day.midnight().plus(Span::hours(17)));
    FileProject {
        title: Some(text_of(&source.rows.project, "name").to_owned()).filter(|name| !name.is_empty()),
        schedule_from_start: Some(from_start),
        start: start.get(),
        finish: finish.get(),
        status_date,
        calendar: source.calendars.of_project,
        minutes_per_day: Some(whole_minutes(sizes.day)),
        minutes_per_week: Some(whole_minutes(sizes.week)),
        days_per_month: Some((project.month_day_thousandths + 500).div_euclid(1_000)),
        critical_slack_limit: Some((project.critical_slack_day_thousandths + 500).div_euclid(1_000)),
        multiple_critical_paths: Some(project.multiple_critical_paths),
        splits_in_progress: Some(project.splits_in_progress),
        honor_constraints: Some(project.honor_constraints),
        new_tasks_are_manual: Some(project.new_tasks_manual),
    }
}
