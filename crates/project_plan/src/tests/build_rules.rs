//! The rules by which rows become a plan.

use super::*;
use crate::{CalendarDefinition, ExternalTask, InputFault, Missing};
use pmo_planning::{Calendar, DayHours, Direction, HourRange, Lag, Mode, Moment, Span};

#[test]
fn only_active_tasks_of_the_project_are_scheduled() {
    let other = json!({"project_id": id(99)});
    let tasks = vec![
        task(1, json!({})),
        task(2, json!({"active_flag": false})),
        task(3, json!({"project_id": null})),
        task(4, other),
    ];
    let plan = build(&input(tasks));
    assert_eq!(plan.task_ids, [id(1)]);
    assert_eq!((plan.task_count, plan.position(id(2))), (1, None));
}

#[test]
fn tasks_come_in_outline_order_whatever_their_order() {
    let rows = [
        (1, json!({"rank": "b"})),
        (2, json!({"rank": "a", "parent__task_id": id(1)})),
        (3, json!({"rank": "c", "parent__task_id": id(2)})),
        (4, json!({"rank": "b", "parent__task_id": id(1)})),
        (5, json!({"rank": "a"})),
        (6, json!({"rank": null})),
    ];
    for turn in 0..rows.len() {
        let mut tasks: Vec<_> = rows.iter().map(|(number, columns)| task(*number, columns.clone())).collect();
        tasks.rotate_left(turn);
        let plan = build(&input(tasks));
        assert_eq!(plan.task_ids, [5, 1, 2, 3, 4, 6].map(id));
        let parents: Vec<_> = plan.plan.tasks.iter().map(|task| task.parent).collect();
        assert_eq!(parents, [None, None, Some(1), Some(2), Some(1), None]);
        assert_eq!(plan.is_summary, [false, true, true, false, false, false]);
    }
}

#[test]
fn a_ring_of_parents_is_opened_and_reported() {
    let tasks = vec![
        task(1, json!({"parent__task_id": id(2)})),
        task(2, json!({"parent__task_id": id(1)})),
        task(3, json!({"parent__task_id": id(3)})),
        task(1, json!({})),
    ];
    let plan = build(&input(tasks[..3].to_vec()));
    assert_eq!(plan.task_ids, [id(1), id(2), id(3)]);
    assert_eq!(plan.faults, [InputFault::OutlineRing(id(1)), InputFault::OutlineRing(id(3))]);
    let plan = build(&input(tasks));
    assert!(plan.faults.contains(&InputFault::DuplicateTask(id(1))), "{:?}", plan.faults);
    assert_eq!(plan.task_count, 3);
}

#[test]
fn the_project_starts_at_its_planned_date_and_hour() {
    let mut plan = input(vec![task(1, json!({}))]);
    assert_eq!(dates(&plan, 1), "03-02 08:00 > 03-02 17:00");
    plan.project.planned_start = Moment::from_civil(2026, 3, 2, 10, 0);
    assert_eq!(dates(&plan, 1), "03-02 10:00 > 03-03 10:00");
    // The hour counts only on the day of the planned date.
    plan.project.planned_start = Moment::from_civil(2026, 3, 1, 10, 0);
    assert_eq!(dates(&plan, 1), "03-02 08:00 > 03-02 17:00");
}

#[test]
fn without_a_planned_date_the_earliest_date_of_a_task_starts_the_project() {
    let mut plan = input(vec![
        task(1, json!({})),
        task(2, json!({"dl__constraint_type": "Start No Earlier Than", "constraint_ts": "2026-03-11T13:00:00"})),
        task(3, json!({"dl__schedule_mode": "Manual", "manual_start_ts": "2026-03-10T09:00:00"})),
    ]);
    plan.project.planned_start_date = None;
    assert_eq!(dates(&plan, 1), "03-10 08:00 > 03-10 17:00");
    assert_eq!(dates(&plan, 2), "03-11 13:00 > 03-12 12:00");
    plan.tasks.truncate(1);
    plan.project = ProjectInput::from_row(&row(json!({"id": PROJECT, "created_ts": "2026-03-04T22:15:00.123Z"})));
    assert_eq!(dates(&plan, 1), "03-04 08:00 > 03-04 17:00");
}

