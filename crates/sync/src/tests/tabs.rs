//! Several tabs on one device: one leads, the others follow.

use super::*;
use pmo_domain::protocol::PresentUser;

/// A leader and a follower with one device; what either says the other hears.
struct Pair {
    leader: Tab,
    follower: Engine,
    said: Vec<TabMessage>,
    fetched: usize,
}

impl Pair {
    fn new() -> Self {
        let leader = Tab::looking();
        let mut follower = Engine::new(9);
        let stored = Box::new(now_or_never(store::load(&leader.store)).unwrap());
        let mut pair = Self { follower: Engine::new(8), said: vec![], fetched: 0, leader };
        let start = Event::Start { person: ME, tab: TabId(Uuid::from_u128(2)), stored, term: None };
        let effects = follower.handle(start, pair.leader.now);
        pair.follower = follower;
        pair.perform(effects);
        pair
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Broadcast(message) => self.said.push(message),
                Effect::Fetch(..) | Effect::Connect => self.fetched += 1,
                Effect::Persist(batch, writes) => {
                    assert!(
                        writes.iter().all(|w| w.area().is_user_data()),
                        "a follower leaves the cache to its leader"
                    );
                    self.leader.store.write_now(&writes);
                    self.follow(Event::Persisted(batch, batch, Ok(())));
                }
                _ => {}
            }
        }
    }

    fn follow(&mut self, event: Event) {
        let effects = self.follower.handle(event, self.leader.now);
        self.perform(effects);
    }

    /// Everything that was said is heard, until nobody says anything more. As in the browser it travels as text.
    fn talk(&mut self) {
        loop {
            let (to_leader, to_follower) = (std::mem::take(&mut self.said), std::mem::take(&mut self.leader.said));
            if to_leader.is_empty() && to_follower.is_empty() {
                return;
            }
            let travel = |message: TabMessage| -> TabMessage {
                serde_json::from_str(&serde_json::to_string(&message).unwrap()).unwrap()
            };
            to_leader.into_iter().for_each(|message| self.leader.event(Event::TabMessageReceived(travel(message))));
            to_follower.into_iter().for_each(|message| self.follow(Event::TabMessageReceived(travel(message))));
        }
    }
}

#[test]
fn a_follower_asks_nothing_and_hears_everything() {
    let mut pair = Pair::new();
    pair.follow(Event::Observe(ObserverId(1), Query::List(tasks())));
    pair.talk();
    assert_eq!(pair.follower.list(&tasks()).ids.len(), 3);
    pair.leader.invalidate(&[(1, Action::Update, 2)]);
    pair.leader.answer(list(vec![row(1, 2, "news")]));
    pair.talk();
    assert_eq!(pair.follower.row(&task(1)).unwrap().data["name"], "news");
    pair.leader.invalidate(&[(2, Action::Revoke, 0)]);
    pair.talk();
    assert_eq!((pair.follower.row(&task(2)), pair.follower.list(&tasks()).ids.len()), (None, 2));
    assert_eq!(pair.fetched, 0);
}

#[test]
fn what_a_follower_looks_at_alone_the_leader_fetches_and_keeps() {
    let mut pair = Pair::new();
    let others = ListKey::below(code("task"), project(2), "project_id");
    pair.follow(Event::Observe(ObserverId(1), Query::List(others.clone())));
    pair.talk();
    assert_eq!(pair.leader.paths(), [others.page_path(1000, None)]);
    let mut elsewhere = row(8, 1, "elsewhere");
    elsewhere.insert("project_id".into(), json!(project(2).id));
    pair.leader.answer(list(vec![elsewhere]));
    pair.talk();
    assert_eq!(pair.follower.rows(&others)[0].data["name"], "elsewhere");
    assert!(pair.leader.kept().contains("elsewhere"));
    // Nobody looks any more: the leader lets it go as its own.
    pair.follow(Event::Unobserve(ObserverId(1)));
    pair.talk();
    pair.leader.now += 60_000.0;
    pair.leader.sent.clear();
    pair.leader.event(Event::Tick);
    assert!(pair.leader.sent.iter().any(|m| matches!(m, ClientMessage::Unsubscribe { .. })));
}

#[test]
fn what_a_follower_writes_the_leader_sends_and_both_show() {
    let mut pair = Pair::new();
    pair.follow(Event::Observe(ObserverId(1), Query::List(tasks())));
    pair.talk();
    pair.follow(Event::Update { entity: task(1), patch: patch(json!({"name": "mine"})), ids: ids(1) });
    assert_eq!(pair.follower.row(&task(1)).unwrap().data["name"], "mine");
    // The word that the outbox has changed: the leader reads it from the device.
    let entries = now_or_never(store::load_outbox(&pair.leader.store)).unwrap();
    pair.leader.event(Event::OutboxReloaded(entries));
    assert_eq!(pair.leader.names()[0], "mine");
    assert_eq!(pair.leader.requests[0].1.method, Method::Patch);
    pair.leader.answer(Value::Object(row(1, 2, "mine")));
    pair.talk();
    let entries = now_or_never(store::load_outbox(&pair.leader.store)).unwrap();
    pair.follow(Event::OutboxReloaded(entries));
    assert_eq!((pair.follower.outbox().len(), pair.follower.row(&task(1)).unwrap().pending), (0, false));
}

