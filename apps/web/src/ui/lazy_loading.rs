//! Views that are loaded after the first page: their load state and their placeholder.
//!
//! Each layer has a table of the render functions of its own lazy views (`lazy_views.rs`); the
//! module `lazy` at the top loads all of them and fills the tables.
//!
//! Must not: name a view, because this module is part of the first download.

use super::reactive::reactive_view;
use leptos::prelude::*;
use std::cell::Cell;

/// Load state of all lazy views.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum LoadState {
    Loading,
    #[cfg(feature = "split")]
    Failed,
    Loaded,
}

/// Render function; boxed, so that the code around it is compiled once.
pub(crate) type RenderFn = Box<dyn Fn() -> AnyView + Send>;

thread_local! {
    static STATE: ArcRwSignal<LoadState> = ArcRwSignal::new(LoadState::Loading);
    static LOADER: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// Sets the function that starts the download; it must ignore further calls.
pub(crate) fn set_loader(loader: fn()) {
    LOADER.set(Some(loader));
}

/// Reports the outcome of a download. The tables of render functions must be filled before
/// [`LoadState::Loaded`].
pub(crate) fn set_state(state: LoadState) {
    STATE.with(|signal| signal.set(state));
}

/// Starts the download, and renders `render` once it is complete.
///
/// Until then, renders a placeholder or an error message.
pub(crate) fn lazy_view(render: RenderFn) -> impl IntoView {
    if let Some(load) = LOADER.get() {
        load();
    }
    let state = STATE.with(Clone::clone);
    reactive_view(move || {
        match state.get() {
        LoadState::Loaded => render(),
        LoadState::Loading => {
            view! { <div class="content"><div class="skeletons" aria-busy="true"><span class="skeleton"></span></div></div> }.into_any()
        }
        #[cfg(feature = "split")]
        LoadState::Failed => view! {
            <div class="content"><div class="blank"><h2>"This page is not cached yet; connect to load it"</h2>
                <p>"Server unreachable. The page opens when the connection is restored."</p></div></div>
        }
        .into_any(),
    }
    })
}

/// Renders `render` once the lazy views are loaded, and nothing until then.
pub(crate) fn lazy_overlay(render: RenderFn) -> impl IntoView {
    let state = STATE.with(Clone::clone);
    reactive_view(move || if state.get() == LoadState::Loaded { render() } else { ().into_any() })
}
