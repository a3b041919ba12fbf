//! Edits of the progress of one task.

use super::TaskEditor;
use crate::calendars::start_on;
use crate::edit::{EditError, ImpliedChange};
use crate::{Percent, TaskInput};
use pmo_planning::Moment;
use serde_json::Value;

/// All of the duration is done.
const COMPLETE: Percent = Percent(10_000);

impl TaskEditor<'_> {
    /// Makes a typed percentage actual dates.
    ///
    /// Above 0, the task has begun; at 100, it is finished; below 100, it is not finished, and at 0
    /// it has not begun. An actual duration and the end of the done part no longer hold.
    pub(super) fn type_progress(&mut self, before: Option<&TaskInput>) -> Result<(), EditError> {
        let completion = self.task.completion;
        let previous = before.map_or(Percent(0), |before| before.completion);
        if !self.patch.contains_key("completion_pct") || completion == previous {
            return Ok(());
        }
        self.set_completion(completion, previous);
        Ok(())
    }

    /// Adds what a percentage implies.
    pub(crate) fn set_completion(&mut self, completion: Percent, previous: Percent) {
        if self.task.actual_duration.is_some() && self.put("actual_duration_minutes", Value::Null) {
            self.implied.push(ImpliedChange::ActualDurationRemoved);
        }
        if self.task.stop.is_some() {
            self.put("stop_ts", Value::Null);
        }
        let start = self.actual_start_or_default();
        if completion > Percent(0) && self.task.actual_start_date.is_none() {
            self.set_actual_start(start);
        }
        if completion >= COMPLETE {
            if self.task.actual_end_date.is_none() {
                let finish =
                    self.current.finish.get().filter(|finish| *finish >= start && self.current.start.is_some());
                let finish = finish.unwrap_or_else(|| self.time.finish_after(start, self.duration()));
                self.set_actual_finish(start, finish);
            }
        } else if self.task.actual_end_date.is_some() {
            self.set_actual_finish(Moment::NONE, Moment::NONE);
        }
        if completion <= Percent(0) && previous > Percent(0) && self.task.actual_start_date.is_some() {
            self.set_actual_start(Moment::NONE);
        }
    }

    /// Returns the actual start, or else the present start.
    fn actual_start_or_default(&self) -> Moment {
        match self.task.actual_start_date {
            Some(day) => start_on(day, self.task.actual_start).unwrap_or_else(|| self.time.day_start(day)),
            None => self.start_or_default(),
        }
    }
}
