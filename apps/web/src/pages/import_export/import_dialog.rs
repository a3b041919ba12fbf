//! Import of plans and CSV files with a preview.

use super::report::{FieldError, LineReport, MappedColumn, Report};
use crate::client::{http, new_id};
use crate::hooks::{catalog, invalidate_entity_queries};
use crate::ui::dialog::Dialog;
use crate::ui::error_message::error_message;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::{Column, ColumnKind, EntityCode, EntityRef};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use wasm_bindgen_futures::spawn_local;

/// Maximum number of report lines that are rendered.
const MAX_RENDERED_LINES: usize = 200;

/// File selected by the user. `web_sys::File` is not `Send`, hence the local storage.
type SelectedFile = StoredValue<Option<web_sys::File>, LocalStorage>;

/// State of an import.
#[derive(Clone, Copy)]
struct ImportState {
    /// Type of the imported rows.
    code: StoredValue<EntityCode>,
    /// Parent of rows that name none.
    parent: StoredValue<Option<EntityRef>>,
    /// Columns of the type to which columns of the file can be mapped.
    columns: StoredValue<Vec<Column>>,
    /// Columns of the type by column of the file, as the user has chosen them.
    mapping: RwSignal<BTreeMap<String, String>>,
    file: SelectedFile,
    /// Idempotency key: one per file and mapping, so that a retry after a lost response does not
    /// import twice.
    key: StoredValue<String>,
    busy: RwSignal<bool>,
    error: RwSignal<Option<String>>,
    /// Response of a plan import.
    plan: RwSignal<Option<Value>>,
    /// Report of the dry run.
    preview: RwSignal<Option<Report>>,
    /// Report of the import.
    done: RwSignal<Option<Report>>,
    /// Whether the dialog is open.
    open: RwSignal<bool>,
}

impl ImportState {
    fn new(code: EntityCode, parent: Option<EntityRef>, open: RwSignal<bool>) -> Self {
        let catalog = catalog();
        let columns = catalog.get(code.as_str()).map(|kind| kind.columns.clone()).unwrap_or_default();
        let is_importable = |c: &Column| !c.read_only && !matches!(c.kind, ColumnKind::Json | ColumnKind::Id);
        Self {
            code: StoredValue::new(code),
            parent: StoredValue::new(parent),
            columns: StoredValue::new(columns.into_iter().filter(is_importable).collect()),
            mapping: RwSignal::default(),
            file: StoredValue::new_local(None),
            key: StoredValue::new(new_id().to_string()),
            busy: RwSignal::new(false),
            error: RwSignal::new(None),
            plan: RwSignal::new(None),
            preview: RwSignal::new(None),
            done: RwSignal::new(None),
            open,
        }
    }

    fn path(&self, dry_run: bool) -> String {
        let mut path = format!("/{}/import?dry_run={dry_run}", self.code.with_value(ToString::to_string));
        let mapped = self.mapping.get_untracked();
        if !mapped.is_empty() {
            path += &format!("&mapping={}", pmo_sync::percent_encode(&json!(mapped).to_string()));
        }
        if let Some(parent) = self.parent.get_value() {
            path += &format!("&parent={}:{}", parent.code, parent.id);
        }
        path
    }

    /// Sends the file; with `dry_run`, the server only reports.
    fn send(self, dry_run: bool) {
        let Some(file) = self.file.get_value() else { return };
        // Read everything now: the dialog may be closed when the response arrives.
        let (path, key, code) = (self.path(dry_run), self.key.get_value(), self.code.get_value());
        let key = if dry_run { new_id().to_string() } else { key };
        self.busy.set(true);
        self.error.set(None);
        spawn_local(async move {
            let response = http::send_file(&path, "text/csv", &file, &key).await;
            match response.and_then(http::parse_response::<Report>) {
                Ok(result) if dry_run => self.preview.set(Some(result)),
                Ok(result) => {
                    invalidate_entity_queries(&code, None);
                    self.done.set(Some(result));
                }
                Err(failure) => self.error.set(Some(failure.to_string())),
            }
            self.busy.set(false);
        });
    }

    /// Imports a plan as a new project.
    fn send_plan(self, file: web_sys::File) {
        self.busy.set(true);
        self.error.set(None);
        let code = self.code.get_value();
        spawn_local(async move {
            match http::send_file("/project/import", "application/xml", &file, &new_id().to_string()).await {
                Ok(response) => {
                    invalidate_entity_queries(&code, None);
                    self.plan.set(Some(response));
                }
                Err(failure) => self.error.set(Some(failure.to_string())),
            }
            self.busy.set(false);
        });
    }

