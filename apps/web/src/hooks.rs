//! What components call. Each hook looks at a query for as long as its component lives, and answers a signal that changes only when its
//! answer does.

use crate::client::{client, new_id, write_ids};
use leptos::prelude::*;
use pmo_domain::catalogue::Datalabel;
use pmo_domain::rest::read_value;
use pmo_domain::{Catalogue, EntityCode, EntityRef, Row};
use pmo_sync::{Draft, Event, KeptTree, ListKey, ListView, MetaKey, ObserverId, Query, RowView, Status};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use uuid::Uuid;

/// Reference data as it was answered, and what was read from it.
type Parsed<T> = RefCell<(Option<Arc<Value>>, Arc<T>)>;

thread_local! {
    static NEXT_OBSERVER: Cell<u64> = const { Cell::new(1) };
    /// Parsed reference data, by the count of changes that it was parsed at.
    static DATALABELS: Parsed<Vec<Datalabel>> = RefCell::default();
}

/// Gives the app its engine: reference data is looked at for as long as anybody is signed in.
#[component]
pub fn CacheProvider(children: Children) -> impl IntoView {
    for key in MetaKey::ALL {
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
fn watched<T: Clone + PartialEq + Send + Sync + 'static>(
    query: &Query,
    read: impl Fn() -> T + Send + Sync + 'static,
) -> Memo<T> {
    let changes = client().changes_of(query);
    Memo::new(move |_| {
        changes.track();
        read()
    })
}

/// One thing; none where it is unknown or gone. Looks at it, so that it is fetched and kept current.
///
/// ```ignore
/// let task = use_entity(EntityRef::new(code, id));
/// view! { <h1>{move || task.get().map(|t| text(&t.data, "name"))}</h1> }
/// ```
pub fn use_entity(entity: EntityRef) -> Memo<Option<RowView>> {
    observe(Query::Row(entity.clone()));
    use_offline_entity(entity)
}

/// One thing as the device knows it, without asking for it.
pub fn use_offline_entity(entity: EntityRef) -> Memo<Option<RowView>> {
    watched(&Query::Row(entity.clone()), move || client().read(|e| e.row(&entity)))
}

/// How a thing is kept on the device with all that hangs below it; none where it is not.
pub fn use_kept(entity: EntityRef) -> Memo<Option<KeptTree>> {
    watched(&Query::Row(entity.clone()), move || client().read(|e| e.kept_tree(&entity)))
}

/// Keeps a thing on the device with all that hangs below it, or no longer.
pub fn keep_offline(entity: EntityRef, on: bool) {
    client().dispatch(Event::Keep(entity, on));
}

/// Whether a thing is certainly not there for this person.
pub fn use_missing(entity: EntityRef) -> Memo<bool> {
    watched(&Query::Row(entity.clone()), move || client().read(|e| e.row_missing(&entity)))
}

/// A list: the ids of its rows, in order. It changes when they do, and not when a row among them does. Where the key changes, so does what is looked at.
///
/// ```ignore
/// let tasks = use_entity_list(ListKey::below(task, project, "project_id").sorted("due_date", false));
/// view! { <p>{move || tasks.get().ids.len()}</p> }
/// ```
pub fn use_entity_list(key: impl Into<Signal<ListKey>>) -> Memo<ListView> {
    let key = key.into();
    let id = NEXT_OBSERVER.with(|next| ObserverId(next.replace(next.get() + 1)));
    let look = move |key: ListKey| client().dispatch(Event::Observe(id, Query::List(key)));
    look(key.get_untracked());
    Effect::new(move |first: Option<()>| {
        let key = key.get();
        if first.is_some() {
            look(key);
        }
    });
    on_cleanup(move || client().dispatch(Event::Unobserve(id)));
    Memo::new(move |_| {
        let key = key.get();
        client().changes_of(&Query::List(key.clone())).track();
        client().read(|e| e.list(&key))
    })
}

/// A short list with all its rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListRows {
    /// The rows, in order.
    pub rows: Vec<RowView>,
    /// Known, from the server or from the device.
    pub loaded: bool,
    /// The last try failed.
    pub failed: bool,
}

