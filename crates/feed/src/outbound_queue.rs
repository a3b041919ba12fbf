//! What waits for one socket. A socket that reads gets each frame as it was made, shared with everybody who gets the same. For one that does not,
//! frames are folded: of each thing the last change stands. What is still too much is thrown away, and the socket is told to come back and
//! resume. It must never wait, and never grow beyond its bound.

use pmo_domain::EntityCode;
use pmo_domain::protocol::{CLOSE_SLOW_CONSUMER, Change, CoalescedChanges, ServerMessage};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

/// Changes in one frame at most: what one request for rows can ask for.
pub const MAX_CHANGES_PER_FRAME: usize = 200;
/// Frames that wait before they are folded.
const COALESCE_THRESHOLD: usize = 32;
/// Bytes that a change takes in a frame, and here: `{"entityId":"…","action":"UPDATE","version":123456},`.
const ESTIMATED_CHANGE_BYTES: usize = 90;

/// An INVALIDATE that may be for many, written once.
#[derive(Debug)]
pub struct InvalidateFrame {
    code: EntityCode,
    changes: Vec<Change>,
    timestamp: Arc<str>,
    cursor: Arc<str>,
    text: OnceLock<Arc<str>>,
}

impl InvalidateFrame {
    /// Changes of things of one type. `cursor`: everything up to it has been told before this.
    pub fn new(code: EntityCode, changes: Vec<Change>, timestamp: Arc<str>, cursor: Arc<str>) -> Self {
        Self { code, changes, timestamp, cursor, text: OnceLock::new() }
    }

    /// The frame's text.
    pub fn to_json(&self) -> Arc<str> {
        let write = || {
            let message = ServerMessage::Invalidate {
                entity_code: self.code.clone(),
                changes: self.changes.clone(),
                timestamp: self.timestamp.to_string(),
                cursor: self.cursor.to_string(),
            };
            text_of(&message)
        };
        self.text.get_or_init(write).clone()
    }

    fn bytes(&self) -> usize {
        120 + self.cursor.len() + self.changes.len() * ESTIMATED_CHANGE_BYTES
    }
}

fn text_of(message: &ServerMessage) -> Arc<str> {
    serde_json::to_string(message).unwrap_or_default().into()
}

/// A frame on its way to a socket.
#[derive(Clone, Debug)]
pub enum Frame {
    /// Changes, shared.
    Told(Arc<InvalidateFrame>),
    /// Any other message, as text.
    Message(Arc<str>),
}

impl Frame {
    /// Any message but INVALIDATE.
    pub fn message(message: &ServerMessage) -> Self {
        Self::Message(text_of(message))
    }

    /// What goes over the wire.
    pub fn to_json(&self) -> Arc<str> {
        match self {
            Self::Told(told) => told.to_json(),
            Self::Message(text) => text.clone(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Told(told) => told.bytes(),
            Self::Message(text) => text.len(),
        }
    }
}

/// What a socket does next.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// Send this.
    Frame(Frame),
    /// Close with this code and reason.
    Close(u16, &'static str),
}

/// Changes of one type that were folded.
struct CoalescedGroup {
    changes: CoalescedChanges,
    timestamp: Arc<str>,
}

/// One socket's queue.
pub struct OutboundQueue {
    /// In order.
    frames: VecDeque<Frame>,
    /// Comes after them,
    folded: BTreeMap<EntityCode, CoalescedGroup>,
    /// with the cursor of the first that was folded, whichever goes first: a cursor promises all that came before it,
    coalesced_cursor: Option<Arc<str>>,
    /// and before these.
    after_coalesced: VecDeque<Frame>,
    bytes: usize,
    limit: usize,
    close: Option<(u16, &'static str)>,
}

impl OutboundQueue {
    /// An empty queue of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let (frames, folded, promised, behind) = Default::default();
        Self { frames, folded, coalesced_cursor: promised, after_coalesced: behind, bytes: 0, limit, close: None }
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it will be closed, and takes nothing more.
    pub fn closing(&self) -> bool {
        self.close.is_some()
    }

