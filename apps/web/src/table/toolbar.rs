//! The bar above a table: conditions as chips, the order, which columns are shown and in which order. All of it goes into the page's address.

use super::TableContext;
use super::view_state::TableView;
use crate::client::client;
use crate::pages::export;
use crate::ui::dialog::Dialog;
use crate::ui::field::{Widget, choices_of, parse_input, to_input_text};
use crate::ui::format;
use crate::ui::picker::{Choice, ChoiceIcon, Picker, PickerExit};
use crate::ui::popover::{close_when_outside, open_beside};
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::query::{Filter, Operator};
use pmo_domain::{Column, ColumnKind};
use serde_json::{Value, json};

/// How a column can be compared, each way with its words.
fn comparisons(kind: &ColumnKind) -> &'static [(Operator, &'static str)] {
    use ColumnKind as K;
    use Operator as O;
    match kind {
        K::Datalabel { .. } | K::Reference { .. } | K::Id | K::Uuid => {
            &[(O::In, "is any of"), (O::Ne, "is not"), (O::IsNull, "is empty")]
        }
        K::References { .. } => &[(O::Eq, "includes"), (O::IsNull, "is empty")],
        K::Boolean => &[(O::Eq, "is")],
        K::Date | K::Timestamp => &[(O::Gte, "from"), (O::Lte, "until"), (O::Eq, "on"), (O::IsNull, "is empty")],
        K::Money | K::Percent | K::Hours | K::Days | K::Integer | K::Number => {
            &[(O::Gte, "at least"), (O::Lte, "at most"), (O::Eq, "is"), (O::IsNull, "is empty")]
        }
        K::ShortText | K::LongText => &[(O::Contains, "contains"), (O::Eq, "is"), (O::IsNull, "is empty")],
        K::Json | K::TextList => &[(O::IsNull, "is empty")],
    }
}

/// A condition in words: how it compares, and with what.
fn describe_filter(column: &Column, filter: &Filter) -> (String, String) {
    let how = comparisons(&column.kind).iter().find(|(o, _)| *o == filter.operator).map_or("is", |(_, words)| words);
    if filter.operator == Operator::IsNull {
        let empty = filter.values.first().is_some_and(|v| v == "true");
        return (if empty { "is empty" } else { "is not empty" }.to_owned(), String::new());
    }
    let word = |value: &String| match &column.kind {
        ColumnKind::Reference { entity } | ColumnKind::References { entity } => {
            let named = value.parse().ok().and_then(|id| client().read(|e| e.name(entity, id)));
            named.unwrap_or_else(|| "Not visible to you".to_owned())
        }
        ColumnKind::Date => format::date(value, true),
        ColumnKind::Boolean => if value == "true" { "yes" } else { "no" }.to_owned(),
        _ => value.clone(),
    };
    let how = if filter.operator == Operator::In && filter.values.len() == 1 { "is" } else { how };
    (how.to_owned(), filter.values.iter().map(word).collect::<Vec<_>>().join(", "))
}

