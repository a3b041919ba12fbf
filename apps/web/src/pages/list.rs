//! Things of a type, as a table whose columns come from the catalogue; and the ways to make one.

use super::NothingHere;
use crate::client::{client, network, new_id};
use crate::hooks::{
    catalogue, one, use_entity, use_entity_codes, use_entity_list, use_entity_list_when, use_entity_mutation,
    use_offline_entity, use_status,
};
use crate::ui::cell::{self, icon};
use crate::ui::dialog::Dialog;
use crate::ui::field::Form;
use crate::ui::format;
use crate::ui::live::{follow, live};
use crate::ui::shell::{Strips, SyncMark};
use crate::ui::table::use_viewport;
use leptos::prelude::*;
use leptos_router::components::A;
use leptos_router::hooks::use_navigate;
use pmo_domain::{Column, ColumnKind, EntityCode, EntityRef, EntityType, Row};
use pmo_sync::{ListKey, RowView};
use serde_json::{Value, json};
use uuid::Uuid;
use wasm_bindgen_futures::spawn_local;

/// The columns that a type's table shows.
pub fn table_columns(entity: &EntityType) -> Vec<Column> {
    let chosen: Vec<Column> = entity
        .config_datatable
        .get("columns")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|name| entity.column(name.as_str()?).cloned())
        .collect();
    if chosen.is_empty() { entity.columns.iter().filter(|c| !c.hidden).take(8).cloned().collect() } else { chosen }
}

/// Everything of a type that one may see.
#[component]
pub fn ListPage(
    /// The type.
    code: EntityCode,
) -> impl IntoView {
    let codes = use_entity_codes();
    let known = {
        let code = code.clone();
        Memo::new(move |_| codes.get().get(code.as_str()).cloned())
    };
    let (making, importing) = (RwSignal::new(false), RwSignal::new(false));
    let nothing_known = move || !codes.get().types.is_empty() && known.get().is_none();
    view! {
        {live(move || if nothing_known() { view! { <NothingHere/> }.into_any() } else { ().into_any() })}
        {live(move || known.get().map(|entity| {
            let key = ListKey::all(entity.code.clone());
            let code = entity.code.clone();
            // One that hangs below something may be made wherever one may make it there: its dialog asks where.
            let below = |tie: &pmo_domain::Child| tie.owned && entity.columns.iter().any(|c| c.required && tie.column.as_ref() == Some(&c.name));
            let makeable = entity.may_create || codes.get().parents_of(code.as_str()).any(|(_, tie)| below(tie));
            let importable = entity.may_create && code == "project";
            let words = format!("New {}", entity.name.to_lowercase());
            view! {
                <header class="topbar">
                    <nav class="crumbs" aria-label="Breadcrumb"><ol><li><h1 aria-current="page">{entity.ui_label.clone()}</h1></li></ol></nav>
                    {importable.then(|| view! { <button class="btn sm" on:click=move |_| importing.set(true)>{icon("file-up")}"Import"</button> })}
                    {makeable.then(|| view! { <button class="btn sm primary" on:click=move |_| making.set(true)>{icon("plus")}<span class="desk">{words}</span><span class="phone">"New"</span></button> })}
                    <SyncMark compact=true/>
                </header>
                <Strips/>
                <EntityTable entity=entity.clone() list=key/>
                {live(move || making.get().then(|| view! { <NewDialog code=code.clone() parent=None open=making/> }))}
                {live(move || importing.get().then(|| view! { <ImportDialog open=importing/> }))}
            }
        }))}
    }
}

