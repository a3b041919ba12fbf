//! Conflict resolution dialog: mine and theirs side by side, field by field, and the result.
//!
//! Discarded values remain in the draft of the entity and can be restored with Redo.
//!
//! Must not: choose a value that the user cannot see.

use super::dialog::Dialog;
use super::field::property_value;
use super::format;
use super::reactive::{reactive_attr, reactive_view};
use super::value_view::icon;
use crate::client::{client, http, new_write_ids};
use crate::hooks::{catalog, row_with};
use leptos::prelude::*;
use pmo_domain::{Column, ColumnKind, EntityRef, Row, UnixMillis, sort};
use pmo_sync::line_merge::{DiffLine, diff_lines};
use pmo_sync::{EntryState, Event, Operation, OutboxEntry, Resolution};
use serde_json::{Value, json};
use uuid::Uuid;
use wasm_bindgen_futures::spawn_local;

/// Returns the id of the first outbox entry of an entity that has a conflict, if any.
pub(crate) fn conflict_of(entity: &EntityRef) -> Option<Uuid> {
    let has_conflict = |e: &&OutboxEntry| e.entity == *entity && matches!(e.state, EntryState::Conflict { .. });
    client().read(|e| e.outbox().iter().find(has_conflict).map(|e| e.id))
}

/// Dialog for the conflict of a write; closes when the write has no conflict any more.
#[component]
pub(crate) fn ConflictDialog(
    /// Id of the outbox entry; `None` closes the dialog.
    entry_id: RwSignal<Option<Uuid>>,
) -> impl IntoView {
    let status = client().status.clone();
    // Rendered again only if the conflict itself changes.
    let entry = Memo::new(move |_| {
        status.track();
        let id = entry_id.get()?;
        let has_conflict = |e: &&OutboxEntry| e.id == id && matches!(e.state, EntryState::Conflict { .. });
        let mut entry = client().read(|e| e.outbox().iter().find(has_conflict).cloned())?;
        // Delivery state is not part of the conflict and must not cause a new render.
        (entry.persisted, entry.in_flight, entry.has_unsaved_input, entry.batch) = (true, false, false, 0);
        (entry.attempts, entry.retry_at) = (0, UnixMillis::EPOCH);
        Some(entry)
    });
    reactive_view(move || entry.get().map(|entry| dialog(entry, entry_id)))
}

/// One conflicting column: both values, the base value, and the shared result.
#[derive(Clone, Copy)]
struct ConflictField {
    column: StoredValue<Column>,
    mine: StoredValue<Value>,
    theirs: StoredValue<Value>,
    base: StoredValue<Value>,
    /// Chosen values of all conflicting columns.
    result: RwSignal<Row>,
}

impl ConflictField {
    fn resolved_value(&self) -> Value {
        self.result.with(|row| row.get(&self.name()).cloned().unwrap_or(Value::Null))
    }
    fn name(&self) -> String {
        self.column.with_value(|c| c.name.clone())
    }
    fn choose(&self, value: Value) {
        self.result.update(|row| {
            row.insert(self.name(), value);
        });
    }
    /// Returns the read-only view of a value of the column.
    fn view(&self, value: &Value) -> AnyView {
        if value.is_null() || *value == json!([]) || *value == json!("") {
            return view! { <span class="softer">"None"</span> }.into_any();
        }
        if let (Value::String(text), true) = (value, self.is_text()) {
            return view! { <p class="text">{text.clone()}</p> }.into_any();
        }
        self.column.with_value(|column| property_value(column, &row_with(&column.name, value.clone())))
    }
    fn is_long(&self) -> bool {
        self.column.with_value(|c| c.kind == ColumnKind::LongText)
    }
    fn is_text(&self) -> bool {
        self.column.with_value(|c| matches!(c.kind, ColumnKind::LongText | ColumnKind::ShortText))
    }

