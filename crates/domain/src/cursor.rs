//! Position of a reader in the change feed.
//!
//! Clients treat a cursor as opaque text; only the servers interpret it.

use std::fmt;
use std::str::FromStr;

/// A position in the change feed: the reader has all rows of `epoch` that the snapshot contains.
///
/// Sequence numbers cannot serve as a position, because transactions do not commit in the order of
/// their sequence numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedCursor {
    /// Incarnation of the database; transaction ids of different epochs are not comparable.
    pub epoch: i64,
    /// Snapshot of the last read.
    pub snapshot: Snapshot,
}

/// Maximum age of a snapshot from which a reader can continue, in transaction ids.
///
/// Half of the range for which access changes are retained (one million transactions).
pub const ACCESS_CHANGE_WINDOW_XIDS: i64 = 500_000;

/// Error for a text that is not a cursor of this feed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a cursor of this feed")]
pub struct InvalidCursor;

impl fmt::Display for FeedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.snapshot)
    }
}

impl FromStr for FeedCursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (epoch, snapshot) = text.split_once('.').ok_or(InvalidCursor)?;
        let parse_number = |part: &str| part.parse::<i64>().ok().filter(|n| *n >= 0).ok_or(InvalidCursor);
        let snapshot = match snapshot.contains(':') {
            true => snapshot.parse()?,
            // Short form: all transactions below this id are complete.
            false => Snapshot { xmin: parse_number(snapshot)?, xmax: parse_number(snapshot)?, in_progress: Vec::new() },
        };
        Ok(Self { epoch: parse_number(epoch)?, snapshot })
    }
}

/// Set of transactions that were complete at a point in time, like `pg_snapshot` in PostgreSQL.
///
/// Transactions below `xmin` are complete; transactions from `xmax` on have not started; between
/// the two, the transactions of `in_progress` are incomplete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Lowest transaction id that was in progress.
    pub xmin: i64,
    /// First transaction id that had not started.
    pub xmax: i64,
    /// Transaction ids in progress, in ascending order.
    pub in_progress: Vec<i64>,
}

impl Snapshot {
    /// Returns whether the snapshot contains a committed transaction.
    ///
    /// Meaningful only for transactions that have committed by now.
    pub fn is_visible(&self, xid: i64) -> bool {
        xid < self.xmin || (xid < self.xmax && !self.in_progress.contains(&xid))
    }

    /// Returns whether all transactions that are complete in `other` are complete in `self`.
    pub fn covers(&self, other: &Snapshot) -> bool {
        let missing = |xid: &i64| *xid < other.xmax && other.is_visible(*xid);
        other.xmax <= self.xmax && !self.in_progress.iter().any(missing)
    }
}

/// Maximum number of transactions in progress; higher than the concurrency of any server.
const MAX_IN_PROGRESS: usize = 10_000;

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_progress: Vec<String> = self.in_progress.iter().map(i64::to_string).collect();
        write!(f, "{}:{}:{}", self.xmin, self.xmax, in_progress.join(","))
    }
}

impl FromStr for Snapshot {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let mut parts = text.split(':');
        let (Some(xmin), Some(xmax), Some(in_progress), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidCursor);
        };
        let parse_number = |part: &str| part.parse::<i64>().ok().filter(|n| *n >= 0).ok_or(InvalidCursor);
        let in_progress: Vec<i64> =
            in_progress.split(',').filter(|x| !x.is_empty()).map(parse_number).collect::<Result<_, _>>()?;
        let (xmin, xmax) = (parse_number(xmin)?, parse_number(xmax)?);
        let is_valid = xmin <= xmax
            && in_progress.len() <= MAX_IN_PROGRESS
            && in_progress.iter().all(|x| (xmin..xmax).contains(x));
        if is_valid { Ok(Self { xmin, xmax, in_progress }) } else { Err(InvalidCursor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshot_contains_exactly_the_complete_transactions() {
        let snapshot: Snapshot = "10:14:10,12".parse().unwrap();
        let visible: Vec<i64> = (8..16).filter(|xid| snapshot.is_visible(*xid)).collect();
        assert_eq!(visible, [8, 9, 11, 13]);
        assert_eq!(snapshot.to_string(), "10:14:10,12");
        let snapshot = |text: &str| text.parse::<Snapshot>().unwrap();
        let snapshots = ["9:9:", "10:14:10,12", "10:14:12", "13:14:", "10:20:10,15", "20:20:"].map(snapshot);
        for left in &snapshots {
            for right in &snapshots {
                let expected = (0..30).all(|xid| !right.is_visible(xid) || left.is_visible(xid));
                assert_eq!(left.covers(right), expected, "{left} {right}");
            }
        }
        assert_eq!("7:7:".parse::<Snapshot>().unwrap().to_string(), "7:7:");
        for invalid in ["", "1:2", "1:2:3:4", "a:2:", "1:2:x"] {
            assert_eq!(invalid.parse::<Snapshot>(), Err(InvalidCursor), "{invalid}");
        }
    }

    #[test]
    fn cursor_round_trips_and_rejects_invalid_text() {
        let snapshot = Snapshot { xmin: 912, xmax: 920, in_progress: vec![912, 915] };
        let cursor = FeedCursor { epoch: 3, snapshot };
        assert_eq!(cursor.to_string(), "3.912:920:912,915");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert_eq!("3.9".parse::<FeedCursor>().unwrap().to_string(), "3.9:9:");
        for invalid in
            ["", "3", "3.", ".9", "3.-1", "a.b", "3.9.1", "99999999999999999999.1", "3.9:8:", "3.8:9:7", "3.8:9"]
        {
            assert_eq!(invalid.parse::<FeedCursor>(), Err(InvalidCursor), "{invalid}");
        }
    }
}
