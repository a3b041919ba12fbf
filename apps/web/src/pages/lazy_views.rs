//! Lazily loaded pages and dialogs.

use crate::ui::lazy_loading::{self, RenderFn};
use leptos::prelude::*;
use pmo_domain::{EntityCode, EntityRef};
use pmo_sync::RowView;
use std::cell::Cell;

/// Render functions of the lazy views of this layer; dialogs take the signal that closes them.
#[derive(Clone, Copy)]
pub(crate) struct PageViews {
    pub outline: fn(EntityRef) -> AnyView,
    pub entity_page: fn(EntityRef) -> AnyView,
    pub children: fn(EntityRef, EntityCode) -> AnyView,
    pub new_dialog: fn(EntityCode, RwSignal<bool>) -> AnyView,
    pub new_page: fn(EntityCode) -> AnyView,
    pub import_dialog: fn(EntityCode, RwSignal<bool>) -> AnyView,
    pub administration: fn(String) -> AnyView,
    pub deleted: fn(EntityRef) -> AnyView,
    /// Chart of a project; loads its own code on demand.
    pub gantt: fn(EntityRef, Memo<Option<RowView>>) -> AnyView,
}

thread_local! {
    static VIEWS: Cell<Option<PageViews>> = const { Cell::new(None) };
}

/// Sets the render functions, after their code has been loaded.
pub(crate) fn set_views(views: PageViews) {
    VIEWS.set(Some(views));
}

fn render_with(render: impl Fn(PageViews) -> AnyView + Send + 'static) -> RenderFn {
    Box::new(move || VIEWS.get().map_or_else(|| ().into_any(), &render))
}

/// Renders a lazy page.
pub(crate) fn lazy_page(render: impl Fn(PageViews) -> AnyView + Send + 'static) -> impl IntoView {
    lazy_loading::lazy_view(render_with(render))
}

/// Renders a lazy dialog over the page, once it is loaded.
pub(crate) fn lazy_page_overlay(render: impl Fn(PageViews) -> AnyView + Send + 'static) -> impl IntoView {
    lazy_loading::lazy_overlay(render_with(render))
}
