//! The device's store on IndexedDB, through rexie. Two databases a person: the cache, which may be dropped at will, and the work (drafts,
//! outbox), whose name never changes and whose format only grows. Rows and lists are bytes; work is JSON text, as it always was.

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

/// A person's data on this device: in IndexedDB where the browser gives one, else in memory.
pub enum DeviceStore {
    /// The browser's database.
    Disk(IndexedDbStore),
    /// Memory, and why.
    Memory(MemoryStore, String),
}

/// The two databases.
pub struct IndexedDbStore {
    cache: Rexie,
    work: Rexie,
}

/// A request that is out.
type BoxedRequest<'a, T> = Pin<Box<dyn Future<Output = rexie::Result<T>> + 'a>>;

fn store_error(error: rexie::Error) -> StoreError {
    let text = error.to_string();
    if text.contains("QuotaExceeded") { StoreError::QuotaExceeded } else { StoreError::Failed(text) }
}

fn key(text: impl AsRef<str>) -> JsValue {
    JsValue::from_str(text.as_ref())
}

/// What is kept as it lies in the database.
fn value(area: Namespace, bytes: &[u8]) -> JsValue {
    if area.is_user_data() { key(String::from_utf8_lossy(bytes)) } else { Uint8Array::from(bytes).into() }
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

/// Every key that begins with `prefix`.
fn prefix_range(prefix: &str) -> Result<Option<KeyRange>, StoreError> {
    if prefix.is_empty() {
        return Ok(None);
    }
    KeyRange::bound(&key(prefix), &key(format!("{prefix}\u{ffff}")), None, None)
        .map(Some)
        .map_err(|e| StoreError::Failed(e.to_string()))
}

/// Little is left where so much of what the browser allows is used.
const LOW_STORAGE_RATIO: f64 = 0.8;

/// What the browser answers about its storage; none where it has no word on it.
async fn storage_manager_call(ask: &str) -> Option<JsValue> {
    let storage = Reflect::get(&web_sys::window()?.navigator(), &"storage".into()).ok()?;
    let ask: Function = Reflect::get(&storage, &ask.into()).ok()?.dyn_into().ok()?;
    let answer: Promise = ask.call0(&storage).ok()?.dyn_into().ok()?;
    JsFuture::from(answer).await.ok()
}

/// Asks the browser not to clear what is kept when it needs room for others.
pub async fn request_persistent_storage() {
    storage_manager_call("persist").await;
}

/// Whether little room is left on the device.
pub async fn is_storage_low() -> bool {
    storage_estimate().await.is_some_and(|(used, allowed)| used > allowed * LOW_STORAGE_RATIO)
}

/// Bytes that this origin uses, and those it may use; none where the browser does not say.
pub async fn storage_estimate() -> Option<(f64, f64)> {
    let estimate = storage_manager_call("estimate").await;
    let number = |name: &str| Reflect::get(estimate.as_ref()?, &name.into()).ok()?.as_f64();
    number("usage").zip(number("quota"))
}

impl DeviceStore {
    /// Opens a person's data.
    pub async fn open(person: Uuid) -> Self {
        let open = async |name: String, areas: &[Namespace]| {
            let with = |database: rexie::RexieBuilder, area: &Namespace| {
                database.add_object_store(ObjectStore::new(area.name()))
            };
            areas.iter().fold(Rexie::builder(&name).version(1), with).build().await
        };
        let cache = open(format!("pmo-cache-v2-{person}"), &Namespace::CACHE).await;
        let work = open(format!("pmo-work-{person}"), &[Namespace::Drafts, Namespace::Outbox]).await;
        match (cache, work) {
            (Ok(cache), Ok(work)) => Self::Disk(IndexedDbStore { cache, work }),
            (Err(error), _) | (_, Err(error)) => Self::Memory(MemoryStore::default(), error.to_string()),
        }
    }

    /// What the device can't do, in words.
    pub fn error_message(&self) -> Option<String> {
        match self {
            Self::Disk(_) => None,
            Self::Memory(..) => Some(StoreError::Unavailable.to_string()),
        }
    }

    /// Empties the cache, and the work too unless it is to be kept. Stores are emptied, not deleted: a deletion would wait for other tabs.
    pub async fn wipe(&self, keep_work: bool) {
        let areas = Namespace::ALL.into_iter().filter(|area| !(keep_work && area.is_user_data()));
        let _ = self.write(&areas.map(Write::Clear).collect::<Vec<_>>(), None).await;
    }
}

impl Store for DeviceStore {
    async fn read(&self, area: Namespace, which: KeySelector<'_>) -> Result<Vec<KeyValue>, StoreError> {
        match self {
            Self::Disk(disk) => disk.read(area, which).await,
            Self::Memory(memory, _) => memory.read(area, which).await,
        }
    }

    async fn keys(&self, area: Namespace, prefix: &str) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Disk(disk) => disk.names(area, prefix).await,
            Self::Memory(memory, _) => memory.keys(area, prefix).await,
        }
    }

    async fn write(&self, writes: &[Write], term: Option<u64>) -> Result<(), StoreError> {
        match self {
            Self::Disk(disk) => disk.write(writes, term).await,
            Self::Memory(memory, _) => memory.write(writes, term).await,
        }
    }
}

