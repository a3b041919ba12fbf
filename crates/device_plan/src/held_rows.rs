//! Rows of a list as inputs, read again only if they changed.

use pmo_sync::SourceRow;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use uuid::Uuid;

/// Revisions of the rows that were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeldRows {
    revisions: Vec<(Uuid, u64)>,
}

/// Changes of the rows of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowChanges {
    /// Rows that are new or changed.
    pub(crate) read: Vec<Uuid>,
    /// Whether rows were added, removed or moved.
    pub(crate) reordered: bool,
}

impl RowChanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.read.is_empty() && !self.reordered
    }
}

impl HeldRows {
    /// Brings `rows` to the state of `source`; a row that is not valid JSON gets its default.
    pub(crate) fn update<T: DeserializeOwned + Default>(
        &mut self,
        rows: &mut Vec<T>,
        source: &[SourceRow<'_>],
    ) -> RowChanges {
        let mut changes = RowChanges::default();
        let same_ids = self.revisions.len() == source.len()
            && self.revisions.iter().zip(source).all(|((id, _), row)| *id == row.id());
        if !same_ids {
            self.reorder(rows, source);
            changes.reordered = true;
        }
        for (place, row) in source.iter().enumerate() {
            let (Some(held), Some(input)) = (self.revisions.get_mut(place), rows.get_mut(place)) else { break };
            if held.1 != row.revision() {
                held.1 = row.revision();
                *input = serde_json::from_str(&row.text()).unwrap_or_default();
                changes.read.push(row.id());
            }
        }
        changes
    }

    /// Puts the rows in the order of `source`; new rows get a revision that no row has.
    fn reorder<T: Default>(&mut self, rows: &mut Vec<T>, source: &[SourceRow<'_>]) {
        let held = std::mem::take(&mut self.revisions).into_iter().zip(std::mem::take(rows));
        let mut held: HashMap<Uuid, (u64, T)> = held.map(|((id, revision), row)| (id, (revision, row))).collect();
        for row in source {
            let (revision, input) = held.remove(&row.id()).unwrap_or((u64::MAX, T::default()));
            self.revisions.push((row.id(), revision));
            rows.push(input);
        }
    }
}
