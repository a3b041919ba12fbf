//! Inputs of a schedule, as the rows of a project state them.
//!
//! Each type deserializes from the JSON text of an entity row. It ignores other columns; a value
//! that cannot be read keeps its default, and its column is listed in `unreadable`.

mod project;
mod task;

pub use project::ProjectInput;
pub use task::TaskInput;

use crate::calendar_json::CalendarSet;
use crate::cell::{Cell, Columns, Unreadable, deserialize_columns};
use crate::typed_cell::{read_code, read_option, read_percent, read_segments, read_units};
use crate::units::{LagUnit, Percent};
use pmo_planning::{LinkKind, Moment, Span, Units};
use serde::de::{Deserialize, Deserializer};
use uuid::Uuid;

/// Rows from which a plan is built, each list in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanInput {
    /// The project.
    pub project: ProjectInput,
    /// Tasks; those of other projects count as [`PlanInput::external_tasks`].
    pub tasks: Vec<TaskInput>,
    /// Dependencies.
    pub dependencies: Vec<DependencyInput>,
    /// Assignments.
    pub assignments: Vec<AssignmentInput>,
    /// Calendars of project, tasks and people.
    pub calendars: CalendarSet,
    /// Predecessors in other projects; their dates are given.
    pub external_tasks: Vec<ExternalTask>,
}

/// Row of a dependency.
#[derive(Clone, Debug, PartialEq)]
pub struct DependencyInput {
    /// Id.
    pub id: Uuid,
    /// Task that comes before.
    pub predecessor_id: Uuid,
    /// Task that waits.
    pub successor_id: Uuid,
    /// Type.
    pub kind: LinkKind,
    /// Lag, if it is not a percentage.
    pub lag: Span,
    /// Lag as a percentage of the predecessor's duration; `None` for a lag in time.
    pub lag_percent: Option<Percent>,
    /// Unit in which the lag was entered.
    pub lag_unit: LagUnit,
    /// Whether the row is not archived.
    pub is_active: bool,
    /// Columns that could not be read.
    pub unreadable: Vec<String>,
}

/// Row of an assignment.
#[derive(Clone, Debug, PartialEq)]
pub struct AssignmentInput {
    /// Id.
    pub id: Uuid,
    /// Task.
    pub task_id: Uuid,
    /// Person; `None` for a role that has no person yet.
    pub employee_id: Option<Uuid>,
    /// Share of the person's time.
    pub units: Units,
    /// Work; `None` if it follows from duration and units.
    pub work: Option<Span>,
    /// Work that is done.
    pub actual_work: Option<Span>,
    /// Work that is left.
    pub remaining_work: Option<Span>,
    /// Working time from the start of the task to the start of the assignment.
    pub delay: Span,
    /// Working time by which levelling delays the assignment.
    pub leveling_delay: Span,
    /// Working time from start to end of work that is not spread evenly.
    pub duration: Option<Span>,
    /// Parts of a split assignment: offset and length in working time.
    pub segments: Vec<(Span, Span)>,
    /// Whether the row is not archived.
    pub is_active: bool,
    /// Columns that could not be read.
    pub unreadable: Vec<String>,
}

/// Row of a task of another project, of which only the dates count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExternalTask {
    /// Id.
    pub id: Uuid,
    /// Start; [`Moment::NONE`] if unknown.
    pub start: Moment,
    /// Finish; [`Moment::NONE`] if unknown.
    pub finish: Moment,
}

impl Default for DependencyInput {
    fn default() -> Self {
        Self {
            id: Uuid::nil(),
            predecessor_id: Uuid::nil(),
            successor_id: Uuid::nil(),
            kind: LinkKind::FinishToStart,
            lag: Span::ZERO,
            lag_percent: None,
            lag_unit: LagUnit::default(),
            is_active: true,
            unreadable: Vec::new(),
        }
    }
}

impl Default for AssignmentInput {
    fn default() -> Self {
        Self {
            id: Uuid::nil(),
            task_id: Uuid::nil(),
            employee_id: None,
            units: Units::WHOLE,
            work: None,
            actual_work: None,
            remaining_work: None,
            delay: Span::ZERO,
            leveling_delay: Span::ZERO,
            duration: None,
            segments: Vec::new(),
            is_active: true,
            unreadable: Vec::new(),
        }
    }
}

/// Adds reading from rows and from their JSON text to a type.
macro_rules! read_from_rows {
    ($($input:ty),*) => {$(
        impl<'de> Deserialize<'de> for $input {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize_columns(deserializer)
            }
        }

        impl $input {
            /// Reads a row.
            pub fn from_row(row: &crate::Row) -> Self {
                Columns::read(row)
            }
        }
    )*};
}
read_from_rows!(ProjectInput, TaskInput, DependencyInput, AssignmentInput, ExternalTask);

impl Columns for DependencyInput {
    fn set(&mut self, column: &str, cell: &Cell<'_>) -> Result<(), Unreadable> {
        match column {
            "id" => self.id = cell.id()?.unwrap_or_default(),
            "predecessor__task_id" => self.predecessor_id = cell.id()?.unwrap_or_default(),
            "successor__task_id" => self.successor_id = cell.id()?.unwrap_or_default(),
            "dl__dependency_type" => self.kind = read_option(cell)?.unwrap_or_default(),
            "lag_minutes" => self.lag = cell.minutes()?.unwrap_or_default(),
            "lag_pct" => self.lag_percent = read_percent(cell)?,
            "lag_unit" => self.lag_unit = read_code(cell, LagUnit::from_code)?.unwrap_or_default(),
            "active_flag" => self.is_active = cell.flag()?.unwrap_or(true),
            _ => {}
        }
        Ok(())
    }

    fn note_unreadable(&mut self, column: &str) {
        self.unreadable.push(column.to_owned());
    }
}

impl Columns for AssignmentInput {
    fn set(&mut self, column: &str, cell: &Cell<'_>) -> Result<(), Unreadable> {
        match column {
            "id" => self.id = cell.id()?.unwrap_or_default(),
            "task_id" => self.task_id = cell.id()?.unwrap_or_default(),
            "employee_id" => self.employee_id = cell.id()?,
            "units_pct" => self.units = read_units(cell)?,
            "work_hours" => self.work = cell.span(600.0)?,
            "actual_work_hours" => self.actual_work = cell.span(600.0)?,
            "remaining_work_hours" => self.remaining_work = cell.span(600.0)?,
            "delay_minutes" => self.delay = cell.positive_minutes()?.unwrap_or_default(),
            "leveling_delay_minutes" => self.leveling_delay = cell.positive_minutes()?.unwrap_or_default(),
            "duration_minutes" => self.duration = cell.positive_minutes()?,
            "segments" => self.segments = read_segments(cell)?,
            "active_flag" => self.is_active = cell.flag()?.unwrap_or(true),
            _ => {}
        }
        Ok(())
    }

    fn note_unreadable(&mut self, column: &str) {
        self.unreadable.push(column.to_owned());
    }
}

impl Columns for ExternalTask {
    fn set(&mut self, column: &str, cell: &Cell<'_>) -> Result<(), Unreadable> {
        match column {
            "id" => self.id = cell.id()?.unwrap_or_default(),
            "start_ts" => self.start = cell.moment()?.unwrap_or_default(),
            "finish_ts" => self.finish = cell.moment()?.unwrap_or_default(),
            _ => {}
        }
        Ok(())
    }

    fn note_unreadable(&mut self, _column: &str) {}
}
