//! Lists of things. Only what is seen is in the document: rows have one height, those above and below are two spacers. After a jump what is seen is drawn
//! first, and what is around it when that is on the screen.

use crate::ui::reactive::{after_paint, reactive_attr};
use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

/// Rows drawn beyond the edge, so that a quick scroll shows no gap.
const OVERSCAN_ROWS: usize = 8;

/// The part of a list that is in the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VisibleRange {
    /// The first row drawn.
    pub first: usize,
    /// The row after the last drawn.
    pub end: usize,
}

/// A scrolling list's state.
#[derive(Clone, Copy)]
pub struct Viewport {
    /// The element that scrolls.
    pub node: NodeRef<html::Div>,
    top: RwSignal<f64>,
    height: RwSignal<f64>,
    row: RwSignal<f64>,
    /// Rows beyond the edge are drawn.
    overscan_enabled: RwSignal<bool>,
}

/// Height of a row: a line on a desktop, a card on a phone.
fn row_height(card: f64) -> f64 {
    let narrow = window().match_media("(width < 48rem)").ok().flatten().is_some_and(|m| m.matches());
    if narrow { card } else { 32.0 }
}

/// Watches an element's scrolling and size; `card` is the height of a row on a phone, as the style sheet has it.
pub fn use_viewport(card: f64) -> Viewport {
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

/// The rows of `count` that a view of this height draws, `top` pixels below the first, with those beyond its edges.
fn visible_range(top: f64, height: f64, row: f64, beyond: usize, count: usize) -> VisibleRange {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // pixels of a page
    let (first, seen) = ((top / row) as usize, (height / row) as usize + 2);
    let end = first + seen + beyond;
    // In steps of four rows where some are beyond the edge, so that not every pixel draws anew.
    let (first, end) = match beyond {
        0 => (first, end),
        _ => (first.saturating_sub(beyond) / 4 * 4, end.next_multiple_of(4)),
    };
    VisibleRange { first: first.min(count), end: end.min(count) }
}

impl Viewport {
    /// Takes a scroll event.
    pub fn on_scroll(self) {
        let Some(element) = self.node.get_untracked() else { return };
        let (top, before) = (f64::from(element.scroll_top()), self.top.get_untracked());
        if (top - before).abs() > OVERSCAN_ROWS as f64 * self.row.get_untracked() {
            self.overscan_enabled.set(false);
            after_paint(move || {
                let _ = self.overscan_enabled.try_set(true);
            });
        }
        self.top.set(top);
    }

    /// The part of `count` rows to draw.
    pub fn window(&self, count: usize) -> VisibleRange {
        let beyond = if self.overscan_enabled.get() { OVERSCAN_ROWS } else { 0 };
        visible_range(self.top.get(), self.height.get(), self.row.get(), beyond, count)
    }

    /// How many rows are seen at once.
    pub fn rows_per_page(&self) -> usize {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // pixels of a page
        let rows = (self.height.get_untracked() / self.row.get_untracked()) as usize;
        rows.saturating_sub(2)
    }

    /// A row as high as `rows` rows that are not in the document.
    pub fn spacer(self, rows: impl Fn() -> usize + Send + 'static, node: NodeRef<html::Tr>) -> AnyView {
        #[allow(clippy::cast_precision_loss)] // rows of a table
        let height = move || format!("block-size:{}px", rows() as f64 * self.row.get());
        view! { <tr class="spacer" aria-hidden="true" style=reactive_attr(height) node_ref=node><td></td></tr> }
            .into_any()
    }

    /// Brings a row into view.
    pub fn scroll_to_row(&self, index: usize) {
        let Some(element) = self.node.get_untracked() else { return };
        let element: web_sys::Element = element.unchecked_into();
        #[allow(clippy::cast_precision_loss)]
        let at = index as f64 * self.row.get_untracked();
        let (top, height) = (f64::from(element.scroll_top()), f64::from(element.client_height()));
        #[allow(clippy::cast_possible_truncation)]
        if at < top {
            element.set_scroll_top(at as i32);
        } else if at + 2.0 * self.row.get_untracked() + 30.0 > top + height {
            element.set_scroll_top((at + 2.0 * self.row.get_untracked() + 30.0 - height) as i32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    #[wasm_bindgen_test]
    fn what_is_seen_is_always_drawn() {
        for beyond in [0, OVERSCAN_ROWS] {
            for top in (0..4_000).step_by(7).map(f64::from) {
                let part = visible_range(top, 700.0, 32.0, beyond, 100);
                assert!(part.first as f64 * 32.0 <= top, "nothing lacks above {top}");
                assert!(part.end == 100 || part.end as f64 * 32.0 >= top + 700.0, "nothing lacks below {top}");
                assert!(part.end - part.first.min(part.end) <= 24 + 3 * beyond, "and little more is");
            }
        }
        assert_eq!(visible_range(0.0, 700.0, 32.0, OVERSCAN_ROWS, 3), VisibleRange { first: 0, end: 3 });
    }
}
