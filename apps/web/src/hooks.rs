//! Reactive hooks: the data API of components.
//!
//! A hook observes its query until the calling component is unmounted, and returns a memo that
//! changes only if the result changes. Rows are converted to the type that the caller names
//! ([`FromRow`]): with sync state ([`RowView`]), as plain columns ([`Row`]), or deserialized
//! ([`TypedRow`]). The examples run in a browser together with the other tests.

mod patch_expander; // what typed values imply
mod permissions; // permission as far as the device knows it

pub(crate) use patch_expander::set_patch_expander;
use patch_expander::{expand_draft, expand_patch};
pub use permissions::known_permission;

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

/// Reference data as JSON, and the value parsed from it.
type ParsedReferenceData<T> = RefCell<(Option<Arc<Value>>, Arc<T>)>;

thread_local! {
    static NEXT_OBSERVER: Cell<u64> = const { Cell::new(1) };
    /// Parsed option sets, valid while the engine holds the same JSON allocation.
    static DATALABELS: ParsedReferenceData<Vec<Datalabel>> = RefCell::default();
}

/// Conversion of a row into the type that a hook returns.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// #[derive(Clone, PartialEq, serde::Deserialize)]
/// struct Task {
///     name: String,
///     points: Option<u32>,
/// }
/// let values = json!({"name": "Sitemap", "points": 3}).as_object().cloned().unwrap();
/// let id = use_entity_mutation(task_code()).create(values);
/// let entity = || EntityRef::new(task_code(), id);
/// let typed = use_offline_entity::<TypedRow<Task>>(entity()).get().unwrap();
/// assert_eq!((typed.name.as_str(), typed.points), ("Sitemap", Some(3)));
/// assert_eq!(use_offline_entity::<Row>(entity()).get().unwrap()["points"], 3);
/// assert!(use_offline_entity::<RowView>(entity()).get().unwrap().pending, "not sent yet");
/// # }
/// ```
pub trait FromRow: Clone + PartialEq + Send + Sync + 'static {
    /// Converts the row; returns `None` if its columns do not fit the type.
    fn from_row(row: RowView) -> Option<Self>;
}

/// The row with its sync state: pending, stale, or needing attention.
impl FromRow for RowView {
    fn from_row(row: RowView) -> Option<Self> {
        Some(row)
    }
}

/// The columns of the row.
impl FromRow for Row {
    fn from_row(row: RowView) -> Option<Self> {
        Some(Arc::unwrap_or_clone(row.data))
    }
}

/// A row deserialized into a type of the caller.
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

/// Defines an example of this module as a browser test that runs as a component of the app.
///
/// The two parameters become a closure that returns the entity code `task`, and a reference to a
/// project with a new id.
#[doc(hidden)]
#[macro_export]
macro_rules! hook_example {
    (|$task_code:ident, $project_ref:ident| $($body:tt)*) => {
        use $crate::hooks::*;
        use leptos::prelude::*;
        use pmo_domain::{EntityCode, EntityRef, Row};
        use pmo_sync::*;
        use serde_json::json;
        #[wasm_bindgen_test::wasm_bindgen_test]
        fn example() {
            run_in_test_app(|| {
                let $task_code = || EntityCode::new("task").unwrap();
                let $project_ref = EntityRef::new(EntityCode::new("project").unwrap(), uuid::Uuid::now_v7());
                $($body)*
            })
        }
    };
}

/// Installs a client without a signed-in user and runs `run` as a component of the app.
#[doc(hidden)]
pub fn run_in_test_app(run: impl FnOnce() + 'static) {
    crate::client::install();
    leptos::mount::mount_to_body(run);
}

/// Observes all reference data for as long as the component is mounted.
#[component]
pub fn CacheProvider(children: Children) -> impl IntoView {
    for key in ReferenceDataKey::ALL {
        observe(Query::Meta(key));
    }
    children()
}

