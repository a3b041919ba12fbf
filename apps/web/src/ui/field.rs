//! A value to edit, by its column's kind. What is typed goes to `change` at once; checking it is the domain's business.

use super::cell::{self, icon};
use super::format;
use super::live::{follow, live};
use crate::client::client;
use crate::hooks::{catalogue, datalabel_sync, use_entity_list_when};
use leptos::prelude::*;
use pmo_domain::{Column, ColumnKind, EntityCode, EntityRef, Row, order};
use pmo_sync::ListKey;
use serde_json::{Value, json};
use std::sync::Arc;

/// What fields of one form share: the row that they are about, and which of them hold what can't be stored.
#[derive(Clone, Copy)]
pub struct Form {
    row: StoredValue<Arc<dyn Fn() -> Row + Send + Sync>>,
    /// Labels of fields with something wrong in them: nothing is sent until they are right.
    pub wrong: RwSignal<Vec<String>>,
}

impl Form {
    /// The form of a row as it is shown, for the fields below the present component.
    pub fn of(row: impl Fn() -> Row + Send + Sync + 'static) -> Self {
        let form = Self { row: StoredValue::new(Arc::new(row)), wrong: RwSignal::default() };
        provide_context(form);
        form
    }
}

/// Checks what is typed before it is taken: what is wrong, in words, and who takes the rest.
pub fn checked(
    column: Column,
    value: Signal<Value>,
    change: Callback<Value>,
) -> (RwSignal<Option<String>>, Callback<Value>) {
    let error = RwSignal::new(None::<String>);
    let form = use_context::<Form>();
    // Its own value alone: what else changes in the form leaves what is typed here.
    let value = Memo::new(move |_| value.get());
    let label = StoredValue::new(column.label.clone());
    let tell = move |wrong: Option<String>| {
        if let Some(form) = form {
            form.wrong.update(|all| {
                all.retain(|known| label.with_value(|label| known != label));
                all.extend(wrong.is_some().then(|| label.get_value()));
            });
        }
        error.set(wrong);
    };
    // Another value has come in its place: undone, discarded, or from somebody else.
    Effect::new(move || {
        value.track();
        if error.with_untracked(Option::is_some) {
            tell(None);
        }
    });
    on_cleanup(move || tell(None));
    let take = Callback::new(move |value: Value| match column.check(&value) {
        Ok(_) => {
            tell(None);
            change.run(value);
        }
        Err(message) => tell(Some(message)),
    });
    (error, take)
}

/// What is wrong with a field, below it.
pub fn hint(error: RwSignal<Option<String>>) -> AnyView {
    live(move || {
        error
            .get()
            .map(|message| view! { <span class="hint error" role="alert">{icon("circle-alert")}{message}</span> })
    })
    .into_any()
}

/// What a column of a form's row may refer to, by name, once somebody comes near: those that hang below the same thing as the row does, where such a thing
/// is told by a column of the same name, else all of the type. What the server can't tell is made up for with the names that this device knows.
fn candidates(entity: String, near: RwSignal<bool>) -> Memo<Vec<(String, String)>> {
    let form = use_context::<Form>();
    let row = move || form.map(|form| form.row.get_value()()).unwrap_or_default();
    let text = |row: &Row, column: &str| row.get(column).and_then(Value::as_str).map(str::to_owned);
    let of = entity.clone();
    let key = Memo::new(move |_| {
        let code = EntityCode::new(&of).ok().filter(|_| near.get())?;
        let (catalogue, row) = (catalogue(), row());
        let mut owners = catalogue.parents_of(&of).filter(|(parent, tie)| tie.owned && parent.code != code);
        let shared = owners.find_map(|(parent, tie)| {
            let column = tie.column.as_ref().filter(|_| tie.code_column.is_none())?;
            let above = EntityRef::new(parent.code.clone(), text(&row, column)?.parse().ok()?);
            Some(ListKey::below(code.clone(), above, column))
        });
        Some(shared.unwrap_or_else(|| ListKey::all(code)))
    });
    // Looked at for as long as the field is there: what is asked for is not given up by a keystroke, nor asked for again by each.
    let list = use_entity_list_when(key);
    Memo::new(move |_| {
        if key.get().is_none() {
            return Vec::new();
        }
        let (ids, loaded) = list.with(|list| (list.ids.clone(), list.loaded));
        let known = client().read(|e| match loaded {
            true => ids.iter().filter_map(|id| Some((*id, e.name(&entity, *id)?))).collect(),
            false => e.known_names(&entity),
        });
        let itself = text(&row(), "id").unwrap_or_default();
        let named =
            known.into_iter().map(|(id, name)| (id.to_string(), name)).filter(|(id, _)| *id != itself).collect();
        order::sorted_by_key(named, |(_, name): &(String, String)| name.to_lowercase())
    })
}

