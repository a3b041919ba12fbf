//! Rows in the form in which an export reads them, and its result.

use super::from_calendars::CalendarUids;
use super::plan_rows::PlanRows;
use crate::file::File;
use crate::write::Computed;
use pmo_planning::{Moment, Schedule};
use pmo_project_plan::{PlanInput, ProjectPlan, Row};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Person who is assigned to tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// Name.
    pub name: String,
    /// Email address.
    pub email: Option<String>,
}

/// Contents of a file with the values that programs compute from them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exported {
    /// Contents.
    pub file: File,
    /// Computed values.
    pub computed: Computed,
}

/// Rows in the form in which an export reads them.
pub(super) struct Source<'a> {
    pub(super) rows: &'a PlanRows,
    pub(super) input: PlanInput,
    pub(super) built: ProjectPlan,
    pub(super) schedule: Schedule,
    /// Rows of the tasks by position in the plan.
    pub(super) task_rows: Vec<&'a Row>,
    /// Index in the input by position in the plan.
    pub(super) task_inputs: Vec<usize>,
    /// UID of each task by position in the plan.
    pub(super) uids: Vec<i64>,
    pub(super) calendars: CalendarUids,
    pub(super) people: &'a BTreeMap<Uuid, Person>,
    /// Whether the stored dates are written, because the plan lacks rows.
    pub(super) is_partial: bool,
}

impl Source<'_> {
    /// Returns start and finish of a task: the computed ones, or the stored ones.
    pub(super) fn dates(&self, position: usize) -> (Moment, Moment) {
        let computed = (self.schedule.start[position], self.schedule.finish[position]);
        if !self.is_partial && computed.0.is_some() {
            return computed;
        }
        let stored = &self.input.tasks[self.task_inputs[position]].stored;
        (stored.start, stored.finish)
    }
}
