//! Installation of the schema: functions, migrations, concurrent starts, unsupported schemas.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // a failing test reports the line

use pmo_database::{DatabaseError, MIGRATIONS, prepare};
use sqlx::{AssertSqlSafe, PgPool};

async fn run(pool: &PgPool, statements: &str) {
    // The service sets this search path on its connections, so the test must not depend on the
    // default of the database role.
    let statements = format!("begin; set local search_path = public; {statements}; commit");
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(pool).await.unwrap();
}

/// Returns the message of the setup error of [`prepare`].
async fn setup_error(pool: &PgPool) -> String {
    match prepare(pool).await {
        Err(DatabaseError::Setup(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// Returns the definitions of all functions.
async fn function_definitions(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select pg_get_functiondef(oid) from pg_proc where pronamespace = 'app'::regnamespace order by oid::regprocedure::text",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn changed_function_files_are_run_again(pool: PgPool) {
    prepare(&pool).await.unwrap();
    let before = function_definitions(&pool).await;
    run(
        &pool,
        "create or replace function app.uuid_v7() returns uuid language sql volatile parallel safe as 'select gen_random_uuid()';
         update app.function_file set hash = '' where name = 'identifiers.sql';
         insert into app.function_file (name, hash) values ('removed.sql', '')",
    )
    .await;
    assert_ne!(function_definitions(&pool).await, before);
    prepare(&pool).await.unwrap();
    assert_eq!(function_definitions(&pool).await, before);
    let files: i64 =
        sqlx::query_scalar("select count(*) from app.function_file where hash <> ''").fetch_one(&pool).await.unwrap();
    let install_times: i64 =
        sqlx::query_scalar("select count(distinct applied_ts) from app.function_file").fetch_one(&pool).await.unwrap();
    assert!(files > 1 && install_times == 2, "unchanged files are not run again");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn function_bodies_are_valid_in_the_finished_schema(pool: PgPool) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../db/functions");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // check_function_bodies is on by default.
        run(&pool, &std::fs::read_to_string(&path).unwrap()).await;
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn concurrent_starts_set_up_an_empty_database_once(pool: PgPool) {
    run(&pool, "drop schema app cascade; drop table _sqlx_migrations").await;
    let (one, two, three) = tokio::join!(prepare(&pool), prepare(&pool), prepare(&pool));
    let epoch = one.unwrap();
    assert_eq!((two.unwrap(), three.unwrap()), (epoch, epoch));
    let versions: Vec<i64> =
        sqlx::query_scalar("select version from public._sqlx_migrations order by 1").fetch_all(&pool).await.unwrap();
    assert_eq!(versions, MIGRATIONS.iter().map(|m| m.version).collect::<Vec<_>>());
    let before: Vec<String> = sqlx::query_scalar("select applied_ts::text from app.function_file order by name")
        .fetch_all(&pool)
        .await
        .unwrap();
    prepare(&pool).await.unwrap();
    let after: Vec<String> = sqlx::query_scalar("select applied_ts::text from app.function_file order by name")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(after, before, "the second start runs no function file");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn database_of_an_earlier_schema_is_rejected(pool: PgPool) {
    run(
        &pool,
        "delete from _sqlx_migrations where version = 0; update _sqlx_migrations set checksum = 'x' where version = 1",
    )
    .await;
    let message = setup_error(&pool).await;
    assert!(message.ends_with("recreate it: just db-reset") && !message.contains('\n'), "{message}");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn database_of_a_newer_schema_is_rejected_unchanged(pool: PgPool) {
    prepare(&pool).await.unwrap();
    run(
        &pool,
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (9999, 'newer', true, '', 0);
         update app.function_file set hash = 'newer'",
    )
    .await;
    let message = setup_error(&pool).await;
    assert!(message.contains("newer"), "{message}");
    let is_unchanged: bool =
        sqlx::query_scalar("select bool_and(hash = 'newer') from app.function_file").fetch_one(&pool).await.unwrap();
    assert!(is_unchanged);
}
