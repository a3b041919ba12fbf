//! A project's tasks as a tree-table: outline, stage, people, dates, progress. Smooth with thousands of rows, because only those that are
//! seen are drawn, and a change draws its own row alone.

use super::NotFoundPage;
use super::create_dialogs::NewDialog;
use super::import_export::EntityActions;
use super::list::EntityTabs;
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

/// A row of the tree.
#[derive(Clone, Debug, PartialEq)]
struct OutlineRow {
    id: Uuid,
    level: usize,
    below: usize,
    open: bool,
}

fn id_of(row: &Row, column: &str) -> Option<Uuid> {
    row.get(column).and_then(Value::as_str).and_then(|id| id.parse().ok())
}

/// The visible lines of an outline: children below their parents in the order of their ranks, folded ones left out.
fn outline(rows: &[RowView], folded: &HashSet<Uuid>) -> Vec<OutlineRow> {
    let present: HashSet<Uuid> = rows.iter().filter_map(|r| id_of(&r.data, "id")).collect();
    let mut below: HashMap<Option<Uuid>, Vec<(&Row, Uuid)>> = HashMap::new();
    for row in rows {
        let Some(id) = id_of(&row.data, "id") else { continue };
        // Below something that is not here it stands at the top rather than nowhere.
        let parent = id_of(&row.data, "parent__task_id").filter(|p| present.contains(p) && *p != id);
        below.entry(parent).or_default().push((&row.data, id));
    }
    for siblings in below.values_mut() {
        *siblings = sort::sorted_by_key(std::mem::take(siblings), |(row, id)| {
            let rank = format::text(row, "rank");
            // What was made here has no rank yet and comes last.
            (rank.is_empty(), rank, format::outline_key(&format::text(row, "wbs")), *id)
        });
    }
    fn descendant_count(id: Uuid, below: &HashMap<Option<Uuid>, Vec<(&Row, Uuid)>>) -> usize {
        below.get(&Some(id)).map_or(0, |kids| kids.iter().map(|(_, kid)| 1 + descendant_count(*kid, below)).sum())
    }
    let mut lines = Vec::with_capacity(rows.len());
    let mut stack: Vec<(Uuid, usize)> = below.get(&None).into_iter().flatten().rev().map(|(_, id)| (*id, 1)).collect();
    while let Some((id, level)) = stack.pop() {
        let kids = below.get(&Some(id));
        let open = !folded.contains(&id);
        lines.push(OutlineRow {
            id,
            level,
            below: if kids.is_some() { descendant_count(id, &below) } else { 0 },
            open,
        });
        if open {
            stack.extend(kids.into_iter().flatten().rev().map(|(_, kid)| (*kid, level + 1)));
        }
    }
    lines
}

