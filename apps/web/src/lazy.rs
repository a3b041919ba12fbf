//! Loads the views that the first page does not need: detail pages, dialogs, devtools.
//!
//! A release build (`--features split`, `tools/build-web.sh`) has them in a WASM file of their own;
//! in other builds they are part of the main file. A failed download is retried until it succeeds,
//! and the page shows a message meanwhile.
//!
//! Must not: be required by the lists, the app layout or the engine.

use crate::pages::lazy_views::{self as page_views, PageViews};
use crate::table::lazy_views::{self as table_views, TableViews};
use crate::ui::lazy_loading::{LoadState, set_loader, set_state};
use crate::ui::lazy_views::{self as ui_views, UiViews};
use leptos::prelude::*;
use std::cell::Cell;
use std::time::Duration;

#[cfg(feature = "split")]
use leptos::wasm_split::{SplitLoaderError as LoadError, wasm_split};
#[cfg(not(feature = "split"))]
type LoadError = std::convert::Infallible;

/// Delay before the lazy views are downloaded, so that they do not slow down the first page.
const PREFETCH_DELAY: Duration = Duration::from_millis(300);
#[cfg(feature = "split")]
/// Time before a failed download is retried.
const RETRY_DELAY: Duration = Duration::from_secs(3);

/// Render functions of all lazy views, by layer.
type LazyViews = (UiViews, TableViews, PageViews);

#[cfg_attr(feature = "split", wasm_split(pages, wasm_split_path = ::leptos::wasm_split, fallible))]
fn pages() -> Result<LazyViews, LoadError> {
    use crate::pages::{Administration, ChildrenPage, EntityPage, ImportDialog, NewDialog, NewPage, OutlinePage};
    let ui = UiViews {
        overlays: || view! { <crate::pages::Overlays/> }.into_any(),
        sign_in: |over_page| view! { <crate::pages::SignIn over_page=over_page/> }.into_any(),
    };
    let table = TableViews {
        toolbar: |grid| view! { <crate::table::toolbar::TableToolbar grid=grid/> }.into_any(),
        selection_bar: |grid| view! { <crate::table::bulk_actions::SelectionBar grid=grid/> }.into_any(),
        cell_editor: |grid, id, column| {
            view! { <crate::table::editor::CellEditor grid=grid id=id column=column/> }.into_any()
        },
        onboarding: |code| view! { <crate::pages::Onboarding code=code/> }.into_any(),
    };
    let pages = PageViews {
        outline: |project| view! { <OutlinePage project=project/> }.into_any(),
        entity_page: |entity| view! { <EntityPage entity=entity/> }.into_any(),
        children: |parent, child| view! { <ChildrenPage parent=parent child=child/> }.into_any(),
        new_page: |code| view! { <NewPage code=code/> }.into_any(),
        new_dialog: |code, open| view! { <NewDialog code=code parent=None open=open/> }.into_any(),
        import_dialog: |code, open| view! { <ImportDialog code=code parent=None open=open/> }.into_any(),
        administration: |section| view! { <Administration section=section/> }.into_any(),
        deleted: |entity| view! { <crate::pages::DeletedEntityPage entity=entity/> }.into_any(),
        gantt: gantt_part::view,
    };
    Ok((ui, table, pages))
}

thread_local! {
    static FETCH_STARTED: Cell<bool> = const { Cell::new(false) };
}

fn set_views((ui, table, pages): LazyViews) {
    ui_views::set_views(ui);
    table_views::set_views(table);
    page_views::set_views(pages);
    set_state(LoadState::Loaded);
}

/// Starts the download of the lazy views once and retries it until it succeeds.
fn fetch() {
    if FETCH_STARTED.replace(true) {
        return;
    }
    #[cfg(not(feature = "split"))]
    {
        let Ok(views) = pages();
        set_views(views);
    }
    #[cfg(feature = "split")]
    wasm_bindgen_futures::spawn_local(async move {
        loop {
            // Load code and styles in parallel; a view is not rendered without its styles.
            let styles = styles::fetch();
            let pages = pages().await;
            match (pages, styles.await) {
                (Ok(views), true) => break set_views(views),
                _ => set_state(LoadState::Failed),
            }
            gloo_timers::future::sleep(RETRY_DELAY).await;
        }
    });
}

