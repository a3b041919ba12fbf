//! Pinned trees: entities that are available offline with all their descendants.

use super::*;
use pmo_domain::{ChildRelation, EntityType};

fn message(n: u128) -> EntityRef {
    EntityRef::new(code("message"), Uuid::from_u128(3000 + n))
}

fn messages_of(task: EntityRef) -> ListKey {
    ListKey::children_of(code("message"), task, "target_id")
}

/// Returns the catalog of the tests.
///
/// Through columns, projects own tasks and messages, and tasks own tasks and messages. Through free
/// links, projects own wiki pages and risks own tasks.
fn entity_types() -> Value {
    let owned_child = |child: &str, column: &str, type_column: Option<&str>| ChildRelation {
        code: code(child),
        owned: true,
        parent_column: Some(column.into()),
        parent_type_column: type_column.map(Into::into),
        create_permission: pmo_domain::Permission::Create,
    };
    let columns = [("id", "uuid"), ("name", "text"), ("project_id", "uuid"), ("parent__task_id", "uuid")];
    let mut project = EntityType::from_columns(code("project"), &columns[..2], &["project", "task"]);
    project.children =
        vec![owned_child("task", "project_id", None), owned_child("message", "target_id", Some("target_code"))];
    let mut task = EntityType::from_columns(code("task"), &columns, &["project", "task"]);
    task.children =
        vec![owned_child("task", "parent__task_id", None), owned_child("message", "target_id", Some("target_code"))];
    let message = EntityType::from_columns(code("message"), &[("target_id", "uuid"), ("target_code", "text")], &[]);
    let linked_child = |child: &str| ChildRelation { parent_column: None, ..owned_child(child, "", None) };
    project.children.push(linked_child("wiki"));
    let wiki = EntityType::from_columns(code("wiki"), &columns[..2], &[]);
    let mut risk = EntityType::from_columns(code("risk"), &columns[..2], &[]);
    risk.children = vec![linked_child("task")];
    serde_json::to_value([project, task, message, wiki, risk]).unwrap()
}

/// Row of a comment on an entity.
fn comment(n: u128, version: i64, about: &EntityRef) -> Row {
    patch(
        json!({"id": message(n).id, "version": version, "name": format!("comment {n}"), "target_id": about.id, "target_code": about.code}),
    )
}

/// Complete snapshot response with a line for each type.
fn snapshot(lines: &[(&str, Vec<Row>)]) -> Response {
    let mut body: String =
        lines.iter().map(|(code, rows)| format!("{}\n", json!({"entity_code": code, "data": rows}))).collect();
    body += "{\"complete\":true}\n";
    Response { body, feed_cursor: Some("1.5".into()), ..Response::default() }
}

/// Snapshot of a project with two tasks and a comment.
fn plan_snapshot() -> Response {
    let plan = patch(json!({"id": project(1).id, "version": 1, "name": "Plan"}));
    let tasks = vec![row(1, 1, "one"), row(2, 1, "two")];
    snapshot(&[("project", vec![plan]), ("task", tasks), ("message", vec![comment(1, 1, &task(1))])])
}

impl Tab {
    /// Responds to the first request whose path starts with `path`.
    fn respond_to(&mut self, path: &str, response: Response) {
        let index = self
            .requests
            .iter()
            .position(|(_, r)| r.path.starts_with(path))
            .unwrap_or_else(|| panic!("{path}: {:?}", self.paths()));
        let (id, _) = self.requests.remove(index);
        self.event(Event::ResponseReceived(id, Ok(response)));
    }

    /// Returns a tab with an open socket that has pinned a project and observes nothing inside.
    fn with_pinned_plan() -> Self {
        Self::with_pinned(plan_snapshot())
    }

    /// Returns a tab like [`Self::with_pinned_plan`] with another snapshot of the project.
    fn with_pinned(snapshot: Response) -> Self {
        let mut tab = Self::new();
        tab.event(Event::Observe(ObserverId(1), Query::Meta(ReferenceDataKey::Codes)));
        tab.respond_to("/entity/codes", ok_response(entity_types()));
        tab.hello();
        tab.event(Event::Pin(project(1)));
        tab.respond_to(
            "/project/",
            ok_response(json!({"id": project(1).id, "version": 1, "name": "Plan", "permission": 7})),
        );
        tab.respond_to("/sync/snapshot?entity=project&id=", snapshot);
        tab
    }

