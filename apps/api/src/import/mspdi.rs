//! Reads a plan from Microsoft Project XML (MSPDI, schema of Project 2007 and later). Pure: text in, a checked plan out, so that
//! nothing is written before everything is known to fit.

use jiff::civil::{Date, DateTime, Weekday};
use pmo_domain::api_types::FieldError;
use quick_xml::events::Event;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Most tasks of a plan.
pub const MAX_TASKS: usize = 20_000;
/// Deepest nesting of elements that a plan can need.
const MAX_OUTLINE_DEPTH: usize = 32;

/// A task as the file has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanTask {
    /// The file's own number for it.
    pub uid: i64,
    /// Place in the plan's list of the task above; none at the top.
    pub parent: Option<usize>,
    /// Name.
    pub name: String,
    /// Notes.
    pub notes: Option<String>,
    /// Outline number.
    pub wbs: String,
    /// First day.
    pub start: Option<Date>,
    /// Last day.
    pub finish: Option<Date>,
    /// Working days.
    pub days: f64,
    /// First day of work done.
    pub actual_start: Option<Date>,
    /// Day when it was finished.
    pub actual_finish: Option<Date>,
    /// Of a hundred.
    pub percent: f64,
    /// A moment rather than a stretch.
    pub milestone: bool,
    /// Has tasks below.
    pub summary: bool,
    /// 0 to 1000, 500 is the middle.
    pub priority: i64,
    /// Planned work in hours.
    pub work_hours: Option<f64>,
    /// Work done in hours.
    pub actual_hours: Option<f64>,
}

/// A link between two tasks, by place in the plan's list.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanLink {
    /// Comes first.
    pub predecessor: usize,
    /// Waits.
    pub successor: usize,
    /// FS, SS, FF or SF.
    pub kind: &'static str,
    /// Working days to wait.
    pub lag_days: f64,
}

/// A person who works, as the file has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanResource {
    /// Name.
    pub name: String,
    /// Address.
    pub email: Option<String>,
    /// Tasks, by place in the plan's list.
    pub tasks: Vec<usize>,
}

/// A plan, checked: links and parents point at tasks of the plan, and nothing waits for itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What the file calls it.
    pub title: Option<String>,
    /// First day.
    pub start: Option<Date>,
    /// Last day.
    pub finish: Option<Date>,
    /// In outline order: a parent stands before what is below it.
    pub tasks: Vec<PlanTask>,
    /// Links.
    pub links: Vec<PlanLink>,
    /// People.
    pub resources: Vec<PlanResource>,
    /// What was not taken: what, how many, why.
    pub skipped: BTreeMap<(String, &'static str), usize>,
}

/// A file that is no usable plan.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{message}")]
pub struct PlanError {
    /// In the words of the one who imports.
    pub message: String,
    /// Where, as an element or a task.
    pub location: String,
}

impl From<PlanError> for FieldError {
    fn from(bad: PlanError) -> Self {
        Self { field: bad.location, message: bad.message }
    }
}

