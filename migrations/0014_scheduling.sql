-- Scheduling: calendars, assignments, the inputs of schedules and the dates computed from them.
--
-- Inputs are what people enter. Derived columns are computed from them by the schedule worker of
-- the api and, in the browser, by the same code; they are read-only. See ADR 0056.
--
-- Columns of the type `timestamp` (without time zone) are moments in the local time of the project.
-- Durations are minutes with one decimal, the unit in which Microsoft Project counts.

-- Option sets whose names the scheduling engine knows: nobody may change them.
alter table app.datalabel add column fixed_flag boolean not null default false;

select app.add_datalabel('schedule_from', array['Start', 'Finish']);
select app.add_datalabel('schedule_mode', array['Automatic', 'Manual', 'Inactive'], colors => array['blue', 'amber', 'grey']);
select app.add_datalabel('effort_type', array['Fixed Units', 'Fixed Duration', 'Fixed Work']);
select app.add_datalabel('constraint_type', array[
  'As Soon As Possible', 'As Late As Possible', 'Must Start On', 'Must Finish On',
  'Start No Earlier Than', 'Start No Later Than', 'Finish No Earlier Than', 'Finish No Later Than']);
update app.datalabel set fixed_flag = true
  where name in ('schedule_from', 'schedule_mode', 'effort_type', 'constraint_type', 'dependency_type');

-- Calendar: working times, of the installation or of one project ------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('calendar', 'Calendar', 'Calendars', 'calendar', 'CAL', false, 61,
   '{"base__calendar_id": {"label": "Base calendar"}, "week": {"label": "Working week"}, "work_weeks": {"label": "Work weeks"}}',
   '{"columns": ["code", "name", "project_id", "base__calendar_id"],
     "empty_text": "Calendars state working days, working hours and holidays."}');

create table app.calendar (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, base__calendar_id uuid references app.calendar,
  -- Seven days from Monday. A day is null (the base calendar's), [] (no work) or a list of
  -- [from, to] in minutes after midnight: [[480, 720], [780, 1020]].
  week jsonb not null default '[null, null, null, null, null, null, null]',
  -- Weeks that differ in a period: [{"name", "from", "to", "week"}], dates inclusive.
  work_weeks jsonb not null default '[]');
create index on app.calendar (project_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('project', 'calendar', true, 'project_id', 75);

select app.register_entity('calendar');

-- Calendar exception: days with other working times -------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, searchable_flag, column_metadata, config_datatable) values
  ('calendar_exception', 'Calendar exception', 'Calendar exceptions', 'calendar-range', 'CEX', false, 61, false,
   '{"calendar_id": {"required": true}, "start_date": {"required": true}, "end_date": {"required": true}, "working_times": {"label": "Working times"}}',
   '{"columns": ["name", "start_date", "end_date", "working_times"],
     "empty_text": "Exceptions are days with other working times, such as public holidays."}');

create table app.calendar_exception (like app.entity_columns including defaults, primary key (id),
  calendar_id uuid not null references app.calendar, start_date date not null, end_date date not null,
  working_times jsonb not null default '[]', -- [] for no work, else a list of [from, to] in minutes after midnight
  -- Null for every day of the period, else an object with "type" ("daily", "weekly",
  -- "monthly_by_day", "monthly_by_position", "yearly_by_day", "yearly_by_position") and its fields;
  -- see crates/project_plan/src/calendar_json.rs.
  recurrence jsonb,
  check (start_date <= end_date));
create index on app.calendar_exception (calendar_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('calendar', 'calendar_exception', true, 'calendar_id', 10);

select app.register_entity('calendar_exception');

-- Project: settings of its schedule -----------------------------------------------------------------

alter table app.project
  -- Deferrable: a project and its own calendar refer to each other, and a purge deletes both.
  add column calendar_id uuid references app.calendar deferrable initially immediate,
  add column planned_start_ts timestamp,   -- hour of the start; counts only on the day of planned_start_date
  add column planned_end_ts timestamp,     -- hour of the finish; counts only on the day of planned_end_date
  add column status_date date,
  add column dl__schedule_from text not null default 'Start',
  add column new_tasks_manual_flag boolean not null default false,
  add column honor_constraints_flag boolean not null default true,
  add column multiple_critical_paths_flag boolean not null default false,
  add column splits_in_progress_flag boolean not null default true,
  add column reschedule_remaining_flag boolean not null default false,
  add column critical_slack_days numeric(10, 3) not null default 0,
  add column day_hours numeric(5, 3) not null default 8 check (day_hours > 0 and day_hours <= 24),
  add column week_hours numeric(6, 3) not null default 40 check (week_hours > 0 and week_hours <= 168),
  add column month_days numeric(5, 3) not null default 20 check (month_days > 0 and month_days <= 31);

alter table app.employee add column calendar_id uuid references app.calendar;

-- Schedule: what the server has computed for a project, and the calendars it used --------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, searchable_flag, column_metadata, config_datatable) values
  ('schedule', 'Schedule', 'Schedules', 'calendar-clock', 'SCH', false, 61, false,
   '{"project_id": {"read_only": true}, "calendars": {"read_only": true, "hidden": true}, "start_ts": {"read_only": true},
     "finish_ts": {"read_only": true}, "problem_count": {"read_only": true, "label": "Problems"}, "scheduled_ts": {"read_only": true}}',
   '{"columns": ["project_id", "start_ts", "finish_ts", "problem_count"],
     "empty_text": "The server creates a schedule for each project with tasks."}');

