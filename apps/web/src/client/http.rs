//! Requests and tokens. The access token lives in memory alone; the refresh cookie is the browser's business.

use super::network_throttle::throttle;
use futures_channel::oneshot;
pub use gloo_net::http::Method;
use gloo_net::http::{RequestBuilder, Response as HttpResponse};
use pmo_domain::api_types::{AuthResponse, Problem};
use pmo_sync::{Method as EngineMethod, Request, RequestError, Response};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::window;

thread_local! {
    static TOKEN: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Those who wait for one.
    static TOKEN_WAITERS: RefCell<Vec<oneshot::Sender<()>>> = const { RefCell::new(Vec::new()) };
}

/// The access token, if there is one.
pub fn token() -> Option<String> {
    TOKEN.with_borrow(Clone::clone)
}

fn url(path: &str) -> String {
    format!("/api/v1{path}")
}

/// Ends a request: when nobody waits for it any more, or after half a minute.
#[derive(Clone, Default)]
pub struct AbortHandle(Rc<RefCell<Option<web_sys::AbortController>>>);

impl AbortHandle {
    /// Ends it now.
    pub fn now(&self) {
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
        title: "Sign in first".into(),
        status: 401,
        detail: None,
        errors: vec![],
        current: None,
    };
    RequestError::Rejected(Box::new(problem))
}

/// What an HTTP answer means. HTML with 200 is a captive portal, not an answer.
async fn read(response: HttpResponse) -> Result<Response, RequestError> {
    let status = response.status();
    let header = |name: &str| response.headers().get(name);
    let (feed_cursor, etag) = (header("feed-cursor"), header("etag"));
    let kind = header("content-type").unwrap_or_default();
    if matches!(status, 204 | 304) {
        return Ok(Response { not_modified: status == 304, feed_cursor, etag, body: String::new() });
    }
    // As bytes: a text would be copied letter by letter on its way in.
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

/// Makes a request of the engine.
pub async fn send(request: Request, cancel: &AbortHandle) -> Result<Response, RequestError> {
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
    let mut builder = builder(method, &path).abort_signal(cancel.signal().as_ref());
    if let Some(version) = request.if_match {
        builder = builder.header("if-match", &format!("\"{version}\""));
    }
    if let Some(etag) = &request.if_none_match {
        // Without it the browser's own cache would answer 304 with what it holds.
        builder = builder.header("if-none-match", etag).cache(web_sys::RequestCache::NoStore);
    }
    if let Some(key) = &request.idempotency_key {
        builder = builder.header("idempotency-key", key);
    }
    let request = match &request.body {
        Some(body) => builder.json(body),
        None => builder.build(),
    };
    let too_late = cancel.clone();
    // A whole tree takes as long as the server lets it.
    let patience = if path.starts_with("/sync/snapshot") { 330_000 } else { 30_000 };
    let _timeout = gloo_timers::callback::Timeout::new(patience, move || too_late.now());
    let response = request.map_err(|_| RequestError::Network)?.send().await.map_err(|_| RequestError::Network)?;
    read(response).await
}

/// Why a token could not be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshError {
    /// Nobody answers.
    Network,
    /// The session is over.
    Ended,
}

/// Takes a token into use; the caller has made sure that it is this tab's person's. None: no token any more.
pub fn set_token(token: Option<String>) {
    if token.is_some() {
        wake_token_waiters();
    }
    TOKEN.with_borrow_mut(|slot| *slot = token);
}

/// A bound for requests on which others wait.
fn request_timeout() -> web_sys::AbortSignal {
    web_sys::AbortSignal::timeout_with_u32(20_000)
}

fn parse_auth_response(answer: Response) -> Option<AuthResponse> {
    serde_json::from_str(&answer.body).ok()
}

/// Renews the access token with the refresh cookie.
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
    match read(response).await {
        Ok(answer) => parse_auth_response(answer).ok_or(RefreshError::Network),
        Err(RequestError::Rejected(problem)) if problem.status == 401 => Err(RefreshError::Ended),
        Err(_) => Err(RefreshError::Network),
    }
}

/// Signs in; the error is for people.
pub async fn login(email: &str, password: &str) -> Result<AuthResponse, String> {
    let body = json!({"email": email, "password": password});
    let request =
        RequestBuilder::new(&url("/auth/login")).method(Method::POST).json(&body).map_err(|e| e.to_string())?;
    let unreachable = || "The server can't be reached. Check the network and try again.".to_owned();
    let response = request.send().await.map_err(|_| unreachable())?;
    match read(response).await {
        Ok(answer) => parse_auth_response(answer).ok_or_else(unreachable),
        Err(RequestError::Rejected(problem)) => Err(problem.detail.unwrap_or(problem.title)),
        Err(RequestError::Network) => Err(unreachable()),
    }
}

/// Ends the session on the server; false where it could not be reached.
pub async fn logout() -> bool {
    set_token(None);
    let request =
        RequestBuilder::new(&url("/auth/logout")).method(Method::POST).abort_signal(Some(&request_timeout())).build();
    match request {
        Ok(request) => request.send().await.is_ok_and(|answer| answer.status() == 204),
        Err(_) => false,
    }
}

/// For [`ask`].

/// Asks the server for what no device keeps; the error is for people. `key`: a write that a repeat must not do again.
pub async fn request(method: Method, path: &str, body: Option<&Value>, key: Option<&str>) -> Result<Value, String> {
    try_request(method, path, body, key).await.map_err(|failure| failure_message(&failure))
}

/// A token is here, or can't be had now: whoever waits goes on.
fn wake_token_waiters() {
    for waits in TOKEN_WAITERS.take() {
        let _ = waits.send(());
    }
}

