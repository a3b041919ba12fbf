//! Send queue of one connection.
//!
//! A connection that reads gets each frame unchanged; the frame is shared with all receivers of the
//! same changes. If the consumer is slow, queued frames are coalesced to the latest change per
//! entity. If the byte limit is still exceeded, the queue is cleared and the connection closed with
//! `CLOSE_SLOW_CONSUMER`, so that the client reconnects and resumes.
//!
//! Must not: wait, or grow beyond its limit.

use pmo_domain::EntityCode;
use pmo_domain::protocol::{CLOSE_SLOW_CONSUMER, Change, CoalescedChanges, ServerMessage};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

/// Maximum number of changes in one frame: the number of rows that one request can fetch.
pub const MAX_CHANGES_PER_FRAME: usize = 200;
/// Number of queued frames above which they are coalesced.
const COALESCE_THRESHOLD: usize = 32;
/// Estimated size of a change in bytes, in the frame and in the queue.
///
/// Example: `{"entityId":"…","action":"UPDATE","version":123456},`.
const ESTIMATED_CHANGE_BYTES: usize = 90;

/// INVALIDATE message that may be shared by many connections; serialized once.
#[derive(Debug)]
pub struct InvalidateFrame {
    code: EntityCode,
    changes: Vec<Change>,
    timestamp: Arc<str>,
    cursor: Arc<str>,
    text: OnceLock<Arc<str>>,
}

impl InvalidateFrame {
    /// Creates a frame with changes of entities of one type.
    ///
    /// `cursor`: all changes up to it are delivered before this frame.
    pub fn new(code: EntityCode, changes: Vec<Change>, timestamp: Arc<str>, cursor: Arc<str>) -> Self {
        Self { code, changes, timestamp, cursor, text: OnceLock::new() }
    }

    /// Returns the message as JSON.
    pub fn to_json(&self) -> Arc<str> {
        let serialize = || {
            let message = ServerMessage::Invalidate {
                entity_code: self.code.clone(),
                changes: self.changes.clone(),
                timestamp: self.timestamp.to_string(),
                cursor: self.cursor.to_string(),
            };
            serialize_message(&message)
        };
        self.text.get_or_init(serialize).clone()
    }

    fn bytes(&self) -> usize {
        120 + self.cursor.len() + self.changes.len() * ESTIMATED_CHANGE_BYTES
    }
}

fn serialize_message(message: &ServerMessage) -> Arc<str> {
    serde_json::to_string(message).unwrap_or_default().into()
}

/// Frame to send to a connection.
#[derive(Clone, Debug)]
pub enum Frame {
    /// INVALIDATE message, shared by its receivers.
    Invalidate(Arc<InvalidateFrame>),
    /// Any other message, as JSON.
    Message(Arc<str>),
}

impl Frame {
    /// Creates a frame of any message except INVALIDATE.
    pub fn message(message: &ServerMessage) -> Self {
        Self::Message(serialize_message(message))
    }

    /// Returns the JSON text to send.
    pub fn to_json(&self) -> Arc<str> {
        match self {
            Self::Invalidate(frame) => frame.to_json(),
            Self::Message(text) => text.clone(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Invalidate(frame) => frame.bytes(),
            Self::Message(text) => text.len(),
        }
    }
}

/// Next action of the writer of a connection.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// Send this frame.
    Frame(Frame),
    /// Close the connection with this code and reason.
    Close(u16, &'static str),
}

/// Coalesced changes of one entity type.
struct CoalescedGroup {
    changes: CoalescedChanges,
    timestamp: Arc<str>,
}

/// Send queue of one connection.
///
/// Order of delivery: `frames`, then `coalesced`, then `after_coalesced`.
pub struct OutboundQueue {
    /// Frames before the coalesced changes, in order.
    frames: VecDeque<Frame>,
    /// Coalesced changes by entity type.
    coalesced: BTreeMap<EntityCode, CoalescedGroup>,
    /// Cursor of the first coalesced frame, used for every coalesced frame.
    ///
    /// A cursor states that all earlier changes have been delivered. The types are sent in another
    /// order than their changes were queued, so only the earliest cursor is correct.
    coalesced_cursor: Option<Arc<str>>,
    /// Other messages that were queued between or after the coalesced changes.
    after_coalesced: VecDeque<Frame>,
    bytes: usize,
    limit: usize,
    close: Option<(u16, &'static str)>,
}

impl OutboundQueue {
    /// Creates an empty queue of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let (frames, coalesced, coalesced_cursor, after_coalesced) = Default::default();
        Self { frames, coalesced, coalesced_cursor, after_coalesced, bytes: 0, limit, close: None }
    }

    /// Returns the estimated number of queued bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether the connection will be closed; the queue then accepts no more frames.
    pub fn closing(&self) -> bool {
        self.close.is_some()
    }

