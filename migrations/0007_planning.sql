-- Entity types of planning: sprints, tasks, dependencies, milestones, baselines, timesheets,
-- allocations.

-- Sprint ------------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('sprint', 'Sprint', 'Sprints', 'timer', 'SPR', false, 60, '{}',
   '{"columns": ["code", "name", "dl__sprint_status", "start_date", "end_date", "capacity_hours"],
     "empty_text": "Sprints are time boxes with a goal and the tasks planned for them."}');

create table app.sprint (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, start_date date, end_date date, goal text, capacity_hours numeric(10, 2),
  dl__sprint_status text not null default 'Planned');

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('project', 'sprint', true, 'project_id', 40);

select app.add_datalabel('sprint_status', array['Planned', 'Active', 'Closed'],
  ends => array['Closed'], colors => array['grey', 'amber', 'green']);

select app.register_entity('sprint');

-- Task: its assignees may update progress and effort with CONTRIBUTE ------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('task', 'Task', 'Tasks', 'list-checks', 'TSK', false, 30,
   '{"completion_pct": {"label": "Progress", "contributor_column": "assignee__employee_ids"},
     "actual_hours": {"label": "Spent", "contributor_column": "assignee__employee_ids"},
     "actual_start_date": {"contributor_column": "assignee__employee_ids"},
     "actual_end_date": {"contributor_column": "assignee__employee_ids"},
     "dl__task_stage": {"contributor_column": "assignee__employee_ids"},
     "duration_days": {"label": "Length"}, "wbs": {"label": "WBS", "read_only": true}, "parent__task_id": {"label": "Parent task"},
     "estimated_hours": {"label": "Estimate"}, "rank": {"hidden": true, "read_only": true}}',
   '{"columns": ["wbs", "name", "dl__task_stage", "dl__task_priority", "assignee__employee_ids", "start_date", "due_date", "duration_days",
                 "completion_pct"],
     "empty_text": "Tasks are the work of a plan. They form an outline, depend on each other and have assignees."}');

create table app.task (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, parent__task_id uuid references app.task, wbs text, start_date date, due_date date,
  duration_days numeric(10, 3) check (duration_days >= 0), actual_start_date date, actual_end_date date,
  completion_pct numeric(5, 2) not null default 0 check (completion_pct between 0 and 100),
  estimated_hours numeric(10, 2), actual_hours numeric(10, 2), story_points numeric(8, 2),
  assignee__employee_ids uuid[] not null default '{}', sprint_id uuid references app.sprint,
  rank text collate "C", milestone_flag boolean not null default false,
  dl__task_stage text not null default 'To Do', dl__task_priority text not null default 'Medium', dl__task_type text);
create index on app.task (project_id);
create index on app.task (parent__task_id);
select app.create_list_index('task', 'due_date');

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('project', 'task', true, 'project_id', 10),
  ('task', 'task', true, 'parent__task_id', 10),
  ('sprint', 'task', false, 'sprint_id', 10);

select app.add_datalabel('task_stage', array['Backlog', 'Planning', 'To Do', 'In Progress', 'In Review', 'Blocked', 'Completed', 'Cancelled'],
  ends => array['Completed', 'Cancelled'], colors => array['grey', 'purple', 'grey', 'amber', 'blue', 'red', 'green', 'grey']);
select app.add_datalabel('task_priority', array['Low', 'Medium', 'High', 'Critical'], colors => array['grey', 'grey', 'grey', 'red']);
select app.add_datalabel('task_type', array['Work', 'Test run', 'Review', 'Meeting', 'Deadline']);

select app.register_entity('task');

create trigger t10_validate_task_outline before insert or update on app.task for each row execute function app.validate_task_outline();

-- Task dependency ---------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, searchable_flag, column_metadata, config_datatable) values
  ('task_dependency', 'Dependency', 'Dependencies', 'link', 'DEP', false, 40, false,
   '{"name": {"required": false}, "predecessor__task_id": {"required": true}, "successor__task_id": {"required": true},
     "lag_days": {"label": "Lag"}}',
   '{"columns": ["name", "predecessor__task_id", "successor__task_id", "dl__dependency_type", "lag_days"],
     "empty_text": "A dependency connects a task with its predecessor, with a type and a lag."}');

