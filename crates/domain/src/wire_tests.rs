//! Names that other programs and stored data depend on: the REST API, the WebSocket and IndexedDB.

use crate::api_types::{AuthResponse, ListResponse, Problem};
use crate::catalog::{Catalog, ChildRelation, Datalabel, EntityType};
use crate::column::{Column, ColumnKind};
use crate::protocol::{self, ClientMessage, ServerMessage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const ID: &str = "00000000-0000-0000-0000-000000000001";

/// Asserts that `value` deserializes into a `T` and serializes to the same JSON.
fn assert_stable<T: Serialize + DeserializeOwned>(value: Value) {
    let parsed: T = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"));
    assert_eq!(serde_json::to_value(parsed).unwrap(), value);
}

#[test]
fn column_kinds_keep_their_wire_names() {
    for kind in [
        "id",
        "line",
        "text",
        "json",
        "flag",
        "timestamp",
        "local_timestamp",
        "date",
        "money",
        "percent",
        "hours",
        "days",
        "minutes",
        "integer",
        "number",
        "uuid",
        "texts",
    ] {
        assert_stable::<ColumnKind>(json!({"kind": kind}));
    }
    assert_stable::<ColumnKind>(json!({"kind": "label", "set": "task_stage"}));
    assert_stable::<ColumnKind>(json!({"kind": "reference", "entity": "person"}));
    assert_stable::<ColumnKind>(json!({"kind": "references", "entity": "person"}));
}

#[test]
fn catalog_keeps_its_wire_names() {
    let child =
        json!({"code": "task", "owned": true, "column": "project_id", "code_column": "parent_code", "create_level": 4});
    assert_stable::<ChildRelation>(child.clone());
    let column = json!({
        "name": "stage", "kind": "label", "set": "task_stage", "sql_type": "text", "label": "Stage", "required": true,
        "not_null": true, "read_only": false, "hidden": true, "contributor_column": "self", "must_see_parent": true,
    });
    assert_stable::<Column>(column.clone());
    let entity = json!({
        "code": "task", "name": "Task", "ui_label": "Tasks", "ui_icon": "check", "root_flag": true, "display_order": 3,
        "children": [child], "columns": [column], "config_datatable": {"columns": []}, "may_create": false,
    });
    assert_stable::<EntityType>(entity.clone());
    assert_stable::<Catalog>(json!({"types": {"task": entity}}));
    assert_stable::<Datalabel>(json!({"name": "task_stage", "options": [{
        "id": 1, "name": "Open", "descr": null, "color_code": "blue", "display_order": 1, "parent_ids": [2],
        "terminal_flag": false, "active_flag": true,
    }]}));
}

#[test]
fn responses_keep_their_wire_names() {
    assert_stable::<ListResponse>(json!({
        "data": [{"id": ID}], "fields": ["id"], "metadata": {}, "ref_data_entityInstance": {"task": {ID: "A"}}, "total": 3,
        "total_is_exact": true, "limit": 20, "offset": 0, "next_cursor": "c",
    }));
    assert_stable::<AuthResponse>(json!({
        "token": "t", "expires_in": 900,
        "user": {"id": ID, "personId": ID, "name": "Ann", "email": "a@b.c", "entityCode": "employee"},
    }));
    assert_stable::<Problem>(json!({
        "type": "t", "title": "T", "status": 412, "detail": "d", "errors": [{"field": "f", "message": "m"}],
        "current": {"version": 2},
    }));
}

#[test]
fn client_messages_keep_their_wire_names() {
    let parent = json!({"entityCode": "project", "entityId": ID, "recursive": true});
    for message in [
        json!({"type": "AUTH", "payload": {"token": "t"}}),
        json!({"type": "SUBSCRIBE", "payload": {"entityCode": "task", "entityIds": [ID], "parent": parent, "since": "1.2"}}),
        json!({"type": "UNSUBSCRIBE", "payload": {"entityCode": "task", "entityIds": [ID], "parent": parent}}),
        json!({"type": "UNSUBSCRIBE_ALL"}),
        json!({"type": "PING"}),
        json!({"type": "TOKEN_REFRESH", "payload": {"token": "t"}}),
        json!({"type": "VIEWING", "payload": {"entities": [{"entityCode": "task", "entityId": ID}]}}),
        json!({"type": "RESUME", "payload": {"epoch": "1", "cursor": "1.2"}}),
    ] {
        assert_stable::<ClientMessage>(message);
    }
}

#[test]
fn client_messages_of_protocol_version_1_are_accepted() {
    let viewed = json!([{"entityCode": "task", "entityId": ID}]);
    let parent = |name: &str| json!({"entityCode": "project", "entityId": ID, name: true});
    for (old, new) in [
        (
            json!({"type": "LOOKING", "payload": {"things": viewed}}),
            json!({"type": "VIEWING", "payload": {"entities": viewed}}),
        ),
        (
            json!({"type": "SUBSCRIBE", "payload": {"entityCode": "task", "parent": parent("deep")}}),
            json!({"type": "SUBSCRIBE", "payload": {"entityCode": "task", "parent": parent("recursive")}}),
        ),
        (
            json!({"type": "UNSUBSCRIBE", "payload": {"entityCode": "task", "parent": parent("deep")}}),
            json!({"type": "UNSUBSCRIBE", "payload": {"entityCode": "task", "parent": parent("recursive")}}),
        ),
    ] {
        let parsed = ClientMessage::parse(&old.to_string()).unwrap();
        assert_eq!(ClientMessage::parse(&new.to_string()).as_ref(), Ok(&parsed));
        assert_eq!(serde_json::to_value(parsed).unwrap(), new, "clients send the new names");
    }
}

#[test]
fn server_messages_keep_their_wire_names() {
    let change = |action: &str| json!({"entityId": ID, "action": action, "version": 2});
    let changes: Vec<Value> = ["CREATE", "UPDATE", "DELETE", "REVOKE"].map(change).to_vec();
    for message in [
        json!({"type": "HELLO", "payload": {"protocol": 2, "epoch": "1", "cursor": "1.2", "heartbeatSeconds": 30}}),
        json!({"type": "INVALIDATE", "payload": {"entityCode": "task", "changes": changes, "timestamp": "t", "cursor": "1.2"}}),
        json!({"type": "SUBSCRIBED", "payload": {"count": 1, "entityCode": "task", "refused": 0}}),
        json!({"type": "RESUMED", "payload": {"recovered": true, "cursor": "1.2"}}),
        json!({"type": "ACCESS", "payload": {"accessEpoch": "3"}}),
        json!({"type": "PRESENCE", "payload": {"entityCode": "task", "entityId": ID, "people": [{"personId": ID, "name": "Ann"}]}}),
        json!({"type": "PONG", "payload": {"cursor": "1.2"}}),
        json!({"type": "TOKEN_EXPIRING_SOON", "payload": {"expiresIn": 300}}),
        json!({"type": "ERROR", "payload": {"message": "m", "code": "rate"}}),
    ] {
        let parsed = ServerMessage::parse(&message.to_string());
        assert_eq!(parsed.map(|m| serde_json::to_value(m).unwrap()), Some(message.clone()));
        assert_stable::<ServerMessage>(message);
    }
    assert_eq!(protocol::PROTOCOL_VERSION, 2);
}
