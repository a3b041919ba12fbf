//! Writes a sample chart as SVG to the standard output, to look at after changes of the drawing.
//!
//! `cargo run -p pmo-gantt --example sample > target/sample.svg`

use pmo_gantt::{
    Baseline, Chart, ChartLink, ChartOptions, Column, ConstraintMark, Emphasis, Layer, Measure, PageLayout, Paint,
    Palette, Row, RowKind, RowMode, Scene, Shading, Sheet, SheetRow, SyncMark, TextStyle, TimeScale, estimated_width,
    non_working, split_pages, write_svg,
};
use pmo_planning::{Calendar, CalendarIndex, LinkKind, Moment, Span, WorkingTime};

struct Estimate;
impl Measure for Estimate {
    fn width(&mut self, text: &str, style: TextStyle) -> f64 {
        estimated_width(text, style)
    }
}

struct Light;
impl Palette for Light {
    fn color(&self, paint: Paint) -> &str {
        match paint {
            Paint::Surface | Paint::LabelBack => "#fefefe",
            Paint::Selected => "#e8efff",
            Paint::Hover | Paint::NonWorking => "#f6f7f9",
            Paint::RowLine => "#eff0f2",
            Paint::Line => "#e5e7ea",
            Paint::Bar => "#b8c7e6",
            Paint::BarDone => "#6288cb",
            Paint::Critical => "#f4b3ac",
            Paint::CriticalDone => "#d5504c",
            Paint::Summary => "#50555d",
            Paint::Reached => "#167a3d",
            Paint::Arrow => "#83888f",
            Paint::Today | Paint::Focus => "#2a54d0",
            Paint::Text => "#181b20",
            Paint::TextSoft => "#454a52",
            Paint::TextFaint | Paint::Slack => "#62676f",
            Paint::Deadline => "#0f7038",
            Paint::Danger => "#b92a2c",
            Paint::Baseline => "#80858d",
            Paint::Mark => "#1c6a8a",
            Paint::Unsent => "#8a5a00",
        }
    }
}

fn at(day: i32, hour: i32) -> Moment {
    Moment::from_civil(2026, 9, 1, 0, 0).plus(Span::hours(day * 24 + hour))
}

/// Name, shape, first day, days, percentage.
const ROWS: [(&str, RowKind, i32, i32, u8); 12] = [
    ("Discovery", RowKind::Summary, 6, 17, 60),
    ("Interview ten customers", RowKind::Task, 6, 2, 100),
    ("Collect the figures of the old site", RowKind::Task, 8, 5, 80),
    ("Write the brief", RowKind::Task, 14, 3, 40),
    ("Agree on goals and measures", RowKind::Task, 16, 6, 0),
    ("Brief signed", RowKind::Milestone, 23, 0, 0),
    ("Concept", RowKind::Summary, 23, 29, 0),
    ("Sitemap", RowKind::Task, 23, 5, 0),
    ("Content inventory", RowKind::Task, 30, 4, 0),
    ("Tone of voice", RowKind::Task, 28, 8, 0),
    ("Accessibility baseline", RowKind::Task, 42, 3, 0),
    ("Concept approved", RowKind::Milestone, 52, 0, 100),
];

fn chart() -> Chart {
    let mut chart = Chart::default();
    for (number, (_, kind, first, days, percent)) in ROWS.into_iter().enumerate() {
        let (start, finish) = (at(first, 8), if days == 0 { at(first, 8) } else { at(first + days - 1, 17) });
        let critical = matches!(number, 3 | 4 | 5 | 7 | 8);
        let row = Row {
            start,
            finish,
            kind,
            percent,
            emphasis: if critical { Emphasis::Critical } else { Emphasis::Normal },
            mode: if number == 9 { RowMode::Manual } else { RowMode::Automatic },
            sync: if number == 2 { SyncMark::Unsent } else { SyncMark::Synced },
            slack_end: if number == 10 { finish.plus(Span::hours(96)) } else { Moment::NONE },
            deadline: if number == 8 { at(36, 17) } else { Moment::NONE },
            constraint: if number == 10 { ConstraintMark::Start } else { ConstraintMark::None },
            constraint_moment: if number == 10 { start } else { Moment::NONE },
        };
        let label = if kind == RowKind::Task { "40% · AK" } else { "" };
        chart.push_row(
            row,
            label,
            [Baseline { start: start.minus(Span::hours(48)), finish: finish.minus(Span::hours(48)) }],
        );
    }
    let link = |from, to, kind| ChartLink { from, to, kind, emphasis: Emphasis::Normal };
    chart.set_links([
        link(1, 2, LinkKind::FinishToStart),
        link(2, 3, LinkKind::FinishToStart),
        ChartLink { emphasis: Emphasis::Critical, ..link(3, 4, LinkKind::FinishToStart) },
        ChartLink { emphasis: Emphasis::Critical, ..link(4, 5, LinkKind::FinishToStart) },
        link(5, 7, LinkKind::FinishToStart),
        link(7, 8, LinkKind::StartToStart),
        link(8, 9, LinkKind::FinishToFinish),
        link(9, 10, LinkKind::StartToFinish),
        link(10, 11, LinkKind::FinishToStart),
        link(10, 2, LinkKind::FinishToStart),
    ]);
    chart
}

fn main() {
    let (chart, time) = (chart(), at(0, 0)..at(70, 0));
    let scale = TimeScale::new(time.start, 11.0);
    let columns = [Column { title: "WBS", width: 50.0 }, Column { title: "Task", width: 240.0 }];
    let cells = |(number, row): (usize, &(&str, RowKind, i32, i32, u8))| SheetRow {
        level: if row.1 == RowKind::Summary { 1 } else { 2 },
        cells: vec![number.to_string(), row.0.to_owned()],
    };
    let rows: Vec<SheetRow> = ROWS.iter().enumerate().map(cells).collect();
    let calendar = WorkingTime::of_calendar(&[Calendar::standard()], CalendarIndex(0));
    let mut shading = Vec::new();
    non_working(&calendar, time.clone(), Shading::for_scale(scale), &mut shading);
    let layers = [Layer::Links, Layer::Critical, Layer::Slack, Layer::Baselines, Layer::Labels];
    let mut options = ChartOptions::new(at(15, 10), layers);
    options.selected = Some(4);
    let sheet = Sheet {
        title: "Website relaunch",
        note: "Sample",
        columns: &columns,
        rows: &rows,
        chart: &chart,
        scale,
        options,
        shading: &shading,
    };
    let layout = PageLayout::of_whole(290.0, scale.x(time.end), 46.0, 30.0, rows.len());
    let (mut scene, mut svg) = (Scene::default(), String::new());
    for page in split_pages(&layout, scale, time, rows.len()).unwrap_or_default() {
        sheet.draw(&mut scene, &layout, &page, 1, &mut Estimate);
        write_svg(&scene, (layout.width, layout.height), "Website relaunch", &Light, &mut svg);
    }
    println!("{svg}");
}
