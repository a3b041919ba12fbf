//! The plan that a file contains: tasks, dependencies and assigned people.

use jiff::civil::Date;
use std::collections::BTreeMap;

/// Task of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanTask {
    /// Unique id of the task in the file.
    pub uid: i64,
    /// Index of the parent in [`Plan::tasks`]; `None` at the top level.
    pub parent: Option<usize>,
    /// Task name.
    pub name: String,
    /// Task notes.
    pub notes: Option<String>,
    /// Outline number.
    pub wbs: String,
    /// First day.
    pub start: Option<Date>,
    /// Last day.
    pub finish: Option<Date>,
    /// Duration in working days.
    pub days: f64,
    /// First day of actual work.
    pub actual_start: Option<Date>,
    /// Day on which the work was finished.
    pub actual_finish: Option<Date>,
    /// Completion, 0 to 100.
    pub percent: f64,
    /// Whether the task is a milestone.
    pub milestone: bool,
    /// Whether the task has children.
    pub summary: bool,
    /// Priority, 0 to 1000; 500 is the default.
    pub priority: i64,
    /// Planned work in hours.
    pub work_hours: Option<f64>,
    /// Actual work in hours.
    pub actual_hours: Option<f64>,
}

/// Dependency between two tasks, by index in [`Plan::tasks`].
#[derive(Clone, Debug, PartialEq)]
pub struct PlanLink {
    /// Index of the predecessor.
    pub predecessor: usize,
    /// Index of the successor.
    pub successor: usize,
    /// Dependency type: FS, SS, FF or SF.
    pub kind: &'static str,
    /// Lag in working days; negative for a lead.
    pub lag_days: f64,
}

/// Person who is assigned to tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanResource {
    /// Name of the person.
    pub name: String,
    /// Email address.
    pub email: Option<String>,
    /// Assigned tasks, by index in [`Plan::tasks`].
    pub tasks: Vec<usize>,
}

/// Validated plan.
///
/// Invariant: links and parents refer to tasks of the plan, and the links have no cycle.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Title of the plan.
    pub title: Option<String>,
    /// First day.
    pub start: Option<Date>,
    /// Last day.
    pub finish: Option<Date>,
    /// Tasks in outline order: a parent precedes its children.
    pub tasks: Vec<PlanTask>,
    /// Dependencies between tasks.
    pub links: Vec<PlanLink>,
    /// Assigned people.
    pub resources: Vec<PlanResource>,
    /// Skipped elements: number by element and reason.
    pub skipped: BTreeMap<(String, &'static str), usize>,
}

impl Plan {
    /// Counts an element of the file that the plan does not contain.
    pub(super) fn record_skipped(&mut self, element: &str, reason: &'static str) {
        *self.skipped.entry((element.to_owned(), reason)).or_default() += 1;
    }
}
