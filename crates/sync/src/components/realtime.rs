//! Socket, subscriptions, position in the change feed, and polling as a fallback.

use crate::collections::DetHashSet;
use crate::components::Connectivity;
use crate::event::Effect;
use crate::query_key::{Topic, percent_encode};
use crate::reconnect::{ConnectionState, SocketSession};
use crate::request::Request;
use crate::settings::EngineConfig;
use pmo_domain::protocol::{ClientMessage, ParentScope, SubscribeRequest};
use pmo_domain::{EntityCode, UnixMillis};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Position in the change feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FeedPosition {
    /// Epoch of the database, as sent in HELLO.
    pub(crate) epoch: String,
    /// Last cursor received in this epoch.
    pub(crate) cursor: String,
}

/// Reception of changes: over the socket, or by polling.
pub(crate) struct Realtime {
    session: SocketSession,
    cursor: Option<FeedPosition>,
    /// Feed position before the access of this user changed; `None` if no revalidation is running.
    ///
    /// `Some(None)` means that there was no position yet. After a crash, a successor resumes from
    /// this position. Otherwise rows that the user may no longer view would stay in the cache.
    revalidating_from: Option<Option<FeedPosition>>,
    subscribed: DetHashSet<Topic>,
    /// SUBSCRIBE messages without a response, in the order in which they were sent.
    ///
    /// Until the response arrives, changes since the cursor of the message may still be delivered.
    pending_subscribes: Vec<(EntityCode, Vec<Topic>)>,
    /// Time of the last poll for changes.
    polled_at: UnixMillis,
    /// Epoch that applies once the pending RESUME is answered; `None` if no RESUME is pending.
    resuming: Option<String>,
    poll_after_failures: u32,
}

impl Realtime {
    /// Creates a state without a connection; `seed` spreads the reconnects of clients over time.
    pub(crate) fn new(seed: u64, settings: EngineConfig) -> Self {
        Self {
            session: SocketSession::new(seed, settings),
            cursor: None,
            revalidating_from: None,
            subscribed: DetHashSet::default(),
            pending_subscribes: Vec::new(),
            polled_at: UnixMillis::EPOCH,
            resuming: None,
            poll_after_failures: settings.poll_after_failures,
        }
    }

    /// Returns the state of the connection.
    pub(crate) fn session(&self) -> &SocketSession {
        &self.session
    }

    /// Returns the state of the connection for modification.
    pub(crate) fn session_mut(&mut self) -> &mut SocketSession {
        &mut self.session
    }

    /// Whether the socket is open.
    pub(crate) fn is_open(&self) -> bool {
        self.session.state == ConnectionState::Open
    }

    /// Whether changes are polled: the server responds, but no WebSocket can be opened.
    pub(crate) fn is_polling(&self, connectivity: &Connectivity) -> bool {
        self.needs_polling() && connectivity.is_online()
    }

    /// Whether the socket has failed so often that changes must be polled.
    ///
    /// Polls continue while the server does not respond, so that its return is noticed.
    pub(crate) fn needs_polling(&self) -> bool {
        !self.is_open() && self.session.attempts >= self.poll_after_failures
    }

    /// Returns the effect that opens a socket.
    pub(crate) fn connect(&mut self, now: UnixMillis) -> Effect {
        self.session.connecting(now);
        Effect::Connect
    }

    // --- Position ---

    /// Returns the position in the feed; `None` before the first connection.
    pub(crate) fn position(&self) -> Option<&FeedPosition> {
        self.cursor.as_ref()
    }

    /// Sets the position in the feed.
    pub(crate) fn set_position(&mut self, position: Option<FeedPosition>) {
        self.cursor = position;
    }

    /// Moves the position within its epoch; returns whether it moved.
    ///
    /// It stays until a pending RESUME is answered.
    pub(crate) fn advance_cursor(&mut self, cursor: String) -> bool {
        let Some(position) = self.cursor.as_mut().filter(|_| self.resuming.is_none()) else { return false };
        if position.cursor == cursor {
            return false;
        }
        position.cursor = cursor;
        true
    }

    /// Returns the position from which a successor of this engine must resume.
    pub(crate) fn safe_position(&self) -> Option<&FeedPosition> {
        self.revalidating_from.as_ref().map_or(self.cursor.as_ref(), Option::as_ref)
    }

    /// Whether `epoch` differs from the known one.
    pub(crate) fn is_other_epoch(&self, epoch: &str) -> bool {
        self.cursor.as_ref().is_some_and(|position| position.epoch != epoch)
    }

    /// Begins to resume from the known position; returns the message, or `None` without a position.
    ///
    /// The old cursor remains until RESUME is answered: if the connection is lost before, the same
    /// RESUME must be sent again.
    pub(crate) fn resume(&mut self, epoch: &str) -> Option<Effect> {
        let stored = self.cursor.as_ref()?;
        let message = ClientMessage::Resume { epoch: stored.epoch.clone(), cursor: stored.cursor.clone() };
        self.resuming = Some(epoch.to_owned());
        Some(Effect::Send(message))
    }

