//! Public holidays of a country in a year, by rules: fixed dates, weekdays, distances to Easter.
//!
//! Only holidays of the whole country are included, by the law of today; changes since 2010 are
//! known for the countries where days were added or removed. Regional holidays are not included.

mod country; // countries
mod easter; // date of Easter and other calculations with days
mod rules; // rules of each country

pub use country::Country;

use easter::DayNumber;
use rules::{Rule, rules_of};

/// First year for which holidays are computed: the rules of Easter hold from then on.
pub const MIN_HOLIDAY_YEAR: i32 = 1583;
/// Last year for which holidays are computed.
pub const MAX_HOLIDAY_YEAR: i32 = 9999;

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
