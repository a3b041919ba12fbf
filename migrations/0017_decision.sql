-- A decision: what was decided, by whom and why.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('decision', 'Decision', 'Decisions', 'gavel', 'DEC', false, 56, '{}',
   '{"columns": ["code", "name", "dl__decision_status", "decided_by__employee_id", "decision_date"]}');

create table app.decision (like app.entity_columns including defaults, primary key (id),
  project_id uuid references app.project, decided_by__employee_id uuid references app.employee, decision_date date,
  rationale text, dl__decision_status text not null default 'Proposed');
create index on app.decision (project_id);

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('project', 'decision', true, 'project_id', '', 6, 60);

select app.add_datalabel('decision_status', array['Proposed', 'Accepted', 'Rejected', 'Superseded'], ends => array['Superseded'], colors => array['grey', 'green', 'red', 'grey']);

select app.register_entity('decision');
