//! Change log of an entity.

use super::log::{HistoryPage, entry_view};
use super::restore_dialog::RestoreDialog;
use crate::client::http;
use crate::hooks::use_status;
use crate::ui::format;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use pmo_domain::{EntityRef, EntityType};
use pmo_sync::RowView;
use wasm_bindgen_futures::spawn_local;

/// Change log of an entity, newest entry first, loaded in pages of 50.
#[component]
pub(crate) fn History(
    /// Entity to which the history belongs.
    entity: EntityRef,
    /// Type of the entity.
    kind: EntityType,
    /// Current row; `None` while loading.
    row: Memo<Option<RowView>>,
    /// Whether the user can restore an earlier version.
    can_edit: Memo<bool>,
) -> impl IntoView {
    let (pages, error, busy) =
        (RwSignal::new(HistoryPage::default()), RwSignal::new(None::<String>), RwSignal::new(false));
    let loaded = RwSignal::new(false);
    let restoring = RwSignal::new(None::<i64>);
    let path = StoredValue::new(format!("/{}/{}/history", entity.code, entity.id));
    let fetch = move |append: bool| {
        busy.set(true);
        let cursor = pages.with_untracked(|p| p.next_cursor.clone()).filter(|_| append);
        let path =
            format!("{}?limit=50{}", path.get_value(), cursor.map(|c| format!("&cursor={c}")).unwrap_or_default());
        spawn_local(async move {
            match http::request(http::Method::GET, &path, None, None)
                .await
                .and_then(http::parse_response::<HistoryPage>)
            {
                Ok(page) => {
                    error.set(None);
                    pages.update(|log| {
                        if !append {
                            *log = HistoryPage::default();
                        }
                        log.data.extend(page.data);
                        for (code, names) in page.references {
                            log.references.entry(code).or_default().extend(names);
                        }
                        log.next_cursor = page.next_cursor;
                    });
                    loaded.set(true);
                }
                Err(failure) => error.set(Some(failure.to_string())),
            }
            busy.set(false);
        });
    };
    // Refetch on every new version and when the connection is restored.
    let version = Memo::new(move |_| row.with(|r| r.as_ref().map(|r| format::text(&r.data, "version"))));
    let status = use_status();
    let online = Memo::new(move |_| status.get().online);
    Effect::new(move || {
        version.track();
        if online.get() {
            fetch(false);
        }
    });
    let kind = StoredValue::new(kind);
    let current_version = move || version.get().and_then(|v| v.parse::<i64>().ok()).unwrap_or_default();
    let entries = reactive_view(move || {
        let log = pages.get();
        let references = log.references;
        log.data
            .into_iter()
            .map(|entry| entry_view(&kind.get_value(), entry, &references, can_edit, current_version(), restoring))
            .collect::<Vec<_>>()
    });
    let entity = StoredValue::new(entity);
    view! {
        <section class="section history" aria-label="History">
            <header><h2>"History"</h2></header>
            {reactive_view(move || (!online.get() && !loaded.get()).then(|| view! { <p class="softer">"History is not available offline. It loads when the connection is restored."</p> }))}
            {reactive_view(move || error.get().filter(|_| online.get()).map(|message| view! { <p class="hint error" role="alert">{icon("circle-alert")}{message}</p> }))}
            {reactive_view(move || (busy.get() && !loaded.get()).then(|| view! { <div class="skeletons" aria-busy="true"><span class="skeleton"></span><span class="skeleton"></span></div> }))}
            <ol class="timeline">{entries}</ol>
            {reactive_view(move || pages.with(|p| p.next_cursor.is_some()).then(|| view! { <button type="button" class="btn quiet sm" disabled=reactive_attr(move || busy.get()) on:click=move |_| fetch(true)>"Earlier"</button> }))}
            {reactive_view(move || restoring.get().map(|version| view! { <RestoreDialog entity=entity.get_value() kind=kind.get_value() version=version pages=pages restoring=restoring/> }))}
        </section>
    }
}