/// The bar.
#[component]
pub fn TableTools(
    /// The table.
    grid: TableContext,
) -> impl IntoView {
    // An address may have been written by hand, or for a type that was another.
    Effect::new(move || {
        let (present, checked) =
            grid.arrangement.with(|a| (a.clone(), grid.entity.with_value(|e| a.clone().checked(e))));
        if present != checked {
            grid.arrange.run(checked);
        }
    });
    // The filter that is open: a new one of a column, or one that is there already.
    let open = RwSignal::new(None::<(Column, Option<usize>)>);
    let (choosing, arranging) = (RwSignal::new(false), RwSignal::new(false));
    let columns: Vec<Column> = grid
        .entity
        .with_value(|e| e.columns.iter().filter(|c| !c.hidden && c.kind != ColumnKind::Json).cloned().collect());
    let choices = Signal::derive({
        let columns = columns.clone();
        move || {
            columns
                .iter()
                .map(|c| Choice { value: c.name.clone(), label: c.label.clone(), sign: ChoiceIcon::Bare })
                .collect::<Vec<_>>()
        }
    });
    let of = StoredValue::new(columns);
    let pick = Callback::new(move |name: String| {
        if let Some(column) = of.with_value(|all| all.iter().find(|c| c.name == name).cloned()) {
            open.set(Some((column, None)));
        }
    });
    let without = move |n: usize| {
        let mut arrangement = grid.arrangement.get_untracked();
        if n < arrangement.filters.len() {
            arrangement.filters.remove(n);
        }
        grid.arrange.run(arrangement);
    };
    let chips = reactive_view(move || {
        let filters = grid.arrangement.with(|a| a.filters.clone());
        let chip = |(n, filter): (usize, Filter)| {
            let column = grid.entity.with_value(|e| e.column(&filter.column).cloned())?;
            let (how, what) = describe_filter(&column, &filter);
            let label = column.label.clone();
            let change = move |_| open.set(Some((column.clone(), Some(n))));
            Some(view! {
                <span class="chip"><span>{label.clone()}</span><button on:click=change.clone()>{how}</button>{(!what.is_empty()).then(|| view! { <button class="value" on:click=change title=what.clone()>{what.clone()}</button> })}
                    <button aria-label=format!("Remove filter {label}") on:click=move |_| without(n)>{icon("x")}</button></span>
            })
        };
        filters.into_iter().enumerate().filter_map(chip).collect_view()
    });
    let failed = RwSignal::new(None::<String>);
    let out = move |_| {
        let code = grid.entity.with_value(|e| e.code.clone());
        let columns: Vec<String> = grid.columns.with_untracked(|all| all.iter().map(|c| c.name.clone()).collect());
        // The code comes first: by it the rows are known when they come back.
        let fields: Vec<String> =
            ["code".to_owned()].into_iter().chain(columns.into_iter().filter(|c| c != "code")).collect();
        let mut arrangement = grid.arrangement.get_untracked();
        (arrangement.columns, arrangement.widths) = (Vec::new(), Vec::new());
        arrangement.sort.get_or_insert_with(|| ("name".to_owned(), false));
        if let Some(below) = grid.below.get_value() {
            arrangement.filters.push(below);
        }
        let asked = arrangement.to_query();
        let sign = if asked.is_empty() { "?" } else { "&" };
        // What links alone tie no filter can say.
        let parent = grid.linked.get_value().map(|parent| format!("&parent={}:{}", parent.code, parent.id));
        let parent = parent.unwrap_or_default();
        export(
            format!("/{code}/export{asked}{sign}fields={}{parent}", fields.join(",")),
            format!("{code}.csv"),
            failed,
        );
    };
    let shown = move || grid.rows.with(|rows| rows.loaded.then(|| rows.ids.len()));
    view! {
        <div class="chips">{chips}<button class="btn quiet sm" id="add-filter" aria-haspopup="listbox" on:click=move |_| choosing.set(true)>{icon("list-filter")}"Filter"</button></div>
        <span class="meta softer num desk" data-testid="row-count">{reactive_view(move || shown().map(|n| if n == 1 { "1 row".to_owned() } else { format!("{n} rows") }))}</span>
        {reactive_view(move || failed.get().map(|message| view! { <span class="hint error" role="alert">{icon("circle-alert")}{message}</span> }))}
        <button class="btn quiet sm phone" aria-pressed=reactive_attr(move || grid.touch_selecting.get().to_string()) on:click=move |_| grid.touch_selecting.update(|on| *on = !*on)>{icon("check")}"Select"</button>
        <button class="btn quiet sm" title="What this table shows, as CSV" on:click=out>{icon("file-down")}"Export"</button>
        <button class="btn quiet sm" on:click=move |_| arranging.set(true)>{icon("columns-3")}"Columns"</button>
        {reactive_view(move || choosing.get().then(|| view! { <Picker label="Filter by" choices=choices chosen=Signal::derive(Vec::new) beside="add-filter" pick=pick close=Callback::new(move |_: PickerExit| choosing.set(false))/> }))}
        {reactive_view(move || open.get().map(|(column, which)| view! { <FilterForm grid=grid column=column which=which open=open/> }))}
        {reactive_view(move || arranging.get().then(|| view! { <ColumnsDialog grid=grid open=arranging/> }))}
    }
}

