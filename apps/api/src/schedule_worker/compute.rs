//! Derived columns of a project, computed from its rows. Pure.

use pmo_database::schedule::{CalendarRows, DerivedTask, DerivedWrite, PlanRows, ProjectSchedule};
use pmo_planning::{Day, Moment, Problem, Schedule, Span};
use pmo_project_plan::{CalendarDefinition, CalendarSet, DerivedColumns, Percent, PlanInput, ProjectPlan, TaskInput};
use serde::de::DeserializeOwned;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use uuid::Uuid;

/// Returns what a run of the worker has to write.
///
/// # Errors
/// A row that is not a JSON object. Values that cannot be read count as problems of the plan.
pub(super) fn derive(rows: &PlanRows) -> Result<DerivedWrite, serde_json::Error> {
    let input = read_input(rows)?;
    let plan = pmo_project_plan::build(&input);
    let schedule = pmo_planning::schedule(&plan.plan);
    let (tasks, moved) = changed_tasks(rows, &input, &plan, &schedule);
    let successors = rows.external_successors.iter();
    let dependents: BTreeSet<Uuid> =
        successors.filter(|(task, _)| moved.contains(task)).map(|(_, project)| *project).collect();
    let problem_count = schedule.problems.len() + plan.incomplete.len() + plan.faults.len();
    Ok(DerivedWrite {
        tasks,
        schedule: Some(ProjectSchedule {
            calendars: shared_inputs(&input),
            start: tenths(schedule.project_start).filter(|_| !rows.tasks.is_empty()),
            finish: tenths(schedule.project_finish).filter(|_| !rows.tasks.is_empty()),
            problem_count: i32::try_from(problem_count).unwrap_or(i32::MAX),
            has_tasks: !rows.tasks.is_empty(),
        }),
        dependents: dependents.into_iter().collect(),
    })
}

/// Returns the contents of `schedule.calendars`: the calendars, the number of tasks and the
/// predecessors in other projects, by which a device knows whether it holds the whole plan.
fn shared_inputs(input: &PlanInput) -> serde_json::Value {
    let mut shared = input.calendars.to_json();
    if let Some(entries) = shared.as_object_mut() {
        let external: BTreeSet<Uuid> = input.external_tasks.iter().map(|task| task.id).collect();
        entries.insert("task_count".to_owned(), input.tasks.len().into());
        entries.insert("external_task_ids".to_owned(), external.iter().map(Uuid::to_string).collect());
    }
    shared
}

/// Reads the rows of a plan.
fn read_input(rows: &PlanRows) -> Result<PlanInput, serde_json::Error> {
    fn parse<T: DeserializeOwned>(texts: &[String]) -> Result<Vec<T>, serde_json::Error> {
        texts.iter().map(|text| serde_json::from_str(text)).collect()
    }
    let definition = |one: &CalendarRows| (one.id, CalendarDefinition::from_rows(&one.calendar, &one.exceptions));
    Ok(PlanInput {
        project: serde_json::from_str(&rows.project)?,
        tasks: rows.tasks.iter().map(|task| serde_json::from_str(&task.json)).collect::<Result<_, _>>()?,
        dependencies: parse(&rows.dependencies)?,
        assignments: parse(&rows.assignments)?,
        calendars: CalendarSet {
            calendars: rows.calendars.iter().map(definition).collect(),
            employees: rows.employee_calendars.iter().copied().collect(),
        },
        external_tasks: parse(&rows.external_tasks)?,
    })
}

