//! What the schema itself promises, whoever writes.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // a test that fails here says where

use pmo_database::change_log;
use pmo_domain::{EntityCode, Snapshot};
use serde_json::Value;
use uuid::Uuid;

async fn project(pool: &sqlx::PgPool, name: &str) -> Uuid {
    sqlx::query_scalar("insert into app.project (name) values ($1) returning id")
        .bind(name)
        .fetch_one(pool)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn every_registered_type_has_its_table_and_triggers(pool: sqlx::PgPool) {
    let bare: Vec<String> = sqlx::query_scalar(
        "select e.code from app.entity e
         where (select count(*) from pg_trigger t where t.tgrelid = to_regclass('app.' || quote_ident(e.code)) and t.tgname in ('stamp_row', 'log_change', 'maintain_links')) <> 3",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(bare, Vec::<String>::new());
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_change_is_logged_with_what_it_changed_and_by_whom(pool: sqlx::PgPool) {
    let id = project(&pool, "one").await;
    let actor = pmo_database::Actor { username: "a@b.example".into(), ..Default::default() };
    let mut transaction = pmo_database::begin(&pool, &actor).await.unwrap();
    sqlx::query("update app.project set name = 'two' where id = $1").bind(id).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    let lines: Vec<(i16, i64, String, Value)> = sqlx::query_as(
        "select action, entity_version, username, changed from app.system_logging where entity_id = $1 order by seq",
    )
    .bind(id)
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!((lines[0].0, lines[0].1, lines[0].2.as_str()), (6, 1, "system"));
    assert_eq!((lines[1].0, lines[1].1, lines[1].2.as_str()), (3, 2, "a@b.example"));
    assert_eq!(lines[1].3, serde_json::json!({"name": {"old": "one", "new": "two"}}));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_write_that_changes_nothing_makes_no_version_and_no_log(pool: sqlx::PgPool) {
    let id = project(&pool, "one").await;
    sqlx::query("update app.project set name = 'one' where id = $1").bind(id).execute(&pool).await.unwrap();
    let (version, lines): (i64, i64) = sqlx::query_as(
        "select version, (select count(*) from app.system_logging where entity_id = $1) from app.project where id = $1",
    )
    .bind(id)
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!((version, lines), (1, 1));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn links_follow_the_columns_that_name_parents(pool: sqlx::PgPool) {
    let (one, two) = (project(&pool, "one").await, project(&pool, "two").await);
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
async fn what_belongs_to_a_deleted_thing_goes_and_returns_with_it(pool: sqlx::PgPool) {
    let id = project(&pool, "one").await;
    for name in ["a", "b"] {
        sqlx::query("insert into app.task (name, project_id) values ($1, $2)")
            .bind(name)
            .bind(id)
            .execute(&pool)
            .await
            .unwrap();
    }
    sqlx::query("update app.task set active_flag = false where name = 'b'").execute(&pool).await.unwrap();
    let alive = || async {
        sqlx::query_scalar::<_, i64>("select count(*) from app.task where active_flag").fetch_one(&pool).await.unwrap()
    };
    sqlx::query("select app.soft_delete('project', $1)").bind(id).execute(&pool).await.unwrap();
    assert_eq!(alive().await, 0);
    sqlx::query("select app.restore('project', $1)").bind(id).execute(&pool).await.unwrap();
    assert_eq!(alive().await, 1, "what was deleted before stays deleted");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn the_outline_refuses_rings_and_parents_of_other_projects(pool: sqlx::PgPool) {
    let (one, two) = (project(&pool, "one").await, project(&pool, "two").await);
    let insert = |project: Uuid, above: Option<Uuid>| {
        let pool = pool.clone();
        async move {
            sqlx::query_scalar::<_, Uuid>(
                "insert into app.task (name, project_id, parent__task_id) values ('t', $1, $2) returning id",
            )
            .bind(project)
            .bind(above)
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
async fn the_feed_misses_nothing_while_a_slow_writer_holds_on(pool: sqlx::PgPool) {
    let mut reader = pool.acquire().await.unwrap();
    let (epoch, start) = change_log::current_position(&mut reader).await.unwrap();
    let mut slow = pool.begin().await.unwrap();
    let held: Uuid = sqlx::query_scalar("insert into app.project (name) values ('slow') returning id")
        .fetch_one(&mut *slow)
        .await
        .unwrap();
    for n in 0..20 {
        project(&pool, &format!("quick {n}")).await;
    }
    let look = change_log::read_batch(&mut reader, &from(epoch, &start)).await.unwrap();
    assert_eq!(look.rows.len(), 20, "the rest is not held up");
    slow.commit().await.unwrap();
    let after = change_log::read_batch(&mut reader, &from(epoch, &look.now)).await.unwrap();
    assert_eq!(after.rows.iter().map(|r| r.id).collect::<Vec<_>>(), [held]);
    let quiet = change_log::read_batch(&mut reader, &from(epoch, &after.now)).await.unwrap();
    assert!(quiet.rows.is_empty(), "what was seen does not come twice");
}

fn from(epoch: i64, read: &Snapshot) -> change_log::LogRange<'_> {
    change_log::LogRange {
        epoch,
        from: read.xmax,
        finished: &read.in_progress,
        until: None,
        after: None,
        by_parent: &[],
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_burst_is_read_in_parts_while_others_write(pool: sqlx::PgPool) {
    let mut reader = pool.acquire().await.unwrap();
    let (epoch, start) = change_log::current_position(&mut reader).await.unwrap();
    sqlx::query("insert into app.customer (name) select 'c' || n from generate_series(1, 4500) n")
        .execute(&pool)
        .await
        .unwrap();
    let first = change_log::read_batch(&mut reader, &from(epoch, &start)).await.unwrap();
    assert!(first.has_more && first.rows.len() == change_log::BATCH_ROWS);
    project(&pool, "meanwhile").await;
    let mut rows = first.rows;
    loop {
        let last = rows.last().unwrap();
        let range =
            change_log::LogRange { until: Some(&first.now), after: Some((last.xid, last.seq)), ..from(epoch, &start) };
        let look = change_log::read_batch(&mut reader, &range).await.unwrap();
        rows.extend(look.rows);
        if !look.has_more {
            break;
        }
    }
    let ids: std::collections::BTreeSet<Uuid> = rows.iter().map(|r| r.id).collect();
    assert_eq!((rows.len(), ids.len()), (4500, 4500));
    assert!(rows.iter().all(|r| r.code == "customer"), "what came meanwhile comes next");
    let rest = change_log::read_batch(&mut reader, &from(epoch, &first.now)).await.unwrap();
    assert_eq!(rest.rows.len(), 1);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn what_is_rolled_back_is_never_told_and_what_is_kept_of_it_is(pool: sqlx::PgPool) {
    let mut reader = pool.acquire().await.unwrap();
    let (epoch, start) = change_log::current_position(&mut reader).await.unwrap();
    let mut gone = pool.begin().await.unwrap();
    sqlx::query("insert into app.project (name) values ('gone')").execute(&mut *gone).await.unwrap();
    gone.rollback().await.unwrap();
    let mut partly = pool.begin().await.unwrap();
    for statement in [
        "insert into app.project (name) values ('before')",
        "savepoint s",
        "insert into app.project (name) values ('undone')",
        "rollback to savepoint s",
        "savepoint t",
        "insert into app.project (name) values ('kept')",
        "release savepoint t",
    ] {
        sqlx::query(statement).execute(&mut *partly).await.unwrap();
    }
    partly.commit().await.unwrap();
    let codes = [EntityCode::new("project").unwrap()];
    let look = change_log::read_batch(&mut reader, &change_log::LogRange { by_parent: &codes, ..from(epoch, &start) })
        .await
        .unwrap();
    let names: Vec<&str> = look.rows.iter().filter_map(|r| r.new_value_str("name")).collect();
    assert_eq!(names, ["before", "kept"]);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn another_database_begins_another_epoch(pool: sqlx::PgPool) {
    let first: i64 = sqlx::query_scalar("select app.check_epoch()").fetch_one(&pool).await.unwrap();
    let again: i64 = sqlx::query_scalar("select app.check_epoch()").fetch_one(&pool).await.unwrap();
    sqlx::query("update app.feed_epoch set identity = 'restored from elsewhere'").execute(&pool).await.unwrap();
    let other: i64 = sqlx::query_scalar("select app.check_epoch()").fetch_one(&pool).await.unwrap();
    assert_eq!((again, other), (first, first + 1));
    // A schema that is made anew in the same database is another one as well: its first epoch is the second in which it began.
    sqlx::query("delete from app.feed_epoch").execute(&pool).await.unwrap();
    let now: i64 = sqlx::query_scalar("select extract(epoch from now())::bigint").fetch_one(&pool).await.unwrap();
    let anew: i64 = sqlx::query_scalar("select app.check_epoch()").fetch_one(&pool).await.unwrap();
    assert!((now - 1..now + 5).contains(&anew));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn subscriptions_of_two_tabs_stand_side_by_side_and_end_with_their_connection(pool: sqlx::PgPool) {
    use pmo_database::subscription_mirror;
    let (person, id) = (Uuid::new_v4(), Uuid::new_v4());
    let mut c = pool.acquire().await.unwrap();
    for tab in ["pod-1", "pod-2"] {
        subscription_mirror::upsert_leases(&mut c, "pod", &[(tab.to_owned(), person)].into()).await.unwrap();
        subscription_mirror::subscribe(&mut c, tab, person, &["task".into()], &[id]).await.unwrap();
    }
    let watchers = || async {
        sqlx::query_scalar::<_, String>(
            "select connection_id::text from app.get_batch_subscribers('task', array[$1]) order by 1",
        )
        .bind(id)
        .fetch_all(&pool)
        .await
        .unwrap()
    };
    assert_eq!(watchers().await, ["pod-1", "pod-2"]);
    subscription_mirror::delete_connections(&mut c, &["pod-1".to_owned()]).await.unwrap();
    assert_eq!(watchers().await, ["pod-2"]);
}
