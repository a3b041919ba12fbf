//! Promises that hold for every plan, checked on random plans.

use crate::adapter::solve_with_engine;
use crate::generate::*;
use crate::moment::{DAY, Tick, at};
use crate::plan::{Answer, Constraint, Kind, Lag, Link, Mode, Plan, Task};
use crate::shrink::shrink;
use crate::solver::solve;
use crate::text::show_plan;

pub(crate) type Solve = fn(&Plan) -> Vec<Answer>;

/// Returns the number of random plans of a test: `usual`, or what `PLANNING_CASES` says.
pub(crate) fn cases(usual: u64) -> u64 {
    std::env::var("PLANNING_CASES").map_or(usual, |text| text.parse().expect("PLANNING_CASES is not a number"))
}

/// Returns the seed of the first random plan: 0, or what `PLANNING_SEED` says.
pub(crate) fn first_seed() -> u64 {
    std::env::var("PLANNING_SEED").map_or(0, |text| text.parse().expect("PLANNING_SEED is not a number"))
}

/// Hands random plans with their seeds to a function.
pub(crate) fn for_each_plan(usual: u64, features: Features, max: usize, each: &mut dyn FnMut(u64, &Plan)) {
    for seed in first_seed()..first_seed() + cases(usual) {
        each(seed, &random_plan(&mut Random::new(seed), features, max));
    }
}

/// Checks random plans; the message of a failure has the smallest plan found that fails.
pub(crate) fn check_all(usual: u64, features: Features, max: usize, check: &dyn Fn(&Plan) -> Result<(), String>) {
    for_each_plan(usual, features, max, &mut |seed, plan| {
        if check(plan).is_err() {
            let smallest = shrink(plan, &|plan| check(plan).is_err());
            let message = check(&smallest).unwrap_err();
            panic!("seed {seed}: {message}\n{}", show_plan(&smallest));
        }
    });
}

/// Returns the positions of the tasks that take part and have no children.
pub(crate) fn leaves(plan: &Plan) -> Vec<usize> {
    (0..plan.tasks.len()).filter(|&task| !plan.is_summary(task) && !plan.is_inactive(task)).collect()
}

// Slack
// --------------------------------------------------------------------------------------------

fn check_slack(plan: &Plan, solve: Solve) -> Result<(), String> {
    let answers = solve(plan);
    for task in leaves(plan) {
        let Answer { total, free, .. } = answers[task];
        let is_right = 0 <= free && free <= total.max(0);
        if !is_right {
            return Err(format!("{}: total slack {total}, free slack {free}", plan.tasks[task].name));
        }
    }
    Ok(())
}

const FIXING: Features =
    NOT_LATER.and(MUST).and(DEADLINES).and(MANUAL).and(STARTED).and(FINISHED).and(FROM_FINISH).and(ALAP);

/// Returns whether a link to the finish leads to a task with a date before which it cannot start or
/// finish.
///
/// Such a finish is written as the link asks for it, also on free time.
fn has_finish_as_asked(plan: &Plan) -> bool {
    let is_dated =
        |task: &Task| matches!(task.constraint, Constraint::StartNoEarlier(_) | Constraint::FinishNoEarlier(_));
    let to_finish = |link: &&Link| matches!(link.kind, Kind::FinishFinish | Kind::StartFinish);
    plan.links.iter().filter(to_finish).any(|link| plan.leaves(link.to).iter().any(|&leaf| is_dated(&plan.tasks[leaf])))
}

fn check_early_before_late(plan: &Plan, solve: Solve) -> Result<(), String> {
    if has_finish_as_asked(plan) {
        return Ok(());
    }
    let answers = solve(plan);
    for task in leaves(plan) {
        let answer = answers[task];
        if answer.early_start > answer.late_start || answer.early_finish > answer.late_finish {
            return Err(format!("{}: early dates after late dates: {answer:?}", plan.tasks[task].name));
        }
    }
    Ok(())
}

// Facts
// --------------------------------------------------------------------------------------------

/// Checks that manual and actual dates are the dates of the schedule.
fn check_facts(plan: &Plan, solve: Solve) -> Result<(), String> {
    let answers = solve(plan);
    for task in leaves(plan) {
        let (data, answer) = (&plan.tasks[task], answers[task]);
        let (start, finish) = match data.mode {
            Mode::Manual { start, finish } => (Some(start), Some(finish)),
            _ => (data.actual_start, data.actual_finish),
        };
        let is_right =
            answer.start == start.unwrap_or(answer.start) && answer.finish == finish.unwrap_or(answer.finish);
        if !is_right {
            return Err(format!("{}: another date than entered: {answer:?}", data.name));
        }
    }
    Ok(())
}

