//! Filter predicates and sort orders, evaluated in memory.
//!
//! Filters match the same rows as in the database. Exception: the order of texts is that of their
//! code points, in the database that of its collation.
//!
//! Must not: do I/O or know a particular entity type.

use crate::query::{Filter, Operator};
use crate::{ColumnKind, datetime};
use serde_json::Value;
use std::cmp::Ordering;

/// A column value in comparable form, for filters and sorting.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ComparableValue {
    /// No value.
    #[default]
    Null,
    /// A number, or a timestamp in microseconds since the Unix epoch.
    Number(f64),
    /// Any other value, compared as text.
    Text(Box<str>),
    /// A list of texts.
    List(Box<[Box<str>]>),
}

/// Returns whether values of `kind` are compared as numbers.
fn is_numeric(kind: &ColumnKind) -> bool {
    use ColumnKind as K;
    matches!(kind, K::Money | K::Percent | K::Hours | K::Days | K::Minutes | K::Integer | K::Number)
}

impl ComparableValue {
    /// Converts a JSON value of a column of the given kind.
    pub fn from_value(kind: &ColumnKind, value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Text(if *flag { "true" } else { "false" }.into()),
            Value::Number(n) => n.as_f64().map_or(Self::Null, Self::Number),
            Value::String(text) => Self::from_text(kind, text),
            Value::Array(items) => {
                let text = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned).into();
                Self::List(items.iter().map(text).collect())
            }
            Value::Object(_) => Self::Text(value.to_string().into()),
        }
    }

    /// Converts a value in text form; an invalid number or timestamp is compared as text.
    pub fn from_text(kind: &ColumnKind, text: &str) -> Self {
        let number = if is_numeric(kind) {
            text.trim().parse().ok()
        } else if *kind == ColumnKind::Timestamp {
            datetime::timestamp_micros(text)
        } else {
            return Self::Text(text.into());
        };
        number.map_or_else(|| Self::Text(text.into()), Self::Number)
    }

    /// Compares two values in display order.
    ///
    /// Numbers come first, then texts, then lists; `Null` comes last. Texts are compared without
    /// case and, if equal, with case.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Greater,
            (_, Self::Null) => Ordering::Less,
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Number(_), _) => Ordering::Less,
            (_, Self::Number(_)) => Ordering::Greater,
            (Self::Text(a), Self::Text(b)) => cmp_case_insensitive(a, b),
            (Self::Text(_), _) => Ordering::Less,
            (_, Self::Text(_)) => Ordering::Greater,
            (Self::List(a), Self::List(b)) => a.cmp(b),
        }
    }

    /// Converts a value in JSON form.
    ///
    /// Avoids the JSON parser for integers of up to 15 digits and for strings without escapes.
    pub fn from_json(kind: &ColumnKind, json: &str) -> Self {
        match json.as_bytes() {
            [b'"', .., b'"'] if json.len() > 1 && !json.contains('\\') => {
                Self::from_text(kind, &json[1..json.len() - 1])
            }
            digits if (1..16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
                Self::Number(digits.iter().fold(0.0, |number, digit| number * 10.0 + f64::from(digit - b'0')))
            }
            _ => serde_json::from_str(json).map_or(Self::Null, |value| Self::from_value(kind, &value)),
        }
    }

    /// Returns the abbreviated key of the given step (0, 1, …) for sorting many values.
    ///
    /// The first step whose keys differ determines the order of two values. If no step differs,
    /// [`Self::compare`] decides. See [`crate::sort::argsort_by_prefix`].
    pub fn abbreviated_key(&self, step: usize) -> u64 {
        match self {
            // Float bits, transformed so that their integer order is the numeric order and then
            // shifted: texts use the upper half of the range.
            Self::Number(n) if step == 0 => {
                let bits = n.to_bits();
                (if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }) >> 1
            }
            Self::Text(text) => {
                // Code points and their UTF-8 bytes have the same order. The first byte of step 0
                // marks the value as text, so step 0 holds 7 bytes of text and each later step 8.
                let start = (step * 8).saturating_sub(1);
                let head = &text.as_bytes()[..text.len().min(step * 8 + 7)];
                let mut key = [0; 8];
                let copy_lowercase = |key: &mut [u8; 8], bytes: &[u8]| {
                    let target = if step == 0 { &mut key[1..] } else { &mut key[..] };
                    for (target, source) in target.iter_mut().zip(bytes.get(start..).unwrap_or_default()) {
                        *target = source.to_ascii_lowercase();
                    }
                };
                if head.is_ascii() {
                    copy_lowercase(&mut key, head);
                } else {
                    copy_lowercase(&mut key, text.chars().flat_map(char::to_lowercase).collect::<String>().as_bytes());
                }
                if step == 0 {
                    key[0] = 0x80;
                }
                u64::from_be_bytes(key)
            }
            Self::List(_) if step == 0 => u64::MAX - 1,
            Self::Null if step == 0 => u64::MAX,
            _ => 0,
        }
    }
}

