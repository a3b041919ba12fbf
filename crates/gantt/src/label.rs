//! Short texts for dates and lengths.

use pmo_planning::{Moment, Span};
use std::fmt::Write;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Appends a date as `12 Sep`; nothing for an absent moment.
pub fn day_label(moment: Moment, out: &mut String) {
    if moment.is_none() {
        return;
    }
    let (_, month, day) = moment.day().to_civil();
    // Writing to a string never fails.
    let _ = write!(out, "{day} {}", MONTHS.get(month as usize - 1).copied().unwrap_or_default());
}

/// Returns an elapsed time with its sign, as `+3 days` or `−4 hours`.
pub fn days_label(span: Span) -> String {
    let sign = if span.0 < 0 { '−' } else { '+' };
    let minutes = (i64::from(span.0).abs() + 5) / 10;
    let (count, unit) = match minutes {
        minutes if minutes >= 12 * 60 => ((minutes + 12 * 60) / (24 * 60), "day"),
        minutes if minutes >= 60 => ((minutes + 30) / 60, "hour"),
        minutes => (minutes, "minute"),
    };
    format!("{sign}{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// Appends the slip of a finish against a baseline in days, as `+3d`; nothing within half a day.
pub fn slip_label(slip: Span, out: &mut String) {
    let days = (i64::from(slip.0).abs() + 7_200) / 14_400;
    if days > 0 {
        // Writing to a string never fails.
        let _ = write!(out, "{}{days}d", if slip.0 < 0 { '−' } else { '+' });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_a_sign_and_a_unit() {
        assert_eq!(days_label(Span::hours(72)), "+3 days");
        assert_eq!(days_label(Span::hours(-24)), "−1 day");
        assert_eq!(days_label(Span::hours(4)), "+4 hours");
        assert_eq!(days_label(Span::minutes(-1)), "−1 minute");
        assert_eq!(days_label(Span(i32::MIN)), "−149131 days");
    }

    #[test]
    fn small_slips_have_no_label() {
        let label = |hours| {
            let mut text = String::new();
            slip_label(Span::hours(hours), &mut text);
            text
        };
        assert_eq!([label(72), label(-20), label(11)], ["+3d", "−1d", ""]);
    }

    #[test]
    fn dates_are_short() {
        let mut text = String::new();
        day_label(Moment::from_civil(2026, 9, 12, 8, 0), &mut text);
        day_label(Moment::NONE, &mut text);
        assert_eq!(text, "12 Sep");
    }
}
