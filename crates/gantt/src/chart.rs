//! What the chart shows: one entry per visible row of the outline, and the links between them.

use crate::link_index::LinkIndex;
use pmo_planning::{LinkKind, Moment};
use std::ops::Range;

/// Rows and links of a chart.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    rows: Vec<Row>,
    /// Place of each row's label in `labels`, and of its baselines in `baselines`.
    places: Vec<(Range<u32>, Range<u32>)>,
    links: Vec<ChartLink>,
    index: LinkIndex,
    baselines: Vec<Baseline>,
    /// Labels of all rows, one after the other.
    labels: String,
}

/// Shape of a row's bar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowKind {
    /// A bar with progress.
    #[default]
    Task,
    /// A bracket around the tasks below.
    Summary,
    /// A diamond.
    Milestone,
}

/// Who decides on the dates of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowMode {
    /// The engine.
    #[default]
    Automatic,
    /// A person.
    Manual,
    /// Nobody: the task takes no part.
    Inactive,
}

/// Whether a row is on the critical path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emphasis {
    /// Not critical.
    #[default]
    Normal,
    /// Critical.
    Critical,
}

/// Whether a row has changes that are not sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMark {
    /// All changes are sent.
    #[default]
    Synced,
    /// A change waits to be sent.
    Unsent,
}

/// Mark of a date constraint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConstraintMark {
    /// No date constraint.
    #[default]
    None,
    /// The start is bounded or fixed.
    Start,
    /// The finish is bounded or fixed.
    Finish,
}

/// Row of the chart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Start; [`Moment::NONE`] for a row without a bar.
    pub start: Moment,
    /// Finish; [`Moment::NONE`] for a row without a bar.
    pub finish: Moment,
    /// Shape of the bar.
    pub kind: RowKind,
    /// Who decides on the dates.
    pub mode: RowMode,
    /// Whether the row is on the critical path.
    pub emphasis: Emphasis,
    /// Whether the row has changes that are not sent.
    pub sync: SyncMark,
    /// Duration that is done, as a percentage from 0 to 100.
    pub percent: u8,
    /// Latest finish without delaying the project; [`Moment::NONE`] for a bar without slack.
    pub slack_end: Moment,
    /// Deadline; [`Moment::NONE`] if there is none.
    pub deadline: Moment,
    /// Mark of the constraint.
    pub constraint: ConstraintMark,
    /// Moment of the constraint; [`Moment::NONE`] without one.
    pub constraint_moment: Moment,
}

/// Dates of a row in a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Baseline {
    /// Start in the baseline.
    pub start: Moment,
    /// Finish in the baseline.
    pub finish: Moment,
}

/// Link between two visible rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChartLink {
    /// Row of the predecessor.
    pub from: u32,
    /// Row of the successor.
    pub to: u32,
    /// Type.
    pub kind: LinkKind,
    /// Whether both ends are critical and the link decides.
    pub emphasis: Emphasis,
}

impl Row {
    /// Returns whether the row has a bar.
    pub fn has_bar(&self) -> bool {
        self.start.is_some() && self.finish.is_some()
    }
}

