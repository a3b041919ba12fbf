//! Guarantees of the schema: logging, versions, links, outline, feed and subscriptions.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // a failing test reports the line

use pmo_database::{bootstrap, change_log, permission, prepare};
use pmo_domain::change_log::LogRange;
use pmo_domain::{EntityCode, FeedCursor, PersonId, Snapshot, fractional_index};
use serde_json::Value;
use uuid::Uuid;

async fn insert_project(pool: &sqlx::PgPool, name: &str) -> Uuid {
    sqlx::query_scalar("insert into app.project (name) values ($1) returning id")
        .bind(name)
        .fetch_one(pool)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn every_registered_type_has_its_table_and_triggers(pool: sqlx::PgPool) {
    let incomplete: Vec<String> = sqlx::query_scalar(
        "select e.code from app.entity e
         where (select count(*) from pg_trigger t where t.tgrelid = to_regclass('app.' || quote_ident(e.code)) and t.tgname in ('t20_touch_row', 't50_log_change', 't60_maintain_links')) <> 3",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(incomplete, Vec::<String>::new());
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn change_is_logged_with_diff_and_actor(pool: sqlx::PgPool) {
    let id = insert_project(&pool, "one").await;
    let actor = pmo_database::Actor { username: "a@b.example".into(), ..Default::default() };
    let mut transaction = pmo_database::begin(&pool, &actor).await.unwrap();
    sqlx::query("update app.project set name = 'two' where id = $1").bind(id).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let entries: Vec<(i16, i64, String, Value)> = sqlx::query_as(
        "select action, entity_version, username, changed from app.system_logging where entity_id = $1 order by seq",
    )
    .bind(id)
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!((entries[0].0, entries[0].1, entries[0].2.as_str()), (6, 1, "system"));
    assert_eq!((entries[1].0, entries[1].1, entries[1].2.as_str()), (3, 2, "a@b.example"));
    assert_eq!(entries[1].3, serde_json::json!({"name": {"old": "one", "new": "two"}}));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn noop_update_creates_no_version_and_no_log_row(pool: sqlx::PgPool) {
    let id = insert_project(&pool, "one").await;
    sqlx::query("update app.project set name = 'one' where id = $1").bind(id).execute(&pool).await.unwrap();
    let (version, log_rows): (i64, i64) = sqlx::query_as(
        "select version, (select count(*) from app.system_logging where entity_id = $1) from app.project where id = $1",
    )
    .bind(id)
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!((version, log_rows), (1, 1));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn links_follow_parent_columns(pool: sqlx::PgPool) {
    let (one, two) = (insert_project(&pool, "one").await, insert_project(&pool, "two").await);
    let task: Uuid = sqlx::query_scalar("insert into app.task (name, project_id) values ('t', $1) returning id")
        .bind(one)
        .fetch_one(&pool)
        .await
        .unwrap();
    let parents = || async {
        sqlx::query_scalar::<_, Uuid>("select parent_id from app.entity_instance_link where child_id = $1")
            .bind(task)
            .fetch_all(&pool)
            .await
            .unwrap()
    };
    assert_eq!(parents().await, [one]);
    sqlx::query("update app.task set project_id = $2 where id = $1").bind(task).bind(two).execute(&pool).await.unwrap();
    assert_eq!(parents().await, [two]);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn owned_children_are_deleted_and_restored_with_their_parent(pool: sqlx::PgPool) {
    let id = insert_project(&pool, "one").await;
    for name in ["a", "b"] {
        sqlx::query("insert into app.task (name, project_id) values ($1, $2)")
            .bind(name)
            .bind(id)
            .execute(&pool)
            .await
            .unwrap();
    }
    sqlx::query("update app.task set active_flag = false where name = 'b'").execute(&pool).await.unwrap();
    let active_tasks = || async {
        sqlx::query_scalar::<_, i64>("select count(*) from app.task where active_flag").fetch_one(&pool).await.unwrap()
    };
    sqlx::query("select app.soft_delete('project', $1)").bind(id).execute(&pool).await.unwrap();
    assert_eq!(active_tasks().await, 0);
    sqlx::query("select app.restore('project', $1)").bind(id).execute(&pool).await.unwrap();
    assert_eq!(active_tasks().await, 1, "a task deleted earlier stays deleted");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn outline_rejects_cycles_and_foreign_parents(pool: sqlx::PgPool) {
    let (one, two) = (insert_project(&pool, "one").await, insert_project(&pool, "two").await);
    let insert = |project: Uuid, parent: Option<Uuid>| {
        let pool = pool.clone();
        async move {
            sqlx::query_scalar::<_, Uuid>(
                "insert into app.task (name, project_id, parent__task_id) values ('t', $1, $2) returning id",
            )
            .bind(project)
            .bind(parent)
            .fetch_one(&pool)
            .await
        }
    };
    let a = insert(one, None).await.unwrap();
    let b = insert(one, Some(a)).await.unwrap();
    assert!(insert(two, Some(a)).await.is_err());
    assert!(
        sqlx::query("update app.task set parent__task_id = $2 where id = $1")
            .bind(a)
            .bind(b)
            .execute(&pool)
            .await
            .is_err()
    );
    let wbs: String =
        sqlx::query_scalar("select wbs from app.task where id = $1").bind(b).fetch_one(&pool).await.unwrap();
    assert_eq!(wbs, "1.1");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn log_reads_miss_nothing_while_a_transaction_stays_open(pool: sqlx::PgPool) {
    let mut reader = pool.acquire().await.unwrap();
    let (epoch, start) = change_log::current_position(&mut reader).await.unwrap();
    let mut slow = pool.begin().await.unwrap();
    let late_id: Uuid = sqlx::query_scalar("insert into app.project (name) values ('slow') returning id")
        .fetch_one(&mut *slow)
        .await
        .unwrap();
    for n in 0..20 {
        insert_project(&pool, &format!("quick {n}")).await;
    }
    let batch = change_log::read_batch(&mut reader, &from(epoch, &start), &[]).await.unwrap();
    assert_eq!(batch.rows.len(), 20, "the open transaction does not delay other rows");
    slow.commit().await.unwrap();
    let after = change_log::read_batch(&mut reader, &from(epoch, &batch.snapshot), &[]).await.unwrap();
    assert_eq!(after.rows.iter().map(|r| r.id).collect::<Vec<_>>(), [late_id]);
    let last = change_log::read_batch(&mut reader, &from(epoch, &after.snapshot), &[]).await.unwrap();
    assert!(last.rows.is_empty(), "no row is read twice");
}

/// Returns the range of all rows after a snapshot.
fn from(epoch: i64, snapshot: &Snapshot) -> LogRange {
    LogRange::since(&FeedCursor { epoch, snapshot: snapshot.clone() })
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn large_transaction_is_read_in_batches_during_other_writes(pool: sqlx::PgPool) {
    let mut reader = pool.acquire().await.unwrap();
    let (epoch, start) = change_log::current_position(&mut reader).await.unwrap();
    sqlx::query("insert into app.customer (name) select 'c' || n from generate_series(1, 4500) n")
        .execute(&pool)
        .await
        .unwrap();
    let first = change_log::read_batch(&mut reader, &from(epoch, &start), &[]).await.unwrap();
    assert!(first.has_more && first.rows.len() == change_log::BATCH_ROWS);
    insert_project(&pool, "meanwhile").await;
    let mut rows = first.rows;
    loop {
        let last = rows.last().unwrap();
        let range =
            LogRange { until: Some(first.snapshot.clone()), after: Some((last.xid, last.seq)), ..from(epoch, &start) };
        let batch = change_log::read_batch(&mut reader, &range, &[]).await.unwrap();
        rows.extend(batch.rows);
        if !batch.has_more {
            break;
        }
    }
    let ids: std::collections::BTreeSet<Uuid> = rows.iter().map(|r| r.id).collect();
    assert_eq!((rows.len(), ids.len()), (4500, 4500));
    assert!(rows.iter().all(|r| r.code == "customer"), "rows written meanwhile are in the next range");
    let rest = change_log::read_batch(&mut reader, &from(epoch, &first.snapshot), &[]).await.unwrap();
    assert_eq!(rest.rows.len(), 1);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn rolled_back_savepoints_are_not_delivered(pool: sqlx::PgPool) {
    let mut reader = pool.acquire().await.unwrap();
    let (epoch, start) = change_log::current_position(&mut reader).await.unwrap();
    let mut rolled_back = pool.begin().await.unwrap();
    sqlx::query("insert into app.project (name) values ('rolled back')").execute(&mut *rolled_back).await.unwrap();
    rolled_back.rollback().await.unwrap();
    let mut with_savepoints = pool.begin().await.unwrap();
    for statement in [
        "insert into app.project (name) values ('before')",
        "savepoint s",
        "insert into app.project (name) values ('undone')",
        "rollback to savepoint s",
        "savepoint t",
        "insert into app.project (name) values ('released')",
        "release savepoint t",
    ] {
        sqlx::query(statement).execute(&mut *with_savepoints).await.unwrap();
    }
    with_savepoints.commit().await.unwrap();
    let codes = [EntityCode::new("project").unwrap()];
    let batch = change_log::read_batch(&mut reader, &from(epoch, &start), &codes).await.unwrap();
    let names: Vec<&str> = batch.rows.iter().filter_map(|r| r.new_value_str("name")).collect();
    assert_eq!(names, ["before", "released"]);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn new_epoch_begins_when_the_database_identity_changes(pool: sqlx::PgPool) {
    let first: i64 = sqlx::query_scalar("select app.renew_epoch_if_changed()").fetch_one(&pool).await.unwrap();
    let again: i64 = sqlx::query_scalar("select app.renew_epoch_if_changed()").fetch_one(&pool).await.unwrap();
    sqlx::query("update app.feed_epoch set identity = 'restored from elsewhere'").execute(&pool).await.unwrap();
    let restored: i64 = sqlx::query_scalar("select app.renew_epoch_if_changed()").fetch_one(&pool).await.unwrap();
    assert_eq!((again, restored), (first, first + 1));
    // A schema that is recreated in the same database also gets a new epoch: the first epoch is the
    // current time in seconds.
    sqlx::query("delete from app.feed_epoch").execute(&pool).await.unwrap();
    let now: i64 = sqlx::query_scalar("select extract(epoch from now())::bigint").fetch_one(&pool).await.unwrap();
    let recreated: i64 = sqlx::query_scalar("select app.renew_epoch_if_changed()").fetch_one(&pool).await.unwrap();
    assert!((now - 1..now + 5).contains(&recreated));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn subscriptions_are_per_connection_and_removed_on_disconnect(pool: sqlx::PgPool) {
    use pmo_database::subscription_mirror;
    let (person, id) = (Uuid::new_v4(), Uuid::new_v4());
    let mut conn = pool.acquire().await.unwrap();
    for connection in ["pod-1", "pod-2"] {
        subscription_mirror::upsert_leases(&mut conn, "pod", &[(connection.to_owned(), person)].into()).await.unwrap();
        subscription_mirror::subscribe(&mut conn, connection, person, &["task".into()], &[id]).await.unwrap();
    }
    let subscribers = || async {
        sqlx::query_scalar::<_, String>(
            "select connection_id::text from app.get_batch_subscribers('task', array[$1]) order by 1",
        )
        .bind(id)
        .fetch_all(&pool)
        .await
        .unwrap()
    };
    assert_eq!(subscribers().await, ["pod-1", "pod-2"]);
    subscription_mirror::delete_connections(&mut conn, &["pod-1".to_owned()]).await.unwrap();
    assert_eq!(subscribers().await, ["pod-2"]);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn add_administrator_replaces_expired_grants_and_restores_the_person(pool: sqlx::PgPool) {
    let mut conn = pool.acquire().await.unwrap();
    let person = bootstrap::add_administrator(&mut conn, "admin@office.example").await.unwrap();
    sqlx::raw_sql("update app.entity_rbac set expires_ts = now() - interval '1 day'")
        .execute(&mut *conn)
        .await
        .unwrap();
    sqlx::query("select app.soft_delete('person', $1)").bind(person).execute(&mut *conn).await.unwrap();
    let can_create = async |conn: &mut sqlx::PgConnection| {
        permission::can_create(conn, PersonId(person), &EntityCode::new("project").unwrap()).await.unwrap()
    };
    assert!(!can_create(&mut conn).await);
    for _ in 0..2 {
        assert_eq!(bootstrap::add_administrator(&mut conn, "Admin@office.example").await.unwrap(), person);
        assert!(can_create(&mut conn).await);
    }
    let (grants, types): (i64, i64) = sqlx::query_as(
        "select (select count(*) from app.entity_rbac where expires_ts is null), (select count(*) from app.entity)",
    )
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    assert_eq!(grants, types, "a repeated call adds no grants");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn pruning_in_batches_removes_all_old_title_changes(pool: sqlx::PgPool) {
    prepare(&pool).await.unwrap();
    let mut conn = pool.acquire().await.unwrap();
    // A snapshot two million transactions later, found before the function of the database.
    sqlx::raw_sql(
        "create function app.pg_current_snapshot() returns pg_snapshot language sql as $$ select '2000000:2000000:'::pg_snapshot $$;
         set search_path = app, pg_catalog;
         delete from app.access_change;
         insert into app.title_change (id) select gen_random_uuid() from generate_series(1, 5)",
    )
    .execute(&mut *conn)
    .await
    .unwrap();
    while sqlx::query_scalar::<_, i32>("select app.prune_access_changes(2)").fetch_one(&mut *conn).await.unwrap() == 2 {
    }
    let remaining: i64 =
        sqlx::query_scalar("select count(*) from app.title_change").fetch_one(&mut *conn).await.unwrap();
    assert_eq!(remaining, 0);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn appended_rank_is_after_every_rank_that_moves_create(pool: sqlx::PgPool) {
    prepare(&pool).await.unwrap();
    let mut rank: Option<String> = None;
    for step in 0..120 {
        let appended: String =
            sqlx::query_scalar("select app.fractional_index_after($1)").bind(&rank).fetch_one(&pool).await.unwrap();
        assert!(Some(&appended) > rank.as_ref(), "{appended} after {rank:?}");
        // A move to the end takes half of the remaining space.
        let moved = fractional_index::key_between(rank.as_deref(), None);
        rank = Some(if step % 10 == 9 { appended } else { moved });
    }
}
