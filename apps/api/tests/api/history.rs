//! History of an entity and recent activity.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn history_lists_changes_with_authors_and_restores_versions(pool: PgPool) {
    let router = build_router(&pool).await;
    let (editor, admin) = (ApiClient::sign_in(&router, "editor").await, ApiClient::sign_in(&router, "admin").await);
    let project = text_of(
        &editor.post("/project", json!({"name": "first", "budget_allocated_amt": "1234567890123.4567"})).await.body["id"],
    );
    let path = format!("/project/{project}");
    editor.patch(&path, json!({"name": "second", "budget_allocated_amt": "1.5"})).await;
    admin.patch(&path, json!({"dl__project_health": "Red", "descr": "why"})).await;
    let history = editor.get(&format!("{path}/history")).await.body;
    let versions = history["data"].as_array().unwrap();
    let summary: Vec<(i64, &str, &str)> = versions
        .iter()
        .map(|version| {
            (
                version["version"].as_i64().unwrap(),
                version["action"].as_str().unwrap(),
                version["person_name"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(summary, [(3, "changed", "Ada Admin"), (2, "changed", "Edda Editor"), (1, "created", "Edda Editor")]);
    assert_eq!(versions[1]["changed"]["name"], json!({"old": "first", "new": "second"}));
    let page = editor.get(&format!("{path}/history?limit=2")).await.body;
    let rest = editor.get(&format!("{path}/history?limit=2&cursor={}", text_of(&page["next_cursor"]))).await.body;
    assert_eq!((rest["data"][0]["version"].as_i64(), &rest["next_cursor"]), (Some(1), &Value::Null));
    let restored = editor.send("POST", &format!("{path}/history/1/restore"), None, &[("if-match", "\"3\"")]).await;
    assert_eq!(restored.status, 200, "{}", restored.body);
    assert_eq!(
        (&restored.body["name"], &restored.body["version"], &restored.body["descr"]),
        (&json!("first"), &json!(4), &Value::Null)
    );
    assert_eq!(restored.body["budget_allocated_amt"], "1234567890123.4567", "the amount is restored exactly");
    assert_eq!(editor.send("POST", &format!("{path}/history/3/restore"), None, &[]).await.body["name"], "second");
    assert_eq!(editor.send("POST", &format!("{path}/history/9/restore"), None, &[]).await.status, 404);
    editor.send("DELETE", &path, None, &[]).await;
    editor.send("POST", &format!("{path}/restore"), None, &[]).await;
    let history = editor.get(&format!("{path}/history?limit=2")).await.body;
    assert_eq!((&history["data"][0]["action"], &history["data"][1]["action"]), (&json!("restored"), &json!("deleted")));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn activity_lists_visible_changes_and_pages_are_complete(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, viewer, outsider) = (
        ApiClient::sign_in(&router, "admin").await,
        ApiClient::sign_in(&router, "viewer").await,
        ApiClient::sign_in(&router, "outsider").await,
    );
    let (project, tasks) = create_plan(&admin).await;
    let grant = json!({"person_id": viewer.get("/auth/me").await.body["personId"], "entity_code": "task", "entity_instance_id": tasks[1], "permission": 0});
    admin.post("/entity_rbac", grant).await;
    let newest = |body: Value| (text_of(&body["data"][0]["title"]), text_of(&body["data"][0]["entity_id"]));
    assert_eq!(newest(admin.get("/activity?limit=1").await.body), ("three".into(), tasks[2].clone()));
    assert_eq!(newest(viewer.get("/activity?limit=1").await.body), ("two".into(), tasks[1].clone()));
    let mut entity_ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = admin.get(&format!("/activity?limit=200{cursor}")).await.body;
        entity_ids.extend(page["data"].as_array().unwrap().iter().map(|entry| text_of(&entry["entity_id"])));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let logged = count_rows(&pool, "app.system_logging where action in (1, 3, 5, 6)").await;
    assert_eq!(i64::try_from(entity_ids.len()).unwrap(), logged, "no entry is skipped or repeated");
    let outsider_activity = outsider.get("/activity?limit=200").await.body.to_string();
    assert!(!outsider_activity.contains(&project) && !outsider_activity.contains(&tasks[1]));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn restoring_a_version_of_a_deleted_entity_does_not_reveal_it(pool: PgPool) {
    let router = build_router(&pool).await;
    let (editor, viewer) = (ApiClient::sign_in(&router, "editor").await, ApiClient::sign_in(&router, "viewer").await);
    let (_, tasks) = create_plan(&editor).await;
    let grant = json!({"person_id": viewer.get("/auth/me").await.body["personId"], "entity_code": "task", "entity_instance_id": tasks[0], "permission": 0});
    assert_eq!(editor.post("/entity_rbac", grant).await.status, StatusCode::CREATED);
    let path = format!("/task/{}/history/1/restore", tasks[0]);
    assert_eq!(viewer.send("POST", &path, None, &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(editor.send("DELETE", &format!("/task/{}", tasks[0]), None, &[]).await.status, StatusCode::NO_CONTENT);
    for client in [&viewer, &editor] {
        assert_eq!(client.send("POST", &path, None, &[]).await.status, StatusCode::NOT_FOUND);
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn repeated_restore_of_a_version_returns_the_stored_response(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let project = text_of(&editor.post("/project", json!({"name": "first"})).await.body["id"]);
    let path = format!("/project/{project}");
    editor.patch(&path, json!({"name": "second"})).await;
    let restore = async |version: i64| {
        let key = [("idempotency-key", "restore")];
        editor.send("POST", &format!("{path}/history/{version}/restore"), None, &key).await
    };
    let restored = restore(1).await;
    assert_eq!((restored.status.as_u16(), &restored.body["name"]), (200, &json!("first")), "{}", restored.body);
    // A later change of another column does not make it another request.
    editor.patch(&path, json!({"descr": "why"})).await;
    let repeated = restore(1).await;
    assert_eq!((repeated.status.as_u16(), &repeated.body), (200, &restored.body));
    assert_eq!(editor.get(&path).await.body["version"], 4);
    assert_eq!(restore(2).await.status, 422, "another request with the same key");
}
