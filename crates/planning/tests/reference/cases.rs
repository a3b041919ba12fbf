//! The cases of the specification: a rule, a plan, its dates.
//!
//! `A: start > finish`, then total slack (ts), free slack (ff), critical (crit), length (dur),
//! percent complete (pct) and the beginning of the rest (resume), where the case states them.

use crate::calendar::{Calendar, WeekDay, WorkWeek, all_hours, derived, exception, monday_to_friday, standard};
use crate::moment::{DAY, Day, HOUR, Tick, at, show, show_length};
use crate::plan::{Answer, Plan};
use crate::solver::solve;
use crate::text::{length_of, plan};

pub(crate) struct Case {
    pub(crate) id: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) plan: Plan,
    pub(crate) answer: &'static str,
}

fn case(id: &'static str, rule: &'static str, plan: Plan, answer: &'static str) -> Case {
    Case { id, rule, plan, answer }
}

/// Returns a plan with other calendars; the first is the project's.
fn with(text: &str, calendars: Vec<Calendar>) -> Plan {
    Plan { calendars, ..plan(text) }
}

/// Returns a plan with people, and the calendar of each.
fn with_people(text: &str, calendars: Vec<Calendar>, resources: Vec<usize>) -> Plan {
    Plan { calendars, resources, ..plan(text) }
}

fn date(text: &str) -> Day {
    at(&format!("{text} 00:00")) / DAY
}

const NINE_TO_FIVE: [(Tick, Tick); 2] = [(8 * HOUR, 12 * HOUR), (13 * HOUR, 17 * HOUR)];

/// Returns Standard with other hours on a date.
fn standard_but(day: &str, hours: &[(Tick, Tick)]) -> Calendar {
    let mut calendar = standard();
    calendar.exceptions.push(exception(date(day), date(day), hours));
    calendar
}

fn monday_to_saturday() -> Calendar {
    let mut calendar = standard();
    calendar.week[6] = WeekDay::Hours(NINE_TO_FIVE.to_vec());
    calendar
}

fn calendar_cases() -> Vec<Case> {
    let long = WeekDay::Hours(vec![(7 * HOUR, 12 * HOUR), (12 * HOUR + HOUR / 2, 17 * HOUR + HOUR / 2)]);
    let mut days = [const { WeekDay::Free }; 7];
    days[1..=4].fill(long);
    let mut four_days = standard_but("Wed 4 Mar", &NINE_TO_FIVE);
    four_days.work_weeks.push(WorkWeek { from: date("Mon 2 Mar"), to: date("Fri 6 Mar"), days });
    let mut saturdays = derived(1);
    saturdays.week[6] = WeekDay::Hours(NINE_TO_FIVE.to_vec());
    let mut nights = all_hours();
    nights.week.fill(WeekDay::Hours(vec![(0, 6 * HOUR), (22 * HOUR, DAY)]));
    vec![
        case("P01", "length counts working time", plan("A 3d"), "A: Mon 02 Mar 08:00 > Wed 04 Mar 17:00"),
        case(
            "P02",
            "a start on free time moves to the next working moment",
            plan("project start:28Feb@10:00; A 1d"),
            "A: Mon 02 Mar 08:00 > Mon 02 Mar 17:00",
        ),
        case(
            "P03",
            "finish takes the end of a span, start the beginning of the next",
            plan("A 20h; B 4h; A FS B"),
            "A: Mon 02 Mar 08:00 > Wed 04 Mar 12:00; B: Wed 04 Mar 13:00 > Wed 04 Mar 17:00",
        ),
        case(
            "P04",
            "holiday",
            with("A 3d", vec![standard_but("Tue 3 Mar", &[])]),
            "A: Mon 02 Mar 08:00 > Thu 05 Mar 17:00",
        ),
        case(
            "P05",
            "exception with hours of its own",
            with("A 3d", vec![standard_but("Wed 4 Mar", &NINE_TO_FIVE[..1])]),
            "A: Mon 02 Mar 08:00 > Thu 05 Mar 12:00",
        ),
        case(
            "P06",
            "exception makes a Saturday work",
            with("A 6d", vec![standard_but("Sat 7 Mar", &NINE_TO_FIVE)]),
            "A: Mon 02 Mar 08:00 > Sat 07 Mar 17:00",
        ),
        case(
            "P07",
            "work week for a range of dates; an exception beats it",
            with("project start:2Mar@00:00; A 30h", vec![four_days]),
            "A: Mon 02 Mar 07:00 > Thu 05 Mar 09:00",
        ),
        case(
            "P08",
            "derived calendar: base's exception beats own week day",
            with("project start:28Feb@08:00; A 2d cal:2", vec![standard(), standard_but("Mon 2 Mar", &[]), saturdays]),
            "A: Sat 28 Feb 08:00 > Tue 03 Mar 17:00",
        ),
        case(
            "P09",
            "night shift over midnight",
            with("project start:2Mar@22:00; A 8h", vec![nights]),
            "A: Mon 02 Mar 22:00 > Tue 03 Mar 06:00",
        ),
        case(
            "P10",
            "a 'day' is MinutesPerDay, not a day of the calendar",
            with("A 3d", vec![all_hours()]),
            "A: Mon 02 Mar 08:00 > Tue 03 Mar 08:00",
        ),
        case("P11", "elapsed length ignores calendars", plan("A 3ed"), "A: Mon 02 Mar 08:00 > Thu 05 Mar 08:00"),
        case(
            "P12",
            "elapsed successor begins when the predecessor ends",
            plan("A 5d; B 2ed; C 1d; A FS B; B FS C"),
            "B: Fri 06 Mar 17:00 > Sun 08 Mar 17:00; C: Mon 09 Mar 08:00 > Mon 09 Mar 17:00",
        ),
    ]
}

