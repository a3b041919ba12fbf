//! The parts of the app that are downloaded after what shows first: pages of one thing, dialogs, the tools of whoever works on the app. A build that is
//! shipped has them in files of their own (`--features split`, `tools/build-web.sh`); elsewhere they are there from the start. A part that could not be
//! fetched is asked for again until it is here, and the page says so meanwhile; the lists, the frame and the engine may not need one.

use crate::pages::{
    AdministrationProps, ChildrenPageProps, ImportDialogProps, InstancePageProps, NewDialogProps, NewPageProps,
    OutlinePageProps,
};
use crate::table::TableContext;
use crate::ui::reactive::reactive_view;
use leptos::prelude::*;
use pmo_domain::{EntityCode, EntityRef};
use std::cell::Cell;
use std::time::Duration;
use uuid::Uuid;

#[cfg(feature = "split")]
use leptos::wasm_split::{SplitLoaderError as LoadError, wasm_split};
#[cfg(not(feature = "split"))]
type LoadError = std::convert::Infallible;

/// How long after the first page the rest is fetched, so that it does not stand in its way.
const PREFETCH_DELAY: Duration = Duration::from_millis(300);
#[cfg(feature = "split")]
/// Until a part that could not be fetched is asked for again.
const RETRY_DELAY: Duration = Duration::from_secs(3);

/// What draws each of the pages that come later.
#[derive(Clone, Copy)]
pub struct LazyViews {
    pub outline: fn(OutlinePageProps) -> AnyView,
    pub instance: fn(InstancePageProps) -> AnyView,
    pub children: fn(ChildrenPageProps) -> AnyView,
    pub new_dialog: fn(NewDialogProps) -> AnyView,
    pub new_page: fn(NewPageProps) -> AnyView,
    pub import_dialog: fn(ImportDialogProps) -> AnyView,
    pub administration: fn(AdministrationProps) -> AnyView,
    pub deleted: fn(EntityRef) -> AnyView,
    pub first_run: fn(EntityCode) -> AnyView,
    pub sign_in: fn(bool) -> AnyView,
    pub overlays: fn() -> AnyView,
    pub table_tools: fn(TableContext) -> AnyView,
    pub selection_bar: fn(TableContext) -> AnyView,
    pub cell_editor: fn(TableContext, Uuid, usize) -> AnyView,
}

#[cfg_attr(feature = "split", wasm_split(pages, wasm_split_path = ::leptos::wasm_split, fallible))]
fn pages() -> Result<LazyViews, LoadError> {
    use crate::pages::{Administration, ChildrenPage, ImportDialog, InstancePage, NewDialog, NewPage, OutlinePage};
    Ok(LazyViews {
        outline: |props| OutlinePage(props).into_any(),
        instance: |props| InstancePage(props).into_any(),
        children: |props| ChildrenPage(props).into_any(),
        new_page: |props| NewPage(props).into_any(),
        new_dialog: |props| NewDialog(props).into_any(),
        import_dialog: |props| ImportDialog(props).into_any(),
        administration: |props| Administration(props).into_any(),
        table_tools: |grid| view! { <crate::table::toolbar::TableTools grid=grid/> }.into_any(),
        selection_bar: |grid| view! { <crate::table::bulk_actions::SelectionBar grid=grid/> }.into_any(),
        cell_editor: |grid, id, column| {
            view! { <crate::table::editor::CellEditor grid=grid id=id column=column/> }.into_any()
        },
        deleted: |entity| view! { <crate::pages::Deleted entity=entity/> }.into_any(),
        first_run: |code| view! { <crate::pages::FirstRun code=code/> }.into_any(),
        sign_in: |over_page| view! { <crate::pages::SignIn over_page=over_page/> }.into_any(),
        overlays: || view! { <crate::ui::overlays::Overlays/> }.into_any(),
    })
}

/// How far a part has come.
#[derive(Clone, Copy)]
enum LoadState<T> {
    Loading,
    #[cfg(feature = "split")]
    Failed,
    Loaded(T),
}

