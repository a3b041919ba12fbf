//! Data that comes and goes, in the browser: importing a plan or rows with a look at what would happen first, exporting what one sees, addresses of calendars.

use crate::client::{http, new_id};
use crate::hooks::{catalogue, invalidate_entity_queries, use_entity_codes};
use crate::ui::action_menu::{Action, Actions};
use crate::ui::copy_button::CopyButton;
use crate::ui::dialog::Dialog;
use crate::ui::format;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::{Column, ColumnKind, EntityCode, EntityRef};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use wasm_bindgen_futures::spawn_local;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Report {
    #[serde(default)]
    columns: Vec<MappedColumn>,
    #[serde(default)]
    rows: usize,
    #[serde(default)]
    created: usize,
    #[serde(default)]
    changed: usize,
    #[serde(default)]
    unchanged: usize,
    #[serde(default)]
    refused: usize,
    #[serde(default)]
    lines: Vec<LineReport>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct MappedColumn {
    name: String,
    column: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct LineReport {
    line: u64,
    outcome: String,
    code: String,
    name: String,
    #[serde(default)]
    errors: Vec<FieldError>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct FieldError {
    field: String,
    message: String,
}

/// Lines of the report that are drawn.
const MAX_RENDERED_LINES: usize = 200;

/// A file that was chosen. (Files are the browser's own and stay on its thread.)
type SelectedFile = StoredValue<Option<web_sys::File>, LocalStorage>;

/// Imports a plan as a new project, or rows of a type: first what would happen, line by line, then it is done.
#[component]
pub fn ImportDialog(
    /// The type.
    code: EntityCode,
    /// What the rows hang below, where they don't say.
    #[prop(optional_no_strip)]
    parent: Option<EntityRef>,
    /// Whether it is open.
    open: RwSignal<bool>,
) -> impl IntoView {
    let (busy, error) = (RwSignal::new(false), RwSignal::new(None::<String>));
    let (plan, report, done) =
        (RwSignal::new(None::<Value>), RwSignal::new(None::<Report>), RwSignal::new(None::<Report>));
    let mapping = RwSignal::new(BTreeMap::<String, String>::new());
    let file: SelectedFile = StoredValue::new_local(None);
    let close = Callback::new(move |()| open.set(false));
    let kind = catalogue().get(code.as_str()).cloned();
    let label = kind.as_ref().map_or_else(|| code.to_string(), |k| k.ui_label.to_lowercase());
    let plans = code == "project";
    let of = StoredValue::new(code.clone());
    let path = move |dry: bool| {
        let mut path = format!("/{}/import?dry_run={dry}", of.with_value(ToString::to_string));
        let asked = mapping.get_untracked();
        if !asked.is_empty() {
            path += &format!("&mapping={}", pmo_sync::percent_encode(&json!(asked).to_string()));
        }
        if let Some(parent) = &parent {
            path += &format!("&parent={}:{}", parent.code, parent.id);
        }
        path
    };
    let path = StoredValue::new(path);
    // One key for one file, read in one way: who tries again after a lost answer does not import twice.
    let key = StoredValue::new(new_id().to_string());
    let send = move |dry: bool| {
        let Some(file) = file.get_value() else { return };
        // The dialog may be gone when the answer comes.
        let (path, key, of) = (path.with_value(|path| path(dry)), key.get_value(), of.get_value());
        let key = if dry { new_id().to_string() } else { key };
        busy.set(true);
        error.set(None);
        spawn_local(async move {
            let answer = http::send_file(&path, "text/csv", &file, &key).await;
            match answer.and_then(|answer| serde_json::from_value::<Report>(answer).map_err(|e| e.to_string())) {
                Ok(told) if dry => report.set(Some(told)),
                Ok(told) => {
                    invalidate_entity_queries(&of, None);
                    done.set(Some(told));
                }
                Err(message) => error.set(Some(message)),
            }
            busy.set(false);
        });
    };
    let take = move |chosen: web_sys::File| {
        let xml = chosen.name().to_lowercase().ends_with(".xml");
        if !(plans && xml) {
            file.set_value(Some(chosen));
            key.set_value(new_id().to_string());
            mapping.set(BTreeMap::new());
            return send(true);
        }
        busy.set(true);
        error.set(None);
        let of = of.get_value();
        spawn_local(async move {
            match http::send_file("/project/import", "application/xml", &chosen, &new_id().to_string()).await {
                Ok(answer) => {
                    invalidate_entity_queries(&of, None);
                    plan.set(Some(answer));
                }
                Err(message) => error.set(Some(message)),
            }
            busy.set(false);
        });
    };
    let chosen = move |event: leptos::ev::Event| {
        let input = event_target::<web_sys::HtmlInputElement>(&event);
        if let Some(file) = input.files().and_then(|files| files.get(0)) {
            take(file);
        }
        // The same file may be chosen again when it has been mended.
        input.set_value("");
    };
    let columns: Vec<Column> = kind
        .iter()
        .flat_map(|k| k.columns.clone())
        .filter(|c| !c.read_only && !matches!(c.kind, ColumnKind::Json | ColumnKind::Id))
        .collect();
    let columns = StoredValue::new(columns);
    let preview = move |told: Report| {
        let map = |MappedColumn { name, column }: MappedColumn| {
            let now = column.unwrap_or_default();
            let options: Vec<_> = columns.with_value(|all| {
                let option = |c: &Column| view! { <option value=c.name.clone() selected=c.name == now>{c.label.clone()}</option> };
                all.iter().map(option).collect()
            });
            let to = name.clone();
            let change = move |event| {
                mapping.update(|all| drop(all.insert(to.clone(), event_target_value(&event))));
                key.set_value(new_id().to_string());
                send(true);
            };
            view! { <tr><th scope="row">{name.clone()}</th><td>{icon("arrow-right")}</td><td><select class="input" aria-label=format!("What {name} stands for") on:change=change><option value="" selected=now.is_empty()>"Left out"</option>{options}</select></td></tr> }
        };
        let line = |line: LineReport| {
            // Columns as people call them.
            let called =
                |name: &str| columns.with_value(|all| all.iter().find(|c| c.name == name).map(|c| c.label.clone()));
            let said =
                |e: &FieldError| format!("{}: {}", called(&e.field).unwrap_or_else(|| e.field.clone()), e.message);
            let wrong: Vec<_> = line.errors.iter().map(said).collect();
            let refused = line.outcome == "refused";
            let outcome = match line.outcome.as_str() {
                "created" => "new",
                "unchanged" => "as it is",
                "changed" => "changed",
                _ => "refused",
            };
            view! { <li class="stacked" class:refused=refused><span><span class="softer num">{format!("Line {} ", line.line)}</span><strong>{line.name}</strong>" "<span class="softer">{line.code}</span>" "
            <span class="badge" class:danger=refused>{outcome}</span></span>{(!wrong.is_empty()).then(|| view! { <span class="meta">{wrong.join(" · ")}</span> })}</li> }
        };
        let more = told.lines.len().saturating_sub(MAX_RENDERED_LINES);
        let (refused, rows, idle) = (told.refused, told.rows, told.created + told.changed == 0);
        let lines: Vec<_> = told.lines.into_iter().take(MAX_RENDERED_LINES).map(line).collect();
        view! {
            <h3 class="left-out">"Columns"</h3>
            <table class="mapping"><tbody>{told.columns.into_iter().map(map).collect_view()}</tbody></table>
            <h3 class="left-out">"What would happen"</h3>
            <p role="status">{format!("{} new, {} changed, {} as they are, {refused} refused.", told.created, told.changed, told.unchanged)}</p>
            <ul class="rows tray report">{lines}</ul>
            {(more > 0).then(|| view! { <p class="softer">{format!("And {more} more.")}</p> })}
            <footer class="buttons">
                <label class="btn quiet first">"Another file"<input type="file" class="vh" accept=".csv,.txt,.xml,text/csv" on:change=chosen/></label>
                <button class="btn quiet" on:click=move |_| close.run(())>"Cancel"</button>
                <button class="btn primary" disabled=reactive_attr(move || busy.get() || refused > 0 || idle) title=(refused > 0).then_some("Nothing is written while a line is refused") on:click=move |_| send(false)>
                    {reactive_view(move || if busy.get() { "Working…".to_owned() } else { format!("Import {rows} row{}", if rows == 1 { "" } else { "s" }) })}</button></footer>
        }
    };
    let (accept, words) = if plans {
        (
            ".xml,.csv,.txt,application/xml,text/xml,text/csv",
            "A plan from Microsoft Project (XML) becomes a project with outline, dates and links; rows from a CSV file become projects.",
        )
    } else {
        (
            ".csv,.txt,text/csv",
            "Rows from a CSV file. Those whose code is here already are changed, the others are made.",
        )
    };
    let body = reactive_view(move || {
        if let Some(answer) = plan.get() {
            return plan_report(&answer, open).into_any();
        }
        if let Some(told) = done.get() {
            return view! {
                <div class="banner success">{icon("circle-check")}<span class="grow"><strong>"Imported. "</strong>{format!("{} new, {} changed, {} as they were.", told.created, told.changed, told.unchanged)}</span></div>
                <footer class="buttons"><button class="btn primary" on:click=move |_| close.run(())>"Done"</button></footer>
            }
            .into_any();
        }
        match report.get() {
            Some(told) => preview(told).into_any(),
            None => view! {
                <label class="drop">{icon("upload")}{reactive_view(move || if busy.get() { "Reading…" } else { "Choose a file" })}
                    <input type="file" class="vh" accept=accept disabled=reactive_attr(move || busy.get()) on:change=chosen/></label>
            }
            .into_any(),
        }
    });
    view! {
        <Dialog title=format!("Import {label}") lead=format!("{words} Nothing is written unless all of it can be.") close=close class="importing">
            <div class="body">{reactive_view(move || error.get().map(|message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> }))}{body}</div>
        </Dialog>
    }
}

/// What was taken of a plan, and what was not.
fn plan_report(answer: &Value, open: RwSignal<bool>) -> impl IntoView + use<> {
    let project = answer.get("project").cloned().unwrap_or_default();
    let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let address = format!("/project/{}", text(&project, "id"));
    let taken = answer["report"]["taken"].clone();
    let count = |key: &str| taken.get(key).and_then(Value::as_u64).unwrap_or_default();
    let left: Vec<_> = answer["report"]["left_out"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|l| view! { <li class="stacked"><strong>{format!("{} × {}", l["count"], text(l, "what"))}</strong><span class="meta">{text(l, "why")}</span></li> })
        .collect();
    view! {
        <div class="banner success">{icon("circle-check")}<span class="grow"><strong>{text(&project, "name")}</strong>
            {format!(" has {} tasks, {} milestones and {} links.", count("tasks"), count("milestones"), count("links"))}</span></div>
        {(!left.is_empty()).then(|| view! { <h3 class="left-out">"Left out"</h3><ul class="rows tray">{left}</ul> })}
        <footer class="buttons"><button class="btn quiet" on:click=move |_| open.set(false)>"Close"</button>
            <A href=address attr:class="btn primary" on:click=move |_| open.set(false)>"Open the plan"</A></footer>
    }
}

/// Fetches an export and gives it to the browser to keep; what went wrong is said where `error` is shown.
pub fn export(path: String, name: String, error: RwSignal<Option<String>>) {
    error.set(None);
    spawn_local(async move {
        if let Err(message) = http::download(&path, &name).await {
            error.set(Some(message));
        }
    });
}

/// Addresses under which other programs show what is due: made, told once, revoked.
#[component]
pub fn CalendarDialog(
    /// The thing whose days it shows; none: what is one's own to do.
    about: Option<EntityRef>,
    /// What that is called.
    title: String,
    /// Whether it is open.
    open: RwSignal<bool>,
) -> impl IntoView {
    let (list, made, error) =
        (RwSignal::new(Vec::<Value>::new()), RwSignal::new(None::<String>), RwSignal::new(None::<String>));
    let load = move || {
        spawn_local(async move {
            match http::request(http::Method::GET, "/calendar_feed", None, None).await {
                Ok(told) => list.set(told["data"].as_array().cloned().unwrap_or_default()),
                Err(message) => error.set(Some(message)),
            }
        });
    };
    load();
    let make = move |_| {
        let body = about.as_ref().map_or_else(|| json!({}), |about| json!({"entity": about.code, "id": about.id}));
        spawn_local(async move {
            match http::request(http::Method::POST, "/calendar_feed", Some(&body), None).await {
                Ok(told) => {
                    let origin = window().location().origin().unwrap_or_default();
                    made.set(told["path"].as_str().map(|path| format!("{origin}{path}")));
                    load();
                }
                Err(message) => error.set(Some(message)),
            }
        });
    };
    let revoke = move |id: String| {
        spawn_local(async move {
            match http::request(http::Method::DELETE, &format!("/calendar_feed/{id}"), None, None).await {
                Ok(_) => load(),
                Err(message) => error.set(Some(message)),
            }
        });
    };
    let line = move |feed: Value| {
        let text = |key: &str| feed[key].as_str().unwrap_or_default().to_owned();
        let named = feed["about_id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .and_then(|id| crate::client::client().read(|e| e.name(&text("about_code"), id)));
        let what = if feed["about_id"].is_null() {
            "What is mine to do".to_owned()
        } else {
            named.unwrap_or_else(|| "A plan".to_owned())
        };
        let used = if feed["used_ts"].is_null() {
            "never asked for".to_owned()
        } else {
            format!("last asked for {}", format::local_datetime(&text("used_ts")))
        };
        let id = text("id");
        view! { <li>{icon("calendar")}<span class="grow"><strong>{what}</strong><span class="meta">{used}</span></span><button class="btn quiet sm" on:click=move |_| revoke(id.clone())>"Revoke"</button></li> }
    };
    let select = |event: leptos::ev::FocusEvent| event_target::<web_sys::HtmlInputElement>(&event).select();
    view! {
        <Dialog title=format!("Calendar: {title}") lead="An address for a calendar program to subscribe to. Whoever has it sees these days; it shows what you may see, until you revoke it." close=Callback::new(move |()| open.set(false))>
            <div class="body new-form">
                {reactive_view(move || error.get().map(|message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> }))}
                {reactive_view(move || made.get().map(|address| view! { <div class="field"><label for="calendar-address">"The address, told this once"</label><span class="told"><span class="input"><input id="calendar-address" readonly=true prop:value=address.clone() on:focus=select/></span><CopyButton text=address/></span></div> }))}
                <button class="btn" on:click=make>{icon("plus")}"Make an address"</button>
                <ul class="rows tray">{reactive_view(move || list.get().into_iter().map(line).collect_view())}</ul>
            </div>
        </Dialog>
    }
}

/// What can be done with a thing beside changing it: exports, imports below it, its calendar.
#[component]
pub fn EntityActions(
    /// The thing.
    entity: EntityRef,
    /// What it is called.
    #[prop(into)]
    title: Signal<String>,
    /// Opens who may see it, where the page has no button for that on a phone.
    #[prop(optional)]
    sharing: Option<RwSignal<bool>>,
) -> impl IntoView {
    let (failed, calendar, importing) = (RwSignal::new(None::<String>), RwSignal::new(false), RwSignal::new(false));
    // Of what hangs below it something has a day on which it is due. The types may come after the page.
    let codes = use_entity_codes();
    let kind = entity.code.clone();
    let dated = Memo::new(move |_| {
        let catalogue = codes.get();
        let has_days = |code: &str| catalogue.get(code).is_some_and(|child| child.column("due_date").is_some());
        catalogue.get(kind.as_str()).is_some_and(|kind| {
            kind.children.iter().any(|tie| tie.parent_column.is_some() && has_days(tie.code.as_str()))
        })
    });
    let plan = entity.code == "project";
    let of = StoredValue::new(entity.clone());
    let actions = Callback::new(move |()| {
        let entity = of.get_value();
        let action = |sign, words: &str, run: Callback<()>| Action { sign, words: words.to_owned(), run };
        let mut all = Vec::new();
        all.extend(
            sharing.map(|sharing| action("users", "Who may see it…", Callback::new(move |()| sharing.set(true)))),
        );
        if entity.code == "project" {
            let id = entity.id;
            all.push(action(
                "file-down",
                "Export for Microsoft Project",
                Callback::new(move |()| {
                    export(format!("/project/{id}/export"), format!("{}.xml", title.get_untracked()), failed)
                }),
            ));
            all.push(action(
                "file-down",
                "Export the tasks as CSV",
                Callback::new(move |()| {
                    export(format!("/task/export?project_id={id}"), format!("{}.csv", title.get_untracked()), failed)
                }),
            ));
            all.push(action("file-up", "Import tasks from CSV…", Callback::new(move |()| importing.set(true))));
        }
        if dated.get_untracked() {
            all.push(action("calendar", "Calendar of what is due…", Callback::new(move |()| calendar.set(true))));
        }
        all
    });
    let task = EntityCode::new("task").ok();
    view! {
        {reactive_view(move || (plan || dated.get()).then(|| view! { <Actions actions=actions/> }))}
        {reactive_view(move || failed.get().map(|message| view! { <div class="toasts"><div class="toast" role="alert">{icon("circle-alert")}<span class="grow">{message}</span><button class="btn quiet sm" on:click=move |_| failed.set(None)>"Close"</button></div></div> }))}
        {reactive_view(move || calendar.get().then(|| view! { <CalendarDialog about=Some(of.get_value()) title=title.get_untracked() open=calendar/> }))}
        {reactive_view(move || importing.get().then(|| task.clone().map(|task| view! { <ImportDialog code=task parent=Some(of.get_value()) open=importing/> })))}
    }
}
