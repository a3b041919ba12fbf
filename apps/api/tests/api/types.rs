//! Types by migration alone, and the description of the interface.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_type_added_by_migration_alone_works_at_once(pool: PgPool) {
    let router = router(&pool).await;
    let admin = Api::of(&router, "admin").await;
    assert_eq!(admin.get("/gadget").await.status, StatusCode::NOT_FOUND);
    sqlx::raw_sql(
        "insert into app.entity (code, name, ui_label, code_prefix) values ('gadget', 'Gadget', 'Gadgets', 'GAD');
         create table app.gadget (like app.entity_columns including defaults, primary key (id), project_id uuid references app.project, price_amt numeric(17,4), dl__project_health text);
         select app.register_entity('gadget');
         insert into app.entity_child (parent_code, child_code, column_name) values ('project', 'gadget', 'project_id');
         insert into app.entity_rbac (role_id, entity_code, permission) select id, 'gadget', 7 from app.role where name = 'Administrators';",
    )
    .execute(&pool)
    .await
    .unwrap();
    // The catalogue is read again at most once a second for a name it does not know: wait for that, not for a clock.
    let mut made =
        admin.post("/gadget", json!({"name": "one", "price_amt": "3.50", "dl__project_health": "Red"})).await;
    let patience = std::time::Instant::now();
    while made.status == StatusCode::NOT_FOUND && patience.elapsed().as_secs() < 10 {
        tokio::task::yield_now().await;
        made = admin.post("/gadget", json!({"name": "one", "price_amt": "3.50", "dl__project_health": "Red"})).await;
    }
    assert_eq!((made.status, &made.body["code"]), (StatusCode::CREATED, &json!("GAD-1")), "{}", made.body);
    let id = made.body["id"].as_str().unwrap();
    assert_eq!(admin.patch(&format!("/gadget/{id}"), json!({"price_amt": "4.00"})).await.body["version"], 2);
    assert_eq!(admin.get("/gadget?price_amt[gte]=3.99").await.body["total"], 1);
    assert_eq!(admin.send("DELETE", &format!("/gadget/{id}"), None, &[]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin.get("/gadget").await.body["total"], 0);
}

#[test]
fn the_interface_describes_every_route_with_its_answers() {
    let document = pmo_api::api_router().1;
    let paths = document["paths"].as_object().unwrap();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(operation["summary"].as_str().is_some_and(|s| !s.is_empty()), "{method} {path} has no summary");
            assert!(
                operation["responses"].as_object().is_some_and(|r| !r.is_empty()),
                "{method} {path} has no answers"
            );
            // A client is generated from it: each body has an example, and each answer a schema.
            for (kind, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                assert!(!kind.contains("json") || !content["example"].is_null(), "{method} {path}: no example to send");
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                for content in response["content"].as_object().into_iter().flatten().map(|(_, content)| content) {
                    assert!(!content["example"].is_null(), "{method} {path}: {status} without an example");
                    let schema =
                        content["schema"]["$ref"].as_str().and_then(|r| document.pointer(r.trim_start_matches('#')));
                    assert!(schema.is_some(), "{method} {path}: {status} could be anything");
                }
            }
        }
    }
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn the_interface_is_the_one_that_is_written_down() {
    let path = "../../docs/openapi.json";
    let present = format!("{:#}", pmo_api::api_router().1);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, format!("{present}\n")).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written.trim() == present.trim(),
        "the interface has changed: look at it, then run this test with UPDATE_SNAPSHOTS=1"
    );
}
