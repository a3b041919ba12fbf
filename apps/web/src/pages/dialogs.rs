//! Dialogs that make things: a new one, one that is there already put into a list, a plan from a file.

use crate::client::{client, network, new_id};
use crate::hooks::{catalogue, one, use_entity_codes, use_entity_list, use_entity_mutation};
use crate::ui::cell::icon;
use crate::ui::dialog::Dialog;
use crate::ui::field::{Field, Form};
use crate::ui::live::{follow, live};
use crate::ui::shell::{Strips, SyncMark};
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::components::A;
use leptos_router::hooks::{use_location, use_navigate};
use pmo_domain::{Column, ColumnKind, EntityCode, EntityRef, Row};
use pmo_sync::ListKey;
use serde_json::{Value, json};
use uuid::Uuid;
use wasm_bindgen_futures::spawn_local;

/// Names that are offered at once.
const MOST_OFFERED: usize = 8;

/// Hangs what is there already below a thing, where links alone say what hangs there. Works offline with every name that this device knows.
#[component]
pub fn LinkDialog(
    /// The thing above.
    parent: EntityRef,
    /// The type below.
    child: EntityCode,
    /// What hangs there.
    list: ListKey,
    /// Whether it is open.
    open: RwSignal<bool>,
) -> impl IntoView {
    let entity = catalogue().get(child.as_str()).cloned();
    let name = entity.map_or_else(|| child.to_string(), |e| e.one());
    let words = RwSignal::new(String::new());
    let present = use_entity_list(list);
    // Everything of the type is looked at meanwhile, so that there is something to choose from.
    let all = use_entity_list(ListKey::all(child.clone()));
    let offered = live(move || {
        all.track();
        let (wanted, here) = (words.get().to_lowercase(), present.get().ids);
        let known = client().read(|e| e.known_names(child.as_str()));
        let fits = |(id, name): &(Uuid, String)| !here.contains(id) && name.to_lowercase().contains(&wanted);
        let found: Vec<_> = known.into_iter().filter(fits).take(MOST_OFFERED).collect();
        if found.is_empty() {
            return view! { <p class="softer">"Nothing of that name is known here."</p> }.into_any();
        }
        let lines: Vec<_> = found
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
        view! { <ul class="rows tray">{lines}</ul> }.into_any()
    });
    view! {
        <Dialog title=format!("Add {name}") lead="It stays where it is as well." close=Callback::new(move |()| open.set(false))>
            <div class="body new-form">
                <label class="field"><span class="vh">"Name"</span><span class="input">{icon("search")}<input type="search" placeholder="Type a name" autofocus on:input=move |e| words.set(event_target_value(&e))/></span></label>
                {offered}
            </div>
        </Dialog>
    }
}

/// Makes a thing: by its name, and by as much more as one likes to say at once.
#[component]
pub fn NewDialog(
    /// The type.
    code: EntityCode,
    /// The thing above it and the column that names that.
    parent: Option<(EntityRef, String)>,
    /// Whether it is open.
    open: RwSignal<bool>,
    /// More values of the new thing.
    #[prop(optional)]
    more: Option<Row>,
    /// Hears which it is.
    #[prop(optional)]
    made: Option<RwSignal<Option<Uuid>>>,
) -> impl IntoView {
    let entity = catalogue().get(code.as_str()).cloned();
    let title = entity.as_ref().map_or_else(|| "New".to_owned(), |e| format!("New {}", e.name.to_lowercase()));
    let close = Callback::new(move |()| open.set(false));
    let (opens, navigate) = (parent.is_none(), use_navigate());
    let address = code.clone();
    let done = Callback::new(move |id: Uuid| {
        open.set(false);
        if let Some(made) = made {
            made.set(Some(id));
        }
        if opens {
            navigate(&format!("/{address}/{id}"), NavigateOptions::default());
        }
    });
    view! { <Dialog title=title close=close><NewForm code=code parent=parent more=more.unwrap_or_default() all=false done=done give_up=close/></Dialog> }
}