create table app.schedule (like app.entity_columns including defaults, primary key (id),
  project_id uuid not null references app.project,
  -- Calendars of the project, of its tasks and of the people assigned, so that everyone who may
  -- view the plan can compute it: {"calendars": {id: {...}}, "employees": {id: calendar id},
  -- "task_count", "external_task_ids"}. The last two tell a device whether it holds the whole plan.
  calendars jsonb not null default '{}',
  start_ts timestamp, finish_ts timestamp, problem_count integer not null default 0, scheduled_ts timestamptz);
create unique index on app.schedule (project_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('project', 'schedule', true, 'project_id', 74);

select app.register_entity('schedule');

-- Task: inputs --------------------------------------------------------------------------------------

alter table app.task
  add column dl__schedule_mode text not null default 'Automatic',
  add column dl__constraint_type text not null default 'As Soon As Possible',
  add column constraint_ts timestamp,
  add column deadline_ts timestamp,
  add column manual_start_ts timestamp,
  add column manual_finish_ts timestamp,
  add column calendar_id uuid references app.calendar,
  add column ignore_resource_calendars_flag boolean not null default false,
  -- Null: no duration stated; the task takes an estimated day. Ignored for automatic summaries,
  -- where it is derived. Working minutes, or elapsed minutes if the unit begins with e.
  add column duration_minutes numeric(12, 1) check (duration_minutes >= 0),
  add column duration_unit text not null default 'd' check (duration_unit in ('m', 'h', 'd', 'w', 'mo', 'em', 'eh', 'ed', 'ew', 'emo')),
  add column estimated_flag boolean not null default false,
  add column dl__effort_type text not null default 'Fixed Units',
  add column effort_driven_flag boolean not null default false,
  add column leveling_priority integer not null default 500 check (leveling_priority between 0 and 1000),
  add column leveling_delay_minutes numeric(12, 1) not null default 0 check (leveling_delay_minutes >= 0), -- elapsed
  add column actual_start_ts timestamp,    -- hour of the start; counts only on the day of actual_start_date
  add column actual_end_ts timestamp,      -- hour of the finish; counts only on the day of actual_end_date
  -- Null: completion_pct of the duration.
  add column actual_duration_minutes numeric(12, 1) check (actual_duration_minutes >= 0),
  add column stop_ts timestamp,            -- end of the done part of a split task
  add column resume_ts timestamp,          -- start of the rest
  add column segments jsonb not null default '[]', -- parts of a split task: [[offset, length], …] in working minutes
  add column physical_pct numeric(5, 2) check (physical_pct between 0 and 100),
-- Task: derived ---------------------------------------------------------------------------------------
-- start_date and due_date are the days of start_ts and finish_ts. Automatic summaries also derive
-- duration_minutes and completion_pct.
  add column start_ts timestamp,
  add column finish_ts timestamp,
  add column late_start_ts timestamp,
  add column late_finish_ts timestamp,
  add column total_slack_minutes numeric(12, 1),
  add column free_slack_minutes numeric(12, 1),
  add column remaining_duration_minutes numeric(12, 1),
  add column critical_flag boolean not null default false,
  add column summary_flag boolean not null default false,
  -- Version of the last change of an input: a write that names this version or a later one does not
  -- conflict with computed dates.
  add column input_version bigint not null default 1;
create index on app.task (calendar_id) where calendar_id is not null;

-- Dependency: lag in minutes or in percent of the predecessor's duration ------------------------------

alter table app.task_dependency
  add column lag_minutes numeric(12, 1) not null default 0,
  add column lag_pct numeric(8, 2), -- not null: the lag is this percentage and lag_minutes has no effect
  add column lag_unit text not null default 'd' check (lag_unit in ('m', 'h', 'd', 'w', 'mo', 'em', 'eh', 'ed', 'ew', 'emo', '%', 'e%'));

-- Assignment: share of a person's time for a task -----------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, searchable_flag, column_metadata, config_datatable) values
  ('assignment', 'Assignment', 'Assignments', 'user', 'ASG', false, 63, false,
   '{"name": {"required": false}, "task_id": {"required": true}, "units_pct": {"label": "Units (%)", "kind": "number"}, "placeholder_role": {"label": "Role"}, "work_hours": {"label": "Work"},
     "actual_work_hours": {"label": "Actual work"}, "remaining_work_hours": {"label": "Remaining work"}}',
   '{"columns": ["task_id", "employee_id", "placeholder_role", "units_pct", "work_hours", "actual_work_hours", "remaining_work_hours"],
     "empty_text": "Assignments state who works on a task, with which share of their time."}');

