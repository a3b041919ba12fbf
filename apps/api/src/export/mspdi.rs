//! Writer of Microsoft Project XML (MSPDI, schema of Project 2007 and later). Pure.
//!
//! Elements are in the order of the schema.
//!
//! Invariant: [`crate::import::mspdi`] reads the result back as the same plan.

use crate::import::mspdi::{Plan, PlanLink, PlanTask};
use jiff::civil::Date;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

/// Minutes of a working day (8 to 12 and 13 to 17) in the calendar of the file.
const MINUTES_PER_DAY: f64 = 480.0;

type Xml = Writer<Vec<u8>>;

/// Removes characters that XML cannot represent.
fn strip_invalid_chars(text: &str) -> String {
    text.chars()
        .filter(|ch| matches!(ch, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..))
        .collect()
}

// Errors are ignored: writing to memory cannot fail.
fn field(xml: &mut Xml, name: &str, text: &str) {
    let _ = xml.create_element(name).write_text_content(BytesText::new(&strip_invalid_chars(text)));
}

fn optional_field(xml: &mut Xml, name: &str, text: Option<String>) {
    if let Some(text) = text {
        field(xml, name, &text);
    }
}

fn group(xml: &mut Xml, name: &str, write_content: impl FnOnce(&mut Xml)) {
    let _ = xml.create_element(name).write_inner_content(|xml| {
        write_content(xml);
        Ok(())
    });
}

fn flag(value: bool) -> &'static str {
    if value { "1" } else { "0" }
}

fn duration(minutes: f64) -> String {
    let seconds = (minutes * 60.0).round();
    let (hours, remainder) = ((seconds / 3600.0).floor(), seconds.rem_euclid(3600.0));
    format!("PT{hours}H{}M{}S", (remainder / 60.0).floor(), remainder.rem_euclid(60.0))
}

fn start_of_day(day: Date) -> String {
    format!("{day}T08:00:00")
}

/// Returns the end of a working day; a milestone ends at its start.
fn end_of_day(day: Date, milestone: bool) -> String {
    format!("{day}T{}", if milestone { "08:00:00" } else { "17:00:00" })
}

/// Renders a plan as a file.
pub fn write(plan: &Plan) -> String {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 1);
    let _ = xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), Some("yes"))));
    let _ = xml
        .create_element("Project")
        .with_attribute(("xmlns", "http://schemas.microsoft.com/project"))
        .write_inner_content(|xml| {
            project(xml, plan);
            Ok(())
        });
    String::from_utf8_lossy(&xml.into_inner()).into_owned()
}

fn project(xml: &mut Xml, plan: &Plan) {
    let title = plan.title.clone().unwrap_or_default();
    field(xml, "SaveVersion", "14");
    field(xml, "Name", &format!("{title}.xml"));
    field(xml, "Title", &title);
    field(xml, "ScheduleFromStart", "1");
    optional_field(xml, "StartDate", plan.start.map(start_of_day));
    optional_field(xml, "FinishDate", plan.finish.map(|day| end_of_day(day, false)));
    field(xml, "CalendarUID", "1");
    field(xml, "DefaultStartTime", "08:00:00");
    field(xml, "DefaultFinishTime", "17:00:00");
    field(xml, "MinutesPerDay", "480");
    field(xml, "MinutesPerWeek", "2400");
    field(xml, "DaysPerMonth", "20");
    group(xml, "Calendars", calendar);
    group(xml, "Tasks", |xml| write_tasks(xml, plan));
    group(xml, "Resources", |xml| write_resources(xml, plan));
    group(xml, "Assignments", |xml| write_assignments(xml, plan));
}

/// Returns outline number and level of each task.
fn outline(plan: &Plan) -> Vec<(String, usize)> {
    let mut outline: Vec<(String, usize)> = Vec::with_capacity(plan.tasks.len());
    let mut child_counts = vec![0usize; plan.tasks.len() + 1];
    for task in &plan.tasks {
        let slot = task.parent.unwrap_or(plan.tasks.len());
        child_counts[slot] += 1;
        let position = child_counts[slot];
        outline.push(match task.parent.map(|parent| &outline[parent]) {
            Some((number, level)) => (format!("{number}.{position}"), level + 1),
            None => (position.to_string(), 1),
        });
    }
    outline
}

fn write_tasks(xml: &mut Xml, plan: &Plan) {
    let mut links: Vec<Vec<&PlanLink>> = vec![Vec::new(); plan.tasks.len()];
    for link in &plan.links {
        links[link.successor].push(link);
    }
    for (index, (task, (outline_number, level))) in plan.tasks.iter().zip(outline(plan)).enumerate() {
        group(xml, "Task", |xml| {
            write_task(xml, task, index, &outline_number, level);
            for link in &links[index] {
                group(xml, "PredecessorLink", |xml| write_link(xml, plan, link));
            }
        });
    }
}