thread_local! {
    static FETCH_STARTED: Cell<bool> = const { Cell::new(false) };
    static LAZY_VIEWS: ArcRwSignal<LoadState<LazyViews>> = ArcRwSignal::new(LoadState::Loading);
}

/// Fetches what comes later, unless that has begun, and until it is here.
fn fetch() {
    if FETCH_STARTED.replace(true) {
        return;
    }
    let part = LAZY_VIEWS.with(Clone::clone);
    #[cfg(not(feature = "split"))]
    {
        let Ok(pages) = pages();
        part.set(LoadState::Loaded(pages));
    }
    #[cfg(feature = "split")]
    wasm_bindgen_futures::spawn_local(async move {
        loop {
            // Both at once; a page without its styles is not drawn.
            let styles = styles::fetch();
            let pages = pages().await;
            match (pages, styles.await) {
                (Ok(pages), true) => break part.set(LoadState::Loaded(pages)),
                _ => part.set(LoadState::Failed),
            }
            gloo_timers::future::sleep(RETRY_DELAY).await;
        }
    });
}

/// Fetches it when what shows first has been drawn.
pub fn prefetch() {
    set_timeout(fetch, PREFETCH_DELAY);
}

/// Draws with a part as soon as it is here.
pub fn lazy_view(draw: impl Fn(LazyViews) -> AnyView + Send + 'static) -> impl IntoView {
    fetch();
    let part = LAZY_VIEWS.with(Clone::clone);
    reactive_view(move || {
        match part.get() {
        LoadState::Loaded(pages) => draw(pages),
        LoadState::Loading => view! { <div class="content"><div class="skeletons" aria-busy="true"><span class="skeleton"></span></div></div> }.into_any(),
        #[cfg(feature = "split")]
        LoadState::Failed => view! {
            <div class="content"><div class="blank"><h2>"This part of the app is not on this device yet"</h2>
                <p>"The server can't be reached. It opens as soon as the network returns."</p></div></div>
        }
        .into_any(),
    }
    })
}

/// Draws with it over a page, or nothing until it is here.
pub fn lazy_overlay(draw: impl Fn(LazyViews) -> AnyView + Send + 'static) -> impl IntoView {
    let part = LAZY_VIEWS.with(Clone::clone);
    reactive_view(move || match part.get() {
        LoadState::Loaded(pages) => draw(pages),
        _ => ().into_any(),
    })
}

/// The later part's style sheet: named by the page, and put into it when it is wanted.
#[cfg(feature = "split")]
mod styles {
    use futures_channel::oneshot;
    use leptos::prelude::document;
    use wasm_bindgen::JsCast;
    use wasm_bindgen::prelude::Closure;

    /// Begins to fetch it; answers whether it is in the page.
    pub fn fetch() -> impl Future<Output = bool> {
        let (done, arrived) = oneshot::channel();
        if !put(done) {
            return futures_util::future::Either::Left(std::future::ready(true));
        }
        futures_util::future::Either::Right(async { arrived.await.unwrap_or(false) })
    }

    /// Puts it into the page; false where the page names none, or has it already.
    fn put(done: oneshot::Sender<bool>) -> bool {
        let meta = document().query_selector("meta[name=pmo-later-styles]").ok().flatten();
        let Some(address) = meta.and_then(|meta| meta.get_attribute("content")).filter(|a| !a.is_empty()) else {
            return false;
        };
        let (Some(head), Ok(link)) = (document().head(), document().create_element("link")) else { return false };
        if document().query_selector("link[data-later]").ok().flatten().is_some() {
            return false;
        }
        for (name, value) in [("rel", "stylesheet"), ("href", address.as_str()), ("data-later", "")] {
            let _ = link.set_attribute(name, value);
        }
        let gone = link.clone();
        let heard = Closure::once_into_js(move |event: web_sys::Event| {
            let here = event.type_() == "load";
            if !here {
                gone.remove();
            }
            let _ = done.send(here);
        });
        for event in ["load", "error"] {
            let _ = link.add_event_listener_with_callback(event, heard.unchecked_ref());
        }
        head.append_child(&link).is_ok()
    }
}