#[test]
fn a_plan_is_scheduled_from_its_finish_only_with_a_finish() {
    let mut plan = input(vec![task(1, json!({}))]);
    plan.project.schedule_from = Direction::FromFinish;
    assert_eq!(dates(&plan, 1), "03-02 08:00 > 03-02 17:00");
    plan.project.planned_end_date = Some(pmo_planning::Day::from_civil(2026, 3, 15));
    assert_eq!(dates(&plan, 1), "03-13 08:00 > 03-13 17:00", "the 15th is a Sunday");
    plan.project.planned_end_date = Some(pmo_planning::Day::from_civil(2026, 3, 13));
    plan.project.planned_end = Moment::from_civil(2026, 3, 13, 12, 0);
    assert_eq!(dates(&plan, 1), "03-12 13:00 > 03-13 12:00");
}

#[test]
fn actual_dates_take_their_hour_only_on_the_same_day() {
    let started = |columns: Value| {
        let mut all = row(json!({"actual_start_date": "2026-03-04", "duration_minutes": 960}));
        all.extend(row(columns));
        dates(&input(vec![task(1, Value::Object(all))]), 1)
    };
    assert_eq!(started(json!({})), "03-04 08:00 > 03-05 17:00");
    assert_eq!(started(json!({"actual_start_ts": "2026-03-04T10:00:00"})), "03-04 10:00 > 03-06 10:00");
    assert_eq!(started(json!({"actual_start_ts": "2026-03-03T10:00:00"})), "03-04 08:00 > 03-05 17:00");
    assert_eq!(started(json!({"actual_end_date": "2026-03-06"})), "03-04 08:00 > 03-06 17:00");
    let ended = started(json!({"actual_end_date": "2026-03-06", "actual_end_ts": "2026-03-06T11:00:00"}));
    assert_eq!(ended, "03-04 08:00 > 03-06 11:00");
    let finished = started(json!({"actual_start_date": null, "actual_end_date": "2026-03-06"}));
    assert_eq!(finished, "03-05 08:00 > 03-06 17:00", "the start follows from the duration");
}

/// Returns a calendar with work from 9 to 13 on every day.
fn short_days() -> CalendarDefinition {
    let times = Calendar::with_week(0..=6, &[HourRange::hours(9, 13)]);
    CalendarDefinition { times, ..CalendarDefinition::default() }
}

#[test]
fn the_calendar_is_that_of_the_task_or_the_project_or_standard() {
    let mut plan = input(vec![task(1, json!({"duration_minutes": 480})), task(2, json!({"calendar_id": id(50)}))]);
    plan.calendars.calendars.insert(id(50), short_days());
    assert_eq!(dates(&plan, 1), "03-02 08:00 > 03-02 17:00");
    assert_eq!(dates(&plan, 2), "03-02 09:00 > 03-03 13:00");
    plan.project.calendar_id = Some(id(50));
    assert_eq!(dates(&plan, 1), "03-02 09:00 > 03-03 13:00");
    plan.calendars.calendars.clear();
    let built = build(&plan);
    assert_eq!(built.incomplete, [Missing::Calendar(id(50))]);
    assert_eq!(dates(&plan, 1), "03-02 08:00 > 03-02 17:00");
}

#[test]
fn a_calendar_takes_over_from_its_base() {
    let mut plan = input(vec![task(1, json!({"calendar_id": id(51)}))]);
    let mut derived = CalendarDefinition { base: Some(id(50)), ..CalendarDefinition::default() };
    derived.times.week[1] = DayHours::Ranges(Vec::new());
    plan.calendars.calendars.insert(id(50), short_days());
    plan.calendars.calendars.insert(id(51), derived);
    assert_eq!(dates(&plan, 1), "03-03 09:00 > 03-04 13:00", "Monday is free");
    plan.calendars.calendars.remove(&id(50));
    assert_eq!(build(&plan).incomplete, [Missing::Calendar(id(50))]);
}

#[test]
fn a_task_without_a_duration_takes_a_day_and_a_milestone_none() {
    let mut plan = input(vec![
        task(1, json!({})),
        task(2, json!({"milestone_flag": true})),
        task(3, json!({"duration_minutes": 0})),
    ]);
    plan.project.day = Span::hours(6);
    assert_eq!(dates(&plan, 1), "03-02 08:00 > 03-02 15:00");
    assert_eq!(dates(&plan, 2), "03-02 08:00 > 03-02 08:00");
    assert_eq!(dates(&plan, 3), "03-02 08:00 > 03-02 08:00");
    let elapsed = input(vec![task(1, json!({"duration_minutes": 2880, "duration_unit": "ed"}))]);
    assert_eq!(dates(&elapsed, 1), "03-02 08:00 > 03-04 08:00");
}