/// Children of one type of a thing.
#[component]
pub fn ChildrenPage(
    /// The thing above.
    parent: EntityRef,
    /// The type below.
    child: EntityCode,
) -> impl IntoView {
    let codes = use_entity_codes();
    let row = use_entity::<RowView>(parent.clone());
    let making = RwSignal::new(false);
    live(move || {
        let catalogue = codes.get();
        let (Some(above), Some(entity), Some(tie)) = (
            catalogue.get(parent.code.as_str()).cloned(),
            catalogue.get(child.as_str()).cloned(),
            catalogue.child(parent.code.as_str(), child.as_str()).cloned(),
        ) else {
            return if catalogue.types.is_empty() { ().into_any() } else { view! { <NothingHere/> }.into_any() };
        };
        let key = ListKey {
            below: Some(pmo_sync::Below { parent: parent.clone(), column: tie.column.clone() }),
            ..ListKey::all(child.clone())
        };
        let (parent, child) = (parent.clone(), child.clone());
        let (below, asks) = (tie.column.is_some() && tie.code_column.is_none(), u64::from(u8::from(tie.create_level)));
        let parent_code = parent.code.clone();
        let makeable = move || {
            let level = row.get().and_then(|r| super::instance::level_of(&parent_code, &r));
            below && level.is_some_and(|level| level >= asks)
        };
        // Where only links tie them, what is there already is added and taken out.
        let linked = tie.column.is_none().then(|| parent.clone());
        let add = linked.clone().map(|parent| (parent, child.clone(), key.clone()));
        view! {
            <header class="topbar">
                <A href=format!("/{}", parent.code) attr:class="btn quiet icon lg phone" attr:aria-label="Back">{icon("chevron-left")}</A>
                <nav class="crumbs" aria-label="Breadcrumb"><ol>
                    <li><A href=format!("/{}", parent.code)>{above.ui_label.clone()}</A></li>
                    <li>{icon("chevron-right")}<h1 aria-current="page">{live(move || row.get().map(|r| format::text(&r.data, "name")))}</h1></li>
                </ol></nav>
                {let name = entity.name.clone(); live(move || makeable().then(|| view! { <button class="btn sm" on:click=move |_| making.set(true)>{icon("plus")}{name.clone()}</button> }))}
                {linked.is_some().then(|| view! { <button class="btn sm" on:click=move |_| making.set(true)>{icon("plus")}{format!("Add {}", entity.name.to_lowercase())}</button> })}
                <SyncMark compact=true/>
            </header>
            <ThingTabs parent=parent.clone()/>
            <Strips/>
            <EntityTable entity=entity.clone() list=key linked=linked/>
            {live(move || making.get().then(|| match add.clone() {
                Some((parent, child, key)) => view! { <LinkDialog parent=parent child=child list=key open=making/> }.into_any(),
                None => view! { <NewDialog code=child.clone() parent=Some((parent.clone(), tie.column.clone().unwrap_or_default())) open=making/> }.into_any(),
            }))}
        }
        .into_any()
    })
}

/// Names that are offered at once.
const MOST_OFFERED: usize = 8;

