//! Menu with export, import and calendar.

use super::calendar::CalendarDialog;
use super::import_dialog::ImportDialog;
use crate::client::http;
use crate::hooks::use_entity_codes;
use crate::ui::action_menu::{Action, Actions};
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::{EntityCode, EntityRef};

/// Menu with further actions on an entity: share, export, import of children, calendar URL.
#[component]
pub(crate) fn EntityActions(
    /// Entity to which the actions apply.
    entity: EntityRef,
    /// Name of the entity.
    #[prop(into)]
    title: Signal<String>,
    /// Opens the share dialog; set by pages without a share button on small screens.
    #[prop(optional)]
    sharing: Option<RwSignal<bool>>,
) -> impl IntoView {
    let (error, calendar, importing) = (RwSignal::new(None::<String>), RwSignal::new(false), RwSignal::new(false));
    // Whether a child type has due dates. A memo, because the catalog may load after the page.
    let codes = use_entity_codes();
    let kind = entity.code.clone();
    let has_due_dates = Memo::new(move |_| {
        let catalog = codes.get();
        let has_due_date = |code: &str| catalog.get(code).is_some_and(|child| child.column("due_date").is_some());
        catalog.get(kind.as_str()).is_some_and(|kind| {
            kind.children
                .iter()
                .any(|relation| relation.parent_column.is_some() && has_due_date(relation.code.as_str()))
        })
    });
    let is_project = entity.code == "project";
    let stored_entity = StoredValue::new(entity.clone());
    let actions = Callback::new(move |()| {
        let entity = stored_entity.get_value();
        let action =
            |icon_name, label: &str, run: Callback<()>| Action { icon: icon_name, label: label.to_owned(), run };
        let mut items = Vec::new();
        items.extend(sharing.map(|sharing| action("users", "Share…", Callback::new(move |()| sharing.set(true)))));
        if entity.code == "project" {
            let id = entity.id;
            items.push(action(
                "file-down",
                "Export for Microsoft Project",
                Callback::new(move |()| {
                    http::export_file(format!("/project/{id}/export"), format!("{}.xml", title.get_untracked()), error)
                }),
            ));
            items.push(action(
                "file-down",
                "Export the tasks as CSV",
                Callback::new(move |()| {
                    http::export_file(
                        format!("/task/export?project_id={id}"),
                        format!("{}.csv", title.get_untracked()),
                        error,
                    )
                }),
            ));
            items.push(action("file-up", "Import tasks from CSV…", Callback::new(move |()| importing.set(true))));
        }
        if has_due_dates.get_untracked() {
            items.push(action("calendar", "Subscribe to due dates…", Callback::new(move |()| calendar.set(true))));
        }
        items
    });
    let task = EntityCode::new("task").ok();
    view! {
        {reactive_view(move || (is_project || has_due_dates.get()).then(|| view! { <Actions actions=actions/> }))}
        {reactive_view(move || error.get().map(|message| view! { <div class="toasts"><div class="toast" role="alert">{icon("circle-alert")}<span class="grow">{message}</span><button class="btn quiet sm" on:click=move |_| error.set(None)>"Close"</button></div></div> }))}
        {reactive_view(move || calendar.get().then(|| view! { <CalendarDialog entity=Some(stored_entity.get_value()) title=title.get_untracked() open=calendar/> }))}
        {reactive_view(move || importing.get().then(|| task.clone().map(|task| view! { <ImportDialog code=task parent=Some(stored_entity.get_value()) open=importing/> })))}
    }
}
