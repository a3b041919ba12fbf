//! What is kept on the device, and the contract of those who keep it: five areas of named bytes, written all or nothing. Work is UTF-8 text. What the bytes mean is
//! decided in [`crate::engine`]; a store must never look into them.

use crate::draft::Draft;
use crate::outbox::OutboxEntry;
use pmo_domain::sort;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Where something is kept. The first three are the cache, which may be dropped at will; the last two are work, which may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// Rows: packed chunks, and live changes beside them.
    Entities,
    /// Lists.
    Lists,
    /// Reference data, names, where the feed stands.
    Metadata,
    /// Edits that are not sent yet.
    Drafts,
    /// Writes on their way.
    Outbox,
}

impl Namespace {
    /// All areas.
    pub const ALL: [Self; 5] = [Self::Entities, Self::Lists, Self::Metadata, Self::Drafts, Self::Outbox];
    /// Those that may be dropped.
    pub const CACHE: [Self; 3] = [Self::Entities, Self::Lists, Self::Metadata];

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Entities => "entities",
            Self::Lists => "entityLists",
            Self::Metadata => "metadata",
            Self::Drafts => "drafts",
            Self::Outbox => "outbox",
        }
    }

    /// Whether it holds what a person typed.
    pub fn is_user_data(self) -> bool {
        matches!(self, Self::Drafts | Self::Outbox)
    }
}

/// A write to the device.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// These bytes under this name.
    Put(Namespace, String, Vec<u8>),
    /// The same, by the tab that leads alone: what has come of an entry since. From a tab that leads no more it would bring back what is done.
    PutFenced(Namespace, String, Vec<u8>),
    /// Nothing under this name any more.
    Remove(Namespace, String),
    /// Nothing in this area any more.
    Clear(Namespace),
}

impl Write {
    /// Where.
    pub fn area(&self) -> Namespace {
        match self {
            Self::Put(area, ..) | Self::PutFenced(area, ..) | Self::Remove(area, _) | Self::Clear(area) => *area,
        }
    }

    /// Whether only the tab that leads may do it: everything in the cache, and what has come of an entry of the outbox. What a person types is written by
    /// whichever tab they typed it to.
    pub fn requires_leadership(&self) -> bool {
        !self.area().is_user_data() || matches!(self, Self::PutFenced(..) | Self::Remove(Namespace::Outbox, _))
    }
}

/// What is left to do of `writes` where only the last of each name counts: areas to be emptied first, then names, each once.
pub fn coalesce_writes<'a>(writes: impl IntoIterator<Item = &'a Write>) -> (Vec<Namespace>, Vec<&'a Write>) {
    let (mut cleared, mut last): (BTreeSet<Namespace>, BTreeMap<(Namespace, &str), &Write>) = Default::default();
    for write in writes {
        match write {
            Write::Put(area, name, _) | Write::PutFenced(area, name, _) | Write::Remove(area, name) => {
                last.insert((*area, name), write);
            }
            Write::Clear(area) => {
                cleared.insert(*area);
                last.retain(|(other, _), _| other != area);
            }
        }
    }
    (cleared.into_iter().collect(), last.into_values().collect())
}

/// Named bytes.
pub type KeyValue = (String, Vec<u8>);

/// What of an area to read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeySelector<'a> {
    /// All of it.
    All,
    /// Names that begin so.
    Prefix(&'a str),
    /// These names.
    Names(&'a [String]),
}

/// Why the device did not keep something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The browser gives no database, or took it away.
    #[error("this browser keeps no data for the app")]
    Unavailable,
    /// No room is left.
    #[error("the device has no room left")]
    QuotaExceeded,
    /// Anything else, in the browser's words.
    #[error("the device's database failed: {0}")]
    Failed(String),
}