fn link_cases() -> Vec<Case> {
    vec![
        case("P13", "FS + working lag", plan("A 4d; B 1d; A FS+2d B"), "B: Tue 10 Mar 08:00 > Tue 10 Mar 17:00"),
        case("P14", "FS + elapsed lag", plan("A 5d; B 1d; A FS+2ed B"), "B: Mon 09 Mar 08:00 > Mon 09 Mar 17:00"),
        case("P15", "FS with lead", plan("A 3d; B 2d; A FS-1d B"), "B: Wed 04 Mar 08:00 > Thu 05 Mar 17:00"),
        case(
            "P16",
            "percent lag is of the predecessor's length",
            plan("A 4d; B 1d; A FS+50% B"),
            "B: Tue 10 Mar 08:00 > Tue 10 Mar 17:00",
        ),
        case(
            "P17",
            "lag runs on the successor's calendar",
            with("A 5d; B 1d cal:1; A FS+1d B", vec![standard(), monday_to_saturday()]),
            "B: Mon 09 Mar 08:00 > Mon 09 Mar 17:00",
        ),
        case("P18", "SS + lag", plan("A 5d; B 2d; A SS+1d B"), "B: Tue 03 Mar 08:00 > Wed 04 Mar 17:00"),
        case("P19", "FF", plan("A 5d; B 2d; A FF B"), "B: Thu 05 Mar 08:00 > Fri 06 Mar 17:00"),
        case(
            "P20",
            "FF never begins before the project",
            plan("A 1d; B 3d; A FF B"),
            "B: Mon 02 Mar 08:00 > Wed 04 Mar 17:00",
        ),
        case("P21", "FF + lag", plan("A 2d; B 2d; A FF+1d B"), "B: Tue 03 Mar 08:00 > Wed 04 Mar 17:00"),
        case(
            "P22",
            "SF: the successor ends where the predecessor begins",
            plan("A 1d snet:5Mar@08:00; B 2d; A SF B"),
            "B: Tue 03 Mar 08:00 > Wed 04 Mar 17:00",
        ),
        case(
            "P23",
            "a milestone stands at the end of its predecessor; what follows begins next morning",
            plan("A 1d; M 0d; B 1d; A FS M; M FS B"),
            "M: Mon 02 Mar 17:00 > Mon 02 Mar 17:00; B: Tue 03 Mar 08:00 > Tue 03 Mar 17:00",
        ),
    ]
}

