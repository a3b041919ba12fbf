//! Plan of a project on a device: source rows of the sync engine in, derived rows out. Pure.
//!
//! A [`DevicePlan`] follows the rows of one project in an [`pmo_sync::Engine`] and computes the
//! derived columns that differ from those of the server. The host dispatches them as
//! [`pmo_sync::Event::SetDerived`]. [`expand_typed`] turns typed dates into inputs before they
//! enter the outbox.
//!
//! Invariant: derived columns are shown only if the device holds all rows of the plan.
//!
//! Invariant: the plan is built from source rows, never from derived columns.
//!
//! Must not: do I/O, read a clock.

mod completeness; // which rows of a plan the device lacks
mod device_plan; // plan and schedule of one project
mod held_rows; // rows of a list, read again only if they changed
mod typed; // typed values to inputs

#[cfg(test)]
mod tests;

pub use completeness::{MissingPart, PlanState};
pub use device_plan::{DevicePlan, PlanUpdate};
pub use typed::{Typed, expand_typed, project_of, projects_with_pending_inputs};
