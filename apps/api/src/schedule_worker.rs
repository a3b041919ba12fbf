//! The schedule worker: computes the dates of projects whose inputs have changed.
//!
//! Triggers append to a queue, and each api process has one worker. A run takes all changes of one
//! project from the queue, computes the schedule and writes the tasks that differ, in one
//! transaction. Workers share the projects through advisory locks.
//!
//! Invariant: a failed or interrupted run leaves the queue as it was, and does not keep other
//! projects from being scheduled.
//!
//! Must not: hold a lock while waiting for anything but the database and the computation.

mod compute; // rows to derived columns, pure
pub mod metrics; // values for /metrics

use metrics::ScheduleMetrics;
use pmo_database::change_log::{LOG_CHANNEL, notify};
use pmo_database::schedule::{self, Claim, PlanRows};
use pmo_database::{Actor, DatabaseError, DriverError, Listener, NotifyMode, Pool};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use uuid::Uuid;

/// Interval at which the queue is read without a notification.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum duration of the computation of a project.
const COMPUTE_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause after the first failure of a project; doubled after each further one.
const MIN_BACKOFF: Duration = Duration::from_secs(1);
/// Longest pause after failures.
const MAX_BACKOFF: Duration = Duration::from_secs(300);
/// Pause before a lost connection for notifications is opened again.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// Pause after the queue could not be read.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// Pause of a project whose rows or changes another transaction has locked.
const LOCKED_DELAY: Duration = Duration::from_millis(200);

/// Reason why a project could not be scheduled.
#[derive(Debug, thiserror::Error)]
enum RunError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A row is not the JSON that the worker expects.
    #[error("a row cannot be read: {0}")]
    Row(#[from] serde_json::Error),
    /// The computation took longer than [`COMPUTE_TIMEOUT`].
    #[error("the computation took too long")]
    Timeout,
    /// The computation panicked.
    #[error("the computation failed")]
    Computation,
}

/// Failures of a project in a row, and when it is tried again.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    failures: u32,
    retry_at: Instant,
}

/// Result of one look at the queue.
enum Step {
    /// No project is waiting, or all are locked by other workers or failed a moment ago.
    Idle,
    /// A project was scheduled, or another worker had just done so.
    Scheduled,
}

/// Worker of one process.
pub struct ScheduleWorker {
    pool: Pool,
    notify_mode: NotifyMode,
    metrics: Arc<ScheduleMetrics>,
    backoffs: BTreeMap<Uuid, Backoff>,
}

impl ScheduleWorker {
    /// Creates the worker; it runs when [`Self::run`] or [`Self::run_pending`] is called.
    pub fn new(pool: Pool, notify_mode: NotifyMode, metrics: Arc<ScheduleMetrics>) -> Self {
        Self { pool, notify_mode, metrics, backoffs: BTreeMap::new() }
    }

    /// Schedules projects after each notification and at each poll, until the pool is closed.
    pub async fn run(mut self) {
        let log_changed = Arc::new(Notify::new());
        tokio::spawn(listen(self.pool.clone(), log_changed.clone()));
        while !self.pool.is_closed() {
            if let Err(error) = self.run_pending().await {
                tracing::warn!(%error, "schedule worker: queue cannot be read; trying again");
                tokio::time::sleep(RETRY_DELAY).await;
            }
            // Without a notification, the queue is read at the next poll.
            let _ = tokio::time::timeout(POLL_INTERVAL, log_changed.notified()).await;
        }
    }

    /// Schedules all projects that are waiting; returns their number.
    ///
    /// # Errors
    /// An error of the database that concerns no project. A project that fails is logged, counted
    /// and tried again later.
    pub async fn run_pending(&mut self) -> Result<usize, DatabaseError> {
        let mut scheduled = 0;
        loop {
            match self.run_next().await? {
                Step::Idle => return Ok(scheduled),
                Step::Scheduled => scheduled += 1,
            }
        }
    }

