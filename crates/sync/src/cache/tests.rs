//! Incrementally maintained lists, compared with lists that are computed from scratch.

use super::*;
use crate::query_key::SortDirection::{Ascending, Descending};
use crate::query_key::SortKey;
use pmo_domain::query::{Filter, Operator};
use pmo_domain::{Catalog, EntityType};
use proptest::prelude::*;
use serde_json::json;
use std::collections::HashMap;

fn catalog() -> Catalog {
    let columns = [("id", "uuid"), ("name", "text"), ("budget_amt", "numeric"), ("project_id", "uuid")];
    Catalog { types: [(code(), EntityType::from_columns(code(), &columns, &["task", "project"]))].into() }
}

fn code() -> EntityCode {
    EntityCode::new("task").unwrap()
}

fn project(n: u8) -> EntityRef {
    EntityRef::new(EntityCode::new("project").unwrap(), Uuid::from_u128(u128::from(n)))
}

fn filter(column: &str, operator: Operator, value: &str) -> Filter {
    Filter { column: column.into(), operator, values: vec![value.into()] }
}

fn keys() -> Vec<ListKey> {
    let children = ListKey::children_of(code(), project(1), "project_id");
    vec![
        ListKey::all(code()),
        ListKey::all(code()).sorted("name", Ascending),
        ListKey::all(code()).sorted("budget_amt", Descending),
        ListKey::all(code()).filtered(filter("name", Operator::Contains, "B")),
        ListKey::all(code()).filtered(filter("budget_amt", Operator::Gte, "9.5")).sorted("name", Descending),
        children.clone(),
        children.filtered(filter("name", Operator::Ne, "a")).sorted("budget_amt", Ascending),
    ]
}

fn later_keys() -> Vec<ListKey> {
    let children = ListKey::children_of(code(), project(1), "project_id");
    vec![
        ListKey::all(code()).filtered(filter("budget_amt", Operator::Lte, "6")).sorted("name", Ascending),
        ListKey::all(code()).filtered(filter("name", Operator::Ne, "b")).sorted("name", Descending),
        ListKey::all(code()).sorted("budget_amt", Ascending),
        children.sorted("budget_amt", Descending),
    ]
}

/// Change of one row: its number, and its new name, budget and project, or `None` to delete it.
type Change = (u8, Option<(Option<String>, Option<i32>, u8)>);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let row = (proptest::option::of("[abAB]{1,2}"), proptest::option::of(-2..12i32), 1..3u8);
    proptest::collection::vec((0..8u8, proptest::option::weighted(0.8, row)), 1..60)
}

fn expected(key: &ListKey, rows: &HashMap<u8, Row>) -> Vec<Uuid> {
    let catalog = catalog();
    let kind = |name: &str| catalog.get("task").unwrap().column(name).unwrap().kind.clone();
    let key_of =
        |row: &Row, name: &str| ComparableValue::from_value(&kind(name), row.get(name).unwrap_or(&Value::Null));
    let mut found: Vec<&Row> = rows
        .values()
        .filter(|row| key.parent_filter.as_ref().is_none_or(|filter| row["project_id"] == json!(filter.parent.id)))
        .filter(|row| key.filters.iter().all(|f| Predicate::new(f, &kind(&f.column)).matches(&key_of(row, &f.column))))
        .collect();
    found.sort_by(|a, b| {
        for SortKey { column, direction } in &key.sort {
            let ordering = key_of(a, column).compare(&key_of(b, column));
            if ordering.is_ne() {
                return if *direction == Descending { ordering.reverse() } else { ordering };
            }
        }
        a["id"].as_str().cmp(&b["id"].as_str())
    });
    found.into_iter().map(|row| row["id"].as_str().unwrap().parse().unwrap()).collect()
}

