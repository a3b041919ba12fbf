//! The frame around every page: sidebar, top bar, sync mark, bottom bar on a phone.

use super::command_palette::PaletteMode;
use super::dialog::Dialog;
use super::reactive::{reactive_attr, reactive_view};
use super::value_view::{avatar, icon};
use crate::client::{AuthState, client, local_storage};
use crate::hooks::{catalogue, use_entity_codes, use_status};
use crate::lazy::lazy_overlay;
use leptos::prelude::*;
use leptos_router::components::A;
use leptos_router::hooks::use_location;
use pmo_domain::{EntityCode, EntityType, sort};
use pmo_sync::Event;
use std::sync::Arc;
use uuid::Uuid;
use wasm_bindgen_futures::spawn_local;

/// What opens over the page from anywhere.
#[derive(Clone, Copy)]
pub struct OverlayState {
    /// The tray of waiting and refused changes.
    pub tray: RwSignal<bool>,
    /// The question before signing out with unsent work.
    pub sign_out_open: RwSignal<bool>,
    /// The phone's menu.
    pub menu: RwSignal<bool>,
    /// The write whose conflict is settled.
    pub merging: RwSignal<Option<Uuid>>,
    /// What is asked of the palette.
    pub palette_mode: RwSignal<Option<PaletteMode>>,
    /// The type of a thing that is being made from anywhere.
    pub creating: RwSignal<Option<EntityCode>>,
    /// What was just done, where it can be taken back.
    pub done: RwSignal<Option<UndoableAction>>,
}

