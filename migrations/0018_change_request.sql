-- A change request: what somebody wants to be otherwise, and what that would cost.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('change_request', 'Change request', 'Change requests', 'git-pull-request', 'CHG', false, 58, '{}',
   '{"columns": ["code", "name", "dl__change_status", "requested_by__employee_id", "approver__employee_id", "cost_impact_amt", "schedule_impact_days"]}');

create table app.change_request (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, requested_by__employee_id uuid references app.employee,
  approver__employee_id uuid references app.employee, cost_impact_amt numeric(17, 4), schedule_impact_days numeric(10, 3),
  dl__change_status text not null default 'Draft');
create index on app.change_request (project_id);

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('project', 'change_request', true, 'project_id', '', 6, 65);

select app.add_datalabel('change_status', array['Draft', 'Submitted', 'Approved', 'Rejected', 'Implemented'], ends => array['Rejected', 'Implemented'], colors => array['grey', 'amber', 'blue', 'red', 'green']);

select app.register_entity('change_request');
