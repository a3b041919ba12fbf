//! What components call. Each hook looks at a query for as long as its component lives, and answers a signal that changes only when its
//! answer does. Rows come as what the caller asks for ([`Record`]): with their marks, as plain columns, or as a type of the caller's own. The examples
//! run in a browser with the other tests.

use crate::client::{client, new_id, new_write_ids};
use leptos::prelude::*;
use pmo_domain::api_types::from_value;
use pmo_domain::catalog::Datalabel;
use pmo_domain::protocol::PresentUser;
use pmo_domain::{Catalog, EntityCode, EntityRef, Row};
use pmo_sync::{
    Draft, Event, ListKey, ListView, ObserverId, PinnedTreeStatus, Query, ReferenceDataKey, RowView, Status,
};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use uuid::Uuid;

/// Reference data as it was answered, and what was read from it.
type ParsedReferenceData<T> = RefCell<(Option<Arc<Value>>, Arc<T>)>;

thread_local! {
    static NEXT_OBSERVER: Cell<u64> = const { Cell::new(1) };
    /// Parsed reference data, by the count of changes that it was parsed at.
    static DATALABELS: ParsedReferenceData<Vec<Datalabel>> = RefCell::default();
}

/// What a row is read as.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// #[derive(Clone, PartialEq, serde::Deserialize)]
/// struct Task {
///     name: String,
///     points: Option<u32>,
/// }
/// let id = use_entity_mutation(code()).create(json!({"name": "Sitemap", "points": 3}).as_object().cloned().unwrap());
/// let entity = || EntityRef::new(code(), id);
/// let typed = use_offline_entity::<Typed<Task>>(entity()).get().unwrap();
/// assert_eq!((typed.name.as_str(), typed.points), ("Sitemap", Some(3)));
/// assert_eq!(use_offline_entity::<Row>(entity()).get().unwrap()["points"], 3);
/// assert!(use_offline_entity::<RowView>(entity()).get().unwrap().pending, "it is on its way");
/// # }) }
/// ```
pub trait FromRow: Clone + PartialEq + Send + Sync + 'static {
    /// The row as this; none where it is of another shape.
    fn from_row(row: RowView) -> Option<Self>;
}

/// With what is known of it: whether it is on its way, stale, or needs a person.
impl FromRow for RowView {
    fn from_row(row: RowView) -> Option<Self> {
        Some(row)
    }
}

/// Its columns.
impl FromRow for Row {
    fn from_row(row: RowView) -> Option<Self> {
        Some(Arc::unwrap_or_clone(row.data))
    }
}

/// A row as a type of the caller's.
#[derive(Clone, Debug, PartialEq)]
pub struct TypedRow<T>(pub T);

impl<T> std::ops::Deref for TypedRow<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: serde::de::DeserializeOwned + Clone + PartialEq + Send + Sync + 'static> FromRow for TypedRow<T> {
    fn from_row(row: RowView) -> Option<Self> {
        T::deserialize(Value::Object(Arc::unwrap_or_clone(row.data))).ok().map(Self)
    }
}

/// Runs something as a component of the app: with an engine, though nobody is signed in. For the examples.
#[doc(hidden)]
pub fn run_in_test_app(run: impl FnOnce() + 'static) {
    crate::client::install();
    leptos::mount::mount_to_body(run);
}

/// Gives the app its engine: reference data is looked at for as long as anybody is signed in.
#[component]
pub fn CacheProvider(children: Children) -> impl IntoView {
    for key in ReferenceDataKey::ALL {
        observe(Query::Meta(key));
    }
    children()
}

/// Looks at a query until the component is gone.
fn observe(query: Query) {
    let id = NEXT_OBSERVER.with(|next| ObserverId(next.replace(next.get() + 1)));
    client().dispatch(Event::Observe(id, query));
    on_cleanup(move || client().dispatch(Event::Unobserve(id)));
}

/// A memo of what the engine says of a query, looked at again when the query changes.
fn query_memo<T: Clone + PartialEq + Send + Sync + 'static>(
    query: &Query,
    read: impl Fn() -> T + Send + Sync + 'static,
) -> Memo<T> {
    let changes = client().version_signal(query);
    Memo::new(move |_| {
        changes.track();
        read()
    })
}

/// One thing; none where it is unknown or gone. Looks at it, so that it is fetched and kept current.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// let project = use_entity::<Row>(plan);
/// view! { <h1>{move || project.get().map(|p| p["name"].to_string())}</h1> };
/// assert_eq!(project.get(), None, "nobody has told it yet");
/// # }) }
/// ```
pub fn use_entity<R: FromRow>(entity: EntityRef) -> Memo<Option<R>> {
    observe(Query::Row(entity.clone()));
    use_offline_entity(entity)
}

