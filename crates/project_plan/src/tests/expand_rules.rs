//! Typed values become inputs.

use super::*;
use crate::gantt_edit::{self, LagEntry, LinkError};
use crate::{
    CalendarDefinition, ConstraintType, DurationUnit, EditError, ImpliedChange, Percent, UnitSizes,
    expand_dependency_patch, expand_patch, remove_derived,
};
use pmo_planning::{Calendar, Day, Direction, HourRange, LinkKind, Moment, Span};

/// Project with the rows of its tasks, which edits change.
struct Fixture {
    input: PlanInput,
    rows: Vec<Row>,
}

impl Fixture {
    /// Returns a project with tasks numbered from 1.
    fn new(tasks: &[Value]) -> Self {
        let rows: Vec<Row> = (1..).zip(tasks).map(|(number, columns)| task_row(number, columns.clone())).collect();
        let mut fixture = Self { input: input(Vec::new()), rows };
        fixture.read();
        fixture
    }

    fn read(&mut self) {
        self.input.tasks = self.rows.iter().map(TaskInput::from_row).collect();
    }

    fn row_index(&self, number: u128) -> Option<usize> {
        self.rows.iter().position(|row| row["id"] == json!(id(number)))
    }

    /// Expands a patch of the n-th task, without applying it.
    fn expand(&self, number: u128, patch: Value) -> Result<(Row, Vec<ImpliedChange>), EditError> {
        let mut patch = row(patch);
        let before = self.row_index(number).map(|index| &self.rows[index]);
        let context = context(&self.input, number);
        let implied = expand_patch(&mut patch, before, &context)?;
        let mut again = patch.clone();
        assert_eq!(expand_patch(&mut again, before, &context), Ok(Vec::new()), "expanding again implies nothing");
        assert_eq!(again, patch, "expanding again changes nothing");
        Ok((patch, implied))
    }

    /// Expands a patch and applies it; returns the implied changes.
    fn edit(&mut self, number: u128, patch: Value) -> Result<Vec<ImpliedChange>, EditError> {
        let (patch, implied) = self.expand(number, patch)?;
        self.apply(number, &patch);
        Ok(implied)
    }

    fn apply(&mut self, number: u128, patch: &Row) {
        let index = self.row_index(number).unwrap_or_else(|| {
            self.rows.push(task_row(number, json!({})));
            self.rows.len() - 1
        });
        self.rows[index].extend(patch.clone());
        self.read();
    }

    fn dates(&self, number: u128) -> String {
        dates(&self.input, number)
    }
}

fn at(day: u32, hour: u32) -> Moment {
    Moment::from_civil(2026, 3, day, hour, 0)
}

#[test]
fn a_typed_start_is_a_constraint_and_null_removes_it() {
    let mut plan = Fixture::new(&[json!({"duration_minutes": 960})]);
    let implied = plan.edit(1, json!({"start_date": "2026-03-09"})).expect("an edit");
    let set = ImpliedChange::ConstraintSet {
        constraint: ConstraintType::StartNoEarlierThan,
        date: at(9, 8),
        before: ConstraintType::AsSoonAsPossible,
        date_before: Moment::NONE,
    };
    let undo = set.undo_patch().expect("a constraint can be removed");
    assert_eq!(undo, row(json!({"dl__constraint_type": "As Soon As Possible", "constraint_ts": null})));
    assert_eq!(implied, [set]);
    assert_eq!(plan.dates(1), "03-09 08:00 > 03-10 17:00");
    let implied = plan.edit(1, json!({"start_date": null})).expect("an edit");
    let removed =
        ImpliedChange::ConstraintRemoved { before: ConstraintType::StartNoEarlierThan, date_before: at(9, 8) };
    assert_eq!(implied, [removed]);
    assert_eq!(plan.dates(1), "03-02 08:00 > 03-03 17:00");
}

