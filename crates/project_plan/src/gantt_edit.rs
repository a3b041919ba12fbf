//! Edits of a Gantt chart as patches.

use crate::expand::{EditContext, EditError, ImpliedChange};
use crate::{LagUnit, Percent, ProjectPlan, Row, TaskInput};
use pmo_planning::{LinkKind, Moment, Schedule, Span};
use uuid::Uuid;

/// Patch of a row and what it implies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowEdit {
    /// Columns to write; contains inputs only.
    pub patch: Row,
    /// Consequences to state.
    pub implied: Vec<ImpliedChange>,
}

/// Lag of a link as a person enters it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LagEntry {
    /// Time with the unit in which it was entered.
    Time(Span, crate::DurationUnit),
    /// Percentage of the predecessor's duration: working time, or elapsed time.
    Percent(Percent, LagUnit),
}

/// Moves a task to a new start; its duration stays.
pub fn move_task(task: &TaskInput, context: &EditContext<'_>, start: Moment) -> Result<RowEdit, EditError> {
    let _ = (task, context, start);
    Ok(RowEdit::default())
}

/// Moves the start of a task; its finish stays.
pub fn resize_start(task: &TaskInput, context: &EditContext<'_>, start: Moment) -> Result<RowEdit, EditError> {
    let _ = (task, context, start);
    Ok(RowEdit::default())
}

/// Moves the finish of a task; its start stays.
pub fn resize_finish(task: &TaskInput, context: &EditContext<'_>, finish: Moment) -> Result<RowEdit, EditError> {
    let _ = (task, context, finish);
    Ok(RowEdit::default())
}

/// Sets the progress of a task.
pub fn set_progress(task: &TaskInput, context: &EditContext<'_>, completion: Percent) -> Result<RowEdit, EditError> {
    let _ = (task, context, completion);
    Ok(RowEdit::default())
}

/// Reason why two tasks cannot be linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// Both ends are the same task.
    Itself,
    /// One task contains the other.
    SummaryAndDescendant,
    /// The tasks are linked already, by this dependency.
    Duplicate(Uuid),
    /// The tasks would wait for each other; the path from the successor to the predecessor.
    Ring(Vec<Uuid>),
    /// A task is not part of the plan.
    UnknownTask(Uuid),
}

/// Returns the row of a new dependency, or why the tasks cannot be linked.
pub fn link(
    plan: &ProjectPlan,
    predecessor: Uuid,
    successor: Uuid,
    kind: LinkKind,
    lag: LagEntry,
) -> Result<Row, LinkError> {
    let _ = (plan, predecessor, successor, kind, lag);
    Ok(Row::new())
}

/// Returns the patch that gives a dependency another type and lag.
pub fn relag(kind: LinkKind, lag: LagEntry) -> Row {
    let _ = (kind, lag);
    Row::new()
}

/// Returns the work of the assignments after the duration of their task changed, as patches by id.
pub fn rescale_work(task: &TaskInput, assignments: &[crate::AssignmentInput], before: Span) -> Vec<(Uuid, Row)> {
    let _ = (task, assignments, before);
    Vec::new()
}

/// Number of tasks that an edit moves and the slip of the finish, in working time of the project.
pub fn impact(plan: &ProjectPlan, before: &Schedule, after: &Schedule) -> (usize, Span) {
    let _ = (plan, before, after);
    (0, Span::ZERO)
}
