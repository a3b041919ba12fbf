//! Reader of the XML: collects the elements of a plan as flat fields.
//!
//! Rejects document types and entities other than the five predefined ones, because entity
//! expansion could make a small file grow without limit.

use super::error::{PlanError, invalid};
use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};
use std::collections::{BTreeMap, HashMap};

/// Maximum number of tasks in a plan.
pub const MAX_TASKS: usize = 20_000;
/// Maximum nesting depth of XML elements.
const MAX_ELEMENT_DEPTH: usize = 32;

/// Texts of the child elements of an element, by name.
pub(super) type Fields = HashMap<String, String>;

/// Fields and links of a task.
#[derive(Default)]
pub(super) struct RawTask {
    pub fields: Fields,
    pub links: Vec<Fields>,
}

/// The elements of a file.
#[derive(Default)]
pub(super) struct RawPlan {
    pub project: Fields,
    pub tasks: Vec<RawTask>,
    pub resources: Vec<Fields>,
    pub assignments: Vec<Fields>,
    /// Whether each weekday is a working day; MSPDI numbers weekdays from Sunday = 1.
    pub working: BTreeMap<i64, bool>,
    /// Number of calendars.
    pub calendars: usize,
}

/// Reads the elements of a file.
pub(super) fn read(bytes: &[u8]) -> Result<RawPlan, PlanError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes)
        .map_err(|_| invalid("file", "The file is not UTF-8. Save the plan as XML in UTF-8 and try again."))?;
    if text.trim_start().is_empty() {
        return Err(invalid("file", "The file is empty."));
    }
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = true;
    let mut plan = PlanReader::default();
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
            Event::Start(start) => plan.start(AsRef::<str>::as_ref(&start.local_name()))?,
            Event::Empty(start) if plan.path.is_empty() && AsRef::<str>::as_ref(&start.local_name()) != "Project" => {
                return Err(invalid("file", "The file is not Microsoft Project XML."));
            }
            Event::Text(text) => plan.value.push_str(&text),
            Event::CData(data) => plan.value.push_str(&data),
            Event::GeneralRef(reference) => plan.value.push(referenced_char(&reference)?),
            Event::End(_) => plan.end()?,
            Event::Eof => return plan.finish(),
            _ => {}
        }
    }
}

/// Returns the character of a character reference or a predefined entity.
fn referenced_char(reference: &BytesRef<'_>) -> Result<char, PlanError> {
    if let Some(ch) = reference.resolve_char_ref().ok().flatten() {
        return Ok(ch);
    }
    let name: &str = reference;
    match name {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(invalid("file", "The file uses an undefined XML entity. It was rejected.")),
    }
}

/// State of the parser: the open elements and their content so far.
#[derive(Default)]
struct PlanReader {
    raw: RawPlan,
    /// Names of the open elements, outermost first.
    path: Vec<String>,
    /// Text since the last tag.
    value: String,
    /// Whether the `Project` element has ended.
    finished: bool,
    task: RawTask,
    link: Fields,
    /// Fields of the open resource or assignment.
    fields: Fields,
    /// Number of the open weekday, and whether it is a working day.
    week_day: (Option<i64>, Option<bool>),
}

impl PlanReader {
    fn start(&mut self, name: &str) -> Result<(), PlanError> {
        if self.path.is_empty() && (name != "Project" || self.finished) {
            return Err(invalid(
                "file",
                format!(
                    "The file is not Microsoft Project XML: it starts with <{}>.",
                    name.chars().take(60).collect::<String>()
                ),
            ));
        }
        if self.path.len() >= MAX_ELEMENT_DEPTH {
            return Err(invalid("file", "The elements of the file are nested too deeply."));
        }
        match (self.path.last().map(String::as_str), name) {
            (Some("Tasks"), "Task") => self.task = RawTask::default(),
            (Some("Task"), "PredecessorLink") => self.link.clear(),
            (Some("Resources"), "Resource") | (Some("Assignments"), "Assignment") => self.fields.clear(),
            (Some("WeekDays"), "WeekDay") => self.week_day = (None, None),
            (Some("Calendars"), "Calendar") => self.raw.calendars += 1,
            _ => {}
        }
        self.path.push(name.to_owned());
        self.value.clear();
        Ok(())
    }

    fn end(&mut self) -> Result<(), PlanError> {
        let Some(name) = self.path.pop() else {
            return Err(invalid("file", "The file has an end tag without a start tag."));
        };
        let text = std::mem::take(&mut self.value);
        let parent = self.path.last().map(String::as_str);
        let grandparent = self.path.len().checked_sub(2).and_then(|i| self.path.get(i)).map(String::as_str);
        match (grandparent, parent, name.as_str()) {
            (_, Some("Tasks"), "Task") => {
                self.raw.tasks.push(std::mem::take(&mut self.task));
                if self.raw.tasks.len() > MAX_TASKS {
                    return Err(invalid(
                        "Tasks",
                        format!("The plan has more than {MAX_TASKS} tasks. Split it and import the parts."),
                    ));
                }
            }
            (_, Some("Task"), "PredecessorLink") => self.task.links.push(std::mem::take(&mut self.link)),
            (_, Some("Resources"), "Resource") => self.raw.resources.push(std::mem::take(&mut self.fields)),
            (_, Some("Assignments"), "Assignment") => self.raw.assignments.push(std::mem::take(&mut self.fields)),
            (_, Some("WeekDays"), "WeekDay") => {
                // The first calendar that defines a weekday applies.
                if let (Some(day), Some(working)) = self.week_day {
                    self.raw.working.entry(day).or_insert(working);
                }
            }
            (Some("WeekDays"), Some("WeekDay"), "DayType") => self.week_day.0 = text.trim().parse().ok(),
            (Some("WeekDays"), Some("WeekDay"), "DayWorking") => self.week_day.1 = Some(text.trim() == "1"),
            (Some("Task"), Some("PredecessorLink"), _) => drop(self.link.insert(name, text)),
            (Some("Tasks"), Some("Task"), _) => drop(self.task.fields.insert(name, text)),
            (Some("Resources"), Some("Resource"), _) | (Some("Assignments"), Some("Assignment"), _) => {
                self.fields.insert(name, text);
            }
            (None, Some("Project"), _) => drop(self.raw.project.insert(name, text)),
            _ => {}
        }
        self.finished |= self.path.is_empty();
        Ok(())
    }

    fn finish(self) -> Result<RawPlan, PlanError> {
        if !self.path.is_empty() || !self.finished {
            return Err(invalid(
                "file",
                format!(
                    "The file ends inside <{}>: it is truncated. Export the plan again.",
                    self.path.last().map_or("Project", String::as_str)
                ),
            ));
        }
        Ok(self.raw)
    }
}
