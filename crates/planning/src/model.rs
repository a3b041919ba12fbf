//! The plan: what people entered. Contains no computed date.

use crate::calendar::{Calendar, CalendarIndex};
use crate::moment::{Moment, Span};

/// Identifier of a task, chosen by the caller; the engine only reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u32);

/// Plan in the form that [`crate::schedule`] reads.
///
/// Links, assignments and segments refer to tasks by their position in [`Plan::tasks`]. A reference
/// that leads nowhere is reported and otherwise ignored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Settings of the project.
    pub settings: Settings,
    /// Calendars; tasks, resources and settings refer to them by position.
    pub calendars: Vec<Calendar>,
    /// Tasks in outline order: a parent precedes its children.
    pub tasks: Vec<Task>,
    /// Links between tasks.
    pub links: Vec<Link>,
    /// People and other resources.
    pub resources: Vec<Resource>,
    /// Assignments of resources to tasks.
    pub assignments: Vec<Assignment>,
    /// Parts of split tasks and of split assignments, in order of time.
    pub segments: Vec<Segment>,
}

/// Settings of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Start of the project; used if the plan is scheduled from its start.
    pub start: Moment,
    /// Finish of the project; used if the plan is scheduled from its finish.
    pub finish: Moment,
    /// End from which the plan is scheduled.
    pub direction: Direction,
    /// Calendar of tasks without a calendar and without people.
    pub calendar: CalendarIndex,
    /// Date up to which progress has been entered; [`Moment::NONE`] if not stated.
    pub status_date: Moment,
    /// Whether remaining work of unfinished tasks is moved after the status date.
    pub reschedule_remaining: bool,
    /// Whether a date constraint wins over a link that asks for another date.
    pub honor_constraints: bool,
    /// Total slack up to which a task is critical.
    pub critical_slack_limit: Span,
    /// Whether every end of the network has a critical path, not only the latest.
    pub multiple_critical_paths: bool,
    /// Whether the rest of a started task waits for its predecessors (retained logic).
    ///
    /// Otherwise the rest goes on regardless of them (progress override).
    pub split_in_progress: bool,
}

/// End of the project from which a plan is scheduled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// As early as possible after the project start.
    #[default]
    FromStart,
    /// As late as possible before the project finish.
    FromFinish,
}

/// Who decides on the dates of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The engine.
    #[default]
    Automatic,
    /// A person: `manual_start` and `manual_finish` hold.
    Manual,
    /// Nobody: the task takes no part, and its links are as if absent.
    Inactive,
}

/// Value that stays when work, duration or units of a task change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskType {
    /// Units stay.
    #[default]
    FixedUnits,
    /// Duration stays; the task runs on its own calendar, whoever is assigned.
    FixedDuration,
    /// Work stays.
    FixedWork,
}

/// Constraint of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Constraint {
    /// As soon as possible.
    #[default]
    AsSoonAsPossible,
    /// As late as possible without delaying the project.
    AsLateAsPossible,
    /// Starts on the date.
    MustStartOn(Moment),
    /// Finishes on the date.
    MustFinishOn(Moment),
    /// Starts on the date or later.
    StartNoEarlierThan(Moment),
    /// Starts on the date or earlier.
    StartNoLaterThan(Moment),
    /// Finishes on the date or later.
    FinishNoEarlierThan(Moment),
    /// Finishes on the date or earlier.
    FinishNoLaterThan(Moment),
}

/// Task as entered. A task that is the parent of another is a summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Task {
    /// Identifier for reports.
    pub id: TaskId,
    /// Position of the summary that contains the task; it must be smaller than the task's own.
    pub parent: Option<u32>,
    /// Who decides on the dates.
    pub mode: Mode,
    /// Start of a manual task; [`Moment::NONE`] if not stated.
    pub manual_start: Moment,
    /// Finish of a manual task; [`Moment::NONE`] if not stated.
    pub manual_finish: Moment,
    /// Duration: working time, or elapsed time if `elapsed` is set; ignored for automatic
    /// summaries.
    pub duration: Span,
    /// Whether the duration counts all time, not only working time.
    pub elapsed: bool,
    /// Value that stays when others change.
    pub task_type: TaskType,
    /// Whether adding people keeps the work and divides it among them.
    pub effort_driven: bool,
    /// Calendar of the task; `None` for that of the project.
    pub calendar: Option<CalendarIndex>,
    /// Whether the calendars of assigned people have no effect; needs a task calendar.
    pub ignore_resource_calendars: bool,
    /// Constraint.
    pub constraint: Constraint,
    /// Date by which the task should be finished; [`Moment::NONE`] if there is none.
    pub deadline: Moment,
    /// Priority for levelling, 0 to 1000; at 1000 the task is never moved.
    pub priority: u16,
    /// Elapsed time by which levelling delays the task.
    pub leveling_delay: Span,
    /// Actual start; [`Moment::NONE`] if the task has not begun.
    pub actual_start: Moment,
    /// Actual finish; [`Moment::NONE`] if the task is not finished.
    pub actual_finish: Moment,
    /// Duration that is done.
    pub actual_duration: Span,
    /// End of the done part; [`Moment::NONE`] to derive it from the actual duration.
    pub stop: Moment,
    /// Beginning of the rest; [`Moment::NONE`] if the rest follows the done part.
    pub resume: Moment,
}