fn invalid(place: impl Into<String>, message: impl Into<String>) -> PlanError {
    PlanError { location: place.into(), message: message.into() }
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

/// Elements of a task that are taken, or that say nothing of their own beside those.
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

/// Reads a plan.
pub fn parse(bytes: &[u8]) -> Result<Plan, PlanError> {
    let raw = read(bytes)?;
    let mut plan = Plan {
        title: raw
            .project
            .get("Title")
            .or_else(|| raw.project.get("Name"))
            .map(|t| normalize_title(t))
            .filter(|t| !t.is_empty()),
        start: raw.project.get("StartDate").and_then(|t| day(t)),
        finish: raw.project.get("FinishDate").and_then(|t| day(t)),
        ..Plan::default()
    };
    let minutes_a_day =
        raw.project.get("MinutesPerDay").and_then(|t| t.parse().ok()).filter(|m| *m > 0.0).unwrap_or(480.0);
    let mut left_out: BTreeMap<(String, &'static str), usize> = BTreeMap::new();
    let mut leave = |what: &str, why: &'static str| *left_out.entry((what.to_owned(), why)).or_default() += 1;
    let place_of = tasks(&raw, &mut plan, minutes_a_day, &mut leave)?;
    links(&raw, &mut plan, &place_of, minutes_a_day)?;
    resources(&raw, &mut plan, &place_of, &mut leave)?;
    if raw.calendars > 0 {
        left_out.insert(
            ("Calendar".into(), "working time is not part of a plan's import; its working days set the lengths"),
            raw.calendars,
        );
    }
    plan.skipped = left_out;
    Ok(plan)
}

/// Reads the XML into flat fields. Entities other than XML's own five are refused, and so is a document type: without them no
/// small file can grow.
fn read(bytes: &[u8]) -> Result<Raw, PlanError> {
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
                    "The file is not well-formed XML near byte {}: {error}. It may be cut off.",
                    reader.buffer_position()
                ),
            )
        })?;
        match event {
            Event::DocType(_) => {
                return Err(invalid(
                    "file",
                    "The file declares a document type; a Microsoft Project file has none. It was not read.",
                ));
            }
            Event::Start(start) => {
                let name = AsRef::<str>::as_ref(&start.local_name()).to_owned();
                if path.is_empty() && (name != "Project" || finished) {
                    return Err(invalid(
                        "file",
                        format!(
                            "The file is not Microsoft Project XML: it begins with <{}>.",
                            name.chars().take(60).collect::<String>()
                        ),
                    ));
                }
                if path.len() >= MAX_OUTLINE_DEPTH {
                    return Err(invalid("file", "The file's elements are nested deeper than any plan's."));
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
                    (Some(c), _) => value.push(c),
                    (_, "amp") => value.push('&'),
                    (_, "lt") => value.push('<'),
                    (_, "gt") => value.push('>'),
                    (_, "quot") => value.push('"'),
                    (_, "apos") => value.push('\''),
                    _ => {
                        return Err(invalid(
                            "file",
                            "The file uses an entity that XML itself does not know. It was not read.",
                        ));
                    }
                }
            }
            Event::End(_) => {
                let Some(name) = path.pop() else {
                    return Err(invalid("file", "The file has an end without a beginning."));
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
                        // The first calendar that names a day decides.
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
                "The file ends inside <{}>: it is cut off. Export the plan again.",
                path.last().map_or("Project", String::as_str)
            ),
        ));
    }
    Ok(raw)
}

