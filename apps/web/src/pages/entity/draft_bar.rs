//! Bar with the unsaved changes.

use super::state::EntityPageState;
use crate::client::client;
use crate::ui::field::FormState;
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::EntityType;
use pmo_domain::predicate::ComparableValue;
use serde_json::Value;

/// Draft bar at the bottom of the page: changed fields, undo, redo, discard and save.
#[component]
pub(super) fn DraftBar(page: EntityPageState, kind: EntityType, form: FormState) -> impl IntoView {
    let (draft, storage_error) = (page.draft, client().storage_error.clone());
    let columns = StoredValue::new(kind.columns.clone());
    // Compare typed values: the server may format a number differently.
    let equal = move |column: &str, a: &Value, b: &Value| {
        let kind = columns.with_value(|all| all.iter().find(|c| c.name == column).map(|c| c.kind.clone()));
        a == b
            || kind.is_some_and(|kind| ComparableValue::from_value(&kind, a) == ComparableValue::from_value(&kind, b))
    };
    let labels = move |columns: Vec<String>| {
        columns
            .iter()
            .map(|c| kind.column(c).map_or_else(|| c.clone(), |c| c.label.clone()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    reactive_view(move || {
        draft.draft.get().map(|d| {
            let fields: Vec<String> = d.current_data.keys().cloned().collect();
            let invalid_fields = form.invalid_fields.get();
            let title = match fields.len() {
                // In the title, because small screens hide the second line.
                _ if !invalid_fields.is_empty() => format!("Invalid fields: {}", invalid_fields.join(", ")),
                0 => "No unsaved changes".to_owned(),
                1 => "1 unsaved change".to_owned(),
                n => format!("{n} unsaved changes"),
            };
            let no_changes = fields.is_empty();
            let location = if storage_error.get().is_some() { "in this tab only" } else { "saved locally" };
            let conflicting: Vec<String> = page.row.with(|row| row.as_ref().map(|row| d.conflicting_fields(&row.data, equal).cloned().collect()).unwrap_or_default());
            let meta = if !conflicting.is_empty() { format!("Another user changed {}", labels(conflicting)) }
                else if no_changes { "Redo restores them".to_owned() } else { format!("{} · {location}", labels(fields)) };
            let save_disabled = no_changes || !invalid_fields.is_empty();
            view! {
                <div class="float"><div class="draft" role="region" aria-label="Draft">
                    <i class="i i-pencil softer desk" aria-hidden="true"></i>
                    <div class="grow"><strong>{title}</strong><span class="meta">{meta}</span></div>
                    <button class="btn quiet icon" aria-label="Undo" title="Undo (Ctrl Z)" disabled=d.undo_stack.is_empty() on:click=move |_| draft.undo()>{icon("undo-2")}</button>
                    <button class="btn quiet icon" aria-label="Redo" title="Redo (Ctrl Shift Z)" disabled=!d.can_redo() on:click=move |_| draft.redo()>{icon("redo-2")}</button>
                    <button class="btn quiet" on:click=move |_| draft.discard()>"Discard"</button>
                    <button class="btn primary" disabled=save_disabled on:click=move |_| draft.commit()>"Save"<kbd class="desk">"Ctrl S"</kbd></button>
                </div></div>
            }
        })
    })
}
