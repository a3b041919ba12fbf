//! Mutations: outbox, conflicts, drafts and links; no user input is lost.

use super::*;

#[test]
fn edit_is_visible_immediately_and_sent_after_it_is_persisted() {
    let mut tab = Tab::observing_tasks();
    let effects = tab
        .engine
        .handle(Event::Update { entity: task(1), patch: patch(json!({"name": "mine"})), ids: ids(1) }, tab.now);
    assert_eq!(tab.names()[0], "mine");
    assert!(!effects.iter().any(|e| matches!(e, Effect::Fetch(..))), "not sent before it is persisted");
    assert_eq!(tab.engine.status().unpersisted_writes, 1);
    let Effect::Persist(batch, _) = effects[0] else { panic!("the entry is not persisted first") };
    tab.event(Event::Persisted(batch, batch, Ok(())));
    let request = &tab.requests[0].1;
    assert_eq!((request.method, request.if_match), (Method::Patch, Some(1)));
    assert_eq!(request.idempotency_key.as_deref(), Some(Uuid::from_u128(501).to_string().as_str()));
    tab.respond(Value::Object(row(1, 2, "mine")));
    assert_eq!((tab.engine.status().pending_writes, tab.names()[0].as_str()), (0, "mine"));
}

#[test]
fn offline_edit_survives_a_crash_and_keeps_its_idempotency_key() {
    let mut tab = Tab::observing_tasks();
    tab.event(Event::Online(false));
    tab.update(1, json!({"name": "offline"}), 1);
    assert!(tab.requests.is_empty());
    let mut tab = tab.reloaded();
    assert_eq!(tab.names()[0], "offline");
    let key = tab.requests.iter().find(|(_, r)| r.method == Method::Patch).unwrap().1.idempotency_key.clone();
    assert_eq!(key, Some(Uuid::from_u128(501).to_string()));
    // The response is lost; the retry has the same key.
    let index = tab.requests.iter().position(|(_, r)| r.method == Method::Patch).unwrap();
    let (id, _) = tab.requests.remove(index);
    tab.event(Event::ResponseReceived(id, Err(RequestError::Network)));
    tab.now = tab.now + Duration::from_millis(60_000);
    tab.event(Event::Tick);
    assert_eq!(tab.requests.iter().find(|(_, r)| r.method == Method::Patch).unwrap().1.idempotency_key, key);
}

#[test]
fn pending_edits_of_an_entity_coalesce_and_stay_in_order() {
    let mut tab = Tab::observing_tasks();
    tab.event(Event::Online(false));
    tab.update(1, json!({"name": "a"}), 1);
    tab.update(1, json!({"name": "b", "points": 3}), 2);
    tab.event(Event::Delete { entity: task(1), ids: ids(3) });
    assert_eq!(tab.engine.outbox().len(), 2);
    tab.event(Event::Online(true));
    let writes: Vec<_> = tab.requests.iter().filter(|(_, r)| r.method != Method::Get).collect();
    assert_eq!(writes.len(), 1, "the delete waits for the update");
    assert_eq!(writes[0].1.body, Some(json!({"name": "b", "points": 3})));
}

#[test]
fn changes_of_different_columns_merge_and_of_the_same_column_conflict() {
    let mut tab = Tab::observing_tasks();
    tab.update(1, json!({"points": 5}), 1);
    let mut theirs = row(1, 2, "theirs");
    theirs.insert("points".into(), Value::Null);
    tab.reject(412, Some(theirs));
    let request = tab.requests[0].1.clone();
    assert_eq!((request.body, request.if_match), (Some(json!({"points": 5})), Some(2)));
    assert_ne!(request.idempotency_key, Some(Uuid::from_u128(501).to_string()), "a merged write has a new key");
    let mut both = row(1, 3, "theirs");
    both.insert("points".into(), json!(5));
    tab.respond(Value::Object(both));

    tab.update(1, json!({"name": "mine"}), 2);
    tab.reject(412, Some(row(1, 4, "other")));
    assert_eq!(tab.engine.status().needs_attention, 1);
    assert_eq!(tab.names()[0], "other", "the server's value is shown until the conflict is resolved");
    assert!(tab.requests.is_empty());
    tab.resolve(2, Some(777));
    assert_eq!(tab.names()[0], "mine");
    assert_eq!(tab.requests[0].1.if_match, Some(4));
}

