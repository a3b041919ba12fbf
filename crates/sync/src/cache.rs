//! In-memory cache: each row is stored once, and lists refer to rows by slot.
//!
//! A row is the server's row plus the pending local writes, shown with derived columns. Lists know
//! their filters and their sort order and are updated with every change of a row. The cost of a
//! change depends on the row and its lists, not on the size of the cache.
//!
//! Must not: decide what is fetched or persisted.

use crate::chunk_codec::ChunkId;
use crate::collections::{DetHashMap, DetHashSet};
use crate::outbox::{EntryState, Operation, OutboxEntry};
use crate::query_key::{ListKey, SortDirection};
use crate::raw_row::RawRow;
use pmo_domain::predicate::{ComparableValue, Predicate};
use pmo_domain::{ColumnKind, EntityCode, EntityRef, Row, UnixMillis};
use serde_json::Value;
use std::cell::RefCell;
use std::sync::{Arc, Weak};
use uuid::Uuid;

/// Index of a row in the cache.
pub type Slot = u32;
/// Index of a list in the cache.
pub type ListIndex = u32;

/// Effect of the local writes that the server has not confirmed yet on one row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimisticState {
    /// Row with the pending writes applied; `None` if it does not exist or is deleted locally.
    pub visible: Option<Arc<Row>>,
    /// Whether writes are pending.
    pub pending: bool,
    /// Whether a write is in conflict or was rejected, so that the user must decide.
    pub needs_attention: bool,
    /// Columns with pending changes.
    pub pending_fields: Vec<String>,
    /// Pending links of the row: parent, and `true` for link or `false` for unlink.
    pub pending_links: Vec<(EntityRef, bool)>,
}

/// Derived columns of one row.
#[derive(Debug, Default)]
struct DerivedColumns {
    columns: Row,
    /// Row with the derived columns, shared while a caller holds it.
    shown: RefCell<Weak<Row>>,
}

/// Row in memory.
#[derive(Debug)]
pub struct CachedRow {
    /// Id of the entity.
    pub id: Uuid,
    /// Index of the entity type in `Cache::codes`.
    kind: u16,
    /// Permission level of the user, if known.
    pub permission: Option<u8>,
    /// Whether the row must be refetched before it counts as fresh.
    pub stale: bool,
    /// Whether the device has the row in the delta log.
    pub in_delta_log: bool,
    /// Chunk on the device that contains the row.
    pub chunk: Option<ChunkId>,
    /// Whether the row is on the device but not in memory yet.
    pub unloaded: bool,
    /// Number of observers of this row; observers of its lists are not counted.
    pub observer_count: u32,
    /// Row of the server; `None` if it is unknown or does not exist.
    pub base: Option<RawRow>,
    /// Decoded `base`, shared while a caller holds it.
    decoded: RefCell<Weak<Row>>,
    /// Effect of the unconfirmed writes to this row; `None` if there are none.
    pub local: Option<Box<OptimisticState>>,
    /// Columns that are derived on this device; `None` if they equal those of the source row.
    derived: Option<Box<DerivedColumns>>,
    /// Number that changes with the source row, unique for each row that was ever in memory.
    pub revision: u64,
    /// Version of `base`.
    pub version: i64,
    /// Lowest acceptable version; responses with an older version are ignored.
    pub min_version: i64,
    /// Time of the server response.
    pub synced_at: UnixMillis,
    /// Latest request whose response contained the row.
    pub last_request: u64,
    /// Lists that contain the row.
    pub lists: Vec<ListIndex>,
}

impl CachedRow {
    /// Returns the source row: the server's row with the pending writes applied.
    pub fn source_row(&self) -> Option<Arc<Row>> {
        match &self.local {
            Some(local) => local.visible.clone(),
            None => self.decoded(),
        }
    }

    /// Returns whether the row exists with the pending writes applied.
    pub fn is_visible(&self) -> bool {
        self.local.as_ref().map_or(self.base.is_some(), |local| local.visible.is_some())
    }

