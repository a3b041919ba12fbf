//! What is shown, and how it is kept true.

use super::*;

#[test]
fn a_list_is_fetched_kept_and_watched_from_where_its_answer_stood() {
    let mut tab = Tab::new();
    tab.hello();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert_eq!(tab.paths(), [tasks().page_path(1000, None)]);
    tab.answer(list(vec![row(1, 1, "one")]));
    let subscribe =
        tab.sent.iter().find_map(|m| if let ClientMessage::Subscribe(s) = m { Some(s) } else { None }).unwrap();
    assert_eq!((subscribe.since.as_deref(), subscribe.parent.is_some()), (Some("1.5"), true));
    assert_eq!(tab.names(), ["one"]);
}

#[test]
fn two_who_look_at_the_same_share_one_request() {
    let mut tab = Tab::new();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    tab.event(Event::Observe(ObserverId(2), Query::List(tasks())));
    assert_eq!(tab.requests.len(), 1);
}

#[test]
fn with_no_network_the_device_shows_what_it_kept() {
    let mut tab = Tab::looking().reloaded();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert_eq!(tab.names(), ["one", "two", "three"]);
    tab.fail(RequestError::Network);
    assert_eq!(tab.names(), ["one", "two", "three"]);
    assert!(!tab.engine.status().online);
}

#[test]
fn a_burst_of_changes_is_one_request() {
    let mut tab = Tab::looking();
    tab.invalidate(&[(1, Action::Update, 2), (2, Action::Update, 2), (3, Action::Update, 2)]);
    tab.invalidate(&[(1, Action::Update, 3), (2, Action::Update, 3)]);
    assert_eq!(tab.requests.len(), 1);
    assert!(tab.paths()[0].starts_with("/task?ids="));
    tab.answer(list(vec![row(1, 3, "uno"), row(2, 2, "due"), row(3, 2, "tre")]));
    // Two came again while the first request was out: one more, and for the one that is still old.
    assert_eq!(tab.requests.len(), 1);
    tab.answer(list(vec![row(1, 3, "uno"), row(2, 3, "zwei")]));
    assert_eq!(tab.names(), ["uno", "zwei", "tre"]);
    assert!(tab.requests.is_empty());
}

#[test]
fn a_change_of_a_version_already_held_fetches_nothing() {
    let mut tab = Tab::looking();
    tab.invalidate(&[(1, Action::Update, 1)]);
    assert!(tab.requests.is_empty());
}

#[test]
fn nothing_goes_back_in_time() {
    let mut tab = Tab::looking();
    tab.invalidate(&[(1, Action::Update, 5)]);
    tab.answer(list(vec![row(1, 3, "old")]));
    assert_eq!(tab.names()[0], "one");
    assert_eq!(tab.requests.len(), 1, "it is asked for again");
    tab.answer(list(vec![row(1, 5, "new")]));
    assert_eq!(tab.names()[0], "new");
}

#[test]
fn an_equal_answer_repaints_nothing() {
    let mut tab = Tab::looking();
    tab.event(Event::SocketMessage(ServerMessage::Access { access_epoch: "1".into() }));
    tab.changed.clear();
    let rows = tab.requests.iter().position(|(_, r)| r.path.contains("ids=")).unwrap();
    let (id, _) = tab.requests.remove(rows);
    let body = list(vec![row(1, 1, "one"), row(2, 1, "two"), row(3, 1, "three")]);
    tab.event(Event::ResponseReceived(id, Ok(answer(body))));
    assert_eq!(tab.changed, []);
}

#[test]
fn a_new_row_enters_the_open_list_and_a_deleted_one_leaves_it() {
    let mut tab = Tab::looking();
    tab.invalidate(&[(4, Action::Create, 1)]);
    tab.answer(list(vec![row(4, 1, "four")]));
    assert_eq!(tab.names(), ["one", "two", "three", "four"]);
    tab.invalidate(&[(2, Action::Delete, 2)]);
    assert_eq!(tab.names(), ["one", "three", "four"]);
    let tab = tab.reloaded();
    assert_eq!(tab.names(), ["one", "three", "four"]);
}

