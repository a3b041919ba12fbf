//! Deleted entities accept no children, links or files.

use crate::harness::*;

/// Deletes an entity, which must succeed.
async fn delete(client: &ApiClient, path: &str) {
    let response = client.send("DELETE", path, None, &[]).await;
    assert_eq!(response.status, StatusCode::NO_CONTENT, "{path}: {}", response.body);
}

/// Checks that a response is a 422 about one field.
fn assert_rejected(response: &ApiResponse, field: &str) {
    let actual = (response.status.as_u16(), &response.body["errors"][0]["field"]);
    assert_eq!(actual, (422, &json!(field)), "{}", response.body);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn deleted_task_accepts_no_comments_and_a_repeated_comment_is_replayed(pool: PgPool) {
    let router = build_router(&pool).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let (_, tasks) = create_plan(&admin).await;
    let comments = |task: &str| format!("/task/{task}/message");
    let body = Some(json!({"body": "b"}));
    let kept = text_of(&admin.send("POST", &comments(&tasks[1]), body.clone(), &[]).await.body["id"]);
    let key = [("idempotency-key", "comment")];
    let first = admin.send("POST", &comments(&tasks[0]), body.clone(), &key).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.body);
    delete(&admin, &format!("/task/{}", tasks[0])).await;
    assert_rejected(&admin.send("POST", &comments(&tasks[0]), body.clone(), &[]).await, "target_id");
    let move_comment = json!({"target_id": tasks[0]});
    assert_rejected(&admin.patch(&format!("/message/{kept}"), move_comment).await, "target_id");
    let repeated = admin.send("POST", &comments(&tasks[0]), body, &key).await;
    assert_eq!((repeated.status, repeated.body), (StatusCode::CREATED, first.body), "the comment was stored before");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn deleted_entity_accepts_no_links_and_no_files(pool: PgPool) {
    let router = build_router(&pool).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let ((project, _), (deleted_project, _)) = (create_plan(&admin).await, create_plan(&admin).await);
    let new_wiki =
        async || text_of(&admin.post(&format!("/project/{project}/wiki"), json!({"name": "w"})).await.body["id"]);
    let (wiki, deleted_wiki) = (new_wiki().await, new_wiki().await);
    let link = |project: &str, wiki: &str| json!({"parent_code": "project", "parent_id": project, "child_code": "wiki", "child_id": wiki});
    let key = [("idempotency-key", "link")];
    let create_link =
        async || admin.send("POST", "/entity_instance_link", Some(link(&deleted_project, &deleted_wiki)), &key).await;
    let first = create_link().await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.body);
    delete(&admin, &format!("/project/{deleted_project}")).await;
    assert_rejected(&admin.post(&format!("/project/{deleted_project}/wiki"), json!({"name": "w"})).await, "id");
    assert_rejected(&admin.post("/entity_instance_link", link(&deleted_project, &wiki)).await, "parent_id");
    assert_rejected(&admin.post("/entity_instance_link", link(&project, &deleted_wiki)).await, "child_id");
    assert_eq!(create_link().await.body, first.body, "the link was stored before");
    let upload = json!({"name": "a.txt", "size_bytes": 1, "entity": "project", "id": deleted_project});
    assert_eq!(admin.post("/upload", upload).await.status, StatusCode::NOT_FOUND);
}
