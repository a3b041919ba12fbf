//! Pages, one for each kind of address. They know kinds of columns, not types of things; the outline is the one page with a type of its
//! own.

mod administration; // what administrators change for everybody
mod child_list_page; // what hangs below one thing
mod comments;
mod create_dialogs; // making things
mod entity_page; // one thing: form, properties, draft
mod files; // what artifacts hold
mod history; // what happened to a thing
mod import_export; // data that comes and goes
mod links; // what links alone tie
mod list; // things of a type
mod onboarding; // the ways to begin
mod outline; // a project's tasks as a tree-table
mod sharing; // who may do what with a thing
mod sign_in; // the door // what is said about a thing

use crate::client::{AuthState, client};
use crate::hooks::{CacheProvider, use_status};
use crate::lazy::{lazy_overlay, lazy_view, prefetch};
use crate::ui::layout::{AppLayout, Banners, SyncStatusButton};
use crate::ui::reactive::reactive_view;
use crate::ui::rejected_edits::OrphanedEdits;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::components::{Redirect, Route, Router, Routes};
use leptos_router::hooks::use_params_map;
use leptos_router::path;
use list::ListPage;
use pmo_domain::{EntityCode, EntityRef};
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};

pub(crate) use administration::{Administration, AdministrationProps};
pub(crate) use child_list_page::{ChildrenPage, ChildrenPageProps};
pub(crate) use create_dialogs::{NewDialog, NewDialogProps, NewPage, NewPageProps};
pub(crate) use entity_page::{InstancePage, InstancePageProps, known_permission};
pub(crate) use files::{UploadTray, prevent_window_drop};
pub(crate) use history::Deleted;
pub(crate) use import_export::{ImportDialog, ImportDialogProps, export};
pub(crate) use onboarding::FirstRun;
pub(crate) use outline::{OutlinePage, OutlinePageProps};
pub(crate) use sign_in::SignIn;

/// The app.
#[component]
pub fn App() -> impl IntoView {
    register_service_worker();
    let presence = client().presence.clone();
    // The page is drawn anew only when another person is here, not when a session ends: what is typed stays.
    let inside = {
        let presence = presence.clone();
        Memo::new(move |_| match presence.get() {
            AuthState::SignedIn(user) | AuthState::SessionExpired(user) => Some(Some(user.person_id)),
            AuthState::SignedOut => Some(None),
            AuthState::Starting => None,
        })
    };
    let ended = Memo::new(move |_| matches!(presence.get(), AuthState::SessionExpired(_)));
    view! {
        {reactive_view(move || match inside.get() {
            None => view! { <div class="starting" role="status"><span class="vh">"Opening"</span></div> }.into_any(),
            Some(None) => lazy_view(move |pages| (pages.sign_in)(false)).into_any(),
            Some(Some(_)) => view! { <CacheProvider><AuthenticatedRoutes/></CacheProvider> }.into_any(),
        })}
        {reactive_view(move || ended.get().then(|| lazy_overlay(move |pages| (pages.sign_in)(true))))}
    }
}

#[component]
fn AuthenticatedRoutes() -> impl IntoView {
    prefetch();
    view! {
        <Router>
            <AppLayout>
                <Routes fallback=|| view! { <NotFoundPage/> }>
                    <Route path=path!("/") view=|| view! { <Redirect path="/project"/> }/>
                    <Route path=path!("/:code") view=TypePage/>
                    <Route path=path!("/:code/:id") view=EntityRoute/>
                    <Route path=path!("/:code/:id/:tab") view=ChildRoute/>
                </Routes>
            </AppLayout>
        </Router>
    }
}

#[component]
fn TypePage() -> impl IntoView {
    let params = use_params_map();
    let code = Memo::new(move |_| params.read().get("code").and_then(|c| EntityCode::new(c).ok()));
    reactive_view(move || match code.get() {
        Some(code) if code == "admin" => view! { <Redirect path="/admin/people"/> }.into_any(),
        Some(code) => view! { <ListPage code=code/> }.into_any(),
        None => view! { <NotFoundPage/> }.into_any(),
    })
}

fn thing(params: Memo<leptos_router::params::ParamsMap>) -> Memo<Option<EntityRef>> {
    Memo::new(move |_| {
        let params = params.read();
        Some(EntityRef::new(EntityCode::new(params.get("code")?).ok()?, params.get("id")?.parse().ok()?))
    })
}

fn instance(entity: EntityRef) -> AnyView {
    lazy_view(move |pages| (pages.instance)(InstancePageProps { entity: entity.clone() })).into_any()
}