#[test]
fn rejected_write_is_rolled_back_and_stays_in_the_outbox() {
    let mut tab = Tab::observing_tasks();
    tab.update(1, json!({"name": ""}), 1);
    tab.reject(422, None);
    assert_eq!(tab.names()[0], "one");
    assert_eq!(tab.engine.status().needs_attention, 1);
    let tab = tab.reloaded();
    assert!(matches!(tab.engine.outbox()[0].state, EntryState::Rejected { .. }));
}

#[test]
fn created_entity_is_in_its_list_immediately_and_dependent_writes_wait() {
    let mut tab = Tab::observing_tasks();
    let values = patch(json!({"name": "new", "project_id": project(1).id}));
    tab.event(Event::Create { entity: task(7), values, ids: ids(1) });
    assert_eq!(tab.names(), ["one", "two", "three", "new"]);
    let child = patch(json!({"name": "child", "project_id": project(1).id, "parent__task_id": task(7).id}));
    tab.event(Event::Create { entity: task(8), values: child, ids: ids(2) });
    assert_eq!(tab.requests.len(), 1, "the child waits for its parent");
    tab.respond(Value::Object(row(7, 1, "new")));
    assert_eq!(tab.requests.len(), 1);
    tab.respond(Value::Object(row(8, 1, "child")));
    assert_eq!(tab.names().len(), 5);
    assert_eq!(tab.engine.status().pending_writes, 0);
}

#[test]
fn taking_theirs_keeps_merged_columns_and_stashes_local_values_for_redo() {
    let mut tab = Tab::observing_tasks();
    tab.update(1, json!({"name": "mine", "descr": "a long text", "who": ["a", "b"]}), 1);
    let mut theirs = row(1, 2, "theirs");
    theirs.insert("descr".into(), Value::Null);
    tab.reject(412, Some(theirs));
    assert_eq!(tab.engine.status().needs_attention, 1);
    tab.resolve(1, None);
    let request = tab.requests[0].1.clone();
    assert_eq!(request.if_match, Some(2));
    let body = request.body.unwrap();
    assert_eq!((&body["descr"], body.get("name")), (&json!("a long text"), None));
    let draft = tab.engine.draft(&task(1)).unwrap();
    assert!(!draft.has_changes());
    tab.event(Event::DraftRedo(task(1)));
    assert_eq!(tab.engine.draft(&task(1)).unwrap().current_data["name"], json!("mine"));
}

#[test]
fn keeping_mine_preserves_array_elements_added_by_others() {
    let mut tab = Tab::observing_tasks();
    let (mine, base) = (json!({"name": "mine", "who": ["x", "a"]}), json!({"name": "one", "who": ["x"]}));
    let operation = Operation::Update { patch: patch(mine), base: patch(base), base_version: 1 };
    tab.event(Event::OutboxReloaded(vec![OutboxEntry::new(ids(1), task(1), operation)]));
    let mut theirs = row(1, 2, "theirs");
    theirs.insert("who".into(), json!(["x", "b"]));
    tab.reject(412, Some(theirs));
    tab.resolve(1, Some(777));
    assert_eq!(tab.requests[0].1.body, Some(json!({"name": "mine", "who": ["x", "b", "a"]})));
}

