//! Tests of operation: pods, outages, slow consumers, log retention.

use crate::service::{QUICK, Server};
use futures_util::StreamExt;
use serde_json::{Value, json};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn health_ready_and_metrics_endpoints(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let mut client = server.connect(server.person(Some((project, 0))).await).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    server.rename("project", project, "new").await;
    client.next("INVALIDATE").await;
    server.wait_until_read().await;
    for name in ["connections", "subscriptions", "distinct_users", "people", "log_reader_up", "watching"] {
        assert_eq!(server.metric(name).await, 1.0, "{name}");
    }
    for name in ["frames_sent_total", "frames_total"] {
        assert!(server.metric(name).await >= 3.0, "{name}: HELLO, SUBSCRIBED, INVALIDATE");
    }
    for name in [
        ["feed_lag_rows", "behind_rows"],
        ["feed_lag_seconds", "behind_milliseconds"],
        ["outbound_queue_bytes", "queued_bytes"],
        ["slow_consumer_disconnects_total", "dropped_total"],
        ["origin_rejected_total", "refused_origins_total"],
    ]
    .as_flattened()
    {
        assert_eq!(server.metric(name).await, 0.0, "{name}");
    }
    for name in ["log_rows_read_total", "log_rows_total"] {
        assert!(server.metric(name).await >= 2.0, "{name}");
    }
    for name in ["delivery_latency_seconds_count", "told_after_milliseconds_count"] {
        assert!(server.metric(name).await >= 2.0, "{name}");
    }
    let now = jiff::Timestamp::now().as_second() as f64;
    let started_at = server.metric("process_start_time_seconds").await;
    assert!((now - 600.0..=now + 1.0).contains(&started_at), "{started_at}");
    assert!(server.metric("uptime_seconds").await < 600.0);
    assert!(server.get("/ready").await.0.contains("200"));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn pods_serve_their_own_clients_and_entries_of_a_killed_pod_expire(pool: PgPool) {
    let one = Server::start(&pool).await;
    // The other service has its own runtime, which can be killed.
    let (send, receive) = std::sync::mpsc::channel();
    let options = pool.connect_options();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.spawn(async move {
        let pool = PgPoolOptions::new().connect_with(options.as_ref().clone()).await.unwrap();
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
        one.rename("project", project, &format!("change {n}")).await;
    }
    for client in [&mut first, &mut second] {
        while client.next("INVALIDATE").await["changes"][0]["version"] != 21 {}
    }
    let subscribers = "select count(distinct connection_id) from app.get_batch_subscribers('project', array[$1])";
    let count = || async { sqlx::query_scalar::<_, i64>(subscribers).bind(project).fetch_one(&pool).await.unwrap() };
    while count().await != 2 {
        tokio::task::yield_now().await;
    }
    runtime.shutdown_background();
    // Let its lease expire now instead of waiting.
    let pods: Vec<String> =
        sqlx::query_scalar("select distinct pod_id from app.system_cache_connection").fetch_all(&pool).await.unwrap();
    assert_eq!(pods.len(), 2);
    sqlx::query("update app.system_cache_connection set lease_until = now() - interval '1 second'")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(count().await, 0, "entries with an expired lease are ignored");
    // The remaining pod renews its lease with its next change and deletes expired entries.
    let mut conn = pool.acquire().await.unwrap();
    first.subscribe(json!({"entityCode": "task"})).await;
    while count().await != 1 {
        tokio::task::yield_now().await;
    }
    pmo_database::subscription_mirror::renew(&mut conn, "any").await.unwrap();
    let left: i64 =
        sqlx::query_scalar("select count(*) from app.system_cache_connection").fetch_one(&pool).await.unwrap();
    assert_eq!(left, 1);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn connections_survive_a_database_outage_and_receive_missed_changes(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let task = server.task(project).await;
    let mut client = server.connect(server.person(Some((project, 0))).await).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    // Reject new connections to the database and terminate all except this one.
    let name: String = sqlx::query_scalar("select current_database()").fetch_one(&pool).await.unwrap();
    let mut admin = pool.acquire().await.unwrap();
    let allow_connections = |allowed: bool| format!("alter database \"{name}\" with allow_connections {allowed}");
    let options = pool.connect_options().as_ref().clone().database("postgres");
    let mut postgres = PgConnection::connect_with(&options).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(allow_connections(false))).execute(&mut postgres).await.unwrap();
    sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
        .execute(&mut *admin)
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
        .execute(&mut *admin)
        .await
        .unwrap();
    sqlx::query(sqlx::AssertSqlSafe(allow_connections(true))).execute(&mut postgres).await.unwrap();
    let (mut delivered, mut subscribed) = (false, false);
    while !(delivered && subscribed) {
        let Message::Text(text) = client.frame().await else { panic!("a text frame") };
        let message: Value = serde_json::from_str(&text).unwrap();
        delivered |= message["type"] == "INVALIDATE" && message["payload"]["changes"][0]["version"] == 2;
        subscribed |= message["type"] == "SUBSCRIBED" && message["payload"]["count"] == 1;
    }
    assert!(server.get("/ready").await.0.contains("200"));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn slow_consumer_is_disconnected_without_delaying_others(pool: PgPool) {
    let server = Server::start_with(&pool, &[&QUICK[..], &["--queue-kilobytes", "512"]].concat()).await;
    let person = server.wiki_viewer().await;
    let mut stalled = server.connect_narrow(person).await;
    stalled.subscribe(json!({"entityCode": "wiki"})).await;
    let mut reading = server.connect(person).await;
    reading.subscribe(json!({"entityCode": "wiki"})).await;
    let wiki: Uuid =
        sqlx::query_scalar("insert into app.wiki (name) values ('w') returning id").fetch_one(&pool).await.unwrap();
    let mut version = 1;
    for n in 0..400 {
        server.rename("wiki", wiki, &format!("change {n}")).await;
        version += 1;
    }
    while reading.next("INVALIDATE").await["changes"][0]["version"] != version {}
    assert_eq!(server.metric("dropped_total").await, 0.0, "queued changes are coalesced per entity");
    sqlx::query("insert into app.wiki (name) select 'w' from generate_series(1, 8000)").execute(&pool).await.unwrap();
    let mut received = 0;
    while received < 8000 {
        let invalidate = reading.next("INVALIDATE").await;
        received += invalidate["changes"].as_array().unwrap().len();
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
    // The close frame arrives if the client reads in time. Otherwise the connection is dropped,
    // which is equivalent for a client.
    assert!(code.is_none_or(|code| code == 4008), "{code:?}");
    assert!(frames < 400, "{frames} frames");
    assert_eq!(server.metric("queued_bytes").await, 0.0);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn expired_log_partitions_are_dropped_without_blocking(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let mut client = server.connect(server.person(Some((project, 0))).await).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    let expired = Uuid::new_v4();
    let rows_of_expired = async || -> i64 {
        let count = sqlx::query_scalar("select count(*) from app.system_logging where entity_id = $1");
        count.bind(expired).fetch_one(&pool).await.unwrap()
    };
    server.sql("select app.ensure_log_partition((now() - interval '100 days')::date)").await;
    sqlx::query("insert into app.system_logging (entity_code, entity_id, action, epoch, created_ts) values ('project', $1, 3, (select epoch from app.feed_epoch), now() - interval '100 days')")
        .bind(expired)
        .execute(&pool)
        .await
        .unwrap();
    server.wait_until_read().await;
    assert_eq!(
        pmo_database::drop_expired_log_partitions(&pool).await.unwrap(),
        Vec::<String>::new(),
        "without the setting no partition is dropped"
    );
    server.sql("update app.setting set value = value || '{\"log_retention_days\": 60}' where key = 'feed'").await;
    // A partition that another transaction reads is not dropped, and the call does not wait.
    let mut reader = pool.begin().await.unwrap();
    sqlx::query("select count(*) from app.system_logging").execute(&mut *reader).await.unwrap();
    assert_eq!(pmo_database::drop_expired_log_partitions(&pool).await.unwrap(), Vec::<String>::new());
    server.rename("project", project, "during the read").await;
    client.next("INVALIDATE").await;
    reader.rollback().await.unwrap();
    assert_eq!(rows_of_expired().await, 1);
    let dropped = pmo_database::drop_expired_log_partitions(&pool).await.unwrap();
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    assert_eq!(rows_of_expired().await, 0, "the row of the dropped partition is gone");
    server.rename("project", project, "after the drop").await;
    client.next("INVALIDATE").await;
    let renames: i64 =
        sqlx::query_scalar("select count(*) from app.system_logging where entity_id = $1 and action = 3")
            .bind(project)
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(renames, 2, "later rows remain");
}
