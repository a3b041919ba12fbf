//! Bare passes over the same tasks and links: whole numbers of working time, no calendars, no
//! constraints, no reasons. The lower bound for the engine.

use crate::plans::Rows;
use pmo_planning::{Lag, LinkKind};

/// Link as the bare passes see it.
#[derive(Clone, Copy)]
struct BareLink {
    other: u32,
    kind: LinkKind,
    lag: i32,
}

/// Links by task, in one array.
struct BareLinks {
    start: Vec<u32>,
    links: Vec<BareLink>,
}

impl BareLinks {
    fn new(tasks: usize, pairs: &[(u32, BareLink)]) -> Self {
        let mut start = vec![0_u32; tasks + 1];
        pairs.iter().for_each(|(task, _)| start[*task as usize + 1] += 1);
        for task in 0..tasks {
            start[task + 1] += start[task];
        }
        let mut next = start.clone();
        let mut links = vec![BareLink { other: 0, kind: LinkKind::default(), lag: 0 }; pairs.len()];
        for (task, link) in pairs {
            links[next[*task as usize] as usize] = *link;
            next[*task as usize] += 1;
        }
        Self { start, links }
    }

    fn of(&self, task: usize) -> &[BareLink] {
        &self.links[self.start[task] as usize..self.start[task + 1] as usize]
    }
}

/// Dates in units of work, with the arrays of the passes.
pub(crate) struct Bare {
    length: Vec<i32>,
    into: BareLinks,
    out: BareLinks,
    early: Vec<i32>,
    late: Vec<i32>,
    slack: Vec<i32>,
    dirty: Vec<u64>,
    finish: i32,
}

impl Bare {
    pub(crate) fn new(rows: &Rows) -> Self {
        let tasks = rows.tasks.len();
        let lag = |lag: Lag| match lag {
            Lag::Working(span) | Lag::Elapsed(span) => span.0,
            Lag::Percent(_) | Lag::ElapsedPercent(_) => 0,
        };
        let link = |other: u32, link: &pmo_planning::Link| BareLink { other, kind: link.kind, lag: lag(link.lag) };
        let into: Vec<_> = rows.links.iter().map(|entry| (entry.successor, link(entry.predecessor, entry))).collect();
        let out: Vec<_> = rows.links.iter().map(|entry| (entry.predecessor, link(entry.successor, entry))).collect();
        Self {
            length: rows.tasks.iter().map(|row| row.hours * 600).collect(),
            into: BareLinks::new(tasks, &into),
            out: BareLinks::new(tasks, &out),
            early: vec![0; tasks],
            late: vec![0; tasks],
            slack: vec![0; tasks],
            dirty: vec![0; tasks.div_ceil(64)],
            finish: 0,
        }
    }

    fn early_of(&self, task: usize) -> i32 {
        let length = self.length[task];
        let asked = self.into.of(task).iter().map(|link| {
            let (start, other) = (self.early[link.other as usize], self.length[link.other as usize]);
            match link.kind {
                LinkKind::FinishToStart => start + other + link.lag,
                LinkKind::StartToStart => start + link.lag,
                LinkKind::FinishToFinish => start + other + link.lag - length,
                LinkKind::StartToFinish => start + link.lag - length,
            }
        });
        asked.fold(0, i32::max)
    }

    fn late_of(&self, task: usize) -> i32 {
        let length = self.length[task];
        let allowed = self.out.of(task).iter().map(|link| {
            let (start, other) = (self.late[link.other as usize], self.length[link.other as usize]);
            match link.kind {
                LinkKind::FinishToStart => start - link.lag - length,
                LinkKind::StartToStart => start - link.lag,
                LinkKind::FinishToFinish => start + other - link.lag - length,
                LinkKind::StartToFinish => start + other - link.lag,
            }
        });
        allowed.fold(self.finish - length, i32::min)
    }

    /// Computes all dates; returns the finish.
    pub(crate) fn full(&mut self) -> i32 {
        let tasks = self.length.len();
        for task in 0..tasks {
            self.early[task] = self.early_of(task);
        }
        self.finish = (0..tasks).map(|task| self.early[task] + self.length[task]).max().unwrap_or(0);
        for task in (0..tasks).rev() {
            self.late[task] = self.late_of(task);
            self.slack[task] = self.late[task] - self.early[task];
        }
        self.finish
    }

    /// Changes the length of a task and sweeps what depends on it; returns the number of tasks.
    pub(crate) fn change(&mut self, task: u32, length: i32) -> u32 {
        self.length[task as usize] = length;
        self.mark(task);
        self.out.of(task as usize).iter().for_each(|link| mark(&mut self.dirty, link.other));
        let mut visited = 0;
        for word in 0..self.dirty.len() {
            while self.dirty[word] != 0 {
                let bit = self.dirty[word].trailing_zeros() as usize;
                self.dirty[word] &= self.dirty[word] - 1;
                visited += 1;
                let task = word * 64 + bit;
                let early = self.early_of(task);
                if early != self.early[task] {
                    self.early[task] = early;
                    self.slack[task] = self.late[task] - early;
                    self.out.of(task).iter().for_each(|link| mark(&mut self.dirty, link.other));
                }
            }
        }
        let tasks = self.length.len();
        let finish = (0..tasks).map(|task| self.early[task] + self.length[task]).max().unwrap_or(0);
        if finish != self.finish {
            self.full();
            return u32::try_from(tasks).unwrap_or(u32::MAX);
        }
        visited + self.sweep_late(task)
    }

    fn sweep_late(&mut self, task: u32) -> u32 {
        self.mark(task);
        self.into.of(task as usize).iter().for_each(|link| mark(&mut self.dirty, link.other));
        let mut visited = 0;
        for word in (0..self.dirty.len()).rev() {
            while self.dirty[word] != 0 {
                let bit = 63 - self.dirty[word].leading_zeros() as usize;
                self.dirty[word] &= !(1 << bit);
                visited += 1;
                let task = word * 64 + bit;
                let late = self.late_of(task);
                if late != self.late[task] {
                    self.late[task] = late;
                    self.slack[task] = late - self.early[task];
                    self.into.of(task).iter().for_each(|link| mark(&mut self.dirty, link.other));
                }
            }
        }
        visited
    }

    fn mark(&mut self, task: u32) {
        mark(&mut self.dirty, task);
    }
}

fn mark(dirty: &mut [u64], task: u32) {
    dirty[task as usize / 64] |= 1 << (task % 64);
}
