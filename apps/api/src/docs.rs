//! The documentation site at `/docs`.
//!
//! The build has rendered its pages from `docs/` and the documents at the top level.
//!
//! Must not: read files at run time, or need the database.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use std::fmt::Write as _;
use tower_http::set_header::SetResponseHeaderLayer;

include!(concat!(env!("OUT_DIR"), "/docs.rs"));

const STYLE: &str = include_str!("docs.css");

/// Returns the routes of the documentation site, relative to the root of the server.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/docs", get(index))
        .route("/docs/", get(|| async { Redirect::permanent("/docs") }))
        .route("/docs/style.css", get(style))
        .route("/docs/pictures/{name}", get(picture))
        .route("/docs/{*path}", get(page))
        .layer(SetResponseHeaderLayer::overriding(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; img-src 'self'; style-src 'self'; frame-ancestors 'none'"),
        ))
}

async fn index() -> Response {
    render("")
}

async fn page(Path(path): Path<String>) -> Response {
    render(path.trim_end_matches('/'))
}

async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

async fn picture(Path(name): Path<String>) -> Response {
    match PICTURES.iter().find(|(known, _)| *known == name) {
        Some((_, bytes)) => ([(header::CONTENT_TYPE, "image/png")], *bytes).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Returns the page at `path` inside the site's frame, or a page that says that there is none.
fn render(path: &str) -> Response {
    match PAGES.iter().find(|(known, ..)| *known == path) {
        Some((_, title, body)) => Html(document(path, title, body)).into_response(),
        None => {
            let body = "<h1>Page not found</h1><p>See the <a href=\"/docs\">list of pages</a>.</p>";
            (StatusCode::NOT_FOUND, Html(document(path, "Page not found", body))).into_response()
        }
    }
}

/// Puts a page's HTML into the site's frame: navigation beside the text, decision records folded.
fn document(path: &str, title: &str, body: &str) -> String {
    let link = |(page, title, _): &(&str, &str, &str)| {
        let current = if *page == path { " aria-current=\"page\"" } else { "" };
        format!("<li><a href=\"/docs/{page}\"{current}>{title}</a></li>", title = escape(title))
            .replace("\"/docs/\"", "\"/docs\"")
    };
    let is_record = |page: &&(&str, &str, &str)| page.0.starts_with("adr/");
    let pages: String = PAGES.iter().filter(|page| !is_record(page)).map(link).collect();
    let records: String = PAGES.iter().filter(is_record).map(link).collect();
    let open = if path.starts_with("adr/") { " open" } else { "" };
    let mut html = String::with_capacity(body.len() + 8192);
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} · PMO documentation</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"stylesheet\" href=\"/docs/style.css\"></head>\
         <body><a class=\"skip\" href=\"#content\">Skip to content</a>\
         <nav aria-label=\"Documentation\"><a class=\"home\" href=\"/\">PMO</a><ul>{pages}</ul>\
         <details{open}><summary>Decision records</summary><ul>{records}</ul></details></nav>\
         <main id=\"content\">{body}</main></body></html>",
        title = escape(title),
    );
    html
}

/// Escapes text for HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 10_000_000).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn every_page_is_served_with_a_title() {
        assert!(PAGES.len() > 10);
        for (path, title, _) in PAGES {
            let response = render(path);
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert!(!title.is_empty(), "{path} has no heading");
            assert!(body(response).await.contains("aria-current=\"page\""), "{path} is not in the navigation");
        }
    }

    #[tokio::test]
    async fn unknown_page_is_404() {
        assert_eq!(render("no-such-page").status(), StatusCode::NOT_FOUND);
        assert_eq!(picture(Path("../x.png".into())).await.status(), StatusCode::NOT_FOUND);
    }
}