#[test]
fn a_row_that_moved_elsewhere_leaves_the_list() {
    let mut tab = Tab::looking();
    tab.invalidate(&[(2, Action::Update, 2)]);
    let mut moved = row(2, 2, "two");
    moved.insert("project_id".into(), json!(project(2).id));
    tab.answer(list(vec![moved]));
    assert_eq!(tab.names(), ["one", "three"]);
}

#[test]
fn a_revoked_row_leaves_memory_and_device() {
    let mut tab = Tab::looking();
    tab.invalidate(&[(2, Action::Revoke, 0)]);
    assert_eq!(tab.engine.row(&task(2)), None);
    assert!(tab.kept().contains("three") && !tab.kept().contains("two"));
}

#[test]
fn when_access_changes_what_is_absent_from_the_sweep_is_wiped() {
    let mut tab = Tab::looking();
    tab.event(Event::SocketMessage(ServerMessage::Access { access_epoch: "2".into() }));
    let sweep = tab.requests.iter().position(|(_, r)| r.path.contains("ids=")).unwrap();
    let (id, _) = tab.requests.remove(sweep);
    tab.event(Event::ResponseReceived(id, Ok(answer(list(vec![row(1, 1, "one")])))));
    assert_eq!(tab.names(), ["one"]);
}

#[test]
fn a_watched_row_that_the_server_refuses_is_asked_for_again_and_wiped_where_it_is_gone() {
    let mut tab = Tab::looking();
    tab.event(Event::Observe(ObserverId(2), Query::Row(task(1))));
    tab.answer(Value::Object(row(1, 1, "one")));
    let refused = |refused| ServerMessage::Subscribed { count: 0, entity_code: code("task"), refused };
    tab.event(Event::SocketMessage(refused(0)));
    assert!(tab.paths().is_empty());
    tab.event(Event::SocketMessage(refused(1)));
    // The row, and the list that hangs below a thing which may have been refused as well.
    assert_eq!(tab.requests.len(), 2);
    tab.requests.sort_by_key(|(_, r)| r.path.contains('?'));
    tab.refuse(404, None);
    assert_eq!(tab.names(), ["two", "three"]);
}

#[test]
fn what_was_told_while_nobody_looked_is_asked_for_when_somebody_does() {
    let mut tab = Tab::looking();
    tab.event(Event::Unobserve(ObserverId(1)));
    tab.invalidate(&[(1, Action::Update, 2), (4, Action::Create, 1)]);
    assert!(tab.requests.is_empty());
    tab.now += 5_000.0;
    tab.event(Event::Observe(ObserverId(2), Query::List(tasks())));
    assert_eq!(tab.requests.len(), 1, "the list is asked for again, though it is still watched");
}

#[test]
fn what_was_made_here_is_watched_once_the_server_has_it() {
    let mut tab = Tab::new();
    tab.hello();
    let values = patch(json!({"name": "new project"}));
    tab.event(Event::Create { entity: project(1), values, ids: ids(1) });
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert_eq!(tab.requests.len(), 1, "nothing can be below it yet");
    let mut made = row(1, 1, "new project");
    made.insert("id".into(), json!(project(1).id));
    tab.answer(Value::Object(made));
    assert_eq!(tab.requests.len(), 1, "now the list is asked for");
    tab.answer(list(vec![]));
    let watches =
        |m: &ClientMessage| matches!(m, ClientMessage::Subscribe(s) if s.parent.is_some() && s.since.is_some());
    assert!(tab.sent.iter().any(watches));
}

