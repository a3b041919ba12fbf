//! Page of one entity: title, description, fields and properties.
//!
//! The fields come from the catalog. Edits form a draft that is persisted on every keystroke.

use super::administration::{PasswordReset, is_administrator};
use super::comments::CommentThreadList;
use super::create_dialogs::NewDialog;
use super::files::ArtifactFile;
use super::history::History;
use super::import_export::EntityActions;
use super::links::LinkedParents;
use super::list::{EntityTabs, name_of};
use super::not_found::NotFoundPage;
use super::sharing::{PresenceAvatars, SharingDialog};
use crate::client::client;
use crate::hooks::{
    DraftHandle, catalog, is_terminal, row_with, use_draft, use_entity, use_entity_codes, use_not_found, use_rows,
};
use crate::table::editor::OptionEditor;
use crate::ui::conflict_dialog::conflict_of;
use crate::ui::dialog::Dialog;
use crate::ui::field::{Field, FieldControl, FormState, field_error, property_value, validated_input};
use crate::ui::format;
use crate::ui::layout::{Banners, SyncStatusButton};
use crate::ui::markdown::MarkdownField;
use crate::ui::offline_button::OfflineButton;
use crate::ui::overlay_state::OverlayState;
use crate::ui::picker::PickerExit;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::rejected_edits::RejectedBanner;
use crate::ui::toast::delete_with_undo;
use crate::ui::value_view::{self, icon};
use leptos::prelude::*;
use leptos_router::components::A;
use leptos_router::hooks::use_navigate;
use pmo_domain::predicate::ComparableValue;
use pmo_domain::{Column, ColumnKind, EntityRef, EntityType, Permission, sort};
use pmo_sync::{ListKey, RowView};
use serde_json::{Value, json};

/// State shared by the components of the page.
#[derive(Clone, Copy)]
struct EntityPageState {
    row: Memo<Option<RowView>>,
    draft: DraftHandle,
    can_edit: Memo<bool>,
}

impl EntityPageState {
    /// Returns the value of a column: from the draft if it has one, else from the row.
    fn value(&self, column: &str) -> Value {
        let drafted = self.draft.draft.with(|d| d.as_ref().and_then(|d| d.current_data.get(column).cloned()));
        drafted
            .or_else(|| self.row.with(|r| r.as_ref().and_then(|r| r.data.get(column).cloned())))
            .unwrap_or(Value::Null)
    }

    fn changed(&self, column: &str) -> bool {
        self.draft.draft.with(|d| d.as_ref().is_some_and(|d| d.current_data.contains_key(column)))
    }
}

/// Returns whether a column belongs to the side panel: stage, dates, progress and people.
fn is_property(column: &Column) -> bool {
    match &column.kind {
        ColumnKind::Datalabel { set } => !set.ends_with("_type"),
        ColumnKind::Date | ColumnKind::Percent => true,
        ColumnKind::Days => column.name == "duration_days",
        ColumnKind::Reference { entity } | ColumnKind::References { entity } => entity == "employee",
        _ => false,
    }
}

/// Page of one entity; shows a placeholder while loading and a message if it is not found.
#[component]
pub(crate) fn EntityPage(
    /// Entity to show.
    entity: EntityRef,
) -> impl IntoView {
    let codes = use_entity_codes();
    let row = use_entity::<RowView>(entity.clone());
    let missing = use_not_found(entity.clone());
    let not_found = Memo::new(move |_| missing.get() && row.get().is_none());
    let kind = {
        let code = entity.code.clone();
        Memo::new(move |_| codes.get().get(code.as_str()).cloned())
    };
    let loaded = Memo::new(move |_| row.get().is_some());
    reactive_view(move || {
        if not_found.get() {
            return view! { <NotFoundPage entity=entity.clone()/> }.into_any();
        }
        match (kind.get(), loaded.get()) {
            (Some(kind), true) => view! { <EntityView kind=kind entity=entity.clone() row=row/> }.into_any(),
            _ => view! { <div class="content"><div class="skeletons" aria-busy="true">{(0..6).map(|_| view! { <span class="skeleton"></span> }).collect_view()}</div></div> }.into_any(),
        }
    })
}

