//! Contract of the device's key-value store: five namespaces of keys and bytes, written atomically.
//!
//! The values of the user data namespaces are UTF-8 text; `cache_records.rs` defines the formats of
//! the others.
//!
//! Must not: interpret the values in an implementation of [`Store`].

pub mod conformance; // suite that each implementation must pass

use crate::draft::Draft;
use crate::outbox::OutboxEntry;
use pmo_domain::{UnixMillis, sort};
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Namespace of keys.
///
/// The first three are the cache, which may be dropped at any time; the last two are user data,
/// which may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// Rows: packed chunks and the delta log of later changes.
    Entities,
    /// Ids of the rows of each list, in order.
    Lists,
    /// Reference data, display names, pinned trees and the position in the feed.
    Metadata,
    /// Drafts: edits that the user has not committed.
    Drafts,
    /// Outbox: writes that the server has not confirmed.
    Outbox,
}

impl Namespace {
    /// All namespaces.
    pub const ALL: [Self; 5] = [Self::Entities, Self::Lists, Self::Metadata, Self::Drafts, Self::Outbox];
    /// Namespaces of the cache, which may be dropped.
    pub const CACHE: [Self; 3] = [Self::Entities, Self::Lists, Self::Metadata];

    /// Returns the name of the object store in the device's database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Entities => "entities",
            Self::Lists => "entityLists",
            Self::Metadata => "metadata",
            Self::Drafts => "drafts",
            Self::Outbox => "outbox",
        }
    }

    /// Returns whether the namespace holds user input, which must not be lost.
    pub fn is_user_data(self) -> bool {
        matches!(self, Self::Drafts | Self::Outbox)
    }
}

/// Write to the device.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Sets the value of a key.
    Put(Namespace, String, Vec<u8>),
    /// Sets the value of a key if the writing tab is still the leader (fencing).
    ///
    /// Used for state changes of outbox entries: a former leader would restore completed entries.
    PutFenced(Namespace, String, Vec<u8>),
    /// Removes a key.
    Remove(Namespace, String),
    /// Removes all keys of a namespace.
    Clear(Namespace),
}

impl Write {
    /// Returns the namespace that is written.
    pub fn namespace(&self) -> Namespace {
        match self {
            Self::Put(namespace, ..)
            | Self::PutFenced(namespace, ..)
            | Self::Remove(namespace, _)
            | Self::Clear(namespace) => *namespace,
        }
    }

    /// Returns whether only the leader may do the write.
    ///
    /// This holds for all writes to the cache, for state changes of outbox entries and for their
    /// removal. User input is written by the tab that received it.
    pub fn requires_leadership(&self) -> bool {
        !self.namespace().is_user_data() || matches!(self, Self::PutFenced(..) | Self::Remove(Namespace::Outbox, _))
    }
}

/// Reduces writes to the namespaces to clear first and then the last write of each key.
pub fn coalesce_writes<'a>(writes: impl IntoIterator<Item = &'a Write>) -> (Vec<Namespace>, Vec<&'a Write>) {
    let (mut cleared, mut last): (BTreeSet<Namespace>, BTreeMap<(Namespace, &str), &Write>) = Default::default();
    for write in writes {
        match write {
            Write::Put(namespace, key, _) | Write::PutFenced(namespace, key, _) | Write::Remove(namespace, key) => {
                last.insert((*namespace, key), write);
            }
            Write::Clear(namespace) => {
                cleared.insert(*namespace);
                last.retain(|(other, _), _| other != namespace);
            }
        }
    }
    (cleared.into_iter().collect(), last.into_values().collect())
}

/// Key and value.
pub type KeyValue = (String, Vec<u8>);

/// Selection of keys of a namespace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeySelector<'a> {
    /// All keys.
    All,
    /// Keys with this prefix.
    Prefix(&'a str),
    /// Exactly these keys.
    Keys(&'a [String]),
}

/// Reason why a store operation failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The browser provides no database, or has closed it.
    #[error("local storage is not available in this browser")]
    Unavailable,
    /// The storage quota is exhausted.
    #[error("local storage is full")]
    QuotaExceeded,
    /// Any other error, with the message of the browser.
    #[error("local storage error: {0}")]
    Failed(String),
}

