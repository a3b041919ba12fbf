//! What is written, and that none of it is lost.

use super::*;

#[test]
fn an_edit_shows_at_once_and_is_sent_only_when_it_is_on_disk() {
    let mut tab = Tab::looking();
    let effects = tab
        .engine
        .handle(Event::Update { entity: task(1), patch: patch(json!({"name": "mine"})), ids: ids(1) }, tab.now);
    assert_eq!(tab.names()[0], "mine");
    assert!(!effects.iter().any(|e| matches!(e, Effect::Fetch(..))), "not before it is saved");
    assert_eq!(tab.engine.status().unpersisted_writes, 1);
    let Effect::Persist(batch, _) = effects[0] else { panic!("it goes to disk first") };
    tab.event(Event::Persisted(batch, batch, Ok(())));
    let request = &tab.requests[0].1;
    assert_eq!((request.method, request.if_match), (Method::Patch, Some(1)));
    assert_eq!(request.idempotency_key.as_deref(), Some(Uuid::from_u128(501).to_string().as_str()));
    tab.answer(Value::Object(row(1, 2, "mine")));
    assert_eq!((tab.engine.status().pending_writes, tab.names()[0].as_str()), (0, "mine"));
}

#[test]
fn an_edit_made_offline_outlives_a_crash_and_keeps_its_key() {
    let mut tab = Tab::looking();
    tab.event(Event::Online(false));
    tab.update(1, json!({"name": "offline"}), 1);
    assert!(tab.requests.is_empty());
    let mut tab = tab.reloaded();
    assert_eq!(tab.names()[0], "offline");
    let key = tab.requests.iter().find(|(_, r)| r.method == Method::Patch).unwrap().1.idempotency_key.clone();
    assert_eq!(key, Some(Uuid::from_u128(501).to_string()));
    // The answer is lost; the repeat has the same key.
    let at = tab.requests.iter().position(|(_, r)| r.method == Method::Patch).unwrap();
    let (id, _) = tab.requests.remove(at);
    tab.event(Event::ResponseReceived(id, Err(RequestError::Network)));
    tab.now += 60_000.0;
    tab.event(Event::Tick);
    assert_eq!(tab.requests.iter().find(|(_, r)| r.method == Method::Patch).unwrap().1.idempotency_key, key);
}

#[test]
fn edits_that_wait_fold_into_one_and_the_order_of_one_thing_is_kept() {
    let mut tab = Tab::looking();
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
fn what_another_touched_merges_and_what_both_touched_asks() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"points": 5}), 1);
    let mut theirs = row(1, 2, "theirs");
    theirs.insert("points".into(), Value::Null);
    tab.refuse(412, Some(theirs));
    let request = tab.requests[0].1.clone();
    assert_eq!((request.body, request.if_match), (Some(json!({"points": 5})), Some(2)));
    assert_ne!(request.idempotency_key, Some(Uuid::from_u128(501).to_string()), "a merged write has a new key");
    let mut both = row(1, 3, "theirs");
    both.insert("points".into(), json!(5));
    tab.answer(Value::Object(both));

    tab.update(1, json!({"name": "mine"}), 2);
    tab.refuse(412, Some(row(1, 4, "other")));
    assert_eq!(tab.engine.status().needs_attention, 1);
    assert_eq!(tab.names()[0], "other", "theirs is shown until it is settled");
    assert!(tab.requests.is_empty());
    tab.settle(2, Some(777));
    assert_eq!(tab.names()[0], "mine");
    assert_eq!(tab.requests[0].1.if_match, Some(4));
}

#[test]
fn a_refused_write_is_rolled_back_and_kept_for_its_writer() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": ""}), 1);
    tab.refuse(422, None);
    assert_eq!(tab.names()[0], "one");
    assert_eq!(tab.engine.status().needs_attention, 1);
    let tab = tab.reloaded();
    assert!(matches!(tab.engine.outbox()[0].state, EntryState::Rejected { .. }));
}

#[test]
fn a_thing_made_here_is_in_its_list_at_once_and_what_refers_to_it_waits() {
    let mut tab = Tab::looking();
    let values = patch(json!({"name": "new", "project_id": project(1).id}));
    tab.event(Event::Create { entity: task(7), values, ids: ids(1) });
    assert_eq!(tab.names(), ["one", "two", "three", "new"]);
    let child = patch(json!({"name": "below", "project_id": project(1).id, "parent__task_id": task(7).id}));
    tab.event(Event::Create { entity: task(8), values: child, ids: ids(2) });
    assert_eq!(tab.requests.len(), 1, "the child waits for its parent");
    tab.answer(Value::Object(row(7, 1, "new")));
    assert_eq!(tab.requests.len(), 1);
    tab.answer(Value::Object(row(8, 1, "below")));
    assert_eq!(tab.names().len(), 5);
    assert_eq!(tab.engine.status().pending_writes, 0);
}

