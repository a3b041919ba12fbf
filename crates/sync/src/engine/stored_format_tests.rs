//! Tests of the serialized names in stored list headers, reference data and pinned trees.

use super::persistence::{ListHead, PersistedMeta, STORAGE_FORMAT_VERSION};
use super::pinned_trees::{PIN_KEY_PREFIX, PinnedRoot};
use pmo_domain::UnixMillis;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

fn assert_stable<T: Serialize + DeserializeOwned>(value: Value) {
    let parsed: T = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"));
    assert_eq!(serde_json::to_value(parsed).unwrap(), value);
}

#[test]
fn cache_records_serialize_with_stable_names() {
    let key = json!({"code": "task", "below": null, "filters": [], "sort": [], "search": null, "paged": false});
    assert_stable::<ListHead>(json!({"key": key, "synced_at": 1500, "complete": false, "next": "c", "chunks": [1, 2]}));
    assert_stable::<PersistedMeta>(json!({"key": "Settings", "data": {"a": 1}, "synced_at": 2500}));
    // Earlier builds wrote times with a fraction and read both forms.
    let earlier: PersistedMeta =
        serde_json::from_value(json!({"key": "Settings", "data": {}, "synced_at": 2500.0})).unwrap();
    assert_eq!(earlier.synced_at, UnixMillis::new(2500));
    assert_eq!(STORAGE_FORMAT_VERSION, b"4");
}

#[test]
fn pinned_trees_serialize_with_stable_names() {
    let (root, child) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let links = json!([{"parent": {"code": "project", "id": root}, "child": "task", "ids": [child]}]);
    assert_stable::<PinnedRoot>(json!({"code": "project", "id": root, "ties": links}));
    assert_stable::<PinnedRoot>(json!({"code": "project", "id": root, "ties": null}));
    assert_eq!(PIN_KEY_PREFIX, "kept:");
}
