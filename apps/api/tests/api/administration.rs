//! Administration: option sets, labels of types and columns, all grants, password resets.

use crate::harness::*;
use uuid::Uuid;

/// Replaces the options of a set.
async fn put_options(client: &ApiClient, set_name: &str, options: Value) -> ApiResponse {
    client.send("PUT", &format!("/datalabel/{set_name}"), Some(json!({"options": options})), &[]).await
}

/// Returns the options of a set in the form in which [`put_options`] sends them.
///
/// `after` has the names of the allowed predecessors instead of their ids.
async fn option_inputs(client: &ApiClient, set_name: &str) -> Vec<Value> {
    let options = client.get(&format!("/datalabel?name={set_name}")).await.body["options"].as_array().unwrap().clone();
    let to_input = |option: &Value| {
        let parent_ids = option["parent_ids"].as_array().unwrap();
        let predecessors =
            options.iter().filter(|o| parent_ids.contains(&o["id"])).map(|o| o["name"].clone()).collect::<Vec<_>>();
        json!({"id": option["id"], "name": option["name"], "color_code": option["color_code"], "terminal_flag": option["terminal_flag"], "after": predecessors})
    };
    options.iter().map(to_input).collect()
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn renamed_option_updates_rows_and_used_options_cannot_be_removed(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, editor) = (ApiClient::sign_in(&router, "admin").await, ApiClient::sign_in(&router, "editor").await);
    let project = admin.post("/project", json!({"name": "Options"})).await.body["id"].as_str().unwrap().to_owned();
    let risk = admin.post("/risk", json!({"name": "r", "project_id": project})).await.body;
    let initial_name = risk["dl__risk_status"].as_str().unwrap().to_owned();
    let mut options = option_inputs(&admin, "risk_status").await;
    assert_eq!(put_options(&editor, "risk_status", json!(options)).await.status, 403);
    assert_eq!(put_options(&admin, "nothing", json!(options)).await.status, 404);
    let index = options.iter().position(|option| option["name"] == json!(initial_name)).unwrap();
    // Renaming the option updates the row, which gets a new version, and the default of new rows.
    options[index]["name"] = json!("Noticed");
    for option in &mut options {
        for predecessor in option["after"].as_array_mut().unwrap() {
            if *predecessor == json!(initial_name) {
                *predecessor = json!("Noticed");
            }
        }
    }
    options.push(json!({"name": "Watched", "color_code": "purple", "after": ["Noticed"]}));
    options.rotate_right(1);
    let changed = put_options(&admin, "risk_status", json!(options)).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(
        (&changed.body["options"][0]["name"], &changed.body["options"][0]["display_order"]),
        (&json!("Watched"), &json!(10))
    );
    let row = admin.get(&format!("/risk/{}", risk["id"].as_str().unwrap())).await.body;
    assert_eq!((&row["dl__risk_status"], &row["version"]), (&json!("Noticed"), &json!(2)));
    assert_eq!(
        admin.post("/risk", json!({"name": "new", "project_id": project})).await.body["dl__risk_status"],
        "Noticed"
    );
    // The new transition from Noticed to Watched is allowed.
    let path = format!("/risk/{}", risk["id"].as_str().unwrap());
    assert_eq!(admin.patch(&path, json!({"dl__risk_status": "Watched"})).await.status, 200);
    // An option that a row uses or that is the default of new rows cannot be removed.
    let without = |name: &str, options: &[Value]| {
        json!(
            options
                .iter()
                .filter(|option| option["name"] != name)
                .map(|option| {
                    let mut option = option.clone();
                    option["after"] = json!([]);
                    option
                })
                .collect::<Vec<_>>()
        )
    };
    let current = option_inputs(&admin, "risk_status").await;
    for name in ["Watched", "Noticed"] {
        let rejected = put_options(&admin, "risk_status", without(name, &current)).await;
        assert_eq!(rejected.status, 422, "{name}: {}", rejected.body);
        assert_eq!(option_inputs(&admin, "risk_status").await, current, "a rejected change is not applied in part");
    }
    assert_eq!(put_options(&admin, "risk_status", json!([{"name": "A"}, {"name": "a"}])).await.status, 422);
    assert_eq!(put_options(&admin, "risk_status", json!([{"name": "A", "colour": "red"}])).await.status, 422);
    admin.send("DELETE", &path, None, &[]).await;
    assert_eq!(
        put_options(&admin, "risk_status", without("Watched", &current)).await.status,
        422,
        "a deleted row still uses the option, because it may be restored"
    );
    sqlx::query("delete from app.risk where dl__risk_status = 'Watched'").execute(&pool).await.unwrap();
    assert_eq!(put_options(&admin, "risk_status", without("Watched", &current)).await.status, 200);
    // A change that is based on outdated options is rejected with a conflict.
    let fetch_options = async || admin.get("/datalabel?name=risk_status").await.body["options"].clone();
    let stored = fetch_options().await;
    let mut outdated = stored.clone();
    outdated[0]["descr"] = json!("as another administrator left it");
    let body = |base: &Value| json!({"options": without("Watched", &current), "before": base});
    let conflict = admin.send("PUT", "/datalabel/risk_status", Some(body(&outdated)), &[]).await;
    assert_eq!(
        (conflict.status, &conflict.body["type"]),
        (StatusCode::CONFLICT, &json!("/problems/meanwhile")),
        "{}",
        conflict.body
    );
    assert_eq!(fetch_options().await, stored);
    assert_eq!(admin.send("PUT", "/datalabel/risk_status", Some(body(&stored)), &[]).await.status, 200);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn administrators_can_change_labels_of_types_and_columns(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, editor) = (ApiClient::sign_in(&router, "admin").await, ApiClient::sign_in(&router, "editor").await);
    let labels = json!({"ui_label": "Dangers", "name": "Danger", "columns": {"impact_amt": {"label": "Damage"}, "response": {"hidden": true}}});
    assert_eq!(editor.patch("/entity/risk", labels.clone()).await.status, 403);
    let changed = admin.patch("/entity/risk", labels).await;
    assert_eq!((changed.status, &changed.body["ui_label"]), (StatusCode::OK, &json!("Dangers")), "{}", changed.body);
    let metadata = admin.get("/risk?content=metadata").await.body.to_string();
    assert!(metadata.contains("\"Damage\""), "{metadata}");
    for (body, reason) in [
        (json!({"ui_label": " "}), "blank"),
        (json!({"ui_icon": "../x"}), "not an icon name"),
        (json!({"columns": {"nothing": {"label": "x"}}}), "unknown column"),
        (json!({"columns": {"name": {"hidden": true}}}), "the name is required"),
        (json!({"columns": {"version": {"required": false}}}), "the table column is not nullable"),
        (json!({"columns": {"impact_amt": {"read_only": false}}}), "read_only is set by migrations only"),
        (json!({"columns": {"impact_amt": {"hidden": true, "required": true}}}), "a required column cannot be hidden"),
        (json!({"code": "x"}), "the code is set by migrations only"),
    ] {
        let rejected = admin.patch("/entity/risk", body).await;
        assert_eq!(rejected.status, 422, "{reason}: {}", rejected.body);
    }
    assert_eq!(admin.patch("/entity/nothing", json!({})).await.status, 404);
    // A column that a migration has made read-only stays read-only.
    let read_only_column =
        admin.patch("/entity/artifact", json!({"columns": {"storage_key": {"required": true}}})).await;
    assert_eq!(read_only_column.status, 422, "{}", read_only_column.body);
    admin.patch("/entity/artifact", json!({"columns": {"sha256": {"label": "Fingerprint", "hidden": false}}})).await;
    let project = admin.post("/project", json!({"name": "p"})).await.body["id"].as_str().unwrap().to_owned();
    let forged =
        admin.post(&format!("/project/{project}/artifact"), json!({"name": "a", "sha256": "0".repeat(64)})).await;
    assert_eq!(forged.status, 422, "{}", forged.body);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn administrators_list_all_grants_and_reset_passwords(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, viewer) = (ApiClient::sign_in(&router, "admin").await, ApiClient::sign_in(&router, "viewer").await);
    assert_eq!(viewer.get("/entity_rbac").await.status, 403);
    let project_grants = admin.get("/entity_rbac?entity_code=project").await.body;
    assert!(
        project_grants["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|g| g["holder_name"] == "Administrators" && g["entity_code"] == "project"),
        "{project_grants}"
    );
    let id: Uuid = sqlx::query_scalar("select id from app.person where email = 'viewer@pmo.example'")
        .fetch_one(&pool)
        .await
        .unwrap();
    let project = admin.post("/project", json!({"name": "Seen by name"})).await.body["id"].as_str().unwrap().to_owned();
    admin
        .post(
            "/entity_rbac",
            json!({"person_id": id, "entity_code": "project", "entity_instance_id": project, "permission": 1}),
        )
        .await;
    let person_grants = admin.get(&format!("/entity_rbac?person_id={id}")).await.body;
    assert!(
        person_grants["data"].as_array().unwrap().iter().any(|g| g["title"] == "Seen by name" && g["permission"] == 1),
        "{person_grants}"
    );
    for invalid_query in ["person_id=x", "limit=1", &format!("person_id={id}&role_id={id}")] {
        assert_eq!(admin.get(&format!("/entity_rbac?{invalid_query}")).await.status, 400, "{invalid_query}");
    }
    // The new password is valid immediately; the old one is not.
    let path = format!("/person/{id}/password");
    assert_eq!(viewer.post(&path, json!({})).await.status, 403);
    let reset = admin.post(&path, json!({})).await;
    assert_eq!(reset.status, 201, "{}", reset.body);
    let password = reset.body["password"].as_str().unwrap();
    assert!(password.len() >= 20);
    assert_eq!(login(&router, "viewer@pmo.example", DEMO_PASSWORD).await.status, 401);
    assert_eq!(login(&router, "viewer@pmo.example", password).await.status, 200);
    let valid_tokens: i64 =
        sqlx::query_scalar("select count(*) from app.refresh_token where person_id = $1 and revoked_ts is null")
            .bind(id)
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(valid_tokens, 1, "only the new session is valid");
    assert_eq!(admin.post(&format!("/person/{}/password", Uuid::new_v4()), json!({})).await.status, 404);
    // The person's history records the reset, with its author and time.
    let history = admin.get(&format!("/person/{id}/history")).await.body;
    let last = &history["data"][0];
    assert_eq!(last["person_name"], "Ada Admin", "{history}");
    assert!(
        last["changed"]["password_reset_ts"].is_array() || last["changed"]["password_reset_ts"].is_object(),
        "{last}"
    );
    assert!(!history.to_string().contains(password));
}
