//! The slow solver: every rule is applied to every task until nothing changes.

use crate::clock::{Clock, Time};
use crate::moment::Tick;
use crate::plan::{Answer, Constraint, Kind, Lag, Link, Mode, Plan, Task};

/// Work that runs in one stretch of a calendar's time: a task without people, or one assignment.
struct Stretch {
    time: Time,
    delay: Tick,
    length: Tick,
}

/// Start and finish.
pub(crate) type Dates = (Tick, Tick);

pub(crate) struct Solver<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) clock: Clock<'a>,
    /// Tasks without children that take part.
    pub(crate) leaves: Vec<usize>,
    stretches: Vec<Vec<Stretch>>,
    leaves_of: Vec<Vec<usize>>,
    links_into: Vec<Vec<Link>>,
    links_out_of: Vec<Vec<Link>>,
}

/// Computes all dates of a plan without cycles. Answers of inactive tasks are meaningless.
pub(crate) fn solve(plan: &Plan) -> Vec<Answer> {
    let solver = Solver::new(plan);
    match plan.from_finish {
        None => solver.solve_from_start(),
        Some(finish) => solver.solve_from_finish(finish),
    }
}

impl<'a> Solver<'a> {
    fn new(plan: &'a Plan) -> Self {
        let all = 0..plan.tasks.len();
        let leaves_of: Vec<_> = all.clone().map(|task| plan.leaves(task)).collect();
        let takes_part = |link: &&Link| !plan.is_inactive(link.from) && !plan.is_inactive(link.to);
        let links_of = |task: usize, end: fn(&Link) -> usize| -> Vec<Link> {
            let mut held = plan.ancestors(task);
            held.push(task);
            plan.links.iter().filter(takes_part).filter(|link| held.contains(&end(link))).copied().collect()
        };
        Self {
            plan,
            clock: Clock::new(&plan.calendars),
            leaves: all.clone().filter(|&task| leaves_of[task] == [task]).collect(),
            stretches: all.clone().map(|task| stretches_of(plan, task)).collect(),
            links_into: all.clone().map(|task| links_of(task, |link| link.to)).collect(),
            links_out_of: all.clone().map(|task| links_of(task, |link| link.from)).collect(),
            leaves_of,
        }
    }

    // Length, start form, finish form ----------------------------------------------------------

    /// Returns the time in which a task's slack and the lags into it run.
    pub(crate) fn time_of(&self, task: usize) -> Time {
        time_of(self.plan, task)
    }

    pub(crate) fn is_milestone(&self, task: usize) -> bool {
        self.stretches[task].iter().all(|stretch| stretch.length == 0)
    }

    /// Returns the start that a task takes if nothing but `moment` holds it.
    pub(crate) fn begin(&self, task: usize, moment: Tick) -> Tick {
        if self.is_milestone(task) {
            return moment;
        }
        let starts = self.stretches[task].iter().map(|stretch| self.clock.start_form(stretch.time, moment));
        starts.min().unwrap()
    }

    /// Returns the finish that a task takes if nothing but `moment` holds it.
    pub(crate) fn end(&self, task: usize, moment: Tick) -> Tick {
        let ends = self.stretches[task].iter().map(|stretch| self.clock.finish_form(stretch.time, moment));
        ends.max().unwrap()
    }

    /// Returns the work from one moment to another; of a task with people, of the one with the
    /// most.
    pub(crate) fn gap(&self, task: usize, from: Tick, to: Tick) -> Tick {
        if let Mode::Manual { .. } = self.plan.tasks[task].mode {
            return self.clock.between(self.time_of(task), from, to);
        }
        self.stretches[task].iter().map(|stretch| self.clock.between(stretch.time, from, to)).max().unwrap()
    }

    /// Returns the finish of a task that starts at `start`.
    pub(crate) fn finish(&self, task: usize, start: Tick) -> Tick {
        let end = |stretch: &Stretch| self.clock.add(stretch.time, start, stretch.delay + stretch.length);
        self.stretches[task].iter().map(end).max().unwrap()
    }

