//! Rules that hold for all inputs.

use super::*;
use crate::duration_text::{self, DurationEntry};
use crate::gantt_edit::LagEntry;
use crate::predecessor_text::{self, PredecessorEntry};
use crate::{CalendarSet, DurationUnit, OptionName, Percent, UnitSizes, expand_patch, remove_derived};
use pmo_planning::{Direction, LinkKind, Mode, Span};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Returns any JSON value that a hostile row may contain.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9T:. -]{0,20}".prop_map(Value::from),
        (1u128..30).prop_map(|number| json!(id(number))),
        Just(json!("2026-03-05")),
        Just(json!("2026-03-05T24:00:00")),
        Just(json!("9999-12-31T23:59:59")),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| vec(inner, 0..4).prop_map(Value::from))
}

/// Columns that tasks, projects, dependencies, assignments and calendars have.
const COLUMNS: [&str; 40] = [
    "id",
    "project_id",
    "parent__task_id",
    "rank",
    "active_flag",
    "milestone_flag",
    "dl__schedule_mode",
    "dl__constraint_type",
    "constraint_ts",
    "deadline_ts",
    "manual_start_ts",
    "manual_finish_ts",
    "calendar_id",
    "duration_minutes",
    "duration_unit",
    "duration_days",
    "leveling_delay_minutes",
    "actual_start_date",
    "actual_start_ts",
    "actual_end_date",
    "actual_end_ts",
    "actual_duration_minutes",
    "completion_pct",
    "stop_ts",
    "resume_ts",
    "segments",
    "assignee__employee_ids",
    "start_date",
    "due_date",
    "start_ts",
    "finish_ts",
    "planned_start_date",
    "planned_end_date",
    "day_hours",
    "predecessor__task_id",
    "successor__task_id",
    "lag_minutes",
    "lag_pct",
    "units_pct",
    "work_hours",
];

fn hostile_row() -> impl Strategy<Value = Row> {
    vec((0..COLUMNS.len(), any_value()), 0..20)
        .prop_map(|cells| cells.into_iter().map(|(column, value)| (COLUMNS[column].to_owned(), value)).collect())
}

/// Returns a row of a task with values that people enter.
fn sound_task(number: u128) -> impl Strategy<Value = Row> {
    let day = || (2u32..28).prop_map(|day| format!("2026-03-{day:02}"));
    let dates = (option::of(day()), option::of(day()), option::of(day()), 0u8..=100);
    let rules = (0usize..3, 0usize..8, day(), option::of(0i32..6_000), 0usize..10);
    let place = (option::of(1..number.max(2)), any::<bool>(), vec(80u128..83, 0..3));
    (dates, rules, place).prop_map(move |(dates, rules, place)| {
        let (actual_start, actual_end, manual, percent) = dates;
        let (mode, constraint, date, duration, unit) = rules;
        let (parent, milestone, people) = place;
        let people: Vec<Uuid> = people.into_iter().map(id).collect();
        task_row(
            number,
            json!({
                "parent__task_id": parent.filter(|parent| *parent < number).map(id),
                "milestone_flag": milestone,
                "dl__schedule_mode": Mode::NAMES[mode].1,
                "dl__constraint_type": crate::ConstraintType::NAMES[constraint].1,
                "constraint_ts": format!("{date}T08:00:00"),
                "manual_start_ts": manual.map(|day| format!("{day}T10:30:00")),
                "duration_minutes": duration,
                "duration_unit": DurationUnit::ALL[unit].code(),
                "actual_start_date": actual_start,
                "actual_end_date": actual_end.filter(|_| percent > 70),
                "completion_pct": percent,
                "assignee__employee_ids": people,
            }),
        )
    })
}

/// Returns rows of a plan; every person of the first two has a calendar.
fn sound_rows() -> impl Strategy<Value = (Vec<Row>, Vec<DependencyInput>, bool)> {
    let tasks: Vec<_> = (1..=8).map(sound_task).collect();
    let links = vec((1u128..9, 1u128..9, 0usize..4, -900i32..900), 0..10).prop_map(|links| {
        let rows = (1..).zip(links).map(|(number, (before, after, kind, lag))| {
            dependency(
                number,
                before,
                after,
                json!({"dl__dependency_type": LinkKind::NAMES[kind].1, "lag_minutes": lag}),
            )
        });
        rows.collect()
    });
    (tasks, links, any::<bool>())
}

