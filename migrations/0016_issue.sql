-- An issue: what has happened and stands in the way.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('issue', 'Issue', 'Issues', 'bug', 'ISS', false, 54, '{}',
   '{"columns": ["code", "name", "dl__issue_status", "dl__issue_severity", "owner__employee_id", "due_date"]}');

create table app.issue (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, raised_by__employee_id uuid references app.employee,
  owner__employee_id uuid references app.employee, resolution text, due_date date, dl__issue_status text not null default 'Open',
  dl__issue_severity text not null default 'Medium');
create index on app.issue (project_id);

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('project', 'issue', true, 'project_id', '', 6, 55);

select app.add_datalabel('issue_status', array['Open', 'In Progress', 'Resolved', 'Closed'], ends => array['Closed'], colors => array['red', 'amber', 'blue', 'green']);
select app.add_datalabel('issue_severity', array['Low', 'Medium', 'High', 'Critical'], colors => array['grey', 'grey', 'amber', 'red']);

select app.register_entity('issue');
