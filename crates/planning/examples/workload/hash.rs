//! Hash of a schedule, to compare the results of two builds.

use pmo_planning::{Driver, Moment, Schedule, Span};

/// Hash by the method FNV-1a.
#[derive(Clone, Copy)]
pub(crate) struct Hash(pub(crate) u64);

impl Hash {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, number: i32) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn add_moments(&mut self, moments: &[Moment]) {
        moments.iter().for_each(|moment| self.add(moment.0));
    }

    fn add_spans(&mut self, spans: &[Span]) {
        spans.iter().for_each(|span| self.add(span.0));
    }

    fn add_driver(&mut self, driver: Driver) {
        let (kind, position) = match driver {
            Driver::ProjectStart => (0, 0),
            Driver::ProjectFinish => (1, 0),
            Driver::Link(link) => (2, link),
            Driver::Constraint(task) => (3, task),
            Driver::Actual => (4, 0),
            Driver::Manual(task) => (5, task),
            Driver::StatusDate => (6, 0),
            Driver::Leveling => (7, 0),
            Driver::Calendar(calendar) => (8, u32::from(calendar.0)),
            Driver::Child(task) => (9, task),
        };
        self.add(kind);
        self.add(position.cast_signed());
    }

    /// Adds all columns of a schedule, and the number of its problems.
    pub(crate) fn add_schedule(&mut self, schedule: &Schedule) {
        let early = [&schedule.start, &schedule.finish, &schedule.early_start, &schedule.early_finish];
        let late = [&schedule.late_start, &schedule.late_finish, &schedule.resume];
        early.into_iter().chain(late).for_each(|column| self.add_moments(column));
        let slack = [&schedule.total_slack, &schedule.free_slack, &schedule.start_slack, &schedule.finish_slack];
        slack.into_iter().chain([&schedule.duration]).for_each(|column| self.add_spans(column));
        schedule.critical.iter().for_each(|critical| self.add(i32::from(*critical)));
        schedule.percent_complete.iter().for_each(|percent| self.add(i32::from(*percent)));
        schedule.start_driver.iter().chain(&schedule.finish_driver).for_each(|driver| self.add_driver(*driver));
        self.add_moments(&[schedule.project_start, schedule.project_finish]);
        self.add(i32::try_from(schedule.problems.len()).unwrap_or(i32::MAX));
    }
}
