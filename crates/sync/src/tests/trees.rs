//! Things that are kept on the device with all that hangs below them.

use super::*;
use pmo_domain::{ChildRelation, EntityType};

fn message(n: u128) -> EntityRef {
    EntityRef::new(code("message"), Uuid::from_u128(3000 + n))
}

fn messages_of(task: EntityRef) -> ListKey {
    ListKey::below(code("message"), task, "about_uuid")
}

/// Projects own tasks, tasks own tasks and messages, projects own messages; by links alone projects own pages of a wiki, and risks own tasks.
fn types() -> Value {
    let tie = |child: &str, column: &str, code_column: Option<&str>| ChildRelation {
        code: code(child),
        owned: true,
        parent_column: Some(column.into()),
        parent_type_column: code_column.map(Into::into),
        create_permission: pmo_domain::Permission::Create,
    };
    let columns = [("id", "uuid"), ("name", "text"), ("project_id", "uuid"), ("parent__task_id", "uuid")];
    let mut project = EntityType::from_columns(code("project"), &columns[..2], &["project", "task"]);
    project.children = vec![tie("task", "project_id", None), tie("message", "about_uuid", Some("about_code"))];
    let mut task = EntityType::from_columns(code("task"), &columns, &["project", "task"]);
    task.children = vec![tie("task", "parent__task_id", None), tie("message", "about_uuid", Some("about_code"))];
    let message = EntityType::from_columns(code("message"), &[("about_uuid", "uuid"), ("about_code", "text")], &[]);
    let by_link = |child: &str| ChildRelation { parent_column: None, ..tie(child, "", None) };
    project.children.push(by_link("wiki"));
    let wiki = EntityType::from_columns(code("wiki"), &columns[..2], &[]);
    let mut risk = EntityType::from_columns(code("risk"), &columns[..2], &[]);
    risk.children = vec![by_link("task")];
    serde_json::to_value([project, task, message, wiki, risk]).unwrap()
}

fn said(n: u128, version: i64, about: &EntityRef) -> Row {
    patch(
        json!({"id": message(n).id, "version": version, "name": format!("said {n}"), "about_uuid": about.id, "about_code": about.code}),
    )
}

fn snapshot(lines: &[(&str, Vec<Row>)]) -> Response {
    let mut body: String =
        lines.iter().map(|(of, rows)| format!("{}\n", json!({"entity_code": of, "data": rows}))).collect();
    body += "{\"complete\":true}\n";
    Response { body, feed_cursor: Some("1.5".into()), ..Response::default() }
}

fn whole_plan() -> Response {
    let plan = patch(json!({"id": project(1).id, "version": 1, "name": "Plan"}));
    let tasks = vec![row(1, 1, "one"), row(2, 1, "two")];
    snapshot(&[("project", vec![plan]), ("task", tasks), ("message", vec![said(1, 1, &task(1))])])
}

impl Tab {
    fn answer_to(&mut self, path: &str, answer: Response) {
        let at = self
            .requests
            .iter()
            .position(|(_, r)| r.path.starts_with(path))
            .unwrap_or_else(|| panic!("{path}: {:?}", self.paths()));
        let (id, _) = self.requests.remove(at);
        self.event(Event::ResponseReceived(id, Ok(answer)));
    }

    /// A tab with an open socket that keeps a plan whole, and nobody who looks at it.
    fn keeping() -> Self {
        Self::keeping_what(whole_plan())
    }

    /// The same, where the snapshot says this.
    fn keeping_what(plan: Response) -> Self {
        let mut tab = Self::new();
        tab.event(Event::Observe(ObserverId(1), Query::Meta(ReferenceDataKey::Codes)));
        tab.answer_to("/entity/codes", answer(types()));
        tab.hello();
        tab.event(Event::SetPinned(project(1), true));
        tab.answer_to("/project/", answer(json!({"id": project(1).id, "version": 1, "name": "Plan", "permission": 7})));
        tab.answer_to("/sync/snapshot?entity=project&id=", plan);
        tab
    }

    fn said_of(&mut self, about: EntityRef) -> Vec<String> {
        self.event(Event::Observe(ObserverId(9), Query::List(messages_of(about.clone()))));
        let rows = self.engine.rows(&messages_of(about));
        rows.iter().map(|r| r.data["name"].as_str().unwrap().to_owned()).collect()
    }