/// A labelled field. `value` is what it shows, `changed` whether a draft touches it.
#[component]
pub fn Field(
    /// The column.
    column: Column,
    /// The present value.
    #[prop(into)]
    value: Signal<Value>,
    /// A draft touches it.
    #[prop(into)]
    changed: Signal<bool>,
    /// May be written.
    #[prop(into)]
    enabled: Signal<bool>,
    /// Takes what was typed.
    #[prop(into)]
    change: Callback<Value>,
) -> impl IntoView {
    let id = format!("f-{}", column.name);
    let wide = matches!(column.kind, ColumnKind::Reference { .. } | ColumnKind::References { .. } | ColumnKind::Text);
    let (error, checked) = checked(column.clone(), value, change);
    let label = column.label.clone();
    view! {
        <div class="field" class:w2=wide class:changed=changed>
            <label for=id.clone()>{label}</label>
            <Widget column=column id=id value=value enabled=enabled change=checked/>
            {hint(error)}
        </div>
    }
}

/// The control alone.
#[component]
pub fn Widget(
    /// The column.
    column: Column,
    /// The control's id.
    #[prop(into)]
    id: String,
    /// The present value.
    #[prop(into)]
    value: Signal<Value>,
    /// May be written.
    #[prop(into)]
    enabled: Signal<bool>,
    /// Takes what was typed.
    #[prop(into)]
    change: Callback<Value>,
) -> impl IntoView {
    let money = column.kind == ColumnKind::Money;
    let text = Memo::new(move |_| match value.get() {
        Value::String(s) if money => format::amount(&s).to_owned(),
        Value::String(s) => s,
        Value::Number(n) => n.as_f64().map(format::plain).unwrap_or_default(),
        _ => String::new(),
    });
    let off = Signal::derive(move || !enabled.get());
    match column.kind.clone() {
        ColumnKind::Label { set } => {
            let options = move || {
                datalabel_sync(&set).map(|s| s.options.into_iter().filter(|o| o.active_flag).map(|o| (o.name.clone(), o.name)).collect()).unwrap_or_default()
            };
            choice(id, Offer { options: Box::new(options), refers: None }, text, off, change, !column.not_null)
        }
        ColumnKind::Reference { entity } => {
            let near = RwSignal::new(false);
            let offered = candidates(entity.clone(), near);
            let offer = Offer { options: Box::new(move || offered.get()), refers: Some((entity, near)) };
            choice(id, offer, text, off, change, !column.not_null)
        }
        ColumnKind::References { entity } => references(id, entity, value, off, change),
        ColumnKind::Flag => view! {
            <label class="check">
                <input type="checkbox" class="i-check" id=id disabled=off prop:checked=follow(move || value.get() == Value::Bool(true))
                    on:change=move |e| change.run(json!(event_target_checked(&e)))/>
            </label>
        }
        .into_any(),
        ColumnKind::Text => view! {
            <textarea class="input" id=id rows="3" disabled=off prop:value=text on:input=move |e| change.run(json!(event_target_value(&e)))></textarea>
        }
        .into_any(),
        kind => {
            let (input_type, unit) = match kind {
                ColumnKind::Date => ("date", None),
                ColumnKind::Hours => ("text", Some("h")),
                ColumnKind::Days => ("text", Some("d")),
                ColumnKind::Percent => ("text", Some("%")),
                ColumnKind::Money => ("text", Some("€")),
                _ => ("text", None),
            };
            let numeric = matches!(
                kind,
                ColumnKind::Hours | ColumnKind::Days | ColumnKind::Percent | ColumnKind::Number | ColumnKind::Integer
            );
            let mode = if numeric || kind == ColumnKind::Money { "decimal" } else { "text" };
            let typed = move |text: String| {
                let trimmed = text.trim();
                change.run(if trimmed.is_empty() && column.name != "name" {
                    Value::Null
                } else if numeric {
                    let number = trimmed.replace(',', ".").parse::<f64>().ok().filter(|n| n.is_finite());
                    number.map_or_else(|| json!(text), |n| json!(n))
                } else {
                    json!(text)
                });
            };
            view! {
                <span class="input">
                    <input id=id type=input_type inputmode=mode disabled=off prop:value=text on:input=move |e| typed(event_target_value(&e))/>
                    {unit.map(|unit| view! { <span class="unit">{unit}</span> })}
                </span>
            }
            .into_any()
        }
    }
}

