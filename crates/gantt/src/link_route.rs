//! Routes of links: horizontal and vertical lines from bar to bar.

use crate::bars::{BarBox, DIAMOND};
use crate::chart::RowKind;
use crate::scene::Point;
use pmo_planning::LinkKind;

/// Distance of a vertical line from the end of a bar.
const GAP: f64 = 8.0;
/// Most corners of a route.
const CORNERS: usize = 6;

/// Direction in which an arrow points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heading {
    /// To the left.
    Left,
    /// To the right.
    Right,
    /// Down.
    Down,
    /// Up.
    Up,
}

/// Route of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Route {
    points: [Point; CORNERS],
    count: usize,
    /// Direction of the arrow at the last point.
    pub heading: Heading,
}

impl Route {
    fn new(points: &[(f64, f64)], heading: Heading) -> Self {
        let mut route = Self { points: [Point::default(); CORNERS], count: points.len().min(CORNERS), heading };
        for (slot, (x, y)) in route.points.iter_mut().zip(points) {
            *slot = Point { x: *x, y: *y };
        }
        route
    }

    /// Returns the corners, from the predecessor to the successor.
    pub fn points(&self) -> &[Point] {
        self.points.get(..self.count).unwrap_or_default()
    }

    /// Returns the position of the longest vertical line.
    pub fn vertical(&self) -> f64 {
        let pairs = self.points().windows(2).filter(|pair| (pair[0].x - pair[1].x).abs() < 0.01);
        pairs
            .max_by(|a, b| (a[0].y - a[1].y).abs().total_cmp(&(b[0].y - b[1].y).abs()))
            .map_or_else(|| self.points[0].x, |pair| pair[0].x)
    }

    /// Returns the corners of the arrow head.
    pub fn arrow(&self) -> [Point; 3] {
        let tip = self.points().last().copied().unwrap_or_default();
        let corner = |x: f64, y: f64| Point { x: tip.x + x, y: tip.y + y };
        match self.heading {
            Heading::Right => [tip, corner(-5.0, -3.5), corner(-5.0, 3.5)],
            Heading::Left => [tip, corner(5.0, -3.5), corner(5.0, 3.5)],
            Heading::Down => [tip, corner(-3.5, -5.0), corner(3.5, -5.0)],
            Heading::Up => [tip, corner(-3.5, 5.0), corner(3.5, 5.0)],
        }
    }
}

/// Returns the route of a link between two bars in different rows.
pub fn route(from: &BarBox, to: &BarBox, kind: LinkKind) -> Route {
    let (y1, y2) = (from.middle(), to.middle());
    match kind {
        LinkKind::FinishToStart => finish_to_start(from, to),
        LinkKind::StartToStart => {
            let x = from.x.min(to.x) - GAP;
            Route::new(&[(from.x, y1), (x, y1), (x, y2), (to.x, y2)], Heading::Right)
        }
        LinkKind::FinishToFinish => {
            let x = from.end().max(to.end()) + GAP;
            Route::new(&[(from.end(), y1), (x, y1), (x, y2), (to.end(), y2)], Heading::Left)
        }
        LinkKind::StartToFinish => start_to_finish(from, to),
    }
}

/// Returns the height of the line between the row of `to` and the row before it in the direction of
/// `from`.
fn between_rows(from: &BarBox, to: &BarBox) -> f64 {
    if to.y >= from.y { to.y - 5.0 } else { to.y + to.height + 5.0 }
}

fn finish_to_start(from: &BarBox, to: &BarBox) -> Route {
    let (y1, y2, end) = (from.middle(), to.middle(), from.end());
    let x = end + GAP;
    // Into the side, where there is room for a vertical line before the bar.
    if to.x >= end + GAP * 2.0 {
        return Route::new(&[(end, y1), (x, y1), (x, y2), (to.x, y2)], Heading::Right);
    }
    // From above or below, where the bar lies under the vertical line.
    let center = if to.kind == RowKind::Milestone { to.x + DIAMOND } else { x.max(to.x) };
    if to.x > end - GAP * 2.0 && center >= end - 0.5 && to.end() >= center {
        let (tip, heading) = if to.y >= from.y { (to.y, Heading::Down) } else { (to.y + to.height, Heading::Up) };
        return Route::new(&[(end, y1), (center, y1), (center, tip)], heading);
    }
    let (between, back) = (between_rows(from, to), to.x - GAP);
    Route::new(&[(end, y1), (x, y1), (x, between), (back, between), (back, y2), (to.x, y2)], Heading::Right)
}

