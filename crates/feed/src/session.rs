//! The manners of one socket, sans-I/O: who it is, how often it may speak, how long its token lives. Frames and time come in, what to do
//! comes out. Tokens are read by the caller; one must never get into a message or a log.

use pmo_domain::PersonId;
use pmo_domain::protocol::{
    CLOSE_POLICY_VIOLATION, CLOSE_TOKEN_EXPIRED, CLOSE_UNAUTHORIZED, ClientMessage, ServerMessage,
};

/// Largest frame that is read as a message, in bytes.
pub const FRAME_LIMIT: usize = 256 * 1024;
/// Milliseconds to say who one is.
const HANDSHAKE: i64 = 5_000;
/// Milliseconds before expiry at which the client is warned.
const WARNING: i64 = 300_000;
/// A socket that says nothing for this long is dead: three heartbeats.
const SILENCE: i64 = 95_000;
/// Bad frames in a row that are answered; one more closes the socket.
const STRIKES: u8 = 40;
/// Messages a second that are let through, and at once.
const RATE: f32 = 50.0;
const BURST: f32 = 300.0;
/// What catching up counts for, in messages: it reads the log, which everybody shares.
const CATCH_UP_COST: f32 = 9.0;

/// What came over the wire.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    /// A text frame.
    Text(&'a str),
    /// A binary frame.
    Binary,
    /// A ping or pong of the wire itself.
    Alive,
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its time is over.
    Expired,
    /// It is none of ours.
    Bad,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing.
    Nothing,
    /// Read this token and say [`Session::signed`].
    Verify(String),
    /// The socket is this person's now.
    Open(PersonId),
    /// Hand this on.
    Pass(ClientMessage),
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
    until: i64,
    grace: i64,
    heard: i64,
    counted: i64,
    allowance: f32,
    strikes: u8,
    greeted: bool,
    warned: bool,
}

impl Session {
    /// A socket that has just been opened. An expired token is let be for `grace` milliseconds, so that its successor may be on its way.
    pub fn new(grace: i64, now: i64) -> Self {
        Self {
            person: None,
            until: now + HANDSHAKE,
            grace,
            heard: now,
            counted: now,
            allowance: BURST,
            strikes: 0,
            greeted: false,
            warned: false,
        }
    }

    /// The first frame has left: the client knows where it stands.
    pub fn greeted(&mut self) {
        self.greeted = true;
    }

    /// A token was read: whose it is and, in milliseconds since 1970, until when it counts.
    pub fn signed(&mut self, token: Result<(PersonId, i64), Refusal>) -> Said {
        match (token, self.person) {
            (Ok((person, until)), None) => {
                (self.person, self.until) = (Some(person), until);
                Said::Open(person)
            }
            // A socket stays its person's: another one's token has no business here.
            (Ok((person, _)), Some(other)) if person != other => {
                Said::Close(CLOSE_UNAUTHORIZED, "the token is another person's")
            }
            (Ok((_, until)), Some(_)) => {
                (self.until, self.warned) = (until, false);
                Said::Nothing
            }
            (Err(Refusal::Expired), None) => Said::Close(CLOSE_TOKEN_EXPIRED, "the token has expired"),
            (Err(Refusal::Expired), Some(_)) => Said::Reply(error("bad_message", "the new token has expired already")),
            (Err(Refusal::Bad), _) => Said::Close(CLOSE_UNAUTHORIZED, "the token is not valid"),
        }
    }

