//! Table beside the bars: the accessible form of the chart.

use super::state::{GanttState, HEADER};
use crate::table::keyed_rows::render_keyed_rows;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::attr::custom::custom_attribute;
use leptos::html;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_gantt::{SheetRow, TaskDates, day_label, days_label};
use pmo_planning::{Mode, Moment, Span};
use uuid::Uuid;
use web_sys::{KeyboardEvent, PointerEvent};

/// Rows rendered beyond the visible ones.
const OVERSCAN_ROWS: usize = 4;
/// Narrowest table in pixels.
const MIN_WIDTH: f64 = 120.0;
/// Narrowest chart in pixels that a wide table leaves.
const MIN_CHART: f64 = 160.0;

/// Row of the table; it is rendered again when a value changes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct GridRow {
    id: Uuid,
    task: u32,
    row: usize,
    level: usize,
    /// Whether the rows below are shown; `None` for a task without any.
    open: Option<bool>,
}

/// Text of a row.
#[derive(Clone, Debug, Default, PartialEq)]
struct RowText {
    name: String,
    wbs: String,
    duration: String,
    start: String,
    finish: String,
    /// Start and finish in the form of machines.
    moments: [String; 2],
    milestone: bool,
    critical: bool,
    pending: bool,
    /// What bars show by their looks.
    description: String,
}

fn short_date(moment: Moment) -> String {
    let mut text = String::new();
    day_label(moment, &mut text);
    text
}

fn row_text(state: GanttState, task: u32) -> RowText {
    state.core.with_value(|core| {
        let plan = &core.plan;
        let Some(info) = plan.tasks.get(task as usize) else { return RowText::default() };
        let TaskDates { start, finish } = plan.dates(task);
        let mut description = vec![format!("{} % complete", plan.percent(task))];
        if plan.is_critical(task) {
            description.push("critical".into());
        } else if let Some(slack) = plan.total_slack(task).filter(|slack| *slack != Span::ZERO) {
            description.push(format!("slack {}", super::details::work_days(plan, slack)));
        }
        let deadline = plan.live.plan().tasks.get(task as usize).map(|task| task.deadline).unwrap_or_default();
        if deadline.is_some() && finish > deadline {
            description.push(format!("misses its deadline by {}", days_label(finish.since(deadline))));
        }
        match plan.mode(task) {
            Mode::Automatic => {}
            Mode::Manual => description.push("manual".into()),
            Mode::Inactive => description.push("inactive".into()),
        }
        RowText {
            name: info.name.clone(),
            wbs: info.wbs.clone(),
            duration: plan.duration_text(task),
            start: short_date(start),
            finish: short_date(finish),
            moments: [start, finish].map(|moment| moment.get().map(|moment| moment.to_string()).unwrap_or_default()),
            milestone: info.milestone,
            critical: plan.is_critical(task),
            pending: info.pending,
            description: description.join(", "),
        }
    })
}

/// Returns the table as it is printed.
pub(super) fn sheet_rows(state: GanttState) -> Vec<SheetRow> {
    let tasks = state.core.with_value(|core| core.visible.tasks.clone());
    let row = |task: u32| {
        let text = row_text(state, task);
        let level = state.core.with_value(|core| core.plan.tasks.get(task as usize).map_or(1, |info| info.level));
        SheetRow { level, cells: vec![text.wbs, text.name, text.duration, text.start, text.finish] }
    };
    tasks.into_iter().map(row).collect()
}

/// Returns the rows to render.
fn visible_rows(state: GanttState) -> Vec<GridRow> {
    state.version.track();
    state.scroll.track();
    state.size.track();
    let view = state.view();
    let collapsed = state.collapsed.get_untracked();
    state.core.with_value(|core| {
        let count = core.visible.tasks.len();
        let rows = view.rows(count);
        let rows = rows.start.saturating_sub(OVERSCAN_ROWS)..(rows.end + OVERSCAN_ROWS).min(count);
        rows.filter_map(|row| {
            let task = core.visible.task(row)?;
            let info = core.plan.tasks.get(task as usize)?;
            let open = core.plan.is_summary(task).then(|| !collapsed.contains(&info.id));
            Some(GridRow { id: info.id, task, row, level: info.level, open })
        })
        .collect()
    })
}

/// Table of the visible rows.
#[component]
pub(super) fn GanttGrid(state: GanttState, #[prop(into)] title: Signal<String>) -> impl IntoView {
    let end = NodeRef::<html::Tr>::new();
    let rows = Memo::new(move |_| visible_rows(state));
    render_keyed_rows(
        move || rows.get(),
        move |row: GridRow| view! { <GanttRow state=state grid_row=row/> }.into_any(),
        end,
    );
    // The rows are moved together with the bars, in the same frame.
    let offset = move || {
        state.scroll.track();
        let first = rows.with(|rows| rows.first().map_or(0, |row| row.row));
        let view = state.view();
        format!("translate:0 {}px", view.row_top(first) - HEADER)
    };
    let active = move || state.selected.get().map(|id| format!("gantt-row-{id}"));
    let count = move || {
        state.version.track();
        (state.row_count() + 1).to_string()
    };
    // The selected row shows the focus.
    let on_focus = move |_| {
        if state.selected.get_untracked().is_none() {
            state.select_row(state.view().rows(state.row_count()).start);
        }
    };
    view! {
        <table class="gantt-table" role="treegrid" tabindex="0" on:focus=on_focus node_ref=state.table data-testid="gantt-table" aria-label=reactive_attr(move || title.get())
            aria-rowcount=reactive_attr(count) aria-activedescendant=reactive_attr(active)>
            <thead><tr aria-rowindex="1">
                <th scope="col" class="wbs">"WBS"</th><th scope="col" class="name">"Task"</th><th scope="col" class="length">"Duration"</th>
                <th scope="col" class="date start">"Start"</th><th scope="col" class="date">"Finish"</th>
            </tr></thead>
            <tbody style=reactive_attr(offset)><tr node_ref=end hidden=true></tr></tbody>
        </table>
    }
}

