//! Downloads by signed URL: the URL, its verification, and the response with ranges.
//!
//! Must not: serve content for inline display if a browser could execute it.

use super::artifact::{connection, visible_artifact};
use super::media_type;
use crate::auth::AuthUser;
use crate::entity::parse_id;
use crate::error::{ApiError, Result};
use crate::openapi::{InvalidParameter, Unauthorized};
use crate::state::AppState;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use pmo_domain::api_types::Problem;
use pmo_domain::{PersonId, Row};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;
use std::borrow::Cow;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, schema::Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

/// Lifetime of a signed URL, in seconds.
const SIGNED_URL_TTL_SECONDS: i64 = 300;

/// Response marker that disables compression.
#[derive(Clone, Copy)]
struct NoCompression;

/// Returns whether a response may be compressed.
///
/// Files are sent unchanged, because ranges refer to their bytes.
pub fn is_compressible(_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions) -> bool {
    extensions.get::<NoCompression>().is_none()
}

/// Payload of a signed URL: an artifact, the person who may download it, and the expiry.
struct SignedUrl {
    artifact: Uuid,
    person: PersonId,
    expires_at: i64,
}

impl SignedUrl {
    fn mac(&self, secret: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
        mac.update(b"file address:");
        mac.update(&self.bytes());
        Some(mac)
    }

    fn bytes(&self) -> Vec<u8> {
        [&self.artifact.as_bytes()[..], &self.person.0.as_bytes()[..], &self.expires_at.to_be_bytes()[..]].concat()
    }

    fn sign(&self, secret: &str) -> Option<String> {
        let signature = self.mac(secret)?.finalize().into_bytes();
        Some(URL_SAFE_NO_PAD.encode([&self.bytes()[..], &signature[..]].concat()))
    }

    fn verify(token: &str, secret: &str, now: i64) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (payload, signature) = bytes.split_at_checked(40)?;
        let signed_url = Self {
            artifact: Uuid::from_slice(&payload[..16]).ok()?,
            person: PersonId(Uuid::from_slice(&payload[16..32]).ok()?),
            expires_at: i64::from_be_bytes(payload[32..].try_into().ok()?),
        };
        signed_url.mac(secret)?.verify_slice(signature).ok()?;
        (signed_url.expires_at > now).then_some(signed_url)
    }
}

/// A signed download URL.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "path": "/api/v1/file/AAECAwQ", "shown": true, "media_type": "application/pdf", "size_bytes": 48213, "expires_seconds": 300
})))]
pub(super) struct DownloadUrl {
    /// Lifetime of the URL, in seconds.
    expires_seconds: i64,
    /// Media type of the file.
    media_type: String,
    /// Path of the URL on this host.
    path: String,
    /// Whether browsers may display the file inline.
    shown: bool,
    /// Size in bytes.
    #[schema(required)]
    size_bytes: Option<i64>,
}

/// Schema of the content of a file.
pub(super) struct FileBytes;

impl PartialSchema for FileBytes {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .content_encoding("binary")
            .description(Some("The bytes of the file."))
            .examples(["%PDF-1.7"])
            .into()
    }
}

impl ToSchema for FileBytes {
    fn name() -> Cow<'static, str> {
        "FileBytes".into()
    }
}

/// Returns a signed download URL for the file of an artifact, valid for some minutes.
#[utoipa::path(get, path = "/artifact/{id}/download-url", tag = "files", params(("id" = Uuid, Path, description = "Artifact id")), responses(Unauthorized,
    (status = 200, description = "The signed URL", body = DownloadUrl), (status = 404, description = "Not found, not visible to the caller, or without a file")))]
