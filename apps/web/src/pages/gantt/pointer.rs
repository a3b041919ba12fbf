//! Mouse, pen and touch.
//!
//! A mouse or pen drags bars, ends, progress and links. A finger scrolls; two fingers zoom, and a
//! tap opens the dates of a task.

use super::state::GanttState;
use crate::ui::overlay_state::OverlayState;
use leptos::prelude::*;
use pmo_gantt::{BarBox, Grip, Hit, HitOptions, Outcome, Part, Point, bar_box, hit};
use std::time::Duration;
use wasm_bindgen::JsCast;
use web_sys::{PointerEvent, TouchEvent, WheelEvent};

/// Distance from a bar at which a finger still hits it, in pixels.
const TOUCH_TOLERANCE: f64 = 12.0;
/// Width of the zone at the edges of the chart in which a drag scrolls, in pixels.
const SCROLL_ZONE: f64 = 28.0;
/// Distance by which a drag in that zone scrolls per event, in pixels.
const SCROLL_STEP: f64 = 18.0;
/// Time for which the pointer rests on a bar before its dates are explained.
const HOVER_DELAY: Duration = Duration::from_millis(550);

/// What the pointer does, besides dragging a bar.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Hand {
    #[default]
    Idle,
    /// Moves the chart; position of the pointer and of the chart at the press.
    Panning { pointer: (f64, f64), scroll: (f64, f64) },
    /// Two fingers; their distance at the last event.
    Pinching { distance: f64 },
}

/// Handlers of the chart's pointer events.
#[derive(Clone, Copy)]
pub(super) struct PointerHandlers {
    state: GanttState,
    hand: StoredValue<Hand>,
    /// Number of the last movement, which a waiting explanation belongs to.
    moves: StoredValue<u32>,
    /// Task that is explained because the pointer rests on it.
    pub(super) hover_card: RwSignal<Option<(uuid::Uuid, Point)>>,
    overlays: Option<OverlayState>,
}

impl PointerHandlers {
    /// Creates the handlers.
    pub(super) fn new(state: GanttState) -> Self {
        Self {
            state,
            hand: StoredValue::new(Hand::Idle),
            moves: StoredValue::new(0),
            hover_card: RwSignal::new(None),
            overlays: use_context::<OverlayState>(),
        }
    }

    /// Returns the position in the chart of a position in the window.
    fn position(self, x: i32, y: i32) -> (f64, f64) {
        let Some(canvas) = self.state.still.get_untracked() else { return (0.0, 0.0) };
        let area = canvas.get_bounding_client_rect();
        (f64::from(x) - area.left(), f64::from(y) - area.top())
    }

    fn hit(self, at: (f64, f64), tolerance: f64) -> Hit {
        let view = self.state.view();
        self.state.core.with_value(|core| hit(&view, &core.chart, at, HitOptions { tolerance }))
    }

    fn bar_at(self, row: usize) -> Option<(BarBox, Grip)> {
        let view = self.state.view();
        self.state.core.with_value(|core| {
            let entry = core.chart.rows().get(row)?;
            let bar = bar_box(&view, row, entry)?;
            let (start, finish, percent) = (entry.start, entry.finish, entry.percent);
            Some((bar, Grip { row, part: Part::Body, bar, start, finish, percent }))
        })
    }

    /// Begins a drag of a bar or of the chart.
    pub(super) fn on_down(self, event: &PointerEvent) {
        self.hide_hover_card();
        self.state.settle();
        if event.button() != 0 || event.pointer_type() == "touch" {
            return;
        }
        let at = self.position(event.client_x(), event.client_y());
        if let Some(target) = event.target().and_then(|target| target.dyn_into::<web_sys::Element>().ok()) {
            let _ = target.set_pointer_capture(event.pointer_id());
        }
        match self.hit(at, 0.0) {
            Hit::Bar { row, part } => {
                event.prevent_default();
                self.state.select_row(row);
                self.focus_table();
                if self.state.can_edit.get_untracked()
                    && let Some((_, grip)) = self.bar_at(row)
                {
                    let view = self.state.view();
                    self.state.core.update_value(|core| core.drag.press(&view, Grip { part, ..grip }, at));
                }
            }
            hit => {
                event.prevent_default();
                if let Hit::Row(row) = hit {
                    self.state.select_row(row);
                }
                self.focus_table();
                self.hand.set_value(Hand::Panning { pointer: at, scroll: self.state.scroll.get_untracked() });
            }
        }
    }

