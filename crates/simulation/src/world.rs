//! The world of a run: devices with tabs, the feed, the database, and a network between them that delays, drops, repeats, reorders and partitions. Tabs
//! crash between any two steps, are frozen and thaw; clocks are wrong; devices run out of room and lose bytes. All of it follows from the seed.

use crate::chance::Chance;
use crate::database::{Database, Deed, code, markers, person, project};
use crate::mutant::Mutant;
use crate::oracle::{Broken, Watcher};
use pmo_domain::protocol::ClientMessage;
use pmo_domain::{EntityRef, PersonId};
use pmo_feed::{ConnectionId, Event as FeedEvent, Feed, Lane, Limits, Question};
use pmo_sync::store::{self, Stored, Which};
use pmo_sync::{
    Area, BatchId, Effect, Engine, Event, Failure, ListKey, MemoryStore, MetaKey, Method, ObserverId, Query, Request,
    RequestId, Settings, TabId, TabMessage, Write,
};
use serde_json::{Value, json};
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use uuid::Uuid;

/// How large a run is, and how hostile.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Devices, each of one person.
    pub devices: usize,
    /// Most tabs of a device.
    pub tabs: usize,
    /// People.
    pub people: usize,
    /// Tasks at the beginning.
    pub tasks: usize,
    /// Events after which the world is healed.
    pub events: u64,
    /// A planted bug.
    pub mutant: Option<Mutant>,
    /// Say on stderr what happens to whatever has this in its words.
    pub trace: Option<String>,
}

/// Which tab, and which of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The device.
    pub device: usize,
    /// The tab.
    pub tab: usize,
    life: u32,
}

/// Work of a tab on its device, one after the other.
pub(crate) enum DeviceWork {
    /// A batch, and the term in which it was written.
    Write(BatchId, Option<u64>, Vec<Write>),
    Read(Area, Vec<String>),
    Lead,
    Tell(&'static str),
    ReadOutbox,
    ReadDrafts,
}

pub(crate) struct Tab {
    pub(crate) engine: Engine,
    pub(crate) id: TabId,
    pub(crate) alive: bool,
    pub(crate) frozen: bool,
    pub(crate) life: u32,
    /// What comes while it is frozen.
    pub(crate) waiting: Vec<Event>,
    pub(crate) work: VecDeque<DeviceWork>,
    pub(crate) working: bool,
    pub(crate) socket: Option<ConnectionId>,
    /// The term in which it leads.
    pub(crate) term: u64,
    pub(crate) in_flight: Vec<RequestId>,
    pub(crate) next_observer: u64,
    pub(crate) observers: Vec<ObserverId>,
}

pub(crate) struct Device {
    pub(crate) person: PersonId,
    pub(crate) store: MemoryStore,
    pub(crate) tabs: Vec<Tab>,
    /// Who holds the lock, and who waits for it.
    pub(crate) lock: Option<usize>,
    pub(crate) queue: VecDeque<usize>,
    pub(crate) term: u64,
    pub(crate) online: bool,
    /// How wrong its clock is.
    pub(crate) skew: f64,
    pub(crate) next_life: u32,
}

#[derive(Debug)]
pub(crate) enum Happening {
    Tab(Place, Event),
    Feed(FeedEvent),
    Arrives(Place, RequestId, Request),
    Commit(i64, Option<(Place, RequestId)>),
    Work(Place),
    Asked(Question),
    Tick(Place),
    Granted(usize),
    Act,
    FeedTick,
}

struct Due(f64, u64, Happening);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0).then_with(|| other.1.cmp(&self.1))
    }
}

