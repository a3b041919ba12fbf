//! Opens WebSocket clients and counts the attempts that fail.

use crate::user_id;
use futures_util::{SinkExt, StreamExt};
use pmo_token::{Claims, TokenKeys};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use uuid::Uuid;

/// Clients that connect at the same time.
const CONNECT_BATCH: usize = 50;
/// Attempts to open one client.
const MAX_CONNECT_ATTEMPTS: usize = 5;
/// Time limit of one step of an attempt: connect, upgrade, greeting, subscription.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Source addresses of the clients, from 127.0.0.2 on. Each has its own range of ephemeral ports.
const SOURCE_ADDRESSES: usize = 250;

pub(crate) type Client = WebSocketStream<TcpStream>;

/// Entities that a client subscribes to.
pub(crate) enum Subscription {
    Nothing,
    /// All entities of the type.
    Type,
    Entities(Vec<Uuid>),
}

/// Number of failures by description.
#[derive(Default)]
pub(crate) struct Failures(Mutex<BTreeMap<String, usize>>);

impl Failures {
    fn add(&self, failure: &AttemptError) {
        *self.0.lock().unwrap().entry(failure.to_string()).or_default() += 1;
    }

    fn to_json(&self) -> Value {
        json!(*self.0.lock().unwrap())
    }
}

/// Failure of one step of an attempt.
///
/// The text contains no addresses, so that equal failures are counted together.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {reason}")]
pub(crate) struct AttemptError {
    step: &'static str,
    reason: FailureReason,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
enum FailureReason {
    #[error("too many open files")]
    TooManyOpenFiles,
    #[error("{0}")]
    Io(std::io::ErrorKind),
    #[error("rejected with status {0}")]
    Status(u16),
    #[error("connection closed")]
    ConnectionClosed,
    #[error("{0}")]
    Protocol(ProtocolError),
    #[error("timeout")]
    Timeout,
    #[error("invalid JSON")]
    InvalidJson,
    #[error("entities rejected")]
    EntitiesRejected,
    #[error("other error")]
    Other,
}

impl FailureReason {
    /// Returns the error of `step` with this reason.
    fn at(self, step: &'static str) -> AttemptError {
        AttemptError { step, reason: self }
    }
}

impl From<std::io::Error> for FailureReason {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(23 | 24) => Self::TooManyOpenFiles, // ENFILE, EMFILE
            _ => Self::Io(error.kind()),
        }
    }
}

impl From<WebSocketError> for FailureReason {
    fn from(error: WebSocketError) -> Self {
        match error {
            WebSocketError::Http(response) => Self::Status(response.status().as_u16()),
            WebSocketError::Io(error) => error.into(),
            WebSocketError::ConnectionClosed | WebSocketError::AlreadyClosed => Self::ConnectionClosed,
            WebSocketError::Protocol(error) => Self::Protocol(error),
            _ => Self::Other,
        }
    }
}

/// Returns a function that converts an error of `step`.
fn at<E: Into<FailureReason>>(step: &'static str) -> impl Fn(E) -> AttemptError {
    move |error| error.into().at(step)
}

/// Awaits one step of a connection attempt, for at most `CONNECT_TIMEOUT`.
async fn with_timeout<T>(
    step: &'static str,
    future: impl Future<Output = Result<T, AttemptError>>,
) -> Result<T, AttemptError> {
    tokio::time::timeout(CONNECT_TIMEOUT, future).await.unwrap_or_else(|_| Err(FailureReason::Timeout.at(step)))
}

/// Opens a TCP connection from one of several source addresses.
///
/// The ephemeral ports of a single address do not suffice. The last attempt leaves the source
/// address to the system, in case only 127.0.0.1 exists.
async fn open_tcp(address: SocketAddr, n: usize, attempt: usize) -> Result<TcpStream, AttemptError> {
    let socket = TcpSocket::new_v4().map_err(at("socket"))?;
    if attempt + 1 < MAX_CONNECT_ATTEMPTS {
        let host = 2 + (n + attempt * 61) % SOURCE_ADDRESSES;
        let source = SocketAddr::from(([127, 0, 0, host as u8], 0));
        socket.bind(source).map_err(at("bind"))?;
    }
    let stream = socket.connect(address).await.map_err(at("connect"))?;
    stream.set_nodelay(true).map_err(at("connect"))?;
    Ok(stream)
}

/// Opens a WebSocket connection.
async fn open_websocket(address: &str, path: &str, n: usize, attempt: usize) -> Result<Client, AttemptError> {
    let socket_address: SocketAddr = address.parse().expect("--service is not an address with a port");
    let stream = with_timeout("connect", open_tcp(socket_address, n, attempt)).await?;
    let config = WebSocketConfig::default().read_buffer_size(1024);
    let upgrade = async {
        let (client, _) = client_async_with_config(format!("ws://{address}{path}"), stream, Some(config))
            .await
            .map_err(at("upgrade"))?;
        Ok(client)
    };
    with_timeout("upgrade", upgrade).await
}

