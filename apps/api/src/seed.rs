//! Demo data for evaluation and for benchmarks.
//!
//! The texts of the demo company are in `db/demo`: plans, projects, roles, names of people. A plan
//! has no dates. Its dates, delays and progress are computed around today, by the code that also
//! schedules real plans.
//!
//! Invariant: the same scale and day give the same rows.
//!
//! Must not: change a database that has projects.

mod calendars; // calendars with public holidays
mod company; // people and their time
mod computed; // dates and progress of a project
mod control_rows; // risks, issues, decisions, costs, comments
mod demo_id; // ids and pseudorandom numbers
mod draft; // rows of a plan without dates
mod library; // texts of the demo company
mod moments; // days and moments
mod plan_text; // plans as texts
mod progress; // progress up to today
mod project_rows; // all rows of a project
mod rows; // rows and tables
pub(crate) mod scale; // amount of demo data

pub use scale::Scale;

use calendars::Calendars;
use company::Company;
use computed::{Computed, Surroundings, compute};
use demo_id::{demo_id, demo_random};
use library::{Library, LibraryError, ProjectText};
use pmo_database::{Actor, Connection, DatabaseError, Pool, demo};
use pmo_planning::Day;
use pmo_project_plan::Row;
use project_rows::project_rows;
use rows::{Tables, row};
use serde_json::json;
use std::collections::BTreeMap;

/// Password of the demo accounts, which exist only in demo data.
pub const DEMO_PASSWORD: &str = "pmo-demo-2026";
/// Demo accounts: owner of everything, editor, viewer, and one without access to the demo projects.
pub const DEMO_ACCOUNTS: [&str; 4] =
    ["admin@pmo.example", "editor@pmo.example", "viewer@pmo.example", "outsider@pmo.example"];

/// Tables of a project, each after those that its rows refer to.
const PROJECT_TABLES: [&str; 14] = [
    "project",
    "schedule",
    "sprint",
    "task",
    "task_dependency",
    "assignment",
    "baseline",
    "milestone",
    "risk",
    "issue",
    "decision",
    "change_request",
    "cost",
    "message",
];
/// Number of projects whose rows are inserted together.
const PROJECTS_PER_BATCH: usize = 50;
/// Names of the businesses of a small company; further ones are numbered.
const BUSINESSES: [&str; 8] = [
    "Products",
    "IT",
    "Marketing",
    "Operations",
    "Facilities",
    "Quality and compliance",
    "Corporate development",
    "Customer delivery",
];

/// Reason why demo data could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A text of the demo company cannot be read.
    #[error("demo data: {0}")]
    Text(String),
}

impl From<LibraryError> for SeedError {
    fn from(error: LibraryError) -> Self {
        Self::Text(error.to_string())
    }
}

/// Number of loaded entities by kind.
pub type Counts = BTreeMap<&'static str, i64>;

/// Loads demo data at the given scale around the current day; returns a one-sentence summary.
///
/// Loads nothing if there are projects already; the summary says so.
pub async fn run(pool: &Pool, scale: Scale) -> Result<String, SeedError> {
    run_on(pool, scale, today()).await
}

/// Like [`run`], around another day than the current one.
pub async fn run_on(pool: &Pool, scale: Scale, today: jiff::civil::Date) -> Result<String, SeedError> {
    let mut transaction = pmo_database::begin(pool, &Actor::default()).await?;
    let existing = demo::count_projects(&mut transaction).await?;
    if existing > 0 {
        return Ok(format!(
            "The database already has {existing} projects; nothing was loaded ('just db-reset' empties it)."
        ));
    }
    let counts = load(&mut transaction, scale, today).await?;
    let hash = crate::auth::hash(DEMO_PASSWORD).unwrap_or_default();
    for email in DEMO_ACCOUNTS {
        if let Some(account) = pmo_database::credential::by_email(&mut transaction, email).await? {
            pmo_database::credential::set_password(&mut transaction, account.user.person_id, &hash).await?;
        }
    }
    transaction.commit().await.map_err(DatabaseError::from)?;
    demo::analyze(pool).await?;
    let counts: Vec<String> = counts.iter().map(|(name, n)| format!("{n} {name}")).collect();
    Ok(format!(
        "Loaded {}. Sign in as {} with the password {DEMO_PASSWORD}.",
        counts.join(", "),
        DEMO_ACCOUNTS.join(", ")
    ))
}