#[test]
fn a_leader_that_falls_silent_is_replaced_and_one_that_was_replaced_follows() {
    let mut pair = Pair::new();
    pair.talk();
    let effects = pair.follower.handle(Event::Tick, pair.leader.now + 500.0);
    assert!(!effects.contains(&Effect::StealLock), "not at once");
    let effects = pair.follower.handle(Event::Tick, pair.leader.now + 2000.0);
    assert!(effects.contains(&Effect::StealLock));
    let stored = Box::new(now_or_never(store::load(&pair.leader.store)).unwrap());
    let effects = pair.follower.handle(Event::LeadershipAcquired { stored, term: 2 }, pair.leader.now + 2001.0);
    assert!(effects.contains(&Effect::Connect) && pair.follower.is_leader());
    // The old one thaws: it hears that there is another, or asks before it sends.
    pair.leader.event(Event::TabMessageReceived(TabMessage::LeaderHeartbeat { term: 2, new: true }));
    assert!(!pair.leader.engine.is_leader());
    let requests = pair.leader.requests.len();
    pair.leader.update(1, json!({"name": "typed there"}), 1);
    assert_eq!(pair.leader.requests.len(), requests, "the other sends it");
}

#[test]
fn a_leader_to_whom_nothing_happened_for_long_asks_before_it_sends() {
    let mut tab = Tab::looking();
    tab.now += 60_000.0;
    let update = Event::Update { entity: task(1), patch: patch(json!({"name": "mine"})), ids: ids(1) };
    let effects = tab.engine.handle(update, tab.now);
    assert!(effects.contains(&Effect::CheckTerm));
    let Some(Effect::Persist(batch, _)) = effects.into_iter().find(|e| matches!(e, Effect::Persist(..))) else {
        panic!()
    };
    let sends =
        |effects: &[Effect]| effects.iter().any(|e| matches!(e, Effect::Fetch(_, r) if r.method == Method::Patch));
    assert!(!sends(&tab.engine.handle(Event::Persisted(batch, batch, Ok(())), tab.now)));
    assert!(sends(&tab.engine.handle(Event::TermChecked(0), tab.now)));
}

#[test]
fn what_the_tabs_in_sight_look_at_is_said_and_who_else_does_is_told_to_each() {
    let mut pair = Pair::new();
    let said = |pair: &mut Pair| -> Vec<Vec<EntityRef>> {
        let things = |message: ClientMessage| match message {
            ClientMessage::Viewing { things } => {
                Some(things.into_iter().map(|thing| EntityRef::new(thing.entity_code, thing.entity_id)).collect())
            }
            _ => None,
        };
        std::mem::take(&mut pair.leader.sent).into_iter().filter_map(things).collect()
    };
    let told = |pair: &mut Pair, n: u128, names: &[&str]| {
        let people =
            names.iter().map(|name| PresentUser { person_id: Uuid::from_u128(9), name: (*name).to_owned() }).collect();
        let entity = task(n);
        let message = ServerMessage::Presence { entity_code: entity.code, entity_id: entity.id, people };
        pair.leader.event(Event::SocketMessage(message));
        pair.talk();
    };
    pair.leader.event(Event::SetViewing(task(1), true));
    assert_eq!(said(&mut pair), [vec![task(1)]]);
    pair.follow(Event::SetViewing(task(2), true));
    pair.talk();
    assert_eq!(said(&mut pair), [vec![task(1), task(2)]], "all that the tabs look at, in one message");
    told(&mut pair, 2, &["Ann"]);
    assert_eq!(pair.follower.present_users(&task(2))[0].name, "Ann");
    // A tab out of sight looks at nothing; the next page is told before the last is left.
    pair.leader.event(Event::VisibilityChanged(false));
    assert_eq!(said(&mut pair), [vec![task(2)]]);
    pair.leader.event(Event::VisibilityChanged(true));
    said(&mut pair);
    pair.follow(Event::SetViewing(task(3), true));
    pair.follow(Event::SetViewing(task(2), false));
    pair.talk();
    assert_eq!(said(&mut pair), [vec![task(1), task(3)]]);
    assert!(pair.follower.present_users(&task(2)).is_empty());
    // A socket that is gone knows nobody; the next is told anew.
    told(&mut pair, 1, &["Ann"]);
    assert_eq!(pair.leader.engine.present_users(&task(1)).len(), 1);
    pair.leader.event(Event::SocketClosed(1006));
    pair.talk();
    assert!(pair.leader.engine.present_users(&task(1)).is_empty());
    pair.leader.hello();
    assert_eq!(said(&mut pair), [vec![task(1), task(3)]]);
}
