//! Plan and schedule of one project, as the rows on the device state them.

use crate::completeness::{MissingPart, PlanState};
use crate::held_rows::HeldRows;
use pmo_domain::{Catalog, EntityCode, EntityRef, Row};
use pmo_planning::{Edit, Live, Plan};
use pmo_project_plan::{
    CalendarSet, CurrentDates, DerivedColumns, ExternalTask, Missing, PlanInput, ProjectInput, ProjectPlan, build,
};
use pmo_sync::{Engine, ListKey, Query, ReferenceDataKey, SourceRow};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use uuid::Uuid;

/// Maximum number of tasks that are replaced one by one; more are computed as a new plan.
const MAX_SINGLE_EDITS: usize = 100;

/// Keys of the lists from which a plan is built.
///
/// `None` for types that the catalog does not have as children of projects, because a request for
/// them would be answered as if the project did not exist.
#[derive(Clone, Debug, Default, PartialEq)]
struct PlanLists {
    tasks: Option<ListKey>,
    dependencies: Option<ListKey>,
    schedule: Option<ListKey>,
    assignments: Option<ListKey>,
}

impl PlanLists {
    fn new(catalog: &Catalog, project: &EntityRef) -> Self {
        let list = |code: &str| {
            let relation = catalog.child_relation(project.code.as_str(), code)?;
            Some(ListKey::children_of(relation.code.clone(), project.clone(), relation.parent_column.clone()?))
        };
        Self {
            tasks: list("task"),
            dependencies: list("task_dependency"),
            schedule: list("schedule"),
            assignments: list("assignment"),
        }
    }
}

/// Result of [`DevicePlan::update`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanUpdate {
    /// Derived columns of tasks that are not shown yet; `None` ends those of a task.
    pub derived: Vec<(Uuid, Option<Row>)>,
    /// Whether plan, schedule or state may have changed.
    pub is_changed: bool,
}

/// Plan of a project with its schedule.
#[derive(Clone, Debug)]
pub struct DevicePlan {
    project: EntityRef,
    task_code: EntityCode,
    lists: PlanLists,
    input: PlanInput,
    project_row: Row,
    tasks: HeldRows,
    dependencies: HeldRows,
    assignments: HeldRows,
    schedule: HeldRows,
    schedule_rows: Vec<ScheduleRow>,
    /// Number of tasks at the last run of the server, if it says so.
    server_task_count: Option<u64>,
    /// Predecessors in other projects that the server knows.
    server_external_ids: Option<HashSet<Uuid>>,
    /// Whether the user may not view some of the tasks.
    has_hidden_tasks: bool,
    /// Predecessors in other projects.
    external_ids: BTreeSet<Uuid>,
    plan: ProjectPlan,
    live: Live,
    /// Derived columns that are shown.
    shown: BTreeMap<Uuid, DerivedColumns>,
    state: PlanState,
}

/// Row of a schedule: the calendars of the plan.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
struct ScheduleRow {
    calendars: Value,
}

impl DevicePlan {
    /// Creates the plan of a project, without rows; `None` if a type code is invalid.
    pub fn new(project: Uuid) -> Option<Self> {
        let code = |text: &str| EntityCode::new(text).ok();
        let project = EntityRef::new(code("project")?, project);
        Some(Self {
            task_code: code("task")?,
            lists: PlanLists::default(),
            input: PlanInput::default(),
            project_row: Row::new(),
            tasks: HeldRows::default(),
            dependencies: HeldRows::default(),
            assignments: HeldRows::default(),
            schedule: HeldRows::default(),
            schedule_rows: Vec::new(),
            server_task_count: None,
            server_external_ids: None,
            has_hidden_tasks: false,
            external_ids: BTreeSet::new(),
            plan: ProjectPlan::default(),
            live: Live::new(Plan::default()),
            shown: BTreeMap::new(),
            state: PlanState::ServerDates { missing: vec![MissingPart::Project] },
            project,
        })
    }

    /// Returns the queries whose rows the plan needs; they change with the catalog and the rows.
    pub fn queries(&self) -> Vec<Query> {
        let PlanLists { tasks, dependencies, schedule, assignments } = &self.lists;
        let lists = [tasks, dependencies, schedule, assignments].into_iter().flatten().cloned().map(Query::List);
        let external = self.external_ids.iter().map(|id| Query::Row(self.task(*id)));
        let single = [Query::Meta(ReferenceDataKey::Codes), Query::Row(self.project.clone())];
        single.into_iter().chain(lists).chain(external).collect()
    }

    /// Returns the project.
    pub fn project(&self) -> &EntityRef {
        &self.project
    }

    /// Returns the type of the rows that have derived columns.
    pub fn task_code(&self) -> &EntityCode {
        &self.task_code
    }

