//! Entries of the change log, the ranges in which readers request them, and the resume rule.
//!
//! Invariant: a reader that resumes from a cursor misses no change; if that is not certain, it must
//! read all its data again.

use crate::cursor::ACCESS_CHANGE_WINDOW_XIDS;
use crate::protocol::Action;
use crate::{AncestorSetId, EntityCode, EntityRef, FeedCursor, Snapshot, UnixMillis, Version};
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Maximum number of log batches of one catch-up.
///
/// A client that missed more must read all its data again.
pub const MAX_CATCH_UP_BATCHES: usize = 5;

/// Numbers of the log actions.
pub mod action {
    /// An entity was viewed; never delivered to clients.
    pub const VIEW: i16 = 0;
    /// A comment was created.
    pub const COMMENT: i16 = 1;
    /// Columns were changed.
    pub const EDIT: i16 = 3;
    /// A grant was changed.
    pub const SHARE: i16 = 4;
    /// An entity was deleted.
    pub const DELETE: i16 = 5;
    /// An entity was created or restored.
    pub const CREATE: i16 = 6;
    /// Ownership was transferred.
    pub const OWNER: i16 = 7;
}

/// One row of the change log.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeLogEntry {
    /// Sequence number of the row; unique, but not in commit order.
    pub seq: i64,
    /// Id of the transaction that wrote the row.
    pub xid: i64,
    /// Type of the entity; `entity_rbac` and `entity_instance_link` mark access changes.
    pub code: EntityCode,
    /// Id of the entity.
    pub id: Uuid,
    /// Number of the action; see [`action`].
    pub action: i16,
    /// Version of the entity after the change.
    pub version: Version,
    /// Old and new values of the changed columns: `{"col": {"old": …, "new": …}}`.
    ///
    /// Filled only if the query of the log includes the values.
    pub diff: Value,
    /// Ancestor set through which the entity inherits grants.
    ///
    /// The current set, or the last one of a purged entity; `None` if the row is not about an
    /// entity.
    pub ancestor_set: Option<AncestorSetId>,
    /// Start of the transaction by the database clock.
    pub tx_started_at: UnixMillis,
    /// Current parents of the entity, if the query of the log includes them.
    pub parents: Vec<EntityRef>,
}

/// A change that may affect what people may view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessChange {
    /// The grants of this person changed.
    GrantsChanged(Uuid),
    /// This person created an entity and became its owner.
    ///
    /// The visibility of other entities does not change.
    EntityCreated(Uuid),
    /// A role or another source of grants changed; every person may be affected.
    Unscoped,
    /// Entities moved from the first ancestor set to the second.
    AncestorSetChanged(AncestorSetId, AncestorSetId),
}

impl ChangeLogEntry {
    /// Returns whether the entry records a change of access instead of a change of an entity.
    pub fn is_access_change(&self) -> bool {
        self.code == "entity_rbac" || self.code == "entity_instance_link"
    }

    /// Returns the new value of `column`; `None` if it did not change or is not text.
    pub fn new_value_str(&self, column: &str) -> Option<&str> {
        self.diff.get(column)?.get("new")?.as_str()
    }

    /// Returns the action that clients receive for this entry.
    pub fn client_action(&self) -> Action {
        match self.action {
            action::CREATE | action::COMMENT => Action::Create,
            action::DELETE => Action::Delete,
            _ => Action::Update,
        }
    }
    /// Returns whether the entry records the removal of an entity with unknown ancestors.
    ///
    /// The users who could view such an entity are unknown.
    pub fn is_location_lost(&self) -> bool {
        self.ancestor_set.is_none() && !self.is_access_change() && self.client_action() == Action::Delete
    }
}

/// Range of the change log to read, in order of transaction id and sequence number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// Epoch of the database that the rows must belong to.
    pub epoch: i64,
    /// First transaction id to read (inclusive).
    pub from: i64,
    /// Older transactions that were in progress at the last read.
    pub finished: Vec<i64>,
    /// Upper bound: only transactions visible in this snapshot; `None` for no bound.
    pub until: Option<Snapshot>,
    /// Resume point `(xid, seq)` within the range (exclusive); `None` for its first batch.
    pub after: Option<(i64, i64)>,
}

impl LogRange {
    /// Creates the range of the rows that are not visible in `cursor`.
    pub fn since(cursor: &FeedCursor) -> Self {
        let (epoch, from) = (cursor.epoch, cursor.snapshot.xmax);
        Self { epoch, from, finished: cursor.snapshot.in_progress.clone(), until: None, after: None }
    }
}

