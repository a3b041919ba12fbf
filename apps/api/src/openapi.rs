//! The interface's own description: OpenAPI 3.1 generated from the handlers, and a page to read it.

use axum::Json;
use axum::response::Html;
use leptos::prelude::*;
use serde_json::Value;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

/// What is true of every route.
#[derive(OpenApi)]
#[openapi(
    info(title = "PMO", description = "Projects, plans and everything around them. Errors are RFC 9457 problems (application/problem+json). Sign in at /auth/login and send the token as a Bearer token."),
    servers((url = "/api/v1")),
    security(("bearer" = [])),
    tags((name = "sign-in"), (name = "things", description = "Every entity type by the same routes"), (name = "reference"), (name = "sharing"), (name = "history"), (name = "import"))
)]
pub struct Document;

/// Adds what the attributes can't say: how one signs in.
pub fn complete(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let components = document.components.get_or_insert_with(Default::default);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("pmo_refresh"))));
    document
}

/// The document.
pub async fn document(axum::Extension(document): axum::Extension<std::sync::Arc<Value>>) -> Json<Value> {
    Json((*document).clone())
}

/// A page that lists every operation with its parameters and answers.
pub async fn page(axum::Extension(document): axum::Extension<std::sync::Arc<Value>>) -> Html<String> {
    let operations: Vec<AnyView> = document["paths"]
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(path, methods)| {
            methods
                .as_object()
                .into_iter()
                .flatten()
                .map(move |(method, operation)| operation_view(path, method, operation))
        })
        .collect();
    let view = view! {
        <html lang="en">
            <head>
                <meta charset="utf-8"/>
                <meta name="viewport" content="width=device-width, initial-scale=1"/>
                <title>"PMO interface"</title>
                <style>{STYLE}</style>
            </head>
            <body>
                <h1>"PMO interface"</h1>
                <p>{document["info"]["description"].as_str().unwrap_or_default().to_owned()}</p>
                <p><a href="/api/v1/openapi.json">"openapi.json"</a>" for machines."</p>
                {operations}
            </body>
        </html>
    };
    Html(format!("<!doctype html>{}", view.to_html()))
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}\
 details{border:1px solid #8885;border-radius:6px;margin:.4rem 0;padding:.3rem .7rem}summary{cursor:pointer}\
 code{font-family:ui-monospace,monospace}b{display:inline-block;min-width:4.5rem}td{padding:.1rem .8rem .1rem 0;vertical-align:top}";

fn operation_view(path: &str, method: &str, operation: &Value) -> AnyView {
    let line = |name: &Value, text: &Value| {
        let (name, text) = (name.as_str().unwrap_or_default().to_owned(), text.as_str().unwrap_or_default().to_owned());
        view! { <tr><td><code>{name}</code></td><td>{text}</td></tr> }
    };
    let parameters: Vec<_> =
        operation["parameters"].as_array().into_iter().flatten().map(|p| line(&p["name"], &p["description"])).collect();
    let answers: Vec<_> = operation["responses"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(status, answer)| line(&Value::String(status.clone()), &answer["description"]))
        .collect();
    view! {
        <details>
            <summary><b>{method.to_uppercase()}</b><code>{path.to_owned()}</code>" "{operation["summary"].as_str().unwrap_or_default().to_owned()}</summary>
            <table>{parameters}</table>
            <table>{answers}</table>
        </details>
    }
    .into_any()
}
