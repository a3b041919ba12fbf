//! Queries: fetching, invalidation, revalidation, resume and token refresh.

use super::*;

#[test]
fn observed_list_is_fetched_and_subscribed_from_the_cursor_of_its_response() {
    let mut tab = Tab::new();
    tab.hello();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert_eq!(tab.paths(), [tasks().page_path(1000, None)]);
    tab.respond(list(vec![row(1, 1, "one")]));
    let subscribe =
        tab.sent.iter().find_map(|m| if let ClientMessage::Subscribe(s) = m { Some(s) } else { None }).unwrap();
    assert_eq!((subscribe.since.as_deref(), subscribe.parent.is_some()), (Some("1.5"), true));
    assert_eq!(tab.names(), ["one"]);
}

#[test]
fn observers_of_the_same_query_share_one_request() {
    let mut tab = Tab::new();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    tab.event(Event::Observe(ObserverId(2), Query::List(tasks())));
    assert_eq!(tab.requests.len(), 1);
}

#[test]
fn persisted_data_is_shown_without_network() {
    let mut tab = Tab::observing_tasks().reloaded();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert_eq!(tab.names(), ["one", "two", "three"]);
    tab.fail(RequestError::Network);
    assert_eq!(tab.names(), ["one", "two", "three"]);
    assert!(!tab.engine.status().online);
}

#[test]
fn burst_of_changes_is_fetched_with_one_request() {
    let mut tab = Tab::observing_tasks();
    tab.invalidate(&[(1, Action::Update, 2), (2, Action::Update, 2), (3, Action::Update, 2)]);
    tab.invalidate(&[(1, Action::Update, 3), (2, Action::Update, 3)]);
    assert_eq!(tab.requests.len(), 1);
    assert!(tab.paths()[0].starts_with("/task?ids="));
    tab.respond(list(vec![row(1, 3, "uno"), row(2, 2, "due"), row(3, 2, "tre")]));
    // Two rows changed again while the request was in flight; only one of them is still outdated.
    assert_eq!(tab.requests.len(), 1);
    tab.respond(list(vec![row(1, 3, "uno"), row(2, 3, "zwei")]));
    assert_eq!(tab.names(), ["uno", "zwei", "tre"]);
    assert!(tab.requests.is_empty());
}

#[test]
fn change_to_a_cached_version_sends_no_request() {
    let mut tab = Tab::observing_tasks();
    tab.invalidate(&[(1, Action::Update, 1)]);
    assert!(tab.requests.is_empty());
}

#[test]
fn response_with_an_older_version_is_ignored() {
    let mut tab = Tab::observing_tasks();
    tab.invalidate(&[(1, Action::Update, 5)]);
    tab.respond(list(vec![row(1, 3, "old")]));
    assert_eq!(tab.names()[0], "one");
    assert_eq!(tab.requests.len(), 1, "the row is requested again");
    tab.respond(list(vec![row(1, 5, "new")]));
    assert_eq!(tab.names()[0], "new");
}

#[test]
fn unchanged_response_notifies_no_observers() {
    let mut tab = Tab::observing_tasks();
    tab.event(Event::SocketMessage(ServerMessage::Access { access_epoch: "1".into() }));
    tab.changed.clear();
    let rows = tab.requests.iter().position(|(_, r)| r.path.contains("ids=")).unwrap();
    let (id, _) = tab.requests.remove(rows);
    let body = list(vec![row(1, 1, "one"), row(2, 1, "two"), row(3, 1, "three")]);
    tab.event(Event::ResponseReceived(id, Ok(ok_response(body))));
    assert_eq!(tab.changed, []);
}

#[test]
fn created_row_enters_the_list_and_deleted_row_leaves_it() {
    let mut tab = Tab::observing_tasks();
    tab.invalidate(&[(4, Action::Create, 1)]);
    tab.respond(list(vec![row(4, 1, "four")]));
    assert_eq!(tab.names(), ["one", "two", "three", "four"]);
    tab.invalidate(&[(2, Action::Delete, 2)]);
    assert_eq!(tab.names(), ["one", "three", "four"]);
    let tab = tab.reloaded();
    assert_eq!(tab.names(), ["one", "three", "four"]);
}

#[test]
fn row_moved_to_another_parent_leaves_the_list() {
    let mut tab = Tab::observing_tasks();
    tab.invalidate(&[(2, Action::Update, 2)]);
    let mut moved = row(2, 2, "two");
    moved.insert("project_id".into(), json!(project(2).id));
    tab.respond(list(vec![moved]));
    assert_eq!(tab.names(), ["one", "three"]);
}

