//! What happened to a thing, field by field, and back to what it was. The log is the server's: without a network it is not here, and says so.

use crate::client::{client, http, new_id};
use crate::hooks::{invalidate_entity_queries, use_status};
use crate::ui::dialog::Dialog;
use crate::ui::format;
use crate::ui::overlays::restore_entity;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use pmo_domain::api_types::ReferenceNames;
use pmo_domain::{Column, ColumnKind, EntityRef, EntityType, Row};
use pmo_sync::line_merge::{DiffLine, diff_lines};
use pmo_sync::{Event, Query, RowView};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use wasm_bindgen_futures::spawn_local;

/// A line of the log as the server tells it.
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

/// Columns that say nothing to a person.
fn is_displayed(column: &Column) -> bool {
    !column.read_only && !matches!(column.name.as_str(), "rank" | "metadata" | "from_ts" | "to_ts")
}

/// A value of a column in words; the names of what it refers to came with the log.
fn format_value(column: &Column, value: &Value, references: &ReferenceNames) -> String {
    let name = |entity: &str, id: &str| {
        let id = id.parse().ok();
        let told = id.and_then(|id| references.get(entity)?.get(&id).cloned());
        told.or_else(|| client().read(|e| e.name(entity, id?)))
            .unwrap_or_else(|| "something not visible to you".to_owned())
    };
    match (&column.kind, value) {
        (_, Value::Null) => "nothing".to_owned(),
        (ColumnKind::Reference { entity }, Value::String(id)) => name(entity, id),
        (ColumnKind::References { entity }, Value::Array(ids)) => {
            let names: Vec<String> = ids.iter().filter_map(Value::as_str).map(|id| name(entity, id)).collect();
            if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
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

/// What happened to a thing.
#[component]
pub fn History(
    /// The thing.
    entity: EntityRef,
    /// Its type.
    kind: EntityType,
    /// Its row, as it is now.
    row: Memo<Option<RowView>>,
    /// Whether this person may put it back.
    may_edit: Memo<bool>,
) -> impl IntoView {
    let (pages, error, busy) =
        (RwSignal::new(HistoryPage::default()), RwSignal::new(None::<String>), RwSignal::new(false));
    let loaded = RwSignal::new(false);
    let restoring = RwSignal::new(None::<i64>);
    let path = StoredValue::new(format!("/{}/{}/history", entity.code, entity.id));
    let fetch = move |more: bool| {
        busy.set(true);
        let cursor = pages.with_untracked(|p| p.next_cursor.clone()).filter(|_| more);
        let path =
            format!("{}?limit=50{}", path.get_value(), cursor.map(|c| format!("&cursor={c}")).unwrap_or_default());
        spawn_local(async move {
            match http::request(http::Method::GET, &path, None, None)
                .await
                .and_then(|answer| serde_json::from_value::<HistoryPage>(answer).map_err(|e| e.to_string()))
            {
                Ok(page) => {
                    error.set(None);
                    pages.update(|known| {
                        if !more {
                            *known = HistoryPage::default();
                        }
                        known.data.extend(page.data);
                        for (code, names) in page.references {
                            known.references.entry(code).or_default().extend(names);
                        }
                        known.next_cursor = page.next_cursor;
                    });
                    loaded.set(true);
                }
                Err(message) => error.set(Some(message)),
            }
            busy.set(false);
        });
    };
    // Asked for again with each version, and when the network is back.
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
    let present = move || version.get().and_then(|v| v.parse::<i64>().ok()).unwrap_or_default();
    let lines = reactive_view(move || {
        let known = pages.get();
        let references = known.references;
        known
            .data
            .into_iter()
            .map(|line| line_view(&kind.get_value(), line, &references, may_edit, present(), restoring))
            .collect::<Vec<_>>()
    });
    let entity = StoredValue::new(entity);
    view! {
        <section class="section history" aria-label="History">
            <header><h2>"History"</h2></header>
            {reactive_view(move || (!online.get() && !loaded.get()).then(|| view! { <p class="softer">"The history is kept by the server. It opens as soon as the network returns."</p> }))}
            {reactive_view(move || error.get().filter(|_| online.get()).map(|message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> }))}
            {reactive_view(move || (busy.get() && !loaded.get()).then(|| view! { <div class="skeletons" aria-busy="true"><span class="skeleton"></span><span class="skeleton"></span></div> }))}
            <ol class="timeline">{lines}</ol>
            {reactive_view(move || pages.with(|p| p.next_cursor.is_some()).then(|| view! { <button type="button" class="btn quiet sm" disabled=reactive_attr(move || busy.get()) on:click=move |_| fetch(true)>"Earlier"</button> }))}
            {reactive_view(move || restoring.get().map(|version| view! { <RestoreDialog entity=entity.get_value() kind=kind.get_value() version=version pages=pages restoring=restoring/> }))}
        </section>
    }
}

/// What a deleted thing was, and the way to bring it back, for those who may: on the page where it stood.
#[component]
pub fn Deleted(
    /// The thing.
    entity: EntityRef,
) -> impl IntoView {
    let (name, refused) = (RwSignal::new(None::<String>), RwSignal::new(None::<String>));
    let asked = entity.clone();
    spawn_local(async move {
        let path = format!("/{}?ids={}&include_deleted=true", asked.code, asked.id);
        if let Ok(answer) = http::request(http::Method::GET, &path, None, None).await
            && let Some(row) = answer["data"][0].as_object()
            && row.get("active_flag") == Some(&Value::Bool(false))
        {
            name.set(Some(format::text(row, "name")));
        }
    });
    let back = move |_| {
        let entity = entity.clone();
        spawn_local(async move {
            match restore_entity(entity.clone()).await {
                // It was not there: nothing of it is held that could be called old.
                Ok(()) => client().dispatch(Event::Refetch(Query::Row(entity))),
                Err(words) => drop(refused.try_set(Some(words))),
            }
        });
    };
    let back = StoredValue::new(back);
    reactive_view(move || {
        name.get().map(|name| view! {
        <div class="left-behind" role="status"><h3>{format!("“{name}” was deleted")}</h3><p>"It comes back as it was, with what belonged to it."</p>
            <button class="btn" on:click=move |e| back.with_value(|back| back(e))>{icon("undo-2")}"Bring it back"</button>
            {reactive_view(move || refused.get().map(|words| view! { <p class="hint error" role="alert">{icon("circle-alert")}{words}</p> }))}</div>
    })
    })
}

fn line_view(
    kind: &EntityType,
    line: HistoryEntry,
    references: &ReferenceNames,
    may_edit: Memo<bool>,
    present: i64,
    restoring: RwSignal<Option<i64>>,
) -> impl IntoView + use<> {
    let who = line.person_name.clone();
    let verb = match line.action.as_str() {
        "created" => "made it",
        "deleted" => "deleted it",
        "restored" => "brought it back",
        "commented" => "commented",
        _ => "changed",
    };
    let told: Vec<(Column, Value, Value)> = line
        .changed
        .iter()
        .filter_map(|(name, change)| {
            let side = |side: &str| change.get(side).cloned().unwrap_or(Value::Null);
            Some((kind.column(name).filter(|c| is_displayed(c))?.clone(), side("old"), side("new")))
        })
        .collect();
    let changes: Vec<AnyView> = if line.action == "changed" {
        told.iter().map(|(column, old, new)| change_view(column, old, new, references)).collect()
    } else {
        Vec::new()
    };
    let version = line.version;
    let back = move || {
        (may_edit.get() && version < present).then(|| view! { <button type="button" class="btn quiet sm" on:click=move |_| restoring.set(Some(version))>{icon("undo-2")}"Back to this"</button> })
    };
    let id = line.person_id.unwrap_or_default();
    view! {
        <li class="happened">{value_view::avatar(&id, &who)}<div class="what"><span><b>{who.clone()}</b>" "{verb}</span>{changes}</div>
            <span class="when"><time datetime=line.at.clone()>{format::local_datetime(&line.at)}</time><span class="softer num">{format!("v{version}")}</span>{reactive_view(back)}</span></li>
    }
}

/// One field from what to what: short values in a line, texts line by line.
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
        .map(|(what, line)| {
            let line = if line.is_empty() { "\u{a0}".to_owned() } else { line.to_owned() };
            match what {
                DiffLine::Kept => view! { <span class="kept">{line}</span> }.into_any(),
                DiffLine::Gone => view! { <del>{line}</del> }.into_any(),
                DiffLine::New => view! { <ins>{line}</ins> }.into_any(),
            }
        })
        .collect();
    view! { <div class="change text"><span class="softer">{label}</span><div class="lines">{lines}</div></div> }
        .into_any()
}

/// Asks before a thing becomes again what it was, and says which fields that changes.
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
    // What later versions changed goes back to what it was before the earliest of them.
    let mut then = Row::new();
    let references = pages.with_untracked(|pages| {
        for line in pages.data.iter().filter(|line| line.version > version) {
            for (name, change) in &line.changed {
                then.insert(name.clone(), change.get("old").cloned().unwrap_or(Value::Null));
            }
        }
        pages.references.clone()
    });
    let present = client().read(|e| e.row(&entity)).map(|row| (*row.data).clone()).unwrap_or_default();
    let changes: Vec<AnyView> = then
        .iter()
        .filter_map(|(name, old)| {
            let column = kind.column(name).filter(|c| is_displayed(c))?;
            let now = present.get(name).cloned().unwrap_or(Value::Null);
            (now != *old).then(|| change_view(column, &now, old, &references))
        })
        .collect();
    let none = changes.is_empty();
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
        <Dialog title=format!("Back to version {version}?") lead="It becomes again what it was then. That is a change like any other: what is there now stays in the history." close=close>
            <div class="body history">
                {changes}
                {none.then(|| view! { <p class="softer">"Nothing that is told here differs from what is there now."</p> })}
                {reactive_view(move || error.get().map(|message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> }))}
            </div>
            <footer class="buttons"><button class="btn quiet" on:click=move |_| close.run(())>"Cancel"</button>
                <button class="btn primary" disabled=reactive_attr(move || busy.get()) on:click=confirm>"Go back"</button></footer>
        </Dialog>
    }
}
