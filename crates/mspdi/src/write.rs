//! Writes a file. Elements are in the order of the schema of Project 2007 and later.
//!
//! Invariant: [`crate::read`] returns the contents that were written, except for what no file can
//! state (see the property test).

use crate::file::{File, FileAssignment, FileBaseline, FileLink, FileProject, FileResource, FileTask};
use crate::write_calendar::write_calendar;
use crate::write_value::{duration, share};
use crate::xml_writer::XmlWriter;
use pmo_planning::{Moment, Span};

/// Computed values of a file; programs that open it do not need to schedule it first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Computed {
    /// Values of the tasks, in the order of [`File::tasks`].
    pub tasks: Vec<ComputedTask>,
    /// Start and finish of the assignments, in the order of [`File::assignments`].
    pub assignments: Vec<(Moment, Moment)>,
}

/// Computed values of a task; absent moments are not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ComputedTask {
    /// Early start.
    pub early_start: Moment,
    /// Early finish.
    pub early_finish: Moment,
    /// Late start.
    pub late_start: Moment,
    /// Late finish.
    pub late_finish: Moment,
    /// Free slack.
    pub free_slack: Span,
    /// Total slack.
    pub total_slack: Span,
    /// Start slack.
    pub start_slack: Span,
    /// Finish slack.
    pub finish_slack: Span,
    /// Whether the task is critical.
    pub critical: bool,
}

/// Returns a file as XML text.
pub fn write(file: &File, computed: &Computed) -> String {
    let mut xml = XmlWriter::new();
    xml.element("Project", " xmlns=\"http://schemas.microsoft.com/project\"", |xml| {
        write_project(xml, &file.project);
        xml.group("Calendars", |xml| file.calendars.iter().for_each(|calendar| write_calendar(xml, calendar)));
        xml.group("Tasks", |xml| write_tasks(xml, file, computed));
        xml.group("Resources", |xml| {
            for (index, resource) in file.resources.iter().enumerate() {
                xml.group("Resource", |xml| write_resource(xml, index, resource));
            }
        });
        xml.group("Assignments", |xml| {
            for (index, assignment) in file.assignments.iter().enumerate() {
                let dates = computed.assignments.get(index).copied().unwrap_or_default();
                xml.group("Assignment", |xml| write_assignment(xml, assignment, dates));
            }
        });
    });
    xml.finish()
}

fn write_project(xml: &mut XmlWriter, project: &FileProject) {
    let flag = |flag: Option<bool>| flag.map(u8::from);
    // 14 is the number of Project 2010 and all later versions.
    xml.value("SaveVersion", 14);
    if let Some(title) = &project.title {
        xml.text("Name", &format!("{title}.xml"));
        xml.text("Title", title);
    }
    xml.optional("ScheduleFromStart", flag(project.schedule_from_start));
    xml.optional("StartDate", project.start);
    xml.optional("FinishDate", project.finish);
    xml.optional("CriticalSlackLimit", project.critical_slack_limit);
    xml.optional("CalendarUID", project.calendar);
    xml.value("DefaultStartTime", "08:00:00");
    xml.value("DefaultFinishTime", "17:00:00");
    xml.optional("MinutesPerDay", project.minutes_per_day);
    xml.optional("MinutesPerWeek", project.minutes_per_week);
    xml.optional("DaysPerMonth", project.days_per_month);
    xml.value("DurationFormat", 7);
    xml.value("WorkFormat", 2);
    xml.optional("HonorConstraints", flag(project.honor_constraints));
    xml.optional("MultipleCriticalPaths", flag(project.multiple_critical_paths));
    xml.optional("SplitsInProgressTasks", flag(project.splits_in_progress));
    xml.optional("StatusDate", project.status_date);
    xml.optional("NewTasksAreManual", flag(project.new_tasks_are_manual));
}

