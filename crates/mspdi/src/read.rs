//! Reads a file into its typed contents.

use crate::calendar::read_calendar;
use crate::field::{UsualTimes, flag, integer, span, tenths, text, units};
use crate::file::{File, FileAssignment, FileBaseline, FileLink, FileProject, FileResource, FileTask, TimephasedRow};
use crate::xml::{Element, Error, for_each_item, invalid};
use pmo_planning::Moment;

/// Maximum number of tasks.
const MAX_TASKS: usize = 200_000;
/// Maximum number of assignments.
const MAX_ASSIGNMENTS: usize = 1_000_000;
/// Maximum number of calendars.
const MAX_CALENDARS: usize = 20_000;

/// Reads a file.
///
/// Returns an error if the text is not an XML file of Microsoft Project. Values that are no number,
/// date or duration count as absent.
pub fn read(text: &str) -> Result<File, Error> {
    let mut file = File::default();
    let mut fields = Element::default();
    // The fields of the project precede its tasks.
    let mut usual: Option<UsualTimes> = None;
    for_each_item(text, |section, element| {
        match (section, element.name.as_str()) {
            ("", _) if element.children.is_empty() => fields.children.push(element),
            ("Calendars", "Calendar") => file.calendars.push(read_calendar(&element)),
            ("Tasks", "Task") => {
                let times = *usual.get_or_insert_with(|| UsualTimes::of(&fields));
                file.tasks.push(read_task(&element, times)?);
            }
            ("Resources", "Resource") => file.resources.push(read_resource(&element)),
            ("Assignments", "Assignment") => {
                let times = *usual.get_or_insert_with(|| UsualTimes::of(&fields));
                file.assignments.push(read_assignment(&element, times));
            }
            _ => {}
        }
        let too_many = file.tasks.len() > MAX_TASKS
            || file.assignments.len() > MAX_ASSIGNMENTS
            || file.calendars.len() > MAX_CALENDARS;
        if too_many {
            return Err(invalid(section, format!("The plan has more than {MAX_TASKS} tasks, or too many parts.")));
        }
        Ok(())
    })?;
    file.project = read_project(&fields);
    Ok(file)
}

fn read_project(fields: &Element) -> FileProject {
    let times = UsualTimes::of(fields);
    FileProject {
        title: text(fields, "Title").or_else(|| text(fields, "Name")),
        schedule_from_start: flag(fields, "ScheduleFromStart"),
        start: times.start(fields, "StartDate"),
        finish: times.finish(fields, "FinishDate"),
        status_date: times.finish(fields, "StatusDate"),
        calendar: integer(fields, "CalendarUID"),
        minutes_per_day: integer(fields, "MinutesPerDay"),
        minutes_per_week: integer(fields, "MinutesPerWeek"),
        days_per_month: integer(fields, "DaysPerMonth"),
        critical_slack_limit: integer(fields, "CriticalSlackLimit"),
        multiple_critical_paths: flag(fields, "MultipleCriticalPaths"),
        splits_in_progress: flag(fields, "SplitsInProgressTasks"),
        honor_constraints: flag(fields, "HonorConstraints"),
        new_tasks_are_manual: flag(fields, "NewTasksAreManual"),
    }
}

