//! Root component: sign-in state and routes.

use crate::client::{AuthState, client, service_worker};
use crate::hooks::CacheProvider;
use crate::lazy;
use crate::pages::lazy_views::lazy_page;
use crate::pages::list::ListPage;
use crate::pages::not_found::NotFoundPage;
use crate::ui::layout::AppLayout;
use crate::ui::lazy_views::{lazy_ui_overlay, lazy_ui_view};
use crate::ui::reactive::reactive_view;
use leptos::prelude::*;
use leptos_router::components::{Redirect, Route, Router, Routes};
use leptos_router::hooks::use_params_map;
use leptos_router::path;
use pmo_domain::{EntityCode, EntityRef};

/// Root component: sign-in page or authenticated routes, depending on the sign-in state.
#[component]
pub fn App() -> impl IntoView {
    lazy::install();
    service_worker::register();
    let auth_state = client().auth_state.clone();
    // Re-render only when another user signs in, not when the session expires: input on the page is
    // preserved.
    let signed_in = {
        let auth_state = auth_state.clone();
        Memo::new(move |_| match auth_state.get() {
            AuthState::SignedIn(user) | AuthState::SessionExpired(user) => Some(Some(user.person_id)),
            AuthState::SignedOut => Some(None),
            AuthState::Starting => None,
        })
    };
    let expired = Memo::new(move |_| matches!(auth_state.get(), AuthState::SessionExpired(_)));
    view! {
        {reactive_view(move || match signed_in.get() {
            None => view! { <div class="starting" role="status"><span class="vh">"Loading…"</span></div> }.into_any(),
            Some(None) => lazy_ui_view(move |views| (views.sign_in)(false)).into_any(),
            Some(Some(_)) => view! { <CacheProvider><AuthenticatedRoutes/></CacheProvider> }.into_any(),
        })}
        {reactive_view(move || expired.get().then(|| lazy_ui_overlay(move |views| (views.sign_in)(true))))}
    }
}

#[component]
fn AuthenticatedRoutes() -> impl IntoView {
    lazy::prefetch();
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
    let code = Memo::new(move |_| params.read().get("code").and_then(|code| EntityCode::new(code).ok()));
    reactive_view(move || match code.get() {
        Some(code) if code == "admin" => view! { <Redirect path="/admin/people"/> }.into_any(),
        Some(code) => view! { <ListPage code=code/> }.into_any(),
        None => view! { <NotFoundPage/> }.into_any(),
    })
}

fn entity_param(params: Memo<leptos_router::params::ParamsMap>) -> Memo<Option<EntityRef>> {
    Memo::new(move |_| {
        let params = params.read();
        Some(EntityRef::new(EntityCode::new(params.get("code")?).ok()?, params.get("id")?.parse().ok()?))
    })
}

fn entity_view(entity: EntityRef) -> AnyView {
    lazy_page(move |pages| (pages.entity_page)(entity.clone())).into_any()
}

#[component]
fn EntityRoute() -> impl IntoView {
    let params = use_params_map();
    let entity = entity_param(params);
    let new_code = Memo::new(move |_| {
        let params = params.read();
        params.get("id").filter(|id| id == "new").and_then(|_| EntityCode::new(params.get("code")?).ok())
    });
    let is_admin = Memo::new(move |_| params.read().get("code").is_some_and(|code| code == "admin"));
    let section = Memo::new(move |_| params.read().get("id").unwrap_or_default());
    reactive_view(move || match entity.get() {
        _ if is_admin.get() => {
            let section = section.get();
            lazy_page(move |pages| (pages.administration)(section.clone())).into_any()
        }
        _ if new_code.with(Option::is_some) => {
            lazy_page(move |pages| new_code.get().map_or_else(|| ().into_any(), |code| (pages.new_page)(code)))
                .into_any()
        }
        Some(project) if project.code == "project" => {
            lazy_page(move |pages| (pages.outline)(project.clone())).into_any()
        }
        Some(entity) => entity_view(entity),
        None => view! { <NotFoundPage/> }.into_any(),
    })
}

#[component]
fn ChildRoute() -> impl IntoView {
    let params = use_params_map();
    let entity = entity_param(params);
    let tab = Memo::new(move |_| params.read().get("tab").unwrap_or_default());
    reactive_view(move || match (entity.get(), tab.get().as_str()) {
        (Some(entity), "overview") => entity_view(entity),
        (Some(entity), child) => match EntityCode::new(child) {
            Ok(child) => lazy_page(move |pages| (pages.children)(entity.clone(), child.clone())).into_any(),
            Err(_) => view! { <NotFoundPage/> }.into_any(),
        },
        (None, _) => view! { <NotFoundPage/> }.into_any(),
    })
}
