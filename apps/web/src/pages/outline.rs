//! Outline page: the tasks of a project as a tree table with stage, people, dates and progress.
//!
//! The page scales to thousands of rows: only visible rows are rendered, and a change re-renders
//! only its own row.

use super::create_dialogs::NewDialog;
use super::import_export::EntityActions;
use super::list::EntityTabs;
use super::not_found::NotFoundPage;
use super::sharing::{PresenceAvatars, SharingDialog};
use crate::hooks::{
    datalabel_untracked, is_terminal, row_with, use_datalabel, use_entity, use_entity_mutation, use_not_found,
    use_offline_entity, use_rows, use_status,
};
use crate::table::keyed_rows::render_keyed_rows;
use crate::table::sync_badge;
use crate::table::viewport::use_viewport;
use crate::ui::format;
use crate::ui::layout::{Banners, SyncStatusButton};
use crate::ui::offline_button::OfflineButton;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::{self, icon};
use leptos::attr::custom::custom_attribute;
use leptos::prelude::*;
use leptos_router::components::A;
use leptos_router::hooks::use_navigate;
use pmo_domain::{EntityCode, EntityRef, Permission, Row, sort};
use pmo_sync::{ListKey, RowView};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// Visible row of the outline.
#[derive(Clone, Debug, PartialEq)]
struct OutlineRow {
    id: Uuid,
    /// Depth in the tree, from 1.
    level: usize,
    /// Number of descendants.
    descendants: usize,
    /// Whether the children are shown.
    open: bool,
}

fn id_of(row: &Row, column: &str) -> Option<Uuid> {
    row.get(column).and_then(Value::as_str).and_then(|id| id.parse().ok())
}

/// Returns the visible rows of the outline in depth-first order.
///
/// Siblings are sorted by rank. Descendants of collapsed rows are omitted.
fn outline(rows: &[RowView], collapsed: &HashSet<Uuid>) -> Vec<OutlineRow> {
    let ids: HashSet<Uuid> = rows.iter().filter_map(|r| id_of(&r.data, "id")).collect();
    let mut children_by_parent: HashMap<Option<Uuid>, Vec<(&Row, Uuid)>> = HashMap::new();
    for row in rows {
        let Some(id) = id_of(&row.data, "id") else { continue };
        // A row with a parent that is not loaded is shown at the top level.
        let parent = id_of(&row.data, "parent__task_id").filter(|p| ids.contains(p) && *p != id);
        children_by_parent.entry(parent).or_default().push((&row.data, id));
    }
    for siblings in children_by_parent.values_mut() {
        *siblings = sort::sorted_by_key(std::mem::take(siblings), |(row, id)| {
            let rank = format::text(row, "rank");
            // A locally created row has no rank yet and comes last.
            (rank.is_empty(), rank, format::outline_key(&format::text(row, "wbs")), *id)
        });
    }
    fn descendant_count(id: Uuid, children_by_parent: &HashMap<Option<Uuid>, Vec<(&Row, Uuid)>>) -> usize {
        children_by_parent.get(&Some(id)).map_or(0, |children| {
            children.iter().map(|(_, child)| 1 + descendant_count(*child, children_by_parent)).sum()
        })
    }
    let mut outline_rows = Vec::with_capacity(rows.len());
    let mut stack: Vec<(Uuid, usize)> =
        children_by_parent.get(&None).into_iter().flatten().rev().map(|(_, id)| (*id, 1)).collect();
    while let Some((id, level)) = stack.pop() {
        let children = children_by_parent.get(&Some(id));
        let open = !collapsed.contains(&id);
        outline_rows.push(OutlineRow {
            id,
            level,
            descendants: if children.is_some() { descendant_count(id, &children_by_parent) } else { 0 },
            open,
        });
        if open {
            stack.extend(children.into_iter().flatten().rev().map(|(_, child)| (*child, level + 1)));
        }
    }
    outline_rows
}

