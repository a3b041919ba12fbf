//! What can be asked for. Two askers with equal keys share one entry and one request.

use pmo_domain::{EntityCode, EntityRef};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The thing above the rows of a list, and the column of theirs that names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Below {
    /// The thing above.
    pub parent: EntityRef,
    /// The rows' column that names it; none where only a link ties them.
    pub column: Option<String>,
}

/// A list: every row of a type that the person may see, or those below one thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ListKey {
    /// The type of the rows.
    pub code: EntityCode,
    /// Only below this.
    pub below: Option<Below>,
}

impl ListKey {
    /// Every row of a type.
    pub fn all(code: EntityCode) -> Self {
        Self { code, below: None }
    }

    /// The rows below `parent`, tied by `column`.
    pub fn below(code: EntityCode, parent: EntityRef, column: impl Into<String>) -> Self {
        Self { code, below: Some(Below { parent, column: Some(column.into()) }) }
    }

    /// The address of its first page.
    pub fn path(&self) -> String {
        match &self.below {
            None => format!("/{}?limit=1000", self.code),
            Some(below) => format!("/{}/{}/{}?limit=1000", below.parent.code, below.parent.id, self.code),
        }
    }

    /// Whether a row with these values belongs here; none where the values can't tell.
    pub fn holds(&self, row: &pmo_domain::Row) -> Option<bool> {
        match &self.below {
            None => Some(true),
            Some(Below { parent, column: Some(column) }) => {
                let id = row.get(column).and_then(|v| v.as_str()).and_then(|v| v.parse::<Uuid>().ok());
                Some(id == Some(parent.id))
            }
            Some(Below { column: None, .. }) => None,
        }
    }
}

/// What every page needs before it shows a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MetaKey {
    /// Entity types.
    Codes,
    /// Option sets.
    Datalabels,
    /// Global settings.
    Settings,
}

impl MetaKey {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Codes, Self::Datalabels, Self::Settings];

    /// Its address.
    pub fn path(self) -> &'static str {
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
    Meta(MetaKey),
}