/// The same as a page of its own, with every field: `/risk/new`.
#[component]
pub fn NewPage(
    /// The type.
    code: EntityCode,
) -> impl IntoView {
    let codes = use_entity_codes();
    let navigate = use_navigate();
    let (there, back) = (navigate.clone(), format!("/{code}"));
    let of = code.clone();
    let done = Callback::new(move |id: Uuid| there(&format!("/{of}/{id}"), NavigateOptions::default()));
    let give_up = Callback::new({
        let back = back.clone();
        move |()| navigate(&back, NavigateOptions::default())
    });
    live(move || {
        let Some(kind) = codes.get().get(code.as_str()).cloned() else { return ().into_any() };
        view! {
            <header class="topbar"><nav class="crumbs" aria-label="Breadcrumb"><ol><li><A href=back.clone()>{kind.ui_label.clone()}</A></li>
                <li>{icon("chevron-right")}<h1 aria-current="page">{format!("New {}", kind.name.to_lowercase())}</h1></li></ol></nav><SyncMark compact=true/></header>
            <Strips/>
            <div class="content"><div class="new-page"><NewForm code=code.clone() parent=None more=Row::new() all=true done=done give_up=give_up/></div></div>
        }
        .into_any()
    })
}

/// The thing whose page is open, or the things above that: where something new most likely belongs.
fn where_one_stands(path: &str, of: &str) -> Option<Uuid> {
    let mut parts = path.trim_matches('/').split('/');
    let here = EntityRef::new(EntityCode::new(parts.next()?).ok()?, parts.next()?.parse().ok()?);
    if here.code == of {
        return Some(here.id);
    }
    let row = client().read(|e| e.row(&here))?;
    let catalogue = catalogue();
    let columns = &catalogue.get(here.code.as_str())?.columns;
    let names = |c: &&Column| matches!(&c.kind, ColumnKind::Reference { entity } if entity == of);
    columns.iter().filter(names).find_map(|c| row.data.get(&c.name)?.as_str()?.parse().ok())
}

/// The fields of a thing that is being made.
#[component]
fn NewForm(
    code: EntityCode,
    parent: Option<(EntityRef, String)>,
    more: Row,
    /// Every field, not only what is needed.
    all: bool,
    done: Callback<Uuid>,
    give_up: Callback<()>,
) -> impl IntoView {
    let catalogue = catalogue();
    let entity = catalogue.get(code.as_str()).cloned();
    let mut first = more;
    // What it hangs below, where nobody has said: asked for, and taken from where one stands.
    let owner = catalogue.parents_of(code.as_str()).find(|(above, tie)| {
        let asked = tie.owned && tie.column.is_some() && tie.code_column.is_none() && above.code != code;
        asked
            && parent.is_none()
            && entity.as_ref().is_some_and(|e| {
                !e.root_flag || e.column(tie.column.as_deref().unwrap_or_default()).is_some_and(|c| c.required)
            })
    });
    let owner_column = owner.and_then(|(above, tie)| {
        let column = tie.column.clone()?;
        let path = use_location().pathname.get_untracked();
        if let (None, Some(id)) = (first.get(&column), where_one_stands(&path, above.code.as_str())) {
            first.insert(column.clone(), json!(id));
        }
        Some(column)
    });
    let needs = |c: &Column| c.required || (Some(&c.name) == owner_column.as_ref());
    let named = entity.as_ref().and_then(|e| e.column("name")).is_none_or(|c| !c.hidden);
    let fixed = parent.as_ref().map(|(_, column)| column.clone());
    let fields: Vec<Column> = entity
        .iter()
        .flat_map(|e| e.columns.clone())
        .filter(|c| c.name != "name" && Some(&c.name) != fixed.as_ref() && !c.read_only)
        .filter(|c| needs(c) || !c.hidden && !matches!(c.kind, ColumnKind::Json | ColumnKind::Uuid | ColumnKind::Texts))
        .collect();
    let (needed, others): (Vec<Column>, Vec<Column>) = fields.into_iter().partition(needs);
    let required: Vec<String> =
        needed.iter().filter(|c| c.required).map(|c| c.name.clone()).chain(named.then(|| "name".to_owned())).collect();
    let values = RwSignal::new(first);
    let within = parent.clone();
    let form = Form::of(move || {
        let mut row = values.get();
        row.extend(within.iter().flat_map(|(parent, column)| one(column, json!(parent.id))));
        row
    });
    let complete = Memo::new(move |_| {
        let said = |v: &Row, name: &String| {
            v.get(name).is_some_and(|x| !x.is_null() && x.as_str().is_none_or(|s| !s.trim().is_empty()))
        };
        form.wrong.with(Vec::is_empty) && values.with(|v| required.iter().all(|name| said(v, name)))
    });
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if !complete.get_untracked() {
            return;
        }
        let mut row = values.get_untracked();
        row.retain(|_, value| !value.is_null());
        if let Some((parent, column)) = &parent {
            row.insert(column.clone(), json!(parent.id));
        }
        done.run(use_entity_mutation(code.clone()).create(row));
    };
    let field = move |column: Column| {
        let name = StoredValue::new(column.name.clone());
        let value = Signal::derive(move || values.with(|v| v.get(&name.get_value()).cloned().unwrap_or(Value::Null)));
        let change = Callback::new(move |value: Value| values.update(|v| v.extend(one(&name.get_value(), value))));
        view! { <Field column=column value=value changed=false enabled=true change=change/> }
    };
    let showing = RwSignal::new(all);
    let some = !others.is_empty();
    let others = StoredValue::new(others);
    let needed = needed.into_iter().map(field).collect_view();
    let focus = NodeRef::<leptos::html::Input>::new();
    Effect::new(move || {
        if let Some(input) = focus.get() {
            let _ = input.focus();
        }
    });
    view! {
        <form class="body new-form" on:submit=submit>
            {named.then(|| view! { <div class="field"><label for="new-name">"Name"</label><span class="input"><input id="new-name" node_ref=focus maxlength="500" autocomplete="off"
                on:input=move |e| values.update(|v| v.extend(one("name", json!(event_target_value(&e)))))/></span></div> })}
            {needed}
            {live(move || showing.get().then(|| view! { <div class="form more-fields">{others.get_value().into_iter().map(field).collect_view()}</div> }))}
            <footer class="buttons">{live(move || (some && !showing.get()).then(|| view! { <button type="button" class="btn quiet first" on:click=move |_| showing.set(true)>"More fields"</button> }))}
                <button type="button" class="btn quiet" on:click=move |_| give_up.run(())>"Cancel"</button>
                <button class="btn primary" disabled=follow(move || !complete.get())>"Create"</button></footer>
        </form>
    }
}

