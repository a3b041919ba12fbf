//! Task as a gesture would change it, for the engine to compute the cascade while dragging.
//!
//! The change that is made at the end is computed from rows; this is its image in the plan.

use crate::gesture::Gesture;
use pmo_planning::{Constraint, Mode, Moment, Span, Task, WorkingTime};

/// Dates of a task before a gesture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskDates {
    /// Start.
    pub start: Moment,
    /// Finish.
    pub finish: Moment,
}

/// Returns the task after a gesture; `None` if the gesture does not change a task of its own, as a
/// link does.
///
/// `time` is the working time of the task's calendar.
pub fn preview(task: &Task, dates: TaskDates, gesture: Gesture, time: &WorkingTime) -> Option<Task> {
    if task.mode == Mode::Inactive {
        return None;
    }
    let mut task = *task;
    match gesture {
        Gesture::Move { start, .. } => move_to(&mut task, dates, time.start_form(start), time),
        Gesture::ResizeStart { start, .. } => {
            let start = if task.elapsed { start } else { time.start_form(start) };
            let duration = length(&task, start, dates.finish, time);
            if duration <= Span::ZERO {
                return None;
            }
            if task.mode == Mode::Manual {
                task.manual_start = start;
                task.manual_finish = dates.finish;
            } else {
                set_start(&mut task, start);
            }
            task.duration = duration;
        }
        Gesture::ResizeFinish { finish, .. } => {
            let finish = if task.elapsed { finish } else { time.finish_form(finish) };
            let duration = length(&task, dates.start, finish, time);
            if duration <= Span::ZERO {
                return None;
            }
            if task.mode == Mode::Manual {
                task.manual_start = dates.start;
                task.manual_finish = finish;
            }
            if task.actual_finish.is_some() {
                task.actual_finish = finish;
            }
            task.duration = duration;
        }
        Gesture::Progress { percent, .. } => {
            task.actual_duration = task.duration.scale(i64::from(percent.min(100)), 100);
            if percent > 0 && task.actual_start.is_none() {
                task.actual_start = dates.start;
            }
            task.actual_finish = if percent >= 100 { dates.finish } else { Moment::NONE };
        }
        Gesture::Link { .. } => return None,
    }
    Some(task)
}

/// Days within which a step looks for working time.
const MAX_STEP_DAYS: i32 = 60;

/// Returns a start some days later, or earlier if negative, on a working day.
pub fn stepped_start(start: Moment, days: i32, time: &WorkingTime) -> Moment {
    stepped(start, days, |moment| time.start_form(moment))
}

/// Returns a finish some days later, or earlier if negative, on a working day.
pub fn stepped_finish(finish: Moment, days: i32, time: &WorkingTime) -> Moment {
    stepped(finish, days, |moment| time.finish_form(moment))
}

/// Steps on in the same direction until the working moment has moved in that direction.
fn stepped(from: Moment, days: i32, form: impl Fn(Moment) -> Moment) -> Moment {
    let step = Span::hours(24).scale(i64::from(days.signum()), 1);
    let mut target = from.plus(Span::hours(24).scale(i64::from(days), 1));
    for _ in 0..MAX_STEP_DAYS {
        let moment = form(target);
        if (days > 0 && moment > from) || (days < 0 && moment < from) {
            return moment;
        }
        target = target.plus(step);
    }
    from
}

/// Returns the duration between two moments: elapsed or working time, as the task counts.
fn length(task: &Task, start: Moment, finish: Moment, time: &WorkingTime) -> Span {
    if task.elapsed { finish.since(start) } else { time.between(start, finish) }
}

fn move_to(task: &mut Task, dates: TaskDates, start: Moment, time: &WorkingTime) {
    let duration = Span(time.between(dates.start, dates.finish).0.max(0));
    let finish = time.add(start, duration);
    if task.mode == Mode::Manual {
        task.manual_start = start;
        task.manual_finish = finish;
        return;
    }
    set_start(task, start);
    if task.actual_finish.is_some() {
        task.actual_finish = finish;
    }
}

