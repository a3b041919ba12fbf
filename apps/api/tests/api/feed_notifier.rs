//! NOTIFY of the change feed after writes.

use crate::harness::*;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn each_write_notifies_the_feed_exactly_once(pool: PgPool) {
    let listen = async || {
        let mut listener = sqlx::postgres::PgListener::connect_with(&pool).await.unwrap();
        listener.listen(pmo_database::change_log::LOG_CHANNEL).await.unwrap();
        listener
    };
    let options = (*pool.connect_options()).clone().options([("app.notify_mode", "after_commit")]);
    let after_commit_pool =
        sqlx::postgres::PgPoolOptions::new().max_connections(3).connect_with(options).await.unwrap();
    let router = build_router_with(&pool, &["--doorbell", "in-transaction"]).await;
    let editor = ApiClient::sign_in(&router, "editor").await;
    let (project, _) = create_plan(&editor).await;
    let person = editor.get("/auth/me").await.body["personId"].as_str().unwrap().parse().unwrap();
    // A token without a sign-in: a sign-in request could send a late NOTIFY.
    let after_commit_router = build_router_with(&after_commit_pool, &["--doorbell", "after-commit"]).await;
    for (editor, notify_mode) in
        [(editor, "in-transaction"), (ApiClient::for_person(&after_commit_router, person), "after-commit")]
    {
        let mut listener = listen().await;
        let write = json!({"name": format!("written {notify_mode}")});
        assert_eq!(editor.patch(&format!("/project/{project}"), write).await.status, 200);
        listener.recv().await.unwrap();
        // A second NOTIFY of the write would arrive before this one.
        sqlx::query("select pg_notify($1, 'last')")
            .bind(pmo_database::change_log::LOG_CHANNEL)
            .execute(&pool)
            .await
            .unwrap();
        assert_eq!(listener.recv().await.unwrap().payload(), "last", "{notify_mode}: one NOTIFY per write");
    }
    // Transactions of the API in after-commit mode send no NOTIFY themselves. Writes by other
    // programs do.
    let mut listener = listen().await;
    let statement = "update app.project set name = 'by hand' where id = (select min(id::text)::uuid from app.project)";
    sqlx::query(statement).execute(&after_commit_pool).await.unwrap();
    sqlx::query("select pg_notify($1, 'by the test')")
        .bind(pmo_database::change_log::LOG_CHANNEL)
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(listener.recv().await.unwrap().payload(), "by the test");
    sqlx::query("update app.project set name = 'by psql'").execute(&pool).await.unwrap();
    assert_eq!(listener.recv().await.unwrap().payload(), "");
}