create table app.assignment (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, -- that of the task, by trigger
  task_id uuid not null references app.task, employee_id uuid references app.employee,
  placeholder_role text, -- role that has no person yet; null for a person
  units_pct numeric(8, 2) not null default 100 check (units_pct >= 0),
  work_hours numeric(12, 4) check (work_hours >= 0), actual_work_hours numeric(12, 4) check (actual_work_hours >= 0),
  remaining_work_hours numeric(12, 4) check (remaining_work_hours >= 0),
  delay_minutes numeric(12, 1) not null default 0, leveling_delay_minutes numeric(12, 1) not null default 0,
  duration_minutes numeric(12, 1) check (duration_minutes >= 0), -- working time of work that is not spread evenly
  segments jsonb not null default '[]',
  check (num_nonnulls(employee_id, placeholder_role) = 1));
create index on app.assignment (task_id);
create index on app.assignment (project_id);
create index on app.assignment (employee_id);
create unique index on app.assignment (task_id, employee_id) where active_flag and employee_id is not null;

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('task', 'assignment', true, 'task_id', 15),
  ('project', 'assignment', false, 'project_id', 76),
  ('employee', 'assignment', false, 'employee_id', 15);

select app.register_entity('assignment');

-- Queue of the schedule worker: a row for each transaction that changed an input of a project,
-- removed when the project has been scheduled. Rows are only appended, so that writers of one
-- project do not wait for each other.
create table app.schedule_queue (
  id bigint generated always as identity primary key,
  project_id uuid not null,
  cause_person_id uuid,
  -- Number of projects through which the change has passed by links between projects.
  depth integer not null default 0,
  created_ts timestamptz not null default now()
);
create index on app.schedule_queue (project_id);

