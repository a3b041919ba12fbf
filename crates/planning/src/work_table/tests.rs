//! Tests of the work tables.

use super::*;
use crate::moment::Day;

fn standard() -> [DayPattern; 7] {
    let work = DayPattern::new(&[HourRange::hours(8, 12), HourRange::hours(13, 17)]);
    std::array::from_fn(|day| if (1..=5).contains(&day) { work.clone() } else { DayPattern::default() })
}

/// Returns the work before a moment by walking over every tenth of a minute.
fn walked(table: &WorkTable, from: Moment, to: Moment) -> i32 {
    let mut work = 0;
    for tenth in from.0..to.0 {
        let pattern = table.day_pattern(tenth.div_euclid(DAY_TENTHS));
        let time = tenth.rem_euclid(DAY_TENTHS);
        work += i32::from(pattern.ranges.iter().any(|range| range.from <= time && time < range.to));
    }
    work
}

#[test]
fn work_and_moments_convert_both_ways() {
    let friday = Day::from_civil(2026, 3, 6);
    let saturday = DayPattern::new(&[HourRange::hours(9, 11)]);
    let special = BTreeMap::from([(friday.0, DayPattern::default()), (friday.0 + 1, saturday)]);
    let table = WorkTable::new(&standard(), &special);
    let mut written = table.clone();
    written.write_out_days(&mut 100);
    assert!(written.has_written_days() && written.has_same_time(&table));
    let begin = Moment::from_civil(2026, 2, 28, 0, 0);
    let mut previous = begin;
    for step in 1..200 {
        let moment = begin.plus(Span(step * 977));
        assert_eq!(table.between(previous, moment).0, walked(&table, previous, moment), "{moment}");
        let work = table.work_before(moment);
        assert_eq!(table.work_before(table.start_at(work)), work, "{moment}");
        assert_eq!(table.work_before(table.finish_at(work)), work, "{moment}");
        assert!(table.finish_at(work) <= moment && moment <= table.start_at(work), "{moment}");
        assert_eq!(written.work_before(moment), work, "{moment}");
        assert_eq!(written.start_at(work), table.start_at(work), "{moment}");
        assert_eq!(written.finish_at(work), table.finish_at(work), "{moment}");
        previous = moment;
    }
}

#[test]
fn days_are_written_out_within_a_budget() {
    let day = |day: i32| (day, DayPattern::default());
    let far = BTreeMap::from([day(6), day(6 + 39_000)]);
    let mut table = WorkTable::new(&standard(), &far);
    let mut budget = 39_000;
    table.write_out_days(&mut budget);
    assert!(!table.has_written_days() && budget == 39_000);
    budget = 39_001;
    table.write_out_days(&mut budget);
    assert!(table.has_written_days() && budget == 0);
}

#[test]
fn a_start_moves_on_and_a_finish_moves_back() {
    let table = WorkTable::new(&standard(), &BTreeMap::new());
    let friday = Moment::from_civil(2026, 3, 6, 17, 0);
    let monday = Moment::from_civil(2026, 3, 9, 8, 0);
    assert_eq!(table.start_form(friday), monday);
    assert_eq!(table.finish_form(monday), friday);
    assert_eq!(table.start_form(monday), monday);
    assert_eq!(table.finish_form(friday), friday);
    assert_eq!(table.add(friday, Span::ZERO), friday);
    assert_eq!(table.add(friday, Span::hours(8)), Moment::from_civil(2026, 3, 9, 17, 0));
    assert_eq!(table.add(monday, Span::hours(-4)), Moment::from_civil(2026, 3, 6, 13, 0));
}

#[test]
fn a_mirrored_table_swaps_starts_and_finishes() {
    let holiday = BTreeMap::from([(Day::from_civil(2026, 3, 6).0, DayPattern::default())]);
    let table = WorkTable::new(&standard(), &holiday);
    let mirrored = table.mirrored();
    let begin = Moment::from_civil(2026, 2, 28, 0, 0);
    for step in 0..300 {
        let moment = begin.plus(Span(step * 977));
        let opposite = Moment(-moment.0);
        assert_eq!(mirrored.start_form(opposite).0, -table.finish_form(moment).0, "{moment}");
        let work = Span(step * 31 + 1);
        assert_eq!(mirrored.add(opposite, work).0, -table.add(moment, Span(-work.0)).0, "{moment}");
    }
    assert_eq!(mirrored.mirrored(), table);
}

#[test]
fn work_over_midnight_is_one_range() {
    let night = DayPattern::new(&[HourRange::hours(0, 6), HourRange::hours(22, 24)]);
    let table = WorkTable::new(&std::array::from_fn(|_| night.clone()), &BTreeMap::new());
    let start = Moment::from_civil(2026, 3, 2, 22, 0);
    assert_eq!(table.add(start, Span::hours(8)), Moment::from_civil(2026, 3, 3, 6, 0));
    let midnight = Moment::from_civil(2026, 3, 3, 0, 0);
    assert_eq!(table.start_form(midnight), midnight);
    assert_eq!(table.finish_form(midnight), midnight);
}

