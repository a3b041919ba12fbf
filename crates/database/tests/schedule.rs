//! Guarantees of scheduling in the schema: the queue, inputs in step, versions, assignments, links.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // a failing test reports the line

use pmo_database::schedule::{self, Claim, DerivedTask, DerivedWrite};
use pmo_database::{Actor, prepare};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

/// Inserts a row with the given columns and returns its id.
async fn insert(pool: &PgPool, table: &str, columns: Value) -> Uuid {
    try_insert(pool, table, columns).await.unwrap()
}

async fn try_insert(pool: &PgPool, table: &str, columns: Value) -> Result<Uuid, sqlx::Error> {
    let names = columns.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(", ");
    let statement = format!(
        "insert into app.{table} ({names}) select {names} from jsonb_populate_record(null::app.{table}, $1) returning id"
    );
    sqlx::query_scalar(AssertSqlSafe(statement)).bind(columns).fetch_one(pool).await
}

async fn execute(pool: &PgPool, statement: &str, id: Uuid) {
    sqlx::query(AssertSqlSafe(statement.to_owned())).bind(id).execute(pool).await.unwrap();
}

/// Returns columns of a row as JSON.
async fn row(pool: &PgPool, table: &str, id: Uuid) -> Value {
    let statement = format!("select to_jsonb(t) from app.{table} t where id = $1");
    sqlx::query_scalar(AssertSqlSafe(statement)).bind(id).fetch_one(pool).await.unwrap()
}

/// Empties the queue and returns the projects that were in it, one entry for each row.
async fn drain_queue(pool: &PgPool) -> Vec<Uuid> {
    let mut projects: Vec<Uuid> =
        sqlx::query_scalar("delete from app.schedule_queue returning project_id").fetch_all(pool).await.unwrap();
    projects.sort();
    projects
}