/// All rows of a short list, decoded: it changes with each of them.
pub fn use_rows(key: ListKey) -> Memo<ListRows> {
    let query = Query::List(key.clone());
    observe(query.clone());
    watched(&query, move || {
        client().read(|e| {
            let list = e.list(&key);
            ListRows { rows: e.rows(&key), loaded: list.loaded, failed: list.failed }
        })
    })
}

/// Writes to things of one type: shown at once, sent when they are on disk.
#[derive(Clone, Debug)]
pub struct EntityMutation {
    code: EntityCode,
}

/// Writes to things of a type.
///
/// ```ignore
/// use_entity_mutation(task).update(id, one("dl__task_stage", json!("Blocked")));
/// ```
pub fn use_entity_mutation(code: EntityCode) -> EntityMutation {
    EntityMutation { code }
}

impl EntityMutation {
    /// Makes a thing and answers its id, which is minted here.
    pub fn create(&self, values: Row) -> Uuid {
        let id = new_id();
        client().dispatch(Event::Create { entity: EntityRef::new(self.code.clone(), id), values, ids: write_ids() });
        id
    }

    /// Changes columns.
    pub fn update(&self, id: Uuid, patch: Row) {
        client().dispatch(Event::Update { entity: EntityRef::new(self.code.clone(), id), patch, ids: write_ids() });
    }

    /// Hangs a thing below another, where no column of it says so.
    pub fn link(&self, id: Uuid, parent: EntityRef) {
        self.tie(id, parent, true);
    }

    /// Takes it from there.
    pub fn unlink(&self, id: Uuid, parent: EntityRef) {
        self.tie(id, parent, false);
    }

    fn tie(&self, id: Uuid, parent: EntityRef, below: bool) {
        let child = EntityRef::new(self.code.clone(), id);
        client().dispatch(Event::Link { parent, child, below, ids: write_ids() });
    }

    /// Deletes a thing.
    pub fn delete(&self, id: Uuid) {
        client().dispatch(Event::Delete { entity: EntityRef::new(self.code.clone(), id), ids: write_ids() });
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
pub fn use_draft(entity: EntityRef) -> DraftHandle {
    let changes = client().changes_of_draft(&entity);
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
        client().dispatch(Event::DraftCommit { entity: self.entity.get_value(), ids: write_ids() });
    }
}

fn meta(key: MetaKey) -> Option<Arc<Value>> {
    client().read(|e| e.meta(key))
}

/// All option sets, for code that is not a component.
pub fn datalabels() -> Arc<Vec<Datalabel>> {
    let present = meta(MetaKey::Datalabels);
    DATALABELS.with_borrow_mut(|(known, parsed)| {
        if known.as_ref().map(Arc::as_ptr) != present.as_ref().map(Arc::as_ptr) {
            let sets: Vec<Datalabel> = present.as_ref().and_then(|v| read_value(v)).unwrap_or_default();
            *parsed = Arc::new(sets);
            *known = present;
        }
        parsed.clone()
    })
}

/// An option set, for code that is not a component.
pub fn datalabel_sync(name: &str) -> Option<Datalabel> {
    datalabels().iter().find(|set| set.name == name).cloned()
}

/// An option set.
pub fn use_datalabel(name: &'static str) -> Memo<Option<Datalabel>> {
    watched(&Query::Meta(MetaKey::Datalabels), move || datalabel_sync(name))
}

/// The catalogue, for code that is not a component.
pub fn catalogue() -> Arc<Catalogue> {
    client().read(pmo_sync::Engine::catalogue)
}

/// All entity types.
pub fn use_entity_codes() -> Memo<Arc<Catalogue>> {
    watched(&Query::Meta(MetaKey::Codes), catalogue)
}

/// Settings that hold for everybody.
pub fn use_global_settings() -> Memo<Option<Arc<Value>>> {
    watched(&Query::Meta(MetaKey::Settings), || meta(MetaKey::Settings))
}

/// The sync mark.
pub fn use_status() -> Memo<Status> {
    let changes = client().status.clone();
    Memo::new(move |_| {
        changes.track();
        client().read(pmo_sync::Engine::status)
    })
}

/// A row with one column.
pub fn one(column: &str, value: Value) -> Row {
    let mut row = Row::new();
    row.insert(column.to_owned(), value);
    row
}
