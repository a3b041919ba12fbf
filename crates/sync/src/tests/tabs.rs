//! Several tabs on one device: one leader and its followers.

use super::*;
use pmo_domain::protocol::PresentUser;

/// Leader and follower that share a device and exchange messages.
struct Pair {
    leader: Tab,
    follower: Engine,
    /// Messages of the follower that the leader has not received yet.
    broadcasts: Vec<TabMessage>,
    /// Number of requests and connections of the follower.
    fetched: usize,
}

impl Pair {
    fn new() -> Self {
        let leader = Tab::observing_tasks();
        let mut follower = Engine::new(9);
        let stored = Box::new(now_or_never(store::load(&leader.store)).unwrap());
        let mut pair = Self { follower: Engine::new(8), broadcasts: vec![], fetched: 0, leader };
        let start = Event::Start { person: ME, tab: TabId(Uuid::from_u128(2)), stored, term: None };
        let effects = follower.handle(start, pair.leader.now);
        pair.follower = follower;
        pair.perform(effects);
        pair
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Broadcast(message) => self.broadcasts.push(message),
                Effect::Fetch(..) | Effect::Connect => self.fetched += 1,
                Effect::Persist(batch, writes) => {
                    assert!(writes.iter().all(|w| w.namespace().is_user_data()), "a follower must not write the cache");
                    self.leader.store.write_now(&writes);
                    self.follower_event(Event::Persisted(batch, batch, Ok(())));
                }
                _ => {}
            }
        }
    }

    fn follower_event(&mut self, event: Event) {
        let effects = self.follower.handle(event, self.leader.now);
        self.perform(effects);
    }

    /// Delivers messages, serialized as in the browser, in both directions until none is left.
    fn exchange_messages(&mut self) {
        loop {
            let to_leader = std::mem::take(&mut self.broadcasts);
            let to_follower = std::mem::take(&mut self.leader.broadcasts);
            if to_leader.is_empty() && to_follower.is_empty() {
                return;
            }
            let transfer = |message: TabMessage| -> TabMessage {
                serde_json::from_str(&serde_json::to_string(&message).unwrap()).unwrap()
            };
            to_leader.into_iter().for_each(|message| self.leader.event(Event::TabMessageReceived(transfer(message))));
            to_follower
                .into_iter()
                .for_each(|message| self.follower_event(Event::TabMessageReceived(transfer(message))));
        }
    }
}

#[test]
fn follower_sends_no_requests_and_receives_all_changes() {
    let mut pair = Pair::new();
    pair.follower_event(Event::Observe(ObserverId(1), Query::List(tasks())));
    pair.exchange_messages();
    assert_eq!(pair.follower.list(&tasks()).ids.len(), 3);
    pair.leader.invalidate(&[(1, Action::Update, 2)]);
    pair.leader.respond(list(vec![row(1, 2, "changed")]));
    pair.exchange_messages();
    assert_eq!(pair.follower.row(&task(1)).unwrap().data["name"], "changed");
    pair.leader.invalidate(&[(2, Action::Revoke, 0)]);
    pair.exchange_messages();
    assert_eq!((pair.follower.row(&task(2)), pair.follower.list(&tasks()).ids.len()), (None, 2));
    assert_eq!(pair.fetched, 0);
}

#[test]
fn leader_fetches_and_persists_queries_of_its_followers() {
    let mut pair = Pair::new();
    let others = ListKey::children_of(code("task"), project(2), "project_id");
    pair.follower_event(Event::Observe(ObserverId(1), Query::List(others.clone())));
    pair.exchange_messages();
    assert_eq!(pair.leader.paths(), [others.page_path(1000, None)]);
    let mut elsewhere = row(8, 1, "elsewhere");
    elsewhere.insert("project_id".into(), json!(project(2).id));
    pair.leader.respond(list(vec![elsewhere]));
    pair.exchange_messages();
    assert_eq!(pair.follower.rows(&others)[0].data["name"], "elsewhere");
    assert!(pair.leader.stored_text().contains("elsewhere"));
    // Without observers the leader unsubscribes, as it does for its own queries.
    pair.follower_event(Event::Unobserve(ObserverId(1)));
    pair.exchange_messages();
    pair.leader.now = pair.leader.now + Duration::from_millis(60_000);
    pair.leader.sent.clear();
    pair.leader.event(Event::Tick);
    assert!(pair.leader.sent.iter().any(|m| matches!(m, ClientMessage::Unsubscribe { .. })));
}

#[test]
fn leader_sends_writes_of_a_follower_and_both_show_them() {
    let mut pair = Pair::new();
    pair.follower_event(Event::Observe(ObserverId(1), Query::List(tasks())));
    pair.exchange_messages();
    pair.follower_event(Event::Update { entity: task(1), patch: patch(json!({"name": "mine"})), ids: ids(1) });
    assert_eq!(pair.follower.row(&task(1)).unwrap().data["name"], "mine");
    // After the notification the leader reads the outbox from the device.
    let entries = now_or_never(store::load_outbox(&pair.leader.store)).unwrap();
    pair.leader.event(Event::OutboxReloaded(entries));
    assert_eq!(pair.leader.names()[0], "mine");
    assert_eq!(pair.leader.requests[0].1.method, Method::Patch);
    pair.leader.respond(Value::Object(row(1, 2, "mine")));
    pair.exchange_messages();
    let entries = now_or_never(store::load_outbox(&pair.leader.store)).unwrap();
    pair.follower_event(Event::OutboxReloaded(entries));
    assert_eq!((pair.follower.outbox().len(), pair.follower.row(&task(1)).unwrap().pending), (0, false));
}

