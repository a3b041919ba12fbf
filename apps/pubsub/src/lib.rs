//! Pubsub service of PMO: WebSocket connections around the state machine of `pmo-feed`.

mod database_requests; // database requests of the feed
pub mod hub; // task that owns the feed
pub mod metrics; // values for /health and /metrics
mod outbound; // send queue of one connection
mod presence_codec; // presence messages between pods
pub mod settings; // settings from the environment
mod socket; // one WebSocket connection
mod subscription_writer; // writer of the subscription mirror

use axum::extract::{Query, State, WebSocketUpgrade};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use hub::{Command, Hub};
use metrics::Metrics;
use pmo_database::change_log::FeedLag;
use pmo_database::{DatabaseError, Pool};
use pmo_domain::UnixMillis;
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

/// Initial read buffer of a connection in bytes.
///
/// The buffer grows with the messages and is reused. It starts small because there are many
/// connections.
const READ_BUFFER_BYTES: usize = 512;

/// Time for which a measured feed lag is reused.
const LAG_CACHE_TTL: Duration = Duration::from_millis(500);
/// Time for connections to close at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// Time of a measurement, and the feed lag if it is known.
type MeasuredLag = (Instant, Option<FeedLag>);

/// State of the HTTP handlers.
#[derive(Clone)]
struct AppState {
    shared: Arc<SocketContext>,
    pool: Pool,
    started: Instant,
    started_at: UnixMillis,
    next_id: Arc<AtomicU64>,
    allowed_origins: Arc<[String]>,
    /// Last measured feed lag and its time.
    ///
    /// The measurement costs a query, and `/metrics` has no authentication.
    lag_cache: Arc<Mutex<Option<MeasuredLag>>>,
}

/// Pubsub service with its routes, ready to serve.
pub struct Server {
    router: Router,
    shutdown_handle: ShutdownHandle,
}

/// Handle that shuts a service down.
#[derive(Clone)]
pub struct ShutdownHandle {
    hub: mpsc::Sender<Command>,
    metrics: Arc<Metrics>,
    stopping: Arc<watch::Sender<bool>>,
}

impl ShutdownHandle {
    /// Closes all connections with code 1012 and waits a few seconds for their end.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        let (done, stopped) = oneshot::channel();
        if self.hub.send(Command::Stop(done)).await.is_ok() {
            let _ = tokio::time::timeout(Duration::from_secs(5), stopped).await;
        }
        let all_closed = async {
            while self.metrics.sockets.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(SHUTDOWN_GRACE, all_closed).await;
    }
}

impl Server {
    /// Returns a handle that shuts the service down.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        self.shutdown_handle.clone()
    }

    /// Serves until `stop` completes. Open requests may take `SHUTDOWN_GRACE` longer.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        // Send each frame immediately, without waiting for more data.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let (stop_reached, stopped) = oneshot::channel();
        let stop = async move {
            stop.await;
            let _ = stop_reached.send(());
        };
        // An incomplete request must not block the shutdown.
        let deadline = async move {
            match stopped.await {
                Ok(()) => tokio::time::sleep(SHUTDOWN_GRACE).await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            served = axum::serve(listener, self.router).with_graceful_shutdown(stop).into_future() => served,
            () = deadline => Ok(()),
        }
    }
}

