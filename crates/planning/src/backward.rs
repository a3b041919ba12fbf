//! Backward pass: latest dates.
//!
//! Microsoft Project: a task finishes at the earliest of what its successors allow, or with the
//! project; a deadline and the constraints "no later than" and "must" cap that. A finish moves back
//! to the end of a range of work; milestones and manual tasks keep the moment that their successor
//! gives.

use crate::graph::{Edge, Role};
use crate::model::{Constraint, Lag, LinkKind};
use crate::moment::{Moment, Span};
use crate::pass::{NO_WORK, Pass, Timed};
use crate::work_table::WorkTable;

/// Latest dates that surroundings allow; absent where nothing limits them.
#[derive(Clone, Copy)]
struct Limits {
    start: Timed,
    finish: Timed,
}

impl Limits {
    const NONE: Self = Self { start: Timed::NONE, finish: Timed::NONE };

    fn limit_start(&mut self, moment: Timed) {
        self.start = earlier(self.start, moment);
    }

    fn limit_finish(&mut self, moment: Timed) {
        self.finish = earlier(self.finish, moment);
    }
}

/// Returns the earlier of two moments; an absent one does not count.
fn earlier(first: Timed, second: Timed) -> Timed {
    if first.moment.is_none() || (second.moment.is_some() && second.moment < first.moment) { second } else { first }
}

