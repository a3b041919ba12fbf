//! The device's store on IndexedDB, through rexie. Two databases a person: the cache, which may be dropped at will, and the work (drafts,
//! outbox), whose name never changes and whose format only grows. Values are JSON texts: the browser copies a text faster than a tree of
//! objects, and start-up reads a few large ones instead of thousands of small ones.

use pmo_sync::store::{CHUNK_ROWS, StoredList, StoredRow};
use pmo_sync::{Draft, Entry, MemoryStore, Store, StoreError, StoreOp, Stored};
use rexie::{Direction, KeyRange, ObjectStore, Rexie, Transaction, TransactionMode, TransactionResult};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::HashSet;
use uuid::Uuid;
use wasm_bindgen::JsValue;

const ENTITIES: &str = "entities";
const LISTS: &str = "entityLists";
const METADATA: &str = "metadata";
const DRAFTS: &str = "drafts";
const OUTBOX: &str = "outbox";

/// A person's data on this device: in IndexedDB where the browser gives one, else in memory.
pub enum Device {
    /// The browser's database.
    Disk(Disk),
    /// Memory, and why.
    Memory(MemoryStore, String),
}

/// The two databases.
pub struct Disk {
    cache: Rexie,
    work: Rexie,
    /// Keys of single rows beside the chunks, so that a fold deletes only what is there.
    log: RefCell<HashSet<String>>,
}

fn failed(error: rexie::Error) -> StoreError {
    let text = error.to_string();
    if text.contains("QuotaExceeded") { StoreError::Full } else { StoreError::Failed(text) }
}

async fn finish(transaction: Transaction) -> Result<(), StoreError> {
    match transaction.done().await.map_err(failed)? {
        TransactionResult::Committed => Ok(()),
        TransactionResult::Aborted => Err(StoreError::Full),
    }
}

fn key(text: impl AsRef<str>) -> JsValue {
    JsValue::from_str(text.as_ref())
}

fn packed(value: &impl Serialize) -> JsValue {
    key(serde_json::to_string(value).unwrap_or_default())
}

/// A value that can't be read is left out: it is asked for again, and nothing else is lost with it.
fn unpacked<T: DeserializeOwned>(value: &JsValue) -> Option<T> {
    serde_json::from_str(&value.as_string()?).ok()
}

fn list_key(list: &StoredList) -> String {
    serde_json::to_string(&list.key).unwrap_or_default()
}

fn row_key(row: &StoredRow) -> String {
    format!("row:{}", row.entity)
}

/// Every key that begins with `prefix`.
fn beginning_with(prefix: &str) -> Result<KeyRange, StoreError> {
    KeyRange::bound(&key(prefix), &key(format!("{prefix}\u{ffff}")), None, None)
        .map_err(|e| StoreError::Failed(e.to_string()))
}

impl Device {
    /// Opens a person's data.
    pub async fn open(person: Uuid) -> Self {
        let cache = Rexie::builder(&format!("pmo-cache-v2-{person}"))
            .version(1)
            .add_object_store(ObjectStore::new(ENTITIES))
            .add_object_store(ObjectStore::new(LISTS))
            .add_object_store(ObjectStore::new(METADATA))
            .build()
            .await;
        let work = Rexie::builder(&format!("pmo-work-{person}"))
            .version(1)
            .add_object_store(ObjectStore::new(DRAFTS))
            .add_object_store(ObjectStore::new(OUTBOX))
            .build()
            .await;
        match (cache, work) {
            (Ok(cache), Ok(work)) => Self::Disk(Disk { cache, work, log: RefCell::default() }),
            (Err(error), _) | (_, Err(error)) => Self::Memory(MemoryStore::default(), error.to_string()),
        }
    }

    /// What the device can't do, in words.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Disk(_) => None,
            Self::Memory(..) => Some(StoreError::Unavailable.to_string()),
        }
    }

    /// Empties the cache, and the work too unless it is to be kept. Stores are emptied, not deleted: a deletion would wait for other tabs.
    pub async fn wipe(&self, keep_work: bool) {
        let Self::Disk(disk) = self else { return };
        let _ = disk.clear(&disk.cache, &[ENTITIES, LISTS, METADATA]).await;
        if !keep_work {
            let _ = disk.clear(&disk.work, &[DRAFTS, OUTBOX]).await;
        }
        disk.log.borrow_mut().clear();
    }
}

impl Store for Device {
    async fn load(&self) -> Result<Stored, StoreError> {
        match self {
            Self::Disk(disk) => disk.load().await,
            Self::Memory(memory, _) => memory.load().await,
        }
    }

    async fn load_outbox(&self) -> Result<Vec<Entry>, StoreError> {
        match self {
            Self::Disk(disk) => disk.load_outbox().await,
            Self::Memory(memory, _) => memory.load_outbox().await,
        }
    }

    async fn load_drafts(&self) -> Result<Vec<Draft>, StoreError> {
        match self {
            Self::Disk(disk) => disk.load_drafts().await,
            Self::Memory(memory, _) => memory.load_drafts().await,
        }
    }

