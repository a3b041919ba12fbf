//! State that the components share.

use super::bars::{VisibleRows, fill_chart};
use super::canvas::{Colors, TextWidths, Theme, context_of, paint};
use super::history::History;
use super::plan::{DateSource, GanttPlan, PlanRows};
use leptos::html;
use leptos::prelude::*;
use pmo_gantt::{
    Chart, ChartOptions, Drag, Layer, Overlay, Point, RowKind, Scene, Shading, TimeScale, Unit, View, Zoom, bar_box,
    non_working,
};
use pmo_planning::{Moment, Span, Task, WorkingTime};
use pmo_project_plan::baseline::Snapshot;
use pmo_project_plan::explain::{PlanProblem, problems};
use std::collections::HashSet;
use std::ops::Range;
use uuid::Uuid;
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement};

/// Height of the header in pixels, as in the style sheet.
pub(super) const HEADER: f64 = 46.0;
/// Space after the last bar in pixels.
const MARGIN_PX: f64 = 240.0;
/// Widest chart that browsers can scroll, in pixels.
const MAX_WIDTH_PX: f64 = 12_000_000.0;

/// State that the components share.
#[derive(Clone, Copy)]
pub(super) struct GanttState {
    pub(super) core: StoredValue<Core, LocalStorage>,
    /// Changes whenever rows or dates of the plan change.
    pub(super) version: RwSignal<u32>,
    pub(super) selected: RwSignal<Option<Uuid>>,
    /// Row under the pointer.
    pub(super) hovered: RwSignal<Option<usize>>,
    /// Summaries whose rows are hidden.
    pub(super) collapsed: RwSignal<HashSet<Uuid>>,
    pub(super) scale: RwSignal<TimeScale>,
    /// Scroll position in pixels.
    pub(super) scroll: RwSignal<(f64, f64)>,
    /// Size of the table and the chart in pixels.
    pub(super) size: RwSignal<(f64, f64)>,
    /// Width of the table in pixels.
    pub(super) table_width: RwSignal<f64>,
    pub(super) layers: RwSignal<Vec<Layer>>,
    /// What a drag would do, or why a link is refused.
    pub(super) message: RwSignal<Option<String>>,
    /// Task whose dates are explained.
    pub(super) explained: RwSignal<Option<Uuid>>,
    /// Task whose dates are edited by touch.
    pub(super) editing: RwSignal<Option<Uuid>>,
    /// Task from which the keyboard draws a link.
    pub(super) linking: RwSignal<Option<Uuid>>,
    pub(super) problems_open: RwSignal<bool>,
    pub(super) can_edit: Memo<bool>,
    /// Whether the layout for phones is used.
    pub(super) narrow: RwSignal<bool>,
    pub(super) scroller: NodeRef<html::Div>,
    pub(super) sizer: NodeRef<html::Div>,
    pub(super) table: NodeRef<html::Table>,
    pub(super) still: NodeRef<html::Canvas>,
    pub(super) moving: NodeRef<html::Canvas>,
}

/// State outside of the reactive system: it changes with every frame of a drag.
#[derive(Default)]
pub(super) struct Core {
    pub(super) plan: GanttPlan,
    pub(super) visible: VisibleRows,
    pub(super) chart: Chart,
    pub(super) baselines: Vec<Snapshot>,
    pub(super) drag: Drag,
    pub(super) pointer: Point,
    pub(super) preview: Option<Preview>,
    /// Problems of the plan without a preview.
    pub(super) problems: Vec<PlanProblem>,
    pub(super) history: History,
    /// Rows that arrived during a drag.
    pub(super) late_rows: Option<PlanRows>,
    /// Whether the scroll position stays when rows arrive: after the first complete plan, or once
    /// a person has moved the chart.
    settled: bool,
    /// End of the time that can be scrolled to.
    end: Moment,
    scene: Scene,
    overlay: Scene,
    shading: Vec<Range<Moment>>,
    shaded: Option<(Range<Moment>, Shading, u32)>,
    surface: Option<Surface>,
    frame_requested: bool,
}

/// Task before a preview, and the dates of the plan then.
pub(super) struct Preview {
    pub(super) task: u32,
    pub(super) entry: Task,
    pub(super) dates: Vec<(Moment, Moment)>,
    pub(super) finish: Moment,
    /// Working time of the task.
    pub(super) time: WorkingTime,
}

/// What the canvases need.
struct Surface {
    still: CanvasRenderingContext2d,
    moving: CanvasRenderingContext2d,
    colors: Colors,
    widths: TextWidths,
}

/// Returns the local time of the device as a moment.
pub(super) fn now() -> Moment {
    let date = js_sys::Date::new_0();
    let year = i32::try_from(date.get_full_year()).unwrap_or_default();
    Moment::from_civil(year, date.get_month() + 1, date.get_date(), date.get_hours(), date.get_minutes())
}