/// Key-value store of one user on the device.
///
/// Implementations must pass the suite in [`conformance`].
#[allow(async_fn_in_trait)] // no `Send` bound needed: single-threaded in the browser and in tests
pub trait Store {
    /// Returns the selected keys that exist with their values, in ascending order of keys.
    async fn read(&self, namespace: Namespace, selector: KeySelector<'_>) -> Result<Vec<KeyValue>, StoreError>;
    /// Returns the keys with a prefix, in ascending order.
    async fn keys(&self, namespace: Namespace, prefix: &str) -> Result<Vec<String>, StoreError>;
    /// Applies `writes` in order and returns when they are on disk.
    ///
    /// Atomic for the cache and atomic for the user data, but not across both.
    ///
    /// With a `term`, the writes that require leadership are applied only if the device holds this
    /// term or an earlier one. They are skipped if another tab has started a later term or if the
    /// device was cleared since; the check is part of the same transaction. The stored term
    /// survives clearing its namespace.
    async fn write(&self, writes: &[Write], term: Option<u64>) -> Result<(), StoreError>;
}

/// Key of the leader's term.
pub const LEADER_TERM_KEY: &str = "term";
/// Namespaces that hold the term: one of the cache and one of the user data.
///
/// The two may be in separate databases, and each needs the term in its own transaction.
pub const TERM_NAMESPACES: [Namespace; 2] = [Namespace::Metadata, Namespace::Outbox];

/// Returns the term stored on the device; 0 if there is none.
pub async fn current_term(store: &impl Store) -> u64 {
    let stored =
        store.read(Namespace::Outbox, KeySelector::Keys(&[LEADER_TERM_KEY.to_owned()])).await.unwrap_or_default();
    stored.first().and_then(|(_, bytes)| parse_json(bytes)).unwrap_or_default()
}

/// Starts and stores a new term that is later than all earlier ones.
///
/// `now`, in milliseconds, is the lower bound of the term, so that it is later even if
/// the device was cleared.
pub async fn increment_term(store: &impl Store, now: UnixMillis) -> u64 {
    let term = (current_term(store).await + 1).max(u64::try_from(now.get()).unwrap_or(0));
    let put_term =
        TERM_NAMESPACES.map(|namespace| Write::Put(namespace, LEADER_TERM_KEY.into(), term.to_string().into_bytes()));
    if store.write(&put_term, None).await.is_err() {
        // Most likely the quota is exhausted: clear the cache and try again. If that fails too, the
        // device cannot store anything, and the next write reports the error.
        let writes: Vec<Write> = Namespace::CACHE.map(Write::Clear).into_iter().chain(put_term).collect();
        let _ = store.write(&writes, None).await;
    }
    term
}

/// State read from the device when the engine starts; chunks are read later, on demand.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PersistedState {
    /// Delta log: rows changed after their chunks were written.
    pub log: Vec<KeyValue>,
    /// Keys of all chunks.
    pub chunks: Vec<String>,
    /// Entries of [`Namespace::Lists`].
    pub lists: Vec<KeyValue>,
    /// Entries of [`Namespace::Metadata`].
    pub metadata: Vec<KeyValue>,
    /// Drafts, including the empty ones that mark an ended draft.
    pub drafts: Vec<Draft>,
    /// Outbox entries in the order of creation.
    pub outbox: Vec<OutboxEntry>,
}

/// Key prefix of chunks, followed by the chunk number.
pub const CHUNK_PREFIX: &str = "chunk:";
/// Key prefix of the rows of the delta log, followed by the id of the entity.
pub const ROW_PREFIX: &str = "row:";

/// Parses stored JSON; `None` if it is invalid.
///
/// Goes through `&str` like all other parsing: a second reader would instantiate `serde_json` once
/// more for each type and add to the download.
pub fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_str(std::str::from_utf8(bytes).ok()?).ok()
}

/// Reads the state with which the engine starts.
pub async fn load(store: &impl Store) -> Result<PersistedState, StoreError> {
    Ok(PersistedState {
        log: store.read(Namespace::Entities, KeySelector::Prefix(ROW_PREFIX)).await?,
        chunks: store.keys(Namespace::Entities, CHUNK_PREFIX).await?,
        lists: store.read(Namespace::Lists, KeySelector::All).await?,
        metadata: store.read(Namespace::Metadata, KeySelector::All).await?,
        drafts: load_drafts(store).await?,
        outbox: load_outbox(store).await?,
    })
}