/// Hangs what is there already below a thing, where links alone say what hangs there. Works offline with every name that this device knows.
#[component]
fn LinkDialog(
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

/// The tabs of a thing: its own page, then what hangs below it.
#[component]
pub fn ThingTabs(
    /// The thing.
    parent: EntityRef,
    /// What stands at the right.
    #[prop(optional)]
    children: Option<Children>,
) -> impl IntoView {
    let codes = use_entity_codes();
    let address = format!("/{}/{}", parent.code, parent.id);
    // The tab that a thing opens on has the thing's own address.
    let first = if parent.code == "project" { "task" } else { "overview" };
    // The types may come after the page.
    let views = live(move || {
        let catalogue = codes.get();
        let children = catalogue.get(parent.code.as_str()).map(|entity| &entity.children[..]).unwrap_or_default();
        let below = children.iter().filter_map(|tie| catalogue.get(tie.code.as_str()));
        let tabs = below.map(|child| (child.code.as_str(), child.ui_label.clone()));
        let tab = |(tab, label): (&str, String)| {
            let href = if tab == first { address.clone() } else { format!("{address}/{tab}") };
            view! { <A href=href exact=true>{label}</A> }
        };
        std::iter::once(("overview", "Overview".to_owned())).chain(tabs).map(tab).collect::<Vec<_>>()
    });
    view! { <div class="subbar"><nav class="tabs" aria-label="Parts">{views}</nav>{children.map(|c| c())}</div> }
}

/// A table of things. Only rows that are seen are in the document.
#[component]
pub fn EntityTable(
    /// Their type.
    entity: EntityType,
    /// The list.
    list: ListKey,
    /// The thing above, where links alone tie them: rows can be taken out.
    #[prop(optional_no_strip)]
    linked: Option<EntityRef>,
) -> impl IntoView {
    let linked = StoredValue::new(linked);
    let columns = StoredValue::new(table_columns(&entity));
    let sort = RwSignal::new(("name".to_owned(), false));
    let key = Memo::new(move |_| {
        let (by, down) = sort.get();
        Some(list.clone().sorted(by, down))
    });
    let rows = use_entity_list_when(key);
    let status = use_status();
    let count = Memo::new(move |_| rows.with(|rows| rows.ids.len()));
    let viewport = use_viewport(96.0);
    let code = StoredValue::new(entity.code.clone());
    let label = entity.ui_label.clone();
    let head = columns.with_value(|columns| {
        columns
            .iter()
            .map(|column| {
                let (name, column_label) = (column.name.clone(), column.label.clone());
                let end = cell::at_the_end(&column.kind);
                let by = StoredValue::new(name);
                let direction = move || {
                    let (now, down) = sort.get();
                    (now == by.get_value()).then_some(if down { "descending" } else { "ascending" })
                };
                let turn = move |_| sort.update(|(now, down)| if *now == by.get_value() { *down = !*down } else { (*now, *down) = (by.get_value(), false) });
                view! { <th class:end=end aria-sort=follow(direction)><button on:click=turn>{column_label}{live(move || direction().map(|d| icon(if d == "ascending" { "chevron-down" } else { "arrow-up-down" })))}</button></th> }
            })
            .collect_view()
    });
    let widths = columns
        .with_value(|columns| columns.iter().map(|c| view! { <col class=cell::column_class(c)/> }).collect_view());
    let window = Memo::new(move |_| viewport.window(count.get()));
    let seen = move || {
        let window = window.get();
        rows.with(|rows| rows.ids.get(window.first..window.end).map(<[Uuid]>::to_vec).unwrap_or_default())
    };
    // A row is drawn again when it changes, and no other with it.
    let draw = move |id: Uuid| {
        let row = use_offline_entity::<RowView>(EntityRef::new(code.get_value(), id));
        live(move || match row.get() {
            Some(row) => columns
                .with_value(|columns| code.with_value(|code| row_view(columns, code, &row, linked.get_value())))
                .into_any(),
            None => view! { <tr data-id=id.to_string()><td colspan="99"><span class="skeleton"></span></td></tr> }
                .into_any(),
        })
    };
    let state = live(move || {
        let list = rows.get();
        if !list.ids.is_empty() {
            return ().into_any();
        }
        let unreached = list.failed || !status.get().online;
        if list.loaded {
            view! { <div class="blank"><span class="glyph">{icon("inbox")}</span><h2>"Nothing here yet"</h2><p>"What is made or shared with you appears here at once."</p></div> }.into_any()
        } else if unreached {
            view! { <div class="blank"><span class="glyph">{icon("cloud-off")}</span><h2>"This could not be loaded"</h2><p>"It has not been opened on this device before, and the server can't be reached. It loads as soon as the network returns."</p></div> }.into_any()
        } else {
            view! { <div class="skeletons" aria-busy="true">{(0..8).map(|_| view! { <span class="skeleton"></span> }).collect_view()}</div> }.into_any()
        }
    });
    view! {
        <div class="content" node_ref=viewport.node on:scroll=move |_| viewport.scrolled()>
            <table class="table cards virtual" aria-label=label aria-rowcount=follow(move || count.get().to_string())>
                <colgroup>{widths}<col class=if linked.with_value(Option::is_some) { "c-acts" } else { "c-mark" }/></colgroup>
                <thead><tr>{head}<th><span class="vh">"Sync"</span></th></tr></thead>
                <tbody>
                    {live(move || viewport.spacer(window.get().first))}
                    <For each=seen key=|id| *id children=draw/>
                    {live(move || viewport.spacer(count.get().saturating_sub(window.get().end)))}
                </tbody>
            </table>
            {state}
        </div>
    }
}

fn row_view(columns: &[Column], code: &EntityCode, row: &RowView, linked: Option<EntityRef>) -> impl IntoView + use<> {
    let id = format::text(&row.data, "id");
    let take_out = linked.zip(id.parse::<Uuid>().ok()).map(|(parent, id)| {
        let mutation = use_entity_mutation(code.clone());
        let part = move |_| mutation.unlink(id, parent.clone());
        view! { <button class="btn quiet icon sm" aria-label="Take out" title="Take out of this list" on:click=part>{icon("x")}</button> }
    });
    let address = format!("/{code}/{id}");
    // Where a phone's card puts what: the title, then stage, date and person, then progress.
    let mut places = vec!["p-d", "p-b", "p-a"];
    let mut place_of = |kind: &ColumnKind| -> &'static str {
        let wanted = match kind {
            ColumnKind::Label { .. } => "p-a",
            ColumnKind::Date => "p-b",
            ColumnKind::Reference { .. } | ColumnKind::References { .. } => "p-d",
            _ => return "",
        };
        match places.iter().position(|p| *p == wanted) {
            Some(at) => places.remove(at),
            None => "",
        }
    };
    // The day that matters on a card is the last one: when it is due.
    let due = columns.iter().rfind(|c| c.kind == ColumnKind::Date).map(|c| c.name.as_str());
    let cells: Vec<AnyView> = columns
        .iter()
        .map(|column| {
            let unsent = row.pending_fields.contains(&column.name);
            let shown = cell::value(column, &row.data);
            let shown = if unsent { view! { <span class="unsent">{shown}</span> }.into_any() } else { shown };
            match column.name.as_str() {
                "name" => view! { <th scope="row" class="p-title"><span class="project-name"><A href=address.clone()>{shown}</A></span></th> }.into_any(),
                "code" | "wbs" => view! { <td class="softer num">{shown}</td> }.into_any(),
                "completion_pct" => view! { <td class="p-c">{shown}</td> }.into_any(),
                _ => {
                    let earlier = column.kind == ColumnKind::Date && Some(column.name.as_str()) != due;
                    let place = if earlier { "" } else { place_of(&column.kind) };
                    let end = if cell::at_the_end(&column.kind) { " end num" } else { "" };
                    view! { <td class=format!("soft {place}{end}")>{shown}</td> }.into_any()
                }
            }
        })
        .collect();
    view! { <tr class:conflict=row.attention data-id=id>{cells}<td class="gutter p-end">{sync_sign(row)}{take_out}</td></tr> }
}

