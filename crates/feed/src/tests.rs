//! The machine as a whole beside a modelled database: transactions that commit in any order, grants that come, go and run out, things that move,
//! questions that are answered late or not at all, clients that come and go. What a client holds is in the end what it may see, as it is.

use super::*;
use pmo_domain::change_log::{AccessChange, ChangeLogEntry, action};
use pmo_domain::grant_set::{GrantSet, HeldGrant};
use pmo_domain::permission::Inheritance;
use pmo_domain::protocol::{Action, ClientMessage, ParentScope, ServerMessage, SubscribeRequest};
use pmo_domain::{EntityCode, EntityRef, FeedCursor, Permission, PersonId, Snapshot, Version};
use proptest::prelude::*;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use uuid::Uuid;

/// Projects are also reaches: what lies in project `n` has reach `n`.
const PROJECTS: usize = 3;

fn code(text: &str) -> EntityCode {
    EntityCode::new(text).unwrap()
}
fn project(n: usize) -> Uuid {
    Uuid::from_u128(1000 + n as u128)
}
fn task(n: usize) -> Uuid {
    Uuid::from_u128(2000 + n as u128)
}
fn person(n: usize) -> PersonId {
    PersonId(Uuid::from_u128(3000 + n as u128))
}
fn markers() -> HashMap<String, Uuid> {
    [("project".to_owned(), Uuid::from_u128(1)), ("task".to_owned(), Uuid::from_u128(2))].into()
}

/// What a transaction does when it commits.
#[derive(Clone, Debug)]
enum TxOp {
    Touch(usize),
    Move(usize, usize),
    Purge(usize),
    Grant(usize, usize, Option<i64>),
    Ungrant(usize, usize),
}

#[derive(Clone)]
struct Task {
    version: i64,
    project: usize,
}

/// A database as the feed knows it.
#[derive(Default)]
struct ModelDatabase {
    now: i64,
    next_xid: i64,
    next_seq: i64,
    running: BTreeMap<i64, Vec<(i64, TxOp)>>,
    log: Vec<ChangeLogEntry>,
    access: Vec<(i64, AccessChange)>,
    tasks: BTreeMap<usize, Task>,
    grants: BTreeMap<(usize, usize), Option<i64>>,
    /// Who had a right to which project, ever.
    rights: BTreeSet<(PersonId, usize)>,
    /// What was in which project, ever.
    places: BTreeSet<(Uuid, usize)>,
}

