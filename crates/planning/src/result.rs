//! The schedule: what follows from a plan.

use crate::calendar::CalendarIndex;
use crate::model::TaskId;
use crate::moment::{Moment, Span};

/// Reason of a date: what would have to change for it to become earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// The start of the project.
    #[default]
    ProjectStart,
    /// The finish of the project, for plans scheduled from it and for ALAP tasks.
    ProjectFinish,
    /// A link, by position in [`crate::Plan::links`].
    Link(u32),
    /// The constraint of the task, or of a summary above it, by position of that task.
    Constraint(u32),
    /// An actual start or finish.
    Actual,
    /// The dates of a manual task, or of the manual summary above it, by position of that task.
    Manual(u32),
    /// The status date.
    StatusDate,
    /// A levelling delay.
    Leveling,
    /// Free time of a calendar between the date asked for and the date given.
    Calendar(CalendarIndex),
    /// The tasks below a summary, by position of the one that decides.
    Child(u32),
}

/// Statement of a plan that cannot be met or makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Tasks that wait for each other, in order; the first follows the last.
    Cycle(Vec<TaskId>),
    /// A link that leads nowhere, from a task to itself, or between a summary and its descendant.
    LinkIgnored(u32),
    /// A parent that does not precede its child; the task counts as one of the top level.
    ParentIgnored(TaskId),
    /// An assignment or segment that refers to nothing.
    ReferenceIgnored(TaskId),
    /// A link that the dates break, because a date is fixed by a person.
    LinkBroken(u32),
    /// A constraint that moves a task to an earlier date than a link asks for.
    ConstraintBeatsLink {
        /// Position of the task.
        task: u32,
        /// Position of the link.
        link: u32,
    },
    /// A constraint that the dates break, because constraints are not honored.
    ConstraintBroken(TaskId),
    /// A task that finishes after its deadline.
    DeadlineMissed(TaskId),
    /// A calendar in which nobody ever works; all time counts instead.
    NoWorkingTime(CalendarIndex),
    /// A calendar that is missing, or whose base calendars form a cycle.
    CalendarIgnored(CalendarIndex),
    /// A date beyond what the engine computes with.
    OutOfRange(TaskId),
}

/// Dates and slack of all tasks, by position in [`crate::Plan::tasks`].
///
/// All values of inactive tasks are absent ([`Moment::NONE`], zero).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Scheduled start.
    pub start: Vec<Moment>,
    /// Scheduled finish.
    pub finish: Vec<Moment>,
    /// Earliest start.
    pub early_start: Vec<Moment>,
    /// Earliest finish.
    pub early_finish: Vec<Moment>,
    /// Latest start that does not delay the project.
    pub late_start: Vec<Moment>,
    /// Latest finish that does not delay the project.
    pub late_finish: Vec<Moment>,
    /// Total slack.
    pub total_slack: Vec<Span>,
    /// Free slack: time by which the task can slip without delaying a successor.
    pub free_slack: Vec<Span>,
    /// Slack of the start.
    pub start_slack: Vec<Span>,
    /// Slack of the finish.
    pub finish_slack: Vec<Span>,
    /// Whether the task is critical.
    pub critical: Vec<bool>,
    /// Duration; for summaries the working time from start to finish in the project's calendar.
    pub duration: Vec<Span>,
    /// Duration that is done, as a percentage; rolled up for summaries.
    pub percent_complete: Vec<u8>,
    /// Beginning of the rest of a task in progress; [`Moment::NONE`] for others.
    pub resume: Vec<Moment>,
    /// Reason of the start.
    pub start_driver: Vec<Driver>,
    /// Reason of the finish, where it is another than the start and the duration.
    pub finish_driver: Vec<Driver>,
    /// Start of the project.
    pub project_start: Moment,
    /// Finish of the project.
    pub project_finish: Moment,
    /// Problems of the plan.
    pub problems: Vec<Problem>,
}
