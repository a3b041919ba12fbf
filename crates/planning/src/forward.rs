//! Forward pass: earliest dates.
//!
//! Microsoft Project: a task starts at the latest of what its links, the summaries above it and the
//! project start ask for; then its constraint holds, and a levelling delay is added in elapsed
//! time. A manual task has its own dates. A started task has its actual start; its rest waits for
//! unfinished predecessors if work in progress may be split, and for the date before which the task
//! must not finish.

use crate::graph::{Edge, Role, index};
use crate::model::{Constraint, LinkKind, Mode};
use crate::moment::{Moment, Span};
use crate::pass::{Gates, NO_WORK, Pass, Timed};
use crate::result::Driver;

/// Dates of a task with their reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dates {
    pub(crate) start: Moment,
    pub(crate) finish: Moment,
    pub(crate) resume: Moment,
    pub(crate) start_driver: Driver,
    pub(crate) finish_driver: Driver,
    /// Work before the start; see [`crate::pass::State::early_work`].
    pub(crate) work: i32,
}

/// What holds a task before its own links count.
struct Gate {
    /// Earliest start.
    start: Moment,
    /// Earliest start without the project start.
    asked: Moment,
    /// Reason of `start`.
    driver: Driver,
    /// Earliest finish; absent for most.
    finish: Moment,
    /// Reason of `finish`.
    finish_driver: Driver,
}

