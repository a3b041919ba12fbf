//! First page of an empty installation: create a project, import a plan or load demo data.

use super::import_export::ImportDialog;
use crate::client::{http, new_id};
use crate::hooks::invalidate;
use crate::ui::error_message::error_message;
use crate::ui::overlay_state::OverlayState;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::EntityCode;
use serde_json::json;
use wasm_bindgen_futures::spawn_local;

/// Offers to create the first entity, to import a plan, or to load the demo company.
#[component]
pub(crate) fn Onboarding(
    /// Type of the first entity.
    code: EntityCode,
) -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    let (importing, busy, error) = (RwSignal::new(false), RwSignal::new(false), RwSignal::new(None::<String>));
    let create = {
        let code = code.clone();
        move |_| overlays.creating.set(Some(code.clone()))
    };
    let load_demo = move |_| {
        busy.set(true);
        error.set(None);
        spawn_local(async move {
            match http::request(http::Method::POST, "/demo", Some(&json!({})), Some(&new_id().to_string())).await {
                // The demo data affects every query.
                Ok(_) => invalidate(|_| true),
                Err(failure) => error.set(Some(failure.to_string())),
            }
            busy.set(false);
        });
    };
    view! {
        <div class="onboarding">
            <header><h2>"Start with a plan"</h2><p>"A project contains tasks, risks, decisions and costs. Import a plan, start with an empty project, or explore a demo company. Everything works offline."</p></header>
            <ul>
                <li><button class="start-option" on:click=create><span class="glyph">{icon("folder-kanban")}</span><strong>"Create your first project"</strong><p>"Name it, choose a manager and add tasks."</p></button></li>
                <li><button class="start-option" on:click=move |_| importing.set(true)><span class="glyph">{icon("file-up")}</span><strong>"Import a plan"</strong><p>"Microsoft Project XML or CSV, with outline, dates and dependencies."</p></button></li>
                <li><button class="start-option" disabled=reactive_attr(move || busy.get()) on:click=load_demo><span class="glyph">{icon("users")}</span><strong>{reactive_view(move || if busy.get() { "Loading…" } else { "Load demo data" })}</strong>
                    <p>"36 projects with about 1,900 tasks and 80 people. For administrators; the demo people cannot sign in."</p></button></li>
            </ul>
            {error_message(error)}
        </div>
        {reactive_view(move || importing.get().then(|| { let code = code.clone(); view! { <ImportDialog code=code parent=None open=importing/> } }))}
    }
}
