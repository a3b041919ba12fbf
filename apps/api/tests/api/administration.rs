//! What administrators change for everybody, and nobody else.

use crate::harness::*;
use uuid::Uuid;

async fn put(who: &Api, set: &str, options: Value) -> Answer {
    who.send("PUT", &format!("/datalabel/{set}"), Some(json!({"options": options})), &[]).await
}

async fn options(who: &Api, set: &str) -> Vec<Value> {
    let told = who.get(&format!("/datalabel?name={set}")).await.body["options"].as_array().unwrap().clone();
    let wanted = |option: &Value| {
        let before = option["parent_ids"].as_array().unwrap();
        let all = told.iter().filter(|o| before.contains(&o["id"])).map(|o| o["name"].clone()).collect::<Vec<_>>();
        json!({"id": option["id"], "name": option["name"], "color_code": option["color_code"], "terminal_flag": option["terminal_flag"], "after": all})
    };
    told.iter().map(wanted).collect()
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn an_option_set_changes_and_rows_follow(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, editor) = (Api::of(&router, "admin").await, Api::of(&router, "editor").await);
    let plan = admin.post("/project", json!({"name": "Options"})).await.body["id"].as_str().unwrap().to_owned();
    let risk = admin.post("/risk", json!({"name": "r", "project_id": plan})).await.body;
    let held = risk["dl__risk_status"].as_str().unwrap().to_owned();
    let mut list = options(&admin, "risk_status").await;
    assert_eq!(put(&editor, "risk_status", json!(list)).await.status, 403);
    assert_eq!(put(&admin, "nothing", json!(list)).await.status, 404);
    let at = list.iter().position(|o| o["name"] == json!(held)).unwrap();
    // Called otherwise: the row follows, with a version of its own, and so does what a new one begins with.
    list[at]["name"] = json!("Noticed");
    for other in &mut list {
        for before in other["after"].as_array_mut().unwrap() {
            if *before == json!(held) {
                *before = json!("Noticed");
            }
        }
    }
    list.push(json!({"name": "Watched", "color_code": "purple", "after": ["Noticed"]}));
    list.rotate_right(1);
    let changed = put(&admin, "risk_status", json!(list)).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(
        (&changed.body["options"][0]["name"], &changed.body["options"][0]["display_order"]),
        (&json!("Watched"), &json!(10))
    );
    let row = admin.get(&format!("/risk/{}", risk["id"].as_str().unwrap())).await.body;
    assert_eq!((&row["dl__risk_status"], &row["version"]), (&json!("Noticed"), &json!(2)));
    assert_eq!(
        admin.post("/risk", json!({"name": "new", "project_id": plan})).await.body["dl__risk_status"],
        "Noticed"
    );
    // The transition that was asked for holds: Watched may follow Noticed, and nothing else.
    let path = format!("/risk/{}", risk["id"].as_str().unwrap());
    assert_eq!(admin.patch(&path, json!({"dl__risk_status": "Watched"})).await.status, 200);
    // What is held, or what a new row begins with, can't go; what nothing holds can.
    let without = |name: &str, list: &[Value]| {
        json!(
            list.iter()
                .filter(|o| o["name"] != name)
                .map(|o| {
                    let mut o = o.clone();
                    o["after"] = json!([]);
                    o
                })
                .collect::<Vec<_>>()
        )
    };
    let now = options(&admin, "risk_status").await;
    for name in ["Watched", "Noticed"] {
        let refused = put(&admin, "risk_status", without(name, &now)).await;
        assert_eq!(refused.status, 422, "{name}: {}", refused.body);
        assert_eq!(options(&admin, "risk_status").await, now, "nothing half-done");
    }
    assert_eq!(put(&admin, "risk_status", json!([{"name": "A"}, {"name": "a"}])).await.status, 422);
    assert_eq!(put(&admin, "risk_status", json!([{"name": "A", "colour": "red"}])).await.status, 422);
    admin.send("DELETE", &path, None, &[]).await;
    assert_eq!(
        put(&admin, "risk_status", without("Watched", &now)).await.status,
        422,
        "what is deleted may come back with it"
    );
    sqlx::query("delete from app.risk where dl__risk_status = 'Watched'").execute(&pool).await.unwrap();
    assert_eq!(put(&admin, "risk_status", without("Watched", &now)).await.status, 200);
    // Who has read it before somebody else changed it is told, and changes nothing.
    let present = async || admin.get("/datalabel?name=risk_status").await.body["options"].clone();
    let kept = present().await;
    let mut earlier = kept.clone();
    earlier[0]["descr"] = json!("as somebody else left it");
    let body = |before: &Value| json!({"options": without("Watched", &now), "before": before});
    let late = admin.send("PUT", "/datalabel/risk_status", Some(body(&earlier)), &[]).await;
    assert_eq!(
        (late.status, &late.body["type"]),
        (StatusCode::CONFLICT, &json!("/problems/meanwhile")),
        "{}",
        late.body
    );
    assert_eq!(present().await, kept);
    assert_eq!(admin.send("PUT", "/datalabel/risk_status", Some(body(&kept)), &[]).await.status, 200);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn types_and_columns_are_called_as_an_administrator_says(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, editor) = (Api::of(&router, "admin").await, Api::of(&router, "editor").await);
    let words = json!({"ui_label": "Dangers", "name": "Danger", "columns": {"impact_amt": {"label": "Damage"}, "response": {"hidden": true}}});
    assert_eq!(editor.patch("/entity/risk", words.clone()).await.status, 403);
    let changed = admin.patch("/entity/risk", words).await;
    assert_eq!((changed.status, &changed.body["ui_label"]), (StatusCode::OK, &json!("Dangers")), "{}", changed.body);
    let metadata = admin.get("/risk?content=metadata").await.body;
    let text = metadata.to_string();
    assert!(text.contains("\"Damage\""), "{text}");
    for (body, why) in [
        (json!({"ui_label": " "}), "blank"),
        (json!({"ui_icon": "../x"}), "no icon"),
        (json!({"columns": {"nothing": {"label": "x"}}}), "no column"),
        (json!({"columns": {"name": {"hidden": true}}}), "needed"),
        (json!({"columns": {"version": {"required": false}}}), "the table says so"),
        (json!({"columns": {"impact_amt": {"read_only": false}}}), "not theirs to say"),
        (json!({"columns": {"impact_amt": {"hidden": true, "required": true}}}), "nobody could make one"),
        (json!({"code": "x"}), "not theirs to say"),
    ] {
        let refused = admin.patch("/entity/risk", body).await;
        assert_eq!(refused.status, 422, "{why}: {}", refused.body);
    }
    assert_eq!(admin.patch("/entity/nothing", json!({})).await.status, 404);
    // What only migrations say stays: nobody opens what is read only.
    let secret = admin.patch("/entity/artifact", json!({"columns": {"storage_key": {"required": true}}})).await;
    assert_eq!(secret.status, 422, "{}", secret.body);
    admin.patch("/entity/artifact", json!({"columns": {"sha256": {"label": "Fingerprint", "hidden": false}}})).await;
    let plan = admin.post("/project", json!({"name": "p"})).await.body["id"].as_str().unwrap().to_owned();
    let forged = admin.post(&format!("/project/{plan}/artifact"), json!({"name": "a", "sha256": "0".repeat(64)})).await;
    assert_eq!(forged.status, 422, "{}", forged.body);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn grants_are_seen_whole_and_passwords_are_given_once(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, viewer) = (Api::of(&router, "admin").await, Api::of(&router, "viewer").await);
    assert_eq!(viewer.get("/entity_rbac").await.status, 403);
    let types = admin.get("/entity_rbac?entity_code=project").await.body;
    assert!(
        types["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|g| g["holder_name"] == "Administrators" && g["entity_code"] == "project"),
        "{types}"
    );
    let id: Uuid = sqlx::query_scalar("select id from app.person where email = 'viewer@pmo.example'")
        .fetch_one(&pool)
        .await
        .unwrap();
    let plan = admin.post("/project", json!({"name": "Seen by name"})).await.body["id"].as_str().unwrap().to_owned();
    admin
        .post(
            "/entity_rbac",
            json!({"person_id": id, "entity_code": "project", "entity_instance_id": plan, "permission": 1}),
        )
        .await;
    let theirs = admin.get(&format!("/entity_rbac?person_id={id}")).await.body;
    assert!(
        theirs["data"].as_array().unwrap().iter().any(|g| g["title"] == "Seen by name" && g["permission"] == 1),
        "{theirs}"
    );
    for bad in ["person_id=x", "limit=1", &format!("person_id={id}&role_id={id}")] {
        assert_eq!(admin.get(&format!("/entity_rbac?{bad}")).await.status, 400, "{bad}");
    }
    // A new password counts at once, and the old one no more.
    let path = format!("/person/{id}/password");
    assert_eq!(viewer.post(&path, json!({})).await.status, 403);
    let told = admin.post(&path, json!({})).await;
    assert_eq!(told.status, 201, "{}", told.body);
    let password = told.body["password"].as_str().unwrap();
    assert!(password.len() >= 20);
    assert_eq!(login(&router, "viewer@pmo.example", DEMO_PASSWORD).await.status, 401);
    assert_eq!(login(&router, "viewer@pmo.example", password).await.status, 200);
    let live: i64 =
        sqlx::query_scalar("select count(*) from app.refresh_token where person_id = $1 and revoked_ts is null")
            .bind(id)
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(live, 1, "only the session that has just begun");
    assert_eq!(admin.post(&format!("/person/{}/password", Uuid::new_v4()), json!({})).await.status, 404);
    // That it was given is in the person's history: by whom and when.
    let history = admin.get(&format!("/person/{id}/history")).await.body;
    let last = &history["data"][0];
    assert_eq!(last["person_name"], "Ada Admin", "{history}");
    assert!(
        last["changed"]["password_given_ts"].is_array() || last["changed"]["password_given_ts"].is_object(),
        "{last}"
    );
    assert!(!history.to_string().contains(password));
}
