//! People of the demo company: names, roles, and who has time for a project.

use super::calendars::{PartTime, part_time_calendar};
use super::demo_id::{demo_id, demo_random};
use super::library::{Library, RoleText};
use super::rows::row;
use pmo_planning::Day;
use pmo_project_plan::Row;
use serde_json::{Value, json};
use uuid::Uuid;

/// Numbers of the people who are no employees with a role: the four demo accounts.
const ACCOUNTS: usize = 4;
/// Titles of the three demo accounts that are employees.
const ACCOUNT_TITLES: [(&str, &str); 3] =
    [("Head of the PMO", "Delivery"), ("Program manager", "Delivery"), ("Team lead", "Quality")];
/// Number of people in the list of roles.
const LISTED_PEOPLE: usize = 76;

/// People who work in projects.
pub(crate) struct Company {
    roles: Vec<RoleText>,
    people: Vec<Person>,
}

/// Person who works in projects.
struct Person {
    number: usize,
    role: usize,
    part_time: Option<PartTime>,
    bookings: Vec<Booking>,
}

/// Work of a person in a project.
struct Booking {
    from: Day,
    to: Day,
    hours: i64,
}

/// Person whom [`Company::choose`] has chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Chosen {
    /// Number of the person and of the employee.
    pub number: usize,
    /// Calendar of a part-time employee.
    pub calendar: Option<Uuid>,
    /// Cost in EUR per hour.
    pub rate: u32,
}

/// Work of a role in a project, for which a person is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    /// First day.
    pub from: Day,
    /// Last day.
    pub to: Day,
    /// Work.
    pub hours: i64,
}

impl Chosen {
    /// Returns the id of the employee.
    pub(crate) fn employee_id(self) -> Uuid {
        demo_id("employee", self.number)
    }

    /// Returns the id of the person.
    pub(crate) fn person_id(self) -> Uuid {
        demo_id("person", self.number)
    }
}

impl Company {
    /// Returns a company with a number of people, demo accounts included.
    pub(crate) fn new(library: &Library, people: usize) -> Self {
        let roles = library.roles.clone();
        let order = role_order(&roles);
        let person = |number: usize| Person {
            number,
            role: order.get((number - ACCOUNTS - 1) % order.len().max(1)).copied().unwrap_or_default(),
            part_time: match number % 18 {
                0 => Some(PartTime::MondayToWednesday),
                9 => Some(PartTime::Mornings),
                _ => None,
            },
            bookings: Vec::new(),
        };
        Self { people: (ACCOUNTS + 1..=people).map(person).collect(), roles }
    }

    /// Chooses the person of a role who has most time, except those in `taken`, and books the work.
    ///
    /// If no person has the role, any other person is chosen. Returns `None` if all are taken.
    pub(crate) fn choose(&mut self, role: &str, demand: Demand, taken: &[usize]) -> Option<Chosen> {
        let role = self.roles.iter().position(|known| known.name == role);
        let has_role = |person: &Person| Some(person.role) == role;
        let is_free = |person: &Person| !taken.contains(&person.number);
        let somebody = !self.people.iter().any(|person| has_role(person) && is_free(person));
        let candidates = self.people.iter_mut().filter(|person| is_free(person) && (somebody || has_role(person)));
        let person = candidates.min_by_key(|person| (person.load(demand), person.number))?;
        person.bookings.push(Booking { from: demand.from, to: demand.to, hours: demand.hours });
        let rate = self.roles.get(person.role).map_or(60, |role| role.rate);
        Some(Chosen { number: person.number, calendar: person.part_time.map(part_time_calendar), rate })
    }

