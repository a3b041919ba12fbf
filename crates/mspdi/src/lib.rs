//! Microsoft Project XML (MSPDI): reads, converts and writes files. Pure.
//!
//! [`read`] parses a file into a [`File`], [`to_plan`] converts that to a plan of `pmo-planning`,
//! and [`schedule_json`] computes the dates of a file from the inputs in it. Dates that Microsoft
//! Project computed and stored are not used. [`write`] writes a file; [`read`] reads it back as the
//! same contents. [`rows`] maps contents to rows of a project and back.

mod calendar;
mod convert;
mod converted;
mod field;
mod file;
mod read;
pub mod rows;
mod runs;
mod unread;
mod value;
mod write;
mod write_calendar;
mod write_value;
mod xml;
mod xml_writer;

pub use convert::to_plan;
pub use converted::Converted;
pub use file::{
    File, FileAssignment, FileBaseline, FileCalendar, FileLink, FileProject, FileResource, FileTask, TimephasedRow,
};
pub use read::read;
pub use unread::{Unread, find_unread};
pub use write::{Computed, ComputedTask, write};
pub use xml::Error;

use pmo_planning::{Moment, Span};
use serde_json::{Value, json};

/// Computes the dates of a file and returns them as JSON, slack in minutes.
pub fn schedule_json(text: &str) -> Result<String, Error> {
    let file = read(text)?;
    let converted = to_plan(&file);
    let schedule = pmo_planning::schedule(&converted.plan);
    let tasks: Vec<Value> = converted
        .uids
        .iter()
        .enumerate()
        .filter(|(position, _)| schedule.start.get(*position).is_some_and(|start| start.is_some()))
        .map(|(position, uid)| {
            json!({
                "uid": uid,
                "start": moment(schedule.start[position]),
                "finish": moment(schedule.finish[position]),
                "early_start": moment(schedule.early_start[position]),
                "early_finish": moment(schedule.early_finish[position]),
                "late_start": moment(schedule.late_start[position]),
                "late_finish": moment(schedule.late_finish[position]),
                "total_slack_minutes": minutes(schedule.total_slack[position]),
                "free_slack_minutes": minutes(schedule.free_slack[position]),
                "critical": schedule.critical[position],
            })
        })
        .collect();
    let finish = moment(schedule.project_finish);
    Ok(json!({ "project": { "finish": finish }, "tasks": tasks }).to_string())
}

fn moment(moment: Moment) -> Value {
    moment.get().map_or(Value::Null, |moment| Value::String(moment.to_string()))
}

/// Returns a number of minutes, with one decimal where it is not whole.
fn minutes(span: Span) -> Value {
    if span.0 % 10 == 0 { json!(span.0 / 10) } else { json!(f64::from(span.0) / 10.0) }
}

#[cfg(test)]
mod tests;