    async fn apply(&self, ops: &[StoreOp]) -> Result<(), StoreError> {
        match self {
            Self::Disk(disk) => disk.apply(ops).await,
            Self::Memory(memory, _) => memory.apply(ops).await,
        }
    }
}

impl Disk {
    async fn clear(&self, database: &Rexie, stores: &[&str]) -> Result<(), StoreError> {
        let transaction = database.transaction(stores, TransactionMode::ReadWrite).map_err(failed)?;
        for store in stores {
            transaction.store(store).map_err(failed)?.clear().await.map_err(failed)?;
        }
        finish(transaction).await
    }

    async fn load(&self) -> Result<Stored, StoreError> {
        let mut stored = Stored::default();
        let transaction =
            self.cache.transaction(&[ENTITIES, LISTS, METADATA], TransactionMode::ReadOnly).map_err(failed)?;
        let entities = transaction
            .store(ENTITIES)
            .map_err(failed)?
            .scan(None, None, None, Some(Direction::Next))
            .await
            .map_err(failed)?;
        let lists = transaction.store(LISTS).map_err(failed)?.get_all(None, None).await.map_err(failed)?;
        let metadata = transaction
            .store(METADATA)
            .map_err(failed)?
            .scan(None, None, None, Some(Direction::Next))
            .await
            .map_err(failed)?;
        for (name, value) in entities {
            let name = name.as_string().unwrap_or_default();
            if name.starts_with("row:") {
                stored.rows.extend(unpacked::<StoredRow>(&value));
                self.log.borrow_mut().insert(name);
            } else {
                stored.rows.extend(unpacked::<Vec<StoredRow>>(&value).unwrap_or_default());
            }
        }
        stored.lists = lists.iter().filter_map(unpacked).collect();
        for (name, value) in metadata {
            let name = name.as_string().unwrap_or_default();
            if let Some(code) = name.strip_prefix("names:") {
                stored.names.insert(code.to_owned(), unpacked(&value).unwrap_or_default());
            } else if name == "cursor" {
                stored.cursor = unpacked(&value);
            } else {
                stored.metas.extend(unpacked(&value));
            }
        }
        stored.drafts = self.load_drafts().await?;
        stored.outbox = self.load_outbox().await?;
        Ok(stored)
    }

    async fn load_drafts(&self) -> Result<Vec<Draft>, StoreError> {
        let transaction = self.work.transaction(&[DRAFTS], TransactionMode::ReadOnly).map_err(failed)?;
        let drafts = transaction.store(DRAFTS).map_err(failed)?.get_all(None, None).await.map_err(failed)?;
        Ok(drafts.iter().filter_map(unpacked).collect())
    }

    async fn load_outbox(&self) -> Result<Vec<Entry>, StoreError> {
        let transaction = self.work.transaction(&[OUTBOX], TransactionMode::ReadOnly).map_err(failed)?;
        let entries = transaction.store(OUTBOX).map_err(failed)?.get_all(None, None).await.map_err(failed)?;
        // Keys are ids that sort by time, and so do the values.
        Ok(entries.iter().filter_map(unpacked).collect())
    }

    async fn apply(&self, ops: &[StoreOp]) -> Result<(), StoreError> {
        if ops.contains(&StoreOp::Clear) {
            self.clear(&self.cache, &[ENTITIES, LISTS, METADATA]).await?;
            self.clear(&self.work, &[DRAFTS, OUTBOX]).await?;
            self.log.borrow_mut().clear();
            return Ok(());
        }
        // Work first: what a person typed must not wait for a cache.
        if ops.iter().any(is_work) {
            let transaction = self.work.transaction(&[DRAFTS, OUTBOX], TransactionMode::ReadWrite).map_err(failed)?;
            let (drafts, outbox) =
                (transaction.store(DRAFTS).map_err(failed)?, transaction.store(OUTBOX).map_err(failed)?);
            for op in ops {
                match op {
                    StoreOp::PutDraft(draft) => {
                        drop(drafts.put(&packed(draft), Some(&key(draft.entity.to_string()))).await.map_err(failed)?)
                    }
                    StoreOp::RemoveDraft(entity) => drafts.delete(key(entity.to_string())).await.map_err(failed)?,
                    StoreOp::PutEntry(entry) => {
                        drop(outbox.put(&packed(entry), Some(&key(entry.id.to_string()))).await.map_err(failed)?)
                    }
                    StoreOp::RemoveEntry(id) => outbox.delete(key(id.to_string())).await.map_err(failed)?,
                    _ => {}
                }
            }
            finish(transaction).await?;
        }
        if ops.iter().any(|op| !is_work(op)) {
            let transaction =
                self.cache.transaction(&[ENTITIES, LISTS, METADATA], TransactionMode::ReadWrite).map_err(failed)?;
            self.apply_to_cache(&transaction, ops).await?;
            finish(transaction).await?;
        }
        Ok(())
    }