/// What the rows share.
#[derive(Clone, Copy)]
struct OutlineState {
    folded: RwSignal<HashSet<Uuid>>,
    /// The row and column whose menu is open.
    editing: RwSignal<Option<(Uuid, &'static str)>>,
    /// The row that the keyboard is on.
    at: RwSignal<Option<Uuid>>,
    may_edit: Memo<bool>,
}

/// A project's plan.
#[component]
pub fn OutlinePage(
    /// The project.
    project: EntityRef,
) -> impl IntoView {
    let task = match EntityCode::new("task") {
        Ok(code) => code,
        Err(_) => return view! { <NotFoundPage/> }.into_any(),
    };
    let status = use_status();
    let gone = project.clone();
    let row = use_entity::<RowView>(project.clone());
    let missing = use_not_found(project.clone());
    let list = use_rows::<RowView>(ListKey::below(task.clone(), project.clone(), "project_id"));
    use_datalabel("task_stage");
    let level = Memo::new(move |_| {
        row.get().and_then(|r| r.data.get("permission").and_then(Value::as_u64)).unwrap_or_default()
    });
    let may_edit = Memo::new(move |_| level.get() >= u64::from(u8::from(Permission::Edit)));
    let may_create = Memo::new(move |_| level.get() >= u64::from(u8::from(Permission::Create)));
    let table =
        OutlineState { folded: RwSignal::default(), editing: RwSignal::new(None), at: RwSignal::new(None), may_edit };
    let lines = Memo::new(move |_| table.folded.with(|folded| list.with(|list| outline(&list.rows, folded))));
    let (adding, above) = (RwSignal::new(false), RwSignal::new(None::<Uuid>));
    let made = RwSignal::new(None::<Uuid>);
    let viewport = use_viewport(72.0);
    let window = Memo::new(move |_| viewport.window(lines.with(Vec::len)));
    // What was just made is brought into view, wherever it came to stand.
    Effect::new(move || {
        let Some(id) = made.get() else { return };
        let Some(place) = lines.with(|lines| lines.iter().position(|line| line.id == id)) else {
            // It stands below something that is folded.
            let row = list.with(|list| list.rows.iter().find(|r| id_of(&r.data, "id") == Some(id)).cloned());
            if let Some(above) = row.and_then(|r| id_of(&r.data, "parent__task_id"))
                && table.folded.with_untracked(|f| f.contains(&above))
            {
                table.folded.update(|folded| {
                    folded.remove(&above);
                });
            }
            return;
        };
        table.at.set(made.get_untracked());
        viewport.scroll_to_row(place);
        made.set(None);
    });
    let seen = move || {
        let window = window.get();
        lines.with(|lines| lines.get(window.first..window.end).map(<[OutlineRow]>::to_vec).unwrap_or_default())
    };
    let navigate = use_navigate();
    let keys = move |event: leptos::ev::KeyboardEvent| {
        let lines = lines.get_untracked();
        let place = table.at.get_untracked().and_then(|at| lines.iter().position(|l| l.id == at));
        let go = |to: usize| {
            if let Some(line) = lines.get(to) {
                table.at.set(Some(line.id));
                viewport.scroll_to_row(to);
            }
        };
        let fold = |shut: bool| {
            if let Some(line) = place.and_then(|p| lines.get(p)).filter(|l| l.below > 0) {
                table.folded.update(|f| {
                    if shut {
                        f.insert(line.id);
                    } else {
                        f.remove(&line.id);
                    }
                });
            }
        };
        match event.key().as_str() {
            "Escape" => table.editing.set(None),
            _ if table.editing.get_untracked().is_some() => return,
            "ArrowDown" => go(place.map_or(0, |p| p + 1)),
            "ArrowUp" => go(place.map_or(0, |p| p.saturating_sub(1))),
            "ArrowLeft" => fold(true),
            "ArrowRight" => fold(false),
            "Enter" => {
                if let Some(id) = table.at.get_untracked() {
                    navigate(&format!("/task/{id}"), leptos_router::NavigateOptions::default());
                }
            }
            "s" if table.may_edit.get_untracked() => {
                table.editing.set(table.at.get_untracked().map(|id| (id, "dl__task_stage")))
            }
            "n" if may_create.get_untracked() => adding.set(true),
            _ => return,
        }
        event.prevent_default();
    };
    let parent_of_new = move || {
        above.get().or_else(|| {
            let at = table.at.get()?;
            lines.with(|lines| lines.iter().any(|l| l.id == at && l.below > 0)).then_some(at)
        })
    };
    let state = move || {
        let list = list.get();
        match (list.rows.is_empty(), list.loaded, list.failed || !status.get().online) {
            (false, ..) => ().into_any(),
            (_, true, _) => view! {
                <div class="blank"><span class="glyph">{icon("list-tree")}</span><h2>"A plan begins with its first task"</h2>
                    <p>"Add tasks as you think of them; the outline can be put in order later."</p>
                    {reactive_view(move || may_create.get().then(|| view! { <button class="btn primary" on:click=move |_| adding.set(true)>{icon("plus")}"Task"</button> }))}</div>
            }.into_any(),
            (_, _, true) => view! {
                <div class="blank"><span class="glyph">{icon("cloud-off")}</span><h2>"This plan could not be loaded"</h2>
                    <p>"It has not been opened on this device before, and the server can't be reached. It loads as soon as the network returns."</p></div>
            }.into_any(),
            _ => view! { <div class="skeletons" aria-busy="true">{(0..12).map(|_| view! { <span class="skeleton"></span> }).collect_view()}</div> }.into_any(),
        }
    };
    let label = move || row.get().map(|r| format::text(&r.data, "name")).unwrap_or_default();
    let project = StoredValue::new(project);
    let sharing = RwSignal::new(false);
    let page = move || {
        let task = task.clone();
        let end = NodeRef::new();
        let of = task.clone();
        let line = move |line: OutlineRow| {
            view! { <TaskRow task=EntityRef::new(of.clone(), line.id) line=line table=table/> }.into_any()
        };
        render_keyed_rows(seen, line, end);
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
                {reactive_view(move || may_create.get().then(|| view! { <button class="btn sm" on:click=move |_| adding.set(true)>{icon("plus")}"Task"</button> }))}
                <button class="btn quiet icon desk" aria-label="Share" title="Who may see it" on:click=move |_| sharing.set(true)>{icon("users")}</button>
                <EntityActions entity=project.get_value() title=Signal::derive(label) sharing=sharing/>
                <SyncStatusButton compact=true/>
            </header>
            {reactive_view(move || sharing.get().then(|| view! { <SharingDialog entity=project.get_value() title=label() open=sharing/> }))}
            <EntityTabs parent=project.get_value()>
                <span class="meta desk tab-note" data-testid="task-count">{reactive_view(move || list.with(|l| if l.loaded { format!("{} tasks", l.rows.len()) } else { String::new() }))}</span>
            </EntityTabs>
            <Banners/>
            <div class="content" node_ref=viewport.node tabindex="0" aria-label="Plan" on:scroll=move |_| viewport.on_scroll() on:keydown=keys.clone()>
                <table class="table cards wbs virtual" role="treegrid" aria-label=reactive_attr(label) aria-rowcount=reactive_attr(move || lines.with(Vec::len).to_string())>
                    <colgroup><col class="c-wbs"/><col/><col class="c-mark"/><col class="c-stage"/><col class="c-icon"/><col class="c-person"/><col class="c-date opt"/><col class="c-date"/><col class="c-num opt"/><col class="c-progress"/></colgroup>
                    <thead><tr>
                        <th aria-sort="ascending">"WBS"</th><th>"Task"</th><th><span class="vh">"Sync"</span></th><th>"Stage"</th><th>"Prio"</th><th>"Assignee"</th>
                        <th class="opt">"Start"</th><th>"Due"</th><th class="end opt">"Length"</th><th>"Progress"</th>
                    </tr></thead>
                    <tbody>
                        {viewport.spacer(move || window.get().first, NodeRef::new())}
                        {viewport.spacer(move || lines.with(Vec::len).saturating_sub(window.get().end), end)}
                    </tbody>
                </table>
                {reactive_view(state)}
            </div>
            {
                let task = task.clone();
                reactive_view(move || adding.get().then(|| {
                    let more = parent_of_new().map(|id| row_with("parent__task_id", json!(id))).unwrap_or_default();
                    view! { <NewDialog code=task.clone() parent=Some((project.get_value(), "project_id".to_owned())) open=adding more=more made=made/> }
                }))
            }
        }
    };
    reactive_view(move || {
        if missing.get() && row.get().is_none() {
            view! { <NotFoundPage of=gone.clone()/> }.into_any()
        } else {
            page().into_any()
        }
    })
    .into_any()
}

