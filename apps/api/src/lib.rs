//! The api of PMO: REST under `/api/v1`, sign-in, permissions, imports; in production it serves the built app as well. Its rooms
//! own their routes; this file only puts them together.

mod admin; // what administrators change for everybody
mod app_shell; // the page that carries the app
pub mod auth; // who is asking
mod demo; // demo data by the interface
mod entity; // things of every type
pub mod error; // failures as problems
pub mod export; // data goes out
mod extract; // bodies with limits
mod feed_notifier; // the feed is told of writes
pub mod files; // contents of artifacts
mod grants; // grants
mod history; // what happened
mod ical; // calendars for other programs
pub mod import; // plans from other tools
pub mod openapi; // the interface's own description
mod reference_data; // types, option sets, settings
mod search; // words in all things
pub mod seed; // demo data
pub mod settings; // from the environment
mod snapshot; // a whole tree, for a device that keeps it
pub mod state;
mod sync_changes; // what has changed, for clients without a socket // what handlers share

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use error::ApiError;
use feed_notifier::FeedNotifier;
use pmo_database::change_log::NotifyMode;
use serde_json::json;
use state::AppState;
use std::sync::Arc;
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate};
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

/// The routes under `/api/v1` with their description.
pub fn api_router() -> (Router<AppState>, serde_json::Value) {
    let (router, document) = OpenApiRouter::with_openapi(openapi::Document::openapi())
        .merge(auth::router())
        .merge(reference_data::router())
        .merge(import::router())
        .merge(export::router())
        .merge(ical::router())
        .merge(demo::router())
        .merge(files::router())
        .merge(admin::router())
        .merge(grants::router())
        .merge(history::router())
        .merge(sync_changes::router())
        .merge(search::router())
        .merge(snapshot::router())
        .merge(entity::router())
        .split_for_parts();
    (router, openapi::add_schemas(document))
}

/// How long a request may take; a file with thousands of rows takes longer than others.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const IMPORT_TIMEOUT: Duration = Duration::from_secs(300);

/// Gives up what takes too long: its transaction is rolled back, and the answer says so.
async fn timeout_middleware(request: Request, next: Next) -> Response {
    let longest = if request.uri().path().ends_with("/import") { IMPORT_TIMEOUT } else { REQUEST_TIMEOUT };
    match tokio::time::timeout(longest, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::Unavailable.into_response(),
    }
}

/// Everything that the api serves.
pub fn router(app: AppState) -> Router {
    let (interface, document) = api_router();
    let document = Arc::new(document);
    let interface = interface
        .route("/openapi.json", get(openapi::document))
        .route("/docs", get(openapi::page))
        .layer(Extension(document))
        .fallback(|| async { ApiError::NotFound })
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(timeout_middleware))
        .layer(CompressionLayer::new().compress_when(DefaultPredicate::new().and(files::is_compressible)))
        .layer(middleware::from_fn(problem_json_middleware))
        // What is answered to one person is nobody else's, nor theirs tomorrow.
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        ));
    let interface = match app.settings.doorbell {
        NotifyMode::InTransaction => interface,
        NotifyMode::AfterCommit => interface.layer(middleware::from_fn_with_state(
            FeedNotifier::start(app.pool.clone()),
            feed_notifier::notify_after_response,
        )),
    };
    let mut router = Router::new().nest("/api/v1", interface).route("/health", get(health));
    let folder = app.settings.web_dist.clone();
    if let Some(build) = app_shell::BuildManifest::read(&folder) {
        let files = ServeDir::new(&folder).precompressed_br().append_index_html_on_directories(false);
        let pages = Router::new().fallback(get(app_shell::shell)).layer(Extension(build)).with_state(app.clone());
        // On the files alone: a row's address ends in hex digits as well, and nobody may keep a row.
        let files = Router::new().fallback_service(files.fallback(pages)).layer(middleware::from_fn(cache_headers));
        router = router.fallback_service(files);
    } else {
        router = router.fallback(|| async { ApiError::NotFound });
    }
    router
        .layer(CatchPanicLayer::custom(|_| ApiError::Internal.into_response()))
        .layer(middleware::from_fn(security_headers))
        .with_state(app)
}

/// Whether the service and its database are well.
async fn health(State(app): State<AppState>) -> Response {
    match tokio::time::timeout(Duration::from_secs(2), pmo_database::ping(&app.pool)).await {
        Ok(Ok(())) => {
            Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION"), "database": "ok"})).into_response()
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "degraded", "database": "does not answer"})))
            .into_response(),
    }
}

async fn method_not_allowed() -> Response {
    let problem = json!({"type": "/problems/method-not-allowed", "title": "That can't be done here", "status": 405,
        "detail": "The address exists, but not for this method; see /api/v1/docs."});
    (StatusCode::METHOD_NOT_ALLOWED, [(header::CONTENT_TYPE, "application/problem+json")], problem.to_string())
        .into_response()
}

/// Turns refusals that the framework words itself (a bad address, a bad query) into problems.
async fn problem_json_middleware(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !(status.is_client_error() || status.is_server_error()) || kind.contains("json") {
        return response;
    }
    let text = axum::body::to_bytes(response.into_body(), 4096).await.unwrap_or_default();
    let text: String = String::from_utf8_lossy(&text).chars().take(300).collect();
    match status {
        StatusCode::BAD_REQUEST => {
            ApiError::bad_request("address", if text.is_empty() { "can't be read".to_owned() } else { text })
                .into_response()
        }
        StatusCode::NOT_FOUND => ApiError::NotFound.into_response(),
        StatusCode::SERVICE_UNAVAILABLE => ApiError::Unavailable.into_response(),
        _ => {
            let problem = json!({"type": "about:blank", "title": status.canonical_reason().unwrap_or("Refused"), "status": status.as_u16(), "detail": text});
            (status, [(header::CONTENT_TYPE, "application/problem+json")], problem.to_string()).into_response()
        }
    }
}

/// Hashed files never change; the rest is asked for again each time.
async fn cache_headers(request: Request, next: Next) -> Response {
    let hashed = request.method() == Method::GET && request.uri().path().rsplit('/').next().is_some_and(is_hashed);
    let mut response = next.run(request).await;
    if hashed && response.status().is_success() && !response.headers().contains_key(header::CACHE_CONTROL) {
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    } else if !response.headers().contains_key(header::CACHE_CONTROL) {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    response
}

/// Whether a file's name carries a hash of its contents: `name-<16 hex digits>[_bg].ext`.
fn is_hashed(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches("_bg");
    stem.rsplit('-').next().is_some_and(|h| (12..=20).contains(&h.len()) && h.bytes().all(|b| b.is_ascii_hexdigit()))
}

async fn security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    response
}