proptest! {
    #[test]
    fn lists_match_the_expected_rows_after_every_change(changes in changes(), start in 0..60usize) {
        let (mut cache, mut rows) = (Cache::default(), HashMap::new());
        let catalog = catalog();
        for (step, (n, values)) in changes.into_iter().enumerate() {
            let entity = EntityRef::new(code(), Uuid::from_u128(100 + u128::from(n)));
            let slot = cache.slot_or_insert(&entity);
            let row = values.map(|(name, budget, project)| {
                let value = json!({"id": entity.id, "version": step, "name": name, "budget_amt": budget.map(|b| format!("{b}.50")),
                    "project_id": Uuid::from_u128(u128::from(project))});
                value.as_object().cloned().unwrap()
            });
            cache.row_mut(slot).unwrap().set_base(row.as_ref().map(RawRow::from_row));
            match row {
                Some(row) => drop(rows.insert(n, row)),
                None => drop(rows.remove(&n)),
            }
            cache.reindex_row(slot);
            cache.release(slot);
            if step == start.min(5) {
                // Rows exist already: base lists come from the server, the others are derived.
                for key in keys() {
                    let index = cache.list_or_insert(&key, &catalog);
                    match key.base_list().and_then(|base| cache.find_list(&base)) {
                        Some(base) => cache.derive(index, base),
                        None => {
                            let slots = expected(&key, &rows).into_iter().filter_map(|id| cache.slot_of(&EntityRef::new(code(), id))).collect();
                            let list = cache.list_mut(index).unwrap();
                            (list.loaded, list.complete) = (true, true);
                            cache.set_rows(index, slots);
                        }
                    }
                }
            }
            if step >= start.min(5) {
                for key in keys() {
                    let list = cache.get_list(&key).unwrap();
                    prop_assert_eq!(&*cache.ids(list), &expected(&key, &rows), "{:?}", key);
                }
                // Lists derived later use the cached order of their column.
                for key in later_keys() {
                    let index = cache.list_or_insert(&key, &catalog);
                    cache.derive(index, cache.find_list(&key.base_list().unwrap()).unwrap());
                    prop_assert_eq!(&*cache.ids(cache.list(index).unwrap()), &expected(&key, &rows), "{:?}", key);
                    cache.drop_list(index);
                }
            }
        }
        // Invariant: each row refers to exactly the lists that contain it.
        for (slot, row) in cache.rows() {
            let containing: Vec<ListIndex> = cache.lists().filter(|(_, l)| l.slots().contains(&slot)).map(|(i, _)| i).collect();
            let mut recorded = row.lists.clone();
            recorded.sort_unstable();
            prop_assert_eq!(recorded, containing);
        }
    }
}

#[test]
fn paged_list_accepts_no_rows_after_its_last_fetched_row() {
    let mut cache = Cache::default();
    let key = ListKey { paged: true, ..ListKey::all(code()).sorted("name", Ascending) };
    let index = cache.list_or_insert(&key, &catalog());
    let add = |cache: &mut Cache, n: u128, name: &str| {
        let slot = cache.slot_or_insert(&EntityRef::new(code(), Uuid::from_u128(n)));
        let row = json!({"id": Uuid::from_u128(n), "name": name});
        cache.row_mut(slot).unwrap().set_base(row.as_object().map(RawRow::from_row));
        cache.reindex_row(slot);
        slot
    };
    let first = [add(&mut cache, 1, "b"), add(&mut cache, 2, "d")];
    cache.list_mut(index).unwrap().loaded = true;
    cache.set_rows(index, first.to_vec());
    let between = add(&mut cache, 3, "c");
    let beyond = add(&mut cache, 4, "e");
    assert_eq!(cache.list(index).unwrap().slots(), [first[0], between, first[1]]);
    assert!(cache.row(beyond).unwrap().lists.is_empty());
}

/// Change of the source row, or of the derived columns, of a row.
#[derive(Clone, Debug)]
enum Edit {
    Source(Change),
    Derived(u8, Option<(Option<String>, Option<i32>)>),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let row = (proptest::option::of("[abAB]{1,2}"), proptest::option::of(-2..12i32), 1..3u8);
    let source = (0..8u8, proptest::option::weighted(0.8, row)).prop_map(Edit::Source);
    let columns = (proptest::option::of("[abAB]{1,2}"), proptest::option::of(-2..12i32));
    let derived = (0..8u8, proptest::option::weighted(0.7, columns)).prop_map(|(n, columns)| Edit::Derived(n, columns));
    proptest::collection::vec(prop_oneof![source, derived], 1..60)
}

