//! Three versions of a row into one: what both started from, mine and theirs. Pure.

use crate::line_merge::merge_lines;
use pmo_domain::Row;
use serde_json::{Map, Value};

/// The values that `row` has for some columns, null where it has none. (Put in one by one: building a map from many at once costs the browser
/// a sorting routine each time that it is written.)
pub fn pick_columns<'a>(columns: impl Iterator<Item = &'a String>, row: &Row) -> Row {
    let mut values = Row::new();
    for column in columns {
        values.insert(column.clone(), row.get(column).cloned().unwrap_or(Value::Null));
    }
    values
}

/// What a merge came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MergeResult {
    /// What still has to be written, on top of theirs.
    pub patch: Row,
    /// Columns where both changed the same thing differently.
    pub conflicts: Vec<String>,
}

/// Merges my `patch`, made on the values in `base`, with their row. Columns that they did not touch take mine; equal changes are one;
/// lists of references merge by element, objects by key (and lists in them by element), texts of several lines by line; what else both changed is a conflict.
pub fn merge(base: &Row, patch: &Row, theirs: &Row) -> MergeResult {
    let mut merged = MergeResult::default();
    for (column, mine) in patch {
        let before = base.get(column).unwrap_or(&Value::Null);
        let now = theirs.get(column).unwrap_or(&Value::Null);
        if now == mine {
            continue;
        }
        if now == before {
            merged.patch.insert(column.clone(), mine.clone());
            continue;
        }
        match (before, mine, now) {
            (Value::Array(before), Value::Array(mine), Value::Array(now)) => {
                merged.patch.insert(column.clone(), Value::Array(merge_sets(before, mine, now)));
            }
            (Value::Object(before), Value::Object(mine), Value::Object(now)) => match merge_maps(before, mine, now) {
                Some(both) => {
                    merged.patch.insert(column.clone(), Value::Object(both));
                }
                None => merged.conflicts.push(column.clone()),
            },
            (Value::String(before), Value::String(mine), Value::String(now))
                if [before, mine, now].iter().any(|text| text.contains('\n')) =>
            {
                match merge_lines(before, mine, now) {
                    Some(both) => {
                        merged.patch.insert(column.clone(), Value::String(both));
                    }
                    None => merged.conflicts.push(column.clone()),
                }
            }
            _ => merged.conflicts.push(column.clone()),
        }
    }
    merged
}

/// Theirs, with what I added and without what I took away.
fn merge_sets(before: &[Value], mine: &[Value], now: &[Value]) -> Vec<Value> {
    let mut both: Vec<Value> = now.iter().filter(|v| !before.contains(v) || mine.contains(v)).cloned().collect();
    for added in mine.iter().filter(|v| !before.contains(v)) {
        if !both.contains(added) {
            both.push(added.clone());
        }
    }
    both
}

fn merge_maps(
    before: &Map<String, Value>,
    mine: &Map<String, Value>,
    now: &Map<String, Value>,
) -> Option<Map<String, Value>> {
    let mut both = now.clone();
    for key in mine.keys().chain(before.keys()) {
        let (b, m, n) = (before.get(key), mine.get(key), now.get(key));
        if m == b || m == n {
            continue;
        }
        let list = |value: Option<&Value>| value.map_or(Some(Vec::new()), |v| v.as_array().cloned());
        if n != b {
            let (b, m, n) = (list(b)?, list(m)?, list(n)?);
            both.insert(key.clone(), Value::Array(merge_sets(&b, &m, &n)));
            continue;
        }
        match m {
            Some(value) => both.insert(key.clone(), value.clone()),
            None => both.remove(key),
        };
    }
    Some(both)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn row(value: Value) -> Row {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn lists_in_objects_merge_by_element() {
        let base = row(json!({"reactions": {"+1": ["a"], "!": ["a"]}}));
        let mine = row(json!({"reactions": {"+1": ["a", "me"], "!": []}}));
        let theirs = row(json!({"reactions": {"+1": ["a", "b"], "!": ["a", "b"], "?": ["b"]}}));
        let merged = merge(&base, &mine, &theirs);
        assert_eq!(merged.conflicts, [] as [String; 0]);
        assert_eq!(merged.patch["reactions"], json!({"+1": ["a", "b", "me"], "!": ["b"], "?": ["b"]}));
        let other = row(json!({"reactions": {"+1": 3}}));
        assert_eq!(merge(&base, &mine, &other).conflicts, ["reactions"], "what is no list on both sides is a question");
    }

    #[test]
    fn fields_that_nobody_else_touched_merge() {
        let merged = merge(&row(json!({"a": 1})), &row(json!({"a": 2})), &row(json!({"a": 1, "b": 9})));
        assert_eq!(merged, MergeResult { patch: row(json!({"a": 2})), conflicts: vec![] });
    }

    #[test]
    fn the_same_field_changed_twice_is_a_conflict_unless_the_change_is_the_same() {
        assert_eq!(merge(&row(json!({"a": 1})), &row(json!({"a": 2})), &row(json!({"a": 3}))).conflicts, ["a"]);
        assert_eq!(merge(&row(json!({"a": 1})), &row(json!({"a": 2})), &row(json!({"a": 2}))), MergeResult::default());
    }

    #[test]
    fn people_added_by_both_are_both_there_and_one_taken_away_is_gone() {
        let merged = merge(
            &row(json!({"who": ["a", "b"]})),
            &row(json!({"who": ["a", "c"]})),
            &row(json!({"who": ["a", "b", "d"]})),
        );
        assert_eq!(merged.patch, row(json!({"who": ["a", "d", "c"]})));
    }

    #[test]
    fn a_text_of_several_lines_merges_by_line() {
        let texts = |text: &str| row(json!({"descr": text}));
        let merged = merge(&texts("a\nb\nc\n"), &texts("A\nb\nc\n"), &texts("a\nb\nc\nd\n"));
        assert_eq!(merged.patch, texts("A\nb\nc\nd\n"));
        assert_eq!(merge(&texts("a\nb\n"), &texts("x\nb\n"), &texts("y\nb\n")).conflicts, ["descr"]);
    }

    #[test]
    fn metadata_merges_by_key() {
        let merged =
            merge(&row(json!({"m": {"x": 1}})), &row(json!({"m": {"x": 1, "mine": 1}})), &row(json!({"m": {"x": 2}})));
        assert_eq!(merged.patch, row(json!({"m": {"x": 2, "mine": 1}})));
        let torn = merge(&row(json!({"m": {"x": 1}})), &row(json!({"m": {"x": 3}})), &row(json!({"m": {"x": 2}})));
        assert_eq!(torn.conflicts, ["m"]);
    }

    proptest! {
        #[test]
        fn nothing_of_mine_is_dropped_in_silence(base in 0..3i32, mine in 0..3i32, theirs in 0..3i32) {
            let merged = merge(&row(json!({"a": base})), &row(json!({"a": mine})), &row(json!({"a": theirs})));
            let kept = merged.patch.get("a") == Some(&json!(mine));
            let told = merged.conflicts == ["a"];
            prop_assert!(kept || told || mine == theirs);
            // and nothing of theirs is overwritten that I had not seen
            prop_assert!(!kept || theirs == base);
        }
    }
}