/// Lets lazy views start their own download.
pub(crate) fn install() {
    set_loader(fetch);
}

/// Schedules the download of the lazy views for after the first render.
pub(crate) fn prefetch() {
    set_timeout(fetch, PREFETCH_DELAY);
}

/// The Gantt chart with the scheduling engine, in a part of its own.
mod gantt_part {
    use super::LoadError;
    use crate::pages::GanttChart;
    use crate::ui::reactive::reactive_view;
    use leptos::prelude::*;
    use pmo_domain::EntityRef;
    use pmo_sync::RowView;

    /// Render function of the chart.
    type RenderGantt = fn(EntityRef, Memo<Option<RowView>>) -> AnyView;

    #[cfg_attr(
        feature = "split",
        leptos::wasm_split::wasm_split(gantt, wasm_split_path = ::leptos::wasm_split, fallible)
    )]
    fn gantt() -> Result<RenderGantt, LoadError> {
        Ok(|project, row| view! { <GanttChart project=project row=row/> }.into_any())
    }

    /// Renders the chart once its code is loaded; until then, a placeholder.
    pub(super) fn view(project: EntityRef, row: Memo<Option<RowView>>) -> AnyView {
        let render = RwSignal::new(None::<RenderGantt>);
        #[cfg(not(feature = "split"))]
        {
            let Ok(loaded) = gantt();
            render.set(Some(loaded));
        }
        #[cfg(feature = "split")]
        wasm_bindgen_futures::spawn_local(async move {
            loop {
                match gantt().await {
                    Ok(loaded) => {
                        // The page may be gone.
                        let _ = render.try_set(Some(loaded));
                        break;
                    }
                    Err(_) if render.is_disposed() => break,
                    Err(_) => gloo_timers::future::sleep(super::RETRY_DELAY).await,
                }
            }
        });
        reactive_view(move || match render.get() {
            Some(render) => render(project.clone(), row),
            None => view! { <div class="content"><div class="skeletons" aria-busy="true"><span class="skeleton"></span></div></div> }.into_any(),
        })
        .into_any()
    }
}

/// Style sheet of the lazy views: the page names it in a `meta` element, and it is added on demand.
#[cfg(feature = "split")]
mod styles {
    use futures_channel::oneshot;
    use leptos::prelude::document;
    use wasm_bindgen::JsCast;
    use wasm_bindgen::prelude::Closure;

    /// Starts to load the style sheet; resolves to whether the page has it.
    pub fn fetch() -> impl Future<Output = bool> {
        let (done, loaded) = oneshot::channel();
        if !insert_link(done) {
            return futures_util::future::Either::Left(std::future::ready(true));
        }
        futures_util::future::Either::Right(async { loaded.await.unwrap_or(false) })
    }

    /// Adds the style sheet to the page; returns `false` if the page names none or already has it.
    fn insert_link(done: oneshot::Sender<bool>) -> bool {
        let meta = document().query_selector("meta[name=pmo-later-styles]").ok().flatten();
        let Some(href) = meta.and_then(|meta| meta.get_attribute("content")).filter(|a| !a.is_empty()) else {
            return false;
        };
        let (Some(head), Ok(link)) = (document().head(), document().create_element("link")) else { return false };
        if document().query_selector("link[data-later]").ok().flatten().is_some() {
            return false;
        }
        for (name, value) in [("rel", "stylesheet"), ("href", href.as_str()), ("data-later", "")] {
            let _ = link.set_attribute(name, value);
        }
        let added = link.clone();
        let listener = Closure::once_into_js(move |event: web_sys::Event| {
            let loaded = event.type_() == "load";
            if !loaded {
                added.remove();
            }
            let _ = done.send(loaded);
        });
        for event in ["load", "error"] {
            let _ = link.add_event_listener_with_callback(event, listener.unchecked_ref());
        }
        head.append_child(&link).is_ok()
    }
}