#[component]
fn EntityView(kind: EntityType, entity: EntityRef, row: Memo<Option<RowView>>) -> impl IntoView {
    let draft = use_draft(entity.clone());
    let level = {
        let code = entity.code.clone();
        Memo::new(move |_| crate::hooks::known_permission(&code, &row.get()?))
    };
    let has_permission = move |permission: Permission| {
        Memo::new(move |_| level.get().is_some_and(|l| l >= u64::from(u8::from(permission))))
    };
    let page = EntityPageState { row, draft, can_edit: has_permission(Permission::Edit) };
    let can_delete = has_permission(Permission::Delete);
    let form = FormState::from_row(move || {
        let mut all = row.get().map(|r| (*r.data).clone()).unwrap_or_default();
        all.extend(draft.draft.get().into_iter().flat_map(|d| d.current_data));
        all
    });
    let storage_error = client().storage_error.clone();
    let is_valid = move || form.invalid_fields.with_untracked(|fields| fields.is_empty());
    let title = move || row.with(|r| r.as_ref().map(|r| format::text(&r.data, "name")).unwrap_or_default());
    let code_text = move || row.with(|r| r.as_ref().map(|r| format::text(&r.data, "code")).unwrap_or_default());
    let deleting = RwSignal::new(false);
    let (properties, fields): (Vec<Column>, Vec<Column>) = kind
        .columns
        .iter()
        .filter(|c| {
            !c.hidden
                && !matches!(c.name.as_str(), "name" | "descr" | "code" | "wbs")
                && !matches!(c.kind, ColumnKind::Json | ColumnKind::Uuid | ColumnKind::TextList)
        })
        .cloned()
        .partition(is_property);
    let properties = sort::sorted_by_key(properties, |c: &Column| match &c.kind {
        ColumnKind::Datalabel { set } if set.ends_with("_stage") || set.ends_with("_status") => 0,
        ColumnKind::Datalabel { .. } => 1,
        ColumnKind::References { .. } | ColumnKind::Reference { .. } => 2,
        ColumnKind::Percent => 3,
        _ if c.name.starts_with("actual") => 5,
        _ => 4,
    });
    let key_listener = window_event_listener(leptos::ev::keydown, move |event| {
        let command = event.ctrl_key() || event.meta_key();
        let drafting = draft.draft.with_untracked(Option::is_some);
        match event.key().to_lowercase().as_str() {
            "s" if command && drafting => {
                if is_valid() {
                    draft.commit();
                }
            }
            "z" if command && drafting && event.shift_key() => draft.redo(),
            "z" if command && drafting => draft.undo(),
            "y" if command && drafting => draft.redo(),
            _ => return,
        }
        event.prevent_default();
    });
    on_cleanup(move || key_listener.remove());
    let tabs =
        (!kind.children.is_empty() && kind.code != "task").then(|| view! { <EntityTabs parent=entity.clone()/> });
    let can_be_pinned = kind.children.iter().any(|relation| relation.owned);
    let is_task = kind.code == "task";
    let children = is_task.then(|| view! { <TaskChildren task=entity.clone() page=page/> });
    let links = is_task.then(|| view! { <TaskLinks task=entity.clone() page=page/> });
    let is_free_link = |(_, relation): (&EntityType, &pmo_domain::ChildRelation)| relation.parent_column.is_none();
    let linked_parents = catalog()
        .parent_relations(kind.code.as_str())
        .any(is_free_link)
        .then(|| view! { <LinkedParents entity=entity.clone()/> });
    let file = (kind.code == "artifact")
        .then(|| view! { <ArtifactFile artifact=entity.clone() row=row can_edit=page.can_edit/> });
    let sign_in =
        (kind.code == "person" && is_administrator()).then(|| view! { <PasswordReset person=entity.clone()/> });
    let has_comments = kind.children.iter().any(|c| c.code == "message");
    // Comments and history share one place; types without comments show the history.
    let show_history = RwSignal::new(!has_comments);
    let (about, stored_kind) = (StoredValue::new(entity.clone()), StoredValue::new(kind.clone()));
    let activity = reactive_view(move || match show_history.get() {
        true => {
            view! { <History entity=about.get_value() kind=stored_kind.get_value() row=row can_edit=page.can_edit/> }
                .into_any()
        }
        false => view! { <CommentThreadList entity=about.get_value() level=level/> }.into_any(),
    });
    let activity_switch = has_comments.then(|| view! {
        <div class="section sides"><div class="segments" role="group" aria-label="Comments or history">
            <button type="button" aria-pressed=reactive_attr(move || (!show_history.get()).to_string()) on:click=move |_| show_history.set(false)>{icon("message-square")}"Comments"</button>
            <button type="button" aria-pressed=reactive_attr(move || show_history.get().to_string()) on:click=move |_| show_history.set(true)>{icon("history")}"History"</button>
        </div></div>
    });
    let sharing = RwSignal::new(false);
    let label = kind.name.clone();
    let kind_name = kind.name.to_lowercase();
    let delete_entity = entity.clone();
    let navigate = use_navigate();
    let back = parent_href(kind.clone(), row);
    let overlays = expect_context::<OverlayState>();
    let confirm = {
        let (back, entity) = (back.clone(), delete_entity.clone());
        Callback::new(move |()| {
            deleting.set(false);
            draft.discard();
            let target = back.clone()();
            delete_with_undo(overlays, vec![entity.clone()], format!("{} deleted", title()));
            navigate(&target, leptos_router::NavigateOptions::default());
        })
    };
    let deleted_kind = kind_name.clone();
    view! {
        <header class="topbar">
            {let back = back.clone(); view! { <A href=move || back() attr:class="btn quiet icon lg phone" attr:aria-label="Back">{icon("chevron-left")}</A> }}
            <Crumbs kind=kind.clone() row=row/>
            <PresenceAvatars entity=entity.clone()/>
            {can_be_pinned.then(|| view! { <OfflineButton entity=entity.clone()/> })}
            <button class="btn quiet icon" aria-label="Share" title="Share" on:click=move |_| sharing.set(true)>{icon("users")}</button>
            {reactive_view(move || can_delete.get().then(|| view! { <button class="btn quiet icon" aria-label="Delete" title="Delete" on:click=move |_| deleting.set(true)>{icon("trash-2")}</button> }))}
            <EntityActions entity=about.get_value() title=Signal::derive(title)/>
            <SyncStatusButton compact=true/>
        </header>
        {tabs}
        <Banners/>
        <ConflictBanner entity=entity.clone() row=row/>
        <RejectedBanner entity=entity.clone()/>
        <div class="content">
            <div class="instance">
                <form class="doc" aria-label=label on:submit=|e| e.prevent_default()>
                    <Title page=page column=kind.column("name").cloned()/>
                    <div class="doc-meta first">
                        <span class="num">{reactive_view(move || row.with(|r| r.as_ref().map(|r| format::text(&r.data, "wbs")).filter(|w| !w.is_empty()).unwrap_or_else(code_text)))}</span>
                        {reactive_view(move || row.with(|r| r.as_ref().filter(|r| r.pending).map(|_| view! { <span>{icon("pending")}"Saved locally, pending sync"</span> })))}
                        {reactive_view(move || draft.draft.with(|d| d.as_ref().filter(|d| d.has_changes()).map(|_| view! { <span>{icon("hard-drive")}{if storage_error.get().is_some() { "Draft in this tab only" } else { "Draft saved locally" }}</span> })))}
                    </div>
                    <Description page=page/>
                    {file}
                    {sign_in}
                    <fieldset class="section"><legend class="vh">"Details"</legend><div class="form">
                        {fields.into_iter().filter(|c| !c.read_only).map(|column| field_view(page, column)).collect_view()}
                    </div></fieldset>
                    {children}
                    {activity_switch}
                    {activity}
                </form>
                <aside aria-label="Properties"><div class="props">
                    {(!properties.is_empty()).then(|| view! { <h3>"Properties"</h3> })}
                    <dl>{properties.into_iter().map(|column| property_view(page, column)).collect_view()}</dl>
                    {links}
                    {linked_parents}
                    <h3>"Access"</h3>
                    <dl>
                        <dt>"You can"</dt><dd><span class="ro">{reactive_view(move || level.get().and_then(|l| Permission::try_from(u8::try_from(l).ok()?).ok()).map(access_label))}</span></dd>
                        <dt>"Version"</dt><dd><span class="ro num">{reactive_view(move || row.with(|r| r.as_ref().map(|r| format::text(&r.data, "version"))))}</span></dd>
                    </dl>
                </div></aside>
            </div>
        </div>
        <DraftBar page=page kind=kind form=form/>
        {reactive_view(move || sharing.get().then(|| view! { <SharingDialog entity=about.get_value() title=title() open=sharing/> }))}
        {reactive_view(move || deleting.get().then(|| view! {
            <Dialog title=format!("Delete this {deleted_kind}?") lead=format!("{} and its children are removed from all lists.{}", title(), if draft.draft.with_untracked(|d| d.as_ref().is_some_and(|d| d.has_changes())) { " Unsaved changes are lost." } else { "" }) close=Callback::new(move |()| deleting.set(false))>
                <footer class="buttons"><button class="btn quiet" on:click=move |_| deleting.set(false)>"Cancel"</button>
                    <button class="btn danger" on:click=move |_| confirm.run(())>"Delete"</button></footer>
            </Dialog>
        }))}
    }
}