update app.entity set column_metadata = column_metadata || '{
  "dl__schedule_mode": {"label": "Mode"}, "dl__constraint_type": {"label": "Constraint"}, "constraint_ts": {"label": "Constraint date"},
  "deadline_ts": {"label": "Deadline"}, "manual_start_ts": {"hidden": true}, "manual_finish_ts": {"hidden": true},
  "ignore_resource_calendars_flag": {"label": "Ignore resource calendars"},
  "duration_minutes": {"hidden": true}, "duration_days": {"label": "Duration"}, "duration_unit": {"hidden": true}, "estimated_flag": {"hidden": true},
  "dl__effort_type": {"label": "Task type"}, "effort_driven_flag": {"label": "Effort driven"}, "dl__task_type": {"label": "Kind"},
  "leveling_priority": {"label": "Leveling priority"}, "leveling_delay_minutes": {"label": "Leveling delay"},
  "actual_start_ts": {"hidden": true, "contributor_column": "assignee__employee_ids"}, "actual_end_ts": {"hidden": true, "contributor_column": "assignee__employee_ids"},
  "actual_duration_minutes": {"label": "Actual duration", "contributor_column": "assignee__employee_ids"},
  "stop_ts": {"hidden": true}, "resume_ts": {"label": "Resume"}, "segments": {"hidden": true}, "physical_pct": {"label": "Physical % complete"},
  "due_date": {"label": "Finish"},
  "start_ts": {"read_only": true, "hidden": true}, "finish_ts": {"read_only": true, "hidden": true},
  "late_start_ts": {"read_only": true, "label": "Late start"}, "late_finish_ts": {"read_only": true, "label": "Late finish"},
  "total_slack_minutes": {"read_only": true, "label": "Total slack"}, "free_slack_minutes": {"read_only": true, "label": "Free slack"},
  "remaining_duration_minutes": {"read_only": true, "label": "Remaining duration"}, "critical_flag": {"read_only": true, "label": "Critical"},
  "summary_flag": {"read_only": true, "hidden": true}, "input_version": {"read_only": true, "hidden": true}}'::jsonb
where code = 'task';
update app.entity set column_metadata = column_metadata || '{
  "planned_start_ts": {"hidden": true}, "planned_end_ts": {"hidden": true}, "status_date": {"label": "Status date"},
  "dl__schedule_from": {"label": "Schedule from"}, "new_tasks_manual_flag": {"label": "New tasks are manual"}, "honor_constraints_flag": {"label": "Honor constraints"},
  "multiple_critical_paths_flag": {"label": "Multiple critical paths"}, "splits_in_progress_flag": {"label": "Split in-progress tasks"},
  "reschedule_remaining_flag": {"label": "Reschedule remaining work"}, "critical_slack_days": {"label": "Critical slack"},
  "day_hours": {"label": "Hours per day"}, "week_hours": {"label": "Hours per week"}, "month_days": {"label": "Days per month"}}'::jsonb
where code = 'project';
update app.entity set column_metadata = column_metadata || '{
  "lag_minutes": {"hidden": true}, "lag_pct": {"hidden": true, "kind": "number"}, "lag_unit": {"hidden": true}}'::jsonb
where code = 'task_dependency';

-- Rows that exist already -----------------------------------------------------------------------------
-- The typed dates of tasks become inputs, as if they were typed now: the start a constraint, start
-- and finish a duration in days from Monday to Friday, a finish alone a deadline.

update app.task t set
  input_version = version,
  dl__constraint_type = case when leaf and start_date is not null then 'Start No Earlier Than' else dl__constraint_type end,
  constraint_ts = case when leaf and start_date is not null then start_date + time '08:00' end,
  deadline_ts = case when leaf and start_date is null then due_date + time '17:00' end,
  duration_minutes = case
    when not leaf then null
    when milestone_flag then 0
    when duration_days is not null then duration_days * 480
    when start_date <= due_date and due_date - start_date < 3660 then
      480 * greatest(1, (select count(*) from generate_series(start_date, due_date, interval '1 day') d where extract(isodow from d) < 6)) end
from (select id, not exists (select from app.task c where c.parent__task_id = p.id and c.active_flag) as leaf from app.task p) k
where k.id = t.id;
update app.task_dependency set lag_minutes = lag_days * 480 where lag_days <> 0;
update app.task_dependency d set active_flag = false
where active_flag and exists (
  select from app.task_dependency e
  where e.predecessor__task_id = d.predecessor__task_id and e.successor__task_id = d.successor__task_id
    and e.dl__dependency_type = d.dl__dependency_type and e.active_flag and e.id < d.id);
