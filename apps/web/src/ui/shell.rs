//! The frame around every page: sidebar, top bar, sync mark, bottom bar on a phone.

use super::cell::{avatar, icon};
use super::devtools::Devtools;
use super::dialog::Dialog;
use super::live::{follow, live};
use super::merge::MergeDialog;
use super::typed::{typed, why};
use crate::client::{Presence, client, write_ids};
use crate::hooks::{catalogue, use_entity_codes, use_status};
use leptos::prelude::*;
use leptos_router::components::A;
use leptos_router::hooks::use_location;
use pmo_domain::{EntityRef, EntityType, order};
use pmo_sync::{Choice, Entry, EntryState, Event, Operation};
use uuid::Uuid;
use wasm_bindgen_futures::spawn_local;

/// What opens over the page from anywhere.
#[derive(Clone, Copy)]
pub struct Overlays {
    /// The tray of waiting and refused changes.
    pub tray: RwSignal<bool>,
    /// The question before signing out with unsent work.
    pub leaving: RwSignal<bool>,
    /// The phone's menu.
    pub menu: RwSignal<bool>,
    /// The write whose conflict is settled.
    pub merging: RwSignal<Option<Uuid>>,
}

/// The frame.
#[component]
pub fn Shell(children: Children) -> impl IntoView {
    let [tray, leaving, menu] = [false; 3].map(RwSignal::new);
    let overlays = Overlays { tray, leaving, menu, merging: RwSignal::new(None) };
    provide_context(overlays);
    view! {
        <div class="app">
            <a class="skip btn primary" href="#main">"Skip to content"</a>
            <Sidebar/>
            <main class="main" id="main">{children()}</main>
            <TabBar/>
            {live(move || overlays.tray.get().then(|| view! { <Tray/> }))}
            {live(move || overlays.leaving.get().then(|| view! { <Leaving/> }))}
            {live(move || overlays.menu.get().then(|| view! { <PhoneMenu/> }))}
            <MergeDialog which=overlays.merging/>
            <Devtools/>
        </div>
    }
}

fn roots() -> Vec<EntityType> {
    let roots = catalogue().types.values().filter(|t| t.root_flag).cloned().collect();
    order::sorted(roots, |a: &EntityType, b| a.display_order.cmp(&b.display_order))
}

#[component]
fn Navigation() -> impl IntoView {
    let codes = use_entity_codes();
    let location = use_location();
    let items = live(move || {
        codes.with(|_| ());
        let path = location.pathname.get();
        roots()
            .into_iter()
            .map(|root| {
                let address = format!("/{}", root.code);
                let here = path == address || path.starts_with(&format!("{address}/"));
                view! { <li><A href=address attr:aria-current=here.then_some("page")>{icon(&root.ui_icon)}<span>{root.ui_label}</span></A></li> }
            })
            .collect_view()
    });
    view! { <ul>{items}</ul> }
}

#[component]
fn Sidebar() -> impl IntoView {
    view! {
        <nav class="sidebar" aria-label="Main">
            <div class="org"><span class="mark"><i class="i i-logo" aria-hidden="true"></i></span><strong>"Program Office"</strong></div>
            <div class="scroll"><h2>"Everything"</h2><Navigation/></div>
            <div class="foot">
                <SyncMark/>
                <div class="who"><Who/><ThemeButton/><SignOutButton/></div>
            </div>
        </nav>
    }
}

#[component]
fn Who() -> impl IntoView {
    let presence = client().presence.clone();
    live(move || match presence.get() {
        Presence::Here(user) | Presence::Ended(user) => {
            view! { {avatar(&user.person_id.to_string(), &user.name)}<span>{user.name.clone()}</span> }.into_any()
        }
        _ => ().into_any(),
    })
}

/// Switches between light and dark, and remembers it on this device.
#[component]
fn ThemeButton() -> impl IntoView {
    let switch = move |_| {
        let Some(root) = document().document_element() else { return };
        let system_dark =
            window().match_media("(prefers-color-scheme: dark)").ok().flatten().is_some_and(|m| m.matches());
        let dark = root.get_attribute("data-theme").map_or(system_dark, |t| t == "dark");
        let theme = if dark { "light" } else { "dark" };
        let _ = root.set_attribute("data-theme", theme);
        if let Ok(Some(storage)) = window().local_storage() {
            let _ = storage.set_item("theme", theme);
        }
    };
    view! { <button class="btn quiet icon sm" aria-label="Switch between light and dark" title="Light or dark" on:click=switch>{icon("moon")}</button> }
}

