//! What a change of the plan moves.

use crate::label::days_label;
use pmo_planning::{Moment, Span};
use std::fmt;

/// Effect of a change on the dates of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Impact {
    /// Number of tasks whose start or finish differs.
    pub moved: usize,
    /// Elapsed time by which the finish of the project moves.
    pub finish: Span,
}

impl Impact {
    /// Compares the dates of all tasks and the project finish before and after a change.
    pub fn compare(
        before: impl IntoIterator<Item = (Moment, Moment)>,
        after: impl IntoIterator<Item = (Moment, Moment)>,
        (finish_before, finish_after): (Moment, Moment),
    ) -> Self {
        let moved = before.into_iter().zip(after).filter(|(before, after)| before != after).count();
        let finish = match (finish_before.get(), finish_after.get()) {
            (Some(before), Some(after)) => after.since(before),
            _ => Span::ZERO,
        };
        Self { moved, finish }
    }
}

impl fmt::Display for Impact {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.moved {
            0 => return formatter.write_str("Moves no task"),
            1 => formatter.write_str("Moves 1 task")?,
            moved => write!(formatter, "Moves {moved} tasks")?,
        }
        match self.finish {
            Span::ZERO => formatter.write_str(", finish unchanged"),
            finish => write!(formatter, ", finish {}", days_label(finish)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tasks_with_other_dates_count() {
        let (a, b, c) = (Moment(0), Moment(14_400), Moment(14_400 * 4));
        let impact = Impact::compare([(a, b), (b, b), (b, c)], [(a, b), (b, c), (b, b)], (b, c));
        assert_eq!(impact, Impact { moved: 2, finish: Span::hours(72) });
        assert_eq!(impact.to_string(), "Moves 2 tasks, finish +3 days");
    }

    #[test]
    fn a_change_without_effect_says_so() {
        assert_eq!(Impact::default().to_string(), "Moves no task");
        assert_eq!(Impact { moved: 1, finish: Span::ZERO }.to_string(), "Moves 1 task, finish unchanged");
        let absent = Impact::compare([], [], (Moment::NONE, Moment(5)));
        assert_eq!(absent, Impact::default());
    }
}