insert into app.assignment (name, task_id, employee_id)
select distinct on (t.id, e.id) 'Assignment', t.id, e.id
from app.task t cross join unnest(t.assignee__employee_ids) a (id) join app.employee e on e.id = a.id;
insert into app.schedule_queue (project_id) select distinct project_id from app.task where active_flag and project_id is not null;

-- Two active dependencies never have the same ends and type. The check in app.check_dependency
-- gives the message; the index holds for concurrent writes too.
create unique index task_dependency_successor__task_id_key on app.task_dependency
  (predecessor__task_id, successor__task_id, dl__dependency_type) where active_flag;

-- Triggers ---------------------------------------------------------------------------------------------
-- The worker writes derived columns of thousands of tasks in one statement, which also sets
-- versions and appends to the change log. With app.derived_write = 'on', no trigger fires for an
-- updated task.

do $$
declare
  definition record;
begin
  for definition in
    select tgname, pg_get_triggerdef(oid) as text from pg_trigger where tgrelid = 'app.task'::regclass and not tgisinternal
  loop
    if definition.text like '%UPDATE%' then
      execute format('drop trigger %I on app.task', definition.tgname);
      execute replace(definition.text, ' EXECUTE FUNCTION',
                      ' WHEN (current_setting(''app.derived_write'', true) IS DISTINCT FROM ''on'') EXECUTE FUNCTION');
    end if;
  end loop;
end $$;

create trigger t12_sync_task_duration before insert or update on app.task for each row
  when (current_setting('app.derived_write', true) is distinct from 'on') execute function app.sync_task_duration();
create trigger t25_touch_inputs before insert or update on app.task for each row
  when (current_setting('app.derived_write', true) is distinct from 'on') execute function app.touch_inputs();
create trigger t70_sync_assignments_insert after insert on app.task for each row
  when (new.active_flag and new.assignee__employee_ids <> '{}') execute function app.sync_assignments();
create trigger t70_sync_assignments_update after update of assignee__employee_ids on app.task for each row
  when (new.active_flag and new.assignee__employee_ids is distinct from old.assignee__employee_ids) execute function app.sync_assignments();
create trigger t70_move_dependencies after update of project_id on app.task for each row
  when (new.project_id is distinct from old.project_id) execute function app.move_dependencies();
create trigger t80_queue_schedule after insert or delete on app.task for each row execute function app.queue_schedule_of_row();
-- start_date and due_date are derived; a change of theirs by another writer than the worker has to
-- be replaced by the computed dates.
create trigger t80_queue_schedule_update after update on app.task for each row
  when (current_setting('app.derived_write', true) is distinct from 'on' and
        (new.active_flag, new.project_id, new.parent__task_id, new.start_date, new.due_date, new.milestone_flag, new.completion_pct,
         new.actual_start_date, new.actual_end_date, new.assignee__employee_ids, new.dl__schedule_mode, new.dl__constraint_type,
         new.constraint_ts, new.deadline_ts, new.manual_start_ts, new.manual_finish_ts, new.calendar_id,
         new.ignore_resource_calendars_flag, new.duration_minutes, new.duration_unit, new.dl__effort_type, new.effort_driven_flag,
         new.leveling_priority, new.leveling_delay_minutes, new.actual_start_ts, new.actual_end_ts, new.actual_duration_minutes,
         new.stop_ts, new.resume_ts, new.segments, new.physical_pct)
        is distinct from
        (old.active_flag, old.project_id, old.parent__task_id, old.start_date, old.due_date, old.milestone_flag, old.completion_pct,
         old.actual_start_date, old.actual_end_date, old.assignee__employee_ids, old.dl__schedule_mode, old.dl__constraint_type,
         old.constraint_ts, old.deadline_ts, old.manual_start_ts, old.manual_finish_ts, old.calendar_id,
         old.ignore_resource_calendars_flag, old.duration_minutes, old.duration_unit, old.dl__effort_type, old.effort_driven_flag,
         old.leveling_priority, old.leveling_delay_minutes, old.actual_start_ts, old.actual_end_ts, old.actual_duration_minutes,
         old.stop_ts, old.resume_ts, old.segments, old.physical_pct))
  execute function app.queue_schedule_of_row();

