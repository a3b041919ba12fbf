//! Lists: pagination, filters, sort orders, reference names, `ETag`.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn cursor_pagination_is_complete_while_rows_are_inserted(pool: PgPool) {
    let router = build_router(&pool).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let mut ids: Vec<String> = Vec::new();
    let mut cursor = String::new();
    let expected: i64 = sqlx::query_scalar("select count(*) from app.task").fetch_one(&pool).await.unwrap();
    let mut page_count = 0;
    loop {
        let page = admin.get(&format!("/task?limit=7&sort=-due_date,dl__task_stage{cursor}")).await;
        ids.extend(
            page.body["data"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|r| r["name"] != "new")
                .map(|r| r["id"].as_str().unwrap().to_owned()),
        );
        sqlx::query("insert into app.task (name, due_date) values ('new', '2099-01-01'), ('new', null)")
            .execute(&pool)
            .await
            .unwrap();
        page_count += 1;
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let distinct_ids: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!((ids.len() as i64, distinct_ids.len() as i64), (expected, expected), "after {page_count} pages");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn filters_match_expected_rows_and_references_are_named(pool: PgPool) {
    let router = build_router(&pool).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    let all = admin.get("/task?limit=1000").await.body;
    let count =
        |matches: &dyn Fn(&Value) -> bool| all["data"].as_array().unwrap().iter().filter(|r| matches(r)).count();
    let mut assigned = all["data"].as_array().unwrap().iter().filter_map(|r| r["assignee__employee_ids"][0].as_str());
    let employee = assigned.next().unwrap().to_owned();
    for (query, expected) in [
        ("dl__task_stage=Completed".to_owned(), count(&|r| r["dl__task_stage"] == "Completed")),
        (
            "dl__task_stage[in]=Completed,Blocked".to_owned(),
            count(&|r| ["Completed", "Blocked"].contains(&r["dl__task_stage"].as_str().unwrap())),
        ),
        ("due_date[gte]=2026-09-01".to_owned(), count(&|r| r["due_date"].as_str().unwrap() >= "2026-09-01")),
        ("sprint_id[is_null]=true".to_owned(), count(&|r| r["sprint_id"].is_null())),
        (
            format!("assignee__employee_ids={employee}"),
            count(&|r| r["assignee__employee_ids"].as_array().unwrap().contains(&json!(employee))),
        ),
        ("milestone_flag=true".to_owned(), count(&|r| r["milestone_flag"] == true)),
        ("name[contains]=SIGN".to_owned(), count(&|r| r["name"].as_str().unwrap().to_lowercase().contains("sign"))),
        ("search=100%25".to_owned(), 0),
    ] {
        let response = admin.get(&format!("/task?limit=1&{query}")).await;
        assert_eq!(response.body["total"].as_u64(), Some(expected as u64), "{query}: {}", response.body);
    }
    assert!(all["ref_data_entityInstance"]["employee"][&employee].is_string());
    let viewer_projects = ApiClient::sign_in(&router, "viewer").await.get("/project?limit=1000").await.body;
    assert!(
        viewer_projects["ref_data_entityInstance"]["business"].as_object().unwrap().len() <= 1,
        "only names of visible entities are included"
    );
    let metadata = admin.get("/task?content=metadata").await.body;
    assert_eq!(
        metadata["metadata"]["entityListOfInstancesTable"]["editType"]["dl__task_stage"]["lookupDatalabel"],
        "task_stage"
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn child_list_is_identical_by_path_and_by_parameters(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let project = editor.first_id("project").await;
    let by_path = editor.get(&format!("/project/{project}/task?sort=-due_date,name")).await.body;
    let path = format!("/task?sort=-due_date,name&parent_entity_code=project&parent_entity_instance_id={project}");
    assert_eq!(editor.get(&path).await.body, by_path);
    assert!(by_path["total"].as_i64().unwrap() > 5 && by_path["total_is_exact"] == true);
    for invalid in [
        "parent_entity_code=project",
        "parent_entity_code=nope&parent_entity_instance_id=x",
        "parent_entity_code=customer&parent_entity_instance_id=x",
    ] {
        assert_eq!(editor.get(&format!("/task?{invalid}")).await.status, 400, "{invalid}");
    }
    let hidden = format!("/task?parent_entity_code=project&parent_entity_instance_id={}", uuid::Uuid::new_v4());
    assert_eq!(editor.get(&hidden).await.status, 404);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn each_filter_operator_matches_in_every_sort_order_for_each_query_plan(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, editor) = (ApiClient::sign_in(&router, "admin").await, ApiClient::sign_in(&router, "editor").await);
    for client in [&admin, &editor] {
        let all = client.get("/task?limit=1000").await.body;
        let all = all["data"].as_array().unwrap();
        let due_date = |row: &Value| row["due_date"].as_str().unwrap_or_default().to_owned();
        type Predicate = fn(&Value) -> bool;
        let cases: [(&str, Predicate); 9] = [
            ("due_date[gte]=2026-09-01", |r| r["due_date"].as_str().is_some_and(|d| d >= "2026-09-01")),
            ("due_date[lt]=2026-09-01", |r| r["due_date"].as_str().is_some_and(|d| d < "2026-09-01")),
            ("completion_pct[gt]=20&completion_pct[lte]=80", |r| {
                r["completion_pct"].as_f64().is_some_and(|p| p > 20.0 && p <= 80.0)
            }),
            ("dl__task_stage[in]=Blocked,In%20Review", |r| {
                r["dl__task_stage"] == "Blocked" || r["dl__task_stage"] == "In Review"
            }),
            ("dl__task_stage[ne]=Completed", |r| r["dl__task_stage"] != "Completed"),
            ("name[contains]=the%20", |r| r["name"].as_str().unwrap().to_lowercase().contains("the ")),
            ("sprint_id[is_null]=true", |r| r["sprint_id"].is_null()),
            ("story_points[is_null]=false", |r| !r["story_points"].is_null()),
            ("milestone_flag=true", |r| r["milestone_flag"] == true),
        ];
        for (filter, matches) in cases {
            let mut expected: Vec<String> = all.iter().filter(|r| matches(r)).map(|r| r["id"].to_string()).collect();
            for sort in ["due_date", "-due_date,name", "-completion_pct", "name"] {
                let mut found = Vec::new();
                let mut due_dates = Vec::new();
                let mut cursor = String::new();
                loop {
                    let page = client.get(&format!("/task?{filter}&sort={sort}&limit=17{cursor}")).await.body;
                    assert_eq!(page["total"].as_u64(), Some(expected.len() as u64), "{filter} {sort}");
                    found.extend(page["data"].as_array().unwrap().iter().map(|r| r["id"].to_string()));
                    due_dates.extend(page["data"].as_array().unwrap().iter().map(due_date));
                    match page["next_cursor"].as_str() {
                        Some(next) => cursor = format!("&cursor={next}"),
                        None => break,
                    }
                }
                if sort == "due_date" {
                    assert!(due_dates.windows(2).all(|d| d[0] <= d[1] || d[1].is_empty()), "{filter}");
                }
                found.sort();
                expected.sort();
                assert_eq!(found, expected, "{filter} {sort}");
            }
        }
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn out_of_range_list_parameters_are_rejected_with_the_field(pool: PgPool) {
    let router = build_router(&pool).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let ids: Vec<String> = (0..1_200).map(|_| uuid::Uuid::new_v4().to_string()).collect();
    for (query, field) in [
        (format!("ids={}", ids[..201].join(",")), "ids"),
        (format!("sprint_id[in]={}", ids.join(",")), "sprint_id[in]"),
        ("offset=-5".into(), "offset"),
        ("limit=0".into(), "limit"),
    ] {
        let response = editor.get(&format!("/task?{query}")).await;
        assert!(response.status.is_client_error(), "{field}: {}", response.status);
        assert_eq!(response.body["errors"][0]["field"], field, "{}", response.body);
    }
    // A list of ids that is too long for a URL is sent in a body.
    let ids: Vec<String> = (0..10_000).map(|_| uuid::Uuid::new_v4().to_string()).collect();
    let bulk = json!({"filter": {"sprint_id[in]": ids.join(",")}, "values": {"name": "all"}});
    let response = editor.post("/task/bulk", bulk).await;
    assert_eq!((response.status.as_u16(), &response.body["errors"][0]["field"]), (400, &json!("sprint_id[in]")));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn page_by_offset_returns_a_cursor_to_the_next_page(pool: PgPool) {
    let router = build_router(&pool).await;
    // The two accounts use different query plans: the visible rows of `viewer` are collected first,
    // those of `admin` are read in index order.
    for account in ["viewer", "admin"] {
        let client = ApiClient::sign_in(&router, account).await;
        let all = client.get("/task?sort=name&limit=40&fields=name").await.body;
        let page = client.get("/task?sort=name&limit=4&offset=5&fields=name").await.body;
        let cursor = page["next_cursor"].as_str().unwrap_or_else(|| panic!("{account}: {page}"));
        let next = client.get(&format!("/task?sort=name&limit=4&fields=name&cursor={cursor}")).await.body;
        for (index, row) in page["data"].as_array().unwrap().iter().chain(next["data"].as_array().unwrap()).enumerate()
        {
            assert_eq!(row, &all["data"][5 + index], "{account}: row {index}");
        }
        let past_the_end = client.get("/task?limit=4&offset=100000").await.body;
        assert_eq!(
            (past_the_end["data"].as_array().unwrap().len(), &past_the_end["total_is_exact"]),
            (0, &json!(false))
        );
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn unchanged_list_returns_not_modified(pool: PgPool) {
    let router = build_router(&pool).await;
    let (editor, admin) = (ApiClient::sign_in(&router, "editor").await, ApiClient::sign_in(&router, "admin").await);
    let first = editor.get("/task?limit=5").await;
    let etag = first.headers["etag"].to_str().unwrap().to_owned();
    let conditional_get = async || editor.send("GET", "/task?limit=5", None, &[("if-none-match", &etag)]).await;
    let unchanged = conditional_get().await;
    assert_eq!((unchanged.status.as_u16(), unchanged.headers.contains_key("feed-cursor")), (304, true));
    let id = first.body["data"][0]["id"].as_str().unwrap();
    admin.patch(&format!("/task/{id}"), serde_json::json!({"name": "another"})).await;
    let changed = conditional_get().await;
    assert_eq!((changed.status.as_u16(), &changed.body["data"][0]["name"]), (200, &serde_json::json!("another")));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn total_counts_only_deleted_rows_that_the_user_may_restore(pool: PgPool) {
    let router = build_router(&pool).await;
    let (admin, viewer) = (ApiClient::sign_in(&router, "admin").await, ApiClient::sign_in(&router, "viewer").await);
    let (project, tasks) = create_plan(&admin).await;
    let person = viewer.get("/auth/me").await.body["personId"].clone();
    for (code, id, level) in [("project", &project, 1), ("task", &tasks[1], 5)] {
        let grant = json!({"person_id": person, "entity_code": code, "entity_instance_id": id, "permission": level});
        assert_eq!(admin.post("/entity_rbac", grant).await.status, StatusCode::CREATED);
    }
    for task in &tasks[..2] {
        assert_eq!(admin.send("DELETE", &format!("/task/{task}"), None, &[]).await.status, StatusCode::NO_CONTENT);
    }
    for (client, expected) in [(&admin, 3), (&viewer, 2)] {
        for list in [format!("/project/{project}/task?"), format!("/task?project_id={project}&sort=name&")] {
            let page = client.get(&format!("{list}include_deleted=true&limit=2")).await.body;
            assert_eq!((&page["total"], page["data"].as_array().unwrap().len()), (&json!(expected), 2), "{list}");
            assert_eq!(page["next_cursor"].is_null(), expected == 2, "{list}");
        }
        let ids = tasks.join(",");
        let rows = client.get(&format!("/task?ids={ids}&include_deleted=true")).await.body;
        assert_eq!(rows["total"], json!(expected));
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn cursor_with_values_of_another_type_is_rejected(pool: PgPool) {
    let router = build_router(&pool).await;
    for account in ["viewer", "admin"] {
        let client = ApiClient::sign_in(&router, account).await;
        for value in ["soon", "99999-99-99", "\u{0}"] {
            let parts = json!([[["due_date", false]], [value, uuid::Uuid::nil()], 1, true]).to_string();
            let cursor: String = parts.bytes().map(|byte| format!("{byte:02x}")).collect();
            let response = client.get(&format!("/task?sort=due_date&cursor={cursor}")).await;
            assert_eq!(
                (response.status.as_u16(), &response.body["errors"][0]["field"]),
                (400, &json!("cursor")),
                "{value:?}"
            );
        }
    }
}
