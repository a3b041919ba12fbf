//! Edits of the dates of one task.

mod progress;

use crate::build::project_start;
use crate::cell::{format_day, minutes_value, moment_value};
use crate::derived_columns::due_day;
use crate::edit::{CurrentDates, EditError, ImpliedChange};
use crate::options::OptionName;
use crate::task_time::TaskTime;
use crate::{CalendarSet, ConstraintType, ProjectInput, Row, TaskInput};
use pmo_planning::{Day, Direction, Mode, Moment, Span};
use serde_json::Value;

/// Task that is edited, with the patch that grows.
///
/// Invariant: a column that the patch contains is not replaced.
pub(crate) struct TaskEditor<'a> {
    /// Task after the patch.
    pub(crate) task: TaskInput,
    pub(crate) project: &'a ProjectInput,
    pub(crate) time: TaskTime,
    pub(crate) current: CurrentDates,
    pub(crate) patch: Row,
    pub(crate) implied: Vec<ImpliedChange>,
}

impl<'a> TaskEditor<'a> {
    pub(crate) fn new(
        task: TaskInput,
        project: &'a ProjectInput,
        calendars: &CalendarSet,
        current: CurrentDates,
        patch: Row,
    ) -> Self {
        let time = TaskTime::new(&task, project, calendars);
        Self { task, project, time, current, patch, implied: Vec::new() }
    }

    /// Expands the typed values of the patch; `before` is the task before it.
    pub(crate) fn expand(&mut self, before: Option<&TaskInput>) -> Result<(), EditError> {
        let new_mode = self.project.new_tasks_manual && self.put("dl__schedule_mode", Mode::Manual.name());
        if before.is_none() && new_mode {
            self.task.mode = Mode::Manual;
            self.implied.push(ImpliedChange::ManualMode);
        } else if new_mode {
            self.patch.remove("dl__schedule_mode");
        }
        let start = self.typed_day("start_date", before);
        let mut finish = self.typed_day("due_date", before);
        if start.flatten().is_some() && finish.is_none() && self.states(&["due_date"]) {
            // The present finish, stated with another start, is to stay.
            finish = self.task.stored.due_date.map(Some);
        }
        match self.task.mode {
            Mode::Inactive => return Ok(()),
            Mode::Manual => {
                let was_manual = before.is_some_and(|before| before.mode == Mode::Manual);
                self.type_manual_dates(start, finish, was_manual, before)?;
            }
            Mode::Automatic => {
                self.check_summary(finish, before)?;
                self.type_start(start);
                self.type_finish(start, finish)?;
            }
        }
        self.type_progress(before)
    }

    /// Inserts a value unless the patch has one; returns whether it was inserted.
    pub(crate) fn put(&mut self, column: &str, value: impl Into<Value>) -> bool {
        let is_new = !self.patch.contains_key(column);
        if is_new {
            self.patch.insert(column.to_owned(), value.into());
        }
        is_new
    }

    /// Returns true if the patch states one of some columns itself.
    pub(crate) fn states(&self, columns: &[&str]) -> bool {
        columns.iter().any(|column| self.patch.contains_key(*column))
    }

    /// Returns whether the task has begun.
    pub(crate) fn is_started(&self) -> bool {
        self.task.actual_start_date.is_some() || self.task.actual_end_date.is_some()
    }

    /// Returns the duration of the task.
    pub(crate) fn duration(&self) -> Span {
        self.task.duration_or_default(self.project.day)
    }

    /// Returns the present start, or else the first moment at which the task may begin.
    pub(crate) fn start_or_default(&self) -> Moment {
        self.current.start.get().unwrap_or_else(|| {
            let start = self.task.stored.start_date.map(|day| self.time.day_start(day));
            self.time.start_form(start.unwrap_or_else(|| project_start(self.project, &self.time.own, &[])))
        })
    }

    /// Sets the constraint that gives the task a start.
    pub(crate) fn set_start(&mut self, start: Moment) {
        if self.task.actual_start_date.is_some() {
            self.set_actual_start(start);
            return;
        }
        let from_finish = self.project.direction() == Direction::FromFinish;
        let kind = if from_finish { ConstraintType::StartNoLaterThan } else { ConstraintType::StartNoEarlierThan };
        self.constrain(kind, start);
    }

    /// Sets the duration, unless the patch states one.
    pub(crate) fn set_duration(&mut self, duration: Span) {
        let before = self.task.duration;
        if before != Some(duration) && self.put("duration_minutes", minutes_value(duration)) {
            if self.task.is_estimated {
                self.put("estimated_flag", false);
            }
            self.implied.push(ImpliedChange::DurationSet { duration, before });
        }
        self.task.duration = Some(duration);
    }

