//! Who sees and may do what.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn people_see_what_is_theirs_and_no_more(pool: PgPool) {
    let router = router(&pool).await;
    let total = |who: &'static str| {
        let router = router.clone();
        async move { Api::of(&router, who).await.get("/project").await.body["total"].as_i64().unwrap() }
    };
    let (admin, editor, viewer, outsider) =
        (total("admin").await, total("editor").await, total("viewer").await, total("outsider").await);
    assert_eq!((admin, outsider), (6, 0));
    assert!(0 < viewer && viewer < admin && 0 < editor && editor < admin, "editor {editor}, viewer {viewer}");
    let id = Api::of(&router, "admin").await.first("project").await;
    let outsider = Api::of(&router, "outsider").await;
    for answer in [
        outsider.get(&format!("/project/{id}")).await,
        outsider.patch(&format!("/project/{id}"), json!({"name": "x"})).await,
        outsider.get(&format!("/project/{id}/task")).await,
    ] {
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(outsider.get(&format!("/project?ids={id}")).await.body["data"], json!([]));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn what_one_may_see_but_not_do_is_403(pool: PgPool) {
    let router = router(&pool).await;
    let viewer = Api::of(&router, "viewer").await;
    let id = viewer.first("project").await;
    assert_eq!(viewer.patch(&format!("/project/{id}"), json!({"name": "x"})).await.status, StatusCode::FORBIDDEN);
    assert_eq!(viewer.send("DELETE", &format!("/project/{id}"), None, &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(viewer.post("/project", json!({"name": "x"})).await.status, StatusCode::FORBIDDEN);
    assert_eq!(viewer.post(&format!("/project/{id}/task"), json!({"name": "x"})).await.status, StatusCode::FORBIDDEN);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn who_moves_a_thing_waits_shortly_while_many_are_made(pool: PgPool) {
    let router = router(&pool).await;
    let admin = Api::of(&router, "admin").await;
    let project =
        async |name: &str| admin.post("/project", json!({"name": name})).await.body["id"].as_str().unwrap().to_owned();
    let (from, to) = (project("from").await, project("to").await);
    let made = admin.post(&format!("/project/{from}/task"), json!({"name": "t"})).await;
    let task = format!("/task/{}", made.body["id"].as_str().unwrap());
    // As a long import holds it.
    let mut import = pool.begin().await.unwrap();
    sqlx::query("select app.lock_topology(false)").execute(&mut *import).await.unwrap();
    let moved = admin.patch(&task, json!({"project_id": to})).await;
    assert_eq!(moved.status, StatusCode::SERVICE_UNAVAILABLE, "{}", moved.body);
    let new = admin.post("/project", json!({"name": "made meanwhile"})).await;
    assert_eq!(new.status, StatusCode::CREATED, "{}", new.body);
    import.rollback().await.unwrap();
    assert_eq!(admin.patch(&task, json!({"project_id": to})).await.status, StatusCode::OK);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn moving_a_thing_asks_for_more_than_editing_it(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, editor) = (Api::of(&router, "admin").await, Api::of(&router, "editor").await);
    let mine = editor.post("/project", json!({"name": "mine"})).await.body["id"].as_str().unwrap().to_owned();
    let person = editor.get("/auth/me").await.body["personId"].as_str().unwrap().to_owned();
    let theirs = admin.post("/project", json!({"name": "theirs"})).await.body["id"].as_str().unwrap().to_owned();
    let task = admin.post(&format!("/project/{theirs}/task"), json!({"name": "t"})).await.body["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let grant = admin
        .post(
            "/entity_rbac",
            json!({"person_id": person, "entity_code": "project", "entity_instance_id": theirs, "permission": 3}),
        )
        .await;
    assert_eq!(grant.status, StatusCode::CREATED, "{}", grant.body);
    assert_eq!(editor.patch(&format!("/task/{task}"), json!({"name": "edited"})).await.status, StatusCode::OK);
    assert_eq!(
        editor.patch(&format!("/task/{task}"), json!({"project_id": mine})).await.status,
        StatusCode::FORBIDDEN,
        "or EDIT would be a way to become OWNER"
    );
    let more = json!({"person_id": person, "entity_code": "project", "entity_instance_id": theirs, "permission": 7});
    assert_eq!(
        editor.post("/entity_rbac", more).await.status,
        StatusCode::FORBIDDEN,
        "nobody shares more than their own"
    );
    let id = grant.body["id"].as_str().unwrap();
    assert_eq!(admin.send("DELETE", &format!("/entity_rbac/{id}"), None, &[]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(editor.get(&format!("/task/{task}")).await.status, StatusCode::NOT_FOUND);
    let access = admin.get(&format!("/project/{theirs}/access")).await.body;
    let owner = access["grants"][0]["id"].as_str().unwrap();
    assert_eq!(
        admin.send("DELETE", &format!("/entity_rbac/{owner}"), None, &[]).await.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "the last owner stays"
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn nobody_passes_on_more_than_they_hold_and_nobody_shuts_an_owner_out(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, editor, viewer) =
        (Api::of(&router, "admin").await, Api::of(&router, "editor").await, Api::of(&router, "viewer").await);
    let person = |api: &Api| {
        let api = Api { router: api.router.clone(), token: api.token.clone() };
        async move { api.get("/auth/me").await.body["personId"].as_str().unwrap().to_owned() }
    };
    let (owner, sharer, friend) = (person(&admin).await, person(&editor).await, person(&viewer).await);
    let project = admin.post("/project", json!({"name": "p"})).await.body["id"].as_str().unwrap().to_owned();
    let task = admin.post(&format!("/project/{project}/task"), json!({"name": "t"})).await.body["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let grant = |who: &str, level: u8, more: Value| {
        let mut body =
            json!({"person_id": who, "entity_code": "project", "entity_instance_id": project, "permission": level});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let own = admin.post("/entity_rbac", grant(&sharer, 4, json!({"inheritance_mode": "none"}))).await;
    assert_eq!(own.status, StatusCode::CREATED, "{}", own.body);
    assert_eq!(
        editor.post("/entity_rbac", grant(&friend, 4, json!({}))).await.status,
        StatusCode::FORBIDDEN,
        "theirs does not go down"
    );
    assert_eq!(
        editor
            .post(
                "/entity_rbac",
                grant(&friend, 4, json!({"inheritance_mode": "mapped", "child_permissions": {"task": 4}}))
            )
            .await
            .status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(editor.get(&format!("/task/{task}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        editor.post("/entity_rbac", grant(&friend, 4, json!({"inheritance_mode": "none"}))).await.status,
        StatusCode::CREATED
    );
    sqlx::query("update app.entity_rbac set expires_ts = now() + interval '1 hour' where id = $1::text::uuid")
        .bind(own.body["id"].as_str())
        .execute(&pool)
        .await
        .unwrap();
    let lasting = grant(&friend, 3, json!({"inheritance_mode": "none"}));
    assert_eq!(editor.post("/entity_rbac", lasting).await.status, StatusCode::FORBIDDEN, "nor for longer than theirs");
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
    let denied = admin.post("/entity_rbac", grant(&sharer, 0, json!({"is_deny": true}))).await;
    assert_eq!(
        (denied.status, editor.get(&format!("/project/{project}")).await.status),
        (StatusCode::CREATED, StatusCode::NOT_FOUND)
    );
    let deny = format!("/entity_rbac/{}", denied.body["id"].as_str().unwrap());
    assert_eq!(viewer.send("DELETE", &deny, None, &[]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(admin.send("DELETE", &deny, None, &[]).await.status, StatusCode::NO_CONTENT);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn commenting_asks_for_the_right_to_comment_and_signs_the_comment(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, viewer) = (Api::of(&router, "admin").await, Api::of(&router, "viewer").await);
    let rows = viewer.get("/project?limit=1000").await.body;
    let level = |id: &str| {
        let path = format!("/project/{id}");
        let viewer = &viewer;
        async move { viewer.get(&path).await.body["permission"].as_u64().unwrap() }
    };
    let (mut may, mut may_not) = (None, None);
    for row in rows["data"].as_array().unwrap() {
        let id = row["id"].as_str().unwrap().to_owned();
        if level(&id).await >= 1 { may = Some(id) } else { may_not = Some(id) }
    }
    let body = |id: &str| json!({"about_code": "project", "about_uuid": id, "body": "Good.\nMore.", "author__person_id": null});
    let mut told = body(&may.clone().unwrap());
    told.as_object_mut().unwrap().remove("author__person_id");
    let said = viewer.post("/message", told).await;
    assert_eq!(said.status, StatusCode::CREATED, "{}", said.body);
    assert_eq!((said.body["name"].as_str(), said.body["author__person_id"].is_string()), (Some("Good."), true));
    let mut refused = body(&may_not.unwrap());
    refused.as_object_mut().unwrap().remove("author__person_id");
    assert_eq!(viewer.post("/message", refused).await.status, StatusCode::FORBIDDEN);
    assert!(admin.get(&format!("/project/{}/message", may.unwrap())).await.body["total"].as_i64().unwrap() >= 1);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_grant_on_a_whole_type_is_passed_on_no_further_than_it_reaches(pool: PgPool) {
    let router = router(&pool).await;
    let viewer = Api::of(&router, "viewer").await;
    let me = viewer.get("/auth/me").await.body["personId"].clone();
    sqlx::query("insert into app.entity_rbac (person_id, entity_code, permission, inheritance_mode, expires_ts) values ($1::text::uuid, 'project', 7, 'none', now() + interval '1 day')")
        .bind(me.as_str())
        .execute(&pool)
        .await
        .unwrap();
    let grant = |mode: &str, expires: Value| json!({"person_id": me, "entity_code": "project", "entity_instance_id": pmo_domain::EVERY_INSTANCE, "permission": 7, "inheritance_mode": mode, "expires_ts": expires});
    assert_eq!(
        viewer.post("/entity_rbac", grant("cascade", json!(null))).await.status,
        StatusCode::FORBIDDEN,
        "theirs does not go down"
    );
    assert_eq!(
        viewer.post("/entity_rbac", grant("none", json!(null))).await.status,
        StatusCode::FORBIDDEN,
        "theirs ends tomorrow"
    );
    let soon = jiff::Timestamp::now().as_second() + 3600;
    let soon = jiff::Timestamp::from_second(soon).unwrap().to_string();
    assert_eq!(viewer.post("/entity_rbac", grant("none", json!(soon))).await.status, StatusCode::CREATED);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn sharing_twice_with_one_key_shares_once(pool: PgPool) {
    let router = router(&pool).await;
    let admin = Api::of(&router, "admin").await;
    let (project, me) = (admin.first("project").await, admin.get("/auth/me").await.body["personId"].clone());
    let body = json!({"person_id": me, "entity_code": "project", "entity_instance_id": project, "permission": 1});
    let give = || admin.send("POST", "/entity_rbac", Some(body.clone()), &[("idempotency-key", "k1")]);
    let (first, again) = (give().await, give().await);
    assert_eq!((first.status, &first.body["id"]), (StatusCode::CREATED, &again.body["id"]));
    let path = format!("/entity_rbac/{}", first.body["id"].as_str().unwrap());
    for _ in 0..2 {
        assert_eq!(
            admin.send("DELETE", &path, None, &[("idempotency-key", "k2")]).await.status,
            StatusCode::NO_CONTENT
        );
    }
}
