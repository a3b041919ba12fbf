//! Tray of the running uploads.

use crate::client::uploads::{self, Upload, UploadState};
use crate::ui::format;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::components::A;

/// Tray of all uploads, in the corner of every page.
#[component]
pub(crate) fn UploadTray() -> impl IntoView {
    let all = uploads::all();
    let is_empty = {
        let all = all.clone();
        Memo::new(move |_| all.with(Vec::is_empty))
    };
    reactive_view(move || {
        let all = all.clone();
        (!is_empty.get()).then(|| view! {
            <section class="uploads" aria-label="Uploads"><ul>
                <For each=move || all.get() key=|upload| upload.number children=|upload| view! { <UploadItem upload=upload/> }/>
            </ul></section>
        })
    })
}

#[component]
fn UploadItem(upload: Upload) -> impl IntoView {
    let Upload { number, name, size, sent, state } = upload;
    let percent = move || if size > 0.0 { (sent.get() / size * 100.0).floor().min(100.0) } else { 100.0 };
    let title = name.clone();
    let (detail_state, label_state) = (state.clone(), state.clone());
    let detail = reactive_view(move || {
        match detail_state.get() {
        UploadState::Sending => view! { <progress max="100" value=percent.clone()() aria-label=format!("Uploading {title}")></progress><span class="meta num">{format!("{}% of {}", percent(), format::bytes(size))}</span> }.into_any(),
        UploadState::Waiting => view! { <span class="meta">{icon("cloud-off")}"Waiting for network"</span> }.into_any(),
        UploadState::Finishing => view! { <span class="meta">"Finishing…"</span> }.into_any(),
        UploadState::Done(_) => view! { <span class="meta" role="status">{icon("check")}{format::bytes(size)}</span> }.into_any(),
        UploadState::Rejected(message) => view! { <span class="meta error" role="alert">{message}</span> }.into_any(),
    }
    });
    let heading = reactive_view(move || match state.get() {
        UploadState::Done(artifact_id) => {
            let link_text = name.clone();
            view! { <A href=format!("/artifact/{artifact_id}")>{link_text}</A> }.into_any()
        }
        _ => view! { <strong>{name.clone()}</strong> }.into_any(),
    });
    let label = move || {
        if matches!(label_state.get(), UploadState::Done(_) | UploadState::Rejected(_)) { "Dismiss" } else { "Cancel" }
    };
    let hint = label.clone();
    view! { <li><div class="grow">{heading}{detail}</div><button class="btn quiet icon sm" aria-label=reactive_attr(label) title=reactive_attr(hint) on:click=move |_| uploads::cancel_or_dismiss(number)>{icon("x")}</button></li> }
}
