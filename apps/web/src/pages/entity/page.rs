//! Page of one entity.

use super::banner::ConflictBanner;
use super::draft_bar::DraftBar;
use super::fields::{Description, Title, field_view, is_property, property_view};
use super::header::EntityHeader;
use super::linked_parents::LinkedParents;
use super::state::{EntityPageState, has_permission};
use super::tabs::EntityTabs;
use super::task_relations::{TaskChildren, TaskLinks};
use crate::client::client;
use crate::hooks::{DraftHandle, catalog, use_draft, use_entity, use_entity_codes, use_not_found};
use crate::pages::administration::{PasswordReset, is_administrator};
use crate::pages::comments::CommentThreadList;
use crate::pages::files::ArtifactFile;
use crate::pages::history::History;
use crate::pages::not_found::NotFoundPage;
use crate::ui::field::FormState;
use crate::ui::format;
use crate::ui::layout::Banners;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::rejected_edits::RejectedBanner;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::{Column, ColumnKind, EntityRef, EntityType, Permission, sort};
use pmo_sync::RowView;

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

/// Returns the position of a property: stage, other options, people, progress, dates.
fn property_order(column: &Column) -> u8 {
    match &column.kind {
        ColumnKind::Datalabel { set } if set.ends_with("_stage") || set.ends_with("_status") => 0,
        ColumnKind::Datalabel { .. } => 1,
        ColumnKind::References { .. } | ColumnKind::Reference { .. } => 2,
        ColumnKind::Percent => 3,
        _ if column.name.starts_with("actual") => 5,
        _ => 4,
    }
}

/// Returns the columns of the side panel and those of the form, each in order.
fn properties_and_fields(kind: &EntityType) -> (Vec<Column>, Vec<Column>) {
    let is_shown = |c: &&Column| {
        !c.hidden
            && !matches!(c.name.as_str(), "name" | "descr" | "code" | "wbs")
            && !matches!(c.kind, ColumnKind::Json | ColumnKind::Uuid | ColumnKind::TextList)
    };
    let (properties, fields): (Vec<Column>, Vec<Column>) =
        kind.columns.iter().filter(is_shown).cloned().partition(is_property);
    (sort::sorted_by_key(properties, property_order), fields.into_iter().filter(|c| !c.read_only).collect())
}

/// Saves the draft with Ctrl S, and undoes or redoes with Ctrl Z and Ctrl Y.
fn install_draft_shortcuts(draft: DraftHandle, form: FormState) {
    let listener = window_event_listener(leptos::ev::keydown, move |event| {
        let command = event.ctrl_key() || event.meta_key();
        let drafting = draft.draft.with_untracked(Option::is_some);
        match event.key().to_lowercase().as_str() {
            "s" if command && drafting => {
                if form.invalid_fields.with_untracked(|fields| fields.is_empty()) {
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
    on_cleanup(move || listener.remove());
}

#[component]
fn EntityView(kind: EntityType, entity: EntityRef, row: Memo<Option<RowView>>) -> impl IntoView {
    let draft = use_draft(entity.clone());
    let level = {
        let code = entity.code.clone();
        Memo::new(move |_| crate::hooks::known_permission(&code, &row.get()?))
    };
    let page = EntityPageState { row, draft, level, can_edit: has_permission(level, Permission::Edit) };
    let form = FormState::from_row(move || {
        let mut all = row.get().map(|r| (*r.data).clone()).unwrap_or_default();
        all.extend(draft.draft.get().into_iter().flat_map(|d| d.current_data));
        all
    });
    install_draft_shortcuts(draft, form);
    let storage_error = client().storage_error.clone();
    let code_text = move || row.with(|r| r.as_ref().map(|r| format::text(&r.data, "code")).unwrap_or_default());
    let (properties, fields) = properties_and_fields(&kind);
    let is_task = kind.code == "task";
    let tabs = (!kind.children.is_empty() && !is_task).then(|| view! { <EntityTabs parent=entity.clone()/> });
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
    view! {
        <EntityHeader kind=kind.clone() entity=entity.clone() page=page/>
        {tabs}
        <Banners/>
        <ConflictBanner entity=entity.clone() row=row/>
        <RejectedBanner entity=entity.clone()/>
        <div class="content">
            <div class="entity-page">
                <form class="doc" aria-label=kind.name.clone() on:submit=|e| e.prevent_default()>
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
                        {fields.into_iter().map(|column| field_view(page, column)).collect_view()}
                    </div></fieldset>
                    {children}
                    <Activity kind=kind.clone() entity=entity page=page/>
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
    }
}

/// Comments or history of the entity; types without comments show the history.
#[component]
fn Activity(kind: EntityType, entity: EntityRef, page: EntityPageState) -> impl IntoView {
    let has_comments = kind.children.iter().any(|c| c.code == "message");
    let show_history = RwSignal::new(!has_comments);
    let switch = has_comments.then(|| view! {
        <div class="section activity-switch"><div class="segments" role="group" aria-label="Comments or history">
            <button type="button" aria-pressed=reactive_attr(move || (!show_history.get()).to_string()) on:click=move |_| show_history.set(false)>{icon("message-square")}"Comments"</button>
            <button type="button" aria-pressed=reactive_attr(move || show_history.get().to_string()) on:click=move |_| show_history.set(true)>{icon("history")}"History"</button>
        </div></div>
    });
    view! {
        {switch}
        {reactive_view(move || match show_history.get() {
            true => view! { <History entity=entity.clone() kind=kind.clone() row=page.row can_edit=page.can_edit/> }.into_any(),
            false => view! { <CommentThreadList entity=entity.clone() level=page.level/> }.into_any(),
        })}
    }
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