    /// Returns the latest start with which a task finishes at `finish`.
    pub(crate) fn back(&self, task: usize, finish: Tick) -> Tick {
        if let Mode::Manual { .. } = self.plan.tasks[task].mode {
            return self.clock.add(self.time_of(task), finish, -self.plan.tasks[task].length);
        }
        let begin = |stretch: &Stretch| self.clock.add(stretch.time, finish, -(stretch.delay + stretch.length));
        self.stretches[task].iter().map(begin).min().unwrap()
    }

    /// Returns the latest moment from which going back a task's length leads to no later start than
    /// from `finish`.
    pub(crate) fn latest_end(&self, task: usize, finish: Tick) -> Tick {
        if let Mode::Manual { .. } = self.plan.tasks[task].mode {
            return self.clock.start_form(self.time_of(task), finish);
        }
        if self.is_milestone(task) {
            return finish;
        }
        self.latest_end_from(task, self.back(task, finish))
    }

    /// Returns the latest moment from which going back a task's length leads to no later moment
    /// than `start`.
    pub(crate) fn latest_end_from(&self, task: usize, start: Tick) -> Tick {
        let end = |stretch: &Stretch| {
            let end = self.clock.add(stretch.time, start, stretch.delay + stretch.length);
            self.clock.start_form(stretch.time, end)
        };
        self.stretches[task].iter().map(end).max().unwrap()
    }

    /// Returns a late finish that goes with a late start.
    pub(crate) fn late_finish_of(&self, task: usize, start: Tick) -> Tick {
        if let Mode::Manual { .. } = self.plan.tasks[task].mode {
            return self.clock.add(self.time_of(task), start, self.plan.tasks[task].length);
        }
        self.finish(task, start)
    }

    // Links ------------------------------------------------------------------------------------

    /// Returns the length of a task; of a summary, the work between its dates.
    pub(crate) fn length_of(&self, task: usize, dates: &[Dates]) -> Tick {
        if self.leaves_of[task] == [task] {
            return self.plan.tasks[task].length;
        }
        let (start, finish) = self.dates_of(task, dates);
        self.clock.between(Time::Of(0), start, finish)
    }

    /// Returns the dates of a task; of a summary, the earliest start and the latest finish below
    /// it.
    pub(crate) fn dates_of(&self, task: usize, dates: &[Dates]) -> Dates {
        let leaves = &self.leaves_of[task];
        let start = leaves.iter().map(|&leaf| dates[leaf].0).min().unwrap_or(self.plan.start);
        let finish = leaves.iter().map(|&leaf| dates[leaf].1).max().unwrap_or(self.plan.start);
        (start, finish)
    }

    /// Returns the time in which a link's lag runs, and the lag.
    fn lag(&self, link: &Link, dates: &[Dates]) -> (Time, Tick) {
        // Rounded half up.
        let share = |percent: i64| (self.length_of(link.from, dates) * percent * 2 + 100).div_euclid(200);
        // Also if the successor counts all time, its lags run on its calendar.
        let successors = Time::Of(self.plan.tasks[link.to].calendar.unwrap_or(0));
        match link.lag {
            Lag::Work(length) => (successors, length),
            Lag::Elapsed(length) => (Time::Elapsed, length),
            Lag::Percent(percent) if self.plan.tasks[link.from].is_elapsed => (Time::Elapsed, share(percent)),
            Lag::Percent(percent) => (successors, share(percent)),
            Lag::ElapsedPercent(percent) => (Time::Elapsed, share(percent)),
        }
    }

    /// Returns the date that a link asks for if its predecessor's end stands at `moment`.
    fn target(&self, link: &Link, moment: Tick, dates: &[Dates]) -> Tick {
        let (time, lag) = self.lag(link, dates);
        self.clock.add(time, moment, lag)
    }

    /// Returns the latest moment of its predecessor's end at which a link asks for no later date
    /// than `target`.
    pub(crate) fn source(&self, link: &Link, target: Tick, dates: &[Dates]) -> Tick {
        let (time, lag) = self.lag(link, dates);
        let source = self.clock.add(time, target, -lag);
        // Lags do not count free time, so the predecessor may end as late as free time lasts.
        if lag == 0 { source } else { self.clock.start_form(time, source) }
    }

