//! One row of a table, and the sign that says how it stands with the server.

use super::{TableContext, cell_id, editable};
use crate::hooks::use_entity_mutation;
use crate::ui::format;
use crate::ui::reactive::reactive_attr;
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::ColumnKind;
use pmo_sync::RowView;
use uuid::Uuid;

/// A row, as its columns have it.
pub fn row_view(grid: TableContext, id: Uuid, row: &RowView, chosen: Memo<bool>) -> impl IntoView + use<> {
    let thing = grid.entity_ref(id);
    let address = format!("/{}/{id}", thing.code);
    let take_out = grid.linked.get_value().map(|parent| {
        let mutation = use_entity_mutation(thing.code.clone());
        let part = move |_| mutation.unlink(id, parent.clone());
        view! { <button class="btn quiet icon sm" aria-label="Take out" title="Take out of this list" on:click=part>{icon("x")}</button> }
    });
    let columns = grid.columns.get_untracked();
    // Where a phone's card puts what: the title, then stage, date and person, then progress.
    let mut places = vec!["p-d", "p-b", "p-a"];
    // Who does it comes before what it belongs to.
    let is_person = |kind: &ColumnKind| matches!(kind, ColumnKind::Reference { entity } | ColumnKind::References { entity } if entity == "employee");
    let person = columns.iter().any(|c| is_person(&c.kind));
    let mut place_of = |kind: &ColumnKind| -> &'static str {
        let wanted = match kind {
            ColumnKind::Reference { .. } if person && !is_person(kind) => return "",
            ColumnKind::Datalabel { .. } => "p-a",
            ColumnKind::Date => "p-b",
            ColumnKind::Reference { .. } | ColumnKind::References { .. } => "p-d",
            _ => return "",
        };
        match places.iter().position(|p| *p == wanted) {
            Some(at) => places.remove(at),
            None => "",
        }
    };
    // The day that matters on a card is the last one: when it is due.
    let due = columns.iter().rfind(|c| c.kind == ColumnKind::Date).map(|c| c.name.as_str());
    let at = grid.focused_cell.get_untracked();
    let cells: Vec<AnyView> = columns
        .iter()
        .enumerate()
        .map(|(n, column)| {
            let here = if at == Some((id, n)) { " at" } else { "" };
            let unsent = row.pending_fields.contains(&column.name);
            let shown = value_view::value(column, &row.data);
            let shown = if unsent { view! { <span class="unsent">{shown}</span> }.into_any() } else { shown };
            let cell = cell_id(id, n);
            match column.name.as_str() {
                "name" => {
                    let go = move |_| grid.focused_cell.set(Some((id, n)));
                    view! { <th scope="row" role="rowheader" id=cell class=format!("p-title{here}") on:click=go><span class="project-name"><A href=address.clone() attr:tabindex="-1">{shown}</A></span></th> }.into_any()
                }
                name => {
                    let earlier = column.kind == ColumnKind::Date && Some(name) != due;
                    let place = match name {
                        "code" | "wbs" => "softer num",
                        "completion_pct" => "p-c",
                        _ if earlier => "soft",
                        _ => "soft ",
                    };
                    let more = if place == "soft " { place_of(&column.kind) } else { "" };
                    let end = if value_view::is_right_aligned(&column.kind) { " end num" } else { "" };
                    let open = if editable(column) { " opens" } else { "" };
                    view! { <td role="gridcell" id=cell class=format!("{place}{more}{end}{open}{here}") on:click=move |_| grid.edit(id, n)>{shown}</td> }.into_any()
                }
            }
        })
        .collect();
    let pick = move |event: leptos::ev::MouseEvent| grid.select(id, event.shift_key());
    let label = format!("Select {}", format::text(&row.data, "name"));
    view! {
        <tr role="row" class:conflict=row.needs_attention aria-selected=reactive_attr(move || chosen.get().to_string()) data-id=id.to_string()>
            <td class="c-pick"><label class="check"><input type="checkbox" tabindex="-1" class="i-check" aria-label=label prop:checked=reactive_attr(move || chosen.get()) on:click=pick/></label></td>
            {cells}<td class="gutter p-end">{sync_badge(row)}{take_out}</td></tr>
    }
}

/// The small sign on a row that has not been sent, or needs a person.
pub fn sync_badge(row: &RowView) -> AnyView {
    if row.needs_attention {
        view! { <span title="Needs your choice">{icon("conflict")}</span> }.into_any()
    } else if row.pending {
        view! { <span title="Saved on this device, not sent yet">{icon("pending")}</span> }.into_any()
    } else {
        ().into_any()
    }
}
