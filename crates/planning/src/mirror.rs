//! Schedules from the finish: the plan is turned around in time, scheduled, and turned back.
//!
//! The moment `t` becomes `-t`, starts become finishes, predecessors successors, "no earlier" "no
//! later". So the rules from the start hold from the finish, with everything as late as possible.

use crate::compute::compute;
use crate::graph::Role;
use crate::model::{Constraint, Lag, Link, LinkKind, Mode, Plan, Task};
use crate::moment::{Moment, Span};
use crate::network::Network;
use crate::pass::{NO_WORK, Pass, State};
use crate::problems;
use crate::result::{Driver, Schedule};

/// Computes the schedule of a plan from its finish.
pub(crate) fn schedule_from_finish(plan: &Plan) -> Schedule {
    let mut problems = Vec::new();
    let network = Network::new(plan, &mut problems);
    let turned_plan = turn_plan(plan, &network);
    // Links must be compiled again, because they change direction; what is wrong is known.
    let mut turned_network = Network::new(&turned_plan, &mut Vec::new());
    turned_network.turn(&network);
    let mut schedule = Schedule::empty(plan.tasks.len());
    let mut state = State::new(&turned_network);
    compute(&turned_plan, &turned_network, &mut schedule, &mut state);
    let mut schedule = turn_schedule(schedule, &network);
    mark_ended(plan, &network, &mut state);
    let mut pass = Pass { plan, network: &network, schedule: &mut schedule, state: &mut state, place_late: false };
    pass.run_slack();
    problems::report(&pass, &mut problems);
    schedule.problems = problems;
    schedule
}

/// Forgets amounts of work, which count from the other end, and marks finished leaves, and
/// summaries with nothing else below them, as ended.
fn mark_ended(plan: &Plan, network: &Network, state: &mut State) {
    state.early_work.fill(NO_WORK);
    state.late_work.fill(NO_WORK);
    for task in (0..network.role.len()).rev() {
        let ended = match network.role[task] {
            Role::Inactive => continue,
            Role::Leaf => plan.tasks[task].actual_finish.is_some(),
            Role::Summary => network.children.of(task).iter().all(|&child| state.late_rest[child as usize].is_none()),
        };
        if ended {
            state.late_rest[task] = Moment::NONE;
        }
    }
}

fn turn(moment: Moment) -> Moment {
    if moment.is_none() { moment } else { Moment(-moment.0) }
}

impl Network {
    /// Turns tables around, and runs and lags so that they count from the other end.
    fn turn(&mut self, original: &Self) {
        self.turned = true;
        self.tables.mirror();
        for run in &mut self.runs {
            // Counted from the finish, a delayed run needs its delay before the start.
            (run.delay, run.length) = (Span::ZERO, run.delay.plus(run.length));
        }
        // A lag runs on the calendar of the successor, which is the predecessor of the turned link.
        let links = self.edges.iter().chain(&original.edges).map(|edge| edge.link as usize + 1).max();
        let mut lag_tables = vec![None; links.unwrap_or(0)];
        for edge in &original.edges {
            lag_tables[edge.link as usize] = Some(edge.lag_table);
        }
        for edge in &mut self.edges {
            let own = original.slack_table[edge.predecessor as usize];
            edge.lag_table = lag_tables[edge.link as usize].unwrap_or(own);
        }
    }
}

fn turn_plan(plan: &Plan, network: &Network) -> Plan {
    let mut turned = plan.clone();
    let settings = &mut turned.settings;
    settings.start = turn(if settings.finish.is_some() { settings.finish } else { settings.start });
    settings.status_date = Moment::NONE;
    settings.reschedule_remaining = false;
    for (position, task) in turned.tasks.iter_mut().enumerate() {
        turn_task(task, plan, network, position);
    }
    for link in &mut turned.links {
        let lag = turn_lag(link, plan);
        *link = Link {
            predecessor: link.successor,
            successor: link.predecessor,
            kind: match link.kind {
                LinkKind::StartToStart => LinkKind::FinishToFinish,
                LinkKind::FinishToFinish => LinkKind::StartToStart,
                same => same,
            },
            lag,
        };
    }
    turned
}