    fn told(&mut self, of: &str, id: Uuid, action: Action, version: i64) {
        let changes = vec![Change { entity_id: id, action, version: Version(version) }];
        let (timestamp, cursor) = (String::new(), "1.9".into());
        self.event(Event::SocketMessage(ServerMessage::Invalidate {
            entity_code: code(of),
            changes,
            timestamp,
            cursor,
        }));
    }
}

#[test]
fn a_kept_plan_is_told_by_one_request_and_watched_with_all_that_hangs_below_it() {
    let tab = Tab::keeping();
    assert_eq!(tab.paths(), [] as [&str; 0]);
    let kept = tab.engine.kept_tree(&project(1)).unwrap();
    assert_eq!((kept.rows, kept.complete, kept.fetching), (3, true, false));
    let deep =
        |m: &&ClientMessage| matches!(m, ClientMessage::Subscribe(s) if s.parent.as_ref().is_some_and(|p| p.recursive));
    assert_eq!(tab.sent.iter().filter(deep).count(), 4, "one topic for each type");
}

#[test]
fn what_is_inside_a_kept_plan_is_there_offline_after_a_crash() {
    let tab = Tab::keeping();
    let mut tab = tab.reloaded();
    tab.event(Event::Online(false));
    tab.event(Event::Observe(ObserverId(2), Query::List(tasks())));
    assert_eq!(tab.names(), ["one", "two"], "nobody has ever looked at this list");
    assert_eq!(tab.said_of(task(1)), ["said 1"]);
    assert_eq!(tab.said_of(task(2)), [] as [&str; 0]);
    assert!(tab.engine.list(&messages_of(task(2))).loaded, "and of what has none it is known that it has none");
    assert!(!tab.engine.list(&messages_of(task(3))).loaded, "of what is not kept nothing is known");
    tab.event(Event::Online(true));
    tab.hello();
    assert!(tab.paths().iter().any(|path| path.starts_with("/sync/snapshot")), "{:?}", tab.paths());
}

#[test]
fn what_is_made_and_changed_deep_inside_comes_to_the_device() {
    let mut tab = Tab::keeping();
    tab.changed.clear();
    tab.told("message", message(1).id, Action::Update, 2);
    tab.told("message", message(2).id, Action::Create, 1);
    assert_eq!(tab.paths().len(), 1, "{:?}", tab.paths());
    tab.answer_to("/message?ids=", answer(list(vec![said(1, 2, &task(1))])));
    tab.answer_to("/message?ids=", answer(list(vec![said(2, 1, &task(2))])));
    assert_eq!(tab.engine.kept_tree(&project(1)).unwrap().rows, 4);
    assert!(tab.changed.contains(&Query::Row(project(1))), "whoever looks at how much is kept looks again");
    assert_eq!(tab.paths(), [] as [&str; 0], "the tree is not asked for again");
    let mut tab = tab.reloaded();
    tab.event(Event::Online(false));
    assert_eq!((tab.said_of(task(1)), tab.said_of(task(2))), (vec!["said 1".to_owned()], vec!["said 2".to_owned()]));
}

#[test]
fn what_moves_away_takes_along_what_hangs_below_it_and_what_moves_in_is_asked_for_whole() {
    let mut tab = Tab::keeping();
    let mut away = row(1, 2, "one");
    away.insert("project_id".into(), json!(project(2).id));
    tab.told("task", task(1).id, Action::Update, 2);
    tab.answer_to("/task?ids=", answer(list(vec![away.clone()])));
    // A risk may hold it there by a link, for all that its columns say: only the server knows.
    let plan = patch(json!({"id": project(1).id, "version": 1, "name": "Plan"}));
    tab.answer_to("/sync/snapshot", snapshot(&[("project", vec![plan]), ("task", vec![row(2, 1, "two")])]));
    assert_eq!(tab.engine.kept_tree(&project(1)).unwrap().rows, 1, "its comment has gone with it");
    // What was not among it is asked for by itself.
    tab.answer_to("/task?ids=", answer(list(vec![away])));
    tab.answer_to("/message?ids=", answer(list(vec![said(1, 1, &task(1))])));
    tab.told("task", task(5).id, Action::Update, 7);
    tab.answer_to("/task?ids=", answer(list(vec![row(5, 7, "moved in")])));
    assert!(
        tab.paths().iter().any(|path| path.starts_with("/sync/snapshot")),
        "what hangs below it has never been told"
    );
}

