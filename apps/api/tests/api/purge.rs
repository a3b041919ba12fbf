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