#[test]
fn settling_with_theirs_keeps_what_merged_and_mine_one_redo_away() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": "mine", "descr": "a long text", "who": ["a", "b"]}), 1);
    let mut theirs = row(1, 2, "theirs");
    theirs.insert("descr".into(), Value::Null);
    tab.refuse(412, Some(theirs));
    assert_eq!(tab.engine.status().needs_attention, 1);
    tab.settle(1, None);
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
fn settling_with_mine_keeps_what_others_added_to_lists() {
    let mut tab = Tab::looking();
    let (mine, made_on) = (json!({"name": "mine", "who": ["x", "a"]}), json!({"name": "one", "who": ["x"]}));
    let operation = Operation::Update { patch: patch(mine), base: patch(made_on), base_version: 1 };
    tab.event(Event::OutboxReloaded(vec![OutboxEntry::new(ids(1), task(1), operation)]));
    let mut theirs = row(1, 2, "theirs");
    theirs.insert("who".into(), json!(["x", "b"]));
    tab.refuse(412, Some(theirs));
    tab.settle(1, Some(777));
    assert_eq!(tab.requests[0].1.body, Some(json!({"name": "mine", "who": ["x", "b", "a"]})));
}

#[test]
fn a_refused_write_can_be_mended_in_its_draft() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": "", "descr": "a long text"}), 1);
    tab.refuse(422, None);
    tab.event(Event::RevertToDraft(Uuid::from_u128(1)));
    assert!(tab.engine.outbox().is_empty());
    let draft = tab.engine.draft(&task(1)).unwrap();
    assert_eq!(draft.current_data["descr"], json!("a long text"));
    let tab = tab.reloaded();
    assert!(tab.engine.draft(&task(1)).unwrap().has_changes());
}

