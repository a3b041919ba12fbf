//! Contents of a file, typed but not interpreted. Absent fields are `None`.

use pmo_planning::{Calendar, Moment, Span};

/// Project file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct File {
    /// Settings of the project.
    pub project: FileProject,
    /// Calendars.
    pub calendars: Vec<FileCalendar>,
    /// Tasks in outline order, with empty rows and the row of the project itself.
    pub tasks: Vec<FileTask>,
    /// Resources.
    pub resources: Vec<FileResource>,
    /// Assignments.
    pub assignments: Vec<FileAssignment>,
}

/// Settings of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileProject {
    /// Title, or else name.
    pub title: Option<String>,
    /// Whether the plan is scheduled from its start.
    pub schedule_from_start: Option<bool>,
    /// Start.
    pub start: Option<Moment>,
    /// Finish.
    pub finish: Option<Moment>,
    /// Status date.
    pub status_date: Option<Moment>,
    /// UID of the project calendar.
    pub calendar: Option<i64>,
    /// Minutes of a day; converts units only.
    pub minutes_per_day: Option<i64>,
    /// Minutes of a week; converts units only.
    pub minutes_per_week: Option<i64>,
    /// Days of a month; converts units only.
    pub days_per_month: Option<i64>,
    /// Total slack up to which a task is critical, in days.
    pub critical_slack_limit: Option<i64>,
    /// Whether every end has a critical path.
    pub multiple_critical_paths: Option<bool>,
    /// Whether work in progress may be split.
    pub splits_in_progress: Option<bool>,
    /// Whether date constraints win over links; stored as 0 by every version, whatever the setting.
    pub honor_constraints: Option<bool>,
    /// Whether new tasks are manual.
    pub new_tasks_are_manual: Option<bool>,
}

/// Calendar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileCalendar {
    /// UID.
    pub uid: i64,
    /// Name.
    pub name: Option<String>,
    /// Whether other calendars may be derived from it.
    pub is_base: bool,
    /// UID of the base calendar; `None` where the file states none or a negative one.
    pub base: Option<i64>,
    /// Hours; its base is set by the conversion.
    pub definition: Calendar,
    /// Names of the exceptions, in the order of the definition.
    pub exception_names: Vec<Option<String>>,
}

/// Task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileTask {
    /// UID.
    pub uid: i64,
    /// Row number; 0 for the row of the project itself.
    pub id: Option<i64>,
    /// Name.
    pub name: Option<String>,
    /// Notes.
    pub notes: Option<String>,
    /// Outline code.
    pub wbs: Option<String>,
    /// Depth in the outline, from 1.
    pub outline_level: i64,
    /// Whether the row is empty.
    pub is_null: bool,
    /// Whether the task takes part.
    pub active: bool,
    /// Whether a person decides on the dates.
    pub manual: bool,
    /// Whether the task is a copy of one in another project.
    pub external: bool,
    /// Whether the task stands for an inserted project.
    pub inserted_project: bool,
    /// Whether the task is drawn as a milestone.
    pub milestone: bool,
    /// Whether the file calls the task a summary.
    pub summary: bool,
    /// Whether the task recurs.
    pub recurring: bool,
    /// Start; an input only for manual, external and inserted tasks.
    pub start: Option<Moment>,
    /// Finish; an input only for manual, external and inserted tasks.
    pub finish: Option<Moment>,
    /// Start of a manual task.
    pub manual_start: Option<Moment>,
    /// Finish of a manual task.
    pub manual_finish: Option<Moment>,
    /// Duration of a manual task.
    pub manual_duration: Option<Span>,
    /// Duration.
    pub duration: Option<Span>,
    /// Unit of the duration; 35 to 52 for estimated ones.
    pub duration_format: Option<i64>,
    /// Type: 0 fixed units, 1 fixed duration, 2 fixed work.
    pub task_type: Option<i64>,
    /// Whether adding people keeps the total work and divides it again.
    pub effort_driven: bool,
    /// Constraint type, 0 to 7.
    pub constraint_type: Option<i64>,
    /// Date of the constraint.
    pub constraint_date: Option<Moment>,
    /// Deadline.
    pub deadline: Option<Moment>,
    /// UID of the calendar.
    pub calendar: Option<i64>,
    /// Whether calendars of people have no effect.
    pub ignore_resource_calendar: bool,
    /// Priority, 0 to 1000.
    pub priority: Option<i64>,
    /// Levelling delay in tenths of a minute.
    pub leveling_delay: Option<Span>,
    /// Unit of the levelling delay.
    pub leveling_delay_format: Option<i64>,
    /// Actual start.
    pub actual_start: Option<Moment>,
    /// Actual finish.
    pub actual_finish: Option<Moment>,
    /// Duration that is done.
    pub actual_duration: Option<Span>,
    /// Duration that is left.
    pub remaining_duration: Option<Span>,
    /// Percentage of the duration that is done.
    pub percent_complete: Option<i64>,
    /// Percentage that was entered independently of duration and work.
    pub physical_percent_complete: Option<i64>,
    /// End of the done part.
    pub stop: Option<Moment>,
    /// Beginning of the rest.
    pub resume: Option<Moment>,
    /// Work.
    pub work: Option<Span>,
    /// Work that is done.
    pub actual_work: Option<Span>,
    /// Links to predecessors.
    pub links: Vec<FileLink>,
    /// Baselines.
    pub baselines: Vec<FileBaseline>,
}

