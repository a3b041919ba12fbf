//! What is under the pointer.

use crate::bars::{BarBox, bar_box};
use crate::chart::{Chart, RowKind};
use crate::view::View;

/// Distance of the dot of a link from the end of a bar.
pub(crate) const DOT_DISTANCE: f64 = 9.0;
/// Radius of the dot of a link.
pub(crate) const DOT_RADIUS: f64 = 4.0;
/// Width of the zone at an end of a bar that resizes it.
const EDGE: f64 = 7.0;
/// Width below which a bar can only be moved, because its ends are too small to aim at.
const NARROW: f64 = 12.0;
/// Distance from the end of the progress within which it can be dragged.
const PROGRESS: f64 = 5.0;

/// Part of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The bar itself.
    Body,
    /// Its start.
    Start,
    /// Its finish.
    Finish,
    /// The end of its progress.
    Progress,
    /// The dot from which a link from the start is drawn.
    LinkStart,
    /// The dot from which a link from the finish is drawn.
    LinkFinish,
}

/// What is under the pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// Neither header nor row.
    Nothing,
    /// The header.
    Header,
    /// A row, beside its bar.
    Row(usize),
    /// A bar.
    Bar {
        /// Row of the bar.
        row: usize,
        /// Part of the bar.
        part: Part,
    },
}

/// Size of what can be hit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HitOptions {
    /// Distance from a bar that still counts as the bar: 0 for a mouse, more for a finger.
    pub tolerance: f64,
}

/// Returns what is at a position.
pub fn hit(view: &View, chart: &Chart, (x, y): (f64, f64), options: HitOptions) -> Hit {
    if y < view.header {
        return Hit::Header;
    }
    let Some(row) = view.row_at(y, chart.rows().len()) else { return Hit::Nothing };
    let bar = chart.rows().get(row).and_then(|entry| bar_box(view, row, entry).map(|bar| (bar, entry)));
    let part = bar.and_then(|(bar, entry)| part_at(&bar, entry.percent, (x, y), options.tolerance));
    part.map_or(Hit::Row(row), |part| Hit::Bar { row, part })
}

fn part_at(bar: &BarBox, percent: u8, (x, y): (f64, f64), tolerance: f64) -> Option<Part> {
    if y < bar.y - 2.0 - tolerance || y > bar.y + bar.height + 4.0 + tolerance {
        return None;
    }
    let (left, right) = (x - bar.x, x - bar.end());
    let dot = DOT_DISTANCE - DOT_RADIUS - 2.0..DOT_DISTANCE + DOT_RADIUS + 3.0;
    if dot.contains(&right) {
        return Some(Part::LinkFinish);
    }
    if dot.contains(&-left) {
        return Some(Part::LinkStart);
    }
    if left < -tolerance - 1.0 || right > tolerance + 1.0 {
        return None;
    }
    // Milestones and summaries have no ends and no progress of their own.
    if bar.kind != RowKind::Task {
        return Some(Part::Body);
    }
    // The lower half of a bar holds the handle of the progress. At 0 and 100 % the ends of the bar
    // come first, unless the pointer is below the bar.
    let at_progress = (x - bar.progress(percent)).abs() <= PROGRESS && bar.width >= EDGE * 2.0;
    if at_progress && (y > bar.y + bar.height || (percent > 0 && percent < 100 && y > bar.middle())) {
        return Some(Part::Progress);
    }
    let edge = if bar.width < NARROW { 0.0 } else { EDGE.min(bar.width / 3.0) };
    if right > -edge {
        return Some(Part::Finish);
    }
    if left < edge {
        return Some(Part::Start);
    }
    Some(Part::Body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::Row;
    use crate::scale::TimeScale;
    use pmo_planning::{Moment, Span};

    fn chart() -> Chart {
        let mut chart = Chart::default();
        let start = Moment(144_000);
        let finish = start.plus(Span::hours(240));
        chart.push_row(Row { start, finish, percent: 50, ..Row::default() }, "", []);
        chart.push_row(Row { start, finish: start, kind: RowKind::Milestone, ..Row::default() }, "", []);
        chart.push_row(Row::default(), "", []);
        chart
    }

    fn view() -> View {
        let scale = TimeScale::new(Moment(0), 10.0);
        View { scale, scroll_x: 0.0, scroll_y: 0.0, width: 800.0, height: 600.0, header: 46.0, row_height: 30.0 }
    }

    fn at(x: f64, y: f64) -> Hit {
        hit(&view(), &chart(), (x, y), HitOptions { tolerance: 0.0 })
    }

    #[test]
    fn every_part_of_a_bar_can_be_hit() {
        // The bar is at 100 to 200, 53 to 69; half of it is done.
        let part = |part| Hit::Bar { row: 0, part };
        assert_eq!(at(125.0, 60.0), part(Part::Body));
        assert_eq!(at(102.0, 60.0), part(Part::Start));
        assert_eq!(at(198.0, 60.0), part(Part::Finish));
        assert_eq!(at(150.0, 66.0), part(Part::Progress));
        assert_eq!(at(150.0, 55.0), part(Part::Body), "the upper half moves the bar");
        assert_eq!(at(209.0, 60.0), part(Part::LinkFinish));
        assert_eq!(at(91.0, 60.0), part(Part::LinkStart));
        assert_eq!(at(240.0, 60.0), Hit::Row(0));
        assert_eq!(at(10.0, 10.0), Hit::Header);
        assert_eq!(at(10.0, 300.0), Hit::Nothing);
    }

    #[test]
    fn a_milestone_has_a_body_and_links_only() {
        assert_eq!(at(100.0, 90.0), Hit::Bar { row: 1, part: Part::Body });
        assert_eq!(at(117.0, 90.0), Hit::Bar { row: 1, part: Part::LinkFinish });
        assert_eq!(at(100.0, 120.0), Hit::Row(2), "a row without dates has no bar");
    }

    #[test]
    fn a_narrow_bar_is_moved_as_a_whole() {
        let mut chart = Chart::default();
        let start = Moment(144_000);
        chart.push_row(Row { start, finish: start.plus(Span::hours(12)), ..Row::default() }, "", []);
        for x in [100.5, 102.0, 104.5] {
            let found = hit(&view(), &chart, (x, 60.0), HitOptions { tolerance: 0.0 });
            assert_eq!(found, Hit::Bar { row: 0, part: Part::Body }, "at {x}");
        }
    }

    #[test]
    fn a_finger_may_miss_a_bar_by_the_tolerance() {
        let touch = |x, y| hit(&view(), &chart(), (x, y), HitOptions { tolerance: 8.0 });
        assert_eq!(touch(125.0, 47.0), Hit::Bar { row: 0, part: Part::Body });
        assert_eq!(at(125.0, 47.0), Hit::Row(0));
    }
}