#[test]
fn an_answer_from_before_a_thing_went_does_not_bring_it_back() {
    let mut tab = Tab::looking();
    tab.event(Event::Observe(ObserverId(2), Query::Row(task(1))));
    tab.invalidate(&[(1, Action::Delete, 2)]);
    assert_eq!(tab.names(), ["two", "three"]);
    tab.answer(Value::Object(row(1, 1, "one")));
    assert_eq!(tab.names(), ["two", "three"]);
    // What was asked for since tells.
    assert!(tab.paths()[0].starts_with("/task?ids="));
    tab.answer(list(vec![row(1, 3, "restored")]));
    assert_eq!(tab.names().len(), 3);
}

#[test]
fn a_returning_client_watches_again_and_resumes_from_its_cursor() {
    let mut tab = Tab::looking();
    tab.invalidate(&[]);
    tab.event(Event::SocketClosed(1006));
    let connects = tab.connects;
    tab.now += 2000.0;
    tab.event(Event::Tick);
    assert_eq!(tab.connects, connects + 1);
    tab.hello();
    assert!(matches!(&tab.sent[0], ClientMessage::Subscribe(s) if s.parent.is_some()));
    assert_eq!(tab.sent[1], ClientMessage::Resume { epoch: "1".into(), cursor: "1.9".into() });
    tab.event(Event::SocketMessage(ServerMessage::Resumed { recovered: false, cursor: "1.20".into() }));
    assert!(tab.paths().iter().any(|p| p.contains("ids=")), "what can't be told is asked for");
}

#[test]
fn an_expired_token_is_renewed_once_and_everything_is_kept() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": "mine"}), 1);
    tab.refuse(401, None);
    assert!(tab.requests.is_empty());
    assert_eq!(tab.names()[0], "mine");
    tab.event(Event::TokenRefreshed);
    assert_eq!(tab.requests[0].1.method, Method::Patch);
}

#[test]
fn what_was_missed_is_asked_for_again_where_the_socket_drops_before_the_answer() {
    let mut tab = Tab::looking();
    tab.invalidate(&[]);
    tab.event(Event::SocketClosed(1006));
    tab.hello();
    // A live change comes before RESUMED, then the socket drops.
    let cursor = "1.50".to_owned();
    tab.event(Event::SocketMessage(ServerMessage::Pong { cursor }));
    tab.event(Event::SocketClosed(1006));
    tab.sent.clear();
    tab.hello();
    assert!(tab.sent.contains(&ClientMessage::Resume { epoch: "1".into(), cursor: "1.9".into() }));
}

#[test]
fn a_server_in_trouble_is_not_asked_at_network_speed() {
    let mut tab = Tab::looking();
    tab.invalidate(&[(1, Action::Update, 2)]);
    tab.refuse(503, None);
    assert!(tab.requests.is_empty(), "it waits");
    tab.now += 2000.0;
    tab.event(Event::Tick);
    assert_eq!(tab.requests.len(), 1);
    // The same for a server that takes no token however new.
    for _ in 0..2 {
        tab.refuse(401, None);
        tab.event(Event::TokenRefreshed);
        assert_eq!(tab.requests.len(), 1);
    }
    tab.refuse(401, None);
    tab.event(Event::TokenRefreshed);
    assert!(tab.requests.is_empty());
}

#[test]
fn signing_out_leaves_nothing_behind() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": "mine"}), 1);
    tab.event(Event::SignedOut);
    assert_eq!(now_or_never(store::load(&tab.store)).unwrap(), PersistedState::default());
    assert!(tab.names().is_empty());
}

#[test]
fn the_memory_store_passes_the_suite() {
    assert_eq!(now_or_never(store::conformance::run(&MemoryStore::default())), Ok(()));
}

