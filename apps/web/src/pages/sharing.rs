//! Sharing: the grants on an entity, all people with access, and why they have it.
//!
//! Grants are read from and written to the server directly; nothing here works offline.

use crate::client::{client, http, new_id};
use crate::hooks::{catalog, use_entity_list_when, use_presence};
use crate::ui::dialog::Dialog;
use crate::ui::format;
use crate::ui::picker::{Choice, ChoiceIcon, Picker, PickerExit};
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use pmo_domain::{EVERY_INSTANCE, EntityRef, Permission};
use pmo_sync::ListKey;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;
use wasm_bindgen_futures::spawn_local;

/// Permission levels with their labels.
const LEVELS: [(Permission, &str); 8] = [
    (Permission::View, "Can view"),
    (Permission::Comment, "Can comment"),
    (Permission::Contribute, "Can log work"),
    (Permission::Edit, "Can edit"),
    (Permission::Share, "Can edit and share"),
    (Permission::Delete, "Can delete"),
    (Permission::Create, "Can create children"),
    (Permission::Owner, "Owner"),
];

/// Returns the label of a permission level; "No access" for any other value.
pub(crate) fn permission_label(level: u64) -> &'static str {
    LEVELS.iter().find(|(l, _)| u64::from(u8::from(*l)) == level).map_or("No access", |(_, words)| words)
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Grant {
    id: Uuid,
    #[serde(default)]
    person_id: Option<Uuid>,
    #[serde(default)]
    role_id: Option<Uuid>,
    permission: u64,
    #[serde(default)]
    inheritance_mode: Option<String>,
    #[serde(default)]
    is_deny: bool,
    #[serde(default)]
    expires_ts: Option<String>,
    #[serde(default)]
    holder_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Access {
    permission: u64,
    #[serde(default)]
    grants: Vec<Grant>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Viewer {
    id: Uuid,
    name: String,
    #[serde(default)]
    permission: Option<u64>,
}

fn parse_response<T: serde::de::DeserializeOwned>(response: Value) -> Result<T, String> {
    serde_json::from_value(response).map_err(|e| e.to_string())
}

/// Avatars of the other users who have this entity open.
#[component]
pub(crate) fn PresenceAvatars(
    /// Entity that is open.
    entity: EntityRef,
) -> impl IntoView {
    let others = use_presence(entity);
    reactive_view(move || {
        let others = others.get();
        let names = others.iter().map(|user| user.name.as_str()).collect::<Vec<_>>().join(", ");
        let avatars: Vec<_> =
            others.iter().take(4).map(|user| value_view::avatar(&user.person_id.to_string(), &user.name)).collect();
        let hidden = others.len().saturating_sub(4);
        (!others.is_empty()).then(|| {
            let label = format!("Viewing now: {names}");
            view! { <span class="avatars" role="group" aria-label=label.clone() title=label data-testid="here-now">{avatars}{(hidden > 0).then(|| view! { <span class="avatar" aria-hidden="true">{format!("+{hidden}")}</span> })}</span> }
        })
    })
}

/// Share dialog: the user's own permission, the direct grants and all people with access.
#[component]
pub(crate) fn SharingDialog(
    /// Entity that is shared.
    entity: EntityRef,
    /// Name of the entity.
    title: String,
    /// Whether the dialog is open.
    open: RwSignal<bool>,
) -> impl IntoView {
    let (access, viewers) = (RwSignal::new(None::<Access>), RwSignal::new(Vec::<Viewer>::new()));
    let (truncated, error) = (RwSignal::new(false), RwSignal::new(None::<String>));
    let explaining = RwSignal::new(None::<(Uuid, String)>);
    let path = StoredValue::new(format!("/{}/{}", entity.code, entity.id));
    let load = move || {
        // Also called after a response, when the dialog may already be closed.
        let Some(path) = path.try_get_value() else { return };
        spawn_local(async move {
            match http::request(http::Method::GET, &format!("{path}/access"), None, None)
                .await
                .and_then(parse_response::<Access>)
            {
                Ok(result) => access.set(Some(result)),
                Err(message) => return error.set(Some(message)),
            }
            if let Ok(response) = http::request(http::Method::GET, &format!("{path}/audience"), None, None).await {
                truncated.set(response["more"] == Value::Bool(true));
                if let Ok(people) = parse_response(response["data"].clone()) {
                    viewers.set(people);
                }
            }
        });
    };
    load();
    let close = Callback::new(move |()| open.set(false));
    let level = Memo::new(move |_| access.with(|a| a.as_ref().map_or(0, |a| a.permission)));
    let can_share = Memo::new(move |_| level.get() >= u64::from(u8::from(Permission::Share)));
    let revoke = move |id: Uuid| {
        spawn_local(async move {
            match http::request(http::Method::DELETE, &format!("/entity_rbac/{id}"), None, Some(&new_id().to_string()))
                .await
            {
                Ok(_) => {
                    error.set(None);
                    load();
                }
                Err(message) => error.set(Some(message)),
            }
        });
    };
    let grants = reactive_view(move || {
        let grants = access.with(|a| a.as_ref().map(|a| a.grants.clone()).unwrap_or_default());
        let grant_item = |grant: Grant| {
            let name = grant.holder_name.clone().unwrap_or_else(|| "Unknown".to_owned());
            let mut notes = Vec::new();
            if grant.role_id.is_some() {
                notes.push("Role".to_owned());
            }
            if grant.inheritance_mode.as_deref() == Some("none") {
                notes.push("This item only".to_owned());
            }
            if let Some(expires) = &grant.expires_ts {
                notes.push(format!("Expires {}", format::date(expires, true)));
            }
            let label = if grant.is_deny { "Denied" } else { permission_label(grant.permission) };
            let id = grant.id;
            let holder_id = grant.person_id.or(grant.role_id).map(|id| id.to_string()).unwrap_or_default();
            view! { <li>{value_view::avatar(&holder_id, &name)}<span class="grow"><strong>{name.clone()}</strong><span class="meta">{notes.join(" · ")}</span></span>
            <span class="badge" class:danger=grant.is_deny>{label}</span>
            <button class="btn quiet icon sm" aria-label=format!("Revoke access from {name}") title="Revoke" on:click=move |_| revoke(id)>{icon("x")}</button></li> }
        };
        let none = can_share.get() && grants.is_empty() && access.with(Option::is_some);
        let none = none.then(
            || view! { <li class="softer">"No direct grants. Access is inherited from a parent or a role."</li> },
        );
        view! { {grants.into_iter().map(grant_item).collect::<Vec<_>>()}{none} }
    });
    let viewer_list = reactive_view(move || {
        let viewer_item = |viewer: Viewer| {
            let (id, name) = (viewer.id, viewer.name.clone());
            let explain = move |_| explaining.set(Some((id, name.clone())));
            let explain_button =
                can_share.get().then(|| view! { <button class="btn quiet sm" on:click=explain>"Why?"</button> });
            view! { <li>{value_view::avatar(&id.to_string(), &viewer.name)}<span class="grow">{viewer.name.clone()}</span>
            {viewer.permission.map(|level| view! { <span class="badge">{permission_label(level)}</span> })}{explain_button}</li> }
        };
        viewers.get().into_iter().map(viewer_item).collect::<Vec<_>>()
    });
    let own_id = client().read(pmo_sync::Engine::person).map(|p| p.0);
    let stored_entity = StoredValue::new(entity);
    view! {
        <Dialog title=format!("Share “{title}”") close=close class="sharing">
            <div class="body">
                {reactive_view(move || error.get().map(|message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> }))}
                {reactive_view(move || can_share.get().then(|| view! { <GrantForm entity=stored_entity.get_value() max_permission=level.get_untracked() on_granted=Callback::new(move |()| load()) error=error/> }))}
                {reactive_view(move || access.with(Option::is_some).then(|| view! { <p class="softer">"You: "<strong>{permission_label(level.get())}</strong>
                    {own_id.map(|own_id| view! { <button class="btn quiet sm" on:click=move |_| explaining.set(Some((own_id, "You".to_owned())))>"Why?"</button> })}</p> }))}
                {reactive_view(move || can_share.get().then(|| view! { <h3>"Direct access"</h3> }))}
                <ul class="rows tray">{grants}</ul>
                {reactive_view(move || viewers.with(|s| !s.is_empty()).then(|| view! { <h3>"Everyone with access"</h3> }))}
                <ul class="rows tray">{viewer_list}</ul>
                {reactive_view(move || truncated.get().then(|| view! { <p class="softer">"Only the first 200 people are shown."</p> }))}
                {reactive_view(move || (access.with(Option::is_none) && error.with(Option::is_none)).then(|| view! { <div class="skeletons" aria-busy="true"><span class="skeleton"></span><span class="skeleton"></span></div> }))}
            </div>
        </Dialog>
        {reactive_view(move || explaining.get().map(|(person, name)| view! { <ExplainAccessDialog entity=stored_entity.get_value() person=person name=name explaining=explaining/> }))}
    }
}

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
                Err(message) => error.set(Some(message)),
            }
            busy.set(false);
        });
    };
    let display = move || holder.get().map_or_else(|| "Choose a person or a role".to_owned(), |(_, label)| label);
    view! {
        <form class="give" on:submit=submit aria-label="Grant access">
            <button type="button" class="input picked" id="give-to" aria-haspopup="listbox" on:click=move |_| picking.set(true)><span class="grow">{reactive_view(display)}</span><i class="i i-chevron-down sm" aria-hidden="true"></i></button>
            <select class="input" aria-label="Permission" on:change=move |e| level.set(event_target_value(&e).parse().unwrap_or_default())>{options}</select>
            <label class="check"><input type="checkbox" class="i-check" checked=include_by_default on:change=move |e| include_children.set(event_target_checked(&e))/>"Include children"</label>
            <label class="until">"Expires"<input class="input" type="date" aria-label="Expires (optional)" on:input=move |e| expires.set(event_target_value(&e))/></label>
            <button class="btn primary" disabled=reactive_attr(move || busy.get() || holder.with(Option::is_none))>"Share"</button>
            {reactive_view(move || picking.get().then(|| view! { <Picker label="Person or role" choices=choices chosen=Signal::derive(Vec::new) beside="give-to" pick=pick close=Callback::new(move |_: PickerExit| picking.set(false))/> }))}
        </form>
    }
}