#[test]
fn rejected_write_can_be_turned_back_into_a_draft() {
    let mut tab = Tab::observing_tasks();
    tab.update(1, json!({"name": "", "descr": "a long text"}), 1);
    tab.reject(422, None);
    tab.event(Event::RevertToDraft(Uuid::from_u128(1)));
    assert!(tab.engine.outbox().is_empty());
    let draft = tab.engine.draft(&task(1)).unwrap();
    assert_eq!(draft.current_data["descr"], json!("a long text"));
    let tab = tab.reloaded();
    assert!(tab.engine.draft(&task(1)).unwrap().has_changes());
}

#[test]
fn concurrent_offline_writes_of_two_tabs_are_merged() {
    let mut tab = Tab::observing_tasks();
    // Two offline tabs add a person to the same column; the second did not see the first change.
    let entry = |n: u128, people: Value| {
        let operation = Operation::Update {
            patch: patch(json!({"who": people})),
            base: patch(json!({"who": ["x"]})),
            base_version: 1,
        };
        OutboxEntry::new(ids(n), task(1), operation)
    };
    tab.event(Event::Online(false));
    tab.event(Event::OutboxReloaded(vec![entry(1, json!(["x", "alice"])), entry(2, json!(["x", "bob"]))]));
    tab.event(Event::Online(true));
    tab.requests.retain(|(_, r)| r.method == Method::Patch);
    assert_eq!(tab.requests.len(), 1);
    let mut updated = row(1, 2, "one");
    updated.insert("who".into(), json!(["x", "alice"]));
    tab.respond(Value::Object(updated.clone()));
    tab.requests.retain(|(_, r)| r.method == Method::Patch);
    let mut second = tab.requests[0].1.clone();
    if second.if_match != Some(2) {
        tab.reject(412, Some(updated));
        tab.requests.retain(|(_, r)| r.method == Method::Patch);
        second = tab.requests[0].1.clone();
    }
    assert_eq!((second.body, second.if_match), (Some(json!({"who": ["x", "alice", "bob"]})), Some(2)));
}

#[test]
fn draft_of_another_tab_is_loaded_and_newer_local_drafts_are_kept() {
    let mut tab = Tab::observing_tasks();
    let field = |n: u128, value: &str| Event::DraftField { entity: task(n), field: "name".into(), value: json!(value) };
    tab.event(field(2, "typed here"));
    let mut other = tab.engine.draft(&task(2)).unwrap().clone();
    other.entity = task(1);
    other.updated_at = tab.now + Duration::from_millis(5);
    tab.event(Event::DraftsReloaded { drafts: vec![other], as_of: tab.now });
    assert!(tab.engine.draft(&task(1)).is_some());
    assert!(tab.engine.draft(&task(2)).is_some(), "edited here after the other tab wrote its drafts");
    tab.event(Event::DraftsReloaded { drafts: vec![], as_of: tab.now + Duration::from_millis(10) });
    assert!(tab.engine.draft(&task(1)).is_none(), "committed or discarded in the other tab");
}

#[test]
fn notification_of_an_own_write_sends_no_request() {
    let mut tab = Tab::observing_tasks();
    tab.update(1, json!({"name": "mine"}), 1);
    tab.invalidate(&[(1, Action::Update, 2)]);
    assert_eq!(tab.requests.len(), 1, "only the write itself");
    tab.respond(Value::Object(row(1, 2, "mine")));
    assert!(tab.requests.is_empty());
}

#[test]
fn draft_survives_a_reload_with_its_history_and_is_sent_with_its_base_version() {
    let mut tab = Tab::observing_tasks();
    let field = |name: &str, value: Value| Event::DraftField { entity: task(1), field: name.into(), value };
    tab.event(field("name", json!("draft")));
    tab.now = tab.now + Duration::from_millis(5000);
    tab.event(field("points", json!(8)));
    let mut tab = tab.reloaded();
    assert_eq!(tab.engine.draft(&task(1)).unwrap().current_data.len(), 2);
    tab.event(Event::DraftUndo(task(1)));
    assert_eq!(tab.engine.draft(&task(1)).unwrap().current_data.len(), 1);
    tab.event(Event::DraftRedo(task(1)));
    tab.event(Event::DraftCommit { entity: task(1), ids: ids(1) });
    assert_eq!(tab.engine.draft(&task(1)), None);
    let write = tab.requests.iter().find(|(_, r)| r.method == Method::Patch).unwrap();
    assert_eq!((write.1.body.clone(), write.1.if_match), (Some(json!({"name": "draft", "points": 8})), Some(1)));
}