    /// A frame came.
    pub fn heard(&mut self, frame: Heard<'_>, now: i64) -> Said {
        self.heard = now;
        let text = match frame {
            Heard::Alive => return Said::Nothing,
            Heard::Text(text) => Some(text),
            Heard::Binary => None,
        };
        let passed = (now - self.counted).max(0) as f32 / 1000.0;
        self.counted = now;
        self.allowance = (self.allowance + passed * RATE).min(BURST) - 1.0;
        let message = match text {
            _ if self.allowance < 0.0 => Err(("rate", "too many messages: slow down".to_owned())),
            None => Err(("bad_message", "binary frames are not part of this protocol".to_owned())),
            Some(text) if text.len() > FRAME_LIMIT => {
                Err(("too_large", "the message is larger than 256 kB".to_owned()))
            }
            Some(text) => ClientMessage::parse(text).map_err(|error| ("bad_message", error.0)),
        };
        match (message, self.person) {
            (Ok(ClientMessage::Auth { token }), None) => Said::Verify(token),
            (_, None) => Said::Close(CLOSE_UNAUTHORIZED, "the first message must be AUTH with a token"),
            (Ok(message), Some(_)) => {
                self.strikes = 0;
                self.take(message)
            }
            (Err((code, message)), Some(_)) => {
                self.strikes = self.strikes.saturating_add(1);
                match self.strikes > STRIKES {
                    true => Said::Close(CLOSE_POLICY_VIOLATION, "too many bad messages"),
                    false => Said::Reply(error(code, &message)),
                }
            }
        }
    }

    fn take(&mut self, message: ClientMessage) -> Said {
        match message {
            ClientMessage::TokenRefresh { token } | ClientMessage::Auth { token } => return Said::Verify(token),
            ClientMessage::Resume { .. } => self.allowance -= CATCH_UP_COST,
            ClientMessage::Subscribe(ref wanted) if wanted.since.is_some() => self.allowance -= CATCH_UP_COST,
            _ => {}
        }
        Said::Pass(message)
    }

    /// Time has passed.
    pub fn time(&mut self, now: i64) -> Said {
        if self.person.is_none() {
            return match now >= self.until {
                true => Said::Close(CLOSE_UNAUTHORIZED, "no token in time"),
                false => Said::Nothing,
            };
        }
        if now >= self.until.saturating_add(self.grace) {
            return Said::Close(CLOSE_TOKEN_EXPIRED, "the token has expired");
        }
        if now >= self.heard + SILENCE {
            return Said::Gone;
        }
        if now >= self.until - WARNING && self.greeted && !self.warned {
            self.warned = true;
            return Said::Reply(ServerMessage::TokenExpiringSoon { expires_in: ((self.until - now) / 1000).max(0) });
        }
        Said::Nothing
    }

    /// Whether it is known who this is.
    pub fn is_signed(&self) -> bool {
        self.person.is_some()
    }

    /// When to say [`Session::time`] again, at the latest.
    pub fn deadline(&self) -> i64 {
        if self.person.is_none() {
            return self.until;
        }
        let end = self.until.saturating_add(self.grace).min(self.heard + SILENCE);
        if self.warned || !self.greeted { end } else { end.min(self.until - WARNING) }
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
        assert_eq!(session.signed(Ok((ANN, until))), Said::Open(ANN));
        session.greeted();
        session
    }

    fn closes(said: &Said) -> Option<u16> {
        if let Said::Close(code, _) = said { Some(*code) } else { None }
    }

