-- Scheduling: inputs that belong together, assignments, and the queue of the schedule worker. No
-- function computes a date. See ADR 0056.

-- Queues a project for the schedule worker in the name of the actor, once for each transaction. The
-- setting app.queued_projects contains the ids that this transaction has queued, without separator;
-- a rollback to a savepoint restores the list and the queue together. The list is bounded: after
-- 100 projects, one may be queued twice.
create or replace function app.queue_schedule(p_project_id uuid) returns void language plpgsql as $$
declare
  queued text := coalesce(current_setting('app.queued_projects', true), '');
begin
  if p_project_id is null or position(p_project_id::text in queued) > 0 then return; end if;
  insert into app.schedule_queue (project_id, cause_person_id)
  values (p_project_id, nullif(current_setting('app.actor_person_id', true), '')::uuid);
  perform set_config('app.queued_projects', right(queued || p_project_id, 3600), true);
end $$;

-- After a change of an input in a row with the column project_id: queues the projects.
create or replace function app.queue_schedule_of_row() returns trigger language plpgsql as $$
begin
  if tg_op <> 'INSERT' then perform app.queue_schedule(old.project_id); end if;
  if tg_op <> 'DELETE' then perform app.queue_schedule(new.project_id); end if;
  return null;
end $$;

-- After a change of an assignment: queues the projects of its tasks.
create or replace function app.queue_schedule_of_assignment() returns trigger language plpgsql as $$
begin
  if tg_op <> 'INSERT' then perform app.queue_schedule((select project_id from app.task where id = old.task_id)); end if;
  if tg_op <> 'DELETE' then perform app.queue_schedule((select project_id from app.task where id = new.task_id)); end if;
  return null;
end $$;

-- After a change of the settings of a project: queues it. Lags in days follow another length of the
-- day here, durations in days when the worker writes.
create or replace function app.queue_schedule_of_project() returns trigger language plpgsql as $$
begin
  perform app.queue_schedule(new.id);
  if new.day_hours <> old.day_hours then
    update app.task_dependency set lag_days = app.lag_days(lag_minutes, new.id, lag_unit) where project_id = new.id and lag_minutes <> 0;
  end if;
  return null;
end $$;

-- After a change of an employee's calendar: queues the projects in which the employee has tasks.
create or replace function app.queue_schedule_of_employee() returns trigger language plpgsql as $$
begin
  perform app.queue_schedule(p.project_id) from (
    select distinct t.project_id from app.assignment a join app.task t on t.id = a.task_id
    where a.employee_id = new.id and a.active_flag and t.active_flag) p;
  return null;
end $$;

-- Queues the projects whose schedule uses a calendar or one that is based on it: as calendar of the
-- project, of a task or of an assigned employee.
create or replace function app.queue_schedule_of_calendar_id(p_calendar_id uuid) returns void language plpgsql as $$
begin
  perform app.queue_schedule(u.project_id) from (
    with recursive used (id) as (
      select p_calendar_id
      union
      select c.id from used join app.calendar c on c.base__calendar_id = used.id
    )
    select p.id as project_id from app.project p where p.active_flag and p.calendar_id in (select id from used)
    union
    select t.project_id from app.task t where t.active_flag and t.calendar_id in (select id from used)
    union
    select t.project_id from app.employee e join app.assignment a on a.employee_id = e.id and a.active_flag
      join app.task t on t.id = a.task_id and t.active_flag
      where e.calendar_id in (select id from used)) u;
end $$;

-- After a change of a calendar or, with the argument 'exception', of a calendar exception: queues
-- the projects that use the calendar.
create or replace function app.queue_schedule_of_calendar() returns trigger language plpgsql as $$
declare
  before jsonb; after jsonb; id_column text := case when tg_nargs > 0 then 'calendar_id' else 'id' end;
begin
  if tg_op <> 'INSERT' then before := to_jsonb(old); end if;
  if tg_op <> 'DELETE' then after := to_jsonb(new); end if;
  if before is not null then perform app.queue_schedule_of_calendar_id((before ->> id_column)::uuid); end if;
  if after ->> id_column is distinct from before ->> id_column then
    perform app.queue_schedule_of_calendar_id((after ->> id_column)::uuid);
  end if;
  return null;
end $$;

-- Before insert or update of a calendar: a calendar cannot be based on itself, directly or through
-- others.
create or replace function app.check_calendar() returns trigger language plpgsql as $$
declare
  base uuid := new.base__calendar_id;
begin
  if tg_op = 'UPDATE' and base is not distinct from old.base__calendar_id then return new; end if;
  while base is not null loop
    if base = new.id then
      raise exception 'a calendar cannot be based on itself' using errcode = 'check_violation', column = 'base__calendar_id';
    end if;
    select base__calendar_id into base from app.calendar where id = base;
  end loop;
  return new;
end $$;

-- Returns the minutes of a day in a unit of duration or lag: 1440 for elapsed units, which begin
-- with e, else the working day of the project, or 8 hours without a project.
create or replace function app.day_minutes(p_project_id uuid, p_unit text) returns numeric language plpgsql stable as $$
begin
  if p_unit like 'e%' then return 1440; end if;
  return 60 * coalesce((select day_hours from app.project where id = p_project_id), 8);
end $$;

-- Returns a lag in days, within the range of the column.
create or replace function app.lag_days(p_minutes numeric, p_project_id uuid, p_unit text) returns numeric language sql stable as $$
  select greatest(least(round(p_minutes / app.day_minutes(p_project_id, p_unit), 3), 9999999), -9999999)
$$;

-- Before insert or update of a task: keeps duration_days and duration_minutes equal. The column
-- that the write changes wins; of both, the minutes.
create or replace function app.sync_task_duration() returns trigger language plpgsql as $$
declare
  minutes_win boolean;
