//! Clients of the feed, and the run of a test with them.

use super::*;

/// Subscription of a client.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum TestSubscription {
    /// Individual tasks.
    Some,
    /// All tasks.
    All,
    /// Tasks of the first project.
    OfProject,
}

/// Minimal client: it fetches each entity that a message names.
pub(crate) struct Client {
    pub(crate) watch: TestSubscription,
    /// Whether the client must refetch and subscribe again after ACCESS.
    pub(crate) must_revalidate: bool,
    pub(crate) id: Option<ConnectionId>,
    pub(crate) person: PersonId,
    pub(crate) cached: BTreeMap<Uuid, i64>,
    pub(crate) subscribed: BTreeSet<usize>,
    pub(crate) cursor: Option<(String, String)>,
    pub(crate) resuming: bool,
    pub(crate) hello_received: bool,
    /// Number of unanswered SUBSCRIBE messages. The cursor does not advance while there are any.
    pub(crate) unanswered: usize,
}

pub(crate) fn client_ids(client: &Client) -> Vec<Uuid> {
    client.subscribed.iter().map(|n| task(*n)).collect()
}

pub(crate) struct Test {
    pub(crate) database: ModelDatabase,
    pub(crate) feed: ChangeFeed,
    pub(crate) clients: Vec<Client>,
    /// Database requests in flight, with their responses once they have been executed.
    pub(crate) queries: VecDeque<(DatabaseRequest, Option<DatabaseResponse>)>,
    pub(crate) next_id: u64,
    pub(crate) limit: usize,
}

impl Test {
    pub(crate) fn new(clients: usize, limit: usize) -> Self {
        let mut database = ModelDatabase::new(6);
        database.grants.insert((0, 0), None);
        database.record_visibility();
        let limits = Limits {
            poll_interval: Duration::from_secs(1),
            connections_per_person: 3,
            ids: 100,
            topics: 1000,
            catching_up: 2,
            max_catch_up_rows: 50,
        };
        let feed = ChangeFeed::new(limits, (1, database.snapshot()), markers(), database.clock(), database.clock());
        let client = |n| Client {
            watch: [TestSubscription::Some, TestSubscription::Some, TestSubscription::All, TestSubscription::OfProject]
                [n % 4],
            must_revalidate: false,
            id: None,
            person: person(n % 3),
            cached: BTreeMap::new(),
            subscribed: if n % 4 > 1 { (0..6).collect() } else { BTreeSet::new() },
            cursor: None,
            resuming: false,
            hello_received: false,
            unanswered: 0,
        };
        let clients = (0..clients).map(client).collect();
        Self { database, feed, clients, queries: VecDeque::new(), next_id: 0, limit }
    }

