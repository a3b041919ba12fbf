//! Lists all grants by type, role or person; creates and revokes them.

use super::requests::{send, type_choices};
use crate::client::http::{self, Method};
use crate::hooks::{catalog, use_entity_list_when};
use crate::pages::sharing::{GrantForm, permission_label};
use crate::ui::error_message::error_message;
use crate::ui::format;
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::{EVERY_INSTANCE, EntityRef, sort};
use pmo_sync::ListKey;
use serde_json::Value;
use wasm_bindgen_futures::spawn_local;

/// Filter of the grant list: grants on types, of a role or of a person.
#[derive(Clone, Copy, PartialEq)]
enum GrantScope {
    Types,
    Role,
    Person,
}

/// State of the grant list.
#[derive(Clone, Copy)]
struct GrantListState {
    scope: RwSignal<GrantScope>,
    /// Role or person whose grants are shown; empty if none is chosen.
    holder_id: RwSignal<String>,
    grants: RwSignal<Vec<Value>>,
    /// Cursor of the next page, if there is one.
    next: RwSignal<Option<String>>,
    busy: RwSignal<bool>,
    error: RwSignal<Option<String>>,
}

impl GrantListState {
    /// Returns the path of a page of grants; `None` if no role or person is chosen.
    fn path(&self, after: Option<String>) -> Option<String> {
        let holder_id = || Some(self.holder_id.get_untracked()).filter(|id| !id.is_empty());
        let query = match self.scope.get_untracked() {
            GrantScope::Types => String::new(),
            GrantScope::Role => format!("role_id={}&", holder_id()?),
            GrantScope::Person => format!("person_id={}&", holder_id()?),
        };
        Some(format!("/entity_rbac?{query}{}", after.map(|a| format!("after={a}")).unwrap_or_default()))
    }

    /// Fetches the grants; with `after`, appends the page that follows this cursor.
    fn load(self, after: Option<String>) {
        let append = after.is_some();
        let Some(path) = self.path(after) else { return self.grants.set(Vec::new()) };
        spawn_local(async move {
            match http::request(Method::GET, &path, None, None).await {
                Ok(mut response) => {
                    let lines = response["data"].take();
                    let lines = lines.as_array().cloned().unwrap_or_default();
                    self.next.try_set(response["next"].as_str().map(ToOwned::to_owned));
                    self.grants.try_update(|all| {
                        if !append {
                            all.clear();
                        }
                        all.extend(lines);
                    });
                }
                Err(failure) => drop(self.error.try_set(Some(failure.to_string()))),
            }
        });
    }

    fn revoke(self, id: &str) {
        let reload = move |_| self.load(None);
        send(Method::DELETE, format!("/entity_rbac/{id}"), None, self.busy, self.error, reload);
    }
}

#[component]
pub(crate) fn Grants() -> impl IntoView {
    let state = GrantListState {
        scope: RwSignal::new(GrantScope::Types),
        holder_id: RwSignal::new(String::new()),
        grants: RwSignal::new(Vec::new()),
        next: RwSignal::new(None),
        busy: RwSignal::new(false),
        error: RwSignal::new(None),
    };
    let GrantListState { scope, holder_id, grants, next, error, .. } = state;
    Effect::new(move || {
        scope.track();
        holder_id.track();
        state.load(None);
    });
    let scope_button = move |value: GrantScope, label: &'static str| {
        view! { <button type="button" aria-pressed=move || (scope.get() == value).to_string() on:click=move |_| { holder_id.set(String::new()); scope.set(value); }>{label}</button> }
    };
    let rows = reactive_view(move || {
        let sort_key = |grant: &Value| {
            let text = |name: &str| grant[name].as_str().unwrap_or_default().to_owned();
            (text("holder_name").to_lowercase(), text("entity_code"))
        };
        let lines: Vec<_> =
            sort::sorted_by_key(grants.get(), sort_key).into_iter().map(|grant| grant_row(state, grant)).collect();
        if lines.is_empty() {
            view! { <tr><td colspan="6" class="softer">"No grants"</td></tr> }.into_any()
        } else {
            lines.into_any()
        }
    });
    view! {
        <div class="admin">
            <div class="admin-bar"><div class="segments" role="group" aria-label="Grant scope">{scope_button(GrantScope::Types, "By type")}{scope_button(GrantScope::Role, "By role")}{scope_button(GrantScope::Person, "By person")}</div><HolderSelect state=state/></div>
            {error_message(error)}
            <div class="scroll-x"><table class="plain-table"><thead><tr><th>"Person or role"</th><th>"Item"</th><th>"Permission"</th><th>"Scope"</th><th>"Expires"</th><th><span class="vh">"Revoke"</span></th></tr></thead><tbody>{rows}</tbody></table></div>
            {reactive_view(move || next.get().map(|after| view! { <button type="button" class="btn sm" on:click=move |_| state.load(Some(after.clone()))>"Load more"</button> }))}
            {reactive_view(move || (scope.get() == GrantScope::Types).then(|| view! { <TypeGrantForm state=state/> }))}
        </div>
    }
}