#[test]
fn what_was_deleted_here_and_not_there_yet_is_asked_for_though_its_list_is_the_same() {
    let mut tab = Tab::new();
    tab.hello();
    tab.event(Event::Observe(ObserverId(1), Query::List(ListKey::all(code("task")))));
    let empty = Response { etag: Some("\"e\"".into()), ..answer(list(vec![])) };
    let (id, _) = tab.requests.remove(0);
    tab.event(Event::ResponseReceived(id, Ok(empty)));
    tab.invalidate(&[(1, Action::Create, 1)]);
    tab.answer(list(vec![row(1, 1, "one")]));
    // A refused change stands before the deletion, which waits.
    tab.update(1, json!({"name": "mine"}), 1);
    tab.refuse(403, None);
    tab.event(Event::Delete { entity: task(1), ids: ids(2) });
    tab.event(Event::SocketMessage(ServerMessage::Access { access_epoch: "2".into() }));
    assert_eq!(tab.requests[0].1.if_none_match.as_deref(), Some("\"e\""), "the list holds what it held then");
    let (id, _) = tab.requests.remove(0);
    tab.event(Event::ResponseReceived(id, Ok(Response { not_modified: true, ..Response::default() })));
    assert!(
        tab.paths()[0].starts_with("/task?ids="),
        "whether it may still be seen nobody has said: {:?}",
        tab.paths()
    );
    tab.answer(list(vec![]));
    assert!(tab.engine.cached_row(&task(1)).is_none());
}

#[test]
fn after_a_failover_what_the_server_says_counts_though_its_versions_are_lower() {
    let mut tab = Tab::looking();
    tab.invalidate(&[(1, Action::Update, 14)]);
    tab.answer(list(vec![row(1, 14, "lost")]));
    tab.event(Event::Online(false));
    tab.update(1, json!({"points": 5}), 1);
    tab.event(Event::SocketClosed(1006));
    tab.event(Event::Online(true));
    while !tab.requests.is_empty() {
        tab.fail(RequestError::Network);
    }
    tab.now += 60_000.0;
    tab.event(Event::SocketMessage(ServerMessage::Hello {
        protocol: 1,
        epoch: "2".into(),
        cursor: "2.3".into(),
        heartbeat_seconds: 30,
    }));
    tab.event(Event::SocketMessage(ServerMessage::Resumed { recovered: false, cursor: "2.3".into() }));
    tab.event(Event::Tick);
    // The write names no version that somebody else may have been given since.
    let at = tab.requests.iter().position(|(_, r)| r.method == Method::Patch).unwrap();
    assert_eq!(tab.requests[at].1.if_match, Some(i64::MAX));
    let (id, _) = tab.requests.remove(at);
    let problem = Problem {
        kind: "x".into(),
        title: "x".into(),
        status: 412,
        detail: None,
        errors: vec![],
        current: Some(row(1, 3, "kept")),
    };
    tab.event(Event::ResponseReceived(id, Err(RequestError::Rejected(Box::new(problem)))));
    assert_eq!(tab.names()[0], "kept", "version 14 is lost, and 3 is what there is");
    let at = tab.requests.iter().position(|(_, r)| r.method == Method::Patch).unwrap();
    assert_eq!((tab.requests[at].1.if_match, tab.requests[at].1.body.clone()), (Some(3), Some(json!({"points": 5}))));
    // What lies on the device of the time before does not come back.
    assert!(!tab.reloaded().kept().contains("lost"));
}

#[test]
fn what_is_invalidated_by_type_is_asked_for_in_two_requests_and_nothing_else_is() {
    let mut tab = Tab::looking();
    tab.event(Event::Observe(ObserverId(2), Query::Row(project(1))));
    tab.answer(json!({"id": project(1).id, "version": 1, "name": "Plan", "permission": 7}));
    let of_tasks: Vec<Query> = tab.engine.queries().filter(|query| query.is_of(&code("task"))).collect();
    assert_eq!(of_tasks.len(), 4, "three tasks, one list");
    tab.event(Event::Invalidate(of_tasks));
    let paths = tab.paths();
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert!(paths.iter().any(|p| p.starts_with("/task?ids=")) && paths.iter().any(|p| p.starts_with("/project/")));
    assert!(tab.engine.cached_rows().all(|row| row.entity == project(1) || row.stale));
}