    #[test]
    fn who_says_nothing_in_time_is_sent_away() {
        let mut session = Session::new(0, 1000);
        assert_eq!((session.time(5999), session.deadline()), (Said::Nothing, 6000));
        assert_eq!(closes(&session.time(6000)), Some(4001));
        assert_eq!(closes(&Session::new(0, 0).heard(Heard::Text(r#"{"type":"PING"}"#), 0)), Some(4001));
        assert_eq!(closes(&Session::new(0, 0).signed(Err(Refusal::Expired))), Some(4002));
        let auth = r#"{"type":"AUTH","payload":{"token":"abc"}}"#;
        assert_eq!(Session::new(0, 0).heard(Heard::Text(auth), 0), Said::Verify("abc".into()));
    }

    #[test]
    fn a_token_is_warned_of_renewed_and_ended_after_a_grace() {
        let mut session = open(1_000_000);
        session.heard(Heard::Alive, 690_000);
        assert_eq!(session.deadline(), 700_000);
        assert_eq!(session.time(700_000), Said::Reply(ServerMessage::TokenExpiringSoon { expires_in: 300 }));
        assert_eq!(session.time(700_001), Said::Nothing, "once");
        assert_eq!(session.signed(Ok((ANN, 2_000_000))), Said::Nothing);
        for now in (700_000..1_990_000).step_by(90_000) {
            session.heard(Heard::Alive, now);
            assert!(closes(&session.time(now)).is_none());
        }
        session.heard(Heard::Alive, 2_029_999);
        assert_eq!(closes(&session.time(2_029_999)), None, "its successor may be on the way");
        assert_eq!(closes(&session.time(2_030_000)), Some(4002));
        assert_eq!(closes(&session.signed(Ok((BOB, 9_000_000)))), Some(4001), "a socket stays its person's");
    }

    #[test]
    fn a_warning_waits_for_the_greeting() {
        let mut session = Session::new(0, 0);
        session.signed(Ok((ANN, 10_000)));
        assert_eq!((session.time(1), session.deadline()), (Said::Nothing, 10_000));
        session.greeted();
        assert!(matches!(session.time(1), Said::Reply(ServerMessage::TokenExpiringSoon { expires_in: 9 })));
    }

    #[test]
    fn a_dozen_bad_frames_are_survived_and_a_flood_is_not() {
        let mut session = open(1_000_000);
        for n in 0..40 {
            let frame = if n % 2 == 0 { Heard::Binary } else { Heard::Text("{") };
            assert!(matches!(session.heard(frame, n), Said::Reply(_)), "{n}");
        }
        assert!(matches!(session.clone().heard(Heard::Text(r#"{"type":"PING"}"#), 50), Said::Pass(_)));
        assert_eq!(closes(&session.heard(Heard::Binary, 50)), Some(1008));
        let mut quick = open(1_000_000);
        let passed = (0..1000).filter(|_| matches!(quick.heard(Heard::Text(r#"{"type":"PING"}"#), 0), Said::Pass(_)));
        assert_eq!(passed.count(), 300);
        assert!(matches!(quick.heard(Heard::Text(r#"{"type":"PING"}"#), 60_000), Said::Pass(_)), "later again");
    }

    #[test]
    fn silence_is_death() {
        let mut session = open(10_000_000);
        session.heard(Heard::Alive, 50_000);
        assert_eq!((session.time(144_999), session.time(145_000)), (Said::Nothing, Said::Gone));
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
            let (mut now, mut person, mut until) = (0, None, HANDSHAKE);
            for (step, frame, pause, good) in steps {
                now += pause;
                let said = match step {
                    0 => session.heard(Heard::Binary, now),
                    1 => {
                        let token = if good { Ok((ANN, now + 1_000_000)) } else { Err(Refusal::Expired) };
                        let said = session.signed(token);
                        if good { until = now + 1_000_000; }
                        said
                    }
                    2 => session.time(now),
                    _ => session.heard(Heard::Text(&frame), now),
                };
                match &said {
                    Said::Open(who) => { prop_assert!(person.is_none()); person = Some(*who); }
                    Said::Pass(message) => {
                        prop_assert!(person.is_some(), "{:?} without a token", message);
                        let again = serde_json::to_string(message).unwrap();
                        prop_assert_eq!(ClientMessage::parse(&again).unwrap(), message.clone(), "what is read can be written");
                    }
                    Said::Reply(message) => {
                        prop_assert!(person.is_some());
                        let text = serde_json::to_string(message).unwrap();
                        prop_assert!(text.len() < 1000, "an answer is small: {}", text);
                    }
                    Said::Close(..) | Said::Gone => return Ok(()),
                    Said::Nothing | Said::Verify(_) => {}
                }
                if step == 2 {
                    prop_assert!(now < until + if person.is_some() { 10_000 } else { 0 }, "a token ends");
                }
                prop_assert!(session.deadline() <= until + 10_000);
            }
        }
    }
}
