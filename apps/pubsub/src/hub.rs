//! The one task that owns the feed: it reads the log when the doorbell rings, answers subscriptions and hands frames to sockets. What
//! is told to whom is decided in `pmo-feed`; here it is only asked, read and sent.

use crate::outbox::Outbox;
use crate::vitals::Vitals;
use pmo_database::{Connection, DatabaseError, Pool, feed as log, permission, subscription};
use pmo_domain::change::{AccessChange, LogRow};
use pmo_domain::socket::{Action, ClientMessage, Parent, ServerMessage, Subscribe};
use pmo_domain::{EVERY_INSTANCE, EntityCode, EntityRef, FeedCursor, PersonId};
use pmo_feed::{Access, ConnectionId, Feed, Levels, Parents, Reader, Topic};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Most looks that a returning client is told one by one; beyond that it is told to start over.
const RESUME_LOOKS: usize = 5;
/// Most ids of one SUBSCRIBE.
const IDS_LIMIT: usize = 2_000;
/// Most topics of one connection.
const TOPICS_LIMIT: usize = 20_000;
/// What reaches the hub.
pub enum Command {
    /// A person has signed in on a socket.
    Connect(ConnectionId, PersonId, Outbox),
    /// A message of that socket, other than PING and tokens.
    Message(ConnectionId, ClientMessage),
    /// PING.
    Ping(ConnectionId),
    /// The socket is gone.
    Disconnect(ConnectionId),
    /// Look at the log.
    Ring,
    /// Tell everybody to come back later, and stop.
    Stop(tokio::sync::oneshot::Sender<()>),
}

/// The hub.
pub struct Hub {
    pool: Pool,
    feed: Feed,
    reader: Reader,
    outboxes: HashMap<ConnectionId, (PersonId, Outbox)>,
    pod: String,
    vitals: Arc<Vitals>,
    access: Access,
    /// How far the database's clock is ahead of this machine's, in milliseconds.
    ahead: i64,
    /// Grants that ended before this, in the database's milliseconds, are dealt with.
    ended: i64,
    /// When the next ends.
    next_end: Option<i64>,
}

/// Name of a connection in the mirror.
fn mirror_name(pod: &str, id: ConnectionId) -> String {
    format!("{}-{}", &pod[..8.min(pod.len())], id.0)
}

/// This machine's clock, in milliseconds since 1970.
fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn timestamp() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

impl Hub {
    /// Starts at the feed's present end.
    pub async fn new(pool: Pool, vitals: Arc<Vitals>) -> Result<Self, DatabaseError> {
        let mut connection = pool.acquire().await?;
        let (epoch, present) = log::present(&mut connection).await?;
        let mut access = Access::default();
        access.mark(permission::markers(&mut connection).await?);
        drop(connection);
        Ok(Self {
            pool,
            feed: Feed::default(),
            reader: Reader::new(epoch, present),
            outboxes: HashMap::new(),
            pod: Uuid::new_v4().simple().to_string(),
            vitals,
            access,
            ahead: 0,
            ended: now(),
            next_end: None,
        })
    }

    /// Runs until told to stop.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>, poll: Duration) {
        let mut poll = tokio::time::interval(poll);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut lease = tokio::time::interval(Duration::from_secs(30));
        loop {
            let outcome = tokio::select! {
                command = commands.recv() => match command {
                    None => return,
                    Some(Command::Stop(done)) => {
                        self.stop().await;
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.handle(command).await,
                },
                _ = poll.tick() => self.look(true).await,
                () = self.grant_ends() => self.expiries().await,
                _ = lease.tick() => self.renew().await,
            };
            if let Err(error) = outcome {
                tracing::warn!(%error, "the database does not answer; trying again at the next look");
                self.vitals.watching.store(false, Ordering::Relaxed);
            }
            self.vitals.connections.store(self.feed.connection_count(), Ordering::Relaxed);
            self.vitals.users.store(self.access.people(), Ordering::Relaxed);
            self.vitals.subscriptions.store(self.feed.subscriptions(), Ordering::Relaxed);
        }
    }

