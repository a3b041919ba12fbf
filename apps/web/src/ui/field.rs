//! A value to edit, by its column's kind. What is typed goes to `change` at once; checking it is the domain's business.

use super::format;
use super::markdown::MarkdownField;
use super::picker::{Choice, ChoiceIcon, Picker, PickerExit};
use super::reactive::{reactive_attr, reactive_view};
use super::value_view::{self, icon};
use crate::client::client;
use crate::hooks::{catalogue, datalabel_untracked, row_with, use_entity_list_when};
use leptos::prelude::*;
use pmo_domain::catalog::Datalabel;
use pmo_domain::{Column, ColumnKind, EntityCode, EntityRef, Row, sort};
use pmo_sync::ListKey;
use serde_json::{Value, json};
use std::sync::Arc;

/// What fields of one form share: the row that they are about, and which of them hold what can't be stored.
#[derive(Clone, Copy)]
pub struct FormState {
    row: StoredValue<Arc<dyn Fn() -> Row + Send + Sync>>,
    /// Labels of fields with something wrong in them: nothing is sent until they are right.
    pub invalid_fields: RwSignal<Vec<String>>,
}

impl FormState {
    /// The form of a row as it is shown, for the fields below the present component.
    pub fn from_row(row: impl Fn() -> Row + Send + Sync + 'static) -> Self {
        let form = Self { row: StoredValue::new(Arc::new(row)), invalid_fields: RwSignal::default() };
        provide_context(form);
        form
    }
}

