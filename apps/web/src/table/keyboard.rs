//! What a key does in a table, decided without the page. Pure.

/// A place in a table: row and column, from 0.
pub type CellPosition = (usize, usize);

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAction {
    /// Goes there; selecting all between where that began and here.
    Go(CellPosition, bool),
    /// Opens the cell to be changed.
    Edit,
    /// Opens the row's page.
    Open,
    /// Selects or leaves the row.
    Select,
    /// Selects all rows.
    All,
    /// Gives up what is open or selected.
    Leave,
    /// Asks whether to delete what is selected.
    Delete,
}

/// A key with what was held down.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyPress<'a> {
    /// Its name, as browsers call it.
    pub name: &'a str,
    /// Shift was held.
    pub shift: bool,
    /// Ctrl or ⌘ was held.
    pub command: bool,
}

/// What `key` asks for at `at`, in a table of so many `rows` and `columns` of which `page` rows are seen. None: it is none of the table's business.
pub fn step(key: KeyPress, at: Option<CellPosition>, (rows, columns): CellPosition, page: usize) -> Option<KeyAction> {
    if rows == 0 || columns == 0 {
        return None;
    }
    let (row, column) = at.unwrap_or((0, 0));
    let last = (rows - 1, columns - 1);
    let go = |row: usize, column: usize| Some(KeyAction::Go((row.min(last.0), column.min(last.1)), key.shift));
    // Nowhere yet: the first step comes to the first cell.
    let down = |by: usize| if at.is_none() { go(0, 0) } else { go(row + by, column) };
    match key.name {
        "ArrowDown" => down(if key.command { rows } else { 1 }),
        "ArrowUp" => go(if key.command { 0 } else { row.saturating_sub(1) }, column),
        "ArrowRight" => go(row, column + 1),
        "ArrowLeft" => go(row, column.saturating_sub(1)),
        "PageDown" => down(page.max(1)),
        "PageUp" => go(row.saturating_sub(page.max(1)), column),
        "Home" => go(if key.command { 0 } else { row }, 0),
        "End" => go(if key.command { last.0 } else { row }, last.1),
        "a" if key.command => Some(KeyAction::All),
        "Escape" => Some(KeyAction::Leave),
        _ if at.is_none() => None,
        "Enter" if key.command => Some(KeyAction::Open),
        "o" if !key.command => Some(KeyAction::Open),
        "Enter" | "F2" => Some(KeyAction::Edit),
        " " => Some(KeyAction::Select),
        "Delete" | "Backspace" => Some(KeyAction::Delete),
        _ => None,
    }
}

/// Where to go after a cell was changed: `Tab` to the next cell, over the row's end into the next row, `Shift Tab` back, else down.
pub fn after_edit((row, column): CellPosition, (rows, columns): CellPosition, tab: bool, back: bool) -> CellPosition {
    let (rows, columns) = (rows.max(1), columns.max(1));
    if !tab {
        return ((row + 1).min(rows - 1), column);
    }
    let flat = row * columns + column;
    let to = if back { flat.saturating_sub(1) } else { (flat + 1).min(rows * columns - 1) };
    (to / columns, to % columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test;

    fn key(name: &str) -> KeyPress<'_> {
        KeyPress { name, ..KeyPress::default() }
    }

    #[wasm_bindgen_test]
    fn arrows_stay_in_the_table() {
        let all = (3, 2);
        let go = |name, at| match step(key(name), Some(at), all, 10) {
            Some(KeyAction::Go(to, false)) => to,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(
            [go("ArrowDown", (2, 1)), go("ArrowUp", (0, 0)), go("ArrowRight", (1, 1))],
            [(2, 1), (0, 0), (1, 1)]
        );
        assert_eq!([go("PageDown", (0, 1)), go("End", (1, 0)), go("Home", (1, 1))], [(2, 1), (1, 1), (1, 0)]);
        assert_eq!(
            step(key("ArrowDown"), None, all, 10),
            Some(KeyAction::Go((0, 0), false)),
            "the first step is to the first cell"
        );
        assert_eq!(step(key("ArrowDown"), None, (0, 2), 10), None, "there is nowhere to go");
    }

    #[wasm_bindgen_test]
    fn keys_that_need_a_cell_do_nothing_without_one() {
        for name in ["Enter", "F2", " ", "o", "Delete"] {
            assert_eq!(step(key(name), None, (3, 2), 10), None, "{name}");
            assert!(step(key(name), Some((0, 0)), (3, 2), 10).is_some(), "{name}");
        }
        let extends = KeyPress { shift: true, ..key("ArrowDown") };
        assert_eq!(step(extends, Some((0, 0)), (3, 2), 10), Some(KeyAction::Go((1, 0), true)));
        assert_eq!(step(KeyPress { command: true, ..key("Enter") }, Some((0, 0)), (3, 2), 10), Some(KeyAction::Open));
        assert_eq!(step(key("x"), Some((0, 0)), (3, 2), 10), None);
    }

    #[wasm_bindgen_test]
    fn tab_goes_on_in_the_next_row_and_stops_at_the_ends() {
        let all = (2, 3);
        assert_eq!(after_edit((0, 2), all, true, false), (1, 0));
        assert_eq!(after_edit((1, 0), all, true, true), (0, 2));
        assert_eq!([after_edit((1, 2), all, true, false), after_edit((0, 0), all, true, true)], [(1, 2), (0, 0)]);
        assert_eq!([after_edit((0, 1), all, false, false), after_edit((1, 1), all, false, false)], [(1, 1), (1, 1)]);
    }
}
