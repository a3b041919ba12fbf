//! The engine never panics and always ends.

use crate::calendar::{Calendar, CalendarException, CalendarIndex, DayHours, HourRange, Recurrence, WorkWeek};
use crate::model::{
    Assignment, Constraint, Direction, Lag, Link, LinkKind, Mode, Plan, Resource, Segment, Settings, Task, TaskId,
    TaskType, Units,
};
use crate::moment::{Day, Moment, Span};
use crate::{Driver, Edit, Live, Problem, schedule};

/// Pseudo-random numbers that are often extreme.
struct Extreme(u64);

impl Extreme {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 24
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }

    fn number(&mut self) -> i32 {
        let small = i32::try_from(self.next() % 20_000).unwrap_or(0);
        match self.next() % 8 {
            0 => i32::MIN,
            1 => i32::MAX,
            2 => i32::MIN + 1,
            3 => -small,
            4 => i32::MAX / 2,
            5 => 0,
            _ => 137_000_000 + small,
        }
    }

    fn moment(&mut self) -> Moment {
        Moment(self.number())
    }

    fn span(&mut self) -> Span {
        let number = self.number();
        Span(if number > 137_000_000 && number < 138_000_000 { number - 137_000_000 } else { number })
    }

    fn index(&mut self) -> u32 {
        if self.one_in(20) { u32::MAX } else { u32::try_from(self.next() % 8).unwrap_or(0) }
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.next() % 256).unwrap_or(0)
    }

    fn short(&mut self) -> u16 {
        let number = self.next();
        if number.is_multiple_of(2) {
            u16::try_from(number % 5).unwrap_or(0)
        } else {
            u16::try_from(number % 65_536).unwrap_or(0)
        }
    }

    fn hours(&mut self) -> Vec<HourRange> {
        (0..self.next() % 4).map(|_| HourRange { from: self.short(), to: self.short() }).collect()
    }

    fn calendar(&mut self) -> Calendar {
        let mut calendar = Calendar { base: None, ..Calendar::default() };
        if !self.one_in(3) {
            calendar.base = Some(CalendarIndex(self.short()));
        }
        for day in &mut calendar.week {
            if self.one_in(2) {
                *day = DayHours::Ranges(self.hours());
            }
        }
        let kind = self.next() % 7;
        let recurrence = match kind {
            0 => Recurrence::Daily { period: self.short() },
            1 => Recurrence::Weekly { days: self.byte(), period: self.short() },
            2 => Recurrence::MonthlyByDay { day: self.byte(), period: self.short() },
            3 => Recurrence::MonthlyByPosition { position: self.byte(), weekday: self.byte(), period: self.short() },
            4 => Recurrence::YearlyByDay { month: self.byte(), day: self.byte() },
            _ => Recurrence::YearlyByPosition { month: self.byte(), position: self.byte(), weekday: self.byte() },
        };
        // Ranges over all time are rare, because they take long to write out.
        let long = self.one_in(100);
        let from = if long { Day(i32::MIN) } else { Day(9_500) };
        let to = if long { Day(i32::MAX) } else { Day(9_600) };
        calendar.exceptions.push(CalendarException { from, to, recurrence, occurrences: None, hours: self.hours() });
        calendar.work_weeks.push(WorkWeek { from: Day(9_550), to, days: calendar.week.clone() });
        calendar
    }

    fn constraint(&mut self) -> Constraint {
        let date = self.moment();
        match self.next() % 8 {
            0 => Constraint::AsSoonAsPossible,
            1 => Constraint::AsLateAsPossible,
            2 => Constraint::MustStartOn(date),
            3 => Constraint::MustFinishOn(date),
            4 => Constraint::StartNoEarlierThan(date),
            5 => Constraint::StartNoLaterThan(date),
            6 => Constraint::FinishNoEarlierThan(date),
            _ => Constraint::FinishNoLaterThan(date),
        }
    }

    fn task(&mut self) -> Task {
        Task {
            id: TaskId(self.index()),
            parent: (self.one_in(2)).then(|| self.index()),
            mode: [Mode::Automatic, Mode::Automatic, Mode::Manual, Mode::Inactive][self.next() as usize % 4],
            manual_start: self.moment(),
            manual_finish: self.moment(),
            duration: self.span(),
            elapsed: self.one_in(4),
            task_type: [TaskType::FixedUnits, TaskType::FixedDuration][self.next() as usize % 2],
            calendar: (self.one_in(3)).then(|| CalendarIndex(self.short())),
            ignore_resource_calendars: self.one_in(3),
            constraint: self.constraint(),
            deadline: self.moment(),
            leveling_delay: self.span(),
            actual_start: self.moment(),
            actual_finish: if self.one_in(2) { self.moment() } else { Moment::NONE },
            actual_duration: self.span(),
            stop: self.moment(),
            resume: self.moment(),
            ..Task::default()
        }
    }

    fn plan(&mut self) -> Plan {
        let mut plan = Plan {
            settings: Settings {
                start: self.moment(),
                finish: self.moment(),
                direction: [Direction::FromStart, Direction::FromFinish][self.next() as usize % 2],
                calendar: CalendarIndex(self.short()),
                status_date: self.moment(),
                reschedule_remaining: self.one_in(2),
                multiple_critical_paths: self.one_in(2),
                critical_slack_limit: self.span(),
                ..Settings::default()
            },
            ..Plan::default()
        };
        plan.calendars = (0..self.next() % 4).map(|_| self.calendar()).collect();
        plan.tasks = (0..self.next() % 9).map(|_| self.task()).collect();
        let kinds =
            [LinkKind::FinishToStart, LinkKind::StartToStart, LinkKind::FinishToFinish, LinkKind::StartToFinish];
        plan.links = (0..self.next() % 14)
            .map(|_| Link {
                predecessor: self.index(),
                successor: self.index(),
                kind: kinds[self.next() as usize % 4],
                lag: match self.next() % 4 {
                    0 => Lag::Working(self.span()),
                    1 => Lag::Elapsed(self.span()),
                    2 => Lag::Percent(i16::MIN),
                    _ => Lag::ElapsedPercent(i16::MAX),
                },
            })
            .collect();
        plan.resources = (0..self.next() % 4)
            .map(|_| Resource { calendar: Some(CalendarIndex(self.short())), ..Resource::default() })
            .collect();
        plan.assignments = (0..self.next() % 6)
            .map(|_| Assignment {
                task: self.index(),
                resource: self.index(),
                units: Units(self.index()),
                work: self.span(),
                delay: self.span(),
                leveling_delay: self.span(),
                duration: (self.one_in(2)).then(|| self.span()),
            })
            .collect();
        plan.segments = (0..self.next() % 4)
            .map(|_| Segment {
                task: self.index(),
                assignment: (self.one_in(2)).then(|| self.index()),
                offset: self.span(),
                length: self.span(),
            })
            .collect();
        plan
    }
}

