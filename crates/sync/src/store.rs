//! What is kept on the device, and the contract of those who keep it. Rows come in packed chunks, one list's rows at a time; live
//! changes go to a log beside them, and the later of the two counts.

use crate::draft::Draft;
use crate::key::{ListKey, MetaKey};
use crate::outbox::Entry;
use pmo_domain::{EntityRef, Row};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Rows of one chunk.
pub const CHUNK_ROWS: usize = 500;

/// One row on the device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredRow {
    /// The thing.
    pub entity: EntityRef,
    /// Its columns; none: it is gone.
    pub data: Option<Row>,
    /// Milliseconds since 1970 when the server said so.
    pub synced_at: f64,
}

/// One list on the device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredList {
    /// Which.
    pub key: ListKey,
    /// Its rows, in the server's order.
    pub ids: Vec<Uuid>,
    /// Milliseconds since 1970 when the server said so.
    pub synced_at: f64,
}

/// Reference data on the device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredMeta {
    /// Which.
    pub key: MetaKey,
    /// As the server answered.
    pub data: Value,
    /// Milliseconds since 1970.
    pub synced_at: f64,
}

/// Where the feed was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCursor {
    /// The epoch of HELLO.
    pub epoch: String,
    /// The last cursor.
    pub cursor: String,
}

/// Everything of one person on the device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// Rows; where one is here twice the later `synced_at` counts.
    pub rows: Vec<StoredRow>,
    /// Lists.
    pub lists: Vec<StoredList>,
    /// Reference data.
    pub metas: Vec<StoredMeta>,
    /// Names of things by type and id.
    pub names: BTreeMap<String, BTreeMap<Uuid, String>>,
    /// Drafts.
    pub drafts: Vec<Draft>,
    /// Writes on their way, in order.
    pub outbox: Vec<Entry>,
    /// Where the feed was left.
    pub cursor: Option<StoredCursor>,
}

/// A write to the device.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreOp {
    /// A list and all its rows, packed; replaces what the list had and the log entries of its rows.
    PutList(StoredList, Vec<StoredRow>),
    /// A list's ids alone.
    PutListIds(StoredList),
    /// No list any more, nor its rows.
    RemoveList(ListKey),
    /// One row, or that it is gone.
    PutRow(StoredRow),
    /// Reference data.
    PutMeta(StoredMeta),
    /// Names learnt.
    PutNames(BTreeMap<String, BTreeMap<Uuid, String>>),
    /// Names that this person may not read any more.
    RemoveNames(BTreeMap<String, BTreeSet<Uuid>>),
    /// A draft.
    PutDraft(Box<Draft>),
    /// No draft any more.
    RemoveDraft(EntityRef),
    /// A write on its way.
    PutEntry(Box<Entry>),
    /// A write that is done.
    RemoveEntry(Uuid),
    /// Where the feed stands.
    PutCursor(StoredCursor),
    /// Everything of this person.
    Clear,
}

/// Why the device did not keep something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The browser gives no database, or took it away.
    #[error("this browser keeps no data for the app")]
    Unavailable,
    /// No room is left.
    #[error("the device has no room left")]
    Full,
    /// Anything else, in the browser's words.
    #[error("the device's database failed: {0}")]
    Failed(String),
}

/// Keeps one person's data on the device. Implementations pass the suite in [`conformance`].
#[allow(async_fn_in_trait)] // one thread, in the browser and in tests
pub trait Store {
    /// Everything that is kept.
    async fn load(&self) -> Result<Stored, StoreError>;
    /// The outbox alone, in order.
    async fn load_outbox(&self) -> Result<Vec<Entry>, StoreError>;
    /// The drafts alone.
    async fn load_drafts(&self) -> Result<Vec<Draft>, StoreError>;
    /// Does all of `ops` or none; returns when they are on disk.
    async fn apply(&self, ops: &[StoreOp]) -> Result<(), StoreError>;
}

/// Keeps data in memory: for tests, and where the browser gives no database.
#[derive(Default)]
pub struct MemoryStore {
    kept: RefCell<Kept>,
}

#[derive(Default)]
struct Kept {
    lists: BTreeMap<ListKey, (StoredList, Vec<StoredRow>)>,
    log: BTreeMap<EntityRef, StoredRow>,
    metas: BTreeMap<MetaKey, StoredMeta>,
    names: BTreeMap<String, BTreeMap<Uuid, String>>,
    drafts: BTreeMap<EntityRef, Draft>,
    outbox: BTreeMap<Uuid, Entry>,
    cursor: Option<StoredCursor>,
}