impl ModelDatabase {
    fn new(tasks: usize) -> Self {
        let tasks = (0..tasks).map(|n| (n, Task { version: 1, project: n % PROJECTS })).collect();
        Self { now: 1_000_000, next_xid: 10, tasks, ..Self::default() }
    }
    fn begin(&mut self) {
        self.next_xid += 1;
        self.running.insert(self.next_xid, Vec::new());
    }
    fn write(&mut self, which: usize, deed: TxOp) {
        self.next_seq += 1;
        let seq = self.next_seq;
        if let Some((_, deeds)) = self.running.iter_mut().nth(which % 4) {
            deeds.push((seq, deed));
        }
    }
    fn sees(&self, person_: PersonId, at: usize) -> bool {
        (0..9)
            .any(|p| person(p) == person_ && self.grants.get(&(p, at)).is_some_and(|e| e.is_none_or(|e| e > self.now)))
    }
    /// Whose right to what, and what was where, are each at most one look old when something is told: a person who ever had a right to where a
    /// thing ever was may hear of it.
    fn note_sights(&mut self) {
        self.places.extend(self.tasks.iter().map(|(n, t)| (task(*n), t.project)));
        let rights = (0..3).flat_map(|p| (0..PROJECTS).map(move |at| (person(p), at)));
        let rights: Vec<_> = rights.filter(|(p, at)| self.sees(*p, *at)).collect();
        self.rights.extend(rights);
    }
    fn may_have_seen(&self, person: PersonId, id: Uuid) -> bool {
        (0..PROJECTS).any(|at| self.rights.contains(&(person, at)) && self.places.contains(&(id, at)))
    }
    fn row(&self, (xid, seq): (i64, i64), n: usize, action: i16, it: &Task, was: Option<usize>) -> ChangeLogEntry {
        let (version, reach) = (it.version, it.project);
        let changed = was.map_or(json!({}), |was| json!({"project_id": {"old": project(was), "new": project(reach)}}));
        ChangeLogEntry {
            seq,
            xid,
            code: code("task"),
            id: task(n),
            action,
            version: Version(version),
            diff: changed,
            ancestor_set: Some(reach as i32),
            tx_started_at_ms: self.now,
            parents: Vec::new(),
        }
    }
    fn commit(&mut self, which: usize) {
        let Some(xid) = self.running.keys().copied().nth(which % 4) else { return };
        let deeds = self.running.remove(&xid).unwrap_or_default();
        for (seq, deed) in deeds {
            self.note_sights();
            match deed {
                TxOp::Touch(n) => {
                    let Some(it) = self.tasks.get_mut(&n) else { continue };
                    it.version += 1;
                    let it = it.clone();
                    self.log.push(self.row((xid, seq), n, action::EDIT, &it, None));
                }
                TxOp::Move(n, to) => {
                    let Some(it) = self.tasks.get_mut(&n) else { continue };
                    let was = std::mem::replace(&mut it.project, to);
                    it.version += 1;
                    let it = it.clone();
                    self.log.push(self.row((xid, seq), n, action::EDIT, &it, Some(was)));
                    self.access.push((xid, AccessChange::AncestorSetChanged(was as i32, to as i32)));
                }
                TxOp::Purge(n) => {
                    let Some(it) = self.tasks.remove(&n) else { continue };
                    let gone = Task { version: it.version + 1, ..it };
                    self.log.push(self.row((xid, seq), n, action::DELETE, &gone, Some(gone.project)));
                }
                TxOp::Grant(p, on, until) => {
                    self.grants.insert((p, on), until.map(|ms| self.now + ms));
                    self.share(xid, seq, p, on);
                }
                TxOp::Ungrant(p, on) => {
                    self.grants.remove(&(p, on));
                    self.share(xid, seq, p, on);
                }
            }
        }
        self.note_sights();
    }
    fn share(&mut self, xid: i64, seq: i64, p: usize, on: usize) {
        let changed = json!({"person_id": {"new": person(p).0}, "entity_code": {"new": "project"}, "entity_instance_id": {"new": project(on)}});
        let (code, id) = (code("entity_rbac"), Uuid::from_u128(9));
        let (version, parents) = (Version(0), Vec::new());
        self.log.push(ChangeLogEntry {
            seq,
            xid,
            code,
            id,
            action: action::SHARE,
            version,
            diff: changed,
            ancestor_set: None,
            tx_started_at_ms: 0,
            parents,
        });
        self.access.push((xid, AccessChange::GrantsChanged(person(p).0)));
    }
    fn snapshot(&self) -> Snapshot {
        let running: Vec<i64> = self.running.keys().copied().collect();
        let xmax = self.next_xid + 1;
        Snapshot { xmin: running.first().copied().unwrap_or(xmax), xmax, in_progress: running }
    }
    fn parents(&self, row: &ChangeLogEntry, by_parent: &[EntityCode]) -> Vec<EntityRef> {
        let at = self.tasks.iter().find(|(n, _)| task(**n) == row.id);
        let above = at.filter(|_| by_parent.contains(&row.code));
        above.map(|(_, t)| EntityRef::new(code("project"), project(t.project))).into_iter().collect()
    }
    /// Rows as the database would answer them: where things are now, unless they are gone.
    fn rows(&self, ask: &LogRange, by_parent: &[EntityCode], limit: usize) -> (Vec<ChangeLogEntry>, bool) {
        let mut rows: Vec<ChangeLogEntry> = self
            .log
            .iter()
            .filter(|r| r.xid >= ask.from || ask.finished.contains(&r.xid))
            .filter(|r| ask.until.as_ref().is_none_or(|until| until.is_visible(r.xid)))
            .filter(|r| ask.after.is_none_or(|after| (r.xid, r.seq) > after))
            .cloned()
            .collect();
        rows.sort_by_key(|r| (r.xid, r.seq));
        let cut_short = rows.len() > limit;
        rows.truncate(limit);
        for row in &mut rows {
            let now = self.tasks.iter().find(|(n, _)| task(**n) == row.id);
            row.ancestor_set = now.map(|(_, t)| t.project as i32).or(row.ancestor_set);
            row.parents = self.parents(row, by_parent);
        }
        (rows, cut_short)
    }
    fn changes(&self, ask: &LogRange) -> BTreeSet<AccessChange> {
        let new = |xid: i64| xid >= ask.from || ask.finished.contains(&xid);
        let settled = |xid: i64| ask.until.as_ref().is_none_or(|until| until.is_visible(xid));
        self.access.iter().filter(|(xid, _)| new(*xid) && settled(*xid)).map(|(_, c)| *c).collect()
    }
    fn answer(&self, question: &DatabaseRequest, limit: usize) -> DatabaseResponse {
        match question {
            DatabaseRequest::Look { ask, by_parent } => {
                let (rows, cut_short) = self.rows(ask, by_parent, limit);
                let access = if ask.after.is_some() { BTreeSet::new() } else { self.changes(ask) };
                DatabaseResponse::Look(LogBatch {
                    rows,
                    access,
                    snapshot: self.snapshot(),
                    epoch: 1,
                    has_more: cut_short,
                    db_now_ms: self.now,
                })
            }
            DatabaseRequest::Past(past) => {
                let (from, finished, until) =
                    (past.from.snapshot.xmax, past.from.snapshot.in_progress.clone(), Some(past.until.clone()));
                let ask = LogRange { epoch: 1, from, finished, until, after: None };
                let (rows, cut_short) = self.rows(&ask, &past.by_parent, 12);
                let ran_out = past.person.is_some() && self.grants.values().any(|e| e.is_some_and(|e| e <= self.now));
                DatabaseResponse::Past(
                    past.connection,
                    CatchUpBatch { rows, access: self.changes(&ask), grant_expired: ran_out, complete: !cut_short },
                )
            }
            DatabaseRequest::Facts(needs) => {
                let mut facts = LookupResult { types: needs.types.then(markers), ..LookupResult::default() };
                for person_ in &needs.people {
                    let theirs = self.grants.iter().filter(|((p, _), _)| person(*p) == *person_);
                    let holding = |((_, on), expires): (&(usize, usize), &Option<i64>)| HeldGrant {
                        target: project(*on),
                        permission: Permission::View,
                        inheritance: Inheritance::Cascade,
                        deny: false,
                        expires: *expires,
                    };
                    // Like the database, which does not answer what has ended.
                    let held = theirs.filter(|(_, e)| e.is_none_or(|e| e > self.now)).map(holding).collect();
                    facts.people.insert(*person_, GrantSet::new(held));
                }
                for (n, t) in self.tasks.iter().filter(|(n, _)| needs.things.contains(&task(**n))) {
                    facts.things.insert(task(*n), (code("task"), t.project as i32));
                }
                for n in (0..PROJECTS).filter(|n| needs.things.contains(&project(*n))) {
                    facts.things.insert(project(n), (code("project"), n as i32));
                }
                for reach in &needs.reaches {
                    facts.reaches.insert(*reach, vec![(project(*reach as usize), true)]);
                }
                DatabaseResponse::Facts(facts)
            }
        }
    }
    /// What a fresh GET answers: the version, if it may be seen, and if it is among what is watched.
    fn get(&self, person_: PersonId, watch: Watch, id: Uuid) -> Option<i64> {
        let (_, it) = self.tasks.iter().find(|(n, _)| task(**n) == id)?;
        // Who lists the tasks of a project holds no others.
        let listed = watch != Watch::OfProject || it.project == 0;
        (listed && self.sees(person_, it.project)).then_some(it.version)
    }
}