    /// Queues a frame. False: it was the one too many, and all is thrown away.
    pub fn push(&mut self, frame: Frame) -> bool {
        if self.closing() {
            return true;
        }
        match frame {
            Frame::Told(told) if !self.folded.is_empty() => self.coalesce(&told),
            frame if !self.folded.is_empty() => {
                self.bytes += frame.bytes();
                self.after_coalesced.push_back(frame);
            }
            frame => {
                self.bytes += frame.bytes();
                self.frames.push_back(frame);
            }
        }
        if self.folded.is_empty() && (self.frames.len() > COALESCE_THRESHOLD || self.bytes > self.limit) {
            self.coalesce_all();
        }
        let fits = self.bytes <= self.limit;
        if !fits {
            self.overflow();
            self.close = Some((CLOSE_SLOW_CONSUMER, "too slow: reconnect and resume"));
        }
        fits
    }

    fn coalesce(&mut self, told: &InvalidateFrame) {
        self.coalesced_cursor.get_or_insert_with(|| told.cursor.clone());
        let folded = self.folded.entry(told.code.clone()).or_insert_with(|| CoalescedGroup {
            changes: CoalescedChanges::default(),
            timestamp: told.timestamp.clone(),
        });
        folded.timestamp = told.timestamp.clone();
        let before = folded.changes.len();
        told.changes.iter().for_each(|change| folded.changes.coalesce(change.clone()));
        self.bytes += (folded.changes.len() - before) * ESTIMATED_CHANGE_BYTES;
    }

    /// Folds what waits. Changes come to stand before messages that were made between them: telling a change early is always right.
    fn coalesce_all(&mut self) {
        let first = self.frames.iter().position(|frame| matches!(frame, Frame::Told(_)));
        let rest = self.frames.split_off(first.unwrap_or(self.frames.len()));
        for frame in rest {
            self.bytes -= frame.bytes();
            match frame {
                Frame::Told(told) => self.coalesce(&told),
                frame => {
                    self.bytes += frame.bytes();
                    self.after_coalesced.push_back(frame);
                }
            }
        }
    }

    fn overflow(&mut self) {
        self.frames.clear();
        self.folded.clear();
        self.coalesced_cursor = None;
        self.after_coalesced.clear();
        self.bytes = 0;
    }

    /// Closes the socket once what waits has left.
    pub fn close(&mut self, code: u16, reason: &'static str) {
        self.close.get_or_insert((code, reason));
    }

    /// The socket takes the next.
    pub fn pop(&mut self) -> Option<Outgoing> {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.bytes();
            return Some(Outgoing::Frame(frame));
        }
        if let Some(mut entry) = self.folded.first_entry() {
            let folded = entry.get_mut();
            let changes = folded.changes.drain_up_to(MAX_CHANGES_PER_FRAME);
            self.bytes -= changes.len() * ESTIMATED_CHANGE_BYTES;
            let cursor = self.coalesced_cursor.clone().unwrap_or_else(|| "".into());
            let told = InvalidateFrame::new(entry.key().clone(), changes, entry.get().timestamp.clone(), cursor);
            if entry.get().changes.is_empty() {
                entry.remove();
            }
            if self.folded.is_empty() {
                self.coalesced_cursor = None;
                self.frames = std::mem::take(&mut self.after_coalesced);
            }
            return Some(Outgoing::Frame(Frame::Told(Arc::new(told))));
        }
        // A queue that is idle costs nothing.
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

    fn told(code: &str, ids: impl IntoIterator<Item = u128>, version: i64, action: Action) -> Frame {
        let change = |id| Change { entity_id: Uuid::from_u128(id), action, version: Version(version) };
        let changes = ids.into_iter().map(change).collect();
        let code = EntityCode::new(code).unwrap();
        Frame::Told(Arc::new(InvalidateFrame::new(code, changes, "t".into(), version.to_string().into())))
    }

    fn drain(queue: &mut OutboundQueue) -> Vec<ServerMessage> {
        let mut all = Vec::new();
        while let Some(Outgoing::Frame(frame)) = queue.pop() {
            all.push(serde_json::from_str(&frame.to_json()).unwrap());
        }
        all
    }

    #[test]
    fn ten_thousand_changes_of_ten_things_wait_as_ten() {
        let mut queue = OutboundQueue::new(100_000);
        queue.push(Frame::message(&ServerMessage::Pong { cursor: "0".into() }));
        for n in 0..10_000 {
            assert!(queue.push(told("task", [n % 10], n as i64 + 1, Action::Update)));
        }
        queue.push(Frame::message(&ServerMessage::Pong { cursor: "10000".into() }));
        let all = drain(&mut queue);
        assert_eq!((all.len(), queue.bytes()), (3, 0));
        let ServerMessage::Invalidate { changes, cursor, .. } = &all[1] else { panic!("{all:?}") };
        assert_eq!((changes.len(), changes[9].version, cursor.as_str()), (10, Version(10_000), "1"));
        assert!(matches!(&all[2], ServerMessage::Pong { cursor } if cursor == "10000"), "not before what it promises");
    }