/// Creates a project with two tasks, and empties the queue.
async fn create_plan(pool: &PgPool) -> (Uuid, Uuid, Uuid) {
    let project = insert(pool, "project", json!({"name": "Plan"})).await;
    let first = insert(pool, "task", json!({"name": "first", "project_id": project})).await;
    let second = insert(pool, "task", json!({"name": "second", "project_id": project})).await;
    drain_queue(pool).await;
    (project, first, second)
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn changes_of_inputs_are_queued_and_others_are_not(pool: PgPool) {
    let (project, first, second) = create_plan(&pool).await;
    let link =
        insert(&pool, "task_dependency", json!({"predecessor__task_id": first, "successor__task_id": second})).await;
    assert_eq!(drain_queue(&pool).await, [project], "a new dependency");
    for (statement, id) in [
        ("update app.task set duration_minutes = 60 where id = $1", first),
        ("update app.task set start_date = '2026-01-01' where id = $1", first),
        ("update app.task set dl__schedule_mode = 'Manual' where id = $1", first),
        ("update app.task_dependency set lag_days = 1 where id = $1", link),
        ("update app.project set planned_start_date = '2026-01-01' where id = $1", project),
        ("select app.soft_delete('task', $1)", first),
        ("select app.restore('task', $1)", first),
        ("delete from app.task_dependency where id = $1", link),
    ] {
        execute(&pool, statement, id).await;
        assert_eq!(drain_queue(&pool).await, [project], "{statement}");
    }
    for (statement, id) in [
        ("update app.task set name = 'renamed', descr = 'text', estimated_hours = 3 where id = $1", first),
        ("update app.task set duration_minutes = duration_minutes where id = $1", first),
        ("update app.project set name = 'renamed' where id = $1", project),
    ] {
        execute(&pool, statement, id).await;
        assert_eq!(drain_queue(&pool).await, Vec::<Uuid>::new(), "{statement}");
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn transaction_queues_each_project_once_in_the_name_of_its_actor(pool: PgPool) {
    let ((one, ..), (two, ..)) = (create_plan(&pool).await, create_plan(&pool).await);
    let actor = Actor { person_id: Some(Uuid::now_v7()), ..Actor::default() };
    let mut transaction = pmo_database::begin(&pool, &actor).await.unwrap();
    for minutes in 1..4 {
        sqlx::query("update app.task set duration_minutes = $1")
            .bind(minutes)
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
    let causes: Vec<Option<Uuid>> =
        sqlx::query_scalar("select cause_person_id from app.schedule_queue").fetch_all(&pool).await.unwrap();
    assert_eq!(causes, [actor.person_id; 2]);
    let mut expected = [one, two];
    expected.sort();
    assert_eq!(drain_queue(&pool).await, expected);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn calendars_queue_the_projects_that_use_them(pool: PgPool) {
    let ((one, task, _), (two, other, _), (three, ..)) =
        (create_plan(&pool).await, create_plan(&pool).await, create_plan(&pool).await);
    let base = insert(&pool, "calendar", json!({"name": "Base"})).await;
    let derived = insert(&pool, "calendar", json!({"name": "Derived", "base__calendar_id": base})).await;
    let person = insert(&pool, "employee", json!({"name": "Ada", "calendar_id": derived})).await;
    insert(&pool, "assignment", json!({"task_id": task, "employee_id": person})).await;
    sqlx::query("update app.task set calendar_id = $1 where id = $2")
        .bind(base)
        .bind(other)
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("update app.project set calendar_id = $1 where id = $2")
        .bind(base)
        .bind(three)
        .execute(&pool)
        .await
        .unwrap();
    drain_queue(&pool).await;
    let mut all = [one, two, three];
    all.sort();
    let exception =
        json!({"name": "Day off", "calendar_id": base, "start_date": "2026-01-01", "end_date": "2026-01-01"});
    let exception = insert(&pool, "calendar_exception", exception).await;
    assert_eq!(drain_queue(&pool).await, all, "a new exception");
    execute(&pool, "update app.calendar_exception set end_date = '2026-01-02' where id = $1", exception).await;
    assert_eq!(drain_queue(&pool).await, all, "a changed exception");
    execute(&pool, "update app.calendar set week = '[[], [], [], [], [], [], []]' where id = $1", derived).await;
    assert_eq!(drain_queue(&pool).await, [one], "the calendar of an assigned person");
    execute(&pool, "update app.employee set calendar_id = null where id = $1", person).await;
    assert_eq!(drain_queue(&pool).await, [one], "another calendar of an assigned person");
    let error = sqlx::query("update app.calendar set base__calendar_id = $2 where id = $1")
        .bind(base)
        .bind(derived)
        .execute(&pool)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("based on itself"), "{error}");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn durations_and_lags_in_days_and_minutes_stay_equal(pool: PgPool) {
    let (project, first, second) = create_plan(&pool).await;
    let duration = async || {
        let row = row(&pool, "task", first).await;
        (row["duration_minutes"].as_f64(), row["duration_days"].as_f64())
    };
    execute(&pool, "update app.task set duration_days = 2 where id = $1", first).await;
    assert_eq!(duration().await, (Some(960.0), Some(2.0)));
    execute(&pool, "update app.task set duration_minutes = 240 where id = $1", first).await;
    assert_eq!(duration().await, (Some(240.0), Some(0.5)));
    execute(&pool, "update app.task set duration_minutes = 480, duration_days = 7 where id = $1", first).await;
    assert_eq!(duration().await, (Some(480.0), Some(1.0)), "minutes win");
    execute(&pool, "update app.task set duration_minutes = 1440, duration_unit = 'ed' where id = $1", first).await;
    assert_eq!(duration().await, (Some(1440.0), Some(1.0)), "an elapsed day has 24 hours");
    execute(&pool, "update app.task set duration_days = null where id = $1", first).await;
    assert_eq!(duration().await, (None, None));
    let link = json!({"predecessor__task_id": first, "successor__task_id": second, "lag_days": -1.5});
    let link = insert(&pool, "task_dependency", link).await;
    let lag = async || {
        let row = row(&pool, "task_dependency", link).await;
        (row["lag_minutes"].as_f64().unwrap(), row["lag_days"].as_f64().unwrap())
    };
    assert_eq!(lag().await, (-720.0, -1.5));
    execute(&pool, "update app.project set day_hours = 7 where id = $1", project).await;
    assert_eq!(lag().await, (-720.0, -1.714), "minutes stay");
    execute(&pool, "update app.task_dependency set lag_days = 1 where id = $1", link).await;
    assert_eq!(lag().await, (420.0, 1.0));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn assignments_and_assignees_stay_equal(pool: PgPool) {
    let (_, task, _) = create_plan(&pool).await;
    let ada = insert(&pool, "employee", json!({"name": "Ada"})).await;
    let ben = insert(&pool, "employee", json!({"name": "Ben"})).await;
    let assigned = async || {
        sqlx::query_scalar::<_, Uuid>(
            "select employee_id from app.assignment where task_id = $1 and active_flag and employee_id is not null order by employee_id",
        )
        .bind(task)
        .fetch_all(&pool)
        .await
        .unwrap()
    };
    let assignees = async || {
        serde_json::from_value::<Vec<Uuid>>(row(&pool, "task", task).await["assignee__employee_ids"].clone()).unwrap()
    };
    let set = async |people: &[Uuid]| {
        sqlx::query("update app.task set assignee__employee_ids = $2 where id = $1")
            .bind(task)
            .bind(people)
            .execute(&pool)
            .await
            .unwrap();
    };
    set(&[ada, ada]).await;
    assert_eq!(assigned().await, [ada], "one row for each person");
    insert(&pool, "assignment", json!({"task_id": task, "placeholder_role": "Engineer"})).await;
    assert_eq!(assignees().await, [ada, ada], "a role is no assignee");
    let row_of_ben = insert(&pool, "assignment", json!({"task_id": task, "employee_id": ben})).await;
    assert_eq!(assignees().await, [ada, ada, ben]);
    assert!(
        try_insert(&pool, "assignment", json!({"task_id": task, "employee_id": ben})).await.is_err(),
        "one row for each person"
    );
    assert!(try_insert(&pool, "assignment", json!({"task_id": task})).await.is_err(), "a person or a role");
    assert_eq!(row(&pool, "assignment", row_of_ben).await["name"], "Assignment", "the name names no person");
    execute(&pool, "select app.soft_delete('assignment', $1)", row_of_ben).await;
    assert_eq!(assignees().await, [ada, ada]);
    execute(&pool, "select app.restore('assignment', $1)", row_of_ben).await;
    set(&[ben]).await;
    assert_eq!((assignees().await, assigned().await), (vec![ben], vec![ben]));
    execute(
        &pool,
        "update app.assignment set employee_id = null, placeholder_role = 'Designer' where id = $1",
        row_of_ben,
    )
    .await;
    assert_eq!(assignees().await, Vec::<Uuid>::new());
    set(&[ada, ben]).await;
    execute(&pool, "select app.soft_delete('task', $1)", task).await;
    assert_eq!((assignees().await, assigned().await), (vec![ada, ben], vec![]), "a deleted task keeps its people");
    execute(&pool, "select app.restore('task', $1)", task).await;
    let mut people = vec![ada, ben];
    people.sort();
    assert_eq!((assignees().await, assigned().await), (vec![ada, ben], people));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn dependencies_may_cross_projects_but_form_no_ring(pool: PgPool) {
    let ((one, a, b), (two, c, d)) = (create_plan(&pool).await, create_plan(&pool).await);
    let link = |from: Uuid, to: Uuid| json!({"predecessor__task_id": from, "successor__task_id": to});
    insert(&pool, "task_dependency", link(a, b)).await;
    let external = insert(&pool, "task_dependency", link(b, c)).await;
    let external_row = row(&pool, "task_dependency", external).await;
    assert_eq!(external_row["project_id"], json!(two), "it belongs to the project of its successor");
    assert_eq!(external_row["name"], "→ first", "the name of a task of another project is not copied");
    let error = try_insert(&pool, "task_dependency", link(c, a)).await.unwrap_err().to_string();
    assert!(error.contains("cycle"), "{error}");
    let error = try_insert(&pool, "task_dependency", link(b, c)).await.unwrap_err().to_string();
    assert!(error.contains("already connects"), "{error}");
    let mut start_to_start = link(b, c);
    start_to_start["dl__dependency_type"] = json!("SS");
    insert(&pool, "task_dependency", start_to_start).await;
    let mut foreign = link(a, d);
    foreign["project_id"] = json!(one);
    let error = try_insert(&pool, "task_dependency", foreign).await.unwrap_err().to_string();
    assert!(error.contains("project of the dependency"), "{error}");
    // Through a summary: d below c follows b; b must not follow d.
    sqlx::query("update app.task set parent__task_id = $2 where id = $1").bind(d).bind(c).execute(&pool).await.unwrap();
    assert!(try_insert(&pool, "task_dependency", link(d, b)).await.is_err(), "a subtask waits with its summary");
    assert!(try_insert(&pool, "task_dependency", link(c, d)).await.is_err(), "a summary and its subtask");
    // A moved successor takes its dependency along.
    execute(&pool, "update app.task set parent__task_id = null where id = $1", d).await;
    let moved = insert(&pool, "task_dependency", link(a, d)).await;
    sqlx::query("update app.task set project_id = $2 where id = $1").bind(d).bind(one).execute(&pool).await.unwrap();
    assert_eq!(row(&pool, "task_dependency", moved).await["project_id"], json!(one));
}

/// Claims the next project, as a worker does.
async fn claim(transaction: &mut pmo_database::Transaction) -> Claim {
    schedule::claim_project(transaction, &[]).await.unwrap().unwrap()
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn derived_write_keeps_the_input_version_and_logs_in_the_name_of_the_cause(pool: PgPool) {
    prepare(&pool).await.unwrap();
    let (project, task, _) = create_plan(&pool).await;
    let person = Uuid::now_v7();
    let actor = Actor { person_id: Some(person), first_name: "Ada".into(), ..Actor::default() };
    let mut transaction = pmo_database::begin(&pool, &actor).await.unwrap();
    sqlx::query("update app.task set duration_minutes = 60 where id = $1")
        .bind(task)
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    let mut transaction = pmo_database::begin(&pool, &Actor::default()).await.unwrap();
    let claim = claim(&mut transaction).await;
    assert_eq!((claim.project, claim.row_count, claim.cause), (project, 1, Some(person)));
    let diff = r#"{"start_date":{"old":null,"new":"2000-01-03"}}"#.to_owned();
    let written = DerivedTask {
        id: task,
        version: 2,
        start: Some(33_600),
        start_day: Some(2),
        is_critical: true,
        diff,
        ..DerivedTask::default()
    };
    let write = DerivedWrite { tasks: vec![written], ..DerivedWrite::default() };
    assert_eq!(schedule::write_derived(&mut transaction, &claim, &write).await.unwrap(), 1);
    transaction.commit().await.unwrap();
    let row = row(&pool, "task", task).await;
    let stored = ["version", "input_version", "start_ts", "start_date", "critical_flag", "duration_minutes"]
        .map(|column| row[column].clone());
    assert_eq!(json!(stored), json!([3, 2, "2000-01-03T08:00:00", "2000-01-03", true, 60.0]));
    let logged: (String, Option<String>, Option<Uuid>, i64, i16, Value, Option<i32>) = sqlx::query_as(
        "select username, fname, actor_person_id, entity_version, action, changed, ancestor_set_id from app.system_logging
         where entity_id = $1 order by seq desc limit 1",
    )
    .bind(task)
    .fetch_one(&pool)
    .await
    .unwrap();
    let changed = json!({"start_date": {"old": null, "new": "2000-01-03"}});
    assert_eq!(
        (logged.0.as_str(), logged.1, logged.2, logged.3, logged.4, logged.5),
        ("system", None, Some(person), 3, 3, changed)
    );
    assert_eq!(logged.6.map(i64::from), row["ancestor_set_id"].as_i64());
    assert_eq!(drain_queue(&pool).await, Vec::<Uuid>::new(), "a derived write queues nothing");
    execute(&pool, "update app.task set name = 'renamed' where id = $1", task).await;
    let row = self::row(&pool, "task", task).await;
    assert_eq!((row["version"].as_i64(), row["input_version"].as_i64()), (Some(4), Some(4)));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn task_that_changed_meanwhile_is_left_out_and_queued_again(pool: PgPool) {
    let (project, task, _) = create_plan(&pool).await;
    execute(&pool, "update app.task set duration_minutes = 60 where id = $1", task).await;
    let mut transaction = pmo_database::begin(&pool, &Actor::default()).await.unwrap();
    let claim = claim(&mut transaction).await;
    execute(&pool, "update app.task set name = 'renamed meanwhile' where id = $1", task).await;
    let write = DerivedWrite {
        tasks: vec![DerivedTask { id: task, version: 2, diff: "{}".into(), ..DerivedTask::default() }],
        ..DerivedWrite::default()
    };
    assert_eq!(schedule::write_derived(&mut transaction, &claim, &write).await.unwrap(), 0);
    transaction.commit().await.unwrap();
    assert_eq!(drain_queue(&pool).await, [project]);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn interrupted_worker_loses_no_change_and_others_skip_its_project(pool: PgPool) {
    let ((one, first, _), (two, second, _)) = (create_plan(&pool).await, create_plan(&pool).await);
    execute(&pool, "update app.task set duration_minutes = 60 where id = $1", first).await;
    execute(&pool, "update app.task set duration_minutes = 60 where id = $1", second).await;
    let mut interrupted = pmo_database::begin(&pool, &Actor::default()).await.unwrap();
    assert_eq!(claim(&mut interrupted).await.project, one);
    let mut other = pmo_database::begin(&pool, &Actor::default()).await.unwrap();
    assert_eq!(claim(&mut other).await.project, two);
    let mut third = pmo_database::begin(&pool, &Actor::default()).await.unwrap();
    assert_eq!(schedule::claim_project(&mut third, &[]).await.unwrap(), None);
    other.commit().await.unwrap();
    interrupted.rollback().await.unwrap();
    assert_eq!(claim(&mut third).await.project, one);
    assert_eq!(schedule::claim_project(&mut third, &[one]).await.unwrap(), None, "an excluded project");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn project_with_its_own_calendar_can_be_purged_and_a_used_calendar_cannot(pool: PgPool) {
    let (project, ..) = create_plan(&pool).await;
    let own = insert(&pool, "calendar", json!({"name": "Own", "project_id": project})).await;
    sqlx::query("update app.project set calendar_id = $2 where id = $1")
        .bind(project)
        .bind(own)
        .execute(&pool)
        .await
        .unwrap();
    execute(&pool, "select app.soft_delete('calendar', $1)", own).await;
    let refused = sqlx::query("select app.purge('calendar', $1)").bind(own).execute(&pool).await.unwrap_err();
    assert!(refused.to_string().contains("still referenced"), "{refused}");
    execute(&pool, "select app.soft_delete('project', $1)", project).await;
    execute(&pool, "select app.purge('project', $1)", project).await;
    let left: i64 =
        sqlx::query_scalar("select (select count(*) from app.project) + (select count(*) from app.calendar)")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(left, 0);
}
