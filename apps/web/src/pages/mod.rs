//! Pages, one for each kind of address. They know kinds of columns, not types of things; the outline is the one page with a type of its
//! own.

mod administration; // what administrators change for everybody
mod children; // what hangs below one thing
mod dialogs; // making things
mod exchange; // data that comes and goes
mod files; // what artifacts hold
mod first_run; // the ways to begin
mod history; // what happened to a thing
mod instance; // one thing: form, properties, draft
mod links; // what links alone tie
mod list; // things of a type
mod outline; // a project's tasks as a tree-table
mod sharing; // who may do what with a thing
mod sign_in; // the door
mod talk; // what is said about a thing

use crate::client::{Presence, client};
use crate::hooks::{CacheProvider, use_status};
use crate::parts::{fetch_soon, over_the_page, with_pages};
use crate::ui::cell::icon;
use crate::ui::live::live;
use crate::ui::shell::{Shell, Strips, SyncMark};
use crate::ui::typed::LeftBehind;
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
pub(crate) use children::{ChildrenPage, ChildrenPageProps};
pub(crate) use dialogs::{NewDialog, NewDialogProps, NewPage, NewPageProps};
pub(crate) use exchange::{ImportDialog, ImportDialogProps, export};
pub(crate) use files::{OnTheirWay, hold_stray_drops};
pub(crate) use first_run::FirstRun;
pub(crate) use history::Deleted;
pub(crate) use instance::{InstancePage, InstancePageProps, level_of};
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
            Presence::Here(user) | Presence::Ended(user) => Some(Some(user.person_id)),
            Presence::Nobody => Some(None),
            Presence::Starting => None,
        })
    };
    let ended = Memo::new(move |_| matches!(presence.get(), Presence::Ended(_)));
    view! {
        {live(move || match inside.get() {
            None => view! { <div class="starting" role="status"><span class="vh">"Opening"</span></div> }.into_any(),
            Some(None) => with_pages(move |pages| (pages.sign_in)(false)).into_any(),
            Some(Some(_)) => view! { <CacheProvider><Inside/></CacheProvider> }.into_any(),
        })}
        {live(move || ended.get().then(|| over_the_page(move |pages| (pages.sign_in)(true))))}
    }
}

#[component]
fn Inside() -> impl IntoView {
    fetch_soon();
    view! {
        <Router>
            <Shell>
                <Routes fallback=|| view! { <NothingHere/> }>
                    <Route path=path!("/") view=|| view! { <Redirect path="/project"/> }/>
                    <Route path=path!("/:code") view=TypePage/>
                    <Route path=path!("/:code/:id") view=ThingPage/>
                    <Route path=path!("/:code/:id/:tab") view=TabPage/>
                </Routes>
            </Shell>
        </Router>
    }
}

#[component]
fn TypePage() -> impl IntoView {
    let params = use_params_map();
    let code = Memo::new(move |_| params.read().get("code").and_then(|c| EntityCode::new(c).ok()));
    live(move || match code.get() {
        Some(code) if code == "admin" => view! { <Redirect path="/admin/people"/> }.into_any(),
        Some(code) => view! { <ListPage code=code/> }.into_any(),
        None => view! { <NothingHere/> }.into_any(),
    })
}

fn thing(params: Memo<leptos_router::params::ParamsMap>) -> Memo<Option<EntityRef>> {
    Memo::new(move |_| {
        let params = params.read();
        Some(EntityRef::new(EntityCode::new(params.get("code")?).ok()?, params.get("id")?.parse().ok()?))
    })
}

fn instance(entity: EntityRef) -> AnyView {
    with_pages(move |pages| (pages.instance)(InstancePageProps { entity: entity.clone() })).into_any()
}

#[component]
fn ThingPage() -> impl IntoView {
    let params = use_params_map();
    let entity = thing(params);
    let making = Memo::new(move |_| {
        let params = params.read();
        params.get("id").filter(|id| id == "new").and_then(|_| EntityCode::new(params.get("code")?).ok())
    });
    let administers = Memo::new(move |_| params.read().get("code").is_some_and(|code| code == "admin"));
    let part = Memo::new(move |_| params.read().get("id").unwrap_or_default());
    live(move || match entity.get() {
        _ if administers.get() => {
            let part = part.get();
            with_pages(move |pages| (pages.administration)(AdministrationProps { part: part.clone() })).into_any()
        }
        _ if making.with(Option::is_some) => with_pages(move |pages| {
            making.get().map_or_else(|| ().into_any(), |code| (pages.new_page)(NewPageProps { code }))
        })
        .into_any(),
        Some(project) if project.code == "project" => {
            with_pages(move |pages| (pages.outline)(OutlinePageProps { project: project.clone() })).into_any()
        }
        Some(entity) => instance(entity),
        None => view! { <NothingHere/> }.into_any(),
    })
}

#[component]
fn TabPage() -> impl IntoView {
    let params = use_params_map();
    let entity = thing(params);
    let tab = Memo::new(move |_| params.read().get("tab").unwrap_or_default());
    live(move || match (entity.get(), tab.get().as_str()) {
        (Some(entity), "overview") => instance(entity),
        (Some(entity), child) => match EntityCode::new(child) {
            Ok(child) => with_pages(move |pages| {
                (pages.children)(ChildrenPageProps { parent: entity.clone(), child: child.clone() })
            })
            .into_any(),
            Err(_) => view! { <NothingHere/> }.into_any(),
        },
        (None, _) => view! { <NothingHere/> }.into_any(),
    })
}

/// Said of what is not there, or not for this person: the two are not told apart. Where the server can't be asked, that is what is said.
#[component]
pub(crate) fn NothingHere(
    /// The thing, where it is one.
    #[prop(optional)]
    of: Option<EntityRef>,
) -> impl IntoView {
    let status = use_status();
    let (unknown, looked_for) = (Memo::new(move |_| !status.get().online), of.is_some());
    let words = live(move || {
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
        <header class="topbar"><nav class="crumbs" aria-label="Breadcrumb"></nav><SyncMark compact=true/></header>
        <Strips/>
        <div class="content"><div class="blank" data-testid="nothing-here">
            {words}
            {of.map(|entity| { let thing = entity.clone(); view! { {over_the_page(move |pages| (pages.deleted)(thing.clone()))}<LeftBehind entity=entity/> } })}
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
                    client().newer_build.set(true);
                }
            });
            worker.set_onstatechange(Some(ready.as_ref().unchecked_ref()));
            ready.forget();
        });
        registration.set_onupdatefound(Some(look.as_ref().unchecked_ref()));
        look.forget();
        if registration.waiting().is_some() {
            client().newer_build.set(true);
        }
    });
}

/// Takes the newer build: it is never forced, and drafts are on the device.
pub(crate) fn take_newer_build() {
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
