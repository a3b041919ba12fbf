//! Pages, filters, names.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn pages_neither_skip_nor_repeat_while_rows_come_and_go(pool: PgPool) {
    let router = router(&pool).await;
    let admin = Api::of(&router, "admin").await;
    let mut seen: Vec<String> = Vec::new();
    let mut cursor = String::new();
    let expected: i64 = sqlx::query_scalar("select count(*) from app.task").fetch_one(&pool).await.unwrap();
    let mut round = 0;
    loop {
        let page = admin.get(&format!("/task?limit=7&sort=-due_date,dl__task_stage{cursor}")).await;
        seen.extend(
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
        round += 1;
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!((seen.len() as i64, distinct.len() as i64), (expected, expected), "after {round} pages");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn lists_filter_search_and_name_what_they_refer_to(pool: PgPool) {
    let router = router(&pool).await;
    let admin = Api::of(&router, "admin").await;
    let all = admin.get("/task?limit=1000").await.body;
    let count = |keep: &dyn Fn(&Value) -> bool| all["data"].as_array().unwrap().iter().filter(|r| keep(r)).count();
    let some = all["data"][0]["assignee__employee_ids"][0].as_str().unwrap().to_owned();
    for (query, expected) in [
        ("dl__task_stage=Completed".to_owned(), count(&|r| r["dl__task_stage"] == "Completed")),
        (
            "dl__task_stage[in]=Completed,Blocked".to_owned(),
            count(&|r| ["Completed", "Blocked"].contains(&r["dl__task_stage"].as_str().unwrap())),
        ),
        ("due_date[gte]=2026-09-01".to_owned(), count(&|r| r["due_date"].as_str().unwrap() >= "2026-09-01")),
        ("sprint_id[is_null]=true".to_owned(), count(&|r| r["sprint_id"].is_null())),
        (
            format!("assignee__employee_ids={some}"),
            count(&|r| r["assignee__employee_ids"].as_array().unwrap().contains(&json!(some))),
        ),
        ("milestone_flag=true".to_owned(), count(&|r| r["milestone_flag"] == true)),
        ("name[contains]=SIGN".to_owned(), count(&|r| r["name"].as_str().unwrap().to_lowercase().contains("sign"))),
        ("search=100%25".to_owned(), 0),
    ] {
        let found = admin.get(&format!("/task?limit=1&{query}")).await;
        assert_eq!(found.body["total"].as_u64(), Some(expected as u64), "{query}: {}", found.body);
    }
    assert!(all["ref_data_entityInstance"]["employee"][&some].is_string());
    let outsider_view = Api::of(&router, "viewer").await.get("/project?limit=1000").await.body;
    assert!(
        outsider_view["ref_data_entityInstance"]["business"].as_object().unwrap().len() <= 1,
        "names only of what the reader may see"
    );
    let metadata = admin.get("/task?content=metadata").await.body;
    assert_eq!(
        metadata["metadata"]["entityListOfInstancesTable"]["editType"]["dl__task_stage"]["lookupDatalabel"],
        "task_stage"
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_list_below_a_thing_is_the_same_by_path_and_by_parameters(pool: PgPool) {
    let router = router(&pool).await;
    let editor = Api::of(&router, "editor").await;
    let project = editor.first("project").await;
    let by_path = editor.get(&format!("/project/{project}/task?sort=-due_date,name")).await.body;
    let asked = format!("/task?sort=-due_date,name&parent_entity_code=project&parent_entity_instance_id={project}");
    assert_eq!(editor.get(&asked).await.body, by_path);
    assert!(by_path["total"].as_i64().unwrap() > 5 && by_path["total_is_exact"] == true);
    for wrong in [
        "parent_entity_code=project",
        "parent_entity_code=nope&parent_entity_instance_id=x",
        "parent_entity_code=customer&parent_entity_instance_id=x",
    ] {
        assert_eq!(editor.get(&format!("/task?{wrong}")).await.status, 400, "{wrong}");
    }
    let hidden = format!("/task?parent_entity_code=project&parent_entity_instance_id={}", uuid::Uuid::new_v4());
    assert_eq!(editor.get(&hidden).await.status, 404);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn each_operator_finds_what_it_says_in_every_order_and_either_way_of_gathering(pool: PgPool) {
    let router = router(&pool).await;
    let (admin, editor) = (Api::of(&router, "admin").await, Api::of(&router, "editor").await);
    for api in [&admin, &editor] {
        let all = api.get("/task?limit=1000").await.body;
        let all = all["data"].as_array().unwrap();
        let day = |row: &Value| row["due_date"].as_str().unwrap_or_default().to_owned();
        type Keep = fn(&Value) -> bool;
        let cases: [(&str, Keep); 9] = [
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
        for (filter, keep) in cases {
            let mut expected: Vec<String> = all.iter().filter(|r| keep(r)).map(|r| r["id"].to_string()).collect();
            for sort in ["due_date", "-due_date,name", "-completion_pct", "name"] {
                let mut found = Vec::new();
                let mut days = Vec::new();
                let mut cursor = String::new();
                loop {
                    let page = api.get(&format!("/task?{filter}&sort={sort}&limit=17{cursor}")).await.body;
                    assert_eq!(page["total"].as_u64(), Some(expected.len() as u64), "{filter} {sort}");
                    found.extend(page["data"].as_array().unwrap().iter().map(|r| r["id"].to_string()));
                    days.extend(page["data"].as_array().unwrap().iter().map(day));
                    match page["next_cursor"].as_str() {
                        Some(next) => cursor = format!("&cursor={next}"),
                        None => break,
                    }
                }
                if sort == "due_date" {
                    assert!(days.windows(2).all(|d| d[0] <= d[1] || d[1].is_empty()), "{filter}");
                }
                found.sort();
                expected.sort();
                assert_eq!(found, expected, "{filter} {sort}");
            }
        }
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn what_is_too_much_to_ask_is_a_400_that_says_so(pool: PgPool) {
    let router = router(&pool).await;
    let editor = Api::of(&router, "editor").await;
    let ids: Vec<String> = (0..1_200).map(|_| uuid::Uuid::new_v4().to_string()).collect();
    for (query, field) in [
        (format!("ids={}", ids[..201].join(",")), "ids"),
        (format!("sprint_id[in]={}", ids.join(",")), "sprint_id[in]"),
        ("offset=-5".into(), "offset"),
        ("limit=0".into(), "limit"),
    ] {
        let answer = editor.get(&format!("/task?{query}")).await;
        assert!(answer.status.is_client_error(), "{field}: {}", answer.status);
        assert_eq!(answer.body["errors"][0]["field"], field, "{}", answer.body);
    }
    // What no address holds comes in a body.
    let ids: Vec<String> = (0..10_000).map(|_| uuid::Uuid::new_v4().to_string()).collect();
    let bulk = json!({"filter": {"sprint_id[in]": ids.join(",")}, "values": {"name": "all"}});
    let answer = editor.post("/task/bulk", bulk).await;
    assert_eq!((answer.status.as_u16(), &answer.body["errors"][0]["field"]), (400, &json!("sprint_id[in]")));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_page_in_the_middle_leads_to_the_next(pool: PgPool) {
    let router = router(&pool).await;
    // Gathered for one, walked for the other.
    for who in ["viewer", "admin"] {
        let reader = Api::of(&router, who).await;
        let all = reader.get("/task?sort=name&limit=40&fields=name").await.body;
        let page = reader.get("/task?sort=name&limit=4&offset=5&fields=name").await.body;
        let cursor = page["next_cursor"].as_str().unwrap_or_else(|| panic!("{who}: {page}"));
        let next = reader.get(&format!("/task?sort=name&limit=4&fields=name&cursor={cursor}")).await.body;
        for (at, row) in page["data"].as_array().unwrap().iter().chain(next["data"].as_array().unwrap()).enumerate() {
            assert_eq!(row, &all["data"][5 + at], "{who}: row {at}");
        }
        let beyond = reader.get("/task?limit=4&offset=100000").await.body;
        assert_eq!((beyond["data"].as_array().unwrap().len(), &beyond["total_is_exact"]), (0, &json!(false)));
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_list_that_is_the_same_is_not_sent_again(pool: PgPool) {
    let router = router(&pool).await;
    let (editor, admin) = (Api::of(&router, "editor").await, Api::of(&router, "admin").await);
    let first = editor.get("/task?limit=5").await;
    let tag = first.headers["etag"].to_str().unwrap().to_owned();
    let again = async || editor.send("GET", "/task?limit=5", None, &[("if-none-match", &tag)]).await;
    let same = again().await;
    assert_eq!((same.status.as_u16(), same.headers.contains_key("feed-cursor")), (304, true));
    let id = first.body["data"][0]["id"].as_str().unwrap();
    admin.patch(&format!("/task/{id}"), serde_json::json!({"name": "another"})).await;
    let changed = again().await;
    assert_eq!((changed.status.as_u16(), &changed.body["data"][0]["name"]), (200, &serde_json::json!("another")));
}
