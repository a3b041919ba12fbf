//! List responses of the server.

use crate::raw_row::{RawRow, RowHeader, ScanItem, scan_response};
use pmo_domain::EntityCode;
use pmo_domain::api_types::ReferenceNames;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Parsed list response; its rows remain JSON text.
pub(crate) struct ListPage {
    /// Entity type, if the response contains it.
    pub(crate) code: Option<EntityCode>,
    /// Rows of the page.
    pub(crate) rows: Vec<(RowHeader, RawRow)>,
    /// Names of the entities to which the rows refer.
    pub(crate) references: ReferenceNames,
    /// Cursor of the next page; `None` after the last page.
    pub(crate) next_cursor: Option<String>,
}

/// Parses `json` into `target`; sets `valid` to false if that fails.
fn parse_into<T: DeserializeOwned>(json: &str, target: &mut T, valid: &mut bool) {
    match serde_json::from_str(json) {
        Ok(value) => *target = value,
        Err(_) => *valid = false,
    }
}

impl ListPage {
    /// Parses a list response; returns `None` if `body` is not a list or is truncated.
    pub(crate) fn parse(body: String) -> Option<Self> {
        // All rows are slices of one shared text.
        let text = Arc::new(body);
        let mut page = Self { code: None, rows: Vec::new(), references: ReferenceNames::new(), next_cursor: None };
        let mut valid = true;
        scan_response(&text, "data", |item| match item {
            ScanItem::Field("entity_code", value) => parse_into(value, &mut page.code, &mut valid),
            ScanItem::Field("ref_data_entityInstance", value) => parse_into(value, &mut page.references, &mut valid),
            ScanItem::Field("next_cursor", value) => parse_into(value, &mut page.next_cursor, &mut valid),
            ScanItem::Field(..) => {}
            ScanItem::Row(from, to, header) => {
                page.rows.extend(RawRow::slice(&text, from, to).map(|raw| (header, raw)))
            }
        })?;
        if !valid {
            return None;
        }
        Some(page)
    }
}
