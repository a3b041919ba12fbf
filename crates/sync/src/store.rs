//! Contract of the device's key-value store: five namespaces of keys and bytes, written atomically.
//!
//! The values of the user data namespaces are UTF-8 text. [`crate::engine`] defines the formats.
//!
//! Must not: interpret the values in an implementation of [`Store`].

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

/// Conformance suite for [`Store`], run on each implementation, natively and in the browser.
pub mod conformance {
    use super::*;
    use crate::outbox::{Operation, WriteIds};
    use pmo_domain::{EntityCode, EntityRef};
    use uuid::Uuid;

    fn put(namespace: Namespace, key: &str, bytes: &[u8]) -> Write {
        Write::Put(namespace, key.to_owned(), bytes.to_vec())
    }

    fn key_value(key: &str, bytes: &[u8]) -> KeyValue {
        (key.to_owned(), bytes.to_vec())
    }

    /// Runs the suite on an empty store and returns the first expectation that is not met.
    pub async fn run(store: &impl Store) -> Result<(), String> {
        let message = |e: StoreError| e.to_string();
        let expect = |ok: bool, expectation: &str| if ok { Ok(()) } else { Err(expectation.to_owned()) };
        expect(load(store).await.map_err(message)? == PersistedState::default(), "an empty store has no state")?;

        // Values are returned unchanged, in ascending order of keys, independent of the order of
        // writing. Values of user data are UTF-8 text; values of the cache are arbitrary bytes.
        let all_bytes: Vec<u8> = (0..=255).collect();
        let text = "{\"ä\": \"\u{1F600}\\n\"}".as_bytes().to_vec();
        let large: Vec<u8> = (0..3_000_000u32).map(|n| ((n * 31) >> 3) as u8).collect();
        for namespace in Namespace::ALL {
            let value = if namespace.is_user_data() { text.clone() } else { all_bytes.clone() };
            store
                .write(&[put(namespace, "b", &value), put(namespace, "a", &[]), put(namespace, "c", b"{}")], None)
                .await
                .map_err(message)?;
            let found = store.read(namespace, KeySelector::All).await.map_err(message)?;
            expect(
                found == [key_value("a", &[]), key_value("b", &value), key_value("c", b"{}")],
                "values are returned unchanged, in order of keys",
            )?;
        }
        store.write(&[put(Namespace::Entities, "large", &large)], None).await.map_err(message)?;
        let found = store.read(Namespace::Entities, KeySelector::Keys(&["large".into()])).await.map_err(message)?;
        expect(found == [("large".to_owned(), large)], "a large value is returned unchanged")?;

        // Prefixes and lists of keys select a part of a namespace.
        let namespace = Namespace::Entities;
        store
            .write(
                &[
                    put(namespace, "row:1", b"1"),
                    put(namespace, "row:2", b"2"),
                    put(namespace, "rower", b"3"),
                    put(namespace, "chunk:1", b"4"),
                ],
                None,
            )
            .await
            .map_err(message)?;
        let found = store.read(namespace, KeySelector::Prefix("row:")).await.map_err(message)?;
        expect(
            found == [key_value("row:1", b"1"), key_value("row:2", b"2")],
            "a prefix selects the keys that start with it",
        )?;
        let keys = store.keys(namespace, "chunk:").await.map_err(message)?;
        expect(keys == ["chunk:1"], "keys can be listed without values")?;
        let requested = ["row:2".to_owned(), "nothing".to_owned(), "chunk:1".to_owned()];
        let found = store.read(namespace, KeySelector::Keys(&requested)).await.map_err(message)?;
        expect(found == [key_value("chunk:1", b"4"), key_value("row:2", b"2")], "missing keys are left out")?;

        // The last write of a key wins, also within one transaction; namespaces are independent.
        store
            .write(
                &[
                    put(namespace, "row:1", b"new"),
                    Write::Remove(namespace, "row:2".into()),
                    put(namespace, "row:3", b"x"),
                    Write::Remove(namespace, "row:3".into()),
                ],
                None,
            )
            .await
            .map_err(message)?;
        let found = store.read(namespace, KeySelector::Prefix("row:")).await.map_err(message)?;
        expect(found == [key_value("row:1", b"new")], "the last write of a key wins")?;
        store.write(&[Write::Clear(namespace), put(namespace, "after", b"1")], None).await.map_err(message)?;
        let found = store.read(namespace, KeySelector::All).await.map_err(message)?;
        expect(found == [key_value("after", b"1")], "writes after a clear are stored")?;
        expect(
            store.read(Namespace::Lists, KeySelector::All).await.map_err(message)?.len() == 3,
            "clearing leaves other namespaces unchanged",
        )?;

        // User data is parsed and returned in order; values that cannot be parsed are skipped.
        let code = EntityCode::new("task").map_err(|e| e.to_string())?;
        let entity = EntityRef::new(code, Uuid::from_u128(1));
        let draft = Draft::new(entity.clone(), 3, UnixMillis::new(5));
        let entry = |n: u128| {
            let operation = Operation::Delete { base_version: 1 };
            let ids = WriteIds { entry: Uuid::from_u128(n), idempotency_key: Uuid::from_u128(n + 100) };
            OutboxEntry::new(ids, entity.clone(), operation)
        };
        fn to_json_bytes(value: &impl serde::Serialize) -> Vec<u8> {
            serde_json::to_vec(value).unwrap_or_default()
        }
        store
            .write(
                &[
                    Write::Clear(Namespace::Drafts),
                    Write::Clear(Namespace::Outbox),
                    put(Namespace::Drafts, "task:1", &to_json_bytes(&draft)),
                    put(Namespace::Drafts, "task:2", b"{broken"),
                    put(Namespace::Outbox, &entry(2).id.to_string(), &to_json_bytes(&entry(2))),
                    put(Namespace::Outbox, &entry(1).id.to_string(), &to_json_bytes(&entry(1))),
                ],
                None,
            )
            .await
            .map_err(message)?;
        let stored = load(store).await.map_err(message)?;
        expect(stored.drafts == [draft], "drafts are read and invalid ones skipped")?;
        expect(stored.outbox.iter().map(|e| e.id.as_u128()).eq([1, 2]), "the outbox is read in order")?;

        // A tab whose term has ended can write user input only.
        let (first, second) =
            (increment_term(store, UnixMillis::new(5)).await, increment_term(store, UnixMillis::new(5)).await);
        expect((first, second, current_term(store).await) == (5, 6, 6), "each term is later than the previous one")?;
        let fenced = Write::PutFenced(Namespace::Outbox, "late".into(), b"1".to_vec());
        let late = [put(Namespace::Lists, "late", b"1"), put(Namespace::Drafts, "late", b"1"), fenced.clone()];
        store.write(&late, Some(first)).await.map_err(message)?;
        expect(
            store.keys(Namespace::Lists, "late").await.map_err(message)?.is_empty(),
            "a former leader cannot write the cache",
        )?;
        expect(
            store.keys(Namespace::Drafts, "late").await.map_err(message)?.len() == 1,
            "any tab can write user input",
        )?;
        expect(
            store.keys(Namespace::Outbox, "late").await.map_err(message)?.is_empty(),
            "a former leader cannot change outbox entries",
        )?;
        store.write(&[fenced], Some(second)).await.map_err(message)?;
        expect(
            store.keys(Namespace::Outbox, "late").await.map_err(message)?.len() == 1,
            "the leader can change outbox entries",
        )?;
        store
            .write(&[Write::Clear(Namespace::Metadata), put(Namespace::Lists, "late", b"2")], Some(second))
            .await
            .map_err(message)?;
        expect(
            store.keys(Namespace::Lists, "late").await.map_err(message)?.len() == 1,
            "the leader can write the cache",
        )?;
        expect(current_term(store).await == second, "the term survives clearing the cache")?;

        store.write(&Namespace::ALL.map(Write::Clear), None).await.map_err(message)?;
        expect(load(store).await.map_err(message)? == PersistedState::default(), "a cleared store has no state")
    }
}