#[test]
fn revoked_row_is_removed_from_memory_and_device() {
    let mut tab = Tab::observing_tasks();
    tab.invalidate(&[(2, Action::Revoke, 0)]);
    assert_eq!(tab.engine.row(&task(2)), None);
    assert!(tab.stored_text().contains("three") && !tab.stored_text().contains("two"));
}

#[test]
fn rows_missing_after_an_access_change_are_removed() {
    let mut tab = Tab::observing_tasks();
    tab.event(Event::SocketMessage(ServerMessage::Access { access_epoch: "2".into() }));
    let revalidation = tab.requests.iter().position(|(_, r)| r.path.contains("ids=")).unwrap();
    let (id, _) = tab.requests.remove(revalidation);
    tab.event(Event::ResponseReceived(id, Ok(ok_response(list(vec![row(1, 1, "one")])))));
    assert_eq!(tab.names(), ["one"]);
}

#[test]
fn refused_subscription_refetches_the_row_and_removes_it_if_not_found() {
    let mut tab = Tab::observing_tasks();
    tab.event(Event::Observe(ObserverId(2), Query::Row(task(1))));
    tab.respond(Value::Object(row(1, 1, "one")));
    let subscribed = |refused| ServerMessage::Subscribed { count: 0, entity_code: code("task"), refused };
    tab.event(Event::SocketMessage(subscribed(0)));
    assert!(tab.paths().is_empty());
    tab.event(Event::SocketMessage(subscribed(1)));
    // The row, and the list of children of a parent whose subscription may be the refused one.
    assert_eq!(tab.requests.len(), 2);
    tab.requests.sort_by_key(|(_, r)| r.path.contains('?'));
    tab.reject(404, None);
    assert_eq!(tab.names(), ["two", "three"]);
}

#[test]
fn changes_without_observers_are_fetched_at_the_next_observe() {
    let mut tab = Tab::observing_tasks();
    tab.event(Event::Unobserve(ObserverId(1)));
    tab.invalidate(&[(1, Action::Update, 2), (4, Action::Create, 1)]);
    assert!(tab.requests.is_empty());
    tab.now = tab.now + Duration::from_millis(5_000);
    tab.event(Event::Observe(ObserverId(2), Query::List(tasks())));
    assert_eq!(tab.requests.len(), 1, "the list is requested again although it is still subscribed");
}

#[test]
fn children_of_a_local_entity_are_fetched_after_the_server_has_created_it() {
    let mut tab = Tab::new();
    tab.hello();
    let values = patch(json!({"name": "new project"}));
    tab.event(Event::Create { entity: project(1), values, ids: ids(1) });
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert_eq!(tab.requests.len(), 1, "the server cannot have children of it yet");
    let mut created = row(1, 1, "new project");
    created.insert("id".into(), json!(project(1).id));
    tab.respond(Value::Object(created));
    assert_eq!(tab.requests.len(), 1, "the list is requested after the creation");
    tab.respond(list(vec![]));
    let is_subscribe =
        |m: &ClientMessage| matches!(m, ClientMessage::Subscribe(s) if s.parent.is_some() && s.since.is_some());
    assert!(tab.sent.iter().any(is_subscribe));
}

#[test]
fn response_requested_before_a_deletion_does_not_restore_the_row() {
    let mut tab = Tab::observing_tasks();
    tab.event(Event::Observe(ObserverId(2), Query::Row(task(1))));
    tab.invalidate(&[(1, Action::Delete, 2)]);
    assert_eq!(tab.names(), ["two", "three"]);
    tab.respond(Value::Object(row(1, 1, "one")));
    assert_eq!(tab.names(), ["two", "three"]);
    // The response to a request that was sent after the deletion is accepted.
    assert!(tab.paths()[0].starts_with("/task?ids="));
    tab.respond(list(vec![row(1, 3, "restored")]));
    assert_eq!(tab.names().len(), 3);
}

#[test]
fn reconnecting_client_subscribes_again_and_resumes_from_its_cursor() {
    let mut tab = Tab::observing_tasks();
    tab.invalidate(&[]);
    tab.event(Event::SocketClosed(1006));
    let connects = tab.connects;
    tab.now = tab.now + Duration::from_millis(2000);
    tab.event(Event::Tick);
    assert_eq!(tab.connects, connects + 1);
    tab.hello();
    assert!(matches!(&tab.sent[0], ClientMessage::Subscribe(s) if s.parent.is_some()));
    assert_eq!(tab.sent[1], ClientMessage::Resume { epoch: "1".into(), cursor: "1.9".into() });
    tab.event(Event::SocketMessage(ServerMessage::Resumed { recovered: false, cursor: "1.20".into() }));
    assert!(tab.paths().iter().any(|p| p.contains("ids=")), "all rows are requested if the feed cannot resume");
}

