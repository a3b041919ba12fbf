//! Changes that were made in the chart, for undo.

use pmo_domain::{EntityCode, Row};
use uuid::Uuid;

/// Most changes that can be taken back.
const MAX_HISTORY: usize = 100;

/// Change that can be taken back.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Columns of a row, before and after.
    Update { code: EntityCode, id: Uuid, before: Row, after: Row },
    /// A dependency that was created.
    Link { code: EntityCode, id: Uuid, row: Row },
}

/// Changes that were made in the chart.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) done: Vec<Vec<Change>>,
    pub(super) undone: Vec<Vec<Change>>,
}

impl History {
    /// Adds what was made together; what was taken back before cannot be made again.
    pub(super) fn push(&mut self, changes: Vec<Change>) {
        self.undone.clear();
        self.done.push(changes);
        if self.done.len() > MAX_HISTORY {
            self.done.remove(0);
        }
    }
}
