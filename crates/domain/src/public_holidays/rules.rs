//! Rules of the public holidays of each country.

use super::country::Country;
use super::easter::{DayNumber, Weekday};
use Weekday::{Friday, Monday, Saturday, Thursday};

/// Public holiday in a range of years.
pub(super) struct Rule {
    pub(super) when: When,
    pub(super) name: &'static str,
    /// First year.
    pub(super) from: i32,
    /// Last year.
    pub(super) to: i32,
}

/// Date of a holiday in each year.
#[derive(Clone, Copy)]
pub(super) enum When {
    /// Month and day.
    On(u8, u8),
    /// Number of days after Easter Sunday.
    Easter(i32),
    /// First such weekday from a month and day on.
    From(u8, u8, Weekday),
    /// Last such weekday up to a month and day.
    UpTo(u8, u8, Weekday),
    /// 27 April, or the day before if that is a Sunday.
    KingsDay,
    /// 5 May of every fifth year.
    EveryFifthYear(u8, u8),
    /// First Monday of February; 1 February if that is a Friday.
    SaintBrigid,
}

impl When {
    /// Returns the date in a year; `None` if the holiday is not in that year.
    pub(super) fn day(self, year: i32) -> Option<DayNumber> {
        let on = |month, day| DayNumber::from_civil(year, month, day);
        Some(match self {
            Self::On(month, day) => on(month, day),
            Self::Easter(days) => DayNumber::easter(year).plus(days),
            Self::From(month, day, weekday) => on(month, day).next(weekday),
            Self::UpTo(month, day, weekday) => on(month, day).previous(weekday),
            // 26 April is a Saturday if 27 April is a Sunday.
            Self::KingsDay if on(4, 26).is_on(Saturday) => on(4, 26),
            Self::KingsDay => on(4, 27),
            Self::EveryFifthYear(month, day) => return (year % 5 == 0).then(|| on(month, day)),
            Self::SaintBrigid if on(2, 1).is_on(Friday) => on(2, 1),
            Self::SaintBrigid => on(2, 1).next(Monday),
        })
    }
}

const fn always(when: When, name: &'static str) -> Rule {
    Rule { when, name, from: i32::MIN, to: i32::MAX }
}

const fn since(from: i32, when: When, name: &'static str) -> Rule {
    Rule { when, name, from, to: i32::MAX }
}

const fn until(to: i32, when: When, name: &'static str) -> Rule {
    Rule { when, name, from: i32::MIN, to }
}

const fn only(year: i32, when: When, name: &'static str) -> Rule {
    Rule { when, name, from: year, to: year }
}

const NEW_YEAR: Rule = always(When::On(1, 1), "New Year's Day");
const EPIPHANY: Rule = always(When::On(1, 6), "Epiphany");
const MAUNDY_THURSDAY: Rule = always(When::Easter(-3), "Maundy Thursday");
const GOOD_FRIDAY: Rule = always(When::Easter(-2), "Good Friday");
const EASTER_MONDAY: Rule = always(When::Easter(1), "Easter Monday");
const LABOUR_DAY: Rule = always(When::On(5, 1), "Labour Day");
const ASCENSION: Rule = always(When::Easter(39), "Ascension Day");
const WHIT_MONDAY: Rule = always(When::Easter(50), "Whit Monday");
const CORPUS_CHRISTI: Rule = always(When::Easter(60), "Corpus Christi");
const ASSUMPTION: Rule = always(When::On(8, 15), "Assumption Day");
const ALL_SAINTS: Rule = always(When::On(11, 1), "All Saints' Day");
const IMMACULATE: Rule = always(When::On(12, 8), "Immaculate Conception");
const CHRISTMAS: Rule = always(When::On(12, 25), "Christmas Day");
const SECOND_CHRISTMAS: Rule = always(When::On(12, 26), "Second Day of Christmas");
const BOXING_DAY: Rule = always(When::On(12, 26), "Boxing Day");
const SAINT_STEPHEN: Rule = always(When::On(12, 26), "St Stephen's Day");

