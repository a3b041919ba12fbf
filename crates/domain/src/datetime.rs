//! Dates and timestamps in ISO 8601 and RFC 3339 form.
//!
//! The servers parse them with the `jiff` library. In the browser the library would add about 5 %
//! to the first download, so a hand-written check replaces it there; the server validates every
//! value again. Property tests compare both implementations.

/// 0001-01-01 00:00 UTC, in seconds since the Unix epoch: the database has no year 0.
const MIN_TIMESTAMP_SECONDS: i64 = -62_135_596_800;

/// Returns whether `text` is a valid calendar date in `YYYY-MM-DD` form, from the year 1 on.
pub fn is_valid_date(text: &str) -> bool {
    let has_length = text.len() == 10 && !text.starts_with('-') && !text.starts_with("0000");
    #[cfg(not(target_family = "wasm"))]
    return has_length && text.parse::<jiff::civil::Date>().is_ok();
    #[cfg(target_family = "wasm")]
    return has_length && parse_date_fallback(text).is_some();
}

/// Returns the canonical RFC 3339 form of a timestamp, or `None` if `text` is not a timestamp.
///
/// Timestamps before the year 1 in UTC are rejected, because the database cannot store them.
/// In the browser a valid `text` is returned unchanged.
pub fn normalize_timestamp(text: &str) -> Option<String> {
    #[cfg(not(target_family = "wasm"))]
    return text
        .parse::<jiff::Timestamp>()
        .ok()
        .filter(|timestamp| timestamp.as_second() >= MIN_TIMESTAMP_SECONDS)
        .map(|timestamp| timestamp.to_string());
    #[cfg(target_family = "wasm")]
    return parse_date_fallback(text.get(..10)?)
        .and(timestamp_micros(text))
        .filter(|micros| *micros >= MIN_TIMESTAMP_SECONDS as f64 * 1e6)
        .map(|_| text.to_owned());
}

/// Returns the `YYYY-MM-DDTHH:MM:SS` form of a date and time without a time zone.
///
/// The seconds may be missing; a space may stand for the `T`. Returns `None` for any other text,
/// also for one with a time zone or with fractions of a second.
pub fn normalize_local_timestamp(text: &str) -> Option<String> {
    let (date, time) = (text.get(..10)?, text.get(11..)?);
    let separator = text.get(10..11)?;
    if !is_valid_date(date) || !matches!(separator, "T" | " ") {
        return None;
    }
    let is_valid_part = |part: &str, below: u32| {
        part.len() == 2
            && part.bytes().all(|b| b.is_ascii_digit())
            && part.parse::<u32>().is_ok_and(|number| number < below)
    };
    let mut parts = time.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next().unwrap_or("00"));
    let is_valid = is_valid_part(hour, 24) && is_valid_part(minute, 60) && is_valid_part(second, 60);
    (is_valid && parts.next().is_none()).then(|| format!("{date}T{hour}:{minute}:{second}"))
}

/// Parses a valid `YYYY-MM-DD` date into year, month and day without the `jiff` library.
#[cfg(any(test, target_family = "wasm"))]
fn parse_date_fallback(text: &str) -> Option<(i64, i64, i64)> {
    let parse_digits =
        |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<i64>().ok()).flatten();
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if (year.len(), month.len(), day.len()) != (4, 2, 2) || parts.next().is_some() {
        return None;
    }
    let (year, month, day) = (parse_digits(year)?, parse_digits(month)?, parse_digits(day)?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (year > 0 && (1..=days_in_month).contains(&day)).then_some((year, month, day))
}