#[test]
fn a_typed_finish_is_a_duration_or_an_earlier_start() {
    let mut plan = Fixture::new(&[json!({"duration_minutes": 960, "estimated_flag": true})]);
    let implied = plan.edit(1, json!({"due_date": "2026-03-09"})).expect("an edit");
    let duration = Span::hours(48);
    assert_eq!(implied, [ImpliedChange::DurationSet { duration, before: Some(Span::hours(16)) }]);
    assert_eq!(plan.dates(1), "03-02 08:00 > 03-09 17:00");
    assert_eq!(plan.rows[0]["estimated_flag"], json!(false));
    // A finish on a Sunday is the end of the Friday before.
    plan.edit(1, json!({"due_date": "2026-03-08"})).expect("an edit");
    assert_eq!(plan.dates(1), "03-02 08:00 > 03-06 17:00");
    plan.edit(1, json!({"start_date": "2026-03-04", "due_date": "2026-03-06"})).expect("an edit");
    assert_eq!(plan.dates(1), "03-04 08:00 > 03-06 17:00", "the present finish is stated too");
    plan.edit(1, json!({"start_date": "2026-03-16", "due_date": "2026-03-17"})).expect("an edit");
    assert_eq!(plan.dates(1), "03-16 08:00 > 03-17 17:00");
    let implied = plan.edit(1, json!({"due_date": "2026-03-12"})).expect("an edit");
    assert!(matches!(implied[..], [ImpliedChange::ConstraintSet { .. }]), "{implied:?}");
    assert_eq!(plan.dates(1), "03-11 08:00 > 03-12 17:00");
    let wrong = plan.edit(1, json!({"start_date": "2026-03-16", "due_date": "2026-03-13"}));
    assert_eq!(wrong, Err(EditError::FinishBeforeStart));
}

#[test]
fn the_finish_of_a_milestone_is_a_constraint() {
    let mut plan = Fixture::new(&[json!({"milestone_flag": true})]);
    plan.edit(1, json!({"due_date": "2026-03-09"})).expect("an edit");
    assert_eq!(plan.rows[0]["dl__constraint_type"], json!("Finish No Earlier Than"));
    assert_eq!(plan.dates(1), "03-09 17:00 > 03-09 17:00");
}

#[test]
fn inputs_that_the_patch_states_win() {
    let plan = Fixture::new(&[json!({"duration_minutes": 960})]);
    let patch = json!({"start_date": "2026-03-09", "due_date": "2026-03-20", "duration_minutes": 60,
        "dl__constraint_type": "Must Start On", "constraint_ts": "2026-03-10T08:00:00"});
    assert_eq!(plan.expand(1, patch.clone()), Ok((row(patch), Vec::new())));
}

#[test]
fn values_that_the_task_has_imply_nothing() {
    let plan = Fixture::new(&[json!({"duration_minutes": 960, "completion_pct": 0})]);
    let same = json!({"start_date": "2026-03-02", "due_date": "2026-03-03", "completion_pct": 0});
    assert_eq!(plan.expand(1, same.clone()), Ok((row(same), Vec::new())));
}

#[test]
fn a_new_task_takes_its_typed_dates() {
    let mut plan = Fixture::new(&[]);
    plan.edit(1, json!({"project_id": PROJECT, "start_date": "2026-03-04", "due_date": "2026-03-06"}))
        .expect("an edit");
    assert_eq!(plan.dates(1), "03-04 08:00 > 03-06 17:00");
    plan.edit(2, json!({"project_id": PROJECT, "due_date": "2026-03-06"})).expect("an edit");
    assert_eq!(plan.dates(2), "03-02 08:00 > 03-06 17:00");
    plan.input.project.new_tasks_manual = true;
    let dated = json!({"project_id": PROJECT, "start_date": "2026-03-07", "due_date": "2026-03-10"});
    let implied = plan.edit(3, dated).expect("an edit");
    assert_eq!(implied.first(), Some(&ImpliedChange::ManualMode));
    assert_eq!(plan.dates(3), "03-07 00:00 > 03-10 17:00");
    let existing = plan.expand(3, json!({"completion_pct": 10})).expect("an edit").0;
    assert!(!existing.contains_key("dl__schedule_mode"));
}