impl Chart {
    /// Removes everything and keeps the memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.places.clear();
        self.links.clear();
        self.baselines.clear();
        self.labels.clear();
        self.index.clear();
    }

    /// Adds a row with the label beside its bar and its dates in the shown baselines.
    pub fn push_row(&mut self, mut row: Row, label: &str, baselines: impl IntoIterator<Item = Baseline>) {
        let begin = self.labels.len();
        self.labels.push_str(label);
        let label = position(begin)..position(self.labels.len());
        let begin = self.baselines.len();
        self.baselines.extend(baselines);
        self.places.push((label, position(begin)..position(self.baselines.len())));
        row.percent = row.percent.min(100);
        self.rows.push(row);
    }

    /// Replaces the links; those that leave the chart are dropped.
    pub fn set_links(&mut self, links: impl IntoIterator<Item = ChartLink>) {
        let count = position(self.rows.len());
        self.links.clear();
        self.links.extend(links.into_iter().filter(|link| link.from < count && link.to < count));
        self.index.build(self.rows.len(), self.links.iter().map(|link| (link.from, link.to)));
    }

    /// Returns all rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Returns a row for changes of its dates, such as those of a preview.
    pub fn row_mut(&mut self, row: usize) -> Option<&mut Row> {
        self.rows.get_mut(row)
    }

    /// Returns all links.
    pub fn links(&self) -> &[ChartLink] {
        &self.links
    }

    /// Returns a link for changes.
    pub fn link_mut(&mut self, link: usize) -> Option<&mut ChartLink> {
        self.links.get_mut(link)
    }

    /// Calls `visit` for each link that touches or crosses the rows, once.
    pub fn links_in(&self, rows: Range<usize>, mut visit: impl FnMut(usize, &ChartLink)) {
        self.index.visit(rows.clone(), |link| {
            if let Some(entry) = self.links.get(link as usize)
                && (entry.from.min(entry.to) as usize) < rows.end
                && entry.from.max(entry.to) as usize >= rows.start
            {
                visit(link as usize, entry);
            }
        });
    }

    /// Returns the label of a row.
    pub fn label(&self, row: usize) -> &str {
        let range = self.places.get(row).map(|(label, _)| label.start as usize..label.end as usize);
        range.and_then(|range| self.labels.get(range)).unwrap_or_default()
    }

    /// Returns the baselines of a row.
    pub fn baselines(&self, row: usize) -> &[Baseline] {
        let range = self.places.get(row).map(|(_, place)| place.start as usize..place.end as usize);
        range.and_then(|range| self.baselines.get(range)).unwrap_or_default()
    }

    /// Returns the time of all bars, baselines and deadlines; `None` without any.
    pub fn time(&self) -> Option<Range<Moment>> {
        let of_rows = self.rows.iter().flat_map(|row| [row.start, row.finish, row.deadline]);
        let of_baselines = self.baselines.iter().flat_map(|baseline| [baseline.start, baseline.finish]);
        let mut time: Option<Range<Moment>> = None;
        for moment in of_rows.chain(of_baselines).filter(|moment| moment.is_some()) {
            time = Some(time.map_or(moment..moment, |time| time.start.min(moment)..time.end.max(moment)));
        }
        time
    }
}

/// Returns a position as `u32`; texts and lists of a chart are shorter than 4 GB.
fn position(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(start: i32, finish: i32) -> Row {
        Row { start: Moment(start), finish: Moment(finish), ..Row::default() }
    }

    #[test]
    fn rows_keep_their_labels_and_baselines() {
        let mut chart = Chart::default();
        let baseline = Baseline { start: Moment(-5), finish: Moment(7) };
        chart.push_row(row(0, 10), "10 % · AK", [baseline]);
        chart.push_row(Row { percent: 200, ..Row::default() }, "", []);
        assert_eq!((chart.label(0), chart.label(1), chart.label(2)), ("10 % · AK", "", ""));
        assert_eq!((chart.baselines(0), chart.baselines(1).len()), (&[baseline][..], 0));
        assert_eq!(chart.rows()[1].percent, 100);
        assert!(!chart.rows()[1].has_bar());
        assert_eq!(chart.time(), Some(Moment(-5)..Moment(10)));
    }

    #[test]
    fn links_that_leave_the_chart_are_dropped() {
        let mut chart = Chart::default();
        chart.push_row(row(0, 10), "", []);
        let link = |to| ChartLink { from: 0, to, kind: LinkKind::FinishToStart, emphasis: Emphasis::Normal };
        chart.set_links([link(0), link(1)]);
        assert_eq!(chart.links().len(), 1);
    }

    #[test]
    fn an_empty_chart_has_no_time() {
        assert_eq!(Chart::default().time(), None);
    }
}
