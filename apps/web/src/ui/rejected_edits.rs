//! What somebody typed that is not where they typed it: refused by the server, or about a thing that is gone.

use super::field::property_value;
use super::layout::OverlayState;
use super::reactive::reactive_view;
use super::value_view::icon;
use crate::client::client;
use crate::hooks::{catalogue, row_with, use_draft};
use leptos::prelude::*;
use pmo_domain::api_types::{FieldError, Problem};
use pmo_domain::{ColumnKind, EntityRef, Row};
use pmo_sync::{EntryState, OutboxEntry};
use serde_json::Value;

/// Values of a row of a type, each with its label.
pub fn values_view(code: &str, values: &Row) -> AnyView {
    let catalogue = catalogue();
    let kind = catalogue.get(code);
    let line = |(name, value): (&String, &Value)| {
        let column = kind?.column(name).filter(|c| !c.hidden && name != "id")?;
        let read = match (&column.kind, value) {
            (ColumnKind::ShortText | ColumnKind::LongText, Value::String(text)) => text.clone().into_any(),
            _ => property_value(column, &row_with(name, value.clone())),
        };
        Some(view! { <dt>{column.label.clone()}</dt><dd>{read}</dd> })
    };
    let lines: Vec<_> = values.iter().filter_map(line).collect();
    if lines.is_empty() { ().into_any() } else { view! { <dl class="typed">{lines}</dl> }.into_any() }
}

/// Why the server would not have a write of a type, in its words, with the labels of the columns that they are about.
pub fn rejection_message(code: &str, problem: &Problem) -> String {
    let catalogue = catalogue();
    let words = |e: &FieldError| {
        let column = catalogue.get(code).and_then(|kind| kind.column(&e.field));
        if e.message.starts_with(char::is_uppercase) {
            e.message.clone()
        } else {
            format!("{} {}", column.map_or(&e.field, |c| &c.label), e.message)
        }
    };
    let words: Vec<String> = problem.errors.iter().map(words).collect();
    if words.is_empty() { problem.detail.clone().unwrap_or_else(|| problem.title.clone()) } else { words.join("; ") }
}

/// The refused write that waits for a person on a thing, if there is one.
fn rejected_entry(entity: &EntityRef) -> Option<OutboxEntry> {
    let waits = |e: &&OutboxEntry| e.entity == *entity && matches!(e.state, EntryState::Rejected { .. });
    client().read(|e| e.outbox().iter().find(waits).cloned())
}

/// Says on the page of a thing that the server would not have what was typed there.
#[component]
pub fn RejectedBanner(
    /// The thing.
    entity: EntityRef,
) -> impl IntoView {
    let (status, overlays) = (client().status.clone(), expect_context::<OverlayState>());
    let refused = Memo::new(move |_| {
        status.track();
        let EntryState::Rejected { problem } = rejected_entry(&entity)?.state else { return None };
        Some(rejection_message(entity.code.as_str(), &problem))
    });
    reactive_view(move || {
        refused.get().map(|why| {
            view! {
                <div class="banner danger strip" role="status">{icon("conflict")}
                    <span class="grow"><strong>"A change was not taken. "</strong>{why}</span>
                    <button class="btn sm" on:click=move |_| overlays.tray.set(true)>"Review"</button>
                </div>
            }
        })
    })
}

/// On the page of a thing that is not there: what was typed about it is.
#[component]
pub fn OrphanedEdits(
    /// The thing.
    entity: EntityRef,
) -> impl IntoView {
    let (status, overlays) = (client().status.clone(), expect_context::<OverlayState>());
    let draft = use_draft(entity.clone());
    reactive_view(move || {
        status.track();
        let refused = rejected_entry(&entity).map(|entry| entry.local_values()).filter(|typed| !typed.is_empty());
        let drafted = draft.draft.get().map(|draft| draft.current_data).filter(|typed| !typed.is_empty());
        let code = entity.code.as_str();
        let refused = refused.map(|values| view! { {values_view(code, &values)}<button class="btn sm" on:click=move |_| overlays.tray.set(true)>"Review"</button> });
        let drafted = drafted.map(|values| view! { {values_view(code, &values)}<button class="btn sm" on:click=move |_| draft.discard()>"Discard the draft"</button> });
        (refused.is_some() || drafted.is_some()).then(|| view! { <section class="left-behind" data-testid="left-behind"><h3>"What you typed is still here"</h3>{refused}{drafted}</section> })
    })
}