/// Banner that a write of this entity is in conflict and must be resolved.
#[component]
fn ConflictBanner(entity: EntityRef, row: Memo<Option<RowView>>) -> impl IntoView {
    let overlays = expect_context::<OverlayState>();
    let status = client().status.clone();
    let conflict = Memo::new(move |_| {
        status.track();
        row.with(|r| r.as_ref().is_some_and(|r| r.needs_attention)).then(|| conflict_of(&entity)).flatten()
    });
    reactive_view(move || {
        conflict.get().map(|id| {
            view! {
                <div class="banner danger strip" role="status">{icon("conflict")}
                    <span class="grow"><strong>"Conflict: another user changed the same field. "</strong>"Your change is saved locally until you resolve the conflict."</span>
                    <button class="btn sm" on:click=move |_| overlays.conflict_entry.set(Some(id))>"Review"</button>
                </div>
            }
        })
    })
}

fn access_label(level: Permission) -> String {
    match level {
        Permission::View => "View".into(),
        Permission::Comment => "View and comment".into(),
        Permission::Contribute => "Log work".into(),
        Permission::Edit => "Edit".into(),
        Permission::Share => "Edit, share".into(),
        Permission::Delete => "Edit, share, delete".into(),
        Permission::Create => "Edit, share, delete, create".into(),
        Permission::Owner => "Full access (owner)".into(),
    }
}

