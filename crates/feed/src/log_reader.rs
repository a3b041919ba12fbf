//! What has been read of the log. Transactions commit in another order than they number their rows, so the position is a snapshot: what was
//! not settled in it and is visible now is new. A slow writer holds nothing up, and nothing comes twice.

use pmo_domain::change_log::ChangeLogEntry;
use pmo_domain::{FeedCursor, Snapshot};

/// The reading position of one pod.
#[derive(Clone, Debug)]
pub struct LogReader {
    epoch: i64,
    /// Everything that is settled in it has been read.
    read: Snapshot,
    /// Where a read that was cut short goes on.
    part: Option<PartialRead>,
}

/// Rows that are settled in `until`, in order of transaction and number, have been read as far as `after`.
#[derive(Clone, Debug)]
struct PartialRead {
    until: Snapshot,
    after: (i64, i64),
}

/// What to ask the log for: rows of `epoch` by transactions from `from` on and by those of `finished`, in order of transaction and number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// The database's incarnation.
    pub epoch: i64,
    /// Transactions that had not begun when the log was read last,
    pub from: i64,
    /// and those that were under way.
    pub finished: Vec<i64>,
    /// Only what is settled in this snapshot: the rest of a read that was cut short.
    pub until: Option<Snapshot>,
    /// Only rows after this transaction and number.
    pub after: Option<(i64, i64)>,
}

impl LogReader {
    /// Reads what comes after a moment.
    pub fn new(epoch: i64, read: Snapshot) -> Self {
        Self { epoch, read, part: None }
    }

    /// Where the feed stands for clients: everything older has been told.
    pub fn cursor(&self) -> FeedCursor {
        FeedCursor { epoch: self.epoch, snapshot: self.read.clone() }
    }

    /// Whether some rows beyond the cursor have been read, and others not yet.
    pub fn is_mid_batch(&self) -> bool {
        self.part.is_some()
    }

    /// What to ask for next.
    pub fn next_range(&self) -> LogRange {
        LogRange {
            epoch: self.epoch,
            from: self.read.xmax,
            finished: self.read.in_progress.clone(),
            until: self.part.as_ref().map(|part| part.until.clone()),
            after: self.part.as_ref().map(|part| part.after),
        }
    }

    /// Takes the answer, read in `now`; `cut_short` where there was more than was asked for. True: ask again at once.
    pub fn accept(&mut self, rows: &[ChangeLogEntry], now: Snapshot, cut_short: bool) -> bool {
        let until = self.part.take().map(|part| part.until);
        let goes_on = until.is_some();
        let until = until.unwrap_or(now);
        match rows.last().filter(|_| cut_short) {
            Some(last) => self.part = Some(PartialRead { until, after: (last.xid, last.seq) }),
            None => self.read = until,
        }
        cut_short || goes_on
    }
}
