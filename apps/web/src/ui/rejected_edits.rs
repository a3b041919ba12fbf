//! Edits that are not visible at their field: rejected by the server, or of a deleted entity.

use super::field::property_value;
use super::overlay_state::OverlayState;
use super::reactive::reactive_view;
use super::value_view::icon;
use crate::client::client;
use crate::hooks::{catalog, row_with, use_draft};
use leptos::prelude::*;
use pmo_domain::api_types::{FieldError, Problem};
use pmo_domain::{ColumnKind, EntityRef, Row};
use pmo_sync::{EntryState, OutboxEntry};
use serde_json::Value;

/// Returns a list of column values of an entity type, each with its label; skips hidden columns.
pub(crate) fn values_view(code: &str, values: &Row) -> AnyView {
    let catalog = catalog();
    let kind = catalog.get(code);
    let entry = |(name, value): (&String, &Value)| {
        let column = kind?.column(name).filter(|c| !c.hidden && name != "id")?;
        let formatted = match (&column.kind, value) {
            (ColumnKind::ShortText | ColumnKind::LongText, Value::String(text)) => text.clone().into_any(),
            _ => property_value(column, &row_with(name, value.clone())),
        };
        Some(view! { <dt>{column.label.clone()}</dt><dd>{formatted}</dd> })
    };
    let entries: Vec<_> = values.iter().filter_map(entry).collect();
    if entries.is_empty() { ().into_any() } else { view! { <dl class="edit-values">{entries}</dl> }.into_any() }
}

/// Returns the server's reason for rejecting a write, with the labels of the columns concerned.
pub(crate) fn rejection_message(code: &str, problem: &Problem) -> String {
    let catalog = catalog();
    let field_message = |e: &FieldError| {
        let column = catalog.get(code).and_then(|kind| kind.column(&e.field));
        if e.message.starts_with(char::is_uppercase) {
            e.message.clone()
        } else {
            format!("{} {}", column.map_or(&e.field, |c| &c.label), e.message)
        }
    };
    let messages: Vec<String> = problem.errors.iter().map(field_message).collect();
    if messages.is_empty() {
        problem.detail.clone().unwrap_or_else(|| problem.title.clone())
    } else {
        messages.join("; ")
    }
}

/// Returns the first rejected write of an entity, if any.
fn rejected_entry(entity: &EntityRef) -> Option<OutboxEntry> {
    let is_rejected = |e: &&OutboxEntry| e.entity == *entity && matches!(e.state, EntryState::Rejected { .. });
    client().read(|e| e.outbox().iter().find(is_rejected).cloned())
}

/// Banner on the page of an entity about a rejected change; renders nothing if there is none.
#[component]
pub(crate) fn RejectedBanner(
    /// Entity of the page.
    entity: EntityRef,
) -> impl IntoView {
    let (status, overlays) = (client().status.clone(), expect_context::<OverlayState>());
    let rejection = Memo::new(move |_| {
        status.track();
        let EntryState::Rejected { problem } = rejected_entry(&entity)?.state else { return None };
        Some(rejection_message(entity.code.as_str(), &problem))
    });
    reactive_view(move || {
        rejection.get().map(|message| {
            view! {
                <div class="banner danger strip" role="status">{icon("conflict")}
                    <span class="grow"><strong>"A change was rejected. "</strong>{message}</span>
                    <button class="btn sm" on:click=move |_| overlays.tray.set(true)>"Review"</button>
                </div>
            }
        })
    })
}

/// Rejected and unsaved edits of an entity that does not exist or is not visible any more.
#[component]
pub(crate) fn OrphanedEdits(
    /// Entity of the page.
    entity: EntityRef,
) -> impl IntoView {
    let (status, overlays) = (client().status.clone(), expect_context::<OverlayState>());
    let draft = use_draft(entity.clone());
    reactive_view(move || {
        status.track();
        let rejected = rejected_entry(&entity).map(|entry| entry.local_values()).filter(|values| !values.is_empty());
        let drafted = draft.draft.get().map(|draft| draft.current_data).filter(|values| !values.is_empty());
        let code = entity.code.as_str();
        let rejected = rejected.map(|values| view! { {values_view(code, &values)}<button class="btn sm" on:click=move |_| overlays.tray.set(true)>"Review"</button> });
        let drafted = drafted.map(|values| view! { {values_view(code, &values)}<button class="btn sm" on:click=move |_| draft.discard()>"Discard draft"</button> });
        (rejected.is_some() || drafted.is_some()).then(|| view! { <section class="notice-box" data-testid="orphaned-edits"><h3>"Your unsaved edits"</h3>{rejected}{drafted}</section> })
    })
}
