//! Rows once, lists of places. A row is what the server said plus what was written here and is not answered yet; the lists of the engine know their
//! filters and their order, and follow every change of a row by themselves. What a change costs depends on the row and its lists, never on how much is
//! held. This room must never decide what is fetched or kept.

use crate::collections::{DetHashMap, DetHashSet};
use crate::outbox::{EntryState, Operation, OutboxEntry};
use crate::query_key::ListKey;
use crate::raw_row::RawRow;
use pmo_domain::predicate::{ComparableValue, Predicate};
use pmo_domain::{ColumnKind, EntityCode, EntityRef, Row};
use serde_json::Value;
use std::cell::RefCell;
use std::sync::{Arc, Weak};
use uuid::Uuid;

/// The place of a row.
pub type Slot = u32;
/// The place of a list.
pub type ListIndex = u32;

/// What was written here and is not answered yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimisticState {
    /// The row with it; none: deleted.
    pub visible: Option<Arc<Row>>,
    /// Writes are on their way.
    pub pending: bool,
    /// A write needs a person.
    pub needs_attention: bool,
    /// The columns that are on their way.
    pub pending_fields: Vec<String>,
    /// Where it is being hung below something, or taken from there.
    pub pending_links: Vec<(EntityRef, bool)>,
}

/// A row in memory.
#[derive(Debug)]
pub struct CachedRow {
    /// Its id.
    pub id: Uuid,
    kind: u16,
    /// The reader's level, where it is known.
    pub permission: Option<u8>,
    /// To be asked for again before it is believed.
    pub stale: bool,
    /// It lies beside the chunks on the device.
    pub in_delta_log: bool,
    /// The chunk that holds it on the device; 0: none.
    pub chunk: u32,
    /// It is on the device and has not been read yet.
    pub unloaded: bool,
    /// Those who look at it by itself.
    pub observer_count: u32,
    /// What the server said; none: nothing yet, or that it is gone.
    pub base: Option<RawRow>,
    decoded: RefCell<Weak<Row>>,
    /// What was written here, where there is any.
    pub local: Option<Box<OptimisticState>>,
    /// The version that the server told.
    pub version: i64,
    /// No answer with a lower version counts.
    pub min_version: i64,
    /// Milliseconds since 1970 when the server said so.
    pub synced_at: f64,
    /// The latest request whose answer told it.
    pub last_request: u64,
    /// The lists that hold it.
    pub lists: Vec<ListIndex>,
}

impl CachedRow {
    /// The row as it is shown.
    pub fn shown(&self) -> Option<Arc<Row>> {
        match &self.local {
            Some(local) => local.visible.clone(),
            None => self.decoded(),
        }
    }

    /// Whether anything is shown.
    pub fn is_visible(&self) -> bool {
        self.local.as_ref().map_or(self.base.is_some(), |local| local.visible.is_some())
    }

    /// What the server said, decoded for as long as somebody holds it.
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

    /// Takes what the server said in place of what is held.
    pub fn set_base(&mut self, base: Option<RawRow>) {
        self.base = base;
        *self.decoded.borrow_mut() = Weak::new();
    }

    /// The value of a column as it is shown.
    pub fn value(&self, column: &str) -> Value {
        match &self.local {
            Some(local) => local.visible.as_ref().and_then(|row| row.get(column)).cloned().unwrap_or_default(),
            None => self.base.as_ref().map(|raw| raw.value(column)).unwrap_or_default(),
        }
    }

    /// Works out what is shown anew; true where it or its marks changed.
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
                    Operation::Link { parent, linked: below } => local.pending_links.push((parent.clone(), *below)),
                    _ => {}
                }
            }
            local.visible = row.map(Arc::new);
            Box::new(local)
        });
        let same = self.local == local;
        self.local = local;
        !same
    }
}

/// A column of a type, read from every row that a list has had to compare.
struct Column {
    kind: u16,
    name: Box<str>,
    holds: ColumnKind,
    keys: Vec<Option<ComparableValue>>,
    /// Every row of the type in the order of this column, once somebody has asked for it.
    order: Option<Vec<Slot>>,
    /// Rows whose place in it is to be found anew.
    moved: DetHashSet<Slot>,
}

/// A list's filters and order, by the places of their columns.
type Compiled = (Vec<(usize, Predicate)>, Vec<(usize, bool)>);

/// A type of thing that a row may belong to, the column that names it (none: a link alone ties them), and the column that says of which type it is, where
/// that varies.
struct OwnerRelation {
    code: EntityCode,
    column: Option<String>,
    code_column: Option<String>,
}

/// A list in memory.
pub struct CachedList {
    /// What it is a list of.
    pub key: ListKey,
    kind: u16,
    /// Its rows, in order.
    slots: Vec<Slot>,
    /// Milliseconds since 1970 when the server said so.
    pub synced_at: f64,
    /// To be asked for again.
    pub stale: bool,
    /// The latest request whose answer told it.
    pub last_request: u64,
    /// Known at all.
    pub loaded: bool,
    /// Nothing that belongs to it is missing.
    pub complete: bool,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
    /// It follows from the whole list, and is never fetched.
    pub derived: bool,
    /// What links alone tie, as a kept tree told it: on the device it is with the tree.
    pub from_tree: bool,
    /// Those who look at it.
    pub observer_count: u32,
    /// When the last of them left.
    pub unobserved_since: f64,
    /// What the device holds of it is older than this.
    pub dirty: bool,
    /// Its rows are still being read from the device: until then the order is the one that was kept.
    pub loading_from_disk: bool,
    /// The chunks that hold its rows on the device.
    pub chunks: Vec<u32>,
    predicates: Vec<(usize, Predicate)>,
    order: Vec<(usize, bool)>,
    owners: Vec<OwnerRelation>,
    ids: RefCell<Option<Arc<Vec<Uuid>>>>,
}