impl IndexedDbStore {
    fn database(&self, area: Namespace) -> &Rexie {
        if area.is_user_data() { &self.work } else { &self.cache }
    }

    /// A transaction that reads one area.
    fn read_transaction(&self, area: Namespace) -> Result<(Transaction, Objects), StoreError> {
        let transaction =
            self.database(area).transaction(&[area.name()], TransactionMode::ReadOnly).map_err(store_error)?;
        let objects = transaction.store(area.name()).map_err(store_error)?;
        Ok((transaction, objects))
    }

    async fn read(&self, area: Namespace, which: KeySelector<'_>) -> Result<Vec<KeyValue>, StoreError> {
        let (_transaction, objects) = self.read_transaction(area)?;
        if let KeySelector::Names(names) = which {
            let mut names = sort::sorted(names.to_vec(), |a, b| a.cmp(b));
            names.dedup();
            // All at once: the browser works on one while the next is on its way.
            let mut requests: Vec<BoxedRequest<'_, Option<JsValue>>> =
                names.iter().map(|name| -> BoxedRequest<'_, _> { Box::pin(objects.get(key(name))) }).collect();
            let mut answers: Vec<_> = requests.iter_mut().map(|request| request.now_or_never()).collect();
            let mut found = Vec::with_capacity(names.len());
            for ((name, request), answer) in names.iter().zip(&mut requests).zip(&mut answers) {
                let value = match answer.take() {
                    Some(value) => value,
                    None => request.await,
                };
                found.extend(value.map_err(store_error)?.map(|value| (name.clone(), bytes(&value))));
            }
            return Ok(found);
        }
        let range = || prefix_range(if let KeySelector::Prefix(prefix) = which { prefix } else { "" });
        // Both are in order of keys.
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

    async fn names(&self, area: Namespace, prefix: &str) -> Result<Vec<String>, StoreError> {
        let (_transaction, objects) = self.read_transaction(area)?;
        let names = objects.get_all_keys(prefix_range(prefix)?, None).await.map_err(store_error)?;
        Ok(names.iter().filter_map(JsValue::as_string).collect())
    }

    async fn write(&self, writes: &[Write], term: Option<u64>) -> Result<(), StoreError> {
        // Work first: what a person typed must not wait for a cache.
        for work in [true, false] {
            let part = || writes.iter().filter(|write| write.area().is_user_data() == work);
            let term = term.filter(|_| part().any(Write::requires_leadership));
            let terms = if work { Namespace::Outbox } else { Namespace::Metadata };
            let needed =
                |area: &Namespace| part().any(|write| write.area() == *area) || (term.is_some() && *area == terms);
            let areas: Vec<Namespace> = Namespace::ALL.into_iter().filter(needed).collect();
            let Some(first) = areas.first() else { continue };
            let names: Vec<&str> = areas.iter().map(|area| area.name()).collect();
            let transaction =
                self.database(*first).transaction(&names, TransactionMode::ReadWrite).map_err(store_error)?;
            let mut leads = true;
            if let Some(term) = term {
                let kept = transaction
                    .store(terms.name())
                    .map_err(store_error)?
                    .get(key(LEADER_TERM_KEY))
                    .await
                    .map_err(store_error)?;
                leads = kept.and_then(|kept| store::json::<u64>(&bytes(&kept))).is_some_and(|held| held <= term);
            }
            let (cleared, last) = coalesce_writes(part().filter(|write| leads || !write.requires_leadership()));
            for area in cleared {
                let objects = transaction.store(area.name()).map_err(store_error)?;
                objects.clear().await.map_err(store_error)?;
                if let Some(term) = term.filter(|_| area == terms) {
                    let term = value(area, term.to_string().as_bytes());
                    objects.put(&term, Some(&key(LEADER_TERM_KEY))).await.map_err(store_error)?;
                }
            }
            let stores: Vec<Objects> =
                names.iter().map(|name| transaction.store(name)).collect::<Result<_, _>>().map_err(store_error)?;
            let store = |area: Namespace| areas.iter().position(|a| *a == area).and_then(|at| stores.get(at));
            // All requests at once, each name once: the browser need not be waited for between them, and says at the end whether all went well.
            let mut requests: Vec<BoxedRequest<'_, ()>> = Vec::with_capacity(last.len());
            for write in last {
                let Some(objects) = store(write.area()) else { continue };
                let mut request: BoxedRequest<'_, ()> = match write {
                    Write::Put(area, name, bytes) | Write::PutFenced(area, name, bytes) => {
                        Box::pin(async move { objects.put(&value(*area, bytes), Some(&key(name))).await.map(drop) })
                    }
                    Write::Remove(_, name) => Box::pin(objects.delete(key(name))),
                    Write::Clear(_) => continue,
                };
                if let Some(refused) = (&mut request).now_or_never() {
                    refused.map_err(store_error)?;
                }
                requests.push(request);
            }
            // Nothing follows them: the browser need not wait to see whether something does.
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
    async fn the_device_passes_the_suite() {
        let device = DeviceStore::open(Uuid::new_v4()).await;
        assert_eq!(device.error_message(), None);
        assert_eq!(pmo_sync::store::conformance::run(&device).await, Ok(()));
    }

    #[wasm_bindgen_test]
    async fn signing_out_can_keep_the_work_and_never_the_cache() {
        let person = Uuid::new_v4();
        let device = DeviceStore::open(person).await;
        let put = |area: Namespace, text: &str| Write::Put(area, "a".into(), text.as_bytes().to_vec());
        device
            .write(
                &[put(Namespace::Drafts, "typed"), put(Namespace::Entities, "fetched"), put(Namespace::Metadata, "1")],
                None,
            )
            .await
            .unwrap();
        device.wipe(true).await;
        let again = DeviceStore::open(person).await;
        assert_eq!(
            again.read(Namespace::Drafts, KeySelector::All).await.unwrap(),
            [("a".to_owned(), b"typed".to_vec())]
        );
        assert_eq!(again.read(Namespace::Entities, KeySelector::All).await.unwrap(), []);
        device.wipe(false).await;
        assert_eq!(load(&device).await.unwrap(), PersistedState::default());
    }

    #[wasm_bindgen_test]
    async fn work_is_text_that_an_earlier_build_can_read() {
        let person = Uuid::new_v4();
        let device = DeviceStore::open(person).await;
        device.write(&[Write::Put(Namespace::Outbox, "1".into(), b"{}".to_vec())], None).await.unwrap();
        let DeviceStore::Disk(disk) = &device else { panic!("the browser has a database") };
        let transaction = disk.work.transaction(&["outbox"], TransactionMode::ReadOnly).unwrap();
        let kept = transaction.store("outbox").unwrap().get(key("1")).await.unwrap().unwrap();
        assert_eq!(kept.as_string().as_deref(), Some("{}"));
    }
}
