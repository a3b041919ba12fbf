//! One WebSocket connection: receives and sends frames.
//!
//! The protocol is in `pmo_feed::Session`. Tokens are verified here.
//!
//! Must not: log a token.

use crate::hub::{Command, unix_now};
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use pmo_domain::protocol::CLOSE_SERVICE_RESTART;
use pmo_domain::{PersonId, UnixMillis};
use pmo_feed::{AuthFailure, ConnectionId, Frame, IncomingFrame, Outgoing, Session, SessionAction};
use pmo_token::{TokenError, TokenKeys};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Time after which a connection that accepts no frame is dropped.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum number of frames written before a flush.
const MAX_FRAMES_PER_FLUSH: usize = 16;

/// State shared by all connections.
pub(crate) struct SocketContext {
    /// Keys that verify access tokens.
    pub keys: TokenKeys,
    /// Channel of the hub.
    pub hub: mpsc::Sender<Command>,
    /// Metrics of the service.
    pub metrics: Arc<Metrics>,
    /// Limit of the send queue of a connection, in bytes.
    pub queue_bytes: usize,
    /// Time for which a connection stays open after its token has expired.
    pub token_grace: Duration,
    /// Becomes true at shutdown. The feed closes authenticated connections; others watch this flag.
    pub stopping: watch::Receiver<bool>,
}

impl SocketContext {
    /// Verifies a token. Returns its user and its expiry.
    ///
    /// Writes the display name of the user to `name`.
    fn verify_token(&self, token: &str, name: &mut Arc<str>) -> Result<(PersonId, UnixMillis), AuthFailure> {
        match self.keys.verify(token, unix_now()) {
            Ok(claims) => {
                let full_name = format!("{} {}", claims.first_name, claims.last_name);
                *name = if full_name.trim().is_empty() { claims.username.as_str() } else { full_name.trim() }.into();
                Ok((PersonId(claims.sub), claims.expires_at()))
            }
            Err(TokenError::Expired) => Err(AuthFailure::Expired),
            Err(_) => Err(AuthFailure::Bad),
        }
    }
}

/// Counts a connection in the metrics while it is served.
struct ConnectionGuard(Arc<Metrics>);