/// State shared by the rows of the outline.
#[derive(Clone, Copy)]
struct OutlineState {
    /// Collapsed rows: their descendants are hidden.
    collapsed: RwSignal<HashSet<Uuid>>,
    /// Row and column of the open option menu.
    editing: RwSignal<Option<(Uuid, &'static str)>>,
    /// Row with the keyboard focus.
    focused: RwSignal<Option<Uuid>>,
    can_edit: Memo<bool>,
}

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

/// Row of one task.
#[component]
fn TaskRow(task: EntityRef, outline_row: OutlineRow, table: OutlineState) -> impl IntoView {
    let id = outline_row.id;
    // The list observes its rows, so the single row is read without a query of its own.
    let row = use_offline_entity::<RowView>(task.clone());
    let mutation = StoredValue::new(use_entity_mutation(task.code.clone()));
    let descendants = outline_row.descendants;
    let (open, summary) = (outline_row.open, descendants > 0);
    let text =
        move |column: &'static str| row.with(|r| r.as_ref().map(|r| format::text(&r.data, column)).unwrap_or_default());
    let is_pending = move |column: &'static str| {
        row.with(|r| r.as_ref().is_some_and(|r| r.pending_fields.iter().any(|f| f == column)))
    };
    let milestone =
        move || row.with(|r| r.as_ref().is_some_and(|r| r.data.get("milestone_flag") == Some(&json!(true))));
    let toggle = move |event: leptos::ev::MouseEvent| {
        event.stop_propagation();
        table.collapsed.update(|collapsed| {
            if !collapsed.remove(&id) {
                collapsed.insert(id);
            }
        });
    };
    let is_late = move || {
        let done = is_terminal("task_stage", &text("dl__task_stage"));
        let due = text("due_date");
        !done && !due.is_empty() && due < today()
    };
    let people = move || {
        row.with(|r| {
            r.as_ref().map(|r| {
                value_view::people("employee", &value_view::reference_ids(r.data.get("assignee__employee_ids")))
            })
        })
    };
    let percent =
        move || row.with(|r| r.as_ref().and_then(|r| format::number(&r.data, "completion_pct")).unwrap_or_default());
    let days = move || {
        row.with(|r| {
            r.as_ref()
                .and_then(|r| format::number(&r.data, "duration_days"))
                .filter(|d| *d > 0.0)
                .map(|d| format!("{}d", format::trim_zeros(d)))
        })
    };
    let date = move |column: &'static str| {
        let iso = text(column);
        view! { <span class:unsent=is_pending(column)><time datetime=iso.clone()>{format::date(&iso, false)}</time></span> }
    };
    let set = move |column: &'static str, value: String| {
        mutation.with_value(|m| m.update(id, row_with(column, json!(value))));
        table.editing.set(None);
    };
    let edit = move |column: &'static str| {
        if table.can_edit.get_untracked() {
            table.editing.update(|e| *e = if *e == Some((id, column)) { None } else { Some((id, column)) });
        }
    };
    view! {
        <tr class:summary=summary class:is-hover=reactive_attr(move || table.focused.get() == Some(id)) class:conflict=reactive_attr(move || row.with(|r| r.as_ref().is_some_and(|r| r.needs_attention)))
            {..custom_attribute("aria-level", outline_row.level.to_string())} aria-expanded=summary.then_some(if open { "true" } else { "false" }) style=format!("--level:{}", outline_row.level)
            data-id=id.to_string() on:click=move |_| table.focused.set(Some(id))>
            <td class="softer num">{reactive_view(move || text("wbs"))}</td>
            <th scope="row" class="p-title"><div class="tree">
                {if descendants > 0 {
                    view! { <button class="twist" aria-label=if open { "Collapse" } else { "Expand" } on:click=toggle>{icon("chevron-right")}</button> }.into_any()
                } else {
                    view! { <span class="twist"></span> }.into_any()
                }}
                {reactive_view(move || milestone().then(|| view! { <i class="i i-milestone" role="img" aria-label="Milestone"></i> }))}
                <A href=format!("/task/{id}") attr:title=reactive_attr(move || text("name"))><span class:unsent=reactive_attr(move || is_pending("name"))>{reactive_view(move || text("name"))}</span></A>
                {(descendants > 0 && !open).then(|| view! { <span class="badge kids">{descendants}</span> })}
            </div></th>
            <td class="gutter p-end">{reactive_view(move || row.with(|r| r.as_ref().map(sync_badge)))}</td>
            <OptionCell id=id column="dl__task_stage" set_name="task_stage" label="Change stage" class="p-a" value=Signal::derive(move || text("dl__task_stage"))
                pending=Signal::derive(move || is_pending("dl__task_stage")) table=table edit=Callback::new(move |()| edit("dl__task_stage")) set=Callback::new(move |v| set("dl__task_stage", v)) mark_only=false/>
            <OptionCell id=id column="dl__task_priority" set_name="task_priority" label="Change priority" class="" value=Signal::derive(move || text("dl__task_priority"))
                pending=Signal::derive(move || is_pending("dl__task_priority")) table=table edit=Callback::new(move |()| edit("dl__task_priority")) set=Callback::new(move |v| set("dl__task_priority", v)) mark_only=true/>
            <td class="p-d">{reactive_view(people)}</td>
            <td class="soft opt">{reactive_view(move || date("start_date"))}</td>
            <td class="soft p-b" class:late=reactive_attr(is_late)>{reactive_view(move || date("due_date"))}</td>
            <td class="softer num end opt">{reactive_view(days)}</td>
            <td>{reactive_view(move || (descendants > 0 || !milestone()).then(|| view! { <span class:unsent=is_pending("completion_pct")>{value_view::progress(percent())}</span> }))}</td>
        </tr>
    }
}