// Links
// --------------------------------------------------------------------------------------------

fn check_added_link(plan: &Plan, solve: Solve) -> Result<(), String> {
    let Some((last, others)) = plan.links.split_last() else { return Ok(()) };
    let before = solve(&Plan { links: others.to_vec(), ..plan.clone() });
    let after = solve(plan);
    for task in leaves(plan) {
        let is_earlier =
            after[task].early_start < before[task].early_start || after[task].early_finish < before[task].early_finish;
        if is_earlier {
            let name = &plan.tasks[task].name;
            return Err(format!("{name} becomes earlier by {last:?}: {:?}, {:?}", before[task], after[task]));
        }
    }
    Ok(())
}

// Shift by a week
// ----------------------------------------------------------------------------------

/// Applies a change to each moment that a plan states; calendars stay.
pub(crate) fn map_moments(plan: &Plan, change: &dyn Fn(Tick) -> Tick) -> Plan {
    let mut plan = plan.clone();
    plan.start = change(plan.start);
    plan.from_finish = plan.from_finish.map(change);
    plan.status = plan.status.map(change);
    for task in &mut plan.tasks {
        task.deadline = task.deadline.map(change);
        task.actual_start = task.actual_start.map(change);
        task.actual_finish = task.actual_finish.map(change);
        task.resume = task.resume.map(change);
        if let Mode::Manual { start, finish } = task.mode {
            task.mode = Mode::Manual { start: change(start), finish: change(finish) };
        }
        task.constraint = match task.constraint {
            Constraint::Asap => Constraint::Asap,
            Constraint::Alap => Constraint::Alap,
            Constraint::MustStart(date) => Constraint::MustStart(change(date)),
            Constraint::MustFinish(date) => Constraint::MustFinish(change(date)),
            Constraint::StartNoEarlier(date) => Constraint::StartNoEarlier(change(date)),
            Constraint::StartNoLater(date) => Constraint::StartNoLater(change(date)),
            Constraint::FinishNoEarlier(date) => Constraint::FinishNoEarlier(change(date)),
            Constraint::FinishNoLater(date) => Constraint::FinishNoLater(change(date)),
        };
    }
    plan
}

fn check_shift(plan: &Plan, solve: Solve) -> Result<(), String> {
    let week = |moment: Tick| moment + 7 * DAY;
    let shifted = solve(&map_moments(plan, &week));
    for (task, answer) in solve(plan).into_iter().enumerate().filter(|(task, _)| !plan.leaves(*task).is_empty()) {
        let expected = Answer {
            start: week(answer.start),
            finish: week(answer.finish),
            early_start: week(answer.early_start),
            early_finish: week(answer.early_finish),
            late_start: week(answer.late_start),
            late_finish: week(answer.late_finish),
            resume: answer.resume.map(week),
            ..answer
        };
        if shifted[task] != expected {
            return Err(format!("{}: {:?}, not {expected:?}", plan.tasks[task].name, shifted[task]));
        }
    }
    Ok(())
}

// Mirror
// -------------------------------------------------------------------------------------------

/// Returns the moment mirrored in time: Monday 08:00 becomes Friday 17:00, 12:00 becomes 13:00.
///
/// The calendar Standard is its own mirror image.
fn mirror(moment: Tick) -> Tick {
    at("Mon 2 Mar 08:00") + at("Fri 29 May 17:00") - moment
}

/// Returns the plan scheduled from its finish whose dates are those of `plan` mirrored.
fn mirrored(plan: &Plan) -> Plan {
    let mut image = map_moments(plan, &mirror);
    image.from_finish = Some(image.start);
    for task in &mut image.tasks {
        task.constraint = match task.constraint {
            Constraint::MustStart(date) => Constraint::MustFinish(date),
            Constraint::MustFinish(date) => Constraint::MustStart(date),
            Constraint::StartNoEarlier(date) => Constraint::FinishNoLater(date),
            Constraint::StartNoLater(date) => Constraint::FinishNoEarlier(date),
            Constraint::FinishNoEarlier(date) => Constraint::StartNoLater(date),
            Constraint::FinishNoLater(date) => Constraint::StartNoEarlier(date),
            other => other,
        };
    }
    for link in &mut image.links {
        let kind = match link.kind {
            Kind::StartStart => Kind::FinishFinish,
            Kind::FinishFinish => Kind::StartStart,
            same => same,
        };
        *link = Link { from: link.to, to: link.from, kind, lag: link.lag };
    }
    image
}

