//! Links: inherited access and membership in roles.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn grants_are_inherited_through_links_and_end_with_them(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, viewer) = (ApiClient::sign_in(&router, "admin").await, ApiClient::sign_in(&router, "viewer").await);
    let person = viewer.get("/auth/me").await.body["personId"].clone();
    let portfolio = text_of(&admin.post("/portfolio", json!({"name": "Portfolio"})).await.body["id"]);
    let program = admin.post(&format!("/portfolio/{portfolio}/program"), json!({"name": "Program"})).await;
    assert_eq!(program.status, StatusCode::CREATED, "{}", program.body);
    let program = text_of(&program.body["id"]);
    assert_eq!(admin.get(&format!("/portfolio/{portfolio}/program")).await.body["total"], 1);
    let (project, tasks) = create_plan(&admin).await;
    let grant =
        json!({"person_id": person, "entity_code": "portfolio", "entity_instance_id": portfolio, "permission": 0});
    assert_eq!(admin.post("/entity_rbac", grant).await.status, StatusCode::CREATED);
    assert_eq!(viewer.get(&format!("/program/{program}")).await.status, 200);
    assert_eq!(viewer.get(&format!("/task/{}", tasks[0])).await.status, 404);
    let link_input =
        json!({"parent_code": "program", "parent_id": program, "child_code": "project", "child_id": project});
    assert_eq!(
        viewer.post("/entity_instance_link", link_input.clone()).await.status,
        422,
        "the viewer cannot see the project"
    );
    let link = admin.post("/entity_instance_link", link_input.clone()).await;
    assert_eq!(link.status, StatusCode::CREATED, "{}", link.body);
    assert_eq!(
        admin.post("/entity_instance_link", link_input).await.body["id"],
        link.body["id"],
        "a repeated link returns the existing one"
    );
    assert_eq!(
        viewer.get(&format!("/task/{}", tasks[0])).await.status,
        200,
        "the grant is inherited through three links"
    );
    let explanation = viewer.get(&format!("/task/{}/access/why", tasks[0])).await.body;
    let path_codes: Vec<&str> = explanation["reasons"][0]["way"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["entity"].as_str().unwrap())
        .collect();
    assert_eq!(path_codes, ["portfolio", "program", "project", "task"]);
    assert_eq!(explanation["reasons"][0]["way"][3]["title"], "one");
    // The standard names beside the earlier ones.
    assert_eq!(viewer.get(&format!("/task/{}/access/explain", tasks[0])).await.body, explanation);
    assert_eq!(explanation["reasons"][0]["path"], explanation["reasons"][0]["way"]);
    assert_eq!(
        (&explanation["reasons"][0]["worth"], &explanation["reasons"][0]["effective_permission"]),
        (&json!(0), &json!(0))
    );
    let path = format!("/entity_instance_link/{}", text_of(&link.body["id"]));
    assert_eq!(viewer.send("DELETE", &path, None, &[]).await.status, 403);
    assert_eq!(admin.send("DELETE", &path, None, &[]).await.status, 204);
    assert_eq!(viewer.get(&format!("/task/{}", tasks[0])).await.status, 404, "access ends with the link");
    // A link can also be deleted by its ends. A link that comes from a column cannot be deleted.
    let path_by_ends = |parent_code: &str, parent_id: &str, child_code: &str, child_id: &str| {
        format!(
            "/entity_instance_link?parent_code={parent_code}&parent_id={parent_id}&child_code={child_code}&child_id={child_id}"
        )
    };
    let link_input =
        json!({"parent_code": "program", "parent_id": program, "child_code": "project", "child_id": project});
    assert_eq!(admin.post("/entity_instance_link", link_input).await.status, StatusCode::CREATED);
    let path = path_by_ends("program", &program, "project", &project);
    assert_eq!(viewer.send("DELETE", &path, None, &[]).await.status, 403);
    let idempotency_key = [("idempotency-key", "unlink-once")];
    assert_eq!(admin.send("DELETE", &path, None, &idempotency_key).await.status, 204);
    assert_eq!(
        admin.send("DELETE", &path, None, &idempotency_key).await.status,
        204,
        "a repeated request returns the stored response"
    );
    assert_eq!(admin.send("DELETE", &path, None, &[]).await.status, 404);
    assert_eq!(
        admin.send("DELETE", &path_by_ends("project", &project, "task", &tasks[0]), None, &[]).await.status,
        422
    );
    assert_eq!(admin.send("DELETE", "/entity_instance_link?parent_code=program", None, &[]).await.status, 400);
    let column_link =
        json!({"parent_code": "project", "parent_id": project, "child_code": "task", "child_id": tasks[0]});
    assert_eq!(admin.post("/entity_instance_link", column_link).await.status, 422);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn users_cannot_add_themselves_to_a_role(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, editor) = (ApiClient::sign_in(&router, "admin").await, ApiClient::sign_in(&router, "editor").await);
    let person = editor.get("/auth/me").await.body["personId"].clone();
    let roles = editor.get("/role?sort=code").await.body;
    let role = roles["data"].as_array().unwrap().iter().find(|r| r["name"] == "Administrators").unwrap()["id"].clone();
    let membership = json!({"parent_code": "role", "parent_id": role, "child_code": "person", "child_id": person});
    assert_eq!(editor.post("/entity_instance_link", membership.clone()).await.status, 403);
    let grant = json!({"person_id": person, "entity_code": "role", "entity_instance_id": role, "permission": 5});
    assert_eq!(admin.post("/entity_rbac", grant).await.status, 201);
    assert_eq!(
        editor.post("/entity_instance_link", membership.clone()).await.status,
        403,
        "DELETE permission on the role is not enough"
    );
    assert_eq!(admin.post("/entity_instance_link", membership).await.status, 201);
    assert_eq!(editor.get("/project?limit=1").await.body["total"], admin.get("/project?limit=1").await.body["total"]);
}