    /// Handles the response to RESUME: the new epoch applies.
    pub(crate) fn on_resumed(&mut self) {
        if let Some(epoch) = self.resuming.take()
            && let Some(position) = &mut self.cursor
        {
            position.epoch = epoch;
        }
    }

    // --- Revalidation ---

    /// Begins a revalidation from the current position, unless one is running.
    pub(crate) fn begin_revalidation(&mut self) {
        if self.revalidating_from.is_none() {
            self.revalidating_from = Some(self.cursor.clone());
        }
    }

    /// Begins a revalidation for which there is no safe position yet.
    pub(crate) fn begin_first_revalidation(&mut self) {
        self.revalidating_from = Some(None);
    }

    /// Whether a revalidation is running.
    pub(crate) fn is_revalidating(&self) -> bool {
        self.revalidating_from.is_some()
    }

    /// Ends a revalidation.
    pub(crate) fn end_revalidation(&mut self) {
        self.revalidating_from = None;
    }

    // --- Subscriptions ---

    /// Whether a topic is subscribed to.
    pub(crate) fn is_subscribed(&self, topic: &Topic) -> bool {
        self.subscribed.contains(topic)
    }

    /// Iterates over the subscribed topics.
    pub(crate) fn subscribed(&self) -> impl Iterator<Item = &Topic> {
        self.subscribed.iter()
    }

    /// Subscribes to topics of one entity type, from the cursor `since` if there is one.
    ///
    /// Returns the message; `None` if there are no topics.
    pub(crate) fn subscribe(&mut self, topics: Vec<Topic>, since: Option<String>) -> Option<Effect> {
        let (entity_code, entity_ids, parent) = subscribe_parts(&topics)?;
        self.subscribed.extend(topics.iter().cloned());
        self.pending_subscribes.push((entity_code.clone(), topics));
        let subscribe = SubscribeRequest { entity_code, entity_ids, parent, since };
        Some(Effect::Send(ClientMessage::Subscribe(subscribe)))
    }

    /// Handles the response to the first pending SUBSCRIBE of an entity type.
    pub(crate) fn on_subscribed(&mut self, entity_code: &EntityCode) {
        if let Some(at) = self.pending_subscribes.iter().position(|(code, _)| code == entity_code) {
            self.pending_subscribes.remove(at);
        }
    }

    /// Forgets a subscription, so that the next response subscribes again.
    pub(crate) fn forget_subscription(&mut self, topic: &Topic) {
        self.subscribed.remove(topic);
    }

    /// Forgets all subscriptions: the server may have dropped them.
    pub(crate) fn forget_all_subscriptions(&mut self) {
        self.subscribed.clear();
    }

    /// Ends a subscription; returns the message, if one is needed.
    pub(crate) fn unsubscribe(&mut self, topic: &Topic) -> Option<Effect> {
        if !self.subscribed.remove(topic) {
            return None;
        }
        unsubscribe_message(topic).map(Effect::Send)
    }

    // --- Connection ---

    /// Handles HELLO: the connection is open and has no subscription.
    pub(crate) fn on_hello(&mut self, now: UnixMillis) {
        self.session.on_hello(now);
        self.subscribed.clear();
        self.pending_subscribes.clear();
    }

    /// Handles a closed socket; returns the topics of the SUBSCRIBE messages without a response.
    ///
    /// Changes requested by these messages may be lost, and the cursor may have moved past them.
    pub(crate) fn on_closed(&mut self, now: UnixMillis) -> Vec<Topic> {
        self.session.on_closed(now);
        self.subscribed.clear();
        self.resuming = None;
        std::mem::take(&mut self.pending_subscribes).into_iter().flat_map(|(_, topics)| topics).collect()
    }

    /// Ends the reception of changes in this tab: another tab is the leader.
    pub(crate) fn step_down(&mut self) {
        if let Some(position) = self.revalidating_from.take() {
            self.cursor = position;
        }
        self.session.set_idle();
        self.subscribed.clear();
        self.pending_subscribes.clear();
        self.resuming = None;
    }

    // --- Polling ---

    /// Whether the poll interval has passed since the last poll.
    pub(crate) fn is_poll_due(&self, settings: &EngineConfig, now: UnixMillis) -> bool {
        now.since(self.polled_at) >= settings.poll_interval
    }

    /// Returns the request for all changes since the known position.
    ///
    /// The position moves past the changes of all types. A request for the observed types alone
    /// would skip those of rows that are cached but not observed.
    pub(crate) fn poll(&mut self, now: UnixMillis) -> Request {
        self.polled_at = now;
        let since = self.cursor.as_ref().map(|position| format!("?since={}", percent_encode(&position.cursor)));
        Request::get(format!("/sync/changes{}", since.unwrap_or_default()))
    }
}