    pub(crate) fn handle(&mut self, event: Event) {
        let mut out = Vec::new();
        self.feed.handle(event, self.database.clock(), &mut out);
        for effect in out {
            match effect {
                Effect::QueryDatabase(query) => self.queries.push_back((query, None)),
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
            if std::mem::take(&mut self.clients[n].must_revalidate) {
                self.refetch_all(n);
            }
        }
    }

    /// Fetches all tasks of a client and subscribes from the cursor of the fetch.
    pub(crate) fn refetch_all(&mut self, n: usize) {
        let since = FeedCursor { epoch: 1, snapshot: self.database.snapshot() }.to_string();
        let client = &mut self.clients[n];
        let Some(id) = client.id else { return };
        for task_id in client.subscribed.iter().map(|n| task(*n)) {
            match self.database.get(client.person, client.watch, task_id) {
                Some(version) => drop(client.cached.insert(task_id, version)),
                None => drop(client.cached.remove(&task_id)),
            }
        }
        self.subscribe(id, client_ids(&self.clients[n]), Some(since));
    }

    pub(crate) fn deliver(&mut self, id: ConnectionId, message: &ServerMessage) {
        let database = &mut self.database;
        let Some(client) = self.clients.iter_mut().find(|c| c.id == Some(id)) else { return };
        let (person, watch) = (client.person, client.watch);
        let fetch = |database: &ModelDatabase, cached: &mut BTreeMap<Uuid, i64>, id: Uuid| match database
            .get(person, watch, id)
        {
            Some(version) => drop(cached.insert(id, version)),
            None => drop(cached.remove(&id)),
        };
        let mut advance = |cursor: &String, resuming: bool| {
            if let Some(known) = client.cursor.as_mut().filter(|_| !resuming && client.unanswered == 0) {
                known.1.clone_from(cursor);
            }
        };
        match message {
            ServerMessage::Hello { epoch, cursor, .. } => {
                client.hello_received = true;
                if client.cursor.is_none() {
                    client.cursor = Some((epoch.clone(), cursor.clone()));
                    client.resuming = false;
                    client.must_revalidate = true;
                }
            }
            ServerMessage::Invalidate { changes, cursor, .. } => {
                advance(cursor, client.resuming);
                for change in changes {
                    if !matches!(change.action, Action::Revoke) && change.entity_id.as_u128() >= 2000 {
                        assert!(
                            database.may_have_seen(person, change.entity_id),
                            "change of an entity that the user never saw"
                        );
                    }
                    match change.action {
                        Action::Revoke | Action::Delete => drop(client.cached.remove(&change.entity_id)),
                        _ => fetch(database, &mut client.cached, change.entity_id),
                    }
                }
            }
            ServerMessage::Resumed { recovered, cursor } => {
                if let Some(known) = client.cursor.as_mut().filter(|_| client.resuming) {
                    client.resuming = false;
                    known.1.clone_from(cursor);
                }
                if !recovered {
                    client.subscribed.iter().for_each(|n| fetch(database, &mut client.cached, task(*n)));
                }
            }
            ServerMessage::Access { .. } => client.must_revalidate = true,
            ServerMessage::Pong { cursor } => advance(cursor, client.resuming),
            ServerMessage::Subscribed { refused, .. } => {
                client.unanswered = client.unanswered.saturating_sub(1);
                if *refused > 0 {
                    client.subscribed.iter().for_each(|n| fetch(database, &mut client.cached, task(*n)));
                }
            }
            ServerMessage::TokenExpiringSoon { .. } | ServerMessage::Presence { .. } | ServerMessage::Error { .. } => {}
        }
    }

    pub(crate) fn connect(&mut self, which: usize) {
        let which = which % self.clients.len();
        if self.clients[which].id.is_some() {
            return;
        }
        self.next_id += 1;
        let id = ConnectionId(self.next_id);
        let client = &mut self.clients[which];
        (client.id, client.resuming, client.hello_received, client.unanswered) =
            (Some(id), client.cursor.is_some(), false, 0);
        let person = client.person;
        let resume = client.cursor.clone();
        self.handle(Event::Connected(id, person));
        // Like the client engine after HELLO: subscribe again, then resume.
        self.subscribe(id, client_ids(&self.clients[which]), None);
        if let Some((epoch, cursor)) = resume {
            self.handle(Event::MessageReceived(id, ClientMessage::Resume { epoch, cursor }));
        }
    }

    pub(crate) fn subscribe(&mut self, id: ConnectionId, ids: Vec<Uuid>, since: Option<String>) {
        if let Some(client) = self.clients.iter_mut().find(|c| c.id == Some(id)) {
            client.unanswered += 1;
        }
        let watch = self.clients.iter().find(|c| c.id == Some(id)).map_or(TestSubscription::Some, |c| c.watch);
        let parent =
            ParentScope { entity_code: code("project"), entity_id: project(0), recursive: id.0.is_multiple_of(2) };
        let request = SubscribeRequest {
            entity_code: code("task"),
            entity_ids: Some(ids).filter(|_| watch == TestSubscription::Some),
            parent: Some(parent).filter(|_| watch == TestSubscription::OfProject),
            since,
        };
        self.handle(Event::MessageReceived(id, ClientMessage::Subscribe(request)));
    }

    /// Fetches a task and subscribes to it from the cursor of the fetch.
    pub(crate) fn fetch(&mut self, which: usize, n: usize) {
        let which = which % self.clients.len();
        let since = FeedCursor { epoch: 1, snapshot: self.database.snapshot() };
        let client = &mut self.clients[which];
        let Some(id) = client.id.filter(|_| client.hello_received && client.watch == TestSubscription::Some) else {
            return;
        };
        client.subscribed.insert(n);
        match self.database.get(client.person, client.watch, task(n)) {
            Some(version) => drop(client.cached.insert(task(n), version)),
            None => drop(client.cached.remove(&task(n))),
        }
        self.subscribe(id, vec![task(n)], Some(since.to_string()));
    }

    pub(crate) fn step(&mut self, step: (u8, usize, usize, usize)) {
        let (kind, which, a, b) = step;
        match kind {
            0 => self.database.begin(),
            1 | 2 => self.database.write(which, TxOp::Touch(a % 6)),
            3 => self.database.write(which, TxOp::Move(a % 6, b % PROJECTS)),
            4 => self.database.write(which, TxOp::Grant(a % 3, b % PROJECTS, (which % 3 == 0).then_some(5000))),
            5 => self.database.write(which, TxOp::Ungrant(a % 3, b % PROJECTS)),
            6 if b % 4 == 0 => self.database.write(which, TxOp::Purge(a % 6)),
            6 | 7 => {
                self.database.commit(which);
                if b % 3 > 0 {
                    self.handle(Event::LogNotified);
                }
            }
            8 => drop(self.database.in_progress.pop_first().filter(|_| b % 2 == 0).map(|(xid, ops)| {
                // Roll back only every second one.
                if a % 2 == 0 {
                    self.database.in_progress.insert(xid, ops);
                }
            })),
            9 => self.connect(which),
            10 => self.fetch(which, a % 6),
            11 => {
                let which = which % self.clients.len();
                if let Some(id) = self.clients[which].id.take() {
                    self.handle(Event::Disconnected(id));
                }
            }
            12 => {
                self.database.now += (b as i64) * 300;
                self.handle(Event::Tick);
            }
            13 => {
                let which = which % self.clients.len();
                if let Some(id) = self.clients[which].id {
                    self.handle(Event::MessageReceived(id, ClientMessage::Ping));
                }
            }
            // A request is executed.
            14..=16 => {
                let limit = self.limit;
                if let Some(slot) = self.queries.iter_mut().find(|(_, response)| response.is_none()) {
                    slot.1 = Some(self.database.respond(&slot.0, limit));
                }
            }
            // A response arrives some time later.
            17..=19 => {
                let Some(at) = self.queries.iter().position(|(_, response)| response.is_some()) else { return };
                if let Some((_, Some(response))) = self.queries.remove(at) {
                    self.handle(Event::DatabaseReplied(response));
                }
            }
            _ => {
                let Some((query, _)) = self.queries.pop_front() else { return };
                let lane = if let DatabaseRequest::CatchUp(past) = query { Lane::CatchUp(past) } else { Lane::Ordered };
                self.handle(Event::DatabaseFailed(lane));
            }
        }
    }

    /// Completes all transactions and requests.
    pub(crate) fn settle(&mut self) {
        while !self.database.in_progress.is_empty() {
            self.database.commit(0);
        }
        for n in 0..self.clients.len() {
            self.connect(n);
        }
        self.handle(Event::LogNotified);
        for _ in 0..1000 {
            while let Some((query, response)) = self.queries.pop_front() {
                let response = response.unwrap_or_else(|| self.database.respond(&query, self.limit));
                self.handle(Event::DatabaseReplied(response));
            }
            let due = self.feed.deadline(self.database.clock());
            if due >= self.database.clock() && self.queries.is_empty() && self.database.now > 1_000_000 + 100_000 {
                return;
            }
            self.database.now += 7_000;
            self.handle(Event::Tick);
        }
        panic!("the system does not settle");
    }

    pub(crate) fn check(&self) {
        for (n, client) in self.clients.iter().enumerate() {
            for number in &client.subscribed {
                let id = task(*number);
                let (cached, current) =
                    (client.cached.get(&id).copied(), self.database.get(client.person, client.watch, id));
                assert_eq!(cached, current, "client {n} of {:?} on task {number}", client.person);
            }
        }
    }
}