#[test]
fn silent_leader_is_replaced_and_becomes_a_follower() {
    let mut pair = Pair::new();
    pair.exchange_messages();
    let effects = pair.follower.handle(Event::Tick, pair.leader.now + Duration::from_millis(500));
    assert!(!effects.contains(&Effect::StealLock), "too early");
    let effects = pair.follower.handle(Event::Tick, pair.leader.now + Duration::from_millis(2000));
    assert!(effects.contains(&Effect::StealLock));
    let stored = Box::new(now_or_never(store::load(&pair.leader.store)).unwrap());
    let effects = pair
        .follower
        .handle(Event::LeadershipAcquired { stored, term: 2 }, pair.leader.now + Duration::from_millis(2001));
    assert!(effects.contains(&Effect::Connect) && pair.follower.is_leader());
    // The former leader resumes and receives the heartbeat of its successor.
    pair.leader.event(Event::TabMessageReceived(TabMessage::LeaderHeartbeat { term: 2, new: true }));
    assert!(!pair.leader.engine.is_leader());
    let requests = pair.leader.requests.len();
    pair.leader.update(1, json!({"name": "typed there"}), 1);
    assert_eq!(pair.leader.requests.len(), requests, "only the new leader sends the write");
}

#[test]
fn leader_checks_its_term_before_sending_after_a_long_pause() {
    let mut tab = Tab::observing_tasks();
    tab.now = tab.now + Duration::from_millis(60_000);
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
fn presence_covers_the_visible_tabs_and_is_forwarded_to_followers() {
    let mut pair = Pair::new();
    let sent_viewing = |pair: &mut Pair| -> Vec<Vec<EntityRef>> {
        let viewed = |message: ClientMessage| match message {
            ClientMessage::Viewing { entities } => {
                Some(entities.into_iter().map(|viewed| EntityRef::new(viewed.entity_code, viewed.entity_id)).collect())
            }
            _ => None,
        };
        std::mem::take(&mut pair.leader.sent).into_iter().filter_map(viewed).collect()
    };
    let receive_presence = |pair: &mut Pair, n: u128, names: &[&str]| {
        let people =
            names.iter().map(|name| PresentUser { person_id: Uuid::from_u128(9), name: (*name).to_owned() }).collect();
        let entity = task(n);
        let message = ServerMessage::Presence { entity_code: entity.code, entity_id: entity.id, people };
        pair.leader.event(Event::SocketMessage(message));
        pair.exchange_messages();
    };
    pair.leader.event(Event::PageOpened(task(1)));
    assert_eq!(sent_viewing(&mut pair), [vec![task(1)]]);
    pair.follower_event(Event::PageOpened(task(2)));
    pair.exchange_messages();
    assert_eq!(sent_viewing(&mut pair), [vec![task(1), task(2)]], "one message with the entities of all tabs");
    receive_presence(&mut pair, 2, &["Ann"]);
    assert_eq!(pair.follower.present_users(&task(2))[0].name, "Ann");
    // A hidden tab views nothing; a new page is opened before the previous one is closed.
    pair.leader.event(Event::VisibilityChanged(false));
    assert_eq!(sent_viewing(&mut pair), [vec![task(2)]]);
    pair.leader.event(Event::VisibilityChanged(true));
    sent_viewing(&mut pair);
    pair.follower_event(Event::PageOpened(task(3)));
    pair.follower_event(Event::PageClosed(task(2)));
    pair.exchange_messages();
    assert_eq!(sent_viewing(&mut pair), [vec![task(1), task(3)]]);
    assert!(pair.follower.present_users(&task(2)).is_empty());
    // Presence is cleared when the socket closes and sent again after the next HELLO.
    receive_presence(&mut pair, 1, &["Ann"]);
    assert_eq!(pair.leader.engine.present_users(&task(1)).len(), 1);
    pair.leader.event(Event::SocketClosed(1006));
    pair.exchange_messages();
    assert!(pair.leader.engine.present_users(&task(1)).is_empty());
    pair.leader.hello();
    assert_eq!(sent_viewing(&mut pair), [vec![task(1), task(3)]]);
}

#[test]
fn new_follower_receives_a_list_that_only_the_server_can_derive() {
    let mut pair = Pair::new();
    // The leader does not know the follower yet, which therefore also learns of an access change.
    pair.broadcasts.clear();
    let mut linked = tasks();
    linked.parent_filter.as_mut().unwrap().column = None;
    pair.leader.event(Event::Observe(ObserverId(2), Query::List(linked.clone())));
    pair.leader.respond(list(vec![row(8, 1, "linked")]));
    pair.leader.broadcasts.clear();
    pair.follower_event(Event::Observe(ObserverId(1), Query::List(linked.clone())));
    pair.exchange_messages();
    assert_eq!(pair.follower.rows(&linked)[0].data["name"], "linked");
}
