//! Keys of queries. Observers with equal keys share one cache entry and one request.

use pmo_domain::query::Filter;
use pmo_domain::{EntityCode, EntityRef};
use serde::{Deserialize, Serialize};

/// Restriction of a list to the children of one parent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ParentFilter {
    /// Parent of the rows.
    pub parent: EntityRef,
    /// Column of the rows that holds the parent's id; `None` if free links define the children.
    pub column: Option<String>,
}

/// Direction of a sort order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SortDirection {
    /// Smallest value first; nulls last.
    Ascending,
    /// Exact reverse of [`Self::Ascending`].
    Descending,
}

/// Sort column of a list.
///
/// The JSON form is a pair of the column and `true` for descending.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(String, bool)", into = "(String, bool)")]
pub struct SortKey {
    /// Column by whose values the rows are sorted.
    pub column: String,
    /// Direction of the order.
    pub direction: SortDirection,
}

impl From<(String, bool)> for SortKey {
    fn from((column, descending): (String, bool)) -> Self {
        Self { column, direction: if descending { SortDirection::Descending } else { SortDirection::Ascending } }
    }
}

impl From<SortKey> for (String, bool) {
    fn from(key: SortKey) -> Self {
        (key.column, key.direction == SortDirection::Descending)
    }
}

/// Key of a list: the rows of one type that the user may view.
///
/// Optionally restricted to one parent, to filters and to a search text, and sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ListKey {
    /// Entity type of the rows.
    pub code: EntityCode,
    /// Restriction to one parent; `None` for all rows of the type.
    #[serde(rename = "below")]
    pub parent_filter: Option<ParentFilter>,
    /// Filters that a row must match, all of them.
    #[serde(default)]
    pub filters: Vec<Filter>,
    /// Sort columns; the id is always the last sort key.
    #[serde(default)]
    pub sort: Vec<SortKey>,
    /// Text of the full-text search on the server.
    #[serde(default)]
    pub search: Option<String>,
    /// Includes all descendants of the parent along owned relations: part of a pinned tree.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[serde(rename = "deep")]
    pub recursive: bool,
    /// Fetches one page at a time, on request; otherwise all pages are fetched at once.
    #[serde(default)]
    pub paged: bool,
}

impl ListKey {
    /// Returns the key of the list of all rows of a type.
    pub fn all(code: EntityCode) -> Self {
        Self {
            code,
            parent_filter: None,
            filters: Vec::new(),
            sort: Vec::new(),
            search: None,
            recursive: false,
            paged: false,
        }
    }

    /// Returns the key of the list of the rows whose `column` holds the id of `parent`.
    pub fn children_of(code: EntityCode, parent: EntityRef, column: impl Into<String>) -> Self {
        Self { parent_filter: Some(ParentFilter { parent, column: Some(column.into()) }), ..Self::all(code) }
    }

    /// Returns this key with another sort order.
    pub fn sorted(self, column: impl Into<String>, direction: SortDirection) -> Self {
        Self { sort: vec![SortKey { column: column.into(), direction }], ..self }
    }

    /// Returns this key with an additional filter.
    pub fn filtered(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// Returns the key of the unfiltered, unsorted list from which this list can be derived.
    ///
    /// `None` if this is that list itself, or if only the server can decide which rows belong to
    /// the list (search, recursive).
    pub fn base_list(&self) -> Option<Self> {
        let base = Self { parent_filter: self.parent_filter.clone(), ..Self::all(self.code.clone()) };
        (self.search.is_none() && !self.recursive && base != *self).then_some(base)
    }

    /// Returns the request path of a page of at most `rows` rows, beginning at `cursor`.
    pub fn page_path(&self, rows: usize, cursor: Option<&str>) -> String {
        let mut path = match &self.parent_filter {
            None => format!("/{}?limit={rows}", self.code),
            Some(ParentFilter { parent, .. }) => format!("/{}/{}/{}?limit={rows}", parent.code, parent.id, self.code),
        };
        let mut push_param = |name: &str, value: &str| {
            path.extend(["&", &percent_encode(name), "=", &percent_encode(value)]);
        };
        for filter in &self.filters {
            let (name, value) = filter.to_query_pair();
            push_param(&name, &value);
        }
        if !self.sort.is_empty() {
            let sort: Vec<String> = self
                .sort
                .iter()
                .map(|key| match key.direction {
                    SortDirection::Ascending => key.column.clone(),
                    SortDirection::Descending => format!("-{}", key.column),
                })
                .collect();
            push_param("sort", &sort.join(","));
        }
        if let Some(text) = &self.search {
            push_param("search", text);
        }
        if let Some(cursor) = cursor {
            push_param("cursor", cursor);
        }
        path
    }
}

/// Percent-encodes a text for use in a URL query; unreserved characters and commas stay as is.
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~,".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Key of a set of reference data, which every page needs before it can render entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReferenceDataKey {
    /// Entity types with their columns and child relations.
    Codes,
    /// Datalabels: the option sets of columns.
    Datalabels,
    /// Global settings.
    Settings,
}

impl ReferenceDataKey {
    /// All keys.
    pub const ALL: [Self; 3] = [Self::Codes, Self::Datalabels, Self::Settings];

    /// Returns the request path of the reference data.
    pub fn page_path(self) -> &'static str {
        match self {
            Self::Codes => "/entity/codes",
            Self::Datalabels => "/datalabel/all",
            Self::Settings => "/settings/global",
        }
    }
}

/// Key of a query: one row, a list or reference data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Query {
    /// One entity.
    Row(EntityRef),
    /// A list of entities of one type.
    List(ListKey),
    /// Reference data.
    Meta(ReferenceDataKey),
}

/// Subscription on the server; lists that depend on the same rows share one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Topic {
    /// Changes of one entity.
    Row(EntityRef),
    /// Changes of the rows of a type, all of them or the children of one parent.
    Rows(EntityCode, Option<EntityRef>),
    /// Changes of all descendants of an entity that have this type.
    Tree(EntityCode, EntityRef),
}

impl Query {
    /// Returns whether the query reads rows of an entity type: one row, or a list of them.
    pub fn is_of_type(&self, code: &EntityCode) -> bool {
        match self {
            Self::Row(entity) => entity.code == *code,
            Self::List(key) => key.code == *code,
            Self::Meta(_) => false,
        }
    }

    /// Returns the topic whose changes affect the query; `None` for reference data.
    pub fn topic(&self) -> Option<Topic> {
        match self {
            Self::Row(entity) => Some(Topic::Row(entity.clone())),
            Self::List(ListKey { code, parent_filter: Some(filter), recursive: true, .. }) => {
                Some(Topic::Tree(code.clone(), filter.parent.clone()))
            }
            Self::List(key) => {
                Some(Topic::Rows(key.code.clone(), key.parent_filter.as_ref().map(|filter| filter.parent.clone())))
            }
            Self::Meta(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_domain::query::Operator;

    #[test]
    fn page_path_encodes_filters_sort_and_cursor() {
        let key = ListKey::all(EntityCode::new("task").unwrap())
            .filtered(Filter { column: "name".into(), operator: Operator::Contains, values: vec!["a&b ü".into()] })
            .sorted("due_date", SortDirection::Descending);
        assert_eq!(
            key.page_path(50, Some("x/y")),
            "/task?limit=50&name%5Bcontains%5D=a%26b%20%C3%BC&sort=-due_date&cursor=x%2Fy"
        );
        assert_eq!(key.base_list(), Some(ListKey::all(key.code.clone())));
        assert_eq!(ListKey::all(key.code.clone()).base_list(), None);
    }
}
