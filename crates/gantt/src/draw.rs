//! Shapes of the visible part of the chart.

use crate::bars::{BarBox, DIAMOND, bar_box};
use crate::chart::{Chart, ConstraintMark, Emphasis, Row, RowKind, RowMode, SyncMark};
use crate::gesture::{BarEnd, Gesture, Grip, LinkTarget};
use crate::header::{Tiers, ticks};
use crate::hit::{DOT_DISTANCE, DOT_RADIUS};
use crate::label::slip_label;
use crate::link_route::route;
use crate::scene::{Align, Dash, Measure, Paint, Point, Scene, TextStyle};
use crate::view::View;
use pmo_planning::Moment;
use std::ops::Range;

/// Height of the upper row of the header.
const UPPER_TIER: f64 = 23.0;
/// Distance of labels from lines and bars.
const PADDING: f64 = 6.0;
/// Distance beyond the view up to which lines are drawn.
const MARGIN: f64 = 60.0;
/// Distance left of the view up to which bars have visible labels.
const LABEL_MARGIN: f64 = 300.0;

/// Part of the chart that can be hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Links.
    Links,
    /// Critical path.
    Critical,
    /// Slack.
    Slack,
    /// Baselines.
    Baselines,
    /// Labels beside bars.
    Labels,
}

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChartOptions {
    layers: u8,
    /// Current moment in the time of the project; [`Moment::NONE`] to draw no line.
    pub today: Moment,
    /// Selected row.
    pub selected: Option<usize>,
    /// Row under the pointer.
    pub hovered: Option<usize>,
}

impl ChartOptions {
    /// Returns options with some layers.
    pub fn new(today: Moment, layers: impl IntoIterator<Item = Layer>) -> Self {
        let layers = layers.into_iter().fold(0, |bits, layer| bits | 1 << layer as u8);
        Self { layers, today, selected: None, hovered: None }
    }

    /// Returns whether a layer is drawn.
    pub const fn has(&self, layer: Layer) -> bool {
        self.layers & (1 << layer as u8) != 0
    }
}

/// What moves on top of the chart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Overlay {
    /// Row whose dots for links are shown.
    pub handles: Option<usize>,
    /// Preview of a drag.
    pub gesture: Option<Gesture>,
    /// The bar as it was when it was pressed.
    pub grip: Option<Grip>,
    /// Position of the pointer.
    pub pointer: Point,
}

impl Scene {
    /// Adds the chart; `shading` is the non-working time in view.
    pub fn draw_chart(
        &mut self,
        view: &View,
        chart: &Chart,
        options: &ChartOptions,
        shading: &[Range<Moment>],
        measure: &mut dyn Measure,
    ) {
        let rows = view.rows(chart.rows().len());
        self.rect((0.0, 0.0, view.width, view.height), 0.0, Paint::Surface);
        for time in shading {
            let (x, end) = (view.x(time.start).max(0.0), view.x(time.end).min(view.width));
            if end > x {
                self.rect((x, view.header, end - x, view.height - view.header), 0.0, Paint::NonWorking);
            }
        }
        for row in rows.clone() {
            let top = view.row_top(row);
            let band = (0.0, top, view.width, view.row_height - 1.0);
            if options.selected == Some(row) {
                self.rect(band, 0.0, Paint::Selected);
            } else if options.hovered == Some(row) {
                self.rect(band, 0.0, Paint::Hover);
            }
            self.rect((0.0, top + view.row_height - 1.0, view.width, 1.0), 0.0, Paint::RowLine);
        }
        if let Some(x) = visible_today(view, options) {
            self.rect((x - 0.75, view.header, 1.5, view.height - view.header), 0.0, Paint::Today);
        }
        if options.has(Layer::Links) {
            self.draw_links(view, chart, options, Emphasis::Normal);
            self.draw_links(view, chart, options, Emphasis::Critical);
        }
        for number in rows {
            if let Some(row) = chart.rows().get(number)
                && let Some(bar) = bar_box(view, number, row)
            {
                self.draw_row(view, chart, options, (number, row, &bar), measure);
            }
        }
        self.draw_header(view, options, measure);
    }