/// Cell with an option value, which is changed by a menu in the cell.
#[component]
fn OptionCell(
    id: Uuid,
    column: &'static str,
    set_name: &'static str,
    label: &'static str,
    class: &'static str,
    value: Signal<String>,
    pending: Signal<bool>,
    table: OutlineState,
    edit: Callback<()>,
    set: Callback<String>,
    mark_only: bool,
) -> impl IntoView {
    let open = Memo::new(move |_| table.editing.get() == Some((id, column)));
    let display = move || {
        let value = value.get();
        if mark_only {
            value_view::option_mark(set_name, &value).map(|mark| view! { <span title=value.clone()>{icon(&mark)}<span class="vh">{value.clone()}</span></span> }).into_any()
        } else {
            value_view::option_pill(set_name, &value)
        }
    };
    let menu = move || {
        let current = value.get_untracked();
        let options = datalabel_untracked(set_name).map(|s| s.options).unwrap_or_default();
        let choices = StoredValue::new(options.iter().map(|o| o.name.clone()).collect::<Vec<_>>());
        let digit_listener = window_event_listener(leptos::ev::keydown, move |event| {
            if let Some(choice) = event
                .key()
                .parse::<usize>()
                .ok()
                .and_then(|n| choices.with_value(|c| c.get(n.wrapping_sub(1)).cloned()))
            {
                event.prevent_default();
                set.run(choice);
            }
        });
        on_cleanup(move || digit_listener.remove());
        let items = options
            .into_iter()
            .enumerate()
            .map(|(n, option)| {
                let (name, selected) = (option.name.clone(), option.name == current);
                let choose = move |event: leptos::ev::MouseEvent| {
                    event.stop_propagation();
                    set.run(name.clone());
                };
                view! {
                    <button role="option" aria-selected=selected.to_string() on:click=choose>
                        {value_view::option_mark(set_name, &option.name).map(|m| icon(&m))}<span class="grow">{option.name.clone()}</span>
                        {selected.then(|| icon("check"))}<kbd>{n + 1}</kbd>
                    </button>
                }
            })
            .collect_view();
        let menu_node = NodeRef::<leptos::html::Div>::new();
        Effect::new(move || {
            if let Some(menu) = menu_node.get() {
                crate::ui::popover::open_in_cell(&menu);
            }
        });
        // Wrapped in an element of its own: in the card layout the styles hide a menu that is a
        // direct child of a cell.
        view! { <div><div class="menu option-menu" role="listbox" aria-label=label popover="manual" node_ref=menu_node>{items}</div></div> }
    };
    let on_click = move |event: leptos::ev::MouseEvent| {
        event.stop_propagation();
        table.focused.set(Some(id));
        edit.run(());
    };
    view! {
        <td class=class class:editing=open>
            <button class="cell-button" aria-haspopup="listbox" aria-label=reactive_attr(move || format!("{}. {label}", value.get())) on:click=on_click><span class:unsent=pending>{reactive_view(display)}</span></button>
            {reactive_view(move || open.get().then(menu))}
        </td>
    }
}

/// Returns today's date in the time zone of the browser, as `YYYY-MM-DD`.
pub(crate) fn today() -> String {
    let date = js_sys::Date::new_0();
    format!("{:04}-{:02}-{:02}", date.get_full_year(), date.get_month() + 1, date.get_date())
}
