//! Records of the cache on the device: their keys and serialized forms.

use crate::chunk_codec::ChunkId;
use crate::query_key::{ListKey, ReferenceDataKey};
use crate::store::{CHUNK_PREFIX, KeyValue, ROW_PREFIX, parse_json};
use pmo_domain::{EntityCode, EntityRef, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// Version of the storage format of the whole cache.
///
/// A cache in any other format is dropped and fetched again.
pub(crate) const STORAGE_FORMAT_VERSION: &[u8] = b"4";
/// Prefix of the keys of stored pins in the metadata namespace.
pub(crate) const PIN_KEY_PREFIX: &str = "kept:";

/// Header of a stored list.
#[derive(Serialize, Deserialize)]
pub(crate) struct ListHead {
    /// Key of the list.
    pub(crate) key: ListKey,
    /// Time of the server response.
    pub(crate) synced_at: UnixMillis,
    /// Whether no row of the list is missing.
    pub(crate) complete: bool,
    /// Cursor of the next page.
    #[serde(default)]
    pub(crate) next: Option<String>,
    /// Chunks that contain the rows.
    pub(crate) chunks: Vec<ChunkId>,
}

/// Stored form of reference data.
#[derive(Serialize, Deserialize)]
pub(crate) struct PersistedMeta {
    /// Key of the data.
    pub(crate) key: ReferenceDataKey,
    /// Data as received from the server.
    pub(crate) data: Value,
    /// Time of the server response.
    pub(crate) synced_at: UnixMillis,
}

/// Children that are linked to a parent without a column, as received from the server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FreeLinks {
    /// Parent of the links.
    pub(crate) parent: EntityRef,
    /// Entity type of the children.
    pub(crate) child: EntityCode,
    /// Ids of the children.
    pub(crate) ids: Vec<Uuid>,
}

/// Stored form of a pin.
#[derive(Serialize, Deserialize)]
pub(crate) struct PinnedRoot {
    code: EntityCode,
    id: Uuid,
    /// Free links inside the tree; `None` until they have been received.
    #[serde(default, rename = "ties")]
    pub(crate) free_links: Option<Vec<FreeLinks>>,
}

impl PinnedRoot {
    /// Creates the stored form of the pin of an entity.
    pub(crate) fn new(root: &EntityRef, free_links: Option<Vec<FreeLinks>>) -> Self {
        Self { code: root.code.clone(), id: root.id, free_links }
    }

    /// Splits the pin into the entity and the free links inside its tree.
    pub(crate) fn into_parts(self) -> (EntityRef, Option<Vec<FreeLinks>>) {
        (EntityRef::new(self.code, self.id), self.free_links)
    }
}

/// Returns a stored pin without the links that were fetched for it; `None` for other metadata.
pub(crate) fn unfetched_pin(name: &str, bytes: &[u8]) -> Option<KeyValue> {
    let pin: PinnedRoot = name.starts_with(PIN_KEY_PREFIX).then(|| parse_json(bytes))??;
    let bytes = serde_json::to_vec(&PinnedRoot { free_links: None, ..pin }).ok()?;
    Some((name.to_owned(), bytes))
}

/// Returns the key of a chunk in the entities namespace.
pub(crate) fn chunk_name(chunk: ChunkId) -> String {
    format!("{CHUNK_PREFIX}{chunk:08}")
}

/// Parses the key of a chunk; inverse of [`chunk_name`].
pub(crate) fn parse_chunk_name(name: &str) -> Option<ChunkId> {
    name.strip_prefix(CHUNK_PREFIX)?.parse().ok()
}

/// Returns the key of a row of the delta log in the entities namespace.
pub(crate) fn row_name(id: Uuid) -> String {
    format!("{ROW_PREFIX}{id}")
}

/// Returns the key of a list in the lists namespace.
pub(crate) fn list_name(key: &ListKey) -> String {
    serde_json::to_string(key).unwrap_or_default()
}

/// Returns the key of a pin in the metadata namespace.
pub(crate) fn pin_name(root: &EntityRef) -> String {
    format!("{PIN_KEY_PREFIX}{root}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::DeserializeOwned;
    use serde_json::json;

    fn assert_stable<T: Serialize + DeserializeOwned>(value: Value) {
        let parsed: T = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"));
        assert_eq!(serde_json::to_value(parsed).unwrap(), value);
    }

    #[test]
    fn cache_records_serialize_with_stable_names() {
        let key = json!({"code": "task", "below": null, "filters": [], "sort": [], "search": null, "paged": false});
        assert_stable::<ListHead>(
            json!({"key": key, "synced_at": 1500, "complete": false, "next": "c", "chunks": [1, 2]}),
        );
        assert_stable::<PersistedMeta>(json!({"key": "Settings", "data": {"a": 1}, "synced_at": 2500}));
        // Earlier builds wrote times with a fraction and read both forms.
        let earlier: PersistedMeta =
            serde_json::from_value(json!({"key": "Settings", "data": {}, "synced_at": 2500.0})).unwrap();
        assert_eq!(earlier.synced_at, UnixMillis::new(2500));
        assert_eq!(STORAGE_FORMAT_VERSION, b"4");
    }

    #[test]
    fn pinned_trees_serialize_with_stable_names() {
        let (root, child) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let links = json!([{"parent": {"code": "project", "id": root}, "child": "task", "ids": [child]}]);
        assert_stable::<PinnedRoot>(json!({"code": "project", "id": root, "ties": links}));
        assert_stable::<PinnedRoot>(json!({"code": "project", "id": root, "ties": null}));
        assert_eq!(PIN_KEY_PREFIX, "kept:");
    }
}
