//! Rendering of one table row, and the badge that shows its sync state.

use super::context::{TableContext, cell_id, editable};
use crate::hooks::use_entity_mutation;
use crate::ui::format;
use crate::ui::reactive::reactive_attr;
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::ColumnKind;
use pmo_sync::RowView;
use uuid::Uuid;

/// Renders a row with one cell per visible column.
pub(crate) fn row_view(grid: TableContext, id: Uuid, row: &RowView, is_selected: Memo<bool>) -> impl IntoView + use<> {
    let entity = grid.entity_ref(id);
    let address = format!("/{}/{id}", entity.code);
    let unlink_button = grid.linked_parent.get_value().map(|parent| {
        let mutation = use_entity_mutation(entity.code.clone());
        let unlink = move |_| mutation.unlink(id, parent.clone());
        view! { <button class="btn quiet icon sm" aria-label="Remove link" title="Unlink" on:click=unlink>{icon("x")}</button> }
    });
    let columns = grid.columns.get_untracked();
    // Slots of the card layout on small screens, by class: `p-title`, `p-a` option, `p-b` date,
    // `p-c` progress, `p-d` person or reference.
    let mut free_slots = vec!["p-d", "p-b", "p-a"];
    // A person takes the slot before any other reference.
    let is_person = |kind: &ColumnKind| matches!(kind, ColumnKind::Reference { entity } | ColumnKind::References { entity } if entity == "employee");
    let has_person = columns.iter().any(|c| is_person(&c.kind));
    let mut take_slot = |kind: &ColumnKind| -> &'static str {
        let slot = match kind {
            ColumnKind::Reference { .. } if has_person && !is_person(kind) => return "",
            ColumnKind::Datalabel { .. } => "p-a",
            ColumnKind::Date => "p-b",
            ColumnKind::Reference { .. } | ColumnKind::References { .. } => "p-d",
            _ => return "",
        };
        match free_slots.iter().position(|p| *p == slot) {
            Some(index) => free_slots.remove(index),
            None => "",
        }
    };
    // A card shows only the last date, which is the due date.
    let due_column = columns.iter().rfind(|c| c.kind == ColumnKind::Date).map(|c| c.name.as_str());
    let focused = grid.focused_cell.get_untracked();
    let cells: Vec<AnyView> = columns
        .iter()
        .enumerate()
        .map(|(n, column)| {
            let focus_class = if focused == Some((id, n)) { " focused" } else { "" };
            let is_pending = row.pending_fields.contains(&column.name);
            let content = value_view::value(column, &row.data);
            let content = if is_pending { view! { <span class="unsent">{content}</span> }.into_any() } else { content };
            let cell = cell_id(id, n);
            match column.name.as_str() {
                "name" => {
                    let on_click = move |_| grid.focused_cell.set(Some((id, n)));
                    view! { <th scope="row" role="rowheader" id=cell class=format!("p-title{focus_class}") on:click=on_click><span class="project-name"><A href=address.clone() attr:tabindex="-1">{content}</A></span></th> }.into_any()
                }
                name => {
                    let is_earlier_date = column.kind == ColumnKind::Date && Some(name) != due_column;
                    let style_class = match name {
                        "code" | "wbs" => "softer num",
                        "completion_pct" => "p-c",
                        _ if is_earlier_date => "soft",
                        _ => "soft ",
                    };
                    let slot_class = if style_class == "soft " { take_slot(&column.kind) } else { "" };
                    let align_class = if value_view::is_right_aligned(&column.kind) { " end num" } else { "" };
                    let edit_class = if editable(column) { " editable" } else { "" };
                    view! { <td role="gridcell" id=cell class=format!("{style_class}{slot_class}{align_class}{edit_class}{focus_class}") on:click=move |_| grid.edit(id, n)>{content}</td> }.into_any()
                }
            }
        })
        .collect();
    let toggle = move |event: leptos::ev::MouseEvent| grid.select(id, event.shift_key());
    let label = format!("Select {}", format::text(&row.data, "name"));
    view! {
        <tr role="row" class:conflict=row.needs_attention aria-selected=reactive_attr(move || is_selected.get().to_string()) data-id=id.to_string()>
            <td class="c-pick"><label class="check"><input type="checkbox" tabindex="-1" class="i-check" aria-label=label prop:checked=reactive_attr(move || is_selected.get()) on:click=toggle/></label></td>
            {cells}<td class="gutter p-end">{sync_badge(row)}{unlink_button}</td></tr>
    }
}

/// Icon of a row with unsent changes or with a conflict; empty for a synced row.
pub(crate) fn sync_badge(row: &RowView) -> AnyView {
    if row.needs_attention {
        view! { <span title="Conflict">{icon("conflict")}</span> }.into_any()
    } else if row.pending {
        view! { <span title="Saved locally, pending sync">{icon("pending")}</span> }.into_any()
    } else {
        ().into_any()
    }
}
