//! Menus in the browser's top layer: below what they belong to where there is room, above it where there is not, and from the bottom edge on
//! a phone. They never leave the window.

use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};

/// Narrower windows are phones.
const MOBILE_BREAKPOINT_PX: f64 = 768.0;
/// Pixels kept free around a menu.
const VIEWPORT_MARGIN_PX: f64 = 8.0;

/// Shows a menu (an element with `popover="manual"`) beside the element of that id.
pub fn open_beside(menu: &web_sys::HtmlElement, beside: &str) {
    let near = document().get_element_by_id(beside);
    position(menu, near, 4.0);
}

/// Shows what changes a table's cell over the cell itself.
pub fn open_covering(menu: &web_sys::HtmlElement, cell: &str) {
    let near = document().get_element_by_id(cell);
    if let Some(near) = &near {
        let wide = near.get_bounding_client_rect().width().max(180.0);
        style(menu, &format!("inline-size: {wide}px"));
    }
    let high = near.as_ref().map_or(0.0, |near| near.get_bounding_client_rect().height());
    position(menu, near, -high);
}

/// Shows a menu beside the table cell that it is in.
pub fn open_in_cell(menu: &web_sys::HtmlElement) {
    let near = menu.closest("td").ok().flatten();
    position(menu, near, 4.0);
}

/// Through the object model: the content policy takes no style written into the page.
fn style(element: &web_sys::HtmlElement, text: &str) {
    if let Ok(style) = js_sys::Reflect::get(element, &JsValue::from_str("style")) {
        let _ = js_sys::Reflect::set(&style, &JsValue::from_str("cssText"), &JsValue::from_str(text));
    }
}

fn position(menu: &web_sys::HtmlElement, near: Option<web_sys::Element>, below_by: f64) {
    let show = js_sys::Reflect::get(menu, &JsValue::from_str("showPopover"));
    if let Some(show) = show.ok().and_then(|f| f.dyn_into::<js_sys::Function>().ok()) {
        let _ = show.call0(menu);
    }
    let size = |value: Result<JsValue, JsValue>| value.ok().and_then(|v| v.as_f64()).unwrap_or_default();
    let (Some(window), Some(near)) = (web_sys::window(), near) else { return };
    let (width, height) = (size(window.inner_width()), size(window.inner_height()));
    let near = near.get_bounding_client_rect();
    let (wide, high) = (f64::from(menu.offset_width()), f64::from(menu.offset_height()));
    let place = if width < MOBILE_BREAKPOINT_PX {
        format!("inset: auto {VIEWPORT_MARGIN_PX}px {VIEWPORT_MARGIN_PX}px {VIEWPORT_MARGIN_PX}px; inline-size: auto")
    } else {
        let below = near.bottom() + below_by;
        let top = if below + high + VIEWPORT_MARGIN_PX <= height {
            below
        } else {
            (near.top() - below_by - high).max(VIEWPORT_MARGIN_PX)
        };
        let left = near.left().min(width - wide - VIEWPORT_MARGIN_PX).max(VIEWPORT_MARGIN_PX);
        let kept = if below_by < 0.0 { format!("; inline-size: {wide}px") } else { String::new() };
        format!("inset: {top}px auto auto {left}px{kept}")
    };
    style(menu, &place);
}

/// Runs `close` when somebody presses beside the element.
pub fn close_when_outside(node: NodeRef<leptos::html::Div>, close: impl Fn() + Send + Sync + 'static) {
    let handle = window_event_listener(leptos::ev::pointerdown, move |event| {
        let target = event.target().and_then(|t| t.dyn_into::<web_sys::Node>().ok());
        if node.get_untracked().is_some_and(|node| !node.contains(target.as_ref())) {
            close();
        }
    });
    on_cleanup(move || handle.remove());
}
