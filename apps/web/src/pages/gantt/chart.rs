//! Component of the chart: its data, its layout and its frames.

use super::details::{ExplanationCard, HoverCard, TaskSheet};
use super::grid::{GanttGrid, Splitter};
use super::keys::KeyHandlers;
use super::plan::{PlanRows, snapshots};
use super::pointer::PointerHandlers;
use super::problems::ProblemsPanel;
use super::state::{Core, GanttState};
use super::toolbar::Toolbar;
use crate::client::client;
use crate::client::local_storage;
use crate::hooks::{ListRows, use_entity_codes, use_rows, use_status};
use crate::ui::format;
use crate::ui::overlay_state::OverlayState;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::{icon, reference_ids};
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::hooks::use_navigate;
use pmo_domain::{EntityCode, EntityRef, Permission};
use pmo_gantt::{Layer, TimeScale, Zoom};
use pmo_sync::{ListKey, RowView};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use uuid::Uuid;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;

/// Width of the table before a person changes it, in pixels.
const TABLE_WIDTH: f64 = 440.0;
/// The same on phones.
const NARROW_TABLE_WIDTH: f64 = 156.0;

/// Gantt chart of a project.
#[component]
pub(crate) fn GanttChart(
    /// Project of the chart.
    project: EntityRef,
    /// Row of the project.
    row: Memo<Option<RowView>>,
) -> impl IntoView {
    let state = use_gantt(row);
    // The size is known before the first rows, which are scrolled into view.
    use_layout(state);
    let loaded = use_plan_rows(&project, row, state);
    use_baselines(&project, state);
    let overlays = use_context::<OverlayState>();
    let pointer = PointerHandlers::new(state);
    let keys = KeyHandlers { state, pointer, overlays };
    let navigate = use_navigate();
    let open_page = {
        let navigate = navigate.clone();
        move |id: Uuid| navigate(&format!("/task/{id}"), NavigateOptions::default())
    };
    let open_on_key = open_page.clone();
    let title = Signal::derive(move || row.get().map(|row| format::text(&row.data, "name")).unwrap_or_default());
    let port_style = move || {
        let (width, height) = state.size.get();
        format!("inline-size:{width}px;block-size:{height}px")
    };
    let has_tasks = Memo::new(move |_| {
        state.version.track();
        state.core.with_value(|core| !core.plan.tasks.is_empty())
    });
    view! {
        <Toolbar state=state title=title/>
        <div class="content gantt-view" data-testid="gantt" on:keydown=move |event| keys.on_keydown(&event, &open_on_key)>
            <div class="gantt-scroll" node_ref=state.scroller on:scroll=move |_| state.on_scroll() on:wheel=move |event| pointer.on_wheel(&event)>
                <div class="gantt-size" node_ref=state.sizer>
                    <div class="gantt-port" style=reactive_attr(port_style)>
                        <div class="gantt-side" style=reactive_attr(move || format!("inline-size:{}px", state.table_width.get()))>
                            <GanttGrid state=state title=title/>
                        </div>
                        <Splitter state=state/>
                        <div class="gantt-canvas" data-testid="gantt-canvas" aria-hidden="true" data-origin=reactive_attr(move || state.scale.get().origin().to_string())
                            data-pixels-per-day=reactive_attr(move || state.scale.get().pixels_per_day().to_string())
                            on:pointerdown=move |event| pointer.on_down(&event) on:pointermove=move |event| pointer.on_move(&event)
                            on:pointerup=move |event| pointer.on_up(&event) on:pointercancel=move |_| pointer.on_cancel()
                            on:pointerleave=move |_| pointer.on_leave() on:click=move |event| pointer.on_click(&event)
                            on:dblclick=move |event| pointer.on_double_click(&event, &open_page)
                            on:touchstart=move |event| pointer.on_touch(&event) on:touchmove=move |event| pointer.on_touch(&event)
                            on:touchend=move |event| pointer.on_touch(&event)>
                            <canvas node_ref=state.still></canvas><canvas node_ref=state.moving></canvas>
                        </div>
                    </div>
                </div>
            </div>
            <div class="gantt-message" role="status" data-testid="gantt-message">{reactive_view(move || state.message.get().map(|message| view! { <span>{message}</span> }))}</div>
            {reactive_view(move || pointer.hover_card.get().map(|(task, at)| view! { <HoverCard state=state task=task at=at/> }))}
            {reactive_view(move || state.explained.get().map(|task| view! { <ExplanationCard state=state task=task/> }))}
            {reactive_view(move || state.problems_open.get().then(|| view! { <ProblemsPanel state=state/> }))}
            {reactive_view(move || (!has_tasks.get()).then(|| empty_state(loaded)))}
        </div>
        {reactive_view(move || state.editing.get().map(|task| view! { <TaskSheet state=state task=task/> }))}
    }
}