/// Sets the start of an automatic task: its actual start if it has begun, else a constraint.
fn set_start(task: &mut Task, start: Moment) {
    if task.actual_start.is_some() {
        task.actual_start = start;
    } else {
        task.constraint = Constraint::StartNoEarlierThan(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pmo_planning::{Calendar, CalendarIndex, Edit, Link, Live, Plan, Settings};

    fn at(day: u32, hour: u32) -> Moment {
        Moment::from_civil(2026, 3, day, hour, 0)
    }

    fn standard() -> WorkingTime {
        WorkingTime::of_calendar(&[Calendar::standard()], CalendarIndex(0))
    }

    /// Three tasks of two days, one after the other, from Monday 2 March 2026.
    fn live() -> Live {
        let settings = Settings { start: at(2, 8), ..Settings::default() };
        let tasks = (0..3).map(|id| Task::new(id, Span::hours(16))).collect();
        let links = vec![Link::finish_to_start(0, 1), Link::finish_to_start(1, 2)];
        Live::new(Plan { settings, calendars: vec![Calendar::standard()], tasks, links, ..Plan::default() })
    }

    fn dates(live: &Live, task: usize) -> TaskDates {
        TaskDates { start: live.schedule().start[task], finish: live.schedule().finish[task] }
    }

    fn previewed(live: &mut Live, task: u32, gesture: Gesture) -> TaskDates {
        let before = live.plan().tasks[task as usize];
        let entry = preview(&before, dates(live, task as usize), gesture, &standard()).unwrap();
        live.change(Edit::Task { task, entry });
        dates(live, 2)
    }

    #[test]
    fn a_move_pushes_the_successors() {
        let last = previewed(&mut live(), 0, Gesture::Move { row: 0, start: at(4, 8) });
        assert_eq!(last, TaskDates { start: at(10, 8), finish: at(11, 17) });
    }

    #[test]
    fn a_longer_task_pushes_the_successors() {
        let last = previewed(&mut live(), 0, Gesture::ResizeFinish { row: 0, finish: at(4, 17) });
        assert_eq!(last, TaskDates { start: at(9, 8), finish: at(10, 17) });
    }

    #[test]
    fn a_later_start_keeps_the_finish() {
        let mut live = live();
        let last = previewed(&mut live, 0, Gesture::ResizeStart { row: 0, start: at(3, 8) });
        assert_eq!(dates(&live, 0), TaskDates { start: at(3, 8), finish: at(3, 17) });
        assert_eq!(last, dates(&self::live(), 2));
    }

    #[test]
    fn a_cancelled_preview_restores_all_dates() {
        let mut live = live();
        let (before, entry) = (live.schedule().clone(), live.plan().tasks[0]);
        previewed(&mut live, 0, Gesture::Move { row: 0, start: at(20, 8) });
        live.change(Edit::Task { task: 0, entry });
        assert_eq!(*live.schedule(), before);
    }

    #[test]
    fn progress_starts_and_finishes_a_task() {
        let mut live = live();
        previewed(&mut live, 0, Gesture::Progress { row: 0, percent: 50 });
        assert_eq!((live.plan().tasks[0].actual_start, live.schedule().percent_complete[0]), (at(2, 8), 50));
        previewed(&mut live, 0, Gesture::Progress { row: 0, percent: 100 });
        assert_eq!(live.plan().tasks[0].actual_finish, at(3, 17));
        previewed(&mut live, 0, Gesture::Progress { row: 0, percent: 20 });
        assert!(live.plan().tasks[0].actual_finish.is_none());
    }

    #[test]
    fn manual_and_inactive_tasks_have_their_own_rules() {
        let dates = TaskDates { start: at(2, 8), finish: at(3, 17) };
        let mut task = Task { mode: Mode::Manual, ..Task::new(0, Span::hours(16)) };
        let moved = preview(&task, dates, Gesture::Move { row: 0, start: at(7, 8) }, &standard()).unwrap();
        assert_eq!((moved.manual_start, moved.manual_finish), (at(9, 8), at(10, 17)), "a weekend is skipped");
        assert_eq!(moved.constraint, Constraint::AsSoonAsPossible);
        task.mode = Mode::Inactive;
        assert_eq!(preview(&task, dates, Gesture::Move { row: 0, start: at(7, 8) }, &standard()), None);
    }

    #[test]
    fn steps_skip_weekends_in_both_directions() {
        let time = standard();
        assert_eq!(stepped_start(at(6, 8), 1, &time), at(9, 8), "Friday to Monday");
        assert_eq!(stepped_start(at(9, 8), -1, &time), at(6, 8), "Monday to Friday");
        assert_eq!(stepped_start(at(9, 8), 7, &time), at(16, 8));
        assert_eq!(stepped_finish(at(6, 17), 1, &time), at(9, 17));
        assert_eq!(stepped_finish(at(9, 17), -1, &time), at(6, 17));
        assert_eq!(stepped_start(at(9, 8), 0, &time), at(9, 8));
    }

    #[test]
    fn a_bar_without_working_time_is_no_change() {
        let task = Task::new(0, Span::hours(16));
        let dates = TaskDates { start: at(2, 8), finish: at(3, 17) };
        let weekend = Gesture::ResizeFinish { row: 0, finish: at(1, 17) };
        assert_eq!(preview(&task, dates, weekend, &standard()), None);
    }
}
