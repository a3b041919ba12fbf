//! Read position in the change log.
//!
//! Sequence numbers are assigned before commit, so a sequence number cannot be a read position. The
//! position is a snapshot: a row is new if its transaction was not visible in that snapshot and is
//! visible now. Long transactions do not block the reader, and no row is read twice.

use pmo_domain::change_log::{LogBatch, LogRange};
use pmo_domain::{FeedCursor, Snapshot};

/// Read position of one pod.
#[derive(Clone, Debug)]
pub struct LogReader {
    epoch: i64,
    /// Snapshot up to which all rows have been read.
    snapshot: Snapshot,
    /// Resume point if the last read returned only a part of its range.
    partial: Option<PartialRead>,
}

/// Read in progress: rows visible in `until` have been read up to `after` (xid, seq).
#[derive(Clone, Debug)]
struct PartialRead {
    until: Snapshot,
    after: (i64, i64),
}

impl LogReader {
    /// Creates a reader of the rows that are not visible in `snapshot`.
    pub fn new(epoch: i64, snapshot: Snapshot) -> Self {
        Self { epoch, snapshot, partial: None }
    }

    /// Returns the cursor for clients: all changes visible in it have been delivered.
    pub fn cursor(&self) -> FeedCursor {
        FeedCursor { epoch: self.epoch, snapshot: self.snapshot.clone() }
    }

    /// Returns whether a partial read is in progress.
    pub fn is_mid_batch(&self) -> bool {
        self.partial.is_some()
    }

    /// Returns the range to read next.
    pub fn next_range(&self) -> LogRange {
        LogRange {
            epoch: self.epoch,
            from: self.snapshot.xmax,
            finished: self.snapshot.in_progress.clone(),
            until: self.partial.as_ref().map(|partial| partial.until.clone()),
            after: self.partial.as_ref().map(|partial| partial.after),
        }
    }

    /// Advances the position past a batch of the next range; returns whether to read again at once.
    pub fn accept(&mut self, batch: LogBatch) -> bool {
        let until = self.partial.take().map(|partial| partial.until);
        let was_partial = until.is_some();
        let until = until.unwrap_or(batch.snapshot);
        match batch.rows.last().filter(|_| batch.has_more) {
            Some(last) => self.partial = Some(PartialRead { until, after: (last.xid, last.seq) }),
            None => self.snapshot = until,
        }
        batch.has_more || was_partial
    }
}