#[test]
fn progress_is_the_percentage_unless_minutes_are_stated() {
    let remaining = |columns: Value| {
        let mut all = row(json!({"duration_minutes": 960, "completion_pct": 25}));
        all.extend(row(columns));
        derived(&input(vec![task(1, Value::Object(all))]), 1).remaining_duration
    };
    assert_eq!(remaining(json!({})), Some(Span::hours(16)), "without an actual start nothing is done");
    assert_eq!(remaining(json!({"actual_start_date": "2026-03-02"})), Some(Span::hours(12)));
    let stated = json!({"actual_start_date": "2026-03-02", "actual_duration_minutes": 60});
    assert_eq!(remaining(stated), Some(Span::hours(15)));
}

#[test]
fn people_work_in_their_calendars_with_their_units() {
    let person = id(80);
    let mut plan = input(vec![task(1, json!({"duration_minutes": 480, "assignee__employee_ids": [person]}))]);
    assert_eq!(dates(&plan, 1), "03-02 08:00 > 03-02 17:00");
    plan.calendars.calendars.insert(id(50), short_days());
    plan.calendars.employees.insert(person, id(50));
    assert_eq!(dates(&plan, 1), "03-02 09:00 > 03-03 13:00");
    // The stated work of the only person does not change the duration.
    plan.assignments = vec![assignment(1, 1, json!({"employee_id": person, "units_pct": 50, "work_hours": 16}))];
    assert_eq!(dates(&plan, 1), "03-02 09:00 > 03-03 13:00");
    assert_eq!(build(&plan).plan.assignments.len(), 1);
    // An assignment of somebody who is not on the task does not count.
    plan.assignments[0].employee_id = Some(id(81));
    assert_eq!(build(&plan).plan.assignments.len(), 1);
    assert_eq!(dates(&plan, 1), "03-02 09:00 > 03-03 13:00");
}

#[test]
fn with_different_calendars_the_last_person_ends_the_task() {
    let columns = json!({"duration_minutes": 480, "assignee__employee_ids": [id(80), id(81)]});
    let mut plan = input(vec![task(1, columns)]);
    plan.calendars.calendars.insert(id(50), short_days());
    plan.calendars.employees.insert(id(80), id(50));
    assert_eq!(dates(&plan, 1), "03-02 08:00 > 03-03 13:00");
    plan.assignments = vec![assignment(1, 1, json!({"employee_id": id(81), "units_pct": 50, "work_hours": 16}))];
    assert_eq!(dates(&plan, 1), "03-02 08:00 > 03-05 17:00", "16 hours at 50 % take four days");
}

#[test]
fn manual_tasks_have_their_dates() {
    let manual = json!({"dl__schedule_mode": "Manual", "manual_start_ts": "2026-03-07T10:00:00", "manual_finish_ts": "2026-03-08T11:00:00"});
    let plan = input(vec![task(1, manual)]);
    assert_eq!(dates(&plan, 1), "03-07 10:00 > 03-08 11:00");
}

#[test]
fn inactive_tasks_keep_their_dates() {
    let inactive = json!({"dl__schedule_mode": "Inactive", "start_date": "2026-05-04", "due_date": "2026-05-05",
        "start_ts": "2026-05-04T08:00:00", "finish_ts": "2026-05-05T17:00:00", "critical_flag": true, "total_slack_minutes": 0});
    let mut plan = input(vec![task(1, inactive), task(2, json!({}))]);
    plan.dependencies = vec![dependency(1, 1, 2, json!({}))];
    assert_eq!(dates(&plan, 1), "05-04 08:00 > 05-05 17:00");
    assert_eq!(dates(&plan, 2), "03-02 08:00 > 03-02 17:00");
    assert!(!derived(&plan, 1).is_critical);
    // A typed date replaces the computed one.
    plan.tasks[0].stored.start_date = Some(pmo_planning::Day::from_civil(2026, 5, 1));
    let columns = derived(&plan, 1);
    assert_eq!((columns.start, columns.finish), (Moment::NONE, Moment::NONE));
    assert_eq!(columns.start_date, plan.tasks[0].stored.start_date);
}

