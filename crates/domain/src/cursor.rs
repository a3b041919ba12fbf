//! Where a reader stands in the change feed. To clients it is an opaque text; only the servers look inside.

use std::fmt;
use std::str::FromStr;

/// A place in the feed: every row of `epoch` that is settled in the snapshot has been seen. Sequence numbers are no use for this, because
/// transactions commit in another order than they number their rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedCursor {
    /// The incarnation of the database: transaction numbers mean nothing in another.
    pub epoch: i64,
    /// What was settled when the reader looked.
    pub snapshot: Snapshot,
}

/// Changes of access are told for a million transactions; what is older than half of them is not gone on from.
pub const ACCESS_CHANGE_WINDOW_XIDS: i64 = 500_000;

/// A text that is no cursor of this feed.
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
        let (epoch, read) = text.split_once('.').ok_or(InvalidCursor)?;
        let number = |part: &str| part.parse::<i64>().ok().filter(|n| *n >= 0).ok_or(InvalidCursor);
        let read = match read.contains(':') {
            true => read.parse()?,
            // Short for: everything below it.
            false => Snapshot { xmin: number(read)?, xmax: number(read)?, in_progress: Vec::new() },
        };
        Ok(Self { epoch: number(epoch)?, snapshot: read })
    }
}

/// What of the database was settled at a moment, as `pg_snapshot` tells it: transactions below `xmin` are finished, those from `xmax` on had not
/// begun, and between them `running` were under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The oldest that was under way.
    pub xmin: i64,
    /// The first that had not begun.
    pub xmax: i64,
    /// Those under way, in order.
    pub in_progress: Vec<i64>,
}

impl Snapshot {
    /// Whether a transaction that has committed by now had done so then.
    pub fn is_visible(&self, xid: i64) -> bool {
        xid < self.xmin || (xid < self.xmax && !self.in_progress.contains(&xid))
    }

    /// Whether all that was settled in `other` is settled in this.
    pub fn covers(&self, other: &Snapshot) -> bool {
        let missing = |xid: &i64| *xid < other.xmax && other.is_visible(*xid);
        other.xmax <= self.xmax && !self.in_progress.iter().any(missing)
    }
}

/// More transactions than any server runs at once.
const MAX_IN_PROGRESS: usize = 10_000;

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running: Vec<String> = self.in_progress.iter().map(i64::to_string).collect();
        write!(f, "{}:{}:{}", self.xmin, self.xmax, running.join(","))
    }
}

impl FromStr for Snapshot {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let mut parts = text.split(':');
        let (Some(xmin), Some(xmax), Some(running), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidCursor);
        };
        let number = |part: &str| part.parse::<i64>().ok().filter(|n| *n >= 0).ok_or(InvalidCursor);
        let running: Vec<i64> = running.split(',').filter(|x| !x.is_empty()).map(number).collect::<Result<_, _>>()?;
        let (xmin, xmax) = (number(xmin)?, number(xmax)?);
        let right =
            xmin <= xmax && running.len() <= MAX_IN_PROGRESS && running.iter().all(|x| (xmin..xmax).contains(x));
        if right { Ok(Self { xmin, xmax, in_progress: running }) } else { Err(InvalidCursor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_tells_what_was_settled() {
        let snapshot: Snapshot = "10:14:10,12".parse().unwrap();
        let seen: Vec<i64> = (8..16).filter(|xid| snapshot.is_visible(*xid)).collect();
        assert_eq!(seen, [8, 9, 11, 13]);
        assert_eq!(snapshot.to_string(), "10:14:10,12");
        let snapshot = |text: &str| text.parse::<Snapshot>().unwrap();
        let all = ["9:9:", "10:14:10,12", "10:14:12", "13:14:", "10:20:10,15", "20:20:"].map(snapshot);
        for one in &all {
            for other in &all {
                let plainly = (0..30).all(|xid| !other.is_visible(xid) || one.is_visible(xid));
                assert_eq!(one.covers(other), plainly, "{one} {other}");
            }
        }
        assert_eq!("7:7:".parse::<Snapshot>().unwrap().to_string(), "7:7:");
        for bad in ["", "1:2", "1:2:3:4", "a:2:", "1:2:x"] {
            assert_eq!(bad.parse::<Snapshot>(), Err(InvalidCursor), "{bad}");
        }
    }

    #[test]
    fn a_cursor_reads_back_what_it_wrote_and_refuses_the_rest() {
        let read = Snapshot { xmin: 912, xmax: 920, in_progress: vec![912, 915] };
        let cursor = FeedCursor { epoch: 3, snapshot: read };
        assert_eq!(cursor.to_string(), "3.912:920:912,915");
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        assert_eq!("3.9".parse::<FeedCursor>().unwrap().to_string(), "3.9:9:");
        for bad in ["", "3", "3.", ".9", "3.-1", "a.b", "3.9.1", "99999999999999999999.1", "3.9:8:", "3.8:9:7", "3.8:9"]
        {
            assert_eq!(bad.parse::<FeedCursor>(), Err(InvalidCursor), "{bad}");
        }
    }
}
