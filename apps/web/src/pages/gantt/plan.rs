//! Plan of the project from cached rows, with its schedule.

use crate::ui::format;
use pmo_domain::Row;
use pmo_gantt::TaskDates;
use pmo_planning::{CalendarIndex, Driver, Live, Mode, Moment, Span, WorkingTime};
use pmo_project_plan::baseline::Snapshot;
use pmo_project_plan::{
    AssignmentInput, CalendarSet, CurrentDates, DependencyInput, EditContext, PlanInput, ProjectInput, ProjectPlan,
    TaskInput, build,
};
use pmo_sync::RowView;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use uuid::Uuid;

/// Rows of a project, as far as the device holds them.
#[derive(Clone, PartialEq)]
pub(super) struct PlanRows {
    pub(super) project: Option<RowView>,
    pub(super) tasks: Vec<RowView>,
    pub(super) dependencies: Vec<RowView>,
    pub(super) assignments: Vec<RowView>,
    /// Rows of type `schedule`: the calendars that the server used.
    pub(super) schedules: Vec<RowView>,
    /// Names of people by id, for initials.
    pub(super) people: Arc<HashMap<String, String>>,
    /// Whether all lists are on the device.
    pub(super) complete: bool,
}

/// Task as the chart shows it.
#[derive(Clone, Debug)]
pub(super) struct TaskInfo {
    pub(super) id: Uuid,
    pub(super) name: String,
    pub(super) wbs: String,
    /// Depth in the outline, from 1.
    pub(super) level: usize,
    pub(super) parent: Option<u32>,
    pub(super) milestone: bool,
    /// Initials of the people assigned.
    pub(super) initials: String,
    /// Whether a change of the row waits to be sent.
    pub(super) pending: bool,
    pub(super) row: Arc<Row>,
}

/// Origin of the dates that are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DateSource {
    /// The engine on this device.
    Computed,
    /// The stored columns, because a part of the plan is not on this device.
    #[default]
    Stored,
}

/// Plan of a project with its schedule.
pub(super) struct GanttPlan {
    pub(super) input: PlanInput,
    pub(super) plan: ProjectPlan,
    pub(super) live: Live,
    pub(super) source: DateSource,
    pub(super) tasks: Vec<TaskInfo>,
    /// Working time of the project.
    pub(super) time: WorkingTime,
    /// Place in `input.tasks` of each task.
    places: Vec<usize>,
}

impl GanttPlan {
    /// Builds the plan.
    pub(super) fn new(rows: &PlanRows) -> Self {
        let project = rows.project.as_ref().map(|row| ProjectInput::from_row(&row.data)).unwrap_or_default();
        let calendars = rows.schedules.first().and_then(|row| row.data.get("calendars"));
        let input = PlanInput {
            project,
            tasks: rows.tasks.iter().map(|row| TaskInput::from_row(&row.data)).collect(),
            dependencies: rows.dependencies.iter().map(|row| DependencyInput::from_row(&row.data)).collect(),
            assignments: rows.assignments.iter().map(|row| AssignmentInput::from_row(&row.data)).collect(),
            calendars: calendars.map(CalendarSet::from_json).unwrap_or_default(),
            external_tasks: Vec::new(),
        };
        let plan = build(&input);
        let by_id: HashMap<Uuid, usize> =
            input.tasks.iter().enumerate().map(|(place, task)| (task.id, place)).collect();
        let places: Vec<usize> =
            plan.task_ids.iter().map(|id| by_id.get(id).copied().unwrap_or_default()).take(plan.task_count).collect();
        let mut tasks: Vec<TaskInfo> = Vec::with_capacity(places.len());
        for (position, place) in places.iter().enumerate() {
            let parent = plan.plan.tasks.get(position).and_then(|task| task.parent);
            let level = parent.and_then(|parent| tasks.get(parent as usize)).map_or(1, |parent| parent.level + 1);
            if let (Some(row), Some(id)) = (rows.tasks.get(*place), plan.task_ids.get(position)) {
                tasks.push(task_info(*id, row, parent, level, &rows.people));
            }
        }
        let live = Live::new(plan.plan.clone());
        let calendar = plan.plan.settings.calendar;
        let time = WorkingTime::of_calendar(&plan.plan.calendars, calendar);
        let complete = rows.complete && plan.incomplete.is_empty();
        let source = if complete { DateSource::Computed } else { DateSource::Stored };
        Self { input, plan, live, source, tasks, time, places }
    }

    /// Returns the inputs of a task.
    pub(super) fn task_input(&self, task: u32) -> Option<&TaskInput> {
        self.input.tasks.get(*self.places.get(task as usize)?)
    }

    /// Returns the dates of a task; absent ones if it has none.
    pub(super) fn dates(&self, task: u32) -> TaskDates {
        let schedule = self.live.schedule();
        let at = |list: &[Moment]| list.get(task as usize).copied().unwrap_or_default();
        if self.source == DateSource::Computed {
            let dates = TaskDates { start: at(&schedule.start), finish: at(&schedule.finish) };
            if dates.start.is_some() {
                return dates;
            }
        }
        let stored = self.task_input(task).map(|task| &task.stored);
        stored.map_or(TaskDates { start: Moment::NONE, finish: Moment::NONE }, |stored| TaskDates {
            start: stored
                .start
                .get()
                .or(stored.start_date.map(|day| day.midnight().plus(Span::hours(8))))
                .unwrap_or_default(),
            finish: stored
                .finish
                .get()
                .or(stored.due_date.map(|day| day.midnight().plus(Span::hours(17))))
                .unwrap_or_default(),
        })
    }