#[test]
fn typed_values_of_a_summary_that_follow_from_its_tasks_are_refused() {
    let mut plan = Fixture::new(&[
        json!({"duration_minutes": 480, "completion_pct": 0}),
        json!({"parent__task_id": id(1), "duration_minutes": 960}),
    ]);
    for (column, value) in [
        ("due_date", json!("2026-03-20")),
        ("duration_days", json!(3)),
        ("duration_minutes", json!(60)),
        ("completion_pct", json!(50)),
    ] {
        let refused = plan.expand(1, json!({column: value}));
        assert_eq!(refused, Err(EditError::SummaryIsComputed { column }));
    }
    assert!(plan.expand(1, json!({"due_date": "2026-03-03", "completion_pct": 0})).is_ok(), "the present values");
    plan.edit(1, json!({"start_date": "2026-03-10"})).expect("a start holds all tasks below");
    assert_eq!(plan.dates(2), "03-10 08:00 > 03-11 17:00");
}

#[test]
fn manual_tasks_take_typed_dates_as_they_are() {
    let mut plan = Fixture::new(&[json!({"duration_minutes": 960})]);
    let implied = plan.edit(1, json!({"dl__schedule_mode": "Manual"})).expect("an edit");
    assert_eq!(implied, [ImpliedChange::ManualDatesSet { start: at(2, 8), finish: at(3, 17) }]);
    plan.edit(1, json!({"start_date": "2026-03-05"})).expect("an edit");
    assert_eq!(plan.dates(1), "03-05 08:00 > 03-06 17:00", "the finish would be before the start");
    plan.edit(1, json!({"due_date": "2026-03-10"})).expect("an edit");
    assert_eq!(plan.dates(1), "03-05 08:00 > 03-10 17:00");
    assert_eq!(plan.rows[0]["duration_minutes"], json!(4 * 480));
    plan.edit(1, json!({"duration_days": 1})).expect("an edit");
    assert_eq!(plan.dates(1), "03-05 08:00 > 03-05 17:00");
    plan.edit(1, json!({"due_date": "2026-03-03"})).expect("an edit");
    assert_eq!(plan.dates(1), "03-03 08:00 > 03-03 17:00");
    assert_eq!(
        plan.expand(1, json!({"start_date": "2026-03-05", "due_date": "2026-03-04"})),
        Err(EditError::FinishBeforeStart)
    );
}

#[test]
fn days_become_minutes_in_the_units_of_the_project() {
    let mut plan = Fixture::new(&[json!({})]);
    plan.input.project.day = Span::hours(6);
    plan.edit(1, json!({"duration_days": "1.5"})).expect("an edit");
    assert_eq!(plan.rows[0]["duration_minutes"], json!(540));
    plan.edit(1, json!({"duration_days": 2, "duration_unit": "ed"})).expect("an edit");
    assert_eq!(plan.rows[0]["duration_minutes"], json!(2_880));
    plan.edit(1, json!({"duration_days": null})).expect("an edit");
    assert_eq!(plan.rows[0]["duration_minutes"], Value::Null);
    for (days, error) in [
        (json!("x"), EditError::Invalid { column: "duration_days" }),
        (json!(-1), EditError::OutOfRange { column: "duration_days" }),
        (json!(9_999_999), EditError::OutOfRange { column: "duration_days" }),
    ] {
        assert_eq!(plan.expand(1, json!({"duration_days": days})), Err(error));
    }
    assert_eq!(plan.expand(1, json!({"start_date": "soon"})), Err(EditError::Invalid { column: "start_date" }));
    let mut lag = row(json!({"lag_days": -0.5}));
    let before = row(json!({"lag_pct": 50, "lag_unit": "%"}));
    expand_dependency_patch(&mut lag, Some(&before), &UnitSizes::default()).expect("a lag");
    assert_eq!(lag, row(json!({"lag_days": -0.5, "lag_minutes": -240, "lag_pct": null, "lag_unit": "d"})));
}