    /// Returns the leaves below a link's predecessor that matter to it.
    fn predecessors(&self, link: &Link) -> &[usize] {
        &self.leaves_of[link.from]
    }

    /// Returns the active leaves below a link's successor.
    pub(crate) fn successors(&self, link: &Link) -> &[usize] {
        &self.leaves_of[link.to]
    }

    pub(crate) fn links_out_of(&self, task: usize) -> &[Link] {
        &self.links_out_of[task]
    }

    /// Returns the start that the links of a task ask for, where `back` leads from a finish to a
    /// start.
    pub(crate) fn asked(&self, task: usize, dates: &[Dates], back: impl Fn(Tick) -> Tick) -> Option<Tick> {
        let links = self.links_into[task].iter().filter(|link| !self.predecessors(link).is_empty());
        let starts = links.map(|link| {
            let (start, finish) = self.dates_of(link.from, dates);
            let from = if matches!(link.kind, Kind::FinishStart | Kind::FinishFinish) { finish } else { start };
            let target = self.target(link, from, dates);
            if matches!(link.kind, Kind::FinishStart | Kind::StartStart) { target } else { back(target) }
        });
        starts.max()
    }

    // Forward ----------------------------------------------------------------------------------

    /// Returns the early dates, with some tasks fixed. Tasks without predecessors may have a start
    /// of their own.
    pub(crate) fn forward(
        &self,
        project_start: Tick,
        own_start: Option<&[Dates]>,
        fixed: &[Option<Dates>],
    ) -> Vec<Dates> {
        let mut dates = vec![(project_start, project_start); self.plan.tasks.len()];
        for _ in 0..self.leaves.len() + 2 {
            let before = dates.clone();
            for &task in &self.leaves {
                dates[task] = fixed[task].unwrap_or_else(|| self.early(task, project_start, own_start, &dates));
            }
            if dates == before {
                return dates;
            }
        }
        panic!("the plan has a cycle")
    }

    fn early(&self, task: usize, project_start: Tick, own_start: Option<&[Dates]>, dates: &[Dates]) -> Dates {
        let data = &self.plan.tasks[task];
        if let Mode::Manual { start, finish } = data.mode {
            return (start, finish);
        }
        if let Some(start) = data.actual_start {
            let finish = data.actual_finish.unwrap_or_else(|| {
                self.clock.add(self.time_of(task), self.resume(task, dates), data.length - data.done)
            });
            return (start, finish);
        }
        let asked = self.asked(task, dates, |finish| self.back(task, finish));
        let project_start = match own_start {
            Some(own) if asked.is_none() => own[task].0,
            _ => project_start,
        };
        let floor = self.earliest_by_constraint(task).unwrap_or(project_start).min(project_start);
        let mut start = self.not_earlier(task, floor.max(asked.unwrap_or(floor)));
        if self.is_rescheduled(data) && !has_date(data.constraint) {
            start = start.max(self.plan.status.unwrap());
        }
        if data.delay > 0 {
            start = self.begin(task, start) + data.delay;
        }
        let start = self.begin(task, self.not_later(task, start));
        (start, self.finish_asked(task, start, dates))
    }

    /// Returns the finish of a task; where a link to the finish decides and the task has a date
    /// before which it cannot start or finish, the finish is written as the link asks for it.
    fn finish_asked(&self, task: usize, start: Tick, dates: &[Dates]) -> Tick {
        let finish = self.finish(task, start);
        let constraint = self.plan.tasks[task].constraint;
        let has_date = matches!(constraint, Constraint::StartNoEarlier(_) | Constraint::FinishNoEarlier(_));
        if !has_date || self.plan.from_finish.is_some() {
            return finish;
        }
        let to_finish = self.links_into[task].iter().filter(|link| {
            !self.predecessors(link).is_empty() && matches!(link.kind, Kind::FinishFinish | Kind::StartFinish)
        });
        let targets = to_finish.map(|link| {
            let (start, finish) = self.dates_of(link.from, dates);
            self.target(link, if link.kind == Kind::FinishFinish { finish } else { start }, dates)
        });
        let deciding = targets.filter(|&target| self.begin(task, self.back(task, target)) == start);
        let is_free = |target: &Tick| {
            self.clock.between(self.time_of(task), finish, *target) == 0 && self.gap(task, finish, *target) == 0
        };
        deciding.max().filter(is_free).map_or(finish, |target| target.max(finish))
    }

