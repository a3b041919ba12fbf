//! A running service with its database, and clients of it.

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

pub struct Server {
    pub address: String,
    pub pool: PgPool,
    pub stopper: ShutdownHandle,
    /// Rows of the log before it started.
    before: i64,
}

/// Small, so that a reader who does not read is noticed soon.
const KERNEL_BYTES: u32 = 4096;

/// The settings of a service that looks often and gives expired tokens no grace.
pub const QUICK: [&str; 4] = ["--poll-ms", "200", "--token-grace-seconds", "0"];

impl Server {
    pub async fn start(pool: &PgPool) -> Self {
        Self::start_with(pool, &QUICK).await
    }

    pub async fn start_with(pool: &PgPool, arguments: &[&str]) -> Self {
        let settings = Settings::parse_from([&["pmo-pubsub"], arguments].concat());
        sqlx::query("select app.check_epoch()").execute(pool).await.unwrap();
        let before = sqlx::query_scalar("select count(*) from app.system_logging").fetch_one(pool).await.unwrap();
        let own = PgPoolOptions::new().max_connections(6).acquire_timeout(Duration::from_millis(500));
        let own = own.connect_with(pool.connect_options().as_ref().clone()).await.unwrap();
        // The test's end waits for everybody to let go of its database.
        let (end, owned) = (pool.close_event(), own.clone());
        tokio::spawn(async move {
            end.await;
            owned.close().await;
        });
        let running = pmo_pubsub::start(own, TokenKeys::new(SECRET).unwrap(), &settings).await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(KERNEL_BYTES).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stopper = running.stopper();
        tokio::spawn(running.serve(listener, std::future::pending()));
        Self { address, pool: pool.clone(), stopper, before }
    }

    pub async fn sql(&self, statement: &'static str) {
        sqlx::raw_sql(statement).execute(&self.pool).await.unwrap();
    }

    /// A number of `/metrics`.
    pub async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics").await;
        let line = text.lines().find(|l| l.starts_with(&format!("pmo_pubsub_{name} ")));
        line.unwrap_or_else(|| panic!("{name} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// A person with a level on a new project.
    pub async fn person(&self, project: Option<(Uuid, i16)>) -> Uuid {
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

    pub async fn grant(&self, person: Uuid, project: Uuid, level: i16) -> Uuid {
        sqlx::query_scalar("insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission) values ($1, 'project', $2, $3) returning id")
            .bind(person).bind(project).bind(level).fetch_one(&self.pool).await.unwrap()
    }

    /// A person who sees every wiki; such things are quickly made.
    pub async fn reader_of_wikis(&self) -> Uuid {
        let person = self.person(None).await;
        sqlx::query("insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission) values ($1, 'wiki', $2, 0)")
            .bind(person)
            .bind(pmo_domain::EVERY_INSTANCE)
            .execute(&self.pool)
            .await
            .unwrap();
        person
    }

    pub async fn project(&self) -> Uuid {
        sqlx::query_scalar("insert into app.project (name) values ('p') returning id")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub async fn task(&self, project: Uuid) -> Uuid {
        sqlx::query_scalar("insert into app.task (name, project_id) values ('t', $1) returning id")
            .bind(project)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    pub async fn rename(&self, code: &str, id: Uuid, name: &str) {
        sqlx::query(sqlx::AssertSqlSafe(format!("update app.{code} set name = $2 where id = $1")))
            .bind(id)
            .bind(name)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// The status line and the body of a page of the service.
    pub async fn get(&self, path: &str) -> (String, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    /// Waits until the service has read everything that was written: what is told from here on is what happens from here on.
    pub async fn settled(&self) {
        loop {
            let written: i64 =
                sqlx::query_scalar("select count(*) from app.system_logging").fetch_one(&self.pool).await.unwrap();
            let body: Value = serde_json::from_str(&self.get("/health").await.1).unwrap();
            if body["rowsRead"].as_i64().unwrap() >= written - self.before {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    pub async fn connect(&self, person: Uuid) -> Client {
        self.settled().await;
        let mut client = self.raw(&format!("/?token={}", token(person, 900))).await;
        client.epoch_and_cursor = {
            let hello = client.next("HELLO").await;
            (hello["epoch"].as_str().unwrap().to_owned(), hello["cursor"].as_str().unwrap().to_owned())
        };
        client
    }

    /// A client whose side of the wire holds little: one that does not read is soon behind.
    pub async fn connect_narrow(&self, person: Uuid) -> Client {
        let wire = TcpSocket::new_v4().unwrap();
        wire.set_recv_buffer_size(KERNEL_BYTES).unwrap();
        let wire = wire.connect(self.address.parse().unwrap()).await.unwrap();
        let address = format!("ws://{}/?token={}", self.address, token(person, 900));
        let (socket, _) = tokio_tungstenite::client_async(address, MaybeTlsStream::Plain(wire)).await.unwrap();
        let mut client = Client { socket, epoch_and_cursor: Default::default() };
        client.next("HELLO").await;
        client
    }

    pub async fn raw(&self, path: &str) -> Client {
        let (socket, _) = connect_async(format!("ws://{}{path}", self.address)).await.unwrap();
        Client { socket, epoch_and_cursor: Default::default() }
    }
}

pub fn token(person: Uuid, lives: i64) -> String {
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
    TokenKeys::new(SECRET).unwrap().sign(&claims).unwrap()
}

pub struct Client {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub epoch_and_cursor: (String, String),
}

impl Client {
    pub async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    pub async fn frame(&mut self) -> Message {
        tokio::time::timeout(Duration::from_secs(10), self.socket.next())
            .await
            .expect("a frame in time")
            .expect("an open socket")
            .unwrap()
    }

    /// The payload of the next message, which must be of this type. ACCESS is passed over where another is awaited: the log may still
    /// tell of grants that were made just before the socket opened. A change may be told twice, by catching up and by the log itself.
    pub async fn next(&mut self, kind: &str) -> Value {
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

    pub async fn subscribe(&mut self, payload: Value) -> Value {
        self.send(json!({"type": "SUBSCRIBE", "payload": payload})).await;
        self.next("SUBSCRIBED").await
    }

    /// Asserts that nothing but the answer to this PING comes: whatever was due came before it.
    pub async fn quiet(&mut self) {
        self.send(json!({"type": "PING"})).await;
        self.next("PONG").await;
    }

    /// Asserts that nothing at all came before the answer to this PING.
    pub async fn only_pong(&mut self) {
        self.send(json!({"type": "PING"})).await;
        let Message::Text(text) = self.frame().await else { panic!("a text frame") };
        assert!(text.contains("PONG"), "{text}");
    }

    pub async fn closed_with(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.frame().await {
                return frame.map_or(1005, |f| f.code.into());
            }
        }
    }
}
