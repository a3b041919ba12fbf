-- Scheduling: calendars, assignments, the inputs of schedules and the dates computed from them.
--
-- Inputs are what people enter. Derived columns are computed from them by the schedule worker of the
-- api and, in the browser, by the same code; they are read-only. See ADR 0056.
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
  -- Null for every day of the period, else the fields of an exception of Microsoft Project:
  -- {"type": "daily" | "weekly" | "monthly_day" | "monthly_position" | "yearly_day" | "yearly_position",
  --  "every", "days_of_week", "day", "position", "month", "occurrences"}.
  recurrence jsonb,
  check (start_date <= end_date));
create index on app.calendar_exception (calendar_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('calendar', 'calendar_exception', true, 'calendar_id', 10);

select app.register_entity('calendar_exception');

-- Project: settings of its schedule -----------------------------------------------------------------

alter table app.project
  add column calendar_id uuid references app.calendar,
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
  -- view the plan can compute it: {"calendars": {id: {...}}, "employees": {id: calendar id}}.
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
  -- Null: no duration stated; the task takes an estimated day. Ignored for automatic summaries, where
  -- it is derived. Working minutes, or elapsed minutes if the unit begins with e.
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
   '{"task_id": {"required": true}, "units_pct": {"label": "Units"}, "placeholder_role": {"label": "Role"}, "work_hours": {"label": "Work"},
     "actual_work_hours": {"label": "Actual work"}, "remaining_work_hours": {"label": "Remaining work"}}',
   '{"columns": ["task_id", "employee_id", "placeholder_role", "units_pct", "work_hours", "actual_work_hours", "remaining_work_hours"],
     "empty_text": "Assignments state who works on a task, with which share of their time."}');

create table app.assignment (like app.entity_columns including defaults, primary key (id),
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
create index on app.assignment (employee_id);
create unique index on app.assignment (task_id, employee_id) where active_flag and employee_id is not null;

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('task', 'assignment', true, 'task_id', 15),
  ('employee', 'assignment', false, 'employee_id', 15);

select app.register_entity('assignment');

-- Queue of the schedule worker: one row for each change that matters, removed when the project has been
-- scheduled. Rows are only appended, so that writers of one project do not wait for each other.
create table app.schedule_queue (
  id bigint generated always as identity primary key,
  project_id uuid not null,
  cause_person_id uuid,
  created_ts timestamptz not null default now()
);
create index on app.schedule_queue (project_id);

update app.entity set column_metadata = column_metadata || '{
  "dl__schedule_mode": {"label": "Mode"}, "dl__constraint_type": {"label": "Constraint"}, "constraint_ts": {"label": "Constraint date"},
  "deadline_ts": {"label": "Deadline"}, "manual_start_ts": {"hidden": true}, "manual_finish_ts": {"hidden": true},
  "ignore_resource_calendars_flag": {"label": "Ignore resource calendars"},
  "duration_minutes": {"label": "Duration"}, "duration_days": {"hidden": true}, "duration_unit": {"hidden": true}, "estimated_flag": {"label": "Estimated"},
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
  "lag_minutes": {"label": "Lag"}, "lag_days": {"hidden": true}, "lag_pct": {"hidden": true}, "lag_unit": {"hidden": true}}'::jsonb
where code = 'task_dependency';
