//! The service over real sockets, each test with a database of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // a test that fails here says where

use futures_util::{SinkExt, StreamExt};
use pmo_token::{Claims, Keys};
use serde_json::{Value, json};
use sqlx::PgPool;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use uuid::Uuid;

const SECRET: &str = "a secret of at least thirty-two bytes";

struct Server {
    address: String,
    pool: PgPool,
}

impl Server {
    async fn start(pool: &PgPool) -> Self {
        sqlx::query("select app.check_epoch()").execute(pool).await.unwrap();
        let running =
            pmo_pubsub::start(pool.clone(), Keys::new(SECRET).unwrap(), Duration::from_millis(200), "").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, running.router).await.unwrap() });
        Self { address, pool: pool.clone() }
    }

    /// A person with a level on a new project.
    async fn person(&self, project: Option<(Uuid, i16)>) -> Uuid {
        let id = Uuid::new_v4();
        sqlx::query("insert into app.person (id, name, email) values ($1, 'p', $1::text || '@x.example')")
            .bind(id)
            .execute(&self.pool)
            .await
            .unwrap();
        if let Some((project, level)) = project {
            self.grant(id, project, level).await;
        }
        id
    }

    async fn grant(&self, person: Uuid, project: Uuid, level: i16) -> Uuid {
        sqlx::query_scalar("insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission) values ($1, 'project', $2, $3) returning id")
            .bind(person).bind(project).bind(level).fetch_one(&self.pool).await.unwrap()
    }

    async fn project(&self) -> Uuid {
        sqlx::query_scalar("insert into app.project (name) values ('p') returning id")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    async fn task(&self, project: Uuid) -> Uuid {
        sqlx::query_scalar("insert into app.task (name, project_id) values ('t', $1) returning id")
            .bind(project)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    async fn rename(&self, code: &str, id: Uuid, name: &str) {
        sqlx::query(sqlx::AssertSqlSafe(format!("update app.{code} set name = $2 where id = $1")))
            .bind(id)
            .bind(name)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// The status line and the body of a page of the service.
    async fn get(&self, path: &str) -> (String, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    /// Waits until the service has read everything that was written: what is told from here on is what happens from here on.
    async fn settled(&self) {
        loop {
            let written: i64 =
                sqlx::query_scalar("select count(*) from app.system_logging").fetch_one(&self.pool).await.unwrap();
            let body: Value = serde_json::from_str(&self.get("/health").await.1).unwrap();
            if body["rowsRead"].as_i64().unwrap() >= written {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn connect(&self, person: Uuid) -> Client {
        self.settled().await;
        let mut client = self.raw(&format!("/?token={}", token(person, 900))).await;
        client.epoch_and_cursor = {
            let hello = client.next("HELLO").await;
            (hello["epoch"].as_str().unwrap().to_owned(), hello["cursor"].as_str().unwrap().to_owned())
        };
        client
    }

    async fn raw(&self, path: &str) -> Client {
        let (socket, _) = connect_async(format!("ws://{}{path}", self.address)).await.unwrap();
        Client { socket, epoch_and_cursor: Default::default() }
    }
}

fn token(person: Uuid, lives: i64) -> String {
    let now = jiff::Timestamp::now().as_second();
    let claims = Claims {
        sub: person,
        iat: now,
        exp: now + lives,
        username: String::new(),
        first_name: String::new(),
        last_name: String::new(),
        person_type: String::new(),
    };
    Keys::new(SECRET).unwrap().sign(&claims).unwrap()
}

struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    epoch_and_cursor: (String, String),
}

impl Client {
    async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn frame(&mut self) -> Message {
        tokio::time::timeout(Duration::from_secs(10), self.socket.next())
            .await
            .expect("a frame in time")
            .expect("an open socket")
            .unwrap()
    }

    /// The payload of the next message, which must be of this type. ACCESS is passed over where another is awaited: the log may still
    /// tell of grants that were made just before the socket opened. A change may be told twice, by catching up and by the log itself.
    async fn next(&mut self, kind: &str) -> Value {
        loop {
            let Message::Text(text) = self.frame().await else { panic!("a text frame") };
            let mut value: Value = serde_json::from_str(&text).unwrap();
            let told_twice = value["type"] == "INVALIDATE" && matches!(kind, "SUBSCRIBED" | "RESUMED");
            if (value["type"] == "ACCESS" && kind != "ACCESS") || told_twice {
                continue;
            }
            assert_eq!(value["type"], kind, "{value}");
            return value["payload"].take();
        }
    }

    async fn subscribe(&mut self, payload: Value) -> Value {
        self.send(json!({"type": "SUBSCRIBE", "payload": payload})).await;
        self.next("SUBSCRIBED").await
    }

    /// Asserts that nothing but the answer to this PING comes: whatever was due came before it.
    async fn quiet(&mut self) {
        self.send(json!({"type": "PING"})).await;
        self.next("PONG").await;
    }

    /// Asserts that nothing at all came before the answer to this PING.
    async fn only_pong(&mut self) {
        self.send(json!({"type": "PING"})).await;
        let Message::Text(text) = self.frame().await else { panic!("a text frame") };
        assert!(text.contains("PONG"), "{text}");
    }

    async fn closed_with(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.frame().await {
                return frame.map_or(1005, |f| f.code.into());
            }
        }
    }
}

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
async fn what_happened_between_a_fetch_and_its_subscription_is_told(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let mut client = server.connect(server.person(Some((project, 0))).await).await;
    let since = client.epoch_and_cursor.1.clone();
    server.rename("project", project, "between").await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project], "since": since})).await;
    assert_eq!(client.next("INVALIDATE").await["changes"][0]["version"], 2);
    client.subscribe(json!({"entityCode": "project", "entityIds": [], "since": "7.1"})).await;
    assert_eq!(client.next("RESUMED").await["recovered"], false, "a cursor of another epoch");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_returning_client_learns_what_it_missed(pool: PgPool) {
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
        "five changes, told as one"
    );
    client.send(json!({"type": "RESUME", "payload": {"epoch": "99", "cursor": "99.1"}})).await;
    assert_eq!(client.next("RESUMED").await["recovered"], false);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_grant_taken_back_is_pushed_at_once_and_so_is_a_new_one(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let person = server.person(None).await;
    let grant = server.grant(person, project, 0).await;
    let task = server.task(project).await;
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "task", "entityIds": [task]})).await;
    sqlx::query("delete from app.entity_rbac where id = $1").bind(grant).execute(&pool).await.unwrap();
    assert_eq!(
        client.next("INVALIDATE").await["changes"],
        json!([{"entityId": task, "action": "REVOKE", "version": 0}])
    );
    client.next("ACCESS").await;
    server.rename("task", task, "unseen").await;
    server.settled().await;
    client.quiet().await;
    server.grant(person, project, 0).await;
    while client.next("INVALIDATE").await["changes"][0]["action"] != "CREATE" {}
    client.next("ACCESS").await;
    server.rename("task", task, "seen").await;
    // What was written while it was out of sight may be told now, as it is in sight again; the newest comes last.
    while client.next("INVALIDATE").await["changes"][0]["version"] != 3 {}
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_grant_that_runs_out_ends_with_nobody_writing(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let person = server.person(None).await;
    let grant = server.grant(person, project, 0).await;
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    sqlx::query("update app.entity_rbac set expires_ts = now() + interval '700 milliseconds' where id = $1")
        .bind(grant)
        .execute(&pool)
        .await
        .unwrap();
    // The change of the grant is a row of the log, its end is none: on a slow machine both come in one look.
    while client.next("INVALIDATE").await["changes"][0]["action"] != "REVOKE" {}
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn tokens_open_warn_and_close(pool: PgPool) {
    let server = Server::start(&pool).await;
    let person = server.person(None).await;
    assert_eq!(server.raw("/?token=nonsense").await.closed_with().await, 4001);
    assert_eq!(server.raw(&format!("/ws?token={}", token(person, -5))).await.closed_with().await, 4002);
    let mut by_message = server.raw("/ws").await;
    by_message.send(json!({"type": "AUTH", "payload": {"token": token(person, 900)}})).await;
    by_message.next("HELLO").await;
    let mut silent = server.raw("/ws").await;
    silent.send(json!({"type": "PING"})).await;
    assert_eq!(silent.closed_with().await, 4001, "the first message must say who it is");
    let mut soon = server.raw(&format!("/?token={}", token(person, 3))).await;
    soon.next("HELLO").await;
    assert!(soon.next("TOKEN_EXPIRING_SOON").await["expiresIn"].as_i64().unwrap() <= 3);
    soon.send(json!({"type": "TOKEN_REFRESH", "payload": {"token": token(person, 900)}})).await;
    soon.quiet().await;
    let mut over = server.raw(&format!("/?token={}", token(person, 2))).await;
    assert_eq!(over.closed_with().await, 4002);
    let other = server.person(None).await;
    soon.send(json!({"type": "TOKEN_REFRESH", "payload": {"token": token(other, 900)}})).await;
    assert_eq!(soon.closed_with().await, 4001, "a socket stays its person's");
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn bad_frames_are_answered_and_a_flood_is_ended(pool: PgPool) {
    let server = Server::start(&pool).await;
    let mut client = server.connect(server.person(None).await).await;
    for frame in [
        "",
        "[]",
        "{}",
        r#"{"type":"NOPE"}"#,
        r#"{"type":"SUBSCRIBE","payload":{"entityCode":"x; drop table"}}"#,
        r#"{"type":"SUBSCRIBE","payload":{"entityCode":"task","entityIds":["1"]}}"#,
    ] {
        client.socket.send(Message::text(frame)).await.unwrap();
        assert_eq!(client.next("ERROR").await["code"], "bad_message", "{frame}");
    }
    client.socket.send(Message::text(format!(r#"{{"type":"PING","x":"{}"}}"#, "y".repeat(300_000)))).await.unwrap();
    assert_eq!(client.next("ERROR").await["code"], "too_large");
    client.quiet().await;
    for _ in 0..60 {
        if client.socket.send(Message::text("nonsense")).await.is_err() {
            break;
        }
    }
    assert_eq!(client.closed_with().await, 1008);
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_page_of_another_site_may_not_connect(pool: PgPool) {
    let server = Server::start(&pool).await;
    let mut request = format!("ws://{}/ws", server.address).into_client_request().unwrap();
    request.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    assert!(connect_async(request).await.is_err());
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn two_tabs_hear_alike_and_one_closing_silences_no_other(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let person = server.person(Some((project, 0))).await;
    let (mut one, mut two) = (server.connect(person).await, server.connect(person).await);
    for tab in [&mut one, &mut two] {
        tab.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    }
    one.socket.close(None).await.unwrap();
    while one.socket.next().await.is_some() {}
    server.rename("project", project, "still heard").await;
    two.next("INVALIDATE").await;
    two.send(json!({"type": "UNSUBSCRIBE_ALL"})).await;
    two.quiet().await;
    server.rename("project", project, "not heard").await;
    server.settled().await;
    two.quiet().await;
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn a_project_moved_out_of_sight_is_told_to_those_who_lose_it_and_to_nobody_else(pool: PgPool) {
    let server = Server::start(&pool).await;
    let business = |name: &'static str| {
        let pool = pool.clone();
        async move {
            sqlx::query_scalar::<_, Uuid>("insert into app.business (name) values ($1) returning id")
                .bind(name)
                .fetch_one(&pool)
                .await
                .unwrap()
        }
    };
    let (here, there) = (business("here").await, business("there").await);
    let (project, other) = (server.project().await, server.project().await);
    let task = server.task(project).await;
    sqlx::query("update app.project set business_id = $2 where id = $1")
        .bind(project)
        .bind(here)
        .execute(&pool)
        .await
        .unwrap();
    let (loses, keeps) = (server.person(None).await, server.person(Some((other, 0))).await);
    for (person, on) in [(loses, here), (keeps, here), (keeps, there)] {
        sqlx::query("insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission, inheritance_mode) values ($1, 'business', $2, 0, $3)")
            .bind(person).bind(on).bind(if person == loses { "cascade" } else { "none" }).execute(&pool).await.unwrap();
    }
    let (mut first, mut second) = (server.connect(loses).await, server.connect(keeps).await);
    assert_eq!(first.subscribe(json!({"entityCode": "task", "entityIds": [task]})).await["count"], 1);
    second.subscribe(json!({"entityCode": "project", "entityIds": [other]})).await;
    server.settled().await;
    second.quiet().await;
    sqlx::query("update app.project set business_id = $2 where id = $1")
        .bind(project)
        .bind(there)
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(
        first.next("INVALIDATE").await["changes"],
        json!([{"entityId": task, "action": "REVOKE", "version": 0}])
    );
    first.next("ACCESS").await;
    server.settled().await;
    // What is granted without going down is on no way.
    second.only_pong().await;
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn making_things_tells_nobody_to_sweep(pool: PgPool) {
    let server = Server::start(&pool).await;
    let person = server.person(None).await;
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "project"})).await;
    let mut transaction = pool.begin().await.unwrap();
    let made: Uuid = sqlx::query_scalar("insert into app.project (name) values ('mine') returning id")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    pmo_database::permission::own(
        &mut transaction,
        pmo_domain::PersonId(person),
        &pmo_domain::EntityCode::new("project").unwrap(),
        made,
    )
    .await
    .unwrap();
    transaction.commit().await.unwrap();
    // One's own, and so to be seen at once, with no other change of access told before it.
    let Message::Text(text) = client.frame().await else { panic!("a text frame") };
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&told["type"], &told["payload"]["changes"][0]["entityId"]), (&json!("INVALIDATE"), &json!(made)));
    server.settled().await;
    client.only_pong().await;
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn the_service_says_how_it_is(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let mut client = server.connect(server.person(Some((project, 0))).await).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    server.rename("project", project, "new").await;
    client.next("INVALIDATE").await;
    server.settled().await;
    let (status, text) = server.get("/metrics").await;
    assert!(status.contains("200"), "{status}");
    let value = |name: &str| -> f64 {
        let line = text
            .lines()
            .find(|l| l.starts_with(&format!("pmo_pubsub_{name} ")))
            .unwrap_or_else(|| panic!("{name} in {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!((value("connections"), value("people"), value("subscriptions")), (1.0, 1.0, 1.0));
    assert!(value("frames_total") >= 3.0, "HELLO, SUBSCRIBED, INVALIDATE");
    assert_eq!((value("behind_rows"), value("queued_bytes"), value("dropped_total")), (0.0, 0.0, 0.0));
    assert!(value("told_after_milliseconds_count") >= 2.0);
    assert!(server.get("/ready").await.0.contains("200"));
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn grants_of_others_on_hidden_things_are_told_to_nobody_else(pool: PgPool) {
    let server = Server::start(&pool).await;
    let (mine, secret) = (server.project().await, server.project().await);
    let person = server.person(Some((mine, 0))).await;
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "project"})).await;
    client.quiet().await;
    // One transaction: a role that has nothing to do with this person is let into the secret, and the person gets another grant.
    let mut transaction = pool.begin().await.unwrap();
    let role: Uuid = sqlx::query_scalar("insert into app.role (name) values ('board') returning id")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    sqlx::query("insert into app.entity_rbac (role_id, entity_code, entity_instance_id, permission) values ($1, 'project', $2, 3)")
        .bind(role)
        .bind(secret)
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    server.settled().await;
    loop {
        client.send(json!({"type": "PING"})).await;
        let Message::Text(text) = client.frame().await else { panic!("a text frame") };
        assert!(!text.contains(&secret.to_string()), "{text}");
        if text.contains("PONG") {
            break;
        }
    }
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn what_is_made_below_a_thing_by_a_link_tells_nobody_to_sweep(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let mut client = server.connect(server.person(Some((project, 0))).await).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    client.quiet().await;
    let mut transaction = pool.begin().await.unwrap();
    let made: Uuid = sqlx::query_scalar("insert into app.wiki (name) values ('w') returning id")
        .fetch_one(&mut *transaction)
        .await
        .unwrap();
    sqlx::query("insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id, owned) values ('project', $1, 'wiki', $2, true)")
        .bind(project)
        .bind(made)
        .execute(&mut *transaction)
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    server.settled().await;
    client.only_pong().await;
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn catching_up_past_a_slow_writer_tells_each_change_of_access_once(pool: PgPool) {
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
    assert_ne!(cursor, hello["cursor"], "the cursor goes on beside a slow writer");
    client.subscribe(json!({"entityCode": "project", "entityIds": [project], "since": cursor})).await;
    client.only_pong().await;
    slow.rollback().await.unwrap();
}

#[sqlx::test(migrator = "pmo_database::MIGRATIONS")]
async fn many_new_places_hide_no_loss_of_access(pool: PgPool) {
    let server = Server::start(&pool).await;
    let project = server.project().await;
    let person = server.person(None).await;
    let grant = server.grant(person, project, 0).await;
    let mut client = server.connect(person).await;
    client.subscribe(json!({"entityCode": "project", "entityIds": [project]})).await;
    client.quiet().await;
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("insert into app.access_change (reach) select -n from generate_series(1, 6000) n")
        .execute(&mut *transaction)
        .await
        .unwrap();
    sqlx::query("delete from app.entity_rbac where id = $1").bind(grant).execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(client.next("INVALIDATE").await["changes"][0]["action"], "REVOKE");
}
