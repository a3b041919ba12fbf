//! Who may do what with a thing, and why: the grants on it, everybody who sees it by whatever way, and giving and taking access. All of it is the server's word.

use crate::client::{client, http, new_id};
use crate::hooks::{catalogue, use_entity_list_when, use_presence};
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

/// The levels, what each is called here.
const LEVELS: [(Permission, &str); 8] = [
    (Permission::View, "May look"),
    (Permission::Comment, "May comment"),
    (Permission::Contribute, "May log work"),
    (Permission::Edit, "May edit"),
    (Permission::Share, "May edit and share"),
    (Permission::Delete, "May delete"),
    (Permission::Create, "May create below"),
    (Permission::Owner, "Owner"),
];

/// A level in words.
pub fn permission_label(level: u64) -> &'static str {
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

fn parse_response<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, String> {
    serde_json::from_value(answer).map_err(|e| e.to_string())
}

/// Who else has this thing open now.
#[component]
pub(crate) fn PresenceAvatars(
    /// The thing.
    entity: EntityRef,
) -> impl IntoView {
    let others = use_presence(entity);
    reactive_view(move || {
        let others = others.get();
        let names = others.iter().map(|here| here.name.as_str()).collect::<Vec<_>>().join(", ");
        let signs: Vec<_> =
            others.iter().take(4).map(|here| value_view::avatar(&here.person_id.to_string(), &here.name)).collect();
        let more = others.len().saturating_sub(4);
        (!others.is_empty()).then(|| {
            let label = format!("Here now: {names}");
            view! { <span class="avatars" role="group" aria-label=label.clone() title=label data-testid="here-now">{signs}{(more > 0).then(|| view! { <span class="avatar" aria-hidden="true">{format!("+{more}")}</span> })}</span> }
        })
    })
}

/// The dialog about who may do what.
#[component]
pub fn SharingDialog(
    /// The thing.
    entity: EntityRef,
    /// What it is called.
    title: String,
    /// Whether it is open.
    open: RwSignal<bool>,
) -> impl IntoView {
    let (access, seers) = (RwSignal::new(None::<Access>), RwSignal::new(Vec::<Viewer>::new()));
    let (more, error) = (RwSignal::new(false), RwSignal::new(None::<String>));
    let asking = RwSignal::new(None::<(Uuid, String)>);
    let path = StoredValue::new(format!("/{}/{}", entity.code, entity.id));
    let load = move || {
        // Called after an answer as well, when the dialog may be gone.
        let Some(path) = path.try_get_value() else { return };
        spawn_local(async move {
            match http::request(http::Method::GET, &format!("{path}/access"), None, None)
                .await
                .and_then(parse_response::<Access>)
            {
                Ok(told) => access.set(Some(told)),
                Err(message) => return error.set(Some(message)),
            }
            if let Ok(answer) = http::request(http::Method::GET, &format!("{path}/audience"), None, None).await {
                more.set(answer["more"] == Value::Bool(true));
                if let Ok(told) = parse_response(answer["data"].clone()) {
                    seers.set(told);
                }
            }
        });
    };
    load();
    let close = Callback::new(move |()| open.set(false));
    let level = Memo::new(move |_| access.with(|a| a.as_ref().map_or(0, |a| a.permission)));
    let may_share = Memo::new(move |_| level.get() >= u64::from(u8::from(Permission::Share)));
    let take = move |id: Uuid| {
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
        let line = |grant: Grant| {
            let name = grant.holder_name.clone().unwrap_or_else(|| "Somebody".to_owned());
            let mut notes = Vec::new();
            if grant.role_id.is_some() {
                notes.push("Role".to_owned());
            }
            if grant.inheritance_mode.as_deref() == Some("none") {
                notes.push("this alone, not what is below".to_owned());
            }
            if let Some(until) = &grant.expires_ts {
                notes.push(format!("until {}", format::date(until, true)));
            }
            let words = if grant.is_deny { "Shut out" } else { permission_label(grant.permission) };
            let id = grant.id;
            let holder = grant.person_id.or(grant.role_id).map(|id| id.to_string()).unwrap_or_default();
            view! { <li>{value_view::avatar(&holder, &name)}<span class="grow"><strong>{name.clone()}</strong><span class="meta">{notes.join(" · ")}</span></span>
            <span class="badge" class:danger=grant.is_deny>{words}</span>
            <button class="btn quiet icon sm" aria-label=format!("Take back from {name}") title="Take back" on:click=move |_| take(id)>{icon("x")}</button></li> }
        };
        let none = may_share.get() && grants.is_empty() && access.with(Option::is_some);
        let none = none.then(
            || view! { <li class="softer">"Nobody. Whoever sees it does so by what is above it, or by a role."</li> },
        );
        view! { {grants.into_iter().map(line).collect::<Vec<_>>()}{none} }
    });
    let everybody = reactive_view(move || {
        let line = |seer: Viewer| {
            let (id, name) = (seer.id, seer.name.clone());
            let ask = move |_| asking.set(Some((id, name.clone())));
            let why = may_share.get().then(|| view! { <button class="btn quiet sm" on:click=ask>"Why?"</button> });
            view! { <li>{value_view::avatar(&id.to_string(), &seer.name)}<span class="grow">{seer.name.clone()}</span>
            {seer.permission.map(|level| view! { <span class="badge">{permission_label(level)}</span> })}{why}</li> }
        };
        seers.get().into_iter().map(line).collect::<Vec<_>>()
    });
    let me = client().read(pmo_sync::Engine::person).map(|p| p.0);
    let shared = StoredValue::new(entity);
    view! {
        <Dialog title=format!("Who may see “{title}”") close=close class="sharing">
            <div class="body">
                {reactive_view(move || error.get().map(|message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> }))}
                {reactive_view(move || may_share.get().then(|| view! { <GrantForm entity=shared.get_value() most=level.get_untracked() given=Callback::new(move |()| load()) error=error/> }))}
                {reactive_view(move || access.with(Option::is_some).then(|| view! { <p class="softer">"You: "<strong>{permission_label(level.get())}</strong>
                    {me.map(|me| view! { <button class="btn quiet sm" on:click=move |_| asking.set(Some((me, "You".to_owned())))>"Why?"</button> })}</p> }))}
                {reactive_view(move || may_share.get().then(|| view! { <h3>"Given here"</h3> }))}
                <ul class="rows tray">{grants}</ul>
                {reactive_view(move || seers.with(|s| !s.is_empty()).then(|| view! { <h3>"Everybody who sees it"</h3> }))}
                <ul class="rows tray">{everybody}</ul>
                {reactive_view(move || more.get().then(|| view! { <p class="softer">"And more: only the first 200 are told here."</p> }))}
                {reactive_view(move || (access.with(Option::is_none) && error.with(Option::is_none)).then(|| view! { <div class="skeletons" aria-busy="true"><span class="skeleton"></span><span class="skeleton"></span></div> }))}
            </div>
        </Dialog>
        {reactive_view(move || asking.get().map(|(person, name)| view! { <ExplainAccessDialog entity=shared.get_value() person=person name=name asking=asking/> }))}
    }
}