#[test]
fn a_snapshot_that_was_cut_off_counts_for_nothing_and_is_asked_for_again() {
    let mut tab = Tab::new();
    tab.event(Event::Observe(ObserverId(1), Query::Meta(ReferenceDataKey::Codes)));
    tab.answer_to("/entity/codes", answer(types()));
    tab.hello();
    tab.event(Event::SetPinned(project(1), true));
    let mut cut = whole_plan();
    cut.body.truncate(cut.body.len() - 20);
    tab.answer_to("/sync/snapshot", cut);
    let kept = tab.engine.kept_tree(&project(1)).unwrap();
    assert_eq!((kept.complete, kept.failed), (false, true));
    tab.now += 60_000.0;
    tab.event(Event::Tick);
    tab.answer_to("/sync/snapshot", whole_plan());
    assert!(tab.engine.kept_tree(&project(1)).unwrap().complete);
}

#[test]
fn what_is_not_kept_any_more_leaves_the_device() {
    let mut tab = Tab::keeping();
    assert!(tab.kept().contains("kept:project"));
    tab.changed.clear();
    tab.event(Event::SetPinned(project(1), false));
    assert!(tab.changed.contains(&Query::Row(project(1))));
    assert!(tab.engine.kept_tree(&project(1)).is_none());
    assert!(!tab.kept().contains("kept:project") && !tab.kept().contains("\"deep\":true"), "{}", tab.kept());
    assert!(tab.reloaded().engine.kept_tree(&project(1)).is_none());
}

#[test]
fn a_kept_plan_that_may_not_be_seen_any_more_is_wiped() {
    let mut tab = Tab::keeping();
    tab.event(Event::SocketMessage(ServerMessage::Access { access_epoch: "2".into() }));
    let at = tab.requests.iter().position(|(_, r)| r.path.starts_with("/sync/snapshot")).unwrap();
    let (id, _) = tab.requests.remove(at);
    let problem =
        Problem { kind: "x".into(), title: "x".into(), status: 404, detail: None, errors: vec![], current: None };
    tab.event(Event::ResponseReceived(id, Err(RequestError::Rejected(Box::new(problem)))));
    while let Some(at) = tab.requests.iter().position(|(_, r)| r.path.contains("ids=")) {
        let (id, _) = tab.requests.remove(at);
        tab.event(Event::ResponseReceived(id, Ok(answer(list(vec![])))));
    }
    assert!(tab.engine.kept_tree(&project(1)).is_none());
    for text in ["said 1", "two", "kept:project"] {
        assert!(!tab.kept().contains(text), "{text}: {}", tab.kept());
    }
}

#[test]
fn what_is_tied_by_a_link_alone_is_asked_for_when_it_comes() {
    let mut tab = Tab::keeping();
    let page = EntityRef::new(code("wiki"), Uuid::from_u128(5000));
    tab.told("wiki", page.id, Action::Create, 1);
    let told = patch(json!({"id": page.id, "version": 1, "name": "Notes"}));
    tab.answer_to("/wiki?ids=", answer(list(vec![told.clone()])));
    let mut again = whole_plan();
    again.body = again.body.replace(
        "{\"complete\":true}",
        &format!("{}\n{{\"complete\":true}}", json!({"entity_code": "wiki", "data": [told]})),
    );
    tab.answer_to("/sync/snapshot", again);
    assert_eq!((tab.engine.kept_tree(&project(1)).unwrap().rows, tab.paths()), (4, vec![]));
    // A page of another plan that is looked at, or a task somewhere else, asks for nothing.
    tab.event(Event::Observe(ObserverId(7), Query::List(ListKey::all(code("task")))));
    let mut elsewhere = row(8, 3, "elsewhere");
    elsewhere.insert("project_id".into(), json!(project(2).id));
    tab.answer_to("/task?", answer(list(vec![row(1, 1, "one"), row(2, 1, "two"), elsewhere])));
    assert_eq!(tab.paths(), [] as [&str; 0]);
}

