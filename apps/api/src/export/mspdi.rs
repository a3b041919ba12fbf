//! Writes a plan as Microsoft Project XML (MSPDI, schema of Project 2007 and later), elements in the schema's order. Pure. What it writes [`crate::import::mspdi`] reads back
//! as the same plan.

use crate::import::mspdi::{Plan, PlanTask};
use jiff::civil::Date;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

/// Minutes of a working day, as the file's calendar has them: 8 to 12 and 13 to 17.
const MINUTES_PER_DAY: f64 = 480.0;

type Xml = Writer<Vec<u8>>;

/// A text without the characters that XML can't carry.
fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..))
        .collect()
}

// Writing into memory does not fail.
fn field(xml: &mut Xml, name: &str, text: &str) {
    let _ = xml.create_element(name).write_text_content(BytesText::new(&clean(text)));
}

fn optional_field(xml: &mut Xml, name: &str, text: Option<String>) {
    if let Some(text) = text {
        field(xml, name, &text);
    }
}

fn group(xml: &mut Xml, name: &str, inside: impl FnOnce(&mut Xml)) {
    let _ = xml.create_element(name).write_inner_content(|xml| {
        inside(xml);
        Ok(())
    });
}

fn flag(on: bool) -> &'static str {
    if on { "1" } else { "0" }
}

fn duration(minutes: f64) -> String {
    let seconds = (minutes * 60.0).round();
    let (hours, rest) = ((seconds / 3600.0).floor(), seconds.rem_euclid(3600.0));
    format!("PT{hours}H{}M{}S", (rest / 60.0).floor(), rest.rem_euclid(60.0))
}

fn start_of_day(day: Date) -> String {
    format!("{day}T08:00:00")
}

/// The end of a day's work; a moment ends as it begins.
fn end_of_day(day: Date, milestone: bool) -> String {
    format!("{day}T{}", if milestone { "08:00:00" } else { "17:00:00" })
}

/// A plan as a file.
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
    // A task's number in its plan, level by level.
    let mut numbers: Vec<String> = Vec::with_capacity(plan.tasks.len());
    let mut levels: Vec<usize> = Vec::with_capacity(plan.tasks.len());
    let mut below = vec![0usize; plan.tasks.len() + 1];
    for task in &plan.tasks {
        let slot = task.parent.map_or(plan.tasks.len(), |parent| parent);
        below[slot] += 1;
        let place = below[slot];
        numbers.push(task.parent.map_or_else(|| place.to_string(), |parent| format!("{}.{place}", numbers[parent])));
        levels.push(task.parent.map_or(1, |parent| levels[parent] + 1));
    }
    let mut links: Vec<Vec<usize>> = vec![Vec::new(); plan.tasks.len()];
    for (n, link) in plan.links.iter().enumerate() {
        links[link.successor].push(n);
    }
    group(xml, "Tasks", |xml| {
        for (n, task) in plan.tasks.iter().enumerate() {
            group(xml, "Task", |xml| {
                write_task(xml, task, n, &numbers[n], levels[n]);
                for link in links[n].iter().map(|n| &plan.links[*n]) {
                    group(xml, "PredecessorLink", |xml| {
                        field(xml, "PredecessorUID", &plan.tasks[link.predecessor].uid.to_string());
                        field(
                            xml,
                            "Type",
                            match link.kind {
                                "FF" => "0",
                                "SF" => "2",
                                "SS" => "3",
                                _ => "1",
                            },
                        );
                        field(xml, "CrossProject", "0");
                        // In tenths of a minute.
                        field(xml, "LinkLag", &(link.lag_days * MINUTES_PER_DAY * 10.0).round().to_string());
                        field(xml, "LagFormat", "7");
                    });
                }
            });
        }
    });
    group(xml, "Resources", |xml| {
        for (n, resource) in plan.resources.iter().enumerate() {
            group(xml, "Resource", |xml| {
                field(xml, "UID", &(n + 1).to_string());
                field(xml, "ID", &(n + 1).to_string());
                field(xml, "Name", &resource.name);
                field(xml, "Type", "1");
                field(xml, "IsNull", "0");
                optional_field(xml, "EmailAddress", resource.email.clone());
            });
        }
    });
    group(xml, "Assignments", |xml| {
        let mut number = 0;
        for (n, resource) in plan.resources.iter().enumerate() {
            for task in &resource.tasks {
                number += 1;
                group(xml, "Assignment", |xml| {
                    field(xml, "UID", &number.to_string());
                    field(xml, "TaskUID", &plan.tasks[*task].uid.to_string());
                    field(xml, "ResourceUID", &(n + 1).to_string());
                    field(xml, "Units", "1");
                });
            }
        }
    });
}