/// Message or placeholder for a chart without tasks.
fn empty_state(loaded: Memo<bool>) -> AnyView {
    let status = use_status();
    match (loaded.get(), status.get().online) {
        (true, _) => view! {
            <div class="blank gantt-blank"><span class="glyph">{icon("chart-gantt")}</span><h2>"No tasks yet"</h2>
                <p>"Add tasks in the outline; their bars appear here."</p></div>
        }
        .into_any(),
        (false, false) => view! {
            <div class="blank gantt-blank"><span class="glyph">{icon("cloud-off")}</span><h2>"This plan could not be loaded"</h2>
                <p>"It has not been opened on this device before. It loads when the connection is restored."</p></div>
        }
        .into_any(),
        (false, true) => view! { <div class="skeletons" aria-busy="true">{(0..12).map(|_| view! { <span class="skeleton"></span> }).collect_view()}</div> }.into_any(),
    }
}

fn is_narrow() -> bool {
    window().match_media("(width < 48rem)").ok().flatten().is_some_and(|query| query.matches())
}

/// Creates the state of the chart.
fn use_gantt(row: Memo<Option<RowView>>) -> GanttState {
    let narrow = is_narrow();
    let stored = local_storage::get("gantt-table").and_then(|width| width.parse::<f64>().ok());
    let table_width = if narrow { NARROW_TABLE_WIDTH } else { stored.unwrap_or(TABLE_WIDTH).clamp(120.0, 1_200.0) };
    let can_edit = Memo::new(move |_| {
        let level = row.get().and_then(|row| row.data.get("permission").and_then(Value::as_u64)).unwrap_or_default();
        level >= u64::from(u8::from(Permission::Edit))
    });
    GanttState {
        core: StoredValue::new_local(Core::default()),
        version: RwSignal::new(0),
        selected: RwSignal::new(None),
        hovered: RwSignal::new(None),
        collapsed: RwSignal::new(HashSet::new()),
        scale: RwSignal::new(TimeScale::new(super::state::now(), Zoom::Weeks.pixels_per_day())),
        scroll: RwSignal::new((0.0, 0.0)),
        size: RwSignal::new((0.0, 0.0)),
        table_width: RwSignal::new(table_width),
        layers: RwSignal::new(vec![Layer::Links, Layer::Critical, Layer::Slack, Layer::Labels]),
        message: RwSignal::new(None),
        explained: RwSignal::new(None),
        editing: RwSignal::new(None),
        linking: RwSignal::new(None),
        problems_open: RwSignal::new(false),
        can_edit,
        narrow: RwSignal::new(narrow),
        scroller: NodeRef::new(),
        sizer: NodeRef::new(),
        table: NodeRef::new(),
        still: NodeRef::new(),
        moving: NodeRef::new(),
    }
}

/// Rows of a type that name the project.
fn use_project_rows(code: &str, project: &EntityRef) -> Memo<ListRows<RowView>> {
    match EntityCode::new(code) {
        Ok(code) => use_rows(ListKey::children_of(code, project.clone(), "project_id")),
        Err(_) => Memo::new(|_| ListRows { rows: Vec::new(), loaded: false, failed: true }),
    }
}

/// Rows of a type that name the project, once they are wanted; `None` until then.
fn use_project_rows_when(
    wanted: Memo<bool>,
    code: &'static str,
    project: &EntityRef,
) -> RwSignal<Option<Memo<ListRows<RowView>>>> {
    let project = project.clone();
    // Once loaded, the list stays for as long as the chart.
    let rows = RwSignal::new(None::<Memo<ListRows<RowView>>>);
    let owner = Owner::current();
    Effect::new(move || {
        if wanted.get()
            && rows.with_untracked(Option::is_none)
            && let Some(owner) = &owner
        {
            rows.set(Some(owner.with(|| use_project_rows(code, &project))));
        }
    });
    rows
}

