//! Non-working time of a calendar, for the shaded background.

use crate::scale::TimeScale;
use pmo_planning::{Day, Moment, Span, WorkingTime};
use std::ops::Range;

/// Detail of the shading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shading {
    /// Days are too narrow for any shading.
    None,
    /// Days without work.
    Days,
    /// All time without work.
    Hours,
}

impl Shading {
    /// Returns the detail that a scale shows.
    pub fn for_scale(scale: TimeScale) -> Self {
        match scale.pixels_per_day() {
            wide if wide >= 96.0 => Self::Hours,
            wide if wide >= 2.0 => Self::Days,
            _ => Self::None,
        }
    }
}

/// Most parts of a day; more are drawn as one.
const MAX_PARTS: usize = 24;

/// Replaces `out` by the non-working time between two moments, in order.
pub fn non_working(calendar: &WorkingTime, time: Range<Moment>, shading: Shading, out: &mut Vec<Range<Moment>>) {
    out.clear();
    if shading == Shading::None || time.start >= time.end {
        return;
    }
    for day in time.start.day().0..=time.end.day().0 {
        let (begin, end) = (Day(day).midnight(), Day(day.saturating_add(1)).midnight());
        if calendar.between(begin, end) == Span::ZERO {
            push(out, begin..end);
        } else if shading == Shading::Hours {
            push_breaks(calendar, begin, end, out);
        }
    }
}

/// Adds the breaks of a working day.
fn push_breaks(calendar: &WorkingTime, begin: Moment, end: Moment, out: &mut Vec<Range<Moment>>) {
    let mut at = begin;
    for _ in 0..MAX_PARTS {
        let work = calendar.start_form(at).min(end);
        if work > at {
            push(out, at..work);
        }
        if work >= end {
            return;
        }
        // The last moment up to which all time is working time, by bisection.
        let (mut low, mut high) = (work.0, end.0);
        while low < high {
            let middle = low + (high - low + 1) / 2;
            if calendar.between(work, Moment(middle)) == Moment(middle).since(work) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        if low <= work.0 {
            return;
        }
        at = Moment(low);
    }
}

/// Adds a time; one that begins where the last ends extends it.
fn push(out: &mut Vec<Range<Moment>>, time: Range<Moment>) {
    match out.last_mut() {
        Some(last) if last.end == time.start => last.end = time.end,
        _ => out.push(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_planning::{Calendar, CalendarIndex};
    use proptest::prelude::*;

    fn standard() -> WorkingTime {
        WorkingTime::of_calendar(&[Calendar::standard()], CalendarIndex(0))
    }

    fn at(day: u32, hour: u32) -> Moment {
        Moment::from_civil(2026, 3, day, hour, 0)
    }

    #[test]
    fn weekends_are_one_part_each() {
        let mut out = Vec::new();
        non_working(&standard(), at(2, 0)..at(15, 12), Shading::Days, &mut out);
        assert_eq!(out, [at(7, 0)..at(9, 0), at(14, 0)..at(16, 0)]);
    }

    #[test]
    fn nights_and_lunch_are_shaded_where_hours_are_wide() {
        let mut out = Vec::new();
        non_working(&standard(), at(2, 1)..at(2, 23), Shading::Hours, &mut out);
        assert_eq!(out, [at(2, 0)..at(2, 8), at(2, 12)..at(2, 13), at(2, 17)..at(3, 0)]);
    }

    proptest! {
        #[test]
        fn shaded_and_working_time_add_up(from in 1_u32..20, days in 1_u32..10) {
            let (begin, end) = (at(from, 0), at(from + days, 0));
            let mut out = Vec::new();
            non_working(&standard(), begin..end, Shading::Hours, &mut out);
            let shaded: i32 =
                out.iter().map(|part| part.end.min(end).since(part.start).0.max(0)).sum();
            prop_assert_eq!(shaded + standard().between(begin, end).0, end.since(begin).0);
        }
    }

    #[test]
    fn a_calendar_that_always_works_has_no_shading() {
        let always = WorkingTime::of_calendar(&[Calendar::always()], CalendarIndex(0));
        let mut out = Vec::new();
        non_working(&always, at(1, 0)..at(20, 0), Shading::Hours, &mut out);
        assert!(out.is_empty());
    }
}