/// What a client watches.
#[derive(Clone, Copy, PartialEq)]
enum Watch {
    /// Tasks, one by one.
    Some,
    /// All of them.
    All,
    /// Those of the first project.
    OfProject,
}

/// A client of the simplest kind: it fetches what it is told of.
struct Client {
    watch: Watch,
    /// It was told that its view has changed: it fetches and watches all anew.
    sweeps: bool,
    id: Option<ConnectionId>,
    person: PersonId,
    held: BTreeMap<Uuid, i64>,
    wanted: BTreeSet<usize>,
    cursor: Option<(String, String)>,
    resuming: bool,
    greeted: bool,
    /// SUBSCRIBEs that are not answered: until then the cursor stands.
    asked: usize,
}

fn client_ids(client: &Client) -> Vec<Uuid> {
    client.wanted.iter().map(|n| task(*n)).collect()
}

struct Test {
    world: ModelDatabase,
    feed: ChangeFeed,
    clients: Vec<Client>,
    /// Questions under way, some with their answers.
    questions: VecDeque<(DatabaseRequest, Option<DatabaseResponse>)>,
    next_id: u64,
    limit: usize,
}

impl Test {
    fn new(clients: usize, limit: usize) -> Self {
        let mut world = ModelDatabase::new(6);
        world.grants.insert((0, 0), None);
        world.note_sights();
        let limits = Limits {
            poll_interval_ms: 1000,
            connections_per_person: 3,
            ids: 100,
            topics: 1000,
            catching_up: 2,
            max_catch_up_rows: 50,
        };
        let feed = ChangeFeed::new(limits, (1, world.snapshot()), markers(), world.now, world.now);
        let client = |n| Client {
            watch: [Watch::Some, Watch::Some, Watch::All, Watch::OfProject][n % 4],
            sweeps: false,
            id: None,
            person: person(n % 3),
            held: BTreeMap::new(),
            wanted: if n % 4 > 1 { (0..6).collect() } else { BTreeSet::new() },
            cursor: None,
            resuming: false,
            greeted: false,
            asked: 0,
        };
        let clients = (0..clients).map(client).collect();
        Self { world, feed, clients, questions: VecDeque::new(), next_id: 0, limit }
    }

