//! Protocol state machine of one WebSocket connection (sans-I/O).
//!
//! It handles authentication, rate limiting, token expiry and the idle timeout. Frames and time go
//! in, actions come out. The caller verifies tokens.
//!
//! Must not: put a token into a message or a log.

use pmo_domain::protocol::{
    CLOSE_POLICY_VIOLATION, CLOSE_TOKEN_EXPIRED, CLOSE_UNAUTHORIZED, ClientMessage, ServerMessage,
};
use pmo_domain::{PersonId, UnixMillis};
use std::time::Duration;

/// Maximum size of a frame that is parsed as a message, in bytes.
pub const MAX_FRAME_BYTES: usize = 256 * 1024;
/// Time in which a client must authenticate.
const AUTH_TIMEOUT: Duration = Duration::from_secs(5);
/// Time before token expiry at which the client is warned.
const EXPIRY_WARNING: Duration = Duration::from_secs(300);
/// Time without any frame after which a connection is dead (three heartbeats).
const IDLE_TIMEOUT: Duration = Duration::from_secs(95);
/// Maximum number of consecutive invalid frames; one more closes the connection.
const MAX_VIOLATIONS: u8 = 40;
/// Rate limit in messages per second.
const TOKENS_PER_SECOND: f32 = 50.0;
/// Maximum burst in messages.
const BUCKET_CAPACITY: f32 = 300.0;
/// Additional cost of a catch-up in messages, because it reads the shared change log.
const CATCH_UP_COST: f32 = 9.0;

/// Frame received from the client.
#[derive(Clone, Copy, Debug)]
pub enum IncomingFrame<'a> {
    /// Text frame.
    Text(&'a str),
    /// Binary frame.
    Binary,
    /// Ping or pong frame of the WebSocket protocol.
    Keepalive,
}

/// Reason why a token is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// The token has expired.
    Expired,
    /// The token is not valid.
    Bad,
}

/// Action that the caller must take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionAction {
    /// No action.
    Nothing,
    /// Verify this token and call [`Session::authenticate`] with the result.
    Verify(String),
    /// The connection is authenticated as this user.
    Open(PersonId),
    /// Forward this message to the feed.
    Forward(ClientMessage),
    /// Send this message to the client.
    Reply(ServerMessage),
    /// Close the connection with this code and reason.
    Close(u16, &'static str),
    /// Drop the connection without a close frame: the client does not respond.
    Drop,
}

/// State of one connection.
#[derive(Clone, Debug)]
pub struct Session {
    person: Option<PersonId>,
    /// Expiry of the token; before authentication, the end of the authentication timeout.
    deadline: UnixMillis,
    /// Time for which the connection stays open after the token has expired.
    grace: Duration,
    last_activity: UnixMillis,
    /// Time of the last refill of `rate_tokens`.
    refilled_at: UnixMillis,
    rate_tokens: f32,
    violations: u8,
    hello_sent: bool,
    expiry_warned: bool,
}

impl Session {
    /// Creates the state of a connection that was opened at `now`.
    ///
    /// The connection stays open for `grace` after its token has expired, so that a new token can
    /// arrive.
    pub fn new(grace: Duration, now: UnixMillis) -> Self {
        Self {
            person: None,
            deadline: now + AUTH_TIMEOUT,
            grace,
            last_activity: now,
            refilled_at: now,
            rate_tokens: BUCKET_CAPACITY,
            violations: 0,
            hello_sent: false,
            expiry_warned: false,
        }
    }

    /// Records that HELLO was sent. Expiry warnings are held back until then.
    pub fn on_hello_sent(&mut self) {
        self.hello_sent = true;
    }

    /// Processes the result of a token verification: user and expiry.
    pub fn authenticate(&mut self, token: Result<(PersonId, UnixMillis), AuthFailure>) -> SessionAction {
        match (token, self.person) {
            (Ok((person, expires_at)), None) => {
                (self.person, self.deadline) = (Some(person), expires_at);
                SessionAction::Open(person)
            }
            // A connection never changes its user.
            (Ok((person, _)), Some(other)) if person != other => {
                SessionAction::Close(CLOSE_UNAUTHORIZED, "the token belongs to another user")
            }
            (Ok((_, expires_at)), Some(_)) => {
                (self.deadline, self.expiry_warned) = (expires_at, false);
                SessionAction::Nothing
            }
            (Err(AuthFailure::Expired), None) => SessionAction::Close(CLOSE_TOKEN_EXPIRED, "the token has expired"),
            (Err(AuthFailure::Expired), Some(_)) => {
                SessionAction::Reply(error("bad_message", "the new token has already expired"))
            }
            (Err(AuthFailure::Bad), _) => SessionAction::Close(CLOSE_UNAUTHORIZED, "the token is not valid"),
        }
    }