fn read_task(element: &Element, times: UsualTimes) -> Result<FileTask, Error> {
    let uid = integer(element, "UID").ok_or_else(|| {
        let name: String = element.text_of("Name").unwrap_or("without name").chars().take(60).collect();
        invalid(format!("Task {name}"), "The task has no <UID>.")
    })?;
    let is = |name| flag(element, name).unwrap_or(false);
    Ok(FileTask {
        uid,
        id: integer(element, "ID"),
        name: text(element, "Name"),
        notes: text(element, "Notes"),
        wbs: text(element, "WBS"),
        outline_level: integer(element, "OutlineLevel").unwrap_or(1),
        is_null: is("IsNull"),
        active: flag(element, "Active").unwrap_or(true),
        manual: is("Manual"),
        external: is("ExternalTask"),
        inserted_project: is("IsSubproject"),
        milestone: is("Milestone"),
        summary: is("Summary"),
        recurring: is("Recurring"),
        start: times.start(element, "Start"),
        finish: times.finish(element, "Finish"),
        manual_start: times.start(element, "ManualStart"),
        manual_finish: times.finish(element, "ManualFinish"),
        manual_duration: span(element, "ManualDuration"),
        duration: span(element, "Duration"),
        duration_format: integer(element, "DurationFormat"),
        task_type: integer(element, "Type"),
        effort_driven: is("EffortDriven"),
        constraint_type: integer(element, "ConstraintType"),
        constraint_date: read_constraint_date(element, times),
        deadline: times.finish(element, "Deadline"),
        calendar: integer(element, "CalendarUID").filter(|uid| *uid >= 0),
        ignore_resource_calendar: is("IgnoreResourceCalendar"),
        priority: integer(element, "Priority"),
        leveling_delay: tenths(element, "LevelingDelay"),
        leveling_delay_format: integer(element, "LevelingDelayFormat"),
        actual_start: times.start(element, "ActualStart"),
        actual_finish: times.finish(element, "ActualFinish"),
        actual_duration: span(element, "ActualDuration"),
        remaining_duration: span(element, "RemainingDuration"),
        percent_complete: integer(element, "PercentComplete"),
        physical_percent_complete: integer(element, "PhysicalPercentComplete"),
        stop: times.finish(element, "Stop"),
        resume: times.start(element, "Resume"),
        work: span(element, "Work"),
        actual_work: span(element, "ActualWork"),
        links: element.all("PredecessorLink").filter_map(read_link).collect(),
        baselines: element.all("Baseline").map(|baseline| read_baseline(baseline, times)).collect(),
    })
}

/// Reads the date of a constraint: a finish for types 3, 6 and 7, otherwise a start.
fn read_constraint_date(element: &Element, times: UsualTimes) -> Option<Moment> {
    match integer(element, "ConstraintType") {
        Some(3 | 6 | 7) => times.finish(element, "ConstraintDate"),
        _ => times.start(element, "ConstraintDate"),
    }
}

fn read_link(element: &Element) -> Option<FileLink> {
    Some(FileLink {
        predecessor: integer(element, "PredecessorUID")?,
        kind: integer(element, "Type").unwrap_or(1),
        lag: integer(element, "LinkLag").unwrap_or(0),
        lag_format: integer(element, "LagFormat").unwrap_or(7),
        cross_project: flag(element, "CrossProject").unwrap_or(false),
    })
}

fn read_baseline(element: &Element, times: UsualTimes) -> FileBaseline {
    FileBaseline {
        number: integer(element, "Number").unwrap_or(0),
        start: times.start(element, "Start"),
        finish: times.finish(element, "Finish"),
        duration: span(element, "Duration"),
        work: span(element, "Work"),
        cost: integer(element, "Cost"),
    }
}

fn read_resource(element: &Element) -> FileResource {
    FileResource {
        uid: integer(element, "UID").unwrap_or(-1),
        name: text(element, "Name"),
        email: text(element, "EmailAddress"),
        kind: integer(element, "Type").unwrap_or(1),
        calendar: integer(element, "CalendarUID").filter(|uid| *uid >= 0),
        max_units: units(element, "MaxUnits"),
    }
}

fn read_assignment(element: &Element, times: UsualTimes) -> FileAssignment {
    let timephased = element.all("TimephasedData").filter_map(|row| {
        let kind = integer(row, "Type").filter(|kind| matches!(kind, 1 | 2))?;
        let (start, finish) = (times.start(row, "Start")?, times.finish(row, "Finish")?);
        Some(TimephasedRow { kind, start, finish, work: span(row, "Value").unwrap_or_default() })
    });
    FileAssignment {
        uid: integer(element, "UID").unwrap_or(-1),
        task: integer(element, "TaskUID").unwrap_or(-1),
        resource: integer(element, "ResourceUID").unwrap_or(-1),
        units: units(element, "Units"),
        work: span(element, "Work"),
        overtime_work: span(element, "OvertimeWork"),
        delay: tenths(element, "Delay"),
        leveling_delay: tenths(element, "LevelingDelay"),
        contour: integer(element, "WorkContour").unwrap_or(0),
        actual_start: times.start(element, "ActualStart"),
        actual_finish: times.finish(element, "ActualFinish"),
        actual_work: span(element, "ActualWork"),
        remaining_work: span(element, "RemainingWork"),
        stop: times.finish(element, "Stop"),
        resume: times.start(element, "Resume"),
        timephased: timephased.collect(),
    }
}
