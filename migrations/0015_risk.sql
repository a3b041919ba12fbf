-- A risk: what may happen, how likely it is, what it would cost and what is done about it.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('risk', 'Risk', 'Risks', 'triangle-alert', 'RSK', false, 52, '{"response": {"label": "Plan"}, "dl__risk_response": {"label": "Response"}}',
   '{"columns": ["code", "name", "dl__risk_status", "probability_pct", "impact_amt", "owner__employee_id", "due_date"]}');

create table app.risk (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, probability_pct numeric(5, 2) check (probability_pct between 0 and 100),
  impact_amt numeric(17, 4), owner__employee_id uuid references app.employee, response text, due_date date,
  dl__risk_status text not null default 'Identified', dl__risk_response text);
create index on app.risk (project_id);

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('project', 'risk', true, 'project_id', '', 6, 50),
  ('program', 'risk', true, '', '', 6, 20);

select app.add_datalabel('risk_status', array['Identified', 'Assessed', 'Mitigating', 'Closed', 'Occurred'], ends => array['Closed', 'Occurred'], colors => array['grey', 'purple', 'amber', 'green', 'red']);
select app.add_datalabel('risk_response', array['Avoid', 'Reduce', 'Transfer', 'Accept']);

select app.register_entity('risk');