    #[test]
    fn what_is_too_much_even_so_ends_with_resume() {
        let mut queue = OutboundQueue::new(20_000);
        let fitted = (0..10_000).take_while(|n| queue.push(told("task", [*n], 1, Action::Update))).count();
        assert!((100..250).contains(&fitted), "{fitted}");
        assert_eq!(queue.bytes(), 0, "nothing is kept for who comes back");
        assert!(matches!(queue.pop(), Some(Outgoing::Close(CLOSE_SLOW_CONSUMER, _))));
        assert!(queue.push(told("task", [1], 1, Action::Update)) && drain(&mut queue).is_empty());
    }

    #[test]
    fn a_close_comes_after_what_waits() {
        let mut queue = OutboundQueue::new(20_000);
        queue.push(told("task", [1], 1, Action::Update));
        queue.close(1012, "restart");
        queue.close(4002, "later");
        assert_eq!(drain(&mut queue).len(), 1);
        assert!(matches!(queue.pop(), Some(Outgoing::Close(1012, "restart"))));
    }

    #[test]
    fn the_same_frame_is_written_once() {
        let Frame::Told(told) = told("task", 0..5, 1, Action::Update) else { panic!("changes") };
        assert!(Arc::ptr_eq(&told.to_json(), &told.to_json()));
        assert!(told.bytes() + 50 > told.to_json().len(), "what it counts is what it weighs");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]
        #[test]
        fn every_thing_is_told_its_last_version_before_a_cursor_that_promises_it(
            steps in prop::collection::vec((0..8u8, 0..3usize, 0..6u128), 1..300)
        ) {
            let mut queue = OutboundQueue::new(1_000_000);
            let mut version = 0;
            let mut out = Vec::new();
            let mut newest: BTreeMap<(usize, u128), i64> = BTreeMap::new();
            for (step, kind, id) in steps {
                version += 1;
                match step {
                    0 => drop(queue.push(Frame::message(&ServerMessage::Pong { cursor: version.to_string() }))),
                    1 => out.extend(queue.pop()),
                    _ => {
                        newest.insert((kind, id), version);
                        queue.push(told(["task", "risk", "issue"][kind], [id], version, Action::Update));
                    }
                }
            }
            while let Some(next) = queue.pop() { out.push(next); }
            prop_assert_eq!(queue.bytes(), 0);
            let mut known: BTreeMap<(usize, u128), i64> = BTreeMap::new();
            let mut pongs = Vec::new();
            for frame in out {
                let Outgoing::Frame(frame) = frame else { continue };
                match serde_json::from_str(&frame.to_json()).unwrap() {
                    ServerMessage::Invalidate { entity_code, changes, cursor, .. } => {
                        let cursor: i64 = cursor.parse().unwrap();
                        // In this test a frame's cursor is its own number: all that came before it has been told.
                        for (thing, version) in newest.iter().filter(|(_, version)| **version < cursor) {
                            prop_assert!(known.get(thing).is_some_and(|k| k >= version), "{:?} before {}", thing, cursor);
                        }
                        let ids: BTreeSet<Uuid> = changes.iter().map(|c| c.entity_id).collect();
                        prop_assert_eq!(ids.len(), changes.len(), "each thing once in a frame");
                        let kind = ["task", "risk", "issue"].iter().position(|c| entity_code == **c).unwrap();
                        for change in changes {
                            let last = known.insert((kind, change.entity_id.as_u128()), change.version.0);
                            prop_assert!(last.is_none_or(|l| l < change.version.0), "versions go forward");
                        }
                    }
                    ServerMessage::Pong { cursor } => {
                        let cursor: i64 = cursor.parse().unwrap();
                        pongs.push(cursor);
                        for (thing, version) in &newest {
                            prop_assert!(*version > cursor || known.get(thing) == Some(version) || known.get(thing).is_some_and(|k| k > version) , "{:?} by {}", thing, cursor);
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