    /// Handles the choice of a file: previews a CSV file, imports a plan.
    fn on_file_change(self, event: &leptos::ev::Event) {
        let input = event_target::<web_sys::HtmlInputElement>(event);
        if let Some(selected) = input.files().and_then(|files| files.get(0)) {
            let is_xml = selected.name().to_lowercase().ends_with(".xml");
            if is_xml && self.code.with_value(|code| *code == "project") {
                self.send_plan(selected);
            } else {
                self.file.set_value(Some(selected));
                self.key.set_value(new_id().to_string());
                self.mapping.set(BTreeMap::new());
                self.send(true);
            }
        }
        // Reset the input so that the same file can be chosen again after it was corrected.
        input.set_value("");
    }

    /// Maps a column of the file to a column of the type, and previews the result.
    fn map_column(self, source: String, target: String) {
        self.mapping.update(|all| drop(all.insert(source, target)));
        self.key.set_value(new_id().to_string());
        self.send(true);
    }
}

/// Imports a plan as a new project, or rows of one type from CSV.
///
/// A CSV import starts with a dry run; its report is shown as a preview, line by line.
#[component]
pub(crate) fn ImportDialog(
    /// Type of the imported rows.
    code: EntityCode,
    /// Parent of rows that name none.
    #[prop(optional_no_strip)]
    parent: Option<EntityRef>,
    /// Whether the dialog is open.
    open: RwSignal<bool>,
) -> impl IntoView {
    let label = catalog().get(code.as_str()).map_or_else(|| code.to_string(), |k| k.ui_label.to_lowercase());
    let (accept, description) = if code == "project" {
        (
            ".xml,.csv,.txt,application/xml,text/xml,text/csv",
            "A Microsoft Project plan (XML) becomes a project with calendars, tasks, dependencies, people and baselines. Rows of a CSV file become projects.",
        )
    } else {
        (
            ".csv,.txt,text/csv",
            "Rows of a CSV file. A row with an existing code updates the item; any other row creates one.",
        )
    };
    let state = ImportState::new(code, parent, open);
    let close = Callback::new(move |()| open.set(false));
    let body = reactive_view(move || {
        if let Some(response) = state.plan.get() {
            return plan_report(&response, open).into_any();
        }
        if let Some(result) = state.done.get() {
            return view! {
                <div class="banner success">{icon("circle-check")}<span class="grow"><strong>"Imported. "</strong>{format!("{} new, {} changed, {} unchanged.", result.created, result.changed, result.unchanged)}</span></div>
                <footer class="buttons"><button class="btn primary" on:click=move |_| close.run(())>"Done"</button></footer>
            }
            .into_any();
        }
        match state.preview.get() {
            Some(result) => preview(state, result).into_any(),
            None => view! {
                <label class="drop">{icon("upload")}{reactive_view(move || if state.busy.get() { "Reading…" } else { "Choose a file" })}
                    <input type="file" class="vh" accept=accept disabled=reactive_attr(move || state.busy.get()) on:change=move |e| state.on_file_change(&e)/></label>
            }
            .into_any(),
        }
    });
    view! {
        <Dialog title=format!("Import {label}") lead=format!("{description} The import is all or nothing.") close=close class="import-dialog">
            <div class="body">{error_message(state.error)}{body}</div>
        </Dialog>
    }
}

/// Preview of a CSV import: mapping of the columns, and the outcome of each line.
fn preview(state: ImportState, result: Report) -> impl IntoView {
    let hidden = result.lines.len().saturating_sub(MAX_RENDERED_LINES);
    let (error_count, rows, nothing_to_import) = (result.refused, result.rows, result.created + result.changed == 0);
    let lines: Vec<_> =
        result.lines.into_iter().take(MAX_RENDERED_LINES).map(|line| line_view(state.columns, line)).collect();
    let mapping: Vec<_> = result.columns.into_iter().map(|column| mapping_row(state, column)).collect();
    let busy = state.busy;
    view! {
        <h3 class="subheading">"Columns"</h3>
        <table class="mapping"><tbody>{mapping}</tbody></table>
        <h3 class="subheading">"Preview"</h3>
        <p role="status">{format!("{} new, {} changed, {} unchanged, {error_count} with errors.", result.created, result.changed, result.unchanged)}</p>
        <ul class="rows tray report">{lines}</ul>
        {(hidden > 0).then(|| view! { <p class="softer">{format!("{hidden} more lines.")}</p> })}
        <footer class="buttons">
            <label class="btn quiet first">"Choose another file"<input type="file" class="vh" accept=".csv,.txt,.xml,text/csv" on:change=move |e| state.on_file_change(&e)/></label>
            <button class="btn quiet" on:click=move |_| state.open.set(false)>"Cancel"</button>
            <button class="btn primary" disabled=reactive_attr(move || busy.get() || error_count > 0 || nothing_to_import) title=(error_count > 0).then_some("Nothing is imported while a line has errors") on:click=move |_| state.send(false)>
                {reactive_view(move || if busy.get() { "Importing…".to_owned() } else { format!("Import {rows} row{}", if rows == 1 { "" } else { "s" }) })}</button></footer>
    }
}