/// Type of a link: which end of the predecessor holds which end of the successor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LinkKind {
    /// The successor starts after the predecessor finishes.
    #[default]
    FinishToStart,
    /// The successor starts after the predecessor starts.
    StartToStart,
    /// The successor finishes after the predecessor finishes.
    FinishToFinish,
    /// The successor finishes after the predecessor starts.
    StartToFinish,
}

/// Time between the two ends of a link; negative for a lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lag {
    /// Working time on the calendar of the successor.
    Working(Span),
    /// Elapsed time.
    Elapsed(Span),
    /// Percentage of the predecessor's duration, as working time; elapsed if that duration is.
    Percent(i16),
    /// Percentage of the predecessor's duration, as elapsed time.
    ElapsedPercent(i16),
}

/// Link between two tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Link {
    /// Position of the predecessor.
    pub predecessor: u32,
    /// Position of the successor.
    pub successor: u32,
    /// Type.
    pub kind: LinkKind,
    /// Lag.
    pub lag: Lag,
}

/// Share of a resource's time, in hundredths of a percent: 10,000 is the whole of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Units(pub u32);

/// Kind of a resource; only work resources shape dates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResourceKind {
    /// Person or machine with working time.
    #[default]
    Work,
    /// Material.
    Material,
    /// Cost.
    Cost,
}

/// Person or other resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// Kind.
    pub kind: ResourceKind,
    /// Calendar; `None` for that of the project.
    pub calendar: Option<CalendarIndex>,
}

/// Assignment of a resource to a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Position of the task.
    pub task: u32,
    /// Position of the resource.
    pub resource: u32,
    /// Share of the resource's time.
    pub units: Units,
    /// Work in hours of the resource.
    pub work: Span,
    /// Working time from the start of the task to the start of the assignment.
    pub delay: Span,
    /// Working time by which levelling delays the assignment.
    pub leveling_delay: Span,
    /// Working time from the start to the end of the assignment; `None` for work divided by units.
    ///
    /// Stated for work that is not spread evenly.
    pub duration: Option<Span>,
}

/// Part of a split task or assignment.
///
/// Parts are positioned by working time from the start, so that they move with the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Position of the task.
    pub task: u32,
    /// Position of the assignment that is split; `None` if it is the task itself.
    pub assignment: Option<u32>,
    /// Working time from the start of the task or assignment to the start of the part.
    pub offset: Span,
    /// Working time of the part.
    pub length: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            start: Moment::NONE,
            finish: Moment::NONE,
            direction: Direction::FromStart,
            calendar: CalendarIndex(0),
            status_date: Moment::NONE,
            reschedule_remaining: false,
            honor_constraints: true,
            critical_slack_limit: Span::ZERO,
            multiple_critical_paths: false,
            split_in_progress: true,
        }
    }
}

impl Default for Lag {
    fn default() -> Self {
        Self::Working(Span::ZERO)
    }
}

impl Default for Units {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl Units {
    /// All of a resource's time: 100 %.
    pub const WHOLE: Self = Self(10_000);
}

impl Constraint {
    /// Returns the date of the constraint, if it has one.
    pub const fn date(self) -> Option<Moment> {
        match self {
            Self::AsSoonAsPossible | Self::AsLateAsPossible => None,
            Self::MustStartOn(date)
            | Self::MustFinishOn(date)
            | Self::StartNoEarlierThan(date)
            | Self::StartNoLaterThan(date)
            | Self::FinishNoEarlierThan(date)
            | Self::FinishNoLaterThan(date) => Some(date),
        }
    }
}

impl Task {
    /// Returns an automatic task with a duration in working time.
    pub fn new(id: u32, duration: Span) -> Self {
        Self { id: TaskId(id), duration, priority: 500, ..Self::default() }
    }
}

impl Link {
    /// Returns a finish-to-start link without lag.
    pub fn finish_to_start(predecessor: u32, successor: u32) -> Self {
        Self { predecessor, successor, ..Self::default() }
    }
}