fn constraint_cases() -> Vec<Case> {
    vec![
        case(
            "P24",
            "SNET waits; earlier than the links it does nothing",
            plan("A 2d; B 1d snet:9Mar@08:00; C 1d snet:2Mar@08:00; A FS B; A FS C"),
            "B: Mon 09 Mar 08:00 > Mon 09 Mar 17:00; C: Wed 04 Mar 08:00 > Wed 04 Mar 17:00",
        ),
        case(
            "P25",
            "a constraint date on free time means the next working moment",
            plan("A 1d snet:7Mar@08:00"),
            "A: Mon 09 Mar 08:00 > Mon 09 Mar 17:00",
        ),
        case("P26", "FNET", plan("A 2d fnet:6Mar@17:00"), "A: Thu 05 Mar 08:00 > Fri 06 Mar 17:00"),
        case(
            "P27",
            "SNLT, constraints honoured: date wins, predecessor gets negative slack",
            plan("A 5d; B 1d snlt:5Mar@08:00; A FS B"),
            "A: Mon 02 Mar 08:00 > Fri 06 Mar 17:00 ts -2d; B: Thu 05 Mar 08:00 > Thu 05 Mar 17:00",
        ),
        case(
            "P28",
            "the same, not honoured: link wins, both have negative slack",
            plan("project unhonoured; A 5d; B 1d snlt:5Mar@08:00; A FS B"),
            "A: Mon 02 Mar 08:00 > Fri 06 Mar 17:00 ts -2d; B: Mon 09 Mar 08:00 > Mon 09 Mar 17:00 ts -2d",
        ),
        case(
            "P29",
            "FNLT honoured",
            plan("A 5d; B 2d fnlt:6Mar@17:00; A FS B"),
            "A: Mon 02 Mar 08:00 > Fri 06 Mar 17:00 ts -2d; B: Thu 05 Mar 08:00 > Fri 06 Mar 17:00",
        ),
        case(
            "P30",
            "MSO honoured overrides the link",
            plan("A 5d; B 2d mso:4Mar@08:00; A FS B"),
            "B: Wed 04 Mar 08:00 > Thu 05 Mar 17:00; A: Mon 02 Mar 08:00 > Fri 06 Mar 17:00 ts -3d",
        ),
        case(
            "P31",
            "MFO",
            plan("A 2d; B 1d mfo:10Mar@17:00; A FS B"),
            "B: Tue 10 Mar 08:00 > Tue 10 Mar 17:00; A: Mon 02 Mar 08:00 > Tue 03 Mar 17:00 ts 4d ff 4d",
        ),
        case(
            "P32",
            "ALAP takes all slack; nothing ends later",
            plan("A 1d alap; B 4d; C 1d; A FS C; B FS C"),
            "A: Thu 05 Mar 08:00 > Thu 05 Mar 17:00; C: Fri 06 Mar 08:00 > Fri 06 Mar 17:00",
        ),
        case(
            "P33",
            "ALAP pushes its successors to their late dates",
            plan("A 1d alap; C 1d; B 5d; A FS C"),
            "A: Thu 05 Mar 08:00 > Thu 05 Mar 17:00; C: Fri 06 Mar 08:00 > Fri 06 Mar 17:00",
        ),
        case(
            "P34",
            "a deadline moves nothing, but takes slack",
            plan("A 3d deadline:3Mar@17:00; B 5d"),
            "A: Mon 02 Mar 08:00 > Wed 04 Mar 17:00 ts -1d crit; B: Mon 02 Mar 08:00 > Fri 06 Mar 17:00 ts 0d crit",
        ),
    ]
}