impl GanttState {
    /// Returns the height of a row in pixels.
    pub(super) fn row_height(&self) -> f64 {
        if self.narrow.get_untracked() { 44.0 } else { 30.0 }
    }

    /// Returns the visible part of the chart.
    pub(super) fn view(&self) -> View {
        let ((scroll_x, scroll_y), (width, height)) = (self.scroll.get_untracked(), self.size.get_untracked());
        View {
            scale: self.scale.get_untracked(),
            scroll_x,
            scroll_y,
            width: (width - self.table_width.get_untracked()).max(0.0),
            height,
            header: HEADER,
            row_height: self.row_height(),
        }
    }

    /// Returns what is drawn.
    pub(super) fn options(&self) -> ChartOptions {
        let selected = self.selected.get_untracked().and_then(|id| self.row_of(id));
        let layers = self.layers.get_untracked();
        let mut options = ChartOptions::new(now(), layers);
        options.selected = selected;
        options.hovered = self.hovered.get_untracked();
        options
    }

    /// Returns the visible row of a task.
    pub(super) fn row_of(&self, task: Uuid) -> Option<usize> {
        self.core.with_value(|core| core.visible.row(core.plan.plan.position(task)?))
    }

    /// Returns the task of a visible row.
    pub(super) fn task_of(&self, row: usize) -> Option<Uuid> {
        self.core.with_value(|core| core.plan.plan.task_id(core.visible.task(row)?))
    }

    /// Returns whether the stored dates are shown, because a part of the plan is missing.
    pub(super) fn shows_stored_dates(&self) -> bool {
        self.core.with_value(|core| core.plan.source == DateSource::Stored && !core.plan.tasks.is_empty())
    }

    /// Returns the number of visible rows.
    pub(super) fn row_count(&self) -> usize {
        self.core.with_value(|core| core.visible.tasks.len())
    }

    /// Takes over new rows; during a drag they wait for its end.
    pub(super) fn set_rows(&self, rows: PlanRows) {
        let dragging = self.core.with_value(|core| core.drag.is_active() || core.preview.is_some());
        if dragging {
            return self.core.update_value(|core| core.late_rows = Some(rows));
        }
        self.core.update_value(|core| core.plan = GanttPlan::new(&rows));
        self.refresh();
        // Until all lists are loaded, dates are provisional.
        let unsettled = self.core.try_update_value(|core| {
            let unsettled = !core.settled;
            core.settled |= rows.complete && !core.plan.tasks.is_empty();
            unsettled
        });
        if unsettled == Some(true) {
            self.scroll_to_begin();
        }
    }

    /// Keeps the scroll position from now on, because a person uses the chart.
    pub(super) fn settle(&self) {
        self.core.update_value(|core| core.settled = true);
    }

    /// Takes over the rows that arrived during a drag.
    pub(super) fn apply_late_rows(&self) {
        if let Some(rows) = self.core.try_update_value(|core| core.late_rows.take()).flatten() {
            self.set_rows(rows);
        }
    }

    /// Computes rows, links and the scrollable time again, after the plan or the outline changed.
    pub(super) fn refresh(&self) {
        let collapsed = self.collapsed.get_untracked();
        let time = self.core.try_update_value(|core| {
            core.visible.update(&core.plan, &collapsed);
            fill_chart(&mut core.chart, &core.plan, &core.visible, &core.baselines);
            core.shaded = None;
            core.problems = problems(&core.plan.plan, &core.plan.live.problems());
            let start = core.plan.start();
            let time = core.chart.time().unwrap_or(start..start);
            let begin = time.start.min(start.get().unwrap_or(time.start));
            core.end = time.end.max(begin);
            Unit::Month.floor(begin.get().unwrap_or_else(now).minus(Span::hours(24 * 5)))
        });
        let (scale, (x, y)) = (self.scale.get_untracked(), self.scroll.get_untracked());
        if let Some(origin) = time.filter(|origin| *origin != scale.origin()) {
            let moved = TimeScale::new(origin, scale.pixels_per_day());
            // What was at the left edge stays there.
            self.set_scale(moved, (x - scale.x(origin)).max(0.0), y);
        } else {
            self.resize_content();
        }
        self.version.update(|version| *version += 1);
    }

    /// Sets scale and scroll position together.
    pub(super) fn set_scale(&self, scale: TimeScale, x: f64, y: f64) {
        self.scale.set(scale);
        self.resize_content();
        self.scroll_to(x, y);
    }

    /// Scrolls the chart; positions beyond its ends are moved to them.
    pub(super) fn scroll_to(&self, x: f64, y: f64) {
        if let Some(scroller) = self.scroller.get_untracked() {
            #[allow(clippy::cast_possible_truncation)] // pixels of a page
            let (left, top) = (x.round() as i32, y.round() as i32);
            scroller.set_scroll_left(left);
            scroller.set_scroll_top(top);
        }
        self.on_scroll();
    }