/// One task in the tree.
#[component]
fn TaskRow(task: EntityRef, line: OutlineRow, table: OutlineState) -> impl IntoView {
    let id = line.id;
    // Rows that are drawn are watched through their list; the single row is only read.
    let row = use_offline_entity::<RowView>(task.clone());
    let mutation = StoredValue::new(use_entity_mutation(task.code.clone()));
    let kids = line.below;
    let (open, summary) = (line.open, kids > 0);
    let text =
        move |column: &'static str| row.with(|r| r.as_ref().map(|r| format::text(&r.data, column)).unwrap_or_default());
    let unsent = move |column: &'static str| {
        row.with(|r| r.as_ref().is_some_and(|r| r.pending_fields.iter().any(|f| f == column)))
    };
    let milestone =
        move || row.with(|r| r.as_ref().is_some_and(|r| r.data.get("milestone_flag") == Some(&json!(true))));
    let turn = move |event: leptos::ev::MouseEvent| {
        event.stop_propagation();
        table.folded.update(|folded| {
            if !folded.remove(&id) {
                folded.insert(id);
            }
        });
    };
    let late = move || {
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
        view! { <span class:unsent=unsent(column)><time datetime=iso.clone()>{format::date(&iso, false)}</time></span> }
    };
    let set = move |column: &'static str, value: String| {
        mutation.with_value(|m| m.update(id, row_with(column, json!(value))));
        table.editing.set(None);
    };
    let edit = move |column: &'static str| {
        if table.may_edit.get_untracked() {
            table.editing.update(|e| *e = if *e == Some((id, column)) { None } else { Some((id, column)) });
        }
    };
    view! {
        <tr class:summary=summary class:is-hover=reactive_attr(move || table.at.get() == Some(id)) class:conflict=reactive_attr(move || row.with(|r| r.as_ref().is_some_and(|r| r.needs_attention)))
            {..custom_attribute("aria-level", line.level.to_string())} aria-expanded=summary.then_some(if open { "true" } else { "false" }) style=format!("--level:{}", line.level)
            data-id=id.to_string() on:click=move |_| table.at.set(Some(id))>
            <td class="softer num">{reactive_view(move || text("wbs"))}</td>
            <th scope="row" class="p-title"><div class="tree">
                {if kids > 0 {
                    view! { <button class="twist" aria-label=if open { "Collapse" } else { "Expand" } on:click=turn>{icon("chevron-right")}</button> }.into_any()
                } else {
                    view! { <span class="twist"></span> }.into_any()
                }}
                {reactive_view(move || milestone().then(|| view! { <i class="i i-milestone" role="img" aria-label="Milestone"></i> }))}
                <A href=format!("/task/{id}") attr:title=reactive_attr(move || text("name"))><span class:unsent=reactive_attr(move || unsent("name"))>{reactive_view(move || text("name"))}</span></A>
                {(kids > 0 && !open).then(|| view! { <span class="badge kids">{kids}</span> })}
            </div></th>
            <td class="gutter p-end">{reactive_view(move || row.with(|r| r.as_ref().map(sync_badge)))}</td>
            <OptionCell id=id column="dl__task_stage" set_name="task_stage" words="Change stage" class="p-a" value=Signal::derive(move || text("dl__task_stage"))
                unsent=Signal::derive(move || unsent("dl__task_stage")) table=table edit=Callback::new(move |()| edit("dl__task_stage")) set=Callback::new(move |v| set("dl__task_stage", v)) mark_only=false/>
            <OptionCell id=id column="dl__task_priority" set_name="task_priority" words="Change priority" class="" value=Signal::derive(move || text("dl__task_priority"))
                unsent=Signal::derive(move || unsent("dl__task_priority")) table=table edit=Callback::new(move |()| edit("dl__task_priority")) set=Callback::new(move |v| set("dl__task_priority", v)) mark_only=true/>
            <td class="p-d">{reactive_view(people)}</td>
            <td class="soft opt">{reactive_view(move || date("start_date"))}</td>
            <td class="soft p-b" class:late=reactive_attr(late)>{reactive_view(move || date("due_date"))}</td>
            <td class="softer num end opt">{reactive_view(days)}</td>
            <td>{reactive_view(move || (kids > 0 || !milestone()).then(|| view! { <span class:unsent=unsent("completion_pct")>{value_view::progress(percent())}</span> }))}</td>
        </tr>
    }
}

