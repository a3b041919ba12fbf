//! Calendars of the demo company.

use super::demo_id::demo_id;
use super::rows::row;
use pmo_domain::public_holidays::{Country, holidays};
use pmo_planning::{Day, HourRange};
use pmo_project_plan::{CalendarDefinition, CalendarSet, Row, hours_to_json};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Working hours of a day: from and to, in minutes after midnight.
type Ranges = &'static [(u16, u16)];

/// Countries with an office.
const COUNTRIES: [Country; 4] = [Country::Germany, Country::Denmark, Country::Italy, Country::Portugal];
/// Hours of a day in an office.
const OFFICE_HOURS: Ranges = &[(8 * 60, 12 * 60), (13 * 60, 17 * 60)];
/// Further calendars: name, and the hours of workdays, Saturdays and Sundays.
const OTHERS: [(&str, [Ranges; 3]); 3] = [
    ("24 hours", [&[(0, 1440)], &[(0, 1440)], &[(0, 1440)]]),
    ("Weekend shift", [&[], &[(6 * 60, 14 * 60)], &[(6 * 60, 14 * 60)]]),
    ("Two shifts", [&[(6 * 60, 22 * 60)], &[(6 * 60, 14 * 60)], &[]]),
];
/// Number of years before and after today for which holidays are entered.
const HOLIDAY_YEARS: (i32, i32) = (1, 2);

/// Working time of a part-time employee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartTime {
    /// Every morning.
    Mornings,
    /// Three whole days.
    MondayToWednesday,
}

/// Calendars with their rows.
pub(crate) struct Calendars {
    /// Rows of the calendars.
    pub rows: Vec<Row>,
    /// Rows of their exceptions.
    pub exceptions: Vec<Row>,
    set: CalendarSet,
}

impl Calendars {
    /// Returns the calendars, with the public holidays of the years around a day.
    pub(crate) fn around(today: Day) -> Self {
        let mut calendars = Self { rows: Vec::new(), exceptions: Vec::new(), set: CalendarSet::default() };
        let weekly = |workday: &Value, saturday: &Value, sunday: &Value| {
            let mut week = vec![workday.clone(); 5];
            week.extend([saturday.clone(), sunday.clone()]);
            Value::from(week)
        };
        let free = json!([]);
        for country in COUNTRIES {
            let week = weekly(&hours(OFFICE_HOURS), &free, &free);
            let holiday_rows = holiday_rows(country, today);
            calendars.add(country_calendar(country), &format!("Office {}", country.name()), None, week, holiday_rows);
        }
        for (name, [workday, saturday, sunday]) in OTHERS {
            let week = weekly(&hours(workday), &hours(saturday), &hours(sunday));
            calendars.add(named_calendar(name), name, None, week, Vec::new());
        }
        let base = Some(country_calendar(Country::Germany));
        let morning = hours(&[(8 * 60, 12 * 60)]);
        let mornings = weekly(&morning, &Value::Null, &Value::Null);
        calendars.add(part_time_calendar(PartTime::Mornings), "Part time, mornings", base, mornings, Vec::new());
        let days = json!([null, null, null, [], [], null, null]);
        let id = part_time_calendar(PartTime::MondayToWednesday);
        calendars.add(id, "Part time, Monday to Wednesday", base, days, Vec::new());
        calendars
    }

    fn add(&mut self, id: Uuid, name: &str, base: Option<Uuid>, week: Value, exceptions: Vec<Row>) {
        let row = row([
            ("id", json!(id)),
            ("name", json!(name)),
            ("base__calendar_id", json!(base)),
            ("week", week),
            ("work_weeks", json!([])),
        ]);
        self.set.calendars.insert(id, CalendarDefinition::from_rows(&row, &exceptions));
        self.rows.push(row);
        self.exceptions.extend(exceptions);
    }

    /// Returns the calendars of a plan with their base calendars, as `app.schedule` contains them.
    ///
    /// `used` are the calendars of project and tasks, `employees` those of people.
    pub(crate) fn used(&self, used: &BTreeSet<Uuid>, employees: &[(Uuid, Uuid)]) -> CalendarSet {
        let mut ids: Vec<Uuid> = used.iter().copied().chain(employees.iter().map(|(_, id)| *id)).collect();
        let mut set = CalendarSet { employees: employees.iter().copied().collect(), ..CalendarSet::default() };
        while let Some(id) = ids.pop() {
            if let Some(definition) = self.set.calendars.get(&id) {
                ids.extend(definition.base.filter(|base| !set.calendars.contains_key(base)));
                set.calendars.insert(id, definition.clone());
            }
        }
        set
    }
}

/// Returns the id of the calendar of a country's offices.
pub(crate) fn country_calendar(country: Country) -> Uuid {
    demo_id(&format!("calendar {}", country.code()), 1)
}

/// Returns the id of another calendar by its name.
pub(crate) fn named_calendar(name: &str) -> Uuid {
    demo_id(&format!("calendar {name}"), 1)
}

/// Returns the id of the calendar of part-time employees.
pub(crate) fn part_time_calendar(part_time: PartTime) -> Uuid {
    demo_id("calendar part time", 1 + usize::from(part_time == PartTime::MondayToWednesday))
}

/// Returns whether a calendar with a name exists, apart from those of countries.
#[cfg(test)]
pub(crate) fn is_known(name: &str) -> bool {
    OTHERS.iter().any(|(known, _)| *known == name)
}

fn holiday_rows(country: Country, today: Day) -> Vec<Row> {
    let (year, ..) = today.to_civil();
    let years = year - HOLIDAY_YEARS.0..=year + HOLIDAY_YEARS.1;
    let days = years.flat_map(|year| holidays(country, year).into_iter().map(move |holiday| (year, holiday)));
    let rows = days.enumerate().map(|(index, (year, holiday))| {
        let date = format!("{year:04}-{:02}-{:02}", holiday.month, holiday.day);
        row([
            ("id", json!(demo_id(&format!("holiday {}", country.code()), index + 1))),
            ("name", json!(holiday.name)),
            ("calendar_id", json!(country_calendar(country))),
            ("start_date", json!(date)),
            ("end_date", json!(date)),
            ("working_times", json!([])),
            ("recurrence", Value::Null),
        ])
    });
    rows.collect()
}

fn hours(ranges: &[(u16, u16)]) -> Value {
    let ranges: Vec<HourRange> = ranges.iter().map(|(from, to)| HourRange { from: from * 10, to: to * 10 }).collect();
    hours_to_json(&ranges)
}