    fn happen(&mut self, event: Event) {
        let mut out = Vec::new();
        self.feed.handle(event, self.world.now, &mut out);
        for effect in out {
            match effect {
                Effect::QueryDatabase(question) => self.questions.push_back((question, None)),
                Effect::Send(to, frame) => {
                    let message: ServerMessage = serde_json::from_str(&frame.to_json()).unwrap();
                    for id in to.iter() {
                        self.deliver(*id, &message);
                    }
                }
                Effect::Close(which, ..) => {
                    for client in &mut self.clients {
                        if client.id.is_some_and(|id| which.contains(&id)) {
                            client.id = None;
                        }
                    }
                }
                Effect::Mirror(_) | Effect::Delivered(_) | Effect::PublishPresence(..) => {}
            }
        }
        for n in 0..self.clients.len() {
            if std::mem::take(&mut self.clients[n].sweeps) {
                self.watch_anew(n);
            }
        }
    }

    /// Fetches all that a client wants, and watches it from where the answer stood.
    fn watch_anew(&mut self, n: usize) {
        let since = FeedCursor { epoch: 1, snapshot: self.world.snapshot() }.to_string();
        let client = &mut self.clients[n];
        let Some(id) = client.id else { return };
        for task_ in client.wanted.iter().map(|n| task(*n)) {
            match self.world.get(client.person, client.watch, task_) {
                Some(version) => drop(client.held.insert(task_, version)),
                None => drop(client.held.remove(&task_)),
            }
        }
        self.subscribe(id, client_ids(&self.clients[n]), Some(since));
    }