/// Observes a query until the component is unmounted.
pub(crate) fn observe(query: Query) {
    let id = NEXT_OBSERVER.with(|next| ObserverId(next.replace(next.get() + 1)));
    client().dispatch(Event::Observe(id, query));
    on_cleanup(move || client().dispatch(Event::Unobserve(id)));
}

/// Returns a memo of `read` that is recomputed after each change of the query.
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

/// Returns an entity; `None` if it is unknown or deleted.
///
/// Observes the entity, so it is fetched and updated while the component is mounted.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// let project = use_entity::<Row>(project_ref);
/// view! { <h1>{move || project.get().map(|row| row["name"].to_string())}</h1> };
/// assert_eq!(project.get(), None, "not fetched yet");
/// # }
/// ```
pub fn use_entity<R: FromRow>(entity: EntityRef) -> Memo<Option<R>> {
    observe(Query::Row(entity.clone()));
    use_offline_entity(entity)
}

/// Returns an entity as cached on this device, without fetching it.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// let id = use_entity_mutation(task_code()).create(row_with("name", json!("Sitemap")));
/// let task = use_offline_entity::<RowView>(EntityRef::new(task_code(), id));
/// assert_eq!(task.get().unwrap().data["name"], "Sitemap");
/// # }
/// ```
pub fn use_offline_entity<R: FromRow>(entity: EntityRef) -> Memo<Option<R>> {
    query_memo(&Query::Row(entity.clone()), move || client().read(|e| e.row(&entity)).and_then(R::from_row))
}

/// Returns the offline state of an entity's tree; `None` if the tree is not pinned.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// let pinned = use_pinned(project_ref.clone());
/// let toggle = move |_| set_pinned(project_ref.clone(), pinned.get_untracked().is_none());
/// view! { <button on:click=toggle>"Make available offline"</button> };
/// assert_eq!(pinned.get(), None);
/// # }
/// ```
pub fn use_pinned(entity: EntityRef) -> Memo<Option<PinnedTreeStatus>> {
    query_memo(&Query::Row(entity.clone()), move || client().read(|e| e.pinned_tree_status(&entity)))
}

/// Pins or unpins an entity and all its descendants for offline use on this device.
pub fn set_pinned(entity: EntityRef, pinned: bool) {
    client().dispatch(if pinned { Event::Pin(entity) } else { Event::Unpin(entity) });
}

/// Returns the other users who are viewing an entity.
///
/// Reports the current user as a viewer until the component is unmounted.
pub fn use_presence(entity: EntityRef) -> Memo<Vec<PresentUser>> {
    client().dispatch(Event::PageOpened(entity.clone()));
    let viewed = entity.clone();
    on_cleanup(move || client().dispatch(Event::PageClosed(viewed)));
    query_memo(&Query::Row(entity.clone()), move || client().read(|e| e.present_users(&entity)))
}

/// Returns whether an entity does not exist or is not visible to the user.
///
/// False while the entity is being fetched or read from the device. Also true if it is not cached
/// and the server is unreachable.
pub fn use_not_found(entity: EntityRef) -> Memo<bool> {
    query_memo(&Query::Row(entity.clone()), move || client().read(|e| e.row_missing(&entity)))
}

/// Returns a list as the ids of its rows, in order.
///
/// The memo changes if the ids or the loading state change, not if the columns of a row change.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// let key = ListKey::children_of(task_code(), project_ref, "project_id");
/// let tasks = use_entity_list(key.sorted("due_date", SortDirection::Ascending));
/// view! { <p>{move || tasks.get().ids.len()}</p> };
/// assert!(!tasks.get().loaded, "neither fetched nor cached");
/// # }
/// ```
pub fn use_entity_list(key: ListKey) -> Memo<ListView> {
    use_entity_list_when(Memo::new(move |_| Some(key.clone())))
}