    /// Returns the value of one side; a long text is shown as a line diff against the base.
    fn side_diff(&self, value: &Value) -> AnyView {
        let long = self.column.with_value(|c| c.kind == ColumnKind::LongText);
        let base = self.base.with_value(|base| base.as_str().unwrap_or_default().to_owned());
        match value {
            Value::String(text) if long && !base.is_empty() && !text.is_empty() => {
                let line = |(change, line): (DiffLine, &str)| {
                    let line = line.to_owned();
                    match change {
                        DiffLine::Unchanged => view! { <p>{line}</p> }.into_any(),
                        DiffLine::Removed => view! { <p><del>{line}</del></p> }.into_any(),
                        DiffLine::Added => view! { <p><ins>{line}</ins></p> }.into_any(),
                    }
                };
                let lines: Vec<_> = diff_lines(&base, text).into_iter().map(line).collect();
                view! { <div class="text lines">{lines}</div> }.into_any()
            }
            _ => self.view(value),
        }
    }

    /// Returns the table cell of one side, with the radio button that chooses its value.
    fn side(&self, label: &'static str, value: StoredValue<Value>) -> AnyView {
        let field = *self;
        let name = format!("merge-{}", field.name());
        let checked = reactive_attr(move || value.with_value(|v| *v == field.resolved_value()));
        let base = field.base.with_value(|base| (!base.is_null() && !field.is_long()).then(|| field.view(base)));
        view! {
            <td data-label=label><label>
                <span class="check"><input type="radio" name=name prop:checked=checked on:change=move |_| field.choose(value.get_value())/></span>
                <span>{value.with_value(|v| field.side_diff(v))}{base.map(|base| view! { <div class="base">"was "{base}</div> })}</span>
            </label></td>
        }
        .into_any()
    }

    /// Returns the table row of the column.
    fn row(self) -> AnyView {
        let editing = RwSignal::new(false);
        let text = reactive_attr(move || self.resolved_value().as_str().unwrap_or_default().to_owned());
        let label = self.column.with_value(|c| c.label.clone());
        let result = reactive_view(move || {
            if editing.get() {
                return ().into_any();
            }
            let edit = self.is_text().then(|| view! { <button type="button" class="btn quiet sm" on:click=move |_| editing.set(true)>{icon("pencil")}"Edit text"</button> });
            view! { {self.view(&self.resolved_value())}{edit} }.into_any()
        });
        let on_input = move |event| self.choose(json!(event_target_value(&event)));
        view! {
            <tr>
                <th scope="row">{label.clone()}</th>
                {self.side("Mine", self.mine)}
                {self.side("Theirs", self.theirs)}
                <td class="result" data-label="Result">
                    {result}
                    <textarea class="input" class:hidden=reactive_attr(move || !editing.get()) rows="5" aria-label=format!("{label}, result") prop:value=text on:input=on_input></textarea>
                </td>
            </tr>
        }
        .into_any()
    }
}

/// Fetches author and time of their change, if the server is reachable.
fn fetch_author(entity: &EntityRef) -> RwSignal<Option<String>> {
    let author = RwSignal::new(None::<String>);
    let path = format!("/{}/{}/history?limit=1", entity.code, entity.id);
    spawn_local(async move {
        if let Ok(history) = http::request(http::Method::GET, &path, None, None).await
            && let (Some(name), Some(at)) =
                (history["data"][0]["person_name"].as_str(), history["data"][0]["at"].as_str())
        {
            author.try_set(Some(format!("{name}, {}", format::local_datetime(at))));
        }
    });
    author
}

