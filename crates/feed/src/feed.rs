//! The machine of one pod: events in, effects out. The database is asked one question at a time for what must be in order (looks at the log,
//! and facts, which must not be older than what was told last), and a few more for clients that catch up. A database that does not answer
//! stops nothing but telling: sockets stay, questions wait.

use crate::access::Access;
use crate::asking::{Job, Then};
use crate::facts::{Answer, Facts, Look, Missed, Needs, Past, Question};
use crate::presence::{Looking, MOST_LOOKED_AT, Presence};
use crate::queue::Frame;
use crate::reader::Reader;
use crate::watching::{ConnectionId, Watching};
use pmo_domain::protocol::{
    CLOSE_POLICY_VIOLATION, CLOSE_SERVICE_RESTART, CLOSE_SLOW_CONSUMER, ClientMessage, PresentUser, ServerMessage,
    SubscribeRequest,
};
use pmo_domain::{EntityCode, EntityRef, FeedCursor, PersonId, Snapshot};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// After a question that failed, milliseconds until the next.
const PAUSE: i64 = 500;
/// Messages and ids of one client that wait for their turn.
const MOST_WAITING: usize = 5_000;
/// Questions of one client that fail before it is told to start over.
const MOST_TRIES: u8 = 3;
/// Longest cursor that is read: it names the transactions that were under way.
const MOST_CURSOR: usize = 4096;
/// Clients that are answered together.
const BATCH: usize = 500;

/// What a pod bears.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Milliseconds between looks where no doorbell rings.
    pub poll: i64,
    /// Sockets of one person.
    pub connections_per_person: usize,
    /// Ids in one SUBSCRIBE.
    pub ids: usize,
    /// Topics of one socket.
    pub topics: usize,
    /// Clients that catch up at once.
    pub catching_up: usize,
    /// Rows of the log that one that catches up is told; more than that, and it starts over.
    pub missed_rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            poll: 1000,
            connections_per_person: 100,
            ids: 2_000,
            topics: 20_000,
            catching_up: 2,
            missed_rows: 10_000,
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A person has signed in on a new socket.
    Connected(ConnectionId, PersonId),
    /// A message of it.
    Heard(ConnectionId, ClientMessage),
    /// What a person is called, before they connect.
    Called(PersonId, Arc<str>),
    /// Another pod says who looks at a thing there.
    Elsewhere(Looking),
    /// It is gone.
    Gone(ConnectionId),
    /// The doorbell: the log has grown.
    Rung,
    /// The database answered.
    Answered(Answer),
    /// It did not.
    Failed(Lane),
    /// Time has passed.
    Tick,
    /// The pod stops.
    Stopping,
}

/// Which question failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The one that is asked in order: a look, or facts.
    Ordered,
    /// What a client missed.
    Past(Past),
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Ask the database, and say [`Event::Answered`] or [`Event::Failed`].
    Ask(Question),
    /// Queue a frame for these sockets.
    Send(Arc<[ConnectionId]>, Frame),
    /// Close these sockets once what waits has left.
    Close(Arc<[ConnectionId]>, u16, &'static str),
    /// Write down who watches what.
    Mirror(Mirror),
    /// Tell the other pods who looks at a thing here.
    Announce(EntityRef, Vec<PresentUser>),
    /// These rows have been told.
    Told(Vec<ToldRow>),
}

/// A row of the log that has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToldRow {
    /// Its transaction,
    pub xid: i64,
    /// and its number.
    pub seq: i64,
    /// How long after the start of the transaction, in milliseconds.
    pub after: i64,
}

/// A change of who watches what, for the durable mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mirror {
    /// A socket is open.
    Opened(ConnectionId, PersonId),
    /// It watches things of a type.
    Watched(ConnectionId, EntityCode, Vec<Uuid>),
    /// It stops watching these, or all of the type; without a type, everything.
    Unwatched(ConnectionId, Option<EntityCode>, Option<Vec<Uuid>>),
    /// It is gone.
    Closed(ConnectionId),
}

