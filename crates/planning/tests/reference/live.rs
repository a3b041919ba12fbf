//! The incremental engine against the whole computation, after random edits.

use pmo_planning as engine;

use crate::adapter::engine_plan;
use crate::generate::{ALAP, FROM_FINISH, Features, Random, random_plan};
use crate::hostile::{hostile_plan, odd_link, odd_task};
use crate::moment::{DAY, HOUR, at};
use crate::properties::{cases, first_seed};

/// Returns a moment around the plan, in working time or not.
fn some_moment(random: &mut Random) -> engine::Moment {
    let moment = at("Mon 2 Mar 08:00") + random.between(-3, 40) * DAY + random.pick(&[0, 0, 4, 5, 9]) * HOUR;
    engine::Moment(i32::try_from(moment).unwrap())
}

/// Returns a small change of a task, such as a drag makes.
fn edited_task(random: &mut Random, task: &engine::Task) -> engine::Task {
    let mut task = *task;
    match random.below(14) {
        0..4 => task.duration = engine::Span::hours(i32::try_from(random.between(0, 60)).unwrap()),
        4..7 => task.constraint = engine::Constraint::StartNoEarlierThan(some_moment(random)),
        7 => {
            let date = some_moment(random);
            task.constraint = random.pick(&[
                engine::Constraint::AsSoonAsPossible,
                engine::Constraint::AsLateAsPossible,
                engine::Constraint::MustStartOn(date),
                engine::Constraint::MustFinishOn(date),
                engine::Constraint::StartNoLaterThan(date),
                engine::Constraint::FinishNoLaterThan(date),
                engine::Constraint::FinishNoEarlierThan(date),
            ]);
        }
        8 => task.deadline = if random.chance(50) { engine::Moment::NONE } else { some_moment(random) },
        9 => {
            task.mode = random.pick(&[engine::Mode::Automatic, engine::Mode::Manual, engine::Mode::Inactive]);
            task.manual_start = some_moment(random);
            task.manual_finish = task.manual_start.plus(engine::Span::hours(33));
        }
        10 => {
            task.actual_start = if random.chance(50) { engine::Moment::NONE } else { some_moment(random) };
            task.actual_duration = engine::Span::hours(i32::try_from(random.between(0, 8)).unwrap());
        }
        11 => {
            task.actual_finish = random.pick(&[engine::Moment::NONE, task.actual_start.plus(engine::Span::hours(28))])
        }
        12 => task.leveling_delay = engine::Span::hours(i32::try_from(random.between(0, 3)).unwrap() * 24),
        _ => task.elapsed = !task.elapsed,
    }
    task
}

/// Returns an edit of a plan; a wild one may make no sense.
fn random_edit(random: &mut Random, plan: &engine::Plan, is_wild: bool) -> engine::Edit {
    let count = plan.tasks.len();
    let position = |random: &mut Random, count: usize| u32::try_from(random.below(count.max(1))).unwrap();
    let task = position(random, count);
    let is_rare = random.chance(20);
    match random.below(10) {
        _ if count == 0 => engine::Edit::AddLink(odd_link(random, count)),
        0..6 if is_wild && is_rare => engine::Edit::Task { task, entry: odd_task(random, task, count) },
        0..6 => {
            let entry = edited_task(random, &plan.tasks[usize::try_from(task).unwrap()]);
            engine::Edit::Task { task, entry }
        }
        6 if is_wild => engine::Edit::AddLink(odd_link(random, count)),
        6 | 7 if !plan.links.is_empty() && is_rare => {
            engine::Edit::RemoveLink(position(random, plan.links.len() + usize::from(is_wild)))
        }
        6 | 7 => {
            let other = position(random, count);
            let (predecessor, successor) = if is_wild { (task, other) } else { (task.min(other), task.max(other)) };
            engine::Edit::AddLink(engine::Link { predecessor, successor, ..engine::Link::default() })
        }
        8 if !plan.links.is_empty() => {
            let link = position(random, plan.links.len());
            let mut entry = plan.links[usize::try_from(link).unwrap()];
            entry.lag = engine::Lag::Working(engine::Span::hours(i32::try_from(random.between(-8, 24)).unwrap()));
            engine::Edit::SetLink { link, entry }
        }
        _ => {
            let mut settings = plan.settings.clone();
            settings.honor_constraints ^= random.chance(30);
            settings.multiple_critical_paths ^= random.chance(30);
            settings.start = some_moment(random);
            engine::Edit::Settings(settings)
        }
    }
}

/// Applies an edit to a plan.
fn apply(plan: &mut engine::Plan, edit: &engine::Edit) {
    let place = |position: u32| usize::try_from(position).unwrap();
    match edit.clone() {
        engine::Edit::Task { task, entry } => {
            if let Some(slot) = plan.tasks.get_mut(place(task)) {
                *slot = entry;
            }
        }
        engine::Edit::AddLink(link) => plan.links.push(link),
        engine::Edit::SetLink { link, entry } => {
            if let Some(slot) = plan.links.get_mut(place(link)) {
                *slot = entry;
            }
        }
        engine::Edit::RemoveLink(link) => {
            if place(link) < plan.links.len() {
                plan.links.remove(place(link));
            }
        }
        engine::Edit::Settings(settings) => plan.settings = settings,
        engine::Edit::Plan(whole) => *plan = *whole,
    }
}

