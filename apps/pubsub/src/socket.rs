//! One WebSocket: frames in, frames out. Its manners are `pmo_feed::Session`'s; here tokens are read, and never logged.

use crate::hub::{Command, now};
use crate::mailbox::Mailbox;
use crate::vitals::Vitals;
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
const STUCK: Duration = Duration::from_secs(20);
/// Frames that are put together before they are sent off.
const TOGETHER: usize = 16;

/// What sockets share.
pub struct Shared {
    /// Reads tokens.
    pub keys: TokenKeys,
    /// The task that owns the feed.
    pub hub: mpsc::Sender<Command>,
    /// Counts.
    pub vitals: Arc<Vitals>,
    /// Bytes that may wait for one socket.
    pub queue_bytes: usize,
    /// Milliseconds for which an expired token is let be.
    pub token_grace: i64,
    /// Turns true when the service stops: who has not said who they are is told nothing by the feed.
    pub stopping: watch::Receiver<bool>,
}

impl Shared {
    /// Whose token it is, and until when; what they are called goes into `name`.
    fn read(&self, token: &str, name: &mut Arc<str>) -> Result<(PersonId, i64), AuthFailure> {
        match self.keys.verify(token, now() / 1000) {
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
struct Served(Arc<Vitals>);

impl Served {
    fn new(vitals: &Arc<Vitals>) -> Self {
        vitals.sockets.fetch_add(1, Ordering::Relaxed);
        Self(vitals.clone())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How a socket ends.
enum Ending {
    /// With a code and a reason.
    Close(u16, &'static str),
    /// Without a word: nobody listens.
    Gone,
}

/// Serves a socket until it closes.
pub async fn serve(mut socket: WebSocket, id: ConnectionId, token: Option<String>, shared: Arc<Shared>) {
    let _served = Served::new(&shared.vitals);
    let mailbox = Mailbox::new(shared.queue_bytes, shared.vitals.clone());
    let ending = converse(&mut socket, id, token, &shared, &mailbox).await;
    let _ = shared.hub.send(Command::Gone(id)).await;
    drop(mailbox);
    if let Ending::Close(code, reason) = ending {
        shared.vitals.closed(code);
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

async fn converse(
    socket: &mut WebSocket,
    id: ConnectionId,
    token: Option<String>,
    shared: &Shared,
    mailbox: &Arc<Mailbox>,
) -> Ending {
    let mut session = Session::new(shared.token_grace, now());
    let mut name: Arc<str> = Arc::from("");
    if let Some(token) = token
        && let Some(ending) =
            follow(session.authenticate(shared.read(&token, &mut name)), &mut session, id, shared, mailbox, &mut name)
                .await
    {
        return ending;
    }
    let sleep = tokio::time::sleep_until(wake(&session));
    tokio::pin!(sleep);
    let mut stopping = shared.stopping.clone();
    loop {
        let said = tokio::select! {
            out = mailbox.next() => {
                match send(socket, out, mailbox).await {
                    Some(ending) => return ending,
                    None => session.greeted(),
                }
                session.tick(now())
            }
            incoming = socket.recv() => match incoming {
                Some(Ok(Message::Text(text))) => session.on_frame(IncomingFrame::Text(&text), now()),
                Some(Ok(Message::Binary(_))) => session.on_frame(IncomingFrame::Binary, now()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => session.on_frame(IncomingFrame::Keepalive, now()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Ending::Gone,
            },
            () = async { drop(stopping.wait_for(|stopping| *stopping).await) }, if !session.is_authenticated() => {
                return Ending::Close(CLOSE_SERVICE_RESTART, "the service is stopping");
            }
            () = &mut sleep => {
                let said = session.tick(now());
                sleep.as_mut().reset(wake(&session));
                said
            }
        };
        if wake(&session) < sleep.deadline() {
            sleep.as_mut().reset(wake(&session));
        }
        if let Some(ending) = follow(said, &mut session, id, shared, mailbox, &mut name).await {
            return ending;
        }
    }
}

/// When the session wants to be told the time.
fn wake(session: &Session) -> Instant {
    let wait = u64::try_from(session.deadline() - now()).unwrap_or(0);
    // Rounded up, so that the deadline is past when the clock says so.
    Instant::now() + Duration::from_millis(wait + 1)
}

/// Does what the session says.
async fn follow(
    said: SessionAction,
    session: &mut Session,
    id: ConnectionId,
    shared: &Shared,
    mailbox: &Arc<Mailbox>,
    name: &mut Arc<str>,
) -> Option<Ending> {
    let said = match said {
        SessionAction::Verify(token) => session.authenticate(shared.read(&token, name)),
        said => said,
    };
    let command = match said {
        SessionAction::Nothing | SessionAction::Verify(_) => return None,
        SessionAction::Reply(message) => {
            mailbox.push(Frame::message(&message));
            return None;
        }
        SessionAction::Close(code, reason) => return Some(Ending::Close(code, reason)),
        SessionAction::Gone => return Some(Ending::Gone),
        SessionAction::Open(person) => Command::Connect(id, person, name.clone(), mailbox.clone()),
        SessionAction::Forward(message) => Command::Heard(id, message),
    };
    match shared.hub.send(command).await {
        Ok(()) => None,
        Err(_) => Some(Ending::Close(CLOSE_SERVICE_RESTART, "the service is stopping")),
    }
}

/// Sends a frame and those that wait behind it.
async fn send(socket: &mut WebSocket, first: Outgoing, mailbox: &Mailbox) -> Option<Ending> {
    let sending = async {
        let (mut out, mut together, mut ending) = (first, 1, None);
        loop {
            match out {
                Outgoing::Frame(frame) => {
                    if socket.feed(Message::Text(frame.to_json().as_ref().into())).await.is_err() {
                        return Some(Ending::Gone);
                    }
                }
                Outgoing::Close(code, reason) => {
                    ending = Some(Ending::Close(code, reason));
                    break;
                }
            }
            if together == TOGETHER {
                break;
            }
            together += 1;
            match mailbox.try_next() {
                Some(next) => out = next,
                None => break,
            }
        }
        if socket.flush().await.is_err() { Some(Ending::Gone) } else { ending }
    };
    tokio::select! {
        // Mostly it is done at once, and nothing else is set up.
        biased;
        ending = sending => ending,
        // What waited was too much: there is no room for a farewell either, but it is tried.
        () = mailbox.given_up() => match mailbox.try_next() {
            Some(Outgoing::Close(code, reason)) => Some(Ending::Close(code, reason)),
            _ => Some(Ending::Gone),
        },
        () = tokio::time::sleep(STUCK) => Some(Ending::Gone),
    }
}
