//! Fractional indexing: text keys for manual ordering of siblings.
//!
//! Keys sort by their bytes, and a new key always fits between two others.

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

fn digit_value(byte: u8) -> usize {
    DIGITS.iter().position(|d| *d == byte.to_ascii_lowercase()).unwrap_or(0)
}

/// Returns a key after `low` and before `high`; `None` stands for the start or end of the list.
///
/// Invariant: the key does not end in the lowest digit, so that another key fits before it. If no
/// key fits between the two, it is only guaranteed to be after `low`: if `low` is not less than
/// `high`, or if `high` is `low` followed by the lowest digit.
pub fn key_between(low: Option<&str>, high: Option<&str>) -> String {
    let low = low.unwrap_or_default().as_bytes();
    let high = high.map(str::as_bytes).filter(|high| *high > low);
    let mut key = Vec::new();
    let mut upper = high;
    let mut position = 0;
    loop {
        let low_digit = low.get(position).map_or(0, |b| digit_value(*b));
        let high_digit = match upper {
            Some(high) => high.get(position).map_or(0, |b| digit_value(*b)),
            None => DIGITS.len(),
        };
        if high_digit > low_digit + 1 {
            key.push(DIGITS[(low_digit + high_digit) / 2]);
            return String::from_utf8_lossy(&key).into_owned();
        }
        key.push(DIGITS[low_digit]);
        if high_digit > low_digit {
            // The digits differ by one: every continuation of the key is before `high`.
            upper = None;
        } else if position > low.len() + high.map_or(0, <[u8]>::len) {
            // No key fits between the two: ignore the upper bound.
            upper = None;
        }
        position += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn key_exists_before_between_and_after_other_keys() {
        assert!(key_between(None, None).as_str() > "");
        let (a, b) = ("001000", "002000");
        assert!(key_between(None, Some(a)).as_str() < a);
        assert!(key_between(Some(b), None).as_str() > b);
        let middle = key_between(Some(a), Some(b));
        assert!(a < middle.as_str() && middle.as_str() < b);
    }

    proptest! {
        #[test]
        fn keys_preserve_the_list_order_after_any_inserts(positions in proptest::collection::vec(0..1000usize, 1..120)) {
            let mut keys: Vec<String> = Vec::new();
            for position in positions {
                let index = position % (keys.len() + 1);
                let low = index.checked_sub(1).and_then(|i| keys.get(i)).cloned();
                let key = key_between(low.as_deref(), keys.get(index).map(String::as_str));
                prop_assert!(!key.ends_with('0'), "no key fits before {key}");
                keys.insert(index, key);
            }
            prop_assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
        }
    }
}
