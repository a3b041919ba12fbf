//! Form that grants access.

use super::grants::LEVELS;
use crate::client::{client, http, new_id};
use crate::hooks::{catalog, use_entity_list_when};
use crate::ui::picker::{Choice, ChoiceIcon, Picker, PickerExit};
use crate::ui::reactive::{reactive_attr, reactive_view};
use leptos::prelude::*;
use pmo_domain::{EVERY_INSTANCE, EntityRef, Permission};
use pmo_sync::ListKey;
use serde_json::json;
use uuid::Uuid;
use wasm_bindgen_futures::spawn_local;

/// Form that grants access to a person or a role.
#[component]
pub(crate) fn GrantForm(
    /// Entity of the grant; with the id `EVERY_INSTANCE`, all entities of the type.
    entity: EntityRef,
    /// Highest permission that can be granted.
    max_permission: u64,
    /// Called after the grant was created.
    on_granted: Callback<()>,
    /// Receives the message of a failed request, and `None` after success.
    error: RwSignal<Option<String>>,
) -> impl IntoView {
    let (picking, busy) = (RwSignal::new(false), RwSignal::new(false));
    let holder = RwSignal::new(None::<(String, String)>);
    // For all entities of a type, the children can be most of the database: include them only if
    // the user asks for it.
    let include_by_default = entity.id != EVERY_INSTANCE;
    let (level, include_children, expires) = (
        RwSignal::new(u64::from(u8::from(Permission::View))),
        RwSignal::new(include_by_default),
        RwSignal::new(String::new()),
    );
    // People and roles that are visible to the user.
    let list = |code: &'static str| {
        let key = catalog().get(code).map(|t| ListKey::all(t.code.clone()));
        use_entity_list_when(Memo::new(move |_| key.clone()))
    };
    let (people, roles) = (list("person"), list("role"));
    let choices = Signal::derive(move || {
        let names = |list: Memo<pmo_sync::ListView>, code: &'static str| {
            let loaded = list.with(|l| l.loaded.then(|| l.ids.clone()));
            client().read(|e| match loaded {
                Some(ids) => ids.iter().filter_map(|id| Some((*id, e.name(code, *id)?))).collect::<Vec<_>>(),
                None => e.known_names(code),
            })
        };
        let to_choice = |code: &'static str, choice_icon: ChoiceIcon| {
            move |(id, label): (Uuid, String)| Choice {
                value: format!("{code}:{id}"),
                label,
                icon: choice_icon.clone(),
            }
        };
        let mut all: Vec<Choice> =
            names(people, "person").into_iter().map(to_choice("person", ChoiceIcon::Person)).collect();
        all.extend(names(roles, "role").into_iter().map(to_choice("role", ChoiceIcon::Icon("users".to_owned()))));
        all
    });
    let pick = Callback::new(move |value: String| {
        let label = choices
            .with_untracked(|all| all.iter().find(|c| c.value == value).map(|c| c.label.clone()))
            .unwrap_or_default();
        holder.set(Some((value, label)));
    });
    let options: Vec<_> = LEVELS
        .iter()
        .filter(|(l, _)| u64::from(u8::from(*l)) <= max_permission)
        .map(|(l, label)| view! { <option value=u8::from(*l).to_string()>{*label}</option> })
        .collect();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let Some((code, id)) =
            holder.get_untracked().and_then(|(v, _)| v.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())))
        else {
            return;
        };
        let mut body = json!({
            "entity_code": entity.code, "entity_instance_id": entity.id, "permission": level.get_untracked(),
            "inheritance_mode": if include_children.get_untracked() { "cascade" } else { "none" },
        });
        body[format!("{code}_id")] = json!(id);
        let day = expires.get_untracked();
        if !day.is_empty() {
            // The grant expires at the end of that day, in the time zone of the browser.
            let end = js_sys::Date::new(&format!("{day}T23:59:59").into());
            if !end.get_time().is_nan() {
                body["expires_ts"] = json!(String::from(end.to_iso_string()));
            }
        }
        busy.set(true);
        spawn_local(async move {
            match http::request(http::Method::POST, "/entity_rbac", Some(&body), Some(&new_id().to_string())).await {
                Ok(_) => {
                    error.set(None);
                    holder.set(None);
                    on_granted.try_run(());
                }
                Err(failure) => error.set(Some(failure.to_string())),
            }
            busy.set(false);
        });
    };
    let display = move || holder.get().map_or_else(|| "Choose a person or a role".to_owned(), |(_, label)| label);
    view! {
        <form class="grant-form" on:submit=submit aria-label="Grant access">
            <button type="button" class="input picker-button" id="grant-holder" aria-haspopup="listbox" on:click=move |_| picking.set(true)><span class="grow">{reactive_view(display)}</span><i class="i i-chevron-down sm" aria-hidden="true"></i></button>
            <select class="input" aria-label="Permission" on:change=move |e| level.set(event_target_value(&e).parse().unwrap_or_default())>{options}</select>
            <label class="check"><input type="checkbox" class="i-check" checked=include_by_default on:change=move |e| include_children.set(event_target_checked(&e))/>"Include children"</label>
            <label class="expires">"Expires"<input class="input" type="date" aria-label="Expires (optional)" on:input=move |e| expires.set(event_target_value(&e))/></label>
            <button class="btn primary" disabled=reactive_attr(move || busy.get() || holder.with(Option::is_none))>"Share"</button>
            {reactive_view(move || picking.get().then(|| view! { <Picker label="Person or role" choices=choices chosen=Signal::derive(Vec::new) anchor="grant-holder" pick=pick close=Callback::new(move |_: PickerExit| picking.set(false))/> }))}
        </form>
    }
}
