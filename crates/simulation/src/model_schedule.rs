//! Model of the schedule worker: derived columns of the tasks of the model database.

use crate::model_database::{ModelDatabase, Task, TxOp, ancestor_set, code, project_id, task_id};
use pmo_domain::change_log::{ChangeLogEntry, action};
use pmo_domain::{EntityRef, PersonId, Row, Version};
use pmo_planning::schedule;
use pmo_project_plan::{
    DERIVED_TASK_COLUMNS, DependencyInput, ExternalTask, PlanInput, ProjectInput, TaskInput, build,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Maximum number of rounds in which dates pass from one project to another.
const MAX_ROUNDS: usize = 40;

/// Returns the id of the dependency of the task with number `n` on the one before it.
fn dependency_id(n: usize) -> Uuid {
    Uuid::from_u128(5000 + n as u128)
}

impl ModelDatabase {
    /// Returns the dependencies of a project: chains of the tasks at the start that still exist.
    fn dependencies(&self, project: usize) -> Vec<Row> {
        let is_active = |n: usize| self.tasks.get(&task_id(n)).is_some_and(|task| task.active);
        let successors = (self.projects..self.initial_tasks).filter(|n| n % self.projects == project);
        let successors = successors.filter(|n| is_active(*n) && is_active(n - self.projects));
        let row = |n: usize| {
            let row = json!({
                "id": dependency_id(n), "version": 1, "stamp": 1, "permission": 7, "project_id": project_id(project),
                "predecessor__task_id": task_id(n - self.projects), "successor__task_id": task_id(n),
            });
            row.as_object().cloned().unwrap_or_default()
        };
        successors.map(row).collect()
    }

    /// Returns the dependencies that a person may view, of one project or of all.
    pub(crate) fn expected_dependencies(&self, person: PersonId, parent: Option<Uuid>) -> Vec<Row> {
        let visible = (0..self.projects).filter(|project| self.can_view(person, *project));
        let below = visible.filter(|project| parent.is_none_or(|parent| project_id(*project) == parent));
        below.flat_map(|project| self.dependencies(project)).collect()
    }

    /// Logs that the dependencies of a task are deleted, before the task is.
    pub(crate) fn log_deleted_dependencies(&mut self, xid: i64, task: Uuid) {
        let task = json!(task);
        for project in 0..self.projects {
            for row in self.dependencies(project) {
                let id = row["id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_default();
                if row["predecessor__task_id"] != task && row["successor__task_id"] != task {
                    continue;
                }
                self.next_seq += 1;
                self.log.push(ChangeLogEntry {
                    seq: self.next_seq,
                    xid,
                    code: code("task_dependency"),
                    id,
                    action: action::DELETE,
                    version: Version(2),
                    diff: json!({}),
                    ancestor_set: Some(ancestor_set(project)),
                    tx_started_at: self.clock(),
                    parents: vec![EntityRef::new(code("project"), project_id(project))],
                });
            }
        }
    }

    /// Returns the project of a dependency.
    pub(crate) fn project_of_dependency(&self, id: Uuid) -> Option<usize> {
        let n = usize::try_from(id.as_u128().checked_sub(5000)?).ok()?;
        (n >= self.projects && n < self.initial_tasks).then_some(n % self.projects)
    }

    /// Returns the columns of the tasks of a project that differ from a fresh computation.
    pub fn unscheduled(&self, project: usize) -> Vec<(Uuid, Row)> {
        let input = self.plan_input(project);
        let plan = build(&input);
        let dates = schedule(&plan.plan);
        let derived = |task: &TaskInput| {
            let columns = plan.derived(&dates, plan.position(task.id)?)?;
            columns.differs_from(&task.stored).then(|| (task.id, columns.to_row()))
        };
        input.tasks.iter().filter_map(derived).collect()
    }

    fn plan_input(&self, project: usize) -> PlanInput {
        let active: BTreeMap<Uuid, &Task> =
            self.tasks.iter().filter(|(_, task)| task.active).map(|(id, task)| (*id, task)).collect();
        let own = active.iter().filter(|(_, task)| task.project == project);
        let row = json!({"planned_start_date": "2026-03-02"});
        let row = row.as_object().cloned().unwrap_or_default();
        let dependencies = self.dependencies(project).iter().map(DependencyInput::from_row).collect::<Vec<_>>();
        let dependencies = dependencies
            .into_iter()
            .filter(|row| active.contains_key(&row.predecessor_id) && active.contains_key(&row.successor_id));
        let external = active.iter().filter(|(_, task)| task.project != project);
        PlanInput {
            project: ProjectInput { id: project_id(project), ..ProjectInput::from_row(&row) },
            tasks: own.map(|(id, task)| TaskInput::from_row(&self.row(*id, task))).collect(),
            dependencies: dependencies.collect(),
            external_tasks: external.map(|(id, task)| ExternalTask::from_row(&self.row(*id, task))).collect(),
            ..PlanInput::default()
        }
    }

    /// Begins the transaction of a run of the schedule worker, if inputs have changed since.
    pub fn begin_scheduling(&mut self) -> Option<i64> {
        std::mem::take(&mut self.must_schedule).then(|| self.begin(TxOp::Schedule))
    }

    /// Computes all projects and writes the tasks that differ.
    pub(crate) fn write_schedules(&mut self, xid: i64) {
        for _ in 0..MAX_ROUNDS {
            let differing: Vec<(Uuid, Row)> =
                (0..self.projects).flat_map(|project| self.unscheduled(project)).collect();
            if differing.is_empty() {
                return;
            }
            for (id, columns) in differing {
                let Some(task) = self.tasks.get_mut(&id) else { continue };
                task.version += 1;
                task.columns.extend(columns);
                self.next_seq += 1;
                self.append_log(xid, self.next_seq, id, action::EDIT, None);
            }
        }
    }
}

/// Returns the derived columns of a row of a task; an absent one is null.
pub fn derived_columns(row: &Row) -> Vec<(&'static str, Value)> {
    DERIVED_TASK_COLUMNS.iter().map(|column| (*column, row.get(*column).cloned().unwrap_or_default())).collect()
}
