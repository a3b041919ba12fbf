//! Identifiers as distinct types, so that the compiler rejects one in place of another.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// The code of an entity type, such as `project`.
///
/// Invariant: a lower-case letter, then lower-case letters, digits and `_`, at most 63 bytes. A
/// code is therefore a valid table name and safe to insert into SQL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityCode(Arc<str>);

/// Error for a text that is not a valid entity code; contains up to 80 characters of the text.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not an entity code")]
pub struct InvalidEntityCode(pub String);

impl EntityCode {
    /// Validates `text` as an entity code.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidEntityCode> {
        let text = text.into();
        let mut bytes = text.bytes();
        let is_valid = text.len() <= 63
            && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if is_valid { Ok(Self(text.into())) } else { Err(InvalidEntityCode(text.chars().take(80).collect())) }
    }

    /// Returns the code as text.
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

/// Id of an ancestor set: the ancestors from which an entity inherits grants.
///
/// Entities with the same ancestors share one set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AncestorSetId(pub i32);

/// Reference to an entity: its type and its id.
#[derive(Clone, Debug, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntityRef {
    /// Type code.
    pub code: EntityCode,
    /// Id, in practice unique over all types.
    pub id: Uuid,
}

impl EntityRef {
    /// Creates a reference from a type code and an id.
    pub fn new(code: EntityCode, id: Uuid) -> Self {
        Self { code, id }
    }
}

// Compares ids first: they are almost always distinct, and cheaper to compare than type codes.
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

/// Version of a row: 1 after creation, incremented by each change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub i64);

/// Id of a person: the identity that signs in, holds grants and appears in the change log.
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
    fn entity_code_accepts_only_valid_table_names() {
        for valid in ["task", "task_dependency", "a1"] {
            assert!(EntityCode::new(valid).is_ok(), "{valid}");
        }
        for invalid in ["", "Task", "1a", "a-b", "a\"b", "a;drop", "ä", &"a".repeat(64)] {
            assert!(EntityCode::new(invalid).is_err(), "{invalid}");
        }
    }
}