    /// Returns the rows of people and employees, without the person rows of the demo accounts.
    pub(crate) fn rows(&self, library: &Library) -> (Vec<Row>, Vec<Row>) {
        let people: Vec<Row> = self.people.iter().map(|person| person_row(person.number, library)).collect();
        let accounts = (1..ACCOUNTS).zip(ACCOUNT_TITLES);
        let mut employees: Vec<Row> = accounts
            .map(|(number, (title, department))| {
                employee_row(number, ["Ada Admin", "Edda Editor", "Viktor Viewer"][number - 1], title, department)
            })
            .collect();
        for person in &self.people {
            let Some(role) = self.roles.get(person.role) else { continue };
            let mut employee =
                employee_row(person.number, &full_name(person.number, library), role.name, role.department);
            employee.insert("cost_rate_amt".into(), json!(role.rate));
            let level = if demo_random("level", person.number, 5) == 0 { "Junior" } else { role.level };
            employee.insert("dl__position_level".into(), json!(level));
            if let Some(part_time) = person.part_time {
                employee.insert("capacity_hours".into(), json!(person.weekly_hours()));
                employee.insert("dl__employment_type".into(), json!("Part Time"));
                employee.insert("calendar_id".into(), json!(part_time_calendar(part_time)));
            }
            employees.push(employee);
        }
        (people, employees)
    }
}

impl Person {
    /// Returns the hours booked in a period, scaled to the working time of the person.
    fn load(&self, demand: Demand) -> i64 {
        let booked: i64 = self.bookings.iter().map(|booking| booking.hours_within(demand)).sum();
        booked * 40 / self.weekly_hours()
    }

    fn weekly_hours(&self) -> i64 {
        match self.part_time {
            None => 40,
            Some(PartTime::Mornings) => 20,
            Some(PartTime::MondayToWednesday) => 24,
        }
    }
}

impl Booking {
    /// Returns the hours of the booking in a period, if the work is spread evenly.
    fn hours_within(&self, demand: Demand) -> i64 {
        let common = self.to.0.min(demand.to.0) - self.from.0.max(demand.from.0) + 1;
        let length = i64::from(self.to.0 - self.from.0) + 1;
        self.hours * i64::from(common.max(0)) / length.max(1)
    }
}

/// Returns the role of each person: first one of each role, then the others in turn.
fn role_order(roles: &[RoleText]) -> Vec<usize> {
    let rounds = roles.iter().map(|role| role.count).max().unwrap_or_default();
    let order = (0..rounds)
        .flat_map(|round| roles.iter().enumerate().filter(move |(_, role)| role.count > round).map(|(index, _)| index));
    order.take(LISTED_PEOPLE).collect()
}

fn names(number: usize, library: &Library) -> (&'static str, &'static str) {
    // Neither list has a divisor of the other's length, so that names repeat late.
    let pick = |names: &[&'static str], index: usize| names.get(index % names.len().max(1)).copied().unwrap_or("Kim");
    let round = number / library.first_names.len().max(1);
    (pick(&library.first_names, number * 7), pick(&library.last_names, number * 11 + round * 5))
}

fn full_name(number: usize, library: &Library) -> String {
    let (first, last) = names(number, library);
    format!("{first} {last}")
}

fn person_row(number: usize, library: &Library) -> Row {
    let (first, last) = names(number, library);
    row([
        ("id", json!(demo_id("person", number))),
        ("name", json!(full_name(number, library))),
        ("email", json!(format!("{first}.{last}{number}@pmo.example").to_lowercase())),
        ("first_name", json!(first)),
        ("last_name", json!(last)),
        ("locale", json!("en")),
        ("timezone", json!("Europe/Berlin")),
        ("dl__person_type", json!("employee")),
    ])
}

fn employee_row(number: usize, name: &str, title: &str, department: &str) -> Row {
    // The first eight employees manage the others.
    let manager = if number > 8 { Some(1 + [0, 1, 2, 4, 5, 6, 7][number % 7]) } else { None };
    let hired = Day::from_civil(2018, 1, 8).0 + i32::try_from(demo_random("hire", number, 2800)).unwrap_or_default();
    let employment = if number % 9 == 4 && number > ACCOUNTS { "Contractor" } else { "Full Time" };
    row([
        ("id", json!(demo_id("employee", number))),
        ("name", json!(name)),
        ("person_id", json!(demo_id("person", number))),
        ("title", json!(title)),
        ("department", json!(department)),
        ("manager__employee_id", json!(manager.map(|number| demo_id("employee", number)))),
        ("office_id", json!(demo_id("office", 1 + number % 5))),
        ("hire_date", json!(super::moments::day_text(Day(hired)))),
        ("cost_rate_amt", json!(90)),
        ("capacity_hours", json!(40)),
        ("dl__employment_type", json!(employment)),
        ("dl__position_level", json!("Lead")),
        ("calendar_id", Value::Null),
    ])
}
