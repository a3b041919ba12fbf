//! Filters and sort orders worked out on values at hand, with the same answers as the database gives. Pure; it must never know a particular type.

use crate::query::{Filter, Operator};
use crate::{ColumnKind, datetime};
use serde_json::Value;
use std::cmp::Ordering;

/// A column's value as it is compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ComparableValue {
    /// There is none.
    #[default]
    Null,
    /// Numbers, and moments in microseconds since 1970.
    Number(f64),
    /// Everything with an order of its letters.
    Text(Box<str>),
    /// Several.
    List(Box<[Box<str>]>),
}

/// Whether values of a kind are compared as numbers.
fn numeric(kind: &ColumnKind) -> bool {
    use ColumnKind as K;
    matches!(kind, K::Money | K::Percent | K::Hours | K::Days | K::Integer | K::Number)
}

impl ComparableValue {
    /// Reads a value of a column of this kind.
    pub fn from_value(kind: &ColumnKind, value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(yes) => Self::Text(if *yes { "true" } else { "false" }.into()),
            Value::Number(n) => n.as_f64().map_or(Self::Null, Self::Number),
            Value::String(text) => Self::from_text(kind, text),
            Value::Array(items) => {
                let text = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned).into();
                Self::List(items.iter().map(text).collect())
            }
            Value::Object(_) => Self::Text(value.to_string().into()),
        }
    }

    /// Reads a value that is written as a text.
    pub fn from_text(kind: &ColumnKind, text: &str) -> Self {
        let number = if numeric(kind) {
            text.trim().parse().ok()
        } else if *kind == ColumnKind::Timestamp {
            datetime::timestamp_micros(text)
        } else {
            return Self::Text(text.into());
        };
        number.map_or_else(|| Self::Text(text.into()), Self::Number)
    }

    /// How two are ordered for people: absent last, numbers by size, texts whatever their case and then by it.
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

    /// Reads a value as it is written in JSON, without decoding what need not be decoded.
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

    /// Numbers for sorting many, of the steps 0, 1 and so on: two keys have the order of the first of them that differ. Those that have none which differ
    /// are told apart by comparing them. See [`crate::order::places_by_rank`].
    pub fn abbreviated_key(&self, step: usize) -> u64 {
        match self {
            // A float's bits, turned so that they have its order; the upper half is for texts.
            Self::Number(n) if step == 0 => {
                let bits = n.to_bits();
                (if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }) >> 1
            }
            Self::Text(text) => {
                // The order of letters is that of their bytes in UTF-8. The first step has a byte that tells texts from the rest.
                let from = (step * 8).saturating_sub(1);
                let head = &text.as_bytes()[..text.len().min(step * 8 + 7)];
                let mut eight = [0; 8];
                let eight_from = |eight: &mut [u8; 8], bytes: &[u8]| {
                    let to = if step == 0 { &mut eight[1..] } else { &mut eight[..] };
                    for (to, from) in to.iter_mut().zip(bytes.get(from..).unwrap_or_default()) {
                        *to = from.to_ascii_lowercase();
                    }
                };
                if head.is_ascii() {
                    eight_from(&mut eight, head);
                } else {
                    eight_from(&mut eight, text.chars().flat_map(char::to_lowercase).collect::<String>().as_bytes());
                }
                if step == 0 {
                    eight[0] = 0x80;
                }
                u64::from_be_bytes(eight)
            }
            Self::List(_) if step == 0 => u64::MAX - 1,
            Self::Null if step == 0 => u64::MAX,
            _ => 0,
        }
    }
}

/// Texts whatever their case, and then by it. Most are told apart by the first letters that differ, and those are looked for by the word.
fn cmp_case_insensitive(a: &str, b: &str) -> Ordering {
    let (left, right) = (a.as_bytes(), b.as_bytes());
    let shorter = left.len().min(right.len());
    let word = |bytes: &[u8], at: usize| bytes.get(at..at + 8).and_then(|w| w.try_into().ok()).map(u64::from_le_bytes);
    let mut at = 0;
    while at + 8 <= shorter && word(left, at) == word(right, at) {
        at += 8;
    }
    while at < shorter && left[at] == right[at] {
        at += 1;
    }
    if let (Some(x), Some(y)) = (left.get(at), right.get(at)) {
        let (x, y) = (x.to_ascii_lowercase(), y.to_ascii_lowercase());
        if x < 128 && y < 128 && x != y {
            return x.cmp(&y);
        }
    }
    while !a.is_char_boundary(at) || !b.is_char_boundary(at) {
        at -= 1;
    }
    let folded = |text: &str| text[at..].chars().flat_map(char::to_lowercase).collect::<String>();
    folded(a).cmp(&folded(b)).then_with(|| a.cmp(b))
}

/// A filter that has been read against its column's kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicate {
    operator: Operator,
    keys: Vec<ComparableValue>,
}

impl Predicate {
    /// Reads a filter's values.
    pub fn new(filter: &Filter, kind: &ColumnKind) -> Self {
        let read = |value: &String| match filter.operator {
            Operator::IsNull => ComparableValue::Text(value.as_str().into()),
            Operator::Contains if !matches!(kind, ColumnKind::References { .. } | ColumnKind::TextList) => {
                ComparableValue::Text(value.to_lowercase().into())
            }
            _ => ComparableValue::from_text(kind, value),
        };
        Self { operator: filter.operator, keys: filter.values.iter().map(read).collect() }
    }

