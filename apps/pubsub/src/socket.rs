//! One WebSocket from handshake to close: who it is, what it says, how long its token lives. Tokens are never logged.

use crate::hub::Command;
use crate::outbox::{Outbox, Outgoing};
use crate::vitals::Vitals;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use pmo_domain::PersonId;
use pmo_domain::socket::{CLOSE_ABUSE, CLOSE_BAD_TOKEN, CLOSE_EXPIRED, ClientMessage, ServerMessage};
use pmo_feed::ConnectionId;
use pmo_token::{Claims, Keys, TokenError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Largest frame that is read as a message.
pub const FRAME_LIMIT: usize = 256 * 1024;
/// Time to say who one is.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Seconds before expiry at which the client is warned.
const WARNING: i64 = 300;
/// A socket that says nothing for this long is dead: three heartbeats.
const SILENCE: Duration = Duration::from_secs(95);
/// Bad frames in a row that are answered; one more closes the socket.
const STRIKES: u32 = 40;
/// Messages a second that are let through, and at once.
const RATE: f64 = 50.0;
const BURST: f64 = 300.0;
/// What catching up counts for, in messages.
const CATCH_UP_COST: f64 = 9.0;

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

async fn close(socket: &mut WebSocket, code: u16, reason: &'static str) {
    let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }))).await;
    // Wait for the other side's close, so that the code is not lost with the connection.
    let _ =
        tokio::time::timeout(Duration::from_secs(1), async { while let Some(Ok(_)) = socket.recv().await {} }).await;
}

fn refusal(error: TokenError) -> (u16, &'static str) {
    match error {
        TokenError::Expired => (CLOSE_EXPIRED, "the token has expired"),
        _ => (CLOSE_BAD_TOKEN, "the token is not valid"),
    }
}

/// Reads AUTH, where the address had no token.
async fn first_message(socket: &mut WebSocket) -> Option<String> {
    let deadline = Instant::now() + HANDSHAKE;
    loop {
        match tokio::time::timeout_at(deadline, socket.recv()).await.ok()?? {
            Ok(Message::Text(text)) => {
                return match ClientMessage::parse(&text) {
                    Ok(ClientMessage::Auth { token }) => Some(token),
                    _ => None,
                };
            }
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            _ => return None,
        }
    }
}

