//! How a table is arranged: order, conditions, columns and their widths, as the page's address says it. The conditions are written as the interface
//! takes them, so that an address can be shared, kept as a bookmark, and given to an export. Pure.

use pmo_domain::EntityType;
use pmo_domain::query::{Filter, ListQuery, Operator};
use pmo_sync::percent_encode;

/// The narrowest and the widest column, in pixels.
pub const COLUMN_WIDTH_RANGE: std::ops::RangeInclusive<u32> = 48..=640;

/// An arrangement. What it leaves out is as the type has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableView {
    /// The column to sort by, and whether descending.
    pub sort: Option<(String, bool)>,
    /// Only rows that pass all of these.
    pub filters: Vec<Filter>,
    /// Columns by name, in order; empty: the type's.
    pub columns: Vec<String>,
    /// Widths of columns in pixels.
    pub widths: Vec<(String, u32)>,
}

impl TableView {
    /// Reads the parameters of an address. What it says that the type does not know is passed over: an address may be older than the type.
    pub fn from_query(parameters: impl IntoIterator<Item = (String, String)>, entity: &EntityType) -> Self {
        let mut read = Self::default();
        for (name, text) in parameters {
            let known = |column: &&str| entity.column(column).is_some();
            match name.as_str() {
                "columns" => read.columns = text.split(',').filter(known).map(str::to_owned).collect(),
                "widths" => {
                    let width = |part: &str| {
                        let (column, width) = part.split_once(':')?;
                        let width = width.parse().ok().filter(|w| COLUMN_WIDTH_RANGE.contains(w))?;
                        entity.column(column).map(|c| (c.name.clone(), width))
                    };
                    read.widths = text.split(',').filter_map(width).collect();
                }
                "sort" => {
                    let first = text.split(',').next().unwrap_or_default();
                    let (column, down) = first.strip_prefix('-').map_or((first, false), |column| (column, true));
                    read.sort = entity.column(column).map(|c| (c.name.clone(), down));
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
                    read.filters.push(Filter { column: column.name.clone(), operator, values });
                }
            }
        }
        read
    }

    /// The same as parameters of an address, with its question mark; empty where it says nothing.
    pub fn to_query(&self) -> String {
        let mut parts: Vec<(String, String)> = Vec::new();
        if let Some((column, down)) = &self.sort {
            parts.push(("sort".into(), format!("{}{column}", if *down { "-" } else { "" })));
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

    /// Without the conditions that the server would refuse, such as a day that is none.
    pub fn checked(mut self, entity: &EntityType) -> Self {
        self.filters.retain(|filter| ListQuery::parse(&[filter.to_query_pair()], entity).is_ok());
        self
    }

    /// Sorted by a column: the other way round where it is already, and as the type has it after both.
    pub fn toggle_sort(mut self, column: &str) -> Self {
        self.sort = match self.sort {
            Some((by, false)) if by == column => Some((by, true)),
            Some((by, true)) if by == column => None,
            _ => Some((column.to_owned(), false)),
        };
        self
    }

    /// With a column of another width.
    pub fn with_column_width(mut self, column: &str, width: u32) -> Self {
        self.widths.retain(|(name, _)| name != column);
        self.widths.push((column.to_owned(), width.clamp(*COLUMN_WIDTH_RANGE.start(), *COLUMN_WIDTH_RANGE.end())));
        self
    }

    /// The width of a column, where somebody has chosen one.
    pub fn width(&self, column: &str) -> Option<u32> {
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

    fn from_query(address: &str) -> TableView {
        let decode = |text: &str| js_sys::decode_uri_component(text).unwrap().as_string().unwrap();
        let pairs = address.trim_start_matches('?').split('&').filter_map(|part| part.split_once('='));
        TableView::from_query(pairs.map(|(name, value)| (decode(name), decode(value))), &task())
    }

    #[wasm_bindgen_test]
    fn an_address_says_the_whole_arrangement() {
        let all = "?sort=-due_date&dl__task_stage%5Bin%5D=Blocked,To%20Do&name%5Bcontains%5D=a%26b&columns=name,due_date&widths=name%3A300";
        let arrangement = from_query(all);
        assert_eq!(arrangement.to_query(), all);
        assert_eq!(arrangement.sort, Some(("due_date".into(), true)));
        assert_eq!(arrangement.filters[0].values, ["Blocked", "To Do"]);
        assert_eq!(arrangement.width("name"), Some(300));
        assert_eq!(TableView::default().to_query(), "");
    }

    #[wasm_bindgen_test]
    fn what_the_type_does_not_know_is_passed_over() {
        let strange = from_query(
            "?sort=-nothing&nope=1&columns=name,gone&widths=name:1,due_date:90,x:100&due_date%5Blt%5D=soon&limit=0",
        )
        .checked(&task());
        let expected =
            TableView { columns: vec!["name".into()], widths: vec![("due_date".into(), 90)], ..TableView::default() };
        assert_eq!(strange, expected);
    }

    #[wasm_bindgen_test]
    fn a_column_sorts_up_then_down_then_not() {
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
