//! Texts of values: durations, times of day, shares, amounts.

use pmo_planning::{Day, Span};

/// Returns a duration such as `PT8H30M0S`.
pub(crate) fn duration(span: Span) -> String {
    let tenths = span.0.unsigned_abs();
    let sign = if span.0 < 0 { "-" } else { "" };
    format!("{sign}PT{}H{}M{}S", tenths / 600, tenths / 10 % 60, tenths % 10 * 6)
}

/// Returns a time of day; the end of the day is `00:00:00`.
pub(crate) fn time_of_day(tenths: u16) -> String {
    let tenths = u32::from(tenths) % 14_400;
    format!("{:02}:{:02}:{:02}", tenths / 600, tenths / 10 % 60, tenths % 10 * 6)
}

/// Returns a share of which 1 is the whole, from hundredths of a percent.
pub(crate) fn share(hundredths: u32) -> String {
    let (whole, fraction) = (hundredths / 10_000, hundredths % 10_000);
    if fraction == 0 { whole.to_string() } else { format!("{whole}.{fraction:04}").trim_end_matches('0').to_owned() }
}

/// Returns a day as `YYYY-MM-DD`.
pub(crate) fn day(day: Day) -> String {
    let (year, month, day) = day.to_civil();
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value;

    #[test]
    fn values_are_written_as_microsoft_project_does() {
        assert_eq!(duration(Span(5_105)), "PT8H30M30S");
        assert_eq!(duration(Span(-600)), "-PT1H0M0S");
        assert_eq!(time_of_day(14_400), "00:00:00");
        assert_eq!(time_of_day(5_105), "08:30:30");
        assert_eq!([share(10_000), share(2_550), share(123_456)], ["1", "0.255", "12.3456"]);
        assert_eq!(day(Day::from_civil(2026, 3, 2)), "2026-03-02");
        for tenths in 0..14_400_u16 {
            assert_eq!(value::time_of_day(&time_of_day(tenths)), Some(i32::from(tenths)));
            let span = Span(i32::from(tenths) * 7);
            assert_eq!(value::span(&duration(span)), Some(span));
        }
    }
}
