//! Values as people read them. Pure.

use pmo_domain::Row;
use serde_json::Value;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A column as text; empty where there is none.
pub fn text(row: &Row, column: &str) -> String {
    match row.get(column) {
        Some(Value::String(s)) => s.clone(),
        Some(Value::Number(n)) => n.to_string(),
        _ => String::new(),
    }
}

/// A column as a number.
pub fn number(row: &Row, column: &str) -> Option<f64> {
    row.get(column).and_then(Value::as_f64)
}

/// `2013-05-01` as `1 May`, with the year where `with_year`.
pub fn date(iso: &str, with_year: bool) -> String {
    let mut parts = iso.get(..10).unwrap_or_default().split('-');
    let (Some(year), Some(month), Some(day)) = (parts.next(), parts.next(), parts.next()) else { return String::new() };
    let month = month.parse::<usize>().ok().and_then(|m| MONTHS.get(m.wrapping_sub(1)));
    match (month, day.parse::<u8>()) {
        (Some(month), Ok(day)) if with_year => format!("{day} {month} {year}"),
        (Some(month), Ok(day)) => format!("{day} {month}"),
        _ => String::new(),
    }
}

/// A moment of this place's clock as `12 Sep, 09:41`, with the year where it is another than this; empty where it is none.
pub fn local_datetime(iso: &str) -> String {
    let then = js_sys::Date::new(&iso.into());
    if iso.is_empty() || then.get_time().is_nan() {
        return String::new();
    }
    let (year, now) = (then.get_full_year(), js_sys::Date::new_0().get_full_year());
    let day = format!("{year:04}-{:02}-{:02}", then.get_month() + 1, then.get_date());
    format!("{}, {:02}:{:02}", date(&day, year != now), then.get_hours(), then.get_minutes())
}

/// A number of bytes as `48 kB`.
pub fn bytes(n: f64) -> String {
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

/// A number without needless zeros.
pub fn trim_zeros(n: f64) -> String {
    let rounded = (n * 100.0).round() / 100.0;
    format!("{rounded}")
}

/// An amount to edit: `1250.5000`, as the server keeps it, is `1250.50`, and `1250.0000` is `1250`. What somebody types stays as it is.
pub fn amount(decimal: &str) -> &str {
    match decimal.split_once('.') {
        Some((whole, "0000")) => whole,
        Some((_, fraction)) if fraction.len() == 4 && fraction.ends_with("00") => &decimal[..decimal.len() - 2],
        _ => decimal,
    }
}

/// `1240000.00` as `1 240 k`.
pub fn money(decimal: &str) -> String {
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

/// `Release manager` as `RM`.
pub fn initials(name: &str) -> String {
    let mut words = name.split_whitespace().filter_map(|w| w.chars().next());
    let first = words.next();
    first.into_iter().chain(words.next_back()).flat_map(char::to_uppercase).take(2).collect()
}

/// One of eight tints that mean nothing, by a hash of the id.
pub fn tint_index(id: &str) -> u32 {
    id.bytes().fold(7u32, |h, b| h.wrapping_mul(31).wrapping_add(u32::from(b))) % 8 + 1
}

/// `In Progress` as `in-progress`, for the name of its mark.
pub fn slug(text: &str) -> String {
    text.to_lowercase().replace(' ', "-")
}

/// The order of `1.10` after `1.9`.
pub fn outline_key(wbs: &str) -> Vec<u64> {
    wbs.split('.').map(|part| part.parse().unwrap_or(u64::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test]
    fn values_read_as_people_write_them() {
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