/// Reads the outbox in the order of creation: keys are ids that sort by time.
///
/// Entries that cannot be parsed are skipped.
pub async fn load_outbox(store: &impl Store) -> Result<Vec<OutboxEntry>, StoreError> {
    let stored = store.read(Namespace::Outbox, KeySelector::All).await?;
    Ok(stored.iter().filter_map(|(_, bytes)| parse_json(bytes)).collect())
}

/// Reads the drafts; those that cannot be parsed are skipped.
pub async fn load_drafts(store: &impl Store) -> Result<Vec<Draft>, StoreError> {
    let stored = store.read(Namespace::Drafts, KeySelector::All).await?;
    Ok(stored.iter().filter_map(|(_, bytes)| parse_json(bytes)).collect())
}

/// Store in memory, for tests and for browsers without a database.
#[derive(Clone, Default)]
pub struct MemoryStore {
    data: RefCell<BTreeMap<Namespace, BTreeMap<String, Vec<u8>>>>,
}

impl MemoryStore {
    /// Returns all entries of a namespace, for tests that check the stored bytes.
    pub fn contents(&self, namespace: Namespace) -> BTreeMap<String, Vec<u8>> {
        self.data.borrow().get(&namespace).cloned().unwrap_or_default()
    }

    /// Applies writes synchronously, without a check of the term; otherwise as [`Store::write`].
    pub fn write_now(&self, writes: &[Write]) {
        let mut data = self.data.borrow_mut();
        for write in writes {
            let entries = data.entry(write.namespace()).or_default();
            match write {
                Write::Put(_, key, bytes) | Write::PutFenced(_, key, bytes) => {
                    entries.insert(key.clone(), bytes.clone());
                }
                Write::Remove(_, key) => drop(entries.remove(key)),
                Write::Clear(_) => entries.clear(),
            }
        }
    }

    /// Reads entries synchronously; otherwise as [`Store::read`].
    pub fn read_now(&self, namespace: Namespace, selector: KeySelector<'_>) -> Vec<KeyValue> {
        let data = self.data.borrow();
        let Some(entries) = data.get(&namespace) else { return Vec::new() };
        let to_owned = |(key, bytes): (&String, &Vec<u8>)| (key.clone(), bytes.clone());
        match selector {
            KeySelector::All => entries.iter().map(to_owned).collect(),
            KeySelector::Prefix(prefix) => entries
                .range(prefix.to_owned()..)
                .take_while(|(key, _)| key.starts_with(prefix))
                .map(to_owned)
                .collect(),
            KeySelector::Keys(keys) => {
                let found: Vec<KeyValue> = keys.iter().filter_map(|k| entries.get_key_value(k)).map(to_owned).collect();
                sort::sorted(found, |a, b| a.0.cmp(&b.0))
            }
        }
    }
}

impl Store for MemoryStore {
    async fn read(&self, namespace: Namespace, selector: KeySelector<'_>) -> Result<Vec<KeyValue>, StoreError> {
        Ok(self.read_now(namespace, selector))
    }

    async fn keys(&self, namespace: Namespace, prefix: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.read_now(namespace, KeySelector::Prefix(prefix)).into_iter().map(|(key, _)| key).collect())
    }

    async fn write(&self, writes: &[Write], term: Option<u64>) -> Result<(), StoreError> {
        let stored_terms = TERM_NAMESPACES
            .map(|namespace| (namespace, self.read_now(namespace, KeySelector::Keys(&[LEADER_TERM_KEY.to_owned()]))));
        let stored_term = stored_terms[1].1.first().and_then(|(_, bytes)| parse_json::<u64>(bytes));
        let is_leader = term.is_none_or(|term| stored_term.is_some_and(|stored| stored <= term));
        self.write_now(
            &writes.iter().filter(|write| is_leader || !write.requires_leadership()).cloned().collect::<Vec<_>>(),
        );
        // The term survives a `Clear` of its namespace.
        for (namespace, entries) in stored_terms.into_iter().filter(|_| term.is_some() && is_leader) {
            self.write_now(
                &entries.into_iter().map(|(key, term)| Write::Put(namespace, key, term)).collect::<Vec<_>>(),
            );
        }
        Ok(())
    }
}