#[test]
fn a_later_write_made_without_knowing_of_an_earlier_one_is_merged_not_laid_over() {
    let mut tab = Tab::looking();
    // Two tabs, offline, on the same people: the second did not see what the first had added.
    let entry = |n: u128, who: Value| {
        let operation = Operation::Update {
            patch: patch(json!({"who": who})),
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
    let mut answered = row(1, 2, "one");
    answered.insert("who".into(), json!(["x", "alice"]));
    tab.answer(Value::Object(answered.clone()));
    tab.requests.retain(|(_, r)| r.method == Method::Patch);
    let mut second = tab.requests[0].1.clone();
    if second.if_match != Some(2) {
        tab.refuse(412, Some(answered));
        tab.requests.retain(|(_, r)| r.method == Method::Patch);
        second = tab.requests[0].1.clone();
    }
    assert_eq!((second.body, second.if_match), (Some(json!({"who": ["x", "alice", "bob"]})), Some(2)));
}

#[test]
fn a_draft_of_another_tab_is_taken_and_what_is_typed_meanwhile_stays() {
    let mut tab = Tab::looking();
    let field = |n: u128, value: &str| Event::DraftField { entity: task(n), field: "name".into(), value: json!(value) };
    tab.event(field(2, "typed here"));
    let mut other = tab.engine.draft(&task(2)).unwrap().clone();
    other.entity = task(1);
    other.updated_at = tab.now + 5.0;
    tab.event(Event::DraftsReloaded { drafts: vec![other], as_of: tab.now });
    assert!(tab.engine.draft(&task(1)).is_some());
    assert!(tab.engine.draft(&task(2)).is_some(), "it was typed after the other tab wrote");
    tab.event(Event::DraftsReloaded { drafts: vec![], as_of: tab.now + 10.0 });
    assert!(tab.engine.draft(&task(1)).is_none(), "sent or given up there");
}

#[test]
fn ones_own_change_coming_back_fetches_nothing() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": "mine"}), 1);
    tab.invalidate(&[(1, Action::Update, 2)]);
    assert_eq!(tab.requests.len(), 1, "only the write itself");
    tab.answer(Value::Object(row(1, 2, "mine")));
    assert!(tab.requests.is_empty());
}

#[test]
fn a_draft_survives_a_reload_with_its_steps_and_is_sent_on_the_version_it_began_on() {
    let mut tab = Tab::looking();
    let field = |name: &str, value: Value| Event::DraftField { entity: task(1), field: name.into(), value };
    tab.event(field("name", json!("draft")));
    tab.now += 5000.0;
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
fn a_tab_that_does_not_send_writes_into_nothing_that_another_may_be_sending() {
    let mut tab = Tab::looking();
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
fn a_write_made_on_top_of_one_that_comes_to_nothing_does_not_overwrite_what_its_writer_has_not_seen() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": "first"}), 1);
    // Somebody else was faster; their row comes while the first write is out, and stays hidden beneath it.
    tab.invalidate(&[(1, Action::Update, 2)]);
    tab.event(Event::Refetch(Query::List(tasks())));
    let list_request = tab.requests.iter().position(|(_, r)| r.method == Method::Get).unwrap();
    let (id, _) = tab.requests.remove(list_request);
    let rows = list(vec![row(1, 2, "theirs"), row(2, 1, "two"), row(3, 1, "three")]);
    tab.event(Event::ResponseReceived(id, Ok(answer(rows))));
    assert_eq!(tab.names()[0], "first");
    tab.update(1, json!({"name": "second"}), 2);
    tab.refuse(412, Some(row(1, 2, "theirs")));
    tab.settle(1, None);
    // The second write was made on the first, which is no more: it asks for the version on which that began.
    let write = tab.requests.iter().find(|(_, r)| r.method == Method::Patch).unwrap();
    assert_eq!(write.1.if_match, Some(1));
    tab.requests.retain(|(_, r)| r.method == Method::Patch);
    tab.refuse(412, Some(row(1, 2, "theirs")));
    assert_eq!(tab.engine.status().needs_attention, 1, "a person decides");
}

#[test]
fn a_refused_write_is_tried_again_under_its_own_key() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": "mine"}), 1);
    tab.refuse(403, None);
    tab.settle(1, Some(777));
    let key = Uuid::from_u128(501).to_string();
    assert_eq!(tab.requests[0].1.idempotency_key, Some(key), "an earlier try may have gone through after all");
}

#[test]
fn a_choice_about_a_question_that_has_become_another_is_not_taken() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": "mine"}), 1);
    let looked_at = tab.engine.outbox()[0].idempotency_key;
    tab.refuse(412, Some(row(1, 2, "theirs")));
    tab.event(Event::ResolveConflict {
        entry: Uuid::from_u128(1),
        seen: looked_at,
        choice: Resolution::KeepMine(Uuid::from_u128(777)),
    });
    assert_eq!(tab.engine.status().needs_attention, 1, "nobody has seen 'theirs' yet");
    tab.settle(1, Some(777));
    assert_eq!(tab.engine.status().needs_attention, 0);
}

#[test]
fn a_draft_that_ended_in_another_tab_stays_ended_and_what_was_typed_since_stands() {
    let mut tab = Tab::looking();
    let field = |value: &str| Event::DraftField { entity: task(1), field: "name".into(), value: json!(value) };
    tab.event(field("mine"));
    tab.now += 1000.0;
    let ended = |at: f64| vec![crate::Draft::new(task(1), 0, at)];
    // The other tab discarded it before this one typed on.
    tab.event(Event::DraftsReloaded { drafts: ended(tab.now - 1500.0), as_of: tab.now });
    assert!(tab.engine.draft(&task(1)).is_some());
    // And after.
    tab.event(Event::DraftsReloaded { drafts: ended(tab.now - 500.0), as_of: tab.now });
    assert!(tab.engine.draft(&task(1)).is_none());
    tab.event(field("again"));
    assert!(tab.engine.draft(&task(1)).is_some());
}