    /// Waits until the next grant of anybody here ends.
    fn grant_ends(&self) -> impl Future<Output = ()> + 'static {
        let wait = self.next_end.map(|end| end - now() - self.ahead);
        async move {
            match wait.map(|ms| u64::try_from(ms.max(0)).unwrap_or(0)) {
                Some(ms) => tokio::time::sleep(Duration::from_millis(ms + 1)).await,
                None => std::future::pending().await,
            }
        }
    }

    async fn handle(&mut self, command: Command) -> Result<(), DatabaseError> {
        match command {
            Command::Connect(id, person, outbox) => {
                let done = self.connect(id, person, &outbox).await;
                if done.is_err() {
                    outbox
                        .close(pmo_domain::socket::CLOSE_RESTART, "the database does not answer: reconnect and resume");
                }
                done
            }
            Command::Disconnect(id) => {
                self.feed.disconnect(id);
                if let Some((person, _)) = self.outboxes.remove(&id)
                    && !self.outboxes.values().any(|(other, _)| *other == person)
                {
                    self.access.forget(person);
                }
                let mut connection = self.pool.acquire().await?;
                subscription::end(&mut connection, &mirror_name(&self.pod, id)).await
            }
            Command::Ping(id) => {
                self.send(id, &ServerMessage::Pong { cursor: self.reader.cursor().to_string() });
                Ok(())
            }
            Command::Message(id, message) => self.message(id, message).await,
            Command::Ring => self.look(false).await,
            Command::Stop(_) => Ok(()),
        }
    }

    async fn connect(&mut self, id: ConnectionId, person: PersonId, outbox: &Outbox) -> Result<(), DatabaseError> {
        let mut connection = self.pool.acquire().await?;
        if !self.access.knows(person) {
            self.read_holdings(&mut connection, &[person].into()).await?;
        }
        let cursor = self.reader.cursor();
        outbox.send(&ServerMessage::Hello {
            protocol: pmo_domain::socket::PROTOCOL,
            epoch: cursor.epoch.to_string(),
            cursor: cursor.to_string(),
            heartbeat_seconds: pmo_domain::socket::HEARTBEAT_SECONDS,
        });
        self.feed.connect(id, person);
        self.outboxes.insert(id, (person, outbox.clone()));
        subscription::lease(&mut connection, &self.pod, &mirror_name(&self.pod, id), person.0).await
    }

    fn send(&self, id: ConnectionId, message: &ServerMessage) {
        if let Some((_, outbox)) = self.outboxes.get(&id) {
            outbox.send(message);
        }
    }

    /// A message that could not be answered ends its socket: the client asks again after a reconnect, where leaving it in the belief
    /// that it watches would lose changes.
    async fn message(&mut self, id: ConnectionId, message: ClientMessage) -> Result<(), DatabaseError> {
        let done = self.answer(id, message).await;
        if done.is_err()
            && let Some((_, outbox)) = self.outboxes.get(&id)
        {
            outbox.close(pmo_domain::socket::CLOSE_RESTART, "the database does not answer: reconnect and resume");
        }
        done
    }

    async fn answer(&mut self, id: ConnectionId, message: ClientMessage) -> Result<(), DatabaseError> {
        match message {
            ClientMessage::Subscribe(subscribe) => self.subscribe(id, &subscribe).await,
            ClientMessage::Unsubscribe { entity_code, entity_ids, parent } => {
                let parent = parent.map(|p| EntityRef::new(p.entity_code, p.entity_id));
                self.feed.unwatch(id, |topic| match (topic, &entity_ids, &parent) {
                    (Topic::Children { parent: p, code }, None, Some(parent)) => *code == entity_code && p == parent,
                    (Topic::Entity(entity), Some(ids), None) => entity.code == entity_code && ids.contains(&entity.id),
                    (Topic::Entity(entity), None, None) => entity.code == entity_code,
                    (Topic::Type(code) | Topic::Children { code, .. }, None, None) => *code == entity_code,
                    _ => false,
                });
                let mut connection = self.pool.acquire().await?;
                let name = mirror_name(&self.pod, id);
                subscription::unsubscribe(&mut connection, &name, entity_code.as_str(), entity_ids.as_deref()).await
            }
            ClientMessage::UnsubscribeAll => {
                self.feed.unwatch(id, |_| true);
                let Some((person, _)) = self.outboxes.get(&id) else { return Ok(()) };
                let (name, person) = (mirror_name(&self.pod, id), person.0);
                let mut connection = self.pool.acquire().await?;
                subscription::end(&mut connection, &name).await?;
                subscription::lease(&mut connection, &self.pod, &name, person).await
            }
            ClientMessage::Resume { epoch, cursor } => {
                let from = cursor.parse::<FeedCursor>().ok().filter(|c| c.epoch.to_string() == epoch);
                self.look(false).await?;
                let recovered = match from {
                    Some(from) => self.catch_up(id, from, true).await?,
                    None => false,
                };
                self.send(id, &ServerMessage::Resumed { recovered, cursor: self.reader.cursor().to_string() });
                Ok(())
            }
            // Handled by the socket itself.
            ClientMessage::Auth { .. } | ClientMessage::Ping | ClientMessage::TokenRefresh { .. } => Ok(()),
        }
    }

    async fn subscribe(&mut self, id: ConnectionId, wanted: &Subscribe) -> Result<(), DatabaseError> {
        let Some((person, _)) = self.outboxes.get(&id) else { return Ok(()) };
        let person = *person;
        let code = &wanted.entity_code;
        let more = wanted.entity_ids.as_ref().map_or(1, Vec::len);
        if more > IDS_LIMIT || self.feed.watched(id) + more > TOPICS_LIMIT {
            let message = format!("at most {IDS_LIMIT} ids in a message and {TOPICS_LIMIT} in all");
            self.send(id, &ServerMessage::Error { message, code: "too_many_subscriptions".into() });
            return Ok(());
        }
        let mut connection = self.pool.acquire().await?;
        let (mut count, mut refused) = (0, 0);
        let mut mirrored: Vec<Uuid> = Vec::new();
        match (&wanted.entity_ids, &wanted.parent) {
            (Some(ids), _) => {
                let persons = BTreeSet::from([person]);
                let mut levels = Levels::new();
                self.weigh(&mut connection, &mut levels, &persons, code, ids).await?;
                for entity_id in ids {
                    let entity = EntityRef::new(code.clone(), *entity_id);
                    if levels.contains_key(&(person, entity.clone())) {
                        self.feed.watch(id, Topic::Entity(entity));
                        mirrored.push(*entity_id);
                        count += 1;
                    } else {
                        self.feed.refuse(id, entity);
                        refused += 1;
                    }
                }
            }
            (None, Some(Parent { entity_code, entity_id })) => {
                // Answered alike whether or not the parent may be seen: delivery checks each change anyway.
                let seen = permission::level(&mut connection, person, entity_code, *entity_id).await?.is_some();
                if seen {
                    let parent = EntityRef::new(entity_code.clone(), *entity_id);
                    self.feed.watch(id, Topic::Children { parent, code: code.clone() });
                    count = 1;
                } else {
                    refused = 1;
                }
            }
            (None, None) => {
                self.feed.watch(id, Topic::Type(code.clone()));
                mirrored.push(EVERY_INSTANCE);
                count = 1;
            }
        }
        if !mirrored.is_empty() {
            let codes = vec![code.to_string(); mirrored.len()];
            let name = mirror_name(&self.pod, id);
            // The mirror is for people and for starts; it must not stand between a client and its changes.
            if let Err(error) = subscription::subscribe(&mut connection, &name, person.0, &codes, &mirrored).await {
                tracing::warn!(%error, "the mirror of subscriptions was not written");
            }
        }
        drop(connection);
        self.send(id, &ServerMessage::Subscribed { count, entity_code: code.clone(), refused });
        if let Some(since) = &wanted.since {
            let caught_up = match since.parse() {
                Ok(from) => self.catch_up(id, from, false).await?,
                Err(_) => false,
            };
            if !caught_up {
                self.send(id, &ServerMessage::Resumed { recovered: false, cursor: self.reader.cursor().to_string() });
            }
        }
        Ok(())
    }

    /// Tells one connection what its topics would have had since `from`, as far as everybody else has been told; false where that can't be
    /// known. What has come since is told to all by the next look.
    async fn catch_up(&mut self, id: ConnectionId, from: FeedCursor, resumes: bool) -> Result<bool, DatabaseError> {
        let present = self.reader.cursor();
        let too_old = from.read.xmin.saturating_add(log::TOLD_TRANSACTIONS) < present.read.xmin;
        if from.epoch != present.epoch || too_old || from.read.xmin > present.read.xmax + log::TOLD_TRANSACTIONS {
            return Ok(false);
        }
        let Some((person, _)) = self.outboxes.get(&id) else { return Ok(true) };
        let person = *person;
        let mut connection = self.pool.acquire().await?;
        let mut rows: Vec<LogRow> = Vec::new();
        let mut changes = BTreeSet::new();
        for looks in 0.. {
            let after = rows.last().map(|row| (row.xid, row.seq));
            let (begun, finished) = (from.read.xmax, &from.read.running);
            let range = log::Range { epoch: from.epoch, from: begun, finished, until: Some(&present.read), after };
            let look = log::look(&mut connection, &range).await?;
            changes.extend(look.access);
            rows.extend(look.rows);
            if !look.cut_short {
                break;
            }
            if looks == RESUME_LOOKS {
                return Ok(false);
            }
        }
        // Of what was purged it is not known any more who saw it.
        if rows.iter().any(|row| row.reach.is_none() && row.told_as() == Action::Delete) {
            return Ok(false);
        }
        self.tell(&mut connection, &rows, Some(id)).await?;
        self.place(&mut connection, Access::moved(&changes)).await?;
        let mut concerned = self.access.concerned(&changes).told;
        concerned.extend(self.feed.tied(&rows));
        // A grant that ran out meanwhile wrote no row.
        let ran_out = resumes && log::lost_by_time(&mut connection, person.0).await?;
        if ran_out || concerned.contains(&person) {
            // What was seen before is not known: the sweep finds out.
            let only = BTreeSet::from([person]);
            self.tell_access(&mut connection, &only, &only, &[], &Levels::new()).await?;
        }
        Ok(true)
    }

    /// Reads what is new in the log and tells it.
    async fn look(&mut self, timers: bool) -> Result<(), DatabaseError> {
        let mut connection = self.pool.acquire().await?;
        let mut present;
        self.access.tidy();
        loop {
            let ask = self.reader.ask();
            let (epoch, finished) = (ask.epoch, &ask.finished);
            let range = log::Range { epoch, from: ask.from, finished, until: ask.until.as_ref(), after: ask.after };
            let look = log::look(&mut connection, &range).await?;
            present = (look.epoch, look.now.clone());
            self.ahead = look.clock - now();
            // What can't be told now is read again at the next look.
            self.tell_all(&mut connection, &look.rows, &look.access).await?;
            if !look.rows.is_empty() {
                let seqs: Vec<i64> = look.rows.iter().map(|r| r.seq).collect();
                if let Err(error) = log::mark_sent(&mut connection, &seqs).await {
                    tracing::warn!(%error, "the log's bookkeeping was not written");
                }
            }
            let told = now() + self.ahead;
            look.rows.iter().for_each(|row| self.vitals.told_after(told - row.at));
            self.vitals.rows.fetch_add(look.rows.len() as u64, Ordering::Relaxed);
            if !self.reader.take(&look.rows, look.now, look.cut_short) {
                break;
            }
        }
        let (epoch, now) = present;
        if epoch != self.reader.cursor().epoch {
            tracing::warn!(epoch, "the database is another than it was: everybody resumes");
            self.reader = Reader::new(epoch, now);
            for (_, outbox) in self.outboxes.values() {
                outbox.close(pmo_domain::socket::CLOSE_RESTART, "the feed began anew: reconnect");
            }
            // Numbers of the other database mean nothing here.
            self.outboxes.clear();
            self.feed = Feed::default();
            self.access = Access::default();
            self.next_end = None;
            self.access.mark(permission::markers(&mut connection).await?);
        }
        if timers {
            drop(connection);
            self.expiries().await?;
        }
        self.vitals.set_next(self.reader.ask());
        self.vitals.watching.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn tell_all(
        &mut self,
        connection: &mut Connection,
        rows: &[LogRow],
        changes: &BTreeSet<AccessChange>,
    ) -> Result<(), DatabaseError> {
        // Access first: what a person lost must not be told them, what they gained must.
        self.place(connection, Access::moved(changes)).await?;
        let concerned = self.access.concerned(changes);
        let mut sweeping = concerned.told;
        sweeping.extend(self.feed.tied(rows));
        sweeping.extend(self.feed.bereft(rows));
        let mut told = sweeping.clone();
        let mut before = Levels::new();
        if !concerned.read_again.is_empty() {
            // Grants that have ended meanwhile are not among those that are read now.
            let ended = self.access.ended(self.ended, now() + self.ahead);
            sweeping.extend(concerned.read_again.intersection(&ended));
            before = self.watched_levels(connection, &concerned.read_again, rows).await?;
            self.read_holdings(connection, &concerned.read_again).await?;
            // What they hold now may be concerned by what moved.
            sweeping.extend(self.access.concerned(changes).told);
            told.extend(sweeping.iter().chain(&concerned.read_again));
        }
        if !told.is_empty() {
            self.tell_access(connection, &told, &sweeping, rows, &before).await?;
        }
        if rows.is_empty() { Ok(()) } else { self.tell(connection, rows, None).await }
    }

    /// A grant that ran out is a change of access that nobody wrote.
    async fn expiries(&mut self) -> Result<(), DatabaseError> {
        let now = now() + self.ahead;
        let persons = self.access.ended(self.ended, now);
        if !persons.is_empty() {
            let mut connection = self.pool.acquire().await?;
            self.tell_access(&mut connection, &persons, &persons, &[], &Levels::new()).await?;
        }
        self.ended = now;
        self.next_end = self.access.next_end(now);
        Ok(())
    }

    async fn read_holdings(&mut self, c: &mut Connection, persons: &BTreeSet<PersonId>) -> Result<(), DatabaseError> {
        let persons: Vec<PersonId> = persons.iter().copied().collect();
        for (person, holdings) in permission::holdings(c, &persons).await? {
            self.next_end = [self.next_end, holdings.next_end(self.ended)].into_iter().flatten().min();
            self.access.hold(person, holdings);
        }
        Ok(())
    }

    /// Learns what is above reaches.
    async fn place(&mut self, c: &mut Connection, reaches: BTreeSet<i32>) -> Result<(), DatabaseError> {
        let unknown: Vec<i32> = self.access.unknown(reaches).into_iter().collect();
        if !unknown.is_empty() {
            for (reach, above) in permission::above(c, &unknown).await? {
                self.access.place(reach, above);
            }
        }
        Ok(())
    }

    /// Adds the levels of persons on things of a type, wherever those are now.
    async fn weigh(
        &mut self,
        c: &mut Connection,
        levels: &mut Levels,
        persons: &BTreeSet<PersonId>,
        code: &EntityCode,
        ids: &[Uuid],
    ) -> Result<(), DatabaseError> {
        let reaches = permission::reaches(c, code, ids).await?;
        self.place(c, reaches.values().copied().collect()).await?;
        self.add_levels(c, levels, persons, code, reaches).await
    }

    async fn add_levels(
        &mut self,
        c: &mut Connection,
        levels: &mut Levels,
        persons: &BTreeSet<PersonId>,
        code: &EntityCode,
        things: impl IntoIterator<Item = (Uuid, i32)>,
    ) -> Result<(), DatabaseError> {
        if !self.access.knows_type(code.as_str()) {
            self.access.mark(permission::markers(c).await?);
        }
        let now = now() + self.ahead;
        for (id, reach) in things {
            let entity = EntityRef::new(code.clone(), id);
            for person in persons {
                if let Some(level) = self.access.level(*person, &entity, reach, now) {
                    levels.insert((*person, entity.clone()), level);
                }
            }
        }
        Ok(())
    }

    async fn tell(
        &mut self,
        connection: &mut Connection,
        rows: &[LogRow],
        only: Option<ConnectionId>,
    ) -> Result<(), DatabaseError> {
        let mut parents = Parents::new();
        for (code, ids) in self.feed.parents_wanted(rows) {
            let ids: Vec<Uuid> = ids.into_iter().collect();
            for (id, above) in log::parents(connection, &code, &ids).await? {
                parents.insert(EntityRef::new(code.clone(), id), above);
            }
        }
        let wanted = self.feed.levels_wanted(rows, &parents, only);
        let mut levels = Levels::new();
        let here = |row: &&LogRow| wanted.get(&row.code).is_some_and(|(_, ids)| ids.contains(&row.id));
        self.place(connection, rows.iter().filter(here).filter_map(|row| row.reach).collect()).await?;
        for (code, (persons, ids)) in wanted {
            let here = rows.iter().filter(|row| row.code == code && ids.contains(&row.id));
            let things: BTreeMap<Uuid, i32> = here.filter_map(|row| Some((row.id, row.reach?))).collect();
            self.add_levels(connection, &mut levels, &persons, &code, things).await?;
        }
        let messages = self.feed.tell(rows, &parents, &levels, &self.reader.cursor(), &timestamp(), only);
        for (id, message) in messages {
            self.send(id, &message);
        }
        Ok(())
    }

    /// The levels of persons on what they watch and on what grants in `rows` name.
    async fn watched_levels(
        &mut self,
        connection: &mut Connection,
        persons: &BTreeSet<PersonId>,
        rows: &[LogRow],
    ) -> Result<Levels, DatabaseError> {
        let mut levels = Levels::new();
        for (code, things) in self.feed.access_wanted(persons, rows) {
            let ids: Vec<Uuid> = things.keys().copied().collect();
            let reaches = permission::reaches(connection, &code, &ids).await?;
            self.place(connection, reaches.values().copied().collect()).await?;
            for (id, wanting) in things {
                let place = reaches.get(&id).map(|reach| (id, *reach));
                self.add_levels(connection, &mut levels, &wanting, &code, place).await?;
            }
        }
        Ok(levels)
    }

    async fn tell_access(
        &mut self,
        connection: &mut Connection,
        persons: &BTreeSet<PersonId>,
        sweeping: &BTreeSet<PersonId>,
        rows: &[LogRow],
        before: &Levels,
    ) -> Result<(), DatabaseError> {
        let levels = self.watched_levels(connection, persons, rows).await?;
        let cursor = self.reader.cursor();
        let messages = self.feed.change_access(persons, sweeping, rows, before, &levels, &cursor, &timestamp());
        for (id, message) in messages {
            self.send(id, &message);
        }
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), DatabaseError> {
        let mut connection = self.pool.acquire().await?;
        subscription::renew(&mut connection, &self.pod).await
    }

    async fn stop(&mut self) {
        self.vitals.stopping.store(true, Ordering::Relaxed);
        for (_, outbox) in self.outboxes.values() {
            outbox.close(pmo_domain::socket::CLOSE_RESTART, "the service restarts: reconnect in a few seconds");
        }
        if let Ok(mut connection) = self.pool.acquire().await {
            let _ = subscription::end_pod(&mut connection, &self.pod).await;
        }
    }
}
