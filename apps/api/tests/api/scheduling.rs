//! The schedule worker and writes of inputs, on real rows.

use crate::harness::*;
use crate::statement_counts::StatementLog;
use pmo_api::schedule_worker::ScheduleWorker;
use pmo_planning::schedule;
use pmo_project_plan::{AssignmentInput, CalendarSet, DependencyInput, PlanInput, ProjectInput, Row, TaskInput, build};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Builds the router, signs in as administrator, creates a worker, and empties the queue.
async fn set_up(pool: &PgPool) -> (Router, ApiClient, ScheduleWorker) {
    let router = build_router(pool).await;
    let admin = ApiClient::sign_in(&router, "admin").await;
    sqlx::query("truncate app.schedule_queue").execute(pool).await.unwrap();
    let worker = worker(pool);
    (router, admin, worker)
}

fn worker(pool: &PgPool) -> ScheduleWorker {
    ScheduleWorker::new(pool.clone(), pmo_database::NotifyMode::InTransaction, Arc::default())
}

/// Creates a project that starts on Monday 2 March 2026.
async fn create_project(client: &ApiClient) -> String {
    created(client, "/project", json!({"name": "Plan", "planned_start_date": "2026-03-02"})).await
}

/// Creates a task of a number of days and returns its id.
async fn create_task(client: &ApiClient, project: &str, days: u32) -> String {
    created(client, &format!("/project/{project}/task"), json!({"name": "Task", "duration_days": days})).await
}

async fn create_link(client: &ApiClient, from: &str, to: &str) -> String {
    let project = text_of(&client.get(&format!("/task/{to}")).await.body["project_id"]);
    let link = json!({"predecessor__task_id": from, "successor__task_id": to});
    created(client, &format!("/project/{project}/task_dependency"), link).await
}

/// Creates an entity and returns its id.
async fn created(client: &ApiClient, path: &str, body: Value) -> String {
    let response = client.post(path, body).await;
    assert_eq!(response.status, 201, "{path}: {}", response.body);
    text_of(&response.body["id"])
}

/// Returns start and finish of a task.
async fn dates(client: &ApiClient, task: &str) -> (String, String) {
    let row = client.get(&format!("/task/{task}")).await.body;
    (text_of(&row["start_ts"]), text_of(&row["finish_ts"]))
}

fn range(start: &str, finish: &str) -> (String, String) {
    (start.to_owned(), finish.to_owned())
}

