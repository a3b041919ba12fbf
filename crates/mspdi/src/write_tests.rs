//! What is written is read back.

use super::*;
use crate::file::{FileCalendar, TimephasedRow};
use crate::read;
use pmo_planning::{Calendar, CalendarException, Day, DayHours, HourRange, Recurrence, WorkWeek};
use proptest::option::of;
use proptest::prelude::*;

fn moment() -> impl Strategy<Value = Moment> {
    (0..20_000_i32, 0..14_400_i32).prop_map(|(day, tenths)| Day(day).midnight().plus(Span(tenths)))
}

fn span() -> impl Strategy<Value = Span> {
    (0..5_000_000_i32).prop_map(Span)
}

fn text() -> impl Strategy<Value = String> {
    "[a-zß<&\"']([ -~\n\t\r]{0,20}[a-zß>])?"
}

fn hours() -> impl Strategy<Value = Vec<HourRange>> {
    proptest::collection::vec((0..7_000_u16, 7_000..=14_400_u16).prop_map(|(from, to)| HourRange { from, to }), 0..4)
}

fn day_hours() -> impl Strategy<Value = DayHours> {
    prop_oneof![Just(DayHours::Inherited), hours().prop_map(DayHours::Ranges)]
}

fn recurrence() -> impl Strategy<Value = (Recurrence, Option<u16>)> {
    let dates = prop_oneof![
        (2..20_u16).prop_map(|period| Recurrence::Daily { period }),
        (1..128_u8, 1..20_u16).prop_map(|(days, period)| Recurrence::Weekly { days, period }),
        (1..32_u8, 1..20_u16).prop_map(|(day, period)| Recurrence::MonthlyByDay { day, period }),
        (0..5_u8, 0..7_u8, 1..20_u16).prop_map(|(position, weekday, period)| Recurrence::MonthlyByPosition {
            position,
            weekday,
            period
        }),
        (1..13_u8, 1..32_u8).prop_map(|(month, day)| Recurrence::YearlyByDay { month, day }),
        (1..13_u8, 0..5_u8, 0..7_u8).prop_map(|(month, position, weekday)| Recurrence::YearlyByPosition {
            month,
            position,
            weekday
        }),
    ];
    prop_oneof![(dates, of(1..100_u16)), Just((Recurrence::Daily { period: 1 }, None))]
}

fn exception() -> impl Strategy<Value = CalendarException> {
    (0..20_000_i32, 0..800_i32, recurrence(), hours()).prop_map(|(from, days, (recurrence, occurrences), hours)| {
        CalendarException { from: Day(from), to: Day(from + days), recurrence, occurrences, hours }
    })
}

fn calendar() -> impl Strategy<Value = FileCalendar> {
    let work_week = (0..20_000_i32, 0..90_i32, proptest::array::uniform7(day_hours()))
        .prop_map(|(from, days, week)| WorkWeek { from: Day(from), to: Day(from + days), days: week });
    let exceptions = proptest::collection::vec((exception(), of(text())), 0..4);
    (
        proptest::array::uniform7(day_hours()),
        proptest::collection::vec(work_week, 0..3),
        exceptions,
        of(text()),
        any::<bool>(),
    )
        .prop_map(|(mut week, work_weeks, exceptions, name, is_base)| {
            if is_base {
                week.iter_mut()
                    .filter(|day| **day == DayHours::Inherited)
                    .for_each(|day| *day = DayHours::Ranges(vec![]));
            }
            let (exceptions, exception_names) = exceptions.into_iter().unzip();
            let definition = Calendar { week, work_weeks, exceptions, ..Calendar::default() };
            FileCalendar { uid: 0, name, is_base, base: (!is_base).then_some(1), definition, exception_names }
        })
}

prop_compose! {
    fn dates()(
        start in of(moment()), finish in of(moment()), manual_start in of(moment()), manual_finish in of(moment()),
        constraint_date in of(moment()), deadline in of(moment()), actual_start in of(moment()),
        actual_finish in of(moment()), stop in of(moment()), resume in of(moment()),
    ) -> FileTask {
        FileTask {
            start, finish, manual_start, manual_finish, constraint_date, deadline, actual_start, actual_finish, stop,
            resume, ..FileTask::default()
        }
    }
}

prop_compose! {
    fn rules()(
        name in of(text()), notes in of(text()), wbs in of(text()), outline_level in 1..6_i64,
        flags in proptest::array::uniform10(any::<bool>()), duration in of(span()), duration_format in of(3..53_i64),
        numbers in proptest::array::uniform6(of(0..8_i64)), leveling_delay in of(span()), work in of(span()),
    ) -> FileTask {
        FileTask {
            name, notes, wbs, outline_level, is_null: flags[0], active: flags[1], manual: flags[2], external: flags[3],
            inserted_project: flags[4], milestone: flags[5], summary: flags[6], recurring: flags[7],
            effort_driven: flags[8], ignore_resource_calendar: flags[9], duration, duration_format,
            manual_duration: work, task_type: numbers[0], constraint_type: numbers[1], calendar: numbers[2],
            priority: numbers[3], percent_complete: numbers[4], physical_percent_complete: numbers[5], leveling_delay,
            leveling_delay_format: leveling_delay.map(|_| 8), work, actual_work: duration, actual_duration: work,
            remaining_duration: duration, ..FileTask::default()
        }
    }
}