/// Choice of the role or person whose grants are shown.
#[component]
fn HolderSelect(state: GrantListState) -> impl IntoView {
    let list = |code: &'static str| {
        let key = catalog().get(code).map(|t| ListKey::all(t.code.clone()));
        use_entity_list_when(Memo::new(move |_| key.clone()))
    };
    let (people, roles) = (list("person"), list("role"));
    let holder_id = state.holder_id;
    reactive_view(move || {
        let (code, list) = match state.scope.get() {
            GrantScope::Types => return ().into_any(),
            GrantScope::Role => ("role", roles.get()),
            GrantScope::Person => ("person", people.get()),
        };
        let mut names: Vec<_> = list
            .ids
            .iter()
            .filter_map(|id| Some((crate::client::client().read(|e| e.name(code, *id))?, *id)))
            .collect();
        names.sort();
        let selected_id = holder_id.get();
        let options: Vec<_> = names
            .into_iter()
            .map(|(name, id)| {
                let id = id.to_string();
                view! { <option value=id.clone() selected=id == selected_id>{name}</option> }
            })
            .collect();
        view! { <select class="input" aria-label="Role or person" on:change=move |e| holder_id.set(event_target_value(&e))><option value="">"Choose…"</option>{options}</select> }.into_any()
    })
}

/// Form that grants access to all entities of a type.
#[component]
fn TypeGrantForm(state: GrantListState) -> impl IntoView {
    let kind = RwSignal::new("project".to_owned());
    let option = |(code, label): (pmo_domain::EntityCode, String)| {
        let selected = code == "project";
        view! { <option value=code.to_string() selected=selected>{label}</option> }
    };
    let options: Vec<_> = type_choices().into_iter().map(option).collect();
    view! {
        <section class="admin-box"><h2>"Grant access to all items of a type"</h2>
            <label class="field"><span>"Type"</span><select class="input" on:change=move |e| kind.set(event_target_value(&e))>{options}</select></label>
            {reactive_view(move || catalog().get(&kind.get()).map(|k| view! { <GrantForm entity=EntityRef::new(k.code.clone(), EVERY_INSTANCE) max_permission=7 on_granted=Callback::new(move |()| state.load(None)) error=state.error/> }))}
        </section>
    }
}

/// Row of one grant, with a button that revokes it.
fn grant_row(state: GrantListState, grant: Value) -> impl IntoView {
    let text = |name: &str| grant[name].as_str().unwrap_or_default().to_owned();
    let code = text("entity_code");
    let kind = catalog().get(&code).cloned();
    let label = kind.as_ref().map_or(code.clone(), |k| k.ui_label.clone());
    let entity_id = text("entity_instance_id");
    let item = if entity_id == EVERY_INSTANCE.to_string() {
        view! { <span>{format!("All {}", label.to_lowercase())}</span> }.into_any()
    } else {
        let type_name = kind.map_or(code.clone(), |k| k.name);
        let name = grant["title"]
            .as_str()
            .map_or_else(|| format!("{type_name} (no access)"), |title| format!("{type_name} “{title}”"));
        view! { <A href=format!("/{code}/{entity_id}")>{name}</A> }.into_any()
    };
    let denied = grant["is_deny"] == true;
    let level = if denied { "Denied" } else { permission_label(grant["permission"].as_u64().unwrap_or_default()) };
    let inheritance = match text("inheritance_mode").as_str() {
        "none" => "This item only",
        "mapped" => "By child type",
        _ => "Include children",
    };
    let expires = grant["expires_ts"].as_str().map(|expires| format::date(expires, true)).unwrap_or_default();
    let (id, name) = (text("id"), grant["holder_name"].as_str().unwrap_or("Unknown").to_owned());
    let holder_id = grant["person_id"].as_str().or(grant["role_id"].as_str()).unwrap_or_default().to_owned();
    let is_role = grant["role_id"].is_string();
    view! { <tr><td><span class="person">{if is_role { icon("users").into_any() } else { value_view::avatar(&holder_id, &name).into_any() }}<span>{name.clone()}</span></span></td>
    <td>{item}</td><td><span class="badge" class:danger=denied>{level}</span></td><td class="softer">{inheritance}</td><td class="softer num">{expires}</td>
    <td class="end"><button type="button" class="btn quiet icon sm" aria-label=format!("Revoke access from {name}") title="Revoke" on:click=move |_| state.revoke(&id)>{icon("x")}</button></td></tr> }
}
