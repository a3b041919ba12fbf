//! Files: drop zone and file picker, the file of an artifact, and the tray of running uploads.

use crate::client::http::{self, Method};
use crate::client::uploads::{self, Upload, UploadState};
use crate::hooks::use_status;
use crate::ui::format;
use crate::ui::reactive::{reactive_attr, reactive_view};
use crate::ui::value_view::icon;
use leptos::prelude::*;
use leptos_router::components::A;
use pmo_domain::EntityRef;
use pmo_sync::RowView;
use serde_json::Value;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;

fn to_vec(list: Option<web_sys::FileList>) -> Vec<web_sys::File> {
    list.map(|list| (0..list.length()).filter_map(|n| list.get(n)).collect()).unwrap_or_default()
}

/// Button that opens the file picker and uploads the chosen files.
#[component]
pub(crate) fn FilePickerButton(
    /// Entity to which the files are attached; for an artifact, the file becomes its content.
    about: EntityRef,
    /// Label of the button.
    label: &'static str,
    /// Whether several files can be chosen at once.
    multiple: bool,
) -> impl IntoView {
    let input = NodeRef::<leptos::html::Input>::new();
    let on_change = move |event: leptos::ev::Event| {
        let input = event_target::<web_sys::HtmlInputElement>(&event);
        uploads::upload(&about, to_vec(input.files()));
        // Reset the input so that the same file can be chosen again, which resumes its upload.
        input.set_value("");
    };
    view! {
        <button type="button" class="btn sm" on:click=move |_| { if let Some(input) = input.get_untracked() { input.click(); } }>{icon("paperclip")}{label}</button>
        <input type="file" class="vh" tabindex="-1" aria-hidden="true" multiple=multiple node_ref=input on:change=on_change/>
    }
}

/// Drop zone for files, above the list of artifacts of an entity.
#[component]
pub(crate) fn FileDropZone(
    /// Entity to which the files are attached.
    about: EntityRef,
) -> impl IntoView {
    let dragging = RwSignal::new(false);
    let target = about.clone();
    let on_drop = move |event: leptos::ev::DragEvent| {
        event.prevent_default();
        dragging.set(false);
        uploads::upload(&target, to_vec(event.data_transfer().and_then(|transfer| transfer.files())));
    };
    view! {
        <div class="attach" class:over=reactive_attr(move || dragging.get()) on:dragover=move |event: leptos::ev::DragEvent| { event.prevent_default(); dragging.set(true); } on:dragleave=move |_| dragging.set(false) on:drop=on_drop>
            <span class="desk softer">"Drop files here, or"</span><FilePickerButton about=about label="Choose files" multiple=true/>
        </div>
    }
}

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

/// Signed download URL of an artifact's file.
#[derive(Clone, Debug, PartialEq)]
struct DownloadUrl {
    path: String,
    shown: bool,
    media_type: String,
}

async fn fetch_download_url(artifact: &EntityRef) -> Result<DownloadUrl, String> {
    let response = http::request(Method::GET, &format!("/artifact/{}/address", artifact.id), None, None).await?;
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
                Err(message) => drop(error.try_set(Some(message))),
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
                {reactive_view(move || can_edit.get().then(|| view! { <FilePickerButton about=stored_artifact.get_value() label=if key.get().is_some() { "New version" } else { "Upload a file" } multiple=false/> }))}
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

/// Prevents the browser from opening a file that is dropped outside of a drop zone.
pub(crate) fn prevent_window_drop() {
    for name in ["dragover", "drop"] {
        let listener = wasm_bindgen::prelude::Closure::<dyn Fn(web_sys::Event)>::new(|event: web_sys::Event| {
            let transfer = event.dyn_ref::<web_sys::DragEvent>().and_then(web_sys::DragEvent::data_transfer);
            if transfer.is_some_and(|transfer| transfer.types().includes(&"Files".into(), 0)) {
                event.prevent_default();
            }
        });
        let _ = window().add_event_listener_with_callback(name, listener.as_ref().unchecked_ref());
        listener.forget();
    }
}
