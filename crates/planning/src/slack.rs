//! Slack, critical tasks and values of summaries.
//!
//! Microsoft Project: start slack is the working time from early to late start, finish slack that
//! from early to late finish, on the calendar of the task or else of the project, whoever is
//! assigned; total slack is the smaller, and the finish slack of manual tasks and once a task has
//! begun. Free slack is the smallest gap to a successor, on the calendars of the people, never more
//! than the total slack and never negative. A task is critical if it is not finished and its total
//! slack is at most the limit.

use crate::graph::{Edge, Role};
use crate::model::{Constraint, Direction, Lag, LinkKind, Task};
use crate::moment::{Moment, Span};
use crate::pass::{NO_WORK, Pass};

/// Returns the duration of a leaf that is done, and its duration.
pub(crate) fn progress(entry: &Task) -> (i64, i64) {
    let length = entry.duration.0.max(0);
    let done = if entry.actual_finish.is_some() { length } else { entry.actual_duration.0.clamp(0, length) };
    (i64::from(done), i64::from(length))
}

/// Returns a part as a whole percentage; 0 if there is no duration.
fn percent(done: i64, duration: i64) -> u8 {
    let percent = if duration > 0 { done * 100 / duration } else { 0 };
    u8::try_from(percent.clamp(0, 100)).unwrap_or(100)
}