impl Pass<'_> {
    /// Computes the early dates of all nodes.
    pub(crate) fn run_forward(&mut self) {
        for position in 0..self.network.order.len() {
            self.forward_node(self.network.order[position] as usize);
        }
    }

    /// Computes the early dates of a node; returns whether they changed.
    pub(crate) fn forward_node(&mut self, node: usize) -> bool {
        let tasks = self.network.role.len();
        if node >= tasks {
            let dates = self.gather(node - tasks);
            return self.store(node - tasks, dates);
        }
        if self.network.role[node] == Role::Summary {
            return self.open_gate(node);
        }
        let dates = self.leaf_dates(node);
        self.store(node, dates)
    }

    fn store(&mut self, task: usize, dates: Dates) -> bool {
        let schedule = &mut *self.schedule;
        let as_late = self.place_late && self.plan.tasks[task].constraint == Constraint::AsLateAsPossible;
        if !as_late || self.network.role[task] == Role::Summary {
            schedule.early_start[task] = dates.start;
            schedule.early_finish[task] = dates.finish;
        }
        schedule.start_driver[task] = dates.start_driver;
        schedule.finish_driver[task] = dates.finish_driver;
        schedule.resume[task] = dates.resume;
        let work_before = std::mem::replace(&mut self.state.early_work[task], dates.work);
        let changed =
            work_before != dates.work || schedule.start[task] != dates.start || schedule.finish[task] != dates.finish;
        schedule.start[task] = dates.start;
        schedule.finish[task] = dates.finish;
        changed
    }

    /// Returns the earliest start that the surroundings of a task allow, without its own links.
    fn gate(&self, task: usize) -> Gate {
        match self.parent(task) {
            Some(parent) => {
                let Gates { start, asked, driver, finish, finish_driver, .. } = *self.gates(parent);
                Gate { start, asked, driver, finish, finish_driver }
            }
            None => Gate {
                start: self.schedule.project_start,
                asked: Moment::MIN,
                driver: Driver::ProjectStart,
                finish: Moment::NONE,
                finish_driver: Driver::ProjectStart,
            },
        }
    }

    /// Computes the gate of a summary: what holds every task below it.
    fn open_gate(&mut self, summary: usize) -> bool {
        let Gate { mut start, mut asked, mut driver, mut finish, mut finish_driver } = self.gate(summary);
        let own = index(summary);
        let mut own_finish = Moment::NONE;
        if self.is_manual(summary) && self.task(summary).manual_start.is_some() {
            (start, driver, finish) = (self.task(summary).manual_start, Driver::Manual(own), Moment::NONE);
            asked = start;
        } else {
            for edge in self.network.edges_into(summary) {
                let date = self.add_lag(edge, self.link_source(edge), false);
                match edge.kind {
                    LinkKind::FinishToStart | LinkKind::StartToStart => {
                        asked = asked.max(date);
                        if date > start {
                            (start, driver) = (date, Driver::Link(edge.link));
                        }
                    }
                    // Of links that ask for the same, those of the nearest summary count.
                    LinkKind::FinishToFinish | LinkKind::StartToFinish if date > own_finish => {
                        own_finish = date;
                        if date >= finish {
                            (finish, finish_driver) = (date, Driver::Link(edge.link));
                        }
                    }
                    LinkKind::FinishToFinish | LinkKind::StartToFinish => {}
                }
            }
            if let Constraint::StartNoEarlierThan(date) | Constraint::MustStartOn(date) = self.task(summary).constraint
            {
                asked = asked.max(date);
                if date > start {
                    (start, driver) = (date, Driver::Constraint(own));
                }
            }
        }
        let gates = self.gates_mut(summary);
        let after = Gates { start, asked, driver, finish, finish_driver, ..*gates };
        let changed = *gates != after;
        *gates = after;
        changed
    }

    /// Returns the dates of a summary: from the earliest start to the latest finish below it.
    fn gather(&self, summary: usize) -> Dates {
        let (mut start, mut finish) = (Moment::MAX, Moment::NONE);
        let (mut first, mut last) = (0, 0);
        for &child in self.network.children.of(summary) {
            if self.schedule.start[child as usize] < start {
                (start, first) = (self.schedule.start[child as usize], child);
            }
            if self.schedule.finish[child as usize] > finish {
                (finish, last) = (self.schedule.finish[child as usize], child);
            }
        }
        let mut dates = Dates {
            start,
            finish,
            resume: Moment::NONE,
            start_driver: Driver::Child(first),
            finish_driver: Driver::Child(last),
            work: NO_WORK,
        };
        let entry = self.task(summary);
        if entry.mode == Mode::Manual {
            let own = Driver::Manual(index(summary));
            if entry.manual_start.is_some() {
                (dates.start, dates.start_driver) = (entry.manual_start, own);
            }
            if entry.manual_finish.is_some() {
                (dates.finish, dates.finish_driver) = (entry.manual_finish, own);
            }
        }
        dates
    }

    fn leaf_dates(&self, task: usize) -> Dates {
        if self.is_manual(task) {
            self.manual_dates(task)
        } else if self.is_finished(task) {
            self.finished_dates(task)
        } else if self.is_started(task) {
            self.started_dates(task)
        } else {
            self.planned_dates(task)
        }
    }

    fn manual_dates(&self, task: usize) -> Dates {
        let entry = self.task(task);
        let start = match (entry.manual_start.get(), entry.manual_finish.get()) {
            (Some(start), _) => start,
            (None, Some(finish)) => self.start_before(task, finish, Span::ZERO),
            (None, None) => self.first_start(task, self.gate(task).start),
        };
        let finish = entry.manual_finish.get().unwrap_or_else(|| self.finish_after(task, start, Span::ZERO));
        let driver = Driver::Manual(index(task));
        Dates { start, finish, resume: Moment::NONE, start_driver: driver, finish_driver: driver, work: NO_WORK }
    }

    fn finished_dates(&self, task: usize) -> Dates {
        let entry = self.task(task);
        let finish = entry.actual_finish;
        let start = entry.actual_start.get().unwrap_or_else(|| self.start_before(task, finish, Span::ZERO));
        let driver = Driver::Actual;
        Dates { start, finish, resume: Moment::NONE, start_driver: driver, finish_driver: driver, work: NO_WORK }
    }

    fn started_dates(&self, task: usize) -> Dates {
        let (start, done) = (self.task(task).actual_start, self.network.done[task]);
        let table = self.network.table_of(task);
        let follows = table.start_form(table.add(start, done));
        let mut dates = Dates {
            start,
            finish: self.finish_after(task, start, Span::ZERO),
            resume: follows,
            start_driver: Driver::Actual,
            finish_driver: Driver::Actual,
            work: NO_WORK,
        };
        let settings = &self.plan.settings;
        if done >= self.network.length[task] {
            return dates;
        }
        let (mut resume, mut driver) = (follows, Driver::Actual);
        if self.task(task).resume > resume {
            resume = self.task(task).resume;
        }
        if settings.split_in_progress {
            let (asked, reason) = self.asked_start(task, done, false);
            if asked.moment > resume {
                (resume, driver) = (asked.moment, reason);
            }
        }
        if let Constraint::FinishNoEarlierThan(date) = self.task(task).constraint {
            let asked = self.start_before(task, date, done);
            if asked > resume {
                (resume, driver) = (asked, Driver::Constraint(index(task)));
            }
        }
        if settings.reschedule_remaining && settings.status_date > resume {
            (resume, driver) = (settings.status_date, Driver::StatusDate);
        }
        if resume > follows {
            dates.resume = table.start_form(resume);
            dates.finish = self.finish_after(task, dates.resume, done);
            dates.finish_driver = driver;
        }
        dates
    }

    /// Returns the late dates of an ALAP task, or its early ones if those are not earlier.
    fn late_dates(&self, task: usize) -> Dates {
        let schedule = &*self.schedule;
        let resume = Moment::NONE;
        if schedule.late_start[task] > schedule.early_start[task] {
            let (start, finish, work) = self.place(task, Timed::unknown(schedule.late_start[task]));
            let driver = Driver::ProjectFinish;
            return Dates { start, finish, resume, start_driver: driver, finish_driver: driver, work };
        }
        Dates {
            start: schedule.early_start[task],
            finish: schedule.early_finish[task],
            resume,
            start_driver: schedule.start_driver[task],
            finish_driver: schedule.finish_driver[task],
            work: self.state.early_work[task],
        }
    }

    fn planned_dates(&self, task: usize) -> Dates {
        let entry = self.task(task);
        if self.place_late && entry.constraint == Constraint::AsLateAsPossible {
            return self.late_dates(task);
        }
        // A constraint "no earlier than" takes the place of the project start, and may lie before
        // it.
        let floor = !matches!(entry.constraint, Constraint::StartNoEarlierThan(_) | Constraint::FinishNoEarlierThan(_));
        let (asked, driver) = self.asked_start(task, Span::ZERO, floor);
        let (mut start, mut driver) = self.constrain(task, asked.moment, driver);
        if self.plan.settings.reschedule_remaining
            && self.plan.settings.status_date > start
            && matches!(entry.constraint, Constraint::AsSoonAsPossible | Constraint::AsLateAsPossible)
        {
            (start, driver) = (self.plan.settings.status_date, Driver::StatusDate);
        }
        if entry.leveling_delay > Span::ZERO {
            (start, driver) = (self.first_start(task, start).plus(entry.leveling_delay), Driver::Leveling);
        }
        if let Some(latest) = self.latest_start(task)
            && latest < start
        {
            (start, driver) = (latest, Driver::Constraint(index(task)));
        }
        let start = if start == asked.moment { asked } else { Timed::unknown(start) };
        let (begin, mut finish, work) = self.place(task, start);
        if !floor
            && !self.network.turned
            && let Some(asked) = self.asked_finish(task, begin)
        {
            // Microsoft Project keeps the moment that such a link asks for, where no work lies
            // between.
            let own = self.network.slack_table_of(task).between(finish, asked);
            let free = own == Span::ZERO && self.work_of_people(task, finish, asked) == Span::ZERO;
            finish = if free { finish.max(asked) } else { finish };
        }
        Dates { start: begin, finish, resume: Moment::NONE, start_driver: driver, finish_driver: driver, work }
    }

    /// Returns the start that the links of a task and of the summaries above it ask for.
    ///
    /// For a task with a done part, the start of its rest. The project start counts if `floor` is
    /// set.
    pub(crate) fn asked_start(&self, task: usize, done: Span, floor: bool) -> (Timed, Driver) {
        let Gate { start, asked, mut driver, finish, finish_driver } = self.gate(task);
        let mut start = Timed::unknown(if floor { start } else { asked });
        if finish.is_some() {
            let asked = self.start_before(task, finish, done);
            if asked > start.moment {
                (start, driver) = (Timed::unknown(asked), finish_driver);
            }
        }
        for edge in self.network.edges_into(task) {
            let asked = self.link_start(task, edge, done);
            if asked.moment > start.moment {
                (start, driver) = (asked, Driver::Link(edge.link));
            }
        }
        (start, driver)
    }

    /// Returns start and finish of a leaf that begins at a moment or as soon as possible after it,
    /// and the work before the start, as far as one table has it.
    fn place(&self, task: usize, moment: Timed) -> (Moment, Moment, i32) {
        let length = self.network.length[task];
        if self.network.run_range[task].is_empty() && length > Span::ZERO {
            let table = self.network.table_of(task);
            let work = moment.work_on(table);
            return (table.start_at(work), table.finish_at(work.saturating_add(length.0)), work);
        }
        let moment = moment.moment;
        let begin = self.first_start(task, moment);
        // Runs with a delay count it from the moment asked for, not from the start of the first
        // run.
        let from = if self.network.run_range[task].is_empty() { begin } else { moment };
        (begin, self.finish_after(task, from, Span::ZERO), NO_WORK)
    }

    /// Returns the latest finish that links to the finish ask for, of those that decide on the
    /// start.
    fn asked_finish(&self, task: usize, begin: Moment) -> Option<Moment> {
        let to_finish = |edge: &&Edge| matches!(edge.kind, LinkKind::FinishToFinish | LinkKind::StartToFinish);
        let edges = self.network.edges_into(task).iter().filter(to_finish);
        let dates = edges.map(|edge| self.asked_date(edge).moment);
        let decides = |date: &Moment| self.first_start(task, self.start_before(task, *date, Span::ZERO)) == begin;
        dates.filter(decides).max()
    }

    /// Returns the start of a task, or of its rest, that a link asks for.
    fn link_start(&self, task: usize, edge: &Edge, done: Span) -> Timed {
        let asked = self.asked_date(edge);
        if matches!(edge.kind, LinkKind::FinishToStart | LinkKind::StartToStart) {
            return asked;
        }
        let rest = self.network.length[task].minus(done);
        if asked.work == NO_WORK || rest <= Span::ZERO || !self.network.run_range[task].is_empty() {
            return Timed::unknown(self.start_before(task, asked.moment, done));
        }
        let work = asked.work.saturating_sub(rest.0);
        Timed { moment: self.network.table_of(task).start_at(work), work }
    }

    /// Applies a constraint that holds a task back to the start that its links ask for.
    fn constrain(&self, task: usize, asked: Moment, driver: Driver) -> (Moment, Driver) {
        let date = match self.task(task).constraint {
            Constraint::StartNoEarlierThan(date) | Constraint::MustStartOn(date) => date,
            Constraint::FinishNoEarlierThan(date) | Constraint::MustFinishOn(date) => {
                self.start_before(task, date, Span::ZERO)
            }
            _ => return (asked, driver),
        };
        let own = Driver::Constraint(index(task));
        if date > asked { (date, own) } else { (asked, driver) }
    }

    /// Returns the latest start that the constraint of a task allows, if constraints are honored.
    fn latest_start(&self, task: usize) -> Option<Moment> {
        if !self.plan.settings.honor_constraints {
            return None;
        }
        match self.task(task).constraint {
            Constraint::StartNoLaterThan(date) | Constraint::MustStartOn(date) => Some(date),
            Constraint::FinishNoLaterThan(date) | Constraint::MustFinishOn(date) => {
                Some(self.start_before(task, date, Span::ZERO))
            }
            _ => None,
        }
    }
}
