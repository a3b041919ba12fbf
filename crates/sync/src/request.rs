//! HTTP requests of the engine and their responses, as plain data.

use pmo_domain::api_types::Problem;
use serde_json::Value;

/// Identifies one HTTP request of the engine; ids increase in the order of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// HTTP method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads a resource.
    Get,
    /// Creates an entity or a link.
    Post,
    /// Changes columns of an entity.
    Patch,
    /// Deletes an entity or a link.
    Delete,
}

/// HTTP request to send, relative to `/api/v1`.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// HTTP method.
    pub method: Method,
    /// Path and query string.
    pub path: String,
    /// JSON body.
    pub body: Option<Value>,
    /// Version for the `If-Match` header: the version that the write is based on.
    pub if_match: Option<i64>,
    /// Value of the `Idempotency-Key` header; a repeated write gets the stored response.
    pub idempotency_key: Option<String>,
    /// `ETag` of the cached data for `If-None-Match`; the server answers 304 if it is unchanged.
    pub if_none_match: Option<String>,
}

impl Request {
    /// Returns a GET request without further headers.
    pub(crate) fn get(path: String) -> Self {
        Self { method: Method::Get, path, body: None, if_match: None, idempotency_key: None, if_none_match: None }
    }
}

/// Reason why a request has no usable response.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestError {
    /// No response, or one without JSON (a captive portal answers HTML with status 200).
    Network,
    /// The server rejected the request.
    Rejected(Box<Problem>),
}

/// Successful response to a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// Status 304: the data cached under the `ETag` of the request is unchanged.
    pub not_modified: bool,
    /// JSON text of the body; empty with 204 and 304.
    pub body: String,
    /// Value of the `ETag` header.
    pub etag: Option<String>,
    /// Value of the `Feed-Cursor` header: the position in the feed that the response reflects.
    pub feed_cursor: Option<String>,
}
