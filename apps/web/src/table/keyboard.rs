//! Key bindings of a table, as pure functions without access to the page.

/// Position of a cell: row and column, from 0.
pub(crate) type CellPosition = (usize, usize);

/// Action that a key requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyAction {
    /// Moves the focus to a cell; if the flag is set, extends the selection to its row.
    Go(CellPosition, bool),
    /// Starts to edit the focused cell.
    Edit,
    /// Opens the page of the row.
    Open,
    /// Toggles the selection of the row.
    Select,
    /// Selects all rows.
    All,
    /// Clears the selection.
    Clear,
    /// Asks for confirmation to delete the selected rows.
    Delete,
}

/// Key press with its modifiers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyPress<'a> {
    /// Name of the key, as in `KeyboardEvent.key`.
    pub name: &'a str,
    /// Whether Shift was pressed.
    pub shift: bool,
    /// Whether Ctrl or ⌘ was pressed.
    pub command: bool,
}

/// Returns the action of `key` if the cell at `position` has the focus.
///
/// The table has the given numbers of `rows` and `columns`; `page` rows are visible. Returns `None`
/// if the table does not handle the key.
pub(crate) fn key_action(
    key: KeyPress,
    position: Option<CellPosition>,
    (rows, columns): CellPosition,
    page: usize,
) -> Option<KeyAction> {
    if rows == 0 || columns == 0 {
        return None;
    }
    let (row, column) = position.unwrap_or((0, 0));
    let last = (rows - 1, columns - 1);
    let move_to = |row: usize, column: usize| Some(KeyAction::Go((row.min(last.0), column.min(last.1)), key.shift));
    // Without a focused cell, the first key press goes to the first cell.
    let down = |count: usize| if position.is_none() { move_to(0, 0) } else { move_to(row + count, column) };
    match key.name {
        "ArrowDown" => down(if key.command { rows } else { 1 }),
        "ArrowUp" => move_to(if key.command { 0 } else { row.saturating_sub(1) }, column),
        "ArrowRight" => move_to(row, column + 1),
        "ArrowLeft" => move_to(row, column.saturating_sub(1)),
        "PageDown" => down(page.max(1)),
        "PageUp" => move_to(row.saturating_sub(page.max(1)), column),
        "Home" => move_to(if key.command { 0 } else { row }, 0),
        "End" => move_to(if key.command { last.0 } else { row }, last.1),
        "a" if key.command => Some(KeyAction::All),
        "Escape" => Some(KeyAction::Clear),
        _ if position.is_none() => None,
        "Enter" if key.command => Some(KeyAction::Open),
        "o" if !key.command => Some(KeyAction::Open),
        "Enter" | "F2" => Some(KeyAction::Edit),
        " " => Some(KeyAction::Select),
        "Delete" | "Backspace" => Some(KeyAction::Delete),
        _ => None,
    }
}

/// Returns the cell that receives the focus after an edit.
///
/// With `tab` it is the next cell, or the previous cell with `back`, continuing in the adjacent
/// row. Otherwise it is the cell below.
pub(crate) fn cell_after_edit(
    (row, column): CellPosition,
    (rows, columns): CellPosition,
    tab: bool,
    back: bool,
) -> CellPosition {
    let (rows, columns) = (rows.max(1), columns.max(1));
    if !tab {
        return ((row + 1).min(rows - 1), column);
    }
    let index = row * columns + column;
    let target = if back { index.saturating_sub(1) } else { (index + 1).min(rows * columns - 1) };
    (target / columns, target % columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    fn key(name: &str) -> KeyPress<'_> {
        KeyPress { name, ..KeyPress::default() }
    }

    #[wasm_bindgen_test]
    fn arrow_keys_stay_inside_the_table() {
        let size = (3, 2);
        let moved = |name, position| match key_action(key(name), Some(position), size, 10) {
            Some(KeyAction::Go(target, false)) => target,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(
            [moved("ArrowDown", (2, 1)), moved("ArrowUp", (0, 0)), moved("ArrowRight", (1, 1))],
            [(2, 1), (0, 0), (1, 1)]
        );
        assert_eq!([moved("PageDown", (0, 1)), moved("End", (1, 0)), moved("Home", (1, 1))], [(2, 1), (1, 1), (1, 0)]);
        assert_eq!(
            key_action(key("ArrowDown"), None, size, 10),
            Some(KeyAction::Go((0, 0), false)),
            "the first key press goes to the first cell"
        );
        assert_eq!(key_action(key("ArrowDown"), None, (0, 2), 10), None, "an empty table has no cell to go to");
    }

    #[wasm_bindgen_test]
    fn cell_keys_do_nothing_without_a_focused_cell() {
        for name in ["Enter", "F2", " ", "o", "Delete"] {
            assert_eq!(key_action(key(name), None, (3, 2), 10), None, "{name}");
            assert!(key_action(key(name), Some((0, 0)), (3, 2), 10).is_some(), "{name}");
        }
        let extends = KeyPress { shift: true, ..key("ArrowDown") };
        assert_eq!(key_action(extends, Some((0, 0)), (3, 2), 10), Some(KeyAction::Go((1, 0), true)));
        assert_eq!(
            key_action(KeyPress { command: true, ..key("Enter") }, Some((0, 0)), (3, 2), 10),
            Some(KeyAction::Open)
        );
        assert_eq!(key_action(key("x"), Some((0, 0)), (3, 2), 10), None);
    }

    #[wasm_bindgen_test]
    fn tab_continues_in_the_next_row_and_stops_at_the_ends() {
        let size = (2, 3);
        assert_eq!(cell_after_edit((0, 2), size, true, false), (1, 0));
        assert_eq!(cell_after_edit((1, 0), size, true, true), (0, 2));
        assert_eq!(
            [cell_after_edit((1, 2), size, true, false), cell_after_edit((0, 0), size, true, true)],
            [(1, 2), (0, 0)]
        );
        assert_eq!(
            [cell_after_edit((0, 1), size, false, false), cell_after_edit((1, 1), size, false, false)],
            [(1, 1), (1, 1)]
        );
    }
}