fn calendars() -> CalendarSet {
    CalendarSet::from_json(&json!({
        "calendars": {
            (id(50).to_string()): {"week": [[[540, 780]], [[540, 780]], [[540, 780]], null, [[540, 780]], [[0, 1440]], []],
                "exceptions": [{"from": "2026-03-09", "to": "2026-03-10", "hours": []}]},
            (id(51).to_string()): {"base": id(50), "week": [null, null, null, [[480, 720]], null, null, null]},
        },
        "employees": {(id(80).to_string()): id(50), (id(81).to_string()): id(51)},
    }))
}

fn plan_of(rows: &[Row], dependencies: Vec<DependencyInput>, from_finish: bool) -> PlanInput {
    let mut input = input(rows.iter().map(TaskInput::from_row).collect());
    input.dependencies = dependencies;
    input.calendars = calendars();
    if from_finish {
        input.project.schedule_from = Direction::FromFinish;
        input.project.planned_end_date = Some(pmo_planning::Day::from_civil(2026, 6, 30));
    }
    input
}

proptest! {
    #[test]
    fn hostile_rows_never_panic(rows in vec(hostile_row(), 1..12), patch in hostile_row()) {
        let text = serde_json::to_string(&rows).expect("JSON");
        let mut input = PlanInput {
            project: ProjectInput::from_row(&rows[0]),
            tasks: serde_json::from_str(&text).expect("tasks"),
            dependencies: serde_json::from_str(&text).expect("dependencies"),
            assignments: serde_json::from_str(&text).expect("assignments"),
            external_tasks: serde_json::from_str(&text).expect("external tasks"),
            calendars: calendars(),
        };
        let read: Vec<TaskInput> = rows.iter().map(TaskInput::from_row).collect();
        prop_assert_eq!(&read, &input.tasks);
        for task in &mut input.tasks {
            task.project_id = Some(input.project.id);
        }
        let (plan, schedule) = scheduled(&input);
        for position in 0..u32::try_from(plan.plan.tasks.len()).expect("few tasks") {
            if let Some(columns) = plan.derived(&schedule, position) {
                columns.to_row();
            }
            crate::explain::explain(&plan, &schedule, position, crate::explain::TaskEnd::Finish);
        }
        crate::explain::problems(&plan, &schedule.problems);
        let context = EditContext { project: Some(&input.project), calendars: &input.calendars, current: None };
        let mut expanded = patch.clone();
        if expand_patch(&mut expanded, Some(&rows[0]), &context).is_err() {
            prop_assert_eq!(&expanded, &patch);
        }
        remove_derived(&mut expanded, Some(&rows[0]));
    }

    #[test]
    fn derived_columns_fed_back_change_nothing((mut rows, dependencies, from_finish) in sound_rows()) {
        let input = plan_of(&rows, dependencies.clone(), from_finish);
        let (plan, schedule) = scheduled(&input);
        for row in &mut rows {
            let task = TaskInput::from_row(row);
            let position = plan.position(task.id).expect("a task of the plan");
            let columns = plan.derived(&schedule, position).expect("derived columns");
            row.extend(columns.to_row());
            let stored = TaskInput::from_row(row).stored;
            prop_assert!(!columns.differs_from(&stored), "{columns:?} {stored:?}");
        }
        let again = plan_of(&rows, dependencies, from_finish);
        let (plan, after) = scheduled(&again);
        prop_assert_eq!(schedule, after);
        for (position, task) in again.tasks.iter().filter_map(|task| Some((plan.position(task.id)?, task))) {
            let columns = plan.derived(&plan_schedule(&plan), position).expect("derived columns");
            prop_assert!(!columns.differs_from(&task.stored), "{columns:?} {:?}", task.stored);
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter((rows, dependencies, from_finish) in sound_rows(), turn in 0usize..8) {
        let straight = build(&plan_of(&rows, dependencies.clone(), from_finish));
        let mut turned = plan_of(&rows, dependencies, from_finish);
        turned.tasks.rotate_left(turn);
        turned.dependencies.reverse();
        prop_assert_eq!(straight, build(&turned));
    }

    #[test]
    fn a_task_starts_and_finishes_as_typed(
        start in 2u32..20, days in 0u32..10, duration in 1i32..4_000, people in vec(79u128..82, 0..2), elapsed in any::<bool>()
    ) {
        let columns = json!({"duration_minutes": duration, "assignee__employee_ids": people.first().map(|one| id(*one)).into_iter().collect::<Vec<_>>(),
            "duration_unit": if elapsed { "ed" } else { "d" }});
        let row = task_row(1, columns);
        let mut input = plan_of(std::slice::from_ref(&row), Vec::new(), false);
        let (first, last) = (format!("2026-03-{start:02}"), format!("2026-03-{:02}", start + days));
        let mut patch = super::row(json!({"start_date": first, "due_date": last}));
        let result = expand_patch(&mut patch, Some(&row), &context(&input, 1));
        let mut after = row.clone();
        after.extend(patch);
        input.tasks = vec![TaskInput::from_row(&after)];
        let stored = &input.tasks[0].stored;
        let columns = derived(&input, 1);
        match result {
            // No work is possible between the two days.
            Err(error) => prop_assert_eq!(error, crate::EditError::FinishBeforeStart),
            Ok(_) => {
                let time = crate::task_time::TaskTime::new(&input.tasks[0], &input.project, &input.calendars);
                let asked = (stored.start_date.expect("a start"), stored.due_date.expect("a finish"));
                let (first, last) =
                    (time.start_form(time.day_start(asked.0)), time.finish_form(time.day_end(asked.1)));
                prop_assert_eq!(columns.start_date, Some(first.day()));
                prop_assert_eq!(columns.due_date, Some(crate::derived_columns::due_day(first, last)));
            }
        }
    }

    #[test]
    fn durations_read_as_they_were_written(tenths in 0i32..100_000_000, unit in 0usize..10, is_estimated in any::<bool>(), day in 60i32..1_441) {
        let sizes = UnitSizes { day: Span::minutes(day), week: Span::minutes(day * 5), month: Span::minutes(day * 20) };
        let entry = DurationEntry { duration: Span(tenths), unit: DurationUnit::ALL[unit], is_estimated };
        let text = duration_text::format(entry, &sizes);
        prop_assert_eq!(duration_text::parse(&text, &sizes, DurationUnit::Days), Ok(entry), "{}", text);
    }

    #[test]
    fn predecessors_read_as_they_were_written(
        entries in vec((1u32..100, 0usize..4, 0usize..12, -100_000i32..100_000), 0..20)
    ) {
        let mut seen = std::collections::HashSet::new();
        let entries: Vec<PredecessorEntry> = entries
            .into_iter()
            .filter(|(row, ..)| seen.insert(*row))
            .map(|(row, kind, unit, lag)| {
                let lag = if lag == 0 { 1 } else { lag };
                let lag = match unit {
                    10 => LagEntry::Percent(Percent(lag)),
                    11 => LagEntry::ElapsedPercent(Percent(lag)),
                    unit => LagEntry::Time(Span(lag), DurationUnit::ALL[unit]),
                };
                PredecessorEntry { row, kind: LinkKind::NAMES[kind].0, lag }
            })
            .collect();
        let sizes = UnitSizes::default();
        let text = predecessor_text::format(&entries, &sizes);
        prop_assert_eq!(predecessor_text::parse(&text, 100, 100, &sizes, |_| None), Ok(entries), "{}", text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}", list in "[0-9FSfs+,;%e. dh-]{0,40}") {
        let sizes = UnitSizes::default();
        let _ = duration_text::parse(&text, &sizes, DurationUnit::Days);
        let _ = predecessor_text::parse(&text, 1, 9, &sizes, |_| None);
        let _ = predecessor_text::parse(&list, 1, 9, &sizes, |_| None);
    }
}

fn plan_schedule(plan: &ProjectPlan) -> Schedule {
    schedule(&plan.plan)
}
