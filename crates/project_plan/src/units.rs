//! Units of durations and lags, and how much working time each has.

use pmo_planning::Span;

/// Unit in which a duration was entered.
///
/// Elapsed units count all time: an elapsed day has 24 hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DurationUnit {
    /// Minutes, `m`.
    Minutes,
    /// Hours, `h`.
    Hours,
    /// Days, `d`.
    #[default]
    Days,
    /// Weeks, `w`.
    Weeks,
    /// Months, `mo`.
    Months,
    /// Elapsed minutes, `em`.
    ElapsedMinutes,
    /// Elapsed hours, `eh`.
    ElapsedHours,
    /// Elapsed days, `ed`.
    ElapsedDays,
    /// Elapsed weeks, `ew`.
    ElapsedWeeks,
    /// Elapsed months of 30 days, `emo`.
    ElapsedMonths,
}

/// Unit in which a lag was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LagUnit {
    /// Unit of time.
    Time(DurationUnit),
    /// Percentage of the predecessor's duration, `%`.
    Percent,
    /// The same as elapsed time, `e%`.
    ElapsedPercent,
}

/// Percentage in hundredths: 10,000 is the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(pub i32);

/// Working time of a day, a week and a month, as the settings of a project state them.
///
/// They convert units only; they do not shape calendars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitSizes {
    /// Working time of a day.
    pub day: Span,
    /// Working time of a week.
    pub week: Span,
    /// Working time of a month.
    pub month: Span,
}

impl Default for UnitSizes {
    fn default() -> Self {
        Self { day: Span::hours(8), week: Span::hours(40), month: Span::hours(160) }
    }
}

impl Default for LagUnit {
    fn default() -> Self {
        Self::Time(DurationUnit::Days)
    }
}

impl DurationUnit {
    /// All units, working time first.
    pub const ALL: [Self; 10] = [
        Self::Minutes,
        Self::Hours,
        Self::Days,
        Self::Weeks,
        Self::Months,
        Self::ElapsedMinutes,
        Self::ElapsedHours,
        Self::ElapsedDays,
        Self::ElapsedWeeks,
        Self::ElapsedMonths,
    ];

    /// Returns the code that columns contain.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Minutes => "m",
            Self::Hours => "h",
            Self::Days => "d",
            Self::Weeks => "w",
            Self::Months => "mo",
            Self::ElapsedMinutes => "em",
            Self::ElapsedHours => "eh",
            Self::ElapsedDays => "ed",
            Self::ElapsedWeeks => "ew",
            Self::ElapsedMonths => "emo",
        }
    }

    /// Returns the unit with a code.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.code() == code)
    }

    /// Returns true for units of elapsed time.
    pub const fn is_elapsed(self) -> bool {
        matches!(
            self,
            Self::ElapsedMinutes | Self::ElapsedHours | Self::ElapsedDays | Self::ElapsedWeeks | Self::ElapsedMonths
        )
    }

    /// Returns the elapsed unit with the same name.
    #[must_use]
    pub const fn to_elapsed(self) -> Self {
        match self {
            Self::Minutes | Self::ElapsedMinutes => Self::ElapsedMinutes,
            Self::Hours | Self::ElapsedHours => Self::ElapsedHours,
            Self::Days | Self::ElapsedDays => Self::ElapsedDays,
            Self::Weeks | Self::ElapsedWeeks => Self::ElapsedWeeks,
            Self::Months | Self::ElapsedMonths => Self::ElapsedMonths,
        }
    }

    /// Returns the time that one unit has.
    pub fn size(self, sizes: &UnitSizes) -> Span {
        match self {
            Self::Minutes | Self::ElapsedMinutes => Span::minutes(1),
            Self::Hours | Self::ElapsedHours => Span::hours(1),
            Self::Days => sizes.day,
            Self::Weeks => sizes.week,
            Self::Months => sizes.month,
            Self::ElapsedDays => Span::hours(24),
            Self::ElapsedWeeks => Span::hours(168),
            Self::ElapsedMonths => Span::hours(720),
        }
    }
}

impl LagUnit {
    /// Returns the code that columns contain.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Time(unit) => unit.code(),
            Self::Percent => "%",
            Self::ElapsedPercent => "e%",
        }
    }

    /// Returns the unit with a code.
    pub fn from_code(code: &str) -> Option<Self> {
        match code {
            "%" => Some(Self::Percent),
            "e%" => Some(Self::ElapsedPercent),
            code => DurationUnit::from_code(code).map(Self::Time),
        }
    }
}
