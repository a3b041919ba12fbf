//! Persistent store of a user on this device: IndexedDB, through the `rexie` crate.
//!
//! There are two databases per user. The cache (rows, lists, metadata) holds bytes and may be
//! dropped at any time. The user data (drafts, outbox) is JSON text.
//!
//! Invariant: the name of the user-data database never changes, and its format only gets additions,
//! so that every build reads the work of every earlier build.

use futures_util::FutureExt;
use js_sys::{ArrayBuffer, Function, Promise, Reflect, Uint8Array};
use pmo_domain::sort;
use pmo_sync::store::{self, KeySelector, KeyValue, LEADER_TERM_KEY, coalesce_writes};
use pmo_sync::{MemoryStore, Namespace, Store, StoreError, Write};
use rexie::{KeyRange, ObjectStore, Rexie, Store as Objects, Transaction, TransactionMode};
use std::pin::Pin;
use uuid::Uuid;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// Store of a user's data on this device: IndexedDB if available, else memory.
pub enum DeviceStore {
    /// Persistent store.
    IndexedDb(IndexedDbStore),
    /// Store in memory, and the error message of IndexedDB.
    Memory(MemoryStore, String),
}

/// The IndexedDB databases of a user: cache and user data.
pub struct IndexedDbStore {
    cache: Rexie,
    user_data: Rexie,
}

/// A pending IndexedDB request.
type BoxedRequest<'a, T> = Pin<Box<dyn Future<Output = rexie::Result<T>> + 'a>>;

fn store_error(error: rexie::Error) -> StoreError {
    let text = error.to_string();
    if text.contains("QuotaExceeded") { StoreError::QuotaExceeded } else { StoreError::Failed(text) }
}

fn key(text: impl AsRef<str>) -> JsValue {
    JsValue::from_str(text.as_ref())
}

/// Encodes a value for the database: user data as text, cache data as bytes.
fn value(namespace: Namespace, bytes: &[u8]) -> JsValue {
    if namespace.is_user_data() { key(String::from_utf8_lossy(bytes)) } else { Uint8Array::from(bytes).into() }
}

fn bytes(value: &JsValue) -> Vec<u8> {
    match value.dyn_ref::<Uint8Array>() {
        Some(bytes) => bytes.to_vec(),
        None => match value.dyn_ref::<ArrayBuffer>() {
            Some(buffer) => Uint8Array::new(buffer).to_vec(),
            None => value.as_string().unwrap_or_default().into_bytes(),
        },
    }
}

/// Returns the range of all keys that begin with `prefix`; `None` (all keys) for an empty prefix.
fn prefix_range(prefix: &str) -> Result<Option<KeyRange>, StoreError> {
    if prefix.is_empty() {
        return Ok(None);
    }
    KeyRange::bound(&key(prefix), &key(format!("{prefix}\u{ffff}")), None, None)
        .map(Some)
        .map_err(|e| StoreError::Failed(e.to_string()))
}

/// Ratio of used to allowed storage above which storage counts as low.
const LOW_STORAGE_RATIO: f64 = 0.8;

/// Calls a method of `navigator.storage` and awaits it; `None` if it is missing or fails.
async fn storage_manager_call(method: &str) -> Option<JsValue> {
    let storage = Reflect::get(&web_sys::window()?.navigator(), &"storage".into()).ok()?;
    let function: Function = Reflect::get(&storage, &method.into()).ok()?.dyn_into().ok()?;
    let promise: Promise = function.call0(&storage).ok()?.dyn_into().ok()?;
    JsFuture::from(promise).await.ok()
}

/// Asks the browser to exempt this origin from eviction under storage pressure.
pub async fn request_persistent_storage() {
    storage_manager_call("persist").await;
}

/// Returns whether the storage of this origin is almost used up; false if unknown.
pub async fn is_storage_low() -> bool {
    storage_estimate().await.is_some_and(|(used, allowed)| used > allowed * LOW_STORAGE_RATIO)
}

/// Returns the used and the allowed bytes of this origin; `None` if the browser has no estimate.
pub async fn storage_estimate() -> Option<(f64, f64)> {
    let estimate = storage_manager_call("estimate").await;
    let number = |name: &str| Reflect::get(estimate.as_ref()?, &name.into()).ok()?.as_f64();
    number("usage").zip(number("quota"))
}

impl DeviceStore {
    /// Opens the databases of a user; falls back to memory if IndexedDB fails.
    pub async fn open(person: Uuid) -> Self {
        let open = async |name: String, namespaces: &[Namespace]| {
            let add_store = |database: rexie::RexieBuilder, namespace: &Namespace| {
                database.add_object_store(ObjectStore::new(namespace.name()))
            };
            namespaces.iter().fold(Rexie::builder(&name).version(1), add_store).build().await
        };
        let cache = open(format!("pmo-cache-v2-{person}"), &Namespace::CACHE).await;
        let user_data = open(format!("pmo-work-{person}"), &[Namespace::Drafts, Namespace::Outbox]).await;
        match (cache, user_data) {
            (Ok(cache), Ok(user_data)) => Self::IndexedDb(IndexedDbStore { cache, user_data }),
            (Err(error), _) | (_, Err(error)) => Self::Memory(MemoryStore::default(), error.to_string()),
        }
    }

