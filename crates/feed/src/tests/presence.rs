//! Who looks at what is told to those who look at the same and may, and to nobody else.

use super::*;
use crate::presence::PodPresence;
use pmo_domain::protocol::{PresentUser, ViewedEntity};

/// Clients of persons 0, 1 and 2; persons 0 and 1 see project 0.
fn three() -> Test {
    let mut test = Test::new(3, 100);
    test.world.grants.insert((1, 0), None);
    test.world.note_sights();
    for n in 0..3 {
        test.feed.handle(Event::PersonNamed(person(n), format!("P{n}").into()), test.world.now, &mut Vec::new());
        test.connect(n);
    }
    test.settle();
    test
}

fn looking(things: &[usize]) -> ClientMessage {
    let one = |n: &usize| ViewedEntity { entity_code: code("task"), entity_id: task(*n) };
    ClientMessage::Viewing { things: things.iter().map(one).collect() }
}

/// What is said of presence after an event, until nothing more is asked: to whom, of which task, who.
fn presence(test: &mut Test, event: Event) -> Vec<(u64, Uuid, Vec<String>)> {
    let mut said = Vec::new();
    let mut events = vec![event];
    while let Some(event) = events.pop() {
        for effect in told(test, event) {
            match effect {
                Effect::QueryDatabase(question) => {
                    events.push(Event::DatabaseReplied(test.world.answer(&question, 100)))
                }
                Effect::Send(to, frame) => {
                    let message = serde_json::from_str(&frame.to_json()).unwrap();
                    if let ServerMessage::Presence { entity_id, people, .. } = message {
                        let names: Vec<String> = people.into_iter().map(|here| here.name).collect();
                        said.extend(to.iter().map(|id| (id.0, entity_id, names.clone())));
                    }
                }
                _ => {}
            }
        }
    }
    said.sort();
    said
}

fn id(test: &Test, n: usize) -> ConnectionId {
    test.clients[n].id.unwrap()
}

#[test]
fn who_looks_at_the_same_hears_of_each_other_and_nobody_else_does() {
    let mut test = three();
    let (a, b, c) = (id(&test, 0), id(&test, 1), id(&test, 2));
    assert_eq!(presence(&mut test, Event::MessageReceived(a, looking(&[0]))), [(a.0, task(0), vec![])]);
    // Who may not see it looks at nothing, and neither is told nor told of.
    assert_eq!(presence(&mut test, Event::MessageReceived(c, looking(&[0]))), []);
    let both = [(a.0, task(0), vec!["P1".to_owned()]), (b.0, task(0), vec!["P0".to_owned()])];
    assert_eq!(presence(&mut test, Event::MessageReceived(b, looking(&[0]))), both);
    assert_eq!(presence(&mut test, Event::MessageReceived(b, looking(&[0]))), [], "nothing new");
    // Elsewhere now: who stays is told, who went is not told of what they left.
    assert_eq!(
        presence(&mut test, Event::MessageReceived(b, looking(&[3]))),
        [(a.0, task(0), vec![]), (b.0, task(3), vec![])]
    );
    presence(&mut test, Event::MessageReceived(b, looking(&[0, 3])));
    assert_eq!(presence(&mut test, Event::Disconnected(b)), [(a.0, task(0), vec![])]);
    let refused = told(&mut test, Event::MessageReceived(a, looking(&[0; 40])));
    assert!(matches!(messages(&refused)[..], [ServerMessage::Error { .. }]));
}

#[test]
fn who_may_not_see_it_any_more_is_not_there_any_more() {
    let mut test = three();
    let (a, b) = (id(&test, 0), id(&test, 1));
    presence(&mut test, Event::MessageReceived(a, looking(&[0])));
    presence(&mut test, Event::MessageReceived(b, looking(&[0])));
    test.world.begin();
    test.world.write(0, TxOp::Ungrant(1, 0));
    test.world.commit(0);
    assert_eq!(presence(&mut test, Event::LogNotified), [(a.0, task(0), vec![])]);
    // What is moved out of their sight, too.
    test.world.begin();
    test.world.write(0, TxOp::Grant(1, 0, None));
    test.world.commit(0);
    presence(&mut test, Event::LogNotified);
    assert_eq!(presence(&mut test, Event::MessageReceived(b, looking(&[0]))).len(), 2);
    test.world.begin();
    test.world.write(0, TxOp::Grant(0, 1, None));
    test.world.write(0, TxOp::Move(0, 1));
    test.world.commit(0);
    assert_eq!(presence(&mut test, Event::LogNotified), [(a.0, task(0), vec![])]);
}

#[test]
fn other_pods_are_heard_and_forgotten_when_they_fall_silent() {
    let mut test = three();
    let a = id(&test, 0);
    let there = |names: &[&str]| {
        let here =
            |name: &&str| PresentUser { person_id: Uuid::from_u128(name.len() as u128 + 77), name: (*name).to_owned() };
        let entity = EntityRef::new(code("task"), task(0));
        Event::RemotePresence(PodPresence { pod: Uuid::from_u128(5), entity, people: names.iter().map(here).collect() })
    };
    assert_eq!(presence(&mut test, there(&["Far"])), [], "nobody looks here");
    assert_eq!(presence(&mut test, Event::MessageReceived(a, looking(&[0]))), [(a.0, task(0), vec!["Far".to_owned()])]);
    assert_eq!(presence(&mut test, there(&["Far"])), [], "said again");
    assert_eq!(presence(&mut test, there(&[])), [(a.0, task(0), vec![])]);
    presence(&mut test, there(&["Far"]));
    let announced =
        |test: &mut Test| told(test, Event::Tick).iter().filter(|e| matches!(e, Effect::PublishPresence(..))).count();
    test.world.now += 50_000;
    assert_eq!(announced(&mut test), 1, "who looks here is said again");
    assert_eq!(announced(&mut test), 0);
    test.world.now += 50_000;
    assert_eq!(presence(&mut test, Event::Tick), []);
    test.world.now += 50_000;
    assert_eq!(presence(&mut test, Event::Tick), [(a.0, task(0), vec![])], "silent for too long");
    assert!(test.feed.deadline(test.world.now) > test.world.now);
}
