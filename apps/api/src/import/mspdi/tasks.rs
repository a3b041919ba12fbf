//! Tasks in outline order, with dates and durations.

use super::error::{PlanError, invalid};
use super::plan::{Plan, PlanTask};
use super::values::{duration_minutes, last_day, parse_datetime, truncate, working_days};
use super::xml::{Fields, RawPlan};
use jiff::civil::DateTime;
use std::collections::{BTreeMap, HashMap};

/// Task elements that are imported, or that contain nothing beyond those.
const KNOWN_TASK_ELEMENTS: [&str; 26] = [
    "UID",
    "ID",
    "Name",
    "Notes",
    "WBS",
    "OutlineNumber",
    "OutlineLevel",
    "Start",
    "Finish",
    "Duration",
    "ActualStart",
    "ActualFinish",
    "PercentComplete",
    "PercentWorkComplete",
    "Milestone",
    "Summary",
    "Priority",
    "Work",
    "ActualWork",
    "IsNull",
    "Active",
    "Type",
    "Estimated",
    "DurationFormat",
    "ManualStart",
    "ManualFinish",
];

/// Adds the tasks of a file to the plan; returns their indexes by UID.
pub(super) fn add_tasks(
    raw: &RawPlan,
    plan: &mut Plan,
    minutes_per_day: f64,
) -> Result<HashMap<i64, usize>, PlanError> {
    let mut index_by_uid: HashMap<i64, usize> = HashMap::new();
    let mut ancestors: Vec<(i64, usize)> = Vec::new(); // ancestors of the current task, with their levels
    for (position, task) in raw.tasks.iter().enumerate() {
        let task = TaskElement { fields: &task.fields };
        let uid = task
            .integer("UID")?
            .ok_or_else(|| invalid(format!("Task at position {}", position + 1), "The task has no <UID>."))?;
        if task.text("IsNull") == Some("1") {
            plan.record_skipped("Task", "empty row of the plan");
            continue;
        }
        if uid == 0 {
            plan.title = plan.title.take().or_else(|| task.text("Name").map(str::to_owned));
            plan.record_skipped("Task", "the project summary task becomes the project itself");
            continue;
        }
        let level = task.integer("OutlineLevel")?.unwrap_or(1);
        ancestors.retain(|(ancestor_level, _)| *ancestor_level < level);
        let parent = ancestors.last().map(|(_, index)| *index);
        let plan_task = task.convert(uid, parent, minutes_per_day, &raw.working)?;
        for name in task.fields.keys().filter(|name| !KNOWN_TASK_ELEMENTS.contains(&name.as_str())) {
            plan.record_skipped(name, "this task field is not supported");
        }
        let index = plan.tasks.len();
        if index_by_uid.insert(uid, index).is_some() {
            return Err(invalid(task.location(), "Two tasks have the same UID."));
        }
        plan.tasks.push(plan_task);
        ancestors.push((level, index));
    }
    Ok(index_by_uid)
}

/// The `Task` element of a file.
struct TaskElement<'a> {
    fields: &'a Fields,
}

impl TaskElement<'_> {
    /// Returns the text of a field, unless it is empty.
    fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    fn location(&self) -> String {
        format!("Task {}", self.text("UID").unwrap_or("without UID"))
    }

    fn parsed<T>(&self, name: &str, kind: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, PlanError> {
        let invalid_value = |text: &str| {
            let excerpt: String = text.chars().take(40).collect();
            invalid(self.location(), format!("<{name}> is '{excerpt}', not a {kind}."))
        };
        self.text(name).map(|text| parse(text).ok_or_else(|| invalid_value(text))).transpose()
    }

    fn integer(&self, name: &str) -> Result<Option<i64>, PlanError> {
        self.parsed(name, "number", |text| text.parse().ok())
    }

    fn date(&self, name: &str) -> Result<Option<DateTime>, PlanError> {
        self.parsed(name, "date", parse_datetime)
    }

    fn hours(&self, name: &str) -> Option<f64> {
        self.text(name).and_then(duration_minutes).map(|minutes| minutes / 60.0)
    }

    /// Converts the element into a task of the plan; `working` are the working weekdays.
    fn convert(
        &self,
        uid: i64,
        parent: Option<usize>,
        minutes_per_day: f64,
        working: &BTreeMap<i64, bool>,
    ) -> Result<PlanTask, PlanError> {
        let (start, finish) = (self.date("Start")?, self.date("Finish")?);
        let milestone = self.text("Milestone") == Some("1");
        let final_day = finish.map(|finish| last_day(start, finish));
        let days = match self.text("Duration").and_then(duration_minutes) {
            Some(minutes) => minutes / minutes_per_day,
            None if milestone => 0.0,
            None => working_days(working, start.map(|start| start.date()), final_day),
        };
        let percent: f64 = self.text("PercentComplete").and_then(|text| text.parse().ok()).unwrap_or(0.0);
        Ok(PlanTask {
            uid,
            parent,
            name: truncate(self.text("Name").unwrap_or("Untitled task"), 500),
            notes: self.text("Notes").map(|notes| truncate(notes, 100_000)),
            wbs: truncate(self.text("WBS").or(self.text("OutlineNumber")).unwrap_or_default(), 200),
            start: start.map(|start| start.date()),
            finish: final_day,
            days: (days * 1000.0).round() / 1000.0,
            actual_start: self.date("ActualStart")?.map(|date| date.date()),
            actual_finish: self.date("ActualFinish")?.map(|end| last_day(start, end)),
            percent: percent.clamp(0.0, 100.0),
            milestone,
            summary: self.text("Summary") == Some("1"),
            priority: self.integer("Priority")?.unwrap_or(500),
            work_hours: self.hours("Work"),
            actual_hours: self.hours("ActualWork"),
        })
    }
}