/// Batch of the change log: the result of one read.
#[derive(Clone, Debug, PartialEq)]
pub struct LogBatch {
    /// Rows in order of transaction id and sequence number.
    pub rows: Vec<ChangeLogEntry>,
    /// Access changes in the range; only in its first batch.
    pub access: BTreeSet<AccessChange>,
    /// Snapshot in which the batch was read.
    pub snapshot: Snapshot,
    /// Current epoch of the database.
    pub epoch: i64,
    /// Whether the range may have more rows than the batch.
    pub has_more: bool,
    /// Time of the database clock.
    pub db_now: UnixMillis,
}

/// Position to which the cursor of a client is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadPosition {
    /// Snapshot that was taken after the client received its cursor.
    ///
    /// No valid cursor is ahead of it.
    Current,
    /// Position of a reader that other readers may be ahead of.
    Delayed,
}

/// Reason why a client cannot continue from its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// The cursor belongs to another incarnation of the database.
    #[error("the cursor is of another epoch")]
    OtherEpoch,
    /// Access changes since the cursor may have been removed.
    #[error("the cursor is older than the retained access changes")]
    TooOld,
    /// The cursor names transactions that the database has not reached.
    #[error("the cursor is ahead of the change log")]
    Ahead,
}

/// Checks that a client can continue from `cursor`, compared with the position of the reader.
///
/// The check is necessary, not sufficient: the log must also retain the changes since the cursor,
/// see [`CatchUpBatch::is_recoverable`].
pub fn check_resume(cursor: &FeedCursor, reader: &FeedCursor, position: ReadPosition) -> Result<(), ResumeError> {
    if cursor.epoch != reader.epoch {
        return Err(ResumeError::OtherEpoch);
    }
    if cursor.snapshot.xmin.saturating_add(ACCESS_CHANGE_WINDOW_XIDS) < reader.snapshot.xmin {
        return Err(ResumeError::TooOld);
    }
    let newest = match position {
        ReadPosition::Current => reader.snapshot.xmin,
        ReadPosition::Delayed => reader.snapshot.xmax.saturating_add(ACCESS_CHANGE_WINDOW_XIDS),
    };
    if cursor.snapshot.xmin > newest { Err(ResumeError::Ahead) } else { Ok(()) }
}

/// Changes that a client missed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CatchUpBatch {
    /// Rows of the change log.
    pub rows: Vec<ChangeLogEntry>,
    /// Access changes.
    pub access: BTreeSet<AccessChange>,
    /// Whether a grant of the user has expired since the cursor.
    pub grant_expired: bool,
    /// Whether the batch contains all missed changes.
    pub complete: bool,
}

impl CatchUpBatch {
    /// Returns whether a client can continue with these changes instead of reading all its data.
    ///
    /// `is_relevant`: rows of the types that the client asks for.
    pub fn is_recoverable(&self, max_rows: usize, is_relevant: impl Fn(&ChangeLogEntry) -> bool) -> bool {
        self.complete
            && self.rows.len() <= max_rows
            && !self.rows.iter().any(|row| is_relevant(row) && row.is_location_lost())
    }
}

/// Catch-up in progress: it reads at most [`MAX_CATCH_UP_BATCHES`] batches of the log.
#[derive(Clone, Debug)]
pub struct CatchUpReader {
    range: LogRange,
    batches_read: usize,
    missed: CatchUpBatch,
}

impl CatchUpReader {
    /// Creates a reader of the rows after `cursor`, up to those visible in `until` if it is given.
    pub fn new(cursor: &FeedCursor, until: Option<Snapshot>) -> Self {
        let range = LogRange { until, ..LogRange::since(cursor) };
        Self { range, batches_read: 0, missed: CatchUpBatch::default() }
    }

    /// Returns the range to read next, or `None` if the catch-up has ended.
    pub fn next_range(&self) -> Option<&LogRange> {
        (!self.missed.complete && self.batches_read < MAX_CATCH_UP_BATCHES).then_some(&self.range)
    }

    /// Adds the batch that was read.
    pub fn accept(&mut self, batch: LogBatch) {
        self.batches_read += 1;
        self.missed.access.extend(batch.access);
        self.missed.rows.extend(batch.rows);
        self.missed.complete = !batch.has_more;
        self.range.after = self.missed.rows.last().map(|row| (row.xid, row.seq));
    }

