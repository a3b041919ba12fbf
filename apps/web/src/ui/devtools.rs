//! What the engine does, for those who work on the app or help somebody who uses it: Ctrl + Alt + D, or ⌘ ⌥ D. A production build has them for whoever
//! asks with `?devtools` in the address. They show ids, columns' names and states, and never what a row holds.

use super::reactive::{reactive_attr, reactive_view};
use super::value_view::icon;
use crate::client::network_throttle::{NetworkConditions, conditions};
use crate::client::{client, device_store, now};
use leptos::prelude::*;
use pmo_sync::TextTable;
use wasm_bindgen_futures::spawn_local;

/// Where it is remembered that a browser asked for them.
const DEVTOOLS_STORAGE_KEY: &str = "pmo.devtools";

/// Whether there are any: in a build that is worked on, and for whoever asked.
fn are_there() -> bool {
    let storage = window().local_storage().ok().flatten();
    let asks = window().location().search().is_ok_and(|search| search.contains("devtools"));
    if let (true, Some(storage)) = (asks, &storage) {
        let _ = storage.set_item(DEVTOOLS_STORAGE_KEY, "1");
    }
    cfg!(debug_assertions)
        || asks
        || storage.is_some_and(|s| s.get_item(DEVTOOLS_STORAGE_KEY).is_ok_and(|v| v.is_some()))
}

/// The drawer, and the key that opens it.
#[component]
pub fn Devtools() -> impl IntoView {
    let open = RwSignal::new(false);
    if !are_there() {
        return ().into_any();
    }
    let key = window_event_listener(leptos::ev::keydown, move |event| {
        if event.code() == "KeyD" && event.alt_key() && (event.ctrl_key() || event.meta_key()) {
            event.prevent_default();
            open.update(|open| *open = !*open);
        }
    });
    on_cleanup(move || key.remove());
    reactive_view(move || open.get().then(|| view! { <Drawer open=open/> })).into_any()
}

/// One of the conditions.
type Pick = fn(&mut NetworkConditions) -> &mut bool;

#[component]
fn Drawer(open: RwSignal<bool>) -> impl IntoView {
    let (tick, shown, room) = (RwSignal::new(0u32), RwSignal::new(0usize), RwSignal::new(String::new()));
    client().frames.listen(true);
    let again = set_interval_with_handle(move || tick.update(|n| *n += 1), std::time::Duration::from_millis(500));
    on_cleanup(move || {
        client().frames.listen(false);
        if let Ok(again) = again {
            again.clear();
        }
    });
    spawn_local(async move {
        if let Some((used, allowed)) = device_store::storage_estimate().await {
            room.set(format!("{} MB of {} MB", (used / 1e6).round(), (allowed / 1e6).round()));
        }
    });
    let tables = Memo::new(move |_| {
        tick.track();
        let mut tables = client().read(|e| e.inspect(now()));
        if let Some(session) = tables.first_mut() {
            session.rows.push(vec!["Room on the device".to_owned(), room.get()]);
        }
        tables.push(TextTable { title: "Frames", head: &["Time", "", "Frame"], rows: client().frames.entries() });
        tables
    });
    let tab = move |n: usize| {
        let (here, title) = (
            reactive_attr(move || (shown.get() == n).then_some("page")),
            reactive_view(move || {
                tables.with(|all| all.get(n).map(|table| format!("{} {}", table.title, table.rows.len())))
            }),
        );
        view! { <button aria-current=here on:click=move |_| shown.set(n)>{title}</button> }
    };
    let tabs: Vec<_> = (0..tables.with_untracked(Vec::len)).map(tab).collect();
    let switch = move |(label, which): (&'static str, Pick)| {
        let on = reactive_attr(move || {
            tick.track();
            *which(&mut conditions())
        });
        let turn = move |_| {
            let mut wanted = conditions();
            *which(&mut wanted) ^= true;
            client().set_conditions(wanted);
        };
        view! { <label class="check"><input type="checkbox" class="i-check" prop:checked=on on:change=turn/>{label}</label> }
    };
    let switches: [(&'static str, Pick); 3] =
        [("Offline", |c| &mut c.offline), ("Slow", |c| &mut c.slow), ("No socket", |c| &mut c.no_socket)];
    let switches: Vec<_> = switches.into_iter().map(switch).collect();
    let text = reactive_view(move || tables.with(|all| all.get(shown.get()).map(TextTable::render)));
    view! {
        <section class="devtools" aria-label="Devtools" data-testid="devtools">
            <header><nav class="tabs" aria-label="Devtools">{tabs}</nav><span class="grow"></span>{switches}
                <button class="btn quiet icon sm" aria-label="Close" on:click=move |_| open.set(false)>{icon("x")}</button></header>
            <pre tabindex="0">{text}</pre>
        </section>
    }
}
