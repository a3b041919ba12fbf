//! Tests of catch-up after a disconnect.

use crate::service::{QUICK, Server, token};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio_tungstenite::tungstenite::Message;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn changes_between_fetch_and_subscribe_are_delivered(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let mut client = server.connect(server.person(Some((project, 0))).await).await;
    let since = client.epoch_and_cursor.1.clone();
    server.rename("project", project, "between").await;
    let subscribe = |payload: Value| json!({"type": "SUBSCRIBE", "payload": payload});
    client.send(subscribe(json!({"entityCode": "project", "entityIds": [project], "since": since}))).await;
    // Delivered by the catch-up, or by the feed if it has not polled yet.
    let (mut delivered, mut subscribed) = (false, false);
    while !(delivered && subscribed) {
        let Message::Text(text) = client.frame().await else { panic!("a text frame") };
        let message: Value = serde_json::from_str(&text).unwrap();
        delivered |= message["type"] == "INVALIDATE" && message["payload"]["changes"][0]["version"] == 2;
        subscribed |= message["type"] == "SUBSCRIBED";
    }
    client.send(subscribe(json!({"entityCode": "project", "entityIds": [], "since": "7.1"}))).await;
    assert_eq!(client.next("RESUMED").await["recovered"], false, "a cursor of another epoch");
    client.next("SUBSCRIBED").await;
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn resume_delivers_missed_changes(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let person = server.person(Some((project, 0))).await;
    let first = server.connect(person).await;
    let (epoch, cursor) = first.epoch_and_cursor.clone();
    drop(first);
    for n in 0..5 {
        server.rename("project", project, &format!("missed {n}")).await;
    }
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    client.send(json!({"type": "RESUME", "payload": {"epoch": epoch, "cursor": cursor}})).await;
    let mut last = Value::Null;
    loop {
        let Message::Text(text) = client.frame().await else { continue };
        let value: Value = serde_json::from_str(&text).unwrap();
        if value["type"] == "RESUMED" {
            assert_eq!(value["payload"]["recovered"], true);
            break;
        }
        if value["type"] == "INVALIDATE" {
            last = value;
        }
    }
    let changes = last["payload"]["changes"].as_array().unwrap();
    assert_eq!(
        (changes.len(), &changes[0]["entityId"], &changes[0]["version"]),
        (1, &json!(project), &json!(6)),
        "five changes, coalesced"
    );
    client.send(json!({"type": "RESUME", "payload": {"epoch": "99", "cursor": "99.1"}})).await;
    assert_eq!(client.next("RESUMED").await["recovered"], false);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn catch_up_beside_a_long_transaction_repeats_no_access_change(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let person = server.person(None).await;
    let mut slow = pool.begin().await.unwrap();
    sqlx::query("insert into app.business (name) values ('slow')").execute(&mut *slow).await.unwrap();
    let mut client = server.raw(&format!("/?token={}", token(person, 900))).await;
    let hello = client.next("HELLO").await;
    server.grant(person, project, 0).await;
    client.next("ACCESS").await;
    client.send(json!({"type": "PING"})).await;
    let cursor = client.next("PONG").await["cursor"].clone();
    assert_ne!(cursor, hello["cursor"], "the cursor advances beside a long transaction");
    client.subscribe(json!({"entityCode": "project", "entityIds": [project], "since": cursor})).await;
    client.only_pong().await;
    slow.rollback().await.unwrap();
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn resume_delivers_purges_to_former_viewers(pool: PgPool) {
    let server = Server::start(&pool).await;
    let (mine, other) = (server.project().await, server.project().await);
    let (task, hidden) = (server.task(mine).await, server.task(other).await);
    let person = server.person(Some((mine, 0))).await;
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "task"})).await;
    client.send(json!({"type": "PING"})).await;
    let cursor = client.next("PONG").await["cursor"].clone();
    let epoch = client.epoch_and_cursor.0.clone();
    drop(client);
    for id in [task, hidden] {
        sqlx::query("select app.soft_delete('task', $1), app.purge('task', $1)").bind(id).execute(&pool).await.unwrap();
    }
    let mut client = server.connect(person).await;
    client.send(json!({"type": "SUBSCRIBE", "payload": {"entityCode": "task"}})).await;
    client.send(json!({"type": "RESUME", "payload": {"epoch": epoch, "cursor": cursor}})).await;
    client.next("SUBSCRIBED").await;
    let invalidate = client.next("INVALIDATE").await;
    assert_eq!(invalidate["changes"].as_array().unwrap().len(), 1, "{invalidate} but not {hidden}");
    assert_eq!(
        (&invalidate["changes"][0]["entityId"], &invalidate["changes"][0]["action"]),
        (&json!(task), &json!("DELETE"))
    );
    assert_eq!(client.next("RESUMED").await["recovered"], true);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn resume_beyond_retention_returns_not_recovered(pool: PgPool) {
    let server = Server::start(&pool).await;
    let person = server.person(None).await;
    let (epoch, cursor) = server.connect(person).await.epoch_and_cursor.clone();
    let mut client = server.connect(person).await;
    let resume = json!({"type": "RESUME", "payload": {"epoch": epoch, "cursor": cursor}});
    client.send(resume.clone()).await;
    assert_eq!(client.next("RESUMED").await["recovered"], true);
    server.sql("update app.feed_epoch set truncated_before_xid = pg_current_xact_id()").await;
    client.send(resume).await;
    assert_eq!(client.next("RESUMED").await["recovered"], false);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn clients_resume_on_another_pod_after_shutdown(pool: PgPool) {
    let (one, two) = (Server::start(&pool).await, Server::start_with(&pool, &QUICK).await);
    let project = one.project().await;
    let person = one.person(Some((project, 0))).await;
    let mut client = one.connect(person).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    let (epoch, cursor) = client.epoch_and_cursor.clone();
    // An unauthenticated connection is closed as well.
    let mut unauthenticated = one.raw("/ws").await;
    let handle = one.stopper.clone();
    let stop = tokio::spawn(async move { handle.stop().await });
    assert_eq!(client.closed_with().await, 1012);
    assert_eq!(unauthenticated.closed_with().await, 1012);
    stop.await.unwrap();
    assert!(one.get("/ready").await.0.contains("503"));
    one.rename("project", project, "meanwhile").await;
    let mut client = two.connect(person).await;
    client.send(json!({"type": "SUBSCRIBE", "payload": {"entityCode": "project", "entityIds": [project]}})).await;
    client.send(json!({"type": "RESUME", "payload": {"epoch": epoch, "cursor": cursor}})).await;
    client.next("SUBSCRIBED").await;
    assert_eq!(client.next("INVALIDATE").await["changes"][0]["version"], 2);
    assert_eq!(client.next("RESUMED").await["recovered"], true);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn new_database_identity_starts_a_new_epoch(pool: PgPool) {
    let server = Server::start(&pool).await;
    let person = server.person(None).await;
    let mut client = server.connect(person).await;
    let (epoch, cursor) = client.epoch_and_cursor.clone();
    // Like a failover or restore: another database identity, and all connections terminated.
    server.sql("update app.feed_epoch set identity = 'another'").await;
    server.sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()").await;
    assert_eq!(client.closed_with().await, 1012);
    let mut client = server.raw(&format!("/?token={}", token(person, 900))).await;
    let hello = client.next("HELLO").await;
    assert_ne!(hello["epoch"], json!(epoch));
    client.send(json!({"type": "RESUME", "payload": {"epoch": epoch, "cursor": cursor}})).await;
    assert_eq!(client.next("RESUMED").await["recovered"], false);
}