/// Link to a predecessor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileLink {
    /// UID of the predecessor.
    pub predecessor: i64,
    /// Type: 0 finish to finish, 1 finish to start, 2 start to finish, 3 start to start.
    pub kind: i64,
    /// Lag in tenths of a minute, or in percent.
    pub lag: i64,
    /// Unit of the lag.
    pub lag_format: i64,
    /// Whether the predecessor is in another project.
    pub cross_project: bool,
}

/// Baseline of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileBaseline {
    /// Number, 0 to 10.
    pub number: i64,
    /// Start.
    pub start: Option<Moment>,
    /// Finish.
    pub finish: Option<Moment>,
    /// Duration.
    pub duration: Option<Span>,
    /// Work.
    pub work: Option<Span>,
    /// Cost in hundredths of the currency.
    pub cost: Option<i64>,
}

/// Resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileResource {
    /// UID.
    pub uid: i64,
    /// Name.
    pub name: Option<String>,
    /// Email address.
    pub email: Option<String>,
    /// Type: 0 material, 1 work, 2 cost.
    pub kind: i64,
    /// UID of the calendar.
    pub calendar: Option<i64>,
    /// Maximum units, in hundredths of a percent.
    pub max_units: Option<u32>,
}

/// Assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileAssignment {
    /// UID.
    pub uid: i64,
    /// UID of the task.
    pub task: i64,
    /// UID of the resource; negative if nobody is assigned.
    pub resource: i64,
    /// Units in hundredths of a percent.
    pub units: Option<u32>,
    /// Work.
    pub work: Option<Span>,
    /// Overtime work; it takes no working time.
    pub overtime_work: Option<Span>,
    /// Delay in working time.
    pub delay: Option<Span>,
    /// Levelling delay in working time.
    pub leveling_delay: Option<Span>,
    /// Contour: 0 flat, 8 edited.
    pub contour: i64,
    /// Actual start.
    pub actual_start: Option<Moment>,
    /// Actual finish.
    pub actual_finish: Option<Moment>,
    /// Actual work.
    pub actual_work: Option<Span>,
    /// Remaining work.
    pub remaining_work: Option<Span>,
    /// End of the done part.
    pub stop: Option<Moment>,
    /// Beginning of the rest.
    pub resume: Option<Moment>,
    /// Work by time, remaining and actual.
    pub timephased: Vec<TimephasedRow>,
}

/// Work of an assignment in a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimephasedRow {
    /// Kind: 1 remaining work, 2 actual work.
    pub kind: i64,
    /// Start.
    pub start: Moment,
    /// Finish.
    pub finish: Moment,
    /// Work.
    pub work: Span,
}
