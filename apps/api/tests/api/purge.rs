//! Purge of deleted entities.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn purge_removes_a_deleted_entity_and_its_children(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let (project, tasks) = create_plan(&editor).await;
    let link = json!({"project_id": project, "predecessor__task_id": tasks[0], "successor__task_id": tasks[1]});
    assert_eq!(editor.post("/task_dependency", link).await.status, 201);
    let path = format!("/project/{project}");
    assert_eq!(
        editor.send("DELETE", &format!("{path}/purge"), None, &[]).await.status,
        422,
        "only deleted entities can be purged"
    );
    assert_eq!(editor.send("DELETE", &path, None, &[]).await.status, 204);
    assert_eq!(editor.send("DELETE", &format!("{path}/purge"), None, &[]).await.status, 204);
    for table in ["app.task", "app.task_dependency", "app.entity_instance", "app.entity_rbac"] {
        let column = match table {
            "app.entity_instance" => "id",
            "app.entity_rbac" => "entity_instance_id",
            _ => "project_id",
        };
        assert_eq!(count_rows(&pool, &format!("{table} where {column} = '{project}'")).await, 0, "{table}");
    }
    assert_eq!(editor.send("POST", &format!("{path}/restore"), None, &[]).await.status, 404);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn purge_is_rejected_while_an_owned_entity_is_not_deleted(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let ((first, _), (second, _)) = (create_plan(&editor).await, create_plan(&editor).await);
    let wiki = text_of(&editor.post(&format!("/project/{first}/wiki"), json!({"name": "w"})).await.body["id"]);
    let link = json!({"parent_code": "project", "parent_id": second, "child_code": "wiki", "child_id": wiki});
    assert_eq!(editor.post("/entity_instance_link", link).await.status, 201);
    for project in [&first, &second] {
        assert_eq!(editor.send("DELETE", &format!("/project/{project}"), None, &[]).await.status, 204);
    }
    // The wiki page was deleted with the first project and is restored with it.
    assert_eq!(editor.post(&format!("/project/{first}/restore"), Value::Null).await.status, 200);
    let purge = format!("/project/{second}/purge");
    let rejected = editor.send("DELETE", &purge, None, &[]).await;
    assert_eq!((rejected.status.as_u16(), &rejected.body["errors"][0]["field"]), (422, &json!("id")));
    let ends = format!("parent_code=project&parent_id={second}&child_code=wiki&child_id={wiki}");
    assert_eq!(editor.send("DELETE", &format!("/entity_instance_link?{ends}"), None, &[]).await.status, 204);
    assert_eq!(editor.send("DELETE", &purge, None, &[]).await.status, 204);
    assert_eq!(editor.get(&format!("/wiki/{wiki}")).await.status, 200);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn repeated_purge_returns_the_stored_response(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let (_, tasks) = create_plan(&editor).await;
    let path = format!("/task/{}", tasks[0]);
    assert_eq!(editor.send("DELETE", &path, None, &[]).await.status, 204);
    let purge = async |key| editor.send("DELETE", &format!("{path}/purge"), None, &[("idempotency-key", key)]).await;
    assert_eq!(purge("purge").await.status, 204);
    assert_eq!(purge("purge").await.status, 204);
    assert_eq!(purge("another").await.status, 404);
    assert_eq!(editor.send("DELETE", &format!("{path}/purge"), None, &[]).await.status, 404);
}