/// A cell whose value is one of a set, chosen from a menu in place.
#[component]
fn OptionCell(
    id: Uuid,
    column: &'static str,
    set_name: &'static str,
    words: &'static str,
    class: &'static str,
    value: Signal<String>,
    unsent: Signal<bool>,
    table: OutlineState,
    edit: Callback<()>,
    set: Callback<String>,
    mark_only: bool,
) -> impl IntoView {
    let open = Memo::new(move |_| table.editing.get() == Some((id, column)));
    let shown = move || {
        let value = value.get();
        if mark_only {
            value_view::option_mark(set_name, &value).map(|mark| view! { <span title=value.clone()>{icon(&mark)}<span class="vh">{value.clone()}</span></span> }).into_any()
        } else {
            value_view::option_pill(set_name, &value)
        }
    };
    let menu = move || {
        let now = value.get_untracked();
        let options = datalabel_untracked(set_name).map(|s| s.options).unwrap_or_default();
        let choices = StoredValue::new(options.iter().map(|o| o.name.clone()).collect::<Vec<_>>());
        let digit = window_event_listener(leptos::ev::keydown, move |event| {
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
        on_cleanup(move || digit.remove());
        let items = options
            .into_iter()
            .enumerate()
            .map(|(n, option)| {
                let (name, here) = (option.name.clone(), option.name == now);
                let choose = move |event: leptos::ev::MouseEvent| {
                    event.stop_propagation();
                    set.run(name.clone());
                };
                view! {
                    <button role="option" aria-selected=here.to_string() on:click=choose>
                        {value_view::option_mark(set_name, &option.name).map(|m| icon(&m))}<span class="grow">{option.name.clone()}</span>
                        {here.then(|| icon("check"))}<kbd>{n + 1}</kbd>
                    </button>
                }
            })
            .collect_view();
        let place = NodeRef::<leptos::html::Div>::new();
        Effect::new(move || {
            if let Some(menu) = place.get() {
                crate::ui::popover::open_in_cell(&menu);
            }
        });
        // In a box of its own: the look hides a menu that is a cell's child where the table is cards.
        view! { <div><div class="menu option-menu" role="listbox" aria-label=words popover="manual" node_ref=place>{items}</div></div> }
    };
    let clicked = move |event: leptos::ev::MouseEvent| {
        event.stop_propagation();
        table.at.set(Some(id));
        edit.run(());
    };
    view! {
        <td class=class class:editing=open>
            <button class="cell-button" aria-haspopup="listbox" aria-label=reactive_attr(move || format!("{}. {words}", value.get())) on:click=clicked><span class:unsent=unsent>{reactive_view(shown)}</span></button>
            {reactive_view(move || open.get().then(menu))}
        </td>
    }
}

/// Today, as the browser's clock and place say.
pub fn today() -> String {
    let date = js_sys::Date::new_0();
    format!("{:04}-{:02}-{:02}", date.get_full_year(), date.get_month() + 1, date.get_date())
}
