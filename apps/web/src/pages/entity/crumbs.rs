//! Breadcrumb and the parent that a row names.

use super::tabs::name_of;
use crate::hooks::catalog;
use crate::ui::format;
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::{EntityRef, EntityType};
use pmo_sync::RowView;

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

pub(super) fn parent_href(
    kind: EntityType,
    row: Memo<Option<RowView>>,
) -> impl Fn() -> String + Clone + Send + Sync + 'static {
    move || match parent_of(&kind, row) {
        Some(parent) if parent.code == "project" && kind.code == "task" => format!("/project/{}", parent.id),
        Some(parent) if !kind.root_flag => format!("/{}/{}/{}", parent.code, parent.id, kind.code),
        _ => format!("/{}", kind.code),
    }
}

#[component]
pub(super) fn Crumbs(kind: EntityType, row: Memo<Option<RowView>>) -> impl IntoView {
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