create trigger t12_sync_dependency_lag before insert or update on app.task_dependency for each row execute function app.sync_dependency_lag();
create trigger t80_queue_schedule after insert or delete on app.task_dependency for each row execute function app.queue_schedule_of_row();
create trigger t80_queue_schedule_update after update on app.task_dependency for each row
  when ((new.active_flag, new.project_id, new.predecessor__task_id, new.successor__task_id, new.dl__dependency_type, new.lag_minutes, new.lag_pct, new.lag_unit)
        is distinct from
        (old.active_flag, old.project_id, old.predecessor__task_id, old.successor__task_id, old.dl__dependency_type, old.lag_minutes, old.lag_pct, old.lag_unit))
  execute function app.queue_schedule_of_row();

create trigger t10_check_assignment before insert or update on app.assignment for each row execute function app.check_assignment();
create trigger t70_sync_assignees_insert after insert on app.assignment for each row
  when (new.active_flag and new.employee_id is not null) execute function app.sync_assignees();
create trigger t70_sync_assignees_delete after delete on app.assignment for each row
  when (old.active_flag and old.employee_id is not null) execute function app.sync_assignees();
create trigger t70_sync_assignees_update after update on app.assignment for each row
  when ((new.active_flag, new.task_id, new.employee_id) is distinct from (old.active_flag, old.task_id, old.employee_id))
  execute function app.sync_assignees();
create trigger t80_queue_schedule after insert or delete on app.assignment for each row execute function app.queue_schedule_of_assignment();
create trigger t80_queue_schedule_update after update on app.assignment for each row
  when ((new.active_flag, new.task_id, new.employee_id, new.units_pct, new.work_hours, new.actual_work_hours, new.remaining_work_hours,
         new.delay_minutes, new.leveling_delay_minutes, new.duration_minutes, new.segments)
        is distinct from
        (old.active_flag, old.task_id, old.employee_id, old.units_pct, old.work_hours, old.actual_work_hours, old.remaining_work_hours,
         old.delay_minutes, old.leveling_delay_minutes, old.duration_minutes, old.segments))
  execute function app.queue_schedule_of_assignment();

create trigger t10_check_calendar before insert or update on app.calendar for each row execute function app.check_calendar();
create trigger t80_queue_schedule after delete on app.calendar for each row execute function app.queue_schedule_of_calendar();
create trigger t80_queue_schedule_update after update on app.calendar for each row
  when ((new.active_flag, new.base__calendar_id, new.week, new.work_weeks) is distinct from (old.active_flag, old.base__calendar_id, old.week, old.work_weeks))
  execute function app.queue_schedule_of_calendar();
create trigger t80_queue_schedule after insert or delete on app.calendar_exception for each row execute function app.queue_schedule_of_calendar('exception');
create trigger t80_queue_schedule_update after update on app.calendar_exception for each row
  when ((new.active_flag, new.calendar_id, new.start_date, new.end_date, new.working_times, new.recurrence)
        is distinct from (old.active_flag, old.calendar_id, old.start_date, old.end_date, old.working_times, old.recurrence))
  execute function app.queue_schedule_of_calendar('exception');

create trigger t80_queue_schedule_update after update on app.project for each row
  when ((new.active_flag, new.planned_start_date, new.planned_end_date, new.planned_start_ts, new.planned_end_ts, new.calendar_id,
         new.status_date, new.dl__schedule_from, new.honor_constraints_flag, new.multiple_critical_paths_flag,
         new.splits_in_progress_flag, new.reschedule_remaining_flag, new.critical_slack_days, new.day_hours, new.week_hours, new.month_days)
        is distinct from
        (old.active_flag, old.planned_start_date, old.planned_end_date, old.planned_start_ts, old.planned_end_ts, old.calendar_id,
         old.status_date, old.dl__schedule_from, old.honor_constraints_flag, old.multiple_critical_paths_flag,
         old.splits_in_progress_flag, old.reschedule_remaining_flag, old.critical_slack_days, old.day_hours, old.week_hours, old.month_days))
  execute function app.queue_schedule_of_project();
create trigger t80_queue_schedule_update after update on app.employee for each row
  when (new.calendar_id is distinct from old.calendar_id) execute function app.queue_schedule_of_employee();
