//! Reads, converts and schedules small files.

use crate::{read, schedule_json, to_plan};
use pmo_planning::{Constraint, Direction, Lag, Mode, Moment, Span};

fn project(inner: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<Project xmlns="http://schemas.microsoft.com/project"><StartDate>2026-03-02T08:00:00</StartDate>{inner}</Project>"#
    )
}

fn task(uid: u32, fields: &str) -> String {
    format!("<Task><UID>{uid}</UID><ID>{uid}</ID><OutlineLevel>1</OutlineLevel>{fields}</Task>")
}

/// Returns a field of a task in the answer, as text.
fn answer(text: &str, uid: u32, field: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(&schedule_json(text).expect("schedule")).expect("JSON");
    let tasks = json["tasks"].as_array().expect("tasks");
    let task = tasks.iter().find(|task| task["uid"] == uid).expect("task");
    task[field].to_string().trim_matches('"').to_owned()
}

#[test]
fn stored_answers_are_not_used() {
    let text = project(&format!(
        "<Tasks>{}{}</Tasks>",
        task(1, "<Duration>PT24H0M0S</Duration><Start>2030-01-01T08:00:00</Start><Finish>2031-01-01T08:00:00</Finish>"),
        task(
            2,
            "<Duration>PT8H0M0S</Duration><PredecessorLink><PredecessorUID>1</PredecessorUID><Type>1</Type>\
             <LinkLag>50</LinkLag><LagFormat>19</LagFormat></PredecessorLink>"
        ),
    ));
    assert_eq!(answer(&text, 1, "finish"), "2026-03-04T17:00:00");
    // Half of 24 hours after the predecessor.
    assert_eq!(answer(&text, 2, "start"), "2026-03-06T13:00:00");
    assert_eq!(answer(&text, 1, "critical"), "true");
    assert_eq!(answer(&text, 1, "total_slack_minutes"), "0");
}

#[test]
fn fields_become_the_plan() {
    let text = project(&format!(
        "<ScheduleFromStart>0</ScheduleFromStart><FinishDate>2026-04-01T17:00:00</FinishDate>\
         <CriticalSlackLimit>2</CriticalSlackLimit><HonorConstraints>0</HonorConstraints><Tasks>\
         <Task><UID>0</UID><ID>0</ID><OutlineLevel>0</OutlineLevel></Task>{}{}<Task><UID>9</UID><IsNull>1</IsNull></Task>{}\
         </Tasks>",
        task(1, "<Summary>1</Summary>"),
        "<Task><UID>2</UID><ID>2</ID><OutlineLevel>2</OutlineLevel><Duration>PT48H0M0S</Duration>\
         <DurationFormat>8</DurationFormat><ConstraintType>4</ConstraintType>\
         <ConstraintDate>2026-03-09T08:00:00</ConstraintDate></Task>",
        task(
            3,
            "<Manual>1</Manual><ManualStart>2026-03-03T09:00:00</ManualStart><PredecessorLink>\
             <PredecessorUID>2</PredecessorUID><Type>3</Type><LinkLag>4800</LinkLag><LagFormat>8</LagFormat>\
             </PredecessorLink>"
        ),
    ));
    let converted = to_plan(&read(&text).expect("file"));
    let plan = converted.plan;
    assert_eq!(converted.uids, [1, 2, 3]);
    assert_eq!(plan.tasks[1].parent, Some(0));
    assert_eq!(plan.tasks[2].parent, None);
    assert!(plan.tasks[1].elapsed);
    assert_eq!(plan.tasks[1].constraint, Constraint::StartNoEarlierThan(Moment::from_civil(2026, 3, 9, 8, 0)));
    assert_eq!(plan.tasks[2].mode, Mode::Manual);
    assert_eq!(plan.links[0].lag, Lag::Elapsed(Span(4_800)));
    assert_eq!(plan.settings.direction, Direction::FromFinish);
    assert_eq!(plan.settings.critical_slack_limit, Span::hours(16));
    // The file states 0 whatever the setting is.
    assert!(plan.settings.honor_constraints);
}

