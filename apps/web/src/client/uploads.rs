//! Resumable file uploads in parts.
//!
//! A lost connection costs at most one part. An upload pauses while offline, resumes by itself, and
//! can be cancelled. Only the browser holds the bytes: after a reload the user selects the same
//! file again, and the upload resumes at the offset that the server reports.

use super::client;
use super::http::{self, AbortHandle, HttpError, Method};
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

/// Size of the first part; doubled after each part that takes less than [`FAST_PART_MS`].
const INITIAL_PART_BYTES: f64 = 262_144.0;
/// Maximum size of a part.
const MAX_PART_BYTES: f64 = 8_388_608.0;
/// Duration below which a part counts as fast, in milliseconds.
const FAST_PART_MS: f64 = 1_000.0;
/// Delay before the first retry; doubled with each further retry.
const RETRY_INITIAL: Duration = Duration::from_secs(1);
/// Maximum delay between two retries.
const RETRY_MAX: Duration = Duration::from_secs(15);
/// Maximum number of retries after temporary rejections, such as an expired token.
const MAX_REJECTIONS: u32 = 5;
/// Maximum number of attempts for an upload that the server has expired.
const MAX_RESTARTS: u32 = 3;

/// Progress of an upload.
#[derive(Clone, Debug, PartialEq)]
pub enum UploadState {
    /// Bytes are being sent.
    Sending,
    /// The upload waits for the network.
    Waiting,
    /// All bytes are sent; the server is creating the artifact.
    Finishing,
    /// The upload is complete; holds the id of the artifact.
    Done(Uuid),
    /// The upload has failed; holds the message for the user.
    Rejected(String),
}

/// State of an upload for the page.
#[derive(Clone)]
pub struct Upload {
    /// Identifies the upload within this page.
    pub number: u32,
    /// Name of the file.
    pub name: String,
    /// Size of the file in bytes.
    pub size: f64,
    /// Number of bytes that the server has received.
    pub sent: ArcRwSignal<f64>,
    /// Progress of the upload.
    pub state: ArcRwSignal<UploadState>,
}

thread_local! {
    static FINISHED_COUNT: ArcRwSignal<u32> = ArcRwSignal::new(0);
    static NEXT_UPLOAD_ID: Cell<u32> = const { Cell::new(0) };
    static UPLOADS: ArcRwSignal<Vec<Upload>> = ArcRwSignal::new(Vec::new());
    /// Abort handles of the active uploads, by upload number.
    static ABORT_HANDLES: RefCell<HashMap<u32, AbortHandle>> = RefCell::default();
}

/// Returns all uploads since the page was loaded, except dismissed and cancelled ones.
pub fn all() -> ArcRwSignal<Vec<Upload>> {
    UPLOADS.with(Clone::clone)
}

fn artifact() -> Option<EntityCode> {
    EntityCode::new("artifact").ok()
}

/// Returns the number of uploads that were completed since the page was loaded.
pub fn finished_count() -> ArcRwSignal<u32> {
    FINISHED_COUNT.with(Clone::clone)
}

/// Starts to upload files.
///
/// If `target` is an artifact, the file becomes its new content; otherwise each file becomes an
/// artifact of `target`.
pub fn upload(target: &EntityRef, files: Vec<web_sys::File>) {
    for file in files {
        // Numbers are not reused: the task of a cancelled upload must not affect a later upload.
        let number = NEXT_UPLOAD_ID.with(|next| next.replace(next.get() + 1));
        let upload = Upload {
            number,
            name: file.name(),
            size: file.size(),
            sent: ArcRwSignal::new(0.0),
            state: ArcRwSignal::new(UploadState::Sending),
        };
        all().update(|uploads| uploads.push(upload.clone()));
        let (target, abort_handle) = (target.clone(), AbortHandle::default());
        ABORT_HANDLES.with_borrow_mut(|handles| handles.insert(number, abort_handle.clone()));
        spawn_local(async move {
            let result = upload_with_restart(&upload, &target, &file, &abort_handle).await;
            ABORT_HANDLES.with_borrow_mut(|handles| handles.remove(&number));
            match result {
                Ok(artifact_id) => {
                    upload.state.set(UploadState::Done(artifact_id));
                    finished_count().update(|n| *n += 1);
                    if let Some(code) = artifact() {
                        client().invalidate(|query| query.is_of_type(&code));
                    }
                }
                Err(UploadError::Rejected(message) | UploadError::Expired(message)) => {
                    upload.state.set(UploadState::Rejected(message));
                }
                Err(UploadError::Cancelled) => {}
            }
        });
    }
}

/// Returns whether an upload is running, that is, neither ended nor cancelled.
fn is_active(number: u32) -> bool {
    ABORT_HANDLES.with_borrow(|handles| handles.contains_key(&number))
}

/// Cancels an active upload, or dismisses an ended one; removes it from the list.
pub fn cancel_or_dismiss(number: u32) {
    if let Some(handle) = ABORT_HANDLES.with_borrow_mut(|handles| handles.remove(&number)) {
        handle.abort();
    }
    all().update(|uploads| uploads.retain(|upload| upload.number != number));
}

/// Error of an upload.
enum UploadError {
    /// The user has cancelled the upload.
    Cancelled,
    /// The server does not know the upload: it has expired or was deleted (404).
    Expired(String),
    /// The server has rejected the upload; holds the message for the user.
    Rejected(String),
}

