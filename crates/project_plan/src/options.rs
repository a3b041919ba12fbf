//! Names of the options that the engine knows; administrators cannot rename them.

use pmo_planning::{Constraint, Direction, LinkKind, Mode, Moment, TaskType};

/// Type whose values have fixed names in option columns.
pub trait OptionName: Copy + PartialEq + Sized + 'static {
    /// Values and their names.
    const NAMES: &'static [(Self, &'static str)];

    /// Returns the value with a name.
    fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(value, _)| *value)
    }

    /// Returns the name.
    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(value, _)| *value == self).map_or("", |(_, name)| name)
    }
}

/// Type of the constraint of a task, without its date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConstraintType {
    /// As soon as possible.
    #[default]
    AsSoonAsPossible,
    /// As late as possible without delaying the project.
    AsLateAsPossible,
    /// Starts on the date.
    MustStartOn,
    /// Finishes on the date.
    MustFinishOn,
    /// Starts on the date or later.
    StartNoEarlierThan,
    /// Starts on the date or earlier.
    StartNoLaterThan,
    /// Finishes on the date or later.
    FinishNoEarlierThan,
    /// Finishes on the date or earlier.
    FinishNoLaterThan,
}

impl OptionName for ConstraintType {
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::AsSoonAsPossible, "As Soon As Possible"),
        (Self::AsLateAsPossible, "As Late As Possible"),
        (Self::MustStartOn, "Must Start On"),
        (Self::MustFinishOn, "Must Finish On"),
        (Self::StartNoEarlierThan, "Start No Earlier Than"),
        (Self::StartNoLaterThan, "Start No Later Than"),
        (Self::FinishNoEarlierThan, "Finish No Earlier Than"),
        (Self::FinishNoLaterThan, "Finish No Later Than"),
    ];
}

impl OptionName for Mode {
    const NAMES: &'static [(Self, &'static str)] =
        &[(Self::Automatic, "Automatic"), (Self::Manual, "Manual"), (Self::Inactive, "Inactive")];
}

impl OptionName for TaskType {
    const NAMES: &'static [(Self, &'static str)] =
        &[(Self::FixedUnits, "Fixed Units"), (Self::FixedDuration, "Fixed Duration"), (Self::FixedWork, "Fixed Work")];
}

impl OptionName for Direction {
    const NAMES: &'static [(Self, &'static str)] = &[(Self::FromStart, "Start"), (Self::FromFinish, "Finish")];
}

impl OptionName for LinkKind {
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::FinishToStart, "FS"),
        (Self::StartToStart, "SS"),
        (Self::FinishToFinish, "FF"),
        (Self::StartToFinish, "SF"),
    ];
}

impl ConstraintType {
    /// Returns the constraint with a date; one that needs a date and has none is no constraint.
    pub fn with_date(self, date: Moment) -> Constraint {
        let dated = |make: fn(Moment) -> Constraint| date.get().map(make).unwrap_or_default();
        match self {
            Self::AsSoonAsPossible => Constraint::AsSoonAsPossible,
            Self::AsLateAsPossible => Constraint::AsLateAsPossible,
            Self::MustStartOn => dated(Constraint::MustStartOn),
            Self::MustFinishOn => dated(Constraint::MustFinishOn),
            Self::StartNoEarlierThan => dated(Constraint::StartNoEarlierThan),
            Self::StartNoLaterThan => dated(Constraint::StartNoLaterThan),
            Self::FinishNoEarlierThan => dated(Constraint::FinishNoEarlierThan),
            Self::FinishNoLaterThan => dated(Constraint::FinishNoLaterThan),
        }
    }

    /// Returns the type of a constraint of the engine.
    pub fn of(constraint: Constraint) -> Self {
        match constraint {
            Constraint::AsSoonAsPossible => Self::AsSoonAsPossible,
            Constraint::AsLateAsPossible => Self::AsLateAsPossible,
            Constraint::MustStartOn(_) => Self::MustStartOn,
            Constraint::MustFinishOn(_) => Self::MustFinishOn,
            Constraint::StartNoEarlierThan(_) => Self::StartNoEarlierThan,
            Constraint::StartNoLaterThan(_) => Self::StartNoLaterThan,
            Constraint::FinishNoEarlierThan(_) => Self::FinishNoEarlierThan,
            Constraint::FinishNoLaterThan(_) => Self::FinishNoLaterThan,
        }
    }
}
