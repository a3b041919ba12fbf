//! Fields of a file that [`crate::read`] does not take over, counted by name.

use crate::value;
use crate::xml::{Element, Error, for_each_item, invalid};
use std::collections::BTreeMap;

/// Number of fields with a value, by section (`Task`, `Resource` …) and name.
pub type Unread = BTreeMap<(&'static str, String), usize>;

/// Fields of tasks that are read, or that follow from those.
const TASK: &[&str] = &[
    "UID",
    "ID",
    "GUID",
    "Name",
    "Active",
    "Manual",
    "Type",
    "IsNull",
    "CreateDate",
    "WBS",
    "WBSLevel",
    "OutlineNumber",
    "OutlineLevel",
    "Priority",
    "Start",
    "Finish",
    "Duration",
    "ManualStart",
    "ManualFinish",
    "ManualDuration",
    "DurationFormat",
    "Work",
    "Stop",
    "Resume",
    "ResumeValid",
    "EffortDriven",
    "OverAllocated",
    "Estimated",
    "Milestone",
    "Summary",
    "DisplayAsSummary",
    "Critical",
    "IsSubproject",
    "IsSubprojectReadOnly",
    "ExternalTask",
    "EarlyStart",
    "EarlyFinish",
    "LateStart",
    "LateFinish",
    "StartVariance",
    "FinishVariance",
    "WorkVariance",
    "FreeSlack",
    "TotalSlack",
    "StartSlack",
    "FinishSlack",
    "FixedCostAccrual",
    "PercentComplete",
    "PercentWorkComplete",
    "ActualStart",
    "ActualFinish",
    "ActualDuration",
    "ActualWork",
    "RegularWork",
    "RemainingDuration",
    "RemainingWork",
    "ACWP",
    "CV",
    "SV",
    "BCWS",
    "BCWP",
    "ConstraintType",
    "CalendarUID",
    "ConstraintDate",
    "Deadline",
    "LevelingDelay",
    "LevelingDelayFormat",
    "PreLeveledStart",
    "PreLeveledFinish",
    "IgnoreResourceCalendar",
    "Notes",
    "HideBar",
    "Rollup",
    "PhysicalPercentComplete",
    "EarnedValueMethod",
    "PredecessorLink",
    "Baseline",
    "IsPublished",
    "CommitmentType",
    "CommitmentStart",
    "CommitmentFinish",
    "TimephasedData",
];
/// Fields of resources that are read, that follow from those, or that only concern display.
const RESOURCE: &[&str] = &[
    "UID",
    "ID",
    "GUID",
    "Name",
    "Type",
    "IsNull",
    "Initials",
    "WorkGroup",
    "EmailAddress",
    "PeakUnits",
    "OverAllocated",
    "AccrueAt",
    "Work",
    "RegularWork",
    "OvertimeWork",
    "ActualWork",
    "RemainingWork",
    "ActualOvertimeWork",
    "RemainingOvertimeWork",
    "PercentWorkComplete",
    "StandardRateFormat",
    "OvertimeRateFormat",
    "Cost",
    "OvertimeCost",
    "ActualCost",
    "ActualOvertimeCost",
    "RemainingCost",
    "RemainingOvertimeCost",
    "WorkVariance",
    "CostVariance",
    "SV",
    "CV",
    "ACWP",
    "CalendarUID",
    "BCWS",
    "BCWP",
    "BookingType",
    "CreationDate",
    "IsCostResource",
    "Start",
    "Finish",
    "AvailableFrom",
    "AvailableTo",
    "TimephasedData",
];
/// Fields of assignments that are read, or that follow from those.
const ASSIGNMENT: &[&str] = &[
    "UID",
    "GUID",
    "TaskUID",
    "ResourceUID",
    "PercentWorkComplete",
    "ActualFinish",
    "ActualStart",
    "ActualWork",
    "ACWP",
    "Confirmed",
    "CostVariance",
    "CV",
    "SV",
    "VAC",
    "Delay",
    "Finish",
    "FinishVariance",
    "WorkVariance",
    "HasFixedRateUnits",
    "LevelingDelay",
    "LevelingDelayFormat",
    "LinkedFields",
    "Milestone",
    "Overallocated",
    "RegularWork",
    "RemainingWork",
    "ResponsePending",
    "Start",
    "Stop",
    "Resume",
    "StartVariance",
    "Summary",
    "Units",
    "UpdateNeeded",
    "Work",
    "BCWS",
    "BCWP",
    "BookingType",
    "CreationDate",
    "TimephasedData",
    "Cost",
    "ActualCost",
    "RemainingCost",
    "OvertimeCost",
    "ActualOvertimeCost",
    "RemainingOvertimeCost",
    "CostRateTable",
    "RateScale",
    "IsPublished",
    "AssnOwner",
    "AssnOwnerGuid",
];
/// Settings of projects that are read, that follow from those, or that only concern display.
const PROJECT: &[&str] = &[
    "SaveVersion",
    "BuildNumber",
    "UID",
    "GUID",
    "Name",
    "Title",
    "CreationDate",
    "LastSaved",
    "Revision",
    "ExtendedCreationDate",
    "CurrentDate",
    "ScheduleFromStart",
    "StartDate",
    "FinishDate",
    "FYStartDate",
    "FiscalYearStart",
    "WeekStartDay",
    "CriticalSlackLimit",
    "CurrencyDigits",
    "CurrencySymbol",
    "CurrencyCode",
    "CurrencySymbolPosition",
    "CalendarUID",
    "BaselineCalendar",
    "DefaultStartTime",
    "DefaultFinishTime",
    "MinutesPerDay",
    "MinutesPerWeek",
    "DaysPerMonth",
    "DefaultTaskType",
    "DefaultFixedCostAccrual",
    "DurationFormat",
    "WorkFormat",
    "EditableActualCosts",
    "HonorConstraints",
    "InsertedProjectsLikeSummary",
    "MultipleCriticalPaths",
    "NewTasksEffortDriven",
    "NewTasksEstimated",
    "SplitsInProgressTasks",
    "SpreadActualCost",
    "SpreadPercentComplete",
    "TaskUpdatesResource",
    "AutoAddNewResourcesAndTasks",
    "MicrosoftProjectServerURL",
    "Autolink",
    "NewTaskStartDate",
    "NewTasksAreManual",
    "DefaultTaskEVMethod",
    "BaselineForEarnedValue",
    "ProjectExternallyEdited",
    "ActualsInSync",
    "RemoveFileProperties",
    "AdminProject",
    "UpdateManuallyScheduledTasksWhenEditingLinks",
    "KeepTaskOnNearestWorkingTimeWhenMadeAutoScheduled",
    "StatusDate",
    "WBSMasks",
    "OutlineCodes",
    "ExtendedAttributes",
    "Calendars",
    "Tasks",
    "Resources",
    "Assignments",
    "Views",
    "Tables",
    "Filters",
    "Groups",
];
/// Values that say nothing, by field.
const DEFAULTS: &[(&str, &str)] =
    &[("LevelAssignments", "1"), ("LevelingCanSplit", "1"), ("CanLevel", "1"), ("MaxUnits", "1"), ("MaxUnits", "1.00")];

/// Dates of tasks that must be dates.
const DATES: &[&str] =
    &["Start", "Finish", "ActualStart", "ActualFinish", "ConstraintDate", "Deadline", "Stop", "Resume"];
/// Numbers of tasks that must be whole numbers.
const NUMBERS: &[&str] = &["ID", "OutlineLevel", "Priority", "ConstraintType", "PercentComplete", "Type"];

/// Counts the fields of a file that have a value and are not read.
///
/// Returns an error for a task whose dates or numbers are none, because its plan would silently
/// lack them.
pub fn find_unread(text: &str) -> Result<Unread, Error> {
    let mut unread = Unread::new();
    for_each_item(text, |section, item| {
        let (name, known) = match (section, item.name.as_str()) {
            ("", field) => {
                if !PROJECT.contains(&field) && has_value(&item) {
                    *unread.entry(("Project", field.to_owned())).or_default() += 1;
                }
                return Ok(());
            }
            ("ExtendedAttributes" | "OutlineCodes", _) => {
                *unread.entry(("Project", item.name)).or_default() += 1;
                return Ok(());
            }
            ("Tasks", "Task") => ("Task", TASK),
            ("Resources", "Resource") => ("Resource", RESOURCE),
            ("Assignments", "Assignment") => ("Assignment", ASSIGNMENT),
            _ => return Ok(()),
        };
        if name == "Task" {
            check_task(&item)?;
        }
        for field in &item.children {
            if !known.contains(&field.name.as_str()) && has_value(field) {
                *unread.entry((name, field.name.clone())).or_default() += 1;
            }
        }
        Ok(())
    })?;
    Ok(unread)
}

fn check_task(task: &Element) -> Result<(), Error> {
    let check = |fields: &[&'static str], kind: &str, is_valid: fn(&str) -> bool| {
        let wrong = |name: &'static str| Some((name, task.text_of(name).filter(|text| !is_valid(text))?));
        let Some((name, text)) = fields.iter().copied().find_map(wrong) else { return Ok(()) };
        let uid: String = task.text_of("UID").unwrap_or("without UID").chars().take(20).collect();
        let excerpt: String = text.chars().take(40).collect();
        Err(invalid(format!("Task {uid}"), format!("<{name}> is '{excerpt}', not a {kind}.")))
    };
    check(DATES, "date", is_date)?;
    check(NUMBERS, "number", |text| value::integer(text).is_some())
}

/// Returns whether a text has the form of a date; years without meaning stand for no date.
fn is_date(text: &str) -> bool {
    let form =
        |part: &str, lengths: &[usize]| lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let date: Vec<&str> = text.trim().split(['T', ' ']).next().unwrap_or_default().split('-').collect();
    matches!(date.as_slice(), [year, month, day] if form(year, &[4]) && form(month, &[1, 2]) && form(day, &[1, 2]))
}

/// Returns whether an element says more than nothing, zero, or the value that everyone has.
fn has_value(element: &Element) -> bool {
    let text = element.text.trim();
    if !element.children.is_empty() {
        return true;
    }
    let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.' | b'-' | b'+'));
    let is_nothing =
        is_zero || matches!(text, "-1" | "-65535" | "false") || value::span(text).is_some_and(|it| it.0 == 0);
    !is_nothing && !DEFAULTS.contains(&(element.name.as_str(), text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_a_value_are_counted() {
        let text = "<Project><Author>A</Author><Tasks>\
            <Task><UID>1</UID><Cost>0</Cost><Hyperlink>x</Hyperlink><LevelAssignments>1</LevelAssignments></Task>\
            <Task><UID>2</UID><Cost>100</Cost><ExtendedAttribute><FieldID>1</FieldID></ExtendedAttribute>\
            <OvertimeWork>PT0H0M0S</OvertimeWork><Hyperlink>y</Hyperlink></Task></Tasks></Project>";
        let found: Vec<_> = find_unread(text).expect("a file").into_iter().collect();
        let expected =
            [("Project", "Author", 1), ("Task", "Cost", 1), ("Task", "ExtendedAttribute", 1), ("Task", "Hyperlink", 2)];
        assert_eq!(found, expected.map(|(section, name, count)| ((section, name.to_owned()), count)));
    }

    #[test]
    fn values_that_are_no_dates_are_refused() {
        let task = |field: &str| format!("<Project><Tasks><Task><UID>7</UID>{field}</Task></Tasks></Project>");
        let error = find_unread(&task("<Deadline>soon</Deadline>")).expect_err("an error");
        assert_eq!((error.location.as_str(), error.message.as_str()), ("Task 7", "<Deadline> is 'soon', not a date."));
        assert!(find_unread(&task("<Priority>high</Priority>")).is_err());
        // Some programs write this for no date.
        assert!(find_unread(&task("<Start>0001-01-01T00:00:00</Start>")).is_ok());
    }
}
