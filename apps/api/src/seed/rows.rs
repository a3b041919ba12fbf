//! Rows and tables of demo data.

use pmo_project_plan::Row;
use serde_json::Value;
use std::collections::BTreeMap;

/// Rows by table.
pub(crate) type Tables = BTreeMap<&'static str, Vec<Row>>;

/// Returns a row from its columns.
pub(crate) fn row<const N: usize>(columns: [(&str, Value); N]) -> Row {
    columns.into_iter().map(|(column, value)| (column.to_owned(), value)).collect()
}
