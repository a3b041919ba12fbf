//! The one task that owns the feed: it hands it what happens and does what it says. What is told to whom is decided in `pmo-feed`.

use crate::database_requests::{self, QueryError};
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::subscription_writer::MirrorCommand;
use pmo_database::{DatabaseError, Pool, PoolConnection};
use pmo_domain::PersonId;
use pmo_domain::protocol::ClientMessage;
use pmo_feed::{ChangeFeed, ConnectionId, DatabaseRequest, DatabaseResponse, Effect, Event, Lane, Limits, PodPresence};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Commands that are taken at once.
const MAX_COMMANDS_PER_TURN: usize = 256;

/// What reaches the hub from sockets.
pub enum Command {
    /// A person has signed in on a socket, and is called that.
    Connect(ConnectionId, PersonId, Arc<str>, Arc<Outbound>),
    /// Another pod says who looks at a thing there.
    RemotePresence(PodPresence),
    /// A message of that socket.
    Message(ConnectionId, ClientMessage),
    /// The socket is gone.
    Disconnect(ConnectionId),
    /// Tell everybody to come back later, and stop.
    Stop(oneshot::Sender<()>),
}

type PendingQuery =
    Pin<Box<dyn Future<Output = (Option<PoolConnection>, Result<DatabaseResponse, QueryError>)> + Send>>;

/// The hub.
pub struct Hub {
    pool: Pool,
    feed: ChangeFeed,
    outbound: HashMap<ConnectionId, Arc<Outbound>>,
    vitals: Arc<Metrics>,
    /// This pod, for the others.
    pod: Uuid,
    mirror_tx: mpsc::UnboundedSender<MirrorCommand>,
    /// The question that is asked in order, and the connection that is kept for it.
    query_in_flight: Option<PendingQuery>,
    query_connection: Option<PoolConnection>,
    catching_up: JoinSet<Result<DatabaseResponse, (Lane, QueryError)>>,
    effects: Vec<Effect>,
}

/// This machine's clock, in milliseconds since 1970.
pub fn unix_millis() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

async fn next_reply(
    asking: &mut Option<PendingQuery>,
) -> (Option<PoolConnection>, Result<DatabaseResponse, QueryError>) {
    match asking {
        Some(asking) => asking.await,
        None => std::future::pending().await,
    }
}

impl Hub {
    /// Starts at the feed's present end. `notes` go to the mirror; `pod` is what the others know this one by.
    pub async fn new(
        pool: Pool,
        limits: Limits,
        vitals: Arc<Metrics>,
        pod: Uuid,
        notes: mpsc::UnboundedSender<MirrorCommand>,
    ) -> Result<Self, DatabaseError> {
        let (present, types, clock) = database_requests::initial_state(&pool).await?;
        vitals.log_reader_up.store(true, Ordering::Relaxed);
        Ok(Self {
            pool,
            feed: ChangeFeed::new(limits, present, types, clock, unix_millis()),
            outbound: HashMap::new(),
            vitals,
            pod,
            mirror_tx: notes,
            query_in_flight: None,
            query_connection: None,
            catching_up: JoinSet::new(),
            effects: Vec::new(),
        })
    }

