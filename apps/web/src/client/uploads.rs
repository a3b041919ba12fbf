//! Files on their way to the server: in parts, so that a lost connection costs one part and no more. An upload waits where the network is away, goes on when it is
//! back, and can be given up. Its bytes are in the browser's hands alone: after a reload the same file is chosen again, and goes on where it was.

use super::http::{self, AbortHandle, Method};
use crate::hooks::invalidate_entity_queries;
use gloo_timers::future::sleep;
use leptos::prelude::*;
use pmo_domain::{EntityCode, EntityRef};
use pmo_sync::RequestError;
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;
use uuid::Uuid;
use wasm_bindgen_futures::{JsFuture, spawn_local};

/// Bytes of the first part; one that takes less than [`QUICK`] is followed by one twice as large.
const INITIAL_PART_BYTES: f64 = 262_144.0;
const MAX_PART_BYTES: f64 = 8_388_608.0;
/// Milliseconds of a part that was quick.
const FAST_PART_MS: f64 = 1_000.0;
/// Between two tries, at first and at last.
const RETRY_INITIAL: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(15);
/// Refusals that may pass by themselves, such as a token that is being renewed, before one is believed.
const MAX_REJECTIONS: u32 = 5;
/// How often an upload begins that the server has given up.
const MAX_RESTARTS: u32 = 3;

/// How far an upload has come.
#[derive(Clone, Debug, PartialEq)]
pub enum UploadState {
    /// Its bytes are on their way.
    Sending,
    /// The network is away.
    Waiting,
    /// It has arrived, and becomes an artifact.
    Finishing,
    /// The artifact that came of it.
    Done(Uuid),
    /// It was refused, in words for people.
    Refused(String),
}

/// An upload, as a page shows it.
#[derive(Clone)]
pub struct Upload {
    /// Which.
    pub number: u32,
    /// What the file is called.
    pub name: String,
    /// Bytes.
    pub size: f64,
    /// Bytes that have arrived.
    pub sent: ArcRwSignal<f64>,
    /// How far it has come.
    pub state: ArcRwSignal<UploadState>,
}

thread_local! {
    static FINISHED_COUNT: ArcRwSignal<u32> = ArcRwSignal::new(0);
    static NEXT_UPLOAD_ID: Cell<u32> = const { Cell::new(0) };
    static UPLOADS: ArcRwSignal<Vec<Upload>> = ArcRwSignal::new(Vec::new());
    /// What ends the requests of those that are on their way.
    static ABORT_HANDLES: RefCell<HashMap<u32, AbortHandle>> = RefCell::default();
}

/// All uploads since the page was loaded, those that were put away left out.
pub fn all() -> ArcRwSignal<Vec<Upload>> {
    UPLOADS.with(Clone::clone)
}

fn artifact() -> Option<EntityCode> {
    EntityCode::new("artifact").ok()
}

/// How many uploads have become artifacts since the page was loaded.
pub fn finished_count() -> ArcRwSignal<u32> {
    FINISHED_COUNT.with(Clone::clone)
}

/// Begins to upload files to a thing, or to an artifact whose file they become.
pub fn upload(about: &EntityRef, files: Vec<web_sys::File>) {
    for file in files {
        // Never given again: the loop of one that was given up must not take the next for itself.
        let number = NEXT_UPLOAD_ID.with(|next| next.replace(next.get() + 1));
        let upload = Upload {
            number,
            name: file.name(),
            size: file.size(),
            sent: ArcRwSignal::new(0.0),
            state: ArcRwSignal::new(UploadState::Sending),
        };
        all().update(|all| all.push(upload.clone()));
        let (about, cancel) = (about.clone(), AbortHandle::default());
        ABORT_HANDLES.with_borrow_mut(|ends| ends.insert(number, cancel.clone()));
        spawn_local(async move {
            let end = upload_with_restart(&upload, &about, &file, &cancel).await;
            ABORT_HANDLES.with_borrow_mut(|ends| ends.remove(&number));
            match end {
                Ok(made) => {
                    upload.state.set(UploadState::Done(made));
                    finished_count().update(|n| *n += 1);
                    if let Some(code) = artifact() {
                        invalidate_entity_queries(&code, None);
                    }
                }
                Err(UploadError::Refused(why) | UploadError::Gone(why)) => upload.state.set(UploadState::Refused(why)),
                Err(UploadError::Cancelled) => {}
            }
        });
    }
}

/// Whether an upload has not been given up.
fn is_active(number: u32) -> bool {
    ABORT_HANDLES.with_borrow(|ends| ends.contains_key(&number))
}

/// Gives an upload up, or puts one that has ended away.
pub fn cancel_or_dismiss(number: u32) {
    if let Some(cancel) = ABORT_HANDLES.with_borrow_mut(|ends| ends.remove(&number)) {
        cancel.now();
    }
    all().update(|all| all.retain(|upload| upload.number != number));
}

/// Why an upload did not become an artifact.
enum UploadError {
    /// It was given up here.
    Cancelled,
    /// The server has given it up, or knows nothing of it.
    Gone(String),
    /// It was refused, in words for people.
    Refused(String),
}