#[test]
fn what_the_device_refused_is_written_again_and_no_reading_of_it_takes_it_away() {
    let mut tab = Tab::looking();
    let patch = patch(json!({"name": "mine"}));
    let refuse = |effects: Vec<Effect>, tab: &mut Tab| {
        let batch = effects.iter().find_map(|e| if let Effect::Persist(batch, _) = e { Some(*batch) } else { None });
        let full = Err(crate::StoreError::QuotaExceeded);
        batch.map(|batch| tab.engine.handle(Event::Persisted(batch, batch, full), tab.now)).unwrap_or_default()
    };
    let mut effects = tab.engine.handle(Event::Update { entity: task(1), patch, ids: ids(1) }, tab.now);
    for _ in 0..2 {
        effects = refuse(effects, &mut tab);
        let again = effects
            .iter()
            .any(|e| matches!(e, Effect::Persist(_, w) if w.iter().any(|w| w.area() == Namespace::Outbox)));
        assert!(again, "it is written again");
        assert_eq!(tab.engine.status().unpersisted_writes, 1);
        tab.engine.handle(Event::OutboxReloaded(vec![]), tab.now);
        assert_eq!(tab.engine.outbox().len(), 1, "the device has it not, and it is there all the same");
    }
    // A device that takes nothing at all: it is sent from memory, and stays there until it is answered.
    for _ in 0..3 {
        effects = refuse(effects, &mut tab);
    }
    assert_eq!(tab.engine.status().unpersisted_writes, 0);
    tab.engine.handle(Event::OutboxReloaded(vec![]), tab.now);
    assert_eq!(tab.engine.outbox().len(), 1);
    assert_eq!(tab.engine.row(&task(1)).unwrap().data["name"], "mine");
}

#[test]
fn a_conflict_is_settled_column_by_column() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": "mine", "stage": "Blocked", "points": 5, "descr": "long"}), 1);
    let mut theirs = row(1, 2, "theirs");
    theirs.extend(patch(json!({"stage": "To Do", "points": 8, "descr": null})));
    tab.refuse(412, Some(theirs));
    let entry = tab.engine.outbox()[0].clone();
    let EntryState::Conflict { fields, .. } = &entry.state else { panic!("{entry:?}") };
    assert_eq!(fields, &["name", "points", "stage"], "what merges is no question");
    // Mine for one, words of its own for another, theirs for the third, which is not named.
    let values = patch(json!({"stage": "Blocked", "name": "both"}));
    let choice = Resolution::PerField(values, Uuid::from_u128(777));
    tab.event(Event::ResolveConflict { entry: entry.id, seen: entry.idempotency_key, choice });
    let request = tab.requests[0].1.clone();
    assert_eq!(request.body, Some(json!({"name": "both", "stage": "Blocked", "descr": "long"})));
    assert_eq!((request.if_match, request.idempotency_key), (Some(2), Some(Uuid::from_u128(777).to_string())));
    tab.event(Event::DraftRedo(task(1)));
    let draft = &tab.engine.draft(&task(1)).unwrap().current_data;
    assert_eq!((&draft["name"], &draft["points"]), (&json!("mine"), &json!(5)), "what was typed is one redo away");
}

fn members() -> ListKey {
    let parent = EntityRef::new(code("program"), Uuid::from_u128(2000));
    ListKey { below: Some(ParentFilter { parent, column: None }), ..ListKey::all(code("task")) }
}

fn member_ids(tab: &Tab) -> Vec<u128> {
    tab.engine.list(&members()).ids.iter().map(|id| id.as_u128()).collect()
}

fn tie(n: u128, below: bool, id: u128) -> Event {
    let parent = members().below.unwrap().parent;
    Event::Link { parent, child: task(n), below, ids: ids(id) }
}

/// A tab that looks at three tasks, and at what a program holds by links alone: the first of them.
fn looking_at_members() -> Tab {
    let mut tab = Tab::looking();
    tab.event(Event::Observe(ObserverId(2), Query::List(members())));
    tab.answer(list(vec![row(1, 1, "one")]));
    tab
}

#[test]
fn a_link_made_offline_shows_at_once_outlives_a_crash_and_is_sent() {
    let mut tab = looking_at_members();
    tab.event(Event::Online(false));
    tab.event(tie(2, true, 1));
    tab.event(tie(1, false, 2));
    assert_eq!(member_ids(&tab), [2]);
    let mut tab = tab.reloaded();
    tab.event(Event::Observe(ObserverId(2), Query::List(members())));
    assert_eq!(member_ids(&tab), [2], "shown from the device");
    tab.hello();
    let writes: Vec<Request> =
        tab.requests.iter().map(|(_, r)| r.clone()).filter(|r| r.idempotency_key.is_some()).collect();
    assert_eq!(writes[0].body.as_ref().unwrap()["child_id"], json!(task(2).id));
    assert_eq!((writes[1].method, writes[1].body.clone()), (Method::Delete, None));
    assert!(writes[1].path.starts_with("/entity_instance_link?parent_code=program&parent_id="), "{}", writes[1].path);
    // The answer to the list is of before: what is on its way stays shown.
    let list_asked = tab.requests.iter().position(|(_, r)| r.path.starts_with("/program/")).unwrap();
    let (id, _) = tab.requests.remove(list_asked);
    tab.event(Event::ResponseReceived(id, Ok(answer(list(vec![row(1, 1, "one")])))));
    assert_eq!(member_ids(&tab), [2]);
    while let Some(at) = tab.requests.iter().position(|(_, r)| r.idempotency_key.is_some()) {
        let (id, _) = tab.requests.remove(at);
        tab.event(Event::ResponseReceived(id, Ok(answer(json!({"id": 1})))));
    }
    assert!(tab.engine.outbox().is_empty());
    assert!(tab.paths().iter().any(|path| path.starts_with("/program/")), "what the server made of it is asked");
    assert_eq!(member_ids(&tab), [2], "and until it answers nothing flickers");
}