    /// Schedules the project that has waited longest.
    async fn run_next(&mut self) -> Result<Step, DatabaseError> {
        let now = Instant::now();
        let excluded: Vec<Uuid> =
            self.backoffs.iter().filter(|(_, backoff)| backoff.retry_at > now).map(|(project, _)| *project).collect();
        let mut transaction = pmo_database::begin(&self.pool, &Actor::default()).await?;
        let Some(claim) = schedule::claim_project(&mut transaction, &excluded).await? else { return Ok(Step::Idle) };
        if claim.row_count == 0 {
            // Another worker has just taken the changes, or an operator has locked them.
            self.postpone(claim.project);
            return Ok(Step::Scheduled);
        }
        let started = Instant::now();
        let result = self.schedule(transaction, &claim).await;
        self.metrics.observe_run(started.elapsed(), claim.age);
        match result {
            Ok(written) => {
                self.backoffs.remove(&claim.project);
                self.metrics.add_written(written);
            }
            Err(error) => self.record_failure(claim.project, &error),
        }
        Ok(Step::Scheduled)
    }

    /// Computes and writes the schedule of a claimed project; returns the number of tasks written.
    async fn schedule(&self, mut transaction: pmo_database::Transaction, claim: &Claim) -> Result<i64, RunError> {
        let mut written = 0;
        if let Some(rows) = schedule::load_plan(&mut transaction, claim.project).await? {
            let write = compute_in_background(rows).await?;
            written = schedule::write_derived(&mut transaction, claim, &write).await?;
        }
        transaction.commit().await.map_err(DatabaseError::from)?;
        if self.notify_mode == NotifyMode::AfterCommit {
            let mut connection = self.pool.acquire().await.map_err(DatabaseError::from)?;
            notify(&mut connection).await?;
        }
        Ok(written)
    }

    /// Leaves a project out for a moment.
    fn postpone(&mut self, project: Uuid) {
        self.backoffs.insert(project, Backoff { failures: 0, retry_at: Instant::now() + LOCKED_DELAY });
    }

    /// Logs and counts a failure, and excludes the project for a while.
    fn record_failure(&mut self, project: Uuid, error: &RunError) {
        if matches!(error, RunError::Database(DatabaseError::LockContention)) {
            // A writer holds a row of the plan and will be done soon; the worker gives way.
            return self.postpone(project);
        }
        let failures = self.backoffs.get(&project).map_or(0, |backoff| backoff.failures).saturating_add(1);
        let pause = backoff_after(failures);
        tracing::warn!(%project, %error, failures, retry_seconds = pause.as_secs(), "schedule worker: project failed");
        self.backoffs.insert(project, Backoff { failures, retry_at: Instant::now() + pause });
        self.metrics.add_failure();
    }
}

/// Passes on notifications about the change log; a lost connection is replaced.
async fn listen(pool: Pool, log_changed: Arc<Notify>) {
    while !pool.is_closed() {
        let listening = async {
            let mut listener = Listener::connect_with(&pool).await?;
            listener.listen(LOG_CHANNEL).await?;
            loop {
                listener.recv().await?;
                // One look at the queue answers all notifications that have arrived.
                while listener.next_buffered().is_some() {}
                log_changed.notify_one();
            }
        };
        let outcome: Result<(), DriverError> = listening.await;
        if let Err(error) = outcome {
            tracing::debug!(%error, "schedule worker: LISTEN connection lost; falling back to polling");
        }
        tokio::time::sleep(RECONNECT_DELAY).await;
    }
}

/// Returns the pause after a number of failures in a row.
fn backoff_after(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    MIN_BACKOFF.saturating_mul(factor).min(MAX_BACKOFF)
}

/// Computes on a thread for blocking work, so that requests do not wait for a large plan.
async fn compute_in_background(rows: PlanRows) -> Result<schedule::DerivedWrite, RunError> {
    let computation = tokio::task::spawn_blocking(move || compute::derive(&rows));
    match tokio::time::timeout(COMPUTE_TIMEOUT, computation).await {
        Err(_elapsed) => Err(RunError::Timeout),
        Ok(Err(_panicked)) => Err(RunError::Computation),
        Ok(Ok(result)) => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let seconds: Vec<u64> = [1, 2, 3, 9, 10, 40, u32::MAX].map(|n| backoff_after(n).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 256, 300, 300, 300]);
    }
}
