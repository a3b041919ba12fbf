//! The passes over a compiled plan, in order.

use crate::graph::Role;
use crate::model::{Constraint, Plan};
use crate::moment::Moment;
use crate::network::Network;
use crate::pass::{Pass, State};
use crate::result::Schedule;

/// Runs all passes over a compiled plan.
pub(crate) fn compute(plan: &Plan, network: &Network, schedule: &mut Schedule, state: &mut State) {
    schedule.project_start = project_start(plan);
    let mut pass = Pass { plan, network, schedule, state, place_late: false };
    pass.run_forward();
    pass.schedule.project_finish = project_finish(network, pass.schedule);
    if has_late_tasks(plan) {
        pass.run_backward();
        pass.place_late = true;
        pass.run_forward();
        pass.schedule.project_finish = project_finish(network, pass.schedule);
        pass.run_slack();
    } else {
        pass.run_backward_with_slack();
    }
}

/// Returns whether some task is to be placed as late as possible.
pub(crate) fn has_late_tasks(plan: &Plan) -> bool {
    plan.tasks.iter().any(|task| task.constraint == Constraint::AsLateAsPossible)
}

/// Returns the start of the project; if it is not stated, the earliest date that the plan states.
pub(crate) fn project_start(plan: &Plan) -> Moment {
    plan.settings.start.get().unwrap_or_else(|| {
        let dates = plan.tasks.iter().flat_map(|task| {
            [task.constraint.date().unwrap_or(Moment::NONE), task.actual_start, task.manual_start, task.manual_finish]
        });
        dates.filter(|date| date.is_some()).min().unwrap_or(Moment(0))
    })
}

/// Returns the latest finish of all tasks that take part.
pub(crate) fn project_finish(network: &Network, schedule: &Schedule) -> Moment {
    let tasks = (0..network.role.len()).filter(|&task| network.role[task] != Role::Inactive);
    tasks.map(|task| schedule.finish[task]).max().unwrap_or(schedule.project_start)
}