#[test]
fn calendars_resources_and_splits_shape_dates() {
    let text = project(&format!(
        "<CalendarUID>1</CalendarUID><Calendars>\
         <Calendar><UID>1</UID><IsBaseCalendar>1</IsBaseCalendar></Calendar>\
         <Calendar><UID>2</UID><IsBaseCalendar>0</IsBaseCalendar><BaseCalendarUID>1</BaseCalendarUID><Exceptions>\
         <Exception><TimePeriod><FromDate>2026-03-03T00:00:00</FromDate><ToDate>2026-03-03T23:59:00</ToDate></TimePeriod>\
         <Type>1</Type><DayWorking>0</DayWorking></Exception></Exceptions></Calendar></Calendars><Tasks>{}{}</Tasks>\
         <Resources><Resource><UID>1</UID><Type>1</Type><CalendarUID>2</CalendarUID></Resource></Resources><Assignments>\
         <Assignment><UID>1</UID><TaskUID>1</TaskUID><ResourceUID>1</ResourceUID><Units>1</Units><Work>PT16H0M0S</Work>\
         </Assignment><Assignment><UID>2</UID><TaskUID>2</TaskUID><ResourceUID>-65535</ResourceUID>\
         <TimephasedData><Type>1</Type><Start>2025-01-06T08:00:00</Start><Finish>2025-01-06T17:00:00</Finish>\
         <Value>PT8H0M0S</Value></TimephasedData><TimephasedData><Type>1</Type><Start>2025-01-06T17:00:00</Start>\
         <Finish>2025-01-07T17:00:00</Finish><Value>PT0H0M0S</Value></TimephasedData><TimephasedData><Type>1</Type>\
         <Start>2025-01-08T08:00:00</Start><Finish>2025-01-08T17:00:00</Finish><Value>PT8H0M0S</Value></TimephasedData>\
         </Assignment></Assignments>",
        task(1, "<Duration>PT16H0M0S</Duration>"),
        task(2, "<Duration>PT16H0M0S</Duration>"),
    ));
    // The person is away on Tuesday; the split of the other task keeps its length, not its dates.
    assert_eq!(answer(&text, 1, "finish"), "2026-03-04T17:00:00");
    assert_eq!(answer(&text, 2, "finish"), "2026-03-04T17:00:00");
}

#[test]
fn dates_without_a_time_have_the_usual_time() {
    let text = project(&format!(
        "<DefaultStartTime>09:00:00</DefaultStartTime><Tasks>{}{}</Tasks>",
        task(1, "<ConstraintType>4</ConstraintType><ConstraintDate>2026-03-09</ConstraintDate>"),
        task(
            2,
            "<ConstraintType>7</ConstraintType><ConstraintDate>2026-03-09</ConstraintDate><Deadline>2026-03-10</Deadline>"
        ),
    ));
    let plan = to_plan(&read(&text).expect("file")).plan;
    assert_eq!(plan.tasks[0].constraint, Constraint::StartNoEarlierThan(Moment::from_civil(2026, 3, 9, 9, 0)));
    assert_eq!(plan.tasks[1].constraint, Constraint::FinishNoLaterThan(Moment::from_civil(2026, 3, 9, 17, 0)));
    assert_eq!(plan.tasks[1].deadline, Moment::from_civil(2026, 3, 10, 17, 0));
}

#[test]
fn a_copy_of_a_task_in_another_project_adds_nothing_to_its_summary() {
    let below = |uid: u32, fields: &str| {
        format!("<Task><UID>{uid}</UID><ID>{uid}</ID><OutlineLevel>2</OutlineLevel>{fields}</Task>")
    };
    let copy = "<ExternalTask>1</ExternalTask><Start>2026-04-06T08:00:00</Start><Finish>2026-04-06T17:00:00</Finish>";
    let rows = [task(1, "<Summary>1</Summary>"), below(2, "<Duration>PT8H0M0S</Duration>"), below(3, copy)];
    let text = project(&format!("<Tasks>{}{}</Tasks>", rows.concat(), below(4, "<Duration>PT16H0M0S</Duration>")));
    assert_eq!(answer(&text, 1, "finish"), "2026-03-03T17:00:00");
    assert_eq!(to_plan(&read(&text).expect("file")).plan.tasks[3].parent, Some(0));
}

#[test]
fn work_on_a_milestone_takes_no_time() {
    let text = project(&format!(
        "<Tasks>{}</Tasks><Resources><Resource><UID>1</UID><Type>1</Type></Resource></Resources><Assignments>\
         <Assignment><UID>1</UID><TaskUID>1</TaskUID><ResourceUID>1</ResourceUID><Units>1</Units><Work>PT8H0M0S</Work>\
         </Assignment></Assignments>",
        task(1, "<Duration>PT0H0M0S</Duration><Milestone>1</Milestone>"),
    ));
    assert_eq!(answer(&text, 1, "finish"), "2026-03-02T08:00:00");
}

#[test]
fn progress_follows_the_percentage_where_no_duration_is_stated() {
    let begun = "<Duration>PT16H0M0S</Duration><ActualStart>2026-03-02T08:00:00</ActualStart>";
    let text = project(&format!(
        "<Tasks>{}{}</Tasks>",
        task(1, &format!("{begun}<PercentComplete>25</PercentComplete>")),
        task(2, &format!("{begun}<RemainingDuration>PT6H0M0S</RemainingDuration>")),
    ));
    let plan = to_plan(&read(&text).expect("file")).plan;
    assert_eq!(plan.tasks[0].actual_duration, Span::hours(4));
    assert_eq!(plan.tasks[1].actual_duration, Span::hours(10));
}