#[test]
fn what_is_made_elsewhere_below_by_a_link_alone_comes_into_the_list() {
    let mut tab = looking_at_members();
    tab.hello();
    tab.requests.clear();
    let members_asked = |tab: &Tab| tab.paths().iter().filter(|path| path.starts_with("/program/")).count();
    tab.invalidate(&[(2, Action::Update, 2)]);
    assert_eq!(members_asked(&tab), 0, "a change ties nothing");
    tab.invalidate(&[(8, Action::Create, 1)]);
    assert_eq!(members_asked(&tab), 1);
    // Another is made while the answer is on its way: it may not be in it.
    tab.invalidate(&[(9, Action::Create, 1)]);
    assert_eq!(members_asked(&tab), 1);
    let answer_members = |tab: &mut Tab, rows: Vec<Row>| {
        let at = tab.requests.iter().position(|(_, r)| r.path.starts_with("/program/")).unwrap();
        let (id, _) = tab.requests.remove(at);
        tab.event(Event::ResponseReceived(id, Ok(answer(list(rows)))));
    };
    answer_members(&mut tab, vec![row(1, 1, "one"), row(8, 1, "eight")]);
    assert_eq!((member_ids(&tab), members_asked(&tab)), (vec![1, 8], 1));
    answer_members(&mut tab, vec![row(1, 1, "one"), row(8, 1, "eight"), row(9, 1, "nine")]);
    assert_eq!((member_ids(&tab), members_asked(&tab)), (vec![1, 8, 9], 0));
    tab.invalidate(&[(9, Action::Create, 1)]);
    assert_eq!(members_asked(&tab), 0, "what is here is not asked for");
}

#[test]
fn a_link_that_is_refused_or_given_up_is_rolled_back() {
    let mut tab = looking_at_members();
    tab.event(tie(2, true, 1));
    tab.refuse(403, None);
    assert_eq!((member_ids(&tab), tab.engine.status().needs_attention), (vec![1], 1));
    tab.requests.clear();
    tab.settle(1, None);
    assert_eq!((member_ids(&tab), tab.engine.outbox().len()), (vec![1], 0));
    tab.event(Event::Online(false));
    tab.event(tie(1, false, 2));
    assert_eq!(member_ids(&tab), [] as [u128; 0]);
    tab.event(Event::Discard(Uuid::from_u128(2)));
    assert_eq!(member_ids(&tab), [1]);
}

#[test]
fn a_link_to_what_was_made_here_waits_until_that_is_there() {
    let mut tab = looking_at_members();
    tab.event(Event::Create { entity: task(7), values: patch(json!({"name": "new"})), ids: ids(1) });
    tab.event(tie(7, true, 2));
    assert_eq!(member_ids(&tab), [1, 7]);
    assert_eq!(tab.requests.len(), 1, "the thing goes first");
    tab.answer(Value::Object(row(7, 1, "new")));
    assert!(tab.requests.iter().any(|(_, r)| r.path == "/entity_instance_link"));
}

/// Made offline: a task with a sub-task, and a name for that.
fn with_a_sub_task() -> Tab {
    let mut tab = Tab::looking();
    tab.event(Event::Online(false));
    let values = |value: Value| patch(value);
    tab.event(Event::Create { entity: task(8), values: values(json!({"name": "above"})), ids: ids(1) });
    let below = json!({"name": "below", "parent__task_id": task(8).id});
    tab.event(Event::Create { entity: task(9), values: values(below), ids: ids(2) });
    tab.event(Event::Update { entity: task(9), patch: values(json!({"name": "renamed"})), ids: ids(3) });
    tab.event(Event::Update { entity: task(1), patch: values(json!({"name": "another"})), ids: ids(4) });
    tab
}