/// Returns the tasks whose dates or slack differ.
fn differing(a: &engine::Schedule, b: &engine::Schedule) -> Vec<usize> {
    let dates = |schedule: &engine::Schedule, task: usize| {
        let dates = [&schedule.start, &schedule.finish, &schedule.early_start, &schedule.early_finish];
        let late = [&schedule.late_start, &schedule.late_finish];
        let slack = [&schedule.total_slack, &schedule.free_slack];
        let dates: Vec<_> = dates.into_iter().chain(late).map(|dates| dates[task]).collect();
        (dates, slack.map(|slack| slack[task]), schedule.critical[task])
    };
    (0..a.start.len()).filter(|&task| dates(a, task) != dates(b, task)).collect()
}

/// Checks a sequence of edits of a plan; returns what is wrong.
fn check_edits(plan: &engine::Plan, edits: &[engine::Edit]) -> Result<(), String> {
    let mut plan = plan.clone();
    let mut live = engine::Live::new(plan.clone());
    let mut before = engine::schedule(&plan);
    for (number, edit) in edits.iter().enumerate() {
        apply(&mut plan, edit);
        let expected = engine::schedule(&plan);
        let changed = live.change(edit.clone());
        let reported: Vec<usize> = changed.tasks.iter().map(|&task| usize::try_from(task).unwrap()).collect();
        let finishes = (changed.finish_before, changed.finish_after);
        if finishes != (before.project_finish, expected.project_finish) {
            return Err(format!("edit {number}: finishes {finishes:?}"));
        }
        // Numbers out of range may have been brought into range.
        if live.plan() != &plan && engine::schedule(live.plan()) != expected {
            return Err(format!("edit {number}: another plan"));
        }
        let found = engine::Schedule { problems: live.problems(), ..live.schedule().clone() };
        if found != expected {
            let tasks = differing(&found, &expected);
            let of = |schedule: &engine::Schedule, task: usize| {
                let dates = (schedule.start[task], schedule.finish[task], schedule.late_start[task]);
                format!("{} {} {} {:?}", dates.0, dates.1, dates.2, schedule.total_slack[task])
            };
            let first = tasks.first().map(|&task| format!("{}, not {}", of(&found, task), of(&expected, task)));
            return Err(format!("edit {number}: tasks {tasks:?} differ: {first:?}"));
        }
        let is_unreported =
            |task: &&usize| !reported.contains(task) && plan.tasks[**task].mode != engine::Mode::Inactive;
        if let Some(task) = differing(&before, &expected).iter().find(is_unreported) {
            return Err(format!("edit {number}: task {task} changed, but is not reported"));
        }
        before = expected;
    }
    Ok(())
}

/// Checks edits; the message of a failure has the shortest sequence found that fails.
fn check_or_panic(seed: u64, plan: &engine::Plan, edits: &[engine::Edit]) {
    if check_edits(plan, edits).is_ok() {
        return;
    }
    let (mut plan, mut edits) = (plan.clone(), edits.to_vec());
    for number in (0..edits.len()).rev() {
        let mut fewer = edits.clone();
        let removed = fewer.remove(number);
        let mut begun = plan.clone();
        apply(&mut begun, &removed);
        if check_edits(&plan, &fewer).is_err() {
            edits = fewer;
        } else if number == 0 && check_edits(&begun, &fewer).is_err() {
            (plan, edits) = (begun, fewer);
        }
    }
    let message = check_edits(&plan, &edits).unwrap_err();
    panic!("seed {seed}: {message}\n{edits:?}\n{plan:?}");
}

fn check_sequences(usual: u64, edits_each: usize, is_wild: bool, new_plan: &dyn Fn(&mut Random) -> engine::Plan) {
    for seed in first_seed()..first_seed() + cases(usual) {
        let mut random = Random::new(seed);
        let plan = new_plan(&mut random);
        let mut edited = plan.clone();
        let mut edits = vec![];
        for _ in 0..edits_each {
            let edit = random_edit(&mut random, &edited, is_wild);
            apply(&mut edited, &edit);
            edits.push(edit);
        }
        check_or_panic(seed, &plan, &edits);
    }
}

#[test]
fn an_edit_gives_the_same_as_the_whole_computation() {
    let features = Features::ALL.without(ALAP).without(FROM_FINISH);
    check_sequences(300, 8, false, &|random| engine_plan(&random_plan(random, features, 12)));
}

#[test]
fn an_edit_of_a_long_plan_gives_the_same_as_the_whole_computation() {
    let features = Features::ALL.without(ALAP).without(FROM_FINISH);
    check_sequences(20, 8, false, &|random| engine_plan(&random_plan(random, features, 300)));
}

#[test]
fn an_edit_of_a_plan_with_late_tasks_gives_the_same_as_the_whole_computation() {
    check_sequences(200, 8, false, &|random| engine_plan(&random_plan(random, Features::ALL, 12)));
}

#[test]
fn an_edit_that_makes_no_sense_gives_the_same_as_the_whole_computation() {
    check_sequences(20, 6, true, &|random| hostile_plan(random, 10));
}