/// Returns the microseconds between the Unix epoch and an RFC 3339 timestamp.
///
/// Intended for comparisons: the date and time fields are parsed but their ranges are not checked.
/// Returns `None` if a field is not a number.
pub fn timestamp_micros(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // Proleptic Gregorian calendar with years that begin in March, so that the leap day comes last.
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let year_of_era = shifted_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = shifted_year.div_euclid(400) * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100
        + day_of_year
        - 719_468;
    let fraction_digits = bytes.get(20..).filter(|_| bytes.get(19) == Some(&b'.')).unwrap_or_default();
    let fraction_digits = fraction_digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let fraction =
        text.get(20..20 + fraction_digits).and_then(|f| format!("0.{f}").parse::<f64>().ok()).unwrap_or_default();
    let zone = text.get(if fraction_digits > 0 { 20 + fraction_digits } else { 19 }..).unwrap_or_default();
    let offset = match zone.as_bytes().first() {
        Some(sign @ (b'+' | b'-')) => {
            let hours = zone.get(1..3)?.parse::<i64>().ok()?;
            let minutes = hours * 60 + zone.get(4..6).and_then(|m| m.parse().ok()).unwrap_or(0);
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => 0,
    };
    let seconds = ((days * 24 + hour) * 60 + minute - offset) * 60 + second;
    Some(seconds as f64 * 1e6 + (fraction * 1e6).round())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_instants_have_equal_micros_and_canonical_form() {
        let equal_instants = ["2026-01-31T09:00:00Z", "2026-01-31T09:00:00+00:00", "2026-01-31T10:30:00+01:30"];
        for text in equal_instants {
            assert_eq!(timestamp_micros(text), Some(1_769_850_000e6), "{text}");
            assert_eq!(normalize_timestamp(text).as_deref(), Some("2026-01-31T09:00:00Z"));
        }
        assert_eq!(timestamp_micros("1970-01-01T00:00:00.25Z"), Some(250_000.0));
        assert_eq!(timestamp_micros("soon"), None);
    }

    #[test]
    fn years_that_the_database_does_not_have_are_rejected() {
        assert!(!is_valid_date("0000-12-31") && is_valid_date("0001-01-01"));
        for text in ["0000-12-31T23:59:59Z", "-000001-06-01T00:00:00Z", "0001-01-01T00:00:00+00:01"] {
            assert_eq!(normalize_timestamp(text), None, "{text}");
        }
        assert_eq!(normalize_timestamp("0001-01-01T00:00:00Z").as_deref(), Some("0001-01-01T00:00:00Z"));
        assert_eq!(timestamp_micros("0001-01-01T00:00:00Z"), Some(MIN_TIMESTAMP_SECONDS as f64 * 1e6));
    }

    #[test]
    fn local_timestamps_have_no_zone_and_optional_seconds() {
        for text in ["2026-01-31T09:05:00", "2026-01-31T09:05", "2026-01-31 09:05"] {
            assert_eq!(normalize_local_timestamp(text).as_deref(), Some("2026-01-31T09:05:00"), "{text}");
        }
        for text in [
            "",
            "2026-01-31",
            "2026-01-31T",
            "2026-01-31T9:05",
            "2026-01-31T24:00",
            "2026-01-31T09:60",
            "2026-01-31T09:05:60",
            "2026-01-31T09:05:00Z",
            "2026-01-31T09:05:00.5",
            "2026-01-31T09:05:00:00",
            "2026-02-30T09:05",
            "0000-01-31T09:05",
            "2026-01-3ä09:05:00",
            "2026-01-31T+9:05",
        ] {
            assert_eq!(normalize_local_timestamp(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn normalized_local_timestamps_are_stable_and_ordered_as_text(a in any::<(u16, u8, u8, u32)>(), b in any::<(u16, u8, u8, u32)>()) {
            let text = |(year, month, day, second): (u16, u8, u8, u32)| {
                let (year, month, day, second) = (year % 9999 + 1, month % 12 + 1, day % 28 + 1, second % 86_400);
                format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
            };
            let (a, b) = (text(a), text(b));
            let normalized = normalize_local_timestamp(&a);
            prop_assert_eq!(normalized.as_ref(), Some(&a));
            let civil = |text: &str| text.parse::<jiff::civil::DateTime>().unwrap();
            prop_assert_eq!(a.cmp(&b), civil(&a).cmp(&civil(&b)));
        }

        #[test]
        fn date_fallback_equals_the_library(year in 0..10_000i64, month in 0..14i64, day in 0..33i64, second in 0..86_400i64, malformed in "[0-9-]{10}") {
            let text = format!("{year:04}-{month:02}-{day:02}");
            prop_assert_eq!(parse_date_fallback(&text).is_some(), is_valid_date(&text), "{}", text);
            prop_assert!(parse_date_fallback(&malformed).is_none() || is_valid_date(&malformed));
            if is_valid_date(&text) {
                let timestamp = format!("{text}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60);
                let expected: jiff::Timestamp = timestamp.parse().unwrap();
                prop_assert_eq!(timestamp_micros(&timestamp), Some(expected.as_microsecond() as f64));
            }
        }
    }
}
