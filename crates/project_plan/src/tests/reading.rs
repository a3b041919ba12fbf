//! Rows are read with tolerance.

use super::*;
use crate::{CalendarDefinition, CalendarSet, ConstraintType, DurationUnit, LagUnit, Percent, exception_from_row};
use pmo_planning::{CalendarException, Day, DayHours, HourRange, Mode, Moment, Recurrence, Span, Units, WorkWeek};

#[test]
fn a_task_reads_from_the_json_text_of_a_row() {
    let text = r#"{"id": "00000000-0000-0000-0000-000000001001", "name": "Test \"it\"", "metadata": {"a": [1, {}]},
        "project_id": "00000000-0000-0000-0000-000000000001", "rank": "b", "dl__schedule_mode": "Manual",
        "dl__constraint_type": "Finish No Later Than", "constraint_ts": "2026-03-06T17:00:00", "deadline_ts": "2026-03-07T12:30",
        "manual_start_ts": "2026-03-02", "duration_minutes": "480.5", "duration_unit": "ed", "estimated_flag": true,
        "leveling_priority": 1000, "completion_pct": 33.33, "assignee__employee_ids": ["00000000-0000-0000-0000-000000000009"],
        "segments": [[0, 60], ["120.0", 30]], "start_date": "2026-03-02", "critical_flag": true, "total_slack_minutes": -480}"#;
    let task: TaskInput = serde_json::from_str(text).expect("a row");
    assert_eq!(task.unreadable, Vec::<String>::new());
    assert_eq!((task.id, task.project_id, task.mode), (id(1), Some(PROJECT), Mode::Manual));
    assert_eq!(task.constraint_type, ConstraintType::FinishNoLaterThan);
    assert_eq!(task.constraint_date, Moment::from_civil(2026, 3, 6, 17, 0));
    assert_eq!(task.deadline, Moment::from_civil(2026, 3, 7, 12, 30));
    assert_eq!(task.manual_start, Moment::from_civil(2026, 3, 2, 0, 0));
    assert_eq!((task.duration, task.duration_unit), (Some(Span(4_805)), DurationUnit::ElapsedDays));
    assert_eq!((task.completion, task.priority, task.is_estimated), (Percent(3_333), 1_000, true));
    assert_eq!(task.assignee_ids, [Uuid::from_u128(9)]);
    assert_eq!(task.segments, [(Span(0), Span(600)), (Span(1_200), Span(300))]);
    assert_eq!(task.stored.start_date, Some(Day::from_civil(2026, 3, 2)));
    assert_eq!((task.stored.is_critical, task.stored.total_slack), (true, Some(Span(-4_800))));
}

#[test]
fn values_that_cannot_be_read_get_defaults_and_are_reported() {
    let task = task(
        1,
        json!({"duration_minutes": "long", "dl__schedule_mode": "Sometimes", "deadline_ts": "2026-02-30T08:00:00",
            "leveling_priority": null, "completion_pct": [], "calendar_id": "x", "milestone_flag": {}}),
    );
    let mut unreadable = task.unreadable.clone();
    unreadable.sort();
    let expected =
        ["calendar_id", "completion_pct", "deadline_ts", "dl__schedule_mode", "duration_minutes", "milestone_flag"];
    assert_eq!(unreadable, expected);
    let plain = TaskInput { unreadable: task.unreadable.clone(), ..super::task(1, json!({})) };
    assert_eq!(task, plain);
    assert_eq!(build(&input(vec![task])).faults.len(), 6);
}

#[test]
fn numbers_beyond_the_engine_are_not_read() {
    for value in [json!(1e300), json!("NaN"), json!("inf"), json!(-1), json!(1e12)] {
        assert_eq!(task(1, json!({"duration_minutes": value})).duration, None, "{value}");
    }
    let link = dependency(1, 1, 2, json!({"lag_pct": "50.00", "lag_unit": "e%", "dl__dependency_type": "SF"}));
    assert_eq!((link.lag_percent, link.lag_unit), (Some(Percent(5_000)), LagUnit::ElapsedPercent));
    let person = assignment(1, 1, json!({"units_pct": "50", "work_hours": 1.5, "employee_id": PROJECT}));
    assert_eq!((person.units, person.work), (Units(5_000), Some(Span(900))));
}