    /// Returns the message to show if data is not persisted; `None` with IndexedDB.
    pub fn error_message(&self) -> Option<String> {
        match self {
            Self::IndexedDb(_) => None,
            Self::Memory(..) => Some(StoreError::Unavailable.to_string()),
        }
    }

    /// Clears the cache, and the user data unless `keep_user_data`.
    ///
    /// The object stores are cleared, not deleted: a deletion would wait for the other tabs.
    pub async fn wipe(&self, keep_user_data: bool) {
        let namespaces = Namespace::ALL.into_iter().filter(|namespace| !(keep_user_data && namespace.is_user_data()));
        let _ = self.write(&namespaces.map(Write::Clear).collect::<Vec<_>>(), None).await;
    }
}

impl Store for DeviceStore {
    async fn read(&self, namespace: Namespace, selector: KeySelector<'_>) -> Result<Vec<KeyValue>, StoreError> {
        match self {
            Self::IndexedDb(store) => store.read(namespace, selector).await,
            Self::Memory(store, _) => store.read(namespace, selector).await,
        }
    }

    async fn keys(&self, namespace: Namespace, prefix: &str) -> Result<Vec<String>, StoreError> {
        match self {
            Self::IndexedDb(store) => store.keys(namespace, prefix).await,
            Self::Memory(store, _) => store.keys(namespace, prefix).await,
        }
    }

    async fn write(&self, writes: &[Write], term: Option<u64>) -> Result<(), StoreError> {
        match self {
            Self::IndexedDb(store) => store.write(writes, term).await,
            Self::Memory(store, _) => store.write(writes, term).await,
        }
    }
}

impl IndexedDbStore {
    fn database(&self, namespace: Namespace) -> &Rexie {
        if namespace.is_user_data() { &self.user_data } else { &self.cache }
    }

    /// Begins a read-only transaction on one namespace.
    fn read_transaction(&self, namespace: Namespace) -> Result<(Transaction, Objects), StoreError> {
        let transaction = self
            .database(namespace)
            .transaction(&[namespace.name()], TransactionMode::ReadOnly)
            .map_err(store_error)?;
        let objects = transaction.store(namespace.name()).map_err(store_error)?;
        Ok((transaction, objects))
    }

