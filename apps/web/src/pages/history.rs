//! History of an entity, field by field, and restoring an earlier version.
//!
//! The change log is fetched from the server and is not available offline; the page then says so.

use crate::client::{client, http, new_id};
use crate::hooks::{invalidate_entity_queries, use_status};
use crate::ui::dialog::Dialog;
use crate::ui::format;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::toast::restore_entity;
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use pmo_domain::api_types::ReferenceNames;
use pmo_domain::{Column, ColumnKind, EntityRef, EntityType, Row};
use pmo_sync::line_merge::{DiffLine, diff_lines};
use pmo_sync::{Event, Query, RowView};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wasm_bindgen_futures::spawn_local;

/// Entry of the change log, as the server returns it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct HistoryEntry {
    version: i64,
    action: String,
    at: String,
    #[serde(default)]
    person_id: Option<String>,
    person_name: String,
    #[serde(default)]
    changed: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct HistoryPage {
    data: Vec<HistoryEntry>,
    #[serde(default, rename = "ref_data_entityInstance")]
    references: ReferenceNames,
    #[serde(default)]
    next_cursor: Option<String>,
}

/// Returns whether changes of a column are shown; technical columns are omitted.
fn is_displayed(column: &Column) -> bool {
    !column.read_only && !matches!(column.name.as_str(), "rank" | "metadata" | "from_ts" | "to_ts")
}

/// Formats a value of a column for display.
///
/// `references` holds the names of referenced entities that came with the log.
fn format_value(column: &Column, value: &Value, references: &ReferenceNames) -> String {
    let name = |entity: &str, id: &str| {
        let id = id.parse().ok();
        let logged_name = id.and_then(|id| references.get(entity)?.get(&id).cloned());
        logged_name.or_else(|| client().read(|e| e.name(entity, id?))).unwrap_or_else(|| "No access".to_owned())
    };
    match (&column.kind, value) {
        (_, Value::Null) => "None".to_owned(),
        (ColumnKind::Reference { entity }, Value::String(id)) => name(entity, id),
        (ColumnKind::References { entity }, Value::Array(ids)) => {
            let names: Vec<String> = ids.iter().filter_map(Value::as_str).map(|id| name(entity, id)).collect();
            if names.is_empty() { "None".to_owned() } else { names.join(", ") }
        }
        (ColumnKind::Date, Value::String(day)) => format::date(day, true),
        (ColumnKind::Timestamp, Value::String(moment)) => format::local_datetime(moment),
        (ColumnKind::Money, Value::String(amount)) => format::money(amount),
        (ColumnKind::Money, Value::Number(amount)) => format::money(&amount.to_string()),
        (ColumnKind::Percent, Value::Number(n)) => {
            format!("{}%", n.as_f64().map(format::trim_zeros).unwrap_or_default())
        }
        (_, Value::Number(n)) => n.as_f64().map(format::trim_zeros).unwrap_or_default(),
        (_, Value::Bool(on)) => if *on { "yes" } else { "no" }.to_owned(),
        (_, Value::String(text)) => text.clone(),
        (_, other) => other.to_string(),
    }
}

