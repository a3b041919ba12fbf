//! Tests of delivery to subscribers.

use crate::service::Server;
use futures_util::StreamExt;
use serde_json::json;
use sqlx::PgPool;
use std::collections::BTreeSet;
use uuid::Uuid;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn change_is_delivered_with_its_version(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let mut client = server.connect(server.person(Some((project, 0))).await).await;
    let subscribed = client.subscribe(json!({"entityCode": "project", "entityIds": [project, Uuid::new_v4()]})).await;
    assert_eq!(subscribed, json!({"count": 1, "entityCode": "project", "refused": 1}));
    server.rename("project", project, "new").await;
    let invalidate = client.next("INVALIDATE").await;
    assert_eq!(
        (&invalidate["entityCode"], &invalidate["changes"]),
        (&json!("project"), &json!([{"entityId": project, "action": "UPDATE", "version": 2}]))
    );
    assert!(invalidate["timestamp"].as_str().unwrap().ends_with('Z') && invalidate["cursor"].is_string());
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn changes_of_invisible_entities_are_not_delivered(pool: PgPool) {
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
async fn parent_subscription_receives_creation_and_deletion_of_children(pool: PgPool) {
    let server = Server::start(&pool).await;
    let (project, other) = (server.project().await, server.project().await);
    let person = server.person(Some((project, 0))).await;
    server.grant(person, other, 0).await;
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "task", "parent": {"entityCode": "project", "entityId": project}})).await;
    let other_task = server.task(other).await;
    let task = server.task(project).await;
    let invalidate = client.next("INVALIDATE").await;
    assert_eq!(
        (&invalidate["changes"][0]["entityId"], &invalidate["changes"][0]["action"]),
        (&json!(task), &json!("CREATE"))
    );
    sqlx::query("select app.soft_delete('task', $1), app.soft_delete('task', $2)")
        .bind(other_task)
        .bind(task)
        .execute(&pool)
        .await
        .unwrap();
    let invalidate = client.next("INVALIDATE").await;
    assert_eq!(invalidate["changes"], json!([{"entityId": task, "action": "DELETE", "version": 2}]));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn closing_one_connection_keeps_others_subscribed(pool: PgPool) {
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
    server.rename("project", project, "still subscribed").await;
    for tab in &mut tabs {
        tab.next("INVALIDATE").await;
    }
    tabs[0].send(json!({"type": "UNSUBSCRIBE_ALL"})).await;
    tabs[0].quiet().await;
    server.rename("project", project, "other connections").await;
    tabs[1].next("INVALIDATE").await;
    server.wait_until_read().await;
    tabs[0].quiet().await;
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn long_transactions_delay_no_other_changes_and_are_delivered(pool: PgPool) {
    let server = Server::start(&pool).await;
    let mut client = server.connect(server.wiki_viewer().await).await;
    client.subscribe(json!({"entityCode": "wiki"})).await;
    let insert = "insert into app.wiki (name) values ('w') returning id";
    let mut slow = pool.begin().await.unwrap();
    let last: Uuid = sqlx::query_scalar(insert).fetch_one(&mut *slow).await.unwrap();
    // Like a database dump: reads everything in one snapshot and holds a lock on each table.
    let mut dump = pool.begin_with("begin isolation level repeatable read read only").await.unwrap();
    sqlx::raw_sql(
        "lock table app.system_logging, app.wiki in access share mode; select count(*) from app.system_logging",
    )
    .execute(&mut *dump)
    .await
    .unwrap();
    let mut committed = BTreeSet::new();
    for n in 0..1000 {
        let mut transaction = pool.begin().await.unwrap();
        let id: Uuid = sqlx::query_scalar(insert).fetch_one(&mut *transaction).await.unwrap();
        if n % 10 == 9 {
            transaction.rollback().await.unwrap();
        } else {
            committed.insert(id.to_string());
            transaction.commit().await.unwrap();
        }
    }
    let mut received = BTreeSet::new();
    while received != committed {
        for change in client.next("INVALIDATE").await["changes"].as_array().unwrap() {
            received.insert(change["entityId"].as_str().unwrap().to_owned());
        }
        assert!(received.is_subset(&committed), "only committed changes are delivered");
    }
    slow.commit().await.unwrap();
    assert_eq!(client.next("INVALIDATE").await["changes"][0]["entityId"], json!(last));
    dump.rollback().await.unwrap();
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn changes_are_delivered_after_the_clock_was_set_back(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let mut client = server.connect(server.person(Some((project, 0))).await).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    server.rename("project", project, "today").await;
    client.next("INVALIDATE").await;
    // The log rows carry the database time: this row is two months old.
    sqlx::query("insert into app.system_logging (entity_code, entity_id, action, epoch, entity_version, created_ts) select 'project', $1, 3, epoch, 3, now() - interval '60 days' from app.feed_epoch")
        .bind(project)
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(client.next("INVALIDATE").await["changes"][0]["version"], 3);
}
