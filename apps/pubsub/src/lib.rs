//! The pubsub service of PMO: sockets in, changes out. A thin shell around `pmo-feed`.

mod database_requests; // what the feed asks the database
pub mod hub; // the task that owns the feed
pub mod metrics;
mod outbound; // what waits for one socket
mod presence_codec; // who looks at what, between pods
pub mod settings; // from the environment
mod socket; // one WebSocket
mod subscription_writer; // who watches what, written down // what the service says of itself

use axum::extract::{Query, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use hub::{Command, Hub};
use metrics::Metrics;
use pmo_database::{DatabaseError, Pool};
use pmo_feed::{ConnectionId, Limits, MAX_FRAME_BYTES};
use pmo_token::TokenKeys;
use serde_json::json;
use settings::Settings;
use socket::SocketContext;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify, mpsc, oneshot, watch};

/// Bytes that a socket reads at once. What a message needs is kept for the next, and grows by what is read: there are many sockets.
const READ_BUFFER_BYTES: usize = 512;

/// How long an answer to how far the feed is behind is good for.
const LAG_CACHE_TTL: Duration = Duration::from_millis(500);
/// How long sockets have for their farewell when the service stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// Rows that wait in the log and the age of the oldest in milliseconds, where that is known.
type FeedLag = Option<(i64, i64)>;

/// What handlers share.
#[derive(Clone)]
struct AppState {
    shared: Arc<SocketContext>,
    pool: Pool,
    started: Instant,
    next_id: Arc<AtomicU64>,
    allowed_origins: Arc<[String]>,
    /// How far the feed is behind the log, and since when that is known: asking costs, and anybody may ask.
    behind: Arc<Mutex<Option<(Instant, FeedLag)>>>,
}

/// A running service: its routes, and the way to stop it.
pub struct Server {
    router: Router,
    stopper: ShutdownHandle,
}

/// Stops a running service.
#[derive(Clone)]
pub struct ShutdownHandle {
    hub: mpsc::Sender<Command>,
    vitals: Arc<Metrics>,
    stopping: Arc<watch::Sender<bool>>,
}

impl ShutdownHandle {
    /// Tells every client to come back later, and waits a little for them to hear it.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        let (done, stopped) = oneshot::channel();
        if self.hub.send(Command::Stop(done)).await.is_ok() {
            let _ = tokio::time::timeout(Duration::from_secs(5), stopped).await;
        }
        let farewells = async {
            while self.vitals.sockets.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(SHUTDOWN_GRACE, farewells).await;
    }
}

impl Server {
    /// The way to stop it.
    pub fn stopper(&self) -> ShutdownHandle {
        self.stopper.clone()
    }

    /// Serves until `stop` is over, and what is being answered then for a little longer.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        // A frame goes off when it is written, and does not wait for the next.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let (ending, ended) = oneshot::channel();
        let stop = async move {
            stop.await;
            let _ = ending.send(());
        };
        // Half a request must not keep the service from its end.
        let cut = async move {
            match ended.await {
                Ok(()) => tokio::time::sleep(SHUTDOWN_GRACE).await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            served = axum::serve(listener, self.router).with_graceful_shutdown(stop).into_future() => served,
            () = cut => Ok(()),
        }
    }
}

/// Starts the hub, the mirror and the doorbell, and makes the routes.
pub async fn start(pool: Pool, keys: TokenKeys, settings: &Settings) -> Result<Server, DatabaseError> {
    let vitals = Arc::new(Metrics::default());
    let (hub, commands) = mpsc::channel(4096);
    let (notes, written) = mpsc::unbounded_channel();
    let limits = Limits {
        poll_interval_ms: settings.poll_ms.clamp(10, 3_600_000) as i64,
        connections_per_person: settings.connections_per_person,
        // What is told at once must fit into the queue, or who catches up would be sent away to catch up, for ever.
        max_catch_up_rows: settings.queue_kilobytes.max(512) * 1024 / 400,
        ..Limits::default()
    };
    let rung = Arc::new(Notify::new());
    let pod = uuid::Uuid::new_v4();
    let task = Hub::new(pool.clone(), limits, vitals.clone(), pod, notes).await?;
    tokio::spawn(task.run(commands, rung.clone()));
    tokio::spawn(subscription_writer::run(pool.clone(), written));
    tokio::spawn(listen_notifications(pool.clone(), rung, hub.clone(), pod));
    let (stopping, is_stopping) = watch::channel(false);
    let shared = SocketContext {
        keys,
        stopping: is_stopping,
        hub: hub.clone(),
        vitals: vitals.clone(),
        // One look at the log must fit, or a burst would send away who reads as well as who does not.
        queue_bytes: settings.queue_kilobytes.max(512) * 1024,
        token_grace: settings.token_grace_seconds as i64 * 1000,
    };
    let service = AppState {
        shared: Arc::new(shared),
        pool,
        started: Instant::now(),
        behind: Arc::default(),
        next_id: Arc::default(),
        allowed_origins: settings
            .allowed_origins
            .split(',')
            .map(|o| o.trim().trim_end_matches('/').to_lowercase())
            .filter(|o| !o.is_empty())
            .collect(),
    };
    let router = Router::new()
        .route("/", get(connect))
        .route("/ws", get(connect))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(service);
    Ok(Server { router, stopper: ShutdownHandle { hub, vitals, stopping: Arc::new(stopping) } })
}