/// Gives access to a person or a role.
#[component]
pub(crate) fn GrantForm(
    /// On what.
    entity: EntityRef,
    /// The highest level that can be given.
    most: u64,
    /// Told when it is given.
    given: Callback<()>,
    /// Why it was not.
    error: RwSignal<Option<String>>,
) -> impl IntoView {
    let (picking, busy) = (RwSignal::new(false), RwSignal::new(false));
    let holder = RwSignal::new(None::<(String, String)>);
    // On every thing of a type what is below is most of what there is: that is asked for, not assumed.
    let downward = entity.id != EVERY_INSTANCE;
    let (level, below, until) =
        (RwSignal::new(u64::from(u8::from(Permission::View))), RwSignal::new(downward), RwSignal::new(String::new()));
    // People and roles whom this person may see.
    let list = |code: &'static str| {
        let key = catalogue().get(code).map(|t| ListKey::all(t.code.clone()));
        use_entity_list_when(Memo::new(move |_| key.clone()))
    };
    let (people, roles) = (list("person"), list("role"));
    let choices = Signal::derive(move || {
        let named = |list: Memo<pmo_sync::ListView>, code: &'static str| {
            let loaded = list.with(|l| l.loaded.then(|| l.ids.clone()));
            client().read(|e| match loaded {
                Some(ids) => ids.iter().filter_map(|id| Some((*id, e.name(code, *id)?))).collect::<Vec<_>>(),
                None => e.known_names(code),
            })
        };
        let one = |code: &'static str, sign: ChoiceIcon| {
            move |(id, label): (Uuid, String)| Choice { value: format!("{code}:{id}"), label, sign: sign.clone() }
        };
        let mut all: Vec<Choice> = named(people, "person").into_iter().map(one("person", ChoiceIcon::Person)).collect();
        all.extend(named(roles, "role").into_iter().map(one("role", ChoiceIcon::Icon("users".to_owned()))));
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
        .filter(|(l, _)| u64::from(u8::from(*l)) <= most)
        .map(|(l, words)| view! { <option value=u8::from(*l).to_string()>{*words}</option> })
        .collect();
    let give = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let Some((code, id)) =
            holder.get_untracked().and_then(|(v, _)| v.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())))
        else {
            return;
        };
        let mut body = json!({
            "entity_code": entity.code, "entity_instance_id": entity.id, "permission": level.get_untracked(),
            "inheritance_mode": if below.get_untracked() { "cascade" } else { "none" },
        });
        body[format!("{code}_id")] = json!(id);
        let day = until.get_untracked();
        if !day.is_empty() {
            // To the end of that day, where whoever gives it is.
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
                    given.try_run(());
                }
                Err(message) => error.set(Some(message)),
            }
            busy.set(false);
        });
    };
    let shown = move || holder.get().map_or_else(|| "Choose a person or a role".to_owned(), |(_, label)| label);
    view! {
        <form class="give" on:submit=give aria-label="Give access">
            <button type="button" class="input picked" id="give-to" aria-haspopup="listbox" on:click=move |_| picking.set(true)><span class="grow">{reactive_view(shown)}</span><i class="i i-chevron-down sm" aria-hidden="true"></i></button>
            <select class="input" aria-label="What they may do" on:change=move |e| level.set(event_target_value(&e).parse().unwrap_or_default())>{options}</select>
            <label class="check"><input type="checkbox" class="i-check" checked=downward on:change=move |e| below.set(event_target_checked(&e))/>"And what is below it"</label>
            <label class="until">"Until"<input class="input" type="date" aria-label="Until, if not for good" on:input=move |e| until.set(event_target_value(&e))/></label>
            <button class="btn primary" disabled=reactive_attr(move || busy.get() || holder.with(Option::is_none))>"Share"</button>
            {reactive_view(move || picking.get().then(|| view! { <Picker label="Person or role" choices=choices chosen=Signal::derive(Vec::new) beside="give-to" pick=pick close=Callback::new(move |_: PickerExit| picking.set(false))/> }))}
        </form>
    }
}