/// Keeps one person's data on the device. Implementations pass the suite in [`conformance`].
#[allow(async_fn_in_trait)] // one thread, in the browser and in tests
pub trait Store {
    /// What is kept, in order of names; a name that is not there is left out.
    async fn read(&self, area: Namespace, which: KeySelector<'_>) -> Result<Vec<KeyValue>, StoreError>;
    /// The names that begin so, in order.
    async fn keys(&self, area: Namespace, prefix: &str) -> Result<Vec<String>, StoreError>;
    /// Does all of `writes`, in order, or none of those to the cache and none of those to the work; returns when they are on disk. With a term, what
    /// only the tab that leads may do is done only where no later term has begun on the device, nor everything been wiped since, which is looked at in
    /// the same transaction; a term outlives the clearing of its area.
    async fn write(&self, writes: &[Write], term: Option<u64>) -> Result<(), StoreError>;
}

/// The name under which the term of the tab that leads lies: for the cache and for the work, which may be two databases.
pub const LEADER_TERM_KEY: &str = "term";
/// Where it lies.
pub const TERM_AREAS: [Namespace; 2] = [Namespace::Metadata, Namespace::Outbox];

/// The term on the device; 0: none yet.
pub async fn current_term(store: &impl Store) -> u64 {
    let kept =
        store.read(Namespace::Outbox, KeySelector::Names(&[LEADER_TERM_KEY.to_owned()])).await.unwrap_or_default();
    kept.first().and_then(|(_, bytes)| json(bytes)).unwrap_or_default()
}

/// Begins a term, later than every other; `now` in milliseconds since 1970, so that it is so even where the device was wiped.
pub async fn increment_term(store: &impl Store, now: f64) -> u64 {
    let term = (current_term(store).await + 1).max(now as u64);
    let begin = TERM_AREAS.map(|area| Write::Put(area, LEADER_TERM_KEY.into(), term.to_string().into_bytes()));
    if store.write(&begin, None).await.is_err() {
        // No room, most likely: the cache makes some. Where that does not help either, nothing is kept on this device, and the first write of it says so.
        let writes: Vec<Write> = Namespace::CACHE.map(Write::Clear).into_iter().chain(begin).collect();
        let _ = store.write(&writes, None).await;
    }
    term
}

/// What a person's device holds when the app opens. Chunks are read when somebody needs them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PersistedState {
    /// Live changes beside the chunks.
    pub log: Vec<KeyValue>,
    /// The names of all chunks.
    pub chunks: Vec<String>,
    /// Lists.
    pub lists: Vec<KeyValue>,
    /// Reference data, names, where the feed stands.
    pub metadata: Vec<KeyValue>,
    /// Drafts.
    pub drafts: Vec<Draft>,
    /// Writes on their way, in order.
    pub outbox: Vec<OutboxEntry>,
}

/// Chunks are named so, with a number behind it.
pub const CHUNK_PREFIX: &str = "chunk:";
/// Live changes are named so, with the id behind it.
pub const ROW_PREFIX: &str = "row:";

/// Reads JSON that was kept. (By way of text, as everything else is read: a second reader would be written for the browser for each type.)
pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_str(std::str::from_utf8(bytes).ok()?).ok()
}

/// Reads what the engine starts with.
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

/// The outbox, in order: names are ids that sort by time. One entry that can't be read costs itself alone.
pub async fn load_outbox(store: &impl Store) -> Result<Vec<OutboxEntry>, StoreError> {
    let kept = store.read(Namespace::Outbox, KeySelector::All).await?;
    Ok(kept.iter().filter_map(|(_, bytes)| json(bytes)).collect())
}

/// The drafts.
pub async fn load_drafts(store: &impl Store) -> Result<Vec<Draft>, StoreError> {
    let kept = store.read(Namespace::Drafts, KeySelector::All).await?;
    Ok(kept.iter().filter_map(|(_, bytes)| json(bytes)).collect())
}

/// Keeps data in memory: for tests, and where the browser gives no database.
#[derive(Clone, Default)]
pub struct MemoryStore {
    kept: RefCell<BTreeMap<Namespace, BTreeMap<String, Vec<u8>>>>,
}

impl MemoryStore {
    /// Everything of an area, for tests that look at the bytes.
    pub fn area(&self, area: Namespace) -> BTreeMap<String, Vec<u8>> {
        self.kept.borrow().get(&area).cloned().unwrap_or_default()
    }

    /// As [`Store::write`], at once.
    pub fn write_now(&self, writes: &[Write]) {
        let mut kept = self.kept.borrow_mut();
        for write in writes {
            let area = kept.entry(write.area()).or_default();
            match write {
                Write::Put(_, name, bytes) | Write::PutFenced(_, name, bytes) => {
                    area.insert(name.clone(), bytes.clone());
                }
                Write::Remove(_, name) => drop(area.remove(name)),
                Write::Clear(_) => area.clear(),
            }
        }
    }