const MIRRORED: Features = LINK_TYPES
    .and(LAGS)
    .and(LEADS)
    .and(ELAPSED_LAGS)
    .and(SUMMARIES)
    .and(SUMMARY_LINKS)
    .and(NOT_EARLIER)
    .and(NOT_LATER)
    .and(MUST)
    .and(INACTIVE);

fn check_mirror(plan: &Plan, solve: Solve) -> Result<(), String> {
    // A finish that a link asks for on free time counts as the work before that time: there is no
    // mirror image. Links of type FF and SF to a summary are not defined.
    let has_image = |link: &Link| match link.kind {
        Kind::FinishStart => true,
        Kind::FinishFinish => !matches!(link.lag, Lag::Elapsed(_)),
        Kind::StartStart | Kind::StartFinish => !matches!(link.lag, Lag::Elapsed(_)) && !plan.is_summary(link.from),
    };
    // A date that lets a task start before the project beats the project start, but not the project
    // finish.
    let is_late = |task: &Task| match task.constraint {
        Constraint::StartNoEarlier(date) => date >= plan.start,
        Constraint::FinishNoEarlier(date) => date >= plan.start + 14 * DAY,
        _ => true,
    };
    if !plan.links.iter().all(has_image) || !plan.tasks.iter().all(is_late) || has_finish_as_asked(plan) {
        return Ok(());
    }
    let (answers, image) = (solve(plan), solve(&mirrored(plan)));
    for task in leaves(plan) {
        let expected = (mirror(answers[task].finish), mirror(answers[task].start));
        let found = (image[task].start, image[task].finish);
        if found != expected {
            let (start, finish) = (crate::moment::show(expected.0), crate::moment::show(expected.1));
            let name = &plan.tasks[task].name;
            let of = show_plan(&mirrored(plan));
            return Err(format!("{name}: expected {start} > {finish}, found {:?}\nimage: {of}", image[task]));
        }
    }
    Ok(())
}

#[test]
fn the_reference_solver_solves_every_plan() {
    check_all(1000, Features::ALL.without(ALAP), 12, &|plan| check_slack(plan, solve));
}

#[test]
fn the_reference_solver_keeps_early_dates_before_late_dates() {
    check_all(1000, Features::ALL.without(FIXING), 12, &|plan| check_early_before_late(plan, solve));
}

#[test]
fn the_reference_solver_moves_nothing_to_an_earlier_date_by_a_link() {
    check_all(1000, Features::ALL.without(ALAP).without(FROM_FINISH), 12, &|plan| check_added_link(plan, solve));
}

#[test]
fn the_reference_solver_shifts_with_the_plan() {
    check_all(1000, Features::ALL.without(EXCEPTIONS), 12, &|plan| check_shift(plan, solve));
}

#[test]
fn the_reference_solver_from_the_finish_is_the_mirror_image() {
    check_all(1000, MIRRORED, 12, &|plan| check_mirror(plan, solve));
}

// The engine, on plans of up to 300 tasks
// ------------------------------------------------------------

#[test]
fn the_engine_keeps_free_slack_within_total_slack() {
    check_all(60, Features::ALL, 300, &|plan| check_slack(plan, solve_with_engine));
}

#[test]
fn the_engine_keeps_early_dates_before_late_dates() {
    check_all(60, Features::ALL.without(FIXING), 300, &|plan| check_early_before_late(plan, solve_with_engine));
}

#[test]
fn the_engine_keeps_dates_that_people_entered() {
    check_all(60, Features::ALL.without(FROM_FINISH), 300, &|plan| check_facts(plan, solve_with_engine));
    check_all(60, Features::ALL.without(FROM_FINISH), 12, &|plan| {
        let from_finish = Plan { from_finish: Some(at("Fri 29 May 17:00")), ..plan.clone() };
        check_facts(&from_finish, solve_with_engine)
    });
}

#[test]
fn the_engine_moves_nothing_to_an_earlier_date_by_a_link() {
    let features = Features::ALL.without(ALAP).without(FROM_FINISH);
    check_all(60, features, 300, &|plan| check_added_link(plan, solve_with_engine));
}

#[test]
fn the_engine_shifts_with_the_plan() {
    check_all(60, Features::ALL.without(EXCEPTIONS), 300, &|plan| check_shift(plan, solve_with_engine));
}

#[test]
fn the_engine_from_the_finish_gives_the_mirror_image() {
    check_all(60, MIRRORED, 300, &|plan| check_mirror(plan, solve_with_engine));
}
