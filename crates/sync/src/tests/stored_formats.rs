//! Stability of the formats that are stored on devices or sent between tabs.
//!
//! Outbox entries and drafts that earlier builds wrote must stay readable.

use super::*;
use crate::draft::Draft;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

const OUTBOX: &str = include_str!("fixtures/outbox.json");
const DRAFTS: &str = include_str!("fixtures/drafts.json");

/// Keys of points in time.
const TIME_KEYS: [&str; 3] = ["updatedAt", "not_before", "synced_at"];

/// Asserts that `value` is read as a `T` and written as the same JSON, with times as integers.
///
/// Earlier builds wrote times as numbers with a fraction, such as `123.0`, and read both forms.
fn assert_stable<T: Serialize + DeserializeOwned>(value: Value) {
    let read: T = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"));
    assert_eq!(serde_json::to_value(read).unwrap(), with_integer_times(value));
}

/// Replaces whole times with a fraction by integers: `123.0` by `123`.
fn with_integer_times(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let convert = |(key, value): (String, Value)| {
        let time = value.as_f64().filter(|_| TIME_KEYS.contains(&key.as_str()));
        (key, time.map_or(value, |time| (time as i64).into()))
    };
    fields.into_iter().map(convert).collect()
}

fn fixture(text: &str) -> BTreeMap<String, Value> {
    serde_json::from_str(text).unwrap()
}

#[test]
fn outbox_and_drafts_of_earlier_builds_round_trip() {
    let (outbox, drafts) = (fixture(OUTBOX), fixture(DRAFTS));
    assert_eq!((outbox.len(), drafts.len()), (7, 1));
    outbox.into_values().for_each(assert_stable::<OutboxEntry>);
    drafts.into_values().for_each(assert_stable::<Draft>);
}

#[test]
fn outbox_and_drafts_of_earlier_builds_are_sent() {
    let store = MemoryStore::default();
    let writes: Vec<Write> = [(Namespace::Outbox, OUTBOX), (Namespace::Drafts, DRAFTS)]
        .into_iter()
        .flat_map(|(namespace, text)| {
            fixture(text)
                .into_iter()
                .map(move |(key, value)| Write::Put(namespace, key, value.to_string().into_bytes()))
        })
        .collect();
    store.write_now(&writes);
    let mut tab = Tab::with_store(store);
    // One conflict and one rejected write wait for a decision of the user; the others are sent.
    assert_eq!((tab.engine.status().needs_attention, tab.engine.outbox().len()), (2, 7));
    let draft = tab.engine.draft(&task(3)).unwrap();
    assert_eq!(draft.current_data, patch(json!({"name": "typed", "points": 5, "descr": "long"})));
    assert_eq!(draft.undo_stack.len(), 3);

    let mut sent = Vec::new();
    while let Some(index) = tab.requests.iter().position(|(_, request)| request.method != Method::Get) {
        let (id, request) = tab.requests.remove(index);
        sent.push((request.method, request.path.clone(), request.idempotency_key.clone(), request.body.clone()));
        let n = if request.path.contains("000003") {
            3
        } else if request.path.contains("000008") {
            8
        } else {
            9
        };
        let body = if request.method == Method::Delete { Value::Null } else { Value::Object(row(n, 2, "sent")) };
        tab.event(Event::ResponseReceived(id, Ok(ok_response(body))));
    }
    let key = |n: u128| Some(Uuid::from_u128(n + 500).to_string());
    let find = |n: u128| sent.iter().find(|(_, _, k, _)| *k == key(n)).unwrap_or_else(|| panic!("{n}: {sent:?}"));
    assert_eq!(find(3).0, Method::Post);
    assert_eq!((find(4).0, find(4).3.clone()), (Method::Patch, Some(json!({"name": "offline"}))));
    assert_eq!((find(5).0, find(5).1.as_str()), (Method::Post, "/entity_instance_link"));
    assert_eq!((find(6).0, find(6).3.clone()), (Method::Patch, Some(json!({"name": "eight"}))));
    assert_eq!(find(7).0, Method::Delete);
    assert_eq!(tab.engine.outbox().len(), 2, "writes that need a decision stay in the outbox");
}