/// Returns a list like [`use_entity_list`], for a key that changes.
///
/// Without a key no list is observed, and the result is empty.
pub fn use_entity_list_when(key: Memo<Option<ListKey>>) -> Memo<ListView> {
    let id = NEXT_OBSERVER.with(|next| ObserverId(next.replace(next.get() + 1)));
    let set_observed = move |key: Option<ListKey>| match key {
        Some(key) => client().dispatch(Event::Observe(id, Query::List(key))),
        None => client().dispatch(Event::Unobserve(id)),
    };
    set_observed(key.get_untracked());
    Effect::new(move |first: Option<()>| {
        let key = key.get();
        if first.is_some() {
            set_observed(key);
        }
    });
    on_cleanup(move || set_observed(None));
    Memo::new(move |_| {
        let Some(key) = key.get() else { return ListView::default() };
        client().version_signal(&Query::List(key.clone())).track();
        client().read(|e| e.list(&key))
    })
}

/// Fetches a query before a component observes it.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// let fetch = move |_| prefetch(Query::Row(project_ref.clone()));
/// view! { <a href="/project" on:pointerenter=fetch>"Project"</a> };
/// # }
/// ```
pub fn prefetch(query: Query) {
    client().dispatch(Event::Prefetch(query));
}

/// Fetches the next page of a paged list.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// let key = ListKey { paged: true, ..ListKey::all(task_code()) };
/// let tasks = use_entity_list(key.clone());
/// let load = move |_| fetch_more(key.clone());
/// view! { <button disabled=move || !tasks.get().more on:click=load>"Load more"</button> };
/// # }
/// ```
pub fn fetch_more(key: ListKey) {
    client().dispatch(Event::FetchMore(key));
}

/// Marks cached data of the queries that match `filter` as stale.
///
/// Queries with an observer are fetched again.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// invalidate(|query| matches!(query, Query::List(key) if key.search.is_some()));
/// # }
/// ```
pub fn invalidate(filter: impl Fn(&Query) -> bool) {
    client().invalidate(filter);
}

/// Marks one entity and all lists of its type as stale.
///
/// Without `id`, marks all entities and all lists of the type.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// invalidate_entity_queries(&project_ref.code, Some(project_ref.id));
/// invalidate_entity_queries(&task_code(), None);
/// # }
/// ```
pub fn invalidate_entity_queries(code: &EntityCode, id: Option<Uuid>) {
    invalidate(|query| match query {
        Query::Row(entity) => entity.code == *code && id.is_none_or(|id| entity.id == id),
        _ => query.is_of_type(code),
    });
}

/// A short list with all its rows, as [`use_rows`] returns it.
#[derive(Clone, Debug, PartialEq)]
pub struct ListRows<R> {
    /// The rows, in order.
    pub rows: Vec<R>,
    /// Whether the list is known, from the server or from this device.
    pub loaded: bool,
    /// Whether the last request for the list failed.
    pub failed: bool,
}

/// Returns all rows of a short list, decoded; changes with every row.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// let tasks = use_rows::<Row>(ListKey::children_of(task_code(), project_ref, "project_id"));
/// let names = move || {
///     tasks.get().rows.iter().map(|task| task["name"].to_string()).collect::<Vec<_>>()
/// };
/// assert_eq!(names(), [] as [String; 0]);
/// # }
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

/// Writes to entities of one type, as [`use_entity_mutation`] returns them.
#[derive(Clone, Debug)]
pub struct EntityMutation {
    code: EntityCode,
}

/// Returns the write operations for entities of one type.
///
/// A write is visible immediately, also offline. It is sent after it has been persisted.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// let tasks = use_entity_mutation(task_code());
/// let id = tasks.create(row_with("name", json!("Sitemap")));
/// tasks.update(id, row_with("dl__task_stage", json!("Blocked")));
/// let task = use_offline_entity::<Row>(EntityRef::new(task_code(), id));
/// assert_eq!(task.get().unwrap()["dl__task_stage"], "Blocked");
/// tasks.delete(id);
/// assert_eq!(task.get(), None);
/// # }
/// ```
pub fn use_entity_mutation(code: EntityCode) -> EntityMutation {
    EntityMutation { code }
}