    fn focus_table(self) {
        if let Some(table) = self.state.table.get_untracked() {
            let options = web_sys::FocusOptions::new();
            options.set_prevent_scroll(true);
            let _ = table.focus_with_options(&options);
        }
    }

    /// Continues a drag, or shows what is under the pointer.
    pub(super) fn on_move(self, event: &PointerEvent) {
        if event.pointer_type() == "touch" {
            return;
        }
        let at = self.position(event.client_x(), event.client_y());
        if let Hand::Panning { pointer, scroll } = self.hand.get_value() {
            return self.state.scroll_to(scroll.0 - (at.0 - pointer.0), scroll.1 - (at.1 - pointer.1));
        }
        if self.state.core.with_value(|core| core.drag.is_active()) {
            return self.drag(at);
        }
        let hit = self.hit(at, 0.0);
        let row = match hit {
            Hit::Row(row) | Hit::Bar { row, .. } => Some(row),
            Hit::Nothing | Hit::Header => None,
        };
        if self.state.hovered.get_untracked() != row {
            self.state.hovered.set(row);
        }
        self.set_cursor(hit);
        self.explain_later(hit, at);
    }

    fn drag(self, at: (f64, f64)) {
        let view = self.state.view();
        let at_edge = |position: f64, begin: f64, end: f64| match position {
            p if p < begin + SCROLL_ZONE => -SCROLL_STEP,
            p if p > end - SCROLL_ZONE => SCROLL_STEP,
            _ => 0.0,
        };
        let (dx, dy) = (at_edge(at.0, 0.0, view.width), at_edge(at.1, view.header, view.height));
        let is_moved = self.state.core.with_value(|core| core.drag.gesture().is_some());
        if is_moved && (dx != 0.0 || dy != 0.0) {
            self.state.scroll_to(view.scroll_x + dx, view.scroll_y + dy);
        }
        let over = match self.hit(at, 4.0) {
            Hit::Bar { row, .. } => self.bar_at(row).map(|(bar, _)| (row, bar)),
            _ => None,
        };
        let view = self.state.view();
        let outcome = self.state.core.try_update_value(|core| {
            core.pointer = Point { x: at.0, y: at.1 };
            core.drag.drag(&view, at, over)
        });
        if let Some(Outcome::Preview(gesture)) = outcome {
            self.state.show_preview(gesture);
            self.state.request_frame();
        }
    }

    /// Ends a drag.
    pub(super) fn on_up(self, _: &PointerEvent) {
        self.hand.set_value(Hand::Idle);
        let outcome = self.state.core.try_update_value(|core| core.drag.release());
        match outcome {
            Some(Outcome::Commit(gesture)) => self.state.commit(gesture, self.overlays),
            Some(Outcome::Cancel) => self.state.withdraw_preview(),
            _ => self.state.apply_late_rows(),
        }
    }

    /// Gives up a drag, because the system took the pointer.
    pub(super) fn on_cancel(self) {
        self.hand.set_value(Hand::Idle);
        self.cancel_drag();
    }

    /// Gives up a drag; returns whether there was one.
    pub(super) fn cancel_drag(self) -> bool {
        let outcome = self.state.core.try_update_value(|core| core.drag.cancel());
        let cancelled = outcome == Some(Outcome::Cancel);
        if cancelled {
            self.state.withdraw_preview();
        }
        cancelled
    }

    /// Hides what belongs to the pointer.
    pub(super) fn on_leave(self) {
        self.hide_hover_card();
        if !self.state.core.with_value(|core| core.drag.is_active()) {
            self.state.hovered.set(None);
        }
    }

    fn hide_hover_card(self) {
        self.moves.update_value(|moves| *moves = moves.wrapping_add(1));
        if self.hover_card.with_untracked(Option::is_some) {
            self.hover_card.set(None);
        }
    }