impl ConnectionGuard {
    fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.sockets.fetch_add(1, Ordering::Relaxed);
        Self(metrics.clone())
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// End of a connection, with or without a close frame.
enum Disconnect {
    /// Close frame with a code and a reason.
    Close(u16, &'static str),
    /// No close frame: the client does not respond.
    WithoutCloseFrame,
}

/// Serves a connection until it closes.
#[tracing::instrument(name = "connection", skip_all, fields(connection_id = id.0))]
pub(crate) async fn handle_socket(
    mut socket: WebSocket,
    id: ConnectionId,
    token: Option<String>,
    shared: Arc<SocketContext>,
) {
    let _guard = ConnectionGuard::new(&shared.metrics);
    let outbound = Outbound::new(shared.queue_bytes, shared.metrics.clone());
    let disconnect = run_connection(&mut socket, id, token, &shared, &outbound).await;
    let _ = shared.hub.send(Command::Disconnect(id)).await;
    drop(outbound);
    if let Disconnect::Close(code, reason) = disconnect {
        shared.metrics.record_close(code);
        tracing::info!(code, reason, connection_id = id.0, "connection closed");
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        let close = async {
            let _ = socket.send(Message::Close(Some(frame))).await;
            // Wait for the close frame of the client, so that the code is not lost with the
            // connection.
            while let Some(Ok(_)) = socket.recv().await {}
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), close).await;
    }
}

/// Runs the protocol of a connection until it ends.
async fn run_connection(
    socket: &mut WebSocket,
    id: ConnectionId,
    token: Option<String>,
    shared: &SocketContext,
    outbound: &Arc<Outbound>,
) -> Disconnect {
    let mut session = Session::new(shared.token_grace, unix_now());
    let mut name: Arc<str> = Arc::from("");
    if let Some(token) = token
        && let Some(disconnect) = apply_action(
            session.authenticate(shared.verify_token(&token, &mut name)),
            &mut session,
            id,
            shared,
            outbound,
            &mut name,
        )
        .await
    {
        return disconnect;
    }
    let sleep = tokio::time::sleep_until(next_deadline(&session));
    tokio::pin!(sleep);
    let mut stopping = shared.stopping.clone();
    loop {
        let action = tokio::select! {
            out = outbound.next() => {
                match send_batch(socket, out, outbound).await {
                    Some(disconnect) => return disconnect,
                    None => session.on_hello_sent(),
                }
                session.tick(unix_now())
            }
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => session.on_frame(IncomingFrame::Text(&text), unix_now()),
                Some(Ok(Message::Binary(_))) => session.on_frame(IncomingFrame::Binary, unix_now()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => session.on_frame(IncomingFrame::Keepalive, unix_now()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Disconnect::WithoutCloseFrame,
            },
            () = async { drop(stopping.wait_for(|stopping| *stopping).await) }, if !session.is_authenticated() => {
                return Disconnect::Close(CLOSE_SERVICE_RESTART, "the service is stopping");
            }
            () = &mut sleep => {
                let action = session.tick(unix_now());
                sleep.as_mut().reset(next_deadline(&session));
                action
            }
        };
        if next_deadline(&session) < sleep.deadline() {
            sleep.as_mut().reset(next_deadline(&session));
        }
        if let Some(disconnect) = apply_action(action, &mut session, id, shared, outbound, &mut name).await {
            return disconnect;
        }
    }
}

/// Returns the time of the next timeout check of the session.
fn next_deadline(session: &Session) -> Instant {
    let wait = session.deadline().since(unix_now());
    // Round up, so that the deadline has passed when the timer fires.
    Instant::now() + wait + Duration::from_millis(1)
}

/// Carries out an action of the session. Returns `Some` if the connection ends.
async fn apply_action(
    action: SessionAction,
    session: &mut Session,
    id: ConnectionId,
    shared: &SocketContext,
    outbound: &Arc<Outbound>,
    name: &mut Arc<str>,
) -> Option<Disconnect> {
    let action = match action {
        SessionAction::Verify(token) => session.authenticate(shared.verify_token(&token, name)),
        action => action,
    };
    let command = match action {
        SessionAction::Nothing | SessionAction::Verify(_) => return None,
        SessionAction::Reply(message) => {
            outbound.push(Frame::message(&message));
            return None;
        }
        SessionAction::Close(code, reason) => return Some(Disconnect::Close(code, reason)),
        SessionAction::Drop => return Some(Disconnect::WithoutCloseFrame),
        SessionAction::Open(person) => Command::Connect(id, person, name.clone(), outbound.clone()),
        SessionAction::Forward(message) => Command::Message(id, message),
    };
    match shared.hub.send(command).await {
        Ok(()) => None,
        Err(_) => Some(Disconnect::Close(CLOSE_SERVICE_RESTART, "the service is stopping")),
    }
}

/// Sends a frame and the frames that are queued after it. Returns `Some` if the connection ends.
async fn send_batch(socket: &mut WebSocket, first: Outgoing, outbound: &Outbound) -> Option<Disconnect> {
    let sending = async {
        let (mut outgoing, mut frame_count, mut disconnect) = (first, 1, None);
        loop {
            match outgoing {
                Outgoing::Frame(frame) => {
                    if socket.feed(Message::Text(frame.to_json().as_ref().into())).await.is_err() {
                        return Some(Disconnect::WithoutCloseFrame);
                    }
                }
                Outgoing::Close(code, reason) => {
                    disconnect = Some(Disconnect::Close(code, reason));
                    break;
                }
            }
            if frame_count == MAX_FRAMES_PER_FLUSH {
                break;
            }
            frame_count += 1;
            match outbound.try_next() {
                Some(next) => outgoing = next,
                None => break,
            }
        }
        if socket.flush().await.is_err() { Some(Disconnect::WithoutCloseFrame) } else { disconnect }
    };
    tokio::select! {
        // Poll the send first: it usually completes at once, and no timer is created.
        biased;
        disconnect = sending => disconnect,
        // The queue overflowed. Try to send the close frame, although the send buffer is probably
        // full.
        () = outbound.overflowed() => match outbound.try_next() {
            Some(Outgoing::Close(code, reason)) => Some(Disconnect::Close(code, reason)),
            _ => Some(Disconnect::WithoutCloseFrame),
        },
        () = tokio::time::sleep(SEND_TIMEOUT) => Some(Disconnect::WithoutCloseFrame),
    }
}