fn tasks(
    raw: &Raw,
    plan: &mut Plan,
    minutes_a_day: f64,
    leave: &mut impl FnMut(&str, &'static str),
) -> Result<HashMap<i64, usize>, PlanError> {
    let mut place_of: HashMap<i64, usize> = HashMap::new();
    let mut open: Vec<(i64, usize)> = Vec::new(); // the tasks above, by level
    for (position, task) in raw.tasks.iter().enumerate() {
        let field = |name: &str| task.fields.get(name).map(|t| t.trim()).filter(|t| !t.is_empty());
        let place = || format!("Task {}", field("UID").unwrap_or("without UID"));
        let whole = |name: &str| -> Result<Option<i64>, PlanError> {
            field(name)
                .map(|t| {
                    t.parse().map_err(|_| {
                        invalid(
                            place(),
                            format!("<{name}> is '{}', not a number.", t.chars().take(40).collect::<String>()),
                        )
                    })
                })
                .transpose()
        };
        let uid = whole("UID")?
            .ok_or_else(|| invalid(format!("Task at position {}", position + 1), "The task has no <UID>."))?;
        if field("IsNull") == Some("1") {
            leave("Task", "an empty line of the plan");
            continue;
        }
        if uid == 0 {
            plan.title = plan.title.take().or_else(|| field("Name").map(str::to_owned));
            leave("Task", "the summary of the whole plan is the project itself");
            continue;
        }
        let level = whole("OutlineLevel")?.unwrap_or(1);
        open.retain(|(above, _)| *above < level);
        let date = |name: &str| -> Result<Option<DateTime>, PlanError> {
            field(name)
                .map(|t| {
                    parse_datetime(t).ok_or_else(|| {
                        invalid(
                            place(),
                            format!("<{name}> is '{}', not a date.", t.chars().take(40).collect::<String>()),
                        )
                    })
                })
                .transpose()
        };
        let (start, finish) = (date("Start")?, date("Finish")?);
        let milestone = field("Milestone") == Some("1");
        let last_day = finish.map(|f| last_day(start, f));
        let days = match field("Duration").and_then(duration_minutes) {
            Some(minutes) => minutes / minutes_a_day,
            None if milestone => 0.0,
            None => working_days(&raw.working, start.map(|s| s.date()), last_day),
        };
        let percent: f64 = field("PercentComplete").and_then(|t| t.parse().ok()).unwrap_or(0.0);
        let name = field("Name").unwrap_or("Untitled task");
        for name in task.fields.keys().filter(|n| !KNOWN_TASK_ELEMENTS.contains(&n.as_str())) {
            leave(name, "this column of a task has no place here yet");
        }
        let index = plan.tasks.len();
        if place_of.insert(uid, index).is_some() {
            return Err(invalid(place(), "Two tasks have the same UID."));
        }
        plan.tasks.push(PlanTask {
            uid,
            parent: open.last().map(|(_, index)| *index),
            name: truncate(name, 500),
            notes: field("Notes").map(|n| truncate(n, 100_000)),
            wbs: truncate(field("WBS").or(field("OutlineNumber")).unwrap_or_default(), 200),
            start: start.map(|s| s.date()),
            finish: last_day,
            days: (days * 1000.0).round() / 1000.0,
            actual_start: date("ActualStart")?.map(|d| d.date()),
            actual_finish: date("ActualFinish")?.map(|end| self::last_day(start, end)),
            percent: percent.clamp(0.0, 100.0),
            milestone,
            summary: field("Summary") == Some("1"),
            priority: whole("Priority")?.unwrap_or(500),
            work_hours: field("Work").and_then(duration_minutes).map(|m| m / 60.0),
            actual_hours: field("ActualWork").and_then(duration_minutes).map(|m| m / 60.0),
        });
        open.push((level, index));
    }
    Ok(place_of)
}

fn links(raw: &Raw, plan: &mut Plan, place_of: &HashMap<i64, usize>, minutes_a_day: f64) -> Result<(), PlanError> {
    for task in &raw.tasks {
        let uid = task.fields.get("UID").and_then(|t| t.trim().parse::<i64>().ok()).unwrap_or_default();
        let Some(&successor) = place_of.get(&uid) else { continue };
        let mut seen = BTreeSet::new();
        for link in &task.links {
            let place = format!("Task {uid}");
            let text = link.get("PredecessorUID").map(|t| t.trim()).unwrap_or_default();
            let from: i64 = text.parse().map_err(|_| invalid(&place, "A link has no usable <PredecessorUID>."))?;
            let Some(&predecessor) = place_of.get(&from) else {
                return Err(invalid(
                    place,
                    format!("'{}' waits for task {from}, which is not in the plan.", plan.tasks[successor].name),
                ));
            };
            if predecessor == successor {
                return Err(invalid(place, format!("'{}' waits for itself.", plan.tasks[successor].name)));
            }
            let kind = match link.get("Type").map(|t| t.trim()) {
                Some("0") => "FF",
                None | Some("" | "1") => "FS",
                Some("2") => "SF",
                Some("3") => "SS",
                Some(other) => {
                    return Err(invalid(
                        place,
                        format!(
                            "A link has the type '{}'; 0 to 3 are known.",
                            other.chars().take(20).collect::<String>()
                        ),
                    ));
                }
            };
            // <LinkLag> counts tenths of a minute.
            let lag: f64 = link.get("LinkLag").and_then(|t| t.trim().parse().ok()).unwrap_or(0.0);
            if seen.insert(predecessor) {
                let lag_days = (lag / 10.0 / minutes_a_day * 1000.0).round() / 1000.0;
                plan.links.push(PlanLink { predecessor, successor, kind, lag_days });
            }
        }
    }
    match find_cycle(plan.tasks.len(), &plan.links) {
        None => Ok(()),
        Some(ring) => {
            let names: Vec<_> = ring.iter().take(6).map(|i| format!("'{}'", plan.tasks[*i].name)).collect();
            let more = if ring.len() > 6 { ", …" } else { "" };
            Err(invalid(
                format!("Task {}", plan.tasks[ring[0]].uid),
                format!("These tasks wait for each other in a ring: {}{more}.", names.join(" → ")),
            ))
        }
    }
}

/// A ring of links, if there is one: what is left when tasks that wait for nothing are taken away again and again (Kahn 1962).
fn find_cycle(tasks: usize, links: &[PlanLink]) -> Option<Vec<usize>> {
    let mut waiting = vec![0usize; tasks];
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); tasks];
    for link in links {
        waiting[link.successor] += 1;
        after[link.predecessor].push(link.successor);
    }
    let mut free: Vec<usize> = (0..tasks).filter(|t| waiting[*t] == 0).collect();
    while let Some(task) = free.pop() {
        for &next in &after[task] {
            waiting[next] -= 1;
            if waiting[next] == 0 {
                free.push(next);
            }
        }
    }
    // Every task left has one before it that is left too: going back from any must come round.
    let mut at = (0..tasks).find(|t| waiting[*t] > 0)?;
    let mut trail = vec![at];
    loop {
        at = links.iter().find(|l| l.successor == at && waiting[l.predecessor] > 0)?.predecessor;
        if let Some(start) = trail.iter().position(|t| *t == at) {
            let mut ring = trail.split_off(start);
            ring.reverse();
            return Some(ring);
        }
        trail.push(at);
    }
}

