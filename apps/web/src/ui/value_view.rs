//! Read-only views of values, by the kind of their column.
//!
//! Invariant: the column determines the view, not the page, so a new entity type needs no code.

use super::format;
use crate::client::client;
use crate::hooks::option_color;
use leptos::prelude::*;
use pmo_domain::{Column, ColumnKind, Row};
use serde_json::Value;

/// Returns an icon in the color of the surrounding text.
pub(crate) fn icon(name: &str) -> impl IntoView + use<> {
    view! { <i class=format!("i i-{name}") aria-hidden="true"></i> }
}

/// Slugs of the options that have their own icon.
const OPTION_ICON_SLUGS: &str = " backlog planning to-do in-progress in-review blocked completed cancelled low medium high critical green amber red initiation execution monitoring closure on-hold ";

/// Returns the icon of an option, for stages, priorities, health and status.
///
/// `None` for options of other sets, and for stages, priorities and health that were renamed.
pub(crate) fn option_mark(set: &str, option: &str) -> Option<String> {
    let slug = format::slug(option);
    if matches!(set, "task_stage" | "task_priority" | "project_health" | "project_stage")
        && !OPTION_ICON_SLUGS.contains(&format!(" {slug} "))
    {
        return None;
    }
    Some(match set {
        "task_stage" => format!("stage-{slug}"),
        "task_priority" => format!("priority-{slug}"),
        "project_health" => format!("health-{slug}"),
        "project_stage" => match slug.as_str() {
            "on-hold" => "stage-blocked".into(),
            "cancelled" => "stage-cancelled".into(),
            _ => format!("project-{slug}"),
        },
        "milestone_status" | "sprint_status" | "business_status" => match slug.as_str() {
            "reached" | "closed" => "stage-completed".into(),
            "at-risk" | "missed" | "restructuring" => "stage-blocked".into(),
            "active" => "stage-in-progress".into(),
            _ => "stage-to-do".into(),
        },
        _ => return None,
    })
}

/// Returns an option with its icon, or with a dot in its color if it has no icon.
pub(crate) fn option_pill(set: &str, option: &str) -> AnyView {
    if option.is_empty() {
        return ().into_any();
    }
    let option = option.to_owned();
    match (set, option_mark(set, &option)) {
        ("project_health", Some(mark)) => view! { <span class="health">{icon(&mark)}{option}</span> }.into_any(),
        (_, Some(mark)) => view! { <span class="pill">{icon(&mark)}<span>{option}</span></span> }.into_any(),
        (_, None) => {
            let dot =
                option_color(set, &option).map(|c| view! { <i class=format!("dot dot-{c}") aria-hidden="true"></i> });
            view! { <span class="pill">{dot}<span>{option}</span></span> }.into_any()
        }
    }
}

/// Returns the round avatar of a person, with their initials.
pub(crate) fn avatar(id: &str, name: &str) -> impl IntoView + use<> {
    view! { <span class=format!("avatar a{}", format::tint_index(id)) aria-hidden="true">{format::initials(name)}</span> }
}

/// Returns the avatar and name of one person, or up to four avatars for several people.
pub(crate) fn people(entity: &str, ids: &[String]) -> AnyView {
    let named: Vec<(String, String)> = ids
        .iter()
        .map(|id| {
            let name = id.parse().ok().and_then(|uuid| client().read(|e| e.name(entity, uuid)));
            (id.clone(), name.unwrap_or_else(|| "Unknown person".to_owned()))
        })
        .collect();
    match named.as_slice() {
        [] => ().into_any(),
        [(id, name)] => view! { <span class="person">{avatar(id, name)}<span>{name.clone()}</span></span> }.into_any(),
        multiple => {
            let names = multiple.iter().map(|(_, n)| n.as_str()).collect::<Vec<_>>().join(", ");
            let avatars: Vec<_> = multiple.iter().take(4).map(|(id, name)| avatar(id, name)).collect();
            view! { <span class="avatars" role="group" aria-label=names.clone() title=names>{avatars}</span> }
                .into_any()
        }
    }
}

/// Returns a progress bar with its value in percent.
pub(crate) fn progress(percent: f64) -> AnyView {
    let percent = percent.round();
    view! { <span class="progress" style=format!("--p:{percent}")><span>{format!("{percent}%")}</span></span> }
        .into_any()
}

/// Returns the view of a row's value in a column.
pub(crate) fn value(column: &Column, row: &Row) -> AnyView {
    let name = column.name.as_str();
    let text = format::text(row, name);
    match &column.kind {
        ColumnKind::Datalabel { set } => option_pill(set, &text),
        ColumnKind::Reference { entity } if entity == "employee" || entity == "person" => {
            if text.is_empty() {
                ().into_any()
            } else {
                people(entity, &[text])
            }
        }
        ColumnKind::Reference { entity } => {
            let named = text.parse().ok().and_then(|id| client().read(|e| e.name(entity, id)));
            named.unwrap_or_default().into_any()
        }
        ColumnKind::References { entity } => people(entity, &reference_ids(row.get(name))),
        ColumnKind::Date => view! { <time datetime=text.clone()>{format::date(&text, false)}</time> }.into_any(),
        ColumnKind::Timestamp | ColumnKind::LocalTimestamp => {
            view! { <time datetime=text.clone()>{format::date(&text, true)}</time> }.into_any()
        }
        ColumnKind::Money => format::money(&text).into_any(),
        ColumnKind::Percent => progress(format::number(row, name).unwrap_or_default()),
        ColumnKind::Hours => format::number(row, name).map(|n| format!("{}h", format::trim_zeros(n))).into_any(),
        ColumnKind::Days => {
            format::number(row, name).filter(|n| *n > 0.0).map(|n| format!("{}d", format::trim_zeros(n))).into_any()
        }
        ColumnKind::Minutes => {
            format::number(row, name).map(|n| format!("{}h", format::trim_zeros(n / 60.0))).into_any()
        }
        ColumnKind::Integer if name.ends_with("_bytes") => format::number(row, name).map(format::bytes).into_any(),
        ColumnKind::Integer | ColumnKind::Number => format::number(row, name).map(format::trim_zeros).into_any(),
        ColumnKind::Boolean => (row.get(name) == Some(&Value::Bool(true))).then(|| icon("check")).into_any(),
        _ => text.into_any(),
    }
}

/// Returns the ids of a list of references; empty for any other value.
pub(crate) fn reference_ids(value: Option<&Value>) -> Vec<String> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// Returns whether values of this kind are right-aligned numbers.
pub(crate) fn is_right_aligned(kind: &ColumnKind) -> bool {
    use ColumnKind as K;
    matches!(kind, K::Money | K::Hours | K::Days | K::Minutes | K::Integer | K::Number)
}

/// Returns the CSS class that sets the default width of a table column.
pub(crate) fn column_class(column: &Column) -> &'static str {
    match (&column.kind, column.name.as_str()) {
        (_, "wbs") => "c-wbs",
        (_, "code") => "c-code",
        (_, "name") => "",
        (ColumnKind::Datalabel { set }, _) if set == "task_priority" => "c-prio",
        (ColumnKind::Datalabel { .. }, _) => "c-stage",
        (ColumnKind::Reference { .. } | ColumnKind::References { .. }, _) => "c-person",
        (ColumnKind::Date, _) => "c-date",
        (ColumnKind::Timestamp | ColumnKind::LocalTimestamp, _) => "c-timestamp",
        (ColumnKind::Percent, _) => "c-progress",
        (ColumnKind::Money, _) => "c-money",
        (kind, _) if is_right_aligned(kind) => "c-num",
        _ => "c-text",
    }
}