/// Checks what is typed before it is taken: what is wrong, in words, and who takes the rest.
pub fn validated_input(
    column: Column,
    value: Signal<Value>,
    change: Callback<Value>,
) -> (RwSignal<Option<String>>, Callback<Value>) {
    let error = RwSignal::new(None::<String>);
    let form = use_context::<FormState>();
    // Its own value alone: what else changes in the form leaves what is typed here.
    let value = Memo::new(move |_| value.get());
    let label = StoredValue::new(column.label.clone());
    let tell = move |wrong: Option<String>| {
        if let Some(form) = form {
            form.invalid_fields.update(|all| {
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
    let take = Callback::new(move |value: Value| match column.validate(&value) {
        Ok(_) => {
            tell(None);
            change.run(value);
        }
        Err(message) => tell(Some(message)),
    });
    (error, take)
}

/// What is wrong with a field, below it.
pub fn field_error(error: RwSignal<Option<String>>) -> AnyView {
    reactive_view(move || {
        error
            .get()
            .map(|message| view! { <span class="hint error" role="alert">{icon("circle-alert")}{message}</span> })
    })
    .into_any()
}

/// What a column of a form's row may refer to, by name, once somebody comes near: those that hang below the same thing as the row does, where such a thing
/// is told by a column of the same name, else all of the type. What the server can't tell is made up for with the names that this device knows.
fn candidates(entity: String, near: RwSignal<bool>) -> Memo<Vec<(String, String)>> {
    let form = use_context::<FormState>();
    let row = move || form.map(|form| form.row.get_value()()).unwrap_or_default();
    let text = |row: &Row, column: &str| row.get(column).and_then(Value::as_str).map(str::to_owned);
    let of = entity.clone();
    let key = Memo::new(move |_| {
        let code = EntityCode::new(&of).ok().filter(|_| near.get())?;
        let (catalogue, row) = (catalogue(), row());
        let mut owners = catalogue.parent_relations(&of).filter(|(parent, tie)| tie.owned && parent.code != code);
        let shared = owners.find_map(|(parent, tie)| {
            let column = tie.parent_column.as_ref().filter(|_| tie.parent_type_column.is_none())?;
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
        sort::sorted_by_key(named, |(_, name): &(String, String)| name.to_lowercase())
    })
}

thread_local! {
    /// Counts fields, for ids of their own.
    static NEXT_FIELD_ID: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
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
    // A dialog over a page may have a field of the same name.
    let id = format!("f{}-{}", NEXT_FIELD_ID.with(|count| count.replace(count.get() + 1)), column.name);
    let wide =
        matches!(column.kind, ColumnKind::Reference { .. } | ColumnKind::References { .. } | ColumnKind::LongText);
    let (error, checked) = validated_input(column.clone(), value, change);
    let label = column.label.clone();
    view! {
        <div class="field" class:w2=wide class:changed=changed>
            <label for=id.clone()>{label}</label>
            <Widget column=column id=id value=value enabled=enabled change=checked/>
            {field_error(error)}
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
    let off = Signal::derive(move || !enabled.get());
    match column.kind.clone() {
        ColumnKind::Datalabel { .. } | ColumnKind::Reference { .. } => picker_field(column, id, value, off, change),
        ColumnKind::References { entity } => references(column, id, entity, value, off, change),
        ColumnKind::Boolean => view! {
            <label class="check">
                <input type="checkbox" class="i-check" id=id disabled=off prop:checked=reactive_attr(move || value.get() == Value::Bool(true))
                    on:change=move |e| change.run(json!(event_target_checked(&e)))/>
            </label>
        }
        .into_any(),
        ColumnKind::LongText => view! { <MarkdownField id=id value=value off=off change=change/> }.into_any(),
        kind => {
            let of = kind.clone();
            let text = Memo::new(move |_| to_input_text(&of, &value.get()));
            let (input_type, unit) = match kind {
                ColumnKind::Date => ("date", None),
                ColumnKind::Timestamp => ("datetime-local", None),
                ColumnKind::Hours => ("text", Some("h")),
                ColumnKind::Days => ("text", Some("d")),
                ColumnKind::Percent => ("text", Some("%")),
                ColumnKind::Money => ("text", Some("€")),
                _ => ("text", None),
            };
            let mode = if numeric(&kind) || kind == ColumnKind::Money { "decimal" } else { "text" };
            let typed = move |text: String| {
                // What is no number is told as it was typed, and refused in words.
                change.run(parse_input(&column, &text).unwrap_or_else(|_| json!(text)));
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

fn numeric(kind: &ColumnKind) -> bool {
    use ColumnKind as K;
    matches!(kind, K::Hours | K::Days | K::Percent | K::Number | K::Integer)
}

/// A value as it stands in a field.
pub fn to_input_text(kind: &ColumnKind, value: &Value) -> String {
    match value {
        Value::String(s) if *kind == ColumnKind::Money => format::amount(s).to_owned(),
        Value::String(s) if *kind == ColumnKind::Timestamp => to_datetime_local(s),
        Value::String(s) => s.clone(),
        Value::Number(n) => n.as_f64().map(format::trim_zeros).unwrap_or_default(),
        _ => String::new(),
    }
}

/// A moment as the browser's field for one has it: this place's clock, to the minute.
fn to_datetime_local(iso: &str) -> String {
    let date = js_sys::Date::new(&iso.into());
    if date.get_time().is_nan() {
        return String::new();
    }
    let two = |n: u32| format!("{n:02}");
    let day = format!("{:04}-{}-{}", date.get_full_year(), two(date.get_month() + 1), two(date.get_date()));
    format!("{day}T{}:{}", two(date.get_hours()), two(date.get_minutes()))
}

/// What was typed into a field as a value of its column: a comma is a point, a unit behind a number may stay. None of it is checked yet.
pub fn parse_input(column: &Column, text: &str) -> Result<Value, String> {
    let trimmed = text.trim();
    if trimmed.is_empty() && column.name != "name" {
        return Ok(Value::Null);
    }
    match &column.kind {
        kind if numeric(kind) => {
            let bare = trimmed.trim_end_matches(|c: char| c.is_alphabetic() || c == '%' || c.is_whitespace());
            let number = bare.replace(',', ".").parse::<f64>().ok().filter(|n| n.is_finite());
            number.map(|n| json!(n)).ok_or_else(|| "must be a number".to_owned())
        }
        ColumnKind::Money => {
            let bare: String = trimmed.chars().filter(|c| !c.is_whitespace() && *c != '€').collect();
            Ok(json!(bare.replace(',', ".")))
        }
        ColumnKind::Timestamp => {
            let moment = js_sys::Date::new(&trimmed.into());
            if moment.get_time().is_nan() {
                return Err("must be a day and a time".to_owned());
            }
            Ok(json!(String::from(moment.to_iso_string())))
        }
        _ => Ok(json!(text)),
    }
}

/// What a column can be chosen from: options that may come next, or things that it may refer to. Those that hang near are fetched once somebody is `near`.
pub fn choices_of(column: &Column, value: Signal<Value>, near: RwSignal<bool>) -> Signal<Vec<Choice>> {
    let optional = !column.not_null;
    let none =
        move || optional.then(|| Choice { value: String::new(), label: "None".to_owned(), sign: ChoiceIcon::Bare });
    match column.kind.clone() {
        ColumnKind::Datalabel { set } => Signal::derive(move || {
            let (now, options) = (value.get(), datalabel_untracked(&set));
            let now = now.as_str().filter(|n| !n.is_empty());
            let allowed = |set: &Datalabel, name: &str| set.check_transition(now, name).is_ok();
            let fits: Vec<_> = options
                .iter()
                .flat_map(|set| set.options.iter().filter(move |o| o.active_flag && allowed(set, &o.name)))
                .map(|o| {
                    let sign = value_view::option_mark(&set, &o.name).map_or(ChoiceIcon::Bare, ChoiceIcon::Icon);
                    Choice { value: o.name.clone(), label: o.name.clone(), sign }
                })
                .collect();
            fits.into_iter().chain(none()).collect()
        }),
        ColumnKind::Reference { entity } | ColumnKind::References { entity } => {
            let several = matches!(column.kind, ColumnKind::References { .. });
            let person = matches!(entity.as_str(), "employee" | "person");
            let all = candidates(entity.clone(), near);
            Signal::derive(move || {
                let sign = || if person { ChoiceIcon::Person } else { ChoiceIcon::Bare };
                let one = |(value, label): (String, String)| Choice { value, label, sign: sign() };
                let mut choices: Vec<_> = all.get().into_iter().map(one).collect();
                // What is chosen is offered though it hangs elsewhere.
                let now = if several {
                    value_view::reference_ids(Some(&value.get()))
                } else {
                    value.get().as_str().map(str::to_owned).into_iter().collect()
                };
                for id in now.into_iter().filter(|id| !id.is_empty()) {
                    if !choices.iter().any(|c| c.value == id) {
                        let name = client().read(|e| e.name(&entity, id.parse().ok()?));
                        choices.insert(
                            0,
                            Choice {
                                value: id,
                                label: name.unwrap_or_else(|| "Not visible to you".to_owned()),
                                sign: sign(),
                            },
                        );
                    }
                }
                choices.extend(none().filter(|_| !several));
                choices
            })
        }
        _ => Signal::derive(Vec::new),
    }
}

/// A choice of one: what is chosen, and a list to choose from where it is clicked.
fn picker_field(
    column: Column,
    id: String,
    value: Signal<Value>,
    off: Signal<bool>,
    change: Callback<Value>,
) -> AnyView {
    let (open, near) = (RwSignal::new(false), RwSignal::new(false));
    let choices = choices_of(&column, value, near);
    let text = move || value.get().as_str().unwrap_or_default().to_owned();
    let chosen = Signal::derive(move || vec![text()]);
    let (name, label) = (column.name.clone(), column.label.clone());
    let read = {
        let column = column.clone();
        reactive_view(move || match text() {
            empty if empty.is_empty() => view! { <span class="softer">"None"</span> }.into_any(),
            text => value_view::value(&column, &row_with(&name, json!(text))),
        })
    };
    let pick =
        Callback::new(move |picked: String| change.run(if picked.is_empty() { Value::Null } else { json!(picked) }));
    let node = NodeRef::<leptos::html::Button>::new();
    let close = Callback::new(move |_: PickerExit| {
        open.set(false);
        if let Some(button) = node.get_untracked() {
            let _ = button.focus();
        }
    });
    let beside = id.clone();
    view! {
        <button type="button" class="input picked" id=id node_ref=node disabled=off aria-haspopup="listbox" aria-expanded=reactive_attr(move || open.get().to_string())
            on:pointerenter=move |_| near.set(true) on:focus=move |_| near.set(true) on:click=move |_| open.set(true)>
            <span class="grow">{read}</span><i class="i i-chevron-down sm" aria-hidden="true"></i>
        </button>
        {reactive_view(move || open.get().then(|| view! { <Picker label=label.clone() choices=choices chosen=chosen beside=beside.clone() pick=pick close=close/> }))}
    }
    .into_any()
}

fn references(
    column: Column,
    id: String,
    entity: String,
    value: Signal<Value>,
    off: Signal<bool>,
    change: Callback<Value>,
) -> AnyView {
    let present = move || value_view::reference_ids(Some(&value.get()));
    let (open, near) = (RwSignal::new(false), RwSignal::new(false));
    let choices = choices_of(&column, value, near);
    let turn = Callback::new(move |picked: String| {
        let mut all = present();
        match all.iter().position(|id| *id == picked) {
            Some(at) => drop(all.remove(at)),
            None => all.push(picked),
        }
        change.run(json!(all));
    });
    let person = matches!(entity.as_str(), "employee" | "person");
    let chips = reactive_view(move || {
        present()
            .into_iter()
            .map(|id| {
                let name = id.parse().ok().and_then(|u| client().read(|e| e.name(&entity, u))).unwrap_or_else(|| "Not visible to you".into());
                let gone = id.clone();
                view! {
                    <span class="chip"><span class="person">{person.then(|| value_view::avatar(&id, &name))}<span>{name.clone()}</span></span>
                        <button type="button" disabled=off aria-label=format!("Remove {name}") on:click=move |_| turn.run(gone.clone())>{icon("x")}</button></span>
                }
            })
            .collect_view()
    });
    let beside = id.clone();
    let (words, label) = (format!("Add to {}", column.label.to_lowercase()), column.label.clone());
    view! {
        <div class="references">
            {chips}
            <button type="button" class="btn quiet sm" id=id disabled=off aria-haspopup="listbox" aria-label=words on:pointerenter=move |_| near.set(true)
                on:focus=move |_| near.set(true) on:click=move |_| open.set(true)>{icon("plus")}"Add"</button>
            {reactive_view(move || open.get().then(|| view! { <Picker label=label.clone() choices=choices chosen=Signal::derive(present) beside=beside.clone() several=true pick=turn
                close=Callback::new(move |_: PickerExit| open.set(false))/> }))}
        </div>
    }
    .into_any()
}

/// A value of a property, small, for the panel at the side.
pub fn property_value(column: &Column, row: &pmo_domain::Row) -> AnyView {
    match column.kind {
        ColumnKind::Date => {
            let day = format::text(row, &column.name);
            view! { <time datetime=day.clone()>{format::date(&day, true)}</time> }.into_any()
        }
        _ => value_view::value(column, row),
    }
}
