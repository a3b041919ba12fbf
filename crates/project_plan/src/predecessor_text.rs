//! Typed predecessors: `12FS+2d, 7SS, 3FF-50%`.

use crate::UnitSizes;
use crate::duration_text::DurationError;
use crate::gantt_edit::LagEntry;
use pmo_planning::LinkKind;

/// Predecessor as entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PredecessorEntry {
    /// Number of the row, from 1.
    pub row: u32,
    /// Type.
    pub kind: LinkKind,
    /// Lag.
    pub lag: LagEntry,
}

/// Reason why an entry is not a predecessor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredecessorError {
    /// The entry, as typed.
    pub entry: String,
    /// Reason.
    pub reason: PredecessorFault,
}

/// Fault of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PredecessorFault {
    /// The entry does not begin with the number of a row.
    NoRow,
    /// No row has the number.
    UnknownRow,
    /// The row is the task itself.
    Itself,
    /// The row was named before.
    Duplicate,
    /// The tasks would wait for each other; numbers of the rows on the path.
    Ring(Vec<u32>),
    /// The type is not FS, SS, FF or SF.
    UnknownKind,
    /// The lag is not a duration or a percentage.
    Lag(DurationError),
    /// The list has too many entries.
    TooMany,
}

/// Parses the predecessors of the task in `own_row`, separated by commas or semicolons.
///
/// `row_count` is the number of rows. `ring` returns the path by which a row would wait for
/// itself, if it becomes a predecessor.
pub fn parse(
    text: &str,
    own_row: u32,
    row_count: u32,
    sizes: &UnitSizes,
    ring: impl Fn(u32) -> Option<Vec<u32>>,
) -> Result<Vec<PredecessorEntry>, PredecessorError> {
    let _ = (text, own_row, row_count, sizes, ring);
    Ok(Vec::new())
}

/// Formats predecessors, so that [`parse`] gives the same entries.
pub fn format(entries: &[PredecessorEntry], sizes: &UnitSizes) -> String {
    let _ = (entries, sizes);
    String::new()
}