/// Returns the current day in UTC.
pub(crate) fn today() -> jiff::civil::Date {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// Loads demo data in a transaction; returns the number of loaded entities.
pub(crate) async fn load(conn: &mut Connection, scale: Scale, today: jiff::civil::Date) -> Result<Counts, SeedError> {
    let library = Library::read()?;
    let today = Day::from_civil(
        i32::from(today.year()),
        u32::from(today.month().unsigned_abs()),
        u32::from(today.day().unsigned_abs()),
    );
    let amount = scale.amount();
    let counts = amount.counts();
    demo::begin_load(conn, &counts.iter().map(|(name, n)| (*name, *n)).collect::<Vec<_>>()).await?;
    let calendars = Calendars::around(today);
    demo::insert_rows(conn, "calendar", &calendars.rows).await?;
    demo::insert_rows(conn, "calendar_exception", &calendars.exceptions).await?;
    let mut company = Company::new(&library, amount.people);
    let (people, employees) = company.rows(&library);
    demo::insert_rows(conn, "person", &people).await?;
    demo::insert_rows(conn, "employee", &employees).await?;
    let customers = amount.businesses.max(8);
    demo::insert_rows(conn, "customer", &customer_rows(customers)).await?;
    demo::insert_rows(conn, "business", &business_rows(amount.businesses, amount.people)).await?;

    let mut surroundings =
        Surroundings { today, calendars: &calendars, company: &mut company, businesses: amount.businesses, customers };
    let mut tasks = 0;
    let mut batch = Tables::new();
    for number in 1..=amount.projects {
        let project = project_text(&library, number);
        let plan = match amount.task_count(number) {
            Some(count) => library.plans[project.plan].1.truncated(count),
            None => library.plans[project.plan].1.clone(),
        };
        let computed: Computed<'_> = compute(number, &project, &plan, &mut surroundings);
        for (table, rows) in project_rows(computed, &surroundings) {
            batch.entry(table).or_default().extend(rows);
        }
        if number % PROJECTS_PER_BATCH == 0 || number == amount.projects {
            tasks += batch.get("task").map_or(0, Vec::len);
            insert_batch(conn, std::mem::take(&mut batch)).await?;
        }
    }
    demo::finish_load(conn).await?;
    let mut counts = counts;
    counts.insert("tasks", i64::try_from(tasks).unwrap_or(i64::MAX));
    Ok(counts)
}

async fn insert_batch(conn: &mut Connection, mut batch: Tables) -> Result<(), DatabaseError> {
    for table in PROJECT_TABLES {
        let rows = batch.remove(table).unwrap_or_default();
        if table == "message" {
            demo::insert_comments(conn, &rows).await?;
        } else {
            demo::insert_rows(conn, table, &rows).await?;
        }
    }
    Ok(())
}

/// Returns the n-th project; after the last one, the list begins again with numbered names.
fn project_text(library: &Library, number: usize) -> ProjectText {
    let count = library.projects.len().max(1);
    let (round, place) = ((number - 1) / count, (number - 1) % count);
    let mut project = library.projects[place].clone();
    if round > 0 {
        project.name = format!("{} {}", project.name, round + 1);
    }
    project
}

fn customer_rows(count: usize) -> Vec<Row> {
    const FIRST: [&str; 8] =
        ["Northwind", "Blue Harbour", "Alder & Sons", "Meridian", "Kestrel", "Granite", "Lumen", "Orchard"];
    const SECOND: [&str; 6] = ["Foods", "Logistics", "Energy", "Health", "Retail", "Bank"];
    let customer = |number: usize| {
        let suffix = if number > 48 { format!(" {number}") } else { String::new() };
        let company = format!("{} {}{suffix}", FIRST[number % 8], SECOND[number / 8 % 6]);
        let one_of = |kind: &str, options: &[&'static str]| json!(options[demo_random(kind, number, options.len())]);
        row([
            ("id", json!(demo_id("customer", number))),
            ("name", json!(company)),
            ("company_name", json!(company)),
            ("contact_person", json!(format!("Contact {number}"))),
            ("email", json!(format!("contact{number}@customer.example"))),
            ("dl__customer_tier", one_of("tier", &["Bronze", "Silver", "Gold", "Platinum"])),
            ("dl__customer_funnel", one_of("funnel", &["Qualified", "Proposal", "Won", "Won"])),
        ])
    };
    (1..=count).map(customer).collect()
}

fn business_rows(count: usize, people: usize) -> Vec<Row> {
    let business = |number: usize| {
        let name = BUSINESSES[(number - 1) % BUSINESSES.len()];
        let round = (number - 1) / BUSINESSES.len();
        row([
            ("id", json!(demo_id("business", number))),
            ("name", if round > 0 { json!(format!("{name} {}", round + 1)) } else { json!(name) }),
            ("office_id", json!(demo_id("office", 1 + number % 5))),
            ("manager__employee_id", json!(demo_id("employee", 5 + number % (people - 4)))),
            ("budget_allocated_amt", json!(100_000 * (5 + demo_random("budget", number, 40)))),
            ("dl__business_type", json!(["Internal", "Product", "Internal", "Services"][number % 4])),
            ("dl__business_status", json!(if number.is_multiple_of(11) { "Restructuring" } else { "Active" })),
        ])
    };
    (1..=count).map(business).collect()
}

#[cfg(test)]
mod tests;
