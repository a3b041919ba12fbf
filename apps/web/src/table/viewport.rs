//! Virtual scrolling: only the visible rows of a list are in the document.
//!
//! All rows have the same height; two spacers replace the rows above and below. After a jump the
//! visible rows are rendered first, and the overscan rows after the next paint.

use crate::ui::reactive::{after_paint, reactive_attr};
use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

/// Rows rendered beyond the visible range, so that fast scrolling shows no gap.
const OVERSCAN_ROWS: usize = 8;

/// Range of rows that is in the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VisibleRange {
    /// Index of the first rendered row.
    pub first: usize,
    /// Index after the last rendered row.
    pub end: usize,
}

/// Scroll state of a list.
#[derive(Clone, Copy)]
pub(crate) struct Viewport {
    /// Element that scrolls.
    pub node: NodeRef<html::Div>,
    top: RwSignal<f64>,
    height: RwSignal<f64>,
    row: RwSignal<f64>,
    /// Whether rows beyond the visible range are rendered.
    overscan_enabled: RwSignal<bool>,
}

/// Returns the height of a row in pixels: `card` on small screens, else that of a table line.
fn row_height(card: f64) -> f64 {
    let narrow = window().match_media("(width < 48rem)").ok().flatten().is_some_and(|m| m.matches());
    if narrow { card } else { 32.0 }
}

/// Creates a viewport that follows the scroll position and size of an element.
///
/// `card` is the height of a row in pixels on small screens; it must match the style sheet.
pub(crate) fn use_viewport(card: f64) -> Viewport {
    let viewport = Viewport {
        node: NodeRef::new(),
        top: RwSignal::new(0.0),
        height: RwSignal::new(900.0),
        row: RwSignal::new(row_height(card)),
        overscan_enabled: RwSignal::new(true),
    };
    let measure = move || {
        if let Some(element) = viewport.node.get_untracked() {
            viewport.height.set(f64::from(element.client_height()));
        }
        viewport.row.set(row_height(card));
    };
    Effect::new(move || {
        viewport.node.track();
        measure();
    });
    let handle = window_event_listener(leptos::ev::resize, move |_| measure());
    on_cleanup(move || handle.remove());
    viewport
}

/// Returns the range of `count` rows to render in a viewport of `height` pixels.
///
/// `top` is the scroll position and `row` the height of a row, both in pixels; `overscan` rows are
/// added at both ends.
fn visible_range(top: f64, height: f64, row: f64, overscan: usize, count: usize) -> VisibleRange {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // pixels of a page
    let (first, visible) = ((top / row) as usize, (height / row) as usize + 2);
    let end = first + visible + overscan;
    // With overscan, round to multiples of four rows, so that not every scroll event changes the
    // range.
    let (first, end) = match overscan {
        0 => (first, end),
        _ => (first.saturating_sub(overscan) / 4 * 4, end.next_multiple_of(4)),
    };
    VisibleRange { first: first.min(count), end: end.min(count) }
}

impl Viewport {
    /// Handles a scroll event; disables overscan until the next paint after a jump.
    pub(crate) fn on_scroll(self) {
        let Some(element) = self.node.get_untracked() else { return };
        let (top, previous) = (f64::from(element.scroll_top()), self.top.get_untracked());
        if (top - previous).abs() > OVERSCAN_ROWS as f64 * self.row.get_untracked() {
            self.overscan_enabled.set(false);
            after_paint(move || {
                let _ = self.overscan_enabled.try_set(true);
            });
        }
        self.top.set(top);
    }

    /// Returns the range of `count` rows to render.
    pub(crate) fn window(&self, count: usize) -> VisibleRange {
        let overscan = if self.overscan_enabled.get() { OVERSCAN_ROWS } else { 0 };
        visible_range(self.top.get(), self.height.get(), self.row.get(), overscan, count)
    }

    /// Returns the number of rows by which a page key moves.
    pub(crate) fn rows_per_page(&self) -> usize {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // pixels of a page
        let rows = (self.height.get_untracked() / self.row.get_untracked()) as usize;
        rows.saturating_sub(2)
    }

    /// Renders a spacer as high as `rows` rows that are not in the document.
    pub(crate) fn spacer(self, rows: impl Fn() -> usize + Send + 'static, node: NodeRef<html::Tr>) -> AnyView {
        #[allow(clippy::cast_precision_loss)] // rows of a table
        let height = move || format!("block-size:{}px", rows() as f64 * self.row.get());
        view! { <tr class="spacer" aria-hidden="true" style=reactive_attr(height) node_ref=node><td></td></tr> }
            .into_any()
    }

    /// Scrolls the row with this index into view.
    pub(crate) fn scroll_to_row(&self, index: usize) {
        let Some(element) = self.node.get_untracked() else { return };
        let element: web_sys::Element = element.unchecked_into();
        #[allow(clippy::cast_precision_loss)]
        let row_top = index as f64 * self.row.get_untracked();
        let (top, height) = (f64::from(element.scroll_top()), f64::from(element.client_height()));
        #[allow(clippy::cast_possible_truncation)]
        if row_top < top {
            element.set_scroll_top(row_top as i32);
        } else if row_top + 2.0 * self.row.get_untracked() + 30.0 > top + height {
            element.set_scroll_top((row_top + 2.0 * self.row.get_untracked() + 30.0 - height) as i32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test]
    fn visible_rows_are_always_rendered() {
        for overscan in [0, OVERSCAN_ROWS] {
            for top in (0..4_000).step_by(7).map(f64::from) {
                let range = visible_range(top, 700.0, 32.0, overscan, 100);
                assert!(range.first as f64 * 32.0 <= top, "no row is missing above {top}");
                assert!(range.end == 100 || range.end as f64 * 32.0 >= top + 700.0, "no row is missing below {top}");
                assert!(range.end - range.first.min(range.end) <= 24 + 3 * overscan, "few other rows are rendered");
            }
        }
        assert_eq!(visible_range(0.0, 700.0, 32.0, OVERSCAN_ROWS, 3), VisibleRange { first: 0, end: 3 });
    }
}