fn slack_cases() -> Vec<Case> {
    vec![
        case(
            "P35",
            "total and free slack, critical",
            plan("A 2d; B 3d; C 1d; E 1d; A FS B; A FS C; B FS E; C FS E"),
            "B: Wed 04 Mar 08:00 > Fri 06 Mar 17:00 ts 0d crit; C: Wed 04 Mar 08:00 > Wed 04 Mar 17:00 ts 2d ff 2d; \
             E: Mon 09 Mar 08:00 > Mon 09 Mar 17:00 ts 0d crit",
        ),
        case(
            "P36",
            "free slack counts the lag",
            plan("A 1d; B 4d; C 1d; A FS+1d C; B FS C"),
            "A: Mon 02 Mar 08:00 > Mon 02 Mar 17:00 ts 2d ff 2d; C: Fri 06 Mar 08:00 > Fri 06 Mar 17:00 ts 0d",
        ),
        case(
            "P37",
            "two ends: one critical path",
            plan("A 5d; B 3d"),
            "A: Mon 02 Mar 08:00 > Fri 06 Mar 17:00 ts 0d crit; B: Mon 02 Mar 08:00 > Wed 04 Mar 17:00 ts 2d",
        ),
        case(
            "P38",
            "two ends: multiple critical paths",
            plan("project multiple; A 5d; B 3d"),
            "A: Mon 02 Mar 08:00 > Fri 06 Mar 17:00 ts 0d crit; B: Mon 02 Mar 08:00 > Wed 04 Mar 17:00 ts 0d crit",
        ),
        case(
            "P39",
            "critical slack limit",
            plan("project limit:1d; A 5d; B 4d"),
            "B: Mon 02 Mar 08:00 > Thu 05 Mar 17:00 ts 1d crit",
        ),
        case(
            "P40",
            "schedule from the finish",
            plan("project finish:13Mar@17:00; A 3d; B 2d; A FS B"),
            "A: Mon 09 Mar 08:00 > Wed 11 Mar 17:00; B: Thu 12 Mar 08:00 > Fri 13 Mar 17:00",
        ),
    ]
}

fn outline_and_mode_cases() -> Vec<Case> {
    vec![
        case(
            "P41",
            "summary: dates, length in the project calendar, percent by length",
            plan("S 0d; A 2d in:S started:2Mar@08:00 done:1d; B 3d in:S; A FS B"),
            "S: Mon 02 Mar 08:00 > Fri 06 Mar 17:00 dur 5d pct 20",
        ),
        case(
            "P42",
            "a link to a summary holds everything below it",
            plan("A 2d; S 0d; B 1d in:S; C 2d in:S; A FS S; B FS C"),
            "B: Wed 04 Mar 08:00 > Wed 04 Mar 17:00; S: Wed 04 Mar 08:00 > Fri 06 Mar 17:00 dur 3d",
        ),
        case(
            "P43",
            "a link from a summary waits for its last",
            plan("S 0d; A 1d in:S; B 3d in:S; C 1d; S FS C"),
            "C: Thu 05 Mar 08:00 > Thu 05 Mar 17:00; A: Mon 02 Mar 08:00 > Mon 02 Mar 17:00 ts 2d",
        ),
        case(
            "P44",
            "an inactive task pushes nothing",
            plan("A 2d; B 3d inactive; C 1d; A FS B; B FS C"),
            "C: Mon 02 Mar 08:00 > Mon 02 Mar 17:00",
        ),
        case(
            "P45",
            "a manual task stays, and drives what follows",
            plan("A 5d; B 2d manual:4Mar@08:00>5Mar@17:00; C 1d; A FS B; B FS C"),
            "B: Wed 04 Mar 08:00 > Thu 05 Mar 17:00; C: Fri 06 Mar 08:00 > Fri 06 Mar 17:00",
        ),
    ]
}

fn assignment_cases() -> Vec<Case> {
    let away = || standard_but("Wed 4 Mar", &[]);
    let afternoons = monday_to_friday(&NINE_TO_FIVE[1..]);
    vec![
        case(
            "P46",
            "resource calendar stretches the task",
            with_people("A 3d by:0,24h,100", vec![standard(), away()], vec![1]),
            "A: Mon 02 Mar 08:00 > Thu 05 Mar 17:00",
        ),
        case(
            "P47",
            "task calendar and resource calendar: both",
            with_people("A 1d cal:1 by:0,8h,100", vec![standard(), monday_to_saturday(), afternoons], vec![2]),
            "A: Mon 02 Mar 13:00 > Tue 03 Mar 17:00",
        ),
        case(
            "P48",
            "ignore resource calendar",
            with_people("A 3d cal:0 ignore by:0,24h,100", vec![standard(), away()], vec![1]),
            "A: Mon 02 Mar 08:00 > Wed 04 Mar 17:00",
        ),
        case(
            "P49",
            "the last assignment ends the task",
            with_people("A 2d by:0,8h,100 by:1,8h,50", vec![standard()], vec![0, 0]),
            "A: Mon 02 Mar 08:00 > Tue 03 Mar 17:00",
        ),
    ]
}

