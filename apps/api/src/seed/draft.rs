//! Rows of a project while its plan is being made: tasks, dependencies, assignments.

use super::calendars::{Calendars, country_calendar, named_calendar};
use super::company::Chosen;
use super::demo_id::{demo_id, demo_random};
use super::library::ProjectText;
use super::moments::day_text;
use super::plan_text::{Length, PlanText, TaskText};
use super::rows::row;
use pmo_planning::{Day, LinkKind, Moment, Schedule, Span};
use pmo_project_plan::{
    AssignmentInput, CalendarSet, ConstraintType, DependencyInput, OptionName, PlanInput, ProjectInput, ProjectPlan,
    Row, TaskInput,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Numbers of the entities of a project begin at its number times this.
pub(crate) const NUMBERS_PER_PROJECT: usize = 1000;
/// Story points that a task may have.
const STORY_POINTS: [u32; 5] = [1, 2, 3, 5, 8];

/// Project whose plan is being made.
pub(crate) struct Draft<'text> {
    /// Number of the project, from 1.
    pub number: usize,
    /// Name and story.
    pub text: &'text ProjectText,
    /// Plan as written.
    pub plan: &'text PlanText,
    /// Row of the project.
    pub project: Row,
    /// Rows of the tasks in outline order.
    pub tasks: Vec<Row>,
    /// Rows of the dependencies.
    pub links: Vec<Row>,
    /// Rows of the assignments.
    pub assignments: Vec<Row>,
    /// Person of each role and number.
    pub people: BTreeMap<(String, usize), Chosen>,
    /// Durations of the tasks; zero for summaries.
    pub lengths: Vec<Span>,
    used_calendars: BTreeSet<Uuid>,
}

/// Plan of a draft with its dates.
pub(crate) struct Timeline {
    /// The plan.
    pub plan: ProjectPlan,
    /// Its dates.
    pub schedule: Schedule,
    /// Calendars that the plan uses.
    pub calendars: CalendarSet,
}

impl Timeline {
    /// Returns the start of a task.
    pub(crate) fn start(&self, task: usize) -> Moment {
        self.schedule.start.get(task).copied().unwrap_or_default()
    }

    /// Returns the finish of a task.
    pub(crate) fn finish(&self, task: usize) -> Moment {
        self.schedule.finish.get(task).copied().unwrap_or_default()
    }
}

impl<'text> Draft<'text> {
    /// Returns the rows of a plan without people and constraints; it starts on `start`.
    pub(crate) fn new(number: usize, text: &'text ProjectText, plan: &'text PlanText, start: Day) -> Self {
        let project = row([
            ("id", json!(demo_id("project", number))),
            ("planned_start_date", json!(day_text(start))),
            ("calendar_id", json!(country_calendar(text.country))),
            ("day_hours", json!(8)),
        ]);
        let mut draft = Self {
            number,
            text,
            plan,
            project,
            tasks: Vec::new(),
            links: Vec::new(),
            assignments: Vec::new(),
            people: BTreeMap::new(),
            lengths: plan.tasks.iter().map(|task| task.length.map_or(Span::ZERO, |length| length.span)).collect(),
            used_calendars: BTreeSet::from([country_calendar(text.country)]),
        };
        draft.add_tasks();
        draft.add_links();
        draft
    }

    /// Returns the number of an entity of the project, for its id.
    pub(crate) fn entity_number(&self, index: usize) -> usize {
        self.number * NUMBERS_PER_PROJECT + index + 1
    }

    /// Returns the id of a task.
    pub(crate) fn task_id(&self, task: usize) -> Uuid {
        demo_id("task", self.entity_number(task))
    }

    /// Returns the id of the project.
    pub(crate) fn project_id(&self) -> Uuid {
        demo_id("project", self.number)
    }

    /// Sets a column of a task.
    pub(crate) fn set(&mut self, task: usize, column: &str, value: Value) {
        if let Some(row) = self.tasks.get_mut(task) {
            row.insert(column.to_owned(), value);
        }
    }

