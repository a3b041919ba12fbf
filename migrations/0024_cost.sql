-- A cost: planned, committed or actual, wherever it belongs.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('cost', 'Cost', 'Costs', 'circle-dollar-sign', 'CST', false, 42, '{"amount_amt": {"label": "Amount"}}',
   '{"columns": ["code", "name", "dl__cost_status", "dl__cost_category", "cost_date", "amount_amt", "currency"]}');

create table app.cost (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, task_id uuid references app.task, supplier_id uuid references app.supplier,
  cost_date date, amount_amt numeric(17, 4), currency text not null default 'EUR' check (currency ~ '^[A-Z]{3}$'),
  dl__cost_category text, dl__cost_status text not null default 'Planned');
create index on app.cost (project_id);
create index on app.cost (task_id);

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('office', 'cost', true, '', '', 6, 30),
  ('business', 'cost', true, '', '', 6, 30),
  ('project', 'cost', true, 'project_id', '', 6, 75),
  ('task', 'cost', true, 'task_id', '', 6, 30),
  ('customer', 'cost', true, '', '', 6, 30),
  ('supplier', 'cost', false, 'supplier_id', '', 6, 10);

select app.add_datalabel('cost_category', array['Labour', 'Material', 'Licence', 'Travel', 'Other']);
select app.add_datalabel('cost_status', array['Planned', 'Committed', 'Actual'], colors => array['grey', 'amber', 'green']);

select app.register_entity('cost');
