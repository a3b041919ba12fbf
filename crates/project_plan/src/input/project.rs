//! Row of a project.

use crate::cell::{Cell, Columns, Unreadable};
use crate::typed_cell::read_option;
use crate::units::UnitSizes;
use pmo_planning::{Day, Direction, Moment, Span};
use uuid::Uuid;

/// Row of a project: the settings of its schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectInput {
    /// Id.
    pub id: Uuid,
    /// Day of the start.
    pub planned_start_date: Option<Day>,
    /// Hour of the start; counts only on the day of `planned_start_date`.
    pub planned_start: Moment,
    /// Day of the finish.
    pub planned_end_date: Option<Day>,
    /// Hour of the finish; counts only on the day of `planned_end_date`.
    pub planned_end: Moment,
    /// Day up to which progress has been entered.
    pub status_date: Option<Day>,
    /// Day on which the row was created, in UTC.
    pub created_date: Option<Day>,
    /// Calendar; `None` for Standard.
    pub calendar_id: Option<Uuid>,
    /// End from which the plan is scheduled.
    pub schedule_from: Direction,
    /// Whether new tasks are manual.
    pub new_tasks_manual: bool,
    /// Whether a date constraint wins over a link.
    pub honor_constraints: bool,
    /// Whether every end of the network has a critical path.
    pub multiple_critical_paths: bool,
    /// Whether the rest of a started task waits for its predecessors.
    pub splits_in_progress: bool,
    /// Whether remaining work of unfinished tasks is moved after the status date.
    pub reschedule_remaining: bool,
    /// Total slack up to which a task is critical, in thousandths of a day.
    pub critical_slack_day_thousandths: i64,
    /// Working time of a day, from `day_hours`.
    pub day: Span,
    /// Working time of a week, from `week_hours`.
    pub week: Span,
    /// Days of a month, in thousandths.
    pub month_day_thousandths: i64,
    /// Columns that could not be read.
    pub unreadable: Vec<String>,
}

impl Default for ProjectInput {
    fn default() -> Self {
        Self {
            id: Uuid::nil(),
            planned_start_date: None,
            planned_start: Moment::NONE,
            planned_end_date: None,
            planned_end: Moment::NONE,
            status_date: None,
            created_date: None,
            calendar_id: None,
            schedule_from: Direction::FromStart,
            new_tasks_manual: false,
            honor_constraints: true,
            multiple_critical_paths: false,
            splits_in_progress: true,
            reschedule_remaining: false,
            critical_slack_day_thousandths: 0,
            day: UnitSizes::default().day,
            week: UnitSizes::default().week,
            month_day_thousandths: 20_000,
            unreadable: Vec::new(),
        }
    }
}

impl ProjectInput {
    /// Returns the working time of the units of durations.
    pub fn unit_sizes(&self) -> UnitSizes {
        UnitSizes { day: self.day, week: self.week, month: self.day.scale(self.month_day_thousandths, 1_000) }
    }

    /// Returns the end from which the plan is scheduled: the finish only if its date is set.
    pub fn direction(&self) -> Direction {
        if self.planned_end_date.is_some() { self.schedule_from } else { Direction::FromStart }
    }

    /// Returns the total slack up to which a task is critical.
    pub fn critical_slack_limit(&self) -> Span {
        self.day.scale(self.critical_slack_day_thousandths, 1_000)
    }
}

impl Columns for ProjectInput {
    fn set(&mut self, column: &str, cell: &Cell<'_>) -> Result<(), Unreadable> {
        match column {
            "id" => self.id = cell.id()?.unwrap_or_default(),
            "planned_start_date" => self.planned_start_date = cell.day()?,
            "planned_start_ts" => self.planned_start = cell.moment()?.unwrap_or_default(),
            "planned_end_date" => self.planned_end_date = cell.day()?,
            "planned_end_ts" => self.planned_end = cell.moment()?.unwrap_or_default(),
            "status_date" => self.status_date = cell.day()?,
            "created_ts" => self.created_date = cell.day()?,
            "calendar_id" => self.calendar_id = cell.id()?,
            "dl__schedule_from" => self.schedule_from = read_option(cell)?.unwrap_or_default(),
            "new_tasks_manual_flag" => self.new_tasks_manual = cell.flag()?.unwrap_or(false),
            "honor_constraints_flag" => self.honor_constraints = cell.flag()?.unwrap_or(true),
            "multiple_critical_paths_flag" => self.multiple_critical_paths = cell.flag()?.unwrap_or(false),
            "splits_in_progress_flag" => self.splits_in_progress = cell.flag()?.unwrap_or(true),
            "reschedule_remaining_flag" => self.reschedule_remaining = cell.flag()?.unwrap_or(false),
            "critical_slack_days" => self.critical_slack_day_thousandths = cell.scaled(1_000.0)?.unwrap_or(0),
            "day_hours" => self.day = read_size(cell)?.unwrap_or(UnitSizes::default().day),
            "week_hours" => self.week = read_size(cell)?.unwrap_or(UnitSizes::default().week),
            "month_days" => {
                self.month_day_thousandths = cell.scaled(1_000.0)?.filter(|days| *days > 0).unwrap_or(20_000);
            }
            _ => {}
        }
        Ok(())
    }

    fn note_unreadable(&mut self, column: &str) {
        self.unreadable.push(column.to_owned());
    }
}

/// Reads the hours of a unit; a unit without working time would make all durations zero.
fn read_size(cell: &Cell<'_>) -> Result<Option<Span>, Unreadable> {
    cell.span(600.0)?.map(|size| if size > Span::ZERO { Ok(size) } else { Err(Unreadable) }).transpose()
}
