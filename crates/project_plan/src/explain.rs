//! Why a task is where it is, and what is wrong with a plan.

use crate::ProjectPlan;
use pmo_planning::{CalendarIndex, Driver, LinkKind, Mode, Moment, Problem, Schedule, TaskId};
use std::collections::HashSet;
use uuid::Uuid;

/// Maximum number of steps of an explanation.
const MAX_STEPS: usize = 1_000;
/// Maximum number of remedies, and of tasks that use a faulty calendar.
const MAX_REMEDIES: usize = 20;

/// End of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskEnd {
    /// Start.
    Start,
    /// Finish.
    Finish,
}

/// Kind of the reason of a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The start of the project.
    ProjectStart,
    /// The finish of the project.
    ProjectFinish,
    /// A dependency.
    Link,
    /// The constraint of `cause`.
    Constraint,
    /// An actual date.
    Actual,
    /// The dates of the manual task `cause`.
    Manual,
    /// The status date.
    StatusDate,
    /// A levelling delay.
    Leveling,
    /// Free time of a calendar.
    Calendar,
    /// The task `cause` below the summary.
    Child,
    /// The start and the duration of the task.
    Duration,
}

/// Step of an explanation: a date and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Task that has the date.
    pub task: Uuid,
    /// End of the task.
    pub end: TaskEnd,
    /// Date.
    pub moment: Moment,
    /// Reason.
    pub reason: Reason,
    /// Task that causes the date, if it is another.
    pub cause: Option<Uuid>,
    /// Dependency that causes the date.
    pub link: Option<Uuid>,
    /// Calendar that causes the date; `None` for Standard.
    pub calendar: Option<Uuid>,
}

/// Returns the reasons of the start or finish of a task, from the date back to its first cause.
pub fn explain(plan: &ProjectPlan, schedule: &Schedule, position: u32, end: TaskEnd) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut visited = HashSet::new();
    let mut next = Some((position, end));
    while let Some((task, end)) = next.filter(|place| steps.len() < MAX_STEPS && visited.insert(*place)) {
        let Some((step, following)) = step_of(plan, schedule, task, end) else { break };
        steps.push(step);
        next = following;
    }
    steps
}

/// Place of an explanation: a task and its end.
type Place = (u32, TaskEnd);

/// Returns the reason of a date, and the date that causes it.
fn step_of(plan: &ProjectPlan, schedule: &Schedule, position: u32, end: TaskEnd) -> Option<(Step, Option<Place>)> {
    let place = position as usize;
    let entry = plan.plan.tasks.get(place).filter(|_| place < plan.task_count)?;
    let start_driver = *schedule.start_driver.get(place)?;
    let finish_driver = *schedule.finish_driver.get(place)?;
    let (moment, driver) = match end {
        TaskEnd::Start => (*schedule.start.get(place)?, start_driver),
        TaskEnd::Finish => (*schedule.finish.get(place)?, finish_driver),
    };
    let task = plan.task_id(position)?;
    moment.get()?;
    let step = |reason| Step { task, end, moment, reason, cause: None, link: None, calendar: None };
    let from = |reason, cause: u32| Step { cause: plan.task_id(cause).filter(|cause| *cause != task), ..step(reason) };
    let fixed_finish = entry.actual_finish.is_some() || (entry.mode == Mode::Manual && entry.manual_finish.is_some());
    let computed = end == TaskEnd::Finish && !plan.is_summary[place] && finish_driver == start_driver;
    if computed && !fixed_finish && !holds_finish(plan, finish_driver) {
        return Some((step(Reason::Duration), Some((position, TaskEnd::Start))));
    }
    Some(match driver {
        Driver::ProjectStart => (step(Reason::ProjectStart), None),
        Driver::ProjectFinish => (step(Reason::ProjectFinish), None),
        Driver::Actual => (step(Reason::Actual), None),
        Driver::StatusDate => (step(Reason::StatusDate), None),
        Driver::Leveling => (step(Reason::Leveling), None),
        Driver::Constraint(cause) => (from(Reason::Constraint, cause), None),
        Driver::Manual(cause) => (from(Reason::Manual, cause), None),
        Driver::Calendar(calendar) => (Step { calendar: calendar_id(plan, calendar), ..step(Reason::Calendar) }, None),
        Driver::Child(child) => (from(Reason::Child, child), Some((child, end))),
        Driver::Link(index) => {
            let link = plan.plan.links.get(index as usize)?;
            let source = match link.kind {
                LinkKind::FinishToStart | LinkKind::FinishToFinish => TaskEnd::Finish,
                LinkKind::StartToStart | LinkKind::StartToFinish => TaskEnd::Start,
            };
            let step = Step { link: plan.link_id(index), ..from(Reason::Link, link.predecessor) };
            (step, Some((link.predecessor, source)))
        }
    })
}