impl Pass<'_> {
    /// Computes slack and rolled-up values of all tasks.
    pub(crate) fn run_slack(&mut self) {
        self.clear_progress();
        // Children follow their parents, so a walk backwards sees all children first.
        for task in (0..self.network.role.len()).rev() {
            if self.network.role[task] != Role::Inactive {
                self.slack_of(task);
                self.roll_up(task);
            }
        }
    }

    /// Computes late dates, slack and rolled-up values of all tasks in one walk.
    ///
    /// The scheduled dates must be final.
    pub(crate) fn run_backward_with_slack(&mut self) {
        self.clear_progress();
        let tasks = self.network.role.len();
        for position in (0..self.network.order.len()).rev() {
            let node = self.network.order[position] as usize;
            self.backward_node(node);
            // All successors and everything below a summary come before its start gate.
            if node < tasks {
                self.slack_of(node);
                self.roll_up(node);
            }
        }
    }

    fn clear_progress(&mut self) {
        for gates in &mut self.state.gates {
            (gates.done, gates.duration) = (0, 0);
        }
    }

    /// Computes the slack of a task.
    pub(crate) fn slack_of(&mut self, task: usize) {
        let table = self.network.slack_table_of(task);
        let schedule = &*self.schedule;
        // From the finish, tasks are scheduled at their late dates; from the start, ALAP tasks are.
        let from_finish = self.plan.settings.direction == Direction::FromFinish;
        let (start, finish) = if from_finish {
            (schedule.early_start[task], schedule.early_finish[task])
        } else {
            (schedule.start[task], schedule.finish[task])
        };
        let (early_work, late_work) = (self.state.early_work[task], self.state.late_work[task]);
        let same_table = self.network.table[task] == self.network.slack_table[task];
        let start_slack = if same_table && early_work != NO_WORK && late_work != NO_WORK {
            Span(late_work.saturating_sub(early_work))
        } else {
            table.between(start, schedule.late_start[task])
        };
        // Where a task takes the same work early and late, both slacks are the same.
        let even = self.network.role[task] == Role::Leaf
            && self.network.run_range[task].is_empty()
            && same_table
            && !self.is_started(task)
            && !self.is_manual(task)
            && !matches!(self.task(task).constraint, Constraint::MustStartOn(_));
        let finish_slack = if even { start_slack } else { table.between(finish, schedule.late_finish[task]) };
        let summary = self.network.role[task] == Role::Summary;
        let finished = self.has_ended(task);
        let mut total = if (self.is_started(task) && !summary) || self.is_manual(task) {
            finish_slack
        } else {
            start_slack.min(finish_slack)
        };
        if finished && !summary {
            total = Span::ZERO;
        } else if !summary {
            total = total.min(self.slack_of_fixed_date(task));
        }
        let free = self.free_slack(task, total);
        let critical = !finished && total <= self.plan.settings.critical_slack_limit;
        let schedule = &mut *self.schedule;
        schedule.start_slack[task] = start_slack;
        schedule.finish_slack[task] = finish_slack;
        schedule.total_slack[task] = total;
        schedule.free_slack[task] = free;
        schedule.critical[task] = critical;
    }

    /// Returns how much earlier than its links ask for a constraint puts a task, as negative slack.
    fn slack_of_fixed_date(&self, task: usize) -> Span {
        let fixed = matches!(self.task(task).constraint, Constraint::MustStartOn(_) | Constraint::MustFinishOn(_));
        if !fixed || self.is_started(task) || self.is_manual(task) {
            return Span::MAX;
        }
        let (asked, _) = self.asked_start(task, Span::ZERO, false);
        let start = self.schedule.start[task];
        if asked.moment > start { self.network.slack_table_of(task).between(asked.moment, start) } else { Span::MAX }
    }

    fn free_slack(&self, task: usize, total: Span) -> Span {
        let mut free = total;
        for &position in self.network.out.of(task) {
            let edge = &self.network.edges[position as usize];
            if self.has_ended(edge.successor as usize) {
                continue;
            }
            if free <= Span::ZERO {
                return Span::ZERO;
            }
            free = free.min(self.gap(task, edge));
        }
        Span(free.0.max(0))
    }

    /// Returns the working time, in which somebody on a task works, by which a link lets it slip;
    /// zero if there is none.
    fn gap(&self, task: usize, edge: &Edge) -> Span {
        let source = self.source_work(edge);
        if source != NO_WORK
            && let Some(target) = self.limit_work(edge)
        {
            return Span(target.saturating_sub(source).max(0));
        }
        let (from, to) = (self.link_source(edge), self.link_limit(edge));
        if to <= from {
            return Span::ZERO;
        }
        self.work_of_people(task, from, to)
    }

    /// Returns the working time between two moments in which somebody on a task works.
    pub(crate) fn work_of_people(&self, task: usize, from: Moment, to: Moment) -> Span {
        let range = self.network.run_range[task].clone();
        let runs = &self.network.runs[range.start as usize..range.end as usize];
        let gaps = runs.iter().map(|run| self.network.tables.get(run.table).between(from, to));
        gaps.max().unwrap_or_else(|| self.network.table_of(task).between(from, to))
    }

    /// Returns the work before the latest date of the predecessor that keeps the successor on its
    /// scheduled dates, if it is known; both tasks have one table.
    fn limit_work(&self, edge: &Edge) -> Option<i32> {
        let successor = edge.successor as usize;
        let work = self.state.early_work[successor];
        if work == NO_WORK {
            return None;
        }
        let target = match edge.kind {
            LinkKind::FinishToStart | LinkKind::StartToStart => work,
            LinkKind::FinishToFinish | LinkKind::StartToFinish => work.saturating_add(self.network.length[successor].0),
        };
        match edge.lag {
            Lag::Elapsed(Span::ZERO) => Some(target),
            Lag::Working(lag) if edge.lag_table == self.network.table[successor] => Some(target.saturating_sub(lag.0)),
            _ => None,
        }
    }

    /// Computes the duration of a summary: the work between its start and finish.
    pub(crate) fn summary_duration(&mut self, summary: usize) {
        let table = self.network.table_of(summary);
        let span = table.between(self.schedule.start[summary], self.schedule.finish[summary]);
        self.schedule.duration[summary] = span;
    }

    /// Computes duration and percentage of a task; everything below a summary comes before it.
    fn roll_up(&mut self, task: usize) {
        let (done, duration);
        if self.network.role[task] == Role::Summary {
            (done, duration) = (self.gates(task).done, self.gates(task).duration);
            self.summary_duration(task);
        } else {
            (done, duration) = progress(self.task(task));
            self.schedule.duration[task] = Span::clamped(duration);
        }
        self.schedule.percent_complete[task] = percent(done, duration);
        if let Some(parent) = self.parent(task) {
            let gates = self.gates_mut(parent);
            gates.done += done;
            gates.duration += duration;
        }
    }

    /// Brings durations and percentages up to date after the entry of a leaf was replaced.
    pub(crate) fn update_progress(&mut self, task: usize, old: &Task) {
        let ((done_before, duration_before), (done, duration)) = (progress(old), progress(self.task(task)));
        self.schedule.duration[task] = Span::clamped(duration);
        self.schedule.percent_complete[task] = percent(done, duration);
        let mut above = self.parent(task);
        while let Some(summary) = above {
            let gates = self.gates_mut(summary);
            gates.done += done - done_before;
            gates.duration += duration - duration_before;
            let rounded = percent(gates.done, gates.duration);
            self.schedule.percent_complete[summary] = rounded;
            above = self.parent(summary);
        }
    }
}