#[test]
fn follower_does_not_coalesce_into_entries_that_the_leader_may_be_sending() {
    let mut tab = Tab::observing_tasks();
    tab.event(Event::LeadershipLost);
    tab.update(1, json!({"name": "a"}), 1);
    tab.update(1, json!({"points": 3}), 2);
    assert_eq!(tab.engine.outbox().len(), 2);
    let values = patch(json!({"name": "new", "project_id": project(1).id}));
    tab.event(Event::Create { entity: task(7), values, ids: ids(3) });
    tab.event(Event::Delete { entity: task(7), ids: ids(4) });
    assert_eq!(tab.engine.outbox().len(), 4);
}

#[test]
fn write_based_on_a_discarded_write_conflicts_with_unseen_server_values() {
    let mut tab = Tab::observing_tasks();
    tab.update(1, json!({"name": "first"}), 1);
    // Another user's change arrives while the first write is in flight, and the write hides it.
    tab.invalidate(&[(1, Action::Update, 2)]);
    tab.event(Event::Refetch(Query::List(tasks())));
    let list_request = tab.requests.iter().position(|(_, r)| r.method == Method::Get).unwrap();
    let (id, _) = tab.requests.remove(list_request);
    let rows = list(vec![row(1, 2, "theirs"), row(2, 1, "two"), row(3, 1, "three")]);
    tab.event(Event::ResponseReceived(id, Ok(ok_response(rows))));
    assert_eq!(tab.names()[0], "first");
    tab.update(1, json!({"name": "second"}), 2);
    tab.reject(412, Some(row(1, 2, "theirs")));
    tab.resolve(1, None);
    // The second write was based on the discarded one, so it is sent with the base version of that.
    let write = tab.requests.iter().find(|(_, r)| r.method == Method::Patch).unwrap();
    assert_eq!(write.1.if_match, Some(1));
    tab.requests.retain(|(_, r)| r.method == Method::Patch);
    tab.reject(412, Some(row(1, 2, "theirs")));
    assert_eq!(tab.engine.status().needs_attention, 1, "the user must decide");
}

#[test]
fn rejected_write_is_retried_under_its_own_key() {
    let mut tab = Tab::observing_tasks();
    tab.update(1, json!({"name": "mine"}), 1);
    tab.reject(403, None);
    tab.resolve(1, Some(777));
    let key = Uuid::from_u128(501).to_string();
    assert_eq!(tab.requests[0].1.idempotency_key, Some(key), "an earlier attempt may have succeeded");
}

#[test]
fn resolution_of_an_outdated_conflict_is_ignored() {
    let mut tab = Tab::observing_tasks();
    tab.update(1, json!({"name": "mine"}), 1);
    let seen = tab.engine.outbox()[0].idempotency_key;
    tab.reject(412, Some(row(1, 2, "theirs")));
    tab.event(Event::ResolveConflict {
        entry: Uuid::from_u128(1),
        seen,
        choice: Resolution::KeepMine(Uuid::from_u128(777)),
    });
    assert_eq!(tab.engine.status().needs_attention, 1, "the user has not seen the server's row yet");
    tab.resolve(1, Some(777));
    assert_eq!(tab.engine.status().needs_attention, 0);
}

