//! Plan of a project with the ids of its rows.

use crate::derived_columns::DerivedColumns;
use crate::{ProjectInput, UnitSizes};
use pmo_planning::{Plan, WorkingTime};
use std::collections::HashMap;
use uuid::Uuid;

/// Maximum number of tasks of a plan.
pub const MAX_TASKS: usize = 200_000;
/// Maximum number of dependencies, and of assignments, of a plan.
pub const MAX_LINKS: usize = 500_000;
/// Something that a plan refers to and that is not among its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Summary that contains a task.
    Parent {
        /// Task.
        task: Uuid,
        /// Summary.
        parent: Uuid,
    },
    /// Predecessor of a dependency.
    Predecessor {
        /// Dependency.
        dependency: Uuid,
        /// Predecessor.
        task: Uuid,
    },
    /// Calendar of the project, a task or a person, or the base of one.
    Calendar(Uuid),
    /// Tasks beyond [`MAX_TASKS`].
    Tasks,
    /// Dependencies or assignments beyond [`MAX_LINKS`].
    Links,
}

/// Fault of a row; its plan is built with a default instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputFault {
    /// A value that cannot be read.
    Unreadable {
        /// Id of the row.
        row: Uuid,
        /// Column.
        column: String,
    },
    /// Two rows with the id of a task.
    DuplicateTask(Uuid),
    /// A task that contains itself through other tasks.
    OutlineRing(Uuid),
    /// Values of a calendar that cannot be read, or are beyond the limits.
    Calendar(Uuid),
}

/// Plan of a project, with the ids of its rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProjectPlan {
    /// The plan: tasks of the project in outline order, then points of other projects' tasks.
    pub plan: Plan,
    /// Number of tasks of the project.
    pub task_count: usize,
    /// Id of the task at each position.
    pub task_ids: Vec<Uuid>,
    /// Id of the dependency of each link.
    pub link_ids: Vec<Uuid>,
    /// Id of each calendar; `None` for Standard.
    pub calendar_ids: Vec<Option<Uuid>>,
    /// Whether the task at each position contains tasks.
    pub is_summary: Vec<bool>,
    /// Settings of the project, for display.
    pub project: ProjectInput,
    /// Working time of the units of durations.
    pub unit_sizes: UnitSizes,
    /// What the rows refer to and is not there; dates then differ from those of the server.
    pub incomplete: Vec<Missing>,
    /// Faults of rows.
    pub faults: Vec<InputFault>,
    /// Derived columns of tasks that take no part in the schedule; they keep their dates.
    pub(crate) kept: HashMap<u32, DerivedColumns>,
    pub(crate) positions: HashMap<Uuid, u32>,
}

impl ProjectPlan {
    /// Returns the position of a task of the project.
    pub fn position(&self, task: Uuid) -> Option<u32> {
        self.positions.get(&task).copied()
    }

    /// Returns the id of the task at a position.
    pub fn task_id(&self, position: u32) -> Option<Uuid> {
        self.task_ids.get(position as usize).copied()
    }

    /// Returns the id of the dependency of a link.
    pub fn link_id(&self, link: u32) -> Option<Uuid> {
        self.link_ids.get(link as usize).copied()
    }

    /// Returns the working time of a task's calendar, or else that of the project.
    pub fn working_time(&self, position: u32) -> WorkingTime {
        let own = self.plan.tasks.get(position as usize).and_then(|task| task.calendar);
        WorkingTime::of_calendar(&self.plan.calendars, own.unwrap_or(self.plan.settings.calendar))
    }
}
