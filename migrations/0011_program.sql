-- A program: projects that bring one benefit together.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('program', 'Program', 'Programs', 'layers', 'PGM', false, 14, '{}',
   '{"columns": ["code", "name", "dl__program_stage", "manager__employee_id", "planned_start_date", "planned_end_date", "benefit_amt"]}');

create table app.program (like app.entity_columns including defaults, primary key (id),
  manager__employee_id uuid references app.employee, planned_start_date date, planned_end_date date, benefit_amt numeric(17, 4),
  dl__program_stage text not null default 'Defining');

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('portfolio', 'program', true, '', '', 6, 10);

select app.add_datalabel('program_stage', array['Defining', 'Delivering', 'Closing', 'Closed'], ends => array['Closed'], colors => array['grey', 'amber', 'blue', 'green']);

select app.register_entity('program');
