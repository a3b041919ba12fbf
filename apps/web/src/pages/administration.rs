//! Administration: people, roles, grants, option sets, type labels, settings and the activity log.
//!
//! Requests go directly to the server. Nothing here works offline; each section shows the error.

mod activity; // recent changes
mod grants; // all grants, by type, role or person
mod options; // option sets and their transitions
mod requests;
mod settings; // global settings
mod types; // labels and columns of entity types // requests, and what the pages share

use super::create::NewDialog;
use super::not_found::NotFoundPage;
use crate::client::http::Method;
use crate::hooks::{catalog, use_entity_codes};
use crate::table::EntityTable;
use crate::ui::copy_button::CopyButton;
use crate::ui::error_message::error_message;
use crate::ui::layout::{Banners, SyncStatusButton};
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::EntityRef;
use pmo_sync::ListKey;
use requests::send;
use serde_json::json;

pub(crate) use activity::Activity;
use grants::Grants;
use options::OptionSets;
use settings::Settings;
use types::Types;

/// Sections: last segment of the URL and label.
const SECTIONS: [(&str, &str); 7] = [
    ("people", "People"),
    ("roles", "Roles"),
    ("grants", "Grants"),
    ("options", "Options"),
    ("types", "Types"),
    ("settings", "Settings"),
    ("activity", "Activity"),
];

/// Returns whether the signed-in user is an administrator: a user who can create roles.
pub(crate) fn is_administrator() -> bool {
    catalog().get("role").is_some_and(|role| role.can_create)
}

/// Administration page with one tab per section; not found for other users.
#[component]
pub(crate) fn Administration(
    /// Last segment of the URL of the section.
    section: String,
) -> impl IntoView {
    let codes = use_entity_codes();
    let title = SECTIONS.iter().find(|(path, _)| *path == section).map(|(_, title)| *title);
    let tabs = || {
        SECTIONS.iter().map(|(path, title)| view! { <A href=format!("/admin/{path}")>{*title}</A> }).collect::<Vec<_>>()
    };
    reactive_view(move || {
        let Some(title) = title.filter(|_| {
            codes.with(|catalog| catalog.types.is_empty() || catalog.get("role").is_some_and(|role| role.can_create))
        }) else {
            return view! { <NotFoundPage/> }.into_any();
        };
        let body = match section.as_str() {
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
            <div class="subbar"><nav class="tabs" aria-label="Administration sections">{tabs()}</nav></div>
            <Banners/>
            {body}
        }
        .into_any()
    })
}

/// Table of all entities of a type, with a button that creates one.
#[component]
fn EntityList(code: &'static str) -> impl IntoView {
    let codes = use_entity_codes();
    let creating = RwSignal::new(false);
    reactive_view(move || {
        codes.get().get(code).cloned().map(|kind| {
            let (list, new_code, label) = (ListKey::all(kind.code.clone()), kind.code.clone(), format!("New {}", kind.name.to_lowercase()));
            view! {
                <div class="admin-bar"><span class="grow"></span><button type="button" class="btn sm primary" on:click=move |_| creating.set(true)>{icon("plus")}{label}</button></div>
                <EntityTable entity=kind list=list/>
                {reactive_view(move || creating.get().then(|| view! { <NewDialog code=new_code.clone() parent=None open=creating/> }))}
            }
        })
    })
}

/// Section on a person's page in which an administrator resets the password.
#[component]
pub(crate) fn PasswordReset(
    /// Person who gets a new password.
    person: EntityRef,
) -> impl IntoView {
    let (busy, error, password) = (RwSignal::new(false), RwSignal::new(None), RwSignal::new(None::<String>));
    let confirming = RwSignal::new(false);
    let path = StoredValue::new(format!("/person/{}/password", person.id));
    let reset = move |_| {
        confirming.set(false);
        send(Method::POST, path.get_value(), Some(json!({})), busy, error, move |response| {
            password.try_set(response["password"].as_str().map(ToOwned::to_owned));
        });
    };
    view! {
        <section class="section"><header><h2>"Sign-in"</h2>
            {reactive_view(move || (!confirming.get()).then(|| view! { <button type="button" class="btn sm" disabled=busy.get() on:click=move |_| confirming.set(true)>{icon("lock")}"Reset password…"</button> }))}</header>
            {reactive_view(move || confirming.get().then(|| view! { <p class="banner warning" role="alert">{icon("triangle-alert")}<span class="grow">"The current password stops working, and this person is signed out on all devices."</span>
                <button type="button" class="btn quiet sm" autofocus on:click=move |_| confirming.set(false)>"Cancel"</button><button type="button" class="btn sm" on:click=reset>"Reset password"</button></p> }))}
            {reactive_view(move || password.get().map(|password| view! { <p class="banner" role="status">{icon("info")}<span class="grow">"New password (shown once): "<code class="message-text">{password.clone()}</code></span><CopyButton text=password/></p> }))}
            {error_message(error)}
        </section>
    }
}
