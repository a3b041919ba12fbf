//! The interface's own description: OpenAPI 3.1 generated from the handlers, and a page to read it.

use axum::Json;
use axum::response::Html;
use leptos::prelude::*;
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};

/// What is true of every route.
#[derive(OpenApi)]
#[openapi(
    info(title = "PMO", description = "Projects, plans and everything around them. Errors are RFC 9457 problems (application/problem+json). Sign in at /auth/login and send the token as a Bearer token."),
    servers((url = "/api/v1")),
    security(("bearer" = [])),
    tags((name = "sign-in"), (name = "things", description = "Every entity type by the same routes"), (name = "reference"), (name = "sharing"), (name = "history"), (name = "import"))
)]
pub struct Document;

/// What every refusal looks like.
fn problem() -> Value {
    json!({"type": "object", "description": "A refusal, as RFC 9457 has it. 'errors' names the fields; with 412 'current' is the present row.",
        "required": ["type", "title", "status"],
        "properties": {
            "type": {"type": "string", "examples": ["/problems/invalid"]},
            "title": {"type": "string", "examples": ["Some fields are wrong"]},
            "status": {"type": "integer", "examples": [422]},
            "detail": {"type": ["string", "null"]},
            "errors": {"type": "array", "items": {"type": "object", "required": ["field", "message"], "properties": {
                "field": {"type": "string", "examples": ["due_date"]},
                "message": {"type": "string", "examples": ["must be a day such as 2026-01-31"]}}}},
            "current": {"type": ["object", "null"]}}})
}

/// Adds what the attributes can't say: how one signs in, what a refusal looks like, and that any request can meet a service that is not
/// ready.
pub fn complete(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            let not_ready =
                ResponseBuilder::new().description("The service is not ready; nothing was changed, try again").build();
            responses.insert("503".to_owned(), RefOr::T(not_ready));
            for (status, response) in responses.iter_mut() {
                if let RefOr::T(response) = response
                    && status.starts_with(['4', '5'])
                {
                    let content = Content::new(Some(Ref::from_schema_name("Problem")));
                    response.content.insert("application/problem+json".to_owned(), RefOr::T(content));
                }
            }
        }
    }
    let components = document.components.get_or_insert_with(Default::default);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    if let Ok(schema) = serde_json::from_value(problem()) {
        components.schemas.insert("Problem".to_owned(), schema);
    }
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