/// One condition: how a column compares, with what.
#[component]
fn FilterForm(
    grid: TableContext,
    column: Column,
    which: Option<usize>,
    open: RwSignal<Option<(Column, Option<usize>)>>,
) -> impl IntoView {
    let present = which.and_then(|n| grid.arrangement.with_untracked(|a| a.filters.get(n).cloned()));
    let ways = comparisons(&column.kind);
    let operator = RwSignal::new(present.as_ref().map_or(ways[0].0, |f| f.operator));
    // What it compares with: several for 'any of'.
    let values = RwSignal::new(present.map(|f| f.values).unwrap_or_default());
    let error = RwSignal::new(None::<String>);
    let choosing = RwSignal::new(false);
    let label = column.label.clone();
    let place = NodeRef::<leptos::html::Div>::new();
    Effect::new(move || {
        if let Some(menu) = place.get() {
            open_beside(&menu, "add-filter");
            if let Ok(Some(field)) = menu.query_selector("input, button.add, select") {
                use wasm_bindgen::JsCast;
                let _ = field.unchecked_into::<web_sys::HtmlElement>().focus();
            }
        }
    });
    close_when_outside(place, move || {
        if !choosing.get_untracked() {
            open.set(None);
        }
    });
    let of = StoredValue::new(column.clone());
    let apply = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let operator = operator.get_untracked();
        let mut texts = values.get_untracked();
        if operator == Operator::IsNull {
            texts = vec![texts.first().filter(|t| *t == "false").cloned().unwrap_or_else(|| "true".to_owned())];
        }
        if of.with_value(|c| c.kind == ColumnKind::Boolean) && texts.is_empty() {
            texts = vec!["false".to_owned()];
        }
        if texts.iter().all(|t| t.trim().is_empty()) {
            return error.set(Some("Say what to compare with".to_owned()));
        }
        let filter = Filter { column: of.with_value(|c| c.name.clone()), operator, values: texts };
        let (name, value) = filter.to_query_pair();
        // The same reader as the server's: what it would refuse is said here.
        match grid.entity.with_value(|e| pmo_domain::query::ListQuery::parse(&[(name, value)], e)) {
            Err(wrong) => error.set(wrong.into_iter().next().map(|e| e.message)),
            Ok(read) => {
                let mut to = grid.arrangement.get_untracked();
                match which.filter(|n| *n < to.filters.len()) {
                    Some(n) => to.filters.splice(n..=n, read.filters).for_each(drop),
                    None => to.filters.extend(read.filters),
                }
                grid.arrange.run(to);
                open.set(None);
            }
        }
    };
    let options = ways
        .iter()
        .map(|(way, words)| view! { <option value=words.to_string() selected=operator.get_untracked() == *way>{*words}</option> })
        .collect_view();
    let choose_way = move |event| {
        let words = event_target_value(&event);
        if let Some((way, _)) = ways.iter().find(|(_, w)| *w == words) {
            operator.set(*way);
            error.set(None);
        }
    };
    let listed = matches!(
        column.kind,
        ColumnKind::Datalabel { .. } | ColumnKind::Reference { .. } | ColumnKind::References { .. }
    );
    let value_view = reactive_view(move || {
        let column = of.get_value();
        match operator.get() {
            Operator::IsNull => ().into_any(),
            way if listed => {
                let several = way == Operator::In;
                let choices = choices_of(&Column { not_null: true, ..column.clone() }, Signal::derive(|| Value::Null), RwSignal::new(true));
                let pick = Callback::new(move |picked: String| values.update(|all| {
                    if !several {
                        *all = vec![picked];
                    } else if let Some(at) = all.iter().position(|v| *v == picked) {
                        all.remove(at);
                    } else {
                        all.push(picked);
                    }
                }));
                let chosen = Signal::derive(move || values.get());
                let words = move || {
                    let filter = Filter { column: String::new(), operator: Operator::Eq, values: values.get() };
                    let (_, what) = of.with_value(|c| describe_filter(c, &filter));
                    if what.is_empty() { "Choose…".to_owned() } else { what }
                };
                let label = column.label.clone();
                view! {
                    <button type="button" class="input picked add" id="filter-value" aria-haspopup="listbox" on:click=move |_| choosing.set(true)><span class="grow">{reactive_view(words)}</span><i class="i i-chevron-down sm" aria-hidden="true"></i></button>
                    {reactive_view(move || choosing.get().then(|| view! { <Picker label=label.clone() choices=choices chosen=chosen beside="filter-value" several=several pick=pick
                        close=Callback::new(move |_: PickerExit| choosing.set(false))/> }))}
                }
                .into_any()
            }
            _ if column.kind == ColumnKind::Boolean => view! {
                <select class="input" aria-label="Value" on:change=move |e| values.set(vec![event_target_value(&e)])>
                    <option value="false" selected=values.with_untracked(|v| v.first().is_some_and(|v| v == "false"))>"no"</option>
                    <option value="true" selected=values.with_untracked(|v| v.first().is_some_and(|v| v == "true"))>"yes"</option></select>
            }
            .into_any(),
            _ if column.kind == ColumnKind::LongText => view! {
                <input class="input" aria-label="Value" prop:value=values.with_untracked(|v| v.first().cloned().unwrap_or_default()) on:input=move |e| values.set(vec![event_target_value(&e)])/>
            }
            .into_any(),
            _ => {
                let kind = column.kind.clone();
                let value = Signal::derive(move || values.with(|v| v.first().map_or(Value::Null, |text| match parse_input(&of.get_value(), text) {
                    Ok(value) => value,
                    Err(_) => json!(text),
                })));
                let change = Callback::new(move |new: Value| {
                    error.set(None);
                    // A moment and a day are compared as they are sent; numbers as they are written.
                    let text = match &new {
                        Value::String(s) => s.clone(),
                        other => to_input_text(&kind, other),
                    };
                    values.set(if text.is_empty() { Vec::new() } else { vec![text] });
                });
                view! { <Widget column=column id="filter-value" value=value enabled=true change=change/> }.into_any()
            }
        }
    });
    let keys = move |event: leptos::ev::KeyboardEvent| {
        if event.key() == "Escape" {
            open.set(None);
        }
    };
    let not_empty = move || operator.get() == Operator::IsNull;
    view! {
        <div class="menu filter-form" popover="manual" node_ref=place on:keydown=keys>
            <form on:submit=apply aria-label=format!("Filter by {label}")>
                <strong>{label.clone()}</strong>
                <select class="input" aria-label="How it compares" on:change=choose_way>{options}</select>
                {value_view}
                {reactive_view(move || not_empty().then(|| view! { <label class="check"><input type="checkbox" class="i-check" on:change=move |e| values.set(vec![(!event_target_checked(&e)).to_string()])/>"Turned round: is not empty"</label> }))}
                {reactive_view(move || error.get().map(|message| view! { <span class="hint error" role="alert">{icon("circle-alert")}{message}</span> }))}
                <footer class="buttons"><button type="button" class="btn quiet sm" on:click=move |_| open.set(None)>"Cancel"</button><button class="btn primary sm">"Apply"</button></footer>
            </form>
        </div>
    }
}

