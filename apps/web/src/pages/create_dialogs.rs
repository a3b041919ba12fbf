//! Dialogs that make things: a new one, one that is there already put into a list, a plan from a file.

use crate::client::client;
use crate::hooks::{catalogue, row_with, use_entity_codes, use_entity_list, use_entity_mutation};
use crate::ui::dialog::Dialog;
use crate::ui::field::{Field, FormState};
use crate::ui::layout::{Banners, SyncStatusButton};
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::components::A;
use leptos_router::hooks::{use_location, use_navigate};
use pmo_domain::{Column, ColumnKind, EntityCode, EntityRef, Row};
use pmo_sync::ListKey;
use serde_json::{Value, json};
use uuid::Uuid;

/// Names that are offered at once.
const MAX_SUGGESTIONS: usize = 8;

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
    let name = entity.map_or_else(|| child.to_string(), |e| e.with_article());
    let words = RwSignal::new(String::new());
    let into_role = parent.code == "role";
    let present = use_entity_list(list);
    // Everything of the type is looked at meanwhile, so that there is something to choose from.
    let all = use_entity_list(ListKey::all(child.clone()));
    let offered = reactive_view(move || {
        all.track();
        let (wanted, here) = (words.get().to_lowercase(), present.get().ids);
        let known = client().read(|e| e.known_names(child.as_str()));
        let fits = |(id, name): &(Uuid, String)| !here.contains(id) && name.to_lowercase().contains(&wanted);
        let found: Vec<_> = known.into_iter().filter(fits).take(MAX_SUGGESTIONS).collect();
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
    let lead = if into_role {
        "Who is in it may do what it is granted."
    } else {
        "It stays where it is, and stands here too."
    };
    view! {
        <Dialog title=format!("Add {name}") lead=lead close=Callback::new(move |()| open.set(false))>
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
    reactive_view(move || {
        let Some(kind) = codes.get().get(code.as_str()).cloned() else { return ().into_any() };
        view! {
            <header class="topbar"><nav class="crumbs" aria-label="Breadcrumb"><ol><li><A href=back.clone()>{kind.ui_label.clone()}</A></li>
                <li>{icon("chevron-right")}<h1 aria-current="page">{format!("New {}", kind.name.to_lowercase())}</h1></li></ol></nav><SyncStatusButton compact=true/></header>
            <Banners/>
            <div class="content"><div class="new-page"><NewForm code=code.clone() parent=None more=Row::new() all=true done=done give_up=give_up/></div></div>
        }
        .into_any()
    })
}

/// The thing whose page is open, or the things above that: where something new most likely belongs.
fn current_parent(path: &str, of: &str) -> Option<Uuid> {
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
    // What it may hang below, where nobody has said: the thing where one stands, else it is asked for.
    let root = entity.as_ref().is_none_or(|e| e.root_flag);
    let ways: Vec<(String, String)> = catalogue
        .parent_relations(code.as_str())
        .filter(|(above, tie)| parent.is_none() && tie.owned && tie.parent_type_column.is_none() && above.code != code)
        .filter_map(|(above, tie)| Some((above.code.to_string(), tie.parent_column.clone()?)))
        .filter(|(_, column)| !root || entity.as_ref().and_then(|e| e.column(column)).is_some_and(|c| c.required))
        .collect();
    let path = use_location().pathname.get_untracked();
    let known = ways.iter().any(|(_, column)| first.contains_key(column));
    let here = ways
        .iter()
        .filter(|_| !known)
        .find_map(|(above, column)| Some((column.clone(), current_parent(&path, above)?)));
    let owner_columns: Vec<String> = match &here {
        Some((column, id)) => {
            first.insert(column.clone(), json!(id));
            vec![column.clone()]
        }
        None => ways.into_iter().map(|(_, column)| column).filter(|_| !known).collect(),
    };
    let needs = |c: &Column| c.required || owner_columns.contains(&c.name);
    let named = entity.as_ref().and_then(|e| e.column("name")).is_none_or(|c| !c.hidden);
    let fixed = parent.as_ref().map(|(_, column)| column.clone());
    let fields: Vec<Column> = entity
        .iter()
        .flat_map(|e| e.columns.clone())
        .filter(|c| c.name != "name" && Some(&c.name) != fixed.as_ref() && !c.read_only)
        .filter(|c| {
            needs(c) || !c.hidden && !matches!(c.kind, ColumnKind::Json | ColumnKind::Uuid | ColumnKind::TextList)
        })
        .collect();
    let (needed, others): (Vec<Column>, Vec<Column>) = fields.into_iter().partition(needs);
    let required: Vec<String> =
        needed.iter().filter(|c| c.required).map(|c| c.name.clone()).chain(named.then(|| "name".to_owned())).collect();
    let values = RwSignal::new(first);
    let within = parent.clone();
    let form = FormState::from_row(move || {
        let mut row = values.get();
        row.extend(within.iter().flat_map(|(parent, column)| row_with(column, json!(parent.id))));
        row
    });
    let complete = Memo::new(move |_| {
        let said = |v: &Row, name: &String| {
            v.get(name).is_some_and(|x| !x.is_null() && x.as_str().is_none_or(|s| !s.trim().is_empty()))
        };
        form.invalid_fields.with(Vec::is_empty) && values.with(|v| required.iter().all(|name| said(v, name)))
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
        let change = Callback::new(move |value: Value| values.update(|v| v.extend(row_with(&name.get_value(), value))));
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
                on:input=move |e| values.update(|v| v.extend(row_with("name", json!(event_target_value(&e)))))/></span></div> })}
            {needed}
            {reactive_view(move || showing.get().then(|| view! { <div class="form more-fields">{others.get_value().into_iter().map(field).collect_view()}</div> }))}
            <footer class="buttons">{reactive_view(move || (some && !showing.get()).then(|| view! { <button type="button" class="btn quiet first" on:click=move |_| showing.set(true)>"More fields"</button> }))}
                <button type="button" class="btn quiet" on:click=move |_| give_up.run(())>"Cancel"</button>
                <button class="btn primary" disabled=reactive_attr(move || !complete.get())>"Create"</button></footer>
        </form>
    }
}
