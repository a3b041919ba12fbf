//! Form fields by the kind of their column.
//!
//! Input is passed to `change` immediately. The domain crate validates it.

use super::format;
use super::markdown::MarkdownField;
use super::picker::{Choice, ChoiceIcon, Picker, PickerExit};
use super::reactive::{reactive_attr, reactive_view};
use super::value_view::{self, icon};
use crate::client::client;
use crate::hooks::{catalog, datalabel_untracked, row_with, use_entity_list_when};
use leptos::prelude::*;
use pmo_domain::catalog::Datalabel;
use pmo_domain::{Column, ColumnKind, EntityCode, EntityRef, Row, sort};
use pmo_sync::ListKey;
use serde_json::{Value, json};
use std::sync::Arc;

/// State that the fields of one form share: the edited row and the fields with invalid input.
#[derive(Clone, Copy)]
pub(crate) struct FormState {
    row: StoredValue<Arc<dyn Fn() -> Row + Send + Sync>>,
    /// Labels of the fields with invalid input; the form must not be submitted while there are any.
    pub invalid_fields: RwSignal<Vec<String>>,
}

impl FormState {
    /// Creates the state for a form on `row`; provides it to the fields of the calling component.
    pub(crate) fn from_row(row: impl Fn() -> Row + Send + Sync + 'static) -> Self {
        let form = Self { row: StoredValue::new(Arc::new(row)), invalid_fields: RwSignal::default() };
        provide_context(form);
        form
    }
}

/// Returns the error message of a field, and a callback that validates input.
///
/// The callback passes valid input to `change`. Invalid input sets the error and is recorded in the
/// [`FormState`].
pub(crate) fn validated_input(
    column: Column,
    value: Signal<Value>,
    change: Callback<Value>,
) -> (RwSignal<Option<String>>, Callback<Value>) {
    let error = RwSignal::new(None::<String>);
    let form = use_context::<FormState>();
    // Depends on the value of this field only: a change of another field must not reset the input.
    let value = Memo::new(move |_| value.get());
    let label = StoredValue::new(column.label.clone());
    let set_error = move |message: Option<String>| {
        if let Some(form) = form {
            form.invalid_fields.update(|labels| {
                labels.retain(|existing| label.with_value(|label| existing != label));
                labels.extend(message.is_some().then(|| label.get_value()));
            });
        }
        error.set(message);
    };
    // The value was replaced (undo, discard, or a change by another user): the error is obsolete.
    Effect::new(move || {
        value.track();
        if error.with_untracked(Option::is_some) {
            set_error(None);
        }
    });
    on_cleanup(move || set_error(None));
    let validate = Callback::new(move |value: Value| match column.validate(&value) {
        Ok(_) => {
            set_error(None);
            change.run(value);
        }
        Err(error) => set_error(Some(error.to_string())),
    });
    (error, validate)
}

/// Returns the error message below a field; empty while the input is valid.
pub(crate) fn field_error(error: RwSignal<Option<String>>) -> AnyView {
    reactive_view(move || {
        error
            .get()
            .map(|message| view! { <span class="hint error" role="alert">{icon("circle-alert")}{message}</span> })
    })
    .into_any()
}

/// Returns ids and names of the entities that a reference column may refer to, sorted by name.
///
/// If the row and the referenced type have the same parent column and it is set, the candidates are
/// the children of that parent; otherwise they are all entities of the type. The list is fetched
/// once `active` is set; until it is loaded, the names cached on this device are returned.
fn candidates(entity: String, active: RwSignal<bool>) -> Memo<Vec<(String, String)>> {
    let form = use_context::<FormState>();
    let row = move || form.map(|form| form.row.get_value()()).unwrap_or_default();
    let text = |row: &Row, column: &str| row.get(column).and_then(Value::as_str).map(str::to_owned);
    let type_code = entity.clone();
    let key = Memo::new(move |_| {
        let code = EntityCode::new(&type_code).ok().filter(|_| active.get())?;
        let (catalog, row) = (catalog(), row());
        let mut owners =
            catalog.parent_relations(&type_code).filter(|(parent, relation)| relation.owned && parent.code != code);
        let siblings = owners.find_map(|(parent, relation)| {
            let column = relation.parent_column.as_ref().filter(|_| relation.parent_type_column.is_none())?;
            let parent = EntityRef::new(parent.code.clone(), text(&row, column)?.parse().ok()?);
            Some(ListKey::children_of(code.clone(), parent, column))
        });
        Some(siblings.unwrap_or_else(|| ListKey::all(code)))
    });
    // Observed while the field is mounted, so that typing neither cancels nor repeats the request.
    let list = use_entity_list_when(key);
    Memo::new(move |_| {
        if key.get().is_none() {
            return Vec::new();
        }
        let (ids, loaded) = list.with(|list| (list.ids.clone(), list.loaded));
        let names = client().read(|e| match loaded {
            true => ids.iter().filter_map(|id| Some((*id, e.name(&entity, *id)?))).collect(),
            false => e.known_names(&entity),
        });
        let own_id = text(&row(), "id").unwrap_or_default();
        let candidates =
            names.into_iter().map(|(id, name)| (id.to_string(), name)).filter(|(id, _)| *id != own_id).collect();
        sort::sorted_by_key(candidates, |(_, name): &(String, String)| name.to_lowercase())
    })
}