/// Returns the parent that the row names, such as the project of a task.
fn parent_of(kind: &EntityType, row: Memo<Option<RowView>>) -> Option<EntityRef> {
    let catalog = catalog();
    let row = row.get()?;
    catalog
        .parent_relations(kind.code.as_str())
        .filter(|(parent, relation)| relation.owned && parent.code != kind.code)
        .find_map(|(parent, relation)| {
            Some(EntityRef::new(
                parent.code.clone(),
                format::text(&row.data, relation.parent_column.as_ref()?).parse().ok()?,
            ))
        })
}

fn parent_href(kind: EntityType, row: Memo<Option<RowView>>) -> impl Fn() -> String + Clone + Send + Sync + 'static {
    move || match parent_of(&kind, row) {
        Some(parent) if parent.code == "project" && kind.code == "task" => format!("/project/{}", parent.id),
        Some(parent) if !kind.root_flag => format!("/{}/{}/{}", parent.code, parent.id, kind.code),
        _ => format!("/{}", kind.code),
    }
}

#[component]
fn Crumbs(kind: EntityType, row: Memo<Option<RowView>>) -> impl IntoView {
    let parent = {
        let kind = kind.clone();
        Memo::new(move |_| parent_of(&kind, row).filter(|_| !kind.root_flag))
    };
    let current = {
        let root = kind.root_flag;
        reactive_view(move || {
            row.with(|r| {
                r.as_ref()
                    .map(|r| if root { format::text(&r.data, "name") } else { format::text(&r.data, "code") })
                    .map(|text| if text.is_empty() { "New".to_owned() } else { text })
                    .unwrap_or_default()
            })
        })
    };
    let parent_crumbs = reactive_view(move || match parent.get() {
        Some(parent) => {
            let label = catalog().get(parent.code.as_str()).map(|t| t.ui_label.clone()).unwrap_or_default();
            let address = format!("/{}/{}", parent.code, parent.id);
            let name = name_of(parent.clone());
            view! { <li><A href=format!("/{}", parent.code)>{label}</A></li><li>{icon("chevron-right")}<A href=address>{name}</A></li> }.into_any()
        }
        None => {
            let (address, label) = (format!("/{}", kind.code), kind.ui_label.clone());
            view! { <li><A href=address>{label}</A></li> }.into_any()
        }
    });
    view! { <nav class="crumbs" aria-label="Breadcrumb"><ol>{parent_crumbs}<li>{icon("chevron-right")}<h1 aria-current="page">{reactive_view(current)}</h1></li></ol></nav> }
}

