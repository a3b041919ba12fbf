//! Who hears what.

use crate::service::Server;
use futures_util::StreamExt;
use serde_json::json;
use sqlx::PgPool;
use std::collections::BTreeSet;
use uuid::Uuid;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_change_of_a_watched_thing_is_told_with_its_version(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let mut client = server.connect(server.person(Some((project, 0))).await).await;
    let done = client.subscribe(json!({"entityCode": "project", "entityIds": [project, Uuid::new_v4()]})).await;
    assert_eq!(done, json!({"count": 1, "entityCode": "project", "refused": 1}));
    server.rename("project", project, "new").await;
    let told = client.next("INVALIDATE").await;
    assert_eq!(
        (&told["entityCode"], &told["changes"]),
        (&json!("project"), &json!([{"entityId": project, "action": "UPDATE", "version": 2}]))
    );
    assert!(told["timestamp"].as_str().unwrap().ends_with('Z') && told["cursor"].is_string());
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn who_may_not_see_a_thing_hears_nothing_of_it(pool: PgPool) {
    let server = Server::start(&pool).await;
    let (mine, other) = (server.project().await, server.project().await);
    let mut client = server.connect(server.person(Some((mine, 0))).await).await;
    client.subscribe(json!({"entityCode": "project"})).await;
    client.subscribe(json!({"entityCode": "task"})).await;
    assert_eq!(
        client.subscribe(json!({"entityCode": "task", "parent": {"entityCode": "project", "entityId": other}})).await["refused"],
        1
    );
    server.rename("project", other, "secret").await;
    let hidden = server.task(other).await;
    server.rename("project", mine, "mine").await;
    assert_eq!(client.next("INVALIDATE").await["changes"][0]["entityId"], json!(mine));
    server.rename("task", hidden, "secret").await;
    server.rename("project", mine, "again").await;
    assert_eq!(client.next("INVALIDATE").await["changes"][0]["entityId"], json!(mine));
    client.quiet().await;
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn an_open_project_hears_its_own_tasks_come_and_go(pool: PgPool) {
    let server = Server::start(&pool).await;
    let (project, other) = (server.project().await, server.project().await);
    let person = server.person(Some((project, 0))).await;
    server.grant(person, other, 0).await;
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "task", "parent": {"entityCode": "project", "entityId": project}})).await;
    let elsewhere = server.task(other).await;
    let here = server.task(project).await;
    let told = client.next("INVALIDATE").await;
    assert_eq!((&told["changes"][0]["entityId"], &told["changes"][0]["action"]), (&json!(here), &json!("CREATE")));
    sqlx::query("select app.soft_delete('task', $1), app.soft_delete('task', $2)")
        .bind(elsewhere)
        .bind(here)
        .execute(&pool)
        .await
        .unwrap();
    let told = client.next("INVALIDATE").await;
    assert_eq!(told["changes"], json!([{"entityId": here, "action": "DELETE", "version": 2}]));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn five_tabs_hear_alike_and_one_closing_silences_no_other(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let person = server.person(Some((project, 0))).await;
    let mut tabs = Vec::new();
    for _ in 0..5 {
        let mut tab = server.connect(person).await;
        tab.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
        tabs.push(tab);
    }
    let mut first = tabs.remove(0);
    first.socket.close(None).await.unwrap();
    while first.socket.next().await.is_some() {}
    server.rename("project", project, "still heard").await;
    for tab in &mut tabs {
        tab.next("INVALIDATE").await;
    }
    tabs[0].send(json!({"type": "UNSUBSCRIBE_ALL"})).await;
    tabs[0].quiet().await;
    server.rename("project", project, "heard by the others").await;
    tabs[1].next("INVALIDATE").await;
    server.settled().await;
    tabs[0].quiet().await;
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_slow_writer_holds_up_nobody_and_is_not_missed(pool: PgPool) {
    let server = Server::start(&pool).await;
    let mut client = server.connect(server.reader_of_wikis().await).await;
    client.subscribe(json!({"entityCode": "wiki"})).await;
    let make = "insert into app.wiki (name) values ('w') returning id";
    let mut slow = pool.begin().await.unwrap();
    let last: Uuid = sqlx::query_scalar(make).fetch_one(&mut *slow).await.unwrap();
    // As a dump does: it reads everything in one snapshot, and holds a lock on every table.
    let mut dump = pool.begin_with("begin isolation level repeatable read read only").await.unwrap();
    sqlx::raw_sql(
        "lock table app.system_logging, app.wiki in access share mode; select count(*) from app.system_logging",
    )
    .execute(&mut *dump)
    .await
    .unwrap();
    let mut made = BTreeSet::new();
    for n in 0..1000 {
        let mut transaction = pool.begin().await.unwrap();
        let id: Uuid = sqlx::query_scalar(make).fetch_one(&mut *transaction).await.unwrap();
        if n % 10 == 9 {
            transaction.rollback().await.unwrap();
        } else {
            made.insert(id.to_string());
            transaction.commit().await.unwrap();
        }
    }
    let mut heard = BTreeSet::new();
    while heard != made {
        for change in client.next("INVALIDATE").await["changes"].as_array().unwrap() {
            heard.insert(change["entityId"].as_str().unwrap().to_owned());
        }
        assert!(heard.is_subset(&made), "what was rolled back, or is not committed, is told to nobody");
    }
    slow.commit().await.unwrap();
    assert_eq!(client.next("INVALIDATE").await["changes"][0]["entityId"], json!(last));
    dump.rollback().await.unwrap();
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_clock_that_was_set_back_hides_nothing(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let mut client = server.connect(server.person(Some((project, 0))).await).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    server.rename("project", project, "today").await;
    client.next("INVALIDATE").await;
    // The log's rows bear the time of the database's clock: this one is of two months ago.
    sqlx::query("insert into app.system_logging (entity_code, entity_id, action, epoch, entity_version, created_ts) select 'project', $1, 3, epoch, 3, now() - interval '60 days' from app.feed_epoch")
        .bind(project)
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(client.next("INVALIDATE").await["changes"][0]["version"], 3);
}