fn sign_token(n: usize) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let claims = Claims {
        sub: user_id(n),
        iat: now,
        exp: now + 3600,
        username: String::new(),
        first_name: String::new(),
        last_name: String::new(),
        person_type: String::new(),
    };
    let secret = std::env::var("JWT_SECRET").expect("JWT_SECRET is not set");
    TokenKeys::new(&secret).unwrap().sign(&claims).unwrap()
}

/// Reads messages until one of the given type arrives; returns its payload.
pub(crate) async fn receive(client: &mut Client, message_type: &'static str) -> Result<Value, AttemptError> {
    loop {
        let message = match client.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(FailureReason::from(error).at(message_type)),
            None => return Err(FailureReason::ConnectionClosed.at(message_type)),
        };
        let Message::Text(text) = message else { continue };
        let mut message: Value =
            serde_json::from_str(&text).map_err(|_| FailureReason::InvalidJson.at(message_type))?;
        if message["type"] == message_type {
            return Ok(message["payload"].take());
        }
    }
}

async fn subscribe(client: &mut Client, subscription: &Subscription) -> Result<(), AttemptError> {
    let mut payload = json!({"entityCode": "wiki"});
    match subscription {
        Subscription::Nothing => return Ok(()),
        Subscription::Type => {}
        Subscription::Entities(ids) => payload["entityIds"] = json!(ids),
    }
    let message = Message::text(json!({"type": "SUBSCRIBE", "payload": payload}).to_string());
    client.send(message).await.map_err(at("SUBSCRIBE"))?;
    let response = with_timeout("SUBSCRIBED", receive(client, "SUBSCRIBED")).await?;
    if response["refused"] == 0 { Ok(()) } else { Err(FailureReason::EntitiesRejected.at("SUBSCRIBED")) }
}

async fn open_subscribed_client(
    address: &str,
    n: usize,
    attempt: usize,
    subscription: &Subscription,
) -> Result<Client, AttemptError> {
    let mut client = open_websocket(address, &format!("/ws?token={}", sign_token(n)), n, attempt).await?;
    with_timeout("HELLO", receive(&mut client, "HELLO")).await?;
    subscribe(&mut client, subscription).await?;
    Ok(client)
}

/// Repeats an attempt after a pause until it succeeds, and counts the failures.
///
/// Returns `None` if all attempts fail.
async fn retry(failures: &Failures, open: impl AsyncFn(usize) -> Result<Client, AttemptError>) -> Option<Client> {
    for attempt in 0..MAX_CONNECT_ATTEMPTS {
        match open(attempt).await {
            Ok(client) => return Some(client),
            Err(failure) => failures.add(&failure),
        }
        tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
    }
    None
}

/// The clients of a scenario, with the number of requested ones and the failed attempts.
pub(crate) struct OpenedClients {
    /// Index and connection of each opened client.
    pub clients: Vec<(usize, Client)>,
    requested: usize,
    failures: Failures,
}

impl OpenedClients {
    pub(crate) fn count(&self) -> usize {
        self.clients.len()
    }

    pub(crate) fn report(&self) -> Value {
        json!({"requested": self.requested, "opened": self.count(), "failed_attempts": self.failures.to_json()})
    }

    pub(crate) fn into_clients(self) -> Vec<Client> {
        self.clients.into_iter().map(|(_, client)| client).collect()
    }
}

/// Opens the clients 0 to `count` in batches.
///
/// Stops after a batch without a success: a limit of the machine or of the server is exhausted, and
/// each further batch would only wait for its timeouts.
async fn open_in_batches(count: usize, open: impl AsyncFn(usize, &Failures) -> Option<Client>) -> OpenedClients {
    let (mut clients, failures) = (Vec::with_capacity(count), Failures::default());
    for first in (0..count).step_by(CONNECT_BATCH) {
        let batch = (first..count.min(first + CONNECT_BATCH)).map(|n| {
            let (open, failures) = (&open, &failures);
            async move { Some((n, open(n, failures).await?)) }
        });
        let before = clients.len();
        clients.extend(futures_util::future::join_all(batch).await.into_iter().flatten());
        if clients.len() == before {
            break;
        }
    }
    OpenedClients { clients, requested: count, failures }
}

/// Opens signed-in clients with their subscriptions.
pub(crate) async fn open_clients(
    address: &str,
    count: usize,
    subscription: impl Fn(usize) -> Subscription,
) -> OpenedClients {
    open_in_batches(count, async |n, failures| {
        let subscription = subscription(n);
        retry(failures, async |attempt| open_subscribed_client(address, n, attempt, &subscription).await).await
    })
    .await
}

/// Opens clients of the broadcast server.
pub(crate) async fn open_broadcast_clients(address: &str, count: usize) -> OpenedClients {
    open_in_batches(count, async |n, failures| {
        retry(failures, async |attempt| open_websocket(address, "/", n, attempt).await).await
    })
    .await
}

/// Opens one client for a scenario that cannot run without it.
pub(crate) async fn open_required_client(address: &str, subscription: Subscription) -> Client {
    let failures = Failures::default();
    let open = async |attempt| open_subscribed_client(address, 0, attempt, &subscription).await;
    let client = retry(&failures, open).await;
    client.unwrap_or_else(|| panic!("cannot open a client: {}", failures.to_json()))
}
