//! Tests of the rules one by one, and property tests.

mod build_rules;
mod expand_rules;
mod explain_and_baseline;
mod properties;
mod reading;

use crate::{
    AssignmentInput, CurrentDates, DependencyInput, DerivedColumns, EditContext, PlanInput, ProjectInput, ProjectPlan,
    Row, TaskInput, build,
};
use pmo_planning::{Schedule, schedule};
use serde_json::{Value, json};
use uuid::Uuid;

/// Id of the project of all tests.
const PROJECT: Uuid = Uuid::from_u128(1);

/// Returns the id of the n-th task.
fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x1000 + number)
}

fn row(value: Value) -> Row {
    match value {
        Value::Object(row) => row,
        _ => Row::new(),
    }
}

/// Returns a project that starts on Monday, 2 March 2026.
fn project() -> ProjectInput {
    ProjectInput::from_row(&row(json!({"id": PROJECT, "planned_start_date": "2026-03-02"})))
}

/// Returns the row of a task with some columns.
fn task_row(number: u128, columns: Value) -> Row {
    let mut task = row(json!({"id": id(number), "project_id": PROJECT, "rank": format!("{number:04}")}));
    task.extend(row(columns));
    task
}

fn task(number: u128, columns: Value) -> TaskInput {
    TaskInput::from_row(&task_row(number, columns))
}

fn dependency(number: u128, predecessor: u128, successor: u128, columns: Value) -> DependencyInput {
    let mut link = row(json!({
        "id": Uuid::from_u128(0x2000 + number),
        "predecessor__task_id": id(predecessor),
        "successor__task_id": id(successor),
    }));
    link.extend(row(columns));
    DependencyInput::from_row(&link)
}

fn input(tasks: Vec<TaskInput>) -> PlanInput {
    PlanInput { project: project(), tasks, ..PlanInput::default() }
}

/// Builds and schedules a plan.
fn scheduled(input: &PlanInput) -> (ProjectPlan, Schedule) {
    let plan = build(input);
    let schedule = schedule(&plan.plan);
    (plan, schedule)
}

/// Returns the derived columns of the n-th task.
fn derived(input: &PlanInput, number: u128) -> DerivedColumns {
    let (plan, schedule) = scheduled(input);
    let position = plan.position(id(number)).expect("a task of the plan");
    plan.derived(&schedule, position).expect("derived columns")
}

/// Returns start and finish of the n-th task, as `03-02 08:00 > 03-03 17:00`.
fn dates(input: &PlanInput, number: u128) -> String {
    let columns = derived(input, number);
    let short = |moment: pmo_planning::Moment| moment.to_string().get(5..16).map(|text| text.replace('T', " "));
    let (start, finish) = (short(columns.start), short(columns.finish));
    format!("{} > {}", start.unwrap_or_default(), finish.unwrap_or_default())
}

fn assignment(number: u128, task: u128, columns: Value) -> AssignmentInput {
    let mut assignment = row(json!({"id": Uuid::from_u128(0x3000 + number), "task_id": id(task)}));
    assignment.extend(row(columns));
    AssignmentInput::from_row(&assignment)
}

/// Returns the context of an edit, with the dates that the plan gives the n-th task.
fn context<'a>(input: &'a PlanInput, number: u128) -> EditContext<'a> {
    let columns = input.tasks.iter().any(|task| task.id == id(number)).then(|| derived(input, number));
    let current = columns.map(|columns| CurrentDates {
        start: columns.start,
        finish: columns.finish,
        is_summary: columns.is_summary,
    });
    EditContext { project: Some(&input.project), calendars: &input.calendars, current }
}
