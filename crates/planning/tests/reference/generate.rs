//! Random plans, from a seed.

use crate::calendar::{
    Exception, Hours, Recurrence, WeekDay, WorkWeek, all_hours, derived, monday_to_friday, standard,
};
use crate::clock::{Clock, Time};
use crate::moment::{DAY, HOUR, MINUTE, Tick, WORK_DAY, at};
use crate::plan::{Assignment, Constraint, Kind, Lag, Link, Mode, Plan, Task};

/// Random numbers by the method splitmix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635_1a2b_3c4d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from 0 to `count - 1`.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(count).unwrap()).unwrap()
    }

    /// Returns a number from `low` to `high`.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + i64::try_from(self.below(usize::try_from(high - low + 1).unwrap())).unwrap()
    }

    /// Returns true in so many of 100 cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }
}

/// What a random plan may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features(pub(crate) u32);

macro_rules! features {
    ($($name:ident),*) => {
        /// Names of all features, by bit.
        pub(crate) const FEATURES: &[&str] = &[$(stringify!($name)),*];
        features!(@bits 0; $($name),*);
    };
    (@bits $bit:expr; $name:ident $(, $rest:ident)*) => {
        pub(crate) const $name: Features = Features(1 << ($bit));
        features!(@bits $bit + 1; $($rest),*);
    };
    (@bits $bit:expr;) => {};
}

features!(
    LINK_TYPES,
    LAGS,
    LEADS,
    ELAPSED_LAGS,
    PERCENT_LAGS,
    ELAPSED,
    MILESTONES,
    EXCEPTIONS,
    CALENDARS,
    PEOPLE,
    SUMMARIES,
    SUMMARY_LINKS,
    NOT_EARLIER,
    NOT_LATER,
    MUST,
    UNHONOURED,
    ALAP,
    DEADLINES,
    MANUAL,
    INACTIVE,
    STARTED,
    FINISHED,
    OUT_OF_SEQUENCE,
    OVERRIDE,
    STATUS,
    SPLITS,
    DELAYS,
    FROM_FINISH,
    MULTIPLE_PATHS,
    SLACK_LIMIT
);

