//! The full computation of a schedule.

use crate::compute::compute;
use crate::model::{Direction, Plan};
use crate::network::Network;
use crate::pass::{Pass, State};
use crate::result::Schedule;
use crate::{limits, mirror, problems};

/// Computes the dates, slack, drivers and problems of a plan.
///
/// Never panics. What the plan states wrongly is in [`Schedule::problems`].
pub fn schedule(plan: &Plan) -> Schedule {
    let plan = &*limits::in_range(plan);
    if plan.settings.direction == Direction::FromFinish {
        return mirror::schedule_from_finish(plan);
    }
    let mut problems = Vec::new();
    let network = Network::new(plan, &mut problems);
    let mut schedule = Schedule::empty(plan.tasks.len());
    let mut state = State::new(&network);
    compute(plan, &network, &mut schedule, &mut state);
    let pass = Pass { plan, network: &network, schedule: &mut schedule, state: &mut state, place_late: false };
    problems::report(&pass, &mut problems);
    schedule.problems = problems;
    schedule
}