/// Every grant by which somebody sees a thing, and the way that it comes down.
#[component]
fn ExplainAccessDialog(
    entity: EntityRef,
    person: Uuid,
    name: String,
    asking: RwSignal<Option<(Uuid, String)>>,
) -> impl IntoView {
    let (answer, error) = (RwSignal::new(None::<Value>), RwSignal::new(None::<String>));
    let path = format!("/{}/{}/access/why?person_id={person}", entity.code, entity.id);
    spawn_local(async move {
        match http::request(http::Method::GET, &path, None, None).await {
            Ok(told) => answer.set(Some(told)),
            Err(message) => error.set(Some(message)),
        }
    });
    let close = Callback::new(move |()| asking.set(None));
    let reason = |reason: &Value| {
        let level = reason["permission"].as_u64().unwrap_or_default();
        let deny = reason["is_deny"] == Value::Bool(true);
        let by = match reason["role_name"].as_str() {
            Some(role) => format!("Through the role {role}"),
            None => "Given in person".to_owned(),
        };
        let way: Vec<String> = reason["way"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|step| {
                let kind = step["entity"].as_str().unwrap_or_default();
                let kind = catalogue().get(kind).map_or_else(|| kind.to_owned(), |t| t.name.clone());
                step["title"]
                    .as_str()
                    .map_or_else(|| format!("{kind} that you don't see"), |title| format!("{kind} “{title}”"))
            })
            .collect();
        let on = if reason["on_every"] == Value::Bool(true) {
            "for every one of the type".to_owned()
        } else {
            format!("on {}", way.join(" → "))
        };
        let until = reason["expires_ts"]
            .as_str()
            .map(|until| format!(", until {}", format::date(until, true)))
            .unwrap_or_default();
        let worth = reason["worth"]
            .as_u64()
            .filter(|worth| *worth != level && !deny)
            .map(|worth| format!("; here it is worth: {}", permission_label(worth).to_lowercase()));
        view! { <li class="stacked"><strong>{if deny { "Shut out" } else { permission_label(level) }}</strong><span class="meta">{format!("{by}, {on}{until}{}", worth.unwrap_or_default())}</span></li> }
    };
    let body = reactive_view(move || match answer.get() {
        Some(told) => {
            let reasons: Vec<_> = told["reasons"].as_array().into_iter().flatten().map(reason).collect();
            let level = told["permission"].as_u64().map_or("No access", permission_label);
            let none = reasons.is_empty();
            view! { <p>"All in all: "<strong>{level}</strong></p><ul class="rows tray">{reasons}</ul>{none.then(|| view! { <p class="softer">"No grant reaches it."</p> })} }.into_any()
        }
        None => error.get().map_or_else(
            || view! { <span class="skeleton"></span> }.into_any(),
            |message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> }.into_any(),
        ),
    });
    view! { <Dialog title=format!("Why {}", if name == "You" { "you see it".to_owned() } else { format!("{name} sees it") }) lead="Each grant that reaches it, and the way by which it comes down. The highest counts, unless somebody is shut out." close=close><div class="body">{body}</div></Dialog> }
}
