//! Task that owns the feed of this pod.
//!
//! It passes events to the feed and carries out the effects. The decisions about delivery are made
//! in `pmo-feed`.

use crate::database_requests::{self, InitialState, QueryError};
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::subscription_writer::MirrorCommand;
use pmo_database::{DatabaseError, Pool, PoolConnection};
use pmo_domain::protocol::ClientMessage;
use pmo_domain::{PersonId, UnixMillis};
use pmo_feed::{ChangeFeed, ConnectionId, DatabaseRequest, DatabaseResponse, Effect, Event, Lane, Limits, PodPresence};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Maximum number of commands processed per turn of the loop.
const MAX_COMMANDS_PER_TURN: usize = 256;

/// Command to the hub.
pub enum Command {
    /// A user has authenticated on a connection; with display name and send queue.
    Connect(ConnectionId, PersonId, Arc<str>, Arc<Outbound>),
    /// Another pod has published the viewers of an entity.
    RemotePresence(PodPresence),
    /// A client has sent a message.
    Message(ConnectionId, ClientMessage),
    /// A connection has closed.
    Disconnect(ConnectionId),
    /// Close all connections and stop. The sender reports the end of the shutdown.
    Stop(oneshot::Sender<()>),
}

/// Query of the ordered lane in flight; it returns its database connection for reuse.
type PendingQuery =
    Pin<Box<dyn Future<Output = (Option<PoolConnection>, Result<DatabaseResponse, QueryError>)> + Send>>;

/// Owner of the feed and of its connections.
pub struct Hub {
    pool: Pool,
    feed: ChangeFeed,
    outbound: HashMap<ConnectionId, Arc<Outbound>>,
    metrics: Arc<Metrics>,
    /// Id of this pod in presence messages.
    pod: Uuid,
    mirror_tx: mpsc::UnboundedSender<MirrorCommand>,
    /// Query of the ordered lane in flight.
    query_in_flight: Option<PendingQuery>,
    /// Database connection that is reused for the ordered lane.
    query_connection: Option<PoolConnection>,
    catching_up: JoinSet<Result<DatabaseResponse, (Lane, QueryError)>>,
    effects: Vec<Effect>,
}

/// Maximum time between two events of the feed.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// Returns the time of this machine.
pub fn unix_now() -> UnixMillis {
    UnixMillis::new(jiff::Timestamp::now().as_millisecond())
}

/// Waits for the query in flight, or forever if there is none.
async fn next_reply(
    query_in_flight: &mut Option<PendingQuery>,
) -> (Option<PoolConnection>, Result<DatabaseResponse, QueryError>) {
    match query_in_flight {
        Some(query) => query.await,
        None => std::future::pending().await,
    }
}

impl Hub {
    /// Creates a hub that starts at the current end of the change log.
    ///
    /// `mirror_tx`: channel of the subscription writer. `pod`: id of this pod for other pods.
    pub async fn new(
        pool: Pool,
        limits: Limits,
        metrics: Arc<Metrics>,
        pod: Uuid,
        mirror_tx: mpsc::UnboundedSender<MirrorCommand>,
    ) -> Result<Self, DatabaseError> {
        let InitialState { position, types, db_now } = database_requests::initial_state(&pool).await?;
        metrics.log_reader_up.store(true, Ordering::Relaxed);
        Ok(Self {
            pool,
            feed: ChangeFeed::new(limits, position, types, db_now, unix_now()),
            outbound: HashMap::new(),
            metrics,
            pod,
            mirror_tx,
            query_in_flight: None,
            query_connection: None,
            catching_up: JoinSet::new(),
            effects: Vec::new(),
        })
    }

