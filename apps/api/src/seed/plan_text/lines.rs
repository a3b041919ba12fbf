//! Lines of plan texts and their cells.

use std::collections::HashMap;

/// Fault of a plan text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub(crate) struct PlanTextError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong.
    pub fault: String,
}

/// Positions of tasks by key.
pub(super) type Keys = HashMap<String, usize>;

/// Line of a text without its indentation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'text> {
    /// Number, from 1.
    pub number: usize,
    /// Level of indentation.
    pub depth: usize,
    /// Text.
    pub text: &'text str,
}

/// Cells of a line.
pub(super) struct Cells<'text> {
    line: usize,
    cells: Vec<&'text str>,
}

impl<'text> Cells<'text> {
    /// Returns the cells of a line.
    pub(super) fn of(line: Line<'text>) -> Self {
        Self { line: line.number, cells: line.text.split('|').map(str::trim).collect() }
    }

    /// Returns a cell; an error if it is absent or empty.
    pub(super) fn text(&self, index: usize) -> Result<&'text str, PlanTextError> {
        let cell = self.cells.get(index).copied().filter(|cell| !cell.is_empty());
        cell.ok_or_else(|| fault(self.line, format!("cell {} is missing", index + 1)))
    }

    /// Returns a cell as a number.
    pub(super) fn number<N: std::str::FromStr>(&self, index: usize) -> Result<N, PlanTextError> {
        let text = self.text(index)?;
        text.parse().map_err(|_| fault(self.line, format!("{text} is not a number")))
    }

    /// Returns the task whose key is in a cell.
    pub(super) fn task(&self, index: usize, keys: &Keys) -> Result<usize, PlanTextError> {
        let key = self.text(index)?;
        keys.get(key).copied().ok_or_else(|| fault(self.line, format!("no task has the key {key}")))
    }
}

/// Returns the fault of a line.
pub(super) fn fault(line: usize, fault: impl Into<String>) -> PlanTextError {
    PlanTextError { line, fault: fault.into() }
}
