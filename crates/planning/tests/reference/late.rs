//! The slow solver, second part: late dates, slack, summaries.

use crate::clock::Time;
use crate::moment::Tick;
use crate::plan::{Answer, Constraint, Kind, Link, Mode};
use crate::solver::{Dates, Solver};

impl Solver<'_> {
    pub(crate) fn solve_from_start(&self) -> Vec<Answer> {
        let free = vec![None; self.plan.tasks.len()];
        let early = self.forward(self.plan.start, None, &free);
        let finish = self.leaves.iter().map(|&task| early[task].1).max().unwrap_or(self.plan.start);
        let late = self.backward(finish, &early);
        let mut fixed = free;
        for &task in &self.leaves {
            if self.is_late_as_possible(task) {
                let start = late[task].0.max(early[task].0);
                fixed[task] = Some((start, self.finish(task, start)));
            }
        }
        let dates = self.forward(self.plan.start, None, &fixed);
        // The early dates of these tasks are those before they were moved.
        let early_of = |task: usize| if fixed[task].is_some() { early[task] } else { dates[task] };
        let early: Vec<Dates> = (0..self.plan.tasks.len()).map(early_of).collect();
        self.answers(&dates, &early, &late)
    }

    /// All tasks stand at their late dates, whatever their deadlines; early dates count from the
    /// earliest of those.
    pub(crate) fn solve_from_finish(&self, finish: Tick) -> Vec<Answer> {
        let late = self.backward(finish, &vec![(finish, finish); self.plan.tasks.len()]);
        let start = self.leaves.iter().map(|&task| late[task].0).min().unwrap_or(finish);
        // With several critical paths, each begins with its own first task.
        let own_start = self.plan.has_multiple_critical_paths.then_some(late.as_slice());
        let early = self.forward(start, own_start, &vec![None; self.plan.tasks.len()]);
        self.answers(&late, &early, &late)
    }

    fn is_late_as_possible(&self, task: usize) -> bool {
        let data = &self.plan.tasks[task];
        data.constraint == Constraint::Alap && data.mode == Mode::Automatic && data.actual_start.is_none()
    }

    // Backward ---------------------------------------------------------------------------------

    fn backward(&self, project_finish: Tick, early: &[Dates]) -> Vec<Dates> {
        let mut late = vec![(project_finish, project_finish); self.plan.tasks.len()];
        for _ in 0..self.leaves.len() + 2 {
            let before = late.clone();
            for &task in self.leaves.iter().rev() {
                late[task] = self.late(task, project_finish, early, &late);
            }
            if late == before {
                return late;
            }
        }
        panic!("the plan has a cycle")
    }

    fn late(&self, task: usize, project_finish: Tick, early: &[Dates], late: &[Dates]) -> Dates {
        let data = &self.plan.tasks[task];
        if let (Some(start), Some(finish)) = (data.actual_start, data.actual_finish) {
            return (start, finish);
        }
        let allowed = self.links_allow(task, early, late);
        let is_own_end = self.plan.has_multiple_critical_paths && allowed.is_none();
        let end = if is_own_end { early[task].1 } else { project_finish };
        let allowed = allowed.filter(|allowed| *allowed < end);
        let mut finish = allowed.unwrap_or(end);
        if data.mode == Mode::Automatic && data.actual_start.is_none() {
            finish = self.capped(task, finish);
        }
        if let Some(deadline) = data.deadline.filter(|_| self.plan.from_finish.is_none()) {
            finish = finish.min(deadline);
        }
        // The late date of these is what decides, as it is: the late start of a successor remains
        // Monday 08:00.
        let fixed = match data.constraint {
            Constraint::MustStart(date) if self.plan.honours_constraints => Some(self.begin(task, date)),
            _ => None,
        };
        if self.is_milestone(task) && data.mode == Mode::Automatic {
            return (fixed.unwrap_or(finish), finish);
        }
        if data.mode != Mode::Automatic {
            let start = self.back(task, finish);
            let is_on_time = early[task].1 <= finish;
            return (if is_on_time { start.max(early[task].0) } else { start }, finish);
        }
        let finish = self.end(task, finish);
        (data.actual_start.or(fixed).unwrap_or_else(|| self.back(task, finish)), finish)
    }

    /// Returns the latest finish that the links of a task allow.
    fn links_allow(&self, task: usize, early: &[Dates], late: &[Dates]) -> Option<Tick> {
        let pairs =
            self.links_out_of(task).iter().flat_map(|link| self.successors(link).iter().map(move |&s| (link, s)));
        let data = &self.plan.tasks[task];
        let has_fixed_start = data.mode != Mode::Automatic || data.actual_start.is_some();
        let finishes = pairs.filter_map(|(link, successor)| {
            let from_start = matches!(link.kind, Kind::StartStart | Kind::StartFinish);
            let holds_start = !has_fixed_start && self.is_earliest(task, link, early);
            let is_finished = self.plan.tasks[successor].actual_finish.is_some();
            if is_finished || (from_start && !holds_start) {
                return None;
            }
            let to_start = matches!(link.kind, Kind::FinishStart | Kind::StartStart);
            let target = if to_start {
                let start = match self.plan.tasks[successor].mode {
                    _ if link.to == successor => self.late_rest(successor, late),
                    Mode::Manual { start, .. } => start,
                    _ => late[successor].0,
                };
                start - self.plan.tasks[successor].delay
            } else {
                self.latest_end_asked(successor, late[successor])
            };
            let allowed = self.source(link, target, early);
            Some(if from_start { self.late_finish_of(task, allowed) } else { allowed })
        });
        finishes.min()
    }

    /// Returns the latest moment that a link may ask for as the finish of a task, before its
    /// levelling delay.
    fn latest_end_asked(&self, task: usize, late: Dates) -> Tick {
        let data = &self.plan.tasks[task];
        if data.mode != Mode::Automatic || data.actual_start.is_some() || self.is_milestone(task) {
            return self.latest_end(task, late.1 - data.delay);
        }
        self.latest_end_from(task, late.0 - data.delay)
    }

    /// Returns the late start of a task; of a started one whose rest waits for predecessors, that
    /// of the rest.
    fn late_rest(&self, task: usize, late: &[Dates]) -> Tick {
        let data = &self.plan.tasks[task];
        match data.actual_start {
            Some(_) => self.clock.add(self.time_of(task), late[task].1, data.done - data.length),
            None => late[task].0,
        }
    }

    /// Returns whether a task is the one below a linked summary from whose start the link runs.
    fn is_earliest(&self, task: usize, link: &Link, early: &[Dates]) -> bool {
        early[task].0 == self.dates_of(link.from, early).0
    }

    fn capped(&self, task: usize, finish: Tick) -> Tick {
        let honours = self.plan.honours_constraints;
        let is_from_finish = self.plan.from_finish.is_some();
        let with_start = |date: Tick| self.finish(task, date);
        match self.plan.tasks[task].constraint {
            Constraint::Asap | Constraint::Alap => finish,
            Constraint::MustStart(date) if honours => with_start(date),
            Constraint::MustFinish(date) if honours => date,
            Constraint::StartNoLater(date) | Constraint::MustStart(date) => finish.min(with_start(date)),
            Constraint::FinishNoLater(date) | Constraint::MustFinish(date) => finish.min(date),
            Constraint::StartNoEarlier(date) if is_from_finish && honours => finish.max(with_start(date)),
            Constraint::FinishNoEarlier(date) if is_from_finish && honours => finish.max(date),
            Constraint::StartNoEarlier(_) | Constraint::FinishNoEarlier(_) => finish,
        }
    }

    // Slack ------------------------------------------------------------------------------------

    fn answers(&self, dates: &[Dates], early: &[Dates], late: &[Dates]) -> Vec<Answer> {
        let mut answers = vec![Answer::default(); self.plan.tasks.len()];
        for &task in &self.leaves {
            answers[task] = self.answer(task, dates, early, late);
        }
        for &task in &self.leaves {
            answers[task].free = self.free_slack(task, dates, answers[task].total);
        }
        for task in 0..self.plan.tasks.len() {
            if self.plan.is_summary(task) {
                answers[task] = self.summary(task, &answers);
                answers[task].free = self.free_slack(task, dates, answers[task].total);
            }
        }
        answers
    }

    fn answer(&self, task: usize, dates: &[Dates], early: &[Dates], late: &[Dates]) -> Answer {
        let (data, time) = (&self.plan.tasks[task], self.time_of(task));
        let of_start = self.clock.between(time, early[task].0, late[task].0);
        let of_finish = self.clock.between(time, early[task].1, late[task].1);
        let is_started = data.actual_start.is_some();
        let is_finished = data.actual_finish.is_some();
        let total = match () {
            () if is_finished => 0,
            () if self.is_late_as_possible(task) && self.plan.from_finish.is_none() => of_start.min(of_finish).min(0),
            () if is_started || data.mode != Mode::Automatic => of_finish,
            () => of_start.min(of_finish).min(self.slack_of_fixed_date(task, dates)),
        };
        Answer {
            start: dates[task].0,
            finish: dates[task].1,
            early_start: early[task].0,
            early_finish: early[task].1,
            late_start: late[task].0,
            late_finish: late[task].1,
            total,
            free: 0,
            is_critical: !is_finished && total <= self.plan.slack_limit,
            length: data.length,
            percent: match () {
                () if is_finished => 100,
                () if data.length == 0 => 0,
                () => data.done * 100 / data.length,
            },
            resume: (is_started && !is_finished).then(|| self.resume(task, dates)),
        }
    }

    /// Returns what is missing between the date of an MSO or MFO task and what its links ask for.
    fn slack_of_fixed_date(&self, task: usize, dates: &[Dates]) -> Tick {
        let data = &self.plan.tasks[task];
        let has_fixed_date = matches!(data.constraint, Constraint::MustStart(_) | Constraint::MustFinish(_));
        if !has_fixed_date || !self.plan.honours_constraints || data.mode != Mode::Automatic {
            return Tick::MAX;
        }
        let asked = self.asked(task, dates, |finish| self.back(task, finish));
        asked.map_or(Tick::MAX, |asked| self.clock.between(self.time_of(task), asked, dates[task].0))
    }

    fn free_slack(&self, task: usize, dates: &[Dates], total: Tick) -> Tick {
        // Links of the summaries above do not count.
        let own = self.plan.links.iter().filter(|link| link.from == task && !self.plan.is_inactive(link.to));
        let gaps = own.filter_map(|link| self.gap_before(task, link, dates));
        gaps.min().unwrap_or(total).min(total).max(0)
    }

    /// Returns by how much a task can slip before the successor of a link, unless that is finished.
    fn gap_before(&self, task: usize, link: &Link, dates: &[Dates]) -> Option<Tick> {
        let from_start = matches!(link.kind, Kind::StartStart | Kind::StartFinish);
        let to_start = matches!(link.kind, Kind::FinishStart | Kind::StartStart);
        let (start, finish) = self.dates_of(task, dates);
        let own = if from_start { start } else { finish };
        let below = self.successors(link);
        if below.iter().all(|&task| self.plan.tasks[task].actual_finish.is_some()) {
            return None;
        }
        let (start, finish) = self.dates_of(link.to, dates);
        let target = if to_start { start } else { finish };
        Some(self.gap(task, own, self.source(link, target, dates)))
    }

    fn summary(&self, task: usize, answers: &[Answer]) -> Answer {
        let below: Vec<usize> = self.plan.leaves(task);
        let of = |value: fn(&Answer) -> Tick| below.iter().map(move |&leaf| value(&answers[leaf]));
        let (start, finish) = (of(|a| a.start).min().unwrap_or(0), of(|a| a.finish).max().unwrap_or(0));
        // A manual task holds the summary's late dates where it stands.
        let late = |leaf: usize| match self.plan.tasks[leaf].mode {
            Mode::Manual { start, finish } => (start, finish),
            _ => (answers[leaf].late_start, answers[leaf].late_finish),
        };
        let early = |leaf: usize| {
            let Answer { start, finish, early_start, early_finish, .. } = answers[leaf];
            if self.is_late_as_possible(leaf) && self.plan.from_finish.is_none() {
                (start, finish)
            } else {
                (early_start, early_finish)
            }
        };
        let early_start = below.iter().map(|&leaf| early(leaf).0).min().unwrap_or(0);
        let early_finish = below.iter().map(|&leaf| early(leaf).1).max().unwrap_or(0);
        let late_start = below.iter().map(|&leaf| late(leaf).0).min().unwrap_or(0);
        let late_finish = below.iter().map(|&leaf| late(leaf).1).max().unwrap_or(0);
        let time = Time::Of(0);
        let of_start = self.clock.between(time, early_start, late_start);
        let of_finish = self.clock.between(time, early_finish, late_finish);
        let is_finished = below.iter().all(|&leaf| self.plan.tasks[leaf].actual_finish.is_some());
        let length: Tick = below.iter().map(|&leaf| self.plan.tasks[leaf].length).sum();
        let done: Tick = below.iter().map(|&leaf| self.done(leaf)).sum();
        Answer {
            start,
            finish,
            early_start,
            early_finish,
            late_start,
            late_finish,
            total: of_start.min(of_finish),
            free: 0,
            is_critical: !is_finished && of_start.min(of_finish) <= self.plan.slack_limit,
            length: self.clock.between(time, start, finish),
            percent: if length == 0 { 0 } else { done * 100 / length },
            resume: None,
        }
    }

    fn done(&self, task: usize) -> Tick {
        let data = &self.plan.tasks[task];
        if data.actual_finish.is_some() { data.length } else { data.done }
    }
}
