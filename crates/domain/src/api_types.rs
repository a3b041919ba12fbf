//! Shapes of the REST interface that both sides read. It must never hold a shape that one side alone knows.

use crate::{Row, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Most rows that a list answers at once.
pub const MAX_PAGE_SIZE: usize = 1000;
/// Rows that a list answers where nobody says.
pub const DEFAULT_PAGE_SIZE: usize = 20;
/// Most ids of one `?ids=`.
pub const MAX_IDS_PER_REQUEST: usize = 200;

/// Names of referenced things by type and id; only those that the reader may see.
pub type ReferenceNames = BTreeMap<String, BTreeMap<Uuid, String>>;

/// Reads a value; none where it is of another shape. It goes through the value's text: a reader for texts and another for values would be as much again
/// to download.
pub fn from_value<T: serde::de::DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_str(&value.to_string()).ok()
}

/// A list's answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListResponse {
    /// The rows.
    pub data: Vec<Row>,
    /// Column names, in order.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Column metadata, where asked for.
    #[serde(default)]
    pub metadata: Value,
    /// Names of what the rows refer to.
    #[serde(default, rename = "ref_data_entityInstance")]
    pub references: ReferenceNames,
    /// Rows that match, over all pages, as far as they were counted.
    #[serde(default)]
    pub total: i64,
    /// Whether `total` is all of them; false: there are more.
    #[serde(default)]
    pub total_is_exact: bool,
    /// Most rows of this answer.
    #[serde(default)]
    pub limit: usize,
    /// Rows that were passed over.
    #[serde(default)]
    pub offset: usize,
    /// Ask with this for the next page.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// The person who is signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The employee's or customer's id where there is one, else the person's.
    pub id: Uuid,
    /// The person's id.
    #[serde(rename = "personId")]
    pub person_id: Uuid,
    /// Full name.
    pub name: String,
    /// Address.
    pub email: String,
    /// What `id` is an id of.
    #[serde(rename = "entityCode")]
    pub entity_code: String,
}

/// Answer to sign-in and refresh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthResponse {
    /// The access token.
    pub token: String,
    /// Seconds that it lives.
    pub expires_in: i64,
    /// Who it is.
    pub user: User,
}

/// An RFC 9457 problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable name of the kind of problem, as a relative reference.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here and what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The fields that are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The present row, with 412.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Row>,
}

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// The column or parameter.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// The version that `row` carries.
pub fn row_version(row: &Row) -> Version {
    Version(row.get("version").and_then(Value::as_i64).unwrap_or_default())
}

/// The id that `row` carries.
pub fn row_id(row: &Row) -> Option<Uuid> {
    row.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok())
}
