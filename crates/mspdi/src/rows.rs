//! Maps the contents of a file to rows of a project, and rows to the contents of a file.
//!
//! [`to_rows`] is the import: inputs become columns, computed values do not.
//! [`PlanRows::schedule`] adds the derived columns. [`from_rows`] is the export: inputs and
//! computed values.
//!
//! Invariant: rows of a file, written as a file and read again, are the same rows but for their
//! ids.

mod assignments; // assignments of people and roles
mod baselines; // baselines to snapshots
mod calendars; // calendars and their exceptions
mod column; // values of columns
mod cycle; // circles of links
mod format; // units of durations and lags
mod from_assignments; // rows of assignments to assignments
mod from_calendars; // rows of calendars to calendars
mod from_rows; // rows to a file
mod from_tasks; // rows of tasks to tasks
mod links; // links to dependencies
mod mapping; // state of a mapping from a file
mod plan_rows; // rows of a plan
mod project; // settings of the project
mod schedule; // derived columns
mod source; // rows in the form that an export reads
mod tasks; // tasks
mod to_rows; // a file to rows

pub use from_rows::from_rows;
pub use plan_rows::{MAX_TASKS, PlanRows, RowContext, Skipped};
pub use source::{Exported, Person};
pub use to_rows::to_rows;

#[cfg(test)]
mod tests;
