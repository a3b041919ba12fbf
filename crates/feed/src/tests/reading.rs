//! Tests of the log reader against a model log.
//!
//! Each committed row is read once, as soon as it is visible.

use crate::LogReader;
use pmo_domain::change_log::{ChangeLogEntry, LogBatch, LogRange};
use pmo_domain::{EntityCode, Snapshot, UnixMillis, Version};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Model log in which transactions commit in another order than they number their rows.
#[derive(Default)]
struct Log {
    next_xid: i64,
    next_seq: i64,
    in_progress: BTreeSet<i64>,
    rows: Vec<ChangeLogEntry>,
    rolled_back: BTreeSet<i64>,
}

impl Log {
    fn begin(&mut self) -> i64 {
        self.next_xid += 1;
        self.in_progress.insert(self.next_xid);
        self.next_xid
    }
    fn write(&mut self, xid: i64) {
        self.next_seq += 1;
        self.rows.push(ChangeLogEntry {
            seq: self.next_seq,
            xid,
            code: EntityCode::new("task").unwrap(),
            id: Uuid::from_u128(10),
            action: 3,
            version: Version(1),
            diff: Default::default(),
            ancestor_set: None,
            tx_started_at: UnixMillis::EPOCH,
            parents: Vec::new(),
        });
    }
    fn commit(&mut self, xid: i64) {
        self.in_progress.remove(&xid);
    }
    fn roll_back(&mut self, xid: i64) {
        self.in_progress.remove(&xid);
        self.rolled_back.insert(xid);
    }
    fn snapshot(&self) -> Snapshot {
        let xmax = self.next_xid + 1;
        let in_progress: Vec<i64> = self.in_progress.iter().copied().collect();
        Snapshot { xmin: in_progress.first().copied().unwrap_or(xmax), xmax, in_progress }
    }
    fn visible(&self) -> impl Iterator<Item = &ChangeLogEntry> {
        self.rows.iter().filter(|r| !self.in_progress.contains(&r.xid) && !self.rolled_back.contains(&r.xid))
    }
    fn read(&self, range: &LogRange, limit: usize) -> LogBatch {
        let mut rows: Vec<ChangeLogEntry> = self
            .visible()
            .filter(|r| r.xid >= range.from || range.finished.contains(&r.xid))
            .filter(|r| range.until.as_ref().is_none_or(|until| until.is_visible(r.xid)))
            .filter(|r| range.after.is_none_or(|after| (r.xid, r.seq) > after))
            .cloned()
            .collect();
        rows.sort_by_key(|r| (r.xid, r.seq));
        rows.truncate(limit);
        let has_more = rows.len() == limit;
        let (access, db_now) = (BTreeSet::new(), UnixMillis::EPOCH);
        LogBatch { rows, access, snapshot: self.snapshot(), epoch: 1, has_more, db_now }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(2000))]
    #[test]
    fn committed_rows_are_read_once_when_visible(
        steps in proptest::collection::vec((0..6u8, 0..8usize), 1..80), limit in 1..5usize, max_parts in 0..3usize
    ) {
        let mut log = Log::default();
        let mut reader = LogReader::new(1, log.snapshot());
        let mut read: Vec<i64> = Vec::new();
        let mut horizon = reader.cursor().snapshot.xmin;
        for (step, which) in steps.into_iter().chain([(5, 0)]) {
            let chosen = log.in_progress.iter().copied().nth(which % log.in_progress.len().max(1));
            match (step, chosen) {
                (0, _) => drop(log.begin()),
                (1 | 2, Some(xid)) => log.write(xid),
                (4, Some(xid)) if which == 0 => log.roll_back(xid),
                (3 | 4, Some(xid)) => log.commit(xid),
                _ => {
                    // A poll may stop after a part of its range, and others write meanwhile.
                    for part in 0.. {
                        let batch = log.read(&reader.next_range(), limit);
                        read.extend(batch.rows.iter().map(|r| r.seq));
                        let read_again = reader.accept(batch);
                        if !read_again || (part > max_parts && step != 5) {
                            break;
                        }
                        if part == 0 && which > 4 {
                            let xid = log.begin();
                            log.write(xid);
                            log.commit(xid);
                        }
                    }
                    proptest::prop_assert!(reader.cursor().snapshot.xmin >= horizon, "the cursor advances");
                    horizon = reader.cursor().snapshot.xmin;
                    if step == 5 {
                        let visible: BTreeSet<i64> = log.visible().map(|r| r.seq).collect();
                        proptest::prop_assert_eq!(read.iter().copied().collect::<BTreeSet<_>>(), visible, "every visible row is read");
                    }
                }
            }
            let distinct: BTreeSet<i64> = read.iter().copied().collect();
            proptest::prop_assert_eq!(distinct.len(), read.len(), "no row is read twice");
        }
    }
}

#[test]
fn long_transaction_holds_back_the_cursor_but_no_rows() {
    let mut log = Log::default();
    let mut reader = LogReader::new(1, log.snapshot());
    let slow = log.begin();
    log.write(slow);
    for _ in 0..1000 {
        let quick = log.begin();
        log.write(quick);
        log.commit(quick);
    }
    let batch = log.read(&reader.next_range(), 5000);
    assert_eq!(batch.rows.len(), 1000, "other rows are not delayed");
    assert!(!reader.accept(batch));
    assert_eq!(reader.cursor().snapshot.xmin, slow);
    log.commit(slow);
    let batch = log.read(&reader.next_range(), 5000);
    assert_eq!(batch.rows.iter().map(|r| r.xid).collect::<Vec<_>>(), [slow], "no row is read twice");
    reader.accept(batch);
    assert_eq!(reader.cursor().snapshot.xmin, 1002);
}
