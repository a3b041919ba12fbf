//! Explanations, problems and baselines.

use super::*;
use crate::baseline::{self, Snapshot};
use crate::explain::{self, PlanProblem, ProblemKind, Reason, Remedy, TaskEnd};
use pmo_planning::{Span, WorkingTime};
use std::collections::BTreeMap;

/// Returns reasons and causes of the finish of the n-th task.
fn reasons(input: &PlanInput, number: u128) -> Vec<(Reason, Option<Uuid>)> {
    let (plan, schedule) = scheduled(input);
    let position = plan.position(id(number)).expect("a task");
    let steps = explain::explain(&plan, &schedule, position, TaskEnd::Finish);
    steps.into_iter().map(|step| (step.reason, step.cause)).collect()
}

#[test]
fn an_explanation_leads_to_the_first_cause() {
    let mut plan = input(vec![
        task(1, json!({"dl__constraint_type": "Start No Earlier Than", "constraint_ts": "2026-03-05T08:00:00"})),
        task(2, json!({})),
        task(3, json!({})),
        task(4, json!({"parent__task_id": id(3)})),
        task(5, json!({"dl__schedule_mode": "Manual", "manual_start_ts": "2026-03-05T08:00:00"})),
    ]);
    plan.dependencies = vec![dependency(1, 1, 2, json!({})), dependency(2, 2, 4, json!({"dl__dependency_type": "FF"}))];
    use Reason::{Child, Constraint, Duration, Link, Manual, ProjectStart};
    let first = [(Duration, None), (Constraint, None)];
    assert_eq!(reasons(&plan, 1), first);
    assert_eq!(reasons(&plan, 2), [&[(Duration, None), (Link, Some(id(1)))], &first[..]].concat());
    let four = [(Link, Some(id(2))), (Duration, None), (Link, Some(id(1))), first[0], first[1]];
    assert_eq!(reasons(&plan, 4), four);
    assert_eq!(reasons(&plan, 3), [&[(Child, Some(id(4)))], &four[..]].concat());
    assert_eq!(reasons(&plan, 5), [(Duration, None), (Manual, None)]);
    plan.dependencies.clear();
    assert_eq!(reasons(&plan, 2), [(Duration, None), (ProjectStart, None)]);
}

fn problems(input: &PlanInput) -> Vec<PlanProblem> {
    let (plan, schedule) = scheduled(input);
    explain::problems(&plan, &schedule.problems)
}

#[test]
fn problems_name_tasks_and_remedies() {
    let link = |number: u128| Uuid::from_u128(0x2000 + number);
    let mut plan = input(vec![
        task(1, json!({"deadline_ts": "2026-03-02T12:00:00"})),
        task(2, json!({"dl__schedule_mode": "Manual", "manual_start_ts": "2026-03-02T08:00:00"})),
        task(3, json!({"dl__constraint_type": "Must Start On", "constraint_ts": "2026-03-02T08:00:00"})),
    ]);
    plan.dependencies = vec![dependency(1, 1, 2, json!({})), dependency(2, 1, 3, json!({}))];
    let mut found = problems(&plan);
    found.sort_by_key(|problem| problem.kind);
    let kinds: Vec<ProblemKind> = found.iter().map(|problem| problem.kind).collect();
    assert_eq!(kinds, [ProblemKind::LinkBroken, ProblemKind::ConstraintBeatsLink, ProblemKind::DeadlineMissed]);
    assert_eq!(found[0].tasks, [id(2), id(1)]);
    assert_eq!(found[0].remedies, [Remedy::MakeAutomatic(id(2)), Remedy::RemoveLink(link(1))]);
    assert_eq!(found[1].remedies, [Remedy::RemoveConstraint(id(3)), Remedy::RemoveLink(link(2))]);
    assert_eq!(found[2].remedies, [Remedy::ShortenDrivers(id(1)), Remedy::MoveDeadline(id(1))]);

    let mut ring = input(vec![task(1, json!({})), task(2, json!({}))]);
    ring.dependencies = vec![dependency(1, 1, 2, json!({})), dependency(2, 2, 1, json!({}))];
    let found = problems(&ring);
    assert_eq!((found[0].kind, found[0].tasks.len()), (ProblemKind::Ring, 2));
    assert_eq!(found[0].remedies, [Remedy::RemoveLink(link(1)), Remedy::RemoveLink(link(2))]);
}

#[test]
fn a_baseline_is_compared_in_working_time() {
    let mut plan = input(vec![
        task(1, json!({"duration_minutes": 480, "assignee__employee_ids": [id(80)]})),
        task(2, json!({"duration_minutes": 480})),
    ]);
    plan.dependencies = vec![dependency(1, 1, 2, json!({}))];
    let costs = BTreeMap::from([(id(1), 10_000_i64)]);
    let snapshot = |plan: &PlanInput, costs: &BTreeMap<Uuid, i64>| {
        let (built, schedule) = scheduled(plan);
        baseline::take(&built, &schedule, costs)
    };
    let before = snapshot(&plan, &costs);
    assert_eq!(before.to_json()["tasks"][id(1).to_string()]["work_hours"], json!(8));
    assert_eq!(Snapshot::from_json(&before.to_json()), before);
    plan.tasks[0].duration = Some(Span::hours(40));
    plan.tasks.push(task(3, json!({})));
    plan.tasks[1].is_active = false;
    let after = snapshot(&plan, &BTreeMap::from([(id(1), 15_000)]));
    let (built, _) = scheduled(&plan);
    let time = WorkingTime::of_calendar(&built.plan.calendars, built.plan.settings.calendar);
    let comparison = baseline::compare(&before, &after, &time);
    let variance = &comparison.tasks[&id(1)];
    assert_eq!((variance.start, variance.finish, variance.duration), (Span::ZERO, Span::hours(32), Span::hours(32)));
    assert_eq!((variance.work, variance.cost), (Some(Span::hours(32)), Some(5_000)));
    assert_eq!((comparison.added, comparison.removed), (vec![id(3)], vec![id(2)]));
    assert_eq!(comparison.finish, Span::hours(24));
    assert_eq!(Snapshot::from_json(&json!({"tasks": {"x": 1, (id(1).to_string()): []}})).tasks.len(), 1);
}