    async fn apply_to_cache(&self, transaction: &Transaction, ops: &[StoreOp]) -> Result<(), StoreError> {
        let entities = transaction.store(ENTITIES).map_err(failed)?;
        let lists = transaction.store(LISTS).map_err(failed)?;
        let metadata = transaction.store(METADATA).map_err(failed)?;
        for op in ops {
            match op {
                StoreOp::PutList(list, rows) => {
                    let name = list_key(list);
                    let chunks = beginning_with(&format!("chunk:{name}:"))?;
                    entities.delete(chunks.into()).await.map_err(failed)?;
                    for (n, chunk) in rows.chunks(CHUNK_ROWS).enumerate() {
                        entities
                            .put(&packed(&chunk), Some(&key(format!("chunk:{name}:{n:05}"))))
                            .await
                            .map_err(failed)?;
                    }
                    for row in rows {
                        let single = row_key(row);
                        if self.log.borrow_mut().remove(&single) {
                            entities.delete(key(single)).await.map_err(failed)?;
                        }
                    }
                    lists.put(&packed(list), Some(&key(name))).await.map_err(failed)?;
                }
                StoreOp::PutListIds(list) => {
                    lists.put(&packed(list), Some(&key(list_key(list)))).await.map_err(failed)?;
                }
                StoreOp::PutRow(row) => {
                    let single = row_key(row);
                    entities.put(&packed(row), Some(&key(&single))).await.map_err(failed)?;
                    self.log.borrow_mut().insert(single);
                }
                StoreOp::PutMeta(meta) => {
                    metadata.put(&packed(meta), Some(&key(format!("meta:{:?}", meta.key)))).await.map_err(failed)?;
                }
                StoreOp::PutNames(names) => {
                    for (code, news) in names {
                        let place = key(format!("names:{code}"));
                        let known = metadata.get(place.clone()).await.map_err(failed)?;
                        let mut known: std::collections::BTreeMap<Uuid, String> =
                            known.as_ref().and_then(unpacked).unwrap_or_default();
                        known.extend(news.clone());
                        metadata.put(&packed(&known), Some(&place)).await.map_err(failed)?;
                    }
                }
                StoreOp::RemoveList(list) => {
                    let name = serde_json::to_string(list).unwrap_or_default();
                    entities.delete(beginning_with(&format!("chunk:{name}:"))?.into()).await.map_err(failed)?;
                    lists.delete(key(name)).await.map_err(failed)?;
                }
                StoreOp::RemoveNames(gone) => {
                    for (code, ids) in gone {
                        let place = key(format!("names:{code}"));
                        let known = metadata.get(place.clone()).await.map_err(failed)?;
                        let mut known: std::collections::BTreeMap<Uuid, String> =
                            known.as_ref().and_then(unpacked).unwrap_or_default();
                        known.retain(|id, _| !ids.contains(id));
                        metadata.put(&packed(&known), Some(&place)).await.map_err(failed)?;
                    }
                }
                StoreOp::PutCursor(cursor) => {
                    metadata.put(&packed(cursor), Some(&key("cursor"))).await.map_err(failed)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_work(op: &StoreOp) -> bool {
    matches!(op, StoreOp::PutDraft(_) | StoreOp::RemoveDraft(_) | StoreOp::PutEntry(_) | StoreOp::RemoveEntry(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

    #[wasm_bindgen_test]
    async fn the_device_passes_the_suite() {
        let device = Device::open(Uuid::new_v4()).await;
        assert_eq!(device.trouble(), None);
        assert_eq!(pmo_sync::store::conformance::run(&device).await, Ok(()));
    }

    #[wasm_bindgen_test]
    async fn signing_out_can_keep_the_work_and_never_the_cache() {
        let person = Uuid::new_v4();
        let device = Device::open(person).await;
        let entity = pmo_domain::EntityRef::new(pmo_domain::EntityCode::new("task").unwrap(), Uuid::new_v4());
        let draft = Draft::new(entity.clone(), 1, 0.0);
        let row = StoredRow { entity, data: None, synced_at: 1.0 };
        device.apply(&[StoreOp::PutDraft(Box::new(draft.clone())), StoreOp::PutRow(row)]).await.unwrap();
        device.wipe(true).await;
        let stored = Device::open(person).await.load().await.unwrap();
        assert_eq!((stored.drafts, stored.rows.len()), (vec![draft], 0));
        device.wipe(false).await;
        assert_eq!(device.load().await.unwrap(), Stored::default());
    }

    #[wasm_bindgen_test]
    async fn a_broken_value_costs_itself_alone() {
        let person = Uuid::new_v4();
        let device = Device::open(person).await;
        let Device::Disk(disk) = &device else { panic!("a database") };
        let transaction = disk.cache.transaction(&[ENTITIES], TransactionMode::ReadWrite).unwrap();
        transaction.store(ENTITIES).unwrap().put(&key("{broken"), Some(&key("chunk:x:00000"))).await.unwrap();
        finish(transaction).await.unwrap();
        assert_eq!(device.load().await.unwrap(), Stored::default());
    }
}