/// Returns the lag of a link as a length of time, because a percentage counts from the predecessor.
fn turn_lag(link: &Link, plan: &Plan) -> Lag {
    let predecessor = plan.tasks.get(link.predecessor as usize);
    let share = |percent: i16| predecessor.map_or(Span::ZERO, |task| task.duration.scale(i64::from(percent), 100));
    match link.lag {
        Lag::Percent(percent) if predecessor.is_some_and(|task| task.elapsed) => Lag::Elapsed(share(percent)),
        Lag::Percent(percent) => Lag::Working(share(percent)),
        Lag::ElapsedPercent(percent) => Lag::Elapsed(share(percent)),
        same => same,
    }
}

fn turn_task(task: &mut Task, plan: &Plan, network: &Network, position: usize) {
    if task.mode == Mode::Automatic && (task.actual_start.is_some() || task.actual_finish.is_some()) {
        // A started task does not move: its dates are facts from either end.
        let (mut schedule, mut state) = (Schedule::empty(plan.tasks.len()), State::default());
        let pass = Pass { plan, network, schedule: &mut schedule, state: &mut state, place_late: false };
        if network.role[position] == Role::Leaf {
            let start = task.actual_start.get();
            let finish = task.actual_finish.get();
            let start =
                start.unwrap_or_else(|| finish.map_or(Moment(0), |end| pass.start_before(position, end, Span::ZERO)));
            let finish = finish.unwrap_or_else(|| pass.finish_after(position, start, Span::ZERO));
            task.mode = Mode::Manual;
            (task.manual_start, task.manual_finish) = (start, finish);
        }
        (task.actual_start, task.actual_finish) = (Moment::NONE, Moment::NONE);
    }
    (task.manual_start, task.manual_finish) = (turn(task.manual_finish), turn(task.manual_start));
    task.deadline = Moment::NONE;
    task.constraint = match task.constraint {
        Constraint::AsSoonAsPossible | Constraint::AsLateAsPossible => Constraint::AsSoonAsPossible,
        Constraint::MustStartOn(date) => Constraint::MustFinishOn(turn(date)),
        Constraint::MustFinishOn(date) => Constraint::MustStartOn(turn(date)),
        Constraint::StartNoEarlierThan(date) => Constraint::FinishNoLaterThan(turn(date)),
        Constraint::StartNoLaterThan(date) => Constraint::FinishNoEarlierThan(turn(date)),
        Constraint::FinishNoEarlierThan(date) => Constraint::StartNoLaterThan(turn(date)),
        Constraint::FinishNoLaterThan(date) => Constraint::StartNoEarlierThan(turn(date)),
    };
}

fn turn_schedule(turned: Schedule, network: &Network) -> Schedule {
    let all = |moments: &[Moment]| moments.iter().map(|moment| turn(*moment)).collect::<Vec<_>>();
    let drivers = |drivers: &[Driver]| drivers.iter().map(|driver| turn_driver(*driver)).collect::<Vec<_>>();
    let mut schedule = Schedule {
        start: all(&turned.finish),
        finish: all(&turned.start),
        early_start: all(&turned.late_finish),
        early_finish: all(&turned.late_start),
        late_start: all(&turned.early_finish),
        late_finish: all(&turned.early_start),
        start_driver: drivers(&turned.finish_driver),
        finish_driver: drivers(&turned.start_driver),
        project_start: turn(turned.project_finish),
        project_finish: turn(turned.project_start),
        ..turned
    };
    for task in 0..network.role.len() {
        if network.role[task] == Role::Inactive {
            continue;
        }
        schedule.resume[task] = Moment::NONE;
    }
    schedule
}

fn turn_driver(driver: Driver) -> Driver {
    match driver {
        Driver::ProjectStart => Driver::ProjectFinish,
        Driver::ProjectFinish => Driver::ProjectStart,
        same => same,
    }
}