impl CachedList {
    /// Whether a kept tree alone has told it.
    pub fn is_from_tree(&self) -> bool {
        self.from_tree && self.last_request == 0
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Its rows, in order.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    fn touch(&mut self) {
        *self.ids.borrow_mut() = None;
        self.dirty = true;
    }
}

/// Where a row's change has been felt.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ListImpact {
    /// Lists whose rows or order are others now.
    pub changed: Vec<ListIndex>,
    /// Lists of which only the server knows whether it belongs to them.
    pub undecided: Vec<ListIndex>,
}

/// All rows and lists in memory.
#[derive(Default)]
pub struct Cache {
    codes: Vec<EntityCode>,
    kinds: DetHashMap<EntityCode, u16>,
    rows: Vec<Option<CachedRow>>,
    free: Vec<Slot>,
    slots_by_id: DetHashMap<Uuid, Slot>,
    lists: Vec<Option<CachedList>>,
    lists_by_key: DetHashMap<ListKey, ListIndex>,
    lists_of_kind: DetHashMap<u16, Vec<ListIndex>>,
    columns: Vec<Column>,
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

    /// The type of a row.
    pub fn code(&self, slot: Slot) -> EntityCode {
        let kind = self.row(slot).map_or(0, |row| row.kind);
        // A row is never made without its type.
        self.codes[usize::from(kind)].clone()
    }

    /// Which thing a row is.
    pub fn entity(&self, slot: Slot) -> Option<EntityRef> {
        let row = self.row(slot)?;
        Some(EntityRef::new(self.codes.get(usize::from(row.kind))?.clone(), row.id))
    }

    /// Where a thing is.
    pub fn slot_of(&self, entity: &EntityRef) -> Option<Slot> {
        let slot = *self.slots_by_id.get(&entity.id)?;
        let kind = self.kinds.get(&entity.code)?;
        (self.row(slot)?.kind == *kind).then_some(slot)
    }

    /// The row at a place.
    pub fn row(&self, slot: Slot) -> Option<&CachedRow> {
        self.rows.get(slot as usize)?.as_ref()
    }

    /// The row at a place, to be changed.
    pub fn row_mut(&mut self, slot: Slot) -> Option<&mut CachedRow> {
        self.rows.get_mut(slot as usize)?.as_mut()
    }

    /// The row of a thing.
    pub fn get(&self, entity: &EntityRef) -> Option<&CachedRow> {
        self.row(self.slot_of(entity)?)
    }

    /// The row of a thing, to be changed.
    pub fn get_mut(&mut self, entity: &EntityRef) -> Option<&mut CachedRow> {
        self.row_mut(self.slot_of(entity)?)
    }

    /// Rows and their places.
    pub fn rows(&self) -> impl Iterator<Item = (Slot, &CachedRow)> {
        self.rows.iter().enumerate().filter_map(|(slot, row)| Some((slot as Slot, row.as_ref()?)))
    }

    /// Rows of one type.
    pub fn rows_of<'a>(&'a self, code: &EntityCode) -> impl Iterator<Item = &'a CachedRow> + use<'a> {
        let kind = self.kinds.get(code).copied();
        self.rows.iter().flatten().filter(move |row| Some(row.kind) == kind)
    }

    /// The place of a thing, made where there is none.
    pub fn slot_or_insert(&mut self, entity: &EntityRef) -> Slot {
        let kind = self.kind(&entity.code);
        if let Some(slot) = self.slots_by_id.get(&entity.id) {
            if self.row(*slot).is_some_and(|row| row.kind == kind) {
                return *slot;
            }
            // An id is one thing: the other was somebody's mistake.
            let slot = *slot;
            self.release(slot, true);
        }
        let row = CachedRow {
            id: entity.id,
            kind,
            permission: None,
            stale: false,
            in_delta_log: false,
            chunk: 0,
            unloaded: false,
            observer_count: 0,
            base: None,
            decoded: RefCell::default(),
            local: None,
            version: 0,
            min_version: 0,
            synced_at: 0.0,
            last_request: 0,
            lists: Vec::new(),
        };
        let slot = match self.free.pop() {
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

    /// Lets a row go that nothing refers to any more; answers whether it went. `anyway`: whatever refers to it.
    pub fn release(&mut self, slot: Slot, anyway: bool) -> bool {
        let Some(row) = self.row(slot) else { return false };
        let needed = row.base.is_some()
            || row.local.is_some()
            || row.observer_count > 0
            || row.unloaded
            || !row.lists.is_empty();
        if needed && !anyway {
            return false;
        }
        for list in row.lists.clone() {
            self.remove_row(list, slot);
        }
        self.invalidate_sort_keys(slot);
        if let Some(row) = self.rows.get_mut(slot as usize).and_then(Option::take) {
            self.slots_by_id.remove(&row.id);
            self.free.push(slot);
        }
        true
    }
}

mod lists; // that follow their rows
#[cfg(test)]
mod tests;