/// Returns whether a driver is a link that holds the finish of its successor.
fn holds_finish(plan: &ProjectPlan, driver: Driver) -> bool {
    let Driver::Link(link) = driver else { return false };
    let link = plan.plan.links.get(link as usize);
    link.is_some_and(|link| matches!(link.kind, LinkKind::FinishToFinish | LinkKind::StartToFinish))
}

fn calendar_id(plan: &ProjectPlan, calendar: CalendarIndex) -> Option<Uuid> {
    plan.calendar_ids.get(usize::from(calendar.0)).copied().flatten()
}

/// Problem of a plan with the ids of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanProblem {
    /// Kind.
    pub kind: ProblemKind,
    /// Tasks concerned, the first to jump to; a ring in order.
    pub tasks: Vec<Uuid>,
    /// Dependency concerned.
    pub link: Option<Uuid>,
    /// Calendar concerned.
    pub calendar: Option<Uuid>,
    /// Ways out, the best first.
    pub remedies: Vec<Remedy>,
}

/// Kind of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// Tasks wait for each other.
    Ring,
    /// A dependency is ignored: between a summary and its descendant, or to the task itself.
    LinkIgnored,
    /// The outline contradicts itself.
    OutlineIgnored,
    /// An assignment or part refers to nothing.
    ReferenceIgnored,
    /// Fixed dates break a dependency.
    LinkBroken,
    /// A constraint moves a task before its predecessor allows.
    ConstraintBeatsLink,
    /// Dates break a constraint.
    ConstraintBroken,
    /// A task finishes after its deadline.
    DeadlineMissed,
    /// Nobody ever works in a calendar.
    NoWorkingTime,
    /// A calendar is missing or contains itself.
    CalendarIgnored,
    /// A date is beyond what the engine computes with.
    OutOfRange,
}

/// Way out of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Remove a dependency.
    RemoveLink(Uuid),
    /// Remove the constraint of a task.
    RemoveConstraint(Uuid),
    /// Make a task automatic.
    MakeAutomatic(Uuid),
    /// Move the deadline of a task to its finish.
    MoveDeadline(Uuid),
    /// Shorten the critical tasks before a task.
    ShortenDrivers(Uuid),
    /// Correct the actual dates of a task.
    CorrectActuals(Uuid),
    /// Edit a calendar.
    EditCalendar(Uuid),
    /// Move a task to another place of the outline.
    MoveInOutline(Uuid),
}

/// Returns the problems of a plan as the app states them.
pub fn problems(plan: &ProjectPlan, problems: &[Problem]) -> Vec<PlanProblem> {
    problems.iter().filter_map(|problem| plan_problem(plan, problem)).collect()
}

