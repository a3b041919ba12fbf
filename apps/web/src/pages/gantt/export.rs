//! Print, SVG and PNG of the chart, in the light colors.

use super::canvas::{Colors, TextWidths, Theme, new_canvas, paint};
use super::grid::sheet_rows;
use super::state::{GanttState, HEADER, now};
use crate::client::http::save_blob;
use crate::ui::dialog::Dialog;
use crate::ui::reactive::{reactive_attr, reactive_view};
use leptos::prelude::*;
use pmo_gantt::{
    ChartOptions, Column, Page, PageError, PageLayout, Paper, Scene, Shading, Sheet, TimeScale, non_working,
    split_pages, write_svg,
};
use pmo_planning::{Moment, Span};
use std::ops::Range;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;

/// Height of a row on paper, in pixels.
const ROW: f64 = 24.0;
/// Longest side of an exported picture, in pixels; browsers refuse larger canvases.
const MAX_PIXELS: f64 = 16_000.0;
const COLUMNS: [Column; 5] = [
    Column { title: "WBS", width: 48.0 },
    Column { title: "Task", width: 220.0 },
    Column { title: "Duration", width: 52.0 },
    Column { title: "Start", width: 56.0 },
    Column { title: "Finish", width: 56.0 },
];

/// Form of a saved chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExportAction {
    Svg,
    Png,
}

/// Pages of a print that shows the whole time on so many pages side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PrintSettings {
    paper: Paper,
    wide: u32,
}

/// Returns the time of the plan with a margin; `None` for a plan without dates.
fn whole_time(state: GanttState) -> Option<Range<Moment>> {
    let time = state.core.with_value(|core| core.chart.time())?;
    let margin = Span(time.end.since(time.start).0 / 40).max(Span::hours(24));
    // The end has room for the label of the last bar.
    Some(time.start.minus(margin)..time.end.plus(margin.plus(margin).plus(margin)))
}

fn table_width() -> f64 {
    COLUMNS.iter().map(|column| column.width).sum()
}

