//! Progress of a plan up to today, as its story says. Pure.

use super::demo_id::demo_random;
use super::draft::{Draft, Timeline, waits_for_finish};
use super::library::Story;
use super::plan_text::Obstacle;
use pmo_planning::{LinkKind, Moment, Span};

/// Days for which an unfinished task may be overdue.
const MAX_OVERDUE_DAYS: i32 = 6;

/// Progress of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The task has not begun.
    NotStarted,
    /// The task has begun.
    Started {
        /// Part of the duration that is done, in percent.
        done: u32,
        /// Whether work can go on.
        obstacle: Obstacle,
    },
    /// The task is finished.
    Finished,
}

/// Returns the duration of a task after its delay, for the story of a project.
pub(crate) fn slipped(story: Story, planned: Span, day: Span, slip_days: i32) -> Span {
    let days = match story {
        Story::Late => slip_days,
        Story::Steady => slip_days * 2 / 5,
        Story::Early => -(slip_days + 1) / 2,
    };
    let shortest = planned.0 / 2;
    Span((planned.0 + day.0 * days).max(shortest).max(0))
}

/// Returns the progress of each task before `now`; `NotStarted` for summaries.
///
/// Invariant: a task has begun only if the links to its predecessors allow it.
pub(crate) fn progress(draft: &Draft<'_>, timeline: &Timeline, now: Moment) -> Vec<Progress> {
    let successors = successors(draft);
    let tasks = draft.plan.tasks.iter().enumerate();
    let progress = tasks.map(|(task, text)| {
        let (start, finish) = (timeline.start(task), timeline.finish(task));
        if text.length.is_none() || start.is_none() || start >= now {
            return Progress::NotStarted;
        }
        let time = timeline.plan.working_time(u32::try_from(task).unwrap_or_default());
        let obstacle = text.flags.obstacle;
        let overdue = Moment::plus(finish, Span::hours(24 * MAX_OVERDUE_DAYS)) >= now;
        let holds_up = successors[task].iter().any(|&(successor, _)| timeline.start(successor) < now);
        let number = draft.entity_number(task);
        if finish <= now {
            let may_be_late = overdue && !holds_up && draft.lengths[task] > Span::ZERO;
            if may_be_late && (obstacle == Obstacle::Blocked || demo_random("overdue", number, 2) == 0) {
                let done = 60 + 5 * u32::try_from(demo_random("done", number, 7)).unwrap_or_default();
                return Progress::Started { done, obstacle };
            }
            return Progress::Finished;
        }
        let elapsed = if text.length.is_some_and(|length| length.unit.is_elapsed()) {
            now.since(start)
        } else {
            time.between(start, now)
        };
        let length = draft.lengths[task].0.max(1);
        let mut done = i64::from(elapsed.0.max(0)) * 100 / i64::from(length);
        if obstacle == Obstacle::Blocked {
            done /= 2;
        } else if demo_random("behind", number, 3) == 0 {
            done = done * 3 / 4;
        }
        let done = u32::try_from(done.clamp(0, 95)).unwrap_or_default() / 5 * 5;
        Progress::Started { done: done.max(5), obstacle }
    });
    progress.collect()
}

/// Returns the successors of each task with the type of the link.
fn successors(draft: &Draft<'_>) -> Vec<Vec<(usize, LinkKind)>> {
    let mut successors = vec![Vec::new(); draft.plan.tasks.len()];
    for (successor, task) in draft.plan.tasks.iter().enumerate() {
        for predecessor in task.predecessors.iter().filter(|predecessor| waits_for_finish(predecessor.kind)) {
            if let Some(list) = successors.get_mut(predecessor.task) {
                list.push((successor, predecessor.kind));
            }
        }
    }
    successors
}

/// Returns the stage of a task.
pub(crate) fn stage(progress: Progress, kind: &str, days_to_start: i32) -> &'static str {
    match progress {
        Progress::Finished => "Completed",
        Progress::Started { obstacle: Obstacle::Blocked, .. } => "Blocked",
        Progress::Started { done, .. } if done >= 85 || kind == "Review" => "In Review",
        Progress::Started { .. } => "In Progress",
        Progress::NotStarted if days_to_start <= 30 => "To Do",
        Progress::NotStarted if days_to_start <= 75 => "Planning",
        Progress::NotStarted => "Backlog",
    }
}