fn task() -> impl Strategy<Value = FileTask> {
    let link = (1..9_i64, 0..4_i64, -50_000..50_000_i64, 3..53_i64, any::<bool>()).prop_map(
        |(predecessor, kind, lag, lag_format, cross_project)| FileLink {
            predecessor,
            kind,
            lag,
            lag_format,
            cross_project,
        },
    );
    let baseline = (0..11_i64, of(moment()), of(moment()), of(span()), of(0..1_000_000_i64)).prop_map(
        |(number, start, finish, duration, cost)| FileBaseline {
            number,
            start,
            finish,
            duration,
            work: duration,
            cost,
        },
    );
    let lists = (proptest::collection::vec(link, 0..4), proptest::collection::vec(baseline, 0..3));
    (dates(), rules(), lists).prop_map(|(dates, rules, (links, baselines))| FileTask {
        start: dates.start,
        finish: dates.finish,
        manual_start: dates.manual_start,
        manual_finish: dates.manual_finish,
        constraint_date: dates.constraint_date,
        deadline: dates.deadline,
        actual_start: dates.actual_start,
        actual_finish: dates.actual_finish,
        stop: dates.stop,
        resume: dates.resume,
        links,
        baselines,
        ..rules
    })
}

prop_compose! {
    fn assignment()(
        task in 1..9_i64, resource in -1..9_i64, units in of(0..1_000_000_u32), spans in proptest::array::uniform7(of(span())),
        moments in proptest::array::uniform4(of(moment())), contour in 0..9_i64,
        rows in proptest::collection::vec((1..3_i64, moment(), moment(), span()), 0..4),
    ) -> FileAssignment {
        FileAssignment {
            uid: 0, task, resource, units, work: spans[0], overtime_work: spans[1], delay: spans[2],
            leveling_delay: spans[3], actual_work: spans[4], remaining_work: spans[5], actual_start: moments[0],
            actual_finish: moments[1], stop: moments[2], resume: moments[3], contour,
            timephased: rows.into_iter().map(|(kind, start, finish, work)| TimephasedRow { kind, start, finish, work }).collect(),
        }
    }
}

prop_compose! {
    fn project()(
        title in of("[A-Z][a-z &<]{0,12}x"), flags in proptest::array::uniform5(of(any::<bool>())),
        moments in proptest::array::uniform3(of(moment())), numbers in proptest::array::uniform5(of(0..10_000_i64)),
    ) -> FileProject {
        FileProject {
            title, schedule_from_start: flags[0], start: moments[0], finish: moments[1], status_date: moments[2],
            calendar: numbers[0], minutes_per_day: numbers[1], minutes_per_week: numbers[2], days_per_month: numbers[3],
            critical_slack_limit: numbers[4], multiple_critical_paths: flags[1], splits_in_progress: flags[2],
            honor_constraints: flags[3], new_tasks_are_manual: flags[4],
        }
    }
}

prop_compose! {
    fn file()(
        project in project(), mut calendars in proptest::collection::vec(calendar(), 0..4),
        mut tasks in proptest::collection::vec(task(), 0..8), mut assignments in proptest::collection::vec(assignment(), 0..6),
        people in proptest::collection::vec((of(text()), of(text()), 0..3_i64, of(0..9_i64), of(0..1_000_000_u32)), 0..4),
    ) -> File {
        (1..).zip(&mut calendars).for_each(|(uid, calendar)| calendar.uid = uid);
        (1..).zip(&mut tasks).for_each(|(uid, task)| (task.uid, task.id) = (uid, Some(uid)));
        (1..).zip(&mut assignments).for_each(|(uid, assignment)| assignment.uid = uid);
        let resource = |(uid, (name, email, kind, calendar, max_units))| FileResource { uid, name, email, kind, calendar, max_units };
        File { project, calendars, tasks, assignments, resources: (1..).zip(people).map(resource).collect() }
    }
}

proptest! {
    #[test]
    fn written_file_is_read_back_unchanged(file in file()) {
        let computed = Computed { tasks: vec![ComputedTask { late_finish: Moment(0), ..ComputedTask::default() }], ..Computed::default() };
        let text = write(&file, &computed);
        prop_assert_eq!(&read(&text).expect("a file"), &file);
        prop_assert_eq!(write(&read(&text).expect("a file"), &computed), text);
    }

    #[test]
    fn truncated_file_is_rejected(file in file(), end in any::<prop::sample::Index>()) {
        let text = write(&file, &Computed::default());
        let end = end.index(text.trim_end().len());
        let part = String::from_utf8_lossy(&text.as_bytes()[..end]).into_owned();
        prop_assert!(read(&part).is_err());
    }
}

#[test]
fn elements_are_in_the_order_of_the_schema() {
    let task = FileTask {
        uid: 7,
        id: Some(1),
        name: Some("a & b\u{1}".into()),
        outline_level: 1,
        active: true,
        duration: Some(Span::hours(20)),
        duration_format: Some(39),
        links: vec![FileLink { predecessor: 3, kind: 1, lag: 4_800, lag_format: 8, cross_project: false }],
        ..FileTask::default()
    };
    let file = File { tasks: vec![task], ..File::default() };
    let text = write(&file, &Computed::default());
    let fields = [
        "<UID>7",
        "<ID>1",
        "<Name>a &amp; b<",
        "<Active>1",
        "<OutlineNumber>1",
        "<Duration>PT20H0M0S",
        "<DurationFormat>39",
        "<Estimated>1",
        "<Milestone>0",
        "<CalendarUID>-1",
        "<PredecessorLink>",
        "<LinkLag>4800",
        "<LagFormat>8",
    ];
    let places: Vec<_> =
        fields.iter().map(|field| text.find(field).unwrap_or_else(|| panic!("{field} in {text}"))).collect();
    assert!(places.is_sorted(), "{text}");
    assert!(!text.contains('\u{1}'));
}