fn progress_cases() -> Vec<Case> {
    vec![
        case(
            "P50",
            "actual start holds; the rest follows",
            plan("A 4d started:3Mar@08:00 done:2d"),
            "A: Tue 03 Mar 08:00 > Fri 06 Mar 17:00",
        ),
        case(
            "P51",
            "reschedule what is left after the status date: a split",
            plan("project status:5Mar@17:00 reschedule; A 4d started:2Mar@08:00 done:1d"),
            "A: Mon 02 Mar 08:00 > Tue 10 Mar 17:00 resume Fri 06 Mar 08:00",
        ),
        case(
            "P52",
            "out of sequence, retained logic (default)",
            plan("A 3d; B 2d started:2Mar@08:00 done:1d; A FS B"),
            "B: Mon 02 Mar 08:00 > Thu 05 Mar 17:00 resume Thu 05 Mar 08:00",
        ),
        case(
            "P53",
            "out of sequence, progress override",
            plan("project override; A 3d; B 2d started:2Mar@08:00 done:1d; A FS B"),
            "B: Mon 02 Mar 08:00 > Tue 03 Mar 17:00",
        ),
        case(
            "P54",
            "finished early pulls what follows",
            plan("A 5d started:2Mar@08:00 finished:3Mar@17:00; B 1d; A FS B"),
            "B: Wed 04 Mar 08:00 > Wed 04 Mar 17:00; A: Mon 02 Mar 08:00 > Tue 03 Mar 17:00 ts 0d",
        ),
        case(
            "P55",
            "levelling delay is elapsed time",
            plan("A 1d delay:2ed"),
            "A: Wed 04 Mar 08:00 > Wed 04 Mar 17:00",
        ),
    ]
}

/// Returns all cases that are schedules.
pub(crate) fn cases() -> Vec<Case> {
    let groups = [
        calendar_cases(),
        link_cases(),
        constraint_cases(),
        slack_cases(),
        outline_and_mode_cases(),
        assignment_cases(),
        progress_cases(),
    ];
    groups.into_iter().flatten().collect()
}

/// Returns what is wrong about answers, by the text of a case.
pub(crate) fn differences(case: &Case, answers: &[Answer]) -> Vec<String> {
    let mut wrong = vec![];
    for part in case.answer.split("; ") {
        let (name, expected) = part.split_once(": ").unwrap();
        let task = case.plan.tasks.iter().position(|task| task.name == name).unwrap();
        let found = describe(&answers[task], expected);
        if found != expected.trim() {
            wrong.push(format!("{} {}: {name}: {found}, not {expected}", case.id, case.rule));
        }
    }
    wrong
}

/// Writes an answer with the values that the expected text has.
fn describe(answer: &Answer, expected: &str) -> String {
    let mut text = format!("{} > {}", show(answer.start), show(answer.finish));
    let words: Vec<&str> = expected.split_whitespace().skip(9).collect();
    let is_expected = |key: &str| words.contains(&key);
    let days = |length: Tick| {
        if length % length_of("1d").0 == 0 { format!("{}d", length / length_of("1d").0) } else { show_length(length) }
    };
    for (key, value) in [("ts", answer.total), ("ff", answer.free), ("dur", answer.length)] {
        if is_expected(key) {
            text.push_str(&format!(" {key} {}", days(value)));
        }
    }
    if is_expected("crit") {
        text.push_str(if answer.is_critical { " crit" } else { " not-crit" });
    }
    if is_expected("pct") {
        text.push_str(&format!(" pct {}", answer.percent));
    }
    if is_expected("resume") {
        text.push_str(&format!(" resume {}", answer.resume.map_or("-".to_owned(), show)));
    }
    text
}

#[test]
fn the_reference_solver_gives_the_dates_of_all_cases() {
    let wrong: Vec<String> = cases().iter().flat_map(|case| differences(case, &solve(&case.plan))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
