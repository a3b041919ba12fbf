//! Positioning of menus in the browser's top layer.
//!
//! A menu opens below its anchor if it fits, otherwise above it; on small screens it opens at the
//! bottom edge.
//!
//! Invariant: a menu stays within the viewport.

use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};

/// Viewport width below which the layout for phones is used, in pixels.
const MOBILE_BREAKPOINT_PX: f64 = 768.0;
/// Minimum distance between a menu and the edges of the viewport, in pixels.
const VIEWPORT_MARGIN_PX: f64 = 8.0;

/// Opens a menu (an element with `popover="manual"`) next to the element with id `anchor_id`.
pub(crate) fn open_at_anchor(menu: &web_sys::HtmlElement, anchor_id: &str) {
    let anchor = document().get_element_by_id(anchor_id);
    position(menu, anchor, 4.0);
}

/// Opens the editor of a table cell over the cell with id `cell_id`, at least as wide as the cell.
pub(crate) fn open_covering(menu: &web_sys::HtmlElement, cell_id: &str) {
    let cell = document().get_element_by_id(cell_id);
    if let Some(cell) = &cell {
        let width = cell.get_bounding_client_rect().width().max(180.0);
        style(menu, &format!("inline-size: {width}px"));
    }
    let height = cell.as_ref().map_or(0.0, |cell| cell.get_bounding_client_rect().height());
    position(menu, cell, -height);
}

/// Opens a menu next to the table cell that contains it.
pub(crate) fn open_in_cell(menu: &web_sys::HtmlElement) {
    let cell = menu.closest("td").ok().flatten();
    position(menu, cell, 4.0);
}

/// Sets the inline style through the DOM: the content security policy forbids style attributes.
fn style(element: &web_sys::HtmlElement, text: &str) {
    if let Ok(style) = js_sys::Reflect::get(element, &JsValue::from_str("style")) {
        let _ = js_sys::Reflect::set(&style, &JsValue::from_str("cssText"), &JsValue::from_str(text));
    }
}

/// Shows a menu at `offset` pixels below its anchor; a negative offset covers the anchor.
fn position(menu: &web_sys::HtmlElement, anchor: Option<web_sys::Element>, offset: f64) {
    let show = js_sys::Reflect::get(menu, &JsValue::from_str("showPopover"));
    if let Some(show) = show.ok().and_then(|f| f.dyn_into::<js_sys::Function>().ok()) {
        let _ = show.call0(menu);
    }
    let size = |value: Result<JsValue, JsValue>| value.ok().and_then(|v| v.as_f64()).unwrap_or_default();
    let (Some(window), Some(anchor)) = (web_sys::window(), anchor) else { return };
    let (viewport_width, viewport_height) = (size(window.inner_width()), size(window.inner_height()));
    let anchor = anchor.get_bounding_client_rect();
    let (width, height) = (f64::from(menu.offset_width()), f64::from(menu.offset_height()));
    let css = if viewport_width < MOBILE_BREAKPOINT_PX {
        format!("inset: auto {VIEWPORT_MARGIN_PX}px {VIEWPORT_MARGIN_PX}px {VIEWPORT_MARGIN_PX}px; inline-size: auto")
    } else {
        let below = anchor.bottom() + offset;
        let top = if below + height + VIEWPORT_MARGIN_PX <= viewport_height {
            below
        } else {
            (anchor.top() - offset - height).max(VIEWPORT_MARGIN_PX)
        };
        let left = anchor.left().min(viewport_width - width - VIEWPORT_MARGIN_PX).max(VIEWPORT_MARGIN_PX);
        // `style` replaces the whole inline style, so the width set by `open_covering` is repeated.
        let inline_size = if offset < 0.0 { format!("; inline-size: {width}px") } else { String::new() };
        format!("inset: {top}px auto auto {left}px{inline_size}")
    };
    style(menu, &css);
}

/// Calls `close` when the user presses a pointer outside of the element.
pub(crate) fn close_when_outside(node: NodeRef<leptos::html::Div>, close: impl Fn() + Send + Sync + 'static) {
    let handle = window_event_listener(leptos::ev::pointerdown, move |event| {
        let target = event.target().and_then(|t| t.dyn_into::<web_sys::Node>().ok());
        if node.get_untracked().is_some_and(|node| !node.contains(target.as_ref())) {
            close();
        }
    });
    on_cleanup(move || handle.remove());
}
