//! Devtools: the state of the sync engine and network throttling, for development and support.
//!
//! Opened with Ctrl + Alt + D or ⌘ ⌥ D. In a production build they are enabled by `?devtools` in
//! the URL. They show ids, column names and states.
//!
//! Must not: show values of rows.

use super::reactive::{reactive_attr, reactive_view};
use super::value_view::icon;
use crate::client::network_throttle::{NetworkConditions, conditions};
use crate::client::{client, device_store, now};
use leptos::prelude::*;
use pmo_sync::TextTable;
use wasm_bindgen_futures::spawn_local;

/// Key in `localStorage` that records that the devtools were enabled in this browser.
const DEVTOOLS_STORAGE_KEY: &str = "pmo.devtools";

/// Returns whether the devtools are available: in debug builds, and in browsers that enabled them.
fn is_enabled() -> bool {
    let storage = window().local_storage().ok().flatten();
    let requested = window().location().search().is_ok_and(|search| search.contains("devtools"));
    if let (true, Some(storage)) = (requested, &storage) {
        let _ = storage.set_item(DEVTOOLS_STORAGE_KEY, "1");
    }
    cfg!(debug_assertions)
        || requested
        || storage.is_some_and(|s| s.get_item(DEVTOOLS_STORAGE_KEY).is_ok_and(|v| v.is_some()))
}

/// The devtools drawer and its keyboard shortcut.
#[component]
pub(crate) fn Devtools() -> impl IntoView {
    let open = RwSignal::new(false);
    if !is_enabled() {
        return ().into_any();
    }
    let listener = window_event_listener(leptos::ev::keydown, move |event| {
        if event.code() == "KeyD" && event.alt_key() && (event.ctrl_key() || event.meta_key()) {
            event.prevent_default();
            open.update(|open| *open = !*open);
        }
    });
    on_cleanup(move || listener.remove());
    reactive_view(move || open.get().then(|| view! { <Drawer open=open/> })).into_any()
}

/// Selects one of the simulated network conditions.
type ConditionField = fn(&mut NetworkConditions) -> &mut bool;

#[component]
fn Drawer(open: RwSignal<bool>) -> impl IntoView {
    let (tick, selected, storage) = (RwSignal::new(0u32), RwSignal::new(0usize), RwSignal::new(String::new()));
    client().frames().set_enabled(true);
    let interval = set_interval_with_handle(move || tick.update(|n| *n += 1), std::time::Duration::from_millis(500));
    on_cleanup(move || {
        client().frames().set_enabled(false);
        if let Ok(interval) = interval {
            interval.clear();
        }
    });
    spawn_local(async move {
        if let Some((used, allowed)) = device_store::storage_estimate().await {
            storage.set(format!("{} MB of {} MB", (used / 1e6).round(), (allowed / 1e6).round()));
        }
    });
    let tables = Memo::new(move |_| {
        tick.track();
        let mut tables = client().read(|e| e.inspect(now()));
        if let Some(session) = tables.first_mut() {
            session.rows.push(vec!["Storage".to_owned(), storage.get()]);
        }
        tables.push(TextTable { title: "Frames", head: &["Time", "", "Frame"], rows: client().frames().entries() });
        tables
    });
    let tab = move |n: usize| {
        let (current, title) = (
            reactive_attr(move || (selected.get() == n).then_some("page")),
            reactive_view(move || {
                tables.with(|all| all.get(n).map(|table| format!("{} {}", table.title, table.rows.len())))
            }),
        );
        view! { <button aria-current=current on:click=move |_| selected.set(n)>{title}</button> }
    };
    let tabs: Vec<_> = (0..tables.with_untracked(Vec::len)).map(tab).collect();
    let switch = move |(label, field): (&'static str, ConditionField)| {
        let on = reactive_attr(move || {
            tick.track();
            *field(&mut conditions())
        });
        let toggle = move |_| {
            let mut changed = conditions();
            *field(&mut changed) ^= true;
            client().set_conditions(changed);
        };
        view! { <label class="check"><input type="checkbox" class="i-check" prop:checked=on on:change=toggle/>{label}</label> }
    };
    let switches: [(&'static str, ConditionField); 3] =
        [("Offline", |c| &mut c.offline), ("Slow", |c| &mut c.slow), ("No socket", |c| &mut c.no_socket)];
    let switches: Vec<_> = switches.into_iter().map(switch).collect();
    let text = reactive_view(move || tables.with(|all| all.get(selected.get()).map(TextTable::render)));
    view! {
        <section class="devtools" aria-label="Devtools" data-testid="devtools">
            <header><nav class="tabs" aria-label="Devtools">{tabs}</nav><span class="grow"></span>{switches}
                <button class="btn quiet icon sm" aria-label="Close" on:click=move |_| open.set(false)>{icon("x")}</button></header>
            <pre tabindex="0">{text}</pre>
        </section>
    }
}
