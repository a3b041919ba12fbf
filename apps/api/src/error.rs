//! Every failure that leaves the api, as an RFC 9457 problem. A variant's doc says its HTTP status; nothing of the inside is told.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pmo_database::DatabaseError;
use pmo_domain::Row;
use pmo_domain::api_types::{FieldError, Problem};

/// What can go wrong with a request.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400: the address or a header can't be read.
    #[error("bad request")]
    BadRequest(Vec<FieldError>),
    /// 401: nobody is signed in, or the token is over.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// 403: may see it, may not do that.
    #[error("{0}")]
    Forbidden(String),
    /// 404: not there, or not for this reader.
    #[error("not found")]
    NotFound,
    /// 409: another row has that value.
    #[error("conflict")]
    Conflict(FieldError),
    /// 412: somebody else changed it first; carries the present row.
    #[error("changed meanwhile")]
    PreconditionFailed(Box<Row>),
    /// 409: what it was to be changed from is not how it is any more.
    #[error("{0}")]
    ConcurrentUpdate(String),
    /// 409: an upload stands at so many bytes, and the request goes on from elsewhere.
    #[error("the upload stands at {0} bytes")]
    UploadOffsetMismatch(u64),
    /// 423: another request is at it.
    #[error("locked")]
    Locked,
    /// 507: no room is left.
    #[error("no room")]
    InsufficientStorage,
    /// 413: too large.
    #[error("{0}")]
    PayloadTooLarge(String),
    /// 415: a kind of body that is not taken here.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// 422: understood, but some fields are wrong.
    #[error("unprocessable")]
    UnprocessableEntity(Vec<FieldError>),
    /// 429: too many attempts.
    #[error("too many")]
    TooManyRequests {
        /// Seconds to wait.
        retry_after: u64,
    },
    /// 503: the database does not answer, or the row is contended.
    #[error("unavailable")]
    Unavailable,
    /// 500: a bug; the cause is in the log.
    #[error("internal")]
    Internal,
}

/// Result of a handler.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ApiError {
    /// 422 about one field.
    pub fn unprocessable(field: &str, message: impl Into<String>) -> Self {
        Self::UnprocessableEntity(vec![FieldError { field: field.to_owned(), message: message.into() }])
    }

    /// 400 about one parameter.
    pub fn bad_request(field: &str, message: impl Into<String>) -> Self {
        Self::BadRequest(vec![FieldError { field: field.to_owned(), message: message.into() }])
    }

    /// The same about a part of the request: fields are named below `place`.
    pub fn with_field_prefix(self, place: &str) -> Self {
        let below = |errors: Vec<FieldError>| {
            errors
                .into_iter()
                .map(|e| FieldError { field: format!("{place}.{}", e.field), message: e.message })
                .collect()
        };
        match self {
            Self::BadRequest(errors) | Self::UnprocessableEntity(errors) => Self::UnprocessableEntity(below(errors)),
            Self::Conflict(error) => {
                Self::Conflict(FieldError { field: format!("{place}.{}", error.field), message: error.message })
            }
            Self::Forbidden(what) => Self::Forbidden(format!("{place}: {what}")),
            other => other,
        }
    }

    /// The problem that the client reads.
    pub fn problem(&self) -> Problem {
        let (status, kind, title, detail): (u16, &str, &str, Option<String>) = match self {
            Self::BadRequest(_) => (400, "bad-request", "The request can't be read", None),
            Self::Unauthorized(why) => (401, "unauthorized", "Sign in first", Some((*why).to_owned())),
            Self::Forbidden(what) => (403, "forbidden", "You may not do that", Some(what.clone())),
            Self::NotFound => (404, "not-found", "There is no such thing", Some("It does not exist, or you may not see it.".into())),
            Self::Conflict(_) => (409, "conflict", "That is taken", Some("Another thing has this value; choose a different one.".into())),
            Self::PreconditionFailed(_) => (412, "changed", "It was changed meanwhile", Some("Somebody else changed it first. 'current' is how it is now: merge, and send again with its version.".into())),
            Self::ConcurrentUpdate(what) => (409, "meanwhile", "It was changed meanwhile", Some(what.clone())),
            Self::UploadOffsetMismatch(at) => (409, "offset", "The upload stands elsewhere", Some(format!("{at} bytes are here: go on from there."))),
            Self::Locked => (423, "locked", "Another request is at it", Some("The same upload is being sent already, or its last part has only just been cut. Try again in a moment.".into())),
            Self::InsufficientStorage => (507, "no-room", "There is no room left", Some("The server's disk is full. What has come is kept; tell whoever runs it.".into())),
            Self::PayloadTooLarge(what) => (413, "too-large", "That is too large", Some(what.clone())),
            Self::UnsupportedMediaType(what) => (415, "unsupported-media-type", "That kind of content is not taken here", Some(what.clone())),
            Self::UnprocessableEntity(_) => (422, "invalid", "Some fields are wrong", None),
            Self::TooManyRequests { retry_after } => (429, "too-many", "Too many attempts", Some(format!("Wait {retry_after} seconds, then try again."))),
            Self::Unavailable => (503, "unavailable", "The service is not ready", Some("The database does not answer just now. Nothing was changed; try again in a moment.".into())),
            Self::Internal => (500, "internal", "Something went wrong here", Some("Nothing was changed. The fault is on our side and has been logged.".into())),
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
        if let Self::UploadOffsetMismatch(at) = self {
            headers.insert("upload-offset", HeaderValue::from(at));
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

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::UniqueViolation { column } => {
                let field = if column == "pkey" { "id".to_owned() } else { column };
                Self::Conflict(FieldError { field, message: "is taken".to_owned() })
            }
            DatabaseError::ConstraintViolation { column, message } => Self::unprocessable(&column, message),
            DatabaseError::InvalidCursor => Self::bad_request("cursor", "is not a cursor of this list"),
            DatabaseError::LockContention => Self::Unavailable,
            DatabaseError::Unavailable(source) => {
                tracing::warn!(error = %source, "the database does not answer");
                Self::Unavailable
            }
            DatabaseError::Setup(message) => {
                tracing::error!(message, "the database is not usable");
                Self::Unavailable
            }
            DatabaseError::Unexpected(source) => {
                tracing::error!(error = %source, "unexpected database error");
                Self::Internal
            }
        }
    }
}