    /// Adds links of one emphasis. Of the links that only pass through, one per pixel column is
    /// drawn.
    fn draw_links(&mut self, view: &View, chart: &Chart, options: &ChartOptions, emphasis: Emphasis) {
        let rows = view.rows(chart.rows().len());
        let mut columns = std::mem::take(&mut self.columns);
        columns.clear();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates
        columns.resize((view.width.max(0.0) as usize).min(100_000) / 64 + 1, 0);
        let is_critical = |link: Emphasis| options.has(Layer::Critical) && link == Emphasis::Critical;
        chart.links_in(rows.clone(), |_, link| {
            if is_critical(link.emphasis) != (emphasis == Emphasis::Critical) {
                return;
            }
            let bar = |row: u32| chart.rows().get(row as usize).and_then(|entry| bar_box(view, row as usize, entry));
            let (Some(from), Some(to)) = (bar(link.from), bar(link.to)) else { return };
            let route = route(&from, &to, link.kind);
            let ends_in_view = rows.contains(&(link.from as usize)) || rows.contains(&(link.to as usize));
            if !ends_in_view && !is_new_column(&mut columns, route.vertical()) {
                return;
            }
            let outside = |p: &Point| p.x < -MARGIN || p.x > view.width + MARGIN;
            if route.points().iter().all(|p| p.x < 0.0) || (route.points().iter().all(outside) && !ends_in_view) {
                return;
            }
            let (paint, stroke) = match emphasis {
                Emphasis::Critical => (Paint::CriticalDone, 1.5),
                Emphasis::Normal => (Paint::Arrow, 1.25),
            };
            let mut points = [Point::default(); 6];
            let count = route.points().len();
            for (slot, point) in points.iter_mut().zip(route.points()) {
                *slot = Point {
                    x: point.x.clamp(-MARGIN, view.width + MARGIN),
                    y: point.y.clamp(-MARGIN, view.height + MARGIN),
                };
            }
            self.path(&points[..count], paint, stroke, Dash::Solid);
            if rows.contains(&(link.to as usize)) {
                self.polygon(&route.arrow(), paint);
            }
        });
        self.columns = columns;
    }

    fn draw_row(
        &mut self,
        view: &View,
        chart: &Chart,
        options: &ChartOptions,
        (number, row, bar): (usize, &Row, &BarBox),
        measure: &mut dyn Measure,
    ) {
        if options.has(Layer::Baselines) {
            self.draw_baselines(view, chart, number);
        }
        let emphasis = if options.has(Layer::Critical) { row.emphasis } else { Emphasis::Normal };
        if options.has(Layer::Slack) && row.kind != RowKind::Summary && row.slack_end > row.finish {
            self.draw_slack(view, row, bar);
        }
        if bar.end() >= -MARGIN && bar.x <= view.width + MARGIN {
            match row.kind {
                RowKind::Task => self.draw_task(view, row, bar, emphasis),
                RowKind::Summary => self.draw_summary(view, bar),
                RowKind::Milestone => self.draw_milestone(row, bar, emphasis),
            }
            if row.sync == SyncMark::Unsent {
                let outline = (bar.x - 2.0, bar.y - 2.0, bar.width + 4.0, bar.height + 4.0);
                self.frame(outline, 5.0, Paint::Unsent, 1.5, Dash::Dashed);
            }
            if options.selected == Some(number) {
                let outline = (bar.x - 2.0, bar.y - 2.0, bar.width + 4.0, bar.height + 4.0);
                self.frame(outline, 5.0, Paint::Focus, 2.0, Dash::Solid);
            }
        }
        self.draw_labels(chart, options, (number, row, bar), (view.width, measure));
        self.draw_marks(view, row, bar);
    }

    /// Adds the label beside a bar, and after it the slip against the first baseline.
    fn draw_labels(
        &mut self,
        chart: &Chart,
        options: &ChartOptions,
        (number, row, bar): (usize, &Row, &BarBox),
        (view_width, measure): (f64, &mut dyn Measure),
    ) {
        if bar.end() < -LABEL_MARGIN || bar.end() > view_width {
            return;
        }
        let mut x = bar.end() + PADDING;
        let mut add = |scene: &mut Self, text: &str, paint: Paint| {
            let width = measure.width(text, TextStyle::Small);
            scene.rect((x, bar.middle() - 6.5, width + 4.0, 13.0), 3.0, Paint::LabelBack);
            scene.label((x + 2.0, bar.middle()), TextStyle::Small, paint, Align::Start, text);
            x += width + PADDING;
        };
        let label = chart.label(number);
        if options.has(Layer::Labels) && !label.is_empty() {
            add(self, label, Paint::TextSoft);
        }
        let baseline = chart.baselines(number).iter().find(|baseline| baseline.finish.is_some());
        if let Some(baseline) = baseline.filter(|_| options.has(Layer::Baselines)) {
            let slip = row.finish.since(baseline.finish);
            let mut text = std::mem::take(&mut self.scratch);
            text.clear();
            slip_label(slip, &mut text);
            if !text.is_empty() {
                add(self, &text, if slip.0 > 0 { Paint::Danger } else { Paint::TextSoft });
            }
            self.scratch = text;
        }
    }