begin
  if tg_op = 'INSERT' then
    if new.duration_minutes is null and new.duration_days is null then return new; end if;
    minutes_win := new.duration_minutes is not null;
  else
    if (new.duration_minutes, new.duration_days, new.duration_unit, new.project_id)
       is not distinct from (old.duration_minutes, old.duration_days, old.duration_unit, old.project_id) then return new; end if;
    minutes_win := new.duration_minutes is distinct from old.duration_minutes or new.duration_days is not distinct from old.duration_days;
  end if;
  if minutes_win then
    new.duration_days := case when new.duration_minutes is not null
      then least(round(new.duration_minutes / app.day_minutes(new.project_id, new.duration_unit), 3), 9999999) end;
  else
    new.duration_minutes := round(new.duration_days * app.day_minutes(new.project_id, new.duration_unit), 1);
  end if;
  return new;
end $$;

-- Before insert or update of a task dependency: keeps lag_days and lag_minutes equal. The column
-- that the write changes wins; of both, the minutes.
create or replace function app.sync_dependency_lag() returns trigger language plpgsql as $$
declare
  minutes_win boolean;
begin
  if tg_op = 'INSERT' then
    if new.lag_minutes = 0 and new.lag_days = 0 then return new; end if;
    minutes_win := new.lag_minutes <> 0;
  else
    if (new.lag_minutes, new.lag_days, new.lag_unit, new.project_id) is not distinct from (old.lag_minutes, old.lag_days, old.lag_unit, old.project_id) then
      return new;
    end if;
    -- Both are right after a change of the hours per day.
    if new.lag_days = app.lag_days(new.lag_minutes, new.project_id, new.lag_unit) then return new; end if;
    minutes_win := new.lag_minutes <> old.lag_minutes or new.lag_days = old.lag_days;
  end if;
  if minutes_win then
    new.lag_days := app.lag_days(new.lag_minutes, new.project_id, new.lag_unit);
  else
    new.lag_minutes := round(new.lag_days * app.day_minutes(new.project_id, new.lag_unit), 1);
  end if;
  return new;
end $$;

-- Before insert or update of a task, after app.touch_row: sets input_version to the version, unless
-- the setting app.derived_write states that only derived columns are written.
create or replace function app.touch_inputs() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    new.input_version := new.version;
  elsif new.version = old.version or current_setting('app.derived_write', true) = 'on' then
    new.input_version := old.input_version;
  else
    new.input_version := new.version;
  end if;
  return new;
end $$;

-- After a task has moved to another project: its assignments follow, and its dependencies on
-- predecessors, because a dependency belongs to the project of its successor.
create or replace function app.move_dependencies() returns trigger language plpgsql as $$
begin
  update app.assignment set project_id = new.project_id where task_id = new.id and project_id is distinct from new.project_id;
  update app.task_dependency set project_id = new.project_id where successor__task_id = new.id and project_id is distinct from new.project_id;
  return null;
end $$;

-- Before insert or update of an assignment: it names a person or a role. The name of the row
-- contains no name of a person, because not everyone who may view the task may view its people.
create or replace function app.check_assignment() returns trigger language plpgsql as $$
begin
  if num_nonnulls(new.employee_id, new.placeholder_role) <> 1 then
    raise exception 'an assignment has either a person or a role' using errcode = 'check_violation', column = 'employee_id';
  end if;
  if new.name is null or new.name = '' then new.name := left(coalesce(nullif(new.placeholder_role, ''), 'Assignment'), 500); end if;
  new.project_id := (select project_id from app.task where id = new.task_id);
  return new;
end $$;

-- After insert or update of a task: each person in assignee__employee_ids has one active
-- assignment, and other people have none. No recursion: app.sync_assignees then finds nothing to
-- change. With the setting app.sync_assignments = 'off', an importer writes both itself.
create or replace function app.sync_assignments() returns trigger language plpgsql as $$
begin
  if current_setting('app.sync_assignments', true) = 'off' then return null; end if;
  if tg_op = 'UPDATE' then
    update app.assignment set active_flag = false
    where task_id = new.id and active_flag and employee_id <> all (new.assignee__employee_ids);
  end if;
  insert into app.assignment (name, task_id, employee_id)
  select 'Assignment', new.id, e.id from (select distinct unnest(new.assignee__employee_ids) as id) e
  where not exists (select from app.assignment a where a.task_id = new.id and a.employee_id = e.id and a.active_flag);
  return null;
end $$;

-- After insert, update or delete of an assignment: adds its person to assignee__employee_ids of the
-- task, or removes the person. If the assignment is deleted or restored together with its task, the
-- task keeps its people.
create or replace function app.sync_assignees() returns trigger language plpgsql as $$
begin
  if current_setting('app.sync_assignments', true) = 'off'
     or coalesce(current_setting('app.deletion_root', true), '') not in ('', 'assignment') then return null; end if;
  if tg_op <> 'INSERT' and old.active_flag then
    if tg_op = 'DELETE' or not new.active_flag or (new.task_id, new.employee_id) is distinct from (old.task_id, old.employee_id) then
      update app.task set assignee__employee_ids = array_remove(assignee__employee_ids, old.employee_id)
      where id = old.task_id and old.employee_id = any (assignee__employee_ids);
    end if;
  end if;
  if tg_op <> 'DELETE' and new.active_flag and new.employee_id is not null then
    update app.task set assignee__employee_ids = assignee__employee_ids || new.employee_id
    where id = new.task_id and new.employee_id <> all (assignee__employee_ids);
  end if;
  return null;
end $$;