    fn deliver(&mut self, id: ConnectionId, message: &ServerMessage) {
        let world = &mut self.world;
        let Some(client) = self.clients.iter_mut().find(|c| c.id == Some(id)) else { return };
        let (person, watch) = (client.person, client.watch);
        let fetch = |world: &ModelDatabase, held: &mut BTreeMap<Uuid, i64>, id: Uuid| match world.get(person, watch, id)
        {
            Some(version) => drop(held.insert(id, version)),
            None => drop(held.remove(&id)),
        };
        let mut advance = |cursor: &String, resuming: bool| {
            if let Some(known) = client.cursor.as_mut().filter(|_| !resuming && client.asked == 0) {
                known.1.clone_from(cursor);
            }
        };
        match message {
            ServerMessage::Hello { epoch, cursor, .. } => {
                client.greeted = true;
                if client.cursor.is_none() {
                    client.cursor = Some((epoch.clone(), cursor.clone()));
                    client.resuming = false;
                    client.sweeps = true;
                }
            }
            ServerMessage::Invalidate { changes, cursor, .. } => {
                advance(cursor, client.resuming);
                for change in changes {
                    if !matches!(change.action, Action::Revoke) && change.entity_id.as_u128() >= 2000 {
                        assert!(world.may_have_seen(person, change.entity_id), "told of what they never saw");
                    }
                    match change.action {
                        Action::Revoke | Action::Delete => drop(client.held.remove(&change.entity_id)),
                        _ => fetch(world, &mut client.held, change.entity_id),
                    }
                }
            }
            ServerMessage::Resumed { recovered, cursor } => {
                if let Some(known) = client.cursor.as_mut().filter(|_| client.resuming) {
                    client.resuming = false;
                    known.1.clone_from(cursor);
                }
                if !recovered {
                    client.wanted.iter().for_each(|n| fetch(world, &mut client.held, task(*n)));
                }
            }
            ServerMessage::Access { .. } => client.sweeps = true,
            ServerMessage::Pong { cursor } => advance(cursor, client.resuming),
            ServerMessage::Subscribed { refused, .. } => {
                client.asked = client.asked.saturating_sub(1);
                if *refused > 0 {
                    client.wanted.iter().for_each(|n| fetch(world, &mut client.held, task(*n)));
                }
            }
            ServerMessage::TokenExpiringSoon { .. } | ServerMessage::Presence { .. } | ServerMessage::Error { .. } => {}
        }
    }

    fn connect(&mut self, which: usize) {
        let which = which % self.clients.len();
        if self.clients[which].id.is_some() {
            return;
        }
        self.next_id += 1;
        let id = ConnectionId(self.next_id);
        let client = &mut self.clients[which];
        (client.id, client.resuming, client.greeted, client.asked) = (Some(id), client.cursor.is_some(), false, 0);
        let person = client.person;
        let resume = client.cursor.clone();
        self.happen(Event::Connected(id, person));
        // What the engine does at HELLO: watch again, then ask what was missed.
        self.subscribe(id, client_ids(&self.clients[which]), None);
        if let Some((epoch, cursor)) = resume {
            self.happen(Event::MessageReceived(id, ClientMessage::Resume { epoch, cursor }));
        }
    }

    fn subscribe(&mut self, id: ConnectionId, ids: Vec<Uuid>, since: Option<String>) {
        if let Some(client) = self.clients.iter_mut().find(|c| c.id == Some(id)) {
            client.asked += 1;
        }
        let watch = self.clients.iter().find(|c| c.id == Some(id)).map_or(Watch::Some, |c| c.watch);
        let parent =
            ParentScope { entity_code: code("project"), entity_id: project(0), recursive: id.0.is_multiple_of(2) };
        let wanted = SubscribeRequest {
            entity_code: code("task"),
            entity_ids: Some(ids).filter(|_| watch == Watch::Some),
            parent: Some(parent).filter(|_| watch == Watch::OfProject),
            since,
        };
        self.happen(Event::MessageReceived(id, ClientMessage::Subscribe(wanted)));
    }

