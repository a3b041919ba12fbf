//! Picker of one of the columns of a table.

use crate::ui::picker::{Choice, ChoiceIcon, Picker, PickerExit};
use crate::ui::reactive::reactive_view;
use leptos::prelude::*;
use pmo_domain::Column;

/// Picker of a column, shown while `open` is set.
#[component]
pub(super) fn ColumnPicker(
    label: &'static str,
    /// Id of the anchor element.
    anchor: &'static str,
    columns: StoredValue<Vec<Column>>,
    open: RwSignal<bool>,
    /// Receives the picked column.
    on_pick: Callback<Column>,
) -> impl IntoView {
    let choices = Signal::derive(move || {
        let choice = |c: &Column| Choice { value: c.name.clone(), label: c.label.clone(), icon: ChoiceIcon::Bare };
        columns.with_value(|all| all.iter().map(choice).collect::<Vec<_>>())
    });
    let pick = Callback::new(move |name: String| {
        if let Some(column) = columns.with_value(|all| all.iter().find(|c| c.name == name).cloned()) {
            on_pick.run(column);
        }
    });
    reactive_view(move || {
        open.get().then(|| view! { <Picker label=label choices=choices chosen=Signal::derive(Vec::new) anchor=anchor pick=pick close=Callback::new(move |_: PickerExit| open.set(false))/> })
    })
}
