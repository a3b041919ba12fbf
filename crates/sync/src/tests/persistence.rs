//! Cache on the device: packing, damage, eviction, derived lists and local search.

use super::*;
use pmo_domain::query::{Filter, Operator};

/// Returns a tab that observes a list of `count` rows and has persisted it.
fn with_rows(count: u128) -> Tab {
    let mut tab = Tab::new();
    tab.hello();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    tab.respond(list((1..=count).map(|n| row(n, 1, &format!("row {n:05}"))).collect()));
    tab
}

fn chunks(tab: &Tab) -> usize {
    tab.store.contents(Namespace::Entities).keys().filter(|key| key.starts_with(store::CHUNK_PREFIX)).count()
}

#[test]
fn many_rows_are_packed_and_few_go_to_the_delta_log() {
    let mut tab = with_rows(1201);
    assert_eq!((chunks(&tab), tab.store.contents(Namespace::Entities).len()), (3, 3));
    tab.invalidate(&[(7, Action::Update, 2)]);
    tab.respond(list(vec![row(7, 2, "changed")]));
    assert_eq!((chunks(&tab), tab.store.contents(Namespace::Entities).len()), (3, 4));
    let mut tab = tab.reloaded();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert_eq!(tab.names().len(), 1201);
    assert_eq!(tab.names()[6], "changed");
    // Rows that the server returns unchanged are not written again.
    let before = tab.writes.len();
    let mut rows: Vec<Row> = (1..=1201).map(|n| row(n, 1, &format!("row {n:05}"))).collect();
    rows[6] = row(7, 2, "changed");
    tab.respond(list(rows));
    let rows_written = tab.writes[before..].iter().filter(|w| w.namespace() == Namespace::Entities).count();
    assert_eq!(rows_written, 0);
}

#[test]
fn damaged_chunk_loses_only_its_rows_which_are_refetched() {
    let tab = with_rows(1201);
    let (key, mut bytes) = tab.store.contents(Namespace::Entities).into_iter().nth(1).unwrap();
    let index = bytes.len() / 2;
    bytes[index] ^= 1;
    tab.store.write_now(&[Write::Put(Namespace::Entities, key.clone(), bytes)]);
    let mut tab = tab.reloaded();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert_eq!(tab.names().len(), 701);
    assert!(!tab.store.contents(Namespace::Entities).contains_key(&key), "the damaged chunk is removed");
    assert_eq!(tab.paths(), [tasks().page_path(1000, None)]);
    tab.respond(list((1..=1201).map(|n| row(n, 1, &format!("row {n:05}"))).collect()));
    assert_eq!(tab.names().len(), 1201);
    assert_eq!(tab.reloaded().engine.list(&tasks()).ids.len(), 1201);
}

#[test]
fn cache_of_another_format_is_dropped_and_user_data_is_kept() {
    let mut tab = with_rows(40);
    tab.event(Event::Online(false));
    tab.update(1, json!({"name": "mine"}), 1);
    tab.store.write_now(&[Write::Put(Namespace::Metadata, "format".into(), b"2".to_vec())]);
    let tab = tab.reloaded();
    assert_eq!(chunks(&tab), 0);
    assert_eq!((tab.engine.outbox().len(), tab.engine.list(&tasks()).loaded), (1, false));
}

#[test]
fn row_revoked_before_its_chunk_was_read_is_removed_from_the_device() {
    let mut tab = with_rows(600).reloaded();
    assert!(tab.stored_text().contains("row 00577"));
    tab.hello();
    // Without an observer the chunks have not been read.
    tab.invalidate(&[(577, Action::Revoke, 0)]);
    tab.event(Event::Tick);
    assert!(!tab.stored_text().contains("row 00577") && tab.stored_text().contains("row 00578"));
    let revoked = Uuid::from_u128(577).to_string();
    assert!(!tab.store.contents(Namespace::Entities).keys().any(|key| key.contains(&revoked)), "no tombstone is left");
}

