//! The manners of one socket, sans-I/O: who it is, how often it may speak, how long its token lives. Frames and time come in, what to do
//! comes out. Tokens are read by the caller; one must never get into a message or a log.

use pmo_domain::PersonId;
use pmo_domain::protocol::{
    CLOSE_POLICY_VIOLATION, CLOSE_TOKEN_EXPIRED, CLOSE_UNAUTHORIZED, ClientMessage, ServerMessage,
};

/// Largest frame that is read as a message, in bytes.
pub const MAX_FRAME_BYTES: usize = 256 * 1024;
/// Milliseconds to say who one is.
const AUTH_TIMEOUT_MS: i64 = 5_000;
/// Milliseconds before expiry at which the client is warned.
const EXPIRY_WARNING_MS: i64 = 300_000;
/// A socket that says nothing for this long is dead: three heartbeats.
const IDLE_TIMEOUT_MS: i64 = 95_000;
/// Bad frames in a row that are answered; one more closes the socket.
const MAX_VIOLATIONS: u8 = 40;
/// Messages a second that are let through, and at once.
const TOKENS_PER_SECOND: f32 = 50.0;
const BUCKET_CAPACITY: f32 = 300.0;
/// What catching up counts for, in messages: it reads the log, which everybody shares.
const CATCH_UP_COST: f32 = 9.0;