    fn draw_task(&mut self, view: &View, row: &Row, bar: &BarBox, emphasis: Emphasis) {
        let (open, done) = match emphasis {
            Emphasis::Critical => (Paint::Critical, Paint::CriticalDone),
            Emphasis::Normal => (Paint::Bar, Paint::BarDone),
        };
        // Bars are cut at the view: canvases paint huge rectangles slowly.
        let (x, end) = (bar.x.max(-MARGIN), bar.end().min(view.width + MARGIN));
        let area = (x, bar.y, (end - x).max(1.0), bar.height);
        if row.mode == RowMode::Inactive {
            return self.frame(area, 4.0, Paint::Arrow, 1.0, Dash::Solid);
        }
        self.rect(area, 4.0, open);
        let progress = bar.progress(row.percent).min(view.width + MARGIN);
        if row.percent > 0 && progress > x {
            self.rect((x, bar.y, progress - x, bar.height), 4.0, done);
        }
        if emphasis == Emphasis::Critical {
            let (x, y, width, height) = area;
            self.frame((x + 0.75, y + 0.75, (width - 1.5).max(0.5), height - 1.5), 3.5, done, 1.5, Dash::Solid);
        }
        if row.mode == RowMode::Manual {
            for x in [bar.x, bar.end() - 3.0] {
                self.rect((x, bar.y - 2.0, 3.0, bar.height + 4.0), 1.0, Paint::Mark);
            }
        }
    }

    fn draw_summary(&mut self, view: &View, bar: &BarBox) {
        let (x, end) = (bar.x.max(-MARGIN), bar.end().min(view.width + MARGIN));
        self.rect((x, bar.y, (end - x).max(1.0), bar.height), 2.0, Paint::Summary);
        let foot = bar.y + bar.height - 1.0;
        let width = 7.0_f64.min(bar.width / 2.0);
        let corner = |x: f64, y: f64| Point { x, y };
        if bar.x > -MARGIN {
            let corners = [corner(bar.x, foot), corner(bar.x + width, foot), corner(bar.x, foot + 6.0)];
            self.polygon(&corners, Paint::Summary);
        }
        if bar.end() < view.width + MARGIN {
            let corners = [corner(bar.end(), foot), corner(bar.end() - width, foot), corner(bar.end(), foot + 6.0)];
            self.polygon(&corners, Paint::Summary);
        }
    }

    fn draw_milestone(&mut self, row: &Row, bar: &BarBox, emphasis: Emphasis) {
        let paint = match (row.percent, emphasis) {
            (100, _) => Paint::Reached,
            (_, Emphasis::Critical) => Paint::CriticalDone,
            (_, Emphasis::Normal) => Paint::Summary,
        };
        let (x, y) = (bar.x + DIAMOND, bar.middle());
        let corner = |dx: f64, dy: f64| Point { x: x + dx, y: y + dy };
        let corners = [corner(0.0, -DIAMOND), corner(DIAMOND, 0.0), corner(0.0, DIAMOND), corner(-DIAMOND, 0.0)];
        self.polygon(&corners, paint);
    }

    /// Adds thin bars below the bar.
    fn draw_baselines(&mut self, view: &View, chart: &Chart, number: usize) {
        let baselines = chart.baselines(number);
        let height = if baselines.len() > 1 { 2.0 } else { 4.0 };
        let mut y = view.row_top(number) + (view.row_height - 16.0) / 2.0 + 17.0;
        for baseline in baselines.iter().take(3) {
            if baseline.start.is_none() || baseline.finish.is_none() {
                continue;
            }
            let (x, end) = (view.x(baseline.start).max(-MARGIN), view.x(baseline.finish).min(view.width + MARGIN));
            if end >= x {
                self.rect((x, y, (end - x).max(3.0), height), 1.0, Paint::Baseline);
            }
            y += 3.0;
        }
    }

