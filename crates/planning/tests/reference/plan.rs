//! Plans as the reference solver reads them; its answers.

use crate::calendar::{Calendar, standard};
use crate::moment::{Tick, at};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Constraint {
    Asap,
    Alap,
    MustStart(Tick),
    MustFinish(Tick),
    StartNoEarlier(Tick),
    StartNoLater(Tick),
    FinishNoEarlier(Tick),
    FinishNoLater(Tick),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Automatic,
    Manual { start: Tick, finish: Tick },
    Inactive,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    FinishStart,
    StartStart,
    FinishFinish,
    StartFinish,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lag {
    Work(Tick),
    Elapsed(Tick),
    Percent(i64),
    ElapsedPercent(i64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Link {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) kind: Kind,
    pub(crate) lag: Lag,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Assignment {
    pub(crate) resource: usize,
    pub(crate) work: Tick,
    pub(crate) units_percent: i64,
    /// Working time from the start of the task to the start of the assignment.
    pub(crate) delay: Tick,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) parent: Option<usize>,
    pub(crate) length: Tick,
    pub(crate) is_elapsed: bool,
    pub(crate) has_fixed_duration: bool,
    pub(crate) calendar: Option<usize>,
    pub(crate) ignores_resource_calendars: bool,
    pub(crate) constraint: Constraint,
    pub(crate) deadline: Option<Tick>,
    pub(crate) mode: Mode,
    pub(crate) actual_start: Option<Tick>,
    pub(crate) actual_finish: Option<Tick>,
    /// Working time that is done.
    pub(crate) done: Tick,
    /// Earliest beginning of the rest of a started task.
    pub(crate) resume: Option<Tick>,
    /// Levelling delay, elapsed.
    pub(crate) delay: Tick,
    /// Parts of a split task: working time of the gap before the part, and of the part.
    pub(crate) parts: Vec<(Tick, Tick)>,
    pub(crate) assignments: Vec<Assignment>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) start: Tick,
    /// Finish of a plan that is scheduled from its finish.
    pub(crate) from_finish: Option<Tick>,
    pub(crate) status: Option<Tick>,
    pub(crate) reschedules_rest: bool,
    pub(crate) honours_constraints: bool,
    pub(crate) retains_logic: bool,
    pub(crate) has_multiple_critical_paths: bool,
    pub(crate) slack_limit: Tick,
    /// The first is the project's.
    pub(crate) calendars: Vec<Calendar>,
    /// The calendar of each resource.
    pub(crate) resources: Vec<usize>,
    /// Tasks in outline order.
    pub(crate) tasks: Vec<Task>,
    pub(crate) links: Vec<Link>,
}

/// Dates and slack of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) start: Tick,
    pub(crate) finish: Tick,
    pub(crate) early_start: Tick,
    pub(crate) early_finish: Tick,
    pub(crate) late_start: Tick,
    pub(crate) late_finish: Tick,
    pub(crate) total: Tick,
    pub(crate) free: Tick,
    pub(crate) is_critical: bool,
    pub(crate) length: Tick,
    pub(crate) percent: i64,
    pub(crate) resume: Option<Tick>,
}

impl Task {
    pub(crate) fn new(name: &str, length: Tick) -> Self {
        Self {
            name: name.to_owned(),
            parent: None,
            length,
            is_elapsed: false,
            has_fixed_duration: false,
            calendar: None,
            ignores_resource_calendars: false,
            constraint: Constraint::Asap,
            deadline: None,
            mode: Mode::Automatic,
            actual_start: None,
            actual_finish: None,
            done: 0,
            resume: None,
            delay: 0,
            parts: vec![],
            assignments: vec![],
        }
    }
}

impl Plan {
    /// Returns a plan without tasks that starts on Monday 2 March 2026 at 8.
    pub(crate) fn new() -> Self {
        Self {
            start: at("Mon 2 Mar 08:00"),
            from_finish: None,
            status: None,
            reschedules_rest: false,
            honours_constraints: true,
            retains_logic: true,
            has_multiple_critical_paths: false,
            slack_limit: 0,
            calendars: vec![standard()],
            resources: vec![],
            tasks: vec![],
            links: vec![],
        }
    }

    pub(crate) fn is_summary(&self, task: usize) -> bool {
        self.tasks.iter().any(|other| other.parent == Some(task))
    }

    pub(crate) fn is_inactive(&self, task: usize) -> bool {
        self.tasks[task].mode == Mode::Inactive
    }

    /// Returns the tasks above a task, nearest first.
    pub(crate) fn ancestors(&self, task: usize) -> Vec<usize> {
        let mut ancestors = vec![];
        let mut next = self.tasks[task].parent;
        while let Some(parent) = next {
            ancestors.push(parent);
            next = self.tasks[parent].parent;
        }
        ancestors
    }

    /// Returns the active leaves of a summary; of a leaf, itself.
    pub(crate) fn leaves(&self, task: usize) -> Vec<usize> {
        let mut has_children = vec![false; self.tasks.len()];
        self.tasks.iter().filter_map(|task| task.parent).for_each(|parent| has_children[parent] = true);
        (0..self.tasks.len())
            .filter(|&leaf| !has_children[leaf] && !self.is_inactive(leaf))
            .filter(|&leaf| leaf == task || self.ancestors(leaf).contains(&task))
            .collect()
    }
}
