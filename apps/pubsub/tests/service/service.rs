//! Test server with its database, and test clients.

use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use pmo_pubsub::ShutdownHandle;
use pmo_pubsub::settings::Settings;
use pmo_token::{Claims, TokenKeys};
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use uuid::Uuid;

const SECRET: &str = "a secret of at least thirty-two bytes";

pub(crate) struct Server {
    pub address: String,
    pub pool: PgPool,
    pub stopper: ShutdownHandle,
    /// Number of log rows before the service started.
    rows_before: i64,
}

/// Size of the kernel buffers of a connection in bytes; small, so that a slow consumer blocks soon.
const KERNEL_BYTES: u32 = 4096;

/// Settings of a service that polls often and grants no time after token expiry.
pub(crate) const QUICK: [&str; 4] = ["--poll-ms", "200", "--token-grace-seconds", "0"];

impl Server {
    pub(crate) async fn start(pool: &PgPool) -> Self {
        Self::start_with(pool, &QUICK).await
    }

    pub(crate) async fn start_with(pool: &PgPool, arguments: &[&str]) -> Self {
        let settings = Settings::parse_from([&["pmo-pubsub"], arguments].concat());
        sqlx::query("select app.renew_epoch_if_changed()").execute(pool).await.unwrap();
        let rows_before = sqlx::query_scalar("select count(*) from app.system_logging").fetch_one(pool).await.unwrap();
        let options = PgPoolOptions::new().max_connections(6).acquire_timeout(Duration::from_millis(500));
        let own_pool = options.connect_with(pool.connect_options().as_ref().clone()).await.unwrap();
        // Close the pool of the service at the end of the test, so that its database can be
        // dropped.
        let (test_end, to_close) = (pool.close_event(), own_pool.clone());
        tokio::spawn(async move {
            test_end.await;
            to_close.close().await;
        });
        let server = pmo_pubsub::start(own_pool, TokenKeys::new(SECRET).unwrap(), &settings).await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(KERNEL_BYTES).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stopper = server.shutdown_handle();
        tokio::spawn(server.serve(listener, std::future::pending()));
        Self { address, pool: pool.clone(), stopper, rows_before }
    }

    pub(crate) async fn sql(&self, statement: &'static str) {
        sqlx::raw_sql(statement).execute(&self.pool).await.unwrap();
    }