#[test]
fn draft_ended_in_another_tab_stays_ended_unless_edited_later() {
    let mut tab = Tab::observing_tasks();
    let field = |value: &str| Event::DraftField { entity: task(1), field: "name".into(), value: json!(value) };
    tab.event(field("mine"));
    tab.now = tab.now + Duration::from_millis(1000);
    let ended = |ended_at: UnixMillis| vec![crate::Draft::new(task(1), 0, ended_at)];
    // The other tab discarded the draft before the edit in this tab.
    tab.event(Event::DraftsReloaded { drafts: ended(tab.now - Duration::from_millis(1500)), as_of: tab.now });
    assert!(tab.engine.draft(&task(1)).is_some());
    // The other tab discarded it after that edit.
    tab.event(Event::DraftsReloaded { drafts: ended(tab.now - Duration::from_millis(500)), as_of: tab.now });
    assert!(tab.engine.draft(&task(1)).is_none());
    tab.event(field("again"));
    assert!(tab.engine.draft(&task(1)).is_some());
}

#[test]
fn entries_not_persisted_are_written_again_and_survive_a_reload_of_the_outbox() {
    let mut tab = Tab::observing_tasks();
    let patch = patch(json!({"name": "mine"}));
    let fail_batch = |effects: Vec<Effect>, tab: &mut Tab| {
        let batch = effects.iter().find_map(|e| if let Effect::Persist(batch, _) = e { Some(*batch) } else { None });
        let quota_exceeded = Err(crate::StoreError::QuotaExceeded);
        batch
            .map(|batch| tab.engine.handle(Event::Persisted(batch, batch, quota_exceeded), tab.now))
            .unwrap_or_default()
    };
    let mut effects = tab.engine.handle(Event::Update { entity: task(1), patch, ids: ids(1) }, tab.now);
    for _ in 0..2 {
        effects = fail_batch(effects, &mut tab);
        let rewritten = effects
            .iter()
            .any(|e| matches!(e, Effect::Persist(_, w) if w.iter().any(|w| w.namespace() == Namespace::Outbox)));
        assert!(rewritten, "the entry is written again");
        assert_eq!(tab.engine.status().unpersisted_writes, 1);
        tab.engine.handle(Event::OutboxReloaded(vec![]), tab.now);
        assert_eq!(tab.engine.outbox().len(), 1, "an entry that is not persisted stays in the outbox");
    }
    // If the device stores nothing, the entry is sent from memory and stays there until confirmed.
    for _ in 0..3 {
        effects = fail_batch(effects, &mut tab);
    }
    assert_eq!(tab.engine.status().unpersisted_writes, 0);
    tab.engine.handle(Event::OutboxReloaded(vec![]), tab.now);
    assert_eq!(tab.engine.outbox().len(), 1);
    assert_eq!(tab.engine.row(&task(1)).unwrap().data["name"], "mine");
}

#[test]
fn conflict_is_resolved_per_column() {
    let mut tab = Tab::observing_tasks();
    tab.update(1, json!({"name": "mine", "stage": "Blocked", "points": 5, "descr": "long"}), 1);
    let mut theirs = row(1, 2, "theirs");
    theirs.extend(patch(json!({"stage": "To Do", "points": 8, "descr": null})));
    tab.reject(412, Some(theirs));
    let entry = tab.engine.outbox()[0].clone();
    let EntryState::Conflict { fields, .. } = &entry.state else { panic!("{entry:?}") };
    assert_eq!(fields, &["name", "points", "stage"], "merged columns are not in conflict");
    // The local value for `stage`, a new value for `name`, and the server's for `points`.
    let values = patch(json!({"stage": "Blocked", "name": "both"}));
    let choice = Resolution::PerField(values, Uuid::from_u128(777));
    tab.event(Event::ResolveConflict { entry: entry.id, seen: entry.idempotency_key, choice });
    let request = tab.requests[0].1.clone();
    assert_eq!(request.body, Some(json!({"name": "both", "stage": "Blocked", "descr": "long"})));
    assert_eq!((request.if_match, request.idempotency_key), (Some(2), Some(Uuid::from_u128(777).to_string())));
    tab.event(Event::DraftRedo(task(1)));
    let draft = &tab.engine.draft(&task(1)).unwrap().current_data;
    assert_eq!(
        (&draft["name"], &draft["points"]),
        (&json!("mine"), &json!(5)),
        "discarded values can be restored with redo"
    );
}

