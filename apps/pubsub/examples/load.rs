//! A load generator for `just bench feed`: sockets by the thousand, writes beside them, and the floors that they are compared with. It prints a line
//! of JSON for each measurement; `bench/feed.mjs` runs it and draws the table.

#![allow(clippy::unwrap_used, clippy::expect_used)] // whoever measures wants to see what broke

use clap::{Parser, Subcommand};
use futures_util::{SinkExt, StreamExt};
use pmo_token::{Claims, TokenKeys};
use serde_json::{Value, json};
use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use uuid::Uuid;

/// Distinct people behind the sockets.
const PEOPLE: usize = 500;
/// Things that may be watched.
const THINGS: usize = 10_000;

#[derive(Parser)]
struct Args {
    /// Host and port of the service.
    #[arg(long, default_value = "127.0.0.1:4301")]
    service: String,
    /// Process number of the service, whose memory is read.
    #[arg(long, default_value_t = 0)]
    pid: u32,
    #[command(subcommand)]
    what: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Makes people and things.
    Prepare,
    /// A plain broadcast of WebSocket frames, as a floor.
    BroadcastServer,
    /// From a frame to the plain broadcast until the last of `clients` has it.
    Broadcast { clients: usize },
    /// NOTIFY to LISTEN on a connection of its own, as a floor.
    Notify,
    /// From COMMIT until one client is told.
    Commit,
    /// Writes at a rate, each told to those of `clients` who watch it.
    Rate { clients: usize, writes: usize },
    /// From COMMIT until the last of `clients` is told of one thing that all watch.
    Fan { clients: usize },
    /// How many deliveries a second, to `clients` who all watch one thing.
    Sustained { clients: usize },
    /// Resident memory for each of `clients`, each with `watches`.
    Idle { clients: usize, watches: usize },
    /// Rows in one transaction, to `clients` who watch their type.
    Burst { clients: usize, rows: usize },
    /// As `Rate`, beside one more client who watches everything, a burst in between, and does not read, or does.
    Stalled {
        clients: usize,
        writes: usize,
        #[arg(long)]
        reads: bool,
    },
}

fn database() -> String {
    std::env::var("DATABASE_URL").unwrap()
}

fn person(n: usize) -> Uuid {
    Uuid::from_u128(0x5000_0000_0000 + (n % PEOPLE) as u128)
}
fn thing(n: usize) -> Uuid {
    Uuid::from_u128(0x6000_0000_0000 + (n % THINGS) as u128)
}
fn project() -> Uuid {
    Uuid::from_u128(0x7000_0000_0000)
}

