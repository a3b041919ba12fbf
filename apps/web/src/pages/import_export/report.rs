//! Report of a CSV import, as the server returns it.

use serde::Deserialize;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Report {
    #[serde(default)]
    pub(super) columns: Vec<MappedColumn>,
    #[serde(default)]
    pub(super) rows: usize,
    #[serde(default)]
    pub(super) created: usize,
    #[serde(default)]
    pub(super) changed: usize,
    #[serde(default)]
    pub(super) unchanged: usize,
    #[serde(default)]
    pub(super) refused: usize,
    #[serde(default)]
    pub(super) lines: Vec<LineReport>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct MappedColumn {
    pub(super) name: String,
    pub(super) column: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct LineReport {
    pub(super) line: u64,
    pub(super) outcome: String,
    pub(super) code: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) errors: Vec<FieldError>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct FieldError {
    pub(super) field: String,
    pub(super) message: String,
}