    /// Explains the dates of a bar after the pointer has rested on it.
    fn explain_later(self, hit: Hit, at: (f64, f64)) {
        let task = match hit {
            Hit::Bar { row, .. } => self.state.task_of(row),
            _ => None,
        };
        // The card stays while the pointer moves on the same bar.
        let shown = self.hover_card.with_untracked(|card| card.map(|(task, _)| task));
        if task.is_some() && shown == task {
            return;
        }
        self.hide_hover_card();
        let Some(task) = task else { return };
        let number = self.moves.get_value();
        let show = move || {
            let rests = self.moves.try_with_value(|moves| *moves == number).unwrap_or_default();
            let dragging = self.state.core.try_with_value(|core| core.drag.is_active()).unwrap_or(true);
            if rests && !dragging {
                let _ = self.hover_card.try_set(Some((task, Point { x: at.0, y: at.1 })));
            }
        };
        set_timeout(show, HOVER_DELAY);
    }

    fn set_cursor(self, hit: Hit) {
        let Some(canvas) = self.state.moving.get_untracked() else { return };
        let editable = self.state.can_edit.get_untracked();
        let cursor = match hit {
            Hit::Bar { part: Part::Body, .. } if editable => "grab",
            Hit::Bar { part: Part::Start | Part::Finish, .. } if editable => "ew-resize",
            Hit::Bar { part: Part::Progress, .. } if editable => "col-resize",
            Hit::Bar { part: Part::LinkStart | Part::LinkFinish, .. } if editable => "crosshair",
            Hit::Bar { .. } => "pointer",
            _ => "default",
        };
        let _ = web_sys::HtmlElement::style(&canvas).set_property("cursor", cursor);
    }

    /// Opens the page of the task under a double click.
    pub(super) fn on_double_click(self, event: &web_sys::MouseEvent, open: &dyn Fn(uuid::Uuid)) {
        let at = self.position(event.client_x(), event.client_y());
        if let Hit::Bar { row, .. } = self.hit(at, 0.0)
            && let Some(task) = self.state.task_of(row)
        {
            open(task);
        }
    }

    /// Opens the dates of a task on a tap.
    pub(super) fn on_click(self, event: &web_sys::MouseEvent) {
        let is_touch = event.dyn_ref::<PointerEvent>().is_some_and(|event| event.pointer_type() == "touch");
        if !is_touch {
            return;
        }
        let at = self.position(event.client_x(), event.client_y());
        if let Hit::Bar { row, .. } = self.hit(at, TOUCH_TOLERANCE) {
            self.state.select_row(row);
            self.state.editing.set(self.state.task_of(row));
        }
    }

    /// Zooms at the pointer while Ctrl is pressed; browsers report a pinch of a touchpad so, too.
    pub(super) fn on_wheel(self, event: &WheelEvent) {
        self.state.settle();
        if !event.ctrl_key() {
            return;
        }
        event.prevent_default();
        let lines = if event.delta_mode() == WheelEvent::DOM_DELTA_LINE { 16.0 } else { 1.0 };
        let (x, _) = self.position(event.client_x(), event.client_y());
        self.state.zoom_at(x.max(0.0), (-event.delta_y() * lines * 0.0025).exp());
    }

    /// Zooms between two fingers.
    pub(super) fn on_touch(self, event: &TouchEvent) {
        let touches = event.touches();
        let (Some(first), Some(second)) = (touches.item(0), touches.item(1)) else {
            return self.hand.set_value(Hand::Idle);
        };
        event.prevent_default();
        let (x1, y1) = self.position(first.client_x(), first.client_y());
        let (x2, y2) = self.position(second.client_x(), second.client_y());
        let distance = (x2 - x1).hypot(y2 - y1).max(1.0);
        if let Hand::Pinching { distance: before } = self.hand.get_value() {
            self.state.zoom_at(f64::midpoint(x1, x2).max(0.0), distance / before);
        }
        self.hand.set_value(Hand::Pinching { distance });
    }
}