/// Imports a plan from a file, and says what was taken and what was not.
#[component]
pub fn ImportDialog(
    /// Whether it is open.
    open: RwSignal<bool>,
) -> impl IntoView {
    let (busy, error, done) = (RwSignal::new(false), RwSignal::new(None::<String>), RwSignal::new(None::<Value>));
    let close = Callback::new(move |()| open.set(false));
    let chosen = move |event: leptos::ev::Event| {
        let input = event_target::<web_sys::HtmlInputElement>(&event);
        let Some(file) = input.files().and_then(|files| files.get(0)) else { return };
        busy.set(true);
        error.set(None);
        spawn_local(async move {
            match network::import_plan(file, &new_id().to_string()).await {
                Ok(answer) => done.set(Some(answer)),
                Err(message) => error.set(Some(message)),
            }
            busy.set(false);
        });
    };
    let report = move |answer: Value| {
        let project = answer.get("project").cloned().unwrap_or_default();
        let text = |v: &Value, key: &str| v.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let address = format!("/project/{}", text(&project, "id"));
        let taken = answer["report"]["taken"].clone();
        let count = |key: &str| taken.get(key).and_then(Value::as_u64).unwrap_or_default();
        let left: Vec<_> = answer["report"]["left_out"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|l| view! { <li class="stacked"><strong>{format!("{} × {}", l["count"], text(l, "what"))}</strong><span class="meta">{text(l, "why")}</span></li> })
            .collect();
        view! {
            <div class="banner success">{icon("circle-check")}<span class="grow"><strong>{text(&project, "name")}</strong>
                {format!(" has {} tasks, {} milestones and {} links.", count("tasks"), count("milestones"), count("links"))}</span></div>
            {(!left.is_empty()).then(|| view! { <h3 class="left-out">"Left out"</h3><ul class="rows tray">{left}</ul> })}
            <footer class="buttons"><button class="btn quiet" on:click=move |_| close.run(())>"Close"</button>
                <A href=address attr:class="btn primary" on:click=move |_| open.set(false)>"Open the plan"</A></footer>
        }
    };
    view! {
        <Dialog title="Import a plan" lead="Microsoft Project XML, with outline, dates and links. Nothing is written unless all of it can be." close=close>
            <div class="body">
                {live(move || match done.get() {
                    Some(answer) => report(answer).into_any(),
                    None => view! {
                        <label class="drop">{icon("upload")}{live(move || if busy.get() { "Importing…" } else { "Choose a file" })}
                            <input type="file" class="vh" accept=".xml,application/xml,text/xml" disabled=follow(move || busy.get()) on:change=chosen/></label>
                        {live(move || error.get().map(|message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> }))}
                    }.into_any(),
                })}
            </div>
        </Dialog>
    }
}
