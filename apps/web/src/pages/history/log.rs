//! Entries of the change log and their views.

use crate::client::client;
use crate::ui::format;
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use pmo_domain::api_types::ReferenceNames;
use pmo_domain::{Column, ColumnKind, EntityType};
use pmo_sync::line_merge::{DiffLine, diff_lines};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Entry of the change log, as the server returns it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct HistoryEntry {
    pub(super) version: i64,
    pub(super) action: String,
    pub(super) at: String,
    #[serde(default)]
    pub(super) person_id: Option<String>,
    pub(super) person_name: String,
    #[serde(default)]
    pub(super) changed: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct HistoryPage {
    pub(super) data: Vec<HistoryEntry>,
    #[serde(default, rename = "ref_data_entityInstance")]
    pub(super) references: ReferenceNames,
    #[serde(default)]
    pub(super) next_cursor: Option<String>,
}

/// Returns whether changes of a column are shown; technical columns are omitted.
pub(super) fn is_displayed(column: &Column) -> bool {
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
        (ColumnKind::Timestamp | ColumnKind::LocalTimestamp, Value::String(moment)) => format::local_datetime(moment),
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

pub(super) fn entry_view(
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
        <li class="history-entry">{value_view::avatar(&id, &name)}<div class="entry-body"><span><b>{name.clone()}</b>" "{verb}</span>{changes}</div>
            <span class="entry-time"><time datetime=entry.at.clone()>{format::local_datetime(&entry.at)}</time><span class="softer num">{format!("v{version}")}</span>{reactive_view(restore_button)}</span></li>
    }
}

/// Shows the change of one field: short values side by side, long texts as a line diff.
pub(super) fn change_view(column: &Column, old: &Value, new: &Value, references: &ReferenceNames) -> AnyView {
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
                DiffLine::Unchanged => view! { <span class="unchanged">{line}</span> }.into_any(),
                DiffLine::Removed => view! { <del>{line}</del> }.into_any(),
                DiffLine::Added => view! { <ins>{line}</ins> }.into_any(),
            }
        })
        .collect();
    view! { <div class="change text"><span class="softer">{label}</span><div class="lines">{lines}</div></div> }
        .into_any()
}
