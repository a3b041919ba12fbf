//! The device: what is packed, what is damaged, what is let go, what is shown in which order.

use super::*;
use pmo_domain::query::{Filter, Operator};

/// A device that holds a list of `count` rows.
fn kept(count: u128) -> Tab {
    let mut tab = Tab::new();
    tab.hello();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    tab.answer(list((1..=count).map(|n| row(n, 1, &format!("row {n:05}"))).collect()));
    tab
}

fn chunks(tab: &Tab) -> usize {
    tab.store.area(Namespace::Entities).keys().filter(|name| name.starts_with(store::CHUNK_PREFIX)).count()
}

#[test]
fn many_rows_are_packed_and_few_are_laid_beside() {
    let mut tab = kept(1201);
    assert_eq!((chunks(&tab), tab.store.area(Namespace::Entities).len()), (3, 3));
    tab.invalidate(&[(7, Action::Update, 2)]);
    tab.answer(list(vec![row(7, 2, "changed")]));
    assert_eq!((chunks(&tab), tab.store.area(Namespace::Entities).len()), (3, 4));
    let mut tab = tab.reloaded();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert_eq!(tab.names().len(), 1201);
    assert_eq!(tab.names()[6], "changed");
    // What is told again as it was is not written again.
    let before = tab.writes.len();
    let mut rows: Vec<Row> = (1..=1201).map(|n| row(n, 1, &format!("row {n:05}"))).collect();
    rows[6] = row(7, 2, "changed");
    tab.answer(list(rows));
    let rows_written = tab.writes[before..].iter().filter(|w| w.area() == Namespace::Entities).count();
    assert_eq!(rows_written, 0);
}

#[test]
fn a_damaged_chunk_costs_its_own_rows_which_are_asked_for_again() {
    let tab = kept(1201);
    let (name, mut bytes) = tab.store.area(Namespace::Entities).into_iter().nth(1).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    tab.store.write_now(&[Write::Put(Namespace::Entities, name.clone(), bytes)]);
    let mut tab = tab.reloaded();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert_eq!(tab.names().len(), 701);
    assert!(!tab.store.area(Namespace::Entities).contains_key(&name), "what is damaged is thrown away");
    assert_eq!(tab.paths(), [tasks().page_path(1000, None)]);
    tab.answer(list((1..=1201).map(|n| row(n, 1, &format!("row {n:05}"))).collect()));
    assert_eq!(tab.names().len(), 1201);
    assert_eq!(tab.reloaded().engine.list(&tasks()).ids.len(), 1201);
}

#[test]
fn a_cache_of_another_format_is_dropped_and_work_is_kept() {
    let mut tab = kept(40);
    tab.event(Event::Online(false));
    tab.update(1, json!({"name": "mine"}), 1);
    tab.store.write_now(&[Write::Put(Namespace::Metadata, "format".into(), b"2".to_vec())]);
    let tab = tab.reloaded();
    assert_eq!(chunks(&tab), 0);
    assert_eq!((tab.engine.outbox().len(), tab.engine.list(&tasks()).loaded), (1, false));
}

#[test]
fn what_is_revoked_before_it_was_read_from_the_device_leaves_it() {
    let mut tab = kept(600).reloaded();
    assert!(tab.kept().contains("row 00577"));
    tab.hello();
    // Nobody has looked: the chunks have not been read.
    tab.invalidate(&[(577, Action::Revoke, 0)]);
    tab.event(Event::Tick);
    assert!(!tab.kept().contains("row 00577") && tab.kept().contains("row 00578"));
    let gone = Uuid::from_u128(577).to_string();
    assert!(!tab.store.area(Namespace::Entities).keys().any(|name| name.contains(&gone)), "nor is a mark left");
}

#[test]
fn live_changes_are_folded_in_when_there_are_many() {
    let mut tab = kept(1000);
    for n in 1..=450u128 {
        tab.invalidate(&[(n, Action::Update, 2)]);
        tab.answer(list(vec![row(n, 2, &format!("new {n:05}"))]));
    }
    assert!(tab.store.area(Namespace::Entities).len() > 400);
    tab.event(Event::Tick);
    assert_eq!(tab.store.area(Namespace::Entities).len(), chunks(&tab));
    let mut tab = tab.reloaded();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert_eq!((tab.names()[449].as_str(), tab.names()[450].as_str()), ("new 00450", "row 00451"));
}

#[test]
fn what_nobody_has_looked_at_for_long_leaves_memory_and_comes_back_from_the_device() {
    let mut tab = kept(600);
    tab.event(Event::Unobserve(ObserverId(1)));
    tab.now += 40.0 * 60_000.0;
    tab.event(Event::Tick);
    assert_eq!(tab.engine.row(&task(1)), None);
    assert!(!tab.engine.list(&tasks()).loaded);
    tab.event(Event::Online(false));
    tab.event(Event::Observe(ObserverId(2), Query::List(tasks())));
    assert_eq!(tab.names().len(), 600);
}

