//! Comments: mentions and reactions.

use crate::harness::*;

/// Creates a project that `viewer` may comment on and `editor` may edit.
///
/// Returns the client of `admin`, who owns the project, and the project id.
async fn create_shared_project(router: &Router) -> (ApiClient, String) {
    let admin = ApiClient::sign_in(router, "admin").await;
    let project = admin.post("/project", json!({"name": "Talked about"})).await.body["id"].as_str().unwrap().to_owned();
    for (account, level) in [("viewer", 1), ("editor", 3)] {
        let person = person_id(&ApiClient::sign_in(router, account).await).await;
        let grant =
            json!({"person_id": person, "entity_code": "project", "entity_instance_id": project, "permission": level});
        assert_eq!(admin.post("/entity_rbac", grant).await.status, StatusCode::CREATED);
    }
    (admin, project)
}

async fn person_id(client: &ApiClient) -> String {
    client.get("/auth/me").await.body["personId"].as_str().unwrap().to_owned()
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn mentioned_person_must_see_the_commented_entity(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, project) = create_shared_project(&router).await;
    let viewer = ApiClient::sign_in(&router, "viewer").await;
    let outsider = person_id(&ApiClient::sign_in(&router, "outsider").await).await;
    let comment_input = |mentions: Vec<String>| json!({"body": "look", "target_code": "project", "target_id": project, "mentions": mentions});
    let rejected = admin.post("/message", comment_input(vec![outsider.clone()])).await;
    assert_eq!(rejected.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(rejected.body["errors"][0]["field"], "mentions");
    let message = rejected.body["errors"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("does not have access to this project") && message.contains("share it first"),
        "{message}"
    );
    assert_eq!(
        admin.get(&format!("/project/{project}/message")).await.body["total"],
        0,
        "a rejected comment is not stored"
    );
    let comment = admin.post("/message", comment_input(vec![person_id(&viewer).await])).await;
    assert_eq!(comment.status, StatusCode::CREATED, "{}", comment.body);
    let id = comment.body["id"].as_str().unwrap();
    let edited =
        admin.patch(&format!("/message/{id}"), json!({"mentions": [person_id(&viewer).await, outsider]})).await;
    assert_eq!(edited.status, StatusCode::UNPROCESSABLE_ENTITY, "a later edit cannot add the mention either");
    let names = |body: &Value| {
        body["data"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let audience = viewer.get(&format!("/project/{project}/audience")).await;
    assert_eq!(audience.status, StatusCode::OK, "{}", audience.body);
    assert!(audience.body["data"][0].get("permission").is_none(), "levels are included only with the SHARE permission");
    let audience = admin.get(&format!("/project/{project}/audience?q=VIEW")).await.body;
    assert_eq!(names(&audience).len(), 1);
    assert_eq!(audience["data"][0]["permission"], 1);
    assert_eq!(names(&admin.get(&format!("/project/{project}/audience?q=outsider")).await.body), [] as [String; 0]);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn users_can_change_only_their_own_reactions(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, project) = create_shared_project(&router).await;
    let (viewer, editor) = (ApiClient::sign_in(&router, "viewer").await, ApiClient::sign_in(&router, "editor").await);
    let (viewer_id, editor_id, admin_id) =
        (person_id(&viewer).await, person_id(&editor).await, person_id(&admin).await);
    let comment = admin.post("/message", json!({"body": "done", "target_code": "project", "target_id": project})).await;
    let path = format!("/message/{}", comment.body["id"].as_str().unwrap());
    let react = |client: ApiClient, reactions: Value| {
        let path = path.clone();
        async move { client.patch(&path, json!({"reactions": reactions})).await }
    };
    let copy_of = |client: &ApiClient| ApiClient { router: client.router.clone(), token: client.token.clone() };
    assert_eq!(
        react(copy_of(&viewer), json!({"👍": [viewer_id]})).await.status,
        StatusCode::OK,
        "COMMENT permission allows reactions"
    );
    assert_eq!(
        react(copy_of(&editor), json!({"👍": [viewer_id, editor_id], "🎉": [editor_id]})).await.status,
        StatusCode::OK
    );
    for (client, reactions) in [
        (&viewer, json!({"👍": [editor_id]})),
        (&viewer, json!({"👍": [viewer_id, editor_id, admin_id], "🎉": [editor_id]})),
        (&admin, json!({})),
        (&editor, json!({"👍": "all", "🎉": [editor_id]})),
        (&editor, json!({"👍": [viewer_id, editor_id], "🎉": [editor_id], "a very long key indeed": [editor_id]})),
        (&editor, json!([])),
    ] {
        let response = react(copy_of(client), reactions.clone()).await;
        assert_eq!(response.status, StatusCode::UNPROCESSABLE_ENTITY, "{reactions}: {}", response.body);
    }
    assert_eq!(
        react(copy_of(&viewer), json!({"👍": [editor_id], "🎉": [editor_id, viewer_id]})).await.status,
        StatusCode::OK,
        "a reaction is removed and another one added"
    );
    assert_eq!(admin.get(&path).await.body["reactions"], json!({"👍": [editor_id], "🎉": [editor_id, viewer_id]}));
    assert_eq!(viewer.patch(&path, json!({"body": "not mine"})).await.status, StatusCode::FORBIDDEN);
    let forged = json!({"body": "x", "target_code": "project", "target_id": project, "reactions": {"👍": [viewer_id]}});
    assert_eq!(admin.post("/message", forged).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn earlier_column_names_are_accepted(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, project) = create_shared_project(&router).await;
    // A device may send a comment that an earlier build queued under the earlier names.
    let comment =
        admin.post("/message", json!({"body": "queued", "about_code": "project", "about_uuid": project})).await;
    assert_eq!(comment.status, StatusCode::CREATED, "{}", comment.body);
    assert_eq!((&comment.body["target_code"], &comment.body["target_id"]), (&json!("project"), &json!(project)));
    assert!(comment.body.get("about_uuid").is_none());
    let both = json!({"body": "queued", "about_code": "task", "target_code": "project", "target_id": project});
    assert_eq!(admin.post("/message", both).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let found = admin.get(&format!("/message?about_uuid={project}&sort=about_code&fields=about_uuid,body")).await;
    assert_eq!((found.status, &found.body["total"]), (StatusCode::OK, &json!(1)), "{}", found.body);
    assert_eq!(found.body["data"][0]["target_id"], json!(project));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn reaction_names_each_person_once(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, project) = create_shared_project(&router).await;
    let viewer = ApiClient::sign_in(&router, "viewer").await;
    let (viewer_id, admin_id) = (person_id(&viewer).await, person_id(&admin).await);
    let about = |reactions: Value| json!({"body": "done", "target_code": "project", "target_id": project, "reactions": reactions});
    let twice = json!({"👍": [admin_id, admin_id.to_uppercase()]});
    assert_eq!(admin.post("/message", about(twice)).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let comment = admin.post("/message", about(json!({"👍": [admin_id]}))).await;
    assert_eq!(comment.status, StatusCode::CREATED, "{}", comment.body);
    let path = format!("/message/{}", text_of(&comment.body["id"]));
    for list in [json!([admin_id, admin_id]), json!([admin_id, viewer_id, viewer_id])] {
        let response = viewer.patch(&path, json!({"reactions": {"👍": list}})).await;
        assert_eq!(response.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", response.body);
        assert_eq!(response.body["errors"][0]["field"], "reactions");
    }
}