    /// Returns the decoded server row, which is cached while a caller holds it.
    pub fn decoded(&self) -> Option<Arc<Row>> {
        if let Some(row) = self.decoded.borrow().upgrade() {
            return Some(row);
        }
        let row = Arc::new(self.decode()?);
        *self.decoded.borrow_mut() = Arc::downgrade(&row);
        Some(row)
    }

    fn decode(&self) -> Option<Row> {
        let mut row = self.base.as_ref()?.decode();
        row.remove("ref_data_entityInstance");
        if let Some(level) = self.permission {
            row.entry("permission").or_insert_with(|| level.into());
        }
        Some(row)
    }

    /// Replaces the server row.
    pub fn set_base(&mut self, base: Option<RawRow>) {
        self.base = base;
        *self.decoded.borrow_mut() = Weak::new();
        self.revision += 1;
    }

    /// Returns the value of a column of the source row; null if there is none.
    pub fn source_value(&self, column: &str) -> Value {
        match &self.local {
            Some(local) => local.visible.as_ref().and_then(|row| row.get(column)).cloned().unwrap_or_default(),
            None => self.base.as_ref().map(|raw| raw.value(column)).unwrap_or_default(),
        }
    }

    /// Recomputes the optimistic state from the outbox entries of this row.
    ///
    /// Returns whether the visible row, the pending columns and links or a flag changed.
    pub fn recompute_visible<'a>(&mut self, entries: impl Iterator<Item = &'a OutboxEntry>) -> bool {
        let mut entries = entries.peekable();
        let local = entries.peek().is_some().then(|| {
            let mut row = match self.decoded.borrow().upgrade() {
                Some(row) => Some((*row).clone()),
                None => self.decode(),
            };
            let mut local = OptimisticState::default();
            for entry in entries {
                if entry.state != EntryState::Pending {
                    local.needs_attention = true;
                    continue;
                }
                row = entry.apply_to(row);
                local.pending = true;
                match &entry.operation {
                    Operation::Update { patch, .. } => local.pending_fields.extend(patch.keys().cloned()),
                    Operation::Link { parent, linked } => local.pending_links.push((parent.clone(), *linked)),
                    _ => {}
                }
            }
            local.visible = row.map(Arc::new);
            Box::new(local)
        });
        let changed = self.local != local;
        self.local = local;
        self.revision += u64::from(changed);
        self.end_equal_derived();
        changed
    }
}

/// Column that filters or sort orders of lists use, with the parsed values of the rows.
struct Column {
    /// Index of the entity type in `Cache::codes`.
    kind: u16,
    name: Box<str>,
    value_kind: ColumnKind,
    /// Values by slot; `None` if the value has not been parsed since the row last changed.
    keys: Vec<Option<ComparableValue>>,
    /// Rows of the type in the order of this column, without those in `unsorted`.
    ///
    /// `None` until a list needs the order, and after too many rows have changed.
    sorted: Option<Vec<Slot>>,
    /// Changed rows whose position in `sorted` must be found again.
    unsorted: DetHashSet<Slot>,
}

/// Compiled sort key of a list.
#[derive(Clone, Copy)]
struct ColumnOrder {
    /// Index of the column.
    column: usize,
    /// Direction of the order.
    direction: SortDirection,
}

impl ColumnOrder {
    fn ascending(column: usize) -> Self {
        Self { column, direction: SortDirection::Ascending }
    }
}

/// Compiled query of a list: predicates by column index, and sort keys.
type CompiledQuery = (Vec<(usize, Predicate)>, Vec<ColumnOrder>);

/// Owned relation from a parent type to the type of a list, for membership in a pinned tree.
struct OwnerRelation {
    /// Entity type of the parent.
    code: EntityCode,
    /// Column with the id of the parent; `None` if free links define the relation.
    parent_column: Option<String>,
    /// Column with the type of the parent, if the parent can be of several types.
    parent_type_column: Option<String>,
}