/// Compares texts without case and, if equal, with case.
///
/// The first differing characters usually decide. They are found by comparing eight bytes at a
/// time.
fn cmp_case_insensitive(a: &str, b: &str) -> Ordering {
    let (left, right) = (a.as_bytes(), b.as_bytes());
    let min_len = left.len().min(right.len());
    let word_at = |bytes: &[u8], position: usize| {
        bytes.get(position..position + 8).and_then(|w| w.try_into().ok()).map(u64::from_le_bytes)
    };
    let mut position = 0;
    while position + 8 <= min_len && word_at(left, position) == word_at(right, position) {
        position += 8;
    }
    while position < min_len && left[position] == right[position] {
        position += 1;
    }
    if let (Some(x), Some(y)) = (left.get(position), right.get(position)) {
        let (x, y) = (x.to_ascii_lowercase(), y.to_ascii_lowercase());
        if x < 128 && y < 128 && x != y {
            return x.cmp(&y);
        }
    }
    while !a.is_char_boundary(position) || !b.is_char_boundary(position) {
        position -= 1;
    }
    let lowercase_rest = |text: &str| text[position..].chars().flat_map(char::to_lowercase).collect::<String>();
    lowercase_rest(a).cmp(&lowercase_rest(b)).then_with(|| a.cmp(b))
}

/// A filter whose values are converted to the kind of its column.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicate {
    operator: Operator,
    operands: Vec<ComparableValue>,
}

impl Predicate {
    /// Compiles `filter` for a column of the given kind.
    pub fn new(filter: &Filter, kind: &ColumnKind) -> Self {
        let convert = |value: &String| match filter.operator {
            Operator::IsNull => ComparableValue::Text(value.as_str().into()),
            Operator::Contains if !matches!(kind, ColumnKind::References { .. } | ColumnKind::TextList) => {
                ComparableValue::Text(value.to_lowercase().into())
            }
            _ => ComparableValue::from_text(kind, value),
        };
        Self { operator: filter.operator, operands: filter.values.iter().map(convert).collect() }
    }

