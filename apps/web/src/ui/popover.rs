//! Menus in the browser's top layer: below what they belong to where there is room, above it where there is not, and from the bottom edge on
//! a phone. They never leave the window.

use wasm_bindgen::{JsCast, JsValue};

/// Narrower windows are phones.
const PHONE: f64 = 768.0;
/// Pixels kept free around a menu.
const GAP: f64 = 8.0;

/// Shows a menu (an element with `popover="manual"`) beside the table cell that it is in.
pub fn open_beside(menu: &web_sys::HtmlElement) {
    let show = js_sys::Reflect::get(menu, &JsValue::from_str("showPopover"));
    if let Some(show) = show.ok().and_then(|f| f.dyn_into::<js_sys::Function>().ok()) {
        let _ = show.call0(menu);
    }
    let size = |value: Result<JsValue, JsValue>| value.ok().and_then(|v| v.as_f64()).unwrap_or_default();
    let (Some(window), Ok(Some(cell))) = (web_sys::window(), menu.closest("td")) else { return };
    let (width, height) = (size(window.inner_width()), size(window.inner_height()));
    let near = cell.get_bounding_client_rect();
    let (wide, high) = (f64::from(menu.offset_width()), f64::from(menu.offset_height()));
    let place = if width < PHONE {
        format!("inset: auto {GAP}px {GAP}px {GAP}px; inline-size: auto")
    } else {
        let below = near.bottom() + 4.0;
        let top = if below + high + GAP <= height { below } else { (near.top() - 4.0 - high).max(GAP) };
        let left = near.left().min(width - wide - GAP).max(GAP);
        format!("inset: {top}px auto auto {left}px")
    };
    // Through the object model: the content policy takes no style written into the page.
    let style = js_sys::Reflect::get(menu, &JsValue::from_str("style"));
    if let Ok(style) = style {
        let _ = js_sys::Reflect::set(&style, &JsValue::from_str("cssText"), &JsValue::from_str(&place));
    }
}
