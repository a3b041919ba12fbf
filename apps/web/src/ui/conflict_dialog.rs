//! A conflict as a person settles it: field by field, mine and theirs side by side, and what will be saved. Nothing is chosen for them that they can't
//! see, and what they do not keep stays one redo away in the draft of the thing.

use super::dialog::Dialog;
use super::field::property_value;
use super::format;
use super::reactive::{reactive_attr, reactive_view};
use super::value_view::icon;
use crate::client::{client, http, new_write_ids};
use crate::hooks::{catalogue, row_with};
use leptos::prelude::*;
use pmo_domain::{Column, ColumnKind, EntityRef, Row, sort};
use pmo_sync::line_merge::{DiffLine, diff_lines};
use pmo_sync::{EntryState, Event, Operation, OutboxEntry, Resolution};
use serde_json::{Value, json};
use uuid::Uuid;
use wasm_bindgen_futures::spawn_local;

/// The conflict that waits for a person on a thing, if there is one.
pub fn conflict_of(entity: &EntityRef) -> Option<Uuid> {
    let waits = |e: &&OutboxEntry| e.entity == *entity && matches!(e.state, EntryState::Conflict { .. });
    client().read(|e| e.outbox().iter().find(waits).map(|e| e.id))
}

/// The dialog for the conflict of a write, for as long as it is one.
#[component]
pub fn ConflictDialog(
    /// The write; none: closed.
    which: RwSignal<Option<Uuid>>,
) -> impl IntoView {
    let status = client().status.clone();
    // Drawn anew only where it has become another question.
    let entry = Memo::new(move |_| {
        status.track();
        let which = which.get()?;
        let is_it = |e: &&OutboxEntry| e.id == which && matches!(e.state, EntryState::Conflict { .. });
        let mut entry = client().read(|e| e.outbox().iter().find(is_it).cloned())?;
        // How far it has come on this device is no part of the question.
        (entry.persisted, entry.in_flight, entry.has_unsaved_input, entry.batch) = (true, false, false, 0);
        (entry.attempts, entry.retry_at) = (0, 0.0);
        Some(entry)
    });
    reactive_view(move || entry.get().map(|entry| dialog(entry, which)))
}

