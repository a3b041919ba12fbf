//! Derived columns: shown everywhere on the device, and never sent, stored or merged.

use super::*;
use crate::tab_protocol::ObservedQuery;
use pmo_domain::query::{Filter, Operator};
use proptest::prelude::*;

impl Tab {
    fn derive(&mut self, n: u128, columns: Option<Value>) {
        let rows = vec![(Uuid::from_u128(n), columns.map(patch))];
        self.event(Event::SetDerived { code: code("task"), rows });
    }
}

/// Returns a row with a version, a name and a date.
fn dated(n: u128, version: i64, date: &str) -> Row {
    let mut row = row(n, version, "task");
    row.insert("start_date".into(), json!(date));
    row
}

/// Returns a tab that observes a list of tasks, of which the server knows the given dates.
fn observing(dates: &[(u128, &str)]) -> Tab {
    let mut tab = Tab::new();
    tab.hello();
    tab.event(Event::Observe(ObserverId(1), Query::List(tasks())));
    tab.respond(list(dates.iter().map(|(n, date)| dated(*n, 1, date)).collect()));
    tab.changed.clear();
    tab
}

fn shown(tab: &Tab, n: u128) -> Value {
    tab.engine.row(&task(n)).unwrap().data["start_date"].clone()
}

#[test]
fn derived_columns_are_shown_in_rows_sorted_and_filtered_lists_names_and_search() {
    let mut tab = observing(&[(1, "2026-03-01"), (2, "2026-03-02")]);
    let sorted = tasks().sorted("start_date", SortDirection::Ascending);
    let late = Filter { column: "start_date".into(), operator: Operator::Gte, values: vec!["2026-03-05".into()] };
    let late = tasks().filtered(late);
    tab.event(Event::Observe(ObserverId(2), Query::List(sorted.clone())));
    tab.event(Event::Observe(ObserverId(3), Query::List(late.clone())));
    tab.changed.clear();
    tab.derive(1, Some(json!({"start_date": "2026-03-09", "name": "computed"})));
    assert_eq!(shown(&tab, 1), "2026-03-09");
    assert!(!tab.engine.row(&task(1)).unwrap().pending, "nothing is pending");
    assert_eq!(*tab.engine.list(&sorted).ids, [task(2).id, task(1).id]);
    assert_eq!(*tab.engine.list(&late).ids, [task(1).id]);
    assert_eq!(tab.engine.name("task", task(1).id).as_deref(), Some("computed"));
    assert_eq!(tab.engine.find("computed", 5).len(), 1);
    for key in [tasks(), sorted, late] {
        assert!(tab.changed.contains(&Query::List(key.clone())), "{key:?}");
    }
    let source = tab.engine.source_rows(&tasks()).unwrap();
    assert!(source.iter().all(|row| !row.text().contains("2026-03-09")));
    assert_eq!(tab.engine.source_row(&task(1)).unwrap()["start_date"], "2026-03-01");
}

#[test]
fn derived_columns_end_when_the_server_returns_the_same_values() {
    let mut tab = observing(&[(1, "2026-03-01")]);
    tab.derive(1, Some(json!({"start_date": "2026-03-09", "total_slack_minutes": 480, "finish_ts": null})));
    tab.invalidate(&[(1, Action::Update, 2)]);
    let mut row = dated(1, 2, "2026-03-08");
    row.insert("total_slack_minutes".into(), json!(480.0));
    tab.respond(list(vec![row]));
    assert_eq!(shown(&tab, 1), "2026-03-09", "the server has another date");
    assert!(tab.engine.has_derived(&task(1)));
    tab.invalidate(&[(1, Action::Update, 3)]);
    tab.respond(list(vec![dated(1, 3, "2026-03-09")]));
    assert!(!tab.engine.has_derived(&task(1)));
    tab.invalidate(&[(1, Action::Update, 4)]);
    tab.respond(list(vec![dated(1, 4, "2026-03-10")]));
    assert_eq!(shown(&tab, 1), "2026-03-10", "nothing stale is left");
}

