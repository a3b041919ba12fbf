//! Bulk actions on the selected rows: set one column to a value, or delete the rows.
//!
//! Each row is a write of its own, which is persisted and sent like any other.

use super::column_picker::ColumnPicker;
use super::context::{TableContext, editable};
use crate::hooks::{row_with, use_entity_mutation};
use crate::ui::dialog::Dialog;
use crate::ui::field::{Field, FormState};
use crate::ui::overlay_state::OverlayState;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::toast::delete_with_undo;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::{Column, ColumnKind};
use serde_json::Value;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Bar at the bottom of the page while rows are selected.
#[component]
pub(crate) fn SelectionBar(
    /// Table of the selected rows.
    grid: TableContext,
) -> impl IntoView {
    let count = move || grid.selected.with(BTreeSet::len);
    let (choosing, setting) = (RwSignal::new(false), RwSignal::new(None::<Column>));
    let clear = move || {
        grid.selected.set(BTreeSet::new());
        grid.focus();
    };
    let columns: Vec<Column> = grid.entity.with_value(|entity| {
        entity
            .columns
            .iter()
            .filter(|c| editable(c) && !c.hidden && !matches!(c.name.as_str(), "name" | "code" | "wbs"))
            .cloned()
            .collect()
    });
    // The columns that are changed most often have a button; the picker offers all of them.
    let frequent: Vec<Column> =
        columns.iter().filter(|c| matches!(c.kind, ColumnKind::Datalabel { .. })).take(2).cloned().collect();
    let people = columns.iter().find(|c| matches!(&c.kind, ColumnKind::Reference { entity } | ColumnKind::References { entity } if entity == "employee")).cloned();
    let buttons = frequent
        .into_iter()
        .chain(people)
        .map(|column| {
            let label = column.label.clone();
            view! { <button class="btn quiet desk" on:click=move |_| setting.set(Some(column.clone()))>{label}</button> }
        })
        .collect_view();
    let columns = StoredValue::new(columns);
    let selection_text = move || match count() {
        1 => "1 selected".to_owned(),
        n => format!("{n} selected"),
    };
    view! {
        <div class="float"><div class="selection" role="toolbar" aria-label=reactive_attr(selection_text)>
            <span class="n" role="status">{reactive_view(selection_text)}</span><span class="sep"></span>
            {buttons}
            <button class="btn quiet" id="set-column" aria-haspopup="listbox" on:click=move |_| choosing.set(true)>{icon("pencil")}"Set…"</button>
            <button class="btn quiet icon" aria-label="Delete" title="Delete" on:click=move |_| grid.deleting.set(true)>{icon("trash-2")}</button>
            <span class="sep"></span>
            <button class="btn quiet icon" aria-label="Clear selection" title="Clear (Esc)" on:click=move |_| clear()>{icon("x")}</button>
        </div></div>
        <ColumnPicker label="Column" anchor="set-column" columns=columns open=choosing on_pick=Callback::new(move |column| setting.set(Some(column)))/>
        {reactive_view(move || setting.get().map(|column| view! { <BulkEditDialog grid=grid column=column setting=setting/> }))}
        {reactive_view(move || grid.deleting.get().then(|| view! { <DeleteDialog grid=grid/> }))}
    }
}

/// Dialog that sets one column of all selected rows.
#[component]
fn BulkEditDialog(grid: TableContext, column: Column, setting: RwSignal<Option<Column>>) -> impl IntoView {
    let count = grid.selected.with_untracked(BTreeSet::len);
    let value = RwSignal::new(Value::Null);
    // Choices can depend on other columns of the row, such as its project: use the first row.
    let first = grid
        .selected
        .with_untracked(|s| s.first().copied())
        .and_then(|id| crate::client::client().read(|e| e.row(&grid.entity_ref(id))));
    let form = FormState::from_row(move || first.as_ref().map(|row| (*row.data).clone()).unwrap_or_default());
    let close = Callback::new(move |()| {
        setting.set(None);
        grid.focus();
    });
    let name = column.name.clone();
    let required = column.required || column.not_null;
    let apply = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let new_value = value.get_untracked();
        let mutation = use_entity_mutation(grid.entity.with_value(|e| e.code.clone()));
        // Write in table order, so that the rows are confirmed from top to bottom.
        let selected = grid.selected.get_untracked();
        let ids: Vec<Uuid> =
            grid.rows.with_untracked(|rows| rows.ids.iter().filter(|id| selected.contains(id)).copied().collect());
        for id in ids {
            mutation.update(id, row_with(&name, new_value.clone()));
        }
        close.run(());
    };
    let submit_disabled = Memo::new(move |_| {
        form.invalid_fields.with(|fields| !fields.is_empty()) || required && value.with(Value::is_null)
    });
    let rows_text = if count == 1 { "1 row".to_owned() } else { format!("{count} rows") };
    view! {
        <Dialog title=format!("Set {} of {rows_text}", column.label.to_lowercase()) close=close>
            <form class="body new-form" on:submit=apply>
                <Field column=column value=Signal::derive(move || value.get()) changed=false enabled=true change=Callback::new(move |new| value.set(new))/>
                <footer class="buttons"><button type="button" class="btn quiet" on:click=move |_| close.run(())>"Cancel"</button>
                    <button class="btn primary" disabled=reactive_attr(move || submit_disabled.get())>{format!("Set {rows_text}")}</button></footer>
            </form>
        </Dialog>
    }
}

/// Confirmation before the selected rows are deleted.
#[component]
fn DeleteDialog(grid: TableContext) -> impl IntoView {
    let count = grid.selected.with_untracked(BTreeSet::len);
    let noun = grid.entity.with_value(|e| if count == 1 { e.name.to_lowercase() } else { e.ui_label.to_lowercase() });
    let close = Callback::new(move |()| {
        grid.deleting.set(false);
        grid.focus();
    });
    let (overlays, toast_noun) = (expect_context::<OverlayState>(), noun.clone());
    let confirm = move |_| {
        let entities: Vec<_> = grid.selected.get_untracked().into_iter().map(|id| grid.entity_ref(id)).collect();
        delete_with_undo(overlays, entities, format!("{count} {toast_noun} deleted"));
        grid.selected.set(BTreeSet::new());
        close.run(());
    };
    view! {
        <Dialog title=format!("Delete {count} {noun}?") lead="They and their children are removed from all lists. Users with delete permission can restore them." close=close>
            <footer class="buttons"><button class="btn quiet" on:click=move |_| close.run(())>"Cancel"</button>
                <button class="btn danger" autofocus on:click=confirm>"Delete"</button></footer>
        </Dialog>
    }
}
