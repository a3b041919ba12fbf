//! The schedule worker's access to the database: queue, inputs of a plan, derived columns.
//!
//! Invariant: queue rows are deleted in the transaction that writes what they ask for, so that a
//! worker that is killed loses none.
//!
//! Must not: compute dates.

mod derived_write; // the statement that writes a schedule

pub use derived_write::write_derived;

use crate::{Connection, Pool, Result};
use pmo_domain::Row;
use sqlx::types::Json;
use std::time::Duration;
use uuid::Uuid;

/// First key of the advisory locks of projects; one worker schedules a project at a time.
const LOCK_CLASS: i32 = 7462;
/// Number of projects, oldest change first, among which a worker looks for one without a lock.
const CANDIDATE_PROJECTS: i32 = 100;
/// Maximum wait for a row that another transaction has locked.
///
/// Less than the time after which PostgreSQL resolves a deadlock (1 s): the worker gives way.
const LOCK_TIMEOUT: &str = "400ms";

/// Columns of a project that are settings of its schedule.
const PROJECT_COLUMNS: &str =
    "id, planned_start_date, planned_end_date, planned_start_ts, planned_end_ts, status_date, created_ts,
  calendar_id, dl__schedule_from, new_tasks_manual_flag, honor_constraints_flag, multiple_critical_paths_flag,
  splits_in_progress_flag, reschedule_remaining_flag, critical_slack_days, day_hours, week_hours, month_days";
/// Query of the active calendars among the ids of the table `used`.
const CALENDARS: &str = "select id, base__calendar_id, week, work_weeks from app.calendar where active_flag and id in (select id from used)";
/// Subquery of the active exceptions of the calendar `c`, as a JSON array.
const EXCEPTIONS: &str = "(select coalesce(json_agg(x order by x.start_date, x.id), '[]') from (
  select id, start_date, end_date, working_times, recurrence from app.calendar_exception where calendar_id = c.id and active_flag) x)";

/// Changes of one project that a worker has taken from the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Project.
    pub project: Uuid,
    /// Number of queue rows; 0 if another worker has just scheduled the project.
    pub row_count: i64,
    /// Person who caused the last of the changes.
    pub cause: Option<Uuid>,
    /// Largest number of projects through which a change has passed.
    pub depth: i32,
    /// Age of the oldest change.
    pub age: Duration,
}

/// Rows from which a plan is built, as JSON texts with the columns that are inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlanRows {
    /// The project.
    pub project: String,
    /// Active tasks.
    pub tasks: Vec<TaskText>,
    /// Active dependencies whose successor is in the project and whose ends are active.
    pub dependencies: Vec<String>,
    /// Active assignments of the tasks.
    pub assignments: Vec<String>,
    /// Tasks of other projects that are predecessors.
    pub external_tasks: Vec<String>,
    /// Active calendars of project, tasks and people with their base calendars.
    pub calendars: Vec<CalendarRows>,
    /// Calendars of assigned people, by employee.
    pub employee_calendars: Vec<(Uuid, Uuid)>,
    /// Tasks of the project with successors in other projects, and these projects.
    pub external_successors: Vec<(Uuid, Uuid)>,
}

/// Task with the version of its row.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct TaskText {
    /// Id.
    pub id: Uuid,
    /// Version.
    pub version: i64,
    /// Whether `duration_days` is the duration in days; not after a change of the hours per day.
    pub has_exact_days: bool,
    /// Columns as JSON.
    pub json: String,
}

/// Calendar with its active exceptions.
#[derive(Clone, Debug, PartialEq)]
pub struct CalendarRows {
    /// Id.
    pub id: Uuid,
    /// Columns of the calendar.
    pub calendar: Row,
    /// Columns of its exceptions.
    pub exceptions: Vec<Row>,
}

