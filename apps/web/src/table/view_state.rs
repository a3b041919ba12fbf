//! State of a table view in the URL: sort order, filters, columns and widths.
//!
//! Filters use the syntax of the REST API, so that a URL can be shared, bookmarked and passed to an
//! export. The functions are pure.

use pmo_domain::EntityType;
use pmo_domain::query::{Filter, ListQuery, Operator};
use pmo_sync::percent_encode;

/// Minimum and maximum width of a column, in pixels.
pub(crate) const COLUMN_WIDTH_RANGE: std::ops::RangeInclusive<u32> = 48..=640;

/// View of a table. Parts that are not set use the defaults of the type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableView {
    /// Sort column, and whether the order is descending.
    pub sort: Option<(String, bool)>,
    /// Conditions that a row must all satisfy.
    pub filters: Vec<Filter>,
    /// Names of the visible columns, in order; empty for the defaults of the type.
    pub columns: Vec<String>,
    /// Changed column widths, in pixels.
    pub widths: Vec<(String, u32)>,
}

impl TableView {
    /// Parses the query parameters of a URL.
    ///
    /// Parameters that do not fit the type are ignored, because a URL can be older than the type.
    pub(crate) fn from_query(parameters: impl IntoIterator<Item = (String, String)>, entity: &EntityType) -> Self {
        let mut view = Self::default();
        for (name, text) in parameters {
            let known = |column: &&str| entity.column(column).is_some();
            match name.as_str() {
                "columns" => view.columns = text.split(',').filter(known).map(str::to_owned).collect(),
                "widths" => {
                    let width = |part: &str| {
                        let (column, width) = part.split_once(':')?;
                        let width = width.parse().ok().filter(|w| COLUMN_WIDTH_RANGE.contains(w))?;
                        entity.column(column).map(|c| (c.name.clone(), width))
                    };
                    view.widths = text.split(',').filter_map(width).collect();
                }
                "sort" => {
                    let first = text.split(',').next().unwrap_or_default();
                    let (column, descending) = first.strip_prefix('-').map_or((first, false), |column| (column, true));
                    view.sort = entity.column(column).map(|c| (c.name.clone(), descending));
                }
                _ => {
                    let (column, operator) = match name.split_once('[') {
                        None => (name.as_str(), Some(Operator::Eq)),
                        Some((column, rest)) => (column, rest.strip_suffix(']').and_then(Operator::from_param)),
                    };
                    let (Some(column), Some(operator)) = (entity.column(column), operator) else { continue };
                    let values = match operator {
                        Operator::In => {
                            text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()
                        }
                        _ => vec![text],
                    };
                    view.filters.push(Filter { column: column.name.clone(), operator, values });
                }
            }
        }
        view
    }

    /// Formats the view as a query string that begins with `?`; empty for the default view.
    pub(crate) fn to_query(&self) -> String {
        let mut parts: Vec<(String, String)> = Vec::new();
        if let Some((column, descending)) = &self.sort {
            parts.push(("sort".into(), format!("{}{column}", if *descending { "-" } else { "" })));
        }
        parts.extend(self.filters.iter().map(Filter::to_query_pair));
        if !self.columns.is_empty() {
            parts.push(("columns".into(), self.columns.join(",")));
        }
        if !self.widths.is_empty() {
            let widths: Vec<_> = self.widths.iter().map(|(column, width)| format!("{column}:{width}")).collect();
            parts.push(("widths".into(), widths.join(",")));
        }
        let parts: Vec<_> =
            parts.iter().map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value))).collect();
        if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
    }

    /// Removes the filters that the server would reject, such as a filter by an invalid date.
    pub(crate) fn without_invalid_filters(mut self, entity: &EntityType) -> Self {
        self.filters.retain(|filter| ListQuery::parse(&[filter.to_query_pair()], entity).is_ok());
        self
    }

    /// Sorts by a column; repeated calls cycle ascending, descending and default order.
    pub(crate) fn toggle_sort(mut self, column: &str) -> Self {
        self.sort = match self.sort {
            Some((current, false)) if current == column => Some((current, true)),
            Some((current, true)) if current == column => None,
            _ => Some((column.to_owned(), false)),
        };
        self
    }

    /// Sets the width of a column, limited to [`COLUMN_WIDTH_RANGE`].
    pub(crate) fn with_column_width(mut self, column: &str, width: u32) -> Self {
        self.widths.retain(|(name, _)| name != column);
        self.widths.push((column.to_owned(), width.clamp(*COLUMN_WIDTH_RANGE.start(), *COLUMN_WIDTH_RANGE.end())));
        self
    }

    /// Returns the width of a column, if one was set.
    pub(crate) fn width(&self, column: &str) -> Option<u32> {
        self.widths.iter().find(|(name, _)| name == column).map(|(_, width)| *width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_domain::EntityCode;
    use wasm_bindgen_test::wasm_bindgen_test;

    fn task() -> EntityType {
        let columns = [("id", "uuid"), ("name", "text"), ("due_date", "date"), ("dl__task_stage", "text")];
        EntityType::from_columns(EntityCode::new("task").unwrap(), &columns, &["task"])
    }

    fn from_query(url: &str) -> TableView {
        let decode = |text: &str| js_sys::decode_uri_component(text).unwrap().as_string().unwrap();
        let pairs = url.trim_start_matches('?').split('&').filter_map(|part| part.split_once('='));
        TableView::from_query(pairs.map(|(name, value)| (decode(name), decode(value))), &task())
    }

    #[wasm_bindgen_test]
    fn url_round_trips_the_complete_view() {
        let url = "?sort=-due_date&dl__task_stage%5Bin%5D=Blocked,To%20Do&name%5Bcontains%5D=a%26b&columns=name,due_date&widths=name%3A300";
        let view = from_query(url);
        assert_eq!(view.to_query(), url);
        assert_eq!(view.sort, Some(("due_date".into(), true)));
        assert_eq!(view.filters[0].values, ["Blocked", "To Do"]);
        assert_eq!(view.width("name"), Some(300));
        assert_eq!(TableView::default().to_query(), "");
    }

    #[wasm_bindgen_test]
    fn unknown_columns_and_invalid_values_are_ignored() {
        let view = from_query(
            "?sort=-nothing&nope=1&columns=name,gone&widths=name:1,due_date:90,x:100&due_date%5Blt%5D=soon&limit=0",
        )
        .without_invalid_filters(&task());
        let expected =
            TableView { columns: vec!["name".into()], widths: vec![("due_date".into(), 90)], ..TableView::default() };
        assert_eq!(view, expected);
    }

    #[wasm_bindgen_test]
    fn toggle_sort_cycles_ascending_descending_default() {
        let once = TableView::default().toggle_sort("name");
        assert_eq!(once.sort, Some(("name".into(), false)));
        assert_eq!(once.clone().toggle_sort("name").sort, Some(("name".into(), true)));
        assert_eq!(once.clone().toggle_sort("name").toggle_sort("name").sort, None);
        assert_eq!(once.toggle_sort("due_date").sort, Some(("due_date".into(), false)));
        assert_eq!(
            TableView::default().with_column_width("name", 9).with_column_width("name", 9000).widths,
            [("name".into(), 640)]
        );
    }
}