#[test]
fn a_working_lag_to_an_elapsed_task_runs_on_its_calendar() {
    let text = project(&format!(
        "<Tasks>{}{}</Tasks>",
        task(1, "<Duration>PT40H0M0S</Duration>"),
        task(
            2,
            "<Duration>PT24H0M0S</Duration><DurationFormat>8</DurationFormat><PredecessorLink><PredecessorUID>1\
             </PredecessorUID><Type>1</Type><LinkLag>4800</LinkLag><LagFormat>7</LagFormat></PredecessorLink>"
        ),
    ));
    assert_eq!(answer(&text, 2, "start"), "2026-03-09T17:00:00");
    assert_eq!(answer(&text, 2, "finish"), "2026-03-10T17:00:00");
}

#[test]
fn a_finished_manual_task_has_no_slack() {
    let manual = "<Manual>1</Manual><ManualStart>2026-03-02T08:00:00</ManualStart>\
                  <ManualFinish>2026-03-03T17:00:00</ManualFinish><Duration>PT16H0M0S</Duration>";
    let actual = "<ActualStart>2026-03-02T08:00:00</ActualStart><ActualFinish>2026-03-03T17:00:00</ActualFinish>";
    let text = project(&format!(
        "<Tasks>{}{}{}<Task><UID>4</UID><ID>4</ID><OutlineLevel>2</OutlineLevel>{manual}</Task></Tasks>",
        task(1, &format!("{manual}{actual}")),
        task(2, "<Duration>PT80H0M0S</Duration>"),
        task(3, ""),
    ));
    assert_eq!(answer(&text, 1, "late_finish"), "2026-03-03T17:00:00");
    assert_eq!(answer(&text, 1, "total_slack_minutes"), "0");
    // A manual task that is not finished has slack, but its summary has the dates of the task.
    assert_eq!(answer(&text, 4, "late_finish"), "2026-03-13T17:00:00");
    assert_eq!(answer(&text, 3, "late_finish"), "2026-03-03T17:00:00");
}

#[test]
fn a_started_task_does_not_finish_before_its_constraint() {
    let text = project(&format!(
        "<Tasks>{}</Tasks>",
        task(
            1,
            "<Duration>PT8H0M0S</Duration><ActualStart>2026-03-02T08:00:00</ActualStart>\
             <ActualDuration>PT4H0M0S</ActualDuration><ConstraintType>6</ConstraintType>\
             <ConstraintDate>2026-03-04T17:00:00</ConstraintDate>"
        ),
    ));
    assert_eq!(answer(&text, 1, "start"), "2026-03-02T08:00:00");
    assert_eq!(answer(&text, 1, "finish"), "2026-03-04T17:00:00");
}

#[test]
fn hostile_files_are_refused() {
    let message = |text: &str| read(text).expect_err("an error").message;
    assert!(message("").contains("empty"));
    assert!(message("<html></html>").contains("not Microsoft Project XML"));
    assert!(message("<!DOCTYPE a [<!ENTITY b \"c\">]><Project></Project>").contains("document type"));
    assert!(message("<Project><Title>&b;</Title></Project>").contains("entity"));
    assert!(message("<Project><Tasks><Task><UID>1</UID>").contains("truncated"));
    assert!(message("<Project></Project><Project></Project>").contains("starts with"));
    assert!(message(&format!("<Project>{}", "<a>".repeat(100))).contains("nested"));
    assert!(message("<Project><Tasks><Task><Name>x</Name></Task></Tasks></Project>").contains("UID"));
}

#[test]
fn calendars_with_absurd_values_do_not_panic() {
    let smallest = "-9223372036854775808";
    for value in ["255", "256", "99999999999999999999", smallest, "0", ""] {
        let kinds = (1..=7).map(|kind| {
            format!(
                "<Exception><TimePeriod><FromDate>2020-01-02T00:00:00</FromDate><ToDate>2030-01-01T00:00:00</ToDate>\
                 </TimePeriod><Type>{kind}</Type><Period>{value}</Period><Month>{value}</Month>\
                 <MonthDay>{value}</MonthDay><MonthItem>{value}</MonthItem><MonthPosition>{value}</MonthPosition>\
                 <DaysOfWeek>{value}</DaysOfWeek></Exception>"
            )
        });
        let text = project(&format!(
            "<CalendarUID>1</CalendarUID><Calendars><Calendar><UID>1</UID><WeekDays><WeekDay><DayType>{value}</DayType>\
             </WeekDay></WeekDays><Exceptions>{}</Exceptions></Calendar></Calendars><Tasks>{}</Tasks>",
            kinds.collect::<String>(),
            task(1, "<Duration>PT8H0M0S</Duration>"),
        ));
        schedule_json(&text).expect("a schedule");
    }
}

