//! The two rows of the header: which units they show, their ticks and labels.

use crate::scale::TimeScale;
use pmo_planning::{Day, Moment, Span};
use std::fmt::Write;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
/// Most ticks of a row of the header; more do not fit on any screen.
const MAX_TICKS: usize = 4_000;

/// Unit of a row of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Some hours, a divisor of 24.
    Hours(u8),
    /// A day.
    Day,
    /// A week from Monday.
    Week,
    /// A month.
    Month,
    /// A quarter of a year.
    Quarter,
    /// A year.
    Year,
}

/// Units of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiers {
    /// Unit of the upper row.
    pub upper: Unit,
    /// Unit of the lower row.
    pub lower: Unit,
}

/// Start of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Moment at which the unit begins.
    pub start: Moment,
    /// Moment at which the next unit begins.
    pub end: Moment,
}

impl Tiers {
    /// Returns the smallest units whose labels fit.
    pub fn for_scale(scale: TimeScale) -> Self {
        let day = scale.pixels_per_day();
        let hours = [1_u8, 2, 3, 6].into_iter().find(|hours| day / 24.0 * f64::from(*hours) >= 30.0);
        match (hours, day) {
            (Some(hours), _) => Self { upper: Unit::Day, lower: Unit::Hours(hours) },
            (None, day) if day >= 18.0 => Self { upper: Unit::Month, lower: Unit::Day },
            (None, day) if day >= 6.0 => Self { upper: Unit::Month, lower: Unit::Week },
            (None, day) if day >= 1.0 => Self { upper: Unit::Year, lower: Unit::Month },
            _ => Self { upper: Unit::Year, lower: Unit::Quarter },
        }
    }
}

impl Unit {
    /// Returns the beginning of the unit that contains a moment.
    #[must_use]
    pub fn floor(self, moment: Moment) -> Moment {
        let day = moment.day();
        let (year, month, _) = day.to_civil();
        match self {
            Self::Hours(hours) => {
                let step = i32::from(hours.clamp(1, 24)) * 600;
                day.midnight().plus(Span(moment.time_of_day().0 / step * step))
            }
            Self::Day => day.midnight(),
            Self::Week => Day(day.0.saturating_sub(i32::try_from((day.weekday() + 6) % 7).unwrap_or(0))).midnight(),
            Self::Month => Day::from_civil(year, month, 1).midnight(),
            Self::Quarter => Day::from_civil(year, (month - 1) / 3 * 3 + 1, 1).midnight(),
            Self::Year => Day::from_civil(year, 1, 1).midnight(),
        }
    }

    /// Returns the beginning of the unit after the one that begins at `start`.
    #[must_use]
    pub fn next(self, start: Moment) -> Moment {
        let day = start.day();
        let (year, month, _) = day.to_civil();
        match self {
            Self::Hours(hours) => start.plus(Span::hours(i32::from(hours.clamp(1, 24)))),
            Self::Day => start.plus(Span::hours(24)),
            Self::Week => start.plus(Span::hours(24 * 7)),
            Self::Month => Day::from_civil(year, month + 1, 1).midnight(),
            Self::Quarter => Day::from_civil(year, month + 3, 1).midnight(),
            Self::Year => Day::from_civil(year + 1, 1, 1).midnight(),
        }
    }

    /// Appends the label of the unit that begins at `start`, short enough for `width` pixels.
    pub fn write_label(self, start: Moment, width: f64, out: &mut String) {
        let day = start.day();
        let (year, month, date) = day.to_civil();
        let name = MONTHS.get(month as usize - 1).copied().unwrap_or_default();
        // Writing to a string never fails.
        let _ = match self {
            Self::Hours(_) => write!(out, "{:02}:00", start.time_of_day().0 / 600),
            Self::Day if width >= 180.0 => {
                write!(out, "{} {date} {name} {year}", WEEKDAYS[day.weekday()])
            }
            Self::Day if width >= 54.0 => write!(out, "{} {date}", WEEKDAYS[day.weekday()]),
            Self::Day => write!(out, "{date}"),
            Self::Week => {
                let (_, _, last) = Day(day.0.saturating_add(6)).to_civil();
                write!(out, "{date}–{last}")
            }
            Self::Month if width >= 110.0 => write!(out, "{name} {year}"),
            Self::Month if width >= 76.0 => write!(out, "{} {year}", name.get(..3).unwrap_or(name)),
            Self::Month if width >= 28.0 => out.write_str(name.get(..3).unwrap_or(name)),
            Self::Month => out.write_str(name.get(..1).unwrap_or(name)),
            Self::Quarter => write!(out, "Q{}", (month - 1) / 3 + 1),
            Self::Year => write!(out, "{year}"),
        };
    }
}

