//! What has been read of the log. Rows become visible in another order than their numbers, so the cursor is a horizon below which
//! everything is settled, plus the rows above it that went out already.

use pmo_domain::FeedCursor;
use pmo_domain::change::LogRow;
use std::collections::BTreeMap;

/// The reading position of one pod.
#[derive(Clone, Debug)]
pub struct Reader {
    cursor: FeedCursor,
    /// Rows at or above the horizon that went out: number to transaction.
    seen: BTreeMap<i64, i64>,
}

impl Reader {
    /// Reads from `cursor` on.
    pub fn new(cursor: FeedCursor) -> Self {
        Self { cursor, seen: BTreeMap::new() }
    }

    /// Where to read from.
    pub fn cursor(&self) -> FeedCursor {
        self.cursor
    }

    /// Rows at or above the horizon that need not be read again.
    pub fn seen(&self) -> Vec<i64> {
        self.seen.keys().copied().collect()
    }

    /// Takes what was read and answers the rows that are new. `horizon` is of the same snapshot as the rows; where the read was
    /// cut short, more rows wait below it, so it is not taken.
    pub fn take(&mut self, rows: Vec<LogRow>, horizon: FeedCursor, cut_short: bool) -> Vec<LogRow> {
        let fresh: Vec<LogRow> = rows.into_iter().filter(|row| self.seen.insert(row.seq, row.xid).is_none()).collect();
        if !cut_short && horizon.epoch == self.cursor.epoch && horizon > self.cursor {
            self.cursor = horizon;
            self.seen.retain(|_, xid| *xid >= horizon.horizon);
        }
        fresh
    }

    /// Begins anew in another epoch.
    pub fn restart(&mut self, cursor: FeedCursor) {
        *self = Self::new(cursor);
    }
}