/// List in memory.
pub struct CachedList {
    /// Key of the list.
    pub key: ListKey,
    /// Index of the entity type of the rows in `Cache::codes`.
    kind: u16,
    /// Rows of the list, in order.
    slots: Vec<Slot>,
    /// Time of the server response.
    pub synced_at: UnixMillis,
    /// Whether the list must be refetched before it counts as fresh.
    pub stale: bool,
    /// Latest request whose response contained the list; 0 if there is none.
    pub last_request: u64,
    /// Whether the rows are known: from the server, the device or a derivation.
    pub loaded: bool,
    /// Whether no row of the list is missing.
    pub complete: bool,
    /// Cursor of the next page; `None` after the last page.
    pub next_cursor: Option<String>,
    /// Whether the list is derived from its base list; such a list is never fetched.
    pub derived: bool,
    /// Whether the rows are free-linked children that were derived from a pinned tree.
    ///
    /// The device stores them with the tree.
    pub from_tree: bool,
    /// Number of observers.
    pub observer_count: u32,
    /// Time when the last observer left.
    pub unobserved_since: UnixMillis,
    /// Whether the list on the device is outdated.
    pub dirty: bool,
    /// Whether rows are still being read from the device; until then the stored order applies.
    pub loading_from_disk: bool,
    /// Chunks on the device that contain the rows.
    pub chunks: Vec<ChunkId>,
    /// Compiled filters, by column index.
    predicates: Vec<(usize, Predicate)>,
    /// Compiled sort keys.
    sort_keys: Vec<ColumnOrder>,
    /// Relations through which a row can belong to the tree; empty unless the list is recursive.
    owners: Vec<OwnerRelation>,
    /// Ids of the rows, computed on demand.
    ids: RefCell<Option<Arc<Vec<Uuid>>>>,
}

impl CachedList {
    /// Returns whether the only source of the list is a pinned tree, not a response of its own.
    pub fn is_from_tree(&self) -> bool {
        self.from_tree && self.last_request == 0
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns whether the list has no rows.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns the rows in order.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    fn mark_dirty(&mut self) {
        *self.ids.borrow_mut() = None;
        self.dirty = true;
    }
}

/// Lists that the change of a row affects.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ListImpact {
    /// Lists whose rows or order changed.
    pub changed: Vec<ListIndex>,
    /// Lists of which only the server can decide whether they contain the row.
    pub undecided: Vec<ListIndex>,
}

/// Rows and lists in memory.
#[derive(Default)]
pub struct Cache {
    /// Entity types; rows, lists and columns refer to them by index (`kind`).
    codes: Vec<EntityCode>,
    kinds: DetHashMap<EntityCode, u16>,
    rows: Vec<Option<CachedRow>>,
    /// Slots without a row, for reuse.
    free_slots: Vec<Slot>,
    slots_by_id: DetHashMap<Uuid, Slot>,
    lists: Vec<Option<CachedList>>,
    lists_by_key: DetHashMap<ListKey, ListIndex>,
    lists_of_kind: DetHashMap<u16, Vec<ListIndex>>,
    columns: Vec<Column>,
    /// Rows that received derived columns; those whose columns have ended may still be among them.
    derived_slots: DetHashSet<Slot>,
    /// Number of rows that were inserted so far.
    inserted_rows: u64,
}

impl Cache {
    fn kind(&mut self, code: &EntityCode) -> u16 {
        if let Some(kind) = self.kinds.get(code) {
            return *kind;
        }
        let kind = self.codes.len() as u16;
        self.codes.push(code.clone());
        self.kinds.insert(code.clone(), kind);
        kind
    }

    /// Returns the entity type of a row.
    pub fn code(&self, slot: Slot) -> EntityCode {
        let kind = self.row(slot).map_or(0, |row| row.kind);
        // Invariant: the type of every row is in `codes`.
        self.codes[usize::from(kind)].clone()
    }

    /// Returns the entity of a row.
    pub fn entity(&self, slot: Slot) -> Option<EntityRef> {
        let row = self.row(slot)?;
        Some(EntityRef::new(self.codes.get(usize::from(row.kind))?.clone(), row.id))
    }