    /// Adds a line from the finish to the latest finish.
    fn draw_slack(&mut self, view: &View, row: &Row, bar: &BarBox) {
        let end = view.x(row.slack_end).min(view.width + MARGIN);
        let begin = bar.end().max(-MARGIN);
        if end <= begin + 1.0 {
            return;
        }
        let y = bar.y + bar.height - 0.5;
        self.path(&[Point { x: begin, y }, Point { x: end, y }], Paint::Slack, 1.5, Dash::Dashed);
        self.rect((end - 0.75, y - 3.5, 1.5, 7.0), 0.0, Paint::Slack);
    }

    /// Adds marks of a deadline and a constraint.
    fn draw_marks(&mut self, view: &View, row: &Row, bar: &BarBox) {
        if row.deadline.is_some() {
            let (x, y) = (view.x(row.deadline), bar.middle());
            let paint = if row.finish > row.deadline { Paint::Danger } else { Paint::Deadline };
            let corner = |dx: f64, dy: f64| Point { x: x + dx, y: y + dy };
            if (-MARGIN..view.width + MARGIN).contains(&x) {
                self.rect((x - 0.75, y - 9.0, 1.5, 12.0), 0.0, paint);
                self.polygon(&[corner(-5.0, 2.0), corner(5.0, 2.0), corner(0.0, 9.0)], paint);
            }
        }
        if row.constraint != ConstraintMark::None && row.constraint_moment.is_some() {
            let x = view.x(row.constraint_moment);
            if !(-MARGIN..view.width + MARGIN).contains(&x) {
                return;
            }
            let (top, end) = (bar.middle() - 10.0, bar.middle() + 10.0);
            let foot = if row.constraint == ConstraintMark::Start { 4.0 } else { -4.0 };
            let corner = |x: f64, y: f64| Point { x, y };
            let corners = [corner(x + foot, top), corner(x, top), corner(x, end), corner(x + foot, end)];
            self.path(&corners, Paint::Mark, 1.5, Dash::Solid);
        }
    }

    fn draw_header(&mut self, view: &View, options: &ChartOptions, measure: &mut dyn Measure) {
        if view.header <= 0.0 {
            return;
        }
        self.rect((0.0, 0.0, view.width, view.header), 0.0, Paint::Surface);
        self.rect((0.0, view.header - 1.0, view.width, 1.0), 0.0, Paint::Line);
        let (tiers, time) = (Tiers::for_scale(view.scale), view.time());
        let mut label = std::mem::take(&mut self.scratch);
        for (unit, top, height, paint) in [
            (tiers.upper, 0.0, UPPER_TIER, Paint::Text),
            (tiers.lower, UPPER_TIER, view.header - UPPER_TIER, Paint::TextFaint),
        ] {
            for tick in ticks(unit, time.start, time.end) {
                let (x, end) = (view.x(tick.start), view.x(tick.end));
                if x >= 0.0 {
                    self.rect((x.round(), top, 1.0, height), 0.0, Paint::Line);
                }
                label.clear();
                unit.write_label(tick.start, end - x, &mut label);
                let is_now = paint == Paint::TextFaint && tick.start <= options.today && options.today < tick.end;
                let style = if is_now { TextStyle::SmallStrong } else { TextStyle::Small };
                // The label of a unit that begins before the view stays at its edge.
                let at = x.max(0.0) + PADDING.min((end - x) / 6.0);
                if at + measure.width(&label, style) <= end {
                    let paint = if is_now { Paint::Today } else { paint };
                    self.label((at, top + height / 2.0), style, paint, Align::Start, &label);
                }
            }
        }
        self.scratch = label;
        if let Some(x) = visible_today(view, options) {
            self.rect((x - 4.0, view.header - 8.0, 8.0, 8.0), 4.0, Paint::Today);
        }
    }