    async fn read(&self, namespace: Namespace, selector: KeySelector<'_>) -> Result<Vec<KeyValue>, StoreError> {
        let (_transaction, objects) = self.read_transaction(namespace)?;
        if let KeySelector::Keys(names) = selector {
            let mut names = sort::sorted(names.to_vec(), |a, b| a.cmp(b));
            names.dedup();
            // All requests are issued before the first is awaited, so that the browser processes
            // them back to back.
            let mut requests: Vec<BoxedRequest<'_, Option<JsValue>>> =
                names.iter().map(|name| -> BoxedRequest<'_, _> { Box::pin(objects.get(key(name))) }).collect();
            let mut results: Vec<_> = requests.iter_mut().map(|request| request.now_or_never()).collect();
            let mut entries = Vec::with_capacity(names.len());
            for ((name, request), result) in names.iter().zip(&mut requests).zip(&mut results) {
                let value = match result.take() {
                    Some(value) => value,
                    None => request.await,
                };
                entries.extend(value.map_err(store_error)?.map(|value| (name.clone(), bytes(&value))));
            }
            return Ok(entries);
        }
        let range = || prefix_range(if let KeySelector::Prefix(prefix) = selector { prefix } else { "" });
        // Both results are in key order.
        let names = objects.get_all_keys(range()?, None);
        let values = objects.get_all(range()?, None);
        let (names, values) = futures_util::future::join(names, values).await;
        let (names, values) = (names.map_err(store_error)?, values.map_err(store_error)?);
        Ok(names
            .iter()
            .zip(&values)
            .map(|(name, value)| (name.as_string().unwrap_or_default(), bytes(value)))
            .collect())
    }

    async fn keys(&self, namespace: Namespace, prefix: &str) -> Result<Vec<String>, StoreError> {
        let (_transaction, objects) = self.read_transaction(namespace)?;
        let names = objects.get_all_keys(prefix_range(prefix)?, None).await.map_err(store_error)?;
        Ok(names.iter().filter_map(JsValue::as_string).collect())
    }

    async fn write(&self, writes: &[Write], term: Option<u64>) -> Result<(), StoreError> {
        // User data first: it must not wait for the cache, which may be large.
        for user_data in [true, false] {
            let part = || writes.iter().filter(|write| write.namespace().is_user_data() == user_data);
            let term = term.filter(|_| part().any(Write::requires_leadership));
            let term_namespace = if user_data { Namespace::Outbox } else { Namespace::Metadata };
            let is_needed = |namespace: &Namespace| {
                part().any(|write| write.namespace() == *namespace) || (term.is_some() && *namespace == term_namespace)
            };
            let namespaces: Vec<Namespace> = Namespace::ALL.into_iter().filter(is_needed).collect();
            let Some(first) = namespaces.first() else { continue };
            let names: Vec<&str> = namespaces.iter().map(|namespace| namespace.name()).collect();
            let transaction =
                self.database(*first).transaction(&names, TransactionMode::ReadWrite).map_err(store_error)?;
            // Fencing: the persisted term is checked in the transaction that writes.
            let mut is_leader = true;
            if let Some(term) = term {
                let stored = transaction
                    .store(term_namespace.name())
                    .map_err(store_error)?
                    .get(key(LEADER_TERM_KEY))
                    .await
                    .map_err(store_error)?;
                is_leader = stored
                    .and_then(|stored| store::parse_json::<u64>(&bytes(&stored)))
                    .is_some_and(|stored_term| stored_term <= term);
            }
            let (cleared, last) = coalesce_writes(part().filter(|write| is_leader || !write.requires_leadership()));
            for namespace in cleared {
                let objects = transaction.store(namespace.name()).map_err(store_error)?;
                objects.clear().await.map_err(store_error)?;
                if let Some(term) = term.filter(|_| namespace == term_namespace) {
                    let term = value(namespace, term.to_string().as_bytes());
                    objects.put(&term, Some(&key(LEADER_TERM_KEY))).await.map_err(store_error)?;
                }
            }
            let stores: Vec<Objects> =
                names.iter().map(|name| transaction.store(name)).collect::<Result<_, _>>().map_err(store_error)?;
            let store = |namespace: Namespace| {
                namespaces.iter().position(|candidate| *candidate == namespace).and_then(|index| stores.get(index))
            };
            // Each key is written once and requests are not awaited one by one: the commit reports
            // whether all have succeeded.
            let mut requests: Vec<BoxedRequest<'_, ()>> = Vec::with_capacity(last.len());
            for write in last {
                let Some(objects) = store(write.namespace()) else { continue };
                let mut request: BoxedRequest<'_, ()> = match write {
                    Write::Put(namespace, name, bytes) | Write::PutFenced(namespace, name, bytes) => Box::pin(
                        async move { objects.put(&value(*namespace, bytes), Some(&key(name))).await.map(drop) },
                    ),
                    Write::Remove(_, name) => Box::pin(objects.delete(key(name))),
                    Write::Clear(_) => continue,
                };
                if let Some(result) = (&mut request).now_or_never() {
                    result.map_err(store_error)?;
                }
                requests.push(request);
            }
            // An explicit commit: otherwise the browser waits to see whether more requests follow.
            transaction.commit().await.map_err(|_| StoreError::QuotaExceeded)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_sync::store::{PersistedState, load};
    use wasm_bindgen_test::wasm_bindgen_test;

    wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

    #[wasm_bindgen_test]
    async fn device_store_passes_the_conformance_suite() {
        let device = DeviceStore::open(Uuid::new_v4()).await;
        assert_eq!(device.error_message(), None);
        assert_eq!(pmo_sync::store::conformance::run(&device).await, Ok(()));
    }

    #[wasm_bindgen_test]
    async fn wipe_always_clears_the_cache_and_retains_user_data_if_asked() {
        let person = Uuid::new_v4();
        let device = DeviceStore::open(person).await;
        let put = |namespace: Namespace, text: &str| Write::Put(namespace, "a".into(), text.as_bytes().to_vec());
        device
            .write(
                &[put(Namespace::Drafts, "typed"), put(Namespace::Entities, "fetched"), put(Namespace::Metadata, "1")],
                None,
            )
            .await
            .unwrap();
        device.wipe(true).await;
        let reopened = DeviceStore::open(person).await;
        assert_eq!(
            reopened.read(Namespace::Drafts, KeySelector::All).await.unwrap(),
            [("a".to_owned(), b"typed".to_vec())]
        );
        assert_eq!(reopened.read(Namespace::Entities, KeySelector::All).await.unwrap(), []);
        device.wipe(false).await;
        assert_eq!(load(&device).await.unwrap(), PersistedState::default());
    }

    #[wasm_bindgen_test]
    async fn user_data_is_stored_as_text_for_earlier_builds() {
        let person = Uuid::new_v4();
        let device = DeviceStore::open(person).await;
        device.write(&[Write::Put(Namespace::Outbox, "1".into(), b"{}".to_vec())], None).await.unwrap();
        let DeviceStore::IndexedDb(store) = &device else { panic!("IndexedDB is not available") };
        let transaction = store.user_data.transaction(&["outbox"], TransactionMode::ReadOnly).unwrap();
        let stored = transaction.store("outbox").unwrap().get(key("1")).await.unwrap().unwrap();
        assert_eq!(stored.as_string().as_deref(), Some("{}"));
    }
}