impl EntityMutation {
    /// Creates an entity and returns its id, a UUID v7 generated on this device.
    pub fn create(&self, values: Row) -> Uuid {
        let id = new_id();
        let entity = EntityRef::new(self.code.clone(), id);
        let values = expand_patch(&entity, values.clone()).unwrap_or(values);
        client().dispatch(Event::Create { entity, values, ids: new_write_ids() });
        id
    }

    /// Updates the columns in `patch`.
    pub fn update(&self, id: Uuid, patch: Row) {
        let entity = EntityRef::new(self.code.clone(), id);
        if let Some(patch) = expand_patch(&entity, patch) {
            client().dispatch(Event::Update { entity, patch, ids: new_write_ids() });
        }
    }

    /// Adds a free link: makes the entity a child of `parent` without a column that names it.
    pub fn link(&self, id: Uuid, parent: EntityRef) {
        self.set_link(id, parent, true);
    }

    /// Removes a free link to `parent`.
    pub fn unlink(&self, id: Uuid, parent: EntityRef) {
        self.set_link(id, parent, false);
    }

    fn set_link(&self, id: Uuid, parent: EntityRef, linked: bool) {
        let child = EntityRef::new(self.code.clone(), id);
        client().dispatch(Event::Link { parent, child, linked, ids: new_write_ids() });
    }

    /// Deletes an entity.
    pub fn delete(&self, id: Uuid) {
        client().dispatch(Event::Delete { entity: EntityRef::new(self.code.clone(), id), ids: new_write_ids() });
    }
}

/// The draft of an entity: unsaved edits with undo and redo.
///
/// The first [`DraftHandle::set`] creates the draft. Every step is persisted on this device.
#[derive(Clone, Copy)]
pub struct DraftHandle {
    entity: StoredValue<EntityRef>,
    /// The draft; `None` if the entity has no unsaved edits.
    pub draft: Memo<Option<Draft>>,
}

/// Returns the draft of an entity.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// let draft = use_draft(project_ref);
/// draft.set("name", json!("Relaunch"));
/// draft.set("descr", json!("of the website"));
/// draft.undo();
/// assert_eq!(draft.draft.get().unwrap().current_data, row_with("name", json!("Relaunch")));
/// draft.redo();
/// draft.discard();
/// assert!(draft.draft.get().is_none());
/// # }
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
    /// Sets a field of the draft, and creates the draft if there is none.
    pub fn set(&self, field: &str, value: Value) {
        client().dispatch(Event::DraftField { entity: self.entity.get_value(), field: field.to_owned(), value });
    }

    /// Reverts the last step.
    pub fn undo(&self) {
        client().dispatch(Event::DraftUndo(self.entity.get_value()));
    }

    /// Repeats the last step that was undone.
    pub fn redo(&self) {
        client().dispatch(Event::DraftRedo(self.entity.get_value()));
    }

    /// Discards the draft.
    pub fn discard(&self) {
        client().dispatch(Event::DraftDiscard(self.entity.get_value()));
    }

    /// Turns the draft into a write and sends it.
    pub fn commit(&self) {
        let entity = self.entity.get_value();
        if expand_draft(&entity) {
            client().dispatch(Event::DraftCommit { entity, ids: new_write_ids() });
        }
    }
}

fn meta(key: ReferenceDataKey) -> Option<Arc<Value>> {
    client().read(|e| e.meta(key))
}