#[test]
fn a_table_without_work_does_not_loop() {
    let none: [DayPattern; 7] = Default::default();
    let table = WorkTable::new(&none, &BTreeMap::new());
    assert!(table.is_empty());
    assert_eq!(table.add(Moment(0), Span(1)), Moment::MAX);
    let once = BTreeMap::from([(0, DayPattern::new(&[HourRange::hours(8, 9)]))]);
    let table = WorkTable::new(&none, &once);
    assert_eq!(table.start_form(Moment(0)), Moment(4_800));
    assert_eq!(table.add(Moment(0), Span(600)), Moment(5_400));
    assert_eq!(table.add(Moment(0), Span(601)), Moment::MAX);
    assert_eq!(table.start_form(Moment(9_000)), Moment::MAX);
    assert_eq!(table.finish_form(Moment(-9_000)), Moment::MIN);
}

#[test]
fn work_beyond_the_range_of_numbers_gives_the_bounds() {
    let all_day = DayPattern::new(&[HourRange::hours(0, 24)]);
    let week = std::array::from_fn(|_| all_day.clone());
    let long_ago = BTreeMap::from([(Day::from_civil(1_900, 1, 2).0, DayPattern::default())]);
    let late = Moment::from_civil(2_190, 1, 1, 0, 0);
    let mut table = WorkTable::new(&week, &long_ago);
    for _ in 0..2 {
        assert_eq!(table.add(late, Span::hours(24)), Moment::from_civil(2_190, 1, 2, 0, 0));
        assert_eq!(table.add(late, Span::MAX), Moment::MAX);
        assert_eq!(table.start_at(i32::MAX), Moment::MAX);
        assert_eq!(table.add(Moment::from_civil(1_800, 1, 1, 0, 0), Span(-Span::MAX.0)), Moment::MIN);
        assert_eq!(table.start_at(i32::MIN), Moment::MIN);
        assert_eq!(table.finish_at(i32::MIN), Moment::MIN);
        table.write_out_days(&mut 10);
    }
}

#[test]
fn exceptions_over_all_time_are_counted_to_the_bounds() {
    let days = Moment::MIN.day().0..=Moment::MAX.day().0;
    let all_day = DayPattern::new(&[HourRange::hours(0, 24)]);
    let worked = days.clone().map(|day| (day, all_day.clone())).collect();
    let table = WorkTable::new(&Default::default(), &worked);
    let hour = Span::hours(1);
    let begin = Moment::from_civil(2_203, 1, 1, 8, 0);
    assert_eq!(table.add(begin, Span::hours(24)), Moment::from_civil(2_203, 1, 2, 8, 0));
    assert_eq!(table.add(Moment::MIN, hour), Moment::MIN.plus(hour));
    assert_eq!(table.add(Moment::MAX.minus(hour), hour), Moment::MAX);
    assert_eq!(table.add(Moment::MAX.minus(hour), Span::MAX), Moment::MAX);
    assert_eq!(table.add(Moment::MIN.plus(hour), Span(-Span::MAX.0)), Moment::MIN);

    let idle = days.map(|day| (day, DayPattern::default())).collect();
    let table = WorkTable::new(&std::array::from_fn(|_| all_day.clone()), &idle);
    assert_eq!(table.between(Moment::MIN, Moment::MAX), Span::ZERO);
    assert_eq!(table.add(begin, Span(1)), Moment::MAX);
}

#[test]
fn written_days_far_apart_are_found() {
    let hour = DayPattern::new(&[HourRange::hours(8, 9)]);
    let worked = [0, 1, 5, 20_000, 20_001, 39_000].map(|day| (day, hour.clone()));
    let table = WorkTable::new(&Default::default(), &BTreeMap::from(worked));
    let mut written = table.clone();
    written.write_out_days(&mut 100_000);
    assert!(written.has_written_days());
    for work in -700..4_400 {
        assert_eq!(written.start_at(work), table.start_at(work), "{work}");
        assert_eq!(written.finish_at(work), table.finish_at(work), "{work}");
    }
}

#[test]
fn common_ranges_of_two_days_are_those_in_both() {
    let first = DayPattern::new(&[HourRange::hours(6, 10), HourRange::hours(11, 12), HourRange::hours(14, 22)]);
    let second = DayPattern::new(&[HourRange::hours(8, 15), HourRange::hours(16, 18), HourRange::hours(20, 24)]);
    let common = [(8, 10), (11, 12), (14, 15), (16, 18), (20, 22)].map(|(from, to)| HourRange::hours(from, to));
    assert_eq!(first.intersect(&second), DayPattern::new(&common));
    assert_eq!(second.intersect(&first), DayPattern::new(&common));
}