    /// Queues a frame. Returns `false` if the limit was exceeded and the queue has been cleared.
    pub fn push(&mut self, frame: Frame) -> bool {
        if self.closing() {
            return true;
        }
        match frame {
            Frame::Invalidate(frame) if !self.coalesced.is_empty() => self.coalesce(&frame),
            frame if !self.coalesced.is_empty() => {
                self.bytes += frame.bytes();
                self.after_coalesced.push_back(frame);
            }
            frame => {
                self.bytes += frame.bytes();
                self.frames.push_back(frame);
            }
        }
        if self.coalesced.is_empty() && (self.frames.len() > COALESCE_THRESHOLD || self.bytes > self.limit) {
            self.coalesce_all();
        }
        let fits = self.bytes <= self.limit;
        if !fits {
            self.overflow();
            self.close = Some((CLOSE_SLOW_CONSUMER, "too slow: reconnect and resume"));
        }
        fits
    }

    fn coalesce(&mut self, frame: &InvalidateFrame) {
        self.coalesced_cursor.get_or_insert_with(|| frame.cursor.clone());
        let group = self.coalesced.entry(frame.code.clone()).or_insert_with(|| CoalescedGroup {
            changes: CoalescedChanges::default(),
            timestamp: frame.timestamp.clone(),
        });
        group.timestamp = frame.timestamp.clone();
        let before = group.changes.len();
        frame.changes.iter().for_each(|change| group.changes.coalesce(change.clone()));
        self.bytes += (group.changes.len() - before) * ESTIMATED_CHANGE_BYTES;
    }

    /// Coalesces the queued frames.
    ///
    /// Changes move ahead of other messages that were queued between them. This is safe: a change
    /// may always be delivered early.
    fn coalesce_all(&mut self) {
        let first = self.frames.iter().position(|frame| matches!(frame, Frame::Invalidate(_)));
        let rest = self.frames.split_off(first.unwrap_or(self.frames.len()));
        for frame in rest {
            self.bytes -= frame.bytes();
            match frame {
                Frame::Invalidate(frame) => self.coalesce(&frame),
                frame => {
                    self.bytes += frame.bytes();
                    self.after_coalesced.push_back(frame);
                }
            }
        }
    }

    /// Clears the queue.
    fn overflow(&mut self) {
        self.frames.clear();
        self.coalesced.clear();
        self.coalesced_cursor = None;
        self.after_coalesced.clear();
        self.bytes = 0;
    }

    /// Closes the connection after the queued frames have been sent. The first call wins.
    pub fn close(&mut self, code: u16, reason: &'static str) {
        self.close.get_or_insert((code, reason));
    }

