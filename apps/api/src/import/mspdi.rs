//! Parser of Microsoft Project XML (MSPDI, schema of Project 2007 and later). Pure.
//!
//! Converts text into a validated plan, so that nothing is written before the whole file has been
//! checked.

use jiff::civil::{Date, DateTime, Weekday};
use pmo_domain::api_types::FieldError;
use quick_xml::events::Event;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Maximum number of tasks in a plan.
pub const MAX_TASKS: usize = 20_000;
/// Maximum nesting depth of XML elements.
const MAX_ELEMENT_DEPTH: usize = 32;

/// Task of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanTask {
    /// Unique id of the task in the file.
    pub uid: i64,
    /// Index of the parent in [`Plan::tasks`]; `None` at the top level.
    pub parent: Option<usize>,
    /// Task name.
    pub name: String,
    /// Task notes.
    pub notes: Option<String>,
    /// Outline number.
    pub wbs: String,
    /// First day.
    pub start: Option<Date>,
    /// Last day.
    pub finish: Option<Date>,
    /// Duration in working days.
    pub days: f64,
    /// First day of actual work.
    pub actual_start: Option<Date>,
    /// Day on which the work was finished.
    pub actual_finish: Option<Date>,
    /// Completion, 0 to 100.
    pub percent: f64,
    /// Whether the task is a milestone.
    pub milestone: bool,
    /// Whether the task has children.
    pub summary: bool,
    /// Priority, 0 to 1000; 500 is the default.
    pub priority: i64,
    /// Planned work in hours.
    pub work_hours: Option<f64>,
    /// Actual work in hours.
    pub actual_hours: Option<f64>,
}

/// Dependency between two tasks, by index in [`Plan::tasks`].
#[derive(Clone, Debug, PartialEq)]
pub struct PlanLink {
    /// Index of the predecessor.
    pub predecessor: usize,
    /// Index of the successor.
    pub successor: usize,
    /// Dependency type: FS, SS, FF or SF.
    pub kind: &'static str,
    /// Lag in working days; negative for a lead.
    pub lag_days: f64,
}

/// Person who is assigned to tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanResource {
    /// Name of the person.
    pub name: String,
    /// Email address.
    pub email: Option<String>,
    /// Assigned tasks, by index in [`Plan::tasks`].
    pub tasks: Vec<usize>,
}

/// Validated plan.
///
/// Invariant: links and parents refer to tasks of the plan, and the links have no cycle.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Title of the plan.
    pub title: Option<String>,
    /// First day.
    pub start: Option<Date>,
    /// Last day.
    pub finish: Option<Date>,
    /// Tasks in outline order: a parent precedes its children.
    pub tasks: Vec<PlanTask>,
    /// Dependencies between tasks.
    pub links: Vec<PlanLink>,
    /// Assigned people.
    pub resources: Vec<PlanResource>,
    /// Skipped elements: number by element and reason.
    pub skipped: BTreeMap<(String, &'static str), usize>,
}

/// Error of a file that is not a valid plan.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{message}")]
pub struct PlanError {
    /// Message for the importing user.
    pub message: String,
    /// Location in the file: an element or a task.
    pub location: String,
}

impl From<PlanError> for FieldError {
    fn from(error: PlanError) -> Self {
        Self { field: error.location, message: error.message }
    }
}

fn invalid(location: impl Into<String>, message: impl Into<String>) -> PlanError {
    PlanError { location: location.into(), message: message.into() }
}

#[derive(Default)]
struct RawTask {
    fields: HashMap<String, String>,
    links: Vec<HashMap<String, String>>,
}

#[derive(Default)]
struct Raw {
    project: HashMap<String, String>,
    tasks: Vec<RawTask>,
    resources: Vec<HashMap<String, String>>,
    assignments: Vec<HashMap<String, String>>,
    working: BTreeMap<i64, bool>,
    calendars: usize,
}

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