#[component]
fn Title(page: EntityPageState, column: Option<Column>) -> impl IntoView {
    let node = NodeRef::<leptos::html::Textarea>::new();
    let value = move || page.value("name").as_str().unwrap_or_default().to_owned();
    let change = Callback::new(move |value| page.draft.set("name", value));
    let (error, change) = column.map_or((RwSignal::new(None), change), |column| {
        validated_input(column, Signal::derive(move || page.value("name")), change)
    });
    view! {
        <textarea class="doc-title first" class:changed=reactive_attr(move || page.changed("name")) rows="1" aria-label="Name" maxlength="500" node_ref=node disabled=reactive_attr(move || !page.can_edit.get())
            prop:value=reactive_attr(value) on:input=move |e| change.run(json!(event_target_value(&e).replace('\n', " ")))></textarea>
        {field_error(error)}
    }
}

#[component]
fn Description(page: EntityPageState) -> impl IntoView {
    let placeholder =
        Signal::derive(move || if page.can_edit.get() { "Add a description" } else { "No description" }.to_owned());
    let change = Callback::new(move |value: Value| page.draft.set("descr", value));
    view! {
        <section class="section first description">
            <MarkdownField id="description" label="Description" value=Signal::derive(move || page.value("descr")) off=Signal::derive(move || !page.can_edit.get())
                change=change placeholder=placeholder class=Signal::derive(move || if page.changed("descr") { "changed" } else { "" }.to_owned())/>
        </section>
    }
}

fn field_view(page: EntityPageState, column: Column) -> impl IntoView {
    let name = StoredValue::new(column.name.clone());
    let value = Signal::derive(move || page.value(&name.get_value()));
    let changed = Signal::derive(move || page.changed(&name.get_value()));
    let change = Callback::new(move |value: Value| page.draft.set(&name.get_value(), value));
    view! { <Field column=column value=value changed=changed enabled=page.can_edit change=change/> }
}

/// Property with in-place editing: a click opens a picker beside it or an input in its place.
fn property_view(page: EntityPageState, column: Column) -> impl IntoView {
    let name = StoredValue::new(column.name.clone());
    let label = column.label.clone();
    let uses_picker = matches!(
        column.kind,
        ColumnKind::Datalabel { .. } | ColumnKind::Reference { .. } | ColumnKind::References { .. }
    );
    let column = StoredValue::new(column);
    let editing = RwSignal::new(false);
    let value = Signal::derive(move || page.value(&name.get_value()));
    let change = Callback::new(move |value: Value| page.draft.set(&name.get_value(), value));
    let (error, change) = validated_input(column.get_value(), value, change);
    let display = move || {
        let shown_row = row_with(&name.get_value(), value.get());
        let empty = matches!(value.get(), Value::Null) || value.get() == json!([]);
        if empty {
            view! { <span class="softer">"None"</span> }.into_any()
        } else {
            column.with_value(|c| property_value(c, &shown_row))
        }
    };
    let read_only = column.with_value(|c| c.read_only);
    let id = format!("p-{}", name.get_value());
    let button = {
        let id = id.clone();
        move || view! { <button type="button" id=id.clone() on:click=move |_| editing.set(true)><span class="vh">{format!("Edit {label}: ")}</span>{reactive_view(display)}</button> }
    };
    let label = column.with_value(|c| c.label.clone());
    view! {
        <dt>{label}</dt>
        <dd class:changed=reactive_attr(move || page.changed(&name.get_value()))>
            {reactive_view(move || match (editing.get(), page.can_edit.get() && !read_only) {
                (true, true) if uses_picker => {
                    let close = Callback::new(move |_: PickerExit| editing.set(false));
                    view! { {button()}<OptionEditor column=column.get_value() beside=id.clone() value=value change=change close=close/> }.into_any()
                }
                (true, true) => view! { <div class="property-edit"><FieldControl column=column.get_value() id=id.clone() value=value enabled=page.can_edit change=change/>
                    <button type="button" class="btn quiet icon sm" aria-label="Done" disabled=reactive_attr(move || error.with(Option::is_some)) on:click=move |_| editing.set(false)>{icon("check")}</button>{field_error(error)}</div> }.into_any(),
                (false, true) => button().into_any(),
                _ => view! { <span class="ro">{reactive_view(display)}</span> }.into_any(),
            })}
        </dd>
    }
}