    /// Returns the beginning of the rest of a started task.
    pub(crate) fn resume(&self, task: usize, dates: &[Dates]) -> Tick {
        let (data, time) = (&self.plan.tasks[task], self.time_of(task));
        let stop = self.clock.add(time, data.actual_start.unwrap(), data.done);
        let mut resume = stop.max(data.resume.unwrap_or(stop));
        if self.plan.retains_logic {
            let rest = data.length - data.done;
            let asked = self.asked(task, dates, |finish| self.clock.add(time, finish, -rest));
            resume = resume.max(asked.unwrap_or(resume));
        }
        if let Constraint::FinishNoEarlier(date) = data.constraint {
            resume = resume.max(self.clock.add(time, date, data.done - data.length));
        }
        if self.is_rescheduled(data) {
            resume = resume.max(self.plan.status.unwrap());
        }
        self.clock.start_form(time, resume)
    }

    fn is_rescheduled(&self, data: &Task) -> bool {
        self.plan.reschedules_rest && self.plan.status.is_some() && data.actual_finish.is_none()
    }

    /// Returns the date before which a constraint lets nothing start; it beats the project start.
    fn earliest_by_constraint(&self, task: usize) -> Option<Tick> {
        match self.plan.tasks[task].constraint {
            _ if self.plan.from_finish.is_some() => None,
            Constraint::StartNoEarlier(date) => Some(date),
            Constraint::FinishNoEarlier(date) => Some(self.back(task, date)),
            _ => None,
        }
    }

    fn not_earlier(&self, task: usize, start: Tick) -> Tick {
        match self.plan.tasks[task].constraint {
            Constraint::StartNoEarlier(date) | Constraint::MustStart(date) => start.max(date),
            Constraint::FinishNoEarlier(date) | Constraint::MustFinish(date) => start.max(self.back(task, date)),
            _ => start,
        }
    }

    /// Moves a start to the date of an honoured constraint that beats links.
    fn not_later(&self, task: usize, start: Tick) -> Tick {
        let is_flexible = self.plan.from_finish.is_some();
        match self.plan.tasks[task].constraint {
            _ if !self.plan.honours_constraints => start,
            Constraint::StartNoLater(date) if !is_flexible => start.min(date),
            Constraint::FinishNoLater(date) if !is_flexible => start.min(self.back(task, date)),
            Constraint::MustStart(date) => date,
            Constraint::MustFinish(date) => self.back(task, date),
            _ => start,
        }
    }
}

pub(crate) fn has_date(constraint: Constraint) -> bool {
    !matches!(constraint, Constraint::Asap | Constraint::Alap)
}

fn time_of(plan: &Plan, task: usize) -> Time {
    let data = &plan.tasks[task];
    if data.is_elapsed { Time::Elapsed } else { Time::Of(data.calendar.unwrap_or(0)) }
}

fn stretches_of(plan: &Plan, task: usize) -> Vec<Stretch> {
    let data = &plan.tasks[task];
    let gaps: Tick = data.parts.iter().map(|(gap, _)| gap).sum();
    if data.assignments.is_empty() || data.has_fixed_duration || data.is_elapsed {
        return vec![Stretch { time: time_of(plan, task), delay: 0, length: data.length + gaps }];
    }
    let stretch = |assignment: &crate::plan::Assignment| {
        let persons = plan.resources[assignment.resource];
        let time = match data.calendar {
            Some(own) if data.ignores_resource_calendars => Time::Of(own),
            Some(own) => Time::Shared(own, persons),
            None => Time::Of(persons),
        };
        Stretch { time, delay: assignment.delay, length: assignment.work * 100 / assignment.units_percent }
    };
    data.assignments.iter().map(stretch).collect()
}
