//! Three-way merge of rows: base, mine and theirs. Pure functions.

use crate::line_merge::merge_lines;
use pmo_domain::Row;
use serde_json::{Map, Value};

/// Returns the values of some columns of `row`; missing columns become null.
///
/// The values are inserted one by one: building the map with `collect` would add another sort
/// routine to the download.
pub fn pick_columns<'a>(columns: impl Iterator<Item = &'a String>, row: &Row) -> Row {
    let mut values = Row::new();
    for column in columns {
        values.insert(column.clone(), row.get(column).cloned().unwrap_or(Value::Null));
    }
    values
}

/// Result of a merge.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MergeResult {
    /// Changes to apply on top of their row.
    pub patch: Row,
    /// Columns that both sides changed in ways that cannot be merged.
    pub conflicts: Vec<String>,
}

/// Merges my `patch`, based on the values in `base`, with their row.
///
/// - A column that they did not change takes my value; equal changes need no patch.
/// - Arrays (lists of references) merge by element.
/// - Objects merge by key, and arrays in them by element.
/// - Multi-line texts merge by line.
/// - Any other column that both sides changed is a conflict.
pub fn merge(base: &Row, patch: &Row, theirs: &Row) -> MergeResult {
    let mut result = MergeResult::default();
    for (column, mine) in patch {
        let before = base.get(column).unwrap_or(&Value::Null);
        let current = theirs.get(column).unwrap_or(&Value::Null);
        if current == mine {
            continue;
        }
        if current == before {
            result.patch.insert(column.clone(), mine.clone());
            continue;
        }
        match (before, mine, current) {
            (Value::Array(before), Value::Array(mine), Value::Array(current)) => {
                result.patch.insert(column.clone(), Value::Array(merge_sets(before, mine, current)));
            }
            (Value::Object(before), Value::Object(mine), Value::Object(current)) => {
                match merge_maps(before, mine, current) {
                    Some(merged) => {
                        result.patch.insert(column.clone(), Value::Object(merged));
                    }
                    None => result.conflicts.push(column.clone()),
                }
            }
            (Value::String(before), Value::String(mine), Value::String(current))
                if [before, mine, current].iter().any(|text| text.contains('\n')) =>
            {
                match merge_lines(before, mine, current) {
                    Some(merged) => {
                        result.patch.insert(column.clone(), Value::String(merged));
                    }
                    None => result.conflicts.push(column.clone()),
                }
            }
            _ => result.conflicts.push(column.clone()),
        }
    }
    result
}

/// Returns their elements without those that I removed, followed by those that I added.
fn merge_sets(before: &[Value], mine: &[Value], current: &[Value]) -> Vec<Value> {
    let mut merged: Vec<Value> = current.iter().filter(|v| !before.contains(v) || mine.contains(v)).cloned().collect();
    for added in mine.iter().filter(|v| !before.contains(v)) {
        if !merged.contains(added) {
            merged.push(added.clone());
        }
    }
    merged
}

/// Merges objects by key, and arrays in them by element.
///
/// Returns `None` if both sides changed a value that is not an array on all sides.
fn merge_maps(
    before: &Map<String, Value>,
    mine: &Map<String, Value>,
    current: &Map<String, Value>,
) -> Option<Map<String, Value>> {
    let mut merged = current.clone();
    for key in mine.keys().chain(before.keys()) {
        let (b, m, c) = (before.get(key), mine.get(key), current.get(key));
        if m == b || m == c {
            continue;
        }
        // A missing value counts as an empty array.
        let array = |value: Option<&Value>| value.map_or(Some(Vec::new()), |v| v.as_array().cloned());
        if c != b {
            let (b, m, c) = (array(b)?, array(m)?, array(c)?);
            merged.insert(key.clone(), Value::Array(merge_sets(&b, &m, &c)));
            continue;
        }
        match m {
            Some(value) => merged.insert(key.clone(), value.clone()),
            None => merged.remove(key),
        };
    }
    Some(merged)
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
    fn arrays_in_objects_merge_by_element() {
        let base = row(json!({"reactions": {"+1": ["a"], "!": ["a"]}}));
        let mine = row(json!({"reactions": {"+1": ["a", "me"], "!": []}}));
        let theirs = row(json!({"reactions": {"+1": ["a", "b"], "!": ["a", "b"], "?": ["b"]}}));
        let merged = merge(&base, &mine, &theirs);
        assert_eq!(merged.conflicts, [] as [String; 0]);
        assert_eq!(merged.patch["reactions"], json!({"+1": ["a", "b", "me"], "!": ["b"], "?": ["b"]}));
        let other = row(json!({"reactions": {"+1": 3}}));
        assert_eq!(
            merge(&base, &mine, &other).conflicts,
            ["reactions"],
            "values that are not arrays on all sides conflict"
        );
    }

    #[test]
    fn fields_unchanged_on_the_server_take_the_local_value() {
        let merged = merge(&row(json!({"a": 1})), &row(json!({"a": 2})), &row(json!({"a": 1, "b": 9})));
        assert_eq!(merged, MergeResult { patch: row(json!({"a": 2})), conflicts: vec![] });
    }

    #[test]
    fn different_changes_of_a_field_conflict_and_equal_changes_do_not() {
        assert_eq!(merge(&row(json!({"a": 1})), &row(json!({"a": 2})), &row(json!({"a": 3}))).conflicts, ["a"]);
        assert_eq!(merge(&row(json!({"a": 1})), &row(json!({"a": 2})), &row(json!({"a": 2}))), MergeResult::default());
    }

    #[test]
    fn additions_and_removals_of_array_elements_merge() {
        let merged = merge(
            &row(json!({"who": ["a", "b"]})),
            &row(json!({"who": ["a", "c"]})),
            &row(json!({"who": ["a", "b", "d"]})),
        );
        assert_eq!(merged.patch, row(json!({"who": ["a", "d", "c"]})));
    }

    #[test]
    fn multi_line_texts_merge_by_line() {
        let texts = |text: &str| row(json!({"descr": text}));
        let merged = merge(&texts("a\nb\nc\n"), &texts("A\nb\nc\n"), &texts("a\nb\nc\nd\n"));
        assert_eq!(merged.patch, texts("A\nb\nc\nd\n"));
        assert_eq!(merge(&texts("a\nb\n"), &texts("x\nb\n"), &texts("y\nb\n")).conflicts, ["descr"]);
    }

    #[test]
    fn objects_merge_by_key() {
        let merged =
            merge(&row(json!({"m": {"x": 1}})), &row(json!({"m": {"x": 1, "mine": 1}})), &row(json!({"m": {"x": 2}})));
        assert_eq!(merged.patch, row(json!({"m": {"x": 2, "mine": 1}})));
        let conflicting =
            merge(&row(json!({"m": {"x": 1}})), &row(json!({"m": {"x": 3}})), &row(json!({"m": {"x": 2}})));
        assert_eq!(conflicting.conflicts, ["m"]);
    }

    proptest! {
        #[test]
        fn local_changes_are_merged_or_reported_as_conflicts(base in 0..3i32, mine in 0..3i32, theirs in 0..3i32) {
            let merged = merge(&row(json!({"a": base})), &row(json!({"a": mine})), &row(json!({"a": theirs})));
            let applied = merged.patch.get("a") == Some(&json!(mine));
            let conflict = merged.conflicts == ["a"];
            prop_assert!(applied || conflict || mine == theirs);
            // A change of theirs is never overwritten.
            prop_assert!(!applied || theirs == base);
        }
    }
}
