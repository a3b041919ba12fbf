//! Request ids and spans of HTTP requests, the same in both services.
//!
//! Invariant: every log event of a request carries the id that the response returns.

use axum::Router;
use axum::extract::Request;
use axum::middleware::map_request;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::trace::{DefaultOnResponse, TraceLayer};
use tracing::{Level, Span};

/// Header that carries the id of a request.
const HEADER: &str = "x-request-id";
/// Maximum length of an id that a client or a proxy sends.
const MAX_ID_LEN: usize = 64;

/// Adds an id and a span to every request of `router`.
///
/// An `X-Request-Id` of the request is used if it has at most 64 letters, digits, `-` and `_`;
/// otherwise an id is made. The response returns the id. The span has the method, the path without
/// its query, which may hold a token, and the id. Of a path that begins with one of
/// `secret_prefixes`, the span has the prefix only: the rest is a secret.
pub fn trace_requests(router: Router, secret_prefixes: &'static [&'static str]) -> Router {
    router
        .layer(PropagateRequestIdLayer::x_request_id())
        .layer(
            TraceLayer::new_for_http()
                .make_span_with(move |request: &axum::http::Request<axum::body::Body>| {
                    request_span(request, secret_prefixes)
                })
                .on_request(())
                .on_response(DefaultOnResponse::new().level(Level::DEBUG))
                .on_failure(()),
        )
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(map_request(remove_invalid_id))
}

async fn remove_invalid_id(mut request: Request) -> Request {
    if request.headers().get(HEADER).is_some_and(|id| !is_valid(id.as_bytes())) {
        request.headers_mut().remove(HEADER);
    }
    request
}

fn is_valid(id: &[u8]) -> bool {
    (1..=MAX_ID_LEN).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn loggable_path<'a>(path: &'a str, secret_prefixes: &[&'a str]) -> &'a str {
    secret_prefixes.iter().find(|prefix| path.starts_with(**prefix)).copied().unwrap_or(path)
}

fn request_span(request: &axum::http::Request<axum::body::Body>, secret_prefixes: &[&'static str]) -> Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok()).unwrap_or_default();
    tracing::info_span!("request", method = %request.method(), path = loggable_path(request.uri().path(), secret_prefixes), request_id = id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use tower::ServiceExt;

    async fn returned_id(sent: Option<&str>) -> String {
        let router = trace_requests(Router::new().route("/", get(|| async { "ok" })), &[]);
        let mut request = Request::builder().uri("/");
        if let Some(id) = sent {
            request = request.header(HEADER, id);
        }
        let response = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        response.headers()[HEADER].to_str().unwrap().to_owned()
    }

    #[test]
    fn secrets_in_paths_are_not_logged() {
        let prefixes = ["/api/v1/calendar/", "/api/v1/file/"];
        assert_eq!(loggable_path("/api/v1/calendar/0123abcd.ics", &prefixes), "/api/v1/calendar/");
        assert_eq!(loggable_path("/api/v1/file/a.b.c", &prefixes), "/api/v1/file/");
        assert_eq!(loggable_path("/api/v1/task/1", &prefixes), "/api/v1/task/1");
    }

    #[tokio::test]
    async fn valid_request_id_is_returned_and_any_other_is_replaced() {
        assert_eq!(returned_id(Some("load-balancer_42")).await, "load-balancer_42");
        for invalid in ["", "two words", "x\u{7f}", &"a".repeat(65)] {
            let Ok(value) = axum::http::HeaderValue::from_str(invalid) else { continue };
            let id = returned_id(value.to_str().ok()).await;
            assert_eq!(id.len(), 36, "{invalid:?}: {id}");
        }
        assert_ne!(returned_id(None).await, returned_id(None).await);
    }
}
