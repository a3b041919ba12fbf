//! Things of a type, as a table whose columns come from the catalogue; and the ways to make one.

use super::{NewDialogProps, NothingHere};
use crate::client::client;
use crate::hooks::{
    use_entity, use_entity_codes, use_entity_list_when, use_entity_mutation, use_offline_entity, use_status,
};
use crate::parts::over_the_page;
use crate::ui::cell::{self, icon};
use crate::ui::format;
use crate::ui::live::{follow, live};
use crate::ui::shell::{Strips, SyncMark};
use crate::ui::table::use_viewport;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::{Column, ColumnKind, EntityCode, EntityRef, EntityType};
use pmo_sync::{ListKey, RowView};
use serde_json::Value;
use uuid::Uuid;

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
                {live(move || making.get().then(|| {
                    let code = code.clone();
                    over_the_page(move |pages| (pages.new_dialog)(NewDialogProps::builder().code(code.clone()).parent(None).open(making).build()))
                }))}
                {live(move || importing.get().then(|| over_the_page(move |pages| (pages.import_dialog)(importing))))}
            }
        }))}
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

/// The name of a thing for a crumb.
pub fn name_of(entity: EntityRef) -> Signal<String> {
    let row = use_entity::<RowView>(entity.clone());
    // A row that names it may have come sooner than itself.
    let named = move || client().read(|e| e.name(entity.code.as_str(), entity.id)).unwrap_or_default();
    Signal::derive(move || row.get().map_or_else(&named, |r| format::text(&r.data, "name")))
}
