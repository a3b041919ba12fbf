//! Pods, outages, slow readers, the age of the log.

use crate::service::{QUICK, Server};
use futures_util::StreamExt;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn the_service_says_how_it_is(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let mut client = server.connect(server.person(Some((project, 0))).await).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    server.rename("project", project, "new").await;
    client.next("INVALIDATE").await;
    server.settled().await;
    assert_eq!((server.metric("connections").await, server.metric("people").await), (1.0, 1.0));
    assert_eq!(server.metric("subscriptions").await, 1.0);
    assert!(server.metric("frames_total").await >= 3.0, "HELLO, SUBSCRIBED, INVALIDATE");
    for name in ["behind_rows", "queued_bytes", "dropped_total"] {
        assert_eq!(server.metric(name).await, 0.0, "{name}");
    }
    assert!(server.metric("told_after_milliseconds_count").await >= 2.0);
    assert!(server.get("/ready").await.0.contains("200"));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn two_pods_tell_their_own_clients_all_and_one_that_is_killed_leaves_nothing(pool: PgPool) {
    let one = Server::start(&pool).await;
    // The other has a runtime of its own, which can be shot.
    let (send, receive) = std::sync::mpsc::channel();
    let address = pool.connect_options();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.spawn(async move {
        let pool = PgPoolOptions::new().connect_with(address.as_ref().clone()).await.unwrap();
        send.send(Server::start_with(&pool, &QUICK).await).unwrap();
        std::future::pending::<()>().await;
    });
    let two = tokio::task::spawn_blocking(move || receive.recv().unwrap()).await.unwrap();
    let project = one.project().await;
    let person = one.person(Some((project, 0))).await;
    let mut first = one.connect(person).await;
    let mut second = two.raw(&format!("/?token={}", crate::service::token(person, 900))).await;
    second.next("HELLO").await;
    for client in [&mut first, &mut second] {
        client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    }
    for n in 0..20 {
        one.rename("project", project, &format!("both hear {n}")).await;
    }
    for client in [&mut first, &mut second] {
        while client.next("INVALIDATE").await["changes"][0]["version"] != 21 {}
    }
    let watching = "select count(distinct connection_id) from app.get_batch_subscribers('project', array[$1])";
    let count = || async { sqlx::query_scalar::<_, i64>(watching).bind(project).fetch_one(&pool).await.unwrap() };
    while count().await != 2 {
        tokio::task::yield_now().await;
    }
    runtime.shutdown_background();
    // Its lease runs out, which is waited for no longer than it takes to say so.
    let pods: Vec<String> =
        sqlx::query_scalar("select distinct pod_id from app.system_cache_connection").fetch_all(&pool).await.unwrap();
    assert_eq!(pods.len(), 2);
    sqlx::query("update app.system_cache_connection set lease_until = now() - interval '1 second'")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(count().await, 0, "nobody who is not there is said to be");
    // The one that lives comes again with its next change, and sweeps.
    let mut c = pool.acquire().await.unwrap();
    first.subscribe(json!({"entityCode": "task"})).await;
    while count().await != 1 {
        tokio::task::yield_now().await;
    }
    pmo_database::subscription_mirror::renew(&mut c, "any").await.unwrap();
    let left: i64 =
        sqlx::query_scalar("select count(*) from app.system_cache_connection").fetch_one(&pool).await.unwrap();
    assert_eq!(left, 1);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn while_the_database_is_away_sockets_stay_and_then_all_is_told(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let task = server.task(project).await;
    let mut client = server.connect(server.person(Some((project, 0))).await).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    // The database lets nobody in any more, and of those who are in only this one stays.
    let name: String = sqlx::query_scalar("select current_database()").fetch_one(&pool).await.unwrap();
    let mut keep = pool.acquire().await.unwrap();
    let shut = |open: bool| format!("alter database \"{name}\" with allow_connections {open}");
    let elsewhere = pool.connect_options().as_ref().clone().database("postgres");
    let mut elsewhere = PgConnection::connect_with(&elsewhere).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(shut(false))).execute(&mut elsewhere).await.unwrap();
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
        .execute(&mut *keep)
        .await
        .unwrap();
    while !server.get("/ready").await.0.contains("503") {
        tokio::task::yield_now().await;
    }
    let health: Value = serde_json::from_str(&server.get("/health").await.1).unwrap();
    assert_eq!((&health["status"], &health["connections"]), (&json!("degraded"), &json!(1)));
    client.quiet().await;
    client.send(json!({"type": "SUBSCRIBE", "payload": {"entityCode": "task", "entityIds": [task]}})).await;
    client.quiet().await;
    sqlx::query("update app.project set name = 'meanwhile' where id = $1")
        .bind(project)
        .execute(&mut *keep)
        .await
        .unwrap();
    sqlx::query(sqlx::AssertSqlSafe(shut(true))).execute(&mut elsewhere).await.unwrap();
    let (mut told, mut subscribed) = (false, false);
    while !(told && subscribed) {
        let Message::Text(text) = client.frame().await else { panic!("a text frame") };
        let message: Value = serde_json::from_str(&text).unwrap();
        told |= message["type"] == "INVALIDATE" && message["payload"]["changes"][0]["version"] == 2;
        subscribed |= message["type"] == "SUBSCRIBED" && message["payload"]["count"] == 1;
    }
    assert!(server.get("/ready").await.0.contains("200"));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_reader_who_does_not_read_holds_up_nobody_and_is_told_to_resume(pool: PgPool) {
    let server = Server::start_with(&pool, &[&QUICK[..], &["--queue-kilobytes", "512"]].concat()).await;
    let person = server.reader_of_wikis().await;
    let mut stalled = server.connect_narrow(person).await;
    stalled.subscribe(json!({"entityCode": "wiki"})).await;
    let mut reads = server.connect(person).await;
    reads.subscribe(json!({"entityCode": "wiki"})).await;
    let wiki: Uuid =
        sqlx::query_scalar("insert into app.wiki (name) values ('w') returning id").fetch_one(&pool).await.unwrap();
    let mut version = 1;
    for n in 0..400 {
        server.rename("wiki", wiki, &format!("often {n}")).await;
        version += 1;
    }
    while reads.next("INVALIDATE").await["changes"][0]["version"] != version {}
    assert_eq!(server.metric("dropped_total").await, 0.0, "of one thing only the last change waits");
    sqlx::query("insert into app.wiki (name) select 'w' from generate_series(1, 8000)").execute(&pool).await.unwrap();
    let mut heard = 0;
    while heard < 8000 {
        let told = reads.next("INVALIDATE").await;
        heard += told["changes"].as_array().unwrap().len();
    }
    while server.metric("dropped_total").await != 1.0 {
        tokio::task::yield_now().await;
    }
    let mut frames = 0;
    let code = loop {
        match stalled.socket.next().await {
            Some(Ok(Message::Close(frame))) => break frame.map(|f| u16::from(f.code)),
            Some(Ok(_)) => frames += 1,
            _ => break None,
        }
    };
    // The farewell fits where the reader begins to read in time; else the wire is cut, which means the same to a client.
    assert!(code.is_none_or(|code| code == 4008), "{code:?}");
    assert!(frames < 400, "{frames} frames");
    assert_eq!(server.metric("queued_bytes").await, 0.0);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn an_old_month_of_the_log_goes_without_disturbing_anybody(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let mut client = server.connect(server.person(Some((project, 0))).await).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    let old = "insert into app.system_logging (entity_code, entity_id, action, epoch, created_ts) values ('project', gen_random_uuid(), 3, (select epoch from app.feed_epoch), now() - interval '100 days')";
    server.sql("select app.ensure_log_partition((now() - interval '100 days')::date)").await;
    server.sql(old).await;
    server.settled().await;
    assert_eq!(
        pmo_database::drop_expired_log_partitions(&pool).await.unwrap(),
        Vec::<String>::new(),
        "without the setting all is kept"
    );
    server.sql("update app.setting set value = value || '{\"keep_days\": 60}' where key = 'feed'").await;
    // Somebody reads it just now: it stays, and nobody waits.
    let mut reader = pool.begin().await.unwrap();
    sqlx::query("select count(*) from app.system_logging").execute(&mut *reader).await.unwrap();
    assert_eq!(pmo_database::drop_expired_log_partitions(&pool).await.unwrap(), Vec::<String>::new());
    server.rename("project", project, "heard").await;
    client.next("INVALIDATE").await;
    reader.rollback().await.unwrap();
    let gone = pmo_database::drop_expired_log_partitions(&pool).await.unwrap();
    assert_eq!(gone.len(), 1, "{gone:?}");
    server.rename("project", project, "heard again").await;
    client.next("INVALIDATE").await;
    let id = Uuid::new_v4();
    let history: i64 = sqlx::query_scalar("select count(*) from app.system_logging where entity_id = $1")
        .bind(id)
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(history, 0);
}
