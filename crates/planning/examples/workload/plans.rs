//! Plans of any size: a program of projects, with links, calendars and people as in real plans.

use pmo_planning::{
    Assignment, Calendar, CalendarException, CalendarIndex, Constraint, Day, HourRange, Lag, Link, LinkKind, Moment,
    Plan, Resource, Span, Task, TaskType, Units,
};

/// Tasks below one summary, with it.
const SECTION: u32 = 20;
/// Tasks of one project; links seldom lead from one project to another.
const PROJECT: u32 = 2_000;
/// Farthest predecessor within a project.
const NEIGHBORS: u32 = 120;

/// Pseudo-random numbers (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Returns a number below a limit.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((mixed ^ (mixed >> 31)) % u64::from(limit.max(1))).unwrap_or(0)
    }

    /// Returns true in so many of 100 cases.
    fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    fn small(&mut self, limit: u32) -> i32 {
        i32::try_from(self.below(limit)).unwrap_or(0)
    }
}

/// Task as a row of a table: numbers and flags, nothing compiled.
pub(crate) struct TaskRow {
    pub(crate) parent: Option<u32>,
    pub(crate) hours: i32,
    pub(crate) calendar: Option<u16>,
    pub(crate) constraint: Constraint,
    pub(crate) deadline: Moment,
    pub(crate) person: Option<u32>,
}

/// Rows from which a plan is built.
pub(crate) struct Rows {
    pub(crate) tasks: Vec<TaskRow>,
    pub(crate) links: Vec<Link>,
}

/// Returns the start of the program.
fn start() -> Moment {
    Moment::from_civil(2026, 3, 2, 8, 0)
}

impl Rows {
    /// Returns rows with 1.5 links a task; the same number gives the same rows.
    pub(crate) fn new(count: u32) -> Self {
        let mut random = Random(u64::from(count));
        let tasks = (0..count).map(|task| task_row(&mut random, task)).collect();
        let wanted = if count > SECTION { count as usize / 2 * 3 } else { 0 };
        let mut links = Vec::with_capacity(wanted);
        while links.len() < wanted {
            links.extend(link(&mut random, count));
        }
        Self { tasks, links }
    }

    /// Returns the plan of the rows.
    pub(crate) fn plan(&self) -> Plan {
        let mut plan = Plan {
            calendars: calendars(),
            tasks: Vec::with_capacity(self.tasks.len()),
            links: self.links.clone(),
            resources: (0..20).map(resource).collect(),
            assignments: Vec::with_capacity(self.tasks.iter().filter(|row| row.person.is_some()).count()),
            ..Plan::default()
        };
        plan.settings.start = start();
        for (position, row) in (0_u32..).zip(&self.tasks) {
            plan.tasks.push(Task {
                parent: row.parent,
                calendar: row.calendar.map(CalendarIndex),
                constraint: row.constraint,
                deadline: row.deadline,
                task_type: TaskType::FixedUnits,
                ..Task::new(position, Span::hours(row.hours))
            });
            if let Some(person) = row.person {
                let work = Span::hours(row.hours);
                plan.assignments.push(Assignment { task: position, resource: person, work, ..whole_assignment() });
            }
        }
        plan
    }
}

fn whole_assignment() -> Assignment {
    Assignment { units: Units::WHOLE, ..Assignment::default() }
}

fn resource(number: u16) -> Resource {
    Resource { calendar: (number.is_multiple_of(4)).then_some(CalendarIndex(1)), ..Resource::default() }
}

fn calendars() -> Vec<Calendar> {
    let hours = [HourRange::hours(8, 12), HourRange::hours(13, 17)];
    let mut standard = Calendar::standard();
    for year in 2026..2036 {
        for (month, day) in [(1, 1), (4, 6), (5, 1), (12, 25), (12, 26)] {
            let date = Day::from_civil(year, month, day);
            standard.exceptions.push(CalendarException::days(date, date, Vec::new()));
        }
    }
    vec![standard, Calendar::with_week(1..=6, &hours), Calendar::with_week(1..=4, &hours), Calendar::always()]
}

fn task_row(random: &mut Random, task: u32) -> TaskRow {
    let first = task.is_multiple_of(SECTION);
    let date = start().plus(Span::hours(24 * random.small(300)));
    TaskRow {
        parent: (!first).then_some(task / SECTION * SECTION),
        hours: if first || random.chance(5) { 0 } else { 2 + 2 * random.small(20) },
        calendar: random.chance(6).then(|| u16::try_from(1 + random.below(3)).unwrap_or(1)),
        constraint: if random.chance(3) && !first {
            Constraint::StartNoEarlierThan(date)
        } else {
            Constraint::default()
        },
        deadline: if random.chance(2) { date.plus(Span::hours(24 * 300)) } else { Moment::NONE },
        person: (!first && random.chance(40)).then(|| random.below(20)),
    }
}

/// Returns a link between two leaves, the predecessor first.
fn link(random: &mut Random, count: u32) -> Option<Link> {
    let successor = 1 + random.below(count.saturating_sub(1));
    let begin = successor / PROJECT * PROJECT;
    let farthest = if random.chance(70) { 12 } else { NEIGHBORS };
    let distance = 1 + random.below(farthest);
    let mut predecessor = successor.saturating_sub(distance).max(begin);
    if begin > 0 && random.below(500) == 0 {
        predecessor = begin - 1 - random.below(PROJECT - 1);
    }
    if predecessor >= successor || predecessor.is_multiple_of(SECTION) || successor.is_multiple_of(SECTION) {
        return None;
    }
    let kind = match random.below(100) {
        0..80 => LinkKind::FinishToStart,
        80..88 => LinkKind::StartToStart,
        88..96 => LinkKind::FinishToFinish,
        _ => LinkKind::StartToFinish,
    };
    let lag = match random.below(100) {
        0..20 => Lag::Working(Span::hours(8 * (random.small(5) - 1))),
        20..23 => Lag::Elapsed(Span::hours(24 * random.small(4))),
        23..25 => Lag::Percent(50),
        _ => Lag::default(),
    };
    Some(Link { predecessor, successor, kind, lag })
}
