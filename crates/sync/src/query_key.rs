//! What can be asked for. Two askers with equal keys share one entry and one request.

use pmo_domain::query::Filter;
use pmo_domain::{EntityCode, EntityRef};
use serde::{Deserialize, Serialize};

/// The thing above the rows of a list, and the column of theirs that names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ParentFilter {
    /// The thing above.
    pub parent: EntityRef,
    /// The rows' column that names it; none where only a link ties them.
    pub column: Option<String>,
}

/// A list: the rows of a type that the person may see, below one thing or everywhere, those that pass some filters, in an order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ListKey {
    /// The type of the rows.
    pub code: EntityCode,
    /// Only below this.
    pub below: Option<ParentFilter>,
    /// Only those that pass all of these.
    #[serde(default)]
    pub filters: Vec<Filter>,
    /// Columns and whether descending; the id comes last by itself.
    #[serde(default)]
    pub sort: Vec<(String, bool)>,
    /// Words that the server looks for.
    #[serde(default)]
    pub search: Option<String>,
    /// Not only what hangs below the thing itself, but all that hangs below that, by owned links: a part of a tree that is kept whole.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[serde(rename = "deep")]
    pub recursive: bool,
    /// Fetched a page at a time, when somebody asks for more; else all pages at once.
    #[serde(default)]
    pub paged: bool,
}

impl ListKey {
    /// Every row of a type.
    pub fn all(code: EntityCode) -> Self {
        Self { code, below: None, filters: Vec::new(), sort: Vec::new(), search: None, recursive: false, paged: false }
    }

    /// The rows below `parent`, tied by `column`.
    pub fn below(code: EntityCode, parent: EntityRef, column: impl Into<String>) -> Self {
        Self { below: Some(ParentFilter { parent, column: Some(column.into()) }), ..Self::all(code) }
    }

    /// The same in another order.
    pub fn sorted(self, column: impl Into<String>, descending: bool) -> Self {
        Self { sort: vec![(column.into(), descending)], ..self }
    }

    /// Only those that pass a filter as well.
    pub fn filtered(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// The list of which this one is a part, whole and unsorted: where it is held, this one follows from it. None where it is that list itself, or where
    /// only the server knows what belongs to it.
    pub fn base_list(&self) -> Option<Self> {
        let whole = Self { below: self.below.clone(), ..Self::all(self.code.clone()) };
        (self.search.is_none() && !self.recursive && whole != *self).then_some(whole)
    }

    /// The address of a page of at most `rows` rows.
    pub fn page_path(&self, rows: usize, cursor: Option<&str>) -> String {
        let mut path = match &self.below {
            None => format!("/{}?limit={rows}", self.code),
            Some(below) => format!("/{}/{}/{}?limit={rows}", below.parent.code, below.parent.id, self.code),
        };
        let mut add = |name: &str, value: &str| {
            path.extend(["&", &percent_encode(name), "=", &percent_encode(value)]);
        };
        for filter in &self.filters {
            let (name, value) = filter.to_query_pair();
            add(&name, &value);
        }
        if !self.sort.is_empty() {
            let sort: Vec<String> =
                self.sort.iter().map(|(column, down)| format!("{}{column}", if *down { "-" } else { "" })).collect();
            add("sort", &sort.join(","));
        }
        if let Some(words) = &self.search {
            add("search", words);
        }
        if let Some(cursor) = cursor {
            add("cursor", cursor);
        }
        path
    }
}

/// A text as part of an address.
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

/// What every page needs before it shows a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReferenceDataKey {
    /// Entity types.
    Codes,
    /// Option sets.
    Datalabels,
    /// Global settings.
    Settings,
}

impl ReferenceDataKey {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Codes, Self::Datalabels, Self::Settings];

    /// Its address.
    pub fn page_path(self) -> &'static str {
        match self {
            Self::Codes => "/entity/codes",
            Self::Datalabels => "/datalabel/all",
            Self::Settings => "/settings/global",
        }
    }
}

/// A query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Query {
    /// One thing.
    Row(EntityRef),
    /// A list.
    List(ListKey),
    /// Reference data.
    Meta(ReferenceDataKey),
}

/// What the server is asked to watch. Lists with the same rows to hear of share one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Topic {
    /// One thing.
    Row(EntityRef),
    /// The rows of a type, everywhere or below a thing.
    Rows(EntityCode, Option<EntityRef>),
    /// The rows of a type anywhere below a thing.
    Tree(EntityCode, EntityRef),
}

impl Query {
    /// Whether it is about things of a type: one of them, or a list of them.
    pub fn is_of(&self, of: &EntityCode) -> bool {
        match self {
            Self::Row(entity) => entity.code == *of,
            Self::List(key) => key.code == *of,
            Self::Meta(_) => false,
        }
    }

    /// What to watch for it; reference data is not watched.
    pub fn topic(&self) -> Option<Topic> {
        match self {
            Self::Row(entity) => Some(Topic::Row(entity.clone())),
            Self::List(ListKey { code, below: Some(below), recursive: true, .. }) => {
                Some(Topic::Tree(code.clone(), below.parent.clone()))
            }
            Self::List(key) => Some(Topic::Rows(key.code.clone(), key.below.as_ref().map(|b| b.parent.clone()))),
            Self::Meta(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_domain::query::Operator;

    #[test]
    fn an_address_says_filters_order_and_words() {
        let key = ListKey::all(EntityCode::new("task").unwrap())
            .filtered(Filter { column: "name".into(), operator: Operator::Contains, values: vec!["a&b ü".into()] })
            .sorted("due_date", true);
        assert_eq!(
            key.page_path(50, Some("x/y")),
            "/task?limit=50&name%5Bcontains%5D=a%26b%20%C3%BC&sort=-due_date&cursor=x%2Fy"
        );
        assert_eq!(key.base_list(), Some(ListKey::all(key.code.clone())));
        assert_eq!(ListKey::all(key.code.clone()).base_list(), None);
    }
}