/// A page that has just been loaded is there before its token: whoever asks waits until it is known whether there is one.
async fn wait_for_token() {
    if token().is_none() {
        let (waits, comes) = oneshot::channel();
        TOKEN_WAITERS.with_borrow_mut(|all| all.push(waits));
        let _ = comes.await;
    }
}

/// The same, for who does something about a failure.
pub async fn try_request(
    method: Method,
    path: &str,
    body: Option<&Value>,
    key: Option<&str>,
) -> Result<Value, RequestError> {
    wait_for_token().await;
    if !throttle().await {
        return Err(RequestError::Network);
    }
    // What is read whole before it is answered takes as long as the server lets it.
    let patience =
        if path.ends_with("/finish") { web_sys::AbortSignal::timeout_with_u32(65_000) } else { request_timeout() };
    let mut builder = builder(method, path).abort_signal(Some(&patience));
    if let Some(key) = key {
        builder = builder.header("idempotency-key", key);
    }
    let request = match body {
        Some(body) => builder.json(body),
        None => builder.build(),
    };
    let response = request.map_err(|_| RequestError::Network)?.send().await.map_err(|_| RequestError::Network)?;
    let answer = read(response).await?;
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&answer.body).map_err(|_| RequestError::Network)
}

/// Sends a part of a file that is being uploaded.
pub async fn send_part(path: &str, offset: f64, part: &JsValue, cancel: &AbortHandle) -> Result<(), RequestError> {
    if !throttle().await {
        return Err(RequestError::Network);
    }
    let request = builder(Method::PATCH, path)
        .header("content-type", "application/octet-stream")
        .header("upload-offset", &offset.to_string())
        .abort_signal(cancel.signal().as_ref())
        .body(part.clone())
        .map_err(|_| RequestError::Network)?;
    let too_late = cancel.clone();
    // The server waits for a minute.
    let _timeout = gloo_timers::callback::Timeout::new(65_000, move || too_late.now());
    read(request.send().await.map_err(|_| RequestError::Network)?).await.map(drop)
}

/// A failure in words for people.
pub fn failure_message(failure: &RequestError) -> String {
    match failure {
        RequestError::Rejected(problem) => problem_message(problem),
        RequestError::Network => UNREACHABLE_MESSAGE.to_owned(),
    }
}

/// Lets the browser fetch an address and keep it as a file, in its own time.
pub fn start_download(address: &str) -> Option<()> {
    let link: web_sys::HtmlAnchorElement = window()?.document()?.create_element("a").ok()?.unchecked_into();
    link.set_href(address);
    link.set_download("");
    link.click();
    Some(())
}

/// Said where the network is needed, and nobody answers.
const UNREACHABLE_MESSAGE: &str = "The server can't be reached. This needs the network; try again when it is back.";

/// A refusal in the words that it came with.
fn problem_message(problem: &Problem) -> String {
    let fields: Vec<String> = problem.errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect();
    if fields.is_empty() { problem.detail.clone().unwrap_or_else(|| problem.title.clone()) } else { fields.join(" ") }
}

/// Sends a file; the error is for people.
pub async fn send_file(path: &str, kind: &str, file: &web_sys::File, key: &str) -> Result<Value, String> {
    if !throttle().await {
        return Err(UNREACHABLE_MESSAGE.to_owned());
    }
    let request = builder(Method::POST, path)
        .header("content-type", kind)
        .header("idempotency-key", key)
        .body(file.clone())
        .map_err(|e| e.to_string())?;
    let response = request.send().await.map_err(|_| UNREACHABLE_MESSAGE.to_owned())?;
    match read(response).await {
        Ok(answer) => serde_json::from_str(&answer.body).map_err(|e| e.to_string()),
        Err(RequestError::Rejected(problem)) => Err(problem_message(&problem)),
        Err(RequestError::Network) => Err("The server gave no answer that can be read. Try again.".into()),
    }
}

/// Fetches a file and gives it to the browser to keep; the error is for people.
pub async fn download(path: &str, name: &str) -> Result<(), String> {
    if !throttle().await {
        return Err(UNREACHABLE_MESSAGE.to_owned());
    }
    let request = builder(Method::GET, path).build().map_err(|e| e.to_string())?;
    let response = request.send().await.map_err(|_| UNREACHABLE_MESSAGE.to_owned())?;
    if !response.ok() {
        return match read(response).await {
            Err(RequestError::Rejected(problem)) => Err(problem_message(&problem)),
            _ => Err(UNREACHABLE_MESSAGE.to_owned()),
        };
    }
    let cut = || "The file did not arrive whole. Try again.".to_owned();
    let bytes = js_sys::Uint8Array::from(response.binary().await.map_err(|_| cut())?.as_slice());
    let blob = web_sys::Blob::new_with_u8_array_sequence(&js_sys::Array::of1(&bytes)).map_err(|_| cut())?;
    save_blob(&blob, name).ok_or_else(cut)
}

/// Lets the browser keep a blob as a file.
fn save_blob(blob: &web_sys::Blob, name: &str) -> Option<()> {
    let address = web_sys::Url::create_object_url_with_blob(blob).ok()?;
    let link: web_sys::HtmlAnchorElement = window()?.document()?.create_element("a").ok()?.unchecked_into();
    link.set_href(&address);
    link.set_download(name);
    link.click();
    // The browser has begun by then.
    gloo_timers::callback::Timeout::new(60_000, move || drop(web_sys::Url::revoke_object_url(&address))).forget();
    Some(())
}