#[component]
fn TaskChildren(task: EntityRef, page: EntityPageState) -> impl IntoView {
    let list = use_rows::<RowView>(ListKey::children_of(task.code.clone(), task.clone(), "parent__task_id"));
    let adding = RwSignal::new(false);
    let done_count = move || {
        list.with(|l| {
            l.rows.iter().filter(|r| is_terminal("task_stage", &format::text(&r.data, "dl__task_stage"))).count()
        })
    };
    let rows = move || {
        let rows =
            sort::sorted_by_key(list.get().rows, |r| (format::text(&r.data, "rank"), format::text(&r.data, "id")));
        rows.into_iter()
            .map(|r| {
                let stage = format::text(&r.data, "dl__task_stage");
                let due = format::text(&r.data, "due_date");
                let name = format::text(&r.data, "name");
                view! {
                    <li>{value_view::option_mark("task_stage", &stage).filter(|_| !stage.is_empty()).map(|m| icon(&m))}<A href=format!("/task/{}", format::text(&r.data, "id"))>{name}</A>
                        {value_view::people("employee", &value_view::reference_ids(r.data.get("assignee__employee_ids")))}<time datetime=due.clone()>{format::date(&due, false)}</time></li>
                }
            })
            .collect_view()
    };
    let code = task.code.clone();
    let project = move || {
        page.row.with_untracked(|r| r.as_ref().and_then(|r| r.data.get("project_id").cloned())).unwrap_or(Value::Null)
    };
    view! {
        <section class="section" class:hidden=reactive_attr(move || !page.can_edit.get() && list.with(|l| l.rows.is_empty()))>
            <header><h2>"Sub-tasks"</h2>
                <span class="n">{reactive_view(move || list.with(|l| (!l.rows.is_empty()).then(|| format!("{} of {} done", done_count(), l.rows.len()))))}</span>
                {reactive_view(move || page.can_edit.get().then(|| view! { <button type="button" class="btn quiet sm" on:click=move |_| adding.set(true)>{icon("plus")}"Add"</button> }))}
            </header>
            <ul class="rows">{reactive_view(rows)}</ul>
            {reactive_view(move || adding.get().then(|| view! { <NewDialog code=code.clone() parent=Some((task.clone(), "parent__task_id".to_owned())) open=adding initial=row_with("project_id", project())/> }))}
        </section>
    }
}

/// Dependencies of a task: predecessors ("Blocked by") and successors ("Blocks").
#[component]
fn TaskLinks(task: EntityRef, page: EntityPageState) -> impl IntoView {
    let project = Memo::new(move |_| {
        page.row.with(|r| r.as_ref().and_then(|r| format::text(&r.data, "project_id").parse().ok()))
    });
    let codes = catalog();
    reactive_view(move || {
        let (Some(project), Some(kind), Some(project_type)) =
            (project.get(), codes.get("task_dependency"), codes.get("project"))
        else {
            return ().into_any();
        };
        let list = use_rows::<RowView>(ListKey::children_of(
            kind.code.clone(),
            EntityRef::new(project_type.code.clone(), project),
            "project_id",
        ));
        let id = task.id.to_string();
        let task_code = task.code.clone();
        let links_view = move |title: &'static str, own_column: &'static str, other_column: &'static str| {
            let (id, task_code) = (id.clone(), task_code.clone());
            reactive_view(move || {
                let found: Vec<_> =
                    list.get().rows.into_iter().filter(|r| format::text(&r.data, own_column) == id).collect();
                if found.is_empty() {
                    return ().into_any();
                }
                let links = found
                    .into_iter()
                    .filter_map(|r| {
                        let other = EntityRef::new(task_code.clone(), format::text(&r.data, other_column).parse().ok()?);
                        let row = use_entity::<RowView>(other.clone());
                        let stage = reactive_view(move || {
                            let stage = row.get().map(|r| format::text(&r.data, "dl__task_stage")).unwrap_or_default();
                            value_view::option_mark("task_stage", &stage).filter(|_| !stage.is_empty()).map(|m| icon(&m))
                        });
                        let name = client().read(|e| e.name("task", other.id)).unwrap_or_else(|| "Restricted task".into());
                        let lag = format::number(&r.data, "lag_days").filter(|l| *l != 0.0).map(|l| format!(" {}{}d", if l > 0.0 { "+" } else { "" }, format::trim_zeros(l)));
                        let kind = format!("{}{}", format::text(&r.data, "dl__dependency_type"), lag.unwrap_or_default());
                        Some(view! { <li>{stage}<A href=format!("/task/{}", other.id)>{name}</A><small>{kind}</small></li> })
                    })
                    .collect_view();
                view! { <h3>{title}</h3><ul class="links">{links}</ul> }.into_any()
            })
        };
        view! {
            {links_view.clone()("Blocked by", "successor__task_id", "predecessor__task_id")}
            {links_view("Blocks", "predecessor__task_id", "successor__task_id")}
        }
        .into_any()
    })
}

