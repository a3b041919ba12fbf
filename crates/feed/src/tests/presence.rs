//! Tests of presence: viewers are sent only to other viewers of the same entity who may see it.

use super::*;
use pmo_domain::protocol::{PresentUser, ViewedEntity};

/// Connects clients of persons 0, 1 and 2. Persons 0 and 1 can see project 0.
fn three_clients() -> Test {
    let mut test = Test::new(3, 100);
    test.database.grants.insert((1, 0), None);
    test.database.record_visibility();
    for n in 0..3 {
        test.feed.handle(Event::PersonNamed(person(n), format!("P{n}").into()), test.database.clock(), &mut Vec::new());
        test.connect(n);
    }
    test.settle();
    test
}

fn viewing(tasks: &[usize]) -> ClientMessage {
    let to_entity = |n: &usize| ViewedEntity { entity_code: code("task"), entity_id: task(*n) };
    ClientMessage::Viewing { entities: tasks.iter().map(to_entity).collect() }
}

/// Processes an event and its database requests.
///
/// Returns the PRESENCE messages as connection, task and names of the viewers.
fn presence(test: &mut Test, event: Event) -> Vec<(u64, Uuid, Vec<String>)> {
    let mut messages = Vec::new();
    let mut events = vec![event];
    while let Some(event) = events.pop() {
        for effect in effects_of(test, event) {
            match effect {
                Effect::QueryDatabase(query) => events.push(Event::DatabaseReplied(test.database.respond(&query, 100))),
                Effect::Send(to, frame) => {
                    let message = serde_json::from_str(&frame.to_json()).unwrap();
                    if let ServerMessage::Presence { entity_id, people, .. } = message {
                        let names: Vec<String> = people.into_iter().map(|user| user.name).collect();
                        messages.extend(to.iter().map(|id| (id.0, entity_id, names.clone())));
                    }
                }
                _ => {}
            }
        }
    }
    messages.sort();
    messages
}

fn id(test: &Test, n: usize) -> ConnectionId {
    test.clients[n].id.unwrap()
}

#[test]
fn viewers_of_an_entity_are_sent_only_to_each_other() {
    let mut test = three_clients();
    let (a, b, c) = (id(&test, 0), id(&test, 1), id(&test, 2));
    assert_eq!(presence(&mut test, Event::MessageReceived(a, viewing(&[0]))), [(a.0, task(0), vec![])]);
    // A user without access is not a viewer: the request has no effect.
    assert_eq!(presence(&mut test, Event::MessageReceived(c, viewing(&[0]))), []);
    let both = [(a.0, task(0), vec!["P1".to_owned()]), (b.0, task(0), vec!["P0".to_owned()])];
    assert_eq!(presence(&mut test, Event::MessageReceived(b, viewing(&[0]))), both);
    assert_eq!(presence(&mut test, Event::MessageReceived(b, viewing(&[0]))), [], "no difference");
    // After a change of the viewed task, only viewers of the old and of the new task are notified.
    assert_eq!(
        presence(&mut test, Event::MessageReceived(b, viewing(&[3]))),
        [(a.0, task(0), vec![]), (b.0, task(3), vec![])]
    );
    presence(&mut test, Event::MessageReceived(b, viewing(&[0, 3])));
    assert_eq!(presence(&mut test, Event::Disconnected(b)), [(a.0, task(0), vec![])]);
    let effects = effects_of(&mut test, Event::MessageReceived(a, viewing(&[0; 40])));
    assert!(matches!(messages(&effects)[..], [ServerMessage::Error { .. }]));
}

#[test]
fn viewer_is_removed_on_loss_of_access() {
    let mut test = three_clients();
    let (a, b) = (id(&test, 0), id(&test, 1));
    presence(&mut test, Event::MessageReceived(a, viewing(&[0])));
    presence(&mut test, Event::MessageReceived(b, viewing(&[0])));
    test.database.begin();
    test.database.write(0, TxOp::Ungrant(1, 0));
    test.database.commit(0);
    assert_eq!(presence(&mut test, Event::LogNotified), [(a.0, task(0), vec![])]);
    // An entity that moves out of the visible projects is no longer viewed.
    test.database.begin();
    test.database.write(0, TxOp::Grant(1, 0, None));
    test.database.commit(0);
    presence(&mut test, Event::LogNotified);
    assert_eq!(presence(&mut test, Event::MessageReceived(b, viewing(&[0]))).len(), 2);
    test.database.begin();
    test.database.write(0, TxOp::Grant(0, 1, None));
    test.database.write(0, TxOp::Move(0, 1));
    test.database.commit(0);
    assert_eq!(presence(&mut test, Event::LogNotified), [(a.0, task(0), vec![])]);
}

#[test]
fn viewers_of_other_pods_are_shown_until_they_time_out() {
    let mut test = three_clients();
    let a = id(&test, 0);
    let remote = |names: &[&str]| {
        let to_user =
            |name: &&str| PresentUser { person_id: Uuid::from_u128(name.len() as u128 + 77), name: (*name).to_owned() };
        let entity = EntityRef::new(code("task"), task(0));
        Event::RemotePresence(PodPresence {
            pod: Uuid::from_u128(5),
            entity,
            people: names.iter().map(to_user).collect(),
        })
    };
    assert_eq!(presence(&mut test, remote(&["Far"])), [], "no local viewer");
    assert_eq!(presence(&mut test, Event::MessageReceived(a, viewing(&[0]))), [(a.0, task(0), vec!["Far".to_owned()])]);
    assert_eq!(presence(&mut test, remote(&["Far"])), [], "repeated announcement");
    assert_eq!(presence(&mut test, remote(&[])), [(a.0, task(0), vec![])]);
    presence(&mut test, remote(&["Far"]));
    let announcements = |test: &mut Test| {
        effects_of(test, Event::Tick).iter().filter(|e| matches!(e, Effect::PublishPresence(..))).count()
    };
    test.database.now += 50_000;
    assert_eq!(announcements(&mut test), 1, "local viewers are announced again");
    assert_eq!(announcements(&mut test), 0);
    test.database.now += 50_000;
    assert_eq!(presence(&mut test, Event::Tick), []);
    test.database.now += 50_000;
    assert_eq!(presence(&mut test, Event::Tick), [(a.0, task(0), vec![])], "the pod timed out");
    assert!(test.feed.deadline(test.database.clock()) > test.database.clock());
}
