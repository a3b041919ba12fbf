//! State of a mapping from a file to rows.

use super::plan_rows::{PlanRows, RowContext, Skipped};
use crate::converted::Converted;
use crate::file::File;
use std::collections::HashMap;
use uuid::Uuid;

/// State of a mapping.
pub(super) struct Mapping<'a, 'context> {
    pub(super) file: &'a File,
    pub(super) converted: Converted,
    pub(super) context: &'a mut RowContext<'context>,
    pub(super) rows: PlanRows,
    pub(super) skipped: Skipped,
    /// Id of each calendar that has a row, by position in the file.
    pub(super) calendar_ids: HashMap<usize, Uuid>,
    /// Id of each task, by position in the plan.
    pub(super) task_ids: Vec<Uuid>,
    /// Position of each task in the plan, by UID.
    pub(super) positions: HashMap<i64, usize>,
}

impl Mapping<'_, '_> {
    pub(super) fn skip(&mut self, element: &str, reason: &'static str) {
        self.skip_many(element, reason, 1);
    }

    pub(super) fn skip_many(&mut self, element: &str, reason: &'static str, count: usize) {
        if count > 0 {
            *self.skipped.entry((element.to_owned(), reason)).or_default() += count;
        }
    }

    pub(super) fn new_id(&mut self) -> Uuid {
        (self.context.new_id)()
    }
}
