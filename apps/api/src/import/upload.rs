//! Reads the file of an import request, within the size limit of the settings.

use crate::error::{ApiError, Result};
use crate::state::AppState;
use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{StatusCode, header};

/// Reads the file of a request: its body, or the multipart field `file`.
///
/// Fails with 413 if the file exceeds `import_limit_mb`, with 415 for an unsupported media type,
/// with 422 if the field is missing, and with 400 for a malformed form.
pub(super) async fn read_upload(app: &AppState, request: Request) -> Result<Vec<u8>> {
    let limit = app.settings.import_limit_mb * 1024 * 1024;
    let media_type =
        request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_lowercase();
    let too_large =
        || ApiError::PayloadTooLarge(format!("The file is larger than {} MB.", app.settings.import_limit_mb));
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit + 4096) {
        return Err(too_large());
    }
    if media_type.starts_with("multipart/form-data") {
        let (parts, body) = request.into_parts();
        let limited = Request::from_parts(parts, Body::new(limit_body(body, limit + 4096)));
        let mut form =
            Multipart::from_request(limited, app).await.map_err(|e| ApiError::bad_request("body", e.body_text()))?;
        let form_error = |e: axum::extract::multipart::MultipartError| match e.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            _ => ApiError::bad_request("file", e.body_text()),
        };
        while let Some(mut field) = form.next_field().await.map_err(form_error)? {
            if field.name() != Some("file") {
                continue;
            }
            let mut bytes = Vec::new();
            while let Some(chunk) = field.chunk().await.map_err(form_error)? {
                if bytes.len() + chunk.len() > limit {
                    return Err(too_large());
                }
                bytes.extend_from_slice(&chunk);
            }
            return Ok(bytes);
        }
        return Err(ApiError::unprocessable("file", "is required: the plan as a multipart field with this name"));
    }
    if !["application/xml", "text/xml", "text/csv", "application/octet-stream"]
        .iter()
        .any(|supported| media_type.starts_with(supported))
    {
        return Err(ApiError::UnsupportedMediaType(
            "Send Microsoft Project XML, with Content-Type: application/xml, or CSV, with text/csv.".into(),
        ));
    }
    crate::extract::read(request.into_body(), limit).await.map(|b| b.to_vec()).map_err(|error| match error {
        ApiError::PayloadTooLarge(_) => too_large(),
        other => other,
    })
}

fn limit_body(body: Body, limit: usize) -> http_body_util::Limited<Body> {
    http_body_util::Limited::new(body, limit)
}