fn ids_of(message: &ClientMessage) -> usize {
    match message {
        ClientMessage::Subscribe(SubscribeRequest { entity_ids: Some(ids), .. }) => ids.len(),
        ClientMessage::Unsubscribe { entity_ids: Some(ids), .. } => ids.len(),
        ClientMessage::Viewing { things } => things.len(),
        _ => 0,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ordered {
    Free,
    Looking,
    /// Facts for what was seen in a look,
    ForLook,
    /// and for clients.
    ForClients,
}

/// One pod.
pub struct Feed {
    pub(crate) limits: Limits,
    pub(crate) reader: Reader,
    pub(crate) watching: Watching,
    pub(crate) access: Access,
    pub(crate) presence: Presence,
    /// What was asked since the last look; older facts are worth nothing.
    pub(crate) facts: Facts,
    /// That were asked for and do not exist, too.
    pub(crate) asked: Needs,
    ordered: Ordered,
    /// A look that can't be told yet.
    look: Option<Look>,
    rung: bool,
    look_due: i64,
    retry_at: i64,
    /// Whether the database answered last.
    answers: bool,
    /// Clients whose turn it is. They go first after a look, so that neither starves; who comes meanwhile waits for the next.
    clients_turn: usize,
    /// Types whose parents were asked for in the look that is under way.
    by_parent: Vec<EntityCode>,
    /// What waits for facts.
    pub(crate) jobs: VecDeque<Job>,
    pub(crate) pasts: VecDeque<Past>,
    catching_up: usize,
    /// Those whose answer is there and not told yet: it is large, and so they count, too.
    pub(crate) missed_waiting: usize,
    pasts_retry_at: i64,
    pub(crate) returning: HashMap<ConnectionId, Then>,
    /// Clients that wait for an answer, with what they said meanwhile.
    pub(crate) busy: HashMap<ConnectionId, VecDeque<ClientMessage>>,
    /// How far the database's clock is ahead of this machine's, in milliseconds.
    pub(crate) ahead: i64,
    /// Grants that ended before this, by the database's clock, are dealt with.
    pub(crate) ended: i64,
    pub(crate) access_epoch: u64,
    rows_read: u64,
    stopping: bool,
}

impl Feed {
    /// Begins at the end of the log, as it was in `present`. `types`: markers by type; `clock`: the database's.
    pub fn new(
        limits: Limits,
        (epoch, present): (i64, Snapshot),
        types: HashMap<String, Uuid>,
        clock: i64,
        now: i64,
    ) -> Self {
        let mut access = Access::default();
        access.mark(types);
        Self {
            reader: Reader::new(epoch, present),
            watching: Watching::default(),
            access,
            presence: Presence::default(),
            facts: Facts::default(),
            asked: Needs::default(),
            ordered: Ordered::Free,
            look: None,
            rung: false,
            look_due: now + limits.poll,
            retry_at: now,
            answers: true,
            clients_turn: 0,
            by_parent: Vec::new(),
            jobs: VecDeque::new(),
            pasts: VecDeque::new(),
            catching_up: 0,
            missed_waiting: 0,
            pasts_retry_at: now,
            returning: HashMap::new(),
            busy: HashMap::new(),
            ahead: clock - now,
            ended: clock,
            access_epoch: 0,
            rows_read: 0,
            stopping: false,
            limits,
        }
    }

    /// Open sockets, distinct people, topics.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.watching.connections(), self.access.people(), self.watching.subscriptions())
    }

    /// Rows of the log that were told since the start.
    pub fn rows_read(&self) -> u64 {
        self.rows_read
    }

    /// Whether the database answered last.
    pub fn answers(&self) -> bool {
        self.answers
    }

    /// What will be asked of the log next.
    pub fn next_ask(&self) -> crate::reader::Ask {
        self.reader.ask()
    }

    /// When to say [`Event::Tick`], at the latest.
    pub fn deadline(&self, now: i64) -> i64 {
        let end = self.access.next_end().map_or(i64::MAX, |end| end - self.ahead);
        // A look that is under way is waited for, however long it takes.
        let look =
            if self.ordered == Ordered::Free { self.look_due } else { self.look_due.max(now + self.limits.poll) };
        let pasts = if self.pasts.is_empty() { i64::MAX } else { self.pasts_retry_at.max(now + 1) };
        look.min(end).min(pasts).max(self.retry_at).min(self.presence.deadline())
    }

    /// Takes an event. `now`: this machine's clock, in milliseconds since 1970.
    pub fn handle(&mut self, event: Event, now: i64, out: &mut Vec<Effect>) {
        // A clock that was set back must not put anything off.
        self.look_due = self.look_due.min(now + self.limits.poll);
        self.retry_at = self.retry_at.min(now + PAUSE);
        self.pasts_retry_at = self.pasts_retry_at.min(now + PAUSE);
        match event {
            Event::Connected(id, person) => self.connected(id, person, out),
            Event::Heard(id, message) => self.heard(id, message, out),
            Event::Called(person, name) => self.presence.call(person, name),
            Event::Elsewhere(said) => self.elsewhere(said, now, out),
            Event::Gone(id) => self.gone(id, out),
            Event::Rung => self.rung = true,
            Event::Answered(answer) => {
                self.answers = true;
                self.answered(answer, now, out);
            }
            Event::Failed(lane) => self.failed(lane, now),
            Event::Tick => {}
            Event::Stopping => {
                self.stopping = true;
                self.close_all(CLOSE_SERVICE_RESTART, "the service restarts: reconnect in a few seconds", out);
            }
        }
        self.keep_present(now, out);
        self.go_on(now, out);
        self.start_catching_up(now, out);
    }

    fn start_catching_up(&mut self, now: i64, out: &mut Vec<Effect>) {
        while !self.stopping
            && self.retry_at.max(self.pasts_retry_at) <= now
            && self.catching_up + self.missed_waiting < self.limits.catching_up
            && let Some(past) = self.pasts.pop_front()
        {
            self.catching_up += 1;
            out.push(Effect::Ask(Question::Past(past)));
        }
    }

    fn connected(&mut self, id: ConnectionId, person: PersonId, out: &mut Vec<Effect>) {
        if self.stopping {
            return out.push(Effect::Close(
                [id].into(),
                CLOSE_SERVICE_RESTART,
                "the service restarts: reconnect in a few seconds",
            ));
        }
        if self.watching.of(person).len() >= self.limits.connections_per_person {
            return out.push(Effect::Close(
                [id].into(),
                CLOSE_POLICY_VIOLATION,
                "too many connections of one person: close some",
            ));
        }
        self.watching.connect(id, person);
        self.busy.insert(id, VecDeque::new());
        self.jobs.push_back(Job::Open(id));
    }

    fn heard(&mut self, id: ConnectionId, mut message: ClientMessage, out: &mut Vec<Effect>) {
        match &mut message {
            ClientMessage::Resume { epoch, cursor } if epoch.len() + cursor.len() > MOST_CURSOR => {
                (*epoch, *cursor) = Default::default();
            }
            ClientMessage::Subscribe(SubscribeRequest { since: Some(since), .. }) if since.len() > MOST_CURSOR => {
                *since = String::new()
            }
            _ => {}
        }
        // A heartbeat is answered whatever else is slow.
        if message == ClientMessage::Ping {
            if self.watching.person(id).is_some() {
                self.send(id, &ServerMessage::Pong { cursor: self.cursor().to_string() }, out);
            }
            return;
        }
        let more = ids_of(&message);
        let most = if matches!(message, ClientMessage::Viewing { .. }) { MOST_LOOKED_AT } else { self.limits.ids };
        if more > most {
            let text = format!("at most {most} ids in a message");
            return self.send(id, &ServerMessage::Error { message: text, code: "too_many_subscriptions".into() }, out);
        }
        match self.busy.get_mut(&id) {
            Some(waiting) if waiting.iter().map(|m| 1 + ids_of(m)).sum::<usize>() + more >= MOST_WAITING => {
                out.push(Effect::Close([id].into(), CLOSE_SLOW_CONSUMER, "too much waits: reconnect and resume"));
            }
            Some(waiting) => waiting.push_back(message),
            None => self.take(id, message, out),
        }
    }

    /// A client has its answer: what it said meanwhile is next.
    pub(crate) fn done(&mut self, id: ConnectionId, out: &mut Vec<Effect>) {
        while let Some(mut waiting) = self.busy.remove(&id) {
            let Some(message) = waiting.pop_front() else { return };
            self.take(id, message, out);
            match self.busy.get_mut(&id) {
                Some(busy) => {
                    *busy = waiting;
                    return;
                }
                None => drop(self.busy.insert(id, waiting)),
            }
        }
    }

    fn gone(&mut self, id: ConnectionId, out: &mut Vec<Effect>) {
        let Some(person) = self.watching.person(id) else { return };
        self.looks_no_more(id, |_| false, out);
        if self.watching.disconnect(id) {
            self.access.forget(person);
            self.presence.forget(person);
        }
        self.busy.remove(&id);
        self.pasts.retain(|past| past.connection != id);
        self.returning.remove(&id);
        if self.jobs.len() > 2 * self.watching.connections() + BATCH {
            // Who came and went while the database was away.
            let here = |job: &Job| job.connection().is_none_or(|id| self.watching.person(id).is_some());
            self.jobs.retain(here);
            self.clients_turn = self.clients_turn.min(self.jobs.len());
            self.missed_waiting = self.jobs.iter().filter(|job| matches!(job, Job::Missed(..))).count();
        }
        out.push(Effect::Mirror(Mirror::Closed(id)));
    }

    fn answered(&mut self, answer: Answer, now: i64, out: &mut Vec<Effect>) {
        match answer {
            Answer::Look(look) => {
                self.ordered = Ordered::Free;
                self.ahead = look.clock - now;
                let new: Vec<EntityCode> =
                    self.watching.by_parent().into_iter().filter(|code| !self.by_parent.contains(code)).collect();
                if look.epoch != self.reader.cursor().epoch {
                    self.begin_anew(look.epoch, look.now, out);
                } else if look.rows.iter().any(|row| new.contains(&row.code)) {
                    // Somebody began meanwhile to watch such things by what they hang below, which was not asked for.
                    self.rung = true;
                } else {
                    self.look = Some(look);
                }
            }
            Answer::Facts(facts) => {
                self.ordered = Ordered::Free;
                if let Some(types) = facts.types {
                    self.access.mark(types);
                }
                for (reach, above) in facts.reaches {
                    self.access.place(reach, above);
                }
                self.facts.people.extend(facts.people);
                self.facts.things.extend(facts.things);
            }
            Answer::Past(id, missed) => {
                self.catching_up -= 1;
                if let Some(then) = self.catches_up(id) {
                    self.missed_waiting += 1;
                    self.jobs.push_back(Job::Missed(id, missed, then));
                }
            }
        }
    }

    fn failed(&mut self, lane: Lane, now: i64) {
        match lane {
            Lane::Ordered => {
                self.answers = false;
                self.retry_at = now + PAUSE;
                self.rung |= self.ordered == Ordered::Looking;
                // What has been found out by now may be old when it can be told.
                self.forget_facts();
                self.ordered = Ordered::Free;
            }
            Lane::Past(mut past) => {
                self.catching_up -= 1;
                self.pasts_retry_at = now + PAUSE;
                past.tries = past.tries.saturating_add(1);
                // While the database is away everybody waits; a question that is too much for it when it is there is not asked for ever.
                if self.answers && past.tries > MOST_TRIES {
                    if let Some(then) = self.catches_up(past.connection) {
                        self.missed_waiting += 1;
                        self.jobs.push_back(Job::Missed(past.connection, Missed::default(), then));
                    }
                } else if self.busy.contains_key(&past.connection) {
                    self.pasts.push_back(past);
                } else {
                    self.returning.remove(&past.connection);
                }
            }
        }
    }

    fn forget_facts(&mut self) {
        self.facts = Facts::default();
        self.asked = Needs::default();
    }

    /// Numbers of another database mean nothing here.
    fn begin_anew(&mut self, epoch: i64, present: Snapshot, out: &mut Vec<Effect>) {
        self.close_all(CLOSE_SERVICE_RESTART, "the feed began anew: reconnect", out);
        self.reader = Reader::new(epoch, present);
        self.access = Access::default();
        self.look = None;
    }

    fn close_all(&mut self, code: u16, reason: &'static str, out: &mut Vec<Effect>) {
        let all: Vec<ConnectionId> = self.watching.ids().collect();
        out.extend(all.iter().map(|id| Effect::Mirror(Mirror::Closed(*id))));
        out.push(Effect::Close(all.into(), code, reason));
        self.watching = Watching::default();
        self.presence = Presence::default();
        self.busy.clear();
        self.jobs.clear();
        self.clients_turn = 0;
        self.missed_waiting = 0;
        self.pasts.clear();
        self.forget_awaited();
    }

    /// Asks what is due, and decides what can be decided.
    fn go_on(&mut self, now: i64, out: &mut Vec<Effect>) {
        if self.stopping || self.retry_at > now {
            return;
        }
        self.note_ended(now);
        while self.ordered == Ordered::Free {
            if let Some(look) = self.look.take() {
                let needs = self.needs_of_look(&look, now);
                if !needs.is_empty() {
                    self.look = Some(look);
                    return self.ask(needs, Ordered::ForLook, out);
                }
                self.rung |= self.tell_look(look, now, out);
                self.forget_facts();
                // Who came in the middle of a burst would hear its end, stand where it began, and miss what lies between.
                self.clients_turn = if self.reader.midway() { 0 } else { self.jobs.len().min(BATCH) };
                continue;
            }
            let looks = self.rung || self.look_due <= now || self.reader.midway();
            if !looks && self.clients_turn == 0 {
                self.clients_turn = self.jobs.len().min(BATCH);
            }
            if self.clients_turn > 0 {
                let needs = self.run_jobs(now, out);
                if !needs.is_empty() {
                    return self.ask(needs, Ordered::ForClients, out);
                }
                continue;
            }
            if !looks {
                return;
            }
            self.forget_facts();
            self.access.tidy();
            self.rung = false;
            self.look_due = now + self.limits.poll;
            self.ordered = Ordered::Looking;
            let (ask, by_parent) = (self.reader.ask(), self.watching.by_parent());
            self.by_parent.clone_from(&by_parent);
            out.push(Effect::Ask(Question::Look { ask, by_parent }));
        }
    }

    fn ask(&mut self, needs: Needs, of: Ordered, out: &mut Vec<Effect>) {
        let needs = needs.part();
        self.asked.add(needs.clone());
        self.ordered = of;
        out.push(Effect::Ask(Question::Facts(needs)));
    }

    /// Decides what waits and can be decided; answers what must be known for the rest.
    fn run_jobs(&mut self, now: i64, out: &mut Vec<Effect>) -> Needs {
        let mut needs = Needs::default();
        let mut waiting = VecDeque::new();
        for _ in 0..self.clients_turn {
            let Some(job) = self.jobs.pop_front() else { break };
            let missing = self.needs_of_job(&job);
            if missing.is_empty() {
                self.do_job(job, now, out);
            } else {
                needs.add(missing);
                waiting.push_back(job);
            }
        }
        self.clients_turn = waiting.len();
        while let Some(job) = waiting.pop_back() {
            self.jobs.push_front(job);
        }
        needs
    }

    fn tell_look(&mut self, look: Look, now: i64, out: &mut Vec<Effect>) -> bool {
        self.tell(&look.rows, &look.access, now, out);
        let told = now + self.ahead;
        if !look.rows.is_empty() {
            out.push(Effect::Told(
                look.rows
                    .iter()
                    .map(|row| ToldRow { xid: row.xid, seq: row.seq, after: told - row.tx_started_at_ms })
                    .collect(),
            ));
        }
        self.rows_read += look.rows.len() as u64;
        self.reader.take(&look.rows, look.now, look.cut_short)
    }

    /// Where the feed stands: everything up to here has been told.
    pub fn cursor(&self) -> FeedCursor {
        self.reader.cursor()
    }

    pub(crate) fn send(&self, id: ConnectionId, message: &ServerMessage, out: &mut Vec<Effect>) {
        out.push(Effect::Send([id].into(), Frame::message(message)));
    }
}