/// A world.
pub struct World {
    pub(crate) plan: Plan,
    pub(crate) chance: Chance,
    pub(crate) now: f64,
    due: BinaryHeap<Due>,
    pub(crate) order: u64,
    pub(crate) database: Database,
    pub(crate) feed: Feed,
    pub(crate) devices: Vec<Device>,
    pub(crate) sockets: HashMap<ConnectionId, (Place, f64)>,
    pub(crate) next_socket: u64,
    pub(crate) next_token: u64,
    pub(crate) next_entry: u128,
    pub(crate) healing: bool,
    /// Events delivered so far.
    pub delivered: u64,
    pub(crate) watcher: Watcher,
}

impl World {
    /// A world that follows from a seed.
    pub fn new(seed: u64, plan: Plan) -> Self {
        let database = Database::new(3, plan.people, plan.tasks);
        let limits = Limits { connections_per_person: 1000, ..Limits::default() };
        let feed = Feed::new(limits, (1, database.snapshot()), markers(), database.now, database.now);
        let mut world = Self {
            chance: Chance::new(seed),
            now: 1_000_000.0,
            due: BinaryHeap::new(),
            order: 0,
            database,
            feed,
            devices: Vec::new(),
            sockets: HashMap::new(),
            next_socket: 0,
            next_token: 0,
            next_entry: 1 << 64,
            healing: false,
            delivered: 0,
            watcher: Watcher::default(),
            plan,
        };
        for who in 0..world.plan.people {
            for on in 0..3 {
                if world.chance.below(4) > 0 {
                    let xid = world.database.begin(Deed::Grant(who, on, None));
                    world.database.commit(xid, None);
                }
            }
        }
        for n in 0..world.plan.devices {
            let skew = if world.chance.once_in(3) { world.chance.below(600_000) as f64 - 300_000.0 } else { 0.0 };
            let device = Device {
                person: person(n % world.plan.people),
                store: MemoryStore::default(),
                tabs: Vec::new(),
                lock: None,
                queue: VecDeque::new(),
                term: 0,
                online: true,
                skew,
                next_life: 0,
            };
            world.devices.push(device);
            world.open_tab(n);
        }
        world.later(1.0, Happening::Act);
        world.later(100.0, Happening::FeedTick);
        world
    }

    pub(crate) fn later(&mut self, delay: f64, what: Happening) {
        self.order += 1;
        self.due.push(Due(self.now + delay, self.order, what));
    }

    pub(crate) fn mutant(&self, mutant: Mutant) -> bool {
        self.plan.mutant == Some(mutant)
    }

    pub(crate) fn tab(&mut self, place: Place) -> Option<&mut Tab> {
        let tab = self.devices.get_mut(place.device)?.tabs.get_mut(place.tab)?;
        (tab.alive && tab.life == place.life).then_some(tab)
    }

    pub(crate) fn place(&self, device: usize, tab: usize) -> Place {
        Place { device, tab, life: self.devices[device].tabs[tab].life }
    }

    /// Runs to the end; fails with the first promise that is broken.
    pub fn run(&mut self) -> Result<u64, Broken> {
        while self.delivered < self.plan.events {
            self.step()?;
        }
        self.heal()?;
        let until = self.now + 240_000.0;
        while self.now < until {
            self.step()?;
        }
        self.check()?;
        Ok(self.delivered)
    }