impl Features {
    pub(crate) const ALL: Self = Self((1 << FEATURES.len()) - 1);

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// Returns a plan without cycles of 1 to `max` tasks.
pub(crate) fn random_plan(random: &mut Random, features: Features, max: usize) -> Plan {
    let mut plan = Plan::new();
    plan.start += random.pick(&[0, 0, 0, DAY, 5 * DAY, 2 * HOUR]);
    add_calendars(random, features, &mut plan);
    set_project(random, features, &mut plan);
    // From the finish, dates that hold the beginning of a task are not compared.
    let held = DELAYS.and(MANUAL).and(STARTED).and(FINISHED).and(STATUS).and(MUST);
    let features = if plan.from_finish.is_some() { features.without(held) } else { features };
    let count = 1 + random.below(max);
    for number in 0..count {
        let mut task = random_task(random, features, &plan);
        task.name = format!("T{number}");
        if features.has(SUMMARIES) && number > 0 && random.chance(40) {
            // The previous task or one of those above it, so that tasks stay in outline order.
            let mut above = plan.ancestors(number - 1);
            above.push(number - 1);
            task.parent = Some(random.pick(&above));
        }
        plan.tasks.push(task);
    }
    let mut is_summary = vec![false; count];
    plan.tasks.iter().filter_map(|task| task.parent).for_each(|parent| is_summary[parent] = true);
    for (task, _) in plan.tasks.iter_mut().zip(&is_summary).filter(|(_, is_summary)| **is_summary) {
        *task = Task { parent: task.parent, ..Task::new(&task.name, 0) };
    }
    // A summary has an active task below it.
    for task in (0..count).rev() {
        let is_idle = |plan: &Plan, task: usize| plan.leaves(task).is_empty();
        if is_summary[task] && is_idle(&plan, task) {
            plan.tasks[task + 1].mode = Mode::Automatic;
        }
    }
    add_links(random, features, &mut plan, &is_summary);
    plan
}

fn set_project(random: &mut Random, features: Features, plan: &mut Plan) {
    plan.honours_constraints = !(features.has(UNHONOURED) && random.chance(50));
    plan.retains_logic = !(features.has(OVERRIDE) && random.chance(50));
    plan.has_multiple_critical_paths = features.has(MULTIPLE_PATHS) && random.chance(50);
    if features.has(SLACK_LIMIT) {
        plan.slack_limit = random.between(0, 3) * WORK_DAY;
    }
    if features.has(FROM_FINISH) && random.chance(70) {
        plan.from_finish = Some(at("Fri 29 May 17:00"));
    } else if features.has(STATUS) && random.chance(60) {
        plan.status = Some(random_date(random));
        plan.reschedules_rest = random.chance(80);
    }
}

// Calendars
// ----------------------------------------------------------------------------------------

fn random_hours(random: &mut Random) -> Hours {
    let choices: [&[(Tick, Tick)]; 6] = [
        &[],
        &[],
        &[(8 * HOUR, 12 * HOUR), (13 * HOUR, 17 * HOUR)],
        &[(9 * HOUR, 13 * HOUR)],
        &[(7 * HOUR, 11 * HOUR), (11 * HOUR + 30 * MINUTE, 15 * HOUR + 25 * MINUTE)],
        &[(0, 6 * HOUR), (12 * HOUR, DAY)],
    ];
    random.pick(&choices).to_vec()
}

fn random_exception(random: &mut Random) -> Exception {
    let from = plan_day(random);
    let month = random.pick(&[2, 3, 3, 3, 4]);
    let week_day = random.below(7);
    let recurrence = match random.below(8) {
        0 => Recurrence::Daily(random.between(2, 5)),
        1 => Recurrence::YearlyByDay { month, day: random.between(1, 28) },
        2 => Recurrence::YearlyByPosition { month, week_day, position: random.between(0, 4) },
        3 => Recurrence::MonthlyByDay { every: random.between(1, 2), day: random.between(1, 31) },
        4 => Recurrence::MonthlyByPosition { every: random.between(1, 2), week_day, position: random.between(0, 4) },
        5 => Recurrence::Weekly { every: random.between(1, 3), days: u8::try_from(1 + random.below(127)).unwrap() },
        _ => Recurrence::Single,
    };
    let days = if recurrence == Recurrence::Single { random.between(0, 3) } else { random.between(0, 40) };
    Exception { from, to: from + days, recurrence, hours: random_hours(random) }
}

fn plan_day(random: &mut Random) -> i64 {
    at("Mon 2 Mar 00:00") / DAY + random.between(-5, 30)
}

fn random_week_day(random: &mut Random) -> WeekDay {
    match random.below(4) {
        0 => WeekDay::Free,
        1 => WeekDay::AsBase,
        _ => WeekDay::Hours(random_hours(random)),
    }
}

fn add_calendars(random: &mut Random, features: Features, plan: &mut Plan) {
    if features.has(CALENDARS.and(EXCEPTIONS)) && random.chance(20) {
        plan.calendars = vec![all_hours()];
    }
    if features.has(CALENDARS) || features.has(PEOPLE) {
        let mut six_days = standard();
        six_days.week[6] = six_days.week[1].clone();
        let morning = monday_to_friday(&[(7 * HOUR, 12 * HOUR)]);
        let mut nights = all_hours();
        nights.week.fill(WeekDay::Hours(vec![(0, 10 * HOUR), (22 * HOUR, DAY)]));
        plan.calendars.extend([derived(0), six_days, morning, nights, standard()]);
        plan.calendars[1].week[5] = random_week_day(random);
        plan.calendars[1].week[6] = random_week_day(random);
    }
    if features.has(EXCEPTIONS) {
        for calendar in &mut plan.calendars {
            calendar.exceptions.extend((0..random.below(4)).map(|_| random_exception(random)));
            if random.chance(30) {
                let from = plan_day(random);
                let days = [(); 7].map(|()| random_week_day(random));
                calendar.work_weeks.push(WorkWeek { from, to: from + random.between(0, 10), days });
            }
        }
    }
    if features.has(PEOPLE) {
        plan.resources = (0..1 + random.below(3)).map(|_| random.below(plan.calendars.len())).collect();
    }
}

// Tasks
// --------------------------------------------------------------------------------------------

/// Returns a moment around the plan, on the edge of a span or within one.
fn random_date(random: &mut Random) -> Tick {
    plan_day(random) * DAY + random.pick(&[8, 8, 8, 17, 17, 12, 13, 10, 0, 20]) * HOUR
}

/// Returns a moment at which Standard without exceptions works.
fn random_working_date(random: &mut Random) -> Tick {
    let day = at("Mon 2 Mar 00:00") + random.between(0, 3) * 7 * DAY + random.between(0, 4) * DAY;
    day + random.pick(&[8, 8, 17, 17, 12, 13, 10]) * HOUR
}

fn random_task(random: &mut Random, features: Features, plan: &Plan) -> Task {
    let length = random.pick(&[1, 2, 3, 5, 8, 8, 8, 12, 16, 24, 30, 40, 52]) * HOUR;
    let mut task = Task::new("", if random.chance(10) { length + 25 * MINUTE } else { length });
    if features.has(ELAPSED) && random.chance(20) {
        task.is_elapsed = true;
        task.length *= 2;
    } else if features.has(MILESTONES) && random.chance(20) {
        task.length = 0;
    }
    if features.has(CALENDARS) && !task.is_elapsed && random.chance(40) {
        task.calendar = Some(random.below(plan.calendars.len()));
    }
    if features.has(PEOPLE) && task.length > 0 && !task.is_elapsed && random.chance(50) {
        add_people(random, plan, &mut task);
    }
    task.constraint = random_constraint(random, features);
    if features.has(DEADLINES) && random.chance(25) {
        task.deadline = Some(random_working_date(random));
    }
    let is_flexible = matches!(
        task.constraint,
        Constraint::Asap | Constraint::StartNoEarlier(_) | Constraint::FinishNoEarlier(_) | Constraint::Alap
    );
    if features.has(DELAYS) && is_flexible && random.chance(20) {
        task.delay = random.between(1, 4) * DAY;
    }
    let is_plain = task.assignments.is_empty() && !task.is_elapsed && task.length > 0;
    if features.has(SPLITS) && is_plain && random.chance(30) {
        let first = task.length / 600 / 2 * 600;
        task.parts = vec![(0, first), (random.between(1, 3) * WORK_DAY, task.length - first)];
    }
    if features.has(INACTIVE) && random.chance(15) {
        task.mode = Mode::Inactive;
    } else if features.has(MANUAL) && random.chance(20) {
        let start = random_working_date(random);
        let finish = start + random.between(0, 5) * DAY + 4 * HOUR;
        let length = Clock::new(&plan.calendars).between(Time::Of(0), start, finish);
        task = Task { mode: Mode::Manual { start, finish }, deadline: task.deadline, ..Task::new("", length) };
    } else if is_plain && task.parts.is_empty() {
        add_progress(random, features, &mut task);
    }
    task
}

fn random_constraint(random: &mut Random, features: Features) -> Constraint {
    let any = random_date(random);
    let working = random_working_date(random);
    let choices = [
        (NOT_EARLIER, Constraint::StartNoEarlier(any)),
        (NOT_EARLIER, Constraint::FinishNoEarlier(any)),
        (NOT_LATER, Constraint::StartNoLater(working)),
        (NOT_LATER, Constraint::FinishNoLater(working)),
        (MUST, Constraint::MustStart(working)),
        (MUST, Constraint::MustFinish(working)),
        (ALAP, Constraint::Alap),
    ];
    let (feature, constraint) = random.pick(&choices);
    if features.has(feature) && random.chance(60) { constraint } else { Constraint::Asap }
}

fn add_people(random: &mut Random, plan: &Plan, task: &mut Task) {
    task.has_fixed_duration = random.chance(10);
    task.ignores_resource_calendars = task.calendar.is_some() && random.chance(30);
    for resource in 0..plan.resources.len() {
        if random.chance(60) {
            let work = random.pick(&[4, 8, 16, 24]) * HOUR;
            let units_percent = random.pick(&[100, 100, 50, 25, 200]);
            task.assignments.push(Assignment { resource, work, units_percent, delay: 0 });
        }
    }
}

fn add_progress(random: &mut Random, features: Features, task: &mut Task) {
    let is_finished = features.has(FINISHED) && random.chance(20);
    let is_started = features.has(STARTED) && random.chance(30);
    if !is_finished && !is_started {
        return;
    }
    let start = at("Mon 2 Mar 08:00") + random.between(0, 4) * DAY + random.pick(&[0, 5, 2]) * HOUR;
    task.actual_start = Some(start);
    if is_finished || !matches!(task.constraint, Constraint::FinishNoEarlier(_)) {
        task.constraint = Constraint::Asap;
    }
    task.delay = 0;
    if is_finished {
        task.actual_finish = Some(start + random.between(0, 3) * DAY + 2 * HOUR);
        task.done = task.length;
    } else {
        task.done = (task.length / HOUR / 2).max(1) * HOUR;
        if task.done >= task.length {
            task.length += HOUR;
        }
    }
}

// Links
// --------------------------------------------------------------------------------------------

fn add_links(random: &mut Random, features: Features, plan: &mut Plan, is_summary: &[bool]) {
    let count = plan.tasks.len();
    // Links lead from a smaller to a larger rank, so there is no cycle.
    let mut ranks: Vec<usize> = (0..count).collect();
    if random.chance(30) {
        for number in 1..count {
            ranks.swap(number, random.below(number + 1));
        }
    }
    // Smallest and largest rank of the leaves below each task.
    let mut leaf_ranks = vec![(usize::MAX, 0); count];
    for leaf in (0..count).filter(|&leaf| !is_summary[leaf]) {
        for task in plan.ancestors(leaf).into_iter().chain([leaf]) {
            let (low, high) = leaf_ranks[task];
            leaf_ranks[task] = (low.min(ranks[leaf]), high.max(ranks[leaf]));
        }
    }
    for _ in 0..random.below(2 * count) {
        let (from, to) = (random.below(count), random.below(count));
        let is_forward = leaf_ranks[from].1 < leaf_ranks[to].0;
        let with_summary = is_summary[from] || is_summary[to];
        let is_known = plan.links.iter().any(|link| link.from == from && link.to == to);
        let is_begun = plan.tasks[to].actual_start.is_some() && plan.tasks[to].actual_finish.is_none();
        let is_allowed = (features.has(SUMMARY_LINKS) || !with_summary) && (features.has(OUT_OF_SEQUENCE) || !is_begun);
        if is_forward && is_allowed && !is_known {
            let link = random_link(random, features, plan, from, to);
            plan.links.push(link);
        }
    }
}

fn random_link(random: &mut Random, features: Features, plan: &Plan, from: usize, to: usize) -> Link {
    let mut kind = Kind::FinishStart;
    if features.has(LINK_TYPES) {
        kind = random.pick(&[Kind::FinishStart, Kind::StartStart, Kind::FinishFinish, Kind::StartFinish]);
    }
    if plan.is_summary(to) && matches!(kind, Kind::FinishFinish | Kind::StartFinish) {
        kind = Kind::FinishStart;
    }
    // From the finish, the earliest start below a summary is not known.
    if plan.is_summary(from) && plan.from_finish.is_some() {
        kind = Kind::FinishStart;
    }
    let sign = if features.has(LEADS) && random.chance(50) { -1 } else { 1 };
    let length = random.pick(&[2, 4, 8, 8, 16, 27]) * HOUR;
    let percent = random.pick(&[25, 50, 100, 150]);
    let choices = [
        (LAGS, Lag::Work(length)),
        (LEADS, Lag::Work(-length)),
        (ELAPSED_LAGS, Lag::Elapsed(sign * 3 * length)),
        (PERCENT_LAGS, Lag::Percent(sign * percent)),
        (PERCENT_LAGS.and(ELAPSED_LAGS), Lag::ElapsedPercent(sign * percent)),
    ];
    let (feature, lag) = random.pick(&choices);
    let is_used =
        features.has(feature) && random.chance(60) && !(feature.has(PERCENT_LAGS) && plan.tasks[from].length == 0);
    Link { from, to, kind, lag: if is_used { lag } else { Lag::Work(0) } }
}
