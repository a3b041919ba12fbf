//! The socket's life as the engine sees it: when to connect, how long to wait, when it is dead.

use crate::settings::Settings;

/// Where the socket stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Link {
    /// Nobody has asked for one.
    Idle,
    /// Asked for at this time.
    Connecting(f64),
    /// HELLO has come.
    Open,
    /// To be tried again at this time.
    Waiting(f64),
}

/// The socket's life.
#[derive(Clone, Debug)]
pub struct Session {
    /// Where it stands.
    pub link: Link,
    /// Sockets that failed in a row.
    pub attempts: u32,
    last_ping: f64,
    awaiting_pong: bool,
    random: u64,
    settings: Settings,
}

/// What time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Open it.
    Connect,
    /// Say PING.
    Ping,
    /// It is dead: close it and try again.
    Dead,
}

impl Session {
    /// `seed` spreads reconnects of many clients in time.
    pub fn new(seed: u64, settings: Settings) -> Self {
        Self { link: Link::Idle, attempts: 0, last_ping: 0.0, awaiting_pong: false, random: seed | 1, settings }
    }

    /// A number from 0 to 1: xorshift64, enough to spread clients in time.
    pub fn share(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % 1000) as f64 / 1000.0
    }

    /// A socket has been asked for.
    pub fn connecting(&mut self, now: f64) {
        self.link = Link::Connecting(now);
    }

    /// Nobody wants one any more.
    pub fn idle(&mut self) {
        self.link = Link::Idle;
        self.attempts = 0;
    }

    /// HELLO has come.
    pub fn opened(&mut self, now: f64) {
        self.link = Link::Open;
        self.attempts = 0;
        self.last_ping = now;
        self.awaiting_pong = false;
    }

    /// Something was heard.
    pub fn heard(&mut self) {
        self.awaiting_pong = false;
    }

    /// It closed: wait 1 s doubling to 30 s, between half of it and all, and go on for ever.
    pub fn closed(&mut self, now: f64) {
        let Settings { reconnect_first, reconnect_longest, .. } = self.settings;
        let delay = (reconnect_first * 2f64.powi(self.attempts.min(10) as i32)).min(reconnect_longest);
        self.attempts = self.attempts.saturating_add(1);
        let share = self.share();
        self.link = Link::Waiting(now + delay * (0.5 + share / 2.0));
    }

    /// Try at once: the browser is online again, or the page is shown.
    pub fn hurry(&mut self, now: f64) {
        if let Link::Waiting(_) = self.link {
            self.link = Link::Waiting(now);
        }
    }

    /// What is due.
    pub fn due(&mut self, now: f64) -> Due {
        match self.link {
            Link::Waiting(at) if now >= at => Due::Connect,
            Link::Connecting(since) if now - since > self.settings.hello => Due::Dead,
            Link::Open if self.awaiting_pong && now - self.last_ping > self.settings.pong => Due::Dead,
            Link::Open if !self.awaiting_pong && now - self.last_ping > self.settings.heartbeat => {
                self.last_ping = now;
                self.awaiting_pong = true;
                Due::Ping
            }
            _ => Due::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_half_a_minute_and_never_give_up() {
        let mut session = Session::new(7, Settings::default());
        let mut waits = Vec::new();
        for _ in 0..40 {
            session.closed(0.0);
            let Link::Waiting(at) = session.link else { panic!("it waits") };
            waits.push(at);
        }
        for (i, wait) in waits.iter().enumerate() {
            let full = (1000.0 * 2f64.powi(i.min(10) as i32)).min(30_000.0);
            assert!((full / 2.0..=full).contains(wait), "wait {i} is {wait}");
        }
        session.hurry(5.0);
        assert_eq!(session.due(5.0), Due::Connect);
    }

    #[test]
    fn a_socket_that_does_not_answer_is_dead() {
        let mut session = Session::new(7, Settings::default());
        session.opened(0.0);
        assert_eq!(session.due(30_001.0), Due::Ping);
        assert_eq!(session.due(35_000.0), Due::Nothing);
        assert_eq!(session.due(40_002.0), Due::Dead);
        session.heard();
        assert_eq!(session.due(40_002.0), Due::Nothing);
    }
}