/// Key of the list of the tasks that free links connect to a program.
fn members() -> ListKey {
    let parent = EntityRef::new(code("program"), Uuid::from_u128(2000));
    ListKey { parent_filter: Some(ParentFilter { parent, column: None }), ..ListKey::all(code("task")) }
}

fn member_ids(tab: &Tab) -> Vec<u128> {
    tab.engine.list(&members()).ids.iter().map(|id| id.as_u128()).collect()
}

/// Links a task to the program, or unlinks it.
fn link(n: u128, linked: bool, id: u128) -> Event {
    let parent = members().parent_filter.unwrap().parent;
    Event::Link { parent, child: task(n), linked, ids: ids(id) }
}

/// Returns a tab that observes three tasks and the free-linked tasks of a program: the first one.
fn observing_members() -> Tab {
    let mut tab = Tab::observing_tasks();
    tab.event(Event::Observe(ObserverId(2), Query::List(members())));
    tab.respond(list(vec![row(1, 1, "one")]));
    tab
}

#[test]
fn offline_link_is_visible_immediately_survives_a_crash_and_is_sent() {
    let mut tab = observing_members();
    tab.event(Event::Online(false));
    tab.event(link(2, true, 1));
    tab.event(link(1, false, 2));
    assert_eq!(member_ids(&tab), [2]);
    let mut tab = tab.reloaded();
    tab.event(Event::Observe(ObserverId(2), Query::List(members())));
    assert_eq!(member_ids(&tab), [2], "restored from the device");
    tab.hello();
    let writes: Vec<Request> =
        tab.requests.iter().map(|(_, r)| r.clone()).filter(|r| r.idempotency_key.is_some()).collect();
    assert_eq!(writes[0].body.as_ref().unwrap()["child_id"], json!(task(2).id));
    assert_eq!((writes[1].method, writes[1].body.clone()), (Method::Delete, None));
    assert!(writes[1].path.starts_with("/entity_instance_link?parent_code=program&parent_id="), "{}", writes[1].path);
    // The response to the list is older than the writes: pending links stay visible.
    let list_request = tab.requests.iter().position(|(_, r)| r.path.starts_with("/program/")).unwrap();
    let (id, _) = tab.requests.remove(list_request);
    tab.event(Event::ResponseReceived(id, Ok(ok_response(list(vec![row(1, 1, "one")])))));
    assert_eq!(member_ids(&tab), [2]);
    while let Some(index) = tab.requests.iter().position(|(_, r)| r.idempotency_key.is_some()) {
        let (id, _) = tab.requests.remove(index);
        tab.event(Event::ResponseReceived(id, Ok(ok_response(json!({"id": 1})))));
    }
    assert!(tab.engine.outbox().is_empty());
    assert!(tab.paths().iter().any(|path| path.starts_with("/program/")), "the list is refetched after the writes");
    assert_eq!(member_ids(&tab), [2], "the list does not change until the response arrives");
}

