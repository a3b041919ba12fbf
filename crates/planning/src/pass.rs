//! State of the passes, and the arithmetic that forward and backward pass share.

use crate::graph::{Edge, NO_PARENT, Role};
use crate::model::{Lag, LinkKind, Mode, Plan, Task};
use crate::moment::{Moment, Span};
use crate::network::Network;
use crate::result::{Driver, Schedule};
use crate::work_table::WorkTable;

/// Amount of work that is not known.
pub(crate) const NO_WORK: i32 = i32::MIN;

/// Moment with the work before it on the table of the task at hand, or [`NO_WORK`].
///
/// Work that is known from a neighbor on the same table saves the search in the table. The moments
/// are the same with and without it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timed {
    pub(crate) moment: Moment,
    pub(crate) work: i32,
}

impl Timed {
    pub(crate) const NONE: Self = Self::unknown(Moment::NONE);

    pub(crate) const fn unknown(moment: Moment) -> Self {
        Self { moment, work: NO_WORK }
    }

    /// Returns the work before the moment.
    pub(crate) fn work_on(self, table: &WorkTable) -> i32 {
        if self.work == NO_WORK { table.work_before(self.moment) } else { self.work }
    }
}

/// Values of the passes that are no part of the schedule.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// Values of the summaries, by number of the summary.
    pub(crate) gates: Vec<Gates>,
    /// Latest moment that links may ask for as start of the task, or of its rest once it has begun.
    ///
    /// Absent if the task, or everything below a summary, is finished.
    pub(crate) late_rest: Vec<Moment>,
    /// Latest moment that links may ask for as finish of a leaf, or of every leaf below a summary.
    ///
    /// Absent if the task, or everything below a summary, is finished.
    pub(crate) late_first: Vec<Moment>,
    /// Work before the scheduled start of a leaf on its table; [`NO_WORK`] unless its length after
    /// the start is its finish.
    pub(crate) early_work: Vec<i32>,
    /// Work before the late start of a leaf on its table; [`NO_WORK`] unless its length after the
    /// late start is its late finish, and links may ask for that start.
    pub(crate) late_work: Vec<i32>,
}

/// What a summary passes on to everything below it, and sums of what is below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gates {
    /// Earliest start.
    pub(crate) start: Moment,
    /// Earliest start by links and constraints alone, without the project start.
    pub(crate) asked: Moment,
    /// Reason of `start`.
    pub(crate) driver: Driver,
    /// Earliest finish; absent for most.
    pub(crate) finish: Moment,
    /// Reason of `finish`.
    pub(crate) finish_driver: Driver,
    /// Latest finish; absent if only the project limits it.
    pub(crate) late_finish: Moment,
    /// Latest start of the first task; absent if only the finish limits it.
    pub(crate) late_start: Moment,
    /// Duration of the leaves that is done.
    pub(crate) done: i64,
    /// Duration of the leaves.
    pub(crate) duration: i64,
}

impl State {
    pub(crate) fn new(network: &Network) -> Self {
        let tasks = network.role.len();
        let gates = Gates {
            start: Moment::NONE,
            asked: Moment::MIN,
            driver: Driver::ProjectStart,
            finish: Moment::NONE,
            finish_driver: Driver::ProjectStart,
            late_finish: Moment::NONE,
            late_start: Moment::NONE,
            done: 0,
            duration: 0,
        };
        Self {
            gates: vec![gates; network.summaries],
            late_rest: vec![Moment::NONE; tasks],
            late_first: vec![Moment::NONE; tasks],
            early_work: vec![NO_WORK; tasks],
            late_work: vec![NO_WORK; tasks],
        }
    }
}

/// A pass over the network.
pub(crate) struct Pass<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) network: &'a Network,
    pub(crate) schedule: &'a mut Schedule,
    pub(crate) state: &'a mut State,
    /// Whether ALAP tasks take their late dates.
    pub(crate) place_late: bool,
}