/// Row of the column mapping: a column of the file and a choice of columns of the type.
fn mapping_row(state: ImportState, MappedColumn { name, column }: MappedColumn) -> impl IntoView {
    let current = column.unwrap_or_default();
    let options: Vec<_> = state.columns.with_value(|all| {
        let option =
            |c: &Column| view! { <option value=c.name.clone() selected=c.name == current>{c.label.clone()}</option> };
        all.iter().map(option).collect()
    });
    let source = name.clone();
    let change = move |event| state.map_column(source.clone(), event_target_value(&event));
    view! { <tr><th scope="row">{name.clone()}</th><td>{icon("arrow-right")}</td><td><select class="input" aria-label=format!("Column for {name}") on:change=change><option value="" selected=current.is_empty()>"Skipped"</option>{options}</select></td></tr> }
}

/// Line of the report, with its errors.
fn line_view(columns: StoredValue<Vec<Column>>, line: LineReport) -> impl IntoView {
    // Labels instead of column names in the error messages.
    let label_of = |name: &str| columns.with_value(|all| all.iter().find(|c| c.name == name).map(|c| c.label.clone()));
    let error_text =
        |e: &FieldError| format!("{}: {}", label_of(&e.field).unwrap_or_else(|| e.field.clone()), e.message);
    let errors: Vec<_> = line.errors.iter().map(error_text).collect();
    let has_errors = line.outcome == "refused";
    let outcome = match line.outcome.as_str() {
        "created" => "New",
        "unchanged" => "Unchanged",
        "changed" => "Changed",
        _ => "Error",
    };
    view! { <li class="stacked" class:rejected=has_errors><span><span class="softer num">{format!("Line {} ", line.line)}</span><strong>{line.name}</strong>" "<span class="softer">{line.code}</span>" "
    <span class="badge" class:danger=has_errors>{outcome}</span></span>{(!errors.is_empty()).then(|| view! { <span class="meta">{errors.join(" · ")}</span> })}</li> }
}

/// Shows the result of a plan import: counts, skipped parts and a link to the project.
fn plan_report(response: &Value, open: RwSignal<bool>) -> impl IntoView + use<> {
    let project = response.get("project").cloned().unwrap_or_default();
    let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let address = format!("/project/{}", text(&project, "id"));
    let imported = response["report"]["imported"].clone();
    let count = |key: &str| imported.get(key).and_then(Value::as_u64).unwrap_or_default();
    let skipped: Vec<_> = response["report"]["skipped"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| view! { <li class="stacked"><strong>{format!("{} × {}", entry["count"], text(entry, "what"))}</strong><span class="meta">{text(entry, "why")}</span></li> })
        .collect();
    view! {
        <div class="banner success">{icon("circle-check")}<span class="grow"><strong>{text(&project, "name")}</strong>
            {format!(" has {} tasks, {} milestones and {} dependencies.", count("tasks"), count("milestones"), count("links"))}
            <span class="meta">{format!("Also imported: {} calendars with {} exceptions, {} assignments, {} baselines.", count("calendars"), count("exceptions"), count("assignments"), count("baselines"))}</span></span></div>
        {(!skipped.is_empty()).then(|| view! { <h3 class="subheading">"Skipped"</h3><ul class="rows tray">{skipped}</ul> })}
        <footer class="buttons"><button class="btn quiet" on:click=move |_| open.set(false)>"Close"</button>
            <A href=address attr:class="btn primary" on:click=move |_| open.set(false)>"Open plan"</A></footer>
    }
}
