//! Index of links by the rows that they span, in blocks of 64 rows.
//!
//! A link is entered at the lowest level at which its blocks fall into at most two cells; a cell of
//! level n holds 2ⁿ blocks. So the index grows with the number of links, not with their length, and
//! a query visits a few cells per level.

use std::ops::Range;

/// Rows per block, as a power of two.
const BLOCK_BITS: u32 = 6;
/// Levels of cells: enough for 2³² rows.
const LEVELS: usize = 27;

/// Index of links by row.
#[derive(Clone, Debug, Default)]
pub struct LinkIndex {
    levels: Vec<Level>,
    /// First and last row of each link.
    spans: Vec<(u32, u32)>,
}

/// Cells of one level in the form of a compressed sparse row.
#[derive(Clone, Debug, Default)]
struct Level {
    /// Begin of each cell in `entries`; one more than there are cells.
    begin: Vec<u32>,
    entries: Vec<u32>,
}

/// Returns level and cells of a link.
fn place((first, last): (u32, u32)) -> (usize, u32, u32) {
    let (first, last) = (first >> BLOCK_BITS, last >> BLOCK_BITS);
    let level = (0..LEVELS).find(|level| (last >> level) - (first >> level) <= 1).unwrap_or(LEVELS - 1);
    (level, first >> level, last >> level)
}

impl LinkIndex {
    /// Removes all links and keeps the memory.
    pub fn clear(&mut self) {
        self.build(0, []);
    }

    /// Replaces the links by those between the given rows; all must be less than `rows`.
    pub fn build(&mut self, rows: usize, links: impl IntoIterator<Item = (u32, u32)>) {
        self.spans.clear();
        self.spans.extend(links.into_iter().map(|(a, b)| (a.min(b), a.max(b))));
        let blocks = rows.div_ceil(1 << BLOCK_BITS);
        let levels = (0..LEVELS).find(|level| blocks >> level <= 1).unwrap_or(LEVELS - 1) + 1;
        self.levels.resize_with(levels, Level::default);
        for (number, level) in self.levels.iter_mut().enumerate() {
            level.entries.clear();
            level.begin.clear();
            level.begin.resize((blocks >> number) + 2, 0);
        }
        // Count, sum, fill: the usual construction of a compressed sparse row.
        for span in &self.spans {
            let (level, first, last) = place(*span);
            for cell in first..=last {
                if let Some(count) = self.levels.get_mut(level).and_then(|l| l.begin.get_mut(cell as usize + 1)) {
                    *count += 1;
                }
            }
        }
        for level in &mut self.levels {
            let mut sum = 0;
            for begin in &mut level.begin {
                sum += *begin;
                *begin = sum;
            }
            level.entries.resize(sum as usize, 0);
        }
        for (link, span) in self.spans.iter().enumerate().rev() {
            let (level, first, last) = place(*span);
            for cell in first..=last {
                let Some(level) = self.levels.get_mut(level) else { continue };
                let Some(end) = level.begin.get_mut(cell as usize + 1) else { continue };
                *end -= 1;
                if let Some(entry) = level.entries.get_mut(*end as usize) {
                    *entry = u32::try_from(link).unwrap_or(u32::MAX);
                }
            }
        }
        // Filling moved each end to the begin of its cell: cell n now begins at position n + 1.
        for level in &mut self.levels {
            let total = u32::try_from(level.entries.len()).unwrap_or(u32::MAX);
            level.begin.rotate_left(1);
            if let Some(last) = level.begin.last_mut() {
                *last = total;
            }
        }
    }

    /// Calls `visit` once for each link whose cells intersect the rows.
    ///
    /// Links of large cells may lie beside the rows; the caller compares their rows.
    pub fn visit(&self, rows: Range<usize>, mut visit: impl FnMut(u32)) {
        if rows.is_empty() {
            return;
        }
        let (first, last) = (rows.start >> BLOCK_BITS, (rows.end - 1) >> BLOCK_BITS);
        for (number, level) in self.levels.iter().enumerate() {
            let (first, last) = (first >> number, last >> number);
            for cell in first..=last {
                let (Some(begin), Some(end)) = (level.begin.get(cell), level.begin.get(cell + 1)) else { break };
                for link in level.entries.get(*begin as usize..*end as usize).unwrap_or_default() {
                    // A link in two cells is visited in the first of them that is visited.
                    let (_, own_first, _) = self.spans.get(*link as usize).map_or((0, 0, 0), |span| place(*span));
                    if cell == (own_first as usize).max(first) {
                        visit(*link);
                    }
                }
            }
        }
    }

    /// Returns the number of entries, for tests of the memory that the index takes.
    pub fn entries(&self) -> usize {
        self.levels.iter().map(|level| level.entries.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_link_that_crosses_the_rows_is_visited_once(
            links in proptest::collection::vec((0_u32..2_000, 0_u32..2_000), 0..200),
            first in 0_usize..2_000, count in 1_usize..300,
        ) {
            let mut index = LinkIndex::default();
            index.build(2_000, links.iter().copied());
            let rows = first..(first + count).min(2_000);
            let mut visits = vec![0; links.len()];
            index.visit(rows.clone(), |link| visits[link as usize] += 1);
            for (link, (a, b)) in links.iter().enumerate() {
                let crosses = (*a.min(b) as usize) < rows.end && *a.max(b) as usize >= rows.start;
                prop_assert!(visits[link] <= 1);
                prop_assert!(!crosses || visits[link] == 1, "link {} of rows {} and {}", link, a, b);
            }
        }
    }

    #[test]
    fn memory_grows_with_the_number_of_links_only() {
        let mut index = LinkIndex::default();
        index.build(100_000, (0..50_000).map(|row| (row, 99_999 - row)));
        assert!(index.entries() <= 100_000);
    }

    #[test]
    fn a_view_visits_few_of_many_short_links() {
        let mut index = LinkIndex::default();
        index.build(10_000, (0..9_995).map(|row| (row, row + 4)));
        let mut visited = 0;
        index.visit(5_000..5_030, |_| visited += 1);
        assert!(visited <= 200, "visited {visited} of 9,995 links");
    }

    #[test]
    fn an_empty_index_visits_nothing() {
        let mut index = LinkIndex::default();
        index.visit(0..10, |_| panic!("no links"));
        index.build(10, [(0, 9)]);
        index.clear();
        index.visit(0..10, |_| panic!("no links"));
    }
}