#[test]
fn a_device_that_has_not_reached_the_server_for_its_lease_shows_nothing_until_it_has() {
    let mut tab = kept(3);
    let now = tab.now + 15.0 * 24.0 * 3_600_000.0;
    let store = tab.store.clone();
    tab = Tab::at(store, now);
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert!(tab.names().is_empty() && tab.engine.status().locked);
    tab.answer(list(vec![row(1, 1, "one")]));
    assert_eq!(tab.names(), ["one"]);
    assert!(!tab.engine.status().locked);
}

#[test]
fn a_part_of_a_list_follows_from_the_whole_without_a_request_and_an_edit_moves_a_row_in_it() {
    let mut tab = kept(50);
    tab.requests.clear();
    let late = ListKey { ..tasks() }
        .filtered(Filter { column: "name".into(), operator: Operator::Gte, values: vec!["row 00049".into()] })
        .sorted("name", true);
    tab.event(Event::Observe(ObserverId(2), Query::List(late.clone())));
    assert!(tab.requests.is_empty());
    let names = |tab: &Tab| -> Vec<String> {
        tab.engine.rows(&late).iter().map(|r| r.data["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&tab), ["row 00050", "row 00049"]);
    tab.changed.clear();
    tab.update(7, json!({"name": "row 99"}), 1);
    assert_eq!(names(&tab), ["row 99", "row 00050", "row 00049"]);
    assert!(tab.changed.contains(&Query::List(late.clone())));
    // Until the catalogue says otherwise a budget is a text; then it is a number.
    tab.update(50, json!({"name": "other"}), 2);
    assert_eq!(names(&tab), ["row 99", "row 00049"]);
}

#[test]
fn the_whole_in_another_order_is_fetched_once() {
    let mut tab = Tab::new();
    tab.hello();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks().sorted("name", false))));
    tab.event(Event::Observe(ObserverId(2), Query::List(tasks().sorted("name", true))));
    assert_eq!(tab.paths(), [tasks().page_path(1000, None)]);
    assert!(tab.engine.list(&tasks().sorted("name", true)).fetching);
    tab.answer(list(vec![row(1, 1, "b"), row(2, 1, "a")]));
    let first = |key: ListKey| tab.engine.rows(&key)[0].data["name"].clone();
    assert_eq!((first(tasks().sorted("name", false)), first(tasks().sorted("name", true))), (json!("a"), json!("b")));
}

#[test]
fn a_list_is_fetched_page_by_page_where_it_is_so_asked_for() {
    let mut tab = Tab::new();
    tab.hello();
    let key = ListKey { paged: true, ..tasks().sorted("name", false) };
    tab.event(Event::Observe(ObserverId(1), Query::List(key.clone())));
    let page = |rows: Vec<Row>, next: Option<&str>| {
        let answer = ListResponse { data: rows, next_cursor: next.map(str::to_owned), ..ListResponse::default() };
        serde_json::to_value(answer).unwrap()
    };
    tab.answer(page(vec![row(1, 1, "a"), row(2, 1, "b")], Some("next")));
    assert!(tab.requests.is_empty() && tab.engine.list(&key).more);
    tab.event(Event::FetchMore(key.clone()));
    assert!(tab.paths()[0].contains("cursor=next"));
    tab.answer(page(vec![row(3, 1, "c")], None));
    assert_eq!((tab.engine.list(&key).ids.len(), tab.engine.list(&key).more), (3, false));
}

#[test]
fn a_second_reload_without_a_network_shows_what_the_first_showed() {
    let mut tab = kept(60);
    for edited in 1..4u128 {
        tab = tab.reloaded();
        tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
        tab.event(Event::Observe(ObserverId(2), Query::Row(project(1))));
        assert_eq!(tab.names().len(), 60, "reload {edited}");
        while !tab.requests.is_empty() {
            tab.fail(RequestError::Network);
        }
        tab.update(7, json!({"name": format!("edited {edited}")}), edited);
        assert_eq!(tab.names()[6], format!("edited {edited}"));
        tab.now += 5000.0;
        tab.event(Event::Tick);
        while !tab.requests.is_empty() {
            tab.fail(RequestError::Network);
        }
    }
}

