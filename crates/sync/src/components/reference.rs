//! Catalog, reference data and the names of referenced entities.

use crate::cache::Cache;
use crate::collections::VecMap;
use crate::query_key::ReferenceDataKey;
use pmo_domain::api_types::{ReferenceNames, from_value};
use pmo_domain::{Catalog, EntityRef, EntityType, UnixMillis};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Cached reference data.
pub(crate) struct ReferenceData {
    /// Data as received from the server.
    pub(crate) data: Arc<Value>,
    /// Time of the server response.
    pub(crate) synced_at: UnixMillis,
    /// Whether the data must be refetched before it counts as fresh.
    pub(crate) stale: bool,
}

/// Reference data, the catalog compiled from it, and the known names of entities.
#[derive(Default)]
pub(crate) struct ReferenceCache {
    catalog: Arc<Catalog>,
    data: VecMap<ReferenceDataKey, ReferenceData>,
    names: BTreeMap<String, BTreeMap<Uuid, String>>,
}

impl ReferenceCache {
    /// Returns the catalog as far as it is known.
    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Returns cached reference data.
    pub(crate) fn get(&self, key: ReferenceDataKey) -> Option<&ReferenceData> {
        self.data.get(&key)
    }

    /// Iterates over the cached reference data.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ReferenceDataKey, &ReferenceData)> {
        self.data.iter()
    }

    /// Marks reference data as stale.
    pub(crate) fn mark_stale(&mut self, key: ReferenceDataKey) {
        if let Some(data) = self.data.get_mut(&key) {
            data.stale = true;
        }
    }

    /// Whether reference data is not stale and younger than `max_age`.
    pub(crate) fn is_fresh(&self, key: ReferenceDataKey, max_age: Duration, now: UnixMillis) -> bool {
        self.get(key).is_some_and(|data| !data.stale && now.since(data.synced_at) < max_age)
    }

    /// Marks reference data as fresh if it equals `data`; returns whether it does.
    pub(crate) fn confirm(&mut self, key: ReferenceDataKey, data: &Value, now: UnixMillis) -> bool {
        let Some(known) = self.data.get_mut(&key).filter(|known| *known.data == *data) else { return false };
        (known.synced_at, known.stale) = (now, false);
        true
    }

    /// Stores reference data.
    ///
    /// A new catalog recompiles the lists of the cache, because comparisons depend on the column
    /// types.
    pub(crate) fn insert(&mut self, key: ReferenceDataKey, data: ReferenceData, cache: &mut Cache) {
        if key == ReferenceDataKey::Codes {
            let types: Vec<EntityType> = from_value(&data.data).unwrap_or_default();
            let mut catalog = Catalog::default();
            catalog.types.extend(types.into_iter().map(|t| (t.code.clone(), t)));
            self.catalog = Arc::new(catalog);
            cache.recompile(&self.catalog);
        }
        self.data.insert(key, data);
    }

    /// Returns the known names of an entity type.
    pub(crate) fn names_of(&self, code: &str) -> Option<&BTreeMap<Uuid, String>> {
        self.names.get(code)
    }

    /// Iterates over the entity types of which names are known.
    pub(crate) fn named_codes(&self) -> impl Iterator<Item = &String> {
        self.names.keys()
    }

    /// Replaces the names of an entity type.
    pub(crate) fn set_names(&mut self, code: String, names: BTreeMap<Uuid, String>) {
        self.names.insert(code, names);
    }

    /// Adds names from a response; returns the entity types whose names changed.
    pub(crate) fn merge_names(&mut self, names: ReferenceNames) -> Vec<String> {
        let mut changed = Vec::new();
        for (code, names) in names {
            let known = self.names.entry(code.clone()).or_default();
            let before = known.len();
            let mut renamed = false;
            for (id, name) in names {
                renamed |= known.get(&id).is_some_and(|known| *known != name);
                known.insert(id, name);
            }
            if renamed || known.len() != before {
                changed.push(code);
            }
        }
        changed
    }

    /// Removes the name of an entity; returns whether it was known.
    pub(crate) fn remove_name(&mut self, entity: &EntityRef) -> bool {
        self.names.get_mut(entity.code.as_str()).is_some_and(|names| names.remove(&entity.id).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_domain::EntityCode;
    use serde_json::json;

    #[test]
    fn merged_names_report_only_types_that_changed() {
        let mut reference = ReferenceCache::default();
        let (id, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let names = |id: Uuid, name: &str| ReferenceNames::from([("task".to_owned(), [(id, name.to_owned())].into())]);
        assert_eq!(reference.merge_names(names(id, "a")), ["task"]);
        assert_eq!(reference.merge_names(names(id, "a")), [""; 0]);
        assert_eq!(reference.merge_names(names(id, "b")), ["task"], "renamed");
        assert_eq!(reference.merge_names(names(other, "c")), ["task"], "added");
        let task = EntityRef::new(EntityCode::new("task").unwrap(), id);
        assert!(reference.remove_name(&task) && !reference.remove_name(&task));
        assert_eq!(reference.names_of("task").unwrap().len(), 1);
    }

    #[test]
    fn equal_data_is_confirmed_as_fresh() {
        let (mut reference, mut cache) = (ReferenceCache::default(), Cache::default());
        let (key, age) = (ReferenceDataKey::Settings, Duration::from_millis(10));
        let data = ReferenceData { data: Arc::new(json!({"a": 1})), synced_at: UnixMillis::EPOCH, stale: true };
        reference.insert(key, data, &mut cache);
        assert!(!reference.is_fresh(key, age, UnixMillis::EPOCH));
        assert!(!reference.confirm(key, &json!({"a": 2}), UnixMillis::EPOCH));
        assert!(reference.confirm(key, &json!({"a": 1}), UnixMillis::new(5)));
        assert!(reference.is_fresh(key, age, UnixMillis::new(14)));
        assert!(!reference.is_fresh(key, age, UnixMillis::new(15)));
    }
}