    /// The client fetches a task and watches it from where the answer stood.
    fn fetch(&mut self, which: usize, n: usize) {
        let which = which % self.clients.len();
        let since = FeedCursor { epoch: 1, snapshot: self.world.snapshot() };
        let client = &mut self.clients[which];
        let Some(id) = client.id.filter(|_| client.greeted && client.watch == Watch::Some) else { return };
        client.wanted.insert(n);
        match self.world.get(client.person, client.watch, task(n)) {
            Some(version) => drop(client.held.insert(task(n), version)),
            None => drop(client.held.remove(&task(n))),
        }
        self.subscribe(id, vec![task(n)], Some(since.to_string()));
    }

    fn step(&mut self, step: (u8, usize, usize, usize)) {
        let (kind, which, a, b) = step;
        match kind {
            0 => self.world.begin(),
            1 | 2 => self.world.write(which, TxOp::Touch(a % 6)),
            3 => self.world.write(which, TxOp::Move(a % 6, b % PROJECTS)),
            4 => self.world.write(which, TxOp::Grant(a % 3, b % PROJECTS, (which % 3 == 0).then_some(5000))),
            5 => self.world.write(which, TxOp::Ungrant(a % 3, b % PROJECTS)),
            6 if b % 4 == 0 => self.world.write(which, TxOp::Purge(a % 6)),
            6 | 7 => {
                self.world.commit(which);
                if b % 3 > 0 {
                    self.happen(Event::LogNotified);
                }
            }
            8 => drop(self.world.running.pop_first().filter(|_| b % 2 == 0).map(|(xid, deeds)| {
                // Half of them are put back: only some roll back.
                if a % 2 == 0 {
                    self.world.running.insert(xid, deeds);
                }
            })),
            9 => self.connect(which),
            10 => self.fetch(which, a % 6),
            11 => {
                let which = which % self.clients.len();
                if let Some(id) = self.clients[which].id.take() {
                    self.happen(Event::Disconnected(id));
                }
            }
            12 => {
                self.world.now += (b as i64) * 300;
                self.happen(Event::Tick);
            }
            13 => {
                let which = which % self.clients.len();
                if let Some(id) = self.clients[which].id {
                    self.happen(Event::MessageReceived(id, ClientMessage::Ping));
                }
            }
            // A question is carried out,
            14..=16 => {
                let limit = self.limit;
                if let Some(slot) = self.questions.iter_mut().find(|(_, answer)| answer.is_none()) {
                    slot.1 = Some(self.world.answer(&slot.0, limit));
                }
            }
            // and its answer comes, some time later; or the connection breaks.
            17..=19 => {
                let Some(at) = self.questions.iter().position(|(_, answer)| answer.is_some()) else { return };
                if let Some((_, Some(answer))) = self.questions.remove(at) {
                    self.happen(Event::DatabaseReplied(answer));
                }
            }
            _ => {
                let Some((question, _)) = self.questions.pop_front() else { return };
                let lane = if let DatabaseRequest::Past(past) = question { Lane::Past(past) } else { Lane::Ordered };
                self.happen(Event::DatabaseFailed(lane));
            }
        }
    }

    /// All that is under way comes to its end.
    fn settle(&mut self) {
        while !self.world.running.is_empty() {
            self.world.commit(0);
        }
        for n in 0..self.clients.len() {
            self.connect(n);
        }
        self.happen(Event::LogNotified);
        for _ in 0..1000 {
            while let Some((question, answer)) = self.questions.pop_front() {
                let answer = answer.unwrap_or_else(|| self.world.answer(&question, self.limit));
                self.happen(Event::DatabaseReplied(answer));
            }
            let due = self.feed.deadline(self.world.now);
            if due >= self.world.now && self.questions.is_empty() && self.world.now > 1_000_000 + 100_000 {
                return;
            }
            self.world.now += 7_000;
            self.happen(Event::Tick);
        }
        panic!("it does not settle");
    }