#[test]
fn pending_writes_are_sent_after_a_token_refresh() {
    let mut tab = Tab::observing_tasks();
    tab.update(1, json!({"name": "mine"}), 1);
    tab.reject(401, None);
    assert!(tab.requests.is_empty());
    assert_eq!(tab.names()[0], "mine");
    tab.event(Event::TokenRefreshed);
    assert_eq!(tab.requests[0].1.method, Method::Patch);
}

#[test]
fn socket_closed_before_resumed_resumes_from_the_same_cursor_again() {
    let mut tab = Tab::observing_tasks();
    tab.invalidate(&[]);
    tab.event(Event::SocketClosed(1006));
    tab.hello();
    // A message with a newer cursor arrives before RESUMED; then the socket closes.
    let cursor = "1.50".to_owned();
    tab.event(Event::SocketMessage(ServerMessage::Pong { cursor }));
    tab.event(Event::SocketClosed(1006));
    tab.sent.clear();
    tab.hello();
    assert!(tab.sent.contains(&ClientMessage::Resume { epoch: "1".into(), cursor: "1.9".into() }));
}

#[test]
fn failing_requests_are_retried_with_backoff() {
    let mut tab = Tab::observing_tasks();
    tab.invalidate(&[(1, Action::Update, 2)]);
    tab.reject(503, None);
    assert!(tab.requests.is_empty(), "the retry is delayed");
    tab.now = tab.now + Duration::from_millis(2000);
    tab.event(Event::Tick);
    assert_eq!(tab.requests.len(), 1);
    // The same holds for a server that rejects every refreshed token.
    for _ in 0..2 {
        tab.reject(401, None);
        tab.event(Event::TokenRefreshed);
        assert_eq!(tab.requests.len(), 1);
    }
    tab.reject(401, None);
    tab.event(Event::TokenRefreshed);
    assert!(tab.requests.is_empty());
}

#[test]
fn sign_out_removes_all_data() {
    let mut tab = Tab::observing_tasks();
    tab.update(1, json!({"name": "mine"}), 1);
    tab.event(Event::SignedOut);
    assert_eq!(now_or_never(store::load(&tab.store)).unwrap(), PersistedState::default());
    assert!(tab.names().is_empty());
}

#[test]
fn memory_store_passes_the_conformance_suite() {
    assert_eq!(now_or_never(store::conformance::run(&MemoryStore::default())), Ok(()));
}

#[test]
fn row_with_a_pending_deletion_is_revalidated_although_its_list_is_unchanged() {
    let mut tab = Tab::new();
    tab.hello();
    tab.event(Event::Observe(ObserverId(1), Query::List(ListKey::all(code("task")))));
    let empty = Response { etag: Some("\"e\"".into()), ..ok_response(list(vec![])) };
    let (id, _) = tab.requests.remove(0);
    tab.event(Event::ResponseReceived(id, Ok(empty)));
    tab.invalidate(&[(1, Action::Create, 1)]);
    tab.respond(list(vec![row(1, 1, "one")]));
    // A rejected update comes before the deletion, which therefore stays pending.
    tab.update(1, json!({"name": "mine"}), 1);
    tab.reject(403, None);
    tab.event(Event::Delete { entity: task(1), ids: ids(2) });
    tab.event(Event::SocketMessage(ServerMessage::Access { access_epoch: "2".into() }));
    assert_eq!(tab.requests[0].1.if_none_match.as_deref(), Some("\"e\""), "the list is the one of the ETag");
    let (id, _) = tab.requests.remove(0);
    tab.event(Event::ResponseReceived(id, Ok(Response { not_modified: true, ..Response::default() })));
    assert!(tab.paths()[0].starts_with("/task?ids="), "the response did not cover the row: {:?}", tab.paths());
    tab.respond(list(vec![]));
    assert!(tab.engine.cached_row(&task(1)).is_none());
}