/// Change log of an entity, newest entry first, loaded in pages of 50.
#[component]
pub(crate) fn History(
    /// Entity to which the history belongs.
    entity: EntityRef,
    /// Type of the entity.
    kind: EntityType,
    /// Current row; `None` while loading.
    row: Memo<Option<RowView>>,
    /// Whether the user can restore an earlier version.
    can_edit: Memo<bool>,
) -> impl IntoView {
    let (pages, error, busy) =
        (RwSignal::new(HistoryPage::default()), RwSignal::new(None::<String>), RwSignal::new(false));
    let loaded = RwSignal::new(false);
    let restoring = RwSignal::new(None::<i64>);
    let path = StoredValue::new(format!("/{}/{}/history", entity.code, entity.id));
    let fetch = move |append: bool| {
        busy.set(true);
        let cursor = pages.with_untracked(|p| p.next_cursor.clone()).filter(|_| append);
        let path =
            format!("{}?limit=50{}", path.get_value(), cursor.map(|c| format!("&cursor={c}")).unwrap_or_default());
        spawn_local(async move {
            match http::request(http::Method::GET, &path, None, None)
                .await
                .and_then(|response| serde_json::from_value::<HistoryPage>(response).map_err(|e| e.to_string()))
            {
                Ok(page) => {
                    error.set(None);
                    pages.update(|log| {
                        if !append {
                            *log = HistoryPage::default();
                        }
                        log.data.extend(page.data);
                        for (code, names) in page.references {
                            log.references.entry(code).or_default().extend(names);
                        }
                        log.next_cursor = page.next_cursor;
                    });
                    loaded.set(true);
                }
                Err(message) => error.set(Some(message)),
            }
            busy.set(false);
        });
    };
    // Refetch on every new version and when the connection is restored.
    let version = Memo::new(move |_| row.with(|r| r.as_ref().map(|r| format::text(&r.data, "version"))));
    let status = use_status();
    let online = Memo::new(move |_| status.get().online);
    Effect::new(move || {
        version.track();
        if online.get() {
            fetch(false);
        }
    });
    let kind = StoredValue::new(kind);
    let current_version = move || version.get().and_then(|v| v.parse::<i64>().ok()).unwrap_or_default();
    let entries = reactive_view(move || {
        let log = pages.get();
        let references = log.references;
        log.data
            .into_iter()
            .map(|entry| entry_view(&kind.get_value(), entry, &references, can_edit, current_version(), restoring))
            .collect::<Vec<_>>()
    });
    let entity = StoredValue::new(entity);
    view! {
        <section class="section history" aria-label="History">
            <header><h2>"History"</h2></header>
            {reactive_view(move || (!online.get() && !loaded.get()).then(|| view! { <p class="softer">"History is not available offline. It loads when the connection is restored."</p> }))}
            {reactive_view(move || error.get().filter(|_| online.get()).map(|message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> }))}
            {reactive_view(move || (busy.get() && !loaded.get()).then(|| view! { <div class="skeletons" aria-busy="true"><span class="skeleton"></span><span class="skeleton"></span></div> }))}
            <ol class="timeline">{entries}</ol>
            {reactive_view(move || pages.with(|p| p.next_cursor.is_some()).then(|| view! { <button type="button" class="btn quiet sm" disabled=reactive_attr(move || busy.get()) on:click=move |_| fetch(true)>"Earlier"</button> }))}
            {reactive_view(move || restoring.get().map(|version| view! { <RestoreDialog entity=entity.get_value() kind=kind.get_value() version=version pages=pages restoring=restoring/> }))}
        </section>
    }
}

/// Notice about a deleted entity with a button that restores it.
///
/// Shown on the page of the entity to users who may restore it.
#[component]
pub(crate) fn DeletedEntityPage(
    /// Entity that was requested and may be deleted.
    entity: EntityRef,
) -> impl IntoView {
    let (name, error) = (RwSignal::new(None::<String>), RwSignal::new(None::<String>));
    let requested = entity.clone();
    spawn_local(async move {
        let path = format!("/{}?ids={}&include_deleted=true", requested.code, requested.id);
        if let Ok(response) = http::request(http::Method::GET, &path, None, None).await
            && let Some(row) = response["data"][0].as_object()
            && row.get("active_flag") == Some(&Value::Bool(false))
        {
            name.set(Some(format::text(row, "name")));
        }
    });
    let restore = move |_| {
        let entity = entity.clone();
        spawn_local(async move {
            match restore_entity(entity.clone()).await {
                // No row is cached that could be marked stale, so request a fetch explicitly.
                Ok(()) => client().dispatch(Event::Refetch(Query::Row(entity))),
                Err(message) => drop(error.try_set(Some(message))),
            }
        });
    };
    let restore = StoredValue::new(restore);
    reactive_view(move || {
        name.get().map(|name| view! {
        <div class="left-behind" role="status"><h3>{format!("“{name}” was deleted")}</h3><p>"Restoring it also restores its children."</p>
            <button class="btn" on:click=move |e| restore.with_value(|restore| restore(e))>{icon("undo-2")}"Restore"</button>
            {reactive_view(move || error.get().map(|message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> }))}</div>
    })
    })
}

fn entry_view(
    kind: &EntityType,
    entry: HistoryEntry,
    references: &ReferenceNames,
    can_edit: Memo<bool>,
    current_version: i64,
    restoring: RwSignal<Option<i64>>,
) -> impl IntoView + use<> {
    let name = entry.person_name.clone();
    let verb = match entry.action.as_str() {
        "created" => "created it",
        "deleted" => "deleted it",
        "restored" => "restored it",
        "commented" => "commented",
        _ => "changed",
    };
    let visible_changes: Vec<(Column, Value, Value)> = entry
        .changed
        .iter()
        .filter_map(|(name, change)| {
            let side = |side: &str| change.get(side).cloned().unwrap_or(Value::Null);
            Some((kind.column(name).filter(|c| is_displayed(c))?.clone(), side("old"), side("new")))
        })
        .collect();
    let changes: Vec<AnyView> = if entry.action == "changed" {
        visible_changes.iter().map(|(column, old, new)| change_view(column, old, new, references)).collect()
    } else {
        Vec::new()
    };
    let version = entry.version;
    let restore_button = move || {
        (can_edit.get() && version < current_version).then(|| view! { <button type="button" class="btn quiet sm" on:click=move |_| restoring.set(Some(version))>{icon("undo-2")}"Restore this version"</button> })
    };
    let id = entry.person_id.unwrap_or_default();
    view! {
        <li class="happened">{value_view::avatar(&id, &name)}<div class="what"><span><b>{name.clone()}</b>" "{verb}</span>{changes}</div>
            <span class="when"><time datetime=entry.at.clone()>{format::local_datetime(&entry.at)}</time><span class="softer num">{format!("v{version}")}</span>{reactive_view(restore_button)}</span></li>
    }
}

