//! Row of a task.

use crate::cell::{Cell, Columns, Unreadable};
use crate::derived_columns::DerivedColumns;
use crate::options::ConstraintType;
use crate::typed_cell::{read_code, read_option, read_percent, read_segments};
use crate::units::{DurationUnit, Percent};
use pmo_planning::{Constraint, Day, Mode, Moment, Span, TaskType};
use uuid::Uuid;

/// Row of a task: what people entered, and the derived columns that are stored.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskInput {
    /// Id.
    pub id: Uuid,
    /// Project; a task without one is not scheduled.
    pub project_id: Option<Uuid>,
    /// Summary that contains the task.
    pub parent_id: Option<Uuid>,
    /// Position among its siblings; compared byte by byte.
    pub rank: Option<String>,
    /// Whether the row is not archived; an archived task is not scheduled.
    pub is_active: bool,
    /// Whether the task is a milestone.
    pub is_milestone: bool,
    /// Who decides on the dates.
    pub mode: Mode,
    /// Type of the constraint.
    pub constraint_type: ConstraintType,
    /// Date of the constraint.
    pub constraint_date: Moment,
    /// Date by which the task should be finished.
    pub deadline: Moment,
    /// Start of a manual task.
    pub manual_start: Moment,
    /// Finish of a manual task.
    pub manual_finish: Moment,
    /// Calendar; `None` for that of the project.
    pub calendar_id: Option<Uuid>,
    /// Whether calendars of people have no effect.
    pub ignores_resource_calendars: bool,
    /// Duration; `None` if not stated. Elapsed time if the unit is.
    pub duration: Option<Span>,
    /// Unit in which the duration was entered.
    pub duration_unit: DurationUnit,
    /// Whether the duration is an estimate.
    pub is_estimated: bool,
    /// Value that stays when others change.
    pub task_type: TaskType,
    /// Whether adding people divides the work among them.
    pub is_effort_driven: bool,
    /// Priority for levelling, 0 to 1000.
    pub priority: u16,
    /// Elapsed time by which levelling delays the task.
    pub leveling_delay: Span,
    /// Day of the actual start; `None` if the task has not begun.
    pub actual_start_date: Option<Day>,
    /// Hour of the actual start; counts only on the day of `actual_start_date`.
    pub actual_start: Moment,
    /// Day of the actual finish; `None` if the task is not finished.
    pub actual_end_date: Option<Day>,
    /// Hour of the actual finish; counts only on the day of `actual_end_date`.
    pub actual_end: Moment,
    /// Duration that is done; `None` for `completion` of the duration.
    pub actual_duration: Option<Span>,
    /// Duration that is done, as a percentage.
    pub completion: Percent,
    /// End of the done part of a split task.
    pub stop: Moment,
    /// Start of the rest.
    pub resume: Moment,
    /// Parts of a split task: offset and length in working time.
    pub segments: Vec<(Span, Span)>,
    /// People.
    pub assignee_ids: Vec<Uuid>,
    /// Derived columns as stored.
    pub stored: DerivedColumns,
    /// Columns that could not be read.
    pub unreadable: Vec<String>,
}

impl Default for TaskInput {
    fn default() -> Self {
        Self {
            id: Uuid::nil(),
            project_id: None,
            parent_id: None,
            rank: None,
            is_active: true,
            is_milestone: false,
            mode: Mode::Automatic,
            constraint_type: ConstraintType::AsSoonAsPossible,
            constraint_date: Moment::NONE,
            deadline: Moment::NONE,
            manual_start: Moment::NONE,
            manual_finish: Moment::NONE,
            calendar_id: None,
            ignores_resource_calendars: false,
            duration: None,
            duration_unit: DurationUnit::Days,
            is_estimated: false,
            task_type: TaskType::FixedUnits,
            is_effort_driven: false,
            priority: 500,
            leveling_delay: Span::ZERO,
            actual_start_date: None,
            actual_start: Moment::NONE,
            actual_end_date: None,
            actual_end: Moment::NONE,
            actual_duration: None,
            completion: Percent(0),
            stop: Moment::NONE,
            resume: Moment::NONE,
            segments: Vec::new(),
            assignee_ids: Vec::new(),
            stored: DerivedColumns::default(),
            unreadable: Vec::new(),
        }
    }
}