/// Parses and validates a plan.
pub fn parse(bytes: &[u8]) -> Result<Plan, PlanError> {
    let raw = parse_xml(bytes)?;
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
    let mut skipped: BTreeMap<(String, &'static str), usize> = BTreeMap::new();
    let mut record_skipped =
        |element: &str, reason: &'static str| *skipped.entry((element.to_owned(), reason)).or_default() += 1;
    let index_by_uid = build_tasks(&raw, &mut plan, minutes_per_day, &mut record_skipped)?;
    build_links(&raw, &mut plan, &index_by_uid, minutes_per_day)?;
    build_resources(&raw, &mut plan, &index_by_uid, &mut record_skipped)?;
    if raw.calendars > 0 {
        skipped.insert(
            ("Calendar".into(), "calendars are not imported; their working days determine durations"),
            raw.calendars,
        );
    }
    plan.skipped = skipped;
    Ok(plan)
}

/// Reads the XML into flat fields.
///
/// Rejects document types and entities other than the five predefined ones, because entity
/// expansion could make a small file grow without limit.
fn parse_xml(bytes: &[u8]) -> Result<Raw, PlanError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes)
        .map_err(|_| invalid("file", "The file is not UTF-8. Save the plan as XML in UTF-8 and try again."))?;
    if text.trim_start().is_empty() {
        return Err(invalid("file", "The file is empty."));
    }
    let mut reader = quick_xml::Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let mut raw = Raw::default();
    let mut path: Vec<String> = Vec::new();
    let mut value = String::new();
    let mut finished = false;
    let (mut task, mut link, mut fields) = (RawTask::default(), HashMap::new(), HashMap::new());
    let mut week_day: (Option<i64>, Option<bool>) = (None, None);
    loop {
        let event = reader.read_event().map_err(|error| {
            invalid(
                "file",
                format!(
                    "The file is not well-formed XML near byte {}: {error}. It may be truncated.",
                    reader.buffer_position()
                ),
            )
        })?;
        match event {
            Event::DocType(_) => {
                return Err(invalid(
                    "file",
                    "The file declares a document type, which a Microsoft Project file never does. It was rejected.",
                ));
            }
            Event::Start(start) => {
                let name = AsRef::<str>::as_ref(&start.local_name()).to_owned();
                if path.is_empty() && (name != "Project" || finished) {
                    return Err(invalid(
                        "file",
                        format!(
                            "The file is not Microsoft Project XML: it starts with <{}>.",
                            name.chars().take(60).collect::<String>()
                        ),
                    ));
                }
                if path.len() >= MAX_ELEMENT_DEPTH {
                    return Err(invalid("file", "The elements of the file are nested too deeply."));
                }
                match (path.last().map(String::as_str), name.as_str()) {
                    (Some("Tasks"), "Task") => task = RawTask::default(),
                    (Some("Task"), "PredecessorLink") => link = HashMap::new(),
                    (Some("Resources"), "Resource") | (Some("Assignments"), "Assignment") => fields = HashMap::new(),
                    (Some("WeekDays"), "WeekDay") => week_day = (None, None),
                    (Some("Calendars"), "Calendar") => raw.calendars += 1,
                    _ => {}
                }
                path.push(name);
                value.clear();
            }
            Event::Empty(start) if path.is_empty() && AsRef::<str>::as_ref(&start.local_name()) != "Project" => {
                return Err(invalid("file", "The file is not Microsoft Project XML."));
            }
            Event::Text(text) => {
                value.push_str(&text);
            }
            Event::CData(data) => {
                value.push_str(&data);
            }
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().ok().flatten();
                let name: &str = &reference;
                match (character, name) {
                    (Some(ch), _) => value.push(ch),
                    (_, "amp") => value.push('&'),
                    (_, "lt") => value.push('<'),
                    (_, "gt") => value.push('>'),
                    (_, "quot") => value.push('"'),
                    (_, "apos") => value.push('\''),
                    _ => {
                        return Err(invalid("file", "The file uses an undefined XML entity. It was rejected."));
                    }
                }
            }
            Event::End(_) => {
                let Some(name) = path.pop() else {
                    return Err(invalid("file", "The file has an end tag without a start tag."));
                };
                let parent = path.last().map(String::as_str);
                let grandparent = path.len().checked_sub(2).and_then(|i| path.get(i)).map(String::as_str);
                let text = std::mem::take(&mut value);
                match (grandparent, parent, name.as_str()) {
                    (_, Some("Tasks"), "Task") => {
                        raw.tasks.push(std::mem::take(&mut task));
                        if raw.tasks.len() > MAX_TASKS {
                            return Err(invalid(
                                "Tasks",
                                format!("The plan has more than {MAX_TASKS} tasks. Split it and import the parts."),
                            ));
                        }
                    }
                    (_, Some("Task"), "PredecessorLink") => task.links.push(std::mem::take(&mut link)),
                    (_, Some("Resources"), "Resource") => raw.resources.push(std::mem::take(&mut fields)),
                    (_, Some("Assignments"), "Assignment") => raw.assignments.push(std::mem::take(&mut fields)),
                    (_, Some("WeekDays"), "WeekDay") => {
                        // The first calendar that defines a weekday wins.
                        if let (Some(day), Some(working)) = week_day {
                            raw.working.entry(day).or_insert(working);
                        }
                    }
                    (Some("Task"), Some("PredecessorLink"), field) => {
                        link.insert(field.to_owned(), text);
                    }
                    (Some("Tasks"), Some("Task"), field) => {
                        task.fields.insert(field.to_owned(), text);
                    }
                    (Some("Resources"), Some("Resource"), field) | (Some("Assignments"), Some("Assignment"), field) => {
                        fields.insert(field.to_owned(), text);
                    }
                    (Some("WeekDays"), Some("WeekDay"), "DayType") => week_day.0 = text.trim().parse().ok(),
                    (Some("WeekDays"), Some("WeekDay"), "DayWorking") => week_day.1 = Some(text.trim() == "1"),
                    (None, Some("Project"), field) => {
                        raw.project.insert(field.to_owned(), text);
                    }
                    _ => {}
                }
                finished |= path.is_empty();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if !path.is_empty() || !finished {
        return Err(invalid(
            "file",
            format!(
                "The file ends inside <{}>: it is truncated. Export the plan again.",
                path.last().map_or("Project", String::as_str)
            ),
        ));
    }
    Ok(raw)
}

fn build_tasks(
    raw: &Raw,
    plan: &mut Plan,
    minutes_per_day: f64,
    record_skipped: &mut impl FnMut(&str, &'static str),
) -> Result<HashMap<i64, usize>, PlanError> {
    let mut index_by_uid: HashMap<i64, usize> = HashMap::new();
    let mut ancestors: Vec<(i64, usize)> = Vec::new(); // ancestors of the current task, with their levels
    for (position, task) in raw.tasks.iter().enumerate() {
        let field = |name: &str| task.fields.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
        let location = || format!("Task {}", field("UID").unwrap_or("without UID"));
        let integer_field = |name: &str| -> Result<Option<i64>, PlanError> {
            field(name)
                .map(|text| {
                    text.parse().map_err(|_| {
                        invalid(
                            location(),
                            format!("<{name}> is '{}', not a number.", text.chars().take(40).collect::<String>()),
                        )
                    })
                })
                .transpose()
        };
        let uid = integer_field("UID")?
            .ok_or_else(|| invalid(format!("Task at position {}", position + 1), "The task has no <UID>."))?;
        if field("IsNull") == Some("1") {
            record_skipped("Task", "empty row of the plan");
            continue;
        }
        if uid == 0 {
            plan.title = plan.title.take().or_else(|| field("Name").map(str::to_owned));
            record_skipped("Task", "the project summary task becomes the project itself");
            continue;
        }
        let level = integer_field("OutlineLevel")?.unwrap_or(1);
        ancestors.retain(|(ancestor_level, _)| *ancestor_level < level);
        let date_field = |name: &str| -> Result<Option<DateTime>, PlanError> {
            field(name)
                .map(|text| {
                    parse_datetime(text).ok_or_else(|| {
                        invalid(
                            location(),
                            format!("<{name}> is '{}', not a date.", text.chars().take(40).collect::<String>()),
                        )
                    })
                })
                .transpose()
        };
        let (start, finish) = (date_field("Start")?, date_field("Finish")?);
        let milestone = field("Milestone") == Some("1");
        let last_day = finish.map(|finish| last_day(start, finish));
        let days = match field("Duration").and_then(duration_minutes) {
            Some(minutes) => minutes / minutes_per_day,
            None if milestone => 0.0,
            None => working_days(&raw.working, start.map(|start| start.date()), last_day),
        };
        let percent: f64 = field("PercentComplete").and_then(|text| text.parse().ok()).unwrap_or(0.0);
        let name = field("Name").unwrap_or("Untitled task");
        for name in task.fields.keys().filter(|name| !KNOWN_TASK_ELEMENTS.contains(&name.as_str())) {
            record_skipped(name, "this task field is not supported");
        }
        let index = plan.tasks.len();
        if index_by_uid.insert(uid, index).is_some() {
            return Err(invalid(location(), "Two tasks have the same UID."));
        }
        plan.tasks.push(PlanTask {
            uid,
            parent: ancestors.last().map(|(_, index)| *index),
            name: truncate(name, 500),
            notes: field("Notes").map(|notes| truncate(notes, 100_000)),
            wbs: truncate(field("WBS").or(field("OutlineNumber")).unwrap_or_default(), 200),
            start: start.map(|start| start.date()),
            finish: last_day,
            days: (days * 1000.0).round() / 1000.0,
            actual_start: date_field("ActualStart")?.map(|date| date.date()),
            actual_finish: date_field("ActualFinish")?.map(|end| self::last_day(start, end)),
            percent: percent.clamp(0.0, 100.0),
            milestone,
            summary: field("Summary") == Some("1"),
            priority: integer_field("Priority")?.unwrap_or(500),
            work_hours: field("Work").and_then(duration_minutes).map(|minutes| minutes / 60.0),
            actual_hours: field("ActualWork").and_then(duration_minutes).map(|minutes| minutes / 60.0),
        });
        ancestors.push((level, index));
    }
    Ok(index_by_uid)
}

fn build_links(
    raw: &Raw,
    plan: &mut Plan,
    index_by_uid: &HashMap<i64, usize>,
    minutes_per_day: f64,
) -> Result<(), PlanError> {
    for task in &raw.tasks {
        let uid = task.fields.get("UID").and_then(|text| text.trim().parse::<i64>().ok()).unwrap_or_default();
        let Some(&successor) = index_by_uid.get(&uid) else { continue };
        let mut seen = BTreeSet::new();
        for link in &task.links {
            let location = format!("Task {uid}");
            let text = link.get("PredecessorUID").map(|text| text.trim()).unwrap_or_default();
            let predecessor_uid: i64 =
                text.parse().map_err(|_| invalid(&location, "A link has no valid <PredecessorUID>."))?;
            let Some(&predecessor) = index_by_uid.get(&predecessor_uid) else {
                return Err(invalid(
                    location,
                    format!(
                        "'{}' depends on task {predecessor_uid}, which is not in the plan.",
                        plan.tasks[successor].name
                    ),
                ));
            };
            if predecessor == successor {
                return Err(invalid(location, format!("'{}' depends on itself.", plan.tasks[successor].name)));
            }
            let kind = match link.get("Type").map(|text| text.trim()) {
                Some("0") => "FF",
                None | Some("" | "1") => "FS",
                Some("2") => "SF",
                Some("3") => "SS",
                Some(other) => {
                    return Err(invalid(
                        location,
                        format!(
                            "A link has the type '{}'; valid types are 0 to 3.",
                            other.chars().take(20).collect::<String>()
                        ),
                    ));
                }
            };
            // LinkLag is in tenths of a minute.
            let lag: f64 = link.get("LinkLag").and_then(|text| text.trim().parse().ok()).unwrap_or(0.0);
            if seen.insert(predecessor) {
                let lag_days = (lag / 10.0 / minutes_per_day * 1000.0).round() / 1000.0;
                plan.links.push(PlanLink { predecessor, successor, kind, lag_days });
            }
        }
    }
    match find_cycle(plan.tasks.len(), &plan.links) {
        None => Ok(()),
        Some(cycle) => {
            let names: Vec<_> = cycle.iter().take(6).map(|index| format!("'{}'", plan.tasks[*index].name)).collect();
            let more = if cycle.len() > 6 { ", …" } else { "" };
            Err(invalid(
                format!("Task {}", plan.tasks[cycle[0]].uid),
                format!("These tasks form a dependency cycle: {}{more}.", names.join(" → ")),
            ))
        }
    }
}

/// Returns a cycle of links, if there is one.
///
/// Repeatedly removes tasks without predecessors (Kahn 1962); if tasks remain, the remaining links
/// contain a cycle.
fn find_cycle(tasks: usize, links: &[PlanLink]) -> Option<Vec<usize>> {
    let mut in_degree = vec![0usize; tasks];
    let mut successors: Vec<Vec<usize>> = vec![Vec::new(); tasks];
    for link in links {
        in_degree[link.successor] += 1;
        successors[link.predecessor].push(link.successor);
    }
    let mut ready: Vec<usize> = (0..tasks).filter(|task| in_degree[*task] == 0).collect();
    while let Some(task) = ready.pop() {
        for &next in &successors[task] {
            in_degree[next] -= 1;
            if in_degree[next] == 0 {
                ready.push(next);
            }
        }
    }
    // Every remaining task has a remaining predecessor, so following predecessors must revisit a
    // task.
    let mut current = (0..tasks).find(|task| in_degree[*task] > 0)?;
    let mut path = vec![current];
    loop {
        current = links.iter().find(|link| link.successor == current && in_degree[link.predecessor] > 0)?.predecessor;
        if let Some(start) = path.iter().position(|task| *task == current) {
            let mut cycle = path.split_off(start);
            cycle.reverse();
            return Some(cycle);
        }
        path.push(current);
    }
}

fn build_resources(
    raw: &Raw,
    plan: &mut Plan,
    index_by_uid: &HashMap<i64, usize>,
    record_skipped: &mut impl FnMut(&str, &'static str),
) -> Result<(), PlanError> {
    let mut by_uid: HashMap<&str, usize> = HashMap::new();
    for resource in &raw.resources {
        let field = |name: &str| resource.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
        let Some(name) = field("Name") else {
            record_skipped("Resource", "has no name");
            continue;
        };
        if matches!(field("Type"), Some("0" | "2")) {
            record_skipped("Resource", "material and cost resources are not people");
            continue;
        }
        by_uid.insert(field("UID").unwrap_or_default(), plan.resources.len());
        plan.resources.push(PlanResource {
            name: truncate(name, 500),
            email: field("EmailAddress").map(str::to_owned),
            tasks: Vec::new(),
        });
    }
    for assignment in &raw.assignments {
        let field = |name: &str| assignment.get(name).map(|text| text.trim()).unwrap_or_default();
        let task = field("TaskUID").parse::<i64>().ok().and_then(|uid| index_by_uid.get(&uid)).copied();
        match (task, by_uid.get(field("ResourceUID"))) {
            (Some(task), Some(&resource)) => {
                let tasks = &mut plan.resources[resource].tasks;
                if !tasks.contains(&task) {
                    tasks.push(task);
                }
            }
            (None, _) if field("TaskUID") != "0" => {
                return Err(invalid(
                    "Assignments",
                    format!(
                        "An assignment refers to task {}, which is not in the plan.",
                        truncate(field("TaskUID"), 20)
                    ),
                ));
            }
            _ => record_skipped("Assignment", "does not refer to a person of the plan"),
        }
    }
    Ok(())
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

fn truncate(text: &str, max_chars: usize) -> String {
    text.chars().filter(|ch| *ch != '\0').take(max_chars).collect()
}

fn parse_datetime(text: &str) -> Option<DateTime> {
    text.trim().parse::<DateTime>().ok().filter(|datetime| (1900..=2200).contains(&datetime.year()))
}

fn parse_date(text: &str) -> Option<Date> {
    parse_datetime(text).map(|datetime| datetime.date())
}

/// Returns the last day of a period.
///
/// A period that ends at midnight ends on the previous day, unless it also begins then.
fn last_day(start: Option<DateTime>, end: DateTime) -> Date {
    let midnight = end.time() == jiff::civil::Time::midnight();
    if midnight && start.is_some_and(|start| start < end) {
        end.date().yesterday().unwrap_or(end.date())
    } else {
        end.date()
    }
}

/// Returns the minutes of an ISO 8601 duration of hours, minutes and seconds, such as `PT8H30M0S`.
fn duration_minutes(text: &str) -> Option<f64> {
    let mut rest = text.trim().strip_prefix('P')?;
    let (mut minutes, mut in_time) = (0.0, false);
    while !rest.is_empty() {
        if let Some(time_part) = rest.strip_prefix('T') {
            in_time = true;
            rest = time_part;
            continue;
        }
        let end = rest.find(|ch: char| !(ch.is_ascii_digit() || ch == '.'))?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit = rest[end..].chars().next()?;
        minutes += number
            * match (unit, in_time) {
                ('D', false) => 24.0 * 60.0,
                ('H', true) => 60.0,
                ('M', true) => 1.0,
                ('S', true) => 1.0 / 60.0,
                _ => return None,
            };
        rest = &rest[end + unit.len_utf8()..];
    }
    Some(minutes).filter(|minutes| minutes.is_finite() && *minutes < 60.0 * 24.0 * 365.0 * 200.0)
}

/// Returns the number of working days from `start` to `finish`, both included.
///
/// Days that the calendar of the file does not define default to Monday to Friday.
fn working_days(working: &BTreeMap<i64, bool>, start: Option<Date>, finish: Option<Date>) -> f64 {
    let (Some(start), Some(finish)) = (start, finish) else { return 0.0 };
    // MSPDI numbers weekdays from Sunday = 1.
    let is_working_day = |weekday: Weekday| {
        let number = i64::from(weekday.to_sunday_one_offset());
        working.get(&number).copied().unwrap_or(!matches!(weekday, Weekday::Saturday | Weekday::Sunday))
    };
    if finish < start {
        return 0.0;
    }
    let span = i64::from(start.until(finish).map(|span| span.get_days()).unwrap_or_default()) + 1;
    let days_per_week = (0..7)
        .filter(|offset| {
            start.checked_add(jiff::Span::new().days(*offset)).is_ok_and(|day| is_working_day(day.weekday()))
        })
        .count();
    let remaining_days = (0..span % 7)
        .filter(|offset| {
            start.checked_add(jiff::Span::new().days(*offset)).is_ok_and(|day| is_working_day(day.weekday()))
        })
        .count();
    #[allow(clippy::cast_precision_loss)] // at most some hundred thousand days
    let days = (span / 7) as f64 * days_per_week as f64 + remaining_days as f64;
    days
}

#[cfg(test)]
#[path = "mspdi_tests.rs"]
mod tests;