    /// Reads the scroll position.
    pub(super) fn on_scroll(&self) {
        if let Some(scroller) = self.scroller.get_untracked() {
            let position = (f64::from(scroller.scroll_left()), f64::from(scroller.scroll_top()));
            if position != self.scroll.get_untracked() {
                self.scroll.set(position);
            }
        }
    }

    /// Gives the scrolled content the size of the whole chart.
    pub(super) fn resize_content(&self) {
        let Some(sizer) = self.sizer.get_untracked() else { return };
        let end = self.core.with_value(|core| core.end);
        let (width, height) = self.size.get_untracked();
        let time = (self.scale.get_untracked().x(end) + MARGIN_PX).clamp(0.0, MAX_WIDTH_PX);
        #[allow(clippy::cast_precision_loss)] // rows of a plan
        let rows = self.row_count() as f64 * self.row_height();
        let style = web_sys::HtmlElement::style(&sizer);
        let total = (self.table_width.get_untracked() + time).max(width);
        let _ = style.set_property("inline-size", &format!("{total}px"));
        let _ = style.set_property("block-size", &format!("{}px", (HEADER + rows + 16.0).max(height)));
    }

    /// Zooms; the moment at `pointer` pixels from the left edge of the chart stays where it is.
    pub(super) fn zoom_at(&self, pointer: f64, factor: f64) {
        self.settle();
        let (x, y) = self.scroll.get_untracked();
        let (scale, x) = self.scale.get_untracked().zoomed_at(x, pointer, factor);
        self.set_scale(scale, x, y);
        crate::client::local_storage::set("gantt-zoom", &format!("{:.3}", scale.pixels_per_day()));
    }

    /// Zooms around the center of the chart.
    pub(super) fn zoom_by(&self, factor: f64) {
        self.zoom_at(self.view().width / 2.0, factor);
    }

    /// Shows a named zoom around the center of the chart.
    pub(super) fn set_zoom(&self, zoom: Zoom) {
        self.zoom_by(zoom.pixels_per_day() / self.scale.get_untracked().pixels_per_day());
    }

    /// Shows the time of the whole plan.
    pub(super) fn fit(&self) {
        self.settle();
        let Some(time) = self.core.with_value(|core| core.chart.time()) else { return };
        let (scale, view) = (self.scale.get_untracked(), self.view());
        let fitting = TimeScale::fitting(scale.origin(), time.start, time.end, (view.width - 96.0).max(100.0));
        self.set_scale(fitting, fitting.x(time.start) - 24.0, view.scroll_y);
    }

    /// Scrolls today to the first third of the chart.
    pub(super) fn scroll_to_today(&self) {
        self.settle();
        let view = self.view();
        self.scroll_to(view.scale.x(now()) - view.width / 3.0, view.scroll_y);
    }

    /// Scrolls to today if bars of the first rows are in view there, otherwise to the start.
    fn scroll_to_begin(&self) {
        let stored = crate::client::local_storage::get("gantt-zoom").and_then(|zoom| zoom.parse::<f64>().ok());
        let pixels = stored.unwrap_or(Zoom::Weeks.pixels_per_day());
        let scale = TimeScale::new(self.scale.get_untracked().origin(), pixels);
        let start = self.core.with_value(|core| core.plan.start());
        self.set_scale(scale, scale.x(start) - 24.0, 0.0);
        let mut view = self.view();
        view.scroll_x = scale.x(now()) - view.width / 3.0;
        let shows_bars = self.core.with_value(|core| {
            let rows = core.chart.rows();
            let is_shown = |row: usize| {
                let bar = rows.get(row).and_then(|entry| bar_box(&view, row, entry));
                bar.is_some_and(|bar| bar.end() > 0.0 && bar.x < view.width && bar.kind != RowKind::Summary)
            };
            view.rows(rows.len()).any(is_shown)
        });
        if shows_bars {
            self.scroll_to(view.scroll_x, 0.0);
        }
    }

    /// Selects a row and scrolls it into view.
    pub(super) fn select_row(&self, row: usize) {
        let Some(id) = self.task_of(row) else { return };
        self.settle();
        self.selected.set(Some(id));
        let view = self.view();
        let (top, end) = (view.row_top(row), view.row_top(row) + view.row_height);
        if top < view.header {
            self.scroll_to(view.scroll_x, view.scroll_y - (view.header - top));
        } else if end > view.height - 16.0 {
            self.scroll_to(view.scroll_x, view.scroll_y + end - view.height + 16.0);
        }
    }