impl Store for MemoryStore {
    async fn load(&self) -> Result<Stored, StoreError> {
        let kept = self.kept.borrow();
        Ok(Stored {
            rows: kept.lists.values().flat_map(|(_, rows)| rows.clone()).chain(kept.log.values().cloned()).collect(),
            lists: kept.lists.values().map(|(list, _)| list.clone()).collect(),
            metas: kept.metas.values().cloned().collect(),
            names: kept.names.clone(),
            drafts: kept.drafts.values().cloned().collect(),
            outbox: kept.outbox.values().cloned().collect(),
            cursor: kept.cursor.clone(),
        })
    }

    async fn load_outbox(&self) -> Result<Vec<Entry>, StoreError> {
        Ok(self.kept.borrow().outbox.values().cloned().collect())
    }

    async fn load_drafts(&self) -> Result<Vec<Draft>, StoreError> {
        Ok(self.kept.borrow().drafts.values().cloned().collect())
    }

    async fn apply(&self, ops: &[StoreOp]) -> Result<(), StoreError> {
        let kept = &mut *self.kept.borrow_mut();
        for op in ops {
            match op {
                StoreOp::PutList(list, rows) => {
                    for row in rows {
                        kept.log.remove(&row.entity);
                    }
                    kept.lists.insert(list.key.clone(), (list.clone(), rows.clone()));
                }
                StoreOp::PutListIds(list) => {
                    kept.lists.entry(list.key.clone()).or_insert_with(|| (list.clone(), Vec::new())).0 = list.clone();
                }
                StoreOp::PutRow(row) => {
                    kept.log.insert(row.entity.clone(), row.clone());
                }
                StoreOp::PutMeta(meta) => {
                    kept.metas.insert(meta.key, meta.clone());
                }
                StoreOp::PutNames(names) => {
                    for (code, known) in names {
                        kept.names.entry(code.clone()).or_default().extend(known.clone());
                    }
                }
                StoreOp::RemoveList(key) => {
                    kept.lists.remove(key);
                }
                StoreOp::RemoveNames(gone) => {
                    for (code, ids) in gone {
                        if let Some(known) = kept.names.get_mut(code) {
                            known.retain(|id, _| !ids.contains(id));
                        }
                    }
                }
                StoreOp::PutDraft(draft) => {
                    kept.drafts.insert(draft.entity.clone(), (**draft).clone());
                }
                StoreOp::RemoveDraft(entity) => {
                    kept.drafts.remove(entity);
                }
                StoreOp::PutEntry(entry) => {
                    kept.outbox.insert(entry.id, (**entry).clone());
                }
                StoreOp::RemoveEntry(id) => {
                    kept.outbox.remove(id);
                }
                StoreOp::PutCursor(cursor) => kept.cursor = Some(cursor.clone()),
                StoreOp::Clear => *kept = Kept::default(),
            }
        }
        Ok(())
    }
}

/// What every [`Store`] must do; run on each implementation, natively and in the browser.
pub mod conformance {
    use super::*;
    use crate::outbox::Operation;
    use pmo_domain::EntityCode;
    use serde_json::json;

    fn entity(n: u128) -> Option<EntityRef> {
        Some(EntityRef::new(EntityCode::new("task").ok()?, Uuid::from_u128(n)))
    }

    fn row(n: u128, name: &str, synced_at: f64) -> Option<StoredRow> {
        let data = json!({"id": Uuid::from_u128(n), "name": name, "version": 1}).as_object().cloned();
        Some(StoredRow { entity: entity(n)?, data, synced_at })
    }

    fn names(stored: &Stored) -> Vec<(String, f64)> {
        let mut found: Vec<_> = stored
            .rows
            .iter()
            .map(|r| (r.data.as_ref().and_then(|d| d.get("name")?.as_str()).unwrap_or("gone").to_owned(), r.synced_at))
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        found
    }

