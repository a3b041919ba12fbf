//! Layout around every page: sidebar, sync status, banners, and the tab bar on small screens.

use super::dialog::Dialog;
use super::lazy_views::lazy_ui_overlay;
use super::overlay_state::{OverlayState, PaletteMode};
use super::reactive::{reactive_attr, reactive_view};
use super::value_view::{avatar, icon};
use crate::client::{AuthState, client, local_storage, service_worker};
use crate::hooks::{catalog, use_entity_codes, use_status};
use leptos::prelude::*;
use leptos_router::components::A;
use leptos_router::hooks::use_location;
use pmo_domain::{EntityType, sort};
use pmo_sync::Event;
use wasm_bindgen_futures::spawn_local;

/// Renders the layout around a page.
#[component]
pub(crate) fn AppLayout(children: Children) -> impl IntoView {
    let [tray, sign_out_open, menu] = [false; 3].map(RwSignal::new);
    let overlays = OverlayState {
        tray,
        sign_out_open,
        menu,
        conflict_entry: RwSignal::new(None),
        palette_mode: RwSignal::new(None),
        creating: RwSignal::new(None),
        toast: RwSignal::new(None),
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
            {lazy_ui_overlay(|views| (views.overlays)())}
        </div>
    }
}

/// Installs the global keyboard shortcuts.
///
/// Ctrl K or ⌘ K toggles the command palette. Outside of input fields, `/` opens it for search and
/// `C` opens it to create an entity.
fn install_shortcuts(overlays: OverlayState) {
    let listener = window_event_listener(leptos::ev::keydown, move |event| {
        let command = (event.ctrl_key() || event.meta_key()) && !event.alt_key() && !event.shift_key();
        let typing = document()
            .active_element()
            .is_some_and(|e| matches!(e.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT"));
        let plain_key = !typing && !event.ctrl_key() && !event.meta_key() && !event.alt_key();
        let dialog = || document().query_selector("[role=dialog]").ok().flatten().is_some();
        let mode = match event.key().as_str() {
            // Must not cover an open dialog.
            "k" | "K" if command && (overlays.palette_mode.with_untracked(Option::is_some) || !dialog()) => {
                PaletteMode::Search
            }
            "/" if plain_key && !dialog() => PaletteMode::Search,
            "c" if plain_key && !dialog() => PaletteMode::Create,
            _ => return,
        };
        event.prevent_default();
        overlays.palette_mode.update(|current| *current = if current.is_some() && command { None } else { Some(mode) });
    });
    on_cleanup(move || listener.remove());
}

/// Link to the list of a root type.
struct RootLink {
    href: String,
    icon: String,
    label: String,
    /// Value of `aria-current`: set while a page of the type is open.
    current: Option<&'static str>,
}

/// Returns the links to the root types, in order, while the page at `path` is open.
fn root_links(path: &str) -> Vec<RootLink> {
    let roots = catalog().types.values().filter(|t| t.root_flag).cloned().collect();
    let link = |root: EntityType| {
        let href = format!("/{}", root.code);
        let is_current = path == href || path.starts_with(&format!("{href}/"));
        RootLink { href, icon: root.ui_icon, label: root.ui_label, current: is_current.then_some("page") }
    };
    sort::sorted(roots, |a: &EntityType, b| a.display_order.cmp(&b.display_order)).into_iter().map(link).collect()
}

#[component]
fn Navigation() -> impl IntoView {
    let codes = use_entity_codes();
    let location = use_location();
    let items = reactive_view(move || {
        codes.with(|_| ());
        root_links(&location.pathname.get())
            .into_iter()
            .map(|link| view! { <li><A href=link.href attr:aria-current=link.current>{icon(&link.icon)}<span>{link.label}</span></A></li> })
            .collect_view()
    });
    let is_administrator = Memo::new(move |_| codes.get().get("role").is_some_and(|role| role.can_create));
    let administration = reactive_view(move || {
        let is_current = location.pathname.get().starts_with("/admin/");
        is_administrator.get().then(|| view! { <li><A href="/admin/people" attr:aria-current=is_current.then_some("page")>{icon("settings")}<span>"Administration"</span></A></li> })
    });
    view! { <ul>{items}{administration}</ul> }
}

#[component]
fn Sidebar() -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    view! {
        <nav class="sidebar" aria-label="Main">
            <div class="org"><span class="mark"><i class="i i-logo" aria-hidden="true"></i></span><strong>"Program Office"</strong><span class="grow"></span>
                <button class="btn quiet icon" aria-label="Create (C)" title="Create (C)" on:click=move |_| overlays.palette_mode.set(Some(PaletteMode::Create))>{icon("plus")}</button></div>
            <button class="find" on:click=move |_| overlays.palette_mode.set(Some(PaletteMode::Search))>{icon("search")}<span>"Search or jump to"</span><kbd>"Ctrl K"</kbd></button>
            <div class="scroll"><h2>"Workspace"</h2><Navigation/></div>
            <div class="foot">
                <SyncStatusButton/>
                <div class="user"><CurrentUser/><ThemeButton/><SignOutButton/></div>
            </div>
        </nav>
    }
}

#[component]
fn CurrentUser() -> impl IntoView {
    let auth_state = client().auth_state.clone();
    reactive_view(move || match auth_state.get() {
        AuthState::SignedIn(user) | AuthState::SessionExpired(user) => {
            view! { {avatar(&user.person_id.to_string(), &user.name)}<span>{user.name.clone()}</span> }.into_any()
        }
        _ => ().into_any(),
    })
}

/// Switches between the light and the dark theme, and stores the choice on this device.
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

/// Returns CSS class, icon and label of the sync status.
///
/// `storage_error` is set if the device store is not persistent.
fn sync_status_text(status: &pmo_sync::Status, storage_error: Option<&str>) -> (&'static str, &'static str, String) {
    let changes = |n: usize| if n == 1 { "1 change".to_owned() } else { format!("{n} changes") };
    if status.needs_attention > 0 {
        return ("attention", "conflict", format!("Needs attention: {}", changes(status.needs_attention)));
    }
    if !status.online {
        let location = if storage_error.is_some() { "in this tab only" } else { "saved locally" };
        let label = if status.pending_writes > 0 {
            format!("Offline · {} {location}", changes(status.pending_writes))
        } else {
            "Offline".to_owned()
        };
        return ("offline", "cloud-off", label);
    }
    if status.pending_writes > 0 {
        return ("syncing", "refresh-cw", format!("Syncing {}", changes(status.pending_writes)));
    }
    if !status.live {
        return ("syncing", "refresh-cw", "Connecting".to_owned());
    }
    ("synced", "circle-check", "Synced".to_owned())
}

/// Shows the sync status and opens the tray of pending changes.
#[component]
pub(crate) fn SyncStatusButton(
    /// Shows only the icon, for the top bar on small screens.
    #[prop(optional)]
    compact: bool,
) -> impl IntoView {
    let status = use_status();
    let storage_error = client().storage_error.clone();
    let overlays = expect_context::<OverlayState>();
    let text = Memo::new(move |_| sync_status_text(&status.get(), storage_error.get().as_deref()));
    view! {
        <button class=reactive_attr(move || format!("sync {}{}", text.get().0, if compact { " compact phone btn quiet" } else { "" }))
            data-testid=if compact { "sync-compact" } else { "sync" }
            aria-label=reactive_attr(move || text.get().2) on:click=move |_| overlays.tray.set(true)>
            {reactive_view(move || icon(text.get().1))}<span>{reactive_view(move || text.get().2)}</span>
        </button>
    }
}

/// Banners below the top bar: offline, local storage unavailable, update available.
#[component]
pub(crate) fn Banners() -> impl IntoView {
    let status = use_status();
    let storage_error = client().storage_error.clone();
    let update_available = client().update_available.clone();
    let overlays = expect_context::<OverlayState>();
    let offline = Memo::new(move |_| {
        let status = status.get();
        (!status.online).then_some(status.pending_writes)
    });
    view! {
        {reactive_view(move || offline.get().map(|pending| view! {
            <div class="banner warning strip" role="status">{icon("cloud-off")}
                <span class="grow"><strong>{if window().navigator().on_line() { "Server unreachable. " } else { "You are offline. " }}</strong>
                    {if pending > 0 { format!("{pending} change{} will be sent when the connection is back.", if pending == 1 { "" } else { "s" }) }
                     else { "Pages that you have opened before remain available and can be edited.".to_owned() }}
                </span>
                <button class="btn quiet sm" on:click=move |_| client().dispatch(Event::VisibilityChanged(true))>"Try now"</button>
                {(pending > 0).then(|| view! { <button class="btn quiet sm" on:click=move |_| overlays.tray.set(true)>"Review"</button> })}
            </div>
        }))}
        {reactive_view(move || storage_error.get().map(|message| view! {
            <div class="banner danger strip" role="status">{icon("hard-drive")}
                <span class="grow"><strong>"Local storage unavailable. "</strong>{format!("Unsent changes are lost when this tab is closed ({message}).")}</span>
            </div>
        }))}
        {reactive_view(move || update_available.get().then(|| view! {
            <div class="banner strip" role="status">{icon("info")}
                <span class="grow">"Update available. "<strong>"Your drafts are kept."</strong></span>
                <button class="btn sm" on:click=move |_| service_worker::apply_update()>"Reload"</button>
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
        root_links(&location.pathname.get())
            .into_iter()
            .take(3)
            .map(|link| view! { <A href=link.href attr:aria-current=link.current>{icon(&link.icon)}{link.label}</A> })
            .collect_view()
    });
    view! {
        <nav class="tabbar" aria-label="Main, phone">
            {items}
            <button on:click=move |_| overlays.palette_mode.set(Some(PaletteMode::Search))>{icon("search")}"Search"</button>
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
                <div class="user"><CurrentUser/><ThemeButton/><button class="btn" on:click=move |_| sign_out(overlays)>{icon("log-out")}"Sign out"</button></div>
            </div>
        </Dialog>
    }
}
