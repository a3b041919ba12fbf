//! Outline of tasks: moves and WBS numbers.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn moving_a_task_moves_its_subtree_and_renumbers_the_outline(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let (project, tasks) = create_plan(&editor).await;
    let child = editor.post(&format!("/task/{}/task", tasks[2]), json!({"name": "child"})).await.body;
    let outline = || async {
        let rows = editor.get(&format!("/project/{project}/task?sort=wbs")).await.body["data"].clone();
        rows.as_array()
            .unwrap()
            .iter()
            .map(|r| format!("{} {}", text_of(&r["wbs"]), text_of(&r["name"])))
            .collect::<Vec<_>>()
    };
    assert_eq!(outline().await, ["1 one", "2 two", "3 three", "3.1 child"]);
    let move_task = |id: &str, target: Value| {
        let path = format!("/task/{id}/move");
        let editor = &editor;
        async move { editor.post(&path, target).await }
    };
    let moved = move_task(&tasks[2], json!({"parent": null, "after": null})).await;
    assert_eq!(moved.status, 200, "{}", moved.body);
    assert_eq!(outline().await, ["1 three", "1.1 child", "2 one", "3 two"]);
    assert_eq!(move_task(&tasks[2], json!({"parent": null, "after": tasks[0]})).await.status, 200);
    assert_eq!(outline().await, ["1 one", "2 three", "2.1 child", "3 two"]);
    assert_eq!(move_task(&tasks[1], json!({"parent": tasks[2], "after": null})).await.status, 200);
    assert_eq!(outline().await, ["1 one", "2 three", "2.1 two", "2.2 child"]);
    let cycle = move_task(&tasks[2], json!({"parent": child["id"], "after": null})).await;
    assert_eq!((cycle.status.as_u16(), &cycle.body["errors"][0]["field"]), (422, &json!("parent__task_id")));
    assert_eq!(move_task(&tasks[0], json!({"parent": null, "after": child["id"]})).await.status, 422);
    assert_eq!(move_task(&project, json!({"parent": null})).await.status, 404);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn task_moved_to_another_parent_keeps_the_requested_position(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let (project, tasks) = create_plan(&editor).await;
    let mut moved = Vec::new();
    for name in ["a", "b", "c"] {
        let task = editor.post(&format!("/project/{project}/task"), json!({"name": name})).await.body;
        moved.push(text_of(&task["id"]));
    }
    // The positions in both parents are alike, so the moved task has the rank of its new position
    // already.
    for (task, parent) in [(0, 0), (1, 1), (2, 0), (2, 1)] {
        let target = json!({"parent": tasks[parent], "after": null});
        let response = editor.post(&format!("/task/{}/move", moved[task]), target).await;
        assert_eq!(response.status, 200, "{}", response.body);
    }
    let children = editor.get(&format!("/task/{}/task?sort=wbs", tasks[1])).await.body["data"].clone();
    let names: Vec<String> = children.as_array().unwrap().iter().map(|row| text_of(&row["name"])).collect();
    assert_eq!(names, ["c", "b"]);
}
