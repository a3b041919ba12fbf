//! What rows do not contain is counted; files that make no plan are refused.

use super::*;

fn file(inner: &str) -> File {
    read(&format!("<Project><StartDate>2026-03-02T08:00:00</StartDate>{inner}</Project>")).expect("a file")
}

#[test]
fn every_element_that_rows_lack_is_counted() {
    let file = file(
        "<Tasks><Task><UID>0</UID><ID>0</ID><OutlineLevel>0</OutlineLevel></Task><Task><UID>1</UID><ID>1</ID></Task>\
         <Task><UID>2</UID><IsNull>1</IsNull></Task><Task><UID>3</UID><ID>3</ID><Recurring>1</Recurring><PredecessorLink>\
         <PredecessorUID>1</PredecessorUID></PredecessorLink><PredecessorLink><PredecessorUID>1</PredecessorUID><Type>3</Type>\
         </PredecessorLink><PredecessorLink><PredecessorUID>99</PredecessorUID><CrossProject>1</CrossProject>\
         </PredecessorLink></Task></Tasks>\
         <Resources><Resource><UID>1</UID><Name>Ada</Name></Resource><Resource><UID>2</UID><Name>Sand</Name><Type>0</Type>\
         </Resource></Resources><Assignments><Assignment><TaskUID>1</TaskUID><ResourceUID>1</ResourceUID></Assignment>\
         <Assignment><TaskUID>1</TaskUID><ResourceUID>1</ResourceUID></Assignment><Assignment><TaskUID>1</TaskUID>\
         <ResourceUID>2</ResourceUID></Assignment><Assignment><TaskUID>3</TaskUID><ResourceUID>-65535</ResourceUID>\
         </Assignment></Assignments>",
    );
    let (rows, skipped) = map(&file, &BTreeMap::new()).expect("rows");
    let found: Vec<(&str, usize)> = skipped.iter().map(|((element, _), count)| (element.as_str(), *count)).collect();
    let expected = [
        ("Assignment", 1),
        ("Assignment", 1),
        ("PredecessorLink", 1),
        ("PredecessorLink", 1),
        ("Recurring", 1),
        ("Resource", 1),
        ("Task", 1),
        ("Task", 1),
    ];
    assert_eq!(found, expected);
    assert_eq!((rows.tasks.len(), rows.dependencies.len(), rows.assignments.len()), (2, 1, 1));
    // A person without an employee keeps the assignment as a role.
    assert_eq!(
        (&rows.assignments[0]["placeholder_role"], &rows.assignments[0]["employee_id"]),
        (&json!("Ada"), &Value::Null)
    );
}

#[test]
fn lags_and_calendars_become_columns() {
    let link = |lag: i64, format: i64| {
        format!(
            "<PredecessorLink><PredecessorUID>1</PredecessorUID><LinkLag>{lag}</LinkLag><LagFormat>{format}</LagFormat></PredecessorLink>"
        )
    };
    let successors: String = [(1_080_000, 8), (50, 19), (-25, 20), (-4_800, 7), (100, 51)]
        .iter()
        .zip(2..)
        .map(|((lag, format), uid)| format!("<Task><UID>{uid}</UID><ID>{uid}</ID>{}</Task>", link(*lag, *format)))
        .collect();
    let file = file(&format!(
        "<CalendarUID>1</CalendarUID><Calendars><Calendar><UID>1</UID><Name>Standard</Name></Calendar><Calendar><UID>2</UID>\
         <Name>Holidays</Name><IsBaseCalendar>0</IsBaseCalendar><BaseCalendarUID>1</BaseCalendarUID><Exceptions><Exception>\
         <TimePeriod><FromDate>2026-12-24T00:00:00</FromDate><ToDate>2030-12-24T23:59:00</ToDate></TimePeriod><Name>Eve</Name>\
         <Type>2</Type><Month>11</Month><MonthDay>24</MonthDay><DayWorking>0</DayWorking></Exception></Exceptions></Calendar>\
         </Calendars><Tasks><Task><UID>1</UID><ID>1</ID><CalendarUID>2</CalendarUID></Task>{successors}</Tasks>"
    ));
    let (rows, skipped) = map(&file, &BTreeMap::new()).expect("rows");
    assert!(skipped.is_empty(), "{skipped:?}");
    let lags: Vec<_> =
        rows.dependencies.iter().map(|row| json!([row["lag_minutes"], row["lag_pct"], row["lag_unit"]])).collect();
    let expected = [
        json!([108_000, null, "ed"]),
        json!([0, 50, "%"]),
        json!([0, -25, "e%"]),
        json!([-480, null, "d"]),
        json!([0, 100, "%"]),
    ];
    assert_eq!(lags, expected);
    assert_eq!(rows.calendars.iter().map(|row| &row["name"]).collect::<Vec<_>>(), ["Standard", "Holidays"]);
    assert_eq!(rows.calendars[1]["base__calendar_id"], rows.calendars[0]["id"]);
    assert_eq!(rows.tasks[0]["calendar_id"], rows.calendars[1]["id"]);
    let exception = &rows.exceptions[0];
    assert_eq!((&exception["name"], &exception["start_date"]), (&json!("Eve"), &json!("2026-12-24")));
    assert_eq!(exception["recurrence"], json!({"type": "yearly_by_day", "month": 12, "day": 24}));
}