    /// Returns whether a task contains tasks.
    pub(super) fn is_summary(&self, task: u32) -> bool {
        self.plan.is_summary.get(task as usize).copied().unwrap_or_default()
    }

    /// Returns whether a task is critical.
    pub(super) fn is_critical(&self, task: u32) -> bool {
        match self.source {
            DateSource::Computed => self.live.schedule().critical.get(task as usize).copied().unwrap_or_default(),
            DateSource::Stored => self.task_input(task).is_some_and(|task| task.stored.is_critical),
        }
    }

    /// Returns the duration that is done, as a percentage.
    pub(super) fn percent(&self, task: u32) -> u8 {
        let computed = self.live.schedule().percent_complete.get(task as usize).copied();
        let stored = || self.task_input(task).map(|task| u8::try_from(task.completion.0 / 100).unwrap_or(100));
        match self.source {
            DateSource::Computed => computed.unwrap_or_default(),
            DateSource::Stored => stored().unwrap_or_default(),
        }
    }

    /// Returns the total slack of a task; `None` if it is unknown.
    pub(super) fn total_slack(&self, task: u32) -> Option<Span> {
        match self.source {
            DateSource::Computed => self.live.schedule().total_slack.get(task as usize).copied(),
            DateSource::Stored => self.task_input(task).and_then(|task| task.stored.total_slack),
        }
    }

    /// Returns the latest finish of a task.
    pub(super) fn late_finish(&self, task: u32) -> Moment {
        match self.source {
            DateSource::Computed => self.live.schedule().late_finish.get(task as usize).copied().unwrap_or_default(),
            DateSource::Stored => self.task_input(task).map(|task| task.stored.late_finish).unwrap_or_default(),
        }
    }

    /// Returns the duration of a task in days of the project, as `3d` or `0.5d`.
    pub(super) fn duration_text(&self, task: u32) -> String {
        let Some(entry) = self.live.plan().tasks.get(task as usize) else { return String::new() };
        let computed = self.live.schedule().duration.get(task as usize).copied().unwrap_or(entry.duration);
        let day = if entry.elapsed && !self.is_summary(task) { Span::hours(24) } else { self.plan.unit_sizes.day };
        let days = f64::from(computed.0) / f64::from(day.0.max(1));
        let unit = if entry.elapsed { "ed" } else { "d" };
        format!("{}{unit}", format::trim_zeros(days))
    }

    /// Returns the working time of a task's calendar.
    pub(super) fn time_of(&self, task: u32) -> WorkingTime {
        match self.live.plan().tasks.get(task as usize).and_then(|task| task.calendar) {
            Some(calendar) => WorkingTime::of_calendar(&self.live.plan().calendars, calendar),
            None => self.time.clone(),
        }
    }

    /// Returns what edits of a task must know.
    pub(super) fn edit_context(&self, task: u32) -> EditContext<'_> {
        let TaskDates { start, finish } = self.dates(task);
        EditContext {
            project: Some(&self.plan.project),
            calendars: &self.input.calendars,
            current: Some(CurrentDates { start, finish, is_summary: self.is_summary(task) }),
        }
    }

    /// Returns the start of the project.
    pub(super) fn start(&self) -> Moment {
        self.live.schedule().project_start
    }

    /// Returns whether a link decides on a date of its successor.
    pub(super) fn drives(&self, link: u32) -> bool {
        let schedule = self.live.schedule();
        let successor = self.live.plan().links.get(link as usize).map(|link| link.successor as usize);
        let is_driver = |drivers: &[Driver]| {
            successor.and_then(|task| drivers.get(task)).is_some_and(|driver| *driver == Driver::Link(link))
        };
        is_driver(&schedule.start_driver) || is_driver(&schedule.finish_driver)
    }

    /// Returns whether a task takes no part in the plan.
    pub(super) fn mode(&self, task: u32) -> Mode {
        self.live.plan().tasks.get(task as usize).map(|task| task.mode).unwrap_or_default()
    }
}

impl Default for GanttPlan {
    fn default() -> Self {
        let plan = ProjectPlan::default();
        Self {
            input: PlanInput::default(),
            live: Live::new(plan.plan.clone()),
            plan,
            source: DateSource::Stored,
            tasks: Vec::new(),
            time: WorkingTime::of_calendar(&[], CalendarIndex(0)),
            places: Vec::new(),
        }
    }
}

fn task_info(id: Uuid, row: &RowView, parent: Option<u32>, level: usize, people: &HashMap<String, String>) -> TaskInfo {
    let ids = crate::ui::value_view::reference_ids(row.data.get("assignee__employee_ids"));
    let initials: Vec<String> =
        ids.iter().filter_map(|id| people.get(id)).map(|name| format::initials(name)).take(3).collect();
    TaskInfo {
        id,
        name: format::text(&row.data, "name"),
        wbs: format::text(&row.data, "wbs"),
        level,
        parent,
        milestone: row.data.get("milestone_flag") == Some(&Value::Bool(true)),
        initials: initials.join(", "),
        pending: row.pending,
        row: row.data.clone(),
    }
}

/// Returns the snapshots of baselines, the latest first.
pub(super) fn snapshots(rows: &[RowView]) -> Vec<Snapshot> {
    let mut rows: Vec<&RowView> = rows.iter().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(format::text(&row.data, "captured_ts")));
    rows.iter().filter_map(|row| row.data.get("snapshot")).map(Snapshot::from_json).collect()
}
