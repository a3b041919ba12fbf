use super::calendars::Calendars;
use super::company::Company;
use super::computed::{Computed, Surroundings, compute};
use super::demo_id::demo_id;
use super::library::{Library, Story};
use super::plan_text::Obstacle;
use super::progress::Progress;
use super::project_rows::project_rows;
use super::{PROJECT_TABLES, Scale, project_text};
use pmo_planning::{Day, LinkKind, Problem, Span};
use pmo_project_plan::{ProjectPlan, baseline};
use std::collections::{BTreeMap, BTreeSet};

const TODAY: (i32, u32, u32) = (2026, 11, 30);

/// Computes all projects of the demo scale around a day and passes each to `check`.
fn for_each_project(today: Day, mut check: impl FnMut(Computed<'_>, &Surroundings<'_>)) {
    let library = Library::read().unwrap();
    let amount = Scale::Demo.amount();
    let calendars = Calendars::around(today);
    let mut company = Company::new(&library, amount.people);
    let mut surroundings =
        Surroundings { today, calendars: &calendars, company: &mut company, businesses: 8, customers: 8 };
    for number in 1..=amount.projects {
        let project = project_text(&library, number);
        let computed = compute(number, &project, &library.plans[project.plan].1, &mut surroundings);
        check(computed, &surroundings);
    }
}

fn today() -> Day {
    Day::from_civil(TODAY.0, TODAY.1, TODAY.2)
}

fn is_sound(plan: &ProjectPlan) -> bool {
    plan.incomplete.is_empty() && plan.faults.is_empty()
}

#[test]
fn ids_are_those_of_the_script() {
    // select md5('pmo demo project 1')::uuid
    assert_eq!(demo_id("project", 1).to_string(), "cfc31ded-aa87-b941-da74-03e116c46624");
}

#[test]
fn each_project_has_a_sound_plan_without_rings() {
    for_each_project(today(), |computed, _| {
        let name = &computed.draft.text.name;
        for timeline in [&computed.baseline, &computed.current] {
            assert!(is_sound(&timeline.plan), "{name}: {:?} {:?}", timeline.plan.incomplete, timeline.plan.faults);
            for problem in &timeline.schedule.problems {
                assert!(
                    matches!(
                        problem,
                        Problem::DeadlineMissed(_) | Problem::ConstraintBeatsLink { .. } | Problem::LinkBroken(_)
                    ),
                    "{name}: {problem:?}"
                );
            }
        }
        let broken = computed.baseline.schedule.problems.len();
        assert_eq!(broken, 0, "{name}: the agreed plan has problems: {:?}", computed.baseline.schedule.problems);
    });
}

#[test]
fn plans_have_slipped_by_at_most_fifteen_working_days() {
    let mut slips = BTreeMap::new();
    for_each_project(today(), |computed, _| {
        let slip = computed.slip_days();
        let range = match computed.draft.text.story {
            Story::Late => 0..=15,
            Story::Steady => -2..=8,
            Story::Early => -12..=2,
        };
        assert!(range.contains(&slip), "{}: {slip}", computed.draft.text.name);
        slips.insert(computed.draft.number, slip);
    });
    assert!(slips.values().filter(|slip| **slip > 0).count() >= 10, "{slips:?}");
    assert!(slips.values().any(|slip| *slip < 0), "{slips:?}");
}