#[test]
fn baselines_become_snapshots() {
    let file = file(
        "<Tasks><Task><UID>1</UID><ID>1</ID><Duration>PT8H0M0S</Duration><Baseline><Number>0</Number>\
         <Start>2026-03-02T08:00:00</Start><Finish>2026-03-03T17:00:00</Finish><Duration>PT16H0M0S</Duration>\
         <Work>PT16H0M0S</Work><Cost>12345</Cost></Baseline><Baseline><Number>3</Number></Baseline></Task></Tasks>",
    );
    let rows = import(&file, &BTreeMap::new());
    assert_eq!(rows.baselines.len(), 1);
    let snapshot = &rows.baselines[0]["snapshot"];
    assert_eq!(snapshot["finish_ts"], "2026-03-03T17:00:00");
    let id = rows.tasks[0]["id"].as_str().expect("an id");
    assert_eq!(
        (&snapshot["tasks"][id]["duration_minutes"], &snapshot["tasks"][id]["cost_amt"]),
        (&json!(960), &json!(123.45))
    );
    let (text, again) = export_and_import(&rows, &BTreeMap::new());
    assert!(text.contains("<Cost>12345</Cost>"), "{text}");
    assert_same_plan("baselines", &rows, &again);
}

#[test]
fn a_circle_of_base_calendars_is_cut() {
    let calendar = |uid: u32, base: u32| {
        format!(
            "<Calendar><UID>{uid}</UID><IsBaseCalendar>0</IsBaseCalendar><BaseCalendarUID>{base}</BaseCalendarUID></Calendar>"
        )
    };
    let file = file(&format!(
        "<CalendarUID>1</CalendarUID><Calendars>{}{}</Calendars><Tasks><Task><UID>1</UID><ID>1</ID></Task></Tasks>\
         <Resources><Resource><UID>1</UID><Name>A</Name><CalendarUID>2</CalendarUID></Resource></Resources>",
        calendar(1, 2),
        calendar(2, 1)
    ));
    let rows = import(&file, &employees(&file));
    assert_eq!(rows.calendars.len(), 2);
    assert!(rows.calendars.iter().any(|row| row["base__calendar_id"].is_null()));
}

#[test]
fn absurd_values_give_rows() {
    for value in ["99999999999999999999", "-1", "PT999999999999H", "2199-12-31T23:59:00", "x"] {
        let fields =
            ["MinutesPerDay", "MinutesPerWeek", "DaysPerMonth", "CriticalSlackLimit", "StatusDate", "FinishDate"];
        let settings: String = fields.iter().map(|field| format!("<{field}>{value}</{field}>")).collect();
        let fields = [
            "Duration",
            "ConstraintDate",
            "Deadline",
            "LevelingDelay",
            "ActualStart",
            "ActualFinish",
            "ActualDuration",
            "PercentComplete",
            "Priority",
            "Work",
            "Stop",
            "Resume",
            "PhysicalPercentComplete",
            "DurationFormat",
        ];
        let task: String = fields.iter().map(|field| format!("<{field}>{value}</{field}>")).collect();
        let file = file(&format!(
            "{settings}<Tasks><Task><UID>1</UID><ID>1</ID>{task}</Task></Tasks><Resources><Resource><UID>1</UID><Name>A</Name>\
             </Resource></Resources><Assignments><Assignment><TaskUID>1</TaskUID><ResourceUID>1</ResourceUID><Units>{value}</Units>\
             <Work>{value}</Work><Delay>{value}</Delay></Assignment></Assignments>"
        ));
        let rows = import(&file, &BTreeMap::new());
        let (_, again) = export_and_import(&rows, &BTreeMap::new());
        assert_eq!(again.tasks.len(), 1);
    }
}
