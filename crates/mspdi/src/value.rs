//! Values of MSPDI: civil dates, ISO 8601 durations, tenths of a minute.

use pmo_planning::{Day, Moment, Span};

/// Returns the moment of a civil date and time such as `2026-03-02T08:00:00`; a zone is ignored.
///
/// A date without a time is a moment at the usual time of the day. Returns `None` for text that is
/// no date, and for years outside 1900 to 2200.
pub(crate) fn moment(text: &str, usual: Span) -> Option<Moment> {
    let text = text.trim();
    let Some((date, time)) = text.split_once('T') else { return Some(day(text)?.midnight().plus(usual)) };
    let day = day(date)?;
    let tenths = time_of_day(time)?;
    Some(day.midnight().plus(Span(tenths)))
}

/// Returns the day of a civil date, with or without a time.
pub(crate) fn day(text: &str) -> Option<Day> {
    let date = text.trim().split('T').next()?;
    let mut parts = date.split('-');
    let year: i32 = parts.next()?.parse().ok()?;
    let month: u32 = parts.next()?.parse().ok()?;
    let day: u32 = parts.next()?.parse().ok()?;
    let valid = (1900..=2200).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    (valid && parts.next().is_none()).then(|| Day::from_civil(year, month, day))
}

/// Returns a time such as `08:00:00` in tenths of a minute since midnight.
pub(crate) fn time_of_day(text: &str) -> Option<i32> {
    let mut parts = text.trim().split(':');
    let hour: i32 = parts.next()?.parse().ok()?;
    let minute: i32 = parts.next()?.parse().ok()?;
    let second = parts.next().unwrap_or("0").get(0..2).unwrap_or("0");
    let second: i32 = second.parse().unwrap_or(0);
    let valid = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0..60).contains(&second);
    valid.then_some(hour * 600 + minute * 10 + (second + 3) / 6)
}

/// Returns the length of a duration such as `PT8H30M0S`, days counting 24 hours.
pub(crate) fn span(text: &str) -> Option<Span> {
    let text = text.trim();
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let mut rest = text.strip_prefix('P')?;
    // Thousandths of a tenth of a minute: 100 per second.
    let (mut total, mut in_time) = (0_i64, false);
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T') {
            (in_time, rest) = (true, time);
            continue;
        }
        let end = rest.find(|ch: char| !(ch.is_ascii_digit() || ch == '.'))?;
        let unit = rest.get(end..)?.chars().next()?;
        let seconds = match (unit, in_time) {
            ('D', false) => 86_400,
            ('H', true) => 3_600,
            ('M', true) => 60,
            ('S', true) => 1,
            _ => return None,
        };
        total = total.saturating_add(thousandths(rest.get(..end)?)?.saturating_mul(seconds));
        rest = rest.get(end + unit.len_utf8()..)?;
    }
    let tenths = total.saturating_add(3_000).div_euclid(6_000);
    Some(Span::clamped(if negative { -tenths } else { tenths }))
}

/// Returns a decimal number times 1,000; further digits are cut off.
pub(crate) fn thousandths(text: &str) -> Option<i64> {
    scaled(text, 1_000)
}

/// Returns a decimal number times 10,000; further digits are cut off.
pub(crate) fn ten_thousandths(text: &str) -> Option<i64> {
    scaled(text, 10_000)
}

fn scaled(text: &str, scale: i64) -> Option<i64> {
    let text = text.trim();
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut scaled = whole.checked_mul(scale)?;
    let mut weight = scale / 10;
    for digit in fraction.chars() {
        scaled = scaled.saturating_add(i64::from(digit.to_digit(10)?) * weight);
        weight /= 10;
    }
    Some(if negative { -scaled } else { scaled })
}

/// Returns a whole number; a fraction is cut off.
pub(crate) fn integer(text: &str) -> Option<i64> {
    thousandths(text).map(|value| value / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        assert_eq!(moment("2026-03-02T08:00:00", Span::ZERO), Some(Moment::from_civil(2026, 3, 2, 8, 0)));
        let noon = Some(Moment::from_civil(2026, 3, 2, 12, 0));
        assert_eq!(moment(" 2026-03-02 ", Span::hours(12)), noon);
        assert_eq!(moment("2011-02-25T10:17:06", Span::ZERO).map(|at| at.time_of_day()), Some(Span(6_171)));
        assert_eq!(moment("soon", Span::ZERO), None);
        assert_eq!(moment("2026-13-02T08:00:00", Span::ZERO), None);
        assert_eq!(span("PT8H30M0S"), Some(Span(5_100)));
        assert_eq!(span("PT114H17M6S"), Some(Span(68_571)));
        assert_eq!(span("PT2H0M5.07S"), Some(Span(1_201)));
        assert_eq!(span("-PT1H"), Some(Span(-600)));
        assert_eq!(span("P1D"), Some(Span(14_400)));
        assert_eq!(span("PT99999999999999999999H"), None);
        assert_eq!(span("PT9999999999999H"), Some(Span::MAX));
        assert_eq!(span("8h"), None);
        assert_eq!(thousandths("-1.25"), Some(-1_250));
        assert_eq!(integer("4800.0"), Some(4_800));
    }
}