    /// Runs the suite on a store that is empty; answers what did not hold.
    pub async fn run(store: &impl Store) -> Result<(), String> {
        let told = |e: StoreError| e.to_string();
        let missing = || "a test value could not be made".to_owned();
        let expect = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        expect(store.load().await.map_err(told)? == Stored::default(), "an empty store holds nothing")?;

        // A list of more than one chunk comes back whole and in order.
        let key = ListKey::all(EntityCode::new("task").map_err(|e| e.to_string())?);
        let many: Vec<StoredRow> = (0..1201u128).filter_map(|n| row(n, &format!("row {n:04}"), 1.0)).collect();
        let list = StoredList { key: key.clone(), ids: (0..1201u128).map(Uuid::from_u128).collect(), synced_at: 1.0 };
        store.apply(&[StoreOp::PutList(list.clone(), many)]).await.map_err(told)?;
        let stored = store.load().await.map_err(told)?;
        expect(stored.rows.len() == 1201, "every row of a list comes back")?;
        expect(stored.lists == [list], "the list comes back in order")?;

        // A later change of a row stands beside the chunk, with its own time.
        store.apply(&[StoreOp::PutRow(row(7, "changed", 2.0).ok_or_else(missing)?)]).await.map_err(told)?;
        let gone = StoredRow { data: None, ..row(8, "", 3.0).ok_or_else(missing)? };
        store.apply(&[StoreOp::PutRow(gone)]).await.map_err(told)?;
        let found = names(&store.load().await.map_err(told)?);
        expect(
            found.contains(&("changed".into(), 2.0)) && found.contains(&("gone".into(), 3.0)),
            "the log keeps live changes",
        )?;

        // A new list replaces the old chunks and the log of its rows.
        let few: Vec<StoredRow> = (0..9u128).filter_map(|n| row(n, "new", 4.0)).collect();
        let list = StoredList { key, ids: (0..9u128).map(Uuid::from_u128).collect(), synced_at: 4.0 };
        store.apply(&[StoreOp::PutList(list, few)]).await.map_err(told)?;
        let stored = store.load().await.map_err(told)?;
        expect(
            names(&stored).iter().all(|(name, at)| name == "new" && *at == 4.0),
            "old chunks and log entries are gone",
        )?;

        // What a person may not see any more leaves no trace: a list without it, no list at all, no name.
        let task = || EntityCode::new("task").map_err(|e| e.to_string());
        let secret = BTreeMap::from([(
            "task".to_owned(),
            BTreeMap::from([(Uuid::from_u128(1), "secret".to_owned()), (Uuid::from_u128(2), "open".to_owned())]),
        )]);
        let gone = BTreeMap::from([("task".to_owned(), BTreeSet::from([Uuid::from_u128(1)]))]);
        store
            .apply(&[StoreOp::PutNames(secret), StoreOp::RemoveNames(gone), StoreOp::RemoveList(ListKey::all(task()?))])
            .await
            .map_err(told)?;
        let stored = store.load().await.map_err(told)?;
        expect(
            stored.rows.iter().all(|r| r.data.is_none()) && stored.lists.is_empty(),
            "a removed list takes its rows with it",
        )?;
        expect(stored.names.get("task").is_some_and(|n| n.len() == 1), "a removed name is gone")?;

        // Drafts, outbox, reference data and the cursor.
        let draft = Draft::new(entity(1).ok_or_else(missing)?, 3, 5.0);
        let entry = |n: u128| -> Option<Entry> {
            Some(Entry::new(
                [Uuid::from_u128(n), Uuid::from_u128(n + 100)],
                entity(n)?,
                Operation::Delete { base_version: 1 },
            ))
        };
        let cursor = StoredCursor { epoch: "1".into(), cursor: "1.9".into() };
        store
            .apply(&[
                StoreOp::PutDraft(Box::new(draft.clone())),
                StoreOp::PutEntry(Box::new(entry(2).ok_or_else(missing)?)),
                StoreOp::PutEntry(Box::new(entry(1).ok_or_else(missing)?)),
                StoreOp::PutMeta(StoredMeta { key: MetaKey::Settings, data: json!({"a": 1}), synced_at: 6.0 }),
                StoreOp::PutNames(BTreeMap::from([("employee".into(), BTreeMap::from([(Uuid::nil(), "Ada".into())]))])),
                StoreOp::PutCursor(cursor.clone()),
            ])
            .await
            .map_err(told)?;
        let stored = store.load().await.map_err(told)?;
        expect(stored.drafts == [draft], "a draft comes back")?;
        expect(stored.outbox.iter().map(|e| e.id.as_u128()).eq([1, 2]), "the outbox comes back in order")?;
        expect(stored.cursor == Some(cursor), "the cursor comes back")?;
        expect(
            stored.metas.len() == 1
                && stored.names.get("employee").and_then(|n| n.get(&Uuid::nil())).is_some_and(|n| n == "Ada"),
            "reference data comes back",
        )?;
        expect(store.load_outbox().await.map_err(told)?.len() == 2, "the outbox can be read alone")?;
        expect(store.load_drafts().await.map_err(told)?.len() == 1, "and so can the drafts")?;
        store
            .apply(&[StoreOp::RemoveEntry(Uuid::from_u128(1)), StoreOp::RemoveDraft(entity(1).ok_or_else(missing)?)])
            .await
            .map_err(told)?;
        let stored = store.load().await.map_err(told)?;
        expect(stored.outbox.len() == 1 && stored.drafts.is_empty(), "what is done is gone")?;

        store.apply(&[StoreOp::Clear]).await.map_err(told)?;
        expect(store.load().await.map_err(told)? == Stored::default(), "a cleared store holds nothing")
    }
}