#[test]
fn operations_and_states_keep_their_stored_names() {
    let parent = json!({"code": "project", "id": project(1).id});
    for operation in [
        json!({"kind": "create", "values": {"name": "a"}}),
        json!({"kind": "update", "patch": {"name": "a"}, "base": {"name": "b"}, "base_version": 3}),
        json!({"kind": "delete", "base_version": 3}),
        json!({"kind": "link", "parent": parent, "below": false}),
    ] {
        assert_stable::<Operation>(operation);
    }
    let problem = json!({"type": "t", "title": "T", "status": 422});
    for state in [
        json!({"state": "waiting"}),
        json!({"state": "conflict", "current": {"version": 2}, "fields": ["name"]}),
        json!({"state": "refused", "problem": problem}),
    ] {
        assert_stable::<EntryState>(state);
    }
}

#[test]
fn query_keys_keep_their_stored_names() {
    let list = json!({
        "code": "task",
        "below": {"parent": {"code": "project", "id": project(1).id}, "column": "project_id"},
        "filters": [{"column": "name", "operator": "is_null", "values": ["true"]}],
        "sort": [["name", true]],
        "search": "text",
        "paged": true,
        "deep": true,
    });
    assert_stable::<ListKey>(list.clone());
    for query in
        [json!({"List": list}), json!({"Row": {"code": "task", "id": task(1).id}}), json!({"Meta": "Datalabels"})]
    {
        assert_stable::<Query>(query);
    }
    for operator in ["eq", "ne", "lt", "lte", "gt", "gte", "in", "contains", "is_null"] {
        assert_stable::<pmo_domain::query::Operator>(json!(operator));
    }
}

#[test]
fn messages_between_tabs_keep_their_names() {
    let (tab, entry, seen) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
    let entity = json!({"code": "task", "id": task(1).id});
    let query = json!({"Row": entity});
    let key = json!({"code": "task", "below": null, "filters": [], "sort": [], "search": null, "paged": false});
    let update = json!({
        "term": 4,
        "rows": [{"code": "task", "permission": 3, "row": {"version": 1}}],
        "gone": [entity],
        "swept": true,
        "lists": [{"key": key, "ids": [tab], "complete": true, "synced_at": 1500}],
        "lists_gone": [key],
        "metas": [["Codes", {}]],
        "names": {"task": {(tab.to_string()): "a"}},
        "settled": [[query, true]],
        "kept": [[entity, 3, true]],
        "present": {"/task/1": {(tab.to_string()): "Ann"}},
        "feed": ["1", "1.5"],
        "status": [true, false],
    });
    for message in [
        json!({"leading": {"term": 2, "new": true}}),
        json!({"watching": {"tab": tab, "watched": [{"query": query, "digest": 7}], "looking": "/task/1"}}),
        json!({"refetch": {"query": query}}),
        json!({"more": {"key": key}}),
        json!({"decide": {"entry": entry, "seen": seen, "choice": "Theirs"}}),
        json!({"decide": {"entry": entry, "seen": seen, "choice": {"Mine": seen}}}),
        json!({"decide": {"entry": entry, "seen": seen, "choice": {"Each": [{"name": "a"}, seen]}}}),
        json!({"discard": {"entry": entry}}),
        json!({"reopen": {"entry": entry}}),
        json!({"keep": {"entity": entity, "on": true}}),
        json!({"bye": {"tab": tab}}),
        json!({"news": update}),
    ] {
        assert_stable::<TabMessage>(message);
    }
}

#[test]
fn namespaces_keep_their_names() {
    assert_eq!(Namespace::ALL.map(Namespace::name), ["entities", "entityLists", "metadata", "drafts", "outbox"]);
    assert_eq!(crate::store::LEADER_TERM_KEY, "term");
}
