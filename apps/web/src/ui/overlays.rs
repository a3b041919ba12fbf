//! What opens over a page from anywhere: the tray of what is not sent, the question before signing out, the merge of a conflict, the devtools.

use super::command_palette::Palette;
use super::conflict_dialog::ConflictDialog;
use super::devtools::Devtools;
use super::dialog::Dialog;
use super::layout::{OverlayState, UndoableAction};
use super::reactive::reactive_view;
use super::rejected_edits::{rejection_message, values_view};
use super::value_view::icon;
use crate::client::{client, http, new_id, new_write_ids};
use crate::hooks::{catalogue, invalidate_entity_queries, use_entity_mutation};
use crate::pages::{NewDialog, UploadTray, prevent_window_drop};
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::EntityRef;
use pmo_sync::{EntryState, Event, Operation, OutboxEntry, Resolution};
use serde_json::json;
use std::sync::Arc;
use wasm_bindgen_futures::spawn_local;

/// All of them, each drawn when it is open.
#[component]
pub fn Overlays() -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    prevent_window_drop();
    view! {
        {reactive_view(move || overlays.tray.get().then(|| view! { <SyncTray/> }))}
        {reactive_view(move || overlays.sign_out_open.get().then(|| view! { <SignOutDialog/> }))}
        <ConflictDialog which=overlays.merging/>
        <Palette/>
        {reactive_view(move || overlays.creating.get().map(|code| {
            let open = RwSignal::new(true);
            Effect::new(move || if !open.get() { overlays.creating.set(None) });
            view! { <NewDialog code=code parent=None open=open/> }
        }))}
        <div class="toasts" aria-live="polite">{reactive_view(move || overlays.done.get().map(|done| view! { <Toast done=done/> }))}</div>
        <UploadTray/>
        <Devtools/>
    }
}

/// How long what was done can be taken back from where it was said.
const TOAST_DURATION: std::time::Duration = std::time::Duration::from_secs(8);

/// Between two looks whether a deletion is still on its way.
const STATUS_POLL_INTERVAL: std::time::Duration = std::time::Duration::from_millis(100);

/// Says what was done, for as long as it can be taken back here.
#[component]
fn Toast(done: UndoableAction) -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    let UndoableAction { words, undo } = done;
    let gone = set_timeout_with_handle(move || overlays.done.set(None), TOAST_DURATION);
    on_cleanup(move || {
        if let Ok(gone) = gone {
            gone.clear();
        }
    });
    let sign = if undo.is_some() { "check" } else { "circle-alert" };
    let undo = undo.map(|undo| {
        let back = move |_| {
            overlays.done.set(None);
            undo();
        };
        view! { <button class="btn quiet sm" on:click=back>"Undo"</button> }
    });
    view! { <div class="toast" role="status">{icon(sign)}<span class="grow">{words}</span>{undo}</div> }
}

/// Deletes things, and says so where it can be taken back: what has not been sent is not sent, what has been is brought back by the server.
pub fn delete_with_undo(overlays: OverlayState, things: Vec<EntityRef>, words: String) {
    for thing in &things {
        use_entity_mutation(thing.code.clone()).delete(thing.id);
    }
    let undo = Arc::new(move || {
        for thing in things.clone() {
            let waits =
                |e: &&OutboxEntry| e.entity == thing && matches!(e.operation, Operation::Delete { .. }) && !e.in_flight;
            match client().read(|e| e.outbox().iter().find(waits).map(|e| e.id)) {
                Some(entry) => client().dispatch(Event::Discard(entry)),
                None => spawn_local(async move {
                    if let Err(words) = restore_entity(thing).await {
                        overlays.done.set(Some(UndoableAction { words, undo: None }));
                    }
                }),
            }
        }
    });
    overlays.done.set(Some(UndoableAction { words, undo: Some(undo) }));
}

/// Asks the server to bring a deleted thing back, once its deletion is not on its way any more; the error is for people.
pub async fn restore_entity(thing: EntityRef) -> Result<(), String> {
    let on_its_way = |e: &OutboxEntry| e.entity == thing && matches!(e.operation, Operation::Delete { .. });
    let looks = 30_000 / STATUS_POLL_INTERVAL.as_millis();
    for _ in 0..looks {
        if !client().read(|e| e.outbox().iter().any(on_its_way)) {
            break;
        }
        gloo_timers::future::sleep(STATUS_POLL_INTERVAL).await;
    }
    let path = format!("/{}/{}/restore", thing.code, thing.id);
    http::request(http::Method::POST, &path, Some(&json!({})), Some(&new_id().to_string())).await?;
    invalidate_entity_queries(&thing.code, None);
    Ok(())
}

#[component]
fn SignOutDialog() -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    let close = Callback::new(move |()| overlays.sign_out_open.set(false));
    let waiting = client().read(|e| e.outbox().len() + e.draft_count());
    view! {
        <Dialog title="Sign out with unsent work?" lead=format!("{waiting} change{} or draft{0} on this device not yet sent.", if waiting == 1 { "" } else { "s" }) close=close>
            <footer class="buttons">
                <button class="btn quiet" on:click=move |_| close.run(())>"Stay"</button>
                <button class="btn danger" on:click=move |_| spawn_local(client().sign_out(false))>"Discard and sign out"</button>
                <button class="btn primary" on:click=move |_| spawn_local(client().sign_out(true))>"Keep for my next sign-in"</button>
            </footer>
        </Dialog>
    }
}

