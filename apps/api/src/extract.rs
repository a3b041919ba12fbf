//! Bodies of requests, read with limits and told in problem+json where they are wrong.

use crate::error::ApiError;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header;
use serde_json::Value;

/// Largest JSON body, in bytes.
pub const MAX_JSON_BYTES: usize = 1024 * 1024;

/// Largest JSON body of a batch, in bytes.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// A JSON body of at most [`JSON_LIMIT`].
pub struct JsonBody(pub Value);

/// A JSON body of at most [`BATCH_LIMIT`].
pub struct LargeJsonBody(pub Value);

async fn json(request: Request, limit: usize) -> Result<Value, ApiError> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !(kind.starts_with("application/json") || kind.starts_with("application/merge-patch+json")) {
        return Err(ApiError::UnsupportedMediaType("Send JSON, with Content-Type: application/json.".into()));
    }
    let bytes = read(request.into_body(), limit).await?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::bad_request("body", format!("is not JSON: {error}")))
}

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        json(request, MAX_JSON_BYTES).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for LargeJsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        json(request, MAX_BATCH_BYTES).await.map(Self)
    }
}

/// All of a body, if it is not longer than `limit` bytes.
pub async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    axum::body::to_bytes(body, limit).await.map_err(|error| {
        let text = error.to_string();
        let too_long = std::error::Error::source(&error).is_some_and(|s| s.to_string().contains("limit"))
            || text.contains("limit");
        if too_long {
            let limit = if limit >= 1024 * 1024 {
                format!("{} MB", limit / 1024 / 1024)
            } else {
                format!("{} kB", limit / 1024)
            };
            ApiError::PayloadTooLarge(format!("The body is larger than {limit}."))
        } else {
            ApiError::bad_request("body", "did not arrive whole")
        }
    })
}
