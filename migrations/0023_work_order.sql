-- A work order: what is to be done at a worksite, by whom and when.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('work_order', 'Work order', 'Work orders', 'hard-hat', 'WOR', false, 88, '{}',
   '{"columns": ["code", "name", "dl__work_order_status", "worksite_id", "scheduled_date", "technician__employee_ids", "labor_cost_amt"]}');

create table app.work_order (like app.entity_columns including defaults, primary key (id),
  worksite_id uuid references app.worksite, project_id uuid references app.project, scheduled_date date,
  technician__employee_ids uuid[] not null default '{}', labor_cost_amt numeric(17, 4), material_cost_amt numeric(17, 4),
  dl__work_order_status text not null default 'Draft');
create index on app.work_order (worksite_id);

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('worksite', 'work_order', true, 'worksite_id', '', 6, 10);

select app.add_datalabel('work_order_status', array['Draft', 'Scheduled', 'In Progress', 'Done', 'Cancelled'], ends => array['Done', 'Cancelled'], colors => array['grey', 'purple', 'amber', 'green', 'grey']);

select app.register_entity('work_order');