fn write_link(xml: &mut Xml, plan: &Plan, link: &PlanLink) {
    let kind = match link.kind {
        "FF" => "0",
        "SF" => "2",
        "SS" => "3",
        _ => "1",
    };
    field(xml, "PredecessorUID", &plan.tasks[link.predecessor].uid.to_string());
    field(xml, "Type", kind);
    field(xml, "CrossProject", "0");
    // In tenths of a minute.
    field(xml, "LinkLag", &(link.lag_days * MINUTES_PER_DAY * 10.0).round().to_string());
    field(xml, "LagFormat", "7");
}

fn write_resources(xml: &mut Xml, plan: &Plan) {
    for (index, resource) in plan.resources.iter().enumerate() {
        group(xml, "Resource", |xml| {
            field(xml, "UID", &(index + 1).to_string());
            field(xml, "ID", &(index + 1).to_string());
            field(xml, "Name", &resource.name);
            field(xml, "Type", "1");
            field(xml, "IsNull", "0");
            optional_field(xml, "EmailAddress", resource.email.clone());
        });
    }
}

fn write_assignments(xml: &mut Xml, plan: &Plan) {
    let mut number = 0;
    for (index, resource) in plan.resources.iter().enumerate() {
        for task in &resource.tasks {
            number += 1;
            group(xml, "Assignment", |xml| {
                field(xml, "UID", &number.to_string());
                field(xml, "TaskUID", &plan.tasks[*task].uid.to_string());
                field(xml, "ResourceUID", &(index + 1).to_string());
                field(xml, "Units", "1");
            });
        }
    }
}

fn write_task(xml: &mut Xml, task: &PlanTask, index: usize, outline_number: &str, level: usize) {
    field(xml, "UID", &task.uid.to_string());
    field(xml, "ID", &(index + 1).to_string());
    field(xml, "Name", &task.name);
    field(xml, "Type", "0");
    field(xml, "IsNull", "0");
    field(xml, "WBS", if task.wbs.is_empty() { outline_number } else { &task.wbs });
    field(xml, "OutlineNumber", outline_number);
    field(xml, "OutlineLevel", &level.to_string());
    field(xml, "Priority", &task.priority.to_string());
    optional_field(xml, "Start", task.start.map(start_of_day));
    optional_field(xml, "Finish", task.finish.map(|day| end_of_day(day, task.milestone)));
    field(xml, "Duration", &duration(task.days * MINUTES_PER_DAY));
    field(xml, "DurationFormat", "7");
    optional_field(xml, "Work", task.work_hours.map(|hours| duration(hours * 60.0)));
    field(xml, "Milestone", flag(task.milestone));
    field(xml, "Summary", flag(task.summary));
    field(xml, "PercentComplete", &task.percent.round().to_string());
    optional_field(xml, "ActualStart", task.actual_start.map(start_of_day));
    optional_field(xml, "ActualFinish", task.actual_finish.map(|day| end_of_day(day, task.milestone)));
    optional_field(xml, "ActualWork", task.actual_hours.map(|hours| duration(hours * 60.0)));
    optional_field(xml, "Notes", task.notes.clone());
}

/// Writes the working times: Monday to Friday, 8 to 12 and 13 to 17.
fn calendar(xml: &mut Xml) {
    group(xml, "Calendar", |xml| {
        field(xml, "UID", "1");
        field(xml, "Name", "Standard");
        field(xml, "IsBaseCalendar", "1");
        group(xml, "WeekDays", |xml| (1..=7).for_each(|day| group(xml, "WeekDay", |xml| week_day(xml, day))));
    });
}