/// What can be chosen.
struct Offer {
    /// Values, each with its name.
    options: Box<dyn Fn() -> Vec<(String, String)> + Send + Sync>,
    /// For references: the type that they are to, and whether somebody has come near, because choices are fetched then.
    refers: Option<(String, RwSignal<bool>)>,
}

/// A choice of one.
fn choice(
    id: String,
    offer: Offer,
    present: Memo<String>,
    off: Signal<bool>,
    change: Callback<Value>,
    may_be_empty: bool,
) -> AnyView {
    let picked = move |event| {
        let picked = event_target_value(&event);
        change.run(if picked.is_empty() { Value::Null } else { json!(picked) });
    };
    let Offer { options, refers } = offer;
    let near = refers.as_ref().map(|(_, near)| *near);
    let offered = Memo::new(move |_| {
        let now = present.get();
        let mut options = options();
        if !now.is_empty() && !options.iter().any(|(value, _)| *value == now) {
            let name = refers.as_ref().and_then(|(code, _)| client().read(|e| e.name(code, now.parse().ok()?)));
            options.insert(0, (now.clone(), name.unwrap_or_else(|| "Not visible to you".to_owned())));
        }
        if may_be_empty || now.is_empty() {
            options.insert(0, (String::new(), "–".to_owned()));
        }
        options
    });
    let items = live(move || {
        let option = |(value, name): (String, String)| view! { <option value=value>{name}</option> };
        offered.get().into_iter().map(option).collect::<Vec<_>>()
    });
    // What is chosen is said once its option is there.
    let node = NodeRef::<leptos::html::Select>::new();
    Effect::new(move || {
        offered.track();
        if let Some(select) = node.get() {
            select.set_value(&present.get());
        }
    });
    let come_near = move || near.into_iter().for_each(|near| near.set(true));
    view! {
        <span class="input">
            <select id=id node_ref=node disabled=off on:change=picked on:pointerenter=move |_| come_near() on:focus=move |_| come_near()>{items}</select>
            <i class="i i-chevron-down sm" aria-hidden="true"></i>
        </span>
    }
    .into_any()
}

fn references(id: String, entity: String, value: Signal<Value>, off: Signal<bool>, change: Callback<Value>) -> AnyView {
    let entity = StoredValue::new(entity);
    let present = move || cell::ids(Some(&value.get()));
    let chips = live(move || {
        present()
            .into_iter()
            .map(|id| {
                let name = id.parse().ok().and_then(|u| client().read(|e| entity.with_value(|code| e.name(code, u)))).unwrap_or_else(|| "Somebody".into());
                let gone = id.clone();
                let remove = move |_| {
                    let rest: Vec<_> = present().into_iter().filter(|i| *i != gone).collect();
                    change.run(json!(rest));
                };
                view! {
                    <span class="chip"><span class="person">{cell::avatar(&id, &name)}<span>{name.clone()}</span></span>
                        <button type="button" disabled=off aria-label=format!("Remove {name}") on:click=remove>{icon("x")}</button></span>
                }
            })
            .collect_view()
    });
    let add = move |event| {
        let picked = event_target_value(&event);
        let mut all = present();
        if !picked.is_empty() && !all.contains(&picked) {
            all.push(picked);
            change.run(json!(all));
        }
    };
    let near = RwSignal::new(false);
    let all = candidates(entity.get_value(), near);
    let options = move || {
        let here = present();
        let offered = all.get().into_iter().filter(|(id, _)| !here.contains(id));
        offered.map(|(id, name)| view! { <option value=id>{name}</option> }).collect::<Vec<_>>()
    };
    view! {
        <div class="references">
            {chips}
            <span class="input sm">
                <select id=id disabled=off prop:value="" on:change=add on:pointerenter=move |_| near.set(true) on:focus=move |_| near.set(true)><option value="">"Add…"</option>{live(options)}</select>
                <i class="i i-chevron-down sm" aria-hidden="true"></i>
            </span>
        </div>
    }
    .into_any()
}

/// A value of a property, small, for the panel at the side.
pub fn shown(column: &Column, row: &pmo_domain::Row) -> AnyView {
    match column.kind {
        ColumnKind::Date => {
            let day = format::text(row, &column.name);
            view! { <time datetime=day.clone()>{format::date(&day, true)}</time> }.into_any()
        }
        _ => cell::value(column, row),
    }
}
