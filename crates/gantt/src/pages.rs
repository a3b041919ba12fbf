//! Pages of a printed chart.

use crate::scale::TimeScale;
use pmo_planning::Moment;
use std::ops::Range;

/// Pixels per millimeter at 96 dots per inch.
const PIXELS_PER_MM: f64 = 96.0 / 25.4;
/// Margin of a page in millimeters, as in the style sheet.
const MARGIN_MM: f64 = 10.0;
/// Height of the title of a page.
const TITLE: f64 = 40.0;
/// Height of the legend of a page.
const LEGEND: f64 = 26.0;
/// Most pages of a print.
pub const MAX_PAGES: usize = 200;

/// Size of the paper; pages are in landscape format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paper {
    /// 297 × 210 mm.
    A4,
    /// 420 × 297 mm.
    A3,
}

impl Paper {
    /// Returns width and height in millimeters.
    pub const fn size_mm(self) -> (f64, f64) {
        match self {
            Self::A4 => (297.0, 210.0),
            Self::A3 => (420.0, 297.0),
        }
    }

    /// Returns width and height within the margins in pixels.
    pub fn area(self) -> (f64, f64) {
        let (width, height) = self.size_mm();
        let pixels = |mm: f64| ((mm - MARGIN_MM * 2.0) * PIXELS_PER_MM).floor();
        (pixels(width), pixels(height))
    }

    /// Returns the name of the paper.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A4 => "A4",
            Self::A3 => "A3",
        }
    }
}

/// Measures of all pages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PageLayout {
    /// Width of a page.
    pub width: f64,
    /// Height of a page.
    pub height: f64,
    /// Width of the table at the left of each page.
    pub table: f64,
    /// Height of the title.
    pub title: f64,
    /// Height of the header with the time.
    pub header: f64,
    /// Height of a row.
    pub row_height: f64,
    /// Height of the legend.
    pub legend: f64,
}

impl PageLayout {
    /// Returns the measures of pages on paper.
    pub fn on_paper(paper: Paper, table: f64, header: f64, row_height: f64) -> Self {
        let (width, height) = paper.area();
        Self { width, height, table: table.min(width / 2.0), title: TITLE, header, row_height, legend: LEGEND }
    }

    /// Returns the measures of one page that holds everything.
    pub fn of_whole(table: f64, chart: f64, header: f64, row_height: f64, rows: usize) -> Self {
        #[allow(clippy::cast_precision_loss)] // rows of a plan
        let height = TITLE + header + rows as f64 * row_height + LEGEND;
        Self { width: table + chart, height, table, title: TITLE, header, row_height, legend: LEGEND }
    }

    /// Returns the width of the chart on a page.
    pub fn chart_width(&self) -> f64 {
        (self.width - self.table).max(1.0)
    }

    /// Returns the number of rows on a page.
    pub fn rows_per_page(&self) -> usize {
        let height = self.height - self.title - self.header - self.legend;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates
        let rows = (height / self.row_height.max(1.0)).floor().max(1.0) as usize;
        rows
    }
}

/// Part of the chart on one page.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Number of the page, from 1.
    pub number: usize,
    /// Rows on the page.
    pub rows: Range<usize>,
    /// Position on the scale of the left edge.
    pub scroll_x: f64,
}

/// Reason why a chart is not printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageError {
    /// The plan has no rows or no dates.
    Empty,
    /// The chart needs more than [`MAX_PAGES`] pages.
    TooManyPages(usize),
}

/// Returns the pages of a chart: first all pages of the first rows from left to right.
///
/// # Errors
///
/// If the plan is empty, or needs more than [`MAX_PAGES`] pages.
pub fn split_pages(
    layout: &PageLayout,
    scale: TimeScale,
    time: Range<Moment>,
    rows: usize,
) -> Result<Vec<Page>, PageError> {
    let (begin, end) = (scale.x(time.start), scale.x(time.end));
    if rows == 0 || end <= begin {
        return Err(PageError::Empty);
    }
    let per_page = layout.rows_per_page();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates
    let wide = (((end - begin) / layout.chart_width()) - 1e-6).ceil().max(1.0) as usize;
    let count = rows.div_ceil(per_page).saturating_mul(wide);
    if count > MAX_PAGES {
        return Err(PageError::TooManyPages(count));
    }
    let mut pages = Vec::with_capacity(count);
    for first in (0..rows).step_by(per_page) {
        for column in 0..wide {
            #[allow(clippy::cast_precision_loss)] // at most MAX_PAGES
            let scroll_x = begin + column as f64 * layout.chart_width();
            pages.push(Page { number: pages.len() + 1, rows: first..(first + per_page).min(rows), scroll_x });
        }
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_planning::Span;
    use proptest::prelude::*;

    fn layout() -> PageLayout {
        PageLayout::on_paper(Paper::A4, 380.0, 46.0, 24.0)
    }

    proptest! {
        #[test]
        fn pages_show_every_row_and_all_time_once(rows in 1_usize..600, days in 1_i32..2_000, pixels in 0.3_f64..40.0) {
            let (begin, end) = (Moment(0), Moment(0).plus(Span::hours(24 * days)));
            let scale = TimeScale::new(begin, pixels);
            match split_pages(&layout(), scale, begin..end, rows) {
                Ok(pages) => {
                    prop_assert!(pages.len() <= MAX_PAGES);
                    let wide = pages.iter().filter(|page| page.rows.start == 0).count();
                    prop_assert!(wide as f64 * layout().chart_width() + 0.01 >= scale.x(end));
                    let firsts: Vec<usize> = pages.iter().step_by(wide).flat_map(|page| page.rows.clone()).collect();
                    prop_assert_eq!(firsts, (0..rows).collect::<Vec<_>>());
                    prop_assert!(pages.iter().enumerate().all(|(place, page)| page.number == place + 1));
                }
                Err(PageError::TooManyPages(count)) => prop_assert!(count > MAX_PAGES),
                Err(PageError::Empty) => prop_assert!(false, "the plan is not empty"),
            }
        }
    }

    #[test]
    fn a3_holds_more_than_a4() {
        let large = PageLayout::on_paper(Paper::A3, 380.0, 46.0, 24.0);
        assert!(large.rows_per_page() > layout().rows_per_page() && large.chart_width() > layout().chart_width());
        assert_eq!(layout().rows_per_page(), 25);
    }

    #[test]
    fn empty_and_huge_plans_are_refused() {
        let scale = TimeScale::new(Moment(0), 1_440.0);
        assert_eq!(split_pages(&layout(), scale, Moment(0)..Moment(0), 5), Err(PageError::Empty));
        assert_eq!(split_pages(&layout(), scale, Moment(0)..Moment(1), 0), Err(PageError::Empty));
        let whole = Moment::MIN..Moment::MAX;
        let result = split_pages(&layout(), scale, whole, usize::MAX);
        assert!(matches!(result, Err(PageError::TooManyPages(_))));
    }
}
