//! Writes: versions, idempotency keys, validation, deletion and restore.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn update_with_an_outdated_version_is_rejected_with_the_current_row(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let id = editor.first_id("task").await;
    let path = format!("/task/{id}");
    let unchanged = editor.get(&path).await;
    let etag = unchanged.headers[header::ETAG].to_str().unwrap().to_owned();
    assert_eq!(editor.send("GET", &path, None, &[("if-none-match", &etag)]).await.status, StatusCode::NOT_MODIFIED);
    assert!(unchanged.headers.contains_key("feed-cursor"));
    let updated = editor.send("PATCH", &path, Some(json!({"name": "one"})), &[("if-match", &etag)]).await;
    assert_eq!((updated.status, updated.body["version"].as_i64()), (StatusCode::OK, Some(2)));
    let outdated = editor.send("PATCH", &path, Some(json!({"name": "two"})), &[("if-match", "\"1\"")]).await;
    assert_eq!(
        (outdated.status, outdated.body["current"]["name"].as_str()),
        (StatusCode::PRECONDITION_FAILED, Some("one"))
    );
    assert_eq!(
        editor.send("DELETE", &path, None, &[("if-match", "\"1\"")]).await.status,
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(
        editor.send("PATCH", &path, Some(json!({})), &[("if-match", "soon")]).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn repeated_request_with_the_same_key_returns_the_stored_response(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let create = |name: &'static str| {
        let editor = &editor;
        async move { editor.send("POST", "/project", Some(json!({"name": name})), &[("idempotency-key", "k1")]).await }
    };
    let (first, repeated) = (create("a").await, create("a").await);
    assert_eq!((first.status, repeated.status), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!(first.body, repeated.body);
    let rows: i64 =
        sqlx::query_scalar("select count(*) from app.project where name = 'a'").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 1);
    assert_eq!(create("b").await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn creator_becomes_owner_and_may_choose_the_id(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let id = uuid::Uuid::now_v7();
    let created = editor.post("/project", json!({"id": id, "name": " Mine ", "budget_allocated_amt": "1250.50"})).await;
    assert_eq!(
        (created.status, &created.body["id"], &created.body["name"], &created.body["permission"]),
        (StatusCode::CREATED, &json!(id), &json!("Mine"), &json!(7))
    );
    assert_eq!(created.body["budget_allocated_amt"], "1250.5000", "an amount is a decimal string");
    assert_eq!(editor.post("/project", json!({"id": id, "name": "Again"})).await.status, StatusCode::CONFLICT);
    assert_eq!(editor.post(&format!("/project/{id}/task"), json!({"name": "t"})).await.body["project_id"], json!(id));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn invalid_input_returns_4xx_with_the_field_and_writes_nothing(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let task = editor.first_id("task").await;
    let path = format!("/task/{task}");
    for (body, field) in [
        (json!({"name": ""}), "name"),
        (json!({"name": "a\u{0}b"}), "name"),
        (json!({"name": "x".repeat(501)}), "name"),
        (json!({"nope": 1}), "nope"),
        (json!({"name\"; drop table app.task; --": 1}), "name\"; drop table app.task; --"),
        (json!({"version": 99}), "version"),
        (json!({"active_flag": false}), "active_flag"),
        (json!({"due_date": "2026-02-30"}), "due_date"),
        (json!({"completion_pct": 101}), "completion_pct"),
        (json!({"estimated_hours": 123_456_789}), "estimated_hours"),
        (json!({"dl__task_stage": "Nowhere"}), "dl__task_stage"),
        (json!({"sprint_id": uuid::Uuid::new_v4()}), "sprint_id"),
        (json!({"assignee__employee_ids": [uuid::Uuid::new_v4()]}), "assignee__employee_ids"),
        (json!({"project_id": uuid::Uuid::new_v4()}), "project_id"),
        (json!({"parent__task_id": task}), "parent__task_id"),
        (json!({"dl__task_stage": null}), "dl__task_stage"),
    ] {
        let response = editor.patch(&path, body.clone()).await;
        assert!(response.status.is_client_error(), "{body}: {}", response.status);
        assert_eq!(response.body["errors"][0]["field"], field, "{body}: {}", response.body);
    }
    assert_eq!(editor.get(&path).await.body["version"], 1);
    for query in [
        "limit=-1",
        "limit=99999",
        "nope=1",
        "sort=nope",
        "cursor=zz",
        "ids=1",
        "due_date[gte]=soon",
        "name[like]=x",
        "fields=nope",
        "limit=1&offset=1&cursor=aa",
    ] {
        let response = editor.get(&format!("/task?{query}")).await;
        assert_eq!(response.status, StatusCode::BAD_REQUEST, "{query}: {}", response.body);
    }
    for (content_type, body, status) in [
        ("text/plain", "{}", 415),
        ("application/json", "{", 400),
        ("application/json", "[]", 400),
        ("application/json", "\"\\ud800\"", 400),
    ] {
        let request = Request::post("/api/v1/project")
            .header("authorization", format!("Bearer {}", editor.token))
            .header("content-type", content_type)
            .body(Body::from(body))
            .unwrap();
        assert_eq!(send_request(&router, request).await.status, status, "{content_type} {body}");
    }
    let oversized = Request::post("/api/v1/project")
        .header("authorization", format!("Bearer {}", editor.token))
        .header("content-type", "application/json")
        .body(Body::from(vec![b' '; 10 << 20]))
        .unwrap();
    assert_eq!(send_request(&router, oversized).await.status, 413);
    assert_eq!(editor.get("/no_such_type").await.status, 404);
    assert_eq!(editor.get("/task/not-an-id").await.status, 404);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn delete_hides_and_restore_returns_an_entity(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, editor) = (ApiClient::sign_in(&router, "admin").await, ApiClient::sign_in(&router, "editor").await);
    let project = editor.first_id("project").await;
    let task_count = editor.get(&format!("/project/{project}/task")).await.body["total"].as_i64().unwrap();
    assert!(task_count > 0);
    assert_eq!(editor.send("DELETE", &format!("/project/{project}"), None, &[]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin.get(&format!("/project/{project}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(admin.get(&format!("/task?project_id={project}")).await.body["total"], 0);
    assert_eq!(admin.get("/project?include_deleted=true&active_flag=false").await.body["total"], 1);
    assert_eq!(editor.send("DELETE", &format!("/project/{project}"), None, &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(editor.send("POST", &format!("/project/{project}/restore"), None, &[]).await.status, StatusCode::OK);
    assert_eq!(editor.get(&format!("/project/{project}/task")).await.body["total"], task_count);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn reserved_wildcard_id_is_rejected(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let count_grants = || async {
        sqlx::query_scalar::<_, i64>("select count(*) from app.entity_rbac").fetch_one(&pool).await.unwrap()
    };
    let grants_before = count_grants().await;
    for id in [pmo_domain::EVERY_INSTANCE.to_string(), uuid::Uuid::nil().to_string()] {
        let response = editor.post("/project", json!({"id": id, "name": "mine"})).await;
        assert_eq!(
            (response.status, &response.body["errors"][0]["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("id"))
        );
    }
    // The id of an entity of another type is rejected, too.
    let project = editor.first_id("project").await;
    let response = editor.post("/task", json!({"id": project, "project_id": project, "name": "mine"})).await;
    assert_eq!(response.status, StatusCode::CONFLICT, "{}", response.body);
    assert_eq!(count_grants().await, grants_before);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn existing_reference_to_a_deleted_entity_does_not_block_an_edit(pool: PgPool) {
    let router = build_router(&pool).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let employees = admin.get("/employee?limit=3&sort=code").await.body["data"].clone();
    let (deleted, active) = (employees[0]["id"].clone(), employees[1]["id"].clone());
    let task = admin.first_id("task").await;
    assert_eq!(
        admin.patch(&format!("/task/{task}"), json!({"assignee__employee_ids": [deleted]})).await.status,
        StatusCode::OK
    );
    let path = format!("/employee/{}", deleted.as_str().unwrap());
    assert_eq!(admin.send("DELETE", &path, None, &[]).await.status, StatusCode::NO_CONTENT);
    let response = admin.patch(&format!("/task/{task}"), json!({"assignee__employee_ids": [deleted, active]})).await;
    assert_eq!(response.status, StatusCode::OK, "{}", response.body);
    let other_task = admin.get("/task?limit=2&sort=code").await.body["data"][1]["id"].as_str().unwrap().to_owned();
    let response = admin.patch(&format!("/task/{other_task}"), json!({"assignee__employee_ids": [deleted]})).await;
    assert_eq!(response.status, StatusCode::UNPROCESSABLE_ENTITY, "a new reference to a deleted employee is rejected");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn rows_are_not_cached_and_missing_assets_return_404(pool: PgPool) {
    let directory = std::env::temp_dir().join(format!("pmo-dist-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&directory).unwrap();
    let manifest = json!({"id": "b", "script": "/a.js", "wasm": "/a.wasm", "styles": [], "start": "", "start_hash": "sha256-x",
        "theme": "", "theme_hash": "sha256-y", "font": "/f.woff2"});
    std::fs::write(directory.join("build.json"), manifest.to_string()).unwrap();
    std::fs::write(directory.join("app-0123456789abcdef.js"), "1").unwrap();
    let router = build_router_with(&pool, &["--web-dist", directory.to_str().unwrap()]).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let project = editor.first_id("project").await;
    for path in [format!("/project/{project}"), "/project".into(), format!("/project/{project}/access")] {
        let response = editor.get(&path).await;
        assert_eq!(response.headers[header::CACHE_CONTROL], "private, no-cache", "{path}");
    }
    let get_request = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let script = send_request(&router, get_request("/app-0123456789abcdef.js")).await;
    assert_eq!(
        (script.status, script.headers[header::CACHE_CONTROL].to_str().unwrap()),
        (StatusCode::OK, "public, max-age=31536000, immutable")
    );
    assert_eq!(send_request(&router, get_request("/app-fedcba9876543210.js")).await.status, StatusCode::NOT_FOUND);
    let page = send_request(&router, get_request(&format!("/project/{project}"))).await;
    assert_eq!((page.status, page.headers[header::CACHE_CONTROL].to_str().unwrap()), (StatusCode::OK, "no-cache"));
    std::fs::remove_dir_all(&directory).unwrap();
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn option_changes_only_along_allowed_transitions(pool: PgPool) {
    sqlx::raw_sql("update app.datalabel set parent_ids = array[id - 1] where name = 'change_status' and id > 1")
        .execute(&pool)
        .await
        .unwrap();
    let router = build_router(&pool).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let (project, _) = create_plan(&admin).await;
    let change_request =
        text_of(&admin.post("/change_request", json!({"name": "c", "project_id": project})).await.body["id"]);
    let path = format!("/change_request/{change_request}");
    let response = admin.patch(&path, json!({"dl__change_status": "Approved"})).await;
    assert_eq!((response.status.as_u16(), &response.body["errors"][0]["field"]), (422, &json!("dl__change_status")));
    assert_eq!(admin.patch(&path, json!({"dl__change_status": "Submitted"})).await.status, 200);
    assert_eq!(admin.patch(&path, json!({"dl__change_status": "Approved"})).await.status, 200);
    assert_eq!(admin.patch(&path, json!({"dl__change_status": "Nonsense"})).await.status, 422);
}
