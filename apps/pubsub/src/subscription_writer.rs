//! Writer of the subscription mirror: subscriptions and delivered log rows, in the database.
//!
//! The mirror is read by operators. The writer also publishes presence to other pods. It writes in
//! batches, in a task of its own.
//!
//! Must not: delay delivery to clients.

use crate::presence_codec;
use pmo_database::{DatabaseError, Pool, change_log as log, subscription_mirror};
use pmo_domain::EntityRef;
use pmo_feed::{ConnectionId, PodPresence, SubscriptionChange};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// Interval between batches.
const FLUSH_INTERVAL: Duration = Duration::from_millis(250);
/// Interval at which the leases of the connections are renewed.
const LEASE_RENEWAL: Duration = Duration::from_secs(30);
/// Time after which a write fails and is retried.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of buffered ids and rows while the database is unavailable.
///
/// Beyond it the buffer is discarded, and the mirror is incomplete until the connections subscribe
/// again.
const MAX_PENDING: usize = 2_000_000;

/// Command to the writer.
pub enum MirrorCommand {
    /// Change of a subscription.
    Mirror(SubscriptionChange),
    /// Delivered rows: transaction id and sequence number.
    Sent(Vec<(i64, i64)>),
    /// Viewers of an entity on this pod, for the other pods.
    Presence(PodPresence),
    /// Delete the entries of this pod and stop; the sender reports the end.
    Stop(oneshot::Sender<()>),
}

/// Buffered changes of this pod.
struct SubscriptionWriter {
    pool: Pool,
    pod: String,
    changes: Vec<SubscriptionChange>,
    sent: Vec<(i64, i64)>,
    /// Latest viewers of each entity.
    presence: BTreeMap<EntityRef, PodPresence>,
    /// User of each open connection.
    people: BTreeMap<ConnectionId, Uuid>,
    /// Number of buffered ids and rows.
    pending_items: usize,
    /// Whether a failure has been logged since the last successful write.
    failure_logged: bool,
}

/// Writes the received commands until [`MirrorCommand::Stop`].
pub(crate) async fn run(pool: Pool, mut commands: mpsc::UnboundedReceiver<MirrorCommand>) {
    let pod = Uuid::new_v4().simple().to_string();
    let (changes, sent, presence, people) = Default::default();
    let mut writer =
        SubscriptionWriter { pool, pod, changes, sent, presence, people, pending_items: 0, failure_logged: false };
    let mut renewal = tokio::time::interval(LEASE_RENEWAL);
    let mut batch = tokio::time::interval(FLUSH_INTERVAL);
    batch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut received = Vec::new();
    loop {
        tokio::select! {
            n = commands.recv_many(&mut received, 1000) => {
                if n == 0 {
                    return;
                }
                for command in received.drain(..) {
                    match command {
                        MirrorCommand::Stop(done) => {
                            let _ = tokio::time::timeout(Duration::from_secs(2), writer.delete_all()).await;
                            let _ = done.send(());
                            return;
                        }
                        command => writer.buffer(command),
                    }
                }
            }
            _ = renewal.tick() => {
                let outcome = with_timeout(writer.renew_lease()).await;
                writer.log_outcome(outcome);
            }
            _ = batch.tick(), if !(writer.changes.is_empty() && writer.sent.is_empty() && writer.presence.is_empty()) => {
                let outcome = with_timeout(writer.write()).await;
                writer.log_outcome(outcome);
            }
        }
    }
}

/// Fails a write that takes longer than [`WRITE_TIMEOUT`], so that commands do not accumulate.
async fn with_timeout(write: impl Future<Output = Result<(), DatabaseError>>) -> Result<(), DatabaseError> {
    let timed_out = |_| DatabaseError::Setup("the database did not respond in time".into());
    tokio::time::timeout(WRITE_TIMEOUT, write).await.map_err(timed_out)?
}