#[test]
fn delta_log_is_compacted_above_the_threshold() {
    let mut tab = with_rows(1000);
    for n in 1..=450u128 {
        tab.invalidate(&[(n, Action::Update, 2)]);
        tab.respond(list(vec![row(n, 2, &format!("new {n:05}"))]));
    }
    assert!(tab.store.contents(Namespace::Entities).len() > 400);
    tab.event(Event::Tick);
    assert_eq!(tab.store.contents(Namespace::Entities).len(), chunks(&tab));
    let mut tab = tab.reloaded();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert_eq!((tab.names()[449].as_str(), tab.names()[450].as_str()), ("new 00450", "row 00451"));
}

#[test]
fn unobserved_data_is_collected_and_reloaded_from_the_device() {
    let mut tab = with_rows(600);
    tab.event(Event::Unobserve(ObserverId(1)));
    tab.now = tab.now + Duration::from_secs(40 * 60);
    tab.event(Event::Tick);
    assert_eq!(tab.engine.row(&task(1)), None);
    assert!(!tab.engine.list(&tasks()).loaded);
    tab.event(Event::Online(false));
    tab.event(Event::Observe(ObserverId(2), Query::List(tasks())));
    assert_eq!(tab.names().len(), 600);
}

#[test]
fn expired_offline_lease_hides_data_until_the_next_response() {
    let mut tab = with_rows(3);
    let now = tab.now + Duration::from_secs(15 * 24 * 3600);
    let store = tab.store.clone();
    tab = Tab::with_store_at(store, now);
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    assert!(tab.names().is_empty() && tab.engine.status().locked);
    tab.respond(list(vec![row(1, 1, "one")]));
    assert_eq!(tab.names(), ["one"]);
    assert!(!tab.engine.status().locked);
}

#[test]
fn filtered_list_is_derived_without_a_request_and_follows_edits() {
    let mut tab = with_rows(50);
    tab.requests.clear();
    let late = ListKey { ..tasks() }
        .filtered(Filter { column: "name".into(), operator: Operator::Gte, values: vec!["row 00049".into()] })
        .sorted("name", SortDirection::Descending);
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
    // A row that no longer matches the filter leaves the list.
    tab.update(50, json!({"name": "other"}), 2);
    assert_eq!(names(&tab), ["row 99", "row 00049"]);
}

#[test]
fn sorted_lists_share_one_request_for_their_base_list() {
    let mut tab = Tab::new();
    tab.hello();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks().sorted("name", SortDirection::Ascending))));
    tab.event(Event::Observe(ObserverId(2), Query::List(tasks().sorted("name", SortDirection::Descending))));
    assert_eq!(tab.paths(), [tasks().page_path(1000, None)]);
    assert!(tab.engine.list(&tasks().sorted("name", SortDirection::Descending)).fetching);
    tab.respond(list(vec![row(1, 1, "b"), row(2, 1, "a")]));
    let first = |key: ListKey| tab.engine.rows(&key)[0].data["name"].clone();
    assert_eq!(
        (
            first(tasks().sorted("name", SortDirection::Ascending)),
            first(tasks().sorted("name", SortDirection::Descending))
        ),
        (json!("a"), json!("b"))
    );
}

#[test]
fn paged_list_fetches_the_next_page_on_request() {
    let mut tab = Tab::new();
    tab.hello();
    let key = ListKey { paged: true, ..tasks().sorted("name", SortDirection::Ascending) };
    tab.event(Event::Observe(ObserverId(1), Query::List(key.clone())));
    let page = |rows: Vec<Row>, next: Option<&str>| {
        let response = ListResponse { data: rows, next_cursor: next.map(str::to_owned), ..ListResponse::default() };
        serde_json::to_value(response).unwrap()
    };
    tab.respond(page(vec![row(1, 1, "a"), row(2, 1, "b")], Some("next")));
    assert!(tab.requests.is_empty() && tab.engine.list(&key).more);
    tab.event(Event::FetchMore(key.clone()));
    assert!(tab.paths()[0].contains("cursor=next"));
    tab.respond(page(vec![row(3, 1, "c")], None));
    assert_eq!((tab.engine.list(&key).ids.len(), tab.engine.list(&key).more), (3, false));
}