#[test]
fn derived_columns_end_with_their_row_and_on_sign_out() {
    let mut tab = observing(&[(1, "2026-03-01"), (2, "2026-03-02"), (3, "2026-03-03")]);
    for n in 1..=4 {
        tab.derive(n, Some(json!({"start_date": "2026-03-09"})));
    }
    assert!(tab.engine.row(&task(4)).is_none(), "an unknown row has no derived columns");
    tab.derive(1, None);
    assert_eq!(shown(&tab, 1), "2026-03-01");
    tab.invalidate(&[(2, Action::Revoke, 0)]);
    assert!(!tab.engine.has_derived(&task(2)));
    assert!(tab.engine.row(&task(2)).is_none());
    assert_eq!(shown(&tab, 3), "2026-03-09");
    tab.event(Event::SignedOut);
    assert!(!tab.engine.has_derived(&task(3)));
}

#[test]
fn typed_value_is_based_on_the_value_of_the_server_not_on_the_derived_one() {
    let mut tab = observing(&[(1, "2026-03-01")]);
    tab.derive(1, Some(json!({"start_date": "2026-03-09"})));
    tab.event(Event::Online(false));
    tab.update(1, json!({"start_date": "2026-03-12"}), 1);
    let Operation::Update { patch, base, .. } = &tab.engine.outbox()[0].operation else { panic!("not an update") };
    assert_eq!((&patch["start_date"], &base["start_date"]), (&json!("2026-03-12"), &json!("2026-03-01")));
    assert_eq!(shown(&tab, 1), "2026-03-09", "what is computed is shown over what is typed");
}

#[test]
fn typing_the_hidden_value_of_the_server_into_a_draft_is_a_change() {
    let mut tab = observing(&[(1, "2026-03-01")]);
    tab.derive(1, Some(json!({"start_date": "2026-03-09"})));
    let (entity, field) = (task(1), "start_date".to_owned());
    tab.event(Event::DraftField { entity, field, value: json!("2026-03-01") });
    let draft = tab.engine.draft(&task(1)).unwrap();
    assert_eq!(draft.current_data["start_date"], "2026-03-01");
    assert_eq!(draft.original_data["start_date"], Value::Null, "the derived value is not stored");
}

#[test]
fn revision_changes_with_the_source_row_only() {
    let mut tab = observing(&[(1, "2026-03-01")]);
    let revision = |tab: &Tab| tab.engine.source_rows(&tasks()).unwrap()[0].revision();
    let first = revision(&tab);
    tab.derive(1, Some(json!({"start_date": "2026-03-09"})));
    assert_eq!(revision(&tab), first);
    tab.update(1, json!({"name": "mine"}), 1);
    let pending = revision(&tab);
    assert_ne!(pending, first);
    assert!(tab.engine.source_rows(&tasks()).unwrap()[0].text().contains("mine"));
    tab.respond(Value::Object(dated(1, 2, "2026-03-01")));
    assert_ne!(revision(&tab), pending);
}

#[test]
fn incomplete_list_has_no_source_rows() {
    let mut tab = Tab::new();
    tab.hello();
    assert!(tab.engine.source_rows(&tasks()).is_none(), "not cached");
    let paged = ListKey { paged: true, ..tasks() };
    tab.event(Event::Observe(ObserverId(1), Query::List(paged.clone())));
    let page = ListResponse { data: vec![row(1, 1, "one")], next_cursor: Some("c".into()), ..ListResponse::default() };
    tab.respond(serde_json::to_value(page).unwrap());
    assert!(tab.engine.source_rows(&paged).is_none(), "more rows can be fetched");
}

