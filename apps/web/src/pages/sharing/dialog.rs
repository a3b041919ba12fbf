//! Share dialog.

use super::explain_dialog::ExplainAccessDialog;
use super::grant_form::GrantForm;
use super::grants::{Access, Grant, Viewer, permission_label};
use crate::client::{client, http, new_id};
use crate::ui::dialog::Dialog;
use crate::ui::error_message::error_message;
use crate::ui::format;
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use pmo_domain::{EntityRef, Permission};
use serde_json::Value;
use uuid::Uuid;
use wasm_bindgen_futures::spawn_local;

/// Share dialog: the user's own permission, the direct grants and all people with access.
#[component]
pub(crate) fn SharingDialog(
    /// Entity that is shared.
    entity: EntityRef,
    /// Name of the entity.
    title: String,
    /// Whether the dialog is open.
    open: RwSignal<bool>,
) -> impl IntoView {
    let (access, viewers) = (RwSignal::new(None::<Access>), RwSignal::new(Vec::<Viewer>::new()));
    let (truncated, error) = (RwSignal::new(false), RwSignal::new(None::<String>));
    let explaining = RwSignal::new(None::<(Uuid, String)>);
    let path = StoredValue::new(format!("/{}/{}", entity.code, entity.id));
    let load = move || {
        // Also called after a response, when the dialog may already be closed.
        let Some(path) = path.try_get_value() else { return };
        spawn_local(async move {
            match http::request(http::Method::GET, &format!("{path}/access"), None, None)
                .await
                .and_then(http::parse_response::<Access>)
            {
                Ok(result) => access.set(Some(result)),
                Err(failure) => return error.set(Some(failure.to_string())),
            }
            if let Ok(response) = http::request(http::Method::GET, &format!("{path}/audience"), None, None).await {
                truncated.set(response["more"] == Value::Bool(true));
                if let Ok(people) = http::parse_response(response["data"].clone()) {
                    viewers.set(people);
                }
            }
        });
    };
    load();
    let close = Callback::new(move |()| open.set(false));
    let level = Memo::new(move |_| access.with(|a| a.as_ref().map_or(0, |a| a.permission)));
    let can_share = Memo::new(move |_| level.get() >= u64::from(u8::from(Permission::Share)));
    let revoke = move |id: Uuid| {
        spawn_local(async move {
            match http::request(http::Method::DELETE, &format!("/entity_rbac/{id}"), None, Some(&new_id().to_string()))
                .await
            {
                Ok(_) => {
                    error.set(None);
                    load();
                }
                Err(failure) => error.set(Some(failure.to_string())),
            }
        });
    };
    let grants = reactive_view(move || {
        let grants = access.with(|a| a.as_ref().map(|a| a.grants.clone()).unwrap_or_default());
        let grant_item = |grant: Grant| {
            let name = grant.holder_name.clone().unwrap_or_else(|| "Unknown".to_owned());
            let mut notes = Vec::new();
            if grant.role_id.is_some() {
                notes.push("Role".to_owned());
            }
            if grant.inheritance_mode.as_deref() == Some("none") {
                notes.push("This item only".to_owned());
            }
            if let Some(expires) = &grant.expires_ts {
                notes.push(format!("Expires {}", format::date(expires, true)));
            }
            let label = if grant.is_deny { "Denied" } else { permission_label(grant.permission) };
            let id = grant.id;
            let holder_id = grant.person_id.or(grant.role_id).map(|id| id.to_string()).unwrap_or_default();
            view! { <li>{value_view::avatar(&holder_id, &name)}<span class="grow"><strong>{name.clone()}</strong><span class="meta">{notes.join(" · ")}</span></span>
            <span class="badge" class:danger=grant.is_deny>{label}</span>
            <button class="btn quiet icon sm" aria-label=format!("Revoke access from {name}") title="Revoke" on:click=move |_| revoke(id)>{icon("x")}</button></li> }
        };
        let none = can_share.get() && grants.is_empty() && access.with(Option::is_some);
        let none = none.then(
            || view! { <li class="softer">"No direct grants. Access is inherited from a parent or a role."</li> },
        );
        view! { {grants.into_iter().map(grant_item).collect::<Vec<_>>()}{none} }
    });
    let viewer_list = reactive_view(move || {
        let viewer_item = |viewer: Viewer| {
            let (id, name) = (viewer.id, viewer.name.clone());
            let explain = move |_| explaining.set(Some((id, name.clone())));
            let explain_button =
                can_share.get().then(|| view! { <button class="btn quiet sm" on:click=explain>"Why?"</button> });
            view! { <li>{value_view::avatar(&id.to_string(), &viewer.name)}<span class="grow">{viewer.name.clone()}</span>
            {viewer.permission.map(|level| view! { <span class="badge">{permission_label(level)}</span> })}{explain_button}</li> }
        };
        viewers.get().into_iter().map(viewer_item).collect::<Vec<_>>()
    });
    let own_id = client().read(pmo_sync::Engine::person).map(|p| p.0);
    let stored_entity = StoredValue::new(entity);
    view! {
        <Dialog title=format!("Share “{title}”") close=close class="sharing">
            <div class="body">
                {error_message(error)}
                {reactive_view(move || can_share.get().then(|| view! { <GrantForm entity=stored_entity.get_value() max_permission=level.get_untracked() on_granted=Callback::new(move |()| load()) error=error/> }))}
                {reactive_view(move || access.with(Option::is_some).then(|| view! { <p class="softer">"You: "<strong>{permission_label(level.get())}</strong>
                    {own_id.map(|own_id| view! { <button class="btn quiet sm" on:click=move |_| explaining.set(Some((own_id, "You".to_owned())))>"Why?"</button> })}</p> }))}
                {reactive_view(move || can_share.get().then(|| view! { <h3>"Direct access"</h3> }))}
                <ul class="rows tray">{grants}</ul>
                {reactive_view(move || viewers.with(|s| !s.is_empty()).then(|| view! { <h3>"Everyone with access"</h3> }))}
                <ul class="rows tray">{viewer_list}</ul>
                {reactive_view(move || truncated.get().then(|| view! { <p class="softer">"Only the first 200 people are shown."</p> }))}
                {reactive_view(move || (access.with(Option::is_none) && error.with(Option::is_none)).then(|| view! { <div class="skeletons" aria-busy="true"><span class="skeleton"></span><span class="skeleton"></span></div> }))}
            </div>
        </Dialog>
        {reactive_view(move || explaining.get().map(|(person, name)| view! { <ExplainAccessDialog entity=stored_entity.get_value() person=person name=name explaining=explaining/> }))}
    }
}
