//! The full computation of a schedule.

use crate::compute::compute;
use crate::model::{Direction, Plan};
use crate::network::Network;
use crate::pass::State;
use crate::result::Schedule;
use crate::{mirror, problems};

/// Computes the dates, slack, drivers and problems of a plan.
///
/// Never panics. What the plan states wrongly is in [`Schedule::problems`].
pub fn schedule(plan: &Plan) -> Schedule {
    if plan.settings.direction == Direction::FromFinish {
        return mirror::schedule_from_finish(plan);
    }
    let mut problems = Vec::new();
    let network = Network::new(plan, &mut problems);
    let mut schedule = Schedule::empty(plan.tasks.len());
    let mut state = State::new(plan.tasks.len());
    compute(plan, &network, &mut schedule, &mut state);
    problems::report(plan, &network, &schedule, &mut problems);
    schedule.problems = problems;
    schedule
}
