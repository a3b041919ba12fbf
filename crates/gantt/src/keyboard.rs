//! Keyboard of the chart.

/// Modifier keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modifiers {
    /// Shift.
    pub shift: bool,
    /// Alt.
    pub alt: bool,
    /// Ctrl, or Command.
    pub control: bool,
}

/// Command of the keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Selects the row some rows below, or above if negative.
    Select(i32),
    /// Selects the row one page below, or above if negative.
    SelectPage(i32),
    /// Selects the first row.
    First,
    /// Selects the last row.
    Last,
    /// Hides the rows below a summary, or selects the parent.
    Collapse,
    /// Shows the rows below a summary.
    Expand,
    /// Opens the page of the task.
    Open,
    /// Moves the bar by some days.
    Move(i32),
    /// Makes the bar some days longer.
    Resize(i32),
    /// Sets the progress to a percentage.
    Progress(u8),
    /// Begins a link from the selected bar, or ends it there.
    Link,
    /// Explains the dates of the task.
    Why,
    /// Shows the problems of the plan.
    Problems,
    /// Zooms in (1) or out (-1).
    Zoom(i32),
    /// Shows the whole plan.
    Fit,
    /// Scrolls to today.
    Today,
    /// Scrolls to the bar of the selected row.
    Reveal,
    /// Shows or hides the critical path.
    Critical,
    /// Takes back the last change.
    Undo,
    /// Makes the change again.
    Redo,
    /// Gives up a drag or a link, or closes what is open.
    Cancel,
}

/// Returns the command of a key as browsers name it; `None` for a key without one.
pub fn command(key: &str, modifiers: Modifiers) -> Option<Command> {
    let Modifiers { shift, alt, control } = modifiers;
    let days = if shift { 7 } else { 1 };
    if control {
        return match key {
            "z" | "Z" if shift => Some(Command::Redo),
            "z" => Some(Command::Undo),
            "y" => Some(Command::Redo),
            "Home" => Some(Command::First),
            "End" => Some(Command::Last),
            _ => None,
        };
    }
    if alt {
        return match key {
            "ArrowLeft" => Some(Command::Move(-days)),
            "ArrowRight" => Some(Command::Move(days)),
            _ => None,
        };
    }
    Some(match key {
        "ArrowDown" => Command::Select(1),
        "ArrowUp" => Command::Select(-1),
        "PageDown" => Command::SelectPage(1),
        "PageUp" => Command::SelectPage(-1),
        "Home" => Command::First,
        "End" => Command::Last,
        "ArrowLeft" => Command::Collapse,
        "ArrowRight" => Command::Expand,
        "Enter" => Command::Open,
        "]" => Command::Resize(1),
        "[" => Command::Resize(-1),
        "}" => Command::Resize(7),
        "{" => Command::Resize(-7),
        "l" | "L" => Command::Link,
        "i" | "I" | "?" => Command::Why,
        "!" => Command::Problems,
        "+" | "=" => Command::Zoom(1),
        "-" | "_" => Command::Zoom(-1),
        "f" | "F" => Command::Fit,
        "t" | "T" => Command::Today,
        " " => Command::Reveal,
        "c" | "C" => Command::Critical,
        "d" | "D" => Command::Progress(100),
        "Escape" => Command::Cancel,
        digit => Command::Progress(digit.parse::<u8>().ok().filter(|_| digit.len() == 1)?.min(9) * 10),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(key: &str) -> Option<Command> {
        command(key, Modifiers::default())
    }

    #[test]
    fn alt_with_arrows_moves_a_bar_and_shift_moves_it_farther() {
        let alt = Modifiers { alt: true, ..Modifiers::default() };
        assert_eq!(command("ArrowLeft", alt), Some(Command::Move(-1)));
        assert_eq!(command("ArrowRight", Modifiers { shift: true, ..alt }), Some(Command::Move(7)));
        assert_eq!(command("l", alt), None, "menus of the browser keep their keys");
    }

    #[test]
    fn keys_without_modifiers_select_and_change() {
        assert_eq!(plain("ArrowDown"), Some(Command::Select(1)));
        assert_eq!(plain("l"), Some(Command::Link));
        assert_eq!(plain("i"), Some(Command::Why));
        assert_eq!(plain("]"), Some(Command::Resize(1)));
        assert_eq!(plain("4"), Some(Command::Progress(40)));
        assert_eq!(plain("d"), Some(Command::Progress(100)));
        for key in ["F5", "a", "Tab", "Shift", "10", "é", ""] {
            assert_eq!(plain(key), None, "{key}");
        }
    }

    #[test]
    fn undo_and_redo_have_the_usual_keys() {
        let control = Modifiers { control: true, ..Modifiers::default() };
        assert_eq!(command("z", control), Some(Command::Undo));
        assert_eq!(command("Z", Modifiers { shift: true, ..control }), Some(Command::Redo));
        assert_eq!(command("c", control), None, "copying stays with the browser");
    }
}
