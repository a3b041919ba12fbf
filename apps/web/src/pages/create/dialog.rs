//! Dialog and page that create an entity.

use super::form::NewForm;
use crate::hooks::{catalog, use_entity_codes};
use crate::ui::dialog::Dialog;
use crate::ui::layout::{Banners, SyncStatusButton};
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::components::A;
use leptos_router::hooks::use_navigate;
use pmo_domain::{EntityCode, EntityRef, Row};
use uuid::Uuid;

/// Creates an entity from its name and required fields; the other fields can be shown.
#[component]
pub(crate) fn NewDialog(
    /// Type of the new entity.
    code: EntityCode,
    /// Parent entity and the column of the new entity that refers to it.
    parent: Option<(EntityRef, String)>,
    /// Whether the dialog is open.
    open: RwSignal<bool>,
    /// Further initial values.
    #[prop(optional)]
    initial: Option<Row>,
    /// Receives the id of the created entity.
    #[prop(optional)]
    created_id: Option<RwSignal<Option<Uuid>>>,
) -> impl IntoView {
    let entity = catalog().get(code.as_str()).cloned();
    let title = entity.as_ref().map_or_else(|| "New".to_owned(), |e| format!("New {}", e.name.to_lowercase()));
    let close = Callback::new(move |()| open.set(false));
    let (opens_page, navigate) = (parent.is_none(), use_navigate());
    let type_code = code.clone();
    let done = Callback::new(move |id: Uuid| {
        open.set(false);
        if let Some(created_id) = created_id {
            created_id.set(Some(id));
        }
        if opens_page {
            navigate(&format!("/{type_code}/{id}"), NavigateOptions::default());
        }
    });
    view! { <Dialog title=title close=close><NewForm code=code parent=parent initial=initial.unwrap_or_default() all_fields=false done=done cancel=close/></Dialog> }
}

/// Page that creates an entity, with all fields: `/risk/new`.
#[component]
pub(crate) fn NewPage(
    /// Type of the new entity.
    code: EntityCode,
) -> impl IntoView {
    let codes = use_entity_codes();
    let navigate = use_navigate();
    let (open_entity, back) = (navigate.clone(), format!("/{code}"));
    let type_code = code.clone();
    let done = Callback::new(move |id: Uuid| open_entity(&format!("/{type_code}/{id}"), NavigateOptions::default()));
    let cancel = Callback::new({
        let back = back.clone();
        move |()| navigate(&back, NavigateOptions::default())
    });
    reactive_view(move || {
        let Some(kind) = codes.get().get(code.as_str()).cloned() else { return ().into_any() };
        view! {
            <header class="topbar"><nav class="crumbs" aria-label="Breadcrumb"><ol><li><A href=back.clone()>{kind.ui_label.clone()}</A></li>
                <li>{icon("chevron-right")}<h1 aria-current="page">{format!("New {}", kind.name.to_lowercase())}</h1></li></ol></nav><SyncStatusButton compact=true/></header>
            <Banners/>
            <div class="content"><div class="new-page"><NewForm code=code.clone() parent=None initial=Row::new() all_fields=true done=done cancel=cancel/></div></div>
        }
        .into_any()
    })
}