impl Pass<'_> {
    /// Computes the late dates of all nodes.
    pub(crate) fn run_backward(&mut self) {
        for position in (0..self.network.order.len()).rev() {
            self.backward_node(self.network.order[position] as usize);
        }
    }

    /// Computes the late dates of a node; returns whether they changed.
    pub(crate) fn backward_node(&mut self, node: usize) -> bool {
        let tasks = self.network.role.len();
        if node >= tasks {
            self.open_late_gate(node - tasks)
        } else if self.network.role[node] == Role::Summary {
            self.gather_late(node)
        } else {
            self.late_leaf(node)
        }
    }

    /// Returns what the successors of a task and the summaries above it allow.
    fn limits(&self, task: usize) -> Limits {
        let mut limits = Limits::NONE;
        if let Some(parent) = self.parent(task) {
            limits.finish = Timed::unknown(self.gates(parent).late_finish);
            if self.schedule.start[task] == self.schedule.start[parent] {
                limits.start = Timed::unknown(self.gates(parent).late_start);
            }
        }
        for &position in self.network.out.of(task) {
            let edge = &self.network.edges[position as usize];
            let successor = edge.successor as usize;
            let target = match edge.kind {
                LinkKind::FinishToStart | LinkKind::StartToStart => self.state.late_rest[successor],
                LinkKind::FinishToFinish | LinkKind::StartToFinish => self.state.late_first[successor],
            };
            // Finished successors hold nothing.
            if target.is_none() {
                continue;
            }
            let moment = self.allowed_date(edge, target);
            match edge.kind {
                LinkKind::FinishToStart | LinkKind::FinishToFinish => limits.limit_finish(moment),
                LinkKind::StartToStart | LinkKind::StartToFinish => limits.limit_start(moment),
            }
        }
        limits
    }

    /// Returns the latest date of the predecessor of a link, with work on its table.
    fn allowed_date(&self, edge: &Edge, target: Moment) -> Timed {
        let work = self.target_work(edge);
        match edge.lag {
            Lag::Elapsed(Span::ZERO) => Timed { moment: target.minus(Span::ZERO), work },
            Lag::Working(lag) if work != NO_WORK && edge.lag_table == self.network.table[edge.predecessor as usize] => {
                let work = work.saturating_sub(lag.0);
                Timed { moment: self.network.tables.get(edge.lag_table).start_at(work), work }
            }
            _ => Timed::unknown(self.add_lag(edge, target, true)),
        }
    }

    /// Returns the work before the latest date that a link may ask for, if both tasks have one
    /// table.
    fn target_work(&self, edge: &Edge) -> i32 {
        let (predecessor, successor) = (edge.predecessor as usize, edge.successor as usize);
        let work = self.state.late_work[successor];
        if work == NO_WORK || self.network.table[predecessor] != self.network.table[successor] {
            return NO_WORK;
        }
        match edge.kind {
            LinkKind::FinishToStart | LinkKind::StartToStart => work,
            LinkKind::FinishToFinish | LinkKind::StartToFinish => work.saturating_add(self.network.length[successor].0),
        }
    }

    /// Returns the moment that a levelling delay moves to a given one.
    fn before_delay(&self, task: usize, moment: Moment) -> Moment {
        let delay = self.task(task).leveling_delay;
        let delayed = delay > Span::ZERO && !self.is_started(task) && !self.is_manual(task);
        if delayed && moment.is_some() { moment.minus(delay) } else { moment }
    }

    /// Returns the last moment that links may ask for as finish of a leaf.
    ///
    /// A finish that is asked for sets the start, by going back on the calendar of each person; one
    /// of them must not have to begin before the late start.
    fn last_asked_finish(&self, task: usize, rest: Moment, late_finish: Moment) -> Moment {
        if !self.network.held_finish[task] || rest.is_none() {
            return late_finish;
        }
        let table = self.network.table_of(task);
        if self.is_manual(task) {
            return table.start_form(late_finish);
        }
        let done = if self.is_started(task) { self.network.done[task] } else { Span::ZERO };
        let length = self.network.length[task];
        if length == Span::ZERO {
            return self.before_delay(task, late_finish);
        }
        let after =
            |table: &WorkTable, length: Span| table.start_form(table.add(rest, Span(length.minus(done).0.max(0))));
        let range = self.network.run_range[task].clone();
        let runs = &self.network.runs[range.start as usize..range.end as usize];
        let ends = runs.iter().map(|run| after(self.network.tables.get(run.table), run.delay.plus(run.length)));
        ends.max().unwrap_or_else(|| after(table, length))
    }

    fn open_late_gate(&mut self, summary: usize) -> bool {
        let mut limits = self.limits(summary);
        let entry = self.task(summary);
        if entry.deadline.is_some() {
            limits.limit_finish(Timed::unknown(entry.deadline));
        }
        if let Constraint::FinishNoLaterThan(date) | Constraint::MustFinishOn(date) = entry.constraint {
            limits.limit_finish(Timed::unknown(date));
        }
        let (start, finish) = (limits.start.moment, limits.finish.moment);
        let gates = self.gates_mut(summary);
        let changed = gates.late_finish != finish || gates.late_start != start;
        (gates.late_finish, gates.late_start) = (finish, start);
        changed
    }

    /// Computes the late dates of a summary: from the earliest late start to the latest late
    /// finish.
    fn gather_late(&mut self, summary: usize) -> bool {
        let (mut start, mut finish, mut rest, mut first) = (Moment::MAX, Moment::NONE, Moment::MAX, Moment::MAX);
        for &child in self.network.children.of(summary) {
            let child = child as usize;
            let schedule = &self.schedule;
            // A manual task cannot move, whatever its successors allow.
            let (late_start, late_finish) = if self.is_manual(child) {
                (schedule.start[child], schedule.finish[child])
            } else {
                (schedule.late_start[child], schedule.late_finish[child])
            };
            start = start.min(late_start);
            finish = finish.max(late_finish);
            if self.state.late_rest[child].is_some() {
                // A started task counts with its actual start, not with its rest.
                let begun = self.is_started(child) || (self.is_manual(child) && !self.is_summary(child));
                rest = rest.min(if begun { self.schedule.start[child] } else { self.state.late_rest[child] });
                first = first.min(self.state.late_first[child]);
            }
        }
        if rest == Moment::MAX {
            (rest, first) = (Moment::NONE, Moment::NONE);
        }
        if self.is_manual(summary)
            && self.network.children.of(summary).iter().all(|&child| self.is_manual(child as usize))
        {
            let limit = self.late_limit(summary).moment;
            let by_project = limit == self.schedule.project_finish;
            let own = if by_project { limit } else { self.finish_form(summary, limit) };
            let begin = self.late_start(summary, own);
            return self.store_late(summary, begin, own, begin, own);
        }
        self.store_late(summary, start, finish, rest, first)
    }

    fn store_late(&mut self, task: usize, start: Moment, finish: Moment, rest: Moment, first: Moment) -> bool {
        let (schedule, state) = (&mut *self.schedule, &mut *self.state);
        let changed = schedule.late_start[task] != start
            || schedule.late_finish[task] != finish
            || state.late_rest[task] != rest
            || state.late_first[task] != first;
        schedule.late_start[task] = start;
        schedule.late_finish[task] = finish;
        state.late_rest[task] = rest;
        state.late_first[task] = first;
        changed
    }

    fn late_leaf(&mut self, task: usize) -> bool {
        let work_before = std::mem::replace(&mut self.state.late_work[task], NO_WORK);
        let changed = self.place_late_leaf(task);
        changed || self.state.late_work[task] != work_before
    }

    fn place_late_leaf(&mut self, task: usize) -> bool {
        let (start, finish) = (self.schedule.start[task], self.schedule.finish[task]);
        if self.is_finished(task) {
            return self.store_late(task, start, finish, Moment::NONE, Moment::NONE);
        }
        let limit = self.late_limit(task);
        if self.is_plain(task) {
            let table = self.network.table_of(task);
            let end = limit.work_on(table);
            let begin = end.saturating_sub(self.network.length[task].0);
            let changed = self.store_planned(task, table.start_at(begin), table.finish_at(end));
            if self.task(task).leveling_delay == Span::ZERO {
                self.state.late_work[task] = begin;
            }
            return changed;
        }
        let limit = limit.moment;
        let exact = self.is_manual(task) || self.network.length[task] == Span::ZERO;
        let late_finish = if exact { limit } else { self.finish_form(task, limit) };
        if self.is_started(task) && !self.is_manual(task) {
            let rest = self.start_before(task, late_finish, self.network.done[task]);
            let first = self.last_asked_finish(task, rest, late_finish);
            return self.store_late(task, start, late_finish, rest, first);
        }
        let late_start = self.late_start(task, late_finish);
        self.store_planned(task, late_start, late_finish)
    }

    /// Returns whether the late dates of a leaf are its length before its limit, on one calendar.
    fn is_plain(&self, task: usize) -> bool {
        self.network.run_range[task].is_empty()
            && self.network.length[task] > Span::ZERO
            && !self.is_manual(task)
            && !self.is_started(task)
            && !matches!(self.task(task).constraint, Constraint::MustStartOn(_))
    }

    fn store_planned(&mut self, task: usize, late_start: Moment, late_finish: Moment) -> bool {
        let rest = self.before_delay(task, late_start);
        let first = self.last_asked_finish(task, rest, late_finish);
        self.store_late(task, late_start, late_finish, rest, first)
    }

    fn late_start(&self, task: usize, late_finish: Moment) -> Moment {
        let honored = self.plan.settings.honor_constraints && !self.is_manual(task);
        if let (Constraint::MustStartOn(date), true) = (self.task(task).constraint, honored) {
            return self.first_start(task, date);
        }
        let start = self.start_before(task, late_finish, Span::ZERO);
        if self.is_manual(task) && late_finish >= self.schedule.finish[task] {
            // The dates of a manual task may span more or less work than its duration.
            return start.max(self.schedule.start[task]);
        }
        start
    }

    /// Returns the finish of a leaf that begins at a moment.
    fn timed_finish_after(&self, task: usize, start: Timed) -> Timed {
        let length = self.network.length[task];
        if start.work == NO_WORK || length == Span::ZERO || !self.network.run_range[task].is_empty() {
            return Timed::unknown(self.finish_after(task, start.moment, Span::ZERO));
        }
        let work = start.work.saturating_add(length.0);
        Timed { moment: self.network.table_of(task).finish_at(work), work }
    }

    /// Returns the moment until which a task may last, which may lie in free time.
    fn late_limit(&self, task: usize) -> Timed {
        let limits = self.limits(task);
        let entry = self.task(task);
        let after = |start| Timed::unknown(self.finish_after(task, start, Span::ZERO));
        let mut finish = limits.finish;
        if limits.start.moment.is_some() && !self.is_started(task) && !self.is_manual(task) {
            finish = earlier(finish, self.timed_finish_after(task, limits.start));
        }
        let own_end = self.plan.settings.multiple_critical_paths && finish.moment.is_none();
        let end = if own_end { self.schedule.finish[task] } else { self.schedule.project_finish };
        finish = earlier(finish, Timed::unknown(end));
        let deadline = Timed::unknown(entry.deadline);
        if self.is_manual(task) {
            return earlier(finish, deadline);
        }
        let honored = self.plan.settings.honor_constraints;
        match entry.constraint {
            Constraint::MustFinishOn(date) if honored => finish = Timed::unknown(date),
            Constraint::MustStartOn(date) if honored => finish = after(self.first_start(task, date)),
            Constraint::MustStartOn(date) => finish = earlier(finish, after(self.first_start(task, date))),
            Constraint::FinishNoLaterThan(date) | Constraint::MustFinishOn(date) => {
                finish = earlier(finish, Timed::unknown(date));
            }
            Constraint::StartNoLaterThan(date) if !self.is_started(task) => finish = earlier(finish, after(date)),
            _ => {}
        }
        earlier(finish, deadline)
    }

    /// Returns the last moment, up to a given one, at which work on a leaf can end.
    fn finish_form(&self, task: usize, moment: Moment) -> Moment {
        let range = self.network.run_range[task].clone();
        let runs = &self.network.runs[range.start as usize..range.end as usize];
        let forms = runs.iter().map(|run| self.network.tables.get(run.table).finish_form(moment));
        forms.max().unwrap_or_else(|| self.network.table_of(task).finish_form(moment))
    }

    /// Returns the latest date of the predecessor that keeps the successor on its scheduled dates.
    pub(crate) fn link_limit(&self, edge: &Edge) -> Moment {
        let successor = edge.successor as usize;
        let target = match edge.kind {
            LinkKind::FinishToStart | LinkKind::StartToStart => self.schedule.start[successor],
            LinkKind::FinishToFinish | LinkKind::StartToFinish => self.schedule.finish[successor],
        };
        self.add_lag(edge, target, true)
    }
}
