//! Which rows of a plan the device lacks.

use pmo_project_plan::Missing;

/// Source of the dates that a device shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanState {
    /// The device holds the whole plan and computes its dates.
    Computed,
    /// The device shows the dates of the server.
    ServerDates {
        /// What the device lacks; never empty.
        missing: Vec<MissingPart>,
    },
}

/// Part of a plan that a device lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingPart {
    /// Row of the project.
    Project,
    /// Tasks; some are not loaded yet, or the user may not view them.
    Tasks,
    /// Dependencies.
    Dependencies,
    /// Assignments.
    Assignments,
    /// Row of the schedule, which contains the calendars.
    Schedule,
    /// Something that the rows refer to.
    Referenced(Missing),
}

impl PlanState {
    /// Returns the state of a device that lacks `missing`.
    pub(crate) fn of(missing: Vec<MissingPart>) -> Self {
        if missing.is_empty() { Self::Computed } else { Self::ServerDates { missing } }
    }
}
