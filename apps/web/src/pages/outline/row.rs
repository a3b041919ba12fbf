//! Row of one task.

use super::state::OutlineState;
use super::tree::OutlineRow;
use crate::hooks::{datalabel_untracked, is_terminal, row_with, use_entity_mutation, use_offline_entity};
use crate::table::sync_badge;
use crate::ui::format;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::{self, icon};
use leptos::attr::custom::custom_attribute;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::EntityRef;
use pmo_sync::RowView;
use serde_json::json;
use uuid::Uuid;

/// Row of one task.
#[component]
pub(super) fn TaskRow(task: EntityRef, outline_row: OutlineRow, table: OutlineState) -> impl IntoView {
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
                    view! { <button class="toggle" aria-label=if open { "Collapse" } else { "Expand" } on:click=toggle>{icon("chevron-right")}</button> }.into_any()
                } else {
                    view! { <span class="toggle"></span> }.into_any()
                }}
                {reactive_view(move || milestone().then(|| view! { <i class="i i-milestone" role="img" aria-label="Milestone"></i> }))}
                <A href=format!("/task/{id}") attr:title=reactive_attr(move || text("name"))><span class:unsent=reactive_attr(move || is_pending("name"))>{reactive_view(move || text("name"))}</span></A>
                {(descendants > 0 && !open).then(|| view! { <span class="badge child-count">{descendants}</span> })}
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
fn today() -> String {
    let date = js_sys::Date::new_0();
    format!("{:04}-{:02}-{:02}", date.get_full_year(), date.get_month() + 1, date.get_date())
}
