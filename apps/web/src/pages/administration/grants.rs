//! Grants as they stand: on whole types, of a role, of a person; given and taken back.

use super::{error_banner, send, type_choices};
use crate::client::http::{self, Method};
use crate::hooks::{catalogue, use_entity_list_when};
use crate::pages::sharing::{GrantForm, permission_label};
use crate::ui::format;
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::{EVERY_INSTANCE, EntityRef, sort};
use pmo_sync::ListKey;
use serde_json::Value;
use wasm_bindgen_futures::spawn_local;

/// Whose grants are looked at.
#[derive(Clone, Copy, PartialEq)]
enum GrantScope {
    Types,
    Role,
    Person,
}

#[component]
pub fn Grants() -> impl IntoView {
    let (of, holder, kind) =
        (RwSignal::new(GrantScope::Types), RwSignal::new(String::new()), RwSignal::new("project".to_owned()));
    let (found, next, busy, error) =
        (RwSignal::new(Vec::<Value>::new()), RwSignal::new(None::<String>), RwSignal::new(false), RwSignal::new(None));
    let path = move |after: Option<String>| {
        let asked = match of.get() {
            GrantScope::Types => Some(String::new()),
            GrantScope::Role => Some(holder.get()).filter(|id| !id.is_empty()).map(|id| format!("role_id={id}&")),
            GrantScope::Person => Some(holder.get()).filter(|id| !id.is_empty()).map(|id| format!("person_id={id}&")),
        };
        asked.map(|asked| format!("/entity_rbac?{asked}{}", after.map(|a| format!("after={a}")).unwrap_or_default()))
    };
    let load = move |after: Option<String>| {
        let more = after.is_some();
        let Some(path) = untrack(|| path(after)) else { return found.set(Vec::new()) };
        spawn_local(async move {
            match http::request(Method::GET, &path, None, None).await {
                Ok(mut told) => {
                    let lines = told["data"].take();
                    let lines = lines.as_array().cloned().unwrap_or_default();
                    next.try_set(told["next"].as_str().map(ToOwned::to_owned));
                    found.try_update(|all| {
                        if !more {
                            all.clear();
                        }
                        all.extend(lines);
                    });
                }
                Err(message) => drop(error.try_set(Some(message))),
            }
        });
    };
    Effect::new(move || {
        of.track();
        holder.track();
        load(None);
    });
    let take =
        move |id: String| send(Method::DELETE, format!("/entity_rbac/{id}"), None, busy, error, move |_| load(None));
    let list = |code: &'static str| {
        let key = catalogue().get(code).map(|t| ListKey::all(t.code.clone()));
        use_entity_list_when(Memo::new(move |_| key.clone()))
    };
    let (people, roles) = (list("person"), list("role"));
    let holders = reactive_view(move || {
        let (code, known) = match of.get() {
            GrantScope::Types => return ().into_any(),
            GrantScope::Role => ("role", roles.get()),
            GrantScope::Person => ("person", people.get()),
        };
        let mut names: Vec<_> = known
            .ids
            .iter()
            .filter_map(|id| Some((crate::client::client().read(|e| e.name(code, *id))?, *id)))
            .collect();
        names.sort();
        let now = holder.get();
        let options: Vec<_> = names
            .into_iter()
            .map(|(name, id)| {
                let id = id.to_string();
                view! { <option value=id.clone() selected=id == now>{name}</option> }
            })
            .collect();
        view! { <select class="input" aria-label="Whose" on:change=move |e| holder.set(event_target_value(&e))><option value="">"Choose"</option>{options}</select> }.into_any()
    });
    let segment = move |which: GrantScope, words: &'static str| {
        view! { <button type="button" aria-pressed=move || (of.get() == which).to_string() on:click=move |_| { holder.set(String::new()); of.set(which); }>{words}</button> }
    };
    let line = move |grant: Value| {
        let text = |name: &str| grant[name].as_str().unwrap_or_default().to_owned();
        let code = text("entity_code");
        let kind = catalogue().get(&code).cloned();
        let label = kind.as_ref().map_or(code.clone(), |k| k.ui_label.clone());
        let thing = text("entity_instance_id");
        let what = if thing == EVERY_INSTANCE.to_string() {
            view! { <span>{format!("All {}", label.to_lowercase())}</span> }.into_any()
        } else {
            let one = kind.map_or(code.clone(), |k| k.name);
            let name = grant["title"]
                .as_str()
                .map_or_else(|| format!("{one} that you don't see"), |title| format!("{one} “{title}”"));
            view! { <A href=format!("/{code}/{thing}")>{name}</A> }.into_any()
        };
        let denied = grant["is_deny"] == true;
        let level =
            if denied { "Shut out" } else { permission_label(grant["permission"].as_u64().unwrap_or_default()) };
        let below = match text("inheritance_mode").as_str() {
            "none" => "This alone",
            "mapped" => "By type below",
            _ => "And below",
        };
        let until = grant["expires_ts"].as_str().map(|until| format::date(until, true)).unwrap_or_default();
        let (id, name) = (text("id"), grant["holder_name"].as_str().unwrap_or("Somebody").to_owned());
        let holder = grant["person_id"].as_str().or(grant["role_id"].as_str()).unwrap_or_default().to_owned();
        let is_role = grant["role_id"].is_string();
        view! { <tr><td><span class="person">{if is_role { icon("users").into_any() } else { value_view::avatar(&holder, &name).into_any() }}<span>{name.clone()}</span></span></td>
        <td>{what}</td><td><span class="badge" class:danger=denied>{level}</span></td><td class="softer">{below}</td><td class="softer num">{until}</td>
        <td class="end"><button type="button" class="btn quiet icon sm" aria-label=format!("Take back from {name}") title="Take back" on:click=move |_| take(id.clone())>{icon("x")}</button></td></tr> }
    };
    let rows = reactive_view(move || {
        let holder = |grant: &Value| {
            let text = |name: &str| grant[name].as_str().unwrap_or_default().to_owned();
            (text("holder_name").to_lowercase(), text("entity_code"))
        };
        let lines: Vec<_> = sort::sorted_by_key(found.get(), holder).into_iter().map(line).collect();
        if lines.is_empty() {
            view! { <tr><td colspan="6" class="softer">"None."</td></tr> }.into_any()
        } else {
            lines.into_any()
        }
    });
    let kinds = || {
        let one = |(code, label): (pmo_domain::EntityCode, String)| {
            let here = code == "project";
            view! { <option value=code.to_string() selected=here>{label}</option> }
        };
        type_choices().into_iter().map(one).collect::<Vec<_>>()
    };
    view! {
        <div class="admin">
            <div class="admin-bar"><div class="segments" role="group" aria-label="Whose grants">{segment(GrantScope::Types, "On whole types")}{segment(GrantScope::Role, "Of a role")}{segment(GrantScope::Person, "Of a person")}</div>{holders}</div>
            {error_banner(error)}
            <div class="scroll-x"><table class="plain-table"><thead><tr><th>"Who"</th><th>"What"</th><th>"May"</th><th>"Reach"</th><th>"Until"</th><th><span class="vh">"Take back"</span></th></tr></thead><tbody>{rows}</tbody></table></div>
            {reactive_view(move || next.get().map(|after| view! { <button type="button" class="btn sm" on:click=move |_| load(Some(after.clone()))>"More"</button> }))}
            {reactive_view(move || (of.get() == GrantScope::Types).then(|| view! {
                <section class="admin-box"><h2>"Give a right on every thing of a type"</h2>
                    <label class="field"><span>"Type"</span><select class="input" on:change=move |e| kind.set(event_target_value(&e))>{kinds()}</select></label>
                    {reactive_view(move || catalogue().get(&kind.get()).map(|k| view! { <GrantForm entity=EntityRef::new(k.code.clone(), EVERY_INSTANCE) most=7 given=Callback::new(move |()| load(None)) error=error/> }))}
                </section>
            }))}
        </div>
    }
}
