//! Lazy views that the layout and the sign-in need.

use super::lazy_part::{self, Draw};
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

fn render_with(draw: impl Fn(UiViews) -> AnyView + Send + 'static) -> Draw {
    Box::new(move || VIEWS.get().map_or_else(|| ().into_any(), &draw))
}

/// Renders a lazy view as the page.
pub(crate) fn lazy_ui_view(draw: impl Fn(UiViews) -> AnyView + Send + 'static) -> impl IntoView {
    lazy_part::lazy_view(render_with(draw))
}

/// Renders a lazy view over the page, once it is loaded.
pub(crate) fn lazy_ui_overlay(draw: impl Fn(UiViews) -> AnyView + Send + 'static) -> impl IntoView {
    lazy_part::lazy_overlay(render_with(draw))
}