/// One thing as the device knows it, without asking for it.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// let id = use_entity_mutation(code()).create(one("name", json!("Sitemap")));
/// let task = use_offline_entity::<RowView>(EntityRef::new(code(), id));
/// assert_eq!(task.get().unwrap().data["name"], "Sitemap");
/// # }) }
/// ```
pub fn use_offline_entity<R: FromRow>(entity: EntityRef) -> Memo<Option<R>> {
    query_memo(&Query::Row(entity.clone()), move || client().read(|e| e.row(&entity)).and_then(R::from_row))
}

/// How a thing is kept on the device with all that hangs below it; none where it is not.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// let kept = use_kept(plan.clone());
/// view! { <button on:click=move |_| keep_offline(plan.clone(), kept.get_untracked().is_none())>"Keep offline"</button> };
/// assert_eq!(kept.get(), None);
/// # }) }
/// ```
pub fn use_pinned(entity: EntityRef) -> Memo<Option<PinnedTreeStatus>> {
    query_memo(&Query::Row(entity.clone()), move || client().read(|e| e.kept_tree(&entity)))
}

/// Keeps a thing on the device with all that hangs below it, or no longer.
pub fn set_pinned(entity: EntityRef, on: bool) {
    client().dispatch(Event::SetPinned(entity, on));
}

/// Who else looks at a thing; looks at it for as long as the page is there.
pub fn use_presence(entity: EntityRef) -> Memo<Vec<PresentUser>> {
    client().dispatch(Event::SetViewing(entity.clone(), true));
    let left = entity.clone();
    on_cleanup(move || client().dispatch(Event::SetViewing(left, false)));
    query_memo(&Query::Row(entity.clone()), move || client().read(|e| e.present_users(&entity)))
}

/// Whether a thing is certainly not there for this person.
pub fn use_not_found(entity: EntityRef) -> Memo<bool> {
    query_memo(&Query::Row(entity.clone()), move || client().read(|e| e.row_missing(&entity)))
}

/// A list: the ids of its rows, in order. It changes when they do, and not when a row among them does.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// let tasks = use_entity_list(ListKey::below(code(), plan, "project_id").sorted("due_date", false));
/// view! { <p>{move || tasks.get().ids.len()}</p> };
/// assert!(!tasks.get().loaded, "neither the server nor the device has told it");
/// # }) }
/// ```
pub fn use_entity_list(key: ListKey) -> Memo<ListView> {
    use_entity_list_when(Memo::new(move |_| Some(key.clone())))
}

/// The same where the list may become another. Without a key none is looked at, and it is empty.
pub fn use_entity_list_when(key: Memo<Option<ListKey>>) -> Memo<ListView> {
    let id = NEXT_OBSERVER.with(|next| ObserverId(next.replace(next.get() + 1)));
    let look = move |key: Option<ListKey>| match key {
        Some(key) => client().dispatch(Event::Observe(id, Query::List(key))),
        None => client().dispatch(Event::Unobserve(id)),
    };
    look(key.get_untracked());
    Effect::new(move |first: Option<()>| {
        let key = key.get();
        if first.is_some() {
            look(key);
        }
    });
    on_cleanup(move || look(None));
    Memo::new(move |_| {
        let Some(key) = key.get() else { return ListView::default() };
        client().version_signal(&Query::List(key.clone())).track();
        client().read(|e| e.list(&key))
    })
}

/// Fetches something for somebody who will look at it soon: it is there when they do.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// view! { <a href="/project" on:pointerenter=move |_| prefetch(Query::Row(plan.clone()))>"The plan"</a> };
/// # }) }
/// ```
pub fn prefetch(query: Query) {
    client().dispatch(Event::Prefetch(query));
}

/// The next page of a list that is fetched page by page.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// let key = ListKey { paged: true, ..ListKey::all(code()) };
/// let tasks = use_entity_list(key.clone());
/// view! { <button disabled=move || !tasks.get().more on:click=move |_| fetch_more(key.clone())>"More"</button> };
/// # }) }
/// ```
pub fn fetch_more(key: ListKey) {
    client().dispatch(Event::FetchMore(key));
}

/// Believes nothing any more that is held of what `which` picks; of that, what somebody looks at is asked for again.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// invalidate(|query| matches!(query, Query::List(key) if key.search.is_some()));
/// # }) }
/// ```
pub fn invalidate(which: impl Fn(&Query) -> bool) {
    let queries = client().read(|e| e.queries().filter(which).collect());
    client().dispatch(Event::Invalidate(queries));
}

