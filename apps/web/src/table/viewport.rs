//! Lists of things. Only what is seen is in the document: rows have one height, those above and below are two spacers.

use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;

/// Rows drawn beyond the edge, so that a quick scroll shows no gap.
const BEYOND: usize = 8;

/// The part of a list that is in the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
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

impl Viewport {
    /// Takes a scroll event.
    pub fn scrolled(&self) {
        if let Some(element) = self.node.get_untracked() {
            self.top.set(f64::from(element.scroll_top()));
        }
    }

    /// The part of `count` rows to draw.
    pub fn window(&self, count: usize) -> Window {
        let (top, height, row) = (self.top.get(), self.height.get(), self.row.get());
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // pixels of a page
        let (first, seen) = ((top / row) as usize, (height / row) as usize + 1);
        // In steps of four rows, so that not every pixel draws anew.
        let first = first.saturating_sub(BEYOND) / 4 * 4;
        Window { first: first.min(count), end: (first + seen + 2 * BEYOND + 4).min(count) }
    }

    /// How many rows are seen at once.
    pub fn page(&self) -> usize {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // pixels of a page
        let rows = (self.height.get_untracked() / self.row.get_untracked()) as usize;
        rows.saturating_sub(2)
    }

    /// The height of `rows` rows, for a spacer.
    pub fn spacer(&self, rows: usize) -> impl IntoView + use<> {
        #[allow(clippy::cast_precision_loss)] // rows of a table
        let height = rows as f64 * self.row.get();
        (rows > 0).then(
            || view! { <tr class="spacer" aria-hidden="true" style=format!("block-size:{height}px")><td></td></tr> },
        )
    }

    /// Brings a row into view.
    pub fn reveal(&self, index: usize) {
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