fn plan_problem(plan: &ProjectPlan, problem: &Problem) -> Option<PlanProblem> {
    let of_task = |kind, task: TaskId, remedies: fn(Uuid) -> Vec<Remedy>| {
        let task = plan.task_id(task.0)?;
        Some(PlanProblem { kind, tasks: vec![task], link: None, calendar: None, remedies: remedies(task) })
    };
    match problem {
        Problem::Cycle(tasks) => Some(ring_problem(plan, tasks)),
        Problem::LinkIgnored(link) => link_problem(plan, ProblemKind::LinkIgnored, *link, |_| Vec::new()),
        Problem::LinkBroken(link) => {
            link_problem(plan, ProblemKind::LinkBroken, *link, |successor| fixed_date_remedies(plan, successor))
        }
        Problem::ConstraintBeatsLink { task, link } => {
            let constrained = plan.task_id(*task);
            link_problem(plan, ProblemKind::ConstraintBeatsLink, *link, |_| {
                constrained.map(Remedy::RemoveConstraint).into_iter().collect()
            })
        }
        Problem::ParentIgnored(task) => {
            of_task(ProblemKind::OutlineIgnored, *task, |task| vec![Remedy::MoveInOutline(task)])
        }
        Problem::ReferenceIgnored(task) => of_task(ProblemKind::ReferenceIgnored, *task, |_| Vec::new()),
        Problem::ConstraintBroken(task) => of_task(ProblemKind::ConstraintBroken, *task, |task| {
            vec![Remedy::RemoveConstraint(task), Remedy::ShortenDrivers(task)]
        }),
        Problem::DeadlineMissed(task) => of_task(ProblemKind::DeadlineMissed, *task, |task| {
            vec![Remedy::ShortenDrivers(task), Remedy::MoveDeadline(task)]
        }),
        Problem::OutOfRange(task) => {
            of_task(ProblemKind::OutOfRange, *task, |task| vec![Remedy::RemoveConstraint(task)])
        }
        Problem::NoWorkingTime(calendar) => Some(calendar_problem(plan, ProblemKind::NoWorkingTime, *calendar)),
        Problem::CalendarIgnored(calendar) => Some(calendar_problem(plan, ProblemKind::CalendarIgnored, *calendar)),
    }
}

/// Returns the problem of a link; its successor comes first.
fn link_problem(
    plan: &ProjectPlan,
    kind: ProblemKind,
    link: u32,
    remedies: impl FnOnce(u32) -> Vec<Remedy>,
) -> Option<PlanProblem> {
    let entry = plan.plan.links.get(link as usize)?;
    let id = plan.link_id(link)?;
    let mut remedies = remedies(entry.successor);
    remedies.push(Remedy::RemoveLink(id));
    let tasks = [entry.successor, entry.predecessor].into_iter().filter_map(|task| plan.task_id(task)).collect();
    Some(PlanProblem { kind, tasks, link: Some(id), calendar: None, remedies })
}

/// Returns ways out of dates that a person fixed.
fn fixed_date_remedies(plan: &ProjectPlan, task: u32) -> Vec<Remedy> {
    let (Some(entry), Some(id)) = (plan.plan.tasks.get(task as usize), plan.task_id(task)) else { return Vec::new() };
    if entry.mode == Mode::Manual {
        vec![Remedy::MakeAutomatic(id)]
    } else if entry.actual_start.is_some() || entry.actual_finish.is_some() {
        vec![Remedy::CorrectActuals(id)]
    } else {
        Vec::new()
    }
}

/// Returns the problem of a ring; each of its dependencies can be removed.
fn ring_problem(plan: &ProjectPlan, ring: &[TaskId]) -> PlanProblem {
    let members: HashSet<u32> = ring.iter().map(|task| task.0).collect();
    let within = plan
        .plan
        .links
        .iter()
        .zip(&plan.link_ids)
        .filter(|(link, _)| members.contains(&link.predecessor) && members.contains(&link.successor));
    PlanProblem {
        kind: ProblemKind::Ring,
        tasks: ring.iter().filter_map(|task| plan.task_id(task.0)).collect(),
        link: None,
        calendar: None,
        remedies: within.take(MAX_REMEDIES).map(|(_, id)| Remedy::RemoveLink(*id)).collect(),
    }
}

fn calendar_problem(plan: &ProjectPlan, kind: ProblemKind, calendar: CalendarIndex) -> PlanProblem {
    let users = plan.plan.tasks.iter().zip(&plan.task_ids).filter(|(task, _)| task.calendar == Some(calendar));
    let id = calendar_id(plan, calendar);
    PlanProblem {
        kind,
        tasks: users.take(MAX_REMEDIES).map(|(_, id)| *id).collect(),
        link: None,
        calendar: id,
        remedies: id.map(Remedy::EditCalendar).into_iter().collect(),
    }
}