/// The same for one thing and the lists of its type, or without an id for everything of a type.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// invalidate_entity_queries(&plan.code, Some(plan.id));
/// invalidate_entity_queries(&code(), None);
/// # }) }
/// ```
pub fn invalidate_entity_queries(code: &EntityCode, id: Option<Uuid>) {
    invalidate(|query| match query {
        Query::Row(entity) => entity.code == *code && id.is_none_or(|id| entity.id == id),
        _ => query.is_of(code),
    });
}

/// A short list with all its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct ListRows<R> {
    /// The rows, in order.
    pub rows: Vec<R>,
    /// Known, from the server or from the device.
    pub loaded: bool,
    /// The last try failed.
    pub failed: bool,
}

/// All rows of a short list, decoded: it changes with each of them.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// let tasks = use_rows::<Row>(ListKey::below(code(), plan, "project_id"));
/// let names = move || tasks.get().rows.iter().map(|task| task["name"].to_string()).collect::<Vec<_>>();
/// assert_eq!(names(), [] as [String; 0]);
/// # }) }
/// ```
pub fn use_rows<R: FromRow>(key: ListKey) -> Memo<ListRows<R>> {
    let query = Query::List(key.clone());
    observe(query.clone());
    query_memo(&query, move || {
        client().read(|e| {
            let list = e.list(&key);
            let rows = e.rows(&key).into_iter().filter_map(R::from_row).collect();
            ListRows { rows, loaded: list.loaded, failed: list.failed }
        })
    })
}

/// Writes to things of one type: shown at once, sent when they are on disk.
#[derive(Clone, Debug)]
pub struct EntityMutation {
    code: EntityCode,
}

/// Writes to things of a type: shown at once, whatever the network does.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// let tasks = use_entity_mutation(code());
/// let id = tasks.create(one("name", json!("Sitemap")));
/// tasks.update(id, one("dl__task_stage", json!("Blocked")));
/// let task = use_offline_entity::<Row>(EntityRef::new(code(), id));
/// assert_eq!(task.get().unwrap()["dl__task_stage"], "Blocked");
/// tasks.delete(id);
/// assert_eq!(task.get(), None);
/// # }) }
/// ```
pub fn use_entity_mutation(code: EntityCode) -> EntityMutation {
    EntityMutation { code }
}

impl EntityMutation {
    /// Makes a thing and answers its id, which is minted here.
    pub fn create(&self, values: Row) -> Uuid {
        let id = new_id();
        client().dispatch(Event::Create {
            entity: EntityRef::new(self.code.clone(), id),
            values,
            ids: new_write_ids(),
        });
        id
    }

    /// Changes columns.
    pub fn update(&self, id: Uuid, patch: Row) {
        client().dispatch(Event::Update { entity: EntityRef::new(self.code.clone(), id), patch, ids: new_write_ids() });
    }

    /// Hangs a thing below another, where no column of it says so.
    pub fn link(&self, id: Uuid, parent: EntityRef) {
        self.set_link(id, parent, true);
    }

    /// Takes it from there.
    pub fn unlink(&self, id: Uuid, parent: EntityRef) {
        self.set_link(id, parent, false);
    }

    fn set_link(&self, id: Uuid, parent: EntityRef, below: bool) {
        let child = EntityRef::new(self.code.clone(), id);
        client().dispatch(Event::Link { parent, child, below, ids: new_write_ids() });
    }

    /// Deletes a thing.
    pub fn delete(&self, id: Uuid) {
        client().dispatch(Event::Delete { entity: EntityRef::new(self.code.clone(), id), ids: new_write_ids() });
    }
}

/// The draft of a thing: begun by the first [`DraftHandle::set`], kept on the device with every step.
#[derive(Clone, Copy)]
pub struct DraftHandle {
    entity: StoredValue<EntityRef>,
    /// The draft; none where nothing is drafted.
    pub draft: Memo<Option<Draft>>,
}

/// The draft of a thing.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// let draft = use_draft(plan);
/// draft.set("name", json!("Relaunch"));
/// draft.set("descr", json!("of the website"));
/// draft.undo();
/// assert_eq!(draft.draft.get().unwrap().current_data, one("name", json!("Relaunch")));
/// draft.redo();
/// draft.discard();
/// assert!(draft.draft.get().is_none());
/// # }) }
/// ```
pub fn use_draft(entity: EntityRef) -> DraftHandle {
    let changes = client().draft_version_signal(&entity);
    let stored = StoredValue::new(entity);
    let draft = Memo::new(move |_| {
        changes.track();
        client().read(|e| stored.with_value(|entity| e.draft(entity).cloned()))
    });
    DraftHandle { entity: stored, draft }
}

impl DraftHandle {
    /// Sets a field.
    pub fn set(&self, field: &str, value: Value) {
        client().dispatch(Event::DraftField { entity: self.entity.get_value(), field: field.to_owned(), value });
    }