create table app.task_dependency (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, predecessor__task_id uuid not null references app.task,
  successor__task_id uuid not null references app.task, lag_days numeric(10, 3) not null default 0,
  dl__dependency_type text not null default 'FS',
  check (predecessor__task_id <> successor__task_id));
create index on app.task_dependency (project_id);
create index on app.task_dependency (predecessor__task_id);
create index on app.task_dependency (successor__task_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('project', 'task_dependency', true, 'project_id', 20);

select app.add_datalabel('dependency_type', array['FS', 'SS', 'FF', 'SF']);

select app.register_entity('task_dependency');

create trigger t10_check_dependency before insert or update on app.task_dependency for each row execute function app.check_dependency();

-- Milestone ---------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('milestone', 'Milestone', 'Milestones', 'diamond', 'MIL', false, 50, '{}',
   '{"columns": ["code", "name", "dl__milestone_status", "due_date", "reached_date", "owner__employee_id"],
     "empty_text": "Milestones are commitments of a plan: a due date and an owner."}');

create table app.milestone (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, due_date date, reached_date date, owner__employee_id uuid references app.employee,
  dl__milestone_status text not null default 'Planned');

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('project', 'milestone', true, 'project_id', 30);

select app.add_datalabel('milestone_status', array['Planned', 'At Risk', 'Reached', 'Missed'],
  ends => array['Reached', 'Missed'], colors => array['grey', 'amber', 'green', 'red']);

select app.register_entity('milestone');

-- Baseline: a snapshot of an agreed plan ----------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('baseline', 'Baseline', 'Baselines', 'history', 'BSL', false, 62, '{"snapshot": {"hidden": true}}',
   '{"columns": ["code", "name", "captured_ts"], "empty_text": "A baseline is a snapshot of a plan, for comparison."}');

create table app.baseline (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, captured_ts timestamptz not null default now(), snapshot jsonb not null default '{}');
create index on app.baseline (project_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('project', 'baseline', true, 'project_id', 45);

select app.register_entity('baseline');

-- Timesheet: hours of an employee on a task on a day; logging work requires CONTRIBUTE ------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('timesheet', 'Timesheet', 'Timesheets', 'clock', 'TSH', false, 64, '{"spent_hours": {"label": "Hours"}, "work_date": {"label": "Day"}}',
   '{"columns": ["name", "task_id", "employee_id", "work_date", "spent_hours", "billable_flag", "dl__timesheet_status"],
     "empty_text": "Timesheets record hours of work on tasks."}');

create table app.timesheet (like app.entity_columns including defaults, primary key (id),
  employee_id uuid references app.employee, task_id uuid references app.task, work_date date not null default current_date,
  spent_hours numeric(6, 2) not null default 0 check (spent_hours between 0 and 24), billable_flag boolean not null default true,
  note text, dl__timesheet_status text not null default 'Draft');
create index on app.timesheet (task_id);
create index on app.timesheet (employee_id, work_date);

insert into app.entity_child (parent_code, child_code, owned, parent_column, create_permission, display_order) values
  ('task', 'timesheet', true, 'task_id', 2, 20),
  ('employee', 'timesheet', false, 'employee_id', 6, 10);

select app.add_datalabel('timesheet_status', array['Draft', 'Submitted', 'Approved', 'Rejected'],
  ends => array['Approved'], colors => array['grey', 'amber', 'green', 'red']);

select app.register_entity('timesheet');

-- Allocation: the share of an employee's time for a project in a period ---------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('allocation', 'Allocation', 'Allocations', 'calendar-range', 'ALC', false, 66, '{"allocation_pct": {"label": "Share"}}',
   '{"columns": ["name", "employee_id", "project_id", "start_date", "end_date", "allocation_pct", "dl__allocation_type"],
     "empty_text": "Allocations reserve a share of an employee''s time for a project and a period."}');

create table app.allocation (like app.entity_columns including defaults, primary key (id),
  employee_id uuid references app.employee, project_id uuid references app.project, start_date date, end_date date,
  allocation_pct numeric(5, 2) not null default 100 check (allocation_pct between 0 and 100),
  dl__allocation_type text not null default 'Soft');
create index on app.allocation (project_id);
create index on app.allocation (employee_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('project', 'allocation', true, 'project_id', 70),
  ('employee', 'allocation', false, 'employee_id', 20);

select app.add_datalabel('allocation_type', array['Soft', 'Hard'], colors => array['grey', 'blue']);

select app.register_entity('allocation');