/// What waits, what is refused, what needs a choice.
#[component]
fn SyncTray() -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    let status = client().status.clone();
    let close = Callback::new(move |()| overlays.tray.set(false));
    let entries = reactive_view(move || {
        status.track();
        let (entries, drafts) =
            client().read(|e| (e.outbox().to_vec(), e.drafts().map(|d| d.entity.clone()).collect::<Vec<_>>()));
        let drafts: Vec<_> = drafts.into_iter().map(|entity| draft_view(&entity, overlays)).collect();
        let drafts = (!drafts.is_empty())
            .then(|| view! { <h3 class="left-out">"Drafts, not saved yet"</h3><ul class="rows tray">{drafts}</ul> });
        let entries = if entries.is_empty() {
            view! { <p class="softer">"Everything has been sent. Changes appear here while they wait for the network, or when they need you."</p> }.into_any()
        } else {
            view! { <ul class="rows tray">{entries.into_iter().map(|entry| entry_view(entry, overlays)).collect_view()}</ul> }.into_any()
        };
        view! { {entries}{drafts} }
    });
    view! { <Dialog title="Changes not sent yet" close=close><div class="body">{entries}</div></Dialog> }
}

/// A draft, by the name of its thing: a link to where it goes on.
fn draft_view(entity: &EntityRef, overlays: OverlayState) -> AnyView {
    let name = client().read(|e| e.name(entity.code.as_str(), entity.id)).unwrap_or_else(|| entity.code.to_string());
    view! { <li>{icon("pencil")}<A href=format!("/{}/{}", entity.code, entity.id) attr:class="grow" on:click=move |_| overlays.tray.set(false)>{name}</A></li> }.into_any()
}

fn entry_view(entry: OutboxEntry, overlays: OverlayState) -> impl IntoView {
    let name = client()
        .read(|e| e.name(entry.entity.code.as_str(), entry.entity.id))
        .or_else(|| Some(entry.local_values().get("name")?.as_str()?.to_owned()));
    let catalogue = catalogue();
    let kind = catalogue.get(entry.entity.code.as_str());
    let there = client().read(|e| e.is_known(&entry.entity));
    let name = name.unwrap_or_else(|| {
        let one = kind.map_or_else(|| entry.entity.code.to_string(), |kind| kind.name.clone());
        if there { one } else { format!("{one} that is gone") }
    });
    let label = |column: &String| {
        let known = catalogue.get(entry.entity.code.as_str()).and_then(|t| t.column(column));
        known.map_or_else(|| column.clone(), |c| c.label.clone())
    };
    let what = match &entry.operation {
        Operation::Create { .. } => format!("New {}", kind.map(|kind| kind.name.to_lowercase()).unwrap_or_default()),
        Operation::Delete { .. } => "Delete".to_owned(),
        Operation::Link { parent, linked: below } => {
            let above =
                client().read(|e| e.name(parent.code.as_str(), parent.id)).unwrap_or_else(|| parent.code.to_string());
            format!("{} {above}", if *below { "Add to" } else { "Take out of" })
        }
        Operation::Update { patch, .. } => patch.keys().map(label).collect::<Vec<_>>().join(", "),
    };
    let id = entry.id;
    // Of what is gone nobody could open the draft.
    let editable = there && matches!(entry.operation, Operation::Update { .. });
    let others = client().read(|e| e.with_dependents(id).len()) - 1;
    let others = (others > 0).then(|| format!(" · discarding it takes {others} more with it"));
    let address = format!("/{}/{}", entry.entity.code, entry.entity.id);
    let seen = entry.idempotency_key;
    let settle = move |choice: Resolution| client().dispatch(Event::ResolveConflict { entry: id, seen, choice });
    let review = move |_| {
        overlays.tray.set(false);
        overlays.merging.set(Some(id));
    };
    let (sign, detail, actions) = match &entry.state {
        EntryState::Pending => (
            "pending",
            if entry.persisted { "Saved on this device, waits to be sent".to_owned() } else { "Being saved".to_owned() },
            view! { <button class="btn quiet sm" on:click=move |_| client().dispatch(Event::Discard(id))>"Discard"</button> }.into_any(),
        ),
        EntryState::Conflict { fields, .. } => {
            let both: Vec<String> = fields.iter().map(label).collect();
            let words = if both.is_empty() { "Somebody changed it after you looked.".to_owned() } else { format!("Somebody else changed {} as well.", both.join(", ")) };
            ("conflict", words, view! { <button class="btn sm" on:click=review>"Review"</button> }.into_any())
        }
        EntryState::Rejected { problem } => {
            let words = rejection_message(entry.entity.code.as_str(), problem);
            (
                "conflict",
                words,
                view! {
                    <button class="btn quiet sm" on:click=move |_| settle(Resolution::TakeTheirs)>"Discard"</button>
                    {editable.then(|| view! { <A href=address.clone() attr:class="btn quiet sm" on:click=move |_| { overlays.tray.set(false); client().dispatch(Event::RevertToDraft(id)); }>"Edit"</A> })}
                    <button class="btn sm" on:click=move |_| settle(Resolution::KeepMine(new_write_ids()[1]))>"Try again"</button>
                }
                .into_any(),
            )
        }
    };
    let values = matches!(entry.state, EntryState::Rejected { .. })
        .then(|| values_view(entry.entity.code.as_str(), &entry.local_values()));
    view! {
        <li>{icon(sign)}<div class="grow"><strong>{name}</strong><span class="meta">{what}" · "{detail}{others}</span>{values}<div class="buttons">{actions}</div></div></li>
    }
}
