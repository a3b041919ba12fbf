//! One WebSocket: frames in, frames out. Its manners are `pmo_feed::Session`'s; here tokens are read, and never logged.

use crate::hub::{Command, unix_millis};
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use pmo_domain::PersonId;
use pmo_domain::protocol::CLOSE_SERVICE_RESTART;
use pmo_feed::{AuthFailure, ConnectionId, Frame, IncomingFrame, Outgoing, Session, SessionAction};
use pmo_token::{TokenError, TokenKeys};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// A socket that does not take a frame for this long is dead.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);
/// Frames that are put together before they are sent off.
const MAX_FRAMES_PER_FLUSH: usize = 16;

/// What sockets share.
pub struct SocketContext {
    /// Reads tokens.
    pub keys: TokenKeys,
    /// The task that owns the feed.
    pub hub: mpsc::Sender<Command>,
    /// Counts.
    pub vitals: Arc<Metrics>,
    /// Bytes that may wait for one socket.
    pub queue_bytes: usize,
    /// Milliseconds for which an expired token is let be.
    pub token_grace: i64,
    /// Turns true when the service stops: who has not said who they are is told nothing by the feed.
    pub stopping: watch::Receiver<bool>,
}

impl SocketContext {
    /// Whose token it is, and until when; what they are called goes into `name`.
    fn verify_token(&self, token: &str, name: &mut Arc<str>) -> Result<(PersonId, i64), AuthFailure> {
        match self.keys.verify(token, unix_millis() / 1000) {
            Ok(claims) => {
                let called = format!("{} {}", claims.first_name, claims.last_name);
                *name = if called.trim().is_empty() { claims.username.as_str() } else { called.trim() }.into();
                Ok((PersonId(claims.sub), claims.exp.saturating_mul(1000)))
            }
            Err(TokenError::Expired) => Err(AuthFailure::Expired),
            Err(_) => Err(AuthFailure::Bad),
        }
    }
}

/// Counts a socket for as long as it is served.
struct ConnectionGuard(Arc<Metrics>);