/// Returns the tasks whose stored columns differ, and the ids of those whose dates differ.
fn changed_tasks(
    rows: &PlanRows,
    input: &PlanInput,
    plan: &ProjectPlan,
    schedule: &Schedule,
) -> (Vec<DerivedTask>, HashSet<Uuid>) {
    let stored: HashMap<Uuid, usize> = rows.tasks.iter().enumerate().map(|(index, task)| (task.id, index)).collect();
    // Tasks in a ring keep their dates: each of them waits for itself.
    let rings = schedule.problems.iter().filter_map(|problem| match problem {
        Problem::Cycle(path) => Some(path.iter().map(|task| task.0)),
        _ => None,
    });
    let in_ring: HashSet<u32> = rings.flatten().collect();
    let (mut tasks, mut moved) = (Vec::new(), HashSet::new());
    for (position, id) in (0..).zip(plan.task_ids.iter().take(plan.task_count)) {
        let Some(&index) = stored.get(id) else { continue };
        if in_ring.contains(&position) {
            continue;
        }
        let Some(derived) = plan.derived(schedule, position) else { continue };
        let (row, TaskInput { stored, .. }) = (&rows.tasks[index], &input.tasks[index]);
        if derived.differs_from(stored) || !row.has_exact_days {
            if (derived.start, derived.finish) != (stored.start, stored.finish) {
                moved.insert(row.id);
            }
            tasks.push(derived_task(row.id, row.version, &derived, stored));
        }
    }
    (tasks, moved)
}

fn derived_task(id: Uuid, version: i64, derived: &DerivedColumns, stored: &DerivedColumns) -> DerivedTask {
    let day = |day: Option<Day>| day.map(|day| day.0);
    let span = |span: Option<Span>| span.map(|span| span.0);
    DerivedTask {
        id,
        version,
        start: tenths(derived.start),
        finish: tenths(derived.finish),
        start_day: day(derived.start_date),
        due_day: day(derived.due_date),
        late_start: tenths(derived.late_start),
        late_finish: tenths(derived.late_finish),
        total_slack: span(derived.total_slack),
        free_slack: span(derived.free_slack),
        remaining_duration: span(derived.remaining_duration),
        is_critical: derived.is_critical,
        is_summary: derived.is_summary,
        duration: span(derived.duration),
        completion: derived.completion.map(|completion| completion.0),
        diff: diff(derived, stored),
    }
}

/// Returns the tenths of a minute since 2000-01-01; `None` for no moment.
fn tenths(moment: Moment) -> Option<i32> {
    moment.get().map(|moment| moment.0)
}

/// Returns old and new values for the change log as JSON.
///
/// Contains the columns that the history of a task shows: days, duration and progress. The others
/// follow from them and from the rest of the plan.
fn diff(derived: &DerivedColumns, stored: &DerivedColumns) -> String {
    let mut diff = String::from("{");
    let mut add = |column: &str, old: Option<String>, new: Option<String>| {
        if old != new {
            let text = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
            let separator = if diff.len() > 1 { "," } else { "" };
            let _ = write!(diff, r#"{separator}"{column}":{{"old":{},"new":{}}}"#, text(old), text(new));
        }
    };
    let day = |day: Option<Day>| {
        day.map(|day| {
            let (year, month, day) = day.to_civil();
            format!(r#""{year:04}-{month:02}-{day:02}""#)
        })
    };
    add("start_date", day(stored.start_date), day(derived.start_date));
    add("due_date", day(stored.due_date), day(derived.due_date));
    let minutes = |span: Option<Span>| span.map(|span| (f64::from(span.0) / 10.0).to_string());
    if derived.duration.is_some() {
        add("duration_minutes", minutes(stored.duration), minutes(derived.duration));
    }
    let percent = |percent: Option<Percent>| percent.map(|percent| (f64::from(percent.0) / 100.0).to_string());
    if derived.completion.is_some() {
        add("completion_pct", percent(stored.completion), percent(derived.completion));
    }
    diff.push('}');
    diff
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn diff_contains_changed_days_duration_and_progress() {
        let day = |day| Some(Day::from_civil(2026, 3, day));
        let stored = DerivedColumns { start_date: day(2), due_date: None, ..DerivedColumns::default() };
        let derived = DerivedColumns {
            start_date: day(2),
            due_date: day(4),
            duration: Some(Span::minutes(90)),
            completion: Some(Percent(1_250)),
            ..DerivedColumns::default()
        };
        let changed: Value = serde_json::from_str(&diff(&derived, &stored)).unwrap();
        assert_eq!(
            changed,
            json!({
                "due_date": {"old": null, "new": "2026-03-04"},
                "duration_minutes": {"old": null, "new": 90},
                "completion_pct": {"old": null, "new": 12.5},
            })
        );
        assert_eq!(diff(&stored, &stored), "{}");
    }
}