/// Something that was done, and what takes it back.
#[derive(Clone)]
pub struct UndoableAction {
    /// What it was, in words.
    pub words: String,
    /// Takes it back, where that can be. It outlives the page that it was done on.
    pub undo: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// The frame.
#[component]
pub fn AppLayout(children: Children) -> impl IntoView {
    let [tray, leaving, menu] = [false; 3].map(RwSignal::new);
    let overlays = OverlayState {
        tray,
        sign_out_open: leaving,
        menu,
        merging: RwSignal::new(None),
        palette_mode: RwSignal::new(None),
        creating: RwSignal::new(None),
        done: RwSignal::new(None),
    };
    provide_context(overlays);
    install_shortcuts(overlays);
    view! {
        <div class="app">
            <a class="skip btn primary" href="#main">"Skip to content"</a>
            <Sidebar/>
            <main class="main" id="main">{children()}</main>
            <TabBar/>
            {reactive_view(move || overlays.menu.get().then(|| view! { <PhoneMenu/> }))}
            {lazy_overlay(|pages| (pages.overlays)())}
        </div>
    }
}

/// The keys that work everywhere: Ctrl K or ⌘ K asks the palette, and closes it; outside fields `/` as well, and `C` makes something.
fn install_shortcuts(overlays: OverlayState) {
    let keys = window_event_listener(leptos::ev::keydown, move |event| {
        let command = (event.ctrl_key() || event.meta_key()) && !event.alt_key() && !event.shift_key();
        let typing = document()
            .active_element()
            .is_some_and(|e| matches!(e.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT"));
        let bare = !typing && !event.ctrl_key() && !event.meta_key() && !event.alt_key();
        let dialog = || document().query_selector("[role=dialog]").ok().flatten().is_some();
        let asked = match event.key().as_str() {
            // Not over a question that waits for its answer.
            "k" | "K" if command && (overlays.palette_mode.with_untracked(Option::is_some) || !dialog()) => {
                PaletteMode::Anything
            }
            "/" if bare && !dialog() => PaletteMode::Anything,
            "c" if bare && !dialog() => PaletteMode::Make,
            _ => return,
        };
        event.prevent_default();
        overlays.palette_mode.update(|now| *now = if now.is_some() && command { None } else { Some(asked) });
    });
    on_cleanup(move || keys.remove());
}

fn root_types() -> Vec<EntityType> {
    let roots = catalogue().types.values().filter(|t| t.root_flag).cloned().collect();
    sort::sorted(roots, |a: &EntityType, b| a.display_order.cmp(&b.display_order))
}

#[component]
fn Navigation() -> impl IntoView {
    let codes = use_entity_codes();
    let location = use_location();
    let items = reactive_view(move || {
        codes.with(|_| ());
        let path = location.pathname.get();
        root_types()
            .into_iter()
            .map(|root| {
                let address = format!("/{}", root.code);
                let here = path == address || path.starts_with(&format!("{address}/"));
                view! { <li><A href=address attr:aria-current=here.then_some("page")>{icon(&root.ui_icon)}<span>{root.ui_label}</span></A></li> }
            })
            .collect_view()
    });
    let administers = Memo::new(move |_| codes.get().get("role").is_some_and(|role| role.can_create));
    let administration = reactive_view(move || {
        let here = location.pathname.get().starts_with("/admin/");
        administers.get().then(|| view! { <li><A href="/admin/people" attr:aria-current=here.then_some("page")>{icon("settings")}<span>"Administration"</span></A></li> })
    });
    view! { <ul>{items}{administration}</ul> }
}

#[component]
fn Sidebar() -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    view! {
        <nav class="sidebar" aria-label="Main">
            <div class="org"><span class="mark"><i class="i i-logo" aria-hidden="true"></i></span><strong>"Program Office"</strong><span class="grow"></span>
                <button class="btn quiet icon" aria-label="Make something (C)" title="Make something (C)" on:click=move |_| overlays.palette_mode.set(Some(PaletteMode::Make))>{icon("plus")}</button></div>
            <button class="find" on:click=move |_| overlays.palette_mode.set(Some(PaletteMode::Anything))>{icon("search")}<span>"Search or jump to"</span><kbd>"Ctrl K"</kbd></button>
            <div class="scroll"><h2>"Everything"</h2><Navigation/></div>
            <div class="foot">
                <SyncStatusButton/>
                <div class="who"><CurrentUser/><ThemeButton/><SignOutButton/></div>
            </div>
        </nav>
    }
}

#[component]
fn CurrentUser() -> impl IntoView {
    let presence = client().presence.clone();
    reactive_view(move || match presence.get() {
        AuthState::SignedIn(user) | AuthState::SessionExpired(user) => {
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

fn sign_out(overlays: OverlayState) {
    let unsent = client().read(|e| !e.outbox().is_empty() || e.draft_count() > 0) || local_storage::has_entries();
    if unsent {
        overlays.sign_out_open.set(true);
    } else {
        spawn_local(client().sign_out(false));
    }
}

#[component]
fn SignOutButton() -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    view! { <button class="btn quiet icon sm" aria-label="Sign out" title="Sign out" on:click=move |_| sign_out(overlays)>{icon("log-out")}</button> }
}

/// What the sync mark says: kind and words.
fn sync_status_text(status: &pmo_sync::Status, trouble: Option<&str>) -> (&'static str, &'static str, String) {
    let changes = |n: usize| if n == 1 { "1 change".to_owned() } else { format!("{n} changes") };
    if status.needs_attention > 0 {
        return ("attention", "conflict", format!("Needs attention: {}", changes(status.needs_attention)));
    }
    if !status.online {
        let place = if trouble.is_some() { "in this tab only" } else { "saved on this device" };
        let words = if status.pending_writes > 0 {
            format!("Offline · {} {place}", changes(status.pending_writes))
        } else {
            "Offline".to_owned()
        };
        return ("offline", "cloud-off", words);
    }
    if status.pending_writes > 0 {
        return ("syncing", "refresh-cw", format!("Syncing {}", changes(status.pending_writes)));
    }
    if !status.live {
        return ("syncing", "refresh-cw", "Connecting".to_owned());
    }
    ("synced", "circle-check", "Synced".to_owned())
}

/// The one place that says how things stand with the server. Opens the tray.
#[component]
pub fn SyncStatusButton(
    /// Only the sign, for a phone's top bar.
    #[prop(optional)]
    compact: bool,
) -> impl IntoView {
    let status = use_status();
    let trouble = client().device_trouble.clone();
    let overlays = expect_context::<OverlayState>();
    let words = Memo::new(move |_| sync_status_text(&status.get(), trouble.get().as_deref()));
    view! {
        <button class=reactive_attr(move || format!("sync {}{}", words.get().0, if compact { " compact phone btn quiet" } else { "" }))
            data-testid=if compact { "sync-compact" } else { "sync" }
            aria-label=reactive_attr(move || words.get().2) on:click=move |_| overlays.tray.set(true)>
            {reactive_view(move || icon(words.get().1))}<span>{reactive_view(move || words.get().2)}</span>
        </button>
    }
}

/// A strip below the top bar that says once that there is no network, or that the device keeps nothing.
#[component]
pub fn Banners() -> impl IntoView {
    let status = use_status();
    let trouble = client().device_trouble.clone();
    let newer = client().update_available.clone();
    let overlays = expect_context::<OverlayState>();
    let offline = Memo::new(move |_| {
        let status = status.get();
        (!status.online).then_some(status.pending_writes)
    });
    view! {
        {reactive_view(move || offline.get().map(|waiting| view! {
            <div class="banner warning strip" role="status">{icon("cloud-off")}
                <span class="grow"><strong>{if window().navigator().on_line() { "The server can't be reached. " } else { "You are offline. " }}</strong>
                    {if waiting > 0 { format!("Keep working: {waiting} change{} will be sent as soon as it can be.", if waiting == 1 { "" } else { "s" }) }
                     else { "What was opened before is still here, and can be edited.".to_owned() }}
                </span>
                <button class="btn quiet sm" on:click=move |_| client().dispatch(Event::VisibilityChanged(true))>"Try now"</button>
                {(waiting > 0).then(|| view! { <button class="btn quiet sm" on:click=move |_| overlays.tray.set(true)>"Review"</button> })}
            </div>
        }))}
        {reactive_view(move || trouble.get().map(|why| view! {
            <div class="banner danger strip" role="status">{icon("hard-drive")}
                <span class="grow"><strong>"Nothing can be kept on this device. "</strong>{format!("Changes are sent, but would not outlive this tab ({why}).")}</span>
            </div>
        }))}
        {reactive_view(move || newer.get().then(|| view! {
            <div class="banner strip" role="status">{icon("info")}
                <span class="grow">"A newer build is ready. "<strong>"Your drafts stay."</strong></span>
                <button class="btn sm" on:click=move |_| crate::pages::apply_update()>"Reload"</button>
            </div>
        }))}
    }
}

#[component]
fn TabBar() -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    let codes = use_entity_codes();
    let location = use_location();
    let items = reactive_view(move || {
        codes.with(|_| ());
        let path = location.pathname.get();
        root_types()
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
            <button on:click=move |_| overlays.palette_mode.set(Some(PaletteMode::Anything))>{icon("search")}"Search"</button>
            <button on:click=move |_| overlays.menu.set(true)>{icon("menu")}"More"</button>
        </nav>
    }
}

#[component]
fn PhoneMenu() -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    let close = Callback::new(move |()| overlays.menu.set(false));
    view! {
        <Dialog title="More" close=close>
            <div class="body phone-menu" on:click=move |_| overlays.menu.set(false)>
                <div class="sidebar-list"><Navigation/></div>
                <div class="who"><CurrentUser/><ThemeButton/><button class="btn" on:click=move |_| sign_out(overlays)>{icon("log-out")}"Sign out"</button></div>
            </div>
        </Dialog>
    }
}
