//! The reading position beside a modelled log: every committed row is read once, as soon as it is visible.

use crate::{LogRange, LogReader};
use pmo_domain::change_log::ChangeLogEntry;
use pmo_domain::{EntityCode, Snapshot, Version};
use std::collections::BTreeSet;
use uuid::Uuid;

/// A database as the reader knows it: transactions that number their rows in one order and commit in another.
#[derive(Default)]
struct Log {
    next_xid: i64,
    next_seq: i64,
    running: BTreeSet<i64>,
    rows: Vec<ChangeLogEntry>,
    gone: BTreeSet<i64>,
}

impl Log {
    fn begin(&mut self) -> i64 {
        self.next_xid += 1;
        self.running.insert(self.next_xid);
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
            tx_started_at_ms: 0,
            parents: Vec::new(),
        });
    }
    fn finish(&mut self, xid: i64, commits: bool) {
        self.running.remove(&xid);
        if !commits {
            self.gone.insert(xid);
        }
    }
    fn snapshot(&self) -> Snapshot {
        let xmax = self.next_xid + 1;
        let running: Vec<i64> = self.running.iter().copied().collect();
        Snapshot { xmin: running.first().copied().unwrap_or(xmax), xmax, in_progress: running }
    }
    fn visible(&self) -> impl Iterator<Item = &ChangeLogEntry> {
        self.rows.iter().filter(|r| !self.running.contains(&r.xid) && !self.gone.contains(&r.xid))
    }
    fn answer(&self, ask: &LogRange, limit: usize) -> (Vec<ChangeLogEntry>, bool) {
        let mut rows: Vec<ChangeLogEntry> = self
            .visible()
            .filter(|r| r.xid >= ask.from || ask.finished.contains(&r.xid))
            .filter(|r| ask.until.as_ref().is_none_or(|until| until.is_visible(r.xid)))
            .filter(|r| ask.after.is_none_or(|after| (r.xid, r.seq) > after))
            .cloned()
            .collect();
        rows.sort_by_key(|r| (r.xid, r.seq));
        rows.truncate(limit);
        let cut_short = rows.len() == limit;
        (rows, cut_short)
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(2000))]
    #[test]
    fn every_committed_row_is_read_once_as_soon_as_it_is_visible(
        steps in proptest::collection::vec((0..6u8, 0..8usize), 1..80), limit in 1..5usize, patience in 0..3usize
    ) {
        let mut log = Log::default();
        let mut reader = LogReader::new(1, log.snapshot());
        let mut read: Vec<i64> = Vec::new();
        let mut horizon = reader.cursor().snapshot.xmin;
        for (step, which) in steps.into_iter().chain([(5, 0)]) {
            let chosen = log.running.iter().copied().nth(which % log.running.len().max(1));
            match (step, chosen) {
                (0, _) => drop(log.begin()),
                (1 | 2, Some(xid)) => log.write(xid),
                (3, Some(xid)) => log.finish(xid, true),
                (4, Some(xid)) => log.finish(xid, which != 0),
                _ => {
                    // A look may be broken off between its parts, and others write meanwhile.
                    for part in 0.. {
                        let (rows, cut_short) = log.answer(&reader.next_range(), limit);
                        read.extend(rows.iter().map(|r| r.seq));
                        let again = reader.accept(&rows, log.snapshot(), cut_short);
                        if !again || (part > patience && step != 5) {
                            break;
                        }
                        if part == 0 && which > 4 {
                            let xid = log.begin();
                            log.write(xid);
                            log.finish(xid, true);
                        }
                    }
                    proptest::prop_assert!(reader.cursor().snapshot.xmin >= horizon, "the cursor goes forward");
                    horizon = reader.cursor().snapshot.xmin;
                    if step == 5 {
                        let visible: BTreeSet<i64> = log.visible().map(|r| r.seq).collect();
                        proptest::prop_assert_eq!(read.iter().copied().collect::<BTreeSet<_>>(), visible, "all that is visible is read");
                    }
                }
            }
            let once: BTreeSet<i64> = read.iter().copied().collect();
            proptest::prop_assert_eq!(once.len(), read.len(), "nothing is read twice");
        }
    }
}

#[test]
fn a_slow_writer_holds_the_cursor_and_nothing_else() {
    let mut log = Log::default();
    let mut reader = LogReader::new(1, log.snapshot());
    let slow = log.begin();
    log.write(slow);
    for _ in 0..1000 {
        let quick = log.begin();
        log.write(quick);
        log.finish(quick, true);
    }
    let (rows, _) = log.answer(&reader.next_range(), 5000);
    assert_eq!(rows.len(), 1000, "the rest is not held up");
    assert!(!reader.accept(&rows, log.snapshot(), false));
    assert_eq!(reader.cursor().snapshot.xmin, slow);
    log.finish(slow, true);
    let (rows, _) = log.answer(&reader.next_range(), 5000);
    assert_eq!(rows.iter().map(|r| r.xid).collect::<Vec<_>>(), [slow], "nothing comes twice");
    reader.accept(&rows, log.snapshot(), false);
    assert_eq!(reader.cursor().snapshot.xmin, 1002);
}