/// Serves a socket until it closes.
pub async fn serve(
    mut socket: WebSocket,
    id: ConnectionId,
    token: Option<String>,
    keys: Keys,
    hub: mpsc::Sender<Command>,
    vitals: Arc<Vitals>,
) {
    let token = match token {
        Some(token) => Some(token),
        None => first_message(&mut socket).await,
    };
    let Some(token) = token else { return close(&mut socket, CLOSE_BAD_TOKEN, "no token in time").await };
    let claims = match keys.read(&token, now()) {
        Ok(claims) => claims,
        Err(error) => {
            let (code, reason) = refusal(error);
            return close(&mut socket, code, reason).await;
        }
    };
    let (outbox, mut outgoing) = Outbox::new(vitals);
    if hub.send(Command::Connect(id, PersonId(claims.sub), outbox.clone())).await.is_err() {
        return close(&mut socket, pmo_domain::socket::CLOSE_RESTART, "the service is stopping").await;
    }
    let mut session = Session {
        id,
        keys,
        claims,
        greeted: false,
        warned: false,
        strikes: 0,
        allowance: BURST,
        counted: Instant::now(),
    };
    let mut heard = Instant::now();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    let ending = loop {
        tokio::select! {
            out = outgoing.recv() => match out {
                Some(Outgoing::Frame(text)) => {
                    outbox.sent(text.len());
                    session.greeted = true;
                    let frame = Message::Text(text.as_ref().into());
                    match tokio::time::timeout(Duration::from_secs(20), socket.send(frame)).await {
                        Ok(Ok(())) => {}
                        _ => break None,
                    }
                }
                Some(Outgoing::Close(code, reason)) => break Some((code, reason)),
                None => break None,
            },
            incoming = socket.recv() => {
                heard = Instant::now();
                match incoming {
                    Some(Ok(Message::Text(text))) => match session.read(&text, &outbox) {
                        Heard::Nothing => {}
                        Heard::Command(command) => {
                            if hub.send(command).await.is_err() {
                                break None;
                            }
                        }
                        Heard::Close(code, reason) => break Some((code, reason)),
                    },
                    Some(Ok(Message::Binary(_))) => {
                        if let Some(ending) = session.strike(&outbox, "bad_message", "binary frames are not part of this protocol") {
                            break Some(ending);
                        }
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                }
            }
            _ = seconds.tick() => {
                if let Some(ending) = session.check_time(&outbox) {
                    break Some(ending);
                }
                if heard.elapsed() > SILENCE {
                    break None;
                }
            }
        }
    };
    let _ = hub.send(Command::Disconnect(id)).await;
    outgoing.close();
    outbox.gone();
    if let Some((code, reason)) = ending {
        close(&mut socket, code, reason).await;
    }
}

enum Heard {
    Nothing,
    Command(Command),
    Close(u16, &'static str),
}

struct Session {
    id: ConnectionId,
    keys: Keys,
    claims: Claims,
    /// HELLO, the first frame, has left: nothing is said before it.
    greeted: bool,
    warned: bool,
    strikes: u32,
    allowance: f64,
    counted: Instant,
}

impl Session {
    fn read(&mut self, text: &str, outbox: &Outbox) -> Heard {
        let passed = self.counted.elapsed().as_secs_f64();
        self.counted = Instant::now();
        self.allowance = (self.allowance + passed * RATE).min(BURST) - 1.0;
        let strike = if self.allowance < 0.0 {
            self.strike(outbox, "rate", "too many messages: slow down")
        } else if text.len() > FRAME_LIMIT {
            self.strike(outbox, "too_large", "the message is larger than 256 kB")
        } else {
            match ClientMessage::parse(text) {
                Err(error) => self.strike(outbox, "bad_message", &error.0),
                Ok(message) => {
                    self.strikes = 0;
                    return self.take(message, outbox);
                }
            }
        };
        strike.map_or(Heard::Nothing, |(code, reason)| Heard::Close(code, reason))
    }

    fn take(&mut self, message: ClientMessage, outbox: &Outbox) -> Heard {
        // Catching up reads the log, which everybody shares.
        let catches_up = matches!(&message, ClientMessage::Resume { .. })
            || matches!(&message, ClientMessage::Subscribe(wanted) if wanted.since.is_some());
        if catches_up {
            self.allowance -= CATCH_UP_COST;
        }
        match message {
            ClientMessage::Ping => Heard::Command(Command::Ping(self.id)),
            ClientMessage::TokenRefresh { token } | ClientMessage::Auth { token } => {
                match self.keys.read(&token, now()) {
                    // A socket stays its person's: another one's token has no business here.
                    Ok(claims) if claims.sub == self.claims.sub => {
                        self.claims = claims;
                        self.warned = false;
                        Heard::Nothing
                    }
                    Ok(_) => Heard::Close(CLOSE_BAD_TOKEN, "the token is another person's"),
                    Err(TokenError::Expired) => {
                        outbox.send(&ServerMessage::Error {
                            message: "the new token has expired already".into(),
                            code: "bad_message".into(),
                        });
                        Heard::Nothing
                    }
                    Err(error) => {
                        let (code, reason) = refusal(error);
                        Heard::Close(code, reason)
                    }
                }
            }
            message => Heard::Command(Command::Message(self.id, message)),
        }
    }

    fn strike(&mut self, outbox: &Outbox, code: &str, message: &str) -> Option<(u16, &'static str)> {
        self.strikes += 1;
        outbox.send(&ServerMessage::Error { message: message.to_owned(), code: code.to_owned() });
        (self.strikes > STRIKES).then_some((CLOSE_ABUSE, "too many bad messages"))
    }

    fn check_time(&mut self, outbox: &Outbox) -> Option<(u16, &'static str)> {
        let left = self.claims.exp - now();
        if left <= 0 {
            return Some((CLOSE_EXPIRED, "the token has expired"));
        }
        if left <= WARNING && self.greeted && !self.warned {
            self.warned = true;
            outbox.send(&ServerMessage::TokenExpiringSoon { expires_in: left });
        }
        None
    }
}