    /// Observes the comments on an entity and returns their names.
    fn comments_on(&mut self, about: EntityRef) -> Vec<String> {
        self.event(Event::Observe(ObserverId(9), Query::List(messages_of(about.clone()))));
        let rows = self.engine.rows(&messages_of(about));
        rows.iter().map(|r| r.data["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Receives a change of an entity over the socket.
    fn invalidate_entity(&mut self, entity_type: &str, id: Uuid, action: Action, version: i64) {
        let changes = vec![Change { entity_id: id, action, version: Version(version) }];
        let (timestamp, cursor) = (String::new(), "1.9".into());
        self.event(Event::SocketMessage(ServerMessage::Invalidate {
            entity_code: code(entity_type),
            changes,
            timestamp,
            cursor,
        }));
    }
}

#[test]
fn pinned_tree_is_fetched_with_one_request_and_subscribed_per_type() {
    let tab = Tab::with_pinned_plan();
    assert_eq!(tab.paths(), [] as [&str; 0]);
    let pinned = tab.engine.pinned_tree_status(&project(1)).unwrap();
    assert_eq!((pinned.rows, pinned.complete, pinned.fetching), (3, true, false));
    let is_tree_subscribe =
        |m: &&ClientMessage| matches!(m, ClientMessage::Subscribe(s) if s.parent.as_ref().is_some_and(|p| p.recursive));
    assert_eq!(tab.sent.iter().filter(is_tree_subscribe).count(), 4, "one topic for each type");
}

#[test]
fn pin_outlives_a_change_of_the_storage_format() {
    let tab = Tab::with_pinned_plan();
    tab.store.write_now(&[Write::Put(Namespace::Metadata, "format".into(), b"2".to_vec())]);
    let mut tab = tab.reloaded();
    let pinned = tab.engine.pinned_tree_status(&project(1)).unwrap();
    assert_eq!((pinned.rows, pinned.complete), (0, false), "the data is fetched again");
    tab.hello();
    tab.event(Event::Observe(ObserverId(1), Query::Meta(ReferenceDataKey::Codes)));
    tab.respond_to("/entity/codes", ok_response(entity_types()));
    assert!(tab.paths().iter().any(|path| path.starts_with("/sync/snapshot")), "{:?}", tab.paths());
    let tab = tab.reloaded();
    assert!(tab.engine.pinned_tree_status(&project(1)).is_some(), "the pin is on disk again");
}

#[test]
fn follower_that_becomes_leader_drops_a_cache_of_another_format() {
    let other_format = [Write::Put(Namespace::Metadata, "format".into(), b"2".to_vec())];
    let store = Tab::with_pinned_plan().store;
    let mut tab = Tab::with_store(store);
    tab.store.write_now(&other_format);
    let stored = Box::new(now_or_never(crate::store::load(&tab.store)).unwrap());
    assert!(!stored.lists.is_empty());
    tab.event(Event::LeadershipAcquired { stored, term: 2 });
    assert!(tab.writes.contains(&Write::Clear(Namespace::Lists)));
    assert!(tab.engine.pinned_tree_status(&project(1)).is_some(), "the pin stays");
}

#[test]
fn pinned_tree_is_available_offline_after_a_crash() {
    let tab = Tab::with_pinned_plan();
    let mut tab = tab.reloaded();
    tab.event(Event::Online(false));
    tab.event(Event::Observe(ObserverId(2), Query::List(tasks())));
    assert_eq!(tab.names(), ["one", "two"], "the list was never observed before");
    assert_eq!(tab.comments_on(task(1)), ["comment 1"]);
    assert_eq!(tab.comments_on(task(2)), [] as [&str; 0]);
    assert!(tab.engine.list(&messages_of(task(2))).loaded, "a task without comments has an empty list");
    assert!(!tab.engine.list(&messages_of(task(3))).loaded, "a task outside of the tree has no list");
    tab.event(Event::Online(true));
    tab.hello();
    assert!(tab.paths().iter().any(|path| path.starts_with("/sync/snapshot")), "{:?}", tab.paths());
}

#[test]
fn changes_inside_a_pinned_tree_are_persisted() {
    let mut tab = Tab::with_pinned_plan();
    tab.changed.clear();
    tab.invalidate_entity("message", message(1).id, Action::Update, 2);
    tab.invalidate_entity("message", message(2).id, Action::Create, 1);
    assert_eq!(tab.paths().len(), 1, "{:?}", tab.paths());
    tab.respond_to("/message?ids=", ok_response(list(vec![comment(1, 2, &task(1))])));
    tab.respond_to("/message?ids=", ok_response(list(vec![comment(2, 1, &task(2))])));
    assert_eq!(tab.engine.pinned_tree_status(&project(1)).unwrap().rows, 4);
    assert!(tab.changed.contains(&Query::Row(project(1))), "observers of the pin status are notified");
    assert_eq!(tab.paths(), [] as [&str; 0], "the tree is not refetched");
    let mut tab = tab.reloaded();
    tab.event(Event::Online(false));
    assert_eq!(
        (tab.comments_on(task(1)), tab.comments_on(task(2))),
        (vec!["comment 1".to_owned()], vec!["comment 2".to_owned()])
    );
}

#[test]
fn moves_out_of_a_pinned_tree_take_descendants_along_and_moves_into_it_refetch_the_tree() {
    let mut tab = Tab::with_pinned_plan();
    let mut moved = row(1, 2, "one");
    moved.insert("project_id".into(), json!(project(2).id));
    tab.invalidate_entity("task", task(1).id, Action::Update, 2);
    tab.respond_to("/task?ids=", ok_response(list(vec![moved.clone()])));
    // A risk in the tree may own the task through a free link: only the server knows.
    let plan = patch(json!({"id": project(1).id, "version": 1, "name": "Plan"}));
    tab.respond_to("/sync/snapshot", snapshot(&[("project", vec![plan]), ("task", vec![row(2, 1, "two")])]));
    assert_eq!(tab.engine.pinned_tree_status(&project(1)).unwrap().rows, 1, "its comment has left the tree with it");
    // Rows missing from the new snapshot are requested by id.
    tab.respond_to("/task?ids=", ok_response(list(vec![moved])));
    tab.respond_to("/message?ids=", ok_response(list(vec![comment(1, 1, &task(1))])));
    tab.invalidate_entity("task", task(5).id, Action::Update, 7);
    tab.respond_to("/task?ids=", ok_response(list(vec![row(5, 7, "moved in")])));
    assert!(tab.paths().iter().any(|path| path.starts_with("/sync/snapshot")), "its descendants are unknown");
}

#[test]
fn truncated_snapshot_is_discarded_and_retried() {
    let mut tab = Tab::new();
    tab.event(Event::Observe(ObserverId(1), Query::Meta(ReferenceDataKey::Codes)));
    tab.respond_to("/entity/codes", ok_response(entity_types()));
    tab.hello();
    tab.event(Event::Pin(project(1)));
    let mut truncated = plan_snapshot();
    truncated.body.truncate(truncated.body.len() - 20);
    tab.respond_to("/sync/snapshot", truncated);
    let pinned = tab.engine.pinned_tree_status(&project(1)).unwrap();
    assert_eq!((pinned.complete, pinned.failed), (false, true));
    tab.now = tab.now + Duration::from_millis(60_000);
    tab.event(Event::Tick);
    tab.respond_to("/sync/snapshot", plan_snapshot());
    assert!(tab.engine.pinned_tree_status(&project(1)).unwrap().complete);
}

#[test]
fn unpinned_tree_is_removed_from_the_device() {
    let mut tab = Tab::with_pinned_plan();
    assert!(tab.stored_text().contains("kept:project"));
    tab.changed.clear();
    tab.event(Event::Unpin(project(1)));
    assert!(tab.changed.contains(&Query::Row(project(1))));
    assert!(tab.engine.pinned_tree_status(&project(1)).is_none());
    assert!(
        !tab.stored_text().contains("kept:project") && !tab.stored_text().contains("\"deep\":true"),
        "{}",
        tab.stored_text()
    );
    assert!(tab.reloaded().engine.pinned_tree_status(&project(1)).is_none());
}

#[test]
fn pinned_tree_that_is_no_longer_visible_is_removed() {
    let mut tab = Tab::with_pinned_plan();
    tab.event(Event::SocketMessage(ServerMessage::Access { access_epoch: "2".into() }));
    let index = tab.requests.iter().position(|(_, r)| r.path.starts_with("/sync/snapshot")).unwrap();
    let (id, _) = tab.requests.remove(index);
    let problem =
        Problem { kind: "x".into(), title: "x".into(), status: 404, detail: None, errors: vec![], current: None };
    tab.event(Event::ResponseReceived(id, Err(RequestError::Rejected(Box::new(problem)))));
    while let Some(index) = tab.requests.iter().position(|(_, r)| r.path.contains("ids=")) {
        let (id, _) = tab.requests.remove(index);
        tab.event(Event::ResponseReceived(id, Ok(ok_response(list(vec![])))));
    }
    assert!(tab.engine.pinned_tree_status(&project(1)).is_none());
    for text in ["comment 1", "two", "kept:project"] {
        assert!(!tab.stored_text().contains(text), "{text}: {}", tab.stored_text());
    }
}

#[test]
fn created_entity_that_may_be_free_linked_refetches_the_tree() {
    let mut tab = Tab::with_pinned_plan();
    let page = EntityRef::new(code("wiki"), Uuid::from_u128(5000));
    tab.invalidate_entity("wiki", page.id, Action::Create, 1);
    let notes = patch(json!({"id": page.id, "version": 1, "name": "Notes"}));
    tab.respond_to("/wiki?ids=", ok_response(list(vec![notes.clone()])));
    let mut snapshot = plan_snapshot();
    snapshot.body = snapshot.body.replace(
        "{\"complete\":true}",
        &format!("{}\n{{\"complete\":true}}", json!({"entity_code": "wiki", "data": [notes]})),
    );
    tab.respond_to("/sync/snapshot", snapshot);
    assert_eq!((tab.engine.pinned_tree_status(&project(1)).unwrap().rows, tab.paths()), (4, vec![]));
    // Tasks of another project, fetched by a list, do not refetch the tree.
    tab.event(Event::Observe(ObserverId(7), Query::List(ListKey::all(code("task")))));
    let mut elsewhere = row(8, 3, "elsewhere");
    elsewhere.insert("project_id".into(), json!(project(2).id));
    tab.respond_to("/task?", ok_response(list(vec![row(1, 1, "one"), row(2, 1, "two"), elsewhere])));
    assert_eq!(tab.paths(), [] as [&str; 0]);
}

#[test]
fn local_move_into_a_pinned_tree_does_not_refetch_the_tree() {
    let mut tab = Tab::with_pinned_plan();
    tab.event(Event::Observe(ObserverId(7), Query::List(ListKey::all(code("task")))));
    let mut elsewhere = row(8, 3, "elsewhere");
    elsewhere.insert("project_id".into(), json!(project(2).id));
    tab.respond_to("/task?", ok_response(list(vec![row(1, 1, "one"), row(2, 1, "two"), elsewhere.clone()])));
    // A rejected write comes before the move into the pinned project.
    tab.update(8, json!({"name": ""}), 1);
    tab.reject(422, None);
    tab.update(8, json!({"project_id": project(1).id}), 2);
    for _ in 0..20 {
        let Some((id, request)) = tab.requests.pop() else { break };
        assert!(!request.path.starts_with("/sync/snapshot"), "the server has reported no move");
        tab.event(Event::ResponseReceived(id, Ok(ok_response(list(vec![elsewhere.clone()])))));
    }
    assert_eq!(tab.paths(), [] as [&str; 0]);
}

#[test]
fn tree_in_flight_during_a_reconnect_is_subscribed_from_the_cursor_of_its_response() {
    let mut tab = Tab::new();
    tab.event(Event::Observe(ObserverId(1), Query::Meta(ReferenceDataKey::Codes)));
    tab.respond_to("/entity/codes", ok_response(entity_types()));
    tab.hello();
    tab.event(Event::Pin(project(1)));
    tab.event(Event::SocketClosed(1006));
    tab.sent.clear();
    tab.hello();
    let is_tree_subscribe =
        |m: &&ClientMessage| matches!(m, ClientMessage::Subscribe(s) if s.parent.as_ref().is_some_and(|p| p.recursive));
    assert_eq!(
        tab.sent.iter().filter(is_tree_subscribe).count(),
        0,
        "the response or the subscription covers all changes"
    );
    tab.respond_to("/sync/snapshot", plan_snapshot());
    let has_since = |m: &&ClientMessage| matches!(m, ClientMessage::Subscribe(s) if s.since.is_some() && s.parent.as_ref().is_some_and(|p| p.recursive));
    assert_eq!(tab.sent.iter().filter(has_since).count(), 4);
}

#[test]
fn new_leader_restores_pinned_trees_offline() {
    let mut tab = Tab::with_pinned_plan();
    let load = |store: &MemoryStore| Box::new(now_or_never(store::load(store)).unwrap());
    let mut second =
        Tab { engine: Engine::new(5), store: tab.store.clone(), requests: vec![], sent: vec![], ..Tab::new() };
    let stored = load(&second.store);
    second.event(Event::Start { person: ME, tab: TabId(Uuid::from_u128(2)), stored, term: None });
    assert!(second.engine.pinned_tree_status(&project(1)).is_some(), "a follower knows the pinned trees");
    tab.invalidate_entity("message", message(2).id, Action::Create, 1);
    tab.respond_to("/message?ids=", ok_response(list(vec![comment(2, 1, &task(2))])));
    second.store = tab.store.clone();
    second.event(Event::Online(false));
    let stored = load(&second.store);
    second.event(Event::LeadershipAcquired { stored, term: 2 });
    assert_eq!(
        (second.comments_on(task(1)), second.comments_on(task(2))),
        (vec!["comment 1".to_owned()], vec!["comment 2".to_owned()])
    );
    assert_eq!(second.engine.pinned_tree_status(&project(1)).unwrap().rows, 4);
}

fn page(n: u128) -> EntityRef {
    EntityRef::new(code("wiki"), Uuid::from_u128(4000 + n))
}

fn pages() -> ListKey {
    ListKey { parent_filter: Some(ParentFilter { parent: project(1), column: None }), ..ListKey::all(code("wiki")) }
}

/// Snapshot of the project with three wiki pages, of which the `linked` ones are its children.
///
/// With `None` the snapshot has no line about free links.
fn plan_with_pages(linked: Option<&[u128]>) -> Response {
    let rows = (1..=3).map(|n| patch(json!({"id": page(n).id, "version": 1, "name": format!("page {n}")}))).collect();
    let plan = patch(json!({"id": project(1).id, "version": 1, "name": "Plan"}));
    let mut response = snapshot(&[("project", vec![plan]), ("wiki", rows)]);
    if let Some(linked) = linked {
        let ids: Vec<Uuid> = linked.iter().map(|n| page(*n).id).collect();
        response.body =
            format!("{}\n{}", json!({"ties": [{"parent": project(1), "child": "wiki", "ids": ids}]}), response.body);
    }
    response
}

/// Observes the wiki pages of the project and returns their names.
fn observed_page_names(tab: &mut Tab) -> Vec<String> {
    tab.event(Event::Observe(ObserverId(9), Query::List(pages())));
    tab.engine.rows(&pages()).iter().map(|row| row.data["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn free_links_of_a_snapshot_are_read_under_either_name() {
    for name in ["ties", "links"] {
        let mut response = plan_with_pages(Some(&[1, 2]));
        response.body = response.body.replace("\"ties\"", &format!("\"{name}\""));
        let mut tab = Tab::with_pinned(response).reloaded();
        tab.event(Event::Online(false));
        assert_eq!(observed_page_names(&mut tab), ["page 1", "page 2"], "{name}");
    }
}

#[test]
fn free_links_in_a_pinned_tree_are_available_and_editable_offline() {
    let mut tab = Tab::with_pinned(plan_with_pages(Some(&[1, 2]))).reloaded();
    tab.event(Event::Online(false));
    assert_eq!(observed_page_names(&mut tab), ["page 1", "page 2"], "the list was never observed before");
    tab.event(Event::Link { parent: project(1), child: page(3), linked: true, ids: ids(1) });
    tab.event(Event::Link { parent: project(1), child: page(1), linked: false, ids: ids(2) });
    let mut tab = tab.reloaded();
    tab.event(Event::Online(false));
    assert_eq!(observed_page_names(&mut tab), ["page 2", "page 3"]);
}

#[test]
fn sorted_list_derived_from_a_tree_is_replaced_by_the_response_of_the_server() {
    let mut tab = Tab::with_pinned(plan_with_pages(Some(&[1, 2])));
    let sorted = pages().sorted("name", SortDirection::Descending);
    tab.event(Event::Observe(ObserverId(9), Query::List(sorted.clone())));
    let names = |tab: &Tab| -> Vec<String> {
        tab.engine.rows(&sorted).iter().map(|row| row.data["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&tab), ["page 2", "page 1"], "the derived rows are shown until the response arrives");
    let rows = vec![patch(json!({"id": page(3).id, "version": 1, "name": "page 3"}))];
    tab.respond_to(&format!("/project/{}/wiki", project(1).id), ok_response(list(rows)));
    assert_eq!(names(&tab), ["page 3"]);
}

#[test]
fn late_response_does_not_pin_an_unpinned_tree_again() {
    let mut tab = Tab::with_pinned(plan_with_pages(Some(&[1, 2])));
    tab.event(Event::InvalidateAll);
    let index = tab.requests.iter().position(|(_, r)| r.path.starts_with("/sync/snapshot")).unwrap();
    let (id, _) = tab.requests.remove(index);
    tab.event(Event::Unpin(project(1)));
    tab.event(Event::ResponseReceived(id, Ok(plan_with_pages(Some(&[1])))));
    assert_eq!(tab.reloaded().engine.pinned_tree_status(&project(1)), None);
}

#[test]
fn refetched_tree_updates_unobserved_derived_lists() {
    let mut tab = Tab::with_pinned(plan_with_pages(Some(&[1, 2])));
    tab.event(Event::Online(false));
    assert_eq!(observed_page_names(&mut tab).len(), 2);
    tab.event(Event::Unobserve(ObserverId(9)));
    tab.event(Event::Online(true));
    tab.event(Event::InvalidateAll);
    tab.respond_to("/sync/snapshot?entity=project&id=", plan_with_pages(Some(&[3])));
    tab.event(Event::Online(false));
    assert_eq!(observed_page_names(&mut tab), ["page 3"]);
}

#[test]
fn tree_without_known_free_links_derives_no_list_from_them() {
    // A record that an earlier build wrote has no free links.
    let mut tab = Tab::new();
    let record = serde_json::to_vec(&project(1)).unwrap();
    let read: Result<crate::cache_records::PinnedRoot, _> = serde_json::from_slice(&record);
    assert!(read.is_ok_and(|root| root.free_links.is_none()));
    tab.event(Event::Online(false));
    assert_eq!(observed_page_names(&mut tab), [] as [&str; 0]);
    assert!(!tab.engine.list(&pages()).loaded);
    // A snapshot with an empty set of free links yields an empty list.
    let mut tab = Tab::with_pinned(plan_with_pages(Some(&[]))).reloaded();
    tab.event(Event::Online(false));
    assert_eq!(observed_page_names(&mut tab), [] as [&str; 0]);
    assert!(tab.engine.list(&pages()).loaded);
}

#[test]
fn former_leader_continues_to_show_the_pinned_trees() {
    let mut tab = Tab::with_pinned_plan();
    let before = tab.engine.pinned_tree_status(&project(1)).unwrap();
    tab.changed.clear();
    tab.event(Event::LeadershipLost);
    let after = tab.engine.pinned_tree_status(&project(1)).unwrap();
    assert_eq!((after.rows, after.complete), (before.rows, before.complete));
    assert!(tab.changed.contains(&Query::Row(project(1))));
}
