//! Why a task is where it is, and what is wrong with a plan.

use crate::ProjectPlan;
use pmo_planning::{Moment, Problem, Schedule};
use uuid::Uuid;

/// End of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    let _ = (plan, schedule, position, end);
    Vec::new()
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
    let _ = (plan, problems);
    Vec::new()
}