thread_local! {
    /// Counter for unique ids of form fields.
    static NEXT_FIELD_ID: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

/// A form field with label, control and error message.
#[component]
pub(crate) fn Field(
    /// Column of the field.
    column: Column,
    /// Current value.
    #[prop(into)]
    value: Signal<Value>,
    /// Whether the draft changes this column.
    #[prop(into)]
    changed: Signal<bool>,
    /// Whether the field can be edited.
    #[prop(into)]
    enabled: Signal<bool>,
    /// Called with valid input.
    #[prop(into)]
    change: Callback<Value>,
) -> impl IntoView {
    // Unique: a dialog may have a field with the same column name as the page below it.
    let id = format!("f{}-{}", NEXT_FIELD_ID.with(|next| next.replace(next.get() + 1)), column.name);
    let wide =
        matches!(column.kind, ColumnKind::Reference { .. } | ColumnKind::References { .. } | ColumnKind::LongText);
    let (error, on_change) = validated_input(column.clone(), value, change);
    let label = column.label.clone();
    view! {
        <div class="field" class:w2=wide class:changed=changed>
            <label for=id.clone()>{label}</label>
            <FieldControl column=column id=id value=value enabled=enabled change=on_change/>
            {field_error(error)}
        </div>
    }
}

/// The control of a field, without label and error message.
#[component]
pub(crate) fn FieldControl(
    /// Column of the field.
    column: Column,
    /// Id of the control.
    #[prop(into)]
    id: String,
    /// Current value.
    #[prop(into)]
    value: Signal<Value>,
    /// Whether the control can be edited.
    #[prop(into)]
    enabled: Signal<bool>,
    /// Callback that receives the input, also if it is invalid.
    #[prop(into)]
    change: Callback<Value>,
) -> impl IntoView {
    let disabled = Signal::derive(move || !enabled.get());
    match column.kind.clone() {
        ColumnKind::Datalabel { .. } | ColumnKind::Reference { .. } => picker_field(column, id, value, disabled, change),
        ColumnKind::References { entity } => references(column, id, entity, value, disabled, change),
        ColumnKind::Boolean => view! {
            <label class="check">
                <input type="checkbox" class="i-check" id=id disabled=disabled prop:checked=reactive_attr(move || value.get() == Value::Bool(true))
                    on:change=move |e| change.run(json!(event_target_checked(&e)))/>
            </label>
        }
        .into_any(),
        ColumnKind::LongText => view! { <MarkdownField id=id value=value disabled=disabled change=change/> }.into_any(),
        kind => {
            let text_kind = kind.clone();
            let text = Memo::new(move |_| to_input_text(&text_kind, &value.get()));
            let (input_type, unit) = match kind {
                ColumnKind::Date => ("date", None),
                ColumnKind::Timestamp | ColumnKind::LocalTimestamp => ("datetime-local", None),
                ColumnKind::Hours => ("text", Some("h")),
                ColumnKind::Days => ("text", Some("d")),
                ColumnKind::Minutes => ("text", Some("min")),
                ColumnKind::Percent => ("text", Some("%")),
                ColumnKind::Money => ("text", Some("€")),
                _ => ("text", None),
            };
            let input_mode = if numeric(&kind) || kind == ColumnKind::Money { "decimal" } else { "text" };
            let on_input = move |text: String| {
                // Input that cannot be parsed is passed on as text, so that validation reports it.
                change.run(parse_input(&column, &text).unwrap_or_else(|_| json!(text)));
            };
            view! {
                <span class="input">
                    <input id=id type=input_type inputmode=input_mode disabled=disabled prop:value=text on:input=move |e| on_input(event_target_value(&e))/>
                    {unit.map(|unit| view! { <span class="unit">{unit}</span> })}
                </span>
            }
            .into_any()
        }
    }
}

fn numeric(kind: &ColumnKind) -> bool {
    use ColumnKind as K;
    matches!(kind, K::Hours | K::Days | K::Minutes | K::Percent | K::Number | K::Integer)
}

/// Returns the text of a value in an input element; empty for `null`, lists and objects.
pub(crate) fn to_input_text(kind: &ColumnKind, value: &Value) -> String {
    match value {
        Value::String(s) if *kind == ColumnKind::Money => format::amount(s).to_owned(),
        Value::String(s) if *kind == ColumnKind::Timestamp => to_datetime_local(s),
        Value::String(s) => s.clone(),
        Value::Number(n) => n.as_f64().map(format::trim_zeros).unwrap_or_default(),
        _ => String::new(),
    }
}

/// Converts a timestamp to the format of `<input type="datetime-local">`: local time to the minute.
///
/// Returns an empty text for an invalid timestamp.
fn to_datetime_local(iso: &str) -> String {
    let date = js_sys::Date::new(&iso.into());
    if date.get_time().is_nan() {
        return String::new();
    }
    let pad = |n: u32| format!("{n:02}");
    let day = format!("{:04}-{}-{}", date.get_full_year(), pad(date.get_month() + 1), pad(date.get_date()));
    format!("{day}T{}:{}", pad(date.get_hours()), pad(date.get_minutes()))
}

/// Error of a text that is not a value of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputError {
    /// The column requires a number.
    NotANumber,
    /// The column requires a date and a time.
    NotATimestamp,
}