/// The small sign on a row that has not been sent, or needs a person.
pub fn sync_sign(row: &RowView) -> AnyView {
    if row.attention {
        view! { <span title="Needs your choice">{icon("conflict")}</span> }.into_any()
    } else if row.pending {
        view! { <span title="Saved on this device, not sent yet">{icon("pending")}</span> }.into_any()
    } else {
        ().into_any()
    }
}

/// Makes a thing by its name; the rest is filled in on its page.
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
    let required: Vec<Column> =
        entity.iter().flat_map(|e| e.columns.clone()).filter(|c| c.required && c.name != "name").collect();
    let values = RwSignal::new(more.unwrap_or_default());
    let within = parent.clone();
    let form = Form::of(move || {
        let mut row = values.get();
        row.extend(within.iter().flat_map(|(parent, column)| one(column, json!(parent.id))));
        row
    });
    let navigate = use_navigate();
    let close = Callback::new(move |()| open.set(false));
    let needed: Vec<String> = required.iter().map(|c| c.name.clone()).chain(["name".to_owned()]).collect();
    let complete = Memo::new(move |_| {
        form.wrong.with(Vec::is_empty)
            && values.with(|v| {
                needed
                    .iter()
                    .all(|n| v.get(n).is_some_and(|x| !x.is_null() && x.as_str().is_none_or(|s| !s.trim().is_empty())))
            })
    });
    let opens = parent.is_none();
    let submit = {
        let (code, parent) = (code.clone(), parent.clone());
        move |event: leptos::ev::SubmitEvent| {
            event.prevent_default();
            if !complete.get_untracked() {
                return;
            }
            let mut row = values.get_untracked();
            if let Some((parent, column)) = &parent {
                row.insert(column.clone(), json!(parent.id));
            }
            let id = use_entity_mutation(code.clone()).create(row);
            open.set(false);
            if let Some(made) = made {
                made.set(Some(id));
            }
            if opens {
                navigate(&format!("/{code}/{id}"), leptos_router::NavigateOptions::default());
            }
        }
    };
    let fields = required
        .into_iter()
        .map(|column| {
            let name = StoredValue::new(column.name.clone());
            let value =
                Signal::derive(move || values.with(|v| v.get(&name.get_value()).cloned().unwrap_or(Value::Null)));
            let change = Callback::new(move |value: Value| values.update(|v| v.extend(one(&name.get_value(), value))));
            view! { <crate::ui::field::Field column=column value=value changed=false enabled=true change=change/> }
        })
        .collect_view();
    let focus = NodeRef::<leptos::html::Input>::new();
    Effect::new(move || {
        if let Some(input) = focus.get() {
            let _ = input.focus();
        }
    });
    view! {
        <Dialog title=title close=close>
            <form class="body new-form" on:submit=submit>
                <div class="field"><label for="new-name">"Name"</label><span class="input"><input id="new-name" node_ref=focus maxlength="500" autocomplete="off"
                    on:input=move |e| values.update(|v| v.extend(one("name", json!(event_target_value(&e)))))/></span></div>
                {fields}
                <footer class="buttons"><button type="button" class="btn quiet" on:click=move |_| close.run(())>"Cancel"</button>
                    <button class="btn primary" disabled=follow(move || !complete.get())>"Create"</button></footer>
            </form>
        </Dialog>
    }
}

/// Imports a plan from a file, and says what was taken and what was not.
#[component]
fn ImportDialog(
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

/// The name of a thing for a crumb.
pub fn name_of(entity: EntityRef) -> Signal<String> {
    let row = use_entity::<RowView>(entity.clone());
    // A row that names it may have come sooner than itself.
    let named = move || client().read(|e| e.name(entity.code.as_str(), entity.id)).unwrap_or_default();
    Signal::derive(move || row.get().map_or_else(&named, |r| format::text(&r.data, "name")))
}
