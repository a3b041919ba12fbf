//! The durable mirror: who watches what, and which rows of the log were handed on, for people who operate this and for other pods. It is written
//! in batches beside everything else, and must never stand between a client and its changes.

use crate::presence_codec;
use pmo_database::{DatabaseError, Pool, change_log as log, subscription_mirror};
use pmo_domain::EntityRef;
use pmo_feed::{ConnectionId, PodPresence, SubscriptionChange};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// Time between two batches.
const FLUSH_INTERVAL: Duration = Duration::from_millis(250);
/// A connection's lease is renewed this often.
const LEASE_RENEWAL: Duration = Duration::from_secs(30);
/// How long writing may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Ids and rows that wait while the database does not answer; beyond that the mirror is incomplete until its sockets come anew.
const MAX_PENDING: usize = 2_000_000;

/// Something to write down.
pub enum MirrorCommand {
    /// Who watches what.
    Mirror(SubscriptionChange),
    /// Rows that were handed on: transaction and number.
    Sent(Vec<(i64, i64)>),
    /// Who looks at a thing here, for the other pods.
    Looking(PodPresence),
    /// The pod stops.
    Stop(oneshot::Sender<()>),
}

/// The pod's own pages of the mirror.
struct SubscriptionWriter {
    pool: Pool,
    pod: String,
    waiting: Vec<SubscriptionChange>,
    sent: Vec<(i64, i64)>,
    /// The last word of each thing.
    looking: BTreeMap<EntityRef, PodPresence>,
    people: BTreeMap<ConnectionId, Uuid>,
    /// Ids and rows that wait.
    pending_items: usize,
    complained: bool,
}

/// Writes down what comes until the pod stops.
pub async fn run(pool: Pool, mut notes: mpsc::UnboundedReceiver<MirrorCommand>) {
    let pod = Uuid::new_v4().simple().to_string();
    let (waiting, sent, looking, people) = Default::default();
    let mut pages =
        SubscriptionWriter { pool, pod, waiting, sent, looking, people, pending_items: 0, complained: false };
    let mut renewal = tokio::time::interval(LEASE_RENEWAL);
    let mut batch = tokio::time::interval(FLUSH_INTERVAL);
    batch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut some = Vec::new();
    loop {
        tokio::select! {
            n = notes.recv_many(&mut some, 1000) => {
                if n == 0 {
                    return;
                }
                for note in some.drain(..) {
                    match note {
                        MirrorCommand::Stop(done) => {
                            let _ = tokio::time::timeout(Duration::from_secs(2), pages.delete_all()).await;
                            let _ = done.send(());
                            return;
                        }
                        note => pages.buffer(note),
                    }
                }
            }
            _ = renewal.tick() => {
                let outcome = with_timeout(pages.renew_lease()).await;
                pages.log_outcome(outcome);
            }
            _ = batch.tick(), if !(pages.waiting.is_empty() && pages.sent.is_empty() && pages.looking.is_empty()) => {
                let outcome = with_timeout(pages.write()).await;
                pages.log_outcome(outcome);
            }
        }
    }
}

/// A database that is slow to answer must not let notes pile up.
async fn with_timeout(writing: impl Future<Output = Result<(), DatabaseError>>) -> Result<(), DatabaseError> {
    let late = |_| DatabaseError::Setup("the database did not answer in time".into());
    tokio::time::timeout(WRITE_TIMEOUT, writing).await.map_err(late)?
}

impl SubscriptionWriter {
    fn buffer(&mut self, note: MirrorCommand) {
        match note {
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
                self.waiting.push(change);
            }
            MirrorCommand::Sent(rows) => {
                self.pending_items += rows.len();
                self.sent.extend(rows);
            }
            MirrorCommand::Looking(looking) => {
                self.pending_items += 1;
                self.looking.insert(looking.entity.clone(), looking);
            }
            MirrorCommand::Stop(_) => {}
        }
        if self.pending_items > MAX_PENDING {
            tracing::warn!("the mirror of subscriptions is incomplete: too much waited for the database");
            self.clear();
        }
    }

    fn clear(&mut self) {
        // What a burst has taken is given back.
        (self.waiting, self.sent, self.looking, self.pending_items) = Default::default();
    }

    fn log_outcome(&mut self, outcome: Result<(), DatabaseError>) {
        match outcome {
            Ok(()) => self.complained = false,
            Err(error) => {
                if !self.complained {
                    tracing::warn!(%error, "the mirror of subscriptions was not written; it will be");
                }
                self.complained = true;
            }
        }
    }

    fn connection_key(&self, id: ConnectionId) -> String {
        format!("{}-{}", &self.pod[..8], id.0)
    }

    async fn write(&mut self) -> Result<(), DatabaseError> {
        let mut transaction = self.pool.begin().await.map_err(DatabaseError::from)?;
        let ended: Vec<String> = self
            .waiting
            .iter()
            .filter_map(|change| match change {
                SubscriptionChange::Closed(id) => Some(self.connection_key(*id)),
                _ => None,
            })
            .collect();
        // Who came and went meanwhile need not be written down. The lease comes again with each change: a crash empties the mirror.
        let here: BTreeMap<String, Uuid> = self
            .waiting
            .iter()
            .filter_map(|change| match change {
                SubscriptionChange::Opened(id, _) | SubscriptionChange::Subscribed(id, ..) => {
                    Some((self.connection_key(*id), *self.people.get(id)?))
                }
                _ => None,
            })
            .collect();
        subscription_mirror::delete_connections(&mut transaction, &ended).await?;
        subscription_mirror::upsert_leases(&mut transaction, &self.pod, &here).await?;
        for change in &self.waiting {
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
        for looking in self.looking.values() {
            log::notify_presence(&mut transaction, &presence_codec::encode(looking)).await?;
        }
        transaction.commit().await.map_err(DatabaseError::from)?;
        self.clear();
        Ok(())
    }

    async fn renew_lease(&mut self) -> Result<(), DatabaseError> {
        let mut connection = self.pool.acquire().await.map_err(DatabaseError::from)?;
        subscription_mirror::renew(&mut connection, &self.pod).await
    }

    async fn delete_all(&mut self) -> Result<(), DatabaseError> {
        let mut connection = self.pool.acquire().await.map_err(DatabaseError::from)?;
        log::mark_delivered(&mut connection, &self.sent).await?;
        subscription_mirror::delete_pod(&mut connection, &self.pod).await
    }
}
