//! Page of a project with its outline.

use super::row::TaskRow;
use super::state::{OutlineState, use_outline};
use super::tree::OutlineRow;
use crate::hooks::{row_with, use_entity, use_not_found, use_status};
use crate::pages::create::NewDialog;
use crate::pages::entity::EntityTabs;
use crate::pages::import_export::EntityActions;
use crate::pages::lazy_views::lazy_page;
use crate::pages::not_found::NotFoundPage;
use crate::pages::plan::{PlanNotice, use_plan};
use crate::pages::sharing::{PresenceAvatars, SharingDialog};
use crate::table::keyed_rows::render_keyed_rows;
use crate::ui::format;
use crate::ui::layout::{Banners, SyncStatusButton};
use crate::ui::offline_button::OfflineButton;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use leptos_router::components::A;
use leptos_router::hooks::{use_navigate, use_query_map};
use pmo_domain::{EntityCode, EntityRef};
use pmo_sync::RowView;
use serde_json::json;

/// Page of a project with its outline.
#[component]
pub(crate) fn OutlinePage(
    /// Project of the outline.
    project: EntityRef,
) -> impl IntoView {
    let task = match EntityCode::new("task") {
        Ok(code) => code,
        Err(_) => return view! { <NotFoundPage/> }.into_any(),
    };
    let requested = project.clone();
    let row = use_entity::<RowView>(project.clone());
    let missing = use_not_found(project.clone());
    let table = use_outline(&project, task.clone(), row);
    let plan = use_plan(project.id);
    let OutlineState { list, adding, can_create, .. } = table;
    let query = use_query_map();
    let gantt = Memo::new(move |_| query.read().get("layout").is_some_and(|layout| layout == "gantt"));
    let label = move || row.get().map(|r| format::text(&r.data, "name")).unwrap_or_default();
    let project = StoredValue::new(project);
    let sharing = RwSignal::new(false);
    let page_view = move || {
        let task = task.clone();
        view! {
            <header class="topbar">
                <A href="/project" attr:class="btn quiet icon lg phone" attr:aria-label="Back">{icon("chevron-left")}</A>
                <nav class="crumbs" aria-label="Breadcrumb"><ol>
                    <li><A href="/project">"Projects"</A></li>
                    <li>{icon("chevron-right")}<h1 aria-current="page">{reactive_view(label)}</h1></li>
                </ol></nav>
                {reactive_view(move || row.get().map(|r| value_view::option_pill("project_health", &format::text(&r.data, "dl__project_health"))))}
                <PresenceAvatars entity=project.get_value()/>
                <OfflineButton entity=project.get_value()/>
                {reactive_view(move || can_create.get().then(|| view! { <button class="btn sm" on:click=move |_| adding.set(true)>{icon("plus")}"Task"</button> }))}
                <button class="btn quiet icon desk" aria-label="Share" title="Share" on:click=move |_| sharing.set(true)>{icon("users")}</button>
                <EntityActions entity=project.get_value() title=Signal::derive(label) sharing=sharing/>
                <SyncStatusButton compact=true/>
            </header>
            {reactive_view(move || sharing.get().then(|| view! { <SharingDialog entity=project.get_value() title=label() open=sharing/> }))}
            <EntityTabs parent=project.get_value()>
                <LayoutSwitch project=project.get_value() gantt=gantt/>
                <span class="meta desk tab-note" data-testid="task-count">{reactive_view(move || list.with(|l| if l.loaded { format!("{} tasks", l.rows.len()) } else { String::new() }))}</span>
            </EntityTabs>
            <Banners/>
            <PlanNotice plan=plan.clone()/>
            {
                let task = task.clone();
                reactive_view(move || match gantt.get() {
                    true => gantt_chart(project.get_value(), row),
                    false => view! { <OutlineTable table=table task=task.clone() label=Signal::derive(label)/> }.into_any(),
                })
            }
            {
                let task = task.clone();
                reactive_view(move || adding.get().then(|| {
                    let initial = table.new_task_parent().map(|id| row_with("parent__task_id", json!(id))).unwrap_or_default();
                    view! { <NewDialog code=task.clone() parent=Some((project.get_value(), "project_id".to_owned())) open=adding initial=initial created_id=table.created_id/> }
                }))
            }
        }
    };
    reactive_view(move || {
        if missing.get() && row.get().is_none() {
            view! { <NotFoundPage entity=requested.clone()/> }.into_any()
        } else {
            page_view().into_any()
        }
    })
    .into_any()
}

