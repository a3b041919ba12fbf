//! The socket's life as the engine sees it: when to connect, how long to wait, when it is dead.

use crate::settings::EngineConfig;

/// Where the socket stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ConnectionState {
    /// Nobody has asked for one.
    Idle,
    /// Asked for at this time.
    Connecting(f64),
    /// HELLO has come.
    Open,
    /// To be tried again at this time.
    Backoff(f64),
}

/// The socket's life.
#[derive(Clone, Debug)]
pub struct SocketSession {
    /// Where it stands.
    pub link: ConnectionState,
    /// Sockets that failed in a row.
    pub attempts: u32,
    last_ping: f64,
    awaiting_pong: bool,
    random: u64,
    settings: EngineConfig,
}

/// What time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionAction {
    /// Nothing.
    Nothing,
    /// Open it.
    Connect,
    /// Say PING.
    Ping,
    /// It is dead: close it and try again.
    Dead,
}

impl SocketSession {
    /// `seed` spreads reconnects of many clients in time.
    pub fn new(seed: u64, settings: EngineConfig) -> Self {
        Self {
            link: ConnectionState::Idle,
            attempts: 0,
            last_ping: 0.0,
            awaiting_pong: false,
            random: seed | 1,
            settings,
        }
    }

    /// A number from 0 to 1: xorshift64, enough to spread clients in time.
    pub fn next_jitter(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % 1000) as f64 / 1000.0
    }

    /// A socket has been asked for.
    pub fn connecting(&mut self, now: f64) {
        self.link = ConnectionState::Connecting(now);
    }

    /// Nobody wants one any more.
    pub fn set_idle(&mut self) {
        self.link = ConnectionState::Idle;
        self.attempts = 0;
    }

    /// HELLO has come.
    pub fn on_hello(&mut self, now: f64) {
        self.link = ConnectionState::Open;
        self.attempts = 0;
        self.last_ping = now;
        self.awaiting_pong = false;
    }

    /// Something was heard.
    pub fn on_activity(&mut self) {
        self.awaiting_pong = false;
    }

    /// It closed: wait 1 s doubling to 30 s, between half of it and all, and go on for ever.
    pub fn on_closed(&mut self, now: f64) {
        let EngineConfig { reconnect_initial_ms: reconnect_first, reconnect_max_ms: reconnect_longest, .. } =
            self.settings;
        let delay = (reconnect_first * 2f64.powi(self.attempts.min(10) as i32)).min(reconnect_longest);
        self.attempts = self.attempts.saturating_add(1);
        let share = self.next_jitter();
        self.link = ConnectionState::Backoff(now + delay * (0.5 + share / 2.0));
    }

    /// Try at once: the browser is online again, or the page is shown.
    pub fn retry_now(&mut self, now: f64) {
        if let ConnectionState::Backoff(_) = self.link {
            self.link = ConnectionState::Backoff(now);
        }
    }

    /// What is due.
    pub fn next_action(&mut self, now: f64) -> ConnectionAction {
        match self.link {
            ConnectionState::Backoff(at) if now >= at => ConnectionAction::Connect,
            ConnectionState::Connecting(since) if now - since > self.settings.hello_timeout_ms => {
                ConnectionAction::Dead
            }
            ConnectionState::Open if self.awaiting_pong && now - self.last_ping > self.settings.pong_timeout_ms => {
                ConnectionAction::Dead
            }
            ConnectionState::Open
                if !self.awaiting_pong && now - self.last_ping > self.settings.heartbeat_interval_ms =>
            {
                self.last_ping = now;
                self.awaiting_pong = true;
                ConnectionAction::Ping
            }
            _ => ConnectionAction::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_half_a_minute_and_never_give_up() {
        let mut session = SocketSession::new(7, EngineConfig::default());
        let mut waits = Vec::new();
        for _ in 0..40 {
            session.on_closed(0.0);
            let ConnectionState::Backoff(at) = session.link else { panic!("it waits") };
            waits.push(at);
        }
        for (i, wait) in waits.iter().enumerate() {
            let full = (1000.0 * 2f64.powi(i.min(10) as i32)).min(30_000.0);
            assert!((full / 2.0..=full).contains(wait), "wait {i} is {wait}");
        }
        session.retry_now(5.0);
        assert_eq!(session.next_action(5.0), ConnectionAction::Connect);
    }

    #[test]
    fn a_socket_that_does_not_answer_is_dead() {
        let mut session = SocketSession::new(7, EngineConfig::default());
        session.on_hello(0.0);
        assert_eq!(session.next_action(30_001.0), ConnectionAction::Ping);
        assert_eq!(session.next_action(35_000.0), ConnectionAction::Nothing);
        assert_eq!(session.next_action(40_002.0), ConnectionAction::Dead);
        session.on_activity();
        assert_eq!(session.next_action(40_002.0), ConnectionAction::Nothing);
    }
}