/// Repeats a request until it succeeds or fails permanently, or the upload is cancelled.
///
/// Network errors are retried without limit, the statuses 401, 423, 429 and 503 up to
/// [`MAX_REJECTIONS`] times.
async fn retry_request<T>(
    upload: &Upload,
    request: impl AsyncFn() -> Result<T, RequestError>,
) -> Result<T, UploadError> {
    let (mut delay, mut rejections) = (RETRY_INITIAL, 0);
    loop {
        let error = match request().await {
            _ if !is_active(upload.number) => return Err(UploadError::Cancelled),
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        match &error {
            RequestError::Network => upload.state.set(UploadState::Waiting),
            RequestError::Rejected(problem)
                if matches!(problem.status, 401 | 423 | 429 | 503) && rejections < MAX_REJECTIONS =>
            {
                rejections += 1;
            }
            RequestError::Rejected(_) => return Err(upload_error(error)),
        }
        sleep(delay).await;
        if !is_active(upload.number) {
            return Err(UploadError::Cancelled);
        }
        delay = (delay * 2).min(RETRY_MAX);
    }
}

fn upload_error(error: RequestError) -> UploadError {
    let expired = matches!(&error, RequestError::Rejected(problem) if problem.status == 404);
    let message = HttpError::from(error).to_string();
    if expired { UploadError::Expired(message) } else { UploadError::Rejected(message) }
}

/// Uploads a file and returns the id of its artifact.
///
/// Restarts an upload that the server has expired because no part arrived for too long.
async fn upload_with_restart(
    upload: &Upload,
    target: &EntityRef,
    file: &web_sys::File,
    abort_handle: &AbortHandle,
) -> Result<Uuid, UploadError> {
    for _ in 0..MAX_RESTARTS {
        match upload_once(upload, target, file, abort_handle).await {
            Err((true, UploadError::Expired(_))) => {}
            result => return result.map_err(|(_, error)| error),
        }
    }
    Err(UploadError::Rejected("The upload has expired on the server. Try again.".to_owned()))
}

/// Uploads a file once; an error comes with whether the upload may be restarted.
async fn upload_once(
    upload: &Upload,
    target: &EntityRef,
    file: &web_sys::File,
    abort_handle: &AbortHandle,
) -> Result<Uuid, (bool, UploadError)> {
    let size = file.size();
    let fingerprint = format!("{} {size} {}", file.name(), file.last_modified());
    let body = json!({"name": file.name(), "size_bytes": size as u64, "entity": target.code, "id": target.id, "fingerprint": fingerprint});
    let created = retry_request(upload, async || http::try_request(Method::POST, "/upload", Some(&body), None).await)
        .await
        .map_err(|error| (false, error))?;
    let invalid_response = || (true, UploadError::Rejected("Invalid server response. Try again.".to_owned()));
    let id: Uuid = created["id"].as_str().and_then(|id| id.parse().ok()).ok_or_else(invalid_response)?;
    let path = format!("/upload/{id}");
    let outcome = send(upload, &path, offset(&created), file, abort_handle).await;
    if !is_active(upload.number) {
        // Frees the received bytes now instead of when the upload expires.
        let _ = http::try_request(Method::DELETE, &path, None, None).await;
        return Err((true, UploadError::Cancelled));
    }
    outcome.map_err(|error| (true, error))?;
    upload.state.set(UploadState::Finishing);
    let complete_path = format!("{path}/complete");
    // Must not restart after this point: the artifact may have been created and deleted again.
    let artifact =
        retry_request(upload, async || http::try_request(Method::POST, &complete_path, Some(&json!({})), None).await)
            .await
            .map_err(|error| (false, error))?;
    artifact["id"].as_str().and_then(|id| id.parse().ok()).ok_or_else(invalid_response)
}

fn unreadable_file_error() -> UploadError {
    UploadError::Rejected("The file can no longer be read. Select it again.".to_owned())
}

fn offset(response: &Value) -> f64 {
    response["offset"].as_f64().unwrap_or_default()
}

/// Sends the bytes from offset `from` to the end of the file, part by part.
async fn send(
    upload: &Upload,
    path: &str,
    from: f64,
    file: &web_sys::File,
    abort_handle: &AbortHandle,
) -> Result<(), UploadError> {
    let (mut position, mut part_bytes) = (from, INITIAL_PART_BYTES);
    while position < file.size() {
        upload.sent.set(position);
        let end = (position + part_bytes).min(file.size());
        let blob = file.slice_with_f64_and_f64(position, end).map_err(|_| unreadable_file_error())?;
        // Read before the request, so that a deleted file is not mistaken for a network error.
        let bytes = JsFuture::from(blob.array_buffer()).await.map_err(|_| unreadable_file_error())?;
        let started_at = js_sys::Date::now();
        match http::send_part(path, position, &bytes, abort_handle).await {
            _ if !is_active(upload.number) => return Err(UploadError::Cancelled),
            Ok(()) => {
                upload.state.set(UploadState::Sending);
                position = end;
                if js_sys::Date::now() - started_at < FAST_PART_MS {
                    part_bytes = (part_bytes * 2.0).min(MAX_PART_BYTES);
                }
            }
            Err(RequestError::Rejected(problem)) if !matches!(problem.status, 400 | 401 | 409 | 423 | 429 | 503) => {
                return Err(upload_error(RequestError::Rejected(problem)));
            }
            Err(error) => {
                // The server may have received some bytes: ask it for the offset.
                part_bytes = INITIAL_PART_BYTES;
                if matches!(error, RequestError::Network) {
                    upload.state.set(UploadState::Waiting);
                }
                sleep(RETRY_INITIAL).await;
                position = offset(
                    &retry_request(upload, async || http::try_request(Method::GET, path, None, None).await).await?,
                );
            }
        }
    }
    upload.sent.set(file.size());
    Ok(())
}