    fn step(&mut self) -> Result<(), Broken> {
        let Some(Due(at, _, what)) = self.due.pop() else { return Ok(()) };
        self.now = self.now.max(at);
        self.database.now = self.now as i64;
        self.delivered += 1;
        self.trace("", &what);
        match what {
            Happening::Tab(place, event) => self.deliver(place, event)?,
            Happening::Feed(event) => self.feed(event),
            Happening::Arrives(place, id, request) => self.arrives(place, id, request),
            Happening::Commit(xid, asked) => self.commit(xid, asked),
            // A frozen tab runs nothing of its own: neither what it asked of its device nor what it does on being given the lock.
            Happening::Work(place) if !self.healing && self.tab(place).is_some_and(|tab| tab.frozen) => {
                self.later(20.0, Happening::Work(place));
            }
            Happening::Work(place) => self.work(place),
            Happening::Asked(question) => {
                if !self.healing && self.chance.once_in(40) {
                    let lane = if let Question::Past(past) = question { Lane::Past(past) } else { Lane::Ordered };
                    self.feed(FeedEvent::Failed(lane));
                } else {
                    let answer = self.database.answer(&question, self.plan.mutant);
                    let delay = self.chance.delay(3);
                    self.later(delay, Happening::Feed(FeedEvent::Answered(answer)));
                }
            }
            Happening::Tick(place) => {
                if self.tab(place).is_some() {
                    self.later(500.0, Happening::Tick(place));
                    self.deliver(place, Event::Tick)?;
                }
            }
            Happening::Granted(device) => self.grant_lock(device),
            Happening::Act => {
                if !self.healing {
                    let pause = self.chance.delay(25);
                    self.later(pause, Happening::Act);
                    self.act()?;
                }
            }
            Happening::FeedTick => {
                self.feed(FeedEvent::Tick);
                self.later(200.0, Happening::FeedTick);
            }
        }
        Ok(())
    }

    fn trace(&self, before: &str, what: &impl std::fmt::Debug) {
        if let Some(trace) = &self.plan.trace {
            let text = format!("{what:?}");
            if text.contains(trace) {
                eprintln!("{:.0} {before}{}", self.now, text.chars().take(600).collect::<String>());
            }
        }
    }

    // Tabs ---------------------------------------------------------------------------------------------------------------

    pub(crate) fn open_tab(&mut self, n: usize) {
        let seed = self.chance.any();
        let id = TabId(Uuid::from_u128((u128::from(seed) << 64) | self.order as u128));
        let device = &mut self.devices[n];
        device.next_life += 1;
        let life = device.next_life;
        let tab = Tab {
            engine: Engine::with_settings(
                seed,
                Settings { fold_rows: 6, pack_rows: 4, collect: 60_000.0, ..Settings::default() },
            ),
            id,
            alive: true,
            frozen: false,
            life,
            waiting: Vec::new(),
            work: VecDeque::new(),
            working: false,
            socket: None,
            term: 0,
            in_flight: Vec::new(),
            next_observer: 0,
            observers: Vec::new(),
        };
        let at = match device.tabs.iter().position(|tab| !tab.alive) {
            Some(at) => {
                device.tabs[at] = tab;
                at
            }
            None => {
                device.tabs.push(tab);
                device.tabs.len() - 1
            }
        };
        let term = if device.lock.is_none() {
            device.lock = Some(at);
            device.term += 1;
            device.tabs[at].term = device.term;
            Some(device.term)
        } else {
            device.queue.push_back(at);
            None
        };
        let stored = Box::new(stored(&device.store));
        let (person, place) = (device.person, Place { device: n, tab: at, life });
        self.watcher.opened(place);
        self.later(1.0, Happening::Tab(place, Event::Start { person, tab: id, stored, term }));
        self.later(5.0, Happening::Tab(place, Event::Online(self.devices[n].online)));
        for query in [Query::Meta(MetaKey::Codes), Query::List(ListKey::all(code("project"))), self.any_query()] {
            self.look(place, query, 6.0);
        }
        let first = 100.0 + self.chance.below(400) as f64;
        self.later(first, Happening::Tick(place));
    }

    pub(crate) fn any_query(&mut self) -> Query {
        let below = EntityRef::new(code("project"), project(self.chance.below(3)));
        let list = ListKey::below(code("task"), below.clone(), "project_id");
        match self.chance.below(6) {
            0 => Query::List(ListKey::all(code("task"))),
            1 => Query::List(list.sorted("name", true)),
            2 => Query::Row(below),
            3 => {
                let ids: Vec<Uuid> = self.database.tasks.keys().copied().collect();
                self.chance.pick(&ids).map_or(Query::List(list), |id| Query::Row(EntityRef::new(code("task"), *id)))
            }
            _ => Query::List(list),
        }
    }