    /// Runs until [`Command::Stop`].
    ///
    /// `log_notified` is notified when the change log may have new rows.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>, log_notified: Arc<Notify>) {
        let mut received = Vec::with_capacity(MAX_COMMANDS_PER_TURN);
        let pool = self.pool.clone();
        let closed = pool.close_event();
        tokio::pin!(closed);
        // Read rows that were written before LISTEN.
        self.handle(Event::LogNotified);
        loop {
            let wait = self.feed.deadline(unix_now()).since(unix_now()).min(MAX_WAIT);
            tokio::select! {
                biased;
                (connection, response) = next_reply(&mut self.query_in_flight) => {
                    self.query_in_flight = None;
                    self.query_connection = connection;
                    match response {
                        Ok(response) => self.handle(Event::DatabaseReplied(response)),
                        Err(error) => self.on_query_failed(Lane::Ordered, &error),
                    }
                }
                () = log_notified.notified() => self.handle(Event::LogNotified),
                Some(outcome) = self.catching_up.join_next() => match outcome {
                    Ok(Ok(response)) => self.handle(Event::DatabaseReplied(response)),
                    Ok(Err((lane, error))) => self.on_query_failed(lane, &error),
                    Err(error) => tracing::error!(%error, "catch-up task panicked"),
                },
                n = commands.recv_many(&mut received, MAX_COMMANDS_PER_TURN) => {
                    if n == 0 {
                        return;
                    }
                    for command in received.drain(..) {
                        if let Some(done) = self.handle_command(command) {
                            let _ = self.mirror_tx.send(MirrorCommand::Stop(done));
                            return;
                        }
                    }
                }
                () = tokio::time::sleep(wait) => self.handle(Event::Tick),
                // Release the reused database connection: closing the pool waits for it.
                () = &mut closed => return,
            }
            let (connections, people, subscriptions) = self.feed.stats();
            self.metrics.connections.store(connections, Ordering::Relaxed);
            self.metrics.users.store(people, Ordering::Relaxed);
            self.metrics.subscriptions.store(subscriptions, Ordering::Relaxed);
        }
    }

    /// Processes a command. Returns the sender of [`Command::Stop`].
    fn handle_command(&mut self, command: Command) -> Option<oneshot::Sender<()>> {
        match command {
            Command::Connect(id, person, name, outbound) => {
                self.outbound.insert(id, outbound);
                self.handle(Event::PersonNamed(person, name));
                self.handle(Event::Connected(id, person));
            }
            Command::RemotePresence(update) => self.handle(Event::RemotePresence(update)),
            Command::Message(id, message) => self.handle(Event::MessageReceived(id, message)),
            Command::Disconnect(id) => {
                self.outbound.remove(&id);
                self.handle(Event::Disconnected(id));
            }
            Command::Stop(done) => {
                self.metrics.stopping.store(true, Ordering::Relaxed);
                self.handle(Event::ShuttingDown);
                return Some(done);
            }
        }
        None
    }

    fn on_query_failed(&mut self, lane: Lane, error: &QueryError) {
        if self.feed.is_database_up() {
            tracing::warn!(%error, "database unavailable; connections kept, delivery paused");
        }
        self.handle(Event::DatabaseFailed(lane));
    }

    fn handle(&mut self, event: Event) {
        let was_up = self.feed.is_database_up();
        let mut effects = std::mem::take(&mut self.effects);
        let is_batch = matches!(event, Event::DatabaseReplied(DatabaseResponse::LogBatch(_)));
        self.feed.handle(event, unix_now(), &mut effects);
        if is_batch {
            self.metrics.set_position(self.feed.next_range());
        }
        for effect in effects.drain(..) {
            self.apply_effect(effect);
        }
        self.effects = effects;
        if self.feed.is_database_up() && !was_up {
            tracing::info!("database available; delivery resumed");
        }
        self.metrics.log_reader_up.store(self.feed.is_database_up(), Ordering::Relaxed);
    }

    fn apply_effect(&mut self, effect: Effect) {
        match effect {
            Effect::QueryDatabase(DatabaseRequest::CatchUp(request)) => {
                self.catching_up.spawn(database_requests::run_concurrent(self.pool.clone(), request));
            }
            Effect::QueryDatabase(request) => {
                self.query_in_flight = Some(Box::pin(database_requests::run_ordered(
                    self.pool.clone(),
                    self.query_connection.take(),
                    request,
                )));
            }
            Effect::Send(to, frame) => {
                for outbound in to.iter().filter_map(|id| self.outbound.get(id)) {
                    outbound.push(frame.clone());
                }
            }
            Effect::Close(which, code, reason) => {
                for outbound in which.iter().filter_map(|id| self.outbound.remove(id)) {
                    outbound.close(code, reason);
                }
            }
            Effect::PublishPresence(entity, people) => {
                let _ = self.mirror_tx.send(MirrorCommand::Presence(PodPresence { pod: self.pod, entity, people }));
            }
            Effect::Mirror(change) => drop(self.mirror_tx.send(MirrorCommand::Mirror(change))),
            Effect::Delivered(rows) => {
                rows.iter().for_each(|row| self.metrics.observe_latency(row.latency));
                self.metrics.rows.fetch_add(rows.len() as u64, Ordering::Relaxed);
                let _ = self.mirror_tx.send(MirrorCommand::Sent(rows.iter().map(|row| (row.xid, row.seq)).collect()));
            }
        }
    }
}
