//! Derived columns of a task: what follows from a schedule.

use crate::Row;
use crate::cell::{Cell, Unreadable, decimal_value, format_day, minutes_value, moment_value};
use crate::units::Percent;
use pmo_planning::{Day, Moment, Span};
use serde_json::Value;

/// Columns of a task that only the schedule sets.
///
/// Automatic summaries also derive `duration_minutes` and `completion_pct`.
pub const DERIVED_TASK_COLUMNS: [&str; 11] = [
    "start_ts",
    "finish_ts",
    "start_date",
    "due_date",
    "late_start_ts",
    "late_finish_ts",
    "total_slack_minutes",
    "free_slack_minutes",
    "remaining_duration_minutes",
    "critical_flag",
    "summary_flag",
];

/// Derived columns of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DerivedColumns {
    /// Start, `start_ts`.
    pub start: Moment,
    /// Finish, `finish_ts`.
    pub finish: Moment,
    /// Day of the start, `start_date`.
    pub start_date: Option<Day>,
    /// Day of the finish, `due_date`; a finish at midnight belongs to the day before.
    pub due_date: Option<Day>,
    /// Latest start, `late_start_ts`.
    pub late_start: Moment,
    /// Latest finish, `late_finish_ts`.
    pub late_finish: Moment,
    /// Total slack.
    pub total_slack: Option<Span>,
    /// Free slack.
    pub free_slack: Option<Span>,
    /// Duration that is left.
    pub remaining_duration: Option<Span>,
    /// Whether the task is critical.
    pub is_critical: bool,
    /// Whether the task contains tasks of the plan.
    pub is_summary: bool,
    /// Duration of an automatic summary; `None` if it is an input.
    pub duration: Option<Span>,
    /// Progress of an automatic summary; `None` if it is an input.
    pub completion: Option<Percent>,
}

impl DerivedColumns {
    /// Takes over the value of a stored column.
    pub(crate) fn set(&mut self, column: &str, cell: &Cell<'_>) -> Result<(), Unreadable> {
        match column {
            "start_ts" => self.start = cell.moment()?.unwrap_or_default(),
            "finish_ts" => self.finish = cell.moment()?.unwrap_or_default(),
            "start_date" => self.start_date = cell.day()?,
            "due_date" => self.due_date = cell.day()?,
            "late_start_ts" => self.late_start = cell.moment()?.unwrap_or_default(),
            "late_finish_ts" => self.late_finish = cell.moment()?.unwrap_or_default(),
            "total_slack_minutes" => self.total_slack = cell.minutes()?,
            "free_slack_minutes" => self.free_slack = cell.minutes()?,
            "remaining_duration_minutes" => self.remaining_duration = cell.minutes()?,
            "critical_flag" => self.is_critical = cell.flag()?.unwrap_or(false),
            "summary_flag" => self.is_summary = cell.flag()?.unwrap_or(false),
            _ => {}
        }
        Ok(())
    }

    /// Returns whether a stored column differs; inputs of the task do not count.
    pub fn differs_from(&self, stored: &Self) -> bool {
        let comparable = Self {
            duration: self.duration.and(stored.duration),
            completion: self.completion.and(stored.completion),
            ..stored.clone()
        };
        *self != comparable
    }

    /// Returns the columns as JSON, absent values as null.
    pub fn to_row(&self) -> Row {
        let day = |day: Option<Day>| day.map_or(Value::Null, |day| Value::from(format_day(day)));
        let span = |span: Option<Span>| span.map_or(Value::Null, minutes_value);
        let mut row = Row::new();
        let mut add = |column: &str, value: Value| row.insert(column.to_owned(), value);
        add("start_ts", moment_value(self.start));
        add("finish_ts", moment_value(self.finish));
        add("start_date", day(self.start_date));
        add("due_date", day(self.due_date));
        add("late_start_ts", moment_value(self.late_start));
        add("late_finish_ts", moment_value(self.late_finish));
        add("total_slack_minutes", span(self.total_slack));
        add("free_slack_minutes", span(self.free_slack));
        add("remaining_duration_minutes", span(self.remaining_duration));
        add("critical_flag", Value::from(self.is_critical));
        add("summary_flag", Value::from(self.is_summary));
        if let Some(duration) = self.duration {
            add("duration_minutes", minutes_value(duration));
        }
        if let Some(completion) = self.completion {
            add("completion_pct", decimal_value(i64::from(completion.0), 100));
        }
        row
    }
}

/// Returns the day of a finish; a finish at midnight after its start belongs to the day before.
pub(crate) fn due_day(start: Moment, finish: Moment) -> Day {
    let day = finish.day();
    if finish > start && finish == day.midnight() { Day(day.0 - 1) } else { day }
}
