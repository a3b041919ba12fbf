//! Formatting of values for display.
//!
//! The functions are pure, except that [`local_datetime`] reads the clock and the time zone.

use pmo_domain::Row;
use serde_json::Value;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Returns a string or number column as text; empty for any other value.
pub(crate) fn text(row: &Row, column: &str) -> String {
    match row.get(column) {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Number(n)) => n.to_string(),
        _ => String::new(),
    }
}

/// Returns a column as a number; `None` for any other value.
pub(crate) fn number(row: &Row, column: &str) -> Option<f64> {
    row.get(column).and_then(Value::as_f64)
}

/// Formats `2013-05-01` as `1 May`, or as `1 May 2013` with `with_year`; empty for an invalid date.
pub(crate) fn date(iso: &str, with_year: bool) -> String {
    let mut parts = iso.get(..10).unwrap_or_default().split('-');
    let (Some(year), Some(month), Some(day)) = (parts.next(), parts.next(), parts.next()) else { return String::new() };
    let month = month.parse::<usize>().ok().and_then(|m| MONTHS.get(m.wrapping_sub(1)));
    match (month, day.parse::<u8>()) {
        (Some(month), Ok(day)) if with_year => format!("{day} {month} {year}"),
        (Some(month), Ok(day)) => format!("{day} {month}"),
        _ => String::new(),
    }
}

/// Formats a timestamp in local time as `12 Sep, 09:41`.
///
/// The year is added if it is not the current one. Empty for an invalid timestamp.
pub(crate) fn local_datetime(iso: &str) -> String {
    let timestamp = js_sys::Date::new(&iso.into());
    if iso.is_empty() || timestamp.get_time().is_nan() {
        return String::new();
    }
    let (year, current_year) = (timestamp.get_full_year(), js_sys::Date::new_0().get_full_year());
    let day = format!("{year:04}-{:02}-{:02}", timestamp.get_month() + 1, timestamp.get_date());
    let (hours, minutes) = (timestamp.get_hours(), timestamp.get_minutes());
    format!("{}, {hours:02}:{minutes:02}", date(&day, year != current_year))
}

/// Formats a number of bytes with a decimal unit, as `48 kB`.
pub(crate) fn bytes(n: f64) -> String {
    let (mut n, mut unit) = (n, "B");
    for larger in ["kB", "MB", "GB"] {
        if n < 1000.0 {
            break;
        }
        (n, unit) = (n / 1000.0, larger);
    }
    let n = if n < 10.0 && unit != "B" { (n * 10.0).round() / 10.0 } else { n.round() };
    format!("{n} {unit}")
}

/// Formats a number with at most two decimals and without trailing zeros.
pub(crate) fn trim_zeros(n: f64) -> String {
    let rounded = (n * 100.0).round() / 100.0;
    format!("{rounded}")
}

/// Shortens an amount with four decimals for editing.
///
/// `1250.5000` becomes `1250.50`, and `1250.0000` becomes `1250`. Other input, such as an amount
/// that the user is typing, is returned unchanged.
pub(crate) fn amount(decimal: &str) -> &str {
    match decimal.split_once('.') {
        Some((whole, "0000")) => whole,
        Some((_, fraction)) if fraction.len() == 4 && fraction.ends_with("00") => &decimal[..decimal.len() - 2],
        _ => decimal,
    }
}

/// Formats `9500.00` as `9 500 €` and `1240000.00` as `1 240 k€` (thousands from 10,000 on).
///
/// Text that is not a number is returned unchanged.
pub(crate) fn money(decimal: &str) -> String {
    let whole = decimal.split('.').next().unwrap_or_default();
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |d| ("−", d));
    let Ok(amount) = digits.parse::<u64>() else { return decimal.to_owned() };
    let (shown, unit) = if amount >= 10_000 { ((amount + 500) / 1000, " k€") } else { (amount, " €") };
    let text = shown.to_string();
    let mut grouped = String::new();
    for (i, c) in text.chars().enumerate() {
        if i > 0 && (text.len() - i).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(c);
    }
    format!("{sign}{grouped}{unit}")
}

/// Returns the initials of the first and the last word: `RM` for `Release manager`.
pub(crate) fn initials(name: &str) -> String {
    let mut words = name.split_whitespace().filter_map(|w| w.chars().next());
    let first = words.next();
    first.into_iter().chain(words.next_back()).flat_map(char::to_uppercase).take(2).collect()
}

/// Returns the index of an avatar color, 1 to 8, from a hash of the id.
pub(crate) fn tint_index(id: &str) -> u32 {
    id.bytes().fold(7u32, |h, b| h.wrapping_mul(31).wrapping_add(u32::from(b))) % 8 + 1
}

/// Converts `In Progress` to `in-progress`, for use in an icon name.
pub(crate) fn slug(text: &str) -> String {
    text.to_lowercase().replace(' ', "-")
}

/// Returns a sort key for WBS codes that orders `1.10` after `1.9`.
pub(crate) fn outline_key(wbs: &str) -> Vec<u64> {
    wbs.split('.').map(|part| part.parse().unwrap_or(u64::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test]
    fn values_are_formatted_for_display() {
        assert_eq!(date("2013-05-01", false), "1 May");
        assert_eq!(date("2013-11-29T17:00:00Z", true), "29 Nov 2013");
        assert_eq!(date("", true), "");
        assert_eq!(money("1240000.0000"), "1\u{202f}240 k€");
        assert_eq!(money("-950.50"), "−950 €");
        assert_eq!(
            [amount("1250.5000"), amount("1250.0000"), amount("0.1250"), amount("12.")],
            ["1250.50", "1250", "0.1250", "12."]
        );
        assert_eq!(initials("Ada Lovelace King"), "AK");
        assert_eq!(slug("In Progress"), "in-progress");
        assert!(outline_key("1.10") > outline_key("1.9"));
    }
}
