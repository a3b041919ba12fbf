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