fn start_to_finish(from: &BarBox, to: &BarBox) -> Route {
    let (y1, y2, end) = (from.middle(), to.middle(), to.end());
    let x = from.x - GAP;
    if end <= from.x - GAP * 2.0 {
        return Route::new(&[(from.x, y1), (x, y1), (x, y2), (end, y2)], Heading::Left);
    }
    let (between, out) = (between_rows(from, to), end + GAP);
    Route::new(&[(from.x, y1), (x, y1), (x, between), (out, between), (out, y2), (end, y2)], Heading::Left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bar(x: f64, row: u32, width: f64) -> BarBox {
        BarBox { x, y: f64::from(row) * 30.0 + 7.0, width, height: 16.0, kind: RowKind::Task }
    }

    proptest! {
        #[test]
        fn routes_are_rectangular_and_connect_the_right_ends(
            x1 in 0.0_f64..900.0, x2 in 0.0_f64..900.0, w1 in 3.0_f64..400.0, w2 in 3.0_f64..400.0,
            row1 in 0_u32..40, gap in 1_u32..40, up in any::<bool>(), kind in 0_usize..4,
        ) {
            let kinds =
                [LinkKind::FinishToStart, LinkKind::StartToStart, LinkKind::FinishToFinish, LinkKind::StartToFinish];
            let kind = kinds[kind];
            let (row1, row2) = if up { (row1 + gap, row1) } else { (row1, row1 + gap) };
            let (from, to) = (bar(x1, row1, w1), bar(x2, row2, w2));
            let route = route(&from, &to, kind);
            let points = route.points();
            for pair in points.windows(2) {
                prop_assert!((pair[0].x - pair[1].x).abs() < 1e-9 || (pair[0].y - pair[1].y).abs() < 1e-9);
            }
            let begins_at_finish = matches!(kind, LinkKind::FinishToStart | LinkKind::FinishToFinish);
            let (first, last) = (points[0], points[points.len() - 1]);
            prop_assert_eq!(first.x, if begins_at_finish { from.end() } else { from.x });
            prop_assert_eq!(first.y, from.middle());
            let ends_at_finish = matches!(kind, LinkKind::FinishToFinish | LinkKind::StartToFinish);
            match route.heading {
                Heading::Right => prop_assert_eq!((last.x, last.y, ends_at_finish), (to.x, to.middle(), false)),
                Heading::Left => prop_assert_eq!((last.x, last.y, ends_at_finish), (to.end(), to.middle(), true)),
                Heading::Down | Heading::Up => {
                    prop_assert!(last.x >= to.x && last.x <= to.end() && !ends_at_finish);
                    prop_assert!(last.y == to.y || last.y == to.y + to.height);
                }
            }
            // The last line leads in the direction of the arrow.
            let before = points[points.len() - 2];
            let forward = match route.heading {
                Heading::Right => before.x <= last.x,
                Heading::Left => before.x >= last.x,
                Heading::Down => before.y <= last.y,
                Heading::Up => before.y >= last.y,
            };
            prop_assert!(forward, "{:?}", route);
        }
    }

    #[test]
    fn a_successor_that_follows_directly_is_entered_from_above() {
        let route = route(&bar(0.0, 0, 100.0), &bar(100.0, 1, 80.0), LinkKind::FinishToStart);
        assert_eq!((route.heading, route.points().len()), (Heading::Down, 3));
    }

    #[test]
    fn a_successor_that_starts_earlier_is_entered_around_its_start() {
        let route = route(&bar(200.0, 0, 100.0), &bar(20.0, 3, 80.0), LinkKind::FinishToStart);
        assert_eq!((route.heading, route.points().len()), (Heading::Right, 6));
        assert_eq!(route.arrow()[0], Point { x: 20.0, y: 3.0 * 30.0 + 15.0 });
    }
}
