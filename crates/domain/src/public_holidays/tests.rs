use super::{Country, MAX_HOLIDAY_YEAR, MIN_HOLIDAY_YEAR, easter::DayNumber, holidays};
use proptest::prelude::*;

fn dates(country: Country, year: i32) -> Vec<(u8, u8)> {
    holidays(country, year).iter().map(|holiday| (holiday.month, holiday.day)).collect()
}

#[test]
fn easter_is_on_the_known_dates() {
    let known = [
        (1583, 4, 10),
        (1818, 3, 22),
        (1943, 4, 25),
        (2000, 4, 23),
        (2008, 3, 23),
        (2024, 3, 31),
        (2025, 4, 20),
        (2026, 4, 5),
        (2027, 3, 28),
        (2028, 4, 16),
        (2038, 4, 25),
        (2285, 3, 22),
    ];
    for (year, month, day) in known {
        assert_eq!(DayNumber::easter(year).to_civil(), (year, month, day));
    }
}

#[test]
fn european_holidays_of_2026_are_on_the_published_dates() {
    use Country::*;
    let days = |country| dates(country, 2026);
    let germany = vec![(1, 1), (4, 3), (4, 6), (5, 1), (5, 14), (5, 25), (10, 3), (12, 25), (12, 26)];
    assert_eq!(days(Germany), germany);
    assert_eq!(days(Switzerland), [(1, 1), (4, 3), (4, 6), (5, 14), (5, 25), (8, 1), (12, 25), (12, 26)]);
    let austria = [
        (1, 1),
        (1, 6),
        (4, 6),
        (5, 1),
        (5, 14),
        (5, 25),
        (6, 4),
        (8, 15),
        (10, 26),
        (11, 1),
        (12, 8),
        (12, 25),
        (12, 26),
    ];
    assert_eq!(days(Austria), austria);
    let france = [(1, 1), (4, 6), (5, 1), (5, 8), (5, 14), (5, 25), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25)];
    assert_eq!(days(France), france);
    assert_eq!(days(Denmark), [(1, 1), (4, 2), (4, 3), (4, 6), (5, 14), (5, 25), (12, 25), (12, 26)]);
    assert_eq!(days(Norway), [(1, 1), (4, 2), (4, 3), (4, 6), (5, 1), (5, 14), (5, 17), (5, 25), (12, 25), (12, 26)]);
    assert_eq!(days(Netherlands), [(1, 1), (4, 6), (4, 27), (5, 14), (5, 25), (12, 25), (12, 26)]);
    assert_eq!(days(Belgium).len(), 10);
    let sweden = [(1, 1), (1, 6), (4, 3), (4, 6), (5, 1), (5, 14), (6, 6), (6, 20), (10, 31), (12, 25), (12, 26)];
    assert_eq!(days(Sweden), sweden);
    let portugal =
        [(1, 1), (4, 3), (4, 25), (5, 1), (6, 4), (6, 10), (8, 15), (10, 5), (11, 1), (12, 1), (12, 8), (12, 25)];
    assert_eq!(days(Portugal), portugal);
    let spain = [(1, 1), (1, 6), (4, 3), (5, 1), (8, 15), (10, 12), (11, 1), (12, 6), (12, 8), (12, 25)];
    assert_eq!(days(Spain), spain);
}

#[test]
fn english_speaking_countries_observe_holidays_of_weekends_on_weekdays() {
    use Country::*;
    // 26 December 2026 is a Saturday, 4 July 2026 too; 1 January 2022 was a Saturday.
    let britain = [(1, 1), (4, 3), (4, 6), (5, 4), (5, 25), (8, 31), (12, 25), (12, 28)];
    assert_eq!(dates(UnitedKingdom, 2026), britain);
    assert_eq!(dates(UnitedKingdom, 2022)[0], (1, 3));
    assert_eq!(dates(UnitedKingdom, 2021)[6..], [(12, 27), (12, 28)]);
    let america = [(1, 1), (1, 19), (2, 16), (5, 25), (6, 19), (7, 3), (9, 7), (10, 12), (11, 11), (11, 26), (12, 25)];
    assert_eq!(dates(UnitedStates, 2026), america);
    assert_eq!(dates(UnitedStates, 2021).last(), Some(&(12, 31)), "New Year of 2022 is observed in 2021");
    assert!(!dates(UnitedStates, 2022).contains(&(1, 1)));
    let canada = [(1, 1), (4, 3), (5, 18), (7, 1), (9, 7), (9, 30), (10, 12), (11, 11), (12, 25), (12, 28)];
    assert_eq!(dates(Canada, 2026), canada);
    let ireland = [(1, 1), (2, 2), (3, 17), (4, 6), (5, 4), (6, 1), (8, 3), (10, 26), (12, 25), (12, 26)];
    assert_eq!(dates(Ireland, 2026), ireland);
    assert_eq!(dates(Ireland, 2030)[1], (2, 1), "St Brigid's Day is a Friday in 2030");
}

#[test]
fn changed_laws_hold_from_their_year_on() {
    assert!(dates(Country::Italy, 2026).contains(&(10, 4)) && !dates(Country::Italy, 2025).contains(&(10, 4)));
    assert!(dates(Country::Poland, 2025).contains(&(12, 24)) && !dates(Country::Poland, 2024).contains(&(12, 24)));
    assert!(dates(Country::Denmark, 2023).contains(&(5, 5)) && !dates(Country::Denmark, 2024).contains(&(4, 26)));
    assert!(dates(Country::Netherlands, 2025).contains(&(4, 26)), "27 April 2025 was a Sunday");
    assert!(dates(Country::Germany, 2017).contains(&(10, 31)));
}

#[test]
fn codes_find_their_country() {
    for country in Country::ALL {
        assert_eq!(Country::from_code(&country.code().to_lowercase()), Some(country));
        assert!(!country.name().is_empty());
    }
    assert_eq!(Country::from_code("XX"), None);
    assert!(Country::ALL.is_sorted_by_key(|country| country.name()));
}

proptest! {
    #[test]
    fn each_year_has_its_holidays_once_and_in_order(index in 0..Country::ALL.len(), year in 1_570_i32..10_020) {
        let days = dates(Country::ALL[index], year);
        prop_assert!(days.windows(2).all(|pair| pair[0] < pair[1]));
        if (MIN_HOLIDAY_YEAR..=MAX_HOLIDAY_YEAR).contains(&year) {
            prop_assert!((6..=16).contains(&days.len()), "{}", days.len());
        } else {
            prop_assert!(days.is_empty());
        }
    }

    #[test]
    fn dates_survive_the_way_to_day_numbers_and_back(year in 1_583_i32..10_000, month in 1_u8..13, day in 1_u8..29) {
        prop_assert_eq!(DayNumber::from_civil(year, month, day).to_civil(), (year, month, day));
    }
}
