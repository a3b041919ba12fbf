//! Rows of a plan, and what they refer to.

use pmo_project_plan::Row;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Maximum number of tasks of a plan.
pub const MAX_TASKS: usize = 20_000;

/// Rows of a project, by table; each is the JSON object of its columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanRows {
    /// Columns of the project.
    pub project: Row,
    /// Calendars.
    pub calendars: Vec<Row>,
    /// Exceptions of the calendars.
    pub exceptions: Vec<Row>,
    /// Tasks in outline order.
    pub tasks: Vec<Row>,
    /// Dependencies.
    pub dependencies: Vec<Row>,
    /// Assignments.
    pub assignments: Vec<Row>,
    /// Baselines.
    pub baselines: Vec<Row>,
    /// Calendar of each employee who has one, by id of the employee.
    pub employee_calendars: BTreeMap<Uuid, Uuid>,
}

/// Number of elements that rows do not contain, by element and reason.
pub type Skipped = BTreeMap<(String, &'static str), usize>;

/// What the rows of a file refer to.
pub struct RowContext<'a> {
    /// Id of the project.
    pub project_id: Uuid,
    /// Returns a new id, greater than those before.
    pub new_id: &'a mut dyn FnMut() -> Uuid,
    /// Employee of each resource that is one, by UID.
    pub people: &'a BTreeMap<i64, Uuid>,
}
