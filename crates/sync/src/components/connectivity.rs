//! Whether the server can be used: network, responses of the server, and the access token.

use crate::event::Effect;

/// Number of token refreshes without success after which a new token is no reason to retry.
///
/// If the server rejects every new token, immediate retries would loop at network speed.
const MAX_TOKEN_REFRESHES: u32 = 2;

/// Availability of the network, the server and the access token.
pub(crate) struct Connectivity {
    browser_online: bool,
    reachable: bool,
    token_valid: bool,
    /// Number of token refreshes since the server last accepted a token.
    token_refreshes: u32,
}

impl Default for Connectivity {
    fn default() -> Self {
        Self { browser_online: true, reachable: true, token_valid: true, token_refreshes: 0 }
    }
}

impl Connectivity {
    /// Whether the browser is online and the server responds.
    pub(crate) fn is_online(&self) -> bool {
        self.browser_online && self.reachable
    }

    /// Whether the access token is valid as far as this tab knows.
    pub(crate) fn has_valid_token(&self) -> bool {
        self.token_valid
    }

    /// Whether a request or a connection may be attempted.
    pub(crate) fn can_connect(&self) -> bool {
        self.browser_online && self.token_valid
    }

    /// Whether recent token refreshes have had no effect.
    pub(crate) fn is_refresh_futile(&self) -> bool {
        self.token_refreshes > MAX_TOKEN_REFRESHES
    }

    /// Records what the browser reports about the network.
    pub(crate) fn set_browser_online(&mut self, online: bool) {
        self.browser_online = online;
    }

    /// Records that the server did not respond.
    pub(crate) fn on_no_response(&mut self) {
        self.reachable = false;
    }

    /// Records that the server responded.
    pub(crate) fn on_contact(&mut self) {
        self.reachable = true;
    }

    /// Records that the server accepted a request and its token.
    pub(crate) fn on_success(&mut self) {
        self.reachable = true;
        self.token_refreshes = 0;
    }

    /// Records that the server rejected the token; returns the refresh unless one is in progress.
    pub(crate) fn on_token_rejected(&mut self) -> Option<Effect> {
        std::mem::replace(&mut self.token_valid, false).then_some(Effect::RefreshToken)
    }

    /// Records that the server closed the socket because of the token; returns the refresh.
    pub(crate) fn on_token_expired(&mut self) -> Effect {
        self.token_valid = false;
        Effect::RefreshToken
    }

    /// Records a new token; returns whether everything that waits should be retried at once.
    pub(crate) fn on_token_refreshed(&mut self) -> bool {
        self.token_valid = true;
        self.token_refreshes += 1;
        !self.is_refresh_futile()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_token_is_refreshed_once_and_futile_refreshes_do_not_retry() {
        let mut connectivity = Connectivity::default();
        assert_eq!(connectivity.on_token_rejected(), Some(Effect::RefreshToken));
        assert_eq!(connectivity.on_token_rejected(), None, "a refresh is in progress");
        assert!(!connectivity.can_connect());
        assert!(connectivity.on_token_refreshed() && connectivity.on_token_refreshed());
        assert!(!connectivity.on_token_refreshed(), "two refreshes had no effect");
        connectivity.on_success();
        assert!(connectivity.on_token_refreshed() && connectivity.can_connect());
    }

    #[test]
    fn server_is_available_while_the_browser_is_online_and_it_responds() {
        let mut connectivity = Connectivity::default();
        connectivity.on_no_response();
        assert!(!connectivity.is_online() && connectivity.can_connect());
        connectivity.on_contact();
        connectivity.set_browser_online(false);
        assert!(!connectivity.is_online() && !connectivity.can_connect());
    }
}