#[test]
fn what_was_only_written_here_asks_for_no_tree_again_and_again() {
    let mut tab = Tab::keeping();
    tab.event(Event::Observe(ObserverId(7), Query::List(ListKey::all(code("task")))));
    let mut elsewhere = row(8, 3, "elsewhere");
    elsewhere.insert("project_id".into(), json!(project(2).id));
    tab.answer_to("/task?", answer(list(vec![row(1, 1, "one"), row(2, 1, "two"), elsewhere.clone()])));
    // A refused write stands before the move into the kept plan.
    tab.update(8, json!({"name": ""}), 1);
    tab.refuse(422, None);
    tab.update(8, json!({"project_id": project(1).id}), 2);
    for _ in 0..20 {
        let Some((id, request)) = tab.requests.pop() else { break };
        assert!(!request.path.starts_with("/sync/snapshot"), "nothing has come that the server does not know");
        tab.event(Event::ResponseReceived(id, Ok(answer(list(vec![elsewhere.clone()])))));
    }
    assert_eq!(tab.paths(), [] as [&str; 0]);
}

#[test]
fn a_tree_that_is_under_way_when_the_socket_comes_back_is_watched_from_where_its_answer_stood() {
    let mut tab = Tab::new();
    tab.event(Event::Observe(ObserverId(1), Query::Meta(ReferenceDataKey::Codes)));
    tab.answer_to("/entity/codes", answer(types()));
    tab.hello();
    tab.event(Event::SetPinned(project(1), true));
    tab.event(Event::SocketClosed(1006));
    tab.sent.clear();
    tab.hello();
    let deep =
        |m: &&ClientMessage| matches!(m, ClientMessage::Subscribe(s) if s.parent.as_ref().is_some_and(|p| p.recursive));
    assert_eq!(tab.sent.iter().filter(deep).count(), 0, "what changes before the answer is in it, or is told since");
    tab.answer_to("/sync/snapshot", whole_plan());
    let since = |m: &&ClientMessage| matches!(m, ClientMessage::Subscribe(s) if s.since.is_some() && s.parent.as_ref().is_some_and(|p| p.recursive));
    assert_eq!(tab.sent.iter().filter(since).count(), 4);
}

#[test]
fn a_tab_that_leads_later_goes_on_keeping_what_another_kept_though_no_server_answers() {
    let mut tab = Tab::keeping();
    let load = |store: &MemoryStore| Box::new(now_or_never(store::load(store)).unwrap());
    let mut second =
        Tab { engine: Engine::new(5), store: tab.store.clone(), requests: vec![], sent: vec![], ..Tab::new() };
    let stored = load(&second.store);
    second.event(Event::Start { person: ME, tab: TabId(Uuid::from_u128(2)), stored, term: None });
    assert!(second.engine.kept_tree(&project(1)).is_some(), "it knows what is kept");
    tab.told("message", message(2).id, Action::Create, 1);
    tab.answer_to("/message?ids=", answer(list(vec![said(2, 1, &task(2))])));
    second.store = tab.store.clone();
    second.event(Event::Online(false));
    let stored = load(&second.store);
    second.event(Event::LeadershipAcquired { stored, term: 2 });
    assert_eq!(
        (second.said_of(task(1)), second.said_of(task(2))),
        (vec!["said 1".to_owned()], vec!["said 2".to_owned()])
    );
    assert_eq!(second.engine.kept_tree(&project(1)).unwrap().rows, 4);
}

fn page(n: u128) -> EntityRef {
    EntityRef::new(code("wiki"), Uuid::from_u128(4000 + n))
}

fn pages() -> ListKey {
    ListKey { below: Some(ParentFilter { parent: project(1), column: None }), ..ListKey::all(code("wiki")) }
}

/// The plan with three pages, of which these hang on it; none: it is not told which.
fn plan_with_pages(tied: Option<&[u128]>) -> Response {
    let rows = (1..=3).map(|n| patch(json!({"id": page(n).id, "version": 1, "name": format!("page {n}")}))).collect();
    let plan = patch(json!({"id": project(1).id, "version": 1, "name": "Plan"}));
    let mut answer = snapshot(&[("project", vec![plan]), ("wiki", rows)]);
    if let Some(tied) = tied {
        let ids: Vec<Uuid> = tied.iter().map(|n| page(*n).id).collect();
        answer.body =
            format!("{}\n{}", json!({"ties": [{"parent": project(1), "child": "wiki", "ids": ids}]}), answer.body);
    }
    answer
}

