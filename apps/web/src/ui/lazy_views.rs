//! Lazy views that the layout and the sign-in need.

use super::lazy_loading::{self, RenderFn};
use leptos::prelude::*;
use std::cell::Cell;

/// Render functions of the lazy views of this layer.
#[derive(Clone, Copy)]
pub(crate) struct UiViews {
    pub overlays: fn() -> AnyView,
    pub sign_in: fn(bool) -> AnyView,
}

thread_local! {
    static VIEWS: Cell<Option<UiViews>> = const { Cell::new(None) };
}

/// Sets the render functions, after their code has been loaded.
pub(crate) fn set_views(views: UiViews) {
    VIEWS.set(Some(views));
}

fn render_with(render: impl Fn(UiViews) -> AnyView + Send + 'static) -> RenderFn {
    Box::new(move || VIEWS.get().map_or_else(|| ().into_any(), &render))
}

/// Renders a lazy view as the page.
pub(crate) fn lazy_ui_view(render: impl Fn(UiViews) -> AnyView + Send + 'static) -> impl IntoView {
    lazy_loading::lazy_view(render_with(render))
}

/// Renders a lazy view over the page, once it is loaded.
pub(crate) fn lazy_ui_overlay(render: impl Fn(UiViews) -> AnyView + Send + 'static) -> impl IntoView {
    lazy_loading::lazy_overlay(render_with(render))
}