fn dialog(entry: OutboxEntry, entry_id: RwSignal<Option<Uuid>>) -> AnyView {
    let EntryState::Conflict { current, fields } = &entry.state else { return ().into_any() };
    let close = Callback::new(move |()| entry_id.set(None));
    let (id, seen, entity) = (entry.id, entry.idempotency_key, entry.entity.clone());
    let resolve = move |choice: Resolution| {
        entry_id.set(None);
        client().dispatch(Event::ResolveConflict { entry: id, seen, choice });
    };
    let kind = catalog().get(entity.code.as_str()).cloned();
    let type_name = kind.as_ref().map_or_else(|| entity.code.to_string(), |k| k.name.to_lowercase());
    let name = client().read(|e| e.name(entity.code.as_str(), entity.id)).unwrap_or_else(|| type_name.clone());
    let version = pmo_domain::api_types::row_version(current).0;
    let Operation::Update { patch, base, .. } = &entry.operation else {
        return view! {
            <Dialog title=format!("You deleted a {type_name} that someone else has changed") lead=format!("{name} is now at version {version}.") close=close>
                <footer class="buttons"><button class="btn" on:click=move |_| resolve(Resolution::TakeTheirs)>"Keep it"</button>
                    <button class="btn danger" on:click=move |_| resolve(Resolution::KeepMine(new_write_ids().idempotency_key))>"Delete anyway"</button></footer>
            </Dialog>
        }
        .into_any();
    };
    let column = |name: &String| kind.as_ref().and_then(|k| k.column(name).cloned());
    let value = |row: &Row, name: &String| StoredValue::new(row.get(name).cloned().unwrap_or(Value::Null));
    // The initial result is mine: local edits are discarded only by an explicit choice.
    let mut mine = Row::new();
    for name in fields {
        mine.insert(name.clone(), patch.get(name).cloned().unwrap_or(Value::Null));
    }
    let unchanged = mine.clone();
    let result = RwSignal::new(mine);
    let has_choices = Signal::derive(move || result.with(|result| *result != unchanged));
    // Rows in the column order of the form.
    let column_index = |name: &String| kind.as_ref().and_then(|k| k.columns.iter().position(|c| c.name == *name));
    let rows: Vec<_> = sort::sorted_by_key(fields.clone(), column_index)
        .iter()
        .filter_map(|name| {
            let (mine, theirs, base) = (value(patch, name), value(current, name), value(base, name));
            Some(ConflictField { column: StoredValue::new(column(name)?), mine, theirs, base, result }.row())
        })
        .collect();
    let label = |name: &String| column(name).map_or_else(|| name.clone(), |c| c.label);
    let merged: Vec<String> = patch.keys().filter(|name| !fields.contains(name)).map(label).collect();
    let merged = (!merged.is_empty()).then(|| view! {
        <div class="banner success">{icon("git-merge")}<span class="grow">"Auto-merged, your change: "<strong>{merged.join(", ")}</strong></span></div>
    });
    let author = fetch_author(&entity);
    let save =
        Callback::new(move |()| resolve(Resolution::PerField(result.get_untracked(), new_write_ids().idempotency_key)));
    let listener = window_event_listener(leptos::ev::keydown, move |event| {
        if event.key() == "Enter" && (event.ctrl_key() || event.meta_key()) {
            event.prevent_default();
            save.run(());
        }
    });
    on_cleanup(move || listener.remove());
    view! {
        <Dialog title=format!("Two people changed this {type_name}") lead=format!("{name} was saved as version {version} while you edited it. Choose the value to keep for each field.") close=close class="merge-dialog" keep_open=has_choices>
            <div class="body">
                {merged}
                <table class="merge">
                    <thead><tr><th class="field-name"><span class="vh">"Field"</span></th>
                        <th><b>"Mine"</b><small>"On this device"</small></th>
                        <th><b>"Theirs"</b><small>{reactive_view(move || author.get().unwrap_or_else(|| "On the server".to_owned()))}</small></th>
                        <th class="result"><b>{icon("git-merge")}"Result"</b><small>"Value to be saved"</small></th></tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            <footer class="buttons">
                <span class="grow meta desk">"Discarded values can be restored with Redo."</span>
                <button class="btn" on:click=move |_| resolve(Resolution::KeepMine(new_write_ids().idempotency_key))>"Keep mine"</button>
                <button class="btn" on:click=move |_| resolve(Resolution::TakeTheirs)>"Keep theirs"</button>
                <button class="btn primary" on:click=move |_| save.run(())>"Save result"<kbd class="desk">"Ctrl ↵"</kbd></button>
            </footer>
        </Dialog>
    }
    .into_any()
}
