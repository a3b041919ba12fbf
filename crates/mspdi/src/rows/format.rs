//! Units of durations and lags: numbers in files, codes in columns.

use pmo_project_plan::{DurationUnit, LagUnit};

/// What the number of an estimated duration is above that of a stated one.
const ESTIMATED: i64 = 32;
/// Units by number.
const UNITS: [(i64, DurationUnit); 10] = [
    (3, DurationUnit::Minutes),
    (4, DurationUnit::ElapsedMinutes),
    (5, DurationUnit::Hours),
    (6, DurationUnit::ElapsedHours),
    (7, DurationUnit::Days),
    (8, DurationUnit::ElapsedDays),
    (9, DurationUnit::Weeks),
    (10, DurationUnit::ElapsedWeeks),
    (11, DurationUnit::Months),
    (12, DurationUnit::ElapsedMonths),
];

/// Returns true for the format of an estimated duration.
pub(super) fn is_estimated(format: i64) -> bool {
    format >= ESTIMATED + 3
}

/// Returns the unit of a duration; days for formats that are none.
pub(super) fn duration_unit(format: Option<i64>) -> DurationUnit {
    let format = format.map(|format| if is_estimated(format) { format - ESTIMATED } else { format });
    let known = UNITS.iter().find(|(number, _)| Some(*number) == format);
    known.map_or(DurationUnit::Days, |(_, unit)| *unit)
}

/// Returns the unit of a lag.
pub(super) fn lag_unit(format: i64) -> LagUnit {
    match format {
        19 | 51 => LagUnit::Percent,
        20 | 52 => LagUnit::ElapsedPercent,
        format => LagUnit::Time(duration_unit(Some(format))),
    }
}

/// Returns the format of a duration.
pub(super) fn duration_format(unit: DurationUnit, estimated: bool) -> i64 {
    let number = UNITS.iter().find(|(_, known)| *known == unit).map_or(7, |(number, _)| *number);
    if estimated { number + ESTIMATED } else { number }
}

/// Returns the format of a lag.
pub(super) fn lag_format(unit: LagUnit) -> i64 {
    match unit {
        LagUnit::Percent => 19,
        LagUnit::ElapsedPercent => 20,
        LagUnit::Time(unit) => duration_format(unit, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_units() {
        for unit in DurationUnit::ALL {
            for estimated in [false, true] {
                let format = duration_format(unit, estimated);
                assert_eq!((duration_unit(Some(format)), is_estimated(format)), (unit, estimated));
            }
            assert_eq!(lag_unit(lag_format(LagUnit::Time(unit))), LagUnit::Time(unit));
        }
        assert_eq!([lag_unit(19), lag_unit(52)], [LagUnit::Percent, LagUnit::ElapsedPercent]);
        assert_eq!(duration_unit(Some(21)), DurationUnit::Days);
        assert_eq!(duration_unit(None), DurationUnit::Days);
    }
}