#[component]
fn EntityRoute() -> impl IntoView {
    let params = use_params_map();
    let entity = thing(params);
    let making = Memo::new(move |_| {
        let params = params.read();
        params.get("id").filter(|id| id == "new").and_then(|_| EntityCode::new(params.get("code")?).ok())
    });
    let administers = Memo::new(move |_| params.read().get("code").is_some_and(|code| code == "admin"));
    let part = Memo::new(move |_| params.read().get("id").unwrap_or_default());
    reactive_view(move || match entity.get() {
        _ if administers.get() => {
            let part = part.get();
            lazy_view(move |pages| (pages.administration)(AdministrationProps { part: part.clone() })).into_any()
        }
        _ if making.with(Option::is_some) => lazy_view(move |pages| {
            making.get().map_or_else(|| ().into_any(), |code| (pages.new_page)(NewPageProps { code }))
        })
        .into_any(),
        Some(project) if project.code == "project" => {
            lazy_view(move |pages| (pages.outline)(OutlinePageProps { project: project.clone() })).into_any()
        }
        Some(entity) => instance(entity),
        None => view! { <NotFoundPage/> }.into_any(),
    })
}

#[component]
fn ChildRoute() -> impl IntoView {
    let params = use_params_map();
    let entity = thing(params);
    let tab = Memo::new(move |_| params.read().get("tab").unwrap_or_default());
    reactive_view(move || match (entity.get(), tab.get().as_str()) {
        (Some(entity), "overview") => instance(entity),
        (Some(entity), child) => match EntityCode::new(child) {
            Ok(child) => lazy_view(move |pages| {
                (pages.children)(ChildrenPageProps { parent: entity.clone(), child: child.clone() })
            })
            .into_any(),
            Err(_) => view! { <NotFoundPage/> }.into_any(),
        },
        (None, _) => view! { <NotFoundPage/> }.into_any(),
    })
}

/// Said of what is not there, or not for this person: the two are not told apart. Where the server can't be asked, that is what is said.
#[component]
pub(crate) fn NotFoundPage(
    /// The thing, where it is one.
    #[prop(optional)]
    of: Option<EntityRef>,
) -> impl IntoView {
    let status = use_status();
    let (unknown, looked_for) = (Memo::new(move |_| !status.get().online), of.is_some());
    let words = reactive_view(move || {
        let (sign, title, text) = if unknown.get() && looked_for {
            (
                "cloud-off",
                "This is not on this device",
                "It has not been opened here before, and the server can't be reached. It opens as soon as the network returns.",
            )
        } else {
            (
                "search",
                "There is nothing here",
                "It does not exist, or it is not shared with you. Ask whoever sent you the link to share it.",
            )
        };
        view! { <span class="glyph">{icon(sign)}</span><h2>{title}</h2><p>{text}</p> }
    });
    view! {
        <header class="topbar"><nav class="crumbs" aria-label="Breadcrumb"></nav><SyncStatusButton compact=true/></header>
        <Banners/>
        <div class="content"><div class="blank" data-testid="nothing-here">
            {words}
            {of.map(|entity| { let thing = entity.clone(); view! { {lazy_overlay(move |pages| (pages.deleted)(thing.clone()))}<OrphanedEdits entity=entity/> } })}
            <a class="btn" href="/project">"All projects"</a>
        </div></div>
    }
}

/// Keeps the app itself on the device, and notices a newer build.
fn register_service_worker() {
    // A build that is worked on is not kept: the next save must show.
    if cfg!(debug_assertions) {
        return;
    }
    let workers = window().navigator().service_worker();
    if JsValue::from(&workers).is_undefined() {
        return;
    }
    spawn_local(async move {
        let Ok(found) = JsFuture::from(workers.register("/sw.js")).await else { return };
        let Ok(registration) = found.dyn_into::<web_sys::ServiceWorkerRegistration>() else { return };
        let noticed = registration.clone();
        let look = Closure::<dyn Fn()>::new(move || {
            let Some(worker) = noticed.installing() else { return };
            let first = window().navigator().service_worker().controller().is_none();
            let watched = worker.clone();
            let ready = Closure::<dyn Fn()>::new(move || {
                if watched.state() == web_sys::ServiceWorkerState::Installed && !first {
                    client().update_available.set(true);
                }
            });
            worker.set_onstatechange(Some(ready.as_ref().unchecked_ref()));
            ready.forget();
        });
        registration.set_onupdatefound(Some(look.as_ref().unchecked_ref()));
        look.forget();
        if registration.waiting().is_some() {
            client().update_available.set(true);
        }
    });
}

/// Takes the newer build: it is never forced, and drafts are on the device.
pub(crate) fn apply_update() {
    spawn_local(async {
        let workers = window().navigator().service_worker();
        if let Ok(found) = JsFuture::from(workers.get_registration()).await
            && let Ok(registration) = found.dyn_into::<web_sys::ServiceWorkerRegistration>()
            && let Some(waiting) = registration.waiting()
        {
            let _ = waiting.post_message(&JsValue::from_str("take-over"));
        }
        let _ = window().location().reload();
    });
}