/// Calls `draw` with what all pages share.
fn with_sheet<T>(
    state: GanttState,
    title: &str,
    scale: TimeScale,
    time: &Range<Moment>,
    draw: impl FnOnce(&Sheet<'_>) -> T,
) -> T {
    let rows = sheet_rows(state);
    let today = now();
    let mut note = String::new();
    pmo_gantt::day_label(today, &mut note);
    let note = format!("{note} {}", today.day().to_civil().0);
    let mut shading = Vec::new();
    let options = ChartOptions::new(today, state.layers.get_untracked());
    state.core.with_value(|core| {
        non_working(&core.plan.time, time.clone(), Shading::for_scale(scale), &mut shading);
        draw(&Sheet {
            title,
            note: &note,
            columns: &COLUMNS,
            rows: &rows,
            chart: &core.chart,
            scale,
            options,
            shading: &shading,
        })
    })
}

/// Saves the whole chart as a file.
pub(super) fn save(state: GanttState, title: &str, action: ExportAction) {
    let (Some(time), Some(mut widths)) = (whole_time(state), TextWidths::new()) else { return };
    let count = state.row_count();
    let scale = state.scale.get_untracked();
    let wide = (scale.x(time.end) - scale.x(time.start)).min(MAX_PIXELS - table_width());
    let scale = TimeScale::fitting(time.start, time.start, time.end, wide);
    let layout = PageLayout::of_whole(table_width(), wide, HEADER, ROW, count);
    let page = Page { number: 1, rows: 0..count, scroll_x: 0.0 };
    let mut scene = Scene::default();
    with_sheet(state, title, scale, &time, |sheet| sheet.draw(&mut scene, &layout, &page, 1, &mut widths));
    let colors = Colors::read(Theme::Light);
    let name = title.replace(['/', '\\', ':'], "-");
    match action {
        ExportAction::Svg => {
            let mut svg = String::new();
            write_svg(&scene, (layout.width, layout.height), title, &colors.opaque(), &mut svg);
            let options = web_sys::BlobPropertyBag::new();
            options.set_type("image/svg+xml");
            let parts = js_sys::Array::of1(&svg.into());
            if let Ok(blob) = web_sys::Blob::new_with_str_sequence_and_options(&parts, &options) {
                save_blob(&blob, &format!("{name}.svg"));
            }
        }
        ExportAction::Png => {
            // Twice the resolution, as far as the browser allows.
            let ratio = (MAX_PIXELS / layout.width.max(layout.height)).min(2.0);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // at most MAX_PIXELS
            let size = ((layout.width * ratio) as u32, (layout.height * ratio) as u32);
            let Some((canvas, context)) = new_canvas(size.0, size.1) else { return };
            paint(&context, &scene, &colors, ratio);
            let on_blob = Closure::once_into_js(move |blob: Option<web_sys::Blob>| {
                if let Some(blob) = blob {
                    save_blob(&blob, &format!("{name}.png"));
                }
            });
            let _ = canvas.to_blob(on_blob.unchecked_ref());
        }
    }
}

/// Returns the pages of a print as SVG documents.
fn print_pages(state: GanttState, title: &str, settings: PrintSettings) -> Result<Vec<String>, PageError> {
    let (Some(time), Some(mut widths)) = (whole_time(state), TextWidths::new()) else { return Err(PageError::Empty) };
    let layout = PageLayout::on_paper(settings.paper, table_width(), HEADER, ROW);
    let width = layout.chart_width() * f64::from(settings.wide);
    // Rounding of the scale must not begin another page.
    let scale = TimeScale::fitting(time.start, time.start, time.end, width - 1.0);
    let pages = split_pages(&layout, scale, time.clone(), state.row_count())?;
    let colors = Colors::read(Theme::Light).opaque();
    Ok(with_sheet(state, title, scale, &time, |sheet| {
        let mut scene = Scene::default();
        let draw = |page: &Page| {
            sheet.draw(&mut scene, &layout, page, pages.len(), &mut widths);
            let mut svg = String::new();
            write_svg(&scene, (layout.width, layout.height), title, &colors, &mut svg);
            svg
        };
        pages.iter().map(draw).collect()
    }))
}

/// Prints pages: only they are visible on paper, see the style sheet.
fn print(pages: &[String], paper: Paper) -> Option<()> {
    let container = document().create_element("div").ok()?;
    container.set_class_name(&format!("gantt-print {}", paper.name().to_lowercase()));
    // The pages contain no markup but that of the SVG writer, which escapes all texts.
    container.set_inner_html(&pages.concat());
    document().body()?.append_child(&container).ok()?;
    let _ = window().print();
    container.remove();
    Some(())
}

/// Dialog with the settings of a print.
#[component]
pub(super) fn PrintDialog(state: GanttState, title: Signal<String>, open: RwSignal<bool>) -> impl IntoView {
    let settings = RwSignal::new(PrintSettings { paper: Paper::A4, wide: 1 });
    let pages = Memo::new(move |_| print_pages(state, &title.get(), settings.get()).map(|pages| pages.len()));
    let paper_button = move |paper: Paper| {
        let pressed = move || (settings.get().paper == paper).to_string();
        view! { <button type="button" aria-pressed=reactive_attr(pressed) on:click=move |_| settings.update(|s| s.paper = paper)>{paper.name()}</button> }
    };
    let wide_button = move |wide: u32| {
        let pressed = move || (settings.get().wide == wide).to_string();
        view! { <button type="button" aria-pressed=reactive_attr(pressed) on:click=move |_| settings.update(|s| s.wide = wide)>{wide}</button> }
    };
    let summary = move || match pages.get() {
        Ok(1) => "1 page".to_owned(),
        Ok(count) => format!("{count} pages"),
        Err(PageError::Empty) => "The plan has no dates".to_owned(),
        Err(PageError::TooManyPages(count)) => {
            format!("{count} pages are too many: collapse summaries, or use fewer pages side by side")
        }
    };
    let on_print = move |_| {
        let settings = settings.get_untracked();
        if let Ok(pages) = print_pages(state, &title.get_untracked(), settings) {
            open.set(false);
            let _ = print(&pages, settings.paper);
        }
    };
    view! {
        <Dialog title="Print" close=move |()| open.set(false)>
            <div class="body form">
                <div class="field"><span class="label">"Paper"</span><div class="segments" role="group" aria-label="Paper">{[Paper::A4, Paper::A3].map(paper_button).into_iter().collect_view()}</div></div>
                <div class="field"><span class="label">"Pages side by side"</span><div class="segments" role="group" aria-label="Pages side by side">{[1, 2, 3, 4].map(wide_button).into_iter().collect_view()}</div></div>
                <p class="meta" role="status" data-testid="gantt-pages">{reactive_view(summary)}</p>
            </div>
            <footer><button class="btn" on:click=move |_| open.set(false)>"Cancel"</button><button class="btn primary" disabled=reactive_attr(move || pages.get().is_err()) on:click=on_print>"Print"</button></footer>
        </Dialog>
    }
}