    /// Returns where the dates come from that the device shows.
    pub fn state(&self) -> &PlanState {
        &self.state
    }

    /// Returns the plan with the ids of its rows.
    ///
    /// In the state [`PlanState::ServerDates`], it contains the rows that are on the device.
    pub fn plan(&self) -> &ProjectPlan {
        &self.plan
    }

    /// Returns the plan with its schedule.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Returns the rows from which the plan was built.
    pub fn input(&self) -> &PlanInput {
        &self.input
    }

    /// Whether derived columns of this plan are shown.
    pub fn has_derived(&self) -> bool {
        !self.shown.is_empty()
    }

    /// Returns the computed dates of a task; `None` if the device shows those of the server.
    pub fn current_dates(&self, task: Uuid) -> Option<CurrentDates> {
        let position = self.plan.position(task).filter(|_| self.state == PlanState::Computed)? as usize;
        let schedule = self.live.schedule();
        Some(CurrentDates {
            start: *schedule.start.get(position)?,
            finish: *schedule.finish.get(position)?,
            is_summary: *self.plan.is_summary.get(position)?,
        })
    }

    /// Follows the rows of the engine.
    pub fn update(&mut self, engine: &Engine) -> PlanUpdate {
        let lists = PlanLists::new(&engine.catalog(), &self.project);
        let mut missing = Vec::new();
        let mut changed = self.read_project(engine, &mut missing) || lists != self.lists;
        let mut source = |key: Option<&ListKey>, part: MissingPart| {
            let rows = key.and_then(|key| engine.source_rows(key));
            if rows.is_none() {
                missing.push(part);
            }
            rows.unwrap_or_default()
        };
        let tasks = source(lists.tasks.as_ref(), MissingPart::Tasks);
        let dependencies = source(lists.dependencies.as_ref(), MissingPart::Dependencies);
        let schedule = source(lists.schedule.as_ref(), MissingPart::Schedule);
        // Assignments that do not name their project cannot be listed; people count with 100 %.
        let has_assignments = lists.assignments.is_some();
        let assignments =
            if has_assignments { source(lists.assignments.as_ref(), MissingPart::Assignments) } else { Vec::new() };
        self.lists = lists;
        let changed_tasks = self.tasks.update(&mut self.input.tasks, &tasks);
        let changed_links = self.dependencies.update(&mut self.input.dependencies, &dependencies);
        if !changed_tasks.is_empty() || !changed_links.is_empty() {
            changed = true;
            self.find_external_tasks();
        }
        changed |= !self.assignments.update(&mut self.input.assignments, &assignments).is_empty();
        changed |= self.read_schedule(&schedule);
        changed |= self.read_external_tasks(engine);
        if self.is_any_task_hidden(engine, tasks.len()) {
            missing.push(MissingPart::Tasks);
        }
        if changed {
            self.follow(build(&self.input));
        }
        missing.extend(
            self.plan.incomplete.iter().filter(|part| !self.is_deleted(part)).copied().map(MissingPart::Referenced),
        );
        let state = PlanState::of(missing);
        let is_changed = changed || state != self.state;
        self.state = state;
        PlanUpdate {
            derived: if is_changed { self.changed_columns(&changed_tasks.read) } else { Vec::new() },
            is_changed,
        }
    }

    /// Ends all derived columns that are shown; the plan must not be updated afterwards.
    pub fn end(&mut self) -> Vec<(Uuid, Option<Row>)> {
        std::mem::take(&mut self.shown).into_keys().map(|id| (id, None)).collect()
    }

    fn task(&self, id: Uuid) -> EntityRef {
        EntityRef::new(self.task_code.clone(), id)
    }

    fn read_project(&mut self, engine: &Engine, missing: &mut Vec<MissingPart>) -> bool {
        let Some(row) = engine.source_row(&self.project) else {
            missing.push(MissingPart::Project);
            return false;
        };
        if *row == self.project_row {
            return false;
        }
        self.project_row = (*row).clone();
        self.input.project = ProjectInput { id: self.project.id, ..ProjectInput::from_row(&row) };
        true
    }