    /// Runs until told to stop. `rung`: the doorbell.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>, rung: Arc<Notify>) {
        let mut heard = Vec::with_capacity(MAX_COMMANDS_PER_TURN);
        let pool = self.pool.clone();
        let closed = pool.close_event();
        tokio::pin!(closed);
        // What came before the doorbell was listened to.
        self.handle(Event::LogNotified);
        loop {
            let wait = self.feed.deadline(unix_millis()).saturating_sub(unix_millis()).clamp(0, 3_600_000);
            let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
            tokio::select! {
                biased;
                (kept, answer) = next_reply(&mut self.query_in_flight) => {
                    self.query_in_flight = None;
                    self.query_connection = kept;
                    match answer {
                        Ok(answer) => self.handle(Event::DatabaseReplied(answer)),
                        Err(error) => self.on_query_failed(Lane::Ordered, &error),
                    }
                }
                () = rung.notified() => self.handle(Event::LogNotified),
                Some(done) = self.catching_up.join_next() => match done {
                    Ok(Ok(answer)) => self.handle(Event::DatabaseReplied(answer)),
                    Ok(Err((lane, error))) => self.on_query_failed(lane, &error),
                    Err(error) => tracing::error!(%error, "catching up broke off"),
                },
                n = commands.recv_many(&mut heard, MAX_COMMANDS_PER_TURN) => {
                    if n == 0 {
                        return;
                    }
                    for command in heard.drain(..) {
                        if let Some(done) = self.handle_command(command) {
                            let _ = self.mirror_tx.send(MirrorCommand::Stop(done));
                            return;
                        }
                    }
                }
                () = tokio::time::sleep(wait) => self.handle(Event::Tick),
                // Whoever closes the pool waits for the connection that is kept here.
                () = &mut closed => return,
            }
            let (connections, people, subscriptions) = self.feed.stats();
            self.vitals.connections.store(connections, Ordering::Relaxed);
            self.vitals.users.store(people, Ordering::Relaxed);
            self.vitals.subscriptions.store(subscriptions, Ordering::Relaxed);
        }
    }

    /// Does what a socket asks. Some: it was the last.
    fn handle_command(&mut self, command: Command) -> Option<oneshot::Sender<()>> {
        match command {
            Command::Connect(id, person, name, mailbox) => {
                self.outbound.insert(id, mailbox);
                self.handle(Event::PersonNamed(person, name));
                self.handle(Event::Connected(id, person));
            }
            Command::RemotePresence(said) => self.handle(Event::RemotePresence(said)),
            Command::Message(id, message) => self.handle(Event::MessageReceived(id, message)),
            Command::Disconnect(id) => {
                self.outbound.remove(&id);
                self.handle(Event::Disconnected(id));
            }
            Command::Stop(done) => {
                self.vitals.stopping.store(true, Ordering::Relaxed);
                self.handle(Event::ShuttingDown);
                return Some(done);
            }
        }
        None
    }

    fn on_query_failed(&mut self, lane: Lane, error: &QueryError) {
        if self.feed.answers() {
            tracing::warn!(%error, "the database does not answer: sockets stay, and are told what they miss when it does");
        }
        self.handle(Event::DatabaseFailed(lane));
    }

    fn handle(&mut self, event: Event) {
        let answered = self.feed.answers();
        let mut effects = std::mem::take(&mut self.effects);
        let looked = matches!(event, Event::DatabaseReplied(DatabaseResponse::Look(_)));
        self.feed.handle(event, unix_millis(), &mut effects);
        if looked {
            self.vitals.set_position(self.feed.next_ask());
        }
        for effect in effects.drain(..) {
            self.apply_effect(effect);
        }
        self.effects = effects;
        if self.feed.answers() && !answered {
            tracing::info!("the database answers again");
        }
        self.vitals.log_reader_up.store(self.feed.answers(), Ordering::Relaxed);
    }

    fn apply_effect(&mut self, effect: Effect) {
        match effect {
            Effect::QueryDatabase(DatabaseRequest::Past(past)) => {
                self.catching_up.spawn(database_requests::run_concurrent(self.pool.clone(), past));
            }
            Effect::QueryDatabase(question) => {
                self.query_in_flight = Some(Box::pin(database_requests::run_ordered(
                    self.pool.clone(),
                    self.query_connection.take(),
                    question,
                )));
            }
            Effect::Send(to, frame) => {
                for mailbox in to.iter().filter_map(|id| self.outbound.get(id)) {
                    mailbox.push(frame.clone());
                }
            }
            Effect::Close(which, code, reason) => {
                for mailbox in which.iter().filter_map(|id| self.outbound.remove(id)) {
                    mailbox.close(code, reason);
                }
            }
            Effect::PublishPresence(entity, people) => {
                let _ = self.mirror_tx.send(MirrorCommand::Looking(PodPresence { pod: self.pod, entity, people }));
            }
            Effect::Mirror(change) => drop(self.mirror_tx.send(MirrorCommand::Mirror(change))),
            Effect::Delivered(rows) => {
                rows.iter().for_each(|row| self.vitals.observe_latency(row.latency_ms));
                self.vitals.rows.fetch_add(rows.len() as u64, Ordering::Relaxed);
                let _ = self.mirror_tx.send(MirrorCommand::Sent(rows.iter().map(|row| (row.xid, row.seq)).collect()));
            }
        }
    }
}