#[test]
fn entity_created_elsewhere_with_a_free_link_enters_the_list() {
    let mut tab = observing_members();
    tab.hello();
    tab.requests.clear();
    let member_requests = |tab: &Tab| tab.paths().iter().filter(|path| path.starts_with("/program/")).count();
    tab.invalidate(&[(2, Action::Update, 2)]);
    assert_eq!(member_requests(&tab), 0, "an update adds no link");
    tab.invalidate(&[(8, Action::Create, 1)]);
    assert_eq!(member_requests(&tab), 1);
    // Another task is created while the request is in flight: the response may not contain it.
    tab.invalidate(&[(9, Action::Create, 1)]);
    assert_eq!(member_requests(&tab), 1);
    let respond_members = |tab: &mut Tab, rows: Vec<Row>| {
        let index = tab.requests.iter().position(|(_, r)| r.path.starts_with("/program/")).unwrap();
        let (id, _) = tab.requests.remove(index);
        tab.event(Event::ResponseReceived(id, Ok(ok_response(list(rows)))));
    };
    respond_members(&mut tab, vec![row(1, 1, "one"), row(8, 1, "eight")]);
    assert_eq!((member_ids(&tab), member_requests(&tab)), (vec![1, 8], 1));
    respond_members(&mut tab, vec![row(1, 1, "one"), row(8, 1, "eight"), row(9, 1, "nine")]);
    assert_eq!((member_ids(&tab), member_requests(&tab)), (vec![1, 8, 9], 0));
    tab.invalidate(&[(9, Action::Create, 1)]);
    assert_eq!(member_requests(&tab), 0, "a cached member is not requested");
}

#[test]
fn rejected_or_discarded_link_is_rolled_back() {
    let mut tab = observing_members();
    tab.event(link(2, true, 1));
    tab.reject(403, None);
    assert_eq!((member_ids(&tab), tab.engine.status().needs_attention), (vec![1], 1));
    tab.requests.clear();
    tab.resolve(1, None);
    assert_eq!((member_ids(&tab), tab.engine.outbox().len()), (vec![1], 0));
    tab.event(Event::Online(false));
    tab.event(link(1, false, 2));
    assert_eq!(member_ids(&tab), [] as [u128; 0]);
    tab.event(Event::Discard(Uuid::from_u128(2)));
    assert_eq!(member_ids(&tab), [1]);
}

#[test]
fn link_of_a_created_entity_waits_for_its_creation() {
    let mut tab = observing_members();
    tab.event(Event::Create { entity: task(7), values: patch(json!({"name": "new"})), ids: ids(1) });
    tab.event(link(7, true, 2));
    assert_eq!(member_ids(&tab), [1, 7]);
    assert_eq!(tab.requests.len(), 1, "the entity is created first");
    tab.respond(Value::Object(row(7, 1, "new")));
    assert!(tab.requests.iter().any(|(_, r)| r.path == "/entity_instance_link"));
}

/// Returns an offline tab that has created a task with a renamed subtask and renamed another task.
fn with_offline_subtask() -> Tab {
    let mut tab = Tab::observing_tasks();
    tab.event(Event::Online(false));
    let values = |value: Value| patch(value);
    tab.event(Event::Create { entity: task(8), values: values(json!({"name": "parent"})), ids: ids(1) });
    let child = json!({"name": "child", "parent__task_id": task(8).id});
    tab.event(Event::Create { entity: task(9), values: values(child), ids: ids(2) });
    tab.event(Event::Update { entity: task(9), patch: values(json!({"name": "renamed"})), ids: ids(3) });
    tab.event(Event::Update { entity: task(1), patch: values(json!({"name": "another"})), ids: ids(4) });
    tab
}

#[test]
fn discarding_an_uncreated_entity_discards_dependent_entries() {
    let mut tab = with_offline_subtask();
    tab.event(Event::DraftField { entity: task(8), field: "name".into(), value: json!("typed") });
    let create = tab.engine.outbox()[0].id;
    assert_eq!(
        tab.engine.with_dependents(create).len(),
        tab.engine.outbox().len() - 1,
        "all entries except that of the other task"
    );
    tab.event(Event::Discard(create));
    let remaining: Vec<_> = tab.engine.outbox().iter().map(|e| e.entity.clone()).collect();
    assert_eq!((remaining, tab.engine.draft_count()), (vec![task(1)], 0));
    assert_eq!((tab.engine.row(&task(8)), tab.engine.row(&task(9))), (None, None));
    assert_eq!(tab.reloaded().engine.outbox().len(), 1, "the discarded entries do not come back from the device");
}

