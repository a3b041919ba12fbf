//! HTTP requests and the access token.
//!
//! The access token is held in memory only; the browser manages the refresh cookie.

use super::network_throttle::throttle;
use futures_channel::oneshot;
pub use gloo_net::http::Method;
use gloo_net::http::{RequestBuilder, Response as HttpResponse};
use leptos::prelude::{RwSignal, Set};
use pmo_domain::api_types::{AuthResponse, Problem};
use pmo_sync::{Method as EngineMethod, Request, RequestError, Response};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::window;

thread_local! {
    static TOKEN: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Wakes the requests that wait for a token.
    static TOKEN_WAITERS: RefCell<Vec<oneshot::Sender<()>>> = const { RefCell::new(Vec::new()) };
}

/// Returns the access token, if one is set.
pub fn token() -> Option<String> {
    TOKEN.with_borrow(Clone::clone)
}

fn url(path: &str) -> String {
    format!("/api/v1{path}")
}

/// Aborts a request on cancellation or timeout.
#[derive(Clone, Default)]
pub struct AbortHandle(Rc<RefCell<Option<web_sys::AbortController>>>);

impl AbortHandle {
    /// Aborts the request; does nothing if none is running.
    pub fn abort(&self) {
        if let Some(controller) = self.0.borrow_mut().take() {
            controller.abort();
        }
    }

    fn signal(&self) -> Option<web_sys::AbortSignal> {
        let controller = web_sys::AbortController::new().ok()?;
        let signal = controller.signal();
        *self.0.borrow_mut() = Some(controller);
        Some(signal)
    }
}

fn builder(method: Method, path: &str) -> RequestBuilder {
    let builder = RequestBuilder::new(&url(path)).method(method);
    match token() {
        Some(token) => builder.header("authorization", &format!("Bearer {token}")),
        None => builder,
    }
}

fn unauthorized_failure() -> RequestError {
    let problem = Problem {
        kind: String::new(),
        title: "Sign-in required".into(),
        status: 401,
        detail: None,
        errors: vec![],
        current: None,
    };
    RequestError::Rejected(Box::new(problem))
}

/// Converts an HTTP response into the engine's result.
///
/// A successful response without JSON counts as a network error: a captive portal answers with HTML
/// and status 200.
async fn read_response(response: HttpResponse) -> Result<Response, RequestError> {
    let status = response.status();
    let header = |name: &str| response.headers().get(name);
    let (feed_cursor, etag) = (header("feed-cursor"), header("etag"));
    let kind = header("content-type").unwrap_or_default();
    if matches!(status, 204 | 304) {
        return Ok(Response { not_modified: status == 304, feed_cursor, etag, body: String::new() });
    }
    // Read as bytes: a JavaScript string would be transcoded character by character.
    let body = response.binary().await.map_err(|_| RequestError::Network)?;
    let body = String::from_utf8(body).map_err(|_| RequestError::Network)?;
    if (200..300).contains(&status) && kind.contains("json") {
        return Ok(Response { not_modified: false, body, feed_cursor, etag });
    }
    match serde_json::from_str::<Problem>(&body) {
        Ok(problem) if kind.contains("json") => Err(RequestError::Rejected(Box::new(problem))),
        _ => Err(RequestError::Network),
    }
}

/// Sends a request of the engine.
///
/// Without an access token, sends nothing and fails with status 401. Fails with
/// [`RequestError::Network`] on timeout.
pub async fn send(request: Request, abort_handle: &AbortHandle) -> Result<Response, RequestError> {
    if token().is_none() {
        return Err(unauthorized_failure());
    }
    if !throttle().await {
        return Err(RequestError::Network);
    }
    let method = match request.method {
        EngineMethod::Get => Method::GET,
        EngineMethod::Post => Method::POST,
        EngineMethod::Patch => Method::PATCH,
        EngineMethod::Delete => Method::DELETE,
    };
    let path = request.path.clone();
    let mut builder = builder(method, &path).abort_signal(abort_handle.signal().as_ref());
    if let Some(version) = request.if_match {
        builder = builder.header("if-match", &format!("\"{version}\""));
    }
    if let Some(etag) = &request.if_none_match {
        // With the HTTP cache enabled, the browser would replace a 304 by its cached response.
        builder = builder.header("if-none-match", etag).cache(web_sys::RequestCache::NoStore);
    }
    if let Some(key) = &request.idempotency_key {
        builder = builder.header("idempotency-key", key);
    }
    let request = match &request.body {
        Some(body) => builder.json(body),
        None => builder.build(),
    };
    let timeout_handle = abort_handle.clone();
    // A snapshot of a tree may take as long as the server allows.
    let timeout_ms = if path.starts_with("/sync/snapshot") { 330_000 } else { 30_000 };
    let _timeout = gloo_timers::callback::Timeout::new(timeout_ms, move || timeout_handle.abort());
    let response = request.map_err(|_| RequestError::Network)?.send().await.map_err(|_| RequestError::Network)?;
    read_response(response).await
}