#[test]
fn lower_versions_are_accepted_after_a_failover() {
    let mut tab = Tab::observing_tasks();
    tab.invalidate(&[(1, Action::Update, 14)]);
    tab.respond(list(vec![row(1, 14, "lost")]));
    tab.event(Event::Online(false));
    tab.update(1, json!({"points": 5}), 1);
    tab.event(Event::SocketClosed(1006));
    tab.event(Event::Online(true));
    while !tab.requests.is_empty() {
        tab.fail(RequestError::Network);
    }
    tab.now = tab.now + Duration::from_millis(60_000);
    tab.event(Event::SocketMessage(ServerMessage::Hello {
        protocol: 1,
        epoch: "2".into(),
        cursor: "2.3".into(),
        heartbeat_seconds: 30,
    }));
    tab.event(Event::SocketMessage(ServerMessage::Resumed { recovered: false, cursor: "2.3".into() }));
    tab.event(Event::Tick);
    // The write does not send its base version: another change may have that version by now.
    let index = tab.requests.iter().position(|(_, r)| r.method == Method::Patch).unwrap();
    assert_eq!(tab.requests[index].1.if_match, Some(i64::MAX));
    let (id, _) = tab.requests.remove(index);
    let problem = Problem {
        kind: "x".into(),
        title: "x".into(),
        status: 412,
        detail: None,
        errors: vec![],
        current: Some(row(1, 3, "current")),
    };
    tab.event(Event::ResponseReceived(id, Err(RequestError::Rejected(Box::new(problem)))));
    assert_eq!(tab.names()[0], "current", "version 14 was lost in the failover");
    let index = tab.requests.iter().position(|(_, r)| r.method == Method::Patch).unwrap();
    assert_eq!(
        (tab.requests[index].1.if_match, tab.requests[index].1.body.clone()),
        (Some(3), Some(json!({"points": 5})))
    );
    // Rows persisted before the failover do not come back after a reload.
    assert!(!tab.reloaded().stored_text().contains("lost"));
}

#[test]
fn invalidation_by_type_sends_one_request_for_rows_and_one_for_the_list() {
    let mut tab = Tab::observing_tasks();
    tab.event(Event::Observe(ObserverId(2), Query::Row(project(1))));
    tab.respond(json!({"id": project(1).id, "version": 1, "name": "Plan", "permission": 7}));
    let task_queries: Vec<Query> = tab.engine.queries().filter(|query| query.is_of_type(&code("task"))).collect();
    assert_eq!(task_queries.len(), 4, "three tasks, one list");
    tab.event(Event::Invalidate(task_queries));
    let paths = tab.paths();
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert!(paths.iter().any(|p| p.starts_with("/task?ids=")) && paths.iter().any(|p| p.starts_with("/project/")));
    assert!(tab.engine.cached_rows().all(|row| row.entity == project(1) || row.stale));
}

#[test]
fn polling_continues_after_a_failed_poll() {
    let mut tab = Tab::observing_tasks();
    (0..3).for_each(|_| tab.event(Event::SocketClosed(1006)));
    let poll = |tab: &mut Tab| {
        tab.now = tab.now + Duration::from_secs(5);
        tab.event(Event::Tick);
        tab.paths().into_iter().filter(|path| *path == "/sync/changes?since=1.3").count()
    };
    assert_eq!(poll(&mut tab), 1);
    tab.fail(RequestError::Network);
    assert!(!tab.engine.status().online);
    assert_eq!(poll(&mut tab), 1);
    let change = json!({"entityId": task(1).id, "action": "UPDATE", "version": 2});
    tab.respond(json!({"recovered": true, "epoch": "1", "cursor": "1.9", "access": false,
        "data": [{"entityCode": "task", "changes": [change]}]}));
    assert!(tab.engine.status().online);
    tab.respond(list(vec![row(1, 2, "changed")]));
    assert_eq!(tab.names()[0], "changed");
}

#[test]
fn revalidation_ends_although_an_earlier_request_of_a_fresh_query_had_failed() {
    let mut tab = Tab::observing_tasks();
    tab.event(Event::Observe(ObserverId(2), Query::Row(task(1))));
    tab.reject(503, None);
    // Before the retry, the row is received with another response.
    tab.invalidate(&[(1, Action::Update, 2)]);
    tab.respond(list(vec![row(1, 2, "changed")]));
    tab.event(Event::SocketMessage(ServerMessage::Access { access_epoch: "2".into() }));
    while !tab.requests.is_empty() {
        tab.respond(list(vec![row(1, 2, "changed"), row(2, 1, "two"), row(3, 1, "three")]));
    }
    tab.now = tab.now + Duration::from_secs(2);
    tab.event(Event::Tick);
    assert_eq!(tab.paths(), [] as [&str; 0], "the row is fresh");
    tab.event(Event::SocketMessage(ServerMessage::Pong { cursor: "1.50".into() }));
    assert!(tab.stored_text().contains("1.50"), "the position of the feed is stored again");
}