#[test]
fn a_percentage_sets_the_actual_dates() {
    let mut plan = Fixture::new(&[
        json!({"duration_minutes": 1920, "actual_duration_minutes": 60, "stop_ts": "2026-03-02T09:00:00"}),
    ]);
    let implied = plan.edit(1, json!({"completion_pct": 50})).expect("an edit");
    assert_eq!(implied, [ImpliedChange::ActualDurationRemoved, ImpliedChange::ActualStartSet(at(2, 8))]);
    assert_eq!((&plan.rows[0]["actual_start_date"], &plan.rows[0]["stop_ts"]), (&json!("2026-03-02"), &Value::Null));
    let implied = plan.edit(1, json!({"completion_pct": 100})).expect("an edit");
    assert_eq!(implied, [ImpliedChange::ActualFinishSet(at(5, 17))]);
    assert_eq!(plan.rows[0]["actual_end_ts"], json!("2026-03-05T17:00:00"));
    assert_eq!(derived(&plan.input, 1).remaining_duration, Some(Span::ZERO));
    let implied = plan.edit(1, json!({"completion_pct": 25})).expect("an edit");
    assert_eq!(implied, [ImpliedChange::ActualFinishSet(Moment::NONE)]);
    assert_eq!(derived(&plan.input, 1).remaining_duration, Some(Span::hours(24)));
    plan.edit(1, json!({"completion_pct": 0})).expect("an edit");
    assert_eq!(plan.rows[0]["actual_start_date"], Value::Null);
}

#[test]
fn the_finish_counts_the_days_on_which_the_person_works() {
    let short = Calendar::with_week(1..=4, &[HourRange::hours(9, 13)]);
    let mut plan = Fixture::new(&[json!({"duration_minutes": 480, "assignee__employee_ids": [id(80)]})]);
    plan.input.calendars.calendars.insert(id(50), CalendarDefinition { times: short, ..CalendarDefinition::default() });
    plan.input.calendars.employees.insert(id(80), id(50));
    plan.edit(1, json!({"due_date": "2026-03-10"})).expect("an edit");
    assert_eq!(plan.dates(1), "03-02 09:00 > 03-10 13:00");
    assert_eq!(plan.rows[0]["duration_minutes"], json!(6 * 240));
}

#[test]
fn from_the_finish_typed_dates_are_latest_dates() {
    let mut plan = Fixture::new(&[json!({"duration_minutes": 960})]);
    plan.input.project.schedule_from = Direction::FromFinish;
    plan.input.project.planned_end_date = Some(Day::from_civil(2026, 3, 13));
    assert_eq!(plan.dates(1), "03-12 08:00 > 03-13 17:00");
    plan.edit(1, json!({"due_date": "2026-03-11"})).expect("an edit");
    assert_eq!(plan.dates(1), "03-10 08:00 > 03-11 17:00");
    plan.edit(1, json!({"start_date": "2026-03-09"})).expect("an edit");
    assert_eq!(plan.dates(1), "03-09 08:00 > 03-10 17:00");
}

#[test]
fn tasks_that_are_not_scheduled_keep_typed_dates() {
    for unscheduled in
        [json!({"project_id": null}), json!({"active_flag": false}), json!({"dl__schedule_mode": "Inactive"})]
    {
        let plan = Fixture::new(std::slice::from_ref(&unscheduled));
        let typed = row(json!({"start_date": "2026-03-09", "due_date": "2026-03-10"}));
        let mut patch = typed.clone();
        let project =
            EditContext { project: Some(&plan.input.project), calendars: &plan.input.calendars, current: None };
        assert_eq!(expand_patch(&mut patch, Some(&plan.rows[0]), &project), Ok(Vec::new()));
        remove_derived(&mut patch, Some(&plan.rows[0]));
        assert_eq!(patch, typed, "{unscheduled}");
        remove_derived(&mut patch, Some(&task_row(1, json!({}))));
        assert_eq!(patch, Row::new());
    }
}

#[test]
fn dragging_a_bar_moves_the_task() {
    let mut plan = Fixture::new(&[json!({"duration_minutes": 960})]);
    let edit = |plan: &Fixture, start| gantt_edit::move_task(&plan.input.tasks[0], &context(&plan.input, 1), start);
    let moved = edit(&plan, at(7, 10)).expect("an edit");
    assert!(matches!(moved.implied[..], [ImpliedChange::ConstraintSet { .. }]));
    plan.apply(1, &moved.patch);
    assert_eq!(plan.dates(1), "03-09 08:00 > 03-10 17:00", "Saturday is free");
    plan.apply(1, &row(json!({"actual_start_date": "2026-03-09"})));
    let moved = edit(&plan, at(10, 10)).expect("an edit");
    assert_eq!(moved.implied, [ImpliedChange::ActualStartSet(at(10, 10))]);
    plan.apply(1, &moved.patch);
    assert_eq!(plan.dates(1), "03-10 10:00 > 03-12 10:00");
    plan.apply(1, &row(json!({"dl__schedule_mode": "Inactive"})));
    assert_eq!(edit(&plan, at(10, 10)), Err(EditError::NotScheduled));
}