    pub(crate) fn look(&mut self, place: Place, query: Query, delay: f64) {
        let Some(tab) = self.tab(place) else { return };
        tab.next_observer += 1;
        let id = ObserverId(tab.next_observer);
        tab.observers.push(id);
        self.later(delay, Happening::Tab(place, Event::Observe(id, query)));
    }

    /// A tab ends at once: what it had not finished is lost. Closed in good order it says so.
    pub(crate) fn end_tab(&mut self, n: usize, at: usize, crash: bool) {
        let Some(tab) = self.devices[n].tabs.get_mut(at).filter(|tab| tab.alive) else { return };
        tab.alive = false;
        tab.work.clear();
        let (socket, id) = (tab.socket.take(), tab.id);
        if !crash {
            self.broadcast(n, at, TabMessage::Bye { tab: id });
        }
        if let Some(socket) = socket {
            self.sockets.remove(&socket);
            self.later(5.0, Happening::Feed(FeedEvent::Gone(socket)));
        }
        let device = &mut self.devices[n];
        device.queue.retain(|waiting| *waiting != at);
        if device.lock == Some(at) {
            device.lock = None;
            self.later(3.0, Happening::Granted(n));
        }
    }

    fn grant_lock(&mut self, n: usize) {
        let device = &mut self.devices[n];
        if device.lock.is_some() {
            return;
        }
        if let Some(next) = device.queue.pop_front() {
            device.lock = Some(next);
            self.enqueue(n, next, DeviceWork::Lead);
        }
    }

    fn broadcast(&mut self, n: usize, from: usize, message: TabMessage) {
        for at in 0..self.devices[n].tabs.len() {
            if at != from && self.devices[n].tabs[at].alive {
                let place = self.place(n, at);
                self.later(1.0, Happening::Tab(place, Event::Tab(message.clone())));
            }
        }
    }

    pub(crate) fn deliver(&mut self, place: Place, mut event: Event) -> Result<(), Broken> {
        let (now, healing) = (self.now, self.healing);
        let out_of_order = self.mutant(Mutant::AnswersOutOfOrder);
        let skew = self.devices[place.device].skew;
        let Some(tab) = self.tab(place) else { return Ok(()) };
        if tab.frozen && !healing {
            tab.waiting.push(event);
            return Ok(());
        }
        match &mut event {
            Event::Answered(id, answer) => {
                if !tab.in_flight.contains(id) {
                    return Ok(());
                }
                tab.in_flight.retain(|other| other != id);
                if out_of_order && let Ok(answer) = answer {
                    answer.body = as_if_newest(&tab.engine, &answer.body);
                }
            }
            Event::Frame(_) | Event::Closed(_) if tab.socket.is_none() => return Ok(()),
            Event::Closed(_) => tab.socket = None,
            _ => {}
        }
        let effects = tab.engine.handle(event, now + skew);
        let mut broken = None;
        for effect in effects {
            self.trace(&format!("  {place:?} "), &effect);
            if let Some(found) = self.perform(place, effect) {
                broken.get_or_insert(found);
            }
        }
        broken.map_or(Ok(()), Err)
    }

