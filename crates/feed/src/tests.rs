//! Tests of the whole state machine against a model database.
//!
//! Transactions commit in any order; grants are added, removed and expire; entities move; requests
//! are answered late or fail; clients connect and disconnect. In the end each client caches exactly
//! the entities that its user may see, at their current versions.

use super::*;
use clients::{Test, TestSubscription};
use model_database::{ModelDatabase, TxOp};
use pmo_domain::change_log::{AccessChange, CatchUpBatch, ChangeLogEntry, LogBatch, LogRange, action};
use pmo_domain::grant_set::{GrantSet, HeldGrant};
use pmo_domain::permission::Inheritance;
use pmo_domain::protocol::{Action, ClientMessage, ParentScope, ServerMessage, SubscribeRequest};
use pmo_domain::{
    AncestorSetId, EntityCode, EntityRef, FeedCursor, Permission, PersonId, Snapshot, UnixMillis, Version,
};
use proptest::prelude::*;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;
use uuid::Uuid;

mod clients;
mod model_database;
mod presence;
mod reading;

/// Number of projects. The ancestor set of the entities in project `n` is `n`.
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

fn ancestor_set(project: usize) -> AncestorSetId {
    AncestorSetId(project as i32)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn client_cache_converges_to_the_visible_entities(
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

fn connected_client() -> (Test, ConnectionId) {
    let mut test = Test::new(1, 100);
    test.connect(0);
    test.settle();
    let id = test.clients[0].id.unwrap();
    (test, id)
}

/// Processes an event and returns the effects.
fn effects_of(test: &mut Test, event: Event) -> Vec<Effect> {
    let mut out = Vec::new();
    test.feed.handle(event, test.database.clock(), &mut out);
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
fn heartbeats_are_answered_while_the_database_is_unavailable() {
    let (mut test, id) = connected_client();
    let subscribe =
        SubscribeRequest { entity_code: code("task"), entity_ids: Some(vec![task(0)]), parent: None, since: None };
    let effects = effects_of(&mut test, Event::MessageReceived(id, ClientMessage::Subscribe(subscribe)));
    assert!(matches!(effects[..], [Effect::QueryDatabase(DatabaseRequest::Lookup(_))]));
    assert!(effects_of(&mut test, Event::DatabaseFailed(Lane::Ordered)).is_empty(), "connections stay open");
    assert!(!test.feed.is_database_up());
    let pong = effects_of(&mut test, Event::MessageReceived(id, ClientMessage::Ping));
    assert!(matches!(messages(&pong)[..], [ServerMessage::Pong { .. }]));
    test.database.now += 400;
    assert!(effects_of(&mut test, Event::Tick).is_empty(), "not before the retry delay");
    test.database.now += 100;
    let retried = effects_of(&mut test, Event::Tick);
    let [Effect::QueryDatabase(query)] = &retried[..] else { panic!("{retried:?}") };
    let response = test.database.respond(query, 10);
    let next = effects_of(&mut test, Event::DatabaseReplied(response));
    let done = match &next[..] {
        [Effect::QueryDatabase(query)] => {
            let response = test.database.respond(query, 10);
            effects_of(&mut test, Event::DatabaseReplied(response))
        }
        _ => next,
    };
    assert!(messages(&done).iter().any(|m| matches!(m, ServerMessage::Subscribed { count: 1, .. })), "{done:?}");
}

#[test]
fn simultaneous_connections_share_database_requests() {
    let mut test = Test::new(1, 100);
    test.feed.limits.connections_per_person = 10_000;
    let mut query_count = 0;
    let mut out = Vec::new();
    for n in 0..1000 {
        test.feed.handle(Event::Connected(ConnectionId(n), person(n as usize % 300)), test.database.clock(), &mut out);
        let request = SubscribeRequest {
            entity_code: code("task"),
            entity_ids: Some(vec![task(n as usize % 6)]),
            parent: None,
            since: None,
        };
        test.feed.handle(
            Event::MessageReceived(ConnectionId(n), ClientMessage::Subscribe(request)),
            test.database.clock(),
            &mut out,
        );
    }
    let mut sent = 0;
    while !out.is_empty() {
        let mut next = Vec::new();
        for effect in out {
            match effect {
                Effect::QueryDatabase(query) => {
                    query_count += 1;
                    let response = test.database.respond(&query, 10);
                    test.feed.handle(Event::DatabaseReplied(response), test.database.clock(), &mut next);
                }
                Effect::Send(to, _) => sent += to.len(),
                _ => {}
            }
        }
        out = next;
    }
    assert_eq!(sent, 2000, "HELLO and SUBSCRIBED");
    assert!(query_count <= 12, "{query_count} requests");
}

#[test]
fn connections_per_user_are_limited() {
    let mut test = Test::new(1, 100);
    let is_rejected = |test: &mut Test, n: u64| {
        let out = effects_of(test, Event::Connected(ConnectionId(n), person(0)));
        out.iter().any(|effect| matches!(effect, Effect::Close(_, 1008, _)))
    };
    assert_eq!((0..5).map(|n| is_rejected(&mut test, n)).collect::<Vec<_>>(), [false, false, false, true, true]);
    effects_of(&mut test, Event::Disconnected(ConnectionId(1)));
    assert!(!is_rejected(&mut test, 9), "a closed connection makes way for a new one");
}

#[test]
fn equal_changes_share_a_frame_with_one_change_per_entity() {
    let mut test = Test::new(1, 100);
    test.feed.limits.connections_per_person = 100;
    for n in 0..50 {
        test.handle(Event::Connected(ConnectionId(n), person(0)));
        let request = SubscribeRequest { entity_code: code("task"), entity_ids: None, parent: None, since: None };
        test.handle(Event::MessageReceived(ConnectionId(n), ClientMessage::Subscribe(request)));
    }
    // This test does not use the client of the model.
    test.clients.clear();
    test.settle();
    test.database.begin();
    for _ in 0..5 {
        test.database.write(0, TxOp::Touch(0));
    }
    test.database.commit(0);
    let mut out = effects_of(&mut test, Event::LogNotified);
    while let [Effect::QueryDatabase(query)] = &out[..] {
        let response = test.database.respond(query, 100);
        out = effects_of(&mut test, Event::DatabaseReplied(response));
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
fn new_epoch_closes_all_connections() {
    let (mut test, id) = connected_client();
    let poll = effects_of(&mut test, Event::LogNotified);
    let [Effect::QueryDatabase(query)] = &poll[..] else { panic!("{poll:?}") };
    let DatabaseResponse::LogBatch(mut batch) = test.database.respond(query, 100) else { panic!("a log batch") };
    batch.epoch = 2;
    let out = effects_of(&mut test, Event::DatabaseReplied(DatabaseResponse::LogBatch(batch)));
    assert!(out.iter().any(|e| matches!(e, Effect::Close(which, 1012, _) if which.contains(&id))));
    assert_eq!((test.feed.cursor().epoch, test.feed.stats()), (2, (0, 0, 0)));
    effects_of(&mut test, Event::Connected(ConnectionId(77), person(0)));
    assert_eq!(test.feed.stats().0, 1, "new connections are accepted");
}

#[test]
fn shutdown_closes_connections_and_rejects_new_ones() {
    let (mut test, id) = connected_client();
    let out = effects_of(&mut test, Event::ShuttingDown);
    assert!(out.iter().any(|e| matches!(e, Effect::Close(which, 1012, _) if which.contains(&id))));
    let out = effects_of(&mut test, Event::Connected(ConnectionId(99), person(0)));
    assert!(matches!(out[..], [Effect::Close(_, 1012, _)]));
}

#[test]
fn clock_set_back_does_not_delay_polls() {
    let (mut test, _) = connected_client();
    test.database.now -= 3_600_000;
    effects_of(&mut test, Event::Tick);
    assert!(test.feed.deadline(test.database.clock()) <= test.database.clock() + Duration::from_secs(1));
    test.database.now += 1000;
    assert!(matches!(effects_of(&mut test, Event::Tick)[..], [Effect::QueryDatabase(DatabaseRequest::Poll { .. })]));
}