    fn read_schedule(&mut self, source: &[SourceRow<'_>]) -> bool {
        if self.schedule.update(&mut self.schedule_rows, source).is_empty() {
            return false;
        }
        // A project has one schedule, or none before its first run.
        let calendars = self.schedule_rows.first().map(|row| row.calendars.clone()).unwrap_or_default();
        self.server_task_count = calendars.get("task_count").and_then(Value::as_u64);
        let external = calendars.get("external_task_ids").and_then(Value::as_array);
        self.server_external_ids =
            external.map(|ids| ids.iter().filter_map(Value::as_str).filter_map(|id| id.parse().ok()).collect());
        self.input.calendars = CalendarSet::from_json(&calendars);
        true
    }

    /// Finds the predecessors in other projects.
    fn find_external_tasks(&mut self) {
        let own: HashSet<Uuid> = self.input.tasks.iter().map(|task| task.id).collect();
        let predecessors = self.input.dependencies.iter().filter(|row| row.is_active).map(|row| row.predecessor_id);
        self.external_ids = predecessors.filter(|id| !own.contains(id)).collect();
    }

    /// Reads the predecessors in other projects, of which the dates of the server count.
    fn read_external_tasks(&mut self, engine: &Engine) -> bool {
        let read = |id: &Uuid| {
            let task = self.task(*id);
            match engine.source_row(&task) {
                Some(row) => Some(external_task(*id, &row)),
                // Deleted locally: nothing waits for it.
                None => engine.cached_row(&task).map(|_| ExternalTask { id: *id, ..ExternalTask::default() }),
            }
        };
        let external: Vec<ExternalTask> = self.external_ids.iter().filter_map(read).collect();
        if external == self.input.external_tasks {
            return false;
        }
        self.input.external_tasks = external;
        true
    }

    /// Whether the server knows more tasks than this device, although all lists are complete.
    ///
    /// Decided while no writes are pending: a task that is deleted locally is not hidden.
    fn is_any_task_hidden(&mut self, engine: &Engine, held: usize) -> bool {
        if engine.status().pending_writes == 0 {
            self.has_hidden_tasks = self.server_task_count.is_some_and(|count| (held as u64) < count);
        }
        self.has_hidden_tasks
    }

    /// Whether a part is a predecessor that the server does not use, because it was deleted.
    fn is_deleted(&self, part: &Missing) -> bool {
        match (part, &self.server_external_ids) {
            (Missing::Predecessor { task, .. }, Some(external)) => !external.contains(task),
            _ => false,
        }
    }

    /// Replaces the plan and brings the schedule up to date, task by task if that is possible.
    fn follow(&mut self, plan: ProjectPlan) {
        let before = std::mem::replace(&mut self.plan, plan);
        let (old, new) = (&before.plan, &self.plan.plan);
        let changed: Vec<usize> =
            old.tasks.iter().zip(&new.tasks).enumerate().filter(|(_, (a, b))| a != b).map(|(at, _)| at).collect();
        if changed.len() > MAX_SINGLE_EDITS || !is_same_network(old, new) {
            self.live.change(Edit::Plan(Box::new(new.clone())));
            return;
        }
        for at in changed {
            let task = u32::try_from(at).unwrap_or(u32::MAX);
            self.live.change(Edit::Task { task, entry: new.tasks[at] });
        }
    }

    /// Returns the derived columns that differ from those that are shown, and records them.
    ///
    /// Those of the rows in `read` are returned in any case: the engine may have ended them.
    fn changed_columns(&mut self, read: &[Uuid]) -> Vec<(Uuid, Option<Row>)> {
        if self.state != PlanState::Computed {
            return self.end();
        }
        let read: HashSet<&Uuid> = read.iter().collect();
        let mut derived = Vec::new();
        let mut shown = BTreeMap::new();
        for task in &self.input.tasks {
            let position = self.plan.position(task.id);
            let computed = position.and_then(|position| self.plan.derived(self.live.schedule(), position));
            let before = self.shown.remove(&task.id);
            match computed.filter(|columns| columns.differs_from(&task.stored)) {
                Some(columns) => {
                    if before.as_ref() != Some(&columns) || read.contains(&task.id) {
                        derived.push((task.id, Some(columns.to_row())));
                    }
                    shown.insert(task.id, columns);
                }
                None if before.is_some() => derived.push((task.id, None)),
                None => {}
            }
        }
        derived.extend(self.end());
        self.shown = shown;
        derived
    }
}

/// Returns whether two plans differ in contents of tasks only.
fn is_same_network(a: &Plan, b: &Plan) -> bool {
    a.tasks.len() == b.tasks.len()
        && a.settings == b.settings
        && a.links == b.links
        && a.calendars == b.calendars
        && a.resources == b.resources
        && a.assignments == b.assignments
        && a.segments == b.segments
}

/// Reads a task of another project; a task without a schedule has the dates of its days.
fn external_task(id: Uuid, row: &Row) -> ExternalTask {
    let mut row = row.clone();
    for (moment, day, hour) in [("start_ts", "start_date", "08:00:00"), ("finish_ts", "due_date", "17:00:00")] {
        if row.get(moment).is_none_or(Value::is_null)
            && let Some(date) = row.get(day).and_then(Value::as_str)
        {
            let text = format!("{date}T{hour}");
            row.insert(moment.to_owned(), Value::from(text));
        }
    }
    ExternalTask { id, ..ExternalTask::from_row(&row) }
}
