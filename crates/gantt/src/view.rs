//! The visible part of the chart.

use crate::scale::TimeScale;
use pmo_planning::Moment;
use std::ops::Range;

/// Visible part of the chart: scale, scroll position and size. All lengths are pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Scale of time.
    pub scale: TimeScale,
    /// Position on the scale of the left edge.
    pub scroll_x: f64,
    /// Distance of the upper edge of the rows from the first row.
    pub scroll_y: f64,
    /// Width of the chart.
    pub width: f64,
    /// Height of the chart with its header.
    pub height: f64,
    /// Height of the header.
    pub header: f64,
    /// Height of a row.
    pub row_height: f64,
}

impl View {
    /// Returns the position of a moment.
    pub fn x(&self, moment: Moment) -> f64 {
        self.scale.x(moment) - self.scroll_x
    }

    /// Returns the moment at a position.
    pub fn moment(&self, x: f64) -> Moment {
        self.scale.moment(x + self.scroll_x)
    }

    /// Returns the visible time.
    pub fn time(&self) -> Range<Moment> {
        self.moment(0.0)..self.moment(self.width)
    }

    /// Returns the rows that are at least partly visible, of `count` rows.
    pub fn rows(&self, count: usize) -> Range<usize> {
        let row_height = self.row_height.max(1.0);
        let top = self.scroll_y.max(0.0);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates
        let (first, end) =
            ((top / row_height) as usize, ((top + (self.height - self.header).max(0.0)) / row_height).ceil() as usize);
        first.min(count)..end.min(count)
    }

    /// Returns the upper edge of a row.
    pub fn row_top(&self, row: usize) -> f64 {
        #[allow(clippy::cast_precision_loss)] // rows of a plan
        let top = row as f64 * self.row_height;
        self.header + top - self.scroll_y
    }

    /// Returns the row at a vertical position; `None` in the header and below the last row.
    pub fn row_at(&self, y: f64, count: usize) -> Option<usize> {
        if y < self.header || y > self.height {
            return None;
        }
        let row = ((y - self.header + self.scroll_y) / self.row_height.max(1.0)).floor();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates
        let row = if row < 0.0 { None } else { Some(row as usize) };
        row.filter(|row| *row < count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn view(scroll_y: f64, height: f64) -> View {
        let scale = TimeScale::new(Moment(0), 11.0);
        View { scale, scroll_x: 0.0, scroll_y, width: 800.0, height, header: 46.0, row_height: 30.0 }
    }

    proptest! {
        #[test]
        fn visible_rows_are_exactly_those_that_intersect_the_view(
            scroll in 0_u32..20_000, height in 46_u32..1_200, count in 0_usize..700,
        ) {
            let view = view(f64::from(scroll), f64::from(height));
            let rows = view.rows(count);
            for row in 0..count {
                let (top, end) = (view.row_top(row), view.row_top(row) + 30.0);
                prop_assert_eq!(rows.contains(&row), end > view.header && top < view.height, "row {}", row);
            }
        }

        #[test]
        fn the_row_at_a_position_contains_it(scroll in 0_u32..2_000, y in 0_u32..900) {
            let (view, y) = (view(f64::from(scroll), 900.0), f64::from(y));
            match view.row_at(y, 1_000) {
                Some(row) => prop_assert!(view.row_top(row) <= y && y < view.row_top(row) + 30.0),
                None => prop_assert!(y < view.header),
            }
        }
    }

    #[test]
    fn no_row_is_below_the_last_one() {
        assert_eq!(view(0.0, 900.0).row_at(46.0 + 30.0 * 3.0 + 1.0, 3), None);
    }
}