#[test]
fn dependent_entries_wait_for_a_rejected_create_and_are_discarded_with_it() {
    let mut tab = with_offline_subtask();
    tab.event(Event::Online(true));
    let index = tab.requests.iter().position(|(_, r)| r.method == Method::Post).unwrap();
    tab.requests.swap(0, index);
    tab.reject(403, None);
    assert!(!tab.requests.iter().any(|(_, r)| r.method == Method::Post), "a dependent write is not sent");
    let entry = tab.engine.outbox()[0].clone();
    tab.event(Event::ResolveConflict { entry: entry.id, seen: entry.idempotency_key, choice: Resolution::TakeTheirs });
    assert!(!tab.engine.outbox().iter().any(|e| e.entity != task(1)));
}

#[test]
fn dependent_writes_are_sent_before_the_deletion() {
    let mut tab = with_offline_subtask();
    tab.event(Event::Delete { entity: task(8), ids: ids(5) });
    tab.event(Event::Online(true));
    let mut sent = Vec::new();
    while let Some(index) = tab.requests.iter().position(|(_, r)| r.method != Method::Get) {
        let (id, request) = tab.requests.remove(index);
        sent.push(request.method);
        let body = if request.method == Method::Delete {
            Value::Null
        } else {
            json!({"id": request.path.rsplit('/').next(), "version": 2})
        };
        let body = match request.body {
            Some(Value::Object(row)) if request.method == Method::Post => {
                let mut row = row.clone();
                row.insert("version".into(), json!(1));
                Value::Object(row)
            }
            _ => body,
        };
        let response = Response { body: body.to_string(), ..Response::default() };
        tab.event(Event::ResponseReceived(id, Ok(response)));
    }
    sent.retain(|method| matches!(method, Method::Post | Method::Delete));
    assert_eq!(sent, [Method::Post, Method::Post, Method::Delete]);
}

#[test]
fn write_rejected_because_the_entity_was_deleted_stays_in_the_outbox() {
    let mut tab = Tab::observing_tasks();
    tab.update(1, json!({"name": "typed"}), 1);
    let index = tab.requests.iter().position(|(_, r)| r.method == Method::Patch).unwrap();
    tab.requests.swap(0, index);
    tab.reject(404, None);
    // The refetch of the entity returns 404 as well.
    while let Some(index) = tab.requests.iter().position(|(_, r)| r.method == Method::Get) {
        tab.requests.swap(0, index);
        tab.reject(404, None);
    }
    let entry = tab.engine.outbox()[0].clone();
    assert!(matches!(entry.state, EntryState::Rejected { .. }));
    if tab.engine.row(&task(1)).is_none() {
        tab.event(Event::RevertToDraft(entry.id));
        assert_eq!(
            (tab.engine.outbox().len(), tab.engine.draft_count()),
            (1, 0),
            "a draft of a missing entity would be invisible"
        );
    }
}

#[test]
fn discarding_an_entity_removes_only_the_references_from_other_edits() {
    let mut tab = with_offline_subtask();
    let values = json!({"name": "renamed too", "parent__task_id": task(8).id});
    tab.event(Event::Update { entity: task(2), patch: patch(values), ids: ids(6) });
    tab.event(Event::Discard(tab.engine.outbox()[0].id));
    let entry = tab.engine.outbox().iter().find(|e| e.entity == task(2)).unwrap();
    assert_eq!(entry.local_values(), patch(json!({"name": "renamed too"})));
    assert_eq!(tab.engine.row(&task(2)).unwrap().data.get("parent__task_id"), None);
    assert_eq!(tab.reloaded().engine.row(&task(2)).unwrap().data["name"], "renamed too");
}
