//! Dialog that links an existing entity to a parent.

use crate::client::client;
use crate::hooks::{catalog, use_entity_list, use_entity_mutation};
use crate::ui::dialog::Dialog;
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::{EntityCode, EntityRef};
use pmo_sync::ListKey;
use uuid::Uuid;

/// Maximum number of suggested names.
const MAX_SUGGESTIONS: usize = 8;

/// Links an existing entity to a parent, for relations without a parent column.
///
/// Works offline with all names that are stored on the device.
#[component]
pub(crate) fn LinkDialog(
    /// Parent entity.
    parent: EntityRef,
    /// Type of the child.
    child: EntityCode,
    /// List of the children that are already linked.
    list: ListKey,
    /// Whether the dialog is open.
    open: RwSignal<bool>,
) -> impl IntoView {
    let entity = catalog().get(child.as_str()).cloned();
    let name = entity.map_or_else(|| child.to_string(), |e| e.with_article());
    let search = RwSignal::new(String::new());
    let is_role = parent.code == "role";
    let linked = use_entity_list(list);
    // Observe all entities of the type while the dialog is open, so that their names are loaded.
    let all = use_entity_list(ListKey::all(child.clone()));
    let suggestions = reactive_view(move || {
        all.track();
        let (needle, linked_ids) = (search.get().to_lowercase(), linked.get().ids);
        let names = client().read(|e| e.known_names(child.as_str()));
        let matches_search =
            |(id, name): &(Uuid, String)| !linked_ids.contains(id) && name.to_lowercase().contains(&needle);
        let found: Vec<_> = names.into_iter().filter(matches_search).take(MAX_SUGGESTIONS).collect();
        if found.is_empty() {
            return view! { <p class="softer">"No matches"</p> }.into_any();
        }
        let buttons: Vec<_> = found
            .into_iter()
            .map(|(id, name)| {
                let (parent, child) = (parent.clone(), child.clone());
                let add = move |_| {
                    use_entity_mutation(child.clone()).link(id, parent.clone());
                    open.set(false);
                };
                view! { <li><button type="button" class="btn quiet wide" on:click=add>{name}</button></li> }
            })
            .collect();
        view! { <ul class="rows tray">{buttons}</ul> }.into_any()
    });
    let lead = if is_role {
        "Members receive all permissions that are granted to the role."
    } else {
        "Adds a link; the item stays in its parent."
    };
    view! {
        <Dialog title=format!("Add {name}") lead=lead close=Callback::new(move |()| open.set(false))>
            <div class="body new-form">
                <label class="field"><span class="vh">"Name"</span><span class="input">{icon("search")}<input type="search" placeholder="Type a name" autofocus on:input=move |e| search.set(event_target_value(&e))/></span></label>
                {suggestions}
            </div>
        </Dialog>
    }
}