/// Where a value of a column is shown and chosen.
#[derive(Clone, Copy)]
struct ConflictField {
    column: StoredValue<Column>,
    mine: StoredValue<Value>,
    theirs: StoredValue<Value>,
    before: StoredValue<Value>,
    /// What every column in question is to be.
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
    fn read(&self, value: &Value) -> AnyView {
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

    /// What one side made of it: a text of several lines by what went and what came.
    fn side_diff(&self, value: &Value) -> AnyView {
        let long = self.column.with_value(|c| c.kind == ColumnKind::LongText);
        let before = self.before.with_value(|before| before.as_str().unwrap_or_default().to_owned());
        match value {
            Value::String(text) if long && !before.is_empty() && !text.is_empty() => {
                let line = |(what, line): (DiffLine, &str)| {
                    let line = line.to_owned();
                    match what {
                        DiffLine::Kept => view! { <p>{line}</p> }.into_any(),
                        DiffLine::Gone => view! { <p><del>{line}</del></p> }.into_any(),
                        DiffLine::New => view! { <p><ins>{line}</ins></p> }.into_any(),
                    }
                };
                let lines: Vec<_> = diff_lines(&before, text).into_iter().map(line).collect();
                view! { <div class="text lines">{lines}</div> }.into_any()
            }
            _ => self.read(value),
        }
    }

    fn side(&self, label: &'static str, value: StoredValue<Value>) -> AnyView {
        let field = *self;
        let name = format!("merge-{}", field.name());
        let here = reactive_attr(move || value.with_value(|v| *v == field.resolved_value()));
        let before =
            field.before.with_value(|before| (!before.is_null() && !field.is_long()).then(|| field.read(before)));
        view! {
            <td data-label=label><label>
                <span class="check"><input type="radio" name=name prop:checked=here on:change=move |_| field.choose(value.get_value())/></span>
                <span>{value.with_value(|v| field.side_diff(v))}{before.map(|before| view! { <div class="was">"was "{before}</div> })}</span>
            </label></td>
        }
        .into_any()
    }

    fn row(self) -> AnyView {
        let editing = RwSignal::new(false);
        let text = reactive_attr(move || self.resolved_value().as_str().unwrap_or_default().to_owned());
        let label = self.column.with_value(|c| c.label.clone());
        let result = reactive_view(move || {
            if editing.get() {
                return ().into_any();
            }
            let edit = self.is_text().then(|| view! { <button type="button" class="btn quiet sm" on:click=move |_| editing.set(true)>{icon("pencil")}"Edit text"</button> });
            view! { {self.read(&self.resolved_value())}{edit} }.into_any()
        });
        let typed = move |event| self.choose(json!(event_target_value(&event)));
        view! {
            <tr>
                <th scope="row">{label.clone()}</th>
                {self.side("Mine", self.mine)}
                {self.side("Theirs", self.theirs)}
                <td class="result" data-label="Result">
                    {result}
                    <textarea class="input" class:hidden=reactive_attr(move || !editing.get()) rows="5" aria-label=format!("{label}, result") prop:value=text on:input=typed></textarea>
                </td>
            </tr>
        }
        .into_any()
    }
}

fn dialog(entry: OutboxEntry, which: RwSignal<Option<Uuid>>) -> AnyView {
    let EntryState::Conflict { current, fields } = &entry.state else { return ().into_any() };
    let close = Callback::new(move |()| which.set(None));
    let (id, seen, entity) = (entry.id, entry.idempotency_key, entry.entity.clone());
    let settle = move |choice: Resolution| {
        which.set(None);
        client().dispatch(Event::ResolveConflict { entry: id, seen, choice });
    };
    let kind = catalogue().get(entity.code.as_str()).cloned();
    let what = kind.as_ref().map_or_else(|| entity.code.to_string(), |k| k.name.to_lowercase());
    let name = client().read(|e| e.name(entity.code.as_str(), entity.id)).unwrap_or_else(|| what.clone());
    let version = pmo_domain::api_types::row_version(current).0;
    let Operation::Update { patch, base, .. } = &entry.operation else {
        return view! {
            <Dialog title=format!("You deleted a {what} that somebody has changed") lead=format!("{name} is at version {version} now.") close=close>
                <footer class="buttons"><button class="btn" on:click=move |_| settle(Resolution::TakeTheirs)>"Keep it"</button>
                    <button class="btn danger" on:click=move |_| settle(Resolution::KeepMine(new_write_ids()[1]))>"Delete it all the same"</button></footer>
            </Dialog>
        }
        .into_any();
    };
    let column = |name: &String| kind.as_ref().and_then(|k| k.column(name).cloned());
    let value = |row: &Row, name: &String| StoredValue::new(row.get(name).cloned().unwrap_or(Value::Null));
    // Mine to begin with: what was typed here is not given up without a click.
    let mut mine = Row::new();
    for name in fields {
        mine.insert(name.clone(), patch.get(name).cloned().unwrap_or(Value::Null));
    }
    let unchanged = mine.clone();
    let result = RwSignal::new(mine);
    let chosen = Signal::derive(move || result.with(|result| *result != unchanged));
    // In the order of the form.
    let place = |name: &String| kind.as_ref().and_then(|k| k.columns.iter().position(|c| c.name == *name));
    let rows: Vec<_> = sort::sorted_by_key(fields.clone(), place)
        .iter()
        .filter_map(|name| {
            let (mine, theirs, before) = (value(patch, name), value(current, name), value(base, name));
            Some(ConflictField { column: StoredValue::new(column(name)?), mine, theirs, before, result }.row())
        })
        .collect();
    let label = |name: &String| column(name).map_or_else(|| name.clone(), |c| c.label);
    let merged: Vec<String> = patch.keys().filter(|name| !fields.contains(name)).map(label).collect();
    let merged = (!merged.is_empty()).then(|| view! {
        <div class="banner success">{icon("git-merge")}<span class="grow">"Merged by itself, from you: "<strong>{merged.join(", ")}</strong></span></div>
    });
    // Who it was, where the server can be asked.
    let who = RwSignal::new(None::<String>);
    let path = format!("/{}/{}/history?limit=1", entity.code, entity.id);
    spawn_local(async move {
        if let Ok(told) = http::request(http::Method::GET, &path, None, None).await
            && let (Some(name), Some(at)) = (told["data"][0]["person_name"].as_str(), told["data"][0]["at"].as_str())
        {
            who.try_set(Some(format!("{name}, {}", format::local_datetime(at))));
        }
    });
    let save = Callback::new(move |()| settle(Resolution::PerField(result.get_untracked(), new_write_ids()[1])));
    let keys = window_event_listener(leptos::ev::keydown, move |event| {
        if event.key() == "Enter" && (event.ctrl_key() || event.meta_key()) {
            event.prevent_default();
            save.run(());
        }
    });
    on_cleanup(move || keys.remove());
    view! {
        <Dialog title=format!("Two people changed this {what}") lead=format!("{name} was saved as version {version} while you edited it. Choose what to keep, field by field.") close=close class="merge-dialog" firm=chosen>
            <div class="body">
                {merged}
                <table class="merge">
                    <thead><tr><th class="field-name"><span class="vh">"Field"</span></th>
                        <th><b>"Mine"</b><small>"On this device"</small></th>
                        <th><b>"Theirs"</b><small>{reactive_view(move || who.get().unwrap_or_else(|| "On the server".to_owned()))}</small></th>
                        <th class="result"><b>{icon("git-merge")}"Result"</b><small>"What will be saved"</small></th></tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
            <footer class="buttons">
                <span class="grow meta desk">"What you do not keep stays one redo away."</span>
                <button class="btn" on:click=move |_| settle(Resolution::KeepMine(new_write_ids()[1]))>"Keep all mine"</button>
                <button class="btn" on:click=move |_| settle(Resolution::TakeTheirs)>"Take all theirs"</button>
                <button class="btn primary" on:click=move |_| save.run(())>"Save result"<kbd class="desk">"Ctrl ↵"</kbd></button>
            </footer>
        </Dialog>
    }
    .into_any()
}