/// Returns the rows of a type that the client sees below a project.
async fn rows(client: &ApiClient, project: &str, code: &str) -> Vec<Row> {
    let body = client.get(&format!("/project/{project}/{code}?limit=200")).await.body;
    body["data"].as_array().unwrap().iter().map(|row| row.as_object().unwrap().clone()).collect()
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn duration_of_a_task_moves_its_successors(pool: PgPool) {
    let (_router, admin, mut worker) = set_up(&pool).await;
    let project = create_project(&admin).await;
    let (first, second) = (create_task(&admin, &project, 2).await, create_task(&admin, &project, 1).await);
    create_link(&admin, &first, &second).await;
    assert_eq!(worker.run_pending().await.unwrap(), 1, "the changes of one project are one run");
    assert_eq!(dates(&admin, &first).await, range("2026-03-02T08:00:00", "2026-03-03T17:00:00"));
    assert_eq!(dates(&admin, &second).await, range("2026-03-04T08:00:00", "2026-03-04T17:00:00"));
    let response = admin.patch(&format!("/task/{first}"), json!({"duration_minutes": 5 * 480})).await;
    assert_eq!((response.status, &response.body["duration_days"]), (StatusCode::OK, &json!(5.0)));
    assert_eq!(worker.run_pending().await.unwrap(), 1);
    assert_eq!(dates(&admin, &second).await, range("2026-03-09T08:00:00", "2026-03-09T17:00:00"));
    let row = admin.get(&format!("/task/{second}")).await.body;
    assert_eq!((&row["start_date"], &row["due_date"]), (&json!("2026-03-09"), &json!("2026-03-09")));
    assert_eq!(row["critical_flag"], true);
    assert_eq!(worker.run_pending().await.unwrap(), 0, "computed dates queue nothing");
    let schedule = rows(&admin, &project, "schedule").await;
    assert_eq!(schedule.len(), 1);
    assert_eq!(schedule[0]["finish_ts"], "2026-03-09T17:00:00");
    let version = schedule[0]["version"].clone();
    admin.patch(&format!("/task/{second}"), json!({"leveling_priority": 1})).await;
    assert_eq!(worker.run_pending().await.unwrap(), 1);
    assert_eq!(rows(&admin, &project, "schedule").await[0]["version"], version, "an equal schedule is not written");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn worker_computes_the_same_as_the_library_on_the_rows_of_the_api(pool: PgPool) {
    let (_router, admin, mut worker) = set_up(&pool).await;
    let base = json!({"name": "Four days", "week": [[[540, 1020]], null, null, null, [], [], []]});
    let base = created(&admin, "/calendar", base).await;
    let calendar = created(&admin, "/calendar", json!({"name": "Plan", "base__calendar_id": base})).await;
    let holiday = json!({"name": "Holiday", "calendar_id": base, "start_date": "2026-03-04", "end_date": "2026-03-04"});
    created(&admin, "/calendar_exception", holiday).await;
    let night = created(&admin, "/calendar", json!({"name": "Night", "week": vec![json!([[0, 360]]); 7]})).await;
    let project = created(
        &admin,
        "/project",
        json!({"name": "Plan", "planned_start_date": "2026-03-02", "calendar_id": calendar}),
    )
    .await;
    let employee = admin.first_id("employee").await;
    admin.patch(&format!("/employee/{employee}"), json!({"calendar_id": night})).await;
    let mut tasks = Vec::new();
    for days in [1, 3, 2, 5] {
        tasks.push(create_task(&admin, &project, days).await);
    }
    create_link(&admin, &tasks[0], &tasks[1]).await;
    let link = create_link(&admin, &tasks[1], &tasks[2]).await;
    admin.patch(&format!("/task_dependency/{link}"), json!({"lag_days": -1, "dl__dependency_type": "SS"})).await;
    admin
        .patch(
            &format!("/task/{}", tasks[3]),
            json!({"parent__task_id": tasks[0], "assignee__employee_ids": [employee]}),
        )
        .await;
    assert_eq!(worker.run_pending().await.unwrap(), 1);
    let schedule_row = &rows(&admin, &project, "schedule").await[0];
    assert_eq!(schedule_row["calendars"]["employees"][&employee], json!(night));
    let mut assignments = Vec::new();
    for task in &tasks {
        let body = admin.get(&format!("/task/{task}/assignment")).await.body;
        assignments.extend(
            body["data"].as_array().unwrap().iter().map(|row| AssignmentInput::from_row(row.as_object().unwrap())),
        );
    }
    let project_row = admin.get(&format!("/project/{project}")).await.body;
    let input = PlanInput {
        project: ProjectInput::from_row(project_row.as_object().unwrap()),
        tasks: rows(&admin, &project, "task").await.iter().map(TaskInput::from_row).collect(),
        dependencies: rows(&admin, &project, "task_dependency").await.iter().map(DependencyInput::from_row).collect(),
        assignments,
        calendars: CalendarSet::from_json(&schedule_row["calendars"]),
        external_tasks: Vec::new(),
    };
    let plan = build(&input);
    let computed = schedule(&plan.plan);
    let stored: BTreeMap<Uuid, &TaskInput> = input.tasks.iter().map(|task| (task.id, task)).collect();
    assert_eq!((plan.task_count, input.assignments.len()), (4, 1));
    assert_eq!((&plan.incomplete[..], &plan.faults[..]), (&[][..], &[][..]));
    for (position, id) in plan.task_ids.iter().enumerate() {
        let derived = plan.derived(&computed, u32::try_from(position).unwrap()).unwrap();
        assert!(!derived.differs_from(&stored[id].stored), "{derived:?} {:?}", stored[id].stored);
    }
    assert_eq!(schedule_row["problem_count"], json!(computed.problems.len()));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn workers_share_the_projects_and_write_each_once(pool: PgPool) {
    let (_router, admin, mut worker_a) = set_up(&pool).await;
    let mut worker_b = worker(&pool);
    let mut tasks = Vec::new();
    for _ in 0..12 {
        tasks.push(create_task(&admin, &create_project(&admin).await, 1).await);
    }
    let (a, b) = tokio::join!(worker_a.run_pending(), worker_b.run_pending());
    assert!(a.unwrap() + b.unwrap() >= 12);
    assert_eq!(count_rows(&pool, "app.schedule_queue").await, 0);
    for task in tasks {
        let row = admin.get(&format!("/task/{task}")).await.body;
        assert_eq!((&row["version"], &row["start_date"]), (&json!(2), &json!("2026-03-02")));
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn writes_based_on_a_version_before_computed_dates_do_not_conflict(pool: PgPool) {
    let (_router, admin, mut worker) = set_up(&pool).await;
    let project = create_project(&admin).await;
    let task = create_task(&admin, &project, 1).await;
    worker.run_pending().await.unwrap();
    let path = format!("/task/{task}");
    assert_eq!(admin.get(&path).await.body["version"], 2);
    let body = || Some(json!({"duration_minutes": 960}));
    let response = admin.send("PATCH", &path, body(), &[("if-match", "\"1\"")]).await;
    assert_eq!((response.status, &response.body["version"]), (StatusCode::OK, &json!(3)), "{}", response.body);
    worker.run_pending().await.unwrap();
    let body = || Some(json!({"duration_minutes": 480}));
    let response = admin.send("PATCH", &path, body(), &[("if-match", "\"2\"")]).await;
    assert_eq!(response.status, 412, "an input has changed since version 2");
    assert_eq!(response.body["current"]["version"], 4);
    let operation = |version: i64| json!({"mutations": [{"action": "update", "entity": "task", "id": task, "version": version, "values": {"name": format!("v{version}")}}]});
    let results = admin.post("/batch", operation(3)).await.body;
    assert_eq!(results["results"][0]["status"], 200, "{results}");
    let results = admin.post("/batch", operation(3)).await.body;
    assert_eq!(results["results"][0]["status"], 412, "a name is an input as well");
    let response = admin.send("DELETE", &path, None, &[("if-match", "\"9\"")]).await;
    assert_eq!(response.status, 412, "a version that does not exist yet");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn manual_tasks_and_tasks_in_a_ring_keep_their_dates(pool: PgPool) {
    let (_router, admin, mut worker) = set_up(&pool).await;
    let project = create_project(&admin).await;
    let manual = json!({"name": "Manual", "dl__schedule_mode": "Manual", "manual_start_ts": "2026-05-04T10:00", "manual_finish_ts": "2026-05-05T12:00"});
    let manual = created(&admin, &format!("/project/{project}/task"), manual).await;
    let (first, second) = (create_task(&admin, &project, 1).await, create_task(&admin, &project, 1).await);
    create_link(&admin, &first, &manual).await;
    worker.run_pending().await.unwrap();
    assert_eq!(dates(&admin, &manual).await, range("2026-05-04T10:00:00", "2026-05-05T12:00:00"));
    let before = dates(&admin, &second).await;
    // The API refuses a ring; an import that did not check one may write it.
    sqlx::query(
        "with unchecked as (select set_config('app.bulk_import', 'on', true))
         insert into app.task_dependency (predecessor__task_id, successor__task_id)
         select ends.* from unchecked, (values ($1::uuid, $2::uuid), ($2, $1)) ends",
    )
    .bind(first.parse::<Uuid>().unwrap())
    .bind(second.parse::<Uuid>().unwrap())
    .execute(&pool)
    .await
    .unwrap();
    admin.patch(&format!("/task/{first}"), json!({"duration_minutes": 4800})).await;
    worker.run_pending().await.unwrap();
    assert_eq!(dates(&admin, &second).await, before);
    assert!(rows(&admin, &project, "schedule").await[0]["problem_count"].as_i64() > Some(0));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn project_that_fails_does_not_stop_the_others(pool: PgPool) {
    let (_router, admin, mut worker) = set_up(&pool).await;
    let locked = create_task(&admin, &create_project(&admin).await, 1).await;
    let free = create_task(&admin, &create_project(&admin).await, 1).await;
    let mut blocker = pool.begin().await.unwrap();
    sqlx::query("select from app.task where id = $1 for update")
        .bind(locked.parse::<Uuid>().unwrap())
        .execute(&mut *blocker)
        .await
        .unwrap();
    worker.run_pending().await.unwrap();
    assert_eq!(dates(&admin, &free).await, range("2026-03-02T08:00:00", "2026-03-02T17:00:00"));
    assert_eq!(dates(&admin, &locked).await, range("", ""));
    assert_eq!(count_rows(&pool, "app.schedule_queue").await, 1, "the change waits for the next attempt");
    blocker.rollback().await.unwrap();
    self::worker(&pool).run_pending().await.unwrap();
    assert_eq!(dates(&admin, &locked).await, range("2026-03-02T08:00:00", "2026-03-02T17:00:00"));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn changed_dates_move_successors_in_other_projects(pool: PgPool) {
    let (router, admin, mut worker) = set_up(&pool).await;
    let (one, two) = (create_project(&admin).await, create_project(&admin).await);
    let (first, second) = (create_task(&admin, &one, 1).await, create_task(&admin, &two, 1).await);
    create_link(&admin, &first, &second).await;
    worker.run_pending().await.unwrap();
    assert_eq!(dates(&admin, &second).await, range("2026-03-03T08:00:00", "2026-03-03T17:00:00"));
    admin.patch(&format!("/task/{first}"), json!({"duration_minutes": 4 * 480})).await;
    assert_eq!(worker.run_pending().await.unwrap(), 2, "the project of the successor follows");
    assert_eq!(dates(&admin, &second).await, range("2026-03-06T08:00:00", "2026-03-06T17:00:00"));
    // A person who sees only the second project can neither name the predecessor nor read its name.
    let person = text_of(&ApiClient::sign_in(&router, "outsider").await.get("/auth/me").await.body["personId"]);
    let grant = json!({"person_id": person, "entity_code": "project", "entity_instance_id": two, "permission": 6});
    assert_eq!(admin.post("/entity_rbac", grant).await.status, 201);
    let outsider = ApiClient::sign_in(&router, "outsider").await;
    assert_eq!(
        dates(&outsider, &second).await,
        range("2026-03-06T08:00:00", "2026-03-06T17:00:00"),
        "computed by the server"
    );
    assert_eq!(outsider.get(&format!("/task/{first}")).await.status, 404);
    let link = json!({"predecessor__task_id": first, "successor__task_id": second, "dl__dependency_type": "SS"});
    let response = outsider.post(&format!("/project/{two}/task_dependency"), link).await;
    assert_eq!(response.status, 422, "{}", response.body);
    assert_eq!(response.body["errors"][0]["field"], "predecessor__task_id");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn rings_and_duplicates_are_refused_with_a_reason(pool: PgPool) {
    let (_router, admin, _worker) = set_up(&pool).await;
    let project = create_project(&admin).await;
    let (first, second) = (create_task(&admin, &project, 1).await, create_task(&admin, &project, 1).await);
    create_link(&admin, &first, &second).await;
    for (from, to, reason) in [(&second, &first, "cycle"), (&first, &second, "already connects")] {
        let link = json!({"predecessor__task_id": from, "successor__task_id": to});
        let response = admin.post(&format!("/project/{project}/task_dependency"), link).await;
        assert_eq!(
            (response.status, &response.body["errors"][0]["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("successor__task_id"))
        );
        assert!(response.body.to_string().contains(reason), "{}", response.body);
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn invalid_inputs_are_refused_and_extreme_ones_are_computed(pool: PgPool) {
    let (_router, admin, mut worker) = set_up(&pool).await;
    let project = create_project(&admin).await;
    let task = create_task(&admin, &project, 1).await;
    let other = create_task(&admin, &project, 1).await;
    let link = create_link(&admin, &task, &other).await;
    let calendar = created(&admin, "/calendar", json!({"name": "C"})).await;
    let exception = json!({"name": "E", "calendar_id": calendar, "start_date": "2026-01-02", "end_date": "2026-01-03"});
    let exception = created(&admin, &format!("/calendar/{calendar}/calendar_exception"), exception).await;
    // The route of calendar feeds begins like that of the type.
    assert_eq!(admin.get(&format!("/calendar/{calendar}")).await.body["name"], "C");
    assert_eq!(admin.patch(&format!("/calendar/{calendar}"), json!({"name": "D"})).await.status, 200);
    assert_eq!(admin.get(&format!("/calendar/{calendar}/history")).await.status, 200);
    assert_eq!(admin.get("/calendar/unknown.ics").await.status, 404);
    for (path, body) in [
        (format!("/task/{task}"), json!({"duration_minutes": -1})),
        (format!("/task/{task}"), json!({"duration_minutes": 1e300})),
        (format!("/task/{task}"), json!({"duration_minutes": "NaN"})),
        (format!("/task/{task}"), json!({"duration_unit": "fortnight"})),
        (format!("/task/{task}"), json!({"duration_days": 1e11})),
        (format!("/task/{task}"), json!({"constraint_ts": "2026-03-02T08:00:00Z"})),
        (format!("/task/{task}"), json!({"constraint_ts": "2026-02-30T08:00:00"})),
        (format!("/task/{task}"), json!({"dl__constraint_type": "Whenever"})),
        (format!("/task/{task}"), json!({"leveling_priority": 1001})),
        (format!("/task/{task}"), json!({"segments": [[0, -5]]})),
        (format!("/task/{task}"), json!({"segments": {"a": 1}})),
        (format!("/task/{task}"), json!({"start_ts": "2026-03-02T08:00:00"})),
        (format!("/task/{task}"), json!({"input_version": 0})),
        (format!("/task_dependency/{link}"), json!({"lag_minutes": 1e12})),
        (format!("/task_dependency/{link}"), json!({"lag_unit": "x"})),
        (format!("/project/{project}"), json!({"day_hours": 0})),
        (format!("/project/{project}"), json!({"day_hours": 25})),
        (format!("/calendar/{calendar}"), json!({"week": [[[0, 1441]], [], [], [], [], [], []]})),
        (format!("/calendar/{calendar}"), json!({"week": "always"})),
        (format!("/calendar/{calendar}"), json!({"work_weeks": [{"from": "2026-01-01"}]})),
        (format!("/calendar/{calendar}"), json!({"base__calendar_id": calendar})),
        (format!("/calendar_exception/{exception}"), json!({"working_times": [[600, 500]]})),
        (format!("/calendar_exception/{exception}"), json!({"recurrence": {"type": "weekly", "every": 0}})),
        (format!("/calendar_exception/{exception}"), json!({"end_date": "2026-01-01"})),
    ] {
        let response = admin.patch(&path, body.clone()).await;
        assert_eq!(response.status, 422, "{path} {body}: {}", response.body);
    }
    for body in [
        json!({"employee_id": null}),
        json!({"placeholder_role": "A", "employee_id": admin.first_id("employee").await}),
    ] {
        let response = admin.post(&format!("/task/{task}/assignment"), body).await;
        assert_eq!(response.status, 422, "{}", response.body);
    }
    let schedule = json!({"name": "S", "project_id": project});
    assert_eq!(admin.post("/schedule", schedule).await.status, 422, "only the server creates schedules");
    let extreme = json!({"duration_minutes": 107_374_182, "constraint_ts": "9999-12-31T23:59:59", "dl__constraint_type": "Must Finish On",
        "deadline_ts": "0001-01-01T00:00", "leveling_delay_minutes": 107_374_182, "actual_start_date": "0001-01-01"});
    assert_eq!(admin.patch(&format!("/task/{task}"), extreme).await.status, 200);
    admin.patch(&format!("/task_dependency/{link}"), json!({"lag_minutes": -107_374_182, "lag_pct": 999_999})).await;
    let week = json!({"calendar_id": calendar, "day_hours": 0.001, "planned_start_date": "9999-12-31"});
    assert_eq!(admin.patch(&format!("/project/{project}"), week).await.status, 200);
    assert_eq!(worker.run_pending().await.unwrap(), 1);
    assert_eq!(count_rows(&pool, "app.schedule_queue").await, 0, "the run has not failed");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn fixed_option_sets_cannot_be_changed(pool: PgPool) {
    let (_router, admin, _worker) = set_up(&pool).await;
    for set in ["schedule_from", "schedule_mode", "effort_type", "constraint_type", "dependency_type"] {
        let current = admin.get(&format!("/datalabel?name={set}")).await.body;
        assert_eq!(current["fixed_flag"], true, "{set}");
        let options: Vec<Value> = current["options"]
            .as_array()
            .unwrap()
            .iter()
            .map(|option| json!({"id": option["id"], "name": option["name"]}))
            .collect();
        let response = admin.send("PUT", &format!("/datalabel/{set}"), Some(json!({"options": options})), &[]).await;
        assert_eq!(
            (response.status, &response.body["errors"][0]["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("name")),
            "{}",
            response.body
        );
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn plan_of_10_000_tasks_needs_a_bounded_number_of_statements(pool: PgPool) {
    let (_router, admin, mut worker) = set_up(&pool).await;
    let project = create_project(&admin).await;
    sqlx::query(
        "insert into app.task (name, project_id, duration_minutes, rank, wbs)
         select 'Task ' || n, $1, 480, lpad(n::text, 6, '0'), n::text from generate_series(1, 10000) n",
    )
    .bind(project.parse::<Uuid>().unwrap())
    .execute(&pool)
    .await
    .unwrap();
    let log = StatementLog::default();
    let guard = tracing::subscriber::set_default(log.clone());
    let started = std::time::Instant::now();
    assert_eq!(worker.run_pending().await.unwrap(), 1);
    println!("run for 10,000 tasks: {:?}", started.elapsed());
    drop(guard);
    let statements = log.take();
    assert!(statements.len() <= 16, "{}: {statements:#?}", statements.len());
    assert_eq!(count_rows(&pool, "app.task where start_ts = '2026-03-02 08:00' and version = 2").await, 10_000);
    assert_eq!(
        count_rows(
            &pool,
            "app.system_logging where entity_code = 'task' and entity_version = 2 and username = 'system'"
        )
        .await,
        10_000
    );
    let error_free = admin.get(&format!("/project/{project}/task?limit=1")).await;
    assert_eq!(error_free.status, 200);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn typed_values_become_inputs(pool: PgPool) {
    let (_router, admin, mut worker) = set_up(&pool).await;
    let project = create_project(&admin).await;
    let typed = json!({"name": "Typed", "start_date": "2026-03-11", "duration_days": 2});
    let task = created(&admin, &format!("/project/{project}/task"), typed).await;
    let path = format!("/task/{task}");
    let row = admin.get(&path).await.body;
    assert_eq!(
        (&row["dl__constraint_type"], &row["constraint_ts"]),
        (&json!("Start No Earlier Than"), &json!("2026-03-11T08:00:00"))
    );
    assert_eq!(row["start_date"], "2026-03-11", "provisional until the worker has run");
    worker.run_pending().await.unwrap();
    assert_eq!(dates(&admin, &task).await, range("2026-03-11T08:00:00", "2026-03-12T17:00:00"));
    let row = admin.patch(&path, json!({"due_date": "2026-03-13"})).await.body;
    assert_eq!(row["duration_minutes"], 1440.0, "{row}");
    worker.run_pending().await.unwrap();
    assert_eq!(admin.get(&path).await.body["due_date"], "2026-03-13");
    let row = admin.patch(&path, json!({"completion_pct": 100})).await.body;
    assert_eq!(
        (&row["actual_start_date"], &row["actual_end_date"]),
        (&json!("2026-03-11"), &json!("2026-03-13")),
        "{row}"
    );
    let row = admin
        .patch(
            &path,
            json!({"completion_pct": 0, "actual_start_date": null, "actual_end_date": null, "start_date": null}),
        )
        .await
        .body;
    assert_eq!(
        (&row["dl__constraint_type"], &row["constraint_ts"]),
        (&json!("As Soon As Possible"), &Value::Null),
        "{row}"
    );
    worker.run_pending().await.unwrap();
    assert_eq!(admin.get(&path).await.body["start_date"], "2026-03-02");
    // The finish of a summary follows from its subtasks.
    let subtask =
        created(&admin, &format!("/project/{project}/task"), json!({"name": "Sub", "parent__task_id": task})).await;
    worker.run_pending().await.unwrap();
    assert_eq!(admin.get(&path).await.body["summary_flag"], true);
    let response = admin.patch(&path, json!({"due_date": "2026-04-01"})).await;
    assert_eq!(
        (response.status, &response.body["errors"][0]["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("due_date")),
        "{}",
        response.body
    );
    // A version is restored with its inputs, not with its computed dates.
    admin.patch(&format!("/task/{subtask}"), json!({"start_date": "2026-03-20"})).await;
    worker.run_pending().await.unwrap();
    let restored = admin.post(&format!("/task/{subtask}/history/1/restore"), Value::Null).await;
    assert_eq!(
        (restored.status, &restored.body["dl__constraint_type"]),
        (StatusCode::OK, &json!("As Soon As Possible")),
        "{}",
        restored.body
    );
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn contributors_report_progress_with_its_consequences(pool: PgPool) {
    let (router, admin, _worker) = set_up(&pool).await;
    let person = text_of(&ApiClient::sign_in(&router, "viewer").await.get("/auth/me").await.body["personId"]);
    let employee = created(&admin, "/employee", json!({"name": "Viewer", "person_id": person})).await;
    let project = create_project(&admin).await;
    let task = create_task(&admin, &project, 2).await;
    let grant = json!({"person_id": person, "entity_code": "project", "entity_instance_id": project, "permission": 2});
    assert_eq!(admin.post("/entity_rbac", grant).await.status, 201);
    admin.patch(&format!("/task/{task}"), json!({"assignee__employee_ids": [employee]})).await;
    let viewer = ApiClient::sign_in(&router, "viewer").await;
    let response = viewer.patch(&format!("/task/{task}"), json!({"completion_pct": 50})).await;
    assert_eq!(response.status, 200, "{}", response.body);
    assert!(response.body["actual_start_date"].is_string(), "{}", response.body);
    let response = viewer.patch(&format!("/task/{task}"), json!({"start_date": "2026-03-20"})).await;
    assert_eq!(response.status, 403, "dates are not for contributors");
}