/// Shows the change of one field: short values side by side, long texts as a line diff.
fn change_view(column: &Column, old: &Value, new: &Value, references: &ReferenceNames) -> AnyView {
    let (before, after) = (format_value(column, old, references), format_value(column, new, references));
    let long = column.kind == ColumnKind::LongText || before.contains('\n') || after.contains('\n');
    let label = column.label.clone();
    if !long {
        return view! { <span class="change"><span class="softer">{label}</span><del>{before}</del>{icon("arrow-right")}<ins>{after}</ins></span> }.into_any();
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (before, after) = (text(old), text(new));
    let lines: Vec<AnyView> = diff_lines(&before, &after)
        .into_iter()
        .map(|(change, line)| {
            let line = if line.is_empty() { "\u{a0}".to_owned() } else { line.to_owned() };
            match change {
                DiffLine::Unchanged => view! { <span class="kept">{line}</span> }.into_any(),
                DiffLine::Removed => view! { <del>{line}</del> }.into_any(),
                DiffLine::Added => view! { <ins>{line}</ins> }.into_any(),
            }
        })
        .collect();
    view! { <div class="change text"><span class="softer">{label}</span><div class="lines">{lines}</div></div> }
        .into_any()
}

/// Confirmation before an earlier version is restored; lists the fields that will change.
#[component]
fn RestoreDialog(
    entity: EntityRef,
    kind: EntityType,
    version: i64,
    pages: RwSignal<HistoryPage>,
    restoring: RwSignal<Option<i64>>,
) -> impl IntoView {
    let (busy, error) = (RwSignal::new(false), RwSignal::new(None::<String>));
    let close = Callback::new(move |()| restoring.set(None));
    // Entries are sorted newest first, so the last insert per field is the value before the
    // earliest of the later changes.
    let mut restored = Row::new();
    let references = pages.with_untracked(|pages| {
        for entry in pages.data.iter().filter(|entry| entry.version > version) {
            for (name, change) in &entry.changed {
                restored.insert(name.clone(), change.get("old").cloned().unwrap_or(Value::Null));
            }
        }
        pages.references.clone()
    });
    let current = client().read(|e| e.row(&entity)).map(|row| (*row.data).clone()).unwrap_or_default();
    let changes: Vec<AnyView> = restored
        .iter()
        .filter_map(|(name, old)| {
            let column = kind.column(name).filter(|c| is_displayed(c))?;
            let current_value = current.get(name).cloned().unwrap_or(Value::Null);
            (current_value != *old).then(|| change_view(column, &current_value, old, &references))
        })
        .collect();
    let no_changes = changes.is_empty();
    let confirm = move |_| {
        busy.set(true);
        let entity = entity.clone();
        spawn_local(async move {
            let path = format!("/{}/{}/history/{version}/restore", entity.code, entity.id);
            match http::request(http::Method::POST, &path, Some(&json!({})), Some(&new_id().to_string())).await {
                Ok(_) => {
                    invalidate_entity_queries(&entity.code, Some(entity.id));
                    restoring.set(None);
                }
                Err(message) => error.set(Some(message)),
            }
            busy.set(false);
        });
    };
    view! {
        <Dialog title=format!("Restore version {version}?") lead="The fields return to their values of that version, as a new change. The current values stay in the history." close=close>
            <div class="body history">
                {changes}
                {no_changes.then(|| view! { <p class="softer">"No displayed field differs from the current version."</p> })}
                {reactive_view(move || error.get().map(|message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> }))}
            </div>
            <footer class="buttons"><button class="btn quiet" on:click=move |_| close.run(())>"Cancel"</button>
                <button class="btn primary" disabled=reactive_attr(move || busy.get()) on:click=confirm>"Restore"</button></footer>
        </Dialog>
    }
}
