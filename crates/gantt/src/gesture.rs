//! Dragging: pointer events become a preview, and at the end one change or none.

use crate::bars::BarBox;
use crate::hit::Part;
use crate::view::View;
use pmo_planning::{LinkKind, Moment, Span};

/// Distance that the pointer must move before a press becomes a drag, in pixels.
const THRESHOLD: f64 = 4.0;

/// End of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarEnd {
    /// Its start.
    Start,
    /// Its finish.
    Finish,
}

/// End of a bar to or from which a link is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkTarget {
    /// Row of the bar.
    pub row: usize,
    /// End of the bar.
    pub end: BarEnd,
}

/// Part of a bar that was pressed, and what the bar was then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grip {
    /// Row of the bar.
    pub row: usize,
    /// Part of the bar.
    pub part: Part,
    /// Rectangle of the bar.
    pub bar: BarBox,
    /// Start of the bar.
    pub start: Moment,
    /// Finish of the bar.
    pub finish: Moment,
    /// Percentage of the bar that is done.
    pub percent: u8,
}

/// Change that a drag stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gesture {
    /// Moves a bar.
    Move {
        /// Row of the bar.
        row: usize,
        /// New start.
        start: Moment,
    },
    /// Moves the start and keeps the finish.
    ResizeStart {
        /// Row of the bar.
        row: usize,
        /// New start.
        start: Moment,
    },
    /// Moves the finish and keeps the start.
    ResizeFinish {
        /// Row of the bar.
        row: usize,
        /// New finish.
        finish: Moment,
    },
    /// Changes the progress.
    Progress {
        /// Row of the bar.
        row: usize,
        /// New percentage.
        percent: u8,
    },
    /// Draws a link.
    Link {
        /// End at which the link begins.
        from: LinkTarget,
        /// End under the pointer; `None` while there is none.
        to: Option<LinkTarget>,
    },
}

impl Gesture {
    /// Returns the row of the bar that is changed, or at which the link begins.
    pub const fn row(self) -> usize {
        match self {
            Self::Move { row, .. }
            | Self::ResizeStart { row, .. }
            | Self::ResizeFinish { row, .. }
            | Self::Progress { row, .. } => row,
            Self::Link { from, .. } => from.row,
        }
    }
}

/// What a pointer event means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing changed.
    Unchanged,
    /// The preview is to be drawn.
    Preview(Gesture),
    /// The change is to be made.
    Commit(Gesture),
    /// The preview is to be withdrawn.
    Cancel,
    /// The bar was pressed and released without a drag.
    Click(usize),
}

/// Drag of a bar.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Drag {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Idle,
    Pressed(Press),
    Dragging(Press, Gesture),
}

/// Pressed part; positions count from the beginning of the plan, so that scrolling moves the bar.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Press {
    grip: Grip,
    x: f64,
    y: f64,
}

impl Drag {
    /// Begins with a press at a position of the view.
    pub fn press(&mut self, view: &View, grip: Grip, (x, y): (f64, f64)) {
        self.state = State::Pressed(Press { grip, x: x + view.scroll_x, y: y + view.scroll_y });
    }

    /// Continues with the pointer at a position of the view; `over` is the bar there.
    pub fn drag(&mut self, view: &View, (x, y): (f64, f64), over: Option<(usize, BarBox)>) -> Outcome {
        let (press, before) = match self.state {
            State::Idle => return Outcome::Unchanged,
            State::Pressed(press) => (press, None),
            State::Dragging(press, gesture) => (press, Some(gesture)),
        };
        let (dx, dy) = (x + view.scroll_x - press.x, y + view.scroll_y - press.y);
        if before.is_none() && dx.abs().max(dy.abs()) < THRESHOLD {
            return Outcome::Unchanged;
        }
        let gesture = gesture(view, &press.grip, dx, x, over);
        self.state = State::Dragging(press, gesture);
        // A link follows the pointer even while its target stays.
        let follows = matches!(gesture, Gesture::Link { .. });
        if before == Some(gesture) && !follows { Outcome::Unchanged } else { Outcome::Preview(gesture) }
    }

    /// Ends with the release of the pointer.
    pub fn release(&mut self) -> Outcome {
        match std::mem::take(&mut self.state) {
            State::Idle => Outcome::Unchanged,
            State::Pressed(press) => Outcome::Click(press.grip.row),
            State::Dragging(press, gesture) if changes(&press.grip, gesture) => Outcome::Commit(gesture),
            State::Dragging(..) => Outcome::Cancel,
        }
    }