/// Returns a calendar that uses every kind of statement.
fn rich_calendar() -> CalendarDefinition {
    let day = |day| Day::from_civil(2026, 3, day);
    let morning = vec![HourRange::hours(8, 12)];
    let mut definition = CalendarDefinition { base: Some(id(7)), ..CalendarDefinition::default() };
    definition.times.week[1] = DayHours::Ranges(vec![HourRange { from: 4_805, to: 7_200 }, HourRange::hours(13, 24)]);
    definition.times.week[0] = DayHours::Ranges(Vec::new());
    let mut days: [DayHours; 7] = Default::default();
    days[6] = DayHours::Ranges(morning.clone());
    definition.times.work_weeks.push(WorkWeek { from: day(2), to: day(6), days });
    let recurrences = [
        Recurrence::Daily { period: 1 },
        Recurrence::Daily { period: 3 },
        Recurrence::Weekly { days: 1 | 64, period: 2 },
        Recurrence::MonthlyByDay { day: 31, period: 1 },
        Recurrence::MonthlyByPosition { position: 4, weekday: 0, period: 2 },
        Recurrence::YearlyByDay { month: 12, day: 25 },
        Recurrence::YearlyByPosition { month: 11, position: 3, weekday: 4 },
    ];
    for (place, recurrence) in recurrences.into_iter().enumerate() {
        let occurrences = if place % 2 == 1 { Some(7) } else { None };
        let hours = if place == 2 { morning.clone() } else { Vec::new() };
        definition.times.exceptions.push(CalendarException {
            from: day(2),
            to: day(30),
            recurrence,
            occurrences,
            hours,
        });
    }
    definition
}

#[test]
fn calendars_survive_json() {
    let mut set = CalendarSet::default();
    set.calendars.insert(id(1), rich_calendar());
    set.employees.insert(id(2), id(1));
    let text = serde_json::to_string(&set).expect("JSON");
    assert_eq!(serde_json::from_str::<CalendarSet>(&text).expect("a set"), set);
    let week = set.to_json()["calendars"][id(1).to_string()]["week"].clone();
    assert_eq!(week, json!([[[480.5, 720], [780, 1440]], null, null, null, null, null, []]), "weeks begin on Monday");
}

#[test]
fn calendars_read_from_their_rows() {
    let definition = rich_calendar();
    let calendar = row(
        json!({"base__calendar_id": id(7), "week": definition.week_json(), "work_weeks": definition.work_weeks_json()}),
    );
    let exceptions: Vec<Row> = definition
        .times
        .exceptions
        .iter()
        .map(|exception| {
            row(json!({"start_date": "2026-03-02", "end_date": "2026-03-30",
                "working_times": crate::hours_to_json(&exception.hours), "recurrence": crate::recurrence_to_json(exception)}))
        })
        .collect();
    assert_eq!(CalendarDefinition::from_rows(&calendar, &exceptions), definition);
    assert_eq!(
        exception_from_row(&row(
            json!({"start_date": "2026-03-02", "end_date": "2026-03-30", "recurrence": {"type": "hourly"}})
        )),
        None
    );
}

#[test]
fn hostile_calendars_are_counted_not_believed() {
    let many: Vec<Value> = (0..100).map(|_| json!([0, 10])).collect();
    for calendar in [
        json!({"week": [[[0, 99_999]]]}),
        json!({"week": [[["a", 1]]]}),
        json!({"week": [many]}),
        json!({"week": [null, null, null, null, null, null, null, null]}),
        json!({"work_weeks": [{"from": "2026-03-02"}]}),
        json!({"exceptions": [{"from": "2026-03-02", "to": "x", "hours": []}]}),
        json!({"exceptions": [{"from": "2026-03-02", "to": "2026-03-03", "recurrence": {"type": "weekly", "days_of_week": [8]}}]}),
        json!({"exceptions": [{"from": "2026-03-02", "to": "2026-03-03", "recurrence": {"type": "monthly_by_day", "day": 0}}]}),
    ] {
        assert_eq!(CalendarDefinition::from_json(&calendar).fault_count, 1, "{calendar}");
    }
    assert_eq!(CalendarSet::from_json(&json!([1])), CalendarSet::default());
}