    /// Processes a frame of the client.
    pub fn on_frame(&mut self, frame: IncomingFrame<'_>, now: UnixMillis) -> SessionAction {
        self.last_activity = now;
        let text = match frame {
            IncomingFrame::Keepalive => return SessionAction::Nothing,
            IncomingFrame::Text(text) => Some(text),
            IncomingFrame::Binary => None,
        };
        let elapsed_seconds = now.since(self.refilled_at).as_secs_f32();
        self.refilled_at = now;
        self.rate_tokens = (self.rate_tokens + elapsed_seconds * TOKENS_PER_SECOND).min(BUCKET_CAPACITY) - 1.0;
        let message = match text {
            _ if self.rate_tokens < 0.0 => Err(("rate", "rate limit exceeded: send fewer messages".to_owned())),
            None => Err(("bad_message", "binary frames are not part of this protocol".to_owned())),
            Some(text) if text.len() > MAX_FRAME_BYTES => Err(("too_large", "the message exceeds 256 kB".to_owned())),
            Some(text) => ClientMessage::parse(text).map_err(|error| ("bad_message", error.0)),
        };
        match (message, self.person) {
            (Ok(ClientMessage::Auth { token }), None) => SessionAction::Verify(token),
            (_, None) => SessionAction::Close(CLOSE_UNAUTHORIZED, "the first message must be AUTH with a token"),
            (Ok(message), Some(_)) => {
                self.violations = 0;
                self.route(message)
            }
            (Err((code, message)), Some(_)) => {
                self.violations = self.violations.saturating_add(1);
                match self.violations > MAX_VIOLATIONS {
                    true => SessionAction::Close(CLOSE_POLICY_VIOLATION, "too many invalid messages"),
                    false => SessionAction::Reply(error(code, &message)),
                }
            }
        }
    }

    /// Charges the additional cost of a catch-up and decides who handles the message.
    fn route(&mut self, message: ClientMessage) -> SessionAction {
        match message {
            ClientMessage::TokenRefresh { token } | ClientMessage::Auth { token } => {
                return SessionAction::Verify(token);
            }
            ClientMessage::Resume { .. } => self.rate_tokens -= CATCH_UP_COST,
            ClientMessage::Subscribe(ref request) if request.since.is_some() => self.rate_tokens -= CATCH_UP_COST,
            _ => {}
        }
        SessionAction::Forward(message)
    }

    /// Checks the timeouts.
    pub fn tick(&mut self, now: UnixMillis) -> SessionAction {
        if self.person.is_none() {
            return match now >= self.deadline {
                true => SessionAction::Close(CLOSE_UNAUTHORIZED, "authentication timed out"),
                false => SessionAction::Nothing,
            };
        }
        if now >= self.deadline + self.grace {
            return SessionAction::Close(CLOSE_TOKEN_EXPIRED, "the token has expired");
        }
        if now >= self.last_activity + IDLE_TIMEOUT {
            return SessionAction::Drop;
        }
        if now >= self.deadline - EXPIRY_WARNING && self.hello_sent && !self.expiry_warned {
            self.expiry_warned = true;
            return SessionAction::Reply(ServerMessage::TokenExpiringSoon {
                expires_in: i64::try_from(self.deadline.since(now).as_secs()).unwrap_or(i64::MAX),
            });
        }
        SessionAction::Nothing
    }

    /// Returns whether the client is authenticated.
    pub fn is_authenticated(&self) -> bool {
        self.person.is_some()
    }

    /// Returns the latest time of the next call of [`Session::tick`].
    pub fn deadline(&self) -> UnixMillis {
        if self.person.is_none() {
            return self.deadline;
        }
        let closes_at = (self.deadline + self.grace).min(self.last_activity + IDLE_TIMEOUT);
        if self.expiry_warned || !self.hello_sent { closes_at } else { closes_at.min(self.deadline - EXPIRY_WARNING) }
    }
}