fn pages_of(tab: &mut Tab) -> Vec<String> {
    tab.event(Event::Observe(ObserverId(9), Query::List(pages())));
    tab.engine.rows(&pages()).iter().map(|row| row.data["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_links_alone_tie_inside_a_kept_plan_is_there_offline_and_can_be_tied_and_parted() {
    let mut tab = Tab::keeping_what(plan_with_pages(Some(&[1, 2]))).reloaded();
    tab.event(Event::Online(false));
    assert_eq!(pages_of(&mut tab), ["page 1", "page 2"], "nobody has ever looked at this list");
    tab.event(Event::Link { parent: project(1), child: page(3), below: true, ids: ids(1) });
    tab.event(Event::Link { parent: project(1), child: page(1), below: false, ids: ids(2) });
    let mut tab = tab.reloaded();
    tab.event(Event::Online(false));
    assert_eq!(pages_of(&mut tab), ["page 2", "page 3"]);
}

#[test]
fn a_list_that_a_tree_filled_takes_what_the_server_says_in_whatever_order_it_is_looked_at() {
    let mut tab = Tab::keeping_what(plan_with_pages(Some(&[1, 2])));
    let sorted = pages().sorted("name", true);
    tab.event(Event::Observe(ObserverId(9), Query::List(sorted.clone())));
    let shown = |tab: &Tab| -> Vec<String> {
        tab.engine.rows(&sorted).iter().map(|row| row.data["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(shown(&tab), ["page 2", "page 1"], "what is known is shown meanwhile");
    let told = vec![patch(json!({"id": page(3).id, "version": 1, "name": "page 3"}))];
    tab.answer_to(&format!("/project/{}/wiki", project(1).id), answer(list(told)));
    assert_eq!(shown(&tab), ["page 3"]);
}

#[test]
fn what_was_let_go_is_not_kept_again_by_an_answer_that_comes_late() {
    let mut tab = Tab::keeping_what(plan_with_pages(Some(&[1, 2])));
    tab.event(Event::InvalidateAll);
    let at = tab.requests.iter().position(|(_, r)| r.path.starts_with("/sync/snapshot")).unwrap();
    let (id, _) = tab.requests.remove(at);
    tab.event(Event::SetPinned(project(1), false));
    tab.event(Event::ResponseReceived(id, Ok(plan_with_pages(Some(&[1])))));
    assert_eq!(tab.reloaded().engine.kept_tree(&project(1)), None);
}

#[test]
fn a_tree_that_was_told_anew_fills_anew_what_nobody_looks_at() {
    let mut tab = Tab::keeping_what(plan_with_pages(Some(&[1, 2])));
    tab.event(Event::Online(false));
    assert_eq!(pages_of(&mut tab).len(), 2);
    tab.event(Event::Unobserve(ObserverId(9)));
    tab.event(Event::Online(true));
    tab.event(Event::InvalidateAll);
    tab.answer_to("/sync/snapshot?entity=project&id=", plan_with_pages(Some(&[3])));
    tab.event(Event::Online(false));
    assert_eq!(pages_of(&mut tab), ["page 3"]);
}

#[test]
fn of_a_tree_whose_ties_were_never_told_no_list_is_made_up() {
    // As an earlier build wrote it.
    let mut tab = Tab::new();
    let kept = serde_json::to_vec(&project(1)).unwrap();
    let read: Result<crate::engine::PinnedRoot, _> = serde_json::from_slice(&kept);
    assert!(read.is_ok_and(|kept| kept.ties.is_none()));
    tab.event(Event::Online(false));
    assert_eq!(pages_of(&mut tab), [] as [&str; 0]);
    assert!(!tab.engine.list(&pages()).loaded);
    // Told with none it has none.
    let mut tab = Tab::keeping_what(plan_with_pages(Some(&[]))).reloaded();
    tab.event(Event::Online(false));
    assert_eq!(pages_of(&mut tab), [] as [&str; 0]);
    assert!(tab.engine.list(&pages()).loaded);
}
