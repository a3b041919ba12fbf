//! What administrators change for everybody: people, roles, grants, option sets, words of types, settings; and what happened lately. All of it is the server's word: nothing
//! here works offline, and each part says so.

mod activity; // what happened lately
mod grants; // who may do what, all of it
mod options; // option sets
mod settings; // what holds for everybody
mod types; // how types and columns are called

use super::NotFoundPage;
use super::create_dialogs::NewDialog;
use crate::client::http::{self, Method};
use crate::client::new_id;
use crate::hooks::{catalogue, invalidate, use_entity_codes};
use crate::table::EntityTable;
use crate::ui::copy_button::CopyButton;
use crate::ui::layout::{Banners, SyncStatusButton};
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::{EntityCode, EntityRef};
use pmo_sync::{ListKey, Query};
use serde_json::{Value, json};
use std::cell::RefCell;
use wasm_bindgen_futures::spawn_local;

pub use activity::Activity;
use grants::Grants;
use options::OptionSets;
use settings::Settings;
use types::Types;

/// The parts, by their address.
const SECTIONS: [(&str, &str); 7] = [
    ("people", "People"),
    ("roles", "Roles"),
    ("grants", "Grants"),
    ("options", "Options"),
    ("types", "Types"),
    ("settings", "Settings"),
    ("activity", "Activity"),
];

/// Whether the person who is here administers.
pub fn is_administrator() -> bool {
    catalogue().get("role").is_some_and(|role| role.can_create)
}

/// The pages of administrators.
#[component]
pub fn Administration(
    /// Which part.
    part: String,
) -> impl IntoView {
    let codes = use_entity_codes();
    let title = SECTIONS.iter().find(|(address, _)| *address == part).map(|(_, title)| *title);
    let tabs = || {
        SECTIONS
            .iter()
            .map(|(address, title)| view! { <A href=format!("/admin/{address}")>{*title}</A> })
            .collect::<Vec<_>>()
    };
    reactive_view(move || {
        let Some(title) =
            title.filter(|_| codes.with(|c| c.types.is_empty() || c.get("role").is_some_and(|r| r.can_create)))
        else {
            return view! { <NotFoundPage/> }.into_any();
        };
        let body = match part.as_str() {
            "people" => view! { <EntityList code="person"/> }.into_any(),
            "roles" => view! { <EntityList code="role"/> }.into_any(),
            "grants" => view! { <div class="content"><Grants/></div> }.into_any(),
            "options" => view! { <div class="content"><OptionSets/></div> }.into_any(),
            "types" => view! { <div class="content"><Types/></div> }.into_any(),
            "settings" => view! { <div class="content"><Settings/></div> }.into_any(),
            _ => view! { <div class="content"><Activity/></div> }.into_any(),
        };
        view! {
            <header class="topbar">
                <nav class="crumbs" aria-label="Breadcrumb"><ol><li><A href="/admin/people">"Administration"</A></li><li>{icon("chevron-right")}<h1 aria-current="page">{title}</h1></li></ol></nav>
                <SyncStatusButton compact=true/>
            </header>
            <div class="subbar"><nav class="tabs" aria-label="Parts of administration">{tabs()}</nav></div>
            <Banners/>
            {body}
        }
        .into_any()
    })
}

/// Everything of a type, with a way to make one.
#[component]
fn EntityList(code: &'static str) -> impl IntoView {
    let codes = use_entity_codes();
    let making = RwSignal::new(false);
    reactive_view(move || {
        codes.get().get(code).cloned().map(|kind| {
            let (list, of, words) = (ListKey::all(kind.code.clone()), kind.code.clone(), format!("New {}", kind.name.to_lowercase()));
            view! {
                <div class="admin-bar"><span class="grow"></span><button type="button" class="btn sm primary" on:click=move |_| making.set(true)>{icon("plus")}{words}</button></div>
                <EntityTable entity=kind list=list/>
                {reactive_view(move || making.get().then(|| view! { <NewDialog code=of.clone() parent=None open=making/> }))}
            }
        })
    })
}

thread_local! {
    /// The last change that was not answered, and its key: sent again, it is done once.
    static PENDING_REQUEST: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Sends a change; what comes of it is told to `done`.
fn send(
    method: Method,
    path: String,
    body: Option<Value>,
    busy: RwSignal<bool>,
    error: RwSignal<Option<String>>,
    done: impl FnOnce(Value) + 'static,
) {
    busy.set(true);
    error.set(None);
    let asked = format!("{path} {}", body.as_ref().map(ToString::to_string).unwrap_or_default());
    let before = PENDING_REQUEST.with_borrow_mut(Option::take).filter(|(of, _)| *of == asked);
    let key = before.map_or_else(|| new_id().to_string(), |(_, key)| key);
    PENDING_REQUEST.set(Some((asked, key.clone())));
    spawn_local(async move {
        match http::request(method, &path, body.as_ref(), Some(&key)).await {
            Ok(told) => {
                PENDING_REQUEST.set(None);
                done(told);
            }
            Err(message) => drop(error.try_set(Some(message))),
        }
        busy.try_set(false);
    });
}

/// What everybody works with has changed: types, option sets and settings are asked for again.
fn refresh_reference_data() {
    invalidate(|query| matches!(query, Query::Meta(_)));
}

/// `task_stage` as `Task stage`.
fn humanize(name: &str) -> String {
    let text = name.replace('_', " ");
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn error_banner(error: RwSignal<Option<String>>) -> impl IntoView {
    reactive_view(move || {
        error.get().map(|message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> })
    })
}

/// How a person signs in, on their page, for administrators.
#[component]
pub fn PasswordReset(
    /// The person.
    person: EntityRef,
) -> impl IntoView {
    let (busy, error, told) = (RwSignal::new(false), RwSignal::new(None), RwSignal::new(None::<String>));
    let asking = RwSignal::new(false);
    let path = StoredValue::new(format!("/person/{}/password", person.id));
    let give = move |_| {
        asking.set(false);
        send(Method::POST, path.get_value(), Some(json!({})), busy, error, move |answer| {
            told.try_set(answer["password"].as_str().map(ToOwned::to_owned));
        });
    };
    view! {
        <section class="section"><header><h2>"Sign-in"</h2>
            {reactive_view(move || (!asking.get()).then(|| view! { <button type="button" class="btn sm" disabled=busy.get() on:click=move |_| asking.set(true)>{icon("lock")}"New password"</button> }))}</header>
            {reactive_view(move || asking.get().then(|| view! { <p class="banner warning" role="alert">{icon("triangle-alert")}<span class="grow">"The present password counts no more, and this person is signed out everywhere."</span>
                <button type="button" class="btn quiet sm" autofocus on:click=move |_| asking.set(false)>"Cancel"</button><button type="button" class="btn sm" on:click=give>"Give a new one"</button></p> }))}
            {reactive_view(move || told.get().map(|password| view! { <p class="banner" role="status">{icon("info")}<span class="grow">"The new password, shown this once: "<code class="said">{password.clone()}</code></span><CopyButton text=password/></p> }))}
            {error_banner(error)}
        </section>
    }
}

/// The choices of types, by name.
fn type_choices() -> Vec<(EntityCode, String)> {
    let mut all: Vec<_> = catalogue().types.values().map(|t| (t.code.clone(), t.ui_label.clone())).collect();
    all.sort_by(|a, b| a.1.cmp(&b.1));
    all
}
