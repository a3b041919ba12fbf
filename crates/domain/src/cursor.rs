//! Where a reader stands in the change feed. To clients it is an opaque text; only the servers look inside.

use std::fmt;
use std::str::FromStr;

/// A place in the feed: every row of `epoch` whose transaction is older than `horizon` has been seen. Sequence numbers are
/// no use for this, because transactions commit in another order than they number their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedCursor {
    /// The incarnation of the database: transaction numbers mean nothing in another.
    pub epoch: i64,
    /// The oldest transaction that was still running when the reader looked (`pg_snapshot_xmin`).
    pub horizon: i64,
}

/// A text that is no cursor of this feed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a cursor of this feed")]
pub struct BadCursor;

impl fmt::Display for FeedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.horizon)
    }
}

impl FromStr for FeedCursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let (epoch, horizon) = text.split_once('.').ok_or(BadCursor)?;
        let number = |part: &str| part.parse::<i64>().ok().filter(|n| *n >= 0).ok_or(BadCursor);
        Ok(Self { epoch: number(epoch)?, horizon: number(horizon)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_what_it_wrote_and_refuses_the_rest() {
        let cursor = FeedCursor { epoch: 3, horizon: 912 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in ["", "3", "3.", ".9", "3.-1", "a.b", "3.9.1", "99999999999999999999.1"] {
            assert_eq!(bad.parse::<FeedCursor>(), Err(BadCursor), "{bad}");
        }
    }
}
