//! All rows of a project of the demo company.

use super::company::Chosen;
use super::computed::{Computed, Surroundings};
use super::control_rows::add_control_rows;
use super::demo_id::{demo_id, demo_random};
use super::draft::Timeline;
use super::moments::{day_text, moment_value, monday_of};
use super::progress::Progress;
use super::rows::{Tables, row};
use pmo_planning::{Day, Moment, Span};
use pmo_project_plan::{Row, baseline};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Length of a sprint in days.
const SPRINT_DAYS: i32 = 14;
/// Number of sprints of a project.
const SPRINTS: usize = 3;

/// Returns all rows of a project.
pub(crate) fn project_rows(computed: Computed<'_>, surroundings: &Surroundings<'_>) -> Tables {
    let mut tables = Tables::new();
    add_control_rows(&computed, &mut tables);
    add_baseline(&computed, &mut tables);
    add_milestones(&computed, &mut tables);
    let sprints = sprint_rows(&computed);
    tables.insert("project", vec![project_row(&computed, surroundings, &tables)]);
    tables.insert("schedule", vec![schedule_row(&computed)]);
    let Computed { mut draft, .. } = computed;
    if draft.plan.has_sprints {
        for row in &mut draft.tasks {
            let sprint = sprint_of(row, &sprints);
            row.insert("sprint_id".into(), sprint);
        }
    }
    tables.insert("sprint", sprints);
    tables.insert("task", draft.tasks);
    tables.insert("task_dependency", draft.links);
    tables.insert("assignment", draft.assignments);
    tables
}

fn project_row(computed: &Computed<'_>, surroundings: &Surroundings<'_>, tables: &Tables) -> Row {
    let Computed { draft, baseline, current, progress, now, .. } = computed;
    let (number, plan) = (draft.number, draft.plan);
    let leaves: Vec<usize> = (0..plan.tasks.len()).filter(|task| plan.tasks[*task].length.is_some()).collect();
    let is_finished = leaves.iter().all(|task| progress[*task] == Progress::Finished);
    let has_begun = leaves.iter().any(|task| progress[*task] != Progress::NotStarted);
    let done = done_pct(computed, &leaves);
    let slip = computed.slip_days();
    let is_blocked = draft.tasks.iter().any(|row| row.get("dl__task_stage") == Some(&json!("Blocked")));
    let spent = labour(computed) + actual_costs(tables);
    let days_to_start = current.schedule.project_start.day().0 - now.day().0;
    let stage = match (has_begun, is_finished) {
        (_, true) => "Closure",
        (false, _) if days_to_start > 30 => "Initiation",
        (false, _) => "Planning",
        _ if done > 80 => "Monitoring",
        _ => "Execution",
    };
    let health = match slip {
        ..=2 if is_blocked => "Amber",
        ..=2 => "Green",
        3..=8 => "Amber",
        _ => "Red",
    };
    let day = |moment: Moment| json!(day_text(moment.day()));
    let mut project = draft.project.clone();
    let budget = plan.budget / 20 * (18 + u32::try_from(demo_random("budget", number, 5)).unwrap_or_default());
    project.extend(row([
        ("name", json!(draft.text.name)),
        ("descr", json!(plan.descr)),
        ("business_id", json!(demo_id("business", 1 + (number - 1) % surroundings.businesses))),
        ("manager__employee_id", json!(computed.manager().map(Chosen::employee_id))),
        ("sponsor__employee_id", json!(demo_id("employee", 1))),
        ("stakeholder__employee_ids", json!([demo_id("employee", 2), demo_id("employee", 3)])),
        ("customer_id", json!(demo_id("customer", 1 + number % surroundings.customers))),
        ("planned_end_date", day(baseline.schedule.project_finish)),
        ("actual_start_date", if has_begun { day(current.schedule.project_start) } else { Value::Null }),
        ("actual_end_date", if is_finished { day(current.schedule.project_finish) } else { Value::Null }),
        ("status_date", if has_begun && !is_finished { json!(day_text(now.day())) } else { Value::Null }),
        ("budget_allocated_amt", json!(budget)),
        ("budget_spent_amt", json!(spent)),
        ("completion_pct", json!(done)),
        ("dl__project_stage", json!(stage)),
        ("dl__project_type", json!(plan.kind)),
        ("dl__project_health", json!(health)),
    ]));
    project
}

/// Returns the part of all durations that is done, in percent.
fn done_pct(computed: &Computed<'_>, leaves: &[usize]) -> i64 {
    let length = |task: &usize| i64::from(computed.draft.lengths[*task].0);
    let done = |task: &usize| match computed.progress[*task] {
        Progress::NotStarted => 0,
        Progress::Started { done, .. } => length(task) * i64::from(done) / 100,
        Progress::Finished => length(task),
    };
    let (all, done): (i64, i64) = (leaves.iter().map(length).sum(), leaves.iter().map(done).sum());
    done * 100 / all.max(1)
}

/// Returns the cost of the work that is done, in EUR.
fn labour(computed: &Computed<'_>) -> i64 {
    let rates: BTreeMap<String, u32> =
        computed.draft.people.values().map(|chosen| (chosen.employee_id().to_string(), chosen.rate)).collect();
    let cost = |row: &Row| {
        let rate = rates.get(row.get("employee_id")?.as_str()?)?;
        Some(row.get("actual_work_hours")?.as_f64()? * f64::from(*rate))
    };
    computed.draft.assignments.iter().filter_map(cost).sum::<f64>().round() as i64
}