fn write_task(xml: &mut Xml, task: &PlanTask, place: usize, number: &str, level: usize) {
    field(xml, "UID", &task.uid.to_string());
    field(xml, "ID", &(place + 1).to_string());
    field(xml, "Name", &task.name);
    field(xml, "Type", "0");
    field(xml, "IsNull", "0");
    field(xml, "WBS", if task.wbs.is_empty() { number } else { &task.wbs });
    field(xml, "OutlineNumber", number);
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

/// Monday to Friday, 8 to 12 and 13 to 17.
fn calendar(xml: &mut Xml) {
    group(xml, "Calendar", |xml| {
        field(xml, "UID", "1");
        field(xml, "Name", "Standard");
        field(xml, "IsBaseCalendar", "1");
        group(xml, "WeekDays", |xml| {
            for day in 1..=7 {
                let works = (2..=6).contains(&day);
                group(xml, "WeekDay", |xml| {
                    field(xml, "DayType", &day.to_string());
                    field(xml, "DayWorking", flag(works));
                    if works {
                        group(xml, "WorkingTimes", |xml| {
                            for (from, to) in [("08:00:00", "12:00:00"), ("13:00:00", "17:00:00")] {
                                group(xml, "WorkingTime", |xml| {
                                    field(xml, "FromTime", from);
                                    field(xml, "ToTime", to);
                                });
                            }
                        });
                    }
                });
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::mspdi::{PlanLink, PlanResource, parse};
    use proptest::prelude::*;

    fn arbitrary() -> impl Strategy<Value = Plan> {
        let day =
            (0i32..20_000).prop_map(|n| jiff::civil::date(1990, 1, 1).checked_add(jiff::Span::new().days(n)).unwrap());
        let task = (
            any::<prop::sample::Index>(),
            "[a-zäß<&\"' ]{1,20}",
            proptest::option::of("[ -~\n]{0,40}"),
            day,
            0i32..400,
            0u8..101,
            any::<bool>(),
            0i64..1001,
            proptest::option::of(0u32..5000),
        );
        (
            proptest::collection::vec(task, 1..30),
            proptest::collection::vec(
                (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0usize..4, -20i32..20),
                0..20,
            ),
            "[A-Z][a-z &]{0,12}x",
        )
            .prop_map(|(tasks, links, title)| {
                let mut plan = Plan { title: Some(title), ..Plan::default() };
                for (n, (above, name, notes, start, length, percent, milestone, priority, hours)) in
                    tasks.into_iter().enumerate()
                {
                    // In outline order: below the one before it, or below what that hangs below.
                    let mut ways = vec![None];
                    let mut at = n.checked_sub(1);
                    while let Some(up) = at {
                        ways.push(Some(up));
                        at = plan.tasks[up].parent;
                    }
                    let finish = start.checked_add(jiff::Span::new().days(length)).unwrap();
                    plan.tasks.push(PlanTask {
                        uid: n as i64 + 1,
                        parent: ways[above.index(ways.len())],
                        name: name.trim().to_owned(),
                        notes: notes.map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()),
                        start: Some(start),
                        finish: Some(finish),
                        days: f64::from(length),
                        percent: f64::from(percent),
                        milestone,
                        priority,
                        work_hours: hours.map(f64::from),
                        actual_start: (percent > 0).then_some(start),
                        ..PlanTask::default()
                    });
                    if plan.tasks[n].name.is_empty() {
                        plan.tasks[n].name = "x".into();
                    }
                }
                let count = plan.tasks.len();
                for (a, b, kind, lag) in links {
                    let (a, b) = (a.index(count), b.index(count));
                    // Forwards alone, so that nothing waits for itself.
                    if a < b && !plan.links.iter().any(|l| (l.predecessor, l.successor) == (a, b)) {
                        plan.links.push(PlanLink {
                            predecessor: a,
                            successor: b,
                            kind: ["FS", "SS", "FF", "SF"][kind],
                            lag_days: f64::from(lag),
                        });
                    }
                }
                plan.links.sort_by_key(|l| (l.successor, l.predecessor));
                plan.resources = vec![PlanResource {
                    name: "Ada <King>".into(),
                    email: Some("ada@x.example".into()),
                    tasks: (0..count).step_by(3).collect(),
                }];
                // What the file itself says of each: its number, and whether something hangs below.
                let mut below = vec![0usize; count + 1];
                for n in 0..count {
                    let slot = plan.tasks[n].parent.unwrap_or(count);
                    below[slot] += 1;
                    let place = below[slot];
                    plan.tasks[n].wbs = plan.tasks[n]
                        .parent
                        .map_or_else(|| place.to_string(), |p| format!("{}.{place}", plan.tasks[p].wbs));
                }
                for (task, below) in plan.tasks.iter_mut().zip(&below) {
                    task.summary = *below > 0;
                }
                plan
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_as_the_same_plan(plan in arbitrary()) {
            let xml = write(&plan);
            let mut read = parse(xml.as_bytes()).unwrap();
            read.skipped.clear();
            prop_assert_eq!(&read, &plan);
            prop_assert_eq!(write(&read), xml);
        }
    }

    #[test]
    fn durations_are_told_in_hours_minutes_and_seconds() {
        assert_eq!([duration(480.0), duration(90.5), duration(0.0)], ["PT8H0M0S", "PT1H30M30S", "PT0H0M0S"]);
        assert_eq!(clean("a\u{1}b\u{fffe}\n"), "ab\n");
    }
}
