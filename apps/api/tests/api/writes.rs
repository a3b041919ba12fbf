//! What a write must obey.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_write_names_the_version_it_was_made_on(pool: PgPool) {
    let router = router(&pool).await;
    let editor = Api::of(&router, "editor").await;
    let id = editor.first("task").await;
    let path = format!("/task/{id}");
    let before = editor.get(&path).await;
    let tag = before.headers[header::ETAG].to_str().unwrap().to_owned();
    assert_eq!(editor.send("GET", &path, None, &[("if-none-match", &tag)]).await.status, StatusCode::NOT_MODIFIED);
    assert!(before.headers.contains_key("feed-cursor"));
    let first = editor.send("PATCH", &path, Some(json!({"name": "one"})), &[("if-match", &tag)]).await;
    assert_eq!((first.status, first.body["version"].as_i64()), (StatusCode::OK, Some(2)));
    let late = editor.send("PATCH", &path, Some(json!({"name": "two"})), &[("if-match", "\"1\"")]).await;
    assert_eq!((late.status, late.body["current"]["name"].as_str()), (StatusCode::PRECONDITION_FAILED, Some("one")));
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
async fn a_repeat_with_the_same_key_gets_the_first_answer_and_is_done_once(pool: PgPool) {
    let router = router(&pool).await;
    let editor = Api::of(&router, "editor").await;
    let create = |name: &'static str| {
        let editor = &editor;
        async move { editor.send("POST", "/project", Some(json!({"name": name})), &[("idempotency-key", "k1")]).await }
    };
    let (one, two) = (create("a").await, create("a").await);
    assert_eq!((one.status, two.status), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!(one.body, two.body);
    let made: i64 =
        sqlx::query_scalar("select count(*) from app.project where name = 'a'").fetch_one(&pool).await.unwrap();
    assert_eq!(made, 1);
    assert_eq!(create("b").await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_creator_owns_what_they_made_and_the_client_may_mint_the_id(pool: PgPool) {
    let router = router(&pool).await;
    let editor = Api::of(&router, "editor").await;
    let id = uuid::Uuid::now_v7();
    let made = editor.post("/project", json!({"id": id, "name": " Mine ", "budget_allocated_amt": "1250.50"})).await;
    assert_eq!(
        (made.status, &made.body["id"], &made.body["name"], &made.body["permission"]),
        (StatusCode::CREATED, &json!(id), &json!("Mine"), &json!(7))
    );
    assert_eq!(made.body["budget_allocated_amt"], "1250.5000", "money is a decimal text");
    assert_eq!(editor.post("/project", json!({"id": id, "name": "Again"})).await.status, StatusCode::CONFLICT);
    assert_eq!(editor.post(&format!("/project/{id}/task"), json!({"name": "t"})).await.body["project_id"], json!(id));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn bad_input_is_a_4xx_that_names_the_field_and_writes_nothing(pool: PgPool) {
    let router = router(&pool).await;
    let editor = Api::of(&router, "editor").await;
    let task = editor.first("task").await;
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
        (json!({"dl__task_stage": "Nowhere"}), "dl__task_stage"),
        (json!({"sprint_id": uuid::Uuid::new_v4()}), "sprint_id"),
        (json!({"assignee__employee_ids": [uuid::Uuid::new_v4()]}), "assignee__employee_ids"),
        (json!({"project_id": uuid::Uuid::new_v4()}), "project_id"),
        (json!({"parent__task_id": task}), "parent__task_id"),
        (json!({"dl__task_stage": null}), "dl__task_stage"),
    ] {
        let answer = editor.patch(&path, body.clone()).await;
        assert!(answer.status.is_client_error(), "{body}: {}", answer.status);
        assert_eq!(answer.body["errors"][0]["field"], field, "{body}: {}", answer.body);
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
        let answer = editor.get(&format!("/task?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {}", answer.body);
    }
    for (kind, body, status) in [
        ("text/plain", "{}", 415),
        ("application/json", "{", 400),
        ("application/json", "[]", 400),
        ("application/json", "\"\\ud800\"", 400),
    ] {
        let request = Request::post("/api/v1/project")
            .header("authorization", format!("Bearer {}", editor.token))
            .header("content-type", kind)
            .body(Body::from(body))
            .unwrap();
        assert_eq!(ask(&router, request).await.status, status, "{kind} {body}");
    }
    let huge = Request::post("/api/v1/project")
        .header("authorization", format!("Bearer {}", editor.token))
        .header("content-type", "application/json")
        .body(Body::from(vec![b' '; 10 << 20]))
        .unwrap();
    assert_eq!(ask(&router, huge).await.status, 413);
    assert_eq!(editor.get("/no_such_type").await.status, 404);
    assert_eq!(editor.get("/task/not-an-id").await.status, 404);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn deleting_hides_and_restoring_brings_back(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, editor) = (Api::of(&router, "admin").await, Api::of(&router, "editor").await);
    let project = editor.first("project").await;
    let tasks = editor.get(&format!("/project/{project}/task")).await.body["total"].as_i64().unwrap();
    assert!(tasks > 0);
    assert_eq!(editor.send("DELETE", &format!("/project/{project}"), None, &[]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin.get(&format!("/project/{project}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(admin.get(&format!("/task?project_id={project}")).await.body["total"], 0);
    assert_eq!(admin.get("/project?include_deleted=true&active_flag=false").await.body["total"], 1);
    assert_eq!(editor.send("DELETE", &format!("/project/{project}"), None, &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(editor.send("POST", &format!("/project/{project}/restore"), None, &[]).await.status, StatusCode::OK);
    assert_eq!(editor.get(&format!("/project/{project}/task")).await.body["total"], tasks);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn the_id_that_stands_for_every_instance_is_nobodys(pool: PgPool) {
    let router = router(&pool).await;
    let editor = Api::of(&router, "editor").await;
    let grants = || async {
        sqlx::query_scalar::<_, i64>("select count(*) from app.entity_rbac").fetch_one(&pool).await.unwrap()
    };
    let before = grants().await;
    for id in [pmo_domain::EVERY_INSTANCE.to_string(), uuid::Uuid::nil().to_string()] {
        let answer = editor.post("/project", json!({"id": id, "name": "mine"})).await;
        assert_eq!(
            (answer.status, &answer.body["errors"][0]["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("id"))
        );
    }
    // Nor is the id of another thing, of whatever type.
    let project = editor.first("project").await;
    let answer = editor.post("/task", json!({"id": project, "project_id": project, "name": "mine"})).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{}", answer.body);
    assert_eq!(grants().await, before);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn what_a_row_refers_to_already_does_not_stand_in_the_way_of_an_edit(pool: PgPool) {
    let router = router(&pool).await;
    let admin = Api::of(&router, "admin").await;
    let people = admin.get("/employee?limit=3&sort=code").await.body["data"].clone();
    let (gone, stays) = (people[0]["id"].clone(), people[1]["id"].clone());
    let task = admin.first("task").await;
    assert_eq!(
        admin.patch(&format!("/task/{task}"), json!({"assignee__employee_ids": [gone]})).await.status,
        StatusCode::OK
    );
    let path = format!("/employee/{}", gone.as_str().unwrap());
    assert_eq!(admin.send("DELETE", &path, None, &[]).await.status, StatusCode::NO_CONTENT);
    let answer = admin.patch(&format!("/task/{task}"), json!({"assignee__employee_ids": [gone, stays]})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let other = admin.get("/task?limit=2&sort=code").await.body["data"][1]["id"].as_str().unwrap().to_owned();
    let answer = admin.patch(&format!("/task/{other}"), json!({"assignee__employee_ids": [gone]})).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "a new mention of somebody who is gone");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn nobody_may_keep_a_row_and_files_that_are_not_there_are_no_pages(pool: PgPool) {
    let folder = std::env::temp_dir().join(format!("pmo-dist-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&folder).unwrap();
    let build = json!({"id": "b", "script": "/a.js", "wasm": "/a.wasm", "styles": [], "start": "", "start_hash": "sha256-x",
        "theme": "", "theme_hash": "sha256-y", "font": "/f.woff2"});
    std::fs::write(folder.join("build.json"), build.to_string()).unwrap();
    std::fs::write(folder.join("app-0123456789abcdef.js"), "1").unwrap();
    let router = router_with(&pool, &["--web-dist", folder.to_str().unwrap()]).await;
    let editor = Api::of(&router, "editor").await;
    let project = editor.first("project").await;
    for path in [format!("/project/{project}"), "/project".into(), format!("/project/{project}/access")] {
        let answer = editor.get(&path).await;
        assert_eq!(answer.headers[header::CACHE_CONTROL], "private, no-cache", "{path}");
    }
    let file = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let kept = ask(&router, file("/app-0123456789abcdef.js")).await;
    assert_eq!(
        (kept.status, kept.headers[header::CACHE_CONTROL].to_str().unwrap()),
        (StatusCode::OK, "public, max-age=31536000, immutable")
    );
    assert_eq!(ask(&router, file("/app-fedcba9876543210.js")).await.status, StatusCode::NOT_FOUND);
    let page = ask(&router, file(&format!("/project/{project}"))).await;
    assert_eq!((page.status, page.headers[header::CACHE_CONTROL].to_str().unwrap()), (StatusCode::OK, "no-cache"));
    std::fs::remove_dir_all(&folder).unwrap();
}
