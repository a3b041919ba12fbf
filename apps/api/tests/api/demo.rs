//! Demo data endpoint.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn administrator_loads_demo_data_once_without_usable_demo_accounts(pool: PgPool) {
    let jwt_secret = jwt_secret();
    let config = Config::parse_from(["pmo-api", "--jwt-secret", &jwt_secret, "--web-dist", "/nonexistent"]);
    let router = pmo_api::router(AppState::new(pool.clone(), config).await.unwrap());
    let mut transaction = pmo_database::begin(&pool, &pmo_database::Actor::default()).await.unwrap();
    let person = pmo_database::bootstrap::add_administrator(&mut transaction, "first@office.example").await.unwrap();
    transaction.commit().await.unwrap();
    let administrator = ApiClient::for_person(&router, person);
    assert_eq!(administrator.get("/project").await.body["total"], 0);
    let loaded = administrator.send("POST", "/demo", None, &[]).await;
    assert_eq!(loaded.status, StatusCode::CREATED, "{}", loaded.body);
    let projects = administrator.get("/project?limit=1000").await.body["data"].as_array().unwrap().len();
    assert_eq!(loaded.body["loaded"]["projects"].as_u64().unwrap() as usize, projects);
    assert_eq!(
        administrator.send("POST", "/demo", None, &[]).await.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "demo data is loaded only once"
    );
    for email in seed::DEMO_ACCOUNTS {
        assert_eq!(login(&router, email, DEMO_PASSWORD).await.status, StatusCode::UNAUTHORIZED, "{email}");
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn demo_data_has_computed_dates_and_leaves_nothing_to_schedule(pool: PgPool) {
    let today = jiff::civil::date(2026, 11, 30);
    let summary = seed::run_on(&pool, Scale::Demo, today).await.unwrap();
    assert!(summary.contains("36 projects"), "{summary}");
    let wrong = [
        ("tasks without dates", "app.task where start_ts is null or finish_ts is null or start_date <> start_ts::date"),
        ("changed tasks", "app.task where version <> 1 or input_version <> 1"),
        (
            "projects without schedule",
            "app.project p where not exists (select from app.schedule s where s.project_id = p.id)",
        ),
        ("queued projects", "app.schedule_queue"),
        (
            "people without assignment",
            "app.task t, unnest(t.assignee__employee_ids) e where not exists (select from app.assignment a where a.task_id = t.id and a.employee_id = e)",
        ),
        ("finished tasks after today", "app.task where actual_end_date > '2026-11-30'"),
        (
            "days that differ from minutes",
            "app.task where duration_days <> round(duration_minutes / case when duration_unit like 'e%' then 1440 else 480 end, 3)",
        ),
    ];
    for (name, from) in wrong {
        assert_eq!(count_rows(&pool, from).await, 0, "{name}");
    }
    let present = [
        ("app.task", 1500),
        ("app.task where summary_flag", 200),
        ("app.task where dl__task_stage = 'Blocked'", 5),
        ("app.task_dependency where dl__dependency_type = 'SF'", 1),
        ("app.task_dependency where lag_minutes < 0", 20),
        ("app.assignment where placeholder_role is not null", 50),
        ("app.baseline", 25),
        ("app.milestone where dl__milestone_status = 'At Risk'", 3),
        ("app.risk", 100),
        ("app.issue where dl__issue_status <> 'Closed'", 30),
        ("app.decision where dl__decision_status = 'Accepted'", 30),
        ("app.change_request", 15),
        ("app.cost where dl__cost_status = 'Actual'", 30),
        ("app.message where reply_to__message_id is not null", 15),
        ("app.calendar_exception", 100),
        ("app.employee where calendar_id is not null", 5),
    ];
    for (from, least) in present {
        let count = count_rows(&pool, from).await;
        assert!(count >= least, "{from}: {count}");
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn schedule_worker_finds_the_dates_of_demo_data_right(pool: PgPool) {
    seed::run_on(&pool, Scale::Demo, jiff::civil::date(2026, 11, 30)).await.unwrap();
    sqlx::query("insert into app.schedule_queue (project_id) select id from app.project").execute(&pool).await.unwrap();
    let mut worker = pmo_api::schedule_worker::ScheduleWorker::new(
        pool.clone(),
        pmo_database::NotifyMode::InTransaction,
        std::sync::Arc::default(),
    );
    assert_eq!(worker.run_pending().await.unwrap(), 36);
    assert_eq!(count_rows(&pool, "app.schedule_queue").await, 0);
    let changed: Vec<String> = sqlx::query_scalar("select name from app.task where version <> 1 order by 1 limit 10")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(changed, [] as [String; 0], "the worker computes the same dates");
}
