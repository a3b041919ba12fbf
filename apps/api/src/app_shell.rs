//! HTML page that loads the web app (app shell), rendered by the server.
//!
//! Settings that differ between deployments are embedded as metadata, so that one build serves all
//! of them.
//!
//! Must not: contain data of a person.

use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use leptos::prelude::*;
use serde::Deserialize;
use std::sync::Arc;

/// Manifest that the last step of the web build writes.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct BuildManifest {
    /// Build id: a hash of the files of the build.
    pub id: String,
    /// Path of the JavaScript loader.
    pub script: String,
    /// Path of the WebAssembly module of the app.
    pub wasm: String,
    /// Style sheets, in the order in which they are linked.
    pub styles: Vec<String>,
    /// Style sheet that the app loads with its lazy parts; empty if it is part of `styles`.
    #[serde(default, alias = "later_styles")]
    pub lazy_styles: String,
    /// Inline script that starts the app.
    pub start: String,
    /// CSP hash of the start script, `sha256-…`.
    pub start_hash: String,
    /// Inline script that sets the theme before the first paint.
    pub theme: String,
    /// CSP hash of the theme script.
    pub theme_hash: String,
    /// Path of the font, which is preloaded.
    pub font: String,
}

impl BuildManifest {
    /// Reads `build.json` in `folder`.
    ///
    /// Returns `None` if the app has not been built or the manifest is invalid.
    pub(crate) fn read(folder: &std::path::Path) -> Option<Arc<Self>> {
        let text = std::fs::read_to_string(folder.join("build.json")).ok()?;
        match serde_json::from_str(&text) {
            Ok(manifest) => Some(Arc::new(manifest)),
            Err(error) => {
                tracing::error!(%error, "cannot read dist/build.json; rebuild the web app");
                None
            }
        }
    }
}

/// Serves the app shell with its content security policy.
///
/// Returns 404 for the path of a file that does not exist.
pub(crate) async fn shell(
    State(app): State<AppState>,
    axum::Extension(manifest): axum::Extension<Arc<BuildManifest>>,
    uri: axum::http::Uri,
) -> Response {
    // A missing file must not be answered with a page: the browser would cache the page as the
    // file.
    if uri.path().rsplit('/').next().is_some_and(|name| name.contains('.')) {
        return axum::http::StatusCode::NOT_FOUND.into_response();
    }
    // Leptos renders on the tokio executor; initializing it again has no effect.
    let _ = any_spawner::Executor::init_tokio();
    let pubsub_url = app.settings.pubsub_url.clone();
    let policy = content_security_policy(&manifest, &pubsub_url);
    let body = leptos_axum::render_app_async(move || page(&manifest, &pubsub_url));
    let response = body(axum::extract::Request::default()).await;
    let bytes = axum::body::to_bytes(response.into_body(), 1024 * 1024).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    // Leptos appends scripts for hydration after the document. The app renders on the client
    // instead, and the content security policy forbids these scripts.
    let document = text.split_inclusive("</html>").next().unwrap_or_default();
    let mut response = Html(format!("<!doctype html>{document}")).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn content_security_policy(manifest: &BuildManifest, pubsub_url: &str) -> String {
    // Without a configured URL the socket is on this host: on another port in development, on the
    // same one in production.
    let pubsub_url = if pubsub_url.is_empty() { "ws://localhost:* ws://127.0.0.1:*" } else { pubsub_url };
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' '{}' '{}'; style-src 'self'; style-src-attr 'unsafe-inline'; \
         img-src 'self' data:; font-src 'self'; connect-src 'self' {pubsub_url}; manifest-src 'self'; worker-src 'self'; frame-src 'self'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        manifest.start_hash, manifest.theme_hash
    )
}

fn page(manifest: &BuildManifest, pubsub_url: &str) -> impl IntoView + use<> {
    let styles: Vec<_> =
        manifest.styles.iter().map(|href| view! { <link rel="stylesheet" href=href.clone()/> }).collect();
    view! {
        <html lang="en">
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover"/>
                <meta name="color-scheme" content="light dark"/>
                <meta name="description" content="Project management on every device, online and offline."/>
                <meta name="pmo-socket" content=pubsub_url.to_owned()/>
                <meta name="pmo-build" content=manifest.id.clone()/>
                <meta name="pmo-later-styles" content=manifest.lazy_styles.clone()/>
                <title>"PMO"</title>
                <link rel="manifest" href="/manifest.webmanifest"/>
                <link rel="icon" href="/icon.svg" type="image/svg+xml"/>
                <link rel="preload" href=manifest.font.clone() r#as="font" type="font/woff2" crossorigin="anonymous"/>
                {styles}
                <script inner_html=manifest.theme.clone()></script>
                <link rel="modulepreload" href=manifest.script.clone()/>
                <link rel="preload" href=manifest.wasm.clone() r#as="fetch" type="application/wasm" crossorigin="anonymous"/>
                <script type="module" inner_html=manifest.start.clone()></script>
            </head>
            <body></body>
        </html>
    }
}