#[component]
fn GanttRow(state: GanttState, grid_row: GridRow) -> impl IntoView {
    let GridRow { id, task, row, level, open } = grid_row;
    let text = Memo::new(move |_| {
        state.version.track();
        row_text(state, task)
    });
    let cell = move |read: fn(&RowText) -> String| reactive_view(move || text.with(read));
    let is_selected = move || state.selected.get() == Some(id);
    let on_click = move |event: leptos::ev::MouseEvent| {
        state.selected.set(Some(id));
        if state.narrow.get_untracked() {
            // The name is a link; on a phone it opens the dates, which have a button to the page.
            event.prevent_default();
            state.editing.set(Some(id));
        }
    };
    let toggle = move |event: leptos::ev::MouseEvent| {
        event.stop_propagation();
        state.toggle_collapsed(id);
    };
    let toggle_button = match open {
        Some(open) => view! { <button class="toggle" tabindex="-1" aria-label=if open { "Collapse" } else { "Expand" } on:click=toggle>{icon("chevron-right")}</button> }.into_any(),
        None => view! { <span class="toggle"></span> }.into_any(),
    };
    view! {
        <tr id=format!("gantt-row-{id}") data-id=id.to_string() data-testid="gantt-row" class:summary=open.is_some() class:critical=reactive_attr(move || text.with(|t| t.critical))
            {..custom_attribute("aria-level", level.to_string())} aria-expanded=open.map(|open| if open { "true" } else { "false" })
            aria-rowindex=(row + 2).to_string() aria-selected=reactive_attr(move || is_selected().to_string()) style=format!("--level:{level}")
            on:click=on_click on:pointerenter=move |_| state.hovered.set(Some(row))>
            <td class="wbs num">{cell(|t| t.wbs.clone())}</td>
            <th scope="row" class="name"><div class="tree">
                {toggle_button}
                {reactive_view(move || text.with(|t| t.milestone).then(|| view! { <i class="i i-milestone" role="img" aria-label="Milestone"></i> }))}
                <A href=format!("/task/{id}") attr:tabindex="-1" attr:title=reactive_attr(move || text.with(|t| t.name.clone()))><span class:unsent=reactive_attr(move || text.with(|t| t.pending))>{cell(|t| t.name.clone())}</span></A>
                <span class="vh">{cell(|t| t.description.clone())}</span>
            </div></th>
            <td class="length num">{cell(|t| t.duration.clone())}</td>
            <td class="date start"><time datetime=reactive_attr(move || text.with(|t| t.moments[0].clone()))>{cell(|t| t.start.clone())}</time></td>
            <td class="date"><time datetime=reactive_attr(move || text.with(|t| t.moments[1].clone()))>{cell(|t| t.finish.clone())}</time></td>
        </tr>
    }
}

/// Border between table and chart, which can be dragged.
#[component]
pub(super) fn Splitter(state: GanttState) -> impl IntoView {
    let pressed = StoredValue::new(None::<f64>);
    let resize = move |width: f64| {
        let (total, _) = state.size.get_untracked();
        state.table_width.set(width.clamp(MIN_WIDTH, (total - MIN_CHART).max(MIN_WIDTH)));
        state.resize_content();
    };
    let save = move || {
        let width = state.table_width.get_untracked();
        crate::client::local_storage::set("gantt-table", &format!("{width:.0}"));
    };
    let on_down = move |event: PointerEvent| {
        event.prevent_default();
        let target: web_sys::HtmlElement = event_target(&event);
        let _ = target.set_pointer_capture(event.pointer_id());
        pressed.set_value(Some(state.table_width.get_untracked() - f64::from(event.client_x())));
    };
    let on_move = move |event: PointerEvent| {
        if let Some(offset) = pressed.get_value() {
            resize(f64::from(event.client_x()) + offset);
        }
    };
    let on_up = move |_| {
        if pressed.get_value().is_some() {
            save();
        }
        pressed.set_value(None);
    };
    let on_keydown = move |event: KeyboardEvent| {
        let step = match event.key().as_str() {
            "ArrowLeft" => -24.0,
            "ArrowRight" => 24.0,
            _ => return,
        };
        event.prevent_default();
        event.stop_propagation();
        resize(state.table_width.get_untracked() + step);
        save();
    };
    view! {
        <div class="gantt-splitter" role="separator" tabindex="0" aria-orientation="vertical" aria-label="Width of the table" data-testid="gantt-splitter"
            aria-valuemin="120" aria-valuemax="2000" aria-valuenow=reactive_attr(move || format!("{:.0}", state.table_width.get()))
            on:pointerdown=on_down on:pointermove=on_move on:pointerup=on_up on:pointercancel=on_up on:keydown=on_keydown></div>
    }
}
