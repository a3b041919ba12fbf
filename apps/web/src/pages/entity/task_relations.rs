//! Sub-tasks and dependencies of a task.

use super::state::EntityPageState;
use crate::client::client;
use crate::hooks::{catalog, is_terminal, row_with, use_entity, use_rows};
use crate::pages::create::NewDialog;
use crate::ui::format;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::{EntityRef, sort};
use pmo_sync::{ListKey, RowView};
use serde_json::Value;

#[component]
pub(super) fn TaskChildren(task: EntityRef, page: EntityPageState) -> impl IntoView {
    let list = use_rows::<RowView>(ListKey::children_of(task.code.clone(), task.clone(), "parent__task_id"));
    let adding = RwSignal::new(false);
    let done_count = move || {
        list.with(|l| {
            l.rows.iter().filter(|r| is_terminal("task_stage", &format::text(&r.data, "dl__task_stage"))).count()
        })
    };
    let rows = move || {
        let rows =
            sort::sorted_by_key(list.get().rows, |r| (format::text(&r.data, "rank"), format::text(&r.data, "id")));
        rows.into_iter()
            .map(|r| {
                let stage = format::text(&r.data, "dl__task_stage");
                let due = format::text(&r.data, "due_date");
                let name = format::text(&r.data, "name");
                view! {
                    <li>{value_view::option_mark("task_stage", &stage).filter(|_| !stage.is_empty()).map(|m| icon(&m))}<A href=format!("/task/{}", format::text(&r.data, "id"))>{name}</A>
                        {value_view::people("employee", &value_view::reference_ids(r.data.get("assignee__employee_ids")))}<time datetime=due.clone()>{format::date(&due, false)}</time></li>
                }
            })
            .collect_view()
    };
    let code = task.code.clone();
    let project = move || {
        page.row.with_untracked(|r| r.as_ref().and_then(|r| r.data.get("project_id").cloned())).unwrap_or(Value::Null)
    };
    view! {
        <section class="section" class:hidden=reactive_attr(move || !page.can_edit.get() && list.with(|l| l.rows.is_empty()))>
            <header><h2>"Sub-tasks"</h2>
                <span class="n">{reactive_view(move || list.with(|l| (!l.rows.is_empty()).then(|| format!("{} of {} done", done_count(), l.rows.len()))))}</span>
                {reactive_view(move || page.can_edit.get().then(|| view! { <button type="button" class="btn quiet sm" on:click=move |_| adding.set(true)>{icon("plus")}"Add"</button> }))}
            </header>
            <ul class="rows">{reactive_view(rows)}</ul>
            {reactive_view(move || adding.get().then(|| view! { <NewDialog code=code.clone() parent=Some((task.clone(), "parent__task_id".to_owned())) open=adding initial=row_with("project_id", project())/> }))}
        </section>
    }
}

/// Dependencies of a task: predecessors ("Blocked by") and successors ("Blocks").
#[component]
pub(super) fn TaskLinks(task: EntityRef, page: EntityPageState) -> impl IntoView {
    let project = Memo::new(move |_| {
        page.row.with(|r| r.as_ref().and_then(|r| format::text(&r.data, "project_id").parse().ok()))
    });
    let codes = catalog();
    reactive_view(move || {
        let (Some(project), Some(kind), Some(project_type)) =
            (project.get(), codes.get("task_dependency"), codes.get("project"))
        else {
            return ().into_any();
        };
        let list = use_rows::<RowView>(ListKey::children_of(
            kind.code.clone(),
            EntityRef::new(project_type.code.clone(), project),
            "project_id",
        ));
        let id = task.id.to_string();
        let task_code = task.code.clone();
        let links_view = move |title: &'static str, own_column: &'static str, other_column: &'static str| {
            let (id, task_code) = (id.clone(), task_code.clone());
            reactive_view(move || {
                let found: Vec<_> =
                    list.get().rows.into_iter().filter(|r| format::text(&r.data, own_column) == id).collect();
                if found.is_empty() {
                    return ().into_any();
                }
                let links = found
                    .into_iter()
                    .filter_map(|r| {
                        let other = EntityRef::new(task_code.clone(), format::text(&r.data, other_column).parse().ok()?);
                        let row = use_entity::<RowView>(other.clone());
                        let stage = reactive_view(move || {
                            let stage = row.get().map(|r| format::text(&r.data, "dl__task_stage")).unwrap_or_default();
                            value_view::option_mark("task_stage", &stage).filter(|_| !stage.is_empty()).map(|m| icon(&m))
                        });
                        let name = client().read(|e| e.name("task", other.id)).unwrap_or_else(|| "Restricted task".into());
                        let lag = format::number(&r.data, "lag_days").filter(|l| *l != 0.0).map(|l| format!(" {}{}d", if l > 0.0 { "+" } else { "" }, format::trim_zeros(l)));
                        let kind = format!("{}{}", format::text(&r.data, "dl__dependency_type"), lag.unwrap_or_default());
                        Some(view! { <li>{stage}<A href=format!("/task/{}", other.id)>{name}</A><small>{kind}</small></li> })
                    })
                    .collect_view();
                view! { <h3>{title}</h3><ul class="links">{links}</ul> }.into_any()
            })
        };
        view! {
            {links_view.clone()("Blocked by", "successor__task_id", "predecessor__task_id")}
            {links_view("Blocks", "predecessor__task_id", "successor__task_id")}
        }
        .into_any()
    })
}