/// What a request came to, once it is worth an answer: tried again while the network is away, and where a refusal may pass.
async fn retry_request<T>(upload: &Upload, ask: impl AsyncFn() -> Result<T, RequestError>) -> Result<T, UploadError> {
    let (mut pause, mut refusals) = (RETRY_INITIAL, 0);
    loop {
        let failure = match ask().await {
            _ if !is_active(upload.number) => return Err(UploadError::Cancelled),
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        match &failure {
            RequestError::Network => upload.state.set(UploadState::Waiting),
            RequestError::Rejected(problem)
                if matches!(problem.status, 401 | 423 | 429 | 503) && refusals < MAX_REJECTIONS =>
            {
                refusals += 1;
            }
            RequestError::Rejected(_) => return Err(upload_error(failure)),
        }
        sleep(pause).await;
        if !is_active(upload.number) {
            return Err(UploadError::Cancelled);
        }
        pause = (pause * 2).min(RETRY_MAX);
    }
}

fn upload_error(failure: RequestError) -> UploadError {
    let gone = matches!(&failure, RequestError::Rejected(problem) if problem.status == 404);
    let why = http::failure_message(&failure);
    if gone { UploadError::Gone(why) } else { UploadError::Refused(why) }
}

/// Carries a file over; answers the artifact that came of it. One that the server has given up meanwhile, because no part of it came for long, is begun anew.
async fn upload_with_restart(
    upload: &Upload,
    about: &EntityRef,
    file: &web_sys::File,
    cancel: &AbortHandle,
) -> Result<Uuid, UploadError> {
    for _ in 0..MAX_RESTARTS {
        match upload_once(upload, about, file, cancel).await {
            Err((true, UploadError::Gone(_))) => {}
            end => return end.map_err(|(_, stop)| stop),
        }
    }
    Err(UploadError::Refused("The server did not keep what had come of it. Try again.".to_owned()))
}

/// The same, once; the error with it: whether the upload may begin anew.
async fn upload_once(
    upload: &Upload,
    about: &EntityRef,
    file: &web_sys::File,
    cancel: &AbortHandle,
) -> Result<Uuid, (bool, UploadError)> {
    let size = file.size();
    let mark = format!("{} {size} {}", file.name(), file.last_modified());
    let asked = json!({"name": file.name(), "size_bytes": size as u64, "entity": about.code, "id": about.id, "fingerprint": mark});
    let begun = retry_request(upload, async || http::try_request(Method::POST, "/upload", Some(&asked), None).await)
        .await
        .map_err(|stop| (false, stop))?;
    let unread = || (true, UploadError::Refused("The server gave no answer that can be read. Try again.".to_owned()));
    let id: Uuid = begun["id"].as_str().and_then(|id| id.parse().ok()).ok_or_else(unread)?;
    let path = format!("/upload/{id}");
    let outcome = send(upload, &path, offset(&begun), file, cancel).await;
    if !is_active(upload.number) {
        // What has come need not lie there until it is swept away.
        let _ = http::try_request(Method::DELETE, &path, None, None).await;
        return Err((true, UploadError::Cancelled));
    }
    outcome.map_err(|stop| (true, stop))?;
    upload.state.set(UploadState::Finishing);
    let finish = format!("{path}/finish");
    // Not begun anew from here: it may have become an artifact that is gone since.
    let made = retry_request(upload, async || http::try_request(Method::POST, &finish, Some(&json!({})), None).await)
        .await
        .map_err(|stop| (false, stop))?;
    made["id"].as_str().and_then(|id| id.parse().ok()).ok_or_else(unread)
}

fn unreadable_file_error() -> UploadError {
    UploadError::Refused("The file can't be read any more: choose it again.".to_owned())
}

fn offset(told: &Value) -> f64 {
    told["offset"].as_f64().unwrap_or_default()
}

/// Sends what is not there yet, part by part.
async fn send(
    upload: &Upload,
    path: &str,
    from: f64,
    file: &web_sys::File,
    cancel: &AbortHandle,
) -> Result<(), UploadError> {
    let (mut at, mut part) = (from, INITIAL_PART_BYTES);
    while at < file.size() {
        upload.sent.set(at);
        let to = (at + part).min(file.size());
        let blob = file.slice_with_f64_and_f64(at, to).map_err(|_| unreadable_file_error())?;
        // Read here: a file that is gone from the device is no network that is away.
        let bytes = JsFuture::from(blob.array_buffer()).await.map_err(|_| unreadable_file_error())?;
        let begun = js_sys::Date::now();
        match http::send_part(path, at, &bytes, cancel).await {
            _ if !is_active(upload.number) => return Err(UploadError::Cancelled),
            Ok(()) => {
                upload.state.set(UploadState::Sending);
                at = to;
                if js_sys::Date::now() - begun < FAST_PART_MS {
                    part = (part * 2.0).min(MAX_PART_BYTES);
                }
            }
            Err(RequestError::Rejected(problem)) if !matches!(problem.status, 400 | 401 | 409 | 423 | 429 | 503) => {
                return Err(upload_error(RequestError::Rejected(problem)));
            }
            Err(failure) => {
                // It may have come in part: the server says how far, once it can be asked.
                part = INITIAL_PART_BYTES;
                if matches!(failure, RequestError::Network) {
                    upload.state.set(UploadState::Waiting);
                }
                sleep(RETRY_INITIAL).await;
                at = offset(
                    &retry_request(upload, async || http::try_request(Method::GET, path, None, None).await).await?,
                );
            }
        }
    }
    upload.sent.set(file.size());
    Ok(())
}