/// Error of a token refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshError {
    /// The server is unreachable or sent an invalid response.
    Network,
    /// The session has expired; the user must sign in.
    SessionExpired,
}

/// Sets the access token, or removes it with `None`.
///
/// The caller must check that the token belongs to the user of this tab.
pub fn set_token(token: Option<String>) {
    if token.is_some() {
        wake_token_waiters();
    }
    TOKEN.with_borrow_mut(|slot| *slot = token);
}

/// Returns the abort signal of a request that other work waits for: a timeout of 20 s.
fn request_timeout() -> web_sys::AbortSignal {
    web_sys::AbortSignal::timeout_with_u32(20_000)
}

fn parse_auth_response(response: Response) -> Option<AuthResponse> {
    serde_json::from_str(&response.body).ok()
}

/// Requests a new access token with the refresh cookie.
pub async fn refresh() -> Result<AuthResponse, RefreshError> {
    let outcome = refresh_inner().await;
    if outcome.is_err() {
        wake_token_waiters();
    }
    outcome
}

async fn refresh_inner() -> Result<AuthResponse, RefreshError> {
    if !throttle().await {
        return Err(RefreshError::Network);
    }
    let request = RequestBuilder::new(&url("/auth/refresh"))
        .method(Method::POST)
        .abort_signal(Some(&request_timeout()))
        .build()
        .map_err(|_| RefreshError::Network)?;
    let response = request.send().await.map_err(|_| RefreshError::Network)?;
    match read_response(response).await {
        Ok(response) => parse_auth_response(response).ok_or(RefreshError::Network),
        Err(RequestError::Rejected(problem)) if problem.status == 401 => Err(RefreshError::SessionExpired),
        Err(_) => Err(RefreshError::Network),
    }
}

/// Signs in with email address and password.
pub async fn login(email: &str, password: &str) -> Result<AuthResponse, HttpError> {
    let body = json!({"email": email, "password": password});
    let request = RequestBuilder::new(&url("/auth/login")).method(Method::POST).json(&body);
    let response = request.map_err(|_| HttpError::Unreachable)?.send().await.map_err(|_| HttpError::Unreachable)?;
    parse_auth_response(read_response(response).await?).ok_or(HttpError::Unreachable)
}

/// Removes the access token and ends the session on the server.
///
/// Returns `false` if the server did not confirm.
pub async fn logout() -> bool {
    set_token(None);
    let request =
        RequestBuilder::new(&url("/auth/logout")).method(Method::POST).abort_signal(Some(&request_timeout())).build();
    match request {
        Ok(request) => request.send().await.is_ok_and(|response| response.status() == 204),
        Err(_) => false,
    }
}

/// Sends a request for data that the engine does not cache.
///
/// `idempotency_key` prevents a repeated write from being applied twice.
pub async fn request(
    method: Method,
    path: &str,
    body: Option<&Value>,
    idempotency_key: Option<&str>,
) -> Result<Value, HttpError> {
    Ok(try_request(method, path, body, idempotency_key).await?)
}

/// Resumes all requests that wait for a token, after one is set or a refresh has failed.
fn wake_token_waiters() {
    for sender in TOKEN_WAITERS.take() {
        let _ = sender.send(());
    }
}

/// Waits until a token is set or a refresh has failed; returns immediately if there is a token.
///
/// After a reload, pages send requests before the first token has arrived.
async fn wait_for_token() {
    if token().is_none() {
        let (sender, receiver) = oneshot::channel();
        TOKEN_WAITERS.with_borrow_mut(|waiters| waiters.push(sender));
        let _ = receiver.await;
    }
}

/// Sends a request like [`request`], but returns the error of the engine.
pub async fn try_request(
    method: Method,
    path: &str,
    body: Option<&Value>,
    idempotency_key: Option<&str>,
) -> Result<Value, RequestError> {
    wait_for_token().await;
    if !throttle().await {
        return Err(RequestError::Network);
    }
    // To complete an upload, the server reads the whole file before it responds.
    let timeout =
        if path.ends_with("/complete") { web_sys::AbortSignal::timeout_with_u32(65_000) } else { request_timeout() };
    let mut builder = builder(method, path).abort_signal(Some(&timeout));
    if let Some(key) = idempotency_key {
        builder = builder.header("idempotency-key", key);
    }
    let request = match body {
        Some(body) => builder.json(body),
        None => builder.build(),
    };
    let response = request.map_err(|_| RequestError::Network)?.send().await.map_err(|_| RequestError::Network)?;
    let response = read_response(response).await?;
    if response.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&response.body).map_err(|_| RequestError::Network)
}