    /// Returns the changes that were read; they are incomplete if the log has more.
    pub fn finish(self) -> CatchUpBatch {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(text: &str) -> FeedCursor {
        text.parse().unwrap()
    }

    fn row(seq: i64, code: &str, action: i16, ancestor_set: Option<AncestorSetId>) -> ChangeLogEntry {
        ChangeLogEntry {
            seq,
            xid: 20,
            code: EntityCode::new(code).unwrap(),
            id: Uuid::from_u128(1),
            action,
            version: Version(1),
            diff: Value::Null,
            ancestor_set,
            tx_started_at: UnixMillis::EPOCH,
            parents: Vec::new(),
        }
    }

    fn batch(seq: i64, has_more: bool) -> LogBatch {
        let rows = vec![row(seq, "task", action::EDIT, None)];
        let (access, db_now) = (BTreeSet::new(), UnixMillis::EPOCH);
        LogBatch { rows, access, snapshot: cursor("1.30").snapshot, epoch: 1, has_more, db_now }
    }

    #[test]
    fn only_cursors_of_the_epoch_within_the_window_can_be_resumed() {
        const WINDOW: i64 = ACCESS_CHANGE_WINDOW_XIDS;
        let (first, last) = (2_000_000, 2_000_010);
        let reader = FeedCursor { epoch: 3, snapshot: Snapshot { xmin: first, xmax: last, in_progress: vec![first] } };
        let check =
            |epoch: i64, xid: i64, position| check_resume(&cursor(&format!("{epoch}.{xid}")), &reader, position);
        for position in [ReadPosition::Current, ReadPosition::Delayed] {
            assert_eq!(check(3, first, position), Ok(()));
            assert_eq!(check(2, first, position), Err(ResumeError::OtherEpoch));
            assert_eq!(check(3, first - WINDOW, position), Ok(()));
            assert_eq!(check(3, first - WINDOW - 1, position), Err(ResumeError::TooOld));
            assert_eq!(check(3, last + WINDOW + 1, position), Err(ResumeError::Ahead));
            assert_eq!(check(3, i64::MAX, position), Err(ResumeError::Ahead));
        }
        assert_eq!(check(3, first + 1, ReadPosition::Current), Err(ResumeError::Ahead));
        assert_eq!(check(3, last + WINDOW, ReadPosition::Delayed), Ok(()));
    }

    #[test]
    fn catch_up_reads_a_limited_number_of_batches() {
        let mut reader = CatchUpReader::new(&cursor("1.10:14:10,12"), None);
        let mut read = 0;
        while let Some(range) = reader.next_range() {
            assert_eq!((range.from, &range.finished[..]), (14, &[10, 12][..]));
            assert_eq!(range.after, (read > 0).then_some((20, read)));
            read += 1;
            reader.accept(batch(read, true));
        }
        let missed = reader.finish();
        assert_eq!((read, missed.rows.len(), missed.complete), (5, MAX_CATCH_UP_BATCHES, false));
        assert!(!missed.is_recoverable(usize::MAX, |_| true));
    }

    #[test]
    fn catch_up_is_complete_with_the_last_batch_that_it_may_read() {
        let mut reader = CatchUpReader::new(&cursor("1.10"), Some(cursor("1.30").snapshot));
        for seq in 1..=5 {
            assert_eq!(reader.next_range().and_then(|range| range.until.clone()), Some(cursor("1.30").snapshot));
            reader.accept(batch(seq, seq < 5));
        }
        assert_eq!(reader.next_range(), None);
        let missed = reader.finish();
        assert!(missed.is_recoverable(5, |_| true));
        assert!(!missed.is_recoverable(4, |_| true), "more rows than the client takes");
    }

    #[test]
    fn removal_with_unknown_ancestors_is_not_recoverable_for_its_type() {
        let missed = |rows| CatchUpBatch { rows, complete: true, ..CatchUpBatch::default() };
        let is_recoverable = |rows| missed(rows).is_recoverable(9, |row| row.code == "task");
        assert!(!is_recoverable(vec![row(1, "task", action::DELETE, None)]));
        assert!(is_recoverable(vec![row(1, "task", action::DELETE, Some(AncestorSetId(7)))]));
        assert!(is_recoverable(vec![row(1, "task", action::EDIT, None)]), "the entity still exists");
        assert!(is_recoverable(vec![row(1, "risk", action::DELETE, None)]), "of another type");
    }
}