impl TaskInput {
    /// Returns the duration: the stated one, 0 for a milestone, else a day.
    pub fn duration_or_default(&self, day: Span) -> Span {
        self.duration.unwrap_or(if self.is_milestone { Span::ZERO } else { day })
    }

    /// Returns the constraint.
    pub fn constraint(&self) -> Constraint {
        self.constraint_type.with_date(self.constraint_date)
    }

    /// Returns whether a project schedules the task: it has a project and is not archived.
    pub fn is_scheduled(&self) -> bool {
        self.project_id.is_some() && self.is_active
    }

    /// Takes over the value of a column that says how the task is scheduled.
    fn set_rule(&mut self, column: &str, cell: &Cell<'_>) -> Result<(), Unreadable> {
        match column {
            "dl__schedule_mode" => self.mode = read_option(cell)?.unwrap_or_default(),
            "dl__constraint_type" => self.constraint_type = read_option(cell)?.unwrap_or_default(),
            "constraint_ts" => self.constraint_date = cell.moment()?.unwrap_or_default(),
            "deadline_ts" => self.deadline = cell.moment()?.unwrap_or_default(),
            "manual_start_ts" => self.manual_start = cell.moment()?.unwrap_or_default(),
            "manual_finish_ts" => self.manual_finish = cell.moment()?.unwrap_or_default(),
            "calendar_id" => self.calendar_id = cell.id()?,
            "ignore_resource_calendars_flag" => self.ignores_resource_calendars = cell.flag()?.unwrap_or(false),
            "duration_minutes" => {
                self.duration = cell.positive_minutes()?;
                self.stored.duration = self.duration;
            }
            "duration_unit" => self.duration_unit = read_code(cell, DurationUnit::from_code)?.unwrap_or_default(),
            "estimated_flag" => self.is_estimated = cell.flag()?.unwrap_or(false),
            "dl__effort_type" => self.task_type = read_option(cell)?.unwrap_or_default(),
            "effort_driven_flag" => self.is_effort_driven = cell.flag()?.unwrap_or(false),
            "leveling_priority" => self.priority = read_priority(cell)?,
            "leveling_delay_minutes" => self.leveling_delay = cell.positive_minutes()?.unwrap_or_default(),
            _ => return self.set_progress(column, cell),
        }
        Ok(())
    }

    /// Takes over the value of a column that says what is done.
    fn set_progress(&mut self, column: &str, cell: &Cell<'_>) -> Result<(), Unreadable> {
        match column {
            "actual_start_date" => self.actual_start_date = cell.day()?,
            "actual_start_ts" => self.actual_start = cell.moment()?.unwrap_or_default(),
            "actual_end_date" => self.actual_end_date = cell.day()?,
            "actual_end_ts" => self.actual_end = cell.moment()?.unwrap_or_default(),
            "actual_duration_minutes" => self.actual_duration = cell.positive_minutes()?,
            "completion_pct" => {
                let percent = read_percent(cell)?.unwrap_or_default();
                self.completion = Percent(percent.0.clamp(0, 10_000));
                self.stored.completion = Some(self.completion);
            }
            "stop_ts" => self.stop = cell.moment()?.unwrap_or_default(),
            "resume_ts" => self.resume = cell.moment()?.unwrap_or_default(),
            "segments" => self.segments = read_segments(cell)?,
            "assignee__employee_ids" => self.assignee_ids = cell.list(Cell::id)?,
            _ => return self.stored.set(column, cell),
        }
        Ok(())
    }
}

impl Columns for TaskInput {
    fn set(&mut self, column: &str, cell: &Cell<'_>) -> Result<(), Unreadable> {
        match column {
            "id" => self.id = cell.id()?.unwrap_or_default(),
            "project_id" => self.project_id = cell.id()?,
            "parent__task_id" => self.parent_id = cell.id()?,
            "rank" => self.rank = cell.text()?.map(str::to_owned),
            "active_flag" => self.is_active = cell.flag()?.unwrap_or(true),
            "milestone_flag" => self.is_milestone = cell.flag()?.unwrap_or(false),
            _ => return self.set_rule(column, cell),
        }
        Ok(())
    }

    fn note_unreadable(&mut self, column: &str) {
        self.unreadable.push(column.to_owned());
    }
}

fn read_priority(cell: &Cell<'_>) -> Result<u16, Unreadable> {
    let priority = cell.scaled(1.0)?.unwrap_or(500).clamp(0, 1_000);
    u16::try_from(priority).map_err(|_| Unreadable)
}