/// Draft bar at the bottom of the page: changed fields, undo, redo, discard and save.
#[component]
fn DraftBar(page: EntityPageState, kind: EntityType, form: FormState) -> impl IntoView {
    let (draft, storage_error) = (page.draft, client().storage_error.clone());
    let columns = StoredValue::new(kind.columns.clone());
    // Compare typed values: the server may format a number differently.
    let equal = move |column: &str, a: &Value, b: &Value| {
        let kind = columns.with_value(|all| all.iter().find(|c| c.name == column).map(|c| c.kind.clone()));
        a == b
            || kind.is_some_and(|kind| ComparableValue::from_value(&kind, a) == ComparableValue::from_value(&kind, b))
    };
    let labels = move |columns: Vec<String>| {
        columns
            .iter()
            .map(|c| kind.column(c).map_or_else(|| c.clone(), |c| c.label.clone()))
            .collect::<Vec<_>>()
            .join(", ")
    };
    reactive_view(move || {
        draft.draft.get().map(|d| {
            let fields: Vec<String> = d.current_data.keys().cloned().collect();
            let invalid_fields = form.invalid_fields.get();
            let title = match fields.len() {
                // In the title, because small screens hide the second line.
                _ if !invalid_fields.is_empty() => format!("Invalid fields: {}", invalid_fields.join(", ")),
                0 => "No unsaved changes".to_owned(),
                1 => "1 unsaved change".to_owned(),
                n => format!("{n} unsaved changes"),
            };
            let no_changes = fields.is_empty();
            let location = if storage_error.get().is_some() { "in this tab only" } else { "saved locally" };
            let conflicting: Vec<String> = page.row.with(|row| row.as_ref().map(|row| d.conflicting_fields(&row.data, equal).cloned().collect()).unwrap_or_default());
            let meta = if !conflicting.is_empty() { format!("Another user changed {}", labels(conflicting)) }
                else if no_changes { "Redo restores them".to_owned() } else { format!("{} · {location}", labels(fields)) };
            let save_disabled = no_changes || !invalid_fields.is_empty();
            view! {
                <div class="float"><div class="draft" role="region" aria-label="Draft">
                    <i class="i i-pencil softer desk" aria-hidden="true"></i>
                    <div class="grow"><strong>{title}</strong><span class="meta">{meta}</span></div>
                    <button class="btn quiet icon" aria-label="Undo" title="Undo (Ctrl Z)" disabled=d.undo_stack.is_empty() on:click=move |_| draft.undo()>{icon("undo-2")}</button>
                    <button class="btn quiet icon" aria-label="Redo" title="Redo (Ctrl Shift Z)" disabled=!d.can_redo() on:click=move |_| draft.redo()>{icon("redo-2")}</button>
                    <button class="btn quiet" on:click=move |_| draft.discard()>"Discard"</button>
                    <button class="btn primary" disabled=save_disabled on:click=move |_| draft.commit()>"Save"<kbd class="desk">"Ctrl S"</kbd></button>
                </div></div>
            }
        })
    })
}