impl ConnectionGuard {
    fn new(vitals: &Arc<Metrics>) -> Self {
        vitals.sockets.fetch_add(1, Ordering::Relaxed);
        Self(vitals.clone())
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a socket ends.
enum Disconnect {
    /// With a code and a reason.
    Close(u16, &'static str),
    /// Without a word: nobody listens.
    Gone,
}

/// Serves a socket until it closes.
pub async fn handle_socket(mut socket: WebSocket, id: ConnectionId, token: Option<String>, shared: Arc<SocketContext>) {
    let _served = ConnectionGuard::new(&shared.vitals);
    let mailbox = Outbound::new(shared.queue_bytes, shared.vitals.clone());
    let ending = run_connection(&mut socket, id, token, &shared, &mailbox).await;
    let _ = shared.hub.send(Command::Disconnect(id)).await;
    drop(mailbox);
    if let Disconnect::Close(code, reason) = ending {
        shared.vitals.record_close(code);
        tracing::info!(code, reason, "a socket was closed");
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        let farewell = async {
            let _ = socket.send(Message::Close(Some(frame))).await;
            // Wait for the other side's close, so that the code is not lost with the connection.
            while let Some(Ok(_)) = socket.recv().await {}
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), farewell).await;
    }
}

async fn run_connection(
    socket: &mut WebSocket,
    id: ConnectionId,
    token: Option<String>,
    shared: &SocketContext,
    mailbox: &Arc<Outbound>,
) -> Disconnect {
    let mut session = Session::new(shared.token_grace, unix_millis());
    let mut name: Arc<str> = Arc::from("");
    if let Some(token) = token
        && let Some(ending) = apply_action(
            session.authenticate(shared.verify_token(&token, &mut name)),
            &mut session,
            id,
            shared,
            mailbox,
            &mut name,
        )
        .await
    {
        return ending;
    }
    let sleep = tokio::time::sleep_until(next_deadline(&session));
    tokio::pin!(sleep);
    let mut stopping = shared.stopping.clone();
    loop {
        let said = tokio::select! {
            out = mailbox.next() => {
                match send_batch(socket, out, mailbox).await {
                    Some(ending) => return ending,
                    None => session.greeted(),
                }
                session.tick(unix_millis())
            }
            incoming = socket.recv() => match incoming {
                Some(Ok(Message::Text(text))) => session.on_frame(IncomingFrame::Text(&text), unix_millis()),
                Some(Ok(Message::Binary(_))) => session.on_frame(IncomingFrame::Binary, unix_millis()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => session.on_frame(IncomingFrame::Keepalive, unix_millis()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Disconnect::Gone,
            },
            () = async { drop(stopping.wait_for(|stopping| *stopping).await) }, if !session.is_authenticated() => {
                return Disconnect::Close(CLOSE_SERVICE_RESTART, "the service is stopping");
            }
            () = &mut sleep => {
                let said = session.tick(unix_millis());
                sleep.as_mut().reset(next_deadline(&session));
                said
            }
        };
        if next_deadline(&session) < sleep.deadline() {
            sleep.as_mut().reset(next_deadline(&session));
        }
        if let Some(ending) = apply_action(said, &mut session, id, shared, mailbox, &mut name).await {
            return ending;
        }
    }
}

/// When the session wants to be told the time.
fn next_deadline(session: &Session) -> Instant {
    let wait = u64::try_from(session.deadline() - unix_millis()).unwrap_or(0);
    // Rounded up, so that the deadline is past when the clock says so.
    Instant::now() + Duration::from_millis(wait + 1)
}

/// Does what the session says.
async fn apply_action(
    said: SessionAction,
    session: &mut Session,
    id: ConnectionId,
    shared: &SocketContext,
    mailbox: &Arc<Outbound>,
    name: &mut Arc<str>,
) -> Option<Disconnect> {
    let said = match said {
        SessionAction::Verify(token) => session.authenticate(shared.verify_token(&token, name)),
        said => said,
    };
    let command = match said {
        SessionAction::Nothing | SessionAction::Verify(_) => return None,
        SessionAction::Reply(message) => {
            mailbox.push(Frame::message(&message));
            return None;
        }
        SessionAction::Close(code, reason) => return Some(Disconnect::Close(code, reason)),
        SessionAction::Gone => return Some(Disconnect::Gone),
        SessionAction::Open(person) => Command::Connect(id, person, name.clone(), mailbox.clone()),
        SessionAction::Forward(message) => Command::Message(id, message),
    };
    match shared.hub.send(command).await {
        Ok(()) => None,
        Err(_) => Some(Disconnect::Close(CLOSE_SERVICE_RESTART, "the service is stopping")),
    }
}

/// Sends a frame and those that wait behind it.
async fn send_batch(socket: &mut WebSocket, first: Outgoing, mailbox: &Outbound) -> Option<Disconnect> {
    let sending = async {
        let (mut out, mut together, mut ending) = (first, 1, None);
        loop {
            match out {
                Outgoing::Frame(frame) => {
                    if socket.feed(Message::Text(frame.to_json().as_ref().into())).await.is_err() {
                        return Some(Disconnect::Gone);
                    }
                }
                Outgoing::Close(code, reason) => {
                    ending = Some(Disconnect::Close(code, reason));
                    break;
                }
            }
            if together == MAX_FRAMES_PER_FLUSH {
                break;
            }
            together += 1;
            match mailbox.try_next() {
                Some(next) => out = next,
                None => break,
            }
        }
        if socket.flush().await.is_err() { Some(Disconnect::Gone) } else { ending }
    };
    tokio::select! {
        // Mostly it is done at once, and nothing else is set up.
        biased;
        ending = sending => ending,
        // What waited was too much: there is no room for a farewell either, but it is tried.
        () = mailbox.overflowed() => match mailbox.try_next() {
            Some(Outgoing::Close(code, reason)) => Some(Disconnect::Close(code, reason)),
            _ => Some(Disconnect::Gone),
        },
        () = tokio::time::sleep(SEND_TIMEOUT) => Some(Disconnect::Gone),
    }
}
