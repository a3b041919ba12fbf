//! File of an artifact.

use super::attach::FilePickerButton;
use crate::client::http::{self, HttpError, Method};
use crate::client::uploads;
use crate::hooks::use_status;
use crate::ui::format;
use crate::ui::reactive::reactive_view;
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::EntityRef;
use pmo_sync::RowView;
use serde_json::Value;
use wasm_bindgen_futures::spawn_local;

/// Signed download URL of an artifact's file.
#[derive(Clone, Debug, PartialEq)]
struct DownloadUrl {
    path: String,
    shown: bool,
    media_type: String,
}

async fn fetch_download_url(artifact: &EntityRef) -> Result<DownloadUrl, HttpError> {
    let response = http::request(Method::GET, &format!("/artifact/{}/download-url", artifact.id), None, None).await?;
    let text = |name: &str| response[name].as_str().unwrap_or_default().to_owned();
    Ok(DownloadUrl { path: text("path"), shown: response["shown"] == true, media_type: text("media_type") })
}

/// Returns whether this browser can display PDF files in a page.
fn shows_pdf() -> bool {
    js_sys::Reflect::get(&window().navigator(), &"pdfViewerEnabled".into()).is_ok_and(|enabled| enabled.is_truthy())
}

/// File of an artifact: preview of images and PDF, download, and upload of a new version.
#[component]
pub(crate) fn ArtifactFile(
    /// Artifact to which the file belongs.
    artifact: EntityRef,
    /// Row of the artifact; `None` while loading.
    row: Memo<Option<RowView>>,
    /// Whether the user can upload a file or a new version.
    can_edit: Memo<bool>,
) -> impl IntoView {
    let key = Memo::new(move |_| {
        row.with(|r| r.as_ref().map(|r| format::text(&r.data, "storage_key")).filter(|k| !k.is_empty()))
    });
    let status = use_status();
    let online = Memo::new(move |_| status.get().online);
    let (download_url, newer_version, error) =
        (RwSignal::new(None::<DownloadUrl>), RwSignal::new(None::<(String, String)>), RwSignal::new(None::<String>));
    let stored_artifact = StoredValue::new(artifact.clone());
    let finished = uploads::finished_count();
    Effect::new(move || {
        // A finished upload may be a new version of this artifact.
        finished.track();
        if key.get().is_none() || !online.get() {
            return;
        }
        let artifact = stored_artifact.get_value();
        spawn_local(async move {
            if let Ok(url) = fetch_download_url(&artifact).await {
                download_url.try_set(Some(url));
            }
            let path = format!("/artifact?supersedes__artifact_id={}&sort=-created_ts&limit=1", artifact.id);
            if let Ok(response) = http::request(Method::GET, &path, None, None).await {
                let newest = &response["data"][0];
                let text = |name: &str| newest[name].as_str().map(ToOwned::to_owned);
                newer_version.try_set(text("id").zip(text("name")));
            }
        });
    });
    let download = move |_| {
        let artifact = stored_artifact.get_value();
        error.set(None);
        spawn_local(async move {
            match fetch_download_url(&artifact).await {
                Ok(url) => drop(http::start_download(&url.path)),
                Err(failure) => drop(error.try_set(Some(failure.to_string()))),
            }
        });
    };
    let name = move || row.with(|r| r.as_ref().map(|r| format::text(&r.data, "name")).unwrap_or_default());
    let preview = move || match download_url.get().filter(|a| a.shown) {
        Some(DownloadUrl { path, media_type, .. }) if media_type == "application/pdf" => {
            if shows_pdf() {
                view! { <iframe class="preview" src=format!("{path}?show=true") title=name()></iframe> }.into_any()
            } else {
                view! { <p class="softer">"This browser cannot display PDF files. Download the file to read it."</p> }
                    .into_any()
            }
        }
        Some(DownloadUrl { path, .. }) => {
            view! { <img class="preview" src=format!("{path}?show=true") alt=name()/> }.into_any()
        }
        None => ().into_any(),
    };
    let file_info = move || {
        row.with(|r| {
            r.as_ref().map(|r| {
                let size = r.data.get("size_bytes").and_then(Value::as_f64).map(format::bytes).unwrap_or_default();
                format!("{} · {size}", format::text(&r.data, "media_type"))
            })
        })
    };
    view! {
        <section class="section file">
            <header><h2>"File"</h2>
                <span class="n">{reactive_view(move || key.get().map(|_| file_info()))}</span>
                {reactive_view(move || key.get().map(|_| view! { <button type="button" class="btn sm" on:click=download>{icon("download")}"Download"</button> }))}
                {reactive_view(move || can_edit.get().then(|| view! { <FilePickerButton entity=stored_artifact.get_value() label=if key.get().is_some() { "New version" } else { "Upload a file" } multiple=false/> }))}
            </header>
            {reactive_view(move || newer_version.get().map(|(id, name)| view! { <p class="banner">{icon("info")}<span class="grow">"Newer version: "<A href=format!("/artifact/{id}")>{name}</A></span></p> }))}
            {reactive_view(move || error.get().map(|message| view! { <p class="hint error" role="alert">{message}</p> }))}
            {reactive_view(move || match (key.get().is_some(), online.get()) {
                (true, true) => reactive_view(preview).into_any(),
                (true, false) => view! { <p class="softer">"Files are not available offline. The file opens when the connection is restored."</p> }.into_any(),
                _ => view! { <p class="softer">"No file yet."</p> }.into_any(),
            })}
        </section>
    }
}