pub(super) async fn get_download_url(
    State(app): State<AppState>,
    user: AuthUser,
    Path(id): Path<String>,
) -> Result<Json<DownloadUrl>> {
    let id = parse_id(&id)?;
    let model = app.model_for_type("artifact").await?;
    let (_, row) = visible_artifact(&mut *connection(&app).await?, &model, user.person, id).await?;
    row.get("storage_key").and_then(Value::as_str).ok_or(ApiError::NotFound)?;
    let expires_at = jiff::Timestamp::now().as_second() + SIGNED_URL_TTL_SECONDS;
    let token =
        SignedUrl { artifact: id, person: user.person, expires_at }.sign(&app.secret).ok_or(ApiError::Internal)?;
    let media_type = row.get("media_type").and_then(Value::as_str).unwrap_or(media_type::OCTET_STREAM);
    Ok(Json(DownloadUrl {
        expires_seconds: SIGNED_URL_TTL_SECONDS,
        media_type: media_type.to_owned(),
        path: format!("/api/v1/file/{token}"),
        shown: media_type::inline_media_type(media_type).is_some(),
        size_bytes: row.get("size_bytes").and_then(Value::as_i64),
    }))
}

/// Deprecated path of `/artifact/{id}/download-url`.
#[utoipa::path(get, path = "/artifact/{id}/address", tag = "files", params(("id" = Uuid, Path, description = "Artifact id")), responses(Unauthorized,
    (status = 200, description = "The signed URL", body = DownloadUrl), (status = 404, description = "Not found, not visible to the caller, or without a file")))]
#[deprecated]
pub(super) async fn get_download_url_at_old_path(
    state: State<AppState>,
    user: AuthUser,
    id: Path<String>,
) -> Result<Json<DownloadUrl>> {
    get_download_url(state, user, id).await
}

#[derive(Deserialize)]
pub(super) struct DownloadQuery {
    #[serde(default)]
    show: bool,
}

/// Downloads a file by its signed URL, whole or a range.
#[utoipa::path(get, path = "/file/{token}", tag = "files", security(()), params(
    ("token" = String, Path, description = "Signed token at the end of `path`"), ("show" = Option<bool>, Query, description = "Display inline, if the file is an image or a PDF"),
    ("Range" = Option<String>, Header, description = "bytes=from-to")), responses(InvalidParameter,
    (status = 200, description = "The file", body = FileBytes, content_type = "application/octet-stream"), (status = 206, description = "A range of the file", body = FileBytes, content_type = "application/octet-stream"),
    (status = 304, description = "Not modified"), (status = 404, description = "Invalid or expired URL"), (status = 416, description = "Range not satisfiable")))]
pub(super) async fn download(
    State(app): State<AppState>,
    Path(token): Path<String>,
    Query(query): Query<DownloadQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    let row = artifact_of_token(&app, &token).await?;
    let text_of = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
    let key = text_of("storage_key");
    let size = row.get("size_bytes").and_then(Value::as_u64).ok_or(ApiError::NotFound)?;
    let inline_type = media_type::inline_media_type(text_of("media_type")).filter(|_| query.show);
    let etag = format!("\"{key}\"");
    let mut response_headers = file_headers(text_of("name"), &etag, inline_type);
    let request_header = |name: HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    if request_header(header::IF_NONE_MATCH).is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == etag)) {
        return Ok((StatusCode::NOT_MODIFIED, response_headers).into_response());
    }
    // Ranges of different contents must not be combined.
    let is_current = request_header(header::IF_RANGE).is_none_or(|tag| tag == etag);
    let (status, start, length) = match requested_range(request_header(header::RANGE).filter(|_| is_current), size) {
        RequestedRange::WholeFile => (StatusCode::OK, 0, size),
        RequestedRange::Part { start, length } => (StatusCode::PARTIAL_CONTENT, start, length),
        RequestedRange::NotSatisfiable => return Ok(range_not_satisfiable(size)),
    };
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {start}-{}/{size}", start + length - 1);
        response_headers.insert(header::CONTENT_RANGE, HeaderValue::from_str(&range).map_err(|_| ApiError::Internal)?);
    }
    response_headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let bytes = app.files.read(key, start, length).await?;
    let mut response = (status, response_headers, Body::from_stream(bytes)).into_response();
    response.extensions_mut().insert(NoCompression);
    Ok(response)
}