#[test]
fn where_little_room_is_left_what_nobody_looks_at_goes_and_the_work_stays() {
    let mut tab = kept(1201);
    tab.event(Event::Online(false));
    tab.update(1, json!({"name": "mine"}), 1);
    tab.event(Event::DraftField { entity: task(2), field: "name".into(), value: json!("typed") });
    tab.event(Event::StorageLow);
    assert_eq!(chunks(&tab), 3, "somebody looks at it");
    tab.event(Event::Unobserve(ObserverId(1)));
    tab.event(Event::StorageLow);
    assert_eq!((chunks(&tab), tab.store.area(Namespace::Lists).len()), (1, 0), "what was written on stays too");
    assert_eq!((tab.store.area(Namespace::Outbox).len(), tab.store.area(Namespace::Drafts).len()), (1, 1));
    let mut tab = tab.reloaded();
    tab.event(Event::Observe(ObserverId(1), Query::Row(task(1))));
    assert_eq!(tab.engine.row(&task(1)).unwrap().data["name"], "mine");
    assert!(tab.engine.draft(&task(2)).is_some());
}

#[test]
fn a_list_that_is_the_same_is_not_sent_again_and_one_that_has_gone_on_by_itself_is() {
    let mut tab = Tab::new();
    tab.hello();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    let tagged =
        |body: String| Response { not_modified: body.is_empty(), body, etag: Some("\"a\"".into()), feed_cursor: None };
    let (id, _) = tab.requests.remove(0);
    tab.event(Event::ResponseReceived(id, Ok(tagged(list(vec![row(1, 1, "one"), row(2, 1, "two")]).to_string()))));
    tab.event(Event::Refetch(Query::List(tasks())));
    assert_eq!(tab.requests[0].1.if_none_match.as_deref(), Some("\"a\""));
    let (id, _) = tab.requests.remove(0);
    tab.event(Event::ResponseReceived(id, Ok(tagged(String::new()))));
    assert_eq!(tab.names(), ["one", "two"]);
    tab.invalidate(&[(2, Action::Update, 2)]);
    tab.answer(list(vec![row(2, 2, "changed")]));
    tab.event(Event::Refetch(Query::List(tasks())));
    assert_eq!(tab.requests[0].1.if_none_match, None, "it is not what the tag says any more");
}

#[test]
fn what_was_made_here_is_sent_before_what_refers_to_it_and_nothing_waits_for_what_it_has_no_part_in() {
    let mut tab = Tab::looking();
    tab.event(Event::Online(false));
    let made = |n: u128, values: Value| Event::Create { entity: task(n), values: patch(values), ids: ids(n) };
    tab.event(made(100, json!({"name": "above"})));
    tab.event(made(101, json!({"name": "below", "parent__task_id": task(100).id})));
    tab.update(1, json!({"who": [task(101).id]}), 200);
    tab.update(2, json!({"name": "alone"}), 300);
    // A comment is a thing like any other.
    let comment = EntityRef::new(EntityCode::new("message").unwrap(), Uuid::from_u128(500));
    let about = patch(json!({"about_code": "task", "about_uuid": task(101).id, "descr": "first"}));
    tab.event(Event::Create { entity: comment, values: about, ids: ids(400) });
    tab.event(Event::Delete { entity: task(3), ids: ids(600) });
    let mut tab = tab.reloaded();
    tab.hello();
    let sent = |tab: &Tab| -> Vec<String> {
        tab.requests
            .iter()
            .filter(|(_, r)| r.idempotency_key.is_some())
            .map(|(_, r)| format!("{:?} {}", r.method, r.path))
            .collect()
    };
    let two = format!("Patch /task/{}", task(2).id);
    let three = format!("Delete /task/{}", task(3).id);
    assert_eq!(sent(&tab), ["Post /task".to_owned(), two, three], "what is alone does not wait");
    let body =
        |tab: &Tab| tab.requests.iter().find(|(_, r)| r.method == crate::Method::Post).unwrap().1.body.clone().unwrap();
    assert_eq!(body(&tab)["name"], "above");
    let at = tab.requests.iter().position(|(_, r)| r.method == crate::Method::Post).unwrap();
    let (id, _) = tab.requests.remove(at);
    let answer = Response { body: Value::Object(row(100, 1, "above")).to_string(), ..Response::default() };
    tab.event(Event::ResponseReceived(id, Ok(answer)));
    assert_eq!(body(&tab)["name"], "below", "now the one below it");
    assert!(!sent(&tab).iter().any(|s| s.contains("message")), "the comment waits for what it is about");
}

#[test]
fn what_the_device_holds_is_found_though_nobody_has_looked_at_it() {
    let mut tab = kept(1201).reloaded();
    assert_eq!(tab.engine.find("row 0", 10), [], "nothing has been read yet");
    tab.event(Event::LoadAll);
    let names = |tab: &Tab, words: &str| tab.engine.find(words, 2).into_iter().map(|f| f.name).collect::<Vec<_>>();
    assert_eq!(names(&tab, "ROW 011"), ["row 01100", "row 01101"]);
    assert_eq!(names(&tab, "0777"), ["row 00777"]);
    assert_eq!(names(&tab, " "), [] as [String; 0]);
    assert!(tab.requests.is_empty() && !tab.engine.is_reading(), "the network is not asked");
}