    /// Adds what moves on top of the chart: dots of links, the bar before the drag, the link in
    /// hand.
    pub fn draw_overlay(&mut self, view: &View, chart: &Chart, overlay: &Overlay) {
        self.begin_clip((0.0, view.header, view.width, (view.height - view.header).max(0.0)));
        let bar = |row: usize| chart.rows().get(row).and_then(|entry| bar_box(view, row, entry));
        if let Some(bar) = overlay.handles.and_then(bar) {
            for x in [bar.x - DOT_DISTANCE, bar.end() + DOT_DISTANCE] {
                let at = (x - DOT_RADIUS, bar.middle() - DOT_RADIUS, DOT_RADIUS * 2.0, DOT_RADIUS * 2.0);
                self.rect(at, DOT_RADIUS, Paint::Surface);
                self.frame(at, DOT_RADIUS, Paint::Focus, 1.5, Dash::Solid);
            }
        }
        match (overlay.gesture, overlay.grip) {
            (Some(Gesture::Link { from, to }), _) => {
                let end = |target: LinkTarget| {
                    bar(target.row).map(|bar| {
                        let x = if target.end == BarEnd::Start { bar.x } else { bar.end() };
                        Point { x, y: bar.middle() }
                    })
                };
                let to_point = to.and_then(end).unwrap_or(overlay.pointer);
                if let Some(from) = end(from) {
                    self.path(&[from, to_point], Paint::Focus, 2.0, Dash::Dashed);
                }
                if let Some(bar) = to.and_then(|to| bar(to.row)) {
                    let outline = (bar.x - 3.0, bar.y - 3.0, bar.width + 6.0, bar.height + 6.0);
                    self.frame(outline, 6.0, Paint::Focus, 2.0, Dash::Solid);
                }
            }
            (Some(_), Some(grip)) => {
                let before = Row { start: grip.start, finish: grip.finish, kind: grip.bar.kind, ..Row::default() };
                if let Some(bar) = bar_box(view, grip.row, &before) {
                    self.frame((bar.x, bar.y, bar.width, bar.height), 4.0, Paint::Arrow, 1.0, Dash::Dashed);
                }
            }
            _ => {}
        }
        self.end_clip();
    }
}

/// Returns the position of the line of today, if it is in view.
fn visible_today(view: &View, options: &ChartOptions) -> Option<f64> {
    options.today.get().map(|today| view.x(today)).filter(|x| (0.0..=view.width).contains(x))
}