#[test]
fn repeated_offline_reloads_show_the_same_data() {
    let mut tab = with_rows(60);
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
        tab.now = tab.now + Duration::from_millis(5000);
        tab.event(Event::Tick);
        while !tab.requests.is_empty() {
            tab.fail(RequestError::Network);
        }
    }
}

#[test]
fn low_storage_evicts_unobserved_data_and_keeps_user_data() {
    let mut tab = with_rows(1201);
    tab.event(Event::Online(false));
    tab.update(1, json!({"name": "mine"}), 1);
    tab.event(Event::DraftField { entity: task(2), field: "name".into(), value: json!("typed") });
    tab.event(Event::StorageLow);
    assert_eq!(chunks(&tab), 3, "observed data is not evicted");
    tab.event(Event::Unobserve(ObserverId(1)));
    tab.event(Event::StorageLow);
    assert_eq!(
        (chunks(&tab), tab.store.contents(Namespace::Lists).len()),
        (1, 0),
        "the chunk of rows with local writes stays"
    );
    assert_eq!((tab.store.contents(Namespace::Outbox).len(), tab.store.contents(Namespace::Drafts).len()), (1, 1));
    let mut tab = tab.reloaded();
    tab.event(Event::Observe(ObserverId(1), Query::Row(task(1))));
    assert_eq!(tab.engine.row(&task(1)).unwrap().data["name"], "mine");
    assert!(tab.engine.draft(&task(2)).is_some());
}

#[test]
fn etag_is_sent_only_while_the_list_is_unchanged_locally() {
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
    tab.respond(list(vec![row(2, 2, "changed")]));
    tab.event(Event::Refetch(Query::List(tasks())));
    assert_eq!(tab.requests[0].1.if_none_match, None, "the list differs from the one of the ETag");
}

#[test]
fn creates_are_sent_before_dependent_writes_and_independent_writes_do_not_wait() {
    let mut tab = Tab::observing_tasks();
    tab.event(Event::Online(false));
    let create = |n: u128, values: Value| Event::Create { entity: task(n), values: patch(values), ids: ids(n) };
    tab.event(create(100, json!({"name": "parent"})));
    tab.event(create(101, json!({"name": "child", "parent__task_id": task(100).id})));
    tab.update(1, json!({"who": [task(101).id]}), 200);
    tab.update(2, json!({"name": "alone"}), 300);
    // A comment is an entity like any other.
    let comment = EntityRef::new(EntityCode::new("message").unwrap(), Uuid::from_u128(500));
    let about = patch(json!({"target_code": "task", "target_id": task(101).id, "descr": "first"}));
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
    assert_eq!(sent(&tab), ["Post /task".to_owned(), two, three], "independent writes do not wait");
    let body =
        |tab: &Tab| tab.requests.iter().find(|(_, r)| r.method == crate::Method::Post).unwrap().1.body.clone().unwrap();
    assert_eq!(body(&tab)["name"], "parent");
    let index = tab.requests.iter().position(|(_, r)| r.method == crate::Method::Post).unwrap();
    let (id, _) = tab.requests.remove(index);
    let response = Response { body: Value::Object(row(100, 1, "parent")).to_string(), ..Response::default() };
    tab.event(Event::ResponseReceived(id, Ok(response)));
    assert_eq!(body(&tab)["name"], "child", "the child is sent after its parent");
    assert!(!sent(&tab).iter().any(|s| s.contains("message")), "the comment waits for its task");
}

#[test]
fn local_search_finds_rows_that_were_never_observed() {
    let mut tab = with_rows(1201).reloaded();
    assert_eq!(tab.engine.find("row 0", 10), [], "no chunk has been read yet");
    tab.event(Event::LoadAll);
    let names = |tab: &Tab, text: &str| tab.engine.find(text, 2).into_iter().map(|f| f.name).collect::<Vec<_>>();
    assert_eq!(names(&tab, "ROW 011"), ["row 01100", "row 01101"]);
    assert_eq!(names(&tab, "0777"), ["row 00777"]);
    assert_eq!(names(&tab, " "), [] as [String; 0]);
    assert!(tab.requests.is_empty() && !tab.engine.is_reading(), "local search sends no requests");
}
