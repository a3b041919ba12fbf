//! The statement that writes what a run of the schedule worker has computed.

use super::{Claim, DerivedTask, DerivedWrite};
use crate::{Connection, Result};
use uuid::Uuid;

/// Maximum number of projects through which a change passes by links between projects.
///
/// A bound for rings that contain summaries of several projects, which no project sees as a whole.
const MAX_DEPTH: i32 = 100;

/// Statement of [`write_derived`].
///
/// With `app.derived_write = 'on'` no trigger fires for an updated task: the statement itself
/// increases the versions and appends to the change log. The trigger on the log notifies the feed.
const STATEMENT: &str = "
with input as (
  select * from unnest($1::uuid[], $2::bigint[], $3::int[], $4::int[], $5::int[], $6::int[], $7::int[], $8::int[], $9::int[],
                       $10::int[], $11::int[], $12::bool[], $13::bool[], $14::int[], $15::int[], $16::text[])
    as i (id, version, start, finish, start_day, due_day, late_start, late_finish, total_slack, free_slack, remaining, critical,
          summary, duration, completion, diff)
),
changed as (
  update app.task t set
    start_ts = timestamp '2000-01-01' + i.start * interval '6 seconds',
    finish_ts = timestamp '2000-01-01' + i.finish * interval '6 seconds',
    start_date = date '2000-01-01' + i.start_day,
    due_date = date '2000-01-01' + i.due_day,
    late_start_ts = timestamp '2000-01-01' + i.late_start * interval '6 seconds',
    late_finish_ts = timestamp '2000-01-01' + i.late_finish * interval '6 seconds',
    total_slack_minutes = i.total_slack / 10.0,
    free_slack_minutes = i.free_slack / 10.0,
    remaining_duration_minutes = i.remaining / 10.0,
    critical_flag = i.critical,
    summary_flag = i.summary,
    duration_minutes = coalesce(i.duration / 10.0, t.duration_minutes),
    duration_days = case when coalesce(i.duration / 10.0, t.duration_minutes) is not null then
      least(round(coalesce(i.duration / 10.0, t.duration_minutes) / case when t.duration_unit like 'e%' then 1440 else 60 * p.day_hours end, 3), 9999999) end,
    completion_pct = coalesce(i.completion / 100.0, t.completion_pct),
    version = t.version + 1,
    updated_ts = now()
  from input i cross join (select day_hours from app.project where id = $17) p
  where t.id = i.id and t.version = i.version
  returning t.id, t.version, t.ancestor_set_id, i.diff
),
logged as (
  insert into app.system_logging (username, person_type, actor_person_id, entity_code, entity_id, action, epoch, entity_version, changed, ancestor_set_id)
  select 'system', 'system', $18, 'task', c.id, 3, coalesce((select epoch from app.feed_epoch), 1), c.version, c.diff::jsonb, c.ancestor_set_id
  from changed c
),
updated_schedule as (
  update app.schedule s set active_flag = true, calendars = n.calendars, start_ts = n.start_ts, finish_ts = n.finish_ts,
    problem_count = n.problem_count, scheduled_ts = now()
  from (select $20::jsonb as calendars, timestamp '2000-01-01' + $21::int * interval '6 seconds' as start_ts,
               timestamp '2000-01-01' + $22::int * interval '6 seconds' as finish_ts, $23::int as problem_count) n
  where s.project_id = $17 and n.calendars is not null
    and (s.active_flag, s.calendars, s.start_ts, s.finish_ts, s.problem_count)
        is distinct from (true, n.calendars, n.start_ts, n.finish_ts, n.problem_count)
),
inserted_schedule as (
  insert into app.schedule (name, project_id, calendars, start_ts, finish_ts, problem_count, scheduled_ts)
  select 'Schedule', $17, $20::jsonb, timestamp '2000-01-01' + $21::int * interval '6 seconds',
         timestamp '2000-01-01' + $22::int * interval '6 seconds', $23::int, now()
  where $20::jsonb is not null and $26 and not exists (select from app.schedule where project_id = $17)
),
dependents as (
  insert into app.schedule_queue (project_id, cause_person_id, depth)
  select d.id, $18, $19 + 1 from unnest($24::uuid[]) d (id) where $19 < $25
),
requeued as (
  insert into app.schedule_queue (project_id, cause_person_id, depth)
  select $17, $18, $19 where (select count(*) from changed) < cardinality($1)
)
select count(*) from changed";

/// Writes derived columns, the schedule row and log rows in one statement; returns the number of
/// tasks written.
///
/// The log rows have the author `system` and the id of the person who caused the change. A task
/// whose row has changed since it was read is left out, and the project is queued again. Projects
/// with successors are queued. Must run in the transaction of [`super::claim_project`].
pub async fn write_derived(conn: &mut Connection, claim: &Claim, write: &DerivedWrite) -> Result<i64> {
    let tasks = &write.tasks;
    let numbers = |get: fn(&DerivedTask) -> Option<i32>| tasks.iter().map(get).collect::<Vec<Option<i32>>>();
    let flags = |get: fn(&DerivedTask) -> bool| tasks.iter().map(get).collect::<Vec<bool>>();
    let schedule = write.schedule.as_ref();
    let count = sqlx::query_scalar(STATEMENT)
        .bind(tasks.iter().map(|task| task.id).collect::<Vec<Uuid>>())
        .bind(tasks.iter().map(|task| task.version).collect::<Vec<i64>>())
        .bind(numbers(|task| task.start))
        .bind(numbers(|task| task.finish))
        .bind(numbers(|task| task.start_day))
        .bind(numbers(|task| task.due_day))
        .bind(numbers(|task| task.late_start))
        .bind(numbers(|task| task.late_finish))
        .bind(numbers(|task| task.total_slack))
        .bind(numbers(|task| task.free_slack))
        .bind(numbers(|task| task.remaining_duration))
        .bind(flags(|task| task.is_critical))
        .bind(flags(|task| task.is_summary))
        .bind(numbers(|task| task.duration))
        .bind(numbers(|task| task.completion))
        .bind(tasks.iter().map(|task| task.diff.as_str()).collect::<Vec<&str>>())
        .bind(claim.project)
        .bind(claim.cause)
        .bind(claim.depth)
        .bind(schedule.map(|schedule| &schedule.calendars))
        .bind(schedule.and_then(|schedule| schedule.start))
        .bind(schedule.and_then(|schedule| schedule.finish))
        .bind(schedule.map_or(0, |schedule| schedule.problem_count))
        .bind(&write.dependents)
        .bind(MAX_DEPTH)
        .bind(schedule.is_some_and(|schedule| schedule.has_tasks))
        .fetch_one(conn)
        .await?;
    Ok(count)
}
