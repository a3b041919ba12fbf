//! Identifiers as types of their own, so that one can never be passed for another.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// The name of an entity type, such as `project`: a lower-case letter, then letters, digits and `_`, at most 63 bytes.
/// Being a legal table name is what makes it safe to write into SQL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityCode(Arc<str>);

/// A text that is no legal entity code.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not an entity code")]
pub struct InvalidEntityCode(pub String);

impl EntityCode {
    /// Checks `text` against the rule above.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidEntityCode> {
        let text = text.into();
        let mut bytes = text.bytes();
        let legal = text.len() <= 63
            && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if legal { Ok(Self(text.into())) } else { Err(InvalidEntityCode(text.chars().take(80).collect())) }
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EntityCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for EntityCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for EntityCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for EntityCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl PartialEq<str> for EntityCode {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for EntityCode {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

/// One thing: its type and its id.
#[derive(Clone, Debug, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntityRef {
    /// The type.
    pub code: EntityCode,
    /// The id, unique over all types in practice.
    pub id: Uuid,
}

impl EntityRef {
    /// Pairs a type with an id.
    pub fn new(code: EntityCode, id: Uuid) -> Self {
        Self { code, id }
    }
}

// Ids tell almost all things apart, and sooner than the letters of a type do.
impl PartialEq for EntityRef {
    fn eq(&self, other: &Self) -> bool {
        self.id.as_u128() == other.id.as_u128() && self.code == other.code
    }
}

impl std::hash::Hash for EntityRef {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl fmt::Display for EntityRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.code, self.id)
    }
}

/// How often a row has been written: 1 when made, one more with each change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub i64);

/// A person: the one who signs in, holds grants and is named in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PersonId(pub Uuid);

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_code_is_a_legal_table_name_and_nothing_else() {
        for good in ["task", "task_dependency", "a1"] {
            assert!(EntityCode::new(good).is_ok(), "{good}");
        }
        for bad in ["", "Task", "1a", "a-b", "a\"b", "a;drop", "ä", &"a".repeat(64)] {
            assert!(EntityCode::new(bad).is_err(), "{bad}");
        }
    }
}