fn sign_out(overlays: Overlays) {
    let unsent = client().read(|e| !e.outbox().is_empty() || e.draft_count() > 0);
    if unsent {
        overlays.leaving.set(true);
    } else {
        spawn_local(client().sign_out(false));
    }
}

#[component]
fn SignOutButton() -> impl IntoView {
    let overlays = expect_context::<Overlays>();
    view! { <button class="btn quiet icon sm" aria-label="Sign out" title="Sign out" on:click=move |_| sign_out(overlays)>{icon("log-out")}</button> }
}

/// What the sync mark says: kind and words.
fn sync_words(status: &pmo_sync::Status, trouble: Option<&str>) -> (&'static str, &'static str, String) {
    let changes = |n: usize| if n == 1 { "1 change".to_owned() } else { format!("{n} changes") };
    if status.attention > 0 {
        return ("attention", "conflict", format!("Needs attention: {}", changes(status.attention)));
    }
    if !status.online {
        let place = if trouble.is_some() { "in this tab only" } else { "saved on this device" };
        let words = if status.waiting > 0 {
            format!("Offline · {} {place}", changes(status.waiting))
        } else {
            "Offline".to_owned()
        };
        return ("offline", "cloud-off", words);
    }
    if status.waiting > 0 {
        return ("syncing", "refresh-cw", format!("Syncing {}", changes(status.waiting)));
    }
    if !status.live {
        return ("syncing", "refresh-cw", "Connecting".to_owned());
    }
    ("synced", "circle-check", "Synced".to_owned())
}

/// The one place that says how things stand with the server. Opens the tray.
#[component]
pub fn SyncMark(
    /// Only the sign, for a phone's top bar.
    #[prop(optional)]
    compact: bool,
) -> impl IntoView {
    let status = use_status();
    let trouble = client().device_trouble.clone();
    let overlays = expect_context::<Overlays>();
    let words = Memo::new(move |_| sync_words(&status.get(), trouble.get().as_deref()));
    view! {
        <button class=follow(move || format!("sync {}{}", words.get().0, if compact { " compact phone btn quiet" } else { "" }))
            data-testid=if compact { "sync-compact" } else { "sync" }
            aria-label=follow(move || words.get().2) on:click=move |_| overlays.tray.set(true)>
            {live(move || icon(words.get().1))}<span>{live(move || words.get().2)}</span>
        </button>
    }
}

/// A strip below the top bar that says once that there is no network, or that the device keeps nothing.
#[component]
pub fn Strips() -> impl IntoView {
    let status = use_status();
    let trouble = client().device_trouble.clone();
    let newer = client().newer_build.clone();
    let overlays = expect_context::<Overlays>();
    let offline = Memo::new(move |_| {
        let status = status.get();
        (!status.online).then_some(status.waiting)
    });
    view! {
        {live(move || offline.get().map(|waiting| view! {
            <div class="banner warning strip" role="status">{icon("cloud-off")}
                <span class="grow"><strong>{if window().navigator().on_line() { "The server can't be reached. " } else { "You are offline. " }}</strong>
                    {if waiting > 0 { format!("Keep working: {waiting} change{} will be sent as soon as it can be.", if waiting == 1 { "" } else { "s" }) }
                     else { "What was opened before is still here, and can be edited.".to_owned() }}
                </span>
                <button class="btn quiet sm" on:click=move |_| client().dispatch(Event::Shown(true))>"Try now"</button>
                {(waiting > 0).then(|| view! { <button class="btn quiet sm" on:click=move |_| overlays.tray.set(true)>"Review"</button> })}
            </div>
        }))}
        {live(move || trouble.get().map(|why| view! {
            <div class="banner danger strip" role="status">{icon("hard-drive")}
                <span class="grow"><strong>"Nothing can be kept on this device. "</strong>{format!("Changes are sent, but would not outlive this tab ({why}).")}</span>
            </div>
        }))}
        {live(move || newer.get().then(|| view! {
            <div class="banner strip" role="status">{icon("info")}
                <span class="grow">"A newer build is ready. "<strong>"Your drafts stay."</strong></span>
                <button class="btn sm" on:click=move |_| crate::pages::take_newer_build()>"Reload"</button>
            </div>
        }))}
    }
}

