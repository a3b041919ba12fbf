//! Page of a project with its outline.

use super::row::TaskRow;
use super::state::OutlineState;
use super::tree::{OutlineRow, id_of, outline};
use crate::hooks::{row_with, use_datalabel, use_entity, use_not_found, use_rows, use_status};
use crate::pages::create::NewDialog;
use crate::pages::entity::EntityTabs;
use crate::pages::import_export::EntityActions;
use crate::pages::not_found::NotFoundPage;
use crate::pages::sharing::{PresenceAvatars, SharingDialog};
use crate::table::keyed_rows::render_keyed_rows;
use crate::table::viewport::use_viewport;
use crate::ui::format;
use crate::ui::layout::{Banners, SyncStatusButton};
use crate::ui::offline_button::OfflineButton;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use leptos_router::components::A;
use leptos_router::hooks::use_navigate;
use pmo_domain::{EntityCode, EntityRef, Permission};
use pmo_sync::{ListKey, RowView};
use serde_json::{Value, json};
use uuid::Uuid;

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
    let status = use_status();
    let requested = project.clone();
    let row = use_entity::<RowView>(project.clone());
    let missing = use_not_found(project.clone());
    let list = use_rows::<RowView>(ListKey::children_of(task.clone(), project.clone(), "project_id"));
    use_datalabel("task_stage");
    let permission = Memo::new(move |_| {
        row.get().and_then(|r| r.data.get("permission").and_then(Value::as_u64)).unwrap_or_default()
    });
    let can_edit = Memo::new(move |_| permission.get() >= u64::from(u8::from(Permission::Edit)));
    let can_create = Memo::new(move |_| permission.get() >= u64::from(u8::from(Permission::Create)));
    let table = OutlineState {
        collapsed: RwSignal::default(),
        editing: RwSignal::new(None),
        focused: RwSignal::new(None),
        can_edit,
    };
    let outline_rows =
        Memo::new(move |_| table.collapsed.with(|collapsed| list.with(|list| outline(&list.rows, collapsed))));
    let (adding, new_parent) = (RwSignal::new(false), RwSignal::new(None::<Uuid>));
    let created_id = RwSignal::new(None::<Uuid>);
    let viewport = use_viewport(72.0);
    let window = Memo::new(move |_| viewport.window(outline_rows.with(Vec::len)));
    // Scroll to a task that was just created, wherever it was sorted in.
    Effect::new(move || {
        let Some(id) = created_id.get() else { return };
        let Some(index) =
            outline_rows.with(|outline_rows| outline_rows.iter().position(|outline_row| outline_row.id == id))
        else {
            // Its parent is collapsed: expand it.
            let row = list.with(|list| list.rows.iter().find(|r| id_of(&r.data, "id") == Some(id)).cloned());
            if let Some(parent) = row.and_then(|r| id_of(&r.data, "parent__task_id"))
                && table.collapsed.with_untracked(|f| f.contains(&parent))
            {
                table.collapsed.update(|collapsed| {
                    collapsed.remove(&parent);
                });
            }
            return;
        };
        table.focused.set(created_id.get_untracked());
        viewport.scroll_to_row(index);
        created_id.set(None);
    });
    let visible_rows = move || {
        let window = window.get();
        outline_rows.with(|outline_rows| {
            outline_rows.get(window.first..window.end).map(<[OutlineRow]>::to_vec).unwrap_or_default()
        })
    };
    let navigate = use_navigate();
    let on_keydown = move |event: leptos::ev::KeyboardEvent| {
        let outline_rows = outline_rows.get_untracked();
        let index = table.focused.get_untracked().and_then(|focused| outline_rows.iter().position(|l| l.id == focused));
        let focus_row = |target: usize| {
            if let Some(outline_row) = outline_rows.get(target) {
                table.focused.set(Some(outline_row.id));
                viewport.scroll_to_row(target);
            }
        };
        let set_collapsed = |collapse: bool| {
            if let Some(outline_row) = index.and_then(|p| outline_rows.get(p)).filter(|l| l.descendants > 0) {
                table.collapsed.update(|f| {
                    if collapse {
                        f.insert(outline_row.id);
                    } else {
                        f.remove(&outline_row.id);
                    }
                });
            }
        };
        match event.key().as_str() {
            "Escape" => table.editing.set(None),
            _ if table.editing.get_untracked().is_some() => return,
            "ArrowDown" => focus_row(index.map_or(0, |p| p + 1)),
            "ArrowUp" => focus_row(index.map_or(0, |p| p.saturating_sub(1))),
            "ArrowLeft" => set_collapsed(true),
            "ArrowRight" => set_collapsed(false),
            "Enter" => {
                if let Some(id) = table.focused.get_untracked() {
                    navigate(&format!("/task/{id}"), leptos_router::NavigateOptions::default());
                }
            }
            "s" if table.can_edit.get_untracked() => {
                table.editing.set(table.focused.get_untracked().map(|id| (id, "dl__task_stage")))
            }
            "n" if can_create.get_untracked() => adding.set(true),
            _ => return,
        }
        event.prevent_default();
    };
    let new_task_parent = move || {
        new_parent.get().or_else(|| {
            let focused = table.focused.get()?;
            outline_rows
                .with(|outline_rows| outline_rows.iter().any(|l| l.id == focused && l.descendants > 0))
                .then_some(focused)
        })
    };
    let empty_state = move || {
        let list = list.get();
        match (list.rows.is_empty(), list.loaded, list.failed || !status.get().online) {
            (false, ..) => ().into_any(),
            (_, true, _) => view! {
                <div class="blank"><span class="glyph">{icon("list-tree")}</span><h2>"No tasks yet"</h2>
                    <p>"Add tasks now; you can arrange the outline later."</p>
                    {reactive_view(move || can_create.get().then(|| view! { <button class="btn primary" on:click=move |_| adding.set(true)>{icon("plus")}"Task"</button> }))}</div>
            }.into_any(),
            (_, _, true) => view! {
                <div class="blank"><span class="glyph">{icon("cloud-off")}</span><h2>"This plan could not be loaded"</h2>
                    <p>"It has not been opened on this device before. It loads when the connection is restored."</p></div>
            }.into_any(),
            _ => view! { <div class="skeletons" aria-busy="true">{(0..12).map(|_| view! { <span class="skeleton"></span> }).collect_view()}</div> }.into_any(),
        }
    };
    let label = move || row.get().map(|r| format::text(&r.data, "name")).unwrap_or_default();
    let project = StoredValue::new(project);
    let sharing = RwSignal::new(false);
    let page_view = move || {
        let task = task.clone();
        let end = NodeRef::new();
        let task_code = task.clone();
        let render_row = move |outline_row: OutlineRow| {
            view! { <TaskRow task=EntityRef::new(task_code.clone(), outline_row.id) outline_row=outline_row table=table/> }.into_any()
        };
        render_keyed_rows(visible_rows, render_row, end);
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
                <span class="meta desk tab-note" data-testid="task-count">{reactive_view(move || list.with(|l| if l.loaded { format!("{} tasks", l.rows.len()) } else { String::new() }))}</span>
            </EntityTabs>
            <Banners/>
            <div class="content" node_ref=viewport.node tabindex="0" aria-label="Plan" on:scroll=move |_| viewport.on_scroll() on:keydown=on_keydown.clone()>
                <table class="table cards wbs virtual" role="treegrid" aria-label=reactive_attr(label) aria-rowcount=reactive_attr(move || outline_rows.with(Vec::len).to_string())>
                    <colgroup><col class="c-wbs"/><col/><col class="c-mark"/><col class="c-stage"/><col class="c-icon"/><col class="c-person"/><col class="c-date opt"/><col class="c-date"/><col class="c-num opt"/><col class="c-progress"/></colgroup>
                    <thead><tr>
                        <th aria-sort="ascending">"WBS"</th><th>"Task"</th><th><span class="vh">"Sync"</span></th><th>"Stage"</th><th>"Prio"</th><th>"Assignee"</th>
                        <th class="opt">"Start"</th><th>"Due"</th><th class="end opt">"Length"</th><th>"Progress"</th>
                    </tr></thead>
                    <tbody>
                        {viewport.spacer(move || window.get().first, NodeRef::new())}
                        {viewport.spacer(move || outline_rows.with(Vec::len).saturating_sub(window.get().end), end)}
                    </tbody>
                </table>
                {reactive_view(empty_state)}
            </div>
            {
                let task = task.clone();
                reactive_view(move || adding.get().then(|| {
                    let initial = new_task_parent().map(|id| row_with("parent__task_id", json!(id))).unwrap_or_default();
                    view! { <NewDialog code=task.clone() parent=Some((project.get_value(), "project_id".to_owned())) open=adding initial=initial created_id=created_id/> }
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
