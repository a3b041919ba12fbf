//! Steps that `just bench planning` measures; the caller has the clock.

use crate::bare::Bare;
use crate::counting_allocator::{allocations, bytes};
use crate::hash::Hash;
use crate::plans::{Random, Rows};
use pmo_planning::{Constraint, Edit, Live, Moment, Plan, Span, Task, schedule};
use std::hint::black_box;

/// Days by which one drag moves a bar, step by step.
const DRAG_DAYS: [i32; 5] = [1, 2, 3, 5, 10];

/// Memory of a plan and of the engine, in bytes.
pub(crate) struct Memory {
    /// Plan, as entered.
    pub(crate) plan: i64,
    /// Engine with schedule, without the plan.
    pub(crate) engine: i64,
}

/// Plan with everything that is measured on it.
pub(crate) struct Bench {
    rows: Rows,
    plan: Plan,
    live: Live,
    bare: Bare,
    random: Random,
    /// Bar in hand, its start and its entry before the drag.
    bar: u32,
    begin: Moment,
    entry: Task,
    step: usize,
}

impl Bench {
    pub(crate) fn new(tasks: u32) -> Self {
        let rows = Rows::new(tasks);
        let plan = rows.plan();
        let mut bare = Bare::new(&rows);
        bare.full();
        let live = Live::new(plan.clone());
        let random = Random(7);
        let entry = Task::default();
        Self { rows, plan, live, bare, random, bar: 0, begin: Moment::NONE, entry, step: DRAG_DAYS.len() + 1 }
    }

    /// Builds plan and engine from the rows; returns the number of tasks.
    pub(crate) fn build(&self) -> usize {
        black_box(Live::new(self.rows.plan())).schedule().start.len()
    }

    /// Computes the whole schedule; returns the finish of the project.
    pub(crate) fn full(&self) -> i32 {
        black_box(schedule(&self.plan)).project_finish.0
    }

    /// Computes all dates without calendars; returns the finish.
    pub(crate) fn bare_full(&mut self) -> i32 {
        black_box(self.bare.full())
    }

    /// Moves the bar in hand by one step, or puts it back and takes another; returns the number of
    /// tasks that were computed.
    pub(crate) fn drag(&mut self) -> usize {
        if self.step > DRAG_DAYS.len() {
            self.take_bar();
        }
        let mut entry = self.entry;
        if let Some(days) = DRAG_DAYS.get(self.step) {
            entry.constraint = Constraint::StartNoEarlierThan(self.begin.plus(Span::hours(24 * days)));
        }
        self.step += 1;
        self.live.change(Edit::Task { task: self.bar, entry }).tasks.len()
    }

    fn take_bar(&mut self) {
        self.step = 0;
        loop {
            self.bar = self.random.below(u32::try_from(self.plan.tasks.len()).unwrap_or(u32::MAX));
            self.entry = self.plan.tasks[self.bar as usize];
            if self.entry.duration > Span::ZERO {
                break;
            }
        }
        self.begin = self.live.schedule().start[self.bar as usize];
    }

    /// Changes the length of a task in the bare arrays; returns the number of tasks swept.
    pub(crate) fn bare_change(&mut self) -> u32 {
        let tasks = u32::try_from(self.plan.tasks.len()).unwrap_or(u32::MAX);
        let (task, length) = (self.random.below(tasks), self.random.below(40));
        black_box(self.bare.change(task, i32::try_from(length).unwrap_or(0) * 600))
    }

    /// Returns the number of allocations that some steps of dragging make.
    pub(crate) fn allocations_of_drags(&mut self, steps: usize) -> u64 {
        let before = allocations();
        for _ in 0..steps {
            black_box(self.drag());
        }
        allocations() - before
    }

    /// Returns the hash of the whole schedule.
    pub(crate) fn hash(&self) -> u64 {
        let mut hash = Hash::new();
        hash.add_schedule(&schedule(&self.plan));
        hash.0
    }

    /// Returns the number of links.
    pub(crate) fn links(&self) -> usize {
        self.rows.links.len()
    }
}

/// Returns the memory of a plan of a size, with or without its links.
pub(crate) fn memory(tasks: u32, links: Links) -> Memory {
    let mut rows = Rows::new(tasks);
    if matches!(links, Links::Without) {
        rows.links = Vec::new();
    }
    let before = bytes();
    let plan = rows.plan();
    let with_plan = bytes();
    let live = Live::new(plan);
    let with_engine = bytes();
    black_box(&live);
    Memory { plan: with_plan - before, engine: with_engine - with_plan }
}

/// Whether a plan has its links.
#[derive(Clone, Copy)]
pub(crate) enum Links {
    With,
    Without,
}