/// Returns the outline number of each task; `None` for empty rows and the row of the project.
fn outline_numbers(tasks: &[FileTask]) -> Vec<Option<String>> {
    let mut open: Vec<(i64, String, usize)> = Vec::new(); // level, number, children so far
    let mut top = 0;
    let mut numbers = Vec::with_capacity(tasks.len());
    for task in tasks {
        if task.is_null || task.outline_level < 1 {
            numbers.push(None);
            continue;
        }
        while open.last().is_some_and(|(level, ..)| *level >= task.outline_level) {
            open.pop();
        }
        let number = match open.last_mut() {
            Some((_, parent, children)) => {
                *children += 1;
                format!("{parent}.{children}")
            }
            None => {
                top += 1;
                top.to_string()
            }
        };
        open.push((task.outline_level, number.clone(), 0));
        numbers.push(Some(number));
    }
    numbers
}

fn write_tasks(xml: &mut XmlWriter, file: &File, computed: &Computed) {
    let numbers = outline_numbers(&file.tasks);
    for (index, (task, number)) in file.tasks.iter().zip(&numbers).enumerate() {
        let computed = computed.tasks.get(index).copied();
        xml.group("Task", |xml| {
            write_identity(xml, task, number.as_deref());
            write_dates(xml, task);
            write_flags(xml, task, computed.as_ref());
            if let Some(computed) = &computed {
                write_computed(xml, computed);
            }
            write_progress(xml, task);
            write_rules(xml, task);
            task.links.iter().for_each(|link| xml.group("PredecessorLink", |xml| write_link(xml, link)));
            for baseline in &task.baselines {
                xml.group("Baseline", |xml| write_baseline(xml, baseline, task.duration_format));
            }
        });
    }
}

fn write_identity(xml: &mut XmlWriter, task: &FileTask, outline_number: Option<&str>) {
    xml.value("UID", task.uid);
    xml.optional("ID", task.id);
    if let Some(name) = &task.name {
        xml.text("Name", name);
    }
    xml.flag("Active", task.active);
    xml.flag("Manual", task.manual);
    xml.optional("Type", task.task_type);
    xml.flag("IsNull", task.is_null);
    if let Some(wbs) = &task.wbs {
        xml.text("WBS", wbs);
    }
    xml.optional("OutlineNumber", outline_number);
    xml.value("OutlineLevel", task.outline_level);
    xml.optional("Priority", task.priority);
}

fn write_dates(xml: &mut XmlWriter, task: &FileTask) {
    xml.optional("Start", task.start);
    xml.optional("Finish", task.finish);
    xml.optional("Duration", task.duration.map(duration));
    xml.optional("ManualStart", task.manual_start);
    xml.optional("ManualFinish", task.manual_finish);
    xml.optional("ManualDuration", task.manual_duration.map(duration));
    xml.optional("DurationFormat", task.duration_format);
    xml.optional("Work", task.work.map(duration));
    xml.optional("Stop", task.stop);
    xml.optional("Resume", task.resume);
}

fn write_flags(xml: &mut XmlWriter, task: &FileTask, computed: Option<&ComputedTask>) {
    xml.flag("EffortDriven", task.effort_driven);
    xml.flag("Recurring", task.recurring);
    // Units of estimated durations are 32 higher.
    xml.flag("Estimated", task.duration_format.is_some_and(|format| format >= 35));
    xml.flag("Milestone", task.milestone);
    xml.flag("Summary", task.summary);
    xml.optional("Critical", computed.map(|computed| u8::from(computed.critical)));
    xml.flag("IsSubproject", task.inserted_project);
    xml.flag("ExternalTask", task.external);
}

fn write_computed(xml: &mut XmlWriter, computed: &ComputedTask) {
    xml.optional("EarlyStart", computed.early_start.get());
    xml.optional("EarlyFinish", computed.early_finish.get());
    xml.optional("LateStart", computed.late_start.get());
    xml.optional("LateFinish", computed.late_finish.get());
    if computed.late_finish.is_some() {
        xml.value("FreeSlack", computed.free_slack.0);
        xml.value("TotalSlack", computed.total_slack.0);
        xml.value("StartSlack", computed.start_slack.0);
        xml.value("FinishSlack", computed.finish_slack.0);
    }
}

