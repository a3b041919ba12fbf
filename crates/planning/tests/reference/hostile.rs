//! Plans that make no sense: cycles, absurd dates, calendars without work, references to nothing.

use pmo_planning as engine;

use crate::generate::Random;
use crate::properties::{cases, first_seed};

const ODD_NUMBERS: [i32; 14] = [
    0,
    1,
    -1,
    600,
    -4800,
    14_400,
    137_000_000,
    -137_000_000,
    i32::MAX,
    i32::MIN,
    i32::MIN + 1,
    i32::MAX / 2,
    i32::MIN / 2,
    i32::MAX - 14_400,
];

fn odd_number(random: &mut Random) -> i32 {
    if random.chance(50) { random.pick(&ODD_NUMBERS) } else { i32::try_from(random.between(-9_000, 90_000)).unwrap() }
}

fn odd_moment(random: &mut Random) -> engine::Moment {
    match random.below(10) {
        0..3 => engine::Moment::NONE,
        3..7 => engine::Moment::from_civil(2026, 3, 2, 8, 0).plus(engine::Span(odd_number(random))),
        _ => engine::Moment(odd_number(random)),
    }
}

fn odd_span(random: &mut Random) -> engine::Span {
    engine::Span(if random.chance(70) { random.pick(&[0, 600, 4800, 9600]) } else { odd_number(random) })
}

/// Returns a position that is often, but not always, below `count`.
fn odd_position(random: &mut Random, count: usize) -> u32 {
    match random.below(20) {
        0 => u32::MAX,
        1 => u32::try_from(count).unwrap(),
        _ => u32::try_from(random.below(count.max(1))).unwrap(),
    }
}

fn odd_calendar_index(random: &mut Random) -> engine::CalendarIndex {
    engine::CalendarIndex(if random.chance(3) { u16::MAX } else { u16::try_from(random.below(7)).unwrap() })
}

fn odd_hours(random: &mut Random) -> Vec<engine::HourRange> {
    let range = |random: &mut Random| {
        let edges: [u16; 7] = [0, 1, 4_800, 7_200, 14_399, 14_400, u16::MAX];
        engine::HourRange { from: random.pick(&edges), to: random.pick(&edges) }
    };
    (0..random.below(4)).map(|_| range(random)).collect()
}

fn odd_day_hours(random: &mut Random) -> engine::DayHours {
    if random.chance(40) { engine::DayHours::Inherited } else { engine::DayHours::Ranges(odd_hours(random)) }
}

fn odd_day(random: &mut Random) -> engine::Day {
    if random.chance(10) {
        engine::Day(odd_number(random))
    } else {
        engine::Day(9_557 + i32::try_from(random.between(-10, 60)).unwrap())
    }
}

fn odd_recurrence(random: &mut Random) -> engine::Recurrence {
    let number = |random: &mut Random| random.pick(&[0, 1, 2, 4, 5, 12, 13, 31, 127, u8::MAX]);
    let period = u16::from(number(random));
    match random.below(6) {
        0 => engine::Recurrence::Daily { period },
        1 => engine::Recurrence::Weekly { days: number(random), period },
        2 => engine::Recurrence::MonthlyByDay { day: number(random), period },
        3 => engine::Recurrence::MonthlyByPosition { position: number(random), weekday: number(random), period },
        4 => engine::Recurrence::YearlyByDay { month: number(random), day: number(random) },
        _ => engine::Recurrence::YearlyByPosition {
            month: number(random),
            position: number(random),
            weekday: number(random),
        },
    }
}

fn odd_calendar(random: &mut Random) -> engine::Calendar {
    if random.chance(30) {
        return engine::Calendar::standard();
    }
    let exception = |random: &mut Random| engine::CalendarException {
        from: odd_day(random),
        to: odd_day(random),
        recurrence: odd_recurrence(random),
        occurrences: if random.chance(70) { None } else { Some(random.pick(&[0, 1, 3, u16::MAX])) },
        hours: odd_hours(random),
    };
    let work_week = |random: &mut Random| engine::WorkWeek {
        from: odd_day(random),
        to: odd_day(random),
        days: std::array::from_fn(|_| odd_day_hours(random)),
    };
    engine::Calendar {
        base: random.chance(60).then(|| odd_calendar_index(random)),
        week: std::array::from_fn(|_| odd_day_hours(random)),
        work_weeks: (0..random.below(3)).map(|_| work_week(random)).collect(),
        exceptions: (0..random.below(4)).map(|_| exception(random)).collect(),
    }
}

fn odd_constraint(random: &mut Random) -> engine::Constraint {
    let date = odd_moment(random);
    match random.below(12) {
        0 => engine::Constraint::AsLateAsPossible,
        1 => engine::Constraint::MustStartOn(date),
        2 => engine::Constraint::MustFinishOn(date),
        3 => engine::Constraint::StartNoEarlierThan(date),
        4 => engine::Constraint::StartNoLaterThan(date),
        5 => engine::Constraint::FinishNoEarlierThan(date),
        6 => engine::Constraint::FinishNoLaterThan(date),
        _ => engine::Constraint::AsSoonAsPossible,
    }
}