    /// Takes the last step back.
    pub fn undo(&self) {
        client().dispatch(Event::DraftUndo(self.entity.get_value()));
    }

    /// Makes it again.
    pub fn redo(&self) {
        client().dispatch(Event::DraftRedo(self.entity.get_value()));
    }

    /// Gives it up.
    pub fn discard(&self) {
        client().dispatch(Event::DraftDiscard(self.entity.get_value()));
    }

    /// Sends it.
    pub fn commit(&self) {
        client().dispatch(Event::DraftCommit { entity: self.entity.get_value(), ids: new_write_ids() });
    }
}

fn meta(key: ReferenceDataKey) -> Option<Arc<Value>> {
    client().read(|e| e.meta(key))
}

/// All option sets, for code that is not a component.
pub fn datalabels() -> Arc<Vec<Datalabel>> {
    let present = meta(ReferenceDataKey::Datalabels);
    DATALABELS.with_borrow_mut(|(known, parsed)| {
        if known.as_ref().map(Arc::as_ptr) != present.as_ref().map(Arc::as_ptr) {
            let sets: Vec<Datalabel> = present.as_ref().and_then(|v| from_value(v)).unwrap_or_default();
            *parsed = Arc::new(sets);
            *known = present;
        }
        parsed.clone()
    })
}

/// Whether nothing comes after an option.
pub fn is_terminal(set: &str, option: &str) -> bool {
    let all = datalabels();
    let found = all.iter().find(|s| s.name == set).and_then(|s| s.options.iter().find(|o| o.name == option));
    found.is_some_and(|option| option.terminal_flag)
}

/// The colour of an option, by name. (Read from the answer as it came: the first page draws options, and needs nothing else of them.)
pub fn option_color(set: &str, option: &str) -> Option<String> {
    let all = meta(ReferenceDataKey::Datalabels)?;
    let set = all.as_array()?.iter().find(|one| one["name"] == *set)?;
    let option = set["options"].as_array()?.iter().find(|one| one["name"] == *option)?;
    Some(option["color_code"].as_str()?.to_owned())
}

/// An option set, for code that is not a component: none before the sets are known, or where there is none of that name.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// assert!(datalabel_sync("task_stage").is_none(), "nobody is signed in");
/// # }) }
/// ```
pub fn datalabel_untracked(name: &str) -> Option<Datalabel> {
    datalabels().iter().find(|set| set.name == name).cloned()
}

/// An option set.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// let stages = use_datalabel("task_stage");
/// view! { <select>{move || stages.get().map(|set| set.options.into_iter().map(|o| view! { <option>{o.name}</option> }).collect_view())}</select> };
/// assert!(stages.get().is_none());
/// # }) }
/// ```
pub fn use_datalabel(name: &'static str) -> Memo<Option<Datalabel>> {
    query_memo(&Query::Meta(ReferenceDataKey::Datalabels), move || datalabel_untracked(name))
}

/// The catalogue, for code that is not a component.
pub fn catalogue() -> Arc<Catalog> {
    client().read(pmo_sync::Engine::catalogue)
}

/// All entity types.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// let types = use_entity_codes();
/// assert!(types.get().get("task").is_none(), "none is known before somebody has signed in");
/// # }) }
/// ```
pub fn use_entity_codes() -> Memo<Arc<Catalog>> {
    query_memo(&Query::Meta(ReferenceDataKey::Codes), catalogue)
}

/// Settings that hold for everybody.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// let settings = use_global_settings();
/// assert!(settings.get().is_none());
/// # }) }
/// ```
pub fn use_global_settings() -> Memo<Option<Arc<Value>>> {
    query_memo(&Query::Meta(ReferenceDataKey::Settings), || meta(ReferenceDataKey::Settings))
}

/// The sync mark.
///
/// ```
/// # use leptos::prelude::*; use pmo_domain::{EntityCode, EntityRef, Row}; use pmo_sync::*; use pmo_web::hooks::*; use serde_json::json;
/// # #[wasm_bindgen_test::wasm_bindgen_test] fn example() { as_in_the_app(|| {
/// # let code = || EntityCode::new("task").unwrap(); let plan = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
/// let status = use_status();
/// use_entity_mutation(code()).create(one("name", json!("Sitemap")));
/// assert_eq!(status.get().waiting, 1);
/// # }) }
/// ```
pub fn use_status() -> Memo<Status> {
    let changes = client().status.clone();
    Memo::new(move |_| {
        changes.track();
        client().read(pmo_sync::Engine::status)
    })
}

/// A row with one column.
pub fn row_with(column: &str, value: Value) -> Row {
    let mut row = Row::new();
    row.insert(column.to_owned(), value);
    row
}