/// Starts the hub, the subscription writer and the notification listener; creates the routes.
pub async fn start(pool: Pool, keys: TokenKeys, settings: &Settings) -> Result<Server, DatabaseError> {
    let metrics = Arc::new(Metrics::default());
    let (hub, commands) = mpsc::channel(4096);
    let (mirror_tx, mirror_rx) = mpsc::unbounded_channel();
    let limits = Limits {
        poll_interval: Duration::from_millis(settings.poll_ms.clamp(10, 3_600_000)),
        connections_per_person: settings.connections_per_person,
        // A catch-up must fit into the queue, or the client would be disconnected again and again.
        max_catch_up_rows: settings.queue_kilobytes.max(512) * 1024 / 400,
        ..Limits::default()
    };
    let log_notified = Arc::new(Notify::new());
    let pod = uuid::Uuid::new_v4();
    let hub_task = Hub::new(pool.clone(), limits, metrics.clone(), pod, mirror_tx).await?;
    tokio::spawn(hub_task.run(commands, log_notified.clone()));
    tokio::spawn(subscription_writer::run(pool.clone(), mirror_rx));
    tokio::spawn(listen_notifications(pool.clone(), log_notified, hub.clone(), pod));
    let (stopping, is_stopping) = watch::channel(false);
    let shared = SocketContext {
        keys,
        stopping: is_stopping,
        hub: hub.clone(),
        metrics: metrics.clone(),
        // A log batch must fit into the queue, or a burst of changes would disconnect all clients.
        queue_bytes: settings.queue_kilobytes.max(512) * 1024,
        token_grace: Duration::from_secs(settings.token_grace_seconds.into()),
    };
    let service = AppState {
        shared: Arc::new(shared),
        pool,
        started: Instant::now(),
        started_at: hub::unix_now(),
        lag_cache: Arc::default(),
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
        .route("/metrics", get(render_metrics))
        .with_state(service);
    let router = pmo_startup::trace_requests(router, &[]);
    Ok(Server { router, shutdown_handle: ShutdownHandle { hub, metrics, stopping: Arc::new(stopping) } })
}

/// Listens for `NOTIFY`: wakes the hub and passes on the presence of other pods.
///
/// A lost notification delays delivery by at most one poll interval. A lost connection is replaced.
async fn listen_notifications(pool: Pool, log_notified: Arc<Notify>, hub: mpsc::Sender<Command>, pod: uuid::Uuid) {
    while !pool.is_closed() {
        let listening = async {
            let mut listener = pmo_database::Listener::connect_with(&pool).await?;
            listener
                .listen_all([pmo_database::change_log::LOG_CHANNEL, pmo_database::change_log::PRESENCE_CHANNEL])
                .await?;
            // Read rows that were written before LISTEN.
            log_notified.notify_one();
            loop {
                let mut next = Some(listener.recv().await?);
                let mut log_changed = false;
                // Combine buffered notifications into one poll.
                while let Some(notification) = next.take() {
                    if notification.channel() == pmo_database::change_log::LOG_CHANNEL {
                        log_changed = true;
                    } else if let Some(update) = presence_codec::decode(notification.payload(), pod) {
                        // Presence may be lost: it is repeated.
                        let _ = hub.try_send(Command::RemotePresence(update));
                    }
                    next = listener.next_buffered();
                }
                if log_changed {
                    log_notified.notify_one();
                }
            }
        };
        let outcome: Result<(), pmo_database::DriverError> = listening.await;
        if let Err(error) = outcome {
            tracing::debug!(%error, "LISTEN connection lost; falling back to polling");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[derive(serde::Deserialize)]
struct ConnectQuery {
    token: Option<String>,
}

/// Upgrades a request to a WebSocket, if its origin is allowed.
async fn connect(
    State(service): State<AppState>,
    Query(query): Query<ConnectQuery>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !origin_allowed(&headers, &service.allowed_origins) {
        service.shared.metrics.refused.fetch_add(1, Ordering::Relaxed);
        tracing::info!(origin = ?headers.get(header::ORIGIN), "handshake rejected: origin not allowed");
        return (StatusCode::FORBIDDEN, "origin not allowed; add it to PUBSUB_ALLOWED_ORIGINS").into_response();
    }
    let id = ConnectionId(service.next_id.fetch_add(1, Ordering::Relaxed) + 1);
    upgrade
        .max_message_size(4 * MAX_FRAME_BYTES)
        .max_frame_size(4 * MAX_FRAME_BYTES)
        .read_buffer_size(READ_BUFFER_BYTES)
        .on_upgrade(move |socket| socket::handle_socket(socket, id, query.token, service.shared))
}

/// Returns whether a page of this origin may connect.
///
/// Clients without `Origin` are not browsers and may connect. The origin of a page must be the host
/// of the service or in `allowed`.
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
    let origin_host = origin.split_once("://").map(|(_, rest)| without_port(rest));
    origin_host.is_some() && origin_host == host
}

/// Returns the state of the service as JSON: 200, or 503 if the change log cannot be read.
async fn health(State(service): State<AppState>) -> Response {
    let metrics = &service.shared.metrics;
    let healthy = metrics.log_reader_up.load(Ordering::Relaxed) && !service.shared.hub.is_closed();
    let body = json!({
        "status": if healthy { "ok" } else { "degraded" },
        "uptime": service.started.elapsed().as_secs(),
        "connections": metrics.connections.load(Ordering::Relaxed),
        "users": metrics.users.load(Ordering::Relaxed),
        "subscriptions": metrics.subscriptions.load(Ordering::Relaxed),
        "rowsRead": metrics.rows.load(Ordering::Relaxed),
        "logWatcherRunning": healthy,
    });
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

/// Returns 200 if new connections may be sent to this pod.
///
/// 503 while the database is unavailable or the service shuts down.
async fn ready(State(service): State<AppState>) -> (StatusCode, &'static str) {
    let metrics = &service.shared.metrics;
    if metrics.stopping.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping")
    } else if service.shared.hub.is_closed() {
        (StatusCode::SERVICE_UNAVAILABLE, "feed stopped")
    } else if metrics.log_reader_up.load(Ordering::Relaxed) {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "database unavailable")
    }
}

/// Measures the feed lag; `None` if the database does not respond in time.
async fn feed_lag(service: &AppState) -> Option<FeedLag> {
    let range = service.shared.metrics.position()?;
    let query = async {
        let mut connection = service.pool.acquire().await.ok()?;
        pmo_database::change_log::lag(&mut connection, &range).await.ok()
    };
    tokio::time::timeout(Duration::from_secs(2), query).await.ok().flatten()
}

/// Returns the metrics in the Prometheus text format.
async fn render_metrics(State(service): State<AppState>) -> Response {
    let lag = {
        let mut cached = service.lag_cache.lock().await;
        let fresh = cached.filter(|(at, _)| at.elapsed() < LAG_CACHE_TTL);
        let (_, lag) = match fresh {
            Some(cached) => cached,
            None => *cached.insert((Instant::now(), feed_lag(&service).await)),
        };
        lag
    };
    let text = service.shared.metrics.render(service.started_at, service.started.elapsed(), lag);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_of_other_hosts_are_rejected() {
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
