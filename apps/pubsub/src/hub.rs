//! The one task that owns the feed: it hands it what happens and does what it says. What is told to whom is decided in `pmo-feed`.

use crate::mailbox::Mailbox;
use crate::mirror::Note;
use crate::questions::{self, Unanswered};
use crate::vitals::Vitals;
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
const AT_ONCE: usize = 256;

/// What reaches the hub from sockets.
pub enum Command {
    /// A person has signed in on a socket, and is called that.
    Connect(ConnectionId, PersonId, Arc<str>, Arc<Mailbox>),
    /// Another pod says who looks at a thing there.
    Elsewhere(PodPresence),
    /// A message of that socket.
    Heard(ConnectionId, ClientMessage),
    /// The socket is gone.
    Gone(ConnectionId),
    /// Tell everybody to come back later, and stop.
    Stop(oneshot::Sender<()>),
}

type Answering = Pin<Box<dyn Future<Output = (Option<PoolConnection>, Result<DatabaseResponse, Unanswered>)> + Send>>;

/// The hub.
pub struct Hub {
    pool: Pool,
    feed: ChangeFeed,
    mailboxes: HashMap<ConnectionId, Arc<Mailbox>>,
    vitals: Arc<Vitals>,
    /// This pod, for the others.
    pod: Uuid,
    notes: mpsc::UnboundedSender<Note>,
    /// The question that is asked in order, and the connection that is kept for it.
    asking: Option<Answering>,
    kept: Option<PoolConnection>,
    catching_up: JoinSet<Result<DatabaseResponse, (Lane, Unanswered)>>,
    effects: Vec<Effect>,
}

/// This machine's clock, in milliseconds since 1970.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

async fn answer_of(asking: &mut Option<Answering>) -> (Option<PoolConnection>, Result<DatabaseResponse, Unanswered>) {
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
        vitals: Arc<Vitals>,
        pod: Uuid,
        notes: mpsc::UnboundedSender<Note>,
    ) -> Result<Self, DatabaseError> {
        let (present, types, clock) = questions::beginning(&pool).await?;
        vitals.watching.store(true, Ordering::Relaxed);
        Ok(Self {
            pool,
            feed: ChangeFeed::new(limits, present, types, clock, now()),
            mailboxes: HashMap::new(),
            vitals,
            pod,
            notes,
            asking: None,
            kept: None,
            catching_up: JoinSet::new(),
            effects: Vec::new(),
        })
    }

    /// Runs until told to stop. `rung`: the doorbell.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>, rung: Arc<Notify>) {
        let mut heard = Vec::with_capacity(AT_ONCE);
        let pool = self.pool.clone();
        let closed = pool.close_event();
        tokio::pin!(closed);
        // What came before the doorbell was listened to.
        self.handle(Event::LogNotified);
        loop {
            let wait = self.feed.deadline(now()).saturating_sub(now()).clamp(0, 3_600_000);
            let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
            tokio::select! {
                biased;
                (kept, answer) = answer_of(&mut self.asking) => {
                    self.asking = None;
                    self.kept = kept;
                    match answer {
                        Ok(answer) => self.handle(Event::DatabaseReplied(answer)),
                        Err(error) => self.fail(Lane::Ordered, &error),
                    }
                }
                () = rung.notified() => self.handle(Event::LogNotified),
                Some(done) = self.catching_up.join_next() => match done {
                    Ok(Ok(answer)) => self.handle(Event::DatabaseReplied(answer)),
                    Ok(Err((lane, error))) => self.fail(lane, &error),
                    Err(error) => tracing::error!(%error, "catching up broke off"),
                },
                n = commands.recv_many(&mut heard, AT_ONCE) => {
                    if n == 0 {
                        return;
                    }
                    for command in heard.drain(..) {
                        if let Some(done) = self.command(command) {
                            let _ = self.notes.send(Note::Stop(done));
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
    fn command(&mut self, command: Command) -> Option<oneshot::Sender<()>> {
        match command {
            Command::Connect(id, person, name, mailbox) => {
                self.mailboxes.insert(id, mailbox);
                self.handle(Event::PersonNamed(person, name));
                self.handle(Event::Connected(id, person));
            }
            Command::Elsewhere(said) => self.handle(Event::RemotePresence(said)),
            Command::Heard(id, message) => self.handle(Event::MessageReceived(id, message)),
            Command::Gone(id) => {
                self.mailboxes.remove(&id);
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

    fn fail(&mut self, lane: Lane, error: &Unanswered) {
        if self.feed.answers() {
            tracing::warn!(%error, "the database does not answer: sockets stay, and are told what they miss when it does");
        }
        self.handle(Event::DatabaseFailed(lane));
    }

    fn handle(&mut self, event: Event) {
        let answered = self.feed.answers();
        let mut effects = std::mem::take(&mut self.effects);
        let looked = matches!(event, Event::DatabaseReplied(DatabaseResponse::Look(_)));
        self.feed.handle(event, now(), &mut effects);
        if looked {
            self.vitals.set_next(self.feed.next_ask());
        }
        for effect in effects.drain(..) {
            self.perform(effect);
        }
        self.effects = effects;
        if self.feed.answers() && !answered {
            tracing::info!("the database answers again");
        }
        self.vitals.watching.store(self.feed.answers(), Ordering::Relaxed);
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::QueryDatabase(DatabaseRequest::Past(past)) => {
                self.catching_up.spawn(questions::beside(self.pool.clone(), past));
            }
            Effect::QueryDatabase(question) => {
                self.asking = Some(Box::pin(questions::in_order(self.pool.clone(), self.kept.take(), question)));
            }
            Effect::Send(to, frame) => {
                for mailbox in to.iter().filter_map(|id| self.mailboxes.get(id)) {
                    mailbox.push(frame.clone());
                }
            }
            Effect::Close(which, code, reason) => {
                for mailbox in which.iter().filter_map(|id| self.mailboxes.remove(id)) {
                    mailbox.close(code, reason);
                }
            }
            Effect::PublishPresence(entity, people) => {
                let _ = self.notes.send(Note::Looking(PodPresence { pod: self.pod, entity, people }));
            }
            Effect::Mirror(change) => drop(self.notes.send(Note::Mirror(change))),
            Effect::Delivered(rows) => {
                rows.iter().for_each(|row| self.vitals.told_after(row.latency_ms));
                self.vitals.rows.fetch_add(rows.len() as u64, Ordering::Relaxed);
                let _ = self.notes.send(Note::Sent(rows.iter().map(|row| (row.xid, row.seq)).collect()));
            }
        }
    }
}