#[test]
fn progress_agrees_with_links_and_today() {
    let (mut overdue, mut blocked, mut in_progress) = (0, 0, 0);
    for_each_project(today(), |computed, _| {
        let name = &computed.draft.text.name;
        for (task, text) in computed.draft.plan.tasks.iter().enumerate() {
            if text.length.is_none() {
                continue;
            }
            let (start, finish) = (computed.current.start(task), computed.current.finish(task));
            match computed.progress[task] {
                Progress::NotStarted => assert!(start >= computed.now, "{name}: {} should have begun", text.name),
                Progress::Finished => assert!(finish <= computed.now, "{name}: {} ends later", text.name),
                Progress::Started { obstacle, .. } => {
                    assert!(start < computed.now, "{name}: {}", text.name);
                    in_progress += 1;
                    overdue += usize::from(finish <= computed.now);
                    blocked += usize::from(obstacle == Obstacle::Blocked);
                }
            }
            let begun = computed.progress[task] != Progress::NotStarted;
            for before in text.predecessors.iter().filter(|before| begun && before.lag.span >= Span::ZERO) {
                let done = computed.progress[before.task];
                let is_summary = computed.draft.plan.tasks[before.task].length.is_none();
                let holds = is_summary
                    || match before.kind {
                        LinkKind::FinishToStart => done == Progress::Finished,
                        LinkKind::StartToStart => done != Progress::NotStarted,
                        LinkKind::FinishToFinish | LinkKind::StartToFinish => true,
                    };
                let before = &computed.draft.plan.tasks[before.task].name;
                assert!(holds, "{name}: {} has begun before {before}", text.name);
            }
        }
    });
    assert!(in_progress >= 60 && overdue >= 8 && blocked >= 5, "{in_progress} {overdue} {blocked}");
}

#[test]
fn people_have_believable_loads() {
    let mut hours: BTreeMap<String, BTreeMap<i32, f64>> = BTreeMap::new();
    for_each_project(today(), |computed, _| {
        for row in &computed.draft.assignments {
            let Some(employee) = row["employee_id"].as_str() else { continue };
            let task = computed.draft.tasks.iter().position(|task| task["id"] == row["task_id"]).unwrap();
            let (from, to) = (computed.current.start(task).day().0, computed.current.finish(task).day().0);
            let per_day = row["work_hours"].as_f64().unwrap() / f64::from(to - from + 1);
            for day in from..=to {
                *hours.entry(employee.to_owned()).or_default().entry(day / 7).or_default() += per_day;
            }
        }
    });
    assert!(hours.len() >= 65, "{} of 76 people have work", hours.len());
    let now = today().0 / 7;
    let weeks = hours.values().flat_map(|weeks| weeks.iter()).filter(|(week, _)| (now - 26..now + 26).contains(*week));
    let weeks: Vec<f64> = weeks.map(|(_, hours)| *hours).collect();
    let overloaded = weeks.iter().filter(|hours| **hours > 60.0).count();
    assert!(overloaded * 10 < weeks.len(), "{overloaded} of {} weeks have more than 60 hours", weeks.len());
}

#[test]
fn baseline_of_a_late_project_differs_from_its_present_plan() {
    for_each_project(today(), |computed, surroundings| {
        let slip = computed.slip_days();
        let time = computed.working_time();
        let current = baseline::take(&computed.current.plan, &computed.current.schedule, &BTreeMap::new());
        let tables = project_rows(computed, surroundings);
        for row in tables.get("baseline").into_iter().flatten() {
            let snapshot = baseline::Snapshot::from_json(&row["snapshot"]);
            let comparison = baseline::compare(&snapshot, &current, &time);
            assert!(comparison.added.is_empty() && comparison.removed.is_empty());
            assert_eq!(comparison.finish.0 / Span::hours(8).0, slip);
        }
    });
}

#[test]
fn rows_are_the_same_in_each_run_and_have_unique_ids() {
    let mut first = Vec::new();
    let mut ids = BTreeSet::new();
    for_each_project(today(), |computed, surroundings| {
        let tables = project_rows(computed, surroundings);
        assert!(tables.keys().all(|table| PROJECT_TABLES.contains(table)), "{:?}", tables.keys());
        for row in tables.values().flatten() {
            assert!(ids.insert(row["id"].as_str().unwrap().to_owned()), "{row:?}");
        }
        first.push(tables);
    });
    let mut runs = first.into_iter();
    for_each_project(today(), |computed, surroundings| {
        assert_eq!(Some(project_rows(computed, surroundings)), runs.next());
    });
}

#[test]
fn any_day_can_be_today() {
    for (year, month, day) in [(2024, 2, 29), (2026, 1, 1), (2026, 12, 25), (2027, 4, 4), (2031, 8, 15)] {
        for_each_project(Day::from_civil(year, month, day), |computed, _| {
            let name = &computed.draft.text.name;
            assert!(is_sound(&computed.current.plan), "{name}");
            assert!((-15..=18).contains(&computed.slip_days()), "{name}: {}", computed.slip_days());
        });
    }
}
