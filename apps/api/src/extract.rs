//! JSON body extractors with size limits; failures are reported as problem details.

use crate::error::ApiError;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header;
use serde_json::Value;

/// Maximum size of a JSON body, in bytes.
pub(crate) const MAX_JSON_BYTES: usize = 1024 * 1024;

/// Maximum size of the JSON body of a batch, in bytes.
pub(crate) const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// JSON body of at most [`MAX_JSON_BYTES`].
pub(crate) struct JsonBody(pub Value);

/// JSON body of at most [`MAX_BATCH_BYTES`].
pub(crate) struct LargeJsonBody(pub Value);

async fn json(request: Request, limit: usize) -> Result<Value, ApiError> {
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !(media_type.starts_with("application/json") || media_type.starts_with("application/merge-patch+json")) {
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

/// Reads the whole body.
///
/// Fails with 413 if it exceeds `limit` bytes, and with 400 if the connection ends before its end.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    axum::body::to_bytes(body, limit).await.map_err(|error| {
        let message = error.to_string();
        let too_long = std::error::Error::source(&error).is_some_and(|s| s.to_string().contains("limit"))
            || message.contains("limit");
        if too_long {
            let limit = if limit >= 1024 * 1024 {
                format!("{} MB", limit / 1024 / 1024)
            } else {
                format!("{} kB", limit / 1024)
            };
            ApiError::PayloadTooLarge(format!("The body is larger than {limit}."))
        } else {
            ApiError::bad_request("body", "is truncated")
        }
    })
}
