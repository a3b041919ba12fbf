//! Brings the numbers of a plan into the range with which the passes compute.
//!
//! Dates beyond the bounds of [`Moment`] and lengths beyond those of [`Span`] are moved to the
//! bound, so that sums of two values never overflow.

use crate::model::{Constraint, Lag, Plan, Settings, Task};
use crate::moment::{Moment, Span};
use std::borrow::Cow;

/// Returns the plan with all numbers in range; a copy only if some are not.
pub(crate) fn in_range(plan: &Plan) -> Cow<'_, Plan> {
    if is_in_range(plan) {
        return Cow::Borrowed(plan);
    }
    let mut plan = plan.clone();
    clamp_plan(&mut plan);
    Cow::Owned(plan)
}

fn is_in_range(plan: &Plan) -> bool {
    plan.settings == clamp_settings(plan.settings.clone())
        && plan.tasks.iter().all(|task| *task == clamp_task(*task))
        && plan.links.iter().all(|link| link.lag == clamp_lag(link.lag))
        && plan.assignments.iter().all(|assignment| {
            [assignment.work, assignment.delay, assignment.leveling_delay].iter().all(|span| *span == clamp(*span))
                && assignment.duration == assignment.duration.map(clamp)
        })
        && plan.segments.iter().all(|part| part.offset == clamp(part.offset) && part.length == clamp(part.length))
}

/// Brings all numbers of a plan into range.
pub(crate) fn clamp_plan(plan: &mut Plan) {
    plan.settings = clamp_settings(plan.settings.clone());
    for task in &mut plan.tasks {
        *task = clamp_task(*task);
    }
    for link in &mut plan.links {
        link.lag = clamp_lag(link.lag);
    }
    for assignment in &mut plan.assignments {
        assignment.work = clamp(assignment.work);
        assignment.delay = clamp(assignment.delay);
        assignment.leveling_delay = clamp(assignment.leveling_delay);
        assignment.duration = assignment.duration.map(clamp);
    }
    for part in &mut plan.segments {
        part.offset = clamp(part.offset);
        part.length = clamp(part.length);
    }
}

/// Returns settings with all numbers in range.
pub(crate) fn clamp_settings(settings: Settings) -> Settings {
    Settings {
        start: clamp_moment(settings.start),
        finish: clamp_moment(settings.finish),
        status_date: clamp_moment(settings.status_date),
        critical_slack_limit: clamp(settings.critical_slack_limit),
        ..settings
    }
}

/// Returns a task with all numbers in range.
pub(crate) fn clamp_task(task: Task) -> Task {
    Task {
        manual_start: clamp_moment(task.manual_start),
        manual_finish: clamp_moment(task.manual_finish),
        duration: clamp(task.duration),
        constraint: clamp_constraint(task.constraint),
        deadline: clamp_moment(task.deadline),
        leveling_delay: clamp(task.leveling_delay),
        actual_start: clamp_moment(task.actual_start),
        actual_finish: clamp_moment(task.actual_finish),
        actual_duration: clamp(task.actual_duration),
        stop: clamp_moment(task.stop),
        resume: clamp_moment(task.resume),
        ..task
    }
}

fn clamp_constraint(constraint: Constraint) -> Constraint {
    match constraint {
        Constraint::MustStartOn(date) => Constraint::MustStartOn(clamp_moment(date)),
        Constraint::MustFinishOn(date) => Constraint::MustFinishOn(clamp_moment(date)),
        Constraint::StartNoEarlierThan(date) => Constraint::StartNoEarlierThan(clamp_moment(date)),
        Constraint::StartNoLaterThan(date) => Constraint::StartNoLaterThan(clamp_moment(date)),
        Constraint::FinishNoEarlierThan(date) => Constraint::FinishNoEarlierThan(clamp_moment(date)),
        Constraint::FinishNoLaterThan(date) => Constraint::FinishNoLaterThan(clamp_moment(date)),
        same => same,
    }
}

/// Returns a lag in range.
pub(crate) fn clamp_lag(lag: Lag) -> Lag {
    match lag {
        Lag::Working(span) => Lag::Working(clamp(span)),
        Lag::Elapsed(span) => Lag::Elapsed(clamp(span)),
        same => same,
    }
}

fn clamp(span: Span) -> Span {
    Span::clamped(i64::from(span.0))
}

fn clamp_moment(moment: Moment) -> Moment {
    if moment.is_none() { moment } else { Moment::clamped(i64::from(moment.0)) }
}
