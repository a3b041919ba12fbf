//! Rows of a project to a plan, its schedule to derived columns, typed values to inputs. Pure.
//!
//! [`build`] turns the rows of a project into a plan of `pmo-planning`, by the rules of decision
//! record 0056. [`ProjectPlan::derived`] turns a schedule into the derived columns of a task.
//! [`expand_patch`] turns what a person typed into inputs. Browser and server use the same code.
//!
//! Invariant: the same rows give the same plan on every platform, in any order of the rows.
//!
//! Invariant: no input makes this crate panic. A value that cannot be read gets its default and is
//! reported ([`InputFault`]); what is not there is reported as [`Missing`].
//!
//! Must not: do I/O, read a clock.

mod actuals; // actual dates and progress of a task
mod assignments; // people of tasks and what each of them takes
pub mod baseline; // snapshots of schedules and their comparison
mod build; // rows to plan
mod calendar_json; // calendars as JSON
mod calendars; // calendars of a plan and their working time
mod cell; // values of columns, read with tolerance
mod derived; // derived columns from a schedule
mod derived_columns; // columns of a task that only the schedule sets
pub mod duration_text; // typed durations
mod edit; // what edits need and imply
mod expand; // typed values to inputs
pub mod explain; // why a task is where it is
pub mod gantt_edit; // edits of a Gantt chart as patches
mod input; // inputs as rows state them
mod links; // dependencies to links
mod options; // names of options that the engine knows
mod outline; // outline order
pub mod predecessor_text; // typed predecessors
mod project_plan; // plan with the ids of its rows
mod task_editor; // edits of the dates of one task
mod task_time; // working time of one task
mod typed_cell; // values that are options, units or parts
mod units; // units of durations

#[cfg(test)]
mod tests;

pub use build::build;
pub use calendar_json::{CalendarDefinition, CalendarSet, hours_from_json, hours_to_json};
pub use calendar_json::{exception_from_row, recurrence_from_json, recurrence_to_json};
pub use derived::remove_derived;
pub use derived_columns::{DERIVED_TASK_COLUMNS, DerivedColumns};
pub use edit::{CurrentDates, EditContext, EditError, ImpliedChange};
pub use expand::{expand_dependency_patch, expand_patch};
pub use input::{AssignmentInput, DependencyInput, ExternalTask, PlanInput, ProjectInput, TaskInput};
pub use options::{ConstraintType, OptionName};
pub use project_plan::{InputFault, MAX_LINKS, MAX_TASKS, Missing, ProjectPlan};
pub use units::{DurationUnit, LagUnit, Percent, UnitSizes};

/// Columns of a row by name, as in JSON; the same type as in `pmo-domain`.
pub type Row = serde_json::Map<String, serde_json::Value>;