fn columns(name: Option<String>, budget: Option<i32>) -> Row {
    json!({"name": name, "budget_amt": budget.map(|b| format!("{b}.50"))}).as_object().cloned().unwrap()
}

/// Source rows and derived columns of the expected state, by number of the row.
#[derive(Default)]
struct Expected {
    source: HashMap<u8, Row>,
    derived: HashMap<u8, Row>,
}

impl Expected {
    fn apply(&mut self, edit: Edit, id: Uuid) {
        match edit {
            Edit::Source((n, Some((name, budget, project)))) => {
                let mut row = columns(name, budget);
                row.insert("id".into(), json!(id));
                row.insert("project_id".into(), json!(Uuid::from_u128(u128::from(project))));
                self.source.insert(n, row);
            }
            Edit::Source((n, None)) => {
                self.source.remove(&n);
                self.derived.remove(&n);
            }
            Edit::Derived(n, Some((name, budget))) if self.source.contains_key(&n) => {
                self.derived.insert(n, columns(name, budget));
            }
            Edit::Derived(n, _) => drop(self.derived.remove(&n)),
        }
        let Self { source, derived } = self;
        for (n, columns) in derived {
            columns.retain(|column, value| *value != source[n][column]);
        }
    }

    fn visible(&self) -> HashMap<u8, Row> {
        let mut rows = self.source.clone();
        for (n, columns) in &self.derived {
            rows.get_mut(n).unwrap().extend(columns.clone());
        }
        rows
    }
}

proptest! {
    #[test]
    fn lists_with_derived_columns_equal_a_fresh_sort(edits in edits()) {
        let (mut cache, mut state) = (Cache::default(), Expected::default());
        let catalog = catalog();
        for key in keys() {
            let index = cache.list_or_insert(&key, &catalog);
            let list = cache.list_mut(index).unwrap();
            (list.loaded, list.complete) = (true, true);
        }
        for edit in edits {
            let (Edit::Source((n, _)) | Edit::Derived(n, _)) = edit;
            let entity = EntityRef::new(code(), Uuid::from_u128(100 + u128::from(n)));
            let slot = cache.slot_or_insert(&entity);
            state.apply(edit.clone(), entity.id);
            match edit {
                Edit::Source(_) => {
                    let row = cache.row_mut(slot).unwrap();
                    row.set_base(state.source.get(&n).map(RawRow::from_row));
                    row.recompute_visible(std::iter::empty());
                }
                Edit::Derived(_, columns_or_none) => {
                    cache.set_derived(slot, columns_or_none.map(|(name, budget)| columns(name, budget)));
                }
            }
            cache.reindex_row(slot);
            cache.release(slot);
            let visible = state.visible();
            for (n, row) in &visible {
                let entity = EntityRef::new(code(), Uuid::from_u128(100 + u128::from(*n)));
                let cached = cache.get(&entity).unwrap();
                prop_assert_eq!(&*cached.visible_row().unwrap(), row);
                prop_assert_eq!(&*cached.source_row().unwrap(), &state.source[n]);
                prop_assert_eq!(cached.has_derived(), state.derived.get(n).is_some_and(|columns| !columns.is_empty()));
            }
            for key in keys() {
                let list = cache.get_list(&key).unwrap();
                prop_assert_eq!(&*cache.ids(list), &expected(&key, &visible), "{:?}", key);
                let (mut source, mut source_expected) = (cache.source_ids(list), expected(&key, &state.source));
                source.sort_unstable();
                source_expected.sort_unstable();
                prop_assert_eq!(source, source_expected, "rows without derived columns of {:?}", key);
            }
        }
    }
}
