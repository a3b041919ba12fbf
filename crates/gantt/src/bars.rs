//! Rectangles of bars.

use crate::chart::{Row, RowKind};
use crate::view::View;

/// Height of the bar of a task.
const BAR_HEIGHT: f64 = 16.0;
/// Height of the bracket of a summary, without its ends.
const SUMMARY_HEIGHT: f64 = 7.0;
/// Half the width of the diamond of a milestone.
pub(crate) const DIAMOND: f64 = 8.0;
/// Least width of a bar, so that short tasks stay visible.
const MIN_WIDTH: f64 = 3.0;

/// Rectangle of a bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BarBox {
    /// Left edge; the center of a milestone is [`DIAMOND`] pixels to the right of it.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// Shape.
    pub kind: RowKind,
}

impl BarBox {
    /// Returns the right edge.
    pub fn end(&self) -> f64 {
        self.x + self.width
    }

    /// Returns the vertical center.
    pub fn middle(&self) -> f64 {
        self.y + self.height / 2.0
    }

    /// Returns the position up to which a percentage of the bar is done.
    pub fn progress(&self, percent: u8) -> f64 {
        self.x + self.width * f64::from(percent.min(100)) / 100.0
    }

    /// Returns the percentage of the bar left of a position, in steps of 5 % at narrow bars.
    pub fn percent(&self, x: f64) -> u8 {
        let share = ((x - self.x) / self.width.max(1.0) * 100.0).clamp(0.0, 100.0);
        let step = if self.width >= 200.0 { 1.0 } else { 5.0 };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 0 and 100
        let percent = ((share / step).round() * step) as u8;
        percent.min(100)
    }
}

/// Returns the rectangle of a row's bar; `None` for a row without a bar.
pub fn bar_box(view: &View, number: usize, row: &Row) -> Option<BarBox> {
    if !row.has_bar() {
        return None;
    }
    let (x, end) = (view.x(row.start), view.x(row.finish));
    let top = view.row_top(number) + ((view.row_height - BAR_HEIGHT) / 2.0).floor();
    Some(match row.kind {
        RowKind::Milestone => {
            BarBox { x: end - DIAMOND, y: top, width: DIAMOND * 2.0, height: BAR_HEIGHT, kind: row.kind }
        }
        RowKind::Summary => {
            BarBox { x, y: top + 3.0, width: (end - x).max(MIN_WIDTH), height: SUMMARY_HEIGHT, kind: row.kind }
        }
        RowKind::Task => BarBox { x, y: top, width: (end - x).max(MIN_WIDTH), height: BAR_HEIGHT, kind: row.kind },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::TimeScale;
    use pmo_planning::{Moment, Span};
    use proptest::prelude::*;

    fn view() -> View {
        let scale = TimeScale::new(Moment(0), 10.0);
        View { scale, scroll_x: 50.0, scroll_y: 15.0, width: 800.0, height: 600.0, header: 46.0, row_height: 30.0 }
    }

    fn row(kind: RowKind, start: i32, days: i32) -> Row {
        let start = Moment(start);
        Row { start, finish: start.plus(Span::hours(24 * days)), kind, ..Row::default() }
    }

    #[test]
    fn bars_follow_time_and_rows() {
        let bar = bar_box(&view(), 2, &row(RowKind::Task, 144_000, 5)).unwrap();
        assert_eq!((bar.x, bar.y, bar.width, bar.height), (50.0, 46.0 + 60.0 - 15.0 + 7.0, 50.0, 16.0));
        let milestone = bar_box(&view(), 2, &row(RowKind::Milestone, 144_000, 0)).unwrap();
        assert_eq!((milestone.x + DIAMOND, milestone.middle()), (50.0, bar.middle()));
    }

    #[test]
    fn short_tasks_stay_visible_and_rows_without_dates_have_no_bar() {
        assert_eq!(bar_box(&view(), 0, &row(RowKind::Task, 0, 0)).unwrap().width, MIN_WIDTH);
        assert_eq!(bar_box(&view(), 0, &Row::default()), None);
    }

    proptest! {
        #[test]
        fn progress_and_percent_agree(percent in 0_u8..=100, width in 200.0_f64..5_000.0) {
            let bar = BarBox { x: 10.0, y: 0.0, width, height: 16.0, kind: RowKind::Task };
            prop_assert_eq!(bar.percent(bar.progress(percent)), percent);
        }

        #[test]
        fn bars_lie_within_their_rows(number in 0_usize..5_000, days in 0_i32..400, kind in 0..3) {
            let kind = [RowKind::Task, RowKind::Summary, RowKind::Milestone][kind as usize];
            let bar = bar_box(&view(), number, &row(kind, 0, days)).unwrap();
            let top = view().row_top(number);
            prop_assert!(bar.y >= top && bar.y + bar.height <= top + 30.0);
        }
    }
}
