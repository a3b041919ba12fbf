//! Edits of a task: what they need, what they imply, why they fail.

use crate::cell::{minutes_value, moment_value};
use crate::options::OptionName;
use crate::{CalendarSet, ConstraintType, ProjectInput, Row, TaskInput};
use pmo_planning::{Mode, Moment, Span};
use serde_json::Value;
use std::fmt;

/// What [`crate::expand_patch`] must know besides the row.
#[derive(Clone, Copy, Debug)]
pub struct EditContext<'a> {
    /// Project of the task after the patch; `None` if it has none.
    pub project: Option<&'a ProjectInput>,
    /// Calendars of the project, its tasks and its people.
    pub calendars: &'a CalendarSet,
    /// Present dates of the task; `None` to take them from the derived columns of the row.
    pub current: Option<CurrentDates>,
}

/// Dates of a task before an edit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CurrentDates {
    /// Start; [`Moment::NONE`] if unknown.
    pub start: Moment,
    /// Finish; [`Moment::NONE`] if unknown.
    pub finish: Moment,
    /// Whether the task contains tasks.
    pub is_summary: bool,
}

/// Consequence of a typed value, which the app states and can take back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImpliedChange {
    /// A constraint was set; taking it back sets the constraint before.
    ConstraintSet {
        /// Type.
        constraint: ConstraintType,
        /// Date.
        date: Moment,
        /// Type before.
        before: ConstraintType,
        /// Date before.
        date_before: Moment,
    },
    /// The constraint was removed.
    ConstraintRemoved {
        /// Type before.
        before: ConstraintType,
        /// Date before.
        date_before: Moment,
    },
    /// The duration was changed.
    DurationSet {
        /// Duration.
        duration: Span,
        /// Duration before; `None` if not stated.
        before: Option<Span>,
    },
    /// The dates of a manual task were set.
    ManualDatesSet {
        /// Start.
        start: Moment,
        /// Finish.
        finish: Moment,
    },
    /// The task became manual, as new tasks of the project are.
    ManualMode,
    /// The actual start was set; [`Moment::NONE`] if it was removed.
    ActualStartSet(Moment),
    /// The actual finish was set; [`Moment::NONE`] if it was removed.
    ActualFinishSet(Moment),
    /// The stated actual duration was removed, so that the percentage counts.
    ActualDurationRemoved,
}

impl ImpliedChange {
    /// Returns the patch that takes the change back; `None` if that makes no sense by itself.
    pub fn undo_patch(&self) -> Option<Row> {
        let mut patch = Row::new();
        match self {
            Self::ConstraintSet { before, date_before, .. } | Self::ConstraintRemoved { before, date_before } => {
                patch.insert("dl__constraint_type".to_owned(), Value::from(before.name()));
                patch.insert("constraint_ts".to_owned(), moment_value(*date_before));
            }
            Self::DurationSet { before, .. } => {
                patch.insert("duration_minutes".to_owned(), before.map_or(Value::Null, minutes_value));
            }
            Self::ManualMode => {
                patch.insert("dl__schedule_mode".to_owned(), Value::from(Mode::Automatic.name()));
            }
            Self::ManualDatesSet { .. }
            | Self::ActualStartSet(_)
            | Self::ActualFinishSet(_)
            | Self::ActualDurationRemoved => return None,
        }
        Some(patch)
    }
}

/// Reason why a typed value is not possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EditError {
    /// A value of an automatic summary follows from the tasks below it.
    SummaryIsComputed {
        /// Column.
        column: &'static str,
    },
    /// The finish is before the start that was typed with it.
    FinishBeforeStart,
    /// A value that the column cannot contain.
    Invalid {
        /// Column.
        column: &'static str,
    },
    /// A duration or date beyond what the engine computes with.
    OutOfRange {
        /// Column.
        column: &'static str,
    },
    /// A task that is inactive or not in a project has no bar to edit.
    NotScheduled,
}

impl fmt::Display for EditError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SummaryIsComputed { column } => {
                write!(formatter, "{column} of a summary is computed from the tasks below it")
            }
            Self::FinishBeforeStart => formatter.write_str("the finish is before the start"),
            Self::Invalid { column } => write!(formatter, "{column} has an invalid value"),
            Self::OutOfRange { column } => write!(formatter, "{column} is out of range"),
            Self::NotScheduled => formatter.write_str("the task is not scheduled"),
        }
    }
}

impl std::error::Error for EditError {}

impl CurrentDates {
    /// Returns the derived dates that a row stores.
    pub fn stored_in(task: &TaskInput) -> Self {
        Self { start: task.stored.start, finish: task.stored.finish, is_summary: task.stored.is_summary }
    }
}