/// Returns the type of the topics, with their ids or their parent.
fn subscribe_parts(topics: &[Topic]) -> Option<(EntityCode, Option<Vec<Uuid>>, Option<ParentScope>)> {
    match topics.first()? {
        Topic::Row(first) => {
            let ids = topics.iter().filter_map(|topic| match topic {
                Topic::Row(entity) => Some(entity.id),
                Topic::Rows(..) | Topic::Tree(..) => None,
            });
            Some((first.code.clone(), Some(ids.collect()), None))
        }
        Topic::Rows(code, parent) => {
            let parent =
                parent.as_ref().map(|p| ParentScope { entity_code: p.code.clone(), entity_id: p.id, recursive: false });
            Some((code.clone(), None, parent))
        }
        Topic::Tree(code, root) => {
            let root = ParentScope { entity_code: root.code.clone(), entity_id: root.id, recursive: true };
            Some((code.clone(), None, Some(root)))
        }
    }
}

fn unsubscribe_message(topic: &Topic) -> Option<ClientMessage> {
    // UNSUBSCRIBE without ids and parent would end all subscriptions of the type. A subscription to
    // a type therefore ends only at the next reconnect; the surplus messages do no harm.
    let (entity_code, entity_ids, parent) = subscribe_parts(std::slice::from_ref(topic))?;
    if entity_ids.is_none() && parent.is_none() {
        return None;
    }
    Some(ClientMessage::Unsubscribe { entity_code, entity_ids, parent })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_domain::EntityRef;

    fn realtime() -> Realtime {
        Realtime::new(7, EngineConfig::default())
    }

    fn topic(n: u128) -> Topic {
        Topic::Row(EntityRef::new(EntityCode::new("task").unwrap(), Uuid::from_u128(n)))
    }

    fn position(epoch: &str, cursor: &str) -> FeedPosition {
        FeedPosition { epoch: epoch.into(), cursor: cursor.into() }
    }

    #[test]
    fn cursor_and_epoch_stay_until_resume_is_answered() {
        let mut realtime = realtime();
        assert_eq!(realtime.resume("2"), None, "there is no position to resume from");
        realtime.set_position(Some(position("1", "5")));
        assert!(realtime.is_other_epoch("2") && realtime.resume("2").is_some());
        assert!(!realtime.advance_cursor("9".into()));
        assert_eq!(realtime.position(), Some(&position("1", "5")));
        realtime.on_resumed();
        assert!(realtime.advance_cursor("9".into()) && !realtime.advance_cursor("9".into()));
        assert_eq!(realtime.position(), Some(&position("2", "9")));
    }

    #[test]
    fn safe_position_is_that_before_the_revalidation() {
        let mut realtime = realtime();
        realtime.set_position(Some(position("1", "5")));
        realtime.begin_revalidation();
        realtime.advance_cursor("9".into());
        realtime.begin_revalidation();
        assert_eq!(realtime.safe_position(), Some(&position("1", "5")));
        realtime.step_down();
        assert_eq!((realtime.is_revalidating(), realtime.position()), (false, Some(&position("1", "5"))));
    }

    #[test]
    fn closed_socket_returns_topics_without_a_response() {
        let mut realtime = realtime();
        realtime.on_hello(UnixMillis::EPOCH);
        assert!(realtime.subscribe(vec![topic(1)], None).is_some());
        assert!(realtime.subscribe(vec![topic(2), topic(3)], None).is_some());
        assert_eq!(realtime.subscribe(vec![], None), None);
        realtime.on_subscribed(&EntityCode::new("task").unwrap());
        assert!(realtime.is_subscribed(&topic(1)) && realtime.is_subscribed(&topic(3)));
        assert_eq!(realtime.on_closed(UnixMillis::EPOCH), [topic(2), topic(3)]);
        assert!(!realtime.is_subscribed(&topic(1)));
    }

    #[test]
    fn subscription_to_a_whole_type_ends_without_a_message() {
        let mut realtime = realtime();
        let all = Topic::Rows(EntityCode::new("task").unwrap(), None);
        realtime.subscribe(vec![all.clone()], None);
        realtime.subscribe(vec![topic(1)], None);
        assert_eq!(realtime.unsubscribe(&all), None);
        assert!(realtime.unsubscribe(&topic(1)).is_some());
        assert_eq!(realtime.unsubscribe(&topic(1)), None, "not subscribed to");
    }

    #[test]
    fn changes_of_all_types_are_polled_once_the_socket_has_failed_repeatedly() {
        let (mut realtime, connectivity) = (realtime(), Connectivity::default());
        assert!(!realtime.is_polling(&connectivity));
        (0..3).for_each(|_| drop(realtime.on_closed(UnixMillis::EPOCH)));
        assert!(realtime.is_polling(&connectivity));
        assert_eq!(realtime.poll(UnixMillis::EPOCH).path, "/sync/changes");
        realtime.set_position(Some(position("1", "5")));
        assert_eq!(realtime.poll(UnixMillis::new(100)).path, "/sync/changes?since=5");
        assert!(!realtime.is_poll_due(&EngineConfig::default(), UnixMillis::new(5099)));
        assert!(realtime.is_poll_due(&EngineConfig::default(), UnixMillis::new(5100)));
    }
}