    /// As [`Store::read`], at once.
    pub fn read_now(&self, area: Namespace, which: KeySelector<'_>) -> Vec<KeyValue> {
        let kept = self.kept.borrow();
        let Some(area) = kept.get(&area) else { return Vec::new() };
        let pair = |(name, bytes): (&String, &Vec<u8>)| (name.clone(), bytes.clone());
        match which {
            KeySelector::All => area.iter().map(pair).collect(),
            KeySelector::Prefix(prefix) => {
                area.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix)).map(pair).collect()
            }
            KeySelector::Names(names) => {
                let found: Vec<KeyValue> = names.iter().filter_map(|n| area.get_key_value(n)).map(pair).collect();
                sort::sorted(found, |a, b| a.0.cmp(&b.0))
            }
        }
    }
}

impl Store for MemoryStore {
    async fn read(&self, area: Namespace, which: KeySelector<'_>) -> Result<Vec<KeyValue>, StoreError> {
        Ok(self.read_now(area, which))
    }

    async fn keys(&self, area: Namespace, prefix: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.read_now(area, KeySelector::Prefix(prefix)).into_iter().map(|(name, _)| name).collect())
    }

    async fn write(&self, writes: &[Write], term: Option<u64>) -> Result<(), StoreError> {
        let kept =
            TERM_AREAS.map(|area| (area, self.read_now(area, KeySelector::Names(&[LEADER_TERM_KEY.to_owned()]))));
        let held = kept[1].1.first().and_then(|(_, bytes)| json::<u64>(bytes));
        let leads = term.is_none_or(|term| held.is_some_and(|held| held <= term));
        self.write_now(
            &writes.iter().filter(|write| leads || !write.requires_leadership()).cloned().collect::<Vec<_>>(),
        );
        for (area, named) in kept.into_iter().filter(|_| term.is_some() && leads) {
            self.write_now(&named.into_iter().map(|(name, term)| Write::Put(area, name, term)).collect::<Vec<_>>());
        }
        Ok(())
    }
}

/// What every [`Store`] must do; run on each implementation, natively and in the browser.
pub mod conformance {
    use super::*;
    use crate::outbox::Operation;
    use pmo_domain::{EntityCode, EntityRef};
    use uuid::Uuid;

    fn put(area: Namespace, name: &str, bytes: &[u8]) -> Write {
        Write::Put(area, name.to_owned(), bytes.to_vec())
    }

    fn key_value(name: &str, bytes: &[u8]) -> KeyValue {
        (name.to_owned(), bytes.to_vec())
    }