/// Derived columns of one task that differ from the stored ones.
///
/// Moments and lengths are tenths of a minute, moments since 2000-01-01, days since 2000-01-01.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DerivedTask {
    /// Id.
    pub id: Uuid,
    /// Version that the worker has read; a row with another version is not written.
    pub version: i64,
    /// `start_ts`.
    pub start: Option<i32>,
    /// `finish_ts`.
    pub finish: Option<i32>,
    /// `start_date`.
    pub start_day: Option<i32>,
    /// `due_date`.
    pub due_day: Option<i32>,
    /// `late_start_ts`.
    pub late_start: Option<i32>,
    /// `late_finish_ts`.
    pub late_finish: Option<i32>,
    /// `total_slack_minutes`.
    pub total_slack: Option<i32>,
    /// `free_slack_minutes`.
    pub free_slack: Option<i32>,
    /// `remaining_duration_minutes`.
    pub remaining_duration: Option<i32>,
    /// `critical_flag`.
    pub is_critical: bool,
    /// `summary_flag`.
    pub is_summary: bool,
    /// `duration_minutes`; `None` keeps the stored value.
    pub duration: Option<i32>,
    /// `completion_pct` in hundredths; `None` keeps the stored value.
    pub completion: Option<i32>,
    /// Changed columns for the change log, as a JSON object.
    pub diff: String,
}

/// Schedule of a project as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProjectSchedule {
    /// Calendars that the plan uses.
    pub calendars: serde_json::Value,
    /// Start of the project in tenths of a minute since 2000-01-01.
    pub start: Option<i32>,
    /// Finish of the project in tenths of a minute since 2000-01-01.
    pub finish: Option<i32>,
    /// Number of problems of the plan.
    pub problem_count: i32,
    /// Whether the project has tasks; a project without tasks gets no schedule row.
    pub has_tasks: bool,
}

/// What a run of the worker writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DerivedWrite {
    /// Tasks that differ.
    pub tasks: Vec<DerivedTask>,
    /// Schedule; `None` writes none.
    pub schedule: Option<ProjectSchedule>,
    /// Projects with successors of tasks whose dates have changed.
    pub dependents: Vec<Uuid>,
}

/// State of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    /// Number of rows.
    pub rows: i64,
    /// Age of the oldest row; zero for an empty queue.
    pub age: Duration,
}

/// Takes the project with the oldest change that no other worker schedules, and locks it until the
/// transaction ends.
///
/// The transaction then writes in the name of the person who caused the last change. Projects in
/// `excluded` are left out. `None` if there is no such project.
pub async fn claim_project(conn: &mut Connection, excluded: &[Uuid]) -> Result<Option<Claim>> {
    let candidate: Option<Uuid> = sqlx::query_scalar(
        "select c.project_id
         from (select q.project_id, min(q.id) as first_id from app.schedule_queue q where q.project_id <> all ($1)
               group by q.project_id order by first_id limit $2) c
         where pg_try_advisory_xact_lock($3, hashtext(c.project_id::text)) limit 1",
    )
    .bind(excluded)
    .bind(CANDIDATE_PROJECTS)
    .bind(LOCK_CLASS)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(project) = candidate else { return Ok(None) };
    let (row_count, cause, depth, age_ms): (i64, Option<Uuid>, i32, i64) = sqlx::query_as(
        "with taken as (
           delete from app.schedule_queue
           where id in (select q.id from app.schedule_queue q where q.project_id = $1 for update skip locked)
           returning id, cause_person_id, depth, created_ts),
         found as (
           select count(*) as row_count, coalesce(max(depth), 0) as depth,
                  (array_agg(cause_person_id order by id desc) filter (where cause_person_id is not null))[1] as cause,
                  coalesce((extract(epoch from clock_timestamp() - min(created_ts)) * 1000)::bigint, 0) as age_ms
           from taken),
         settings as (
           select set_config('app.actor_person_id', coalesce(f.cause::text, ''), true), set_config('lock_timeout', $2, true),
                  set_config('app.derived_write', 'on', true)
           from found f)
         select f.row_count, f.cause, f.depth, f.age_ms from found f, settings",
    )
    .bind(project)
    .bind(LOCK_TIMEOUT)
    .fetch_one(&mut *conn)
    .await?;
    let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
    Ok(Some(Claim { project, row_count, cause, depth, age }))
}