impl InputError {
    /// Returns the message for the user, without the name of the column.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::NotANumber => "must be a number",
            Self::NotATimestamp => "must be a date and a time",
        }
    }
}

/// Parses the text of an input element into a value of its column, without validating the value.
///
/// In numbers and amounts a comma counts as the decimal point, and a unit after the number is
/// ignored. Empty text is `null`, except for the name.
///
/// # Errors
///
/// Fails if the text is not a number or not a timestamp, where the column requires one.
pub(crate) fn parse_input(column: &Column, text: &str) -> Result<Value, InputError> {
    let trimmed = text.trim();
    if trimmed.is_empty() && column.name != "name" {
        return Ok(Value::Null);
    }
    match &column.kind {
        kind if numeric(kind) => {
            let digits = trimmed.trim_end_matches(|c: char| c.is_alphabetic() || c == '%' || c.is_whitespace());
            let number = digits.replace(',', ".").parse::<f64>().ok().filter(|n| n.is_finite());
            number.map(|n| json!(n)).ok_or(InputError::NotANumber)
        }
        ColumnKind::Money => {
            let digits: String = trimmed.chars().filter(|c| !c.is_whitespace() && *c != '€').collect();
            Ok(json!(digits.replace(',', ".")))
        }
        ColumnKind::Timestamp => {
            let date = js_sys::Date::new(&trimmed.into());
            if date.get_time().is_nan() {
                return Err(InputError::NotATimestamp);
            }
            Ok(json!(String::from(date.to_iso_string())))
        }
        _ => Ok(json!(text)),
    }
}

/// Returns the choices of an option or reference column; empty for every other kind.
///
/// Options are limited to active ones that the workflow allows after the current value. Referenced
/// entities are fetched once `active` is set.
pub(crate) fn choices_of(column: &Column, value: Signal<Value>, active: RwSignal<bool>) -> Signal<Vec<Choice>> {
    let optional = !column.not_null;
    let none =
        move || optional.then(|| Choice { value: String::new(), label: "None".to_owned(), icon: ChoiceIcon::Bare });
    match column.kind.clone() {
        ColumnKind::Datalabel { set } => Signal::derive(move || {
            let (value, options) = (value.get(), datalabel_untracked(&set));
            let current = value.as_str().filter(|name| !name.is_empty());
            let is_allowed = |set: &Datalabel, name: &str| set.check_transition(current, name).is_ok();
            let choices: Vec<_> = options
                .iter()
                .flat_map(|set| set.options.iter().filter(move |o| o.active_flag && is_allowed(set, &o.name)))
                .map(|o| {
                    let sign = value_view::option_mark(&set, &o.name).map_or(ChoiceIcon::Bare, ChoiceIcon::Icon);
                    Choice { value: o.name.clone(), label: o.name.clone(), icon: sign }
                })
                .collect();
            choices.into_iter().chain(none()).collect()
        }),
        ColumnKind::Reference { entity } | ColumnKind::References { entity } => {
            let multiple = matches!(column.kind, ColumnKind::References { .. });
            let is_person = matches!(entity.as_str(), "employee" | "person");
            let candidates = candidates(entity.clone(), active);
            Signal::derive(move || {
                let choice_icon = || if is_person { ChoiceIcon::Person } else { ChoiceIcon::Bare };
                let choice = |(value, label): (String, String)| Choice { value, label, icon: choice_icon() };
                let mut choices: Vec<_> = candidates.get().into_iter().map(choice).collect();
                // The current value is offered even if it is not a candidate.
                let selected = if multiple {
                    value_view::reference_ids(Some(&value.get()))
                } else {
                    value.get().as_str().map(str::to_owned).into_iter().collect()
                };
                for id in selected.into_iter().filter(|id| !id.is_empty()) {
                    if !choices.iter().any(|c| c.value == id) {
                        let name = client().read(|e| e.name(&entity, id.parse().ok()?));
                        choices.insert(
                            0,
                            Choice {
                                value: id,
                                label: name.unwrap_or_else(|| "No access".to_owned()),
                                icon: choice_icon(),
                            },
                        );
                    }
                }
                choices.extend(none().filter(|_| !multiple));
                choices
            })
        }
        _ => Signal::derive(Vec::new),
    }
}