fn write_progress(xml: &mut XmlWriter, task: &FileTask) {
    xml.optional("PercentComplete", task.percent_complete);
    xml.optional("ActualStart", task.actual_start);
    xml.optional("ActualFinish", task.actual_finish);
    xml.optional("ActualDuration", task.actual_duration.map(duration));
    xml.optional("ActualWork", task.actual_work.map(duration));
    xml.optional("RemainingDuration", task.remaining_duration.map(duration));
}

fn write_rules(xml: &mut XmlWriter, task: &FileTask) {
    xml.optional("ConstraintType", task.constraint_type);
    xml.value("CalendarUID", task.calendar.unwrap_or(-1));
    xml.optional("ConstraintDate", task.constraint_date);
    xml.optional("Deadline", task.deadline);
    xml.optional("LevelingDelay", task.leveling_delay.map(|delay| delay.0));
    xml.optional("LevelingDelayFormat", task.leveling_delay_format);
    xml.flag("IgnoreResourceCalendar", task.ignore_resource_calendar);
    if let Some(notes) = &task.notes {
        xml.text("Notes", notes);
    }
    xml.optional("PhysicalPercentComplete", task.physical_percent_complete);
}

fn write_link(xml: &mut XmlWriter, link: &FileLink) {
    xml.value("PredecessorUID", link.predecessor);
    xml.value("Type", link.kind);
    xml.flag("CrossProject", link.cross_project);
    xml.value("LinkLag", link.lag);
    xml.value("LagFormat", link.lag_format);
}

fn write_baseline(xml: &mut XmlWriter, baseline: &FileBaseline, duration_format: Option<i64>) {
    xml.value("Number", baseline.number);
    xml.optional("Start", baseline.start);
    xml.optional("Finish", baseline.finish);
    xml.optional("Duration", baseline.duration.map(duration));
    xml.optional("DurationFormat", duration_format);
    xml.optional("Work", baseline.work.map(duration));
    xml.optional("Cost", baseline.cost);
}

fn write_resource(xml: &mut XmlWriter, index: usize, resource: &FileResource) {
    xml.value("UID", resource.uid);
    xml.value("ID", index + 1);
    if let Some(name) = &resource.name {
        xml.text("Name", name);
    }
    xml.value("Type", resource.kind);
    xml.flag("IsNull", false);
    if let Some(email) = &resource.email {
        xml.text("EmailAddress", email);
    }
    xml.optional("MaxUnits", resource.max_units.map(share));
    xml.value("CalendarUID", resource.calendar.unwrap_or(-1));
}

fn write_assignment(xml: &mut XmlWriter, assignment: &FileAssignment, (start, finish): (Moment, Moment)) {
    xml.value("UID", assignment.uid);
    xml.value("TaskUID", assignment.task);
    xml.value("ResourceUID", assignment.resource);
    xml.optional("ActualFinish", assignment.actual_finish);
    xml.optional("ActualStart", assignment.actual_start);
    xml.optional("ActualWork", assignment.actual_work.map(duration));
    // Delays of assignments are working time; 7 is the format of days.
    xml.optional("Delay", assignment.delay.map(|delay| delay.0));
    xml.optional("Finish", finish.get());
    xml.optional("LevelingDelay", assignment.leveling_delay.map(|delay| delay.0));
    xml.optional("LevelingDelayFormat", assignment.leveling_delay.map(|_| 7));
    xml.optional("OvertimeWork", assignment.overtime_work.map(duration));
    xml.optional("RemainingWork", assignment.remaining_work.map(duration));
    xml.optional("Start", start.get());
    xml.optional("Stop", assignment.stop);
    xml.optional("Resume", assignment.resume);
    xml.optional("Units", assignment.units.map(share));
    xml.optional("Work", assignment.work.map(duration));
    xml.value("WorkContour", assignment.contour);
    for row in &assignment.timephased {
        xml.group("TimephasedData", |xml| {
            xml.value("Type", row.kind);
            xml.value("UID", assignment.uid);
            xml.value("Start", row.start);
            xml.value("Finish", row.finish);
            // 2: days.
            xml.value("Unit", 2);
            xml.value("Value", duration(row.work));
        });
    }
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