    /// Ends without a change: Esc, or the system took the pointer.
    pub fn cancel(&mut self) -> Outcome {
        match std::mem::take(&mut self.state) {
            State::Dragging(..) => Outcome::Cancel,
            State::Idle | State::Pressed(_) => Outcome::Unchanged,
        }
    }

    /// Returns whether a part is pressed or dragged.
    pub fn is_active(&self) -> bool {
        self.state != State::Idle
    }

    /// Returns the current preview; `None` before the pointer has moved.
    pub fn gesture(&self) -> Option<Gesture> {
        match self.state {
            State::Dragging(_, gesture) => Some(gesture),
            State::Idle | State::Pressed(_) => None,
        }
    }

    /// Returns the bar as it was when it was pressed.
    pub fn grip(&self) -> Option<Grip> {
        match self.state {
            State::Dragging(press, _) | State::Pressed(press) => Some(press.grip),
            State::Idle => None,
        }
    }
}

/// Returns the nearest multiple of the snap of the scale.
fn snapped(view: &View, pixels: f64) -> Span {
    let (span, snap) = (i64::from(view.scale.span(pixels).0), i64::from(view.scale.snap().0.max(1)));
    Span::clamped((span + snap / 2).div_euclid(snap) * snap)
}

fn gesture(view: &View, grip: &Grip, dx: f64, x: f64, over: Option<(usize, BarBox)>) -> Gesture {
    let row = grip.row;
    let by = snapped(view, dx);
    match grip.part {
        Part::Body => Gesture::Move { row, start: grip.start.plus(by) },
        Part::Start => Gesture::ResizeStart { row, start: grip.start.plus(by).min(grip.finish) },
        Part::Finish => Gesture::ResizeFinish { row, finish: grip.finish.plus(by).max(grip.start) },
        // The rectangle at the press may have scrolled since: only the movement counts.
        Part::Progress => Gesture::Progress { row, percent: grip.bar.percent(grip.bar.progress(grip.percent) + dx) },
        Part::LinkStart | Part::LinkFinish => {
            let end = if grip.part == Part::LinkStart { BarEnd::Start } else { BarEnd::Finish };
            let target = |(row, bar): (usize, BarBox)| {
                let end = if x < bar.x + bar.width / 2.0 { BarEnd::Start } else { BarEnd::Finish };
                LinkTarget { row, end }
            };
            let to = over.filter(|(target, _)| *target != row).map(target);
            Gesture::Link { from: LinkTarget { row, end }, to }
        }
    }
}

/// Returns whether a gesture changes the bar that was pressed.
fn changes(grip: &Grip, gesture: Gesture) -> bool {
    match gesture {
        Gesture::Move { start, .. } | Gesture::ResizeStart { start, .. } => start != grip.start,
        Gesture::ResizeFinish { finish, .. } => finish != grip.finish,
        Gesture::Progress { percent, .. } => percent != grip.percent,
        Gesture::Link { to, .. } => to.is_some(),
    }
}

