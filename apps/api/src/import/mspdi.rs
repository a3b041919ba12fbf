//! Parser of Microsoft Project XML (MSPDI, schema of Project 2007 and later). Pure.
//!
//! Converts text into a validated plan, so that nothing is written before the whole file has been
//! checked.

mod error; // errors of a file
mod links; // dependencies
mod plan; // the result
mod resources; // people and assignments
mod tasks; // tasks
mod values; // texts, dates, durations
mod xml; // XML to flat fields

pub use error::PlanError;
pub use plan::{Plan, PlanLink, PlanResource, PlanTask};
pub use xml::MAX_TASKS;

use values::{parse_date, truncate};

/// Parses and validates a plan.
pub fn parse(bytes: &[u8]) -> Result<Plan, PlanError> {
    let raw = xml::read(bytes)?;
    let mut plan = Plan {
        title: raw
            .project
            .get("Title")
            .or_else(|| raw.project.get("Name"))
            .map(|text| normalize_title(text))
            .filter(|text| !text.is_empty()),
        start: raw.project.get("StartDate").and_then(|text| parse_date(text)),
        finish: raw.project.get("FinishDate").and_then(|text| parse_date(text)),
        ..Plan::default()
    };
    let minutes_per_day = raw
        .project
        .get("MinutesPerDay")
        .and_then(|text| text.parse().ok())
        .filter(|minutes| *minutes > 0.0)
        .unwrap_or(480.0);
    let index_by_uid = tasks::add_tasks(&raw, &mut plan, minutes_per_day)?;
    links::add_links(&raw, &mut plan, &index_by_uid, minutes_per_day)?;
    resources::add_resources(&raw, &mut plan, &index_by_uid)?;
    if raw.calendars > 0 {
        plan.skipped.insert(
            ("Calendar".into(), "calendars are not imported; their working days determine durations"),
            raw.calendars,
        );
    }
    Ok(plan)
}

fn normalize_title(title: &str) -> String {
    let title = title.trim();
    let lower = title.to_lowercase();
    let stem = [".xml", ".mpp"]
        .iter()
        .find(|extension| lower.ends_with(**extension))
        .map_or(title, |extension| &title[..title.len() - extension.len()]);
    truncate(stem.trim(), 500)
}

#[cfg(test)]
#[path = "mspdi_tests.rs"]
mod tests;
