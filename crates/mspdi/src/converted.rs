//! Result of a conversion, with the positions by UID that its steps share.

use pmo_planning::{CalendarIndex, Plan};
use std::collections::HashMap;

/// Plan of a file, with the UIDs of its tasks.
#[derive(Clone, Debug, Default)]
pub struct Converted {
    /// Plan.
    pub plan: Plan,
    /// UIDs of the tasks, by position in the plan.
    pub uids: Vec<i64>,
    /// Position in [`crate::File::tasks`] of each task of the plan.
    pub rows: Vec<usize>,
    /// Position in [`crate::File::assignments`] of each assignment of the plan.
    pub assignment_rows: Vec<usize>,
}

/// Positions by UID.
pub(crate) struct Indexes {
    pub(crate) calendars: HashMap<i64, CalendarIndex>,
    pub(crate) tasks: HashMap<i64, u32>,
    pub(crate) resources: HashMap<i64, u32>,
}

/// Returns a position as the number by which plans refer to it.
pub(crate) fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
