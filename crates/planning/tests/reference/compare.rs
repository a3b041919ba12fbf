//! The engine against the slow solver.

use crate::adapter::solve_with_engine;
use crate::cases::{cases, differences};
use crate::generate::*;
use crate::moment::{Tick, show, show_length};
use crate::plan::{Answer, Plan};
use crate::properties::{check_all, for_each_plan};
use crate::shrink::shrink;
use crate::solver::solve;
use crate::text::show_plan;

/// A value of an answer and its name.
type Value = (&'static str, fn(&Answer) -> Tick);

/// Returns the values of two answers that differ.
fn differing(expected: &Answer, found: &Answer) -> Vec<String> {
    let dates: [Value; 6] = [
        ("start", |answer| answer.start),
        ("finish", |answer| answer.finish),
        ("early start", |answer| answer.early_start),
        ("early finish", |answer| answer.early_finish),
        ("late start", |answer| answer.late_start),
        ("late finish", |answer| answer.late_finish),
    ];
    let lengths: [Value; 3] = [
        ("total slack", |answer| answer.total),
        ("free slack", |answer| answer.free),
        ("length", |answer| answer.length),
    ];
    let mut wrong = vec![];
    for (name, value) in dates {
        if value(expected) != value(found) {
            wrong.push(format!("{name} {}, not {}", show(value(found)), show(value(expected))));
        }
    }
    for (name, value) in lengths {
        if value(expected) != value(found) {
            wrong.push(format!("{name} {}, not {}", show_length(value(found)), show_length(value(expected))));
        }
    }
    if expected.is_critical != found.is_critical {
        wrong.push(format!("critical {}, not {}", found.is_critical, expected.is_critical));
    }
    if expected.percent != found.percent {
        wrong.push(format!("percent {}, not {}", found.percent, expected.percent));
    }
    if expected.resume != found.resume {
        let date = |date: Option<Tick>| date.map_or("-".to_owned(), show);
        wrong.push(format!("resume {}, not {}", date(found.resume), date(expected.resume)));
    }
    wrong
}

/// Checks that the engine gives each task the answer of the slow solver.
fn check_equal(plan: &Plan) -> Result<(), String> {
    let (expected, found) = (solve(plan), solve_with_engine(plan));
    let mut wrong = vec![];
    for task in 0..plan.tasks.len() {
        if !plan.leaves(task).is_empty() {
            let values = differing(&expected[task], &found[task]);
            if !values.is_empty() {
                wrong.push(format!("{}: {}", plan.tasks[task].name, values.join("; ")));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

#[test]
fn the_engine_gives_the_dates_of_all_cases() {
    let wrong: Vec<String> =
        cases().iter().flat_map(|case| differences(case, &solve_with_engine(&case.plan))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What plans from the finish may contain in the comparison; the rules do not say how others look
/// from the finish.
const FINISH: Features = FROM_FINISH
    .and(LINK_TYPES)
    .and(LAGS)
    .and(LEADS)
    .and(EXCEPTIONS)
    .and(SUMMARIES)
    .and(SUMMARY_LINKS)
    .and(NOT_EARLIER)
    .and(NOT_LATER)
    .and(UNHONOURED)
    .and(DEADLINES)
    .and(INACTIVE)
    .and(SPLITS)
    .and(MULTIPLE_PATHS)
    .and(SLACK_LIMIT);

const START: Features = Features::ALL.without(FROM_FINISH);

#[test]
fn the_engine_agrees_with_the_slow_solver() {
    check_all(1500, START, 12, &check_equal);
}

/// Random plans that once failed: a link to the finish asks for the same start as another link or
/// the constraint.
#[test]
fn the_engine_agrees_with_the_slow_solver_on_equal_links_to_the_finish() {
    for seed in [72_494, 527_648, 548_272, 575_797] {
        let plan = random_plan(&mut Random::new(seed), START, 12);
        assert_eq!(check_equal(&plan), Ok(()), "seed {seed}");
    }
}

#[test]
fn the_engine_agrees_with_the_slow_solver_from_the_finish() {
    check_all(500, FINISH, 12, &|plan| if plan.from_finish.is_some() { check_equal(plan) } else { Ok(()) });
}

#[test]
fn the_engine_agrees_with_the_slow_solver_on_people_from_the_finish() {
    let features = FROM_FINISH.and(PEOPLE).and(EXCEPTIONS).and(NOT_EARLIER).and(NOT_LATER);
    check_all(300, features, 6, &|plan| {
        let unlinked = Plan { links: vec![], ..plan.clone() };
        if plan.from_finish.is_some() { check_equal(&unlinked) } else { Ok(()) }
    });
}

/// Reports, for each feature alone and for all, how many plans differ, with the smallest. For work
/// on the engine.
#[test]
#[ignore = "prints a report"]
fn report_disagreements_by_feature() {
    let only = std::env::var("PLANNING_FEATURES").ok();
    let base = LINK_TYPES;
    for (bit, name) in FEATURES.iter().enumerate() {
        if only.as_ref().is_some_and(|only| !only.split(',').any(|only| only == *name)) {
            continue;
        }
        report(name, base.and(Features(1 << bit)));
    }
    if only.is_none() {
        report("START", START);
        report("FINISH", FINISH);
    }
}

fn report(name: &str, features: Features) {
    let (mut count, mut failures) = (0, vec![]);
    for_each_plan(400, features, 8, &mut |_, plan| {
        count += 1;
        if check_equal(plan).is_err() {
            failures.push(plan.clone());
        }
    });
    println!("== {name}: {} of {count} plans differ", failures.len());
    for plan in failures.iter().step_by(1 + failures.len() / 6) {
        let smallest = shrink(plan, &|plan| check_equal(plan).is_err());
        println!("{}\n{}\n", show_plan(&smallest), check_equal(&smallest).unwrap_err());
    }
}