    /// Removes and returns the next action, or `None` if nothing is queued.
    pub fn pop(&mut self) -> Option<Outgoing> {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.bytes();
            return Some(Outgoing::Frame(frame));
        }
        if let Some(mut entry) = self.coalesced.first_entry() {
            let group = entry.get_mut();
            let changes = group.changes.drain_up_to(MAX_CHANGES_PER_FRAME);
            self.bytes -= changes.len() * ESTIMATED_CHANGE_BYTES;
            let cursor = self.coalesced_cursor.clone().unwrap_or_else(|| "".into());
            let frame = InvalidateFrame::new(entry.key().clone(), changes, entry.get().timestamp.clone(), cursor);
            if entry.get().changes.is_empty() {
                entry.remove();
            }
            if self.coalesced.is_empty() {
                self.coalesced_cursor = None;
                self.frames = std::mem::take(&mut self.after_coalesced);
            }
            return Some(Outgoing::Frame(Frame::Invalidate(Arc::new(frame))));
        }
        // Release the memory of an idle queue.
        self.frames.shrink_to(4);
        self.close.map(|(code, reason)| Outgoing::Close(code, reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_domain::Version;
    use pmo_domain::protocol::Action;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use uuid::Uuid;

    fn invalidate(code: &str, ids: impl IntoIterator<Item = u128>, version: i64, action: Action) -> Frame {
        let change = |id| Change { entity_id: Uuid::from_u128(id), action, version: Version(version) };
        let changes = ids.into_iter().map(change).collect();
        let code = EntityCode::new(code).unwrap();
        Frame::Invalidate(Arc::new(InvalidateFrame::new(code, changes, "t".into(), version.to_string().into())))
    }

    fn drain(queue: &mut OutboundQueue) -> Vec<ServerMessage> {
        let mut all = Vec::new();
        while let Some(Outgoing::Frame(frame)) = queue.pop() {
            all.push(serde_json::from_str(&frame.to_json()).unwrap());
        }
        all
    }

    #[test]
    fn queued_changes_are_coalesced_per_entity() {
        let mut queue = OutboundQueue::new(100_000);
        queue.push(Frame::message(&ServerMessage::Pong { cursor: "0".into() }));
        for n in 0..10_000 {
            assert!(queue.push(invalidate("task", [n % 10], n as i64 + 1, Action::Update)));
        }
        queue.push(Frame::message(&ServerMessage::Pong { cursor: "10000".into() }));
        let all = drain(&mut queue);
        assert_eq!((all.len(), queue.bytes()), (3, 0));
        let ServerMessage::Invalidate { changes, cursor, .. } = &all[1] else { panic!("{all:?}") };
        assert_eq!((changes.len(), changes[9].version, cursor.as_str()), (10, Version(10_000), "1"));
        assert!(
            matches!(&all[2], ServerMessage::Pong { cursor } if cursor == "10000"),
            "a cursor follows the changes that it covers"
        );
    }

    #[test]
    fn queue_beyond_its_limit_is_cleared_and_closed() {
        let mut queue = OutboundQueue::new(20_000);
        let accepted = (0..10_000).take_while(|n| queue.push(invalidate("task", [*n], 1, Action::Update))).count();
        assert!((100..250).contains(&accepted), "{accepted}");
        assert_eq!(queue.bytes(), 0, "the queue is cleared");
        assert!(matches!(queue.pop(), Some(Outgoing::Close(CLOSE_SLOW_CONSUMER, _))));
        assert!(queue.push(invalidate("task", [1], 1, Action::Update)) && drain(&mut queue).is_empty());
    }

    #[test]
    fn close_follows_the_queued_frames() {
        let mut queue = OutboundQueue::new(20_000);
        queue.push(invalidate("task", [1], 1, Action::Update));
        queue.close(1012, "restart");
        queue.close(4002, "later");
        assert_eq!(drain(&mut queue).len(), 1);
        assert!(matches!(queue.pop(), Some(Outgoing::Close(1012, "restart"))));
    }

    #[test]
    fn frame_is_serialized_once() {
        let Frame::Invalidate(frame) = invalidate("task", 0..5, 1, Action::Update) else {
            panic!("an INVALIDATE frame")
        };
        assert!(Arc::ptr_eq(&frame.to_json(), &frame.to_json()));
        assert!(frame.bytes() + 50 > frame.to_json().len(), "the estimate is close to the size");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]
        #[test]
        fn latest_version_is_sent_before_a_cursor_that_covers_it(
            steps in prop::collection::vec((0..8u8, 0..3usize, 0..6u128), 1..300)
        ) {
            let mut queue = OutboundQueue::new(1_000_000);
            let mut version = 0;
            let mut sent = Vec::new();
            let mut newest: BTreeMap<(usize, u128), i64> = BTreeMap::new();
            for (step, kind, id) in steps {
                version += 1;
                match step {
                    0 => drop(queue.push(Frame::message(&ServerMessage::Pong { cursor: version.to_string() }))),
                    1 => sent.extend(queue.pop()),
                    _ => {
                        newest.insert((kind, id), version);
                        queue.push(invalidate(["task", "risk", "issue"][kind], [id], version, Action::Update));
                    }
                }
            }
            while let Some(next) = queue.pop() { sent.push(next); }
            prop_assert_eq!(queue.bytes(), 0);
            let mut known: BTreeMap<(usize, u128), i64> = BTreeMap::new();
            let mut pongs = Vec::new();
            for frame in sent {
                let Outgoing::Frame(frame) = frame else { continue };
                match serde_json::from_str(&frame.to_json()).unwrap() {
                    ServerMessage::Invalidate { entity_code, changes, cursor, .. } => {
                        let cursor: i64 = cursor.parse().unwrap();
                        // The cursor of a frame is its version here: all earlier changes must have
                        // been sent.
                        for (entity, version) in newest.iter().filter(|(_, version)| **version < cursor) {
                            prop_assert!(known.get(entity).is_some_and(|k| k >= version), "{:?} before {}", entity, cursor);
                        }
                        let ids: BTreeSet<Uuid> = changes.iter().map(|c| c.entity_id).collect();
                        prop_assert_eq!(ids.len(), changes.len(), "each entity once in a frame");
                        let kind = ["task", "risk", "issue"].iter().position(|c| entity_code == **c).unwrap();
                        for change in changes {
                            let last = known.insert((kind, change.entity_id.as_u128()), change.version.0);
                            prop_assert!(last.is_none_or(|l| l < change.version.0), "versions increase");
                        }
                    }
                    ServerMessage::Pong { cursor } => {
                        let cursor: i64 = cursor.parse().unwrap();
                        pongs.push(cursor);
                        for (entity, version) in &newest {
                            prop_assert!(*version > cursor || known.get(entity) == Some(version) || known.get(entity).is_some_and(|k| k > version) , "{:?} by {}", entity, cursor);
                        }
                    }
                    _ => {}
                }
            }
            prop_assert!(pongs.is_sorted());
            prop_assert_eq!(known, newest);
        }
    }
}
