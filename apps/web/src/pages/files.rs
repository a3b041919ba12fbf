//! Files in the browser: where they are attached, the file of an artifact, and what is on its way.

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

fn chosen(list: Option<web_sys::FileList>) -> Vec<web_sys::File> {
    list.map(|list| (0..list.length()).filter_map(|n| list.get(n)).collect()).unwrap_or_default()
}

/// A button that lets files be chosen.
#[component]
pub fn FilePickerButton(
    /// What they are attached to; an artifact: whose file they become.
    about: EntityRef,
    /// Its words.
    words: &'static str,
    /// Whether several may be chosen at once.
    many: bool,
) -> impl IntoView {
    let input = NodeRef::<leptos::html::Input>::new();
    let take = move |event: leptos::ev::Event| {
        let input = event_target::<web_sys::HtmlInputElement>(&event);
        uploads::upload(&about, chosen(input.files()));
        // The same may be chosen again: it goes on where it was.
        input.set_value("");
    };
    view! {
        <button type="button" class="btn sm" on:click=move |_| { if let Some(input) = input.get_untracked() { input.click(); } }>{icon("paperclip")}{words}</button>
        <input type="file" class="vh" tabindex="-1" aria-hidden="true" multiple=many node_ref=input on:change=take/>
    }
}

/// Where files are let fall, above the list of artifacts of a thing.
#[component]
pub fn FileDropZone(
    /// What they are attached to.
    about: EntityRef,
) -> impl IntoView {
    let over = RwSignal::new(false);
    let to = about.clone();
    let fall = move |event: leptos::ev::DragEvent| {
        event.prevent_default();
        over.set(false);
        uploads::upload(&to, chosen(event.data_transfer().and_then(|carried| carried.files())));
    };
    view! {
        <div class="attach" class:over=reactive_attr(move || over.get()) on:dragover=move |event: leptos::ev::DragEvent| { event.prevent_default(); over.set(true); } on:dragleave=move |_| over.set(false) on:drop=fall>
            <span class="desk softer">"Let files fall here, or"</span><FilePickerButton about=about words="Choose files" many=true/>
        </div>
    }
}

/// What is on its way, at the corner of every page.
#[component]
pub fn UploadTray() -> impl IntoView {
    let all = uploads::all();
    let none = {
        let all = all.clone();
        Memo::new(move |_| all.with(Vec::is_empty))
    };
    reactive_view(move || {
        let all = all.clone();
        (!none.get()).then(|| view! {
            <section class="uploads" aria-label="Files on their way"><ul>
                <For each=move || all.get() key=|upload| upload.number children=|upload| view! { <UploadItem upload=upload/> }/>
            </ul></section>
        })
    })
}

#[component]
fn UploadItem(upload: Upload) -> impl IntoView {
    let Upload { number, name, size, sent, state } = upload;
    let share = move || if size > 0.0 { (sent.get() / size * 100.0).floor().min(100.0) } else { 100.0 };
    let title = name.clone();
    let (shown, ended) = (state.clone(), state.clone());
    let detail = reactive_view(move || {
        match shown.get() {
        UploadState::Sending => view! { <progress max="100" value=share.clone()() aria-label=format!("{title} is being sent")></progress><span class="meta num">{format!("{}% of {}", share(), format::bytes(size))}</span> }.into_any(),
        UploadState::Waiting => view! { <span class="meta">{icon("cloud-off")}"Waits for the network, then goes on"</span> }.into_any(),
        UploadState::Finishing => view! { <span class="meta">"Nearly there"</span> }.into_any(),
        UploadState::Done(_) => view! { <span class="meta" role="status">{icon("check")}{format::bytes(size)}</span> }.into_any(),
        UploadState::Refused(why) => view! { <span class="meta error" role="alert">{why}</span> }.into_any(),
    }
    });
    let heading = reactive_view(move || match state.get() {
        UploadState::Done(made) => {
            let made_name = name.clone();
            view! { <A href=format!("/artifact/{made}")>{made_name}</A> }.into_any()
        }
        _ => view! { <strong>{name.clone()}</strong> }.into_any(),
    });
    let label = move || {
        if matches!(ended.get(), UploadState::Done(_) | UploadState::Refused(_)) { "Put away" } else { "Give up" }
    };
    let hint = label.clone();
    view! { <li><div class="grow">{heading}{detail}</div><button class="btn quiet icon sm" aria-label=reactive_attr(label) title=reactive_attr(hint) on:click=move |_| uploads::cancel_or_dismiss(number)>{icon("x")}</button></li> }
}

/// The address of an artifact's file.
#[derive(Clone, Debug, PartialEq)]
struct DownloadUrl {
    path: String,
    shown: bool,
    media_type: String,
}

