//! The page that carries the app: rendered by the server with the settings that differ between deployments as data, so that one
//! build serves them all. It must never carry anything of a person.

use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use leptos::prelude::*;
use serde::Deserialize;
use std::sync::Arc;

/// What the build made, as its last step wrote it down.
#[derive(Clone, Debug, Deserialize)]
pub struct BuildManifest {
    /// The build's name: a hash of its files.
    pub id: String,
    /// The loader's JavaScript.
    pub script: String,
    /// The app.
    pub wasm: String,
    /// Style sheets in order.
    pub styles: Vec<String>,
    /// The style sheet that the app fetches with its later part; empty where that is among the others.
    #[serde(default)]
    pub later_styles: String,
    /// The inline script that starts the app.
    pub start: String,
    /// Its hash for the content policy, `sha256-…`.
    pub start_hash: String,
    /// The inline script that sets the theme before the first paint.
    pub theme: String,
    /// Its hash.
    pub theme_hash: String,
    /// The typeface, loaded early.
    pub font: String,
}

impl BuildManifest {
    /// Reads the build's note; none where the app has not been built.
    pub fn read(folder: &std::path::Path) -> Option<Arc<Self>> {
        let text = std::fs::read_to_string(folder.join("build.json")).ok()?;
        match serde_json::from_str(&text) {
            Ok(build) => Some(Arc::new(build)),
            Err(error) => {
                tracing::error!(%error, "dist/build.json can't be read; build the app again");
                None
            }
        }
    }
}

/// The shell as an answer, with its content policy.
pub async fn shell(
    State(app): State<AppState>,
    axum::Extension(build): axum::Extension<Arc<BuildManifest>>,
    address: axum::http::Uri,
) -> Response {
    // A file that is not there is not a page: a page in its place would be kept as if it were the file.
    if address.path().rsplit('/').next().is_some_and(|name| name.contains('.')) {
        return axum::http::StatusCode::NOT_FOUND.into_response();
    }
    // Leptos draws on tokio; saying so again does nothing.
    let _ = any_spawner::Executor::init_tokio();
    let socket = app.settings.pubsub_url.clone();
    let policy = content_security_policy(&build, &socket);
    let body = leptos_axum::render_app_async(move || page(&build, &socket));
    let response = body(axum::extract::Request::default()).await;
    let bytes = axum::body::to_bytes(response.into_body(), 1024 * 1024).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    // What follows the document is for pages that go on where the server left off; this one begins anew, and its policy forbids it.
    let document = text.split_inclusive("</html>").next().unwrap_or_default();
    let mut response = Html(format!("<!doctype html>{document}")).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn content_security_policy(build: &BuildManifest, socket: &str) -> String {
    // Without an address of its own the socket is on this host: another port in development, the same in production.
    let socket = if socket.is_empty() { "ws://localhost:* ws://127.0.0.1:*" } else { socket };
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' '{}' '{}'; style-src 'self'; style-src-attr 'unsafe-inline'; \
         img-src 'self' data:; font-src 'self'; connect-src 'self' {socket}; manifest-src 'self'; worker-src 'self'; frame-src 'self'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        build.start_hash, build.theme_hash
    )
}

fn page(build: &BuildManifest, socket: &str) -> impl IntoView + use<> {
    let styles: Vec<_> = build.styles.iter().map(|href| view! { <link rel="stylesheet" href=href.clone()/> }).collect();
    view! {
        <html lang="en">
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover"/>
                <meta name="color-scheme" content="light dark"/>
                <meta name="description" content="Plans that stay at hand, on every screen and without a network."/>
                <meta name="pmo-socket" content=socket.to_owned()/>
                <meta name="pmo-build" content=build.id.clone()/>
                <meta name="pmo-later-styles" content=build.later_styles.clone()/>
                <title>"PMO"</title>
                <link rel="manifest" href="/manifest.webmanifest"/>
                <link rel="icon" href="/icon.svg" type="image/svg+xml"/>
                <link rel="preload" href=build.font.clone() r#as="font" type="font/woff2" crossorigin="anonymous"/>
                {styles}
                <script inner_html=build.theme.clone()></script>
                <link rel="modulepreload" href=build.script.clone()/>
                <link rel="preload" href=build.wasm.clone() r#as="fetch" type="application/wasm" crossorigin="anonymous"/>
                <script type="module" inner_html=build.start.clone()></script>
            </head>
            <body></body>
        </html>
    }
}
