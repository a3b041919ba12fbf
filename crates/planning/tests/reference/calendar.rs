//! Calendars, asked day by day: which spans of this day are worked?

use crate::moment::{DAY, Day, HOUR, Tick, civil, days_of_month, week_day};

/// Spans of work within a day, as lengths since midnight.
pub(crate) type Hours = Vec<(Tick, Tick)>;

/// What a calendar says about a week day.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WeekDay {
    /// Works as the base calendar does; not at all without one.
    AsBase,
    Free,
    Hours(Hours),
}

/// Other week days for the dates `from` to `to`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WorkWeek {
    pub(crate) from: Day,
    pub(crate) to: Day,
    pub(crate) days: [WeekDay; 7],
}

/// The dates within an exception's range to which it applies.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Recurrence {
    /// Each date of the range; not a recurring exception.
    Single,
    /// Every `n`th day, counted from the first.
    Daily(i64),
    YearlyByDay {
        month: i64,
        day: i64,
    },
    /// The `position`th (0 to 3, 4 is the last) given week day of a month.
    YearlyByPosition {
        month: i64,
        week_day: usize,
        position: i64,
    },
    /// A day of every `n`th month, counted from the month of the first date; the last day of a
    /// shorter month.
    MonthlyByDay {
        every: i64,
        day: i64,
    },
    MonthlyByPosition {
        every: i64,
        week_day: usize,
        position: i64,
    },
    /// Bits of week days (Sunday is bit 0) in every `n`th week, weeks beginning on Sunday.
    Weekly {
        every: i64,
        days: u8,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Exception {
    pub(crate) from: Day,
    pub(crate) to: Day,
    pub(crate) recurrence: Recurrence,
    pub(crate) hours: Hours,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Calendar {
    /// The number of the base calendar, which is smaller than the number of this one.
    pub(crate) base: Option<usize>,
    pub(crate) week: [WeekDay; 7],
    pub(crate) work_weeks: Vec<WorkWeek>,
    pub(crate) exceptions: Vec<Exception>,
}

impl Exception {
    /// Returns 0 for a single exception, then 1 daily, 2 yearly, 3 monthly, 4 weekly: the smaller
    /// wins.
    fn rank(&self) -> u8 {
        match self.recurrence {
            Recurrence::Single => 0,
            Recurrence::Daily(_) => 1,
            Recurrence::YearlyByDay { .. } | Recurrence::YearlyByPosition { .. } => 2,
            Recurrence::MonthlyByDay { .. } | Recurrence::MonthlyByPosition { .. } => 3,
            Recurrence::Weekly { .. } => 4,
        }
    }

    fn applies(&self, day: Day) -> bool {
        if day < self.from || day > self.to {
            return false;
        }
        let (year, month, date) = civil(day);
        let (first_year, first_month, _) = civil(self.from);
        let months = (year - first_year) * 12 + month - first_month;
        match self.recurrence {
            Recurrence::Single => true,
            Recurrence::Daily(every) => (day - self.from) % every == 0,
            Recurrence::YearlyByDay { month: m, day: d } => month == m && date == d,
            Recurrence::YearlyByPosition { month: m, week_day, position } => {
                month == m && is_at_position(day, week_day, position)
            }
            Recurrence::MonthlyByDay { every, day: d } => {
                months % every == 0 && date == d.min(days_of_month(year, month))
            }
            Recurrence::MonthlyByPosition { every, week_day, position } => {
                months % every == 0 && is_at_position(day, week_day, position)
            }
            Recurrence::Weekly { every, days } => {
                days & (1 << week_day(day)) != 0 && (sunday_of(day) - sunday_of(self.from)) / 7 % every == 0
            }
        }
    }
}

fn sunday_of(day: Day) -> Day {
    day - i64::try_from(week_day(day)).unwrap()
}

fn is_at_position(day: Day, wanted: usize, position: i64) -> bool {
    let (year, month, date) = civil(day);
    let is_last = date + 7 > days_of_month(year, month);
    week_day(day) == wanted && if position == 4 { is_last } else { (date - 1) / 7 == position }
}

/// Returns the hours that calendar `number` works on a day.
///
/// Exceptions beat work weeks, work weeks beat week days; within each, the calendar's own beat
/// those of its base.
pub(crate) fn hours_of(calendars: &[Calendar], number: usize, day: Day) -> Hours {
    let mut chain = vec![&calendars[number]];
    while let Some(base) = chain.last().unwrap().base {
        chain.push(&calendars[base]);
    }
    for calendar in &chain {
        let applying = calendar.exceptions.iter().filter(|exception| exception.applies(day));
        if let Some(exception) = applying.min_by_key(|exception| exception.rank()) {
            return exception.hours.clone();
        }
    }
    let in_work_weeks = chain.iter().flat_map(|calendar| {
        let week = calendar.work_weeks.iter().find(|week| week.from <= day && day <= week.to);
        week.map(|week| &week.days[week_day(day)])
    });
    let in_weeks = chain.iter().map(|calendar| &calendar.week[week_day(day)]);
    for rule in in_work_weeks.chain(in_weeks) {
        match rule {
            WeekDay::AsBase => {}
            WeekDay::Free => return vec![],
            WeekDay::Hours(hours) => return hours.clone(),
        }
    }
    vec![]
}

/// Returns the hours that two calendars share.
pub(crate) fn shared(a: &Hours, b: &Hours) -> Hours {
    let mut hours = vec![];
    for &(a_begin, a_end) in a {
        for &(b_begin, b_end) in b {
            let (begin, end) = (a_begin.max(b_begin), a_end.min(b_end));
            if begin < end {
                hours.push((begin, end));
            }
        }
    }
    hours
}

/// Returns a week of days that all work the same hours from Monday to Friday.
pub(crate) fn monday_to_friday(hours: &[(Tick, Tick)]) -> Calendar {
    let mut week = [const { WeekDay::Free }; 7];
    week[1..=5].fill(WeekDay::Hours(hours.to_vec()));
    Calendar { base: None, week, work_weeks: vec![], exceptions: vec![] }
}

/// Returns the calendar Standard: Monday to Friday, 8 to 12 and 13 to 17.
pub(crate) fn standard() -> Calendar {
    monday_to_friday(&[(8 * HOUR, 12 * HOUR), (13 * HOUR, 17 * HOUR)])
}

/// Returns a calendar that always works.
pub(crate) fn all_hours() -> Calendar {
    let week = [const { WeekDay::AsBase }; 7].map(|_| WeekDay::Hours(vec![(0, DAY)]));
    Calendar { base: None, week, work_weeks: vec![], exceptions: vec![] }
}

/// Returns a calendar without rules of its own.
pub(crate) fn derived(base: usize) -> Calendar {
    let week = [const { WeekDay::AsBase }; 7];
    Calendar { base: Some(base), week, work_weeks: vec![], exceptions: vec![] }
}

/// Returns an exception for the dates `from` to `to`.
pub(crate) fn exception(from: Day, to: Day, hours: &[(Tick, Tick)]) -> Exception {
    Exception { from, to, recurrence: Recurrence::Single, hours: hours.to_vec() }
}
