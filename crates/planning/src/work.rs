//! Work, duration and units of a task: what is recalculated when one of them changes.
//!
//! Microsoft: work = duration × units. With fixed units, a change of units or work changes the
//! duration, a change of the duration the work. With fixed work, a change of units changes the
//! duration, a change of duration or work the units. With fixed duration, a change of duration or
//! units changes the work, a change of work the units. Effort-driven: adding or removing people
//! keeps the work and divides it among them.

use crate::model::{TaskType, Units};
use crate::moment::Span;

/// Work, duration and units of a task, units being the sum over its people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkTriangle {
    /// Work.
    pub work: Span,
    /// Duration.
    pub duration: Span,
    /// Units.
    pub units: Units,
}

/// Value that a person enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkChange {
    /// New work.
    Work(Span),
    /// New duration.
    Duration(Span),
    /// New units.
    Units(Units),
}

impl WorkTriangle {
    /// Returns the three values after one of them was changed.
    ///
    /// A value that cannot be computed, because no units or no duration are left, stays as it is.
    #[must_use]
    pub fn changed(self, task_type: TaskType, change: WorkChange) -> Self {
        let mut after = self;
        match change {
            WorkChange::Work(work) => after.work = Span(work.0.max(0)),
            WorkChange::Duration(duration) => after.duration = Span(duration.0.max(0)),
            WorkChange::Units(units) => after.units = units,
        }
        match (task_type, change) {
            (TaskType::FixedUnits, WorkChange::Units(_) | WorkChange::Work(_))
            | (TaskType::FixedWork, WorkChange::Units(_)) => after.with_duration(),
            (TaskType::FixedUnits, WorkChange::Duration(_))
            | (TaskType::FixedDuration, WorkChange::Duration(_) | WorkChange::Units(_)) => after.with_work(),
            (TaskType::FixedWork, WorkChange::Duration(_) | WorkChange::Work(_))
            | (TaskType::FixedDuration, WorkChange::Work(_)) => after.with_units(),
        }
    }

    /// Returns the values after people were added or removed, which makes `units` the new sum.
    ///
    /// Effort-driven tasks keep their work, and so do tasks with fixed work; others keep their
    /// duration.
    #[must_use]
    pub fn with_people(self, task_type: TaskType, effort_driven: bool, units: Units) -> Self {
        let after = Self { units, ..self };
        match (effort_driven || task_type == TaskType::FixedWork, task_type) {
            (true, TaskType::FixedDuration) => after.with_units(),
            (true, _) => after.with_duration(),
            (false, _) => after.with_work(),
        }
    }

    fn with_duration(mut self) -> Self {
        if self.units.0 > 0 {
            self.duration = self.work.scale(10_000, i64::from(self.units.0));
        }
        self
    }

    fn with_work(mut self) -> Self {
        self.work = self.duration.scale(i64::from(self.units.0), 10_000);
        self
    }

    fn with_units(mut self) -> Self {
        if self.duration.0 > 0 {
            let units = Span(10_000).scale(i64::from(self.work.0), i64::from(self.duration.0));
            self.units = Units(u32::try_from(units.0).unwrap_or(0));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn triangle(work: i32, duration: i32) -> WorkTriangle {
        WorkTriangle { work: Span::hours(work), duration: Span::hours(duration), units: Units::WHOLE }
    }

    #[test]
    fn fixed_units_keep_units() {
        let after = triangle(8, 8).changed(TaskType::FixedUnits, WorkChange::Work(Span::hours(20)));
        assert_eq!(after, triangle(20, 20));
        let after = triangle(8, 8).changed(TaskType::FixedUnits, WorkChange::Duration(Span::hours(16)));
        assert_eq!(after, triangle(16, 16));
    }

    #[test]
    fn fixed_duration_keeps_the_duration() {
        let after = triangle(8, 8).changed(TaskType::FixedDuration, WorkChange::Work(Span::hours(16)));
        assert_eq!(after, WorkTriangle { units: Units(20_000), ..triangle(16, 8) });
        let after = triangle(8, 8).changed(TaskType::FixedDuration, WorkChange::Units(Units(5_000)));
        assert_eq!(after, WorkTriangle { units: Units(5_000), ..triangle(4, 8) });
    }

    #[test]
    fn fixed_work_keeps_the_work() {
        let after = triangle(16, 16).changed(TaskType::FixedWork, WorkChange::Duration(Span::hours(32)));
        assert_eq!(after, WorkTriangle { units: Units(5_000), ..triangle(16, 32) });
    }

    #[test]
    fn effort_driven_work_is_divided_among_people() {
        let after = triangle(16, 16).with_people(TaskType::FixedUnits, true, Units(20_000));
        assert_eq!(after, WorkTriangle { units: Units(20_000), ..triangle(16, 8) });
        let after = triangle(16, 16).with_people(TaskType::FixedUnits, false, Units(20_000));
        assert_eq!(after, WorkTriangle { units: Units(20_000), ..triangle(32, 16) });
    }

    #[test]
    fn absurd_values_stay_in_range() {
        let none = WorkTriangle { work: Span::MAX, duration: Span::ZERO, units: Units(0) };
        for task_type in [TaskType::FixedUnits, TaskType::FixedDuration, TaskType::FixedWork] {
            for change in [
                WorkChange::Work(Span(i32::MIN)),
                WorkChange::Duration(Span(i32::MAX)),
                WorkChange::Units(Units(u32::MAX)),
                WorkChange::Units(Units(0)),
            ] {
                let after = none.changed(task_type, change);
                assert!(after.work >= Span::ZERO && after.duration >= Span::ZERO, "{task_type:?} {change:?}");
            }
        }
    }
}
