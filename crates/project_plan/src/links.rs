//! Dependencies to links of the engine.
//!
//! A predecessor in another project is a point in time that does not move: a manual task without
//! duration at its start or its finish, after the tasks of the project.

use crate::project_plan::{Missing, ProjectPlan};
use crate::{DependencyInput, ExternalTask, LagUnit, Percent};
use pmo_planning::{Lag, Link, LinkKind, Mode, Moment, Span, Task, TaskId, WorkingTime};
use std::collections::HashMap;
use uuid::Uuid;

/// What is known of tasks that the plan does not schedule.
pub(crate) struct Others {
    /// Dates of tasks of other projects.
    pub(crate) external: HashMap<Uuid, ExternalTask>,
    /// Tasks that are known and not scheduled, such as archived ones; links to them have no effect.
    pub(crate) unscheduled: Vec<Uuid>,
    /// Working time of the project, in which a percentage of an external duration counts.
    pub(crate) time: WorkingTime,
}

/// End of an external task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum End {
    Start,
    Finish,
}

/// Adds the links of the dependencies whose successor is a task of the project.
pub(crate) fn add_links(project: &mut ProjectPlan, dependencies: &[&DependencyInput], mut others: Others) {
    others.unscheduled.sort_unstable();
    let mut points = HashMap::new();
    for dependency in dependencies {
        let Some(successor) = project.position(dependency.successor_id) else { continue };
        let lag = lag_of(dependency);
        let (predecessor, lag) = match project.position(dependency.predecessor_id) {
            Some(predecessor) => (predecessor, lag),
            None => match others.external.get(&dependency.predecessor_id) {
                Some(external) => {
                    let lag = fixed_lag(lag, external, &others.time);
                    (add_point(project, &mut points, external, dependency.kind), lag)
                }
                None => {
                    if others.unscheduled.binary_search(&dependency.predecessor_id).is_err() {
                        project
                            .incomplete
                            .push(Missing::Predecessor { dependency: dependency.id, task: dependency.predecessor_id });
                    }
                    continue;
                }
            },
        };
        project.plan.links.push(Link { predecessor, successor, kind: dependency.kind, lag });
        project.link_ids.push(dependency.id);
    }
}

/// Returns the lag of a dependency.
pub(crate) fn lag_of(dependency: &DependencyInput) -> Lag {
    match (dependency.lag_percent, dependency.lag_unit) {
        (Some(percent), LagUnit::ElapsedPercent) => Lag::ElapsedPercent(whole_percent(percent)),
        (Some(percent), _) => Lag::Percent(whole_percent(percent)),
        (None, LagUnit::Time(unit)) if unit.is_elapsed() => Lag::Elapsed(dependency.lag),
        (None, LagUnit::ElapsedPercent) => Lag::Elapsed(dependency.lag),
        (None, _) => Lag::Working(dependency.lag),
    }
}

fn whole_percent(percent: Percent) -> i16 {
    let rounded = (percent.0.saturating_add(50)).div_euclid(100);
    i16::try_from(rounded.clamp(-10_000, 10_000)).unwrap_or(0)
}

/// Returns the lag in time; a percentage counts the working time of the external task.
fn fixed_lag(lag: Lag, external: &ExternalTask, time: &WorkingTime) -> Lag {
    let length = match (external.start.get(), external.finish.get()) {
        (Some(start), Some(finish)) => Span(time.between(start, finish).0.max(0)),
        _ => Span::ZERO,
    };
    match lag {
        Lag::Percent(percent) => Lag::Working(length.scale(i64::from(percent), 100)),
        Lag::ElapsedPercent(percent) => Lag::Elapsed(length.scale(i64::from(percent), 100)),
        same => same,
    }
}

/// Returns the position of the point that stands for an end of an external task.
fn add_point(
    project: &mut ProjectPlan,
    points: &mut HashMap<(Uuid, End), u32>,
    external: &ExternalTask,
    kind: LinkKind,
) -> u32 {
    let (end, moment) = match kind {
        LinkKind::FinishToStart | LinkKind::FinishToFinish => (End::Finish, external.finish),
        LinkKind::StartToStart | LinkKind::StartToFinish => (End::Start, external.start),
    };
    *points.entry((external.id, end)).or_insert_with(|| {
        let position = u32::try_from(project.plan.tasks.len()).unwrap_or(u32::MAX);
        // A task whose date is not known holds nothing.
        let mode = if moment == Moment::NONE { Mode::Inactive } else { Mode::Manual };
        project.plan.tasks.push(Task {
            id: TaskId(position),
            mode,
            manual_start: moment,
            manual_finish: moment,
            ..Task::new(position, Span::ZERO)
        });
        project.task_ids.push(external.id);
        position
    })
}