    /// Returns the value of a metric of `/metrics`.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics").await;
        let line = text.lines().find(|l| l.starts_with(&format!("pmo_pubsub_{name} ")));
        line.unwrap_or_else(|| panic!("{name} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Creates a person, with a permission on a project if given.
    pub(crate) async fn person(&self, grant: Option<(Uuid, i16)>) -> Uuid {
        let id = Uuid::new_v4();
        sqlx::query("insert into app.person (id, name, email) values ($1, 'p', $1::text || '@x.example')")
            .bind(id)
            .execute(&self.pool)
            .await
            .unwrap();
        if let Some((project, permission)) = grant {
            self.grant(id, project, permission).await;
        }
        id
    }

    pub(crate) async fn grant(&self, person: Uuid, project: Uuid, permission: i16) -> Uuid {
        sqlx::query_scalar("insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission) values ($1, 'project', $2, $3) returning id")
            .bind(person).bind(project).bind(permission).fetch_one(&self.pool).await.unwrap()
    }

    /// Creates a person who can see all wikis, which are cheap to create.
    pub(crate) async fn wiki_viewer(&self) -> Uuid {
        let person = self.person(None).await;
        sqlx::query("insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission) values ($1, 'wiki', $2, 0)")
            .bind(person)
            .bind(pmo_domain::EVERY_INSTANCE)
            .execute(&self.pool)
            .await
            .unwrap();
        person
    }

    pub(crate) async fn project(&self) -> Uuid {
        sqlx::query_scalar("insert into app.project (name) values ('p') returning id")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn task(&self, project: Uuid) -> Uuid {
        sqlx::query_scalar("insert into app.task (name, project_id) values ('t', $1) returning id")
            .bind(project)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn rename(&self, code: &str, id: Uuid, name: &str) {
        sqlx::query(sqlx::AssertSqlSafe(format!("update app.{code} set name = $2 where id = $1")))
            .bind(id)
            .bind(name)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Returns the status line and the body of a GET request.
    pub(crate) async fn get(&self, path: &str) -> (String, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    /// Waits until the service has read all log rows.
    ///
    /// Messages that arrive later are caused by later changes.
    pub(crate) async fn wait_until_read(&self) {
        loop {
            let written: i64 =
                sqlx::query_scalar("select count(*) from app.system_logging").fetch_one(&self.pool).await.unwrap();
            let body: Value = serde_json::from_str(&self.get("/health").await.1).unwrap();
            if body["rowsRead"].as_i64().unwrap() >= written - self.rows_before {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn connect(&self, person: Uuid) -> Client {
        self.wait_until_read().await;
        let mut client = self.raw(&format!("/?token={}", token(person, 900))).await;
        client.epoch_and_cursor = {
            let hello = client.next("HELLO").await;
            (hello["epoch"].as_str().unwrap().to_owned(), hello["cursor"].as_str().unwrap().to_owned())
        };
        client
    }

    /// Connects a client with a small receive buffer: if it does not read, its queue fills soon.
    pub(crate) async fn connect_narrow(&self, person: Uuid) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(KERNEL_BYTES).unwrap();
        let stream = socket.connect(self.address.parse().unwrap()).await.unwrap();
        let address = format!("ws://{}/?token={}", self.address, token(person, 900));
        let (socket, _) = tokio_tungstenite::client_async(address, MaybeTlsStream::Plain(stream)).await.unwrap();
        let mut client = Client { socket, epoch_and_cursor: Default::default() };
        client.next("HELLO").await;
        client
    }

    pub(crate) async fn raw(&self, path: &str) -> Client {
        let (socket, _) = connect_async(format!("ws://{}{path}", self.address)).await.unwrap();
        Client { socket, epoch_and_cursor: Default::default() }
    }
}

pub(crate) fn token(person: Uuid, lifetime_seconds: i64) -> String {
    let now = jiff::Timestamp::now().as_second();
    let claims = Claims {
        sub: person,
        iat: now,
        exp: now + lifetime_seconds,
        username: String::new(),
        first_name: String::new(),
        last_name: String::new(),
        person_type: String::new(),
    };
    TokenKeys::new(SECRET).unwrap().sign(&claims).unwrap()
}

pub(crate) struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub epoch_and_cursor: (String, String),
}

impl Client {
    pub(crate) async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn frame(&mut self) -> Message {
        tokio::time::timeout(Duration::from_secs(10), self.socket.next())
            .await
            .expect("a frame in time")
            .expect("an open socket")
            .unwrap()
    }

    /// Returns the payload of the next message, which must have this type.
    ///
    /// ACCESS is skipped unless it is expected, because the log may still contain grants that were
    /// added just before the connection. INVALIDATE is skipped before SUBSCRIBED and RESUMED,
    /// because a change may be delivered both by the catch-up and by the log.
    pub(crate) async fn next(&mut self, kind: &str) -> Value {
        loop {
            let Message::Text(text) = self.frame().await else { panic!("a text frame") };
            let mut value: Value = serde_json::from_str(&text).unwrap();
            let may_be_repeated = value["type"] == "INVALIDATE" && matches!(kind, "SUBSCRIBED" | "RESUMED");
            if (value["type"] == "ACCESS" && kind != "ACCESS") || may_be_repeated {
                continue;
            }
            assert_eq!(value["type"], kind, "{value}");
            return value["payload"].take();
        }
    }

    pub(crate) async fn subscribe(&mut self, payload: Value) -> Value {
        self.send(json!({"type": "SUBSCRIBE", "payload": payload})).await;
        self.next("SUBSCRIBED").await
    }

    /// Asserts that no message is pending: the next one answers this PING.
    pub(crate) async fn quiet(&mut self) {
        self.send(json!({"type": "PING"})).await;
        self.next("PONG").await;
    }

    /// Asserts that not even ACCESS is pending before the answer to this PING.
    pub(crate) async fn only_pong(&mut self) {
        self.send(json!({"type": "PING"})).await;
        let Message::Text(text) = self.frame().await else { panic!("a text frame") };
        assert!(text.contains("PONG"), "{text}");
    }

    pub(crate) async fn closed_with(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.frame().await {
                return frame.map_or(1005, |f| f.code.into());
            }
        }
    }
}