/// Switch between the outline and the chart; the choice is part of the URL.
#[component]
fn LayoutSwitch(project: EntityRef, gantt: Memo<bool>) -> impl IntoView {
    let outline = format!("/{}/{}", project.code, project.id);
    let chart = format!("{outline}?layout=gantt");
    // Plain links: the component of the router compares paths without their query.
    view! {
        <div class="segments layout-switch" role="group" aria-label="Layout" data-testid="layout-switch">
            <a href=outline aria-label="Outline" aria-current=reactive_attr(move || (!gantt.get()).then_some("true"))>{icon("list-tree")}<span>"Outline"</span></a>
            <a href=chart aria-label="Gantt" aria-current=reactive_attr(move || gantt.get().then_some("true"))>{icon("chart-gantt")}<span>"Gantt"</span></a>
        </div>
    }
}

/// Renders the chart, whose code is loaded on demand.
fn gantt_chart(project: EntityRef, row: Memo<Option<RowView>>) -> AnyView {
    lazy_page(move |pages| (pages.gantt)(project.clone(), row)).into_any()
}

/// Tasks as a tree table.
#[component]
fn OutlineTable(table: OutlineState, task: EntityCode, #[prop(into)] label: Signal<String>) -> impl IntoView {
    let OutlineState { rows, viewport, .. } = table;
    let window = Memo::new(move |_| viewport.window(rows.with(Vec::len)));
    let visible_rows = move || {
        let window = window.get();
        rows.with(|rows| rows.get(window.first..window.end).map(<[OutlineRow]>::to_vec).unwrap_or_default())
    };
    let navigate = use_navigate();
    let on_keydown = move |event: leptos::ev::KeyboardEvent| {
        table.on_keydown(&event, &|path| navigate(path, leptos_router::NavigateOptions::default()));
    };
    let end = NodeRef::new();
    let task_code = task;
    let render_row = move |outline_row: OutlineRow| {
        view! { <TaskRow task=EntityRef::new(task_code.clone(), outline_row.id) outline_row=outline_row table=table/> }
            .into_any()
    };
    render_keyed_rows(visible_rows, render_row, end);
    view! {
        <div class="content" node_ref=viewport.node tabindex="0" aria-label="Plan" on:scroll=move |_| viewport.on_scroll() on:keydown=on_keydown>
            <table class="table cards wbs virtual" role="treegrid" aria-label=reactive_attr(move || label.get()) aria-rowcount=reactive_attr(move || rows.with(Vec::len).to_string())>
                <colgroup><col class="c-wbs"/><col/><col class="c-mark"/><col class="c-stage"/><col class="c-icon"/><col class="c-person"/><col class="c-date opt"/><col class="c-date"/><col class="c-num opt"/><col class="c-progress"/></colgroup>
                <thead><tr>
                    <th aria-sort="ascending">"WBS"</th><th>"Task"</th><th><span class="vh">"Sync"</span></th><th>"Stage"</th><th>"Prio"</th><th>"Assignee"</th>
                    <th class="opt">"Start"</th><th>"Finish"</th><th class="end opt">"Duration"</th><th>"Progress"</th>
                </tr></thead>
                <tbody>
                    {viewport.spacer(move || window.get().first, NodeRef::new())}
                    {viewport.spacer(move || rows.with(Vec::len).saturating_sub(window.get().end), end)}
                </tbody>
            </table>
            {reactive_view(move || empty_state(table))}
        </div>
    }
}

/// Message or placeholder for an outline without tasks.
fn empty_state(table: OutlineState) -> AnyView {
    let status = use_status();
    let list = table.list.get();
    match (list.rows.is_empty(), list.loaded, list.failed || !status.get().online) {
        (false, ..) => ().into_any(),
        (_, true, _) => view! {
            <div class="blank"><span class="glyph">{icon("list-tree")}</span><h2>"No tasks yet"</h2>
                <p>"Add tasks now; you can arrange the outline later."</p>
                {reactive_view(move || table.can_create.get().then(|| view! { <button class="btn primary" on:click=move |_| table.adding.set(true)>{icon("plus")}"Task"</button> }))}</div>
        }.into_any(),
        (_, _, true) => view! {
            <div class="blank"><span class="glyph">{icon("cloud-off")}</span><h2>"This plan could not be loaded"</h2>
                <p>"It has not been opened on this device before. It loads when the connection is restored."</p></div>
        }.into_any(),
        _ => view! { <div class="skeletons" aria-busy="true">{(0..12).map(|_| view! { <span class="skeleton"></span> }).collect_view()}</div> }.into_any(),
    }
}