/// Keeps the plan up to date with the rows; returns whether the tasks are loaded.
fn use_plan_rows(project: &EntityRef, row: Memo<Option<RowView>>, state: GanttState) -> Memo<bool> {
    let tasks = use_project_rows("task", project);
    let dependencies = use_project_rows("task_dependency", project);
    let schedules = use_project_rows("schedule", project);
    let codes = use_entity_codes();
    // Assignments that do not name their project cannot be listed; people then count with 100 %.
    let has_assignments = Memo::new(move |_| {
        let codes = codes.get();
        codes.get("project").is_some_and(|project| {
            project.children.iter().any(|child| child.code == "assignment" && child.parent_column.is_some())
        })
    });
    let assignments = use_project_rows_when(has_assignments, "assignment", project);
    Effect::new(move || {
        let assignments = match assignments.get() {
            Some(list) => list.with(|list| list.loaded.then(|| list.rows.clone())),
            None => (!has_assignments.get()).then(Vec::new),
        };
        let lists = [tasks, dependencies, schedules];
        let complete = assignments.is_some() && lists.iter().all(|list| list.with(|list| list.loaded));
        let rows = |list: Memo<ListRows<RowView>>| list.with(|list| list.rows.clone());
        let tasks = rows(tasks);
        if tasks.is_empty() && !complete {
            return;
        }
        state.set_rows(PlanRows {
            project: row.get(),
            people: Arc::new(names_of_people(&tasks)),
            tasks,
            dependencies: rows(dependencies),
            assignments: assignments.unwrap_or_default(),
            schedules: rows(schedules),
            complete,
        });
    });
    Memo::new(move |_| tasks.with(|list| list.loaded))
}

/// Returns the names of the people who are assigned, by id.
fn names_of_people(tasks: &[RowView]) -> HashMap<String, String> {
    let client = client();
    let ids: HashSet<String> =
        tasks.iter().flat_map(|row| reference_ids(row.data.get("assignee__employee_ids"))).collect();
    let name = |id: String| {
        let uuid = id.parse().ok()?;
        client.read(|engine| engine.name("employee", uuid)).map(|name| (id, name))
    };
    ids.into_iter().filter_map(name).collect()
}

/// Loads the baselines while they are shown.
fn use_baselines(project: &EntityRef, state: GanttState) {
    let shown = Memo::new(move |_| state.layers.with(|layers| layers.contains(&Layer::Baselines)));
    let rows = use_project_rows_when(shown, "baseline", project);
    Effect::new(move || {
        let baselines = match rows.get() {
            Some(rows) if shown.get() => rows.with(|list| snapshots(&list.rows)),
            _ => Vec::new(),
        };
        let changed = state.core.try_update_value(|core| {
            let changed = core.baselines != baselines;
            core.baselines = baselines;
            changed
        });
        if changed == Some(true) {
            state.refresh();
        }
    });
}

/// Follows the size of the page and the theme, and draws after each change.
fn use_layout(state: GanttState) {
    let measure = move || {
        let Some(scroller) = state.scroller.try_get_untracked().flatten() else { return };
        let size = (f64::from(scroller.client_width()), f64::from(scroller.client_height()));
        let narrow = is_narrow();
        if narrow != state.narrow.get_untracked() {
            state.narrow.set(narrow);
            state.table_width.set(if narrow { NARROW_TABLE_WIDTH } else { TABLE_WIDTH });
        }
        if size != state.size.get_untracked() {
            state.size.set(size);
        }
        state.resize_content();
    };
    let on_resize = Closure::<dyn FnMut()>::new(measure);
    let on_theme = Closure::<dyn FnMut()>::new(move || state.reload_theme());
    let resizes = web_sys::ResizeObserver::new(on_resize.as_ref().unchecked_ref()).ok();
    let themes = web_sys::MutationObserver::new(on_theme.as_ref().unchecked_ref()).ok();
    let scheme = window().match_media("(prefers-color-scheme: dark)").ok().flatten();
    if let (Some(themes), Some(root)) = (&themes, document().document_element()) {
        let options = web_sys::MutationObserverInit::new();
        options.set_attributes(true);
        let _ = themes.observe_with_options(&root, &options);
    }
    if let Some(scheme) = &scheme {
        let _ = scheme.add_event_listener_with_callback("change", on_theme.as_ref().unchecked_ref());
    }
    let kept = StoredValue::new_local((resizes, themes, scheme, on_resize, on_theme));
    Effect::new(move || {
        let Some(scroller) = state.scroller.get() else { return };
        kept.with_value(|(resizes, ..)| {
            if let Some(resizes) = resizes {
                resizes.observe(&scroller);
            }
        });
        measure();
    });
    on_cleanup(move || {
        kept.with_value(|(resizes, themes, scheme, _, on_theme)| {
            if let Some(resizes) = resizes {
                resizes.disconnect();
            }
            if let Some(themes) = themes {
                themes.disconnect();
            }
            if let Some(scheme) = scheme {
                let _ = scheme.remove_event_listener_with_callback("change", on_theme.as_ref().unchecked_ref());
            }
        });
    });
    Effect::new(move || {
        state.version.track();
        state.scroll.track();
        state.size.track();
        state.scale.track();
        state.selected.track();
        state.hovered.track();
        state.layers.track();
        state.table_width.track();
        state.can_edit.track();
        state.still.track();
        state.request_frame();
    });
}