    /// Sets both dates of a manual task.
    pub(crate) fn set_manual_dates(&mut self, start: Moment, finish: Moment) {
        let is_new = self.put("manual_start_ts", moment_value(start));
        if self.put("manual_finish_ts", moment_value(finish)) || is_new {
            self.implied.push(ImpliedChange::ManualDatesSet { start, finish });
        }
    }

    /// Sets the actual start, unless the patch states one.
    pub(crate) fn set_actual_start(&mut self, start: Moment) {
        let day = start.get().map_or(Value::Null, |start| Value::from(format_day(start.day())));
        if self.put("actual_start_date", day) {
            self.put("actual_start_ts", moment_value(start));
            self.implied.push(ImpliedChange::ActualStartSet(start));
        }
    }

    /// Sets the actual finish of a task that began at `start`, unless the patch states one.
    pub(crate) fn set_actual_finish(&mut self, start: Moment, finish: Moment) {
        let day = finish.get().map_or(Value::Null, |finish| Value::from(format_day(due_day(start, finish))));
        if self.put("actual_end_date", day) {
            self.put("actual_end_ts", moment_value(finish));
            self.implied.push(ImpliedChange::ActualFinishSet(finish));
        }
    }

    /// Sets a constraint, unless the patch states one.
    fn constrain(&mut self, constraint: ConstraintType, date: Moment) {
        if self.states(&["dl__constraint_type", "constraint_ts"]) {
            return;
        }
        let (before, date_before) = (self.task.constraint_type, self.task.constraint_date);
        self.put("dl__constraint_type", constraint.name());
        self.put("constraint_ts", moment_value(date));
        self.implied.push(ImpliedChange::ConstraintSet { constraint, date, before, date_before });
    }

    /// Returns the typed day, if the patch has another than the task; `Some(None)` for null.
    fn typed_day(&self, column: &str, before: Option<&TaskInput>) -> Option<Option<Day>> {
        let is_start = column == "start_date";
        let of = |task: &TaskInput| if is_start { task.stored.start_date } else { task.stored.due_date };
        let CurrentDates { start, finish, .. } = self.current;
        let computed = match (is_start, start.get(), finish.get()) {
            (true, Some(start), _) => Some(start.day()),
            (false, Some(start), Some(finish)) => Some(due_day(start, finish)),
            _ => None,
        };
        let present = computed.or_else(|| before.and_then(of));
        let typed = of(&self.task);
        (self.patch.contains_key(column) && typed != present).then_some(typed)
    }

    /// Rejects values of an automatic summary that follow from the tasks below it.
    fn check_summary(&self, finish: Option<Option<Day>>, before: Option<&TaskInput>) -> Result<(), EditError> {
        let Some(before) = before.filter(|_| self.current.is_summary) else { return Ok(()) };
        let column = if finish.is_some_and(|finish| finish.is_some()) {
            "due_date"
        } else if self.patch.contains_key("duration_minutes") && self.task.duration != before.duration {
            if self.patch.contains_key("duration_days") { "duration_days" } else { "duration_minutes" }
        } else if self.patch.contains_key("completion_pct") && self.task.completion != before.completion {
            "completion_pct"
        } else {
            return Ok(());
        };
        Err(EditError::SummaryIsComputed { column })
    }

    /// Makes a typed start of an automatic task a constraint; null removes that constraint.
    fn type_start(&mut self, start: Option<Option<Day>>) {
        match start {
            Some(Some(day)) => self.set_start(self.time.day_start(day)),
            Some(None) if is_of_start(self.task.constraint_type) => {
                let (before, date_before) = (self.task.constraint_type, self.task.constraint_date);
                if !self.states(&["dl__constraint_type", "constraint_ts"]) {
                    self.put("dl__constraint_type", ConstraintType::AsSoonAsPossible.name());
                    self.put("constraint_ts", Value::Null);
                    self.implied.push(ImpliedChange::ConstraintRemoved { before, date_before });
                }
            }
            _ => {}
        }
    }