    /// Returns whether `value` satisfies the filter.
    pub fn matches(&self, value: &ComparableValue) -> bool {
        let operand = self.operands.first().unwrap_or(&ComparableValue::Null);
        let list_contains = |items: &[Box<str>], operand: &ComparableValue| matches!(operand, ComparableValue::Text(text) if items.contains(text));
        match (self.operator, value) {
            (Operator::IsNull, _) => {
                matches!(value, ComparableValue::Null) == (*operand == ComparableValue::Text("true".into()))
            }
            (Operator::Ne, ComparableValue::Null) => true,
            (_, ComparableValue::Null) => false,
            (Operator::Eq | Operator::Contains, ComparableValue::List(items)) => list_contains(items, operand),
            (Operator::Ne, ComparableValue::List(items)) => !list_contains(items, operand),
            (Operator::In, ComparableValue::List(items)) => {
                self.operands.iter().any(|operand| list_contains(items, operand))
            }
            (_, ComparableValue::List(_)) => false,
            (Operator::Eq, _) => value == operand,
            (Operator::Ne, _) => value != operand,
            (Operator::In, _) => self.operands.contains(value),
            (Operator::Contains, ComparableValue::Text(text)) => {
                matches!(operand, ComparableValue::Text(needle) if text.to_lowercase().contains(&**needle))
            }
            (Operator::Contains, _) => false,
            (operator, _) => {
                let order = match (value, operand) {
                    (ComparableValue::Number(a), ComparableValue::Number(b)) => a.total_cmp(b),
                    (ComparableValue::Text(a), ComparableValue::Text(b)) => a.cmp(b),
                    _ => return false,
                };
                match operator {
                    Operator::Lt => order.is_lt(),
                    Operator::Lte => order.is_le(),
                    Operator::Gt => order.is_gt(),
                    _ => order.is_ge(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn predicate(operator: Operator, values: &[&str], kind: &ColumnKind) -> Predicate {
        let values = values.iter().map(|v| (*v).to_owned()).collect();
        Predicate::new(&Filter { column: "c".into(), operator, values }, kind)
    }

    #[test]
    fn money_is_compared_as_number_and_date_as_text() {
        let money = ColumnKind::Money;
        let at_least = predicate(Operator::Gte, &["9.50"], &money);
        assert!(at_least.matches(&ComparableValue::from_value(&money, &json!("10.00"))));
        assert!(!at_least.matches(&ComparableValue::from_value(&money, &json!("9.49"))));
        assert!(
            predicate(Operator::Eq, &["9.5"], &money).matches(&ComparableValue::from_value(&money, &json!("9.50")))
        );
        let date = ColumnKind::Date;
        assert!(
            predicate(Operator::Lt, &["2026-02-01"], &date)
                .matches(&ComparableValue::from_value(&date, &json!("2026-01-31")))
        );
        let local = ColumnKind::LocalTimestamp;
        assert!(
            predicate(Operator::Gt, &["2026-01-31T09:00:00"], &local)
                .matches(&ComparableValue::from_value(&local, &json!("2026-01-31T09:00:30")))
        );
        let minutes = ColumnKind::Minutes;
        assert!(
            predicate(Operator::Lte, &["480"], &minutes).matches(&ComparableValue::from_value(&minutes, &json!(60.0)))
        );
    }

    #[test]
    fn null_matches_only_ne_and_is_null() {
        let kind = ColumnKind::ShortText;
        assert!(predicate(Operator::Ne, &["a"], &kind).matches(&ComparableValue::Null));
        for operator in [Operator::Eq, Operator::Lt, Operator::Gte, Operator::In, Operator::Contains] {
            assert!(!predicate(operator, &["a"], &kind).matches(&ComparableValue::Null));
        }
        assert!(predicate(Operator::IsNull, &["true"], &kind).matches(&ComparableValue::Null));
        assert!(!predicate(Operator::IsNull, &["false"], &kind).matches(&ComparableValue::Null));
    }

    fn values() -> impl Strategy<Value = ComparableValue> {
        prop_oneof![
            Just(ComparableValue::Null),
            (-1e9..1e9f64).prop_map(ComparableValue::Number),
            "[a-cA-C ß]{0,5}".prop_map(|t| ComparableValue::Text(t.into())),
            "[ab]{5,8}[a-bA-B ßé]{0,20}".prop_map(|t| ComparableValue::Text(t.into())),
        ]
    }

    proptest! {
        #[test]
        fn abbreviated_keys_agree_with_the_order(a in values(), b in values()) {
            let abbreviated = |value: &ComparableValue| [0, 1, 2, 3].map(|step| value.abbreviated_key(step));
            let (abbreviated, order) = (abbreviated(&a).cmp(&abbreviated(&b)), a.compare(&b));
            prop_assert!(abbreviated.is_eq() || abbreviated == order, "{a:?} {b:?}");
        }

        #[test]
        fn text_comparison_equals_comparison_of_lowercased_texts(a in "[abAB ßİé\u{0}]{0,12}", b in "[abAB ßİé\u{0}]{0,12}", prefix in "[a-zÄ]{0,20}") {
            let (a, b) = (prefix.clone() + &a, prefix + &b);
            let lowercase = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<String>();
            prop_assert_eq!(cmp_case_insensitive(&a, &b), lowercase(&a).cmp(&lowercase(&b)).then_with(|| a.cmp(&b)));
        }

        #[test]
        fn from_json_equals_from_value(text in "\\PC{0,12}", cents in any::<i32>()) {
            for value in [json!(text), json!(f64::from(cents) / 4.0), json!(cents), json!(format!("{cents}.5")), json!([text]), json!({"a": text}), json!(true), Value::Null] {
                for kind in [ColumnKind::ShortText, ColumnKind::Money, ColumnKind::Timestamp] {
                    prop_assert_eq!(ComparableValue::from_json(&kind, &value.to_string()), ComparableValue::from_value(&kind, &value));
                }
            }
        }

        #[test]
        fn compare_is_a_total_order(a in values(), b in values(), c in values()) {
            prop_assert_eq!(a.compare(&b), b.compare(&a).reverse());
            if a.compare(&b).is_le() && b.compare(&c).is_le() {
                prop_assert!(a.compare(&c).is_le());
            }
        }
    }
}