#[test]
fn who_gives_up_a_thing_that_was_never_made_gives_up_what_hangs_on_it() {
    let mut tab = with_a_sub_task();
    tab.event(Event::DraftField { entity: task(8), field: "name".into(), value: json!("typed") });
    let create = tab.engine.outbox()[0].id;
    assert_eq!(tab.engine.with_dependents(create).len(), tab.engine.outbox().len() - 1, "all but the other task's");
    tab.event(Event::Discard(create));
    let left: Vec<_> = tab.engine.outbox().iter().map(|e| e.entity.clone()).collect();
    assert_eq!((left, tab.engine.draft_count()), (vec![task(1)], 0));
    assert_eq!((tab.engine.row(&task(8)), tab.engine.row(&task(9))), (None, None));
    assert_eq!(tab.reloaded().engine.outbox().len(), 1, "nor does it come back from the device");
}

#[test]
fn a_refused_thing_goes_with_what_hangs_on_it_and_what_hangs_on_it_waits_until_then() {
    let mut tab = with_a_sub_task();
    tab.event(Event::Online(true));
    let at = tab.requests.iter().position(|(_, r)| r.method == Method::Post).unwrap();
    tab.requests.swap(0, at);
    tab.refuse(403, None);
    assert!(!tab.requests.iter().any(|(_, r)| r.method == Method::Post), "it would be refused as well");
    let entry = tab.engine.outbox()[0].clone();
    tab.event(Event::ResolveConflict { entry: entry.id, seen: entry.idempotency_key, choice: Resolution::TakeTheirs });
    assert!(!tab.engine.outbox().iter().any(|e| e.entity != task(1)));
}

#[test]
fn what_hangs_on_a_thing_is_sent_before_the_thing_goes() {
    let mut tab = with_a_sub_task();
    tab.event(Event::Delete { entity: task(8), ids: ids(5) });
    tab.event(Event::Online(true));
    let mut sent = Vec::new();
    while let Some(at) = tab.requests.iter().position(|(_, r)| r.method != Method::Get) {
        let (id, request) = tab.requests.remove(at);
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
        let answer = Response { body: body.to_string(), ..Response::default() };
        tab.event(Event::ResponseReceived(id, Ok(answer)));
    }
    sent.retain(|method| matches!(method, Method::Post | Method::Delete));
    assert_eq!(sent, [Method::Post, Method::Post, Method::Delete]);
}

#[test]
fn what_was_refused_because_the_thing_is_gone_stays_where_it_can_be_seen() {
    let mut tab = Tab::looking();
    tab.update(1, json!({"name": "typed"}), 1);
    let at = tab.requests.iter().position(|(_, r)| r.method == Method::Patch).unwrap();
    tab.requests.swap(0, at);
    tab.refuse(404, None);
    // The server says so of the thing itself as well.
    while let Some(at) = tab.requests.iter().position(|(_, r)| r.method == Method::Get) {
        tab.requests.swap(0, at);
        tab.refuse(404, None);
    }
    let entry = tab.engine.outbox()[0].clone();
    assert!(matches!(entry.state, EntryState::Rejected { .. }));
    if tab.engine.row(&task(1)).is_none() {
        tab.event(Event::RevertToDraft(entry.id));
        assert_eq!(
            (tab.engine.outbox().len(), tab.engine.draft_count()),
            (1, 0),
            "a draft of nothing would never be found"
        );
    }
}

#[test]
fn what_else_was_typed_in_an_edit_that_names_a_thing_stays_when_the_thing_is_given_up() {
    let mut tab = with_a_sub_task();
    let both = json!({"name": "kept", "parent__task_id": task(8).id});
    tab.event(Event::Update { entity: task(2), patch: patch(both), ids: ids(6) });
    tab.event(Event::Discard(tab.engine.outbox()[0].id));
    let of_it = tab.engine.outbox().iter().find(|e| e.entity == task(2)).unwrap();
    assert_eq!(of_it.local_values(), patch(json!({"name": "kept"})));
    assert_eq!(tab.engine.row(&task(2)).unwrap().data.get("parent__task_id"), None);
    assert_eq!(tab.reloaded().engine.row(&task(2)).unwrap().data["name"], "kept");
}
