-- A timesheet: hours that somebody spent on a task on a day. Logging work asks for CONTRIBUTE.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('timesheet', 'Timesheet', 'Timesheets', 'clock', 'TSH', false, 64, '{"spent_hours": {"label": "Hours"}, "work_date": {"label": "Day"}}',
   '{"columns": ["name", "task_id", "employee_id", "work_date", "spent_hours", "billable_flag", "dl__timesheet_status"]}');

create table app.timesheet (like app.entity_columns including defaults, primary key (id),
  employee_id uuid references app.employee, task_id uuid references app.task, work_date date not null default current_date,
  spent_hours numeric(6, 2) not null default 0 check (spent_hours between 0 and 24), billable_flag boolean not null default true,
  note text, dl__timesheet_status text not null default 'Draft');
create index on app.timesheet (task_id);
create index on app.timesheet (employee_id, work_date);

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('task', 'timesheet', true, 'task_id', '', 2, 20),
  ('employee', 'timesheet', false, 'employee_id', '', 6, 10);

select app.add_datalabel('timesheet_status', array['Draft', 'Submitted', 'Approved', 'Rejected'], ends => array['Approved'], colors => array['grey', 'amber', 'green', 'red']);

select app.register_entity('timesheet');