#[test]
fn dragging_an_end_changes_the_duration() {
    let mut plan = Fixture::new(&[json!({"duration_minutes": 960}), json!({"parent__task_id": id(3)}), json!({})]);
    let task = |plan: &Fixture, number: u128| plan.input.tasks[usize::try_from(number - 1).unwrap()].clone();
    let edit = gantt_edit::resize_finish(&task(&plan, 1), &context(&plan.input, 1), at(4, 12)).expect("an edit");
    plan.apply(1, &edit.patch);
    assert_eq!(plan.dates(1), "03-02 08:00 > 03-04 12:00");
    let edit = gantt_edit::resize_start(&task(&plan, 1), &context(&plan.input, 1), at(3, 13)).expect("an edit");
    plan.apply(1, &edit.patch);
    assert_eq!(plan.dates(1), "03-03 13:00 > 03-04 12:00");
    let crossed = gantt_edit::resize_start(&task(&plan, 1), &context(&plan.input, 1), at(5, 8));
    assert_eq!(crossed, Err(EditError::FinishBeforeStart));
    let summary = gantt_edit::resize_finish(&task(&plan, 3), &context(&plan.input, 3), at(5, 8));
    assert_eq!(summary, Err(EditError::SummaryIsComputed { column: "due_date" }));
    let done = gantt_edit::set_progress(&task(&plan, 1), &context(&plan.input, 1), Percent(5_000)).expect("an edit");
    plan.apply(1, &done.patch);
    assert_eq!(derived(&plan.input, 1).remaining_duration, Some(Span::hours(4)));
}

#[test]
fn stated_work_follows_a_new_duration() {
    let people = [assignment(1, 1, json!({"employee_id": id(80), "units_pct": 50, "work_hours": 8}))];
    let after = |kind: &str| {
        let task = task(1, json!({"duration_minutes": 1920, "dl__effort_type": kind}));
        gantt_edit::rescale_work(&task, &people, Span::hours(16))
    };
    assert_eq!(after("Fixed Units"), [(people[0].id, row(json!({"work_hours": 16})))]);
    assert_eq!(after("Fixed Work"), [(people[0].id, row(json!({"units_pct": 25})))]);
}

#[test]
fn links_that_cannot_be_are_refused_with_their_path() {
    let mut plan = Fixture::new(&[json!({}), json!({}), json!({"parent__task_id": id(2)}), json!({})]);
    plan.input.dependencies = vec![dependency(1, 1, 2, json!({})), dependency(2, 3, 4, json!({}))];
    let built = build(&plan.input);
    let check = |before, after| gantt_edit::check_link(&built, id(before), id(after));
    assert_eq!(check(1, 1), Err(LinkError::Itself));
    assert_eq!(check(2, 3), Err(LinkError::SummaryAndDescendant));
    assert_eq!(check(1, 2), Err(LinkError::Duplicate(Uuid::from_u128(0x2001))));
    assert_eq!(check(4, 1), Err(LinkError::Ring([1, 2, 3, 4].map(id).to_vec())));
    assert_eq!(check(1, 9), Err(LinkError::UnknownTask(id(9))));
    assert_eq!(check(1, 4), Ok(()));
    let lag = LagEntry::Time(Span::hours(48), DurationUnit::ElapsedDays);
    let row = gantt_edit::link(&built, id(1), id(4), LinkKind::StartToStart, lag).expect("a link");
    let stored = DependencyInput::from_row(&row);
    assert_eq!((stored.kind, LagEntry::of(&stored)), (LinkKind::StartToStart, lag));
    let percent = LagEntry::ElapsedPercent(Percent(-1_250));
    assert_eq!(
        LagEntry::of(&DependencyInput::from_row(&gantt_edit::relag(LinkKind::FinishToFinish, percent))),
        percent
    );
}