/// Returns a button with the current value that opens a [`Picker`] for a single choice.
fn picker_field(
    column: Column,
    id: String,
    value: Signal<Value>,
    disabled: Signal<bool>,
    change: Callback<Value>,
) -> AnyView {
    let (open, active) = (RwSignal::new(false), RwSignal::new(false));
    let choices = choices_of(&column, value, active);
    let text = move || value.get().as_str().unwrap_or_default().to_owned();
    let chosen = Signal::derive(move || vec![text()]);
    let (name, label) = (column.name.clone(), column.label.clone());
    let value_view = {
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
    let anchor_id = id.clone();
    view! {
        <button type="button" class="input picker-button" id=id node_ref=node disabled=disabled aria-haspopup="listbox" aria-expanded=reactive_attr(move || open.get().to_string())
            on:pointerenter=move |_| active.set(true) on:focus=move |_| active.set(true) on:click=move |_| open.set(true)>
            <span class="grow">{value_view}</span><i class="i i-chevron-down sm" aria-hidden="true"></i>
        </button>
        {reactive_view(move || open.get().then(|| view! { <Picker label=label.clone() choices=choices chosen=chosen anchor=anchor_id.clone() pick=pick close=close/> }))}
    }
    .into_any()
}

/// Returns the chips of a list of references, with a button that opens a [`Picker`] to add more.
fn references(
    column: Column,
    id: String,
    entity: String,
    value: Signal<Value>,
    disabled: Signal<bool>,
    change: Callback<Value>,
) -> AnyView {
    let selected = move || value_view::reference_ids(Some(&value.get()));
    let (open, active) = (RwSignal::new(false), RwSignal::new(false));
    let choices = choices_of(&column, value, active);
    let toggle = Callback::new(move |picked: String| {
        let mut ids = selected();
        match ids.iter().position(|id| *id == picked) {
            Some(index) => drop(ids.remove(index)),
            None => ids.push(picked),
        }
        change.run(json!(ids));
    });
    let is_person = matches!(entity.as_str(), "employee" | "person");
    let chips = reactive_view(move || {
        selected()
            .into_iter()
            .map(|id| {
                let name = id.parse().ok().and_then(|u| client().read(|e| e.name(&entity, u))).unwrap_or_else(|| "No access".into());
                let removed = id.clone();
                view! {
                    <span class="chip"><span class="person">{is_person.then(|| value_view::avatar(&id, &name))}<span>{name.clone()}</span></span>
                        <button type="button" disabled=disabled aria-label=format!("Remove {name}") on:click=move |_| toggle.run(removed.clone())>{icon("x")}</button></span>
                }
            })
            .collect_view()
    });
    let anchor_id = id.clone();
    let (button_label, label) = (format!("Add to {}", column.label.to_lowercase()), column.label.clone());
    view! {
        <div class="references">
            {chips}
            <button type="button" class="btn quiet sm" id=id disabled=disabled aria-haspopup="listbox" aria-label=button_label on:pointerenter=move |_| active.set(true)
                on:focus=move |_| active.set(true) on:click=move |_| open.set(true)>{icon("plus")}"Add"</button>
            {reactive_view(move || open.get().then(|| view! { <Picker label=label.clone() choices=choices chosen=Signal::derive(selected) anchor=anchor_id.clone() multiple=true pick=toggle
                close=Callback::new(move |_: PickerExit| open.set(false))/> }))}
        </div>
    }
    .into_any()
}

/// Returns the compact view of a value for the properties panel; dates include the year.
pub(crate) fn property_value(column: &Column, row: &pmo_domain::Row) -> AnyView {
    match column.kind {
        ColumnKind::Date => {
            let day = format::text(row, &column.name);
            view! { <time datetime=day.clone()>{format::date(&day, true)}</time> }.into_any()
        }
        _ => value_view::value(column, row),
    }
}