#[test]
fn tasks_below_an_inactive_summary_keep_their_dates() {
    let dated = |columns: Value| {
        let mut all = row(json!({"start_date": "2026-05-04", "due_date": "2026-05-05"}));
        all.extend(row(columns));
        Value::Object(all)
    };
    let plan = input(vec![
        task(1, dated(json!({}))),
        task(2, dated(json!({"parent__task_id": id(1), "dl__schedule_mode": "Inactive"}))),
        task(3, dated(json!({"parent__task_id": id(2)}))),
        task(4, dated(json!({}))),
    ]);
    let (built, schedule) = scheduled(&plan);
    for number in 1..=3 {
        let position = built.position(id(number)).expect("a task");
        assert!(schedule.start[position as usize].is_none(), "the engine leaves the task out");
        let columns = derived(&plan, number);
        assert_eq!(columns.due_date, plan.tasks[0].stored.due_date);
        assert_eq!(columns.is_summary, number < 3);
    }
    assert_eq!(dates(&plan, 4), "03-02 08:00 > 03-02 17:00");
}

#[test]
fn dependencies_become_links_with_their_lags() {
    let mut plan = input((1..=6).map(|number| task(number, json!({}))).collect());
    plan.dependencies = vec![
        dependency(1, 1, 2, json!({"lag_minutes": 480})),
        dependency(2, 1, 3, json!({"lag_minutes": "1440.0", "lag_unit": "ed"})),
        dependency(3, 1, 4, json!({"lag_pct": 50, "lag_unit": "%", "lag_minutes": 7})),
        dependency(4, 1, 5, json!({"lag_pct": -50, "lag_unit": "e%", "dl__dependency_type": "SS"})),
        dependency(5, 1, 6, json!({"active_flag": false})),
    ];
    let built = build(&plan);
    let lags: Vec<Lag> = built.plan.links.iter().map(|link| link.lag).collect();
    let expected =
        [Lag::Working(Span::hours(8)), Lag::Elapsed(Span::hours(24)), Lag::Percent(50), Lag::ElapsedPercent(-50)];
    assert_eq!(lags, expected);
    assert_eq!(built.link_ids.len(), 4);
}

#[test]
fn predecessors_in_other_projects_hold_with_given_dates() {
    let mut plan = input(vec![task(1, json!({"duration_minutes": 480}))]);
    plan.dependencies = vec![dependency(1, 70, 1, json!({}))];
    let missing = Missing::Predecessor { dependency: Uuid::from_u128(0x2001), task: id(70) };
    assert_eq!(build(&plan).incomplete, [missing]);
    let text = json!({"id": id(70), "start_ts": "2026-03-03T08:00:00", "finish_ts": "2026-03-05T17:00:00"}).to_string();
    plan.external_tasks = vec![serde_json::from_str::<ExternalTask>(&text).expect("a row")];
    assert_eq!(dates(&plan, 1), "03-06 08:00 > 03-06 17:00");
    plan.dependencies =
        vec![dependency(1, 70, 1, json!({"dl__dependency_type": "SS", "lag_pct": 100, "lag_unit": "%"}))];
    assert_eq!(dates(&plan, 1), "03-06 08:00 > 03-06 17:00", "the lag is three days of work");
    let built = build(&plan);
    assert_eq!((built.incomplete.len(), built.task_count, built.plan.tasks.len()), (0, 1, 2));
    assert_eq!(built.derived(&schedule(&built.plan), 1), None);
    assert_eq!(built.plan.tasks[1].mode, Mode::Manual);
}

#[test]
fn links_to_archived_tasks_have_no_effect_and_are_not_missing() {
    let mut plan = input(vec![task(1, json!({})), task(2, json!({"active_flag": false}))]);
    plan.dependencies = vec![dependency(1, 2, 1, json!({})), dependency(2, 1, 60, json!({}))];
    let built = build(&plan);
    assert_eq!((built.plan.links.len(), built.incomplete.len()), (0, 0));
}

#[test]
fn a_parent_that_is_not_there_is_missing_and_an_archived_one_is_not() {
    let tasks = vec![
        task(1, json!({"parent__task_id": id(40)})),
        task(2, json!({"parent__task_id": id(3)})),
        task(3, json!({"active_flag": false})),
    ];
    assert_eq!(build(&input(tasks)).incomplete, [Missing::Parent { task: id(1), parent: id(40) }]);
}

