//! Access control: visibility, permission levels, grants and denies.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn users_see_only_entities_they_have_access_to(pool: PgPool) {
    let router = build_router(&pool).await;
    let project_count = |account: &'static str| {
        let router = router.clone();
        async move { ApiClient::sign_in(&router, account).await.get("/project").await.body["total"].as_i64().unwrap() }
    };
    let (admin, editor, viewer, outsider) = (
        project_count("admin").await,
        project_count("editor").await,
        project_count("viewer").await,
        project_count("outsider").await,
    );
    assert_eq!((admin, outsider), (6, 0));
    assert!(0 < viewer && viewer < admin && 0 < editor && editor < admin, "editor {editor}, viewer {viewer}");
    let id = ApiClient::sign_in(&router, "admin").await.first_id("project").await;
    let outsider = ApiClient::sign_in(&router, "outsider").await;
    for response in [
        outsider.get(&format!("/project/{id}")).await,
        outsider.patch(&format!("/project/{id}"), json!({"name": "x"})).await,
        outsider.get(&format!("/project/{id}/task")).await,
    ] {
        assert_eq!(response.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(outsider.get(&format!("/project?ids={id}")).await.body["data"], json!([]));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn operation_beyond_the_permission_on_a_visible_entity_returns_403(pool: PgPool) {
    let router = build_router(&pool).await;
    let viewer = ApiClient::sign_in(&router, "viewer").await;
    let id = viewer.first_id("project").await;
    assert_eq!(viewer.patch(&format!("/project/{id}"), json!({"name": "x"})).await.status, StatusCode::FORBIDDEN);
    assert_eq!(viewer.send("DELETE", &format!("/project/{id}"), None, &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(viewer.post("/project", json!({"name": "x"})).await.status, StatusCode::FORBIDDEN);
    assert_eq!(viewer.post(&format!("/project/{id}/task"), json!({"name": "x"})).await.status, StatusCode::FORBIDDEN);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn move_times_out_with_503_while_an_import_holds_the_hierarchy_lock(pool: PgPool) {
    let router = build_router(&pool).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let create_project =
        async |name: &str| admin.post("/project", json!({"name": name})).await.body["id"].as_str().unwrap().to_owned();
    let (from, to) = (create_project("from").await, create_project("to").await);
    let created = admin.post(&format!("/project/{from}/task"), json!({"name": "t"})).await;
    let task = format!("/task/{}", created.body["id"].as_str().unwrap());
    // An import holds the hierarchy lock in shared mode.
    let mut import = pool.begin().await.unwrap();
    sqlx::query("select app.lock_hierarchy(false)").execute(&mut *import).await.unwrap();
    let moved = admin.patch(&task, json!({"project_id": to})).await;
    assert_eq!(moved.status, StatusCode::SERVICE_UNAVAILABLE, "{}", moved.body);
    let other_project = admin.post("/project", json!({"name": "created during the import"})).await;
    assert_eq!(other_project.status, StatusCode::CREATED, "{}", other_project.body);
    import.rollback().await.unwrap();
    assert_eq!(admin.patch(&task, json!({"project_id": to})).await.status, StatusCode::OK);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn move_requires_more_than_the_edit_permission(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, editor) = (ApiClient::sign_in(&router, "admin").await, ApiClient::sign_in(&router, "editor").await);
    let own_project = editor.post("/project", json!({"name": "mine"})).await.body["id"].as_str().unwrap().to_owned();
    let person = editor.get("/auth/me").await.body["personId"].as_str().unwrap().to_owned();
    let foreign_project =
        admin.post("/project", json!({"name": "theirs"})).await.body["id"].as_str().unwrap().to_owned();
    let task = admin.post(&format!("/project/{foreign_project}/task"), json!({"name": "t"})).await.body["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let grant = admin
        .post(
            "/entity_rbac",
            json!({"person_id": person, "entity_code": "project", "entity_instance_id": foreign_project, "permission": 3}),
        )
        .await;
    assert_eq!(grant.status, StatusCode::CREATED, "{}", grant.body);
    assert_eq!(editor.patch(&format!("/task/{task}"), json!({"name": "edited"})).await.status, StatusCode::OK);
    assert_eq!(
        editor.patch(&format!("/task/{task}"), json!({"project_id": own_project})).await.status,
        StatusCode::FORBIDDEN,
        "otherwise EDIT on a task would be enough to become its OWNER"
    );
    let owner_grant =
        json!({"person_id": person, "entity_code": "project", "entity_instance_id": foreign_project, "permission": 7});
    assert_eq!(
        editor.post("/entity_rbac", owner_grant).await.status,
        StatusCode::FORBIDDEN,
        "a grant above the grantor's own permission is rejected"
    );
    let id = grant.body["id"].as_str().unwrap();
    assert_eq!(admin.send("DELETE", &format!("/entity_rbac/{id}"), None, &[]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(editor.get(&format!("/task/{task}")).await.status, StatusCode::NOT_FOUND);
    let access = admin.get(&format!("/project/{foreign_project}/access")).await.body;
    let owner = access["grants"][0]["id"].as_str().unwrap();
    assert_eq!(
        admin.send("DELETE", &format!("/entity_rbac/{owner}"), None, &[]).await.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "the grant of the last owner cannot be revoked"
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn grants_are_limited_to_own_permission_and_owners_cannot_be_denied(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, editor, viewer) = (
        ApiClient::sign_in(&router, "admin").await,
        ApiClient::sign_in(&router, "editor").await,
        ApiClient::sign_in(&router, "viewer").await,
    );
    let fetch_person_id = |client: &ApiClient| {
        let client = ApiClient { router: client.router.clone(), token: client.token.clone() };
        async move { client.get("/auth/me").await.body["personId"].as_str().unwrap().to_owned() }
    };
    let (owner, sharer, recipient) =
        (fetch_person_id(&admin).await, fetch_person_id(&editor).await, fetch_person_id(&viewer).await);
    let project = admin.post("/project", json!({"name": "p"})).await.body["id"].as_str().unwrap().to_owned();
    let task = admin.post(&format!("/project/{project}/task"), json!({"name": "t"})).await.body["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let grant = |person_id: &str, level: u8, options: Value| {
        let mut body = json!({"person_id": person_id, "entity_code": "project", "entity_instance_id": project, "permission": level});
        body.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        body
    };
    let share_grant = admin.post("/entity_rbac", grant(&sharer, 4, json!({"inheritance_mode": "none"}))).await;
    assert_eq!(share_grant.status, StatusCode::CREATED, "{}", share_grant.body);
    assert_eq!(
        editor.post("/entity_rbac", grant(&recipient, 4, json!({}))).await.status,
        StatusCode::FORBIDDEN,
        "the grantor's own grant is not inherited by children"
    );
    assert_eq!(
        editor
            .post(
                "/entity_rbac",
                grant(&recipient, 4, json!({"inheritance_mode": "mapped", "child_permissions": {"task": 4}}))
            )
            .await
            .status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(editor.get(&format!("/task/{task}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        editor.post("/entity_rbac", grant(&recipient, 4, json!({"inheritance_mode": "none"}))).await.status,
        StatusCode::CREATED
    );
    sqlx::query("update app.entity_rbac set expires_ts = now() + interval '1 hour' where id = $1::text::uuid")
        .bind(share_grant.body["id"].as_str())
        .execute(&pool)
        .await
        .unwrap();
    let unlimited = grant(&recipient, 3, json!({"inheritance_mode": "none"}));
    assert_eq!(
        editor.post("/entity_rbac", unlimited).await.status,
        StatusCode::FORBIDDEN,
        "a grant must not outlast the grantor's own grant"
    );
    assert_eq!(
        editor
            .post("/entity_rbac", grant(&owner, 0, json!({"is_deny": true, "inheritance_mode": "none"})))
            .await
            .status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        admin.post("/entity_rbac", grant(&owner, 0, json!({"is_deny": true}))).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let deny = admin.post("/entity_rbac", grant(&sharer, 0, json!({"is_deny": true}))).await;
    assert_eq!(
        (deny.status, editor.get(&format!("/project/{project}")).await.status),
        (StatusCode::CREATED, StatusCode::NOT_FOUND)
    );
    let path = format!("/entity_rbac/{}", deny.body["id"].as_str().unwrap());
    assert_eq!(viewer.send("DELETE", &path, None, &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(admin.send("DELETE", &path, None, &[]).await.status, StatusCode::NO_CONTENT);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn comment_requires_the_comment_permission_and_records_the_author(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, viewer) = (ApiClient::sign_in(&router, "admin").await, ApiClient::sign_in(&router, "viewer").await);
    let rows = viewer.get("/project?limit=1000").await.body;
    let permission_on = |id: &str| {
        let path = format!("/project/{id}");
        let viewer = &viewer;
        async move { viewer.get(&path).await.body["permission"].as_u64().unwrap() }
    };
    let (mut commentable, mut view_only) = (None, None);
    for row in rows["data"].as_array().unwrap() {
        let id = row["id"].as_str().unwrap().to_owned();
        if permission_on(&id).await >= 1 { commentable = Some(id) } else { view_only = Some(id) }
    }
    let body = |id: &str| json!({"target_code": "project", "target_id": id, "body": "Good.\nMore.", "author__person_id": null});
    let mut input = body(&commentable.clone().unwrap());
    input.as_object_mut().unwrap().remove("author__person_id");
    let comment = viewer.post("/message", input).await;
    assert_eq!(comment.status, StatusCode::CREATED, "{}", comment.body);
    assert_eq!((comment.body["name"].as_str(), comment.body["author__person_id"].is_string()), (Some("Good."), true));
    let mut rejected = body(&view_only.unwrap());
    rejected.as_object_mut().unwrap().remove("author__person_id");
    assert_eq!(viewer.post("/message", rejected).await.status, StatusCode::FORBIDDEN);
    assert!(
        admin.get(&format!("/project/{}/message", commentable.unwrap())).await.body["total"].as_i64().unwrap() >= 1
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn type_grant_is_delegated_only_within_its_mode_and_expiry(pool: PgPool) {
    let router = build_router(&pool).await;
    let viewer = ApiClient::sign_in(&router, "viewer").await;
    let person = viewer.get("/auth/me").await.body["personId"].clone();
    sqlx::query("insert into app.entity_rbac (person_id, entity_code, permission, inheritance_mode, expires_ts) values ($1::text::uuid, 'project', 7, 'none', now() + interval '1 day')")
        .bind(person.as_str())
        .execute(&pool)
        .await
        .unwrap();
    let grant = |mode: &str, expires: Value| json!({"person_id": person, "entity_code": "project", "entity_instance_id": pmo_domain::EVERY_INSTANCE, "permission": 7, "inheritance_mode": mode, "expires_ts": expires});
    assert_eq!(
        viewer.post("/entity_rbac", grant("cascade", json!(null))).await.status,
        StatusCode::FORBIDDEN,
        "the grantor's own grant is not inherited by children"
    );
    assert_eq!(
        viewer.post("/entity_rbac", grant("none", json!(null))).await.status,
        StatusCode::FORBIDDEN,
        "the grantor's own grant expires tomorrow"
    );
    let in_one_hour = jiff::Timestamp::now().as_second() + 3600;
    let in_one_hour = jiff::Timestamp::from_second(in_one_hour).unwrap().to_string();
    assert_eq!(viewer.post("/entity_rbac", grant("none", json!(in_one_hour))).await.status, StatusCode::CREATED);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn repeated_grant_with_the_same_key_is_created_once(pool: PgPool) {
    let router = build_router(&pool).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let (project, person) = (admin.first_id("project").await, admin.get("/auth/me").await.body["personId"].clone());
    let body = json!({"person_id": person, "entity_code": "project", "entity_instance_id": project, "permission": 1});
    let create_grant = || admin.send("POST", "/entity_rbac", Some(body.clone()), &[("idempotency-key", "k1")]);
    let (first, repeated) = (create_grant().await, create_grant().await);
    assert_eq!((first.status, &first.body["id"]), (StatusCode::CREATED, &repeated.body["id"]));
    let path = format!("/entity_rbac/{}", first.body["id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(
            admin.send("DELETE", &path, None, &[("idempotency-key", "k2")]).await.status,
            StatusCode::NO_CONTENT
        );
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn contribute_permission_allows_only_work_on_assigned_tasks(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, viewer) = (ApiClient::sign_in(&router, "admin").await, ApiClient::sign_in(&router, "viewer").await);
    let person = viewer.get("/auth/me").await.body["personId"].clone();
    let employee: uuid::Uuid = sqlx::query_scalar("select id from app.employee where person_id = $1::text::uuid")
        .bind(person.as_str())
        .fetch_one(&pool)
        .await
        .unwrap();
    let (project, tasks) = create_plan(&admin).await;
    admin.patch(&format!("/task/{}", tasks[0]), json!({"assignee__employee_ids": [employee]})).await;
    let grant = json!({"person_id": person, "entity_code": "project", "entity_instance_id": project, "permission": 2});
    admin.post("/entity_rbac", grant).await;
    let (own_task, other_task) = (format!("/task/{}", tasks[0]), format!("/task/{}", tasks[1]));
    assert_eq!(
        viewer.patch(&own_task, json!({"completion_pct": 50, "dl__task_stage": "In Progress"})).await.status,
        200
    );
    assert_eq!(viewer.patch(&own_task, json!({"completion_pct": 60, "name": "mine now"})).await.status, 403);
    assert_eq!(viewer.patch(&own_task, json!({"assignee__employee_ids": []})).await.status, 403);
    assert_eq!(viewer.patch(&other_task, json!({"completion_pct": 50})).await.status, 403);
    let timesheet = json!({"name": "Monday", "employee_id": employee, "spent_hours": 4});
    assert_eq!(viewer.post(&format!("{own_task}/timesheet"), timesheet).await.status, 201);
    assert_eq!(viewer.post(&format!("{own_task}/task"), json!({"name": "child"})).await.status, 403);
}
