-- An allocation: how much of somebody a project has, and when.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('allocation', 'Allocation', 'Allocations', 'calendar-range', 'ALC', false, 66, '{"allocation_pct": {"label": "Share"}}',
   '{"columns": ["name", "employee_id", "project_id", "start_date", "end_date", "allocation_pct", "dl__allocation_type"]}');

create table app.allocation (like app.entity_columns including defaults, primary key (id),
  employee_id uuid references app.employee, project_id uuid references app.project, start_date date, end_date date,
  allocation_pct numeric(5, 2) not null default 100 check (allocation_pct between 0 and 100),
  dl__allocation_type text not null default 'Soft');
create index on app.allocation (project_id);
create index on app.allocation (employee_id);

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('project', 'allocation', true, 'project_id', '', 6, 70),
  ('employee', 'allocation', false, 'employee_id', '', 6, 20);

select app.add_datalabel('allocation_type', array['Soft', 'Hard'], colors => array['grey', 'blue']);

select app.register_entity('allocation');