/// Which columns are shown, in which order.
#[component]
fn ColumnsDialog(grid: TableContext, open: RwSignal<bool>) -> impl IntoView {
    let all: Vec<Column> = grid.entity.with_value(|e| {
        e.columns
            .iter()
            .filter(|c| !c.hidden || matches!(c.name.as_str(), "created_ts" | "updated_ts" | "version"))
            .filter(|c| c.kind != ColumnKind::Json)
            .cloned()
            .collect()
    });
    let all = StoredValue::new(all);
    let usual: Vec<String> = grid.usual().into_iter().map(|c| c.name).collect();
    let usual = StoredValue::new(usual);
    let shown =
        Memo::new(move |_| grid.columns.with(|columns| columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>()));
    let set = move |columns: Vec<String>| {
        let columns = if usual.with_value(|usual| *usual == columns) { Vec::new() } else { columns };
        grid.arrange.run(TableView { columns, ..grid.arrangement.get_untracked() });
    };
    // Those that are shown come first, in their order. A line stays the same element wherever it goes, or the keyboard would lose it.
    let ordered = move || {
        let shown = shown.get();
        let rest = all.with_value(|all| {
            all.iter().map(|c| c.name.clone()).filter(|name| !shown.contains(name)).collect::<Vec<_>>()
        });
        shown.into_iter().chain(rest).collect::<Vec<_>>()
    };
    let line = move |name: String| {
        let label =
            all.with_value(|all| all.iter().find(|c| c.name == name).map(|c| c.label.clone())).unwrap_or_default();
        let (words, fixed) = (format!("Move {label} up"), name == "name");
        let name = StoredValue::new(name);
        let place = Memo::new(move |_| shown.with(|shown| shown.iter().position(|c| *c == name.get_value())));
        let turn = move |_| {
            let mut columns = shown.get_untracked();
            match place.get_untracked() {
                Some(at) => drop(columns.remove(at)),
                None => columns.push(name.get_value()),
            }
            set(columns);
        };
        let up = move |_| {
            let mut columns = shown.get_untracked();
            if let Some(at) = place.get_untracked().filter(|at| *at > 0) {
                columns.swap(at, at - 1);
                set(columns);
            }
        };
        // Without its name a row could not be opened.
        view! {
            <li><label class="check grow"><input type="checkbox" class="i-check" prop:checked=reactive_attr(move || place.get().is_some()) disabled=fixed on:change=turn/>{label}</label>
                <button class="btn quiet icon sm" aria-label=words disabled=reactive_attr(move || place.get().is_none_or(|at| at == 0)) on:click=up>{icon("chevron-up")}</button></li>
        }
    };
    let close = Callback::new(move |()| {
        open.set(false);
        grid.focus();
    });
    let reset = move |_| {
        grid.arrange.run(TableView { columns: Vec::new(), widths: Vec::new(), ..grid.arrangement.get_untracked() })
    };
    view! {
        <Dialog title="Columns" lead="Which of them this table shows. The page's address keeps it." close=close>
            <div class="body"><ul class="rows columns"><For each=ordered key=|name| name.clone() children=line/></ul></div>
            <footer class="buttons"><button class="btn quiet" on:click=reset>"As usual"</button><button class="btn primary" on:click=move |_| close.run(())>"Done"</button></footer>
        </Dialog>
    }
}
