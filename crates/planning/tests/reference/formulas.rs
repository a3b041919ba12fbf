//! The cases of the specification that are formulas, not schedules.

use pmo_planning::{Span, TaskType, Units, WorkChange, WorkTriangle};

use crate::moment::HOUR;

/// Units of one person's whole time.
const WHOLE: i64 = 100;

/// Work, length in hours; units in percent.
type Values = (i64, i64, i64);

/// What a case changes.
#[derive(Clone, Copy)]
enum Change {
    Work(i64),
    Length(i64),
    Units(i64),
    /// Units of all people after one was added, of an effort-driven task.
    People(i64),
}

/// The formula work = length × units, solved for the value that neither stays nor was entered.
fn expected((work, length, units): Values, task_type: TaskType, change: Change) -> Values {
    let length_of = |work: i64, units: i64| work * WHOLE / units;
    let units_of = |work: i64, length: i64| work * WHOLE / length;
    let work_of = |length: i64, units: i64| length * units / WHOLE;
    match (task_type, change) {
        (TaskType::FixedDuration, Change::Work(work)) => (work, length, units_of(work, length)),
        (_, Change::Work(work)) => (work, length_of(work, units), units),
        (TaskType::FixedWork, Change::Length(length)) => (work, length, units_of(work, length)),
        (_, Change::Length(length)) => (work_of(length, units), length, units),
        (TaskType::FixedDuration, Change::Units(units)) => (work_of(length, units), length, units),
        (_, Change::Units(units) | Change::People(units)) => (work, length_of(work, units), units),
    }
}

fn from_engine((work, length, units): Values, task_type: TaskType, change: Change) -> Values {
    let span = |hours: i64| Span(i32::try_from(hours * HOUR).unwrap());
    let units_of = |percent: i64| Units(u32::try_from(percent * 100).unwrap());
    let before = WorkTriangle { work: span(work), duration: span(length), units: units_of(units) };
    let after = match change {
        Change::Work(work) => before.changed(task_type, WorkChange::Work(span(work))),
        Change::Length(length) => before.changed(task_type, WorkChange::Duration(span(length))),
        Change::Units(units) => before.changed(task_type, WorkChange::Units(units_of(units))),
        Change::People(units) => before.with_people(task_type, true, units_of(units)),
    };
    let hours = |span: Span| i64::from(span.0) / HOUR;
    (hours(after.work), hours(after.duration), i64::from(after.units.0) / 100)
}

#[test]
fn work_length_and_units_follow_the_type_of_the_task() {
    let cases = [
        (
            "F01 fixed units 100 %, 8 h; work to 20 h",
            (8, 8, 100),
            TaskType::FixedUnits,
            Change::Work(20),
            (20, 20, 100),
        ),
        ("F02 fixed units; length 8 h to 16 h", (8, 8, 100), TaskType::FixedUnits, Change::Length(16), (16, 16, 100)),
        ("F03 fixed duration 8 h; work to 16 h", (8, 8, 100), TaskType::FixedDuration, Change::Work(16), (16, 8, 200)),
        ("F04 fixed duration 8 h; units to 50 %", (8, 8, 100), TaskType::FixedDuration, Change::Units(50), (4, 8, 50)),
        ("F05 fixed work 16 h; length to 32 h", (16, 16, 100), TaskType::FixedWork, Change::Length(32), (16, 32, 50)),
        (
            "F06 effort-driven 16 h, a second person",
            (16, 16, 100),
            TaskType::FixedUnits,
            Change::People(200),
            (16, 8, 200),
        ),
    ];
    for (case, before, task_type, change, after) in cases {
        assert_eq!(expected(before, task_type, change), after, "{case}");
        assert_eq!(from_engine(before, task_type, change), after, "{case}");
    }
}

#[test]
#[ignore = "belongs to earned value"]
fn f07_earned_value() {}

#[test]
#[ignore = "belongs to earned value"]
fn f08_earned_schedule() {}

#[test]
#[ignore = "belongs to risk analysis"]
fn f09_three_point_estimates() {}

#[test]
#[ignore = "belongs to levelling"]
fn f10_serial_schedule_in_order_abcd() {}

#[test]
#[ignore = "belongs to levelling"]
fn f11_serial_schedule_in_order_bcda() {}

#[test]
#[ignore = "belongs to levelling"]
fn f12_levelling_by_id() {}

#[test]
#[ignore = "belongs to levelling"]
fn f13_levelling_by_priority() {}