/// Marks the pixel column of a passing link; returns whether it is in view and was free.
fn is_new_column(columns: &mut [u64], x: f64) -> bool {
    if x < 0.0 {
        return false;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates
    let column = x as usize;
    let Some(word) = columns.get_mut(column / 64) else { return false };
    let bit = 1 << (column % 64);
    let free = *word & bit == 0;
    *word |= bit;
    free
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::{Baseline, ChartLink};
    use crate::scale::TimeScale;
    use crate::scene::{Shape, estimated_width};
    use pmo_planning::{LinkKind, Span};

    struct Estimate;
    impl Measure for Estimate {
        fn width(&mut self, text: &str, style: TextStyle) -> f64 {
            estimated_width(text, style)
        }
    }

    const LAYERS: [Layer; 5] = [Layer::Links, Layer::Critical, Layer::Slack, Layer::Baselines, Layer::Labels];

    fn chart(count: i32) -> Chart {
        let mut chart = Chart::default();
        for row in 0..count {
            let start = Moment(row % 400 * 14_400);
            let finish = start.plus(Span::hours(24 * (1 + row % 9)));
            let entry = Row { start, finish, slack_end: finish.plus(Span::hours(48)), percent: 30, ..Row::default() };
            chart.push_row(entry, "30% · AK", [Baseline { start, finish: start }]);
        }
        let link = |row: u32, to: u32| ChartLink {
            from: row,
            to,
            kind: LinkKind::FinishToStart,
            emphasis: if row.is_multiple_of(3) { Emphasis::Critical } else { Emphasis::Normal },
        };
        let count = count.unsigned_abs();
        chart.set_links((0..count).map(|row| link(row, (row * 7 + 5) % count)).filter(|link| link.from != link.to));
        chart
    }

    fn view(scroll_y: f64) -> View {
        let scale = TimeScale::new(Moment(0), 11.0);
        View { scale, scroll_x: 0.0, scroll_y, width: 800.0, height: 800.0, header: 46.0, row_height: 30.0 }
    }

    fn drawn(chart: &Chart, view: &View, options: &ChartOptions) -> Scene {
        let mut scene = Scene::default();
        scene.draw_chart(view, chart, options, &[], &mut Estimate);
        scene
    }

    fn bars(scene: &Scene) -> usize {
        let is_bar = |shape: &&Shape| matches!(shape, Shape::Rect { paint: Paint::Bar, .. });
        scene.shapes().iter().filter(is_bar).count()
    }

    #[test]
    fn only_visible_rows_are_drawn() {
        let (chart, options) = (chart(10_000), ChartOptions::new(Moment::NONE, LAYERS));
        for scroll in [0.0, 15.0, 299_000.0] {
            let scene = drawn(&chart, &view(scroll), &options);
            assert!(bars(&scene) <= 27, "{} bars at {scroll}", bars(&scene));
            assert!(scene.shapes().len() < 4_000, "{} shapes", scene.shapes().len());
        }
    }

    #[test]
    fn frames_after_the_first_need_no_more_memory() {
        let (chart, options) = (chart(2_000), ChartOptions::new(Moment(0), LAYERS));
        let mut scene = Scene::default();
        let draw = |scene: &mut Scene, scroll: f64| {
            scene.clear();
            scene.draw_chart(&view(scroll), &chart, &options, &[], &mut Estimate);
        };
        for scroll in 0..200 {
            draw(&mut scene, f64::from(scroll) * 30.0);
        }
        let before = scene.capacity();
        for scroll in 0..200 {
            draw(&mut scene, f64::from(scroll) * 30.0);
        }
        assert_eq!(scene.capacity(), before);
    }

    #[test]
    fn hidden_layers_are_not_drawn() {
        let chart = chart(20);
        let all = drawn(&chart, &view(0.0), &ChartOptions::new(Moment(0), LAYERS));
        let none = drawn(&chart, &view(0.0), &ChartOptions::new(Moment(0), []));
        let count = |scene: &Scene, paint: Paint| {
            let of_paint = |shape: &&Shape| match shape {
                Shape::Rect { paint: p, .. } | Shape::Path { paint: p, .. } | Shape::Text { paint: p, .. } => {
                    *p == paint
                }
                _ => false,
            };
            scene.shapes().iter().filter(of_paint).count()
        };
        for paint in [Paint::Arrow, Paint::CriticalDone, Paint::Slack, Paint::Baseline, Paint::LabelBack] {
            assert!(count(&all, paint) > 0, "{paint:?} is drawn");
            assert_eq!(count(&none, paint), 0, "{paint:?} is hidden");
        }
    }

    #[test]
    fn one_line_is_drawn_for_passing_links_of_the_same_pixel() {
        let mut chart = chart(300);
        let link = |from| ChartLink { from, to: 299, kind: LinkKind::StartToStart, emphasis: Emphasis::Normal };
        chart.set_links((0..5).map(link).chain((0..5).map(link)));
        let scene = drawn(&chart, &view(3_000.0), &ChartOptions::new(Moment::NONE, [Layer::Links]));
        let paths = scene.shapes().iter().filter(|shape| matches!(shape, Shape::Path { .. })).count();
        assert!((1..=5).contains(&paths), "{paths} of 10 links are drawn");
    }

    #[test]
    fn the_link_in_hand_ends_at_the_pointer_or_at_a_bar() {
        let chart = chart(20);
        let from = LinkTarget { row: 1, end: BarEnd::Finish };
        let pointer = Point { x: 333.0, y: 222.0 };
        for to in [None, Some(LinkTarget { row: 4, end: BarEnd::Start })] {
            let mut scene = Scene::default();
            let overlay = Overlay { gesture: Some(Gesture::Link { from, to }), pointer, ..Overlay::default() };
            scene.draw_overlay(&view(0.0), &chart, &overlay);
            let path = scene.shapes().iter().find_map(|shape| match shape {
                Shape::Path { points, .. } => scene.points(points).last().copied(),
                _ => None,
            });
            assert_eq!(path == Some(pointer), to.is_none());
        }
    }

    #[test]
    fn long_bars_and_far_views_stay_within_the_margin() {
        let mut chart = Chart::default();
        chart.push_row(Row { start: Moment::MIN, finish: Moment::MAX, percent: 50, ..Row::default() }, "x", []);
        let scene = drawn(&chart, &view(0.0), &ChartOptions::new(Moment::NONE, LAYERS));
        for shape in scene.shapes() {
            if let Shape::Rect { at, width, .. } = shape {
                assert!(at.x >= -MARGIN && at.x + width <= 800.0 + MARGIN, "{shape:?}");
            }
        }
    }
}