/// What came over the wire.
#[derive(Clone, Copy, Debug)]
pub enum IncomingFrame<'a> {
    /// A text frame.
    Text(&'a str),
    /// A binary frame.
    Binary,
    /// A ping or pong of the wire itself.
    Keepalive,
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// Its time is over.
    Expired,
    /// It is none of ours.
    Bad,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionAction {
    /// Nothing.
    Nothing,
    /// Read this token and say [`Session::signed`].
    Verify(String),
    /// The socket is this person's now.
    Open(PersonId),
    /// Hand this on.
    Forward(ClientMessage),
    /// Answer this.
    Reply(ServerMessage),
    /// Close, with code and reason.
    Close(u16, &'static str),
    /// Nobody is there any more.
    Gone,
}

/// One socket. Times are in milliseconds since 1970.
#[derive(Clone, Debug)]
pub struct Session {
    person: Option<PersonId>,
    /// When the token expires; before sign-in, until when to wait for one.
    deadline: i64,
    grace: i64,
    last_activity: i64,
    counted: i64,
    rate_tokens: f32,
    violations: u8,
    hello_sent: bool,
    expiry_warned: bool,
}

impl Session {
    /// A socket that has just been opened. An expired token is let be for `grace` milliseconds, so that its successor may be on its way.
    pub fn new(grace: i64, now: i64) -> Self {
        Self {
            person: None,
            deadline: now + AUTH_TIMEOUT_MS,
            grace,
            last_activity: now,
            counted: now,
            rate_tokens: BUCKET_CAPACITY,
            violations: 0,
            hello_sent: false,
            expiry_warned: false,
        }
    }

    /// The first frame has left: the client knows where it stands.
    pub fn greeted(&mut self) {
        self.hello_sent = true;
    }

    /// A token was read: whose it is and, in milliseconds since 1970, until when it counts.
    pub fn authenticate(&mut self, token: Result<(PersonId, i64), AuthFailure>) -> SessionAction {
        match (token, self.person) {
            (Ok((person, until)), None) => {
                (self.person, self.deadline) = (Some(person), until);
                SessionAction::Open(person)
            }
            // A socket stays its person's: another one's token has no business here.
            (Ok((person, _)), Some(other)) if person != other => {
                SessionAction::Close(CLOSE_UNAUTHORIZED, "the token is another person's")
            }
            (Ok((_, until)), Some(_)) => {
                (self.deadline, self.expiry_warned) = (until, false);
                SessionAction::Nothing
            }
            (Err(AuthFailure::Expired), None) => SessionAction::Close(CLOSE_TOKEN_EXPIRED, "the token has expired"),
            (Err(AuthFailure::Expired), Some(_)) => {
                SessionAction::Reply(error("bad_message", "the new token has expired already"))
            }
            (Err(AuthFailure::Bad), _) => SessionAction::Close(CLOSE_UNAUTHORIZED, "the token is not valid"),
        }
    }

    /// A frame came.
    pub fn on_frame(&mut self, frame: IncomingFrame<'_>, now: i64) -> SessionAction {
        self.last_activity = now;
        let text = match frame {
            IncomingFrame::Keepalive => return SessionAction::Nothing,
            IncomingFrame::Text(text) => Some(text),
            IncomingFrame::Binary => None,
        };
        let passed = (now - self.counted).max(0) as f32 / 1000.0;
        self.counted = now;
        self.rate_tokens = (self.rate_tokens + passed * TOKENS_PER_SECOND).min(BUCKET_CAPACITY) - 1.0;
        let message = match text {
            _ if self.rate_tokens < 0.0 => Err(("rate", "too many messages: slow down".to_owned())),
            None => Err(("bad_message", "binary frames are not part of this protocol".to_owned())),
            Some(text) if text.len() > MAX_FRAME_BYTES => {
                Err(("too_large", "the message is larger than 256 kB".to_owned()))
            }
            Some(text) => ClientMessage::parse(text).map_err(|error| ("bad_message", error.0)),
        };
        match (message, self.person) {
            (Ok(ClientMessage::Auth { token }), None) => SessionAction::Verify(token),
            (_, None) => SessionAction::Close(CLOSE_UNAUTHORIZED, "the first message must be AUTH with a token"),
            (Ok(message), Some(_)) => {
                self.violations = 0;
                self.take(message)
            }
            (Err((code, message)), Some(_)) => {
                self.violations = self.violations.saturating_add(1);
                match self.violations > MAX_VIOLATIONS {
                    true => SessionAction::Close(CLOSE_POLICY_VIOLATION, "too many bad messages"),
                    false => SessionAction::Reply(error(code, &message)),
                }
            }
        }
    }

    fn take(&mut self, message: ClientMessage) -> SessionAction {
        match message {
            ClientMessage::TokenRefresh { token } | ClientMessage::Auth { token } => {
                return SessionAction::Verify(token);
            }
            ClientMessage::Resume { .. } => self.rate_tokens -= CATCH_UP_COST,
            ClientMessage::Subscribe(ref wanted) if wanted.since.is_some() => self.rate_tokens -= CATCH_UP_COST,
            _ => {}
        }
        SessionAction::Forward(message)
    }

    /// Time has passed.
    pub fn tick(&mut self, now: i64) -> SessionAction {
        if self.person.is_none() {
            return match now >= self.deadline {
                true => SessionAction::Close(CLOSE_UNAUTHORIZED, "no token in time"),
                false => SessionAction::Nothing,
            };
        }
        if now >= self.deadline.saturating_add(self.grace) {
            return SessionAction::Close(CLOSE_TOKEN_EXPIRED, "the token has expired");
        }
        if now >= self.last_activity + IDLE_TIMEOUT_MS {
            return SessionAction::Gone;
        }
        if now >= self.deadline - EXPIRY_WARNING_MS && self.hello_sent && !self.expiry_warned {
            self.expiry_warned = true;
            return SessionAction::Reply(ServerMessage::TokenExpiringSoon {
                expires_in: ((self.deadline - now) / 1000).max(0),
            });
        }
        SessionAction::Nothing
    }

    /// Whether it is known who this is.
    pub fn is_authenticated(&self) -> bool {
        self.person.is_some()
    }

    /// When to say [`Session::time`] again, at the latest.
    pub fn deadline(&self) -> i64 {
        if self.person.is_none() {
            return self.deadline;
        }
        let end = self.deadline.saturating_add(self.grace).min(self.last_activity + IDLE_TIMEOUT_MS);
        if self.expiry_warned || !self.hello_sent { end } else { end.min(self.deadline - EXPIRY_WARNING_MS) }
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

    fn open(until: i64) -> Session {
        let mut session = Session::new(30_000, 0);
        assert_eq!(session.authenticate(Ok((ANN, until))), SessionAction::Open(ANN));
        session.greeted();
        session
    }

    fn closes(said: &SessionAction) -> Option<u16> {
        if let SessionAction::Close(code, _) = said { Some(*code) } else { None }
    }

    #[test]
    fn who_says_nothing_in_time_is_sent_away() {
        let mut session = Session::new(0, 1000);
        assert_eq!((session.tick(5999), session.deadline()), (SessionAction::Nothing, 6000));
        assert_eq!(closes(&session.tick(6000)), Some(4001));
        assert_eq!(closes(&Session::new(0, 0).on_frame(IncomingFrame::Text(r#"{"type":"PING"}"#), 0)), Some(4001));
        assert_eq!(closes(&Session::new(0, 0).authenticate(Err(AuthFailure::Expired))), Some(4002));
        let auth = r#"{"type":"AUTH","payload":{"token":"abc"}}"#;
        assert_eq!(Session::new(0, 0).on_frame(IncomingFrame::Text(auth), 0), SessionAction::Verify("abc".into()));
    }

    #[test]
    fn a_token_is_warned_of_renewed_and_ended_after_a_grace() {
        let mut session = open(1_000_000);
        session.on_frame(IncomingFrame::Keepalive, 690_000);
        assert_eq!(session.deadline(), 700_000);
        assert_eq!(session.tick(700_000), SessionAction::Reply(ServerMessage::TokenExpiringSoon { expires_in: 300 }));
        assert_eq!(session.tick(700_001), SessionAction::Nothing, "once");
        assert_eq!(session.authenticate(Ok((ANN, 2_000_000))), SessionAction::Nothing);
        for now in (700_000..1_990_000).step_by(90_000) {
            session.on_frame(IncomingFrame::Keepalive, now);
            assert!(closes(&session.tick(now)).is_none());
        }
        session.on_frame(IncomingFrame::Keepalive, 2_029_999);
        assert_eq!(closes(&session.tick(2_029_999)), None, "its successor may be on the way");
        assert_eq!(closes(&session.tick(2_030_000)), Some(4002));
        assert_eq!(closes(&session.authenticate(Ok((BOB, 9_000_000)))), Some(4001), "a socket stays its person's");
    }

    #[test]
    fn a_warning_waits_for_the_greeting() {
        let mut session = Session::new(0, 0);
        session.authenticate(Ok((ANN, 10_000)));
        assert_eq!((session.tick(1), session.deadline()), (SessionAction::Nothing, 10_000));
        session.greeted();
        assert!(matches!(session.tick(1), SessionAction::Reply(ServerMessage::TokenExpiringSoon { expires_in: 9 })));
    }

    #[test]
    fn a_dozen_bad_frames_are_survived_and_a_flood_is_not() {
        let mut session = open(1_000_000);
        for n in 0..40 {
            let frame = if n % 2 == 0 { IncomingFrame::Binary } else { IncomingFrame::Text("{") };
            assert!(matches!(session.on_frame(frame, n), SessionAction::Reply(_)), "{n}");
        }
        assert!(matches!(
            session.clone().on_frame(IncomingFrame::Text(r#"{"type":"PING"}"#), 50),
            SessionAction::Forward(_)
        ));
        assert_eq!(closes(&session.on_frame(IncomingFrame::Binary, 50)), Some(1008));
        let mut quick = open(1_000_000);
        let passed = (0..1000).filter(|_| {
            matches!(quick.on_frame(IncomingFrame::Text(r#"{"type":"PING"}"#), 0), SessionAction::Forward(_))
        });
        assert_eq!(passed.count(), 300);
        assert!(
            matches!(quick.on_frame(IncomingFrame::Text(r#"{"type":"PING"}"#), 60_000), SessionAction::Forward(_)),
            "later again"
        );
    }

    #[test]
    fn silence_is_death() {
        let mut session = open(10_000_000);
        session.on_frame(IncomingFrame::Keepalive, 50_000);
        assert_eq!((session.tick(144_999), session.tick(145_000)), (SessionAction::Nothing, SessionAction::Gone));
    }

    /// Anything that may come over a wire: good messages, broken ones, nonsense.
    fn frames() -> impl Strategy<Value = String> {
        let good = prop_oneof![
            Just(r#"{"type":"PING"}"#.to_owned()),
            Just(r#"{"type":"UNSUBSCRIBE_ALL","payload":null}"#.to_owned()),
            Just(r#"{"type":"AUTH","payload":{"token":"t"}}"#.to_owned()),
            Just(r#"{"type":"TOKEN_REFRESH","payload":{"token":"t"}}"#.to_owned()),
            Just(r#"{"type":"RESUME","payload":{"epoch":"1","cursor":"1.2:3:"}}"#.to_owned()),
            Just(r#"{"type":"SUBSCRIBE","payload":{"entityCode":"task","entityIds":["00000000-0000-0000-0000-000000000001"],"since":"1.1"}}"#.to_owned()),
            Just(r#"{"type":"SUBSCRIBE","payload":{"entityCode":"task","parent":{"entityCode":"project","entityId":"00000000-0000-0000-0000-000000000001"}}}"#.to_owned()),
        ];
        let broken = (good.clone(), any::<prop::sample::Index>(), any::<char>()).prop_map(|(text, at, with)| {
            let at = at.index(text.chars().count());
            text.chars().enumerate().map(|(n, c)| if n == at { with } else { c }).collect()
        });
        let cut = (good.clone(), any::<prop::sample::Index>())
            .prop_map(|(text, at)| text.chars().take(at.index(text.len())).collect());
        let nested = (1..3000usize).prop_map(|n| "[".repeat(n));
        prop_oneof![good, broken, cut, nested, any::<String>(), "[{}\\[\\]:,\"a-zA-Z0-9_]{0,60}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn whatever_comes_is_answered_and_nothing_passes_without_a_token(
            steps in prop::collection::vec((0..6u8, frames(), 0..40_000i64, any::<bool>()), 1..60)
        ) {
            let mut session = Session::new(10_000, 0);
            let (mut now, mut person, mut until) = (0, None, AUTH_TIMEOUT_MS);
            for (step, frame, pause, good) in steps {
                now += pause;
                let said = match step {
                    0 => session.on_frame(IncomingFrame::Binary, now),
                    1 => {
                        let token = if good { Ok((ANN, now + 1_000_000)) } else { Err(AuthFailure::Expired) };
                        let said = session.authenticate(token);
                        if good { until = now + 1_000_000; }
                        said
                    }
                    2 => session.tick(now),
                    _ => session.on_frame(IncomingFrame::Text(&frame), now),
                };
                match &said {
                    SessionAction::Open(who) => { prop_assert!(person.is_none()); person = Some(*who); }
                    SessionAction::Forward(message) => {
                        prop_assert!(person.is_some(), "{:?} without a token", message);
                        let again = serde_json::to_string(message).unwrap();
                        prop_assert_eq!(ClientMessage::parse(&again).unwrap(), message.clone(), "what is read can be written");
                    }
                    SessionAction::Reply(message) => {
                        prop_assert!(person.is_some());
                        let text = serde_json::to_string(message).unwrap();
                        prop_assert!(text.len() < 1000, "an answer is small: {}", text);
                    }
                    SessionAction::Close(..) | SessionAction::Gone => return Ok(()),
                    SessionAction::Nothing | SessionAction::Verify(_) => {}
                }
                if step == 2 {
                    prop_assert!(now < until + if person.is_some() { 10_000 } else { 0 }, "a token ends");
                }
                prop_assert!(session.deadline() <= until + 10_000);
            }
        }
    }
}
