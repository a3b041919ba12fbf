//! Keys that order siblings by hand: texts that sort as bytes, with room for another between any two. Pure.

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

fn digit(byte: u8) -> usize {
    DIGITS.iter().position(|d| *d == byte.to_ascii_lowercase()).unwrap_or(0)
}

/// A key after `low` and before `high`; none of either is the end. It does not end in the lowest digit, so that there is always room
/// before it. Where the two are not in order, or equal, there is nothing between: a key after `low` comes back.
pub fn key_between(low: Option<&str>, high: Option<&str>) -> String {
    let low = low.unwrap_or_default().as_bytes();
    let high = high.map(str::as_bytes).filter(|high| *high > low);
    let mut key = Vec::new();
    let mut bounded = high;
    let mut at = 0;
    loop {
        let below = low.get(at).map_or(0, |b| digit(*b));
        let above = match bounded {
            Some(high) => high.get(at).map_or(0, |b| digit(*b)),
            None => DIGITS.len(),
        };
        if above > below + 1 {
            key.push(DIGITS[(below + above) / 2]);
            return String::from_utf8_lossy(&key).into_owned();
        }
        key.push(DIGITS[below]);
        if above > below {
            // One apart: what follows here is before `high` whatever it is.
            bounded = None;
        } else if at > low.len() + high.map_or(0, <[u8]>::len) {
            // Nothing lies between them.
            bounded = None;
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn there_is_room_at_both_ends_and_between() {
        assert!(key_between(None, None).as_str() > "");
        let (a, b) = ("001000", "002000");
        assert!(key_between(None, Some(a)).as_str() < a);
        assert!(key_between(Some(b), None).as_str() > b);
        let middle = key_between(Some(a), Some(b));
        assert!(a < middle.as_str() && middle.as_str() < b);
    }

    proptest! {
        /// Any number of moves keep a list in the order that the hand gave it.
        #[test]
        fn whatever_is_put_anywhere_stays_there(places in proptest::collection::vec(0..1000usize, 1..120)) {
            let mut keys: Vec<String> = Vec::new();
            for place in places {
                let at = place % (keys.len() + 1);
                let low = at.checked_sub(1).and_then(|i| keys.get(i)).cloned();
                let key = key_between(low.as_deref(), keys.get(at).map(String::as_str));
                prop_assert!(!key.ends_with('0'), "no room before {key}");
                keys.insert(at, key);
            }
            prop_assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
        }
    }
}
