//! A page with title, table, chart and legend, for print and export.

use crate::chart::{Chart, RowKind};
use crate::draw::{ChartOptions, Layer};
use crate::pages::{Page, PageLayout};
use crate::scale::TimeScale;
use crate::scene::{Align, Dash, Measure, Paint, Point, Scene, TextStyle};
use crate::view::View;
use pmo_planning::Moment;
use std::ops::Range;

/// Indentation of a level of the outline.
const INDENT: f64 = 12.0;
/// Space between columns.
const GAP: f64 = 8.0;

/// Column of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Heading.
    pub title: &'static str,
    /// Width in pixels.
    pub width: f64,
}

/// Row of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SheetRow {
    /// Depth in the outline, from 1; indents the second column.
    pub level: usize,
    /// Texts of the columns.
    pub cells: Vec<String>,
}

/// What all pages of a print share.
pub struct Sheet<'a> {
    /// Title of the plan.
    pub title: &'a str,
    /// Line beside the title, such as the date.
    pub note: &'a str,
    /// Columns of the table.
    pub columns: &'a [Column],
    /// Rows of the table, as many as the chart has.
    pub rows: &'a [SheetRow],
    /// Chart.
    pub chart: &'a Chart,
    /// Scale of the chart.
    pub scale: TimeScale,
    /// What is drawn.
    pub options: ChartOptions,
    /// Non-working time of the plan.
    pub shading: &'a [Range<Moment>],
}

impl Sheet<'_> {
    /// Draws a page of `count` pages.
    pub fn draw(&self, scene: &mut Scene, layout: &PageLayout, page: &Page, count: usize, measure: &mut dyn Measure) {
        scene.clear();
        scene.rect((0.0, 0.0, layout.width, layout.height), 0.0, Paint::Surface);
        let middle = layout.title / 2.0;
        scene.fitted((0.0, middle), TextStyle::Title, Paint::Text, self.title, layout.width * 0.6, measure);
        scene.text_with((layout.width, middle), TextStyle::Small, Paint::TextSoft, Align::End, |out| {
            out.push_str(self.note);
            if count > 1 {
                out.push_str(&format!(" · Page {} of {count}", page.number));
            }
        });
        self.draw_table(scene, layout, page, measure);
        #[allow(clippy::cast_precision_loss)] // rows of a plan
        let (height, scroll_y) =
            (page.rows.len() as f64 * layout.row_height, page.rows.start as f64 * layout.row_height);
        let view = View {
            scale: self.scale,
            scroll_x: page.scroll_x,
            scroll_y,
            width: layout.chart_width(),
            height: layout.header + height,
            header: layout.header,
            row_height: layout.row_height,
        };
        scene.set_offset(layout.table, layout.title);
        scene.begin_clip((0.0, 0.0, view.width, view.height));
        scene.draw_chart(&view, self.chart, &self.options, self.shading, measure);
        scene.end_clip();
        scene.frame((0.0, 0.0, view.width, view.height), 0.0, Paint::Line, 1.0, Dash::Solid);
        scene.set_offset(0.0, layout.height - layout.legend / 2.0);
        draw_legend(scene, &self.options, measure);
        scene.set_offset(0.0, 0.0);
    }

    fn draw_table(&self, scene: &mut Scene, layout: &PageLayout, page: &Page, measure: &mut dyn Measure) {
        let mut x = 0.0;
        for (place, column) in self.columns.iter().enumerate() {
            let y = layout.title + layout.header - 12.0;
            scene.fitted((x, y), TextStyle::Small, Paint::TextFaint, column.title, column.width - GAP, measure);
            for (number, row) in self.rows.get(page.rows.clone()).unwrap_or_default().iter().enumerate() {
                let Some(cell) = row.cells.get(place) else { continue };
                #[allow(clippy::cast_precision_loss)] // rows of a page, levels of an outline
                let (line, level) = (number as f64, row.level.clamp(1, 12) as f64 - 1.0);
                let indent = if place == 1 { level * INDENT } else { 0.0 };
                let y = layout.title + layout.header + (line + 0.5) * layout.row_height;
                let kind = self.chart.rows().get(page.rows.start + number).map(|row| row.kind);
                let style = match kind {
                    Some(RowKind::Summary) if place == 1 => TextStyle::BodyStrong,
                    _ => TextStyle::Body,
                };
                let width = (column.width - GAP - indent).max(0.0);
                scene.fitted((x + indent, y), style, Paint::Text, cell, width, measure);
            }
            x += column.width;
        }
        for line in 0..=page.rows.len() {
            #[allow(clippy::cast_precision_loss)] // rows of a page
            let y = layout.title + layout.header + line as f64 * layout.row_height - 1.0;
            scene.rect((0.0, y, layout.table, 1.0), 0.0, Paint::RowLine);
        }
    }
}