    /// Whether a value passes.
    pub fn matches(&self, value: &ComparableValue) -> bool {
        let one = self.keys.first().unwrap_or(&ComparableValue::Null);
        let among = |items: &[Box<str>], key: &ComparableValue| matches!(key, ComparableValue::Text(text) if items.contains(text));
        match (self.operator, value) {
            (Operator::IsNull, _) => {
                matches!(value, ComparableValue::Null) == (*one == ComparableValue::Text("true".into()))
            }
            (Operator::Ne, ComparableValue::Null) => true,
            (_, ComparableValue::Null) => false,
            (Operator::Eq | Operator::Contains, ComparableValue::List(items)) => among(items, one),
            (Operator::Ne, ComparableValue::List(items)) => !among(items, one),
            (Operator::In, ComparableValue::List(items)) => self.keys.iter().any(|key| among(items, key)),
            (_, ComparableValue::List(_)) => false,
            (Operator::Eq, _) => value == one,
            (Operator::Ne, _) => value != one,
            (Operator::In, _) => self.keys.contains(value),
            (Operator::Contains, ComparableValue::Text(text)) => {
                matches!(one, ComparableValue::Text(part) if text.to_lowercase().contains(&**part))
            }
            (Operator::Contains, _) => false,
            (operator, _) => {
                let order = match (value, one) {
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

    fn test(operator: Operator, values: &[&str], kind: &ColumnKind) -> Predicate {
        let values = values.iter().map(|v| (*v).to_owned()).collect();
        Predicate::new(&Filter { column: "c".into(), operator, values }, kind)
    }

    #[test]
    fn money_is_compared_as_a_number_and_a_day_as_a_text() {
        let money = ColumnKind::Money;
        let at_least = test(Operator::Gte, &["9.50"], &money);
        assert!(at_least.matches(&ComparableValue::from_value(&money, &json!("10.00"))));
        assert!(!at_least.matches(&ComparableValue::from_value(&money, &json!("9.49"))));
        assert!(test(Operator::Eq, &["9.5"], &money).matches(&ComparableValue::from_value(&money, &json!("9.50"))));
        let day = ColumnKind::Date;
        assert!(
            test(Operator::Lt, &["2026-02-01"], &day).matches(&ComparableValue::from_value(&day, &json!("2026-01-31")))
        );
    }

    #[test]
    fn what_is_absent_is_unequal_and_nothing_else() {
        let line = ColumnKind::ShortText;
        assert!(test(Operator::Ne, &["a"], &line).matches(&ComparableValue::Null));
        for operator in [Operator::Eq, Operator::Lt, Operator::Gte, Operator::In, Operator::Contains] {
            assert!(!test(operator, &["a"], &line).matches(&ComparableValue::Null));
        }
        assert!(test(Operator::IsNull, &["true"], &line).matches(&ComparableValue::Null));
        assert!(!test(Operator::IsNull, &["false"], &line).matches(&ComparableValue::Null));
    }

    fn keys() -> impl Strategy<Value = ComparableValue> {
        prop_oneof![
            Just(ComparableValue::Null),
            (-1e9..1e9f64).prop_map(ComparableValue::Number),
            "[a-cA-C ß]{0,5}".prop_map(|t| ComparableValue::Text(t.into())),
            "[ab]{5,8}[a-bA-B ßé]{0,20}".prop_map(|t| ComparableValue::Text(t.into())),
        ]
    }

    proptest! {
        #[test]
        fn ranks_never_disagree_with_the_order(a in keys(), b in keys()) {
            let ranks = |key: &ComparableValue| [0, 1, 2, 3].map(|step| key.abbreviated_key(step));
            let (ranks, order) = (ranks(&a).cmp(&ranks(&b)), a.compare(&b));
            prop_assert!(ranks.is_eq() || ranks == order, "{a:?} {b:?}");
        }

        #[test]
        fn texts_are_compared_as_if_they_were_folded_whole(a in "[abAB ßİé\u{0}]{0,12}", b in "[abAB ßİé\u{0}]{0,12}", same in "[a-zÄ]{0,20}") {
            let (a, b) = (same.clone() + &a, same + &b);
            let folded = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<String>();
            prop_assert_eq!(cmp_case_insensitive(&a, &b), folded(&a).cmp(&folded(&b)).then_with(|| a.cmp(&b)));
        }

        #[test]
        fn a_key_read_from_json_is_that_of_its_value(text in "\\PC{0,12}", cents in any::<i32>()) {
            for value in [json!(text), json!(f64::from(cents) / 4.0), json!(cents), json!(format!("{cents}.5")), json!([text]), json!({"a": text}), json!(true), Value::Null] {
                for kind in [ColumnKind::ShortText, ColumnKind::Money, ColumnKind::Timestamp] {
                    prop_assert_eq!(ComparableValue::from_json(&kind, &value.to_string()), ComparableValue::from_value(&kind, &value));
                }
            }
        }

        #[test]
        fn the_order_is_one(a in keys(), b in keys(), c in keys()) {
            prop_assert_eq!(a.compare(&b), b.compare(&a).reverse());
            if a.compare(&b).is_le() && b.compare(&c).is_le() {
                prop_assert!(a.compare(&c).is_le());
            }
        }
    }
}