#[test]
fn work_that_ends_beyond_all_time_ends_at_the_last_moment() {
    let hours = "<WorkingTimes><WorkingTime><FromTime>00:00:00</FromTime><ToTime>00:00:00</ToTime></WorkingTime>\
                 </WorkingTimes>";
    let days =
        (1..=7).map(|kind| format!("<WeekDay><DayType>{kind}</DayType><DayWorking>1</DayWorking>{hours}</WeekDay>"));
    let text = project(&format!(
        "<CalendarUID>1</CalendarUID><Calendars><Calendar><UID>1</UID><WeekDays>{}</WeekDays><Exceptions><Exception>\
         <TimePeriod><FromDate>1900-01-02T00:00:00</FromDate><ToDate>1900-01-02T23:59:00</ToDate></TimePeriod>\
         <DayWorking>0</DayWorking></Exception></Exceptions></Calendar></Calendars><Tasks>{}</Tasks>",
        days.collect::<String>(),
        task(
            1,
            "<Duration>PT9999999H</Duration><ConstraintType>4</ConstraintType>\
             <ConstraintDate>2190-01-01T00:00:00</ConstraintDate>"
        ),
    ));
    let converted = to_plan(&read(&text).expect("a file"));
    let schedule = pmo_planning::schedule(&converted.plan);
    assert_eq!(schedule.start, [Moment::from_civil(2_190, 1, 1, 0, 0)]);
    assert_eq!(schedule.finish, [Moment::MAX]);
    assert!(schedule.problems.contains(&pmo_planning::Problem::OutOfRange(pmo_planning::TaskId(0))));
}

#[test]
fn a_day_has_no_more_ranges_of_hours_than_the_schema_allows() {
    let range = |hour: usize| {
        format!("<WorkingTime><FromTime>{hour:02}:00:00</FromTime><ToTime>{hour:02}:30:00</ToTime></WorkingTime>",)
    };
    let ranges: String = (6..20).map(range).collect();
    let text = project(&format!(
        "<Calendars><Calendar><UID>1</UID><WeekDays><WeekDay><DayType>2</DayType><DayWorking>1</DayWorking>\
         <WorkingTimes>{ranges}</WorkingTimes></WeekDay></WeekDays></Calendar></Calendars>"
    ));
    let converted = to_plan(&read(&text).expect("a file"));
    let monday = &converted.plan.calendars[0].week[1];
    assert!(matches!(monday, pmo_planning::DayHours::Ranges(ranges) if ranges.len() == 5));
}

#[test]
fn levels_of_the_outline_that_jump_give_the_nearest_summary() {
    let row = |uid: u32, level: i64| {
        format!("<Task><UID>{uid}</UID><ID>{uid}</ID><OutlineLevel>{level}</OutlineLevel></Task>")
    };
    let rows: String =
        [(1, 1), (2, 5), (3, 9), (4, 7), (5, 5), (6, 2), (7, 1), (8, 3)].map(|(uid, level)| row(uid, level)).concat();
    let converted = to_plan(&read(&project(&format!("<Tasks>{rows}</Tasks>"))).expect("a file"));
    let parents: Vec<_> = converted.plan.tasks.iter().map(|task| task.parent).collect();
    assert_eq!(parents, [None, Some(0), Some(1), Some(1), Some(0), Some(0), None, Some(6)]);
}

#[test]
fn absurd_values_do_not_panic() {
    let huge = "99999999999999999999";
    for value in [huge, "-1", "PT999999999999H", "9999-99-99T99:99:99", "2026-02-31T08:00:00", "", "x"] {
        let text = project(&format!(
            "<CriticalSlackLimit>{value}</CriticalSlackLimit><MinutesPerDay>{value}</MinutesPerDay><Tasks>{}</Tasks>",
            task(
                1,
                &format!(
                    "<Duration>{value}</Duration><ConstraintType>{value}</ConstraintType><Deadline>{value}</Deadline>\
                     <LevelingDelay>{value}</LevelingDelay><ActualStart>{value}</ActualStart><PredecessorLink>\
                     <PredecessorUID>1</PredecessorUID><LinkLag>{value}</LinkLag></PredecessorLink>"
                )
            ),
        ));
        schedule_json(&text).expect("a schedule");
    }
}