    fn perform(&mut self, place: Place, effect: Effect) -> Option<Broken> {
        let n = place.device;
        match effect {
            Effect::Fetch(id, mut request) => {
                let fenced = request.method != Method::Get && self.devices[n].term != self.tab(place)?.term;
                if fenced && !self.mutant(Mutant::NoFencing) {
                    self.later(0.0, Happening::Tab(place, Event::Deposed));
                    return None;
                }
                if fenced {
                    return Some(Broken::new(
                        "no write is lost, none is applied twice",
                        "a tab sent whose term is over".into(),
                    ));
                }
                if self.mutant(Mutant::NoKeys) {
                    request.idempotency_key = None;
                }
                self.tab(place)?.in_flight.push(id);
                let lost = !self.devices[n].online || (!self.healing && self.chance.once_in(25));
                let delay = self.chance.delay(40);
                if lost {
                    self.later(delay, Happening::Tab(place, Event::Answered(id, Err(Failure::Network))));
                } else {
                    // A proxy may repeat what it takes for lost.
                    if !self.healing && request.method != Method::Get && self.chance.once_in(20) {
                        let again = self.chance.delay(80);
                        self.later(again, Happening::Arrives(place, RequestId(u64::MAX), request.clone()));
                    }
                    self.later(delay, Happening::Arrives(place, id, request));
                }
            }
            Effect::Cancel(id) => self.tab(place)?.in_flight.retain(|other| *other != id),
            Effect::Persist(batch, writes) => {
                if self.mutant(Mutant::SavedTooSoon) {
                    self.later(0.0, Happening::Tab(place, Event::Persisted(batch, batch, Ok(()))));
                    self.watcher.saved(place.device, &writes);
                }
                let term = self.tab(place)?.engine.term();
                self.enqueue(n, place.tab, DeviceWork::Write(batch, term, writes));
            }
            Effect::Read(area, names) => self.enqueue(n, place.tab, DeviceWork::Read(area, names)),
            Effect::TellTabs => self.enqueue(n, place.tab, DeviceWork::Tell("outbox")),
            Effect::TellTabsOfDrafts => self.enqueue(n, place.tab, DeviceWork::Tell("drafts")),
            Effect::Tell(message) => {
                let silent = self.mutant(Mutant::SilentLeader) && matches!(message, TabMessage::News(_));
                if !silent {
                    self.broadcast(n, place.tab, message);
                }
            }
            Effect::RereadWork => {
                self.enqueue(n, place.tab, DeviceWork::ReadOutbox);
                self.enqueue(n, place.tab, DeviceWork::ReadDrafts);
            }
            Effect::ConfirmLead => {
                let term = if self.mutant(Mutant::NoFencing) { 0 } else { self.devices[n].term };
                self.later(1.0, Happening::Tab(place, Event::Confirmed(term)));
            }
            Effect::TakeOver => {
                let device = &mut self.devices[n];
                let holder = device.lock.replace(place.tab).filter(|holder| *holder != place.tab);
                device.queue.retain(|waiting| *waiting != place.tab);
                if let Some(holder) = holder {
                    device.queue.push_back(holder);
                    let place = self.place(n, holder);
                    self.later(1.0, Happening::Tab(place, Event::Deposed));
                }
                self.enqueue(n, place.tab, DeviceWork::Lead);
            }
            Effect::Connect => {
                self.hang_up(place);
                let fails = !self.devices[n].online || (!self.healing && self.chance.once_in(6));
                self.next_socket += 1;
                let id = ConnectionId(self.next_socket);
                self.tab(place)?.socket = Some(id);
                let delay = self.chance.delay(20);
                if fails {
                    self.later(delay, Happening::Tab(place, Event::Closed(1006)));
                } else {
                    self.sockets.insert(id, (place, 0.0));
                    let person = self.devices[n].person;
                    self.later(delay, Happening::Feed(FeedEvent::Connected(id, person)));
                }
            }
            Effect::Send(message) => {
                let socket = self.tab(place)?.socket?;
                // A socket keeps its order: what is said later arrives later.
                if !matches!(message, ClientMessage::Auth { .. } | ClientMessage::TokenRefresh { .. }) {
                    self.later(8.0, Happening::Feed(FeedEvent::Heard(socket, message)));
                }
            }
            Effect::Disconnect => self.hang_up(place),
            Effect::Changed(Query::Row(entity)) => {
                let tab = self.devices[n].tabs.get(place.tab)?;
                let stamp = tab.engine.row(&entity).and_then(|row| row.data.get("stamp")?.as_i64());
                return self.watcher.shown(place, &entity, stamp);
            }
            Effect::RenewToken => self.later(20.0, Happening::Tab(place, Event::TokenRenewed)),
            _ => {}
        }
        None
    }

