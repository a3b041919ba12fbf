//! Days and moments as people and machines write them. The servers read them with a calendar library. The browser, where that would be a twentieth of
//! the first download, checks by hand what it is given; the server has the last word. A test holds the one against the other.

/// Whether a text is a day that there is, as `YYYY-MM-DD`.
pub fn is_valid_date(text: &str) -> bool {
    let shaped = text.len() == 10 && !text.starts_with('-');
    #[cfg(not(target_family = "wasm"))]
    return shaped && text.parse::<jiff::civil::Date>().is_ok();
    #[cfg(target_family = "wasm")]
    return shaped && parse_date_fallback(text).is_some();
}

/// A moment in its normal form; none where the text is none.
pub fn normalize_timestamp(text: &str) -> Option<String> {
    #[cfg(not(target_family = "wasm"))]
    return text.parse::<jiff::Timestamp>().ok().map(|moment| moment.to_string());
    #[cfg(target_family = "wasm")]
    return parse_date_fallback(text.get(..10)?).and(timestamp_micros(text)).map(|_| text.to_owned());
}

/// Year, month and day of a day that there is.
#[cfg(any(test, target_family = "wasm"))]
fn parse_date_fallback(text: &str) -> Option<(i64, i64, i64)> {
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<i64>().ok()).flatten();
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if (year.len(), month.len(), day.len()) != (4, 2, 2) || parts.next().is_some() {
        return None;
    }
    let (year, month, day) = (digits(year)?, digits(month)?, digits(day)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=days).contains(&day).then_some((year, month, day))
}

/// Microseconds since 1970 of a moment in RFC 3339, for comparing.
pub fn timestamp_micros(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // Days of the proleptic Gregorian calendar, with years that begin in March.
    let y = if month <= 2 { year - 1 } else { year };
    let of_era = y.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = y.div_euclid(400) * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let digits = bytes.get(20..).filter(|_| bytes.get(19) == Some(&b'.')).unwrap_or_default();
    let digits = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let fraction = text.get(20..20 + digits).and_then(|f| format!("0.{f}").parse::<f64>().ok()).unwrap_or_default();
    let zone = text.get(if digits > 0 { 20 + digits } else { 19 }..).unwrap_or_default();
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
    fn a_moment_is_the_same_however_it_is_written() {
        let same = ["2026-01-31T09:00:00Z", "2026-01-31T09:00:00+00:00", "2026-01-31T10:30:00+01:30"];
        for text in same {
            assert_eq!(timestamp_micros(text), Some(1_769_850_000e6), "{text}");
            assert_eq!(normalize_timestamp(text).as_deref(), Some("2026-01-31T09:00:00Z"));
        }
        assert_eq!(timestamp_micros("1970-01-01T00:00:00.25Z"), Some(250_000.0));
        assert_eq!(timestamp_micros("soon"), None);
    }

    proptest! {
        #[test]
        fn the_check_by_hand_agrees_with_the_library(year in 0..10_000i64, month in 0..14i64, day in 0..33i64, second in 0..86_400i64, odd in "[0-9-]{10}") {
            let text = format!("{year:04}-{month:02}-{day:02}");
            prop_assert_eq!(parse_date_fallback(&text).is_some(), is_valid_date(&text), "{}", text);
            prop_assert!(parse_date_fallback(&odd).is_none() || is_valid_date(&odd));
            if is_valid_date(&text) {
                let moment = format!("{text}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60);
                let known: jiff::Timestamp = moment.parse().unwrap();
                prop_assert_eq!(timestamp_micros(&moment), Some(known.as_microsecond() as f64));
            }
        }
    }
}
