//! Request and response types of the REST API.
//!
//! Must not: contain a type that only the server or only the client uses.

use crate::{Row, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Maximum number of rows on one page of a list.
pub const MAX_PAGE_SIZE: usize = 1000;
/// Number of rows on a page if the request has no `limit`.
pub const DEFAULT_PAGE_SIZE: usize = 20;
/// Maximum number of ids in one `?ids=` parameter.
pub const MAX_IDS_PER_REQUEST: usize = 200;

/// Names of referenced entities by type and id, limited to entities that the caller may view.
pub type ReferenceNames = BTreeMap<String, BTreeMap<Uuid, String>>;

/// Deserializes `value`; returns `None` if it does not have the shape of `T`.
///
/// Serializes the value and parses the text again, so that the browser app contains only one
/// generated deserializer per type.
pub fn from_value<T: serde::de::DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_str(&value.to_string()).ok()
}

/// Response of a list request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListResponse {
    /// Rows of the page.
    pub data: Vec<Row>,
    /// Column names, in display order.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Column metadata, if the request asks for it.
    #[serde(default)]
    pub metadata: Value,
    /// Names of the entities that the rows reference.
    #[serde(default, rename = "ref_data_entityInstance")]
    pub references: ReferenceNames,
    /// Number of matching rows over all pages, up to the count limit.
    #[serde(default)]
    pub total: i64,
    /// Whether `total` is exact; `false` means that more rows match.
    #[serde(default)]
    pub total_is_exact: bool,
    /// Maximum number of rows on this page.
    #[serde(default)]
    pub limit: usize,
    /// Number of rows skipped before this page.
    #[serde(default)]
    pub offset: usize,
    /// Cursor for the next page; `None` on the last page.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// The signed-in user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(examples(json!({"id": "905d9d14-4c28-8ff5-8cec-fca396e76ea4", "personId": "7894b35e-65a1-01ab-d33d-6d81e129cdf9", "name": "Ada Admin", "email": "admin@pmo.example", "entityCode": "employee"}))))]
pub struct User {
    /// Id of the user's employee or customer entity, or of the person if neither exists.
    pub id: Uuid,
    /// Id of the person.
    #[serde(rename = "personId")]
    pub person_id: Uuid,
    /// Full name.
    pub name: String,
    /// Email address.
    pub email: String,
    /// Type code of the entity that `id` identifies.
    #[serde(rename = "entityCode")]
    pub entity_code: String,
}

/// Response to sign-in and token refresh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(examples(json!({"token": "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3ODk0In0.c2lnbmF0dXJl", "expires_in": 900, "user": {"id": "905d9d14-4c28-8ff5-8cec-fca396e76ea4", "personId": "7894b35e-65a1-01ab-d33d-6d81e129cdf9", "name": "Ada Admin", "email": "admin@pmo.example", "entityCode": "employee"}}))))]
pub struct AuthResponse {
    /// The access token.
    pub token: String,
    /// Lifetime of the token, in seconds.
    pub expires_in: i64,
    /// The signed-in user.
    pub user: User,
}

/// An error response (RFC 9457 problem details).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(examples(json!({"type": "/problems/invalid", "title": "Validation failed", "status": 422, "errors": [{"field": "due_date", "message": "must be a day such as 2026-01-31"}]}))))]
pub struct Problem {
    /// Stable identifier of the problem type, as a relative URI reference.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "openapi", schema(examples("/problems/invalid")))]
    pub kind: String,
    /// Summary of the problem type for people.
    pub title: String,
    /// HTTP status code.
    pub status: u16,
    /// Explanation of this occurrence and the next step for the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Invalid fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Current row, with status 412.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub current: Option<Row>,
}

/// An invalid field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// Name of the column or parameter.
    #[cfg_attr(feature = "openapi", schema(examples("due_date")))]
    pub field: String,
    /// Error message for people.
    #[cfg_attr(feature = "openapi", schema(examples("must be a day such as 2026-01-31")))]
    pub message: String,
}

/// Returns the version of `row`, or 0 if the row has none.
pub fn row_version(row: &Row) -> Version {
    Version(row.get("version").and_then(Value::as_i64).unwrap_or_default())
}

/// Returns the id of `row`; `None` if it is missing or no UUID.
pub fn row_id(row: &Row) -> Option<Uuid> {
    row.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok())
}
