-- A form filled in. Answering asks for CONTRIBUTE.

insert into app.entity (code, name, ui_label, ui_icon, code_prefix, root_flag, display_order, column_metadata, config_datatable) values
  ('form_data', 'Answer', 'Answers', 'clipboard-check', 'FDT', false, 97, '{}',
   '{"columns": ["code", "name", "dl__form_data_status", "form_id", "submitted_ts"]}');

create table app.form_data (like app.entity_columns including defaults, primary key (id),
  form_id uuid references app.form, answers jsonb not null default '{}', submitted_ts timestamptz,
  dl__form_data_status text not null default 'Draft');
create index on app.form_data (form_id);

insert into app.entity_child (parent_code, child_code, owned, column_name, code_column, create_level, display_order) values
  ('form', 'form_data', true, 'form_id', '', 2, 10);

select app.add_datalabel('form_data_status', array['Draft', 'Submitted', 'Approved', 'Rejected'], ends => array['Approved'], colors => array['grey', 'amber', 'green', 'red']);

select app.register_entity('form_data');