/// Writes a weekday; Sunday is 1.
fn week_day(xml: &mut Xml, day: u8) {
    let is_working_day = (2..=6).contains(&day);
    field(xml, "DayType", &day.to_string());
    field(xml, "DayWorking", flag(is_working_day));
    if is_working_day {
        group(xml, "WorkingTimes", |xml| {
            for (from, to) in [("08:00:00", "12:00:00"), ("13:00:00", "17:00:00")] {
                group(xml, "WorkingTime", |xml| {
                    field(xml, "FromTime", from);
                    field(xml, "ToTime", to);
                });
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::mspdi::{PlanResource, parse};
    use proptest::prelude::*;

    /// Parent, name, notes, start, days, percent, milestone, priority and hours of a task.
    type TaskInput = (prop::sample::Index, String, Option<String>, jiff::civil::Date, i32, u8, bool, i64, Option<u32>);

    fn arbitrary_task() -> impl Strategy<Value = TaskInput> {
        let day =
            (0i32..20_000).prop_map(|n| jiff::civil::date(1990, 1, 1).checked_add(jiff::Span::new().days(n)).unwrap());
        (
            any::<prop::sample::Index>(),
            "[a-zäß<&\"' ]{1,20}",
            proptest::option::of("[ -~\n]{0,40}"),
            day,
            0i32..400,
            0u8..101,
            any::<bool>(),
            0i64..1001,
            proptest::option::of(0u32..5000),
        )
    }

    fn arbitrary() -> impl Strategy<Value = Plan> {
        let link = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0usize..4, -20i32..20);
        (
            proptest::collection::vec(arbitrary_task(), 1..30),
            proptest::collection::vec(link, 0..20),
            "[A-Z][a-z &]{0,12}x",
        )
            .prop_map(|(tasks, links, title)| {
                let mut plan = Plan { title: Some(title), ..Plan::default() };
                for task in tasks {
                    push_task(&mut plan, task);
                }
                let count = plan.tasks.len();
                for (a, b, kind, lag) in links {
                    let (a, b) = (a.index(count), b.index(count));
                    // Only forward links, so that there are no cycles.
                    if a < b && !plan.links.iter().any(|link| (link.predecessor, link.successor) == (a, b)) {
                        plan.links.push(PlanLink {
                            predecessor: a,
                            successor: b,
                            kind: ["FS", "SS", "FF", "SF"][kind],
                            lag_days: f64::from(lag),
                        });
                    }
                }
                plan.links.sort_by_key(|link| (link.successor, link.predecessor));
                plan.resources = vec![PlanResource {
                    name: "Ada <King>".into(),
                    email: Some("ada@x.example".into()),
                    tasks: (0..count).step_by(3).collect(),
                }];
                set_derived_fields(&mut plan);
                plan
            })
    }

    fn push_task(
        plan: &mut Plan,
        (parent_choice, name, notes, start, days, percent, milestone, priority, hours): TaskInput,
    ) {
        let n = plan.tasks.len();
        // In outline order: the parent is the previous task or one of its ancestors.
        let mut possible_parents = vec![None];
        let mut ancestor = n.checked_sub(1);
        while let Some(task_index) = ancestor {
            possible_parents.push(Some(task_index));
            ancestor = plan.tasks[task_index].parent;
        }
        let name = Some(name.trim().to_owned()).filter(|name| !name.is_empty());
        plan.tasks.push(PlanTask {
            uid: n as i64 + 1,
            parent: possible_parents[parent_choice.index(possible_parents.len())],
            name: name.unwrap_or_else(|| "x".into()),
            notes: notes.map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()),
            start: Some(start),
            finish: Some(start.checked_add(jiff::Span::new().days(days)).unwrap()),
            days: f64::from(days),
            percent: f64::from(percent),
            milestone,
            priority,
            work_hours: hours.map(f64::from),
            actual_start: (percent > 0).then_some(start),
            ..PlanTask::default()
        });
    }

    /// Sets the fields that the file derives: the outline number, and whether a task has children.
    fn set_derived_fields(plan: &mut Plan) {
        let count = plan.tasks.len();
        let mut child_counts = vec![0usize; count + 1];
        for n in 0..count {
            let slot = plan.tasks[n].parent.unwrap_or(count);
            child_counts[slot] += 1;
            let position = child_counts[slot];
            plan.tasks[n].wbs = plan.tasks[n]
                .parent
                .map_or_else(|| position.to_string(), |parent| format!("{}.{position}", plan.tasks[parent].wbs));
        }
        for (task, child_count) in plan.tasks.iter_mut().zip(&child_counts) {
            task.summary = *child_count > 0;
        }
    }

    proptest! {
        #[test]
        fn written_plan_is_parsed_back_unchanged(plan in arbitrary()) {
            let xml = write(&plan);
            let mut parsed = parse(xml.as_bytes()).unwrap();
            parsed.skipped.clear();
            prop_assert_eq!(&parsed, &plan);
            prop_assert_eq!(write(&parsed), xml);
        }
    }

    #[test]
    fn durations_are_written_in_hours_minutes_and_seconds() {
        assert_eq!([duration(480.0), duration(90.5), duration(0.0)], ["PT8H0M0S", "PT1H30M30S", "PT0H0M0S"]);
        assert_eq!(strip_invalid_chars("a\u{1}b\u{fffe}\n"), "ab\n");
    }
}