/// Reads the inputs of a project; `None` if it does not exist or is deleted.
pub async fn load_plan(conn: &mut Connection, project: Uuid) -> Result<Option<PlanRows>> {
    let row: Option<String> = sqlx::query_scalar(crate::sql::statement(format!(
        "select to_json(r)::text from (select {PROJECT_COLUMNS} from app.project where id = $1 and active_flag) r"
    )))
    .bind(project)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let mut rows = PlanRows { project: row, ..PlanRows::default() };
    rows.tasks = sqlx::query_as(
        "select v.id, v.version, to_json(r)::text as json,
                v.duration_days is not distinct from least(
                  round(v.duration_minutes / case when v.duration_unit like 'e%' then 1440 else 60 * p.day_hours end, 3),
                  case when v.duration_minutes is not null then 9999999 end) as has_exact_days
         from app.project p join app.task v on v.project_id = p.id cross join lateral (
           select v.id, v.project_id, v.parent__task_id, v.rank, v.milestone_flag, v.dl__schedule_mode, v.dl__constraint_type,
                  v.constraint_ts, v.deadline_ts, v.manual_start_ts, v.manual_finish_ts, v.calendar_id,
                  v.ignore_resource_calendars_flag, v.duration_minutes, v.duration_unit, v.estimated_flag, v.dl__effort_type,
                  v.effort_driven_flag, v.leveling_priority, v.leveling_delay_minutes, v.actual_start_date, v.actual_start_ts,
                  v.actual_end_date, v.actual_end_ts, v.actual_duration_minutes, v.completion_pct, v.stop_ts, v.resume_ts,
                  v.segments, v.assignee__employee_ids, v.start_ts, v.finish_ts, v.start_date, v.due_date, v.late_start_ts,
                  v.late_finish_ts, v.total_slack_minutes, v.free_slack_minutes, v.remaining_duration_minutes,
                  v.critical_flag, v.summary_flag) r
         where p.id = $1 and v.active_flag",
    )
    .bind(project)
    .fetch_all(&mut *conn)
    .await?;
    rows.dependencies = sqlx::query_scalar(
        "select to_json(r)::text from (
           select d.id, d.predecessor__task_id, d.successor__task_id, d.dl__dependency_type, d.lag_minutes, d.lag_pct, d.lag_unit
           from app.task_dependency d
           join app.task b on b.id = d.predecessor__task_id and b.active_flag
           join app.task a on a.id = d.successor__task_id and a.active_flag
           where d.project_id = $1 and d.active_flag) r",
    )
    .bind(project)
    .fetch_all(&mut *conn)
    .await?;
    load_people_and_neighbors(conn, project, &mut rows).await?;
    load_calendars(conn, project, &mut rows).await?;
    Ok(Some(rows))
}

/// Reads assignments, and tasks of other projects that are linked.
async fn load_people_and_neighbors(conn: &mut Connection, project: Uuid, rows: &mut PlanRows) -> Result<()> {
    rows.assignments = sqlx::query_scalar(
        "select to_json(r)::text from (
           select a.id, a.task_id, a.employee_id, a.units_pct, a.work_hours, a.actual_work_hours, a.remaining_work_hours,
                  a.delay_minutes, a.leveling_delay_minutes, a.duration_minutes, a.segments
           from app.task t join app.assignment a on a.task_id = t.id and a.active_flag
           where t.project_id = $1 and t.active_flag) r",
    )
    .bind(project)
    .fetch_all(&mut *conn)
    .await?;
    // Dates of a task that has no schedule are those of its days.
    rows.external_tasks = sqlx::query_scalar(
        "select to_json(r)::text from (
           select distinct b.id, coalesce(b.start_ts, b.start_date + time '08:00') as start_ts,
                  coalesce(b.finish_ts, b.due_date + time '17:00') as finish_ts
           from app.task_dependency d join app.task b on b.id = d.predecessor__task_id and b.active_flag
           where d.project_id = $1 and d.active_flag and b.project_id is distinct from $1) r",
    )
    .bind(project)
    .fetch_all(&mut *conn)
    .await?;
    rows.external_successors = sqlx::query_as(
        "select distinct d.predecessor__task_id, d.project_id
         from app.task t join app.task_dependency d on d.predecessor__task_id = t.id and d.active_flag
         where t.project_id = $1 and t.active_flag and d.project_id <> $1",
    )
    .bind(project)
    .fetch_all(&mut *conn)
    .await?;
    Ok(())
}

