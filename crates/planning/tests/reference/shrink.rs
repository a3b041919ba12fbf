//! Makes a plan smaller while it still shows what it shows.

use crate::plan::{Constraint, Kind, Lag, Link, Mode, Plan, Task};

/// Returns the smallest plan found for which `fails` returns true.
pub(crate) fn shrink(plan: &Plan, fails: &dyn Fn(&Plan) -> bool) -> Plan {
    let mut plan = without_many_tasks(plan, fails);
    loop {
        let smaller = candidates(&plan).into_iter().find(|smaller| smaller != &plan && fails(smaller));
        match smaller {
            Some(smaller) => plan = smaller,
            None => return plan,
        }
    }
}

/// Removes runs of tasks, long ones first.
fn without_many_tasks(plan: &Plan, fails: &dyn Fn(&Plan) -> bool) -> Plan {
    let mut plan = plan.clone();
    let mut length = plan.tasks.len() / 2;
    while length > 1 {
        let mut end = plan.tasks.len();
        while end >= length {
            let smaller = (end - length..end).rev().fold(plan.clone(), |plan, task| without_task(&plan, task));
            if fails(&smaller) {
                plan = smaller;
            }
            end -= length;
        }
        length /= 2;
    }
    plan
}

fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut candidates = vec![];
    for task in (0..plan.tasks.len()).rev() {
        candidates.push(without_task(plan, task));
    }
    for link in 0..plan.links.len() {
        let mut smaller = plan.clone();
        smaller.links.remove(link);
        candidates.push(smaller);
        let changes: [fn(&mut Link); 2] = [|link| link.lag = Lag::Work(0), |link| link.kind = Kind::FinishStart];
        for change in changes {
            let mut smaller = plan.clone();
            change(&mut smaller.links[link]);
            candidates.push(smaller);
        }
    }
    let plain = Plan::new();
    let project: [fn(&mut Plan, &Plan); 9] = [
        |plan, plain| plan.start = plain.start,
        |plan, plain| plan.from_finish = plain.from_finish,
        |plan, plain| plan.status = plain.status,
        |plan, plain| plan.reschedules_rest = plain.reschedules_rest,
        |plan, plain| plan.honours_constraints = plain.honours_constraints,
        |plan, plain| plan.retains_logic = plain.retains_logic,
        |plan, plain| plan.has_multiple_critical_paths = plain.has_multiple_critical_paths,
        |plan, plain| plan.slack_limit = plain.slack_limit,
        |plan, plain| plan.calendars.fill(plain.calendars[0].clone()),
    ];
    for change in project {
        let mut smaller = plan.clone();
        change(&mut smaller, &plain);
        candidates.push(smaller);
    }
    for task in 0..plan.tasks.len() {
        for change in task_changes() {
            let mut smaller = plan.clone();
            change(&mut smaller.tasks[task]);
            candidates.push(smaller);
        }
    }
    candidates.extend(smaller_calendars(plan));
    candidates
}

fn task_changes() -> [fn(&mut Task); 15] {
    [
        |task| task.constraint = Constraint::Asap,
        set_automatic,
        |task| task.deadline = None,
        |task| task.calendar = None,
        |task| task.assignments.clear(),
        |task| task.assignments.truncate(1),
        |task| task.parts.clear(),
        |task| task.delay = 0,
        |task| task.resume = None,
        |task| (task.actual_start, task.actual_finish, task.done) = (None, None, 0),
        |task| task.is_elapsed = false,
        |task| task.has_fixed_duration = false,
        |task| task.ignores_resource_calendars = false,
        |task| set_length(task, crate::moment::WORK_DAY),
        |task| set_length(task, 2 * crate::moment::WORK_DAY),
    ]
}

fn set_automatic(task: &mut Task) {
    if let Mode::Manual { .. } = task.mode {
        task.length = crate::moment::WORK_DAY;
    }
    task.mode = Mode::Automatic;
}

/// Sets another length, unless it is that of a milestone, or follows from parts or progress.
fn set_length(task: &mut Task, length: i64) {
    let is_manual = matches!(task.mode, Mode::Manual { .. });
    if task.length > length && !is_manual && task.parts.is_empty() && task.done < length {
        task.length = length;
    }
}

fn without_task(plan: &Plan, task: usize) -> Plan {
    let mut smaller = plan.clone();
    let parent = plan.tasks[task].parent;
    for other in &mut smaller.tasks {
        if other.parent == Some(task) {
            other.parent = parent;
        }
        other.parent = other.parent.map(|parent| parent - usize::from(parent > task));
    }
    if let Some(parent) = parent.filter(|_| !plan.is_summary(task)) {
        // A summary that loses its last child becomes a task with a length, not a milestone.
        let is_last = !(0..plan.tasks.len()).any(|other| other != task && plan.tasks[other].parent == Some(parent));
        smaller.tasks[parent].length += if is_last { crate::moment::WORK_DAY } else { 0 };
    }
    smaller.tasks.remove(task);
    smaller.links.retain(|link| link.from != task && link.to != task);
    for link in &mut smaller.links {
        link.from -= usize::from(link.from > task);
        link.to -= usize::from(link.to > task);
    }
    smaller
}

fn smaller_calendars(plan: &Plan) -> Vec<Plan> {
    let mut candidates = vec![];
    for number in 0..plan.calendars.len() {
        let mut smaller = plan.clone();
        smaller.calendars[number] = crate::calendar::standard();
        candidates.push(smaller);
        for exception in 0..plan.calendars[number].exceptions.len() {
            let mut smaller = plan.clone();
            smaller.calendars[number].exceptions.remove(exception);
            candidates.push(smaller);
        }
        let mut smaller = plan.clone();
        smaller.calendars[number].work_weeks.clear();
        candidates.push(smaller);
    }
    candidates
}