    /// Runs the suite on a store that is empty; answers what did not hold.
    pub async fn run(store: &impl Store) -> Result<(), String> {
        let told = |e: StoreError| e.to_string();
        let expect = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        expect(load(store).await.map_err(told)? == PersistedState::default(), "an empty store holds nothing")?;

        // Every byte comes back, in order of names, whatever the order of writing.
        // Work is text, whatever letters it has; the cache is any bytes.
        let any: Vec<u8> = (0..=255).collect();
        let letters = "{\"ä\": \"\u{1F600}\\n\"}".as_bytes().to_vec();
        let large: Vec<u8> = (0..3_000_000u32).map(|n| ((n * 31) >> 3) as u8).collect();
        for area in Namespace::ALL {
            let all = if area.is_user_data() { letters.clone() } else { any.clone() };
            store
                .write(&[put(area, "b", &all), put(area, "a", &[]), put(area, "c", b"{}")], None)
                .await
                .map_err(told)?;
            let found = store.read(area, KeySelector::All).await.map_err(told)?;
            expect(
                found == [key_value("a", &[]), key_value("b", &all), key_value("c", b"{}")],
                "bytes come back in order of names",
            )?;
        }
        store.write(&[put(Namespace::Entities, "large", &large)], None).await.map_err(told)?;
        let found = store.read(Namespace::Entities, KeySelector::Names(&["large".into()])).await.map_err(told)?;
        expect(found == [("large".to_owned(), large)], "a large value comes back whole")?;

        // Parts of an area.
        let area = Namespace::Entities;
        store
            .write(
                &[
                    put(area, "row:1", b"1"),
                    put(area, "row:2", b"2"),
                    put(area, "rower", b"3"),
                    put(area, "chunk:1", b"4"),
                ],
                None,
            )
            .await
            .map_err(told)?;
        let found = store.read(area, KeySelector::Prefix("row:")).await.map_err(told)?;
        expect(found == [key_value("row:1", b"1"), key_value("row:2", b"2")], "a prefix finds what begins with it")?;
        let names = store.keys(area, "chunk:").await.map_err(told)?;
        expect(names == ["chunk:1"], "names alone can be asked for")?;
        let wanted = ["row:2".to_owned(), "nothing".to_owned(), "chunk:1".to_owned()];
        let found = store.read(area, KeySelector::Names(&wanted)).await.map_err(told)?;
        expect(found == [key_value("chunk:1", b"4"), key_value("row:2", b"2")], "what is not there is left out")?;

        // The last write of a name stands, also within one transaction; areas do not touch each other.
        store
            .write(
                &[
                    put(area, "row:1", b"new"),
                    Write::Remove(area, "row:2".into()),
                    put(area, "row:3", b"x"),
                    Write::Remove(area, "row:3".into()),
                ],
                None,
            )
            .await
            .map_err(told)?;
        let found = store.read(area, KeySelector::Prefix("row:")).await.map_err(told)?;
        expect(found == [key_value("row:1", b"new")], "the last write stands")?;
        store.write(&[Write::Clear(area), put(area, "after", b"1")], None).await.map_err(told)?;
        let found = store.read(area, KeySelector::All).await.map_err(told)?;
        expect(found == [key_value("after", b"1")], "an area is emptied, and what comes after stays")?;
        expect(
            store.read(Namespace::Lists, KeySelector::All).await.map_err(told)?.len() == 3,
            "another area is not touched",
        )?;

        // Work is read as what it is, in order; what can't be read costs itself alone.
        let code = EntityCode::new("task").map_err(|e| e.to_string())?;
        let entity = EntityRef::new(code, Uuid::from_u128(1));
        let draft = Draft::new(entity.clone(), 3, 5.0);
        let entry = |n: u128| {
            let operation = Operation::Delete { base_version: 1 };
            OutboxEntry::new([Uuid::from_u128(n), Uuid::from_u128(n + 100)], entity.clone(), operation)
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
            .map_err(told)?;
        let stored = load(store).await.map_err(told)?;
        expect(stored.drafts == [draft], "a draft comes back, and a broken one is left out")?;
        expect(stored.outbox.iter().map(|e| e.id.as_u128()).eq([1, 2]), "the outbox comes back in order")?;

        // Of a tab whose term is over only what a person typed gets there.
        let (first, second) = (increment_term(store, 5.0).await, increment_term(store, 5.0).await);
        expect((first, second, current_term(store).await) == (5, 6, 6), "each term is later than the one before")?;
        let rewrite = Write::PutFenced(Namespace::Outbox, "late".into(), b"1".to_vec());
        let late = [put(Namespace::Lists, "late", b"1"), put(Namespace::Drafts, "late", b"1"), rewrite.clone()];
        store.write(&late, Some(first)).await.map_err(told)?;
        expect(
            store.keys(Namespace::Lists, "late").await.map_err(told)?.is_empty(),
            "the cache is the leader's alone",
        )?;
        expect(store.keys(Namespace::Drafts, "late").await.map_err(told)?.len() == 1, "what is typed is anybody's")?;
        expect(
            store.keys(Namespace::Outbox, "late").await.map_err(told)?.is_empty(),
            "what comes of it is the leader's",
        )?;
        store.write(&[rewrite], Some(second)).await.map_err(told)?;
        expect(store.keys(Namespace::Outbox, "late").await.map_err(told)?.len() == 1, "who writes it")?;
        store
            .write(&[Write::Clear(Namespace::Metadata), put(Namespace::Lists, "late", b"2")], Some(second))
            .await
            .map_err(told)?;
        expect(store.keys(Namespace::Lists, "late").await.map_err(told)?.len() == 1, "the leader writes")?;
        expect(current_term(store).await == second, "and leads on after it has emptied the cache")?;

        store.write(&Namespace::ALL.map(Write::Clear), None).await.map_err(told)?;
        expect(load(store).await.map_err(told)? == PersistedState::default(), "a cleared store holds nothing")
    }
}