    /// Sets the duration of a task.
    pub(crate) fn set_duration(&mut self, task: usize, span: Span) {
        let day = self.plan.tasks.get(task).and_then(|task| task.length).map_or(Span::hours(8), Length::day);
        self.set(task, "duration_minutes", json!(f64::from(span.0) / 10.0));
        self.set(task, "duration_days", json!(f64::from(span.0) / f64::from(day.0)));
        if let Some(length) = self.lengths.get_mut(task) {
            *length = span;
        }
    }

    /// Sets the constraint of a task.
    pub(crate) fn set_constraint(&mut self, task: usize, kind: ConstraintType, date: Moment) {
        self.set(task, "dl__constraint_type", json!(kind.name()));
        self.set(task, "constraint_ts", super::moments::moment_value(date));
    }

    /// Assigns the people that the plan names, as `people` states them.
    pub(crate) fn assign_people(&mut self) {
        self.assignments.clear();
        let plan = self.plan;
        for (index, task) in plan.tasks.iter().enumerate() {
            let mut employees: Vec<Uuid> = Vec::new();
            for text in &task.people {
                let chosen = text.number.and_then(|number| self.people.get(&(text.role.clone(), number)));
                let employee = chosen.map(|chosen| chosen.employee_id());
                if employee.is_some_and(|employee| employees.contains(&employee)) {
                    continue;
                }
                employees.extend(employee);
                let number = self.entity_number(self.assignments.len());
                self.assignments.push(row([
                    ("id", json!(demo_id("assignment", number))),
                    ("name", json!(if employee.is_some() { "Assignment" } else { text.role.as_str() })),
                    ("task_id", json!(self.task_id(index))),
                    ("employee_id", json!(employee)),
                    ("placeholder_role", if employee.is_some() { Value::Null } else { json!(text.role) }),
                    ("units_pct", json!(text.units)),
                    ("work_hours", Value::Null),
                    ("actual_work_hours", json!(0)),
                    ("remaining_work_hours", Value::Null),
                ]));
            }
            self.set(index, "assignee__employee_ids", json!(employees));
        }
    }

    /// Computes the dates of the rows.
    pub(crate) fn schedule(&self, calendars: &Calendars) -> Timeline {
        let part_time = self.people.values().filter_map(|chosen| Some((chosen.employee_id(), chosen.calendar?)));
        let assigned: BTreeSet<Uuid> =
            self.assignments.iter().filter_map(|row| Uuid::try_parse(row.get("employee_id")?.as_str()?).ok()).collect();
        let part_time: Vec<_> = part_time.filter(|(employee, _)| assigned.contains(employee)).collect();
        let calendars = calendars.used(&self.used_calendars, &part_time);
        let input = PlanInput {
            project: ProjectInput::from_row(&self.project),
            tasks: self.tasks.iter().map(TaskInput::from_row).collect(),
            dependencies: self.links.iter().map(DependencyInput::from_row).collect(),
            assignments: self.assignments.iter().map(AssignmentInput::from_row).collect(),
            calendars: calendars.clone(),
            external_tasks: Vec::new(),
        };
        let plan = pmo_project_plan::build(&input);
        let schedule = pmo_planning::schedule(&plan.plan);
        Timeline { plan, schedule, calendars }
    }

    fn add_tasks(&mut self) {
        let plan = self.plan;
        let mut child_counts: BTreeMap<Option<usize>, usize> = BTreeMap::new();
        let mut numbers: Vec<String> = Vec::new();
        for (index, task) in plan.tasks.iter().enumerate() {
            let place = child_counts.entry(task.parent).and_modify(|count| *count += 1).or_insert(1);
            let above = task.parent.and_then(|parent| numbers.get(parent));
            let wbs = above.map_or_else(|| place.to_string(), |above| format!("{above}.{place}"));
            let rank = rank(*place);
            let row = self.task_row(index, task, &wbs, &rank);
            self.tasks.push(row);
            numbers.push(wbs);
            match task.length {
                Some(length) => {
                    self.set(index, "duration_unit", json!(length.unit.code()));
                    self.set_duration(index, length.span);
                }
                None => self.set(index, "dl__effort_type", json!("Fixed Duration")),
            }
        }
    }