pub(crate) fn odd_task(random: &mut Random, id: u32, count: usize) -> engine::Task {
    let rarely = |random: &mut Random| if random.chance(85) { engine::Moment::NONE } else { odd_moment(random) };
    let below = usize::try_from(id).unwrap();
    engine::Task {
        parent: match random.below(10) {
            0..3 => Some(u32::try_from(random.below(below.max(1))).unwrap()),
            3 => Some(odd_position(random, count)),
            _ => None,
        },
        mode: random.pick(&[
            engine::Mode::Automatic,
            engine::Mode::Automatic,
            engine::Mode::Automatic,
            engine::Mode::Manual,
            engine::Mode::Inactive,
        ]),
        manual_start: odd_moment(random),
        manual_finish: odd_moment(random),
        elapsed: random.chance(20),
        task_type: random.pick(&[
            engine::TaskType::FixedUnits,
            engine::TaskType::FixedDuration,
            engine::TaskType::FixedWork,
        ]),
        effort_driven: random.chance(50),
        calendar: random.chance(40).then(|| odd_calendar_index(random)),
        ignore_resource_calendars: random.chance(30),
        constraint: odd_constraint(random),
        deadline: rarely(random),
        priority: random.pick(&[0, 500, 1000, u16::MAX]),
        leveling_delay: if random.chance(80) { engine::Span::ZERO } else { odd_span(random) },
        actual_start: rarely(random),
        actual_finish: rarely(random),
        actual_duration: if random.chance(70) { engine::Span::ZERO } else { odd_span(random) },
        stop: rarely(random),
        resume: rarely(random),
        ..engine::Task::new(id, odd_span(random))
    }
}

pub(crate) fn odd_link(random: &mut Random, count: usize) -> engine::Link {
    let percent = random.pick(&[0, 50, -100, i16::MAX, i16::MIN]);
    engine::Link {
        predecessor: odd_position(random, count),
        successor: odd_position(random, count),
        kind: random.pick(&[
            engine::LinkKind::FinishToStart,
            engine::LinkKind::StartToStart,
            engine::LinkKind::FinishToFinish,
            engine::LinkKind::StartToFinish,
        ]),
        lag: match random.below(6) {
            0 => engine::Lag::Elapsed(odd_span(random)),
            1 => engine::Lag::Percent(percent),
            2 => engine::Lag::ElapsedPercent(percent),
            _ => engine::Lag::Working(odd_span(random)),
        },
    }
}

/// Returns a plan of up to `max` tasks in which anything may be wrong.
pub(crate) fn hostile_plan(random: &mut Random, max: usize) -> engine::Plan {
    let count = random.below(max + 1);
    let mut plan = engine::Plan {
        settings: engine::Settings {
            start: odd_moment(random),
            finish: odd_moment(random),
            direction: if random.chance(70) { engine::Direction::FromStart } else { engine::Direction::FromFinish },
            calendar: odd_calendar_index(random),
            status_date: odd_moment(random),
            reschedule_remaining: random.chance(40),
            honor_constraints: random.chance(60),
            critical_slack_limit: odd_span(random),
            multiple_critical_paths: random.chance(30),
            split_in_progress: random.chance(60),
        },
        calendars: (0..random.below(6)).map(|_| odd_calendar(random)).collect(),
        ..engine::Plan::default()
    };
    let resource = |random: &mut Random| engine::Resource {
        kind: random.pick(&[
            engine::ResourceKind::Work,
            engine::ResourceKind::Work,
            engine::ResourceKind::Material,
            engine::ResourceKind::Cost,
        ]),
        calendar: random.chance(70).then(|| odd_calendar_index(random)),
    };
    plan.resources = (0..random.below(4)).map(|_| resource(random)).collect();
    for id in 0..u32::try_from(count).unwrap() {
        plan.tasks.push(odd_task(random, id, count));
    }
    plan.links = (0..random.below(2 * count + 2)).map(|_| odd_link(random, count)).collect();
    let assignment = |random: &mut Random| engine::Assignment {
        task: odd_position(random, count),
        resource: odd_position(random, 3),
        units: engine::Units(random.pick(&[0, 1, 5_000, 10_000, u32::MAX])),
        work: odd_span(random),
        delay: odd_span(random),
        leveling_delay: odd_span(random),
        duration: random.chance(20).then(|| odd_span(random)),
    };
    plan.assignments = (0..random.below(count + 1)).map(|_| assignment(random)).collect();
    let segment = |random: &mut Random| engine::Segment {
        task: odd_position(random, count),
        assignment: random.chance(40).then(|| odd_position(random, count)),
        offset: odd_span(random),
        length: odd_span(random),
    };
    plan.segments = (0..random.below(4)).map(|_| segment(random)).collect();
    plan
}

#[test]
fn the_engine_answers_plans_that_make_no_sense() {
    for seed in first_seed()..first_seed() + cases(200) {
        let plan = hostile_plan(&mut Random::new(seed), 12);
        let outcome = std::panic::catch_unwind(|| engine::schedule(&plan));
        let schedule = outcome.unwrap_or_else(|_| panic!("seed {seed}: {plan:?}"));
        assert_eq!(schedule.start.len(), plan.tasks.len());
    }
}