/// Returns the artifact of a signed URL, if its person may still see it.
async fn artifact_of_token(app: &AppState, token: &str) -> Result<Row> {
    let now = jiff::Timestamp::now().as_second();
    let signed_url = SignedUrl::verify(token, &app.secret, now).ok_or(ApiError::NotFound)?;
    let model = app.model_for_type("artifact").await?;
    let mut connection = connection(app).await?;
    let (_, row) = visible_artifact(&mut connection, &model, signed_url.person, signed_url.artifact).await?;
    Ok(row)
}

/// Returns the headers of a file; `inline_type` is its media type if it is displayed inline.
fn file_headers(name: &str, etag: &str, inline_type: Option<&str>) -> HeaderMap {
    // Browsers show PDF files in a viewer page of their own, which a sandbox would block.
    let sandbox = if inline_type == Some("application/pdf") { "" } else { "; sandbox" };
    let policy = format!("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'{sandbox}");
    let disposition = media_type::disposition(inline_type.is_some(), name);
    let headers = [
        (header::ETAG, etag),
        (header::ACCEPT_RANGES, "bytes"),
        (header::CONTENT_TYPE, inline_type.unwrap_or(media_type::OCTET_STREAM)),
        (header::CONTENT_DISPOSITION, &disposition),
        (header::CONTENT_SECURITY_POLICY, &policy),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    headers.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::from_str(value).ok()?))).collect()
}

/// Part of a file that a request asks for.
enum RequestedRange {
    WholeFile,
    Part { start: u64, length: u64 },
    NotSatisfiable,
}

/// Interprets a `Range` header; an unreadable one selects the whole file.
fn requested_range(header: Option<&str>, size: u64) -> RequestedRange {
    let range = header.filter(|_| size > 0).and_then(|text| http_range_header::parse_range_header(text).ok());
    match range.map(|range| range.validate(size)) {
        None => RequestedRange::WholeFile,
        Some(Ok(ranges)) => match &ranges[..] {
            [single] => RequestedRange::Part { start: *single.start(), length: single.end() - single.start() + 1 },
            // Multiple ranges would require a multipart response, which no client needs.
            _ => RequestedRange::WholeFile,
        },
        Some(Err(_)) => RequestedRange::NotSatisfiable,
    }
}

fn range_not_satisfiable(size: u64) -> Response {
    let problem = Problem {
        kind: "/problems/range".to_owned(),
        title: "Range not satisfiable".to_owned(),
        status: 416,
        detail: Some(format!("The file has {size} bytes.")),
        errors: Vec::new(),
        current: None,
    };
    let headers = [
        (header::CONTENT_TYPE, "application/problem+json".to_owned()),
        (header::CONTENT_RANGE, format!("bytes */{size}")),
    ];
    (StatusCode::RANGE_NOT_SATISFIABLE, headers, Json(problem)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_url_is_bound_to_file_and_person_and_expires() {
        let secret = "s".repeat(40);
        let signed_url =
            || SignedUrl { artifact: Uuid::from_u128(1), person: PersonId(Uuid::from_u128(2)), expires_at: 1000 };
        let token = signed_url().sign(&secret).unwrap();
        let verified = SignedUrl::verify(&token, &secret, 999).unwrap();
        assert_eq!((verified.artifact, verified.person.0), (Uuid::from_u128(1), Uuid::from_u128(2)));
        assert!(SignedUrl::verify(&token, &secret, 1000).is_none());
        assert!(SignedUrl::verify(&token, &"t".repeat(40), 0).is_none());
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for index in 0..bytes.len() {
            bytes[index] ^= 1;
            assert!(SignedUrl::verify(&URL_SAFE_NO_PAD.encode(&bytes), &secret, 0).is_none(), "byte {index}");
            bytes[index] ^= 1;
        }
        for invalid in ["", "x", &token[..20], &format!("{token}AA")] {
            assert!(SignedUrl::verify(invalid, &secret, 0).is_none());
        }
    }
}
