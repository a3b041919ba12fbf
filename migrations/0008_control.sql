-- Entity types of project control: risks, issues, decisions, change requests.

-- Risk --------------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('risk', 'Risk', 'Risks', 'triangle-alert', 'RSK', false, 52, '{"response": {"label": "Plan"}, "dl__risk_response": {"label": "Response"}}',
   '{"columns": ["code", "name", "dl__risk_status", "probability_pct", "impact_amt", "owner__employee_id", "due_date"],
     "empty_text": "Risks are possible events with a probability, an impact and a response."}');

create table app.risk (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, probability_pct numeric(5, 2) check (probability_pct between 0 and 100),
  impact_amt numeric(17, 4), owner__employee_id uuid references app.employee, response text, due_date date,
  dl__risk_status text not null default 'Identified', dl__risk_response text);
create index on app.risk (project_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('project', 'risk', true, 'project_id', 50),
  ('program', 'risk', true, '', 20),
  ('risk', 'task', true, '', 10);

select app.add_datalabel('risk_status', array['Identified', 'Assessed', 'Mitigating', 'Closed', 'Occurred'],
  ends => array['Closed', 'Occurred'], colors => array['grey', 'purple', 'amber', 'green', 'red']);
select app.add_datalabel('risk_response', array['Avoid', 'Reduce', 'Transfer', 'Accept']);

select app.register_entity('risk');

-- Issue -------------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('issue', 'Issue', 'Issues', 'bug', 'ISS', false, 54, '{}',
   '{"columns": ["code", "name", "dl__issue_status", "dl__issue_severity", "owner__employee_id", "due_date"],
     "empty_text": "Issues are problems that need a resolution."}');

create table app.issue (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, raised_by__employee_id uuid references app.employee,
  owner__employee_id uuid references app.employee, resolution text, due_date date, dl__issue_status text not null default 'Open',
  dl__issue_severity text not null default 'Medium');
create index on app.issue (project_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('project', 'issue', true, 'project_id', 55),
  ('issue', 'task', true, '', 10);

select app.add_datalabel('issue_status', array['Open', 'In Progress', 'Resolved', 'Closed'],
  ends => array['Closed'], colors => array['red', 'amber', 'blue', 'green']);
select app.add_datalabel('issue_severity', array['Low', 'Medium', 'High', 'Critical'], colors => array['grey', 'grey', 'amber', 'red']);

select app.register_entity('issue');

-- Decision ----------------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('decision', 'Decision', 'Decisions', 'gavel', 'DEC', false, 56, '{}',
   '{"columns": ["code", "name", "dl__decision_status", "decided_by__employee_id", "decision_date"],
     "empty_text": "Decisions record an outcome, the decider and the rationale."}');

create table app.decision (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, decided_by__employee_id uuid references app.employee, decision_date date,
  rationale text, dl__decision_status text not null default 'Proposed');
create index on app.decision (project_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('project', 'decision', true, 'project_id', 60);

select app.add_datalabel('decision_status', array['Proposed', 'Accepted', 'Rejected', 'Superseded'],
  ends => array['Superseded'], colors => array['grey', 'green', 'red', 'grey']);

select app.register_entity('decision');

-- Change request ----------------------------------------------------------------------------------

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('change_request', 'Change request', 'Change requests', 'git-pull-request', 'CHG', false, 58, '{}',
   '{"columns": ["code", "name", "dl__change_status", "requested_by__employee_id", "approver__employee_id", "cost_impact_amt",
                 "schedule_impact_days"],
     "empty_text": "Change requests propose changes, with their impact on cost and schedule."}');

create table app.change_request (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, requested_by__employee_id uuid references app.employee,
  approver__employee_id uuid references app.employee, cost_impact_amt numeric(17, 4), schedule_impact_days numeric(10, 3),
  dl__change_status text not null default 'Draft');
create index on app.change_request (project_id);

insert into app.entity_child (parent_code, child_code, owned, parent_column, display_order) values
  ('project', 'change_request', true, 'project_id', 65);

select app.add_datalabel('change_status', array['Draft', 'Submitted', 'Approved', 'Rejected', 'Implemented'],
  ends => array['Rejected', 'Implemented'], colors => array['grey', 'amber', 'blue', 'red', 'green']);

select app.register_entity('change_request');