    /// Returns the slot of an entity.
    pub fn slot_of(&self, entity: &EntityRef) -> Option<Slot> {
        let slot = *self.slots_by_id.get(&entity.id)?;
        let kind = self.kinds.get(&entity.code)?;
        (self.row(slot)?.kind == *kind).then_some(slot)
    }

    /// Returns the row in a slot.
    pub fn row(&self, slot: Slot) -> Option<&CachedRow> {
        self.rows.get(slot as usize)?.as_ref()
    }

    /// Returns the row in a slot for modification.
    pub fn row_mut(&mut self, slot: Slot) -> Option<&mut CachedRow> {
        self.rows.get_mut(slot as usize)?.as_mut()
    }

    /// Returns the row of an entity.
    pub fn get(&self, entity: &EntityRef) -> Option<&CachedRow> {
        self.row(self.slot_of(entity)?)
    }

    /// Returns the row of an entity for modification.
    pub fn get_mut(&mut self, entity: &EntityRef) -> Option<&mut CachedRow> {
        self.row_mut(self.slot_of(entity)?)
    }

    /// Iterates over all rows with their slots.
    pub fn rows(&self) -> impl Iterator<Item = (Slot, &CachedRow)> {
        self.rows.iter().enumerate().filter_map(|(slot, row)| Some((slot as Slot, row.as_ref()?)))
    }

    /// Iterates over the rows of an entity type.
    pub fn rows_of<'a>(&'a self, code: &EntityCode) -> impl Iterator<Item = &'a CachedRow> + use<'a> {
        let kind = self.kinds.get(code).copied();
        self.rows.iter().flatten().filter(move |row| Some(row.kind) == kind)
    }

    /// Returns the slot of an entity, inserting an empty row if it has none.
    pub fn slot_or_insert(&mut self, entity: &EntityRef) -> Slot {
        let kind = self.kind(&entity.code);
        if let Some(slot) = self.slots_by_id.get(&entity.id) {
            if self.row(*slot).is_some_and(|row| row.kind == kind) {
                return *slot;
            }
            // Ids are unique across types: the cached row was filed under a wrong type.
            let slot = *slot;
            self.remove(slot);
        }
        self.inserted_rows += 1;
        let row = CachedRow {
            id: entity.id,
            kind,
            permission: None,
            stale: false,
            in_delta_log: false,
            chunk: None,
            unloaded: false,
            observer_count: 0,
            base: None,
            decoded: RefCell::default(),
            local: None,
            derived: None,
            revision: self.inserted_rows << 32,
            version: 0,
            min_version: 0,
            synced_at: UnixMillis::EPOCH,
            last_request: 0,
            lists: Vec::new(),
        };
        let slot = match self.free_slots.pop() {
            Some(slot) => {
                self.rows[slot as usize] = Some(row);
                slot
            }
            None => {
                self.rows.push(Some(row));
                (self.rows.len() - 1) as Slot
            }
        };
        self.slots_by_id.insert(entity.id, slot);
        slot
    }

    /// Removes a row unless it has data, observers or lists.
    pub fn release(&mut self, slot: Slot) {
        let Some(row) = self.row(slot) else { return };
        let needed = row.base.is_some()
            || row.local.is_some()
            || row.observer_count > 0
            || row.unloaded
            || !row.lists.is_empty();
        if !needed {
            self.remove(slot);
        }
    }

    /// Removes a row from the cache and from its lists.
    pub fn remove(&mut self, slot: Slot) {
        let Some(row) = self.row(slot) else { return };
        for list in row.lists.clone() {
            self.remove_row(list, slot);
        }
        self.invalidate_sort_keys(slot);
        if let Some(row) = self.rows.get_mut(slot as usize).and_then(Option::take) {
            self.slots_by_id.remove(&row.id);
            self.derived_slots.remove(&slot);
            self.free_slots.push(slot);
        }
    }
}

mod columns; // parsed values and order of columns
mod derived_rows; // derived columns that are shown over rows
mod lists; // membership and order of the lists
#[cfg(test)]
mod tests;