#[test]
fn a_link_into_a_deep_outline_drives_the_tasks_at_its_bottom() {
    let depth = 400;
    let day = Task { duration: Span::hours(8), ..Task::default() };
    let mut tasks = vec![Task { duration: Span::hours(80), ..day }];
    for level in 1..=depth {
        tasks.push(Task { id: TaskId(level), parent: (level > 1).then(|| level - 1), ..day });
    }
    let link = |successor: u32| Link {
        predecessor: 0,
        successor,
        kind: LinkKind::FinishToFinish,
        lag: Lag::Working(Span::ZERO),
    };
    let settings = Settings { start: Moment::from_civil(2026, 3, 2, 8, 0), ..Settings::default() };
    let calendars = vec![Calendar::standard()];
    let mut plan = Plan { settings, calendars, tasks, links: vec![link(1)], ..Plan::default() };
    let driver = |plan: &Plan| schedule(plan).start_driver[depth as usize];
    assert_eq!(driver(&plan), Driver::Link(0));
    // Of links that ask for the same, that into the nearest summary counts.
    plan.links.push(link(200));
    plan.links.push(link(100));
    assert_eq!(driver(&plan), Driver::Link(1));
    // A link between a summary and a task below it is ignored.
    plan.links.push(Link { predecessor: 300, ..link(2) });
    assert!(schedule(&plan).problems.contains(&Problem::LinkIgnored(3)));
}

#[test]
fn hostile_plans_neither_panic_nor_loop() {
    for seed in 0..200 {
        let mut extreme = Extreme(seed);
        let plan = extreme.plan();
        let mut expected = schedule(&plan);
        let mut live = Live::new(plan);
        expected.problems.clear();
        assert_eq!(live.schedule(), &expected, "seed {seed}");
        for _ in 0..3 {
            let (task, entry) = (extreme.index(), extreme.task());
            live.change(Edit::Task { task, entry });
            let mut expected = schedule(live.plan());
            let problems = std::mem::take(&mut expected.problems);
            assert_eq!(live.schedule(), &expected, "seed {seed}");
            assert_eq!(live.problems(), problems, "seed {seed}");
        }
    }
}