impl Schedule {
    /// Returns a schedule without dates.
    pub(crate) fn empty(tasks: usize) -> Self {
        let (moments, spans) = (vec![Moment::NONE; tasks], vec![Span::ZERO; tasks]);
        Self {
            start: moments.clone(),
            finish: moments.clone(),
            early_start: moments.clone(),
            early_finish: moments.clone(),
            late_start: moments.clone(),
            late_finish: moments.clone(),
            total_slack: spans.clone(),
            free_slack: spans.clone(),
            start_slack: spans.clone(),
            finish_slack: spans.clone(),
            critical: vec![false; tasks],
            duration: spans,
            percent_complete: vec![0; tasks],
            resume: moments,
            start_driver: vec![Driver::ProjectStart; tasks],
            finish_driver: vec![Driver::ProjectStart; tasks],
            project_start: Moment::NONE,
            project_finish: Moment::NONE,
            problems: Vec::new(),
        }
    }
}

impl Pass<'_> {
    pub(crate) fn task(&self, task: usize) -> &Task {
        &self.plan.tasks[task]
    }

    pub(crate) fn is_manual(&self, task: usize) -> bool {
        self.plan.tasks[task].mode == Mode::Manual
    }

    /// Returns whether a leaf has begun; progress of summaries follows from what is below them.
    pub(crate) fn is_started(&self, task: usize) -> bool {
        let leaf = self.network.role[task] == Role::Leaf;
        leaf && (self.plan.tasks[task].actual_start.is_some() || self.is_finished(task))
    }

    pub(crate) fn is_summary(&self, task: usize) -> bool {
        self.network.role[task] == Role::Summary
    }

    /// Returns whether a leaf is finished.
    pub(crate) fn is_finished(&self, task: usize) -> bool {
        self.network.role[task] == Role::Leaf && self.plan.tasks[task].actual_finish.is_some()
    }

    /// Returns whether a leaf, or everything below a summary, is finished; needs late dates.
    pub(crate) fn has_ended(&self, task: usize) -> bool {
        self.state.late_rest[task].is_none()
    }

    /// Returns the values of a summary.
    pub(crate) fn gates(&self, summary: usize) -> &Gates {
        &self.state.gates[self.network.gate[summary] as usize]
    }

    /// Returns the values of a summary, to change them.
    pub(crate) fn gates_mut(&mut self, summary: usize) -> &mut Gates {
        &mut self.state.gates[self.network.gate[summary] as usize]
    }

    /// Returns the parent of a task, unless it is at the top level.
    pub(crate) fn parent(&self, task: usize) -> Option<usize> {
        match self.network.parent[task] {
            NO_PARENT => None,
            parent => Some(parent as usize),
        }
    }

    /// Returns the moment that lies a lag after another; `backwards` goes the other way.
    ///
    /// Microsoft Project: a working lag runs on the calendar of the successor; a percentage is one
    /// of the predecessor's duration, and elapsed if that duration is.
    pub(crate) fn add_lag(&self, edge: &Edge, moment: Moment, backwards: bool) -> Moment {
        let (amount, elapsed) = match edge.lag {
            Lag::Working(span) => (span, false),
            Lag::Elapsed(span) => (span, true),
            Lag::Percent(percent) => (self.percentage(edge, percent), self.task(edge.predecessor as usize).elapsed),
            Lag::ElapsedPercent(percent) => (self.percentage(edge, percent), true),
        };
        let amount = if backwards { Span(-amount.0) } else { amount };
        if elapsed {
            return moment.plus(amount);
        }
        let table = self.network.tables.get(edge.lag_table);
        let moved = table.add(moment, amount);
        // Backwards the latest moment counts from which the lag leads to the given one.
        if backwards { table.start_form(moved) } else { moved }
    }

    fn percentage(&self, edge: &Edge, percent: i16) -> Span {
        let predecessor = edge.predecessor as usize;
        let duration = if self.network.role[predecessor] == Role::Summary {
            let (start, finish) = (self.schedule.start[predecessor], self.schedule.finish[predecessor]);
            self.network.table_of(predecessor).between(start, finish)
        } else {
            self.task(predecessor).duration
        };
        duration.scale(i64::from(percent), 100)
    }

    /// Returns the date of the predecessor from which a link counts.
    pub(crate) fn link_source(&self, edge: &Edge) -> Moment {
        let predecessor = edge.predecessor as usize;
        match edge.kind {
            LinkKind::FinishToStart | LinkKind::FinishToFinish => self.schedule.finish[predecessor],
            LinkKind::StartToStart | LinkKind::StartToFinish => self.schedule.start[predecessor],
        }
    }

    /// Returns the date that a link asks for, with work on the table of the successor.
    pub(crate) fn asked_date(&self, edge: &Edge) -> Timed {
        let work = self.source_work(edge);
        match edge.lag {
            Lag::Elapsed(Span::ZERO) => Timed { moment: self.link_source(edge).plus(Span::ZERO), work },
            Lag::Working(lag) if work != NO_WORK && edge.lag_table == self.network.table[edge.successor as usize] => {
                let table = self.network.tables.get(edge.lag_table);
                let work = work.saturating_add(lag.0);
                Timed { moment: if lag.0 > 0 { table.finish_at(work) } else { table.start_at(work) }, work }
            }
            _ => Timed::unknown(self.add_lag(edge, self.link_source(edge), false)),
        }
    }

    /// Returns the work before the date from which a link counts, if both tasks have one table.
    pub(crate) fn source_work(&self, edge: &Edge) -> i32 {
        let (predecessor, successor) = (edge.predecessor as usize, edge.successor as usize);
        let work = self.state.early_work[predecessor];
        if work == NO_WORK || self.network.table[predecessor] != self.network.table[successor] {
            return NO_WORK;
        }
        match edge.kind {
            LinkKind::FinishToStart | LinkKind::FinishToFinish => {
                work.saturating_add(self.network.length[predecessor].0)
            }
            LinkKind::StartToStart | LinkKind::StartToFinish => work,
        }
    }

    /// Returns the start with which a leaf, or its rest, finishes at a moment.
    pub(crate) fn start_before(&self, task: usize, finish: Moment, done: Span) -> Moment {
        let range = self.network.run_range[task].clone();
        if range.is_empty() {
            let rest = self.network.length[task].minus(done);
            return self.network.table_of(task).add(finish, Span(-rest.0.max(0)));
        }
        let mut start = Moment::MAX;
        for run in &self.network.runs[range.start as usize..range.end as usize] {
            let rest = run.delay.plus(run.length).minus(done);
            start = start.min(self.network.tables.get(run.table).add(finish, Span(-rest.0.max(0))));
        }
        start
    }

    /// Returns the finish of the rest of a leaf that begins at a moment.
    pub(crate) fn finish_after(&self, task: usize, start: Moment, done: Span) -> Moment {
        let range = self.network.run_range[task].clone();
        if range.is_empty() {
            let rest = self.network.length[task].minus(done);
            return self.network.table_of(task).add(start, Span(rest.0.max(0)));
        }
        let mut finish = start;
        for run in &self.network.runs[range.start as usize..range.end as usize] {
            let rest = run.delay.plus(run.length).minus(done);
            finish = finish.max(self.network.tables.get(run.table).add(start, Span(rest.0.max(0))));
        }
        finish
    }

    /// Returns the first moment, from a given one on, at which work on a leaf can begin.
    pub(crate) fn first_start(&self, task: usize, moment: Moment) -> Moment {
        let range = self.network.run_range[task].clone();
        if range.is_empty() {
            let table = self.network.table_of(task);
            // A milestone stands at the moment asked for, even where nobody works.
            return if self.network.length[task] == Span::ZERO { moment } else { table.start_form(moment) };
        }
        let mut start = Moment::MAX;
        for run in &self.network.runs[range.start as usize..range.end as usize] {
            let table = self.network.tables.get(run.table);
            start = start.min(table.start_form(table.add(moment, run.delay)));
        }
        start
    }
}