fn actual_costs(tables: &Tables) -> i64 {
    let rows = tables.get("cost").into_iter().flatten();
    let actual = rows.filter(|row| row.get("dl__cost_status") == Some(&json!("Actual")));
    actual.filter_map(|row| row.get("amount_amt")?.as_i64()).sum()
}

fn schedule_row(computed: &Computed<'_>) -> Row {
    let Timeline { plan, schedule, calendars } = &computed.current;
    let problems = schedule.problems.len() + plan.incomplete.len() + plan.faults.len();
    row([
        ("id", json!(demo_id("schedule", computed.draft.number))),
        ("name", json!("Schedule")),
        ("project_id", json!(computed.draft.project_id())),
        ("calendars", calendars.to_json()),
        ("start_ts", moment_value(schedule.project_start)),
        ("finish_ts", moment_value(schedule.project_finish)),
        ("problem_count", json!(problems)),
        ("scheduled_ts", moment_value(computed.now)),
    ])
}

/// Adds the baseline of a project that has begun.
fn add_baseline(computed: &Computed<'_>, tables: &mut Tables) {
    let Timeline { plan, schedule, .. } = &computed.baseline;
    let captured = schedule.project_start.minus(Span::hours(24 * 3));
    if captured >= computed.now {
        return;
    }
    let snapshot = baseline::take(plan, schedule, &BTreeMap::new());
    tables.entry("baseline").or_default().push(row([
        ("id", json!(demo_id("baseline", computed.draft.number))),
        ("name", json!("Agreed plan")),
        ("project_id", json!(computed.draft.project_id())),
        ("captured_ts", moment_value(captured)),
        ("snapshot", snapshot.to_json()),
    ]));
}

/// Adds the commitments: the tasks without duration that have a deadline, and the last one.
fn add_milestones(computed: &Computed<'_>, tables: &mut Tables) {
    let Computed { draft, baseline, current, progress, now, .. } = computed;
    let is_milestone = |task: &usize| draft.plan.tasks[*task].length.is_some_and(|length| length.span == Span::ZERO);
    let milestones: Vec<usize> = (0..draft.plan.tasks.len()).filter(is_milestone).collect();
    let last = milestones.last().copied();
    let committed = |task: &&usize| draft.plan.tasks[**task].flags.deadline_days.is_some() || Some(**task) == last;
    let owner = json!(computed.manager().map(Chosen::employee_id));
    let rows = milestones.iter().filter(committed).enumerate().map(|(index, &task)| {
        let (due, expected) = (baseline.finish(task), current.finish(task));
        let is_reached = progress[task] == Progress::Finished;
        let status = match (is_reached, due < *now) {
            (true, _) => "Reached",
            (false, true) => "Missed",
            (false, false) if expected.day() > due.day() => "At Risk",
            (false, false) => "Planned",
        };
        row([
            ("id", json!(demo_id("milestone", draft.entity_number(index)))),
            ("name", json!(draft.plan.tasks[task].name)),
            ("project_id", json!(draft.project_id())),
            ("due_date", json!(day_text(due.day()))),
            ("reached_date", if is_reached { json!(day_text(expected.day())) } else { Value::Null }),
            ("owner__employee_id", owner.clone()),
            ("dl__milestone_status", json!(status)),
        ])
    });
    tables.entry("milestone").or_default().extend(rows);
}

/// Returns the sprints around today of a project with sprints.
fn sprint_rows(computed: &Computed<'_>) -> Vec<Row> {
    if !computed.draft.plan.has_sprints {
        return Vec::new();
    }
    let first = monday_of(Day(computed.now.day().0 - SPRINT_DAYS)).0;
    let sprint = |(index, status): (usize, &str)| {
        let from = first + SPRINT_DAYS * i32::try_from(index).unwrap_or_default();
        row([
            ("id", json!(demo_id("sprint", computed.draft.number * 10 + index + 1))),
            ("name", json!(format!("Sprint {}", index + 1))),
            ("project_id", json!(computed.draft.project_id())),
            ("start_date", json!(day_text(Day(from)))),
            ("end_date", json!(day_text(Day(from + SPRINT_DAYS - 3)))),
            ("goal", json!(["Finish what is open", "A part that works", "Ready for the next test"][index])),
            ("capacity_hours", json!(160)),
            ("dl__sprint_status", json!(status)),
        ])
    };
    ["Closed", "Active", "Planned"].into_iter().enumerate().take(SPRINTS).map(sprint).collect()
}

/// Returns the id of the sprint in which a task begins; null for summaries and other tasks.
fn sprint_of(task: &Row, sprints: &[Row]) -> Value {
    let text = |row: &Row, column: &str| row.get(column).and_then(Value::as_str).map(str::to_owned);
    let Some(start) = text(task, "start_date").filter(|_| task.get("story_points").is_some_and(Value::is_number))
    else {
        return Value::Null;
    };
    let contains = |sprint: &&Row| {
        text(sprint, "start_date").is_some_and(|from| from <= start)
            && text(sprint, "end_date").is_some_and(|to| start <= to)
    };
    sprints.iter().find(contains).and_then(|sprint| sprint.get("id").cloned()).unwrap_or(Value::Null)
}