    fn task_row(&mut self, index: usize, task: &TaskText, wbs: &str, rank: &str) -> Row {
        let calendar = task.flags.calendar.as_deref().map(named_calendar);
        self.used_calendars.extend(calendar);
        let is_milestone = task.length.is_some_and(|length| length.span == Span::ZERO);
        let number = self.entity_number(index);
        let has_points = self.plan.has_sprints && task.length.is_some() && !is_milestone;
        let points = STORY_POINTS[demo_random("points", number, STORY_POINTS.len())];
        let or = |option: &'static str, default: &'static str| if option.is_empty() { default } else { option };
        row([
            ("id", json!(self.task_id(index))),
            ("name", json!(task.name)),
            ("project_id", json!(self.project_id())),
            ("parent__task_id", json!(task.parent.map(|parent| self.task_id(parent)))),
            ("wbs", json!(wbs)),
            ("rank", json!(rank)),
            ("milestone_flag", json!(is_milestone)),
            ("duration_minutes", Value::Null),
            ("duration_days", Value::Null),
            ("duration_unit", json!("d")),
            ("dl__effort_type", json!(task.flags.task_type.name())),
            ("dl__constraint_type", json!(ConstraintType::AsSoonAsPossible.name())),
            ("constraint_ts", Value::Null),
            ("deadline_ts", Value::Null),
            ("calendar_id", json!(calendar)),
            // Shifts are not in the calendars of the people who work in them.
            ("ignore_resource_calendars_flag", json!(calendar.is_some())),
            ("actual_start_date", Value::Null),
            ("actual_start_ts", Value::Null),
            ("actual_end_date", Value::Null),
            ("actual_end_ts", Value::Null),
            ("completion_pct", json!(0)),
            ("estimated_hours", Value::Null),
            ("actual_hours", Value::Null),
            ("story_points", if has_points { json!(points) } else { Value::Null }),
            ("assignee__employee_ids", json!([])),
            ("sprint_id", Value::Null),
            ("dl__task_stage", json!("To Do")),
            ("dl__task_priority", json!(or(task.flags.priority, "Medium"))),
            ("dl__task_type", json!(or(task.flags.kind, if is_milestone { "Deadline" } else { "Work" }))),
        ])
    }

    fn add_links(&mut self) {
        let plan = self.plan;
        for (successor, task) in plan.tasks.iter().enumerate() {
            for predecessor in &task.predecessors {
                let before = plan.tasks.get(predecessor.task).map_or("", |task| task.name.as_str());
                let number = self.entity_number(self.links.len());
                let lag = predecessor.lag;
                self.links.push(row([
                    ("id", json!(demo_id("dependency", number))),
                    ("name", json!(format!("{before} → {}", task.name))),
                    ("project_id", json!(self.project_id())),
                    ("predecessor__task_id", json!(self.task_id(predecessor.task))),
                    ("successor__task_id", json!(self.task_id(successor))),
                    ("dl__dependency_type", json!(predecessor.kind.name())),
                    ("lag_minutes", json!(f64::from(lag.span.0) / 10.0)),
                    ("lag_days", json!(f64::from(lag.span.0) / f64::from(lag.day().0))),
                    ("lag_unit", json!(lag.unit.code())),
                ]));
            }
        }
    }
}

/// Returns the order key of the n-th sibling, as `app.fractional_index_after` makes them.
fn rank(place: usize) -> String {
    let digit = |value: usize| char::from_digit(u32::try_from(value % 36).unwrap_or_default(), 36).unwrap_or('0');
    format!("00{}{}00", digit(place / 36), digit(place))
}

/// Returns whether a task with a link can only begin after the predecessor has begun or finished.
pub(crate) fn waits_for_finish(kind: LinkKind) -> bool {
    matches!(kind, LinkKind::FinishToStart | LinkKind::FinishToFinish)
}