impl SubscriptionWriter {
    /// Buffers a command.
    fn buffer(&mut self, command: MirrorCommand) {
        match command {
            MirrorCommand::Mirror(change) => {
                match &change {
                    SubscriptionChange::Opened(id, person) => drop(self.people.insert(*id, person.0)),
                    SubscriptionChange::Closed(id) => drop(self.people.remove(id)),
                    _ => {}
                }
                self.pending_items += match &change {
                    SubscriptionChange::Subscribed(_, _, ids) | SubscriptionChange::Unsubscribed(_, _, Some(ids)) => {
                        1 + ids.len()
                    }
                    _ => 1,
                };
                self.changes.push(change);
            }
            MirrorCommand::Sent(rows) => {
                self.pending_items += rows.len();
                self.sent.extend(rows);
            }
            MirrorCommand::Presence(presence) => {
                self.pending_items += 1;
                self.presence.insert(presence.entity.clone(), presence);
            }
            MirrorCommand::Stop(_) => {}
        }
        if self.pending_items > MAX_PENDING {
            tracing::warn!("subscription mirror overflowed; entries dropped");
            self.clear();
        }
    }

    /// Empties the buffers and releases their memory.
    fn clear(&mut self) {
        (self.changes, self.sent, self.presence, self.pending_items) = Default::default();
    }

    /// Logs the first failure of a series.
    fn log_outcome(&mut self, outcome: Result<(), DatabaseError>) {
        match outcome {
            Ok(()) => self.failure_logged = false,
            Err(error) => {
                if !self.failure_logged {
                    tracing::warn!(%error, "subscription mirror write failed; will retry");
                }
                self.failure_logged = true;
            }
        }
    }

    /// Returns the key of a connection in the mirror, which is unique over all pods.
    fn connection_key(&self, id: ConnectionId) -> String {
        format!("{}-{}", &self.pod[..8], id.0)
    }

    /// Writes all buffered changes in one transaction.
    async fn write(&mut self) -> Result<(), DatabaseError> {
        let mut transaction = self.pool.begin().await.map_err(DatabaseError::from)?;
        let closed: Vec<String> = self
            .changes
            .iter()
            .filter_map(|change| match change {
                SubscriptionChange::Closed(id) => Some(self.connection_key(*id)),
                _ => None,
            })
            .collect();
        // Connections that were opened and closed within the batch are skipped. Each change renews
        // the lease, because a crash of the database empties the (unlogged) tables of the mirror.
        let leases: BTreeMap<String, Uuid> = self
            .changes
            .iter()
            .filter_map(|change| match change {
                SubscriptionChange::Opened(id, _) | SubscriptionChange::Subscribed(id, ..) => {
                    Some((self.connection_key(*id), *self.people.get(id)?))
                }
                _ => None,
            })
            .collect();
        subscription_mirror::delete_connections(&mut transaction, &closed).await?;
        subscription_mirror::upsert_leases(&mut transaction, &self.pod, &leases).await?;
        for change in &self.changes {
            match change {
                SubscriptionChange::Subscribed(id, code, ids) => {
                    let Some(person) = self.people.get(id) else { continue };
                    let codes = vec![code.to_string(); ids.len()];
                    subscription_mirror::subscribe(&mut transaction, &self.connection_key(*id), *person, &codes, ids)
                        .await?;
                }
                SubscriptionChange::Unsubscribed(id, code, ids) if self.people.contains_key(id) => {
                    let code = code.as_ref().map(|code| code.as_str());
                    subscription_mirror::unsubscribe(&mut transaction, &self.connection_key(*id), code, ids.as_deref())
                        .await?;
                }
                _ => {}
            }
        }
        if !self.sent.is_empty() {
            log::mark_delivered(&mut transaction, &self.sent).await?;
        }
        for presence in self.presence.values() {
            log::notify_presence(&mut transaction, &presence_codec::encode(presence)).await?;
        }
        transaction.commit().await.map_err(DatabaseError::from)?;
        self.clear();
        Ok(())
    }

    /// Renews the leases of all connections of this pod.
    async fn renew_lease(&mut self) -> Result<(), DatabaseError> {
        let mut connection = self.pool.acquire().await.map_err(DatabaseError::from)?;
        subscription_mirror::renew(&mut connection, &self.pod).await
    }

    /// Marks the last rows as delivered and deletes the entries of this pod.
    async fn delete_all(&mut self) -> Result<(), DatabaseError> {
        let mut connection = self.pool.acquire().await.map_err(DatabaseError::from)?;
        log::mark_delivered(&mut connection, &self.sent).await?;
        subscription_mirror::delete_pod(&mut connection, &self.pod).await
    }
}
