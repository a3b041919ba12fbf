//! Tray of the changes that are not sent yet.

use super::dialog::Dialog;
use super::overlay_state::OverlayState;
use super::reactive::reactive_view;
use super::rejected_edits::{rejection_message, values_view};
use super::value_view::icon;
use crate::client::{client, new_write_ids};
use crate::hooks::catalog;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::EntityRef;
use pmo_sync::{EntryState, Event, Operation, OutboxEntry, Resolution};

/// Tray of the pending, conflicting and rejected writes, and of the drafts.
#[component]
pub(crate) fn SyncTray() -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    let status = client().status.clone();
    let close = Callback::new(move |()| overlays.tray.set(false));
    let entries = reactive_view(move || {
        status.track();
        let (entries, drafts) =
            client().read(|e| (e.outbox().to_vec(), e.drafts().map(|d| d.entity.clone()).collect::<Vec<_>>()));
        let drafts: Vec<_> = drafts.into_iter().map(|entity| draft_view(&entity, overlays)).collect();
        let drafts = (!drafts.is_empty())
            .then(|| view! { <h3 class="subheading">"Unsaved drafts"</h3><ul class="rows tray">{drafts}</ul> });
        let entries = if entries.is_empty() {
            view! { <p class="softer">"No pending changes. Changes appear here while they wait for the network or need your attention."</p> }.into_any()
        } else {
            view! { <ul class="rows tray">{entries.into_iter().map(|entry| entry_view(entry, overlays)).collect_view()}</ul> }.into_any()
        };
        view! { {entries}{drafts} }
    });
    view! { <Dialog title="Pending changes" close=close><div class="body">{entries}</div></Dialog> }
}

/// Returns a draft in the tray: the name of its entity, as a link to its page.
fn draft_view(entity: &EntityRef, overlays: OverlayState) -> AnyView {
    let name = client().read(|e| e.name(entity.code.as_str(), entity.id)).unwrap_or_else(|| entity.code.to_string());
    view! { <li>{icon("pencil")}<A href=format!("/{}/{}", entity.code, entity.id) attr:class="grow" on:click=move |_| overlays.tray.set(false)>{name}</A></li> }.into_any()
}

/// Returns a write in the tray: entity, columns, state, and the actions that the state allows.
fn entry_view(entry: OutboxEntry, overlays: OverlayState) -> impl IntoView {
    let name = client()
        .read(|e| e.name(entry.entity.code.as_str(), entry.entity.id))
        .or_else(|| Some(entry.local_values().get("name")?.as_str()?.to_owned()));
    let catalog = catalog();
    let kind = catalog.get(entry.entity.code.as_str());
    let exists = client().read(|e| e.is_known(&entry.entity));
    let name = name.unwrap_or_else(|| {
        let type_name = kind.map_or_else(|| entry.entity.code.to_string(), |kind| kind.name.clone());
        if exists { type_name } else { format!("{type_name} (deleted)") }
    });
    let label = |column: &String| {
        let metadata = catalog.get(entry.entity.code.as_str()).and_then(|t| t.column(column));
        metadata.map_or_else(|| column.clone(), |c| c.label.clone())
    };
    let description = match &entry.operation {
        Operation::Create { .. } => format!("New {}", kind.map(|kind| kind.name.to_lowercase()).unwrap_or_default()),
        Operation::Delete { .. } => "Delete".to_owned(),
        Operation::Link { parent, linked } => {
            let parent_name =
                client().read(|e| e.name(parent.code.as_str(), parent.id)).unwrap_or_else(|| parent.code.to_string());
            format!("{} {parent_name}", if *linked { "Link to" } else { "Unlink from" })
        }
        Operation::Update { patch, .. } => patch.keys().map(label).collect::<Vec<_>>().join(", "),
    };
    let id = entry.id;
    // The draft of a deleted entity cannot be opened.
    let editable = exists && matches!(entry.operation, Operation::Update { .. });
    let dependents = client().read(|e| e.with_dependents(id).len()) - 1;
    let dependents = (dependents > 0).then(|| format!(" · discarding it also discards {dependents} more"));
    let href = format!("/{}/{}", entry.entity.code, entry.entity.id);
    let seen = entry.idempotency_key;
    let resolve = move |choice: Resolution| client().dispatch(Event::ResolveConflict { entry: id, seen, choice });
    let review = move |_| {
        overlays.tray.set(false);
        overlays.conflict_entry.set(Some(id));
    };
    let (icon_name, detail, actions) = match &entry.state {
        EntryState::Pending => (
            "pending",
            if entry.persisted { "Saved locally, pending sync".to_owned() } else { "Saving…".to_owned() },
            view! { <button class="btn quiet sm" on:click=move |_| client().dispatch(Event::Discard(id))>"Discard"</button> }.into_any(),
        ),
        EntryState::Conflict { fields, .. } => {
            let labels: Vec<String> = fields.iter().map(label).collect();
            let message = if labels.is_empty() { "Changed by someone else.".to_owned() } else { format!("Someone else also changed {}.", labels.join(", ")) };
            ("conflict", message, view! { <button class="btn sm" on:click=review>"Review"</button> }.into_any())
        }
        EntryState::Rejected { problem } => {
            let message = rejection_message(entry.entity.code.as_str(), problem);
            (
                "conflict",
                message,
                view! {
                    <button class="btn quiet sm" on:click=move |_| resolve(Resolution::TakeTheirs)>"Discard"</button>
                    {editable.then(|| view! { <A href=href.clone() attr:class="btn quiet sm" on:click=move |_| { overlays.tray.set(false); client().dispatch(Event::RevertToDraft(id)); }>"Edit"</A> })}
                    <button class="btn sm" on:click=move |_| resolve(Resolution::KeepMine(new_write_ids().idempotency_key))>"Try again"</button>
                }
                .into_any(),
            )
        }
    };
    let values = matches!(entry.state, EntryState::Rejected { .. })
        .then(|| values_view(entry.entity.code.as_str(), &entry.local_values()));
    view! {
        <li>{icon(icon_name)}<div class="grow"><strong>{name}</strong><span class="meta">{description}" · "{detail}{dependents}</span>{values}<div class="buttons">{actions}</div></div></li>
    }
}
