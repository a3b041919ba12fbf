//! Metrics of the schedule worker in the Prometheus text format.
//!
//! Must not: contain data of a project or a person.

use pmo_database::schedule::QueueState;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the histogram of run durations, in milliseconds.
const DURATION_BUCKETS_MS: [u64; 9] = [5, 10, 25, 50, 100, 250, 500, 1000, 5000];

/// Metrics of one process; written by its worker, read by any task.
#[derive(Default)]
pub struct ScheduleMetrics {
    failures: AtomicU64,
    tasks_written: AtomicU64,
    duration_buckets: [AtomicU64; DURATION_BUCKETS_MS.len() + 1],
    duration_sum_ms: AtomicU64,
    wait_sum_ms: AtomicU64,
}

impl ScheduleMetrics {
    /// Counts a run with its duration and with the age of the oldest change that it answers.
    pub fn observe_run(&self, duration: Duration, wait: Duration) {
        let ms = millis(duration);
        let bucket = DURATION_BUCKETS_MS.iter().position(|bound| ms <= *bound).unwrap_or(DURATION_BUCKETS_MS.len());
        self.duration_buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.duration_sum_ms.fetch_add(ms, Ordering::Relaxed);
        self.wait_sum_ms.fetch_add(millis(wait), Ordering::Relaxed);
    }

    /// Counts tasks whose derived columns were written.
    pub fn add_written(&self, tasks: i64) {
        self.tasks_written.fetch_add(u64::try_from(tasks).unwrap_or(0), Ordering::Relaxed);
    }

    /// Counts a failed run.
    pub fn add_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of runs, failed ones included.
    pub fn runs(&self) -> u64 {
        self.duration_buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// Returns the number of failed runs.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Returns all metrics as text; `queue` is absent if the database does not answer.
    pub fn render(&self, queue: Option<QueueState>) -> String {
        let mut page = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, value: &dyn Display| {
            let _ =
                writeln!(page, "# HELP pmo_api_{name} {help}\n# TYPE pmo_api_{name} {kind}\npmo_api_{name} {value}");
        };
        if let Some(QueueState { rows, age }) = queue {
            metric("schedule_queue_rows", "gauge", "Changes that wait for the schedule worker.", &rows);
            metric("schedule_queue_lag_seconds", "gauge", "Age of the oldest waiting change.", &age.as_secs_f64());
        }
        metric("schedule_failures_total", "counter", "Failed runs of the schedule worker.", &self.failures());
        let written = self.tasks_written.load(Ordering::Relaxed);
        metric("schedule_tasks_written_total", "counter", "Tasks whose computed dates were written.", &written);
        let wait = seconds(self.wait_sum_ms.load(Ordering::Relaxed));
        metric("schedule_wait_seconds_total", "counter", "Sum of the ages of the oldest change of each run.", &wait);
        self.render_durations(&mut page);
        page
    }

    fn render_durations(&self, page: &mut String) {
        let name = "pmo_api_schedule_run_duration_seconds";
        let _ = writeln!(page, "# HELP {name} Duration of a run for one project.\n# TYPE {name} histogram");
        let mut count = 0;
        let bounds = DURATION_BUCKETS_MS.iter().map(|ms| seconds(*ms).to_string()).chain(["+Inf".to_owned()]);
        for (bucket, bound) in self.duration_buckets.iter().zip(bounds) {
            count += bucket.load(Ordering::Relaxed);
            let _ = writeln!(page, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let sum = seconds(self.duration_sum_ms.load(Ordering::Relaxed));
        let _ = writeln!(page, "{name}_sum {sum}\n{name}_count {count}");
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Converts milliseconds to seconds, the base unit of Prometheus.
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_queue_runs_failures_and_durations() {
        let metrics = ScheduleMetrics::default();
        metrics.observe_run(Duration::from_millis(7), Duration::from_millis(1500));
        metrics.observe_run(Duration::from_secs(9), Duration::ZERO);
        metrics.add_failure();
        metrics.add_written(3);
        let page = metrics.render(Some(QueueState { rows: 2, age: Duration::from_millis(250) }));
        for line in [
            "pmo_api_schedule_queue_rows 2",
            "pmo_api_schedule_queue_lag_seconds 0.25",
            "pmo_api_schedule_failures_total 1",
            "pmo_api_schedule_tasks_written_total 3",
            "pmo_api_schedule_wait_seconds_total 1.5",
            "pmo_api_schedule_run_duration_seconds_bucket{le=\"0.01\"} 1",
            "pmo_api_schedule_run_duration_seconds_bucket{le=\"+Inf\"} 2",
            "pmo_api_schedule_run_duration_seconds_count 2",
        ] {
            assert!(page.lines().any(|other| other == line), "{line}: {page}");
        }
        assert!(!metrics.render(None).contains("queue"), "unknown values are absent");
    }
}