/// Returns the units that intersect the time from `from` to `to`.
pub fn ticks(unit: Unit, from: Moment, to: Moment) -> impl Iterator<Item = Tick> {
    let mut start = unit.floor(from);
    std::iter::from_fn(move || {
        let end = unit.next(start);
        // At the end of the representable time the next unit does not begin later.
        (start < to && end > start).then(|| {
            let tick = Tick { start, end };
            start = end;
            tick
        })
    })
    .take(MAX_TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::Zoom;
    use proptest::prelude::*;

    const UNITS: [Unit; 7] =
        [Unit::Hours(1), Unit::Hours(6), Unit::Day, Unit::Week, Unit::Month, Unit::Quarter, Unit::Year];

    fn label(unit: Unit, start: Moment, width: f64) -> String {
        let mut text = String::new();
        unit.write_label(start, width, &mut text);
        text
    }

    #[test]
    fn each_zoom_has_two_rows() {
        let tiers = |zoom: Zoom| Tiers::for_scale(TimeScale::new(Moment(0), zoom.pixels_per_day()));
        assert_eq!(tiers(Zoom::Hours), Tiers { upper: Unit::Day, lower: Unit::Hours(1) });
        assert_eq!(tiers(Zoom::Days), Tiers { upper: Unit::Month, lower: Unit::Day });
        assert_eq!(tiers(Zoom::Weeks), Tiers { upper: Unit::Month, lower: Unit::Week });
        assert_eq!(tiers(Zoom::Months), Tiers { upper: Unit::Year, lower: Unit::Month });
        assert_eq!(tiers(Zoom::Quarters), Tiers { upper: Unit::Year, lower: Unit::Quarter });
    }

    #[test]
    fn labels_fit_their_width() {
        let monday = Moment::from_civil(2026, 9, 28, 0, 0);
        assert_eq!(label(Unit::Week, monday, 77.0), "28–4");
        assert_eq!(label(Unit::Day, monday, 36.0), "28");
        assert_eq!(label(Unit::Day, monday, 60.0), "Mon 28");
        assert_eq!(label(Unit::Day, monday, 960.0), "Mon 28 September 2026");
        let month = Moment::from_civil(2026, 9, 1, 0, 0);
        assert_eq!(
            [20.0, 40.0, 80.0, 200.0].map(|w| label(Unit::Month, month, w)),
            ["S", "Sep", "Sep 2026", "September 2026"]
        );
        assert_eq!(label(Unit::Quarter, Moment::from_civil(2026, 7, 1, 0, 0), 60.0), "Q3");
        assert_eq!(label(Unit::Hours(6), Moment::from_civil(2026, 7, 1, 18, 0), 60.0), "18:00");
    }

    #[test]
    fn weeks_begin_on_monday() {
        let sunday = Moment::from_civil(2026, 3, 1, 12, 0);
        assert_eq!(Unit::Week.floor(sunday), Moment::from_civil(2026, 2, 23, 0, 0));
    }

    proptest! {
        #[test]
        fn ticks_cover_the_time_without_gaps(
            unit in proptest::sample::select(&UNITS[..]), from in -500_000_000_i32..500_000_000, days in 1_i32..200,
        ) {
            let (from, to) = (Moment(from), Moment(from).plus(Span(days * 14_400)));
            let all: Vec<Tick> = ticks(unit, from, to).collect();
            prop_assert!(all[0].start <= from && from < all[0].end);
            if all.len() < MAX_TICKS {
                prop_assert!(all[all.len() - 1].end >= to);
            }
            prop_assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start));
            prop_assert!(all.iter().all(|tick| unit.floor(tick.start) == tick.start));
        }
    }

    #[test]
    fn ticks_end_at_the_bounds_of_time() {
        for unit in UNITS {
            assert!(ticks(unit, Moment::MAX.minus(Span::hours(2)), Moment::MAX).count() <= 3);
            assert!(ticks(unit, Moment::MIN, Moment::MIN.plus(Span::hours(2))).count() <= 3);
        }
    }
}
