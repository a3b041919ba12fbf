//! The PMO api: REST under `/api/v1` and, in production, the built web app.
//!
//! Each module defines its routes; this file combines them and adds the middleware.

mod admin; // settings that administrators change
mod app_shell; // HTML page that loads the web app
pub mod auth; // authentication and sessions
mod demo; // demo data endpoint
mod docs; // documentation site
mod entity; // CRUD routes of every entity type
pub mod error; // errors as problem details
pub mod export; // CSV, JSON and MSPDI export
mod extract; // body extractors with size limits
mod feed_notifier; // NOTIFY after commit
pub mod files; // uploads and downloads
mod grants; // permission grants
mod history; // audit trail of entities and users
mod ical; // iCalendar feeds
pub mod import; // CSV and MSPDI import
pub mod openapi; // OpenAPI document and its HTML page
mod reference_data; // entity types, option sets, settings
pub mod schedule_worker; // computes the dates of changed projects
mod search; // full-text search
pub mod seed; // demo data
pub mod settings; // settings from command line and environment
mod snapshot; // stream of a whole tree, for pinning
pub mod state; // state shared by handlers
mod sync_changes; // changes since a cursor, for polling clients

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use error::ApiError;
use feed_notifier::FeedNotifier;
use pmo_database::NotifyMode;
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

/// Builds the routes under `/api/v1` and their `OpenAPI` document.
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

/// Paths whose last segment is a secret that must not be logged.
const SECRET_PATHS: [&str; 2] = ["/api/v1/calendar/", "/api/v1/file/"];
/// Maximum duration of a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Maximum duration of an import, which may contain thousands of rows.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(300);

/// Cancels a request that exceeds its timeout: the transaction is rolled back and 503 is returned.
async fn timeout_middleware(request: Request, next: Next) -> Response {
    let timeout = if request.uri().path().ends_with("/import") { IMPORT_TIMEOUT } else { REQUEST_TIMEOUT };
    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::Unavailable.into_response(),
    }
}

/// Builds the router of the service: api, health check and, if it has been built, the web app.
pub fn router(app: AppState) -> Router {
    let (api, document) = api_router();
    let document = Arc::new(document);
    let api = api
        .route("/openapi.json", get(openapi::document))
        .route("/docs", get(openapi::page))
        .layer(Extension(document))
        .fallback(|| async { ApiError::NotFound })
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(timeout_middleware))
        .layer(CompressionLayer::new().compress_when(DefaultPredicate::new().and(files::is_compressible)))
        .layer(middleware::from_fn(problem_json_middleware))
        // Responses depend on the caller and become stale: shared caches must not store them, and
        // browsers must revalidate them.
        .layer(SetResponseHeaderLayer::if_not_present(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        ));
    let api = match app.settings.notify_mode {
        NotifyMode::InTransaction => api,
        NotifyMode::AfterCommit => api.layer(middleware::from_fn_with_state(
            FeedNotifier::start(app.pool.clone()),
            feed_notifier::notify_after_response,
        )),
    };
    let mut router = Router::new()
        .nest("/api/v1", api)
        .route("/health", get(health))
        .route("/metrics", get(render_metrics))
        .merge(docs::router());
    let folder = app.settings.web_dist.clone();
    if let Some(build) = app_shell::BuildManifest::read(&folder) {
        let files = ServeDir::new(&folder).precompressed_br().append_index_html_on_directories(false);
        let pages = Router::new().fallback(get(app_shell::shell)).layer(Extension(build)).with_state(app.clone());
        // Cache headers apply to static files only. The last segment of an entity URL can look like
        // a content hash, and a response with an entity must not be marked immutable.
        let files = Router::new().fallback_service(files.fallback(pages)).layer(middleware::from_fn(cache_headers));
        router = router.fallback_service(files);
    } else {
        router = router.fallback(|| async { ApiError::NotFound });
    }
    let router = router
        .layer(CatchPanicLayer::custom(|_| ApiError::Internal.into_response()))
        .layer(middleware::from_fn(security_headers))
        .with_state(app);
    pmo_startup::trace_requests(router, &SECRET_PATHS)
}

/// Reports whether the service and its database are available.
async fn health(State(app): State<AppState>) -> Response {
    match tokio::time::timeout(Duration::from_secs(2), pmo_database::ping(&app.pool)).await {
        Ok(Ok(())) => {
            Json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION"), "database": "ok"})).into_response()
        }
        _ => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "degraded", "database": "unavailable"})))
            .into_response(),
    }
}

/// Returns the metrics of the process.
async fn render_metrics(State(app): State<AppState>) -> Response {
    let queue = tokio::time::timeout(Duration::from_secs(2), pmo_database::schedule::queue_state(&app.pool)).await;
    let page = app.schedule_metrics.render(queue.ok().and_then(Result::ok));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
}

async fn method_not_allowed() -> Response {
    let problem = json!({"type": "/problems/method-not-allowed", "title": "Method not allowed", "status": 405,
        "detail": "The path exists, but does not support this method; see /api/v1/docs."});
    (StatusCode::METHOD_NOT_ALLOWED, [(header::CONTENT_TYPE, "application/problem+json")], problem.to_string())
        .into_response()
}

/// Turns errors that the framework renders as plain text (bad path, bad query) into problems.
async fn problem_json_middleware(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !(status.is_client_error() || status.is_server_error()) || media_type.contains("json") {
        return response;
    }
    let text = axum::body::to_bytes(response.into_body(), 4096).await.unwrap_or_default();
    let text: String = String::from_utf8_lossy(&text).chars().take(300).collect();
    match status {
        StatusCode::BAD_REQUEST => {
            ApiError::bad_request("address", if text.is_empty() { "is malformed".to_owned() } else { text })
                .into_response()
        }
        StatusCode::NOT_FOUND => ApiError::NotFound.into_response(),
        StatusCode::SERVICE_UNAVAILABLE => ApiError::Unavailable.into_response(),
        _ => {
            let problem = json!({"type": "about:blank", "title": status.canonical_reason().unwrap_or("Error"), "status": status.as_u16(), "detail": text});
            (status, [(header::CONTENT_TYPE, "application/problem+json")], problem.to_string()).into_response()
        }
    }
}

/// Marks hashed files as immutable and makes browsers revalidate all others.
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

/// Returns whether a file name carries a content hash: `name-<16 hex digits>[_bg].ext`.
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