/// Draws the legend around the height 0.
fn draw_legend(scene: &mut Scene, options: &ChartOptions, measure: &mut dyn Measure) {
    let mut x = 0.0;
    let mut entry = |scene: &mut Scene, text: &str, draw: &dyn Fn(&mut Scene, f64)| {
        draw(scene, x);
        scene.label((x + 24.0, 0.0), TextStyle::Small, Paint::TextSoft, Align::Start, text);
        x += 24.0 + measure.width(text, TextStyle::Small) + 18.0;
    };
    let swatch = |paint: Paint| move |scene: &mut Scene, x: f64| scene.rect((x, -4.0, 18.0, 8.0), 2.0, paint);
    entry(scene, "Done", &swatch(Paint::BarDone));
    entry(scene, "To come", &swatch(Paint::Bar));
    if options.has(Layer::Critical) {
        entry(scene, "Critical path", &swatch(Paint::CriticalDone));
    }
    entry(scene, "Summary", &swatch(Paint::Summary));
    entry(scene, "Milestone", &|scene, x| {
        let corner = |dx: f64, dy: f64| Point { x: x + 9.0 + dx, y: dy };
        scene.polygon(&[corner(0.0, -6.0), corner(6.0, 0.0), corner(0.0, 6.0), corner(-6.0, 0.0)], Paint::Summary);
    });
    if options.has(Layer::Slack) {
        entry(scene, "Slack", &|scene, x| {
            scene.path(&[Point { x, y: 0.0 }, Point { x: x + 18.0, y: 0.0 }], Paint::Slack, 1.5, Dash::Dashed);
        });
    }
    if options.has(Layer::Baselines) {
        entry(scene, "Baseline", &|scene, x| scene.rect((x, -2.0, 18.0, 4.0), 1.0, Paint::Baseline));
    }
    entry(scene, "Deadline", &|scene, x| {
        let corner = |dx: f64, dy: f64| Point { x: x + 9.0 + dx, y: dy };
        scene.polygon(&[corner(-5.0, -3.0), corner(5.0, -3.0), corner(0.0, 5.0)], Paint::Deadline);
    });
    if options.today.is_some() {
        entry(scene, "Today", &|scene, x| scene.rect((x + 8.0, -7.0, 1.5, 14.0), 0.0, Paint::Today));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::Row;
    use crate::pages::{Paper, split_pages};
    use crate::scene::{Shape, estimated_width};
    use pmo_planning::Span;

    struct Estimate;
    impl Measure for Estimate {
        fn width(&mut self, text: &str, style: TextStyle) -> f64 {
            estimated_width(text, style)
        }
    }

    #[test]
    fn each_page_has_title_table_chart_and_legend() {
        let mut chart = Chart::default();
        let mut rows = Vec::new();
        for number in 0..60_i32 {
            let start = Moment(number * 14_400);
            let kind = if number % 10 == 0 { RowKind::Summary } else { RowKind::Task };
            chart.push_row(Row { start, finish: start.plus(Span::hours(48)), kind, ..Row::default() }, "", []);
            rows.push(SheetRow { level: 1, cells: vec![number.to_string(), format!("Task {number}")] });
        }
        let columns = [Column { title: "WBS", width: 60.0 }, Column { title: "Task", width: 240.0 }];
        let scale = TimeScale::new(Moment(0), 10.0);
        let options = ChartOptions::new(Moment(0), [Layer::Critical, Layer::Slack]);
        let sheet = Sheet {
            title: "Office move",
            note: "1 December 2026",
            columns: &columns,
            rows: &rows,
            chart: &chart,
            scale,
            options,
            shading: &[],
        };
        let layout = PageLayout::on_paper(Paper::A4, 300.0, 46.0, 24.0);
        let time = Moment(0)..Moment(62 * 14_400);
        let pages = split_pages(&layout, scale, time, rows.len()).unwrap();
        assert_eq!(pages.len(), 3);
        let mut scene = Scene::default();
        for page in &pages {
            sheet.draw(&mut scene, &layout, page, pages.len(), &mut Estimate);
            let texts: Vec<&str> = scene
                .shapes()
                .iter()
                .filter_map(|shape| if let Shape::Text { text, .. } = shape { Some(scene.text(text)) } else { None })
                .collect();
            let number = format!("1 December 2026 · Page {} of 3", page.number);
            let first = format!("Task {}", page.rows.start);
            for expected in ["Office move", "WBS", "Critical path", "Today", &number, &first] {
                assert!(texts.contains(&expected), "page {} lacks {expected}", page.number);
            }
            assert!(!texts.contains(&format!("Task {}", page.rows.end).as_str()));
        }
    }
}