#[test]
fn the_engine_gets_the_settings_of_the_project() {
    let mut plan = input(Vec::new());
    plan.project = ProjectInput::from_row(&row(
        json!({"id": PROJECT, "planned_start_date": "2026-03-02", "status_date": "2026-03-05",
        "honor_constraints_flag": false, "multiple_critical_paths_flag": true, "splits_in_progress_flag": false,
        "reschedule_remaining_flag": true, "critical_slack_days": "1.500", "day_hours": 7.5, "week_hours": 37.5, "month_days": 20}),
    ));
    let built = build(&plan);
    let settings = &built.plan.settings;
    assert!(!settings.honor_constraints && settings.multiple_critical_paths);
    assert!(!settings.split_in_progress && settings.reschedule_remaining);
    assert_eq!(settings.critical_slack_limit, Span(6_750));
    assert_eq!(settings.status_date, Moment::from_civil(2026, 3, 5, 17, 0));
    assert_eq!((built.unit_sizes.day, built.unit_sizes.month), (Span(4_500), Span(90_000)));
}

#[test]
fn derived_columns_have_the_days_of_their_forms() {
    let all_day = CalendarDefinition { times: Calendar::always(), ..CalendarDefinition::default() };
    let mut plan = input(vec![
        task(1, json!({"duration_minutes": 1440})),
        task(
            2,
            json!({"milestone_flag": true, "dl__constraint_type": "Start No Earlier Than", "constraint_ts": "2026-03-05T00:00:00"}),
        ),
    ]);
    plan.project.calendar_id = Some(id(50));
    plan.calendars.calendars.insert(id(50), all_day);
    let columns = derived(&plan, 1).to_row();
    assert_eq!(columns["start_ts"], json!("2026-03-02T00:00:00"));
    assert_eq!(columns["finish_ts"], json!("2026-03-03T00:00:00"));
    assert_eq!((&columns["start_date"], &columns["due_date"]), (&json!("2026-03-02"), &json!("2026-03-02")));
    assert!(!columns.contains_key("duration_minutes"));
    let milestone = derived(&plan, 2).to_row();
    assert_eq!((&milestone["start_date"], &milestone["due_date"]), (&json!("2026-03-05"), &json!("2026-03-05")));
}

#[test]
fn automatic_summaries_derive_duration_and_progress() {
    let mut plan = input(vec![
        task(1, json!({"duration_minutes": 7, "completion_pct": 0})),
        task(
            2,
            json!({"parent__task_id": id(1), "duration_minutes": 960, "completion_pct": 50, "actual_start_date": "2026-03-02"}),
        ),
        task(3, json!({"parent__task_id": id(1), "duration_minutes": 1440})),
    ]);
    plan.dependencies = vec![dependency(1, 2, 3, json!({}))];
    let columns = derived(&plan, 1);
    assert!(columns.is_summary && columns.differs_from(&plan.tasks[0].stored));
    assert_eq!(columns.to_row()["duration_minutes"], json!(2_400));
    assert_eq!(columns.to_row()["completion_pct"], json!(20));
    assert_eq!(derived(&plan, 2).duration, None);
    plan.tasks[0].mode = Mode::Manual;
    assert_eq!(derived(&plan, 1).duration, None);
}

#[test]
fn ten_thousand_tasks_are_built() {
    let tasks: Vec<TaskInput> = (0..10_000)
        .map(|number| {
            let parent = (number % 50 != 0).then(|| id(number - number % 50));
            task(number, json!({"parent__task_id": parent, "duration_minutes": 480 + number % 7 * 60}))
        })
        .collect();
    let mut plan = input(tasks);
    plan.dependencies =
        (1..15_000).map(|number| dependency(number, number % 9_800 + 1, number % 9_800 + 60, json!({}))).collect();
    let started = std::time::Instant::now();
    let built = build(&plan);
    println!("built 10,000 tasks and 15,000 dependencies in {:?} (debug build of tests)", started.elapsed());
    assert_eq!((built.task_count, built.plan.links.len()), (10_000, 14_999));
    let schedule = schedule(&built.plan);
    let columns = (0..10_000).filter_map(|position| built.derived(&schedule, position)).count();
    assert_eq!(columns, 10_000);
}