/// Rings the hub when the database does, and hands on what other pods say of who looks at what. A lost ring costs one poll; a lost connection is made again.
async fn listen_notifications(pool: Pool, rung: Arc<Notify>, hub: mpsc::Sender<Command>, pod: uuid::Uuid) {
    while !pool.is_closed() {
        let listening = async {
            let mut listener = pmo_database::Listener::connect_with(&pool).await?;
            listener
                .listen_all([pmo_database::change_log::LOG_CHANNEL, pmo_database::change_log::PRESENCE_CHANNEL])
                .await?;
            // What came before it listened.
            rung.notify_one();
            loop {
                let mut next = Some(listener.recv().await?);
                let mut rings = false;
                // Rings that came meanwhile are answered by the same look.
                while let Some(heard) = next.take() {
                    if heard.channel() == pmo_database::change_log::LOG_CHANNEL {
                        rings = true;
                    } else if let Some(said) = presence_codec::decode(heard.payload(), pod) {
                        // Who looks at what may be lost: it is said again.
                        let _ = hub.try_send(Command::RemotePresence(said));
                    }
                    next = listener.next_buffered();
                }
                if rings {
                    rung.notify_one();
                }
            }
        };
        let outcome: Result<(), pmo_database::DriverError> = listening.await;
        if let Err(error) = outcome {
            tracing::debug!(%error, "the doorbell is away; the log is looked at now and then");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[derive(serde::Deserialize)]
struct ConnectQuery {
    token: Option<String>,
}

async fn connect(
    State(service): State<AppState>,
    Query(address): Query<ConnectQuery>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !origin_allowed(&headers, &service.allowed_origins) {
        service.shared.vitals.refused.fetch_add(1, Ordering::Relaxed);
        tracing::info!(origin = ?headers.get(header::ORIGIN), "a page of a foreign origin was refused");
        return (StatusCode::FORBIDDEN, "this page may not connect here; PUBSUB_ALLOWED_ORIGINS names those that may")
            .into_response();
    }
    let id = ConnectionId(service.next_id.fetch_add(1, Ordering::Relaxed) + 1);
    upgrade
        .max_message_size(4 * MAX_FRAME_BYTES)
        .max_frame_size(4 * MAX_FRAME_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES)
        .on_upgrade(move |socket| socket::handle_socket(socket, id, address.token, service.shared))
}

/// A missing Origin is no browser; a browser's page must come from this host or from one that is named.
fn origin_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let origin = origin.trim_end_matches('/').to_lowercase();
    if allowed.contains(&origin) {
        return true;
    }
    let without_port = |host: &str| {
        host.rsplit_once(':')
            .filter(|(_, p)| p.bytes().all(|b| b.is_ascii_digit()))
            .map_or(host.to_owned(), |(h, _)| h.to_owned())
    };
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).map(|h| without_port(&h.to_lowercase()));
    let from = origin.split_once("://").map(|(_, rest)| without_port(rest));
    from.is_some() && from == host
}

async fn health(State(service): State<AppState>) -> Response {
    let vitals = &service.shared.vitals;
    let watching = vitals.log_reader_up.load(Ordering::Relaxed) && !service.shared.hub.is_closed();
    let body = json!({
        "status": if watching { "ok" } else { "degraded" },
        "uptime": service.started.elapsed().as_secs(),
        "connections": vitals.connections.load(Ordering::Relaxed),
        "users": vitals.users.load(Ordering::Relaxed),
        "subscriptions": vitals.subscriptions.load(Ordering::Relaxed),
        "rowsRead": vitals.rows.load(Ordering::Relaxed),
        "logWatcherRunning": watching,
    });
    let status = if watching { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

/// Whether new sockets should be sent here: not while the database does not answer, nor while the service stops.
async fn ready(State(service): State<AppState>) -> (StatusCode, &'static str) {
    let vitals = &service.shared.vitals;
    if vitals.stopping.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping")
    } else if service.shared.hub.is_closed() {
        (StatusCode::SERVICE_UNAVAILABLE, "the feed has ended")
    } else if vitals.log_reader_up.load(Ordering::Relaxed) {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer")
    }
}

/// How far the feed is behind the log, where the database answers in time.
async fn feed_lag(service: &AppState) -> FeedLag {
    let ask = service.shared.vitals.next()?;
    let asked = async {
        let mut connection = service.pool.acquire().await.ok()?;
        pmo_database::change_log::lag(&mut connection, ask.epoch, ask.from, &ask.finished).await.ok()
    };
    tokio::time::timeout(Duration::from_secs(2), asked).await.ok().flatten()
}

/// Numbers as Prometheus reads them.
async fn metrics(State(service): State<AppState>) -> Response {
    let behind = {
        let mut known = service.behind.lock().await;
        let fresh = known.filter(|(at, _)| at.elapsed() < LAG_CACHE_TTL);
        let (_, behind) = match fresh {
            Some(known) => known,
            None => *known.insert((Instant::now(), feed_lag(&service).await)),
        };
        behind
    };
    let text = service.shared.vitals.render(service.started.elapsed().as_secs(), behind);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_hosts_are_refused() {
        let headers = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "localhost:4001".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            headers
        };
        assert!(origin_allowed(&headers(None), &[]));
        assert!(origin_allowed(&headers(Some("http://localhost:5173")), &[]));
        assert!(!origin_allowed(&headers(Some("https://evil.example")), &[]));
        assert!(!origin_allowed(&headers(Some("null")), &[]));
        assert!(!origin_allowed(&headers(Some("http://localhost.evil.example")), &[]));
        assert!(origin_allowed(&headers(Some("https://app.example")), &["https://app.example".to_owned()]));
    }
}