/// Returns all option sets, untracked: for code outside of reactive components.
pub fn datalabels() -> Arc<Vec<Datalabel>> {
    let current = meta(ReferenceDataKey::Datalabels);
    DATALABELS.with_borrow_mut(|(source, parsed)| {
        if source.as_ref().map(Arc::as_ptr) != current.as_ref().map(Arc::as_ptr) {
            let sets: Vec<Datalabel> = current.as_ref().and_then(|v| from_value(v)).unwrap_or_default();
            *parsed = Arc::new(sets);
            *source = current;
        }
        parsed.clone()
    })
}

/// Returns whether an option is a final state; false for an unknown option.
pub fn is_terminal(set: &str, option: &str) -> bool {
    let all = datalabels();
    let found = all.iter().find(|s| s.name == set).and_then(|s| s.options.iter().find(|o| o.name == option));
    found.is_some_and(|option| option.terminal_flag)
}

/// Returns the name of an option's color; `None` for an unknown option or one without a color.
///
/// Reads the JSON of the response, because the first page renders options and needs no other
/// property of them.
pub fn option_color(set: &str, option: &str) -> Option<String> {
    let all = meta(ReferenceDataKey::Datalabels)?;
    let set = all.as_array()?.iter().find(|candidate| candidate["name"] == *set)?;
    let option = set["options"].as_array()?.iter().find(|candidate| candidate["name"] == *option)?;
    Some(option["color_code"].as_str()?.to_owned())
}

/// Returns an option set, untracked: for code outside of reactive components.
///
/// `None` if the option sets are not loaded yet, or if no set has this name.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// assert!(datalabel_untracked("task_stage").is_none(), "no user is signed in");
/// # }
/// ```
pub fn datalabel_untracked(name: &str) -> Option<Datalabel> {
    datalabels().iter().find(|set| set.name == name).cloned()
}

/// Returns an option set; `None` if it is not loaded yet or does not exist.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// let stages = use_datalabel("task_stage");
/// let options = move || {
///     let options = stages.get().map(|set| set.options).unwrap_or_default();
///     options.into_iter().map(|option| view! { <option>{option.name}</option> }).collect_view()
/// };
/// view! { <select>{options}</select> };
/// assert!(stages.get().is_none());
/// # }
/// ```
pub fn use_datalabel(name: &'static str) -> Memo<Option<Datalabel>> {
    query_memo(&Query::Meta(ReferenceDataKey::Datalabels), move || datalabel_untracked(name))
}

/// Returns the catalog of entity types, untracked: for code outside of reactive components.
pub fn catalog() -> Arc<Catalog> {
    client().read(pmo_sync::Engine::catalog)
}

/// Returns the catalog of entity types; empty until it is loaded.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// let types = use_entity_codes();
/// assert!(types.get().get("task").is_none(), "empty before sign-in");
/// # }
/// ```
pub fn use_entity_codes() -> Memo<Arc<Catalog>> {
    query_memo(&Query::Meta(ReferenceDataKey::Codes), catalog)
}

/// Returns the global settings; `None` until they are loaded.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// let settings = use_global_settings();
/// assert!(settings.get().is_none());
/// # }
/// ```
pub fn use_global_settings() -> Memo<Option<Arc<Value>>> {
    query_memo(&Query::Meta(ReferenceDataKey::Settings), || meta(ReferenceDataKey::Settings))
}

/// Returns the sync status: connection, pending writes, and writes that need attention.
///
/// ```
/// # pmo_web::hook_example! { |task_code, project_ref|
/// let status = use_status();
/// use_entity_mutation(task_code()).create(row_with("name", json!("Sitemap")));
/// assert_eq!(status.get().pending_writes, 1);
/// # }
/// ```
pub fn use_status() -> Memo<Status> {
    let changes = client().status.clone();
    Memo::new(move |_| {
        changes.track();
        client().read(pmo_sync::Engine::status)
    })
}

/// Returns a row with a single column.
pub fn row_with(column: &str, value: Value) -> Row {
    let mut row = Row::new();
    row.insert(column.to_owned(), value);
    row
}