fn error(code: &str, message: &str) -> ServerMessage {
    ServerMessage::Error { message: message.to_owned(), code: code.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    const ANN: PersonId = PersonId(Uuid::from_u128(1));
    const BOB: PersonId = PersonId(Uuid::from_u128(2));

    const NOW: UnixMillis = UnixMillis::EPOCH;

    fn at(ms: i64) -> UnixMillis {
        UnixMillis::new(ms)
    }

    fn authenticated(expires_at: i64) -> Session {
        let mut session = Session::new(Duration::from_secs(30), NOW);
        assert_eq!(session.authenticate(Ok((ANN, at(expires_at)))), SessionAction::Open(ANN));
        session.on_hello_sent();
        session
    }

    fn close_code(action: &SessionAction) -> Option<u16> {
        if let SessionAction::Close(code, _) = action { Some(*code) } else { None }
    }

    #[test]
    fn connection_closes_without_authentication_in_time() {
        let mut session = Session::new(Duration::ZERO, at(1000));
        assert_eq!((session.tick(at(5999)), session.deadline()), (SessionAction::Nothing, at(6000)));
        assert_eq!(close_code(&session.tick(at(6000))), Some(4001));
        assert_eq!(
            close_code(&Session::new(Duration::ZERO, NOW).on_frame(IncomingFrame::Text(r#"{"type":"PING"}"#), at(0))),
            Some(4001)
        );
        assert_eq!(close_code(&Session::new(Duration::ZERO, NOW).authenticate(Err(AuthFailure::Expired))), Some(4002));
        let auth = r#"{"type":"AUTH","payload":{"token":"abc"}}"#;
        assert_eq!(
            Session::new(Duration::ZERO, NOW).on_frame(IncomingFrame::Text(auth), at(0)),
            SessionAction::Verify("abc".into())
        );
    }

    #[test]
    fn token_expiry_is_announced_and_closes_the_connection_after_the_grace() {
        let mut session = authenticated(1_000_000);
        session.on_frame(IncomingFrame::Keepalive, at(690_000));
        assert_eq!(session.deadline(), at(700_000));
        assert_eq!(
            session.tick(at(700_000)),
            SessionAction::Reply(ServerMessage::TokenExpiringSoon { expires_in: 300 })
        );
        assert_eq!(session.tick(at(700_001)), SessionAction::Nothing, "once");
        assert_eq!(session.authenticate(Ok((ANN, at(2_000_000)))), SessionAction::Nothing);
        for now in (700_000..1_990_000).step_by(90_000) {
            session.on_frame(IncomingFrame::Keepalive, at(now));
            assert!(close_code(&session.tick(at(now))).is_none());
        }
        session.on_frame(IncomingFrame::Keepalive, at(2_029_999));
        assert_eq!(close_code(&session.tick(at(2_029_999))), None, "within the grace: a new token may arrive");
        assert_eq!(close_code(&session.tick(at(2_030_000))), Some(4002));
        assert_eq!(
            close_code(&session.authenticate(Ok((BOB, at(9_000_000))))),
            Some(4001),
            "a connection never changes its user"
        );
    }

    #[test]
    fn expiry_warning_is_sent_after_hello() {
        let mut session = Session::new(Duration::ZERO, NOW);
        session.authenticate(Ok((ANN, at(10_000))));
        assert_eq!((session.tick(at(1)), session.deadline()), (SessionAction::Nothing, at(10_000)));
        session.on_hello_sent();
        assert!(matches!(
            session.tick(at(1)),
            SessionAction::Reply(ServerMessage::TokenExpiringSoon { expires_in: 9 })
        ));
    }

    #[test]
    fn consecutive_invalid_frames_and_message_floods_are_limited() {
        let mut session = authenticated(1_000_000);
        for n in 0..40 {
            let frame = if n % 2 == 0 { IncomingFrame::Binary } else { IncomingFrame::Text("{") };
            assert!(matches!(session.on_frame(frame, at(n)), SessionAction::Reply(_)), "{n}");
        }
        assert!(matches!(
            session.clone().on_frame(IncomingFrame::Text(r#"{"type":"PING"}"#), at(50)),
            SessionAction::Forward(_)
        ));
        assert_eq!(close_code(&session.on_frame(IncomingFrame::Binary, at(50))), Some(1008));
        let mut flooding = authenticated(1_000_000);
        let forwarded = (0..1000).filter(|_| {
            matches!(flooding.on_frame(IncomingFrame::Text(r#"{"type":"PING"}"#), at(0)), SessionAction::Forward(_))
        });
        assert_eq!(forwarded.count(), 300);
        assert!(
            matches!(
                flooding.on_frame(IncomingFrame::Text(r#"{"type":"PING"}"#), at(60_000)),
                SessionAction::Forward(_)
            ),
            "the bucket refills"
        );
    }

    #[test]
    fn idle_connection_is_dropped_after_the_timeout() {
        let mut session = authenticated(10_000_000);
        session.on_frame(IncomingFrame::Keepalive, at(50_000));
        assert_eq!(
            (session.tick(at(144_999)), session.tick(at(145_000))),
            (SessionAction::Nothing, SessionAction::Drop)
        );
    }

    /// Arbitrary text frames: valid, damaged, truncated, deeply nested and random.
    fn frames() -> impl Strategy<Value = String> {
        let valid = prop_oneof![
            Just(r#"{"type":"PING"}"#.to_owned()),
            Just(r#"{"type":"UNSUBSCRIBE_ALL","payload":null}"#.to_owned()),
            Just(r#"{"type":"AUTH","payload":{"token":"t"}}"#.to_owned()),
            Just(r#"{"type":"TOKEN_REFRESH","payload":{"token":"t"}}"#.to_owned()),
            Just(r#"{"type":"RESUME","payload":{"epoch":"1","cursor":"1.2:3:"}}"#.to_owned()),
            Just(r#"{"type":"SUBSCRIBE","payload":{"entityCode":"task","entityIds":["00000000-0000-0000-0000-000000000001"],"since":"1.1"}}"#.to_owned()),
            Just(r#"{"type":"SUBSCRIBE","payload":{"entityCode":"task","parent":{"entityCode":"project","entityId":"00000000-0000-0000-0000-000000000001"}}}"#.to_owned()),
        ];
        let damaged =
            (valid.clone(), any::<prop::sample::Index>(), any::<char>()).prop_map(|(text, index, replacement)| {
                let at = index.index(text.chars().count());
                text.chars().enumerate().map(|(n, c)| if n == at { replacement } else { c }).collect()
            });
        let truncated = (valid.clone(), any::<prop::sample::Index>())
            .prop_map(|(text, index)| text.chars().take(index.index(text.len())).collect());
        let nested = (1..3000usize).prop_map(|n| "[".repeat(n));
        prop_oneof![valid, damaged, truncated, nested, any::<String>(), "[{}\\[\\]:,\"a-zA-Z0-9_]{0,60}"]
    }

    const GRACE: Duration = Duration::from_secs(10);
    const TOKEN_LIFETIME: Duration = Duration::from_secs(1000);

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn any_input_is_handled_and_nothing_is_forwarded_without_authentication(
            steps in prop::collection::vec((0..6u8, frames(), 0..40_000u64, any::<bool>()), 1..60)
        ) {
            let mut session = Session::new(GRACE, NOW);
            let (mut now, mut person, mut expires_at) = (NOW, None, NOW + AUTH_TIMEOUT);
            for (step, frame, pause, valid) in steps {
                now = now + Duration::from_millis(pause);
                let action = match step {
                    0 => session.on_frame(IncomingFrame::Binary, now),
                    1 => {
                        let token = if valid { Ok((ANN, now + TOKEN_LIFETIME)) } else { Err(AuthFailure::Expired) };
                        let action = session.authenticate(token);
                        if valid { expires_at = now + TOKEN_LIFETIME; }
                        action
                    }
                    2 => session.tick(now),
                    _ => session.on_frame(IncomingFrame::Text(&frame), now),
                };
                match &action {
                    SessionAction::Open(user) => { prop_assert!(person.is_none()); person = Some(*user); }
                    SessionAction::Forward(message) => {
                        prop_assert!(person.is_some(), "{:?} without authentication", message);
                        let serialized = serde_json::to_string(message).unwrap();
                        prop_assert_eq!(ClientMessage::parse(&serialized).unwrap(), message.clone(), "a parsed message can be serialized");
                    }
                    SessionAction::Reply(message) => {
                        prop_assert!(person.is_some());
                        let text = serde_json::to_string(message).unwrap();
                        prop_assert!(text.len() < 1000, "a reply is small: {}", text);
                    }
                    SessionAction::Close(..) | SessionAction::Drop => return Ok(()),
                    SessionAction::Nothing | SessionAction::Verify(_) => {}
                }
                if step == 2 {
                    prop_assert!(now < expires_at + if person.is_some() { GRACE } else { Duration::ZERO }, "an expired token closes the connection");
                }
                prop_assert!(session.deadline() <= expires_at + GRACE);
            }
        }
    }
}