    /// Makes a typed finish of an automatic task another duration, or an earlier start.
    fn type_finish(&mut self, start: Option<Option<Day>>, finish: Option<Option<Day>>) -> Result<(), EditError> {
        let Some(day) = finish.flatten() else { return Ok(()) };
        let typed_start = start.flatten().map(|day| self.time.start_form(self.time.day_start(day)));
        let finish = self.time.day_end(day);
        if self.task.actual_end_date.is_some() {
            self.set_actual_finish(self.start_or_default(), finish);
            return Ok(());
        }
        if self.states(&["duration_minutes"]) {
            return Ok(());
        }
        if self.duration() == Span::ZERO && self.task.is_milestone {
            self.constrain_finish(finish);
            return Ok(());
        }
        if self.project.direction() == Direction::FromFinish && typed_start.is_none() && !self.is_started() {
            self.constrain_finish(finish);
            return Ok(());
        }
        let start = typed_start.or_else(|| self.stated_start()).unwrap_or_else(|| self.start_or_default());
        let duration = self.time.between(start, finish);
        if duration > Span::ZERO {
            self.set_duration(duration);
        } else if typed_start.is_some() || self.is_started() {
            return Err(EditError::FinishBeforeStart);
        } else {
            let finish = self.time.finish_form(finish);
            self.set_start(self.time.start_before(finish, self.duration()));
        }
        Ok(())
    }

    /// Returns the start that the patch asks for with a constraint or an actual date.
    fn stated_start(&self) -> Option<Moment> {
        if self.states(&["constraint_ts"]) && is_of_start(self.task.constraint_type) {
            return self.task.constraint_date.get().map(|date| self.time.start_form(date));
        }
        if self.states(&["actual_start_date"]) {
            let day = self.task.actual_start_date?;
            return Some(crate::calendars::start_on(day, self.task.actual_start).unwrap_or(self.time.day_start(day)));
        }
        None
    }

    fn constrain_finish(&mut self, finish: Moment) {
        let from_finish = self.project.direction() == Direction::FromFinish;
        let kind = if from_finish { ConstraintType::FinishNoLaterThan } else { ConstraintType::FinishNoEarlierThan };
        self.constrain(kind, finish);
    }

    /// Makes typed dates those of a manual task.
    ///
    /// A task that becomes manual keeps its dates. A start alone moves the finish if that would be
    /// before it, and the other way round; the duration then stays.
    fn type_manual_dates(
        &mut self,
        start: Option<Option<Day>>,
        finish: Option<Option<Day>>,
        was_manual: bool,
        before: Option<&TaskInput>,
    ) -> Result<(), EditError> {
        let resized = self.states(&["duration_minutes"])
            && before.is_some_and(|before| self.task.duration != before.duration)
            && finish.is_none();
        let is_typed = start.is_some() || finish.is_some();
        if was_manual && !is_typed && !resized {
            return Ok(());
        }
        let present = self.present_manual_dates(was_manual);
        let duration = match (present.0.get(), present.1.get()) {
            (Some(start), Some(finish)) => Span(self.time.between(start, finish).0.max(0)),
            _ => self.duration(),
        };
        let mut new_start = start.map_or(present.0, |day| day.map_or(Moment::NONE, |day| self.time.day_start(day)));
        let mut new_finish = finish.map_or(present.1, |day| day.map_or(Moment::NONE, |day| self.time.day_end(day)));
        if new_start.is_some() && resized {
            new_finish = self.time.finish_after(new_start, self.duration());
        } else if new_start.is_some() && new_finish.is_some() && new_finish < new_start {
            match (start, finish) {
                (Some(_), Some(_)) => return Err(EditError::FinishBeforeStart),
                (None, Some(_)) => new_start = self.time.start_before(new_finish, duration),
                _ => new_finish = self.time.finish_after(new_start, duration),
            }
        }
        if (new_start, new_finish) != (self.task.manual_start, self.task.manual_finish) {
            self.set_manual_dates(new_start, new_finish);
        }
        if is_typed && new_start.is_some() && new_finish.is_some() && !self.states(&["duration_minutes"]) {
            self.set_duration(Span(self.time.between(new_start, new_finish).0.max(0)));
        }
        Ok(())
    }

    /// Returns the dates of a manual task before typed ones; those it has now if it becomes manual.
    fn present_manual_dates(&self, was_manual: bool) -> (Moment, Moment) {
        let CurrentDates { start, finish, .. } = self.current;
        let present = |column: &str, manual: Moment, current: Moment| {
            if was_manual || self.states(&[column]) { manual } else { current.get().unwrap_or(manual) }
        };
        (
            present("manual_start_ts", self.task.manual_start, start),
            present("manual_finish_ts", self.task.manual_finish, finish),
        )
    }
}

/// Returns true for constraints that hold the start to a date.
fn is_of_start(constraint: ConstraintType) -> bool {
    matches!(
        constraint,
        ConstraintType::StartNoEarlierThan | ConstraintType::StartNoLaterThan | ConstraintType::MustStartOn
    )
}