    /// Scrolls to the bar of a task; expands the summaries that hide it.
    pub(super) fn reveal(&self, task: Uuid) {
        let hidden = self.core.with_value(|core| {
            let mut above = Vec::new();
            let mut position = core.plan.plan.position(task);
            while let Some(info) = position.and_then(|position| core.plan.tasks.get(position as usize)) {
                position = info.parent;
                above.extend(info.parent.and_then(|parent| core.plan.plan.task_id(parent)));
            }
            above
        });
        if self.collapsed.with_untracked(|collapsed| hidden.iter().any(|id| collapsed.contains(id))) {
            self.collapsed.update(|collapsed| collapsed.retain(|id| !hidden.contains(id)));
            self.refresh();
        }
        let Some(row) = self.row_of(task) else { return };
        self.select_row(row);
        let view = self.view();
        let bar = self.core.with_value(|core| core.chart.rows().get(row).and_then(|entry| bar_box(&view, row, entry)));
        if let Some(bar) = bar.filter(|bar| bar.end() < 24.0 || bar.x > view.width - 24.0) {
            self.scroll_to(view.scroll_x + bar.x - view.width / 4.0, self.scroll.get_untracked().1);
        }
    }

    /// Draws before the next paint.
    pub(super) fn request_frame(self) {
        let requested = self.core.try_update_value(|core| std::mem::replace(&mut core.frame_requested, true));
        if requested == Some(false) {
            request_animation_frame(move || {
                self.core.try_update_value(|core| core.frame_requested = false);
                self.draw();
            });
        }
    }

    /// Reads the colors again, after the theme has changed, or the widths of texts, after the font.
    pub(super) fn reload_theme(self) {
        self.core.try_update_value(|core| {
            if let Some(surface) = &mut core.surface {
                surface.colors = Colors::read(Theme::Page);
                surface.widths.clear();
            }
        });
        self.request_frame();
    }

    fn draw(self) {
        let (Some(still), Some(moving)) = (self.still.try_get_untracked(), self.moving.try_get_untracked()) else {
            return;
        };
        let (Some(still), Some(moving)) = (still, moving) else { return };
        let (view, options) = (self.view(), self.options());
        let ratio = window().device_pixel_ratio();
        let plan_version = self.version.get_untracked();
        let handles = options.hovered.filter(|_| self.can_edit.get_untracked() && !self.narrow.get_untracked());
        self.core.update_value(|core| {
            if core.surface.is_none() {
                let (Some(still), Some(moving), Some(widths)) =
                    (context_of(&still), context_of(&moving), TextWidths::new())
                else {
                    return;
                };
                core.surface = Some(Surface { still, moving, colors: Colors::read(Theme::Page), widths });
            }
            core.update_shading(&view, plan_version);
            let Core { surface: Some(surface), scene, overlay, chart, shading, drag, pointer, .. } = core else {
                return;
            };
            fit_canvas(&still, &view, ratio);
            fit_canvas(&moving, &view, ratio);
            scene.clear();
            scene.draw_chart(&view, chart, &options, shading, &mut surface.widths);
            paint(&surface.still, scene, &surface.colors, ratio);
            overlay.clear();
            let moving = Overlay { handles, gesture: drag.gesture(), grip: drag.grip(), pointer: *pointer };
            overlay.draw_overlay(&view, chart, &moving);
            let _ = surface.moving.set_transform(ratio, 0.0, 0.0, ratio, 0.0, 0.0);
            surface.moving.clear_rect(0.0, 0.0, view.width, view.height);
            paint(&surface.moving, overlay, &surface.colors, ratio);
        });
    }
}

impl Core {
    /// Computes the non-working time in view, unless it is known.
    fn update_shading(&mut self, view: &View, version: u32) {
        let shading = Shading::for_scale(view.scale);
        let time = view.time();
        let is_known = self.shaded.as_ref().is_some_and(|(known, detail, of)| {
            known.start <= time.start && time.end <= known.end && *detail == shading && *of == version
        });
        if is_known {
            return;
        }
        // Twice the view on both sides, so that scrolling seldom computes it.
        let span = time.end.since(time.start);
        let wide = time.start.minus(span)..time.end.plus(span);
        non_working(&self.plan.time, wide.clone(), shading, &mut self.shading);
        self.shaded = Some((wide, shading, version));
    }
}

/// Gives a canvas the resolution of the device.
fn fit_canvas(canvas: &HtmlCanvasElement, view: &View, ratio: f64) {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // pixels of a page
    let (width, height) = ((view.width * ratio).round() as u32, (view.height * ratio).round() as u32);
    // Setting the size clears the canvas and is slow.
    if canvas.width() != width || canvas.height() != height {
        canvas.set_width(width);
        canvas.set_height(height);
        let style = web_sys::HtmlElement::style(canvas);
        let _ = style.set_property("inline-size", &format!("{}px", view.width));
        let _ = style.set_property("block-size", &format!("{}px", view.height));
    }
}