/// Sends a part of an upload; `offset` is the position of its first byte in the file.
pub async fn send_part(
    path: &str,
    offset: f64,
    part: &JsValue,
    abort_handle: &AbortHandle,
) -> Result<(), RequestError> {
    if !throttle().await {
        return Err(RequestError::Network);
    }
    let request = builder(Method::PATCH, path)
        .header("content-type", "application/octet-stream")
        .header("upload-offset", &offset.to_string())
        .abort_signal(abort_handle.signal().as_ref())
        .body(part.clone())
        .map_err(|_| RequestError::Network)?;
    let timeout_handle = abort_handle.clone();
    // Longer than the timeout of the server, one minute.
    let _timeout = gloo_timers::callback::Timeout::new(65_000, move || timeout_handle.abort());
    read_response(request.send().await.map_err(|_| RequestError::Network)?).await.map(drop)
}

/// Error of a request; its text is the message for the user.
#[derive(Clone, Debug, PartialEq)]
pub enum HttpError {
    /// The server is unreachable.
    Unreachable,
    /// The server rejected the request.
    Rejected(Box<Problem>),
    /// The response cannot be read.
    InvalidResponse,
    /// The download ended early, or the browser cannot save it.
    IncompleteDownload,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "Server unreachable. This action requires a network connection. Try again later.",
            Self::Rejected(problem) => return f.write_str(&problem_message(problem)),
            Self::InvalidResponse => "Invalid server response. Try again.",
            Self::IncompleteDownload => "Download incomplete. Try again.",
        })
    }
}

impl From<RequestError> for HttpError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Rejected(problem) => Self::Rejected(problem),
            RequestError::Network => Self::Unreachable,
        }
    }
}

/// Converts a JSON response to the type that the page expects.
pub fn parse_response<T: serde::de::DeserializeOwned>(response: Value) -> Result<T, HttpError> {
    serde_json::from_value(response).map_err(|_| HttpError::InvalidResponse)
}

/// Starts a download of `url` by the browser and returns without waiting for it.
pub fn start_download(url: &str) -> Option<()> {
    let link: web_sys::HtmlAnchorElement = window()?.document()?.create_element("a").ok()?.unchecked_into();
    link.set_href(url);
    link.set_download("");
    link.click();
    Some(())
}

/// Returns the message of a problem: its field errors, else its detail, else its title.
fn problem_message(problem: &Problem) -> String {
    let fields: Vec<String> = problem.errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect();
    if fields.is_empty() { problem.detail.clone().unwrap_or_else(|| problem.title.clone()) } else { fields.join(" ") }
}

/// Sends a file as the request body.
pub async fn send_file(
    path: &str,
    content_type: &str,
    file: &web_sys::File,
    idempotency_key: &str,
) -> Result<Value, HttpError> {
    if !throttle().await {
        return Err(HttpError::Unreachable);
    }
    let request = builder(Method::POST, path)
        .header("content-type", content_type)
        .header("idempotency-key", idempotency_key)
        .body(file.clone())
        .map_err(|_| HttpError::Unreachable)?;
    let response = request.send().await.map_err(|_| HttpError::Unreachable)?;
    match read_response(response).await {
        Ok(response) => serde_json::from_str(&response.body).map_err(|_| HttpError::InvalidResponse),
        Err(RequestError::Rejected(problem)) => Err(HttpError::Rejected(problem)),
        Err(RequestError::Network) => Err(HttpError::InvalidResponse),
    }
}

/// Downloads a file and saves it as `name`.
pub async fn download(path: &str, name: &str) -> Result<(), HttpError> {
    if !throttle().await {
        return Err(HttpError::Unreachable);
    }
    let request = builder(Method::GET, path).build().map_err(|_| HttpError::Unreachable)?;
    let response = request.send().await.map_err(|_| HttpError::Unreachable)?;
    if !response.ok() {
        return match read_response(response).await {
            Err(error) => Err(error.into()),
            Ok(_) => Err(HttpError::Unreachable),
        };
    }
    let bytes = response.binary().await.map_err(|_| HttpError::IncompleteDownload)?;
    let bytes = js_sys::Array::of1(&js_sys::Uint8Array::from(bytes.as_slice()));
    let blob = web_sys::Blob::new_with_u8_array_sequence(&bytes).map_err(|_| HttpError::IncompleteDownload)?;
    save_blob(&blob, name).ok_or(HttpError::IncompleteDownload)
}

/// Saves a blob as a file named `name`; returns `None` if the browser refuses.
pub fn save_blob(blob: &web_sys::Blob, name: &str) -> Option<()> {
    let url = web_sys::Url::create_object_url_with_blob(blob).ok()?;
    let link: web_sys::HtmlAnchorElement = window()?.document()?.create_element("a").ok()?.unchecked_into();
    link.set_href(&url);
    link.set_download(name);
    link.click();
    // Revoked later: the browser reads the blob only after it has started the download.
    gloo_timers::callback::Timeout::new(60_000, move || drop(web_sys::Url::revoke_object_url(&url))).forget();
    Some(())
}

/// Downloads an export as a file; `error` receives the message of a failure.
pub fn export_file(path: String, name: String, error: RwSignal<Option<String>>) {
    error.set(None);
    wasm_bindgen_futures::spawn_local(async move {
        if let Err(failure) = download(&path, &name).await {
            error.set(Some(failure.to_string()));
        }
    });
}