    fn check(&self) {
        for (n, client) in self.clients.iter().enumerate() {
            for wanted in &client.wanted {
                let id = task(*wanted);
                let (held, fresh) = (client.held.get(&id).copied(), self.world.get(client.person, client.watch, id));
                assert_eq!(held, fresh, "client {n} of {:?} on task {wanted}", client.person);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn what_a_client_holds_is_in_the_end_what_it_may_see(
        steps in prop::collection::vec((0..21u8, 0..6usize, 0..6usize, 0..6usize), 1..150), limit in 1..6usize
    ) {
        let mut test = Test::new(4, limit);
        for n in 0..4 {
            test.connect(n);
        }
        for step in steps {
            test.step(step);
        }
        test.settle();
        test.check();
    }
}

fn opened() -> (Test, ConnectionId) {
    let mut test = Test::new(1, 100);
    test.connect(0);
    test.settle();
    let id = test.clients[0].id.unwrap();
    (test, id)
}

/// What goes out at an event.
fn told(test: &mut Test, event: Event) -> Vec<Effect> {
    let mut out = Vec::new();
    test.feed.handle(event, test.world.now, &mut out);
    out
}

fn messages(effects: &[Effect]) -> Vec<ServerMessage> {
    let frame = |effect: &Effect| match effect {
        Effect::Send(_, frame) => Some(serde_json::from_str(&frame.to_json()).unwrap()),
        _ => None,
    };
    effects.iter().filter_map(frame).collect()
}

#[test]
fn a_heartbeat_is_answered_while_the_database_is_away() {
    let (mut test, id) = opened();
    let subscribe =
        SubscribeRequest { entity_code: code("task"), entity_ids: Some(vec![task(0)]), parent: None, since: None };
    let asked = told(&mut test, Event::MessageReceived(id, ClientMessage::Subscribe(subscribe)));
    assert!(matches!(asked[..], [Effect::QueryDatabase(DatabaseRequest::Facts(_))]));
    assert!(told(&mut test, Event::DatabaseFailed(Lane::Ordered)).is_empty(), "nobody is sent away");
    assert!(!test.feed.answers());
    let pong = told(&mut test, Event::MessageReceived(id, ClientMessage::Ping));
    assert!(matches!(messages(&pong)[..], [ServerMessage::Pong { .. }]));
    test.world.now += 400;
    assert!(told(&mut test, Event::Tick).is_empty(), "not at once");
    test.world.now += 100;
    let again = told(&mut test, Event::Tick);
    let [Effect::QueryDatabase(question)] = &again[..] else { panic!("{again:?}") };
    let answer = test.world.answer(question, 10);
    let next = told(&mut test, Event::DatabaseReplied(answer));
    let done = match &next[..] {
        [Effect::QueryDatabase(question)] => {
            let answer = test.world.answer(question, 10);
            told(&mut test, Event::DatabaseReplied(answer))
        }
        _ => next,
    };
    assert!(messages(&done).iter().any(|m| matches!(m, ServerMessage::Subscribed { count: 1, .. })), "{done:?}");
}

#[test]
fn a_thousand_sockets_that_open_at_once_cost_a_handful_of_questions() {
    let mut test = Test::new(1, 100);
    test.feed.limits.connections_per_person = 10_000;
    let mut asked = 0;
    let mut out = Vec::new();
    for n in 0..1000 {
        test.feed.handle(Event::Connected(ConnectionId(n), person(n as usize % 300)), test.world.now, &mut out);
        let wanted = SubscribeRequest {
            entity_code: code("task"),
            entity_ids: Some(vec![task(n as usize % 6)]),
            parent: None,
            since: None,
        };
        test.feed.handle(
            Event::MessageReceived(ConnectionId(n), ClientMessage::Subscribe(wanted)),
            test.world.now,
            &mut out,
        );
    }
    let mut sent = 0;
    while !out.is_empty() {
        let mut next = Vec::new();
        for effect in out {
            match effect {
                Effect::QueryDatabase(question) => {
                    asked += 1;
                    let answer = test.world.answer(&question, 10);
                    test.feed.handle(Event::DatabaseReplied(answer), test.world.now, &mut next);
                }
                Effect::Send(to, _) => sent += to.len(),
                _ => {}
            }
        }
        out = next;
    }
    assert_eq!(sent, 2000, "HELLO and SUBSCRIBED");
    assert!(asked <= 12, "{asked} questions");
}

#[test]
fn one_person_has_so_many_sockets_and_no_more() {
    let mut test = Test::new(1, 100);
    let refused = |test: &mut Test, n: u64| {
        let out = told(test, Event::Connected(ConnectionId(n), person(0)));
        out.iter().any(|effect| matches!(effect, Effect::Close(_, 1008, _)))
    };
    assert_eq!((0..5).map(|n| refused(&mut test, n)).collect::<Vec<_>>(), [false, false, false, true, true]);
    told(&mut test, Event::Disconnected(ConnectionId(1)));
    assert!(!refused(&mut test, 9), "one has gone, another may come");
}

#[test]
fn who_gets_the_same_gets_one_frame_and_one_change_of_a_thing() {
    let mut test = Test::new(1, 100);
    test.feed.limits.connections_per_person = 100;
    for n in 0..50 {
        test.happen(Event::Connected(ConnectionId(n), person(0)));
        let wanted = SubscribeRequest { entity_code: code("task"), entity_ids: None, parent: None, since: None };
        test.happen(Event::MessageReceived(ConnectionId(n), ClientMessage::Subscribe(wanted)));
    }
    // The model's own client is of no interest here.
    test.clients.clear();
    test.settle();
    test.world.begin();
    for _ in 0..5 {
        test.world.write(0, TxOp::Touch(0));
    }
    test.world.commit(0);
    let mut out = told(&mut test, Event::LogNotified);
    while let [Effect::QueryDatabase(question)] = &out[..] {
        let answer = test.world.answer(question, 100);
        out = told(&mut test, Event::DatabaseReplied(answer));
    }
    let sent: Vec<(usize, ServerMessage)> = out
        .iter()
        .filter_map(|e| {
            if let Effect::Send(to, frame) = e {
                Some((to.len(), serde_json::from_str(&frame.to_json()).unwrap()))
            } else {
                None
            }
        })
        .collect();
    let [(50, ServerMessage::Invalidate { changes, .. })] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(changes.iter().map(|c| (c.entity_id, c.version)).collect::<Vec<_>>(), [(task(0), Version(6))]);
}

#[test]
fn a_database_that_is_another_sends_everybody_away_to_begin_anew() {
    let (mut test, id) = opened();
    let look = told(&mut test, Event::LogNotified);
    let [Effect::QueryDatabase(question)] = &look[..] else { panic!("{look:?}") };
    let DatabaseResponse::Look(mut look) = test.world.answer(question, 100) else { panic!("a look") };
    look.epoch = 2;
    let out = told(&mut test, Event::DatabaseReplied(DatabaseResponse::Look(look)));
    assert!(out.iter().any(|e| matches!(e, Effect::Close(which, 1012, _) if which.contains(&id))));
    assert_eq!((test.feed.cursor().epoch, test.feed.stats()), (2, (0, 0, 0)));
    told(&mut test, Event::Connected(ConnectionId(77), person(0)));
    assert_eq!(test.feed.stats().0, 1, "and takes them in again");
}

#[test]
fn a_pod_that_stops_says_so_and_takes_nobody_in() {
    let (mut test, id) = opened();
    let out = told(&mut test, Event::ShuttingDown);
    assert!(out.iter().any(|e| matches!(e, Effect::Close(which, 1012, _) if which.contains(&id))));
    let out = told(&mut test, Event::Connected(ConnectionId(99), person(0)));
    assert!(matches!(out[..], [Effect::Close(_, 1012, _)]));
}

#[test]
fn a_clock_that_is_set_back_puts_nothing_off() {
    let (mut test, _) = opened();
    test.world.now -= 3_600_000;
    told(&mut test, Event::Tick);
    assert!(test.feed.deadline(test.world.now) <= test.world.now + 1000);
    test.world.now += 1000;
    assert!(matches!(told(&mut test, Event::Tick)[..], [Effect::QueryDatabase(DatabaseRequest::Look { .. })]));
}

mod presence;
mod reading;
