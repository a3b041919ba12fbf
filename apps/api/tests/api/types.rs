//! Entity types: added by a migration, every type of the model; and the `OpenAPI` document.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn type_added_by_a_migration_is_served_without_restart(pool: PgPool) {
    let router = build_router(&pool).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    assert_eq!(admin.get("/gadget").await.status, StatusCode::NOT_FOUND);
    sqlx::raw_sql(
        "insert into app.entity (code, name, ui_label, code_prefix) values ('gadget', 'Gadget', 'Gadgets', 'GAD');
         create table app.gadget (like app.entity_columns including defaults, primary key (id), project_id uuid references app.project, price_amt numeric(17,4), dl__project_health text);
         select app.register_entity('gadget');
         insert into app.entity_child (parent_code, child_code, parent_column) values ('project', 'gadget', 'project_id');
         insert into app.entity_rbac (role_id, entity_code, permission) select id, 'gadget', 7 from app.role where name = 'Administrators';",
    )
    .execute(&pool)
    .await
    .unwrap();
    // A request for an unknown type reloads the catalog, at most once a second. The loop repeats
    // the request until then.
    let mut created =
        admin.post("/gadget", json!({"name": "one", "price_amt": "3.50", "dl__project_health": "Red"})).await;
    let started = std::time::Instant::now();
    while created.status == StatusCode::NOT_FOUND && started.elapsed().as_secs() < 10 {
        tokio::task::yield_now().await;
        created = admin.post("/gadget", json!({"name": "one", "price_amt": "3.50", "dl__project_health": "Red"})).await;
    }
    assert_eq!((created.status, &created.body["code"]), (StatusCode::CREATED, &json!("GAD-1")), "{}", created.body);
    let id = created.body["id"].as_str().unwrap();
    assert_eq!(admin.patch(&format!("/gadget/{id}"), json!({"price_amt": "4.00"})).await.body["version"], 2);
    assert_eq!(admin.get("/gadget?price_amt[gte]=3.99").await.body["total"], 1);
    assert_eq!(admin.send("DELETE", &format!("/gadget/{id}"), None, &[]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(admin.get("/gadget").await.body["total"], 0);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn catalog_reports_which_types_the_user_can_create(pool: PgPool) {
    let router = build_router(&pool).await;
    let (mut created_count, mut rejected_count) = (0, 0);
    for account in ["admin", "viewer"] {
        let client = ApiClient::sign_in(&router, account).await;
        for entity_type in client.get("/entity/codes").await.body.as_array().unwrap() {
            let code = text_of(&entity_type["code"]);
            assert_eq!(entity_type["can_create"], entity_type["may_create"], "{code}");
            let response = client.post(&format!("/{code}"), json!({"name": "Example"})).await;
            match (response.status.as_u16(), &entity_type["may_create"]) {
                (201, can_create) => created_count += usize::from(can_create.as_bool().unwrap()),
                (403, can_create) => {
                    rejected_count += 1;
                    assert_eq!(*can_create, json!(false), "{code}: {}", response.body);
                    let article = if text_of(&entity_type["name"]).to_lowercase().starts_with(['a', 'e', 'i', 'o']) {
                        " an "
                    } else {
                        " a "
                    };
                    assert!(text_of(&response.body["detail"]).contains(article), "{}", response.body);
                }
                // The type has further required columns.
                (status, _) => assert_eq!(status, 422, "{code}: {}", response.body),
            }
        }
    }
    assert!(created_count > 10 && rejected_count > 5, "{created_count} {rejected_count}");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn every_type_can_be_created_read_updated_and_deleted(pool: PgPool) {
    let router = build_router(&pool).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let codes = admin.get("/entity/codes").await.body;
    let codes: Vec<&Value> = codes.as_array().unwrap().iter().collect();
    assert_eq!(codes.len(), 38, "all types of the model");
    let (project, tasks) = create_plan(&admin).await;
    let calendar = text_of(&admin.post("/calendar", json!({"name": "Calendar"})).await.body["id"]);
    // The server creates schedules.
    for entity_type in codes.into_iter().filter(|entity_type| entity_type["code"] != "schedule") {
        let code = text_of(&entity_type["code"]);
        let mut values = json!({"name": "Example"});
        for column in entity_type["columns"].as_array().unwrap() {
            let name = text_of(&column["name"]);
            if column["read_only"] == true {
                continue;
            }
            match (name.as_str(), text_of(&column["kind"]).as_str()) {
                ("predecessor__task_id", _) => values[&name] = json!(tasks[0]),
                ("successor__task_id", _) => values[&name] = json!(tasks[1]),
                ("project_id", _) => values[&name] = json!(project),
                ("calendar_id", _) => values[&name] = json!(calendar),
                ("task_id", _) => values[&name] = json!(tasks[0]),
                ("placeholder_role", _) => values[&name] = json!("Engineer"),
                ("email", _) => values[&name] = json!(format!("{code}@x.example")),
                ("body", _) => values[&name] = json!("Text"),
                ("sha256" | "storage_key" | "size_bytes" | "media_type" | "wbs" | "rank" | "author__person_id", _) => {}
                (_, "money") => values[&name] = json!("12.5000"),
                (_, "date") => values[&name] = json!("2026-02-03"),
                (_, "percent") => values[&name] = json!(40.0),
                (_, "hours" | "days") => values[&name] = json!(1.5),
                (_, "text") => values[&name] = json!("Some *words*"),
                _ => {}
            }
        }
        let created = admin.post(&format!("/{code}"), values.clone()).await;
        assert_eq!(created.status, 201, "{code}: {}", created.body);
        for (name, value) in values.as_object().unwrap() {
            assert_eq!(&created.body[name], value, "{code}.{name}");
        }
        let path = format!("/{code}/{}", text_of(&created.body["id"]));
        assert_eq!(admin.patch(&path, json!({"descr": "Changed"})).await.body["version"], 2, "{code}");
        let list = admin.get(&format!("/{code}?descr=Changed&sort=-name&fields=name,descr")).await;
        assert_eq!(list.body["total"], 1, "{code}: {}", list.body);
        let metadata = admin.get(&format!("/{code}?content=metadata")).await.body;
        assert!(metadata["metadata"]["entityListOfInstancesTable"]["editType"]["descr"].is_object(), "{code}");
        for tab in admin.get(&format!("{path}/dynamic-child-entity-tabs")).await.body.as_array().unwrap() {
            assert_eq!(tab["count"], 0, "{code}: {tab}");
        }
        assert_eq!(admin.send("DELETE", &path, None, &[]).await.status, 204, "{code}");
        assert_eq!(admin.get(&path).await.status, 404, "{code}");
    }
}

#[test]
fn openapi_document_describes_every_route_with_examples_and_schemas() {
    let document = pmo_api::api_router().1;
    let paths = document["paths"].as_object().unwrap();
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(operation["summary"].as_str().is_some_and(|s| !s.is_empty()), "{method} {path} has no summary");
            assert!(
                operation["responses"].as_object().is_some_and(|r| !r.is_empty()),
                "{method} {path} has no responses"
            );
            // Client generators need an example of each request body and a schema of each response.
            for (kind, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                assert!(
                    !kind.contains("json") || !content["example"].is_null(),
                    "{method} {path}: the request body has no example"
                );
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                for content in response["content"].as_object().into_iter().flatten().map(|(_, content)| content) {
                    assert!(!content["example"].is_null(), "{method} {path}: response {status} has no example");
                    let schema =
                        content["schema"]["$ref"].as_str().and_then(|r| document.pointer(r.trim_start_matches('#')));
                    assert!(schema.is_some(), "{method} {path}: response {status} has no schema");
                }
            }
        }
    }
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn openapi_document_equals_the_committed_one() {
    let path = "../../docs/openapi.json";
    let current = format!("{:#}", pmo_api::api_router().1);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, format!("{current}\n")).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(
        committed.trim() == current.trim(),
        "the OpenAPI document has changed: review the change, then run this test with UPDATE_SNAPSHOTS=1"
    );
}