fn resources(
    raw: &Raw,
    plan: &mut Plan,
    place_of: &HashMap<i64, usize>,
    leave: &mut impl FnMut(&str, &'static str),
) -> Result<(), PlanError> {
    let mut by_uid: HashMap<&str, usize> = HashMap::new();
    for resource in &raw.resources {
        let field = |name: &str| resource.get(name).map(|t| t.trim()).filter(|t| !t.is_empty());
        let Some(name) = field("Name") else {
            leave("Resource", "it has no name");
            continue;
        };
        if matches!(field("Type"), Some("0" | "2")) {
            leave("Resource", "material and cost resources are no people");
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
        let field = |name: &str| assignment.get(name).map(|t| t.trim()).unwrap_or_default();
        let task = field("TaskUID").parse::<i64>().ok().and_then(|uid| place_of.get(&uid)).copied();
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
                    format!("An assignment is for task {}, which is not in the plan.", truncate(field("TaskUID"), 20)),
                ));
            }
            _ => leave("Assignment", "it names no person of the plan"),
        }
    }
    Ok(())
}

fn normalize_title(title: &str) -> String {
    let title = title.trim();
    let lower = title.to_lowercase();
    let stem =
        [".xml", ".mpp"].iter().find(|e| lower.ends_with(**e)).map_or(title, |e| &title[..title.len() - e.len()]);
    truncate(stem.trim(), 500)
}

fn truncate(text: &str, most: usize) -> String {
    text.chars().filter(|c| *c != '\0').take(most).collect()
}

fn parse_datetime(text: &str) -> Option<DateTime> {
    text.trim().parse::<DateTime>().ok().filter(|d| (1900..=2200).contains(&d.year()))
}

fn day(text: &str) -> Option<Date> {
    parse_datetime(text).map(|m| m.date())
}

/// The last day of a stretch: one that ends at midnight ended the day before, unless it begins then too.
fn last_day(start: Option<DateTime>, end: DateTime) -> Date {
    let midnight = end.time() == jiff::civil::Time::midnight();
    if midnight && start.is_some_and(|s| s < end) { end.date().yesterday().unwrap_or(end.date()) } else { end.date() }
}

/// Minutes of an ISO 8601 duration of hours, minutes and seconds, such as `PT8H30M0S`.
fn duration_minutes(text: &str) -> Option<f64> {
    let mut rest = text.trim().strip_prefix('P')?;
    let (mut minutes, mut in_time) = (0.0, false);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            in_time = true;
            rest = after;
            continue;
        }
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
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
    Some(minutes).filter(|m| m.is_finite() && *m < 60.0 * 24.0 * 365.0 * 200.0)
}

/// Working days from `start` to `finish`, both counted; Monday to Friday where the file's calendar says nothing.
fn working_days(working: &BTreeMap<i64, bool>, start: Option<Date>, finish: Option<Date>) -> f64 {
    let (Some(start), Some(finish)) = (start, finish) else { return 0.0 };
    // MSPDI numbers days from Sunday, 1.
    let works = |weekday: Weekday| {
        let number = i64::from(weekday.to_sunday_one_offset());
        working.get(&number).copied().unwrap_or(!matches!(weekday, Weekday::Saturday | Weekday::Sunday))
    };
    if finish < start {
        return 0.0;
    }
    let span = i64::from(start.until(finish).map(|s| s.get_days()).unwrap_or_default()) + 1;
    let a_week =
        (0..7).filter(|i| start.checked_add(jiff::Span::new().days(*i)).is_ok_and(|d| works(d.weekday()))).count();
    let rest = (0..span % 7)
        .filter(|i| start.checked_add(jiff::Span::new().days(*i)).is_ok_and(|d| works(d.weekday())))
        .count();
    #[allow(clippy::cast_precision_loss)] // some hundred thousand days at most
    let days = (span / 7) as f64 * a_week as f64 + rest as f64;
    days
}

#[cfg(test)]
#[path = "mspdi_tests.rs"]
mod tests;