fn print(what: &str, times: &mut [f64], more: Value) {
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times.get(((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1))).copied();
    println!(
        "{}",
        json!({"what": what, "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "n": times.len(), "more": more})
    );
}

/// A wire from one of many addresses of this machine: one has not enough ports.
async fn wire(address: &str, n: usize) -> TcpStream {
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("127.0.0.{}:0", 2 + n / 20_000).parse().unwrap()).unwrap();
        match socket.connect(address.parse().unwrap()).await {
            Ok(stream) => {
                stream.set_nodelay(true).unwrap();
                return stream;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn socket(address: &str, path: &str, n: usize) -> WebSocketStream<TcpStream> {
    let config = WebSocketConfig::default().read_buffer_size(1024);
    let stream = wire(address, n).await;
    client_async_with_config(format!("ws://{address}{path}"), stream, Some(config)).await.unwrap().0
}

fn token(n: usize) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let empty = String::new;
    let claims = Claims {
        sub: person(n),
        iat: now,
        exp: now + 3600,
        username: empty(),
        first_name: empty(),
        last_name: empty(),
        person_type: empty(),
    };
    TokenKeys::new(&std::env::var("JWT_SECRET").unwrap()).unwrap().sign(&claims).unwrap()
}

type Client = WebSocketStream<TcpStream>;

async fn until(client: &mut Client, kind: &str) -> Value {
    loop {
        let Message::Text(text) = client.next().await.unwrap().unwrap() else { continue };
        let mut message: Value = serde_json::from_str(&text).unwrap();
        if message["type"] == kind {
            return message["payload"].take();
        }
    }
}

async fn connect(address: &str, n: usize) -> Client {
    let mut client = socket(address, &format!("/ws?token={}", token(n)), n).await;
    until(&mut client, "HELLO").await;
    client
}

async fn watch(client: &mut Client, ids: Option<Vec<Uuid>>) {
    let mut payload = json!({"entityCode": "wiki"});
    if let Some(ids) = ids {
        payload["entityIds"] = json!(ids);
    }
    client.send(Message::text(json!({"type": "SUBSCRIBE", "payload": payload}).to_string())).await.unwrap();
    let done = until(client, "SUBSCRIBED").await;
    assert_eq!(done["refused"], 0);
}

/// Opens `count` sockets, some at a time.
async fn crowd(address: &str, count: usize, ids: impl Fn(usize) -> Option<Option<Vec<Uuid>>>) -> Vec<Client> {
    let mut all = Vec::with_capacity(count);
    let mut next = 0;
    while next < count {
        let batch: Vec<usize> = (next..count.min(next + 50)).collect();
        next += batch.len();
        let opened = futures_util::future::join_all(batch.into_iter().map(|n| {
            let ids = ids(n);
            async move {
                let mut client = connect(address, n).await;
                if let Some(ids) = ids {
                    watch(&mut client, ids).await;
                }
                client
            }
        }));
        all.extend(opened.await);
    }
    all
}

/// What clients heard.
#[derive(Default)]
struct Results {
    /// When each thing was written last.
    written: HashMap<Uuid, Instant>,
    times: Vec<f64>,
    frames: usize,
    changes: usize,
    last: Option<Instant>,
    /// Frames or changes to wait for.
    wanted: usize,
}

/// Reads for all clients until it is dropped; times are taken where `detailed`.
struct ClientPool {
    board: Arc<Mutex<Results>>,
    reached: Arc<Notify>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl ClientPool {
    fn new(clients: Vec<Client>, detailed: bool) -> Self {
        let (board, reached) = (Arc::new(Mutex::new(Results::default())), Arc::new(Notify::new()));
        let read = |mut client: Client| {
            let (board, reached) = (board.clone(), reached.clone());
            tokio::spawn(async move {
                while let Some(Ok(message)) = client.next().await {
                    let Message::Text(text) = message else { continue };
                    if !text.contains("INVALIDATE") {
                        continue;
                    }
                    let now = Instant::now();
                    let mut board = board.lock().unwrap();
                    board.frames += 1;
                    board.last = Some(now);
                    if detailed {
                        let message: Value = serde_json::from_str(&text).unwrap();
                        for change in message["payload"]["changes"].as_array().unwrap() {
                            board.changes += 1;
                            let id: Uuid = change["entityId"].as_str().unwrap().parse().unwrap();
                            if let Some(at) = board.written.get(&id).copied() {
                                board.times.push(now.duration_since(at).as_secs_f64() * 1000.0);
                            }
                        }
                    } else {
                        board.changes += text.matches("\"entityId\"").count();
                    }
                    if board.changes >= board.wanted {
                        reached.notify_one();
                    }
                }
            })
        };
        let tasks = clients.into_iter().map(read).collect();
        Self { board, reached, tasks }
    }

    fn expect(&self, changes: usize) {
        let mut board = self.board.lock().unwrap();
        (board.frames, board.changes, board.wanted, board.last) = (0, 0, changes, None);
    }

    async fn all(&self) -> Instant {
        loop {
            {
                let board = self.board.lock().unwrap();
                if board.changes >= board.wanted {
                    return board.last.unwrap();
                }
            }
            let waited = tokio::time::timeout(Duration::from_secs(60), self.reached.notified()).await;
            let board = self.board.lock().unwrap();
            assert!(waited.is_ok(), "{} of {} changes came", board.changes, board.wanted);
        }
    }
}

impl Drop for ClientPool {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|task| task.abort());
    }
}

async fn touch(c: &mut PgConnection, id: Uuid) {
    sqlx::query("update app.wiki set name = 'w' || (version + 1) where id = $1").bind(id).execute(c).await.unwrap();
}

async fn prepare(pool: &PgPool) {
    sqlx::query("insert into app.project (id, name) values ($1, 'bench') on conflict do nothing")
        .bind(project())
        .execute(pool)
        .await
        .unwrap();
    for n in 0..PEOPLE {
        sqlx::query("insert into app.person (id, name, email) values ($1, 'p', $1::text || '@bench.example') on conflict do nothing")
            .bind(person(n))
            .execute(pool)
            .await
            .unwrap();
        sqlx::query("insert into app.entity_rbac (person_id, entity_code, entity_instance_id, permission) values ($1, 'project', $2, 0)")
            .bind(person(n))
            .bind(project())
            .execute(pool)
            .await
            .unwrap();
    }
    let ids: Vec<Uuid> = (0..THINGS).map(thing).collect();
    sqlx::query("insert into app.wiki (id, name) select id, 'w' from unnest($1::uuid[]) id")
        .bind(&ids)
        .execute(pool)
        .await
        .unwrap();
    sqlx::query("insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id, owned) select 'project', $2, 'wiki', id, true from unnest($1::uuid[]) id")
        .bind(&ids)
        .bind(project())
        .execute(pool)
        .await
        .unwrap();
}

async fn broadcast_server(address: &str) {
    let listener = TcpListener::bind(address).await.unwrap();
    let all: Arc<Mutex<Vec<mpsc::UnboundedSender<Message>>>> = Arc::default();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let all = all.clone();
        tokio::spawn(async move {
            let config = WebSocketConfig::default().read_buffer_size(1024);
            let socket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await.unwrap();
            let (mut out, mut incoming) = socket.split();
            let (sender, mut mine) = mpsc::unbounded_channel();
            all.lock().unwrap().push(sender);
            loop {
                tokio::select! {
                    frame = mine.recv() => if out.send(frame.unwrap()).await.is_err() { return },
                    frame = incoming.next() => match frame {
                        Some(Ok(frame @ Message::Text(_))) => {
                            all.lock().unwrap().retain(|other| other.send(frame.clone()).is_ok());
                        }
                        Some(Ok(_)) => {}
                        _ => return,
                    }
                }
            }
        });
    }
}

async fn broadcast(address: &str, clients: usize) {
    let mut all = Vec::new();
    for n in 0..clients {
        all.push(socket(address, "/", n).await);
    }
    let mut sender = socket(address, "/", 0).await;
    let crowd = ClientPool::new(all, false);
    let mut times = Vec::new();
    // As long as a frame of the feed with one change.
    let frame = format!("INVALIDATE \"entityId\" {}", "x".repeat(200));
    for _ in 0..if clients > 1000 { 20 } else { 60 } {
        crowd.expect(clients);
        let began = Instant::now();
        sender.send(Message::text(frame.clone())).await.unwrap();
        times.push((crowd.all().await - began).as_secs_f64() * 1000.0);
    }
    print("broadcast", &mut times, json!({"clients": clients}));
}

async fn notify() {
    let mut listener = PgListener::connect(&database()).await.unwrap();
    listener.listen("bench").await.unwrap();
    let mut writer = PgConnection::connect(&database()).await.unwrap();
    let mut times = Vec::new();
    for n in 0..600 {
        let began = Instant::now();
        sqlx::query("select pg_notify('bench', '')").execute(&mut writer).await.unwrap();
        listener.recv().await.unwrap();
        if n >= 100 {
            times.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    print("notify", &mut times, json!({}));
}

async fn commit(address: &str) {
    let mut client = connect(address, 0).await;
    watch(&mut client, Some(vec![thing(0)])).await;
    let mut writer = PgConnection::connect(&database()).await.unwrap();
    let (mut from_commit, mut from_update) = (Vec::new(), Vec::new());
    for n in 0..1100 {
        let update = Instant::now();
        let mut transaction = writer.begin().await.unwrap();
        touch(&mut transaction, thing(0)).await;
        let began = Instant::now();
        transaction.commit().await.unwrap();
        until(&mut client, "INVALIDATE").await;
        if n >= 100 {
            from_commit.push(began.elapsed().as_secs_f64() * 1000.0);
            from_update.push(update.elapsed().as_secs_f64() * 1000.0);
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    print("commit", &mut from_commit, json!({}));
    print("update", &mut from_update, json!({}));
}

/// Writes for some seconds at a rate, one thing after the other; answers how many.
async fn write_at(crowd: &ClientPool, writes: usize, seconds: usize, which: impl Fn(usize) -> Uuid) -> usize {
    let pool = PgPoolOptions::new().max_connections(4).connect(&database()).await.unwrap();
    let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / writes as f64));
    let mut under_way = tokio::task::JoinSet::new();
    let total = writes * seconds;
    for n in 0..total {
        tick.tick().await;
        let (pool, board, id) = (pool.clone(), crowd.board.clone(), which(n));
        under_way.spawn(async move {
            let mut transaction = pool.begin().await.unwrap();
            touch(&mut transaction, id).await;
            board.lock().unwrap().written.insert(id, Instant::now());
            transaction.commit().await.unwrap();
        });
    }
    while let Some(done) = under_way.join_next().await {
        done.unwrap();
    }
    total
}

async fn rate(address: &str, clients: usize, writes: usize, beside: Option<bool>) {
    const EACH: usize = 20;
    // Things 0..1000; each is watched by EACH of a thousand parts of the clients.
    let ids = |n: usize| Some(Some((0..EACH).map(|k| thing((n * EACH + k) % 1000)).collect()));
    let all = crowd(address, clients, ids).await;
    let mut idle = Vec::new();
    if let Some(reads) = beside {
        let mut client = connect(address, 0).await;
        watch(&mut client, None).await;
        if reads {
            tokio::spawn(async move { while client.next().await.is_some() {} });
        } else {
            idle.push(client);
        }
    }
    let crowd = ClientPool::new(all, true);
    let watchers = |id: usize| (0..clients).filter(|n| (0..EACH).any(|k| (n * EACH + k) % 1000 == id)).count();
    crowd.expect(usize::MAX);
    let seconds = 10;
    write_at(&crowd, writes, 2, |n| thing(n * 7 % 1000)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let expected: usize = (0..writes * seconds).map(|n| watchers(n * 7 % 1000)).sum();
    crowd.expect(usize::MAX);
    crowd.board.lock().unwrap().times.clear();
    if beside.is_some() {
        let mut c = PgConnection::connect(&database()).await.unwrap();
        sqlx::query("update app.wiki set name = 'x' where id = any ($1)")
            .bind((5_000..THINGS).map(thing).collect::<Vec<_>>())
            .execute(&mut c)
            .await
            .unwrap();
    }
    write_at(&crowd, writes, seconds, |n| thing(n * 7 % 1000)).await;
    crowd.board.lock().unwrap().wanted = expected;
    crowd.all().await;
    let mut times = std::mem::take(&mut crowd.board.lock().unwrap().times);
    print("rate", &mut times, json!({"clients": clients, "writes": writes, "deliveries": expected}));
}

async fn fan(address: &str, clients: usize) {
    let all = crowd(address, clients, |_| Some(Some(vec![thing(0)]))).await;
    let crowd = ClientPool::new(all, false);
    let mut writer = PgConnection::connect(&database()).await.unwrap();
    let mut times = Vec::new();
    for n in 0..if clients > 1000 { 25 } else { 65 } {
        crowd.expect(clients);
        let mut transaction = writer.begin().await.unwrap();
        touch(&mut transaction, thing(0)).await;
        let began = Instant::now();
        transaction.commit().await.unwrap();
        let last = crowd.all().await;
        if n >= 5 {
            times.push((last - began).as_secs_f64() * 1000.0);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    print("fan", &mut times, json!({"clients": clients}));
}

async fn sustained(address: &str, clients: usize) {
    let all = crowd(address, clients, |_| Some(Some(vec![thing(0), thing(1)]))).await;
    let crowd = ClientPool::new(all, false);
    for writes in [10, 20, 30, 40, 60, 80] {
        crowd.expect(usize::MAX);
        let began = Instant::now();
        let total = write_at(&crowd, writes, 5, |n| thing(n % 2)).await;
        // Changes of one thing that are read in one look are one: what keeps up tells nearly all.
        let mut settled = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = crowd.board.lock().unwrap().changes;
            if now == settled {
                break;
            }
            settled = now;
        }
        let last = crowd.board.lock().unwrap().last.unwrap();
        let seconds = (last - began).as_secs_f64();
        let of = settled as f64 / (total * clients) as f64;
        print("sustained", &mut [settled as f64 / seconds], json!({"clients": clients, "writes": writes, "told": of}));
    }
}

fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn idle(address: &str, clients: usize, watches: usize, pid: u32) {
    // The first sockets pay for what is there once.
    drop(crowd(address, 100, |_| None).await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = resident(pid);
    let ids = |n: usize| (watches > 0).then(|| Some((0..watches).map(|k| thing(n * 131 + k * 97)).collect()));
    let all = crowd(address, clients, ids).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let each = (resident(pid) - before) / clients as f64;
    print("idle", &mut [each], json!({"clients": clients, "watches": watches}));
    drop(all);
}

async fn burst(address: &str, clients: usize, rows: usize) {
    let all = crowd(address, clients, |_| Some(None)).await;
    let crowd = ClientPool::new(all, false);
    let mut writer = PgConnection::connect(&database()).await.unwrap();
    crowd.expect(clients * rows);
    let mut transaction = writer.begin().await.unwrap();
    let ids: Vec<Uuid> = (0..rows).map(|_| Uuid::now_v7()).collect();
    sqlx::query("insert into app.wiki (id, name) select id, 'b' from unnest($1::uuid[]) id")
        .bind(&ids)
        .execute(&mut *transaction)
        .await
        .unwrap();
    sqlx::query("insert into app.entity_instance_link (parent_code, parent_id, child_code, child_id, owned) select 'project', $2, 'wiki', id, true from unnest($1::uuid[]) id")
        .bind(&ids)
        .bind(project())
        .execute(&mut *transaction)
        .await
        .unwrap();
    let began = Instant::now();
    transaction.commit().await.unwrap();
    let watching = async {
        let mut most = 0.0_f64;
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            let value = text
                .lines()
                .find(|l| l.starts_with("pmo_pubsub_queued_bytes "))
                .and_then(|l| l.rsplit(' ').next()?.parse().ok());
            most = most.max(value.unwrap_or(0.0));
            tokio::time::sleep(Duration::from_millis(20)).await;
            if crowd.board.lock().unwrap().changes >= clients * rows {
                return most;
            }
        }
    };
    let (last, most) = tokio::join!(crowd.all(), watching);
    let frames = crowd.board.lock().unwrap().frames;
    let more =
        json!({"clients": clients, "rows": rows, "frames": frames / clients, "queued_each": most / clients as f64});
    print("burst", &mut [(last - began).as_secs_f64() * 1000.0], more);
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let settings = Args::parse();
    let address = settings.service.as_str();
    match settings.what {
        Scenario::Prepare => prepare(&PgPool::connect(&database()).await.unwrap()).await,
        Scenario::BroadcastServer => broadcast_server(address).await,
        Scenario::Broadcast { clients } => broadcast(address, clients).await,
        Scenario::Notify => notify().await,
        Scenario::Commit => commit(address).await,
        Scenario::Rate { clients, writes } => rate(address, clients, writes, None).await,
        Scenario::Stalled { clients, writes, reads } => rate(address, clients, writes, Some(reads)).await,
        Scenario::Fan { clients } => fan(address, clients).await,
        Scenario::Sustained { clients } => sustained(address, clients).await,
        Scenario::Idle { clients, watches } => idle(address, clients, watches, settings.pid).await,
        Scenario::Burst { clients, rows } => burst(address, clients, rows).await,
    }
}
