//! Errors of the api, rendered as RFC 9457 problem details.
//!
//! The doc comment of each variant begins with its HTTP status.
//!
//! Must not: expose internal causes to clients.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pmo_database::DatabaseError;
use pmo_domain::Row;
use pmo_domain::api_types::{FieldError, Problem};
use pmo_domain::query::QueryError;

/// Error of a request.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400: the URL or a header is malformed.
    #[error("bad request")]
    BadRequest(Vec<FieldError>),
    /// 401: no access token, or an expired or invalid one.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// 403: the caller may see the entity, but lacks the permission for this operation.
    #[error("{0}")]
    Forbidden(String),
    /// 404: not found, or not visible to the caller.
    #[error("not found")]
    NotFound,
    /// 409: another row has the same value in a unique column.
    #[error("conflict")]
    Conflict(FieldError),
    /// 412: the version does not match; carries the current row.
    #[error("precondition failed")]
    PreconditionFailed(Box<Row>),
    /// 409: the state that the request was based on has changed.
    #[error("{0}")]
    ConcurrentUpdate(String),
    /// 409: the offset of an upload part differs from the bytes stored; carries the stored length.
    #[error("the upload has {0} bytes")]
    UploadOffsetMismatch(u64),
    /// 423: another request holds the lock.
    #[error("locked")]
    Locked,
    /// 507: the storage is full.
    #[error("insufficient storage")]
    InsufficientStorage,
    /// 413: the body or a value is too large.
    #[error("{0}")]
    PayloadTooLarge(String),
    /// 415: the media type of the body is not supported.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// 422: well-formed, but some fields are invalid.
    #[error("unprocessable")]
    UnprocessableEntity(Vec<FieldError>),
    /// 429: the rate limit is exceeded.
    #[error("too many requests")]
    TooManyRequests {
        /// Seconds to wait before the next attempt.
        retry_after: u64,
    },
    /// 503: the database is unavailable, or the row is contended.
    #[error("unavailable")]
    Unavailable,
    /// 500: an unexpected failure; the cause is logged.
    #[error("internal")]
    Internal,
}

/// Result of a handler.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ApiError {
    /// Returns a 422 error about one field.
    pub fn unprocessable(field: &str, message: impl Into<String>) -> Self {
        Self::UnprocessableEntity(vec![FieldError { field: field.to_owned(), message: message.into() }])
    }

    /// Returns a 400 error about one parameter.
    pub fn bad_request(field: &str, message: impl Into<String>) -> Self {
        Self::BadRequest(vec![FieldError { field: field.to_owned(), message: message.into() }])
    }

    /// Prefixes the fields of the error with `prefix`, the part of the request that it concerns.
    ///
    /// A 400 error becomes 422: the request as a whole could be parsed.
    pub fn with_field_prefix(self, prefix: &str) -> Self {
        let with_prefix = |errors: Vec<FieldError>| {
            errors
                .into_iter()
                .map(|e| FieldError { field: format!("{prefix}.{}", e.field), message: e.message })
                .collect()
        };
        match self {
            Self::BadRequest(errors) | Self::UnprocessableEntity(errors) => {
                Self::UnprocessableEntity(with_prefix(errors))
            }
            Self::Conflict(error) => {
                Self::Conflict(FieldError { field: format!("{prefix}.{}", error.field), message: error.message })
            }
            Self::Forbidden(message) => Self::Forbidden(format!("{prefix}: {message}")),
            other => other,
        }
    }

    /// Converts the error into the problem document that the client receives.
    pub fn problem(&self) -> Problem {
        let (status, kind, title, detail): (u16, &str, &str, Option<String>) = match self {
            Self::BadRequest(_) => (400, "bad-request", "Bad request", None),
            Self::Unauthorized(message) => (401, "unauthorized", "Not signed in", Some((*message).to_owned())),
            Self::Forbidden(message) => (403, "forbidden", "Forbidden", Some(message.clone())),
            Self::NotFound => (404, "not-found", "Not found", Some("The entity does not exist, or is not visible to you.".into())),
            Self::Conflict(_) => (409, "conflict", "Unique constraint violated", Some("Another entity has this value; choose a different one.".into())),
            Self::PreconditionFailed(_) => (412, "changed", "Precondition failed", Some("The entity was changed by someone else. 'current' is the current row: merge, and retry with its version.".into())),
            Self::ConcurrentUpdate(message) => (409, "meanwhile", "Version conflict", Some(message.clone())),
            Self::UploadOffsetMismatch(offset) => (409, "offset", "Upload offset mismatch", Some(format!("{offset} bytes are stored; continue from there."))),
            Self::Locked => (423, "locked", "Locked", Some("Another request is sending this upload, or its last part was interrupted a moment ago. Try again shortly.".into())),
            Self::InsufficientStorage => (507, "no-room", "Insufficient storage", Some("Storage is full. Received bytes are kept.".into())),
            Self::PayloadTooLarge(message) => (413, "too-large", "Payload too large", Some(message.clone())),
            Self::UnsupportedMediaType(message) => (415, "unsupported-media-type", "Unsupported media type", Some(message.clone())),
            Self::UnprocessableEntity(_) => (422, "invalid", "Validation failed", None),
            Self::TooManyRequests { retry_after } => (429, "too-many", "Too many requests", Some(format!("Wait {retry_after} seconds, then try again."))),
            Self::Unavailable => (503, "unavailable", "Service unavailable", Some("The database is unavailable. Nothing was changed; try again in a moment.".into())),
            Self::Internal => (500, "internal", "Internal server error", Some("Nothing was changed. The error has been logged.".into())),
        };
        let errors = match self {
            Self::BadRequest(errors) | Self::UnprocessableEntity(errors) => errors.clone(),
            Self::Conflict(error) => vec![error.clone()],
            _ => Vec::new(),
        };
        let current = if let Self::PreconditionFailed(row) = self { Some((**row).clone()) } else { None };
        Problem { kind: format!("/problems/{kind}"), title: title.to_owned(), status, detail, errors, current }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let wait = match self {
            Self::TooManyRequests { retry_after } => Some(retry_after),
            Self::Unavailable | Self::Locked => Some(2),
            _ => None,
        };
        if let Self::UploadOffsetMismatch(offset) = self {
            headers.insert("upload-offset", HeaderValue::from(offset));
        }
        if let Some(wait) = wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Vec<QueryError>> for ApiError {
    fn from(errors: Vec<QueryError>) -> Self {
        Self::BadRequest(errors.into_iter().map(FieldError::from).collect())
    }
}

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::UniqueViolation { column } => {
                let field = if column == "pkey" { "id".to_owned() } else { column };
                Self::Conflict(FieldError { field, message: "is already in use".to_owned() })
            }
            DatabaseError::ConstraintViolation { column, message } => Self::unprocessable(&column, message),
            DatabaseError::InvalidCursor => Self::bad_request("cursor", "is not a valid cursor for this list"),
            DatabaseError::LockContention => Self::Unavailable,
            DatabaseError::Unavailable(source) => {
                tracing::warn!(error = %source, "database unavailable");
                Self::Unavailable
            }
            DatabaseError::Setup(message) => {
                tracing::error!(message, "database schema mismatch");
                Self::Unavailable
            }
            DatabaseError::Unexpected(source) => {
                tracing::error!(error = %source, "unexpected database error");
                Self::Internal
            }
        }
    }
}