#[component]
fn TabBar() -> impl IntoView {
    let overlays = expect_context::<Overlays>();
    let codes = use_entity_codes();
    let location = use_location();
    let items = live(move || {
        codes.with(|_| ());
        let path = location.pathname.get();
        roots()
            .into_iter()
            .take(3)
            .map(|root| {
                let address = format!("/{}", root.code);
                let here = path == address || path.starts_with(&format!("{address}/"));
                view! { <A href=address attr:aria-current=here.then_some("page")>{icon(&root.ui_icon)}{root.ui_label}</A> }
            })
            .collect_view()
    });
    view! {
        <nav class="tabbar" aria-label="Main, phone">
            {items}
            <button on:click=move |_| overlays.menu.set(true)>{icon("menu")}"More"</button>
        </nav>
    }
}

#[component]
fn PhoneMenu() -> impl IntoView {
    let overlays = expect_context::<Overlays>();
    let close = Callback::new(move |()| overlays.menu.set(false));
    view! {
        <Dialog title="More" close=close>
            <div class="body phone-menu" on:click=move |_| overlays.menu.set(false)>
                <div class="sidebar-list"><Navigation/></div>
                <div class="who"><Who/><ThemeButton/><button class="btn" on:click=move |_| sign_out(overlays)>{icon("log-out")}"Sign out"</button></div>
            </div>
        </Dialog>
    }
}

#[component]
fn Leaving() -> impl IntoView {
    let overlays = expect_context::<Overlays>();
    let close = Callback::new(move |()| overlays.leaving.set(false));
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
fn Tray() -> impl IntoView {
    let overlays = expect_context::<Overlays>();
    let status = client().status.clone();
    let close = Callback::new(move |()| overlays.tray.set(false));
    let entries = live(move || {
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
fn draft_view(entity: &EntityRef, overlays: Overlays) -> AnyView {
    let name = client().read(|e| e.name(entity.code.as_str(), entity.id)).unwrap_or_else(|| entity.code.to_string());
    view! { <li>{icon("pencil")}<A href=format!("/{}/{}", entity.code, entity.id) attr:class="grow" on:click=move |_| overlays.tray.set(false)>{name}</A></li> }.into_any()
}

fn entry_view(entry: Entry, overlays: Overlays) -> impl IntoView {
    let name = client()
        .read(|e| e.name(entry.entity.code.as_str(), entry.entity.id))
        .or_else(|| Some(entry.mine().get("name")?.as_str()?.to_owned()));
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
        Operation::Link { parent, below } => {
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
    let seen = entry.key;
    let settle = move |choice: Choice| client().dispatch(Event::Settle { entry: id, seen, choice });
    let review = move |_| {
        overlays.tray.set(false);
        overlays.merging.set(Some(id));
    };
    let (sign, detail, actions) = match &entry.state {
        EntryState::Waiting => (
            "pending",
            if entry.saved { "Saved on this device, waits to be sent".to_owned() } else { "Being saved".to_owned() },
            view! { <button class="btn quiet sm" on:click=move |_| client().dispatch(Event::Discard(id))>"Discard"</button> }.into_any(),
        ),
        EntryState::Conflict { fields, .. } => {
            let both: Vec<String> = fields.iter().map(label).collect();
            let words = if both.is_empty() { "Somebody changed it after you looked.".to_owned() } else { format!("Somebody else changed {} as well.", both.join(", ")) };
            ("conflict", words, view! { <button class="btn sm" on:click=review>"Review"</button> }.into_any())
        }
        EntryState::Refused { problem } => {
            let words = why(entry.entity.code.as_str(), problem);
            (
                "conflict",
                words,
                view! {
                    <button class="btn quiet sm" on:click=move |_| settle(Choice::Theirs)>"Discard"</button>
                    {editable.then(|| view! { <A href=address.clone() attr:class="btn quiet sm" on:click=move |_| { overlays.tray.set(false); client().dispatch(Event::Reopen(id)); }>"Edit"</A> })}
                    <button class="btn sm" on:click=move |_| settle(Choice::Mine(write_ids()[1]))>"Try again"</button>
                }
                .into_any(),
            )
        }
    };
    let values =
        matches!(entry.state, EntryState::Refused { .. }).then(|| typed(entry.entity.code.as_str(), &entry.mine()));
    view! {
        <li>{icon(sign)}<div class="grow"><strong>{name}</strong><span class="meta">{what}" · "{detail}{others}</span>{values}<div class="buttons">{actions}</div></div></li>
    }
}
