//! Snapshot of a tree.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn snapshot_contains_the_whole_visible_tree(pool: PgPool) {
    let router = build_router(&pool).await;
    let (editor, viewer) = (ApiClient::sign_in(&router, "editor").await, ApiClient::sign_in(&router, "viewer").await);
    let (project, tasks) = create_plan(&editor).await;
    let (other, _) = create_plan(&editor).await;
    let comment = editor.post(&format!("/task/{}/message", tasks[1]), json!({"body": "deep"})).await;
    assert_eq!(comment.status, StatusCode::CREATED, "{}", comment.body);
    let path = format!("/sync/snapshot?entity=project&id={project}");
    let response = editor.get(&path).await;
    assert_eq!(response.status, StatusCode::OK);
    assert!(response.headers.contains_key("feed-cursor"));
    let lines = response.body.as_array().unwrap();
    assert_eq!((&lines[0]["entity_code"], &lines[0]["data"][0]["id"]), (&json!("project"), &json!(project)));
    assert_eq!(lines.last().unwrap(), &json!({"complete": true}));
    assert_eq!(lines[lines.len() - 2], json!({"ties": []}), "all links come from columns");
    let rows_of = |lines: &[Value], code: &str| -> Vec<Value> {
        let type_lines = lines.iter().filter(|line| line["entity_code"] == code);
        type_lines.flat_map(|line| line["data"].as_array().unwrap().clone()).collect()
    };
    assert_eq!(rows_of(lines, "task").len(), 3);
    assert_eq!(rows_of(lines, "message")[0]["id"], comment.body["id"], "descendants at every depth are included");
    assert_eq!(rows_of(lines, "task")[0]["permission"], 7);
    assert!(!response.body.to_string().contains(&other));
    // The rows are equal to those of `?ids=`.
    let fresh = editor.get(&format!("/task?ids={}", tasks[0])).await.body["data"][0].clone();
    assert!(rows_of(lines, "task").contains(&fresh));
    // Free links are sent in `ties`.
    let page = editor.post(&format!("/project/{project}/wiki"), json!({"name": "Notes"})).await.body;
    let links = json!([{"parent": {"code": "project", "id": project}, "child": "wiki", "ids": [page["id"]]}]);
    assert!(editor.get(&path).await.body.as_array().unwrap().iter().any(|line| line["ties"] == links));
    assert_eq!(viewer.get(&path).await.status, 404);
    let grant = json!({"person_id": viewer.get("/auth/me").await.body["personId"], "entity_code": "project",
        "entity_instance_id": project, "permission": 0, "inheritance_mode": "none"});
    assert_eq!(editor.post("/entity_rbac", grant).await.status, StatusCode::CREATED);
    let lines = viewer.get(&path).await.body;
    assert_eq!(rows_of(lines.as_array().unwrap(), "project").len(), 1);
    assert_eq!(rows_of(lines.as_array().unwrap(), "task"), [] as [Value; 0], "the grant is not inherited by children");
    assert!(!lines.to_string().contains(&text_of(&page["id"])), "linked children are not visible either");
    assert_eq!(editor.get("/sync/snapshot?entity=project&id=x").await.status, 400);
    assert_eq!(editor.get("/sync/snapshot?entity=nothing&id=0190163d-8694-739b-aea5-966c26f8ad91").await.status, 404);
}
