//! `OpenAPI` 3.1 document of the api, generated from the handlers, and an HTML page that shows it.

mod problems; // problem responses that many routes share
mod row; // schemas of entity rows

pub(crate) use problems::{AdministratorsOnly, InvalidJson, InvalidParameter, NotVisible, Unauthorized};
pub(crate) use row::{EntitySchema, References, RowSchema};

use axum::Json;
use axum::response::Html;
use leptos::prelude::*;
use pmo_domain::api_types::Problem;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

/// Properties common to all routes.
#[derive(OpenApi)]
#[openapi(
    info(title = "PMO", description = "Projects, plans and related entities. Errors are RFC 9457 problem details (application/problem+json). Sign in at /auth/login and send the token as a Bearer token."),
    servers((url = "/api/v1")),
    security(("bearer" = [])),
    components(schemas(Problem)),
    tags((name = "sign-in"), (name = "entities", description = "The same routes for every entity type"), (name = "reference"), (name = "sharing"), (name = "history"), (name = "sync"), (name = "import"), (name = "files"), (name = "administration"))
)]
pub struct Document;

/// Completes the document with what the attributes cannot express.
///
/// Adds the security schemes, error schemas, examples, and a 503 response for every operation. The
/// API fuzz test validates responses against the result.
pub fn add_schemas(mut document: utoipa::openapi::OpenApi) -> Value {
    let components = document.components.get_or_insert_with(Default::default);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    components.add_security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("pmo_refresh"))));
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let schemas = document["components"]["schemas"].clone();
    for item in document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
            describe(operation, &schemas);
        }
    }
    document
}

/// Returns the first example of a schema; that of an array contains the example of its items.
fn example_of(schema: &Value, schemas: &Value) -> Option<Value> {
    if let Some(name) = schema_name(schema) {
        return example_of(schemas.get(name)?, schemas);
    }
    let example = schema["examples"].get(0).cloned();
    example.or_else(|| Some(json!([example_of(schema.get("items")?, schemas)?])))
}

fn schema_name(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

/// Adds the example of its schema to the content of a request or a response.
fn add_example(content: &mut Value, schemas: &Value) {
    if content.get("example").is_none()
        && let Some(example) = example_of(&content["schema"], schemas)
    {
        content["example"] = example;
    }
}

/// Adds error schemas, and examples of the request and the responses of an operation.
fn describe(operation: &mut Value, schemas: &Value) {
    if let Some(content) = operation.pointer_mut("/requestBody/content/application~1json") {
        add_example(content, schemas);
    }
    operation["responses"]["503"] = json!({"description": "Service unavailable; nothing was changed, try again"});
    for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
        if status.starts_with(['4', '5']) {
            let problem = json!({"schema": {"$ref": "#/components/schemas/Problem"}});
            response["content"]["application/problem+json"] = problem;
        }
        for content in response.get_mut("content").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
        {
            add_example(content, schemas);
        }
    }
}

/// Serves the document as JSON.
pub async fn document(axum::Extension(document): axum::Extension<std::sync::Arc<Value>>) -> Json<Value> {
    Json((*document).clone())
}

/// Serves an HTML page that lists every operation with its parameters and responses.
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
                <title>"PMO API"</title>
                <style>{STYLE}</style>
            </head>
            <body>
                <h1>"PMO API"</h1>
                <p>{document["info"]["description"].as_str().unwrap_or_default().to_owned()}</p>
                <p><a href="/api/v1/openapi.json">"openapi.json"</a>" (machine-readable)"</p>
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
    let table_row = |name: &Value, text: &Value| {
        let (name, text) = (name.as_str().unwrap_or_default().to_owned(), text.as_str().unwrap_or_default().to_owned());
        view! { <tr><td><code>{name}</code></td><td>{text}</td></tr> }
    };
    let parameters: Vec<_> = operation["parameters"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|p| table_row(&p["name"], &p["description"]))
        .collect();
    let responses: Vec<_> = operation["responses"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(status, response)| table_row(&Value::String(status.clone()), &response["description"]))
        .collect();
    view! {
        <details>
            <summary><b>{method.to_uppercase()}</b><code>{path.to_owned()}</code>" "{operation["summary"].as_str().unwrap_or_default().to_owned()}</summary>
            <table>{parameters}</table>
            <table>{responses}</table>
        </details>
    }
    .into_any()
}
