//! What the engine does, for those who work on the app or help somebody who uses it: Ctrl + Alt + D, or ⌘ ⌥ D. A production build has them for whoever
//! asks with `?devtools` in the address. They show ids, columns' names and states, and never what a row holds.

use super::cell::icon;
use super::live::{follow, live};
use crate::client::conditions::{Conditions, conditions};
use crate::client::{client, device, now};
use leptos::prelude::*;
use pmo_sync::Table;
use wasm_bindgen_futures::spawn_local;

/// Where it is remembered that a browser asked for them.
const ASKED: &str = "pmo.devtools";

/// Whether there are any: in a build that is worked on, and for whoever asked.
fn are_there() -> bool {
    let storage = window().local_storage().ok().flatten();
    let asks = window().location().search().is_ok_and(|search| search.contains("devtools"));
    if let (true, Some(storage)) = (asks, &storage) {
        let _ = storage.set_item(ASKED, "1");
    }
    cfg!(debug_assertions) || asks || storage.is_some_and(|s| s.get_item(ASKED).is_ok_and(|v| v.is_some()))
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
    live(move || open.get().then(|| view! { <Drawer open=open/> })).into_any()
}

fn toggle(label: &'static str, on: bool, wanted: Conditions) -> AnyView {
    let turn = move |_| client().try_out(wanted);
    view! { <label class="check"><input type="checkbox" prop:checked=on on:change=turn/>{label}</label> }.into_any()
}

fn table(of: Table) -> AnyView {
    let head: Vec<_> = of.head.iter().map(|name| view! { <th>{*name}</th> }).collect();
    let line = |row: Vec<String>| view! { <tr>{row.into_iter().map(|cell| view! { <td>{cell}</td> }).collect::<Vec<_>>()}</tr> };
    let rows: Vec<_> = of.rows.into_iter().map(line).collect();
    view! { <table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table> }.into_any()
}

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
        if let Some((used, allowed)) = device::room().await {
            room.set(format!("{} MB of {} MB", (used / 1e6).round(), (allowed / 1e6).round()));
        }
    });
    let tables = Memo::new(move |_| {
        tick.track();
        let mut tables = client().read(|e| e.inspect(now()));
        tables[0].rows.push(vec!["Room on the device".to_owned(), room.get()]);
        tables.push(Table { title: "Frames", head: &["Time", "", "Frame"], rows: client().frames.told() });
        tables
    });
    let tabs = live(move || {
        let names = tables.with(|all| all.iter().map(|t| (t.title, t.rows.len())).collect::<Vec<_>>());
        names.into_iter().enumerate().map(|(n, (title, rows))| {
            let here = follow(move || if shown.get() == n { "page" } else { "false" });
            view! { <button aria-current=here on:click=move |_| shown.set(n)>{title}<span class="n">{if n == 0 { String::new() } else { rows.to_string() }}</span></button> }
        }).collect::<Vec<_>>()
    });
    let switches = live(move || {
        tick.track();
        let now = conditions();
        view! {
            {toggle("Offline", now.offline, Conditions { offline: !now.offline, ..now })}
            {toggle("Slow", now.slow, Conditions { slow: !now.slow, ..now })}
            {toggle("No socket", now.no_socket, Conditions { no_socket: !now.no_socket, ..now })}
        }
    });
    let body = live(move || tables.with(|all| all.get(shown.get()).cloned()).map(table));
    view! {
        <section class="devtools" aria-label="Devtools" data-testid="devtools">
            <header><nav class="tabs" aria-label="Devtools">{tabs}</nav><span class="grow"></span>{switches}
                <button class="btn quiet icon sm" aria-label="Close" on:click=move |_| open.set(false)>{icon("x")}</button></header>
            <div class="scroll" tabindex="0">{body}</div>
        </section>
    }
}