const AUSTRIA: &[Rule] = &[
    NEW_YEAR,
    EPIPHANY,
    EASTER_MONDAY,
    LABOUR_DAY,
    ASCENSION,
    WHIT_MONDAY,
    CORPUS_CHRISTI,
    ASSUMPTION,
    always(When::On(10, 26), "National Day"),
    ALL_SAINTS,
    IMMACULATE,
    CHRISTMAS,
    SAINT_STEPHEN,
];
const BELGIUM: &[Rule] = &[
    NEW_YEAR,
    EASTER_MONDAY,
    LABOUR_DAY,
    ASCENSION,
    WHIT_MONDAY,
    always(When::On(7, 21), "National Day"),
    ASSUMPTION,
    ALL_SAINTS,
    always(When::On(11, 11), "Armistice Day"),
    CHRISTMAS,
];
const CANADA: &[Rule] = &[
    NEW_YEAR,
    GOOD_FRIDAY,
    always(When::UpTo(5, 24, Monday), "Victoria Day"),
    always(When::On(7, 1), "Canada Day"),
    always(When::From(9, 1, Monday), "Labour Day"),
    since(2021, When::On(9, 30), "National Day for Truth and Reconciliation"),
    always(When::From(10, 8, Monday), "Thanksgiving"),
    always(When::On(11, 11), "Remembrance Day"),
    CHRISTMAS,
    BOXING_DAY,
];
const DENMARK: &[Rule] = &[
    NEW_YEAR,
    MAUNDY_THURSDAY,
    GOOD_FRIDAY,
    EASTER_MONDAY,
    until(2023, When::Easter(26), "Great Prayer Day"),
    ASCENSION,
    WHIT_MONDAY,
    CHRISTMAS,
    SECOND_CHRISTMAS,
];
const FRANCE: &[Rule] = &[
    NEW_YEAR,
    EASTER_MONDAY,
    LABOUR_DAY,
    always(When::On(5, 8), "Victory Day"),
    ASCENSION,
    WHIT_MONDAY,
    always(When::On(7, 14), "National Day"),
    ASSUMPTION,
    ALL_SAINTS,
    always(When::On(11, 11), "Armistice Day"),
    CHRISTMAS,
];
const GERMANY: &[Rule] = &[
    NEW_YEAR,
    GOOD_FRIDAY,
    EASTER_MONDAY,
    LABOUR_DAY,
    ASCENSION,
    WHIT_MONDAY,
    always(When::On(10, 3), "German Unity Day"),
    only(2017, When::On(10, 31), "Reformation Day"),
    CHRISTMAS,
    SECOND_CHRISTMAS,
];
const IRELAND: &[Rule] = &[
    NEW_YEAR,
    since(2023, When::SaintBrigid, "St Brigid's Day"),
    always(When::On(3, 17), "St Patrick's Day"),
    only(2022, When::On(3, 18), "Day of Remembrance"),
    EASTER_MONDAY,
    always(When::From(5, 1, Monday), "May Day"),
    always(When::From(6, 1, Monday), "June Holiday"),
    always(When::From(8, 1, Monday), "August Holiday"),
    always(When::UpTo(10, 31, Monday), "October Holiday"),
    CHRISTMAS,
    SAINT_STEPHEN,
];
const ITALY: &[Rule] = &[
    NEW_YEAR,
    EPIPHANY,
    EASTER_MONDAY,
    always(When::On(4, 25), "Liberation Day"),
    LABOUR_DAY,
    always(When::On(6, 2), "Republic Day"),
    ASSUMPTION,
    since(2026, When::On(10, 4), "St Francis' Day"),
    ALL_SAINTS,
    IMMACULATE,
    CHRISTMAS,
    SAINT_STEPHEN,
];
const NETHERLANDS: &[Rule] = &[
    NEW_YEAR,
    EASTER_MONDAY,
    since(2014, When::KingsDay, "King's Day"),
    always(When::EveryFifthYear(5, 5), "Liberation Day"),
    ASCENSION,
    WHIT_MONDAY,
    CHRISTMAS,
    SECOND_CHRISTMAS,
];
const NORWAY: &[Rule] = &[
    NEW_YEAR,
    MAUNDY_THURSDAY,
    GOOD_FRIDAY,
    EASTER_MONDAY,
    LABOUR_DAY,
    always(When::On(5, 17), "Constitution Day"),
    ASCENSION,
    WHIT_MONDAY,
    CHRISTMAS,
    SECOND_CHRISTMAS,
];
const POLAND: &[Rule] = &[
    NEW_YEAR,
    since(2011, When::On(1, 6), "Epiphany"),
    EASTER_MONDAY,
    LABOUR_DAY,
    always(When::On(5, 3), "Constitution Day"),
    CORPUS_CHRISTI,
    ASSUMPTION,
    ALL_SAINTS,
    only(2018, When::On(11, 12), "Centenary of Independence"),
    always(When::On(11, 11), "Independence Day"),
    since(2025, When::On(12, 24), "Christmas Eve"),
    CHRISTMAS,
    SECOND_CHRISTMAS,
];
const PORTUGAL: &[Rule] = &[
    NEW_YEAR,
    GOOD_FRIDAY,
    always(When::On(4, 25), "Freedom Day"),
    LABOUR_DAY,
    until(2012, When::Easter(60), "Corpus Christi"),
    since(2016, When::Easter(60), "Corpus Christi"),
    always(When::On(6, 10), "Portugal Day"),
    ASSUMPTION,
    until(2012, When::On(10, 5), "Republic Day"),
    since(2016, When::On(10, 5), "Republic Day"),
    until(2012, When::On(11, 1), "All Saints' Day"),
    since(2016, When::On(11, 1), "All Saints' Day"),
    until(2012, When::On(12, 1), "Restoration of Independence"),
    since(2016, When::On(12, 1), "Restoration of Independence"),
    IMMACULATE,
    CHRISTMAS,
];
const SPAIN: &[Rule] = &[
    NEW_YEAR,
    EPIPHANY,
    GOOD_FRIDAY,
    LABOUR_DAY,
    ASSUMPTION,
    always(When::On(10, 12), "National Day"),
    ALL_SAINTS,
    always(When::On(12, 6), "Constitution Day"),
    IMMACULATE,
    CHRISTMAS,
];
const SWEDEN: &[Rule] = &[
    NEW_YEAR,
    EPIPHANY,
    GOOD_FRIDAY,
    EASTER_MONDAY,
    LABOUR_DAY,
    ASCENSION,
    since(2005, When::On(6, 6), "National Day"),
    always(When::From(6, 20, Saturday), "Midsummer Day"),
    always(When::From(10, 31, Saturday), "All Saints' Day"),
    CHRISTMAS,
    SECOND_CHRISTMAS,
];
const SWITZERLAND: &[Rule] = &[
    NEW_YEAR,
    GOOD_FRIDAY,
    EASTER_MONDAY,
    ASCENSION,
    WHIT_MONDAY,
    always(When::On(8, 1), "National Day"),
    CHRISTMAS,
    SAINT_STEPHEN,
];
const UNITED_KINGDOM: &[Rule] = &[
    NEW_YEAR,
    GOOD_FRIDAY,
    EASTER_MONDAY,
    only(2011, When::On(4, 29), "Royal Wedding"),
    until(2019, When::From(5, 1, Monday), "Early May Bank Holiday"),
    only(2020, When::On(5, 8), "Early May Bank Holiday"),
    since(2021, When::From(5, 1, Monday), "Early May Bank Holiday"),
    only(2023, When::On(5, 8), "Coronation of King Charles III"),
    until(2011, When::UpTo(5, 31, Monday), "Spring Bank Holiday"),
    only(2012, When::On(6, 4), "Spring Bank Holiday"),
    only(2012, When::On(6, 5), "Diamond Jubilee"),
    Rule { when: When::UpTo(5, 31, Monday), name: "Spring Bank Holiday", from: 2013, to: 2021 },
    only(2022, When::On(6, 2), "Spring Bank Holiday"),
    only(2022, When::On(6, 3), "Platinum Jubilee"),
    since(2023, When::UpTo(5, 31, Monday), "Spring Bank Holiday"),
    always(When::UpTo(8, 31, Monday), "Summer Bank Holiday"),
    only(2022, When::On(9, 19), "State Funeral of Queen Elizabeth II"),
    CHRISTMAS,
    BOXING_DAY,
];
const UNITED_STATES: &[Rule] = &[
    NEW_YEAR,
    always(When::From(1, 15, Monday), "Martin Luther King Jr. Day"),
    always(When::From(2, 15, Monday), "Washington's Birthday"),
    always(When::UpTo(5, 31, Monday), "Memorial Day"),
    since(2021, When::On(6, 19), "Juneteenth"),
    always(When::On(7, 4), "Independence Day"),
    always(When::From(9, 1, Monday), "Labor Day"),
    always(When::From(10, 8, Monday), "Columbus Day"),
    always(When::On(11, 11), "Veterans Day"),
    always(When::From(11, 22, Thursday), "Thanksgiving"),
    CHRISTMAS,
];

/// Returns the rules of a country.
pub(super) const fn rules_of(country: Country) -> &'static [Rule] {
    match country {
        Country::Austria => AUSTRIA,
        Country::Belgium => BELGIUM,
        Country::Canada => CANADA,
        Country::Denmark => DENMARK,
        Country::France => FRANCE,
        Country::Germany => GERMANY,
        Country::Ireland => IRELAND,
        Country::Italy => ITALY,
        Country::Netherlands => NETHERLANDS,
        Country::Norway => NORWAY,
        Country::Poland => POLAND,
        Country::Portugal => PORTUGAL,
        Country::Spain => SPAIN,
        Country::Sweden => SWEDEN,
        Country::Switzerland => SWITZERLAND,
        Country::UnitedKingdom => UNITED_KINGDOM,
        Country::UnitedStates => UNITED_STATES,
    }
}