/// Reads the calendars of a project.
async fn load_calendars(conn: &mut Connection, project: Uuid, rows: &mut PlanRows) -> Result<()> {
    rows.employee_calendars = sqlx::query_as(
        "select distinct e.id, e.calendar_id
         from app.task t join app.assignment a on a.task_id = t.id and a.active_flag join app.employee e on e.id = a.employee_id
         where t.project_id = $1 and t.active_flag and e.calendar_id is not null",
    )
    .bind(project)
    .fetch_all(&mut *conn)
    .await?;
    let of_people: Vec<Uuid> = rows.employee_calendars.iter().map(|(_, calendar)| *calendar).collect();
    let calendars: Vec<(Uuid, Json<Row>, Json<Vec<Row>>)> = sqlx::query_as(crate::sql::statement(format!(
        "with recursive used (id) as (
           (select unnest($2::uuid[])
            union select calendar_id from app.project where id = $1
            union select calendar_id from app.task where project_id = $1 and active_flag)
           union
           select c.base__calendar_id from used join app.calendar c on c.id = used.id
         )
         select c.id, to_json(c), {EXCEPTIONS} from ({CALENDARS}) c"
    )))
    .bind(project)
    .bind(of_people)
    .fetch_all(&mut *conn)
    .await?;
    rows.calendars = calendars
        .into_iter()
        .map(|(id, Json(calendar), Json(exceptions))| CalendarRows { id, calendar, exceptions })
        .collect();
    Ok(())
}

/// Reads the settings of a project, its calendar and that of one of its tasks.
///
/// `None` if the project does not exist. Only `project` and `calendars` are filled.
pub async fn load_project_settings(
    conn: &mut Connection,
    project: Uuid,
    task_calendar: Option<Uuid>,
) -> Result<Option<PlanRows>> {
    /// Project and its calendars with their exceptions.
    type Settings = (String, Json<Vec<(Uuid, Row, Vec<Row>)>>);
    let settings: Option<Settings> = sqlx::query_as(crate::sql::statement(format!(
        "select to_json(p)::text, (
           with recursive used (id) as (
             (select p.calendar_id union select $2::uuid)
             union
             select c.base__calendar_id from used join app.calendar c on c.id = used.id
           )
           select coalesce(json_agg(json_build_array(c.id, to_json(c), {EXCEPTIONS})), '[]') from ({CALENDARS}) c)
         from (select {PROJECT_COLUMNS} from app.project where id = $1) p"
    )))
    .bind(project)
    .bind(task_calendar)
    .fetch_optional(conn)
    .await?;
    Ok(settings.map(|(project, Json(calendars))| PlanRows {
        project,
        calendars: calendars
            .into_iter()
            .map(|(id, calendar, exceptions)| CalendarRows { id, calendar, exceptions })
            .collect(),
        ..PlanRows::default()
    }))
}

/// Returns the state of the queue.
pub async fn queue_state(pool: &Pool) -> Result<QueueState> {
    let (rows, age_ms): (i64, i64) = sqlx::query_as(
        "select count(*), coalesce((extract(epoch from clock_timestamp() - min(created_ts)) * 1000)::bigint, 0) from app.schedule_queue",
    )
    .fetch_one(pool)
    .await?;
    Ok(QueueState { rows, age: Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)) })
}