/// Returns the type of a link between two ends.
pub fn link_kind(from: BarEnd, to: BarEnd) -> LinkKind {
    match (from, to) {
        (BarEnd::Finish, BarEnd::Start) => LinkKind::FinishToStart,
        (BarEnd::Start, BarEnd::Start) => LinkKind::StartToStart,
        (BarEnd::Finish, BarEnd::Finish) => LinkKind::FinishToFinish,
        (BarEnd::Start, BarEnd::Finish) => LinkKind::StartToFinish,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::RowKind;
    use crate::scale::TimeScale;
    use proptest::prelude::*;

    fn view() -> View {
        let scale = TimeScale::new(Moment(0), 10.0);
        View { scale, scroll_x: 0.0, scroll_y: 0.0, width: 800.0, height: 600.0, header: 46.0, row_height: 30.0 }
    }

    fn start() -> Moment {
        Moment::from_civil(2026, 3, 2, 8, 0)
    }

    fn grip(part: Part) -> Grip {
        let bar = BarBox { x: 100.0, y: 53.0, width: 50.0, height: 16.0, kind: RowKind::Task };
        Grip { row: 3, part, bar, start: start(), finish: start().plus(Span::hours(105)), percent: 40 }
    }

    fn dragged(part: Part, dx: f64) -> Outcome {
        let mut drag = Drag::default();
        drag.press(&view(), grip(part), (110.0, 60.0));
        drag.drag(&view(), (110.0 + dx, 60.0), None);
        drag.release()
    }

    #[test]
    fn a_move_snaps_to_whole_days_and_keeps_the_hour() {
        let moved = Gesture::Move { row: 3, start: start().plus(Span::hours(48)) };
        assert_eq!(dragged(Part::Body, 18.0), Outcome::Commit(moved));
        let back = Gesture::Move { row: 3, start: start().minus(Span::hours(24)) };
        assert_eq!(dragged(Part::Body, -9.0), Outcome::Commit(back));
    }

    #[test]
    fn ends_and_progress_are_dragged_alone() {
        let start = Gesture::ResizeStart { row: 3, start: start().plus(Span::hours(24)) };
        assert_eq!(dragged(Part::Start, 10.0), Outcome::Commit(start));
        let finish = Gesture::ResizeFinish { row: 3, finish: grip(Part::Finish).finish.plus(Span::hours(24)) };
        assert_eq!(dragged(Part::Finish, 10.0), Outcome::Commit(finish));
        assert_eq!(dragged(Part::Progress, 15.0), Outcome::Commit(Gesture::Progress { row: 3, percent: 70 }));
        let Outcome::Commit(Gesture::ResizeStart { start, .. }) = dragged(Part::Start, 500.0) else { panic!() };
        assert_eq!(start, grip(Part::Start).finish, "a bar never has a negative duration");
    }

    #[test]
    fn small_movements_and_returns_change_nothing() {
        assert_eq!(dragged(Part::Body, 2.0), Outcome::Click(3));
        assert_eq!(dragged(Part::Body, 4.5), Outcome::Cancel, "less than half a day");
    }

    #[test]
    fn escape_withdraws_the_preview_and_a_later_release_does_nothing() {
        let mut drag = Drag::default();
        drag.press(&view(), grip(Part::Body), (110.0, 60.0));
        assert!(matches!(drag.drag(&view(), (150.0, 60.0), None), Outcome::Preview(_)));
        assert_eq!(drag.cancel(), Outcome::Cancel);
        assert_eq!((drag.release(), drag.is_active()), (Outcome::Unchanged, false));
    }

    #[test]
    fn scrolling_while_dragging_moves_the_bar() {
        let mut drag = Drag::default();
        drag.press(&view(), grip(Part::Body), (110.0, 60.0));
        let scrolled = View { scroll_x: 30.0, ..view() };
        let moved = Gesture::Move { row: 3, start: start().plus(Span::hours(72)) };
        assert_eq!(drag.drag(&scrolled, (110.0, 60.0), None), Outcome::Preview(moved));
    }

    #[test]
    fn a_link_takes_its_type_from_the_ends() {
        let other = BarBox { x: 300.0, y: 83.0, width: 100.0, height: 16.0, kind: RowKind::Task };
        let mut drag = Drag::default();
        drag.press(&view(), grip(Part::LinkFinish), (158.0, 60.0));
        drag.drag(&view(), (310.0, 90.0), Some((4, other)));
        let Outcome::Commit(Gesture::Link { from, to: Some(to) }) = drag.release() else { panic!("no link") };
        assert_eq!((from.row, to.row, link_kind(from.end, to.end)), (3, 4, LinkKind::FinishToStart));
        drag.press(&view(), grip(Part::LinkStart), (92.0, 60.0));
        drag.drag(&view(), (390.0, 90.0), Some((4, other)));
        let Outcome::Commit(Gesture::Link { from, to: Some(to) }) = drag.release() else { panic!("no link") };
        assert_eq!(link_kind(from.end, to.end), LinkKind::StartToFinish);
    }

    #[test]
    fn a_link_to_nothing_or_to_itself_is_dropped() {
        let mut drag = Drag::default();
        drag.press(&view(), grip(Part::LinkFinish), (158.0, 60.0));
        drag.drag(&view(), (310.0, 90.0), Some((3, grip(Part::Body).bar)));
        assert_eq!(drag.release(), Outcome::Cancel);
    }

    proptest! {
        #[test]
        fn every_sequence_ends_idle(events in proptest::collection::vec((0_u8..4, -900.0_f64..900.0), 0..40)) {
            let mut drag = Drag::default();
            for (event, x) in events {
                match event {
                    0 => drag.press(&view(), grip(Part::Body), (x, 60.0)),
                    1 => { drag.drag(&view(), (x, 60.0), None); }
                    2 => { drag.release(); }
                    _ => { drag.cancel(); }
                }
            }
            drag.release();
            prop_assert!(!drag.is_active());
        }

        #[test]
        fn snapped_moves_are_whole_days(dx in -5_000.0_f64..5_000.0) {
            if let Outcome::Commit(Gesture::Move { start: moved, .. }) = dragged(Part::Body, dx) {
                prop_assert_eq!(moved.since(start()).0 % 14_400, 0);
            }
        }
    }
}