    fn hang_up(&mut self, place: Place) {
        if let Some(socket) = self.tab(place).and_then(|tab| tab.socket.take()) {
            self.sockets.remove(&socket);
            self.later(5.0, Happening::Feed(FeedEvent::Gone(socket)));
        }
    }

    // The end --------------------------------------------------------------------------------------------------------------

    /// The network is whole again, everybody is awake and online.
    fn heal(&mut self) -> Result<(), Broken> {
        self.healing = true;
        for n in 0..self.devices.len() {
            self.devices[n].online = true;
            for at in 0..self.devices[n].tabs.len() {
                let tab = &mut self.devices[n].tabs[at];
                if !tab.alive {
                    continue;
                }
                tab.frozen = false;
                let waiting = std::mem::take(&mut tab.waiting);
                let place = self.place(n, at);
                for event in waiting {
                    self.deliver(place, event)?;
                }
                self.later(12.0, Happening::Tab(place, Event::Online(true)));
                self.later(13.0, Happening::Tab(place, Event::Shown(true)));
            }
            if !self.devices[n].tabs.iter().any(|tab| tab.alive) {
                self.open_tab(n);
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Broken> {
        for (n, device) in self.devices.iter().enumerate() {
            for tab in device.tabs.iter().filter(|tab| tab.alive) {
                let (life, leads) = (tab.life, tab.engine.leads());
                let held = self.watcher.holds_what_is(&tab.engine, device.person, &self.database);
                held.map_err(|broken| Broken {
                    how: format!("device {n}, life {life}, leads: {leads}: {}", broken.how),
                    ..broken
                })?;
                self.watcher.drafts_are_there(n, &tab.engine)?;
            }
            let kept = self.watcher.device_holds_only_what_may_be_seen(&device.store, device.person, &self.database);
            kept.map_err(|broken| Broken { how: format!("device {n}: {}", broken.how), ..broken })?;
        }
        let stores: Vec<&MemoryStore> = self.devices.iter().map(|device| &device.store).collect();
        self.watcher.writes_are_accounted_for(&stores, &self.database)?;
        self.watcher.nothing_was_overwritten_unseen(&self.database)
    }
}

pub(crate) fn stored(store: &MemoryStore) -> Stored {
    Stored {
        log: store.read_now(Area::Entities, Which::Prefix(store::ROW)),
        chunks: store.read_now(Area::Entities, Which::Prefix(store::CHUNK)).into_iter().map(|(name, _)| name).collect(),
        lists: store.read_now(Area::Lists, Which::All),
        metadata: store.read_now(Area::Metadata, Which::All),
        drafts: read_all(store, Area::Drafts),
        outbox: read_all(store, Area::Outbox),
    }
}

fn read_all<T: for<'a> serde::Deserialize<'a>>(store: &MemoryStore, area: Area) -> Vec<T> {
    store.read_now(area, Which::All).iter().filter_map(|(_, bytes)| serde_json::from_slice(bytes).ok()).collect()
}

/// An answer as an engine would take it that does not look at versions: no row in it is older than what is held.
fn as_if_newest(engine: &Engine, body: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(body) else { return body.to_owned() };
    let renew = |row: &mut Value| {
        let id = row.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        let held = id.and_then(|id| engine.held_row(&EntityRef::new(code("task"), id))).map_or(0, |row| row.version);
        if row.get("version").and_then(Value::as_i64).is_some_and(|version| version < held) {
            row["version"] = json!(held);
        }
    };
    match value.get_mut("data").and_then(Value::as_array_mut) {
        Some(rows) => rows.iter_mut().for_each(renew),
        None => renew(&mut value),
    }
    value.to_string()
}