/// Step of a session with derived columns.
#[derive(Clone, Debug)]
enum Step {
    Derive(u128),
    End(u128),
    Edit(u128),
    Draft(u128),
    Commit(u128),
    Confirm,
    Conflict(u128),
    Changed(u128),
    LongTime,
    Follower,
    StorageLow,
    Pin,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = || 1..4u128;
    let step = prop_oneof![
        n().prop_map(Step::Derive),
        n().prop_map(Step::End),
        n().prop_map(Step::Edit),
        n().prop_map(Step::Draft),
        n().prop_map(Step::Commit),
        Just(Step::Confirm),
        n().prop_map(Step::Conflict),
        n().prop_map(Step::Changed),
        Just(Step::LongTime),
        Just(Step::Follower),
        Just(Step::StorageLow),
        Just(Step::Pin),
    ];
    proptest::collection::vec(step, 1..40)
}

/// Value of the derived columns; no row of the server and no input contains it.
const COMPUTED: &str = "2031-07-07";

/// Runs a step with its effects.
fn run(tab: &mut Tab, step: Step, number: u128) {
    let (version, id) = (i64::try_from(number).unwrap() + 2, 10 * (number + 1));
    match step {
        Step::Derive(n) => tab.derive(n, Some(json!({"start_date": COMPUTED, "name": COMPUTED}))),
        Step::End(n) => tab.derive(n, None),
        Step::Edit(n) => tab.update(n, json!({"start_date": "2026-04-01", "name": format!("edit {number}")}), id),
        Step::Draft(n) => {
            tab.event(Event::DraftField { entity: task(n), field: "name".into(), value: json!("draft") });
        }
        Step::Commit(n) => tab.event(Event::DraftCommit { entity: task(n), ids: ids(id) }),
        Step::Confirm if !tab.requests.is_empty() => {
            let body = match tab.requests[0].1.method {
                Method::Get => list((1..4).map(|n| dated(n, version, "2026-03-02")).collect()),
                _ => Value::Object(dated(1, version, "2026-03-02")),
            };
            tab.respond(body);
        }
        Step::Conflict(n) if tab.requests.first().is_some_and(|(_, request)| request.method == Method::Patch) => {
            tab.reject(412, Some(dated(n, version, "2026-03-03")));
        }
        Step::Changed(n) => tab.invalidate(&[(n, Action::Update, version)]),
        Step::LongTime => {
            tab.now = tab.now + Duration::from_secs(20);
            tab.event(Event::Tick);
        }
        Step::Follower => {
            let observed = [Query::List(tasks()), Query::Row(task(1))];
            let queries = observed.map(|query| ObservedQuery { query, digest: 1 }).to_vec();
            let tab_id = TabId(Uuid::from_u128(2));
            tab.event(Event::TabMessageReceived(TabMessage::FollowerQueries {
                tab: tab_id,
                queries,
                viewing: String::new(),
            }));
        }
        Step::StorageLow => tab.event(Event::StorageLow),
        Step::Pin => tab.event(Event::Pin(project(1))),
        Step::Confirm | Step::Conflict(_) => {}
    }
}

proptest! {
    #[test]
    fn nothing_derived_leaves_the_engine(steps in steps()) {
        let mut tab = observing(&[(1, "2026-03-01"), (2, "2026-03-02"), (3, "2026-03-03")]);
        let late = Filter { column: "start_date".into(), operator: Operator::Gte, values: vec!["2030-01-01".into()] };
        tab.event(Event::Observe(ObserverId(2), Query::List(tasks().filtered(late))));
        for (number, step) in steps.into_iter().enumerate() {
            run(&mut tab, step, number as u128);
        }
        let left = format!("{:?} {:?} {:?}", tab.requests, tab.broadcasts, tab.sent);
        prop_assert!(!left.contains(COMPUTED), "{left}");
        prop_assert!(!tab.stored_text().contains(COMPUTED));
        let inputs = format!("{:?} {:?}", tab.engine.outbox(), tab.engine.drafts().collect::<Vec<_>>());
        prop_assert!(!inputs.contains(COMPUTED), "{inputs}");
    }
}
