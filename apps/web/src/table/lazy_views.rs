//! Lazy views of a table: toolbar, bulk actions, cell editor, and onboarding.

use super::context::TableContext;
use crate::ui::lazy_loading::{self, RenderFn};
use leptos::prelude::*;
use pmo_domain::EntityCode;
use std::cell::Cell;
use uuid::Uuid;

/// Render functions of the lazy views of this layer.
#[derive(Clone, Copy)]
pub(crate) struct TableViews {
    pub toolbar: fn(TableContext) -> AnyView,
    pub selection_bar: fn(TableContext) -> AnyView,
    pub cell_editor: fn(TableContext, Uuid, usize) -> AnyView,
    pub onboarding: fn(EntityCode) -> AnyView,
}

thread_local! {
    static VIEWS: Cell<Option<TableViews>> = const { Cell::new(None) };
}

/// Sets the render functions, after their code has been loaded.
pub(crate) fn set_views(views: TableViews) {
    VIEWS.set(Some(views));
}

fn render_with(render: impl Fn(TableViews) -> AnyView + Send + 'static) -> RenderFn {
    Box::new(move || VIEWS.get().map_or_else(|| ().into_any(), &render))
}

/// Renders a lazy view of the table, once it is loaded.
pub(crate) fn lazy_table_view(render: impl Fn(TableViews) -> AnyView + Send + 'static) -> impl IntoView {
    lazy_loading::lazy_overlay(render_with(render))
}
