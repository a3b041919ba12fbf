//! Batches of mutations and bulk updates.

use crate::harness::*;
use uuid::Uuid;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn batch_reports_each_result_and_atomic_batch_is_all_or_nothing(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let (project, tasks) = create_plan(&editor).await;
    let new_task = Uuid::now_v7();
    let mutations = json!([
        {"action": "create", "entity": "task", "id": new_task, "below": {"entity": "project", "id": project}, "values": {"name": "four"}},
        {"action": "update", "entity": "task", "id": new_task, "values": {"name": "four again"}, "version": 1},
        {"action": "update", "entity": "task", "id": tasks[0], "values": {"name": "late"}, "version": 7},
        {"action": "update", "entity": "task", "id": Uuid::new_v4(), "values": {"name": "unknown"}},
        {"action": "update", "entity": "task", "id": tasks[1], "values": {"completion_pct": "much"}},
        {"action": "delete", "entity": "task", "id": tasks[2]},
        {"action": "create", "entity": "nothing", "values": {}},
    ]);
    let logged_before = count_rows(&pool, "app.system_logging").await;
    let atomic = editor.post("/batch", json!({"atomic": true, "mutations": mutations})).await;
    assert_eq!(atomic.status, StatusCode::PRECONDITION_FAILED, "{}", atomic.body);
    assert_eq!(count_rows(&pool, "app.system_logging").await, logged_before, "a failed atomic batch writes nothing");
    let response = editor.post("/batch", json!({"mutations": mutations})).await;
    let statuses: Vec<u64> =
        response.body["results"].as_array().unwrap().iter().map(|r| r["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 200, 412, 404, 422, 204, 422]);
    assert_eq!(response.body["results"][2]["problem"]["current"]["name"], "one");
    assert_eq!(response.body["results"][4]["problem"]["errors"][0]["field"], "completion_pct");
    assert_eq!(editor.get(&format!("/task/{new_task}")).await.body["name"], "four again");
    let invalid =
        json!({"atomic": true, "mutations": [{"action": "create", "entity": "task", "values": {"name": ""}}]});
    let invalid = editor.post("/batch", invalid).await;
    assert_eq!((invalid.status.as_u16(), &invalid.body["errors"][0]["field"]), (422, &json!("mutations[0].name")));
    let too_many: Vec<Value> =
        (0..501).map(|_| json!({"action": "restore", "entity": "task", "id": tasks[0]})).collect();
    assert_eq!(editor.post("/batch", json!({"mutations": too_many})).await.status, 422);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn repeated_batch_is_applied_once(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let (project, _) = create_plan(&editor).await;
    let mutation = |name: &str| json!({"action": "create", "entity": "task", "values": {"name": name, "project_id": project}, "idempotency_key": "one-step"});
    let tasks_before = count_rows(&pool, "app.task").await;
    for _ in 0..2 {
        let response = editor.post("/batch", json!({"mutations": [mutation("with a key per mutation")]})).await;
        assert_eq!(response.body["results"][0]["status"], 201);
    }
    let changed_body = editor.post("/batch", json!({"mutations": [mutation("another body")]})).await;
    assert_eq!(changed_body.body["results"][0]["status"], 422);
    for _ in 0..2 {
        let body = json!({"mutations": [{"action": "create", "entity": "task", "values": {"name": "n", "project_id": project}}]});
        assert_eq!(editor.send("POST", "/batch", Some(body), &[("idempotency-key", "whole")]).await.status, 200);
    }
    assert_eq!(count_rows(&pool, "app.task").await, tasks_before + 2);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn bulk_update_previews_the_count_and_requires_it(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let (project, tasks) = create_plan(&editor).await;
    let filter = json!({"project_id": project, "name[ne]": "three"});
    let preview = editor.post("/task/bulk", json!({"filter": filter, "values": {}, "preview": true})).await;
    assert_eq!(preview.body, json!({"matching": 2, "editable": 2, "changed": 0}));
    let bulk_update =
        |expected: u64| json!({"filter": filter, "values": {"dl__task_stage": "Blocked"}, "expected": expected});
    let wrong_count = editor.post("/task/bulk", bulk_update(3)).await;
    assert_eq!((wrong_count.status.as_u16(), &wrong_count.body["errors"][0]["field"]), (422, &json!("expected")));
    assert_eq!(editor.post("/task/bulk", bulk_update(2)).await.body["changed"], 2);
    assert_eq!(editor.get(&format!("/task/{}", tasks[0])).await.body["dl__task_stage"], "Blocked");
    assert_eq!(editor.get(&format!("/task/{}", tasks[2])).await.body["dl__task_stage"], "To Do");
    assert_eq!(editor.post("/task/bulk", json!({"filter": {}, "values": {"name": "all"}})).await.status, 422);
    assert_eq!(
        editor.post("/task/bulk", json!({"filter": {"sort": "name"}, "values": {"name": "all"}})).await.status,
        400
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn repeated_batch_returns_only_rows_that_are_still_visible(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, viewer) = (ApiClient::sign_in(&router, "admin").await, ApiClient::sign_in(&router, "viewer").await);
    let (project, tasks) = create_plan(&admin).await;
    let person = viewer.get("/auth/me").await.body["personId"].clone();
    let grant = json!({"person_id": person, "entity_code": "project", "entity_instance_id": project, "permission": 3});
    let grant = text_of(&admin.post("/entity_rbac", grant).await.body["id"]);
    let own = Uuid::now_v7();
    let batch = json!({"mutations": [
        {"action": "update", "entity": "task", "id": tasks[0], "values": {"name": "seen"}},
        {"action": "update", "entity": "task", "id": tasks[1], "values": {"name": "late"}, "version": 7},
        {"action": "update", "entity": "task", "id": own, "values": {"name": "unknown"}},
    ]});
    let send = async || viewer.send("POST", "/batch", Some(batch.clone()), &[("idempotency-key", "batch")]).await.body;
    let first = send().await;
    assert_eq!((&first["results"][0]["status"], &first["results"][1]["status"]), (&json!(200), &json!(412)), "{first}");
    assert_eq!(send().await, first);
    assert_eq!(admin.send("DELETE", &format!("/entity_rbac/{grant}"), None, &[]).await.status, 204);
    let repeated = send().await;
    assert_eq!(repeated["results"][0], json!({"status": 200, "body": null}));
    assert_eq!(repeated["results"][1]["problem"]["current"], Value::Null);
    assert_eq!(repeated["results"][2], first["results"][2]);
}