async fn address(artifact: &EntityRef) -> Result<DownloadUrl, String> {
    let told = http::request(Method::GET, &format!("/artifact/{}/address", artifact.id), None, None).await?;
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    Ok(DownloadUrl { path: text("path"), shown: told["shown"] == true, media_type: text("media_type") })
}

/// Whether this browser shows PDF in a page.
fn shows_pdf() -> bool {
    js_sys::Reflect::get(&window().navigator(), &"pdfViewerEnabled".into()).is_ok_and(|yes| yes.is_truthy())
}

/// The file of an artifact: shown where it is a picture or a PDF, kept, and followed by another version.
#[component]
pub fn ArtifactFile(
    /// The artifact.
    artifact: EntityRef,
    /// Its row.
    row: Memo<Option<RowView>>,
    /// Whether one may give it a file, or another.
    may_edit: Memo<bool>,
) -> impl IntoView {
    let key = Memo::new(move |_| {
        row.with(|r| r.as_ref().map(|r| format::text(&r.data, "storage_key")).filter(|k| !k.is_empty()))
    });
    let status = use_status();
    let online = Memo::new(move |_| status.get().online);
    let (found, later, trouble) =
        (RwSignal::new(None::<DownloadUrl>), RwSignal::new(None::<(String, String)>), RwSignal::new(None::<String>));
    let of = StoredValue::new(artifact.clone());
    let finished = uploads::finished_count();
    Effect::new(move || {
        // Another version may be one of them.
        finished.track();
        if key.get().is_none() || !online.get() {
            return;
        }
        let artifact = of.get_value();
        spawn_local(async move {
            if let Ok(address) = address(&artifact).await {
                found.try_set(Some(address));
            }
            let path = format!("/artifact?supersedes__artifact_id={}&sort=-created_ts&limit=1", artifact.id);
            if let Ok(told) = http::request(Method::GET, &path, None, None).await {
                let newest = &told["data"][0];
                let text = |name: &str| newest[name].as_str().map(ToOwned::to_owned);
                later.try_set(text("id").zip(text("name")));
            }
        });
    });
    let keep = move |_| {
        let artifact = of.get_value();
        trouble.set(None);
        spawn_local(async move {
            match address(&artifact).await {
                Ok(address) => drop(http::start_download(&address.path)),
                Err(why) => drop(trouble.try_set(Some(why))),
            }
        });
    };
    let name = move || row.with(|r| r.as_ref().map(|r| format::text(&r.data, "name")).unwrap_or_default());
    let preview = move || match found.get().filter(|a| a.shown) {
        Some(DownloadUrl { path, media_type, .. }) if media_type == "application/pdf" => {
            if shows_pdf() {
                view! { <iframe class="preview" src=format!("{path}?show=true") title=name()></iframe> }.into_any()
            } else {
                view! { <p class="softer">"This browser shows no PDF in a page. Download it to read it."</p> }
                    .into_any()
            }
        }
        Some(DownloadUrl { path, .. }) => {
            view! { <img class="preview" src=format!("{path}?show=true") alt=name()/> }.into_any()
        }
        None => ().into_any(),
    };
    let facts = move || {
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
                <span class="n">{reactive_view(move || key.get().map(|_| facts()))}</span>
                {reactive_view(move || key.get().map(|_| view! { <button type="button" class="btn sm" on:click=keep>{icon("download")}"Download"</button> }))}
                {reactive_view(move || may_edit.get().then(|| view! { <FilePickerButton about=of.get_value() words=if key.get().is_some() { "New version" } else { "Upload a file" } many=false/> }))}
            </header>
            {reactive_view(move || later.get().map(|(id, name)| view! { <p class="banner">{icon("info")}<span class="grow">"There is a newer version: "<A href=format!("/artifact/{id}")>{name}</A></span></p> }))}
            {reactive_view(move || trouble.get().map(|why| view! { <p class="hint error" role="alert">{why}</p> }))}
            {reactive_view(move || match (key.get().is_some(), online.get()) {
                (true, true) => reactive_view(preview).into_any(),
                (true, false) => view! { <p class="softer">"Files themselves are not kept on this device. It opens when the network is back."</p> }.into_any(),
                _ => view! { <p class="softer">"No file yet."</p> }.into_any(),
            })}
        </section>
    }
}

/// A file that misses its place must not lead the browser away from the page.
pub fn prevent_window_drop() {
    for name in ["dragover", "drop"] {
        let hold = wasm_bindgen::prelude::Closure::<dyn Fn(web_sys::Event)>::new(|event: web_sys::Event| {
            let carried = event.dyn_ref::<web_sys::DragEvent>().and_then(web_sys::DragEvent::data_transfer);
            if carried.is_some_and(|carried| carried.types().includes(&"Files".into(), 0)) {
                event.prevent_default();
            }
        });
        let _ = window().add_event_listener_with_callback(name, hold.as_ref().unchecked_ref());
        hold.forget();
    }
}