/// Dialog that explains the access of a person: each grant that applies, with its path.
#[component]
fn ExplainAccessDialog(
    entity: EntityRef,
    person: Uuid,
    name: String,
    explaining: RwSignal<Option<(Uuid, String)>>,
) -> impl IntoView {
    let (response, error) = (RwSignal::new(None::<Value>), RwSignal::new(None::<String>));
    let path = format!("/{}/{}/access/why?person_id={person}", entity.code, entity.id);
    spawn_local(async move {
        match http::request(http::Method::GET, &path, None, None).await {
            Ok(result) => response.set(Some(result)),
            Err(message) => error.set(Some(message)),
        }
    });
    let close = Callback::new(move |()| explaining.set(None));
    let reason = |reason: &Value| {
        let level = reason["permission"].as_u64().unwrap_or_default();
        let deny = reason["is_deny"] == Value::Bool(true);
        let source = match reason["role_name"].as_str() {
            Some(role) => format!("Through role {role}"),
            None => "Direct".to_owned(),
        };
        let titles: Vec<String> = reason["way"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|step| {
                let kind = step["entity"].as_str().unwrap_or_default();
                let kind = catalog().get(kind).map_or_else(|| kind.to_owned(), |t| t.name.clone());
                step["title"]
                    .as_str()
                    .map_or_else(|| format!("{kind} (no access)"), |title| format!("{kind} “{title}”"))
            })
            .collect();
        let target = if reason["on_every"] == Value::Bool(true) {
            "on all items of the type".to_owned()
        } else {
            format!("on {}", titles.join(" → "))
        };
        let expires = reason["expires_ts"]
            .as_str()
            .map(|expires| format!(", expires {}", format::date(expires, true)))
            .unwrap_or_default();
        let effective = reason["worth"]
            .as_u64()
            .filter(|effective| *effective != level && !deny)
            .map(|effective| format!("; effective here: {}", permission_label(effective).to_lowercase()));
        view! { <li class="stacked"><strong>{if deny { "Denied" } else { permission_label(level) }}</strong><span class="meta">{format!("{source}, {target}{expires}{}", effective.unwrap_or_default())}</span></li> }
    };
    let body = reactive_view(move || match response.get() {
        Some(result) => {
            let reasons: Vec<_> = result["reasons"].as_array().into_iter().flatten().map(reason).collect();
            let level = result["permission"].as_u64().map_or("No access", permission_label);
            let no_reasons = reasons.is_empty();
            view! { <p>"Effective permission: "<strong>{level}</strong></p><ul class="rows tray">{reasons}</ul>{no_reasons.then(|| view! { <p class="softer">"No matching grants"</p> })} }.into_any()
        }
        None => error.get().map_or_else(
            || view! { <span class="skeleton"></span> }.into_any(),
            |message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> }.into_any(),
        ),
    });
    view! { <Dialog title=format!("Why {}", if name == "You" { "you have access".to_owned() } else { format!("{name} has access") }) lead="Each grant that applies, and the path along which it is inherited. The highest permission counts, unless access is denied." close=close><div class="body">{body}</div></Dialog> }
}
