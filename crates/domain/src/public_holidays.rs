//! Public holidays of a country in a year, by rules: fixed dates, weekdays, distances to Easter.
//!
//! Only holidays of the whole country are included, by the law of today; changes since 2010 are
//! known for the countries where days were added or removed. Regional holidays are not included.

mod easter; // date of Easter and other calculations with days
mod rules; // rules of each country

use easter::DayNumber;
use rules::{Rule, rules_of};

/// First year for which holidays are computed: the rules of Easter hold from then on.
pub const MIN_HOLIDAY_YEAR: i32 = 1583;
/// Last year for which holidays are computed.
pub const MAX_HOLIDAY_YEAR: i32 = 9999;

/// Country whose public holidays are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Country {
    /// Austria.
    Austria,
    /// Belgium.
    Belgium,
    /// Canada: holidays of the federation.
    Canada,
    /// Denmark.
    Denmark,
    /// France.
    France,
    /// Germany: holidays of all states.
    Germany,
    /// Ireland.
    Ireland,
    /// Italy.
    Italy,
    /// Netherlands.
    Netherlands,
    /// Norway.
    Norway,
    /// Poland.
    Poland,
    /// Portugal.
    Portugal,
    /// Spain: holidays of the whole state.
    Spain,
    /// Sweden.
    Sweden,
    /// Switzerland: holidays of most cantons.
    Switzerland,
    /// United Kingdom: bank holidays of England and Wales.
    UnitedKingdom,
    /// United States: federal holidays on the days on which they are observed.
    UnitedStates,
}

/// Public holiday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holiday {
    /// Month, from 1.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
    /// Name in English.
    pub name: &'static str,
}

impl Country {
    /// All countries, by name.
    pub const ALL: [Self; 17] = [
        Self::Austria,
        Self::Belgium,
        Self::Canada,
        Self::Denmark,
        Self::France,
        Self::Germany,
        Self::Ireland,
        Self::Italy,
        Self::Netherlands,
        Self::Norway,
        Self::Poland,
        Self::Portugal,
        Self::Spain,
        Self::Sweden,
        Self::Switzerland,
        Self::UnitedKingdom,
        Self::UnitedStates,
    ];

    /// Returns the code of ISO 3166, in upper case.
    pub const fn code(self) -> &'static str {
        self.code_and_name().0
    }

    /// Returns the name in English.
    pub const fn name(self) -> &'static str {
        self.code_and_name().1
    }

    const fn code_and_name(self) -> (&'static str, &'static str) {
        match self {
            Self::Austria => ("AT", "Austria"),
            Self::Belgium => ("BE", "Belgium"),
            Self::Canada => ("CA", "Canada"),
            Self::Denmark => ("DK", "Denmark"),
            Self::France => ("FR", "France"),
            Self::Germany => ("DE", "Germany"),
            Self::Ireland => ("IE", "Ireland"),
            Self::Italy => ("IT", "Italy"),
            Self::Netherlands => ("NL", "Netherlands"),
            Self::Norway => ("NO", "Norway"),
            Self::Poland => ("PL", "Poland"),
            Self::Portugal => ("PT", "Portugal"),
            Self::Spain => ("ES", "Spain"),
            Self::Sweden => ("SE", "Sweden"),
            Self::Switzerland => ("CH", "Switzerland"),
            Self::UnitedKingdom => ("GB", "United Kingdom"),
            Self::UnitedStates => ("US", "United States"),
        }
    }

    /// Returns the country with a code of ISO 3166, in upper or lower case.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|country| country.code().eq_ignore_ascii_case(code))
    }
}

/// Returns the public holidays of a country in a year, by date.
///
/// Returns none for years outside of [`MIN_HOLIDAY_YEAR`] to [`MAX_HOLIDAY_YEAR`].
pub fn holidays(country: Country, year: i32) -> Vec<Holiday> {
    if !(MIN_HOLIDAY_YEAR..=MAX_HOLIDAY_YEAR).contains(&year) {
        return Vec::new();
    }
    // A holiday on a weekend may be observed in the neighboring year.
    let mut days: Vec<(DayNumber, &'static str)> = Vec::new();
    for rule_year in year - 1..=year + 1 {
        add_days(country, rule_year, &mut days);
    }
    days.sort_unstable();
    let in_year = days.into_iter().filter_map(|(day, name)| {
        let (date_year, month, day) = day.to_civil();
        (date_year == year).then_some(Holiday { month, day, name })
    });
    let mut found: Vec<Holiday> = in_year.collect();
    found.dedup_by_key(|holiday| (holiday.month, holiday.day));
    found
}

fn add_days(country: Country, year: i32, days: &mut Vec<(DayNumber, &'static str)>) {
    let first = days.len();
    for Rule { when, name, from, to } in rules_of(country) {
        if (*from..=*to).contains(&year) {
            days.extend(when.day(year).map(|day| (day, *name)));
        }
    }
    match country {
        Country::UnitedStates => {
            for (day, _) in &mut days[first..] {
                *day = day.nearest_weekday();
            }
        }
        Country::UnitedKingdom | Country::Canada => move_to_free_weekdays(&mut days[first..]),
        _ => {}
    }
}

/// Moves holidays on weekends to the next weekday that is no holiday.
fn move_to_free_weekdays(days: &mut [(DayNumber, &'static str)]) {
    days.sort_unstable();
    for index in 0..days.len() {
        let mut day = days[index].0;
        while day.is_weekend() || days.iter().enumerate().any(|(other, (taken, _))| other != index && *taken == day) {
            day = day.plus(1);
        }
        days[index].0 = day;
    }
}

#[cfg(test)]
mod tests;
